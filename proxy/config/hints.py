"""The cure for values that are YAML and not what was meant: commas in numbers, missing spaces, other words.

What a value says is never repeated, for it may be a secret in the wrong place; but for numbers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from proxy.checking.mistakes import Path

_FLAGS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
_AMOUNT = re.compile(r"\d{1,9}(?:[.,]\d{1,9})?")
_CLOSE_KEY = re.compile(r"[A-Za-z_][\w-]*:(?=[^\s/])")


def of_stranger(name: str, known: Collection[str], neighbours: Any) -> str:
    """An unknown key that is half of a number with a comma, or a key and its value in one; "" for others."""
    names = list(neighbours) if isinstance(neighbours, Mapping) else []
    if name.isdecimal() and name in names[1:]:
        whole = neighbours[names[names.index(name) - 1]]
        if isinstance(whole, int) and not isinstance(whole, bool):
            return f"a number has a point, no comma: write {whole}.{name}"
    head, colon, _ = name.partition(":")
    return f'write a space after "{head}:"' if colon and head in known else ""


def of_whole(path: Path, value: Any, inside: Collection[str], *, is_list: bool) -> str:
    """A mapping or a list was wanted and something else came; `inside` are the keys of that mapping."""
    if path and path[-1] in inside:
        return f"{path[-1]} belongs into an entry with a name; indent it two spaces deeper than the name"
    if value is None:
        return "what belongs to it stands on the next lines, two spaces deeper; or delete the key"
    if isinstance(value, str) and (close := _CLOSE_KEY.match(value)) is not None:
        return f'write a space after "{close[0]}"'
    return "write [a, b], or each item on its own line after a hyphen" if is_list else ""


def of_word(kind: str, value: Any) -> str:
    """A flag or a number was wanted and text came."""
    if not isinstance(value, str):
        return ""
    word = value.strip().lower()
    if kind == "bool_type":
        plain = _FLAGS.get(word, word if word in ("true", "false") else "")
        return f"write {plain}, without quotes" if plain else ""
    if kind in ("int_type", "float_type") and (amount := _AMOUNT.fullmatch(word)) is not None:
        return f"write {amount[0].replace(',', '.')}, without quotes"
    return ""


def of_price(path: Path, value: Any) -> str:
    """An amount of money with a sign, a unit or a comma."""
    is_amount = "price" in path[:-1] and path[-1] not in ("per", "currency", "from", "tokens")
    if not is_amount or not isinstance(value, str) or (amount := _AMOUNT.search(value)) is None:
        return ""
    hint = f"write {amount[0].replace(',', '.')}: no sign of a currency, no unit, and a point"
    return f"{hint}; the currency has a key of its own, price.currency"
