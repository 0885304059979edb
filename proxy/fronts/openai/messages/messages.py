"""The `messages` of a chat request, in the shapes clients really send them back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy.codec import jsonio, values
from proxy.errors import RequestError
from proxy.fronts import checks, history
from proxy.fronts.history import IsStored
from proxy.fronts.notes import Notes
from proxy.fronts.openai.messages import content, signed, thoughts
from proxy.fronts.openai.messages.content import Content
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
    sign,
)

# Google's own compat examples say `model`; a result is a part of what the user's side says.
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "user",
    "function": "user",
}
_PICTURE = "data:image/"
_AUDIO_MEMBERS = frozenset({"id", "data", "expires_at", "transcript"})
# What our own replies hold for a reader: it asks nothing of a model that it is sent back to.
_TOLD = frozenset({"annotations", "native_finish_reason", "index"})
_MEMBERS = frozenset({"role", "content", "name", "cache_control"})
_RESULT_MEMBERS = _MEMBERS | {"tool_call_id"}
_ASSISTANT_MEMBERS = (
    _MEMBERS
    | _TOLD
    | {"audio", "images", "refusal", "reasoning", "reasoning_content", "tool_calls", "function_call"}
    | signed.MEMBERS
    | {"reasoning_details", "thinking_blocks"}
)
_CALL_MEMBERS = frozenset({"id", "type", "function", "index", "cache_control"}) | signed.MEMBERS
_FUNCTION_MEMBERS = frozenset({"name", "arguments"}) | signed.MEMBERS

_RESULTS = ("tool", "function")  # OpenAI's second and first spelling
_DOCUMENTED_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def parse(
    value: Any, notes: Notes, *, history_images: int | None, is_stored: IsStored | None
) -> tuple[Message, ...]:
    """Read the list. `history_images` and `is_stored`: see `chat_request.parse`."""
    if value is None:
        raise checks.missing("messages")
    if not isinstance(value, list):
        raise checks.invalid_type("messages", "an array of objects", value)
    if not value:
        raise checks.invalid("messages", "empty array. Expected at least one message.", "empty_array")
    messages: list[Message] = []
    plain = True
    for index, item in enumerate(value):
        if type(item) is not dict:
            raise checks.invalid_type(f"messages[{index}]", "an object", item)
        role, text = item.get("role"), item.get("content")
        if (
            len(item) == 2
            and type(text) is str
            and (role == "user" or role == "system" or (role == "assistant" and _is_plain(text)))
        ):
            messages.append(Message(role, (TextPart(text),), index))
        else:
            plain = False
            messages.append(_message(item, index, notes, is_stored))
    if history_images is not None and not plain:
        history.forget_images(messages, history_images, notes)
    return tuple(messages)


def _message(item: Json, index: int, notes: Notes, is_stored: IsStored | None) -> Message:
    path = f"messages[{index}]"
    spoken = item.get("role")
    if spoken is None:
        raise checks.missing(f"{path}.role")
    role = _ROLES.get(spoken) if isinstance(spoken, str) else None
    if role is None:
        raise checks.invalid_value(f"{path}.role", spoken, _DOCUMENTED_ROLES)
    name = item.get("name")
    if name is not None:
        name = checks.string(name, f"{path}.name")
    if role == "assistant":
        return _assistant(item, index, path, name, notes, is_stored)
    if spoken in _RESULTS:
        return _result(item, index, path, name, notes)
    if "content" not in item:
        raise checks.missing(f"{path}.content")
    notes.unread(item, _MEMBERS, path)
    parts = _parts(item["content"], f"{path}.content", notes)
    if "cache_control" in item:
        parts = content.marked_last(parts, item, path, notes)
    if role != "user":
        for position, part in enumerate(parts):
            if isinstance(part, MediaPart):
                where = f"{path}.content[{position}].type"
                raise checks.invalid(where, f"a {role} message holds text only.")
    return Message(role, tuple(parts), index, name)


def _is_plain(text: str) -> bool:
    """Whether no picture can be in an assistant's text."""
    return "![" not in text and text[:11].lower() != _PICTURE


def _parts(value: Any, path: str, notes: Notes) -> list[Content]:
    if isinstance(value, list):
        return [content.part(item, f"{path}[{number}]", notes) for number, item in enumerate(value)]
    if value is None:
        return []
    if isinstance(value, str | Slice):
        return [TextPart(str(value))]
    raise checks.invalid_type(path, "a string or an array of content parts", value)


def _result(item: Json, index: int, path: str, name: str | None, notes: Notes) -> Message:
    notes.unread(item, _RESULT_MEMBERS, path)
    call_id = item.get("tool_call_id")
    if call_id is not None:
        call_id, _ = signed.split_id(checks.string(call_id, f"{path}.tool_call_id"))
    if not call_id and not name:
        missed = "name" if item["role"] == "function" else "tool_call_id"
        raise checks.missing(f"{path}.{missed}")
    parts = _parts_or_picture(item.get("content"), f"{path}.content", notes)
    marks = notes.marked(item, path) if "cache_control" in item else None
    return Message("user", (ResultPart(call_id or None, name, tuple(parts), marks=marks),), index)


def _assistant(
    item: Json, index: int, path: str, name: str | None, notes: Notes, is_stored: IsStored | None
) -> Message:
    """Thoughts, then content, then a refusal, then calls: this dialect does not tell their order."""
    notes.unread(item, _ASSISTANT_MEMBERS, path)
    parts: list[Part] = [*thoughts.of(item, path, notes)]
    shown = _shown(item, path, notes, is_stored)
    parts += content.marked_last(shown, item, path, notes) if "cache_control" in item else shown
    if (refusal := item.get("refusal")) is not None:
        said = checks.string(refusal, f"{path}.refusal")
        parts = [*_without_refusal(parts, said), TextPart(said, refusal=True)]
    parts += _calls(item, path, notes)
    if len(item) > 2 and (signature := signed.of_message(item)):
        parts[:] = sign(tuple(parts), signature)
    is_signed = any(part.signature for part in parts if not isinstance(part, ResultPart))
    audio = _audio_id(item, path, notes)
    return Message("assistant", tuple(parts), index, name, signed.extra_content(item), is_signed, audio)


def _without_refusal(parts: list[Part], said: str) -> list[Part]:
    """What was said besides: some clients are told a refusal in the content too, behind what came before."""
    found = [part for part in parts if part != TextPart(said)]
    if found and isinstance(last := found[-1], TextPart):
        found[-1] = replace(last, text=last.text.removesuffix(f"\n\n{said}"))
    return found


def _audio_id(item: Json, path: str, notes: Notes) -> str | None:
    """What an answer's sound is called; the sound itself, which some clients send back, is told by that."""
    audio = item.get("audio")
    if audio is None:
        return None
    holder = checks.mapping(audio, f"{path}.audio")
    notes.unread(holder, _AUDIO_MEMBERS, f"{path}.audio")
    return str(checks.required_string(holder.get("id"), f"{path}.audio.id"))


def _shown(item: Json, path: str, notes: Notes, is_stored: IsStored | None) -> list[Content]:
    """Text and pictures, in every place where clients put the pictures of an assistant."""
    where, said = f"{path}.content", item.get("content")
    if isinstance(said, list):
        parts = [
            content.part(one, f"{where}[{number}]", notes)
            for number, one in enumerate(said)
            if not thoughts.is_part(one)
        ]
    else:
        parts = _parts_or_picture(said, where, notes)
    parts = history.cut_markdown(parts, where, is_stored)
    images = item.get("images")
    if images is None:
        return parts
    entries = checks.array(images, f"{path}.images")
    listed = [content.history_image(entry, f"{path}.images[{n}]", notes) for n, entry in enumerate(entries)]
    return _with_listed(parts, listed)


def _with_listed(parts: list[Content], listed: list[MediaPart]) -> list[Content]:
    """Add the pictures of `images`. When as many stand in the content, the reply was `images+link`: they are
    the same ones, without signatures."""
    places = [place for place, part in enumerate(parts) if history.is_image(part)]
    if len(places) != len(listed):
        return [*parts, *listed]
    merged: list[Content] = list(parts)
    for place, picture in zip(places, listed, strict=True):
        merged[place] = picture
    return merged


def _calls(item: Json, path: str, notes: Notes) -> tuple[CallPart, ...]:
    """`tool_calls`, or the legacy `function_call`, whose call has no id."""
    listed = item.get("tool_calls")
    if listed:
        entries = checks.array(listed, f"{path}.tool_calls")
        by_id = signed.of_reasoning_details(item)
        return tuple(_call(it, f"{path}.tool_calls[{n}]", by_id, notes) for n, it in enumerate(entries))
    if listed is not None:
        checks.array(listed, f"{path}.tool_calls")
    legacy = item.get("function_call")
    if legacy is None:
        return ()
    where = f"{path}.function_call"
    function = checks.mapping(legacy, where)
    notes.unread(function, _FUNCTION_MEMBERS, where)
    return (_function(function, where, "", signed.of_call(function, {})),)


def _call(value: Any, path: str, by_id: dict[str, str], notes: Notes) -> CallPart:
    call = checks.mapping(value, path)
    sort = call.get("type", "function")
    if sort != "function" and sort is not None:
        raise checks.invalid_value(f"{path}.type", sort, ("function",))
    spoken_id = checks.required_string(call.get("id"), f"{path}.id")
    call_id, in_id = signed.split_id(spoken_id)
    if call.get("function") is None:
        raise checks.missing(f"{path}.function")
    function = checks.mapping(call["function"], f"{path}.function")
    notes.unread(call, _CALL_MEMBERS, path)
    notes.unread(function, _FUNCTION_MEMBERS, f"{path}.function")
    signature = signed.of_call(call, function) if len(call) > 3 or len(function) > 2 else None
    signature = signature or in_id or by_id.get(spoken_id) or by_id.get(call_id)
    found = _function(function, f"{path}.function", call_id, signature)
    return replace(found, marks=notes.marked(call, path)) if "cache_control" in call else found


def _function(function: Json, path: str, call_id: str, signature: str | None) -> CallPart:
    name = checks.required_string(function.get("name"), f"{path}.name")
    return CallPart(call_id, name, arguments(function.get("arguments"), f"{path}.arguments"), signature)


def arguments(value: Any, path: str) -> Json:
    """The arguments of a call as an object, whatever a client made of them. Blank is `{}`."""
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    if isinstance(value, str | Slice):
        text = str(value).strip()
        if not text:
            return {}
        if values.too_many(text):
            raise RequestError(
                f"Invalid '{path}': more than {values.MOST} values.", param=path, code="too_many_values"
            )
        try:
            value = jsonio.loads_text(text)
        except jsonio.JSONDecodeError as exc:
            raise RequestError(
                f"Invalid '{path}': not valid JSON ({exc}).", param=path, code="invalid_json"
            ) from exc
    return value if isinstance(value, dict) else {"value": value}


def _parts_or_picture(value: Any, where: str, notes: Notes) -> list[Content]:
    """Content of a tool or an assistant: a string that is one data URL of a picture becomes the picture."""
    if isinstance(value, str | Slice):
        head = value[:11] if isinstance(value, str) else bytes(value.raw[:11]).decode("latin-1")
        if head.lower() == _PICTURE and (found := history.picture(value, where)):
            return [found]
    return _parts(value, where, notes)
