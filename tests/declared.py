"""Shared by the tests of declared vendors: the shipped profiles, and short ways to ask one of them."""

from functools import cache
from pathlib import Path

from proxy.config import document
from proxy.config.problems import Report
from proxy.types import ImageOptions, ImageRequest, MediaPart, Slice, Target
from proxy.wires.declared import DeclaredWire, load_profile

PROFILES = Path(__file__).parent.parent / "proxy" / "profiles"
NAMES = (
    "aigcbest",
    "baidu",
    "bfl",
    "comfyui",
    "dashscope",
    "evolink",
    "fal",
    "grsai",
    "jlike",
    "kie",
    "kling",
    "liblib",
    "midjourney-proxy",
    "minimax",
    "modelscope",
    "openai-images",
    "replicate",
    "runware",
    "seedream",
    "stability",
    "xiaotian",
)

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
JPEG = "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8U"


def read(text, name="profile.yaml"):
    """The value of a YAML text that has no syntax errors."""
    report = Report(name, text)
    value = document.read(text, report).value
    assert report.problems == []
    return value


@cache
def data(name):
    return read((PROFILES / f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml")


@cache
def shipped(name):
    return load_profile(name, data(name))


def wire(name, surface=None):
    profile = shipped(name)
    return DeclaredWire(profile.surface(surface), profile.base_url)


def target(provider, model, surface=None, **options):
    return Target(provider, model, provider, surface, options=options)


def asked(prompt="a cat", **fields):
    """A picture request; the four size fields may be given directly."""
    sizes = {
        name: fields.pop(name) for name in ("size", "aspect_ratio", "image_size", "quality") if name in fields
    }
    return ImageRequest("client-model", prompt, image=ImageOptions(**sizes), **fields)


def by_url(url="https://example.com/cat.png"):
    return MediaPart("image", url=url, where="image[0]")


def by_data(base64=PNG):
    return MediaPart("image", data=Slice(base64.encode()), mime="image/png", where="image[0]")


def submit(name, model, request=None, surface=None, **options):
    return wire(name, surface).submit(request or asked(), target(name, model, surface, **options))


def judge(
    name, model, payload, *, status=200, headers=None, surface=None, phase="submit", task=None, **options
):
    """What a shipped profile makes of one reply to one call."""
    one = wire(name, surface)
    call = one.submit(asked(), target(name, model, surface, **options))
    if phase != "submit":
        call = one.poll({**call.context["task"], "id": "t-1", **(task or {})})
        call.context["phase"] = phase
    return one.judge(call, status, headers or {}, payload)
