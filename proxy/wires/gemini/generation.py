"""`generationConfig`: sampling, limits, thinking, the form of the answer, pictures and speech."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import orjson

from proxy.errors import RequestError
from proxy.pictures import sizes
from proxy.types import AnswerFormat, ChatRequest, Json, Thinking
from proxy.wires.gemini import voices
from proxy.wires.gemini.models import ModelTraits, Thought
from proxy.wires.gemini.openapi import OpenApi
from proxy.wires.gemini.schema import is_empty, json_schema

if TYPE_CHECKING:
    from proxy.wires.gemini.bodies import GenerationConfig, ImageConfig, ThinkingConfig

# A new parameter that is passed on as it is needs one line here: attribute of the request, Gemini's name.
_CARRIED: tuple[tuple[str, Literal["temperature", "topP", "topK"]], ...] = (
    ("temperature", "temperature"),
    ("top_p", "topP"),
    ("top_k", "topK"),
)
_PENALTIES: tuple[tuple[str, Literal["presencePenalty", "frequencyPenalty"]], ...] = (
    ("presence_penalty", "presencePenalty"),
    ("frequency_penalty", "frequencyPenalty"),
)

_MAX_STOPS = 5

# Google's compat endpoint, documentation of 2026-09; a Pro that cannot stop thinking gets its minimum.
_BUDGETS = {
    "none": 0,
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24576,
    "xhigh": 24576,
    "max": 24576,
}
_EFFORT_RANK = {"none": 0, "minimal": 0, "low": 1, "medium": 2, "high": 3, "xhigh": 3, "max": 3}
# The largest budget that still means the level.
_LEVEL_OF_BUDGET = ((0, "minimal"), (1024, "low"), (8192, "medium"))

_MODALITIES = {"text": "TEXT", "image": "IMAGE", "audio": "AUDIO"}

# litellm 1.109.1. Google's own voices, and names OpenAI does not have, pass as they are.
_SPEECH_FORMATS = ("wav", "pcm16")  # others need an encoder

_IMAGE_WISHES = ("size", "aspect_ratio", "image_size", "quality")

_JSON = "application/json"


def build(
    request: ChatRequest, model: ModelTraits, options: Mapping[str, Any], dropped: list[str]
) -> GenerationConfig:
    """Everything but the form of the answer (see `answer_form`) and pictures. Names what it leaves out."""
    config: GenerationConfig = {}
    for attribute, name in _CARRIED:
        value = getattr(request, attribute)
        if value is not None:
            if model.sampling == "pass":
                config[name] = value
            else:
                dropped.append(attribute)
    if request.max_tokens is not None:
        config["maxOutputTokens"] = min(request.max_tokens, model.limits.get("output", request.max_tokens))
    if request.stop:
        _stops(request.stop, config, dropped)
    if request.seed is not None:
        # int32 at Google
        in_range = -(2**31) <= request.seed < 2**31
        config["seed"] = request.seed if in_range else request.seed % 2**31
    if request.presence_penalty or request.frequency_penalty:
        _penalties(request, model, config, dropped)
    if request.logprobs:
        config["responseLogprobs"] = True
        if request.top_logprobs is not None:
            config["logprobs"] = request.top_logprobs
    if request.n > 1 and candidates(request, model) == request.n:
        config["candidateCount"] = request.n
    if request.thinking is not None:
        thinking = _thinking(request.thinking, model.thinking, options, dropped)
        if thinking:
            config["thinkingConfig"] = thinking
    if model.speech or request.modalities or request.audio or model.image:
        _modalities(request, model, options, config, dropped)
    return config


def candidates(request: ChatRequest, model: ModelTraits) -> int:
    """How many choices one call gives: a stream, and every Gemini 3, gives one."""
    return request.n if not request.stream and request.n <= model.candidates else 1


def _stops(stop: tuple[str, ...], config: GenerationConfig, dropped: list[str]) -> None:
    found = [text for text in dict.fromkeys(stop) if text]
    if len(found) > _MAX_STOPS:
        dropped.append("stop")
    if found:
        config["stopSequences"] = found[:_MAX_STOPS]


def _penalties(
    request: ChatRequest, model: ModelTraits, config: GenerationConfig, dropped: list[str]
) -> None:
    for attribute, name in _PENALTIES:
        value = getattr(request, attribute)
        if value and model.penalties:
            config[name] = value
        elif value:
            dropped.append(attribute)


# --- thinking ------------------------------------------------------------------------------------


def _thinking(
    wish: Thinking, thought: Thought, options: Mapping[str, Any], dropped: list[str]
) -> ThinkingConfig | None:
    off = wish.effort == "none" or wish.budget == 0
    if thought.kind == "none":
        if not off:
            dropped.append("thinking")
        return None
    config: ThinkingConfig = {}
    if thought.kind == "budget":
        budget = wish.budget if wish.budget is not None else _budget_of(wish.effort)
        if budget is not None:
            config["thinkingBudget"] = _in_range(budget, thought)
    else:
        level = wish.effort or _level_of(wish.budget)
        if level is not None:
            config["thinkingLevel"] = nearest_level(level, thought.levels)
    asked = wish.summary if wish.summary is not None else bool(config) and not off
    show = asked and options.get("include_thoughts") is not False
    if config or show:
        config["includeThoughts"] = show
    return config or None


def _budget_of(effort: str | None) -> int | None:
    return _BUDGETS[_known(effort)] if effort else None


def _level_of(budget: int | None) -> str | None:
    """-1 leaves the amount to the model, as a level cannot say."""
    if budget is None or budget < 0:
        return None
    return next((level for limit, level in _LEVEL_OF_BUDGET if budget <= limit), "high")


def _in_range(budget: int, thought: Thought) -> int:
    if budget < 0 or (budget == 0 and thought.zero):
        return max(budget, -1)
    return min(max(budget, thought.min), thought.max)


def nearest_level(effort: str, levels: tuple[str, ...]) -> str:
    """The level of a model nearest to an effort; of two equally near the lower."""
    wanted = _EFFORT_RANK[_known(effort)]
    return min(levels, key=lambda level: (abs(_EFFORT_RANK[level] - wanted), _EFFORT_RANK[level]))


def _known(effort: str) -> str:
    if effort not in _EFFORT_RANK:
        raise RequestError(f"{effort!r} is not a reasoning effort.", attribute="thinking")
    return effort


# --- the form of the answer ----------------------------------------------------------------------


def answer_form(
    wish: AnswerFormat,
    model: ModelTraits,
    config: GenerationConfig,
    *,
    tools: list[Json],
    openapi: bool,
    dropped: list[str],
) -> str | None:
    """JSON mode and schemas. Returns a sentence for the system text where the model can only be asked."""
    if wish.kind == "text":
        return None
    if not model.json:
        dropped.append("answer_format")
        return None
    schema = _answer_schema(wish, model, openapi) if wish.schema else None
    if tools and not model.json_with_tools:
        # 400 "Function calling with a response mime type: 'application/json' is unsupported"
        dropped.append("answer_format")
        return _asked_in_words(wish)
    if any("googleMaps" in tool for tool in tools):
        # refused beside responseMimeType, accepted in the newer spelling
        config["responseFormat"] = {"text": {"mimeType": _JSON, **({"schema": schema} if schema else {})}}
        return None
    config["responseMimeType"] = _JSON
    if schema:
        config["responseSchema" if openapi else "responseJsonSchema"] = schema
    elif wish.schema:
        dropped += (f"answer_format.{name}" for name in ("name", "description") if getattr(wish, name))
    return None


def _answer_schema(wish: AnswerFormat, model: ModelTraits, openapi: bool) -> Json:
    assert wish.schema is not None
    try:
        if openapi:
            schema = OpenApi(integer_enums=model.integer_enums, ordering=True).schema(wish.schema)
        else:
            schema = json_schema(wish.schema)
    except RequestError as error:
        raise RequestError(error.message, attribute="answer_format.schema") from error
    if openapi and is_empty(schema):
        return {}  # an object of no properties is refused, and says no more than JSON mode
    if "$ref" not in schema:
        if wish.name:
            schema["title"] = wish.name
        if wish.description:
            schema.setdefault("description", wish.description)
    return schema


def _asked_in_words(wish: AnswerFormat) -> str:
    if not wish.schema:
        return "Answer with one JSON object and nothing else."
    schema = orjson.dumps(json_schema(wish.schema)).decode()
    return f"Answer with JSON and nothing else, valid for this JSON Schema: {schema}"


# --- pictures and speech -------------------------------------------------------------------------


def _modalities(
    request: ChatRequest,
    model: ModelTraits,
    options: Mapping[str, Any],
    config: GenerationConfig,
    dropped: list[str],
) -> None:
    wished = [_MODALITIES[word] for word in request.modalities or ()]
    if model.speech:
        config["responseModalities"] = ["AUDIO"]
        if wished and ("AUDIO" not in wished or "IMAGE" in wished):
            dropped.append("modalities")
        _speech(request, model, options, config)
        return
    if request.audio is not None:
        dropped.append("audio")
    if "AUDIO" in wished or ("IMAGE" in wished and not model.image):
        dropped.append("modalities")
    if model.image:
        config["responseModalities"] = [word for word in wished if word != "AUDIO"] or ["TEXT", "IMAGE"]


def unspeakable(request: ChatRequest, model: ModelTraits) -> RequestError | None:
    """The sound that is wished for needs an encoder."""
    audio = request.audio
    if audio is None or not model.speech or audio.format in _SPEECH_FORMATS:
        return None
    return RequestError(
        f"The model speaks {' and '.join(_SPEECH_FORMATS)}, not {audio.format}.",
        attribute="audio.format",
        code="unsupported_value",
    )


def _speech(
    request: ChatRequest, model: ModelTraits, options: Mapping[str, Any], config: GenerationConfig
) -> None:
    audio = request.audio
    if audio is None:
        return
    if (refusal := unspeakable(request, model)) is not None:
        raise refusal
    if audio.voice:
        config["speechConfig"] = voices.config(audio.voice, options)


def picture_size(
    request: ChatRequest,
    model: ModelTraits,
    options: Mapping[str, Any],
    config: GenerationConfig,
    dropped: list[str],
) -> str:
    """Put `imageConfig` in; returns what to report about the size, empty if nothing was asked for."""
    assert request.image is not None
    given = [name for name in _IMAGE_WISHES if getattr(request.image, name)]
    if model.image is None:
        dropped += (f"image.{name}" for name in given)
        return ""
    wish = sizes.parse(request.image)
    size = sizes.choose(wish, replace(model.image, max_tier=options.get("max_tier")))
    image_config: ImageConfig = {}
    if size.aspect:
        image_config["aspectRatio"] = size.aspect
    if size.tier:
        image_config["imageSize"] = size.tier
    if image_config:
        config["imageConfig"] = image_config
    if wish.tier and not size.tier:
        dropped.append(f"image.{wish.fields['tier']}")
    if "quality" in given and wish.fields.get("tier") != "quality" and request.image.quality != "auto":
        dropped.append("image.quality")
    return size.report(wish)
