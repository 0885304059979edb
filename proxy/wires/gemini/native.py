"""The escape hatch: what a client writes in Gemini's own words, laid over the translated body at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def unfold(native: Mapping[str, Any]) -> Json:
    """The client's object in camel case, every field at its place in the body."""
    body: Json = {}
    for key, value in camelise(native).items():
        if key in _GENERATION_FIELDS:
            merge(body, {"generationConfig": {key: value}})
        elif key in _IMAGE_FIELDS:
            merge(body, {"generationConfig": {"imageConfig": {key: value}}})
        else:
            merge(body, {key: value})
    return body


def camelise(value: Any) -> Any:
    """Keys from snake_case to camelCase, at every depth that is Gemini's."""
    if isinstance(value, Mapping):
        return {
            (name := _camel(key)): inner if name in _FREE_FORM else camelise(inner)
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


def _camel(key: str) -> str:
    first, *rest = key.split("_") if "_" in key.strip("_") else (key,)
    return first + "".join(word[:1].upper() + word[1:] for word in rest)
