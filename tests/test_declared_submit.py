"""What goes out to each shipped vendor, whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import RequestError
from proxy.pictures.sizes import SizePolicy, implied_tier
from proxy.types import Foreign, Slice
from tests.declared import JPEG, PNG, asked, by_data, by_url, shipped, submit, target, wire

DATA_URI = Slice(PNG.encode(), prefix=b"data:image/png;base64,")


def sent(call):
    return call.method, call.path, dict(call.headers), call.body


def test_jlike_image_as_on_its_page():
    """000: the example of /nanobanana/generate."""
    call = submit("jlike", "nano-banana-pro", asked("cyber cat", size="2K", aspect_ratio="16:9"), "image")
    assert sent(call) == (
        "POST",
        "/nanobanana/generate",
        {},
        {"model": "nano-banana-pro", "prompt": "cyber cat", "size": "2K", "aspect_ratio": "16:9", "n": 1},
    )
    assert call.stream is False


@pytest.mark.parametrize("model", ["nano-banana", "nano-banana-2", "nano-banana-pro"])
@pytest.mark.parametrize("size", ["512", "1K", "2K", "4K"])
def test_jlike_takes_every_size_of_its_page_for_every_model(model, size):
    """000: one list for the endpoint and its three aliases, as 003 has one for all its models."""
    call = submit("jlike", model, asked(size=size), "image")
    assert call.body == {"model": model, "prompt": "a cat", "size": size, "n": 1}
    assert call.dropped == ()


def test_jlike_wan_as_on_its_page():
    """000: the example of /wan27/generate."""
    call = submit("jlike", "wan2.7-t2i-plus", asked("mars", size="2K", aspect_ratio="16:9", seed=0), "wan")
    assert sent(call) == (
        "POST",
        "/wan27/generate",
        {},
        {
            "model": "wan2.7-t2i-plus",
            "prompt": "mars",
            "size": "2K",
            "aspect_ratio": "16:9",
            "n": 1,
        },
    )
    assert call.dropped == ("seed",)


def test_evolink_as_on_its_page():
    """001: the example; without a size it is `auto`."""
    call = submit("evolink", "gemini-3-pro-image-preview", asked("一只猫在草地上玩耍"))
    assert sent(call) == (
        "POST",
        "/v1/images/generations",
        {},
        {"model": "gemini-3-pro-image-preview", "prompt": "一只猫在草地上玩耍", "size": "auto"},
    )


def test_evolink_takes_a_ratio_as_size_and_a_tier_as_quality():
    """V-010"""
    request = asked(size="2048x1152", references=(by_url(), by_url("https://example.com/b.png")))
    assert submit("evolink", "m", request).body == {
        "model": "m",
        "prompt": "a cat",
        "size": "16:9",
        "quality": "2K",
        "image_urls": ["https://example.com/cat.png", "https://example.com/b.png"],
    }


def test_grsai_as_on_its_page():
    """003: the example, with the reply type of the provider's options."""
    request = asked("直播带货", aspect_ratio="1:1", image_size="1K")
    call = submit("grsai", "nano-banana-2", request, reply_type="json")
    assert sent(call) == (
        "POST",
        "/v1/api/generate",
        {},
        {
            "model": "nano-banana-2",
            "prompt": "直播带货",
            "aspectRatio": "1:1",
            "imageSize": "1K",
            "replyType": "json",
        },
    )
    assert call.stream is False


@pytest.mark.parametrize(("reply_type", "is_stream"), [("json", False), ("stream", True), ("async", False)])
def test_grsai_is_read_as_a_stream_only_when_it_was_asked_for_one(reply_type, is_stream):
    call = submit("grsai", "nano-banana", reply_type=reply_type)
    assert (call.body["replyType"], call.stream) == (reply_type, is_stream)


def test_grsai_takes_pictures_by_address_and_as_data_urls():
    """003: images"""
    call = submit("grsai", "nano-banana", asked(references=(by_url(), by_data())))
    assert call.body["images"] == ["https://example.com/cat.png", DATA_URI]


def test_gpt_image_2_has_no_image_size_and_takes_a_ratio():
    """V-026"""
    assert submit("grsai", "gpt-image-2", asked(size="1672x941")).body == {
        "model": "gpt-image-2",
        "prompt": "a cat",
        "aspectRatio": "16:9",
        "replyType": "async",
    }


@pytest.mark.parametrize(
    ("size", "pixels"),
    [
        (None, "auto"),
        ("16:9", "1280x720"),
        ("16:9@4K", "3840x2160"),
        ("2K", "2048x2048"),
        ("3:1@4K", "3840x1280"),
        ("2048x1360", "2048x1360"),
        ("1000x1000", "1008x1008"),
        ("4096x4096", "2880x2880"),
    ],
)
def test_gpt_image_2_vip_takes_pixels_only(size, pixels):
    """V-026, V-027"""
    assert submit("grsai", "gpt-image-2-vip", asked(size=size)).body == {
        "model": "gpt-image-2-vip",
        "prompt": "a cat",
        "aspectRatio": pixels,
        "replyType": "async",
    }


def is_vip_size(text):
    width, height = map(int, text.split("x"))
    return (
        width % 16 == height % 16 == 0
        and max(width, height) <= 3840
        and max(width, height) <= 3 * min(width, height)
        and 655_360 <= width * height <= 8_294_400
    )


@given(st.integers(64, 9000), st.integers(64, 9000))
def test_gpt_image_2_vip_gets_a_valid_size_whatever_is_asked(width, height):
    """V-027"""
    body = submit("grsai", "gpt-image-2-vip", asked(size=f"{width}x{height}")).body
    assert is_vip_size(body["aspectRatio"])
    if is_vip_size(f"{width}x{height}"):
        assert body["aspectRatio"] == f"{width}x{height}"


def test_every_listed_size_of_gpt_image_2_vip_is_valid_and_of_its_tier():
    """V-028"""
    table = shipped("grsai").surface().variant("gpt-image-2-vip").size.table
    rows = [(tier, size) for row in table.values() for tier, size in row.items()]
    assert len(rows) == 43
    for tier, size in rows:
        assert is_vip_size(size)
        assert implied_tier(*map(int, size.split("x"))) == tier


@pytest.mark.parametrize(
    ("model", "ratio"), [("nano-banana", "9:16"), ("nano-banana-2", "1:8"), ("nano-banana-2-4k-cl", "1:8")]
)
def test_only_the_second_generation_has_extreme_ratios(model, ratio):
    """V-029"""
    assert submit("grsai", model, asked(size="1:8")).body["aspectRatio"] == ratio


@pytest.mark.parametrize(
    ("model", "tier"),
    [
        ("nano-banana-2", "2K"),
        ("nano-banana-2-cl", "1K"),
        ("nano-banana-2-4k-cl", "4K"),
        ("nano-banana-pro-cl", "1K"),
        ("nano-banana-pro-vip", "2K"),
        ("nano-banana-pro-4k-vip", "4K"),
        ("nano-banana-pro-vt", "2K"),
    ],
)
def test_a_grsai_model_sells_the_tiers_of_its_name(model, tier):
    assert submit("grsai", model, asked(image_size="2K")).body["imageSize"] == tier


def test_dashscope_asks_for_a_task_and_writes_sizes_with_an_asterisk():
    """V-032, V-035"""
    call = submit("dashscope", "wan2.7-image", asked("a lighthouse", size="1920x1080", n=2, seed=7))
    assert sent(call) == (
        "POST",
        "/api/v1/services/aigc/image-generation/generation",
        {"X-DashScope-Async": "enable"},
        {
            "model": "wan2.7-image",
            "input": {"messages": [{"role": "user", "content": [{"text": "a lighthouse"}]}]},
            "parameters": {"size": "1920*1088", "n": 2, "seed": 7, "watermark": False},
        },
    )


def test_dashscope_references_follow_the_text():
    request = asked("both", references=(by_data(), by_url()))
    body = submit("dashscope", "wan2.7-image", request, thinking_mode=False).body
    assert body["input"]["messages"][0]["content"] == [
        {"text": "both"},
        {"image": DATA_URI},
        {"image": "https://example.com/cat.png"},
    ]
    assert body["parameters"] == {"n": 1, "watermark": False}


@pytest.mark.parametrize(
    ("model", "size"), [("wan2.7-image-pro", "4096*4096"), ("wan2.7-image", "2048*2048")]
)
def test_dashscope_4k_is_for_the_pro_model(model, size):
    """V-035"""
    assert submit("dashscope", model, asked(size="4096x4096")).body["parameters"]["size"] == size


def test_dashscope_4k_is_only_for_text():
    """V-035"""
    request = asked(size="4096x4096", references=(by_url(),))
    assert submit("dashscope", "wan2.7-image-pro", request).body["parameters"]["size"] == "2048*2048"


@given(st.integers(64, 9000), st.integers(64, 9000), st.sampled_from(["wan2.7-image", "wan2.7-image-pro"]))
def test_dashscope_sizes_are_always_inside_the_model_s_bounds(width, height, model):
    """V-035"""
    size = submit("dashscope", model, asked(size=f"{width}x{height}")).body["parameters"]["size"]
    wide, high = map(int, size.split("*"))
    assert wide % 16 == high % 16 == 0
    assert 589_824 <= wide * high <= (16_777_216 if model.endswith("pro") else 4_194_304)
    assert max(wide, high) <= 8 * min(wide, high)


def test_older_wan_models_have_another_path_and_body():
    """V-032"""
    call = submit("dashscope", "wan2.2-t2i-flash", asked(size="1024x1024", negative_prompt="blur"))
    assert sent(call) == (
        "POST",
        "/api/v1/services/aigc/text2image/image-synthesis",
        {"X-DashScope-Async": "enable"},
        {
            "model": "wan2.2-t2i-flash",
            "input": {"prompt": "a cat", "negative_prompt": "blur"},
            "parameters": {"size": "1024*1024", "n": 1, "watermark": False},
        },
    )


SYNTHESIS = "/api/v1/services/aigc/text2image/image-synthesis"
GENERATION = "/api/v1/services/aigc/image-generation/generation"


@pytest.mark.parametrize(
    ("model", "path", "parameters"),
    [
        ("wanx-v1", SYNTHESIS, {"size": "1280*720", "n": 1}),
        ("wanx2.0-t2i-turbo", SYNTHESIS, {"size": "1360*768", "n": 1, "watermark": False}),
        ("wanx2.1-t2i-plus", SYNTHESIS, {"size": "1360*768", "n": 1, "watermark": False}),
        ("wan2.2-t2i-plus", SYNTHESIS, {"size": "1360*768", "n": 1, "watermark": False}),
        ("wan2.5-t2i-preview", SYNTHESIS, {"size": "1712*960", "n": 1, "watermark": False}),
        ("wan2.6-t2i", GENERATION, {"size": "1712*960", "n": 1, "watermark": False}),
        ("wan2.7-image", GENERATION, {"size": "2720*1536", "n": 1, "watermark": False}),
        ("qwen-image", SYNTHESIS, {"size": "1664*928", "n": 1, "watermark": False}),
        ("qwen-image-plus", SYNTHESIS, {"size": "1664*928", "n": 1, "watermark": False}),
        ("qwen-image-2.0", GENERATION, {"size": "2720*1536", "n": 1, "watermark": False}),
        ("flux-schnell", SYNTHESIS, {"size": "1024*576"}),
        ("stable-diffusion-xl", SYNTHESIS, {"size": "1024*576", "n": 1}),
    ],
)
def test_each_model_of_dashscope_has_its_endpoint_and_its_sizes(model, path, parameters):
    call = submit("dashscope", model, asked(aspect_ratio="16:9"))
    assert (call.path, call.body["parameters"]) == (path, parameters)
    assert call.headers == {"X-DashScope-Async": "enable"}


def test_the_oldest_wan_has_a_body_of_its_own():
    call = submit("dashscope", "wanx-v1", asked(n=2, seed=5, negative_prompt="blur"))
    assert call.body == {
        "model": "wanx-v1",
        "input": {"prompt": "a cat", "negative_prompt": "blur"},
        "parameters": {"n": 2, "seed": 5},
    }


@pytest.mark.parametrize("size", ["1:8", "8:1", "1:4", "4:1", "1:3", "9:21", "21:9", "512", "4K", "300x9000"])
@pytest.mark.parametrize(
    ("model", "longest"),
    [("wan2.2-t2i-plus", 1440), ("wanx2.1-t2i-turbo", 1440), ("stable-diffusion-xl", 1024)],
)
def test_no_side_of_an_older_model_is_out_of_its_bounds(model, longest, size):
    """V-035: they refuse a side below 512, however long the other is."""
    sides = submit("dashscope", model, asked(size=size)).body["parameters"]["size"].split("*")
    assert all(512 <= int(side) <= longest for side in sides)
    assert (int(sides[0]) < int(sides[1])) == (size in ("1:8", "1:4", "1:3", "9:21", "300x9000"))


def test_an_older_edit_of_one_picture_says_what_it_is():
    call = submit("dashscope", "wanx2.1-imageedit", asked("red", references=(by_url(),)))
    assert call.path == "/api/v1/services/aigc/image2image/image-synthesis"
    assert call.body["input"] == {
        "function": "description_edit",
        "prompt": "red",
        "base_image_url": "https://example.com/cat.png",
    }


def test_older_wan_edits_have_a_third_path():
    call = submit("dashscope", "wan2.5-i2i-preview", asked(references=(by_url(),)))
    assert call.path == "/api/v1/services/aigc/image2image/image-synthesis"
    assert call.body["input"] == {"prompt": "a cat", "images": ["https://example.com/cat.png"]}


def test_fal_has_the_model_in_its_path_and_another_one_for_edits():
    request = asked(aspect_ratio="16:9", n=2, output_format="jpeg")
    call = submit("fal", "fal-ai/nano-banana", request)
    assert sent(call) == (
        "POST",
        "/fal-ai/nano-banana",
        {},
        {"prompt": "a cat", "aspect_ratio": "16:9", "num_images": 2, "output_format": "jpeg"},
    )
    with_picture = asked(references=(by_data(),))
    edit = submit("fal", "fal-ai/nano-banana", with_picture)
    assert (edit.path, edit.body["image_urls"]) == ("/fal-ai/nano-banana/edit", [DATA_URI])
    assert submit("fal", "fal-ai/nano-banana/edit", with_picture).path == "/fal-ai/nano-banana/edit"


def test_replicate_asks_to_wait():
    call = submit("replicate", "google/nano-banana", asked(aspect_ratio="4:3", references=(by_url(),)))
    assert sent(call) == (
        "POST",
        "/v1/models/google/nano-banana/predictions",
        {"Prefer": "wait=60"},
        {
            "input": {
                "prompt": "a cat",
                "image_input": ["https://example.com/cat.png"],
                "aspect_ratio": "4:3",
            }
        },
    )


def test_bfl_numbers_its_reference_fields():
    call = submit("bfl", "flux-kontext-pro", asked(references=(by_data(PNG), by_data(JPEG)), seed=1))
    assert sent(call) == (
        "POST",
        "/v1/flux-kontext-pro",
        {},
        {
            "prompt": "a cat",
            "seed": 1,
            "input_image": Slice(PNG.encode()),
            "input_image_2": Slice(JPEG.encode()),
        },
    )


def test_seedream_is_almost_the_images_api():
    call = submit("seedream", "doubao-seedream-4-0", asked(size="2K"))
    assert call.body == {
        "model": "doubao-seedream-4-0",
        "prompt": "a cat",
        "size": "2K",
        "response_format": "b64_json",
        "watermark": False,
        "sequential_image_generation": "disabled",
    }
    assert call.stream is False
    streamed = submit("seedream", "doubao-seedream-4-0", stream=True)
    assert (streamed.body["stream"], streamed.stream) == (True, True)


# --- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "surface", "request_", "param", "code"),
    [
        pytest.param(
            "evolink", None, asked(references=(by_data(),)), "image[0]", "unsupported_image_input", id="V-011"
        ),
        pytest.param(
            "evolink", None, asked(references=(by_url(),) * 11), "references", "too_many_images", id="V-012"
        ),
        pytest.param(
            "evolink", None, asked("x" * 2001), "prompt", "string_above_max_length", id="V-012 prompt"
        ),
        pytest.param(
            "jlike",
            "image",
            asked(references=(by_url(),)),
            "references",
            "unsupported_image_input",
            id="none",
        ),
        pytest.param(
            "evolink",
            None,
            asked(references=(by_url("https://example.com/a/cat.GIF?v=1.png"),)),
            "image[0]",
            "unsupported_image_type",
            id="001: .jpeg .jpg .png .webp",
        ),
        pytest.param(
            "minimax",
            None,
            asked(references=(by_url("https://example.com/cat.webp#a.png"),)),
            "image[0]",
            "unsupported_image_type",
            id="its page: JPG, JPEG, PNG",
        ),
        pytest.param("jlike", "image", asked(n=2), "n", "invalid_value", id="n"),
        pytest.param("jlike", "image", asked(mask=by_data()), "mask", "mask_not_supported", id="mask"),
        pytest.param("jlike", "image", asked(size="big"), "image.size", "invalid_value", id="size"),
    ],
)
def test_what_a_vendor_cannot_do_is_refused_with_the_field_s_name(name, surface, request_, param, code):
    with pytest.raises(RequestError) as caught:
        submit(name, "m", request_, surface)
    where = caught.value.param or caught.value.attribute
    assert (caught.value.status, where, caught.value.code) == (400, param, code)


def test_the_limits_themselves_are_allowed():
    """V-012"""
    request = asked("x" * 2000, references=(by_url(),) * 10)
    assert len(submit("evolink", "m", request).body["image_urls"]) == 10


@pytest.mark.parametrize("name", ["cat.JPEG", "cat.webp?as=.gif", "cat", "cat.php", "gif", "cat.gif/shown"])
def test_an_address_that_names_no_other_type_is_for_the_vendor_to_judge(name):
    address = f"https://example.com/{name}"
    assert submit("evolink", "m", asked(references=(by_url(address),))).body["image_urls"] == [address]


@pytest.mark.parametrize("model", ["../admin", "a//b", "a/./b", ""])
def test_a_model_name_cannot_climb_out_of_its_path(model):
    with pytest.raises(RequestError) as caught:
        submit("fal", model)
    assert caught.value.code == "model_not_found"


def test_a_model_name_is_encoded_into_its_path():
    assert submit("bfl", "flux?key=1#é").path == "/v1/flux%3Fkey%3D1%23%C3%A9"


def test_many_pictures_are_spread_over_calls():
    assert wire("jlike", "wan").shares(6, target("jlike", "wan2.7-t2i-plus", "wan")) == (4, 2)
    assert wire("evolink").shares(3, target("evolink", "m")) == (1, 1, 1)


def test_the_wire_says_in_which_form_it_takes_pictures():
    assert wire("evolink").reference_forms(target("evolink", "m")) == ("url",)
    assert wire("evolink").keeps_url("https://example.com/a.png", target("evolink", "m"))
    assert wire("jlike", "image").reference_forms(target("jlike", "m", "image")) == ()


# --- what is not carried ---------------------------------------------------------------------------


def test_fields_without_a_place_are_named():
    request = asked(
        seed=0,
        negative_prompt="blur",
        background="transparent",
        quality="high",
        partial_images=0,
        moderation="auto",
        user="u-1",
        foreign=Foreign("openai", {"input_fidelity": "high", "steps": 5}),
    )
    assert "foreign" not in wire("jlike", "wan").carries  # so it is named for the wire
    assert submit("jlike", "wan2.7-t2i-plus", request, "wan").dropped == (
        "negative_prompt",
        "seed",
        "background",
        "user",
        "image.quality",
    )


def test_a_quality_that_became_a_tier_is_carried():
    assert submit("evolink", "m", asked(quality="4K")).dropped == ()


def test_the_size_that_was_chosen_is_reported():
    call = submit("evolink", "m", asked(size="2048x1152"))
    assert call.size == "2048x1152 -> 16:9/2K"


def test_absent_values_drop_their_keys():
    """V-049"""
    assert submit("jlike", "wan2.7-t2i-plus", asked(), "wan").body == {
        "model": "wan2.7-t2i-plus",
        "prompt": "a cat",
        "n": 1,
    }


def test_building_does_not_touch_the_profile():
    first = submit("dashscope", "wan2.7-image").body
    first["parameters"]["size"] = "changed"
    assert "size" not in submit("dashscope", "wan2.7-image").body["parameters"]


def test_the_size_policy_of_a_profile_is_the_one_of_sizes():
    assert isinstance(shipped("evolink").surface().variant("m").size, SizePolicy)
