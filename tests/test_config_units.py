"""Quantities carry their unit, and mean what they say."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checking import units
from proxy.checking.units import Rate


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (units.duration, "5s", 5.0),
        (units.duration, "500ms", 0.5),
        (units.duration, "10m", 600.0),
        (units.duration, "1h", 3600.0),
        (units.duration, "2d", 172800.0),
        (units.duration, "1.5s", 1.5),
        (units.duration, "0s", 0.0),
        (units.size, "20MiB", 20_971_520),
        (units.size, "1.5KiB", 1536),
        (units.size, "10MB", 10_000_000),
        (units.size, "512B", 512),
        (units.rate, "600/min", Rate(600, 60.0)),
        (units.rate, "200/day", Rate(200, 86400.0)),
        (units.rate, "5/s", Rate(5, 1.0)),
        (units.rate, "9/hour", Rate(9, 3600.0)),
        (units.percent, "20%", 0.2),
        (units.percent, "0%", 0.0),
    ],
)
def test_quantities_are_read(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize("parse", [units.duration, units.size, units.rate, units.percent])
@pytest.mark.parametrize(
    "text",
    ["", "5", "s", "-5s", "5 s", " 5s", "5s\n", "5s5", "1e3s", "٥s", "5S", ".5s", "5.s", "9" * 20 + "s"],
)
def test_anything_else_is_refused(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match="; write "):
        parse(text)


@pytest.mark.parametrize(
    ("parse", "text", "meant"),
    [
        (units.duration, "5 seconds", "5s"),
        (units.duration, "1.5 hr", "1.5h"),
        (units.duration, "3min", "3m"),
        (units.duration, "200 msec", "200ms"),
        (units.size, "64 megabytes", "64MiB"),
        (units.size, "20M", "20MiB"),
        (units.size, "2gb", "2GiB"),
        (units.rate, "1M/day", "1000000/day"),
        (units.rate, "1.5k/min", "1500/min"),
        (units.rate, "1,000 / minute", "1000/min"),
        (units.rate, "60 per second", "60/s"),
        (units.rate, "600/m", "600/min"),
    ],
)
def test_another_spelling_is_told_in_ours(parse: Callable[[str], object], text: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"; write {meant}$"):
        parse(text)
    assert parse(meant)


@pytest.mark.parametrize("text", ["0.5/min", "60/fortnight", "60/ms", "k/min"])
def test_what_could_be_several_rates_is_not_guessed(text: str) -> None:
    with pytest.raises(ValueError, match="write for example"):
        units.rate(text)


@given(st.integers(0, 10**12 - 1), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_a_duration_is_its_number_times_its_unit(number: int, unit: str) -> None:
    seconds = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    assert units.duration(f"{number}{unit}") == pytest.approx(number * seconds)


@given(st.decimals(0, 10**6, places=3), st.sampled_from(["B", "kB", "KB", "MB", "GB", "KiB", "MiB", "GiB"]))
def test_a_size_is_a_whole_number_of_bytes(number: object, unit: str) -> None:
    base = 1024 if "i" in unit else 1000
    power = " KMG".index(unit[0].upper()) if unit != "B" else 0
    assert units.size(f"{number}{unit}") == round(float(str(number)) * base**power)


@given(st.text(max_size=12))
def test_no_text_does_more_than_raise_a_value_error(text: str) -> None:
    for parse in (units.duration, units.size, units.rate, units.percent):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert value is not None
