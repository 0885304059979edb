"""What a reply's head tells of how it was made, for each way it can go out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests import picture_vendors
from tests.gateway import Gateway, open_gateway
from tests.picture_vendors import GOOD, post

FILE = (
    picture_vendors.FILE.replace(
        "models:\n",
        "  down: {wire: gemini, base_url: 'http://127.0.0.1:9/v1beta', private: true, "
        "keys: [env:VENDOR_KEY]}\n"
        "  relay: {wire: openai, base_url: 'http://SIMULATORS/openai/v1', private: true, "
        "keys: [env:VENDOR_KEY]}\n"
        "models:\n"
        "  flash: {targets: [google/gemini-3-flash-preview]}\n"
        "  down-then-relay: {targets: [down/gemini-2.5-flash], fallback: [relay/llama]}\n"
        "  mixed: {targets: [down/gemini-2.5-flash], fallback: [google/gemini-3-flash-preview]}\n"
        "  flash-then-jobs: {targets: [down/gemini-3-pro-image], fallback: [grsai/nano-banana-pro], "
        "poll: {every: 30ms}}\n",
        1,
    )
).replace("heartbeat: 60s", "heartbeat: 600ms")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("heads"), FILE) as opened:
        yield opened


def chat(prompt: str = "Hello", **fields: Any) -> dict[str, Any]:
    return {
        "model": "flash",
        "messages": [{"role": "user", "content": prompt}],
        "logit_bias": {"1": 1},
        **fields,
    }


def picture(prompt: str = "A cat", **fields: Any) -> dict[str, Any]:
    return {"model": "google", "prompt": prompt, "size": "1536x1024", "style": "vivid", **fields}


STRICT = {"x-proxy-strict": "true"}
CHAT, IMAGES = "chat/completions", "images/generations"


@dataclass(frozen=True, slots=True)
class Way:
    """`told` are the headers beginning with `x-proxy-`, all of them; `begins` how the body does."""

    path: str
    body: dict[str, Any]
    told: dict[str, str] = field(default_factory=dict)
    status: int = 200
    begins: str = "{"
    headers: dict[str, str] = field(default_factory=dict)


BIAS = {"x-proxy-dropped": "logit_bias"}
SIZE = "1536x1024 -> 3:2/1K"
DRAWN = {"x-proxy-dropped": "style", "x-proxy-size": SIZE}

WAYS = {
    "whole": Way(CHAT, chat(), BIAS),
    "streamed, with the first words": Way(CHAT, chat(stream=True), BIAS, begins='data: {"id"'),
    "streamed, after a heartbeat": Way(
        CHAT, chat("Hello sim:slow:0.9", stream=True), BIAS, begins=": keep-alive"
    ),
    "streamed, and nothing dropped": Way(
        CHAT, chat(stream=True, logit_bias=None), {}, begins='data: {"id"'
    ),
    "several choices over two targets": Way(CHAT, chat(model="mixed", n=2), BIAS),
    "several choices over two targets, streamed": Way(
        CHAT, chat(model="mixed", n=2, stream=True), BIAS, begins='data: {"id"'
    ),
    "several choices, after a heartbeat": Way(
        CHAT, chat("Hello sim:slow:0.9", n=2, stream=True), BIAS, begins=": keep-alive"
    ),
    "refused before a target is known": Way(CHAT, chat(temperature=9), {}, 400),
    "refused by the vendor": Way(CHAT, chat("Hello sim:error:400"), BIAS, 400),
    "failed after a fallback": Way(CHAT, chat("Hello sim:error:503", model="mixed"), BIAS, 503),
    "refused by the vendor, streamed": Way(CHAT, chat("Hello sim:error:400", stream=True), BIAS, 400),
    "strict": Way(CHAT, chat(), BIAS, 400, headers=STRICT),
    "strict, a member that nobody reads": Way(
        CHAT,
        chat(messages=[{"role": "user", "content": "Hi", "rosebud": {}}], logit_bias=None),
        {},
        400,
        headers=STRICT,
    ),
    "a picture": Way(IMAGES, picture(), DRAWN),
    "a picture, streamed": Way(IMAGES, picture(stream=True), DRAWN, begins="event: image_generation"),
    "a picture, after a heartbeat": Way(
        IMAGES, picture("A cat sim:slow:0.9", stream=True), DRAWN, begins=": keep-alive"
    ),
    "two pictures": Way(IMAGES, picture(n=2), DRAWN),
    "two pictures, streamed, with the first": Way(
        IMAGES, picture(n=2, stream=True), DRAWN, begins="event: image_generation"
    ),
    "a picture by a job": Way(
        IMAGES, picture(model="grsai-async"), {"x-proxy-dropped": "style", "x-proxy-size": SIZE}
    ),
    "a picture by a job, after a heartbeat": Way(
        IMAGES, picture("A cat sim:polls:30", model="grsai-async", stream=True), DRAWN, begins=": keep-alive"
    ),
    "a picture by a job after a chat that is down": Way(IMAGES, picture(model="flash-then-jobs"), DRAWN),
    "a chat by a job": Way(
        CHAT, chat(model="grsai-async", size="1536x1024"), {**BIAS, "x-proxy-size": SIZE}
    ),
    "a chat by a job that is strict": Way(
        CHAT, chat(model="grsai-async", reasoning_effort="high", logit_bias=None),
        {"x-proxy-dropped": "reasoning_effort"}, 400, headers=STRICT,
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_the_head_tells_how_the_reply_was_made(gateway: Gateway, way: Way) -> None:
    reply = post(gateway, way.path, way.body, headers={"x-client-request-id": "mine-7", **way.headers})
    told = {name: value for name, value in reply.headers.items() if name.startswith("x-proxy-")}
    assert (reply.status_code, told) == (way.status, way.told), reply.text[:300]
    assert reply.text.startswith(way.begins)
    assert reply.headers["x-request-id"].startswith("req_")
    assert reply.headers["x-client-request-id"] == "mine-7"


def test_what_only_the_target_before_could_not_carry_is_not_told(gateway: Gateway) -> None:
    """Gemini takes no `user`; the relay behind it does."""
    reply = post(gateway, CHAT, chat(model="down-then-relay", user="ann", logit_bias=None))
    assert (reply.status_code, "x-proxy-dropped" in reply.headers) == (200, False)


def edit(gateway: Gateway, model: str, **fields: str) -> Any:
    data = {"model": model, "prompt": "Make it red", **fields}
    return post(gateway, "images/edits", data=data, files={"image": ("cat.png", GOOD, "image/png")})


def test_the_head_of_an_edit_by_form(gateway: Gateway) -> None:
    reply = edit(gateway, "google", size="1536x1024", style="vivid")
    assert (reply.status_code, reply.headers["x-proxy-dropped"]) == (200, "style")
    assert reply.headers["x-proxy-size"] == SIZE


@pytest.mark.parametrize(
    ("model", "fields", "param"),
    [
        ("google", {"n": "two"}, "n"),
        ("google", {"size": "foo"}, "size"),
        ("google", {"stream": "perhaps"}, "stream"),
        ("evolink", {}, "image"),  # takes pictures by address only
        ("jlike", {}, "image"),  # takes none
    ],
)
def test_a_mistake_in_a_form_is_named_by_its_field(
    gateway: Gateway, model: str, fields: dict[str, str], param: str
) -> None:
    reply = edit(gateway, model, **fields)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "user", "content": "Hi", "rosebud": {}}]}, "messages[0].rosebud"),
        ({"response_format": {"type": "text", "rosebud": 1}}, "response_format.rosebud"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"reasoning_effort": "high", "model": "grsai-async"}, "reasoning_effort"),
    ],
)
def test_nothing_is_ordered_when_a_strict_client_would_lose_something(
    gateway: Gateway, fields: dict[str, Any], param: str
) -> None:
    with picture_vendors.watching(gateway) as seen:
        reply = post(gateway, CHAT, chat(**{"logit_bias": None, **fields}), headers=STRICT)
        ordered = seen.exchanges()
    assert (reply.status_code, reply.json()["error"]["param"], ordered) == (400, param, [])
