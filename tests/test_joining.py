"""A request that comes again joins the one that it repeats: what is sold by the piece is bought once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import sqlalchemy as sa

from proxy.serve import joining
from proxy.store import tasks
from proxy.store.database import Database
from tests.gateway import KEY, Gateway, open_gateway
from tests.picture_vendors import GOOD, HEAD, decoded, post, providers, watching
from tests.raw_http import RawRequest
from tests.served import waited
from tests.test_store import TASK

FILE = (
    HEAD.replace(
        "{name: app, key: env:TEST_KEY}",
        "{name: app, key: env:TEST_KEY}, {name: other, key: env:TEST_NARROW_KEY}",
    )
    + providers("dashscope", "grsai")
    + """
models:
  wan: {targets: [dashscope/wan2.7-image], poll: {every: 60ms}}
  plain: {targets: [grsai/nano-banana], poll: {every: 60ms}}
  by-talk: {targets: [google/gemini-3-pro-image]}
  flash: {targets: [google/gemini-3-flash-preview]}
"""
)
PATHS = ["images/generations", "images/edits", "chat/completions"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with open_gateway(tmp_path_factory.mktemp("joining"), FILE) as opened:
        yield opened


def asks(path: str, model: str, prompt: str, **fields: Any) -> dict[str, Any]:
    """The fields of a request in the words of an endpoint."""
    if path == "chat/completions":
        return {"json": {"model": model, "messages": [{"role": "user", "content": prompt}], **fields}}
    if path == "images/edits":  # a form has another boundary each time
        return {
            "data": {"model": model, "prompt": prompt, **fields},
            "files": {"image": ("a.png", GOOD, "image/png")},
        }
    return {"json": {"model": model, "prompt": prompt, **fields}}


def send(
    gateway: Gateway, path: str, asked: dict[str, Any], key: str = KEY, **headers: str
) -> httpx.Response:
    sent = {
        "authorization": f"Bearer {key}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return httpx.post(f"{gateway.base_url}/v1/{path}", headers=sent, timeout=30, **asked)


def picture_of(reply: httpx.Response) -> str:
    """Its bytes in base64, wherever they stand."""
    assert reply.status_code == 200, reply.text
    body = reply.json()
    if "data" in body:
        found: str = body["data"][0]["b64_json"]
        return found
    content = body["choices"][0]["message"]["content"]
    return next(part["image_url"]["url"] for part in content if part["type"] == "image_url")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("model", ["wan", "plain", "by-talk"])
def test_the_same_key_with_the_same_body_gives_the_same_picture(
    gateway: Gateway, path: str, model: str
) -> None:
    asked = asks(path, model, f"Keyed {path} {model}")
    with watching(gateway) as seen:
        first = send(gateway, path, asked, idempotency_key=f"k {path} {model}")
        again = send(gateway, path, asked, idempotency_key=f"k {path} {model}")
        assert len(seen.submits()) == 1
    assert picture_of(first) == picture_of(again)
    assert "x-proxy-joined" not in first.headers
    assert again.headers["x-proxy-joined"] == "done"
    assert again.headers["x-proxy-task"] == first.headers["x-proxy-task"]


@pytest.mark.parametrize("path", PATHS)
def test_a_running_request_is_joined(gateway: Gateway, path: str) -> None:
    asked = asks(path, "wan", f"Together {path} sim:slow:1")
    with watching(gateway) as seen, ThreadPoolExecutor(8) as pool:
        replies = list(
            pool.map(lambda _: send(gateway, path, asked, idempotency_key=f"together {path}"), range(8))
        )
        assert len(seen.submits()) == 1
    assert len({picture_of(reply) for reply in replies}) == 1
    assert sorted(reply.headers.get("x-proxy-joined", "") for reply in replies) == ["", *["running"] * 7]


def test_the_same_key_with_another_body_is_refused(gateway: Gateway) -> None:
    with watching(gateway) as seen:
        send(gateway, PATHS[0], asks(PATHS[0], "wan", "One"), idempotency_key="reused")
        for asked in (asks(PATHS[0], "wan", "Two"), asks(PATHS[0], "wan", "One", n=2)):
            refused = send(gateway, PATHS[0], asked, idempotency_key="reused")
            error = refused.json()["error"]
            assert (refused.status_code, error["code"]) == (409, "idempotency_key_reused")
            assert error["message"].startswith("This Idempotency-Key came with another request before;")
            assert refused.headers["x-should-retry"] == "false"
        assert len(seen.submits()) == 1


@pytest.mark.parametrize(
    ("endpoint", "path", "known_by"),
    [
        ("/images/generations", {}, "26584935433c81b8a8c5e7da5f12f7e7e48c010887f94527a7d547ec3fb189ee"),
        ("/models", {"model": "by-talk"}, "a09f7b323b9dec51eca5c8d3306d1302860bdae61d116d3b66c00aa234efbe0a"),
    ],
)
def test_a_request_is_known_by_the_same_in_every_version(
    endpoint: str, path: dict[str, str], known_by: str
) -> None:
    """What an older server kept is found by a newer one."""
    assert joining.digest(endpoint, path, b'j{"n":1}').hex() == known_by


def test_a_key_is_a_callers_own(gateway: Gateway) -> None:
    with watching(gateway) as seen:
        for caller in (KEY, "sk-test-narrow"):
            send(gateway, PATHS[0], asks(PATHS[0], "wan", "Shared words"), caller, idempotency_key="shared")
        assert len(seen.submits()) == 2


def test_a_task_is_joined_too(gateway: Gateway) -> None:
    asked = asks(PATHS[0], "wan", "Task twice", background=True)
    with watching(gateway) as seen:
        first, again = (send(gateway, PATHS[0], asked, idempotency_key="task twice") for _ in range(2))
        assert first.json()["id"] == again.json()["id"]
        look = f"{gateway.base_url}/v1/tasks/{first.json()['id']}"
        headers = {"authorization": f"Bearer {KEY}"}
        waited(lambda: httpx.get(look, headers=headers).json()["status"] == "completed")
        done = send(gateway, PATHS[0], asked, idempotency_key="task twice")
        assert (done.status_code, done.json()["status"]) == (200, "completed")
        assert len(seen.submits()) == 1


@pytest.mark.parametrize("key", ["x" * 256, "n\xe4", "a\tb"])
def test_a_key_that_cannot_be_kept_is_refused(gateway: Gateway, key: str) -> None:
    headers = {"authorization": f"Bearer {KEY}", "idempotency-key": key.encode("latin-1")}
    reply = httpx.post(
        f"{gateway.base_url}/v1/images/generations", headers=headers, json={"model": "wan", "prompt": "x"}
    )  # type: ignore[arg-type]
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_idempotency_key")


def test_a_key_of_255_characters_is_kept(gateway: Gateway) -> None:
    asked = asks(PATHS[0], "plain", "A long key")
    with watching(gateway) as seen:
        replies = [send(gateway, PATHS[0], asked, idempotency_key="k" * 255) for _ in range(2)]
        assert len(seen.submits()) == 1
    assert [reply.headers.get("x-proxy-joined") for reply in replies] == [None, "done"]


def test_what_ended_without_a_purchase_starts_anew(gateway: Gateway) -> None:
    asked = asks(PATHS[0], "wan", "Busy sim:fail-times:1:503")
    with watching(gateway):
        assert send(gateway, PATHS[0], asked, idempotency_key="busy").status_code == 503
        assert send(gateway, PATHS[0], asked, idempotency_key="busy").status_code == 200


def test_what_was_bought_and_failed_is_told_again(gateway: Gateway) -> None:
    asked = asks(PATHS[0], "wan", "Refused sim:moderate")
    with watching(gateway) as seen:
        first, again = (send(gateway, PATHS[0], asked, idempotency_key="refused") for _ in range(2))
        assert len(seen.submits()) == 1
    assert (first.status_code, again.status_code) == (400, 400)
    told = [reply.json()["error"] for reply in (first, again)]
    assert told[0]["code"] == told[1]["code"] == "moderation_blocked"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_sdks_retry_of_the_same_body_joins(gateway: Gateway, path: str, stream: bool) -> None:
    more = ({"stream": "true"} if path == "images/edits" else {"stream": True}) if stream else {}
    asked = asks(path, "plain", f"Retried {path} {stream}", **more)
    with watching(gateway) as seen:
        first = send(gateway, path, asked, x_stainless_retry_count="0")
        again = send(gateway, path, asked, x_stainless_retry_count="1")
        assert len(seen.submits()) == 1
    assert again.headers["x-proxy-joined"] == "done"
    if not stream:
        assert picture_of(first) == picture_of(again)
    else:
        assert len(again.content) > 1000


def test_a_first_request_never_joins(gateway: Gateway) -> None:
    """Who asks twice for the same wants two."""
    asked = asks(PATHS[0], "plain", "Twice")
    with watching(gateway) as seen:
        replies = [send(gateway, PATHS[0], asked, x_stainless_retry_count="0") for _ in range(2)]
        assert len(seen.submits()) == 2
    assert [reply.headers.get("x-proxy-joined") for reply in replies] == [None, None]


VERCEL = "ai/6.0.326 ai-sdk/provider-utils/4.0.66 runtime/node.js/v20.20.2"
LANGCHAIN = "langchainjs-openai/1.0.0 ((node/v20.20.2; linux; x64))"
GOOGLE = "google-genai-sdk/3.6.1 gl-python/3.11.7 langchain-google-genai/4.4.3-ChatGoogleGenerativeAI"


@pytest.mark.parametrize("agent", [VERCEL, LANGCHAIN, GOOGLE], ids=["vercel", "langchain", "google"])
@pytest.mark.parametrize("path", PATHS)
def test_who_asks_again_whatever_it_is_told_is_told_again_what_was_bought_and_failed(
    gateway: Gateway, path: str, agent: str
) -> None:
    """They heed no `x-should-retry`, and do not say that they ask again: three, six and seven orders."""
    asked = asks(path, "plain", f"Lost {path} {agent[:5]} sim:badjson")
    with watching(gateway) as seen:
        replies = [send(gateway, path, asked, user_agent=agent) for _ in range(3)]
        assert len(seen.submits()) == 1
    assert [reply.status_code for reply in replies] == [502, 502, 502]
    assert [reply.headers.get("x-proxy-joined") for reply in replies] == [None, "done", "done"]
    assert {reply.json()["error"]["code"] for reply in replies} == {"upstream_error"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_by_googles_own_dialect_too(gateway: Gateway, stream: bool) -> None:
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    asked = {"json": {"contents": [{"parts": [{"text": f"Lost {stream} sim:drop"}]}]}}
    path = f"models/by-talk:{verb}"
    with watching(gateway) as seen:
        replies = [send(gateway, path, asked, user_agent=GOOGLE) for _ in range(2)]
        assert len(seen.exchanges()) == 1
    assert [reply.headers.get("x-proxy-joined") for reply in replies] == [None, "done"]


@pytest.mark.anyio
async def test_a_failure_is_told_again_for_a_while_only(store_address: str) -> None:
    """Of the same body, and where it was bought."""
    database = Database(store_address)
    over = {**TASK, "owner": None, "idempotency": None, "callback_url": None, "state": "failed"}
    bought = {**over, "ended_at": time.time() - 100.0, "repeatable": False}
    for number, ended in enumerate([bought, {**bought, "digest": b"other", "repeatable": True}]):
        row = {**ended, "id": f"task_old{number}"}
        await database.run(lambda connection, row=row: tasks.open_or_join(connection, row, 60, None))

    async def finds(failed_within_s: float | None, digest: bytes) -> str:
        row = {**over, "id": f"task_new{failed_within_s}", "digest": digest, "state": "running"}
        opening = partial(tasks.open_or_join, row=row, lease_s=60, retried_within_s=None)
        found, _ = await database.run(partial(opening, failed_within_s=failed_within_s))
        return str(found["id"])

    assert await finds(150.0, TASK["digest"]) == "task_old0"
    assert await finds(50.0, TASK["digest"]) == "task_new50.0"
    assert await finds(None, TASK["digest"]) == "task_newNone"
    assert await finds(151.0, b"other") == "task_new151.0"
    refused = {
        **bought,
        "id": "task_old2",
        "error": '{"class": "blocked", "status": 400}',
        "digest": b"third",
    }
    await database.run(lambda connection: tasks.open_or_join(connection, refused, 60, None))
    assert await finds(152.0, b"third") == "task_new152.0"
    await database.close()


def test_what_it_got_is_bought_again_and_so_is_what_cost_nothing(gateway: Gateway) -> None:
    """Who asks twice for the same wants two, whoever it is."""
    asked = asks(PATHS[0], "plain", "Once more")
    with watching(gateway) as seen:
        for _ in range(2):
            assert send(gateway, PATHS[0], asked, user_agent=VERCEL).status_code == 200
        assert len(seen.submits()) == 2
    busy = asks(PATHS[0], "wan", "Busy again sim:fail-times:1:503")
    with watching(gateway):
        statuses = [send(gateway, PATHS[0], busy, user_agent=VERCEL).status_code for _ in range(2)]
    assert statuses == [503, 200]


@pytest.mark.parametrize("agent", [VERCEL, LANGCHAIN, GOOGLE], ids=["vercel", "langchain", "google"])
def test_a_person_whose_picture_was_refused_may_try_again(gateway: Gateway, agent: str) -> None:
    """No client asks again by itself after a 400; what a vendor does not draw now it may draw next time."""
    asked = asks(PATHS[0], "plain", f"Rude {agent[:5]} sim:moderate")
    with watching(gateway) as seen:
        replies = [send(gateway, PATHS[0], asked, user_agent=agent) for _ in range(2)]
        assert len(seen.submits()) == 2
    assert [reply.status_code for reply in replies] == [400, 400]
    assert [reply.headers.get("x-proxy-joined") for reply in replies] == [None, None]


def test_who_heeds_what_it_is_told_may_order_anew(gateway: Gateway) -> None:
    asked = asks(PATHS[0], "plain", "Lost by a person sim:badjson")
    with watching(gateway) as seen:
        replies = [send(gateway, PATHS[0], asked, user_agent="curl/8") for _ in range(2)]
        assert len(seen.submits()) == 2
    assert [reply.headers["x-should-retry"] for reply in replies] == ["false", "false"]


def test_a_chat_of_words_is_no_task(gateway: Gateway) -> None:
    asked = asks("chat/completions", "flash", "Hello")
    with watching(gateway) as seen:
        replies = [send(gateway, "chat/completions", asked, idempotency_key="words") for _ in range(2)]
        assert len(seen.exchanges()) == 2
    assert all("x-proxy-task" not in reply.headers for reply in replies)


# --- connections that are cut


class Cutting:
    """A line to a server, or to one of several by chance, that breaks: of each connection's answer only so
    many bytes come through, and some are cut before a byte of it, after a while."""

    def __init__(self, seed: int, *base_urls: str) -> None:
        parts = (url.removeprefix("http://").partition(":") for url in base_urls)
        self._targets = [(host, int(port)) for host, _, port in parts]
        self._random = random.Random(seed)
        self._left = 2  # openai-python tries three times
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            cut, self._left = self._left > 0, self._left - 1
            threading.Thread(target=self._carry, args=(client, cut), daemon=True).start()

    def _carry(self, client: socket.socket, cut: bool) -> None:
        server = socket.create_connection(self._random.choice(self._targets))
        allowed = self._random.choice((0, 0, 1, 200, 5000)) if cut else 1 << 40
        until = time.monotonic() + (self._random.random() * 0.6 if allowed == 0 else 60)
        threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
        server.settimeout(0.02)
        try:
            while allowed >= 0 and time.monotonic() < until:
                try:
                    data = server.recv(min(65536, allowed + 1))
                except TimeoutError:
                    continue
                if not data:
                    break
                client.sendall(data[:allowed])
                allowed -= len(data)
        except OSError:
            pass
        finally:
            for one in (client, server):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)  # closing alone tells nobody while a thread reads
                one.close()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass

    def close(self) -> None:
        self._listener.close()


@pytest.mark.parametrize("model", ["wan", "plain", "by-talk"])
@pytest.mark.parametrize("seed", range(4))
def test_the_sdk_on_a_line_that_breaks_buys_each_picture_once(
    gateway: Gateway, model: str, seed: int
) -> None:
    prompt = f"Cut off {model} {seed} sim:slow:0.3"
    line = Cutting(seed, gateway.base_url)
    try:
        with (
            watching(gateway) as seen,
            openai.OpenAI(base_url=line.base_url, api_key=KEY, max_retries=2, timeout=20) as client,
        ):
            reply = client.images.generate(model=model, prompt=prompt)
            assert decoded((reply.data or ())[0].b64_json or "").width > 0
            ordered = [each for each in seen.submits() if prompt in json.dumps(each.body)]
            assert len(ordered) == 1
    finally:
        line.close()


def left(gateway: Gateway, seen: Any, asked: dict[str, Any], **headers: str) -> Any:
    """The order of a client that has left, when its vendor was asked for it once."""
    prompt = asked["json"]["prompt"]
    with RawRequest(gateway, asked["json"], path=f"/v1/{PATHS[0]}", headers=headers) as gone:
        gone.send()
        (order,) = waited(lambda: [one for one in seen.tasks(prompt) if one.polls_ms])
    return order


def test_a_client_that_left_finds_its_picture(gateway: Gateway) -> None:
    """One that says nothing by which it could ask again finds it among its tasks."""
    with watching(gateway) as seen:
        order = left(gateway, seen, asks(PATHS[0], "wan", "Left behind sim:polls:10"))
        headers = {"authorization": f"Bearer {KEY}"}

        def look() -> Any:
            listed = httpx.get(f"{gateway.base_url}/v1/tasks", headers=headers).json()["data"]
            return listed and listed[0]["status"] == "completed" and listed[0]

        found = waited(look)
        assert httpx.get(found["results"][0]).content.startswith(b"\x89PNG")
        assert len(seen.submits()) == 1
        assert not order.cancelled


@pytest.mark.parametrize(
    ("policy", "finished"), [("cancel", False), ("finish_if_paid", True), ("finish", True)]
)
def test_the_provider_says_what_becomes_of_what_a_client_left(
    tmp_path: Path, policy: str, finished: bool
) -> None:
    file = FILE.replace(
        providers("dashscope"), providers("dashscope", extra=f"private: true, on_disconnect: {policy}")
    )
    with open_gateway(tmp_path, file) as own, watching(own) as seen:
        order = left(own, seen, asks(PATHS[0], "wan", "Left by rule sim:polls:30"))
        waited(lambda: order.closed)
        assert order.cancelled is not finished


def test_what_was_called_off_for_who_left_may_come_again(tmp_path: Path) -> None:
    """By the rule of the provider that was asked last."""
    cancels = providers("dashscope", extra="private: true, on_disconnect: cancel")
    targets = "targets: [google/gemini-that-is-gone], fallback: [dashscope/wan2.7-image]"
    moved = f"  moved: {{{targets}, poll: {{every: 60ms}}}}"
    file = FILE.replace(providers("dashscope"), cancels).replace("  by-talk:", f"{moved}\n  by-talk:")
    asked = asks(PATHS[0], "moved", "Left and come again sim:polls:10")
    with open_gateway(tmp_path, file) as own, watching(own) as seen:
        order = left(own, seen, asked, **{"idempotency-key": "left"})
        assert picture_of(send(own, PATHS[0], asked, idempotency_key="left"))
        assert order.cancelled
        assert len(seen.tasks(asked["json"]["prompt"])) == 2


@contextlib.contextmanager
def look_held(words: str) -> Iterator[tuple[threading.Event, threading.Event]]:
    """A statement with these words among its values waits in the store's thread: when it is there, and when
    it may go on."""
    there, go = threading.Event(), threading.Event()

    def executing(_: Any, __: Any, ___: str, values: Any, *____: Any) -> None:
        if words in str(values) and not there.is_set():
            there.set()
            go.wait(10)

    sa.event.listen(sa.Engine, "before_cursor_execute", executing)
    try:
        yield there, go
    finally:
        go.set()
        sa.event.remove(sa.Engine, "before_cursor_execute", executing)


@pytest.mark.parametrize(("fields", "status"), [({}, 200), ({"background": True}, 202)])
def test_what_ends_while_its_row_is_read_for_who_comes_again_starts_anew(
    tmp_path: Path, fields: dict[str, Any], status: int
) -> None:
    asked = asks(PATHS[0], "wan", "Ends meanwhile sim:polls:12", **fields)
    with open_gateway(tmp_path, FILE) as own, watching(own) as seen, ThreadPoolExecutor(1) as pool:
        order = left(own, seen, asked, **{"idempotency-key": "meanwhile"})
        keeper = own.application.house.services.keeper  # type: ignore[union-attr]
        (running,) = keeper.running.values()
        loop = running._task.get_loop()

        async def both_come_at_once() -> None:
            done = threading.Event()
            behind = asyncio.ensure_future(keeper.do(lambda _: done.set()))
            await asyncio.sleep(0)
            go.set()
            done.wait(10)
            await behind

        with look_held("meanwhile") as (there, go):
            again = pool.submit(send, own, PATHS[0], asked, idempotency_key="meanwhile")
            assert there.wait(10)
            loop.call_soon_threadsafe(partial(running.call_off, repeatable=True))
            waited(lambda: running.record._turn.locked())  # its end is the next that is written
            asyncio.run_coroutine_threadsafe(both_come_at_once(), loop).result(10)
        assert again.result(20).status_code == status
        waited(lambda: len(seen.tasks(asked["json"]["prompt"])) == 2)
        assert order.cancelled


def test_nobody_joins_what_the_last_has_just_left(tmp_path: Path) -> None:
    """Not even in the moment before it is called off."""
    cancels = providers("dashscope", extra="private: true, on_disconnect: cancel")
    asked = asks(PATHS[0], "wan", "Just left sim:polls:12")
    with open_gateway(tmp_path, FILE.replace(providers("dashscope"), cancels)) as own, watching(own) as seen:
        keeper = own.application.house.services.keeper  # type: ignore[union-attr]

        async def leave() -> bool:
            (running,) = keeper.running.values()
            keeper.left(running)
            return bool(running.record.cancelling)

        with RawRequest(
            own, asked["json"], path=f"/v1/{PATHS[0]}", headers={"idempotency-key": "just"}
        ) as gone:
            gone.send()
            (order,) = waited(lambda: [one for one in seen.tasks(asked["json"]["prompt"]) if one.polls_ms])
            (running,) = keeper.running.values()
            assert asyncio.run_coroutine_threadsafe(leave(), running._task.get_loop()).result(10)
        assert picture_of(send(own, PATHS[0], asked, idempotency_key="just"))
        assert order.cancelled


@pytest.mark.parametrize(
    ("model", "shown"),
    [("wan", {}), ("plain", {}), ("by-talk", {}), ("wan", {"stream": True, "partial_images": 1})],
)
def test_in_whichever_turn_the_last_leaves_an_order_is_finished_or_never_goes_out(
    gateway: Gateway, model: str, shown: dict[str, Any]
) -> None:
    keeper = gateway.application.house.services.keeper  # type: ignore[union-attr]

    async def leave(turns: int) -> None:
        while not keeper.running:  # noqa: ASYNC110 - the turns of the loop are counted
            await asyncio.sleep(0)
        (running,) = keeper.running.values()
        record = running.record
        while not record.on_their_way:  # noqa: ASYNC110 - it is being written down
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        keeper.left(running)

    def asked(key: str) -> httpx.Response:
        key = f"{model} {shown} {key}"
        return send(gateway, PATHS[0], asks(PATHS[0], model, key, **shown), idempotency_key=key)

    found = set()
    with watching(gateway) as seen, ThreadPoolExecutor(1) as pool:
        first = pool.submit(asked, "sim:slow:0.3")
        loop = waited(lambda: [one._task.get_loop() for one in keeper.running.values()])[0]
        first.result(30)
        for turns in (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1 << 15):
            ordered = len(seen.submits())
            leaving = asyncio.run_coroutine_threadsafe(leave(turns), loop)
            reply = asked(f"left after {turns}")
            leaving.result(10)
            found.add(("task_cancelled" in reply.text, len(seen.submits()) - ordered))
    assert found == {(False, 1), (True, 0)}


def test_one_of_two_who_leaves_calls_nothing_off(tmp_path: Path) -> None:
    cancels = providers("dashscope", extra="private: true, on_disconnect: cancel")
    asked = asks(PATHS[0], "wan", "One of two left sim:slow:1.5")
    with (
        open_gateway(tmp_path, FILE.replace(providers("dashscope"), cancels)) as own,
        watching(own) as seen,
        ThreadPoolExecutor(1) as pool,
    ):
        with RawRequest(
            own, asked["json"], path=f"/v1/{PATHS[0]}", headers={"idempotency-key": "two"}
        ) as gone:
            gone.send()
            waited(lambda: seen.submits())
            stays = pool.submit(send, own, PATHS[0], asked, idempotency_key="two")
            keeper = own.application.house.services.keeper  # type: ignore[union-attr]
            waited(lambda: [running.watchers for running in keeper.running.values()] == [2])
        reply = stays.result(20)
        assert picture_of(reply)
        assert reply.headers["x-proxy-joined"] == "running"
        assert len(seen.submits()) == 1


def test_who_waits_no_longer_hears_where_it_goes_on(gateway: Gateway) -> None:
    asked = asks(PATHS[0], "plain", "Too late sim:slow:2.5")
    with watching(gateway) as seen:
        late = send(gateway, PATHS[0], asked, idempotency_key="late", x_stainless_read_timeout="2")
        error = late.json()["error"]
        assert (late.status_code, error["code"]) == (504, "upstream_timeout")
        assert f"It goes on as {late.headers['x-proxy-task']}. Nothing was ordered twice" in error["message"]
        assert late.headers["x-should-retry"] == "false"
        other = asks(PATHS[0], "plain", "Too late for good sim:slow:2.5")
        lost = send(gateway, PATHS[0], other, x_stainless_read_timeout="2").json()["error"]["message"]
        assert "may wait. Nothing was ordered twice" in lost
        assert picture_of(send(gateway, PATHS[0], asked, idempotency_key="late"))
        assert len(seen.submits()) == 2


def test_pictures_that_are_not_kept_any_more_are_not_drawn_again(tmp_path: Path) -> None:
    asked = asks(PATHS[0], "by-talk", "Not for long")
    with open_gateway(tmp_path, FILE) as own, watching(own) as seen:
        assert picture_of(send(own, PATHS[0], asked, idempotency_key="gone"))
        for file in (tmp_path / "state" / "files").rglob("*"):
            if file.is_file():
                file.unlink()
        again = send(own, PATHS[0], asked, idempotency_key="gone")
        assert (again.status_code, again.json()["error"]["code"]) == (410, "result_expired")
        assert len(seen.submits()) == 1


def test_a_request_that_was_left_before_it_was_ordered_may_come_again(gateway: Gateway) -> None:
    """Nothing is bought for who has left, and a retry starts anew."""
    reply = post(
        gateway,
        "images/generations",
        {"model": "plain", "prompt": "Calm"},
        headers={"x-stainless-retry-count": "2"},
    )
    assert reply.status_code == 200
    assert "x-proxy-joined" not in reply.headers
