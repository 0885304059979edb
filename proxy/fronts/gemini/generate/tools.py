"""`tools` and `toolConfig`."""

from __future__ import annotations

from typing import Any, Literal

from proxy.fronts import checks
from proxy.fronts.gemini.generate import schemas
from proxy.fronts.gemini.reading import Reading, listed, member, members, word
from proxy.types import BuiltinTool, FunctionTool, Json, ToolChoice

# What Google runs itself -> our word for it.
BUILTIN: dict[str, str] = {
    "googleSearch": "web_search",
    "urlContext": "url_context",
    "codeExecution": "code_execution",
    "fileSearch": "file_search",
    "computerUse": "computer_use",
    "googleMaps": "maps",
}
_MODES: dict[str, Literal["auto", "none", "required"]] = {
    "AUTO": "auto",
    "ANY": "required",
    "NONE": "none",
    "VALIDATED": "auto",
}
# Google's SDK says what a function returns of every one that it makes; that loses nothing.
_TOLD = frozenset({"response", "responseJsonSchema"})
_OF_FUNCTION = _TOLD | {"name", "description", "parameters", "parametersJsonSchema"}
_OF_CONFIG = frozenset({"functionCallingConfig"})
_OF_CALLING = frozenset({"mode", "allowedFunctionNames"})


def parse(value: Any, reading: Reading) -> tuple[FunctionTool | BuiltinTool, ...]:
    found: list[FunctionTool | BuiltinTool] = []
    for index, tool in enumerate(listed(value, "tools")):
        for name, written, inner in members(tool):
            path = f"tools[{index}].{written}"
            if name == "functionDeclarations":
                found += (
                    _function(one, f"{path}[{number}]", reading)
                    for number, one in enumerate(listed(inner, path))
                )
            elif name in BUILTIN:
                found.append(BuiltinTool(BUILTIN[name], checks.mapping(inner, path), native=True))
            else:
                reading.strange(path, inner)
    return tuple(found)


def _function(declaration: Json, path: str, reading: Reading) -> FunctionTool:
    reading.others(declaration, path, _OF_FUNCTION)
    name = checks.required_string(member(declaration, "name"), f"{path}.name")
    description = member(declaration, "description")
    said = None if description is None else checks.string(description, f"{path}.description")
    schema = member(declaration, "parametersJsonSchema")
    if schema is None:
        schema = member(declaration, "parameters")
    if schema is None:
        return FunctionTool(name, said)
    return FunctionTool(name, said, schemas.json_schema(schema, f"{path}.parameters"))


def parse_choice(value: Any, reading: Reading) -> ToolChoice | None:
    config = checks.mapping(value, "toolConfig")
    reading.others(config, "toolConfig", _OF_CONFIG)
    calling = member(config, "functionCallingConfig")
    if calling is None:
        return None
    path = "toolConfig.functionCallingConfig"
    calling = checks.mapping(calling, path)
    reading.others(calling, path, _OF_CALLING)
    mode = _MODES.get(word(member(calling, "mode")) or "AUTO")
    if mode is None:
        raise checks.invalid_value(f"{path}.mode", member(calling, "mode"), tuple(_MODES))
    names = member(calling, "allowedFunctionNames") or []
    return ToolChoice(mode, tuple(checks.strings(names, f"{path}.allowedFunctionNames")))
