"""Addresses that vendors give: made whole, and which of them our key may go to, those at the vendor's own
host and at the hosts its profile names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import SplitResult, urljoin, urlsplit

_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_PORTS = {"https": 443, "http": 80}


def is_allowed(url: str, hosts: Iterable[str], base_url: str) -> bool:
    """True for https addresses of `hosts` (patterns like `*.bfl.ai`), and for the origin of `base_url`.

    Characters that readers of addresses disagree about (white space, backslashes, non-ASCII) are refused, as
    are user names: the check and the client must see the same host.
    """
    if not url.isascii() or not url.isprintable() or set(url) & set(' \\"<>^`{|}'):
        return False
    try:
        parts, own = urlsplit(url), urlsplit(base_url)
        origin, home = _origin(parts), _origin(own)
    except ValueError:
        return False
    host = parts.hostname or ""
    if "@" in parts.netloc or not (_HOST.fullmatch(host) or origin == home):
        return False
    if base_url and origin == home:
        return True
    is_named = any(fnmatchcase(host, pattern.lower()) for pattern in hosts)
    return is_named and origin == ("https", host, 443)


def is_absolute(url: str) -> bool:
    return url[:8].lower().startswith(("http://", "https://"))


def absolute(url: str, base_url: str) -> str:
    """An address that a vendor gave, in full: `/x` is at the host of `base_url`, `./x` and `x` are below it.
    As it came where it cannot be made so."""
    if is_absolute(url) or not base_url:
        return url
    try:
        return urljoin(base_url.rstrip("/") + "/", url)
    except ValueError:
        return url


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
