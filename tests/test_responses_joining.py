"""A response in the background that is asked for again is the one that is being made, or was made."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.fronts.openai.kept import stream
from tests import responses_law
from tests.gateway import KEY, Gateway, open_gateway
from tests.picture_vendors import providers
from tests.raw_http import RawRequest
from tests.served import waited
from tests.test_joining import FILE, send
from tests.test_metrics import scraped
from tests.test_replies_waiting import renamed

OTHER = "sk-test-narrow"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with open_gateway(tmp_path_factory.mktemp("joining"), FILE) as opened:
        yield opened


def on_disk(folder: Path) -> Any:
    return open_gateway(folder, f'{FILE}server: {{state: "sqlite:{folder}/state/dragoman.db"}}\n')


def ask(gateway: Gateway, prompt: str, caller: str = KEY, **headers: str) -> httpx.Response:
    return asked(gateway, {"input": prompt}, caller, **headers)


def asked(gateway: Gateway, body: Any, caller: str = KEY, **headers: str) -> httpx.Response:
    return send(
        gateway, "responses", {"json": {"model": "flash", "background": True, **body}}, caller, **headers
    )


def call(gateway: Gateway, method: str, path: str) -> Any:
    headers = {"authorization": f"Bearer {KEY}"}
    return gateway.http.request(method, f"{gateway.base_url}/v1/responses/{path}", headers=headers).json()


def over(gateway: Gateway, identity: str) -> Any:
    """The reply as soon as it is."""

    def look() -> Any:
        found = call(gateway, "GET", identity)
        return found if found["status"] not in ("queued", "in_progress") else None

    return waited(look)


def orders(gateway: Gateway, prompt: str) -> int:
    return sum(prompt in str(exchange.body) for exchange in gateway.sent())


@pytest.mark.parametrize("model", ["flash", "by-talk"])
def test_the_same_key_with_the_same_body_gives_the_same_response(gateway: Gateway, model: str) -> None:
    """While it is made and when it is done; words and pictures."""
    prompt = f"Keyed {model}"
    body = {"model": model, "input": f"{prompt} sim:slow:1", "text": {"verbosity": "low"}}
    first = asked(gateway, body, idempotency_key=prompt)
    running = asked(gateway, body, idempotency_key=prompt)
    assert (first.status_code, running.status_code) == (200, 200)
    assert "x-proxy-joined" not in first.headers
    assert running.headers["x-proxy-joined"] == "running"
    assert running.json()["status"] in ("queued", "in_progress")
    found = over(gateway, first.json()["id"])
    done = asked(gateway, body, idempotency_key=prompt)
    assert (done.headers["x-proxy-joined"], done.headers["x-proxy-dropped"]) == ("done", "text.verbosity")
    assert done.json() == found
    assert {first.json()["id"], running.json()["id"]} == {found["id"]}
    assert (found["status"], orders(gateway, prompt)) == ("completed", 1)


def test_the_same_key_with_another_body_is_refused(gateway: Gateway) -> None:
    ask(gateway, "First words", idempotency_key="reused")
    for body in ({"input": "Other words"}, {"input": "First words", "stream": True}):
        refused = asked(gateway, body, idempotency_key="reused")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_key_reused")
        assert refused.headers["x-should-retry"] == "false"
    assert orders(gateway, "Other words") == 0


def test_a_key_is_a_callers_own(gateway: Gateway) -> None:
    replies = [ask(gateway, "Shared words", caller, idempotency_key="shared") for caller in (KEY, OTHER)]
    assert len({reply.json()["id"] for reply in replies}) == 2
    waited(lambda: orders(gateway, "Shared words") == 2)


def test_a_key_that_cannot_be_kept_is_refused(gateway: Gateway) -> None:
    reply = ask(gateway, "Never sent", idempotency_key="x" * 256)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_idempotency_key")
    assert orders(gateway, "Never sent") == 0


DEEP: Any = {"type": "object"}
for _ in range(130):
    DEEP = {"type": "object", "properties": {"a": DEEP}}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "body",
    [
        {"input": "Never sent", "tools": [{"type": "function", "name": "f", "parameters": DEEP}]},
        {"input": "Never sent", "text": {"format": {"type": "json_schema", "name": "x", "schema": DEEP}}},
        {"input": [{"role": "user", "content": "Never sent", "extra": DEEP}]},
    ],
    ids=["tool", "format", "member that nobody reads"],
)
def test_what_is_too_deep_to_be_kept_is_refused_under_a_key_too(
    gateway: Gateway, body: Any, stream: bool
) -> None:
    reply = asked(gateway, {**body, "stream": stream}, idempotency_key="deep")
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "not_keepable")
    assert orders(gateway, "Never sent") == 0


def test_many_that_come_at_once_are_one(gateway: Gateway) -> None:
    with ThreadPoolExecutor(8) as pool:
        replies = list(
            pool.map(lambda _: ask(gateway, "At once sim:slow:2", idempotency_key="at once"), range(8))
        )
    assert len({reply.json()["id"] for reply in replies}) == 1
    assert sorted(reply.headers.get("x-proxy-joined", "") for reply in replies) == ["", *["running"] * 7]
    assert orders(gateway, "At once") == 1


def test_an_sdks_retry_of_the_same_body_joins_and_a_first_request_never_does(gateway: Gateway) -> None:
    """Who asks twice for the same wants two; what is repeated is the newer."""
    prompt = "Retried sim:slow:1"
    firsts = [ask(gateway, prompt, x_stainless_retry_count="0").json()["id"] for _ in range(2)]
    again = ask(gateway, prompt, x_stainless_retry_count="1")
    other = ask(gateway, prompt, OTHER, x_stainless_retry_count="1")
    assert len({*firsts, other.json()["id"]}) == 3
    assert again.json()["id"] == firsts[1]
    assert "x-proxy-joined" in again.headers
    assert "x-proxy-joined" not in other.headers
    waited(lambda: orders(gateway, "Retried") == 3)


def test_a_stream_is_joined_from_its_first_event(gateway: Gateway) -> None:
    body = {"input": "Told twice sim:slow:1", "stream": True}
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: asked(gateway, body, idempotency_key="told"), range(2)))
    both.append(asked(gateway, body, idempotency_key="told"))
    told = [responses_law.parsed(reply.content) for reply in both]
    assert told[0] == told[1] == told[2]
    assert told[0][-1]["type"] == "response.completed"
    joined = [reply.headers.get("x-proxy-joined", "") for reply in both]
    assert (sorted(joined[:2]), joined[2]) == (["", "running"], "done")
    assert orders(gateway, "Told twice") == 1


@pytest.mark.parametrize("mib", [4, 3], ids=["while it is made", "beside the reply"])
def test_a_stream_that_is_too_long_to_be_kept_is_told_at_once(gateway: Gateway, mib: int) -> None:
    body = {"input": f"Go on for {mib} sim:big:{mib} sim:chunks:8", "stream": True}
    first, again = (asked(gateway, body, idempotency_key=f"long {mib}") for _ in range(2))
    last, told = responses_law.parsed(first.content)[-1], responses_law.checked(again.content)
    assert again.headers["x-proxy-joined"] == "done"
    assert [event["type"] for event in told] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    (item,) = last["response"]["output"]
    assert told[4]["delta"] == item["content"][0]["text"]
    assert (told[7]["item"], told[8]["response"]) == (item, last["response"])
    assert orders(gateway, f"Go on for {mib}") == 1


def test_what_is_told_at_once_has_what_was_thought_said_and_called() -> None:
    why = {"type": "summary_text", "text": "It is rude."}
    no = {"type": "refusal", "refusal": "Not that."}
    thought = {"id": "rs_1", "type": "reasoning", "summary": [why]}
    said = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [no]}
    call = {"id": "fc_1", "type": "function_call", "status": "completed", "name": "f", "arguments": "{}"}
    drawn = {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "AAAA"}
    output = [thought, said, call, drawn]
    response = {"id": "resp_1", "status": "completed", "usage": {}, "error": None, "output": output}
    told = responses_law.checked(stream.at_once(response))
    assert [event["delta"] for event in told if "delta" in event] == ["It is rude.", "Not that.", "{}"]
    done = [event["item"] for event in told if event["type"] == "response.output_item.done"]
    assert (done, told[-1]["response"]) == (output, response)


def test_what_failed_and_cost_nothing_starts_anew(gateway: Gateway) -> None:
    prompt = "Busy sim:fail-once:400"
    failed = over(gateway, ask(gateway, prompt, idempotency_key="busy").json()["id"])
    assert failed["status"] == "failed"
    again = ask(gateway, prompt, idempotency_key="busy")
    assert "x-proxy-joined" not in again.headers
    assert over(gateway, again.json()["id"])["status"] == "completed"


def test_what_failed_and_may_have_been_paid_is_not_begun_again(gateway: Gateway) -> None:
    prompt = "Broken off sim:cut:1"
    failed = over(gateway, ask(gateway, prompt, idempotency_key="cut").json()["id"])
    bought = orders(gateway, prompt)
    again = ask(gateway, prompt, idempotency_key="cut")
    assert (again.headers["x-proxy-joined"], again.json()) == ("done", failed)
    assert (failed["status"], orders(gateway, prompt)) == ("failed", bought)


def test_what_was_called_off_stays_so_until_it_is_deleted(gateway: Gateway) -> None:
    prompt = "Called off sim:slow:20"
    first = ask(gateway, prompt, idempotency_key="called off").json()["id"]
    call(gateway, "POST", f"{first}/cancel")
    told = ask(gateway, prompt, idempotency_key="called off")
    assert (told.json()["id"], told.json()["status"]) == (first, "cancelled")
    call(gateway, "DELETE", first)
    anew = ask(gateway, prompt, idempotency_key="called off").json()["id"]
    assert anew != first
    call(gateway, "DELETE", anew)


def test_a_stopped_servers_response_is_joined_at_the_next(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is made again there, by the same id, as for who fetches it; the log names it."""
    prompt = "Left behind sim:slow:1"
    with on_disk(tmp_path) as first:
        begun = ask(first, prompt, idempotency_key="left").json()["id"]
    with on_disk(tmp_path) as second:
        assert ask(second, "Other words", idempotency_key="left").status_code == 409
        joined = ask(second, prompt, idempotency_key="left")
        assert (joined.json()["id"], joined.headers["x-proxy-joined"]) == (begun, "running")
        assert over(second, begun)["status"] == "completed"
        assert ask(second, prompt, x_stainless_retry_count="2").json()["id"] == begun
        assert orders(second, "Left behind") == 1
    logged = capfd.readouterr().err
    assert f'"reply":"{begun}"}}' in logged
    assert f'"reply":"{begun}","joined":"running"}}' in logged
    assert f'"reply":"{begun}","joined":"done"}}' in logged


def test_a_stopped_servers_stream_begins_anew_at_the_next(tmp_path: Path) -> None:
    """Words were paid, but there is nothing of them that could be told."""
    body = {"model": "flash", "input": "Broken off sim:slow:2", "background": True, "stream": True}
    keyed = {"idempotency-key": "broken"}
    with on_disk(tmp_path) as first, RawRequest(first, body, path="/v1/responses", headers=keyed) as begun:
        begun.send()
        waited(lambda: orders(first, "Broken off"))
    with on_disk(tmp_path) as second:
        again = asked(second, body, idempotency_key="broken")
        assert "x-proxy-joined" not in again.headers
        assert responses_law.parsed(again.content)[-1]["type"] == "response.completed"


def test_a_stopped_servers_picture_is_not_bought_again_at_the_next(tmp_path: Path) -> None:
    body = {"model": "by-talk", "background": True, "input": "A hare sim:slow:20", "stream": True}
    keyed = {"idempotency-key": "hare"}
    with on_disk(tmp_path) as first, RawRequest(first, body, path="/v1/responses", headers=keyed) as begun:
        begun.send()
        waited(lambda: orders(first, "A hare"))
    with on_disk(tmp_path) as second:
        again = asked(second, body, idempotency_key="hare")
        assert again.headers["x-proxy-joined"] == "done"
        assert responses_law.parsed(again.content)[-1]["type"] == "response.failed"
        assert orders(second, "A hare") == 0


def test_a_stream_of_a_dead_server_that_is_called_off_stays_so(tmp_path: Path) -> None:
    """Where it is fetched, or asked for again, it begins anew instead."""
    left = "UPDATE replies SET running = 1, alive_until = 1, body = NULL, asked = '{}'"
    with on_disk(tmp_path) as gateway:
        begun = asked(gateway, {"input": "Cut short", "stream": True}, idempotency_key="dead")
        identity = responses_law.parsed(begun.content)[0]["response"]["id"]
        waited(lambda: _is_written(tmp_path, identity))
        with closing(sqlite3.connect(tmp_path / "state" / "dragoman.db", isolation_level=None)) as store:
            store.execute(left)
        assert call(gateway, "POST", f"{identity}/cancel")["status"] == "cancelled"
        again = asked(gateway, {"input": "Cut short", "stream": True}, idempotency_key="dead")
        assert again.headers["x-proxy-joined"] == "done"
        assert orders(gateway, "Cut short") == 1


def test_what_could_not_be_found_again_is_not_begun(tmp_path: Path) -> None:
    """A key is a promise; an SDK that may ask again is answered all the same."""
    with on_disk(tmp_path) as gateway:
        over(gateway, ask(gateway, "The table is there").json()["id"])
        renamed(tmp_path, "replies", "away")
        refused = ask(gateway, "Promised", idempotency_key="promised")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
        assert ask(gateway, "Not promised", x_stainless_retry_count="0").status_code == 200
        renamed(tmp_path, "away", "replies")
        waited(lambda: orders(gateway, "Not promised") == 1)
        assert orders(gateway, "Promised") == 0


@pytest.mark.parametrize(
    ("stream", "first", "again"),
    [
        (False, {"idempotency_key": "slow"}, {"idempotency_key": "slow"}),
        (True, {"idempotency_key": "slow"}, {"idempotency_key": "slow"}),
        (False, {"x_stainless_retry_count": "0"}, {"x_stainless_retry_count": "1"}),
    ],
    ids=["key", "stream", "sdk"],
)
def test_who_leaves_a_slow_store_and_asks_again_finds_what_was_begun(
    tmp_path: Path, stream: bool, first: dict[str, str], again: dict[str, str]
) -> None:
    body = {"model": "flash", "background": True, "input": "Slowly kept", "stream": stream}
    with on_disk(tmp_path) as gateway, ThreadPoolExecutor(1) as pool:
        begun = ask(gateway, "The table is there").json()["id"]
        waited(lambda: _is_written(tmp_path, begun))
        with _writing(tmp_path):
            _leave(gateway, "responses", body, first)
            coming = pool.submit(send, gateway, "responses", {"json": body}, **again)
            waited(lambda: _in_flight(gateway) == 2)
        reply = coming.result()
        assert (reply.status_code, "x-proxy-joined" in reply.headers) == (200, True)
        if not stream:
            assert over(gateway, reply.json()["id"])["status"] == "completed"
        assert orders(gateway, "Slowly kept") == 1


@pytest.mark.parametrize("kind", ["keeper", "shelf"])
def test_who_comes_again_while_a_slow_store_keeps_the_first_needs_nothing_more(
    tmp_path: Path, kind: str
) -> None:
    """Its key may have one request; and two that came together are one."""
    limited = "{name: app, key: env:TEST_KEY, limits: {requests: 1/hour}}"
    file = FILE.replace("{name: app, key: env:TEST_KEY}", limited)
    file += f'server: {{state: "sqlite:{tmp_path}/state/dragoman.db"}}\n'
    path, body = {
        "keeper": ("images/generations", {"model": "wan", "prompt": "Slowly"}),
        "shelf": ("responses", {"model": "flash", "background": True, "input": "Slowly"}),
    }[kind]
    with open_gateway(tmp_path, file) as gateway, ThreadPoolExecutor(2) as pool:
        begun = ask(gateway, "The tables are there", OTHER).json()["id"]
        waited(lambda: _is_written(tmp_path, begun))
        opening = getattr(gateway.application.house.services, kind).opening  # type: ignore[union-attr]
        with _writing(tmp_path):
            first = pool.submit(send, gateway, path, {"json": body}, idempotency_key="one")
            waited(lambda: opening)
            again = pool.submit(send, gateway, path, {"json": body}, idempotency_key="one")
            waited(lambda: _in_flight(gateway) == 2 or again.done())
        assert [first.result().status_code, again.result().status_code] == [200, 200], again.result().text
        assert "x-proxy-joined" in again.result().headers
        waited(lambda: orders(gateway, "Slowly") == 1)
        assert len(opening) == 0


@pytest.mark.parametrize("prefers", [{}, {"prefer": "respond-async"}], ids=["waited", "task"])
@pytest.mark.parametrize(
    "found_by", [{"idempotency_key": "slow"}, {"x_stainless_retry_count": "1"}], ids=["key", "sdk"]
)
def test_a_picture_is_bought_for_who_leaves_a_slow_store_and_asks_again(
    tmp_path: Path, prefers: dict[str, str], found_by: dict[str, str]
) -> None:
    path, body, headers = "images/generations", {"model": "wan", "prompt": "Slowly"}, prefers | found_by
    with on_disk(tmp_path) as gateway, ThreadPoolExecutor(1) as pool:
        begun = ask(gateway, "The tables are there").json()["id"]
        waited(lambda: _is_written(tmp_path, begun))
        with _writing(tmp_path):
            _leave(gateway, path, body, headers)
            waited(lambda: _in_flight(gateway) == 0)
            coming = pool.submit(send, gateway, path, {"json": body}, **headers)
            waited(lambda: _in_flight(gateway) == 1)
        task = f"{gateway.base_url}/v1/tasks/{coming.result().headers['x-proxy-task']}"
        own = {"authorization": f"Bearer {KEY}"}
        waited(lambda: gateway.http.get(task, headers=own).json()["status"] == "completed")
        assert orders(gateway, "Slowly") == 1


@pytest.mark.parametrize("found_by", [{}, {"idempotency_key": "slow"}], ids=["nothing", "key"])
def test_a_task_whose_client_leaves_a_slow_store_goes_on(tmp_path: Path, found_by: dict[str, str]) -> None:
    """Nobody waits for it in any case, and who asks again elsewhere may have its id by now."""
    path, body = "images/generations", {"model": "wan", "prompt": "Slowly", "background": True}
    with on_disk(tmp_path) as gateway:
        begun = ask(gateway, "The tables are there").json()["id"]
        waited(lambda: _is_written(tmp_path, begun))
        with _writing(tmp_path):
            _leave(gateway, path, body, found_by)
            waited(lambda: _in_flight(gateway) == 0)

        def ended() -> Any:
            own = {"authorization": f"Bearer {KEY}"}
            listed = gateway.http.get(f"{gateway.base_url}/v1/tasks", headers=own).json()["data"]
            return [task["status"] for task in listed if task["status"] in ("completed", "cancelled")]

        assert waited(ended) == ["completed"]
        assert orders(gateway, "Slowly") == 1


@pytest.mark.parametrize("leaves", [False, True], ids=["asks twice", "asks and leaves"])
def test_what_is_called_off_twice_at_a_slow_store_is_called_off_once(tmp_path: Path, leaves: bool) -> None:
    """The second time must not break off what writes down the first."""
    own = {"authorization": f"Bearer {KEY}"}
    cancels = providers("dashscope", extra="private: true, on_disconnect: cancel")
    file = FILE.replace(providers("dashscope"), cancels)
    file += f'server: {{state: "sqlite:{tmp_path}/state/dragoman.db"}}\n'
    body, found_by = {"model": "wan", "prompt": "Slowly sim:polls:40"}, {"x-stainless-retry-count": "0"}
    with open_gateway(tmp_path, file) as gateway, ThreadPoolExecutor(2) as pool:
        with RawRequest(gateway, body, path="/v1/images/generations", headers=found_by) as waiting:
            waiting.send()
            (order,) = waited(lambda: gateway.vendors.log.ledger.tasks(prompt=body["prompt"]))

            def shown() -> Any:
                (task,) = gateway.http.get(f"{gateway.base_url}/v1/tasks", headers=own).json()["data"]
                return task

            waited(lambda: order.polls_ms and shown()["task_info"]["can_cancel"])
            address = f"{gateway.base_url}/v1/tasks/{shown()['id']}/cancel"
            with _writing(tmp_path):
                called = [pool.submit(gateway.http.post, address, headers=own)]
                waited(lambda: order.cancelled)
                if leaves:
                    waiting.socket.close()
                    waited(lambda: _in_flight(gateway) == 0)
                else:
                    called.append(pool.submit(gateway.http.post, address, headers=own))
                for _ in range(10):
                    shown()
        assert {reply.result().json().get("status") for reply in called} == {"cancelled"}
        assert shown()["status"] == "cancelled"


def test_what_is_made_is_kept_by_a_slow_store_while_the_process_ends(tmp_path: Path) -> None:
    """A row that stays as it is would have it made, and paid, again."""
    own = {"authorization": f"Bearer {KEY}"}
    with ExitStack() as served, ThreadPoolExecutor(1) as pool:
        gateway = served.enter_context(on_disk(tmp_path))
        address = f"{gateway.base_url}/v1"
        conversation = httpx.post(f"{address}/conversations", headers=own, json={}).json()["id"]
        body = {"model": "flash", "background": True, "stream": True, "input": "Made sim:slow:0.5"}
        body["conversation"] = conversation
        with gateway.http.stream("POST", f"{address}/responses", headers=own, json=body) as reply:
            lines = reply.iter_lines()
            made = next(json.loads(line[6:]) for line in lines if line.startswith("data: "))["response"]["id"]
            with _writing(tmp_path):
                assert any("response.completed" in line for line in lines)
                reply.close()
                ending = pool.submit(served.close)
                waited(lambda: not _listens(gateway))
                assert not ending.done()
        ending.result()
        assert _is_written(tmp_path, made)


def _listens(gateway: Gateway) -> bool:
    try:
        return httpx.get(f"{gateway.base_url}/livez").status_code == 200
    except httpx.TransportError:
        return False


def test_a_task_whose_client_leaves_a_slow_store_keeps_its_money(tmp_path: Path) -> None:
    """Until it is ordered; of two only one is paid."""
    budget = '{name: app, key: env:TEST_KEY, budget: {amount: "0.3", currency: CNY, period: total}}'
    file = FILE.replace("{name: app, key: env:TEST_KEY}", budget)
    file = file.replace("wan2.7-image], poll", "wan2.7-image], price: {image: 0.2, currency: CNY}, poll")
    file += f'server: {{state: "sqlite:{tmp_path}/state/dragoman.db"}}\n'
    path, body = "images/generations", {"model": "wan", "prompt": "Slowly", "background": True}
    with open_gateway(tmp_path, file) as gateway:
        begun = ask(gateway, "The tables are there", OTHER).json()["id"]
        waited(lambda: _is_written(tmp_path, begun))
        own = {"authorization": f"Bearer {KEY}"}  # what it has spent is known from here on
        gateway.http.get(f"{gateway.base_url}/v1/dashboard/billing/subscription", headers=own)
        with _writing(tmp_path):
            _leave(gateway, path, body, {})
            waited(lambda: _in_flight(gateway) == 0)
            refused = send(gateway, path, {"json": {"model": "wan", "prompt": "Another"}})
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
        waited(lambda: orders(gateway, "Slowly") == 1)
        assert orders(gateway, "Another") == 0


def _leave(gateway: Gateway, path: str, body: Any, headers: dict[str, str]) -> None:
    """Ask, and hang up while it is at work."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    left = RawRequest(gateway, body, path=f"/v1/{path}", headers=named)
    left.socket.sendall(left.head + left.payload)
    waited(lambda: _in_flight(gateway) == 1)
    left.socket.close()


def _is_written(folder: Path, identity: str) -> bool:
    """Whether the end of a reply is in the store."""
    with closing(sqlite3.connect(folder / "state" / "dragoman.db")) as store:
        running = store.execute("SELECT running FROM replies WHERE id = ?", [identity]).fetchone()
    return bool(running == (0,))


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Nobody else writes to the store."""
    with closing(sqlite3.connect(folder / "state" / "dragoman.db", isolation_level=None)) as store:
        store.execute("BEGIN IMMEDIATE")
        yield


def _in_flight(gateway: Gateway) -> float:
    return scraped(gateway.base_url)["dragoman_requests_in_flight"]
