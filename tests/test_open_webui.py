"""Open WebUI itself over the shipped file: a question buys one picture, the next edits it.

It takes 7 GB, so it is not among the requirements of the tests: `pip install open-webui==0.12.4` in an
environment of its own, and OPEN_WEBUI=/path/of/its/bin/open-webui.
"""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.open_webui import ANSWER_S, COMMAND, KEY, MODEL, TITLE, free_port, open_webui, requests, until
from tests.served import ROOT, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COMMAND, reason="slow: OPEN_WEBUI names no command of Open WebUI to run"),
]


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
    assert first["title"] == TITLE
    assert first["meta"]["tags"] == ["tag1", "tag2", "tag3"]
    assert all(line["status"] == 200 for line in asked)
    assert [line["images"] for line in asked if line["model"] == MODEL] == [1, 1]
    chores = sorted(line["chore"] for line in asked if line["model"] == "gemini-flash-lite")
    assert chores == ["follow_ups", "follow_ups", "tags", "title"]
