"""Picture requests that are not waited for: the task they give, its life, who may see it."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import httpx
import openai
import pytest
from openai.types import ImagesResponse

from proxy.fronts.base import Form
from proxy.serve import body as bodies
from proxy.simulators.server import start
from proxy.types import FormFile, Slice
from tests.between import standing
from tests.desks import listening
from tests.gateway import KEY, Gateway, open_gateway
from tests.picture_vendors import DATA_URI, GOOD, HEAD, post, providers, watching
from tests.served import run, waited
from tests.simulated_vendors import fetched

FILE = (
    HEAD.replace(
        "{name: app, key: env:TEST_KEY}",
        "{name: app, key: env:TEST_KEY}, {name: other, key: env:TEST_NARROW_KEY}",
    )
    + providers("dashscope", "grsai", "evolink")
    + """
models:
  wan: {targets: [dashscope/wan2.7-image], poll: {every: 60ms}}
  priced: {targets: [dashscope/wan2.7-image], poll: {every: 60ms}, price: {image: 0.2, currency: CNY}}
  plain: {targets: [grsai/nano-banana], poll: {every: 60ms}}
  evolink: {targets: [evolink/gemini-3-pro-image-preview], poll: {every: 60ms}}
  by-talk: {targets: [google/gemini-3-pro-image]}
  busy: {targets: [google/gemini-2.5-flash-image]}
  either: {targets: [google/gemini-3-pro-image], fallback: [grsai/nano-banana], poll: {every: 60ms}}
tasks: {lease: 1s}
"""
)
OTHER = {"authorization": "Bearer sk-test-narrow"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with open_gateway(tmp_path_factory.mktemp("tasks"), FILE) as opened:
        yield opened


def get(gateway: Gateway, path: str, **headers: str) -> httpx.Response:
    sent = {"authorization": f"Bearer {KEY}", **headers}
    return gateway.http.get(f"{gateway.base_url}/v1/{path}", headers=sent)


def started(gateway: Gateway, model: str, prompt: str, **fields: Any) -> dict[str, Any]:
    """The task of a request that is not waited for."""
    reply = post(
        gateway, "images/generations", {"model": model, "prompt": prompt, "background": True, **fields}
    )
    assert reply.status_code == 202, reply.text
    found: dict[str, Any] = reply.json()
    return found


def ended(gateway: Gateway, task: str) -> dict[str, Any]:
    """The task as soon as it is over."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = get(gateway, f"tasks/{task}").json()
        return found if found["status"] in ("completed", "failed", "cancelled") else None

    over: dict[str, Any] = waited(look)
    return over


@pytest.mark.parametrize(
    ("more", "headers"),
    [
        ({"background": True}, {}),
        ({}, {"prefer": "handling=lenient, respond-async"}),
        ({"callback_url": "https://app.example/done"}, {}),
    ],
    ids=["background", "prefer", "callback_url"],
)
def test_a_request_that_is_not_waited_for_gives_a_task(gateway: Gateway, more: Any, headers: Any) -> None:
    """documents/001: the shape of the task object"""
    body = {"model": "wan", "prompt": f"A cat {more} {headers} sim:polls:3", **more}
    reply = post(gateway, "images/generations", body, headers=headers)
    assert reply.status_code == 202
    task = reply.json()
    assert re.fullmatch(r"task_[0-9a-f]{32}", task["id"])
    assert reply.headers["location"] == f"/v1/tasks/{task['id']}"
    assert 1 <= int(reply.headers["retry-after"]) <= 10
    assert reply.headers["preference-applied"] == "respond-async"
    assert abs(task.pop("created") - time.time()) < 5
    assert task == {
        "id": task["id"],
        "object": "image.generation.task",
        "type": "image",
        "model": "wan",
        "status": "pending",
        "progress": 0,
        "task_info": {"can_cancel": True},
        "usage": {"billing_rule": "per_call"},
    }
    assert ended(gateway, task["id"])["status"] == "completed"


@pytest.mark.parametrize(
    ("more", "headers"),
    [
        ({"background": True}, {}),
        ({}, {"prefer": "respond-async"}),
        ({"callback_url": "https://app.example/done"}, {}),
    ],
    ids=["background", "prefer", "callback_url"],
)
@pytest.mark.parametrize("model", ["wan", "by-talk"])
def test_what_a_task_loses_is_named_at_once_and_where_its_pictures_are_fetched(
    gateway: Gateway, model: str, more: Any, headers: Any
) -> None:
    body = {"model": model, "prompt": f"Lossy {model} {more} {headers}", "style": "vivid", **more}
    begun = post(gateway, "images/generations", body, headers=headers)
    assert (begun.status_code, begun.headers["x-proxy-dropped"]) == (202, "style")
    found = get(gateway, f"tasks/{ended(gateway, begun.json()['id'])['id']}")
    assert (found.json()["status"], found.headers["x-proxy-dropped"]) == ("completed", "style")


def test_what_a_strict_task_would_lose_is_refused_before_it_is_bought(gateway: Gateway) -> None:
    fields: Any = {"prompt": "Lossless", "background": True}
    strict = {"x-proxy-strict": "true"}
    with watching(gateway) as seen:
        for model in ("wan", "by-talk", "either"):
            body = {"model": model, "style": "vivid", **fields}
            refused = post(gateway, "images/generations", body, headers=strict)
            error = refused.json()["error"]
            assert (refused.status_code, error["param"]) == (400, "style")
            assert error["code"] == "unsupported_parameter"
        assert seen.submits() == []
    for ours in ({}, {"output_format": "webp"}):  # what we see to ourselves is not lost
        body = {"model": "by-talk", **fields, **ours}
        begun = post(gateway, "images/generations", body, headers=strict)
        assert (begun.status_code, "x-proxy-dropped" in begun.headers) == (202, False)
        assert ended(gateway, begun.json()["id"])["status"] == "completed"


@pytest.mark.parametrize(("order", "status"), [("", "completed"), ("sim:moderate", "failed")])
def test_what_only_one_target_of_a_task_carries_is_named_when_another_was_asked(
    gateway: Gateway, order: str, status: str
) -> None:
    """`seed` goes to the first of them, which is down."""
    body = {"model": "either", "prompt": f"Sown sim:error:503 {order}", "seed": 7, "style": "vivid"}
    begun = post(gateway, "images/generations", {**body, "background": True})
    assert (begun.status_code, begun.headers["x-proxy-dropped"]) == (202, "style")
    found = get(gateway, f"tasks/{ended(gateway, begun.json()['id'])['id']}")
    assert (found.json()["status"], found.headers["x-proxy-dropped"]) == (status, "seed, style")


def test_a_picture_that_the_model_does_not_read_fails_its_task_and_says_why(gateway: Gateway) -> None:
    """It is seen when the vendor's request is built; before that there is nothing to foretell."""
    moving = "data:image/gif;base64," + base64.b64encode(b"GIF89a" + bytes(64)).decode()
    body = {"model": "by-talk", "prompt": "Redder", "image": moving, "style": "vivid", "background": True}
    begun = post(gateway, "images/edits", body)
    assert (begun.status_code, "x-proxy-dropped" in begun.headers) == (202, False)
    task = ended(gateway, begun.json()["id"])
    assert (task["status"], task["error"]["code"]) == ("failed", "unsupported_media_type")


def test_a_task_that_is_called_off_names_what_it_lost(gateway: Gateway) -> None:
    task = started(gateway, "by-talk", "a hare sim:error:429 sim:retry-after:60", style="vivid")["id"]
    waited(lambda: any("a hare" in str(exchange.body) for exchange in gateway.sent()))
    waited(lambda: get(gateway, f"tasks/{task}").json()["task_info"]["can_cancel"])
    cancelled = post(gateway, f"tasks/{task}/cancel")
    assert (cancelled.status_code, cancelled.headers["x-proxy-dropped"]) == (200, "style")
    for path in ("", "/events"):
        assert get(gateway, f"tasks/{task}{path}").headers["x-proxy-dropped"] == "style"


@pytest.mark.parametrize("prefer", ["wait=20", "respond-async, wait=20"])
def test_a_client_that_waits_a_while_gets_its_reply(gateway: Gateway, prefer: str) -> None:
    """RFC 7240, 4.3"""
    body = {"model": "wan", "prompt": f"Soon {prefer}"}
    reply = post(gateway, "images/generations", body, headers={"prefer": prefer})
    assert reply.status_code == 200
    assert list(reply.json()["data"][0]) == ["b64_json"]
    assert get(gateway, f"tasks/{reply.headers['x-proxy-task']}").json()["status"] == "completed"


@pytest.mark.parametrize("prefer", ["wait", "wait=", "wait=soon", "wait=-1", "waits=5"])
def test_a_preference_that_says_nothing_is_none(gateway: Gateway, prefer: str) -> None:
    body = {"model": "wan", "prompt": f"Whatever {prefer} sim:slow:0.3"}
    assert post(gateway, "images/generations", body, headers={"prefer": prefer}).status_code == 200


@pytest.mark.parametrize("prefer", ["wait=1", "Respond-Async;x=y, WAIT=1"])
def test_a_client_that_has_waited_long_enough_gets_a_task(gateway: Gateway, prefer: str) -> None:
    body = {"model": "wan", "prompt": f"Later {prefer} sim:slow:3"}
    reply = post(gateway, "images/generations", body, headers={"prefer": prefer})
    assert reply.status_code == 202
    assert reply.elapsed.total_seconds() >= 1
    assert ended(gateway, reply.json()["id"])["status"] == "completed"


def test_a_task_takes_longer_than_its_client_waits_for_a_reply(gateway: Gateway) -> None:
    """What an SDK says of its patience is said of each request, and this one was answered at once."""
    body = {"model": "wan", "prompt": "Patience sim:slow:2", "background": True}
    reply = post(gateway, "images/generations", body, headers={"x-stainless-read-timeout": "1"})
    assert ended(gateway, reply.json()["id"])["status"] == "completed"


def test_a_task_tells_what_is_reserved_for_it_and_what_it_cost(gateway: Gateway) -> None:
    task = started(gateway, "priced", "Two cats sim:partial", n=2)
    reserved = {"billing_rule": "per_call", "credits_reserved": 0.4, "credits_currency": "CNY"}
    assert task["usage"] == reserved
    usage = ended(gateway, task["id"])["usage"]
    assert (usage["cost"], usage["cost_currency"], usage.get("credits_reserved")) == (0.2, "CNY", None)


@pytest.mark.parametrize("model", ["wan", "plain", "evolink", "by-talk"])
def test_a_finished_task_has_its_pictures_and_the_vendor_is_asked_once(gateway: Gateway, model: str) -> None:
    with watching(gateway) as seen:
        task = ended(gateway, started(gateway, model, f"A finished cat of {model}")["id"])
        again = get(gateway, f"tasks/{task['id']}").json()
        assert len(seen.submits()) == 1
    assert (task["status"], task["progress"], task["task_info"]) == ("completed", 100, {"can_cancel": False})
    assert again["status"] == "completed"
    (address,) = task["results"]
    assert address.startswith(f"{gateway.base_url}/v1/files/")
    assert fetched(address).width > 0
    assert task["data"] == [{"url": address}]
    assert ImagesResponse.model_validate({**task, "usage": None}).data[0].url == address  # type: ignore[index]


def test_a_failed_task_tells_why_in_openais_words(gateway: Gateway) -> None:
    task = ended(gateway, started(gateway, "wan", "Bad sim:moderate")["id"])
    assert task["status"] == "failed"
    assert task["error"]["code"] == "moderation_blocked"
    assert task["error"]["type"] == "image_generation_user_error"
    assert set(task["error"]) == {"message", "type", "param", "code"}
    assert "results" not in task


@pytest.mark.parametrize(
    ("prompt", "code", "words"),
    [
        (
            "Bad sim:block:SAFETY",
            "moderation_blocked",
            "The prompt was blocked by the upstream content filter",
        ),
        ("Bad sim:finish:IMAGE_SAFETY", "moderation_blocked", "The answer was stopped by the upstream"),
        ("A fox sim:image:0", "no_image_generated", "The model made no picture. It said: You said: A fox"),
    ],
)
@pytest.mark.parametrize("n", [1, 2])
def test_a_task_of_which_only_words_came_has_failed(
    gateway: Gateway, prompt: str, code: str, words: str, n: int
) -> None:
    """A model that chats refuses with status 200, and the task was completed with no picture."""
    task = ended(gateway, started(gateway, "by-talk", f"{prompt} {n}", n=n)["id"])
    assert (task["status"], task["error"]["code"]) == ("failed", code)
    assert task["error"]["message"].startswith(words)
    assert task["usage"]["input_tokens"] > 0
    assert "results" not in task


def test_who_asks_again_for_what_was_refused_in_words_is_told_the_same_and_buys_nothing(
    gateway: Gateway,
) -> None:
    body = {"model": "by-talk", "prompt": "Twice sim:finish:IMAGE_SAFETY"}
    with watching(gateway) as seen:
        replies = [
            post(gateway, "images/generations", body, headers={"idempotency-key": "words"}) for _ in range(2)
        ]
        assert len(seen.submits()) == 1
    errors = [(reply.status_code, reply.json()["error"]["code"]) for reply in replies]
    assert errors == [(400, "moderation_blocked")] * 2
    assert replies[1].headers["x-proxy-joined"] == "done"
    (task,) = get(gateway, "tasks?limit=1").json()["data"]
    assert task["status"] == "failed"


def test_a_task_waits_for_a_vendor_that_is_busy(gateway: Gateway) -> None:
    """Nothing is ordered by then, and a client that waits for its reply hears of it at once."""
    busy = "a fox sim:fail-times:4:429:soon"
    waiting = post(gateway, "images/generations", {"model": "by-talk", "prompt": busy})
    assert waiting.status_code == 429
    task = ended(gateway, started(gateway, "by-talk", busy)["id"])
    assert (task["status"], len(task["data"])) == ("completed", 1)


@pytest.mark.parametrize("busy", ["sim:error:429:minute", "sim:error:503"], ids=["says how long", "does not"])
def test_a_task_that_waits_for_a_vendor_that_is_busy_can_be_called_off(gateway: Gateway, busy: str) -> None:
    task = started(gateway, "busy", f"a fox {busy} waits")["id"]
    waited(lambda: any(f"{busy} waits" in str(exchange.body) for exchange in gateway.sent()))
    keeper = gateway.application.house.services.keeper  # type: ignore[union-attr]
    waited(lambda: keeper.running[task].work.asked.unhurried.waiting)  # type: ignore[union-attr]
    cancelled = post(gateway, f"tasks/{task}/cancel")
    assert (cancelled.status_code, ended(gateway, task)["status"]) == (200, "cancelled")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"prompt": "a fox sim:error:429 sim:retry-after:3600"}, "rate_limit_exceeded"),
        ({"prompt": "a fox sim:error:404"}, "model_not_found"),
        ({"prompt": "a fox", "image": "http://127.0.0.1:9/gone.png"}, "invalid_image_url"),
    ],
    ids=["busy for an hour", "never", "the request's own fault"],
)
def test_a_task_does_not_wait_for_what_does_not_pass(
    gateway: Gateway, fields: dict[str, Any], code: str
) -> None:
    task = started(gateway, "by-talk", **fields)["id"]
    assert ended(gateway, task)["error"]["code"] == code


class Forbids(BaseHTTPRequestHandler):
    """Busy, and asks for no second request."""

    asked: ClassVar[list[str]] = []

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(503)
        for name, value in (("x-should-retry", "false"), ("content-length", "0")):
            self.send_header(name, value)
        self.end_headers()


def test_a_task_does_not_ask_again_whom_it_shall_not(tmp_path: Path) -> None:
    with listening(Forbids) as base:
        file = FILE.replace("http://SIMULATORS/gemini", base)
        with open_gateway(tmp_path, file) as own:
            task = ended(own, started(own, "by-talk", "a fox")["id"])
    assert (task["error"]["code"], len(Forbids.asked)) == ("overloaded", 1)


@pytest.mark.parametrize("path", ["images/edits", "images/variations"])
def test_a_form_with_pictures_can_be_a_task(gateway: Gateway, path: str) -> None:
    fields = {"model": "plain", "prompt": f"Changed at {path}", "background": "true"}
    files = {"image": ("a.png", GOOD, "image/png")}
    with watching(gateway) as seen:
        reply = post(gateway, path, data=fields, files=files)
        assert reply.status_code == 202, reply.text
        assert ended(gateway, reply.json()["id"])["status"] == "completed"
        (submit,) = seen.submits()
    assert len(submit.notes["references"]) == 1


def test_several_pictures_come_as_one_task(gateway: Gateway) -> None:
    task = ended(gateway, started(gateway, "plain", "Three cats", n=3)["id"])
    assert len(task["results"]) == 3


def test_what_cannot_be_carried_is_refused_at_once(gateway: Gateway) -> None:
    for fields, field in (({"n": 99}, "n"), ({"model": "nobody"}, "model"), ({"mask": DATA_URI}, "mask")):
        body = {"model": "by-talk", "prompt": "x", "background": True, **fields}
        reply = post(
            gateway,
            "images/edits" if field == "mask" else "images/generations",
            {**body, **({"image": DATA_URI} if field == "mask" else {})},
        )
        assert reply.status_code in (400, 404), reply.text
        assert reply.json()["error"]["param"] == field


def test_another_keys_task_is_not_there(gateway: Gateway) -> None:
    task = started(gateway, "wan", "Mine alone")["id"]
    ended(gateway, task)
    for method, path in (("GET", ""), ("POST", "/cancel"), ("GET", "/events")):
        reply = gateway.http.request(method, f"{gateway.base_url}/v1/tasks/{task}{path}", headers=OTHER)
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "task_not_found")
    listed = gateway.http.get(f"{gateway.base_url}/v1/tasks?limit=100", headers=OTHER).json()
    assert task not in [one["id"] for one in listed["data"]]


@pytest.mark.parametrize("name", ["task_1", "task_" + "0" * 32, "%00", "x" * 3000])
def test_a_task_that_never_was_is_a_404(gateway: Gateway, name: str) -> None:
    reply = get(gateway, f"tasks/{name}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "task_not_found")


def test_pages_come_newest_first_and_are_bounded(tmp_path: Path) -> None:
    with open_gateway(tmp_path, FILE) as own:
        assert get(own, "tasks").json() == {
            "object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False,
        }  # fmt: skip
        made = [started(own, "wan", f"Cat {number}")["id"] for number in range(5)]
        for task in made:
            ended(own, task)
        first = get(own, "tasks?limit=2").json()
        assert [one["id"] for one in first["data"]] == made[:2:-1]
        assert (first["first_id"], first["last_id"], first["has_more"]) == (made[4], made[3], True)
        rest = get(own, f"tasks?limit=3&after={made[3]}").json()
        assert [one["id"] for one in rest["data"]] == made[2::-1]
        assert rest["has_more"] is False
        assert get(own, "tasks?status=failed").json()["data"] == []
        assert len(get(own, "tasks?status=completed").json()["data"]) == 5
        for query, field in (
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=x", "limit"),
            (f"limit=000000001{'0' * 30}", "limit"),
            (f"limit=000000001{'0' * 5000}", "limit"),
            ("after=x", "after"),
            ("status=x", "status"),
        ):
            refused = get(own, f"tasks?{query}")
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, field)


def test_a_task_that_waits_at_its_vendor_can_be_called_off(gateway: Gateway) -> None:
    """V-036: dashscope calls off what it has not begun"""
    with watching(gateway) as seen:
        task = started(gateway, "wan", "Unwanted sim:polls:9999")["id"]
        waited(
            lambda: (
                seen.tasks("Unwanted sim:polls:9999")
                and get(gateway, f"tasks/{task}").json()["status"] == "processing"
            )
        )
        waited(lambda: get(gateway, f"tasks/{task}").json()["task_info"]["can_cancel"])
        reply = post(gateway, f"tasks/{task}/cancel")
        assert (reply.status_code, reply.json()["status"]) == (200, "cancelled")
        assert reply.json()["error"]["code"] == "task_cancelled"
        (order,) = seen.tasks("Unwanted sim:polls:9999")
        assert waited(lambda: order.cancelled)
    assert post(gateway, f"tasks/{task}/cancel").json()["status"] == "cancelled"
    assert get(gateway, f"tasks/{task}").json()["status"] == "cancelled"


def test_a_task_that_is_called_off_several_times_at_once_ends(gateway: Gateway) -> None:
    prompt = "Very unwanted sim:polls:9999"
    with watching(gateway) as seen, ThreadPoolExecutor(8) as clients:
        task = started(gateway, "wan", prompt)["id"]
        (order,) = waited(lambda: [one for one in seen.tasks(prompt) if one.polls_ms])
        waited(lambda: get(gateway, f"tasks/{task}").json()["task_info"]["can_cancel"])
        replies = list(clients.map(lambda _: post(gateway, f"tasks/{task}/cancel"), range(8)))
        assert [(reply.status_code, reply.json()["status"]) for reply in replies] == [(200, "cancelled")] * 8
        assert waited(lambda: order.cancelled)


def test_what_is_being_ordered_is_called_off_when_its_vendor_has_answered(tmp_path: Path) -> None:
    """It could be called off when its client asked; nobody could without the vendor's number."""
    prompt, answered = "Life cut short sim:polls:9999", threading.Event()
    with (
        start() as vendors,
        standing(vendors.base_url) as between,
        open_gateway(tmp_path, FILE.replace("http://SIMULATORS", between.url)) as own,
    ):
        between.waits["submit is answered"] = answered
        task = started(own, "wan", prompt)["id"]
        keeper = own.application.house.services.keeper  # type: ignore[union-attr]
        running = waited(lambda: keeper.running.get(task))
        waited(lambda: running.record.is_uncertain)
        calling = asyncio.run_coroutine_threadsafe(keeper.called_off(running), running._task.get_loop())
        with pytest.raises(TimeoutError):
            calling.result(0.3)
        answered.set()
        calling.result(10)
        (order,) = vendors.log.ledger.tasks(prompt=prompt)
        assert waited(lambda: order.cancelled)  # the vendor is told beside
        assert get(own, f"tasks/{task}").json()["status"] == "cancelled"


@pytest.mark.parametrize("state", ["at work", "over"])
def test_a_task_that_cannot_be_stopped_is_not_cancelled(gateway: Gateway, state: str) -> None:
    prompt = f"Unstoppable {state} sim:slow:1.5"
    task = started(gateway, "plain", prompt)["id"]
    if state == "over":
        ended(gateway, task)
    else:
        waited(lambda: get(gateway, f"tasks/{task}").json()["status"] == "processing")
    reply = post(gateway, f"tasks/{task}/cancel")
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "task_not_cancellable")
    assert ended(gateway, task)["status"] == "completed"


def test_events_tell_each_change_and_end_with_the_task(gateway: Gateway) -> None:
    task = started(gateway, "wan", "Watched sim:slow:1.2")["id"]
    headers = {"authorization": f"Bearer {KEY}"}
    with gateway.http.stream("GET", f"{gateway.base_url}/v1/tasks/{task}/events", headers=headers) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in reply.iter_lines() if line]
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert told[0]["status"] in ("pending", "processing")
    assert told[-1]["status"] == "completed"
    assert lines[-2] == "event: task.completed"
    assert len({json.dumps({**one, "results": 0, "data": 0}) for one in told}) == len(told)


def test_more_tasks_than_may_run_at_once_wait_for_their_turn(tmp_path: Path) -> None:
    with (
        open_gateway(tmp_path, FILE.replace("lease: 1s", "lease: 1s, at_once: 2")) as own,
        watching(own) as seen,
    ):
        made = [started(own, "wan", f"Queued {number} sim:slow:0.5")["id"] for number in range(5)]
        assert {ended(own, task)["status"] for task in made} == {"completed"}
        assert len(seen.submits()) == 5


def test_a_place_that_is_free_is_taken_at_once(tmp_path: Path) -> None:
    """A look at what waits comes much later here."""
    with open_gateway(tmp_path, FILE.replace("lease: 1s", "lease: 10m, at_once: 1")) as own:
        made = [started(own, "wan", f"Next {number} sim:slow:0.5")["id"] for number in range(2)]
        assert {ended(own, task)["status"] for task in made} == {"completed"}


def test_tasks_that_wait_for_a_busy_vendor_hold_up_no_other(tmp_path: Path) -> None:
    """Of the same model as many wait here as have a place, and the others in the store, with their bodies."""
    with open_gateway(tmp_path, FILE.replace("lease: 1s", "lease: 1s, at_once: 1")) as own:
        with watching(own) as seen:
            busy = [
                started(own, "by-talk", f"Busy {number} sim:error:429:minute")["id"] for number in range(3)
            ]
            waited(lambda: seen.submits())
            assert ended(own, started(own, "wan", "Another vendor's")["id"])["status"] == "completed"
            assert len([sent for sent in seen.submits() if "Busy" in str(sent.body)]) == 1
        assert {get(own, f"tasks/{task}").json()["status"] for task in busy} == {"pending"}


def test_a_task_that_has_waited_for_a_busy_vendor_has_a_place_again(tmp_path: Path) -> None:
    with open_gateway(tmp_path, FILE.replace("lease: 1s", "lease: 1s, at_once: 1")) as own:
        with watching(own) as seen:
            first = started(own, "by-talk", "Busy once sim:fail-times:1:429:soon sim:slow:2")["id"]
            waited(lambda: len(seen.submits()) == 2)
            second = started(own, "wan", "Behind it")["id"]
            assert {ended(own, task)["status"] for task in (first, second)} == {"completed"}
            busy, behind = seen.submits()[1:]
        assert behind.received >= busy.received + 2


def test_a_callback_that_leads_nowhere_is_refused_by_its_field(gateway: Gateway) -> None:
    """documents/001: HTTPS, no private address, 2048 characters"""
    for address in (
        "http://app.example/x", "https://127.0.0.1/x", "https://10.1.2.3/x", "https://172.16.0.1/", "https://192.168.1.1",
        "https://[::1]/", "https://localhost/x", "https://db.internal/x", "https://me:pw@app.example/", "ftp://app.example",
        "https://0x7f.1/", "https://2130706433/", "https://127.1/", "https:///x", "x",
        "https://app.example/" + "x" * 2030,
        "https://app.example:99999/", "https://app.example\\x", "https://app.example\\@10.0.0.1/",
        "https://app.example/\0", "https://app.example/\n",
    ):  # fmt: skip
        body = {"model": "wan", "prompt": "x", "callback_url": address}
        reply = post(gateway, "images/generations", body)
        assert reply.status_code == 400, address
        error = reply.json()["error"]
        assert (error["param"], error["code"]) == ("callback_url", "invalid_callback_url")


def test_a_body_is_read_again_as_it_was() -> None:
    picture = Slice.of(b"x" * 30_000)
    body = {"model": "m", "n": 2, "image": picture, "prompt": "ü\u2028"}
    assert bodies.read_again(bodies.written(body)) == body
    form = Form(
        [("model", "m"), ("n", "2")],
        [FormFile("image", "a.png", "image/png", picture), FormFile("mask", "", "", Slice(b"eA=="))],
    )
    assert bodies.read_again(bodies.written(form)) == form


def test_the_sdk_reads_a_task_that_it_did_not_wait_for(gateway: Gateway) -> None:
    reply = gateway.client().images.with_raw_response.generate(
        model="wan", prompt="By the SDK", extra_headers={"Prefer": "respond-async"}
    )
    assert reply.status_code == 202
    task = ended(gateway, reply.headers["location"].rpartition("/")[2])
    assert task["status"] == "completed"


def test_a_chat_takes_no_notice_of_the_preference(gateway: Gateway) -> None:
    reply = gateway.client().chat.completions.create(
        model="wan",
        messages=[{"role": "user", "content": "A cat"}],
        extra_headers={"Prefer": "respond-async"},
    )
    assert isinstance(reply, openai.types.chat.ChatCompletion)


def test_the_command_finds_nothing_where_nothing_was_kept(tmp_path: Path) -> None:
    (tmp_path / "providers.yaml").write_text('version: 1\nserver: {state: "sqlite:./state/dragoman.db"}\n')
    code, out, _ = run("tasks", "--uncertain", cwd=tmp_path, fresh=True)
    assert (code, out.split()) == (0, ["id", "key", "model", "state", "begun", "ordered", "at"])
    assert [file.name for file in tmp_path.iterdir()] == ["providers.yaml"]
