"""Thought signatures: each goes back on its own part, once; the sentinel stands in where one is required.

Gemini 3 validates the current turn, that is, what follows the newest user content that is not a tool result:
the first call of every step in it must be signed.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from proxy.wires.gemini.models import ModelTraits
from proxy.wires.gemini.repairs import RESIGN, SENTINEL_BASE64

if TYPE_CHECKING:
    from proxy.wires.gemini.bodies import Part

# Documented by Google for histories whose signatures are lost. It lowers quality, so it is the last resort.
SENTINEL = "skip_thought_signature_validator"


def sentinel(repairs: frozenset[str]) -> str:
    return b64encode(SENTINEL.encode()).decode() if SENTINEL_BASE64 in repairs else SENTINEL


class Signer:
    """Places the signatures of one request."""

    __slots__ = ("_forwards", "_images", "_required", "_sentinel", "_used", "signs_history")

    def __init__(self, model: ModelTraits, repairs: frozenset[str]) -> None:
        self._forwards = model.signatures != "none" and RESIGN not in repairs
        self._required = model.signatures == "required"
        self._images = model.sign_images
        self._sentinel = sentinel(repairs)
        self._used: set[str] = set()
        self.signs_history = RESIGN in repairs  # harmless, and Google's idea of the turn may not be ours

    def sign(self, part: Part, signature: str | None) -> bool:
        """Put a real signature on a part that has none; False if it was not put."""
        if not signature or not self._forwards or signature in self._used or "thoughtSignature" in part:
            return False
        self._used.add(signature)
        part["thoughtSignature"] = signature
        return True

    def sign_step(self, first_call: Part) -> None:
        """Make sure that the first call of a step in the current turn is signed."""
        if self._required:
            first_call.setdefault("thoughtSignature", self._sentinel)

    def sign_picture(self, part: Part) -> None:
        """Make sure that a replayed picture is signed, for the models that ask for it."""
        if self._images:
            part.setdefault("thoughtSignature", self._sentinel)
