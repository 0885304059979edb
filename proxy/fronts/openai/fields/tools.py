"""`tools`, `tool_choice` and their legacy forms: functions, and tools the vendor runs itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal

from proxy.fronts import checks
from proxy.fronts.declared import Functions
from proxy.fronts.notes import MARKS, Notes
from proxy.types import BuiltinTool, FunctionTool, Json, ToolChoice

Tool = FunctionTool | BuiltinTool

# `type` words of OpenAI's Responses tools and of Gemini gateways. OpenAI adds dates to some of them
# (web_search_preview_2025_03_11), so a word also matches with `_20...` behind it.
_BUILTIN_TYPES: dict[str, str] = {
    "web_search": "web_search",
    "web_search_preview": "web_search",
    "google_search": "web_search",
    "googleSearch": "web_search",
    "url_context": "url_context",
    "urlContext": "url_context",
    "code_interpreter": "code_execution",
    "code_execution": "code_execution",
    "codeExecution": "code_execution",
    "file_search": "file_search",
    "computer_use": "computer_use",
    "computer_use_preview": "computer_use",
    "google_maps": "maps",
    "googleMaps": "maps",
    "openrouter:web_search": "web_search",
}

# Gemini's own spelling, an object without `type`: {"googleSearch": {}}.
_NATIVE_KEYS: dict[str, str] = {
    "google_search": "web_search",
    "googleSearch": "web_search",
    "url_context": "url_context",
    "urlContext": "url_context",
    "code_execution": "code_execution",
    "codeExecution": "code_execution",
    "file_search": "file_search",
    "fileSearch": "file_search",
    "computer_use": "computer_use",
    "computerUse": "computer_use",
    "google_maps": "maps",
    "googleMaps": "maps",
}

# new-api's convention: a function of this name without parameters means the built-in tool.
_NAMED_LIKE_BUILTIN: dict[str, str] = {
    "googleSearch": "web_search",
    "urlContext": "url_context",
    "codeExecution": "code_execution",
}

_MODES: dict[str, Literal["auto", "none", "required"]] = {
    "auto": "auto",
    "none": "none",
    "required": "required",
}


_FUNCTION_MEMBERS = frozenset({"name", "description", "parameters", "strict"})
_MARKED_MEMBERS = _FUNCTION_MEMBERS | {*MARKS}
_NESTED_MEMBERS = frozenset({"type", "function"})
_MARKED_NESTED = _NESTED_MEMBERS | {*MARKS}
_TYPE = frozenset({"type"})
_NAME = frozenset({"name"})


def parse(value: Any, notes: Notes) -> tuple[Tool, ...]:
    found = _Found(notes)
    for index, item in enumerate(checks.array(value, "tools")):
        found.add(*_tool(item, f"tools[{index}]", notes))
    return tuple(found.tools)


def parse_functions(value: Any, notes: Notes, before: tuple[Tool, ...] = ()) -> tuple[Tool, ...]:
    """The legacy `functions`, behind the tools that were found before."""
    found = _Found(notes, before)
    for index, item in enumerate(checks.objects(value, "functions")):
        found.add(_function(item, path := f"functions[{index}]"), path)
        notes.unread(item, _FUNCTION_MEMBERS, path)
    return tuple(found.tools)


class _Found:
    """Tools with one function of each name: two are refused by every vendor."""

    def __init__(self, notes: Notes, before: tuple[Tool, ...] = ()) -> None:
        self.notes = notes
        self.tools: list[Tool] = []
        self._functions = Functions()
        for tool in before:
            self.add(tool, "tools")

    def add(self, tool: Tool, where: str) -> None:
        """`where` is the object with its name. The same declaration again changes nothing."""
        if isinstance(tool, BuiltinTool) or self._functions.add(tool, where):
            self.tools.append(tool)


def web_search(options: Any) -> BuiltinTool:
    """`web_search_options` asks for the search tool."""
    return BuiltinTool("web_search", checks.mapping(options, "web_search_options"))


def parse_choice(value: Any, tools: Iterable[Tool], notes: Notes) -> ToolChoice:
    path = "tool_choice"
    if isinstance(value, str):
        return ToolChoice(_MODES[checks.one_of(*_MODES)(value, path)])
    choice = checks.mapping(value, path)
    sort = choice.get("type")
    if sort == "function" or sort == "tool":  # Anthropic's word, which other vendors take here too
        holder, where = _inner(choice, "function", path)
        _note_unread(choice, holder, where, path, notes, known=_NAME)
        return ToolChoice("required", (_declared(holder.get("name"), where + ".name", _functions(tools)),))
    if sort == "allowed_tools":
        return _allowed(choice, tools, notes)
    if sort == "custom":
        raise checks.invalid(f"{path}.type", "custom tools are not supported.", "unsupported_value")
    if isinstance(sort, str) and sort in _MODES:
        notes.unread(choice, _TYPE, path)
        return ToolChoice(_MODES[sort])
    raise checks.invalid_value(f"{path}.type", sort, ("function", "allowed_tools"))


def parse_legacy_choice(value: Any, tools: Iterable[Tool], notes: Notes) -> ToolChoice:
    """The legacy `function_call`."""
    if isinstance(value, str):
        return ToolChoice(_MODES[checks.one_of("none", "auto")(value, "function_call")])
    choice = checks.mapping(value, "function_call")
    notes.unread(choice, _NAME, "function_call")
    return ToolChoice("required", (_declared(choice.get("name"), "function_call.name", _functions(tools)),))


def _tool(value: Any, path: str, notes: Notes) -> tuple[Tool, str]:
    """The tool, and where its name stands."""
    item = checks.mapping(value, path)
    sort = item.get("type")
    if sort == "function":
        function, where = _inner(item, "function", path)
        return _marked_function(item, function, where, path, notes), where
    if sort is None:
        return _native(item, path, notes)
    if sort == "custom":
        raise checks.invalid(f"{path}.type", "custom tools are not supported.", "unsupported_value")
    kind = builtin_type(sort) if isinstance(sort, str) else None
    if kind is None:
        raise checks.invalid_value(f"{path}.type", sort, ("function", *_BUILTIN_TYPES))
    options = {key: option for key, option in item.items() if key != "type"}
    return BuiltinTool(kind, checks.carried(options, path)), path


def _native(item: Json, path: str, notes: Notes) -> tuple[Tool, str]:
    for key, kind in _NATIVE_KEYS.items():
        if key in item:
            options = item[key]
            if options is None:
                options = {}
            notes.unread(item, frozenset({key}), path)
            where = f"{path}.{key}"
            return BuiltinTool(kind, checks.mapping(checks.carried(options, where), where), native=True), path
    function = item.get("function")
    if isinstance(function, dict):
        where = f"{path}.function"
        return _marked_function(item, function, where, path, notes), where
    raise checks.missing(f"{path}.type")


def _note_unread(
    item: Json,
    inner: Json,
    where: str,
    path: str,
    notes: Notes,
    *,
    known: frozenset[str],
    beside: frozenset[str] = _NESTED_MEMBERS,
) -> None:
    """Name what neither the object nor the one inside it has a place for."""
    if inner is item:
        notes.unread(item, known | _TYPE, path)
    else:
        notes.unread(item, beside, path)
        notes.unread(inner, known, where)


def _marked_function(item: Json, function: Json, where: str, path: str, notes: Notes) -> Tool:
    """A function, with the marks that stand on the tool or on the function inside it."""
    _note_unread(item, function, where, path, notes, known=_MARKED_MEMBERS, beside=_MARKED_NESTED)
    tool = _function(function, where)
    marks = notes.marked(item, path) or (None if function is item else notes.marked(function, where))
    if marks is None or isinstance(tool, BuiltinTool):
        return tool
    return replace(tool, marks=marks)


def _inner(item: Json, key: str, path: str) -> tuple[Json, str]:
    """The object under `key`, or `item` itself in the Responses API's flat form."""
    if item.get(key) is not None:
        return checks.mapping(item[key], f"{path}.{key}"), f"{path}.{key}"
    if "name" in item:
        return item, path
    raise checks.missing(f"{path}.{key}")


def _function(function: Json, path: str) -> Tool:
    name = checks.required_string(function.get("name"), f"{path}.name")
    description, strict = function.get("description"), function.get("strict")
    parameters = function.get("parameters")
    if parameters == "":
        parameters = None
    if parameters is not None:
        checks.mapping(parameters, f"{path}.parameters")
    if not parameters and name in _NAMED_LIKE_BUILTIN:
        return BuiltinTool(_NAMED_LIKE_BUILTIN[name])
    return FunctionTool(
        name,
        None if description is None else checks.string(description, f"{path}.description"),
        parameters,
        strict is not None and checks.boolean(strict, f"{path}.strict"),
    )


def _allowed(choice: Json, tools: Iterable[Tool], notes: Notes) -> ToolChoice:
    holder, path = choice, "tool_choice"
    if choice.get("allowed_tools") is not None:
        path = "tool_choice.allowed_tools"
        holder = checks.mapping(choice["allowed_tools"], path)
        notes.unread(choice, frozenset({"type", "allowed_tools"}), "tool_choice")
    notes.unread(holder, frozenset({"type", "mode", "tools"}), path)
    mode = checks.one_of("auto", "required")(holder.get("mode"), f"{path}.mode")
    names: list[str] = []
    declared = _functions(tools)
    for index, item in enumerate(checks.objects(holder.get("tools"), f"{path}.tools")):
        if item.get("type", "function") != "function":
            continue  # a built-in tool cannot be named in any wire we know; it is allowed as it is declared
        inner, where = _inner(item, "function", f"{path}.tools[{index}]")
        _note_unread(item, inner, where, f"{path}.tools[{index}]", notes, known=_NAME)
        names.append(_declared(inner.get("name"), f"{where}.name", declared))
    if names:
        return ToolChoice(_MODES[mode], tuple(names))
    if mode == "required":
        notes.add(f"{path}.mode")
    return ToolChoice("none")


def _functions(tools: Iterable[Tool]) -> set[str]:
    return {tool.name for tool in tools if isinstance(tool, FunctionTool)}


def _declared(name: Any, path: str, declared: set[str]) -> str:
    required: str = checks.required_string(name, path)
    if required not in declared:
        raise checks.invalid(path, f"{required!r} is not among the functions in 'tools'.")
    return required


def builtin_type(word: str) -> str | None:
    return _BUILTIN_TYPES.get(word.partition("_20")[0])
