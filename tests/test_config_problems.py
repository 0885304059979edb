"""A problem is shown as a compiler shows it, and never shows a secret."""

import pytest

from proxy.checking.mistakes import did_you_mean, shown
from proxy.config import masking
from proxy.config.problems import Mark, Problem, Report

PROBLEM = Problem(
    "providers.yaml",
    88,
    5,
    "error",
    "E101",
    'unknown key "targetz" in models.nano-banana-pro',
    'did you mean "targets"?',
    "    targetz: [google/x]",
)


def test_an_error_has_its_address_the_line_a_caret_and_a_hint() -> None:
    assert PROBLEM.render() == (
        'providers.yaml:88:5: error E101 unknown key "targetz" in models.nano-banana-pro\n'
        "      targetz: [google/x]\n"
        "      ^\n"
        '  hint: did you mean "targets"?'
    )


def test_a_problem_as_json() -> None:
    assert PROBLEM.json() == {
        "file": "providers.yaml",
        "line": 88,
        "column": 5,
        "severity": "error",
        "code": "E101",
        "message": 'unknown key "targetz" in models.nano-banana-pro',
        "hint": 'did you mean "targets"?',
        "source_line": "    targetz: [google/x]",
    }


def test_the_caret_stands_below_its_character_after_tabs_and_wide_characters() -> None:
    problem = Problem("f", 1, 6, "error", "E101", "m", "", "\t国: x!")
    assert problem.render().splitlines()[1:] == ["  \t国: x!", "  \t     ^"]


def test_of_a_long_line_the_part_around_the_caret_is_shown() -> None:
    problem = Problem("f", 1, 500, "error", "E101", "m", "", "a" * 499 + "b" + "a" * 499)
    _, line, caret = problem.render().splitlines()
    assert len(line) == 162
    assert line[caret.index("^")] == "b"


def test_a_note_is_one_line() -> None:
    assert Problem("f", 1, 1, "note", "N107", "off", "hint", "line").render() == "f:1:1: note N107 off"


def test_problems_come_in_the_order_of_the_file_and_once() -> None:
    report = Report("f", "a\nb")
    for mark in (Mark(2, 1), Mark(1, 1), Mark(2, 1)):
        report.add("E100", mark, "m")
    assert [(problem.line, problem.severity) for problem in report.sorted()] == [(1, "error"), (2, "error")]


def test_paths_are_written_as_people_write_them() -> None:
    assert shown(("providers", "google", "keys", 1)) == "providers.google.keys[1]"


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("targetz", ["targets", "pick"], 'did you mean "targets"?'),
        ("zzz", ["b", "a"], "known: a, b"),
        ("zzz", [], ""),
    ],
)
def test_a_near_name_is_suggested(word: str, known: list[str], hint: str) -> None:
    assert did_you_mean(word, known) == hint


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("    key: hunter2", "    key: *******"),
        ("{name: app, key: hunter2, models: [flash]}", "{name: app, key: *******, models: [flash]}"),
        ("keys: [hunter2, env:B, 'two']", "keys: [*******, env:B, 'two']"),
        ('api_key: "hunter 22"', 'api_key: "****** 22"'),
        ("password: hunter2 # mine", "password: ******* # mine"),
        ("admin: env:ADMIN?", "admin: env:ADMIN?"),
        ("keys: [file:/run/secrets/x]", "keys: [file:/run/secrets/x]"),
        ("  - sk-abcdefgh12", "  - *************"),
        ("wrong: AIzaSyA123456789", "wrong: ****************"),
        ("shared: redis://me:pw1@host/0", "shared: redis://******@host/0"),
        ("targets: [google/gemini-3.1-flash-lite-image-preview]",) * 2,
        ("models: [flash]", "models: [flash]"),
    ],
)
def test_literal_secrets_are_blanked_and_keep_their_width(text: str, masked: str) -> None:
    assert masking.mask(text) == masked
    assert len(masked) == len(text)


def test_a_known_secret_is_blanked_anywhere() -> None:
    assert masking.mask("x blue-horse y", ["blue-horse"]) == "x ********** y"
