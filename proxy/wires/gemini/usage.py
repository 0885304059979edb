"""usageMetadata into OpenAI's token counts, which add up in every reply."""

from __future__ import annotations

from typing import Any

from proxy.types import Json, Usage
from proxy.wires.gemini.lenient import count_of

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


def merged(last: Json, new: Json) -> Json:
    """Field-wise: a later chunk may leave out, or zero, what an earlier one told (pydantic-ai #5205)."""
    return {**last, **{name: value for name, value in new.items() if value}}


def read_usage(
    metadata: Json, *, images: int = 0, image_tokens: int = 0, vendor: Json | None = None
) -> Usage:
    """`images` is how many pictures came; their tokens are estimated where the vendor does not tell, at
    `image_tokens` each."""
    counts: dict[str, int] = {}
    for name, value in metadata.items():
        if type(value) is int and value > 0:
            counts[name] = value
        elif value.__class__ is str or value.__class__ is float:
            counts[name] = count_of(value)
    prompt = counts.get("promptTokenCount", 0) + counts.get("toolUsePromptTokenCount", 0)
    candidates = counts.get("candidatesTokenCount", 0)
    thoughts = counts.get("thoughtsTokenCount", 0)
    # By subtraction first: old deployments count thoughts inside candidates (G-171). A total that is
    # smaller than its parts is not believed.
    completion = counts.get("totalTokenCount", 0) - prompt
    if completion < max(candidates, thoughts):
        completion = candidates + thoughts
    before = _by_modality(metadata, "promptTokensDetails", "toolUsePromptTokensDetails")
    after = _by_modality(metadata, "candidatesTokensDetails") if "candidatesTokensDetails" in metadata else {}
    cached = counts.get("cachedContentTokenCount", 0)
    of_cache = _by_modality(metadata, "cacheTokensDetails") if cached else {}
    estimated = images > 0 and "image" not in after
    if estimated:
        guess = images * image_tokens
        completion = completion or guess
        after["image"] = min(guess, completion - min(thoughts, completion))
    return Usage(
        prompt=prompt,
        completion=completion,
        reasoning=min(thoughts, completion),
        cached=cached,
        prompt_text=before.get("text"),
        prompt_image=before.get("image"),
        prompt_audio=before.get("audio"),
        cached_image=of_cache.get("image"),
        cached_audio=of_cache.get("audio"),
        completion_text=after.get("text"),
        completion_image=after.get("image"),
        completion_audio=after.get("audio"),
        images=images,
        estimated=estimated,
        service_tier=_service_tier(metadata["serviceTier"]) if "serviceTier" in metadata else None,
        vendor=vendor,
    )


def _by_modality(metadata: Json, *names: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        entries = metadata.get(name)
        for entry in entries if isinstance(entries, list) else ():
            if not isinstance(entry, dict):
                continue
            modality, count = entry.get("modality"), entry.get("tokenCount")
            if type(count) is not int or count < 0:
                count = count_of(count)
            key = _MODALITIES.get(modality) if isinstance(modality, (str, int)) else None
            if key is not None:
                counts[key] = counts.get(key, 0) + count
    return counts


def _service_tier(tier: Any) -> str | None:
    if not isinstance(tier, str) or not tier:
        return None
    return _SERVICE_TIERS.get(tier.lower(), tier.lower())
