"""Reads the body of a Messages request into a `ChatRequest`, and refuses what is wrong with it."""

from __future__ import annotations

from typing import Any

from proxy.fronts import checks
from proxy.fronts.anthropic.messages import turns
from proxy.fronts.anthropic.messages.parameters import Reading
from proxy.fronts.anthropic.shape import MessagesShape
from proxy.fronts.base import Parsed
from proxy.fronts.history import IsStored
from proxy.types import ChatRequest


def parse(
    body: Any, *, answers: bool = True, is_stored: IsStored | None = None
) -> Parsed[ChatRequest, MessagesShape]:
    """Read a body as `jsonio.loads` gave it; it is not changed. Raises `RequestError`.

    `answers`: tokens are made, so that their number has to be limited. `is_stored` tells which addresses in
    the text of an assistant are pictures of ours.
    """
    if not isinstance(body, dict):
        raise checks.no_object(body)
    reading = Reading()
    reading.read(body)
    request = reading.request
    for name in ("model", "max_tokens") if answers else ("model",):
        if name not in request:
            raise checks.missing(name)
    request["messages"] = turns.parse(body, reading.notes, is_stored)
    request["foreign"] = reading.foreign_fields()
    shape = MessagesShape(
        request["model"],
        image_output=body.get("image_output"),
        thinks=reading.thinks,
        server_tools=reading.declared.server,
        wrote=(*body, *reading.wrote),
    )
    return Parsed(ChatRequest(**request), shape, tuple(reading.notes.named.values()))
