"""The second turn of a chat with a model that makes pictures: the first turn's stands in the history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway import Gateway, open_gateway
from tests.picture_vendors import DATA_URI, HEAD, post, providers, watching

FILE = (
    HEAD
    + providers("jlike", "grsai")
    + """
models:
  wan: {targets: [jlike.wan/wan2.7-t2i-plus], poll: {every: 30ms}}
  banana: {targets: [jlike.image/nano-banana-pro], fallback: [grsai/nano-banana-pro], poll: {every: 30ms}}
"""
)
FIRST = {"role": "user", "content": "A cat"}
DRAWN = {"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": DATA_URI}}]}
SECOND = {"role": "user", "content": "Now a dog"}
OWN = {
    "role": "user",
    "content": [{"type": "text", "text": "Like this"}, {"type": "image_url", "image_url": {"url": DATA_URI}}],
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("turns"), FILE) as opened:
        yield opened


def asked(gateway: Gateway, model: str, *messages: Any, **more: Any) -> Any:
    return post(gateway, "chat/completions", {"model": model, "messages": messages, **more})


@pytest.mark.parametrize("model", ["wan", "jlike.image/nano-banana-2"])
def test_a_model_that_takes_no_pictures_draws_the_next_one(gateway: Gateway, model: str) -> None:
    """000: Wan and Nano Banana are made from text there. What is not carried is named."""
    with watching(gateway) as seen:
        reply = asked(gateway, model, FIRST, DRAWN, SECOND)
    assert (reply.status_code, reply.headers["x-proxy-dropped"]) == (200, "messages[0], messages[1]")
    (order,) = seen.submits()
    assert (order.body["prompt"], order.body["n"]) == ("Now a dog", 1)


def test_a_picture_of_the_client_s_own_is_still_refused(gateway: Gateway) -> None:
    reply = asked(gateway, "wan", FIRST, DRAWN, OWN)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "unsupported_image_input")


def test_another_target_that_edits_is_asked_instead(gateway: Gateway) -> None:
    """003: grsai takes pictures."""
    with watching(gateway) as seen:
        assert asked(gateway, "banana", FIRST, DRAWN, SECOND).status_code == 200
    (order,) = seen.submits()
    assert (order.vendor, order.body["prompt"], order.body["images"]) == ("grsai", "Now a dog", [DATA_URI])
