"""What a profile may say, and hardly means: warnings, beside the mistakes of `check`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import jmespath.exceptions

from proxy.checking.mistakes import Mistake, Mistakes
from proxy.wires.declared.paths import Path
from proxy.wires.declared.problems import Where, shown
from proxy.wires.declared.requests import BODIES
from proxy.wires.declared.template import INPUTS, UPLOAD_INPUTS

_TEMPLATES = frozenset({*BODIES, "headers", "files"})
_WORDS = ("true", "false")
_IN_LINES = re.compile(r"\{(model|uuid|task\.\w+)\}")
_NAMES = "|".join((*INPUTS, *UPLOAD_INPUTS))
_ALONE = re.compile(r"\{\{?\s*(" + _NAMES + r")\s*\}?\}")
_INSIDE = re.compile(r"(?<=.)\$\{?(" + _NAMES + r")\b", re.S)


def doubts(data: Any) -> list[Mistake]:
    """Of a profile as its file has it, which nothing is wrong with."""
    found = Mistakes()
    parts = {key: data[key] for key in ("errors", "billing", "surfaces") if key in data}
    for where, text in _texts(parts, ()):
        if not _TEMPLATES.isdisjoint(where):
            _check_braces(text, where, found)
        elif "==" in text or "!=" in text:
            _check_comparisons(text, where, found)
    return found


def _texts(value: Any, where: Where) -> Iterator[tuple[Where, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping | list):
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _texts(inner, (*where, key))


def _check_braces(text: str, where: Where, found: Mistakes) -> None:
    if braced := _ALONE.fullmatch(text) or _IN_LINES.search(text):
        found.add(
            "W122",
            where,
            f"{shown(where)} sends {braced[0]} as it stands: braces are for request lines",
            f"a value is inserted whole, by a dollar sign: ${braced[1]}",
        )
    elif inside := _INSIDE.search(text):
        found.add(
            "W122",
            where,
            f"{shown(where)} sends {inside[0]} as it stands: values are not inserted into a text",
            f"let ${inside[1]} stand alone, as the value of a key",
        )


def _check_comparisons(text: str, where: Where, found: Mistakes) -> None:
    try:
        path = Path(text)
    except jmespath.exceptions.JMESPathError:
        return  # a word with signs in it
    for one, other in path.comparisons():
        kind, word = one["type"], one.get("value")
        if word not in _WORDS:  # a key called null is always null, so that this word says what it means
            continue
        if kind == "field":
            found.add(
                "W123",
                where,
                f'"{text}" compares with a key that is called {word}',
                f"the value is written in backticks: `{word}`",
            )
        elif kind == "literal" and other["type"] != "function_expression":
            found.add(
                "W123",
                where,
                f"\"{text}\" compares with the text '{word}', which no {word} is equal to",
                f"write `{word}` in backticks; where the vendor sends it as text, to_string(...) == '{word}'",
            )
