"""How a provider's keys travel: the header, the query parameter or the token that the file asks for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest

from proxy import config as configuration
from proxy.errors import UpstreamError
from proxy.routing.providers import opened
from proxy.types import Call
from proxy.upstream import Account, Deadlines, Static, Upstream
from tests.gateway import KEY, open_gateway
from tests.hostile import OK, answering, serving
from tests.raw_http import chat
from tests.served import run
from tests.served import serving as served_by
from tests.token_server import TokenServer, account_file
from tests.vendor_socket import read_request, vendor

QUERY_KEY = "quiet canary/9+1=c7"  # looks like nothing, and is written in three ways inside an address
SPELLINGS = {QUERY_KEY, quote(QUERY_KEY), quote(QUERY_KEY, safe=""), quote_plus(QUERY_KEY)}
PATIENT = Deadlines(connect_s=5, first_byte_s=10, idle_s=10, total_s=20)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def account(folder: Path, provider: str, environment: dict[str, str] | None = None) -> Account:
    """The first account of the provider `p`, written as in the file."""
    file = folder / "providers.yaml"
    file.write_text(f"version: 1\nproviders:\n  p: {{{provider}}}\n")
    loaded = configuration.load(file, {"A": "key-a-canary", **(environment or {})})
    assert loaded.config is not None, loaded.problems
    return opened(loaded.config, loaded.off, None)["p"].keys.accounts[0]


WAYS: list[tuple[str, dict[str, str], str]] = [
    ("wire: gemini", {"x-goog-api-key": "key-a-canary"}, ""),
    ("wire: openai", {"authorization": "Bearer key-a-canary"}, ""),
    ("wire: openai, auth: {header: X-Key}", {"x-key": "key-a-canary"}, ""),
    ("wire: gemini, auth: {header: X-Key, prefix: 'Token '}", {"x-key": "Token key-a-canary"}, ""),
    ("wire: gemini, auth: {query: key}", {}, "key=key-a-canary"),
    ("profile: bfl", {"x-key": "key-a-canary"}, ""),
    ("profile: fal, auth: {query: api_key}", {}, "api_key=key-a-canary"),
    ("wire: gemini, auth: {query: k}, headers: {X-T: env:A}", {"x-t": "key-a-canary"}, "k=key-a-canary"),
]


@pytest.mark.parametrize(("way", "headers", "query"), WAYS, ids=[way for way, *_ in WAYS])
def test_the_files_word_comes_before_the_dialects(
    way: str, headers: dict[str, str], query: str, tmp_path: Path
) -> None:
    made = account(tmp_path, f"{way}, base_url: 'https://api.example/v1', keys: [env:A]")
    assert (dict(made.auth.headers), made.auth.query) == (headers, query)
    assert set(made.secrets) == {"key-a-canary"}
    assert "canary" not in f"{made!r} {made.auth!r} {made.auth.shown}"


def test_a_profile_can_say_that_its_key_travels_in_the_query(tmp_path: Path) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text(
        "version: 1\n"
        "providers: {p: {profile: old, base_url: https://api.example, keys: [env:A]}}\n"
        "profiles:\n"
        "  old:\n"
        "    auth: {query: api_key}\n"
        "    surfaces: {image: {submit: {request: POST /draw}, result: {images: urls}}}\n"
    )
    loaded = configuration.load(file, {"A": "key-a-canary"})
    assert loaded.config is not None, loaded.problems
    made = opened(loaded.config, loaded.off, None)["p"].keys.accounts[0]
    assert (made.auth.headers, made.auth.query) == ((), "api_key=key-a-canary")


ADDRESSES = [
    ("/v1/m:generateContent", None, "/v1/m:generateContent?key=k%26y-canary"),
    ("/v1/m:stream?alt=sse", None, "/v1/m:stream?alt=sse&key=k%26y-canary"),
    ("", "/job?sig=a%2Fb%3D+c&x", "/job?sig=a%2Fb%3D+c&x&key=k%26y-canary"),
    ("", "/job?key=theirs#end", "/job?key=theirs&key=k%26y-canary"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("path", "url", "sent"), ADDRESSES)
async def test_a_key_in_the_query_is_added_and_leaves_the_rest_as_it_is(
    path: str, url: str | None, sent: str
) -> None:
    upstream = Upstream()
    async with serving(answering(OK)) as server:
        place = Account("acme", server.url, Static(parameters=(("key", "k&y-canary"),)), private=True)
        call = Call(path, {}, url=None if url is None else server.url + url)
        reply = await upstream.send(call, place, PATIENT)
        await reply.close()
        await upstream.close()
    assert server.requests[0].head.startswith(f"POST {sent} HTTP/1.1\r\n".encode())


async def read(upstream: Upstream, place: Account) -> bytes:
    reply = await upstream.send(Call("/m", {}), place, Deadlines(first_byte_s=0.2))
    return await reply.read(1 << 20)


BREAKING: dict[str, Any] = {
    "moved": answering(b"HTTP/1.1 302 X\r\nlocation: /k%26y-canary\r\ncontent-length: 0\r\n\r\n"),
    "broken": answering(b"HTTP/1.1 two hundred\r\n\r\n"),
    "cut": answering(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", then="close"),
    "closed": answering(then="close"),
    "silent": answering(then="stall"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("kind", BREAKING)
async def test_no_fault_of_the_line_tells_the_address_with_the_key(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    upstream = Upstream()
    async with serving(BREAKING[kind]) as server:
        place = Account("acme", server.url, Static(parameters=(("key", "k&y-canary"),)), private=True)
        with pytest.raises(UpstreamError) as caught:
            await read(upstream, place)
        await upstream.close()
    told = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value)) + caplog.text
    assert "'acme'" in told
    assert "canary" not in told


def test_an_address_that_is_none_is_refused_without_the_key() -> None:
    async def fail() -> str:
        upstream = Upstream()
        place = Account("acme", "http://[", Static(parameters=(("key", "k&y-canary"),)), private=True)
        with pytest.raises((UpstreamError, ValueError)) as caught:
            await upstream.send(Call("/m", {}), place, PATIENT)
        await upstream.close()
        return "".join(traceback.format_exception(caught.value))

    assert "canary" not in asyncio.run(fail())


# --- the whole program ---------------------------------------------------------------------------

FILE = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
defaults: {timeouts: {idle: 1s, first_byte: 2s}}
providers:
  old: {wire: gemini, base_url: "URL/v1beta", keys: [env:OLD_KEY], auth: {query: key}}
  shut: {wire: openai, base_url: "http://127.0.0.1:1/v1", keys: [env:OLD_KEY], auth: {query: key}}
models:
  old: {targets: [old/gemini-2.5-flash]}
  shut: {targets: [shut/x]}
"""
ENVIRONMENT = {"TEST_KEY": KEY, "OLD_KEY": QUERY_KEY}


def repeating(status: int) -> Callable[[socket.socket], None]:
    """A vendor whose refusal repeats the first line of the request, and the key as its reader decoded it."""

    def serve(connection: socket.socket) -> None:
        line = read_request(connection).split(b"\r\n")[0].decode()
        error = {"code": status, "message": f"{line} ({QUERY_KEY})", "status": QUERY_KEY}
        body = json.dumps({"error": error}).encode()
        connection.sendall(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))

    return serve


def cutting(connection: socket.socket) -> None:
    read_request(connection)
    with contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{")


@pytest.mark.parametrize(
    "serve", [repeating(400), repeating(401), repeating(500), cutting], ids=["400", "401", "500", "cut"]
)
def test_a_key_in_the_query_is_in_no_reply_log_or_plan(
    serve: Callable[[socket.socket], None], tmp_path: Path
) -> None:
    received: list[str] = []

    def remembering(connection: socket.socket) -> None:
        peeked = connection.recv(65536, socket.MSG_PEEK)
        received.append(peeked.split(b" ")[1].decode())
        serve(connection)

    heard = ""
    with vendor(remembering) as url:
        file = FILE.replace("URL", url)
        with served_by(tmp_path, file, environment=ENVIRONMENT) as served:
            for model in ("old", "shut"):
                for stream in (False, True):
                    reply = httpx.post(
                        f"{served.base_url}/v1/chat/completions",
                        json=chat("Hi", model, stream=stream),
                        headers={"authorization": f"Bearer {KEY}"},
                        timeout=20,
                    )
                    heard += reply.text + str(reply.headers.raw)
            served.until_logged('"event":"request"', "shut")
            assert served.stop() == 0
            heard += served.out.read_text() + served.err.read_text()
        code, out, err = run("explain", "old", cwd=tmp_path, environment=ENVIRONMENT)
    assert code == 0
    assert f"POST {url}/v1beta/models/gemini-2.5-flash:generateContent?key=***\n" in out
    assert f"/v1beta/models/gemini-2.5-flash:generateContent?key={quote_plus(QUERY_KEY)}" in received
    heard += out + err
    assert not [spelling for spelling in SPELLINGS if spelling in heard]


VERTEX = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
providers:
  vertex:
    wire: gemini
    base_url: "URL/v1/projects/my-project/locations/global/publishers/google"
    keys: [file:wrong.json, file:right.json]
    auth: {grant: service_account}
    options: {kind: vertex}
    private: true
  express:
    wire: gemini
    base_url: "URL/v1/publishers/google"
    keys: [env:EXPRESS_KEY]
    options: {kind: vertex}
    private: true
models:
  flash: {targets: [vertex/gemini-2.5-flash]}
  express: {targets: [express/gemini-2.5-flash]}
"""
GEMINI = {
    "candidates": [
        {"content": {"role": "model", "parts": [{"text": "Hello."}]}, "finishReason": "STOP", "index": 0}
    ],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
}


@pytest.mark.anyio
async def test_vertex_takes_a_bearer_token_and_its_express_mode_a_key(tmp_path: Path) -> None:
    """G-209. A service account that is refused rests like any key, and the next one of the pool is used."""
    pytest.importorskip("cryptography", reason="service accounts need cryptography")
    server = TokenServer(reply=(200, GEMINI))
    async with serving(server) as listening:
        server.server = listening
        (tmp_path / "wrong.json").write_text(account_file(f"{listening.url}/token", private_key_id="gone"))
        (tmp_path / "right.json").write_text(account_file(f"{listening.url}/token"))
        file = VERTEX.replace("URL", listening.url)
        with open_gateway(tmp_path, file, {"EXPRESS_KEY": "express-key-canary"}) as gateway:
            async with httpx.AsyncClient(timeout=20, headers={"authorization": f"Bearer {KEY}"}) as client:
                path = f"{gateway.base_url}/v1/chat/completions"
                for _ in range(3):
                    reply = await client.post(path, json=chat("Hi", "flash"))
                    assert reply.json()["choices"][0]["message"]["content"] == "Hello."
                assert server.asked == 2
                assert server.used == ["Bearer token-1-canary"] * 3
                server.reply = (400, {"error": {"code": 400, "message": "no: TOKEN"}})
                reply = await client.post(path, json=chat("Hi", "flash"))
                assert reply.json()["error"]["message"].startswith("no: *** (")
                await client.post(path, json=chat("Hi", "express"))
    vertex = next(request for request in listening.requests if b"my-project" in request.head)
    assert vertex.head.startswith(
        b"POST /v1/projects/my-project/locations/global/publishers/google/models/"
        b"gemini-2.5-flash:generateContent HTTP/1.1\r\n"
    )
    assert "x-goog-api-key" not in vertex.headers
    express = listening.requests[-1]
    assert express.head.startswith(b"POST /v1/publishers/google/models/gemini-2.5-flash:generateContent ")
    assert express.headers["x-goog-api-key"] == "express-key-canary"
    assert "authorization" not in express.headers


def test_without_the_package_a_provider_with_service_accounts_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    file = tmp_path / "providers.yaml"
    file.write_text(
        "version: 1\n"
        "providers:\n"
        "  v: {wire: gemini, base_url: https://x.example/v1, keys: [env:A], auth: {grant: service_account}}\n"
    )
    text = json.dumps(
        {"client_email": "a@b", "private_key": "-----BEGIN X", "token_uri": "https://oauth2.example/token"}
    )
    loaded = configuration.load(file, {"A": text})
    reason = "the package cryptography is missing: pip install 'dragoman[vertex]'"
    assert loaded.config is not None
    assert loaded.off == {"v": reason}
    assert [problem.message for problem in loaded.problems] == [f'provider "v" is off: {reason}']


UNFIT = [
    ("not json", "is not the JSON file of a service account"),
    ("[" * 200_000, "is not the JSON file of a service account"),
    ("[]", "is not the JSON file of a service account"),
    ({"type": "authorized_user"}, "is not the JSON file of a service account"),
    ({"client_email": ""}, 'is the JSON file of a service account without "client_email"'),
    ({"private_key": None}, 'is the JSON file of a service account without "private_key"'),
    ({"private_key": "secret words"}, "has a private_key that is not PEM"),
    ({"token_uri": "http://tokens.example/token"}, "has a token_uri that is not an https address"),
    ({"token_uri": "https:///token"}, "has a token_uri that is not an https address"),
    ({"token_uri": "https://[/token"}, "has a token_uri that is not an https address"),
]


@pytest.mark.parametrize(("key", "words"), UNFIT, ids=[words for _, words in UNFIT])
def test_a_key_that_is_no_service_account_is_told_without_it(key: Any, words: str, tmp_path: Path) -> None:
    whole = {
        "type": "service_account",
        "client_email": "a@b",
        "private_key": "-----BEGIN PRIVATE KEY-----",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    (tmp_path / "key.json").write_text(key if isinstance(key, str) else json.dumps(whole | key))
    (tmp_path / "providers.yaml").write_text(
        "version: 1\n"
        "providers:\n"
        "  v:\n"
        "    wire: gemini\n"
        "    base_url: https://x.example\n"
        "    keys: [file:key.json]\n"
        "    auth: {grant: service_account}\n"
    )
    loaded = configuration.load(tmp_path / "providers.yaml", {})
    found = [one for one in loaded.problems if one.severity == "error"]
    assert [(one.code, one.line, one.column, one.message) for one in found] == [
        ("E103", 6, 12, f"providers.v.keys[0] {words}")
    ]
    assert "secret words" not in "".join(one.render() for one in loaded.problems)
