"""Bodies as clients may send them: compressed, announced, in pieces, as forms, and too large in every way."""

from __future__ import annotations

import base64
import gzip
import json
import random
import socket
import zlib
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import httpx
import pytest

from proxy.codec.gunzip import Gunzip, GunzipError
from proxy.errors import RequestError
from proxy.serve.body import read_form
from proxy.serve.exchange import Exchange
from proxy.simulators import pictures
from tests.gateway import FILE, KEY, Gateway, open_gateway
from tests.raw_http import RawRequest, arrived, chat, form, last_number

LIMIT = 20_000
PICTURE = pictures.png(64, 64, "x")


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that takes bodies of 20,000 bytes."""
    folder = tmp_path_factory.mktemp("narrow")
    server = f'server: {{body_limit: {LIMIT}B, state: "sqlite:{folder}/state/dragoman.db"}}\n'
    with open_gateway(folder, FILE.replace("version: 1\n", f"version: 1\n{server}", 1)) as opened:
        yield opened


def post(
    gateway: Gateway, content: Any, path: str = "/v1/chat/completions", **headers: str
) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(
        gateway.base_url + path,
        content=content,
        headers={"authorization": f"Bearer {KEY}", **named},
        timeout=20,
    )


def members(text: bytes, count: int) -> bytes:
    step = -(-len(text) // count)
    return b"".join(gzip.compress(text[at : at + step]) for at in range(0, len(text), step))


def as_text(body: Any) -> bytes:
    return json.dumps(body).encode()


# --- compressed

HELLO = as_text(chat("Hi"))
EDIT, EDIT_HEADERS = form(
    ("model", b"nano-banana-pro", None), ("prompt", b"Red", None), ("image", PICTURE, "a.png")
)


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        pytest.param(gzip.compress(HELLO), "gzip", id="one member"),
        pytest.param(members(HELLO, 2), "gzip", id="two members"),
        pytest.param(members(HELLO, 40), "GZip", id="forty members"),
        pytest.param(
            gzip.compress(b"") + gzip.compress(HELLO) + gzip.compress(b""), "gzip", id="empty members"
        ),
        pytest.param(gzip.compress(HELLO) + bytes(200), "gzip", id="filled up with zeros"),
        pytest.param(gzip.compress(HELLO), "x-gzip", id="by its old name"),
        pytest.param(gzip.compress(HELLO), "gzip, identity", id="in a list"),
        pytest.param(gzip.compress(HELLO), "identity,gzip", id="at the end of a list"),
        pytest.param(HELLO, "identity", id="not at all"),
        pytest.param(HELLO, "", id="by no name"),
        pytest.param(HELLO, "identity, identity", id="not at all, twice"),
    ],
)
def test_a_body_is_read_as_it_is_encoded(gateway: Gateway, content: bytes, encoding: str) -> None:
    reply = post(gateway, content, content_encoding=encoding)
    assert reply.status_code == 200, reply.text
    assert "Hi" in reply.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("content", "encoding", "status", "said"),
    [
        pytest.param(gzip.compress(HELLO)[:-1], "gzip", 400, "its end is missing", id="cut in its check"),
        pytest.param(gzip.compress(HELLO)[:-20], "gzip", 400, "its end is missing", id="cut in its text"),
        pytest.param(
            members(HELLO, 2)[:-9], "gzip", 400, "its end is missing", id="cut in its second member"
        ),
        pytest.param(gzip.compress(HELLO)[:5], "gzip", 400, "its end is missing", id="cut in its head"),
        pytest.param(b"", "gzip", 400, "its end is missing", id="nothing"),
        pytest.param(HELLO, "gzip", 400, "it is damaged", id="not gzip"),
        pytest.param(gzip.compress(HELLO) + b"x" * 20, "gzip", 400, "it is damaged", id="something behind"),
        pytest.param(zlib.compress(HELLO), "deflate", 415, "'deflate' is not supported", id="deflate"),
        pytest.param(HELLO, "gzip, br", 415, "'gzip, br' is not supported", id="two at once"),
    ],
)
def test_what_is_not_gzip_is_refused(
    gateway: Gateway, content: bytes, encoding: str, status: int, said: str
) -> None:
    before = last_number(gateway)
    reply = post(gateway, content, content_encoding=encoding)
    assert reply.status_code == status
    assert said in reply.json()["error"]["message"]
    assert last_number(gateway) == before
    if status == 415:
        assert reply.headers["accept-encoding"] == "gzip"


def test_a_form_may_be_compressed_too(gateway: Gateway) -> None:
    headers = {"content_type": EDIT_HEADERS["content-type"], "content_encoding": "gzip"}
    reply = post(gateway, members(EDIT, 3), "/v1/images/edits", **headers)
    assert reply.status_code == 200, reply.text
    assert len(reply.json()["data"]) == 1


@pytest.mark.parametrize("size", [1, 3, 4096, 100_000])
def test_gzip_may_be_cut_anywhere(size: int) -> None:
    text = random.Random(1).randbytes(50_000) + b"x" * 2_000_000
    packed = members(text, 7)
    gunzip = Gunzip()
    pieces = [piece for at in range(0, len(packed), size) for piece in gunzip.feed(packed[at : at + size])]
    gunzip.close()
    assert b"".join(pieces) == text
    assert max(map(len, pieces)) <= 1 << 18


def test_a_member_that_is_cut_is_not_the_end() -> None:
    gunzip = Gunzip()
    assert b"".join(gunzip.feed(gzip.compress(b"abc") + gzip.compress(b"def")[:6])) == b"abc"
    with pytest.raises(GunzipError, match="its end is missing"):
        gunzip.close()


# --- the limit


def _body(size: int) -> bytes:
    """A chat of exactly so many bytes."""
    empty = len(as_text(chat("")))
    return as_text(chat("x" * (size - empty)))


def _pieces(content: bytes) -> Iterator[bytes]:
    """Without a declared length."""
    for at in range(0, len(content), 7000):
        yield content[at : at + 7000]


@pytest.mark.parametrize("way", ["declared", "undeclared", "undeclared at once", "gzip", "gzip undeclared"])
@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413)])
def test_the_limit_is_the_same_however_a_body_comes(
    narrow: Gateway, way: str, size: int, status: int
) -> None:
    before = last_number(narrow)
    content = _body(size)
    assert len(content) == size
    if way.startswith("gzip"):
        content = gzip.compress(content)
    sent: Any = _pieces(content) if "undeclared" in way else content
    if way == "undeclared at once":
        sent = iter((content,))
    headers = {"content_encoding": "gzip"} if way.startswith("gzip") else {}
    reply = post(narrow, sent, **headers)
    assert reply.status_code == status
    if status == 413:
        assert reply.json()["error"]["code"] == "request_too_large"
        assert last_number(narrow) == before


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(("size", "status"), [(LIMIT - 500, 200), (LIMIT, 413)])
def test_the_limit_holds_for_a_form(narrow: Gateway, declared: bool, size: int, status: int) -> None:
    content, headers = form(
        ("model", b"nano-banana-pro", None),
        ("prompt", b"Red", None),
        ("image", PICTURE + bytes(size - len(PICTURE)), "a.png"),
    )
    sent: Any = content if declared else _pieces(content)
    reply = post(narrow, sent, "/v1/images/edits", content_type=headers["content-type"])
    assert reply.status_code == status, reply.text


def test_what_is_sent_counts_also_when_it_is_nothing(narrow: Gateway) -> None:
    """Members of gzip without text are twenty bytes each and could go on for ever."""
    nothing = gzip.compress(b"") * (LIMIT // 20 + 10)
    reply = post(narrow, _pieces(nothing + gzip.compress(HELLO)), content_encoding="gzip")
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")


# --- Expect: 100-continue


def announced(gateway: Gateway, body: Any, **options: Any) -> RawRequest:
    headers = {"expect": "100-continue", **options.pop("headers", {})}
    request = RawRequest(gateway, body, headers=headers, **options)
    request.socket.sendall(request.head)
    return request


@pytest.mark.parametrize(
    ("body", "options"),
    [
        pytest.param(chat("Hi"), {}, id="chat"),
        pytest.param(chat("Hi", stream=True), {}, id="streamed chat"),
        pytest.param(chat("x" * 2_000_000), {}, id="large chat"),
        pytest.param(EDIT, {"path": "/v1/images/edits", "headers": EDIT_HEADERS}, id="form"),
    ],
)
def test_a_client_that_asks_first_is_told_to_go_on(gateway: Gateway, body: Any, options: Any) -> None:
    with announced(gateway, body, **options) as request:
        assert request.until("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n"
        request.received = b""
        request.socket.sendall(request.payload)
        assert request.rest().startswith("HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("options", "status"),
    [
        pytest.param({"key": "wrong"}, 401, id="refused key"),
        pytest.param({"headers": {"content-length": str(1 << 33)}}, 413, id="too large"),
        pytest.param({"headers": {"content-encoding": "br"}}, 415, id="unknown encoding"),
        pytest.param({"path": "/v1/nothing"}, 404, id="unknown address"),
    ],
)
def test_a_client_that_asks_first_is_refused_before_it_sends(
    gateway: Gateway, options: Any, status: int
) -> None:
    """And the connection ends: what comes next on it could be the body or another request."""
    with announced(gateway, chat("x" * 2_000_000), headers=options.pop("headers", {}), **options) as request:
        request.head = b""
        text = request.rest()
    assert text.startswith(f"HTTP/1.1 {status} ")
    assert "\r\nconnection: close\r\n" in text
    assert "100 Continue" not in text
    assert json.loads(text.partition("\r\n\r\n")[2])["error"]["message"]


def test_the_connection_of_a_refused_announcement_is_closed(gateway: Gateway) -> None:
    """Also where the client would keep it."""
    address = httpx.URL(gateway.base_url)
    with socket.create_connection((address.host, address.port or 0), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n"
            b"expect: 100-continue\r\n\r\n"
        )
        reply = b""
        while piece := connection.recv(65536):
            reply += piece
    assert reply.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nconnection: close\r\n" in reply


def test_the_connection_of_an_announcement_that_was_followed_stays(gateway: Gateway) -> None:
    named = {"connection": "keep-alive"}
    with announced(gateway, chat("Hi"), headers=named) as request:
        request.until("100 Continue\r\n\r\n")
        request.received = b""
        request.socket.sendall(request.payload)
        assert "\r\nconnection:" not in request.until("\r\n\r\n").lower()


def test_without_an_announcement_the_connection_stays(gateway: Gateway) -> None:
    assert "connection" not in post(gateway, HELLO).headers
    assert "connection" not in httpx.get(f"{gateway.base_url}/v1/models").headers


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"model": ', "The request body is not valid JSON: "),
        (b"", "The request body is not valid JSON: "),
        (b"[{}]", "The request body must be a JSON object."),
        (b'"text"', "The request body must be a JSON object."),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(gateway: Gateway, content: bytes, said: str) -> None:
    reply = post(gateway, content)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "invalid_json", None)
    assert error["message"].startswith(said)


# --- forms


async def _read(content: bytes, content_type: str, size: int = 1 << 16) -> Any:
    async def chunks() -> AsyncGenerator[bytes, None]:
        for at in range(0, len(content), size):
            yield content[at : at + size]

    return await read_form(chunks(), content_type)


@pytest.mark.anyio
@pytest.mark.parametrize("size", [1, 2, 7, 4096, 1 << 20])
@pytest.mark.parametrize("extra", [0, 1, 2])
async def test_a_form_may_be_cut_anywhere(size: int, extra: int) -> None:
    data = random.Random(2).randbytes(9000 + extra) + b"\r\n--X\r\n--XX-" + b"\r"
    content, headers = form(
        ("prompt", "Ein Übergang".encode(), None), ("image[]", data, "ä.png"), ("n", b"", None)
    )
    fields, files = await _read(content, headers["content-type"], size)
    assert fields == [("prompt", "Ein Übergang"), ("n", "")]
    [file] = files
    assert (file.field, file.filename, file.mime) == ("image[]", "ä.png", "image/png")
    assert str(file.data) == base64.b64encode(data).decode()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("charset", "text", "codec"),
    [
        ("utf-8", "Grün 绿", "utf-8"),
        ("UTF8", "Grün 绿", "utf-8"),
        ("gbk", "绿色", "gbk"),
        ("iso-8859-1", "Grün", "latin-1"),
        ("us-ascii", "Grün 绿", "utf-8"),
        ("Shift_JIS", "緑", "shift_jis"),
    ],
)
@pytest.mark.parametrize("place", ["form", "part"])
async def test_the_text_of_a_form_is_read_in_its_charset(
    charset: str, text: str, codec: str, place: str
) -> None:
    content, headers = form(("prompt", text.encode(codec), None))
    content_type = headers["content-type"]
    if place == "form":
        content_type += f"; charset={charset}"
    else:
        content = content.replace(
            b'"prompt"', b'"prompt"\r\ncontent-type: text/plain; charset=' + charset.encode()
        )
    fields, _ = await _read(content, content_type)
    assert fields == [("prompt", text)]


@pytest.mark.parametrize(
    "charset",
    ["punycode", "unicode_escape", "utf-7", "idna", "rot13", "base64", "zlib", "nothing", "x" * 5000],
)
def test_a_charset_that_is_none_is_refused(gateway: Gateway, charset: str) -> None:
    before = last_number(gateway)
    content_type = f"{EDIT_HEADERS['content-type']}; charset={charset}"
    reply = post(gateway, EDIT, "/v1/images/edits", content_type=content_type)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_form")
    assert f"the charset {charset[:40]!r} is not known here" in reply.json()["error"]["message"]
    assert last_number(gateway) == before


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("content", "content_type", "said"),
    [
        pytest.param(EDIT, "multipart/form-data", "the boundary is missing", id="no boundary"),
        pytest.param(EDIT, "multipart/form-data; boundary=", "the boundary is missing", id="empty boundary"),
        pytest.param(
            EDIT, "multipart/form-data; boundary=YY", "it is no multipart form", id="another boundary"
        ),
        pytest.param(b"{}", "multipart/form-data; boundary=XX", "it is no multipart form", id="JSON"),
        pytest.param(EDIT[:-30], "multipart/form-data; boundary=XX", "the middle of a part", id="cut"),
        pytest.param(
            EDIT.replace(b' name="prompt"', b""), "multipart/form-data; boundary=XX", "no name", id="no name"
        ),
        pytest.param(
            EDIT.replace(b"Red", b"\xff\xfe"),
            "multipart/form-data; boundary=XX",
            "the field 'prompt' is not text in utf-8",
            id="not text",
        ),
        *(
            pytest.param(
                form(("a", b"", None), boundary="X" * size)[0],
                f"multipart/form-data; boundary={'X' * size}",
                "the boundary is longer than 256 bytes",
                id=f"{size} bytes of boundary",
            )
            for size in (257, 5000)
        ),
        pytest.param(
            form(*[("image", b"", "a")] * 33)[0],
            "multipart/form-data; boundary=XX",
            "more than 32 files",
            id="files",
        ),
        pytest.param(
            form(*[("a", b"", None)] * 101)[0],
            "multipart/form-data; boundary=XX",
            "more than 100 fields",
            id="fields",
        ),
    ],
)
async def test_what_is_no_form_is_refused(content: bytes, content_type: str, said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        await _read(content, content_type)
    assert (caught.value.status, caught.value.code) == (400, "invalid_form")


@pytest.mark.anyio
async def test_a_field_of_a_form_is_bounded() -> None:
    content, headers = form(("image", b"A" * ((32 << 20) + 1), None))
    with pytest.raises(RequestError, match="larger than 33554432 bytes") as caught:
        await _read(content, headers["content-type"], 1 << 20)
    assert (caught.value.status, caught.value.param) == (400, "image")


def test_the_pictures_of_a_form_reach_the_vendor(gateway: Gateway) -> None:
    before = last_number(gateway)
    post(gateway, _pieces(EDIT), "/v1/images/edits", content_type=EDIT_HEADERS["content-type"])
    [exchange] = arrived(gateway, before)
    parts = exchange.body["contents"][0]["parts"]
    assert base64.b64encode(PICTURE).decode() in [
        part["inlineData"]["data"] for part in parts if "inlineData" in part
    ]


# --- what an exchange asks of its server


def exchange(messages: list[Any], **headers: str) -> tuple[Exchange, list[Any]]:
    """On a transport that has these messages, and what it was told."""
    told: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        told.append(message)

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Exchange({"type": "http", "headers": named}, receive, send), told


@pytest.mark.anyio
async def test_the_rest_of_a_body_that_is_too_large_is_not_asked_for() -> None:
    more = {"type": "http.request", "body": b"x" * 600, "more_body": True}
    messages = [more, more, more]
    opened, _ = exchange(messages)
    with pytest.raises(RequestError) as caught:
        await opened.body(1000)
    assert (caught.value.status, len(messages)) == (413, 1)


@pytest.mark.anyio
@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False)])
async def test_the_limit_holds_for_a_body_that_comes_at_once(size: int, fits: bool) -> None:
    opened, _ = exchange([{"type": "http.request", "body": b"x" * size, "more_body": False}])
    if fits:
        assert len(await opened.body(1000)) == size
        return
    with pytest.raises(RequestError) as caught:
        await opened.body(1000)
    assert caught.value.status == 413


@pytest.mark.anyio
async def test_a_bomb_is_not_unpacked_beyond_the_limit() -> None:
    bomb = gzip.compress(bytes(64 << 20))
    opened, _ = exchange([{"type": "http.request", "body": bomb, "more_body": True}], content_encoding="gzip")
    sizes: list[int] = []

    async def read() -> None:
        async for chunk in opened.chunks(1 << 20):
            sizes.append(len(chunk))

    with pytest.raises(RequestError):
        await read()
    assert sum(sizes) <= 1 << 20
