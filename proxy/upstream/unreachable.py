"""Why a connection did not come about, in a sentence for the person who runs the gateway."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from urllib.parse import urlsplit

_BY_NUMBER = {
    errno.ECONNREFUSED: "{at} refused the connection; nothing listens there, or a firewall says no",
    errno.EHOSTUNREACH: "there is no way to the host of {at}",
    errno.ENETUNREACH: "there is no network that leads to {at}",
    errno.ETIMEDOUT: "{at} did not open the connection in time",
    errno.ECONNRESET: "{at} closed the connection while it was opened",
    errno.EACCES: "this machine does not allow a connection to {at}",
    errno.EMFILE: "this process has no free file handle for {at}",
}
_PROXIES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


def why(fault: Exception, address: str) -> str:
    """The reason, with the host and port of the address and nothing else of it."""
    at = place(address)
    reason = _reason(fault, at)
    proxy = next((name for name in _PROXIES if os.environ.get(name)), None)
    if proxy is None or isinstance(fault, ssl.SSLError):
        return reason
    return f"{reason}; the proxy that {proxy} names is not used"


def place(address: str) -> str:
    """`host:port` of an address."""
    try:
        parts = urlsplit(address)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return "its address"
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}" if host and port else shown or "its address"


def _reason(fault: Exception, at: str) -> str:
    if isinstance(fault, socket.gaierror):
        return f"the name of {at} could not be resolved (DNS)"
    if isinstance(fault, ssl.SSLCertVerificationError):
        told = fault.verify_message or "it cannot be verified"
        return f"the TLS certificate of {at} is not trusted: {told.rstrip('.')}"
    if isinstance(fault, ssl.SSLError):
        told = (fault.reason or "the handshake failed").replace("_", " ").lower()
        plain = "; is it plain http?" if fault.reason == "WRONG_VERSION_NUMBER" else ""
        return f"no TLS with {at}: {told}{plain}"
    if isinstance(fault, TimeoutError):
        return f"{at} did not open the connection in time"
    return _BY_NUMBER.get(_number(fault), "the connection to {at} failed").format(at=at)


def _number(cause: Exception) -> int:
    """The system's number. Of a host with several addresses asyncio joins the errors and drops it; then 0."""
    if not isinstance(cause, OSError):
        return 0
    text = str(cause)
    return cause.errno or next((known for known in _BY_NUMBER if f"[Errno {known}]" in text), 0)
