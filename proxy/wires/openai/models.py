"""What a model's name tells: whether an answer is expected to hold pictures, where it is asked for them, and
whether who serves it reads marks for the cache."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from proxy.checking.model_names import draws, marks_cache, only_draws
from proxy.types import ChatRequest, Target


def makes_pictures(
    request: ChatRequest, target: Target, body: Mapping[str, Any] = MappingProxyType({})
) -> bool:
    """True where the answer is expected to hold pictures: they are sold by the piece, and addresses in its
    markdown are some. `body` is what a profile may have added to."""
    if "image" in (body.get("modalities") or request.modalities or target.options.get("modalities") or ()):
        return True
    said = target.options.get("makes_images")
    return draws(target.model) if said is None else bool(said)


def reads_cache_control(target: Target) -> bool:
    """Whether the server reads `cache_control` on parts and tools; others refuse it."""
    said = target.options.get("cache_control")
    return marks_cache(target.model) if said is None else bool(said)


def place_of_drawing(model: str, options: Mapping[str, Any]) -> Literal["chat", "images"] | None:
    """Where a model is known to draw: in its answers, or at the Images API alone; None where it is not known,
    so that it is asked there for pictures and chats otherwise."""
    said = options.get("makes_images")
    if said or "image" in (options.get("modalities") or ()):
        return "chat"
    if only_draws(model):
        return "images"
    return "chat" if said is None and draws(model) else None
