"""What a task writes down as plain JSON, and that it is the same when it is read again."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import orjson
import pytest

from proxy.errors import ErrorClass, ProxyError, RequestError, UpstreamError
from proxy.serve.record import (
    can_cancel,
    dump,
    files_of,
    load,
    plain_error,
    plain_told,
    read_error,
    read_told,
    read_usage,
    saved,
    text_of,
)
from proxy.serve.told import Charge, Told
from proxy.store.files import FileStore
from proxy.types import (
    Audio,
    Extra,
    Finish,
    Image,
    Logprobs,
    Native,
    PartialImage,
    Slice,
    Started,
    Text,
    Usage,
)
from tests.desks import listening
from tests.gateway import open_gateway
from tests.picture_vendors import GOOD
from tests.test_keeper import Log
from tests.test_tasks_crash import HEADERS

PICTURE = Slice(base64.b64encode(GOOD))


@pytest.mark.parametrize(
    ("event", "plain"),
    [
        (Started("r1", "m", created=5), {"kind": "Started", "id": "r1", "model": "m", "created": 5}),
        (Text("Hi", signature="s"), {"kind": "Text", "text": "Hi", "signature": "s"}),
        (
            Image("image/png", PICTURE, choice=1),
            {"kind": "Image", "mime": "image/png", "data": {"$file": "f1"}, "choice": 1},
        ),
        (
            Image("image/png", url="https://x.example/a", revised_prompt="A cat"),
            {
                "kind": "Image", "mime": "image/png", "url": "https://x.example/a", "revised_prompt": "A cat",
            },
        ),
        (
            Audio("audio/wav", PICTURE, id="a1"),
            {"kind": "Audio", "mime": "audio/wav", "data": {"$file": "f1"}, "id": "a1"},
        ),
        (
            Extra("google", {"seen": [PICTURE, {"b": 1.5}], "$file": "/etc/passwd", "$$file": None}),
            {
                "kind": "Extra",
                "vendor": "google",
                "values": {"seen": [{"$file": "f1"}, {"b": 1.5}], "$$file": "/etc/passwd", "$$$file": None},
            },
        ),
        (Logprobs([{"token": "a"}]), {"kind": "Logprobs", "content": [{"token": "a"}]}),
        (Usage(3, vendor={"cost": "0.2"}), {"kind": "Usage", "prompt": 3, "vendor": {"cost": "0.2"}}),
        (Finish("stop", "STOP"), {"kind": "Finish", "reason": "stop", "native": "STOP"}),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)  # fmt: skip
def test_an_event_is_the_same_when_it_is_read_again(event: Any, plain: Any) -> None:
    assert dump([event], lambda data: "f1" if data == PICTURE else None) == [plain]
    assert load(orjson.loads(text_of([plain])), {"f1": PICTURE}.get) == [event]


def test_what_is_told_again_elsewhere_is_not_written() -> None:
    assert dump([PartialImage("image/png", PICTURE), Native({"a": 1}), Text("Hi")], lambda _: "f1") == [
        {"kind": "Text", "text": "Hi"}
    ]


def test_a_picture_goes_with_its_file_and_its_address_stays() -> None:
    gone, unsaved = {"$file": "gone"}, {"$file": None}
    plain: Any = [
        {"kind": "Image", "mime": "image/png", "data": gone},
        {"kind": "Image", "mime": "image/png", "data": unsaved},
        {"kind": "Image", "mime": "image/png", "data": gone, "url": "https://x.example/a"},
        {"kind": "Audio", "mime": "audio/wav", "data": gone},
        {"kind": "Text", "text": "Hi"},
        {"kind": "Image", "mime": "image/png", "data": {"$file": "f1"}},
    ]
    assert load(plain, {"f1": PICTURE}.get) == [
        Image("image/png", url="https://x.example/a"),
        Text("Hi"),
        Image("image/png", PICTURE),
    ]
    assert files_of([*plain, {"kind": "Image", "mime": "image/png"}]) == ["gone", "gone", "f1"]


@pytest.mark.parametrize("why", ["no base64", "no folder"])
def test_a_picture_that_cannot_be_stored_is_told_to_the_log(tmp_path: Path, why: str) -> None:
    (tmp_path / "taken").write_text("a file")
    folder = tmp_path / ("taken" if why == "no folder" else "files")
    log = Log()
    services: Any = SimpleNamespace(files=FileStore(folder), log=log)
    assert saved(services, PICTURE if why == "no folder" else Slice(b"no!")) is None
    ((event, told),) = log.lines
    assert (event, list(told)) == ("picture_not_stored", ["reason"])


@pytest.mark.parametrize(
    ("error", "plain"),
    [
        (
            UpstreamError(
                ErrorClass.BLOCKED, "No", provider="p", status=451, code="c", param="x", retry_after_s=3.0,
                native="N", native_status=403, why="w", bought=False, by_piece=True, forbidden=True,
            ),
            {
                "class": "blocked", "message": "No", "status": 451, "code": "c", "param": "x",
                "retry_after_s": 3.0, "native": "N", "native_status": 403, "why": "w", "bought": False,
                "by_piece": True, "forbidden": True, "provider": "p",
            },
        ),
        (
            RequestError("No", param="p", attribute="a", code="c", status=409, headers={"x": "y"}),
            {
                "class": "request", "message": "No", "status": 409, "code": "c", "headers": {"x": "y"},
                "param": "p", "attribute": "a",
            },
        ),
        (
            ProxyError("No", status=503, code="c"),
            {"class": "proxy", "message": "No", "status": 503, "code": "c", "headers": {}},
        ),
    ],
    ids=["upstream", "request", "proxy"],
)  # fmt: skip
def test_an_error_is_the_same_when_it_is_read_again(error: ProxyError, plain: Any) -> None:
    assert plain_error(error) == plain
    again = read_error(orjson.loads(text_of(plain)))
    assert (type(again), str(again), vars(again)) == (type(error), "No", vars(error))


def test_of_a_fault_of_ours_nothing_but_its_happening_is_kept() -> None:
    plain = plain_error(ValueError("a client's words"))
    assert plain == {
        "class": "proxy",
        "message": "The task failed for a fault of the server's.",
        "code": "internal_error",
    }
    assert (read_error(plain).status, read_error(plain).code) == (500, "internal_error")


@pytest.mark.parametrize("charge", [Charge(Decimal("0.20"), "CNY"), None])
def test_what_was_told_is_the_same_when_it_is_read_again(charge: Charge | None) -> None:
    told = Told(target="a/b", dropped=("seed",), size="1K", images=2, lost=1, charge=charge)
    plain = plain_told(told)
    assert plain == {
        "target": "a/b",
        "dropped": ["seed"],
        "size": "1K",
        "images": 2,
        "lost": 1,
        "charge": ["0.20", "CNY"] if charge else None,
    }
    assert read_told(orjson.loads(text_of(plain))) == told


def test_the_last_word_on_what_was_counted_is_read() -> None:
    counts = dump([Usage(1), Text("Hi"), Usage(2, images=1), Finish("stop")], None)
    assert read_usage(counts) == Usage(2, images=1)
    assert read_usage(dump([Text("Hi")], None)) is None


def test_no_half_of_a_character_is_written() -> None:
    assert orjson.loads(text_of({"a": "\ud83d!"})) == {"a": "\N{REPLACEMENT CHARACTER}!"}


def accepted(**told: Any) -> Any:
    return {"state": "accepted", "told": told}


@pytest.mark.parametrize(
    ("orders", "can"),
    [
        ([], True),
        ([accepted(can_cancel=True)], True),
        ([accepted(can_cancel=True), accepted(can_cancel=False)], False),
        ([accepted()], False),
        ([{"state": "accepted"}], False),
        ([accepted(can_cancel=True), {"state": "intended", "told": {"can_cancel": True}}], False),
    ],
)
def test_a_task_can_be_called_off_where_all_its_orders_can(orders: list[Any], can: bool) -> None:
    assert can_cancel({str(number): order for number, order in enumerate(orders)}) is can


# --- at the front door


FILE = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
providers:
  google: {wire: gemini, base_url: "BASE/v1beta", keys: [env:VENDOR_KEY], private: true}
models:
  by-talk: {targets: [google/gemini-3-pro-image]}
server: {state: "sqlite:FOLDER/state/dragoman.db", files: {folder: "FOLDER/files"}}
"""


class Talker(BaseHTTPRequestHandler):
    """Draws, and says of its search what names a file of ours."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        drawn = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(GOOD).decode()}}
        facts = {"searchEntryPoint": {"$file": "../secret.txt"}, "retrievalMetadata": {"$$file": 1, "b": 2}}
        told = {"content": {"parts": [drawn]}, "finishReason": "STOP", "groundingMetadata": facts}
        body = json.dumps({"candidates": [told]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_a_vendor_whose_words_look_like_a_file_of_ours_is_handed_none(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("ours alone")
    with listening(Talker) as base:
        file = FILE.replace("BASE", base).replace("FOLDER", str(tmp_path))
        with open_gateway(tmp_path, file) as own:

            def ask() -> httpx.Response:
                body = {"model": "by-talk", "messages": [{"role": "user", "content": "Draw"}]}
                headers = HEADERS | {"idempotency-key": "once"}
                return own.http.post(f"{own.base_url}/v1/chat/completions", json=body, headers=headers)

            first, again = ask(), ask()
    assert again.headers["x-proxy-joined"] == "done"
    assert again.json()["choices"] == first.json()["choices"]
