"""Addresses: spellings that are answered, what strangers are told, what needs which key."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy import app
from proxy import config as configuration
from proxy.codec import jsonio
from proxy.serve.endpoint import Row
from proxy.serve.exchange import Exchange
from proxy.serve.house import House
from tests.gateway import KEY, Gateway

HEADERS = {"authorization": f"Bearer {KEY}"}
CHAT: Any = {"model": "gemini-flash", "messages": [{"role": "user", "content": "Hi"}]}
CHAT_PATH = "/v1/chat/completions"


def request(gateway: Gateway, method: str, path: str, **options: Any) -> httpx.Response:
    """The path goes out as it is written: httpx would tidy it up."""
    url = httpx.URL(gateway.base_url).copy_with(raw_path=path.encode())
    return httpx.request(method, url, headers=HEADERS, timeout=20, **options)


@pytest.mark.parametrize(
    "path",
    [
        "/chat/completions",
        "/openai/v1/chat/completions",
        "/openai/chat/completions",
        "/v1/chat/completions/",
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/chat//completions//",
        "/v1/v1/chat/completions",
        "/v1/openai/v1/chat/completions",
        "/chat/completions/",
    ],
)
def test_a_chat_is_answered_at_other_spellings_of_its_address(gateway: Gateway, path: str) -> None:
    reply = request(gateway, "POST", path, json=CHAT)
    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("path", ["/v1/models/", "/models//", "/v1/v1/models", "//models"])
def test_models_are_listed_at_other_spellings(gateway: Gateway, path: str) -> None:
    assert request(gateway, "GET", path).json()["object"] == "list"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/gemini-flash",
        "/models/gemini-flash/",
        "/v1/v1/models/gemini-flash",
        "//v1/models/gemini-flash",
        "/openai/models/gemini-flash",
    ],
)
def test_a_model_is_told_at_other_spellings(gateway: Gateway, path: str) -> None:
    assert request(gateway, "GET", path).json()["id"] == "gemini-flash"


def test_a_models_name_may_have_slashes(gateway: Gateway) -> None:
    assert request(gateway, "GET", "/v1/models/google/gemini-2.5-pro").json()["id"] == "google/gemini-2.5-pro"


@pytest.mark.parametrize(
    ("method", "path", "meant"),
    [
        ("POST", "/v1/chat/completion", "/v1/chat/completions"),
        ("POST", "/api/v1/chat/completions", "/v1/chat/completions"),
        ("POST", "/v1/chat/completions/chat/completions", "/v1/chat/completions"),
        ("POST", "/V1/Chat/Completions", "/v1/chat/completions"),
        ("POST", "/v1/image/generations/", "/v1/images/generations"),
        ("GET", "/v1/model", "/v1/models"),
    ],
)
def test_a_near_address_is_named(gateway: Gateway, method: str, path: str, meant: str) -> None:
    reply = request(gateway, method, path)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (404, "unknown_url")
    assert f"There is no {method} {path} here. Did you mean {meant}?" in error["message"]
    assert reply.headers["x-request-id"] in error["message"]


@pytest.mark.parametrize("path", ["/v1/wonderful", "/" + "v1/chat/completion" * 3000])
def test_of_a_far_address_nothing_is_guessed(gateway: Gateway, path: str) -> None:
    error = request(gateway, "POST", path).json()["error"]
    assert "Did you mean" not in error["message"]
    assert len(error["message"]) < 400


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("GET", "/v1/chat/completions/", "POST"),
        ("PUT", "//v1/v1/images/edits", "POST"),
        ("DELETE", "/v1/models", "GET"),
        ("POST", "/v1/models/gemini-flash", "GET"),
        ("POST", "/", "GET"),
        ("OPTIONS", "/v1/chat/completions", "POST"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(gateway: Gateway, method: str, path: str, allowed: str) -> None:
    reply = request(gateway, method, path)
    assert (reply.status_code, reply.headers["allow"]) == (405, allowed)
    error = reply.json()["error"]
    assert error["code"] == "method_not_allowed"
    assert f"{method} is not possible at {path}; use {allowed}." in error["message"]
    assert reply.headers["x-request-id"] in error["message"]


@pytest.mark.parametrize("path", ["/health", "/healthz", "/livez", "/v1/health", "/health/"])
def test_probes_find_it_alive(gateway: Gateway, path: str) -> None:
    assert httpx.get(gateway.base_url + path).json() == {"status": "ok"}
    head = httpx.head(gateway.base_url + path)
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/openai/v1/"])
def test_the_root_says_what_this_is(gateway: Gateway, path: str) -> None:
    told = httpx.get(gateway.base_url + path).json()
    assert (told["service"], told["api"], told["status"]) == ("dragoman", "/v1", "ok")
    assert "POST /v1/chat/completions" in told["addresses"]


def test_an_unknown_websocket_is_closed(gateway: Gateway) -> None:
    address = httpx.URL(gateway.base_url)
    with socket.create_connection((address.host, address.port or 0), timeout=5) as connection:
        connection.sendall(
            b"GET /v1/realtime HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
        )
        reply = connection.recv(65536)
    assert reply.startswith(b"HTTP/1.1 404 ")
    assert b"unknown_url" in reply


# --- what a row needs

FILE = """
version: 1
auth: {mode: MODE, admin: env:ADMIN}
keys: [{name: app, key: env:APP}]
"""


async def _secret(exchange: Exchange, house: House) -> None:
    await exchange.respond(200, jsonio.dumps({"for": exchange.caller.name if exchange.caller else None}))


async def _named(exchange: Exchange, house: House) -> None:
    path = exchange.scope["path"]
    await exchange.respond(
        200, jsonio.dumps([exchange.scope["path_params"]["name"], path.rpartition(":")[2]])
    )


ROWS = (
    Row("GET", "/nothing", _secret, needs="nothing"),
    Row("GET", "/key", _secret),
    Row("DELETE", "/key", _secret),
    Row("GET", "/admin", _secret, needs="admin"),
    Row("GET", "/query", _secret, key_in_query=True),
    Row("POST", "/things/{name:path}:run", _named, needs="nothing", prefixes=("/v2beta", "/v1")),
    Row("POST", "/things/{name:path}:stop", _named, needs="nothing", prefixes=("/v2beta", "/v1")),
    Row("GET", "/things", _secret, needs="nothing", prefixes=("/v2beta",)),
)


@pytest.fixture(params=["keys"])
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    path = tmp_path / "providers.yaml"
    state = f'server: {{state: "sqlite:{tmp_path}/state.db"}}\n'
    path.write_text(FILE.replace("MODE", request.param) + state)
    loaded = configuration.load(path, {**os.environ, "ADMIN": "sk-admin", "APP": "sk-app"})
    assert loaded.config is not None, loaded.problems
    application = app.create(loaded.config, loaded.off, rows=ROWS)
    await application.open()
    transport = httpx.ASGITransport(app=application)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as opened:
        yield opened
    await application.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "key", "status", "caller"),
    [
        ("/nothing", None, 200, None),
        ("/nothing", "sk-wrong", 200, None),
        ("/key", None, 401, None),
        ("/key", "sk-wrong", 401, None),
        ("/key", "sk-app", 200, "app"),
        ("/key", "sk-admin", 200, "admin"),
        ("/admin", None, 401, None),
        ("/admin", "sk-wrong", 401, None),
        ("/admin", "sk-app", 403, None),
        ("/v1/admin", "sk-app", 403, None),
        ("/admin", "sk-admin", 200, "admin"),
    ],
)
async def test_a_row_says_which_key_it_needs(
    client: httpx.AsyncClient, path: str, key: str | None, status: int, caller: str | None
) -> None:
    headers = {"x-api-key": key} if key else {}
    reply = await client.get(path, headers=headers)
    assert reply.status_code == status
    if status == 200:
        assert reply.json() == {"for": caller}
    else:
        assert reply.headers["x-request-id"] in reply.json()["error"]["message"]


@pytest.mark.anyio
@pytest.mark.parametrize("client", ["open"], indirect=True)
@pytest.mark.parametrize(("key", "status"), [(None, 403), ("sk-app", 403), ("sk-admin", 200)])
async def test_where_nobody_is_asked_for_a_key_the_admin_still_is(
    client: httpx.AsyncClient, key: str | None, status: int
) -> None:
    reply = await client.get("/admin", headers={"x-api-key": key} if key else {})
    assert reply.status_code == status
    assert (await client.get("/key")).json() == {"for": "open"}


@pytest.mark.anyio
async def test_two_rows_of_one_path_share_their_405(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/key")
    assert (reply.status_code, reply.headers["allow"]) == (405, "DELETE, GET")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/v2beta/things/a:run", ["a", "run"]),
        ("/v1/things/a:stop", ["a", "stop"]),
        ("/v2beta/things/a%3Arun", ["a", "run"]),
        ("/v2beta/things/house/a:run", ["house/a", "run"]),
        ("/v2beta/things/a:b:run", ["a:b", "run"]),
        ("//v2beta/things/a:run", ["a", "run"]),
        ("/v1/v2beta/things/a:run/", ["a", "run/"]),
    ],
)
async def test_a_verb_stands_behind_the_last_colon(
    client: httpx.AsyncClient, path: str, found: list[str]
) -> None:
    """N-002"""
    reply = await client.post(httpx.URL("http://127.0.0.1").copy_with(raw_path=path.encode()))
    assert (reply.status_code, reply.json()) == (200, found)


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/things/a:run", "/openai/v1/other:run", "/v2beta/things/:run"])
async def test_a_row_is_found_below_its_own_prefixes_alone(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.post(path)).status_code == 404


@pytest.mark.anyio
async def test_of_several_prefixes_the_last_says_which_row_is_meant(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/v2beta/things/")).status_code == 200
    assert (await client.get("/v2beta/v1/things")).status_code == 404


@pytest.mark.anyio
async def test_a_key_in_the_address_opens_only_the_rows_that_say_so(client: httpx.AsyncClient) -> None:
    """X-003"""
    assert (await client.get("/query?key=sk-app")).json() == {"for": "app"}
    assert (await client.get("/query?key=sk-wrong")).status_code == 401
    assert (await client.get("/query?key=sk-app", headers={"x-api-key": "sk-app"})).status_code == 200
    assert (await client.get("/query?key=sk-app", headers={"x-api-key": "sk-admin"})).status_code == 400
    assert (await client.get("/key?key=sk-app")).status_code == 401
