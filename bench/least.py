"""The least possible translation on Starlette, uvicorn and aiohttp: no keys, no routing, no usage, no checks.

What Dragoman is measured against. It turns a conversation with its tools into Gemini's shape and the text of
the reply, or of a chunk, into OpenAI's; orders a picture as a job and brings it; no more.
"""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

_BASE = os.environ["BENCH_UPSTREAM"]
_session: aiohttp.ClientSession | None = None


def session() -> aiohttp.ClientSession:
    global _session
    if _session is None:
        _session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    return _session


def _text(payload: dict) -> str:
    return payload["candidates"][0]["content"]["parts"][0]["text"]


def _content(payload: dict) -> object:
    part = payload["candidates"][0]["content"]["parts"][0]
    if "text" in part:
        return part["text"]
    url = f"data:{part['inlineData']['mimeType']};base64,{part['inlineData']['data']}"
    return [{"type": "image_url", "image_url": {"url": url}}]


def _parts(content: object) -> list[dict]:
    if isinstance(content, str):
        return [{"text": content}]
    data = content[0]["image_url"]["url"].partition(",")[2]
    return [{"inlineData": {"mimeType": "image/png", "data": data}}]


def _native(body: dict) -> dict:
    native: dict[str, Any] = {"contents": []}
    for message in body["messages"]:
        if message["role"] == "system":
            native["systemInstruction"] = {"parts": _parts(message["content"])}
        else:
            role = "model" if message["role"] == "assistant" else "user"
            native["contents"].append({"role": role, "parts": _parts(message["content"])})
    if "temperature" in body:
        native["generationConfig"] = {
            "temperature": body["temperature"],
            "maxOutputTokens": body["max_tokens"],
        }
    if "tools" in body:
        native["tools"] = [{"functionDeclarations": [tool["function"] for tool in body["tools"]]}]
    return native


async def chat(request: Request) -> Response:
    body = orjson.loads(await request.body())
    native = _native(body)
    model = body["model"].rpartition("/")[2]
    if body.get("stream"):
        url = f"{_BASE}/models/{model}:streamGenerateContent?alt=sse"
        return StreamingResponse(stream(url, orjson.dumps(native)), media_type="text/event-stream")
    async with session().post(f"{_BASE}/models/{model}:generateContent", data=orjson.dumps(native)) as reply:
        payload = orjson.loads(await reply.read())
    message = {"role": "assistant", "content": _content(payload)}
    whole = {"id": "x", "object": "chat.completion", "choices": [{"index": 0, "message": message}]}
    return Response(orjson.dumps(whole), media_type="application/json")


async def stream(url: str, body: bytes) -> AsyncIterator[bytes]:
    async with session().post(url, data=body) as reply:
        pending = b""
        async for data in reply.content.iter_any():
            *events, pending = (pending + data).split(b"\r\n\r\n")
            out = []
            for event in events:
                delta = {"content": _text(orjson.loads(event[6:]))}
                chunk = {
                    "id": "x",
                    "object": "chat.completion.chunk",
                    "choices": [{"index": 0, "delta": delta}],
                }
                out.append(b"data: " + orjson.dumps(chunk) + b"\n\n")
            if out:
                yield b"".join(out)
    yield b"data: [DONE]\n\n"


async def image(request: Request) -> Response:
    body = orjson.loads(await request.body())
    order = orjson.dumps({"model": body["model"], "prompt": body["prompt"]})
    async with session().post(f"{_BASE}/{body['model']}-8192/jobs", data=order) as reply:
        job = orjson.loads(await reply.read())
    async with session().get(f"{_BASE}/jobs/{job['id']}") as reply:
        picture = orjson.loads(await reply.read())["picture"]
    if picture.startswith("http"):
        async with session().get(picture) as reply:
            picture = base64.b64encode(await reply.read()).decode()
    whole = {"created": 1, "data": [{"b64_json": picture}]}
    return Response(orjson.dumps(whole), media_type="application/json")


app = Starlette(
    routes=[
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/images/generations", image, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    import sys

    import uvicorn

    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,  # as Dragoman: a connection waits for the slowest of its round
    )
