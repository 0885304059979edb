"""How requests to vendors are shown to people: without secrets, and with base64 named instead of printed."""

from __future__ import annotations

from typing import Any

from proxy.types import Slice


def url(address: str, query: str) -> str:
    return f"{address}{'&' if '?' in address else '?'}{query}" if query else address


def elided(value: Any) -> Any:
    if isinstance(value, Slice):
        return f"<base64, {len(value)} characters>"
    if isinstance(value, dict):
        return {key: elided(item) for key, item in value.items()}
    if isinstance(value, list):
        return [elided(item) for item in value]
    return value
