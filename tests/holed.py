"""The command in a process whose memory is full of holes, which are looked for more often."""

from __future__ import annotations

from collections.abc import Sequence

from proxy import __main__ as command
from proxy import heap

HOLES, BYTES = 400, 110_000  # each below the size for which the system is asked anew


def main(arguments: Sequence[str]) -> int:
    heap.GIVE_BACK_EVERY_S = 0.1
    large, small = [], []
    for _ in range(HOLES):
        large.append(b"x" * BYTES)
        small.append(bytearray(600))
    large.clear()
    code = command.main(arguments)
    assert len(small) == HOLES
    return code
