"""What a web page may ask of a server that asks nobody for a key: nothing, unless the file names its origin.

A browser sends some requests to other machines without asking them first (forms, plain text), and a page
elsewhere could order pictures that way. It always says where such a request comes from.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from proxy.config import is_loopback
from proxy.config.models import Cors
from proxy.errors import RequestError
from proxy.serve.exchange import Exchange

_OF_PAGES_ELSEWHERE = ("cross-site", "same-site")


def check(exchange: Exchange, cors: Cors) -> None:
    """Raises a 403 for a page that is not welcome, a 415 for what only a page's form would send."""
    origin = exchange.header(b"origin")
    if origin is None:
        foreign = exchange.header(b"sec-fetch-site") in _OF_PAGES_ELSEWHERE
    else:
        foreign = not _is_ours(origin, exchange) and not cors.welcomes(origin)
    posted = exchange.scope["method"] == "POST"
    if foreign and (posted or origin is not None):
        raise RequestError(
            f"Pages of {(origin or 'another site')[:200]!r} may not call: "
            "the file does not name them in server.cors.origins.",
            status=403,
            code="origin_not_allowed",
        )
    content_type = exchange.header(b"content-type")
    if posted and not _is_ours_to_read(content_type, of_a_page=origin is not None):
        raise RequestError(
            f"The content type {(content_type or 'none')[:100]!r} is not read here without a key; "
            "send application/json or multipart/form-data.",
            status=415,
            code="unsupported_content_type",
        )


def _is_ours(origin: str, exchange: Exchange) -> bool:
    """A page of this very server. A name that only resolves to this machine is not enough: whoever owns the
    name may have served the page."""
    host = exchange.header(b"host") or ""
    scheme = exchange.scope.get("scheme", "http")
    if origin.lower() != f"{scheme}://{host}".lower():
        return False
    try:
        return is_loopback(urlsplit(origin).hostname or "")
    except ValueError:
        return False


def _is_ours_to_read(content_type: str | None, *, of_a_page: bool) -> bool:
    if content_type is None:
        return not of_a_page
    kind = content_type.partition(";")[0].strip().lower()
    return kind in ("application/json", "multipart/form-data") or kind.endswith("+json")
