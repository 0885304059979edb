"""What the service refuses although it is well-formed: the order of turns, tools, media, limits of models.

Every rule cites the reference (gemini.md section or G-id). Rules marked "strict" are stricter than Google:
there the service accepts the request and answers badly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from proxy.simulators import pictures
from proxy.simulators.gemini import signatures
from proxy.simulators.gemini.errors import Refused
from proxy.simulators.gemini.generation import check_generation
from proxy.simulators.gemini.models import Model
from proxy.simulators.gemini.proto import decoded
from proxy.simulators.gemini.schemas import check_json_parameters, check_schema

Json = dict[str, Any]

_FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_MOST_FUNCTIONS = 512
_REQUEST = "* GenerateContentRequest."
_SEARCHES = (
    "googleSearch",
    "googleSearchRetrieval",
    "googleMaps",
    "urlContext",
    "codeExecution",
    "fileSearch",
)
_IMAGES = ("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif")
_MIMES = frozenset(
    (
        *_IMAGES,
        "application/pdf",
        "application/json",
        *(
            f"audio/{kind}"
            for kind in ("wav", "mp3", "mpeg", "aiff", "aac", "ogg", "flac", "pcm", "webm", "m4a")
        ),
        *(
            f"video/{kind}"
            for kind in ("mp4", "mpeg", "mov", "quicktime", "avi", "x-flv", "mpg", "webm", "wmv", "3gpp")
        ),
    )
)
_RESULT_MIMES = (*_IMAGES[:3], "application/pdf", "text/plain")
_SNIFFED = frozenset(_IMAGES[:3])


def check(request: Json, model: Model, *, streamed: bool) -> signatures.Tally:
    """Raise `Refused` for the first thing the service would not take; count the signatures otherwise."""
    contents: list[Json] = request.get("contents") or []
    if not contents:
        raise Refused(f"{_REQUEST}contents: contents is not specified\n")
    _check_cache(request)
    _check_system(request.get("systemInstruction"), model)
    for index, content in enumerate(contents):
        _check_content(content, f"contents[{index}]", model)
    _check_tools(request, model)
    check_generation(request, model, streamed=streamed)
    _check_turns(contents, model)
    return signatures.check(contents, required=model.third)


def _check_cache(request: Json) -> None:
    name = request.get("cachedContent")
    if not name:
        return
    if not name.startswith("cachedContents/"):
        raise Refused(f"Invalid CachedContent name: {name}.")
    # G-135
    if any(request.get(field) for field in ("systemInstruction", "tools", "toolConfig")):
        raise Refused(
            "CachedContent can not be used with GenerateContent request setting system_instruction, tools or "
            "tool_config.\n\nProposed fix: move those values to CachedContent from GenerateContent request."
        )


def _check_system(system: Json | None, model: Model) -> None:
    if system is None:
        return
    if model.generation < (2, 0):
        raise Refused(f"Developer instruction is not enabled for models/{model.name}")
    if any(set(part) - {"text", "thoughtSignature"} for part in system.get("parts", ())):
        raise Refused("system_instruction only supports text content.")


def _check_content(content: Json, place: str, model: Model) -> None:
    role = content.get("role", "user")
    if role not in ("user", "model"):
        raise Refused("Please use a valid role: user, model.")
    parts = content.get("parts") or []
    if not parts:
        raise Refused(
            f"{_REQUEST}{place}.parts: Unable to submit request because it must include at least one parts "
            "field, which describes the prompt input."
        )
    for index, part in enumerate(parts):
        _check_part(part, role, f"{place}.parts[{index}]", model)
    # Strict, G-012: Google takes such a content for the model's own words (pydantic/pydantic-ai #4210).
    results = sum("functionResponse" in part for part in parts)
    if 0 < results < len(parts):
        raise Refused(f"{place} mixes function responses with other parts.")


def _check_part(part: Json, role: str, place: str, model: Model) -> None:
    if not part:
        raise Refused(f"{_REQUEST}{place}.data: required oneof field 'data' must have one initialized field")
    if role != "model" and ("functionCall" in part or "toolCall" in part):
        raise Refused(f"{place}: function call parts are only allowed in a content of role model.")
    if role == "model" and "functionResponse" in part:
        raise Refused(f"{place}: function response parts are only allowed in a content of role user.")
    if "inlineData" in part:
        _check_blob(part["inlineData"], place, _MIMES)
    if "fileData" in part:
        _check_file(part["fileData"], place)
    if "mediaResolution" in part and not model.third:  # G-038
        raise Refused(f"Media resolution of a part is not supported by models/{model.name}.")
    fps = part.get("videoMetadata", {}).get("fps", 1)
    if not 0 < fps <= 24:
        raise Refused(f"{place}.video_metadata.fps must be in the range (0, 24].")
    if "functionCall" in part and not part["functionCall"].get("name"):
        raise Refused(f"{_REQUEST}{place}.function_call.name: Name cannot be empty.")
    if "functionResponse" in part:
        _check_result(part["functionResponse"], place, model)
    if ("toolCall" in part or "toolResponse" in part) and not part.get("thoughtSignature"):
        raise Refused(f"{place}: server-side tool parts must be returned with their thought_signature.")


def _check_blob(blob: Json, place: str, allowed: frozenset[str] | tuple[str, ...]) -> None:
    mime, data = blob.get("mimeType", ""), decoded(blob.get("data", "")) or b""
    if not data:
        raise Refused(f"{_REQUEST}{place}.inline_data.data: must not be empty.")
    if mime not in allowed and not (mime.startswith("text/") and allowed is _MIMES):
        raise Refused(f"Unsupported MIME type: {mime}")
    seen = pictures.look(data).mime
    if (mime in _SNIFFED and seen != mime) or (
        seen in _SNIFFED and mime in _IMAGES and seen != mime
    ):  # G-026
        raise Refused("Unable to process input image. Please retry or report in the developer forum.")


def _check_file(file: Json, place: str) -> None:
    uri = file.get("fileUri", "")
    if re.match(r"https://[^/]+/v1beta/files/\w|files/\w|https://(www\.youtube\.com/|youtu\.be/)", uri):
        return
    if not uri.startswith(("https://", "gs://")):
        raise Refused(f"Unsupported file URI type: {uri}")
    if not file.get("mimeType"):
        raise Refused(f"{_REQUEST}{place}.file_data.mime_type: must be set for this file URI.")


def _check_result(result: Json, place: str, model: Model) -> None:
    if not result.get("name"):
        raise Refused(f"{_REQUEST}{place}.function_response.name: Name cannot be empty.")
    if "response" not in result:
        raise Refused(f"{_REQUEST}{place}.function_response.response: must be set.")
    if _has_reference(result["response"]):  # G-088
        raise Refused("Function response contains a $ref that names no media part.")
    media = result.get("parts") or []
    if media and not model.third:  # G-089
        raise Refused(f"Multimodal function responses are not supported by models/{model.name}.")
    for part in media:
        _check_blob(part.get("inlineData", {}), f"{place}.function_response", _RESULT_MIMES)


def _has_reference(value: Any) -> bool:
    if isinstance(value, dict):
        return "$ref" in value or any(map(_has_reference, value.values()))
    return isinstance(value, list) and any(map(_has_reference, value))


def _check_turns(contents: list[Json], model: Model) -> None:
    """Gemini.md 2.5: calls, then directly as many results, in the order of the calls."""
    if contents[0].get("role") == "model":  # Strict, G-013
        raise Refused("Please ensure that the first content has role user.")
    waiting: list[Json] = []
    for is_model, parts in _runs(contents):
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        if not is_model and len(results) != len(waiting):
            raise Refused(
                "Please ensure that the number of function response parts is equal to the number of function "
                "call parts of the function call turn."
            )
        for call, result in zip(waiting, results, strict=False):
            _check_pair(call, result)
        waiting = calls if is_model else []
    if contents[-1].get("role") == "model":
        if not model.prefill:  # 1.4
            raise Refused("Requests ending with a model turn are not supported.")
        if waiting:
            raise Refused("Please ensure that function call turn is followed by a function response turn.")


def _runs(contents: list[Json]) -> Iterator[tuple[bool, list[Json]]]:
    """Parts of neighbouring contents of one role; results are a run of their own, ended by other parts."""
    role: str | None = None
    parts: list[Json] = []
    for content in contents:
        given = content.get("role", "user")
        is_result = any("functionResponse" in part for part in content["parts"])
        kind = "result" if is_result else given
        if role is not None and kind != role:
            yield role == "model", parts
            parts = []
        role = kind
        parts = [*parts, *content["parts"]]
    yield role == "model", parts


def _check_pair(call: Json, result: Json) -> None:
    if result.get("id") and not call.get("id"):  # G-090
        raise Refused("Function call and function response must both have an id, or neither.")
    # google-genai 3.6.1 leaves the id out where it calls functions by itself, and the service takes that.
    given = result.get("id") or call.get("id")
    if call.get("id") != given or call["name"] != result["name"]:  # Strict, G-082
        raise Refused(
            f"Function response {result['name']} ({result.get('id', 'no id')}) does not belong to function "
            f"call {call['name']} ({call.get('id', 'no id')}) at its position."
        )


def _check_tools(request: Json, model: Model) -> None:
    tools: list[Json] = request.get("tools") or []
    functions = declared(request)
    built_in = [name for tool in tools for name in _SEARCHES if name in tool]
    config: Json = request.get("toolConfig") or {}
    if functions and (model.draws or model.speaks):
        raise Refused(f"Function calling is not enabled for models/{model.name}")
    if "googleSearchRetrieval" in built_in:  # 2.8
        raise Refused("google_search_retrieval is not supported; please use google_search instead.")
    if sum("functionDeclarations" in tool for tool in tools) > 1:  # Strict, G-045
        raise Refused("Please put all function declarations into one tool.")
    if any(not tool for tool in tools):
        raise Refused(f"{_REQUEST}tools: a tool must have one initialized field.")
    _check_declarations(tools, model)
    invocations = config.get("includeServerSideToolInvocations", False)
    if invocations and not model.third:  # G-106
        raise Refused(f"Tool call context circulation is not enabled for models/{model.name}")
    if functions and built_in and not invocations:  # G-105, G-107
        raise Refused(
            "Please enable tool_config.include_server_side_tool_invocations to use Built-in tools with "
            "Function calling."
            if model.third
            else "Tool use with function calling is unsupported"
        )
    _check_calling(config.get("functionCallingConfig"), functions, model)


def declared(request: Json) -> list[Json]:
    """All function declarations of a request."""
    return [each for tool in request.get("tools") or [] for each in tool.get("functionDeclarations", ())]


def _check_declarations(tools: list[Json], model: Model) -> None:
    names: set[str] = set()
    for i, tool in enumerate(tools):
        declarations = tool.get("functionDeclarations", ())
        if len(declarations) > _MOST_FUNCTIONS:
            raise Refused(f"At most {_MOST_FUNCTIONS} function declarations are supported.")
        for j, declaration in enumerate(declarations):
            place = f"{_REQUEST}tools[{i}].function_declarations[{j}]"
            name = declaration.get("name", "")
            if not _FUNCTION_NAME.fullmatch(name):  # G-064
                raise Refused(
                    f"{place}.name: Invalid function name. Must start with a letter or an underscore. Must "
                    "be alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), "
                    "with a maximum length of 128."
                )
            if name in names:
                raise Refused(f"Duplicate function declaration found: {name}")
            names.add(name)
            if "parameters" in declaration and "parametersJsonSchema" in declaration:  # G-047
                raise Refused(f"{place}: parameters and parameters_json_schema are mutually exclusive.")
            if "parameters" in declaration:
                schema = declaration["parameters"]
                if schema.get("type", "OBJECT") != "OBJECT":
                    raise Refused(f"{place}.parameters.type: should be OBJECT.")
                check_schema(schema, f"{place}.parameters", third=model.third)
            if "parametersJsonSchema" in declaration:
                schema = declaration["parametersJsonSchema"]
                check_json_parameters(schema, f"{place}.parameters_json_schema")


def _check_calling(calling: Json | None, functions: list[Json], model: Model) -> None:
    if calling is None:
        return
    if not functions:  # G-076
        raise Refused("Function calling config is set without function_declarations.")
    mode, names = calling.get("mode", "AUTO"), calling.get("allowedFunctionNames") or []
    if mode == "VALIDATED" and model.generation < (2, 5):
        raise Refused(f"Function calling mode VALIDATED is not supported by models/{model.name}.")
    if names and mode not in ("ANY", "VALIDATED"):  # G-073, G-215
        raise Refused("allowed_function_names should only be set when function calling mode is ANY.")
    if unknown := [name for name in names if name not in {each["name"] for each in functions}]:
        raise Refused(f"allowed_function_names: {unknown[0]} is not a declared function.")
