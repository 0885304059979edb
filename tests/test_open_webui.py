"""Open WebUI itself over the shipped file: a question buys one picture, the next edits it.

It takes 7 GB, so it is not among the requirements of the tests: `pip install open-webui==0.12.4` in an
environment of its own, and OPEN_WEBUI=/path/of/its/bin/open-webui.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.served import ROOT, Served, serving

COMMAND = os.environ.get("OPEN_WEBUI", "")
KEY = "sk-open-webui"
MODEL = "nano-banana-pro"
START_S, ANSWER_S = 300.0, 60.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COMMAND, reason="slow: OPEN_WEBUI names no command of Open WebUI to run"),
]


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
            signed_in = client.post("/api/v1/auths/signin", json={"email": "", "password": ""}).json()
            client.headers["authorization"] = f"Bearer {signed_in['token']}"
            assert MODEL in [model["id"] for model in client.get("/api/models").json()["data"]]
            yield client
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


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


def say(client: httpx.Client, text: str, chat: Any = None) -> Any:
    """What its page sends for a question; returns the chat when the answer and what follows it are there."""
    answer = str(uuid.uuid4())
    parent = chat["chat"]["history"]["currentId"] if chat else None
    body = {
        "model": MODEL,
        "stream": True,
        "messages": [{"role": "user", "content": text}],
        "params": {},
        "features": {},
        "session_id": "session",
        "id": answer,
        "parent_id": parent,
        "user_message": {
            "id": str(uuid.uuid4()),
            "parentId": parent,
            "childrenIds": [],
            "role": "user",
            "content": text,
            "timestamp": int(time.time()),
            "models": [MODEL],
        },
        "background_tasks": {
            "title_generation": chat is None,
            "tags_generation": chat is None,
            "follow_up_generation": True,
        },
    }
    if chat:
        body["chat_id"] = chat["id"]
    identity = client.post("/api/chat/completions", json=body).json()["chat_id"]

    def done() -> Any:
        found = client.get(f"/api/v1/chats/{identity}").json()
        message = found["chat"]["history"]["messages"].get(answer, {})
        tagged = found["meta"].get("tags")
        return found if message.get("done") and message.get("followUps") and tagged else None

    return until(done, ANSWER_S)


def last(chat: Any) -> str:
    history = chat["chat"]["history"]
    return str(history["messages"][history["currentId"]]["content"])


def requests(served: Served) -> list[Any]:
    """Our access log of chats."""
    lines = [json.loads(line) for line in served.err.read_text().splitlines() if line.startswith('{"time"')]
    return [line for line in lines if line.get("path") == "/v1/chat/completions"]


@pytest.mark.parametrize("public", [True, False], ids=["public_url", "no public_url"])
def test_a_question_buys_one_picture_and_the_next_edits_it(tmp_path: Path, public: bool) -> None:
    port = free_port()
    environment = {"DRAGOMAN_KEY": KEY} | ({"PUBLIC_URL": f"http://127.0.0.1:{port}"} if public else {})
    file = (ROOT / "providers.yaml").read_text(encoding="utf-8")
    arguments = ("--simulate", "--port", str(port))
    with (
        serving(tmp_path, file, *arguments, environment=environment) as served,
        open_webui(tmp_path / "open-webui", served.base_url) as client,
    ):
        first = say(client, "Draw a red cat")
        second = say(client, "now make it blue", first)
        shown = re.findall(r"!\[image\]\(([^)]+)\)", last(first))
        asked = requests(served)
        if public:
            assert client.get(shown[0], headers={"authorization": ""}).headers["content-type"] == "image/png"

    assert len(shown) == 1
    assert shown[0].startswith(f"http://127.0.0.1:{port}/v1/files/" if public else "data:image/png;base64,")
    assert "I received: image/png 1024x1024 pixels" in last(second)
    assert first["title"] == "your concise title here"  # what its prompt shows as an answer
    assert first["meta"]["tags"] == ["tag1", "tag2", "tag3"]
    assert all(line["status"] == 200 for line in asked)
    assert [line["images"] for line in asked if line["model"] == MODEL] == [1, 1]
    chores = sorted(line["chore"] for line in asked if line["model"] == "gemini-flash-lite")
    assert chores == ["follow_ups", "follow_ups", "tags", "title"]
