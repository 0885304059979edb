"""Histograms, and the text in which Prometheus reads numbers (exposition format 0.0.4).

Written here because the client library costs 44 ms at start and 1.5 us a record; ours is 0.2 us.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate
from typing import Literal

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Histogram:
    """How many values lay up to each of the `bounds`, which ascend. The last of the `counts` is for those
    above all. Who counts often does what `note` does itself, which saves a call."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def note(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Page:
    """Lines of the text. `common` labels stand on every one. A family's lines follow its heading."""

    def __init__(self, common: Mapping[str, str] | None = None) -> None:
        self._common = dict(common or {})
        self._lines: list[str] = []
        self._name = ""

    def family(self, name: str, kind: Literal["counter", "gauge", "histogram"], meaning: str) -> None:
        self._name = name
        self._lines.append(f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n")

    def value(self, value: float, **labels: str | int) -> None:
        self._line("", labels, value)

    def histogram(self, values: Histogram, **labels: str | int) -> None:
        total = 0
        for bound, total in zip((*values.bounds, "+Inf"), accumulate(values.counts), strict=True):
            self._line("_bucket", {**labels, "le": str(bound)}, total)
        self._line("_sum", labels, values.sum)
        self._line("_count", labels, total)

    def text(self) -> bytes:
        return "".join(self._lines).encode("utf-8", "replace")

    def _line(self, ending: str, labels: Mapping[str, str | int], value: float) -> None:
        named = ",".join(
            f'{name}="{str(said).translate(_ESCAPED)}"' for name, said in {**self._common, **labels}.items()
        )
        self._lines.append(
            f"{self._name}{ending}{{{named}}} {value}\n" if named else f"{self._name}{ending} {value}\n"
        )
