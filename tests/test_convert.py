"""File formats of pictures: what the client asked for, and what a vendor can read."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx
import openai
import pytest
from PIL import Image as Pillow

from proxy.pictures import convert
from proxy.pictures.media_types import sniff
from proxy.simulators import pictures
from proxy.simulators.server import Running, start
from proxy.types import Slice
from tests.gateway import FILE, KEY, Gateway
from tests.served import serving

MODEL = "nano-banana-pro"
AS_JPEG = "sim:jpeg"  # in a prompt: the simulated vendor gives a JPEG


def drawn(kind: str, mode: str = "RGB", size: tuple[int, int] = (32, 16), **options: Any) -> bytes:
    out = BytesIO()
    Pillow.new(mode, size, options.pop("color", None) or 0).save(out, kind, **options)
    return out.getvalue()


def converted(data: bytes, mime: str, quality: int | None = None) -> bytes | None:
    made = asyncio.run(convert.converted(Slice.of(data), mime, quality))
    return None if made is None else made.decode()


def seen(data: bytes | None) -> tuple[str | None, str, tuple[int, int]]:
    assert data is not None
    with Pillow.open(BytesIO(data)) as picture:
        picture.load()
        return sniff(data[:64]), picture.mode, picture.size


# --- the conversion itself


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("mime", ["image/png", "image/jpeg", "image/webp"])
def test_every_readable_kind_becomes_every_wanted_one(kind: str, mime: str) -> None:
    found, _, size = seen(converted(drawn(kind), mime))
    assert (found, size) == (mime, (32, 16))


def test_transparency_stays_where_the_format_has_it_and_is_white_elsewhere() -> None:
    clear = drawn("PNG", "RGBA", color=(255, 0, 0, 0))
    assert seen(converted(clear, "image/webp")) == ("image/webp", "RGBA", (32, 16))
    with Pillow.open(BytesIO(converted(clear, "image/jpeg") or b"")) as picture:
        assert picture.convert("RGB").getpixel((3, 3)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", "CMYK"), ("PNG", "1"), ("PNG", "LA"), ("TIFF", "F"), ("GIF", "P"), ("PNG", "I;16")],
)
def test_rare_colours_are_understood(kind: str, mode: str) -> None:
    for mime in ("image/png", "image/jpeg", "image/webp"):
        assert seen(converted(drawn(kind, mode), mime))[0] == mime


def test_only_the_first_frame_is_taken() -> None:
    frames = [Pillow.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    out = BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    with Pillow.open(BytesIO(converted(out.getvalue(), "image/png") or b"")) as picture:
        assert getattr(picture, "n_frames", 1) == 1
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 0, 0)


def test_a_picture_that_lies_on_its_side_is_turned_up() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # orientation: turned by 90 degrees
    assert seen(converted(drawn("JPEG", exif=exif), "image/png"))[2] == (16, 32)


def test_less_quality_makes_a_smaller_file() -> None:
    noise = Pillow.effect_noise((128, 128), 80)
    out = BytesIO()
    noise.save(out, "PNG")
    sizes = [len(converted(out.getvalue(), "image/jpeg", quality) or b"") for quality in (0, 50, 100)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n", id="a program"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="markup"),
        pytest.param(drawn("PNG")[:40], id="cut"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + b"\0" * 64, id="broken"),
        pytest.param(b"BM" + b"\0" * 12 + b"\x28\0\0\0" + b"\xff" * 60, id="broken bmp"),
        pytest.param(b"II*\0" + b"\xff" * 64, id="broken tiff"),
    ],
)
def test_what_cannot_be_read_is_left_alone(data: bytes) -> None:
    assert converted(data, "image/jpeg") is None


def test_a_bomb_is_refused_by_its_header() -> None:
    """8001 x 8000 pixels in a few kilobytes: nothing of it is decoded."""
    bomb = pictures.png(8001, 8000, "bomb")
    assert len(bomb) < 200_000
    assert converted(bomb, "image/jpeg") is None


def test_no_more_than_two_pictures_are_converted_at_once() -> None:
    """One of 64 megapixels takes a quarter of a gigabyte and more."""

    async def convert_many() -> int:
        picture = Slice.of(drawn("BMP", size=(600, 600)))
        made = await asyncio.gather(*(convert.converted(picture, "image/png") for _ in range(12)))
        assert None not in made
        return sum(thread.name.startswith("convert") for thread in threading.enumerate())

    assert 1 <= asyncio.run(convert_many()) <= 2


def test_only_what_openai_knows_is_written() -> None:
    assert not convert.can_write("image/gif")
    assert converted(drawn("PNG"), "image/gif") is None


# --- what the client asked for


def make(gateway: Gateway, prompt: str = "A cat", **fields: Any) -> tuple[Any, httpx.Headers]:
    raw = gateway.client().images.with_raw_response.generate(model=MODEL, prompt=prompt, **fields)
    return raw.parse(), raw.headers


def kind_of(item: Any) -> str | None:
    return seen(base64.b64decode(item.b64_json))[0]


@pytest.mark.parametrize("prompt", ["A cat", f"A cat {AS_JPEG}"], ids=["from png", "from jpeg"])
@pytest.mark.parametrize("wanted", ["png", "jpeg", "webp"])
def test_a_picture_comes_in_the_wanted_format(gateway: Gateway, wanted: str, prompt: str) -> None:
    """I-004: the reply names the format that the bytes are in"""
    reply, headers = make(gateway, prompt, output_format=wanted)
    assert kind_of(reply.data[0]) == f"image/{wanted}"
    assert (reply.output_format, reply.size) == (wanted, "1024x1024")
    assert "x-proxy-dropped" not in headers


def test_a_picture_that_is_in_the_wanted_format_is_not_written_anew(gateway: Gateway) -> None:
    wished, left = (make(gateway, "The same cat", **fields)[0] for fields in ({"output_format": "png"}, {}))
    assert wished.data[0].b64_json == left.data[0].b64_json


def test_compression_is_applied_also_where_the_format_fits(gateway: Gateway) -> None:
    coarseness = []
    for percent in (90, 10):
        reply, headers = make(gateway, f"A cat {AS_JPEG}", output_format="jpeg", output_compression=percent)
        with Pillow.open(BytesIO(base64.b64decode(reply.data[0].b64_json))) as picture:
            coarseness.append(sum(picture.quantization[0]))  # type: ignore[attr-defined]
        assert "x-proxy-dropped" not in headers
    assert coarseness[0] < coarseness[1] / 5


def test_compression_of_a_png_means_nothing_and_is_named(gateway: Gateway) -> None:
    _, headers = make(gateway, output_format="png", output_compression=50)
    assert headers["x-proxy-dropped"] == "output_compression"


def test_a_format_that_nobody_writes_is_named(gateway: Gateway) -> None:
    reply, headers = make(gateway, output_format="gif")
    assert (reply.output_format, headers["x-proxy-dropped"]) == ("png", "output_format")


def test_a_strict_client_gets_what_we_can_convert(gateway: Gateway) -> None:
    strict = {"x-proxy-strict": "true"}
    reply, _ = make(gateway, output_format="webp", output_compression=80, extra_headers=strict)
    assert kind_of(reply.data[0]) == "image/webp"
    with pytest.raises(openai.BadRequestError) as caught:
        make(gateway, output_format="gif", extra_headers=strict)
    assert caught.value.param == "output_format"


def test_a_streamed_picture_and_a_linked_one_are_converted_too(gateway: Gateway) -> None:
    (event,) = gateway.client().images.generate(
        model=MODEL, prompt="A cat", output_format="jpeg", stream=True
    )
    assert (event.output_format, kind_of(event)) == ("jpeg", "image/jpeg")
    reply, _ = make(gateway, output_format="webp", response_format="url")
    assert gateway.http.get(reply.data[0].url).headers["content-type"] == "image/webp"


# --- what a vendor can read


def look_at(gateway: Gateway, data: bytes, mime: str, model: str = "gemini-flash") -> str:
    url = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    content: Any = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": url}}]
    reply = gateway.client().chat.completions.create(
        model=model, messages=[{"role": "user", "content": content}]
    )
    return str(reply.choices[0].message.content)


@pytest.mark.parametrize("kind", ["gif", "bmp", "tiff", "avif"])
def test_a_picture_that_gemini_does_not_read_arrives_as_png(gateway: Gateway, kind: str) -> None:
    """G-044"""
    assert "I received: image/png 32x16 pixels" in look_at(gateway, drawn(kind.upper()), f"image/{kind}")


def test_a_picture_in_the_result_of_a_tool_arrives_as_png_too(gateway: Gateway) -> None:
    """G-044, M-023."""
    data = base64.b64encode(drawn("GIF")).decode()
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": data}}
    call = {"type": "tool_use", "id": "toolu_A", "name": "look", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_A", "content": [picture]}
    messages = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    tool = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
    body = {"model": "gemini-flash", "max_tokens": 100, "messages": messages, "tools": [tool]}
    headers = {"authorization": f"Bearer {KEY}"}
    assert gateway.http.post(f"{gateway.base_url}/v1/messages", json=body, headers=headers).status_code == 200
    [part] = gateway.sent()[-1].body["contents"][-1]["parts"]
    assert [one["inlineData"]["mimeType"] for one in part["functionResponse"]["parts"]] == ["image/png"]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_picture_that_gemini_reads_stays_as_it_is(gateway: Gateway, kind: str) -> None:
    data = drawn(kind.upper())
    assert f"I received: image/{kind} 32x16 pixels, {len(data)} bytes" in look_at(
        gateway, data, f"image/{kind}"
    )


def test_a_broken_picture_is_refused_with_its_place(gateway: Gateway) -> None:
    """G-044"""
    before = len(gateway.sent())
    with pytest.raises(openai.BadRequestError) as caught:
        look_at(gateway, b"II*\0" + b"\xff" * 64, "image/tiff")
    assert caught.value.param == "messages[0].content[1].image_url.url"
    assert caught.value.code == "unsupported_media_type"
    assert len(gateway.sent()) == before


# --- without Pillow


@pytest.fixture(scope="module")
def vendors() -> Iterator[Running]:
    running = start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory, vendors: Running) -> Iterator[openai.OpenAI]:
    file = FILE.replace("http://SIMULATORS", vendors.base_url)
    environment = {"TEST_KEY": KEY, "VENDOR_KEY": "vendor-key", "TEST_NARROW_KEY": "sk-narrow"}
    folder = tmp_path_factory.mktemp("without")
    with (
        serving(folder, file, environment=environment, module="tests.without_pillow") as served,
        openai.OpenAI(base_url=f"{served.base_url}/v1", api_key=KEY, max_retries=0) as client,
    ):
        yield client


def test_without_pillow_a_picture_stays_as_it_is_and_the_field_is_named(without: openai.OpenAI) -> None:
    """I-004"""
    raw = without.images.with_raw_response.generate(model=MODEL, prompt="A cat", output_format="jpeg")
    reply: Any = raw.parse()
    assert (reply.output_format, kind_of(reply.data[0])) == ("png", "image/png")
    assert raw.headers["x-proxy-dropped"] == "output_format"


def test_without_pillow_a_format_that_came_by_itself_is_not_named(without: openai.OpenAI) -> None:
    raw = without.images.with_raw_response.generate(model=MODEL, prompt="A cat", output_format="png")
    assert "x-proxy-dropped" not in raw.headers


def test_without_pillow_a_gif_is_refused_with_its_place(without: openai.OpenAI) -> None:
    """G-044"""
    url = "data:image/gif;base64," + base64.b64encode(drawn("GIF")).decode()
    content: Any = [{"type": "image_url", "image_url": {"url": url}}]
    with pytest.raises(openai.BadRequestError) as caught:
        without.chat.completions.create(model="gemini-flash", messages=[{"role": "user", "content": content}])
    assert caught.value.code == "unsupported_media_type"
