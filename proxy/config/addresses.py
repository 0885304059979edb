"""What is usual in the addresses of vendors: where the version stands, and that no endpoint follows it."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

_VERSION = re.compile(r"/v\d+(?:alpha|beta)?\d*(?=/|$)", re.I)
# What the wires and profiles put behind the base_url themselves.
_ENDPOINT = re.compile(
    r"/(?:chat/completions|completions|responses|messages|embeddings|images/(?:generations|edits)|models(?:/[^/]+)?)/?$"
)
_USUAL = {"gemini": "/v1beta", "openai": "/v1"}
_GOOGLE = "generativelanguage.googleapis.com"
_GOOGLES_OPENAI = "/v1beta/openai"
_WITHOUT_VERSION = {"api.perplexity.ai"}  # their documents have none


class AddressSlip(NamedTuple):
    said: str
    cure: str


def slip_in(base_url: str, wire: str | None, profiles_own: str | None) -> AddressSlip | None:
    """None for an address that looks right. `profiles_own` is the address of a profile's vendor."""
    parts = urlsplit(base_url)
    if (endpoint := _ENDPOINT.search(parts.path)) is not None:
        whole = base_url.removesuffix("/")
        cure = f"write {whole[: len(whole) - len(endpoint[0].removesuffix('/'))]}"
        return AddressSlip(f"goes on to an endpoint, {endpoint[0]}, which is added to it", cure)
    if wire is None:
        return None if profiles_own is None else _beside(base_url, profiles_own)
    if parts.hostname == _GOOGLE and wire == "openai" and not parts.path.endswith("/openai"):
        cure = f"write https://{_GOOGLE}{_GOOGLES_OPENAI}, or wire: gemini"
        return AddressSlip("is Google's own dialect, and wire: openai speaks another", cure)
    if parts.hostname == _GOOGLE and wire == "gemini" and parts.path.endswith("/openai"):
        cure = f"write https://{_GOOGLE}{_USUAL['gemini']}, or wire: openai"
        return AddressSlip("is Google's address for OpenAI's dialect, and wire: gemini speaks its own", cure)
    missing = not _VERSION.search(parts.path) and (wire == "gemini" or not parts.path.strip("/"))
    if missing and parts.hostname not in _WITHOUT_VERSION:
        return AddressSlip("has no version", f"write {base_url.rstrip('/')}{_USUAL[wire]}")
    return None


def _beside(base_url: str, profiles_own: str) -> AddressSlip | None:
    """The version stands where it stands in the profile's own address: the requests are made for that."""
    given, own = urlsplit(base_url), urlsplit(profiles_own)
    found, meant = _VERSION.search(given.path), _VERSION.search(own.path)
    if (found is None) == (meant is None):
        return None
    said = "has no version" if found is None else f"holds {found[0]}, which the profile adds itself"
    return AddressSlip(said, f"write {given.scheme}://{given.netloc}{own.path}, as in {profiles_own}")
