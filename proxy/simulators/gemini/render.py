"""Writes answers as the service does: one body, an SSE stream, or a streamed JSON array (4.7, 5.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import orjson

from proxy.simulators.directives import Directives
from proxy.simulators.gemini.answer import Answer, part_tokens
from proxy.simulators.gemini.prompt import Prompt, tokens_of

Json = dict[str, Any]

_USUAL_PIECES = 5
# These words come with an empty content object, as recorded; the other empty candidates have none.
_EMPTY_CONTENT: dict[str, Json] = {"MALFORMED_FUNCTION_CALL": {}, "MAX_TOKENS": {"role": "model"}}


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every payload of one reply repeats."""

    prompt: Prompt
    model: str
    response_id: str
    tier: str = "standard"

    def around(self, candidates: list[Json], usage: Json) -> Json:
        payload: Json = {"candidates": candidates} if candidates else {}
        if "nousage" not in self.prompt.directives:
            payload["usageMetadata"] = usage
        return payload | {"modelVersion": self.model, "responseId": self.response_id}


def _details(tokens: dict[str, int]) -> list[Json]:
    return [{"modality": name, "tokenCount": count} for name, count in tokens.items() if count]


@dataclass(slots=True)
class Spent:
    """Output tokens so far; `thoughts` None: not told yet."""

    text: int = 0
    images: int = 0
    audio: int = 0
    thoughts: int | None = None
    tools: int = 0

    def usage(self, envelope: Envelope) -> Json:
        prompt = sum(envelope.prompt.tokens.values())
        said = self.text + self.images + self.audio
        orders = envelope.prompt.directives
        usage: Json = {"promptTokenCount": prompt}
        if said:
            usage["candidatesTokenCount"] = said
        usage["totalTokenCount"] = prompt + said + (self.thoughts or 0) + self.tools
        if "cached" in orders:
            cached = min(orders.count("cached", 4), prompt)
            usage["cachedContentTokenCount"] = cached
            usage["cacheTokensDetails"] = _details({"TEXT": cached})
        usage["promptTokensDetails"] = _details(envelope.prompt.tokens)
        if self.images or self.audio:
            usage["candidatesTokensDetails"] = _details({"IMAGE": self.images, "AUDIO": self.audio})
        if self.thoughts:
            usage["thoughtsTokenCount"] = self.thoughts
        if self.tools:
            usage["toolUsePromptTokenCount"] = self.tools
            usage["toolUsePromptTokensDetails"] = _details({"TEXT": self.tools})
        return usage | {"serviceTier": envelope.tier}


def whole(envelope: Envelope, answers: Sequence[Answer]) -> Json:
    spent = Spent(thoughts=0)
    candidates = []
    for index, answer in enumerate(answers):
        spent.text += answer.text_tokens
        spent.images += answer.image_tokens
        spent.audio += answer.audio_tokens
        spent.thoughts = (spent.thoughts or 0) + answer.thought_tokens
        spent.tools += answer.tool_tokens
        parts = [dict(part) for part in answer.parts]
        if answer.signature:
            parts[-1]["thoughtSignature"] = answer.signature
        candidates.append(_candidate(index, parts, answer.finish, answer.extra))
    return envelope.around(candidates, spent.usage(envelope))


def _candidate(index: int, parts: list[Json], finish: str | None, extra: Json) -> Json:
    candidate: Json = {}
    if parts:
        candidate["content"] = {"parts": parts, "role": "model"}
    elif finish in _EMPTY_CONTENT:
        candidate["content"] = _EMPTY_CONTENT[finish]
    if finish:
        candidate["finishReason"] = finish
    return candidate | {"index": index} | extra


@dataclass(slots=True)
class _Step:
    """One chunk of one candidate, and what it costs."""

    parts: list[Json]
    text: int = 0
    images: int = 0
    audio: int = 0
    finish: str | None = None
    extra: Json = field(default_factory=dict)
    silent: bool = False


def streamed(envelope: Envelope, answers: Sequence[Answer]) -> list[Json]:
    """The payloads of a stream, candidates interleaved, with cumulative usage in each."""
    orders = envelope.prompt.directives
    spent = Spent(tools=0)
    tracks = [list(_steps(answer, orders)) for answer in answers]
    payloads = []
    for turn in range(max(map(len, tracks), default=0)):
        for index, track in enumerate(tracks):
            if turn >= len(track):
                continue
            step = track[turn]
            spent.text += step.text
            spent.images += step.images
            spent.audio += step.audio
            if not step.silent:
                spent.thoughts = sum(answer.thought_tokens for answer in answers)
                spent.tools = sum(answer.tool_tokens for answer in answers)
            candidate = _candidate(index, step.parts, step.finish, step.extra)
            payloads.append(envelope.around([candidate], spent.usage(envelope)))
    if "usage-gap" in orders and payloads:
        # A later chunk may omit a field an earlier one had (pydantic/pydantic-ai #5205).
        usage = payloads[-1].get("usageMetadata", {})
        for name in ("thoughtsTokenCount", "candidatesTokenCount"):
            usage.pop(name, None)
    return payloads


def _steps(answer: Answer, orders: Directives) -> Iterator[_Step]:
    images = sum("inlineData" in part and not part.get("thought") for part in answer.parts)
    steps: list[_Step] = []
    for part in answer.parts:
        if part.get("thought"):
            steps.append(_Step([part], silent=True))
        elif "text" in part:
            pieces = split(part["text"], orders.count("chunks"))
            steps += [_Step([{**part, "text": piece}], tokens_of(piece)) for piece in pieces]
        elif "functionCall" in part:
            steps.append(_Step([part], part_tokens(part)))
        elif "inlineData" in part:
            cost = answer.image_tokens // max(1, images)
            steps.append(_Step([part], images=cost, audio=answer.audio_tokens))
        else:
            steps.append(_Step([part]))
    _settle(steps, answer)
    if orders.word("chunks") == "1" and steps:
        steps = [_merged(steps, answer)]
    elif answer.signature:
        steps.append(_Step([{"text": "", "thoughtSignature": answer.signature}]))
    elif steps and "functionCall" in steps[-1].parts[0]:
        # As recorded: the finish comes in a chunk of its own, after the calls.
        steps.append(_Step([{"text": ""}]))
    elif not steps:
        steps.append(_Step([]))
    steps[-1].finish, steps[-1].extra = answer.finish, answer.extra
    return iter(steps)


def _settle(steps: list[_Step], answer: Answer) -> None:
    """Pieces are rounded up one by one; the last takes the difference, so that whole equals streamed."""
    texts = [step for step in steps if step.text]
    surplus = sum(step.text for step in texts) - answer.text_tokens
    for step in reversed(texts):
        taken = min(step.text, surplus)
        step.text -= taken
        surplus -= taken


def _merged(steps: list[_Step], answer: Answer) -> _Step:
    parts = [dict(part) for step in steps for part in step.parts]
    if answer.signature:
        parts[-1]["thoughtSignature"] = answer.signature
    return _Step(
        parts,
        sum(step.text for step in steps),
        sum(step.images for step in steps),
        answer.audio_tokens,
    )


def split(text: str, pieces: int) -> list[str]:
    """Cut between words into `pieces`, or into a handful when 0. Joined they are the text again."""
    words = text.split(" ")
    count = min(pieces or _USUAL_PIECES, len(words))
    borders = [len(words) * i // count for i in range(count + 1)]
    cut = [" ".join(words[start:end]) for start, end in pairwise(borders)]
    return [piece + " " for piece in cut[:-1]] + cut[-1:]


# Frames -----------------------------------------------------------------------------------------------------


def sse(payloads: Sequence[Json], orders: Directives) -> list[bytes]:
    end = b"\n\n" if "lf" in orders else b"\r\n\r\n"
    frames = [b"data: " + orjson.dumps(payload) + end for payload in payloads]
    if "comments" in orders:
        frames = [b": simulated" + end + frame for frame in frames]
    return frames


def array(payloads: Sequence[Json]) -> list[bytes]:
    """Without `alt=sse` the same payloads are one JSON array, printed with line breaks."""
    frames = [orjson.dumps(payload, option=orjson.OPT_INDENT_2) + b"\n" for payload in payloads]
    return [b"[" + frames[0], *(b",\r\n" + frame for frame in frames[1:]), b"]"] if frames else [b"[]"]
