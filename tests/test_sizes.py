"""Picture sizes: every way of asking, answered for ratio models, tier models and pixel models."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import RequestError
from proxy.pictures.sizes import Size, SizePolicy, choose, implied_tier, parse, resolve
from proxy.types import ImageOptions

TEN = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
FOURTEEN = (*TEN, "1:4", "4:1", "1:8", "8:1")
FIVE = ("1:1", "16:9", "9:16", "4:3", "3:4")

# 003's document: "gpt-image-2-vip" lists these 43 sizes.
VIP_TABLE = {
    "1:1": {"1K": "1024x1024", "2K": "2048x2048", "4K": "2880x2880"},
    "16:9": {"1K": "1280x720", "2K": "2048x1152", "4K": "3840x2160"},
    "9:16": {"1K": "720x1280", "2K": "1152x2048", "4K": "2160x3840"},
    "4:3": {"1K": "1152x864", "2K": "2304x1728", "4K": "3264x2448"},
    "3:4": {"1K": "864x1152", "2K": "1728x2304", "4K": "2448x3264"},
    "3:2": {"1K": "1536x1024", "2K": "2048x1360", "4K": "3504x2336"},
    "2:3": {"1K": "1024x1536", "2K": "1360x2048", "4K": "2336x3504"},
    "5:4": {"1K": "1120x896", "2K": "2240x1792", "4K": "3200x2560"},
    "4:5": {"1K": "896x1120", "2K": "1792x2240", "4K": "2560x3200"},
    "21:9": {"1K": "1456x624", "2K": "2912x1248", "4K": "3840x1648"},
    "9:21": {"1K": "624x1456", "2K": "1248x2912", "4K": "1648x3840"},
    "2:1": {"1K": "1536x768", "2K": "3072x1536", "4K": "3840x1920"},
    "1:2": {"1K": "768x1536", "2K": "1536x3072", "4K": "1920x3840"},
    "3:1": {"1K": "2048x688", "4K": "3840x1280"},
    "1:3": {"1K": "688x2048", "4K": "1280x3840"},
}
VIP_ROWS = [(aspect, tier, size) for aspect, row in VIP_TABLE.items() for tier, size in row.items()]

POLICIES = {
    "gemini 2.5 image": SizePolicy(aspects=TEN),
    "gemini 3 pro image": SizePolicy(aspects=TEN, tiers=("1K", "2K", "4K")),
    "3.1 flash image": SizePolicy(aspects=FOURTEEN, tiers=("512", "1K", "2K", "4K")),
    "jlike": SizePolicy(aspects=FIVE, tiers=("512", "1K", "2K", "4K")),
    "evolink": SizePolicy(aspects=TEN, tiers=("1K", "2K", "4K")),
    "vip": SizePolicy(
        mode="pixels",
        min_pixels=655_360,
        max_pixels=8_294_400,
        max_side=3840,
        max_ratio=3,
        table=VIP_TABLE,
    ),
    "wan 2.7 pro": SizePolicy(
        mode="pixels_or_tier",
        separator="*",
        tiers=("1K", "2K", "4K"),
        min_pixels=589_824,
        max_pixels=16_777_216,
        max_ratio=8,
        default_tier="2K",
    ),
}
VIP = POLICIES["vip"]
GPT_IMAGE_2 = SizePolicy(aspects=(*TEN, "9:21", "1:2", "2:1"))

# The table of openai-images.md, section 3; the two columns "absent" are the profile's own defaults.
TABLE = """
            | gemini 2.5 image | gemini 3 pro image | 3.1 flash image | jlike | evolink | vip | wan 2.7 pro
auto        | - | - | - | - | - | - | -
256x256     | 1:1 | 1:1/1K | 1:1/512 | 1:1/512 | 1:1/1K | 816x816 | 768*768
512x512     | 1:1 | 1:1/1K | 1:1/512 | 1:1/512 | 1:1/1K | 816x816 | 768*768
1024x1024   | 1:1 | 1:1/1K | 1:1/1K | 1:1/1K | 1:1/1K | 1024x1024 | 1024*1024
1024*1024   | 1:1 | 1:1/1K | 1:1/1K | 1:1/1K | 1:1/1K | 1024x1024 | 1024*1024
1024:1024   | 1:1 | 1:1/1K | 1:1/1K | 1:1/1K | 1:1/1K | 1024x1024 | 1024*1024
1536x1024   | 3:2 | 3:2/1K | 3:2/1K | 4:3/1K | 3:2/1K | 1536x1024 | 1536*1024
1024x1536   | 2:3 | 2:3/1K | 2:3/1K | 3:4/1K | 2:3/1K | 1024x1536 | 1024*1536
1792x1024   | 16:9 | 16:9/1K | 16:9/1K | 16:9/1K | 16:9/1K | 1792x1024 | 1792*1024
1920x1080   | 16:9 | 16:9/1K | 16:9/1K | 16:9/1K | 16:9/1K | 1920x1088 | 1920*1088
2048x2048   | 1:1 | 1:1/2K | 1:1/2K | 1:1/2K | 1:1/2K | 2048x2048 | 2048*2048
3840x2160   | 16:9 | 16:9/4K | 16:9/4K | 16:9/4K | 16:9/4K | 3840x2160 | 3840*2160
16:9        | 16:9 | 16:9 | 16:9 | 16:9 | 16:9 | 1280x720 | 2720*1536
21:9        | 21:9 | 21:9 | 21:9 | 16:9 | 21:9 | 1456x624 | 3120*1328
2K          | - | 2K | 2K | 2K | 2K | 2048x2048 | 2K
16:9@4K     | 16:9 | 16:9/4K | 16:9/4K | 16:9/4K | 16:9/4K | 3840x2160 | 5456*3072
"""


def rows() -> list[tuple[str, str, str]]:
    head, *lines = [[cell.strip() for cell in line.split("|")] for line in TABLE.splitlines() if line.strip()]
    return [(line[0], model, cell) for line in lines for model, cell in zip(head[1:], line[1:], strict=True)]


def written(size: Size) -> str:
    return "/".join(value for value in (size.aspect, size.tier, size.pixels) if value) or "-"


@pytest.mark.parametrize(("size", "model", "expected"), rows())
def test_every_row_of_the_size_table_holds(size: str, model: str, expected: str) -> None:
    """I-018."""
    assert written(resolve(ImageOptions(size=size), POLICIES[model])) == expected


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_nothing_asked_for_is_nothing_sent(policy: SizePolicy) -> None:
    """I-022."""
    assert resolve(ImageOptions(), policy) == Size()
    assert parse(ImageOptions()).requested == ""


@pytest.mark.parametrize(
    ("text", "pixels", "aspect", "tier"),
    [
        ("2K", None, None, "2K"),
        ("2k", None, None, "2K"),
        ("0.5K", None, None, "512"),
        ("512px", None, None, "512"),
        ("512", None, None, "512"),
        ("hd", None, None, "2K"),
        ("UHD", None, None, "4K"),
        ("3K", None, None, "3K"),
        ("16:9", None, "16/9", None),
        ("16/9", None, "16/9", None),
        ("16 : 9", None, "16/9", None),
        ("2.35:1", None, "47/20", None),
        ("21:9", None, "7/3", None),
        ("1024*1024", (1024, 1024), None, None),
        ("1024 x 1024", (1024, 1024), None, None),
        ("1024X768px", (1024, 768), None, None),
        ("1280×720", (1280, 720), None, None),
        ("1024:1024", (1024, 1024), None, None),
        ("16:9@2K", None, "16/9", "2K"),
        ("2K 16:9", None, "16/9", "2K"),
        ("2k_16:9", None, "16/9", "2K"),
        ("16:9-2K", None, "16/9", "2K"),
        ("4k-9:16", None, "9/16", "4K"),
        ("512-1:1", None, "1", "512"),
        ("hd-1:1", None, "1", "2K"),
        ("landscape, 4K", None, "4/3", "4K"),
        ("1024x1024;4k", (1024, 1024), None, "4K"),
        ("square_hd", None, "1", None),
        ("portrait_16_9", None, "9/16", None),
        ("landscape_4_3", None, "4/3", None),
        ("Widescreen", None, "16/9", None),
        (" auto ", None, None, None),
        ("default", None, None, None),
        ("", None, None, None),
    ],
)
def test_every_spelling_is_read(
    text: str, pixels: tuple[int, int] | None, aspect: str | None, tier: str | None
) -> None:
    """I-020."""
    wish = parse(ImageOptions(size=text))
    assert (wish.pixels, wish.aspect, wish.tier) == (pixels, Fraction(aspect) if aspect else None, tier)


@pytest.mark.parametrize("text", ["foo", "32x32", "0:1", "1:0", "20000x100", "16:9@foo", "1024", "x", "--"])
def test_a_size_that_is_not_understood_is_refused_with_the_field_named(text: str) -> None:
    """I-019."""
    with pytest.raises(RequestError, match="is not a picture size") as caught:
        parse(ImageOptions(size=text))
    assert (caught.value.status, caught.value.attribute, caught.value.code) == (
        400,
        "image.size",
        "invalid_value",
    )


def test_lenient_parsing_goes_on_and_says_what_it_ignored() -> None:
    """I-019."""
    wish = parse(ImageOptions(size="foo", aspect_ratio="16:9"), lenient=True)
    assert wish.ignored == ("size",)
    assert resolve(ImageOptions(aspect_ratio="16:9"), POLICIES["jlike"]) == Size(aspect="16:9")
    with pytest.raises(RequestError) as caught:
        parse(ImageOptions(image_size="big"))
    assert caught.value.attribute == "image.image_size"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (ImageOptions(size="1024x1024", aspect_ratio="16:9", image_size="4k"), "16:9/4K"),
        (ImageOptions(size="16:9@2K", aspect_ratio="1:1"), "1:1/2K"),
        (ImageOptions(size="1024x1024", quality="2K"), "1:1/2K"),
        (ImageOptions(size="1024x1024", quality="hd"), "1:1/2K"),
        (ImageOptions(size="1024x1024", quality="high"), "1:1/1K"),
        (ImageOptions(size="1024x1024", quality="standard"), "1:1/1K"),
        (ImageOptions(size="2048x2048", aspect_ratio="3:2"), "3:2/2K"),
        (ImageOptions(size="4K", aspect_ratio="auto"), "4K"),
    ],
)
def test_what_is_written_out_beats_what_the_pixels_imply(image: ImageOptions, expected: str) -> None:
    """I-021."""
    assert written(resolve(image, POLICIES["gemini 3 pro image"])) == expected


def test_a_pixel_model_redraws_pixels_whose_ratio_or_tier_was_overruled() -> None:
    """I-021, I-024."""
    assert resolve(ImageOptions(size="1024x1024", aspect_ratio="16:9"), VIP).pixels == "1280x720"
    assert resolve(ImageOptions(size="1024x1024", image_size="2K"), VIP).pixels == "2048x2048"
    assert resolve(ImageOptions(size="1024x1024", image_size="1K"), VIP).pixels == "1024x1024"


def test_a_model_without_tiers_never_gets_one() -> None:
    """I-023 and V-026: gemini-2.5-flash-image and gpt-image-2 take a ratio only."""
    for policy in (POLICIES["gemini 2.5 image"], GPT_IMAGE_2):
        size = resolve(ImageOptions(size="3840x2160", image_size="4K", quality="hd"), policy)
        assert size == Size(aspect="16:9")


def test_the_pixel_model_never_gets_a_ratio() -> None:
    """V-026."""
    for text in ("16:9", "2K", "16:9@4K", "1000x1000"):
        size = resolve(ImageOptions(size=text), VIP)
        assert (size.aspect, size.tier) == (None, None)
        assert size.pixels


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        ("1000x1000", "1008x1008"),
        ("1920x1080", "1920x1088"),
        ("4096x4096", "2880x2880"),
        ("5000x500", "2736x912"),
        ("512x512", "816x816"),
        ("1792x1024", "1792x1024"),
        ("3840x1280", "3840x1280"),
    ],
)
def test_a_valid_pixel_size_is_kept_and_another_snapped(requested: str, expected: str) -> None:
    """I-024, V-027."""
    assert resolve(ImageOptions(size=requested), VIP).pixels == expected


@given(st.integers(64, 16384), st.integers(64, 16384))
def test_any_pixels_become_a_size_inside_the_rules_of_the_model(width: int, height: int) -> None:
    """V-027, I-024."""
    got_width, got_height = map(
        int, (resolve(ImageOptions(size=f"{width}x{height}"), VIP).pixels or "").split("x")
    )
    assert got_width % 16 == got_height % 16 == 0
    assert 655_360 <= got_width * got_height <= 8_294_400
    assert max(got_width, got_height) <= 3840
    assert max(got_width, got_height) <= 3 * min(got_width, got_height)
    asked = min(max(width / height, 1 / 3), 3)
    assert abs(math.log(got_width / got_height / asked)) < 0.05


@pytest.mark.parametrize(("aspect", "tier", "size"), VIP_ROWS)
def test_every_size_of_the_vip_table_is_valid_and_of_its_own_tier(aspect: str, tier: str, size: str) -> None:
    """V-028."""
    width, height = map(int, size.split("x"))
    assert resolve(ImageOptions(size=size), VIP).pixels == size
    assert implied_tier(width, height) == tier
    assert resolve(ImageOptions(aspect_ratio=aspect, image_size=tier), VIP).pixels == size


def test_the_vip_table_has_43_sizes_and_computes_what_it_lacks() -> None:
    """V-028."""
    assert len(VIP_ROWS) == 43
    assert resolve(ImageOptions(size="3:1@2K"), VIP).pixels == "3552x1184"
    assert resolve(ImageOptions(size="7:5@1K"), VIP).pixels == "1200x864"


def test_the_nominal_sizes_of_gpt_image_2_are_all_1k() -> None:
    """V-028, companion: openai-images.md 3.2."""
    sizes = """1024x1024 1672x941 941x1672 1443x1090 1090x1443 1536x1024 1024x1536 1408x1120 1120x1408
        1920x832 832x1920 896x1792 1792x896"""
    for size in sizes.split():
        assert implied_tier(*map(int, size.split("x"))) == "1K"


@pytest.mark.parametrize(
    ("aspect", "tier", "expected"),
    [
        ("16:9", "1K", "1360*768"),
        ("4:3", "1K", "1168*880"),
        ("3:4", "1K", "880*1168"),
        ("3:2", "2K", "2496*1664"),
        ("5:4", "2K", "2288*1824"),
        ("21:9", "1K", "1552*656"),
        ("1:1", "4K", "4096*4096"),
        ("3:2", "4K", "5008*3344"),
    ],
)
def test_wan_sizes_are_the_largest_multiples_inside_the_tier(aspect: str, tier: str, expected: str) -> None:
    """I-018: the table of vendors.md 6.1."""
    size = resolve(ImageOptions(aspect_ratio=aspect, image_size=tier), POLICIES["wan 2.7 pro"])
    assert size == Size(pixels=expected)


def test_the_smaller_wan_takes_its_largest_tier_for_4k() -> None:
    smaller = SizePolicy(
        mode="pixels_or_tier",
        separator="*",
        tiers=("1K", "2K"),
        min_pixels=589_824,
        max_pixels=4_194_304,
        max_ratio=8,
        default_tier="2K",
    )
    assert resolve(ImageOptions(size="4K"), smaller) == Size(tier="2K")
    assert resolve(ImageOptions(size="16:9@4K"), smaller) == Size(pixels="2720*1536")
    assert resolve(ImageOptions(size="3840x2160"), smaller) == Size(pixels="2720*1536")


def test_a_ratio_the_model_lacks_becomes_the_nearest_one() -> None:
    """V-029."""
    nano_banana = SizePolicy(
        aspects=("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "5:4", "4:5", "21:9")
    )
    nano_banana_2 = SizePolicy(aspects=(*nano_banana.aspects, "1:4", "4:1", "1:8", "8:1"))
    assert resolve(ImageOptions(size="1:8"), nano_banana) == Size(aspect="9:16")
    assert resolve(ImageOptions(size="1:8"), nano_banana_2) == Size(aspect="1:8")


def test_of_two_ratios_equally_near_the_earlier_in_the_fixed_order_wins() -> None:
    for aspects in (("2:1", "1:2"), ("1:2", "2:1")):
        assert resolve(ImageOptions(size="1:1"), SizePolicy(aspects=aspects)).aspect == "2:1"


def test_strict_refuses_a_far_ratio_and_takes_a_near_one() -> None:
    strict = SizePolicy(aspects=FIVE, strict=True)
    assert resolve(ImageOptions(size="1792x1024"), strict).aspect == "16:9"
    with pytest.raises(RequestError, match="does not make pictures of this ratio") as caught:
        resolve(ImageOptions(size="1536x1024"), strict)
    assert caught.value.attribute == "image.size"


def test_closed_refuses_a_ratio_written_out_but_still_maps_pixels() -> None:
    """G-133, G-134."""
    closed = SizePolicy(aspects=TEN, closed=True)
    assert resolve(ImageOptions(size="1000x999"), closed).aspect == "1:1"
    assert resolve(ImageOptions(aspect_ratio="42:18"), closed).aspect == "21:9"
    with pytest.raises(RequestError, match="1:1, 2:3") as caught:
        resolve(ImageOptions(aspect_ratio="1:8"), closed)
    assert caught.value.attribute == "image.aspect_ratio"


def test_max_tier_lowers_the_tier_and_the_report_says_so() -> None:
    """I-025."""
    capped = SizePolicy(aspects=TEN, tiers=("1K", "2K", "4K"), max_tier="2K")
    wish = parse(ImageOptions(size="16:9@4K"))
    size = choose(wish, capped)
    assert size == Size(aspect="16:9", tier="2K")
    assert size.report(wish) == "16:9@4K -> 16:9/2K"
    pixels = SizePolicy(mode="pixels", table=VIP_TABLE, max_tier="2K")
    assert resolve(ImageOptions(size="3840x2160"), pixels).pixels == "2048x1152"


def test_the_report_names_what_was_sent() -> None:
    wish = parse(ImageOptions(size="2K"))
    assert choose(wish, POLICIES["gemini 2.5 image"]).report(wish) == "2K -> default"
    nothing = parse(ImageOptions(size="auto"))
    assert choose(nothing, VIP).report(nothing) == ""


def test_a_model_with_one_narrow_size_is_reached_from_anywhere() -> None:
    narrow = SizePolicy(mode="pixels", multiple=64, min_pixels=1_048_576, max_pixels=1_048_576, max_ratio=1)
    assert resolve(ImageOptions(size="64x16384"), narrow).pixels == "1024x1024"
    impossible = SizePolicy(mode="pixels", multiple=64, min_pixels=1_048_577, max_pixels=1_048_577)
    with pytest.raises(RequestError, match="No picture size"):
        resolve(ImageOptions(size="1024x1024"), impossible)


WORDS = st.sampled_from(["16:9", "2k", "512", "1024x768", "portrait", "auto", "99999:1", "1:99999", "0.5k"])
COMBINED = st.builds(str.join, st.sampled_from([" ", "@", "-", "_", ","]), st.lists(WORDS, max_size=3))


@given(st.text(max_size=20) | COMBINED)
def test_any_text_is_read_and_answered_for_every_model_or_refused(text: str) -> None:
    """I-019, I-020."""
    try:
        wish = parse(ImageOptions(size=text))
    except RequestError:
        return
    for policy in POLICIES.values():
        choose(wish, policy)
