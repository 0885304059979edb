"""Long work: streams that are kept alive, clients that wait so long and no longer, clients that leave."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import openai
import pytest

from tests.desks import listening
from tests.gateway import KEY, Gateway, open_gateway
from tests.picture_vendors import BEATING, HEAD, Seen, decoded, post, providers, watching
from tests.served import waited
from tests.test_metrics import scraped
from tests.test_refused_polls import FILE as OBOLUS
from tests.test_refused_polls import RUNNING, Desk, desk, posted


@pytest.fixture
def gateway(pictures_gateway: Gateway) -> Gateway:
    return pictures_gateway


@pytest.mark.parametrize("path", ["images/generations", "chat/completions"])
def test_comments_keep_a_stream_alive_while_a_vendor_works(tmp_path: Path, path: str) -> None:
    """I-015: from before the first byte, at the interval of the configuration (300 ms here)"""
    prompt = "Slowly sim:slow:1.9"
    body: dict[str, Any] = {"model": "grsai-async", "stream": True, "prompt": prompt}
    if path == "chat/completions":
        body = {
            "model": "grsai-async",
            "stream": True,
            "messages": [{"role": "user", "content": prompt}],
        }
    headers = {"authorization": f"Bearer {KEY}"}
    with open_gateway(tmp_path, BEATING) as own:
        moments = [time.monotonic()]
        url = f"{own.base_url}/v1/{path}"
        with own.http.stream("POST", url, json=body, headers=headers) as reply:
            assert reply.headers["content-type"].startswith("text/event-stream")
            for line in reply.iter_lines():
                if line.startswith(":"):
                    moments.append(time.monotonic())
    pauses = [after - before for before, after in pairwise(moments)]
    assert len(pauses) >= 3
    assert median(pauses) < 0.6


def test_the_sdk_gets_the_picture_behind_the_comments(tmp_path: Path) -> None:
    """I-015"""
    with open_gateway(tmp_path, BEATING) as own:
        stream = own.client().images.generate(model="wan", prompt="Slowly too sim:slow:0.8", stream=True)
        assert [decoded(event.b64_json).width > 0 for event in stream] == [True]


def test_an_sdk_that_may_retry_does_not_order_twice(gateway: Gateway) -> None:
    """V-051: openai-python obeys x-should-retry"""
    with watching(gateway) as seen, pytest.raises(openai.InternalServerError):
        gateway.client(max_retries=3).images.generate(model="wan", prompt="Once sim:fail:some_fault")
    assert len(seen.submits()) == 1


PAINTER = OBOLUS.replace(
    "providers:\n",
    "defaults: {image_model: obol}\nproviders:\n  google: {wire: gemini, keys: [env:VENDOR_KEY], "
    'base_url: "http://SIMULATORS/gemini/v1beta", private: true}\n',
)


@pytest.mark.parametrize(
    ("fields", "drawn"),
    [({"stream": True}, True), ({"background": True}, True), ({}, False)],
    ids=["streamed", "in the background", "waited for"],
)
def test_a_picture_that_a_reply_of_words_waits_for_has_the_time_of_its_client(
    tmp_path: Path, fields: dict[str, Any], drawn: bool
) -> None:
    """A stream is kept alive meanwhile; of a reply that comes whole an SDK would buy it again."""
    body = {
        "model": "google/gemini-3-flash-preview",
        "input": "A door, please sim:call:image_generation",
        "tools": [{"type": "image_generation"}],
        **fields,
    }
    with desk(*[RUNNING] * 75) as base:
        file = PAINTER.replace("BASE", base).replace("FOLDER", str(tmp_path))
        with open_gateway(tmp_path, file) as own:
            told = post(own, "responses", body, headers={"x-stainless-read-timeout": "1"}).text
            if "background" in fields:
                address = f"{own.base_url}/v1/responses/{json.loads(told)['id']}"
                told = waited(lambda: _ended(own, address))
    assert len(Desk.orders) == 1
    assert ("image_generation_call" in told, "upstream_timeout" in told) == (drawn, not drawn)


def _ended(gateway: Gateway, address: str) -> str | None:
    told = gateway.http.get(address, headers={"authorization": f"Bearer {KEY}"}).text
    return None if json.loads(told)["status"] in ("queued", "in_progress") else told


class Holding(Desk):
    """Takes no order before it may `go` on."""

    go = threading.Event()

    def _answer(self, data: bytes, kind: str = "application/json", status: int = 200) -> None:
        assert self.path != "/orders" or self.go.wait(10)
        super()._answer(data, kind, status)


def test_orders_to_a_vendor_that_takes_jobs_are_sent_eight_at_a_time(tmp_path: Path) -> None:
    """With their pictures in memory; those that it has taken make place."""
    Desk.told[:], Desk.orders[:] = [], []
    with (
        listening(Holding) as base,
        ThreadPoolExecutor(10) as pool,
        open_gateway(tmp_path, OBOLUS.replace("BASE", base).replace("FOLDER", str(tmp_path))) as own,
    ):
        ask = partial(posted, own.base_url, "images/generations")
        replies = pool.map(ask, ({"prompt": f"door {number}"} for number in range(10)))
        waited(lambda: scraped(own.base_url)["dragoman_requests_in_flight"] == 10)
        waited(lambda: len(Desk.orders) >= 8)
        for _ in range(10):
            assert own.http.get(f"{own.base_url}/readyz").status_code == 200
        assert len(Desk.orders) == 8
        Holding.go.set()
        assert [reply.status_code for reply in replies] == [200] * 10


def hang_up(gateway: Gateway, body: dict[str, Any], when: Callable[[], Any]) -> None:
    """Send a request, and close the connection without reading a word when it is time."""
    host, _, port = gateway.base_url.removeprefix("http://").partition(":")
    content = json.dumps(body).encode()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST /v1/images/generations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n".encode()
            + content
        )
        waited(when)


def _polls(seen: Seen, prompt: str) -> int:
    return sum(len(task.polls_ms) for task in seen.tasks(prompt))


def _until_abandoned(captured: Any, lines: list[Any]) -> list[Any] | None:
    """The log so far, when it tells that a job was left."""
    new = captured.readouterr().err.splitlines()
    lines += (json.loads(line) for line in new if line.startswith(b"{"))
    return lines if any(line["event"] == "job_abandoned" for line in lines) else None


FILE = (
    HEAD
    + providers("dashscope", "fal", "grsai", "bfl", extra="private: true, on_disconnect: cancel")
    + """
models:
  wan: {targets: [dashscope/wan2.7-image], poll: {every: 100ms}}
  queue: {targets: [fal/fal-ai/nano-banana], poll: {every: 100ms}}
  plain: {targets: [grsai/nano-banana], poll: {every: 100ms}}
  signed: {targets: [bfl/flux-kontext-pro], poll: {every: 100ms}}
  late: {targets: [dashscope/wan2.7-image], poll: {every: 100ms}, timeouts: {total: 800ms}}
"""
)


def test_a_client_that_waits_so_long_is_answered_before_it_gives_up(tmp_path: Path) -> None:
    """V-051: openai-python tells its read timeout; the error says how to go on"""
    with (
        open_gateway(tmp_path, FILE) as own,
        watching(own) as seen,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        own.client(timeout=3.2).images.generate(model="plain", prompt="Endless sim:polls:9999")
    error = caught.value
    assert (error.status_code, error.code) == (504, "upstream_timeout")
    assert error.response.headers["x-should-retry"] == "false"
    assert "stream" in error.message
    assert len(seen.submits()) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("vendor", ["plain", "wan", "queue"])
def test_polling_stops_when_the_client_hangs_up(tmp_path: Path, vendor: str, stream: bool) -> None:
    """V-052: where the file says so"""
    prompt = f"Left at {vendor} {stream} sim:polls:9999"
    with open_gateway(tmp_path, FILE) as own, watching(own) as seen:
        polls = partial(_polls, seen, prompt)
        hang_up(own, {"model": vendor, "prompt": prompt, "stream": stream}, when=polls)
        before = -1
        while before != polls():  # a poll comes every 100 ms as long as there are any
            before = polls()
            time.sleep(0.5)
        assert before < 100
    assert len(seen.submits()) == 1


@pytest.mark.parametrize(
    ("model", "order", "cancelled"),
    [
        ("wan", "sim:polls:9999", True),
        ("queue", "sim:polls:9999", True),
        ("plain", "sim:polls:9999", False),
        ("signed", "sim:polls:9999", False),
        ("wan", "sim:polls:1 sim:slow:60", False),
        ("queue", "sim:polls:1 sim:slow:60", False),
    ],
    ids=[
        "dashscope waits",
        "fal waits",
        "grsai cannot",
        "bfl cannot",
        "dashscope is at work",
        "fal is at work",
    ],
)
def test_a_job_is_called_off_where_the_vendor_lets_us(
    tmp_path: Path, capfdbinary: Any, model: str, order: str, cancelled: bool
) -> None:
    """V-036, V-052: its id is in the log before the first poll, and once more when it is left; of the address
    that bfl gives without its query"""
    with open_gateway(tmp_path, FILE) as own, watching(own) as seen:
        hang_up(own, {"model": model, "prompt": f"Left {order}"}, lambda: _polls(seen, f"Left {order}") > 2)
        lines = waited(partial(_until_abandoned, capfdbinary, []))
        (task,) = seen.tasks(f"Left {order}")
        assert task.cancelled is cancelled
        asked = [each.path for each in seen.exchanges() if each.path.endswith("/cancel")]
        assert len(asked) == cancelled
    told = {line["event"]: line for line in lines}
    assert told["job_accepted"]["task"]["id"] == task.id
    assert told["job_abandoned"]["task"]["id"] == task.id
    assert not any("?" in str(told[event]["task"]) for event in ("job_accepted", "job_abandoned"))
    assert told["job_abandoned"]["cancel_asked"] is cancelled


def test_a_word_nobody_knows_is_logged_once(tmp_path: Path, capfdbinary: Any) -> None:
    """V-047: wan's states reduced to what they are not"""
    file = HEAD.replace("providers:", "PROFILES\nproviders:").replace(
        "PROFILES",
        "profiles:\n  strange:\n    extends: dashscope\n    surfaces: {image: {state: {pending: [PENDING]}}}",
    ) + (
        "  strange: {profile: strange, base_url: 'http://SIMULATORS/dashscope', "
        "keys: [env:VENDOR_KEY], private: true}\n"
        "models:\n  strange: {targets: [strange/wan2.7-image], poll: {every: 20ms}}\n"
    )
    with open_gateway(tmp_path, file) as own:
        reply = own.client().images.generate(model="strange", prompt="Odd sim:polls:3 sim:slow:0.3")
        assert decoded((reply.data or ())[0].b64_json or "").width
    lines = [json.loads(line) for line in capfdbinary.readouterr().err.splitlines() if line.startswith(b"{")]
    assert [line["state"] for line in lines if line["event"] == "unknown_state"] == ["RUNNING"]


def test_a_charge_that_is_not_where_the_profile_looks_is_logged_once(
    tmp_path: Path, capfdbinary: Any
) -> None:
    file = HEAD + (
        "  jlike: {profile: jlike, base_url: 'http://SIMULATORS/jlike/api/v1/openapi', "
        "keys: [env:VENDOR_KEY], private: true}\n"
        "models:\n  banana: {targets: [jlike.image/nano-banana-pro]}\n"
    )
    with open_gateway(tmp_path, file) as own:
        for prompt in ("A cat", "A dog sim:billing:none", "A fox sim:billing:none"):
            own.client().images.generate(model="banana", prompt=prompt)
    lines = [json.loads(line) for line in capfdbinary.readouterr().err.splitlines() if line.startswith(b"{")]
    (line,) = [line for line in lines if line["event"] == "charge_unread"]
    assert line["target"] == "jlike.image/nano-banana-pro"
    assert line["why"].startswith("no amount is at _billing.actual_cost, data._billing.actual_cost, ")


def test_a_vendor_in_a_private_network_may_have_its_results_there(gateway: Gateway) -> None:
    """V-053: `private: true`; that everybody else's are refused is tested with the fetcher"""
    with watching(gateway) as seen:
        reply = post(gateway, "images/generations", {"model": "grsai-json", "prompt": "At home"})
    assert reply.status_code == 200
    assert len(seen.downloads()) == 1


def test_no_log_line_holds_a_prompt_a_key_or_a_signature(tmp_path: Path, capfdbinary: Any) -> None:
    """V-060, I-053"""
    file = (
        HEAD
        + providers("jlike", "fal")
        + "models:\n  wan: {targets: [jlike.wan/wan2.7-t2i-plus], poll: {every: 20ms}}\n"
    )
    with open_gateway(tmp_path, file) as own:
        own.client().images.generate(model="wan", prompt="A very private wish " * 20)
        with pytest.raises(openai.APIStatusError):
            own.client().images.generate(model="wan", prompt="A very private wish sim:urlexpired")
    logged = capfdbinary.readouterr().err
    assert b"job_accepted" in logged
    assert b"vendor-key-canary" not in logged
    assert b"private wish" not in logged
    assert b"Signature" not in logged
    assert b"iVBORw0KGgo" not in logged


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_job_that_takes_too_long_is_called_off(tmp_path: Path, capfdbinary: Any, stream: bool) -> None:
    """V-036: it would go on at the vendor, and cost"""
    prompt = "Late sim:polls:9999"
    with open_gateway(tmp_path, FILE) as own, watching(own) as seen:
        reply = post(own, "images/generations", {"model": "late", "prompt": prompt, "stream": stream})
        assert "upstream_timeout" in reply.text
        lines = waited(partial(_until_abandoned, capfdbinary, []))
        (task,) = seen.tasks(prompt)
        assert task.cancelled
    told = {line["event"]: line for line in lines}
    assert told["job_abandoned"]["task"]["id"] == task.id
