"""Pictures by address are downloaded without being sent into our own network."""

import asyncio
import dataclasses
import functools
import os
import socket
import ssl
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.errors import RequestError
from proxy.types import Slice
from proxy.upstream import Fetched, Fetcher, FetchRules
from tests.hostile import Handler, Request, answering, serving, until_hung_up

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 92 + b"IEND\xae\x42\x60\x82"
WHERE = "messages[0].content[1].image_url.url"
HERE = Path(__file__).resolve().parent
ANY_PORT: frozenset[int] = frozenset()


def picture(data: bytes = PNG, kind: str = "image/png") -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n\r\n"
    return head.encode() + data


def redirect(to: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Go\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n".encode()


def pretend_public(address: str) -> bool:
    """For these tests 127.0.0.1 is the open internet and 127.0.0.2 our own network."""
    return address == "127.0.0.1"


RULES = FetchRules(ports=ANY_PORT, is_public=pretend_public, connect_s=1, silence_s=0.5, total_s=1)


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(RULES, resolve=lambda host, port: ["127.0.0.1"])
    yield fetcher
    await fetcher.close()


async def refusal(fetcher: Fetcher, url: str, **options: object) -> tuple[int, str | None, str | None, str]:
    with pytest.raises(RequestError) as caught:
        await fetcher.fetch(url, where=WHERE, **options)  # type: ignore[arg-type]
    error = caught.value
    return error.status, error.code, error.param, error.message


def unreachable(host: str) -> tuple[int, str, str, str]:
    return 400, "invalid_image_url", WHERE, f"The file at {host!r} could not be downloaded."


async def test_a_picture_is_downloaded_and_named_by_its_bytes(fetcher: Fetcher) -> None:
    async with serving(answering(picture(kind="image/jpeg"))) as server:
        assert await fetcher.fetch(f"http://pictures.example:{server.port}/a.jpg") == Fetched(
            "image/png", Slice.of(PNG)
        )
        assert server.requests[0].head.startswith(b"GET /a.jpg HTTP/1.1\r\n")
        assert server.requests[0].headers == {
            "host": f"pictures.example:{server.port}",
            "user-agent": "dragoman",
            "accept": "image/*, */*;q=0.5",
            "accept-encoding": "identity",
            "connection": "close",
        }


async def test_a_connection_serves_one_download_also_where_the_server_would_keep_it(
    fetcher: Fetcher,
) -> None:
    async with serving(answering(picture(), then="keep")) as server:
        for number in (1, 2):
            await fetcher.fetch(f"http://pictures.example:{server.port}/", where=WHERE)
            assert await server.until_gone(5)
            assert server.connections == number


SPELLINGS = [
    "http://127.0.0.1",
    "http://127.0.0.1.",
    "http://127.1",
    "http://127.0.1",
    "http://2130706433",
    "http://0x7f000001",
    "http://0x7f.1",
    "http://0x7f.0x0.0x0.0x1",
    "http://0177.0.0.1",
    "http://0177.1",
    "http://017700000001",
    "http://127.000.000.001",
    "http://127.0.0.1..",
    "http://１２７.0.0.1",
    "http://127。0。0。1",
    "http://①②⑦.0.0.1",
    "http://localhost",
    "http://LOCALHOST",
    "http://localhost.",
    "http://localhost..",
    "http://a.localhost",
    "http://printer.local",
    "http://metadata.google.internal",
    "http://x.home.arpa",
    "http://nas.home",
    "http://0",
    "http://0.0.0.0",
    "http://00000000",
    "http://10.0.0.1",
    "http://10.1",
    "http://167772161",
    "http://172.16.0.1",
    "http://192.168.1.1",
    "http://192.168.257",
    "http://100.64.0.1",
    "http://169.254.169.254",
    "http://2852039166",
    "http://0xa9fea9fe",
    "http://0xA9.0xFE.0xA9.0xFE",
    "http://0251.0376.0251.0376",
    "http://169.254.43518",
    "http://192.0.0.8",
    "http://224.0.0.1",
    "http://255.255.255.255",
    "http://[::]",
    "http://[::1]",
    "http://[0:0:0:0:0:0:0:1]",
    "http://[::ffff:127.0.0.1]",
    "http://[::ffff:7f00:1]",
    "http://[::ffff:0:127.0.0.1]",
    "http://[::127.0.0.1]",
    "http://[::ffff:169.254.169.254]",
    "http://[::ffff:a9fe:a9fe]",
    "http://[64:ff9b::7f00:1]",
    "http://[64:ff9b::169.254.169.254]",
    "http://[64:ff9b:1::1]",
    "http://[2002:7f00:1::]",
    "http://[2002:a9fe:a9fe::1]",
    "http://[fd00:ec2::254]",
    "http://[fe80::1]",
    "http://[fec0::1]",
    "http://[ff02::1]",
    "http://[2001:db8::1]",
    "http://[2001::1]",
    "http://[100::1]",
]

MALFORMED = [
    "ftp://pictures.example",
    "file:///etc/passwd",
    "gopher://pictures.example",
    "data:text/plain,x",
    "gs://bucket/x",
    "blob:http://x",
    "javascript:alert(1)",
    "//pictures.example",
    "/etc/passwd",
    "pictures.example",
    "http:/pictures.example",
    "http://",
    "http:///x",
    "http://user@pictures.example",
    "http://user:pw@pictures.example",
    "http://127.0.0.1@pictures.example",
    "http://pictures.example@127.0.0.1",
    "http://:pw@pictures.example",
    "http://[::1",
    "http://[::1]]",
    "http://[fe80::1%25eth0]",
    "http://[fe80::1%eth0]",
    "http://a:b:c",
    "http://pictures.example:99999",
    "http://pictures.example:-1",
    "http://pictures.example\\@127.0.0.1",
    "http://\\127.0.0.1",
    "http://pictures%2eexample",
    "http://pictures.example%00.com",
    "http://a..b",
    "http://exa%20mple",
    "https:",
    "",
    " ",
    "http://exa mple",
    "http://" + "a" * 3000 + "/",
    "http://pictures\u2025example",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_a_private_address_is_refused_without_a_connection_however_it_is_spelled(spelling: str) -> None:
    """I-040 I-047"""
    fetcher = Fetcher(FetchRules(ports=ANY_PORT, connect_s=2))
    async with serving(answering(picture()), "0.0.0.0") as server:
        status, code, param, message = await refusal(fetcher, f"{spelling}:{server.port}/x.png")
        assert (status, code, param) == (400, "invalid_image_url", WHERE)
        assert message.startswith("The file at '")
        assert message.endswith("' could not be downloaded.")
        assert server.connections == 0
    await fetcher.close()


@pytest.mark.parametrize("url", MALFORMED)
async def test_what_is_no_web_address_is_refused_before_its_name_is_resolved(url: str) -> None:
    asked: list[str] = []
    fetcher = Fetcher(RULES, resolve=lambda host, port: asked.append(host) or ["127.0.0.1"])  # type: ignore[func-returns-value]
    status, code, param, _ = await refusal(fetcher, url)
    assert (status, code, param) == (400, "invalid_image_url", WHERE)
    assert asked == []
    await fetcher.close()


@pytest.mark.parametrize("host", ["xn--", "xn--a.example", "xn--80ak6aa92e.com"])
async def test_a_name_is_told_as_it_is_written(host: str) -> None:
    """Not all that looks like an international one has a form to be shown in."""
    fetcher = Fetcher(RULES, resolve=lambda host, port: [])
    assert await refusal(fetcher, f"http://{host}/x.png") == unreachable(host)
    await fetcher.close()


@pytest.mark.parametrize(
    "url", ["http://pictures.example:22/", "http://pictures.example:6379/", "http://pictures.example:0/"]
)
async def test_only_the_ports_of_the_web_are_allowed(url: str) -> None:
    fetcher = Fetcher(FetchRules(), resolve=lambda host, port: ["127.0.0.1"])
    assert (await refusal(fetcher, url))[1] == "invalid_image_url"
    await fetcher.close()


async def test_refused_and_dead_addresses_are_told_in_the_same_words(fetcher: Fetcher) -> None:
    """I-047"""

    def fails(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        dead = f"http://pictures.example:{taken.getsockname()[1]}/"
        assert await refusal(fetcher, dead) == unreachable("pictures.example")
    for resolve in (fails, lambda host, port: ["127.0.0.2"], lambda host, port: []):
        other = Fetcher(RULES, resolve=resolve)
        assert await refusal(other, "http://pictures.example/") == unreachable("pictures.example")
        await other.close()


async def test_a_name_with_one_private_address_is_refused() -> None:
    """I-042"""
    fetcher = Fetcher(RULES, resolve=lambda host, port: ["127.0.0.1", "127.0.0.2"])
    async with serving(answering(picture())) as server:
        url = f"http://pictures.example:{server.port}/"
        assert await refusal(fetcher, url) == unreachable("pictures.example")
        assert server.connections == 0
    await fetcher.close()


async def test_a_name_is_resolved_once_and_only_the_checked_address_is_connected_to() -> None:
    """I-041"""
    answers = [["127.0.0.1"], ["127.0.0.2"]]
    fetcher = Fetcher(RULES, resolve=lambda host, port: answers.pop(0))
    async with (
        serving(answering(picture())) as public,
        serving(answering(picture()), "127.0.0.2", public.port) as private,
    ):
        url = f"http://pictures.example:{public.port}/"
        assert (await fetcher.fetch(url)).data.decode() == PNG
        assert (public.connections, private.connections, len(answers)) == (1, 0, 1)
        assert await refusal(fetcher, url) == unreachable("pictures.example")
        assert (public.connections, private.connections) == (1, 0)
    await fetcher.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed(fetcher: Fetcher, status: int) -> None:
    async def moved(request: Request) -> None:
        await request.send(picture() if request.head.startswith(b"GET /b") else redirect("/b?x=1", status))

    async with serving(moved) as server:
        assert (await fetcher.fetch(f"http://pictures.example:{server.port}/a")).data.decode() == PNG


@pytest.mark.parametrize(
    "to",
    [
        "http://127.0.0.2:PORT/",
        "http://private.example:PORT/",
        "//127.0.0.2:PORT/",
        "http://2130706434:PORT/",
        "http://user:pw@pictures.example:PORT/",
        "file:///etc/passwd",
        "ftp://pictures.example/",
        "http://[::1]:PORT/",
        "http://localhost:PORT/",
        "http://[bad",
        "",
    ],
)
async def test_a_redirect_to_where_we_do_not_go_is_refused(to: str) -> None:
    """I-043"""
    names = {"pictures.example": ["127.0.0.1"], "private.example": ["127.0.0.2"]}
    fetcher = Fetcher(RULES, resolve=lambda host, port: names[host])
    async with serving(answering(picture()), "127.0.0.2") as private:
        location = to.replace("PORT", str(private.port))
        async with serving(answering(redirect(location))) as public:
            url = f"http://pictures.example:{public.port}/"
            assert await refusal(fetcher, url) == unreachable("pictures.example")
        assert private.connections == 0
    await fetcher.close()


async def test_a_fourth_redirect_is_refused(fetcher: Fetcher) -> None:
    """I-043"""

    async def further(request: Request) -> None:
        step = int(request.head.split(b" ")[1][1:])
        await request.send(redirect(f"/{step - 1}") if step else picture())

    async with serving(further) as server:
        base = f"http://pictures.example:{server.port}"
        assert (await fetcher.fetch(f"{base}/3")).data.decode() == PNG
        assert await refusal(fetcher, f"{base}/4") == unreachable("pictures.example")


async def test_cookies_do_not_travel_with_a_redirect_or_to_the_next_download(fetcher: Fetcher) -> None:
    async def baking(request: Request) -> None:
        cookie = b"\r\nset-cookie: a=b\r\n"
        answer = picture() if request.head.startswith(b"GET /b") else redirect("/b")
        await request.send(answer.replace(b"\r\n", cookie, 1))

    async with serving(baking) as server:
        for _ in range(2):
            await fetcher.fetch(f"http://pictures.example:{server.port}/a")
        assert all("cookie" not in request.headers for request in server.requests)


async def test_proxies_of_the_environment_are_not_used(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-046"""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    async with serving(answering(picture())) as server:
        assert (await fetcher.fetch(f"http://pictures.example:{server.port}/")).data.decode() == PNG


CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n"


async def flood(request: Request) -> None:
    await request.send(CHUNKED, b"8\r\n\x89PNG\r\n\x1a\n\r\n")
    while True:
        await request.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")


@functools.cache
def bomb() -> bytes:
    """Half a gigabyte of zeros after the beginning of a picture, 8 MiB of them again and again."""
    compressor = zlib.compressobj(9, wbits=31)
    head = compressor.compress(PNG) + compressor.flush(zlib.Z_FULL_FLUSH)
    zeros = compressor.compress(bytes(8 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return picture(head + zeros * 64).replace(b"\r\n", b"\r\ncontent-encoding: gzip\r\n", 1)


TOO_LARGE: list[tuple[str, Handler]] = [
    ("by length", answering(picture(PNG + b"x" * (9 << 20)))),
    ("a length that is never sent", answering(picture().replace(b": 108", b": 99999999999"), then="stall")),
    ("without length", flood),
    ("a compressed bomb", lambda request: request.send(bomb())),
]


@pytest.mark.parametrize("handler", [row[1] for row in TOO_LARGE], ids=[row[0] for row in TOO_LARGE])
async def test_a_file_over_the_limit_stops_at_the_limit(handler: Handler) -> None:
    """I-044: peak memory stays below the cap and 8 MiB."""
    patient = FetchRules(ports=ANY_PORT, is_public=pretend_public)
    fetcher = Fetcher(patient, resolve=lambda host, port: ["127.0.0.1"])
    async with serving(handler) as server:
        url = f"http://pictures.example:{server.port}/"
        with pytest.raises(RequestError):
            await fetcher.fetch(url, limit=1)  # loads the libraries
        tracemalloc.start()
        refused = await refusal(fetcher, url, limit=8 << 20)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert refused[1] == "invalid_image_url"
        assert refused[3] == "The file at 'pictures.example' is larger than 8 MiB."
        assert await server.until_gone(1)
        sent_by_the_server = 10 << 20  # it runs in this process
        assert peak < (8 << 20) + (8 << 20) + sent_by_the_server
    await fetcher.close()


async def test_a_file_of_exactly_the_limit_is_taken(fetcher: Fetcher) -> None:
    async with serving(answering(picture())) as server:
        url = f"http://pictures.example:{server.port}/"
        assert (await fetcher.fetch(url, limit=len(PNG))).data.decode() == PNG
        assert (await refusal(fetcher, url, limit=len(PNG) - 1))[1] == "invalid_image_url"


async def drip(request: Request) -> None:
    await request.send(CHUNKED)
    while True:
        await request.send(b"1\r\nx\r\n")
        await asyncio.sleep(0.05)


async def endless_redirects(request: Request) -> None:
    await asyncio.sleep(0.3)
    await request.send(redirect("/"))


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(drip, id="drip"),
        pytest.param(answering(then="stall"), id="no headers"),
        pytest.param(answering(CHUNKED, then="stall"), id="no body"),
        pytest.param(endless_redirects, id="slow redirects"),
    ],
)
async def test_a_slow_server_is_cut_at_the_deadline(fetcher: Fetcher, handler: Handler) -> None:
    """I-045"""
    async with serving(handler) as server:
        started = time.monotonic()
        url = f"http://pictures.example:{server.port}/"
        assert await refusal(fetcher, url) == unreachable("pictures.example")
        assert time.monotonic() - started < 10
        assert await server.until_gone(5)


async def test_a_name_that_takes_for_ever_to_resolve_is_cut_at_the_deadline() -> None:
    def stuck(host: str, port: int) -> list[str]:
        time.sleep(2)
        return ["127.0.0.1"]

    fetcher = Fetcher(FetchRules(connect_s=0.1, total_s=0.2), resolve=stuck)
    started = time.monotonic()
    assert await refusal(fetcher, "http://pictures.example/") == unreachable("pictures.example")
    assert time.monotonic() - started < 1.8
    await fetcher.close()


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        pytest.param(
            b"HTTP/1.1 404 No\r\ncontent-length: 6\r\n\r\nsecret",
            "invalid_image_url",
            "The file at 'pictures.example' could not be downloaded: status 404.",
            id="status",
        ),
        pytest.param(
            b"HTTP/1.1 206 Part\r\ncontent-type: image/png\r\ncontent-length: 6\r\n\r\nsecret",
            "invalid_image_url",
            "The file at 'pictures.example' could not be downloaded: status 206.",
            id="part",
        ),
        pytest.param(
            picture(b"<html>secret", "text/html"),
            "invalid_image",
            "The file at 'pictures.example' is not an image or media file we know.",
            id="I-039 html",
        ),
        pytest.param(
            picture(b"<svg>secret", "image/svg+xml"),
            "invalid_image",
            "The file at 'pictures.example' is not an image or media file we know.",
            id="I-039 svg",
        ),
        pytest.param(
            picture(PNG[:5]),
            "invalid_image",
            "The file at 'pictures.example' is not an image or media file we know.",
            id="I-039 truncated picture",
        ),
        pytest.param(
            picture(b""),
            "invalid_image",
            "The file at 'pictures.example' is not an image or media file we know.",
            id="empty",
        ),
        pytest.param(
            b"SSH-2.0-OpenSSH secret\r\n\r\n",
            "invalid_image_url",
            "The file at 'pictures.example' could not be downloaded.",
            id="not http",
        ),
    ],
)
async def test_what_is_no_picture_is_refused_and_nothing_of_it_is_told(
    fetcher: Fetcher, answer: bytes, code: str, message: str
) -> None:
    async with serving(answering(answer, then="close")) as server:
        refused = await refusal(fetcher, f"http://pictures.example:{server.port}/")
        assert refused == (400, code, WHERE, message)


async def test_a_download_that_was_cut_is_refused(fetcher: Fetcher) -> None:
    async with serving(answering(picture().replace(b": 108", b": 200"), then="close")) as server:
        url = f"http://pictures.example:{server.port}/"
        assert await refusal(fetcher, url) == unreachable("pictures.example")


async def test_an_address_used_three_times_is_downloaded_once(fetcher: Fetcher) -> None:
    """I-048"""
    async with serving(answering(picture())) as server:
        base = f"http://pictures.example:{server.port}"
        wanted = [(f"{base}/a", "a"), (f"{base}/b", "b"), (f"{base}/a", "c"), (f"{base}/a", "d")]
        assert await fetcher.fetch_all(wanted) == [Fetched("image/png", Slice.of(PNG))] * 4
        assert sorted(request.head.split(b" ")[1] for request in server.requests) == [b"/a", b"/b"]


async def test_a_truncated_picture_of_a_client_is_refused_and_a_vendors_is_kept(fetcher: Fetcher) -> None:
    """I-039"""
    async with serving(answering(picture(PNG[:-1]))) as server:
        url = f"http://pictures.example:{server.port}/"
        with pytest.raises(RequestError) as caught:
            await fetcher.fetch_all([(url, WHERE)])
        assert (caught.value.status, caught.value.code, caught.value.param) == (400, "invalid_image", WHERE)
        assert (await fetcher.fetch(url)).data.decode() == PNG[:-1]


async def test_nothing_wanted_is_nothing_downloaded(fetcher: Fetcher) -> None:
    assert await fetcher.fetch_all([]) == []


async def test_no_more_than_allowed_are_downloaded_at_once() -> None:
    rules = FetchRules(ports=ANY_PORT, is_public=pretend_public, at_once_per_request=4, at_once=6)
    fetcher = Fetcher(rules, resolve=lambda host, port: ["127.0.0.1"])
    most = 0

    async def slow(request: Request) -> None:
        nonlocal most
        most = max(most, server.open)
        await asyncio.sleep(0.05)
        await request.send(picture())

    async with serving(slow) as server:
        base = f"http://pictures.example:{server.port}"
        await fetcher.fetch_all([(f"{base}/{number}", "") for number in range(12)])
        assert most == 4
        most = 0
        requests = ([(f"{base}/{number}.{each}", "") for each in range(4)] for number in range(4))
        await asyncio.gather(*map(fetcher.fetch_all, requests))
        assert most == 6
    await fetcher.close()


async def test_the_first_failure_ends_the_other_downloads_and_names_its_place() -> None:
    patient = dataclasses.replace(RULES, silence_s=30, total_s=30)
    fetcher = Fetcher(patient, resolve=lambda host, port: ["127.0.0.1"])

    async def one_bad(request: Request) -> None:
        if request.head.startswith(b"GET /bad"):
            await request.send(picture(b"nothing"))
        else:
            await until_hung_up(request)

    async with serving(one_bad) as server:
        base = f"http://pictures.example:{server.port}"
        started = time.monotonic()
        with pytest.raises(RequestError) as caught:
            await fetcher.fetch_all(
                [(f"{base}/slow", "here"), (f"{base}/bad", "there"), (f"{base}/bad", "x")]
            )
        assert (caught.value.code, caught.value.param) == ("invalid_image", "there")
        assert time.monotonic() - started < 10
        assert await server.until_gone(5)
    await fetcher.close()


async def test_all_files_of_a_request_share_one_limit() -> None:
    rules = FetchRules(ports=ANY_PORT, is_public=pretend_public, total_bytes=250)
    fetcher = Fetcher(rules, resolve=lambda host, port: ["127.0.0.1"])
    async with serving(answering(picture())) as server:
        base = f"http://pictures.example:{server.port}"
        assert len(await fetcher.fetch_all([(f"{base}/a", ""), (f"{base}/b", "")])) == 2
        with pytest.raises(RequestError) as caught:
            await fetcher.fetch_all([(f"{base}/{name}", "") for name in "abc"])
        assert "together" in caught.value.message
    await fetcher.close()


async def test_an_allow_list_admits_its_names_and_those_below_them() -> None:
    rules = FetchRules(ports=ANY_PORT, is_public=pretend_public, hosts=("pictures.example",))
    fetcher = Fetcher(rules, resolve=lambda host, port: ["127.0.0.1"])
    async with serving(answering(picture())) as server:
        for host in ("pictures.example", "cdn.PICTURES.example", "pictures.example."):
            assert (await fetcher.fetch(f"http://{host}:{server.port}/")).data.decode() == PNG
        for host in ("other.example", "notpictures.example", "pictures.example.evil.example"):
            assert await refusal(fetcher, f"http://{host}:{server.port}/") == unreachable(host)
        assert server.connections == 3
    await fetcher.close()


async def test_only_https_can_be_asked_for() -> None:
    fetcher = Fetcher(FetchRules(https_only=True))
    assert (await refusal(fetcher, "http://pictures.example/"))[
        3
    ] == "The address must be a valid https address."
    await fetcher.close()


async def test_a_vendor_in_a_private_network_is_not_guarded() -> None:
    fetcher = Fetcher()
    async with serving(answering(picture())) as server:
        for host in ("127.0.0.1", "localhost"):
            assert (await fetcher.fetch(f"http://{host}:{server.port}/", private=True)).data.decode() == PNG
        assert (await refusal(fetcher, f"http://127.0.0.1:{server.port}/"))[1] == "invalid_image_url"
    await fetcher.close()


TLS_CLIENT = """
import asyncio, sys
from proxy.errors import RequestError
from proxy.upstream import Fetcher, FetchRules

async def main(port):
    rules = FetchRules(ports=frozenset(), is_public=lambda address: True)
    fetcher = Fetcher(rules, resolve=lambda host, port: ["127.0.0.1"])
    for host in ("pictures.example", "other.example"):
        try:
            print((await fetcher.fetch(f"https://{host}:{port}/")).mime)
        except RequestError as error:
            print(error.message)
    await fetcher.close()

asyncio.run(main(int(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("trust", "lines"),
    [
        (True, ["image/png", "The file at 'other.example' could not be downloaded."]),
        (False, [f"The file at '{name}.example' could not be downloaded." for name in ("pictures", "other")]),
    ],
    ids=["trusted", "untrusted"],
)
async def test_the_certificate_is_checked_against_the_name_and_not_the_address(
    trust: bool, lines: list[str]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = HERE / "data" / "pictures.example.pem"
    context.load_cert_chain(certificate)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(picture())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = str(server.sockets[0].getsockname()[1])
    environment = {**os.environ, **({"SSL_CERT_FILE": str(certificate)} if trust else {})}
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-c", TLS_CLIENT, port, env=environment, cwd=HERE.parent, stdout=subprocess.PIPE
    )
    output, _ = await done.communicate()
    server.close()
    assert output.decode().splitlines() == lines
