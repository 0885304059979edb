"""`contents` and `systemInstruction` as messages, and which result belongs to which call."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from proxy.fronts import checks, data_url
from proxy.fronts.gemini.reading import Reading, listed, member, members, text_of
from proxy.types import (
    CallPart,
    Json,
    MediaKind,
    MediaPart,
    Message,
    Part,
    ResultPart,
    Role,
    Slice,
    TextPart,
    ThoughtPart,
)

_Turn = tuple[Role, list[Part], int]  # and its place among the contents

_KINDS: dict[str, MediaKind] = {"image": "image", "audio": "audio", "video": "video"}
_NO_PLACE = -1  # the system text stands in no list
_WORDS_OF_RESULT = ("result", "output")  # Google's words for what a function returned
_FILM = "videoMetadata"  # of a film: where it begins, how often it is looked at
# What a part may say beside its content.
_BESIDE = frozenset({"thought", "thoughtSignature", _FILM})
_OF_CONTENT = frozenset({"role", "parts"})
_OF_BLOB = frozenset({"mimeType", "data", "displayName"})
_OF_FILE = frozenset({"mimeType", "fileUri", "displayName"})
_OF_CALL = frozenset({"id", "name", "args"})
_OF_RESULT = frozenset({"id", "name", "response", "parts"})


def parse(body: Json, reading: Reading) -> tuple[Message, ...]:
    contents = member(body, "contents")
    if contents is None or contents == []:
        raise checks.missing("contents")
    turns: list[_Turn] = []
    if parts := _system(member(body, "systemInstruction"), reading):
        turns.append(("system", parts, _NO_PLACE))
    for index, content in enumerate(listed(contents, "contents")):
        parts = parts_of(content, f"contents[{index}]", reading)
        role: Role = "assistant" if member(content, "role") == "model" else "user"
        if role == "assistant" and turns and turns[-1][0] == role:
            # N-035: the closing chunk of a stream comes back as a content of its own.
            turns[-1][1].extend(parts)
        else:
            turns.append((role, parts, index))
    _pair(turns)
    return tuple(Message(role, tuple(parts), index) for role, parts, index in turns)


def _system(system: Any, reading: Reading) -> list[Part]:
    """Its texts; a text alone is what some write in its place."""
    if system is None:
        return []
    if isinstance(system, str):
        return [TextPart(system)]
    path = "systemInstruction"
    parts = parts_of(checks.mapping(system, path), path, reading)
    reading.strange(f"{path}.parts", [part for part in parts if not isinstance(part, TextPart)])
    return [part for part in parts if isinstance(part, TextPart)]


def parts_of(content: Json, path: str, reading: Reading) -> list[Part]:
    found: list[Part] = []
    reading.others(content, path, _OF_CONTENT)
    parts = member(content, "parts")
    for number, part in enumerate([] if parts is None else listed(parts, f"{path}.parts")):
        if len(part) == 1 and type(text := part.get("text")) is str:
            if text:
                found.append(TextPart(text))
            continue
        _Content(part, f"{path}.parts[{number}]", reading).read(found)
    return found


class _Content:
    """One part of a native content."""

    __slots__ = ("_fields", "_is_film", "_path", "_reading", "_signature", "_wrote")

    def __init__(self, part: Json, path: str, reading: Reading) -> None:
        self._path = path
        self._reading = reading
        self._is_film = False
        self._fields: Json = {}
        self._wrote: dict[str, str] = {}
        for name, written, value in members(part):
            self._fields[name] = value
            self._wrote[name] = written
        signature = self._fields.get("thoughtSignature")
        self._signature = str(signature) if signature else None

    def read(self, found: list[Part]) -> None:
        for name, value in self._fields.items():
            reads = _READERS.get(name)
            if reads is not None:
                if (part := reads(self, value)) is not None:
                    found.append(part)
            elif name not in _BESIDE:
                self._reading.strange(self._where(name), value)
        if _FILM in self._fields and not self._is_film:
            self._reading.strange(self._where(_FILM), self._fields[_FILM])
        if self._signature and not self._fields.keys() & _READERS.keys():
            found.append(TextPart("", self._signature))

    def _where(self, name: str, inner: str = "") -> str:
        return f"{self._path}.{self._wrote[name]}{inner}"

    def _text(self, value: Any) -> Part | None:
        text = checks.string(value, self._where("text"))
        if self._fields.get("thought"):
            # Clients send back whole turns.
            return ThoughtPart(text, self._signature, self._where("text"), spare=True)
        return TextPart(text, self._signature) if text or self._signature else None

    def _inline_data(self, value: Any) -> MediaPart | None:
        blob = checks.mapping(value, self._where("inlineData"))
        self._beside("inlineData", blob, _OF_BLOB)
        data = member(blob, "data")
        where = self._where("inlineData", ".data")
        if data is None:
            raise checks.missing(where)
        if not isinstance(data, str | Slice):
            raise checks.invalid_type(where, "a string", data)
        mime, name = (self._word("inlineData", blob, one) for one in ("mimeType", "displayName"))
        return self._medium(mime, where, data=data_url.base64(data, where), filename=name)

    def _file_data(self, value: Any) -> MediaPart | None:
        file = checks.mapping(value, self._where("fileData"))
        self._beside("fileData", file, _OF_FILE)
        where = self._where("fileData", ".fileUri")
        uri = checks.required_string(member(file, "fileUri"), where)
        mime, name = (self._word("fileData", file, one) for one in ("mimeType", "displayName"))
        address = "url" if uri.startswith(("http://", "https://")) else "file_id"
        return self._medium(mime or _guess(uri), where, filename=name, **{address: uri})

    def _word(self, name: str, holder: Json, inner: str) -> str | None:
        """A string that may be absent, of what stands under `name`."""
        value = member(holder, inner)
        return None if value is None else checks.string(value, self._where(name, f".{inner}"))

    def _medium(self, mime: str | None, where: str, **holds: Any) -> MediaPart | None:
        """None for a draft that the model drew while it thought."""
        kind = _KINDS.get((mime or "").partition("/")[0].lower(), "file")
        self._is_film = kind == "video" or not mime
        if self._fields.get("thought"):
            return None
        video = self._fields.get(_FILM) if self._is_film else None
        return MediaPart(
            kind,
            mime=mime,
            video={} if video is None else checks.mapping(video, self._where(_FILM)),
            signature=self._signature,
            where=where,
            **holds,
        )

    def _beside(self, name: str, holder: Json, known: frozenset[str]) -> None:
        """Note what else stands under `name`."""
        self._reading.others(holder, self._where(name), known)

    def _call(self, value: Any) -> CallPart:
        call = checks.mapping(value, self._where("functionCall"))
        self._beside("functionCall", call, _OF_CALL)
        name = checks.required_string(member(call, "name"), self._where("functionCall", ".name"))
        arguments = member(call, "args")
        where = self._where("functionCall", ".args")
        arguments = {} if arguments is None else checks.carried(checks.mapping(arguments, where), where)
        return CallPart(_id(call), name, arguments, self._signature)

    def _result(self, value: Any) -> ResultPart:
        result = checks.mapping(value, self._where("functionResponse"))
        self._beside("functionResponse", result, _OF_RESULT)
        name = member(result, "name")
        response = member(result, "response")
        text, failed = _said(response, self._where("functionResponse", ".response"))
        parts: list[TextPart | MediaPart] = [TextPart(text)]
        place = self._where("functionResponse", ".parts")
        inside: list[Part] = []
        for number, part in enumerate(listed(member(result, "parts") or [], place)):
            _Content(part, f"{place}[{number}]", self._reading).read(inside)
        parts += (one for one in inside if isinstance(one, MediaPart))
        self._reading.strange(place, [one for one in inside if not isinstance(one, MediaPart)])
        named = name if isinstance(name, str) and name else None
        return ResultPart(_id(result) or None, named, tuple(parts), failed)

    def _code(self, value: Any) -> TextPart | None:
        """What Google's own tool ran, in words: another vendor has no place for it."""
        code = checks.mapping(value, self._where("executableCode"))
        return _fenced(member(code, "code"), str(member(code, "language") or "").lower(), self._signature)

    def _outcome(self, value: Any) -> TextPart | None:
        outcome = checks.mapping(value, self._where("codeExecutionResult"))
        return _fenced(member(outcome, "output"), "", self._signature)


_READERS: dict[str, Callable[[_Content, Any], Part | None]] = {
    "text": _Content._text,
    "inlineData": _Content._inline_data,
    "fileData": _Content._file_data,
    "functionCall": _Content._call,
    "functionResponse": _Content._result,
    "executableCode": _Content._code,
    "codeExecutionResult": _Content._outcome,
}


def _id(holder: Json) -> str:
    given = member(holder, "id")
    return given if isinstance(given, str) else ""


def _guess(uri: str) -> str:
    """Of an address without a type: films on YouTube are written so."""
    return "video/*" if "youtu" in uri[:40] else "image/*"


def _fenced(text: Any, language: str, signature: str | None) -> TextPart | None:
    return TextPart(f"```{language}\n{str(text).rstrip()}\n```\n", signature) if text else None


def _said(response: Any, path: str) -> tuple[str, bool]:
    """What a function returned, as text, and whether it failed. `result`, `output` and `error` alone are
    Google's words around it."""
    if isinstance(response, dict) and len(response) == 1:
        [(name, value)] = response.items()
        if name in _WORDS_OF_RESULT or name == "error":
            return value if isinstance(value, str) else text_of(value, path), name == "error"
    return text_of({} if response is None else response, path), False


# --- which result is whose --------------------------------------------------------------------------


def _pair(turns: list[_Turn]) -> None:
    """Give every call an id, and every result that of its call (N-030): the one that it says, else by its
    name in the order of the calls, else by order alone."""
    calls = _Calls()
    made = 0
    for role, parts, _ in turns:
        if role == "assistant":
            calls = _Calls()
        for place, part in enumerate(parts):
            if isinstance(part, CallPart):
                calls.has_ids = calls.has_ids or bool(part.id)
                if not part.id:
                    parts[place] = part = replace(part, id=f"call_g{made}")
                    made += 1
                calls.add(part)
            elif isinstance(part, ResultPart) and (call := calls.answered_by(part)) is not None:
                parts[place] = replace(part, call_id=call.id, name=part.name or call.name)


class _Calls:
    """Those of one turn of the model, of which each is answered once. `has_ids`: the client kept them."""

    __slots__ = ("_by_name", "_open", "_order", "has_ids")

    def __init__(self) -> None:
        self.has_ids = False
        self._open: dict[str, CallPart] = {}
        self._order: deque[str] = deque()
        self._by_name: dict[str | None, deque[str]] = {}

    def add(self, call: CallPart) -> None:
        self._open[call.id] = call
        self._order.append(call.id)
        self._by_name.setdefault(call.name, deque()).append(call.id)

    def answered_by(self, result: ResultPart) -> CallPart | None:
        """The call, None where the id says that it is another one's, or no call is left. Of calls that came
        back without their ids a result's own says nothing."""
        if result.call_id and self.has_ids:
            return self._open.pop(result.call_id, None)
        for waiting in (self._by_name.get(result.name), self._order):
            while waiting:
                if (call := self._open.pop(waiting.popleft(), None)) is not None:
                    return call
        return None
