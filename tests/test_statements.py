"""Every numbered statement is cited by a test, or listed in the docs with the reason why not.

G is about Gemini, V about the vendors of pictures, I about the Images API and pictures in chat, M about
Anthropic's Messages, N about Google's own dialect, R about the Responses API, E about the small endpoints of
OpenAI's, X about what all dialects of clients have in common.
"""

import re
from collections.abc import Sequence
from itertools import chain, starmap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_CITED = re.compile(r"([GVIMENRX])-(\d{3})((?:(?:\.\.|, )(?:\1-)?\d{3}\b)*)")
_MORE = re.compile(r"(\.\.|, )(?:[GVIMENRX]-)?(\d{3})")


def cited(folder: Path, pattern: str) -> set[str]:
    """`G-001, G-003` and `G-001, 003` are two, `G-001..003` are three."""
    found: set[str] = set()
    for file in folder.glob(pattern):
        if file.name == Path(__file__).name:
            continue
        for letter, first, more in _CITED.findall(file.read_text()):
            last = int(first)
            numbers = {last}
            for between, text in _MORE.findall(more):
                numbers |= set(range(last, int(text) + 1)) if between == ".." else {int(text)}
                last = int(text)
            found |= {f"{letter}-{number:03}" for number in numbers}
    return found


MESSAGES = (1, 8), (10, 17), (20, 27), (30, 36), (40, 43), (50, 54), (60, 63), (70, 78), (80, 82)
NATIVE = (1, 7), (20, 27), (30, 36), (40, 47), (50, 56)
RESPONSES = (1, 6), (10, 21), (30, 47), (50, 56), (60, 69), (70, 76), (80, 90)
COMMON = (1, 14), (20, 27)
SMALL = (1, 9), (10, 17), (20, 26), (30, 32), (40, 43), (50, 55), (60, 63)


@pytest.mark.parametrize(
    ("letter", "ranges"),
    [
        ("G", [(1, 221)]),
        ("V", [(1, 61)]),
        ("I", [(1, 56)]),
        ("M", MESSAGES),
        ("N", NATIVE),
        ("R", RESPONSES),
        ("E", SMALL),
        ("X", COMMON),
    ],
)
def test_every_statement_is_tested_or_explained(letter: str, ranges: Sequence[tuple[int, int]]) -> None:
    known = cited(ROOT / "tests", "test_*.py") | cited(ROOT / "docs", "*.md")
    missing = [
        name for number in chain(*starmap(range, ranges)) if (name := f"{letter}-{number:03}") not in known
    ]
    assert missing == []
