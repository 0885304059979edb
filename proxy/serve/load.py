"""What is in flight against what may be: above it a request is refused before its body is read.

A server that takes on more than it can do answers nobody in time; one that says so at once is asked again
when there is room, and by then serves at its full rate.
"""

from __future__ import annotations

from typing import Protocol

from proxy.errors import ProxyError
from proxy.logs import Log
from proxy.serve.waiting import WaitingLine

RETRY_AFTER_S = 1
_AT_ONCE = 64 * 1024  # bytes of a body that may come in one read
SMALL = 1 << 20  # bytes of a body that is read over, where it is refused, without anybody looking at it


class Bounds(Protocol):
    """`server.in_flight` of the file."""

    @property
    def requests(self) -> int: ...
    @property
    def bytes(self) -> int: ...


class Load:
    """Requests that are being answered, and the bytes of their bodies. While its body is on its way a request
    is no work yet: a thousand that drip would keep all others out. `coming` are those that are read and whose
    tasks have not begun to run. `line`: who was refused and asked again too soon."""

    __slots__ = ("_before", "_told", "bounds", "bytes", "coming", "line", "refused", "requests")

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.requests = 0
        self.coming = 0
        self.bytes = 0
        self.refused = 0
        self.line = WaitingLine(self._room)
        self._told = 0  # of the refused
        self._before: int | None = None  # refused before the time that began and is not over

    def lacks(self, size: int) -> bool:
        """There is no room for a request with such a body."""
        bounds, held = self.bounds, self.bytes
        return self.requests + self.coming >= bounds.requests or (held > 0 and held + size > bounds.bytes)

    def enter(self, declared: bytes | None) -> int:
        """A request comes: the bytes it holds at once, until it leaves. By its `content-length` it may be too
        much, but of a large body only what has come of it counts: else who drips would keep all others out.
        Raises a 503."""
        size = int(declared) if declared is not None and declared.isdigit() else 0
        held, bounds = self.bytes, self.bounds
        # One alone always has room: how large it may be is for `server.body_limit` to say.
        if self.requests >= bounds.requests or (held and held + size > bounds.bytes):
            raise self._refusal()
        size = min(size, _AT_ONCE)
        self.bytes = held + size
        return size

    def begin(self) -> None:
        """Its body is here. Raises a 503."""
        if self.requests >= self.bounds.requests:
            raise self._refusal()
        self.requests += 1

    def grow(self, held: int, size: int) -> int:
        """More of a body has come than it holds. Raises a 503."""
        if size <= held:
            return held
        others = self.bytes - held
        if others and others + size > self.bounds.bytes:
            raise self._refusal()
        self.bytes = others + size
        return size

    def leave(self, held: int, *, begun: bool) -> None:
        self.requests -= begun
        self.bytes -= held
        if self.line.waiting:
            self.line.ask()

    def _room(self) -> int:
        """For so many small requests. What comes may turn out to be no work: then there is more at the next
        turn of the loop."""
        if self.coming:
            self.line.ask()
        return 0 if self.lacks(SMALL) else self.bounds.requests - self.requests - self.coming

    def tell(self, log: Log) -> None:
        """Asked now and then: that refusals have begun, and that there was none since it was asked last. Most
        of them have no line of their own."""
        if self.refused > self._told and self._before is None:
            self._before = self._told
            log.write("overloaded", requests=self.requests, bytes=self.bytes)
        elif self.refused == self._told and self._before is not None:
            log.write("overload_over", refused=self.refused - self._before)
            self._before = None
        self._told = self.refused

    def without_descriptors(self) -> ProxyError:
        self.refused += 1
        return refusal("The server has no file descriptors left (ulimit -n).")

    def _refusal(self) -> ProxyError:
        self.refused += 1
        return refusal()


def refusal(why: str = "The server has as much to do as it can.") -> ProxyError:
    return ProxyError(
        f"{why} Try again in a moment.",
        status=503,
        code="server_overloaded",
        headers={"retry-after": str(RETRY_AFTER_S)},
    )
