"""Reads the body of a request to judge texts and pictures."""

from __future__ import annotations

from typing import Any

from proxy.fronts import addresses, checks
from proxy.fronts.base import Parsed
from proxy.fronts.openai.fields.reading import Reading
from proxy.fronts.openai.moderations.shape import ModerationShape
from proxy.types import Json, MediaPart, ModerationRequest, Slice, TextPart

_INPUTS_MAX = 1024
_PART_MEMBERS = frozenset({"type", "text", "image_url"})
_ADDRESS_MEMBERS = frozenset({"url"})

Items = tuple[tuple[TextPart | MediaPart, ...], ...]


def parse(body: Any, model: str) -> Parsed[ModerationRequest, ModerationShape]:
    """Read a body as `jsonio.loads` gave it. Raises `RequestError`."""
    reading = Reading()
    request: Json = {"model": model, "items": _items(body.get("input"), reading)}
    for key, value in body.items():
        if key not in ("model", "input") and value is not None:
            reading.add_foreign(key, value)
    if reading.foreign:
        request["foreign"] = reading.foreign_fields()
    shape = ModerationShape(model, tuple(body))
    return Parsed(ModerationRequest(**request), shape, tuple(reading.notes.named.values()))


def _items(value: Any, reading: Reading) -> Items:
    """A text, a list of texts, or a list of parts that are judged together (E-031)."""
    if value is None:
        raise checks.missing("input")
    if isinstance(value, str | Slice):
        return ((TextPart(checks.required_string(value, "input")),),)
    entries = checks.array(value, "input")
    if not entries:
        raise checks.invalid("input", "empty array. Expected at least one text.", "empty_array")
    if len(entries) > _INPUTS_MAX:
        sentence = f"array too long. Expected at most {_INPUTS_MAX} entries, but got {len(entries)} instead."
        raise checks.invalid("input", sentence, "array_above_max_length")
    if isinstance(entries[0], dict):
        return (tuple(_part(entry, f"input[{index}]", reading) for index, entry in enumerate(entries)),)
    texts = (checks.required_string(entry, f"input[{index}]") for index, entry in enumerate(entries))
    return tuple((TextPart(text),) for text in texts)


def _part(value: Any, path: str, reading: Reading) -> TextPart | MediaPart:
    holder = checks.mapping(value, path)
    reading.notes.unread(holder, _PART_MEMBERS, path)
    if checks.one_of("text", "image_url")(holder.get("type"), f"{path}.type") == "text":
        return TextPart(checks.required_string(holder.get("text"), f"{path}.text"))
    address = checks.mapping(holder.get("image_url"), f"{path}.image_url")
    reading.notes.unread(address, _ADDRESS_MEMBERS, f"{path}.image_url")
    if address.get("url") is None:
        raise checks.missing(f"{path}.image_url.url")
    return addresses.media("image", address["url"], f"{path}.image_url.url")
