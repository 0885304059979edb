"""`/v1/moderations` through a real server over strict simulated vendors, and its wire by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from proxy.errors import UpstreamError
from proxy.types import ModerationRequest, Target, TextPart, Verdict
from proxy.wires.openai.moderations import OpenAIModerations
from tests.gateway import FILE, KEY, Gateway, open_gateway, operations
from tests.served import waited

OURS = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
providers:
  google: {wire: gemini, base_url: "http://SIMULATORS/gemini/v1beta", keys: [env:VENDOR_KEY], private: true}
  strict:
    {wire: openai, base_url: "http://SIMULATORS/openai-strict/v1", keys: [env:VENDOR_KEY], private: true}
defaults: {moderation_model: judge}
models:
  judge: {targets: [strict/omni-moderation-latest]}
  chat: {targets: [google/gemini-3-flash-preview]}
"""
PNG = "data:image/png;base64,AA=="


@pytest.fixture(scope="module")
def judging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("moderations"), OURS) as opened:
        yield opened


def judge(gateway: Gateway, **body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {KEY}"}
    return httpx.post(f"{gateway.base_url}/v1/moderations", json=body, headers=headers, timeout=20)


@pytest.mark.parametrize(
    ("given", "sent", "flags"),
    [
        ("Good morning", ["Good morning"], [False]),
        (["Good morning", "I will harm you"], ["Good morning", "I will harm you"], [False, True]),
        (
            [{"type": "text", "text": "harm"}, {"type": "image_url", "image_url": {"url": PNG}}],
            [{"type": "text", "text": "harm"}, {"type": "image_url", "image_url": {"url": PNG}}],
            [True],
        ),
        (
            [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}],
            [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}],
            [False],
        ),
    ],
    ids=["a text", "texts", "parts", "an address"],
)
def test_every_form_of_input_is_judged(judging: Gateway, given: Any, sent: Any, flags: list[bool]) -> None:
    """E-030, E-031: parts are judged together, texts each by itself."""
    reply = judging.client().moderations.create(input=given, model="judge")
    assert [one.flagged for one in reply.results] == flags
    assert [one.categories.violence for one in reply.results] == flags
    assert (reply.model, reply.id[:5]) == ("judge", "modr-")
    assert judging.sent()[-1].body == {"model": "omni-moderation-latest", "input": sent}


def test_a_request_without_a_model_is_routed_by_the_default(judging: Gateway) -> None:
    """E-031"""
    reply = judge(judging, input="Good morning")
    assert reply.status_code == 200
    assert reply.json()["model"] == "omni-moderation-latest"
    assert reply.headers["x-proxy-model"] == "judge"
    assert waited(lambda: operations(judging)) == {"moderations"}


@pytest.mark.parametrize("body", [{"input": "a"}, {"input": "a", "model": "text-moderation-stable"}])
def test_where_no_model_judges_it_is_a_404_that_says_so(gateway: Gateway, body: dict[str, Any]) -> None:
    """E-030: never `flagged: false` for want of knowledge."""
    assert "moderation_model" not in FILE
    reply = judge(gateway, **body)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert "No moderation model is configured" in error["message"]


def test_a_model_of_geminis_judges_nothing(judging: Gateway) -> None:
    """E-030"""
    with pytest.raises(openai.NotFoundError) as caught:
        judging.client().moderations.create(input="a", model="chat")
    assert caught.value.code == "model_not_found"
    assert "judges nothing" in caught.value.message


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        (None, "input", "missing_required_parameter"),
        ("", "input", "empty_string"),
        ([], "input", "empty_array"),
        (["a", ""], "input[1]", "empty_string"),
        (["a", {"type": "text", "text": "b"}], "input[1]", "invalid_type"),
        ([{"type": "audio"}], "input[0].type", "invalid_value"),
        ([{"type": "text"}], "input[0].text", "missing_required_parameter"),
        ([{"type": "image_url", "image_url": {}}], "input[0].image_url.url", "missing_required_parameter"),
        (
            [{"type": "image_url", "image_url": {"url": "x://y"}}],
            "input[0].image_url.url",
            "invalid_url",
        ),
        (7, "input", "invalid_type"),
    ],
)
def test_what_cannot_be_judged_is_refused_with_its_place(
    judging: Gateway, given: Any, param: str, code: str
) -> None:
    reply = judge(judging, model="judge", input=given)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, param)
    assert error["code"] == code


def test_members_that_nobody_reads_are_named(judging: Gateway) -> None:
    """X-008"""
    part = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    reply = judge(judging, model="judge", input=[part])
    assert reply.headers["x-proxy-dropped"] == "input[0].cache_control"


@pytest.mark.parametrize(
    "payload",
    [
        {"results": []},
        {"results": [{"flagged": True, "categories": {}}]},
        {"results": [{"flagged": False}, {"categories": {}}]},
        {"results": [{"flagged": False}, None]},
        {"error": {"message": "no"}},
        {},
    ],
)
def test_a_verdict_that_is_left_out_is_an_error_and_no_all_clear(payload: dict[str, Any]) -> None:
    """E-030"""
    wire, target = OpenAIModerations(), Target("lan", "m")
    request = ModerationRequest("m", ((TextPart("a"),), (TextPart("b"),)))
    reader = wire.reader(request, target, wire.build(request, target))
    with pytest.raises(UpstreamError):
        _ = [reader.feed(payload), reader.close()]


def test_verdicts_come_in_the_order_of_the_texts() -> None:
    wire, target = OpenAIModerations(), Target("lan", "m")
    request = ModerationRequest("m", ((TextPart("a"),), (TextPart("b"),)))
    reader = wire.reader(request, target, wire.build(request, target))
    assert reader.feed({"results": [{"flagged": True, "x": 1}, {"flagged": False}]}) == [
        Verdict(True, {"x": 1}),
        Verdict(False, {}),
    ]
    assert reader.close() == []
