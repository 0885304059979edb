"""What an address needs, to be called, and whether it leads into a private network."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

WANTED = "must be an address like https://host/path"

# Names that only mean something inside of a network.
LOCAL_NAMES = (
    ".local", ".localhost", ".internal", ".intranet", ".lan", ".home", ".home.arpa", ".corp", ".arpa",
)  # fmt: skip


def is_private(host: str) -> bool:
    """By its looks; what a name resolves to is judged when it is fetched."""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or f".{host}".endswith(LOCAL_NAMES)


def cure_of(address: str) -> str:
    """What to change in what nobody could call; "" for an address. Nothing of it is repeated."""
    if any(map(str.isspace, address)):  # looked for first: `urlsplit` takes some of them away
        return "leave out the white space; in a path it is written %20"
    if set(address) & set("<>{}"):
        return "fill in what stands in brackets: it holds the place of something of yours"
    try:
        parts = urlsplit(address)
    except ValueError:
        return "the brackets of an IPv6 address stand around it: https://[2001:db8::1]:8443/v1"
    if parts.scheme not in ("http", "https"):
        return "begin it with https://, or with http:// in a network of your own"
    if not parts.hostname or ".." in parts.hostname:
        return "write the name of a host after https://"
    if parts.query or parts.fragment:
        return "leave out what follows the path; what a vendor wants of a key in it is auth.query"
    return "" if _has_a_port(parts) else "the port is a number from 1 to 65535"


def _has_a_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False
