"""`dragoman check --online`: what can be asked of vendors for nothing, and what the answers come to."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.command.online import ask
from proxy.config.command import check
from proxy.simulators.server import Running, start
from tests.vendor_socket import vendor

FILE = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
providers:
  google: {wire: gemini, base_url: "SIMULATORS/gemini/v1beta", keys: [env:VENDOR_KEY], private: true}
  lan: {wire: openai, base_url: "SIMULATORS/openai/v1", keys: [env:VENDOR_KEY], private: true}
models:
  flash: {targets: [google/gemini-3-flash-preview], fallback: [lan/MODEL]}
"""


@pytest.fixture(scope="module")
def vendors() -> Iterator[Running]:
    with start() as running:
        yield running


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-app-0123456789")
    monkeypatch.setenv("VENDOR_KEY", "sk-vendor-0123456789")


def asked(folder: Path, text: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and what was found of each provider."""
    (folder / "providers.yaml").write_text(text)
    out = io.StringIO()
    code = check(folder / "providers.yaml", as_json=True, ask=ask, out=out, err=io.StringIO())
    return code, {one["provider"]: one for one in json.loads(out.getvalue())["online"]}


def shown(folder: Path, text: str) -> str:
    (folder / "providers.yaml").write_text(text)
    out = io.StringIO()
    check(folder / "providers.yaml", ask=ask, out=out, err=io.StringIO())
    return out.getvalue()


def answers(status: str, body: bytes, seen: list[bytes] | None = None) -> Callable[[socket.socket], None]:
    """A vendor that says the same to every request."""

    def serve(connection: socket.socket) -> None:
        while True:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    return
                head += piece
            if seen is not None:
                seen.append(head)
            kind = b"content-type: application/json\r\ncontent-length: %d" % len(body)
            connection.sendall(b"HTTP/1.1 %b\r\n%b\r\n\r\n%b" % (status.encode(), kind, body))

    return serve


def lan(address: str, model: str = "tiny") -> str:
    return f"""
version: 1
keys: [{{name: app, key: env:TEST_KEY}}]
providers:
  lan: {{wire: openai, base_url: "{address}/v1", keys: [env:VENDOR_KEY, env:TEST_KEY], private: true}}
models:
  m: {{targets: [lan/{model}]}}
"""


def test_all_is_well(vendors: Running, tmp_path: Path) -> None:
    vendors.log.reset()
    code, found = asked(tmp_path, FILE.replace("SIMULATORS", vendors.base_url).replace("MODEL", "sim-chat"))
    assert code == 0
    for name in ("google", "lan"):
        assert found[name]["ok"] is True
        assert (found[name]["keys_accepted"], found[name]["models_missing"]) == (1, [])
    assert {exchange.method for exchange in vendors.log.exchanges()} == {"GET"}  # nothing was bought


def test_a_model_that_the_vendor_does_not_list_is_named(vendors: Running, tmp_path: Path) -> None:
    code, found = asked(tmp_path, FILE.replace("SIMULATORS", vendors.base_url).replace("MODEL", "gone-1"))
    assert code == 3
    assert found["lan"]["models_missing"] == ["gone-1"]
    assert found["google"]["ok"] is True


def test_an_address_where_nothing_listens_says_why(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    code, found = asked(tmp_path, lan(address))
    assert code == 3
    assert found["lan"]["latency_ms"] is None
    assert "refused the connection" in found["lan"]["problem"]
    assert "no: " in shown(tmp_path, lan(address))


def test_every_key_is_tried_and_none_is_shown(tmp_path: Path) -> None:
    refusal = json.dumps({"error": {"message": "Wrong key sk-vendor-0123456789.", "code": "invalid_api_key"}})
    seen: list[bytes] = []
    with vendor(answers("401 Unauthorized", refusal.encode(), seen)) as address:
        code, found = asked(tmp_path, lan(address))
        text = shown(tmp_path, lan(address))
    assert code == 3
    assert (found["lan"]["keys_accepted"], len(found["lan"]["keys_refused"])) == (0, 2)
    assert found["lan"]["models_missing"] is None
    assert "sk-vendor" not in text + json.dumps(found)
    assert [b"authorization" in head.lower() for head in seen[:3]] == [False, True, True]


def test_a_server_without_a_list_answers_and_tells_nothing(tmp_path: Path) -> None:
    with vendor(answers("404 Not Found", b"{}")) as address:
        code, found = asked(tmp_path, lan(address))
    assert code == 0
    assert found["lan"]["keys_accepted"] is None
    assert found["lan"]["models_missing"] is None
    assert found["lan"]["note"] == "no list at /models: is the path of base_url right?"


def test_a_web_page_in_place_of_a_list_is_named(tmp_path: Path) -> None:
    page = b"<!doctype html><html><head><title>Open WebUI</title></head></html>"
    with vendor(answers("200 OK", page)) as address:
        code, found = asked(tmp_path, lan(address))
        text = shown(tmp_path, lan(address))
    said = "a web page at /models (Open WebUI): is the path of base_url right?"
    assert (code, found["lan"]["note"]) == (0, said)
    assert said in text


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": [{"id": "tiny"}]}',
        b'[{"id": "tiny"}]',
        b'{"models": [{"name": "models/tiny"}]}',
        b'{"data": ["tiny", 5, null, {"id": 7}]}',
    ],
)
def test_lists_in_the_shapes_that_servers_give(tmp_path: Path, body: bytes) -> None:
    with vendor(answers("200 OK", body)) as address:
        assert asked(tmp_path, lan(address))[1]["lan"]["models_missing"] == []


@pytest.mark.parametrize("body", [b"<html>", b"5", b"[]", b'{"data": 5}', b""])
def test_a_list_that_is_none_is_not_held_against_the_models(tmp_path: Path, body: bytes) -> None:
    with vendor(answers("200 OK", body)) as address:
        code, found = asked(tmp_path, lan(address))
    assert code == 0
    assert found["lan"]["models_missing"] is None


def test_a_vendor_of_pictures_is_only_greeted(vendors: Running, tmp_path: Path) -> None:
    vendors.log.reset()
    text = f"""
version: 1
keys: [{{name: app, key: env:TEST_KEY}}]
providers:
  evolink: {{profile: evolink, base_url: "{vendors.url("evolink")}", keys: [env:VENDOR_KEY], private: true}}
models:
  m: {{targets: [evolink/gemini-3-pro-image-preview], price: unpriced}}
"""
    code, found = asked(tmp_path, text)
    assert code == 0
    assert found["evolink"]["latency_ms"] is not None
    assert found["evolink"]["keys_accepted"] is None
    assert {exchange.method for exchange in vendors.log.exchanges()} <= {"GET"}


def test_a_file_with_errors_asks_nobody(tmp_path: Path) -> None:
    (tmp_path / "providers.yaml").write_text("version: 1\nmodels: {m: {targets: [nobody/x]}}\n")
    out = io.StringIO()
    assert check(tmp_path / "providers.yaml", as_json=True, ask=ask, out=out, err=io.StringIO()) == 1
    assert json.loads(out.getvalue())["online"] == []
