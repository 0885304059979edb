"""A memory of signatures that machines share: a tool loop may change machines between its turns.

What one process remembers it tells by a stream in Redis, and all others remember it like their own: no
request waits for Redis, and losing it costs what losing the memory of the other machines costs.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import orjson

from proxy.memory.signatures import Shared, SignatureMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_STREAM = "dragoman:signatures"
_ENTRIES = 20_000  # of the stream
_LONGEST = 64 << 10  # those of some pictures are longer, and stay where they are
_KEPT_S = 6 * 3600
_BEFORE_S = 3600.0  # what was told before a process began
_AT_ONCE = 200
_UNTOLD = 1000
_BLOCK_MS = 5000
_PATIENCE_S = 10.0  # more than that
_PAUSE_S = 1.0  # while Redis is away
_LAST_WORDS_S = 0.5


class SharedSignatures(SignatureMemory):
    """`open` belongs into the loop that `close` ends it in. While Redis is away nobody is told, and nothing
    waits for it; `log` hears of that, with what it is and its facts."""

    def __init__(self, address: str, log: Callable[..., None], *, shared: Shared | None = None) -> None:
        super().__init__(shared=shared)
        self._address = address
        self._log = log
        self._me = token_hex(8)
        self._redis: Any = None
        self._untold: deque[bytes] = deque(maxlen=_UNTOLD)
        self._more = asyncio.Event()
        self._works: list[asyncio.Task[None]] = []
        self._is_away = self._is_over = False
        self._heard = f"{int((time.time() - _BEFORE_S) * 1000)}-0"

    def put(self, key: tuple[str, ...], signature: str) -> None:
        super().put(key, signature)
        if len(signature) <= _LONGEST:
            with suppress(orjson.JSONEncodeError):  # half a character in a name of a client's
                self._untold.append(orjson.dumps([key, signature]))
                self._more.set()

    def open(self) -> None:
        try:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ModuleNotFoundError as error:
            self._away(error)
            return
        once = Retry(NoBackoff(), 0)  # it is tried again here
        self._redis = Redis.from_url(self._address, socket_timeout=_PATIENCE_S, retry=once)
        self._works = [asyncio.create_task(self._going_on(one)) for one in (self._tell, self._hear)]

    async def close(self) -> None:
        if self._redis is None:
            return
        if self._untold:
            with suppress(Exception):
                await asyncio.wait_for(self._told(), _LAST_WORDS_S)
        self._is_over = True  # the driver may keep a cancellation to itself
        self._more.set()
        for work in self._works:
            work.cancel()
        await asyncio.wait(self._works)
        await self._redis.aclose()

    async def _going_on(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while not self._is_over:
            try:
                await work()
            except Exception as error:  # whatever the driver raises: no request fails for it
                self._away(error)
                await asyncio.sleep(_PAUSE_S)

    def _away(self, error: Exception) -> None:
        if not self._is_away:
            self._log("shared_signatures_away", kind=type(error).__name__)
        self._is_away = True

    def _back(self) -> None:
        if self._is_away:
            self._log("shared_signatures_back")
        self._is_away = False

    async def _tell(self) -> None:
        while not self._is_over:
            await self._more.wait()
            self._more.clear()
            await self._told()

    async def _told(self) -> None:
        while self._untold and not self._is_over:
            telling = [self._untold.popleft() for _ in range(min(_AT_ONCE, len(self._untold)))]
            async with self._redis.pipeline(transaction=False) as line:
                for one in telling:
                    line.xadd(_STREAM, {"by": self._me, "kept": one}, maxlen=_ENTRIES, approximate=True)
                line.expire(_STREAM, _KEPT_S)
                await line.execute()
            self._back()

    async def _hear(self) -> None:
        while not self._is_over:
            heard = await self._redis.xread({_STREAM: self._heard}, count=_AT_ONCE, block=_BLOCK_MS)
            self._back()
            for _, entries in heard:
                for identity, fields in entries:
                    self._heard = identity
                    if fields[b"by"] != self._me.encode():
                        key, signature = orjson.loads(fields[b"kept"])
                        super().put(tuple(key), signature)
