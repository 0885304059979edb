"""The `input` of Responses: items in the order in which they happened, into messages.

Items of the assistant that follow each other are one answer, whichever kinds they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from proxy.errors import RequestError
from proxy.fronts import addresses, checks, history, sealed
from proxy.fronts.notes import Notes
from proxy.fronts.openai.items.called import joined
from proxy.fronts.openai.messages import content
from proxy.fronts.openai.messages.messages import arguments
from proxy.types import (
    CallPart,
    Json,
    MediaPart,
    Message,
    Part,
    ResultPart,
    Role,
    Slice,
    TextPart,
    ThoughtPart,
)

_ROLES: dict[str, Role] = {
    "user": "user",
    "system": "system",
    "developer": "developer",
    "assistant": "assistant",
}
BEFORE = -1  # the index of messages that the client did not send now
_PARTS = ("input_text", "input_image", "input_file", "input_audio", "output_text", "refusal")
_DRAWN_KEPT = 2
_REPLYS_OWN = frozenset({"type", "id", "status", "phase"})  # what replies tell of an item, asks nothing
_MESSAGE = _REPLYS_OWN | {"role", "content"}
_CALL = _REPLYS_OWN | {"call_id", "name", "arguments", "namespace"}
_CUSTOM_CALL = _REPLYS_OWN | {"call_id", "name", "input", "namespace"}
_OUTPUT = _REPLYS_OWN | {"call_id", "output", "name", "namespace"}
_THOUGHT = frozenset({"type", "text"})
_REASONING = _REPLYS_OWN | {"summary", "content", "encrypted_content"}
# Where an item that we do not know may have words that a model can read.
_READABLE = ("content", "text", "output", "summary", "arguments")


def listed(value: Any) -> list[Json]:
    """The client's items; a string is a user's message."""
    if isinstance(value, str | Slice):
        return [{"type": "message", "role": "user", "content": str(value)}]
    return checks.objects(value, "input")


def parse(
    before: Sequence[Json],
    items: Sequence[Json],
    places: Sequence[int],
    notes: Notes,
    name: str = "input",
    of_before: str = "previous_response_id",
) -> tuple[Message, ...]:
    """The messages of earlier items, which are named as `of_before`, and of the client's own, which are named
    by their `places` below `name`. Raises `RequestError`."""
    reading = _Reading(notes)
    for item in before:
        reading.read(item, of_before, BEFORE)
    for number, item in zip(places, items, strict=True):
        if not reading.is_read(item, number):
            reading.read(item, f"{name}[{number}]", number)
    return reading.close()


class _Reading:
    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._messages: list[Message] = []
        self._answer: list[Part] = []  # of the assistant, until somebody else speaks
        self._pictures: list[tuple[int, str]] = []  # their places in it, and ids
        self._seals: Json = {}
        self._index = 0

    def is_read(self, item: Json, index: int) -> bool:
        """Most items are a message of plain words: nothing in it can be wrong, and it needs no path."""
        said, spoken = item.get("content"), item.get("role")
        if type(said) is not str or not item.keys() <= _MESSAGE or item.get("type", "message") != "message":
            return False
        role = _ROLES.get(spoken) if type(spoken) is str else None
        if role is None:
            return False
        if role == "assistant":
            self._add(TextPart(said), index)
        else:
            self._say(role, (TextPart(said),), index)
        return True

    def read(self, item: Json, path: str, index: int) -> None:
        sort = item.get("type")
        if sort is None:
            sort = "message" if "role" in item else None
        read = _ITEMS.get(sort) if isinstance(sort, str) else None
        if read is not None:
            read(self, item, path, index)
        elif isinstance(sort, str) and sort:
            self._stranger(item, sort, path, index)
        else:
            raise checks.missing(f"{path}.type")

    def close(self) -> tuple[Message, ...]:
        """Of the pictures that the assistant drew only the last are kept, as in a chat."""
        self._end_answer()
        history.forget_images(self._messages, _DRAWN_KEPT, self._notes)
        return tuple(self._messages)

    # --- who speaks ----------------------------------------------------------------------------------

    def _say(self, role: Role, parts: Iterable[Part], index: int) -> None:
        self._end_answer()
        self._messages.append(Message(role, tuple(parts), index))

    def _add(self, part: Part, index: int) -> None:
        if not self._answer:
            self._index = index
        self._answer.append(part)

    def _end_answer(self) -> None:
        """What was sealed belongs to the parts around it, wherever among them the seal stood."""
        if not self._answer and not self._seals:
            return
        parts, seals, extra = self._answer, self._seals, self._seals.get(sealed.PARTS)
        if seals:
            self._sign(parts, seals)
        if parts:
            kept = {"parts": extra} if isinstance(extra, list) else {}
            self._messages.append(Message("assistant", tuple(parts), self._index, extra=kept))
        self._answer, self._pictures, self._seals = [], [], {}

    def _sign(self, parts: list[Part], seals: Mapping[str, Any]) -> None:
        texts = [place for place, part in enumerate(parts) if isinstance(part, TextPart)]
        bearers = {part.id: place for place, part in enumerate(parts) if isinstance(part, CallPart)}
        bearers |= {identity: place for place, identity in self._pictures}
        if texts:
            bearers[sealed.TEXT] = texts[-1]
        elif isinstance(seals.get(sealed.TEXT), str) and parts:
            parts.append(TextPart("", seals[sealed.TEXT]))
        for name, signature in seals.items():
            place = bearers.get(name)
            if place is not None and isinstance(signature, str):
                bearer = parts[place]
                assert not isinstance(bearer, ResultPart)
                parts[place] = replace(bearer, signature=signature)

    # --- one item each -------------------------------------------------------------------------------

    def _message(self, item: Json, path: str, index: int) -> None:
        spoken = item.get("role")
        if spoken is None:
            raise checks.missing(f"{path}.role")
        role = _ROLES.get(spoken) if isinstance(spoken, str) else None
        if role is None:
            raise checks.invalid_value(f"{path}.role", spoken, tuple(_ROLES))
        self._notes.unread(item, _MESSAGE, path)
        if item.get("content") is None:
            raise checks.missing(f"{path}.content")
        parts = self._content(item["content"], f"{path}.content")
        if role == "assistant":
            for part in parts:
                self._add(part, index)
            return
        if role != "user" and any(isinstance(part, MediaPart) for part in parts):
            raise checks.invalid(f"{path}.content", f"a {spoken} message holds text only.")
        self._say(role, parts, index)

    def _content(self, value: Any, path: str) -> list[content.Content]:
        if isinstance(value, list):
            return [content.part(one, f"{path}[{n}]", self._notes, _PARTS) for n, one in enumerate(value)]
        if isinstance(value, str | Slice):
            return [TextPart(str(value))]
        raise checks.invalid_type(path, "a string or an array of content parts", value)

    def _reasoning(self, item: Json, path: str, index: int) -> None:
        self._notes.unread(item, _REASONING, path)
        self._seals |= sealed.opened(item.get("encrypted_content"))
        for name in ("summary", "content"):
            value = item.get(name)
            for number, piece in enumerate(value if isinstance(value, list) else ()):
                if isinstance(piece, dict):
                    self._notes.unread(piece, _THOUGHT, f"{path}.{name}[{number}]")
        texts = [_text_of(item.get(name)) for name in ("summary", "content")]
        if said := "\n\n".join(text for text in texts if text):
            self._add(ThoughtPart(said, where=f"{path}.summary", spare=True), index)

    def _call(self, item: Json, path: str, index: int) -> None:
        self._notes.unread(item, _CALL, path)
        self._add(_call_part(item, path, _name(item, path), _arguments(item, path)), index)

    def _custom_call(self, item: Json, path: str, index: int) -> None:
        self._notes.unread(item, _CUSTOM_CALL, path)
        said = checks.string(item.get("input") or "", f"{path}.input")
        self._add(_call_part(item, path, _name(item, path), {"input": said}), index)

    def _search_call(self, item: Json, path: str, index: int) -> None:
        if item.get("call_id") is None:
            return  # OpenAI ran it itself
        values = arguments(item.get("arguments"), f"{path}.arguments")
        self._add(_call_part(item, path, "tool_search", values), index)

    def _output(self, item: Json, path: str, index: int) -> None:
        """A list keeps its pictures and files."""
        self._notes.unread(item, _OUTPUT, path)
        output = item.get("output")
        if output is None:
            raise checks.missing(f"{path}.output")
        parts = self._content(output, f"{path}.output")
        self._say("user", [ResultPart(_call_id(item, path), None, tuple(parts))], index)

    def _search_output(self, item: Json, path: str, index: int) -> None:
        if item.get("call_id") is None:
            return
        found = orjson.dumps(checks.carried(item.get("tools") or [], f"{path}.tools")).decode()
        self._say("user", [ResultPart(_call_id(item, path), None, (TextPart(found),))], index)

    def _picture(self, item: Json, path: str, index: int) -> None:
        """One that the model drew; without a result there is nothing to show it, and one that failed has
        none."""
        if not item.get("result"):
            if item.get("status") != "failed":
                self._notes.add(path)
            return
        mime = f"image/{item['output_format']}" if isinstance(item.get("output_format"), str) else None
        part = addresses.media("image", item["result"], f"{path}.result", mime=mime)
        if isinstance(item.get("id"), str):
            self._pictures.append((len(self._answer), item["id"]))
        self._add(part, index)

    def _run_by_vendor(self, item: Json, path: str, index: int) -> None:
        """What came of it stands in the answer."""

    def _reference(self, item: Json, path: str, index: int) -> None:
        shown = item.get("id")
        raise RequestError(
            f"The item {str(shown)[:100]!r} is not kept here, or not any more. Send the items themselves: "
            "with Vercel's AI SDK set `store: false` in `providerOptions.openai`.",
            param=f"{path}.id",
            code="item_not_found",
        )

    def _refused(self, item: Json, path: str, index: int) -> None:
        raise RequestError(
            f"Items of type {item['type']!r} are not supported: no model behind this proxy can read them. "
            "Leave them out, and offer what they do as a function of your own.",
            param=f"{path}.type",
            code="unsupported_value",
        )

    def _stranger(self, item: Json, sort: str, path: str, index: int) -> None:
        """An item nobody told us of ends no conversation, for it comes back in each request: what can be
        read of it is said by the user."""
        texts = (_text_of(item.get(name)) for name in _READABLE)
        said = "\n".join(text for text in texts if text)
        if not said:
            self._refused(item, path, index)
        self._notes.add(path)
        self._say("user", [TextPart(f"[{sort[:64]}] {said}")], index)


_Read = Callable[[_Reading, Json, str, int], None]

_ITEMS: dict[str, _Read] = {
    "message": _Reading._message,
    "reasoning": _Reading._reasoning,
    "function_call": _Reading._call,
    "function_call_output": _Reading._output,
    "custom_tool_call": _Reading._custom_call,
    "custom_tool_call_output": _Reading._output,
    "tool_search_call": _Reading._search_call,
    "tool_search_output": _Reading._search_output,
    "image_generation_call": _Reading._picture,
    "web_search_call": _Reading._run_by_vendor,
    "code_interpreter_call": _Reading._run_by_vendor,
    "file_search_call": _Reading._run_by_vendor,
    "item_reference": _Reading._reference,
    **dict.fromkeys(
        (
            "compaction", "compaction_trigger", "computer_call", "computer_call_output", "local_shell_call",
            "local_shell_call_output", "shell_call", "shell_call_output", "apply_patch_call",
            "apply_patch_call_output", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response",
            "mcp_call", "program", "program_output", "additional_tools", "configuration_update",
        ),
        _Reading._refused,
    ),
}  # fmt: skip


def _call_part(item: Json, path: str, name: str, values: Json) -> CallPart:
    return CallPart(_call_id(item, path), name, values, where=f"{path}.call_id")


def _call_id(item: Json, path: str) -> str:
    return str(checks.required_string(item.get("call_id"), f"{path}.call_id"))


def _arguments(item: Json, path: str) -> Json:
    """What there is of them where they are no JSON, as in calls that we gave as incomplete. Raises
    `RequestError`."""
    said = item.get("arguments")
    try:
        return arguments(said, f"{path}.arguments")
    except RequestError as error:
        if error.code == "invalid_json" and item.get("status") == "incomplete":
            return {"value": str(said)}
        raise


def _name(item: Json, path: str) -> str:
    namespace = item.get("namespace")
    if namespace is not None:
        checks.string(namespace, f"{path}.namespace")
    return joined(namespace, checks.required_string(item.get("name"), f"{path}.name"))


def _text_of(value: Any) -> str:
    """The words of a string, or of the parts of a list."""
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, list) else ()
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return "\n\n".join(text for text in texts if isinstance(text, str) and text)
