"""JSON that could only be asked for in words: models put a fence around it, which no parser reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from proxy.types import Event, Text

_FENCE = "```"


@dataclass(slots=True)
class _Answer:
    """The text of a choice, while it may be all in one fence."""

    pieces: list[str] = field(default_factory=list)
    begins: bool | None = None  # with a fence; None: too short to tell


class Fences:
    """Holds an answer that begins with a fence back to its end; all others pass."""

    def __init__(self) -> None:
        self._answers: dict[int, _Answer] = {}

    def held_back(self, events: Iterable[Event]) -> list[Event]:
        """The events but for the text that is not given yet."""
        out: list[Event] = []
        for event in events:
            if not isinstance(event, Text) or not event.text:
                out.append(event)
                continue
            answer = self._answers.setdefault(event.choice, _Answer())
            if answer.begins is False:
                out.append(event)
                continue
            answer.pieces.append(event.text)
            if answer.begins is None:
                answer.begins = _begins("".join(answer.pieces))
            if answer.begins is False:
                out.append(replace(event, text="".join(answer.pieces)))
                answer.pieces = []
            elif event.signature is not None:
                out.append(replace(event, text=""))
        return out

    def released(self) -> list[Event]:
        """What was held back, out of its fence where that is around all of it."""
        out: list[Event] = []
        for choice, answer in self._answers.items():
            if answer.pieces:
                out.append(Text(_unfenced("".join(answer.pieces)), choice))
                answer.pieces = []
        return out


def _begins(text: str) -> bool | None:
    start = text.lstrip()
    if start.startswith(_FENCE):
        return True
    return None if _FENCE.startswith(start) else False


def _unfenced(text: str) -> str:
    """What is in the fence, or the text as it is where that is not around all of it."""
    head, _, rest = text.strip().partition("\n")
    word, inside = head.removeprefix(_FENCE).strip(), rest.removesuffix(_FENCE)
    if inside == rest or not (word.isalpha() or not word) or f"\n{_FENCE}" in f"\n{inside}":
        return text
    return inside.strip()
