"""Which counts hold: Redis's where it is named and there, else those of the machine."""

from __future__ import annotations

from time import monotonic

from proxy.keys import Limits
from proxy.limits.counting import LocalCounters, Taken, Wanted
from proxy.limits.shared import SharedCounters
from proxy.logs import Log

_LEFT_ALONE_S = 1.0  # after a failure: a request shall not wait for what is away


class Limiter:
    """While Redis is away the machine counts by itself: requests go on, within limits that hold for each
    machine. `away` tells why then."""

    def __init__(self, local: LocalCounters, log: Log, address: str | None = None) -> None:
        self._local = local
        self._log = log
        self._address = address
        self._shared: SharedCounters | None = None
        self._again_at = 0.0
        self.away: str | None = None
        self.take_here = local.take if address is None else None  # where nobody else counts

    async def take(self, caller: str, limits: Limits, wanted: Wanted) -> Taken:
        if self._address is not None and monotonic() >= self._again_at:
            taken = await self._take_shared(self._address, caller, limits, wanted)
            if taken is not None:
                return taken
        return self._local.take(caller, limits, wanted)

    async def _take_shared(self, address: str, caller: str, limits: Limits, wanted: Wanted) -> Taken | None:
        if self.away is not None:  # one request finds out, and the others do not wait for it
            self._again_at = monotonic() + _LEFT_ALONE_S
        try:
            if self._shared is None:
                self._shared = SharedCounters(address)
            taken = await self._shared.take(caller, limits, wanted)
        except Exception as error:  # whatever the driver raises: no request fails for it
            self._again_at = monotonic() + _LEFT_ALONE_S
            if self.away is None:
                self._log.write("shared_limits_away", kind=type(error).__name__)
            self.away = type(error).__name__
            return None
        if self.away is not None:
            self._log.write("shared_limits_back")
            self.away = None
            self._again_at = 0.0
        return taken

    async def close(self) -> None:
        if self._shared is not None:
            await self._shared.close()
