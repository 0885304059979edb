"""Calls in a response: of functions, and of tools that are functions for the upstream alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from proxy.codec import jsonio
from proxy.fronts.openai.items.outgoing import Item, Outgoing
from proxy.types import Json

_NAME_MAX = 64  # of a function, at OpenAI and at Google
_BROKEN = object()


@dataclass(frozen=True, slots=True)
class Known:
    """What a function of the request is to its client: a tool of another kind, or one of a namespace."""

    kind: Literal["function", "custom", "tool_search"]
    name: str
    namespace: str | None = None


def joined(namespace: str | None, name: str) -> str:
    """One name for a function of a namespace, the same in each request; a long one keeps its beginning."""
    if not namespace:
        return name
    found = f"{namespace}__{name}"
    if len(found) <= _NAME_MAX:
        return found
    digest = hashlib.sha256(found.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{found[: _NAME_MAX - 9]}_{digest}"


# The prefix of an id, the type, and what a call holds before anything came.
_KINDS: dict[str, tuple[str, str, Json]] = {
    "function": ("fc", "function_call", {"arguments": ""}),
    "custom": ("ctc", "custom_tool_call", {"input": ""}),
    "tool_search": ("tsc", "tool_search_call", {"arguments": {}}),
}


class Call(Item):
    __slots__ = ("_kind", "_pieces")

    def __init__(self, out: Outgoing, call_id: str, known: Known) -> None:
        prefix, sort, empty = _KINDS[known.kind]
        body: Json = {"type": sort, "call_id": call_id}
        body |= {"name": known.name} if known.kind != "tool_search" else {"execution": "client"}
        body |= empty
        if known.namespace:
            body["namespace"] = known.namespace
        super().__init__(out, prefix, body | {"status": "in_progress"})
        self._kind = known.kind
        self._pieces: list[str] = []

    def add(self, arguments: str) -> None:
        self._pieces.append(arguments)
        if self._kind == "function":
            self.tell("function_call_arguments.delta", delta=arguments)

    @property
    def is_whole(self) -> bool:
        """Whether its arguments can be: of some upstreams the pieces of several calls come mixed."""
        return bool(self._pieces) and _loaded("".join(self._pieces)) is not _BROKEN

    def end(self, status: str = "completed") -> None:
        """One without arguments is complete whatever `status` says."""
        said, body = "".join(self._pieces), self.body
        body["status"] = status if said else "completed"
        if self._kind == "function":
            if not said:
                said = "{}"
                self.tell("function_call_arguments.delta", delta=said)
            body["arguments"] = said
            self.tell("function_call_arguments.done", arguments=said)
        elif self._kind == "custom":
            body["input"] = said = _free_text(said)
            self.tell("custom_tool_call_input.delta", delta=said)
            self.tell("custom_tool_call_input.done", input=said)
        elif (found := _loaded(said)) is not _BROKEN:
            body["arguments"] = found
        super().end()


def _free_text(arguments: str) -> str:
    """The one string of a custom tool's arguments; what the model wrote where they are something else."""
    found = _loaded(arguments)
    if isinstance(found, dict) and isinstance(text := found.get("input"), str):
        return text
    return found if isinstance(found, str) else arguments


def _loaded(text: str) -> Any:
    try:
        return jsonio.loads_text(text)
    except jsonio.JSONDecodeError:
        return _BROKEN
