"""Vectors that follow from the text: texts that share words are near each other."""

from __future__ import annotations

import random
import re
from math import hypot
from zlib import crc32

_NOISE = 0.01
_PLACES = 8  # of a word


def of(text: str, size: int, *, unit: bool) -> list[float]:
    source = random.Random(text)
    vector = [source.uniform(-_NOISE, _NOISE) for _ in range(size)]
    for word in re.findall(r"\w+", text.lower()):
        for number in range(_PLACES):
            digest = crc32(f"{word} {number}".encode())
            vector[digest % size] += 1.0 if digest & 0x10000 else -1.0
    length = hypot(*vector) if unit else 1.0
    return [round(value / length, 7) for value in vector]


def tokens_of(text: str) -> int:
    return max(1, -(-len(text.encode()) // 4))
