"""Which `options` a provider, and a model that overlays them, may carry: a table by wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# An option's values: a tuple of words, or the type and its name.
Values = tuple[str, ...] | type

BY_WIRE: Mapping[str, Mapping[str, Values]] = {
    "gemini": {
        "kind": ("developer", "vertex"),
        "schema_mode": ("jsonschema", "openapi"),
        "mid_system": ("hoist", "inline"),
        "media_mode": ("inline", "passthrough"),
    },
    "openai": {
        "stream": ("both", "only", "never"),
        "unknown": ("forward", "drop"),
    },
}

# What a profile's own `options` mapping declares is added to these.
OF_PROFILES: Mapping[str, Values] = {"reply_type": ("json", "stream", "async")}


def wrong_value(values: Values, value: Any) -> str:
    """Why a value does not fit, "" if it does."""
    if isinstance(values, tuple):
        return "" if value in values else f"must be {' or '.join(values)}"
    fits = isinstance(value, values) and (values is bool or not isinstance(value, bool))
    return "" if fits else f"must be of type {values.__name__}"
