"""Service accounts: one token for many calls, renewed in time, thrown away when refused, and never shown."""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.checking import service_accounts
from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Call
from proxy.upstream import Account, Deadlines, Upstream
from proxy.upstream.service_account import ServiceAccountGrant
from proxy.upstream.tokens import Token
from tests.hostile import Request, serving, until_hung_up
from tests.token_server import TokenServer, account_file, pem, private_key

pytest.importorskip("cryptography", reason="service accounts need cryptography")
pytestmark = pytest.mark.anyio

CALL = Call("/models/m:generateContent", {"contents": []})
PATIENT = Deadlines(connect_s=5, first_byte_s=10, idle_s=10, total_s=20)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """An account at a vendor whose tokens come from a token server, and the clock the tokens live by."""

    def __init__(self, server: TokenServer, upstream: Upstream, **changes: Any) -> None:
        self.server = server
        self.clock = Clock()
        file = service_accounts.read(account_file(**{"token_uri": f"{server.server.url}/token", **changes}))
        self.token = Token("vertex", ServiceAccountGrant(file), (("x-team", "blue-team"),), self.clock)
        self.account = Account("vertex", server.server.url, self.token, private=True)
        self.upstream = upstream

    async def call(self, deadlines: Deadlines = PATIENT) -> int:
        reply = await self.upstream.send(CALL, self.account, deadlines)
        await reply.close()
        return reply.status

    async def denied(self) -> UpstreamError:
        with pytest.raises(UpstreamError) as caught:
            await self.call()
        return caught.value


@asynccontextmanager
async def bench(server: TokenServer | None = None, **changes: Any) -> AsyncIterator[Bench]:
    server = server or TokenServer()
    upstream = Upstream()
    async with serving(server) as listening:
        server.server = listening
        yield Bench(server, upstream, **changes)
        await upstream.close()


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(2500):
        if holds():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not happen in 5 s")


async def asked(server: TokenServer, times: int) -> None:
    """Wait until so many tokens have been asked for."""
    await until(lambda: server.asked == times)


async def used(bench: Bench, token: str) -> None:
    """Call until a call goes out with this token."""
    async with asyncio.timeout(5):
        while bench.server.used[-1:] != [f"Bearer {token}"]:
            await bench.call()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_fifty_calls_at_once_ask_for_one_token() -> None:
    async with bench() as at:
        assert await asyncio.gather(*(at.call() for _ in range(50))) == [200] * 50
        assert at.server.used == ["Bearer token-1-canary"] * 50
        assert await at.call() == 200
        assert at.server.asked == 1


async def test_a_token_is_renewed_before_it_ends_and_no_call_waits() -> None:
    async with bench() as at:
        await at.call()
        at.clock.now += 3600 - 301
        await at.call()
        assert at.server.asked == 1
        at.clock.now += 2
        await asyncio.gather(*(at.call() for _ in range(20)))
        assert at.server.used[1:21] == ["Bearer token-1-canary"] * 20
        await asked(at.server, 2)
        await used(at, "token-2-canary")
        assert at.server.asked == 2


async def test_a_token_that_ended_is_not_used() -> None:
    async with bench(TokenServer(life_s=20)) as at:
        await at.call()
        at.clock.now += 19.5  # its last twentieth is not trusted
        assert await asyncio.gather(*(at.call() for _ in range(9))) == [200] * 9
        assert at.server.used == ["Bearer token-1-canary"] + ["Bearer token-2-canary"] * 9


async def test_an_early_renewal_that_fails_is_not_noticed_until_the_end() -> None:
    async with bench() as at:
        await at.call()
        at.server.answers = [(503, {}), (503, {}), (503, {})]
        at.clock.now += 3600 - 200
        assert await at.call() == 200
        await asked(at.server, 2)
        assert await at.call() == 200
        assert at.server.asked == 2  # not with each call
        at.clock.now += 11
        assert await at.call() == 200
        await asked(at.server, 3)
        at.clock.now += 200
        error = await at.denied()
        assert (error.error_class, error.bought) == (ErrorClass.UNAVAILABLE, False)
        at.server.answers = []  # one is left where the answer before it was still on its way
        assert await at.call() == 200
        assert at.server.used[-1] == "Bearer token-2-canary"


ODD_LIVES = [None, "3600", 0, -5, True, [1]]


@pytest.mark.parametrize("life", ODD_LIVES, ids=repr)
async def test_a_token_that_does_not_say_how_long_it_lives_lives_five_minutes(life: Any) -> None:
    async with bench(TokenServer(life_s=life)) as at:
        await at.call()
        at.clock.now += 200
        await at.call()
        assert at.server.used == ["Bearer token-1-canary"] * 2
        at.clock.now += 100
        await at.call()
        assert at.server.used[2:] == ["Bearer token-2-canary"]


REFUSALS: list[tuple[str, int, Any, ErrorClass, str]] = [
    (
        "refused",
        400,
        {"error": "invalid_grant", "error_description": "secret words"},
        ErrorClass.AUTH,
        "the token server refused the service account (400 invalid_grant)",
    ),
    ("unknown", 401, {"error": "no_client"}, ErrorClass.AUTH, "refused the service account (401 no_client)"),
    ("odd word", 403, {"error": "secret words"}, ErrorClass.AUTH, "refused the service account (403)"),
    ("no JSON", 400, b"<html>secret words", ErrorClass.AUTH, "refused the service account (400)"),
    ("busy", 429, {"error": {"code": 429}}, ErrorClass.UNAVAILABLE, "the token server answered with 429"),
    ("broken", 500, b"", ErrorClass.UNAVAILABLE, "the token server answered with 500"),
    ("moved", 302, b"", ErrorClass.UNAVAILABLE, "the token server's answer holds none"),
    ("a list", 200, [1], ErrorClass.UNAVAILABLE, "the token server's answer holds none"),
    ("no text", 200, {"access_token": 5}, ErrorClass.UNAVAILABLE, "holds none"),
    ("a break", 200, {"access_token": "a\r\nx: secret words"}, ErrorClass.UNAVAILABLE, "holds none"),
    ("deep", 200, b"[" * 60_000, ErrorClass.UNAVAILABLE, "holds none"),
    ("endless", 200, b"1" * 1_000_000, ErrorClass.UNAVAILABLE, "holds none"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "error_class", "words"),
    [pytest.param(*rest, id=name) for name, *rest in REFUSALS],
)
async def test_what_a_token_server_refuses_names_the_provider_and_shows_nothing(
    status: int, body: Any, error_class: ErrorClass, words: str
) -> None:
    async with bench(TokenServer(answers=[(status, body)])) as at:
        errors = await asyncio.gather(*(at.denied() for _ in range(20)))
        assert at.server.asked == 1
        assert at.server.used == []
        assert len({id(error) for error in errors}) == 20  # each is marked on its own way out
        error = errors[0]
        assert (error.error_class, error.provider, error.bought) == (error_class, "vertex", False)
        assert error.message.startswith("'vertex' has no access token: the token server")
        assert words in error.message
        told = "".join(traceback.format_exception(error)) + repr(error)
        assert "secret words" not in told
        assert "canary" not in told
        assert await at.call() == 200  # the next call asks again


async def test_a_wrong_signature_is_refused_and_not_repeated() -> None:
    async with bench(private_key=_another_key()) as at:
        error = await at.denied()
        assert error.message == (
            "'vertex' has no access token: the token server refused the service account (400 invalid_grant)"
        )
        assert error.error_class is ErrorClass.AUTH
        assert "eyJ" not in "".join(traceback.format_exception(error))


def _another_key() -> str:
    from cryptography.hazmat.primitives import serialization as forms

    key = private_key(1024)
    return key.private_bytes(
        forms.Encoding.PEM, forms.PrivateFormat.TraditionalOpenSSL, forms.NoEncryption()
    ).decode()


def _key_of_a_curve() -> str:
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption()).decode()


@pytest.mark.parametrize("kind", ["no key", "a curve's"])
async def test_a_key_that_cannot_sign_is_said_without_it(kind: str) -> None:
    key = _key_of_a_curve() if kind == "a curve's" else "-----BEGIN PRIVATE KEY-----\nc2VjcmV0IHdvcmRz\n"
    async with bench(private_key=key) as at:
        error = await at.denied()
        assert error.message == (
            "'vertex' has no access token: the service account's private_key is no RSA key we can use"
        )
        assert error.error_class is ErrorClass.AUTH
        assert "c2VjcmV0" not in "".join(traceback.format_exception(error))


async def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    async with bench() as at:
        error = await at.denied()
    assert error.message == (
        "'vertex' has no access token: the package cryptography is missing: pip install 'dragoman[vertex]'"
    )
    assert error.error_class is ErrorClass.AUTH


async def test_a_token_server_that_is_not_there_is_unavailable() -> None:
    async with bench(token_uri="http://127.0.0.1:1/token") as at:
        error = await at.denied()
        assert error.message == (
            "'vertex' has no access token: the token server could not be reached: "
            "127.0.0.1:1 refused the connection; nothing listens there, or a firewall says no"
        )
        assert (error.error_class, error.bought) == (ErrorClass.UNAVAILABLE, False)


async def test_a_token_server_that_hangs_up_is_unavailable() -> None:
    async def hanging_up(request: Request) -> None:
        await request.read_body()
        await request.hang_up()

    async with serving(hanging_up) as silent, bench(token_uri=f"{silent.url}/token") as at:
        error = await at.denied()
        assert error.error_class is ErrorClass.UNAVAILABLE
        assert "token server closed the connection without an answer" in error.message


async def test_no_call_waits_for_a_token_longer_than_it_may() -> None:
    async with serving(until_hung_up) as silent, bench(token_uri=f"{silent.url}/token") as at:
        with pytest.raises(UpstreamError) as caught:
            await at.call(Deadlines(first_byte_s=0.05))
        assert caught.value.message == (
            "'vertex' has no access token: the token server did not answer in time"
        )
        assert caught.value.error_class is ErrorClass.UNAVAILABLE


async def test_a_caller_that_leaves_does_not_take_the_token_from_the_others() -> None:
    free = asyncio.Event()
    server = TokenServer()

    async def slow(request: Request) -> None:
        if b"/token" in request.head:
            await free.wait()
        await server(request)

    upstream = Upstream()
    async with serving(slow) as listening:
        server.server = listening
        at = Bench(server, upstream)
        first = asyncio.create_task(at.call())
        await until(lambda: bool(listening.requests))
        second = asyncio.create_task(at.call())
        await asyncio.sleep(0)
        first.cancel()
        free.set()
        assert await second == 200
        assert server.asked == 1
        with pytest.raises(asyncio.CancelledError):
            await first
        await upstream.close()


async def test_a_token_that_the_vendor_refuses_is_thrown_away_once() -> None:
    async with bench() as at:
        await at.call()
        at.server.revoked = {"token-1-canary"}
        assert await asyncio.gather(*(at.call() for _ in range(20))) == [200] * 20
        assert at.server.asked == 2
        at.server.revoked.add("token-2-canary")
        sent = len(at.server.used)
        assert await at.call() == 401  # a second one within a minute is not about the token
        assert len(at.server.used) == sent + 1
        assert at.server.asked == 2
        at.clock.now += 61
        assert await at.call() == 200
        assert at.server.asked == 3


async def test_a_new_token_that_is_refused_too_is_the_vendors_answer() -> None:
    async with bench() as at:
        at.server.revoked = {f"token-{n}-canary" for n in range(9)}
        assert await at.call() == 401
        assert at.server.used == ["Bearer token-1-canary", "Bearer token-2-canary"]
        assert await at.call() == 401
        assert at.server.asked == 2


async def test_all_that_is_secret_is_known_as_such() -> None:
    async with bench() as at:
        await at.call()
        at.clock.now += 3600
        await at.call()
        secrets = at.account.secrets
        sent = [request.body for request in at.server.server.requests if b"/token" in request.head]
        assertion = sent[-1].decode().partition("assertion=")[2]
        for secret in ("token-1-canary", "token-2-canary", pem(), assertion, "blue-team"):
            assert secret in secrets
        error = UpstreamError(ErrorClass.AUTH, f"no: token-2-canary {json.dumps(pem())} {pem()} {assertion}")
        assert error.without(secrets).message == 'no: *** "***" *** ***'
        shown = (
            f"{at.account!r} {at.token!r} {at.token} {service_accounts.read(account_file('https://x/t'))!r}"
        )
        for secret in (*secrets, "PRIVATE KEY"):
            assert secret not in shown
        assert at.account.auth.shown == ({"x-team": "***", "authorization": "***"}, "")
