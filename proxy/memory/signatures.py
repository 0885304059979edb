"""Remembers thought signatures for clients that drop them.

Gemini 3 refuses a tool loop whose call comes back unsigned, and many clients keep only the call's id, or only
role and text, or a picture alone. Bounded in bytes, entries and age. A signature is valid only at the
upstream that issued it (G-099), and belongs to one model and one conversation: every entry is kept under its
origin, and what is known by its content alone under the conversation before it too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from threading import Lock
from time import monotonic
from typing import NamedTuple, Protocol

import orjson

from proxy.memory import past
from proxy.memory.past import Past
from proxy.types import (
    CallPart,
    ChatRequest,
    CodeRun,
    Event,
    Image,
    MediaPart,
    Message,
    Part,
    ResultPart,
    Text,
    TextPart,
    ToolCall,
    sign,
)

_ENTRY_BYTES = 400  # what an entry takes beside its strings
_SHARE = 4  # of the bytes allowed, what one entry may take


class Origin(NamedTuple):
    """Where a signature comes from: the upstream that issued it, its model, and the client's key by name."""

    issuer: str
    model: str
    owner: str


_Key = tuple[str, ...]


class Shared(Protocol):
    """A second memory behind the process's own; see `signature_file`."""

    def put(self, place: str, value: str) -> None: ...

    def get(self, place: str) -> str | None: ...


class SignatureMemory:
    """An LRU of signatures. Each is forgotten `ttl_s` after it came, or when newer ones need its room.

    May be asked by threads: large requests are restored in one.
    """

    def __init__(
        self,
        *,
        max_bytes: int = 32 << 20,
        entries: int = 50_000,
        ttl_s: float = 6 * 3600,
        clock: Callable[[], float] = monotonic,
        shared: Shared | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._entries = entries
        self._ttl_s = ttl_s
        self._clock = clock
        self._shared = shared
        self._memory: OrderedDict[_Key, tuple[str, float]] = OrderedDict()
        self._bytes = 0
        self._known: dict[_Key, int] = {}  # entries of each origin
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._memory)

    def put(self, key: _Key, signature: str) -> None:
        """Remember, or not what would need the room of all the others."""
        with self._lock:
            self._put(key, signature)

    def _put(self, key: _Key, signature: str) -> None:
        self._forget(key)
        if _size(key, signature) > self._max_bytes // _SHARE:
            return
        self._memory[key] = (signature, self._clock() + self._ttl_s)
        self._bytes += _size(key, signature)
        self._known[key[:3]] = self._known.get(key[:3], 0) + 1
        while self._bytes > self._max_bytes or len(self._memory) > self._entries:
            self._forget(next(iter(self._memory)))
        if self._shared is not None:
            self._shared.put("\0".join(key), signature)

    def get(self, key: _Key) -> str | None:
        with self._lock:
            return self._get(key)

    def _get(self, key: _Key) -> str | None:
        entry = self._memory.get(key)
        if entry is None:
            return None if self._shared is None else self._shared.get("\0".join(key))
        if entry[1] < self._clock():
            self._forget(key)
            return None
        self._memory.move_to_end(key)
        return entry[0]

    def _forget(self, key: _Key) -> None:
        entry = self._memory.pop(key, None)
        if entry is None:
            return
        self._bytes -= _size(key, entry[0])
        self._known[key[:3]] -= 1
        if not self._known[key[:3]]:
            del self._known[key[:3]]

    async def close(self) -> None:
        """Nothing goes on beside it."""

    def restore(self, request: ChatRequest, origin: Origin, before: Past) -> ChatRequest:
        """Fill in the signatures that the client's history lost; the request itself where none is missing.

        `before` is the past of this request.
        """
        if not self._memory and self._shared is None:
            return request
        known = origin in self._known or self._shared is not None
        changed: dict[int, Message] = {}
        for position, message in enumerate(request.messages):
            if message.role == "assistant":
                parts = self._without_foreign(message.parts, origin)
                if known:
                    parts = _Answer(self, origin, before, position).restored(parts)
                if parts is not message.parts:
                    changed[position] = replace(message, parts=parts)
        if not changed:
            return request
        messages = tuple(changed.get(place, message) for place, message in enumerate(request.messages))
        return replace(request, messages=messages)

    def _without_foreign(self, parts: tuple[Part, ...], origin: Origin) -> tuple[Part, ...]:
        """The parts without what another upstream signed, nearly always as they are."""
        cleared: dict[int, Part] = {}
        for place, part in enumerate(parts):
            if isinstance(part, CallPart) and part.signature and part.id:
                made_by = self.get(_issuer_key(origin.owner, part.id))
                if made_by and made_by != origin.issuer:
                    cleared[place] = replace(part, signature=None)
        return tuple(cleared.get(place, part) for place, part in enumerate(parts)) if cleared else parts


class _Answer:
    """One message of an assistant in a client's history."""

    __slots__ = ("_before", "_memory", "_origin", "_position")

    def __init__(self, memory: SignatureMemory, origin: Origin, before: Past, position: int) -> None:
        self._memory = memory
        self._origin = origin
        self._before = before
        self._position = position

    def restored(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        """The parts with the signatures they were given; the same tuple where nothing changes."""
        if len(parts) == 1 and isinstance(parts[0], TextPart):
            return parts if parts[0].signature or not parts[0].text else self._text(parts)
        found: list[Part] = []
        changed = False
        for part in parts:
            known = part
            if isinstance(part, CallPart):
                known = self._call(part)
            elif isinstance(part, MediaPart):
                known = self._picture(part)
            changed = changed or known is not part
            found.append(known)
        parts = tuple(found) if changed else parts
        first = next((part for part in parts if isinstance(part, CallPart)), None)
        if first is None:
            return self._text(parts)
        if any(isinstance(part, CallPart) and part.signature for part in parts):
            return parts
        # Of parallel calls only the first is signed, and an equal call may have been signed elsewhere.
        signature = self._by_content("call", past.canonical(first.name, first.arguments))
        return sign(parts, signature) if signature else parts

    def _call(self, call: CallPart) -> CallPart:
        """A call with the signature it came with, or that its id was given."""
        if call.signature or not call.id:
            return call
        signature = self._memory.get((*self._origin, "id", call.id))
        return replace(call, signature=signature) if signature else call

    def _picture(self, part: MediaPart) -> MediaPart:
        if part.signature or part.data is None:
            return part
        signature = self._by_digest("picture", past.digest_of_picture(part.data))
        return replace(part, signature=signature) if signature else part

    def _text(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        texts: list[str] = []
        for part in parts:
            if isinstance(part, TextPart):
                texts.append(part.text)
            if not isinstance(part, ResultPart) and part.signature:
                return parts
        text = "".join(texts).strip()
        signature = self._by_content("text", text.encode("utf-8", "surrogatepass")) if text else None
        return sign(parts, signature) if signature else parts

    def _by_content(self, kind: str, content: bytes) -> str | None:
        return self._by_digest(kind, past.digest(content))

    def _by_digest(self, kind: str, digest: str) -> str | None:
        before = self._before.before(self._position)
        return self._memory.get((*self._origin, kind, before, digest))


@dataclass(slots=True)
class SignatureRecorder:
    """Watches the events of a reply and remembers its signatures; `before` is the past of its request."""

    _memory: SignatureMemory
    _origin: Origin
    _before: Past
    _texts: dict[int, list[str]] = field(default_factory=dict)
    _signature: dict[int, str] = field(default_factory=dict)
    _calls: dict[tuple[int, int], ToolCall] = field(default_factory=dict)
    _arguments: dict[tuple[int, int], list[str]] = field(default_factory=dict)

    def watch(self, events: Iterable[Event]) -> None:
        for event in events:
            kind = type(event)
            if kind is Text:
                assert isinstance(event, Text)
                self._texts.setdefault(event.choice, []).append(event.text)
                if event.signature:
                    self._signature[event.choice] = event.signature
            elif kind is CodeRun:
                assert isinstance(event, CodeRun)
                self._texts.setdefault(event.choice, []).append(event.shown)
            elif kind is ToolCall:
                assert isinstance(event, ToolCall)
                self._watch_call(event)
            elif kind is Image:
                assert isinstance(event, Image)
                if event.signature and event.data is not None:
                    self._put("picture", past.digest_of_picture(event.data), event.signature)

    def _watch_call(self, event: ToolCall) -> None:
        place = (event.choice, event.index)
        if event.signature:
            self._calls[place] = event
            if event.id:
                # at once: the client may answer before the stream has ended
                self._memory.put((*self._origin, "id", event.id), event.signature)
                self._memory.put(_issuer_key(self._origin.owner, event.id), self._origin.issuer)
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
                self._put("call", past.digest(past.canonical(call.name, arguments)), call.signature)
        for choice, signature in self._signature.items():
            text = "".join(self._texts[choice]).strip()
            if text:
                self._put("text", past.digest(text.encode("utf-8", "surrogatepass")), signature)

    def _put(self, kind: str, digest: str, signature: str) -> None:
        self._memory.put((*self._origin, kind, self._before.whole(), digest), signature)


def _issuer_key(owner: str, call_id: str) -> _Key:
    """Where the upstream stands that made a call."""
    return ("", "", owner, "issuer", call_id)


def _size(key: _Key, signature: str) -> int:
    return _ENTRY_BYTES + sum(map(len, key)) + len(signature)
