"""providers.yaml is read by YAML 1.2, and every value knows where it stands."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import document
from proxy.config.document import Document
from proxy.config.problems import Mark, Place, Report

ROOT = Path(__file__).resolve().parents[1]


def read(text: str) -> Document:
    report = Report("f.yaml", text)
    found = document.read(text, report)
    assert report.problems == []
    return found


def problems(text: str) -> list[tuple[str, int, int, str]]:
    report = Report("f.yaml", text)
    document.read(text, report)
    return [(found.code, found.line, found.column, found.message) for found in report.sorted()]


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        # what YAML 1.1 makes 969, 61, True, False, dates, 8, None and 685230 of
        ("16:9", "16:9"),
        ("1:1", "1:1"),
        ("on", "on"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("y", "y"),
        ("2026-11-21", "2026-11-21"),
        ("010", 10),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("=", "="),
        # the core schema
        ("~", None),
        ("", None),
        ("null", None),
        ("nULL", "nULL"),
        ("true", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("-7", -7),
        ("+7", 7),
        ("0o17", 15),
        ("0xFf", 255),
        ("1.50", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-.inf", float("-inf")),
        ("'5'", "5"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("!!float 5", 5.0),
        ("5s", "5s"),
        ("20%", "20%"),
        ("env:KEY?", "env:KEY?"),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("国", "国"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(scalar: str, value: object) -> None:
    found = read(f"a: {scalar}").value["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param((ROOT / "providers.yaml").read_text(encoding="utf-8"), id="shipped"),
        pytest.param("[env:A?, env:B?]", id="questions in brackets"),
        pytest.param('{a?: "b?", c: d?e, "f": g? h}\n', id="other questions"),
        pytest.param("a: b?\n? c\n: d\n", id="questions outside"),
        pytest.param("a: {x: 国, y: &b [16:9, 010]}\nb: *b\n", id="scalars"),
    ],
)
def test_both_parsers_of_pyyaml_read_the_same(text: str) -> None:
    fast, portable = (document.read(text, Report("f.yaml", text), loader) for loader in document.LOADERS)
    assert fast == portable
    assert fast.value


def test_keys_are_text_as_written() -> None:
    assert read("{on: 1, 402: quota, true: x, 010: y}").value == {
        "on": 1,
        "402": "quota",
        "true": "x",
        "010": "y",
    }


def test_every_key_and_value_has_its_place() -> None:
    assert read("a:\n  - b: 1\n    国: {c: d}\n").places == {
        (): Place(Mark(1, 1), Mark(1, 1)),
        ("a",): Place(Mark(1, 1), Mark(2, 3)),
        ("a", 0): Place(Mark(2, 5), Mark(2, 5)),
        ("a", 0, "b"): Place(Mark(2, 5), Mark(2, 8)),
        ("a", 0, "国"): Place(Mark(3, 5), Mark(3, 8)),
        ("a", 0, "国", "c"): Place(Mark(3, 9), Mark(3, 12)),
    }


def test_anchors_and_merge_keys_are_followed() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [{z: 1, x: 9}, *a]}\nd: *a\n"
    assert read(text).value == {
        "a": {"x": 1, "y": 2},
        "b": {"y": 3, "x": 1},
        "c": {"x": 9, "y": 2, "z": 1},
        "d": {"x": 1, "y": 2},
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1\nb: 2\na: 3\n", [("E102", 3, 1, 'duplicate key "a" (first at line 1)')]),
        ("a: !thing 1", [("E100", 1, 4, "not YAML: the tag !thing is not used here")]),
        ("a: !!int five", [("E100", 1, 4, "not YAML: the tag !!int is not used here")]),
        ("a: !!set {b}", [("E100", 1, 4, "not YAML: the tag !!set is not used here")]),
        ("a: &a [*a]", [("E100", 1, 4, "not YAML: an anchor that contains itself")]),
        ("a: &a {<<: *a}", [("E100", 1, 8, "not YAML: only another mapping can be merged by <<")]),
        ("a: {<<: 5}", [("E100", 1, 5, "not YAML: only another mapping can be merged by <<")]),
        ("? [a, b]\n: 1\n", [("E100", 1, 3, "not YAML: a key must be text")]),
    ],
)
def test_what_cannot_be_read_has_a_place(text: str, found: list[tuple[str, int, int, str]]) -> None:
    assert problems(text) == found


def test_what_never_ends_is_reported_at_the_last_line() -> None:
    report = Report("f.yaml", "a: [1, 2\n\n")
    document.read(report.text, report)
    (found,) = report.problems
    assert (found.code, found.line, found.column, found.source_line) == ("E100", 1, 9, "a: [1, 2")
    assert "line 1" in found.hint


def test_anchors_that_multiply_are_stopped() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (found,) = problems("\n".join(lines))
    assert found[3] == (
        "not YAML: there are more than 100000 values here, those of repeated anchors among them"
    )


def test_a_merge_of_what_is_no_mapping_says_what_is_one() -> None:
    report = Report("f.yaml", "a: {<<: 3, b: 1}\n")
    document.read(report.text, report)
    (found,) = report.problems
    assert (found.line, found.column, found.hint) == (
        1, 5, "write <<: *NAME, where &NAME stands before a mapping above",
    )  # fmt: skip


def test_two_documents_in_one_file_are_refused() -> None:
    assert [found[:3] for found in problems("a: 1\n---\nb: 2\n")] == [("E100", 2, 1)]


def test_deep_nesting_is_a_problem_and_no_crash() -> None:
    assert [found[0] for found in problems("[" * 20_000)] == ["E100"]


@given(st.text(st.sampled_from("ab:{}[],\n -#&*!|>'\"\t%@`?<0.~é\x00\ud7ff"), max_size=60))
def test_any_text_is_read_or_has_a_problem(text: str) -> None:
    report = Report("f.yaml", text)
    found = document.read(text, report)
    assert found.value is None or found.places[()]
