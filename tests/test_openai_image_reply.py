"""Events become the Images API's replies: whole and streamed, in true size and format."""

import base64
import struct
import zlib
from typing import Any

import httpx
import openai
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import ImageGenCompletedEvent, ImagesResponse

from proxy.errors import ErrorClass, UpstreamError
from proxy.fronts.openai import error_reply
from proxy.fronts.openai.images import reply as image_reply
from proxy.fronts.openai.images import request as image_request
from proxy.fronts.openai.images.reply import ImageReplyOptions, ImageStreamRenderer
from proxy.pictures import pixels
from proxy.types import Event, Extra, Finish, Image, Refusal, Slice, Started, Text, Usage


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def jpeg(width: int, height: int, metadata: int = 20) -> bytes:
    app = b"\xff\xe1" + struct.pack(">H", metadata + 2) + bytes(metadata)
    return b"\xff\xd8" + app + b"\xff\xc2\x00\x11\x08" + struct.pack(">HH", height, width) + bytes(300)


SMALL = Slice.of(png(16, 9))
B64 = str(SMALL)
PICTURE = Image("image/jpeg", SMALL)  # the vendor declares it wrongly
STOP = Finish("stop")


def options(**fields: Any) -> ImageReplyOptions:
    return ImageReplyOptions(**{"created": 7, **fields})


def whole(*events: Event, **fields: Any) -> Any:
    body = orjson.loads(b"".join(image_reply.whole(events, options(**fields)).body))
    ImagesResponse.model_validate(body)
    return body


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (png(1024, 768), (1024, 768)),
        (jpeg(800, 600), (800, 600)),
        pytest.param(jpeg(800, 600, 60_000), (800, 600), id="a JPEG with a large profile"),
        (b"GIF89a" + struct.pack("<HH", 3, 4) + bytes(9), (3, 4)),
        (b"RIFF" + bytes(4) + b"WEBPVP8X" + bytes(8) + b"\x1f\x03\x00\x57\x02\x00", (800, 600)),
        (b"RIFF" + bytes(4) + b"WEBPVP8 " + bytes(10) + struct.pack("<HH", 800, 600), (800, 600)),
        (b"RIFF" + bytes(4) + b"WEBPVP8L" + bytes(5) + struct.pack("<I", 799 | 599 << 14), (800, 600)),
        (b"BM" + bytes(60), None),
        (b"\xff\xd8\xff", None),
        (b"", None),
    ],
)
def test_the_size_is_read_from_the_header(data: bytes, size: tuple[int, int] | None) -> None:
    """I-003"""
    assert pixels.of(Slice.of(data)) == size


HEADS = st.sampled_from([b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF0000WEBPVP8L", b"RIFF0000WEBPVP8X", png(2, 2)])


@given(HEADS, st.binary(max_size=80), st.integers(0, 90))
def test_no_header_is_too_broken(head: bytes, rest: bytes, end: int) -> None:
    pixels.of(Slice.of((head + rest)[:end]))


def test_a_whole_reply_tells_what_the_picture_is() -> None:
    """I-003, I-004"""
    assert whole(Started("x"), Text("Here."), PICTURE, Usage(9, 1300, 5, completion_image=1290), STOP) == {
        "created": 7,
        "data": [{"b64_json": B64}],
        "size": "16x9",
        "output_format": "png",
        "usage": {
            "input_tokens": 9,
            "output_tokens": 1300,
            "total_tokens": 1309,
            "input_tokens_details": {"text_tokens": 9, "image_tokens": 0},
            "output_tokens_details": {"text_tokens": 10, "image_tokens": 1290},
        },
    }


def test_usage_is_not_invented() -> None:
    assert "usage" not in whole(PICTURE, Usage(images=1), STOP)


def test_prompts_and_users_are_echoed() -> None:
    """I-055"""
    body = whole(PICTURE, Extra("wan", {"revised_prompt": "a big cat"}), STOP, safety_identifier="s")
    assert body["data"] == [{"b64_json": B64, "revised_prompt": "a big cat"}]
    assert body["safety_identifier"] == "s"
    assert "revised_prompt" not in whole(Text("hm"), PICTURE, STOP)["data"][0]


def test_the_vendors_own_charge_is_told() -> None:
    charged = Usage(images=1, vendor={"cost": "0.13", "unit": "CNY"})
    assert whole(PICTURE, charged, STOP)["usage"]["vendor"] == {"cost": "0.13", "unit": "CNY"}
    assert "usage" not in whole(PICTURE, Usage(images=1), STOP)


VENDOR = Image("image/png", url="https://v/1")
BOTH = Image("image/png", SMALL, "https://v/1")
DATA_URL = f"data:image/png;base64,{B64}"


@pytest.mark.parametrize(
    ("image", "fields", "item", "kind"),
    [
        pytest.param(PICTURE, {}, {"b64_json": B64}, None, id="absent"),
        pytest.param(BOTH, {"response_format": "b64_json"}, {"b64_json": B64}, None, id="b64_json"),
        pytest.param(
            BOTH,
            {"response_format": "url", "link": lambda image: "https://p/1"},
            {"url": "https://p/1"},
            None,
            id="stored",
        ),
        pytest.param(
            BOTH, {"response_format": "url"}, {"b64_json": B64, "url": DATA_URL}, b"data", id="I-002 data URL"
        ),
        pytest.param(VENDOR, {"response_format": "b64_json"}, {"url": "https://v/1"}, None, id="no bytes"),
    ],
)
def test_bytes_or_an_address(image: Image, fields: Any, item: Any, kind: bytes | None) -> None:
    rendered = image_reply.whole([image, STOP], options(**fields))
    assert orjson.loads(b"".join(rendered.body))["data"] == [item]
    assert dict(rendered.headers).get(b"x-proxy-url-kind") == kind


@pytest.mark.parametrize(
    ("events", "status", "type_", "code", "message"),
    [
        pytest.param(
            [Finish("content_filter", "SAFETY", message="Too wild.")],
            400,
            "image_generation_user_error",
            "moderation_blocked",
            "Too wild.",
            id="I-017",
        ),
        pytest.param(
            [Refusal("No."), Finish("content_filter")],
            400,
            "image_generation_user_error",
            "moderation_blocked",
            "No.",
            id="I-017 said",
        ),
        pytest.param(
            [Text("A poem."), STOP],
            502,
            "server_error",
            "no_image_generated",
            "The model made no picture. It said: A poem.",
            id="I-036",
        ),
        pytest.param(
            [], 502, "server_error", "no_image_generated", "The model made no picture.", id="nothing"
        ),
    ],
)
def test_a_reply_without_a_picture_is_an_error(
    events: list[Event], status: int, type_: str, code: str, message: str
) -> None:
    with pytest.raises(UpstreamError) as caught:
        image_reply.whole(events, options())
    told, _, body = error_reply.render(caught.value, words=error_reply.IMAGE_WORDS)
    said = {"message": message, "type": type_, "param": None, "code": code}
    assert (told, orjson.loads(body)["error"]) == (status, said)
    renderer = ImageStreamRenderer(options())
    assert renderer.feed(events) == []
    with pytest.raises(UpstreamError) as caught:
        renderer.finish()
    assert str(caught.value) == message


def streamed(*batches: list[Event], prefix: Any = "image_generation", **fields: Any) -> list[bytes]:
    renderer = ImageStreamRenderer(options(**fields), prefix)
    return [b"".join(renderer.feed(batch)) for batch in batches] + [b"".join(renderer.finish())]


NO_USAGE = {
    "input_tokens": 0,
    "output_tokens": 0,
    "total_tokens": 0,
    "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
    "output_tokens_details": {"text_tokens": 0, "image_tokens": 0},
}


def test_a_stream_has_one_completed_event_for_each_picture() -> None:
    """I-014: with every field of the schema; the last carries the usage."""
    first, second, last = streamed(
        [PICTURE], [Image("image/jpeg", Slice.of(jpeg(8, 4)))], safety_identifier="s"
    )
    assert first == b""
    event, data, *_ = second.split(b"\n")
    assert event == b"event: image_generation.completed"
    assert orjson.loads(data.removeprefix(b"data: ")) == {
        "type": "image_generation.completed",
        "b64_json": B64,
        "background": "auto",
        "created_at": 7,
        "output_format": "png",
        "quality": "auto",
        "size": "16x9",
        "usage": NO_USAGE,
        "safety_identifier": "s",
    }
    assert b'"output_format":"jpeg","quality":"auto","size":"8x4"' in last


def test_a_streamed_picture_has_an_address_beside_its_bytes_when_one_is_asked_for() -> None:
    (_, frame) = streamed([BOTH], response_format="url", link=lambda image: "https://p/1")
    assert frame.endswith(b'"url":"https://p/1"}\n\n')
    (_, frame) = streamed([BOTH], response_format="url")
    assert b'"url"' not in frame
    (_, frame) = streamed([VENDOR])
    assert b'"b64_json":""' in frame
    assert b'"url":"https://v/1"' in frame


def sdk_events(body: bytes) -> list[Any]:
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    )
    http = httpx.Client(transport=transport)
    with openai.OpenAI(api_key="k", base_url="http://proxy/v1", http_client=http) as client:
        return list(client.images.generate(model="m", prompt="x", stream=True))


def test_the_sdk_reads_the_stream() -> None:
    """I-014"""
    frames = streamed([PICTURE], [PICTURE], [Usage(1, 2), STOP])
    first, second = sdk_events(b": keep-alive\n\n".join(frames))
    assert isinstance(first, ImageGenCompletedEvent)
    assert base64.b64decode(second.b64_json) == png(16, 9)
    assert (first.usage.total_tokens, second.usage.total_tokens) == (0, 3)


def test_an_edit_has_events_of_its_own() -> None:
    (_, frame) = streamed([PICTURE], prefix="image_edit")
    assert frame.startswith(b'event: image_edit.completed\ndata: {"type":"image_edit.completed",')


def test_a_broken_stream_raises_in_the_sdk() -> None:
    """I-016, I-017"""
    renderer = ImageStreamRenderer(options())
    frame = renderer.error(UpstreamError(ErrorClass.BLOCKED, "No."), "req_1")
    assert frame == (
        b'event: error\ndata: {"error":{"message":"No. (request id: req_1)",'
        b'"type":"image_generation_user_error","param":null,"code":"moderation_blocked"}}\n\n'
    )
    with pytest.raises(openai.APIError) as caught:
        sdk_events(frame)
    assert caught.value.code == "moderation_blocked"
    assert b'"code":"internal_error"' in renderer.error(KeyError("x"))


def test_a_picture_is_not_copied() -> None:
    pieces = image_reply.whole([PICTURE, STOP], options()).body
    assert any(piece is SMALL.raw for piece in pieces)


def test_an_error_in_a_stream_names_the_clients_own_field() -> None:
    parsed = image_request.parse({"model": "m", "prompt": "A cat"}, "generation")
    renderer = ImageStreamRenderer(options(parsed=parsed))
    frame = renderer.error(UpstreamError(ErrorClass.BAD_REQUEST, "no", param="messages[0].content"))
    assert orjson.loads(frame.partition(b"data: ")[2])["error"]["param"] == "prompt"
