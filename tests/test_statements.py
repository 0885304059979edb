"""Every numbered statement is cited by a test, or listed in the docs with the reason why not.

G is about Gemini, V about the vendors of pictures, I about the Images API and pictures in chat.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_CITED = re.compile(r"([GVI])-(\d{3})((?:(?:\.\.|, )(?:\1-)?\d{3}\b)*)")
_MORE = re.compile(r"(\.\.|, )(?:[GVI]-)?(\d{3})")


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


@pytest.mark.parametrize(("letter", "count"), [("G", 220), ("V", 60), ("I", 55)])
def test_every_statement_is_tested_or_explained(letter: str, count: int) -> None:
    known = cited(ROOT / "tests", "test_*.py") | cited(ROOT / "docs", "*.md")
    missing = [name for number in range(1, count + 1) if (name := f"{letter}-{number:03}") not in known]
    assert missing == []
