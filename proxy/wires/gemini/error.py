"""Errors of the Gemini API and of those who resell it: one table of rules over what `refusals` reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import ChatRequest, Json, Target
from proxy.wires import refusals
from proxy.wires.gemini.repairs import NO_LOGPROBS, RESIGN, SCHEMA_FORM, SENTINEL_BASE64
from proxy.wires.refusals import classes
from proxy.wires.refusals.report import STATUS_OF_WORD


@dataclass(frozen=True, slots=True)
class _Rule:
    """`statuses` empty: any. `text` is looked for in all the error says, `code` in its code alone. `told` is
    the code for the client, `status` its status."""

    error_class: ErrorClass
    statuses: frozenset[int] = frozenset()
    text: re.Pattern[str] | None = None
    code: re.Pattern[str] | None = None
    told: str | None = None
    status: int | None = None


def _rule(
    error_class: ErrorClass,
    statuses: str,
    text: str = "",
    code: str = "",
    *,
    told: str | None = None,
    status: int | None = None,
) -> _Rule:
    return _Rule(
        error_class,
        frozenset(map(int, statuses.split())),
        re.compile(text, re.I | re.S) if text else None,
        re.compile(code, re.I) if code else None,
        told,
        status,
    )


# The first that fits. Sources: gemini.md 6, vendors.md 1.4 and 3.
_RULES = (
    _rule(
        ErrorClass.AUTH,
        "400 401 403",
        # At the head of a line: Google quotes what a client wrote further on.
        r"(?m:^)(?:API_KEY_|.{0,30}api key (?:not valid|not found|expired|is invalid)"
        r"|.{0,30}reported as leaked)",
    ),
    _rule(ErrorClass.BAD_REQUEST, "400", classes.CONTEXT.pattern, told="context_length_exceeded"),
    _rule(ErrorClass.BLOCKED, "400 403 422", code=r"moderat|safety|policy|sensitive|blocked"),
    _rule(ErrorClass.QUOTA, "429", r"per ?day"),
    _rule(ErrorClass.QUOTA, "402"),
    _rule(
        ErrorClass.UNAVAILABLE,
        "400 403",
        r"location is not supported|not (?:supported|available) in your (?:country|region)",
        status=403,
        told="upstream_region",
    ),
    # Somebody else's file says nothing about our key.
    _rule(
        ErrorClass.BAD_REQUEST,
        "403",
        r"permission to access the (?:file|cached ?content)",
        status=403,
    ),
    _rule(ErrorClass.AUTH, "401 403"),
    _rule(ErrorClass.BAD_REQUEST, "404", r"cached? ?content|\bfiles?[/ ]", status=404),
    _rule(ErrorClass.NOT_FOUND, "404"),
    _rule(ErrorClass.TIMEOUT, "408 499 504"),
    _rule(ErrorClass.BAD_REQUEST, "413", status=413, told="request_too_large"),
    _rule(ErrorClass.RATE_LIMITED, "429"),
    _rule(
        ErrorClass.UNAVAILABLE, "503", r"no (?:available )?channel|model_not_found|not configured|no upstream"
    ),
    _rule(ErrorClass.OVERLOADED, "503 529"),
    _rule(ErrorClass.BAD_REQUEST, " ".join(map(str, range(400, 500)))),
    _rule(ErrorClass.INTERNAL, ""),
)

# What relays say in words that Google does not use: of the operator's account, and of what they do not make.
_OF_RELAYS: Mapping[ErrorClass | None, _Rule] = {
    one: _rule(one, "") for one in (ErrorClass.QUOTA, ErrorClass.AUTH, ErrorClass.BLOCKED)
}

# Google's fields, in any spelling, and the attributes they are made from.
_FIELDS = {
    "contents": "messages",
    "systeminstruction": "messages",
    "tools": "tools",
    "toolconfig": "tool_choice",
    "safetysettings": "safety_settings",
    "cachedcontent": "cached_content",
    "servicetier": "service_tier",
    "generationconfig.temperature": "temperature",
    "generationconfig.topp": "top_p",
    "generationconfig.topk": "top_k",
    "generationconfig.candidatecount": "n",
    "generationconfig.maxoutputtokens": "max_tokens",
    "generationconfig.stopsequences": "stop",
    "generationconfig.seed": "seed",
    "generationconfig.presencepenalty": "presence_penalty",
    "generationconfig.frequencypenalty": "frequency_penalty",
    "generationconfig.responselogprobs": "logprobs",
    "generationconfig.logprobs": "top_logprobs",
    "generationconfig.responsemimetype": "answer_format",
    "generationconfig.responseschema": "answer_format",
    "generationconfig.responsejsonschema": "answer_format",
    "generationconfig.responsemodalities": "modalities",
    "generationconfig.speechconfig": "audio",
    "generationconfig.imageconfig": "image",
    "generationconfig.thinkingconfig": "thinking",
}

# What a refusal speaks of that names no field.
_NO_LOGPROBS = re.compile(r"\blogprobs? (?:is|are) not (?:enabled|supported)", re.I)
_SPOKEN_OF = ((_NO_LOGPROBS, "logprobs"),)

# All patterns of a row must be found.
_REPAIRS: tuple[tuple[str, tuple[re.Pattern[str], ...]], ...] = (
    (SENTINEL_BASE64, (re.compile(r"thought.?signature", re.I), re.compile(r"base64", re.I))),
    (RESIGN, (re.compile(r"thought.?signature", re.I),)),
    (NO_LOGPROBS, (_NO_LOGPROBS,)),
    (
        SCHEMA_FORM,
        (
            re.compile(
                r"(?:parameters|response)_?json_?schema"
                r"|unknown name.{1,200}(?:function_?declarations|response_?schema)",
                re.I,
            ),
        ),
    ),
)


def read_error(status: int, headers: Mapping[str, str], body: bytes, target: Target) -> UpstreamError:
    """The error that an HTTP status >= 400 stands for."""
    return _judge(refusals.read(status, headers, body), target)


def is_error(payload: Json) -> bool:
    """True for an error that came with a 200 or inside a stream."""
    return refusals.is_refusal(payload, "candidates")


def error_in(payload: Json, target: Target) -> UpstreamError:
    """The error a payload is."""
    return _judge(refusals.read(None, {}, payload), target)


def repair(error: Exception, request: ChatRequest | None = None) -> str | None:
    """Name the change to the request that may cure a 400, None if there is none. Of a client's own body only
    signatures are changed."""
    if not isinstance(error, UpstreamError) or error.error_class is not ErrorClass.BAD_REQUEST:
        return None
    name = next(
        (name for name, patterns in _REPAIRS if all(one.search(error.message) for one in patterns)), None
    )
    is_ours = request is None or request.foreign is None or request.foreign.whole is None
    return name if is_ours or name not in (SCHEMA_FORM, NO_LOGPROBS) else None


def _judge(report: refusals.ToldRefusal, target: Target) -> UpstreamError:
    if classes.is_of_a_gateway(report):
        return refusals.failure(ErrorClass.UNAVAILABLE, report, target.provider)
    word = next((word for word in report.words if word in STATUS_OF_WORD), None)
    words = tuple(word for word in report.words if word not in STATUS_OF_WORD)
    code = words[0] if words else ""
    status = report.told or report.http or (STATUS_OF_WORD[word] if word else 500)
    said = "\n".join((report.message, code, *report.notes))
    told = classes.of_words(replace(report, words=words))
    rule = _OF_RELAYS.get(told) or next(rule for rule in _RULES if _fits(rule, status, said, code))
    failure = refusals.failure(
        rule.error_class,
        report,
        target.provider,
        status=rule.status,
        code=rule.told,
        native=word or code or None,
    )
    field = failure.param
    if field is None:
        attribute = next((name for words, name in _SPOKEN_OF if words.search(report.message)), None)
    else:
        attribute = _attribute(field)
    return failure if attribute is None else failure.changed(param=attribute)


def _attribute(field: str) -> str:
    """What a field of Google's was made from, as it is where we made it from nothing of the kind."""
    steps = [step.partition("[")[0].replace("_", "").lower() for step in field.split(".")[:2]]
    return _FIELDS.get(steps[0]) or _FIELDS.get(".".join(steps)) or field


def _fits(rule: _Rule, status: int, said: str, code: str) -> bool:
    return (
        (not rule.statuses or status in rule.statuses)
        and (rule.text is None or rule.text.search(said) is not None)
        and (rule.code is None or rule.code.search(code) is not None)
    )
