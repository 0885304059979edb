"""The simulated OpenAI-compatible server answers the real SDK, calls tools, streams and fails on order."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from proxy.simulators import invent, pictures
from proxy.simulators.keywords import misplaced
from proxy.simulators.server import Running, start

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
PNG = "data:image/png;base64," + base64.b64encode(pictures.png(20, 10)).decode()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with start() as server:
        yield server


@pytest.fixture
def client(running: Running) -> Iterator[openai.OpenAI]:
    running.log.reset()
    with openai.OpenAI(base_url=running.url("openai"), api_key="sim-key", max_retries=0) as sdk:
        yield sdk


def ask(client: openai.OpenAI, *messages: Any, **fields: Any) -> Any:
    given = [each if isinstance(each, dict) else {"role": "user", "content": each} for each in messages]
    return client.chat.completions.create(**{"model": "sim-chat", "messages": given, **fields})


def test_a_question_gets_a_whole_reply(running: Running) -> None:
    reply = httpx.post(
        running.url("openai") + "/chat/completions",
        headers={"authorization": "Bearer k"},
        json={"model": "llama", "messages": [{"role": "user", "content": "Hi"}], "top_k": 3},
    ).json()
    assert reply.pop("id").startswith("chatcmpl-")
    assert reply == {
        "object": "chat.completion",
        "created": 1795219200,
        "model": "llama",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "You said: Hi", "refusal": None},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {
            "prompt_tokens": 4,
            "completion_tokens": 4,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


def test_a_stream_joins_to_the_whole_with_usage_and_reasoning(client: openai.OpenAI) -> None:
    whole = ask(client, "one two three sim:thoughts")
    chunks = list(
        ask(client, "one two three sim:thoughts", stream=True, stream_options={"include_usage": True})
    )
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    reasoning = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert reasoning == whole.choices[0].message.reasoning_content == "The user wrote 13 characters."
    assert chunks[-1].usage == whole.usage
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


def test_tools_are_called_and_their_results_quoted(client: openai.OpenAI) -> None:
    first = ask(client, "weather in Paris and Rome sim:parallel:2", tools=TOOLS).choices[0]
    assert first.finish_reason == "tool_calls"
    arguments = [json.loads(call.function.arguments) for call in first.message.tool_calls]
    assert arguments == [{"city": "Paris"}, {"city": "Rome"}]
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"{index} degrees"}
        for index, call in enumerate(first.message.tool_calls)
    ]
    history = ["weather in Paris and Rome", first.message.model_dump(exclude_none=True)]
    answer = ask(client, *history, *results, tools=TOOLS)
    assert answer.choices[0].message.content == "The tools answered: 0 degrees; 1 degrees."
    with pytest.raises(openai.BadRequestError, match="must be followed by tool messages"):
        ask(client, *history, results[0], "and now?", tools=TOOLS)
    with pytest.raises(openai.BadRequestError, match="must be a response to a preceding message"):
        ask(client, "Hi", results[0])


def test_streamed_calls_are_assembled_by_index(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="sim-chat", messages=[{"role": "user", "content": "weather sim:parallel:2"}], tools=TOOLS
    ) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert calls is not None
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "city 1"}, {"city": "city 2"}]


def test_pictures_json_and_several_choices(client: openai.OpenAI) -> None:
    parts = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": PNG}}]
    seen = ask(client, {"role": "user", "content": parts}).choices[0].message.content
    assert "I received: image/png 20x10 pixels" in seen
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 5}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert json.loads(ask(client, "Hi", response_format=form).choices[0].message.content) == {"n": 5}
    formed = (
        ask(client, 'Tag it.\nJSON format: { "tags": ["a", "b"] }\nUSER: {hi}').choices[0].message.content
    )
    assert json.loads(formed) == {"tags": ["a", "b"]}
    assert [choice.index for choice in ask(client, "Hi", n=3).choices] == [0, 1, 2]
    assert ask(client, "Hello there", max_tokens=1).choices[0].finish_reason == "length"


def test_the_strict_twin_refuses_unknown_fields(running: Running) -> None:
    with openai.OpenAI(base_url=running.url("openai-strict"), api_key="k", max_retries=0) as strict:
        assert ask(strict, "Hi", temperature=0).choices[0].message.content == "You said: Hi"
        with pytest.raises(openai.BadRequestError) as refused:
            ask(strict, "Hi", extra_body={"google": {}})
    assert (refused.value.code, refused.value.param) == ("unknown_parameter", "google")


ERRORS = [
    ("400", openai.BadRequestError),
    ("401", openai.AuthenticationError),
    ("404", openai.NotFoundError),
    ("429", openai.RateLimitError),
    ("500", openai.InternalServerError),
    ("html502", openai.InternalServerError),
]


@pytest.mark.parametrize(("order", "kind"), ERRORS, ids=[row[0] for row in ERRORS])
def test_errors_are_on_order(client: openai.OpenAI, order: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        ask(client, f"sim:error:{order}")


def test_streams_break_on_order(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIError, match="overloaded"):
        list(ask(client, "Hi sim:error-after:2", stream=True))
    with pytest.raises((openai.APIConnectionError, httpx.RemoteProtocolError)):
        list(ask(client, "Hi sim:cut:2", stream=True))
    with pytest.raises(openai.InternalServerError):
        ask(client, "x sim:fail-once:503")
    assert ask(client, "x sim:fail-once:503").choices


def test_keys_and_models(running: Running, client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["sim-chat", "sim-thinker"]
    for key, kind in (("bad-1", openai.AuthenticationError), ("spent-1", openai.RateLimitError)):
        with pytest.raises(kind):
            ask(client.with_options(api_key=key), "Hi")
    bare = httpx.get(running.url("openai") + "/models")
    assert bare.status_code == 401


WRONG: list[Any] = [
    ({"type": 5}, ".type"),
    ({"type": ["object", 1]}, ".type"),
    ({"properties": ["a"]}, ".properties"),
    ({"properties": {"a": "string"}}, ".properties[a]"),
    ({"properties": {"a": {"required": True}}}, ".properties[a].required"),
    ({"items": {"anyOf": [{}, {"minItems": "2"}]}}, ".items.anyOf[1].minItems"),
    ({"additionalProperties": {"minimum": "low"}}, ".additionalProperties.minimum"),
    ([], ""),
]


@pytest.mark.parametrize(("schema", "where"), WRONG)
def test_a_schema_that_nobody_could_read_is_refused_where_it_is_wrong(
    client: openai.OpenAI, schema: Any, where: str
) -> None:
    tool: Any = {"type": "function", "function": {"name": "look", "parameters": schema}}
    form: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    for fields, place in (
        ({"tools": [*TOOLS, tool]}, "tools[1].function.parameters"),
        ({"response_format": form}, "response_format.json_schema.schema"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, {"role": "user", "content": "Hi"}, **fields)
        assert caught.value.param == place + where


def test_schemas_of_real_clients_can_be_read() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": ["object", "null"],
        "properties": {"required": {"type": "boolean"}, "type": {"const": 1}, "any": True},
        "required": ["type"],
        "additionalProperties": False,
        "items": [{"type": "string"}],
        "exclusiveMinimum": 0,
    }
    assert misplaced(schema) is None


@pytest.mark.parametrize(
    "schema", [{"minItems": 1e300, "type": "array"}, {"$ref": "#/type/x", "type": "string"}]
)
def test_a_demand_beyond_measure_is_not_met(schema: Any) -> None:
    assert len(invent.value_for(schema)) <= 10_000
