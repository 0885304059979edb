"""Long base64 crosses the house as a view of the body it came in."""

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.codec import jsonio
from proxy.types import Joined, Slice

PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 200).decode()
URL = f"data:image/png;base64,{PICTURE}"


def written(value: object) -> bytes:
    return b"".join(jsonio.dumps(value))


def test_a_long_base64_string_is_cut_and_spliced_back_unchanged() -> None:
    raw = orjson.dumps({"a": [1, {"data": PICTURE}], "url": URL, "text": "hi"})
    value = jsonio.loads(raw)
    assert isinstance(value["a"][1]["data"], Slice)
    assert isinstance(value["url"], Slice)
    assert value["text"] == "hi"
    assert str(value["url"]) == URL
    assert written(value) == raw


def test_a_slice_knows_the_first_bytes_of_what_it_encodes() -> None:
    assert Slice(PICTURE.encode()).head(8) == b"\x89PNG\r\n\x1a\n"
    assert Slice(b"!!!!").head(8) == b""


def test_a_prefix_is_written_before_the_slice() -> None:
    assert (
        written({"url": Slice(b"AAAA", b"data:image/png;base64,")}) == b'{"url":"data:image/png;base64,AAAA"}'
    )


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"text": "word " * 8000}, id="prose"),
        pytest.param({"text": "a" * 20000 + '"' + "b" * 20000}, id="escaped quote"),
        pytest.param({"numbers": [0.5] * 20000, "x": "y"}, id="numbers between strings"),
        pytest.param({"text": "é" * 20000}, id="not ascii"),
        pytest.param({"text": "A" * 600 + "é" * 20000}, id="base64 at first"),
        pytest.param({"text": ":" + "a" * 20000, "k:": PICTURE}, id="colon before a quote"),
    ],
)
def test_what_is_not_base64_means_the_same_after_a_round_trip(value: object) -> None:
    raw = orjson.dumps(value)
    assert orjson.loads(written(jsonio.loads(raw))) == value


@pytest.mark.parametrize(
    "raw", [b'{"a":"' + PICTURE.encode(), b'{"a":' + PICTURE.encode() + b"}", b"{" * 20000]
)
def test_broken_json_is_refused(raw: bytes) -> None:
    with pytest.raises(jsonio.JSONDecodeError):
        jsonio.loads(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.sampled_from([PICTURE, URL]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_any_json_means_the_same_after_a_round_trip(value: object) -> None:
    assert orjson.loads(written(jsonio.loads(orjson.dumps(value)))) == value


def test_text_and_slices_join_into_one_string() -> None:
    value = {"content": Joined('a "quoted" line\n', Slice(b"AAAA", b"data:image/png;base64,"), ")"), "n": 1}
    assert written(value) == (b'{"content":"a \\"quoted\\" line\\ndata:image/png;base64,AAAA)","n":1}')
    assert len(value["content"]) == len(str(value["content"])) == 43
