"""Ids of calls, as Messages writes them and back: upstreams, and the memory of signatures, know their own.

Anthropic takes letters, digits, `_` and `-` alone, so that a conversation can move there; ids of ours have
its prefix.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

_PLAIN = re.compile(r"[A-Za-z0-9_-]+\Z")
_OURS, _THEIRS, _PACKED = "call_", "toolu_", "toolu_b64_"


def shown(identity: str) -> str:
    if _PLAIN.match(identity) is None:
        return _PACKED + urlsafe_b64encode(identity.encode("utf-8", "replace")).rstrip(b"=").decode()
    return _THEIRS + identity.removeprefix(_OURS) if identity.startswith(_OURS) else identity


def read(identity: str) -> str:
    """What the upstream called it. One that was never ours is only the same in the call and its result."""
    if identity.startswith(_PACKED):
        packed = identity.removeprefix(_PACKED).encode("utf-8", "replace")
        try:
            return urlsafe_b64decode(packed + b"=" * (-len(packed) % 4)).decode() or identity
        except ValueError:
            return identity
    return _OURS + identity.removeprefix(_THEIRS) if identity.startswith(_THEIRS) else identity
