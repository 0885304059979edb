"""What a request's targets are tried with: what is passed over, what is final, how many at once."""

from __future__ import annotations

import base64
import json
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.gateway import KEY, Gateway, open_gateway
from tests.picture_vendors import GOOD
from tests.raw_http import chat
from tests.test_late import ends
from tests.vendor_socket import read_request, vendor

FILE = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
defaults: {heartbeat: 10s}
providers:
  google:
    wire: gemini
    base_url: "http://SIMULATORS/gemini/v1beta"
    keys: [env:FIRST_KEY, env:SECOND_KEY]
    private: true
  lan: {wire: openai, base_url: "http://SIMULATORS/openai/v1", keys: [env:LAN_KEY], private: true}
  gone: {wire: openai, base_url: "http://SIMULATORS/slow", keys: [env:LAN_KEY], private: true}
  hasty:
    wire: openai
    base_url: "http://SIMULATORS/openai/v1"
    keys: [env:LAN_KEY]
    private: true
    timeouts: {total: 1s}
  slow: {profile: grsai, base_url: "http://SIMULATORS/grsai", keys: [env:LAN_KEY]}
  jlike: {profile: jlike, base_url: "http://SIMULATORS/jlike/api/v1/openapi", keys: [env:LAN_KEY]}
models:
  alone: {targets: [google/gemini-2.5-flash]}
  poor-last: {targets: [google/gemini-2.5-flash], fallback: [google/gemini-2.5-flash-preview-tts]}
  hasty-last: {targets: [gone/llama], fallback: [hasty/llama]}
  late-job: {targets: [google/gemini-that-is-gone], fallback: [slow/nano-banana-pro], poll: {every: 50ms}}
  picky: {targets: [jlike.image/nano-banana-2], fallback: [google/gemini-3-pro-image]}
  sown: {targets: [slow/nano-banana-pro], fallback: [google/gemini-3-pro-image]}
"""


PNG = "data:image/png;base64," + base64.b64encode(GOOD).decode()


def opened(folder: Path, first: str = "first", second: str = "second") -> Any:
    return open_gateway(folder, FILE, {"FIRST_KEY": first, "SECOND_KEY": second, "LAN_KEY": "lan"})


def post(gateway: Gateway, body: Any, path: str = "chat/completions", **headers: str) -> httpx.Response:
    named = {"authorization": f"Bearer {KEY}"} | {name.replace("_", "-"): it for name, it in headers.items()}
    return gateway.http.post(f"{gateway.base_url}/v1/{path}", json=body, headers=named)


def keys(gateway: Gateway) -> list[str]:
    return [exchange.key for exchange in gateway.sent()]


def test_a_refused_key_rests_through_a_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"TEST_KEY": KEY, "FIRST_KEY": "spent-1", "SECOND_KEY": "good-2", "LAN_KEY": "lan"}
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    with open_gateway(tmp_path, FILE, known, watched=True) as own:
        assert post(own, chat("Hi", "alone")).status_code == 200
        _reload(own, tmp_path / "providers.yaml")
        assert post(own, chat("Hi", "alone")).status_code == 200
        assert keys(own) == ["spent-1", "good-2", "good-2"]


def _reload(gateway: Gateway, file: Path) -> None:
    before = gateway.application.house
    file.write_text(file.read_text() + "# touched\n")
    deadline = time.monotonic() + 10
    while gateway.application.house is before:
        assert time.monotonic() < deadline, "the file was not read again"
        time.sleep(0.01)


def test_a_target_that_cannot_carry_the_request_never_hides_why_the_first_one_failed(tmp_path: Path) -> None:
    """The fallback speaks: it has no use for tools, and the client is strict."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    with opened(tmp_path, "down-1", "down-2") as own:
        reply = post(own, chat("Hi", "poor-last", tools=[tool]), x_proxy_strict="true")
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "overloaded")


@pytest.mark.parametrize(
    "asked",
    [{"model": "picky", "image": PNG}, {"model": "sown", "seed": 7}],
    ids=["takes no pictures", "cannot carry it"],
)
def test_a_target_that_cannot_be_asked_for_it_is_passed_over(tmp_path: Path, asked: dict[str, Any]) -> None:
    """Unless the client wants no other; what would be lost is refused, for it is strict."""
    body = {"prompt": "Redder", **asked}
    with opened(tmp_path) as own:
        alone = post(own, body, "images/generations", x_proxy_strict="true", x_proxy_no_fallback="true")
        assert (alone.status_code, own.sent()) == (400, [])
        reply = post(own, body, "images/generations", x_proxy_strict="true")
        assert reply.status_code == 200
        assert [exchange.vendor for exchange in own.sent()] == ["google"]
    assert "x-proxy-dropped" not in reply.headers


def test_the_same_target_is_asked_again_after_a_pause(tmp_path: Path) -> None:
    with opened(tmp_path) as own:
        assert post(own, chat("Hi sim:fail-once:503", "alone")).status_code == 200
        first, second = own.sent()
    assert first.key == second.key == "first"
    assert second.received - first.received >= 0.25


def test_the_same_target_is_asked_again_when_it_says(tmp_path: Path) -> None:
    with opened(tmp_path) as own:
        assert post(own, chat("Hi sim:fail-once:503 sim:retry-after:1", "alone")).status_code == 200
        first, second = own.sent()
    assert first.key == second.key == "first"
    assert second.received - first.received >= 1


def test_a_chat_with_a_picture_passes_over_a_target_that_takes_none(tmp_path: Path) -> None:
    shown: Any = [{"type": "text", "text": "Redder"}, {"type": "image_url", "image_url": {"url": PNG}}]
    with opened(tmp_path) as own:
        reply = post(own, {"model": "picky", "messages": [{"role": "user", "content": shown}]})
        assert reply.status_code == 200
        assert [exchange.vendor for exchange in own.sent()] == ["google"]


def test_the_first_refusal_is_told_when_no_target_can(tmp_path: Path) -> None:
    with opened(tmp_path) as own:
        body = {"model": "picky", "prompt": "Redder", "image": PNG, "mask": PNG}
        reply = post(own, body, "images/generations")
        assert own.sent() == []
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "mask_not_supported")
    assert reply.json()["error"]["param"] == "mask"
    assert reply.json()["error"]["message"].startswith("This model does not take a mask.")


def test_a_later_target_that_sells_ends_before_the_client_gives_up(tmp_path: Path) -> None:
    with opened(tmp_path) as own:
        client = own.client(timeout=3.0, max_retries=2)
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(
                model="late-job", messages=[{"role": "user", "content": "A fox sim:polls:9999"}]
            )
        orders = [sent for sent in own.sent() if sent.path.endswith("/generate")]
    assert (caught.value.status_code, caught.value.response.headers["x-should-retry"]) == (504, "false")
    assert len(orders) == 1


def test_a_later_target_whose_time_is_over_is_not_asked(tmp_path: Path) -> None:
    """It counts from when the client asked."""

    def slowly_refuses(connection: socket.socket) -> None:
        read_request(connection)
        time.sleep(1.2)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    with vendor(slowly_refuses) as slow:
        file = FILE.replace("http://SIMULATORS/slow", slow)
        with open_gateway(tmp_path, file, {"FIRST_KEY": "1", "SECOND_KEY": "2", "LAN_KEY": "lan"}) as own:
            reply = post(own, chat("Hi", "hasty-last"))
            assert own.sent() == []
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")


def test_a_picture_is_held_before_it_is_ordered_of_a_model_that_is_known_to_chat(tmp_path: Path) -> None:
    store = f"sqlite:{tmp_path}/state/dragoman.db"
    file = FILE + f'server: {{state: "{store}"}}\n'
    with open_gateway(tmp_path, file, {"FIRST_KEY": "1", "SECOND_KEY": "2", "LAN_KEY": "lan"}) as own:
        drawn = post(own, {"model": "alone", "prompt": "A hat"}, "images/generations")
        said = post(own, chat("Hi", "alone"))
        rows = [ends(store, reply.headers["x-request-id"], count) for reply, count in ((drawn, 2), (said, 1))]
    assert [[kind for kind, *_ in each] for each in rows] == [["hold", "settle"], ["settle"]]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_words_are_worth_more_than_the_patience_of_an_sdk(tmp_path: Path, stream: bool) -> None:
    """It asks again for those that are late, and pays nothing twice."""
    with opened(tmp_path) as own:
        body = chat("Hi sim:slow:1.5 sim:text:here I am", "alone", stream=stream)
        reply = post(own, body, x_stainless_read_timeout="1")
        assert (reply.status_code, len(own.sent())) == (200, 1)
    assert '"error"' not in reply.text


@pytest.mark.parametrize(
    ("model", "n", "at_once"),
    [("google/gemini-3-pro-image", 12, 4), ("google/gemini-3-flash-preview", 40, 16)],
)
def test_calls_side_by_side_are_bounded(tmp_path: Path, model: str, n: int, at_once: int) -> None:
    with opened(tmp_path) as own:
        reply = post(own, chat("Hi sim:slow:0.3", model, n=n))
        assert reply.status_code == 200
        spans = [(one.received, one.received + (one.first_byte_ms or 0) / 1000) for one in own.sent()]
    assert len(spans) == n
    most = max(sum(began <= moment < ended for began, ended in spans) for moment, _ in spans)
    assert most <= at_once


FAULT = {"code": 503, "message": "Error processing stream", "status": "UNAVAILABLE"}
HALF = {"index": 0, "message": {"role": "assistant", "content": "Half"}, "error": FAULT}
HALF_SOLD: dict[str, Any] = {
    "relay/m": {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [HALF]},
    "native/gemini-2.5-flash": {
        "candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "Half"}]}}],
        "error": FAULT,
    },
}
SELLERS = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
providers:
  relay: {wire: openai, base_url: "ADDRESS/v1", keys: [env:LAN_KEY], private: true}
  native: {wire: gemini, base_url: "ADDRESS/v1beta", keys: [env:LAN_KEY], private: true}
"""


@pytest.mark.parametrize("model", HALF_SOLD)
def test_an_answer_that_was_sold_with_an_error_is_asked_for_once_by_the_sdk_too(
    tmp_path: Path, model: str
) -> None:
    body = json.dumps(HALF_SOLD[model]).encode()
    orders = 0

    def answers(connection: socket.socket) -> None:
        nonlocal orders
        while True:
            read_request(connection)
            orders += 1
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            connection.sendall(head % len(body) + body)

    with (
        vendor(answers) as address,
        open_gateway(tmp_path, SELLERS.replace("ADDRESS", address), {"LAN_KEY": "lan"}) as own,
    ):
        client, messages = own.client(max_retries=2), [{"role": "user", "content": "Hi"}]
        with pytest.raises(openai.InternalServerError, match="Error processing stream"):
            client.chat.completions.create(model=model, messages=messages)  # type: ignore[call-overload]
    assert orders == 1
