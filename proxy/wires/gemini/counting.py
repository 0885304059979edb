"""`countTokens`: how long the prompt of a request is, in the model's own tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy.types import Call, ChatRequest, Json, Target
from proxy.wires.gemini import models
from proxy.wires.gemini import request as generate

# What Vertex counts; it has no `generateContentRequest`.
_ON_VERTEX = ("contents", "systemInstruction", "tools", "generationConfig")


def call(request: ChatRequest, target: Target, repairs: frozenset[str] = frozenset()) -> Call:
    """The request that would be sent, to be counted with its system text and its tools. Raises as `build`."""
    asked = generate.build(replace(request, stream=False), target, repairs)
    place = generate.place(models.find(target.model, target.options).id)
    body: Json
    if target.options.get("kind") == "vertex":
        body = {name: asked.body[name] for name in _ON_VERTEX if name in asked.body}
    else:
        body = {"generateContentRequest": {"model": place, **asked.body}}
    return Call(path=f"/{place}:countTokens", body=body, dropped=asked.dropped)


def tokens(payload: Any) -> int | None:
    total = payload.get("totalTokens") if isinstance(payload, dict) else None
    return total if type(total) is int and total >= 0 else None
