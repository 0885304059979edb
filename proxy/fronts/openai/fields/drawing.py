"""The tool of Responses that draws."""

from __future__ import annotations

from typing import Any

from proxy.fronts import checks
from proxy.fronts.base import Aside
from proxy.fronts.openai.fields.reading import Reading
from proxy.fronts.openai.fields.response_tools import DRAWS, Tools
from proxy.types import ImageOptions, Json

_USUAL_PAINTER = "gpt-image-1"  # OpenAI's, of a tool that names none: files have an alias for it

_PICTURE = frozenset({"type", "size", "quality", "model"})
# What asks for no more than happens anyway.
_USUAL_WISHES: dict[str, tuple[Any, ...]] = {
    "action": ("auto", "generate"),
    "background": ("auto",),
    "input_fidelity": ("low",),
    "moderation": ("auto",),
    "output_compression": (100,),
    "output_format": ("png",),
    "partial_images": (0,),
}


def read(found: Tools, tool: Json, reading: Reading) -> Aside:
    """The wishes of the tool that draws: they are the request's where its model draws."""
    reading.shape["picture"] = tool
    unusual = {name: value for name, value in tool.items() if value not in _USUAL_WISHES.get(name, ())}
    reading.notes.unread(unusual, _PICTURE, found.draws_at)
    wishes = {name: tool[name] for name in ("size", "quality") if tool.get(name) not in (None, "auto")}
    image = None
    if wishes:
        image = ImageOptions(
            **{name: checks.string(value, f"tools[].{name}") for name, value in wishes.items()}
        )
        reading.request["image"] = image
    model = tool.get("model")
    name = None if model is None else checks.string(model, "tools[].model")
    where = f"{found.draws_at}.type={DRAWS}"
    return Aside(DRAWS, where, image, name, _USUAL_PAINTER, found.must_draw)
