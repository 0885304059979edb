"""Reads the form of a transcription or a translation."""

from __future__ import annotations

import re
from typing import Any, Final

from proxy.fronts import checks
from proxy.fronts.base import Form, Parsed
from proxy.fronts.openai.fields.reading import Reading
from proxy.fronts.openai.transcripts.shape import TranscriptShape
from proxy.types import FormFile, Json, MediaPart, TranscriptRequest

_DETAILS: Final = {
    "json": "text",
    "text": "text",
    "srt": "times",
    "vtt": "times",
    "verbose_json": "facts",
    "diarized_json": "speakers",
}
_TIMED = "verbose_json"
_STREAMED = ("json", "text", "diarized_json")
_PLAIN = b"text/plain; charset=utf-8"
_NUMBER = re.compile(r"\d{0,4}\.?\d{1,9}", re.ASCII)
_TEXTS = ("language", "prompt")
_GRANULARITIES = ("timestamp_granularities[]", "timestamp_granularities")


def model_of(body: Any) -> str:
    return checks.model(dict(_form(body).fields).get("model"), "model")


def parse(body: Any, *, translated: bool) -> Parsed[TranscriptRequest, TranscriptShape]:
    """Read a form. Raises `RequestError`."""
    form = _form(body)
    reading = Reading()
    fields = _joined(form.fields)
    format = checks.one_of(*_DETAILS)(fields.pop("response_format", "json"), "response_format")
    streams = _boolean(fields.pop("stream", "false"), "stream")
    if streams and format not in _STREAMED:  # as OpenAI does, but not in silence
        reading.notes.add("stream")
        streams = False
    words = _words(fields)
    if words is not None and format != _TIMED:  # the others have no place for times
        reading.notes.add(_GRANULARITIES[0])
    request: Json = {
        "model": checks.model(fields.pop("model", None), "model"),
        "recording": _recording(form.files),
        "translated": translated,
        "detail": _DETAILS[format],
        "words": bool(words) and format == _TIMED,
        "stream": streams,
    }
    for name in _TEXTS:
        if (text := fields.pop(name, "")) != "":
            request[name] = checks.string(text, name)
    if (temperature := fields.pop("temperature", "")) != "":
        request["temperature"] = _temperature(temperature)
    for name, value in fields.items():
        reading.add_foreign(name, value)
    if reading.foreign:
        request["foreign"] = reading.foreign_fields()
    return Parsed(
        TranscriptRequest(**request),
        TranscriptShape(format, translated, (*dict(form.fields), "file")),
        tuple(reading.notes.named.values()),
        answers_as=_PLAIN if format in ("text", "srt", "vtt") else b"application/json",
    )


def _form(body: Any) -> Form:
    if isinstance(body, Form):
        return body
    sentence = "the request must be a form (multipart/form-data) with the recording."
    raise checks.invalid("file", sentence, "invalid_form")


def _joined(fields: list[tuple[str, str]]) -> dict[str, Any]:
    """What stands once as text, what stands more often and what is named `[]` as a list."""
    found: dict[str, Any] = {}
    for name, text in fields:
        if name in found or name.endswith("[]"):
            known = found.setdefault(name, [])
            found[name] = [*known, text] if isinstance(known, list) else [known, text]
        else:
            found[name] = text
    return found


def _recording(files: list[FormFile]) -> MediaPart:
    if not files:
        raise checks.missing("file")
    file, *others = files
    if file.field != "file" or others:
        field = file.field if file.field != "file" else others[0].field
        raise checks.invalid(field, "one file is expected, and it is called file.", "unsupported_parameter")
    if not file.data:
        raise checks.invalid("file", "the file is empty.", "empty_file")
    return MediaPart("audio", file.data, mime=file.mime or None, filename=file.filename or None, where="file")


def _words(fields: dict[str, Any]) -> bool | None:
    """Whether the times of words are asked for, not only of segments; None where no times are."""
    found: list[str] = []
    for name in _GRANULARITIES:
        value = fields.pop(name, [])
        found += value if isinstance(value, list) else [value]
    allowed = checks.one_of("word", "segment")
    asked = [allowed(word, _GRANULARITIES[0]) for word in found]
    return "word" in asked if asked else None


def _boolean(text: Any, path: str) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False, "": False}
    found = known.get(text.strip().lower()) if isinstance(text, str) else None
    if found is None:
        raise checks.invalid_value(path, text, ("true", "false"))
    return found


def _temperature(text: Any) -> float:
    if not isinstance(text, str) or _NUMBER.fullmatch(text.strip()) is None:
        raise checks.invalid_type("temperature", "a decimal", text)
    return checks.number(0, 2)(float(text), "temperature")
