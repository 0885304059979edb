"""Every vendor on every endpoint that gives pictures, through the real OpenAI SDK."""

from __future__ import annotations

import base64
from hashlib import sha256
from typing import Any

import pytest

from proxy.simulators import pictures
from tests.gateway import Gateway
from tests.picture_vendors import (
    BY_NAME,
    DATA_URI,
    GOOD,
    PICTURE_URL,
    VENDORS,
    Vendor,
    decoded,
    of_url,
    post,
    raises,
    size_of,
    watching,
)

EVERY = pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
DIGEST = sha256(GOOD).hexdigest()[:16]
FORMATS = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}


@pytest.fixture
def gateway(pictures_gateway: Gateway) -> Gateway:
    return pictures_gateway


@EVERY
def test_a_picture_is_made_and_says_what_it_is(gateway: Gateway, vendor: Vendor) -> None:
    """I-001, I-003, I-004, V-010, V-024, V-026, V-032: whatever the vendor's way of answering"""
    with watching(gateway) as seen:
        reply = gateway.client().images.generate(
            model=vendor.name, prompt=f"A cat by {vendor.name}", size=vendor.size, output_format="webp"
        )
    (item,) = reply.data or ()
    picture = decoded(item.b64_json or "")
    assert size_of(picture) == vendor.pixels
    assert (reply.size, reply.output_format) == (f"{picture.width}x{picture.height}", FORMATS[picture.mime])
    assert isinstance(reply.created, int)
    assert item.url is None
    assert len(seen.submits()) == 1


@EVERY
def test_a_streamed_picture_is_one_completed_event(gateway: Gateway, vendor: Vendor) -> None:
    """I-013, I-014"""
    prompt = f"A dog by {vendor.name}"
    stream = gateway.client().images.generate(model=vendor.name, prompt=prompt, size=vendor.size, stream=True)
    (event,) = stream
    assert event.type == "image_generation.completed"
    picture = decoded(event.b64_json)
    assert size_of(picture) == vendor.pixels
    fields = {"background", "created_at", "output_format", "quality", "size", "usage"}
    assert {name for name in fields if getattr(event, name) is not None} == fields
    assert event.output_format == FORMATS[picture.mime]


@EVERY
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_chat_with_a_picture_model_gives_the_picture(
    gateway: Gateway, vendor: Vendor, stream: bool
) -> None:
    """I-026, I-030, I-034, V-020, V-031: an image model answers on both endpoints"""
    chat: Any = gateway.client().chat.completions
    asked: Any = [{"role": "user", "content": f"Draw a fox by {vendor.name}"}]
    extra = {"image_output": "images"}
    if stream:
        options = {"include_usage": True}
        chunks = list(
            chat.create(
                model=vendor.name, messages=asked, stream=True, stream_options=options, extra_body=extra
            )
        )
        pictured = [
            chunk.choices[0].delta for chunk in chunks if getattr(_delta(chunk), "images", None) is not None
        ]
        assert len(pictured) == 1
        assert (pictured[0].content or "", pictured[0].tool_calls) == ("", None)
        images, usage = pictured[0].images, chunks[-1].usage
        assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    else:
        reply = chat.create(model=vendor.name, messages=asked, extra_body=extra)
        images, usage = reply.choices[0].message.images, reply.usage
        assert isinstance(reply.choices[0].message.content, str)
    assert [image["index"] for image in images] == [0]
    assert of_url(images[0]["image_url"]["url"]).mime in FORMATS
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert isinstance(usage.prompt_tokens_details.cached_tokens, int)
    assert isinstance(usage.completion_tokens_details.reasoning_tokens, int)


def _delta(chunk: Any) -> Any:
    return chunk.choices[0].delta if chunk.choices else None


@pytest.mark.parametrize(
    "vendor", [each for each in VENDORS if each.references == "data"], ids=lambda vendor: vendor.name
)
def test_an_edit_carries_the_pictures_to_the_vendor(gateway: Gateway, vendor: Vendor) -> None:
    """I-005, I-006: a file, and an address in JSON or a data URI"""
    files = [("a.png", GOOD, "image/png"), ("b.png", GOOD, "image/png")]
    with watching(gateway) as seen:
        reply = gateway.client().images.edit(
            model=vendor.name,
            prompt=f"Paint {vendor.name} red",
            image=files[: vendor.most],
        )
    assert decoded((reply.data or ())[0].b64_json or "").width
    (submit,) = seen.submits()
    assert len(references_of(submit)) == vendor.most
    assert all(DIGEST in each for each in references_of(submit))
    body = {"model": vendor.name, "prompt": "Once more", "images": [{"image_url": DATA_URI}]}
    assert post(gateway, "images/edits", body).status_code == 200


def references_of(submit: Any) -> list[str]:
    """What the simulator noted of the pictures it was given."""
    noted = submit.notes.get("references")
    return [str(each) for each in noted] if noted else _found(submit.body)


def _found(value: Any) -> list[str]:
    if isinstance(value, dict):
        if isinstance(blob := value.get("inlineData"), dict):
            return [sha256(base64.b64decode(blob["data"])).hexdigest()]
        return [found for each in value.values() for found in _found(each)]
    if isinstance(value, list):
        return [found for each in value for found in _found(each)]
    return []


def test_a_vendor_that_takes_addresses_gets_the_clients_own(gateway: Gateway) -> None:
    """I-049: nothing is downloaded by us"""
    body = {"model": "evolink", "prompt": "Paint it red", "image_urls": [PICTURE_URL]}
    with watching(gateway) as seen:
        assert post(gateway, "images/edits", body).status_code == 200
    (submit,) = seen.submits()
    assert submit.body["image_urls"] == [PICTURE_URL]


def test_a_vendor_that_takes_only_addresses_refuses_a_data_uri_here(gateway: Gateway) -> None:
    """V-011"""
    with watching(gateway) as seen:
        reply = post(
            gateway,
            "images/edits",
            {"model": "evolink", "prompt": "Red", "images": [{"image_url": DATA_URI}]},
        )
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "unsupported_image_input")
    assert seen.exchanges() == []


@pytest.mark.parametrize("name", [each.name for each in VENDORS if each.references == ""])
def test_a_vendor_that_takes_no_pictures_refuses_them_here(gateway: Gateway, name: str) -> None:
    with watching(gateway) as seen:
        reply = post(
            gateway, "images/edits", {"model": name, "prompt": "Red", "images": [{"image_url": DATA_URI}]}
        )
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")
    assert seen.exchanges() == []


SIZES = [
    # model, what the client sends, what the vendor gets
    ("google", {"size": "3840x2160"}, {"aspectRatio": "16:9", "imageSize": "4K"}),
    ("google", {}, None),
    ("jlike", {"size": "1536x1024"}, {"size": "1K", "aspect_ratio": "4:3"}),
    ("jlike", {"size": "512x512"}, {"size": "512", "aspect_ratio": "1:1"}),
    ("jlike", {"size": "21:9"}, {"size": None, "aspect_ratio": "16:9"}),
    ("jlike", {}, {"size": None, "aspect_ratio": None}),
    ("evolink", {}, {"size": "auto", "quality": None}),
    ("evolink", {"size": "2048x1152"}, {"size": "16:9", "quality": "2K"}),
    ("evolink", {"size": "256x256"}, {"size": "1:1", "quality": "1K"}),
    ("evolink", {"size": "16:9@4K"}, {"size": "16:9", "quality": "4K"}),
    ("grsai-async", {"size": "8:1"}, {"aspectRatio": "21:9", "imageSize": None}),
    ("gpt-image-2", {"size": "2K"}, {"imageSize": None}),
    ("gpt-image-2-vip", {"size": "1000x1000"}, {"aspectRatio": "1008x1008", "imageSize": None}),
    ("gpt-image-2-vip", {"size": "16:9"}, {"aspectRatio": "1280x720", "imageSize": None}),
    ("gpt-image-2-vip", {"size": "16:9@4K"}, {"aspectRatio": "3840x2160"}),
    ("gpt-image-2-vip", {"size": "512x512"}, {"aspectRatio": "816x816"}),
    ("gpt-image-2-vip", {}, {"aspectRatio": "auto"}),
    ("dashscope", {"size": "1920x1080"}, {"size": "1920*1088"}),
    ("dashscope", {"size": "2K"}, {"size": "2K"}),
    ("dashscope", {"size": "21:9"}, {"size": "3120*1328"}),
    ("dashscope", {"size": "512x512"}, {"size": "768*768"}),
    ("seedream", {}, {"size": None}),
]


@pytest.mark.parametrize(("model", "asked", "sent"), SIZES)
def test_a_size_reaches_the_vendor_in_its_own_words(
    gateway: Gateway, model: str, asked: dict[str, str], sent: dict[str, str | None] | None
) -> None:
    """I-018, I-022, I-024, V-010, V-027, V-029, V-035: rows of the table in section 3"""
    with watching(gateway) as seen:
        reply = post(gateway, "images/generations", {"model": model, "prompt": "A size", **asked})
    assert reply.status_code == 200, reply.text
    body = seen.submits()[0].body
    if BY_NAME[model].target.startswith("google/"):
        assert body["generationConfig"].get("imageConfig") == sent
        return
    body = body.get("parameters", body)
    assert {name: body.get(name) for name in sent or {}} == sent
    assert ("x-proxy-size" in reply.headers) is bool(asked)


def test_the_word_for_a_foreign_size_is_refused(gateway: Gateway) -> None:
    """I-019"""
    error = raises(gateway, "grsai-async", "A size", size="foo")
    assert (error.status_code, error.param) == (400, "size")


def test_an_extra_field_beats_what_the_size_says(gateway: Gateway) -> None:
    """I-021"""
    extra = {"aspect_ratio": "9:16", "image_size": "4K"}
    with watching(gateway) as seen:
        gateway.client().images.generate(model="evolink", prompt="Tall", size="1024x1024", extra_body=extra)
    body = seen.submits()[0].body
    assert (body["size"], body["quality"]) == ("9:16", "4K")


def test_an_address_that_is_asked_for_leads_to_the_picture(gateway: Gateway) -> None:
    """I-002: of the store where there is one, else a data URI beside the bytes"""
    asked = {"model": "google", "prompt": "A cat", "response_format": "url"}
    reply = post(gateway, "images/generations", asked)
    (item,) = reply.json()["data"]
    if reply.headers.get("x-proxy-url-kind") == "data":
        assert size_of(of_url(item["url"])) == size_of(decoded(item["b64_json"]))
    else:
        assert size_of(pictures.look(gateway.http.get(item["url"]).content)) == (1024, 1024)


def test_who_asked_is_echoed(gateway: Gateway) -> None:
    """I-055: in the reply; no shipped picture vendor has a field for it"""
    body = {"model": "grsai-json", "prompt": "A cat", "user": "u1", "safety_identifier": "s1"}
    assert post(gateway, "images/generations", body).json()["safety_identifier"] == "s1"


def test_what_the_vendor_charged_is_told_in_its_own_place(gateway: Gateway) -> None:
    """V-008: wherever the vendor's `_billing` stood, it is told in the usage."""
    reply = post(gateway, "images/generations", {"model": "jlike", "prompt": "A cat sim:billing:string"})
    assert "_billing" not in reply.json()
    assert reply.json()["usage"]["vendor"] == {
        "_billing": {"cost": "0.2", "actual_cost": "0.2", "currency": "CNY"},
        "cost": "0.2",
        "unit": "CNY",
    }


def test_what_is_reserved_for_a_call_is_its_charge_where_the_page_tells_no_other(gateway: Gateway) -> None:
    """001: `billing_rule: per_call` and `credits_reserved` are all that it tells."""
    body = {"model": "evolink", "prompt": "A cat", "quality": "4K", "n": 2}
    assert post(gateway, "images/generations", body).json()["usage"]["vendor"] == {
        "credits_reserved": 6.4,
        "cost": "6.4",
        "unit": "credits",
    }


@pytest.mark.parametrize("shape", "abcdefgh")
@pytest.mark.parametrize("form", ["", "url", "data", "object", "urlobject"])
def test_every_shape_that_jlike_may_answer_in_gives_the_picture(
    gateway: Gateway, shape: str, form: str
) -> None:
    """V-003"""
    prompt = f"A cat sim:shape:{shape} sim:form:{form or 'base64'}"
    reply = gateway.client().images.generate(model="jlike", prompt=prompt)
    assert size_of(decoded((reply.data or ())[0].b64_json or "")) == (1024, 1024)


@pytest.mark.parametrize("shape", "abcde")
@pytest.mark.parametrize("model", ["aigcbest", "xiaotian"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_every_shape_that_relays_answer_in_gives_the_picture(
    gateway: Gateway, model: str, shape: str, stream: bool
) -> None:
    """V-017, V-018, V-019: on the Images API and in chat"""
    prompt = f"A cat sim:shape:{shape} sim:chunks:9"
    reply = gateway.client().images.generate(model=model, prompt=prompt)
    assert size_of(decoded((reply.data or ())[0].b64_json or "")) == (1024, 1024)
    chat = gateway.client().chat.completions
    asked: Any = [{"role": "user", "content": prompt}]
    extra = {"image_output": "images"}
    if stream:
        chunks = list(chat.create(model=model, messages=asked, extra_body=extra, stream=True))
        found = [image for chunk in chunks for image in getattr(_delta(chunk), "images", None) or ()]
        text = "".join(_delta(chunk).content or "" for chunk in chunks if chunk.choices)
    else:
        message: Any = chat.create(model=model, messages=asked, extra_body=extra).choices[0].message
        found, text = message.images, message.content
    (url,) = (each["image_url"]["url"] for each in found)
    assert size_of(of_url(url)) == (1024, 1024)  # b gives an address, which is fetched while it is good
    assert text.strip() == ("" if shape == "e" else "Here is the picture:")


@pytest.mark.parametrize("framing", "abcd")
def test_every_framing_of_a_grsai_stream_gives_the_picture(gateway: Gateway, framing: str) -> None:
    """V-024"""
    reply = gateway.client().images.generate(model="grsai-stream", prompt=f"A cat sim:shape:{framing}")
    assert decoded((reply.data or ())[0].b64_json or "").width == 1024


def test_a_grsai_stream_without_an_end_is_asked_for_by_its_id(gateway: Gateway) -> None:
    """V-025"""
    with watching(gateway) as seen:
        reply = gateway.client().images.generate(model="grsai-stream", prompt="A cat sim:nofinish")
    assert decoded((reply.data or ())[0].b64_json or "").width == 1024
    asked = [each.path for each in seen.exchanges() if each.path.startswith("/v1/api/")]  # of this vendor
    assert asked[0] == "/v1/api/generate"
    assert set(asked[1:]) == {"/v1/api/result"}
