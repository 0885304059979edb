"""functionCall parts into whole calls: the client's names, unique ids, arguments that come in pieces."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from proxy.codec import jsonio
from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Call, ChatRequest, FunctionTool, Json
from proxy.wires.gemini import free_objects
from proxy.wires.gemini.lenient import dict_of, dicts_of

_STEP = re.compile(r"""\.([^.\[\]]+)|\[(\d+)\]|\['([^']*)'\]|\["([^"]*)"\]""")
_DECLARATIONS = ("functionDeclarations", "function_declarations")
_LITERALS = ("stringValue", "numberValue", "boolValue")


class FunctionNames:
    """From the upstream's name of a function to the client's."""

    def __init__(self, request: ChatRequest, call: Call) -> None:
        self._request = request
        self._body = call.body
        self._renamed: Mapping[str, str] = call.context.get("names") or {}

    @cached_property
    def _declared(self) -> set[str]:
        """What the client declared as functions, and what it laid into the body in Gemini's own words."""
        names = {tool.name for tool in self._request.tools if isinstance(tool, FunctionTool)}
        for tool in dicts_of(self._body.get("tools")):
            for key in _DECLARATIONS:
                names |= {str(function.get("name")) for function in dicts_of(tool.get(key))}
        return names

    @cached_property
    def _written(self) -> Mapping[str, Json]:
        """The schemas, by the upstream's names, in which objects are asked for as text."""
        return {
            str(function.get("name")): function["parameters"]
            for tool in dicts_of(self._body.get("tools"))
            for function in dicts_of(tool.get("functionDeclarations"))
            if free_objects.is_asked_for(function.get("parameters"))
        }

    def arguments(self, name: str, arguments: Any) -> str:
        """The arguments of a call as compact JSON, whatever of them came as text."""
        if isinstance(arguments, dict) and (schema := self._written.get(name)) is not None:
            arguments = free_objects.restored(arguments, schema)
        return arguments_text(arguments)

    @cached_property
    def _hosted(self) -> bool:
        """True when Google calls functions of its own accord, at MCP servers."""
        return any("mcpServers" in tool for tool in dicts_of(self._body.get("tools")))

    def find(self, name: str) -> str | None:
        """The client's name; None for a call that Google made itself, which is not for the client to make."""
        # Models invent namespaces, `default_api:name` and `default_api.name` above all.
        for candidate in (name, name.rpartition(":")[2], name.rpartition(".")[2]):
            if candidate in self._renamed:
                return self._renamed[candidate]
            if candidate in self._declared:
                return candidate
        return None if self._hosted else name


class OpenCall:
    """A call whose arguments come in pieces (Vertex, streamFunctionCallArguments)."""

    __slots__ = ("arguments", "id", "name", "signature")

    def __init__(self, name: str, id: Any, signature: str | None) -> None:
        self.name = name
        self.id = id
        self.signature = signature
        self.arguments: Json = {}

    def add(self, call: Json) -> None:
        """Take what a functionCall says of the arguments: whole ones, and pieces by JSON path."""
        self.arguments.update(dict_of(call.get("args")))
        for piece in dicts_of(call.get("partialArgs")):
            if isinstance(piece.get("jsonPath"), str):
                _put(self.arguments, _steps(piece["jsonPath"]), _literal(piece))


def arguments_text(arguments: Any) -> str:
    """Compact JSON in raw UTF-8; `{}` where there are none. A reseller's string is passed as it is. Raises
    `UpstreamError` for what no JSON has a form for."""
    if isinstance(arguments, str):
        return arguments.strip() or "{}"
    if arguments is None:
        return "{}"
    try:
        return b"".join(jsonio.dumps(arguments)).decode()
    except jsonio.JSONEncodeError as error:
        raise UpstreamError(
            ErrorClass.INTERNAL,
            f"The arguments of a call cannot be handed on: {error}.",
            code="upstream_malformed_response",
        ) from None


def call_id(given: Any, taken: set[str]) -> str:
    """The upstream's id if it is usable and new in this reply, else a random one."""
    id = given if isinstance(given, str) and given and given not in taken else f"call_{secrets.token_hex(12)}"
    taken.add(id)
    return id


def _steps(path: str) -> list[str | int]:
    """The keys and indexes of a JSON path such as `$.recipe.steps[0]['a b']`."""
    steps: list[str | int] = []
    for dotted, index, single, double in _STEP.findall(path.removeprefix("$")):
        steps.append(int(index) if index else dotted or single or double)
    return steps


def _literal(piece: Json) -> Any:
    return next((piece[name] for name in _LITERALS if name in piece), None)


def _put(root: Json, steps: list[str | int], value: Any) -> None:
    """Set the value at a path, making what is missing on the way. A string continues the string there."""
    if not steps:
        return
    place: Any = root  # a dict or a list
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        key: Any = step
        if isinstance(step, int) and isinstance(place, list):
            if step >= len(place):
                place.append(None)  # never more than one, whatever the index claims
                key = len(place) - 1
            present = place[key]
        elif isinstance(step, str) and isinstance(place, dict):
            present = place.get(key)
        else:
            return  # a path that contradicts an earlier one
        if following is None:
            joined = isinstance(present, str) and isinstance(value, str)
            place[key] = present + value if joined else value
        elif present is None:
            place[key] = [] if isinstance(following, int) else {}
        place = place[key]
