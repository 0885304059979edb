"""Thought signatures that prove themselves, and who must carry one (reference: gemini.md 2.6).

A signature names the call it was made for and is sealed, so it outlives a restart of the simulator and no
table is kept. Signatures of anything but a call say only that they came from here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.simulators.gemini.errors import Refused, missing_signature
from proxy.simulators.gemini.proto import decoded

SENTINELS = (b"skip_thought_signature_validator", b"context_engineering_is_the_way_to_go")
# The literal words are valid base64 themselves; clients also wrap them in base64 once more.
_SENTINEL_BYTES = {bytes_ for word in SENTINELS for bytes_ in (word, decoded(word.decode()))}
_SECRET = b"this simulator's own; it protects nothing"
_MARK = b"\x12\xf5\x03sim1"
_SEAL = 16


def _fingerprint(call: dict[str, Any]) -> bytes:
    # The id is sealed with the call; a client that dropped ids from the history is not punished for it.
    named = {"name": call.get("name", ""), "args": call.get("args") or {}}
    return hashlib.sha256(orjson.dumps(named, option=orjson.OPT_SORT_KEYS)).digest()[:_SEAL]


def _sealed(payload: bytes) -> bytes:
    return payload + hmac.digest(_SECRET, payload, "sha256")[:_SEAL]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def for_call(call: dict[str, Any], size_bytes: int = 0) -> str:
    """The signature of one functionCall, `size_bytes` long at least."""
    identity = call.get("id", "").encode()[:255]
    payload = _MARK + b"C" + bytes((len(identity),)) + identity + _fingerprint(call)
    return _text(_sealed(payload + bytes(max(0, size_bytes - len(payload) - _SEAL))))


def for_answer(unique: str, size_bytes: int = 0) -> str:
    """The signature of a text, picture or server-side tool part."""
    payload = _MARK + b"A" + hashlib.sha256(unique.encode()).digest()
    return _text(_sealed(payload + bytes(max(0, size_bytes - len(payload) - _SEAL))))


def is_sentinel(signature: str) -> bool:
    return decoded(signature) in _SENTINEL_BYTES


def _belongs(signature: str, part: dict[str, Any]) -> bool:
    data = decoded(signature) or b""
    payload, seal = data[:-_SEAL], data[-_SEAL:]
    if not payload.startswith(_MARK) or hmac.digest(_SECRET, payload, "sha256")[:_SEAL] != seal:
        return False
    kind, rest = payload[len(_MARK) : len(_MARK) + 1], payload[len(_MARK) + 1 :]
    call = part.get("functionCall")
    if kind == b"A" or call is None:
        return kind == b"A" and call is None
    identity, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
    given = call.get("id", "").encode()[:255]
    return given in (b"", identity) and rest[:_SEAL] == _fingerprint(call)


@dataclass(slots=True)
class Tally:
    """What the history of one request carried."""

    real: int = 0
    sentinels: int = 0
    on_siblings: int = 0


def check(contents: list[dict[str, Any]], *, required: bool) -> Tally:
    """Refuse foreign, moved, doubled and, where `required`, missing signatures.

    Authenticity is checked wherever a signature stands; presence only in the current turn, which begins
    after the newest user content that holds something other than functionResponse.
    """
    tally = Tally()
    seen: set[str] = set()
    turn = _turn_start(contents)
    for index, content in enumerate(contents):
        calls = 0
        for part in content.get("parts", ()):
            signature = part.get("thoughtSignature")
            calls += "functionCall" in part
            if signature:
                _check_one(signature, part, seen, tally, sibling="functionCall" in part and calls > 1)
            elif required and index >= turn and "functionCall" in part and calls == 1:
                raise missing_signature(part["functionCall"].get("name", ""), index + 1)
    return tally


def _check_one(signature: str, part: dict[str, Any], seen: set[str], tally: Tally, *, sibling: bool) -> None:
    if is_sentinel(signature):
        tally.sentinels += 1
        tally.on_siblings += sibling
        return
    if signature in seen or not _belongs(signature, part):
        raise Refused("Corrupted thought signature.")
    seen.add(signature)
    tally.real += 1


def _turn_start(contents: list[dict[str, Any]]) -> int:
    for index in range(len(contents) - 1, -1, -1):
        content = contents[index]
        if content.get("role") != "model" and any(
            "functionResponse" not in part for part in content.get("parts", ())
        ):
            return index + 1
    return 0
