"""What is known of a model by its name, from `profiles/openai-models.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import yaml

from proxy.types import ChatRequest, Target

_FILE = "openai-models.yaml"


def makes_pictures(
    request: ChatRequest, target: Target, body: Mapping[str, Any] = MappingProxyType({})
) -> bool:
    """True where the answer is expected to hold pictures: they are sold by the piece, and addresses in its
    markdown are some. `body` is what a profile may have added to."""
    if "image" in (body.get("modalities") or request.modalities or target.options.get("modalities") or ()):
        return True
    said = target.options.get("makes_images")
    return _draws(target.model) if said is None else bool(said)


@lru_cache(maxsize=1024)
def _draws(model: str) -> bool:
    name = model.lower()
    return any(fnmatchcase(name, pattern) for pattern in _patterns())


@cache
def _patterns() -> tuple[str, ...]:
    text = (files("proxy.profiles") / _FILE).read_bytes()
    return tuple(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["draws"])
