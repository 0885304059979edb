"""Patterns of names: what fits, which of several wins, and that names from outside cost little."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checking.name_patterns import NamePattern, PatternTable


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("gpt-4o*", "gpt-4o", True),
        ("gpt-4o*", "gpt-4o-mini", True),
        ("gpt-4o*", "gpt-4", False),
        ("gpt-4o*", "my-gpt-4o", False),
        ("*-mini", "gpt-5-mini", True),
        ("*-mini", "gpt-5-mini-2025", False),
        ("gpt-*-mini", "gpt-5-mini", True),
        ("gpt-*-mini", "gpt-mini", False),
        ("gpt-*mini", "gpt-mini", True),
        ("ab*ba", "aba", False),
        ("*4*o*", "gpt-4.1-turbo", True),
        ("*4*o*", "gpt-o-4", False),
        ("a**b", "ab", True),
        ("[x]*.1", "[x]y.1", True),
        ("[x]*.1", "xy.1", False),
        ("a.c*", "abc", False),
        ("gpt*", "GPT-4", False),
    ],
)
def test_a_star_is_any_text_and_all_else_is_itself(pattern: str, name: str, fits: bool) -> None:
    assert NamePattern.of(pattern).fits(name) is fits


@given(st.text("ab*", min_size=1, max_size=8), st.text("ab", max_size=12))
def test_it_fits_where_the_regular_expression_would(pattern: str, name: str) -> None:
    expression = ".*".join(map(re.escape, pattern.split("*")))
    if "*" in pattern:
        assert NamePattern.of(pattern).fits(name) is bool(re.fullmatch(expression, name))


@pytest.mark.parametrize(
    ("patterns", "name", "found"),
    [
        (["gpt-*", "gpt-4o*"], "gpt-4o-mini", "gpt-4o*"),
        (["gpt-*", "gpt-4o*"], "gpt-5", "gpt-*"),
        (["gpt-4*", "gpt-*-mini"], "gpt-4.1-mini", "gpt-*-mini"),
        (["*-mini", "gpt-4*"], "gpt-4-mini", "*-mini"),
        (["gpt-4*", "*-mini"], "gpt-4-mini", "gpt-4*"),
        (["gpt-*"], "claude-3", None),
        (["gpt-*", "*"], "gpt-4/x", None),
        (["gpt-*", "openai/gpt-*"], "openai/gpt-4o", "openai/gpt-*"),
        (["openai/*"], "openai/a/b", "openai/*"),
        (["*/gpt-4o"], "gpt-4o", None),
        ([], "gpt-4o", None),
    ],
)
def test_the_pattern_that_says_most_wins_and_of_equals_the_first(
    patterns: list[str], name: str, found: str | None
) -> None:
    assert PatternTable.of(patterns).find(name) == found


def test_names_that_no_model_has_are_not_looked_at() -> None:
    table = PatternTable.of(["gpt-4o*", "*a*a*a*a*a*a*a*a*a*a*b"])
    assert table.find("gpt-4o".ljust(256, "-")) == "gpt-4o*"
    assert table.find("gpt-4o".ljust(257, "-")) is None
    began = time.process_time()
    assert [table.find("a" * 500_000), table.find("a" * 256)] == [None, None]
    assert time.process_time() - began < 0.1  # an expression that goes back and forth takes years
