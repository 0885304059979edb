"""What a client of the embeddings endpoint wants of its reply's form, and how it wrote its request."""

from __future__ import annotations

from typing import ClassVar, Literal

from proxy.fronts.openai import spelling
from proxy.types.values import dataclass


@dataclass(frozen=True, slots=True)
class EmbeddingShape:
    """`model` is the name as the client wrote it. `wrote`: as in `ChatShape`."""

    words: ClassVar[spelling.Words] = spelling.OF_EMBEDDINGS

    model: str
    encoding: Literal["float", "base64"] = "float"
    wrote: tuple[str, ...] = ()
