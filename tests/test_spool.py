"""A picture of megabytes passes aside, in memory or through a file, and nobody can tell."""

import base64
import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.codec import jsonio
from proxy.codec.spill import REGION, SPILL_OVER, Spill, forget
from proxy.codec.spool import JsonSpool
from proxy.serve.exchange import Exchange
from proxy.types import ChatRequest, Image, Message, Slice, Target, TextPart
from proxy.upstream.payloads import decoder_for
from proxy.wires import chat_wire
from tests.long import LONG

pytestmark = pytest.mark.anyio

BIG = base64.b64encode(os.urandom(SPILL_OVER)).decode()


@pytest.fixture
def others() -> Iterator[None]:
    """Another has the region: what comes now goes into files."""
    held = Spill()
    yield
    del held


def place_of(picture: Slice) -> str:
    return {"bytearray": "memory", "mmap": "file"}[type(picture.raw.obj).__name__]


def spooled(raw: bytes, step: int = 65_536) -> JsonSpool:
    spool = JsonSpool()
    for at in range(0, len(raw), step):
        spool.feed(raw[at : at + step])
    return spool


def written(value: object) -> bytes:
    return b"".join(jsonio.dumps(value))


@pytest.mark.usefixtures("others")
def test_a_long_base64_string_lies_in_a_file_and_reads_the_same() -> None:
    raw = orjson.dumps({"before": "x", "parts": [{"data": BIG}, {"data": BIG}], "after": {"n": 1}})
    value = spooled(raw).value()
    picture = value["parts"][1]["data"]
    assert isinstance(picture, Slice)
    assert place_of(picture) == "file"
    assert written(value) == raw
    forget(picture.raw)
    assert str(picture) == BIG


def test_one_long_string_at_a_time_is_in_memory() -> None:
    raw = orjson.dumps({"data": BIG})
    pictures = [spooled(raw).value()["data"] for _ in range(3)]
    assert [*map(place_of, pictures)] == ["memory", "file", "file"]
    part = pictures[0].raw[9:]
    del pictures[0]
    assert place_of(spooled(raw).value()["data"]) == "file"
    assert bytes(part).decode() == BIG[9:]
    del part
    assert place_of(spooled(raw).value()["data"]) == "memory"
    assert {str(picture) for picture in pictures} == {BIG}


@pytest.mark.parametrize("more", [0, 1])
def test_what_is_more_than_the_region_moves_into_a_file(more: int) -> None:
    text = BIG + "A" * (REGION - len(BIG)) + "AAAA" * more
    picture = spooled(orjson.dumps({"data": text})).value()["data"]
    assert place_of(picture) == ("file" if more else "memory")
    assert str(picture) == text
    if more:
        assert place_of(spooled(orjson.dumps({"data": BIG})).value()["data"]) == "memory"


def test_what_was_left_in_the_middle_holds_no_memory() -> None:
    spooled(orjson.dumps({"data": BIG})[:-9])
    assert place_of(spooled(orjson.dumps({"data": BIG})).value()["data"]) == "memory"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"text": "word " * SPILL_OVER}, id="prose"),
        pytest.param({"text": "é" * SPILL_OVER}, id="not ascii"),
        pytest.param({"short": BIG[:100_000]}, id="stays in memory"),
        pytest.param({"numbers": [1.5] * 400_000, "x": "y"}, id="numbers"),
        pytest.param({"a": "~" * 40, "b": BIG}, id="tildes"),
    ],
)
def test_any_text_means_the_same_after_a_round_trip(value: object) -> None:
    raw = orjson.dumps(value)
    assert orjson.loads(written(spooled(raw).value())) == value
    assert spooled(raw).text() == raw


def test_escaped_slashes_are_undone() -> None:
    """Some servers write every slash as \\/ ."""
    raw = orjson.dumps({"data": BIG}).replace(b"/", b"\\/")
    assert orjson.loads(written(spooled(raw).value())) == {"data": BIG}


@pytest.mark.parametrize("cut", [1, 500_000, SPILL_OVER + 200_000])
def test_a_text_that_is_cut_is_refused_and_can_be_shown(cut: int) -> None:
    raw = orjson.dumps({"data": BIG})[:-cut]
    spool = spooled(raw)
    with pytest.raises(jsonio.JSONDecodeError):
        spool.value()
    assert spool.text() == raw


@settings(max_examples=20 * LONG)
@given(st.integers(1, 300_000), st.sampled_from([b"\n\n", b"\r\n\r\n"]))
def test_a_streamed_picture_is_read_however_it_is_cut(step: int, end: bytes) -> None:
    """G-184"""
    events = [{"n": 1}, {"data": BIG}, {"n": 2}, {"data": "AAAA" + BIG}]
    raw = b"".join(b"data: " + orjson.dumps(event) + end for event in events)
    decoder = decoder_for("text/event-stream", raw[:step])
    found = [one for at in range(0, len(raw), step) for one in decoder.feed(raw[at : at + step])]
    found += decoder.close()
    assert decoder.error is None
    assert [orjson.loads(written(one)) for one in found] == events


def rss_file_kb() -> int:
    """Memory that is mapped from files."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssFile:")[2].split()[0])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
async def test_a_picture_that_was_sent_does_not_stay_in_memory() -> None:
    raw = b'{"data":"' + b"iVBORw0KGgo" + b"A" * (16 << 20) + b'"}'
    picture = spooled(raw).value()["data"].raw
    sent = 0

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal sent
        sent += len(bytes(message.get("body", b"")))

    exchange = Exchange({"headers": []}, send, send)  # type: ignore[arg-type]
    before = rss_file_kb()
    await exchange.write([picture])
    assert sent == len(picture)
    assert rss_file_kb() - before < 4096


PICTURE_FROM = {
    "gemini": {
        "candidates": [
            {
                "content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "DATA"}}]},
                "finishReason": "STOP",
            }
        ]
    },
    "openai": {
        "choices": [
            {
                "message": {"content": "", "images": [{"image_url": {"url": "data:image/png;base64,DATA"}}]},
                "finish_reason": "stop",
            }
        ]
    },
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("wire", PICTURE_FROM)
async def test_a_picture_that_is_handed_on_does_not_come_into_memory(wire: str) -> None:
    """Nor is it read again: it was looked at when it was cut out."""
    data = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(12 << 20)).decode()
    payload = spooled(json.dumps(PICTURE_FROM[wire]).replace("DATA", data).encode()).value()
    target = Target("v", "m", options={"makes_images": True} if wire == "openai" else {})
    request = ChatRequest("m", (Message("user", (TextPart("A fox"),), 0),))
    speaks = chat_wire(wire)
    reader = speaks.reader(request, target, speaks.build(request, target))
    before = rss_file_kb()
    (image,) = [event for event in reader.feed(payload) if isinstance(event, Image)]
    assert image.data is not None
    assert len(image.data) == len(data)
    assert rss_file_kb() - before < 4096


# --- where files have no room

SCRIPT = """
import base64, os, resource, sys, tempfile
from proxy.codec import base64_text, jsonio
from proxy.codec.spill import REGION, Spill
from proxy.codec.spool import JsonSpool
others = Spill()
big = base64.b64encode(os.urandom(4 << 20))
raw = b'{"a":"' + big + b'","b":"' + big + b'","c":1}'

def read():
    spool = JsonSpool()
    for at in range(0, len(raw), 65536):
        spool.feed(raw[at : at + 65536])
    return spool.value()

def encoded():
    encoder = base64_text.Encoder()
    data = base64.b64decode(big)
    for at in range(0, len(data), 65537):
        encoder.write(data[at : at + 65537])
    return encoder.finish()

%s
value = read()
assert b"".join(jsonio.dumps(value)) == raw
made = encoded()
assert bytes(made.raw) == big
print(*(type(one.raw.obj).__name__ for one in (value["a"], value["b"], made)))
"""


@pytest.mark.parametrize(
    ("trouble", "kept_in"),
    [
        pytest.param("", "mmap mmap mmap", id="none"),
        pytest.param(
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1_700_001, 1_700_001))",
            "bytearray bytearray bytearray",
            id="the disk takes a part of a write",
        ),
        pytest.param(
            "del others\nbig = base64.b64encode(os.urandom(12 << 20))\n"
            """raw = b'{"a":"' + big + b'","b":"' + big + b'","c":1}'\n"""
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1_700_001, 1_700_001))",
            "bytearray bytearray bytearray",
            id="the disk takes a part of what moves",
        ),
        pytest.param(
            "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))",
            "bytearray bytearray bytearray",
            id="no descriptor is left",
        ),
        pytest.param(
            "held = [os.open('/dev/null', os.O_RDONLY) for _ in range(80)]\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))",
            "bytearray bytearray bytearray",
            id="the last descriptors are left to connections",
        ),
        pytest.param(
            "tempfile.tempdir = '/nowhere/at/all'", "bytearray bytearray bytearray", id="the folder is gone"
        ),
    ],
)
def test_without_room_for_files_a_picture_stays_in_memory(trouble: str, kept_in: str) -> None:
    printed = subprocess.run(
        [sys.executable, "-c", SCRIPT % trouble], capture_output=True, text=True, check=False
    )
    assert (printed.stdout.strip(), printed.stderr) == (kept_in, "")


@pytest.mark.usefixtures("others")
def test_descriptors_are_back_when_the_last_reference_is_gone() -> None:
    gc.disable()
    try:
        before = len(os.listdir("/dev/fd"))
        value = spooled(orjson.dumps({"a": BIG, "b": [BIG, BIG]})).value()
        unfinished = spooled(orjson.dumps({"a": BIG})[:-9])
        written(value)
        assert len(os.listdir("/dev/fd")) > before
        del value, unfinished
        assert len(os.listdir("/dev/fd")) == before
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("bad", "read"),
    [(b"\n", None), (b"\x01", None), (b"\xff", "\ufffd"), (b"\\ud83d", "\ufffd"), (b"\\/", "/"), (b" ", " ")],
)
@pytest.mark.parametrize("place", [80, SPILL_OVER // 2, SPILL_OVER + 100_000])
def test_nothing_strange_in_a_spooled_picture_passes_unparsed(
    place: int, bad: bytes, read: str | None
) -> None:
    raw = b'{"a":"' + BIG[:place].encode() + bad + BIG[place:].encode() + b'","b":"' + BIG.encode() + b'"}'
    spool = spooled(raw)
    if read is None:
        with pytest.raises(jsonio.JSONDecodeError):
            spool.value()
        assert spool.text() == raw
        return
    value = spool.value()
    assert str(value["a"]) == BIG[:place] + read + BIG[place:]
    assert str(value["b"]) == BIG


def test_a_spooled_picture_behind_an_escaped_quote_stays_in_its_string() -> None:
    value = {"a": 'say "' + BIG, "b": json.dumps({"image": BIG}), BIG: 1}
    assert spooled(orjson.dumps(value)).value() == value


def test_the_head_of_a_text_is_read_through_its_pictures() -> None:
    raw = b'["' + BIG.encode() + b'","' + BIG.encode() + b'",'
    assert spooled(raw).head(1_500_000) == raw[:1_500_000]


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
def test_half_a_character_does_not_lose_a_reply(content_type: str) -> None:
    whole = b'{"text":"a\\ud83d b","data":"' + BIG.encode() + b'","x":"\xff"}'
    raw = b"data: " + whole + b"\n\n" if "event" in content_type else b"\xef\xbb\xbf" + whole
    decoder = decoder_for(content_type, raw[:65536])
    found = [one for at in range(0, len(raw), 65536) for one in decoder.feed(raw[at : at + 65536])]
    found += decoder.close()
    assert decoder.error is None
    (value,) = found
    assert place_of(value["data"]) == "memory"
    assert (value["text"], value["x"], str(value["data"])) == ("a\ufffd b", "\ufffd", BIG)


@pytest.mark.parametrize(
    ("content_type", "before", "after"),
    [
        pytest.param("application/json", b"", b"", id="whole"),
        pytest.param("application/json", b"[", b"]", id="array"),
        pytest.param("text/event-stream", b"data: ", b"\n\n", id="event"),
        pytest.param("text/event-stream", b"event: x\ndata:", b"", id="event without end"),
        pytest.param("application/x-ndjson", b"", b"\n", id="line"),
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("step", [1, 10_000])
def test_broken_characters_do_not_lose_a_small_reply(
    content_type: str, before: bytes, after: bytes, mark: bytes, step: int
) -> None:
    raw = mark + before + b'{"text":"a\\ud83d b\xff"}' + after
    decoder = decoder_for(content_type, raw[: max(step, 8)])
    found = [one for at in range(0, len(raw), step) for one in decoder.feed(raw[at : at + step])]
    assert [*found, *decoder.close()] == [{"text": "a\ufffd b\ufffd"}]
    assert decoder.error is None


def test_pictures_in_a_streamed_array_are_spooled() -> None:
    raw = orjson.dumps([{"n": 1, "data": BIG}, {"data": "AAAA" + BIG, "t": "\\"}])
    decoder = decoder_for("application/json", raw[:10])
    found = [one for at in range(0, len(raw), 65536) for one in decoder.feed(raw[at : at + 65536])]
    found += decoder.close()
    assert decoder.error is None
    assert [place_of(one["data"]) for one in found] == ["memory", "file"]
    assert [orjson.loads(written(one)) for one in found] == orjson.loads(raw)
