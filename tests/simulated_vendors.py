"""What the tests of the simulated picture vendors share.

Ids such as V003 are statements of the reference, without their dash because these tests prove the
simulators, not the proxy.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from proxy.simulators import pictures
from proxy.simulators.ledger import Task
from proxy.simulators.server import Running

PNG = pictures.png(64, 48, "x")
BASE64 = base64.b64encode(PNG).decode()
DATA_URI = f"data:image/png;base64,{BASE64}"
PICTURE_URL = "https://example.com/cat.png"


@contextmanager
def client_of(running: Running, vendor: str, key: str = "sim-key") -> Iterator[httpx.Client]:
    """A client of one vendor, with its kind of key; everything before is forgotten."""
    running.log.reset()
    headers = {
        "bfl": {"x-key": key},
        "midjourney-proxy": {"mj-api-secret": key},
        "fal": {"authorization": f"Key {key}"},
        "files": {},
    }.get(vendor, {"authorization": f"Bearer {key}"})
    with httpx.Client(base_url=running.url(vendor), headers=headers, trust_env=False) as client:
        yield client


def only_task(running: Running) -> Task:
    """The one task in the ledger."""
    (task,) = running.log.ledger.tasks()
    return task


def booked(task: Task) -> list[tuple[str, str]]:
    return [(entry.kind, str(entry.amount)) for entry in task.entries]


def fetched(url: str) -> pictures.Seen:
    """Download a result, without credentials, and look at its bytes."""
    reply = httpx.get(url, trust_env=False)
    assert reply.status_code == 200, reply.text
    seen = pictures.look(reply.content)
    assert reply.headers["content-type"] == seen.mime
    return seen


def decoded(text: str) -> pictures.Seen:
    """The same for base64 or a data URI."""
    return pictures.look(base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text))


def size_of(seen: pictures.Seen) -> tuple[int, int]:
    return seen.width, seen.height


def json_of(reply: httpx.Response, status: int = 200) -> Any:
    assert reply.status_code == status, reply.text
    return reply.json()
