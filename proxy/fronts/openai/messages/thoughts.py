"""What an assistant thought aloud, in each of the places where clients send it back."""

from __future__ import annotations

from itertools import islice
from typing import Any

from proxy.fronts.notes import Notes
from proxy.fronts.openai.messages import signed
from proxy.types import Json, ThoughtPart

# Where our own replies have them, and where clients of ours put them: nobody misses what comes back in there.
_OURS = ("reasoning_content", "reasoning")
# Parts of a content: Anthropic's and Mistral's, the Responses API's and LangChain's, Bedrock's.
_SORTS = ("thinking", "redacted_thinking", "reasoning", "reasoning_content")
_MEMBERS = frozenset({"type", "index", "id", "data", *signed.SPOKEN})


def is_part(value: Any) -> bool:
    """Whether an element of a content is a thought, which no part of OpenAI's own is."""
    return type(value) is dict and value.get("type") in _SORTS


def of(item: Json, path: str, notes: Notes) -> list[ThoughtPart]:
    """The thoughts of a message: those in its content, else those beside it. Another vendor's shape is not
    worth an error."""
    content, beside = item.get("content"), _beside(item, path, notes)
    return (isinstance(content, list) and _in_content(content, f"{path}.content", notes)) or beside


def _in_content(content: list[Any], path: str, notes: Notes) -> list[ThoughtPart]:
    """Signatures of these are named: they are of whoever made the parts, and Google refuses another's."""
    found: list[ThoughtPart] = []
    for number, part in enumerate(content):
        if not is_part(part):
            continue
        where = f"{path}[{number}]"
        notes.unread(part, _MEMBERS, where)
        if text := signed.thoughts([part]):
            found.append(ThoughtPart(text, where=where))
        if signed.is_sealed([part]):
            notes.add(where)
    return found


def _beside(item: Json, path: str, notes: Notes) -> list[ThoughtPart]:
    """DeepSeek's and OpenRouter's names for them, OpenRouter's and Anthropic's lists: the first that says
    something, for clients send the same in several."""
    said: dict[str, str] = {}
    for field in ("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks"):
        value = item.get(field)
        if text := signed.thoughts(value):
            said[field] = text
        if signed.is_sealed(value):
            notes.add(f"{path}.{field}")
    return [
        ThoughtPart(text, where=f"{path}.{field}", spare=field in _OURS)
        for field, text in islice(said.items(), 1)
    ]
