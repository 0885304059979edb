"""What happened to one upstream's part of a request, for the reply's head and the access log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.errors import NotCarriedError
from proxy.fronts.base import Asked
from proxy.types import Usage


@dataclass(slots=True)
class Told:
    """One call's. `dropped` are attributes that its last attempt could not carry, `bridged` those among them
    that a bridge to another kind of request left behind. `ours` are attributes that we see to ourselves where
    the upstream cannot, of which the last attempt left us `left_to_us`. `size` is how a picture's size was
    understood. `lost` counts pictures that were ordered and did not come.
    """

    ours: frozenset[str] = frozenset()
    bridged: tuple[str, ...] = ()
    target: str | None = None
    attempts: int = 0
    dropped: tuple[str, ...] = ()
    left_to_us: frozenset[str] = frozenset()
    size: str = ""
    usage: Usage | None = None
    images: int = 0
    lost: int = 0

    def note(self, dropped: Sequence[str], size: str, asked: Asked) -> None:
        """Remember what the upstream is not told. In strict mode that is a 400, before anything is sent."""
        self.size = size
        dropped = (*self.bridged, *dropped)
        if not dropped:
            self.dropped, self.left_to_us = (), frozenset()
            return
        self.left_to_us = self.ours.intersection(dropped)
        self.dropped = tuple(name for name in dict.fromkeys(dropped) if name not in self.ours)
        if self.dropped and asked.strict:
            raise NotCarriedError(self.dropped)


def merged(tolds: Sequence[Told]) -> Told:
    """Of calls side by side: what any of them dropped, all that they made."""
    if len(tolds) == 1:
        return tolds[0]
    usages = [told.usage for told in tolds if told.usage is not None]
    return Told(
        target=next((told.target for told in tolds if told.target is not None), None),
        attempts=sum(told.attempts for told in tolds),
        dropped=tuple(dict.fromkeys(name for told in tolds for name in told.dropped)),
        size=next((told.size for told in tolds if told.size), ""),
        usage=Usage.sum(usages) if usages else None,
        images=sum(told.images for told in tolds),
        lost=sum(told.lost for told in tolds),
    )
