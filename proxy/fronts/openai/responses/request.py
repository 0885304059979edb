"""Reads the body of a request for a response into a `ChatRequest`, and refuses what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import repeat
from typing import Any

from proxy.errors import RequestError
from proxy.fronts import checks
from proxy.fronts.base import Aside, Parsed
from proxy.fronts.notes import Notes
from proxy.fronts.openai.fields import drawing, parameters, response_tools
from proxy.fronts.openai.fields.reading import Reading
from proxy.fronts.openai.items import incoming
from proxy.fronts.openai.kept import state
from proxy.fronts.openai.responses.shape import ResponsesShape
from proxy.types import ChatRequest, Json, Message, TextPart, Thinking

_SIMPLE: dict[str, parameters.Read] = {
    **{
        name: parameters.SIMPLE[name]
        for name in (
            "model", "stream", "temperature", "top_p", "top_k", "stop", "seed", "presence_penalty",
            "frequency_penalty", "parallel_tool_calls", "service_tier", "user", "safety_settings",
            "cached_content",
        )
    },
    "max_output_tokens": ("max_tokens", checks.integer(1)),
    "top_logprobs": ("top_logprobs", checks.integer(0, 20)),
}  # fmt: skip

# For upstreams of OpenAI's dialect, whose chats have them too.
_FOREIGN = ("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier")

_EFFORTS = checks.one_of("none", "minimal", "low", "medium", "high", "xhigh", "max")
_SUMMARIES = checks.one_of("auto", "concise", "detailed", "none")
_VERBOSITY = checks.one_of("low", "medium", "high")

_NONE: Mapping[str, Json] = {}

_INSTRUCTIONS = -2  # the index of their message

_LOGPROBS = "message.output_text.logprobs"
_ENCRYPTED = "reasoning.encrypted_content"
_SOURCES = "web_search_call.action.sources"
_OUTPUTS = "code_interpreter_call.outputs"
# The others ask for more of what does not occur, or for what is told anyway.
_INCLUDED = frozenset(
    (
        _LOGPROBS, _ENCRYPTED, _SOURCES, _OUTPUTS, "web_search_call.results", "message.input_image.image_url",
        "computer_call_output.output.image_url", "file_search_call.results",
    )
)  # fmt: skip

# What a reply repeats as it was sent, and what it says where nothing was.
_ECHO: Json = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}


def parse(
    body: Any,
    earlier: Mapping[str, Json] = _NONE,
    *,
    refusal_in_text: bool = False,
    needs_message: bool = False,
) -> Parsed[ChatRequest, ResponsesShape]:
    """Read a body as `jsonio.loads` gave it; it is not changed. `earlier` are the replies that it goes on
    from, by id: see `state`. `refusal_in_text`: the client shows no refusals; `needs_message`: it asks
    again for a reply without a message. Raises `RequestError`."""
    if not isinstance(body, dict):
        raise checks.no_object(body)
    reading = Reading(notes=Notes(marks={}))
    if "extra_body" in body or "google" in body:
        body, native = parameters.unfold(body)
        if native:
            reading.request["native"] = checks.carried(native, "google")
    _read(body, reading)
    request = reading.request
    if "model" not in request:
        raise checks.missing("model")
    sent = incoming.listed(body["input"]) if body.get("input") is not None else []
    before = state.before(body, earlier)
    if not sent and not before:
        raise checks.missing("input")
    items, places = state.resolved(sent, earlier)
    of_before = "previous_response_id" if body.get("conversation") is None else "conversation"
    messages = incoming.parse(before, items, places, reading.notes, of_before=of_before)
    aside = None
    if body.get("tools") or body.get("tool_choice") is not None:
        own = zip((f"input[{place}]" for place in places), items, strict=True)
        aside = _tools(body, [*zip(repeat(of_before), before), *own], reading)
    if body.get("instructions"):
        said = TextPart(checks.string(body["instructions"], "instructions"))
        messages = (Message("system", (said,), _INSTRUCTIONS), *messages)
    request["messages"] = messages
    if request.get("top_logprobs"):
        request["logprobs"] = reading.shape["logprobs"] = True
    elif not request.get("logprobs"):
        request.pop("top_logprobs", None)  # 0 is what a reply says that has none
    echo = _ECHO | {name: body[name] for name in _ECHO if body.get(name) is not None}
    echo["tools"] = response_tools.shown(echo["tools"])
    echo["text"] = _text_shown(body.get("text") or {})
    echo["reasoning"] = {"effort": None, "summary": None} | (body.get("reasoning") or {})
    keeps = body.get("store") is not False
    wanted = request.get("answer_format")
    shape = ResponsesShape(
        request["model"],
        echo,
        store=keeps,
        background=bool(body.get("background")),
        conversation=state.conversation(body) if body.get("conversation") is not None else None,
        before=tuple(before),
        items=tuple(items),
        wrote=tuple(body),
        # What reads JSON shall not take a refusal for it.
        refusal_in_text=refusal_in_text and (wanted is None or wanted.kind == "text"),
        needs_message=needs_message,
        **reading.shape,
    )
    if reading.foreign or reading.notes.marks:
        request["foreign"] = reading.foreign_fields()
    dropped = tuple(reading.notes.named.values())
    return Parsed(ChatRequest(**request), shape, dropped, keeps=keeps, later=shape.background, aside=aside)


def _read(body: Json, reading: Reading) -> None:
    for name, value in body.items():
        if value is None:
            continue
        if (simple := _SIMPLE.get(name)) is not None:
            attribute, check = simple
            reading.request[attribute] = check(value, name)
        elif (read := _FIELDS.get(name)) is not None:
            read(value, name, reading)
        elif name in _FOREIGN:
            reading.add_foreign(name, parameters.DOCUMENTED[name](value, name))
        elif name not in ("input", "tool_choice") and value not in ("", [], {}):
            reading.notes.add(name)
    _check_state(body)


def _tools(body: Json, items: Iterable[tuple[str, Json]], reading: Reading) -> Aside | None:
    """Those of the body, and those that the client's search has found, which stand in `items`, each with its
    path. The tool that draws, if there is one, is settled where it is known who answers."""
    found = response_tools.Tools(reading.notes)
    if body.get("tools"):
        found.read(body["tools"], "tools")
    for path, item in items:
        if item.get("type") == "tool_search_output" and item.get("tools"):
            found.read(item["tools"], f"{path}.tools")
    reading.request["tools"] = tuple(found.tools)
    if found.vendors:
        reading.shape["vendors_tools"] = found.vendors
    if found.known:
        reading.shape["known"] = found.known
    if body.get("tool_choice") is not None and (choice := found.choice(body["tool_choice"])) is not None:
        reading.request["tool_choice"] = choice
    return None if found.picture is None else drawing.read(found, found.picture, reading)


def _check_state(body: Json) -> None:
    """Raises `RequestError` for what contradicts itself, or lives in a store that is not here."""
    if body.get("conversation") is not None:
        if body.get("previous_response_id") is not None:
            raise checks.invalid("conversation", "it cannot stand beside 'previous_response_id'.")
        if body.get("store") is False:
            raise checks.invalid("conversation", "what is said in it has to be kept: set 'store'.")
    if body.get("prompt") is not None:
        raise RequestError(
            "Prompts are not kept here: send their text as 'instructions' and 'input'.",
            param="prompt",
            code="unsupported_parameter",
        )
    if body.get("background") and body.get("store") is False:
        raise checks.invalid("background", "a reply that is waited for later has to be kept: set 'store'.")


# --- fields with more than one meaning ---------------------------------------------------------------


def _text(value: Any, path: str, out: Reading) -> None:
    options = checks.mapping(value, path)
    out.notes.unread(options, frozenset({"format", "verbosity"}), path)
    if options.get("verbosity") is not None:
        out.add_foreign("verbosity", _VERBOSITY(options["verbosity"], f"{path}.verbosity"))
    if options.get("format") is not None:
        parameters.flat_answer_format(options["format"], f"{path}.format", out)


def _text_shown(text: Json) -> Json:
    """As a reply repeats it: a schema with all the members that Open Responses wants, and of their types."""
    form = text.get("format") or {"type": "text"}
    if form["type"] == "json_schema":
        said = {name: value for name, value in form.items() if value is not None}
        form = {"type": "json_schema", "name": "", "description": None, "strict": False, **said}
    return {**text, "format": form}


_REASONING = frozenset({"effort", "summary", "generate_summary"})


def _reasoning(value: Any, path: str, out: Reading) -> None:
    """Without a wish for a summary none is shown, whatever the upstream gives."""
    options = checks.mapping(value, path)
    out.notes.unread(options, _REASONING, path)
    effort = options.get("effort")
    effort = None if effort is None else _EFFORTS(effort, f"{path}.effort")
    shows = None
    for name in ("summary", "generate_summary"):
        if options.get(name) is not None and _SUMMARIES(options[name], f"{path}.{name}") != "none":
            shows = True
    out.shape["shows_thoughts"] = bool(shows)
    if effort is not None or shows:
        out.request["thinking"] = Thinking(effort, summary=shows)


def _include(value: Any, path: str, out: Reading) -> None:
    asked = checks.strings(value, path)
    for number, name in enumerate(asked):
        if name not in _INCLUDED:
            out.notes.add(f"{path}[{number}]={name}")
    if _LOGPROBS in asked:
        out.request["logprobs"] = out.shape["logprobs"] = True
    out.shape["sources"] = _SOURCES in asked
    out.shape["outputs"] = _OUTPUTS in asked
    if _ENCRYPTED in asked:
        out.shape["seals"] = True


def _store(value: Any, path: str, out: Reading) -> None:
    if not checks.boolean(value, path):
        out.shape["seals"] = True


def _truncation(value: Any, path: str, out: Reading) -> None:
    """Nobody here can count what a vendor's window holds: what is too long is the vendor's to refuse."""
    if checks.one_of("auto", "disabled")(value, path) == "auto":
        out.notes.add(path)


def _max_tool_calls(value: Any, path: str, out: Reading) -> None:
    checks.integer(1)(value, path)
    out.notes.add(path)


_STREAM_MEMBERS = frozenset({"include_obfuscation", "include_usage"})


def _stream_options(value: Any, path: str, out: Reading) -> None:
    options = checks.mapping(value, path)
    out.notes.unread(options, _STREAM_MEMBERS, path)
    if options.get("include_obfuscation"):
        out.notes.add(f"{path}.include_obfuscation")


def _checked(check: checks.Check) -> Callable[[Any, str, Reading], None]:
    return lambda value, path, out: check(value, path)


_FIELDS: dict[str, Callable[[Any, str, Reading], None]] = {
    "text": _text,
    "reasoning": _reasoning,
    "include": _include,
    "store": _store,
    "truncation": _truncation,
    "max_tool_calls": _max_tool_calls,
    "stream_options": _stream_options,
    "instructions": _checked(checks.string),
    "tools": _checked(checks.array),
    "metadata": _checked(lambda value, path: checks.mapping(checks.carried(value, path), path)),
    "background": _checked(checks.boolean),
    "previous_response_id": _checked(checks.required_string),
    "conversation": _checked(lambda value, path: value),
    "prompt": _checked(lambda value, path: value),
}
