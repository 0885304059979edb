"""Checks of who pays and who may call: secrets, providers, client keys, the listening address."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from proxy.checking import service_accounts
from proxy.checking.addresses import is_private
from proxy.checking.mistakes import Path, did_you_mean, shown
from proxy.checking.names import is_header_name
from proxy.config import addresses, check_prices, hints, options
from proxy.config.models import Config, ProviderEntry
from proxy.config.secrets import PLACEHOLDER, Fault, literals, oddities, unsendable
from proxy.config.tree import Checked, at, items

_REDIS = ("redis", "rediss", "unix")
_STORES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
_OUR_HEADERS = ("host", "content-length", "transfer-encoding", "connection")
_NAME_BREAKERS = set("./@ \t")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on `host`."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def check(file: Checked) -> dict[str, str]:
    """Report everything; returns why each provider that is off is off."""
    off = _providers_off(file)
    for name, reason in off.items():
        file.report.add("N107", ("providers", name), f'provider "{name}" is off: {reason}', at_key=True)
    for fault in file.faults:
        if not _is_explained(fault, file, off):
            _missing(fault, file)
    for path, text, sure in literals(file.written):
        if sure and isinstance(at(file.written, path), str):
            message = f"{shown(path)} is a literal secret ({len(text)} characters)"
            if PLACEHOLDER.fullmatch(text):
                message = f"{shown(path)} only holds the place of a secret"
            hint = "write env:NAME or file:PATH, so that this file can be shared"
            file.report.add("W142", path, message, hint)
    _sendable(file)
    _server(file)
    for name, provider in file.config.providers.items():
        _provider(name, provider, file)
    _client_keys(file)
    check_prices.check_budgets(file)
    return off


def _providers_off(file: Checked) -> dict[str, str]:
    """A provider is off when something it needs is not set and, for keys, no other key is."""
    off: dict[str, str] = {}
    for fault in file.faults:
        if fault.path[0] == "providers" and len(fault.path) > 2:
            name = str(fault.path[1])
            provider = file.config.providers.get(name)
            if provider is not None and not (fault.path[2] == "keys" and provider.keys):
                off.setdefault(name, fault.reason)
    for name, provider in file.config.providers.items():
        if provider.auth is not None and provider.auth.grant and not service_accounts.can_sign():
            off.setdefault(name, service_accounts.NEEDS)
    return off


def _is_explained(fault: Fault, file: Checked, off: Mapping[str, str]) -> bool:
    """The provider is off, or has errors and nobody knows yet whether it would be."""
    if fault.path[0] != "providers" or len(fault.path) < 3:
        return False
    return fault.path[1] in off or fault.path[1] not in file.config.providers


def _missing(fault: Fault, file: Checked) -> None:
    place = fault.path
    if place[0] == "keys" and place[2:] == ("key",):
        name = at(file.tree, (*place[:2], "name"))
        message = f'client key "{name}" is off: {fault.reason}'
        hint = f"set {fault.variable} to the key your clients shall send"
        hint += f", or write env:{fault.near}" if fault.near else ""
        file.report.add("W108", place, message, hint)
        return
    what = place[-1] if isinstance(place[-1], str) else "key" if place[-2] == "keys" else "an item"
    message = f"{what} is empty: {fault.reason} (used by {shown(place)})"
    hint = f"set it, or write env:{fault.variable}? if it may be missing"
    hint += f"; did you mean {fault.near}?" if fault.near else ""
    file.report.add("E104", place, message, hint)


def _sendable(file: Checked) -> None:
    """What travels in a header; the JSON of a service account does not."""
    for path in unsendable(file.tree):
        hint = "write it in one line"
        if path[0] == "providers" and path[2] == "keys":
            provider = file.config.providers.get(str(path[1]))
            if provider is None or (provider.auth is not None and provider.auth.grant is not None):
                continue
            hint += "; the JSON file of a service account wants auth: {grant: service_account}"
        message = f"{shown(path)} holds a line break or another control character, which no header carries"
        file.report.add("E103", path, message, hint)
    for path, odd, cure in oddities(file.tree):
        provider = file.config.providers.get(str(path[1])) if path[0] == "providers" else None
        if provider is None or provider.auth is None or not (provider.auth.grant or provider.auth.header):
            file.report.add("W145", path, f"{shown(path)} {odd}", cure)


def _server(file: Checked) -> None:
    host = file.config.server.host
    if file.config.auth.mode == "open" and not is_loopback(host):
        message = f"auth.mode open with server.host {host} lets everybody who can reach it spend your money"
        hint = "bind a loopback address or set auth.mode: keys"
        file.report.add("E140", ("auth", "mode"), message, hint)
    _state(file)
    _shared(file)
    _public_url(file)


def _state(file: Checked) -> None:
    path: Path = ("server", "state")
    scheme, _, rest = file.config.server.state.reveal().partition(":")
    if scheme not in _STORES:
        hint = "write sqlite:./state/dragoman.db, or postgresql://host/name"
        message = f"server.state must be an address of {' or '.join(_STORES.values())}"
        file.report.add("E103", path, message, hint)
    elif scheme == "sqlite" and (not rest.strip("/") or rest.startswith("///.")):
        message = "server.state names no file: behind sqlite: stands its path alone"
        file.report.add("E103", path, message, "write sqlite:./state/dragoman.db, or sqlite:/whole/path.db")
    elif scheme == "postgresql" and not _leads_to_a_host(rest):
        hint = "write postgresql://host:5432/name, with user:password@ before the host; in these @ is %40"
        file.report.add("E103", path, "server.state is no address of PostgreSQL", hint)


def _leads_to_a_host(rest: str) -> bool:
    """What stands behind the last @, for a password may hold what would end a host."""
    if not rest.startswith("//"):
        return False
    try:
        _ = urlsplit(f"//{rest[2:].rpartition('@')[2]}").port
    except ValueError:
        return False
    return True


def _public_url(file: Checked) -> None:
    address = file.config.server.public_url
    if address is not None and address.endswith("/v1"):
        message = f"public_url {address} goes on to /v1, which is added to it"
        file.report.add("W144", ("server", "public_url"), message, f"write {address.removesuffix('/v1')}")


def _shared(file: Checked) -> None:
    path: Path = ("server", "shared")
    if file.config.server.shared is None:
        return
    if urlsplit(file.config.server.shared.reveal()).scheme not in _REDIS:
        message = "server.shared must be an address like redis://host:6379/0"
        file.report.add("E103", path, message, "begin it with redis://, rediss:// or unix://")
    elif find_spec("redis") is None:
        message = "server.shared is not used: the driver of Redis is not installed"
        file.report.add("W160", path, message, "pip install 'dragoman[redis]'")


def _provider(name: str, provider: ProviderEntry, file: Checked) -> None:
    path: Path = ("providers", name)
    if not name or _NAME_BREAKERS & set(name):
        hint = "a provider's name has no dot, slash, @ or space"
        file.report.add("E103", path, f'"{name}" cannot stand in a target', hint, at_key=True)
    _dialect(provider, path, file)
    _auth(provider, path, file)
    _parts(provider, path, file)
    check_options(provider.options, file.known_options(name), (*path, "options"), file)
    _headers(provider, path, file)
    _address(provider, path, file)
    address = urlsplit(provider.base_url or "")
    private = at(file.tree, (*path, "private"))  # a value of the wrong type has its own error
    host = address.hostname or ""
    if address.scheme == "http" and private in (None, False) and is_private(host) and not is_loopback(host):
        message = f"base_url {provider.base_url} is a private address over plain http"
        hint = f"set providers.{name}.private: true if it is yours"
        file.report.add("E141", (*path, "base_url"), message, hint)


def _address(provider: ProviderEntry, path: Path, file: Checked) -> None:
    """A base_url that lacks its version, has it twice, or goes on to an endpoint."""
    if provider.base_url is None:
        return
    profile = file.profiles.get(provider.profile) if provider.profile else None
    slip = addresses.slip_in(provider.base_url, provider.wire, profile.base_url if profile else None)
    if slip is not None:
        file.report.add("W144", (*path, "base_url"), f"base_url {provider.base_url} {slip.said}", slip.cure)


def _dialect(provider: ProviderEntry, path: Path, file: Checked) -> None:
    """Exactly one of wire and profile, and an address from the provider or its profile."""
    name, written = shown(path), at(file.written, path)
    if ("wire" in written) == ("profile" in written):
        both = "both wire and profile; keep one" if "wire" in written else 'neither "wire" nor "profile"'
        hint = hints.of_missing(path, Config.model_fields)
        hint = hint or f"wire: {' or '.join(options.BY_WIRE)}; profile: {', '.join(file.profiles)}"
        file.report.add("E106", path, f"{name} has {both}", hint, at_key=True)
        return
    profile = file.profiles.get(provider.profile) if provider.profile else None
    if provider.profile and profile is None:
        is_wire = provider.profile in options.BY_WIRE
        hint = f"it is a wire: write wire: {provider.profile}" if is_wire else ""
        hint = hint or did_you_mean(provider.profile, file.profiles)
        file.report.add("E115", (*path, "profile"), f'there is no profile "{provider.profile}"', hint)
    elif "base_url" not in written and not (profile and profile.base_url):
        file.report.add("E106", path, f'{name} has no "base_url"', at_key=True)


def _auth(provider: ProviderEntry, path: Path, file: Checked) -> None:
    """Exactly one way for the keys to travel, and keys that can travel that way."""
    here = (*path, "auth")
    written = at(file.written, here)
    if provider.auth is None or not isinstance(written, Mapping):
        return
    chosen = [name for name in ("header", "query", "grant") if written.get(name) is not None]
    if len(chosen) != 1:
        said = f"both {' and '.join(chosen)}; keep one" if chosen else 'neither "header", "query" nor "grant"'
        file.report.add("E106", here, f"{shown(here)} has {said}", at_key=True)
        return
    for name, way in (("prefix", "header"), ("scope", "grant")):
        if name in written and chosen != [way]:
            file.report.add("E101", (*here, name), f"{name} is for {shown((*here, way))} only", at_key=True)
    if provider.auth.grant is not None:
        _service_accounts(path, file)


def _headers(provider: ProviderEntry, path: Path, file: Checked) -> None:
    for name in provider.headers:
        here = (*path, "headers", name)
        if not is_header_name(name):
            file.report.add("E103", here, f'"{name}" cannot be the name of a header', at_key=True)
        elif name.lower() in _OUR_HEADERS:
            message = f"{name} is written with each request, and cannot be set"
            hint = "the host is that of base_url" if name.lower() == "host" else "delete it"
            file.report.add("E103", here, message, hint, at_key=True)


def _parts(provider: ProviderEntry, path: Path, file: Checked) -> None:
    """Keys of two parts, where the profile makes something of them."""
    profile = file.profiles.get(provider.profile) if provider.profile else None
    if profile is None or not profile.in_parts or provider.auth is not None:
        return
    for index, key in enumerate(items(at(file.tree, (*path, "keys")))):
        here = (*path, "keys", index)
        if isinstance(key, str) and not all(key.partition(":")):
            hint = "write the vendor's id and secret as one value, with a colon between"
            file.report.add("E103", here, f"{shown(here)} must be id:secret", hint)


def _service_accounts(path: Path, file: Checked) -> None:
    if at(file.written, (*path, "keys")) in (None, []):
        hint = "write keys: [file:service-account.json]"
        file.report.add("E106", path, f'{shown(path)} has no "keys"', hint, at_key=True)
    for index, key in enumerate(items(at(file.tree, (*path, "keys")))):
        here = (*path, "keys", index)
        try:
            if isinstance(key, str):
                service_accounts.read(key)
        except ValueError as exc:
            file.report.add("E103", here, f"{shown(here)} {exc}")


def check_options(
    given: Mapping[str, Any], known: Mapping[str, options.Values] | None, path: Path, file: Checked
) -> None:
    """Options by name and value; `known` None means that nothing can be said."""
    if known is None:
        return
    for name, value in given.items():
        here = (*path, name)
        if name not in known:
            message = f'unknown key "{name}" in {shown(path)}'
            owner = next((wire for wire, own in options.BY_WIRE.items() if name in own), None)
            hint = f"it is an option of wire: {owner}" if owner else did_you_mean(name, known)
            file.report.add("E101", here, message, hint, at_key=True)
        elif wrong := options.wrong_value(known[name], value):
            file.report.add("E103", here, f"{shown(here)} {wrong}")


def _client_keys(file: Checked) -> None:
    first: dict[str, Path] = {}
    owners: dict[str, Path] = {}
    for index, entry in enumerate(items(file.tree.get("keys"))):
        path: Path = ("keys", index)
        if isinstance(entry, Mapping) and "key" not in at(file.written, path):
            file.report.add("E106", path, f'{shown(path)} has no "key"')
        name = at(entry, ("name",))
        if isinstance(name, str) and name in first:
            line = file.report.line_of(first[name])
            message = f'two client keys are called "{name}" (first at line {line})'
            file.report.add("E111", (*path, "name"), message)
        elif isinstance(name, str):
            first[name] = path
        key = at(entry, ("key",))
        if isinstance(key, str) and key in owners:
            owner = owners[key]
            line = file.report.line_of(owner)
            message = f'{shown(path)} is the same secret as "{at(file.tree, (*owner, "name"))}" (line {line})'
            hint = "give each client a key of its own, or delete one: they are told apart by nothing else"
            file.report.add("E111", (*path, "key"), message, hint)
        elif isinstance(key, str):
            owners[key] = path
