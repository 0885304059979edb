"""All fields of a chat request but its messages, and of a model's defaults: tables of checks for the simple
ones, a function for each group."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from proxy.fronts import checks
from proxy.fronts.openai.fields import tools
from proxy.fronts.openai.fields.reading import Reading
from proxy.types import AnswerFormat, AudioOptions, ImageOptions, Json, Thinking

_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_TIERS = ("auto", "default", "standard", "flex", "scale", "priority", "fast")

Read = tuple[str, checks.Check]
Group = Callable[[Json, Reading], None]


def _stop(value: Any, path: str) -> tuple[str, ...]:
    """Empty strings stop nothing and are refused upstream."""
    found = [value] if isinstance(value, str) else checks.strings(value, path)
    return tuple(text for text in found if text)


def _modalities(value: Any, path: str) -> tuple[str, ...]:
    allowed = checks.one_of("text", "audio", "image")
    return tuple(
        allowed(word.lower(), f"{path}[{index}]") for index, word in enumerate(checks.strings(value, path))
    )


def _metadata(value: Any, path: str) -> Json:
    return checks.mapping(checks.carried(value, path), path)


def _safety_settings(value: Any, path: str) -> list[Json]:
    return checks.objects(checks.carried(value, path), path)


_AUDIO_MEMBERS = frozenset({"voice", "format"})
_VOICE_MEMBERS = frozenset({"id"})


def audio(body: Json, out: Reading) -> None:
    options = checks.mapping(body["audio"], "audio")
    voice, sound = options.get("voice"), options.get("format")
    if isinstance(voice, dict):
        out.notes.unread(voice, _VOICE_MEMBERS, "audio.voice")
        voice = voice.get("id")
    out.notes.unread(options, _AUDIO_MEMBERS, "audio")
    wanted = AudioOptions(
        None if voice is None else checks.string(voice, "audio.voice"),
        "wav"
        if sound is None
        else checks.one_of("wav", "aac", "mp3", "flac", "opus", "pcm16")(sound, "audio.format"),
    )
    out.request["audio"] = wanted
    out.shape["audio_format"] = wanted.format


def answer_format(body: Json, out: Reading) -> None:
    """`response_format`; llama.cpp's and Together's `schema` beside `json_object` is understood too."""
    path = "response_format"
    options = checks.mapping(body[path], path)
    if options.get("type") is None:
        raise checks.missing(f"{path}.type")
    sort = checks.one_of("text", "json_object", "json_schema")(options["type"], f"{path}.type")
    read = {"type"}
    if sort == "json_schema":
        read.add("json_schema")
        found = _json_schema(options, out)
    elif sort == "json_object" and options.get("schema"):
        read.add("schema")
        out.wrote.append(f"{path}.schema")
        found = AnswerFormat("json_schema", checks.mapping(options["schema"], f"{path}.schema"))
    else:
        found = AnswerFormat("json_object" if sort == "json_object" else "text")
    out.notes.unread(options, frozenset(read), path)
    out.request["answer_format"] = found


SCHEMA_MEMBERS = frozenset({"name", "description", "schema", "strict"})


def _json_schema(options: Json, out: Reading) -> AnswerFormat:
    where = "response_format.json_schema"
    if options.get("json_schema") is None:
        raise checks.missing(where)
    holder = checks.mapping(options["json_schema"], where)
    out.notes.unread(holder, SCHEMA_MEMBERS, where)
    return _schema_of(holder, where)


def _schema_of(holder: Json, path: str) -> AnswerFormat:
    """The answer that an object with a schema and its name asks for."""
    return AnswerFormat(
        "json_schema",
        checks.given(holder, "schema", path, checks.mapping),
        checks.given(holder, "name", path),
        checks.given(holder, "description", path),
        checks.given(holder, "strict", path, checks.boolean),
    )


_FLAT = SCHEMA_MEMBERS | {"type"}


def flat_answer_format(value: Any, path: str, out: Reading) -> None:
    """Of Responses, whose schema stands in the same object."""
    form = checks.mapping(value, path)
    if form.get("type") is None:
        raise checks.missing(f"{path}.type")
    sort = checks.one_of("text", "json_object", "json_schema")(form["type"], f"{path}.type")
    if sort != "json_schema":
        out.notes.unread(form, frozenset({"type"}), path)
        found = AnswerFormat("json_object" if sort == "json_object" else "text")
    else:
        out.notes.unread(form, _FLAT, path)
        if form.get("schema") is None:
            raise checks.missing(f"{path}.schema")
        found = _schema_of(form, path)
    out.request["answer_format"] = found


def _logit_bias(value: Any, path: str) -> Json:
    biases = checks.mapping(value, path)
    for token, bias in biases.items():
        checks.number(-100, 100)(bias, f"{path}.{token}")
    return biases


# One field of the body, one attribute of `ChatRequest`.
SIMPLE: dict[str, Read] = {
    "model": ("model", checks.model),
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
    "parallel_tool_calls": ("parallel_calls", checks.boolean),
    "modalities": ("modalities", _modalities),
    "safety_settings": ("safety_settings", _safety_settings),
    "cached_content": ("cached_content", checks.required_string),
    "service_tier": ("service_tier", checks.one_of(*_TIERS)),
    "store": ("store", checks.boolean),
    "user": ("user", checks.string),
}

# Documented by OpenAI, without an attribute of ours: carried in `ChatRequest.foreign`.
DOCUMENTED: dict[str, checks.Check] = {
    "logit_bias": _logit_bias,
    "moderation": checks.mapping,
    "prediction": checks.mapping,
    "prompt_cache_key": checks.string,
    "prompt_cache_options": checks.mapping,
    "prompt_cache_retention": checks.string,
    "safety_identifier": checks.string,
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


_at_least_one = checks.integer(1)


def max_tokens(body: Json, out: Reading) -> None:
    """`max_completion_tokens` wins; both are checked."""
    for field in ("max_tokens", "max_completion_tokens"):
        if body.get(field) is not None:
            out.request["max_tokens"] = _at_least_one(body[field], field)


_STREAM_MEMBERS = frozenset({"include_usage", "include_obfuscation"})
_USAGE_MEMBERS = frozenset({"include"})


def stream_options(body: Json, out: Reading) -> None:
    options = checks.mapping(body["stream_options"], "stream_options")
    for field in ("include_usage", "include_obfuscation"):
        if options.get(field) is not None:
            checks.boolean(options[field], f"stream_options.{field}")
    if options.get("include_usage") is True:
        out.shape["include_usage"] = True
    if options.get("include_obfuscation"):
        out.notes.add("stream_options.include_obfuscation")
    out.notes.unread(options, _STREAM_MEMBERS, "stream_options")


def usage(body: Json, out: Reading) -> None:
    """OpenRouter's way to ask for usage in a stream."""
    options = checks.mapping(body["usage"], "usage")
    if options.get("include") is not None and checks.boolean(options["include"], "usage.include"):
        out.shape["include_usage"] = True
    out.notes.unread(options, _USAGE_MEMBERS, "usage")


def image_output(body: Json, out: Reading) -> None:
    out.shape["image_output"] = checks.string(body["image_output"], "image_output")


def metadata(body: Json, out: Reading) -> None:
    """`image_output` in it is ours and goes no further."""
    found = _metadata(body["metadata"], "metadata")
    if found.get("image_output") is not None:
        if body.get("image_output") is None:
            out.shape["image_output"] = checks.string(found["image_output"], "metadata.image_output")
        found = {key: value for key, value in found.items() if key != "image_output"}
    out.request["metadata"] = found


_EFFORT_MEMBERS = frozenset({"effort", "max_tokens", "summary", "generate_summary", "exclude", "enabled"})
_BUDGET_MEMBERS = frozenset({"type", "budget_tokens", "display"})


def thinking(body: Json, out: Reading) -> None:
    """`reasoning_effort`, OpenRouter's `reasoning`, Anthropic's `thinking`: the first to speak wins."""
    efforts: list[str | None] = []
    budgets: list[int | None] = []
    summaries: list[bool | None] = []
    if body.get("reasoning_effort") is not None:
        efforts.append(checks.one_of(*_EFFORTS)(body["reasoning_effort"], "reasoning_effort"))
    if body.get("include_reasoning") is not None:
        summaries.append(checks.boolean(body["include_reasoning"], "include_reasoning"))
    for field, read, members in (
        ("reasoning", _openrouter, _EFFORT_MEMBERS),
        ("thinking", _anthropic, _BUDGET_MEMBERS),
    ):
        if body.get(field) is not None:
            options = checks.mapping(body[field], field)
            out.notes.unread(options, members, field)
            effort, budget, summary = read(options, field)
            efforts.append(effort)
            budgets.append(budget)
            summaries.append(summary)
    effort = next((word for word in efforts if word is not None), None)
    budget = next((size for size in budgets if size is not None), None)
    summary = next((wish for wish in summaries if wish is not None), None)
    if body.get("reasoning_effort") is not None:
        budget = None
    out.request["thinking"] = Thinking(effort, budget, summary)


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


def image(body: Json, out: Reading) -> None:
    """Size wishes of a chat or an image request."""
    found: dict[str, str] = {}
    holders = [(body, "")]
    if body.get("image_config") is not None:
        config = checks.mapping(body["image_config"], "image_config")
        out.notes.unread(config, IMAGE_FIELDS, "image_config")
        out.wrote += (f"image_config.{name}" for name in config if name in IMAGE_FIELDS)
        holders.insert(0, (config, "image_config."))
    for holder, prefix in holders:
        for name, spellings in _IMAGE_FIELDS.items():
            for spelling in spellings:
                if name not in found and holder.get(spelling) is not None:
                    found[name] = checks.string(holder[spelling], prefix + spelling)
    if found:
        out.request["image"] = ImageOptions(**found)


IMAGE_FIELDS = frozenset({"image_config", *(name for group in _IMAGE_FIELDS.values() for name in group)})


def _tools(body: Json, out: Reading) -> None:
    """All fields about tools at once: `tool_choice` may only name what `tools` declares."""
    found: tuple[tools.Tool, ...] = ()
    if body.get("tools") is not None:
        found = tools.parse(body["tools"], out.notes)
    if body.get("functions") is not None:
        everything = tools.parse_functions(body["functions"], out.notes, found)
        out.shape["legacy_functions"] = bool(everything) and not found
        found = everything
    if body.get("web_search_options") is not None:
        found = (*found, tools.web_search(body["web_search_options"]))
    out.request["tools"] = found
    if body.get("tool_choice") is not None:
        out.request["tool_choice"] = tools.parse_choice(body["tool_choice"], found, out.notes)
    elif body.get("function_call") is not None:
        out.request["tool_choice"] = tools.parse_legacy_choice(body["function_call"], found, out.notes)


GROUPS: dict[str, Group] = {
    "tools": _tools,
    "tool_choice": _tools,
    "functions": _tools,
    "function_call": _tools,
    "web_search_options": _tools,
    "max_tokens": max_tokens,
    "max_completion_tokens": max_tokens,
    "stream_options": stream_options,
    "usage": usage,
    "metadata": metadata,
    "image_output": image_output,
    "response_format": answer_format,
    "audio": audio,
    "reasoning_effort": thinking,
    "include_reasoning": thinking,
    "reasoning": thinking,
    "thinking": thinking,
    **dict.fromkeys(IMAGE_FIELDS, image),
}


def read(body: Json, reading: Reading) -> Iterable[Group]:
    """Read the fields that stand alone; the groups that the others belong to are returned, each once."""
    groups: dict[Group, None] = {}
    for key, value in body.items():
        if value is None:
            continue
        if (simple := SIMPLE.get(key)) is not None:
            attribute, check = simple
            reading.request[attribute] = check(value, key)
        elif (group := GROUPS.get(key)) is not None:
            groups[group] = None
        elif (documented := DOCUMENTED.get(key)) is not None:
            reading.add_foreign(key, documented(value, key))
        elif key != "messages":
            reading.add_foreign(key, value)
    return groups
