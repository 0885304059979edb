"""Renders events as completions, whole or in chunks: choices with text and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from proxy.errors import ErrorClass, UpstreamError
from proxy.fronts import faults
from proxy.fronts.base import Facts, Header, Parsed, Piece
from proxy.fronts.openai import error_reply, spelling
from proxy.fronts.openai.completions.shape import CompletionShape
from proxy.fronts.openai.replies import reply_parts
from proxy.fronts.openai.replies.reply_parts import Ending
from proxy.types import Event, Finish, Image, Json, Logprobs, Refusal, Started, Text, Usage

_DONE = b"data: [DONE]\n\n"
_REASONS = frozenset({"length", "content_filter"})  # all others are a stop (E-041)


@dataclass(slots=True)
class _Choice(Ending):
    """`text` and `entries` are what is not written yet."""

    text: list[str] = field(default_factory=list)
    entries: list[Json] = field(default_factory=list)
    says: bool = False
    draws: bool = False
    offset: int = 0

    def taken(self) -> tuple[str, Json | None]:
        text, entries = "".join(self.text), self.entries
        self.text, self.entries = [], []
        return text, self._logprobs(entries) if entries else None

    def _logprobs(self, entries: list[Json]) -> Json:
        """In the old form (E-042): a list for each kind of fact."""
        tokens = [str(entry.get("token", "")) for entry in entries]
        offsets = []
        for token in tokens:
            offsets.append(self.offset)
            self.offset += len(token)
        return {
            "tokens": tokens,
            "token_logprobs": [entry.get("logprob") for entry in entries],
            "top_logprobs": [
                {str(top.get("token", "")): top.get("logprob") for top in entry.get("top_logprobs") or ()}
                for entry in entries
            ],
            "text_offset": offsets,
        }

    def reason(self, finish: Finish, legacy: bool = False) -> str:
        return finish.reason if finish.reason in _REASONS else "stop"

    def check(self) -> Finish:
        """Raises `UpstreamError` for an answer that a completion has no room for."""
        finish = self.finished()
        if self.draws and not self.says:
            raise UpstreamError(
                ErrorClass.EMPTY,
                "The model answered with a picture, and a completion has room for text alone; use a chat.",
                bought=True,
                by_piece=True,
            )
        return finish


class CompletionRenderer:
    """One per reply: `whole`, or `feed` for every batch and then `finish`, or `error` when it broke."""

    ping = b": keep-alive\n\n"
    headers: tuple[Header, ...] = ()

    def __init__(self, parsed: Parsed[Any, CompletionShape], facts: Facts) -> None:
        self._parsed = parsed
        self._shape = parsed.shape
        self._facts = facts
        self._id = f"cmpl-{token_hex(12)}"
        self._fingerprint: str | None = None
        self._usage = Usage()
        self._choices: dict[int, _Choice] = {}

    def whole(self, events: Iterable[Event]) -> list[Piece]:
        for event in events:
            self._take(event)
        choices = []
        for index in self._complete():
            choice = self._choices[index]
            finish = choice.check()
            choices.append(_written(index, choice, choice.reason(finish)))
        usage = reply_parts.usage(self._usage, self._facts.cost)
        return faults.dumped({**self._common(), "choices": choices, "usage": usage})

    def feed(self, events: Iterable[Event]) -> list[Piece]:
        frames: list[Piece] = []
        for event in events:
            choice = self._take(event)
            if choice is not None and isinstance(event, Text | Logprobs | Refusal):
                frames.append(self._chunk(_written(event.choice, choice, None)))
        return frames

    def finish(self) -> list[Piece]:
        frames = []
        for index in self._complete():
            choice = self._choices[index]
            frames.append(self._chunk(_written(index, choice, choice.reason(choice.check()))))
        if self._shape.include_usage:
            usage = reply_parts.usage(self._usage, self._facts.cost)
            frames.append(_event({**self._common(), "choices": [], "usage": usage}))
        return [*frames, _DONE]

    def error(self, error: BaseException, request_id: str) -> bytes:
        return error_reply.event(spelling.spelled_error(error, self._parsed), request_id)

    # --- events

    def _take(self, event: Event) -> _Choice | None:
        """Keep what an event says; None where it is not said in a choice."""
        if isinstance(event, Started):
            self._fingerprint = event.fingerprint
            return None
        if isinstance(event, Usage):
            self._usage = event
            return None
        choice = self._choices.get(event.choice)
        if choice is None:
            choice = self._choices[event.choice] = _Choice()
            if event.choice < len(self._shape.echo):
                choice.text.append(self._shape.echo[event.choice])
        if isinstance(event, Text | Refusal):
            choice.text.append(event.text)
            choice.says = choice.says or bool(event.text)
        elif isinstance(event, Logprobs):
            choice.entries += event.content
        elif isinstance(event, Image):
            choice.draws = True
        elif isinstance(event, Finish):
            choice.finish = event
        return choice

    def _complete(self) -> list[int]:
        if not self._choices:
            raise faults.empty_reply()
        return sorted(self._choices)

    # --- what is written

    def _common(self) -> Json:
        common: Json = {
            "id": self._id,
            "object": "text_completion",
            "created": self._facts.created,
            "model": self._shape.model,
        }
        if self._fingerprint is not None:
            common["system_fingerprint"] = self._fingerprint
        return common

    def _chunk(self, choice: Json) -> bytes:
        counted = {"usage": None} if self._shape.include_usage else {}
        return _event({**self._common(), "choices": [choice], **counted})


def _written(index: int, choice: _Choice, reason: str | None) -> Json:
    text, logprobs = choice.taken()
    return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": reason}


def _event(value: Json) -> bytes:
    return b"".join((b"data: ", *faults.dumped(value), b"\n\n"))
