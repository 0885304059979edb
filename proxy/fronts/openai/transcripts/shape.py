"""What a client wants of a transcript's form, and how it wrote its request."""

from __future__ import annotations

from typing import ClassVar, Literal

from proxy.fronts.openai import spelling
from proxy.types.values import dataclass

Format = Literal["json", "text", "srt", "vtt", "verbose_json", "diarized_json"]


@dataclass(frozen=True, slots=True)
class TranscriptShape:
    """`wrote`: as in `ChatShape`."""

    words: ClassVar[spelling.Words] = spelling.OF_TRANSCRIPTS

    format: Format = "json"
    translated: bool = False
    wrote: tuple[str, ...] = ()
