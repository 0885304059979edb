"""No request makes a simulated vendor crash: what it cannot take, it refuses."""

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.simulators.exchange import Exchange, Log, Reply
from proxy.simulators.vendors import MAKERS, pairs
from tests.long import LONG
from tests.simulated_vendors import DATA_URI, PICTURE_URL, jwt, signed

_PROMPT = "a cat"


def _chat(picture: str) -> dict[str, Any]:
    content = [{"type": "text", "text": _PROMPT}, {"type": "image_url", "image_url": {"url": picture}}]
    return {
        "model": "gemini-2.5-flash-image",
        "stream": True,
        "modalities": ["text", "image"],
        "messages": [{"role": "user", "content": content}],
    }


_WAN = {
    "model": "wan2.7-image",
    "input": {"messages": [{"role": "user", "content": [{"text": _PROMPT}, {"image": PICTURE_URL}]}]},
    "parameters": {"size": "1K", "n": 1, "seed": 1},
}
_OPENAI = {"model": "gpt-image-2", "prompt": _PROMPT, "n": 1, "size": "1024x1024", "partial_images": 0}
_JLIKE = "/api/v1/openapi"

GOOD: list[tuple[str, str, Any]] = [
    (
        "jlike",
        _JLIKE + "/gemini3/generate",
        {"model": "gemini-3-flash-preview", "contents": [{"role": "user", "parts": [{"text": _PROMPT}]}]},
    ),
    (
        "jlike",
        _JLIKE + "/nanobanana/generate",
        {"model": "nano-banana", "prompt": _PROMPT, "size": "1K", "aspect_ratio": "1:1", "n": 1},
    ),
    (
        "jlike",
        _JLIKE + "/wan27/generate",
        {"model": "wan2.7-t2i-plus", "prompt": _PROMPT, "size": "1K", "n": 1},
    ),
    (
        "evolink",
        "/v1/images/generations",
        {
            "model": "gemini-3-pro-image-preview",
            "prompt": _PROMPT,
            "size": "1:1",
            "image_urls": [PICTURE_URL],
        },
    ),
    ("aigcbest", "/v1/chat/completions", _chat(DATA_URI)),
    (
        "aigcbest",
        "/v1beta/models/gemini-2.5-flash-image:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": _PROMPT}]}]},
    ),
    ("xiaotian", "/v1/chat/completions", _chat(PICTURE_URL)),
    (
        "grsai",
        "/v1/api/generate",
        {"model": "nano-banana", "prompt": _PROMPT, "images": [DATA_URI], "aspectRatio": "1:1"},
    ),
    ("grsai", "/v1/draw/nano-banana", {"model": "nano-banana", "prompt": _PROMPT, "webHook": "-1"}),
    ("grsai", "/v1/draw/result", {"id": "x"}),
    ("dashscope", "/api/v1/services/aigc/image-generation/generation", _WAN),
    (
        "dashscope",
        "/api/v1/services/aigc/text2image/image-synthesis",
        {"model": "wan2.5-t2i-preview", "input": {"prompt": _PROMPT}, "parameters": {"size": "1280*1280"}},
    ),
    (
        "fal",
        "/fal-ai/flux",
        {"prompt": _PROMPT, "image_size": {"width": 512, "height": 512}, "image_urls": [PICTURE_URL]},
    ),
    ("replicate", "/v1/models/a/b/predictions", {"input": {"prompt": _PROMPT, "image_input": [PICTURE_URL]}}),
    ("bfl", "/v1/flux-dev", {"prompt": _PROMPT, "aspect_ratio": "1:1", "input_image": PICTURE_URL}),
    (
        "kie",
        "/api/v1/jobs/createTask",
        {"model": "x", "input": {"prompt": _PROMPT, "image_urls": [PICTURE_URL]}},
    ),
    ("midjourney-proxy", "/mj/submit/imagine", {"prompt": _PROMPT, "base64Array": [DATA_URI]}),
    (
        "seedream",
        "/api/v3/images/generations",
        {
            "model": "x",
            "prompt": _PROMPT,
            "size": "1K",
            "image": [PICTURE_URL],
            "sequential_image_generation_options": {"max_images": 2},
        },
    ),
    (
        "kling",
        "/v1/images/generations",
        {"model_name": "kling-v2", "prompt": _PROMPT, "n": 1, "aspect_ratio": "1:1", "image": PICTURE_URL},
    ),
    (
        "liblib",
        "/api/generate/webui/img2img/ultra",
        {
            "templateUuid": "0" * 32,
            "generateParams": {
                "prompt": _PROMPT,
                "imageSize": {"width": 512, "height": 512},
                "sourceImage": PICTURE_URL,
            },
        },
    ),
    (
        "minimax",
        "/v1/image_generation",
        {
            "model": "image-01",
            "prompt": _PROMPT,
            "aspect_ratio": "1:1",
            "n": 1,
            "subject_reference": [{"type": "character", "image_file": PICTURE_URL}],
        },
    ),
    (
        "modelscope",
        "/v1/images/generations",
        {"model": "x", "prompt": _PROMPT, "size": "64x64", "image_url": DATA_URI},
    ),
    (
        "baidu",
        "/rpc/2.0/ernievilg/v1/txt2imgv2",
        {
            "prompt": _PROMPT,
            "width": 512,
            "height": 512,
            "image_num": 1,
            "image": DATA_URI.partition(",")[2],
            "change_degree": 1,
        },
    ),
    (
        "comfyui",
        "/prompt",
        {
            "client_id": "c",
            "prompt": {
                "1": {"class_type": "CLIPTextEncode", "inputs": {"text": _PROMPT, "clip": ["4", 1]}},
                "3": {
                    "class_type": "KSampler",
                    "inputs": {
                        "model": ["4", 0],
                        "positive": ["1", 0],
                        "negative": ["1", 0],
                        "latent_image": ["5", 0],
                        "seed": 1,
                        "steps": 1,
                        "cfg": 1,
                        "sampler_name": "euler",
                        "scheduler": "normal",
                        "denoise": 1,
                    },
                },
                "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "x"}},
                "5": {
                    "class_type": "EmptyLatentImage",
                    "inputs": {"width": 64, "height": 64, "batch_size": 1},
                },
                "9": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
            },
        },
    ),
    ("openai-images", "/v1/images/generations", _OPENAI),
    ("openai-images", "/v1/images/edits", {**_OPENAI, "images": [{"image_url": PICTURE_URL}]}),
]
_KEYS = {
    "authorization": "Bearer k",
    "x-key": "k",
    "mj-api-secret": "k",
    "x-dashscope-async": "enable",
    "x-modelscope-async-mode": "true",
    "host": "127.0.0.1:1",
}
# A picture of thousands of pixels takes a while to draw; sizes are tested elsewhere.
_SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=9)
_VALUES = st.recursive(
    _SCALARS
    | st.sampled_from(["16:9", "0:1", "data:,", "data:image/png;base64,A", "http://[", "wan2.6-image"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside, the whole first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for name, each in inner for place in places(each, (*at, name)))]


def put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    value = copy.deepcopy(value)
    at = value
    for name in place[:-1]:
        at = at[name]
    at[place[-1]] = new
    return value


def answer(vendor: str, path: str, body: Any) -> Reply:
    own = {"fal": "Key k", "kling": f"Bearer {jwt('k')}"}
    headers = _KEYS | ({"authorization": own[vendor]} if vendor in own else {})
    query = signed(f"/liblib{path}", "k") if vendor == "liblib" else {"access_token": pairs.token("k")}
    reply = MAKERS[vendor][1](Log())(Exchange(vendor, "POST", path, query, headers, orjson.dumps(body)))
    assert isinstance(reply, Reply)
    return reply


IDS = [f"{vendor} {path.rpartition('/')[2]}" for vendor, path, _ in GOOD]


@pytest.mark.parametrize(("vendor", "path", "body"), GOOD, ids=IDS)
def test_the_request_it_starts_from_is_good(vendor: str, path: str, body: Any) -> None:
    assert answer(vendor, path, body).status in (200, 201)


@pytest.mark.parametrize(("vendor", "path", "body"), GOOD, ids=IDS)
@settings(max_examples=40 * LONG)
@given(data=st.data())
def test_nothing_crashes(vendor: str, path: str, body: Any, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(places(body)))
    reply = answer(vendor, path, put(body, place, data.draw(_VALUES)))
    assert reply.status < 500


@pytest.mark.parametrize(("vendor", "path", "body"), GOOD, ids=IDS)
def test_an_unknown_field_is_refused(vendor: str, path: str, body: Any) -> None:
    reply = answer(vendor, path, {**body, "surprise": 1})
    told = orjson.loads(reply.frames[0])
    codes = told.get("code"), told.get("error_code"), told.get("base_resp", {}).get("status_code")
    assert reply.status in (400, 422) or not {4, 422, 216100, 2013}.isdisjoint(codes)
