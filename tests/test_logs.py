"""What the log tells of a request and its tries, and that a line is written whatever stands in it."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.logs import Log
from tests.gateway import KEY, Gateway, open_gateway
from tests.raw_http import chat
from tests.served import ROOT


def test_a_line_for_people_has_words_and_no_control_characters() -> None:
    stream = io.BytesIO()
    log = Log(stream, people=True)
    log.write("request", id="r1", method="GET", path="/v1/\x1b[31mx", status=404, ms=3, key=None)
    line = stream.getvalue().decode()
    assert line[2] == line[5] == ":"
    assert line[8:] == " request 404 GET /v1/?[31mx  id=r1  ms=3\n"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        pytest.param(2**70, 2**70, id="a large number"),
        pytest.param("cut \ud83d", "cut \ud83d", id="half a character"),
        pytest.param({"a": {1}}, {"a": "{1}"}, id="a set"),
        pytest.param({"a": [2**65, {2}]}, {"a": [2**65, "{2}"]}, id="both"),
    ],
)
def test_odd_facts_are_told(value: Any, told: Any) -> None:
    stream = io.BytesIO()
    Log(stream).write("job_accepted", task=value)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["task"]) == ("job_accepted", told)
    assert stream.getvalue().endswith(b"}\n")


# --- who reads it


def test_a_log_that_nobody_reads_keeps_no_request_waiting(tmp_path: Path) -> None:
    """A pipe holds 64 KiB; what is told after a megabyte more is lost, and how much that was is told."""
    (tmp_path / "providers.yaml").write_text("version: 1\nauth: {mode: open}\nmodels: {}\n")
    command = [sys.executable, "-m", "proxy", "serve", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stderr is not None
        talk = b""
        while not (found := re.search(rb"Dragoman at (http://\S+?)/v1", talk)):
            talk += process.stderr.readline()
        with httpx.Client(base_url=found[1].decode(), timeout=10) as client:
            for number in range(80):
                for _ in range(10):
                    assert client.get(f"/{number:05}{'x' * 2000}").status_code == 404
            read = b""
            while b"log_lines_lost" not in read:
                assert client.get("/livez").status_code == 200
                read += os.read(process.stderr.fileno(), 1 << 16)
        process.terminate()
        read += process.stderr.read()
        assert process.wait(10) == 0
    lines = [json.loads(line) for line in read.splitlines() if b'"time"' in line]
    lost = sum(line["lines"] for line in lines if line["event"] == "log_lines_lost")
    assert lost > 0
    assert lost + sum(line["event"] == "request" for line in lines) == 800


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), BrokenPipeError()])
def test_a_log_that_cannot_be_written_raises_nothing(fault: OSError) -> None:
    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise fault

    log = Log(Full())
    log.write("request", id="r1")
    log.write("request", id="r2")
    log.close()


# --- what docs/operation.md promises of a request

FILE = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
providers:
  google: {wire: gemini, base_url: "http://SIMULATORS/gemini/v1beta", keys: [env:VENDOR_KEY], private: true}
  refusing: {wire: openai, base_url: "http://SIMULATORS/openai/v1", keys: [env:BAD_KEY], private: true}
models:
  words: {targets: [google/gemini-2.5-flash]}
  pictures: {targets: [google/gemini-3-pro-image]}
  second: {targets: [refusing/llama, google/gemini-2.5-flash]}
"""


def lines_of(folder: Path, captured: Any, *requests: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What the log says of these requests; of what changes from run to run, that it is there."""
    with open_gateway(folder, FILE, {"BAD_KEY": "bad-1"}) as own:
        ids = [_sent(own, path, body) for path, body in requests]
    lines = [json.loads(line) for line in captured.readouterr().err.splitlines() if line.startswith(b"{")]
    for line in lines:
        assert line.pop("time") > 1.7e9
        assert 0 <= line.pop("ms") < 60_000
        assert line.pop("id") in ids
    return lines


def _sent(gateway: Gateway, path: str, body: dict[str, Any]) -> str:
    headers = {"authorization": f"Bearer {KEY}"}
    reply = gateway.http.post(f"{gateway.base_url}/v1/{path}", json=body, headers=headers)
    return reply.headers["x-request-id"]


REQUEST = {"event": "request", "method": "POST", "path": "/v1/chat/completions", "status": 200, "key": "app"}
WORDS = {"model": "words", "target": "google/gemini-2.5-flash"}


def test_the_line_of_a_chat_says_who_answered_and_what_it_took(tmp_path: Path, capfdbinary: Any) -> None:
    whole, streamed = chat("Hi sim:text:One two three", "words"), chat("Hi", "words", stream=True)
    assert lines_of(tmp_path, capfdbinary, ("chat/completions", whole), ("chat/completions", streamed)) == [
        {**REQUEST, **WORDS, "attempts": 1, "prompt_tokens": 7, "completion_tokens": 36},
        {**REQUEST, **WORDS, "attempts": 1, "prompt_tokens": 1, "completion_tokens": 35},
    ]


def test_the_line_of_several_choices_counts_all_of_them(tmp_path: Path, capfdbinary: Any) -> None:
    body = chat("Draw", "pictures", n=2)
    (line,) = lines_of(tmp_path, capfdbinary, ("chat/completions", body))
    assert (line["attempts"], line["images"], line["target"]) == (2, 2, "google/gemini-3-pro-image")


def test_the_line_of_what_failed_has_its_error(tmp_path: Path, capfdbinary: Any) -> None:
    refused = chat("Hi", "words", temperature="warm")
    broken_off = chat("Hi sim:error-after:1:503", "words", stream=True)
    first, failed, second = lines_of(
        tmp_path, capfdbinary, ("chat/completions", refused), ("chat/completions", broken_off)
    )
    assert first == {**REQUEST, "status": 400, "model": "words", "error": "invalid_type"}
    assert failed == {
        "event": "attempt_failed", "target": "google/gemini-2.5-flash", "attempt": 1, "status": 503,
        "code": "overloaded", "bought": True,
    }  # fmt: skip
    assert (second["status"], second["error"]) == (200, "overloaded")


def test_a_try_that_failed_has_a_line_before_that_of_the_request(tmp_path: Path, capfdbinary: Any) -> None:
    body = chat("Hi sim:text:One two three", "second")
    assert lines_of(tmp_path, capfdbinary, ("chat/completions", body)) == [
        {
            "event": "attempt_failed", "target": "refusing/llama", "attempt": 1, "status": 502,
            "code": "upstream_auth_failed", "bought": False,
        },
        {**REQUEST, **WORDS, "model": "second", "attempts": 2, "prompt_tokens": 7, "completion_tokens": 36},
    ]  # fmt: skip
