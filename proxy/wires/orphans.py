"""Results of calls that nobody made, and calls whose result is lost: vendors refuse them, and a client that
cuts its history has some."""

from __future__ import annotations

from typing import Final

from proxy.types import CallPart, ResultPart, TextPart

MISSING: Final = "no result was provided for this call"


def named(result: ResultPart, index: int) -> str:
    """The attribute by which such a result of the client's `index`th message says what it is of."""
    return f"messages[{index}].{'call_id' if result.call_id else 'result_name'}"


def named_call(call: CallPart, index: int) -> str:
    """The same of a call without a result."""
    return call.where or f"messages[{index}].{'calls' if call.id else 'legacy_call'}"


def in_words(result: ResultPart) -> str:
    """What such a result says, as a user's text."""
    text = "\n".join(part.text for part in result.parts if isinstance(part, TextPart))
    return f"Tool result ({result.name or 'unknown tool'}): {text}"
