"""Refusals of upstreams that speak OpenAI: `wires/refusals` reads and classes them, the repairs are here."""

from __future__ import annotations

import re
from collections.abc import Mapping

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Json, Target
from proxy.wires import refusals
from proxy.wires.refusals import classes

_STRANGE = (
    r"(?:unrecogni[sz]ed|unknown|unsupported|unexpected|not (?:permitted|supported|allowed|recogni[sz]ed))"
)

# Fields that a server may not know, and what the next try does instead.
_REPAIRS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"max_tokens.{0,80}max_completion_tokens", re.I | re.S), "max_completion_tokens"),
    (re.compile(r"max_completion_tokens", re.I), "max_tokens"),
    (re.compile(r"stream_options", re.I), "no_stream_options"),
    # Its value may be wrong too, which is the client's to mend.
    (re.compile(rf"{_STRANGE}.{{0,80}}top_k|top_k.{{0,40}}{_STRANGE}", re.I | re.S), "no_top_k"),
    # DeepSeek, and what is written in Go: a message's content has to be a string.
    (
        re.compile(r"sequence, expected a string|array into Go struct field \S+content of type string"),
        "joined_texts",
    ),
)


def error(status: int, headers: Mapping[str, str], body: bytes, target: Target) -> UpstreamError:
    """The error that a status of 400 and more stands for."""
    return _made(refusals.read(status, headers, body), target)


def is_error(payload: Json) -> bool:
    """True for an error in place of a reply or of a chunk."""
    return refusals.is_refusal(payload, "choices")


def error_in(payload: Json, target: Target) -> UpstreamError:
    """The error inside a 200, which may tell the status it would have had."""
    return _made(refusals.read(None, {}, payload), target)


def repair(failure: Exception) -> str | None:
    if not isinstance(failure, UpstreamError) or failure.error_class is not ErrorClass.BAD_REQUEST:
        return None
    said = f"{failure.message} {failure.param or ''}"
    return next((name for pattern, name in _REPAIRS if pattern.search(said)), None)


def _made(report: refusals.ToldRefusal, target: Target) -> UpstreamError:
    error_class = classes.of_report(report)
    code = status = None
    if report.http == 413:
        code, status = "request_too_large", 413
    elif error_class is ErrorClass.BAD_REQUEST and classes.CONTEXT.search(report.message):
        code = "context_length_exceeded"
    return refusals.failure(error_class, report, target.provider, status=status, code=code)
