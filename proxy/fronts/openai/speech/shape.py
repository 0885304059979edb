"""What a client of the speech endpoint wants of its reply's form, and how it wrote its request."""

from __future__ import annotations

from typing import ClassVar

from proxy.fronts.openai import spelling
from proxy.types.values import dataclass


@dataclass(frozen=True, slots=True)
class SpeechShape:
    """`events`: base64 in events instead of the file itself. `wrote`: as in `ChatShape`."""

    words: ClassVar[spelling.Words] = spelling.OF_SPEECH

    format: str
    events: bool = False
    wrote: tuple[str, ...] = ()
