"""`/v1/moderations`: its request, its reply, and what is between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from secrets import token_hex
from typing import Any, ClassVar

from proxy.codec import jsonio
from proxy.fronts import checks
from proxy.fronts.base import Asked, Facts, Kind, Parsed, Piece
from proxy.fronts.openai import content, spelling
from proxy.fronts.openai.commons import Commons
from proxy.fronts.openai.reading import Reading
from proxy.fronts.openai.unstreamed import Unstreamed
from proxy.types import Event, Json, MediaPart, ModerationRequest, Slice, TextPart, Verdict
from proxy.types.values import dataclass

_USUAL = "omni-moderation-latest"  # what OpenAI takes where nothing is said (E-031)
_INPUTS_MAX = 1024
_PART_MEMBERS = frozenset({"type", "text", "image_url"})
_ADDRESS_MEMBERS = frozenset({"url"})

Items = tuple[tuple[TextPart | MediaPart, ...], ...]


@dataclass(frozen=True, slots=True)
class ModerationShape:
    """`model` is the name as the client wrote it. `wrote`: as in `ChatShape`."""

    words: ClassVar[spelling.Words] = spelling.OF_MODERATIONS

    model: str
    wrote: tuple[str, ...] = ()


class ModerationsRenderer(Unstreamed):
    def __init__(self, shape: ModerationShape) -> None:
        super().__init__()
        self._shape = shape

    def whole(self, events: Iterable[Event]) -> list[Piece]:
        verdicts = [event for event in events if isinstance(event, Verdict)]
        results = [{"flagged": one.flagged, **one.facts} for one in verdicts]
        identity = f"modr-{token_hex(12)}"
        return jsonio.dumps({"id": identity, "model": self._shape.model, "results": results})


class ModerationsFront(Commons):
    """A `Front`."""

    kind: Kind = "moderations"

    def model(self, body: Any, path: Mapping[str, str]) -> str:
        if isinstance(body, dict) and body.get("model") is None:
            return _USUAL
        return checks.model_of(body)

    def parse(self, body: Any, asked: Asked) -> Parsed[ModerationRequest, ModerationShape]:
        model = self.model(body, {})
        reading = Reading()
        request: Json = {"model": model, "items": _items(body.get("input"), reading)}
        for key, value in body.items():
            if key not in ("model", "input") and value is not None:
                reading.add_foreign(key, value)
        if reading.foreign:
            request["foreign"] = reading.foreign_fields()
        shape = ModerationShape(model, tuple(body))
        return Parsed(ModerationRequest(**request), shape, tuple(reading.notes.named.values()))

    def renderer(
        self, parsed: Parsed[ModerationRequest, ModerationShape], facts: Facts
    ) -> ModerationsRenderer:
        return ModerationsRenderer(parsed.shape)

    def spelled(self, attributes: Iterable[str], parsed: Parsed[Any, Any]) -> tuple[str, ...]:
        return spelling.spelled_all(tuple(attributes), parsed)


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
    return content.media("image", address["url"], f"{path}.image_url.url")
