"""Every recorded chat completion of OpenAI-shaped servers is read without a loss."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Event, Finish, FinishReason, Json, Started, Target, Usage
from proxy.wires.openai import OpenAIChatWire
from tests.openai_wire import calls, events, reasoning, text
from tests.shared import FIXTURES, needs_fixtures

FOLDERS = (
    "openai",
    "openai/gemini-compat",
    "vendors/openrouter",
    "vendors/dashscope-compat",
    "vendors/xai",
    "vendors/deepseek",
    "vendors/moonshot",
)


def recordings() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((FIXTURES / folder).glob("*.json")):
            if '/chat/completions"' in path.read_text(encoding="utf-8"):
                yield path


RECORDED = [pytest.param(path, id=f"{path.parent.name}/{path.stem[-40:]}") for path in recordings()]
pytestmark = needs_fixtures


def payloads(recording: Json) -> list[Json]:
    if recording.get("sse"):
        lines = recording["sse"].splitlines()
        return [json.loads(line[5:]) for line in lines if line.startswith("data:") and "[DONE]" not in line]
    return [recording["response"]]


def refused(recording: Json) -> bool:
    reply = recording.get("response")
    return recording["status"] >= 400 or (isinstance(reply, dict) and "choices" not in reply)


class Said:
    """What the payloads say, read in the most naive way that is right for recordings."""

    def __init__(self, found: list[Json]) -> None:
        self.text: dict[int, str] = {}
        self.reasoning: dict[int, str] = {}
        self.calls: dict[int, dict[int, list[str]]] = {}
        self.finish: dict[int, str] = {}
        self.total = 0
        for payload in found:
            self.total = (payload.get("usage") or {}).get("total_tokens") or self.total
            for choice in payload.get("choices") or []:
                self._choice(choice["index"], choice, choice.get("delta") or choice.get("message") or {})

    def _choice(self, index: int, choice: Json, message: Json) -> None:
        self.text[index] = self.text.get(index, "") + (message.get("content") or "")
        thought = message.get("reasoning_content") or message.get("reasoning") or ""
        self.reasoning[index] = self.reasoning.get(index, "") + thought
        fragments = message.get("tool_calls") or []
        if message.get("function_call"):
            fragments = [{"index": 0, "function": message["function_call"]}]
        for number, fragment in enumerate(fragments):
            call = self.calls.setdefault(index, {}).setdefault(fragment.get("index", number), ["", ""])
            call[0] += fragment["function"].get("name") or ""
            call[1] += fragment["function"].get("arguments") or ""
        if choice.get("finish_reason"):
            self.finish[index] = choice["finish_reason"]


@pytest.mark.parametrize("path", RECORDED)
def test_a_recorded_reply_is_read_completely(path: Path) -> None:
    """G-142, G-165: all text, thoughts and calls; a finish that clients know; counts that add up."""
    recording = json.loads(path.read_text(encoding="utf-8"))
    if refused(recording):
        return
    found = events(*payloads(recording), stream=bool(recording.get("sse")))
    said = Said(payloads(recording))
    assert isinstance(found[0], Started)
    for index in said.text:
        assert text(found, index) == said.text[index]
        assert reasoning(found, index) == said.reasoning[index]
        expected = [(name, arguments or "{}") for name, arguments in said.calls.get(index, {}).values()]
        assert [call[1:] for call in calls(found, index)] == expected
    finishes = {event.choice: event for event in found if isinstance(event, Finish)}
    assert finishes.keys() == said.text.keys()
    for index, finish in finishes.items():
        assert finish.reason in get_args(FinishReason)
        if said.finish.get(index) in ("length", "content_filter"):
            assert finish.reason == said.finish[index]
        else:
            assert (finish.reason == "tool_calls") is (index in said.calls)
    counted = [event for event in found if isinstance(event, Usage)]
    assert len(counted) == (1 if said.total else 0)
    if counted:
        assert counted[0].prompt + counted[0].completion == said.total
        assert counted[0].reasoning <= counted[0].completion


@pytest.mark.parametrize("path", RECORDED)
def test_a_recorded_stream_means_the_same_as_one_whole_reply(path: Path) -> None:
    recording = json.loads(path.read_text(encoding="utf-8"))
    if refused(recording) or not recording.get("sse"):
        return
    said = Said(payloads(recording))
    choices = [
        {
            "index": index,
            "message": {
                "role": "assistant",
                "content": said.text[index] or None,
                "reasoning_content": said.reasoning[index] or None,
                "tool_calls": [
                    {
                        "id": f"call_{number}",
                        "type": "function",
                        "function": {"name": name, "arguments": arguments},
                    }
                    for number, (name, arguments) in said.calls.get(index, {}).items()
                ],
            },
            "finish_reason": said.finish.get(index),
        }
        for index in said.text
    ]
    whole = events({"choices": choices}, stream=False)
    streamed = events(*payloads(recording))
    for index in said.text:
        assert _told(whole, index) == _told(streamed, index)


def _told(found: list[Event], index: int) -> tuple[Any, ...]:
    [finish] = [event.reason for event in found if isinstance(event, Finish) and event.choice == index]
    return text(found, index), reasoning(found, index), [call[1:] for call in calls(found, index)], finish


@pytest.mark.parametrize("path", RECORDED)
def test_a_recorded_refusal_is_readable(path: Path) -> None:
    """V-050, V-055: no client sees the status of our own trouble."""
    recording = json.loads(path.read_text(encoding="utf-8"))
    if not refused(recording):
        return
    if recording["status"] >= 400:
        body = (
            json.dumps(recording["response"])
            if recording.get("response")
            else recording.get("response_text", "")
        )
        failure = OpenAIChatWire().error(
            recording["status"], recording["headers"], body.encode(), Target("v", "m", "openai")
        )
        assert isinstance(failure, UpstreamError)
    else:
        with pytest.raises(UpstreamError) as caught:
            events(*payloads(recording))
        failure = caught.value
    assert failure.message
    assert not failure.message.startswith("{")
    assert failure.status not in (401, 402, 403)
    if recording["status"] == 429:
        assert failure.error_class in (ErrorClass.RATE_LIMITED, ErrorClass.QUOTA)
