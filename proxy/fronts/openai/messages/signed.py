"""Where clients put thought signatures when they send a conversation back.

Google, LiteLLM, OpenRouter, Envoy and others each chose a place; the first hit wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.types import Json, Slice

# OpenRouter says whose encrypted reasoning it is; others that use its field say nothing.
_FORMATS = (None, "google-gemini-v1")

MARK = "__thought__"  # LiteLLM appends the signature to the call id, behind this word

_VENDORS = ("google", "vertex")

SPOKEN = ("text", "summary", "thinking", "reasoning", "reasoning_content")  # of a block of thoughts

# Where a signature may stand on a message, a part, a call or its function.
MEMBERS = frozenset({"extra_content", "thought_signature", "thoughtSignature", "provider_specific_fields"})


def split_id(call_id: str) -> tuple[str, str | None]:
    """Cut a signature off a call id."""
    plain, mark, signature = call_id.partition(MARK)
    return (plain, signature or None) if mark else (call_id, None)


def extra_content(holder: Json) -> Json:
    """The vendor's object inside `extra_content`, empty if there is none."""
    extra = holder.get("extra_content")
    if isinstance(extra, dict):
        for vendor in _VENDORS:
            if isinstance(extra.get(vendor), dict):
                found: Json = extra[vendor]
                return found
    return {}


def of_part(part: Json) -> str | None:
    """The signature on a content part, an image entry or a message."""
    return (
        _text(extra_content(part).get("thought_signature"))
        or _text(part.get("thought_signature"))
        or _text(part.get("thoughtSignature"))
    )


def of_call(call: Json, function: Json) -> str | None:
    """The signature on a tool call itself (not in its id)."""
    for holder in (call, function):
        if found := _text(extra_content(holder).get("thought_signature")):
            return found
    for holder in (call, function):
        fields = holder.get("provider_specific_fields")
        if isinstance(fields, dict) and (found := _text(fields.get("thought_signature"))):
            return found
    return _text(call.get("thought_signature")) or _text(call.get("thoughtSignature"))


def of_message(message: Json) -> str | None:
    """The signature a message carries as a whole: it belongs to its first call, or to its text."""
    return of_part(message) or next(_elsewhere(message), None)


def of_reasoning_details(message: Json) -> dict[str, str]:
    """OpenRouter's `reasoning_details` of type `reasoning.encrypted`: signature by the call id they name."""
    details = message.get("reasoning_details")
    if not isinstance(details, list):
        return {}
    return {
        detail["id"]: signature
        for detail in details
        if _is_encrypted(detail)
        and isinstance(detail.get("id"), str)
        and (signature := _text(detail.get("data")))
    }


def thoughts(value: Any) -> str:
    """The text of thoughts: a string, or a list of blocks, of which each vendor calls it differently."""
    if isinstance(value, str | Slice):
        return str(value)
    blocks = [block for block in value if isinstance(block, dict)] if isinstance(value, list) else []
    return "".join(_spoken(block.get(name)) for block in blocks for name in SPOKEN)


def _spoken(value: Any) -> str:
    """A block's text. Mistral has a list of texts for it, the Responses API one of summaries, Bedrock an
    object."""
    texts = value if isinstance(value, list) else [value]
    return "".join(_text(one.get("text") if isinstance(one, dict) else one) or "" for one in texts)


def is_sealed(value: Any) -> bool:
    """Whether some of a list of thoughts can be read by its own vendor alone, which is not Google."""
    blocks = [block for block in value if isinstance(block, dict)] if isinstance(value, list) else []
    return any(
        block.get("type") == "redacted_thinking"
        or (block.get("type") == "reasoning.encrypted" and not _is_encrypted(block))
        for block in blocks
    )


def _elsewhere(message: Json) -> Iterator[str]:
    blocks = message.get("thinking_blocks")
    for block in blocks if isinstance(blocks, list) else ():
        if isinstance(block, dict) and (found := _text(block.get("signature"))):
            yield found
    fields = message.get("provider_specific_fields")
    signatures = fields.get("thought_signatures") if isinstance(fields, dict) else None
    for signature in signatures if isinstance(signatures, list) else ():
        if found := _text(signature):
            yield found
    details = message.get("reasoning_details")
    for detail in details if isinstance(details, list) else ():
        if _is_encrypted(detail) and not detail.get("id") and (found := _text(detail.get("data"))):
            yield found


def _is_encrypted(detail: Any) -> bool:
    """Whether it can be a Gemini signature: those of other vendors are refused there as corrupted."""
    return (
        isinstance(detail, dict)
        and detail.get("type") == "reasoning.encrypted"
        and detail.get("format") in _FORMATS
    )


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, Slice) else None
