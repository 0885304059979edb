"""The three Images endpoints, JSON or multipart, become one `ImageRequest` or a 400 that names the field."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Any, get_type_hints

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import image_create_variation_params, image_edit_params, image_generate_params
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartParser

from proxy.codec import jsonio
from proxy.errors import RequestError
from proxy.fronts.base import Parsed
from proxy.fronts.openai.images import fields as fields_of_pictures
from proxy.fronts.openai.images import request as image_request
from proxy.fronts.openai.images.shape import ImageShape
from proxy.types import Foreign, FormFile, ImageOptions, ImageRequest, MediaPart, Slice

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(64))
B64 = base64.b64encode(PNG).decode()
URL = f"data:image/png;base64,{B64}"


def parse(**fields: Any) -> ImageRequest:
    return image_request.parse({"model": "m", "prompt": "a cat", **fields}).request


def picture(where: str, **fields: Any) -> MediaPart:
    return MediaPart("image", Slice(B64.encode()), where=where, **{"mime": "image/png", **fields})


def refusal(fields: Any, operation: Any = "generation") -> RequestError:
    with pytest.raises(RequestError) as caught:
        image_request.parse(fields, operation)
    assert caught.value.status == 400
    return caught.value


def test_a_generation_is_carried() -> None:
    assert parse(
        n=2,
        size="1536x1024",
        quality="high",
        style="vivid",
        background="transparent",
        output_format="webp",
        output_compression=0,
        moderation="low",
        stream=True,
        partial_images=0,
        user="u",
        seed=0,
        negative_prompt="dogs",
    ) == ImageRequest(
        model="m",
        prompt="a cat",
        n=2,
        image=ImageOptions(size="1536x1024", quality="high"),
        seed=0,
        negative_prompt="dogs",
        background="transparent",
        output_format="webp",
        output_compression=0,
        moderation="low",
        style="vivid",
        stream=True,
        partial_images=0,
        user="u",
    )


@pytest.mark.parametrize(
    ("fields", "operation", "attribute", "value"),
    [
        pytest.param({"response_format": "url"}, "generation", "response_format", "url", id="addresses"),
        pytest.param({"user": "u"}, "generation", "safety_identifier", "u", id="the user is echoed"),
        pytest.param({}, "generation", "prefix", "image_generation", id="events of a generation"),
        pytest.param({"image": URL}, "edit", "prefix", "image_edit", id="events of an edit"),
    ],
)
def test_what_shapes_the_reply_is_in_the_shape(
    fields: dict[str, Any], operation: Any, attribute: str, value: Any
) -> None:
    shape = image_request.parse({"model": "m", "prompt": "a cat", **fields}, operation).shape
    assert getattr(shape, attribute) == value


@pytest.mark.parametrize(
    ("fields", "wish"),
    [
        pytest.param({"callback_url": "https://x/y"}, (True, "https://x/y"), id="callback"),
        pytest.param({"background": True}, (True, None), id="a task"),
        pytest.param({"background": "true"}, (True, None), id="a task in a form"),
        pytest.param({"background": False}, (False, None), id="the word for no task"),
        pytest.param({"background": "auto"}, (False, None), id="no task"),
    ],
)
def test_a_client_that_will_not_wait_says_so(fields: dict[str, Any], wish: tuple[bool, str | None]) -> None:
    parsed = image_request.parse({"model": "m", "prompt": "a cat", **fields})
    assert (parsed.as_task, parsed.callback_url) == wish
    assert parsed.dropped == ()


@pytest.mark.parametrize(
    ("fields", "dropped"),
    [
        ({"images": [{"image_url": URL, "x": 1}]}, ("images[0].x",)),
        ({"mask": {"image_url": URL, "x": 1}}, ("mask.x",)),
        ({"image_config": {"size": "2K", "x": 1}}, ("image_config.x",)),
    ],
)
def test_a_member_that_nobody_reads_is_named(fields: dict[str, Any], dropped: tuple[str, ...]) -> None:
    assert image_request.parse({"model": "m", "prompt": "x", **fields}).dropped == dropped


@pytest.mark.parametrize("fields", [{"seed": 2.0**70}, {"x": [2**63]}, {"google": {"x": 2**64 - 1}}])
def test_what_cannot_be_written_again_is_refused_by_its_field(fields: dict[str, Any]) -> None:
    assert refusal({"model": "m", "prompt": "x", **fields}).param == next(iter(fields))


@pytest.mark.parametrize(
    ("fields", "attribute", "value"),
    [
        pytest.param({"background": True}, "background", None, id="a task is not transparent"),
        pytest.param({"user": "u", "safety_identifier": "s"}, "user", "s", id="I-055"),
        pytest.param(
            {"aspectRatio": "16:9", "resolution": "2K"},
            "image",
            ImageOptions(aspect_ratio="16:9", image_size="2K"),
            id="I-021 extras",
        ),
        pytest.param(
            {"extra_body": {"image_config": {"image_size": "4K"}}},
            "image",
            ImageOptions(image_size="4K"),
            id="nested by mistake",
        ),
        pytest.param({}, "image", ImageOptions(), id="I-022 no size"),
        pytest.param({"output_format": "jpg"}, "output_format", "jpeg", id="jpg"),
        pytest.param({"image": URL}, "references", (picture("image"),), id="image"),
        pytest.param(
            {"image_urls": ["https://x/a.png", URL]},
            "references",
            (MediaPart("image", url="https://x/a.png", where="image_urls[0]"), picture("image_urls[1]")),
            id="image_urls",
        ),
        pytest.param(
            {"images": [{"image_url": URL}, {"image_url": {"url": "https://x/b.png"}}]},
            "references",
            (
                picture("images[0].image_url"),
                MediaPart("image", url="https://x/b.png", where="images[1].image_url.url"),
            ),
            id="I-006",
        ),
        pytest.param({"mask": {"image_url": URL}}, "mask", picture("mask.image_url"), id="mask"),
        pytest.param({"watermark": False}, "foreign", Foreign("openai", {"watermark": False}), id="unknown"),
        pytest.param(
            {"complexity": "low", "frame_count": 2, "svg": {"model": "s"}},
            "foreign",
            Foreign("openai", {"complexity": "low", "frame_count": 2, "svg": {"model": "s"}}),
            id="documented",
        ),
    ],
)
def test_a_field_is_carried(fields: dict[str, Any], attribute: str, value: Any) -> None:
    assert getattr(parse(**fields), attribute) == value


@pytest.mark.parametrize(
    "params",
    [
        image_generate_params.ImageGenerateParamsStreaming,
        image_edit_params.ImageEditParamsStreaming,
        image_create_variation_params.ImageCreateVariationParams,
    ],
)
def test_every_field_the_newest_sdk_documents_has_a_place(params: type) -> None:
    """`markup` is a file, named as dropped."""
    fields = set(get_type_hints(params)) - {"markup"}
    assert fields
    known = {
        *fields_of_pictures.SIMPLE,
        *fields_of_pictures.SHAPING,
        *fields_of_pictures.DOCUMENTED,
        *fields_of_pictures.ELSEWHERE,
    }
    assert fields - known == set()


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": None}, "prompt", "missing_required_parameter"),
        ({"prompt": ""}, "prompt", "empty_string"),
        ({"prompt": "x" * 32_001}, "prompt", "string_above_max_length"),
        pytest.param({"n": 0}, "n", "integer_below_min_value", id="I-010 zero"),
        pytest.param({"n": 11}, "n", "integer_above_max_value", id="I-010 eleven"),
        pytest.param({"n": "two"}, "n", "invalid_type", id="I-010 two"),
        ({"size": 1024}, "size", "invalid_type"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"partial_images": 4}, "partial_images", "integer_above_max_value"),
        ({"response_format": "png"}, "response_format", "invalid_value"),
        ({"output_format": "bmp"}, "output_format", "invalid_value"),
        ({"output_compression": 101}, "output_compression", "integer_above_max_value"),
        ({"background": "blue"}, "background", "invalid_value"),
        ({"moderation": "high"}, "moderation", "invalid_value"),
        ({"user": 5}, "user", "invalid_type"),
        ({"image": 5}, "image", "invalid_type"),
        ({"image": "hello"}, "image", "invalid_url"),
        pytest.param({"images": [{"file_id": ""}]}, "images[0].file_id", "empty_string", id="I-006"),
        ({"images": [{}]}, "images[0].image_url", "missing_required_parameter"),
        pytest.param({"images": [URL] * 17}, "image", "too_many_images", id="I-008"),
        ({"mask": 5}, "mask", "invalid_type"),
    ],
)
def test_a_wrong_value_is_refused_by_name(fields: dict[str, Any], param: str, code: str) -> None:
    error = refusal({"model": "m", "prompt": "x", **fields})
    assert (error.param, error.code) == (param, code)


def test_a_body_must_be_an_object() -> None:
    assert refusal([]).code == "invalid_type"


def test_an_edit_needs_a_picture() -> None:
    error = refusal({"model": "m", "prompt": "x"}, "edit")
    assert (error.param, error.code) == ("image", "missing_required_parameter")


@pytest.mark.parametrize(
    "names",
    [
        ("image",),
        ("image[]", "image[]"),
        ("image[0]", "image[1]"),
        ("images", "images"),
        ("images[]", "image"),
    ],
)
def test_a_form_names_its_pictures_in_many_ways(names: tuple[str, ...]) -> None:
    """I-005"""
    files = [FormFile(name, f"{at}.png", "image/png", Slice(B64.encode())) for at, name in enumerate(names)]
    fields = [
        ("model", "m"),
        ("prompt", "x"),
        ("n", "2"),
        ("stream", "false"),
        ("size", "2K"),
        ("svg[model]", "s"),
    ]
    found = image_request.parse_form(fields, files).request
    assert found == ImageRequest(
        model="m",
        prompt="x",
        n=2,
        image=ImageOptions(size="2K"),
        references=tuple(picture(name, filename=f"{at}.png") for at, name in enumerate(names)),
        foreign=Foreign("openai", {"svg": {"model": "s"}}),
    )


def test_a_form_may_hold_pictures_as_text() -> None:
    fields = [
        ("model", "m"),
        ("prompt", "x"),
        ("image[]", URL),
        ("image[]", "https://x/a.png"),
        ("mask", URL),
    ]
    found = image_request.parse_form(fields, []).request
    assert found.references == (
        picture("image[0]"),
        MediaPart("image", url="https://x/a.png", where="image[1]"),
    )
    assert found.mask == picture("mask")


@pytest.mark.parametrize(
    ("fields", "file", "param", "code"),
    [
        pytest.param({"n": "two"}, "image", "n", "invalid_type", id="I-010"),
        ({"n": "11"}, "image", "n", "integer_above_max_value"),
        ({"stream": "maybe"}, "image", "stream", "invalid_type"),
        ({}, "picture", "picture", "unsupported_parameter"),
        ({}, "mask", "image", "missing_required_parameter"),
    ],
)
def test_a_wrong_form_is_refused_by_name(fields: dict[str, str], file: str, param: str, code: str) -> None:
    files = [FormFile(file, "a.png", "image/png", Slice(B64.encode()))]
    with pytest.raises(RequestError) as caught:
        image_request.parse_form({"model": "m", "prompt": "x", **fields}.items(), files)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        image_request.parse_form([], [FormFile("image", "a.png", "image/png", Slice(b""))])
    assert caught.value.param == "image"


def test_a_variation_has_a_prompt_of_its_own() -> None:
    """I-009"""
    files = [FormFile("image", "a.png", "image/png", Slice(B64.encode()))]
    found = image_request.parse_form([("model", "m")], files, "variation").request
    assert found.prompt == image_request.VARIATION_PROMPT
    assert len(found.references) == 1


def sent_by_sdk(send: Any) -> Parsed[ImageRequest, ImageShape]:
    """What we read from the form that the SDK really sends."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={"created": 1, "data": []})

    transport = httpx.Client(transport=httpx.MockTransport(answer))
    with openai.OpenAI(api_key="k", base_url="http://proxy/v1", http_client=transport) as client:
        send(client)
    (request,) = requests

    async def read() -> Parsed[ImageRequest, ImageShape]:
        async def body() -> AsyncIterator[bytes]:
            yield request.read()

        form = await MultiPartParser(Headers(dict(request.headers)), body()).parse()
        fields, files = [], []
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                data = Slice.of(await value.read())
                files.append(FormFile(name, value.filename or "", value.content_type or "", data))
            else:
                fields.append((name, value))
        await form.close()
        return image_request.parse_form(fields, files)

    return asyncio.run(read())


def test_what_the_sdk_sends_is_understood() -> None:
    """I-005"""
    found = sent_by_sdk(
        lambda client: client.images.edit(
            model="m",
            prompt="x",
            image=[("a.png", PNG), ("b.png", PNG)],
            mask=("m.png", PNG),
            markup=("k.png", PNG),
            n=2,
            input_fidelity="high",
            size="1024x1024",
            extra_body={"aspect_ratio": "16:9"},
        )
    )
    assert found.dropped == ("markup",)
    assert found.request == ImageRequest(
        model="m",
        prompt="x",
        n=2,
        image=ImageOptions(size="1024x1024", aspect_ratio="16:9"),
        references=(picture("image[]", filename="a.png"), picture("image[]", filename="b.png")),
        mask=picture("mask", filename="m.png"),
        foreign=Foreign("openai", {"input_fidelity": "high"}),
    )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 99)
    | st.text(max_size=5)
    | st.sampled_from([URL, "https://x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["image_url", "url", "file_id", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = sorted(
    {
        *fields_of_pictures.SIMPLE,
        *fields_of_pictures.SHAPING,
        *fields_of_pictures.DOCUMENTED,
        *fields_of_pictures.ELSEWHERE,
        "extra_body",
        "google",
    }
)
NAMES = st.sampled_from([*FIELDS, "svg[model]", "svg[a][b]", "image[]", "google[a]"]) | st.text(max_size=4)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6))
def test_no_body_raises_anything_but_a_request_error(fields: dict[str, Any]) -> None:
    with contextlib.suppress(RequestError):
        image_request.parse({"model": "m", "prompt": "x", **jsonio.loads(b"".join(jsonio.dumps(fields)))})


@given(
    st.lists(st.tuples(NAMES, st.text(max_size=6) | st.sampled_from([URL, "{", "{}", '{"a":1}'])), max_size=6)
)
def test_no_form_raises_anything_but_a_request_error(fields: list[tuple[str, str]]) -> None:
    with contextlib.suppress(RequestError):
        image_request.parse_form([("model", "m"), ("prompt", "x"), *fields], [])
