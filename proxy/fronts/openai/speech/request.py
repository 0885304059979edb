"""Reads the body of a speech request."""

from __future__ import annotations

from typing import Any

from proxy.fronts import checks
from proxy.fronts.base import EVENTS, Parsed
from proxy.fronts.openai.fields.reading import Reading
from proxy.fronts.openai.speech.shape import SpeechShape
from proxy.sounds import formats
from proxy.types import SpeechRequest

_VOICE_MEMBERS = frozenset({"id"})

_SIMPLE: dict[str, tuple[str, checks.Check]] = {
    "model": ("model", checks.required_string),
    "input": ("text", checks.required_string),
    "instructions": ("instructions", checks.string),
    "response_format": ("format", checks.one_of(*formats.TYPES)),
    "speed": ("speed", checks.number(0.25, 4.0)),
}


def parse(body: Any) -> Parsed[SpeechRequest, SpeechShape]:
    """Read a body as `jsonio.loads` gave it. Raises `RequestError`.

    A file that needs a header of ours is answered whole, so that the header can tell its size.
    """
    model = checks.model_of(body)
    reading = Reading()
    events = False
    for key, value in body.items():
        if value is None:
            continue
        if (simple := _SIMPLE.get(key)) is not None:
            reading.request[simple[0]] = simple[1](value, key)
        elif key == "voice":
            reading.request["voice"] = _voice(value, reading)
        elif key == "stream_format":
            events = checks.one_of("audio", "sse")(value, key) == "sse"
        else:
            reading.add_foreign(key, value)
    if "text" not in reading.request:
        raise checks.missing("input")
    format = reading.request.setdefault("format", "mp3")
    reading.request |= {"model": model, "stream": events or format != "wav"}
    if reading.foreign:
        reading.request["foreign"] = reading.foreign_fields()
    kind = formats.TYPES[format].encode()
    return Parsed(
        SpeechRequest(**reading.request),
        SpeechShape(format, events, tuple(body)),
        tuple(reading.notes.named.values()),
        answers_as=kind,
        streams_as=EVENTS if events else kind,
    )


def _voice(value: Any, reading: Reading) -> str:
    """A name, or an object with the `id` of one."""
    if not isinstance(value, dict):
        return checks.required_string(value, "voice")
    reading.notes.unread(value, _VOICE_MEMBERS, "voice")
    return checks.required_string(value.get("id"), "voice.id")
