"""Telling a client that its task is over, at the address that it gave: documents/001 says how.

The task's end is in the store before, and that it is to be told: whoever runs then tells it, at least once.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from proxy.codec import jsonio
from proxy.fronts.openai import task_reply
from proxy.serve import tasks
from proxy.serve.house import House
from proxy.upstream import callbacks

if TYPE_CHECKING:
    from proxy.serve.keeper import Keeper

PAUSES_S = (1.0, 2.0, 4.0)  # "called again 1, 2 and 4 seconds after a failure"
_SECRET_PREFIX = "whsec_"


def check(url: str, house: House) -> None:
    """Raises a 400 that says why nothing can be sent there, as far as its looks tell."""
    callbacks.check(url, private=_may_be_private(house))


def _may_be_private(house: House) -> bool:
    """Simulated vendors are for trying things out at home."""
    return house.plan.config.tasks.callbacks.private or house.plan.routes.simulated is not None


async def deliver(keeper: Keeper, house: House, row: Mapping[str, Any]) -> float | None:
    """Try once, and write down how it went. When to try again, in seconds; None for not any more."""
    from proxy.store import tasks as store

    attempt: int = row["callback_tries"]
    status, error = None, None
    try:
        status = await _post(keeper, house, row)
    except callbacks.NotDeliveredError as fault:
        error = str(fault)
    done = status is not None and 200 <= status < 300
    again_s = None if done or attempt > len(PAUSES_S) else PAUSES_S[attempt - 1]
    house.services.log.write(
        "callback", task=row["id"], attempt=attempt, status=status, **({"error": error} if error else {})
    )
    await keeper.do(store.delivered, row["id"], attempt, status, error, again_s)
    return again_s


async def _post(keeper: Keeper, house: House, row: Mapping[str, Any]) -> int:
    """The body is what the task's address answers."""
    view = tasks.seen(row, house, orjson.loads(row["asked"])["base"], None)
    body = b"".join(jsonio.dumps(task_reply.shown(view)))
    secret = house.plan.config.tasks.callbacks.secret
    headers = signed(row["id"], int(time.time()), body, None if secret is None else secret.reveal())
    return await keeper.poster.post(row["callback_url"], body, headers, private=_may_be_private(house))


def signed(task: str, now: int, body: bytes, secret: str | None) -> dict[str, str]:
    """The headers of Standard Webhooks. The id is the same each time that a task is told of."""
    identity = f"msg_{task}"
    headers = {
        "content-type": "application/json",
        "accept": "*/*",
        "webhook-id": identity,
        "webhook-timestamp": str(now),
    }
    if secret is not None:
        content = b"%b.%d.%b" % (identity.encode(), now, body)
        digest = hmac.new(key_of(secret), content, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{b64encode(digest).decode()}"
    return headers


def key_of(secret: str) -> bytes:
    """`whsec_` and base64, as Standard Webhooks writes it, or any other text as it is."""
    if not secret.startswith(_SECRET_PREFIX):
        return secret.encode()
    try:
        return b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except ValueError:
        return secret.encode()
