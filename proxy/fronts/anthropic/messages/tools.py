"""`tools` and `tool_choice`: functions, and tools that the vendor runs itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from proxy.fronts import checks
from proxy.fronts.anthropic.blocks import incoming
from proxy.fronts.declared import Functions, function
from proxy.fronts.notes import Notes
from proxy.types import BuiltinTool, FunctionTool, Json, ToolChoice

Tool = FunctionTool | BuiltinTool

# Types have a date behind them, and a new one every few months.
_DATED = re.compile(r"(\w+?)_\d{8}\Z")
_SERVER_TOOLS = {"web_search": "web_search", "web_fetch": "url_context", "code_execution": "code_execution"}
_FUNCTION_MEMBERS = frozenset({"type", "name", "description", "input_schema", "strict", "cache_control"})
_NOT_OPTIONS = frozenset({"type", "name", "cache_control"})
_CHOICE_MEMBERS = frozenset({"type", "disable_parallel_tool_use"})


@dataclass(slots=True)
class Declared:
    """The tools of a request; `server` tells the places of those that the vendor runs."""

    found: list[Tool] = field(default_factory=list)
    server: dict[str, int] = field(default_factory=dict)
    _functions: Functions = field(default_factory=Functions)
    _server_names: set[str] = field(default_factory=set)

    def read(self, value: Any, notes: Notes) -> None:
        for index, item in enumerate(checks.objects(value, "tools")):
            path = f"tools[{index}]"
            sort = item.get("type")
            if sort is None or sort == "custom":
                self._function(item, path, notes)
            else:
                self._server_tool(item, checks.string(sort, f"{path}.type"), index, notes)

    def _function(self, item: Json, path: str, notes: Notes) -> None:
        notes.unread(item, _FUNCTION_MEMBERS, path)
        tool = function(item, path, "input_schema")
        if tool.parameters is None:
            raise checks.missing(f"{path}.input_schema")
        if "cache_control" in item:
            tool = replace(tool, marks=incoming.marks(item, path, notes))
        if self._functions.add(tool, path):
            self.found.append(tool)

    def _server_tool(self, item: Json, sort: str, index: int, notes: Notes) -> None:
        """Tools that Anthropic wrote for its own models (bash, a computer) are named and left out."""
        path = f"tools[{index}]"
        dated = _DATED.match(sort)
        kind = _SERVER_TOOLS.get(dated[1]) if dated is not None else None
        self._server_names.add(str(item.get("name") or sort))
        if kind is None:
            notes.add(f"{path}.type={sort}")
            return
        options = {key: option for key, option in item.items() if key not in _NOT_OPTIONS}
        self.found.append(BuiltinTool(kind, checks.carried(options, path)))
        self.server.setdefault(kind, index)

    def choice(self, value: Any, notes: Notes) -> tuple[ToolChoice | None, bool | None]:
        """Which may be called, and whether several at once; None where the client did not say."""
        path = "tool_choice"
        choice = checks.mapping(value, path)
        sort = checks.one_of("auto", "any", "tool", "none")(choice.get("type"), f"{path}.type")
        known = _CHOICE_MEMBERS | {"name"} if sort == "tool" else _CHOICE_MEMBERS
        notes.unread(choice, known, path)
        alone = choice.get("disable_parallel_tool_use")
        parallel = False if alone is not None and checks.boolean(alone, f"{path}.{_ALONE}") else None
        if sort != "tool":
            return ToolChoice(_MODES[sort]), parallel
        name = checks.required_string(choice.get("name"), f"{path}.name")
        if name in self._functions:
            return ToolChoice("required", (name,)), parallel
        if name in self._server_names:  # no upstream can be made to use a tool of its own
            notes.add(path)
            return None, parallel
        raise checks.invalid(f"{path}.name", f"{name!r} is not among 'tools'.")


_ALONE = "disable_parallel_tool_use"
_MODES: dict[str, Any] = {"auto": "auto", "any": "required", "none": "none"}
