"""What the words of finishReason and blockReason mean to a client: one table, strangers included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from proxy.errors import ErrorClass
from proxy.types import FinishReason


@dataclass(frozen=True, slots=True)
class FinishRule:
    """`reason` ends a reply that holds something; `empty` one that holds nothing, None if that is an error
    of class `error_class` with `code`. `breaks_calls`: the calls beside it are not to be made."""

    reason: FinishReason
    empty: FinishReason | None = None
    code: str = "upstream_empty_response"
    error_class: ErrorClass = ErrorClass.EMPTY
    breaks_calls: bool = False


NO_IMAGE_CODE = "no_image_generated"

_STOP = FinishRule("stop")
_LENGTH = FinishRule("length", "length")
_FILTERED = FinishRule("content_filter", "content_filter")
_MALFORMED = FinishRule("stop", code="upstream_malformed_response", breaks_calls=True)
_NO_IMAGE = FinishRule("stop", code=NO_IMAGE_CODE)
_UNSIGNED = FinishRule("stop", code="missing_thought_signature", error_class=ErrorClass.BAD_REQUEST)
_UNKNOWN = FinishRule("stop", "content_filter")

_ENDINGS: dict[str, FinishRule] = {
    "FINISH_REASON_UNSPECIFIED": _STOP,
    "STOP": _STOP,
    "MAX_TOKENS": _LENGTH,
    "CONTINUATION": _LENGTH,
    "SAFETY": _FILTERED,
    "RECITATION": _FILTERED,
    "LANGUAGE": _FILTERED,
    "BLOCKLIST": _FILTERED,
    "PROHIBITED_CONTENT": _FILTERED,
    "SPII": _FILTERED,
    "IMAGE_SAFETY": _FILTERED,
    "IMAGE_PROHIBITED_CONTENT": _FILTERED,
    "IMAGE_RECITATION": _FILTERED,
    "ESCALATION": _FILTERED,
    "MODEL_ARMOR": _FILTERED,
    "JAILBREAK": _FILTERED,
    "PUP_LIMITED_DISABLED": _FILTERED,
    "OTHER": _STOP,
    "IMAGE_OTHER": _NO_IMAGE,
    "NO_IMAGE": _NO_IMAGE,
    "MALFORMED_FUNCTION_CALL": _MALFORMED,
    "MALFORMED_RESPONSE": _MALFORMED,
    "UNEXPECTED_TOOL_CALL": _MALFORMED,
    "TOO_MANY_TOOL_CALLS": _MALFORMED,
    "MISSING_THOUGHT_SIGNATURE": _UNSIGNED,
}

# Replies with enum-encoding=int. The Developer API and Vertex number differently from 6 on.
_NUMBERS = ("FINISH_REASON_UNSPECIFIED", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER")


def word(native: Any) -> str | None:
    """The vendor's word for a finishReason as it came: a string, a number, or nothing."""
    if isinstance(native, int) and 0 <= native < len(_NUMBERS):
        return _NUMBERS[native]
    return str(native) if native else None


def ending(native: str | None) -> FinishRule:
    """What a finishReason means; an absent one is a normal stop, new words appear without notice."""
    return _STOP if native is None else _ENDINGS.get(native, _UNKNOWN)


def refusal(subject: str, native: str, message: str | None) -> str:
    """The sentence a client reads: `subject` is what was stopped."""
    sentence = f"{subject} by the upstream content filter ({native})."
    return f"{sentence} {message}" if message else sentence
