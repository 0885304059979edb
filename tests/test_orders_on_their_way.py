"""A client that leaves while its order is still being sent: the vendor never has the whole of it, so nothing
is bought, and the order is broken off. Once the vendor has it all, what is paid is finished."""

from __future__ import annotations

import asyncio
import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.simulators.pictures import png
from proxy.types import Call, Slice
from proxy.upstream import Account, Deadlines, Upstream
from tests.gateway import KEY, Gateway, open_gateway
from tests.served import waited
from tests.vendor_socket import read_request, vendor

FILE = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
auth: {admin: env:TEST_ADMIN}
providers:
  google: {wire: gemini, base_url: "ADDRESS/v1beta", keys: [env:VENDOR_KEY], private: true}
  grsai: {profile: grsai, base_url: "ADDRESS", keys: [env:VENDOR_KEY], private: true, currency: USD}
models:
  banana: {targets: [google/gemini-3-pro-image], price: {currency: USD, image: 0.1}}
  job: {targets: [grsai/nano-banana-pro], price: {currency: USD, image: 0.1}}
"""
LARGE = png(64, 64, "large", 24 << 20)  # more than the system takes for a vendor that does not read


class Vendor:
    """Reads of an order what `reads` says, its head or all of it, and the rest when it may `go` on. Never
    answers."""

    def __init__(self, reads: str) -> None:
        self.reads = reads
        self.has = threading.Event()
        self.go = threading.Event()
        self.left = threading.Event()
        self.received = 0

    def __call__(self, connection: socket.socket) -> None:
        self.received = len(read_request(connection) if self.reads == "all" else connection.recv(1000))
        self.has.set()
        if self.reads == "head":
            self.go.wait(60)
        try:
            while piece := connection.recv(1 << 20):
                self.received += len(piece)
        except OSError:
            pass
        self.left.set()


@contextmanager
def leaving(
    tmp_path: Path, reads: str, model: str, headers: dict[str, str]
) -> Iterator[tuple[Gateway, Vendor]]:
    """A client has asked for an edit and left, after the vendor had what it reads."""
    seen = Vendor(reads)
    with vendor(seen) as address:
        file = FILE.replace("ADDRESS", address)
        with open_gateway(tmp_path, file, {"TEST_ADMIN": "sk-admin"}) as gateway:
            request = gateway.http.build_request(
                "POST",
                f"{gateway.base_url}/v1/images/edits",
                data={"model": model, "prompt": "Make it red"},
                files={"image": ("a.png", LARGE, "image/png")},
                headers={"authorization": f"Bearer {KEY}", "connection": "close", **headers},
            )
            body = request.read()
            head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
            address_of = (request.url.host, request.url.port or 80)
            with socket.create_connection(address_of) as client:
                client.sendall(f"POST /v1/images/edits HTTP/1.1\r\n{head}\r\n".encode() + body)
                assert seen.has.wait(60)
            yield gateway, seen


def outcomes(gateway: Gateway) -> list[str]:
    return [row["outcome"] for row in rows(gateway)]


def rows(gateway: Gateway) -> list[Any]:
    reply = gateway.http.get(
        f"{gateway.base_url}/v1/usage/requests", headers={"authorization": f"Bearer {KEY}"}
    )
    return list(reply.json()["data"])


@pytest.mark.parametrize("model", ["banana", "job"])
@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "one"}], ids=["plain", "repeatable"])
def test_an_order_that_is_still_being_sent_is_broken_off(
    tmp_path: Path, model: str, headers: dict[str, str]
) -> None:
    with leaving(tmp_path, "head", model, headers) as (gateway, seen):
        waited(lambda: "abandoned" in outcomes(gateway))
        assert [row["kind"] for row in rows(gateway)] == ["refund", "hold"]
        seen.go.set()
        assert seen.left.wait(10)
        assert seen.received < len(LARGE)


@pytest.mark.parametrize("model", ["banana", "job"])
def test_an_order_that_the_vendor_has_is_finished(tmp_path: Path, model: str) -> None:
    with leaving(tmp_path, "all", model, {}) as (gateway, seen):
        assert seen.received > len(LARGE)
        assert not seen.left.wait(0.5)
        assert "abandoned" not in outcomes(gateway)


@pytest.mark.anyio
async def test_an_order_that_is_answered_before_all_of_it_is_there_has_gone_out() -> None:
    answered = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        )
        answered.wait(10)

    told: list[str] = []
    upstream = Upstream()
    with vendor(serve) as address:
        account = Account("vendor", address, private=True)
        large = Call("/order", {"image": Slice(base64.b64encode(LARGE))}, large=True)
        reply = await upstream.send(large, account, Deadlines(), lambda: told.append("sent"))
        assert (reply.status, told) == (200, ["sent"])
        reply.drop()
        answered.set()
        await upstream.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body", [{"prompt": "A cat"}, {"image": Slice(base64.b64encode(LARGE))}], ids=["small", "large"]
)
async def test_an_order_that_is_called_off_before_its_last_byte_never_goes_out_whole(body: Any) -> None:
    received = bytearray()
    closed = threading.Event()

    def serve(connection: socket.socket) -> None:
        try:
            while piece := connection.recv(1 << 20):
                received.extend(piece)
        finally:
            closed.set()

    def leave() -> None:
        raise asyncio.CancelledError

    upstream = Upstream()
    with vendor(serve) as address:
        account = Account("vendor", address, private=True)
        with pytest.raises(asyncio.CancelledError):
            await upstream.send(Call("/order", body, large="image" in body), account, Deadlines(), leave)
        assert await asyncio.to_thread(closed.wait, 10)
        await upstream.close()
    assert bool(received) is ("image" in body)
    assert not received.endswith(b"}")
