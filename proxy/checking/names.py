"""Names with rules that others made."""

from __future__ import annotations

import re

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def is_header_name(name: str) -> bool:
    """RFC 9110, 5.6.2: a token."""
    return _HEADER_NAME.fullmatch(name) is not None
