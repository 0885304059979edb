"""A plain OpenAI-compatible server: its chats and its pictures at one address."""

from __future__ import annotations

from collections.abc import Awaitable

from proxy.simulators import openai_chat
from proxy.simulators.exchange import Exchange, Log, Reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors.openai_images import Kin


def make(log: Log) -> Handler:
    return _either(openai_chat.make(log), Kin(log, strict=False).handle)


def make_strict(log: Log) -> Handler:
    return _either(openai_chat.make_strict(log), Kin(log, strict=True).handle)


def _either(chats: Handler, pictures: Handler) -> Handler:
    def handle(exchange: Exchange) -> Reply | Awaitable[Reply]:
        return pictures(exchange) if exchange.path.startswith("/v1/images/") else chats(exchange)

    return handle
