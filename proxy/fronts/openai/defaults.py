"""A model's `defaults`, written in OpenAI's words: read once, laid under every parsed request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from proxy.fronts import checks
from proxy.fronts.base import Parsed
from proxy.fronts.openai.embeddings import request as embeddings
from proxy.fronts.openai.fields import parameters
from proxy.fronts.openai.fields.reading import Reading
from proxy.fronts.openai.images import fields as image_fields
from proxy.pictures import sizes
from proxy.types import (
    AudioOptions,
    ChatRequest,
    EmbedRequest,
    ImageOptions,
    ImageRequest,
    Json,
    Thinking,
)
from proxy.types.values import dataclass

Made = TypeVar("Made", bound=Parsed[Any, Any])
Options = TypeVar("Options", AudioOptions, Thinking)


@dataclass(frozen=True, slots=True)
class ModelDefaults:
    """Attributes that hold where a client said nothing, for each kind of request and its shape.

    `written` is what the file says.
    """

    written: Mapping[str, Any]
    requests: Mapping[type[Any], Mapping[str, Any]]
    shapes: Mapping[type[Any], Mapping[str, Any]]

    def under(self, parsed: Made) -> Made:
        """Lay the defaults under what the client said, attribute by attribute.

        One that this kind of request does not have asks for nothing here.
        """
        request = parsed.request
        changed = _unsaid(request, self.requests.get(type(request), _NOTHING))
        reshaped = _unsaid(parsed.shape, self.shapes.get(type(request), _NOTHING))
        if changed:
            beside = tuple(replace(one, **changed) for one in parsed.beside) if parsed.beside else ()
            parsed = replace(parsed, request=replace(request, **changed), beside=beside)
        return replace(parsed, shape=replace(parsed.shape, **reshaped)) if reshaped else parsed


def compiled(written: Mapping[str, Any]) -> ModelDefaults:
    """Raises `RequestError` that names the field for what no kind of request has, or a wrong value."""
    readings = {kind: read(dict(written)) for kind, read in _READERS.items()}
    for name in sorted(set.intersection(*(set(reading.foreign) for reading in readings.values()))):
        raise checks.invalid(name, "no request has this field.", "unknown_parameter")
    return ModelDefaults(
        written,
        {kind: reading.request for kind, reading in readings.items()},
        {kind: reading.shape for kind, reading in readings.items()},
    )


NONE = ModelDefaults({}, {}, {})
_NOTHING: Mapping[str, Any] = {}


_ABSENT = object()  # a wish for a form that the replies of this endpoint have not


def _of_chat(body: Json) -> Reading:
    reading = Reading()
    for group in parameters.read(body, reading):
        group(body, reading)
    return reading


def _of_images(body: Json) -> Reading:
    reading = Reading()
    image_fields.read(body, reading)
    return reading


def _of_embeddings(body: Json) -> Reading:
    reading = Reading()
    embeddings.read(body, reading)
    return reading


_READERS: Mapping[type[Any], Callable[[Json], Reading]] = {
    ChatRequest: _of_chat,
    ImageRequest: _of_images,
    EmbedRequest: _of_embeddings,
}


def _unsaid(holder: Any, defaults: Mapping[str, Any]) -> Json:
    """The attributes that the holder gets from the defaults."""
    found: Json = {}
    for name, value in defaults.items():
        said = getattr(holder, name, _ABSENT)
        if said is None:
            found[name] = value
        elif (merge := _MERGES.get(type(said))) is not None:
            found[name] = merge(said, value)
    return found


def _field_by_field(said: Options, under: Options) -> Options:
    missing = {one.name: getattr(under, one.name) for one in fields(said) if getattr(said, one.name) is None}
    return replace(said, **missing)


def _thinking(said: Thinking, under: Thinking) -> Thinking:
    """Effort and budget say the same thing: a client's budget leaves no room for the model's effort."""
    if said.effort is not None or said.budget is not None:
        under = replace(under, effort=None, budget=None)
    return _field_by_field(said, under)


def _image(said: ImageOptions, under: ImageOptions) -> ImageOptions:
    """A shape or a size that the client gave in one field is not taken back by the model's in another."""
    wish = sizes.parse(said, lenient=True)
    has_shape, has_scale = wish.ratio is not None, wish.scale is not None
    kept: Json = {}
    for name in ("size", "aspect_ratio", "image_size", "quality"):
        value = getattr(under, name)
        if value is None or getattr(said, name) is not None:
            continue
        own = sizes.parse(ImageOptions(**{name: value}), lenient=True)
        shape_is_free = own.ratio is None or not has_shape
        scale_is_free = own.scale is None or not has_scale
        if shape_is_free and scale_is_free:
            kept[name] = value
    return replace(said, **kept) if kept else said


_MERGES: Mapping[type[Any], Callable[[Any, Any], Any]] = {
    AudioOptions: _field_by_field,
    Thinking: _thinking,
    ImageOptions: _image,
}
