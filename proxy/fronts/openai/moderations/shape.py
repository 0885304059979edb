"""How a client of the moderations endpoint wrote its request."""

from __future__ import annotations

from typing import ClassVar

from proxy.fronts.openai import spelling
from proxy.types.values import dataclass


@dataclass(frozen=True, slots=True)
class ModerationShape:
    """`model` is the name as the client wrote it. `wrote`: as in `ChatShape`."""

    words: ClassVar[spelling.Words] = spelling.OF_MODERATIONS

    model: str
    wrote: tuple[str, ...] = ()
