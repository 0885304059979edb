"""How many replies that no client waits for a process makes at once.

One that waits for a busy vendor needs no place, so that the limits of one vendor hold up nothing else. Of the
same model as many may wait as have a place; what is more of it stays where it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from proxy.fronts.base import Unhurried


class Room:
    """`made` are the models of what is being made, and how each of them waits; None where a client does."""

    def __init__(self, places: int, made: Iterable[tuple[str, Unhurried | None]]) -> None:
        waiting: Counter[str] = Counter()
        self.left = places
        for model, unhurried in made:
            if unhurried is not None and unhurried.waiting:
                waiting[model] += 1
            else:
                self.left -= 1
        self.held_up = frozenset(model for model, number in waiting.items() if number >= places)

    def takes(self, model: str) -> bool:
        return self.left > 0 and model not in self.held_up
