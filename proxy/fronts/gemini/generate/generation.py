"""`generationConfig`: one table from Google's field to the attribute it is read into."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.fronts import checks
from proxy.fronts.gemini.generate import schemas
from proxy.fronts.gemini.reading import Reading, integer, member, members, number, word
from proxy.types import AnswerFormat, ImageOptions, Json, Thinking

PLACE = "generationConfig"
ENUM = "text/x.enum"

_JSON = "application/json"
_PLAIN_TEXT = "text/plain"
_SCHEMA_NAME = "response"
_MOST_CHOICES = 128


def _count(value: Any, path: str) -> int:
    return checks.integer(1, _MOST_CHOICES)(integer(value, path), path)


def _positive(value: Any, path: str) -> int:
    return checks.integer(0)(integer(value, path), path)


def _stops(value: Any, path: str) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(checks.strings(value, path))


def _modalities(value: Any, path: str) -> tuple[str, ...]:
    return tuple(one.lower() for one in checks.strings(value, path) if "UNSPECIFIED" not in one.upper())


# Google's field -> the attribute, and what reads the value. One more parameter is one more line.
_FIELDS: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
    "temperature": ("temperature", number),
    "topP": ("top_p", number),
    "topK": ("top_k", integer),
    "maxOutputTokens": ("max_tokens", _positive),
    "candidateCount": ("n", _count),
    "stopSequences": ("stop", _stops),
    "seed": ("seed", integer),
    "presencePenalty": ("presence_penalty", number),
    "frequencyPenalty": ("frequency_penalty", number),
    "responseLogprobs": ("logprobs", checks.boolean),
    "logprobs": ("top_logprobs", _positive),
    "responseModalities": ("modalities", _modalities),
}
_OF_ANSWER = frozenset({"responseMimeType", "responseSchema", "responseJsonSchema"})
_OF_THINKING = frozenset({"thinkingLevel", "thinkingBudget", "includeThoughts"})


def read(value: Any, reading: Reading) -> None:
    config = checks.mapping(value, PLACE)
    answer: Json = {}
    for name, written, inner in members(config):
        path = f"{PLACE}.{written}"
        known = _FIELDS.get(name)
        if known is not None:
            reading.request[known[0]] = known[1](inner, path)
        elif name in _OF_ANSWER or name == "_responseJsonSchema":
            answer[name.removeprefix("_")] = inner
        elif name == "thinkingConfig":
            reading.request["thinking"] = _thinking(checks.mapping(inner, path), path, reading)
        elif name == "imageConfig":
            reading.request["image"] = _image(checks.mapping(inner, path), path, reading)
        else:
            reading.strange(path, inner)
    if answer:
        _answer(answer, reading)
    if not reading.request.get("logprobs") and "top_logprobs" in reading.request:
        reading.strange(f"{PLACE}.logprobs", reading.request.pop("top_logprobs"))


def _answer(given: Json, reading: Reading) -> None:
    mime = given.get("responseMimeType", _PLAIN_TEXT)
    schema = given.get("responseJsonSchema", given.get("responseSchema"))
    if mime == _PLAIN_TEXT and schema is None:
        return
    if mime not in (_JSON, ENUM, _PLAIN_TEXT):
        reading.strange(f"{PLACE}.responseMimeType", mime)
        return
    if schema is None:
        reading.request["answer_format"] = AnswerFormat("json_object")
        return
    found = schemas.json_schema(schema, f"{PLACE}.responseSchema")
    reading.request["answer_format"] = AnswerFormat("json_schema", found, _SCHEMA_NAME)


def _thinking(config: Json, path: str, reading: Reading) -> Thinking:
    reading.others(config, path, _OF_THINKING)
    level, budget, shows = (
        member(config, name) for name in ("thinkingLevel", "thinkingBudget", "includeThoughts")
    )
    effort = word(level).lower()
    return Thinking(
        effort=effort if effort and "unspecified" not in effort else None,
        budget=None if budget is None else integer(budget, f"{path}.thinkingBudget"),
        summary=None if shows is None else checks.boolean(shows, f"{path}.includeThoughts"),
    )


def _image(config: Json, path: str, reading: Reading) -> ImageOptions:
    wishes: Json = {}
    for name, written, value in members(config):
        if name in ("aspectRatio", "imageSize"):
            attribute = "aspect_ratio" if name == "aspectRatio" else "image_size"
            wishes[attribute] = checks.string(value, f"{path}.{written}")
        else:
            reading.strange(f"{path}.{written}", value)
    return ImageOptions(**wishes)
