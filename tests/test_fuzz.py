"""Whatever clients send and vendors answer, the reply is no fault of ours: seeded, through the front
door. Some seconds by default; FUZZ_TIMES=100000 and FUZZ_SEED=7 make it a hunt."""

from __future__ import annotations

import base64
import copy
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from proxy.fronts import refusals
from tests.gateway import FILE, KEY, Gateway, open_gateway
from tests.messages_events import checked, decoded
from tests.raw_http import form
from tests.served import waited

TIMES = int(os.environ.get("FUZZ_TIMES", "400"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="

TOOL = {
    "type": "function",
    "function": {
        "name": "find",
        "description": "Finds.",
        "parameters": {
            "type": "object",
            "properties": {"q": {"type": "string", "enum": ["a"]}},
            "required": ["q"],
        },
    },
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"q":"a"}'}}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    (
        "chat/completions",
        {
            "model": "gemini-flash",
            "messages": [
                {"role": "system", "content": "Be kind."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Hi"},
                        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                    ],
                },
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": "found"},
            ],
            "tools": [TOOL],
            "tool_choice": {"type": "function", "function": {"name": "find"}},
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"type": "object", "properties": {}}},
            },
            "temperature": 0.5,
            "max_tokens": 50,
            "stop": ["a"],
            "n": 1,
            "metadata": {"a": "b"},
            "extra_body": {"google": {"thinking_config": {"thinking_budget": 100}}},
        },
    ),
    (
        "chat/completions",
        {
            "model": "lan-chat",
            "messages": [{"role": "user", "content": "Hi"}],
            "stream": True,
            "logprobs": True,
            "stream_options": {"include_usage": True},
        },
    ),
    (
        "messages",
        {
            "model": "gemini-flash",
            "max_tokens": 50,
            "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Hi"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                        },
                        {"type": "document", "title": "T", "source": {"type": "text", "data": "x"}},
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "Hm.", "signature": "QUJD"},
                        {"type": "tool_use", "id": "toolu_1", "name": "find", "input": {"q": "a"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "toolu_1",
                            "content": [{"type": "text", "text": "found"}],
                            "is_error": False,
                        }
                    ],
                },
            ],
            "tools": [
                {
                    "name": "find",
                    "description": "Finds.",
                    "input_schema": {"type": "object", "properties": {}},
                },
                {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
            ],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
            "thinking": {"type": "enabled", "budget_tokens": 2000},
            "output_config": {
                "effort": "low",
                "format": {"type": "json_schema", "schema": {"type": "object"}},
            },
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "metadata": {"user_id": "u"},
            "stop_sequences": ["a"],
            "stream": True,
        },
    ),
    (
        "images/generations",
        {
            "model": "nano-banana-pro",
            "prompt": "A fox",
            "n": 1,
            "size": "1024x1024",
            "quality": "high",
            "output_format": "png",
            "response_format": "b64_json",
            "stream": False,
        },
    ),
    (
        "responses",
        {
            "model": "gemini-flash",
            "instructions": "Be kind.",
            "input": [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "Hi"},
                        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "low"},
                    ],
                },
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
                {"type": "function_call", "call_id": "c1", "name": "find", "arguments": '{"q":"a"}'},
                {"type": "function_call_output", "call_id": "c1", "output": "found"},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "So."}]},
            ],
            "tools": [{"type": "function", **TOOL["function"]}, {"type": "web_search"}],
            "tool_choice": "auto",
            "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}},
            "reasoning": {"effort": "low", "summary": "auto"},
            "include": ["reasoning.encrypted_content"],
            "metadata": {"a": "b"},
            "store": True,
            "stream": True,
        },
    ),
    (
        "models/gemini-flash:generateContent",
        {
            "systemInstruction": {"parts": [{"text": "Be kind."}]},
            "contents": [
                {
                    "role": "user",
                    "parts": [{"text": "Hi"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}],
                },
                {
                    "role": "model",
                    "parts": [
                        {"functionCall": {"name": "find", "args": {"q": "a"}}, "thoughtSignature": "QQ=="}
                    ],
                },
                {
                    "role": "user",
                    "parts": [{"functionResponse": {"name": "find", "response": {"output": "found"}}}],
                },
            ],
            "tools": [{"functionDeclarations": [TOOL["function"]]}, {"googleSearch": {}}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["find"]}},
            "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
            "generationConfig": {
                "temperature": 0.5,
                "stopSequences": ["a"],
                "responseMimeType": "application/json",
                "responseSchema": {"type": "OBJECT", "properties": {"q": {"type": "STRING"}}},
                "thinkingConfig": {"thinkingBudget": 100, "includeThoughts": True},
                "imageConfig": {"aspectRatio": "16:9"},
            },
        },
    ),
    (
        "models/lan-chat:streamGenerateContent?alt=sse",
        {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"candidateCount": 1}},
    ),
    (
        "models/vectors:batchEmbedContents",
        {
            "requests": [
                {
                    "model": "models/vectors",
                    "content": {"parts": [{"text": "Hi"}]},
                    "taskType": "RETRIEVAL_QUERY",
                    "outputDimensionality": 8,
                }
            ]
        },
    ),
    ("models/vectors:embedContent", {"content": {"parts": [{"text": "Hi"}]}, "title": "T"}),
    ("models/gemini-flash:countTokens", {"contents": [{"parts": [{"text": "Hi"}]}]}),
    (
        "messages/count_tokens",
        {"model": "gemini-flash", "system": "Be kind.", "messages": [{"role": "user", "content": "Hi"}]},
    ),
    ("responses/input_tokens", {"model": "gemini-flash", "input": "Hi", "instructions": "Be kind."}),
    (
        "embeddings",
        {"model": "vectors", "input": ["a", "b"], "dimensions": 8, "encoding_format": "base64", "user": "u"},
    ),
    (
        "completions",
        {
            "model": "gemini-flash",
            "prompt": ["Once", "Twice"],
            "max_tokens": 50,
            "echo": True,
            "n": 1,
            "best_of": 1,
            "logprobs": 1,
            "stop": ["a"],
            "suffix": "end",
            "stream": False,
        },
    ),
    (
        "moderations",
        {
            "model": "judge",
            "input": [
                {"type": "text", "text": "Hi"},
                {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
            ],
        },
    ),
    (
        "audio/speech",
        {
            "model": "voice",
            "input": "Hi",
            "voice": "alloy",
            "instructions": "Softly.",
            "response_format": "wav",
            "speed": 1.0,
            "stream_format": "audio",
        },
    ),
    (
        "audio/transcriptions",
        {
            "file": "RIFF",
            "model": "ear",
            "language": "en",
            "prompt": "Names.",
            "response_format": "verbose_json",
            "temperature": "0",
            "timestamp_granularities[]": "word",
        },
    ),
    (
        "images/edits",
        {
            "image": "PNG",
            "mask": "PNG",
            "model": "nano-banana-pro",
            "prompt": "Red",
            "n": "1",
            "size": "auto",
        },
    ),
]
FORMS = {"audio/transcriptions", "images/edits"}
FILES = {"file", "image", "mask"}
BYTES = {"PNG": base64.b64decode(PNG), "RIFF": b"RIFF\x24\0\0\0WAVEfmt "}
MODELS = """
  vectors: {targets: [google/gemini-embedding-001]}
  judge: {targets: [lan/omni-moderation-latest]}
  voice: {targets: [google/gemini-3.8-flash-tts]}
  ear: {targets: [lan/whisper-1]}
"""
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**70, 1e300, 0.5, "", "x", "\x00", "a\nb", "\ud83d",
    "é" * 300, "A" * 20_000,
    [], {}, [[]], [None], {"": None}, [{}], {"type": "text"}, {"type": 1}, "16:9\n2K",
    "data:image/png;base64,!!!",
    {"$ref": "#"}, {"anyOf": [{}, {"type": ["a", None]}]}, [1, "a", None], "auto", "none", "required",
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if len(path) > 12:  # of what was nested on purpose
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from places(inner, (*path, name))


def mutated(value: Any, random: Random) -> Any:
    """One to three members of it are gone, odd, nested deep or somebody else's."""
    changed = copy.deepcopy(value)
    for _ in range(random.randint(1, 3)):
        known = list(places(changed))
        if not known:
            break
        *way, last = random.choice(known)
        holder = changed
        for name in way:
            holder = holder[name]
        kind = random.random()
        if kind < 0.15:
            del holder[last]
        elif kind < 0.2:
            holder[last] = nested(random.choice((100, 300)))
        elif kind < 0.3 and isinstance(holder, dict):
            holder[random.choice(("unknown", "a\nb", "google", "x" * 300, ""))] = copy.deepcopy(
                random.choice(ODD)
            )
        elif kind < 0.4:
            *other, tail = random.choice(known)
            found: Any = changed
            for name in (*other, tail):
                found = found[name] if isinstance(found, (dict, list)) else None
            holder[last] = copy.deepcopy(found)
        else:
            holder[last] = copy.deepcopy(random.choice(ODD))
    return changed


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


def faults(replies: Iterable[tuple[httpx.Response, object]]) -> list[str]:
    """All that is wrong with them: a hunt goes on."""
    found = []
    for reply, sent in replies:
        try:
            judged(reply, sent)
        except (AssertionError, ValueError) as fault:
            found.append(f"{reply.url.path} {fault!r:.3000} {reply.text[:300]}")
    return found


def judged(reply: httpx.Response, sent: object) -> None:
    """It is JSON, events of JSON or a file, with a status that is no fault of ours."""
    shown = json.dumps(sent)[:2000]
    mime = reply.headers.get("content-type", "")
    if reply.status_code == 200 and not mime.startswith(("application/json", "text/event-stream")):
        assert mime.startswith(("audio/", "text/plain")), (mime, shown)
        return
    if mime.startswith("text/event-stream"):
        lines = [line[6:] for line in reply.text.split("\n") if line.startswith("data: ")]
        payloads = [json.loads(line) for line in lines if line != "[DONE]"]
        assert payloads, shown
    else:
        whole = reply.json()
        payloads = whole if isinstance(whole, list) else [whole]
    assert refusals.UNKNOWN not in reply.text, shown
    codes = [one["error"].get("code") for one in payloads if isinstance(one.get("error"), dict)]
    assert "internal_error" not in codes, shown
    if reply.status_code == 500:  # Anthropic's word for an upstream that failed
        assert payloads[0]["error"]["type"] == "api_error", (reply.text[:300], shown)
    if payloads[0].get("type") in ("message_start", "ping"):
        checked(decoded(reply.content))


def written(path: str, body: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """As the client writes it, with its own headers."""
    if path not in FORMS:
        return json.dumps(body).encode(), HEADERS
    parts = [
        (
            name.replace('"', "%22").replace("\n", "%0A"),
            BYTES.get(str(value)) or str(value).encode("utf-8", "replace"),
            "a.png" if name in FILES else None,
        )
        for name, value in body.items()
    ]
    content, headers = form(*parts)
    return content, {**HEADERS, **headers}


@pytest.mark.parametrize("part", range(4))
def test_whatever_a_client_sends_is_answered(tmp_path: Path, part: int) -> None:
    random = Random(f"{SEED} requests {part}")

    def replies(gateway: Gateway) -> Iterator[tuple[httpx.Response, object]]:
        for _ in range(TIMES // 4):
            path, body = random.choice(REQUESTS)
            changed = mutated(body, random)
            content, headers = written(path, changed)
            if random.random() < 0.05:  # and what is no JSON
                at = random.randrange(len(content))
                content = content[:at] + bytes([random.randrange(256)]) + content[at + random.randint(0, 3) :]
            yield (
                gateway.http.post(f"{gateway.base_url}/v1/{path}", content=content, headers=headers),
                changed,
            )

    with open_gateway(tmp_path, FILE + MODELS) as gateway:
        assert faults(replies(gateway)) == []
        healthy(gateway)


def healthy(gateway: Gateway) -> None:
    body = {"model": "gemini-flash", "messages": [{"role": "user", "content": "Hi"}]}
    reply = gateway.http.post(f"{gateway.base_url}/v1/chat/completions", json=body, headers=HEADERS)
    assert reply.status_code == 200
    assert gateway.application.house is not None
    load = gateway.application.house.services.load
    waited(lambda: (load.requests, load.bytes) == (0, 0))  # a moment after the last byte of the reply


# --- what vendors answer

GEMINI = {
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [
                    {"text": "Hi", "thoughtSignature": "QUJD"},
                    {"functionCall": {"name": "find", "args": {"q": "a"}, "id": "c1"}},
                    {"inlineData": {"mimeType": "image/png", "data": PNG}},
                ],
            },
            "finishReason": "STOP",
            "index": 0,
            "groundingMetadata": {"groundingChunks": [{"web": {"uri": "https://a.example", "title": "A"}}]},
        }
    ],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3},
    "modelVersion": "m",
    "responseId": "r",
}
OPENAI = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi", "tool_calls": [CALL], "reasoning_content": "x"},
            "delta": {"role": "assistant", "content": "Hi", "tool_calls": [{**CALL, "index": 0}]},
            "logprobs": {"content": [{"token": "Hi", "logprob": -0.1, "bytes": [1], "top_logprobs": []}]},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}
EMBEDDED = {"embedding": {"values": [0.1, 0.2]}, "usageMetadata": {"promptTokenCount": 1}}
ALL_EMBEDDED = {"embeddings": [{"values": [0.1, 0.2]}, {"values": [0.3, 0.4]}]}
JUDGED = {
    "id": "m",
    "model": "m",
    "results": [
        {
            "flagged": False,
            "categories": {"hate": False},
            "category_scores": {"hate": 0.1},
            "category_applied_input_types": {"hate": ["text"]},
        }
    ],
}
HEARD = {
    "text": "Hi",
    "language": "en",
    "duration": 1.5,
    "words": [{"word": "Hi", "start": 0.0, "end": 0.5}],
    "segments": [{"id": 0, "text": "Hi", "start": 0.0, "end": 0.5}],
    "usage": {"type": "tokens", "input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
}
RIGHT = {"countTokens": {"totalTokens": 3}, "embedContent": EMBEDDED, "batchEmbedContents": ALL_EMBEDDED,
         "moderations": JUDGED, "transcriptions": HEARD, "completions": OPENAI}  # fmt: skip
ERROR = {"error": {"code": 400, "message": 'Unknown name "x"', "status": "INVALID_ARGUMENT", "details": [{}]}}


@contextmanager
def vendor(random: Random) -> Iterator[str]:
    """Answers with a mutation of what is right, as JSON or as events, now and then cut or as an error."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            right = RIGHT.get(re.split("[/:?]", self.path.partition("?")[0])[-1], GEMINI)
            payloads = [mutated(random.choice((right, right, right, ERROR)), random) for _ in range(2)]
            texts = [json.dumps(payload).encode() for payload in payloads]
            events = "stream" in self.path or random.random() < 0.4
            body = b"".join(b"data: %b\n\n" % text for text in texts) if events else texts[0]
            if random.random() < 0.1:
                body = body[: random.randrange(len(body) + 1)]
            self.send_response(random.choice((200, 200, 200, 200, 200, 400, 404, 409, 451)))
            self.send_header("content-type", "text/event-stream" if events else "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)


@pytest.mark.parametrize("part", range(4))
def test_whatever_a_vendor_answers_is_told(tmp_path: Path, part: int) -> None:
    random = Random(f"{SEED} answers {part}")

    def replies(gateway: Gateway) -> Iterator[tuple[httpx.Response, object]]:
        for _ in range(TIMES // 4):
            path, body = random.choice(REQUESTS)
            sent = {**body, "stream": random.random() < 0.5} if "stream" in body else body
            content, headers = written(path, sent)
            yield gateway.http.post(f"{gateway.base_url}/v1/{path}", content=content, headers=headers), sent

    with vendor(random) as address:
        file = FILE.replace("http://SIMULATORS", address).replace(
            "heartbeat: 300ms", "heartbeat: 0s\n  retry: {attempts: 1}"
        )
        with open_gateway(tmp_path, file + MODELS) as gateway:
            assert faults(replies(gateway)) == []
