"""Broken characters are mended piece by piece, and come out as if all had been mended at once."""

import json
import re

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.codec import mending

AT_ONCE = 16  # bytes; a pair of escapes has 12
ESCAPES = st.lists(
    st.sampled_from(
        [r"\ud83d", r"\uDE00", r"\ud83d\ude00", r"\\", r"\"", r"\n", r"\u0041", "ud83d", "a", "é", "😀"]
    ),
    max_size=60,
).map("".join)
HALF = re.compile("[\ud800-\udfff]")
FIRST, SECOND = rb"\ud83d", rb"\ude00"


@given(ESCAPES)
@example(r"\\ud83d\uDE00")  # a backslash, text, and a second half alone
def test_halves_of_pairs_are_replaced_wherever_the_pieces_end(text: str) -> None:
    raw = f'"{text}"'.encode()
    assert orjson.loads(mending.mended(raw, at_once=AT_ONCE)) == HALF.sub("\ufffd", json.loads(raw))


@given(st.lists(st.sampled_from([b"a", b"\xf0\x9f\x98\x80", b"\xf0\x9f\x98", b"\xc3", b"\x80", b"\xff"])))
def test_broken_utf_8_is_replaced_wherever_the_pieces_end(parts: list[bytes]) -> None:
    raw = b"".join(parts)
    assert mending.mended(raw, at_once=AT_ONCE) == raw.decode("utf-8", "replace").encode()


@given(ESCAPES)
def test_pieces_are_small_and_miss_nothing(text: str) -> None:
    pieces = list(mending.pieces(text.encode(), AT_ONCE))
    assert b"".join(pieces) == text.encode()
    assert all(0 < len(piece) <= AT_ONCE for piece in pieces)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        pytest.param(FIRST * 4, [FIRST * 2, FIRST * 2], id="first halves"),
        pytest.param((FIRST + SECOND) * 2, [FIRST + SECOND] * 2, id="pairs"),
        pytest.param(b"\\\\" * 9, [b"\\\\" * 8, b"\\\\"], id="backslashes"),
        pytest.param(b"a" + b"\\\\" * 9, [b"a" + b"\\\\" * 7, b"\\\\" * 2], id="backslashes at odd places"),
        pytest.param(
            b"aaa" + b"\\\\" + FIRST[1:] + SECOND * 2,
            [b"aaa" + b"\\\\", FIRST[1:] + SECOND, SECOND],
            id="a first half that is none",
        ),
    ],
)
def test_a_piece_ends_between_escapes(text: bytes, pieces: list[bytes]) -> None:
    assert list(mending.pieces(text, AT_ONCE)) == pieces


@pytest.mark.parametrize("unit", [FIRST, SECOND, FIRST + SECOND + SECOND, b"\\\\" + FIRST, b"a"])
def test_no_step_goes_through_all_of_a_large_text(unit: bytes) -> None:
    text = unit * (3 * mending.AT_ONCE // len(unit))
    sizes = [len(piece) for piece in mending.pieces(text, mending.AT_ONCE)]
    assert max(sizes) <= 1 << 20
    assert len(sizes) <= 4
