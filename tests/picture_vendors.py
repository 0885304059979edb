"""A gateway with every picture vendor behind it, and what the tests of pictures share."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import openai

from proxy.simulators import pictures
from proxy.simulators.exchange import Exchange
from proxy.simulators.ledger import Task
from tests.gateway import KEY, Gateway

# Where each simulated vendor stands below the simulators' address.
_PATHS = {
    "jlike": "jlike/api/v1/openapi",
    "evolink": "evolink",
    "aigcbest": "aigcbest/v1",
    "grsai": "grsai",
    "xiaotian": "xiaotian/v1",
    "dashscope": "dashscope",
    "fal": "fal",
    "replicate": "replicate",
    "bfl": "bfl",
    "seedream": "seedream",
    "kie": "kie",
    "midjourney-proxy": "midjourney-proxy",
    "kling": "kling",
    "liblib": "liblib",
    "runware": "runware",
    "stability": "stability",
    "comfyui": "comfyui",
    "minimax": "minimax",
    "modelscope": "modelscope",
    "baidu": "baidu",
}
# Vendors whose keys have two parts.
_IN_PARTS = ("kling", "liblib", "baidu")
_GOOGLE = (
    "  google: {wire: gemini, base_url: 'http://SIMULATORS/gemini/v1beta', "
    "keys: [env:VENDOR_KEY], private: true}"
)


def providers(*names: str, extra: str = "private: true") -> str:
    """Their entries in providers.yaml."""
    return "".join(
        f"  {name}: {{profile: {name}, base_url: 'http://SIMULATORS/{_PATHS[name]}', "
        f"keys: [env:{'PAIR_KEY' if name in _IN_PARTS else 'VENDOR_KEY'}], {extra}}}\n"
        for name in names
    )


# No sign of life within a test: what it begins has status 200, and mostly another is expected.
HEAD = f"""
version: 1
keys: [{{name: app, key: env:TEST_KEY}}]
defaults: {{heartbeat: 60s}}
providers:
{_GOOGLE}
"""

GOOD = pictures.png(64, 48, "reference")
DATA_URI = "data:image/png;base64," + base64.b64encode(GOOD).decode()
PICTURE_URL = "https://example.com/cat.png"


@dataclass(frozen=True, slots=True)
class Vendor:
    """One row of the table of vendors: `asked` in OpenAI's `size`, and what pixels come of it.

    `references`: `data` takes pictures inline, `url` by address only, "" not at all; `most` of them.
    """

    name: str
    target: str
    size: str = "1024x1024"
    pixels: tuple[int, int] = (1024, 1024)
    references: str = "data"
    most: int = 2
    options: str = ""
    chats: bool = False


VENDORS = (
    Vendor("google", "google/gemini-3-pro-image", "1536x1024", (1264, 848)),
    Vendor("jlike", "jlike.image/nano-banana-2", "1792x1024", (1376, 768), references=""),
    Vendor("wan", "jlike.wan/wan2.7-t2i-plus", "1024x1024", (1024, 1024), references=""),
    Vendor("evolink", "evolink/gemini-3-pro-image-preview", "2048x2048", (2048, 2048), references="url"),
    Vendor("aigcbest", "aigcbest/gemini-2.5-flash-image", chats=True),
    Vendor("grsai-async", "grsai/nano-banana-pro", "1024x1024"),
    Vendor("grsai-json", "grsai/nano-banana-pro", "1024x1024", options="reply_type: json"),
    Vendor("grsai-stream", "grsai/nano-banana-pro", "1024x1024", options="reply_type: stream"),
    Vendor("gpt-image-2", "grsai/gpt-image-2", "1792x1024", (1672, 941)),
    Vendor("gpt-image-2-vip", "grsai/gpt-image-2-vip", "1920x1080", (1920, 1088)),
    Vendor("xiaotian", "xiaotian/gemini-3-pro-image-preview", chats=True),
    Vendor("dashscope", "dashscope/wan2.7-image", "1792x1024", (1792, 1024)),
    Vendor("dashscope-older", "dashscope/wan2.2-t2i-flash", references=""),
    Vendor("dashscope-oldest", "dashscope/wanx-v1", "1792x1024", (1280, 720), references=""),
    Vendor("fal", "fal/fal-ai/nano-banana-pro", "1024x1024"),
    Vendor("replicate", "replicate/google/nano-banana", "1024x1024"),
    Vendor("bfl", "bfl/flux-kontext-pro", "1024x1024"),
    Vendor("seedream", "seedream/doubao-seedream-4-0", "1792x1024", (1792, 1024)),
    Vendor("seedream-stream", "seedream/doubao-seedream-4-0", options="stream: true"),
    Vendor("kie", "kie/nano-banana-pro", "1792x1024", (1376, 768), references="url"),
    Vendor("midjourney-proxy", "midjourney-proxy/midjourney", "1024x1024", (2048, 2048)),
    Vendor("kling", "kling/kling-v2-1", "1792x1024", (1376, 768), most=1),
    Vendor("liblib", "liblib/star-3", "1280x720", (1280, 720), references="url"),
    Vendor("runware", "runware/runware:101@1", "1792x1024", (1792, 1024)),
    Vendor("stability", "stability/sd3.5-large", "1024x1024", (1024, 1024), most=1),
    Vendor("comfyui", "comfyui/sd_xl_base_1.0.safetensors", "1280x720", (1280, 720), most=1),
    Vendor("minimax", "minimax/image-01", "1792x1024", (1280, 720), most=1),
    Vendor("modelscope", "modelscope/Qwen/Qwen-Image", "1328x1328", (1328, 1328), most=1),
    Vendor("baidu", "baidu/v2", "1280x720", (1280, 720), most=1),
)
BY_NAME = {vendor.name: vendor for vendor in VENDORS}


def _model(vendor: Vendor) -> str:
    return (
        f"  {vendor.name}: {{targets: [{vendor.target}], poll: {{every: 30ms}}, "
        f"options: {{{vendor.options}}}}}\n"
    )


FILE = HEAD + providers(*_PATHS) + "models:\n" + "".join(map(_model, VENDORS))
BEATING = FILE.replace("heartbeat: 60s", "heartbeat: 300ms")


def decoded(b64: str) -> pictures.Seen:
    """The picture, after a look that it is whole."""
    return pictures.look(base64.b64decode(b64, validate=True))


def of_url(url: str) -> pictures.Seen:
    head, _, data = url.partition(",")
    seen = decoded(data)
    assert head == f"data:{seen.mime};base64"
    return seen


def size_of(seen: pictures.Seen) -> tuple[int, int]:
    return seen.width, seen.height


def post(gateway: Gateway, path: str, body: Any = None, **options: Any) -> httpx.Response:
    """A raw request. `body` is JSON; pass `data` and `files` for a form."""
    headers = {"authorization": f"Bearer {KEY}", **options.pop("headers", {})}
    if body is not None:
        options["content"] = json.dumps(body)
        headers["content-type"] = "application/json"
    return gateway.http.post(f"{gateway.base_url}/v1/{path}", headers=headers, **options)


@dataclass(slots=True)
class Seen:
    """What the vendors saw since the test began."""

    gateway: Gateway
    after: int

    def exchanges(self) -> list[Exchange]:
        """Without downloads of results, and without looks at what earlier tests have given up."""
        found = [each for each in self.gateway.vendors.log.exchanges() if each.vendor != "files"]
        earlier = {each.notes.get("task") for each in found if each.number <= self.after} - {None}
        return [each for each in found if each.number > self.after and each.notes.get("task") not in earlier]

    def submits(self) -> list[Exchange]:
        """The orders."""
        return [each for each in self.exchanges() if each.method == "POST" and not _is_about_one(each)]

    def polls(self) -> list[Exchange]:
        found = self.exchanges()
        return [each for each in found if each.method == "GET" or each.path.endswith(_ASKING)]

    def downloads(self) -> list[Exchange]:
        return self.gateway.vendors.log.exchanges("files", self.after)

    def tasks(self, prompt: str) -> list[Task]:
        return self.gateway.vendors.log.ledger.tasks(prompt=prompt)


_ASKING = ("/status", "/getImgv2")
_AROUND = ("cancel", "/upload", "/oauth", "/queue")


def _is_about_one(exchange: Exchange) -> bool:
    """A POST that asks for a job, calls it off, or prepares one."""
    task = exchange.body[0] if isinstance(exchange.body, list) and exchange.body else {}
    asks = exchange.path.endswith(_ASKING) or task.get("taskType") == "getResponse"
    return asks or any(word in exchange.path for word in _AROUND)


@contextmanager
def watching(gateway: Gateway) -> Iterator[Seen]:
    yield Seen(gateway, max((each.number for each in gateway.sent()), default=0))


def raises(gateway: Gateway, model: str, prompt: str, **fields: Any) -> openai.APIStatusError:
    """The error that `images.generate` raises."""
    try:
        gateway.client().images.generate(model=model, prompt=prompt, **fields)
    except openai.APIStatusError as error:
        return error
    raise AssertionError("no error was raised")
