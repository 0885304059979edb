"""Open WebUI itself, as a process of its own, for the tests that drive it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.served import Served

COMMAND = os.environ.get("OPEN_WEBUI", "")
KEY = "sk-open-webui"
MODEL = "nano-banana-pro"
TITLE = "your concise title here"  # what its prompt for titles shows as an answer, and the simulator gives
START_S, ANSWER_S = 300.0, 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def open_webui(folder: Path, upstream: str) -> Iterator[httpx.Client]:
    """It, signed in; upstream is its only connection."""
    folder.mkdir()
    port = free_port()
    settings = {
        "DATA_DIR": str(folder),
        "WEBUI_AUTH": "False",
        "WEBUI_SECRET_KEY": "x",
        "OPENAI_API_BASE_URL": f"{upstream}/v1",
        "OPENAI_API_KEY": KEY,
        "ENABLE_OLLAMA_API": "False",
        "OFFLINE_MODE": "True",
        "HF_HUB_OFFLINE": "1",
        "RAG_EMBEDDING_ENGINE": "openai",
    }
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | settings
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [COMMAND, "serve", "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=ANSWER_S) as client:
            until(lambda: answers(client), START_S, process)
            token = until(lambda: signed_in(client), START_S, process)  # it answers before it is ready
            client.headers["authorization"] = f"Bearer {token}"
            assert MODEL in [model["id"] for model in client.get("/api/models").json()["data"]]
            yield client
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def signed_in(client: httpx.Client) -> Any:
    return client.post("/api/v1/auths/signin", json={"email": "", "password": ""}).json().get("token")


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def until(look: Any, patience_s: float, process: Any = None) -> Any:
    deadline = time.monotonic() + patience_s
    while not (found := look()):
        assert time.monotonic() < deadline, "waited in vain"
        assert process is None or process.poll() is None, "it has ended"
        time.sleep(0.2)
    return found


def requests(served: Served) -> list[Any]:
    """Our access log of chats."""
    lines = [json.loads(line) for line in served.err.read_text().splitlines() if line.startswith('{"time"')]
    return [line for line in lines if line.get("path") == "/v1/chat/completions"]
