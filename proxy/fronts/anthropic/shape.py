"""What a client of Messages wants of its reply's form, and how it wrote its request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from proxy.fronts.image_modes import Mode
from proxy.types.values import dataclass


@dataclass(frozen=True, slots=True)
class MessagesShape:
    """`model` is the name as the client wrote it, without a mode behind it; `image_mode` tells how pictures
    are shown, `image_output` is the word of the body, unchecked. `thinks`: thoughts come in blocks of their
    own, which carry signatures. `server_tools` are places in the client's list, by the kind of tool. `wrote`
    are the body's fields and such members as `spelling` chooses by."""

    model: str
    image_mode: Mode = "link"
    image_output: str | None = None
    thinks: bool = False
    server_tools: Mapping[str, int] = field(default_factory=dict)
    wrote: tuple[str, ...] = ()
