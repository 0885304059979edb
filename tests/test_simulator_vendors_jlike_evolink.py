"""The simulated jlike and evolink: strict fields, money held and given back, tasks, callbacks."""

import asyncio
import http.server
import json
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, ClassVar

import httpx
import pytest

from proxy.simulators.server import Running, start
from proxy.simulators.vendors import evolink
from tests.simulated_vendors import (
    PICTURE_URL,
    booked,
    client_of,
    decoded,
    fetched,
    json_of,
    only_task,
    size_of,
)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with start() as server:
        yield server


@pytest.fixture
def jlike(running: Running) -> Iterator[httpx.Client]:
    with client_of(running, "jlike") as client:
        yield client


@pytest.fixture
def vendor(running: Running) -> Iterator[httpx.Client]:
    with client_of(running, "evolink") as client:
        yield client


def picture(**fields: Any) -> dict[str, Any]:
    return {"model": "nano-banana-pro", "prompt": "a cat", **fields}


def wan(prompt: str = "a cat", **fields: Any) -> dict[str, Any]:
    return {"model": "wan2.7-t2i-plus", "prompt": prompt, **fields}


def test_text_is_answered_by_gemini_with_billing(jlike: httpx.Client, running: Running) -> None:
    contents = [{"role": "user", "parts": [{"text": "Hi"}]}]
    reply = json_of(
        jlike.post("/gemini3/generate", json={"model": "gemini-3-flash-preview", "contents": contents})
    )
    assert reply["candidates"][0]["content"]["parts"][0]["text"] == "You said: Hi"
    counts = reply["usageMetadata"]
    tokens = sum(
        counts.get(name, 0) for name in ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    )
    assert reply["_billing"]["actual_cost"] == float(Decimal("0.00002") * tokens)
    task = only_task(running)
    assert [entry.kind for entry in task.entries] == ["reserve", "settle", "refund"]
    assert task.amount("reserve") == task.amount("settle") + task.amount("refund")


def test_text_passes_four_fields_and_no_more(jlike: httpx.Client) -> None:
    contents = [{"role": "user", "parts": [{"text": "Hi"}]}]
    body = {"model": "gemini-3-flash-preview", "contents": contents}
    passed = {
        "generationConfig": {"temperature": 0},
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
        "systemInstruction": {"parts": [{"text": "Be brief"}]},
    }
    assert json_of(jlike.post("/gemini3/generate", json=body | passed))["candidates"]
    refused = json_of(jlike.post("/gemini3/generate", json=body | {"safetySettings": []}), 400)
    assert refused == {
        "success": False,
        "error": "safetySettings: unknown field",
        "error_code": "INVALID_PARAMS",
    }
    assert json_of(jlike.post("/gemini3/generate", json=body | {"model": "gemini-2.5-flash"}), 400)


def test_text_that_gemini_refuses_is_given_back(jlike: httpx.Client, running: Running) -> None:
    body = {"model": "gemini-3-flash-preview", "contents": [{"role": "nobody", "parts": [{"text": "Hi"}]}]}
    assert json_of(jlike.post("/gemini3/generate", json=body), 400)["error"].startswith("Gemini: ")
    assert booked(only_task(running)) == [("reserve", "0.05"), ("refund", "0.05")]
    contents = [{"role": "user", "parts": [{"text": "Hi sim:fail-once:502"}]}]
    body = {"model": "gemini-3-flash-preview", "contents": contents}
    assert [jlike.post("/gemini3/generate", json=body).status_code for _ in range(2)] == [502, 200]


SIZES = [
    ("nano-banana-pro", "2K", "16:9", (2752, 1536)),
    ("nano-banana-2", "512", "1:1", (512, 512)),
    ("nano-banana", "1K", "4:3", (1184, 864)),
]


@pytest.mark.parametrize(("model", "size", "ratio", "pixels"), SIZES, ids=[row[0] for row in SIZES])
def test_pictures_have_the_size_asked(
    jlike: httpx.Client, model: str, size: str, ratio: str, pixels: tuple[int, int]
) -> None:
    body = picture(model=model, size=size, aspect_ratio=ratio, n=2)
    reply = json_of(jlike.post("/nanobanana/generate", json=body))
    assert [size_of(decoded(each)) for each in reply["images"]] == [pixels, pixels]
    assert reply["_billing"] == {"cost": 0.4, "actual_cost": 0.4, "currency": "CNY"}
    assert (
        jlike.post("/nanobanana/generate", json=body).content
        == json.dumps(reply, separators=(",", ":")).encode()
    ), "the same request gets the same answer"


SHAPES = [
    ("a", lambda reply: reply["images"][0]),
    ("b", lambda reply: reply["data"]["images"][0]),
    ("c", lambda reply: reply["data"][0]),
    ("d", lambda reply: reply["output"]["images"][0]),
    ("e", lambda reply: reply["results"][0]),
    ("f", lambda reply: reply["image"]),
    ("g", lambda reply: reply["url"]),
    ("h", lambda reply: reply["candidates"][0]["content"]["parts"][0]["inlineData"]["data"]),
]


@pytest.mark.parametrize(("shape", "found"), SHAPES, ids=[row[0] for row in SHAPES])
def test_pictures_come_in_eight_shapes(jlike: httpx.Client, shape: str, found: Any) -> None:
    """V003: each candidate shape can be had, with every way of writing a picture."""
    forms = ("base64",) if shape == "h" else ("base64", "data", "url", "object", "urlobject")
    for form in forms:
        prompt = f"a cat sim:shape:{shape} sim:form:{form}"
        value = found(json_of(jlike.post("/nanobanana/generate", json=picture(prompt=prompt))))
        if isinstance(value, dict):
            value = value.get("url") or value["b64_json"]
        seen = fetched(value) if value.startswith("http") else decoded(value)
        assert size_of(seen) == (1024, 1024)


REFUSED = [
    ("/nanobanana/generate", picture(images=[PICTURE_URL]), "images: unknown field"),
    ("/nanobanana/generate", picture(size="3K"), "size: must be one of 512, 1K, 2K, 4K"),
    ("/nanobanana/generate", picture(aspect_ratio="3:2"), "aspect_ratio: must be one of"),
    ("/nanobanana/generate", {"model": "nano-banana"}, "prompt: field is required"),
    ("/nanobanana/generate", picture(n="1"), "n: must be a whole number"),
    ("/wan27/generate", wan(seed=1), "seed: unknown field"),
    ("/wan27/generate", wan(model="wan2.6-t2i"), "model: must be one of"),
]


@pytest.mark.parametrize(("path", "body", "message"), REFUSED, ids=[row[2] for row in REFUSED])
def test_what_the_document_does_not_name_is_refused(
    jlike: httpx.Client, running: Running, path: str, body: Any, message: str
) -> None:
    refused = json_of(jlike.post(path, json=body), 400)
    assert refused["success"] is False
    assert refused["error_code"] == "INVALID_PARAMS"
    assert refused["error"].startswith(message)
    assert running.log.ledger.tasks() == []


def test_a_task_is_pending_once_and_then_done(jlike: httpx.Client, running: Running) -> None:
    """V006: reading a finished task again changes nothing."""
    task = json_of(jlike.post("/wan27/generate", json=wan(size="1K", aspect_ratio="16:9", n=2)))
    assert task == {"success": True, "task_uuid": task["task_uuid"], "status": "PENDING"}
    path = f"/wan27/task/{task['task_uuid']}"
    assert json_of(jlike.get(path))["status"] == "RUNNING"
    done = json_of(jlike.get(path))
    assert done["status"] == "SUCCEEDED"
    assert [size_of(fetched(image["url"])) for image in done["images"]] == [(1360, 768)] * 2
    assert done["_billing"] == {"cost": 0.4, "actual_cost": 0.4, "currency": "CNY"}
    assert json_of(jlike.get(path)) == done
    row = only_task(running)
    assert booked(row) == [("reserve", "0.4"), ("settle", "0.4")]
    assert (row.polled_too_fast, row.polled_after_end, len(row.polls_ms)) == (3, 1, 3)
    assert running.log.counts["jlike.polled_too_fast"] == 3
    assert running.log.counts["jlike.downloads"] == 2


def test_a_failed_task_is_refunded_in_full(jlike: httpx.Client, running: Running) -> None:
    """V007"""
    task = json_of(jlike.post("/wan27/generate", json=wan("x sim:fail:UPSTREAM_DOWN sim:polls:0")))
    failed = json_of(jlike.get(f"/wan27/task/{task['task_uuid']}"))
    assert failed["status"] == "FAILED"
    assert failed["error_code"] == "UPSTREAM_DOWN"
    assert failed["_billing"] == {"cost": 0.2, "actual_cost": 0.0, "currency": "CNY", "refunded": True}
    assert booked(only_task(running)) == [("reserve", "0.2"), ("refund", "0.2")]
    assert running.log.counts["jlike.refunded"] == 1


def test_a_task_is_submitted_once_while_its_polls_fail(jlike: httpx.Client, running: Running) -> None:
    """V004: the first polls fail, the money is booked once."""
    prompt = "x sim:poll-fail:3:502 sim:polls:3"
    path = f"/wan27/task/{json_of(jlike.post('/wan27/generate', json=wan(prompt)))['task_uuid']}"
    assert [jlike.get(path).status_code for _ in range(4)] == [502, 502, 502, 200]
    assert json_of(jlike.get("/wan27/task/nobody"), 404)["error_code"] == "TASK_NOT_FOUND"
    ledger = httpx.get(running.base_url + "/_sim/ledger").json()
    assert ledger["submits"] == {f"jlike: {prompt}": 1}
    assert ledger["tasks"][0]["polls"] == 4
    assert ledger["vendors"]["jlike"]["settle"] == "0.2"


def test_states_wrappings_and_billing_vary_on_order(jlike: httpx.Client) -> None:
    """V008: costs may be strings."""
    prompt = "x sim:lower sim:wrap:data sim:billing:string sim:polls:0"
    task = json_of(jlike.post("/wan27/generate", json=wan(prompt)))
    assert task["data"]["status"] == "pending"
    done = json_of(jlike.get(f"/wan27/task/{task['data']['task_uuid']}"))
    assert done["data"]["status"] == "succeeded"
    assert done["data"]["_billing"]["actual_cost"] == "0.2"


KEYS = [
    ("bad", 401, "INVALID_API_KEY"),
    ("spent", 402, "INSUFFICIENT_CREDITS"),
    ("busy", 429, "RATE_LIMITED"),
]


@pytest.mark.parametrize(("key", "status", "code"), KEYS, ids=[row[0] for row in KEYS])
def test_keys_are_refused_by_their_first_word(running: Running, key: str, status: int, code: str) -> None:
    with client_of(running, "jlike", key) as client:
        assert json_of(client.post("/wan27/generate", json=wan()), status)["error_code"] == code


@pytest.mark.parametrize("status", [400, 401, 402, 429, 502, 503, 504])
def test_every_documented_status_is_on_order(jlike: httpx.Client, running: Running, status: int) -> None:
    reply = jlike.post("/nanobanana/generate", json=picture(prompt=f"x sim:http:{status}:7"))
    assert json_of(reply, status)["success"] is False
    assert reply.headers["retry-after"] == "7"
    assert running.log.ledger.tasks() == [], "nothing was accepted"


def test_replies_break_on_order(jlike: httpx.Client, running: Running) -> None:
    page = jlike.post("/nanobanana/generate", json=picture(prompt="x sim:html"))
    assert (page.status_code, page.headers["content-type"]) == (502, "text/html")
    with pytest.raises(json.JSONDecodeError):
        jlike.post("/nanobanana/generate", json=picture(prompt="x sim:badjson")).json()
    with pytest.raises(httpx.RemoteProtocolError):
        jlike.post("/wan27/generate", json=wan("x sim:drop"))
    assert len(running.log.ledger.tasks()) == 2, "broken replies cost money"
    first = jlike.post("/nanobanana/generate", json=picture(prompt="y sim:fail-once:503"))
    assert json_of(first, 503)["error_code"] == "SERVICE_UNAVAILABLE"
    assert jlike.post("/nanobanana/generate", json=picture(prompt="y sim:fail-once:503")).is_success
    assert json_of(jlike.post("/nanobanana/generate", json=picture(prompt="sim:noimage")))["images"] == []
    moderated = json_of(jlike.post("/nanobanana/generate", json=picture(prompt="sim:moderate")), 400)
    assert moderated["error_code"] == "CONTENT_POLICY_VIOLATION"


def evolve(prompt: str = "a cat", **fields: Any) -> dict[str, Any]:
    return {"model": "gemini-3-pro-image-preview", "prompt": prompt, **fields}


def test_evolink_answers_with_the_task_of_its_document(vendor: httpx.Client, running: Running) -> None:
    """V010, V013: `size` is a ratio, `quality` a tier, `results` are strings."""
    task = json_of(vendor.post("/v1/images/generations", json=evolve(size="16:9", quality="4K")))
    assert task == {
        "created": 1795219200,
        "id": task["id"],
        "model": "gemini-3-pro-image-preview",
        "object": "image.generation.task",
        "progress": 0,
        "status": "pending",
        "task_info": {"can_cancel": True, "estimated_time": 3},
        "type": "image",
        "usage": {"billing_rule": "per_call", "credits_reserved": 3.2, "user_group": "default"},
    }
    path = f"/v1/tasks/{task['id']}"
    assert json_of(vendor.get(path))["status"] == "processing"
    done = json_of(vendor.get(path))
    assert (done["status"], done["progress"]) == ("completed", 100)
    assert [size_of(fetched(url)) for url in done["results"]] == [(5504, 3072)]
    assert booked(only_task(running)) == [("reserve", "3.2"), ("settle", "3.2")]


EVOLINK_REFUSED = [
    (evolve(n=2), "n: unknown field"),
    (evolve(size="1024x1024"), "size: must be one of"),
    (evolve("x" * 2001), "prompt: must have 1 to 2000 characters"),
    (evolve(image_urls=[PICTURE_URL] * 11), "image_urls: must have 0 to 10 items"),
    (evolve(image_urls=["data:image/png;base64,AAAA"]), "image_urls: must be an http or https URL"),
    (evolve(image_urls=["https://example.com/a.gif"]), "image_urls: must be one of jpeg, jpg, png, webp"),
    (evolve(callback_url="http://example.com/done"), "callback_url must use https"),
    (evolve(callback_url="https://192.168.1.4/done"), "callback_url must not point to a private address"),
    (evolve(callback_url="https://example.com/" + "x" * 2048), "callback_url: must be a URL of at most 2048"),
]


@pytest.mark.parametrize(("body", "message"), EVOLINK_REFUSED, ids=[row[1] for row in EVOLINK_REFUSED])
def test_evolink_refuses_what_its_document_excludes(vendor: httpx.Client, body: Any, message: str) -> None:
    """V011, V012, V015"""
    error = json_of(vendor.post("/v1/images/generations", json=body), 400)["error"]
    assert error["code"] == "invalid_parameters"
    assert error["message"].startswith(message)


EVOLINK_FAILURES = [
    ("sim:moderate", "failed", "content_policy_violation"),
    ("sim:fail:generation_timeout", "failed", "generation_timeout"),
    ("sim:noimage", "failed", "generation_failed_no_content"),
    ("sim:fail:cancelled", "cancelled", "request_cancelled"),
]


@pytest.mark.parametrize(
    ("order", "status", "code"), EVOLINK_FAILURES, ids=[row[0] for row in EVOLINK_FAILURES]
)
def test_evolink_returns_what_it_reserved(
    vendor: httpx.Client, running: Running, order: str, status: str, code: str
) -> None:
    """V014"""
    task = json_of(vendor.post("/v1/images/generations", json=evolve(f"x {order} sim:polls:0")))
    failed = json_of(vendor.get(f"/v1/tasks/{task['id']}"))
    assert (failed["status"], failed["error"]["code"]) == (status, code)
    assert booked(only_task(running)) == [("reserve", "1.6"), ("refund", "1.6")]


def test_evolink_knows_its_tasks(vendor: httpx.Client) -> None:
    assert json_of(vendor.get("/v1/tasks/nonsense"), 400)["error"]["code"] == "invalid_task_id"
    assert json_of(vendor.get("/v1/tasks/task-unified-1-a"), 404)["error"]["code"] == "resource_not_found"


def test_a_callback_is_repeated_after_1_2_and_4_seconds() -> None:
    """V-016"""
    """V016: until the first 2xx, at most four calls."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    def answers(*statuses: int) -> Any:
        left = list(statuses)

        async def post() -> int:
            if (status := left.pop(0)) == 0:
                raise httpx.ConnectError("nobody there")
            return status

        return post

    assert asyncio.run(evolink.deliver(answers(500, 0, 302, 500), sleep=sleep)) == [500, 0, 302, 500]
    assert waited == [1.0, 2.0, 4.0]
    waited.clear()
    assert asyncio.run(evolink.deliver(answers(503, 204), sleep=sleep)) == [503, 204]
    assert waited == [1.0]
    assert evolink.TIMEOUT_S == 10


PLACES = [
    ("https://example.com/x", ""),
    ("https://127.0.0.1/x", "private"),
    ("https://10.1.2.3/x", "private"),
    ("https://172.20.0.1/x", "private"),
    ("https://[::1]/x", "private"),
    ("https://localhost/x", "private"),
    ("https://db.internal/x", "private"),
]


@pytest.mark.parametrize(("url", "complaint"), PLACES, ids=[row[0] for row in PLACES])
def test_callbacks_go_to_public_places(url: str, complaint: str) -> None:
    assert bool(evolink.callback_complaint(url)) == bool(complaint)


class Receiver(http.server.BaseHTTPRequestHandler):
    received: ClassVar[list[Any]] = []

    def do_POST(self) -> None:
        self.received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_a_loopback_callback_can_be_allowed(vendor: httpx.Client, running: Running) -> None:
    """The callback carries the body of the task query, after the money is settled."""
    with http.server.HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        thread = threading.Thread(target=receiver.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{receiver.server_port}/done"
        task = json_of(
            vendor.post("/v1/images/generations", json=evolve("x sim:callback:local", callback_url=url))
        )
        thread.join(10)
    (told,) = Receiver.received
    assert told["status"] == "completed"
    assert told == json_of(vendor.get(f"/v1/tasks/{task['id']}"))
    deadline = time.monotonic() + 5
    while not running.log.counts["evolink.callbacks_delivered"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert running.log.counts["evolink.callbacks"] == 1
