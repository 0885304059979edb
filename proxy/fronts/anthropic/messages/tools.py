"""`tools` and `tool_choice`: functions, and tools that the vendor runs itself."""

from __future__ import annotations

import re
from typing import Any

from proxy.fronts import checks
from proxy.fronts.notes import Notes
from proxy.types import BuiltinTool, FunctionTool, Json, ToolChoice

Tool = FunctionTool | BuiltinTool

# Types have a date behind them, and a new one every few months.
_DATED = re.compile(r"(\w+?)_\d{8}\Z")
_SERVER_TOOLS = {"web_search": "web_search", "web_fetch": "url_context", "code_execution": "code_execution"}
_FUNCTION_MEMBERS = frozenset({"type", "name", "description", "input_schema", "strict", "cache_control"})
_NOT_OPTIONS = frozenset({"type", "name", "cache_control"})
_CHOICE_MEMBERS = frozenset({"type", "disable_parallel_tool_use"})


class Declared:
    """The tools of a request; `server` tells the places of those that the vendor runs."""

    __slots__ = ("_by_name", "_server_names", "found", "server")

    def __init__(self) -> None:
        self.found: list[Tool] = []
        self.server: dict[str, int] = {}
        self._by_name: dict[str, FunctionTool] = {}
        self._server_names: set[str] = set()

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
        name = checks.required_string(item.get("name"), f"{path}.name")
        about, schema, strict = item.get("description"), item.get("input_schema"), item.get("strict")
        if schema is None:
            raise checks.missing(f"{path}.input_schema")
        tool = FunctionTool(
            name,
            None if about is None else checks.string(about, f"{path}.description"),
            checks.mapping(schema, f"{path}.input_schema"),
            strict is not None and checks.boolean(strict, f"{path}.strict"),
            notes.marked(item, path) if "cache_control" in item else None,
        )
        known = self._by_name.setdefault(name, tool)
        if known is tool:
            self.found.append(tool)
        elif known != tool:
            raise checks.invalid(f"{path}.name", f"there are two tools {name!r}.")

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
        if name in self._by_name:
            return ToolChoice("required", (name,)), parallel
        if name in self._server_names:  # no upstream can be made to use a tool of its own
            notes.add(path)
            return None, parallel
        raise checks.invalid(f"{path}.name", f"{name!r} is not among 'tools'.")


_ALONE = "disable_parallel_tool_use"
_MODES: dict[str, Any] = {"auto": "auto", "any": "required", "none": "none"}
