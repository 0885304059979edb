"""What is known of a model by its name alone, from `profiles/openai-models.yaml`."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib.resources import files

import yaml

_FILE = "openai-models.yaml"


@lru_cache(maxsize=1024)
def draws(model: str) -> bool:
    """Whether a model of this name makes pictures in a chat."""
    return _is_one(model, "draws")


def only_draws(model: str) -> bool:
    """Whether a model of this name is asked at the Images API and does not chat."""
    return _is_one(model, "draws_only")


@lru_cache(maxsize=1024)
def marks_cache(model: str) -> bool:
    """Whether who serves a model of this name in OpenAI's dialect reads `cache_control` in it."""
    return _is_one(model, "marks_cache")


def only_chats(model: str) -> bool:
    """Whether a model of this name is of a known family and makes no pictures anywhere."""
    return _is_one(model, "chats") and not _is_one(model, "draws_elsewhere") and not draws(model)


def _is_one(model: str, kind: str) -> bool:
    name = model.lower()
    return any(fnmatchcase(name, pattern) for pattern in _table()[kind])


@cache
def _table() -> dict[str, list[str]]:
    text = (files("proxy.profiles") / _FILE).read_bytes()
    table: dict[str, list[str]] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return table
