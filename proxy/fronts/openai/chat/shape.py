"""What a chat client wants of its reply's form, and how it wrote its request."""

from __future__ import annotations

from typing import ClassVar

from proxy.fronts.image_modes import Mode
from proxy.fronts.openai import spelling
from proxy.types.values import dataclass


@dataclass(frozen=True, slots=True)
class ChatShape:
    """`model` is the name as the client wrote it, without a mode behind it; `image_mode` tells how pictures
    are shown. `refusal_in_text`: a refusal stands in the content too. `include_usage`: a stream shows its
    usage at the end. `legacy_functions`: calls come back as `function_call`. `image_output` is the word of
    the body, unchecked. `audio_format` is the file format it wants sound in. `wrote` are the body's fields
    (and such members as `spelling` chooses by), so that an error can name the one that the client really
    sent.
    """

    words: ClassVar[spelling.Words] = spelling.OF_CHAT

    model: str
    image_mode: Mode = "images"
    refusal_in_text: bool = False
    include_usage: bool = False
    legacy_functions: bool = False
    image_output: str | None = None
    audio_format: str | None = None
    wrote: tuple[str, ...] = ()
