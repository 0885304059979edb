"""Reads the body of a chat completion request into a `ChatRequest`, and refuses what is wrong with it.

Tolerant in shape (what clients really send), strict in meaning: a wrong value is a 400 that names its path.
"""

from __future__ import annotations

from typing import Any

from proxy.errors import RequestError
from proxy.fronts import checks
from proxy.fronts.base import Parsed
from proxy.fronts.history import IsStored
from proxy.fronts.notes import Notes
from proxy.fronts.openai.chat.shape import ChatShape
from proxy.fronts.openai.fields import parameters
from proxy.fronts.openai.fields.reading import Reading
from proxy.fronts.openai.messages import messages
from proxy.types import ChatRequest


def parse(
    body: Any, *, history_images: int | None = 2, is_stored: IsStored | None = None
) -> Parsed[ChatRequest, ChatShape]:
    """`made` of what is `read`."""
    return made(read(body, history_images=history_images, is_stored=is_stored))


def read(body: Any, *, history_images: int | None = 2, is_stored: IsStored | None = None) -> Reading:
    """Read a body as `jsonio.loads` gave it; it is not changed. Raises `RequestError`.

    Of the pictures the assistant made earlier only the last `history_images` are kept (None: all).
    `is_stored` tells which addresses in markdown are pictures of ours, to be understood as such.
    """
    if not isinstance(body, dict):
        raise RequestError(
            f"The request body must be a JSON object, but it is {checks.kind(body)}.", code="invalid_type"
        )
    reading = Reading(notes=Notes(marks={}))
    if "extra_body" in body or "google" in body:
        body, native = parameters.unfold(body)
        if native:
            reading.request["native"] = checks.carried(native, "google")
    groups = parameters.read(body, reading)
    request, notes = reading.request, reading.notes
    if "model" not in request:
        raise checks.missing("model")
    request["messages"] = messages.parse(
        body.get("messages"), notes, history_images=history_images, is_stored=is_stored
    )
    for group in groups:
        group(body, reading)
    if request.get("top_logprobs") is not None and not request.get("logprobs"):
        raise checks.invalid("top_logprobs", "it needs 'logprobs' to be true.")
    reading.shape["model"] = request["model"]
    reading.shape["wrote"] = (*body, *reading.wrote)
    if reading.foreign or notes.marks:
        request["foreign"] = reading.foreign_fields()
    return reading


def made(reading: Reading, *, links: bool = False) -> Parsed[ChatRequest, ChatShape]:
    """`links`: see `Parsed`."""
    request, shape = ChatRequest(**reading.request), ChatShape(**reading.shape)
    return Parsed(request, shape, tuple(reading.notes.named.values()), links)
