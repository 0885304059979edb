"""One choice of a reply: its deltas, or its whole message, in order, into events."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from proxy.codec import base64_text, jsonio
from proxy.errors import ErrorClass, UpstreamError
from proxy.pictures import markdown_images
from proxy.pictures.markdown_images import Found, MarkdownImages
from proxy.types import (
    Audio,
    Citation,
    Event,
    Extra,
    Image,
    Json,
    Logprobs,
    Reasoning,
    Refusal,
    Slice,
    Text,
)
from proxy.wires.openai.calls import Calls
from proxy.wires.openai.think import ThinkTags, lacks_opening

_GOOGLE_FORMAT = "google-gemini-v1"

_WRITABLE = re.compile(rb"[ !#-\[\]-~]*")


class Choice:
    """`read` takes a delta or a message. `shows` is True when something came that a client can use."""

    def __init__(
        self,
        index: int,
        is_picture: Callable[[str], bool] | None,
        *,
        audio_mime: str = "audio/wav",
        think_tags: bool | str = False,
        shows_reasoning: bool = True,
        names: Mapping[str, str] = {},
    ) -> None:
        self.index = index
        self.native: str | None = None
        self.finish_word: str | None = None
        self.stopped_by: str | None = None
        self.broken = False  # the server says that its calls are not to be made
        self.images = 0
        self.shows = False
        self.thought = False
        self.calls = Calls(index, names=names)
        self._markdown = MarkdownImages(is_picture)
        self._tags = ThinkTags(opened=think_tags == "opened") if think_tags else None
        self._audio_mime = audio_mime
        self._audio_id: str | None = None
        self._shows_reasoning = shows_reasoning
        self._said = False  # text came
        self._streamed = False  # a delta brought something
        self._cited: set[tuple[str, int, int]] = set()
        self._seen: dict[tuple[int, bytes], str] = {}  # pictures, and the place they came from

    def text(self, text: str) -> list[Event]:
        """The hot path: a piece of answer text."""
        found: list[Event] = []
        self._text(text, found)
        return found

    def read(self, message: Json, *, whole: bool) -> list[Event]:
        """Read a delta, or a message, which some servers send at the end of a stream once more."""
        out: list[Event] = []
        self._reasoning(message, out, repeated=whole and self.thought)
        if (content := message.get("content")) and not (whole and self._said):
            if whole and self._tags is not None and isinstance(content, str) and lacks_opening(content):
                self._tags = ThinkTags(opened=True)
            self._content(content, out)
        if (images := message.get("images")) and not (whole and self._streamed and self.images):
            for item in images if isinstance(images, list) else [images]:
                self._image(item, "images", out)
        if refusal := message.get("refusal"):
            self.shows = True
            out.append(Refusal(str(refusal), self.index))
        if audio := message.get("audio"):
            self._audio(audio, out)
        if calls := message.get("tool_calls"):
            if not (whole and self._streamed and self.calls):
                out += self._flushed(self.calls.feed(calls, whole=whole))
        elif legacy := message.get("function_call"):
            out += self._flushed(self.calls.feed_legacy(legacy, whole=whole))
        if annotations := message.get("annotations"):
            self._annotations(annotations, out)
        if extra := message.get("extra_content"):
            self._extra(extra, out)
        self._streamed = self._streamed or (not whole and bool(out))
        return out

    def logprobs(self, value: Any) -> list[Event]:
        known = value if isinstance(value, dict) else {}
        content, refusal = (_entries(known.get(name)) for name in ("content", "refusal"))
        return [Logprobs(content, self.index, tuple(refusal))] if content or refusal else []

    def cite(self, url: str, title: str, start: int, end: int) -> list[Event]:
        """Once each: OpenRouter repeats all of them in every chunk."""
        if (url, start, end) in self._cited:
            return []
        self._cited.add((url, start, end))
        return [Citation(url, title, start, end, self.index)]

    def flush(self) -> list[Event]:
        """Text that was held back, because it might have been the beginning of something."""
        out: list[Event] = []
        if self._tags is not None:
            self._tagged(self._tags.close(), out)
        self._give(self._markdown.close(), "content", out)
        return out

    def close(self) -> list[Event]:
        """What was held back, and the calls that are complete only now."""
        out = self.flush()
        out += self.calls.close()
        self.shows = self.shows or bool(self.calls)
        return out

    # --- content -----------------------------------------------------------------------------------

    def _content(self, content: Any, out: list[Event]) -> None:
        if isinstance(content, str | Slice):
            self._text(content, out)
        elif isinstance(content, list):
            for part in content:
                if isinstance(part, str | Slice):
                    self._text(part, out)
                elif isinstance(part, dict):
                    self._part(part, out)
        elif isinstance(content, dict):
            self._part(content, out)

    def _part(self, part: Json, out: list[Event]) -> None:
        kind = str(part.get("type") or "")
        signature = _signature(part) if "extra_content" in part else None
        if kind in ("thinking", "reasoning"):
            self._think(_flat(part.get("thinking") or part.get("text") or part.get("summary")), out)
            self._signed(signature, out)  # the text that follows a thought carries its signature
        elif kind == "refusal":
            self.shows = True
            out.append(Refusal(str(part.get("refusal") or ""), self.index))
        elif isinstance(part.get("text"), str | Slice):
            self._text(part["text"], out)
            self._signed(signature, out)
        elif "image" in kind or not part.keys().isdisjoint(_PICTURE_KEYS):
            self._give(self._markdown.close(), "content", out)
            self._image(part, "parts", out)

    def _text(self, text: str | Slice, out: list[Event]) -> None:
        self._said = True
        if self._tags is not None and isinstance(text, str):
            self._tagged(self._tags.feed(text), out)
            return
        self._give(self._markdown.feed(text), "content", out)

    def _tagged(self, pieces: list[tuple[bool, str]], out: list[Event]) -> None:
        for is_thought, text in pieces:
            if is_thought:
                self._think(text, out)
            else:
                self._give(self._markdown.feed(text), "content", out)

    def _give(self, pieces: list[str | Found], place: str, out: list[Event]) -> None:
        for piece in pieces:
            if isinstance(piece, str):
                self.shows = True
                out.append(Text(piece, self.index))
            else:
                self._show(piece, place, out)

    def _flushed(self, calls: list[Any]) -> list[Event]:
        """Text that was held comes before the calls that follow it."""
        out: list[Event] = []
        self._give(self._markdown.close(), "content", out)
        self.shows = True
        return out + calls

    # --- pictures and sounds -------------------------------------------------------------------------

    def _image(self, item: Any, place: str, out: list[Event]) -> None:
        """A picture as an object, however deep its address is."""
        signature = _signature(item)
        for _ in range(4):
            if not isinstance(item, dict):
                break
            item = next((item[key] for key in _ADDRESS_KEYS if item.get(key)), None)
        if isinstance(item, str | Slice) and (found := _address(item)) is not None:
            self._show(found, place, out, signature)

    def _show(self, found: Found, place: str, out: list[Event], signature: str | None = None) -> None:
        """Hand a picture on, unless a server that says everything twice already gave it in another place."""
        mime, source = found
        mark = (len(source), bytes(source.raw[-96:]) if isinstance(source, Slice) else source.encode())
        if self._seen.setdefault(mark, place) != place:
            self._signed(signature, out)
            return
        self.shows = True
        self.images += 1
        if isinstance(source, Slice):
            out.append(Image(mime, data=source, choice=self.index, signature=signature))
        else:
            out.append(Image(mime, url=source, choice=self.index, signature=signature))

    def _audio(self, audio: Any, out: list[Event]) -> None:
        """The id comes first and the expiry last, in pieces of their own."""
        if not isinstance(audio, dict):
            return
        identity, expires_at = audio.get("id"), audio.get("expires_at")
        if isinstance(identity, str) and identity:
            self._audio_id = identity
        expires_at = expires_at if isinstance(expires_at, int) and self._audio_id else None
        data, transcript = audio.get("data"), audio.get("transcript")
        if not data and not transcript and expires_at is None:
            return
        self.shows = self.shows or bool(data or transcript)
        sound = _base64(data) if data and isinstance(data, str | Slice) else Slice(b"")
        said = str(transcript or "")
        out.append(Audio(self._audio_mime, sound, said, self.index, self._audio_id, expires_at))

    # --- thoughts ------------------------------------------------------------------------------------

    def _reasoning(self, message: Json, out: list[Event], *, repeated: bool) -> None:
        """DeepSeek's name, OpenRouter's and vLLM's, OpenRouter's details; servers mirror one in another."""
        details = message.get("reasoning_details")
        if details and isinstance(details, list):
            self._sign(details, out)
        text = message.get("reasoning_content") or message.get("reasoning")
        if not text and isinstance(details, list):
            text = [detail for detail in details if isinstance(detail, dict)]
        if text and not repeated:
            self._think(_flat(text), out)

    def _think(self, text: str, out: list[Event]) -> None:
        if text:
            self.thought = True
            if self._shows_reasoning:
                out.append(Reasoning(text, self.index))

    def _signed(self, signature: str | None, out: list[Event]) -> None:
        if signature is not None:
            out.append(Text("", self.index, signature))

    def _sign(self, details: list[Any], out: list[Event]) -> None:
        """OpenRouter gives a Gemini signature apart from its call, under the call's id."""
        for detail in details:
            if isinstance(detail, dict) and detail.get("format") == _GOOGLE_FORMAT and detail.get("data"):
                identity, signature = detail.get("id"), str(detail["data"])
                if isinstance(identity, str) and identity:
                    out += self.calls.sign(identity, signature)
                else:
                    out.append(Text("", self.index, signature))

    # --- vendor facts ----------------------------------------------------------------------------------

    def _annotations(self, annotations: Any, out: list[Event]) -> None:
        for item in annotations if isinstance(annotations, list) else ():
            if not isinstance(item, dict):
                continue
            citation = item.get("url_citation")
            citation = citation if isinstance(citation, dict) else item
            if isinstance(url := citation.get("url"), str) and url:
                start, end = citation.get("start_index"), citation.get("end_index")
                title = str(citation.get("title") or "")
                out += self.cite(url, title, _offset(start), _offset(end))

    def _extra(self, extra: Any, out: list[Event]) -> None:
        """Google's endpoint: `thought` beside the text says nothing, it stands at answers too."""
        for vendor, values in extra.items() if isinstance(extra, dict) else ():
            if not isinstance(values, dict):
                continue
            if signature := values.get("thought_signature"):
                out.append(Text("", self.index, str(signature)))
            rest = {name: value for name, value in values.items() if name not in _NO_FACTS}
            if rest:
                out.append(Extra(vendor, rest, self.index))


_PICTURE_KEYS = ("image_url", "image", "b64_json", "inlineData", "inline_data")
_FOREIGN_PARTS = ("inlineData", "inline_data", "source")
_NO_FACTS = ("thought", "thought_signature")
# Of OpenAI's dialect and its kin; the last are Gemini's and Anthropic's parts, which relays hand on.
_ADDRESS_KEYS = ("image_url", "url", "b64_json", "image", "data", "base64", *_FOREIGN_PARTS)


def _address(value: str | Slice) -> Found | None:
    """An object that says it is a picture is believed, also where its data is not clean base64. Raises
    `UpstreamError` where no reply could hold it."""
    if isinstance(value, str) and value[:8].lower().startswith(("http://", "https:/")):
        return "", value
    found = markdown_images.picture(value)
    if found is not None:
        return found
    mime, begin = markdown_images.data_url_header(bytes(base64_text.raw(value)[:128]))
    return (mime, _base64(value, begin)) if begin and mime.startswith("image/") else None


def _base64(value: str | Slice, begin: int = 0) -> Slice:
    """Documents shorten it with dots, which harm nobody; what no string in JSON can hold as it is does."""
    found = base64_text.letters(value, begin)
    raw = base64_text.raw(value)[begin:]
    if found is None and not _WRITABLE.fullmatch(raw):
        raise UpstreamError(
            ErrorClass.INTERNAL,
            "The upstream sent what should be base64 and is none.",
            code="upstream_malformed_response",
        )
    return found or Slice(raw)


def _signature(holder: Any) -> str | None:
    """The signature that Google's and our own front's replies put on a part."""
    extra = holder.get("extra_content") if isinstance(holder, dict) else None
    for values in extra.values() if isinstance(extra, dict) else ():
        if isinstance(values, dict) and (signature := values.get("thought_signature")):
            return str(signature)
    return None


def _flat(value: Any) -> str:
    """The text of a string, or of objects that hold some."""
    if isinstance(value, str | Slice):
        return str(value)
    if isinstance(value, list):
        return "".join(map(_flat, value))
    if isinstance(value, dict):
        return _flat(value.get("text") or value.get("summary") or value.get("thinking") or "")
    return ""


def _entries(value: Any) -> list[Json]:
    return [_entry(entry) for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _entry(entry: Json) -> Json:
    """A token's as it came or, where that has no form in JSON (half a character, a number of 80 bits, a
    thousand lists in each other), as much of it as has."""
    try:
        orjson.dumps(entry)
    except TypeError:
        token, logprob = entry.get("token"), entry.get("logprob")
        return {
            "token": jsonio.whole_characters(token) if isinstance(token, str) else "",
            "logprob": float(logprob) if isinstance(logprob, int | float) else 0.0,
            "bytes": None,
            "top_logprobs": [],
        }
    return entry


def _offset(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
