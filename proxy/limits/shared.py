"""Counts that many machines share, in Redis: one call of a script for each request, and one at its end.

What runs is a lease there, renewed while it runs: of a process that died it is gone after half a minute.
Times are Redis's own, in milliseconds.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from contextlib import suppress
from random import getrandbits
from typing import Any

from proxy.keys import Limits
from proxy.limits.counting import KINDS, Kind, Taken, Wanted

_LEASE_S = 30
_RENEW_S = 10
_PATIENCE_S = 2.0  # a busy machine is late by half a second, and what is counted elsewhere is not exact
_CONNECTIONS = 16

# KEYS: counts, running. ARGV: slot, lease in ms, concurrent (-1: any), then for each window most (-1: any),
# its length in ms, and what is wanted. Returns what has no room (0: all has; its place from 1; the last for
# what runs), for how many ms (-1: there never is), the time, and begin and count of each window.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = redis.call('HMGET', KEYS[1], 'b1', 'c1', 'b2', 'c2', 'b3', 'c3')
local counts, refused, wait, longest = {}, 0, 0, 0
for place = 1, 3 do
  local most, length = tonumber(ARGV[place * 3 + 1]), tonumber(ARGV[place * 3 + 2])
  local more = tonumber(ARGV[place * 3 + 3])
  local begin, count = tonumber(kept[place * 2 - 1] or 0), tonumber(kept[place * 2] or 0)
  if most >= 0 then
    if now < begin or now >= begin + length then begin, count = now, 0 end
    if more > 0 and count + more > most then
      local left = begin + length - now
      if more > most then left = -1 end
      if wait ~= -1 and (refused == 0 or left == -1 or left > wait) then refused, wait = place, left end
    end
    longest = math.max(longest, length)
  end
  counts[place * 2 - 1], counts[place * 2] = begin, count
end
local concurrent = tonumber(ARGV[3])
if refused == 0 and concurrent >= 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  if redis.call('ZCARD', KEYS[2]) >= concurrent then refused = 4 end
end
if refused == 0 then
  local fields = {}
  for place = 1, 3 do
    if tonumber(ARGV[place * 3 + 1]) >= 0 then
      counts[place * 2] = counts[place * 2] + tonumber(ARGV[place * 3 + 3])
      for _, part in ipairs({'b' .. place, string.format('%.0f', counts[place * 2 - 1]),
                             'c' .. place, string.format('%.0f', counts[place * 2])}) do
        fields[#fields + 1] = part
      end
    end
  end
  if #fields > 0 then
    redis.call('HSET', KEYS[1], unpack(fields))
    redis.call('PEXPIRE', KEYS[1], longest)
  end
  if concurrent >= 0 then
    redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])
    redis.call('PEXPIRE', KEYS[2], ARGV[2])
  end
end
return {refused, wait, now, counts[1], counts[2], counts[3], counts[4], counts[5], counts[6]}
"""

# KEYS: counts, running. ARGV: slot, then for tokens and images begin of the window and how many more it were.
_GIVE_BACK = """
redis.call('ZREM', KEYS[2], ARGV[1])
for place = 2, 3 do
  local begin, more = tonumber(ARGV[place * 2 - 2]), tonumber(ARGV[place * 2 - 1])
  local kept = redis.call('HMGET', KEYS[1], 'b' .. place, 'c' .. place)
  if more ~= 0 and tonumber(kept[1] or -1) == begin then
    redis.call('HSET', KEYS[1], 'c' .. place, string.format('%.0f', math.max(0, kept[2] + more)))
  end
end
"""

# KEYS: running. ARGV: lease in ms, then slots.
_RENEW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for place = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', now + ARGV[1], ARGV[place]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""

_WHY: tuple[Kind, ...] = (*KINDS, "concurrent")


class SharedCounters:
    """`take` raises whatever the driver does. Raises `ModuleNotFoundError` where there is none."""

    def __init__(self, address: str) -> None:
        from redis.asyncio import BlockingConnectionPool, Redis

        pool = BlockingConnectionPool.from_url(
            address,
            max_connections=_CONNECTIONS,
            timeout=_PATIENCE_S,
            socket_timeout=_PATIENCE_S,
            socket_connect_timeout=_PATIENCE_S,
        )
        self._redis = Redis.from_pool(pool)
        self._take = self._redis.register_script(_TAKE)
        self._give_back = self._redis.register_script(_GIVE_BACK)
        self._renew = self._redis.register_script(_RENEW)
        self._leases: dict[str, str] = {}  # slot to caller
        self._renewing: asyncio.Task[None] | None = None
        self._ends: set[asyncio.Task[None]] = set()

    async def take(self, caller: str, limits: Limits, wanted: Wanted) -> Taken:
        slot = f"{getrandbits(96):024x}"
        said: list[Any] = [slot, _LEASE_S * 1000, -1 if limits.concurrent is None else limits.concurrent]
        for window, more in zip(limits.windows, wanted, strict=True):
            said += (-1, 0, 0) if window is None else (window.most, round(window.per_s * 1000), more)
        try:
            refused, wait_ms, now_ms, *counts = await self._take(keys=_keys(caller), args=said)
        except asyncio.CancelledError:  # nobody knows whether it was counted as running
            self._later(self._end(caller, [slot, 0, 0, 0, 0]))
            raise
        numbers = [number / (1 if place % 2 else 1000) for place, number in enumerate(counts)]
        taken = Taken(caller, limits, wanted, numbers, now_ms / 1000, self, slot)
        if refused:
            taken.refused = _WHY[refused - 1]
            taken.wait_s = math.inf if wait_ms == -1 else wait_ms / 1000
        elif limits.concurrent is not None:
            self._leases[slot] = caller
            if self._renewing is None:
                self._renewing = asyncio.create_task(self._keep_renewing())
        return taken

    def give_back(self, taken: Taken, tokens: int, images: int) -> None:
        self._leases.pop(taken.slot, None)
        said: list[Any] = [taken.slot]
        for place, came in ((1, tokens), (2, images)):
            counted = taken.limits.windows[place] is not None
            more = came - taken.wanted[place] if counted else 0
            said += (round(taken.counts[2 * place] * 1000), more)
        if taken.limits.concurrent is not None or said[2] or said[4]:
            self._later(self._end(taken.caller, said))

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        if self._ends:
            await asyncio.wait(self._ends, timeout=2 * _PATIENCE_S)
        await self._redis.aclose()

    def _later(self, end: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(end)
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    async def _end(self, caller: str, said: list[Any]) -> None:
        with suppress(Exception):  # a lease ends by itself, and a count with its window
            await self._give_back(keys=_keys(caller), args=said)

    async def _keep_renewing(self) -> None:
        while self._leases:
            await asyncio.sleep(_RENEW_S)
            by_caller: dict[str, list[str]] = {}
            for slot, caller in self._leases.items():
                by_caller.setdefault(caller, []).append(slot)
            for caller, slots in by_caller.items():
                with suppress(Exception):  # in ten seconds again
                    await self._renew(keys=_keys(caller)[1:], args=[_LEASE_S * 1000, *slots])
        self._renewing = None


def _keys(caller: str) -> list[str]:
    """Of a caller, in one place of a cluster."""
    return [f"dragoman:{{{caller}}}:counts", f"dragoman:{{{caller}}}:running"]
