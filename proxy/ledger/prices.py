"""What tokens, pictures and seconds cost: the file's prices, compiled, and exact to a step of the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from proxy.config.models import Price
from proxy.config.values import ANY_SIZE, PICTURE_SIZES
from proxy.store.money import STEP
from proxy.types import Usage

ZERO = Decimal(0)

_PER = {"1K": -3, "1M": -6}
_TOKENS = (
    "input", "output", "cached", "input_image", "input_audio", "cached_image", "cached_audio",
    "output_image", "output_audio",
)  # fmt: skip


def exact(amount: Decimal) -> Decimal:
    """The amount as the ledger keeps it."""
    return amount.quantize(STEP, ROUND_HALF_EVEN).normalize()


def plain(amount: Decimal) -> str:
    """The amount as it is written: no exponent, no zeros behind."""
    return f"{amount.normalize():f}"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What one token costs, by direction and kind."""

    input: Decimal
    cached: Decimal
    input_image: Decimal
    input_audio: Decimal
    cached_image: Decimal
    cached_audio: Decimal
    output: Decimal
    output_image: Decimal
    output_audio: Decimal

    @classmethod
    def of(cls, said: dict[str, Decimal], per: int) -> Tokens:
        """A kind that has no price of its own costs what its direction costs; what has none is not sold by
        the token. One in the cache costs what the cache costs, or else what it does outside."""
        into, out = said.get("input", ZERO), said.get("output", ZERO)
        amounts = {name: said.get(name, out if name.startswith("output") else into) for name in _TOKENS}
        for kind in ("image", "audio"):
            usual = said.get("cached", amounts[f"input_{kind}"])
            amounts[f"cached_{kind}"] = said.get(f"cached_{kind}", usual)
        return cls(**{name: amount.scaleb(per) for name, amount in amounts.items()})

    def prompt(self, usage: Usage) -> Decimal:
        """What was cached of which nobody tells the kind is taken from the text first."""
        cached = min(usage.cached, usage.prompt)
        images = min(usage.prompt_image or 0, usage.prompt)
        sounds = min(usage.prompt_audio or 0, usage.prompt - images)
        text = usage.prompt - images - sounds
        known_images = min(usage.cached_image or 0, images, cached)
        known_sounds = min(usage.cached_audio or 0, sounds, cached - known_images)
        cached -= known_images + known_sounds
        text, rest = _less(text, cached)
        images, rest = _less(images - known_images, rest)
        sounds, _ = _less(sounds - known_sounds, rest)
        return (
            self.input * text
            + self.cached * cached
            + self.input_image * images
            + self.cached_image * known_images
            + self.input_audio * sounds
            + self.cached_audio * known_sounds
        )


@dataclass(frozen=True, slots=True)
class Tariff:
    """One price of the file. `since` is in seconds since 1970; `tier` is the vendor's word for who pays more
    or waits longer, None where it says none. `above` holds where a prompt has more tokens than
    `above_tokens`. `pictures` are amounts by size, None where pictures are sold by their tokens alone;
    `image_tokens`: those of pictures have a price of their own. `second` is one of sound, film or
    work, None where none is paid. `card` is the price as clients read it. `by_words`: there
    is nothing but tokens of any length to pay for."""

    since: float
    currency: str
    below: Tokens
    above: Tokens
    above_tokens: int | None
    pictures: Mapping[str, Decimal] | None
    by_size: bool
    image_tokens: bool
    second: Decimal | None
    card: Mapping[str, Any]
    tier: str | None = None
    by_words: bool = False

    @classmethod
    def of(cls, price: Price, currency: str) -> Tariff:
        per, said, long = _PER[price.per], _said(price), price.above
        return cls(
            since=datetime.combine(price.since, datetime.min.time(), UTC).timestamp() if price.since else 0.0,
            currency=price.currency or currency,
            below=Tokens.of(said, per),
            above=Tokens.of({**said, **_said(long)}, per) if long else _FREE,
            above_tokens=long.tokens if long else None,
            pictures=_from_each_size_up(price.image) if price.image else None,
            by_size=price.image is not None and len(price.image) > 1,
            image_tokens="output_image" in said,
            second=price.second,
            card=_card(price, price.currency or currency),
            tier=price.tier,
            by_words=not (price.image or price.second or long),
        )

    def cost(self, usage: Usage | None, images: int = 0, sizes: Sequence[str | None] = ()) -> Decimal | None:
        """Of one try: what the vendor counted, and the `images` that came. `sizes` are those of the images,
        as far as they matter (`by_size`) and are known; any other costs what the smallest does. None where
        seconds are paid that nobody counted."""
        usage = usage or _NOTHING
        if self.by_words and not (
            images
            or usage.cached
            or usage.prompt_image
            or usage.prompt_audio
            or usage.completion_image
            or usage.completion_audio
        ):  # most are this
            return exact(self.below.input * usage.prompt + self.below.output * usage.completion)
        if self.second is not None and usage.seconds is None:
            return None
        is_long = self.above_tokens is not None and usage.prompt > self.above_tokens
        tokens = self.above if is_long else self.below
        text, drawn, sounds = _completion(usage, images)
        total = tokens.prompt(usage) + tokens.output * text
        if sounds:
            total += tokens.output_audio * sounds
        if self.second is not None:
            total += self.second * Decimal(str(usage.seconds))
        counted = usage.completion_image is not None and not usage.estimated
        if self.pictures is not None and not (self.image_tokens and counted):
            return exact(total + self.of_pictures(images, sizes))
        return exact(total + tokens.output_image * drawn)

    def of_pictures(self, images: int, sizes: Sequence[str | None] = ()) -> Decimal:
        """Of these pictures alone, where they are sold by the piece."""
        if self.pictures is None or not images:
            return ZERO
        known = [self.pictures[size] for size in sizes if size is not None][:images]
        return sum(known, self.pictures[PICTURE_SIZES[0]] * (images - len(known)))


@dataclass(frozen=True, slots=True)
class Prices:
    """All prices of a target, the newest last; those of a tier of their own apart."""

    tariffs: tuple[Tariff, ...]
    tiers: tuple[Tariff, ...] = ()

    @classmethod
    def of(cls, prices: Iterable[Price] | None, currency: str) -> Prices | None:
        """None where nothing has a price. `currency` is that of prices which name none."""
        tariffs = sorted((Tariff.of(price, currency) for price in prices or ()), key=lambda one: one.since)
        plain_ones, tiers = (
            tuple(one for one in tariffs if bool(one.tier) is tiered) for tiered in (False, True)
        )
        return cls(plain_ones, tiers) if tariffs else None

    @property
    def currency(self) -> str | None:
        """In which there is a price at any time; None where there is none, or that changes."""
        currencies = {tariff.currency for tariff in self.tariffs}
        is_one = len(currencies) == 1 and not self.tariffs[0].since
        return currencies.pop() if is_one else None

    def at(self, when: float | None = None) -> Tariff | None:
        """What holds then, or now; None before the first day."""
        if len(self.tariffs) == 1 and not self.tariffs[0].since:
            return self.tariffs[0]
        when = time.time() if when is None else when
        return next((tariff for tariff in reversed(self.tariffs) if tariff.since <= when), None)

    def served(self, tariff: Tariff, tier: str | None, when: float | None = None) -> Tariff:
        """What holds where the vendor says by which tier it served; `tariff` where that has no price of its
        own in the currency in which it is held."""
        if not self.tiers or tier is None:
            return tariff
        when = time.time() if when is None else when
        fits = (one for one in reversed(self.tiers) if one.tier == tier and one.currency == tariff.currency)
        return next((one for one in fits if one.since <= when), tariff)


_NOTHING = Usage()
_FREE = Tokens.of({}, 0)


def _said(price: object) -> dict[str, Decimal]:
    return {name: amount for name in _TOKENS if (amount := getattr(price, name)) is not None}


def _card(price: Price, currency: str) -> dict[str, Any]:
    """Amounts are in words, so that nobody rounds them."""
    card: dict[str, Any] = {"currency": currency, "per": price.per, **_in_words(_said(price))}
    if price.image is not None:
        by_size = _in_words(price.image)
        card["image"] = by_size.get(ANY_SIZE, by_size)
    if price.second is not None:
        card["second"] = plain(price.second)
    if price.above is not None:
        card["above"] = {"tokens": price.above.tokens, **_in_words(_said(price.above))}
    return card


def _in_words(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: plain(amount) for name, amount in amounts.items()}


def _less(count: int, taken: int) -> tuple[int, int]:
    """What is left of a count, and what could not be taken of it."""
    return max(0, count - taken), max(0, taken - count)


def _completion(usage: Usage, images: int) -> tuple[int, int, int]:
    """Tokens of text and thoughts, of pictures and of sounds, which come to all of them. Where pictures came
    and nobody tells which tokens are theirs, all are that are no thoughts."""
    whole = usage.completion
    if usage.completion_image is None and images and usage.completion_text is None:
        drawn = whole - min(usage.reasoning, whole)
    elif usage.completion_image is None and images:
        drawn = max(0, whole - usage.reasoning - (usage.completion_text or 0))
    else:
        drawn = min(usage.completion_image or 0, whole)
    sounds = min(usage.completion_audio or 0, whole - drawn)
    return whole - drawn - sounds, drawn, sounds


def _from_each_size_up(amounts: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """A size that has no price costs what the next smaller one does, or else the smallest."""
    found: dict[str, Decimal] = {}
    last = next(amounts[size] for size in (ANY_SIZE, *PICTURE_SIZES) if size in amounts)
    for size in PICTURE_SIZES:
        last = found[size] = amounts.get(size, last)
    return found
