"""`system` and `messages`, as clients really send them back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy.fronts import checks, history
from proxy.fronts.anthropic.blocks import incoming
from proxy.fronts.anthropic.spelling import SYSTEM
from proxy.fronts.history import IsStored
from proxy.fronts.notes import Notes
from proxy.types import CallPart, Json, MediaPart, Message, Part, TextPart, ThoughtPart

_ROLES = ("user", "assistant", "system")
_MEMBERS = frozenset({"role", "content"})
_PARAGRAPH = "\n\n"
_HISTORY_IMAGES = 2  # pictures of the assistant's that a model is shown again


def parse(body: Json, notes: Notes, is_stored: IsStored | None) -> tuple[Message, ...]:
    """The conversation, its system text first."""
    value = body.get("messages")
    if value is None:
        raise checks.missing("messages")
    if not isinstance(value, list):
        raise checks.invalid_type("messages", "an array of objects", value)
    if not value:
        raise checks.invalid("messages", "empty array. Expected at least one message.", "empty_array")
    messages: list[Message] = []
    if (system := body.get("system")) is not None and (said := _system(system, "system", notes)):
        messages.append(Message("system", said, SYSTEM))
    messages += [_message(item, index, notes, is_stored) for index, item in enumerate(value)]
    if body.get("cache_control") is not None:  # Anthropic's own shorthand for a mark on the last block
        checks.mapping(body["cache_control"], "cache_control")
        last = incoming.marked(list(messages[-1].parts), body, "body", notes)
        messages[-1] = replace(messages[-1], parts=tuple(last))
    history.forget_images(messages, _HISTORY_IMAGES, notes)
    return tuple(messages)


def _message(value: Any, index: int, notes: Notes, is_stored: IsStored | None) -> Message:
    path = f"messages[{index}]"
    item = checks.mapping(value, path)
    role, content = item.get("role"), item.get("content")
    if len(item) > 2:
        notes.unread(item, _MEMBERS, path)
    if role is None:
        raise checks.missing(f"{path}.role")
    if content is None:
        raise checks.missing(f"{path}.content")
    if role == "user":
        return Message("user", tuple(incoming.of_user(content, f"{path}.content", notes)), index)
    if role == "assistant":
        message = _assistant(incoming.of_assistant(content, f"{path}.content", notes), index, is_stored)
        extra = incoming.kept(content)
        return replace(message, extra=extra) if extra else message
    if role == "system":  # Claude Code puts one behind the first question
        return Message("system", _system(content, f"{path}.content", notes), index)
    raise checks.invalid_value(f"{path}.role", role, _ROLES)


def _system(value: Any, path: str, notes: Notes) -> tuple[TextPart, ...]:
    """One text, whose blocks are paragraphs; two where the last mark for a cache stands in its middle, for
    what comes behind that may be another in the next request."""
    said = incoming.texts(value, path, notes)
    if not said:
        return ()
    end = max((place for place, part in enumerate(said, 1) if part.marks), default=len(said))
    kept, rest = (_PARAGRAPH.join(part.text for part in some) for some in (said[:end], said[end:]))
    begin = TextPart(kept + _PARAGRAPH if rest else kept, marks=said[end - 1].marks)
    return (begin, TextPart(rest)) if rest else (begin,)


def _assistant(parts: list[Part], index: int, is_stored: IsStored | None) -> Message:
    where = f"messages[{index}].content"
    found: list[Part] = []
    is_signed = False
    for part in parts:
        if isinstance(part, TextPart):
            found += history.cut_markdown([part], where, is_stored)
        else:
            is_signed = is_signed or (isinstance(part, ThoughtPart) and part.signature is not None)
            found.append(part)
    return Message("assistant", tuple(_handed_on(found)), index, signed=is_signed)


def _handed_on(parts: list[Part]) -> list[Part]:
    """Each signature on the part that it was made for, which stands between its thought and the next one: the
    first call, else the last text or picture, else an empty text. Thoughts that say nothing are done with."""
    found: list[Part] = []
    signature: str | None = None
    begin = 0
    for part in parts:
        if not isinstance(part, ThoughtPart):
            found.append(part)
            continue
        _sign(found, begin, signature)
        signature = part.signature
        if part.text:
            found.append(replace(part, signature=None))
        begin = len(found)
    _sign(found, begin, signature)
    return found


def _sign(parts: list[Part], begin: int, signature: str | None) -> None:
    if signature is None:
        return
    bearer = None
    for place in range(begin, len(parts)):
        if isinstance(parts[place], CallPart):
            bearer = place
            break
        bearer = place
    part = TextPart("") if bearer is None else parts[bearer]
    assert isinstance(part, CallPart | TextPart | MediaPart)
    if bearer is None:
        parts.append(replace(part, signature=signature))
    else:
        parts[bearer] = replace(part, signature=signature)
