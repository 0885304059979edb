"""The `Renderer` of endpoints that never stream: all is said when all is there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from proxy.fronts.base import Header, Piece
from proxy.fronts.openai import error_reply
from proxy.types import Event


class Unstreamed(ABC):
    ping = b""
    headers: tuple[Header, ...] = ()

    def __init__(self) -> None:
        self._events: list[Event] = []

    @abstractmethod
    def whole(self, events: Iterable[Event]) -> list[Piece]: ...

    def feed(self, events: Iterable[Event]) -> list[Piece]:
        self._events += events
        return []

    def finish(self) -> list[Piece]:
        return self.whole(self._events)

    def error(self, error: BaseException, request_id: str) -> bytes:
        return error_reply.event(error, request_id)
