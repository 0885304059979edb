"""The conversation in OpenAI's shape, so that any server takes it.

`developer` becomes `system`, legacy functions become tools. Results stand right behind their calls, as many
as these, and pictures in user messages alone: other places are refused by OpenAI and by most servers that
copy it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from proxy.codec import jsonio
from proxy.errors import RequestError
from proxy.pictures import media_types
from proxy.types import (
    CallPart,
    ChatRequest,
    Json,
    MediaPart,
    Message,
    Part,
    ResultPart,
    Slice,
    TextPart,
    ThoughtPart,
)
from proxy.wires import orphans
from proxy.wires.pairing import Pairing, pair

_Content = TextPart | MediaPart

_TOOL_SHOWS = "The tool returned what follows."

_AUDIO_FORMATS = {
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/pcm": "pcm16",
    "audio/mp4": "m4a",
}

# OpenAI's words; `medium` and `ultra_high` are for Gemini's media resolution.
_DETAILS = {"medium": "auto", "ultra_high": "high"}


def build(
    request: ChatRequest, options: Mapping[str, Any], dropped: list[str], marks: frozenset[str]
) -> list[Json]:
    """Render all messages; names what is left out in `dropped`. `marks` are those of parts that go on."""
    return _Conversation(options, dropped, marks).render(request.messages)


def marked(rendered: Json, marks: Mapping[str, Any] | None, carried: frozenset[str]) -> Json:
    """What was rendered of a part, a result or a tool, with those of its marks that are carried."""
    if carried and marks:
        rendered |= {name: value for name, value in marks.items() if name in carried}
    return rendered


def join_texts(rendered: Sequence[Json]) -> None:
    """Several texts of a message as one string, in place: some servers take no list."""
    for message in rendered:
        content = message["content"]
        if isinstance(content, list) and all(part.keys() == {"type", "text"} for part in content):
            message["content"] = "\n".join(part["text"] for part in content)


def tell_thoughts(rendered: Sequence[Json]) -> None:
    """That there were none, in place: DeepSeek wants to hear of every turn of the model's."""
    for message in rendered:
        if message["role"] == "assistant":
            message.setdefault("reasoning_content", "")


def hoist_system(rendered: list[Json]) -> None:
    """All system messages as one at the beginning, in place: templates of Qwen's take no other."""
    system = [message for message in rendered if message["role"] == "system"]
    if not system or (len(system) == 1 and rendered[0] is system[0]):
        return
    parts: list[Json] = []
    for message in system:
        said = message["content"]
        parts += [{"type": "text", "text": said}] if isinstance(said, str) else said
    plain = all(part.keys() == {"type", "text"} for part in parts)
    content = "\n\n".join(part["text"] for part in parts) if plain else parts
    others = [message for message in rendered if message["role"] != "system"]
    rendered[:] = [{"role": "system", "content": content}, *others]


class _Conversation:
    def __init__(self, options: Mapping[str, Any], dropped: list[str], marks: frozenset[str]) -> None:
        self._options = options
        self._dropped = dropped
        self._marks = marks
        self._pictures_of_assistant = options.get("assistant_images", "user")
        self._signs = options.get("extra_body") == "google"
        self._out: list[Json] = []
        self._moved: list[Json] = []  # parts that wait for the next user message
        self._messages: Sequence[Message] = ()
        self._called = False  # nothing was said since the last calls but their results

    @cached_property
    def _pairing(self) -> Pairing:
        return pair(self._messages)

    def render(self, messages: Sequence[Message]) -> list[Json]:
        self._messages = messages
        for position, message in enumerate(messages):
            if message.role == "assistant":
                self._assistant(message, position)
            else:
                self._said(message, position)
        self._place_moved()
        return self._out

    def _said(self, message: Message, position: int) -> None:
        """A user's message, behind its results, or a system one; few servers know the role `developer`."""
        parts = message.parts
        if len(parts) == 1 and isinstance(parts[0], TextPart) and not self._moved and not self._marks:
            content: str | list[Json] = parts[0].text
        else:
            self._note_results(message, position)
            shown = [part for part in parts if isinstance(part, TextPart | MediaPart)]
            if len(shown) < len(parts) and not shown:
                return
            content = self._user_content(shown) if message.role == "user" else self._system(shown)
        rendered: Json = {"role": "user" if message.role == "user" else "system"}
        if message.name is not None:
            rendered["name"] = message.name
        rendered["content"] = content
        self._out.append(rendered)
        self._called = False

    def _system(self, parts: Sequence[_Content]) -> str | list[Json]:
        """What was cut in two for a mark that is not read is one text again: some servers take no list."""
        texts = [part.text for part in parts if isinstance(part, TextPart)]
        is_cut = len(texts) == len(parts) == 2 and parts[0].marks and texts[0].endswith("\n\n")
        if is_cut and self._marks.isdisjoint(parts[0].marks or ()):
            return "".join(texts)
        return self._content(parts)

    def _user_content(self, parts: Sequence[_Content]) -> str | list[Json]:
        moved, self._moved = self._moved, []
        return [*moved, *self._parts(parts)] if moved else self._content(parts)

    def _assistant(self, message: Message, position: int) -> None:
        self._place_moved()
        said = _Said(message.parts)
        keeps = self._pictures_of_assistant == "parts"
        shown, moved = (said.content, []) if keeps else _split(said.content)
        rendered: Json = {
            "role": "assistant",
            "content": self._content(shown, self._signs) if shown else None,
        }
        if message.name is not None:
            rendered["name"] = message.name
        if said.refusals:
            rendered["refusal"] = "".join(said.refusals)
        self._called = bool(said.calls)
        if said.calls:
            rendered["tool_calls"] = [self._call(call, message, n) for n, call in enumerate(said.calls)]
        elif not shown and not said.refusals and message.audio is None:
            rendered["content"] = ""  # null is refused where nothing else is said
        place = self._options.get("history_reasoning", "drop")
        if said.thoughts and place != "drop":
            rendered[place] = "".join(part.text for part in said.thoughts)
        elif said.thoughts:
            missed = (part for part in said.thoughts if not part.spare)
            self._dropped += (part.where or f"messages[{message.index}].parts" for part in missed)
        if self._signs and (extra := _extra(message.extra, said.content, pictures=not keeps)):
            rendered["extra_content"] = {"google": extra}
        elif not self._signs and message.signed:
            self._dropped.append(f"messages[{message.index}].signed")
        if message.audio is not None:
            rendered["audio"] = {"id": message.audio}
        self._out.append(rendered)
        if moved and self._pictures_of_assistant == "drop":
            self._dropped.append(f"messages[{message.index}].images")
        elif moved:
            self._moved = self._parts(moved)
        if said.calls:
            self._answer(message, position, rendered["tool_calls"])

    def _call(self, call: CallPart, message: Message, number: int) -> Json:
        identity = call.id or f"call_{message.index}_{number}"
        arguments = b"".join(jsonio.dumps(call.arguments)).decode()
        rendered: Json = {
            "id": identity,
            "type": "function",
            "function": {"name": call.name, "arguments": arguments},
        }
        if self._signs and call.signature is not None:
            rendered["extra_content"] = {"google": {"thought_signature": call.signature}}
        return marked(rendered, call.marks, self._marks)

    def _answer(self, message: Message, position: int, rendered: Sequence[Json]) -> None:
        """Put the results of a message's calls behind it, wherever they came; what is lost is said to be."""
        calls = [(number, part) for number, part in enumerate(message.parts) if isinstance(part, CallPart)]
        for (number, call), shown in zip(calls, rendered, strict=True):
            result = self._pairing.answers.get((position, number))
            if result is not None:
                self._result(result, shown["id"])
                continue
            self._dropped.append(orphans.named_call(call, message.index))
            self._out.append({"role": "tool", "tool_call_id": shown["id"], "content": orphans.MISSING})

    def _result(self, result: ResultPart, identity: str) -> None:
        shown, moved = _split(result.parts)
        content = self._content(shown) if shown or not moved else _TOOL_SHOWS
        rendered: Json = {"role": "tool", "tool_call_id": identity, "content": content}
        if result.name is not None:
            rendered["name"] = result.name
        self._out.append(marked(rendered, result.marks, self._marks))
        self._moved += self._parts(moved)

    def _note_results(self, message: Message, position: int) -> None:
        """Name what a message's results lose. That one failed stands in its words alone: the dialect has none
        for it. The user says those that nobody called for, and what was said before others comes behind them.
        Of several to one call the last holds."""
        for number, result in enumerate(message.parts):
            if not isinstance(result, ResultPart):
                continue
            if result.failed:
                self._dropped.append(f"messages[{message.index}].failed")
            place = (position, number)
            is_orphan = place in self._pairing.orphans
            if is_orphan or place in self._pairing.overruled or not self._called:
                self._dropped.append(orphans.named(result, message.index))
            if is_orphan:
                media = [part for part in result.parts if isinstance(part, MediaPart)]
                said = {"type": "text", "text": orphans.in_words(result)}
                self._moved += [said, *self._parts(media)]

    def _place_moved(self) -> None:
        moved, self._moved = self._moved, []
        if moved:
            is_text = len(moved) == 1 and moved[0].keys() == {"type", "text"}
            self._out.append({"role": "user", "content": moved[0]["text"] if is_text else moved})

    # --- parts -------------------------------------------------------------------------------------

    def _content(self, parts: Sequence[_Content], signs: bool = False) -> str | list[Json]:
        """A string where it says the same: every server understands that."""
        if not parts:
            return ""
        if (
            len(parts) == 1
            and isinstance(parts[0], TextPart)
            and self._marks.isdisjoint(parts[0].marks or ())
        ):
            return parts[0].text
        return self._parts(parts, signs) or ""

    def _parts(self, parts: Sequence[_Content], signs: bool = False) -> list[Json]:
        """`signs`: a picture's signature stands beside it; a text's is told for the whole message."""
        rendered: list[Json] = []
        for part in parts:
            if isinstance(part, MediaPart):
                medium = _MEDIA[part.kind](part, self._dropped)
                if signs and part.signature:
                    medium["extra_content"] = {"google": {"thought_signature": part.signature}}
                rendered.append(marked(medium, part.marks, self._marks))
            elif part.text:
                text = {"type": "text", "text": part.text}
                rendered.append(marked(text, part.marks, self._marks))
        return rendered


class _Said:
    """An assistant's parts by kind: this dialect has a field for each, and no order among them."""

    __slots__ = ("calls", "content", "refusals", "thoughts")

    def __init__(self, parts: Sequence[Part]) -> None:
        self.content: list[_Content] = []
        self.refusals: list[str] = []
        self.thoughts: list[ThoughtPart] = []
        self.calls: list[CallPart] = []
        for part in parts:
            if isinstance(part, TextPart) and part.refusal:
                self.refusals.append(part.text)
            elif isinstance(part, TextPart | MediaPart):
                self.content.append(part)
            elif isinstance(part, ThoughtPart):
                self.thoughts.append(part)
            elif isinstance(part, CallPart):
                self.calls.append(part)


def _split(parts: Sequence[_Content]) -> tuple[list[_Content], list[_Content]]:
    """Text, and the rest."""
    texts: list[_Content] = []
    media: list[_Content] = []
    for part in parts:
        (texts if isinstance(part, TextPart) else media).append(part)
    return texts, media


def _extra(given: Mapping[str, Any], parts: Sequence[_Content], *, pictures: bool) -> Json:
    """What Google's endpoint reads beside the message: the client's object, and the signature of the answer.

    `pictures`: those of its pictures too, for they are moved away.
    """
    extra: Json = {name: value for name, value in given.items() if name != "thought_signature"}
    for part in parts:
        if part.signature and (pictures or isinstance(part, TextPart)):
            extra["thought_signature"] = part.signature
    return extra


def _mime(part: MediaPart, otherwise: str) -> str:
    """What the client said; of a picture what its bytes say, for servers refuse one that is said to be
    another."""
    seen = None
    if part.data is not None and (part.mime is None or part.kind == "image"):
        seen = media_types.sniff(part.data.head(media_types.HEAD_BYTES))
    return seen or part.mime or otherwise


def _address(part: MediaPart, otherwise: str) -> str | Slice:
    """The data as a data URL that is not copied, or the address that the upstream reads itself."""
    if part.data is not None:
        return Slice(part.data.raw, f"data:{_mime(part, otherwise)};base64,".encode())
    if part.url is not None:
        return part.url
    raise RequestError(
        f"Invalid '{part.where}': this model takes no uploaded {part.kind}; send its data.",
        param=part.where or None,
        code="unsupported_value",
    )


def _image(part: MediaPart, dropped: list[str]) -> Json:
    holder: Json = {"url": _address(part, "image/png")}
    if part.detail is not None:
        holder["detail"] = _DETAILS.get(part.detail, part.detail)
    return {"type": "image_url", "image_url": holder}


def _audio(part: MediaPart, dropped: list[str]) -> Json:
    mime = _mime(part, "audio/wav").partition(";")[0].strip().lower()
    form = _AUDIO_FORMATS.get(mime, mime.rpartition("/")[2].removeprefix("x-"))
    data = part.data if part.data is not None else _address(part, mime)  # DashScope reads addresses here
    return {"type": "input_audio", "input_audio": {"data": data, "format": form}}


def _video(part: MediaPart, dropped: list[str]) -> Json:
    """The part that vLLM, DashScope and OpenRouter take; DashScope reads `fps` beside it."""
    rendered: Json = {"type": "video_url", "video_url": {"url": _address(part, "video/mp4")}}
    for name, value in part.video.items():
        if name == "fps":
            rendered["fps"] = value
        else:
            dropped.append(f"messages[].content[].video_url.{name}")
    return rendered


def _file(part: MediaPart, dropped: list[str]) -> Json:
    if part.file_id is not None:
        return {"type": "file", "file": {"file_id": part.file_id}}
    address = _address(part, "application/octet-stream")
    extension = media_types.EXTENSIONS.get(_mime(part, ""), "bin")
    return {"type": "file", "file": {"filename": part.filename or f"file.{extension}", "file_data": address}}


_MEDIA = {"image": _image, "audio": _audio, "video": _video, "file": _file}
