"""However an upstream cuts, labels or garbles its bytes, the same payloads come out."""

import base64
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.types import Json, Slice
from proxy.upstream.payloads import ArrayDecoder, Decoder, WholeDecoder, decoder_for
from proxy.upstream.sse import SSEDecoder

ONE = b'{"n":1}'
RAW_ERROR = (
    b'{\n  "error": {\n    "code": 503,\n    "message": "The {model} is overloaded",\n    "x": []\n  }\n}\n'
)
ERROR = {"error": {"code": 503, "message": "The {model} is overloaded", "x": []}}


def read(decoder: Decoder, *chunks: bytes) -> tuple[list[Json], str | None]:
    out = [payload for chunk in chunks for payload in decoder.feed(chunk)]
    out += decoder.close()
    return out, decoder.error.code if decoder.error else None


def pieces(raw: bytes, sizes: list[int]) -> list[bytes]:
    cut: list[bytes] = []
    for size in sizes:
        cut.append(raw[:size])
        raw = raw[size:]
    return [*cut, raw]


@pytest.mark.parametrize(
    ("raw", "payloads"),
    [
        pytest.param(b'data: {"n":1}\n\ndata: {"n":2}\n\n', [{"n": 1}, {"n": 2}], id="G-182 LF"),
        pytest.param(b'data: {"n":1}\r\n\r\ndata: {"n":2}\r\n\r\n', [{"n": 1}, {"n": 2}], id="G-182 CRLF"),
        pytest.param(b'data: {"n":1}\r\rdata: {"n":2}\r\r', [{"n": 1}, {"n": 2}], id="G-182 CR"),
        pytest.param(b'data:{"n":1}\n\n', [{"n": 1}], id="no space after the colon"),
        pytest.param(b'\xef\xbb\xbfdata: {"n":1}\n\n', [{"n": 1}], id="byte order mark"),
        pytest.param(b': ping\n\ndata: {"n":1}\n\n: ping\n\n', [{"n": 1}], id="comments"),
        pytest.param(b'event: x\nid: 7\nretry: 10\ndata: {"n":1}\n\n', [{"n": 1}], id="other fields"),
        pytest.param(b'data: {\ndata: "n":\ndata: 1}\n\n', [{"n": 1}], id="several data lines"),
        pytest.param(b'data: {"n":1}\n\ndata: [DONE]\n\n', [{"n": 1}], id="terminator"),
        pytest.param(b'data: {"n":1}\n\n[DONE]\n', [{"n": 1}], id="bare terminator"),
        pytest.param(b'data: {"n":1}', [{"n": 1}], id="last event without a line end"),
        pytest.param(b'data: {\ndata: "n":1}\n', [{"n": 1}], id="last event without a blank line"),
        pytest.param(b"data:\n\ndata: null\n\ndata: {}\n\n", [{}], id="empty data and null"),
        pytest.param('data: {"t":"a\u2028b\u0085c"}\n\n'.encode(), [{"t": "a\u2028b\u0085c"}], id="G-183"),
        pytest.param('data: {"t":"Grüße 🐉"}\n\n'.encode(), [{"t": "Grüße 🐉"}], id="G-181"),
        pytest.param(b'data: [{"error":{"code":1}}]\n\n', [{"error": {"code": 1}}], id="a list in an event"),
        pytest.param(b'data: {"n":1}\ndata: {"n":2}\n', [{"n": 1}, {"n": 2}], id="V-024 no blank lines"),
        pytest.param(b'{"n":1}\n{"n":2}\n', [{"n": 1}, {"n": 2}], id="V-024 bare JSON lines"),
        pytest.param(b'{"n":1}', [{"n": 1}], id="V-024 one JSON body"),
        pytest.param(RAW_ERROR, [ERROR], id="V-024 one pretty-printed JSON body"),
        pytest.param(b"data: " + ONE + b"\n\n" + RAW_ERROR, [{"n": 1}, ERROR], id="G-188 raw error"),
        pytest.param(
            b"data: " + ONE + b"\r\n\r\n" + RAW_ERROR.replace(b"\n", b"\r\n") + b"data: " + ONE + b"\r\n\r\n",
            [{"n": 1}, ERROR, {"n": 1}],
            id="G-188 raw error between events",
        ),
        pytest.param(
            b"data: " + ONE + b"\n\n[" + RAW_ERROR + b"]\n", [{"n": 1}, ERROR], id="G-188 raw error in a list"
        ),
        pytest.param(b'{"broken": \ndata: {"n":1}\n\n', [{"n": 1}], id="hopeless JSON before an event"),
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"\n\n\n", [], id="blank lines only"),
    ],
)
def test_events_are_read_and_the_cut_does_not_matter(raw: bytes, payloads: list[Json]) -> None:
    assert read(SSEDecoder(), raw) == (payloads, None)
    assert read(SSEDecoder(), *(raw[at : at + 1] for at in range(len(raw)))) == (payloads, None)
    for at in range(len(raw)):
        assert read(SSEDecoder(), raw[:at], raw[at:]) == (payloads, None)


@pytest.mark.parametrize(
    ("raw", "payloads", "code"),
    [
        pytest.param(b'data: {"n":1}\n\ndata: {"n"', [{"n": 1}], "upstream_stream_truncated", id="cut event"),
        pytest.param(b'data: {"n":1}\n\n{"error":', [{"n": 1}], "upstream_stream_truncated", id="cut error"),
        pytest.param(
            b'data: {"n":1}\n\ndata: oh\n\ndata: {}\n\n', [{"n": 1}], "upstream_invalid_response", id="text"
        ),
        pytest.param(b"data: 7\n\n", [], "upstream_invalid_response", id="a number"),
        pytest.param(b"<html>\n<b>Bad gateway</b>", [], "upstream_invalid_response", id="a page"),
    ],
)
def test_what_came_before_a_fault_is_kept(raw: bytes, payloads: list[Json], code: str) -> None:
    assert read(SSEDecoder(), raw) == (payloads, code)
    assert read(SSEDecoder(), *(raw[at : at + 1] for at in range(len(raw)))) == (payloads, code)


LINES = st.sampled_from(
    [
        b"data: " + ONE,
        b"data:{",
        b'data:"a":[1]}',
        b"data: [DONE]",
        b"data: x",
        b"data",
        b"",
        b"",
        b": c",
        b"event: y",
        b"{",
        b"}",
        b'"error": {"a": "}"}',
        ONE,
        b"[",
        b"]",
        b"stray",
        b"\xef\xbb\xbf",
        b"[DONE]",
        b"data: [",
        b"data: ]",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(LINES, ENDS)), st.lists(st.integers(0, 9)))
def test_bytes_cut_anywhere_parse_identically(lines: list[tuple[bytes, bytes]], sizes: list[int]) -> None:
    """G-181 G-182"""
    raw = b"".join(line + end for line, end in lines)
    assert read(SSEDecoder(), *pieces(raw, sizes)) == read(SSEDecoder(), raw)


@given(
    st.binary(), st.lists(st.integers(0, 9)), st.sampled_from(["application/json", "text/event-stream", ""])
)
def test_any_bytes_are_survived_and_cuts_do_not_matter(
    raw: bytes, sizes: list[int], content_type: str
) -> None:
    whole = read(decoder_for(content_type, raw), raw)
    assert read(decoder_for(content_type, raw), *pieces(raw, sizes)) == whole


JSON_OBJECTS = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.text() | st.sampled_from(['"]', "\\", "{[", '\\"}']),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
)


@given(st.lists(JSON_OBJECTS), st.lists(st.integers(0, 9)), st.booleans())
def test_an_array_gives_its_elements_however_it_is_cut(
    values: list[Json], sizes: list[int], pretty: bool
) -> None:
    """G-185"""
    option = orjson.OPT_INDENT_2 if pretty else 0
    raw = b"[" + b"\r\n,\r\n".join(orjson.dumps(value, option=option) for value in values) + b"]\r\n"
    assert read(ArrayDecoder(), *pieces(raw, sizes)) == (values, None)


def test_an_array_gives_each_element_as_soon_as_it_is_closed() -> None:
    """G-185"""
    decoder = ArrayDecoder()
    assert decoder.feed(b'[{"n":1}\r\n') == [{"n": 1}]
    assert decoder.feed(b',\r\n{"n":[{"a":"]') == []
    assert decoder.feed(b'\\"}"}]}') == [{"n": [{"a": ']"}'}]}]
    assert not decoder.complete
    assert decoder.feed(b"]") == []
    assert decoder.close() == []
    assert (decoder.complete, decoder.error) == (True, None)


@pytest.mark.parametrize("raw", [b"[", b'[{"n":1}', b'[{"n":1},{"n"'])
def test_an_array_that_is_not_closed_was_cut(raw: bytes) -> None:
    assert read(ArrayDecoder(), raw)[1] == "upstream_stream_truncated"


@pytest.mark.parametrize(
    ("content_type", "raw", "payloads"),
    [
        ("application/json", b'{"n":1}', [{"n": 1}]),
        ("application/json; charset=utf-8", b'\n\n {"n":\n1}\n', [{"n": 1}]),
        ("application/json", b'[{"n":1},{"n":2}]', [{"n": 1}, {"n": 2}]),
        ("application/json", b'data: {"n":1}\n\ndata: {"n":2}\n\n', [{"n": 1}, {"n": 2}]),
        ("application/json", b'{"n":1}\n{"n":2}\n', [{"n": 1}, {"n": 2}]),
        ("application/x-ndjson", b'{"n":1}\n{"n":2}\n', [{"n": 1}, {"n": 2}]),
        ("text/event-stream", b'{"n":1}', [{"n": 1}]),
        ("text/event-stream", b'[{"error":{"code":1}}]', [{"error": {"code": 1}}]),
        ("text/plain", b'[{"n":1}\n,\n{"n":2}\n]', [{"n": 1}, {"n": 2}]),
        ("text/html", b'{"n":1}', [{"n": 1}]),
        ("", b'data: {"n":1}\n', [{"n": 1}]),
    ],
)
def test_content_type_and_first_bytes_choose_the_way_to_read(
    content_type: str, raw: bytes, payloads: list[Json]
) -> None:
    """V-024 G-185"""
    assert read(decoder_for(content_type, raw), raw) == (payloads, None)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'{"n":', "upstream_stream_truncated"),
        (b'{"n":1}{"n":2}', "upstream_stream_truncated"),
        (b"", "upstream_invalid_response"),
        (b"7", "upstream_invalid_response"),
    ],
)
def test_a_body_that_is_not_json_is_an_error(raw: bytes, code: str) -> None:
    assert read(WholeDecoder(), raw) == ([], code)


def test_bytes_that_prove_their_own_end_are_known_to_be_complete() -> None:
    for decoder, raw in [
        (SSEDecoder(), b"data: {}\n\ndata: [DONE]\n\n"),
        (WholeDecoder(), b'{"n":1}'),
        (ArrayDecoder(), b'[{"n":1}]'),
    ]:
        read(decoder, raw)
        assert decoder.complete
    decoder = SSEDecoder()
    read(decoder, b"data: {}\n\n")
    assert not decoder.complete


def test_a_picture_in_an_event_crosses_as_a_slice() -> None:
    """G-184"""
    picture = base64.b64encode(bytes(range(256)) * 16_384)
    raw = b'data: {"data":"' + picture + b'"}\r\n\r\n'
    payloads, error = read(SSEDecoder(), *(raw[at : at + 65_536] for at in range(0, len(raw), 65_536)))
    assert error is None
    assert payloads == [{"data": Slice(picture)}]


@pytest.mark.parametrize("lead", [b"data: ", b"", b"["], ids=["event", "bare", "array"])
def test_time_does_not_grow_with_the_square_of_the_size(lead: bytes) -> None:
    """G-184: 32 MB in reads of 1 kB take 0.1 s; copying the line at every read would take minutes."""
    raw = lead + b'{"data":"' + b"A" * (32 << 20) + b'"}'
    decoder = decoder_for("" if lead == b"[" else "text/event-stream", raw[:20])
    started = time.process_time()
    for at in range(0, len(raw), 1024):
        for _ in decoder.feed(raw[at : at + 1024]):
            pass
    decoder.close()
    assert decoder.error is None or lead == b"["
    assert time.process_time() - started < 5


# --- halves of characters


def chat(index: int = 0, **delta: str) -> bytes:
    """A chunk whose strings hold escapes as they are written here."""
    members = ",".join(f'"{name}":"{text}"' for name, text in delta.items())
    return b'{"choices":[{"index":%d,"delta":{%b}}]}' % (index, members.encode())


def called(index: int, text: str) -> bytes:
    call = b'{"index":%d,"function":{"arguments":"%b"}}' % (index, text.encode())
    return b'{"choices":[{"index":0,"delta":{"tool_calls":[%b]}}]}' % call


def candidate(*texts: str) -> bytes:
    parts = ",".join(f'{{"text":"{text}"}}' for text in texts)
    return b'{"candidates":[{"content":{"parts":[%b]}}]}' % parts.encode()


HALVES = [
    pytest.param([chat(content="a\\ud83d"), chat(content="\\ude00b")], ["a", "😀b"], id="text"),
    pytest.param([chat(content="\\uD83D"), chat(content="\\uDE00")], ["", "😀"], id="nothing else"),
    pytest.param(
        [chat(content="a\\ud83d"), chat(content=""), chat(content="\\ude00b")],
        ["a", "", "😀b"],
        id="with a pause",
    ),
    pytest.param(
        [chat(content="\\ud83d"), chat(content="\\ude00\\ud83d"), chat(content="\\ude01")],
        ["", "😀", "😁"],
        id="twice",
    ),
    pytest.param(
        [chat(reasoning="a\\ud83d", content="b\\ud83c"), chat(content="\\udf0d", reasoning="\\ude00")],
        ["a", "b", "🌍", "😀"],
        id="thoughts beside text",
    ),
    pytest.param(
        [
            chat(content="\\ud83d"),
            chat(1, content="\\ud83c"),
            chat(content="\\ude00"),
            chat(1, content="\\udf0d"),
        ],
        ["", "", "😀", "🌍"],
        id="choices that take turns",
    ),
    pytest.param(
        [called(0, '\\"a\\ud83d'), called(1, "\\ud83c"), called(1, "\\udf0d"), called(0, '\\ude00\\"')],
        ['"a', "", "🌍", '😀"'],
        id="arguments of two calls",
    ),
    pytest.param(
        [candidate("x", "a\\ud83d"), candidate("\\ude00b")], ["x", "a", "😀b"], id="parts of Gemini's"
    ),
    pytest.param([candidate("a\\ud83d", "\\ude00b")], ["a", "😀b"], id="parts of one payload"),
    pytest.param([chat(content="a\\ud83d"), chat(content="b")], ["a", "b"], id="no second half"),
    pytest.param([chat(content="a"), chat(content="\\ude00b")], ["a", "\ufffdb"], id="no first half"),
    pytest.param(
        [chat(content="\\ud83d"), chat(1, content="\\ude00")], ["", "\ufffd"], id="of another choice"
    ),
    pytest.param([chat(content="a\\ud83db"), chat(content="c\\ude00")], ["a\ufffdb", "c\ufffd"], id="inside"),
    pytest.param(
        [chat(content='\\ud83d\\"'), chat(content='\\"\\ude00')],
        ['\ufffd"', '"\ufffd'],
        id="at quotes inside",
    ),
    pytest.param(
        [chat(content="\\\\ud83d"), chat(content="\\\\ude00")], ["\\ud83d", "\\ude00"], id="no escapes"
    ),
]


def strings(value: Json) -> list[str]:
    """All strings, in their order."""
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in strings(item)]


@pytest.mark.parametrize(("payloads", "texts"), HALVES)
def test_a_character_that_two_payloads_cut_in_two_is_whole(payloads: list[bytes], texts: list[str]) -> None:
    events = b"".join(b"data: %b\n\n" % payload for payload in payloads)
    lines = b"".join(b"%b\n" % payload for payload in payloads)
    for raw in (events, events.replace(b"\n", b"\r\n"), lines):
        for cut in (pieces(raw, []), pieces(raw, [7] * (len(raw) // 7))):
            out, error = read(SSEDecoder(), *cut)
            assert (strings(out), error) == (texts, None)  # type: ignore[arg-type]
    assert strings(read(ArrayDecoder(), b"[" + b",".join(payloads) + b"]")[0]) == texts  # type: ignore[arg-type]


def test_a_name_that_is_cut_is_mended_where_it_stands() -> None:
    raw = b'data: {"\\ud83d":1}\n\ndata: {"\\ude00":{"\\ude00\\ud83d":["\\ud83d"]}}\n\n'
    assert read(SSEDecoder(), raw)[0] == [{"\ufffd": 1}, {"\ufffd": {"\ufffd\ufffd": [""]}}]


def test_halves_that_nothing_follows_are_not_kept_without_an_end() -> None:
    raw = b"".join(b"data: %b\n\n" % chat(index, content="\\ud83d") for index in range(100))
    out, _ = read(SSEDecoder(), raw)
    assert strings(out) == [""] * 64 + ["\ufffd"] * 36  # type: ignore[arg-type]


def test_a_cut_character_beside_a_picture_is_whole() -> None:
    first = b'{"picture":"' + base64.b64encode(bytes(30_000)) + b'","text":"a\\ud83d"}'
    out, _ = read(SSEDecoder(), b"data: " + first + b'\n\ndata: {"text":"\\ude00"}\n\n')
    assert isinstance(out[0]["picture"], Slice)
    assert [payload["text"] for payload in out] == ["a", "😀"]
