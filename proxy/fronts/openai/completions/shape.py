"""What a client of the old completions wants of its reply's form, and how it wrote its request."""

from __future__ import annotations

from typing import ClassVar

from proxy.fronts.openai import spelling
from proxy.types.values import dataclass


@dataclass(frozen=True, slots=True)
class CompletionShape:
    """`model` is the name as the client wrote it. `echo` are the prompts that shall stand before their texts,
    one for each choice. `include_usage` and `wrote`: as in `ChatShape`."""

    words: ClassVar[spelling.Words] = spelling.OF_COMPLETIONS

    model: str
    echo: tuple[str, ...] = ()
    include_usage: bool = False
    wrote: tuple[str, ...] = ()
