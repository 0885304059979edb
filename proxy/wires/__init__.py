"""The upstream dialects: one line each, imported when a provider speaks them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from proxy.types import Wire

if TYPE_CHECKING:
    from proxy.wires.declared import DeclaredWire, Profile

Lookup = Callable[[str], dict[str, Any] | None]


_IMAGES = "openai-images"  # the profile of the Images API of whoever speaks OpenAI


class Spoken(NamedTuple):
    """What is spoken at a target: a wire that chats, or one that takes jobs. `pictures` makes the wire that a
    target which chats is asked in for pictures, where it has one of its own."""

    chat: Wire | None = None
    jobs: DeclaredWire | None = None
    pictures: Callable[[], DeclaredWire] | None = None

    def for_model(self, model: str, options: Mapping[str, Any]) -> Spoken:
        """Narrowed to where this model is known to draw: only in the chat, or only at the Images API."""
        if self.pictures is None:
            return self
        from proxy.wires.openai.models import place_of_drawing

        place = place_of_drawing(model, options)
        if place == "chat":
            return Spoken(self.chat)
        return Spoken(jobs=self.pictures()) if place == "images" else self


@cache
def chat_wire(name: str) -> Wire:
    if name == "gemini":
        from proxy.wires.gemini import GeminiWire

        return GeminiWire()
    if name == "openai":
        from proxy.wires.openai import OpenAIChatWire

        return OpenAIChatWire()
    raise KeyError(name)


def openai_wire(surface: str | None, lookup: Lookup, base_url: str) -> Spoken:
    """What a server that speaks OpenAI is asked in: `image` is its Images API; without a surface it is the
    chat, and for pictures the Images API. Raises `KeyError` for another surface."""

    @cache
    def pictures() -> DeclaredWire:
        jobs = surface_wire(profile(_IMAGES, lookup), surface, base_url).jobs
        assert jobs is not None
        return jobs

    return Spoken(chat_wire("openai"), pictures=pictures) if surface is None else Spoken(jobs=pictures())


def profile(name: str, lookup: Lookup) -> Profile:
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
