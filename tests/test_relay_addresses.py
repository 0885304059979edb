"""Chat relays that give a picture by address: it is fetched while it is there, and handed on inline."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.gateway import FILE, Gateway, open_gateway
from tests.picture_vendors import GOOD, of_url, post, size_of, watching
from tests.vendor_socket import read_request, vendor

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
@pytest.mark.parametrize("fault", ["503", "403", "html", "lie"])
def test_a_file_host_that_fails_once_is_asked_again(gateway: Gateway, stream: bool, fault: str) -> None:
    """403: a store of objects says so of what is not there yet; a page: so do hosts that stumble"""
    prompt = f"A tree {stream} {fault} sim:file:once:{fault}"
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


# --- several, of which some are gone


def relay(connection: socket.socket) -> None:
    """Answers a chat with a picture for each word of it, by address; where it is `gone` stands a page."""
    while True:
        request = read_request(connection)
        if request.startswith(b"POST"):
            _answer(connection, b"application/json", _chat(request))
        elif b"gone" in request.partition(b"\r\n")[0]:
            _answer(connection, b"text/html", b"<html>gone</html>")
        else:
            _answer(connection, b"image/png", GOOD)


def _chat(request: bytes) -> bytes:
    head, _, body = request.partition(b"\r\n\r\n")
    host = head.lower().partition(b"\r\nhost: ")[2].partition(b"\r\n")[0].decode()
    words = json.loads(body)["messages"][0]["content"].split()
    images = [{"type": "image_url", "image_url": {"url": f"http://{host}/{word}.png"}} for word in words]
    message = {"role": "assistant", "content": "Here", "images": images}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "1", "object": "chat.completion", "choices": [choice]}).encode()


def _answer(connection: socket.socket, kind: bytes, body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, len(body))
    connection.sendall(head + body)


@pytest.fixture(scope="module")
def relayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with vendor(relay) as base_url:
        file = FILE.replace("http://SIMULATORS/openai", base_url)
        with open_gateway(tmp_path_factory.mktemp("relayed"), file) as own:
            yield own


def drawn(gateway: Gateway, words: str) -> httpx.Response:
    messages = [{"role": "user", "content": words}]
    return post(
        gateway,
        "chat/completions",
        {"model": "lan-chat", "messages": messages, "image_output": "images"},
    )


@pytest.mark.parametrize("words", ["gone two three", "one two gone"])
def test_a_picture_that_is_gone_does_not_take_the_others_with_it(relayed: Gateway, words: str) -> None:
    reply = drawn(relayed, words)
    assert (reply.status_code, reply.headers["x-proxy-partial"]) == (200, "2/3")
    images = reply.json()["choices"][0]["message"]["images"]
    data = "data:image/png;base64," + base64.b64encode(GOOD).decode()
    assert [image["image_url"]["url"] for image in images] == [data, data]


def test_when_all_pictures_are_gone_it_is_an_error_that_nobody_repeats(relayed: Gateway) -> None:
    reply = drawn(relayed, "gone-1 gone-2")
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_result_unavailable")
    assert reply.headers["x-should-retry"] == "false"
