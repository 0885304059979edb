"""`/v1/images/generations`, `/edits` and `/variations`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from proxy.errors import RequestError
from proxy.fronts import checks
from proxy.fronts.base import Asked, Facts, Form, Header, Kind, Parsed, Piece
from proxy.fronts.openai import error_reply
from proxy.fronts.openai.commons import Commons
from proxy.fronts.openai.images import reply, request
from proxy.fronts.openai.images.reply import ImageReplyOptions, ImageStreamRenderer
from proxy.fronts.openai.images.request import Operation
from proxy.fronts.openai.images.shape import ImageShape
from proxy.types import Event, ImageRequest


class ImageRenderer(ImageStreamRenderer):
    """The same events, whole or as a `completed` event for each picture."""

    ping = b": keep-alive\n\n"
    headers: tuple[Header, ...] = ()

    def whole(self, events: Iterable[Event]) -> list[Piece]:
        rendered = reply.whole(events, self._reply)
        self.headers = rendered.headers
        return rendered.body


class ImagesFront(Commons):
    """A `Front`, one for each operation."""

    words = error_reply.IMAGE_WORDS
    kind: Kind = "pictures"

    def __init__(self, operation: Operation) -> None:
        self._operation: Operation = operation

    def model(self, body: Any, path: Mapping[str, str]) -> str:
        """OpenAI does without one; here the file says who answers then."""
        fields = dict(body.fields) if isinstance(body, Form) else body
        if isinstance(fields, dict) and fields.get("model") is None:
            return ""
        return checks.model_of(fields)

    def parse(self, body: Any, asked: Asked) -> Parsed[ImageRequest, ImageShape]:
        if isinstance(body, Form):
            return request.parse_form(body.fields, body.files, self._operation)
        return request.parse(body, self._operation)

    def renderer(self, parsed: Parsed[ImageRequest, ImageShape], facts: Facts) -> ImageRenderer:
        shape = parsed.shape
        options = ImageReplyOptions(
            created=facts.created,
            response_format=shape.response_format,
            link=facts.link,
            cost=facts.cost,
            safety_identifier=shape.safety_identifier,
            parsed=parsed,
        )
        return ImageRenderer(options, shape.prefix)

    def refusal(
        self, error: BaseException, request_id: str, parsed: Parsed[Any, Any] | None
    ) -> tuple[int, list[Header], bytes]:
        """I-009: to vary pictures is an endpoint that a model does not have which takes none."""
        if self._operation == "variation" and getattr(error, "code", None) == "unsupported_image_input":
            assert isinstance(error, RequestError)
            error = error.changed(status=404, code="unsupported_endpoint", param="model")
        return super().refusal(error, request_id, parsed)
