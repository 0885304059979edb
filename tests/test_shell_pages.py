"""What web pages may do: nothing unless `server.cors` says so, and never order where no key is asked."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.simulators.server import start
from tests.gateway import FILE, KEY, Gateway, open_gateway
from tests.served import Served, serving, waited

APP = "http://app.example"
BODY = b'{"model": "gemini-flash", "messages": [{"role": "user", "content": "Hi"}]}'
PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-retry-count",
}


def with_settings(settings: str) -> str:
    return FILE.replace("version: 1\n", f"version: 1\n{settings}\n", 1)


@contextmanager
def opened(folder: Path, cors: str, mode: str = "keys") -> Iterator[Gateway]:
    server = f'server: {{state: "sqlite:{folder}/state/dragoman.db", cors: {cors}}}\n'
    with open_gateway(folder, with_settings(f"{server}auth: {{mode: {mode}}}")) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with opened(tmp_path_factory.mktemp("cors"), f'{{origins: ["{APP}/", "tauri://localhost"]}}') as gateway:
        yield gateway


@pytest.fixture(scope="module")
def nobody_asks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Open to all who can reach it, and to the pages of one origin."""
    with opened(tmp_path_factory.mktemp("open"), f'{{origins: ["{APP}"]}}', "open") as gateway:
        yield gateway


def preflight(gateway: Gateway, origin: str, **headers: str) -> httpx.Response:
    return httpx.options(
        f"{gateway.base_url}/v1/chat/completions", headers={**PREFLIGHT, **headers, "origin": origin}
    )


def chat(gateway: Gateway, **headers: str | None) -> httpx.Response:
    named = {"authorization": f"Bearer {KEY}", "content_type": "application/json", **headers}
    sent = {name.replace("_", "-"): value for name, value in named.items() if value is not None}
    return httpx.post(f"{gateway.base_url}/v1/chat/completions", content=BODY, headers=sent, timeout=20)


# --- server.cors


@pytest.mark.parametrize("origin", [APP, "tauri://localhost"])
def test_a_named_page_may_ask_and_read(asked: Gateway, origin: str) -> None:
    allowed = preflight(asked, origin)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == origin
    assert allowed.headers["access-control-allow-methods"] == "GET, POST, DELETE"
    assert allowed.headers["access-control-allow-headers"] == PREFLIGHT["access-control-request-headers"]
    reply = chat(asked, origin=origin)
    assert reply.status_code == 200
    assert reply.headers["access-control-allow-origin"] == origin
    assert reply.headers["access-control-expose-headers"] == "x-request-id, *"
    assert reply.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "origin", ["http://other.example", "http://app.example:81", "https://app.example", "null"]
)
def test_any_other_page_may_not(asked: Gateway, origin: str) -> None:
    refused = preflight(asked, origin)
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    assert "access-control-allow-origin" not in chat(asked, origin=origin).headers


def test_a_page_can_read_an_error_and_a_stream(asked: Gateway) -> None:
    for headers in ({"authorization": "Bearer wrong"}, {}):
        assert chat(asked, origin=APP, **headers).headers["access-control-allow-origin"] == APP
    wrong = httpx.get(f"{asked.base_url}/v1/nothing", headers={"origin": APP})
    assert (wrong.status_code, wrong.headers["access-control-allow-origin"]) == (404, APP)
    body = BODY[:-1] + b', "stream": true}'
    headers = {"authorization": f"Bearer {KEY}", "origin": APP}
    streamed = httpx.post(f"{asked.base_url}/v1/chat/completions", content=body, headers=headers)
    assert streamed.headers["access-control-allow-origin"] == APP
    assert streamed.text.endswith("data: [DONE]\n\n")


def test_the_headers_of_a_page_can_be_limited(tmp_path: Path) -> None:
    with opened(tmp_path, '{origins: ["*"], headers: [authorization, content-type]}') as gateway:
        assert preflight(gateway, "http://any.example").status_code == 400
        few = {"access-control-request-headers": "authorization,content-type"}
        allowed = preflight(gateway, "http://any.example", **few)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "*")


def test_by_default_nothing_is_said_to_pages(gateway: Gateway) -> None:
    assert preflight(gateway, APP).status_code == 405
    reply = chat(gateway, origin=APP)
    assert reply.status_code == 200
    assert [name for name in reply.headers if name.startswith("access-control")] == []


def test_a_reload_adds_and_removes_the_pages(tmp_path: Path) -> None:
    with start() as vendors:
        file = FILE.replace("http://SIMULATORS", vendors.base_url)
        named = file.replace("version: 1\n", f'version: 1\nserver: {{cors: {{origins: ["{APP}"]}}}}\n', 1)
        environment = {"TEST_KEY": KEY, "TEST_NARROW_KEY": "sk-narrow", "VENDOR_KEY": "vendor-key"}
        with serving(tmp_path, file, environment=environment) as served:
            assert _told(served) is None
            served.file.write_text(named)
            waited(lambda: _told(served) == APP)
            served.file.write_text(file)
            waited(lambda: _told(served) is None)


def _told(served: Served) -> str | None:
    return httpx.get(f"{served.base_url}/v1/models", headers={"origin": APP}).headers.get(
        "access-control-allow-origin"
    )


# --- where nobody is asked for a key

SIMPLE = "text/plain"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        pytest.param({}, 200, None, id="a program"),
        pytest.param({"content_type": "application/json; charset=utf-8"}, 200, None, id="with a charset"),
        pytest.param({"content_type": "application/vnd.x+json"}, 200, None, id="a kind of JSON"),
        pytest.param({"content_type": None}, 200, None, id="a program that names no type"),
        pytest.param({"origin": APP}, 200, None, id="a named page"),
        pytest.param({"content_type": SIMPLE}, 415, "unsupported_content_type", id="text"),
        pytest.param(
            {"content_type": "application/x-www-form-urlencoded"},
            415,
            "unsupported_content_type",
            id="a form",
        ),
        pytest.param(
            {"origin": APP, "content_type": None}, 415, "unsupported_content_type", id="a page's blob"
        ),
        pytest.param({"origin": "http://evil.example"}, 403, "origin_not_allowed", id="a page elsewhere"),
        pytest.param({"origin": "null"}, 403, "origin_not_allowed", id="a page in a sandbox"),
        pytest.param(
            {"origin": "http://localhost:3000"}, 403, "origin_not_allowed", id="a page of a neighbour"
        ),
        pytest.param(
            {"origin": "http://evil.example", "content_type": SIMPLE}, 403, "origin_not_allowed", id="unasked"
        ),
        pytest.param(
            {"origin": "http://evil.example", "host": "evil.example"},
            403,
            "origin_not_allowed",
            id="a name that leads here",
        ),
        pytest.param({"sec_fetch_site": "cross-site"}, 403, "origin_not_allowed", id="without its origin"),
        pytest.param({"sec_fetch_site": "none"}, 200, None, id="an extension"),
    ],
)
def test_a_page_elsewhere_orders_nothing(
    nobody_asks: Gateway, headers: dict[str, str | None], status: int, code: str | None
) -> None:
    sent = len(nobody_asks.sent())
    reply = chat(nobody_asks, authorization=None, **headers)
    assert reply.status_code == status, reply.text
    assert len(nobody_asks.sent()) - sent == (status == 200)
    if status != 200:
        assert reply.json()["error"]["code"] == code


def test_a_page_of_ours_may_order(nobody_asks: Gateway) -> None:
    assert chat(nobody_asks, authorization=None, origin=nobody_asks.base_url).status_code == 200


def test_a_page_elsewhere_is_refused_before_its_body_is_read(nobody_asks: Gateway) -> None:
    headers: Any = {
        "origin": "http://evil.example",
        "content-type": "multipart/form-data; boundary=XX",
        "content-length": str(1 << 20),
        "expect": "100-continue",
    }
    address = httpx.URL(nobody_asks.base_url)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((address.host, address.port or 0), timeout=5) as connection:
        connection.sendall(f"POST /v1/images/edits HTTP/1.1\r\nhost: x\r\n{head}\r\n".encode())
        reply = b""
        while piece := connection.recv(65536):
            reply += piece
    assert reply.startswith(b"HTTP/1.1 403 ")
    assert b"origin_not_allowed" in reply


def test_a_page_elsewhere_cannot_read_the_models(nobody_asks: Gateway) -> None:
    models = f"{nobody_asks.base_url}/v1/models"
    assert httpx.get(models, headers={"origin": "http://evil.example"}).status_code == 403
    assert httpx.get(models).status_code == 200


def test_a_page_that_has_a_key_is_a_client(nobody_asks: Gateway, gateway: Gateway) -> None:
    """Also from where nobody named it: what a page cannot have is the key."""
    assert chat(gateway, origin="http://evil.example").status_code == 200
    assert chat(nobody_asks, origin="http://evil.example").status_code == 200
    assert chat(gateway, origin="http://evil.example", content_type=SIMPLE).status_code == 200
