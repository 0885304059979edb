"""Requests that come again: how one is known, and what it is told that joins another."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from proxy.errors import ProxyError, RequestError, UpstreamError
from proxy.fronts.base import Form, Header
from proxy.fronts.clients import repeating
from proxy.serve import body as bodies
from proxy.serve.exchange import Exchange
from proxy.types import Json

if TYPE_CHECKING:
    from proxy.serve.house import House

Row = Mapping[str, Any]
Joined = Literal["running", "done"]

_RETRIED_WITHIN_S = 600.0  # how long after its end an SDK's retry still finds a request
_KEY_CHARS = 255


@dataclass(frozen=True, slots=True)
class Repeats:
    """By what a request is to be found when it comes again: a `key` of the client's own; `by_sdk`: its SDK
    may send it several times, and says so when it does (`is_retry`); `unsaid_s`: for so long after a failure
    it may come again without a word."""

    key: str | None
    by_sdk: bool
    is_retry: bool
    unsaid_s: float | None = None

    @property
    def to_be_found(self) -> bool:
        return self.key is not None or self.by_sdk or self.unsaid_s is not None

    @property
    def within_s(self) -> float | None:
        """For how long after its end it finds the request that it repeats without a key; None: never."""
        return _RETRIED_WITHIN_S if self.is_retry else None


def repeats(exchange: Exchange) -> Repeats:
    """Raises a 400 for a key that cannot be kept."""
    retries = exchange.fields.get(b"x-stainless-retry-count")
    return Repeats(
        _key(exchange),
        by_sdk=retries is not None,
        is_retry=retries not in (None, b"0"),
        unsaid_s=repeating.for_s(exchange.fields.get(b"user-agent", b"")),
    )


def _key(exchange: Exchange) -> str | None:
    key = exchange.header(b"idempotency-key")
    if not key:
        return None
    if len(key) > _KEY_CHARS or not (key.isascii() and key.isprintable()):
        raise RequestError(
            f"An Idempotency-Key is at most {_KEY_CHARS} printable ASCII characters.",
            code="invalid_idempotency_key",
        )
    return key


class Pending:
    """What is being done for requests, by whose they are and what they ask for."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], tuple[str, bytes]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: asyncio.Task[Any], row: Row) -> None:
        self._tasks[task] = row["key"], row["digest"]
        task.add_done_callback(self._tasks.pop)

    async def over(self, row: Row) -> None:
        """Wait for what is done for the same."""
        same = [task for task, what in self._tasks.items() if what == (row["key"], row["digest"])]
        if same:
            await asyncio.wait(same)


def digest(endpoint: str, path: Mapping[str, str], written: bytes) -> bytes:
    """Of what is asked for: the same body at another model's address is another request."""
    place = "\0".join((endpoint, *path.values())).encode("utf-8", "surrogatepass")
    return hashlib.sha256(place + b"\0" + written).digest()


async def begun_before(
    exchange: Exchange, house: House, endpoint: str, body: Json | Form, *, later: bool
) -> Row | None:
    """What a request joins, looked for before it is counted; None where it begins, as far as is known: what
    another begins meanwhile is found when its row is opened. `later`: it is a reply in the background.

    Raises a 409 when the idempotency key came with another body, a 503 when nobody knows."""
    wanted, caller = repeats(exchange), exchange.caller
    assert caller is not None
    may_join = wanted.key is not None or wanted.is_retry or wanted.unsaid_s is not None
    written = bodies.written_or_none(body) if may_join else None
    if written is None:
        return None
    own = digest(endpoint, exchange.scope.get("path_params") or {}, written)
    same = {"key": caller.name, "idempotency": wanted.key, "digest": own}
    kept = house.services.shelf if later else house.services.keeper
    try:
        found = await kept.begun_before(same, wanted)
    except ProxyError:
        if wanted.key is not None:
            raise
        return None
    if found is not None:
        check(found, own)
    return found


def check(found: Mapping[str, Any], own: bytes) -> None:
    """Raises a 409 where the row that was found is another request's than that with this digest."""
    if found["digest"] != own:
        raise RequestError(
            "This Idempotency-Key came with another request before; use a new one for each.",
            status=409,
            code="idempotency_key_reused",
            headers={"x-should-retry": "false"},
        )


def starts_anew(error: Exception) -> bool:
    """Whether what ended so cost nothing, so that it is tried again for who asks again."""
    bought = isinstance(error, UpstreamError) and error.bought
    return isinstance(error, ProxyError) and not bought


def headers(joined: Joined | None) -> list[Header]:
    """None of the first."""
    return [] if joined is None else [(b"x-proxy-joined", joined.encode())]
