"""A body that a client wrote in Google's own words: sent as it came, and answered with Google's own payloads.

It is changed only where it must be: a model's defaults where it is silent, signatures of another upstream or
none where one is required. Then it is written anew, else its bytes go out as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from operator import is_not
from typing import Any

from proxy.types import (
    Call,
    CallPart,
    ChatRequest,
    Event,
    Json,
    Message,
    Native,
    Target,
    TextPart,
    Whole,
)
from proxy.wires.gemini import models
from proxy.wires.gemini import request as translated
from proxy.wires.gemini.lenient import dicts_of
from proxy.wires.gemini.models import ModelTraits
from proxy.wires.gemini.native import camel
from proxy.wires.gemini.parts import CandidateReader
from proxy.wires.gemini.reader import GeminiReader
from proxy.wires.gemini.repairs import RESIGN
from proxy.wires.gemini.signing import sentinel

# What a model's defaults may say where a client said nothing.
_DEFAULTS = (
    "max_tokens", "temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty",
    "logprobs", "top_logprobs", "answer_format", "thinking", "modalities", "audio", "image",
    "safety_settings", "cached_content", "service_tier", "store", "metadata",
)  # fmt: skip
_ANYTHING = (Message("user", (TextPart(" "),)),)
_SIGNATURE = "thoughtSignature"


def build(request: ChatRequest, target: Target, repairs: frozenset[str]) -> Call:
    assert request.foreign is not None
    whole = request.foreign.whole
    assert whole is not None
    model = models.find(target.model, target.options)
    body = whole.body
    if "model" in body:  # the path says which
        body = {name: value for name, value in body.items() if name != "model"}
    if added := _added(request, whole):
        body = _under(body, _translated(request, target, added))
    if not model.tool_config:
        body = _undeclared(body)
    body = _signed(body, _Signing(request, whole, model, repairs))
    stream = request.stream or translated.is_too_long_for_one_reply(request.max_tokens, model)
    return Call(
        path=translated.path(model.id, stream),
        body=body,
        stream=stream,
        context={"relayed": True},
        written=whole.written if body is whole.body else b"",
    )


# --- what the model's defaults add --------------------------------------------------------------------


def _added(request: ChatRequest, whole: Whole) -> Json:
    """The attributes that the request has and the client's body has not, or not so."""
    said = whole.said
    return {
        name: value
        for name in _DEFAULTS
        if (value := getattr(request, name)) is not None and value is not said.get(name)
    }


def _translated(request: ChatRequest, target: Target, added: Json) -> Json:
    """The same in Google's words."""
    thinking = added.get("thinking")
    if thinking is not None:  # whoever did not ask to see thoughts may take them for the answer
        added = {**added, "thinking": replace(thinking, summary=thinking.summary or False)}
    body = translated.build(ChatRequest(request.model, _ANYTHING, **added), target).body
    return {name: value for name, value in body.items() if name != "contents"}


def _under(said: Json, defaults: Json) -> Json:
    """Lay the defaults under what was said, object by object, whichever its spelling."""
    spelled = {camel(name): name for name in said}
    merged = dict(said)
    for name, value in defaults.items():
        written = spelled.get(name, name)
        if merged.get(written) is None:
            merged[written] = value
        elif isinstance(value, dict) and isinstance(merged[written], dict):
            merged[written] = _under(merged[written], value)
    return merged


# --- functions that must not be called ----------------------------------------------------------------


def _undeclared(body: Json) -> Json:
    """Without its functions, where the tool config forbids them and is not taken itself."""
    config = _member(body, "toolConfig")
    calling = _member(config, "functionCallingConfig")
    if _member(calling, "mode") != "NONE":
        return body
    tools = [_without(tool, "functionDeclarations") for tool in dicts_of(_member(body, "tools"))]
    left = {"tools": list(filter(None, tools)), "toolConfig": _without(config, "functionCallingConfig")}
    return _without(_without(body, "tools"), "toolConfig") | {name: one for name, one in left.items() if one}


def _member(value: Any, name: str) -> Any:
    """Of an object, in whichever spelling."""
    members = value.items() if isinstance(value, dict) else ()
    return next((one for key, one in members if camel(key) == name), None)


def _without(value: Json, name: str) -> Json:
    return {key: one for key, one in value.items() if camel(key) != name}


# --- signatures ---------------------------------------------------------------------------------------


class _Signing:
    """Which signature each call of the body shall have. `given` gives, in the order of the calls, what was
    restored or taken away; `resign` says that the upstream refused those that there are."""

    __slots__ = ("given", "needed", "resign", "sentinel")

    def __init__(
        self, request: ChatRequest, whole: Whole, model: ModelTraits, repairs: frozenset[str]
    ) -> None:
        before = whole.said["messages"]
        self.given = None if request.messages is before else _calls(request.messages)
        self.resign = RESIGN in repairs
        self.needed = model.signatures == "required"
        self.sentinel = sentinel(repairs)

    def changes_nothing(self) -> bool:
        return self.given is None and not self.needed and not self.resign


def _calls(messages: tuple[Message, ...]) -> Iterator[CallPart]:
    """The model's, in their order."""
    return (
        part
        for message in messages
        if message.role == "assistant"
        for part in message.parts
        if isinstance(part, CallPart)
    )


def _signed(body: Json, signing: _Signing) -> Json:
    """The body itself where nothing has to be changed."""
    if signing.changes_nothing():
        return body
    contents = dicts_of(body["contents"] if isinstance(body["contents"], list) else [body["contents"]])
    turn = _turn(contents)
    folded = _folded(contents, turn + 1) if signing.needed else contents
    changed, contents = folded is not contents, folded
    first = turn + 1 if signing.given is None and not signing.resign else 0
    for number in range(first, len(contents)):
        content = contents[number]
        if content.get("role") != "model":
            continue
        given, written = _parts(content), []
        signed = not signing.needed or (number <= turn and not signing.resign)
        for part in given:
            calls = _has(part, "functionCall")
            must = calls and not signed
            signed = signed or calls
            written.append(_part(part, signing, calls=calls, must=must))
        if any(map(is_not, written, given)):
            contents = contents if changed else list(contents)
            changed = True
            contents[number] = {**content, "parts": written}
    return {**body, "contents": contents} if changed else body


def _folded(contents: list[Json], first: int) -> list[Json]:
    """The same, but that calls of one step of the model, from `first` on, stand in one content where a later
    one has no signature: clients keep the chunks of a stream apart (N-035), and Google signs only the first
    of several calls but asks for a signature in every content that has some."""
    found = contents[:first]
    bearer = -1  # where the content with the first call of the step stands in `found`
    parts: list[Json] = []  # its own, once others were put to them
    for content in contents[first:]:
        call = _first_call(content)
        if content.get("role") != "model":
            bearer = -1
        elif call is not None and bearer < 0:
            bearer, parts = len(found), []
        elif call is not None and _signature(call) is None:
            if not parts:
                parts = _parts(found[bearer])
                found[bearer] = {**found[bearer], "parts": parts}
            for one in (*found[bearer + 1 :], content):
                parts += _parts(one)
            del found[bearer + 1 :]
            continue
        found.append(content)
    return found if len(found) < len(contents) else contents


def _first_call(content: Json) -> Json | None:
    return next((part for part in _parts(content) if _has(part, "functionCall")), None)


def _parts(content: Json) -> list[Json]:
    parts = content.get("parts")
    return list(dicts_of(parts if isinstance(parts, list) else [parts]))


def _has(part: Json, member: str) -> bool:
    """In whichever spelling."""
    return any(camel(name) == member for name in part)


def _signature(part: Json) -> Any:
    return next((value for name, value in part.items() if value and camel(name) == _SIGNATURE), None)


def _part(part: Json, signing: _Signing, *, calls: bool, must: bool) -> Json:
    """The part with the signature that it shall have; itself where it has that one."""
    said = _signature(part)
    wanted = None if signing.resign else said
    if calls and signing.given is not None:
        known = next(signing.given, None)
        wanted = None if known is None or signing.resign else known.signature
        if said is not None and wanted == str(said):
            wanted = said
    if wanted is None and must:
        wanted = signing.sentinel
    if wanted is said:
        return part
    bare = {name: value for name, value in part.items() if camel(name) != _SIGNATURE}
    return bare if wanted is None else {**bare, _SIGNATURE: wanted}


def _turn(contents: list[Json]) -> int:
    """Where the current turn begins: at what the user said last that is no result of a tool."""
    for number in range(len(contents) - 1, -1, -1):
        content = contents[number]
        if content.get("role") != "model" and not any(
            _has(part, "functionResponse") for part in _parts(content)
        ):
            return number
    return -1


# --- the reply ----------------------------------------------------------------------------------------


class RelayReader(GeminiReader):
    """The same events, each payload's behind the payload itself. One that says nothing yet waits for the
    first that does, so that an empty reply can be tried again elsewhere."""

    def __init__(self, request: ChatRequest, target: Target, call: Call) -> None:
        super().__init__(request, target, call)
        self._held: list[Event] = []

    def feed(self, payload: Any) -> list[Event]:
        events = GeminiReader.feed(self, payload)
        if payload.__class__ is not dict:  # of a list each was fed by itself
            return events
        native = Native(payload if "candidates" in payload else self._unwrap(payload))
        if not self._started:
            self._held.append(native)
            return []
        events.insert(0, native)
        if self._held:
            events, self._held = [*self._held, *events], []
        return events

    def close(self, complete: bool = True) -> list[Event]:
        return [*self._held, *super().close(complete)]

    def _check_complete(self, choices: list[CandidateReader]) -> None:
        """What has ended in Google's own words is the client's to judge; but of nothing at all, ended well,
        there may be more in another try."""
        ended = bool(choices) and all(choice.native is not None for choice in choices)
        if not ended or (not self._started and all(choice.native == "STOP" for choice in choices)):
            super()._check_complete(choices)
