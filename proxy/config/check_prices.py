"""Checks of prices, as they are written: what a picture costs is said, and a day has one price."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from proxy.checking.mistakes import Path
from proxy.checking.model_names import draws
from proxy.config.models import TargetEntry
from proxy.config.tree import Checked, at, items

_OF_PICTURES = frozenset({"image", "output_image", "second"})
_OF_ANSWERS = _OF_PICTURES | {"output", "output_audio"}


def check(name: str, file: Checked) -> None:
    path: Path = ("models", name)
    _price((*path, "price"), file)
    for part in ("targets", "fallback"):
        for index, _ in enumerate(items(at(file.tree, (*path, part)))):
            _price((*path, part, index, "price"), file)
    _pictures(path, file)


def check_budgets(file: Checked) -> None:
    """A key whose budget is in a currency that no price is in can buy nothing."""
    known: set[str] | None = None
    rates = set(file.config.rates)
    for index, entry in enumerate(items(file.tree.get("keys"))):
        path: Path = ("keys", index, "budget", "currency")
        currency = at(file.tree, path) if isinstance(entry, Mapping) else None
        if not isinstance(currency, str) or not currency:
            continue
        known = set(_currencies(file)) if known is None else known
        if known.isdisjoint(rates if currency in rates else {currency}):
            there = f"prices are in {', '.join(sorted(known))}" if known else "no model has a price"
            message = f"the budget is in {currency}, and {there}: this key can use no model"
            hint = f"write {' or '.join(sorted(known))}, or add `rates` for both" if known else "add prices"
            file.report.add("W132", path, message, hint)


def _currencies(file: Checked) -> Iterator[str]:
    """Those of all prices. One that names none is in the currency of the account."""
    for model in file.config.models.values():
        for entry in model.targets + model.fallback:
            provider = file.config.providers.get(entry.provider)
            usual = provider.currency if provider is not None else None
            for price in (model.price if entry.price is None else entry.price) or ():
                if currency := price.currency or usual:
                    yield currency


def _price(path: Path, file: Checked) -> None:
    written = at(file.tree, path)
    seen = set()
    for index, price in enumerate(_each(written)):
        here = (*path, index) if isinstance(written, list) else path
        day, tier = price.get("from"), price.get("tier")
        if (str(day), str(tier)) in seen:
            whose = f" for {tier}" if tier else ""
            message = f"two prices hold{whose} from {day or 'the beginning'} on"
            file.report.add("E130", here, message, "give each a day of its own: from")
        seen.add((str(day), str(tier)))
        if not _OF_ANSWERS & set(price):
            message = "the price says nothing of what comes back, so that costs nothing"
            file.report.add("W131", here, message, "add output, image, output_image or second", at_key=True)


def _pictures(path: Path, file: Checked) -> None:
    """A picture without a price would be given away: its tokens are told by few."""
    price = at(file.tree, (*path, "price"))
    for part in ("targets", "fallback"):
        for entry in items(at(file.tree, (*path, part))):
            own = at(entry, ("price",)) or price
            use = entry if isinstance(entry, str) else at(entry, ("use",))
            if isinstance(use, str) and not _says(own, _OF_PICTURES) and _draws(use, file):
                place = (*path, "price") if price else path
                hint = "add image: 0.04 to its price, or write price: unpriced"
                message = f"{use} makes pictures and has no price for one"
                file.report.add("W130", place, message, hint, at_key=True)
                return


def _each(written: Any) -> list[Mapping[str, Any]]:
    """The prices; what is none has been reported."""
    return [
        price for price in (written if isinstance(written, list) else [written]) if isinstance(price, Mapping)
    ]


def _says(written: Any, kinds: Collection[str]) -> bool:
    """Whether each of the prices has one of these amounts, or the word is that there is none."""
    prices = _each(written)
    return all(set(kinds) & set(price) for price in prices) if prices else written is not None


def _draws(use: str, file: Checked) -> bool:
    entry = TargetEntry(use=use or "?")
    provider = file.config.providers.get(entry.provider)
    if provider is None or not entry.model:
        return False  # it has errors of its own, or is a model of the file, which is looked at by itself
    profile = file.profiles.get(provider.profile) if provider.profile else None
    surface = entry.surface or (profile.surfaces[0] if profile and profile.surfaces else "")
    return draws(entry.model) or (profile is not None and surface in profile.drawing)
