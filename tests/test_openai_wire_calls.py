"""Tool calls, put together from what servers make of the standard."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.types import Json, Slice, ToolCall
from tests.openai_wire import calls, delta, events, reader, whole

NEW = re.compile(r"call_[0-9a-f]{24}")


def piece(index: Any = None, id: Any = None, name: Any = None, arguments: Any = None) -> Json:
    """A fragment; what is None is absent."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    found: Json = {"type": "function", "function": function}
    if index is not None:
        found["index"] = index
    if id is not None:
        found["id"] = id
    return found


def found_in(*chunks: list[Json]) -> list[tuple[str, str, str]]:
    """The calls of a stream, made ids as `new`."""
    found = calls(events(*(delta(tool_calls=chunk) for chunk in chunks)))
    return [("new" if NEW.fullmatch(id) else id, name, arguments) for id, name, arguments in found]


CASES: dict[str, tuple[tuple[list[Json], ...], list[tuple[str, str, str]]]] = {
    "standard": (
        (
            [piece(0, "a", "f", "")],
            [piece(0, arguments='{"x"')],
            [piece(0, arguments=":1}")],
            [piece(1, "b", "g", "")],
            [piece(1, arguments="{}")],
        ),
        [("a", "f", '{"x":1}'), ("b", "g", "{}")],
    ),
    "interleaved": (
        (
            [piece(0, "a", "f", ""), piece(1, "b", "g", "")],
            [piece(0, arguments='{"x":1}')],
            [piece(1, arguments='{"y":2}')],
        ),
        [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')],
    ),
    "no index": (
        (
            [piece(id="a", name="f", arguments="{")],
            [piece(arguments="}")],
            [piece(id="b", name="f", arguments="{}")],
        ),
        [("a", "f", "{}"), ("b", "f", "{}")],
    ),
    "index 0 for all, with ids": (
        ([piece(0, "a", "f", '{"x":1}')], [piece(0, "b", "f", '{"x":1}')], [piece(0, "c", "g", "{}")]),
        [("a", "f", '{"x":1}'), ("b", "f", '{"x":1}'), ("c", "g", "{}")],
    ),
    "index 0 for all in one chunk, without ids": (
        ([piece(0, name="f", arguments='{"x":1}'), piece(0, name="f", arguments='{"x":2}')],),
        [("new", "f", '{"x":1}'), ("new", "f", '{"x":2}')],
    ),
    "index restarts, without ids": (
        (
            [piece(0, name="f", arguments='{"x"')],
            [piece(0, arguments=":1}")],
            [piece(0, name="g", arguments='{"y"')],
            [piece(0, arguments=":2}")],
        ),
        [("new", "f", '{"x":1}'), ("new", "g", '{"y":2}')],
    ),
    "ids empty": (
        ([piece(0, "", "f", "{}"), piece(1, "", "f", "{}")],),
        [("new", "f", "{}"), ("new", "f", "{}")],
    ),
    "an id per chunk": (
        ([piece(0, "a", "f", "")], [piece(0, "b", arguments='{"x"')], [piece(0, "c", arguments=":1}")]),
        [("a", "f", '{"x":1}')],
    ),
    "id and name in every chunk": (
        ([piece(0, "a", "f", "")], [piece(0, "a", "f", '{"x"')], [piece(0, "a", "f", ":1}")]),
        [("a", "f", '{"x":1}')],
    ),
    "name in every chunk, no id": (
        ([piece(0, name="f", arguments="{")], [piece(0, name="f", arguments='"x":1}')]),
        [("new", "f", '{"x":1}')],
    ),
    "empty strings in later chunks": (
        ([piece(0, "a", "f", "{")], [piece(0, "", "", "}")]),
        [("a", "f", "{}")],
    ),
    "the same id twice": (
        ([piece(0, "a", "f", '{"x":1}')], [piece(1, "a", "f", '{"x":2}')]),
        [("a", "f", '{"x":1}'), ("new", "f", '{"x":2}')],
    ),
    "the whole call once more": (
        ([piece(0, "a", "f", '{"x":1}')], [piece(0, "a", "f", '{"x":1}')]),
        [("a", "f", '{"x":1}')],
    ),
    "arguments as an object": (
        ([piece(0, "a", "f", {"x": [1, "é"]})],),
        [("a", "f", '{"x":[1,"é"]}')],
    ),
    "a brace at a cut": (
        ([piece(0, "a", "f", '{"x":{}')], [piece(0, "a", "f", ',"y":1}')]),
        [("a", "f", '{"x":{},"y":1}')],
    ),
    "no arguments": (([piece(0, "a", "f")],), [("a", "f", "{}")]),
    "{} before the real ones": (
        ([piece(0, "a", "f", "{}")], [piece(0, arguments='{"x":')], [piece(0, arguments="1}")]),
        [("a", "f", '{"x":1}')],
    ),
    "two calls without arguments": (
        ([piece(0, "a", "f", "{}")], [piece(0, "b", "f", "{}")]),
        [("a", "f", "{}"), ("b", "f", "{}")],
    ),
    "the name comes late": (
        ([piece(0, "a", arguments='{"x"')], [piece(0, name="f", arguments=":1}")]),
        [("a", "f", '{"x":1}')],
    ),
    "the id comes late": (
        ([piece(0, name="f", arguments="{")], [piece(0, "a", arguments="}")]),
        [("new", "f", "{}")],
    ),
}


@pytest.mark.parametrize(("chunks", "expected"), CASES.values(), ids=CASES)
def test_fragments(chunks: tuple[list[Json], ...], expected: list[tuple[str, str, str]]) -> None:
    """G-151, G-152, G-174, for this wire."""
    assert found_in(*chunks) == expected


@pytest.mark.parametrize(
    "chunks",
    [
        [[piece(0, "a", "f", '{"x"'), piece(1, "b", "g", "")], [piece(0, arguments=":1}")],
         [piece(1, arguments='{"y":2}')]],
        [[piece(0, "a", "f", "")], [piece(1, "b", "g", '{"y":')], [piece(0, arguments='{"x":1}')],
         [piece(1, arguments="2}")]],
        [[piece(0, "a", "f", '{"x":1}'), piece(1, "b", "g", '{"y":2}')]],
        [[piece(0, "a", "f", '{"x"'), piece(1, "b", "g", '{"y":'), piece(0, arguments=":1}")],
         [piece(1, arguments="2}")]],
    ],
    ids=["begun together", "one in the other", "whole", "in one chunk"],
)  # fmt: skip
def test_a_call_is_told_when_the_one_before_it_is_over(chunks: list[list[Json]]) -> None:
    """OpenAI's streams never go back to an earlier call, and clients do not look for it."""
    told = [
        one for one in events(*(delta(tool_calls=chunk) for chunk in chunks)) if isinstance(one, ToolCall)
    ]
    assert [one.index for one in told] == sorted(one.index for one in told)
    assert calls(told) == [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]


@pytest.mark.parametrize("late", [0, 1])
def test_a_call_whose_name_comes_late_keeps_its_turn(late: int) -> None:
    names = ["f", "g", "h"]
    begun = [[piece(at, "abc"[at], "" if at == late else names[at], "{}")] for at in range(3)]
    chunks = [delta(tool_calls=chunk) for chunk in (*begun, [piece(late, name=names[late])])]
    told = [one for one in events(*chunks) if isinstance(one, ToolCall)]
    assert [one.index for one in told] == sorted(one.index for one in told)
    assert calls(told) == [("a", "f", "{}"), ("b", "g", "{}"), ("c", "h", "{}")]


def test_calls_that_come_in_turn_are_not_held() -> None:
    reading = reader()
    chunks = [[piece(0, "a", "f", '{"x":')], [piece(0, arguments="1}")], [piece(1, "b", "g", '{"y":')]]
    told = [event for chunk in chunks for event in reading.feed(delta(tool_calls=chunk))]
    assert [one.index for one in told if isinstance(one, ToolCall)] == [0, 0, 1]


def test_a_call_that_is_not_in_a_list() -> None:
    assert calls(events(delta(tool_calls=piece(0, "a", "f", "{}")))) == [("a", "f", "{}")]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"q": "cut \ud83d"}, r'{"q": "cut \ud83d"}'),
        ({"q": 2**80}, '{"q": 1208925819614629174706176}'),
        ({"q": json.loads("[" * 300 + "]" * 300)}, '{"q": ' + "[" * 300 + "]" * 300 + "}"),
    ],
    ids=["half", "large", "deep"],
)
def test_arguments_as_an_odd_object_are_text_too(arguments: Json, told: str) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    assert calls(events(whole(content=None, tool_calls=[call]))) == [("a", "f", told)]


def test_a_call_without_a_name_is_not_lost() -> None:
    assert calls(events(delta(tool_calls=[piece(0, "a", arguments='{"x":1}')]))) == [("a", "", '{"x":1}')]


def test_the_calls_of_a_message_are_separate_whatever_they_are_called() -> None:
    same = [piece(0, "a", "f", {"x": 1}), piece(0, "a", "f", {"x": 1}), piece(name="f", arguments=None)]
    [first, second, third] = calls(events(whole("tool_calls", content=None, tool_calls=same)))
    assert first == ("a", "f", '{"x":1}')
    assert second[1:] == first[1:]
    assert third[1:] == ("f", "{}")
    assert len({first[0], second[0], third[0]}) == 3


def test_a_message_at_the_end_of_a_stream_does_not_repeat_the_calls() -> None:
    call = piece(0, "a", "f", '{"x":1}')
    assert calls(events(delta(tool_calls=[call]), whole("tool_calls", tool_calls=[call]))) == [
        ("a", "f", '{"x":1}')
    ]


def test_legacy_function_calls() -> None:
    """One call, whole or in fragments, with an id of ours."""
    [(id_, name, arguments)] = calls(
        events(whole("function_call", function_call={"name": "f", "arguments": "{}"}))
    )
    assert NEW.fullmatch(id_)
    assert (name, arguments) == ("f", "{}")
    fragments = [{"name": "f", "arguments": ""}, {"arguments": '{"x"'}, {"arguments": ":1}"}]
    again = whole("function_call", function_call={"name": "f", "arguments": '{"x":1}'})
    [(_, name, arguments)] = calls(events(*(delta(function_call=one) for one in fragments), again))
    assert (name, arguments) == ("f", '{"x":1}')


def test_very_long_arguments_are_not_lost() -> None:
    long = Slice(b"QUJD" * 5000)
    chunks = [[piece(0, "a", "f", '{"data":"')], [piece(0, arguments=long)], [piece(0, arguments='"}')]]
    [(_, _, arguments)] = found_in(*chunks)
    assert json.loads(arguments) == {"data": "QUJD" * 5000}


def test_text_that_was_held_comes_before_the_call() -> None:
    found = events(delta(content="Wait!"), delta(tool_calls=[piece(0, "a", "f", "{}")]))
    assert [type(event).__name__ for event in found] == [
        "Started", "Text", "Text", "ToolCall", "ToolCall", "Finish"
    ]  # fmt: skip


_ARGUMENTS = st.dictionaries(
    st.text(max_size=3), st.one_of(st.integers(), st.text(max_size=5)), min_size=1, max_size=3
)


@given(st.data())
def test_any_calls_in_any_cuts_in_any_habit_come_out_whole(data: st.DataObject) -> None:
    """Each habit of a server alone keeps the calls apart."""
    wanted = data.draw(st.lists(st.tuples(st.sampled_from(["f", "g"]), _ARGUMENTS), min_size=1, max_size=4))
    indexed = data.draw(st.sampled_from(["counted", "zero", "absent"]))
    named = data.draw(st.sampled_from(["first", "always"]))
    has_ids = data.draw(st.booleans()) or indexed != "counted"
    chunks: list[list[Json]] = []
    for number, (name, arguments) in enumerate(wanted):
        text = json.dumps(arguments)
        cuts = sorted(data.draw(st.lists(st.integers(1, len(text) - 1), max_size=4)))
        for at, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(text)], strict=True)):
            first = at == 0
            chunks.append(
                [
                    piece(
                        {"counted": number, "zero": 0, "absent": None}[indexed],
                        f"id{number}" if has_ids and (first or named == "always") else None,
                        name if first or named == "always" else None,
                        text[start:end],
                    )
                ]
            )
    found = found_in(*chunks)
    assert [(name, json.loads(arguments)) for _, name, arguments in found] == [
        (name, arguments) for name, arguments in wanted
    ]
    if has_ids:
        assert [identity for identity, _, _ in found] == [f"id{number}" for number in range(len(wanted))]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_many_calls_take_as_long_as_they_are_many(streamed: bool) -> None:
    many = [piece(number, f"c{number}", "f", "{}") for number in range(10_000)]
    began = time.process_time()
    if streamed:
        found = found_in(*([one] for one in many))
    else:
        found = calls(events(whole(tool_calls=many), stream=False))
    assert time.process_time() - began < 5  # about 0.3; looked through one by one, 8 and more
    assert (len(found), found[-1]) == (10_000, ("c9999", "f", "{}"))


def test_arguments_whose_name_is_repeated_take_as_long_as_they_are() -> None:
    """With many brackets in a text, which might each be the end."""
    pieces = ['{"a":"', *["}" * 400] * 2_000, '\\"}', '"}']
    began = time.process_time()
    found = found_in(*([piece(0, "c", "f", arguments)] for arguments in pieces))
    assert time.process_time() - began < 3  # about 0.2; parsed from the start at each piece, 5 and more
    assert found == [("c", "f", "".join(pieces))]


@settings(max_examples=30)
@given(st.dictionaries(st.text('[]{}"\\\\ab', max_size=6), st.text('[]{}"\\\\ab', max_size=6)), st.data())
def test_arguments_end_where_their_json_ends(values: dict[str, str], data: st.DataObject) -> None:
    """However they are cut, a call that begins under the same index is another one."""
    text = json.dumps({"a": values})
    cuts = sorted(data.draw(st.sets(st.integers(1, len(text) - 1), max_size=8)))
    parts = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    found = found_in(*([piece(0, None, "f", part)] for part in parts), [piece(0, None, "f", '{"b":1}')])
    assert found == [("new", "f", text), ("new", "f", '{"b":1}')]
