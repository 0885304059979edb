"""The real OpenAI SDK against a real server over strict simulated vendors."""

from __future__ import annotations

import base64
import gzip
import json
import re
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from proxy.simulators import pictures
from tests.gateway import FILE, KEY, Gateway, open_gateway

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def ask(gateway: Gateway, prompt: str, model: str = "gemini-flash", **fields: Any) -> Any:
    messages: Any = [{"role": "user", "content": prompt}]
    return gateway.client().chat.completions.create(model=model, messages=messages, **fields)


def post(
    gateway: Gateway, body: Any = None, path: str = "/v1/chat/completions", **options: Any
) -> httpx.Response:
    headers = {"authorization": f"Bearer {KEY}", **options.pop("headers", {})}
    content = options.pop("content", None)
    if content is None:
        content = json.dumps(body)
    return httpx.post(gateway.base_url + path, content=content, headers=headers, timeout=20, **options)


def hello(**fields: Any) -> dict[str, Any]:
    return {"model": "gemini-flash", "messages": [{"role": "user", "content": "Hello"}], **fields}


# --- whole and streamed


@pytest.mark.parametrize("model", ["gemini-flash", "gpt-4o-mini", "google/gemini-2.5-pro", "lan-chat"])
def test_a_whole_reply_has_the_answer_and_usage_that_adds_up(gateway: Gateway, model: str) -> None:
    reply = ask(gateway, "Hello there", model=model)
    assert "Hello there" in reply.choices[0].message.content
    assert reply.choices[0].finish_reason == "stop"
    assert reply.model == model
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 0


@pytest.mark.parametrize("model", ["gemini-flash", "lan-chat"])
def test_a_stream_gives_the_same_answer_as_a_whole_reply(gateway: Gateway, model: str) -> None:
    whole = ask(gateway, "Say it twice sim:unicode", model=model).choices[0].message.content
    chunks = list(ask(gateway, "Say it twice sim:unicode", model=model, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == 1


def test_usage_is_streamed_only_when_asked_for(gateway: Gateway) -> None:
    """G-177, G-178"""
    chunks = list(ask(gateway, "Hi", stream=True, stream_options={"include_usage": True}))
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []


def test_several_choices_come_from_a_model_that_makes_one_at_a_time(gateway: Gateway) -> None:
    """G-114, G-220"""
    whole = ask(gateway, "Hi", n=3)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    streamed = list(ask(gateway, "Hi", n=3, stream=True))
    finished = [c.index for chunk in streamed for c in chunk.choices if c.finish_reason == "stop"]
    assert sorted(finished) == [0, 1, 2]


@pytest.mark.parametrize("model", ["gemini-flash", "gemini-2.5-flash"])
def test_usage_of_several_choices_is_that_of_all_calls(gateway: Gateway, model: str) -> None:
    """The first makes one choice at a time, the second only in a stream."""
    one = ask(gateway, "Hi", model=model).usage
    *_, last = ask(gateway, "Hi", model=model, n=3, stream=True, stream_options={"include_usage": True})
    assert last.usage.prompt_tokens == 3 * one.prompt_tokens
    assert last.usage.completion_tokens > one.completion_tokens
    assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens


def test_the_stream_helper_ends_with_the_whole_message(gateway: Gateway) -> None:
    client = gateway.client()
    messages: Any = [{"role": "user", "content": "Weather in Paris?"}]
    with client.chat.completions.stream(model="gemini-flash", messages=messages, tools=[WEATHER]) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason == "tool_calls"
    assert json.loads(final.choices[0].message.tool_calls[0].function.arguments) == {"city": "Paris"}


# --- tool loops: Gemini 3 refuses a call that comes back without its real signature


def tool_loop(
    gateway: Gateway, messages: list[Any], keep: Any, *, stream: bool, model: str = "gemini-flash"
) -> str:
    """Answer calls until there are none. `keep` is what the client keeps of an assistant message."""
    client = gateway.client()
    for _ in range(4):
        if stream:
            with client.chat.completions.stream(model=model, messages=messages, tools=[WEATHER]) as opened:
                message = opened.get_final_completion().choices[0].message
        else:
            reply = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER])
            message = reply.choices[0].message
        if not message.tool_calls:
            return message.content or ""
        messages.append(keep(message))
        for call in message.tool_calls:
            messages.append(
                {
                    "role": "tool",
                    "tool_call_id": call.id,
                    "content": "18 C",
                }
            )
    raise AssertionError("the loop did not end")


def everything(message: Any) -> Any:
    return message.model_dump(exclude_none=True)


def only_known_fields(message: Any) -> Any:
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": call.function.arguments},
        }
        for call in message.tool_calls
    ]
    return {"role": "assistant", "content": message.content, "tool_calls": calls}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("keep", [everything, only_known_fields])
@pytest.mark.parametrize("calls", [1, 3])
def test_a_tool_loop_carries_real_signatures_whatever_the_client_keeps(
    gateway: Gateway, keep: Any, stream: bool, calls: int
) -> None:
    """G-091, G-093, G-097"""
    before = gateway.vendors.log.counts["google.signatures.sentinels"]
    prompt = f"Weather in Paris, please sim:parallel:{calls}"
    answer = tool_loop(gateway, [{"role": "user", "content": prompt}], keep, stream=stream)
    assert "18 C" in answer
    assert gateway.vendors.log.counts["google.signatures.sentinels"] == before


def test_a_foreign_history_gets_the_documented_sentinel(gateway: Gateway) -> None:
    """G-094"""
    call = {
        "id": "call_from_elsewhere",
        "type": "function",
        "function": {"name": "get_weather", "arguments": "{}"},
    }
    messages: Any = [
        {"role": "user", "content": "Weather in Oslo?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_from_elsewhere", "content": "4 C"},
    ]
    reply = gateway.client().chat.completions.create(model="gemini-flash", messages=messages, tools=[WEATHER])
    assert "4 C" in (reply.choices[0].message.content or "")


class City(BaseModel):
    name: str
    population: int


@pytest.mark.parametrize("model", ["gemini-flash", "gemini-2.5-flash"])
def test_structured_output_is_parsed_by_the_sdk(gateway: Gateway, model: str) -> None:
    reply = gateway.client().chat.completions.parse(
        model=model, messages=[{"role": "user", "content": "A city"}], response_format=City
    )
    assert isinstance(reply.choices[0].message.parsed, City)


# --- errors


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("order", "expected", "code"),
    [
        ("sim:error:400", openai.BadRequestError, None),
        ("sim:error:404", openai.NotFoundError, "model_not_found"),
        ("sim:error:429:day", openai.RateLimitError, "insufficient_quota"),
        ("sim:error:500", openai.InternalServerError, "upstream_error"),
        ("sim:error:503", openai.InternalServerError, "overloaded"),
        ("sim:error:504", openai.InternalServerError, "upstream_timeout"),
    ],
)
def test_an_upstream_refusal_raises_the_right_exception(
    tmp_path: Path, order: str, expected: type[openai.APIStatusError], code: str | None, stream: bool
) -> None:
    """G-186, G-197, G-199, G-200, G-201. Once a heartbeat is out a refusal is an event of the stream."""
    file = FILE.replace("heartbeat: 300ms", "heartbeat: 60s")
    with open_gateway(tmp_path, file) as gateway, pytest.raises(expected) as caught:
        ask(gateway, f"Hi {order}", model="google/gemini-2.5-flash-lite", stream=stream)
    assert caught.value.code == code
    assert caught.value.request_id is not None


def test_a_minute_quota_says_when_to_come_back(tmp_path: Any) -> None:
    """G-196, G-198"""
    with open_gateway(tmp_path) as own, pytest.raises(openai.RateLimitError) as caught:
        ask(own, "Hi sim:error:429:minute")
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["retry-after"] == "35"
    assert caught.value.response.headers["retry-after-ms"] == "34400"


def test_an_error_in_mid_stream_is_raised_and_nothing_follows(gateway: Gateway) -> None:
    """G-187"""
    chunks = iter(ask(gateway, "One two three four sim:chunks:6 sim:error-after:2", stream=True))
    seen = [next(chunks).choices[0].finish_reason for _ in range(2)]
    with pytest.raises(openai.APIError):
        seen += [chunk.choices[0].finish_reason for chunk in chunks]
    assert seen
    assert set(seen) == {None}


@pytest.mark.parametrize("model", ["gemini-flash", "lan-chat"])
@pytest.mark.parametrize("order", ["sim:cut:2", "sim:nofinish"])
def test_a_stream_that_the_upstream_cuts_is_an_error_for_the_client(
    gateway: Gateway, order: str, model: str
) -> None:
    """G-189"""
    messages = [{"role": "user", "content": f"Hi sim:chunks:5 {order}"}]
    reply = post(gateway, hello(model=model, messages=messages, stream=True))
    assert "upstream_stream_truncated" in reply.text
    assert "[DONE]" not in reply.text


def test_a_blocked_prompt_is_a_filtered_answer(gateway: Gateway) -> None:
    """G-144"""
    body = hello(messages=[{"role": "user", "content": "Hi sim:block:PROHIBITED_CONTENT"}])
    (choice,) = post(gateway, body).json()["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("content_filter", None)
    assert "PROHIBITED_CONTENT" in choice["message"]["refusal"]


def test_an_app_on_the_sdk_that_reads_the_content_alone_is_told_why_there_is_no_answer(
    gateway: Gateway,
) -> None:
    """Such an app cannot be told from the SDK itself, and crashes on null or shows nothing."""
    prompt = "Hi sim:block:PROHIBITED_CONTENT"
    said = ask(gateway, prompt).choices[0].message
    streamed = [chunk.choices[0].delta for chunk in ask(gateway, prompt, stream=True) if chunk.choices]
    assert "PROHIBITED_CONTENT" in said.content
    assert said.refusal == said.content
    assert "".join(delta.content or "" for delta in streamed) == said.content
    assert "".join(delta.refusal or "" for delta in streamed) == said.content


def test_a_structured_answer_that_is_refused_is_told_as_openai_documents_it(gateway: Gateway) -> None:
    reply = gateway.client().chat.completions.create(
        model="gemini-flash",
        messages=[{"role": "user", "content": "Hi sim:block:PROHIBITED_CONTENT"}],
        response_format={"type": "json_object"},
    )
    message = reply.choices[0].message
    assert message.content is None
    assert "PROHIBITED_CONTENT" in str(message.refusal)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        pytest.param(b"{nonsense", 400, None, id="not json"),
        pytest.param(b"[]", 400, None, id="not an object"),
        pytest.param({"messages": []}, 400, "model", id="no model"),
        pytest.param(hello(model="gpt-none"), 404, "model", id="unknown model"),
        pytest.param(hello(messages=[]), 400, "messages", id="no messages"),
        pytest.param(
            hello(messages=[{"role": "wizard", "content": "x"}]), 400, "messages[0].role", id="role"
        ),
        pytest.param(hello(temperature="hot"), 400, "temperature", id="wrong type"),
        pytest.param(hello(max_tokens=0), 400, "max_tokens", id="no tokens"),
        pytest.param(hello(image_output="film"), 400, "image_output", id="unknown mode"),
    ],
)
def test_a_bad_request_is_a_4xx_that_names_the_field(
    gateway: Gateway, body: Any, status: int, param: str | None
) -> None:
    """G-008, G-010"""
    reply = post(gateway, content=body) if isinstance(body, bytes) else post(gateway, body)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (status, param)
    assert error["type"] == "invalid_request_error"
    assert reply.headers["x-request-id"] in error["message"]


def test_a_body_over_the_limit_is_refused_before_it_is_read(gateway: Gateway) -> None:
    address = httpx.URL(gateway.base_url)
    with socket.create_connection((address.host, address.port or 0), timeout=5) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
        connection.sendall(f"{head}content-length: {1 << 33}\r\n\r\n".encode())
        reply = connection.recv(65536)
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b"request_too_large" in reply


def test_without_a_key_the_answer_is_401(gateway: Gateway) -> None:
    with pytest.raises(openai.AuthenticationError):
        gateway.client(api_key="wrong").chat.completions.create(model="gemini-flash", messages=[])


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/v2/"])
def test_an_unknown_path_is_a_404_object(gateway: Gateway, path: str) -> None:
    assert post(gateway, {}, path).json()["error"]["code"] == "unknown_url"


def test_a_wrong_method_says_which_is_right(gateway: Gateway) -> None:
    reply = httpx.get(f"{gateway.base_url}/v1/chat/completions")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")


# --- manners


def test_what_cannot_be_carried_is_named(gateway: Gateway) -> None:
    reply = post(gateway, hello(logit_bias={"50256": -100}, frequency_penalty=0.5))
    assert reply.status_code == 200
    assert reply.headers["x-proxy-dropped"] == "logit_bias, frequency_penalty"


@pytest.mark.parametrize("yes", ["true", "True", "TRUE", "1"])
def test_strict_mode_refuses_what_cannot_be_carried(gateway: Gateway, yes: str) -> None:
    sent = len(gateway.sent())
    reply = post(gateway, hello(logit_bias={"50256": -100}), headers={"x-proxy-strict": yes})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "logit_bias")
    assert len(gateway.sent()) == sent


def test_every_reply_has_its_id_and_time(gateway: Gateway) -> None:
    reply = post(gateway, hello(), headers={"x-client-request-id": "mine-1"})
    identity = reply.headers["x-request-id"]
    assert re.fullmatch("req_[0-9a-f]{24}", identity)
    assert abs(int(identity[4:16], 16) / 1000 - time.time()) < 60  # so that rows of one moment stand together
    assert int(reply.headers["openai-processing-ms"]) >= 0
    assert reply.headers["x-client-request-id"] == "mine-1"


def test_the_models_are_listed_for_the_key_that_asks(gateway: Gateway) -> None:
    assert [model.id for model in gateway.client().models.list()] == [
        "gemini-2.5-flash",
        "gemini-flash",
        "lan-chat",
        "nano-banana-pro",
    ]
    narrow = gateway.client(api_key="sk-test-narrow")
    assert [model.id for model in narrow.models.list()] == ["gemini-flash"]
    assert narrow.models.retrieve("gemini-flash").owned_by == "google"
    with pytest.raises(openai.NotFoundError):
        narrow.models.retrieve("nano-banana-pro")
    with pytest.raises(openai.NotFoundError):
        narrow.models.retrieve("google/gemini-2.5-pro")


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/openai/v1/models", "/openai/models"])
def test_routes_answer_with_and_without_their_prefix(gateway: Gateway, path: str) -> None:
    reply = httpx.get(gateway.base_url + path, headers={"x-api-key": KEY})
    assert reply.json()["object"] == "list"


def test_probes_need_no_key_and_tell_strangers_nothing(tmp_path: Path) -> None:
    with open_gateway(tmp_path) as fresh:
        assert httpx.get(f"{fresh.base_url}/livez").json() == {"status": "ok"}
        assert httpx.head(f"{fresh.base_url}/livez").status_code == 200
        assert httpx.get(f"{fresh.base_url}/readyz").json() == {"status": "ok"}
        told = httpx.get(f"{fresh.base_url}/readyz", headers={"x-api-key": KEY}).json()
    assert told["providers"] == {"google": "on", "lan": "on"}


def test_a_gzip_body_is_read_and_a_bomb_refused(gateway: Gateway) -> None:
    packed = gzip.compress(json.dumps(hello()).encode())
    assert post(gateway, content=packed, headers={"content-encoding": "gzip"}).status_code == 200
    bomb = gzip.compress(b" " * (200 << 20))
    assert post(gateway, content=bomb, headers={"content-encoding": "gzip"}).status_code == 413


# --- pictures in and out


def test_a_picture_reaches_the_upstream_as_it_was_sent(gateway: Gateway) -> None:
    url = "data:image/png;base64," + base64.b64encode(pictures.png(640, 480, "x")).decode()
    content: Any = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    reply = ask(gateway, content)
    assert "640x480" in reply.choices[0].message.content


@pytest.mark.parametrize("url", ["{base_url}/x.png", "http://xn--/x.png"], ids=["private", "no name"])
def test_what_is_no_public_address_is_not_fetched(gateway: Gateway, url: str) -> None:
    url = url.format(base_url=gateway.vendors.base_url)
    content: Any = [{"type": "image_url", "image_url": {"url": url}}]
    with pytest.raises(openai.BadRequestError) as caught:
        ask(gateway, content)
    assert caught.value.param == "messages[0].content[0].image_url.url"
    assert caught.value.code == "invalid_image_url"


def test_a_drawn_picture_comes_as_parts_whole_and_as_images_streamed(gateway: Gateway) -> None:
    content = ask(gateway, "Draw a cat", model="nano-banana-pro@parts").choices[0].message.content
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    assert [url[:22] for url in urls] == ["data:image/png;base64,"]
    chunks = list(ask(gateway, "Draw a cat", model="nano-banana-pro@parts", stream=True))
    images = [image for chunk in chunks for image in getattr(chunk.choices[0].delta, "images", None) or []]
    assert [image["image_url"]["url"][:22] for image in images] == ["data:image/png;base64,"]
    assert all(not isinstance(chunk.choices[0].delta.content, list) for chunk in chunks)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_client_that_gives_calls_ids_of_its_own_loses_no_signature(gateway: Gateway, stream: bool) -> None:
    """G-091: it is found by what was called, after these turns"""
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]
    prompt = f"Weather in Paris, {stream}? sim:call:get_weather"
    messages: Any = [{"role": "user", "content": prompt}]
    completions = gateway.client().chat.completions
    made: Any = completions.create(model="gemini-flash", messages=messages, tools=tools, stream=stream)
    choices = (
        [chunk.choices[0].delta for chunk in made if chunk.choices] if stream else [made.choices[0].message]
    )
    [call] = [call for said in choices for call in said.tool_calls or ()]
    function = {"name": call.function.name, "arguments": call.function.arguments}
    messages += [
        {"role": "assistant", "tool_calls": [{"id": "mine_1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "mine_1", "content": "18 C"},
    ]
    completions.create(model="gemini-flash", messages=messages, tools=tools)
    second = [one.body["contents"] for one in gateway.sent() if prompt in str(one.body)][1]
    assert second[1]["parts"][0]["thoughtSignature"] == call.extra_content["google"]["thought_signature"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_client_that_keeps_only_words_loses_no_signature(gateway: Gateway, stream: bool) -> None:
    """G-091: it is found by what was said, after these turns"""
    prompt = f"Who wrote Faust, {stream}?"
    messages: Any = [{"role": "user", "content": prompt}]
    completions = gateway.client().chat.completions
    made: Any = completions.create(model="gemini-flash", messages=messages, stream=stream)
    choices = (
        [chunk.choices[0].delta for chunk in made if chunk.choices] if stream else [made.choices[0].message]
    )
    words = "".join(said.content or "" for said in choices)
    [signature] = [
        extra["google"]["thought_signature"]
        for said in choices
        if "thought_signature" in (extra := getattr(said, "extra_content", None) or {}).get("google", {})
    ]
    messages += [{"role": "assistant", "content": words}, {"role": "user", "content": "When?"}]
    completions.create(model="gemini-flash", messages=messages)
    second = [one.body["contents"] for one in gateway.sent() if prompt in str(one.body)][1]
    assert second[1]["parts"][0] == {"text": words, "thoughtSignature": signature}
