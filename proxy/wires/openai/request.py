"""Builds the body of an OpenAI chat completion request for servers that speak that dialect themselves.

Nothing is passed through unseen: the body is made from the parsed request, so every server gets the newest
spelling, whichever the client used. `OpenAIChatWire` describes the options.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proxy.pictures import sizes
from proxy.types import (
    AnswerFormat,
    BuiltinTool,
    Call,
    ChatRequest,
    Foreign,
    FunctionTool,
    ImageOptions,
    Json,
    Target,
    ToolChoice,
)
from proxy.wires.openai import messages, names
from proxy.wires.openai.error import AT_MOST, WITHOUT
from proxy.wires.openai.models import reads_cache_control

PATH = "/chat/completions"

DIALECT: Final = "openai"

# Fields that OpenAI documents and that have no attribute of ours.
_DOCUMENTED = frozenset(
    {
        "logit_bias",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "verbosity",
    }
)

# Repairs: a refusal names the field, the next try does without it. See `error.repair`.
COMPLETION_TOKENS: Final = "max_completion_tokens"
PLAIN_TOKENS: Final = "max_tokens"
NO_STREAM_OPTIONS: Final = "no_stream_options"
JOINED_TEXTS: Final = "joined_texts"
LEADING_SYSTEM: Final = "leading_system"
THOUGHTS_BACK: Final = "thoughts_back"

# Attributes that have the same name and shape in the body.
_SAME = (
    "temperature",
    "top_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "service_tier",
    "store",
    "user",
)

_SEARCH_OPTIONS = ("search_context_size", "user_location")

# Tokens of thinking, and the word that comes nearest (gemini.md 3.1: low 1024, medium 8192, high 24576).
_EFFORTS = ((0, "none"), (512, "minimal"), (4096, "low"), (16_384, "medium"))

# What OpenRouter and Google document for pictures in a chat.
_PICTURE_SIZES = sizes.SizePolicy(
    aspects=("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"),
    tiers=("1K", "2K", "4K"),
)


def build(request: ChatRequest, target: Target, repairs: frozenset[str] = frozenset()) -> Call:
    """Translate. Raises `RequestError` where a part of a message cannot be said in this dialect."""
    options = target.options
    if renamed := names.renamed(request):
        request = names.applied(request, renamed)
    if THOUGHTS_BACK in repairs:
        options = {**options, "history_reasoning": "reasoning_content"}
    dropped: list[str] = []
    marks = _marks(request.foreign, target, dropped)
    body: Json = {
        **foreign(request.foreign, options, dropped),
        "model": target.model,
        "messages": messages.build(request, options, dropped, marks),
    }
    if THOUGHTS_BACK in repairs:
        messages.tell_thoughts(body["messages"])
    if LEADING_SYSTEM in repairs or options.get("mid_system") == "hoist":
        messages.hoist_system(body["messages"])
    if JOINED_TEXTS in repairs or options.get("texts") == "joined":
        messages.join_texts(body["messages"])
    for name in _SAME:
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    _add_counts(body, request, options, repairs, dropped)
    if request.tools or request.parallel_calls is not None:
        _add_tools(body, request, dropped, marks)
    if request.answer_format is not None:
        body["response_format"] = _response_format(request.answer_format)
    _add_output(body, request, options, dropped)
    _add_google(body, request, options, dropped)
    if repairs:
        _leave_out(body, repairs, dropped)
    stream = {"only": True, "never": False}.get(options.get("stream", "both"), request.stream)
    if stream:
        body["stream"] = True
        if NO_STREAM_OPTIONS not in repairs:
            # We count for ourselves; the client sees the counts only if it asked.
            body["stream_options"] = {"include_usage": True}
    context = {"names": {there: name for name, there in renamed.items()}} if renamed else {}
    return Call(PATH, body, stream=stream, dropped=tuple(dropped), context=context)


def foreign(wrote: Foreign | None, options: Mapping[str, Any], dropped: list[str]) -> Json:
    """What the client wrote in this very dialect goes on; `unknown: drop` keeps to what is documented."""
    if wrote is None:
        return {}
    if wrote.dialect != DIALECT:
        dropped += wrote.field_paths()
        return {}
    if options.get("unknown") != "drop":
        return dict(wrote.fields)
    known = {name: value for name, value in wrote.fields.items() if name in _DOCUMENTED}
    dropped += (path for path in wrote.field_paths() if path.removeprefix("foreign.") not in known)
    return known


def _marks(wrote: Foreign | None, target: Target, dropped: list[str]) -> frozenset[str]:
    """The members of parts and tools that go on: OpenAI's own, and Anthropic's to who reads it."""
    if wrote is None or not wrote.marks:
        return frozenset()
    marks: set[str] = set()
    if wrote.dialect == DIALECT:
        marks.add("prompt_cache_breakpoint")
    if reads_cache_control(target):
        marks.add("cache_control")
    dropped += (path for path in wrote.mark_paths() if path.rpartition(".")[2] not in marks)
    return frozenset(marks)


def _add_counts(
    body: Json, request: ChatRequest, options: Mapping[str, Any], repairs: frozenset[str], dropped: list[str]
) -> None:
    if request.max_tokens is not None:
        # Old and small servers know only the old name; OpenAI's reasoning models refuse it, and say so.
        field = options.get("max_tokens_field", PLAIN_TOKENS)
        field = next((name for name in (COMPLETION_TOKENS, PLAIN_TOKENS) if name in repairs), field)
        body[field] = min([request.max_tokens, *_limits(repairs)]) if repairs else request.max_tokens
    if request.top_k is not None:
        if options.get("unknown") == "drop":
            dropped.append("top_k")
        else:
            body["top_k"] = request.top_k
    if request.n != 1 and options.get("n") != "one":
        body["n"] = request.n
    if request.stop:
        body["stop"] = list(request.stop)
    if request.metadata:
        body["metadata"] = dict(request.metadata)


def _leave_out(body: Json, repairs: frozenset[str], dropped: list[str]) -> None:
    for name in sorted(repairs):
        field = name.removeprefix(WITHOUT)
        if field != name and body.pop(field, None) is not None:
            dropped.append("thinking" if field == "reasoning_effort" else field)


def _limits(repairs: frozenset[str]) -> list[int]:
    return [int(name.removeprefix(AT_MOST)) for name in repairs if name.startswith(AT_MOST)]


# --- tools ---------------------------------------------------------------------------------------


def _add_tools(body: Json, request: ChatRequest, dropped: list[str], marks: frozenset[str]) -> None:
    choice = request.tool_choice
    functions = [tool for tool in request.tools if isinstance(tool, FunctionTool)]
    if choice is not None and (len(choice.names) > 1 or choice.mode == "auto") and choice.names:
        # `allowed_tools` is OpenAI's alone; declaring only those tools means the same everywhere.
        functions = [tool for tool in functions if tool.name in choice.names]
    for tool in request.tools:
        if isinstance(tool, BuiltinTool):
            _add_builtin(body, tool, dropped)
    if not functions:
        if choice is not None and choice.mode == "required":
            dropped.append("tool_choice")
        if request.parallel_calls is False:  # True asks for what is usual
            dropped.append("parallel_calls")
        return
    body["tools"] = [messages.marked(_function(tool), tool.marks, marks) for tool in functions]
    if choice is not None:
        body["tool_choice"] = _tool_choice(choice)
    if request.parallel_calls is not None:
        body["parallel_tool_calls"] = request.parallel_calls


def _add_builtin(body: Json, tool: BuiltinTool, dropped: list[str]) -> None:
    if tool.kind != "web_search":
        dropped.append(f"tools.{tool.kind}")
        return
    known = (
        {} if tool.native else {name: tool.options[name] for name in _SEARCH_OPTIONS if name in tool.options}
    )
    dropped += (f"tools.web_search.{name}" for name in tool.options if name not in known)
    body["web_search_options"] = {**body.get("web_search_options", {}), **known}


def _function(tool: FunctionTool) -> Json:
    function: Json = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = _parameters(tool.parameters)
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _parameters(schema: Json) -> Json:
    """OpenAI refuses an object that does not say its properties (`object schema missing properties`), as MCP
    has it for functions without any."""
    if schema.get("type") is not None and schema.get("properties") is not None:
        return schema
    said = {name: value for name, value in schema.items() if value is not None}
    return {"type": "object", "properties": {}, **said}


def _tool_choice(choice: ToolChoice) -> str | Json:
    if choice.mode == "required" and len(choice.names) == 1:
        return {"type": "function", "function": {"name": choice.names[0]}}
    return choice.mode


# --- the answer's form -----------------------------------------------------------------------------


def _response_format(wanted: AnswerFormat) -> Json:
    if wanted.kind != "json_schema":
        return {"type": wanted.kind}
    schema = {
        "name": wanted.name or "response",
        "description": wanted.description,
        "schema": wanted.schema,
        "strict": wanted.strict,
    }
    return {
        "type": "json_schema",
        "json_schema": {name: value for name, value in schema.items() if value is not None},
    }


def _add_output(body: Json, request: ChatRequest, options: Mapping[str, Any], dropped: list[str]) -> None:
    modalities = request.modalities if request.modalities is not None else options.get("modalities")
    if modalities:
        body["modalities"] = list(modalities)
    if request.audio is not None:
        body["audio"] = {"format": request.audio.format}
        if request.audio.voice is not None:
            body["audio"]["voice"] = request.audio.voice
    if request.image is not None:
        _add_picture_size(body, request.image, options.get("image_fields", "image_config"), dropped)


def _add_picture_size(body: Json, image: ImageOptions, place: str, dropped: list[str]) -> None:
    """`image_config` is OpenRouter's object, `google` Google's in `extra_body`, `root` the client's words."""
    given = {
        name: value
        for name in ("size", "aspect_ratio", "image_size", "quality")
        if (value := getattr(image, name)) is not None
    }
    if place == "root":
        body.update(given)
        return
    wish = sizes.parse(image)  # also where none is taken: a slip that others refuse must not be bought here
    if place == "drop":
        dropped += (f"image.{name}" for name in given)
        return
    size = sizes.choose(wish, _PICTURE_SIZES)
    chosen = {"aspect_ratio": size.aspect, "image_size": size.tier}
    config = {name: value for name, value in chosen.items() if value is not None}
    if "quality" in given and wish.fields.get("tier") != "quality":
        dropped.append("image.quality")
    if config and place == "google":
        _google(body)["image_config"] = config
    elif config:
        body["image_config"] = config


# --- thinking, and what only Google understands --------------------------------------------------------


def _add_google(body: Json, request: ChatRequest, options: Mapping[str, Any], dropped: list[str]) -> None:
    """The fields that Google's compatible endpoint reads from `extra_body.google` (gemini.md 8.2)."""
    understood = options.get("extra_body") == "google"
    thinking = request.thinking
    own: Json = {}
    if thinking is not None and understood and thinking.effort is None:
        config = {"thinking_budget": thinking.budget, "include_thoughts": thinking.summary}
        own["thinking_config"] = {name: value for name, value in config.items() if value is not None}
    elif thinking is not None and (effort := thinking.effort or _effort(thinking.budget)) is not None:
        body["reasoning_effort"] = effort
    elif thinking is not None and thinking.summary:  # a wish to see thoughts that says no amount
        dropped.append("thinking.summary")
    elif thinking is not None and thinking.budget is not None:  # or to think; silence the reader keeps
        dropped.append("thinking")
    own["cached_content"] = request.cached_content
    own["safety_settings"] = request.safety_settings
    own |= {"google": request.native} if not understood else request.native
    for name, value in own.items():
        if value and understood:
            _google(body)[name] = value
        elif value:
            dropped.append("native" if name == "google" else name)


def _effort(budget: int | None) -> str | None:
    if budget is None or budget < 0:
        return None
    return next((word for limit, word in _EFFORTS if budget <= limit), "high")


def _google(body: Json) -> Json:
    found: Json = body.setdefault("extra_body", {}).setdefault("google", {})
    return found
