"""From a model's name to the targets to try, in order. Compiled once from a checked configuration."""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from math import ceil
from typing import Any

from proxy.checking.name_patterns import LONGEST_NAME, PatternTable, is_pattern
from proxy.config.models import Config, ModelEntry, PollChanges, TargetEntry
from proxy.errors import RequestError
from proxy.fronts.base import Kind
from proxy.fronts.openai.defaults import NONE, ModelDefaults, compiled
from proxy.keys import ClientKey
from proxy.ledger.prices import Prices
from proxy.routing.attempts import Candidate
from proxy.routing.breakers import Breakers
from proxy.routing.keys import Rests
from proxy.routing.providers import Provider, opened
from proxy.types import ChatRequest, Target
from proxy.upstream import Deadlines

_DIRECT_KEPT = 1000  # compiled routes of names without an entry
_RESTING_TOLD = 20  # models of a provider


@dataclass(frozen=True, slots=True)
class Route:
    """A name clients send, with the targets it can go to. `chores` is the name of who answers what chat UIs
    ask around a conversation. `draws`: a chat with it may be sold by the piece. `priced`: something is known
    of what its targets cost; in `currency` if that of all of them is, at any time."""

    name: str
    targets: tuple[Candidate, ...]
    fallback: tuple[Candidate, ...] = ()
    weighted: bool = False
    defaults: ModelDefaults = NONE
    image_output: str | None = None
    chores: str | None = None
    draws: bool = False
    attempts: int = 3
    card: Mapping[str, Any] = field(default_factory=dict)
    priced: bool = False
    currency: str | None = None

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
    """All routes of a configuration. `by_name` has the models and their aliases, `by_pattern` those aliases
    that are `patterns`; `catch_all` is who answers to names that nobody has. `off` tells why a provider is
    off."""

    by_name: Mapping[str, Route]
    providers: Mapping[str, Provider]
    config: Config
    off: Mapping[str, str]
    simulated: str | None = None
    patterns: PatternTable = field(default_factory=PatternTable)
    by_pattern: Mapping[str, Route] = field(default_factory=dict)
    catch_all: Mapping[Kind, Route] = field(default_factory=dict)
    _direct: dict[str, Route] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        config: Config,
        off: Mapping[str, str],
        *,
        simulated: str | None = None,
        rests: Rests | None = None,
    ) -> Routes:
        """Compile. With `simulated` every provider is on and lies below that base address. `rests` are the
        keys that were refused under an earlier configuration."""
        off = {} if simulated else off
        routes = cls({}, opened(config, off, simulated, rests), config, off, simulated)
        by_name: dict[str, Route] = {}
        by_pattern: dict[str, Route] = {}
        for name, model in config.models.items():
            by_name[name] = route = routes._route(name, model)
            for alias in model.aliases:
                (by_pattern if is_pattern(alias) else by_name)[alias] = route
        patterns = PatternTable.of(by_pattern)
        routes = replace(routes, by_name=by_name, by_pattern=by_pattern, patterns=patterns)
        return replace(routes, catch_all=routes._catching())

    def _catching(self) -> dict[Kind, Route]:
        defaults = self.config.defaults
        chosen: dict[Kind, str | None] = {
            "chat": defaults.model,
            "pictures": defaults.image_model,
            "embeddings": defaults.embedding_model,
            "speech": defaults.speech_model,
            "transcripts": defaults.transcript_model,
            "moderations": defaults.moderation_model,
        }
        return {kind: self._named(name) for kind, name in chosen.items() if name is not None}

    def resolve(self, name: str, caller: ClientKey, kind: Kind = "chat") -> Route:
        """The route for the name a client sent, empty where it sent none. Raises a 404 that lists near names
        the caller may use, and a 400 where a name is needed."""
        plain = name.removeprefix("models/")
        route = self.by_name.get(plain)
        if route is None:
            direct = self._direct.get(plain)
            if direct is not None and caller.may_use("*"):
                return direct
            route = self._unlisted(plain, caller, kind)
        elif not (caller.may_use(route.name) or caller.may_use(plain)):
            route = None
        if route is None:
            raise self._unknown(name, caller, kind) if plain else _missing()
        if not route.targets and not route.fallback:
            known = "is configured" if plain == route.name else f"stands for {route.name!r}"
            raise _off(f"The model {plain!r} {known}, but all its providers are off.")
        return route

    def _unlisted(self, name: str, caller: ClientKey, kind: Kind) -> Route | None:
        """Who answers to a name without an entry, if the caller may use it: the model with a pattern for the
        name, else the target that it is, else who catches the rest."""
        found = self.by_pattern.get(self.patterns.find(name) or "")
        if found is None and caller.may_use("*"):
            found = self._made_for(name)
        if found is None and self.catch_all and self._is_nobodys(name):
            found = self.catch_all.get(kind)
        return found if found is not None and caller.may_use(found.name) else None

    def _is_nobodys(self, name: str) -> bool:
        """It names no provider of the file: who asks for one that is off shall hear so."""
        place, slash, _ = name.partition("/")
        return len(name) <= LONGEST_NAME and not (slash and place.partition(".")[0] in self.config.providers)

    def for_chores(self, route: Route) -> Route:
        """Who answers the chores of this route, whatever else the caller may use: the operator chose it.

        Raises a 503 where all its providers are off, since the route itself would sell a picture.
        """
        found = self._named(route.chores or "")
        if not found.targets and not found.fallback:
            raise _off(
                f"This asks for a title or the like, which {found.name!r} answers for {route.name!r}, "
                "but all its providers are off."
            )
        return found

    def _named(self, name: str) -> Route:
        """The model or the target that the file names; without targets where its provider is off."""
        return self.by_name.get(name) or self._direct.get(name) or self._made_for(name) or Route(name, ())

    def entry(self, name: str) -> Route | None:
        """The model of the file that answers to this name, which may be an alias or fit a pattern."""
        return self.by_name.get(name) or self.by_pattern.get(self.patterns.find(name) or "")

    def listed(self, caller: ClientKey) -> list[Route]:
        """The routes this caller may use, each once, those without a provider left out."""
        routes = {route.name: route for route in self.by_name.values() if route.targets or route.fallback}
        return [route for name, route in sorted(routes.items()) if caller.may_use(name)]

    def sold_at(self, model: str, target: str) -> Iterator[Candidate]:
        """A target as this model has it, then as a request finds it that names it."""
        for route in (self._named(model), self._named(target)):
            yield from (one for one in route.targets + route.fallback if one.target.name == target)

    def targets(self) -> set[tuple[str, str]]:
        """(provider, upstream model) of all that the file names."""
        candidates = (one for route in self.by_name.values() for one in route.targets + route.fallback)
        return {(candidate.target.provider, candidate.target.model) for candidate in candidates}

    def provider_states(self, breakers: Breakers) -> dict[str, str]:
        """Which providers are on, which are off and why, and which rest with which models."""
        resting: dict[str, dict[str, float]] = {
            name: dict(provider.keys.resting()) for name, provider in self.providers.items()
        }
        for target, state, wait_s in breakers.states():
            place, _, model = target.partition("/")
            name = place.partition(".")[0]
            if state != "failing" and name in resting:
                resting[name][model] = max(wait_s, resting[name].get(model, 0.0))
        return {name: self._state(name, resting.get(name)) for name in self.config.providers}

    def _state(self, name: str, resting: Mapping[str, float] | None) -> str:
        if name in self.off:
            return f"off: {self.off[name]}"
        if not resting:
            return "on"
        told = [
            f"{model[:200]} for {ceil(wait_s)} s" for model, wait_s in sorted(resting.items())[:_RESTING_TOLD]
        ]
        if len(resting) > _RESTING_TOLD:
            told.append(f"{len(resting) - _RESTING_TOLD} more")
        return f"resting: {', '.join(told)}"

    def _route(self, name: str, model: ModelEntry) -> Route:
        targets = self._candidates(name, model.targets, model)
        fallback = self._candidates(name, model.fallback, model)
        forgets = _forgets(targets + fallback)
        targets, fallback = (
            tuple(replace(one, forgets=forgets) for one in some) for some in (targets, fallback)
        )
        return Route(
            name,
            targets=targets,
            fallback=fallback,
            weighted=model.pick == "weighted",
            defaults=compiled(dict(model.defaults)),
            image_output=model.image_output,
            chores=model.chores or self.config.defaults.chores,
            draws=_draw(targets + fallback),
            attempts=self.config.defaults.retry.attempts,
            card={"description": model.description} if model.description else {},
            priced=any(one.prices is not None for one in targets + fallback),
            currency=_currency(targets + fallback),
        )

    def _candidates(self, name: str, entries: list[TargetEntry], model: ModelEntry) -> tuple[Candidate, ...]:
        found = (self._candidate(name, entry, model) for entry in entries)
        return tuple(candidate for candidate in found if candidate is not None)

    def _candidate(self, name: str, entry: TargetEntry, model: ModelEntry | None = None) -> Candidate | None:
        """A target as written, None when its provider is unknown or off, or has no such surface."""
        provider = self.providers.get(entry.provider)
        spoken = provider.spoken(entry.surface) if provider and entry.model else None
        if provider is None or spoken is None:
            return None
        options = {**provider.options, **(model.options if model else {})}
        target = Target(entry.provider, entry.model, provider.wire, entry.surface, entry.weight, options)
        spoken = spoken.for_model(entry.model, options)
        own = self.config.providers[entry.provider].timeouts
        timeouts = self.config.defaults.timeouts.changed(*((own, model.timeouts) if model else (own,)))
        deadlines = Deadlines(timeouts.connect, timeouts.first_byte, timeouts.idle, timeouts.total)
        poll = model.poll if model else PollChanges()
        return Candidate(
            target,
            provider.keys,
            deadlines,
            spoken.chat,
            spoken.jobs,
            spoken.pictures,
            poll.every,
            poll.give_up,
            sold_as=name,
            prices=self._prices(entry, model),
            currency=self.config.providers[entry.provider].currency,
        )

    def _prices(self, entry: TargetEntry, model: ModelEntry | None) -> Prices | None:
        """The target's own, else the model's; of a target without an entry those where one names it."""
        if model is None:
            return self._prices_where_named(entry)
        if entry.price is not None or model.price is None:
            return Prices.of(entry.price, self.config.providers[entry.provider].currency)
        return Prices.of(model.price, self.config.currency_of(model))

    def _prices_where_named(self, entry: TargetEntry) -> Prices | None:
        candidates = (one for route in self.by_name.values() for one in route.targets + route.fallback)
        return next((one.prices for one in candidates if one.target.name == entry.use and one.prices), None)

    def _made_for(self, name: str) -> Route | None:
        """The route of a `provider/model` without an entry, None for a longer name than any model's: much is
        remembered by the name. Kept under a name that a pattern has not."""
        candidate = self._candidate(name, TargetEntry(use=name)) if 0 < len(name) <= LONGEST_NAME else None
        if candidate is None:
            return None
        candidate = replace(candidate, forgets=_forgets((candidate,)))
        defaults = self.config.defaults
        route = Route(
            name,
            (candidate,),
            chores=defaults.chores,
            draws=_draw((candidate,)),
            attempts=defaults.retry.attempts,
            priced=candidate.prices is not None,
            currency=_currency((candidate,)),
        )
        if len(self._direct) < _DIRECT_KEPT and self.patterns.find(name) is None:
            self._direct[name] = route
        return route

    def _unknown(self, name: str, caller: ClientKey, kind: Kind) -> RequestError:
        usable = [
            known
            for known, route in self.by_name.items()
            if caller.may_use(route.name) or caller.may_use(known)
        ]
        near = difflib.get_close_matches(name[:200], usable, n=3)
        hint = f" Did you mean {', '.join(near)}?" if near else " See GET /v1/models."
        if kind == "moderations":
            hint = " No moderation model is configured for this name: see defaults.moderation_model."
        return RequestError(
            f"The model {name[:200]!r} does not exist or you do not have access to it.{hint}",
            status=404,
            code="model_not_found",
            attribute="model",
        )


def _currency(candidates: tuple[Candidate, ...]) -> str | None:
    """Of all their prices, at any time; None where there is no such."""
    found = {None if one.prices is None else one.prices.currency for one in candidates}
    return found.pop() if len(found) == 1 else None


def _forgets(candidates: tuple[Candidate, ...]) -> Callable[[], bool]:
    """Whether none of them takes pictures. Found out when first asked, for profiles are compiled for it."""

    @cache
    def forgets() -> bool:
        return all(one.jobs is not None and not one.jobs.reference_forms(one.target) for one in candidates)

    return forgets


def _draw(candidates: tuple[Candidate, ...]) -> bool:
    """Whether a chat with one of them may be sold by the piece: there are models that draw when asked to."""
    return any(
        one.chat is None
        or one.chat.by_piece(ChatRequest(one.target.model, (), modalities=("text", "image")), one.target)
        for one in candidates
    )


def _missing() -> RequestError:
    return RequestError(
        "The request names no model, and the file has none for such requests.",
        code="missing_required_parameter",
        attribute="model",
    )


def _off(message: str) -> RequestError:
    return RequestError(message, status=503, code="model_unavailable", attribute="model")
