"""Pictures in the replies of chat relays, in all the shapes of vendors.md 3 and 5."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from proxy.codec import jsonio
from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Finish, Image, Json, Slice, Started, Text, Usage
from proxy.wires.openai.models import makes_pictures
from tests.openai_wire import HELLO, delta, events, pictures, reader, text, whole

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(100))).decode()
OTHER = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(1, 101))).decode()
URL = f"data:image/png;base64,{PNG}"
LINK = "https://files.example/1.png?sig=a"
IMAGE_MODEL: Json = {"model": "gemini-2.5-flash-image"}


def part(url: str = URL) -> Json:
    return {"type": "image_url", "image_url": {"url": url}}


SHAPES: dict[str, Json] = {
    "a markdown": {"content": f"Here:\n![image]({URL})"},
    "a markdown between newlines": {"content": f"Here:\n![Image]({URL})\n"},
    "b markdown with an address": {"content": f"Here:\n![]({LINK})"},
    "c images": {"content": "Here:\n", "images": [part() | {"index": 0}]},
    "c images, flat": {"content": "Here:\n", "images": [{"url": URL}]},
    "c images, strings": {"content": "Here:\n", "images": [URL]},
    "c images, base64": {"content": "Here:\n", "images": [{"b64_json": PNG}]},
    "c images, one object": {"content": "Here:\n", "images": part()},
    "c images, address": {"content": "Here:\n", "images": [part(LINK)]},
    "d parts": {"content": [{"type": "text", "text": "Here:\n"}, part()]},
    "d parts, address as a string": {"content": ["Here:\n", {"type": "image_url", "image_url": URL}]},
    "d parts, responses": {
        "content": [{"type": "output_text", "text": "Here:\n"}, {"type": "image", "data": PNG}]
    },
    "d parts, Gemini's": {"content": ["Here:\n", {"inlineData": {"mimeType": "image/png", "data": PNG}}]},
    "d parts, Anthropic's": {
        "content": [
            "Here:\n",
            {"type": "image", "source": {"type": "base64", "data": PNG, "media_type": "x"}},
        ]
    },
    "d parts without a type": {"content": ["Here:\n", part("data:application/octet-stream;base64," + PNG)]},
    "d parts with markdown": {"content": [{"type": "text", "text": f"Here:\n![image]({URL})"}]},
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("make", [delta, whole])
def test_every_shape_gives_the_same_text_and_picture(name: str, make: Any) -> None:
    """V-017"""
    found = events(make(**SHAPES[name]), **IMAGE_MODEL)
    assert text(found) == "Here:\n"
    assert pictures(found) == [
        ("", LINK) if name.startswith("b") or name.endswith("address") else ("image/png", PNG)
    ]


@pytest.mark.parametrize("content", [URL, PNG, f"\n{PNG}\n", Slice(URL.encode()), Slice(PNG.encode())])
def test_a_reply_that_is_nothing_but_the_picture(content: str | Slice) -> None:
    """V-017, shape e."""
    found = events(whole(content=content))
    assert (text(found), pictures(found)) == ("", [("image/png", PNG)])


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1000])
@pytest.mark.parametrize("shape", ["a markdown", "a markdown between newlines", "b markdown with an address"])
def test_markdown_split_over_any_number_of_deltas(size: int, shape: str) -> None:
    """V-018"""
    content = SHAPES[shape]["content"]
    pieces = [delta(content=content[at : at + size]) for at in range(0, len(content), size)]
    found = events(*pieces, delta("stop"), **IMAGE_MODEL)
    assert text(found) == "Here:\n"
    assert len(pictures(found)) == 1


def test_an_index_that_starts_again_means_nothing() -> None:
    """V-019"""
    first, second = part() | {"index": 0}, part(f"data:image/png;base64,{OTHER}") | {"index": 0}
    found = events(delta(images=[first]), delta(images=[second]), delta("stop"))
    assert pictures(found) == [("image/png", PNG), ("image/png", OTHER)]
    assert len(pictures(events(delta(images=[first]), delta(images=[first])))) == 2


def test_a_server_that_gives_one_picture_in_two_places_gave_one() -> None:
    both = {"content": f"![image]({URL})", "images": [part()]}
    assert pictures(events(whole(**both))) == [("image/png", PNG)]
    assert pictures(events(delta(content=both["content"]), delta(images=both["images"]))) == [
        ("image/png", PNG)
    ]


def test_a_whole_message_at_the_end_of_a_stream_does_not_repeat_pictures() -> None:
    found = events(
        delta(content="Here:\n"), delta(images=[part()]), whole(content="Here:\n", images=[part()])
    )
    assert (text(found), pictures(found)) == ("Here:\n", [("image/png", PNG)])


def test_words_and_pictures_stay_in_order() -> None:
    found = events(delta(content="Wow!"), delta(content=[part(), {"type": "text", "text": "Next"}]))
    assert [type(event).__name__ for event in found] == [
        "Started",
        "Text",
        "Text",
        "Image",
        "Text",
        "Usage",
        "Finish",
    ]
    assert text(found) == "Wow!Next"


def test_addresses_in_the_text_of_a_model_that_draws_nothing_stay_there() -> None:
    found = events(whole(**SHAPES["b markdown with an address"]), model="gpt-4o")
    assert (text(found), pictures(found)) == (f"Here:\n![]({LINK})", [])


@pytest.mark.parametrize(
    ("model", "said", "body", "expected"),
    [
        ("gemini-3-pro-image-preview", None, {}, True),
        ("nano-banana-2", None, {}, True),
        ("gpt-4o", None, {}, False),
        ("gpt-4o", ("text", "image"), {}, True),
        ("gpt-4o", None, {"modalities": ["text", "image"]}, True),
        ("GPT-Image-2", None, {}, True),
    ],
)
def test_who_is_expected_to_draw(
    model: str, said: tuple[str, ...] | None, body: Json, expected: bool
) -> None:
    target = reader(model=model)._target
    assert makes_pictures(replace(HELLO, modalities=said), target, body) is expected


DOCUMENT_004 = {
    "id": "chatcmpl-540074f500e04bc5aa3950bdc0a3013b",
    "model": "gemini-2.5-flash-image-preview",
    "object": "chat.completion",
    "created": 1756500337,
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "没问题,请看:\n"},
                    {
                        "type": "image_url",
                        "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAA0..."},
                    },
                ],
            },
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 1304,
        "completion_tokens": 1297,
        "total_tokens": 2601,
        "prompt_tokens_details": {"text_tokens": 14, "image_tokens": 1290},
        "completion_tokens_details": {"image_tokens": 1290},
    },
}


def test_the_example_of_document_004_word_for_word() -> None:
    """Its data is cut short with dots; a part that says it is a picture is believed."""
    assert events(DOCUMENT_004) == [
        Started("chatcmpl-540074f500e04bc5aa3950bdc0a3013b", "gemini-2.5-flash-image-preview", 1756500337),
        Text("没问题,请看:\n"),
        Image("image/png", Slice(b"iVBORw0KGgoAAAANSUhEUgAAA0...")),
        Usage(
            1304, 1297, prompt_text=14, prompt_image=1290, completion_text=7, completion_image=1290, images=1
        ),
        Finish("stop", "stop"),
    ]


def test_004_may_stream_the_same_in_every_way_it_could() -> None:
    """vendors.md 5: list-valued deltas, a final message, usage in a chunk of its own or in the last one."""
    [choice] = DOCUMENT_004["choices"]  # type: ignore[misc]
    content, usage = choice["message"]["content"], DOCUMENT_004["usage"]
    base = {"id": DOCUMENT_004["id"], "model": DOCUMENT_004["model"], "created": DOCUMENT_004["created"]}
    expected = events(DOCUMENT_004)

    def chunk(finish: str | None = None, **fields: Any) -> Json:
        return {**base, "choices": [{"index": 0, "finish_reason": finish, "delta": fields}]}

    ways: list[list[Json]] = [
        [chunk(content=[content[0]]), chunk(content=[content[1]]), chunk("stop") | {"usage": usage}],
        [
            chunk(content=content[0]["text"]),
            chunk("stop", images=[content[1]]),
            {**base, "choices": [], "usage": usage},
        ],
        [chunk(role="assistant"), {**base, "choices": [choice], "usage": usage}],
    ]
    for way in ways:
        assert events(*way) == expected


def test_a_picture_of_megabytes_is_not_copied() -> None:
    big = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(60_000))
    raw = b'{"choices":[{"message":{"images":[{"image_url":{"url":"data:image/png;base64,' + big + b'"}}]}}]}'
    [image] = [event for event in events(jsonio.loads(raw)) if isinstance(event, Image)]
    assert image.data is not None
    assert image.data.raw.obj is raw


def test_a_model_that_should_draw_and_gives_nothing_is_an_error_by_name() -> None:
    with pytest.raises(UpstreamError) as caught:
        events(whole(content=""), **IMAGE_MODEL)
    assert (caught.value.error_class, caught.value.code) == (ErrorClass.EMPTY, "no_image_generated")


def test_words_alone_are_an_answer_on_chat() -> None:
    """V-039, for this wire."""
    assert text(events(whole(content="I cannot draw that."), **IMAGE_MODEL)) == "I cannot draw that."


@pytest.mark.parametrize(
    "message",
    [
        {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,\x00"}}]},
        {"content": [{"type": "image_url", "image_url": {"url": 'data:image/png;base64,QUJD"'}}]},
        {"audio": {"id": "a", "data": "QU\x00D", "transcript": "Hi"}},
    ],
    ids=["picture", "part", "sound"],
)
def test_what_is_no_base64_is_no_picture_and_no_sound(message: Json) -> None:
    """It would stand in the reply as it came, and no parser of JSON would read that."""
    with pytest.raises(UpstreamError) as caught:
        events(whole(**message))
    assert caught.value.code == "upstream_malformed_response"
