"""Results of calls that nobody made: vendors refuse them, and a client that cuts its history has some."""

from __future__ import annotations

from proxy.types import ResultPart, TextPart


def in_words(result: ResultPart) -> str:
    """What such a result says, as a user's text."""
    text = "".join(part.text for part in result.parts if isinstance(part, TextPart))
    return f"Tool result ({result.name or 'unknown tool'}): {text}"
