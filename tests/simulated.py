"""What the tests of the simulators share: running them, and the shapes of Gemini requests.

Ids such as G026 in these tests are statements of the reference; they are written without their dash because
the tests prove the simulators, not the proxy.
"""

import base64
import json
from typing import Any

import httpx

from proxy.simulators import pictures
from proxy.simulators.gemini import models, proto, rules
from proxy.simulators.gemini.errors import Refused
from proxy.simulators.server import Running

G3, G25, ARGON = "gemini-3-flash-preview", "gemini-2.5-flash", "gemini-4-argon"
WEATHER = {
    "name": "get_weather",
    "parametersJsonSchema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
        "required": ["city"],
    },
}
TOOLS = [{"functionDeclarations": [WEATHER]}]
PNG = base64.b64encode(pictures.png(64, 48, "x")).decode()
SENTINEL = "skip_thought_signature_validator"


def google_client(running: Running) -> httpx.Client:
    """A client of a simulator that has forgotten everything."""
    running.log.reset()
    return httpx.Client(base_url=running.url("google") + "/", headers={"x-goog-api-key": "sim-key"})


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "parts": [{"text": part} if isinstance(part, str) else part for part in parts]}


def ask(google: httpx.Client, *parts: Any, model: str = G3, **fields: Any) -> httpx.Response:
    body = {"contents": [user(*parts)], **fields}
    return google.post(f"models/{model}:generateContent", json=body)


def parts_of(google: httpx.Client, *parts: Any, model: str = G3, **fields: Any) -> list[dict[str, Any]]:
    """The parts of the first candidate of a whole reply."""
    reply = ask(google, *parts, model=model, **fields)
    found: list[dict[str, Any]] = reply.json()["candidates"][0]["content"]["parts"]
    return found


def payloads(google: httpx.Client, *parts: Any, model: str = G3, **fields: Any) -> list[dict[str, Any]]:
    """The payloads of a streamed reply."""
    body = {"contents": [user(*parts)], **fields}
    reply = google.post(f"models/{model}:streamGenerateContent?alt=sse", json=body)
    assert reply.headers["content-type"] == "text/event-stream"
    return [json.loads(frame[6:]) for frame in reply.text.split("\r\n\r\n") if frame]


def refused(request: dict[str, Any], model: str = G3, *, streamed: bool = False) -> str:
    """The message of the refusal, "" when the request is taken."""
    try:
        rules.check(proto.read(request, "GenerateContentRequest"), models.MODELS[model], streamed=streamed)
    except Refused as error:
        return error.message
    return ""


def hello(**fields: Any) -> dict[str, Any]:
    return {"contents": [user("Hi")], **fields}


def config(**fields: Any) -> dict[str, Any]:
    return hello(generationConfig=fields)


def declare_json(schema: Any) -> dict[str, Any]:
    return hello(tools=[{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}])


def declare(parameters: Any) -> dict[str, Any]:
    return hello(tools=[{"functionDeclarations": [{"name": "f", "parameters": parameters}]}])
