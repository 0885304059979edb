"""What an error body says, from whichever of the shapes that vendors, gateways and relays write.

Google's error with its details, OpenAI's object or string, lists of either, Cloudflare's `errors`, FastAPI's
`detail`, JSON inside of a message, web pages, plain text, and JSON that was cut off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from proxy.codec import jsonio
from proxy.types import Json, Slice
from proxy.wires.refusals import text, waits

_MOST_BYTES = 1 << 20  # of a body
_MOST_EMBEDDED = 1 << 16  # characters of a text that may be JSON
_MOST_NESTING = 8
_MOST_ITEMS = 8  # of a list of errors
_MOST_HOLDERS = 32
_MOST_NOTES = 16
_MOST_WORD = 128
_MOST_NOTE = 512

_RAW = ("metadata", "raw")  # OpenRouter: the message is "Provider returned error", this is what it was
_SAYS = (
    "message", "msg", "error_msg", "error_message", "errorMessage", "error_description", "detail", "error",
    "errors", "title", "reason", "description", "status_msg", "err_msg", "errmsg", "failMsg", "failReason",
    "fail_reason", "failure_reason", "task_status_msg", "Error", "Message", "faultstring",
)  # fmt: skip
_INSIDE = ("innererror", "error", "errors", "detail", "message")
_ENVELOPES = (
    "base_resp",
    "data",
    "output",
    "result",
    "task",
    "job",
    "response",
    "Response",
    "ResponseMetadata",
    "fault",
)  # in which vendors of jobs put the above
_CODES = ("code", "error_code", "errorCode", "err_code", "errcode", "status_code", "statusCode")
_GOOD_CODES = frozenset(
    {"", "0", "00000", "200", "201", "202", "ok", "success", "succeed", "succeeded", "none"}
)
_NAMES = ("code", "error_code", "errorCode", "status", "type", "error_type")
_SAYS_IN_A_200 = ("message", "msg", "error_msg", "error_message", "errorMessage", "detail")
_SAYS_INSTEAD = (  # of a reply
    *_SAYS_IN_A_200, "errmsg", "err_msg", "err", "Message", "error_description", "status_msg", "reason",
    "fail_reason", "failReason", "failMsg", "failure_reason", "faultstring", "exception",
)  # fmt: skip

# Google's words for a status. They say no more than it does, and `status` holds other things elsewhere.
STATUS_OF_WORD = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

_VAGUE = (
    "invalid_request",
    "internal",
    "unknown",
    "failed",
    "fail",
)  # codes that tell no more than the status

_CUT_OFF = re.compile(
    r'"(?:message|msg|error_msg|error_message|errorMessage|detail|error)"\s{0,8}:\s{0,8}"((?:[^"\\]|\\.)*)',
    re.S,
)


@dataclass(frozen=True, slots=True)
class ToldRefusal:
    """A refusal as it was told. Nothing in it is longer than patterns may see.

    `http` is the reply's status, None for a stream's payload; `told` is the one that the body names. `words`
    are the codes, statuses and types, innermost first. `notes` are for rules to look at and never shown:
    reasons, quotas, debug texts. `is_page`: a web page, so a machine before the vendor's speaks. `forbidden`:
    `x-should-retry: false`.
    """

    http: int | None = None
    told: int | None = None
    message: str = ""
    words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    param: str | None = None
    retry_after_s: float | None = None
    is_page: bool = False
    forbidden: bool = False

    @property
    def has_reason(self) -> bool:
        """Whether the vendor itself says why."""
        return not self.is_page and bool(self.message or self.words)

    @property
    def telling(self) -> str | None:
        """The first word, if it says more than `invalid_request_error`, for a client to see."""
        first = next((word for word in self.words if word not in STATUS_OF_WORD), "")
        return first if _is_telling(first) else None


def read(status: int | None, headers: Mapping[str, str], body: Any) -> ToldRefusal:
    """`body` is bytes, or JSON that is decoded already. `status` is None for a payload of a stream."""
    payload = payload_of(body) if isinstance(body, bytes) else body
    holders = list(islice(_holders(payload, 0), _MOST_HOLDERS))
    details = [detail for holder in holders for detail in _dicts(holder.get("details"))][:_MOST_HOLDERS]
    message = _with_violations(text.cut(_text(payload, 0) or _any_sentence(payload, 0)), details)
    is_page = text.is_page(message)
    if is_page:
        name = text.title(message)[: text.MOST_FOREIGN]
        message = f"The upstream answered{f' HTTP {status}' if status else ''} with a web page"
        message = f"{message}: {name}"[: text.MOST_FOREIGN - 1] + "." if name else f"{message}."
    return ToldRefusal(
        http=status,
        told=next((code for holder in holders for code in _statuses(holder)), None),
        message=message,
        words=tuple(islice((word for holder in holders for word in _words(holder)), _MOST_ITEMS)),
        notes=tuple(islice((note for detail in details for note in _notes(detail)), _MOST_NOTES)),
        param=next((param for holder in holders if (param := _param(holder))), None) or _field(details),
        retry_after_s=_wait_s(headers, details, message),
        is_page=is_page,
        forbidden=any(
            name.lower() == "x-should-retry" and value.strip().lower() == "false"
            for name, value in headers.items()
        ),
    )


def page_in(body: bytes) -> str | None:
    """The title of a web page, None for what is none."""
    head = text.cut(body[:_MOST_BYTES].decode("utf-8-sig", "replace"))
    return text.title(head)[: text.MOST_FOREIGN] if text.is_page(head) else None


def said(value: Any) -> str:
    """The message in a part of a body: a text, an object with one, or a list of such."""
    return text.cut(_text(value, 0))


def is_told(payload: Json) -> bool:
    """True for a reply that says of itself that it failed: by an error, or by a code with a sentence."""
    if payload.get("error") or payload.get("errors") or payload.get("success") is False:
        return True
    base = payload.get("base_resp")
    holders = [payload, *([base] if isinstance(base, dict) else [])]
    codes = (holder.get(name) for holder in holders for name in _CODES)
    return any(_is_bad(code) for code in codes) and bool(_text(payload, 0))


def _code_of_base(payload: Json) -> Any:
    """MiniMax tells of failures here, with HTTP 200."""
    base = payload.get("base_resp")
    return base.get("status_code") if isinstance(base, dict) else None


def _is_bad(code: Any) -> bool:
    if isinstance(code, bool) or not isinstance(code, int | str):
        return False
    return str(code).strip().lower() not in _GOOD_CODES


def is_refusal(payload: Json, content: str) -> bool:
    """True for an error in place of a reply or of a chunk, whose `content` is what a good one has."""
    if payload.get("error") or payload.get("success") is False:
        return True
    if payload.get(content) or _counts_something(payload.get("usage")):
        return False
    if payload.get("object") == "error" or payload.get("errors") or _is_bad(_code_of_base(payload)):
        return True
    if _dict(payload.get("Response")).get("Error"):  # Tencent
        return True
    return bool(said_instead(payload))


def said_instead(payload: Json) -> str:
    """What a reply says in place of what was asked for; empty where that is `success` or the like."""
    inside = (inner for name in _ENVELOPES if isinstance(inner := payload.get(name), dict))
    places = (
        *(payload.get(name) for name in _SAYS_INSTEAD),
        *(inner.get(name) for inner in inside for name in ("error", "Error", *_SAYS_INSTEAD)),
    )
    found = (_text(place, 0) for place in places if place)
    return next((said for said in found if said.strip().lower() not in _GOOD_CODES), "")


def _counts_something(usage: Any) -> bool:
    return isinstance(usage, dict) and any(isinstance(count, int) and count for count in usage.values())


# --- from bytes ------------------------------------------------------------------------------------


def payload_of(body: bytes) -> Any:
    """JSON, also where bytes of it are broken, or the beginning of a text."""
    body = body[:_MOST_BYTES]
    try:
        return jsonio.loads(body)
    except (jsonio.JSONDecodeError, RecursionError):
        pass
    said = body.decode("utf-8-sig", "replace")
    if said.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(said)
        except (ValueError, RecursionError):
            return _cut_off(text.cut(said)) or text.cut(said)
    inner = _embedded(said)
    if inner is not None:
        return inner
    head = text.cut(said)
    return head if text.is_page(head) else text.plain(head)[: text.MOST_FOREIGN]


def _cut_off(said: str) -> str | None:
    """The message of JSON whose end is missing."""
    found = _CUT_OFF.search(said)
    if found is None:
        return None
    try:
        return str(json.loads(f'"{found[1]}"', strict=False))
    except ValueError:
        return found[1]


def _embedded(said: str) -> Any:
    """The error inside a text such as `got status: 429. {"error": ...}`; None where there is none."""
    if len(said) > _MOST_EMBEDDED:
        return None
    said = said.strip()
    whole = said[:1] in ("{", "[")
    start = 0 if whole else said.find("{")
    if start < 0 or '"' not in said:
        return None
    end = len(said) if whole else said.rfind("}") + 1
    try:
        value = jsonio.loads(said[start:end].encode("utf-8", "replace"))
    except (jsonio.JSONDecodeError, RecursionError):
        return None
    inner = next(iter(_dicts(value)), None) if isinstance(value, list) else value
    if isinstance(inner, dict) and not inner.keys().isdisjoint((*_SAYS_IN_A_200, "error", "errors")):
        return value
    return None


# --- what it says ----------------------------------------------------------------------------------


def _text(value: Any, depth: int) -> str:
    """The message: what a server behind a relay said, which is more, else the first that says something."""
    if depth > _MOST_NESTING:
        return ""
    if isinstance(value, Slice):
        value = bytes(value.raw[: text.MOST_READ]).decode("ascii", "replace")
    if isinstance(value, str):
        inner = _embedded(value)
        return (_text(inner, depth + 1) if inner is not None else "") or text.cut(value)
    if isinstance(value, list):
        return "; ".join(said for item in value[:_MOST_ITEMS] if (said := _text(item, depth + 1)))
    if not isinstance(value, dict):
        return ""
    raw = _dict(value.get(_RAW[0])).get(_RAW[1])
    error = value.get("error")
    names = _SAYS if isinstance(error, str) else ("error", *(name for name in _SAYS if name != "error"))
    inside = (value[name] for name in _ENVELOPES if isinstance(value.get(name), dict))
    places = (raw, *(value.get(name) for name in names), *inside)
    return next((said for place in places if place and (said := _text(place, depth + 1))), "")


def _any_sentence(value: Any, depth: int) -> str:
    """Of a shape that nobody knows: the first text of several words."""
    if isinstance(value, str):
        return value if " " in value[: text.MOST_READ].strip() else ""
    if depth > _MOST_NESTING:
        return ""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = (_any_sentence(item, depth + 1) for item in islice(items, _MOST_ITEMS))
    return next((said for said in found if said), "")


def _holders(value: Any, depth: int) -> Iterator[Json]:
    """The objects that may hold codes, innermost first."""
    if isinstance(value, str):
        value = _embedded(value) if "{" in value else None
    if depth > _MOST_NESTING:
        return
    if isinstance(value, list):
        for item in _dicts(value[:_MOST_ITEMS]):
            yield from _holders(item, depth + 1)
    if isinstance(value, dict):
        for inner in (_dict(value.get(_RAW[0])).get(_RAW[1]), *(value.get(name) for name in _INSIDE)):
            yield from _holders(inner, depth + 1)
        yield value


def _statuses(holder: Json) -> Iterator[int]:
    for name in _NAMES:
        given = holder.get(name)
        if isinstance(given, str) and given.isdecimal() and len(given) == 3:
            given = int(given)
        if isinstance(given, int) and 400 <= given < 600:
            yield given


def _words(holder: Json) -> Iterator[str]:
    for name in _NAMES:
        given = holder.get(name)
        if name == "type" and holder.get("error"):
            continue  # of the object that failed, not of its error
        if isinstance(given, int) and not isinstance(given, bool) and not 0 <= given < 600:
            given = str(given)
        if isinstance(given, str) and given and _is_word(name, given):
            yield text.cut(given[:_MOST_WORD])


def _is_word(name: str, given: str) -> bool:
    return given in STATUS_OF_WORD if name == "status" else not (given.isdecimal() and len(given) == 3)


def _is_telling(word: str) -> bool:
    """A code that does not only say that there was an error."""
    if not word or len(word) > 64 or " " in word or word.lstrip("-").isdecimal():
        return False
    return "error" not in word.lower() and word.lower() not in _VAGUE


def _param(holder: Json) -> str | None:
    """OpenAI's `param`, or FastAPI's `loc`."""
    param = holder.get("param")
    if isinstance(holder.get("loc"), list):
        param = ".".join(str(step) for step in holder["loc"][:_MOST_ITEMS] if step != "body")
    return text.cut(param[:_MOST_WORD]) if isinstance(param, str) and param else None


# --- google.rpc details ----------------------------------------------------------------------------


def _notes(detail: Json) -> Iterator[str]:
    """Reasons and quotas."""
    holders = (detail, *_dicts(detail.get("violations"))[:_MOST_ITEMS])
    for holder in holders:
        for name in ("reason", "detail", "quotaId", "quotaMetric"):
            if isinstance(holder.get(name), str):
                yield text.cut(holder[name][:_MOST_NOTE])


def _with_violations(message: str, details: list[Json]) -> str:
    """The message, and what is wrong with which field where it does not say so itself."""
    for violation in _violations(details):
        description = violation.get("description")
        if isinstance(description, str) and description and description not in message:
            message = text.cut(f"{message} {description[: text.MOST_READ]}".strip())
    return message


def _field(details: list[Json]) -> str | None:
    fields = (violation.get("field") for violation in _violations(details))
    return next((field[:_MOST_WORD] for field in fields if isinstance(field, str) and field), None)


def _violations(details: list[Json]) -> list[Json]:
    return [one for detail in details for one in _dicts(detail.get("fieldViolations"))][:_MOST_ITEMS]


def _wait_s(headers: Mapping[str, str], details: list[Json], message: str) -> float | None:
    """The vendor's headers before its body."""
    if (said := waits.retry_after_s(headers)) is not None:
        return said
    delays = (waits.delay_s(detail.get("retryDelay")) for detail in details)
    return next((delay for delay in delays if delay is not None), waits.told_s(message))


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
