"""The head of a reply: always possible to send, made when it goes, counted when it is out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.fronts.openai import error_reply
from proxy.serve import head
from proxy.serve.exchange import Exchange, Header
from tests.gateway import KEY, Gateway

Send = Callable[[Any], Awaitable[None]]


def exchange(send: Send, **headers: str) -> Exchange:
    async def receive() -> Any:
        raise AssertionError("nothing is read here")

    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Exchange({"type": "http", "headers": named}, receive, send)


class Told:
    """A transport that remembers, and refuses what `fails` says once."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.messages: list[Any] = []
        self._fails = fails

    async def __call__(self, message: Any) -> None:
        if self._fails is not None:
            error, self._fails = self._fails, None
            raise error
        self.messages.append(message)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])


# --- values


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (b"plain words, and more", b"plain words, and more"),
        (b"16:9\n2K", b"16:9?2K"),
        (b"a\r\nset-cookie: x=1", b"a??set-cookie: x=1"),
        (b"tab\there", b"tab?here"),
        ("grün".encode(), b"gr??n"),
        (b"nul\x00 del\x7f esc\x1b", b"nul? del? esc?"),
        (b"x" * 4000, b"x" * 4000),
        (b"x" * 4001, b"x" * 3997 + b"..."),
        (b"", b""),
    ],
)
def test_a_value_is_printable_and_bounded(value: bytes, written: bytes) -> None:
    beside: Header = (b"x-beside", b"as it is")
    assert head.written([(b"x-value", value), beside]) == [(b"x-value", written), beside]
    line = b"x-value: %b\r\n" % written
    assert head.parted([beside], [(b"x-value", value)]) == ([beside], line)
    assert head.parted([(b"x-value", value)], [beside]) == (
        [(b"x-value", written)],
        b"x-beside: as it is\r\n",
    )


@pytest.mark.parametrize("size", [1, 7, 50, 199, 200, 201, 900])
def test_a_long_list_ends_between_its_items(size: int) -> None:
    names = [f"{number}".zfill(size) for number in range(5000)]
    [(_, value)] = head.written([(b"x-proxy-dropped", head.listed(names))])
    assert len(value) <= 4000
    assert value.endswith(b", ...")
    items = value.decode().split(", ")[:-1]
    assert items == [name if size <= 200 else name[:197] + "..." for name in names[: len(items)]]
    assert len(value) + min(size, 200) + 2 > 4000


def test_a_short_list_is_whole() -> None:
    assert (
        head.listed(["logit_bias", "messages[0].naïve", "a\r\nb"]) == b"logit_bias, messages[0].na?ve, a\r\nb"
    )


@pytest.mark.parametrize("field", ["a\r\nb", "ü" * 10, "x" * 9000, "\ud800", "a, b", "\x00", " "])
@pytest.mark.parametrize("stream", [False, True])
def test_a_field_of_any_name_leaves_the_reply_whole(gateway: Gateway, field: str, stream: bool) -> None:
    body = {
        "model": "gemini-flash",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": stream,
        field: 1,
    }
    reply = httpx.post(
        f"{gateway.base_url}/v1/chat/completions",
        content=json.dumps(body),
        headers={"authorization": f"Bearer {KEY}"},
        timeout=20,
    )
    if field == "\ud800":
        assert reply.status_code in (200, 400)
        assert reply.headers["x-request-id"]
        return
    assert reply.status_code == 200
    assert reply.headers["x-proxy-dropped"].isprintable()
    assert len(reply.headers["x-proxy-dropped"]) <= 4000
    assert "You said: Hi" in reply.text.replace('"}}]}', "") or stream


def test_five_thousand_unknown_fields_leave_the_reply_whole(gateway: Gateway) -> None:
    body = {"model": "gemini-flash", "messages": [{"role": "user", "content": "Hi"}]}
    body |= {f"unknown_{number}": 1 for number in range(5000)}
    reply = httpx.post(
        f"{gateway.base_url}/v1/chat/completions",
        content=json.dumps(body),
        headers={"authorization": f"Bearer {KEY}"},
        timeout=20,
    )
    assert reply.status_code == 200
    assert reply.headers["x-proxy-dropped"].endswith(", ...")


@pytest.mark.parametrize(
    ("sent", "answered"),
    [("mine-1", "mine-1"), ("x" * 128, "x" * 128), ("x" * 129, None), ("grün", None), ("a\tb", None)],
)
def test_the_clients_own_id_comes_back_when_it_is_one(
    gateway: Gateway, sent: str, answered: str | None
) -> None:
    headers = {"x-client-request-id": sent.encode("latin-1")}
    reply = httpx.get(f"{gateway.base_url}/livez", headers=headers)
    assert reply.headers.get("x-client-request-id") == answered


# --- when it goes


@pytest.mark.anyio
async def test_the_head_is_made_when_it_goes() -> None:
    told = Told()
    opened = exchange(told)
    known = [(b"x-proxy-size", b"early")]
    going = opened.start(200, lambda: known)
    known[0] = (b"x-proxy-size", b"late")
    opened.told = lambda: [(b"x-proxy-dropped", b"logit_bias")]
    await going
    assert told.headers[b"x-proxy-size"] == b"late"
    assert told.headers[b"x-proxy-dropped"] == b"logit_bias"


@pytest.mark.anyio
async def test_what_the_head_finds_out_while_it_is_made_stands_in_it() -> None:
    told = Told()
    opened = exchange(told)

    def late() -> list[Header]:
        opened.told = lambda: [(b"x-proxy-dropped", b"seed")]
        return [(b"content-type", b"application/json")]

    await opened.respond(200, [b"{}"], late)
    assert told.headers[b"x-proxy-dropped"] == b"seed"
    assert told.headers[b"content-length"] == b"2"


@pytest.mark.anyio
async def test_a_status_counts_when_its_head_is_out() -> None:
    """So that what failed before it can still be told."""
    told = Told(fails=RuntimeError("Invalid HTTP header value."))
    opened = exchange(told)
    with pytest.raises(RuntimeError):
        await opened.start(200, ())
    assert (opened.status, opened.started) == (0, False)
    await opened.respond(500, [b"{}"])
    assert (opened.status, opened.started) == (500, True)
    assert [message["type"] for message in told.messages] == ["http.response.start", "http.response.body"]


@pytest.mark.anyio
async def test_a_head_that_is_not_out_yet_does_not_count() -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(message: Any) -> None:
        asked.set()
        await go.wait()

    opened = exchange(slow)
    starting = asyncio.create_task(opened.start(200, ()))
    await asked.wait()
    assert not opened.started
    go.set()
    await starting
    assert opened.started


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "sent"), [(200, 200), (599, 599), (100, 502), (199, 502), (600, 502), (999, 502)]
)
async def test_a_status_that_http_does_not_know_is_a_502(status: int, sent: int) -> None:
    told = Told()
    opened = exchange(told)
    await opened.start(status, ())
    assert (told.messages[0]["status"], opened.status) == (sent, sent)


# --- errors


@pytest.mark.parametrize(
    ("wait_s", "headers"),
    [
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        (-float("inf"), None),
        (1e300, ("3600", "3600000")),
        (-5.0, ("0", "0")),
        (0.0, ("0", "0")),
        (34.4, ("35", "34400")),
        (3600.0, ("3600", "3600000")),
    ],
)
def test_any_retry_time_can_be_told(wait_s: float | None, headers: tuple[str, str] | None) -> None:
    error = UpstreamError(ErrorClass.RATE_LIMITED, "later", retry_after_s=wait_s)
    status, named, body = error_reply.render(error, "req_1")
    told = {name.decode(): value.decode() for name, value in named}
    expected = (None, None) if headers is None else headers
    assert (told.get("retry-after"), told.get("retry-after-ms")) == expected
    assert (status, json.loads(body)["error"]["code"]) == (429, "rate_limit_exceeded")


@pytest.mark.anyio
@pytest.mark.parametrize("words", ["16:9\n2K", "grün", "x" * 100_000, "\ud83d"])
async def test_an_error_may_quote_anything(words: str) -> None:
    """In its message and, where somebody puts them there, in its headers."""
    told = Told()
    opened = exchange(told)
    error = RequestError(f"Not {words}.", param=words, headers={"x-said": words})
    status, headers, body = error_reply.render(error, opened.request_id)
    await opened.respond(status, [body], headers)
    assert json.loads(told.messages[1]["body"])["error"]["message"].startswith("Not ")
    assert all(len(value) <= 4000 and value.isascii() for value in told.headers.values())
