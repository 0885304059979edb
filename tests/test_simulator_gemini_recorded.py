"""The simulated Gemini judges the recorded requests as Google did, and its replies fit Google's schema."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from jsonschema import Draft202012Validator

from proxy.simulators.gemini import models
from proxy.simulators.server import Running, start
from tests.shared import FIXTURES, needs_fixtures
from tests.simulated import G3, G25, SENTINEL, TOOLS, ask, google_client, payloads, refused

pytestmark = needs_fixtures


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with start() as server:
        yield server


@pytest.fixture
def google(running: Running) -> Iterator[httpx.Client]:
    with google_client(running) as client:
        yield client


# Requests that Google took and the simulator does not, on purpose: the reference calls them wrong.
STRICTER = (
    "should be non-empty for OBJECT type",
    "mixes function responses with other parts",
    "into one tool",
    "equal to the number of function call parts",
)


def stand_in(name: str) -> models.Model:
    """A model of today with the abilities of the recorded one, which is often retired."""
    if (model := models.find(name)) is not None:
        return model
    third = name.startswith("gemini-3")
    if "image" in name:
        return models.MODELS["gemini-3.1-flash-image" if third else "gemini-2.5-flash-image"]
    if "tts" in name:
        return models.MODELS["gemini-3.8-flash-tts"]
    return models.MODELS[G3 if third else "gemini-2.5-pro" if "pro" in name else G25]


def test_recorded_requests_are_taken_or_refused_as_google_did() -> None:
    """But for signatures, which only Google can read, and what the simulator is stricter about."""
    judged = {"taken": 0, "stricter": 0}
    wrong = []
    for file in sorted((FIXTURES / "gemini").glob("*.json")):
        exchange = orjson.loads(file.read_bytes())
        found = re.search(r"/v1beta/models/([^:]+):(stream)?[gG]enerateContent", exchange["url_path"])
        if not isinstance(exchange.get("request"), dict) or not found:
            continue
        for content in exchange["request"].get("contents", ()):
            for part in content.get("parts", ()):
                for spelling in ("thoughtSignature", "thought_signature"):
                    if spelling in part:
                        part[spelling] = SENTINEL
        message = refused(exchange["request"], stand_in(found[1]).name, streamed=bool(found[2]))
        about_body = exchange["status"] == 400 and "API key" not in str(exchange["response"])
        if bool(message) == about_body:
            judged["taken"] += 1
        elif any(text in message for text in STRICTER):
            judged["stricter"] += 1
        else:
            wrong.append((file.name, message))
    assert wrong == []
    assert judged["taken"] > 500
    assert judged["stricter"] < 40


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    file = FIXTURES / "schema" / "GenerateContentResponse.schema.json"
    return Draft202012Validator(orjson.loads(file.read_bytes()))


SHOWN = [
    pytest.param("Hi", G3, {}, id="text"),
    pytest.param("Hi sim:thoughts sim:cached:3", G25, {"candidateCount": 2}, id="thoughts"),
    pytest.param("weather sim:parallel:3", G3, {}, id="calls"),
    pytest.param("cat sim:image:2 sim:draft", "gemini-3.1-flash-image", {}, id="pictures"),
    pytest.param("Hi", "gemini-3.8-flash-tts", {}, id="speech"),
    pytest.param("sim:grounding sim:citations", G3, {}, id="grounding"),
    pytest.param("sim:code sim:search sim:unicode", G3, {}, id="server-side tools"),
    pytest.param("sim:block:SAFETY", G3, {}, id="blocked"),
    pytest.param("sim:empty", G3, {}, id="empty"),
    pytest.param("sim:finish:UNEXPECTED_TOOL_CALL", G3, {}, id="unexpected"),
    pytest.param("sim:logprobs", G25, {}, id="logprobs"),
    pytest.param("a b c sim:chunks:7 sim:usage-gap", G3, {}, id="chunks"),
]


@pytest.mark.parametrize(("prompt", "model", "config"), SHOWN)
def test_replies_fit_the_discovery_document(
    google: httpx.Client, schema: Draft202012Validator, prompt: str, model: str, config: dict[str, Any]
) -> None:
    tools = {"tools": TOOLS} if "weather" in prompt else {}
    whole = ask(google, prompt, model=model, generationConfig=config, **tools).json()
    for payload in [whole, *payloads(google, prompt, model=model, generationConfig=config, **tools)]:
        assert [error.message for error in schema.iter_errors(payload)] == []
