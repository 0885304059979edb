"""One candidate of a reply: its parts, in order, into events, and what is told at its end."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from proxy.codec import base64_text
from proxy.errors import ErrorClass, UpstreamError
from proxy.types import (
    Audio,
    Call,
    ChatRequest,
    CodeRun,
    Event,
    Extra,
    Image,
    Json,
    Logprobs,
    Reasoning,
    Searched,
    Slice,
    Text,
    ToolCall,
)
from proxy.wires.gemini import finish, grounding
from proxy.wires.gemini.calls import FunctionNames, OpenCall, call_id
from proxy.wires.gemini.lenient import dict_of, dicts_of, list_of, string_of
from proxy.wires.order import before_calls

_MAX_TEXT_DATA = 16_384  # characters of base64 that may stand in the text as a data URL
_FACTS = {"avgLogprobs": "avg_logprobs", "urlContextMetadata": "url_context_metadata"}
_WELL = (None, "OUTCOME_OK", "OUTCOME_UNSPECIFIED")
_READ_ABOVE = frozenset(("content", "finishReason", "index"))  # a candidate that has no more holds no facts


class CandidateReader:
    """The state of one choice. `read` gives events as they come, `ending` those that wait for the end."""

    def __init__(self, index: int, request: ChatRequest, call: Call) -> None:
        self.index = index
        self._request = request
        self._sent = call
        self.native: str | None = None
        self.message: str | None = None
        self.texts: list[str] = []
        self.called = 0
        self.images = 0
        self.said_nothing = False  # there was a text part, and it was empty
        self._heard = False
        self._ends_with: str | None = None  # what the payload that is read says of the end
        self._inserted: set[int] = set()
        self._starts: list[int] = []
        self._ids: set[str] = set()
        self.open: OpenCall | None = None
        self._extra: Json = {}
        self._grounding: Json = {}
        self._searches: list[Searched] = []

    @property
    def called_in_vain(self) -> bool:
        """True when calls were handed out before the vendor said that they are broken."""
        return bool(self.called) and finish.ending(self.native).breaks_calls

    @property
    def shows(self) -> bool:
        """True when there is something for the client besides thoughts."""
        return bool(self.texts or self.called or self.images or self._heard)

    @cached_property
    def _names(self) -> FunctionNames:
        return FunctionNames(self._request, self._sent)

    def read(self, candidate: Json) -> list[Event]:
        events: list[Event] = []
        reason, content = candidate.get("finishReason"), candidate.get("content")
        native: str | None = reason if reason.__class__ is str else finish.word(reason)
        self._ends_with = native or None
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            self._starts.append(len(self.texts))
            if isinstance(part, dict):
                self._part(part, events)
        self.native = self._ends_with or self.native
        if not candidate.keys() <= _READ_ABOVE:
            self._note(candidate, events)
        return events

    def close_call(self) -> list[Event]:
        """The call whose arguments were still coming; the closing part may be missing."""
        call, self.open = self.open, None
        if call is None or finish.ending(self.native).breaks_calls:
            return []
        arguments = self._names.arguments(call.name, call.arguments)
        return self._call(call.name, call.id, arguments, call.signature)

    def ending(self, model: str | None, *, whole: bool) -> list[Event]:
        """Citations and the vendor's facts. `whole`: part indexes count over the whole reply."""
        events: list[Event] = []
        pages = self._extra.get("url_context_metadata")
        if self._grounding or pages:
            shown = grounding.ShownText(self.texts, self._inserted, self._starts if whole else ())
            events += grounding.citations(shown, self._grounding, dict_of(pages), self.index)
        if self._grounding or self._searches:
            told = self._sent.stream
            events += grounding.searched(self._grounding, self.index, self._searches, told=told)
        values: Json = {"model_version": model} if model else {}
        if self._grounding:
            values["grounding_metadata"] = self._grounding
        values.update(self._extra)
        if values:
            events.append(Extra("google", values, self.index))
        return events

    # --- parts -------------------------------------------------------------------------------------

    def _part(self, part: Json, events: list[Event]) -> None:
        if len(part) == 1 and (text := part.get("text")) and type(text) is str:
            self.texts.append(text)
            events.append(Text(text, self.index))
            return
        # Resellers write every field of a part, the unused ones as null or "".
        kinds = [key for key in part if key in _HANDLERS and part[key] not in (None, "")]
        for number, kind in enumerate(kinds):
            _HANDLERS[kind](self, part if number == 0 else {**part, "thoughtSignature": None}, events)
        if kinds:
            return
        self.said_nothing = self.said_nothing or "text" in part
        signature = _signature(part)
        if signature is not None and not part.get("thought"):
            events.append(Text("", self.index, signature))

    def _text(self, part: Json, events: list[Event]) -> None:
        text = str(part["text"])
        if part.get("thought"):
            events.append(Reasoning(text, self.index))
        else:
            self.texts.append(text)
            events.append(Text(text, self.index, _signature(part)))

    def _function_call(self, part: Json, events: list[Event]) -> None:
        call = dict_of(part["functionCall"])
        name = string_of(call.get("name"))
        if name:
            events += self.close_call()
            if not call.get("willContinue") and "partialArgs" not in call:
                text = self._names.arguments(name, call.get("args"))
                events += self._call(name, call.get("id"), text, _signature(part))
                return
            self.open = OpenCall(name, call.get("id"), _signature(part))
        if self.open is not None:
            self.open.add(call)
            if not call.get("willContinue"):
                events += self.close_call()

    def _call(self, name: str, id: Any, arguments: str, signature: str | None) -> list[Event]:
        client_name = None if finish.ending(self._ends_with).breaks_calls else self._names.find(name)
        if client_name is None or (self._request.parallel_calls is False and self.called):
            return []
        index = self.called
        self.called += 1
        return [ToolCall(index, call_id(id, self._ids), client_name, arguments, self.index, signature)]

    def _inline_data(self, part: Json, events: list[Event]) -> None:
        blob = dict_of(part.get("inlineData") or part.get("inline_data"))
        data = _slice(blob.get("data"))
        if part.get("thought") or data is None:
            return
        mime = string_of(blob.get("mimeType") or blob.get("mime_type")) or "image/png"
        if mime.startswith("image/"):
            self.images += 1
            events.append(Image(mime, data, choice=self.index, signature=_signature(part)))
        elif mime.startswith("audio/"):
            self._heard = True
            events.append(Audio(mime, _checked(base64_text.standard(data.raw)), choice=self.index))
        else:
            self._extra.setdefault("files", []).append({"mime_type": mime, "data": data})
            if len(data) <= _MAX_TEXT_DATA:
                self._insert(f"data:{mime};base64,{data}", events)
            else:
                self._heard = True

    def _file_data(self, part: Json, events: list[Event]) -> None:
        file = dict_of(part["fileData"])
        uri, mime = string_of(file.get("fileUri")), string_of(file.get("mimeType"))
        if part.get("thought") or uri is None:
            return
        if mime and mime.startswith("image/"):
            self.images += 1
            events.append(Image(mime, url=uri, choice=self.index, signature=_signature(part)))
            return
        self._extra.setdefault("files", []).append({"mime_type": mime, "uri": uri})
        self._insert(uri, events)

    def _code(self, part: Json, events: list[Event]) -> None:
        code = dict_of(part["executableCode"])
        language = (string_of(code.get("language")) or "").lower()
        text = str(code.get("code") or "")
        shown = self._inserted_text(_fenced(text, language))
        events.append(CodeRun(shown, text, language, choice=self.index))

    def _code_result(self, part: Json, events: list[Event]) -> None:
        result = dict_of(part["codeExecutionResult"])
        output, outcome = str(result.get("output") or ""), result.get("outcome")
        shown = self._inserted_text(_fenced(output, "")) if output else ""
        events.append(CodeRun(shown, output=output, ok=outcome in _WELL, choice=self.index))

    def _kept(self, part: Json, events: list[Event]) -> None:
        """A tool that the vendor ran itself, which wants to hear of it in the next turn. A whole reply's
        searches are told with what they found."""
        self._extra.setdefault("parts", []).append(part)
        searching = grounding.searching(part, self.index)
        self._searches += searching
        if self._sent.stream:
            events += searching

    def _ignored(self, part: Json, events: list[Event]) -> None:
        """A functionResponse: the vendor talks to itself (server-side tools)."""

    def _insert(self, block: str, events: list[Event]) -> None:
        events.append(Text(self._inserted_text(block), self.index))

    def _inserted_text(self, block: str) -> str:
        """Put a block of our own on lines of its own into the text."""
        before = "" if not self.texts or self.texts[-1].endswith("\n") else "\n"
        text = f"{before}{block}\n"
        self._inserted.add(len(self.texts))
        self.texts.append(text)
        return text

    # --- facts -------------------------------------------------------------------------------------

    def _logprobs(self, result: Json, events: list[Event]) -> None:
        steps = list_of(result.get("topCandidates"))
        content: list[Json] = []
        for number, entry in enumerate(list_of(result.get("chosenCandidates"))):
            step = dict_of(steps[number]) if number < len(steps) else {}
            others = [_token(other) for other in dicts_of(step.get("candidates"))]
            content.append({**_token(dict_of(entry)), "top_logprobs": others})
        if content:
            before_calls(events, [Logprobs(content, self.index)])

    def _note(self, candidate: Json, events: list[Event]) -> None:
        if "logprobsResult" in candidate:
            self._logprobs(dict_of(candidate["logprobsResult"]), events)
        self.message = string_of(candidate.get("finishMessage")) or self.message
        found = dict_of(candidate.get("groundingMetadata"))
        self._grounding.update({name: value for name, value in found.items() if value})
        for name, ours in _FACTS.items():
            if candidate.get(name) is not None:
                self._extra[ours] = candidate[name]
        for name, cited in dict_of(candidate.get("citationMetadata")).items():
            known = self._extra.setdefault("citation_metadata", {})  # each chunk of a stream tells its own
            known[name] = [*list_of(known.get(name)), *cited] if isinstance(cited, list) else cited


_HANDLERS = {
    "text": CandidateReader._text,
    "functionCall": CandidateReader._function_call,
    "inlineData": CandidateReader._inline_data,
    "inline_data": CandidateReader._inline_data,  # relays in Python
    "fileData": CandidateReader._file_data,
    "executableCode": CandidateReader._code,
    "codeExecutionResult": CandidateReader._code_result,
    "toolCall": CandidateReader._kept,
    "toolResponse": CandidateReader._kept,
    "functionResponse": CandidateReader._ignored,
}


def _signature(part: Json) -> str | None:
    """Opaque, passed on as it came; a very long one arrives as a `Slice`."""
    signature = part.get("thoughtSignature")
    return str(signature) if signature else None


def _slice(data: Any) -> Slice | None:
    """Base64 from a Slice or a string, without the data URL that some resellers put around it. Raises
    `UpstreamError` where it is none."""
    if not isinstance(data, str | Slice):
        return None
    head = data[:256] if isinstance(data, str) else bytes(data.raw[:256]).decode("latin-1")
    begin = head.find(",") + 1 if head.startswith("data:") else 0
    if len(data) <= begin:
        return None
    return _checked(base64_text.letters(data, begin))


def _checked(found: Slice | None) -> Slice:
    if found is None:
        raise UpstreamError(
            ErrorClass.INTERNAL,
            "The upstream sent what should be base64 and is none.",
            code="upstream_malformed_response",
        )
    return found


def _token(entry: Json) -> Json:
    token = str(entry.get("token") or "")
    return {"token": token, "logprob": entry.get("logProbability", 0.0), "bytes": list(token.encode())}


def _fenced(text: str, language: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
