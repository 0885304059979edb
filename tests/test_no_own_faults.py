"""What once was a fault of ours by a request alone: each is a 400 that names its field, or is carried."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway import KEY, Gateway
from tests.raw_http import chat, form

HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}


def nested(depth: int, leaf: Any = "x") -> Any:
    for _ in range(depth):
        leaf = [leaf]
    return leaf


def deep_schema(depth: int) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def with_tool(parameters: Any) -> dict[str, Any]:
    tool = {"type": "function", "function": {"name": "find", "parameters": parameters}}
    return {"tools": [tool]}


def with_google(**fields: Any) -> dict[str, Any]:
    return {"extra_body": {"google": fields}}


@pytest.mark.parametrize(
    ("model", "fields", "named"),
    [
        pytest.param("gemini-flash", with_tool(deep_schema(130)), "tools", id="tool nested"),
        pytest.param("gemini-flash", {"max_tokens": 1e300}, "max_tokens", id="no number of tokens"),
        pytest.param("lan-chat", {"metadata": {"a": nested(300)}}, "metadata", id="metadata nested"),
        pytest.param("lan-chat", {"unknown": nested(300)}, "unknown", id="unknown nested"),
        pytest.param("gemini-flash", with_google(x=nested(300)), "google", id="google's nested"),
        pytest.param("gemini-flash", with_google(tools=[1]), "tools", id="google's tools"),
        pytest.param("gemini-flash", with_google(tools="x"), "tools", id="google's tools, a word"),
        pytest.param("gemini-flash", with_google(tools=[None]), "tools", id="google's tools, null"),
        pytest.param("gemini-flash", with_google(generationConfig=5), "generationConfig", id="google's five"),
        pytest.param(
            "gemini-flash",
            with_google(tools=[{"functionDeclarations": 5}]),
            "functionDeclarations",
            id="five",
        ),
    ],
)
def test_a_request_that_cannot_be_carried_names_its_field(
    gateway: Gateway, model: str, fields: dict[str, Any], named: str
) -> None:
    body = json.dumps({**chat("Hi", model), **fields})
    reply = gateway.http.post(f"{gateway.base_url}/v1/chat/completions", content=body, headers=HEADERS)
    error = reply.json()["error"]
    assert (reply.status_code, error["type"]) == (400, "invalid_request_error"), reply.text
    assert named in f"{error['param']} {error['message']}"


@pytest.mark.parametrize(
    ("model", "parameters"),
    [("lan-chat", deep_schema(130)), ("gemini-flash", {"type": "object", "required": [[]]})],
)
def test_what_the_vendor_may_judge_is_carried(gateway: Gateway, model: str, parameters: Any) -> None:
    body = json.dumps({**chat("Hi", model), **with_tool(parameters)})
    reply = gateway.http.post(f"{gateway.base_url}/v1/chat/completions", content=body, headers=HEADERS)
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize(
    ("content", "status"),
    [
        pytest.param(
            b'{"model":"gemini-flash","messages":[{"role":"user","content":"%b\xff%b"}]}'
            % (b"A" * 9000, b"A" * 9000),
            200,
            id="broken UTF-8 in what looks like base64",
        ),
        pytest.param(
            b'{"model":"gemini-flash","user":"%b","messages":%b}' % (b"A" * 20000, b"[" * 1000 + b"]" * 1000),
            400,
            id="deep beside base64",
        ),
    ],
)
def test_bytes_that_no_parser_likes_are_no_fault_of_ours(
    gateway: Gateway, content: bytes, status: int
) -> None:
    reply = gateway.http.post(f"{gateway.base_url}/v1/chat/completions", content=content, headers=HEADERS)
    assert reply.status_code == status
    assert "internal_error" not in reply.text


@pytest.mark.parametrize("charset", ["punycode", "idna", "unicode_escape", "utf-7", "base64", "none"])
def test_the_charset_of_a_form_may_be_anything(gateway: Gateway, charset: str) -> None:
    content, headers = form(("model", b"nano-banana-pro", None), ("prompt", b"\\ud800 A fox xn--a", None))
    headers["content-type"] += f"; charset={charset}"
    reply = gateway.http.post(
        f"{gateway.base_url}/v1/images/edits", content=content, headers={**HEADERS, **headers}
    )
    assert reply.status_code == 400
    assert "internal_error" not in reply.text
