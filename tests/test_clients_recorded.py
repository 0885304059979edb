"""What real clients send of themselves without any setting, and in which mode each is shown a picture.

`data/clients.jsonl` is what was recorded when each was run against the gateway over the simulated Gemini,
whole and streamed where it streams: none crashed, and each handed the picture out. docs/clients.md says more.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.fronts.base import Asked
from proxy.fronts.clients import known
from proxy.keys import ClientKey

HERE = Path(__file__).parent
RECORDED: list[Any] = [json.loads(row) for row in (HERE / "data" / "clients.jsonl").read_text().splitlines()]


def habits(headers: dict[str, str], *, streamed: bool) -> known.Habits:
    sent = {name.encode(): value.encode() for name, value in headers.items()}
    return known.of(Asked("req_1", ClientKey("app"), sent), streamed=streamed)


@pytest.mark.parametrize("row", RECORDED, ids=[f"{row['client']} {row['version']}" for row in RECORDED])
def test_a_client_without_a_setting_is_shown_pictures_as_it_can_show_them(row: Any) -> None:
    shown = [habits(row["sends"], streamed=way == "streamed").image_mode for way in row["asks"]]
    assert shown == [row["shown"]] * len(row["asks"])


def test_the_page_on_clients_has_each_of_them_with_its_version() -> None:
    page = (HERE.parent / "docs" / "clients.md").read_text()
    table = [line for line in page.splitlines() if line.startswith("| ")]
    missing = [
        f"{row['client']} {row['version']}"
        for row in RECORDED
        if not any(row["client"] in line and row["version"] in line for line in table)
    ]
    assert not missing


REFUSAL_IN_TEXT = (
    "ai-sdk/openrouter/3.1.0 ai-sdk/provider-utils/5.0.42",
    "langchainjs-openai/1.0.0 ((node/v20.20.2; linux; x64))",
    "semantic-kernel-python/1.45.0",
    "DSPy/3.4.1",
    "Mozilla/5.0 (X11) LobeChat/1.0",
    "Python/3.11 aiohttp/3.14.5",
    "OpenAI/Python 3.57.0",
    "AsyncOpenAI/JS 7.57.0",
)
REFUSAL_BESIDE = (
    "Agents/Python 0.24.0",
    "pydantic-ai/2.68.0",
    "ai/7.0.173",
    "curl/8.5.0",
)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_refusal_is_said_in_the_text_to_who_drops_it_and_to_nobody_else(streamed: bool) -> None:
    for agent in REFUSAL_IN_TEXT:
        assert not habits({"user-agent": agent}, streamed=streamed).shows_refusal, agent
    for agent in REFUSAL_BESIDE:
        assert habits({"user-agent": agent}, streamed=streamed).shows_refusal, agent


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_refusal_is_no_part_of_a_response_for_who_drops_such_parts_alone(streamed: bool) -> None:
    for agent in (
        "ai-sdk/openai/3.0.141 ai-sdk/provider-utils/4.0.66 runtime/node.js/v20.20.2",
        "ai-sdk-openai/4.0.118 ai-sdk-provider-utils/5.0.81 node.js/v20.20.2",
        "ai/6.0.326 ai-sdk/provider-utils/4.0.66 runtime/node.js/v20.20.2",
    ):
        assert not habits({"user-agent": agent}, streamed=streamed).shows_refusal_part, agent
    for agent in ("OpenAI/Python 3.57.0", "Agents/Python 0.24.0", "codex_exec/0.171.0", "curl/8.5.0"):
        assert habits({"user-agent": agent}, streamed=streamed).shows_refusal_part, agent


def test_a_response_has_a_message_in_any_case_for_who_asks_again_without_one() -> None:
    for agent in ("Agents/Python 0.24.0", "Agents/JavaScript 0.20.0"):
        assert habits({"user-agent": agent}, streamed=False).needs_message, agent
    for agent in ("OpenAI/Python 3.57.0", "ai/6.0.326 ai-sdk/provider-utils/4.0.66", "codex_exec/0.171.0"):
        assert not habits({"user-agent": agent}, streamed=False).needs_message, agent
