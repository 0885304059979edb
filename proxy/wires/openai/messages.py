"""The conversation in OpenAI's shape, so that any server takes it.

`developer` becomes `system`, legacy functions become tools, and pictures stand in user messages alone: other
places are refused by OpenAI and by most servers that copy it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from proxy.codec import jsonio
from proxy.errors import RequestError
from proxy.pictures import media_types
from proxy.types import ChatRequest, FunctionCall, Json, MediaPart, Message, Part, Slice, TextPart

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


def build(request: ChatRequest, options: Mapping[str, Any], dropped: list[str]) -> list[Json]:
    """Render all messages; names what is left out in `dropped`."""
    return _Conversation(options, dropped).render(request.messages)


class _Conversation:
    def __init__(self, options: Mapping[str, Any], dropped: list[str]) -> None:
        self._options = options
        self._dropped = dropped
        self._pictures_of_assistant = options.get("assistant_images", "user")
        self._signs = options.get("extra_body") == "google"
        self._out: list[Json] = []
        self._moved: list[Json] = []  # parts that wait for the next user message
        self._unanswered: deque[tuple[str, str]] = deque()  # id and name of calls

    def render(self, messages: Sequence[Message]) -> list[Json]:
        for message in messages:
            if message.role == "assistant":
                self._assistant(message)
            elif message.role == "tool":
                self._tool(message)
            else:
                self._said(message)
        self._place_moved()
        return self._out

    def _said(self, message: Message) -> None:
        """A user or system message; `developer` is known to few servers and means the same."""
        parts = message.parts
        rendered: Json = {"role": "user" if message.role == "user" else "system"}
        if message.name is not None:
            rendered["name"] = message.name
        if len(parts) == 1 and isinstance(parts[0], TextPart) and not self._moved:
            rendered["content"] = parts[0].text
        elif message.role == "user":
            moved, self._moved = self._moved, []
            rendered["content"] = [*moved, *self._parts(parts)] if moved else self._content(parts)
        else:
            rendered["content"] = self._content(parts)
        self._out.append(rendered)

    def _assistant(self, message: Message) -> None:
        self._place_moved()
        keeps = self._pictures_of_assistant == "parts"
        shown, moved = (message.parts, ()) if keeps else _split(message.parts)
        rendered: Json = {"role": "assistant", "content": self._content(shown) if shown else None}
        if message.name is not None:
            rendered["name"] = message.name
        if message.refusal is not None:
            rendered["refusal"] = message.refusal
        if message.calls:
            self._unanswered.clear()
            rendered["tool_calls"] = [self._call(call, message, n) for n, call in enumerate(message.calls)]
        elif not shown and message.refusal is None:
            rendered["content"] = ""  # null is refused where nothing else is said
        place = self._options.get("history_reasoning", "drop")
        if message.reasoning is not None and place != "drop":
            rendered[place] = message.reasoning
        if self._signs and (extra := _extra(message.extra, message.signature)):
            rendered["extra_content"] = {"google": extra}
        self._out.append(rendered)
        if moved and self._pictures_of_assistant == "drop":
            self._dropped.append(f"messages[{message.index}].images")
        elif moved:
            self._moved = self._parts(moved)

    def _call(self, call: FunctionCall, message: Message, number: int) -> Json:
        identity = call.id or f"call_{message.index}_{number}"
        self._unanswered.append((identity, call.name))
        arguments = b"".join(jsonio.dumps(call.arguments)).decode()
        rendered: Json = {
            "id": identity,
            "type": "function",
            "function": {"name": call.name, "arguments": arguments},
        }
        if self._signs and call.signature is not None:
            rendered["extra_content"] = {"google": {"thought_signature": call.signature}}
        return rendered

    def _tool(self, message: Message) -> None:
        """A call's result. The legacy role `function` names the function only."""
        shown, moved = _split(message.parts)
        content = self._content(shown) if shown or not moved else _TOOL_SHOWS
        rendered: Json = {"role": "tool", "tool_call_id": self._answered(message), "content": content}
        if message.name is not None:
            rendered["name"] = message.name
        self._out.append(rendered)
        self._moved += self._parts(moved)

    def _answered(self, message: Message) -> str:
        found = message.tool_call_id
        for open_call in self._unanswered:
            if open_call[0] == found if found is not None else open_call[1] == message.name:
                self._unanswered.remove(open_call)
                return open_call[0]
        return found or f"call_{message.index}"

    def _place_moved(self) -> None:
        if self._moved:
            self._out.append({"role": "user", "content": self._moved})
            self._moved = []

    # --- parts -------------------------------------------------------------------------------------

    def _content(self, parts: Sequence[Part]) -> str | list[Json]:
        """A string where it says the same: every server understands that."""
        if not parts:
            return ""
        if len(parts) == 1 and isinstance(parts[0], TextPart):
            return parts[0].text
        return self._parts(parts) or ""

    def _parts(self, parts: Sequence[Part]) -> list[Json]:
        rendered: list[Json] = []
        for part in parts:
            if isinstance(part, MediaPart):
                rendered.append(_MEDIA[part.kind](part, self._dropped))
            elif part.text:
                rendered.append({"type": "text", "text": part.text})
        return rendered


def _split(parts: tuple[Part, ...]) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Text, and the rest."""
    if not any(isinstance(part, MediaPart) for part in parts):
        return parts, ()
    return (
        tuple(part for part in parts if isinstance(part, TextPart)),
        tuple(part for part in parts if isinstance(part, MediaPart)),
    )


def _extra(extra: Mapping[str, Any], signature: str | None) -> Json:
    return {**extra, **({"thought_signature": signature} if signature is not None else {})}


def _mime(part: MediaPart, otherwise: str) -> str:
    if part.mime is None and part.data is not None:
        return media_types.sniff(part.data.head(media_types.HEAD_BYTES)) or otherwise
    return part.mime or otherwise


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
