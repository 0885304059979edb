"""The request template and its closed forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.types import Slice
from proxy.wires.declared.problems import Problems
from proxy.wires.declared.template import ABSENT, Scope, parse, read_request_line

VALUES = {
    "model": "m", "prompt": "p", "n": 2, "seed": 0, "aspect": None, "tier": "2K", "pixels": None,
    "references": [{"ref": "https://a", "mime": None}, {"ref": Slice(b"AAAA"), "mime": "image/png"}],
    "options": {"on": True, "word": "x"},
}  # fmt: skip


def render(template, values=VALUES):
    problems = Problems()
    node = parse(template, (), Scope({"on": True, "word": "x"}), problems)
    assert problems == []
    return node.render(values)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$prompt", "p"),
        ("$seed", 0),
        ("$aspect", ABSENT),
        ("$$prompt", "$prompt"),
        ("price: $5", "price: $5"),
        (None, ABSENT),
        (False, False),
        ({"a": "$n", "b": "$aspect", "c": None}, {"a": 2}),
        ({"a": {"b": "$aspect"}}, ABSENT),
        ({"a": {}, "b": []}, {"a": {}, "b": []}),
        (["$aspect", "$n"], [2]),
        (["$aspect"], ABSENT),
        ({"$first": ["$aspect", "$pixels", "$tier"]}, "2K"),
        ({"$first": ["$aspect", "auto"]}, "auto"),
        ({"$first": "$aspect"}, ABSENT),
        ({"$map": "$n", "$to": {"1": "one", "2": "two"}}, "two"),
        ({"$map": "$n", "$to": {1: "one"}, "$else": "many"}, "many"),
        ({"$map": "$n", "$to": {1: "one"}}, ABSENT),
        ({"$map": "$n", "$to": {2: None}, "$else": "$n"}, ABSENT),
        ({"$map": "$options.on", "$to": {"true": "$prompt"}}, "p"),
        ({"$map": "$aspect", "$to": {"x": 1}, "$else": 2}, ABSENT),
        ("$options.word", "x"),
        ("$references", ["https://a", Slice(b"AAAA")]),
        ("$references.1", Slice(b"AAAA")),
        ("$references.2", ABSENT),
        ({"$each": "$references", "$as": {"u": "$ref", "m": "$mime"}},
         [{"u": "https://a"}, {"u": Slice(b"AAAA"), "m": "image/png"}]),
        ([{"$each": "$references", "$as": "$ref"}, "$prompt"], ["https://a", Slice(b"AAAA"), "p"]),
    ],
)  # fmt: skip
def test_forms(template, expected):
    """V-049"""
    assert render(template) == expected


def test_nothing_to_repeat_is_nothing_to_send():
    assert render({"a": {"$each": "$references", "$as": "$ref"}}, {"references": []}) is ABSENT
    assert render({"a": "$references"}, {"references": []}) is ABSENT


@pytest.mark.parametrize(
    ("template", "code"),
    [
        ("$promtp", "E122"),
        ("$prompt.x", "E122"),
        ("$references.x", "E122"),
        ("$options.nope", "E122"),
        ("$ref", "E122"),
        ({"$if": "$n"}, "E101"),
        ({"$first": ["$n"], "other": 1}, "E101"),
        ({"$map": "$n"}, "E106"),
        ({"$map": "$n", "$to": []}, "E103"),
        ({"$each": "$references"}, "E106"),
        ({"$each": "$n", "$as": 1}, "E103"),
        ({1: "x"}, "E126"),
    ],
)
def test_what_is_no_form_is_a_problem(template, code):
    problems = Problems()
    parse(template, (), Scope({}), problems)
    assert [problem.code for problem in problems] == [code]


CONSTANTS = st.recursive(
    st.booleans() | st.integers() | st.text().filter(lambda text: not text.startswith("$")),
    lambda inner: (
        st.lists(inner, min_size=1)
        | st.dictionaries(st.text().filter(lambda text: not text.startswith("$")), inner, min_size=1)
    ),
    max_leaves=20,
)


@given(CONSTANTS)
def test_constants_are_sent_as_written(template):
    assert render(template) == template


@pytest.mark.parametrize(
    ("line", "method", "path"),
    [
        ("POST /v1/{model}/jobs", "POST", "/v1/owner/name/jobs"),
        ("GET /r?id={task.id}", "GET", "/r?id=a%2Fb%3Fc"),
        ("DELETE /x", "DELETE", "/x"),
    ],
)
def test_request_lines(line, method, path):
    problems = Problems()
    found = read_request_line(line, (), problems)
    assert problems == []
    assert found.method == method
    assert found.path({"model": "owner/name", "task.id": "a/b?c"}) == path


@pytest.mark.parametrize(
    "line",
    ["/x", "GET x", "get /x", "GET {task.poll_url}/x", "GET {task.id}", "GET /{key}", 5, "GET /{task.id"],
)
def test_broken_request_lines(line):
    problems = Problems()
    read_request_line(line, (), problems)
    assert problems
