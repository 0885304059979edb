"""Voices: Google's thirty by their own names, and those of OpenAI by the ones that are nearest (E-015)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.types import Json

_VOICES = {
    "alloy": "Kore",
    "ash": "Charon",
    "ballad": "Algieba",
    "cedar": "Rasalgethi",
    "coral": "Aoede",
    "echo": "Puck",
    "fable": "Fenrir",
    "marin": "Sulafat",
    "nova": "Leda",
    "onyx": "Orus",
    "sage": "Vindemiatrix",
    "shimmer": "Zephyr",
    "verse": "Iapetus",
}


def config(voice: str, options: Mapping[str, Any]) -> Json:
    """The `speechConfig` of a voice; the option `voices` comes before the table."""
    own = options.get("voices") or {}
    name = own.get(voice) or _VOICES.get(voice.lower(), voice)
    return {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": name}}}
