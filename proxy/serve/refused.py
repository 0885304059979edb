"""What is no request, in the words for it: refused before any endpoint is asked, and logged with an id."""

from __future__ import annotations

from collections.abc import Iterable

import httptools

from proxy.errors import ProxyError, RequestError
from proxy.fronts.openai.commons import COMMONS
from proxy.logs import Log
from proxy.serve.exchange import new_id
from proxy.serve.head import Header, written

_REASONS = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    503: b"Service Unavailable",
}
_SLOW = {
    "head": "The head of the request was not complete after {:g} s.",
    "body": "The body of the request came too slowly: nothing for {:g} s, "
    "less than 1 KB a second, or hardly anything of its rest.",
}
_OF_AN_UPGRADE = (b"upgrade", b"http2-settings")


def reply(error: ProxyError) -> tuple[str, bytes]:
    """Its request id, and the whole reply on the wire; the connection ends with it."""
    request_id = new_id()
    status, headers, body = COMMONS.refusal(error, request_id, None)
    own: list[Header] = [
        (b"x-request-id", request_id.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in written((*headers, *own)))
    return request_id, b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, _REASONS[status], lines, body)


def log(to: Log, request_id: str, error: ProxyError) -> None:
    """What was asked is not known, or not worth knowing."""
    to.write(
        "request",
        id=request_id,
        method=None,
        path=None,
        status=error.status,
        ms=0,
        key=None,
        error=error.code,
    )


def reason(error: BaseException | None) -> ProxyError:
    """Why the parser stopped: for a reason of ours, or for one of its own."""
    ours = None if error is None else error.__context__
    if isinstance(ours, ProxyError):
        return ours
    said = str(error) if error is not None and ours is None else "Invalid request line"
    return RequestError(f"This is not HTTP/1.1: {said}.", code="invalid_http")


def is_theirs(error: Exception) -> bool:
    """What a callback of the parser raised is the client's fault: a refusal, or an address that is none."""
    return isinstance(error, ProxyError | httptools.HttpParserError | UnicodeError)


def too_many() -> ProxyError:
    return ProxyError(
        "Too many connections are open; close some, or come back in a moment.",
        status=503,
        code="too_many_connections",
        headers={"retry-after": "1"},
    )


def too_many_waiting() -> RequestError:
    return RequestError(
        "Too many requests wait on this connection; use several.", status=503, code="too_many_pipelined"
    )


def too_slow(what: str, limit_s: float) -> RequestError:
    return RequestError(_SLOW[what].format(limit_s), status=408, code="request_timeout")


def too_large() -> RequestError:
    return RequestError(
        "The head of the request is larger than 64 KiB, or has more than 100 fields.",
        status=431,
        code="head_too_large",
    )


def hosts(count: int) -> RequestError:
    found = "no host" if count == 0 else f"{count} hosts"
    return RequestError(f"A request names exactly one host; this one has {found}.", code="invalid_host")


def coding(value: bytes) -> RequestError:
    shown = value[:40].decode("latin-1")
    return RequestError(
        f"The transfer encoding {shown!r} is not supported; send chunked, or a content-length.",
        status=501,
        code="unsupported_transfer_encoding",
    )


def check_size(url: bytes, headers: Iterable[Header], most_bytes: int, most_fields: int) -> None:
    """Raises a 431. A field counts with its colon, space and line end."""
    fields = list(headers)
    size = len(url) + sum(len(name) + len(value) + 4 for name, value in fields)
    if size > most_bytes or len(fields) > most_fields:
        raise too_large()


def without_upgrade(method: bytes, url: bytes, headers: Iterable[Header]) -> bytes:
    """The head of a request that would rather go on in another protocol, as if it did not. Raises a 501 for a
    tunnel, which is nothing else."""
    if method == b"CONNECT":
        raise RequestError("This is no proxy for tunnels.", status=501, code="method_not_supported")
    lines = [b"%s %s HTTP/1.1" % (method, url)]
    for name, value in headers:
        if name == b"connection":
            left = [word.strip() for word in value.split(b",") if word.strip().lower() not in _OF_AN_UPGRADE]
            value = b", ".join(left)
        if name not in _OF_AN_UPGRADE and not (name == b"connection" and not value):
            lines.append(name + b": " + value)
    return b"\r\n".join(lines) + b"\r\n\r\n"
