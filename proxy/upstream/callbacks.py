"""Callbacks: a guarded POST to an address that a client gave."""

from __future__ import annotations

from urllib.parse import urlsplit

from proxy.errors import RequestError
from proxy.upstream.guard import is_literal, is_public

MOST_CHARACTERS = 2048
# Names that only mean something inside a network.
LOCAL_NAMES = (".local", ".localhost", ".internal", ".intranet", ".lan", ".home.arpa", ".corp", ".arpa")


def check(url: str, *, private: bool) -> None:
    """Judge an address by its looks, before its name is resolved. With `private` it may lead anywhere, and
    by http.

    Raises a 400 that names the field.
    """
    if len(url) > MOST_CHARACTERS:
        raise _refused(f"must be at most {MOST_CHARACTERS} characters long")
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise _refused("must be a valid https address") from None
    if parts.scheme not in (("http", "https") if private else ("https",)) or not host or not url.isascii():
        raise _refused("must be a valid https address")
    if parts.username is not None or parts.password is not None:
        raise _refused("must not hold a user name or password")
    if private:
        return
    if f".{host}".endswith(LOCAL_NAMES) or (is_literal(host) and not is_public(host)):
        raise _refused("must not point into a private network")


def _refused(why: str) -> RequestError:
    return RequestError(f"'callback_url' {why}.", attribute="callback_url", code="invalid_callback_url")
