"""What tokens and pictures cost at a price of the file, to the last unit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import load
from proxy.config.models import ModelEntry
from proxy.keys import ClientKey
from proxy.ledger.prices import Prices, Tariff, plain
from proxy.ledger.rates import Rates
from proxy.routing.routes import Routes
from proxy.types import Usage


def tariff(price: Any, when: float | None = None) -> Tariff:
    entry = ModelEntry.model_validate({"targets": ["a/b"], "price": price})
    prices = Prices.of(entry.price, "CNY")
    assert prices is not None
    found = prices.at(when)
    assert found is not None
    return found


PRO = {"input": 1.25, "output": 10, "cached": 0.31, "above": {"tokens": 200000, "input": 2.5, "output": 15}}
FLASH = {"input": 0.3, "output": 2.5, "input_audio": 1}
HEARS = {"input": 0.3, "output": 2.5, "cached": 0.03, "input_audio": 1, "cached_audio": 0.1}
WHISPER = {"second": 0.0001}
BANANA = {"input": 2, "output": 12, "output_image": 120, "image": {"1K": 0.134, "4K": 0.24}}
FLAT = {"image": 0.2}

COSTS: list[tuple[str, Any, Usage | None, int, tuple[str | None, ...], str]] = [
    ("text", PRO, Usage(prompt=1000, completion=200), 0, (), "0.00325"),
    ("thoughts are output", PRO, Usage(prompt=1000, completion=200, reasoning=150), 0, (), "0.00325"),
    ("cached", PRO, Usage(prompt=1000, completion=200, cached=600), 0, (), "0.002686"),
    ("at the step", PRO, Usage(prompt=200_000, completion=1), 0, (), "0.25001"),
    ("above the step", PRO, Usage(prompt=200_001, completion=1), 0, (), "0.5000175"),
    ("cached above it", PRO, Usage(prompt=300_000, cached=100_000), 0, (), "0.531"),
    ("audio in", FLASH, Usage(prompt=110, prompt_audio=100, completion=4), 0, (), "0.000113"),
    ("cached of no text", FLASH, Usage(prompt=100, prompt_audio=100, cached=40), 0, (), "0.000072"),
    (
        "cached audio",
        HEARS,
        Usage(prompt=1000, prompt_audio=800, cached=600, cached_audio=500, completion=4),
        0,
        (),
        "0.000393",
    ),
    (
        "cached audio and pictures of no price of their own",
        {**FLASH, "cached": 0.03},
        Usage(prompt=100, prompt_audio=50, prompt_image=50, cached=100, cached_audio=50, cached_image=50),
        0,
        (),
        "0.000003",
    ),
    (
        "cached audio where the cache costs nothing less",
        FLASH,
        Usage(prompt=100, prompt_audio=100, cached=40, cached_audio=40),
        0,
        (),
        "0.0001",
    ),
    (
        "cached pictures",
        {"input": 5, "input_image": 8, "cached": 1.25, "cached_image": 2, "output": 1},
        Usage(prompt=1000, prompt_image=900, cached=700, cached_image=650),
        0,
        (),
        "0.0036125",
    ),
    (
        "more cached audio than was heard",
        HEARS,
        Usage(prompt=100, prompt_audio=10, cached=50, cached_audio=50),
        0,
        (),
        "0.0000172",
    ),
    ("seconds", WHISPER, Usage(seconds=9), 0, (), "0.0009"),
    ("parts of seconds, as they were told", WHISPER, Usage(seconds=8.47), 0, (), "0.000847"),
    ("no second of it", WHISPER, Usage(seconds=0), 0, (), "0"),
    (
        "seconds beside tokens",
        {"output": 1, "second": 0.1},
        Usage(completion=10, seconds=2),
        0,
        (),
        "0.20001",
    ),
    ("seconds that nobody pays", FLASH, Usage(prompt=10, seconds=5), 0, (), "0.000003"),
    ("seconds beside a picture", {"image": 0.01, "second": 0.000725}, Usage(seconds=1.5), 1, (), "0.0110875"),
    ("pictures in as input", FLASH, Usage(prompt=300, prompt_image=258), 0, (), "0.00009"),
    (
        "a picture by its tokens",
        BANANA,
        Usage(prompt=10, completion=1130, completion_image=1120, images=1),
        1,
        (),
        "0.13454",
    ),
    (
        "guessed tokens count for nothing",
        BANANA,
        Usage(prompt=10, completion=1120, completion_image=1120, images=1, estimated=True),
        1,
        ("1K",),
        "0.13402",
    ),
    ("no tokens at all", BANANA, Usage(images=1), 1, ("1K",), "0.134"),
    ("2K costs as 1K", BANANA, None, 1, ("2K",), "0.134"),
    ("4K", BANANA, None, 2, ("4K", "1K"), "0.374"),
    ("smaller than the smallest", BANANA, None, 1, ("512",), "0.134"),
    ("of unknown size", BANANA, None, 2, ("4K",), "0.374"),
    ("one that nobody could measure", BANANA, None, 2, (None, "4K"), "0.374"),
    ("flat", FLAT, Usage(prompt=9, completion=1290, images=3), 3, (), "0.6"),
    ("flat, and nothing came", FLAT, Usage(prompt=9, completion=12), 0, (), "0"),
    (
        "tokens of which nobody tells the kind",
        {"output": 2, "image": 0.04},
        Usage(completion=1290, images=1),
        1,
        (),
        "0.04",
    ),
    (
        "words beside a flat picture",
        {"output": 2, "image": 0.04},
        Usage(completion=1290, completion_image=1290, completion_text=0, reasoning=0, images=1),
        1,
        (),
        "0.04",
    ),
    (
        "thoughts beside a flat picture",
        {"output": 2, "image": 0.04},
        Usage(completion=1390, reasoning=100, images=1),
        1,
        (),
        "0.0402",
    ),
    ("a picture as any output", {"output": 30}, Usage(completion=1290, images=1), 1, (), "0.0387"),
    (
        "sounds",
        {"output": 1, "output_audio": 9},
        Usage(completion=110, completion_audio=100),
        0,
        (),
        "0.00091",
    ),
    (
        "per thousand",
        {"input": 0.002, "output": 0.006, "per": "1K"},
        Usage(prompt=1500, completion=500),
        0,
        (),
        "0.006",
    ),
    ("a price of nothing", {"input": 0, "output": 0, "image": 0}, Usage(prompt=5, completion=5), 2, (), "0"),
    ("nothing was counted", PRO, None, 0, (), "0"),
    ("the smallest step", {"input": 0.000001, "output": 0}, Usage(prompt=1), 0, (), "0.000000000001"),
]


@pytest.mark.parametrize(
    ("price", "usage", "images", "sizes", "cost"), [pytest.param(*row[1:], id=row[0]) for row in COSTS]
)
def test_a_try_costs(
    price: Any, usage: Usage | None, images: int, sizes: tuple[str | None, ...], cost: str
) -> None:
    assert plain(tariff(price).cost(usage, images, sizes)) == cost


@pytest.mark.parametrize("usage", [None, Usage(prompt=9, completion=3)])
def test_seconds_that_nobody_counted_cost_nobody_knows_what(usage: Usage | None) -> None:
    assert tariff({"second": 0.0001, "input": 1}).cost(usage) is None


def test_seconds_of_several_calls_are_summed() -> None:
    several = [Usage(seconds=1.5, cached_audio=2), Usage(), Usage(seconds=2, service_tier="flex")]
    assert Usage.sum(several) == Usage(seconds=3.5, cached_audio=2)


counts = st.integers(0, 2_000_000)
amounts = st.decimals("0", "200", places=6)
READ = ("input", "cached", "input_image", "input_audio", "cached_image", "cached_audio")


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys((*READ, "output"), amounts)
    ),
    counts, counts, counts, counts, counts, st.tuples(counts, counts),
)  # fmt: skip
def test_each_token_is_paid_once(
    price: dict[str, Decimal],
    prompt: int,
    cached: int,
    image: int,
    audio: int,
    completion: int,
    of_cache: tuple[int, int],
) -> None:
    """Whatever a vendor says of the kinds, at one price for all of them it is the sum times the price."""
    usage = Usage(prompt=prompt, cached=cached, prompt_image=image, prompt_audio=audio, completion=completion)
    usage = replace(usage, cached_image=of_cache[0], cached_audio=of_cache[1])
    one = dict.fromkeys(READ, Decimal("0.25"))
    flat = tariff({**one, "output": Decimal("0.5")}).cost(usage)
    assert Fraction(flat) == Fraction(prompt, 4_000_000) + Fraction(completion, 2_000_000)
    dearest = max((price[kind] for kind in price if kind != "output"), default=Decimal(0))
    cost = Fraction(tariff(price).cost(usage))
    output = Fraction(price.get("output", Decimal(0))) * completion / 1_000_000
    assert output <= cost <= output + Fraction(dearest) * prompt / 1_000_000


@given(st.lists(st.tuples(counts, counts), max_size=30), amounts, amounts)
def test_many_costs_add_up_exactly(tries: list[tuple[int, int]], into: Decimal, out: Decimal) -> None:
    at = tariff({"input": into, "output": out})
    total = sum((at.cost(Usage(prompt=prompt, completion=after)) for prompt, after in tries), Decimal(0))
    prompt, after = sum(one for one, _ in tries), sum(other for _, other in tries)
    assert Fraction(total) == (Fraction(into) * prompt + Fraction(out) * after) / 1_000_000


def test_a_price_holds_from_its_day_on() -> None:
    prices = [{"input": 2, "output": 2, "from": "2027-01-01"}, {"input": 1, "output": 1, "currency": "EUR"}]
    new_year = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    assert tariff(prices, new_year - 0.001).currency == "EUR"
    assert tariff(prices, new_year).currency == "CNY"
    assert plain(tariff(prices, new_year).cost(Usage(prompt=1_000_000))) == "2"


TIERED = [
    {"input": 2, "output": 12},
    {"input": 1, "output": 6, "tier": "batch"},
    {"input": 1.2, "output": 7, "tier": "batch", "from": "2027-01-01"},
    {"input": 5, "output": 30, "tier": "priority", "currency": "USD"},
]


@pytest.mark.parametrize(
    ("tier", "day", "cost"),
    [
        (None, 1, "0.014"),
        ("standard", 1, "0.014"),
        ("flex", 1, "0.014"),
        ("batch", 1, "0.007"),
        ("batch", 2, "0.0082"),
        ("priority", 1, "0.014"),  # held in another currency
    ],
)
def test_a_tier_costs_its_own_price(tier: str | None, day: int, cost: str) -> None:
    entry = ModelEntry.model_validate({"targets": ["a/b"], "price": TIERED})
    prices = Prices.of(entry.price, "CNY")
    assert prices is not None
    usual = prices.at()
    assert usual is not None
    when = datetime(2027, 1, 1, tzinfo=UTC).timestamp() - 2 + day
    found = prices.served(usual, tier, when)
    assert plain(found.cost(Usage(prompt=1000, completion=1000))) == cost


@pytest.mark.parametrize(
    ("amount", "currency", "into", "worth"),
    [
        ("1", "USD", "USD", "1"),
        ("1", "CNY", "USD", "0.14"),
        ("0.2", "points", "USD", "0.0000056"),
        ("1", "USD", "CNY", "7.142857142857"),
        ("9000000", "CNY", "CNY", "9000000"),
        ("1", "EUR", "EUR", "1"),
        ("1", "EUR", "USD", None),
        ("1", "USD", "EUR", None),
    ],
)
def test_what_money_is_worth_in_another(amount: str, currency: str, into: str, worth: str | None) -> None:
    worths = {"USD": Decimal(1), "CNY": Decimal("0.14"), "points": Decimal("0.000028")}
    found = Rates(worths).convert(Decimal(amount), currency, into)
    assert (found and plain(found)) == worth


def test_nothing_has_a_price_before_its_first_day() -> None:
    entry = ModelEntry.model_validate({"targets": ["a/b"], "price": {"output": 1, "from": "2027-01-01"}})
    prices = Prices.of(entry.price, "USD")
    assert prices is not None
    assert prices.at(datetime(2026, 12, 31, tzinfo=UTC).timestamp()) is None


@pytest.mark.parametrize(
    ("price", "currency"),
    [
        pytest.param({"output": 1}, "CNY", id="the account's"),
        pytest.param({"output": 1, "currency": "USD"}, "USD", id="its own"),
        pytest.param([{"output": 1}, {"output": 2, "from": "2027-01-01"}], "CNY", id="it rises"),
        pytest.param(
            [{"output": 1}, {"output": 1, "currency": "USD", "from": "2027-01-01"}], None, id="it moves"
        ),
        pytest.param({"output": 1, "from": "2027-01-01"}, None, id="none before its first day"),
    ],
)
def test_a_price_has_one_currency_at_any_time_or_none(price: Any, currency: str | None) -> None:
    entry = ModelEntry.model_validate({"targets": ["a/b"], "price": price})
    prices = Prices.of(entry.price, "CNY")
    assert prices is not None
    assert prices.currency == currency


def test_what_is_unpriced_has_no_price() -> None:
    entry = ModelEntry.model_validate({"targets": ["a/b"], "price": "unpriced"})
    assert entry.price == []
    assert Prices.of(entry.price, "USD") is None
    assert Prices.of(None, "USD") is None


FILE = """
providers:
  google: {wire: gemini, base_url: 'https://g.example/v1beta', keys: [k1-secret]}
  jlike: {profile: jlike, keys: [k2-secret], currency: CNY}
  lan: {wire: openai, base_url: 'https://l.example/v1', keys: [k3-secret]}
models:
  banana:
    targets: [google/gemini-3-pro-image, {use: jlike.image/nano-banana-pro, price: {image: 1.5}}]
    fallback: [{use: lan/banana, price: unpriced}, cheap]
    price: {image: 0.134}
  cheap: {targets: [jlike.image/nano-banana], price: {image: 0.3}}
  free: {targets: [lan/llama]}
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("banana", [("google/gemini-3-pro-image", "banana", "0.134 USD"),
                    ("jlike.image/nano-banana-pro", "banana", "1.5 CNY"),
                    ("lan/banana", "banana", None),
                    ("jlike.image/nano-banana", "banana", "0.3 CNY")]),
        ("free", [("lan/llama", "free", None)]),
        ("jlike.image/nano-banana", [("jlike.image/nano-banana", "jlike.image/nano-banana", "0.3 CNY")]),
        ("lan/other", [("lan/other", "lan/other", None)]),
    ],
)  # fmt: skip
def test_a_target_costs_its_own_price_else_the_models(
    tmp_path: Path, name: str, expected: list[tuple[str, str, str | None]]
) -> None:
    (tmp_path / "providers.yaml").write_text(FILE)
    loaded = load(tmp_path / "providers.yaml", {})
    assert loaded.config is not None
    route = Routes.of(loaded.config, {}).resolve(name, ClientKey("all"))
    found = []
    for one in route.order():
        at = one.prices.at() if one.prices else None
        found.append((one.target.name, one.sold_as, at and f"{plain(at.cost(None, 1))} {at.currency}"))
    assert found == expected
