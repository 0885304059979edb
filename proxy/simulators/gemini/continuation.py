"""Long answers in several hops: `sim:continue:N` ends N replies with CONTINUATION (gemini.md 4.6, G-164)."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import orjson

from proxy.simulators.gemini.answer import Answer
from proxy.simulators.gemini.errors import Refused
from proxy.simulators.gemini.prompt import Prompt
from proxy.simulators.gemini.proto import decoded

Json = dict[str, Any]


def apply(request: Json, prompt: Prompt, answers: list[Answer]) -> None:
    """Say which part this is; refuse the token of another request, since all hops are identical."""
    token = request.get("continuationToken")
    hops = prompt.directives.count("continue")
    if not hops and not token:
        return
    rest = {name: value for name, value in request.items() if name != "continuationToken"}
    digest = hashlib.sha256(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    hop = 0
    if token:
        number, _, given = (decoded(token) or b"").decode("ascii", "replace").partition(":")
        if given != digest or not number.isdigit():
            raise Refused("continuation_token does not belong to this request.")
        hop = int(number)
    for answer in answers:
        answer.parts = [{"text": f"Part {hop + 1} of {hops + 1}. "}]
        if hop < hops:
            answer.finish, answer.signature = "CONTINUATION", None
            answer.extra["continuationToken"] = base64.b64encode(f"{hop + 1}:{digest}".encode()).decode()
