"""What is wrong with checked data: a code, an address inside it, a sentence and a hint."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import NamedTuple

Path = tuple[str | int, ...]


class Mistake(NamedTuple):
    """`path` leads from the top of what is checked to the value (or key) that is wrong."""

    code: str
    path: Path
    message: str
    hint: str = ""


class Mistakes(list[Mistake]):
    def add(self, code: str, path: Path, message: str, hint: str = "") -> None:
        self.append(Mistake(code, path, message, hint))


def shown(path: Path) -> str:
    """A path as people write it: `providers.google.keys[1]`, `surfaces.image.models["nano-*"]`."""
    text = ""
    for step in path:
        if isinstance(step, int) and not isinstance(step, bool):
            text += f"[{step}]"
        elif re.fullmatch(r"[\w-]+", str(step)):
            text += f".{step}" if text else str(step)
        else:
            text += f'["{step}"]'
    return text


def _words(name: str) -> list[str]:
    return sorted(re.split(r"[^a-z0-9]+", name.lower()))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question, or the list of what there is when nothing is near."""
    names = sorted(known)
    turned = [name for name in names if name != word and _words(name) == _words(word)]
    near = turned or difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{near[0]}"?'
    return f"known: {', '.join(names)}" if names else ""
