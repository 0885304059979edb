"""Requests that real programs sent to real services are understood, every one that was answered."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.fronts.openai.chat import request as chat_request
from proxy.fronts.openai.images import request as image_request
from tests.shared import FIXTURES, needs_fixtures

pytestmark = needs_fixtures

# OpenRouter's own routing fields; everything else in these recordings has a place.
_OPENROUTER = {"models", "preset", "provider", "transforms"}


def recordings(*folders: str) -> Iterator[tuple[Path, Any]]:
    for folder in folders:
        for path in sorted((FIXTURES / folder).rglob("*.json")):
            found = orjson.loads(path.read_bytes())
            if isinstance(found, dict):
                yield path, found


def test_recorded_chats_are_understood() -> None:
    count = 0
    for path, recorded in recordings("openai", "vendors", "pairs"):
        request = recorded.get("openai_request") or recorded.get("request")
        if (
            not isinstance(request, dict)
            or not {"model", "messages"} <= request.keys()
            or recorded.get("status", 200) >= 400
        ):
            continue
        count += 1
        found = chat_request.parse(request).request
        assert set(found.foreign.fields if found.foreign else ()) <= _OPENROUTER, path.name
        assert len(found.messages) == len(request["messages"])
    assert count > 100


def test_recorded_picture_requests_are_understood() -> None:
    count = 0
    for _, recorded in recordings("openai"):
        request = recorded.get("request")
        if not isinstance(request, dict) or not str(recorded.get("url_path")).endswith("images/generations"):
            continue
        count += 1
        found = image_request.parse({"model": "dall-e-2", **request}).request
        assert found.prompt == request["prompt"]
        assert found.foreign is None
    assert count >= 4


@pytest.mark.parametrize("name", ["llm--images-successful-variation.json"])
def test_a_recorded_form_names_its_fields_as_we_expect(name: str) -> None:
    recorded = orjson.loads((FIXTURES / "openai" / name).read_bytes())
    assert {part["name"] for part in recorded["request"]["_multipart"]} <= {"image", "model", "n", "size"}
