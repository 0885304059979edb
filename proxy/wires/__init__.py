"""The upstream dialects: one line each."""

from __future__ import annotations

from functools import cache

from proxy.types import Target, Wire


@cache
def _wire(name: str) -> Wire:
    """Imported when first used: a server of one dialect does not pay for the others."""
    if name == "gemini":
        from proxy.wires.gemini import GeminiWire

        return GeminiWire()
    if name == "openai":
        from proxy.wires.openai_chat import OpenAIChatWire

        return OpenAIChatWire()
    raise KeyError(name)


def wire_for(target: Target) -> Wire:
    return _wire(target.wire)
