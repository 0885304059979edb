"""The upstream dialects: one line each, imported when a provider speaks them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from proxy.types import Wire

if TYPE_CHECKING:
    from proxy.wires.declared import DeclaredWire, Profile


class Spoken(NamedTuple):
    """What is spoken at a target: a wire that chats, or one that takes jobs."""

    chat: Wire | None = None
    jobs: DeclaredWire | None = None


@cache
def chat_wire(name: str) -> Wire:
    if name == "gemini":
        from proxy.wires.gemini import GeminiWire

        return GeminiWire()
    if name == "openai":
        from proxy.wires.openai import OpenAIChatWire

        return OpenAIChatWire()
    raise KeyError(name)


def profile(name: str, lookup: Callable[[str], dict[str, Any] | None]) -> Profile:
    """Compile a profile; `lookup` gives the data of one by name."""
    from proxy.wires.declared import load_profile

    return load_profile(name, lookup(name) or {}, lookup)


def surface_wire(found: Profile, surface: str | None, base_url: str) -> Spoken:
    """The wire of one surface (the only one, if `surface` is None). Raises `KeyError` for an unknown one."""
    from proxy.wires.declared import ChatDelegate, ChatSurface, DeclaredWire

    chosen = found.surface(surface)
    if isinstance(chosen, ChatSurface):
        return Spoken(ChatDelegate(chat_wire(chosen.speaks), chosen))
    return Spoken(jobs=DeclaredWire(chosen, base_url))
