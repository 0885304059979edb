"""Whether an answer is expected to hold pictures."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from proxy.checking.model_names import draws
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
