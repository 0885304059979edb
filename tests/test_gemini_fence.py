"""JSON that a model was asked for in words comes without the fence around it."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import UpstreamError
from proxy.types import AnswerFormat, Call, Event, FunctionTool, Started, Text
from proxy.wires.gemini.fence import Fences
from proxy.wires.gemini.reader import GeminiReader
from tests.gemini_build import call, user
from tests.gemini_replies import REQUEST, TARGET, chunk, end, reply

ASKED: Any = {"asked_in_words": True}
JSON = '{"a": "```"}'


def read(*texts: str, stream: bool, context: Any = ASKED) -> tuple[list[str], list[Event]]:
    """The pieces of text, and all events."""
    payloads = [chunk({"text": text}) for text in texts[:-1]] + [reply({"text": texts[-1]})]
    reader = GeminiReader(REQUEST, TARGET, Call("/", {}, stream=stream, context=context))
    found = [event for payload in payloads for event in reader.feed(payload)] + reader.close()
    return [event.text for event in found if isinstance(event, Text) and event.text], found


@pytest.mark.parametrize(
    ("said", "given"),
    [
        (['```json\n{"a": 1}\n```'], ['{"a": 1}']),
        (["\n", "``", '`\n{"a"', ": 1}\n``", "`\n"], ['{"a": 1}']),
        (["```JSON\r\n[1]\r\n```"], ["[1]"]),
        (["```json\n{}\n```\nThat is all."], ["```json\n{}\n```\nThat is all."]),
        (["```json\n{}\n```\nor\n```json\n[]\n```"], ["```json\n{}\n```\nor\n```json\n[]\n```"]),
        (["Here: ", "```json\n{}\n```"], ["Here: ", "```json\n{}\n```"]),
        (["{", "}"], ["{", "}"]),
        (["`", "x`"], ["`x`"]),
        (["```json\n{"], ["```json\n{"]),
        ([f"```\n{JSON}\n```"], [JSON]),
        (["```json\n```"], []),
        (["``` a b\n{}\n```"], ["``` a b\n{}\n```"]),
    ],
)
def test_a_fence_around_the_whole_answer_is_taken_off(said: list[str], given: list[str]) -> None:
    pieces, found = read(*said, stream=True)
    assert pieces == given
    assert isinstance(found[0], Started)
    assert end(found).reason == "stop"
    assert "".join(read("".join(said), stream=False)[0]) == "".join(given)


def test_it_stays_where_nobody_asked_for_json() -> None:
    fenced = "```json\n{}\n```"
    assert read(fenced, stream=True, context={})[0] == [fenced]


def test_what_is_held_back_comes_before_the_error_of_a_broken_stream() -> None:
    reader = GeminiReader(REQUEST, TARGET, Call("/", {}, stream=True, context=ASKED))
    assert reader.feed(chunk({"text": "```json\n{"})) == [Started()]
    with pytest.raises(UpstreamError):
        reader.close()
    assert reader.flush() == [Text("```json\n{")]
    assert reader.flush() == []


def test_a_signature_is_not_held_back_and_choices_are_apart() -> None:
    fences = Fences()
    assert fences.held_back([Text("```", 0, "U0lH"), Text("x", 1)]) == [Text("", 0, "U0lH"), Text("x", 1)]
    assert fences.released() == [Text("```", 0)]


def test_json_is_asked_for_in_words_beside_tools_of_older_models() -> None:
    wish = AnswerFormat("json_schema", {"type": "object", "properties": {"a": {"type": "string"}}})
    asked = call("gemini-2.5-flash", user("Hi"), tools=(FunctionTool("f"),), answer_format=wish)
    assert asked.context == ASKED
    assert call("gemini-2.5-flash", user("Hi"), answer_format=wish).context == {}
