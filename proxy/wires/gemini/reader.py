"""Reads generateContent replies: whole ones, stream chunks and errors inside a 200, all through `feed`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Call, ChatRequest, Event, Finish, Json, Refusal, ResultPart, Started, Target, Text
from proxy.wires.gemini import error, finish, models, usage
from proxy.wires.gemini.fence import Fences
from proxy.wires.gemini.lenient import count_of, dict_of, list_of, string_of
from proxy.wires.gemini.parts import CandidateReader

_ENVELOPES = ("data", "result", "response")  # resellers wrap the reply
# A reply with candidates and nothing else is what Google documents: no envelope, no error, no charge.
_GOOGLES = frozenset(("candidates", "usageMetadata", "responseId", "modelVersion", "createTime"))


def reader(request: ChatRequest, target: Target, call: Call) -> GeminiReader:
    if "relayed" not in call.context:
        return GeminiReader(request, target, call)
    from proxy.wires.gemini.relay import RelayReader  # most servers never get a body in Google's own words

    return RelayReader(request, target, call)


class GeminiReader:
    """One per call.

    Text, thoughts, pictures and calls are handed on at once. Citations, vendor facts, `Usage` and then
    `Finish` wait for `close`: a chunk after finishReason may still bring parts, a signature or counts.
    `Started` waits for the first event beside it, so that an empty reply can be tried again elsewhere.
    """

    def __init__(self, request: ChatRequest, target: Target, call: Call) -> None:
        self._request = request
        self._target = target
        self._call = call
        self._streams = call.stream
        self._fences = Fences() if "asked_in_words" in call.context else None
        self._started = False
        self._id: str | None = None
        self._model: str | None = None
        self._created: int | None = None
        self._choices: dict[int, CandidateReader] = {}
        self._usage: Json = {}
        self._charge: Any = None
        self._blocked: str | None = None
        self._blocked_message: str | None = None
        self._failure: UpstreamError | None = None  # raised when what came with it has been handed on

    def feed(self, payload: Any) -> list[Event]:
        if self._fences is not None:
            return self._fences.held_back(self._read(payload))
        # The hot path: one unsigned text part of a known choice, and nothing else but the cumulative counts:
        # an error, a verdict on the prompt or a charge may stand beside a text.
        try:
            [candidate] = payload["candidates"]
            [part] = candidate["content"]["parts"]
            text = part["text"]
            choice = self._choices[candidate.get("index", 0)]
            counts = payload["usageMetadata"]
            plain = len(part) == 1 and len(candidate) == (2 if "index" in candidate else 1)
        except (LookupError, TypeError, ValueError, AttributeError):
            return self._read(payload)
        if (
            not plain
            or not text
            or type(text) is not str
            or not self._started
            or not _GOOGLES.issuperset(payload)
        ):
            return self._read(payload)
        if counts.__class__ is dict and self._usage.keys() == counts.keys() and 0 not in counts.values():
            self._usage = counts
        else:
            self._count(counts)
        choice.texts.append(text)
        return [Text(text, choice.index)]

    def flush(self) -> list[Event]:
        """Calls whose arguments are not complete are not given."""
        return [] if self._fences is None else self._fences.released()

    def close(self, complete: bool = True) -> list[Event]:
        """A stream of Gemini's has no terminator, so `complete` says nothing: the finish reasons do."""
        if self._failure is not None:
            self._raise_failure()
        choices = list(self._choices.values())
        events: list[Event] = []
        images = 0
        for choice in choices:
            if choice.open is not None:
                events += choice.close_call()
            images += choice.images
        if self._blocked is None:
            self._check_complete(choices)
        elif not choices:
            text = finish.refusal("The prompt was blocked", self._blocked, self._blocked_message)
            events.append(Refusal(text))
        finishes: list[Event] = []
        for choice in choices:
            end = self._finish(choice)
            finishes.append(end)
            if end.reason == "content_filter" and end.native:
                text = finish.refusal("The answer was stopped", end.native, end.message)
                events.append(Refusal(text, choice.index))
            events += choice.ending(self._model, whole=not self._streams)
        charge = None if self._charge is None else {"_billing": self._charge}
        each = models.find(self._target.model, self._target.options).image_tokens if images else 0
        events.append(usage.read_usage(self._usage, images=images, image_tokens=each, vendor=charge))
        events += finishes or [Finish("content_filter", self._blocked, 0, self._blocked_message)]
        if self._fences is not None:
            events = [*self._fences.released(), *events]
        return events if self._started else self._begin(events)

    # --- payloads ----------------------------------------------------------------------------------

    def _read(self, payload: Any) -> list[Event]:
        if isinstance(payload, list):  # an array of chunks, or an error in a list
            return [event for item in payload for event in self.feed(item)]
        if not isinstance(payload, dict):
            raise UpstreamError(
                ErrorClass.INTERNAL, "The upstream answered with something else than an object."
            )
        if self._failure is not None:
            self._raise_failure()
        fails = False
        if not payload.get("candidates") or not payload.keys() <= _GOOGLES:
            payload = self._unwrap(payload)
            fails = error.is_error(payload)
            self._note_feedback(payload)
        if self._id is None or self._model is None or self._created is None:
            self._note_origin(payload)
        self._count(payload.get("usageMetadata"))
        events: list[Event] = []
        candidates = payload.get("candidates")
        for position, candidate in enumerate(candidates if isinstance(candidates, list) else ()):
            if isinstance(candidate, dict):
                told = candidate.get("index", position)
                index = told if type(told) is int else 0
                choice = self._choices.get(index)
                if choice is None:
                    choice = self._choices[index] = CandidateReader(index, self._request, self._call)
                events += choice.read(candidate)
        if fails:
            self._failure = self._failed(error.error_in(payload, self._target))
            if not events:
                self._raise_failure()
        return events if self._started or not events else self._begin(events)

    def _note_feedback(self, payload: Json) -> None:
        feedback = dict_of(payload.get("promptFeedback"))
        if feedback.get("blockReason"):
            self._blocked = str(feedback["blockReason"])
            self._blocked_message = string_of(feedback.get("blockReasonMessage"))

    def _note_origin(self, payload: Json) -> None:
        identity, model = payload.get("responseId"), payload.get("modelVersion")
        if self._id is None and isinstance(identity, str):
            self._id = identity or None
        if self._model is None and isinstance(model, str):
            self._model = model or None
        if self._created is None and "createTime" in payload:
            self._created = _seconds(payload["createTime"])

    def _count(self, counts: Any) -> None:
        """Keep the newest counts; merge only when a field of the last ones vanished or fell to zero."""
        if isinstance(counts, dict):
            if self._usage.keys() <= counts.keys() and 0 not in counts.values():
                self._usage = counts
            else:
                self._usage = usage.merged(self._usage, counts)

    def _unwrap(self, payload: Json) -> Json:
        self._charge = payload.get("_billing", self._charge)
        if "candidates" in payload:
            return payload
        for name in _ENVELOPES:
            inner = payload.get(name)
            if isinstance(inner, dict) and not inner.keys().isdisjoint(("candidates", "promptFeedback")):
                return self._unwrap(inner)
        return payload

    def _begin(self, events: list[Event]) -> list[Event]:
        self._started = True
        prompt = cached = 0
        if self._streams:
            prompt = count_of(self._usage.get("promptTokenCount"))
            cached = count_of(self._usage.get("cachedContentTokenCount"))
        return [Started(self._id, self._model, self._created, prompt=prompt, cached=cached), *events]

    # --- the end -----------------------------------------------------------------------------------

    def _check_complete(self, choices: list[CandidateReader]) -> None:
        """Raise when the reply broke off, or holds nothing where something was due."""
        if self._streams and any(choice.native is None for choice in choices):
            raise UpstreamError(
                ErrorClass.INTERNAL,
                "The upstream's stream ended before the answer was complete.",
                code="upstream_stream_truncated",
                bought=self._shows() or self._may_be_sold(),
            )
        shows = False
        for choice in choices:  # a generator would be entered for every choice
            if choice.called and choice.called_in_vain:
                raise UpstreamError(
                    ErrorClass.INTERNAL,
                    f"The upstream broke off a tool call that had begun ({choice.native}); do not make it.",
                    code="upstream_malformed_response",
                    native=choice.native,
                    bought=True,
                )
            shows = shows or choice.shows
        if shows:
            return
        if not choices:
            raise UpstreamError(
                ErrorClass.EMPTY, "The upstream answered with nothing.", bought=self._may_be_sold()
            )
        choice = choices[0]
        meaning = finish.ending(choice.native)
        draws = self._draws()
        silent = choice.said_nothing or self._after_tools()
        if meaning.empty is not None or (silent and choice.native in (None, "STOP") and not draws):
            return
        code = meaning.code
        if draws and code == "upstream_empty_response":
            code = finish.NO_IMAGE_CODE
        what = f"The upstream gave no {'picture' if code == finish.NO_IMAGE_CODE else 'usable answer'}"
        message = f"{what} ({choice.native or 'no finish reason'})."
        raise UpstreamError(
            meaning.error_class,
            f"{message} {choice.message}" if choice.message else message,
            code=code,
            native=choice.native,
            bought=self._may_be_sold() if meaning.error_class is ErrorClass.EMPTY else None,
        )

    def _failed(self, failure: UpstreamError) -> UpstreamError:
        """Words are paid by what came of them, pictures perhaps also where nothing did."""
        made = self._shows() or self._made_tokens()
        if not made and self._draws():
            return failure
        return failure.changed(bought=made, forbidden=failure.forbidden or (made and not self._streams))

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # its traceback knows this frame

    def _shows(self) -> bool:
        for choice in self._choices.values():  # noqa: SIM110 - a generator is entered for every choice
            if choice.shows:
                return True
        return False

    def _after_tools(self) -> bool:
        """Whether the model had results to answer to: then it may say nothing."""
        messages = self._request.messages
        return bool(messages and messages[-1].parts) and isinstance(messages[-1].parts[-1], ResultPart)

    def _draws(self) -> bool:
        config = dict_of(self._call.body.get("generationConfig"))
        if "IMAGE" in list_of(config.get("responseModalities")):
            return True
        return models.find(self._target.model, self._target.options).image is not None

    def _made_tokens(self) -> bool:
        """Whether the answer's own counts prove that it was paid."""
        counted = usage.read_usage(self._usage)
        return counted.completion > 0 or (counted.reasoning or 0) > 0

    def _may_be_sold(self) -> bool:
        """The same, and for a picture also where no counts say that nothing came of it."""
        return self._made_tokens() or (self._draws() and not self._usage)

    def _finish(self, choice: CandidateReader) -> Finish:
        if self._blocked is not None:  # the filter struck after the answer had begun
            native = choice.native if choice.native not in (None, "STOP") else self._blocked
            return Finish("content_filter", native, choice.index, choice.message or self._blocked_message)
        meaning = finish.ending(choice.native)
        reason = meaning.reason if choice.shows else meaning.empty or "stop"
        if reason == "stop" and choice.called:
            reason = "tool_calls"
        return Finish(reason, choice.native, choice.index, choice.message)


def _seconds(stamp: Any) -> int | None:
    """Vertex's createTime, RFC 3339, as seconds."""
    try:
        return int(datetime.fromisoformat(stamp).timestamp()) if isinstance(stamp, str) else None
    except ValueError:
        return None
