"""A plain OpenAI-compatible server: its chats, its pictures and what it does beside them, at one address."""

from __future__ import annotations

from collections.abc import Awaitable

from proxy.simulators import openai_chat
from proxy.simulators.exchange import Exchange, Log, Reply
from proxy.simulators.openai_beside import Beside
from proxy.simulators.serving import Handler
from proxy.simulators.vendors.openai_images import Kin


def make(log: Log) -> Handler:
    return _one_of(openai_chat.make(log), Kin(log, strict=False).handle, Beside(log, strict=False))


def make_strict(log: Log) -> Handler:
    return _one_of(openai_chat.make_strict(log), Kin(log, strict=True).handle, Beside(log, strict=True))


def _one_of(chats: Handler, pictures: Handler, beside: Beside) -> Handler:
    def handle(exchange: Exchange) -> Reply | Awaitable[Reply]:
        if exchange.path.startswith("/v1/images/"):
            return pictures(exchange)
        return beside.handle(exchange) if exchange.path in beside.services else chats(exchange)

    return handle
