"""Which `options` a provider, and a model that overlays them, may carry: a table by wire.

A provider with a profile has the options that its profile declares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# An option's values: a tuple of words, or a type.
Values = tuple[str, ...] | type

_TYPES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "a mapping"}

BY_WIRE: Mapping[str, Mapping[str, Values]] = {
    "gemini": {
        "kind": ("developer", "vertex"),
        "schema_mode": ("jsonschema", "openapi"),
        "mid_system": ("hoist", "inline"),
        "media_mode": ("inline", "passthrough"),
        "aliases": dict,
        "capabilities": dict,
    },
    "openai": {
        "stream": ("both", "only", "never"),
        "unknown": ("forward", "drop"),
    },
}


def wrong_value(values: Values, value: Any) -> str:
    """Why a value does not fit, "" if it does."""
    if isinstance(values, tuple):
        return "" if value in values else f"must be {' or '.join(values)}"
    fits = isinstance(value, values) and (values in (bool, object) or not isinstance(value, bool))
    return "" if fits else f"must be {_TYPES.get(values, values.__name__)}"
