"""The order that a stream of a response keeps, as a machine: R-080 to R-086. Every stream of a test is run
through it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import orjson

# Around the parts of an item: what opens, fills and ends one, by the key of its number.
_ENDS = {"response.completed", "response.incomplete", "response.failed"}


def parsed(raw: bytes) -> list[dict[str, Any]]:
    """The events of a stream; comments are left out."""
    events = []
    for frame in raw.split(b"\n\n"):
        lines = [line for line in frame.split(b"\n") if line and not line.startswith(b":")]
        if not lines:
            continue
        named, data = lines
        event = orjson.loads(data.removeprefix(b"data: "))
        assert named == b"event: " + event["type"].encode()
        events.append(event)
    return events


def checked(raw: bytes) -> list[dict[str, Any]]:
    """The events of a whole stream that keeps the law."""
    events = parsed(raw)
    _Law().run(events)
    return events


class _Law:
    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []  # as announced; with `done` when they are
        self.parts: dict[tuple[str, int], str] = {}  # texts of open parts
        self.arguments: dict[str, str] = {}
        self.response: str | None = None

    def run(self, events: list[dict[str, Any]]) -> None:
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
        ends = [event["type"] for event in events if event["type"] in _ENDS]
        assert ends == [events[-1]["type"]], "one end, and last"
        for event in events:
            kind = event["type"].removeprefix("response.")
            if "response" in event:
                self.whole(event)
            elif kind == "output_item.added":
                assert event["output_index"] == len(self.items)
                self.items.append({**event["item"], "done": False})
            elif kind == "error":
                assert events[-1]["type"] == "response.failed"
                assert event["error"]["message"] == event["message"]
            else:
                self.inside(kind, event)
        if ends != ["response.failed"]:
            assert all(item["done"] for item in self.items)
            assert self.parts == {}

    def whole(self, event: dict[str, Any]) -> None:
        response = event["response"]
        self.response = self.response or response["id"]
        assert response["id"] == self.response
        if event["type"] in _ENDS:
            if response["status"] != "cancelled":
                assert response["status"] == event["type"].removeprefix("response.")
            assert response["output"] == [item["done"] for item in self.items if item["done"]]
        else:
            assert (response["output"], response["usage"]) == ([], None)

    def inside(self, kind: str, event: dict[str, Any]) -> None:
        item = self.items[event["output_index"]]
        if kind == "output_text.annotation.added":
            self.cited(item, event)
            return
        assert not item["done"]
        if kind == "output_item.done":
            done = event["item"]
            assert (done["id"], done["type"]) == (item["id"], item["type"])
            self.ended(item, done)
            item["done"] = deepcopy(done)
            return
        assert event["item_id"] == item["id"]
        if kind in ("content_part.added", "reasoning_summary_part.added"):
            number = event.get("content_index", event.get("summary_index"))
            assert number == item.setdefault("parts", 0)
            item["parts"] += 1
            self.parts[item["id"], number] = ""
        elif kind in ("output_text.delta", "refusal.delta", "reasoning_summary_text.delta"):
            self.parts[self.place(event)] += event["delta"]
        elif kind in ("output_text.done", "refusal.done", "reasoning_summary_text.done"):
            assert self.parts[self.place(event)] == event.get("text", event.get("refusal"))
        elif kind in ("content_part.done", "reasoning_summary_part.done"):
            part = event["part"]
            assert self.parts.pop(self.place(event)) == part.get("text", part.get("refusal"))
            item.setdefault("said", []).append(part)
        elif kind in ("function_call_arguments.delta", "custom_tool_call_input.delta"):
            self.arguments[item["id"]] = self.arguments.get(item["id"], "") + event["delta"]
        elif kind in ("function_call_arguments.done", "custom_tool_call_input.done"):
            assert self.arguments[item["id"]] == event.get("arguments", event.get("input"))

    def cited(self, item: dict[str, Any], event: dict[str, Any]) -> None:
        """One that comes behind the end of its item belongs to it as it was told then."""
        number, part = event["annotation_index"], event["content_index"]
        assert number == item.setdefault("cited", 0)
        item["cited"] += 1
        assert event["item_id"] == item["id"]
        if item["done"]:
            told = item["done"]["content"][part]["annotations"]
            assert len(told) == number
            told.append(event["annotation"])

    def ended(self, item: dict[str, Any], done: dict[str, Any]) -> None:
        if item["type"] == "message":
            assert done["content"] == item.get("said", [])
        elif item["type"] == "reasoning":
            assert done["summary"] == item.get("said", [])
        elif item["type"] in ("function_call", "custom_tool_call"):
            assert done.get("arguments", done.get("input")) == self.arguments[item["id"]]

    @staticmethod
    def place(event: dict[str, Any]) -> tuple[str, int]:
        return event["item_id"], event.get("content_index", event.get("summary_index"))
