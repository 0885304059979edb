"""Renders events as OpenAI chat completions: `whole` as one JSON object, `StreamRenderer` as chunks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from proxy.codec import jsonio
from proxy.fronts import faults
from proxy.fronts.openai.chat.stream import StreamRenderer
from proxy.fronts.openai.replies import reply_parts
from proxy.fronts.openai.replies.reply_parts import Ending, Piece, ReplyOptions
from proxy.types import (
    Audio,
    Citation,
    CodeRun,
    Event,
    Extra,
    Finish,
    Image,
    Joined,
    Json,
    Logprobs,
    Reasoning,
    Refusal,
    Slice,
    Started,
    Text,
    ToolCall,
    Usage,
)

if TYPE_CHECKING:
    from proxy.fronts.openai.replies import bodies

__all__ = ["ReplyOptions", "StreamRenderer", "whole"]


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    arguments: list[str] = field(default_factory=list)
    signature: str | None = None


@dataclass(slots=True)
class _Choice(Ending):
    content: list[str | Image] = field(default_factory=list)  # in the order of generation
    images: list[Image] = field(default_factory=list)  # those of the content
    reasoning: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    calls: dict[int, _Call] = field(default_factory=dict)
    call_ids: set[str] = field(default_factory=set)
    logprobs: list[Json] = field(default_factory=list)
    refusal_logprobs: list[Json] = field(default_factory=list)


def whole(events: Iterable[Event], reply: ReplyOptions) -> list[Piece]:
    """Render a complete reply as JSON, in pieces to be written one after the other.

    Raises `UpstreamError` when the events hold no choice or one that is not finished.
    """
    started: Started | None = None
    counted = Usage()
    choices: dict[int, _Choice] = {}
    for event in events:
        if isinstance(event, Started):
            started = started or event
        elif isinstance(event, Usage):
            counted = event
        else:
            choice = choices.get(event.choice)
            if choice is None:
                choice = choices[event.choice] = _Choice()
            if isinstance(event, Text):
                choice.content.append(event.text)
                choice.signature = event.signature or choice.signature
            elif isinstance(event, Finish):
                choice.finish = event
            else:
                _collect(choice, event, reply)
    if not choices:
        raise faults.empty_reply()
    identity, created = reply_parts.identity(started, reply)
    rendered: list[bodies.Choice] = []
    for index in sorted(choices):
        rendered.append(_choice(index, choices[index], reply, identity))
    body: bodies.Completion = {
        "id": identity,
        "object": "chat.completion",
        "created": created,
        "model": reply.model,
        "choices": rendered,
        "usage": reply_parts.usage(counted, reply.cost),
        "system_fingerprint": None,
    }
    tier = counted.service_tier
    if started is not None:
        body["system_fingerprint"] = started.fingerprint
        tier = tier or started.service_tier
    if tier is not None:
        body["service_tier"] = tier
    try:
        return jsonio.dumps(body)
    except jsonio.JSONEncodeError as error:
        raise faults.unwritable(error) from None


def _collect(choice: _Choice, event: Event, reply: ReplyOptions) -> None:
    """What is neither text nor the end."""
    match event:
        case Reasoning():
            choice.reasoning.append(event.text)
        case Image():
            choice.content.append(event)
            choice.images.append(event)
            if reply.image_mode not in reply_parts.LISTED:
                choice.signature = event.signature or choice.signature
        case ToolCall():
            _collect_call(choice, event, reply.legacy_functions)
        case Refusal():
            choice.refusal.append(event.text)
            choice.refused = True
        case Audio():
            choice.audio.append(event)
        case CodeRun():
            choice.content.append(event.shown)
        case Citation():
            choice.citations.append(event)
        case Logprobs():
            choice.logprobs += event.content
            choice.refusal_logprobs += event.refusal
        case Extra():
            choice.add_extra(event)


def _collect_call(choice: _Choice, event: ToolCall, legacy: bool) -> None:
    choice.called = True
    call = choice.calls.get(event.index)
    if call is None:
        identity = reply_parts.call_id(event, choice.call_ids)
        call = choice.calls[event.index] = _Call(identity, event.name)
    call.arguments.append(event.arguments)
    if call.signature is None:
        call.signature = event.signature
        if legacy and call is next(iter(choice.calls.values())):  # `function_call` has no room for it
            choice.signature = event.signature or choice.signature


def _choice(index: int, choice: _Choice, reply: ReplyOptions, identity: str) -> bodies.Choice:
    finish = choice.finished()
    if finish.reason == "content_filter" and (unsaid := choice.unsaid_refusal(finish)):
        choice.refusal.append(unsaid)
    if reply.refusal_in_text and choice.refusal:
        _say_refusal(choice)
    found: bodies.Choice = {
        "index": index,
        "message": _message(choice, reply, identity),
        "logprobs": reply_parts.logprobs(choice.logprobs, choice.refusal_logprobs),
        "finish_reason": choice.reason(finish, reply.legacy_functions),
    }
    if finish.native is not None:
        found["native_finish_reason"] = finish.native
    return found


def _say_refusal(choice: _Choice) -> None:
    """Into the content, apart from text before it; pictures are set apart where they are written."""
    said = [piece for piece in choice.content if piece]
    between = "\n\n" if said and isinstance(said[-1], str) else ""
    choice.content.append(between + "".join(choice.refusal))


def _message(choice: _Choice, reply: ReplyOptions, identity: str) -> bodies.Message:
    images = choice.images
    message: bodies.Message = {
        "role": "assistant",
        "content": _with_images(choice, reply) if images else _text(choice),
        "refusal": "".join(choice.refusal) or None,
    }
    if choice.reasoning:
        message["reasoning_content"] = "".join(choice.reasoning)
    if images and reply.image_mode in ("images", "images+link"):
        message["images"] = [
            reply_parts.image_entry(image, index, reply.vendor) for index, image in enumerate(images)
        ]
    if choice.audio:
        message["audio"] = reply_parts.audio(choice.audio, reply, identity)
    if choice.citations:
        message["annotations"] = [reply_parts.annotation(citation) for citation in choice.citations]
    if choice.calls:
        _add_calls(message, choice, reply)
    if choice.extra or choice.signature is not None:
        message["extra_content"] = choice.extra_content(reply.vendor)
    return message


def _text(choice: _Choice) -> str | None:
    """`""` when nothing was said, null when something else was given instead. There are no pictures."""
    text = "".join(cast(list[str], choice.content))
    return text or (None if choice.calls or choice.audio or choice.refusal else "")


def _with_images(choice: _Choice, reply: ReplyOptions) -> bodies.Text | list[bodies.Part]:
    if reply.image_mode == "images":
        return "".join(piece for piece in choice.content if isinstance(piece, str))
    if reply.image_mode == "parts":
        return _parts(choice, reply)
    pieces: list[str | Slice] = []
    wrote = after_image = False
    for piece in choice.content:
        if isinstance(piece, str):
            if piece:
                pieces += ("\n\n", piece) if after_image else (piece,)
                wrote, after_image = True, False
            continue
        shown = reply_parts.markdown(piece, reply, "\n\n" if wrote else "")
        pieces += (shown,) if isinstance(shown, str) else shown.pieces
        wrote = after_image = True
    return Joined(*pieces)


def _parts(choice: _Choice, reply: ReplyOptions) -> list[bodies.Part]:
    parts: list[bodies.Part] = []
    for piece in choice.content:
        if isinstance(piece, Image):
            parts.append(reply_parts.image_part(piece, reply.vendor))
        elif piece:
            if parts and parts[-1]["type"] == "text":
                parts[-1]["text"] += piece
            else:
                parts.append({"type": "text", "text": piece})
    return parts


def _add_calls(message: bodies.Message, choice: _Choice, reply: ReplyOptions) -> None:
    calls = [choice.calls[index] for index in choice.calls]
    if reply.legacy_functions:
        message["function_call"] = _function(calls[0])
        return
    entries: list[bodies.ToolCall] = []
    for call in calls:
        entry: bodies.ToolCall = {"id": call.id, "type": "function", "function": _function(call)}
        reply_parts.sign(entry, reply.vendor, call.signature)
        entries.append(entry)
    message["tool_calls"] = entries


def _function(call: _Call) -> bodies.Function:
    return {"name": call.name, "arguments": "".join(call.arguments) or "{}"}
