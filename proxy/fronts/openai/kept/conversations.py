"""`/v1/conversations`: items that are kept from response to response, each with an id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any

import orjson

from proxy.codec import jsonio
from proxy.fronts import checks
from proxy.fronts.base import Kept, Piece
from proxy.fronts.notes import Notes
from proxy.fronts.openai.commons import Commons
from proxy.types import Json

_MOST_AT_ONCE = 20  # items, as at OpenAI


class ConversationsFront(Commons):
    """A `TalkFront`. What reads items is loaded by the first of them."""

    prefix = "conv_"

    def begun(self, body: Any, now: float) -> Kept:
        body = _object(body)
        told: Json = {"id": self.prefix + token_hex(16), "object": "conversation", "created_at": int(now)}
        told["metadata"] = _metadata(body)
        items = self.added(body) if body.get("items") else []
        return Kept(told["id"], told, {"items": items})

    def shown(self, told: Json) -> list[Piece]:
        return [orjson.dumps(told)]

    def changed(self, told: Json, body: Any) -> Json:
        return {**told, "metadata": _metadata(_object(body))}

    def added(self, body: Any) -> list[Json]:
        from proxy.fronts.openai.items import incoming
        from proxy.fronts.openai.kept import state

        found = checks.objects(_object(body).get("items"), "items")
        if len(found) > _MOST_AT_ONCE:
            raise checks.invalid("items", f"at most {_MOST_AT_ONCE} items can be added at once.")
        # What could not be read would end the conversation later.
        incoming.parse((), found, range(len(found)), Notes(), "items")
        return state.named(checks.carried(found, "items"), token_hex(16))

    def listed(self, items: Sequence[Json], query: Mapping[str, str]) -> list[Piece]:
        from proxy.fronts.openai.kept import state

        return state.listing(items, query)

    def item(self, item: Json) -> list[Piece]:
        return jsonio.dumps(item)

    def forgotten(self, identity: str) -> bytes:
        return orjson.dumps({"id": identity, "object": "conversation.deleted", "deleted": True})


def _object(body: Any) -> Json:
    if not isinstance(body, dict):
        raise checks.no_object(body)
    return body


def _metadata(body: Json) -> Json:
    value = body.get("metadata")
    return {} if value is None else checks.mapping(checks.carried(value, "metadata"), "metadata")
