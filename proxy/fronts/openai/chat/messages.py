"""The `messages` of a chat request, in the shapes clients really send them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import orjson

from proxy.errors import RequestError
from proxy.fronts.openai import checks, content, signed
from proxy.fronts.openai.content import Notes
from proxy.types import FunctionCall, Json, MediaPart, Message, Part, Role, Slice, TextPart

IsStored = Callable[[str], bool]

# Google's own compat examples say `model`; `function` is OpenAI's first spelling of `tool`.
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
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
    for index, item in enumerate(value):
        if type(item) is not dict:
            raise checks.invalid_type(f"messages[{index}]", "an object", item)
        role, text = item.get("role"), item.get("content")
        if len(item) == 2 and type(text) is str and (role == "user" or role == "system"):
            messages.append(Message(role, (TextPart(text),), index))
        else:
            messages.append(_message(item, index, notes, is_stored))
    if history_images is not None:
        _forget_images(messages, history_images)
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
    if role == "tool":
        return _tool(item, index, path, name, notes)
    if "content" not in item:
        raise checks.missing(f"{path}.content")
    parts = _parts(item["content"], f"{path}.content", notes)
    if role != "user":
        for position, part in enumerate(parts):
            if isinstance(part, MediaPart):
                where = f"{path}.content[{position}].type"
                raise checks.invalid(where, f"a {role} message holds text only.")
    return Message(role, tuple(parts), index, name)


def _parts(value: Any, path: str, notes: Notes) -> list[Part]:
    if isinstance(value, list):
        return [content.part(item, f"{path}[{number}]", notes) for number, item in enumerate(value)]
    if value is None:
        return []
    if isinstance(value, str | Slice):
        return [TextPart(str(value))]
    raise checks.invalid_type(path, "a string or an array of content parts", value)


def _tool(item: Json, index: int, path: str, name: str | None, notes: Notes) -> Message:
    call_id = item.get("tool_call_id")
    if call_id is not None:
        call_id, _ = signed.split_id(checks.string(call_id, f"{path}.tool_call_id"))
    if not call_id and not name:
        missed = "name" if item["role"] == "function" else "tool_call_id"
        raise checks.missing(f"{path}.{missed}")
    parts = _parts_or_picture(item.get("content"), f"{path}.content", notes)
    return Message("tool", tuple(parts), index, name, tool_call_id=call_id or None)


def _assistant(
    item: Json, index: int, path: str, name: str | None, notes: Notes, is_stored: IsStored | None
) -> Message:
    if item.get("audio") is not None:
        notes.add("messages[].audio")
    where = f"{path}.content"
    parts = _parts_or_picture(item.get("content"), where, notes)
    parts = list(_cut_markdown(parts, where, is_stored))
    images = item.get("images")
    if images is not None:
        entries = checks.array(images, f"{path}.images")
        listed = [content.history_image(it, f"{path}.images[{n}]") for n, it in enumerate(entries)]
        parts = _with_listed(parts, listed)
    calls = _calls(item, path)
    signature = signed.of_message(item) if len(item) > 2 else None
    if calls and signature:
        # It belongs to the first call, unless that one has its own: one signature, one part.
        if not any(call.signature for call in calls):
            calls = (replace(calls[0], signature=signature), *calls[1:])
        signature = None
    refusal = item.get("refusal")
    return Message(
        "assistant",
        tuple(parts),
        index,
        name,
        calls,
        reasoning=_reasoning(item),
        refusal=None if refusal is None else checks.string(refusal, f"{path}.refusal"),
        signature=signature,
        extra=signed.extra_content(item),
    )


def _with_listed(parts: list[Part], listed: list[MediaPart]) -> list[Part]:
    """Add the pictures of `images`. When as many stand in the content, the reply was `images+link`: they are
    the same ones, without signatures."""
    places = [place for place, part in enumerate(parts) if _is_image(part)]
    if len(places) != len(listed):
        return [*parts, *listed]
    merged = list(parts)
    for place, picture in zip(places, listed, strict=True):
        merged[place] = picture
    return merged


def _reasoning(item: Json) -> str | None:
    """DeepSeek's and OpenRouter's names for it; another vendor's shape is not worth an error."""
    for field in ("reasoning_content", "reasoning"):
        if isinstance(item.get(field), str | Slice):
            return str(item[field]) or None
    return None


def _calls(item: Json, path: str) -> tuple[FunctionCall, ...]:
    """`tool_calls`, or the legacy `function_call`, whose call has no id."""
    listed = item.get("tool_calls")
    if listed:
        entries = checks.array(listed, f"{path}.tool_calls")
        by_id = signed.of_reasoning_details(item)
        return tuple(_call(it, f"{path}.tool_calls[{n}]", by_id) for n, it in enumerate(entries))
    if listed is not None:
        checks.array(listed, f"{path}.tool_calls")
    legacy = item.get("function_call")
    if legacy is None:
        return ()
    where = f"{path}.function_call"
    function = checks.mapping(legacy, where)
    return (_function(function, where, "", signed.of_call(function, {})),)


def _call(value: Any, path: str, by_id: dict[str, str]) -> FunctionCall:
    call = checks.mapping(value, path)
    sort = call.get("type", "function")
    if sort != "function" and sort is not None:
        raise checks.invalid_value(f"{path}.type", sort, ("function",))
    spoken_id = checks.required_string(call.get("id"), f"{path}.id")
    call_id, in_id = signed.split_id(spoken_id)
    if call.get("function") is None:
        raise checks.missing(f"{path}.function")
    function = checks.mapping(call["function"], f"{path}.function")
    signature = signed.of_call(call, function) if len(call) > 3 or len(function) > 2 else None
    signature = signature or in_id or by_id.get(spoken_id) or by_id.get(call_id)
    return _function(function, f"{path}.function", call_id, signature)


def _function(function: Json, path: str, call_id: str, signature: str | None) -> FunctionCall:
    name = checks.required_string(function.get("name"), f"{path}.name")
    return FunctionCall(call_id, name, arguments(function.get("arguments"), f"{path}.arguments"), signature)


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
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as exc:
            raise RequestError(
                f"Invalid '{path}': not valid JSON ({exc}).", param=path, code="invalid_json"
            ) from exc
    return value if isinstance(value, dict) else {"value": value}


def _parts_or_picture(value: Any, where: str, notes: Notes) -> list[Part]:
    """Content of a tool or an assistant: a string that is one data URL of a picture becomes the picture."""
    if isinstance(value, str | Slice):
        head = value[:11] if isinstance(value, str) else bytes(value.raw[:11]).decode("latin-1")
        if head.lower() == "data:image/" and (picture := _picture(value, where)):
            return [picture]
    return _parts(value, where, notes)


def _picture(address: str | Slice, where: str) -> MediaPart | None:
    """The picture, or None where the text only looks like one, as in an explanation of data URLs."""
    try:
        return content.media("image", address, where)
    except RequestError:
        return None


def _cut_markdown(parts: list[Part], where: str, is_stored: IsStored | None) -> Iterator[Part]:
    """Turn markdown pictures inside text back into parts, so that no base64 reaches a model as text."""
    for part in parts:
        if isinstance(part, TextPart) and "](" in part.text and "![" in part.text:
            yield from _split(part, where, is_stored)
        else:
            yield part


def _split(part: TextPart, where: str, is_stored: IsStored | None) -> Iterator[Part]:
    text, begin, search = part.text, 0, 0
    while (start := text.find("![", search)) >= 0:
        middle = text.find("](", start)
        end = text.find(")", middle) if middle >= 0 else -1
        if end < 0:
            break
        search = end + 1
        # The alternative text holds no brackets: another picture may begin before the one we found.
        start = text.rfind("![", start, middle)
        address = text[middle + 2 : end]
        if not address.startswith("data:image/") and not (is_stored is not None and is_stored(address)):
            continue
        picture = _picture(address, where)
        if picture is None:
            continue
        if before := text[begin:start].strip("\n"):  # the blank lines came with the pictures
            yield TextPart(before)
        yield picture
        begin = search
    rest = text[begin:].lstrip("\n") if begin else text
    if rest or not begin or part.signature:
        yield TextPart(rest, part.signature)


def _forget_images(messages: list[Message], kept: int) -> None:
    """Keep the last `kept` pictures that the assistant made: each costs megabytes and tokens, every turn."""
    for position in range(len(messages) - 1, -1, -1):
        message = messages[position]
        if message.role != "assistant" or not any(_is_image(part) for part in message.parts):
            continue
        left: list[Part] = []
        for part in reversed(message.parts):
            if _is_image(part):
                if not kept:
                    continue
                kept -= 1
            left.append(part)
        if len(left) < len(message.parts):
            messages[position] = replace(message, parts=tuple(reversed(left)))


def _is_image(part: Part) -> bool:
    return isinstance(part, MediaPart) and part.kind == "image"
