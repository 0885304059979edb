"""What a client carries from turn to turn for us: in the `encrypted_content` of reasoning items, and in the
`data` of Anthropic's `redacted_thinking` blocks.

Base64 of a mark and a JSON object: signatures by the id of their call or picture, that of the text by `text`,
and what a vendor said to itself by `parts`. What others encrypted has no such mark.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import orjson

from proxy.types import Json, Slice

TEXT, PARTS = "text", "parts"

_MARK = b"dragoman.1:"
_MARK_SHOWN = b64encode(_MARK[: len(_MARK) // 3 * 3]).decode()


def seal(found: Mapping[str, Any]) -> str:
    return b64encode(_MARK + orjson.dumps(found)).decode()


def opened(value: Any) -> Json:
    """What was sealed; empty where it was not by us."""
    text = str(value) if isinstance(value, Slice) else value
    if not isinstance(text, str) or not text.startswith(_MARK_SHOWN):
        return {}
    try:
        raw = b64decode(text, validate=True)
        found = orjson.loads(raw.removeprefix(_MARK)) if raw.startswith(_MARK) else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
