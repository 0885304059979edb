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


# --- what a strict parser refuses and clients send


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        pytest.param(b'\xef\xbb\xbf{"a":1}', {"a": 1}, id="byte order mark"),
        pytest.param(b'{"a":"cut \\ud83d here"}', {"a": "cut \ufffd here"}, id="first half"),
        pytest.param(b'{"a":"\\uDE00"}', {"a": "\ufffd"}, id="second half"),
        pytest.param(
            b'["\\ud83d\\ud83d\\ude00\\ude00"]', ["\ufffd\U0001f600\ufffd"], id="halves and a whole"
        ),
        pytest.param(b'["\\\\ud83d \\ud83d"]', ["\\ud83d \ufffd"], id="an escaped backslash is none"),
        pytest.param(b'["\\\\\\ud83d"]', ["\\\ufffd"], id="behind an escaped backslash"),
        pytest.param(b'{"\\ud83d":1}', {"\ufffd": 1}, id="in a name"),
        pytest.param(b'["a\xffb"]', ["a\ufffdb"], id="broken utf-8"),
        pytest.param(b'["\xe2\x82"]', ["\ufffd"], id="cut utf-8"),
        pytest.param(b'{"\xff":[{"b":"\xc3\xa4\\ud800"}]}', {"\ufffd": [{"b": "ä\ufffd"}]}, id="both"),
    ],
)
def test_broken_characters_are_replaced(raw: bytes, value: object) -> None:
    assert jsonio.loads(raw) == value


def test_broken_characters_beside_a_picture_are_replaced() -> None:
    value = jsonio.loads(b'\xef\xbb\xbf{"url":"' + URL.encode() + b'","a":"\\ud83d","b":"\xff"}')
    assert (str(value["url"]), value["a"], value["b"]) == (URL, "\ufffd", "\ufffd")
    assert isinstance(value["url"], Slice)


@pytest.mark.parametrize(
    "raw", [b'["a\nb"]', b"NaN", b"1e400", b'["\\ud83"]', b'["\\ud83d"', b"", b"\xef\xbb\xbf"]
)
def test_mending_makes_no_json_of_what_is_none(raw: bytes) -> None:
    with pytest.raises(jsonio.JSONDecodeError):
        jsonio.loads(raw)


@pytest.mark.parametrize("place", [100, 10_000, len(PICTURE) - 1])
@pytest.mark.parametrize(
    ("bad", "read"),
    [
        pytest.param(b"\n", None, id="line break"),
        pytest.param(b"\x00", None, id="control character"),
        pytest.param(b"\xff", "\ufffd", id="broken byte"),
        pytest.param("é".encode(), "é", id="a letter"),
        pytest.param(b"\\n", "\n", id="escaped line break"),
        pytest.param(b"%", "%", id="per cent"),
    ],
)
def test_nothing_strange_in_long_base64_passes_unparsed(place: int, bad: bytes, read: str | None) -> None:
    raw = b'{"a":"' + PICTURE[:place].encode() + bad + PICTURE[place:].encode() + b'"}'
    if read is None:
        with pytest.raises(jsonio.JSONDecodeError):
            jsonio.loads(raw)
    else:
        assert jsonio.loads(raw) == {"a": PICTURE[:place] + read + PICTURE[place:]}


def test_url_safe_base64_is_cut_out_too() -> None:
    text = PICTURE.replace("+", "-").replace("/", "_")
    assert isinstance(jsonio.loads(b'["' + text.encode() + b'"]')[0], Slice)


def test_long_base64_behind_an_escaped_quote_stays_in_its_string() -> None:
    value = {"text": 'say "' + PICTURE, "more": f'{{"image":"{PICTURE}"}}'}
    assert jsonio.loads(orjson.dumps(value)) == value


def test_a_name_may_be_as_long_as_a_picture() -> None:
    value = {"a": 1, PICTURE: {URL: 2}, "b": 3}
    read = jsonio.loads(orjson.dumps(value))
    assert read == value
    assert list(read) == ["a", PICTURE, "b"]


def test_deep_nesting_beside_a_picture_is_read_or_refused() -> None:
    value = jsonio.loads(b'{"url":"' + URL.encode() + b'","deep":' + b"[" * 1000 + b"]" * 1000 + b"}")
    assert str(value["url"]) == URL
    with pytest.raises(jsonio.JSONDecodeError):
        jsonio.loads(b'{"url":"' + URL.encode() + b'","deep":' + b"[" * 2000 + b"]" * 2000 + b"}")


def test_a_refusal_keeps_nothing_of_the_text() -> None:
    raw = b'{"url":"' + URL.encode() + b'","text":"' + b"word " * 10_000 + b'",}'
    with pytest.raises(jsonio.JSONDecodeError) as caught:
        jsonio.loads(raw)
    assert caught.value.doc == ""
    frame = caught.tb.tb_next
    assert frame is not None
    assert frame.tb_next is None
    assert {name: held for name, held in frame.tb_frame.f_locals.items() if held and name != "value"} == {
        "cuts": [(8, 8 + len(URL))]
    }


@pytest.mark.parametrize(
    ("value", "where"),
    [
        pytest.param({"messages": [{"seed": 2**70}]}, "messages[0].seed", id="a large number"),
        pytest.param({"n": -(2**63) - 1}, "n", id="a small number"),
        pytest.param({"a": {"b": {1: 2}}}, "a.b", id="a name that is none"),
        pytest.param({"a": {"b": {1, 2}}}, "", id="a set"),
    ],
)
def test_what_cannot_be_written_says_where(value: object, where: str) -> None:
    with pytest.raises(jsonio.JSONEncodeError) as caught:
        jsonio.dumps(value)
    assert (caught.value.where, caught.value.__context__) == (where, None)


def test_what_nests_too_deeply_to_be_written_names_its_field() -> None:
    with pytest.raises(jsonio.JSONEncodeError, match=r"^x: it is nested too deeply$"):
        jsonio.dumps({"x": orjson.loads(b"[" * 400 + b"]" * 400)})


@pytest.mark.parametrize("text", ['{"a": "x\\ud83d"}', '{"a": "x\ud83d"}'], ids=["escaped", "as it is"])
def test_json_that_stands_in_a_string_is_mended_too(text: str) -> None:
    assert jsonio.loads_text(text) == {"a": "x" + "\ufffd" * (1 if "\\" in text else 3)}
    with pytest.raises(jsonio.JSONDecodeError):
        jsonio.loads_text(text + "}")


def test_half_characters_are_written_as_replacements() -> None:
    value = {"a\ud800": ["\ud83d", "\ud83d\ude00", Joined("\udc00", Slice(b"AAAA"))], "n": 1}
    assert written(value) == '{"a\ufffd":["\ufffd","\U0001f600","\ufffdAAAA"],"n":1}'.encode()
