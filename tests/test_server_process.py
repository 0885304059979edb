"""The server as a process: drain, reload, workers, used ports, headers on the way up, exit codes."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest

from proxy.simulators.server import Running, start
from tests.gateway import FILE, KEY
from tests.raw_http import RawRequest, chat
from tests.served import Served, run, serving, waited

ENVIRONMENT = {"TEST_KEY": KEY, "TEST_NARROW_KEY": "sk-test-narrow", "VENDOR_KEY": "vendor-key"}
HEADERS = {"authorization": f"Bearer {KEY}"}


@pytest.fixture
def vendors() -> Iterator[Running]:
    with start() as running:
        yield running


@pytest.fixture
def file(vendors: Running) -> str:
    return FILE.replace("http://SIMULATORS", vendors.base_url)


def post(served: Served, body: Any, **options: Any) -> httpx.Response:
    headers = {**HEADERS, **options.pop("headers", {})}
    return httpx.post(
        f"{served.base_url}/v1/chat/completions", json=body, headers=headers, timeout=20, **options
    )


# --- who does not read


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the system has no such bound")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_system_holds_little_for_a_client_that_does_not_read(
    tmp_path: Path, file: str, vendors: Running, workers: str
) -> None:
    """Four megabytes without a bound."""
    with serving(tmp_path, file, "--workers", workers, environment=ENVIRONMENT) as served:
        reach = SimpleNamespace(base_url=served.base_url, vendors=vendors)
        with RawRequest(reach, chat("Hi sim:big:24"), buffer_bytes=4096) as opened:
            opened.send()
            opened.until("HTTP/1.1 200")
            place = f":{opened.socket.getsockname()[1]:04X}"
            seen: list[int] = []

            def at_rest() -> bool:
                seen.append(_unread(place))
                return len(seen) > 30 and len(set(seen[-30:])) == 1

            waited(at_rest)
    assert 4096 < seen[-1] < 1 << 20


def _unread(client: str) -> int:
    """What waits in the system to be read by the client at this port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(line[4].partition(":")[0], 16) for line in lines if line[2].endswith(client))


# --- the end


def test_a_server_that_is_told_to_end_finishes_its_streams_first(tmp_path: Path, file: str) -> None:
    body = chat("Hi sim:chunks:10 sim:gap:100 sim:text:a b c d e f g h i j", stream=True)
    with (
        serving(tmp_path, file, environment=ENVIRONMENT) as served,
        httpx.stream(
            "POST", f"{served.base_url}/v1/chat/completions", json=body, headers=HEADERS, timeout=20
        ) as reply,
    ):
        lines = reply.iter_lines()
        text = next(lines)
        served.process.send_signal(signal.SIGTERM)
        text += "\n".join(lines)
        assert served.process.wait(20) == 0
    assert text.endswith("data: [DONE]\n")
    assert "Traceback" not in served.err.read_text()


def test_a_whole_reply_in_work_is_answered_before_the_end(
    tmp_path: Path, file: str, vendors: Running
) -> None:
    replies: list[httpx.Response] = []
    with serving(tmp_path, file, environment=ENVIRONMENT) as served:
        asking = threading.Thread(target=lambda: replies.append(post(served, chat("Hi sim:slow:1"))))
        asking.start()
        waited(vendors.log.exchanges)
        assert served.stop() == 0
        asking.join(20)
    assert [reply.status_code for reply in replies] == [200]


def test_what_does_not_end_in_time_is_cut(tmp_path: Path, file: str, vendors: Running) -> None:
    short = file.replace("keys:\n", "server: {drain: 1s}\nkeys:\n", 1)
    with serving(tmp_path, short, environment=ENVIRONMENT) as served:
        errors: list[Exception] = []

        def ask() -> None:
            try:
                post(served, chat("Hi sim:slow:60"))
            except httpx.TransportError as error:
                errors.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        waited(vendors.log.exchanges)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(10) == 0
        asking.join(20)


def test_ctrl_c_ends_it_without_a_traceback(tmp_path: Path, file: str) -> None:
    with serving(tmp_path, file, environment=ENVIRONMENT) as served:
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(20) in (0, 130)
    assert "Traceback" not in served.err.read_text()


# --- the beginning


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/v1/chat/completions", chat("Hi"), (502, "upstream_unreachable")),
        (
            "/v1/images/generations",
            {"model": "nano-banana-pro", "prompt": "A fox"},
            (503, "server_overloaded"),
        ),
    ],
)
def test_a_server_without_descriptors_says_so_and_recovers(
    tmp_path: Path, file: str, path: str, body: Any, told: tuple[int, str]
) -> None:
    """Neither a connection can be opened, nor what the first request of its kind loads."""
    with serving(tmp_path, file, environment=ENVIRONMENT) as served:
        process = served.process.pid
        before = resource.prlimit(process, resource.RLIMIT_NOFILE)
        with httpx.Client(base_url=served.base_url, headers=HEADERS, timeout=20) as kept:
            kept.get("/livez")
            resource.prlimit(process, resource.RLIMIT_NOFILE, (3, before[1]))  # nothing more can be opened
            reply = kept.post(path, json=body)
            resource.prlimit(process, resource.RLIMIT_NOFILE, before)
            assert (reply.status_code, reply.json()["error"]["code"]) == told
            assert ("ulimit -n" in reply.text, reply.headers.get("retry-after")) == (
                (True, "1") if told[0] == 503 else (False, None)
            )
            assert kept.post(path, json=body).status_code == 200


def test_a_used_port_is_one_line_and_exit_1(tmp_path: Path, file: str) -> None:
    (tmp_path / "providers.yaml").write_text(file)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, out, err = run("serve", "--port", port, cwd=tmp_path, environment=ENVIRONMENT)
    assert (code, out) == (1, "")
    assert err == f"cannot listen on 127.0.0.1:{port}: Address already in use; name another with --port\n"


def test_open_to_all_is_refused_on_a_public_address(tmp_path: Path, file: str) -> None:
    (tmp_path / "providers.yaml").write_text(file.replace("keys:\n", "auth: {mode: open}\nkeys:\n", 1))
    code, _, err = run("serve", "--host", "0.0.0.0", "--port", "0", cwd=tmp_path, environment=ENVIRONMENT)
    assert code == 1
    assert "auth.mode open is refused on 0.0.0.0" in err


# --- a changed file


def test_a_good_file_is_taken_over_and_a_bad_one_changes_nothing(tmp_path: Path, file: str) -> None:
    with serving(tmp_path, file, environment=ENVIRONMENT) as served:
        failed: list[int] = []
        done = threading.Event()

        def load() -> None:
            with httpx.Client(base_url=served.base_url, headers=HEADERS) as client:
                while not done.is_set():
                    reply = client.post("/v1/chat/completions", json=chat("Hi"))
                    if reply.status_code != 200:
                        failed.append(reply.status_code)

        loads = [threading.Thread(target=load) for _ in range(2)]
        for thread in loads:
            thread.start()
        try:
            served.file.write_text(file + "  added: {targets: [google/gemini-2.5-flash]}\n")
            served.until_logged('"reloaded"')
            assert post(served, chat("Hi", "added")).status_code == 200
            served.file.write_text(file.replace("wire: gemini", "wire: latin"))
            line = served.until_logged('"reload_refused"')
            assert "providers.yaml:" in json.loads(line)["problems"][0]
            assert post(served, chat("Hi", "added")).status_code == 200
            served.file.unlink()
            waited(lambda: served.err.read_text().count('"reload_refused"') == 2)
            assert post(served, chat("Hi", "added")).status_code == 200
        finally:
            done.set()
            for thread in loads:
                thread.join(20)
        assert failed == []


def test_a_store_that_has_no_place_is_told_at_the_start_and_is_no_fault_of_ours(
    tmp_path: Path, file: str
) -> None:
    state = "server: {state: sqlite:./providers.yaml/state/dragoman.db}\n"
    with serving(tmp_path, file + state, environment=ENVIRONMENT) as served:
        said = f"warning: server.state, {tmp_path}/providers.yaml/state/dragoman.db, cannot be written"
        assert said in served.err.read_text()
        assert post(served, chat("Hi")).status_code == 200
        headers = HEADERS | {"prefer": "respond-async"}
        picture = {"model": "google/gemini-3-pro-image", "prompt": "A fox"}
        address = f"{served.base_url}/v1/images/generations"
        reply = httpx.post(address, json=picture, headers=headers, timeout=20)
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "store_unavailable")
        line = json.loads(served.until_logged('"store_away"'))
        assert line["error"] == "NotADirectoryError"
    assert '"crash"' not in served.err.read_text()


def test_a_store_that_is_there_or_can_be_made_needs_no_word(tmp_path: Path, file: str) -> None:
    with serving(tmp_path, file, environment=ENVIRONMENT) as served:
        assert "cannot be written" not in served.err.read_text()


@pytest.mark.parametrize("place", ["{long}/dragoman.db", "{long}.db"], ids=["folder", "file"])
def test_a_place_that_cannot_be_looked_at_does_not_keep_the_server_from_starting(
    tmp_path: Path, file: str, place: str
) -> None:
    state = f"server: {{state: sqlite:./{place.format(long='x' * 300)}}}\n"
    with serving(tmp_path, file + state, environment=ENVIRONMENT) as served:
        assert post(served, chat("Hi")).status_code == 200


def test_what_waits_for_the_next_start_is_told(tmp_path: Path, file: str) -> None:
    """Each time, as long as it waits."""
    with serving(tmp_path, file, environment=ENVIRONMENT) as served:
        changed = file.replace("version: 1\n", "version: 1\nserver: {port: 9, files: {ttl: 1h}, drain: 5s}\n")
        assert changed != file
        served.file.write_text(changed)
        line = json.loads(served.until_logged('"reloaded"'))
        assert line["at_next_start"] == ["server.port", "server.files"]
        served.file.write_text(changed.replace(", files: {ttl: 1h}", ""))
        waited(lambda: served.err.read_text().count('"reloaded"') == 2)
        assert served.err.read_text().count('"at_next_start":["server.port"]') == 1


def test_sighup_loads_the_file_again(tmp_path: Path, file: str) -> None:
    """Also when the file is the same: a secret beside it may be new."""
    secret = tmp_path / "key"
    secret.write_text("sk-old")
    with serving(tmp_path, file.replace("env:TEST_KEY", f"file:{secret}"), environment=ENVIRONMENT) as served:
        assert post(served, chat("Hi"), headers={"authorization": "Bearer sk-old"}).status_code == 200
        secret.write_text("sk-new")
        served.process.send_signal(signal.SIGHUP)
        served.until_logged('"reloaded"')
        assert post(served, chat("Hi"), headers={"authorization": "Bearer sk-new"}).status_code == 200
        assert post(served, chat("Hi"), headers={"authorization": "Bearer sk-old"}).status_code == 401


def test_a_file_that_takes_long_to_read_keeps_nobody_waiting(tmp_path: Path, file: str) -> None:
    """And what changes meanwhile is taken over after it."""
    secret = tmp_path / "key"
    secret.write_text("sk-old")
    slow = file.replace("env:TEST_KEY", f"file:{secret}")
    with serving(tmp_path, slow, environment=ENVIRONMENT) as served:
        secret.unlink()
        os.mkfifo(secret)  # whoever opens it to read waits until somebody writes
        served.process.send_signal(signal.SIGHUP)
        with secret.open("w") as writer:  # opens when the server has begun to read
            for _ in range(3):
                assert post(served, chat("Hi"), headers={"authorization": "Bearer sk-old"}).status_code == 200
            served.file.write_text(slow.replace(f"file:{secret}", "env:TEST_KEY"))
            writer.write("sk-between")
        waited(lambda: served.err.read_text().count('"reloaded"') == 2)
        assert post(served, chat("Hi")).status_code == 200
        for old in ("sk-old", "sk-between"):
            assert post(served, chat("Hi"), headers={"authorization": f"Bearer {old}"}).status_code == 401


# --- several workers


WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def test_workers_share_signatures_for_clients_that_keep_none(
    tmp_path: Path, file: str, vendors: Running
) -> None:
    """G-091, G-093"""
    with serving(tmp_path, file, "--workers", "2", environment=ENVIRONMENT) as served:
        for loop in range(12):
            messages: list[Any] = [{"role": "user", "content": f"Weather in Paris? Loop {loop}"}]
            first = post(served, {"model": "gemini-flash", "messages": messages, "tools": [WEATHER]})
            message = first.json()["choices"][0]["message"]
            [call] = message["tool_calls"]
            kept = {name: call[name] for name in ("id", "type", "function")}
            messages += [
                {"role": "assistant", "content": None, "tool_calls": [kept]},
                {"role": "tool", "tool_call_id": call["id"], "content": "18 C"},
            ]
            # A connection of its own for each request: either worker may take it.
            second = post(served, {"model": "gemini-flash", "messages": messages, "tools": [WEATHER]})
            assert second.status_code == 200, second.text
        assert vendors.log.counts["google.signatures.sentinels"] == 0
        assert vendors.log.counts["google.signatures.real"] == 12
        assert served.stop() == 0


# --- headers


def test_nothing_of_the_clients_headers_reaches_the_vendor(
    tmp_path: Path, file: str, vendors: Running
) -> None:
    mine = {
        "cookie": "session=1",
        "x-forwarded-for": "203.0.113.7",
        "x-real-ip": "203.0.113.7",
        "user-agent": "my-agent/1",
        "openai-organization": "org-1",
        "x-stainless-lang": "python",
        "x-custom": "1",
        "te": "trailers",
        "proxy-authorization": "Basic eDp5",
        "accept-language": "de",
        "traceparent": "00-1-1-01",
        "x-client-request-id": "mine",
        "x-proxy-strict": "false",
    }
    with serving(tmp_path, file, environment=ENVIRONMENT) as served:
        for model in ("gemini-flash", "lan-chat"):
            for stream in (False, True):
                assert post(served, chat("Hi", model, stream=stream), headers=mine).status_code == 200
    for exchange in vendors.log.exchanges():
        key = "x-goog-api-key" if exchange.vendor == "google" else "authorization"
        assert set(exchange.headers) == {
            "host",
            "accept",
            "accept-encoding",
            "content-length",
            "content-type",
            "user-agent",
            key,
        }
        assert exchange.headers["user-agent"] == "dragoman"
        assert exchange.headers[key].removeprefix("Bearer ") == "vendor-key"
        assert set(exchange.query) <= {"alt"}


def test_nothing_of_the_vendors_headers_reaches_the_client(tmp_path: Path, file: str) -> None:
    with serving(tmp_path, file, environment=ENVIRONMENT) as served:
        reply = post(served, chat("Hi"))
    ours = {"content-type", "content-length", "x-request-id", "request-id", "openai-processing-ms"}
    assert set(reply.headers) == ours | {"server-timing"}


# --- why a vendor could not be reached


def test_the_log_says_why_a_vendor_could_not_be_reached(tmp_path: Path, file: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        closed = f"  closed: {{wire: openai, base_url: 'http://{at}/v1'}}\nmodels:\n"
        text = file.replace("models:\n", f"{closed}  shut: {{targets: [closed/x]}}\n", 1)
        with serving(tmp_path, text, environment=ENVIRONMENT) as served:
            reply = post(served, chat("Hi", "shut"))
            line = json.loads(served.until_logged('"attempt_failed"'))
    said = f"could not be reached: {at} refused the connection; nothing listens there, or a firewall says no"
    assert line["why"] == said
    assert reply.status_code == 502
    assert reply.json()["error"]["message"].startswith(f"'closed' {said} (request id: ")


# --- exit codes: 0, 1 your file or request, 2 usage, 3 upstream

# One of each command has nothing loaded but what it loads itself.
ALONE = (
    ("version",),
    ("check",),
    ("models",),
    ("explain", "gemini-flash"),
    ("try", "nano-banana-pro", "Draw a cat", "--out", "cat.png"),
    (),
)


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (0, ("version",)),
        (0, ("check",)),
        (0, ("check", "--json")),
        (1, ("check", "--config", "broken.yaml")),
        (1, ("check", "--config", "none.yaml")),
        (0, ("models",)),
        (1, ("models", "--config", "broken.yaml")),
        (1, ("serve", "--config", "broken.yaml")),
        (0, ("explain", "gemini-flash")),
        (0, ("explain", "lan-chat", "Hi", "--stream", "--json")),
        (1, ("explain", "nothing")),
        (1, ("explain", "gemini-flash", "--request", "none.json")),
        (1, ("explain", "gemini-flash", "--request", "broken.yaml")),
        (1, ("explain", "gemini-flash", "--config", "broken.yaml")),
        (0, ("try", "gemini-flash", "Hi")),
        (0, ("try", "nano-banana-pro", "Draw a cat", "--out", "cat.png")),
        (0, ("try", "gemini-flash", "Hi", "--stream", "--json")),
        (0, ("try", "gemini-flash", "Hi", "--as", "responses")),
        (0, ("try", "gemini-flash", "Hi", "--simulate")),
        (1, ("try", "nothing", "Hi")),
        (1, ("try", "gemini-flash", "Hi", "--image", "none.png")),
        (1, ("try", "gemini-flash", "Hi", "--config", "broken.yaml")),
        (3, ("try", "gemini-flash", "Hi sim:error:500")),
        (3, ("try", "lan-chat", "Hi sim:drop", "--stream")),
        (2, ()),
        (2, ("dance",)),
        (2, ("serve", "--port", "many")),
        (2, ("try", "gemini-flash")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_the_exit_code_tells_whose_fault_it_was(
    tmp_path: Path, file: str, code: int, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "providers.yaml").write_text(file)
    (tmp_path / "broken.yaml").write_text("models: [")
    fresh = arguments in ALONE
    found, out, err = run(*arguments, cwd=tmp_path, environment=ENVIRONMENT, fresh=fresh)
    assert found == code, err
    assert "Traceback" not in err
    assert (out + err).strip()
    if "--json" in arguments:
        json.loads(out)
    if "--out" in arguments:
        assert (tmp_path / "cat.png").read_bytes().startswith(b"\x89PNG")


PRICED = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
providers: {google: {wire: gemini, base_url: "https://vendor.invalid", keys: [env:VENDOR_KEY?]}}
models: {drawn: {targets: [google/gemini-3-pro-image], price: {output: 1, image: 0.1}}}
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_is_simulated_leaves_the_store_alone(tmp_path: Path, workers: str) -> None:
    """Its money is none, and no vendor of it may be asked for the tasks of another."""
    environment, headers = {"TEST_KEY": KEY}, {"authorization": f"Bearer {KEY}"}
    with serving(tmp_path, PRICED, "--simulate", "--workers", workers, environment=environment) as served:
        body = {"model": "drawn", "prompt": "A cat", "background": True}
        task = httpx.post(f"{served.base_url}/v1/images/generations", json=body, headers=headers).json()["id"]
        address = f"{served.base_url}/v1/tasks/{task}"
        waited(lambda: httpx.get(address, headers=headers).json()["status"] == "completed")
        seen = httpx.get(f"{served.base_url}/v1/usage", headers=headers).json()["totals"]
        assert [(total["currency"], total["images"]) for total in seen] == [("USD", 1)]
        assert served.stop() == 0
    assert not (tmp_path / "state").exists()


def test_a_simulated_try_leaves_the_store_alone(tmp_path: Path) -> None:
    (tmp_path / "providers.yaml").write_text(PRICED)
    code, _, _ = run("try", "drawn", "A cat", "--simulate", "--out", "cat.png", cwd=tmp_path)
    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat.png", "providers.yaml"]


def test_the_sdk_works_against_the_simulators_of_the_command(tmp_path: Path) -> None:
    plain = FILE.replace("http://SIMULATORS", "https://vendor.invalid").replace(
        "private: true", "private: false"
    )
    without_keys = plain.replace("key: env:TEST_KEY", "key: env:TEST_KEY?").replace(
        "key: env:TEST_NARROW_KEY", "key: env:TEST_NARROW_KEY?"
    )
    with serving(tmp_path, without_keys, "--simulate") as served:
        printed = waited(lambda: served.out.read_text())
        key = printed.split("key: ")[1].split()[0]
        with openai.OpenAI(base_url=f"{served.base_url}/v1", api_key=key, max_retries=0) as client:
            messages: Any = [{"role": "user", "content": "Say hello"}]
            for model in ("gemini-flash", "lan-chat"):
                reply = client.chat.completions.create(model=model, messages=messages)
                assert "Say hello" in (reply.choices[0].message.content or "")
