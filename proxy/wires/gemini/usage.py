"""usageMetadata into OpenAI's token counts, which add up in every reply."""

from __future__ import annotations

from typing import Any

from proxy.types import Json, Usage
from proxy.wires.gemini.lenient import count_of, dicts_of, string_of

# Documents and films have no counter of their own in OpenAI's usage.
_MODALITIES: dict[Any, str] = {
    "TEXT": "text",
    "DOCUMENT": "text",
    "VIDEO": "text",
    "IMAGE": "image",
    "AUDIO": "audio",
    1: "text",
    2: "image",
    3: "text",
    4: "audio",
    5: "text",
}
_SERVICE_TIERS = {"standard": "default"}
_IMAGE_TOKENS = 1120  # Gemini 3, 1K and 2K; from price / rate
_IMAGE_TOKENS_2_5 = 1290


def merged(last: Json, new: Json) -> Json:
    """Field-wise: a later chunk may leave out, or zero, what an earlier one told (pydantic-ai #5205)."""
    return {**last, **{name: value for name, value in new.items() if value}}


def read_usage(metadata: Json, *, images: int = 0, model: str = "", vendor: Json | None = None) -> Usage:
    """`images` is how many pictures came; their tokens are estimated where the vendor does not tell."""
    prompt = _count(metadata, "promptTokenCount") + _count(metadata, "toolUsePromptTokenCount")
    candidates = _count(metadata, "candidatesTokenCount")
    thoughts = _count(metadata, "thoughtsTokenCount")
    # By subtraction first: old deployments count thoughts inside candidates (G-171). A total that is
    # smaller than its parts is not believed.
    completion = _count(metadata, "totalTokenCount") - prompt
    if completion < max(candidates, thoughts):
        completion = candidates + thoughts
    before = _by_modality(metadata, "promptTokensDetails", "toolUsePromptTokensDetails")
    after = _by_modality(metadata, "candidatesTokensDetails")
    estimated = images > 0 and "image" not in after
    if estimated:
        guess = images * (_IMAGE_TOKENS_2_5 if "2.5" in model else _IMAGE_TOKENS)
        completion = completion or guess
        after["image"] = min(guess, completion - min(thoughts, completion))
    return Usage(
        prompt=prompt,
        completion=completion,
        reasoning=min(thoughts, completion),
        cached=_count(metadata, "cachedContentTokenCount"),
        prompt_text=before.get("text"),
        prompt_image=before.get("image"),
        prompt_audio=before.get("audio"),
        completion_text=after.get("text"),
        completion_image=after.get("image"),
        completion_audio=after.get("audio"),
        images=images,
        estimated=estimated,
        service_tier=_service_tier(metadata),
        vendor=vendor,
    )


def _count(metadata: Json, name: str) -> int:
    return count_of(metadata.get(name))


def _by_modality(metadata: Json, *names: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        for entry in dicts_of(metadata.get(name)):
            modality = entry.get("modality")
            key = _MODALITIES.get(modality) if isinstance(modality, (str, int)) else None
            if key is not None:
                counts[key] = counts.get(key, 0) + _count(entry, "tokenCount")
    return counts


def _service_tier(metadata: Json) -> str | None:
    tier = string_of(metadata.get("serviceTier"))
    if tier is None:
        return None
    return _SERVICE_TIERS.get(tier.lower(), tier.lower())
