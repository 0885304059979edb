"""Refusals of upstreams that speak OpenAI: `wires/refusals` reads and classes them, the repairs are here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import ChatRequest, Json, Target
from proxy.wires import refusals
from proxy.wires.refusals import classes

WITHOUT: Final = "without:"  # the repair of a field that is refused; its name stands behind it
_SAMPLING = ("temperature", "top_p", "top_k")  # no answer is wrong without them
_STRANGE = (
    r"(?:unrecogni[sz]ed|unknown|unsupported|unexpected|not (?:support|permitted|allowed|recogni[sz]ed))"
)

# Fields that a server may not know, and what the next try does instead.
_REPAIRS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"max_tokens.{0,80}max_completion_tokens", re.I | re.S), "max_completion_tokens"),
    (re.compile(r"max_completion_tokens", re.I), "max_tokens"),
    (re.compile(r"stream_options", re.I), "no_stream_options"),
    # A value that is wrong the client has to mend; an effort is our word for what it wishes.
    *(
        (
            re.compile(rf"{_STRANGE}.{{0,80}}\b{name}\b|\b{name}\b.{{0,40}}{_STRANGE}", re.I | re.S),
            WITHOUT + name,
        )
        for name in _SAMPLING
    ),
    (re.compile(r"reasoning_effort", re.I), WITHOUT + "reasoning_effort"),
    # "The `reasoning_content` in the thinking mode must be passed back to the API."
    (
        re.compile(r"reasoning_content.{0,60}passed back|missing.{0,20}reasoning_content", re.I | re.S),
        "thoughts_back",
    ),
    # DeepSeek, and what is written in Go: a message's content has to be a string.
    (
        re.compile(r"sequence, expected a string|array into Go struct field \S+content of type string"),
        "joined_texts",
    ),
)

# What a model's template raises; llama.cpp and Ollama answer a 500 then.
_SYSTEM_FIRST = re.compile(r"system message must be at the (?:beginning|start)", re.I)

AT_MOST: Final = "at_most:"  # the repair of a limit of tokens that is too high; the number stands behind it

# What OpenAI, DeepSeek, DashScope and Groq say of it.
_LIMIT = re.compile(
    r"max_(?:completion_)?tokens.{0,160}?(?:at most|less than or equal to|should be|tokens is)"
    r"\D{0,12}?(?:\[\s*1\s*,\s*)?(\d{2,9})\b",
    re.I | re.S,
)
# What vLLM and DeepSeek say where prompt and answer have to share.
_ROOM = re.compile(
    r"maximum context length is (\d{1,9}) tokens"
    r".{0,80}?(?:has (\d{1,9}) input tokens|\((\d{1,9}) in the messages)",
    re.I | re.S,
)
_LEAST_ROOM = 1024  # of less no answer can be made: clients shorten the conversation where they are told


def error(status: int, headers: Mapping[str, str], body: bytes, target: Target) -> UpstreamError:
    """The error that a status of 400 and more stands for."""
    return _made(refusals.read(status, headers, body), target)


def is_error(payload: Json) -> bool:
    """True for an error in place of a reply or of a chunk."""
    return refusals.is_refusal(payload, "choices")


def error_in(payload: Json, target: Target) -> UpstreamError:
    """The error inside a 200, which may tell the status it would have had."""
    return _made(refusals.read(None, {}, payload), target)


def repair(failure: Exception, request: ChatRequest | None) -> str | None:
    if not isinstance(failure, UpstreamError):
        return None
    if _SYSTEM_FIRST.search(failure.message):
        return "leading_system"
    if failure.error_class is not ErrorClass.BAD_REQUEST:
        return None
    said = f"{failure.message} {failure.param or ''}"
    wanted = request.max_tokens if request is not None else None
    if wanted is not None and (allowed := _allowed(said)) is not None and allowed < wanted:
        return f"{AT_MOST}{allowed}"
    return next((name for pattern, name in _REPAIRS if pattern.search(said)), None)


def _allowed(said: str) -> int | None:
    """How many tokens an answer may have, if the refusal tells that."""
    if room := _ROOM.search(said):
        left = int(room[1]) - int(room[2] or room[3])
        return left if left >= _LEAST_ROOM else None
    limit = _LIMIT.search(said)
    return None if limit is None else int(limit[1])


def _made(report: refusals.ToldRefusal, target: Target) -> UpstreamError:
    error_class = classes.of_report(report)
    code = status = None
    if report.http == 413:
        code, status = "request_too_large", 413
    elif error_class is ErrorClass.BAD_REQUEST and classes.CONTEXT.search(report.message):
        code = "context_length_exceeded"
    return refusals.failure(error_class, report, target.provider, status=status, code=code)
