"""Replies that are kept: what is told of one, how a request goes on from it, how its client reads it later.

Of a reply these are told: `response`, the object, and `seal`, which holds the signatures of its output. Its
context are `items`, what the client sent with it, `before`, the items of the replies it went on from, and
`token`. Ids of items hold the token, which is of the reply's own id, so that a reference finds it. Most
replies are never asked for again: what the client sent gets its ids when somebody looks at it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proxy.codec import jsonio
from proxy.errors import RequestError
from proxy.fronts import checks, sealed
from proxy.fronts.base import Kept, Piece
from proxy.fronts.openai.responses.shape import ResponsesShape
from proxy.types import Json, Slice

_REPLY = re.compile(r"resp_[0-9a-f]{32}\Z")
_CONVERSATION = re.compile(r"conv_[0-9a-f]{32}\Z")
_ITEM = re.compile(r"[a-z]{1,8}_([0-9a-f]{32})i?[0-9a-f]{2,8}\Z")
_ANSWERED = ("completed", "incomplete")
_OVER = frozenset(("completed", "incomplete", "failed", "cancelled"))
_NUMBER = re.compile(rb'"sequence_number":(\d+)')
_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
}
_SEAL = {"type", "summary", "encrypted_content"}
_PICTURE = "image_generation_call"
_REFERRING = ("item_reference", _PICTURE)
_PAGE, _MOST_PER_PAGE = 20, 100
_MOST_REFERRED = 1000  # replies


def goes_on_from(body: Any) -> dict[str, bool]:
    """The replies that a body speaks of, and whether it needs their context: of what a client refers to, only
    its own items stand there."""
    if not isinstance(body, dict):
        return {}
    found: dict[str, bool] = {}
    items = body.get("input")
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and item.get("type") in _REFERRING and (of := _reply_of(item)):
            found[of] = found.get(of, False) or "i" in item["id"].rpartition("_")[2]
            if len(found) >= _MOST_REFERRED:
                break
    before = body.get("previous_response_id")
    if isinstance(before, str) and _REPLY.match(before):
        found[before] = True
    if "conversation" in body:
        talk = conversation(body)
        if isinstance(talk, str) and _CONVERSATION.match(talk):
            found[talk] = True
    return found


def conversation(body: Json) -> Any:
    """The id of the conversation that a body names, as it is or in an object."""
    named = body.get("conversation")
    return named.get("id") if isinstance(named, dict) else named


def before(body: Json, earlier: Mapping[str, Json]) -> list[Json]:
    """The items of the conversation, or of the reply that the client goes on from and of all before it.
    Raises `RequestError`."""
    if body.get("conversation") is not None:
        talk = checks.required_string(conversation(body), "conversation")
        if talk not in earlier:
            raise RequestError(
                f"Conversation with id '{talk[:100]}' not found: it is not kept any more, or another key's.",
                param="conversation",
                status=404,
                code="conversation_not_found",
            )
        found: list[Json] = earlier[talk]["items"]
        return found
    identity = body.get("previous_response_id")
    if identity is None:
        return []
    told = earlier.get(checks.required_string(identity, "previous_response_id"))
    if told is None:
        raise RequestError(
            f"Previous response with id '{identity[:100]}' not found: it was not kept, is not kept any more, "
            "or is another key's.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    if told["response"]["status"] not in _OVER:
        raise checks.invalid("previous_response_id", "this response is not complete yet.")
    return [*told["before"], *_sent(told), *_seal_of(told), *told["response"]["output"]]


def resolved(items: Sequence[Json], earlier: Mapping[str, Json]) -> tuple[Sequence[Json], Sequence[int]]:
    """The client's items with what is kept in place of references to it, and where each stands in the
    client's list; references to what is not kept stay, to be refused."""
    if not earlier or not any(item.get("type") in _REFERRING for item in items):
        return items, range(len(items))
    found: list[Json] = []
    places: list[int] = []
    kept: dict[str, dict[str, Json]] = {}  # the items of a reply by their ids
    for place in _in_order(items):
        item = items[place]
        of = _reply_of(item) if item.get("type") in _REFERRING else None
        told = earlier.get(of) if of is not None else None
        if of is not None and told is not None:
            if of not in kept:
                kept[of] = {one["id"]: one for one in _items_of(told)}
                found += _seal_of(told)
            item = kept[of].get(item["id"], item)
        found.append(item)
        places += [place] * (len(found) - len(places))
    return found, places


def _in_order(items: Sequence[Json]) -> list[int]:
    """The places of items as a model shall read them: OpenAI's guide has pictures by their ids behind the
    words that ask for a change of them, and models answer to what stands last."""
    order = list(range(len(items)))
    end = len(items)
    while end and items[end - 1].get("type") == _PICTURE and items[end - 1].get("result") is None:
        end -= 1
    if 0 < end < len(items) and items[end - 1].get("role") == "user":
        order.append(order.pop(end - 1))
    return order


def kept(response: Json, shape: ResponsesShape, token: str, seals: Json) -> Kept:
    told = {"response": response, "seal": sealed.seal(seals) if seals else None}
    context = {"before": shape.before, "items": shape.items, "token": token}
    adds = None
    if shape.conversation is not None and response["status"] in _ANSWERED:
        adds = (shape.conversation, [*_sent(context), *_seal_of(told), *response["output"]])
    return Kept(response["id"], told, context, adds)


def shown(told: Json) -> list[Piece]:
    return jsonio.dumps(told["response"])


def page(context: Json, query: Mapping[str, str]) -> list[Piece]:
    """What the reply was made from, the newest first unless `order` is `asc`. Raises `RequestError`."""
    return listing([*context["before"], *_sent(context)], query)


def listing(items: Iterable[Json], query: Mapping[str, str]) -> list[Piece]:
    """A page of items that have ids; the others are seals of ours. Raises `RequestError`."""
    items = [item for item in items if item.get("id")]
    if checks.one_of("asc", "desc")(query.get("order", "desc"), "order") == "desc":
        items.reverse()
    after = query.get("after")
    if after is not None:
        places = [place for place, item in enumerate(items) if item["id"] == after]
        if not places:
            raise checks.invalid("after", "there is no such item.")
        items = items[places[0] + 1 :]
    limit = checks.numbered(query.get("limit", str(_PAGE)), 1, _MOST_PER_PAGE)
    if limit is None:
        raise checks.invalid("limit", f"a number from 1 to {_MOST_PER_PAGE}.")
    listed = items[:limit]
    return jsonio.dumps(
        {
            "object": "list",
            "data": listed,
            "first_id": listed[0]["id"] if listed else None,
            "last_id": listed[-1]["id"] if listed else None,
            "has_more": len(items) > len(listed),
        }
    )


def is_over(told: Json) -> bool:
    return told["response"]["status"] in _OVER


def ended(told: Json, status: str, error: Json | None = None) -> Json:
    return {**told, "response": {**told["response"], "status": status, "error": error}}


def emptied(told: Json) -> Json:
    """Without its items and what they are signed with; what they cost is told."""
    nothing: Json = {"output": [], "completed_at": None, "incomplete_details": None}
    return {**told, "response": {**told["response"], **nothing}, "seal": None}


def number_of(frame: bytes) -> int:
    found = _NUMBER.search(frame)
    return int(found[1]) if found else 0


def _reply_of(item: Json) -> str | None:
    """Whose item one refers to, by its id; a picture that is there refers to none."""
    identity = item.get("id") if item.get("result") is None else None
    found = _ITEM.match(identity) if isinstance(identity, str) else None
    return None if found is None else f"resp_{found[1]}"


def _items_of(told: Json) -> list[Json]:
    """Those that can be referred to: seals have no id."""
    items = (*told["response"]["output"], *(_sent(told) if "items" in told else ()))
    return [item for item in items if item.get("id")]


def _sent(context: Json) -> list[Json]:
    """The client's own items, each with an id."""
    return named(context["items"], context["token"])


def named(items: Iterable[Json], token: str) -> list[Json]:
    return [_listed(item, f"{token}i{place:02x}") for place, item in enumerate(items)]


def _seal_of(told: Json) -> list[Json]:
    """As an item without an id, which stands before what it signs."""
    if told["seal"] is None:
        return []
    return [{"type": "reasoning", "summary": [], "encrypted_content": told["seal"]}]


def _listed(item: Json, place: str) -> Json:
    """An item with its type, an id and, in a message, a list of parts. A seal of ours stays what it is."""
    if item.keys() == _SEAL:
        return item
    sort = item.get("type", "message")
    found = {"id": f"{_PREFIXES.get(sort, 'item')}_{place}", "type": sort, **item}
    if not isinstance(found["id"], str) or not found["id"]:
        found["id"] = f"{_PREFIXES.get(sort, 'item')}_{place}"
    if sort == "message" and isinstance(found.get("content"), str | Slice):
        kind = "output_text" if found.get("role") == "assistant" else "input_text"
        more: Json = {"annotations": []} if kind == "output_text" else {}
        found["content"] = [{"type": kind, "text": found["content"], **more}]
    return found
