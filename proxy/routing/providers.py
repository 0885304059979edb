"""Providers ready for use: an account's keys, and the wire its targets are spoken to in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from proxy import wires
from proxy.config import is_loopback
from proxy.config.models import Config
from proxy.config.models import Provider as Entry
from proxy.config.profiles import Profiles
from proxy.routing.attempts import KeyPool
from proxy.types import Wire
from proxy.upstream import Account

if TYPE_CHECKING:
    from proxy.wires.declared import DeclaredWire, Profile

# Which header carries the vendor's key, and what stands before it.
_AUTH_HEADERS = {"gemini": ("x-goog-api-key", ""), "openai": ("authorization", "Bearer ")}
_SIMULATED_PATHS = {"gemini": "/gemini/v1beta", "openai": "/openai/v1"}
_SIMULATED_KEY = "simulated-key"


@dataclass(frozen=True, slots=True)
class Provider:
    """`options` are the profile's defaults under the file's own."""

    name: str
    keys: KeyPool
    wire: str
    options: Mapping[str, Any]
    profile: Profile | None = None
    _speakers: dict[str | None, Wire | DeclaredWire] = field(default_factory=dict)

    def speaker(self, surface: str | None) -> Wire | DeclaredWire | None:
        """The wire of a surface, None if there is no such surface. One for all its targets."""
        if surface not in self._speakers:
            try:
                self._speakers[surface] = self._made(surface)
            except KeyError:
                return None
        return self._speakers[surface]

    def _made(self, surface: str | None) -> Wire | DeclaredWire:
        if self.profile is not None:
            return wires.surface_wire(self.profile, surface, self.keys.account(0).base_url)
        if surface is not None:
            raise KeyError(surface)
        return wires.chat_wire(self.wire)


def opened(config: Config, off: Mapping[str, str], simulated: str | None) -> dict[str, Provider]:
    """All providers that are on. With `simulated` they lie below that base address and need no keys."""
    lookup = Profiles(config.profiles).data
    return {
        name: _open(name, entry, lookup, simulated)
        for name, entry in config.providers.items()
        if name not in off
    }


def _open(name: str, entry: Entry, lookup: Any, simulated: str | None) -> Provider:
    if entry.wire is not None:
        accounts = _accounts(name, entry, entry.base_url or "", _AUTH_HEADERS[entry.wire], simulated)
        return Provider(name, KeyPool(accounts), entry.wire, entry.options)
    found = wires.profile(entry.profile or "", lookup)
    auth = (found.auth.header.lower(), found.auth.prefix)
    accounts = _accounts(name, entry, entry.base_url or found.base_url or "", auth, simulated)
    return Provider(name, KeyPool(accounts), found.name, {**found.options, **entry.options}, found)


def _accounts(
    name: str, entry: Entry, base_url: str, auth: tuple[str, str], simulated: str | None
) -> list[Account]:
    header, before = auth
    if simulated:
        path = (
            _SIMULATED_PATHS.get(entry.wire or "") or f"/{entry.profile}{urlsplit(base_url).path.rstrip('/')}"
        )
        return [Account(name, simulated + path, ((header, before + _SIMULATED_KEY),), private=True)]
    more = tuple((header.lower(), secret.reveal()) for header, secret in entry.headers.items())
    secrets = [secret.reveal() for secret in entry.keys] or [""]
    return [
        Account(
            name,
            base_url.rstrip("/"),
            (*more, *(((header, before + secret),) if secret else ())),
            private=entry.private or is_loopback(urlsplit(base_url).hostname or ""),
        )
        for secret in secrets
    ]
