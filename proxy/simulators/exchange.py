"""One request to a simulator as its log keeps it, what a simulator answers, and the log itself."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import orjson

from proxy.simulators.directives import Pace
from proxy.simulators.ledger import Ledger

KEPT_EXCHANGES = 2000
KEPT_BYTES = 64 << 20  # of all bodies together
_KEPT_CHARS = 4096
_CREDENTIALS = frozenset(
    ("authorization", "x-goog-api-key", "x-api-key", "api-key", "x-key", "mj-api-secret", "cookie")
)
_LONGEST_TEST_KEY = 32


@dataclass(slots=True)
class Exchange:
    """`path` is relative to the vendor's mount. `raw` is dropped when the answer is on its way, `body` when
    too much has come since: the log then says how long it was.

    Times are milliseconds after the request was received; None: did not happen.
    """

    vendor: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes = b""
    number: int = 0
    received: float = field(default_factory=time.time)
    body: Any = None
    size: int = 0  # of the body as it is kept, in bytes
    status: int | None = None
    frames: int = 0
    first_byte_ms: float | None = None
    ended_ms: float | None = None
    hung_up_ms: float | None = None
    complete: bool = False
    notes: dict[str, Any] = field(default_factory=dict)
    _clock: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> str:
        """The credential, wherever this kind of vendor expects it."""
        bearer = self.headers.get("authorization", "")
        return self.headers.get("x-goog-api-key") or bearer.removeprefix("Bearer ").removeprefix("Key ") or ""

    @property
    def hung_up(self) -> bool:
        """The client went away before it had everything."""
        return self.hung_up_ms is not None

    def elapsed_ms(self) -> float:
        return round((time.monotonic() - self._clock) * 1000, 3)

    def json(self) -> Any:
        """The decoded body. Raises `orjson.JSONDecodeError`."""
        return orjson.loads(self.raw)

    def shown(self) -> dict[str, Any]:
        """A row of `GET /_sim/log`."""
        return {
            "number": self.number,
            "vendor": self.vendor,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": {name: _masked(name, value) for name, value in self.headers.items()},
            "body": self.body,
            "received": self.received,
            "status": self.status,
            "frames": self.frames,
            "first_byte_ms": self.first_byte_ms,
            "ended_ms": self.ended_ms,
            "hung_up": self.hung_up,
            "hung_up_ms": self.hung_up_ms,
            "complete": self.complete,
            "notes": self.notes,
        }


@dataclass(slots=True)
class Reply:
    """What goes back: one frame, or with `streamed` frames that are sent one by one without a length."""

    frames: Sequence[bytes]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json; charset=UTF-8"
    streamed: bool = False
    pace: Pace = field(default_factory=Pace)


def json_reply(
    value: Any, status: int = 200, *, headers: Mapping[str, str] | None = None, pace: Pace | None = None
) -> Reply:
    return Reply([orjson.dumps(value)], status, dict(headers or {}), pace=pace or Pace())


class Log:
    """The newest exchanges and named counts. Written by the server's thread, read by any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exchanges: deque[Exchange] = deque(maxlen=KEPT_EXCHANGES)
        self._numbers = 0
        self._kept_bytes = 0
        self._weighed: deque[Exchange] = deque(maxlen=KEPT_EXCHANGES)  # whose bodies are kept, oldest first
        self._attempts: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.ledger = Ledger()

    def add(self, exchange: Exchange) -> None:
        with self._lock:
            self._numbers += 1
            exchange.number = self._numbers
            self._exchanges.append(exchange)
            self.counts[f"{exchange.vendor}.requests"] += 1

    def keep(self, exchange: Exchange) -> None:
        """Keep the body that came, and drop the oldest ones that there is no room for any more."""
        body = kept(_decoded(exchange.raw))
        size = len(exchange.raw) if len(exchange.raw) <= _KEPT_CHARS else _size(body)
        with self._lock:
            exchange.body, exchange.size = body, size
            if len(self._weighed) == KEPT_EXCHANGES:
                self._drop_oldest()
            self._weighed.append(exchange)
            self._kept_bytes += size
            while self._kept_bytes > KEPT_BYTES:
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        oldest = self._weighed.popleft()
        self._kept_bytes -= oldest.size
        oldest.body, oldest.size = f"<{oldest.size} bytes, no longer kept>", 0

    def exchanges(self, vendor: str | None = None, after: int = 0) -> list[Exchange]:
        """Oldest first; those of one vendor, and those after a number, when asked."""
        with self._lock:
            return [each for each in self._exchanges if each.number > after and vendor in (None, each.vendor)]

    def attempt(self, what: str) -> int:
        """How often this was tried, with this time."""
        with self._lock:
            digest = hashlib.sha256(what.encode()).hexdigest()
            self._attempts[digest] += 1
            return self._attempts[digest]

    def reset(self) -> None:
        with self._lock:
            self._exchanges.clear()
            self._weighed.clear()
            self._kept_bytes = 0
            self._attempts.clear()
            self.counts.clear()
            self.ledger.reset()


def _masked(name: str, value: str) -> str:
    """A credential too long to be a test's is a real one: its owner runs the simulators beside real keys."""
    if name in _CREDENTIALS and len(value) > _LONGEST_TEST_KEY:
        return f"<{len(value)} characters, sha256 {hashlib.sha256(value.encode()).hexdigest()[:16]}>"
    return value


def kept(value: Any) -> Any:
    """A copy for the log, with each long string replaced by its length and digest."""
    if isinstance(value, str):
        if len(value) <= _KEPT_CHARS:
            return value
        return f"<{len(value)} characters, sha256 {hashlib.sha256(value.encode()).hexdigest()}>"
    if isinstance(value, dict):
        return {name: kept(each) for name, each in value.items()}
    if isinstance(value, list):
        return [kept(each) for each in value]
    return value


def _decoded(raw: bytes) -> Any:
    try:
        return orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError:
        return raw.decode("utf-8", "replace")


def _size(body: Any) -> int:
    """What it takes to write it, which is near what it takes to keep it."""
    return len(orjson.dumps(body))


def query_of(raw: bytes) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(raw.decode("latin-1"), True).items()}
