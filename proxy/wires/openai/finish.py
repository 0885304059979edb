"""What servers write into `finish_reason`, and what it means."""

from __future__ import annotations

from proxy.errors import ErrorClass
from proxy.types import FinishReason

_WORDS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    # Words of other dialects that relays forget to translate.
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "image_safety": "content_filter",
    "image_prohibited_content": "content_filter",
    "image_recitation": "content_filter",
    "sensitive": "content_filter",
    "refusal": "content_filter",
    "moderation": "content_filter",
}

# The server gave up: what came is no answer. DeepSeek documents insufficient_system_resource, Zhipu
# network_error, OpenRouter error; vLLM writes abort.
FAILURES: dict[str, ErrorClass] = {
    "error": ErrorClass.INTERNAL,
    "abort": ErrorClass.INTERNAL,
    "network_error": ErrorClass.UNAVAILABLE,
    "insufficient_system_resource": ErrorClass.OVERLOADED,
}

# Gemini's words for calls that are not to be made, which relays pass on; its own endpoint for OpenAI clients
# writes "function_call_filter: MALFORMED_FUNCTION_CALL".
_BROKEN_CALLS = frozenset(
    ("malformed_function_call", "malformed_response", "unexpected_tool_call", "too_many_tool_calls")
)


def breaks_calls(*words: str | None) -> bool:
    return any(word is not None and word.lower().rpartition(" ")[2] in _BROKEN_CALLS for word in words)


def reason(native: str | None, *, called: bool) -> FinishReason:
    """A call is a call whatever the word beside it; Google's endpoint and others write `stop` there."""
    found = _WORDS.get(native.lower(), "stop") if native is not None else "stop"
    if found in ("stop", "tool_calls"):
        return "tool_calls" if called else "stop"
    return found
