"""What the tests of the simulated picture vendors share.

Ids such as V003 are statements of the reference, without their dash because these tests prove the
simulators, not the proxy.
"""

import base64
import hashlib
import hmac
import json
import time
import uuid
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


class Signing(httpx.Auth):
    """Signs each call in its query, as LiblibAI wants it."""

    def __init__(self, key: str) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]
        request.url = request.url.copy_merge_params(signed(request.url.path, self._key))
        yield request


def signed(path: str, key: str) -> dict[str, str]:
    """The query that signs a call of this path."""
    stamp, nonce = str(int(time.time() * 1000)), uuid.uuid4().hex
    digest = hmac.new(b"simulated-secret", f"{path}&{stamp}&{nonce}".encode(), hashlib.sha1).digest()
    signature = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return {"AccessKey": key, "Signature": signature, "Timestamp": stamp, "SignatureNonce": nonce}


def jwt(key: str, life_s: int = 1800) -> str:
    """A token that is issued by this key, as Kling wants it."""
    now = int(time.time())
    parts = ({"alg": "HS256", "typ": "JWT"}, {"iss": key, "exp": now + life_s, "nbf": now - 5})
    text = ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts)
    digest = hmac.new(b"simulated-secret", text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def token(running: Running, key: str) -> str:
    """What Baidu gives for this key; "" where it gives none."""
    asked = {"grant_type": "client_credentials", "client_id": key, "client_secret": "simulated-secret"}
    reply = httpx.post(f"{running.url('baidu')}/oauth/2.0/token", params=asked)
    return str(reply.json().get("access_token", ""))


@contextmanager
def client_of(running: Running, vendor: str, key: str = "sim-key") -> Iterator[httpx.Client]:
    """A client of one vendor, with its kind of key; everything before is forgotten."""
    headers = {
        "bfl": {"x-key": key},
        "midjourney-proxy": {"mj-api-secret": key},
        "fal": {"authorization": f"Key {key}"},
        "kling": {"authorization": f"Bearer {jwt(key)}"},
        "files": {},
        "liblib": {},
        "baidu": {},
    }.get(vendor, {"authorization": f"Bearer {key}"})
    more: dict[str, Any] = {
        "liblib": {"auth": Signing(key)},
        "baidu": {"params": {"access_token": token(running, key)}},
    }.get(vendor, {})
    running.log.reset()
    base = running.url(vendor)
    with httpx.Client(base_url=base, headers=headers, trust_env=False, **more) as client:
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
