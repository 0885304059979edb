"""What tools returned, as `functionResponse` parts.

`response` is a protobuf Struct: an object, whose numbers are doubles. What would change on the way is sent as
text under `output`, Google's word for a result; of a tool that failed, under `error`.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NoReturn

from proxy.codec import values
from proxy.types import Json, MediaPart, ResultPart, TextPart
from proxy.wires.gemini import media
from proxy.wires.orphans import MISSING

if TYPE_CHECKING:
    from proxy.wires.gemini.bodies import FunctionResponse, Part

# What `functionResponse.parts` may hold; other media follow in a content of their own.
_INSIDE = frozenset({"image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"})

_MISSING: Json = {"error": MISSING}


class _Unfit(ValueError):
    """The object would not survive as a Struct."""


def part(call_id: str, name: str, result: ResultPart | None, *, tool_media: bool) -> tuple[Part, list[Part]]:
    """The part that answers a call, and the media that do not fit into it.

    `call_id` is empty where ids are not sent; `result` is None where the client lost it.
    """
    response: FunctionResponse = {"id": call_id, "name": name} if call_id else {"name": name}
    if result is None:
        return {"functionResponse": response | {"response": dict(_MISSING)}}, []
    text = "\n".join(one.text for one in result.parts if isinstance(one, TextPart))
    response["response"] = {"error": text} if result.failed else _response(text)
    inside: list[Part] = []
    outside: list[Part] = []
    for one in result.parts:
        if isinstance(one, MediaPart):
            built = media.part(one)
            mime = built.get("inlineData", {}).get("mimeType")
            (inside if tool_media and mime in _INSIDE else outside).append(built)
    if inside:
        response["parts"] = [{"inlineData": built["inlineData"]} for built in inside]
    return {"functionResponse": response}, outside


def _response(text: str) -> Json:
    """The object the tool returned, or its text under `output`: so also a very large one."""
    if text.lstrip()[:1] == "{" and not values.too_many(text):
        try:
            found = json.loads(
                text,
                object_pairs_hook=_object,
                parse_int=_integer,
                parse_float=_number,
                parse_constant=_refuse,
            )
            text.encode()
            if isinstance(found, dict) and not ("\\ud" in text.lower() and _has_lone_surrogate(found)):
                return found
        except (ValueError, RecursionError):
            pass
    return {"output": text}


def _object(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    # Gemini reads `$ref` as a reference to a named media part, and refuses the request if there is none
    if len(found) < len(pairs) or "$ref" in found:
        raise _Unfit
    return found


def _integer(digits: str) -> int:
    value = int(digits)
    if abs(value) > 2**53:
        raise _Unfit
    return value


def _number(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _Unfit
    return value


def _refuse(constant: str) -> NoReturn:
    raise _Unfit


def _has_lone_surrogate(value: Json) -> bool:
    """Half of an escaped emoji, which cannot be written as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
