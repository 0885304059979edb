"""What a client of the Images API wants of its reply's form, and how it wrote its request."""

from __future__ import annotations

from typing import ClassVar, Literal

from proxy.fronts.openai import spelling
from proxy.types.values import dataclass

Prefix = Literal["image_generation", "image_edit"]


@dataclass(frozen=True, slots=True)
class ImageShape:
    """`model` is the name as the client wrote it. `prefix` begins the names of a stream's events.
    `safety_identifier` is shown in the reply. `wrote`: as in `ChatShape`.
    """

    words: ClassVar[spelling.Words] = spelling.OF_IMAGES

    model: str
    prefix: Prefix = "image_generation"
    response_format: str | None = None
    safety_identifier: str | None = None
    wrote: tuple[str, ...] = ()
