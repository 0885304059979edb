"""Chat surfaces: another wire does the talking, the profile says what this vendor wraps around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from proxy.errors import RequestError, UpstreamError
from proxy.types import (
    Abilities,
    Call,
    ChatRequest,
    Event,
    Json,
    Operation,
    Reader,
    Target,
    Usage,
    Wire,
)
from proxy.wires import refusals
from proxy.wires.declared import failures
from proxy.wires.declared.profile import ChatSurface
from proxy.wires.declared.replies import kept_charge, money
from proxy.wires.declared.variants import ChatVariant, plain

# What a reply of the spoken dialect has at its top.
_LANDMARKS = {"gemini": ("candidates", "promptFeedback"), "openai": ("choices",)}


class ChatDelegate:
    """A `Wire`: the inner wire's call at the vendor's path; the vendor's reply, unwrapped for its reader."""

    def __init__(self, inner: Wire, surface: ChatSurface) -> None:
        self._inner = inner
        self._surface = surface

    @property
    def carries(self) -> frozenset[str]:
        return self._inner.carries

    @property
    def finish_is_last(self) -> bool:
        return self._inner.finish_is_last

    def build(self, request: ChatRequest, target: Target, repairs: frozenset[str] = frozenset()) -> Call:
        surface, variant = self._surface, self._surface.variant(target.model)
        if not surface.streams and request.stream:
            request = replace(request, stream=False)  # the client's stream is made from the one reply
        if variant.lacks:
            able = {**target.options.get("capabilities", {}), **variant.lacks}
            target = replace(target, options={**target.options, "capabilities": able})
        call = self._inner.build(request, target, repairs)
        body, lost = _taken(call.body, variant)
        if surface.model_in_body:
            body = {"model": target.model, **body}
        return replace(
            call,
            path=surface.path or call.path,
            body={**body, **{name: value for name, value in variant.extra.items() if name not in body}},
            dropped=(*call.dropped, *lost),
            written=call.written if body == call.body and not variant.extra else b"",
        )

    def reader(self, request: ChatRequest, target: Target, call: Call) -> Reader:
        """The inner reader itself where there is nothing to add: it runs for every chunk."""
        surface, variant = self._surface, self._surface.variant(target.model)
        reader = self._inner.reader(request, target, call)
        billing = variant.billing
        if variant.fail is None and not surface.unwrap and not billing.keep and not billing.cost:
            return reader
        return _Unwrapping(reader, surface, variant, target.provider)

    def error(self, status: int, headers: Mapping[str, str], body: bytes, target: Target) -> UpstreamError:
        """By the profile's rules; what they do not know is for the wire that knows the dialect."""
        errors = self._surface.variant(target.model).errors
        complaint = failures.of_reply(errors, status, headers, refusals.payload_of(body))
        found = failures.match(errors, complaint)
        if found is None:
            return self._inner.error(status, headers, body, target)
        return failures.failure(found, complaint, target.provider)

    def relays(self, request: ChatRequest, target: Target) -> bool:
        return self._inner.relays(request, target)

    def unable(self, request: ChatRequest, target: Target) -> RequestError | None:
        return self._inner.unable(request, target)

    def by_piece(self, request: ChatRequest, target: Target) -> bool:
        added = self._surface.variant(target.model).extra.get("modalities") or ()
        return "image" in added or self._inner.by_piece(request, target)

    def repair(self, error: UpstreamError, request: ChatRequest | None = None) -> str | None:
        return self._inner.repair(error, request)

    def calls_needed(self, request: ChatRequest, target: Target) -> int:
        return self._inner.calls_needed(request, target)

    def count(self, request: ChatRequest, target: Target, repairs: frozenset[str] = frozenset()) -> None:
        """No reseller's page has an address for it."""

    def counted(self, payload: Any) -> None:
        return None

    def abilities(self, target: Target) -> Abilities:
        return self._inner.abilities(target)

    def operation(self, kind: type[Any]) -> Operation | None:
        """A profile tells the place of chats alone."""
        return None

    def keeps_url(self, url: str, target: Target) -> bool:
        return self._inner.keeps_url(url, target)

    def reads(self, mime: str, target: Target) -> bool:
        return self._inner.reads(mime, target)


def _taken(body: Json, variant: ChatVariant) -> tuple[Json, list[str]]:
    """The body with what the vendor takes, spelled as it wants it, and the client's fields that are lost."""
    drops, takes = variant.drops, variant.takes
    if not drops and not takes:
        return body, []
    taken: Json = {}
    lost = []
    for name, value in body.items():
        key = plain(name)
        if key in drops or (takes and key not in takes):
            lost.append(drops.get(key, f"foreign.{name}"))
        else:
            taken[takes.get(key, name)] = value
    return taken, lost


class _Unwrapping:
    def __init__(self, inner: Reader, surface: ChatSurface, variant: ChatVariant, provider: str) -> None:
        self._inner = inner
        self._landmarks = _LANDMARKS[surface.speaks]
        self._unwrap = surface.unwrap
        self._variant = variant
        self._provider = provider
        self._charge: Json = {}

    def feed(self, payload: Json) -> list[Event]:
        if self._variant.fail is not None and self._variant.fail.holds(payload):
            raise self._failure(payload)
        body = self._body_of(payload)
        self._read_charge(payload)
        if body is not payload:
            self._read_charge(body)
        return self._charged(self._inner.feed(body))

    def flush(self) -> list[Event]:
        return self._inner.flush()

    def close(self, complete: bool = True) -> list[Event]:
        return self._charged(self._inner.close(complete))

    def _body_of(self, payload: Json) -> Json:
        if any(name in payload for name in self._landmarks):
            return payload
        for key in self._unwrap:
            inside: Any = payload.get(key)
            if isinstance(inside, dict) and any(name in inside for name in self._landmarks):
                return inside
        return payload

    def _read_charge(self, payload: Json) -> None:
        """As beside pictures: the vendor's own fields, and what they come to."""
        billing = self._variant.billing
        self._charge |= kept_charge(billing.keep, payload)
        cost = money(billing.cost, payload)
        if cost is not None:
            self._charge |= {"cost": str(cost)} | ({"unit": billing.unit} if billing.unit else {})

    def _charged(self, events: list[Event]) -> list[Event]:
        if not self._charge:
            return events
        return [
            replace(event, vendor={**(event.vendor or {}), **self._charge})
            if isinstance(event, Usage)
            else event
            for event in events
        ]

    def _failure(self, payload: Json) -> UpstreamError:
        """What stands beside it was made."""
        made = bool(self._body_of(payload).get(self._landmarks[0]))
        complaint = failures.of_reply(self._variant.errors, 200, {}, payload)
        error_class = failures.class_of_failure(self._variant.errors, complaint)
        return failures.failure(error_class, complaint, self._provider, bought=made or None)
