"""Reads chat completions: whole replies, stream chunks, and errors inside a 200, all through `feed`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Call, ChatRequest, Event, Finish, Json, Started, Target
from proxy.wires.openai import error, finish, usage
from proxy.wires.openai.choice import Choice
from proxy.wires.openai.models import makes_pictures
from proxy.wires.order import before_calls

# 24 kHz is what OpenAI documents for pcm16.
_AUDIO_MIMES = {
    "mp3": "audio/mpeg",
    "pcm16": "audio/pcm;rate=24000",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "aac": "audio/aac",
}
_STOPPED_BY = ("stop_reason", "matched_stop")  # vLLM's and SGLang's word; a number is a token of the model's


class ChatReader:
    """One per call.

    What servers hand out is handed on at once; `Usage` and then `Finish` wait for `close`, for more may come
    after a finish_reason. `Started` waits for the first event beside it, so that an empty reply can be tried
    again elsewhere.
    """

    def __init__(self, request: ChatRequest, target: Target, call: Call) -> None:
        self._target = target
        self._streams = call.stream
        self._names: Mapping[str, str] = call.context.get("names", {})
        self._draws = makes_pictures(request, target, call.body)
        self._tags = target.options.get("think_tags") or False
        self._max_tokens = request.max_tokens
        self._stops = request.stop
        self._shows_reasoning = request.thinking is None or request.thinking.summary is not False
        self._audio_mime = _AUDIO_MIMES.get(request.audio.format if request.audio else "", "audio/wav")
        self._started = False
        self._id: str | None = None
        self._model: str | None = None
        self._created: int | None = None
        self._fingerprint: str | None = None
        self._tier: str | None = None
        self._choices: dict[int, Choice] = {}
        self._counts: Json = {}
        self._billing: Any = None
        self._sources: list[str] = []
        self._remark: str | None = None
        self._unsaid: list[Event] = []
        self._failure: UpstreamError | None = None  # raised when what came with it has been handed on

    def feed(self, payload: Any) -> list[Event]:
        # The hot path: a delta of text alone, for a choice that is known.
        try:
            [item] = payload["choices"]
            delta = item["delta"]
            text = delta["content"]
            choice = self._choices[item["index"]]
            plain = self._started and type(text) is str and text != ""
            if (
                item.get("finish_reason")
                or item.get("logprobs")
                or payload.get("usage")
                or "error" in payload
                or "error" in item
                or "_billing" in payload
            ):
                plain = False
            elif len(delta) > 1:
                for name in delta:
                    if name != "content" and name != "role" and delta[name]:
                        plain = False
        except (LookupError, TypeError, ValueError, AttributeError):
            plain = False
        return choice.text(text) if plain else self._read(payload)

    def close(self, complete: bool = True) -> list[Event]:
        """`complete` False: the stream ended without its terminator."""
        self._raise_failure()
        events = self.flush()
        self._unsaid = list(events)
        choices = list(self._choices.values())
        for choice in choices:
            events += choice.close()
        if choices:
            for url in self._sources:
                events += choices[0].cite(url, "", 0, 0)
        self._check(choices, complete)
        images = sum(choice.images for choice in choices)
        if self._counts or images or self._billing is not None:
            events.append(usage.read(self._counts, images=images, tier=self._tier, billing=self._billing))
        for choice in choices:
            word = choice.finish_word or self._silent_end(choice)
            reason = finish.reason(word, called=bool(choice.calls))
            native = choice.native or word
            events.append(Finish(reason, native, choice.index, self._remark, choice.stopped_by))
        return self._begin(events)

    def flush(self) -> list[Event]:
        """The text that is held back where a stream breaks, also when `close` tells so."""
        unsaid, self._unsaid = self._unsaid, []
        return unsaid + [event for choice in self._choices.values() for event in choice.flush()]

    # --- payloads ----------------------------------------------------------------------------------

    def _read(self, payload: Any) -> list[Event]:
        if isinstance(payload, list):
            return [event for item in payload for event in self.feed(item)]
        if not isinstance(payload, dict):
            raise UpstreamError(ErrorClass.INTERNAL, "The upstream answered with no JSON object.")
        self._raise_failure()
        self._note(payload)
        items = [item for item in _list(payload.get("choices")) if isinstance(item, dict)]
        events: list[Event] = []
        for position, item in enumerate(items):
            self._choice_item(item, position, events)
        failed = [one for one in items if isinstance(one.get("error"), dict)]
        for holder in ([payload] if error.is_error(payload) else failed)[:1]:
            self._fail(holder, events)
        if not events:
            self._raise_failure()
        return self._begin(events) if events else events

    def _note(self, payload: Json) -> None:
        """The members beside the choices."""
        if not self._started:
            self._id = self._id or _word(payload.get("id"))
            self._model = self._model or _word(payload.get("model"))
            created = payload.get("created")
            self._created = self._created or (created if isinstance(created, int) else None)
            self._fingerprint = _word(payload.get("system_fingerprint"))
        self._tier = _word(payload.get("service_tier")) or self._tier
        self._billing = payload.get("_billing", self._billing)
        for holder in (payload, payload.get("x_groq")):
            if isinstance(holder, dict):
                self._count(holder.get("usage"))
        sources = payload.get("citations")  # xAI, Perplexity: the same list in every chunk
        if isinstance(sources, list) and sources:
            self._sources = [url for url in sources if isinstance(url, str)]

    def _choice_item(self, item: Json, position: int, events: list[Event]) -> None:
        choice = self._choice(item.get("index", position))
        self._count(item.get("usage"))  # Moonshot's place for it
        details = item.get("finish_details")  # older GPT-4 vision models and relays of them
        kind = details.get("type") if isinstance(details, dict) else None
        if word := item.get("finish_reason") or kind:
            choice.finish_word = str(word)
            for name in _STOPPED_BY:
                if item.get(name) in self._stops:
                    choice.stopped_by = item[name]
            choice.native = _word(item.get("native_finish_reason")) or choice.native
            choice.broken = choice.broken or finish.breaks_calls(choice.finish_word, choice.native)
        begin = len(events)
        for name, whole in (("delta", False), ("message", True)):
            said = item.get(name)
            if isinstance(said, dict):
                events += choice.read(_without_calls(said) if choice.broken else said, whole=whole)
        if item.get("logprobs"):
            before_calls(events, choice.logprobs(item["logprobs"]), begin)

    def _choice(self, index: Any) -> Choice:
        index = index if type(index) is int else 0
        choice = self._choices.get(index)
        if choice is None:
            is_picture: Callable[[str], bool] | None = _any_address if self._draws else None
            choice = self._choices[index] = Choice(
                index,
                is_picture,
                audio_mime=self._audio_mime,
                think_tags=self._tags,
                shows_reasoning=self._shows_reasoning,
                names=self._names,
            )
        return choice

    def _count(self, counts: Any) -> None:
        """The newest counts hold; zeros at the end do not undo what was told before."""
        if isinstance(counts, dict) and (not self._counts or any(counts.values())):
            self._counts = counts

    def _begin(self, events: list[Event]) -> list[Event]:
        if self._started:
            return events
        self._started = True
        return [Started(self._id, self._model, self._created, self._fingerprint, self._tier), *events]

    # --- what went wrong -----------------------------------------------------------------------------

    def _fail(self, holder: Json, events: list[Event]) -> None:
        """Keep the error that stands in this object, behind all that came; or its words as a remark where the
        answer was finished (OpenRouter says "Token limit reached" after a finish_reason of length)."""
        found = error.error_in(holder, self._target)
        words = [choice.finish_word for choice in self._choices.values()]
        if words and self._was_made() and all(word and word.lower() not in finish.FAILURES for word in words):
            self._remark = found.message
            return
        for choice in self._choices.values():
            events += choice.close()
        made = self._was_made()
        if made or not self._draws:  # words are paid by what came of them
            found = found.changed(bought=made, forbidden=found.forbidden or (made and not self._streams))
        self._failure = found

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # its traceback knows this frame

    def _was_made(self) -> bool:
        """Whether something came, or the answer's own counts prove that it was paid."""
        shown = any(choice.shows or choice.thought for choice in self._choices.values())
        return shown or usage.read(self._counts).completion > 0

    def _may_be_sold(self) -> bool:
        """The same, and for a picture also where no counts say that nothing came of it."""
        return self._was_made() or (self._draws and not self._counts)

    def _silent_end(self, choice: Choice) -> str | None:
        """No word at all, and every token that was allowed is used: it was cut there."""
        limit = self._max_tokens
        counted = usage.read(self._counts).completion
        cut = limit is not None and len(self._choices) == 1 and not choice.calls and counted >= limit > 0
        return "length" if cut else None

    def _check(self, choices: list[Choice], complete: bool) -> None:
        """Raise when the server gave up, the stream broke off, or nothing came where something was due."""
        words = [choice.finish_word for choice in choices if choice.finish_word is not None]
        for word in words:
            if (failure := finish.FAILURES.get(word.lower())) is not None:
                raise UpstreamError(
                    failure,
                    f"The upstream gave up its answer ({word}).",
                    native=word,
                    bought=self._may_be_sold(),
                    forbidden=self._was_made() and not self._streams,
                )
        if (broken := next((one for one in choices if one.broken), None)) is not None:
            self._check_calls(broken)
        if self._streams and not complete and choices and not words:
            raise UpstreamError(
                ErrorClass.INTERNAL,
                "The upstream's stream ended before the answer was complete.",
                code="upstream_stream_truncated",
                bought=self._may_be_sold(),
            )
        if not choices or not self._may_be_silent(choices, words):
            raise UpstreamError(
                ErrorClass.EMPTY,
                "The upstream gave no picture." if self._draws else "The upstream answered with nothing.",
                code="no_image_generated" if self._draws else None,
                native=words[0] if words else None,
                bought=self._may_be_sold(),
            )

    def _check_calls(self, broken: Choice) -> None:
        """Raise when the calls that the server takes back were handed out, or nothing else came."""
        word = broken.native or broken.finish_word
        if broken.calls:
            raise UpstreamError(
                ErrorClass.INTERNAL,
                f"The upstream broke off a tool call that had begun ({word}); do not make it.",
                code="upstream_malformed_response",
                native=word,
                bought=True,
            )
        if not broken.shows:
            raise UpstreamError(
                ErrorClass.EMPTY,
                f"The upstream gave no usable answer ({word}).",
                code="upstream_malformed_response",
                native=word,
                bought=self._may_be_sold(),
            )

    def _may_be_silent(self, choices: list[Choice], words: list[str]) -> bool:
        if any(choice.shows for choice in choices):
            return True
        if any(finish.reason(word, called=False) != "stop" for word in words):
            return True  # cut off or filtered before the first word
        if self._draws:
            return False
        if not words:
            return self._silent_end(choices[0]) is not None
        counted = usage.read(self._counts)
        # A model may say nothing, which costs it a token; a relay without an answer counts none.
        return not self._counts or counted.completion > 0


def _without_calls(said: Json) -> Json:
    return {name: value for name, value in said.items() if name not in ("tool_calls", "function_call")}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _any_address(address: str) -> bool:
    return True
