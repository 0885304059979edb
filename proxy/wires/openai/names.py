"""Names of functions that this dialect has not: of more than 64 characters, or with others than letters,
digits, `_` and `-`. Claude Code's for MCP servers are longer (`mcp__server__tool`), Google's have dots."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256

from proxy.types import CallPart, ChatRequest, FunctionTool, Message, Part, ResultPart

_VALID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_STRANGE = re.compile(r"[^A-Za-z0-9_-]")
_KEPT = 55  # characters before the mark that keeps names apart


def renamed(request: ChatRequest) -> dict[str, str]:
    """What stands for such a name of the request: the same in all requests, for caches and histories."""
    names = [tool.name for tool in request.tools if isinstance(tool, FunctionTool)]
    for message in request.messages:
        if message.role == "assistant":
            names += [part.name for part in message.parts if isinstance(part, CallPart)]
    return {name: _short(name) for name in names if _VALID.match(name) is None}


def applied(request: ChatRequest, names: Mapping[str, str]) -> ChatRequest:
    choice = request.tool_choice
    if choice is not None:
        choice = replace(choice, names=tuple(names.get(name, name) for name in choice.names))
    tools = tuple(
        replace(tool, name=names.get(tool.name, tool.name)) if isinstance(tool, FunctionTool) else tool
        for tool in request.tools
    )
    messages = tuple(_message(message, names) for message in request.messages)
    return replace(request, messages=messages, tools=tools, tool_choice=choice)


def _message(message: Message, names: Mapping[str, str]) -> Message:
    return replace(message, parts=tuple(_part(part, names) for part in message.parts))


def _part(part: Part, names: Mapping[str, str]) -> Part:
    if not isinstance(part, CallPart | ResultPart) or (name := names.get(part.name or "")) is None:
        return part
    return replace(part, name=name)


def _short(name: str) -> str:
    mark = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{_STRANGE.sub('_', name)[:_KEPT]}_{mark}"
