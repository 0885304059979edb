"""What hostile clients and vendors never got out of the server, kept so: no second request in one, no fault
of ours, no order twice, nothing left behind."""

from __future__ import annotations

import base64
import gc
import json
import os
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy import app
from tests.gateway import FILE, KEY, Gateway, open_gateway
from tests.long import LONG
from tests.raw_http import RawRequest, chat, form
from tests.served import waited
from tests.vendor_socket import read_request, vendor

HEADERS = {"authorization": f"Bearer {KEY}"}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("held")) as opened:
        yield opened


def told(gateway: Gateway, sent: bytes) -> bytes:
    """What the server says until it closes."""
    address = httpx.URL(gateway.base_url)
    said = b""
    with socket.create_connection((address.host, address.port or 0), timeout=10) as opened:
        opened.sendall(sent)
        try:
            while piece := opened.recv(65536):
                said += piece
        except ConnectionResetError:
            pass
    return said


# --- one request is one

BODY = json.dumps(chat("Hi")).encode()
SECOND = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n\r\n" % KEY.encode()
LENGTH = b"content-length: %d\r\n" % len(BODY)
CODED = b"transfer-encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        pytest.param(LENGTH + CODED, BODY, id="length, then chunks"),
        pytest.param(CODED + LENGTH, b"0\r\n\r\n", id="chunks, then length"),
        pytest.param(LENGTH + b"content-length: 5\r\n", BODY, id="two lengths"),
        pytest.param(b"content-length: 5, 5\r\n", b"{}   ", id="a list of lengths"),
        pytest.param(b"content-length: +5\r\n", b"{}   ", id="a sign"),
        pytest.param(b"content-length: -1\r\n", b"{}", id="less than none"),
        pytest.param(b"content-length: 0x5\r\n", b"{}   ", id="hexadecimal"),
        pytest.param(b"content-length: %d\r\n" % 2**70, b"{}", id="more than there is"),
        pytest.param(b"x: a\r\n b: c\r\n" + LENGTH, BODY, id="a folded line"),
        pytest.param(b"content-length : 2\r\n", b"{}", id="a space before the colon"),
        pytest.param(b"x: a\rcontent-length: 2\r\n", b"{}", id="a bare CR"),
        pytest.param(CODED, b"zz\r\n{}\r\n0\r\n\r\n", id="a chunk without size"),
        pytest.param(CODED, b"-2\r\n{}\r\n0\r\n\r\n", id="a chunk below none"),
        pytest.param(CODED, b"2\r\n{}xx0\r\n\r\n", id="a chunk that goes on"),
        pytest.param(CODED, b"f" * 20 + b"\r\n{}\r\n0\r\n\r\n", id="a chunk without end"),
    ],
)
def test_no_second_request_hides_in_one(gateway: Gateway, lines: bytes, body: bytes) -> None:
    head = b"POST %b HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n" % (CHAT.encode(), KEY.encode())
    reply = told(gateway, head + lines + b"\r\n" + body + SECOND)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert reply.count(b"HTTP/1.1 ") == 1


# --- bodies that are none


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"a":' * 100_000, id="deep objects"),
        pytest.param(b'{"temperature": NaN}', id="NaN"),
        pytest.param(b'{"temperature": -Infinity}', id="infinity"),
        pytest.param(b'{"temperature": 1e400}', id="too large a number"),
        pytest.param(json.dumps(chat("Hi")).encode("utf-16"), id="UTF-16"),
        pytest.param(b"null", id="null"),
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"model": "gemini-flash"', id="cut"),
        pytest.param(b"{}{}", id="two"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/images/generations", "/v1/responses"])
def test_what_is_no_json_object_is_a_400_and_goes_nowhere(gateway: Gateway, path: str, body: bytes) -> None:
    before = len(gateway.sent())
    reply = gateway.http.post(gateway.base_url + path, content=body, headers=HEADERS)
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")
    assert len(gateway.sent()) == before


def test_who_has_no_key_is_told_before_its_body_comes(gateway: Gateway) -> None:
    with RawRequest(gateway, b"x" * 50_000_000, key="sk-wrong") as opened:
        opened.send(0)
        assert opened.until("invalid_api_key").startswith("HTTP/1.1 401 ")


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "COPY", "LOCK")


@pytest.mark.parametrize("method", METHODS)
def test_any_method_at_any_address_is_answered_without_a_fault(gateway: Gateway, method: str) -> None:
    paths = sorted(
        {row.path.replace("{model:path}", "m").replace("{", "").split(":path")[0] for row in app.ROWS}
    )
    found = {}
    for path in (path.replace("}", "") for path in paths):
        reply = gateway.http.request(method, f"{gateway.base_url}/v1{path}", headers=HEADERS)
        found[path] = reply.status_code
        if reply.status_code == 405:
            assert reply.headers["allow"], path
    assert {path: status for path, status in found.items() if status >= 500} == {}
    assert len(found) > 30


# --- forms


PICTURE, KIND = form(("model", b"nano-banana-pro", None), ("image", b"x", "../../../tmp/evil.png"))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param("multipart/form-data", PICTURE, id="no boundary"),
        pytest.param("multipart/form-data; boundary=", PICTURE, id="an empty boundary"),
        pytest.param("multipart/form-data; boundary=YY", PICTURE, id="another boundary"),
        pytest.param("multipart/form-data; boundary=" + "X" * 5000, PICTURE, id="a long boundary"),
        pytest.param(KIND["content-type"], PICTURE[:-20], id="cut"),
        pytest.param(KIND["content-type"], b"", id="nothing"),
        pytest.param(
            KIND["content-type"],
            form(*[(f"f{number}", b"x", None) for number in range(3000)])[0],
            id="thousands of fields",
        ),
        pytest.param(
            KIND["content-type"],
            form(*[("image", b"x", f"{number}.png") for number in range(1000)])[0],
            id="a thousand files",
        ),
        pytest.param(
            KIND["content-type"],
            PICTURE.replace(b"\r\n\r\n", b"\r\n" + b"a: b\r\n" * 9000 + b"\r\n"),
            id="heads",
        ),
        pytest.param(KIND["content-type"], PICTURE, id="a name that is a path"),
    ],
)
def test_what_is_no_form_of_a_picture_is_a_400(gateway: Gateway, kind: str, body: bytes) -> None:
    before = len(gateway.sent())
    reply = gateway.http.post(
        f"{gateway.base_url}/v1/images/edits", content=body, headers={**HEADERS, "content-type": kind}
    )
    assert reply.status_code == 400, reply.text
    assert not Path("/tmp/evil.png").exists()
    assert len(gateway.sent()) == before


# --- pictures


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *extra: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(extra)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


BOMB = zlib.compress(b"\0" * 50_000_000, 9)


@pytest.mark.parametrize(
    ("mime", "picture"),
    [
        pytest.param("image/png", png(50_000, 50_000), id="2,500 megapixels"),
        pytest.param("image/png", png(8, 8, chunk(b"zTXt", b"a\0\0" + BOMB)), id="a packed text"),
        pytest.param("image/png", png(8, 8, chunk(b"iCCP", b"a\0\0" + BOMB)), id="a packed profile"),
        pytest.param("image/gif", b"GIF89a\xff\xff\xff\xff\xf7\0\0" + b"\0" * 800, id="a large GIF"),
        pytest.param("image/tiff", b"II*\0\x08\0\0\0\0\0\x08\0\0\0", id="a TIFF that goes round"),
        pytest.param("image/tiff", b"II*\0\xff\xff\xff\xff", id="a TIFF that points nowhere"),
        pytest.param("image/bmp", b"BM" + b"\xff" * 52, id="a BMP that lies"),
        pytest.param("application/postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n{} loop\n", id="a program"),
    ],
)
def test_a_picture_that_is_a_trap_is_passed_on_or_a_400(gateway: Gateway, mime: str, picture: bytes) -> None:
    url = f"data:{mime};base64,{base64.b64encode(picture).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}]
    body = {"model": "gemini-flash", "messages": [{"role": "user", "content": content}]}
    reply = gateway.http.post(gateway.base_url + CHAT, json=body, headers=HEADERS)
    assert reply.status_code in (200, 400), reply.text
    if reply.status_code == 400:
        assert reply.json()["error"]["param"].startswith("messages[0]")


NOWHERE = [
    "http://127.0.0.1/x.png",
    "http://2130706433/x.png",
    "http://0x7f000001/x.png",
    "http://0177.0.0.1/x.png",
    "http://127.1/x.png",
    "http://127.0.0.1./x.png",
    "http://localhost/x.png",
    "http://\uff11\uff12\uff17.0.0.1/x.png",
    "http://0.0.0.0/x.png",
    "http://[::1]/x.png",
    "http://[::ffff:127.0.0.1]/x.png",
    "http://[64:ff9b::7f00:1]/x.png",
    "http://[2002:7f00:1::]/x.png",
    "http://[fe80::1%25lo]/x.png",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/x.png",
    "http://example.com@127.0.0.1/x.png",
    "http://127.0.0.1\\@example.com/x.png",
    "http://1.1.1.1:22/x.png",
    "file:///etc/passwd",
    "ftp://1.1.1.1/x.png",
    "gopher://127.0.0.1/x",
]


@pytest.mark.parametrize("address", NOWHERE)
def test_no_spelling_of_an_inner_address_is_fetched(gateway: Gateway, address: str) -> None:
    words = {"type": "input_text", "text": "Hi"}
    asked: dict[str, Any] = {
        CHAT: {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": address}}]},
            ]
        },
        "/v1/responses": {
            "input": [{"role": "user", "content": [words, {"type": "input_image", "image_url": address}]}]
        },
    }
    before = len(gateway.sent())
    for path, body in asked.items():
        reply = gateway.http.post(
            gateway.base_url + path, json={"model": "gemini-flash", **body}, headers=HEADERS
        )
        assert reply.status_code == 400, reply.text
        assert reply.json()["error"]["param"].endswith(("image_url", "image_url.url"))
    assert len(gateway.sent()) == before


# --- vendors

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
PART = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
MADE = {"candidates": [{"content": {"parts": [PART], "role": "model"}, "finishReason": "STOP"}]}
HELLO = {"candidates": [{"content": {"parts": [{"text": "Hi"}], "role": "model"}, "finishReason": "STOP"}]}


def answer(payload: Any) -> bytes:
    body = json.dumps(payload).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


def behind(folder: Path, address: str) -> Any:
    return open_gateway(folder, FILE.replace("http://SIMULATORS/gemini/v1beta", f"{address}/v1beta"))


def test_a_kept_connection_that_ends_as_it_is_used_again_buys_nothing_twice(tmp_path: Path) -> None:
    seen: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        for _ in range(3):
            request = read_request(connection)
            seen.append(request[request.index(b"order-") :][:9])
            connection.sendall(answer(MADE))
        time.sleep(0.001 * (len(seen) % 4))  # about when the next order is on its way

    with vendor(serve) as address, behind(tmp_path, address) as gateway:
        statuses = set()
        for number in range(24 * LONG):
            body = {"model": "nano-banana-pro", "prompt": f"order-{number:03}"}
            reply = gateway.http.post(f"{gateway.base_url}/v1/images/generations", json=body, headers=HEADERS)
            statuses.add(reply.status_code)
            if reply.status_code == 502:
                assert reply.headers["x-should-retry"] == "false"
    assert len(seen) == len(set(seen))
    assert 200 in statuses
    assert statuses <= {200, 502}


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
EVENT = b"data: " + json.dumps({"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}).encode()
FAULTS: dict[str, bytes] = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-",
    "a head": EVENTS,
    "half an event": EVENTS + EVENT[:30],
    "an event": EVENTS + EVENT + b"\n\n",
    "half a body": answer(HELLO)[:-20],
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "no status": b"HTTP/1.1 abc Fine\r\n\r\n",
    "a NUL": b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
    "a length below none": b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n{}",
    "a chunk below none": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-5\r\n{}\r\n0\r\n\r\n",
    "a page": b"HTTP/1.1 502 Bad\r\ncontent-type: text/html\r\ncontent-length: 9\r\n\r\n<h1>x</h1",
    "no answer": b"HTTP/1.1 204 No\r\n\r\n",
}


@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["closed", "reset"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_after_many_faults_nothing_is_left(
    tmp_path: Path, end: Callable[[socket.socket], None], stream: bool
) -> None:
    faults = [fault for name, fault in FAULTS.items() if stream or name != "an event"]  # which is an answer
    count = 0

    def serve(connection: socket.socket) -> None:
        nonlocal count
        read_request(connection)
        count += 1
        if faults[count % len(faults)]:
            connection.sendall(faults[count % len(faults)])
        end(connection)

    def ask(gateway: Gateway) -> None:
        reply = gateway.http.post(
            gateway.base_url + CHAT, json=chat("Hi", "gemini-flash", stream=stream), headers=HEADERS
        )
        assert reply.status_code in ((200, 502, 503) if stream else (502, 503)), reply.text
        if reply.status_code == 200:
            assert '"error"' in reply.text
            assert "[DONE]" not in reply.text

    file = FILE.replace("  heartbeat: 300ms\n", "  retry: {attempts: 1}\n")
    with (
        vendor(serve) as address,
        open_gateway(
            tmp_path, file.replace("http://SIMULATORS/gemini/v1beta", f"{address}/v1beta")
        ) as gateway,
    ):
        for _ in range(20):
            ask(gateway)
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(200 * LONG):
            ask(gateway)
        waited(lambda: len(os.listdir("/proc/self/fd")) <= before + 2)
        assert gateway.application.house is not None
        load = gateway.application.house.services.load
        waited(lambda: (load.requests, load.bytes, load.coming) == (0, 0, 0))


def test_a_file_that_changes_all_the_time_disturbs_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TEST_KEY", "TEST_NARROW_KEY", "VENDOR_KEY"):
        monkeypatch.setenv(name, KEY if name == "TEST_KEY" else f"k-{name}")
    with open_gateway(tmp_path, watched=True) as gateway:
        path = tmp_path / "providers.yaml"
        good, stop = path.read_text(), threading.Event()

        def rewrite() -> None:
            number = 0
            while not stop.wait(0.05):
                number += 1
                path.write_text(good + ("models: [broken" if number % 4 == 0 else f"# {number}\n"))

        writer = threading.Thread(target=rewrite)
        writer.start()
        try:
            until = time.monotonic() + 2 * LONG
            while time.monotonic() < until:
                reply = gateway.http.post(
                    gateway.base_url + CHAT, json=chat("Hi", "gemini-flash"), headers=HEADERS
                )
                assert reply.status_code == 200, reply.text
        finally:
            stop.set()
            writer.join()
