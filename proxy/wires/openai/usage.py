"""Token counts as servers report them into counts that add up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.types import Json, Usage
from proxy.wires.counts import count

# What the vendor itself took, inside `usage`: OpenRouter, xAI, relays.
_CHARGES = (
    "cost",
    "cost_details",
    "cost_currency",
    "cost_in_usd_ticks",
    "credits_used",
    "credits_reserved",
    "estimated_cost",
    "is_byok",
    "total_cost",
)

# Names of the Responses API, which some relays use here too.
_PROMPT = ("prompt_tokens", "input_tokens")
_COMPLETION = ("completion_tokens", "output_tokens")
# The last are those of transcriptions.
_OF_PROMPT = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_OF_COMPLETION = ("completion_tokens_details", "output_tokens_details", "output_token_details")
# OpenAI's name, LiteLLM's and that of Anthropic's relays.
_CACHE_WRITES = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
# DeepSeek and Moonshot count cached tokens beside the details.
_CACHED = ("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")


def read(counts: Json, *, images: int = 0, tier: str | None = None, billing: Any = None) -> Usage:
    """`counts` is the vendor's object, {} if it gave none; `images` how many pictures came."""
    prompt, completion = _count(counts, *_PROMPT), _count(counts, *_COMPLETION)
    before = _details(counts, *_OF_PROMPT)
    after = _details(counts, *_OF_COMPLETION)
    reasoning = _count(after, "reasoning_tokens") or _count(counts, "reasoning_tokens")
    # xAI and Google's compatible endpoint leave thoughts out of completion_tokens, but not of the total.
    untold = _count(counts, "total_tokens") - prompt - completion
    if untold > 0:
        completion += untold
        reasoning = reasoning or untold
    cached = _count(before, "cached_tokens") or _count(counts, *_CACHED)
    if cached > prompt:
        prompt += cached  # it cannot be a part of it; Anthropic counts it apart
    reasoning = min(reasoning, completion)
    of_cache = _details(before, "cached_tokens_details")
    prompt_text, prompt_image, prompt_audio = _split(before, prompt)
    text, image, audio = _split(after, completion - reasoning)
    return Usage(
        prompt=prompt,
        completion=completion,
        reasoning=reasoning,
        cached=cached,
        prompt_text=prompt_text,
        prompt_image=prompt_image,
        prompt_audio=prompt_audio,
        cached_image=_known(of_cache, "image_tokens"),
        cached_audio=_known(of_cache, "audio_tokens"),
        completion_text=text,
        completion_image=image,
        completion_audio=audio,
        cache_write=_first(_CACHE_WRITES, before, counts),
        accepted_prediction=_known(after, "accepted_prediction_tokens"),
        rejected_prediction=_known(after, "rejected_prediction_tokens"),
        images=images,
        service_tier=tier,
        vendor=_charge(counts, billing),
    )


def _split(details: Json, whole: int) -> tuple[int | None, int | None, int | None]:
    """Text, picture and audio tokens, never more than `whole`. What is not told of pictures stays unknown;
    where it is told and text is not, text is the rest (004: 1297 with 1290 of a picture)."""
    image, audio = _known(details, "image_tokens"), _known(details, "audio_tokens")
    text = _known(details, "text_tokens")
    image = None if image is None else min(image, whole)
    audio = None if audio is None else min(audio, whole - (image or 0))
    rest = whole - (image or 0) - (audio or 0)
    if text is not None:
        return min(text, rest), image, audio
    return rest if image is not None else None, image, audio


def _charge(counts: Json, billing: Any) -> Json | None:
    charge: Json = {name: counts[name] for name in _CHARGES if counts.get(name) is not None}
    if billing is not None:
        charge["_billing"] = billing
    return charge or None


def _details(counts: Json, *names: str) -> Json:
    for name in names:
        if isinstance(found := counts.get(name), dict):
            return found
    return {}


def _count(counts: Mapping[str, Any], *names: str) -> int:
    return next((found for name in names if (found := _known(counts, name))), 0)


def _first(names: tuple[str, ...], *holders: Mapping[str, Any]) -> int | None:
    found = (_known(holder, name) for holder in holders for name in names)
    return next((number for number in found if number is not None), None)


def _known(counts: Mapping[str, Any], name: str) -> int | None:
    value = counts.get(name)
    return None if value is None else count(value)
