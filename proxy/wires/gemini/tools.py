"""Functions in one declaration list, each built-in tool in its own Tool, and how they may be called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from proxy.errors import RequestError
from proxy.types import BuiltinTool, ChatRequest, FunctionTool, Json
from proxy.wires.gemini.budget import STEPS, Budget
from proxy.wires.gemini.models import ModelTraits
from proxy.wires.gemini.names import Names
from proxy.wires.gemini.native import camelise
from proxy.wires.gemini.openapi import OpenApi
from proxy.wires.gemini.schema import is_empty, json_schema, parameters_schema

# Fields that hold a schema in the OpenAPI form, and those that hold it as JSON Schema instead.
_OF_FUNCTION = (("parameters", "parametersJsonSchema"), ("response", "responseJsonSchema"))
_OF_ANSWER = (("responseSchema", "responseJsonSchema"),)
_NOT_ON_VERTEX = frozenset({"fileSearch"})
_REMEMBERED_BYTES = 16_384


@dataclass(slots=True)
class Tools:
    """What goes into the body, and the client's fields that could not."""

    tools: list[Json] = field(default_factory=list)
    config: Json = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)


def build(
    request: ChatRequest, model: ModelTraits, names: Names, *, native: list[Json], openapi: bool, vertex: bool
) -> Tools:
    """Translate tools and tool choice. `native` are Tools from the escape hatch: their schemas are cleaned as
    all are, everything else is sent as it is."""
    built = Tools()
    functions = _functions(request, model, built.dropped)
    config = _calling(request, model, names, functions, built.dropped)
    schemas = Schemas(model)
    declarations = _declarations(request, names, functions, schemas, openapi)
    if request.tool_choice and request.tool_choice.names and not config:
        # AUTO takes no list of names: declaring only those means the same
        allowed = {names.upstream(name) for name in request.tool_choice.names}
        declarations = [one for one in declarations if one["name"] in allowed]
    declarations += _laid_beside(declarations, native, schemas)
    verbatim = [tool for tool in native if "functionDeclarations" not in tool]
    theirs = {name for tool in verbatim for name in tool}
    builtins = [
        tool for tool in _builtins(request, model, vertex, built) if theirs.isdisjoint(tool)
    ] + verbatim
    if declarations and builtins and not (model.mixed_tools and model.tool_config):
        built.dropped += (f"tools.{_OURS.get(name, name)}" for tool in builtins for name in tool)
        builtins = []
    if declarations:
        built.tools.append({"functionDeclarations": declarations})
        if builtins and model.validated and not config:
            config = {"mode": "VALIDATED"}  # vercel/ai 4: AUTO does not go with built-in tools
        if config:
            built.config["functionCallingConfig"] = config
        if builtins and not vertex:
            built.config["includeServerSideToolInvocations"] = True
    elif request.tool_choice and request.tool_choice.mode == "required":
        built.dropped.append("tool_choice")
    built.tools += builtins
    return built


# --- functions -----------------------------------------------------------------------------------


def _functions(request: ChatRequest, model: ModelTraits, dropped: list[str]) -> list[FunctionTool]:
    functions = [tool for tool in request.tools if isinstance(tool, FunctionTool)]
    if functions and not model.functions:
        dropped.append("tools")
        return []
    if request.tool_choice and request.tool_choice.mode == "none" and not model.tool_config:
        return []  # to declare none means the same
    return functions


def _declarations(
    request: ChatRequest, names: Names, functions: list[FunctionTool], schemas: Schemas, openapi: bool
) -> list[Json]:
    key = "parameters" if openapi else "parametersJsonSchema"
    declarations: list[Json] = []
    for function in functions:
        declaration: Json = {"name": names.upstream(function.name)}
        if function.description is not None:
            declaration["description"] = function.description
        parameters = function.parameters
        if parameters is not None and not is_empty(parameters):
            try:
                found = schemas.cleaned(key, parameters)
            except RequestError as error:
                index = request.tools.index(function)
                message = f"Function {function.name!r}: {error.message}"
                raise error.changed(message=message, attribute=f"tools[{index}].parameters") from error
            if not is_empty(found):
                declaration[key] = found
        declarations.append(declaration)
    return declarations


def _laid_beside(declarations: list[Json], native: list[Json], schemas: Schemas) -> list[Json]:
    """The declarations of the escape hatch. One that stands there twice is one; two of a name are refused."""
    known = {one["name"]: one for one in declarations}
    found: list[Json] = []
    for number, tool in enumerate(native):
        for place, given in enumerate(tool.get("functionDeclarations") or ()):
            where = f"native.tools[{number}].functionDeclarations[{place}]"
            declaration = schemas.cleaned_within(given, _OF_FUNCTION, where)
            name = declaration.get("name")
            if not isinstance(name, str):
                found.append(declaration)  # Google says what is missing
            elif name not in known:
                known[name] = declaration
                found.append(declaration)
            elif known[name] != declaration:
                raise RequestError(f"There are two functions {name!r}.", attribute=f"{where}.name")
    return found


Forms = tuple[tuple[str, str], ...]


class Schemas:
    """The one cleaner, for whichever field a schema goes to; the schemas of a request share their steps."""

    def __init__(self, model: ModelTraits) -> None:
        self._budget = Budget()
        self._openapi = OpenApi(integer_enums=model.integer_enums, budget=self._budget)

    def cleaned(self, key: str, schema: Json) -> Json:
        """A schema as this field of Google's takes it. Raises `RequestError` where it cannot be."""
        if key == "parametersJsonSchema":
            return _cleaned(schema, self._budget)
        if key == "parameters":
            return self._openapi.parameters(schema)
        if key == "responseJsonSchema":
            return json_schema(schema, self._budget)
        return self._openapi.schema(schema)

    def cleaned_within(self, holder: Mapping[str, Any], forms: Forms, where: str) -> Json:
        """An object of Google's with its schemas cleaned. Of the two forms, which are refused together, the
        JSON Schema is kept."""
        found = dict(holder)
        for pair in forms:
            if pair[1] in found:
                found.pop(pair[0], None)
            for key in pair:
                if isinstance(schema := found.get(key), Mapping):
                    try:
                        found[key] = {} if is_empty(schema) else self.cleaned(key, dict(schema))
                    except RequestError as error:
                        raise error.changed(attribute=f"{where}.{key}") from error
                    if is_empty(found[key]):
                        del found[key]
        return found


def cleaned_config(config: Mapping[str, Any], model: ModelTraits) -> Json:
    """The escape hatch's `generationConfig`, whose schemas are Google's to refuse like any other."""
    return Schemas(model).cleaned_within(config, _OF_ANSWER, "native.generationConfig")


def _cleaned(parameters: Json, budget: Budget) -> Json:
    """`parameters_schema`, remembered: an agent sends the same tools every time, and twenty of them cost
    0.3 ms."""
    try:
        dumped = orjson.dumps(parameters)
    except TypeError:  # an integer beyond 64 bits
        return parameters_schema(parameters, budget)
    if len(dumped) > _REMEMBERED_BYTES:
        return parameters_schema(parameters, budget)
    found, steps = _cleaned_text(dumped)
    budget.spend(steps)
    return found


@lru_cache(maxsize=512)
def _cleaned_text(dumped: bytes) -> tuple[Json, int]:
    """The cleaned schema, and the steps it took."""
    budget = Budget()
    return parameters_schema(orjson.loads(dumped), budget), STEPS - budget.left


def _calling(
    request: ChatRequest,
    model: ModelTraits,
    names: Names,
    functions: list[FunctionTool],
    dropped: list[str],
) -> Json:
    """`functionCallingConfig`; empty where the default, AUTO, holds."""
    choice = request.tool_choice
    if choice is not None and choice.names:
        declared = {function.name for function in functions}
        for name in choice.names:
            if name not in declared and model.functions:
                raise RequestError(
                    f"{name!r} is not among the functions of the request.", attribute="tool_choice"
                )
    if not functions:
        return {}
    mode = choice.mode if choice else "auto"
    strict = any(function.strict for function in functions)
    if not model.tool_config:
        dropped += ["tool_choice"] * (mode == "required") + ["tools[].strict"] * strict
        return {}
    if mode == "none":
        return {"mode": "NONE"}
    allowed = (
        {"allowedFunctionNames": [names.upstream(name) for name in choice.names]}
        if choice and choice.names
        else {}
    )
    if mode == "required":
        return {"mode": "ANY", **allowed}
    if model.validated and (strict or allowed):
        # AUTO with names is refused; VALIDATED is AUTO that keeps to the schemas
        return {"mode": "VALIDATED", **allowed}
    if strict:
        dropped.append("tools[].strict")
    return {}


# --- built-in tools ------------------------------------------------------------------------------


def _builtins(request: ChatRequest, model: ModelTraits, vertex: bool, built: Tools) -> list[Json]:
    found: dict[str, Json] = {}
    for tool in request.tools:
        if not isinstance(tool, BuiltinTool):
            continue
        name, read = _KINDS[tool.kind]
        if vertex and name in _NOT_ON_VERTEX:
            built.dropped.append(f"tools.{tool.kind}")
            continue
        options = {key: value for key, value in tool.options.items() if value is not None}
        if tool.kind == "maps" and model.tool_config:
            _place(options, built)
        config = camelise(options) if tool.native else read(options)
        if options and not tool.native:
            built.dropped += (f"tools.{tool.kind}.{key}" for key in options)
        found[name] = {**found.get(name, {}), **config}
    return [{name: config} for name, config in found.items()]


def _place(options: Json, built: Tools) -> None:
    """`latitude` and `longitude` of the maps tool stand in the tool config."""
    if "latitude" in options and "longitude" in options:
        place = {"latitude": options.pop("latitude"), "longitude": options.pop("longitude")}
        built.config["retrievalConfig"] = {"latLng": place}


# Each takes what it understands out of the client's options; the rest is named as dropped.
def _plain(options: Json) -> Json:
    return {}


def _search(options: Json) -> Json:
    if options.get("search_context_size") == "medium":
        del options["search_context_size"]  # OpenAI's default
    return {}


def _code(options: Json) -> Json:
    container = options.get("container")
    if isinstance(container, Mapping) and not any(container[name] for name in container if name != "type"):
        del options["container"]  # which OpenAI demands, as {"type": "auto"}
    return {}


def _file_search(options: Json) -> Json:
    stores = options.pop("vector_store_ids", None) or options.pop("file_search_store_names", [])
    found: Json = {"fileSearchStoreNames": stores}
    if "max_num_results" in options:
        found["topK"] = options.pop("max_num_results")
    return found


def _computer(options: Json) -> Json:
    if options.get("environment") == "browser":
        del options["environment"]
    return {"environment": "ENVIRONMENT_BROWSER"}


# `BuiltinTool.kind` -> the field of Gemini's Tool, and how its options are read.
_KINDS: dict[str, tuple[str, Callable[[Json], Json]]] = {
    "web_search": ("googleSearch", _search),
    "url_context": ("urlContext", _plain),
    "code_execution": ("codeExecution", _code),
    "file_search": ("fileSearch", _file_search),
    "computer_use": ("computerUse", _computer),
    "maps": ("googleMaps", _plain),
}
_OURS = {field: kind for kind, (field, _) in _KINDS.items()}


def listed(value: Any) -> list[Json]:
    """Tools of the escape hatch; some clients write one object instead of a list."""
    found: list[Json] = [value] if isinstance(value, dict) else list(value or ())
    return found
