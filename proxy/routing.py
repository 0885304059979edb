"""From a model's name to the targets to try, in order. Compiled once from a checked configuration."""

from __future__ import annotations

import difflib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from proxy.config.models import Config, Model, Provider, TargetEntry
from proxy.errors import RequestError
from proxy.keys import ClientKey
from proxy.types import Target
from proxy.upstream import Account, Deadlines
from proxy.upstream.retry import Candidate, KeyPool

# Which header carries the vendor's key, and what stands before it.
_AUTH_HEADERS = {"gemini": ("x-goog-api-key", ""), "openai": ("authorization", "Bearer ")}
_SIMULATED_PATHS = {"gemini": "/gemini/v1beta", "openai": "/openai/v1"}
_SIMULATED_KEY = "simulated-key"


@dataclass(frozen=True, slots=True)
class Route:
    """A name clients send, with the targets it can go to."""

    name: str
    targets: tuple[Candidate, ...]
    fallback: tuple[Candidate, ...] = ()
    weighted: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    image_output: str | None = None
    attempts: int = 3
    card: Mapping[str, Any] = field(default_factory=dict)

    def order(self) -> tuple[Candidate, ...]:
        """One request's targets: as written, or drawn by weight without replacement; then the fallback."""
        if not self.weighted:
            return self.targets + self.fallback
        drawn = sorted(
            (candidate for candidate in self.targets if candidate.target.weight),
            key=lambda candidate: random.random() ** (1 / candidate.target.weight),
            reverse=True,
        )
        return (*drawn, *self.fallback)


@dataclass(frozen=True, slots=True)
class Routes:
    """All routes of a configuration. `off` tells why a provider is off."""

    by_name: Mapping[str, Route]
    pools: Mapping[str, KeyPool]
    config: Config
    off: Mapping[str, str]
    simulated: str | None = None

    @classmethod
    def of(cls, config: Config, off: Mapping[str, str], *, simulated: str | None = None) -> Routes:
        """Compile. With `simulated` every provider is on and lies below that base address."""
        off = {} if simulated else off
        pools = {
            name: KeyPool(_accounts(name, provider, simulated))
            for name, provider in config.providers.items()
            if name not in off
        }
        routes = cls({}, pools, config, off, simulated)
        by_name: dict[str, Route] = {}
        for name, model in config.models.items():
            route = routes._route(name, model)
            for alias in (name, *model.aliases):
                by_name[alias] = route
        return replace(routes, by_name=by_name)

    def resolve(self, name: str, caller: ClientKey) -> Route:
        """The route for the name a client sent. Raises a 404 that lists near names the caller may use."""
        plain = name.removeprefix("models/")
        route = self.by_name.get(plain)
        if route is not None and (caller.may_use(route.name) or caller.may_use(plain)):
            if not route.targets and not route.fallback:
                raise RequestError(
                    f"The model {plain!r} is configured, but all its providers are off.",
                    status=503,
                    type="server_error",
                    code="model_unavailable",
                    param="model",
                )
            return route
        if route is None and caller.may_use("*"):
            direct = self._direct(plain)
            if direct is not None:
                return direct
        raise self._unknown(name, caller)

    def listed(self, caller: ClientKey) -> list[Route]:
        """The routes this caller may use, each once, those without a provider left out."""
        routes = {route.name: route for route in self.by_name.values() if route.targets or route.fallback}
        return [route for name, route in sorted(routes.items()) if caller.may_use(name)]

    def provider_states(self) -> dict[str, str]:
        return {
            name: f"off: {self.off[name]}" if name in self.off else "on" for name in self.config.providers
        }

    def _route(self, name: str, model: Model) -> Route:
        return Route(
            name,
            targets=self._candidates(model.targets, model),
            fallback=self._candidates(model.fallback, model),
            weighted=model.pick == "weighted",
            defaults=dict(model.defaults),
            image_output=model.image_output,
            attempts=self.config.defaults.retry.attempts,
            card={"description": model.description} if model.description else {},
        )

    def _candidates(self, entries: list[TargetEntry], model: Model) -> tuple[Candidate, ...]:
        found = (self._candidate(entry, model) for entry in entries)
        return tuple(candidate for candidate in found if candidate is not None)

    def _candidate(self, entry: TargetEntry, model: Model | None = None) -> Candidate | None:
        """A target as written, None when its provider is unknown or off."""
        provider = self.config.providers.get(entry.provider)
        if provider is None or entry.provider not in self.pools or not entry.model:
            return None
        options = {**provider.options, **(model.options if model else {})}
        weight = 1 if entry.weight is None else entry.weight
        target = Target(entry.provider, entry.model, provider.wire or "", entry.surface, weight, options)
        changes = (provider.timeouts, model.timeouts) if model else (provider.timeouts,)
        timeouts = self.config.defaults.timeouts.changed(*changes)
        deadlines = Deadlines(timeouts.connect, timeouts.first_byte, timeouts.idle, timeouts.total)
        return Candidate(target, self.pools[entry.provider], deadlines)

    def _direct(self, name: str) -> Route | None:
        candidate = self._candidate(TargetEntry(use=name)) if name else None
        return Route(name, (candidate,), attempts=self.config.defaults.retry.attempts) if candidate else None

    def _unknown(self, name: str, caller: ClientKey) -> RequestError:
        usable = [
            known
            for known, route in self.by_name.items()
            if caller.may_use(route.name) or caller.may_use(known)
        ]
        near = difflib.get_close_matches(name[:200], usable, n=3)
        hint = f" Did you mean {', '.join(near)}?" if near else " See GET /v1/models."
        return RequestError(
            f"The model {name[:200]!r} does not exist or you do not have access to it.{hint}",
            status=404,
            code="model_not_found",
            param="model",
        )


def _accounts(name: str, provider: Provider, simulated: str | None) -> list[Account]:
    wire = provider.wire or ""
    header, before = _AUTH_HEADERS[wire]
    if simulated:
        base_url = simulated + _SIMULATED_PATHS[wire]
        return [Account(name, base_url, ((header, before + _SIMULATED_KEY),), private=True)]
    base_url = (provider.base_url or "").rstrip("/")
    secrets = [secret.reveal() for secret in provider.keys] or [""]
    return [
        Account(name, base_url, ((header, before + secret),) if secret else (), private=provider.private)
        for secret in secrets
    ]
