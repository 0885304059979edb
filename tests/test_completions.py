"""`/v1/completions` through a real server over simulated vendors: prompts that are chats of one message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
import pytest

from proxy.errors import UpstreamError
from proxy.fronts.base import Facts
from proxy.fronts.openai.completions import request
from proxy.fronts.openai.completions.front import CompletionsFront
from proxy.types import Finish, Image, Logprobs, Slice, Started, Text, Usage
from tests.gateway import FILE, KEY, Gateway, open_gateway

FACTS = Facts(1790000000)
LOGPROBS = Logprobs(
    [
        {"token": "On", "logprob": -0.1, "bytes": None, "top_logprobs": [{"token": "On", "logprob": -0.1}]},
        {"token": "ce", "logprob": -0.2, "bytes": None, "top_logprobs": []},
    ]
)


def complete(gateway: Gateway, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    own = {"authorization": f"Bearer {KEY}", **(headers or {})}
    return httpx.post(f"{gateway.base_url}/v1/completions", json=body, headers=own, timeout=20)


def rendered(events: list[Any], **body: Any) -> Any:
    front = CompletionsFront()
    parsed = request.parse({"model": "m", "prompt": "p", **body})
    return orjson.loads(b"".join(front.renderer(parsed, FACTS).whole(events)))


def streamed(events: list[Any], **body: Any) -> list[Any]:
    """Every chunk's choices, rendered event by event."""
    front = CompletionsFront()
    parsed = request.parse({"model": "m", "prompt": "p", "stream": True, **body})
    renderer = front.renderer(parsed, FACTS)
    frames = b"".join(frame for event in events for frame in renderer.feed([event]))
    frames += b"".join(renderer.finish())
    *chunks, done = frames.decode().split("\n\n")[:-1]
    assert done == "data: [DONE]"
    return [orjson.loads(chunk.removeprefix("data: ")) for chunk in chunks]


@pytest.mark.parametrize("model", ["gemini-flash", "lan-chat"])
def test_a_prompt_is_one_message_and_its_answer_the_text(gateway: Gateway, model: str) -> None:
    """E-040"""
    reply = gateway.client().completions.create(model=model, prompt="Say it sim:text:Once upon a time")
    assert reply.object == "text_completion"
    assert reply.id.startswith("cmpl-")
    assert (reply.model, reply.choices[0].text, reply.choices[0].index) == (model, "Once upon a time", 0)
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 0


def test_each_prompt_of_a_list_has_its_own_answers_in_order(gateway: Gateway) -> None:
    """E-040: one call each, `index` over all; usage adds up."""
    before = len(gateway.sent())
    prompts = ["a sim:text:one", "b sim:text:two", "c sim:text:three"]
    reply = gateway.client().completions.create(model="gemini-flash", prompt=prompts, n=2)
    assert [(one.index, one.text) for one in reply.choices] == [
        (0, "one"),
        (1, "one"),
        (2, "two"),
        (3, "two"),
        (4, "three"),
        (5, "three"),
    ]
    assert len(gateway.sent()) - before == 6
    alone = gateway.client().completions.create(model="gemini-flash", prompt=prompts[0])
    assert reply.usage is not None
    assert alone.usage is not None
    assert reply.usage.prompt_tokens >= 6 * alone.usage.prompt_tokens - 6


def test_a_failure_of_one_prompt_fails_all(gateway: Gateway) -> None:
    reply = complete(gateway, model="gemini-flash", prompt=["fine", "sim:error:400"])
    assert reply.status_code == 400


@pytest.mark.parametrize(
    "prompts", [["a sim:text:Hello there you"], ["a sim:text:Hello", "b sim:text:there"]]
)
def test_a_stream_has_text_in_every_chunk_and_ends_with_done(gateway: Gateway, prompts: list[str]) -> None:
    """E-041: a string also in the last chunk; usage where it is asked for."""
    body = {"model": "gemini-flash", "prompt": prompts, "stream": True}
    reply = complete(gateway, **body, stream_options={"include_usage": True})
    assert reply.headers["content-type"].startswith("text/event-stream")
    *frames, done, rest = reply.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [orjson.loads(frame.removeprefix("data: ")) for frame in frames if not frame.startswith(":")]
    *parts, last = chunks
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert all(isinstance(one["text"], str) for chunk in parts for one in chunk["choices"])
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] > 0
    said = dict.fromkeys(range(len(prompts)), "")
    for chunk in parts:
        said[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    assert list(said.values()) == [prompt.partition("sim:text:")[2] for prompt in prompts]
    reasons = [one["finish_reason"] for chunk in parts for one in chunk["choices"]]
    assert [reason for reason in reasons if reason] == ["stop"] * len(prompts)
    chunks_of_sdk = gateway.client().completions.create(**body)
    assert "".join(chunk.choices[0].text for chunk in chunks_of_sdk)


def test_parameters_are_those_of_a_chat(gateway: Gateway) -> None:
    complete(gateway, model="gemini-flash", prompt="a", max_tokens=50, temperature=0, stop="x", seed=7)
    sent = gateway.sent()[-1].body
    assert sent["contents"] == [{"role": "user", "parts": [{"text": "a"}]}]
    config = sent["generationConfig"]
    assert (config["maxOutputTokens"], config["temperature"], config["stopSequences"], config["seed"]) == (
        50,
        0,
        ["x"],
        7,
    )


def test_echo_puts_the_prompt_before_the_text(gateway: Gateway) -> None:
    """E-040"""
    prompts = ["a sim:text:one", "b sim:text:two"]
    reply = complete(gateway, model="gemini-flash", prompt=prompts, echo=True).json()
    assert [one["text"] for one in reply["choices"]] == ["a sim:text:oneone", "b sim:text:twotwo"]
    events = [Text("b"), Text("c"), Finish("stop")]
    chunks = streamed(events, prompt="a", echo=True)
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["ab", "c", ""]


@pytest.mark.parametrize(
    ("fields", "dropped"),
    [
        ({"suffix": "z"}, {"suffix"}),
        ({"suffix": "", "best_of": 1, "echo": False}, set()),
        ({"best_of": 3}, {"best_of"}),
        ({"echo": True, "logprobs": 2}, {"logprobs"}),
        (
            {"tools": [{"type": "function", "function": {"name": "f"}}], "modalities": ["text"]},
            {"tools", "modalities"},
        ),
        ({"logit_bias": {"50256": -100}, "user": "u"}, {"logit_bias", "user"}),
    ],
)
def test_what_has_no_place_is_named_and_refused_when_asked(
    gateway: Gateway, fields: dict[str, Any], dropped: set[str]
) -> None:
    """E-040, X-008"""
    reply = complete(gateway, model="gemini-flash", prompt="a", **fields)
    assert reply.status_code == 200
    assert set(filter(None, reply.headers.get("x-proxy-dropped", "").split(", "))) == dropped
    strict = complete(gateway, {"x-proxy-strict": "true"}, model="gemini-flash", prompt="a", **fields)
    assert strict.status_code == (400 if dropped else 200)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({}, "prompt", "missing_required_parameter"),
        ({"prompt": ""}, "prompt", "empty_string"),
        ({"prompt": []}, "prompt", "empty_array"),
        ({"prompt": ["a", ""]}, "prompt[1]", "empty_string"),
        ({"prompt": [1, 2]}, "prompt", "unsupported_value"),
        ({"prompt": [[1, 2]]}, "prompt", "unsupported_value"),
        ({"prompt": {"text": "a"}}, "prompt", "invalid_type"),
        ({"prompt": ["a"] * 65, "n": 2}, "prompt", "invalid_value"),
        ({"prompt": "a", "n": 3, "best_of": 2}, "best_of", "invalid_value"),
        ({"prompt": "a", "logprobs": True}, "logprobs", "invalid_type"),
        ({"prompt": "a", "max_tokens": "x"}, "max_tokens", "invalid_type"),
        ({"prompt": "a", "echo": 1}, "echo", "invalid_type"),
    ],
)
def test_a_wrong_field_is_refused_with_its_place(
    gateway: Gateway, fields: dict[str, Any], param: str, code: str
) -> None:
    """E-040: token ids are refused."""
    reply = complete(gateway, model="gemini-flash", **fields)
    assert reply.status_code == 400
    assert (reply.json()["error"]["param"], reply.json()["error"]["code"]) == (param, code)


def test_what_openais_sdk_was_recorded_to_send_is_answered(gateway: Gateway) -> None:
    """E-040: everything at once."""
    reply = gateway.client().completions.with_raw_response.create(
        model="gemini-flash", prompt="Once", best_of=1, echo=True, logprobs=2, max_tokens=500, suffix="z"
    )
    assert reply.parse().choices[0].text.startswith("Once")
    assert reply.headers["x-proxy-dropped"] == "suffix, logprobs"


def test_logprobs_are_lists_of_the_old_form() -> None:
    """E-042"""
    events = [Started(), Text("Once"), LOGPROBS, Finish("stop"), Usage(1, 2)]
    expected = {
        "tokens": ["On", "ce"],
        "token_logprobs": [-0.1, -0.2],
        "top_logprobs": [{"On": -0.1}, {}],
        "text_offset": [0, 2],
    }
    assert rendered(events, logprobs=1)["choices"][0]["logprobs"] == expected
    chunks = [chunk["choices"][0] for chunk in streamed(events, logprobs=1)]
    assert [chunk["logprobs"] for chunk in chunks] == [None, expected, None]
    later = [chunk["choices"][0] for chunk in streamed([LOGPROBS, LOGPROBS, Finish("stop")], logprobs=1)]
    assert later[1]["logprobs"]["text_offset"] == [4, 6]


def test_logprobs_are_asked_for_as_a_chat_does() -> None:
    parsed = request.parse({"model": "m", "prompt": "p", "logprobs": 3})
    assert (parsed.request.logprobs, parsed.request.top_logprobs) == (True, 3)


@pytest.mark.parametrize(
    ("reason", "said"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "content_filter"), ("tool_calls", "stop")],
)
def test_the_finish_is_a_word_that_completions_know(reason: Any, said: str) -> None:
    """E-041"""
    events = [Text("a"), Finish(reason)]
    assert rendered(events)["choices"][0]["finish_reason"] == said
    assert streamed(events)[-1]["choices"][0] == {
        "text": "",
        "index": 0,
        "logprobs": None,
        "finish_reason": said,
    }


@pytest.mark.parametrize(
    "events",
    [[], [Text("a")], [Image("image/png", Slice(b"AAAA")), Finish("stop")]],
    ids=["nothing", "no finish", "a picture"],
)
def test_what_is_no_complete_text_is_an_error(events: list[Any]) -> None:
    with pytest.raises(UpstreamError):
        rendered(events)
    with pytest.raises(UpstreamError):
        streamed(events)


def test_a_stream_that_breaks_ends_with_the_error(gateway: Gateway) -> None:
    with pytest.raises(openai.APIError):
        list(
            gateway.client().completions.create(
                model="gemini-flash", prompt="a b c d sim:error-after:2:503", stream=True
            )
        )


def test_all_prompts_count_against_a_keys_tokens(tmp_path: Path) -> None:
    file = FILE.replace('models: ["gemini-flash"]}', "limits: {tokens: 100/min}}")
    with open_gateway(tmp_path, file) as opened:
        key = {"authorization": "Bearer sk-test-narrow"}
        assert complete(opened, key, model="gemini-flash", prompt="a" * 300).status_code == 200
        refused = complete(opened, key, model="gemini-flash", prompt=["a" * 200, "a" * 300])
        assert refused.status_code == 429
