"""Texts with names in braces, as signatures and tokens are written: `{path}&{timestamp_ms}&{nonce}`."""

from __future__ import annotations

import re
import secrets as random
import time
from collections.abc import Mapping
from typing import Any

_NAME = re.compile(r"\{(\w+)\}")
_CLOCKS_DIFFER_S = 5
_SHORTEST_SECRET = 8


def of_key(key: str) -> dict[str, str]:
    """The names of a key, whose two parts are written `id:secret`."""
    identity, _, secret = key.partition(":")
    return {"key": key, "id": identity, "secret": secret}


def of_time(now: float, life_s: float) -> dict[str, Any]:
    """The names of a moment, in seconds since 1970, and of what begins then and lives so long."""
    seconds = int(now)
    return {
        "timestamp": seconds,
        "timestamp_ms": int(now * 1000),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)),
        "nonce": random.token_hex(16),
        "begins": seconds - _CLOCKS_DIFFER_S,
        "expires": seconds + int(life_s),
        "expires_ms": int(now * 1000) + int(life_s) * 1000,
    }


def text(template: str, names: Mapping[str, Any]) -> str:
    return _NAME.sub(lambda found: str(names[found[1]]), template)


def filled(templates: Mapping[str, str], names: Mapping[str, Any]) -> dict[str, str]:
    return {name: text(str(template), names) for name, template in templates.items()}


def typed(templates: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """The same, but what is no text stays what it is, and a text that is one name takes that name's type."""
    return {name: _typed(template, names) for name, template in templates.items()}


def _typed(template: Any, names: Mapping[str, Any]) -> Any:
    if not isinstance(template, str):
        return template
    whole = _NAME.fullmatch(template)
    return names[whole[1]] if whole else text(template, names)


def names_in(template: Any) -> list[str]:
    return _NAME.findall(template) if isinstance(template, str) else []


def secrets(key: Mapping[str, str]) -> list[str]:
    """What must be blanked where a vendor repeats it; what is shorter than any key is only a word."""
    return [part for part in (key["key"], key["secret"], key["id"]) if len(part) >= _SHORTEST_SECRET]
