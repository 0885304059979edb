"""The models the simulated service has, and what each of them can do (gemini.md 1.4, 3.1, 3.3, 7)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

_TEN = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_FOURTEEN = (*_TEN, "1:4", "4:1", "1:8", "8:1")
_ALL_SIZES = ("512", "1K", "2K", "4K")

# Pixels at 1K of the third generation; 2K and 4K are twice and four times that, 512 has its own column.
_AT_1K = {
    "1:1": (1024, 1024),
    "2:3": (848, 1264),
    "3:2": (1264, 848),
    "3:4": (896, 1200),
    "4:3": (1200, 896),
    "4:5": (928, 1152),
    "5:4": (1152, 928),
    "9:16": (768, 1376),
    "16:9": (1376, 768),
    "21:9": (1584, 672),
    "1:4": (512, 2048),
    "4:1": (2048, 512),
    "1:8": (384, 3072),
    "8:1": (3072, 384),
}
_AT_512 = {
    "1:1": (512, 512),
    "2:3": (424, 632),
    "3:2": (632, 424),
    "3:4": (448, 600),
    "4:3": (600, 448),
    "4:5": (464, 576),
    "5:4": (576, 464),
    "9:16": (384, 688),
    "16:9": (688, 384),
    "21:9": (792, 336),
    "1:4": (256, 1024),
    "4:1": (1024, 256),
    "1:8": (192, 1536),
    "8:1": (1536, 192),
}
_SECOND_GENERATION = {
    "1:1": (1024, 1024),
    "2:3": (832, 1248),
    "3:2": (1248, 832),
    "3:4": (864, 1184),
    "4:3": (1184, 864),
    "4:5": (896, 1152),
    "5:4": (1152, 896),
    "9:16": (768, 1344),
    "16:9": (1344, 768),
    "21:9": (1536, 672),
}
_IMAGE_TOKENS = {"512": 747, "1K": 1120, "2K": 1120, "4K": 2000}


@dataclass(frozen=True, slots=True)
class Model:
    """`levels`: thinking levels taken. `budget`: lowest and highest thinking budget; (0, 0): not by budget.

    `thinks`: "no" (thinkingConfig is refused), "off" (unless asked), "on", "always" (cannot be turned off).
    `images`: sizes it draws; () for a model that draws none. `prefill`: may the last turn be the model's.
    """

    name: str
    generation: tuple[int, int]
    thinks: str = "on"
    levels: tuple[str, ...] = ()
    budget: tuple[int, int] = (0, 0)
    prefill: bool = True
    draws: bool = False
    images: tuple[str, ...] = ()
    ratios: tuple[str, ...] = _TEN
    speaks: bool = False
    candidates: int = 1
    whole_output_limit: int = 65536
    output_limit: int = 65536
    embeds: bool = False
    counts_embeddings: bool = False

    @property
    def third(self) -> bool:
        """Of the third generation or later."""
        return self.generation >= (3, 0)

    @property
    def modalities(self) -> tuple[frozenset[str], ...]:
        """The combinations of response modalities it takes; the first is its default."""
        if self.draws:
            return (frozenset({"TEXT", "IMAGE"}), frozenset({"IMAGE"}))
        return (frozenset({"AUDIO" if self.speaks else "TEXT"}),)

    def pixels(self, ratio: str, size: str) -> tuple[int, int]:
        if not self.third:
            return _SECOND_GENERATION[ratio]
        if size == "512":
            return _AT_512[ratio]
        factor = {"1K": 1, "2K": 2, "4K": 4}[size]
        width, height = _AT_1K[ratio]
        return width * factor, height * factor

    def image_tokens(self, size: str) -> int:
        if not self.third:
            return 1290
        if "flash" in self.name and size in ("2K", "4K"):
            return {"2K": 1680, "4K": 2520}[size]
        return _IMAGE_TOKENS[size]

    def listed(self) -> dict[str, Any]:
        """An item of `GET models`."""
        methods = ["embedContent", "countTokens"] if self.embeds else ["generateContent", "countTokens"]
        return {
            "name": f"models/{self.name}",
            "version": "001",
            "displayName": self.name.replace("-", " ").title(),
            "description": f"Simulated {self.name}",
            "inputTokenLimit": 1048576,
            "outputTokenLimit": self.output_limit,
            "supportedGenerationMethods": methods,
            **({} if self.thinks == "no" else {"thinking": True}),
        }


_ALL_LEVELS = ("MINIMAL", "LOW", "MEDIUM", "HIGH")
_NO_MINIMAL = ("LOW", "MEDIUM", "HIGH")


def _flash(name: str, generation: tuple[int, int], levels: tuple[str, ...] = _ALL_LEVELS) -> Model:
    return Model(name, generation, levels=levels, budget=(0, 24576), prefill=generation < (3, 5))


_ARGON = Model(
    "gemini-4-argon",
    (4, 0),
    "always",
    _NO_MINIMAL,
    (1, 32768),
    prefill=False,
    whole_output_limit=32768,
    output_limit=1048576,
)
_PRO_31 = Model("gemini-3.1-pro-preview", (3, 1), "always", _NO_MINIMAL, (1, 32768))
_LITE_25 = Model("gemini-2.5-flash-lite", (2, 5), "off", budget=(512, 24576), candidates=8)
_IMAGE_31 = Model(
    "gemini-3.1-flash-image",
    (3, 1),
    levels=("MINIMAL", "HIGH"),
    draws=True,
    images=_ALL_SIZES,
    ratios=_FOURTEEN,
)
_TTS = Model("gemini-3.8-flash-tts", (3, 8), "no", prefill=False, speaks=True, output_limit=16384)
_EMBEDDING = Model("gemini-embedding-001", (2, 0), "no", embeds=True, output_limit=1)

_ALL = (
    _ARGON,
    replace(_ARGON, name="gemini-4-carbon", whole_output_limit=65536, output_limit=65536),
    _flash("gemini-3.8-flash", (3, 8), _NO_MINIMAL),
    _flash("gemini-3.7-flash", (3, 7), _NO_MINIMAL),
    _flash("gemini-3.6-flash", (3, 6)),
    _flash("gemini-3.5-flash", (3, 5)),
    _flash("gemini-3.5-flash-lite", (3, 5)),
    _PRO_31,
    replace(_PRO_31, name="gemini-3.1-pro-preview-customtools"),
    _flash("gemini-3-flash-preview", (3, 0)),
    _flash("gemini-3.1-flash-lite", (3, 1)),
    Model("gemini-2.5-pro", (2, 5), "always", budget=(128, 32768), candidates=8),
    Model("gemini-2.5-flash", (2, 5), budget=(0, 24576), candidates=8),
    _LITE_25,
    Model("gemma-3-27b-it", (1, 0), "no", output_limit=8192),
    Model("gemini-2.5-flash-image", (2, 5), "no", draws=True),
    _IMAGE_31,
    # Always thinking, and the reference says to send it no thinkingConfig (G-127).
    Model("gemini-3-pro-image", (3, 0), "no", draws=True, images=_ALL_SIZES[1:]),
    replace(_IMAGE_31, name="gemini-3.1-flash-lite-image", images=("1K",)),
    replace(
        _IMAGE_31,
        name="gemini-nano-banana-2.1",
        levels=("MINIMAL", "MEDIUM", "HIGH"),
        images=_ALL_SIZES[1:],
    ),
    _TTS,
    replace(_TTS, name="gemini-3.8-flash-lite-tts"),
    _EMBEDDING,
    replace(_EMBEDDING, name="gemini-embedding-2", counts_embeddings=True),
)
MODELS: dict[str, Model] = {model.name: model for model in _ALL}
# They exist on v1beta only.
LATEST = {
    "gemini-pro-latest": "gemini-3.1-pro-preview",
    "gemini-flash-latest": "gemini-3.8-flash",
    "gemini-flash-lite-latest": "gemini-3.5-flash-lite",
}


def find(name: str) -> Model | None:
    """None for unknown and for retired models: gemini-3-pro-preview, 2.0, 1.5 and the image previews."""
    return MODELS.get(LATEST.get(name, name))
