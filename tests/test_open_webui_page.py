"""Open WebUI's own page in a browser over the shipped file: pictures show, also when it is loaded again.

Beside OPEN_WEBUI (see test_open_webui.py) it takes `pip install playwright` where the tests run, and
CHROMIUM=/path/of/chromium.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.open_webui import ANSWER_S, COMMAND, KEY, MODEL, TITLE, free_port, open_webui, requests
from tests.served import ROOT, serving

CHROMIUM = os.environ.get("CHROMIUM", "")
SHOWN = """count => {
    const pictures = [...document.querySelectorAll('.chat-assistant img[alt="image"]')];
    return pictures.length === count && pictures.every(picture => picture.naturalWidth === 1024);
}"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not COMMAND or not CHROMIUM or importlib.util.find_spec("playwright") is None,
        reason="slow: OPEN_WEBUI or CHROMIUM names no command to run, or playwright is missing",
    ),
]


@contextmanager
def opened(address: str) -> Iterator[Any]:
    """Its page in a browser, past the release notes of the first visit."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(ANSWER_S * 1000)
            page.goto(address)
            page.get_by_text("Okay, Let's Go!").click()
            yield page
        finally:
            browser.close()


def choose(page: Any, model: str) -> None:
    page.locator("#model-selector-model-button").click()
    page.keyboard.type(model)
    page.locator(f'[data-value="{model}"]').click()


def ask(page: Any, text: str) -> None:
    page.locator("#chat-input").click()
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def answers(page: Any) -> list[str]:
    return [str(text) for text in page.locator(".chat-assistant").all_inner_texts()]


@pytest.mark.parametrize("public", [True, False], ids=["public_url", "no public_url"])
def test_pictures_show_and_the_second_edits_the_first(tmp_path: Path, public: bool) -> None:
    port = free_port()
    environment = {"DRAGOMAN_KEY": KEY} | ({"PUBLIC_URL": f"http://127.0.0.1:{port}"} if public else {})
    file = (ROOT / "providers.yaml").read_text(encoding="utf-8")
    with (
        serving(tmp_path, file, "--simulate", "--port", str(port), environment=environment) as served,
        open_webui(tmp_path / "open-webui", served.base_url) as client,
        opened(str(client.base_url)) as page,
    ):
        choose(page, MODEL)
        ask(page, "Draw a red cat")
        page.wait_for_function(SHOWN, arg=1)
        page.get_by_text("Follow up").wait_for()
        page.get_by_role("button", name="Open Sidebar").first.click()
        page.locator("#sidebar").get_by_text(TITLE).first.wait_for()
        ask(page, "now make it blue")
        page.wait_for_function(SHOWN, arg=2)
        said = answers(page)
        page.reload()
        page.wait_for_function(SHOWN, arg=2)
        asked = requests(served)

        ask(page, "sim:finish:IMAGE_SAFETY")
        page.get_by_text("Unable to show the generated image.").wait_for()

    assert "I received: image/png 1024x1024 pixels" in said[1]
    assert [line["images"] for line in asked if line["model"] == MODEL] == [1, 1]
    assert all(line["status"] == 200 for line in asked)
