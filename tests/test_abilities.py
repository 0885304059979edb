"""What `/v1/models` tells of a model: what it takes and gives, sizes and ratios of its pictures."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.config.profiles import Profiles
from proxy.types import Abilities, Target
from proxy.wires import chat_wire, profile, surface_wire
from tests.gateway import KEY, Gateway

TEN = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")


@pytest.mark.parametrize(
    ("model", "able"),
    [
        (
            "gemini-3-flash-preview",
            Abilities(
                ("text", "image", "audio", "video", "file"),
                ("text",),
                input_tokens=1048576,
                output_tokens=65536,
                thinks=True,
            ),
        ),
        ("gemini-2.5-flash-image", Abilities(("text", "image"), ("text", "image"), (), TEN, thinks=False)),
        (
            "gemini-3-pro-image",
            Abilities(("text", "image"), ("text", "image"), ("1K", "2K", "4K"), TEN, thinks=False),
        ),
        ("gemini-2.5-flash-preview-tts", Abilities(("text",), ("audio",), thinks=False)),
    ],
)
def test_a_model_of_googles(model: str, able: Abilities) -> None:
    assert chat_wire("gemini").abilities(Target("google", model)) == able


@pytest.mark.parametrize(
    ("model", "options", "outputs"),
    [
        ("llama-4", {}, ("text",)),
        ("gemini-3-pro-image", {}, ("text", "image")),
        ("llama-4", {"makes_images": True}, ("text", "image")),
        ("nano-banana", {"makes_images": False}, ("text",)),
    ],
)
def test_a_server_that_speaks_openai(model: str, options: dict[str, Any], outputs: tuple[str, ...]) -> None:
    assert chat_wire("openai").abilities(Target("lan", model, options=options)) == Abilities(outputs=outputs)


@pytest.mark.parametrize(
    ("vendor", "surface", "model", "inputs", "some_size", "some_ratio"),
    [
        ("evolink", "image", "gemini-3-pro-image-preview", ("text", "image"), "4K", "16:9"),
        ("jlike", "wan", "wan2.7-image", ("text",), "2K", "16:9"),
        ("fal", "image", "fal-ai/nano-banana", ("text", "image"), None, "16:9"),
    ],
)
def test_a_vendor_of_pictures(
    vendor: str, surface: str, model: str, inputs: tuple[str, ...], some_size: str | None, some_ratio: str
) -> None:
    found = profile(vendor, Profiles({}).data)
    jobs = surface_wire(found, surface, "https://v.example").jobs
    assert jobs is not None
    able = jobs.abilities(Target(vendor, model, surface=surface))
    assert (able.inputs, able.outputs) == (inputs, ("image",))
    assert some_ratio in able.ratios
    assert (some_size in able.sizes) if some_size else able.sizes == ()


def test_the_list_tells_it(gateway: Gateway) -> None:
    reply = gateway.http.get(f"{gateway.base_url}/v1/models", headers={"authorization": f"Bearer {KEY}"})
    cards = {card["id"]: card for card in reply.json()["data"]}
    assert cards["gemini-flash"]["architecture"]["output_modalities"] == ["text"]
    picture = cards["nano-banana-pro"]
    assert picture["architecture"] == {
        "input_modalities": ["text", "image"],
        "output_modalities": ["text", "image"],
    }
    assert picture["image_sizes"] == ["1K", "2K", "4K"]
    assert "16:9" in picture["aspect_ratios"]
