"""Providers ready for use: an account's keys, and the wire its targets are spoken to in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from proxy import wires
from proxy.checking import service_accounts
from proxy.config import is_loopback
from proxy.config.models import Config
from proxy.config.models import ProviderEntry as Entry
from proxy.config.profiles import Profiles
from proxy.routing.keys import KeyPool, Rests
from proxy.types import Carrier
from proxy.types.auth import Exchange, Jwt, Signature
from proxy.upstream import Account, Authorizer, Static
from proxy.upstream.authorizer import Pairs
from proxy.upstream.service_account import SCOPE, ServiceAccountGrant
from proxy.upstream.tokens import Token
from proxy.wires import Lookup, Spoken

if TYPE_CHECKING:
    from proxy.wires.declared import Profile

# How the vendor's key travels where the file does not say.
_CARRIERS = {"gemini": Carrier("x-goog-api-key"), "openai": Carrier("authorization", "Bearer ")}
_SIMULATED_PATHS = {"gemini": "/gemini/v1beta", "openai": "/openai/v1"}
_SIMULATED_KEY = "simulated-key:simulated-secret"  # vendors with keys of one part take it as one


@dataclass(frozen=True, slots=True)
class Provider:
    """`options` are the profile's defaults under the file's own. `lookup` gives the data of a profile."""

    name: str
    keys: KeyPool
    wire: str
    options: Mapping[str, Any]
    lookup: Lookup
    profile: Profile | None = None
    _spoken: dict[str | None, Spoken] = field(default_factory=dict)

    def spoken(self, surface: str | None) -> Spoken | None:
        """The wire of a surface, None if there is no such surface. One for all its targets."""
        if surface not in self._spoken:
            try:
                self._spoken[surface] = self._made(surface)
            except KeyError:
                return None
        return self._spoken[surface]

    def _made(self, surface: str | None) -> Spoken:
        base_url = self.keys.accounts[0].base_url
        if self.profile is not None:
            return wires.surface_wire(self.profile, surface, base_url)
        if self.wire == "openai":
            return wires.openai_wire(surface, self.lookup, base_url)
        if surface is not None:
            raise KeyError(surface)
        return Spoken(wires.chat_wire(self.wire))


def opened(
    config: Config, off: Mapping[str, str], simulated: str | None, rests: Rests | None = None
) -> dict[str, Provider]:
    """All providers that are on. With `simulated` they lie below that base address and need no keys. `rests`
    are the keys that were refused lately."""
    rests = Rests() if rests is None else rests
    lookup = Profiles(config.profiles).data
    return {
        name: _open(name, entry, lookup, simulated, rests)
        for name, entry in config.providers.items()
        if name not in off
    }


def _open(name: str, entry: Entry, lookup: Lookup, simulated: str | None, rests: Rests) -> Provider:
    if entry.wire is not None:
        accounts = _accounts(name, entry, entry.base_url or "", _CARRIERS[entry.wire], simulated)
        return Provider(name, KeyPool(accounts, rests), entry.wire, entry.options, lookup)
    found = wires.profile(entry.profile or "", lookup)
    accounts = _accounts(name, entry, entry.base_url or found.base_url or "", found.carrier, simulated)
    options = {**found.options, **entry.options}
    return Provider(name, KeyPool(accounts, rests), found.name, options, lookup, found)


def _accounts(
    name: str, entry: Entry, base_url: str, carrier: Carrier, simulated: str | None
) -> list[Account]:
    if simulated:
        path = (
            _SIMULATED_PATHS.get(entry.wire or "") or f"/{entry.profile}{urlsplit(base_url).path.rstrip('/')}"
        )
        auth = _opening(name, _at_home(carrier), _SIMULATED_KEY, (), simulated + path, private=True)
        return [Account(name, simulated + path, auth, private=True)]
    private = entry.private or is_loopback(urlsplit(base_url).hostname or "")
    return [
        Account(
            name,
            base_url.rstrip("/"),
            _authorizer(name, entry, carrier, secret, base_url, private=private),
            private,
            blake2b("\0".join((name, base_url, secret)).encode(), digest_size=12).hexdigest(),
        )
        for secret in [secret.reveal() for secret in entry.keys] or [""]
    ]


def _authorizer(
    name: str, entry: Entry, carrier: Carrier, secret: str, base_url: str, *, private: bool
) -> Authorizer:
    """What opens the door with one of a provider's keys: the file's word on it comes before the dialect's."""
    more = tuple((header.lower(), value.reveal()) for header, value in entry.headers.items())
    auth = entry.auth
    if auth is None or not secret:
        return _opening(name, carrier, secret, more, base_url, private=private)
    if auth.grant is not None:
        grant = ServiceAccountGrant(service_accounts.read(secret), auth.scope or SCOPE)
        return Token(name, grant, more)
    return _static(Carrier(auth.header, auth.prefix, auth.query), secret, more)


def _opening(
    name: str, carrier: Carrier, secret: str, more: Pairs, base_url: str, *, private: bool
) -> Authorizer:
    """The key as it is, or what the dialect makes of it."""
    scheme = carrier.scheme
    if scheme is None or not secret:
        return _static(carrier, secret, more)
    # Few vendors want more than their key.
    from proxy.upstream.grants import ExchangeGrant, JwtGrant
    from proxy.upstream.signing import Signed

    if isinstance(scheme, Signature):
        return Signed(scheme, secret, more)
    if isinstance(scheme, Jwt):
        return Token(name, JwtGrant(scheme, secret), more, carrier=carrier)
    return Token(name, ExchangeGrant(scheme, secret, base_url, private=private), more, carrier=carrier)


def _at_home(carrier: Carrier) -> Carrier:
    """For a simulated vendor, whose token server is simulated beside it wherever the real one is."""
    scheme = carrier.scheme
    if not isinstance(scheme, Exchange):
        return carrier
    return replace(carrier, scheme=replace(scheme, address=urlsplit(scheme.address).path))


def _static(carrier: Carrier, secret: str, more: Pairs = ()) -> Static:
    if not secret:
        return Static(more)
    if carrier.query is not None:
        return Static(more, ((carrier.query, secret),))
    return Static((*more, ((carrier.header or "").lower(), carrier.prefix + secret)))
