"""`dragoman prices update`: what the prices of Google's models in the file should be, as a diff to look at.

The catalogue is the package `genai-prices` (MIT), which is loaded by this command alone. Nothing is written.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from proxy import config as configuration
from proxy.command import opening
from proxy.command.opening import say
from proxy.config.models import Config, ModelEntry, Price
from proxy.config.values import ANY_SIZE
from proxy.ledger.prices import plain

_GOOGLE = "google"  # the catalogue's name
# The catalogue's words for ours; all are per million tokens.
_NAMES = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "input_image": "input_image_mtok",
    "input_audio": "input_audio_mtok",
    "cached_image": "cache_image_read_mtok",
    "cached_audio": "cache_audio_read_mtok",
    "output_image": "output_image_mtok",
    "output_audio": "output_audio_mtok",
}
_OTHERS = ("image", "second", "above", "currency")
_NOT_THERE = "the catalogue is a package of its own: pip install 'dragoman[prices]'"

Amounts = dict[str, Any]


def update(file: Path | None) -> int:
    """Print a diff of the file, on stdout nothing where all agree. Exit 1 where it cannot be read."""
    place = configuration.find(file)
    opened = opening.read(file)
    if opened is None:
        return 1
    try:
        from genai_prices import data
    except ModuleNotFoundError:
        say(_NOT_THERE)
        return 1
    google = next(provider for provider in data.providers if provider.id == _GOOGLE)
    text = place.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    differs = False
    for name, model in opened[0].models.items():
        known = _upstream(opened[0], model)
        found = None if known is None else google.find_model(known)
        if found is not None and (wanted := _wanted(model, found.prices)) is not None:
            lines = _placed(lines, name, wanted)
            differs = True
    before = text.splitlines(keepends=True)
    print("".join(difflib.unified_diff(before, lines, place.name, place.name)), end="")
    if not differs:
        say("nothing differs from the catalogue")
    return 0


def _upstream(config: Config, model: ModelEntry) -> str | None:
    """Google's name of a model that is asked at Google first, and has a price of the usual kind."""
    first = model.targets[0]
    provider = config.providers.get(first.provider)
    if provider is None or provider.wire != "gemini" or first.price is not None or model.price == []:
        return None
    usual = all(price.per == "1M" and price.tier is None for price in model.price or ())
    return first.model if usual and config.currency_of(model) == "USD" else None


def _wanted(model: ModelEntry, catalogued: Any) -> str | None:
    """The price as the file would have it, None where it has it so, or the catalogue has conditions that the
    file has no words for. What the catalogue does not know stays: pictures by size."""
    today = datetime.now(UTC).date()
    steps = _steps(catalogued, today)
    if steps is None:
        return None
    ours = sorted(model.price or [], key=lambda price: price.since or date.min)
    current = next((price for price in reversed(ours) if (price.since or date.min) <= today), None)
    prices = [(day, _merged(current, amounts)) for day, amounts in steps]
    has = [(price.since, _amounts(price)) for price in ours if price is current or _begins(price, today)]
    if prices == [(day if day and day > today else None, amounts) for day, amounts in has]:
        return None
    if len(prices) == 1:
        return f"    price: {_flow(prices[0][1])}\n"
    written = (_flow(amounts | ({"from": day} if day else {})) for day, amounts in prices)
    return "    price:\n" + "".join(f"      - {one}\n" for one in written)


def _begins(price: Price, today: date) -> bool:
    return price.since is not None and price.since > today


def _steps(catalogued: Any, today: date) -> list[tuple[date | None, Amounts]] | None:
    """The price of today and those that begin later, each with its day."""
    if not isinstance(catalogued, Sequence):
        return [(None, _read(catalogued))]
    found: list[tuple[date | None, Amounts]] = []
    for one in catalogued:
        day = None if one.constraint is None else getattr(one.constraint, "start_date", today)
        if one.constraint is not None and not hasattr(one.constraint, "start_date"):
            return None
        if day is None or day <= today:
            found = [(None, _read(one.prices))]
        elif found[-1][1] != (amounts := _read(one.prices)):
            found.append((day, amounts))
    return found


def _read(prices: Any) -> Amounts:
    found: Amounts = {}
    above: Amounts = {}
    for ours, theirs in _NAMES.items():
        amount = getattr(prices, theirs, None)
        if amount is None:
            continue
        if not isinstance(amount, Decimal):
            (tier,) = amount.tiers[:1]
            above["tokens"], above[ours] = tier.start, tier.price
            amount = amount.base
        found[ours] = amount
    return found | ({"above": above} if above else {})


def _merged(price: Price | None, amounts: Amounts) -> Amounts:
    """The catalogue's amounts in our order, and what it has no word for, such as that something is free."""
    ours = {} if price is None else _amounts(price)
    merged = {**{name: value for name, value in ours.items() if name not in _NAMES or not value}, **amounts}
    return {name: merged[name] for name in (*_NAMES, *_OTHERS) if name in merged}


def _amounts(price: Price) -> Amounts:
    said = price.model_dump(exclude_none=True, exclude={"since", "per", "tier"})
    if price.image is not None and list(price.image) == [ANY_SIZE]:
        said["image"] = price.image[ANY_SIZE]
    return {name: said[name] for name in (*_NAMES, *_OTHERS) if name in said}


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_flow(inner)}" for name, inner in value.items()) + "}"
    if not isinstance(value, Decimal):
        return str(value)
    whole, _, rest = plain(value).partition(".")
    return f"{whole}.{rest.ljust(2, '0')}"


def _placed(lines: list[str], name: str, wanted: str) -> list[str]:
    """With this price in the model's block; where the file writes it in another form it is told instead."""
    head = re.compile(rf"  ['\"]?{re.escape(name)}['\"]?:\s*(#.*)?$")
    heads = [at for at, line in enumerate(lines) if head.match(line)]
    if len(heads) != 1:
        say(f"{name}: its block is not found; write there\n{wanted}")
        return lines
    new = wanted.splitlines(keepends=True)
    block = list(_block(lines, heads[0] + 1, 4))
    begin = next((at for at in block if lines[at].startswith("    price:")), None)
    if begin is None:
        after = block[-1] + 1
        return [*lines[:after], *new, *lines[after:]]
    end = max((begin, *_block(lines, begin + 1, 6))) + 1
    if comment := re.search(r"\s+#.*", lines[begin]):
        new[0] = new[0].rstrip("\n") + comment[0] + "\n"
    return [*lines[:begin], *new, *lines[end:]]


def _block(lines: Sequence[str], start: int, indent: int) -> Iterator[int]:
    """The lines from here on that stand at least so deep."""
    for at in range(start, len(lines)):
        if not lines[at].startswith(" " * indent):
            return
        yield at
