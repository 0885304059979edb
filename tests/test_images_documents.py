"""The examples of the vendors' pages as pasted, with only host and key changed: documents 000 to 004.

What the pages show of chat completions is sent as it stands; what they show of their own formats is what
the simulators must receive when an OpenAI client asks for the same.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from proxy.simulators import pictures
from tests.gateway import KEY, Gateway
from tests.picture_vendors import decoded, of_url, post, size_of, watching

CAT = "赛博朋克风格的猫,霓虹灯招牌下"
DOGS = "生成一张边牧与古牧正在抖音直播间直播带货截图"
FIGURE = (
    "Create a highly realistic 1/7 scale commercialized figure based on the illustration’s adult character, "
    "ensuring the appearance and content are safe, healthy, and free from any inappropriate elements."
)
RIDER_URL = (
    "https://p2.a.kwimgs.com/bs2/upload-ylab-stunt/ai_portal/1731125871/6N0QrAnAeU/409-f054fa25c21a.png"
)


@pytest.fixture
def gateway(pictures_gateway: Gateway) -> Gateway:
    return pictures_gateway


def test_document_000_gemini_text(gateway: Gateway) -> None:
    """000: gemini3/generate, asked through chat completions"""
    asked: Any = [{"role": "user", "content": "用一句话解释相对论"}]
    with watching(gateway) as seen:
        reply = gateway.client().chat.completions.create(
            model="jlike.text/gemini-3-flash-preview", messages=asked
        )
    assert "用一句话解释相对论" in (reply.choices[0].message.content or "")
    (sent,) = seen.submits()
    assert sent.path == "/api/v1/openapi/gemini3/generate"
    assert sent.headers["authorization"] == "Bearer vendor-key-canary"
    assert (sent.body["model"], sent.body["contents"]) == (
        "gemini-3-flash-preview",
        [{"role": "user", "parts": [{"text": "用一句话解释相对论"}]}],
    )


def test_document_000_nano_banana(gateway: Gateway) -> None:
    """000: the example's body to the letter"""
    with watching(gateway) as seen:
        reply = gateway.client().images.generate(
            model="jlike.image/nano-banana-pro", prompt=CAT, size="16:9@2K", n=1
        )
    assert size_of(decoded((reply.data or ())[0].b64_json or "")) == (2752, 1536)
    (sent,) = seen.submits()
    assert sent.path == "/api/v1/openapi/nanobanana/generate"
    assert sent.body == {
        "model": "nano-banana-pro",
        "prompt": CAT,
        "size": "2K",
        "aspect_ratio": "16:9",
        "n": 1,
    }


@pytest.mark.parametrize(
    "size", [{"size": "2048x1152"}, {"size": "2K", "extra_body": {"aspect_ratio": "16:9"}}]
)
def test_document_000_wan(gateway: Gateway, size: dict[str, Any]) -> None:
    """000: submit and poll; V-005"""
    with watching(gateway) as seen:
        reply = gateway.client().images.generate(model="wan", prompt="astronaut on mars", n=1, **size)
    assert decoded((reply.data or ())[0].b64_json or "").mime == "image/png"
    (sent,) = seen.submits()
    assert sent.path == "/api/v1/openapi/wan27/generate"
    assert sent.body == {
        "model": "wan2.7-t2i-plus",
        "prompt": "astronaut on mars",
        "size": "2K",
        "aspect_ratio": "16:9",
        "n": 1,
    }
    assert all(each.path.startswith("/api/v1/openapi/wan27/task/") for each in seen.polls())


def test_document_001_pasted(gateway: Gateway) -> None:
    """001: evolink's own example is an OpenAI request; the reply is OpenAI's and not a task"""
    body = {"model": "gemini-3-pro-image-preview", "prompt": "一只猫在草地上玩耍"}
    with watching(gateway) as seen:
        reply = post(gateway, "images/generations", {**body, "model": "evolink"})
    assert size_of(decoded(reply.json()["data"][0]["b64_json"]))
    (sent,) = seen.submits()
    assert (sent.path, sent.body) == ("/v1/images/generations", {**body, "size": "auto"})


def test_document_001_every_field(gateway: Gateway) -> None:
    """001: size is a ratio there, quality a tier, and pictures are addresses"""
    urls = ["https://example.com/image1.png", "https://example.com/image2.png"]
    body = {"prompt": "一只猫在草地上玩耍", "size": "16:9", "quality": "4K", "image_urls": urls}
    with watching(gateway) as seen:
        reply = post(gateway, "images/generations", {"model": "evolink", **body})
    assert reply.status_code == 200
    assert seen.submits()[0].body == {"model": "gemini-3-pro-image-preview", **body}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("shape", "abcde")
def test_document_002_pasted(gateway: Gateway, stream: bool, shape: str) -> None:
    """002: the picture comes as parts, whole, and in `images` of a delta, streamed"""
    asked = {"role": "user", "content": f"{FIGURE} sim:shape:{shape}"}
    body = {"model": "aigcbest/gemini-2.5-flash-image", "messages": [asked], "stream": stream}
    with watching(gateway) as seen:
        found = chat(gateway, body)
    assert [size_of(of_url(url)) for url in found] == [(1024, 1024)]
    (sent,) = seen.submits()
    assert sent.path == "/v1/chat/completions"
    assert sent.body["messages"] == [asked]
    assert sent.body["model"] == "gemini-2.5-flash-image"


def chat(gateway: Gateway, body: dict[str, Any]) -> list[str]:
    """The addresses of the pictures in the reply, as a plain HTTP client finds them."""
    reply = post(gateway, "chat/completions", body)
    assert reply.status_code == 200, reply.text
    if not body["stream"]:
        assert reply.headers["content-type"] == "application/json"
        content = reply.json()["choices"][0]["message"]["content"]
        return [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    assert reply.text.endswith("data: [DONE]\n\n")
    lines = [line[6:] for line in reply.text.splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"] for line in lines for choice in json.loads(line)["choices"]]
    return [image["image_url"]["url"] for delta in deltas for image in delta.get("images", ())]


@pytest.mark.parametrize(
    ("asked", "model", "reply_type"),
    [
        ("grsai/nano-banana-2", "nano-banana-2", "async"),
        ("grsai-async", "nano-banana-pro", "async"),
        ("grsai-json", "nano-banana-pro", "json"),
        ("grsai-stream", "nano-banana-pro", "stream"),
    ],
)
def test_document_003_nano_banana(gateway: Gateway, asked: str, model: str, reply_type: str) -> None:
    """003: the example's fields, in each reply type"""
    with watching(gateway) as seen:
        reply = gateway.client().images.generate(
            model=asked,
            prompt=DOGS,
            size="1:1",
            extra_body={"image_size": "1K", "images": []},
            timeout=30,
        )
    assert size_of(decoded((reply.data or ())[0].b64_json or "")) == (1024, 1024)
    assert seen.submits()[0].path == "/v1/api/generate"
    assert seen.submits()[0].body == {
        "model": model,
        "prompt": DOGS,
        "aspectRatio": "1:1",
        "imageSize": "1K",
        "replyType": reply_type,
    }


@pytest.mark.parametrize(
    ("model", "size", "sent", "drawn"),
    [
        ("gpt-image-2", "1024x1024", "1:1", (1024, 1024)),
        ("gpt-image-2", "16:9", "16:9", (1672, 941)),
        ("gpt-image-2-vip", "2048x2048", "2048x2048", (2048, 2048)),
        ("gpt-image-2-vip", "21:9@4K", "3840x1648", (3840, 1648)),
    ],
)
def test_document_003_gpt_image(
    gateway: Gateway, model: str, size: str, sent: str, drawn: tuple[int, int]
) -> None:
    """003, V-026"""
    with watching(gateway) as seen:
        reply = gateway.client().images.generate(model=model, prompt=DOGS, size=size)
    assert size_of(decoded((reply.data or ())[0].b64_json or "")) == drawn
    assert seen.submits()[0].body == {
        "model": model,
        "prompt": DOGS,
        "aspectRatio": sent,
        "replyType": "async",
    }


def test_document_004_text_to_picture_pasted(gateway: Gateway) -> None:
    """004: streamed, as the example asks"""
    body = {
        "model": "xiaotian/gemini-3-pro-image-preview",
        "messages": [{"role": "user", "content": "绘制一张绚丽的艺术画,主题随意"}],
        "stream": True,
    }
    with watching(gateway) as seen:
        found = chat(gateway, body)
    assert [size_of(of_url(url)) for url in found] == [(1024, 1024)]
    assert seen.submits()[0].body["messages"] == body["messages"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_document_004_editing_pasted(gateway: Gateway, stream: bool) -> None:
    """004: text and an image_url; the relay fetches the address itself"""
    parts = [
        {"type": "text", "text": "让女生骑在马背上,飞舞着长鞭"},
        {"type": "image_url", "image_url": {"url": RIDER_URL}},
    ]
    body = {
        "model": "xiaotian/gemini-3-pro-image-preview",
        "messages": [{"role": "user", "content": parts}],
        "stream": stream,
    }
    with watching(gateway) as seen:
        found = chat(gateway, body)
    assert [size_of(of_url(url)) for url in found] == [(1024, 1024)]
    assert seen.submits()[0].body["messages"] == body["messages"]


def test_document_004_reply_has_the_pages_own_shape(gateway: Gateway) -> None:
    """004, I-031, V-031: text, then image_url parts, and usage whose details are kept and completed"""
    body = {
        "model": "xiaotian/gemini-3-pro-image-preview",
        "messages": [{"role": "user", "content": "绘制一张绚丽的艺术画,主题随意"}],
    }
    reply = post(gateway, "chat/completions", body).json()
    text, image = reply["choices"][0]["message"]["content"]
    assert text == {"type": "text", "text": "Here is the picture:\n"}
    assert (image["type"], list(image["image_url"])) == ("image_url", ["url"])
    assert reply["choices"][0]["finish_reason"] == "stop"
    usage = reply["usage"]
    assert usage["completion_tokens"] == 1297
    assert usage["completion_tokens_details"]["image_tokens"] == 1290
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 0
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0


def test_a_plain_http_client_needs_nothing_but_the_documents_form(gateway: Gateway) -> None:
    """000: curl with the same headers"""
    reply = httpx.post(
        f"{gateway.base_url}/v1/images/generations",
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        content=json.dumps({"model": "jlike", "prompt": CAT, "size": "2K", "aspect_ratio": "16:9", "n": 1}),
        timeout=30,
    )
    seen = pictures.look(base64.b64decode(reply.json()["data"][0]["b64_json"]))
    assert size_of(seen) == (2752, 1536)
