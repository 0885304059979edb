"""Reads the bodies of the three Images endpoints, JSON or multipart, into one `ImageRequest`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Literal

import orjson

from proxy.errors import RequestError
from proxy.fronts import addresses, checks
from proxy.fronts.base import Parsed
from proxy.fronts.openai.fields import parameters
from proxy.fronts.openai.fields.reading import Reading
from proxy.fronts.openai.images import fields
from proxy.fronts.openai.images.fields import REFERENCES
from proxy.fronts.openai.images.shape import ImageShape
from proxy.types import FormFile, ImageRequest, Json, MediaPart, Slice

Operation = Literal["generation", "edit", "variation"]

REFERENCES_MAX = 16

# `/v1/images/variations` has no prompt; the models that stand in for it need one.
VARIATION_PROMPT = (
    "Make a variation of this picture: keep its subject, composition and style, and change the details."
)


# In a form everything is a string; these mean something else.
_BOOLEANS = frozenset({"stream", "watermark"})
_INTEGERS = frozenset(
    {"n", "seed", "output_compression", "partial_images", "frame_count", "frame_duration_ms"}
)
_FORM_FILES = re.compile(r"(image|images|mask|markup)(?:\[\d*\])?\Z")
_NESTED = re.compile(r"(\w+)((?:\[\w+\])+)\Z")


def parse(body: Any, operation: Operation = "generation") -> Parsed[ImageRequest, ImageShape]:
    """Read a JSON body as `jsonio.loads` gave it. Raises `RequestError`.

    A generation with pictures among its fields is an edit in all but name.
    """
    if not isinstance(body, dict):
        raise checks.no_object(body)
    return _request(body, (), None, operation, Reading())


def parse_form(
    fields: Iterable[tuple[str, str]], files: Iterable[FormFile], operation: Operation = "edit"
) -> Parsed[ImageRequest, ImageShape]:
    """Read a multipart form. Pictures stand under `image`, `image[]`, `image[0]`, `images` or `images[]`."""
    references: list[MediaPart] = []
    mask: MediaPart | None = None
    reading = Reading()
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
            reading.notes.add("markup")
        else:
            references.append(part)
    return _request(_unfolded(fields), references, mask, operation, reading)


def _request(
    body: Json,
    files: Iterable[MediaPart],
    mask: MediaPart | None,
    operation: Operation,
    reading: Reading,
) -> Parsed[ImageRequest, ImageShape]:
    body, native = parameters.unfold(body)
    if native:
        reading.add_foreign("google", native)
    fields.read(body, reading)
    request = reading.request
    request.setdefault("model", "")
    if "prompt" not in request:
        if operation != "variation":
            raise checks.missing("prompt")
        request["prompt"] = VARIATION_PROMPT
    request["references"] = _references(body, [*files], operation, reading)
    request["mask"] = mask if body.get("mask") is None else _picture(body["mask"], "mask", reading)
    callback_url = reading.shape.pop("callback_url", None)
    as_task = reading.shape.pop("as_task", False) or callback_url is not None
    shape = ImageShape(
        request["model"],
        "image_edit" if operation == "edit" else "image_generation",
        safety_identifier=request.get("user"),
        wrote=(*body, *reading.wrote),
        **reading.shape,
    )
    if reading.foreign:
        request["foreign"] = reading.foreign_fields()
    return Parsed(
        ImageRequest(**request),
        shape,
        tuple(reading.notes.named.values()),
        links=shape.response_format == "url",
        as_task=as_task,
        callback_url=callback_url,
    )


def _references(
    body: Json, found: list[MediaPart], operation: Operation, reading: Reading
) -> tuple[MediaPart, ...]:
    for field in REFERENCES:
        value = body.get(field)
        if value is None:
            continue
        if isinstance(value, list):
            found += (_picture(item, f"{field}[{index}]", reading) for index, item in enumerate(value))
        else:
            found.append(_picture(value, field, reading))
    if not found and operation != "generation":
        raise checks.missing("image")
    if len(found) > REFERENCES_MAX:
        raise RequestError(
            f"Invalid 'image': at most {REFERENCES_MAX} pictures are taken, not {len(found)}.",
            param="image",
            code="too_many_images",
        )
    return tuple(found)


_PICTURE_MEMBERS = frozenset({"type", "image_url", "url", "b64_json", "file_id"})


def _picture(value: Any, path: str, reading: Reading) -> MediaPart:
    """A string, or OpenAI's object with exactly one of `image_url` and `file_id`."""
    if isinstance(value, str | Slice):
        return addresses.media("image", value, path)
    holder = checks.mapping(value, path)
    reading.notes.unread(holder, _PICTURE_MEMBERS, path)
    if holder.get("file_id") is not None:
        where = f"{path}.file_id"
        return MediaPart("image", file_id=checks.required_string(holder["file_id"], where), where=where)
    for key in ("image_url", "url", "b64_json"):
        if (address := holder.get(key)) is not None:
            where = f"{path}.{key}"
            if isinstance(address, dict):
                address, where = address.get("url"), f"{where}.url"
            return addresses.media("image", address, where)
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
        if name in REFERENCES:
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
