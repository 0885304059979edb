"""A picture of megabytes passes through a file, and nobody can tell."""

import base64
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.codec import jsonio
from proxy.codec.spool import SPOOL_OVER, JsonSpool, forget
from proxy.serve.exchange import Exchange
from proxy.types import Slice
from proxy.upstream.payloads import decoder_for

pytestmark = pytest.mark.anyio

BIG = base64.b64encode(os.urandom(SPOOL_OVER)).decode()


def spooled(raw: bytes, step: int = 65_536) -> JsonSpool:
    spool = JsonSpool()
    for at in range(0, len(raw), step):
        spool.feed(raw[at : at + step])
    return spool


def written(value: object) -> bytes:
    return b"".join(jsonio.dumps(value))


def test_a_long_base64_string_lies_in_a_file_and_reads_the_same() -> None:
    raw = orjson.dumps({"before": "x", "parts": [{"data": BIG}, {"data": BIG}], "after": {"n": 1}})
    value = spooled(raw).value()
    picture = value["parts"][1]["data"]
    assert isinstance(picture, Slice)
    assert type(picture.raw.obj).__name__ == "mmap"
    assert written(value) == raw
    forget(picture.raw)
    assert str(picture) == BIG


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"text": "word " * SPOOL_OVER}, id="prose"),
        pytest.param({"text": "é" * SPOOL_OVER}, id="not ascii"),
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


@pytest.mark.parametrize("cut", [1, 500_000, SPOOL_OVER + 200_000])
def test_a_text_that_is_cut_is_refused_and_can_be_shown(cut: int) -> None:
    raw = orjson.dumps({"data": BIG})[:-cut]
    spool = spooled(raw)
    with pytest.raises(jsonio.JSONDecodeError):
        spool.value()
    assert spool.text() == raw


@settings(max_examples=20, deadline=None)
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
