"""The stream of a response that is over, for who asks for it once more: each item and each part in one piece.

Clients that show words as they come (langchain-openai, the AI SDK) take them from nowhere but their pieces.
"""

from __future__ import annotations

from proxy.fronts.openai.items.outgoing import Outgoing
from proxy.types import Json

_BEGUN: Json = {
    "status": "in_progress",
    "output": [],
    "usage": None,
    "error": None,
    "completed_at": None,
    "incomplete_details": None,
}
# By an item's type: what of it is one text, and its event.
_CALLS = {
    "function_call": ("arguments", "function_call_arguments"),
    "custom_tool_call": ("input", "custom_tool_call_input"),
}
# What of it is a list of parts, the event of one, and what counts them there.
_LISTS = {
    "message": ("content", "content_part", "content_index"),
    "reasoning": ("summary", "reasoning_summary_part", "summary_index"),
}
# By a part's type: its text, and the event.
_PARTS = {
    "output_text": ("text", "output_text"),
    "refusal": ("refusal", "refusal"),
    "summary_text": ("text", "reasoning_summary_text"),
}


def at_once(response: Json) -> bytes:
    out = Outgoing(None)
    out.streams = True
    for name in ("response.created", "response.in_progress"):
        out.emit(name, response=response | _BEGUN)
    for place, item in enumerate(response["output"]):
        _tell(out, place, item)
    status, error = response["status"], response["error"]
    if error is not None:  # some clients read this one alone
        out.emit("error", param=None, **error, error={"type": "server_error", "param": None, **error})
    out.emit(f"response.{'incomplete' if status == 'cancelled' else status}", response=response)
    return out.drained()


def _tell(out: Outgoing, place: int, item: Json) -> None:
    where: Json = {"item_id": item["id"], "output_index": place}
    begun = item | ({"status": "in_progress"} if "status" in item else {})
    if (call := _CALLS.get(item["type"])) is not None:
        name, event = call
        out.emit("response.output_item.added", output_index=place, item=begun | {name: ""})
        _say(out, event, where, name, item[name], {})
    elif (parts := _LISTS.get(item["type"])) is not None:
        name, event, number = parts
        out.emit("response.output_item.added", output_index=place, item=begun | {name: []})
        for at, part in enumerate(item[name]):
            _tell_part(out, event, where | {number: at}, part)
    else:
        out.emit("response.output_item.added", output_index=place, item=begun)
    out.emit("response.output_item.done", output_index=place, item=item)


def _tell_part(out: Outgoing, event: str, where: Json, part: Json) -> None:
    name, said = _PARTS[part["type"]]
    beside = {"logprobs": part["logprobs"]} if "logprobs" in part else {}
    out.emit(f"response.{event}.added", **where, part=part | {name: ""})
    _say(out, said, where, name, part[name], beside)
    out.emit(f"response.{event}.done", **where, part=part)


def _say(out: Outgoing, event: str, where: Json, name: str, text: str, beside: Json) -> None:
    out.emit(f"response.{event}.delta", **where, delta=text, **beside)
    out.emit(f"response.{event}.done", **where, **{name: text}, **beside)
