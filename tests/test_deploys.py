"""How the server ends, and how the next one takes over: with real processes, as a deploy does it."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.serve.protocol import Protocol
from proxy.simulators.server import Running, start
from tests import forks
from tests.gateway import FILE, KEY, Gateway, open_gateway
from tests.raw_http import RawRequest, chat
from tests.served import Served, run, serving, waited

ENVIRONMENT = {"TEST_KEY": KEY, "TEST_NARROW_KEY": "sk-test-narrow", "VENDOR_KEY": "vendor-key"}
HEADERS = {"authorization": f"Bearer {KEY}"}
CHAT, GENERATION = "/v1/chat/completions", "/v1/images/generations"
SLOW_STREAM = chat("sim:gap:60000 sim:chunks:9 sim:text:a b c", stream=True)


@pytest.fixture(scope="module")
def vendors() -> Iterator[Running]:
    with start() as running:
        yield running


@pytest.fixture
def file(vendors: Running) -> str:
    return FILE.replace("http://SIMULATORS", vendors.base_url)


def with_server(file: str, settings: str) -> str:
    return file.replace("keys:\n", f"server: {{{settings}}}\nkeys:\n", 1)


def answers(served: Served, path: str) -> tuple[int, Any]:
    reply = httpx.get(f"{served.base_url}{path}", timeout=10)
    return reply.status_code, reply.json()


# --- lead time


def test_within_the_lead_time_it_is_not_ready_and_still_answers(tmp_path: Path, file: str) -> None:
    with serving(tmp_path, with_server(file, "lead: 1500ms"), environment=ENVIRONMENT) as served:
        assert answers(served, "/readyz") == (200, {"status": "ok"})
        with httpx.Client(base_url=served.base_url, headers=HEADERS, timeout=10) as kept:
            assert "connection" not in kept.post(CHAT, json=chat("Hi")).headers
            served.process.send_signal(signal.SIGTERM)
            waited(lambda: answers(served, "/readyz") == (503, {"status": "stopping"}))
            unready = httpx.get(f"{served.base_url}/readyz")
            assert re.fullmatch("req_[0-9a-f]{24}", unready.headers["x-request-id"])
            assert answers(served, "/livez")[0] == 200
            reply = kept.post(CHAT, json=chat("Hi"))
            assert (reply.status_code, reply.headers["connection"]) == (200, "close")
            assert kept.post(CHAT, json=chat("Hi")).status_code == 200
        assert served.process.wait(10) == 0
        log = served.err.read_text()
        assert log.count('"event":"stopping","requests":0') == 1  # and none for each probe
        assert "readyz" not in log


def test_without_lead_time_it_ends_at_once(tmp_path: Path, file: str) -> None:
    with serving(tmp_path, file, environment=ENVIRONMENT) as served:
        httpx.get(f"{served.base_url}/livez")
        began = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - began < 5


# --- the end of the drain


def begun(served: Served, vendors: Running, path: str, body: Any, **options: Any) -> RawRequest:
    """A request that a vendor works on."""
    before = len(list(vendors.log.exchanges()))
    opened = RawRequest(_Reach(served.base_url, vendors), body, path=path, **options).send()
    waited(lambda: len(list(vendors.log.exchanges())) > before)
    return opened


class _Reach:
    def __init__(self, base_url: str, vendors: Running) -> None:
        self.base_url = base_url
        self.vendors = vendors


def test_what_is_cut_off_is_told_so_in_openais_words(tmp_path: Path, file: str, vendors: Running) -> None:
    """A chat may be sent again, and a picture by its key; another picture would be bought again. Streams end
    with an event."""
    picture = {"model": "nano-banana-pro", "prompt": "A cat sim:slow:60"}
    with serving(tmp_path, with_server(file, "drain: 300ms"), environment=ENVIRONMENT) as served:
        with (
            begun(served, vendors, CHAT, chat("Hi sim:slow:60")) as talk,
            begun(served, vendors, GENERATION, picture) as drawing,
            begun(served, vendors, CHAT, chat("Draw sim:slow:60", "nano-banana-pro")) as drawn,
            begun(served, vendors, GENERATION, picture, headers={"idempotency-key": "mine"}) as keyed,
            begun(served, vendors, CHAT, SLOW_STREAM) as stream,
            RawRequest(_Reach(served.base_url, vendors), chat("Hi")) as uploading,
        ):
            stream.until("data: ")
            uploading.send(9)
            served.process.send_signal(signal.SIGTERM)
            replies = [one.rest() for one in (talk, drawing, drawn, keyed, uploading)]
            streamed = stream.rest()
        assert served.process.wait(10) == 0
        err = served.err.read_text()
    for reply, forbidden in zip(replies, (False, True, True, False, False), strict=True):
        head, _, body = reply.partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 503 "), reply
        assert ("x-should-retry: false" in head) is forbidden
        error = json.loads(body)["error"]
        assert (error["code"], error["type"]) == ("server_stopping", "server_error")
    last = streamed.split("data: ")[-1].partition("\n")[0]
    assert json.loads(last)["error"]["code"] == "server_stopping"
    assert "[DONE]" not in streamed
    assert streamed.endswith("0\r\n\r\n")
    assert "Traceback" not in err
    logged = [json.loads(line) for line in err.splitlines() if '"event":"request"' in line]
    assert sorted(line["status"] for line in logged if line.get("error") == "server_stopping") == [
        200,
        503,
        503,
        503,
        503,
        503,
    ]


def test_a_stream_that_has_not_begun_is_refused_as_any_request(
    tmp_path: Path, file: str, vendors: Running
) -> None:
    quiet = with_server(file, "drain: 300ms").replace("heartbeat: 300ms", "heartbeat: 60s")
    with serving(tmp_path, quiet, environment=ENVIRONMENT) as served:
        with begun(served, vendors, CHAT, chat("Hi sim:slow:60", stream=True)) as stream:
            served.process.send_signal(signal.SIGTERM)
            head, _, body = stream.rest().partition("\r\n\r\n")
        assert served.process.wait(10) == 0
    assert head.startswith("HTTP/1.1 503 "), head
    assert "content-type: application/json" in head
    assert json.loads(body)["error"]["code"] == "server_stopping"


@pytest.mark.parametrize(("phase", "workers"), [("lead: 60s", "2"), ("drain: 60s", "1")])
def test_a_second_signal_is_immediate(
    tmp_path: Path, file: str, vendors: Running, phase: str, workers: str
) -> None:
    with serving(tmp_path, with_server(file, phase), "--workers", workers, environment=ENVIRONMENT) as served:
        with begun(served, vendors, CHAT, chat("Hi sim:slow:60")) as talk:
            served.process.send_signal(signal.SIGTERM)
            if phase.startswith("lead"):
                waited(lambda: answers(served, "/readyz")[0] == 503)
            else:
                waited(lambda: not _listens(served))
            served.process.send_signal(signal.SIGTERM)
            assert served.process.wait(15) == 0
            assert talk.rest().startswith("HTTP/1.1 503 ")
        assert "Traceback" not in served.err.read_text()


def _listens(served: Served) -> bool:
    address = httpx.URL(served.base_url)
    with socket.socket() as one:
        return one.connect_ex((address.host, address.port or 0)) == 0


def test_a_request_that_nobody_has_read_yet_is_answered(gateway: Gateway) -> None:
    """It came on a kept connection while the loop was busy, and then its turn was to close that."""
    kept, idle = RawRequest(gateway, chat("Hi"), headers=KEPT), RawRequest(gateway, chat("Hi"), headers=KEPT)
    with kept, idle:
        for one in (kept, idle):
            one.send().until('"total_tokens"')
            one.received = b""
        ports = {one.socket.getsockname()[1] for one in (kept, idle)}
        found = [one for one in gc.get_objects() if type(one) is Protocol and one.client[1] in ports]
        assert len(found) == 2
        done = threading.Event()

        def in_the_loop() -> None:
            kept.send()
            for connection in found:
                connection.shutdown()
            done.set()

        found[0].loop.call_soon_threadsafe(in_the_loop)
        assert done.wait(10)
        assert kept.until('"total_tokens"').startswith("HTTP/1.1 200 ")
        assert idle.rest() == ""


KEPT = {"connection": "keep-alive", "content-type": "application/json"}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with open_gateway(tmp_path) as opened:
        yield opened


# --- the next one


def test_restarts_on_one_port_lose_no_request(tmp_path: Path, file: str, vendors: Running) -> None:
    """Half of the clients keep their connections; some stream, some want pictures. The next process is not
    even ready when the one before is told to end: who connects to it waits."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "providers.yaml").write_text(with_server(file, "lead: 200ms"))
    base_url = f"http://127.0.0.1:{port}"
    failed: list[str] = []
    counted: list[int] = []
    done = threading.Event()

    def load(number: int) -> None:
        path, body = CHAT, chat("Hi sim:chunks:5 sim:gap:20 sim:text:a b c d e", stream=number in (2, 3))
        if number > 3:
            path, body = GENERATION, {"model": "nano-banana-pro", "prompt": "A cat sim:slow:0.3"}
        with ExitStack() as stack:
            client: httpx.Client | None = None
            while not done.wait(0.05):
                if client is None or number % 2:
                    client = stack.enter_context(httpx.Client(headers=HEADERS, timeout=20))
                try:
                    reply = client.post(f"{base_url}{path}", json=body)
                    if reply.status_code != 200 or (number in (2, 3) and "[DONE]" not in reply.text):
                        failed.append(reply.text)
                except httpx.HTTPError as error:
                    failed.append(repr(error))
                counted.append(number)

    processes = [_process(tmp_path, port)]
    loads = [threading.Thread(target=load, args=(number,)) for number in range(6)]
    try:
        _until_greeted(tmp_path, 1)
        for thread in loads:
            thread.start()
        for number in range(2, 4):
            processes.append(_process(tmp_path, port))
            _until_greeted(tmp_path, number)
            old = processes.pop(0)
            old.terminate()
            assert old.wait(10) == 0
    finally:
        done.set()
        for thread in loads:
            if thread.ident is not None:
                thread.join(20)
        for process in processes:
            process.terminate()
            process.wait(10)
    assert failed == []
    assert len(counted) > 10


def _process(folder: Path, port: int) -> forks.Process:
    with (folder / "talk").open("ab") as talk:
        environment = {**os.environ, **ENVIRONMENT}
        return forks.start(["serve", "--port", str(port)], folder, environment, talk.fileno(), talk.fileno())


def _until_greeted(folder: Path, times: int) -> None:
    waited(lambda: (folder / "talk").read_text().count("Dragoman at ") == times)


def test_who_does_not_share_its_port_says_that_it_is_used(tmp_path: Path, file: str) -> None:
    alone = with_server(file, "reuse_port: false")
    with serving(tmp_path, alone, environment=ENVIRONMENT) as served:
        port = str(httpx.URL(served.base_url).port)
        code, _, err = run("serve", "--port", port, cwd=tmp_path, environment=ENVIRONMENT)
    assert (code, err) == (
        1,
        f"cannot listen on 127.0.0.1:{port}: Address already in use; name another with --port\n",
    )


@pytest.mark.parametrize("command", ["serve", "simulate"])
def test_a_port_that_is_none_is_one_line(tmp_path: Path, file: str, command: str) -> None:
    (tmp_path / "providers.yaml").write_text(file)
    code, out, err = run(command, "--port", "99999", cwd=tmp_path, environment=ENVIRONMENT)
    assert (code, out) == (1, "")
    assert err == "cannot listen on 127.0.0.1:99999: a port is a number up to 65535\n"


# --- workers


def test_a_worker_that_dies_while_the_file_is_broken_comes_back(tmp_path: Path, file: str) -> None:
    with serving(tmp_path, file, "--workers", "2", environment=ENVIRONMENT) as served:
        served.file.write_text(file + "  added: {targets: [google/gemini-2.5-flash]}\n")
        waited(lambda: served.err.read_text().count('"reloaded"') >= 1)
        served.file.write_text("models: [")
        waited(lambda: served.err.read_text().count('"reload_refused"') >= 1)
        for child in _workers(served.process.pid):
            os.kill(child, signal.SIGKILL)
        replies = [
            httpx.post(f"{served.base_url}{CHAT}", json=chat("Hi", "added"), headers=HEADERS, timeout=20)
            for _ in range(4)
        ]
        assert [reply.status_code for reply in replies] == [200] * 4
        assert served.until_logged('"last_good_configuration"', "providers.yaml:")
        assert served.stop() == 0


def _workers(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [one for one in map(int, children) if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]
