"""Texts and pictures judged by servers that speak OpenAI: `/moderations`."""

from __future__ import annotations

from typing import Any, Final

from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.types import Call, Event, Json, MediaPart, ModerationRequest, Slice, Target, TextPart, Verdict
from proxy.wires import refusals
from proxy.wires.openai import error
from proxy.wires.openai.request import foreign


class OpenAIModerations:
    """Implements `types.Operation`."""

    carries: Final = frozenset({"model", "items", "foreign"})

    def build(
        self, request: ModerationRequest, target: Target, repairs: frozenset[str] = frozenset()
    ) -> Call:
        dropped: list[str] = []
        body: Json = {
            **foreign(request.foreign, target.options, dropped),
            "model": target.model,
            "input": _input(request),
        }
        return Call("/moderations", body, dropped=tuple(dropped))

    def reader(self, request: ModerationRequest, target: Target, call: Call) -> _Reader:
        return _Reader(len(request.items), target)

    def unable(self, request: ModerationRequest, target: Target) -> RequestError | None:
        return None

    def shares(self, request: ModerationRequest, target: Target) -> tuple[int, ...]:
        return (1,)


def _input(request: ModerationRequest) -> list[Any]:
    """Texts each by itself, as a list; parts together, as objects."""
    first = request.items[0]
    if len(first) == 1 and isinstance(first[0], TextPart):
        return [part.text for item in request.items for part in item if isinstance(part, TextPart)]
    return [_part(part) for part in first]


def _part(part: TextPart | MediaPart) -> Json:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    url: Any = part.url
    if part.data is not None:
        url = Slice(part.data.raw, f"data:{part.mime or 'image/png'};base64,".encode())
    return {"type": "image_url", "image_url": {"url": url}}


class _Reader:
    def __init__(self, count: int, target: Target) -> None:
        self._count = count
        self._target = target
        self._judged = 0

    def feed(self, payload: Json) -> list[Event]:
        results = payload.get("results")
        if refusals.is_refusal(payload, "results") or not isinstance(results, list):
            raise error.error_in(payload, self._target)
        events: list[Event] = []
        for entry in results:
            # Never taken for harmless for want of a word on it (E-030).
            if not isinstance(entry, dict) or not isinstance(entry.get("flagged"), bool):
                raise _malformed()
            facts = {name: value for name, value in entry.items() if name != "flagged"}
            events.append(Verdict(entry["flagged"], facts))
        self._judged += len(events)
        return events

    def flush(self) -> list[Event]:
        return []

    def close(self, complete: bool = True) -> list[Event]:
        if self._judged != self._count:
            raise _malformed()
        return []


def _malformed() -> UpstreamError:
    return UpstreamError(
        ErrorClass.INTERNAL,
        "The upstream answered with something that is no verdict on each input.",
        code="upstream_malformed_response",
    )
