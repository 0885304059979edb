"""Turns every way of asking for a picture size into what one model understands.

Clients write `1536x1024`, `16:9`, `2K`, `portrait` or `16:9@2K`; models take a ratio, a tier, or pixels under
rules. `parse` reads the wish, `choose` answers for a `SizePolicy`, which is data from a profile.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from typing import Literal

from proxy.errors import RequestError
from proxy.types import ImageOptions

TIERS = ("512", "1K", "2K", "3K", "4K", "8K")

# The side of a tier's square, and the largest area a client's pixels may have to mean it. By area and not
# by the long side: of the 43 sizes that 003's gpt-image-2-vip lists, a long-side rule misplaces some.
_TIER_SIDE = {"512": 512, "1K": 1024, "2K": 2048, "3K": 3072, "4K": 4096, "8K": 8192}
_IMPLIED_TIERS = ((524_288, "512"), (2_100_000, "1K"), (4_800_000, "2K"))

_NOTHING = {"", "auto", "default", "original"}
_TIER_WORDS = {
    "512": "512",
    "512px": "512",
    "0.5k": "512",
    "1k": "1K",
    "2k": "2K",
    "3k": "3K",
    "4k": "4K",
    "8k": "8K",
    "hd": "2K",
    "uhd": "4K",
}
_SHAPE_WORDS = {
    "square": Fraction(1),
    "square_hd": Fraction(1),
    "portrait": Fraction(3, 4),
    "portrait_4_3": Fraction(3, 4),
    "portrait_16_9": Fraction(9, 16),
    "landscape": Fraction(4, 3),
    "landscape_4_3": Fraction(4, 3),
    "landscape_16_9": Fraction(16, 9),
    "widescreen": Fraction(16, 9),
}

# Of two ratios at the same distance the earlier one is taken.
_ASPECT_ORDER = "1:1 16:9 9:16 4:3 3:4 3:2 2:3 5:4 4:5 21:9 9:21 2:1 1:2 3:1 1:3 4:1 1:4 8:1 1:8"
_ASPECT_RANK = {aspect: rank for rank, aspect in enumerate(_ASPECT_ORDER.split())}
_STRICT_DISTANCE = math.log(1.12)

_PIXELS = re.compile(r"(\d{2,5})\s*[x×*]\s*(\d{2,5})\s*(?:px)?")
_RATIO = re.compile(r"(\d{1,5}(?:\.\d{1,3})?)\s*[:/]\s*(\d{1,5}(?:\.\d{1,3})?)")
_TIER = r"(?:512|512px|0\.5k|[12348]k|u?hd)"
_COMPOUND = re.compile(rf"[\s,@;_|]+|-(?={_TIER}(?:\W|_|$))|(?<=[k2d])-")
_FORMS = "WIDTHxHEIGHT (1536x1024), a ratio (16:9), a tier (512, 1K, 2K, 4K), or both (16:9@2K)"


@dataclass(frozen=True, slots=True)
class SizePolicy:
    """What a model takes. Empty `aspects` or `tiers`: it has no such field.

    `mode` tier: ratio and tier words; pixels: `W<separator>H`; pixels_or_tier: pixels, or a tier alone.
    `table` is `{ratio: {tier: "WxH"}}` for pixel models. `default_tier` completes a ratio given alone there.
    `sizes` are all there are of a pixel model (`WxH`): the nearest is taken. `max_tier` caps spend. `strict`
    refuses a ratio far from every allowed one. `closed` refuses a ratio that was written out and is not in
    `aspects`, instead of taking the nearest. `hd_is_quality`: the word `hd` in the client's `quality` is
    OpenAI's grade of it and no tier.
    """

    aspects: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    mode: Literal["tier", "pixels", "pixels_or_tier"] = "tier"
    separator: str = "x"
    multiple: int = 16
    min_pixels: int | None = None
    max_pixels: int | None = None
    max_side: int | None = None
    max_ratio: float | None = None
    sizes: tuple[str, ...] = ()
    table: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    default_tier: str = "1K"
    max_tier: str | None = None
    strict: bool = False
    closed: bool = False
    hd_is_quality: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """What the client asked for. `aspect` and `tier` are the ones written out, not those pixels imply.

    `requested` are the client's words, `fields` where the pixels, the aspect and the tier came from,
    `ignored` fields that lenient parsing did not understand.
    """

    pixels: tuple[int, int] | None = None
    aspect: Fraction | None = None
    tier: str | None = None
    requested: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    @property
    def ratio(self) -> Fraction | None:
        """The aspect asked for, in words or by pixels."""
        return self.aspect or (Fraction(*self.pixels) if self.pixels else None)

    @property
    def scale(self) -> str | None:
        """The tier asked for, in words or by pixels."""
        return self.tier or (implied_tier(*self.pixels) if self.pixels else None)


@dataclass(frozen=True, slots=True)
class Size:
    """What to send: None is a field not sent. `pixels` is written the vendor's way."""

    aspect: str | None = None
    tier: str | None = None
    pixels: str | None = None

    def report(self, wish: Wish) -> str:
        """Value of the header `x-proxy-size`, empty if the client asked for nothing."""
        if not wish.requested:
            return ""
        sent = "/".join(value for value in (self.aspect, self.tier, self.pixels) if value)
        return f"{wish.requested} -> {sent or 'default'}"


def offered(policy: SizePolicy) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The sizes (words, or pixels where there are no others) and the ratios that a client can ask for."""
    tiers = policy.tiers or tuple(dict.fromkeys(tier for row in policy.table.values() for tier in row))
    return tiers or policy.sizes, policy.aspects or tuple(policy.table)


def resolve(image: ImageOptions, policy: SizePolicy) -> Size:
    """Parse and choose in one step."""
    return choose(parse(image), policy)


def implied_tier(width: int, height: int) -> str:
    """The tier that pixels belong to, by area."""
    area = width * height
    return next((tier for limit, tier in _IMPLIED_TIERS if area <= limit), "4K")


# --- reading the wish ----------------------------------------------------------------------------


def parse(image: ImageOptions, *, lenient: bool = False) -> Wish:
    """Read the four fields, later ones over earlier ones.

    Raises `RequestError` naming the field that is not understood; with `lenient` it is put into
    `Wish.ignored`. A `quality` that is no tier word (low, high, standard) says nothing about size.
    """
    pixels: tuple[int, int] | None = None
    aspect: Fraction | None = None
    tier: str | None = None
    words: list[str] = []
    fields: dict[str, str] = {}
    ignored: list[str] = []
    for name in ("size", "aspect_ratio", "image_size"):
        text = getattr(image, name)
        if text is None:
            continue
        found = _read(text.strip().lower())
        if found is None:
            if not lenient:
                raise RequestError(
                    f"{text[:60]!r} is not a picture size. Write {_FORMS}.",
                    attribute=f"image.{name}",
                    code="invalid_value",
                )
            ignored.append(name)
            continue
        if found != _SAYS_NOTHING:
            words.append(text.strip())
        if found.pixels:
            pixels, fields["pixels"] = found.pixels, name
        if found.aspect:
            aspect, fields["aspect"] = found.aspect, name
        if found.tier:
            tier, fields["tier"] = found.tier, name
    quality = _TIER_WORDS.get((image.quality or "").strip().lower())
    if quality:
        tier, fields["tier"] = quality, "quality"
        words.append(image.quality or "")
    return Wish(pixels, aspect, tier, " ".join(words), fields, tuple(ignored))


_SAYS_NOTHING = Wish()


def _read(text: str) -> Wish | None:
    """What one field says; None if it is not understood."""
    found = _read_simple(text)
    if found is not None:
        return found
    pieces = [piece for piece in _COMPOUND.split(text) if piece]
    if len(pieces) < 2:
        return None
    pixels = aspect = tier = None
    for piece in pieces:
        part = _read_simple(piece)
        if part is None:
            return None
        pixels, aspect, tier = part.pixels or pixels, part.aspect or aspect, part.tier or tier
    return Wish(pixels, aspect, tier)


def _read_simple(text: str) -> Wish | None:
    if text in _NOTHING:
        return _SAYS_NOTHING
    if match := _PIXELS.fullmatch(text):
        return _pixels(int(match[1]), int(match[2]))
    if match := _RATIO.fullmatch(text):
        first, second = Fraction(match[1]), Fraction(match[2])
        if first >= 256 and second >= 256 and first.denominator == second.denominator == 1:
            return _pixels(int(first), int(second))
        return Wish(aspect=first / second) if first > 0 and second > 0 else None
    if text in _TIER_WORDS:
        return Wish(tier=_TIER_WORDS[text])
    if text in _SHAPE_WORDS:
        return Wish(aspect=_SHAPE_WORDS[text])
    return None


def _pixels(width: int, height: int) -> Wish | None:
    return Wish(pixels=(width, height)) if 64 <= width <= 16384 and 64 <= height <= 16384 else None


# --- choosing for a model ------------------------------------------------------------------------


def choose(wish: Wish, policy: SizePolicy) -> Size:
    """Answer a wish as well as the model can; raises `RequestError` where the policy says to refuse."""
    if wish.ratio is None and wish.scale is None:
        return Size()
    if policy.mode == "tier":
        return Size(aspect=_nearest_aspect(wish, policy), tier=_allowed_tier(wish.scale, policy))
    if policy.mode == "pixels_or_tier" and wish.ratio is None:
        return Size(tier=_allowed_tier(wish.scale, policy))
    width, height = _choose_pixels(wish, policy)
    return Size(pixels=f"{width}{policy.separator}{height}")


def _nearest_aspect(wish: Wish, policy: SizePolicy) -> str | None:
    ratio = wish.ratio
    if ratio is None or not policy.aspects:
        return None
    best = min(
        policy.aspects,
        key=lambda aspect: (round(_distance(ratio, aspect), 9), _ASPECT_RANK.get(aspect, len(_ASPECT_RANK))),
    )
    distance = _distance(ratio, best)
    if (policy.strict and distance > _STRICT_DISTANCE) or (policy.closed and wish.aspect and distance):
        raise RequestError(
            f"The model does not make pictures of this ratio. It makes: {', '.join(policy.aspects)}.",
            attribute=f"image.{wish.fields.get('aspect' if wish.aspect else 'pixels', 'size')}",
            code="invalid_value",
        )
    return best


def _distance(ratio: Fraction, aspect: str) -> float:
    return abs(math.log(ratio / _fraction(aspect)))


def _fraction(aspect: str) -> Fraction:
    width, _, height = aspect.partition(":")
    return Fraction(width) / Fraction(height)


def _allowed_tier(tier: str | None, policy: SizePolicy) -> str | None:
    """The tier itself, else the next larger one, else the largest; never above `max_tier`."""
    if tier is None or not policy.tiers:
        return None
    rank = TIERS.index
    allowed = sorted(policy.tiers, key=rank)
    if policy.max_tier:
        allowed = [one for one in allowed if rank(one) <= rank(policy.max_tier)] or allowed[:1]
    return next((one for one in allowed if rank(one) >= rank(tier)), allowed[-1])


def _choose_pixels(wish: Wish, policy: SizePolicy) -> tuple[int, int]:
    if policy.sizes:
        return _nearest_size(wish, policy)
    tier = wish.scale or policy.default_tier
    if policy.max_tier and TIERS.index(tier) > TIERS.index(policy.max_tier):
        tier = policy.max_tier
    ratio = wish.ratio or Fraction(1)
    if wish.pixels:
        width, height = wish.pixels
        if ratio == Fraction(width, height) and tier == implied_tier(width, height):
            return wish.pixels if _is_valid(width, height, policy) else _snap(ratio, width * height, policy)
    tier = _allowed_tier(tier, policy) or tier
    for aspect, row in policy.table.items():
        if tier in row and _fraction(aspect) == ratio:
            width, height = map(int, row[tier].split("x"))
            return width, height
    area = _TIER_SIDE[tier] ** 2
    # The largest multiples inside the tier's area: the computed table of the Wan document.
    width, height = (
        math.isqrt(int(area * side)) // policy.multiple * policy.multiple for side in (ratio, 1 / ratio)
    )
    return (width, height) if _is_valid(width, height, policy) else _snap(ratio, area, policy)


def _nearest_size(wish: Wish, policy: SizePolicy) -> tuple[int, int]:
    """Of the sizes there are the one nearest in shape, and among these in area."""
    ratio = wish.ratio or Fraction(1)
    area = math.prod(wish.pixels) if wish.pixels else _TIER_SIDE[wish.scale or policy.default_tier] ** 2

    def distance(size: tuple[int, int]) -> tuple[float, float]:
        width, height = size
        return round(abs(math.log(ratio * height / width)), 9), abs(math.log(width * height / area))

    return min(_all_sizes(policy), key=distance)


def _all_sizes(policy: SizePolicy) -> list[tuple[int, int]]:
    known = (size.partition("x") for size in policy.sizes)
    return [(int(width), int(height)) for width, _, height in known]


def unmet(wish: Wish, policy: SizePolicy) -> tuple[str, ...]:
    """The fields of the wish that come to nothing: all sizes have one ratio, or none is of the tier."""
    known = _all_sizes(policy)
    if not known:
        return ()
    names = []
    if wish.ratio not in (None, Fraction(*known[0])) and len({Fraction(*size) for size in known}) == 1:
        names.append(wish.fields["aspect" if wish.aspect else "pixels"])
    tiers = {implied_tier(*size) for size in known}
    if wish.tier is not None and wish.tier not in tiers:
        names.append(wish.fields["tier"])
    return tuple(names)


def _is_valid(width: int, height: int, policy: SizePolicy) -> bool:
    if min(width, height) < 1 or width % policy.multiple or height % policy.multiple:
        return False
    if policy.max_side and max(width, height) > policy.max_side:
        return False
    if policy.max_ratio and max(width, height) > policy.max_ratio * min(width, height):
        return False
    area = width * height
    return (policy.min_pixels or 0) <= area <= (policy.max_pixels or area)


def _snap(ratio: Fraction, area: int, policy: SizePolicy) -> tuple[int, int]:
    """The valid size nearest in ratio and area, searched among the multiples around the ideal one."""
    target_ratio = float(ratio)
    if policy.max_ratio:
        target_ratio = min(max(target_ratio, 1 / policy.max_ratio), policy.max_ratio)
    target_area = float(max(area, policy.min_pixels or 1))
    target_area = min(target_area, policy.max_pixels or target_area)
    width, height = math.sqrt(target_area * target_ratio), math.sqrt(target_area / target_ratio)
    if policy.max_side and max(width, height) > policy.max_side:
        shrink = policy.max_side / max(width, height)
        width, height = width * shrink, height * shrink

    def error(pair: tuple[int, int]) -> float:
        ratio_error = math.log(pair[0] / pair[1] / target_ratio)
        return abs(ratio_error) + abs(math.log(pair[0] * pair[1] / target_area))

    for reach in (0, 2, 8):  # beyond the first only for policies with a narrow range of areas
        pairs = product(
            _multiples(width, reach + 1, policy.multiple), _multiples(height, reach, policy.multiple)
        )
        valid = [pair for pair in pairs if _is_valid(*pair, policy)]
        if valid:
            return min(valid, key=error)
    raise RequestError("No picture size of this shape is allowed by the model.", attribute="image.size")


def _multiples(ideal: float, reach: int, multiple: int) -> Iterator[int]:
    """The multiples just below and above, and `reach` further ones on both sides."""
    below, above = math.floor(ideal / multiple), math.ceil(ideal / multiple)
    return (step * multiple for step in range(max(below - reach, 1), above + reach + 1))
