"""Planted canaries: keys, prompts and pictures are looked for in everything the gateway says."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.simulators.server import start
from tests.gateway import FILE, Gateway, open_gateway
from tests.raw_http import chat
from tests.served import run, serving
from tests.vendor_socket import read_request, vendor

# None looks like the keys that vendors give out, so that no pattern finds them: they have to be known.
VENDOR = "quiet-vendor-canary-4f1c9e7a"
CLIENT = "quiet-client-canary-77ab01"
WRONG = "quiet-wrong-canary-9930de"
PROMPT = "promptcanary5b1e"
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"picture canary " * 90).decode()
KEYS = (VENDOR, CLIENT, WRONG)
PRIVATE = (PROMPT, PICTURE[:40])
ENVIRONMENT = {"TEST_KEY": CLIENT, "VENDOR_KEY": VENDOR, "TEST_NARROW_KEY": "narrow-" + CLIENT}


def body(order: str = "", model: str = "gemini-flash", **fields: Any) -> Any:
    parts = [
        {"type": "text", "text": f"{PROMPT} {order}"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
    ]
    return {**chat("", model, **fields), "messages": [{"role": "user", "content": parts}]}


REQUESTS: list[tuple[str, Any]] = [
    *(
        ("POST /v1/chat/completions", body(order, model, stream=stream))
        for model in ("gemini-flash", "lan-chat")
        for stream in (False, True)
        for order in (
            "",
            "sim:error:400",
            "sim:error:401",
            "sim:error:429",
            "sim:error:500",
            "sim:drop",
            "sim:cut:1",
            "sim:error-after:1",
        )
    ),
    ("POST /v1/chat/completions", body(model="nobody/x")),
    ("POST /v1/chat/completions", body(n="many")),
    ("POST /v1/chat/completions", body(logit_bias={"1": 1})),
    ("POST /v1/chat/completions?key=" + CLIENT, body()),
    ("POST /v1/nothing", body()),
    ("GET /v1/models", None),
    ("GET /v1/models/none", None),
    ("GET /readyz", None),
    ("GET /livez", None),
]


def test_no_secret_and_no_prompt_is_printed_or_told(tmp_path: Path) -> None:
    """G-204"""
    heard: list[str] = []
    with start() as vendors:
        file = FILE.replace("http://SIMULATORS", vendors.base_url)
        with serving(tmp_path, file, environment=ENVIRONMENT) as served:
            for key in (CLIENT, WRONG):
                for call, content in REQUESTS:
                    method, path = call.split(" ")
                    reply = httpx.request(
                        method,
                        served.base_url + path,
                        json=content,
                        headers={"authorization": f"Bearer {key}", "x-proxy-strict": "true"},
                    )
                    heard += [reply.text, str(reply.headers.raw)]
            httpx.post(f"{served.base_url}/v1/chat/completions", content=b'{"model": "' + PROMPT.encode())
            served.file.write_text(file.replace("key: env:TEST_KEY}", f"key: {CLIENT}, unknown: 1}}"))
            served.until_logged("reload_refused")
            assert served.stop() == 0
        printed = served.out.read_text() + served.err.read_text()
    probes = sum(call in ("GET /readyz", "GET /livez") for call, _ in REQUESTS)
    assert printed.count('"event":"request"') == 2 * (len(REQUESTS) - probes) + 1
    for secret in KEYS:
        assert not [text for text in heard if secret in text]
        assert secret not in printed
    for secret in PRIVATE:
        assert secret not in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "gemini-flash"),
        ("explain", "gemini-flash", "--json", "--request", "request.json"),
        ("check",),
        ("check", "--json"),
        ("models", "--json"),
        ("try", "gemini-flash", "Hi sim:error:400"),
        ("try", "lan-chat", "Hi", "--json"),
    ],
    ids=" ".join,
)
def test_no_command_prints_a_key_or_base64(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with start() as vendors:
        file = FILE.replace("http://SIMULATORS", vendors.base_url)
        (tmp_path / "providers.yaml").write_text(file)
        (tmp_path / "request.json").write_text(json.dumps(body()))
        _, out, err = run(*arguments, cwd=tmp_path, environment=ENVIRONMENT)
    assert out + err
    for secret in (*KEYS, PICTURE[:40]):
        assert secret not in out + err


def test_a_literal_key_in_a_broken_file_is_not_shown(tmp_path: Path) -> None:
    broken = FILE.replace("env:VENDOR_KEY", f"{VENDOR}, wrong: [").replace("env:TEST_KEY", CLIENT)
    for file in (broken, FILE.replace("env:TEST_KEY", CLIENT) + "\nunknown: 1\n"):
        (tmp_path / "providers.yaml").write_text(file)
        code, out, err = run("check", cwd=tmp_path, environment=ENVIRONMENT)
        assert code == 1
        assert VENDOR not in out + err
        assert CLIENT not in out + err


def test_nothing_that_is_printed_of_the_house_shows_a_secret(gateway: Gateway) -> None:
    house = gateway.application.house
    text = f"{house!r} {house} {house.plan.config.model_dump()}" if house is not None else ""
    assert "google" in text
    assert "vendor-key-canary" not in text
    assert "sk-test" not in text


# --- vendors that repeat the key


def refused(head: bytes, text: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 " + head + b"\r\nconnection: close\r\n\r\n" + text)

    return serve


GOOGLE = f'{{"error": {{"code": 400, "message": "API key {VENDOR} not valid", "status": "{VENDOR}"}}}}'
OPENAI = f'{{"error": {{"message": "Incorrect API key provided: {VENDOR}", "code": "{VENDOR}"}}}}'
PAGE = f"<html><title>No: {VENDOR}</title><body>{VENDOR}</body></html>"
CHUNK = '{"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}'
OPENAI_CHUNK = '{"choices": [{"index": 0, "delta": {"content": "Hi"}}]}'


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", ["gemini-flash", "lan-chat"])
@pytest.mark.parametrize(
    ("head", "text"),
    [
        pytest.param("400 Bad\r\ncontent-type: application/json", GOOGLE, id="google, 400"),
        pytest.param("401 No\r\ncontent-type: application/json", OPENAI, id="openai, 401"),
        pytest.param("403 No\r\ncontent-type: text/html", PAGE, id="web page"),
        pytest.param("500 No\r\ncontent-type: text/plain", f"the key {VENDOR} is bad", id="plain text"),
        pytest.param("200 OK\r\ncontent-type: application/json", GOOGLE, id="google, inside a 200"),
        pytest.param("200 OK\r\ncontent-type: application/json", OPENAI, id="openai, inside a 200"),
        pytest.param(
            "200 OK\r\ncontent-type: text/event-stream",
            f"data: {CHUNK}\n\ndata: {GOOGLE}\n\n",
            id="google, within a stream",
        ),
        pytest.param(
            "200 OK\r\ncontent-type: text/event-stream",
            f"data: {OPENAI_CHUNK}\n\ndata: {OPENAI}\n\n",
            id="openai, within a stream",
        ),
        pytest.param("200 OK\r\ncontent-type: text/event-stream", f"data: {VENDOR}\n\n", id="no JSON"),
        pytest.param(f"302 Go\r\nlocation: http://127.0.0.1:1/{VENDOR}", "", id="redirect"),
    ],
)
def test_a_vendor_that_repeats_our_key_is_not_repeated(
    tmp_path: Path, capfdbinary: Any, model: str, head: str, text: str, stream: bool
) -> None:
    """G-204"""
    with vendor(refused(head.encode(), text.encode())) as base_url:
        file = FILE.replace("http://SIMULATORS/openai", base_url).replace(
            "http://SIMULATORS/gemini", base_url
        )
        with open_gateway(tmp_path, file, {"VENDOR_KEY": VENDOR, "TEST_KEY": CLIENT}) as own:
            reply = httpx.post(
                f"{own.base_url}/v1/chat/completions",
                json=chat("Hi", model, stream=stream),
                headers={"x-api-key": CLIENT},
            )
    assert '"error":{' in reply.text
    assert VENDOR not in reply.text + str(reply.headers.raw)
    captured = capfdbinary.readouterr()
    assert VENDOR.encode() not in captured.out + captured.err
