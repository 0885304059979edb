"""Reads the body of a chat completion request into a `ChatRequest`, and refuses what is wrong with it.

Tolerant in shape (what clients really send), strict in meaning: a wrong value is a 400 that names its path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.errors import RequestError
from proxy.fronts.openai import checks
from proxy.fronts.openai.chat import messages, parameters, tools
from proxy.fronts.openai.chat.messages import IsStored
from proxy.types import ChatRequest, Json

Group = Callable[[Json, Json], None]


def parse(body: Any, *, history_images: int | None = 2, is_stored: IsStored | None = None) -> ChatRequest:
    """Read a body as `jsonio.loads` gave it; it is not changed. Raises `RequestError`.

    Of the pictures the assistant made earlier only the last `history_images` are kept (None: all).
    `is_stored` tells which addresses in markdown are pictures of ours, to be understood as such.
    """
    if not isinstance(body, dict):
        raise RequestError(
            f"The request body must be a JSON object, but it is {checks.kind(body)}.", code="invalid_type"
        )
    out: Json = {}
    if "extra_body" in body or "google" in body:
        body, native = parameters.unfold(body)
        if native:
            out["native"] = native
    groups: dict[Group, None] = {}
    for key, value in body.items():
        if value is None:
            continue
        if (simple := parameters.SIMPLE.get(key)) is not None:
            attribute, check = simple
            out[attribute] = check(value, key)
        elif (group := _GROUPS.get(key)) is not None:
            groups[group] = None
        elif (carried := parameters.DOCUMENTED.get(key)) is not None:
            out.setdefault("documented", {})[key] = carried(value, key)
        elif key != "messages":
            out.setdefault("unknown", {})[key] = value
    if "model" not in out:
        raise checks.missing("model")
    out["dropped"] = notes = set[str]()
    out["messages"] = messages.parse(
        body.get("messages"), notes, history_images=history_images, is_stored=is_stored
    )
    for group in groups:
        group(body, out)
    if out.get("top_logprobs") is not None and not out.get("logprobs"):
        raise checks.invalid("top_logprobs", "it needs 'logprobs' to be true.")
    out["dropped"] = tuple(sorted(notes)) if notes else ()
    return ChatRequest(**out)


def _tools(body: Json, out: Json) -> None:
    """All fields about tools at once: `tool_choice` may only name what `tools` declares."""
    found: tuple[tools.Tool, ...] = ()
    if body.get("tools") is not None:
        found = tools.parse(body["tools"])
    if body.get("functions") is not None:
        legacy = tools.parse_functions(body["functions"])
        out["legacy_functions"] = bool(legacy) and not found
        found += legacy
    if body.get("web_search_options") is not None:
        found = (*found, tools.web_search(body["web_search_options"]))
    out["tools"] = found
    if body.get("tool_choice") is not None:
        out["tool_choice"] = tools.parse_choice(body["tool_choice"], found)
    elif body.get("function_call") is not None:
        out["tool_choice"] = tools.parse_legacy_choice(body["function_call"], found)


_GROUPS: dict[str, Group] = {
    "tools": _tools,
    "tool_choice": _tools,
    "functions": _tools,
    "function_call": _tools,
    "web_search_options": _tools,
    "max_tokens": parameters.max_tokens,
    "max_completion_tokens": parameters.max_tokens,
    "stream_options": parameters.stream_options,
    "usage": parameters.usage,
    "metadata": parameters.metadata,
    "reasoning_effort": parameters.thinking,
    "include_reasoning": parameters.thinking,
    "reasoning": parameters.thinking,
    "thinking": parameters.thinking,
    **dict.fromkeys(parameters.IMAGE_FIELDS, parameters.image),
}
