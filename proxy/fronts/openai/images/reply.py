"""Renders events as replies of the Images API: one `ImagesResponse`, or a stream of `partial_image` and
`completed` events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from proxy.codec import jsonio
from proxy.fronts import addresses
from proxy.fronts.base import Parsed, TellCost
from proxy.fronts.no_picture import Words
from proxy.fronts.openai import error_reply, spelling
from proxy.fronts.openai.replies import reply_parts
from proxy.fronts.openai.replies.reply_parts import Link, Piece
from proxy.pictures import media_types, pixels
from proxy.types import Event, Extra, Image, PartialImage, Slice, Usage

if TYPE_CHECKING:
    from proxy.fronts.openai.images import bodies

Prefix = Literal["image_generation", "image_edit"]

_DATA_URL_KIND = ((b"x-proxy-url-kind", b"data"),)


@dataclass(frozen=True, slots=True)
class ImageReplyOptions:
    """What the client asked of the reply's shape.

    `link` gives a stored picture's address; without it a data URL is the last resort. `cost` tells at the end
    what the reply costs. `parsed` is the request, for errors to speak of as the client wrote it.
    """

    created: int
    response_format: str | None = None
    link: Link | None = None
    cost: TellCost | None = None
    safety_identifier: str | None = None
    parsed: Parsed[Any, Any] | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """A whole reply and the headers that belong to it."""

    body: list[Piece]
    headers: tuple[tuple[bytes, bytes], ...] = ()


class _Reading:
    """What the events said, picture by picture."""

    def __init__(self) -> None:
        self.images: list[Image] = []
        self.usage = Usage()
        self.revised: str | None = None
        self.words = Words()

    def add(self, event: Event) -> None:
        match event:
            case Image():
                self.images.append(event)
            case Usage():
                self.usage = event
            case Extra():
                revised = event.values.get("revised_prompt")
                self.revised = revised if isinstance(revised, str) and revised else self.revised
            case _:
                self.words.add(event)


def whole(events: Iterable[Event], reply: ImageReplyOptions) -> Rendered:
    """Render a complete reply. Raises `UpstreamError` when there is no picture in it."""
    reading = _Reading()
    for event in events:
        reading.add(event)
    if not reading.images:
        raise reading.words.error()
    data: list[bodies.Item] = []
    headers: tuple[tuple[bytes, bytes], ...] = ()
    for image in reading.images:
        item, is_data_url = _item(image, reply)
        if is_data_url:
            headers = _DATA_URL_KIND
        if (revised := image.revised_prompt or reading.revised) is not None:
            item["revised_prompt"] = revised
        data.append(item)
    body: bodies.Images = {"created": reply.created, "data": data}
    first = reading.images[0]
    facts = _facts(first.mime, first.data)
    if first.quality is not None:
        body["quality"] = first.quality
    if first.background is not None:
        body["background"] = first.background
    if "size" in facts:
        body["size"] = facts["size"]
    if "output_format" in facts:
        body["output_format"] = facts["output_format"]
    if reply.safety_identifier is not None:
        body["safety_identifier"] = reply.safety_identifier
    counted = usage(reading.usage, reply.cost)
    if reading.usage.prompt or reading.usage.completion or reading.usage.vendor or "cost" in counted:
        body["usage"] = counted
    return Rendered(jsonio.dumps(body), headers)


class ImageStreamRenderer:
    """One per streamed reply: a `completed` event for each picture, in the order they are done.

    Each waits for the next one: the last carries the usage, which comes at the end.
    """

    def __init__(self, reply: ImageReplyOptions, prefix: Prefix = "image_generation") -> None:
        self._reply = reply
        self._prefix = prefix
        self._reading = _Reading()
        self._sent = 0

    def feed(self, events: Iterable[Event]) -> list[Piece]:
        out: list[Piece] = []
        for event in events:
            if type(event) is PartialImage:
                out += self._partial(event)
            else:
                self._reading.add(event)
        for image in self._reading.images[self._sent : -1]:
            out += self._completed(image, usage(Usage()))
        return out

    def finish(self) -> list[Piece]:
        """End a complete reply. Raises `UpstreamError` when no picture came."""
        if not self._reading.images:
            raise self._reading.words.error()
        counted = usage(self._reading.usage, self._reply.cost)
        return self._completed(self._reading.images[-1], counted)

    def error(self, error: BaseException, request_id: str = "") -> bytes:
        """The last frame of a reply that broke."""
        error = spelling.spelled_error(error, self._reply.parsed)
        return b"event: error\n" + error_reply.event(error, request_id, error_reply.IMAGE_WORDS)

    def _completed(self, image: Image, counted: bodies.Usage) -> list[Piece]:
        self._sent += 1
        body = self._shown("completed", image)
        body["usage"] = counted
        if image.revised_prompt is not None:
            body["revised_prompt"] = image.revised_prompt
        # The event's type demands bytes; an address stands beside them.
        wanted = _url(image, self._reply) if self._reply.response_format == "url" else None
        if (address := wanted or (image.url if image.data is None else None)) is not None:
            body["url"] = address
        if self._reply.safety_identifier is not None:
            body["safety_identifier"] = self._reply.safety_identifier
        return _frame(body)

    def _partial(self, image: PartialImage) -> list[Piece]:
        body = self._shown("partial_image", image)
        body["partial_image_index"] = image.index
        return _frame(body)

    def _shown(self, kind: str, image: Image | PartialImage) -> bodies.Shown:
        data = image.data
        facts = _facts(image.mime, data)
        return {
            "type": f"{self._prefix}.{kind}",
            "b64_json": data if data is not None else "",
            "background": image.background or "auto",
            "created_at": self._reply.created,
            "output_format": facts.get("output_format", "png"),
            "quality": image.quality or "auto",
            "size": facts.get("size", "auto"),
        }


def _frame(body: bodies.Shown) -> list[Piece]:
    return [b"event: ", body["type"].encode(), b"\ndata: ", *jsonio.dumps(body), b"\n\n"]


def usage(counted: Usage, cost: TellCost | None = None) -> bodies.Usage:
    """Tokens in the Images API's words; what is not known to be of pictures is text. The vendor's own charge
    stands beside them."""
    images_in, images_out = counted.prompt_image or 0, counted.completion_image or 0
    found: bodies.Usage = {
        "input_tokens": counted.prompt,
        "output_tokens": counted.completion,
        "total_tokens": counted.prompt + counted.completion,
        "input_tokens_details": {
            "text_tokens": max(0, counted.prompt - images_in),
            "image_tokens": images_in,
        },
        "output_tokens_details": {
            "text_tokens": max(0, counted.completion - images_out),
            "image_tokens": images_out,
        },
    }
    if counted.vendor is not None:
        found["vendor"] = counted.vendor
    if cost is not None and (told := reply_parts.money(cost)) is not None:
        found["cost"], found["cost_currency"] = told
    return found


def _item(image: Image, reply: ImageReplyOptions) -> tuple[bodies.Item, bool]:
    """One entry of `data`, and whether its `url` is a data URL."""
    if reply.response_format != "url" and image.data is not None:
        return {"b64_json": image.data}, False
    address = _url(image, reply)
    if address is not None:
        return {"url": address}, False
    if image.data is None:
        return {"url": image.url}, False
    # Scripts fetch `url` with an HTTP library, which cannot read a data URL: give both.
    return {"b64_json": image.data, "url": addresses.of_picture(image)}, True


def _url(image: Image, reply: ImageReplyOptions) -> str | None:
    return reply.link(image) if reply.link is not None else None


def _facts(mime: str, data: Slice | None) -> bodies.Facts:
    """True size and format, from the picture itself and never from the request."""
    if data is None:
        return {}
    facts: bodies.Facts = {}
    if (size := pixels.of(data)) is not None:
        facts["size"] = f"{size[0]}x{size[1]}"
    mime = media_types.sniff(data.head()) or mime
    if (word := _FORMATS.get(mime)) is not None:
        facts["output_format"] = word
    return facts


_FORMATS: dict[str, str] = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/svg+xml": "svg",
}
