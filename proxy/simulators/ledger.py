"""What simulated vendors book: money per task, and how often each task was submitted, polled and fetched.

A task is closed once, by settling or by a refund; looking at it again changes nothing.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

KEPT_TASKS = 2000
_KEPT_CHARS = 4096
# A client may shorten an interval by a tenth to spread its polls.
_JITTER = 0.9


@dataclass(slots=True)
class Entry:
    """`kind` is `reserve`, `settle` or `refund`."""

    kind: str
    amount: Decimal


@dataclass(slots=True)
class Task:
    """`polls_ms`: when it was asked for, after the submission. `gaps_ms`: between polls.
    `prompt` is kept as its digest when it is long."""

    vendor: str
    id: str
    prompt: str
    unit: str
    entries: list[Entry] = field(default_factory=list)
    polls_ms: list[float] = field(default_factory=list)
    polled_too_fast: int = 0
    polled_after_end: int = 0
    cancelled: bool = False
    closed: bool = False
    _clock: float = field(default_factory=time.monotonic)

    @property
    def gaps_ms(self) -> list[float]:
        befores = [0.0, *self.polls_ms]
        return [round(now - before, 3) for before, now in zip(befores, self.polls_ms, strict=False)]

    def amount(self, kind: str) -> Decimal:
        return sum((entry.amount for entry in self.entries if entry.kind == kind), Decimal(0))

    def shown(self) -> dict[str, Any]:
        """A row of `GET /_sim/ledger`."""
        return {
            "vendor": self.vendor,
            "task": self.id,
            "prompt": self.prompt,
            "unit": self.unit,
            "entries": [{"kind": entry.kind, "amount": str(entry.amount)} for entry in self.entries],
            "polls": len(self.polls_ms),
            "gaps_ms": self.gaps_ms,
            "polled_too_fast": self.polled_too_fast,
            "polled_after_end": self.polled_after_end,
            "cancelled": self.cancelled,
            "closed": self.closed,
        }

    def age_ms(self) -> float:
        return round((time.monotonic() - self._clock) * 1000, 3)


class Ledger:
    """The newest tasks. Written by the server's thread, read by any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: deque[Task] = deque(maxlen=KEPT_TASKS)
        self.downloads: Counter[str] = Counter()

    def reserve(self, vendor: str, task_id: str, prompt: str, amount: Decimal, unit: str) -> Task:
        task = Task(vendor, task_id, _kept(prompt), unit, [Entry("reserve", amount)])
        with self._lock:
            self._tasks.append(task)
        return task

    def settle(self, task: Task, amount: Decimal) -> bool:
        """Book the real price and give back the rest; False when the task is closed already."""
        if task.closed:
            return False
        task.closed = True
        if amount:
            task.entries.append(Entry("settle", amount))
        if rest := task.amount("reserve") - amount:
            task.entries.append(Entry("refund", rest))
        return True

    def poll(self, task: Task, advised_s: float) -> None:
        now = task.age_ms()
        before = task.polls_ms[-1] if task.polls_ms else 0.0
        task.polled_too_fast += now - before < advised_s * 1000 * _JITTER
        task.polled_after_end += task.closed
        task.polls_ms.append(now)

    def tasks(self, vendor: str | None = None, prompt: str | None = None) -> list[Task]:
        """Oldest first; those of one vendor, and those of this exact prompt, when asked."""
        wanted = None if prompt is None else _kept(prompt)
        with self._lock:
            return [
                task
                for task in self._tasks
                if vendor in (None, task.vendor) and wanted in (None, task.prompt)
            ]

    def shown(self, vendor: str | None = None) -> dict[str, Any]:
        """`GET /_sim/ledger`: tasks, submissions per prompt, downloads per file, and sums per vendor."""
        tasks = self.tasks(vendor)
        sums: dict[str, Counter[str]] = {}
        for task in tasks:
            row = sums.setdefault(task.vendor, Counter())
            row["submits"] += 1
            row["polls"] += len(task.polls_ms)
            row["polled_too_fast"] += task.polled_too_fast
        money = {
            name: {
                kind: str(sum((task.amount(kind) for task in tasks if task.vendor == name), Decimal(0)))
                for kind in ("reserve", "settle", "refund")
            }
            for name in sums
        }
        return {
            "tasks": [task.shown() for task in tasks],
            "submits": dict(Counter(f"{task.vendor}: {task.prompt}" for task in tasks)),
            "downloads": dict(self.downloads),
            "vendors": {name: {**row, **money[name]} for name, row in sums.items()},
        }

    def reset(self) -> None:
        with self._lock:
            self._tasks.clear()
            self.downloads.clear()


def _kept(prompt: str) -> str:
    """A long prompt as its length and digest: whether it was this one can still be told."""
    if len(prompt) <= _KEPT_CHARS:
        return prompt
    digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()
    return f"<{len(prompt)} characters, sha256 {digest}>"
