"""The escape hatch: what a client writes in Gemini's own words, laid over the translated body at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.errors import RequestError
from proxy.types import Json

# Below these keys stand names and values of the client's, not fields of Gemini's.
_FREE_FORM = frozenset(
    {
        "parameters",
        "parametersJsonSchema",
        "response",
        "responseJsonSchema",
        "responseSchema",
        "schema",
        "args",
        "labels",
        "partMetadata",
    }
)

# Fields of `generationConfig` that clients write at the top, as Google's own examples do thinking_config.
_GENERATION_FIELDS = frozenset(
    {
        "temperature",
        "topP",
        "topK",
        "candidateCount",
        "maxOutputTokens",
        "stopSequences",
        "responseLogprobs",
        "logprobs",
        "presencePenalty",
        "frequencyPenalty",
        "seed",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "responseFormat",
        "responseModalities",
        "mediaResolution",
        "speechConfig",
        "thinkingConfig",
        "imageConfig",
        "enableEnhancedCivicAnswers",
        "audioTranscriptionConfig",
    }
)
_IMAGE_FIELDS = frozenset({"aspectRatio", "imageSize"})


# What the translation reads or merges has to be an object; everything else is Google's to judge.
_OBJECTS = frozenset({"generationConfig", "thinkingConfig", "imageConfig", "toolConfig"})


def unfold(native: Mapping[str, Any]) -> Json:
    """The client's object in camel case, every field at its place in the body.

    Raises `RequestError` where a field has a shape that could not be merged or read.
    """
    body: Json = {}
    for spelled, given in native.items():
        key = camel(spelled)
        value = given if key in _FREE_FORM else camelise(given)
        if value is None:
            continue
        _check_shape(f"native.{spelled}", key, value)
        if key in _GENERATION_FIELDS:
            merge(body, {"generationConfig": {key: value}})
        elif key in _IMAGE_FIELDS:
            merge(body, {"generationConfig": {"imageConfig": {key: value}}})
        else:
            merge(body, {key: value})
    return body


def _check_shape(path: str, key: str, value: Any) -> None:
    if key in _OBJECTS and not isinstance(value, Mapping):
        raise _of_wrong_shape(path, "an object")
    if key == "generationConfig":
        for name, inner in value.items():
            if name in _OBJECTS and inner is not None:
                _check_shape(f"{path}.{name}", name, inner)
    elif key == "tools":
        _check_tools(path, value)


def _check_tools(path: str, tools: Any) -> None:
    """A list of objects; some clients write one object instead of a list."""
    for index, tool in enumerate(_objects(path, [tools] if isinstance(tools, Mapping) else tools)):
        functions = tool.get("functionDeclarations")
        if functions is not None:
            _objects(f"{path}[{index}].functionDeclarations", functions)


def _objects(path: str, value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise _of_wrong_shape(path, "a list")
    for index, item in enumerate(value):
        if not isinstance(item, Mapping):
            raise _of_wrong_shape(f"{path}[{index}]", "an object")
    return value


def _of_wrong_shape(path: str, wanted: str) -> RequestError:
    name = path.removeprefix("native.")
    return RequestError(f"{name!r} should be {wanted}.", attribute=path, code="invalid_type")


def camelise(value: Any) -> Any:
    """Keys from snake_case to camelCase, at every depth that is Gemini's."""
    if isinstance(value, Mapping):
        return {
            (name := camel(key)): inner if name in _FREE_FORM else camelise(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [camelise(item) for item in value]
    return value


def merge(body: Json, extra: Mapping[str, Any]) -> None:
    """Lay `extra` over `body`, object by object; anything else replaces."""
    for key, value in extra.items():
        before = body.get(key)
        if isinstance(before, dict) and isinstance(value, Mapping):
            merged = dict(before)
            merge(merged, value)
            body[key] = merged
        else:
            body[key] = value


def camel(key: str) -> str:
    first, *rest = key.split("_") if "_" in key.strip("_") else (key,)
    return first + "".join(word[:1].upper() + word[1:] for word in rest)
