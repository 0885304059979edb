"""Reads the bodies of the three Images endpoints, JSON or multipart, into one `ImageRequest`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Literal

import orjson

from proxy.errors import RequestError
from proxy.fronts.openai import checks, content
from proxy.fronts.openai.chat import parameters
from proxy.fronts.openai.chat.parameters import Read
from proxy.types import FormFile, ImageOptions, ImageRequest, Json, MediaPart, Slice

Operation = Literal["generation", "edit", "variation"]

PROMPT_MAX = 32_000
REFERENCES_MAX = 16

# `/v1/images/variations` has no prompt; the models that stand in for it need one.
VARIATION_PROMPT = (
    "Make a variation of this picture: keep its subject, composition and style, and change the details."
)


def _prompt(value: Any, path: str) -> str:
    text = checks.required_string(value, path)
    if len(text) > PROMPT_MAX:
        sentence = f"string too long. Expected at most {PROMPT_MAX} characters, but got {len(text)} instead."
        raise checks.invalid(path, sentence, "string_above_max_length")
    return text


def _output_format(value: Any, path: str) -> str:
    word = checks.one_of("png", "webp", "jpeg", "jpg", "gif", "svg")(value, path)
    return "jpeg" if word == "jpg" else word


_SIMPLE: dict[str, Read] = {
    "model": ("model", checks.required_string),
    "prompt": ("prompt", _prompt),
    "n": ("n", checks.integer(1, 10)),
    "seed": ("seed", checks.integer()),
    "negative_prompt": ("negative_prompt", checks.string),
    "output_format": ("output_format", _output_format),
    "output_compression": ("output_compression", checks.integer(0, 100)),
    "moderation": ("moderation", checks.one_of("auto", "low")),
    "style": ("style", checks.string),
    "response_format": ("response_format", checks.one_of("b64_json", "url")),
    "stream": ("stream", checks.boolean),
    "partial_images": ("partial_images", checks.integer(0, 3)),
    "callback_url": ("callback_url", checks.required_string),
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
_REFERENCES = ("image", "images", "image_urls", "image_url")
_ELSEWHERE = frozenset(
    {*_REFERENCES, *parameters.IMAGE_FIELDS, "mask", "background", "user", "safety_identifier"}
)

# In a form everything is a string; these mean something else.
_BOOLEANS = frozenset({"stream", "watermark"})
_INTEGERS = frozenset(
    {"n", "seed", "output_compression", "partial_images", "frame_count", "frame_duration_ms"}
)
_FORM_FILES = re.compile(r"(image|images|mask|markup)(?:\[\d*\])?\Z")
_NESTED = re.compile(r"(\w+)((?:\[\w+\])+)\Z")


def parse(
    body: Any, operation: Operation = "generation", *, default_model: str | None = None
) -> ImageRequest:
    """Read a JSON body as `jsonio.loads` gave it. Raises `RequestError`.

    A generation with pictures among its fields is an edit in all but name.
    """
    if not isinstance(body, dict):
        raise RequestError(
            f"The request body must be a JSON object, but it is {checks.kind(body)}.", code="invalid_type"
        )
    return _request(body, (), None, operation, default_model)


def parse_form(
    fields: Iterable[tuple[str, str]],
    files: Iterable[FormFile],
    operation: Operation = "edit",
    *,
    default_model: str | None = None,
) -> ImageRequest:
    """Read a multipart form. Pictures stand under `image`, `image[]`, `image[0]`, `images` or `images[]`."""
    references: list[MediaPart] = []
    mask: MediaPart | None = None
    dropped: tuple[str, ...] = ()
    for file in files:
        found = _FORM_FILES.match(file.field)
        if found is None:
            raise checks.invalid(file.field, "a file is not expected here.", "unsupported_parameter")
        if not file.data:
            raise checks.invalid(file.field, "the file is empty.", "empty_file")
        part = MediaPart(
            "image", file.data, mime=file.mime or None, filename=file.filename or None, where=file.field
        )
        if found[1] == "mask":
            mask = part
        elif found[1] == "markup":
            dropped = ("markup",)
        else:
            references.append(part)
    return _request(_unfolded(fields), references, mask, operation, default_model, dropped)


def _request(
    body: Json,
    files: Iterable[MediaPart],
    mask: MediaPart | None,
    operation: Operation,
    default_model: str | None,
    dropped: tuple[str, ...] = (),
) -> ImageRequest:
    body, native = parameters.unfold(body)
    out: Json = {"dropped": dropped, "documented": {}, "unknown": {"google": native} if native else {}}
    for key, value in body.items():
        if value is None or key in _ELSEWHERE:
            continue
        if (simple := _SIMPLE.get(key)) is not None:
            out[simple[0]] = simple[1](value, key)
        elif (check := DOCUMENTED.get(key)) is not None:
            out["documented"][key] = check(value, key)
        else:
            out["unknown"][key] = value
    if "model" not in out:
        if default_model is None:
            raise checks.missing("model")
        out["model"] = default_model
    if "prompt" not in out:
        if operation != "variation":
            raise checks.missing("prompt")
        out["prompt"] = VARIATION_PROMPT
    _background(body.get("background"), out)
    for field in ("user", "safety_identifier"):  # the newer name wins
        if body.get(field) is not None:
            out["user"] = checks.string(body[field], field)
    out["image"] = parameters.image_options(body) or ImageOptions()
    out["references"] = _references(body, [*files], operation)
    out["mask"] = mask if body.get("mask") is None else _picture(body["mask"], "mask")
    return ImageRequest(**out)


def _background(value: Any, out: Json) -> None:
    """OpenAI's word for transparency; as a boolean it means to run as a task."""
    if value is None:
        return
    if isinstance(value, bool) or value in ("true", "false"):
        out["run_in_background"] = value is True or value == "true"
    else:
        out["background"] = checks.one_of("transparent", "opaque", "auto")(value, "background")


def _references(body: Json, found: list[MediaPart], operation: Operation) -> tuple[MediaPart, ...]:
    for field in _REFERENCES:
        value = body.get(field)
        if value is None:
            continue
        if isinstance(value, list):
            found += (_picture(item, f"{field}[{index}]") for index, item in enumerate(value))
        else:
            found.append(_picture(value, field))
    if not found and operation != "generation":
        raise checks.missing("image")
    if len(found) > REFERENCES_MAX:
        raise RequestError(
            f"Invalid 'image': at most {REFERENCES_MAX} pictures are taken, not {len(found)}.",
            param="image",
            code="too_many_images",
        )
    return tuple(found)


def _picture(value: Any, path: str) -> MediaPart:
    """A string, or OpenAI's object with exactly one of `image_url` and `file_id`."""
    if isinstance(value, str | Slice):
        return content.media("image", value, path)
    holder = checks.mapping(value, path)
    if holder.get("file_id") is not None:
        where = f"{path}.file_id"
        raise checks.invalid(where, "uploaded files are not known here.", "unsupported_parameter")
    for key in ("image_url", "url", "b64_json"):
        if (address := holder.get(key)) is not None:
            where = f"{path}.{key}"
            if isinstance(address, dict):
                address, where = address.get("url"), f"{where}.url"
            return content.media("image", address, where)
    raise checks.missing(f"{path}.image_url")


def _unfolded(fields: Iterable[tuple[str, str]]) -> Json:
    """The text fields of a form as the JSON they stand for; `svg[model]` nests, repeated names list."""
    body: Json = {}
    for name, text in fields:
        nested = _NESTED.match(name)
        if nested is not None and nested[1] in ("svg", "image_config", "extra_body", "google"):
            _nest(body, [nested[1], *re.findall(r"\w+", nested[2])], text)
            continue
        name = name.partition("[")[0] if name.endswith("]") else name
        if name in _REFERENCES:
            body.setdefault(name, []).append(text)
        elif text != "":
            body[name] = _FORM.get(name, _as_it_is)(text)
    return body


def _nest(body: Json, path: list[str], text: str) -> None:
    for key in path[:-1]:
        inner = body.setdefault(key, {})
        body = inner if isinstance(inner, dict) else {}
    body[path[-1]] = text


def _as_it_is(text: str) -> Any:
    return text


def _boolean(text: str) -> Any:
    return {"true": True, "1": True, "false": False, "0": False}.get(text.strip().lower(), text)


def _integer(text: str) -> Any:
    stripped = text.strip()
    return int(stripped) if re.fullmatch(r"[+-]?\d{1,18}", stripped, re.ASCII) else text


def _json(text: str) -> Any:
    """A field that is an object in JSON; some clients write it as JSON text."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


_FORM: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(_BOOLEANS, _boolean),
    **dict.fromkeys(_INTEGERS, _integer),
    **dict.fromkeys(("svg", "image_config", "extra_body", "google"), _json),
}
