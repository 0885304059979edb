"""What `generationConfig` may hold, by model (reference: gemini.md 2.4 and 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.simulators.gemini.errors import Refused
from proxy.simulators.gemini.models import Model
from proxy.simulators.gemini.schemas import check_json_schema, check_schema

Json = dict[str, Any]

_JSON = "application/json"
_MIMES = ("text/plain", _JSON, "text/x.enum")
_MOST_STOPS = 5
# Field -> lowest and highest value, both included.
_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "topP": (0, 1),
    "presencePenalty": (-2, 2),
    "frequencyPenalty": (-2, 2),
    "logprobs": (0, 20),
}


def check_generation(request: Json, model: Model, *, streamed: bool) -> None:
    config: Json = request.get("generationConfig") or {}
    for rule in _RULES:
        rule(config, model)
    _check_length(config, model, streamed or "continuationToken" in request)
    _check_logprobs(config, model, streamed)
    functions = any(tool.get("functionDeclarations") for tool in request.get("tools") or ())
    maps = any("googleMaps" in tool for tool in request.get("tools") or ())
    if config.get("responseMimeType") == _JSON:
        if functions and not model.third:  # 2.4, G-120
            raise Refused(f"Function calling with a response mime type: '{_JSON}' is unsupported")
        if maps:  # 2.8
            raise Refused(f"Google Maps with a response mime type: '{_JSON}' is unsupported")


def _check_ranges(config: Json, model: Model) -> None:
    for name, (low, high) in _RANGES.items():
        value = config.get(name)
        if value is not None and not low <= float(value) <= high:
            raise Refused(
                f"* GenerateContentRequest.generation_config.{name}: must be in the range [{low}, {high}]."
            )
    if config.get("topK", 1) < 1:
        raise Refused("* GenerateContentRequest.generation_config.top_k: must be positive.")


def _check_stops(config: Json, model: Model) -> None:
    stops = config.get("stopSequences") or []
    if len(stops) > _MOST_STOPS:  # G-111
        raise Refused(
            "* GenerateContentRequest.generation_config.stop_sequences: at most "
            f"{_MOST_STOPS} stop sequences are supported."
        )
    if "" in stops:  # G-112
        raise Refused("* GenerateContentRequest.generation_config.stop_sequences: must not be empty.")


def _check_candidates(config: Json, model: Model) -> None:
    count = config.get("candidateCount", 1)
    if count < 1:
        raise Refused("candidate_count must be positive.")
    if count > 1 and model.candidates == 1:  # G-220
        raise Refused("Multiple candidates is not enabled for this model")
    if count > model.candidates:
        raise Refused(f"The specified candidate count {count} exceeds the maximum of {model.candidates}.")


def _check_penalties(config: Json, model: Model) -> None:
    for name in ("presencePenalty", "frequencyPenalty"):
        if name in config and model.third:  # G-116
            raise Refused(f"Penalty is not enabled for models/{model.name}")


def _check_thinking(config: Json, model: Model) -> None:
    if "thinkingConfig" not in config:
        return
    thinking: Json = config["thinkingConfig"]
    if model.thinks == "no":  # G-127
        raise Refused("Thinking is not enabled for this model")
    level, budget = thinking.get("thinkingLevel"), thinking.get("thinkingBudget")
    if level is not None and budget is not None:  # G-128
        raise Refused("You can only set only one of thinking budget and thinking level.")
    if level is not None and not model.levels:  # 3.1
        raise Refused("Thinking level is not supported for this model.")
    if level is not None and level not in model.levels:  # G-124, G-126
        raise Refused(
            f"Thinking level {level} is not supported for this model. Please retry with other thinking level."
        )
    if budget is not None:
        _check_budget(budget, model)


def _check_budget(budget: int, model: Model) -> None:
    low, high = model.budget
    if high == 0:
        raise Refused("Thinking budget is not supported for this model.")
    if budget == -1 or low <= budget <= high:
        return
    if budget == 0 and model.thinks == "always":
        raise Refused("Budget 0 is invalid. This model only works in thinking mode.")
    if budget != 0:
        raise Refused(
            f"The thinking budget {budget} is invalid. Please choose a value between {low} and {high}."
        )


def _check_images(config: Json, model: Model) -> None:
    image: Json | None = config.get("imageConfig")
    if image is None:
        return
    if not model.draws:
        raise Refused(f"Image config is not enabled for models/{model.name}")
    size, ratio = image.get("imageSize"), image.get("aspectRatio")
    if size is not None and not model.images:  # G-132
        raise Refused(f"Image size is not supported by models/{model.name}")
    if size is not None and size not in model.images:  # G-131: `1k` is refused
        raise Refused(f"Invalid image size {size}. Supported: {', '.join(model.images)}.")
    if ratio is not None and ratio not in model.ratios:  # G-133
        raise Refused(f"Invalid aspect ratio {ratio}. Supported: {', '.join(model.ratios)}.")


def _check_modalities(config: Json, model: Model) -> None:
    asked = frozenset(config.get("responseModalities") or model.modalities[0])
    if asked in model.modalities:
        return
    accepted = "".join(f"* {', '.join(sorted(each, reverse=True))}\n" for each in model.modalities)
    raise Refused(
        f"The requested combination of response modalities ({', '.join(sorted(asked, reverse=True))}) is not "
        f"supported by the model. models/{model.name} accepts the following combination of response "
        f"modalities:\n{accepted}"
    )


def _check_format(config: Json, model: Model) -> None:
    mime = config.get("responseMimeType", "")
    if mime and mime not in _MIMES:
        allowed = ", ".join(f"`{each}`" for each in _MIMES)
        place = "* GenerateContentRequest.generation_config.response_mime_type"
        raise Refused(f"{place}: allowed mimetypes are {allowed}.\n")
    if mime == _JSON and (model.draws or model.speaks):  # G-118
        raise Refused(f"JSON mode is not enabled for models/{model.name}")
    schemas = [
        name for name in ("responseSchema", "responseJsonSchema", "_responseJsonSchema") if name in config
    ]
    if len(schemas) > 1:  # G-119
        raise Refused("response_schema and response_json_schema are mutually exclusive.")
    if schemas and mime not in _MIMES[1:]:
        raise Refused(
            f"* GenerateContentRequest.generation_config.{schemas[0]}: only allowed when response_mime_type "
            f"is '{_JSON}'."
        )
    if "responseSchema" in config:
        place = "* GenerateContentRequest.generation_config.response_schema"
        check_schema(config["responseSchema"], place, third=model.third)
    if isinstance(config.get("responseJsonSchema"), dict):
        place = "* GenerateContentRequest.generation_config.response_json_schema"
        check_json_schema(config["responseJsonSchema"], place)


# ai.google.dev, speech generation: the thirty voices.
_VOICES = frozenset(
    {
        "achernar",
        "achird",
        "algenib",
        "algieba",
        "alnilam",
        "aoede",
        "autonoe",
        "callirrhoe",
        "charon",
        "despina",
        "enceladus",
        "erinome",
        "fenrir",
        "gacrux",
        "iapetus",
        "kore",
        "laomedeia",
        "leda",
        "orus",
        "puck",
        "pulcherrima",
        "rasalgethi",
        "sadachbia",
        "sadaltager",
        "schedar",
        "sulafat",
        "umbriel",
        "vindemiatrix",
        "zephyr",
        "zubenelgenubi",
    }
)


def _check_speech(config: Json, model: Model) -> None:
    speech: Json | None = config.get("speechConfig")
    if speech is None:
        return
    if not model.speaks:
        raise Refused(f"Speech config is not enabled for models/{model.name}")
    voice = speech.get("voiceConfig", {}).get("prebuiltVoiceConfig", {}).get("voiceName", "kore")
    if voice.lower() not in _VOICES:
        raise Refused(
            f"* GenerateContentRequest.generation_config.speech_config: Voice name {voice} is not supported."
        )
    several = speech.get("multiSpeakerVoiceConfig", {}).get("speakerVoiceConfigs")
    if several is not None and len(several) != 2:  # 3.2
        raise Refused("multi_speaker_voice_config must have exactly two speakers.")


def _check_length(config: Json, model: Model, streamed: bool) -> None:
    most = config.get("maxOutputTokens")
    if most is None:
        return
    if most < 1 or most > model.output_limit:
        raise Refused(
            f"Unable to submit request because it has a maxOutputTokens value of {most} but the supported "
            f"range is from 1 (inclusive) to {model.output_limit + 1} (exclusive)."
        )
    if not streamed and most > model.whole_output_limit:  # 4.6, G-219
        raise Refused(
            f"max_output_tokens above {model.whole_output_limit} needs streaming or a continuation_token."
        )


def _check_logprobs(config: Json, model: Model, streamed: bool) -> None:
    if "logprobs" in config and not config.get("responseLogprobs"):
        raise Refused("Logprobs requires response_logprobs to be true.")
    # Section 3: mostly whole replies of older models; the others refuse.
    if config.get("responseLogprobs") and (model.third or streamed):
        raise Refused(f"Logprobs is not enabled for models/{model.name}")


_RULES: tuple[Callable[[Json, Model], None], ...] = (
    _check_ranges,
    _check_stops,
    _check_candidates,
    _check_penalties,
    _check_thinking,
    _check_images,
    _check_modalities,
    _check_format,
    _check_speech,
)
