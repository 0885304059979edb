"""The response object: how it begins, how it ends, what it cost."""

from __future__ import annotations

from proxy.fronts.base import Parsed, TellCost
from proxy.fronts.openai.replies.reply_parts import money
from proxy.fronts.openai.responses.shape import ResponsesShape
from proxy.types import ChatRequest, FinishReason, Json, Usage

_INCOMPLETE: dict[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}


def begun(parsed: Parsed[ChatRequest, ResponsesShape], identity: str, created: int) -> Json:
    """A response that has begun, with every member it may ever have."""
    shape, request, echo = parsed.shape, parsed.request, parsed.shape.echo
    return {
        "id": identity,
        "object": "response",
        "created_at": created,
        "completed_at": None,
        "status": "queued" if shape.background else "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": shape.model,
        "output": [],
        **echo,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "service_tier": request.service_tier or "default",
        "store": shape.store,
        "conversation": None if shape.conversation is None else {"id": shape.conversation},
        "usage": None,
    }


def usage(counted: Usage, cost: TellCost | None) -> Json:
    found: Json = {
        "input_tokens": counted.prompt,
        "input_tokens_details": {
            "cached_tokens": counted.cached,
            "cache_write_tokens": counted.cache_write or 0,
        },
        "output_tokens": counted.completion,
        "output_tokens_details": {"reasoning_tokens": counted.reasoning},
        "total_tokens": counted.prompt + counted.completion,
    }
    if counted.estimated:
        found["estimated"] = True
    if counted.vendor is not None:
        found["vendor"] = counted.vendor
    if cost is not None and (told := money(cost)) is not None:
        found["cost"], found["cost_currency"] = told
    return found


def ending(reason: FinishReason) -> tuple[str, Json | None]:
    """`status` and `incomplete_details`."""
    why = _INCOMPLETE.get(reason)
    return ("completed", None) if why is None else ("incomplete", {"reason": why})
