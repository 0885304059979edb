"""The shipped file has every model that the five resellers' pages name, under the name that stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config import load
from proxy.keys import ClientKey
from proxy.routing.routes import Routes

ROOT = Path(__file__).resolve().parents[1]
KEYS = ("GEMINI", "JLIKE", "EVOLINK", "AIGCBEST", "GRSAI", "XIAOTIAN", "DASHSCOPE")


@pytest.fixture(scope="module")
def routes() -> Routes:
    found = load(ROOT / "providers.yaml", {f"{name}_API_KEY": "k" for name in KEYS})
    assert found.config is not None
    return Routes.of(found.config, found.off)


@pytest.mark.parametrize(
    ("vendor", "name"),
    [
        ("jlike.text", "gemini-3.1-pro-preview"),
        ("jlike.text", "gemini-3-flash-preview"),
        ("jlike.text", "gemini-3.1-flash-lite-preview"),
        ("jlike.image", "nano-banana"),
        ("jlike.image", "nano-banana-2"),
        ("jlike.image", "nano-banana-pro"),
        ("jlike.wan", "wan2.7-t2i-plus"),
        ("evolink", "gemini-3-pro-image-preview"),
        ("aigcbest", "gemini-2.0-flash-preview-image-generation"),
        ("aigcbest", "gemini-2.5-flash-image"),
        ("grsai", "nano-banana"),
        ("grsai", "nano-banana-fast"),
        ("grsai", "nano-banana-2"),
        ("grsai", "nano-banana-2-cl"),
        ("grsai", "nano-banana-2-4k-cl"),
        ("grsai", "nano-banana-pro"),
        ("grsai", "nano-banana-pro-vt"),
        ("grsai", "nano-banana-pro-cl"),
        ("grsai", "nano-banana-pro-vip"),
        ("grsai", "nano-banana-pro-4k-vip"),
        ("grsai", "gpt-image-2"),
        ("grsai", "gpt-image-2-vip"),
        ("xiaotian", "gemini-3-pro-image-preview"),
    ],
)
def test_a_model_of_a_page_is_had_by_its_name(routes: Routes, vendor: str, name: str) -> None:
    """`gpt-image-2-vip` was answered by Google's Nano Banana, for its name begins like OpenAI's others."""
    route = routes.resolve(name, ClientKey("app"))
    assert f"{vendor}/{name}" in [candidate.target.name for candidate in route.order()]
