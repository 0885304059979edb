"""The fields of a picture request but its pictures, and of a model's defaults."""

from __future__ import annotations

from typing import Any

from proxy.fronts import checks
from proxy.fronts.openai.fields import parameters
from proxy.fronts.openai.fields.parameters import Read
from proxy.fronts.openai.fields.reading import Reading
from proxy.types import Json

PROMPT_MAX = 32_000


def _prompt(value: Any, path: str) -> str:
    text = checks.required_string(value, path)
    if len(text) > PROMPT_MAX:
        sentence = f"string too long. Expected at most {PROMPT_MAX} characters, but got {len(text)} instead."
        raise checks.invalid(path, sentence, "string_above_max_length")
    return text


def _output_format(value: Any, path: str) -> str:
    word = checks.one_of("png", "webp", "jpeg", "jpg", "gif", "svg")(value, path)
    return "jpeg" if word == "jpg" else word


SIMPLE: dict[str, Read] = {
    "model": ("model", checks.required_string),
    "prompt": ("prompt", _prompt),
    "n": ("n", checks.integer(1, 10)),
    "seed": ("seed", checks.integer()),
    "negative_prompt": ("negative_prompt", checks.string),
    "output_format": ("output_format", _output_format),
    "output_compression": ("output_compression", checks.integer(0, 100)),
    "moderation": ("moderation", checks.one_of("auto", "low")),
    "style": ("style", checks.string),
    "stream": ("stream", checks.boolean),
    "partial_images": ("partial_images", checks.integer(0, 3)),
}

# What shapes the reply and not the picture.
SHAPING: dict[str, checks.Check] = {
    "response_format": checks.one_of("b64_json", "url"),
    "callback_url": checks.required_string,
}

# Documented by OpenAI, without an attribute of ours.
DOCUMENTED: dict[str, checks.Check] = {
    "complexity": checks.one_of("low", "medium", "high"),
    "frame_count": checks.integer(1),
    "frame_duration_ms": checks.integer(1),
    "input_fidelity": checks.one_of("high", "low"),
    "svg": checks.mapping,
}

# Everything that may hold pictures: OpenAI's names first, then those of resellers (001's `image_urls`).
REFERENCES = ("image", "images", "image_urls", "image_url")
ELSEWHERE = frozenset(
    {*REFERENCES, *parameters.IMAGE_FIELDS, "mask", "background", "user", "safety_identifier"}
)


def read(body: Json, reading: Reading) -> None:
    """Read all fields but those that hold pictures."""
    for key, value in body.items():
        if value is None or key in ELSEWHERE:
            continue
        if (simple := SIMPLE.get(key)) is not None:
            reading.request[simple[0]] = simple[1](value, key)
        elif (shaping := SHAPING.get(key)) is not None:
            reading.shape[key] = shaping(value, key)
        elif (check := DOCUMENTED.get(key)) is not None:
            reading.add_foreign(key, check(value, key))
        else:
            reading.add_foreign(key, value)
    _background(body.get("background"), reading)
    for field in ("user", "safety_identifier"):  # the newer name wins
        if body.get(field) is not None:
            reading.request["user"] = checks.string(body[field], field)
    parameters.image(body, reading)


def _background(value: Any, out: Reading) -> None:
    """OpenAI's word for transparency; as a boolean it means to run as a task."""
    if value is None:
        return
    if isinstance(value, bool) or value in ("true", "false"):
        out.shape["as_task"] = value is True or value == "true"
    else:
        out.request["background"] = checks.one_of("transparent", "opaque", "auto")(value, "background")
