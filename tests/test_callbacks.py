"""A client that gave an address hears there that its task is over: documents/001."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.serve.callbacks import signed
from proxy.store import tasks
from proxy.upstream.callbacks import NotDeliveredError, Poster
from tests.gateway import KEY, Gateway, open_gateway
from tests.picture_vendors import HEAD, post, providers
from tests.served import waited
from tests.test_tasks_crash import Place, asked, begun, kill, vendors  # noqa: F401

SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes....").decode()
FILE = (
    HEAD
    + providers("dashscope")
    + """
models:
  wan: {targets: [dashscope/wan2.7-image], poll: {every: 60ms}}
tasks: {lease: 1s, callbacks: {private: true, secret: env:WEBHOOK_SECRET}}
"""
)


@dataclass
class Receiver:
    """A client's server: what came, and the statuses that it answers with, the last one for good."""

    answers: list[int] = field(default_factory=lambda: [200])
    came: list[tuple[float, dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/done?a=b"

    def until(self, count: int) -> list[tuple[float, dict[str, str], bytes]]:
        waited(lambda: len(self.came) >= count)
        return self.came


@contextmanager
def receiving(*answers: int, port: int = 0) -> Iterator[Receiver]:
    own = Receiver(list(answers) or [200])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            own.came.append((time.monotonic(), {k.lower(): v for k, v in self.headers.items()}, body))
            status = own.answers.pop(0) if len(own.answers) > 1 else own.answers[0]
            self.send_response(status)
            if status == 302:
                self.send_header("location", own.url)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    own.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield own
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("callbacks")
    file = f'{FILE}server: {{state: "sqlite:{folder}/state/dragoman.db"}}\n'
    with open_gateway(folder, file, {"WEBHOOK_SECRET": SECRET}) as opened:
        yield opened


def started(gateway: Gateway, receiver: Receiver, prompt: str) -> str:
    body = {"model": "wan", "prompt": prompt, "callback_url": receiver.url}
    reply = post(gateway, "images/generations", body)
    assert reply.status_code == 202, reply.text
    task: str = reply.json()["id"]
    return task


def shown(gateway: Gateway, task: str) -> Any:
    headers = {"authorization": f"Bearer {KEY}"}
    return gateway.http.get(f"{gateway.base_url}/v1/tasks/{task}", headers=headers).json()


def deliveries(gateway: Gateway, task: str) -> list[tuple[int, int]]:
    """(attempt, status) of each call, as soon as no other will follow."""
    store = gateway.application.house.services.database.address  # type: ignore[union-attr]
    waited(lambda: asked(store, lambda connection: tasks.get(connection, task))["callback_due"] is None)
    log = asked(store, lambda connection: tasks.deliveries_of(connection, task))
    return [(entry["attempt"], entry["status"]) for entry in log]


def unsigned(task: Any) -> Any:
    """Without what is new in an address each time that it is given."""
    return {
        **task,
        "results": [address.partition("?")[0] for address in task.get("results", ())],
        "data": [item["url"].partition("?")[0] for item in task.get("data", ())],
    }


@pytest.mark.parametrize(
    ("order", "status"), [("", "completed"), (" sim:moderate", "failed")], ids=["completed", "failed"]
)
def test_a_callback_tells_what_the_task_tells(gateway: Gateway, order: str, status: str) -> None:
    with receiving() as receiver:
        task = started(gateway, receiver, f"Tell me{order}")
        (_, headers, body) = receiver.until(1)[0]
        told = json.loads(body)
        assert told["status"] == status
        assert unsigned(told) == unsigned(shown(gateway, task))
        assert headers["content-type"] == "application/json"
        assert headers["webhook-id"] == f"msg_{task}"
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 10
        content = f"msg_{task}.{headers['webhook-timestamp']}.".encode() + body
        digest = hmac.digest(b"a secret of 24 bytes....", content, "sha256")
        assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
        assert httpx.get(told["results"][0]).status_code == 200 if status == "completed" else True
        assert deliveries(gateway, task) == [(1, 200)]
        assert len(receiver.came) == 1


def test_a_cancelled_task_is_told_of(gateway: Gateway) -> None:
    with receiving() as receiver:
        task = started(gateway, receiver, "Cancel me sim:polls:9999")
        waited(
            lambda: (
                shown(gateway, task)["status"] == "processing"
                and shown(gateway, task)["task_info"]["can_cancel"]
            )
        )
        assert post(gateway, f"tasks/{task}/cancel").status_code == 200
        assert json.loads(receiver.until(1)[0][2])["status"] == "cancelled"


ANSWERS = {500: (500, 500, 204), 302: (302, 302, 204), 404: (404, 404, 204), 503: (503,)}


@pytest.fixture(scope="module")
def repeated(gateway: Gateway) -> Iterator[dict[int, tuple[Receiver, str]]]:
    """Receivers that fail, by what they answer first, and the tasks they are told of: begun together, so that
    the seconds between their calls pass once."""
    with ExitStack() as opened:
        receivers = {name: opened.enter_context(receiving(*answers)) for name, answers in ANSWERS.items()}
        yield {name: (each, started(gateway, each, f"Fail {name}")) for name, each in receivers.items()}


@pytest.mark.parametrize("answer", [500, 302, 404])
def test_a_callback_that_fails_is_tried_again_after_one_two_and_four_seconds(
    repeated: dict[int, tuple[Receiver, str]], answer: int
) -> None:
    came = repeated[answer][0].until(3)
    first, second, third = (at for at, _, _ in came)
    assert 1 <= second - first < 2.5
    assert 2 <= third - second < 3.5
    assert len({headers["webhook-id"] for _, headers, _ in came}) == 1


def test_a_callback_waits_for_no_look_at_the_leases(tmp_path: Path) -> None:
    """That one comes much later here."""
    file = FILE.replace("lease: 1s", "lease: 10m")
    with open_gateway(tmp_path, file, {"WEBHOOK_SECRET": SECRET}) as own, receiving(500, 200) as receiver:
        started(own, receiver, "Tell me twice sim:slow:0.5")
        came = receiver.until(2)
    assert len({headers["webhook-id"] for _, headers, _ in came}) == 1


def test_after_three_repetitions_nobody_is_called_any_more(
    gateway: Gateway, repeated: dict[int, tuple[Receiver, str]]
) -> None:
    receiver, task = repeated[503]
    came = receiver.until(4)
    assert 4 <= came[3][0] - came[2][0] < 6
    assert deliveries(gateway, task) == [(1, 503), (2, 503), (3, 503), (4, 503)]


def test_a_callback_survives_a_crash(tmp_path: Path, store_address: str, vendors: Any) -> None:  # noqa: F811
    """The client's server is away when the task ends, and comes back when another process runs."""
    place = Place(tmp_path, store_address, vendors, "lease: 1s, callbacks: {private: true}")
    with receiving() as gone:
        port = gone.port
    with place.served() as server:
        task = begun(server, "wan", "Told later", callback_url=f"http://127.0.0.1:{port}/done?a=b")
        waited(lambda: place.row(task)["callback_tries"] == 1)
        kill(server)
    with receiving(port=port) as receiver, place.served():
        (_, headers, body) = receiver.until(1)[0]
        waited(lambda: place.row(task)["callback_due"] is None)
    assert headers["webhook-id"] == f"msg_{task}"
    assert "webhook-signature" not in headers
    assert json.loads(body)["status"] == "completed"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::1"], ["169.254.169.254"]], ids=str
)
async def test_a_name_that_leads_into_a_private_network_is_not_called(addresses: list[str]) -> None:
    with receiving() as receiver:
        poster = Poster(resolve=lambda host, port: addresses)
        url = f"http://app.example:{receiver.port}/"
        with pytest.raises(NotDeliveredError, match="the address is not public"):
            await poster.post(url, b"{}", {}, private=False)
        await poster.close()
        assert receiver.came == []


@pytest.mark.anyio
async def test_a_redirect_is_an_answer_and_no_way() -> None:
    with receiving(302) as receiver:
        poster = Poster()
        assert await poster.post(receiver.url, b"{}", {}, private=True) == 302
        await poster.close()
        assert len(receiver.came) == 1


@pytest.mark.anyio
async def test_what_is_no_address_was_not_called() -> None:
    """It may stand in the store since an earlier version took it."""
    poster = Poster()
    with pytest.raises(NotDeliveredError):
        await poster.post("https://app.example\\x", b"{}", {}, private=False)
    await poster.close()


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """Their example: github.com/standard-webhooks/standard-webhooks, libraries' tests"""
    key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = signed("p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', key)
    assert headers["webhook-id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
