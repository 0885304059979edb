"""A size that nobody can read: refused whoever is asked, and never left out for a picture that is bought."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway import Gateway, open_gateway
from tests.picture_vendors import HEAD, post, providers, watching

FILE = (
    HEAD
    + providers("aigcbest", "jlike", "midjourney-proxy", "xiaotian")
    + """
models:
  banana:
    targets: [google/gemini-3-pro-image]
    fallback: [jlike.image/nano-banana-pro, xiaotian/gemini-3-pro-image-preview]
  aigcbest: {targets: [aigcbest/gemini-2.5-flash-image]}
  mj: {targets: [midjourney-proxy/midjourney], poll: {every: 30ms}}
"""
)
TURN = [{"role": "user", "content": "A fox"}]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("sizes"), FILE) as opened:
        yield opened


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        pytest.param("images/generations", {"prompt": "A fox", "size": "1024by1024"}, "size", id="pictures"),
        pytest.param("images/generations", {"prompt": "A fox", "image_size": "9K"}, "image_size", id="tier"),
        pytest.param("chat/completions", {"messages": TURN, "size": "big"}, "size", id="chat"),
        pytest.param(
            "chat/completions",
            {"messages": TURN, "image_config": {"aspect_ratio": "wide"}},
            "image_config.aspect_ratio",
            id="ratio of a chat",
        ),
    ],
)
@pytest.mark.parametrize("model", ["banana", "aigcbest", "mj"])
def test_a_size_that_nobody_can_read_is_refused_by_name(
    gateway: Gateway, model: str, path: str, body: dict[str, Any], param: str
) -> None:
    """I-019: the last target takes no sizes; asked after the others had refused, it sold a picture."""
    with watching(gateway) as seen:
        reply = post(gateway, path, {"model": model, **body})
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["code"]) == (400, param, "invalid_value")
    assert seen.exchanges() == []


def test_a_size_that_is_read_and_not_taken_is_named(gateway: Gateway) -> None:
    reply = post(gateway, "images/generations", {"model": "aigcbest", "prompt": "A fox", "size": "16:9"})
    assert (reply.status_code, reply.headers["x-proxy-dropped"]) == (200, "size")
