"""Nothing of a request is left to the collector: what held a picture is free when the request is over."""

from __future__ import annotations

import base64
import gc
import json
import mmap
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from uvicorn.server import ServerState

from proxy.fronts.image_modes import MODES
from proxy.types import Slice
from tests.gateway import KEY, Gateway, open_gateway
from tests.picture_vendors import HEAD, providers
from tests.raw_http import PATIENCE_S, arrived, last_number

PICTURE = b"\x89PNG\r\n\x1a\n" + os.urandom(3 << 20)
# What stands for it in the requests until they are sent: a hundred of them, of four megabytes each.
IN_BASE64, IN_A_FORM = "@picture in base64@", b"@picture@"
DATA_URL = f"data:image/png;base64,{IN_BASE64}"
FORM = "multipart/form-data; boundary=XX"
MOST_BYTES = 256 << 10  # what one thing that was left behind may hold

CALLED_OFF = "private: true, on_disconnect: cancel"  # else what was left would be finished, and take its time
FILE = (
    HEAD.replace("private: true", CALLED_OFF)
    + "  lan: {wire: openai, base_url: 'http://SIMULATORS/openai/v1', keys: [env:VENDOR_KEY], "
    "private: true}\n"
    + providers("jlike", "fal", "seedream", extra=CALLED_OFF)
    + """models:
  google: {targets: [google/gemini-3-flash-preview], price: {input: 1, output: 2}}
  lan: {targets: [lan/llama]}
  image: {targets: [google/gemini-3-pro-image], price: {input: 1, output: 2, image: 0.1}}
  inline: {targets: [jlike.image/nano-banana-2], poll: {every: 20ms}}
  queue: {targets: [fal/fal-ai/nano-banana-pro], poll: {every: 20ms}}
  sync: {targets: [seedream/doubao-seedream-4-0]}
"""
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gc.collect()
    gc.freeze()  # what was there before is nobody's leftover, and large: each look would go through it
    with open_gateway(tmp_path_factory.mktemp("garbage"), FILE) as opened:
        yield opened


def chat(model: str, prompt: str, **fields: Any) -> tuple[str, bytes, str]:
    content = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": DATA_URL}}]
    body = {"model": model, "messages": [{"role": "user", "content": content}], **fields}
    return "chat/completions", json.dumps(body).encode(), "application/json"


def native(model: str, prompt: str, verb: str = "generateContent", **fields: Any) -> tuple[str, bytes, str]:
    picture = {"inlineData": {"mimeType": "image/png", "data": IN_BASE64}}
    body = {"contents": [{"parts": [{"text": prompt}, picture]}], **fields}
    return f"models/{model}:{verb}", json.dumps(body).encode(), "application/json"


def message(model: str, prompt: str, **fields: Any) -> tuple[str, bytes, str]:
    source = {"type": "base64", "data": IN_BASE64}
    content = [{"type": "text", "text": prompt}, {"type": "image", "source": source}]
    body = {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": content}], **fields}
    return "messages", json.dumps(body).encode(), "application/json"


def picture(model: str, prompt: str, **fields: Any) -> tuple[str, bytes, str]:
    return "images/generations", json.dumps({"model": model, "prompt": prompt, **fields}).encode(), ""


def edit(model: str, prompt: str, **fields: Any) -> tuple[str, bytes, str]:
    said = {"model": model, "prompt": prompt, **fields}.items()
    parts = [
        *(f'content-disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in said),
        b'content-disposition: form-data; name="image"; filename="a.png"\r\ncontent-type: image/png\r\n\r\n'
        + IN_A_FORM,
    ]
    return "images/edits", b"".join(b"--XX\r\n%b\r\n" % part for part in parts) + b"--XX--\r\n", FORM


def broken(path: str, body: bytes, kind: str) -> tuple[str, bytes, str]:
    return path, body[:-1], kind


def opened(gateway: Gateway, path: str, body: bytes, kind: str) -> socket.socket:
    """A connection on which the request was sent."""
    body = body.replace(IN_BASE64.encode(), base64.b64encode(PICTURE)).replace(IN_A_FORM, PICTURE)
    address = httpx.URL(gateway.base_url)
    connection = socket.create_connection((address.host, address.port or 0), PATIENCE_S)
    head = (
        f"POST /v1/{path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: {kind or 'application/json'}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def answered(gateway: Gateway, request: tuple[str, bytes, str]) -> int:
    """The status of the answer, read to its end."""
    with opened(gateway, *request) as connection:
        first = connection.recv(1 << 16)
        while connection.recv(1 << 20):
            pass
    return int(first.split(b" ")[1])


def left(gateway: Gateway, request: tuple[str, bytes, str]) -> None:
    """Hang up while the vendor is at work."""
    before = last_number(gateway)
    with opened(gateway, *request):
        arrived(gateway, before)


def leftovers(work: Callable[[], object]) -> list[str]:
    """The kinds of what the work has left to the collector, when a large thing is among it."""
    gc.collect()
    gc.disable()
    try:
        work()
        until_idle()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found, gc.garbage[:] = list(gc.garbage), []
    finally:
        gc.set_debug(0)
        gc.enable()
    large = any(size_of(one) > MOST_BYTES for thing in found for one in (thing, *gc.get_referents(thing)))
    return sorted({kind_of(thing) for thing in found}) if large else []


def until_idle() -> None:
    """Until neither the gateway nor a vendor answers a request."""
    states = [thing for thing in gc.get_objects() if isinstance(thing, ServerState)]
    deadline = time.monotonic() + PATIENCE_S
    while any(state.tasks for state in states) and time.monotonic() < deadline:
        time.sleep(0.002)


def size_of(thing: Any) -> int:
    return len(thing) if isinstance(thing, Slice | memoryview | mmap.mmap | bytes | bytearray) else 0


def kind_of(thing: Any) -> str:
    if type(thing).__name__ == "frame":
        held = [name for name, value in thing.f_locals.items() if isinstance(value, BaseException)]
        return f"frame of {thing.f_code.co_qualname}, holding {held}"
    return repr(thing)[:100] if isinstance(thing, BaseException) else type(thing).__qualname__


CHATS = ["google", "lan"]
STREAMED = "streamGenerateContent?alt=sse"
PICTURES = ["image", "inline", "queue", "sync"]
EDITS = ["image", "queue", "sync"]

ANSWERED = {
    **{f"chat {model}": (chat(model, "hi"), 200) for model in CHATS},
    **{f"chat {model} streamed": (chat(model, "hi", stream=True), 200) for model in CHATS},
    **{f"chat {model} with a bad field": (chat(model, "hi", max_tokens="x"), 400) for model in CHATS},
    "chat of an unknown model": (chat("unknown", "hi"), 404),
    **{f"message of {model}": (message(model, "hi"), 200) for model in CHATS},
    **{f"message of {model} streamed": (message(model, "hi", stream=True), 200) for model in CHATS},
    "message with a bad field": (message("google", "hi", max_tokens="x"), 400),
    "message refused": (message("google", "hi sim:error:400"), 400),
    "message cut": (message("google", "hi sim:cut:1"), 500),
    "message streamed, cut": (message("google", "hi sim:cut:1", stream=True), 200),
    "message with a picture": (message("image", "draw sim:big:4"), 200),
    "message with a picture streamed": (message("image", "draw sim:big:4", stream=True), 200),
    "message with a picture in its text": (
        message("image", "draw sim:big:4", image_output="markdown", stream=True),
        200,
    ),
    **{f"native {model}": (native(model, "hi"), 200) for model in CHATS},
    **{f"native {model} streamed": (native(model, "hi", STREAMED), 200) for model in CHATS},
    "native with a bad field": (native("google", "hi", tools=5), 400),
    "native refused": (native("google", "hi sim:error:400"), 400),
    "native streamed, cut": (native("google", "hi sim:chunks:6 sim:gap:50 sim:cut:3", STREAMED), 200),
    "native with a picture": (native("image", "draw sim:big:4"), 200),
    "native with a picture streamed": (native("image", "draw sim:big:4", STREAMED), 200),
    "native with a picture as an array": (native("image", "draw sim:big:4", "streamGenerateContent"), 200),
    "chat of broken JSON": (broken(*chat("google", "hi")), 400),
    "chat with a picture": (chat("image", "draw sim:big:4"), 200),
    "chat with a picture streamed": (chat("image", "draw sim:big:4", stream=True), 200),
    **{
        f"chat with pictures as {mode}{' streamed' if stream else ''}": (
            chat("image", "draw sim:big:4", image_output=mode, stream=stream),
            200,
        )
        for mode in MODES
        for stream in (False, True)
    },
    "chat with links, without a picture": (chat("google", "hi", image_output="images+link"), 200),
    "chat with links, refused": (chat("image", "hi sim:error:400", image_output="link"), 400),
    "chat with links, drawn by a queue": (chat("queue", "draw", image_output="images+link"), 200),
    **{f"picture {model}": (picture(model, "draw sim:big:4"), 200) for model in PICTURES},
    **{
        f"picture {model} streamed": (picture(model, "draw sim:big:4", stream=True), 200)
        for model in PICTURES
    },
    **{f"picture {model} as webp": (picture(model, "draw", output_format="webp"), 200) for model in PICTURES},
    "picture inline refused": (picture("inline", "draw sim:http:400"), 400),
    "picture inline cut": (picture("inline", "draw sim:badjson"), 502),
    "picture queue without its file": (picture("queue", "draw sim:big:4 sim:file:404"), 502),
    "picture queue with its file cut": (picture("queue", "draw sim:big:4 sim:file:cut"), 502),
    **{f"edit {model}": (edit(model, "draw sim:big:4"), 200) for model in EDITS},
    **{
        f"chat {model} {order}": (chat(model, f"hi {order}"), status)
        for model in CHATS
        for order, status in {
            "sim:error:400": 400,
            "sim:error:503": 503,
            "sim:cut:1": 502,
            "sim:drop": 502,
        }.items()
    },
    "chat google streamed, cut": (chat("google", "hi sim:cut:1", stream=True), 200),
    "chat lan streamed, cut": (chat("lan", "hi sim:cut:1", stream=True), 502),
    "chat with three choices": (chat("google", "hi", n=3), 200),
    "chat with three choices refused": (chat("google", "hi sim:error:400", n=3), 400),
    "chat with a picture cut": (chat("image", "draw sim:cut:0"), 502),
    "chat with a picture streamed, cut": (chat("image", "draw sim:big:4 sim:cut:1", stream=True), 200),
    "pictures, three of them": (picture("image", "draw sim:big:2", n=3), 200),
    "edit image refused": (edit("image", "draw sim:error:400"), 400),
    "edit queue refused": (edit("queue", "draw sim:http:400"), 400),
    "edit sync refused": (edit("sync", "draw sim:http:400"), 400),
    "edit queue, three of them": (edit("queue", "draw", n=6), 200),
}

LEFT = {
    **{f"chat {model}": chat(model, "hi sim:slow:30") for model in CHATS},
    **{f"chat {model} streamed": chat(model, "hi sim:slow:30", stream=True) for model in CHATS},
    **{f"message of {model}": message(model, "hi sim:slow:30", stream=True) for model in CHATS},
    **{f"native {model}": native(model, "hi sim:slow:30") for model in CHATS},
    **{f"native {model} streamed": native(model, "hi sim:slow:30", STREAMED) for model in CHATS},
    "chat with links": chat("google", "hi sim:slow:30", image_output="images+link"),
    **{f"picture {model}": picture(model, "draw sim:slow:30 sim:polls:1000") for model in PICTURES},
    **{f"edit {model}": edit(model, "draw sim:slow:30 sim:polls:1000") for model in EDITS},
}


@pytest.mark.parametrize("name", ANSWERED)
def test_what_was_answered_is_free(gateway: Gateway, name: str) -> None:
    request, status = ANSWERED[name]
    found = []
    assert leftovers(lambda: found.append(answered(gateway, request))) == []
    assert found == [status]


@pytest.mark.parametrize("name", LEFT)
def test_what_nobody_waits_for_any_more_is_free(gateway: Gateway, name: str) -> None:
    assert leftovers(lambda: left(gateway, LEFT[name])) == []


def test_a_cycle_that_holds_a_picture_is_seen() -> None:
    def work() -> None:
        cycle: list[Any] = [bytes(1 << 20)]
        cycle.append(cycle)

    assert "list" in leftovers(work)  # what loads meanwhile may leave something too
