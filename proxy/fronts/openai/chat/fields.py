"""All fields of a chat request but its messages, and of a model's defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from proxy.fronts.openai.chat import parameters, tools
from proxy.fronts.openai.reading import Reading
from proxy.types import Json

Group = Callable[[Json, Reading], None]


def read(body: Json, reading: Reading) -> Iterable[Group]:
    """Read the fields that stand alone; the groups that the others belong to are returned, each once."""
    groups: dict[Group, None] = {}
    for key, value in body.items():
        if value is None:
            continue
        if (simple := parameters.SIMPLE.get(key)) is not None:
            attribute, check = simple
            reading.request[attribute] = check(value, key)
        elif (group := GROUPS.get(key)) is not None:
            groups[group] = None
        elif (documented := parameters.DOCUMENTED.get(key)) is not None:
            reading.add_foreign(key, documented(value, key))
        elif key != "messages":
            reading.add_foreign(key, value)
    return groups


def _tools(body: Json, out: Reading) -> None:
    """All fields about tools at once: `tool_choice` may only name what `tools` declares."""
    found: tuple[tools.Tool, ...] = ()
    if body.get("tools") is not None:
        found = tools.parse(body["tools"], out.notes)
    if body.get("functions") is not None:
        everything = tools.parse_functions(body["functions"], out.notes, found)
        out.shape["legacy_functions"] = bool(everything) and not found
        found = everything
    if body.get("web_search_options") is not None:
        found = (*found, tools.web_search(body["web_search_options"]))
    out.request["tools"] = found
    if body.get("tool_choice") is not None:
        out.request["tool_choice"] = tools.parse_choice(body["tool_choice"], found, out.notes)
    elif body.get("function_call") is not None:
        out.request["tool_choice"] = tools.parse_legacy_choice(body["function_call"], found, out.notes)


GROUPS: dict[str, Group] = {
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
    "image_output": parameters.image_output,
    "response_format": parameters.answer_format,
    "audio": parameters.audio,
    "reasoning_effort": parameters.thinking,
    "include_reasoning": parameters.thinking,
    "reasoning": parameters.thinking,
    "thinking": parameters.thinking,
    **dict.fromkeys(parameters.IMAGE_FIELDS, parameters.image),
}
