"""The other fields of a chat request: tables of checks for the simple ones, a function for each group."""

from __future__ import annotations

from typing import Any

from proxy.fronts.openai import checks
from proxy.types import AudioOptions, ImageOptions, Json, ResponseFormat, Thinking

_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_TIERS = ("auto", "default", "standard", "flex", "scale", "priority", "fast")

Read = tuple[str, checks.Check]


def _model(value: Any, path: str) -> str:
    return checks.required_string(value.strip() if isinstance(value, str) else value, path)


def _stop(value: Any, path: str) -> tuple[str, ...]:
    """Empty strings stop nothing and are refused upstream."""
    found = [value] if isinstance(value, str) else checks.strings(value, path)
    return tuple(text for text in found if text)


def _modalities(value: Any, path: str) -> tuple[str, ...]:
    allowed = checks.one_of("text", "audio", "image")
    return tuple(
        allowed(word.lower(), f"{path}[{index}]") for index, word in enumerate(checks.strings(value, path))
    )


def _audio(value: Any, path: str) -> AudioOptions:
    options = checks.mapping(value, path)
    voice, sound = options.get("voice"), options.get("format")
    if isinstance(voice, dict):
        voice = voice.get("id")
    return AudioOptions(
        None if voice is None else checks.string(voice, f"{path}.voice"),
        "wav"
        if sound is None
        else checks.one_of("wav", "aac", "mp3", "flac", "opus", "pcm16")(sound, f"{path}.format"),
    )


def _response_format(value: Any, path: str) -> ResponseFormat:
    options = checks.mapping(value, path)
    if options.get("type") is None:
        raise checks.missing(f"{path}.type")
    sort = checks.one_of("text", "json_object", "json_schema")(options["type"], f"{path}.type")
    if sort == "text":
        return ResponseFormat("text")
    if sort == "json_object":
        return ResponseFormat("json_object")
    where = f"{path}.json_schema"
    if options.get("json_schema") is None:
        raise checks.missing(where)
    holder = checks.mapping(options["json_schema"], where)
    name, about, strict = holder.get("name"), holder.get("description"), holder.get("strict")
    schema = holder.get("schema")
    return ResponseFormat(
        "json_schema",
        None if schema is None else checks.mapping(schema, f"{where}.schema"),
        None if name is None else checks.string(name, f"{where}.name"),
        None if about is None else checks.string(about, f"{where}.description"),
        None if strict is None else checks.boolean(strict, f"{where}.strict"),
    )


def _logit_bias(value: Any, path: str) -> Json:
    biases = checks.mapping(value, path)
    for token, bias in biases.items():
        checks.number(-100, 100)(bias, f"{path}.{token}")
    return biases


# One field of the body, one attribute of `ChatRequest`.
SIMPLE: dict[str, Read] = {
    "model": ("model", _model),
    "stream": ("stream", checks.boolean),
    "temperature": ("temperature", checks.number(0, 2)),
    "top_p": ("top_p", checks.number(0, 1)),
    "top_k": ("top_k", checks.integer(0)),
    "n": ("n", checks.integer(1, 128)),
    "stop": ("stop", _stop),
    "seed": ("seed", checks.integer()),
    "presence_penalty": ("presence_penalty", checks.number(-2, 2)),
    "frequency_penalty": ("frequency_penalty", checks.number(-2, 2)),
    "logprobs": ("logprobs", checks.boolean),
    "top_logprobs": ("top_logprobs", checks.integer(0, 20)),
    "response_format": ("response_format", _response_format),
    "parallel_tool_calls": ("parallel_tool_calls", checks.boolean),
    "modalities": ("modalities", _modalities),
    "audio": ("audio", _audio),
    "safety_settings": ("safety_settings", checks.objects),
    "cached_content": ("cached_content", checks.required_string),
    "service_tier": ("service_tier", checks.one_of(*_TIERS)),
    "store": ("store", checks.boolean),
    "image_output": ("image_output", checks.string),
}

# Documented by OpenAI, without an attribute of ours: carried in `ChatRequest.documented`.
DOCUMENTED: dict[str, checks.Check] = {
    "logit_bias": _logit_bias,
    "moderation": checks.mapping,
    "prediction": checks.mapping,
    "prompt_cache_key": checks.string,
    "prompt_cache_options": checks.mapping,
    "prompt_cache_retention": checks.string,
    "safety_identifier": checks.string,
    "user": checks.string,
    "verbosity": checks.one_of("low", "medium", "high"),
}


def unfold(body: Json) -> tuple[Json, Json]:
    """Lay out `extra_body`, which some clients really send, once or twice nested; the root wins.

    Its `google` object, or the root's (openai-python merges `extra_body` into the root), comes second.
    """
    native: Json = {}
    path = ""
    for _ in range(3):
        if body.get("google") is not None:
            native = {**checks.mapping(body["google"], f"{path}google"), **native}
        inner = body.get("extra_body")
        path += "extra_body."
        body = {key: value for key, value in body.items() if key not in ("extra_body", "google")}
        if inner is None:
            break
        inner = checks.mapping(inner, path[:-1])
        body = {**inner, **{key: value for key, value in body.items() if value is not None}}
    return body, native


def max_tokens(body: Json, out: Json) -> None:
    """`max_completion_tokens` wins; both are checked."""
    for field in ("max_tokens", "max_completion_tokens"):
        if body.get(field) is not None:
            out["max_tokens"] = checks.integer(1)(body[field], field)


def stream_options(body: Json, out: Json) -> None:
    options = checks.mapping(body["stream_options"], "stream_options")
    for field in ("include_usage", "include_obfuscation"):
        if options.get(field) is not None:
            checks.boolean(options[field], f"stream_options.{field}")
    if options.get("include_usage") is True:
        out["include_usage"] = True
    if options.get("include_obfuscation"):
        out["dropped"].add("stream_options.include_obfuscation")


def usage(body: Json, out: Json) -> None:
    """OpenRouter's way to ask for usage in a stream."""
    options = checks.mapping(body["usage"], "usage")
    if options.get("include") is not None and checks.boolean(options["include"], "usage.include"):
        out["include_usage"] = True


def metadata(body: Json, out: Json) -> None:
    """`image_output` in it is ours and goes no further."""
    found = checks.mapping(body["metadata"], "metadata")
    if found.get("image_output") is not None:
        if "image_output" not in out and body.get("image_output") is None:
            out["image_output"] = checks.string(found["image_output"], "metadata.image_output")
        found = {key: value for key, value in found.items() if key != "image_output"}
    out["metadata"] = found


def thinking(body: Json, out: Json) -> None:
    """`reasoning_effort`, OpenRouter's `reasoning`, Anthropic's `thinking`: the first to speak wins."""
    efforts: list[str | None] = []
    budgets: list[int | None] = []
    summaries: list[bool | None] = []
    if body.get("reasoning_effort") is not None:
        efforts.append(checks.one_of(*_EFFORTS)(body["reasoning_effort"], "reasoning_effort"))
    if body.get("include_reasoning") is not None:
        summaries.append(checks.boolean(body["include_reasoning"], "include_reasoning"))
    for field, read in (("reasoning", _openrouter), ("thinking", _anthropic)):
        if body.get(field) is not None:
            effort, budget, summary = read(checks.mapping(body[field], field), field)
            efforts.append(effort)
            budgets.append(budget)
            summaries.append(summary)
    effort = next((word for word in efforts if word is not None), None)
    budget = next((size for size in budgets if size is not None), None)
    summary = next((wish for wish in summaries if wish is not None), None)
    if body.get("reasoning_effort") is not None:
        budget = None
    out["thinking"] = Thinking(effort, budget, summary)


_Thought = tuple[str | None, int | None, bool | None]


def _openrouter(options: Json, path: str) -> _Thought:
    effort, budget, summary = options.get("effort"), options.get("max_tokens"), None
    for field in ("summary", "generate_summary"):
        if options.get(field) is not None:
            summary = checks.string(options[field], f"{path}.{field}") != "none"
    if options.get("exclude") is not None:
        summary = not checks.boolean(options["exclude"], f"{path}.exclude")
    if options.get("enabled") is not None:
        enabled = checks.boolean(options["enabled"], f"{path}.enabled")
        if not enabled:
            effort, budget = "none", None
        elif effort is None and budget is None:
            effort = "medium"  # what OpenRouter documents for `enabled: true`
    return (
        None if effort is None else checks.one_of(*_EFFORTS)(effort, f"{path}.effort"),
        None if budget is None else checks.integer(-1)(budget, f"{path}.max_tokens"),
        summary,
    )


def _anthropic(options: Json, path: str) -> _Thought:
    sort = options.get("type", "enabled")
    if checks.one_of("enabled", "disabled", "adaptive")(sort, f"{path}.type") == "disabled":
        return "none", None, None
    budget, display = options.get("budget_tokens"), options.get("display")
    return (
        None,
        None if budget is None else checks.integer(-1)(budget, f"{path}.budget_tokens"),
        display is None or checks.string(display, f"{path}.display") != "omitted",
    )


# Where the wish may stand, in order; `image_config` is OpenRouter's object.
_IMAGE_FIELDS: dict[str, tuple[str, ...]] = {
    "size": ("size",),
    "aspect_ratio": ("aspect_ratio", "aspectRatio", "ratio"),
    "image_size": ("image_size", "imageSize", "resolution"),
    "quality": ("quality",),
}


def image_options(body: Json, path: str = "") -> ImageOptions | None:
    """Size wishes of a chat or an image request, None if there are none."""
    found: dict[str, str] = {}
    config = body.get("image_config")
    holders = [(body, path)]
    if config is not None:
        holders.insert(0, (checks.mapping(config, f"{path}image_config"), f"{path}image_config."))
    for holder, prefix in holders:
        for name, spellings in _IMAGE_FIELDS.items():
            for spelling in spellings:
                if name not in found and holder.get(spelling) is not None:
                    found[name] = checks.string(holder[spelling], prefix + spelling)
    return ImageOptions(**found) if found else None


def image(body: Json, out: Json) -> None:
    out["image"] = image_options(body)


IMAGE_FIELDS = frozenset({"image_config", *(name for group in _IMAGE_FIELDS.values() for name in group)})
