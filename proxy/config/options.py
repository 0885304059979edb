"""Which `options` a provider, and a model that overlays them, may carry: a table by wire.

A provider with a profile has the options that its profile declares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What an option may be: one of a tuple of words or flags, or anything of a type.
Values = tuple[str | bool, ...] | type

_TYPES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a mapping",
    list: "a list",
}

BY_WIRE: Mapping[str, Mapping[str, Values]] = {
    "gemini": {
        "kind": ("developer", "vertex"),
        "schema_mode": ("jsonschema", "openapi"),
        "mid_system": ("hoist", "inline"),
        "media_mode": ("inline", "passthrough"),
        "aliases": dict,
        "capabilities": dict,
        "include_thoughts": bool,
        "resend_reasoning": bool,
        "name_prefix": bool,
        "prefill_text": str,
        "function_ids": bool,
        "max_tier": ("512", "1K", "2K", "4K"),
        "store": bool,
        "labels": bool,
        "voices": dict,
        "timestamps": bool,
    },
    "openai": {
        "stream": ("both", "only", "never"),
        "unknown": ("forward", "drop"),
        "media_mode": ("inline", "passthrough"),
        "makes_images": bool,
        "cache_control": bool,
        "think_tags": (False, True, "opened"),
        "max_tokens_field": ("max_tokens", "max_completion_tokens"),
        "n": ("many", "one"),
        "texts": ("apart", "joined"),
        "mid_system": ("inline", "hoist"),
        "modalities": list,
        "image_fields": ("image_config", "google", "root", "drop"),
        "assistant_images": ("user", "parts", "drop"),
        "history_reasoning": str,
        "extra_body": ("none", "google"),
    },
}


def wrong_value(values: Values, value: Any) -> str:
    """Why a value does not fit, "" if it does."""
    if isinstance(values, tuple):
        fits = any(value is known or (isinstance(known, str) and value == known) for known in values)
        return "" if fits else f"must be {' or '.join(str(known).lower() for known in values)}"
    wanted = (int, float) if values is float else values
    fits = isinstance(value, wanted) and (values in (bool, object) or not isinstance(value, bool))
    return "" if fits else f"must be {_TYPES.get(values, values.__name__)}"
