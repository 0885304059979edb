"""Chat relays that give a picture by address: it is fetched while it is there, and handed on inline."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.gateway import Gateway
from tests.picture_vendors import of_url, size_of, watching

EVERY_WAY = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture
def gateway(pictures_gateway: Gateway) -> Gateway:
    return pictures_gateway


def picture(gateway: Gateway, prompt: str, stream: bool) -> str:
    """The address in `images` of a chat with a relay that answers in shape b."""
    messages: Any = [{"role": "user", "content": f"{prompt} sim:shape:b"}]
    extra = {"image_output": "images"}
    made: Any = gateway.client().chat.completions.create(
        model="aigcbest", messages=messages, extra_body=extra, stream=stream
    )
    if not stream:
        (image,) = made.choices[0].message.images
        return str(image["image_url"]["url"])
    deltas = [chunk.choices[0].delta for chunk in made if chunk.choices]
    (image,) = [image for delta in deltas for image in getattr(delta, "images", None) or ()]
    return str(image["image_url"]["url"])


@EVERY_WAY
def test_the_picture_comes_inline_and_without_our_key(gateway: Gateway, stream: bool) -> None:
    """V-017"""
    with watching(gateway) as seen:
        assert size_of(of_url(picture(gateway, f"A house {stream}", stream))) == (1024, 1024)
    assert len(seen.submits()) == 1
    assert gateway.vendors.log.counts["files.credentials"] == 0


@EVERY_WAY
def test_a_file_host_that_fails_once_is_asked_again(gateway: Gateway, stream: bool) -> None:
    prompt = f"A tree {stream} sim:file:once:503"
    assert size_of(of_url(picture(gateway, prompt, stream))) == (1024, 1024)


@EVERY_WAY
@pytest.mark.parametrize("fault", ["404", "html", "lie"])
def test_a_picture_that_cannot_be_had_is_not_ordered_again(
    gateway: Gateway, stream: bool, fault: str
) -> None:
    with watching(gateway) as seen, pytest.raises(openai.APIError) as caught:
        picture(gateway, f"A ship {stream} sim:file:{fault}", stream)
    assert caught.value.code == "upstream_result_unavailable"
    assert len(seen.submits()) == 1


def test_what_was_made_but_not_had_is_not_to_be_retried(gateway: Gateway) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        picture(gateway, "A cup sim:file:404", stream=False)
    assert caught.value.status_code == 502
    assert caught.value.response.headers["x-should-retry"] == "false"
