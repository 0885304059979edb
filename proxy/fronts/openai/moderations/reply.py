"""Renders verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from secrets import token_hex

from proxy.fronts import faults
from proxy.fronts.base import Piece
from proxy.fronts.openai.moderations.shape import ModerationShape
from proxy.fronts.openai.unstreamed import Unstreamed
from proxy.types import Event, Verdict


class ModerationsRenderer(Unstreamed):
    def __init__(self, shape: ModerationShape) -> None:
        super().__init__()
        self._shape = shape

    def whole(self, events: Iterable[Event]) -> list[Piece]:
        verdicts = [event for event in events if isinstance(event, Verdict)]
        results = [{"flagged": one.flagged, **one.facts} for one in verdicts]
        identity = f"modr-{token_hex(12)}"
        return faults.dumped({"id": identity, "model": self._shape.model, "results": results})
