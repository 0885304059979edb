"""A line of the log is written whatever a vendor or a client put into it."""

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
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE) as process:
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
