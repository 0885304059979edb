"""Remembers thought signatures for clients that drop them.

Gemini 3 refuses a tool loop whose call comes back unsigned, and many clients keep only the call's id, or only
role and text, or a picture alone. Bounded in entries and age. A signature is valid only at the upstream that
issued it (G-099), so every entry is kept under its issuer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import blake2b
from time import monotonic
from typing import Protocol

import orjson

from proxy.types import (
    ChatRequest,
    Event,
    FunctionCall,
    Image,
    MediaPart,
    Message,
    Part,
    Slice,
    Text,
    TextPart,
    ToolCall,
)

_Key = tuple[str, str, str, str]  # issuer, client key, kind, value


class Shared(Protocol):
    """A second memory behind the process's own; see `signature_file`."""

    def put(self, place: str, value: str) -> None: ...

    def get(self, place: str) -> str | None: ...


class SignatureMemory:
    """An LRU of signatures. `issuer` names the upstream family, `owner` the client's key."""

    def __init__(
        self,
        *,
        entries: int = 50_000,
        ttl_s: float = 6 * 3600,
        clock: Callable[[], float] = monotonic,
        shared: Shared | None = None,
    ) -> None:
        self._entries = entries
        self._ttl_s = ttl_s
        self._clock = clock
        self._shared = shared
        self._memory: OrderedDict[_Key, tuple[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._memory)

    def put(self, key: _Key, signature: str) -> None:
        self._memory[key] = (signature, self._clock() + self._ttl_s)
        self._memory.move_to_end(key)
        while len(self._memory) > self._entries:
            self._memory.popitem(last=False)
        if self._shared is not None:
            self._shared.put("\0".join(key), signature)

    def get(self, key: _Key) -> str | None:
        entry = self._memory.get(key)
        if entry is None:
            return None if self._shared is None else self._shared.get("\0".join(key))
        if entry[1] < self._clock():
            del self._memory[key]
            return None
        self._memory.move_to_end(key)
        return entry[0]

    def restore(self, request: ChatRequest, issuer: str, owner: str) -> ChatRequest:
        """Fill in the signatures that the client's history lost; the request itself where none is missing."""
        messages = [
            self._restored(message, issuer, owner) if message.role == "assistant" else message
            for message in request.messages
        ]
        if all(new is old for new, old in zip(messages, request.messages, strict=True)):
            return request
        return replace(request, messages=tuple(messages))

    def _restored(self, message: Message, issuer: str, owner: str) -> Message:
        if any(isinstance(part, MediaPart) for part in message.parts):
            parts = tuple(self._restored_picture(part, issuer, owner) for part in message.parts)
            if any(new is not old for new, old in zip(parts, message.parts, strict=True)):
                message = replace(message, parts=parts)
        if not message.calls:
            return self._restored_text(message, issuer, owner)
        first, *others = (self._known_call(call, issuer, owner) for call in message.calls)
        if message.signature is None and not any(call.signature for call in (first, *others)):
            # Of parallel calls only the first is signed, and an equal call may have been signed elsewhere.
            signature = self.get((issuer, owner, "call", _digest_call(first.name, first.arguments)))
            first = replace(first, signature=signature)
        calls = (first, *others)
        return message if calls == message.calls else replace(message, calls=calls)

    def _known_call(self, call: FunctionCall, issuer: str, owner: str) -> FunctionCall:
        """A call with the signature it came with, or that its id was given; never another upstream's."""
        if call.signature:
            made_by = self.get(("", owner, "issuer", call.id))
            return replace(call, signature=None) if made_by and made_by != issuer else call
        signature = self.get((issuer, owner, "id", call.id)) if call.id else None
        return replace(call, signature=signature) if signature else call

    def _restored_picture(self, part: Part, issuer: str, owner: str) -> Part:
        if isinstance(part, TextPart) or part.signature or part.data is None:
            return part
        signature = self.get((issuer, owner, "picture", _digest_picture(part.data)))
        return replace(part, signature=signature) if signature else part

    def _restored_text(self, message: Message, issuer: str, owner: str) -> Message:
        texts = [part for part in message.parts if isinstance(part, TextPart)]
        if not texts or message.signature or any(part.signature for part in message.parts):
            return message
        signature = self.get((issuer, owner, "text", _digest("".join(part.text for part in texts))))
        return replace(message, signature=signature) if signature else message


class SignatureRecorder:
    """Watches one reply's events and remembers its signatures when it ends."""

    __slots__ = ("_arguments", "_calls", "_issuer", "_memory", "_owner", "_signature", "_texts")

    def __init__(self, memory: SignatureMemory, issuer: str, owner: str) -> None:
        self._memory = memory
        self._issuer = issuer
        self._owner = owner
        self._texts: dict[int, list[str]] = {}
        self._signature: dict[int, str] = {}
        self._calls: dict[tuple[int, int], ToolCall] = {}
        self._arguments: dict[tuple[int, int], list[str]] = {}

    def watch(self, events: Iterable[Event]) -> None:
        for event in events:
            kind = type(event)
            if kind is Text:
                assert isinstance(event, Text)
                self._texts.setdefault(event.choice, []).append(event.text)
                if event.signature:
                    self._signature[event.choice] = event.signature
            elif kind is ToolCall:
                assert isinstance(event, ToolCall)
                self._watch_call(event)
            elif kind is Image:
                assert isinstance(event, Image)
                if event.signature and event.data is not None:
                    key = (self._issuer, self._owner, "picture", _digest_picture(event.data))
                    self._memory.put(key, event.signature)

    def _watch_call(self, event: ToolCall) -> None:
        place = (event.choice, event.index)
        if event.signature:
            self._calls[place] = event
            if event.id:
                # at once: the client may answer before the stream has ended
                self._memory.put((self._issuer, self._owner, "id", event.id), event.signature)
                self._memory.put(("", self._owner, "issuer", event.id), self._issuer)
        if place in self._calls:
            self._arguments.setdefault(place, []).append(event.arguments)

    def close(self) -> None:
        """Remember what is only known at the end: signatures by the content of calls and answers."""
        for place, call in self._calls.items():
            try:
                arguments = orjson.loads("".join(self._arguments[place]) or "{}")
            except orjson.JSONDecodeError:
                continue
            if call.signature:
                key = (self._issuer, self._owner, "call", _digest_call(call.name, arguments))
                self._memory.put(key, call.signature)
        for choice, signature in self._signature.items():
            text = "".join(self._texts[choice])
            if text:
                self._memory.put((self._issuer, self._owner, "text", _digest(text)), signature)


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _digest_picture(data: Slice) -> str:
    """Of its length and some 65 pieces of 64 characters: all of 8 MB takes 9 ms, and who makes two pictures
    alike cheats only himself."""
    size = len(data.raw)
    pieces = [data.raw[start : start + 64] for start in range(0, size, max(64, size // 64))]
    return blake2b(b"".join((b"%d " % size, *pieces, data.raw[-64:])), digest_size=16).hexdigest()


def _digest_call(name: str, arguments: object) -> str:
    return _digest(name + "\0" + orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS).decode())
