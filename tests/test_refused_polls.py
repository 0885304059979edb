"""A poll, or an order, refused in the body of a 200; a poll's refusal is not of the job, which goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from proxy.simulators import pictures
from tests.desks import listening
from tests.gateway import open_gateway
from tests.served import waited
from tests.test_late import ends
from tests.test_tasks_crash import HEADERS

FILE = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
profiles:
  obolus:
    base_url: "BASE"
    errors:
      message: reason.say
      code: reason.no
      rules:
        - {class: blocked, code: [1310]}
        - {class: bad_request, code: [1203]}
        - {class: not_found, code: [1204]}
        - {class: rate_limited, http: [429]}
    billing: {refunded_on_failure: true}
    surfaces:
      image:
        submit: {request: POST /orders, body: {engine: $model, prompt: $prompt}}
        fail: {when: "ok == `false`"}
        task: {id: order.id}
        poll: {request: POST /status, body: {orders: [$task.id]}, every: 20ms}
        state:
          path: "orders[0].state"
          pending: [RUNNING]
          success: [SUCCEEDED]
          failed: [REJECTED]
          lost: [UNKNOWN]
        result: {images: "orders[0].files[]"}
providers:
  ob: {profile: obolus, keys: [env:VENDOR_KEY], private: true}
models:
  obol: {targets: [ob/obol-1], price: {image: 7}}
  two: {targets: [ob/obol-1, ob/obol-2], price: {image: 7}}
server: {state: "sqlite:FOLDER/state/dragoman.db", files: {folder: "FOLDER/files"}}
"""
DRAWN = pictures.png(64, 48, "a door")
RUNNING = {"ok": True, "orders": [{"state": "RUNNING"}]}


def refusal(number: int, sentence: str | None = None) -> dict[str, Any]:
    return {"ok": False, "reason": {"no": number} | ({"say": sentence} if sentence else {})}


class Desk(BaseHTTPRequestHandler):
    """Takes every order; answers polls with what is `told` (a number: a status), then with the picture."""

    told: ClassVar[list[Any]] = []
    orders: ClassVar[list[Any]] = []
    refused: ClassVar[dict[str, Any]] = {}  # what an order of an engine is answered with instead
    heard: ClassVar[list[tuple[str, str, Any]]] = []  # by which key it was asked, where, and what

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.heard.append((self.headers["authorization"], self.path, body))
        if self.path == "/orders":
            self.orders.append(body)
            if self.refused.get(body["engine"]) == "silence":
                self.close_connection = True
                return None
            taken = {"ok": True, "order": {"id": "o_1"}}
            return self._answer(json.dumps(self.refused.get(body["engine"], taken)).encode())
        link = f"http://{self.headers['host']}/door.png"
        made = {"ok": True, "orders": [{"state": "SUCCEEDED", "files": [link]}]}
        told = self.told.pop(0) if self.told else made
        return self._answer(json.dumps(told).encode(), status=told if isinstance(told, int) else 200)

    def do_GET(self) -> None:
        self._answer(DRAWN, "image/png")

    def _answer(self, data: bytes, kind: str = "application/json", status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def desk(*told: Any) -> Iterator[str]:
    Desk.told[:], Desk.orders[:], Desk.heard[:] = told, [], []
    Desk.refused.clear()
    with listening(Desk) as base:
        yield base


def posted(base_url: str, path: str, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{base_url}/v1/{path}", json={"model": "obol", **body}, headers=HEADERS, timeout=20)


PATHS: dict[str, dict[str, Any]] = {
    "images/generations": {"prompt": "a door"},
    "chat/completions": {"messages": [{"role": "user", "content": "a door"}]},
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "refused",
    [refusal(1900), refusal(1429, "slow down"), refusal(1203, "field orders must be list")],
    ids=["a number without a rule", "busy", "the question is wrong"],
)
def test_a_poll_that_is_refused_in_a_200_is_asked_again(tmp_path: Path, path: str, refused: Any) -> None:
    with desk(RUNNING, refused, RUNNING) as base:
        file = FILE.replace("BASE", base).replace("FOLDER", str(tmp_path))
        with open_gateway(tmp_path, file) as own:
            reply = posted(own.base_url, path, PATHS[path])
            assert reply.status_code == 200, reply.text
            store = f"sqlite:{tmp_path}/state/dragoman.db"
            assert ends(store, reply.headers["x-request-id"], 2) == [
                ("hold", "ordered", "7", 0),
                ("settle", "ok", "7", 1),
            ]
    assert len(Desk.orders) == 1


@pytest.mark.parametrize("refused", [refusal(1900), refusal(1203, "field orders must be list"), {}], ids=str)
def test_refused_five_times_it_is_watched_and_not_refunded(tmp_path: Path, refused: Any) -> None:
    with desk(*[refused] * 5) as base:
        file = FILE.replace("BASE", base).replace("FOLDER", str(tmp_path))
        with open_gateway(tmp_path, file) as own:
            reply = posted(own.base_url, "images/generations", PATHS["images/generations"])
            assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_error")
            store = f"sqlite:{tmp_path}/state/dragoman.db"
            assert ends(store, reply.headers["x-request-id"], 3) == [
                ("hold", "ordered", "7", 0),
                ("uncertain", "internal", None, 0),
                ("settle", "late", "7", 1),
            ]
    assert len(Desk.orders) == 1


def test_a_task_that_waits_for_busy_vendors_orders_nothing_again_that_was_taken(
    tmp_path: Path,
) -> None:
    """It is polled in vain, with words that would let an order wait and be given again."""
    with desk(*[refusal(1429, "slow down")] * 50) as base:
        file = FILE.replace("{class: bad_request, code: [1203]}", "{class: rate_limited, code: [1429]}")
        with open_gateway(tmp_path, file.replace("BASE", base).replace("FOLDER", str(tmp_path))) as own:
            reply = posted(own.base_url, "images/generations", {"prompt": "a door", "background": True})
            store = f"sqlite:{tmp_path}/state/dragoman.db"
            assert ends(store, reply.headers["x-request-id"], 2)[:2] == [
                ("hold", "ordered", "7", 0),
                ("uncertain", "rate_limited", None, 0),
            ]
            address = f"{own.base_url}{reply.headers['location']}"
            error = waited(lambda: httpx.get(address, headers=HEADERS).json().get("error"))
            assert (error["code"], "slow down" in error["message"]) == ("rate_limit_exceeded", True)
    assert len(Desk.orders) == 1


@pytest.mark.parametrize(
    ("told", "status", "code", "kind"),
    [
        (refusal(1310, "not this"), 400, "moderation_blocked", "refund"),
        ({**refusal(1900), "orders": [{"state": "REJECTED"}]}, 502, "upstream_error", "refund"),
        (410, 502, "upstream_task_lost", "uncertain"),
    ],
    ids=["blocked", "its own state", "gone"],
)
def test_what_became_of_the_job_ends_it(tmp_path: Path, told: Any, status: int, code: str, kind: str) -> None:
    with desk(RUNNING, told) as base:
        file = FILE.replace("BASE", base).replace("FOLDER", str(tmp_path))
        with open_gateway(tmp_path, file) as own:
            reply = posted(own.base_url, "images/generations", PATHS["images/generations"])
            assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
            store = f"sqlite:{tmp_path}/state/dragoman.db"
            assert ends(store, reply.headers["x-request-id"], 2)[1][0] == kind
    assert len(Desk.orders) == 1


@pytest.mark.parametrize(
    "told",
    [404, refusal(1204, "no such order"), {"ok": True, "orders": [{"state": "UNKNOWN"}]}],
    ids=["a status", "a number nobody knows", "a word for that"],
)
def test_a_new_job_that_the_vendor_does_not_know_yet_is_asked_for_again(tmp_path: Path, told: Any) -> None:
    with desk(*[told] * 7) as base:
        file = FILE.replace("BASE", base).replace("FOLDER", str(tmp_path))
        with open_gateway(tmp_path, file) as own:
            reply = posted(own.base_url, "images/generations", PATHS["images/generations"])
            assert reply.status_code == 200, reply.text
            store = f"sqlite:{tmp_path}/state/dragoman.db"
            assert ends(store, reply.headers["x-request-id"], 2)[1][0] == "settle"
    assert (len(Desk.orders), Desk.told) == (1, [])


@pytest.mark.parametrize("refunds", [True, False])
@pytest.mark.parametrize(
    ("answer", "told", "is_tried"),
    [
        (refusal(1900, "engine down"), [], True),
        ({}, [], False),
        ({"ok": True, "order": {"id": "o_1"}}, [{"orders": [{"state": "REJECTED"}]}], False),
    ],
    ids=["the order is refused", "nothing is said", "the job fails"],
)
def test_who_takes_nothing_for_a_refused_order_is_followed_by_another(
    tmp_path: Path, answer: Any, told: list[Any], is_tried: bool, refunds: bool
) -> None:
    with desk(*told) as base:
        Desk.refused["obol-1"] = answer
        file = FILE.replace("BASE", base).replace("FOLDER", str(tmp_path))
        file = file.replace("refunded_on_failure: true", f"refunded_on_failure: {refunds}".lower())
        with open_gateway(tmp_path, file) as own:
            body = {**PATHS["images/generations"], "model": "two"}
            reply = posted(own.base_url, "images/generations", body)
    expected = (200, ["obol-1", "obol-2"]) if is_tried and refunds else (502, ["obol-1"])
    assert (reply.status_code, [order["engine"] for order in Desk.orders]) == expected


LOST = ["silence", {}, "<html>bad gateway</html>"]
BY_OUR_ID = FILE.replace("prompt: $prompt}", "prompt: $prompt, order: $uuid}").replace("$task.id]", "$uuid]")


@pytest.mark.parametrize(("path", "answer"), [*zip([*PATHS] * 2, LOST, strict=False)], ids=str)
def test_an_order_whose_answer_is_lost_is_asked_for_by_our_own_id(
    tmp_path: Path, path: str, answer: Any
) -> None:
    with desk(RUNNING, RUNNING) as base:
        Desk.refused["obol-1"] = answer
        file = BY_OUR_ID.replace("BASE", base).replace("FOLDER", str(tmp_path))
        with open_gateway(tmp_path, file) as own:
            reply = posted(own.base_url, path, PATHS[path])
            assert reply.status_code == 200, reply.text
            store = f"sqlite:{tmp_path}/state/dragoman.db"
            assert ends(store, reply.headers["x-request-id"], 2)[1:] == [("settle", "ok", "7", 1)]
    assert len(Desk.orders) == 1


@pytest.mark.parametrize(
    "told", [[{"orders": [{"state": "UNKNOWN"}]}] * 2, [refusal(1204, "none")]], ids=["a word", "a class"]
)
def test_an_order_that_the_vendor_does_not_know_keeps_its_own_error(tmp_path: Path, told: list[Any]) -> None:
    with desk(*told) as base:
        Desk.refused["obol-1"] = "silence"
        file = BY_OUR_ID.replace("BASE", base).replace("FOLDER", str(tmp_path))
        with open_gateway(tmp_path, file) as own:
            reply = posted(own.base_url, "images/generations", PATHS["images/generations"])
            store = f"sqlite:{tmp_path}/state/dragoman.db"
            assert ends(store, reply.headers["x-request-id"], 2)[1][0] == "uncertain"
    assert (reply.status_code, len(Desk.orders)) == (502, 1)
    assert reply.json()["error"]["code"] == "upstream_unreachable"


RESULT_WITH_WORDS = 'result: {images: "orders[0].files[]", text: "orders[0].note"}'


@pytest.mark.parametrize(
    ("note", "content"), [("Here it is.", "Here it is."), ("", "")], ids=["words", "none"]
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_the_vendor_says_beside_the_picture_is_told_in_a_chat(
    tmp_path: Path, stream: bool, note: str, content: str
) -> None:
    with desk() as base:
        made = {"state": "SUCCEEDED", "files": [f"{base}/door.png"], "note": note}
        Desk.told[:] = [{"ok": True, "orders": [made]}]
        file = FILE.replace('result: {images: "orders[0].files[]"}', RESULT_WITH_WORDS)
        with open_gateway(tmp_path, file.replace("BASE", base).replace("FOLDER", str(tmp_path))) as own:
            body = {**PATHS["chat/completions"], "image_output": "images", "stream": stream}
            reply = posted(own.base_url, "chat/completions", body)
    payloads = [reply.text]
    if stream:
        lines = [line[6:] for line in reply.text.splitlines() if line.startswith("data: {")]
        payloads = [line for line in lines if json.loads(line)["choices"]]
    choices = [json.loads(payload)["choices"][0] for payload in payloads]
    said = [choice.get("message") or choice["delta"] for choice in choices]
    assert [one["content"] for one in said if one.get("content")] == ([content] if content else [])
    assert len([image for one in said for image in one.get("images") or ()]) == 1
    assert choices[-1]["finish_reason"] == "stop"
