"""Gemini function calls into tool calls: literal payloads, literal events."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import UpstreamError
from proxy.types import (
    ChatRequest,
    Finish,
    FunctionTool,
    Slice,
    Text,
    ToolCall,
)
from proxy.wires.gemini.openapi import OpenApi
from tests.gemini_replies import REQUEST, call, chunk, end, only, read, reply


def test_parallel_calls() -> None:
    """G-139, G-151, G-152, G-153, G-174: ids are kept, indexes count, no arguments are `{}`."""
    events = read(
        reply(
            {**call("w", id="a1", args={"c": "Zürich", "n": 1}), "thoughtSignature": "U0lH"},
            call("w", id="a2"),
            call("w", args=None),
        )
    )
    first, second, third = only(events, ToolCall)
    assert first == ToolCall(0, "a1", "w", '{"c":"Zürich","n":1}', 0, "U0lH")
    assert second == ToolCall(1, "a2", "w", "{}")
    assert isinstance(third, ToolCall)
    assert third.id.startswith("call_")
    assert len(third.id) == 29
    assert third == ToolCall(2, third.id, "w", "{}")
    assert end(events) == Finish("tool_calls", "STOP", 0)


def test_an_id_that_comes_twice_or_empty_is_replaced() -> None:
    """G-151."""
    events = read(reply(call("w", id="a"), call("w", id="a"), call("w", id="")))
    ids = [event.id for event in events if type(event) is ToolCall]
    assert ids[0] == "a"
    assert len(set(ids)) == 3
    assert all(ids)


def test_a_call_in_an_early_chunk_still_ends_with_tool_calls() -> None:
    """G-139, G-174, G-176."""
    events = read(
        chunk(call("w", id="1")), chunk(call("w", id="2")), chunk({"text": ""}, finishReason="STOP")
    )
    assert only(events, ToolCall, Finish) == [
        ToolCall(0, "1", "w", "{}"),
        ToolCall(1, "2", "w", "{}"),
        Finish("tool_calls", "STOP", 0),
    ]


def test_the_token_limit_after_a_call_stays_length() -> None:
    """G-140: the calls are kept."""
    events = read(reply(call("w", id="1"), finishReason="MAX_TOKENS"))
    assert only(events, ToolCall, Finish) == [ToolCall(0, "1", "w", "{}"), Finish("length", "MAX_TOKENS", 0)]


def test_only_the_first_call_passes_when_parallel_calls_are_unwanted() -> None:
    """G-078: over all chunks; it is the one with the signature."""
    request = ChatRequest("m", REQUEST.messages, parallel_calls=False)
    signed = {**call("w", id="1"), "thoughtSignature": "U0lH"}
    events = read(
        chunk(signed, call("w", id="2")), chunk(call("w", id="3"), finishReason="STOP"), request=request
    )
    assert only(events, ToolCall) == [ToolCall(0, "1", "w", "{}", 0, "U0lH")]
    assert end(events).reason == "tool_calls"


@pytest.mark.parametrize(
    ("upstream", "client"),
    [
        pytest.param("_1st", "1st", id="G-064 renamed"),
        pytest.param("default_api:_1st", "1st", id="G-065 and renamed"),
        pytest.param("default_api:plain", "plain", id="G-065"),
        pytest.param("default_api.plain", "plain", id="G-065 dot"),
        pytest.param("ns:whole", "ns:whole", id="G-065 declared so"),
        pytest.param("unknown", "unknown", id="not declared"),
        pytest.param("default_api:unknown", "default_api:unknown", id="suffix not declared"),
    ],
)
def test_a_functions_name_is_the_clients(upstream: str, client: str) -> None:
    request = ChatRequest(
        "m", REQUEST.messages, tools=(FunctionTool("1st"), FunctionTool("plain"), FunctionTool("ns:whole"))
    )
    events = read(reply(call(upstream, id="a")), request=request, names={"_1st": "1st"})
    assert only(events, ToolCall) == [ToolCall(0, "a", client, "{}")]


def test_a_call_that_google_made_itself_is_not_the_clients() -> None:
    """4.1: a functionResponse in an answer is Google's own (MCP servers)."""
    tools = [{"mcpServers": [{"name": "w"}]}, {"functionDeclarations": [{"name": "mine"}]}]
    hosted = call("w_get", args={"c": "Paris"})
    answered = {"functionResponse": {"name": "w_get", "response": {"t": 1}}}
    events = read(reply(hosted, answered, {"text": "1 degree"}, call("mine", id="a")), body={"tools": tools})
    assert only(events, Text, ToolCall) == [Text("1 degree"), ToolCall(0, "a", "mine", "{}")]


BROKEN = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE")


@pytest.mark.parametrize("word", BROKEN)
def test_a_call_that_the_vendor_calls_broken_is_never_handed_out(word: str) -> None:
    """4.2: alone it is an empty reply, beside text it is left out, also where others seem whole."""
    request = ChatRequest("m", REQUEST.messages, tools=(FunctionTool("mine"),))
    said = {"finishReason": word, "finishMessage": "Broken: list_files"}
    for calls in ((call("list_files"),), (call("mine", id="a"), call("list_files"))):
        with pytest.raises(UpstreamError) as caught:
            read(reply(*calls, **said), request=request)
        assert caught.value.code == "upstream_malformed_response"
        assert "list_files" in caught.value.message
        events = read(reply({"text": "Hm."}, *calls, **said), request=request)
        assert only(events, Text, ToolCall) == [Text("Hm.")]
        assert end(events).reason == "stop"


@pytest.mark.parametrize("word", BROKEN)
def test_a_call_that_was_streamed_before_it_is_called_broken_ends_in_an_error(word: str) -> None:
    """It cannot be taken back, so the stream must not end as if it could be made."""
    with pytest.raises(UpstreamError) as caught:
        read(chunk(call("w", id="a")), chunk({"text": ""}, finishReason=word))
    assert caught.value.code == "upstream_malformed_response"
    assert caught.value.native == word
    assert caught.value.bought is True


def test_a_broken_call_in_pieces_or_in_the_last_chunk_of_a_stream_is_left_out() -> None:
    said = {"finishReason": "MALFORMED_FUNCTION_CALL"}
    opener = {"functionCall": {"name": "w", "id": "a", "willContinue": True}}
    for last in ([opener], [call("w")], [opener, {"functionCall": {}}]):
        events = read(chunk({"text": "Hm."}), chunk(*last, **said))
        assert only(events, Text, ToolCall) == [Text("Hm.")]
    events = read(chunk({"text": "Hm."}), chunk(opener), chunk(**said))
    assert only(events, Text, ToolCall) == [Text("Hm.")]


def piece(path: str, **value: Any) -> dict[str, Any]:
    return {"functionCall": {"partialArgs": [{"jsonPath": path, **value}], "willContinue": True}}


OPENER = {"functionCall": {"name": "w", "id": "a", "willContinue": True}, "thoughtSignature": "U0lH"}


def test_arguments_in_pieces_become_one_call() -> None:
    """2.7 of the contract, Vertex: strings continue, objects and lists grow, the closer ends the call."""
    events = read(
        chunk(OPENER),
        chunk(piece("$.c", stringValue="Par", willContinue=True)),
        chunk(piece("$.c", stringValue="is", willContinue=True)),
        chunk(piece("$.c", stringValue="")),
        chunk(piece("$.ops[0].x", numberValue=0)),
        chunk(piece("$.ops[0].y", stringValue="z")),
        chunk({"functionCall": {"partialArgs": [{"numberValue": 1}], "willContinue": True}}),
        chunk({"functionCall": {"willContinue": True}}),
        chunk(piece("$.ops[1].x", boolValue=False)),
        chunk(piece("$['a b'].y", nullValue="NULL_VALUE")),
        chunk({"functionCall": {}}),
        chunk({"functionCall": {"name": "v", "id": "b"}}, finishReason="STOP"),
    )
    assert only(events, ToolCall) == [
        ToolCall(
            0, "a", "w", '{"c":"Paris","ops":[{"x":0,"y":"z"},{"x":false}],"a b":{"y":null}}', 0, "U0lH"
        ),
        ToolCall(1, "b", "v", "{}"),
    ]
    assert end(events).reason == "tool_calls"


def test_pieces_without_an_opener_are_nothing() -> None:
    events = read(chunk(piece("$.c", stringValue="x")), chunk({"text": "a"}, finishReason="STOP"))
    assert only(events, ToolCall, Finish) == [Finish("stop", "STOP", 0)]


@pytest.mark.parametrize(
    ("given", "arguments"), [('{"a": 1}', '{"a": 1}'), (" ", "{}"), ({"a": Slice(b"QUJD")}, '{"a":"QUJD"}')]
)
def test_arguments_that_a_reseller_gives_as_text_are_passed_on(given: Any, arguments: str) -> None:
    """G-152."""
    assert only(read(reply(call("f", id="1", args=given))), ToolCall) == [ToolCall(0, "1", "f", arguments)]


FREE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "headers": {"type": "object"},
        "rows": {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}},
        "either": {"anyOf": [{"type": "object"}, {"type": "integer"}]},
        "note": {"type": "string", "description": "An object?"},
    },
}


def test_arguments_that_no_json_has_a_form_for_are_the_vendors_fault() -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = [deep]
    with pytest.raises(UpstreamError) as caught:
        read(reply(call("w", args={"q": deep})))
    assert caught.value.code == "upstream_malformed_response"


def declared(schema: Any) -> dict[str, Any]:
    return {"tools": [{"functionDeclarations": [{"name": "w", "parameters": OpenApi().parameters(schema)}]}]}


@pytest.mark.parametrize(
    ("args", "arguments"),
    [
        ({"headers": '{"a": {"b": 1}}'}, '{"headers":{"a":{"b":1}}}'),
        ({"rows": ['{"a":"x"}', "{}"]}, '{"rows":[{"a":"x"},{}]}'),
        ({"either": '{"a":1}'}, '{"either":{"a":1}}'),
        ({"either": 7, "unknown": "{}"}, '{"either":7,"unknown":"{}"}'),
        ({"note": '{"a":1}'}, '{"note":"{\\"a\\":1}"}'),
        ({"headers": "none"}, '{"headers":"none"}'),
        ({"headers": "7", "rows": "x"}, '{"headers":"7","rows":"x"}'),
        ({"headers": {"a": 1}, "rows": [{"a": "x"}]}, '{"headers":{"a":1},"rows":[{"a":"x"}]}'),
    ],
)
def test_objects_that_were_asked_for_as_text_are_objects_again(args: Any, arguments: str) -> None:
    """The OpenAPI form has no objects of free keys."""
    [whole] = only(read(reply(call("w", args=args)), body=declared(FREE)), ToolCall)
    [pieced] = only(
        read(
            chunk(call("w", args=args, willContinue=True)),
            chunk(call(""), finishReason="STOP"),
            body=declared(FREE),
        ),
        ToolCall,
    )
    assert isinstance(whole, ToolCall)
    assert isinstance(pieced, ToolCall)
    assert (whole.arguments, pieced.arguments) == (arguments, arguments)


def test_a_structure_that_was_cut_where_it_repeats_comes_back_whole() -> None:
    tree = {
        "properties": {
            "value": {"type": "string"},
            "children": {"type": "array", "items": {"$ref": "#/$defs/T"}},
        }
    }
    schema = {"$ref": "#/$defs/T", "$defs": {"T": tree}}
    args = {"value": "a", "children": ['{"value": "b", "children": [{"value": "c"}]}']}
    [found] = only(read(reply(call("w", args=args)), body=declared(schema)), ToolCall)
    assert isinstance(found, ToolCall)
    assert found.arguments == '{"value":"a","children":[{"value":"b","children":[{"value":"c"}]}]}'


def test_a_new_opener_and_the_end_of_the_stream_close_a_call() -> None:
    second = {"functionCall": {"name": "v", "id": "b", "willContinue": True}}
    events = read(chunk(OPENER), chunk(second), chunk(piece("$.k", stringValue="x"), finishReason="STOP"))
    assert only(events, ToolCall) == [
        ToolCall(0, "a", "w", "{}", 0, "U0lH"),
        ToolCall(1, "b", "v", '{"k":"x"}'),
    ]


@given(st.lists(st.text("$.[]'\"ab01x", max_size=12), max_size=6))
def test_no_path_of_a_piece_breaks_the_reader(paths: list[str]) -> None:
    pieces = [piece(path, stringValue="v") for path in [*paths, "$.list[999999999]", "$.list.key"]]
    events = read(chunk(OPENER), *map(chunk, pieces), chunk({"functionCall": {}}, finishReason="STOP"))
    assert len(only(events, ToolCall)) == 1
