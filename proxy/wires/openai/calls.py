"""Tool calls out of the fragments that servers send under this name.

The standard is one `index` per call, `id` and `name` in its first fragment, arguments cut anywhere. Servers
also leave out the index or use 0 for all, leave out ids or make a new one per chunk, repeat the name,
send arguments as an object, or a call a second time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from secrets import token_hex
from typing import Any

import orjson

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Json, Slice, ToolCall

_OF_TEXTS = re.compile(r'["\\]')
_OF_VALUES = re.compile(r'["{}\[\]]')


def random_id() -> str:
    return f"call_{token_hex(12)}"


class Nesting:
    """The brackets of a JSON text that comes in pieces: to parse all of it at each piece takes the square of
    its length."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_text = self._escapes = False

    def add(self, piece: str) -> None:
        at = 1 if self._escapes and piece else 0
        self._escapes = self._escapes and not piece
        while found := (_OF_TEXTS if self._in_text else _OF_VALUES).search(piece, at):
            at = found.end()
            if found[0] == '"':
                self._in_text = not self._in_text
            elif found[0] == "\\":
                self._escapes = at == len(piece)
                at += 1
            else:
                self._depth += 1 if found[0] in "[{" else -1

    def is_open(self) -> bool:
        return self._in_text or self._depth != 0


class _Open:
    """A call being received. `id` is what the client sees, `spoken_id` what the server calls it.

    `empty` is True when the server gave `{}`: some begin so and send the real arguments afterwards.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.spoken_id = ""
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.size = 0
        self._read = 0  # pieces whose brackets are counted
        self._nesting = Nesting()
        self._broken = False
        self.empty = False
        self.signature: str | None = None
        self.started = False

    def add(self, arguments: str) -> str:
        """Keep a piece; returns what of it is new."""
        if not self.size and arguments.strip() == "{}":
            self.empty = True
            return ""
        if len(arguments) == self.size and self.repeats(arguments):
            return ""  # the same once more
        if arguments:
            self.arguments.append(arguments)
            self.size += len(arguments)
        return arguments

    def repeats(self, arguments: str) -> bool:
        return self.is_complete() and arguments == "".join(self.arguments)

    def is_complete(self) -> bool:
        """True when the arguments so far are an object; looked at only where they may be."""
        if not self.size:
            return self.empty
        if self._broken or not self.arguments[-1].endswith("}"):
            return False
        for piece in self.arguments[self._read :]:
            self._nesting.add(piece)
        self._read = len(self.arguments)
        if self._nesting.is_open():
            return False
        try:
            orjson.loads("".join(self.arguments))
        except orjson.JSONDecodeError:
            self._broken = True  # all is closed, so that nothing which follows can mend it
            return False
        return True

    def is_followed_by(self, name: str, arguments: str) -> bool:
        """True where a fragment that looks like more of this call begins another one."""
        if not name or not arguments or not self.is_complete():
            return False
        return len(arguments) != self.size or not self.repeats(arguments)


class Calls:
    """The calls of one choice. `names` are the client's of functions that the server knows by another."""

    def __init__(
        self, choice: int, new_id: Callable[[], str] = random_id, names: Mapping[str, str] = {}
    ) -> None:
        self._choice = choice
        self._names = names
        self._new_id = new_id
        self._calls: list[_Open] = []  # a reply may hold some ten thousand: nothing looks through them all
        self._by_key: dict[int, _Open] = {}  # the newest
        self._by_spoken_id: dict[str, _Open] = {}  # the newest
        self._ids: set[str] = set()  # of those that are started
        self._signatures: dict[str, str] = {}  # by the server's id, told before or after the call
        self._turn = 0  # the index of the call that is being told
        self._held: list[ToolCall] = []  # of those that began before it was over

    def __bool__(self) -> bool:
        return bool(self._calls)

    def feed(self, fragments: Any, *, whole: bool) -> list[ToolCall]:
        """Read `tool_calls`. `whole`: each entry is a call of its own, as in a message."""
        out: list[ToolCall] = []
        for fragment in fragments if isinstance(fragments, list) else [fragments]:
            if isinstance(fragment, dict):
                said = self._fragment(fragment, whole)
                out += said if whole else self._in_turn(said)
        return out

    def feed_legacy(self, fragment: Any, *, whole: bool) -> list[ToolCall]:
        """Read `function_call`, which has no id and no second call."""
        if not isinstance(fragment, dict) or (whole and self._calls):
            return []
        return self.feed([{"index": 0, "function": fragment}], whole=whole)

    def sign(self, spoken_id: str, signature: str) -> list[ToolCall]:
        """A signature that stands apart from its call (OpenRouter's `reasoning_details`)."""
        self._signatures[spoken_id] = signature
        call = self._by_spoken_id.get(spoken_id)
        if call is None or not call.started or call.signature is not None:
            return []
        call.signature = signature
        return self._in_turn([ToolCall(call.index, call.id, call.name, "", self._choice, signature)])

    def close(self) -> list[ToolCall]:
        """What is still to be said: calls that began too early, arguments that never came, and calls whose
        name never came, so that nothing is lost in silence."""
        out, self._held = self._held, []
        for call in self._calls:
            if not call.started:
                out.append(self._start(call))
            if not call.size:
                out.append(ToolCall(call.index, call.id, call.name, "{}", self._choice))
        return sorted(out, key=lambda one: one.index)

    def _in_turn(self, said: list[ToolCall]) -> list[ToolCall]:
        """Some servers begin a call before the one in front of it is over. OpenAI does not, and clients put
        one together after the other (langchain-openai 1.7.4 by Responses, llama-index-llms-openai 0.8.3):
        what came too early is held to the end."""
        told: list[ToolCall] = []
        for one in said:
            front = self._calls[self._turn]
            is_next = one.index == self._turn + 1 and not self._held
            if is_next and front.started and front.is_complete():
                self._turn = one.index
            (self._held if one.index > self._turn else told).append(one)
        return told

    # --- one fragment ------------------------------------------------------------------------------

    def _fragment(self, fragment: Json, whole: bool) -> list[ToolCall]:
        """What is to be said of it: nothing of a call that has no name yet."""
        function = fragment.get("function")
        if not isinstance(function, dict):
            function = {}
        spoken_id, name = _text(fragment.get("id")), _text(function.get("name"))
        name = self._names.get(name, name)
        arguments = _arguments(function.get("arguments"))
        key = fragment.get("index")
        key = key if isinstance(key, int) else None
        call = None if whole else self._find(key, spoken_id, name, arguments)
        if call is None:
            call = _Open(len(self._calls))
            self._calls.append(call)
            if key is not None:
                self._by_key[key] = call
        call.name = call.name or name
        if spoken_id and not call.spoken_id:
            call.spoken_id = spoken_id
            self._by_spoken_id[spoken_id] = call
        arguments = call.add(arguments)
        signature = _signature(fragment, function) or self._signatures.get(call.spoken_id)
        signature = signature if call.signature is None else None
        call.signature = call.signature or signature
        if not call.started:
            return [self._start(call)] if call.name else []
        if not arguments and signature is None:
            return []
        return [ToolCall(call.index, call.id, call.name, arguments, self._choice, signature)]

    def _start(self, call: _Open) -> ToolCall:
        is_free = call.spoken_id and call.spoken_id not in self._ids
        call.id = call.spoken_id if is_free else self._new_id()
        self._ids.add(call.id)
        call.started = True
        arguments = "".join(call.arguments)
        return ToolCall(call.index, call.id, call.name, arguments, self._choice, call.signature)

    def _find(self, key: int | None, spoken_id: str, name: str, arguments: str) -> _Open | None:
        """The call that a fragment goes on with, None if it begins one."""
        call = self._by_spoken_id.get(spoken_id)
        if call is not None:
            return None if call.is_followed_by(name, arguments) else call
        last = self._newest(key)
        if last is None:
            return None
        if spoken_id and last.spoken_id:
            # Another id under the same index: a new id per chunk if that call is not over, else the index
            # means nothing.
            goes_on = key is not None and name in ("", last.name) and not last.is_complete()
        else:
            renamed = bool(name and last.name) and name != last.name
            goes_on = not renamed and not last.is_followed_by(name, arguments)
        return last if goes_on else None

    def _newest(self, key: int | None) -> _Open | None:
        """The newest call under this index, or of all where there are no indexes."""
        if key is not None:
            return self._by_key.get(key)
        return self._calls[-1] if self._calls else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _arguments(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str | Slice):
        return str(value)
    try:
        return orjson.dumps(value, default=str).decode()
    except (
        TypeError
    ):  # half characters and numbers of 80 bits have a form in JSON, a thousand lists have none
        pass
    try:
        return json.dumps(value, default=str)
    except RecursionError:
        raise UpstreamError(
            ErrorClass.INTERNAL,
            "The arguments of a call are nested too deeply.",
            code="upstream_malformed_response",
        ) from None


def _signature(fragment: Json, function: Json) -> str | None:
    """Where Google's endpoint and relays put a thought signature."""
    extra = fragment.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    for holder in (google, fragment.get("provider_specific_fields"), fragment, function):
        found = holder.get("thought_signature") if isinstance(holder, dict) else None
        if found:
            return str(found)
    return None
