"""What the simulators invent is real: pictures have their size, values fit their schema, orders are read."""

import binascii
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from proxy.simulators import invent, pictures
from proxy.simulators.directives import Directives, Pace, parse
from proxy.simulators.gemini.errors import ERRORS
from proxy.simulators.pictures import Seen
from proxy.simulators.vendors.house import OUTCOMES


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length : at + 12 + length]) == (binascii.crc32(kind + data),)
        found.append((kind, data))
        at += 12 + length
    return found


@given(st.integers(1, 300), st.integers(1, 300), st.text(max_size=5), st.integers(0, 5000))
def test_a_png_is_well_formed_and_of_its_size(width: int, height: int, seed: str, size: int) -> None:
    png = pictures.png(width, height, seed, size)
    assert pictures.look(png) == Seen("image/png", width, height)
    found = dict(chunks(png))
    assert len(zlib.decompress(found[b"IDAT"])) == height * (1 + (width + 1) // 2)
    assert len(found[b"PLTE"]) == 48
    if b"nzZz" in found:
        assert len(png) == size


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_a_jpeg_is_of_its_size(width: int, height: int) -> None:
    jpeg = pictures.jpeg(width, height, "x")
    assert pictures.look(jpeg) == Seen("image/jpeg", width, height)
    assert jpeg.endswith(b"\xff\xd9")


def test_a_picture_of_nothing_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="0x5"):
        pictures.png(0, 5)


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"GIF89a\x03\x00\x02\x00", Seen("image/gif", 3, 2)),
        (b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x13\0\0\x09\0\0", Seen("image/webp", 20, 10)),
        (b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x13\x40\x02\0\0\0\0\0\0", Seen("image/webp", 20, 10)),
        (b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x14\0\x0a\0", Seen("image/webp", 20, 10)),
        (b"%PDF-1.7", Seen("application/pdf")),
        (b"II*\0", Seen("image/tiff")),
        (b"\xff\xd8\xff", Seen("image/jpeg")),
        (b"\x89PNG\r\n\x1a\n", Seen("image/png")),
        (b"hello", Seen()),
        (b"", Seen()),
    ],
)
def test_the_first_bytes_tell_type_and_size(data: bytes, seen: Seen) -> None:
    assert pictures.look(data) == seen


def test_sound_has_a_header_and_a_length() -> None:
    assert pictures.look(pictures.wav(100)) == Seen("audio/wav")
    assert len(pictures.pcm(100)) == 4800
    assert len(pictures.wav(100)) == 44 + 4800


LEAVES = st.one_of(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "boolean"},
            {"type": "null"},
            {"type": ["string", "null"]},
            {"const": 7},
            {"enum": ["a", "b"]},
            {"type": "string", "format": "date-time"},
            {"type": "integer", "exclusiveMinimum": 3, "multipleOf": 5},
            {"type": "number", "exclusiveMaximum": 1},
            {"$ref": "#/$defs/point"},
            {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 2},
        ]
    ),
    st.builds(
        lambda low, size: {"type": "integer", "minimum": low, "maximum": low + size},
        st.integers(-9, 9),
        st.integers(0, 9),
    ),
    st.builds(
        lambda low, size: {"type": "string", "minLength": low, "maxLength": low + size},
        st.integers(0, 9),
        st.integers(0, 9),
    ),
)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["city", "type", "$ref", "properties"])
    return st.one_of(
        st.builds(
            lambda fields: {"type": "object", "properties": fields, "required": list(fields)},
            st.dictionaries(names, inner, max_size=3),
        ),
        st.builds(
            lambda items, low: {"type": "array", "items": items, "minItems": low, "maxItems": low + 1},
            inner,
            st.integers(0, 2),
        ),
        st.builds(lambda branches: {"anyOf": branches}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(
            lambda first, second: {
                "allOf": [
                    {"type": "object", "properties": {"a": first}, "required": ["a"]},
                    {"type": "object", "properties": {"b": second}, "required": ["b"]},
                ]
            },
            inner,
            inner,
        ),
    )


SCHEMAS = st.recursive(LEAVES, _nested, max_leaves=8)
POINT = {"type": "object", "properties": {"lat": {"type": "number"}, "next": {"$ref": "#/$defs/point"}}}


@given(SCHEMAS, st.integers(0, 5), st.sampled_from(["", "The weather in Paris and New York"]))
def test_invented_values_fit_their_schema(schema: dict[str, Any], number: int, hint: str) -> None:
    whole = {**schema, "$defs": {"point": POINT}}
    value = invent.value_for(whole, hint=hint, number=number)
    assert [error.message for error in Draft202012Validator(whole).iter_errors(value)] == []
    assert value == invent.value_for(whole, hint=hint, number=number)


def test_the_openapi_form_is_understood_too() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {
            "city": {"type": "STRING"},
            "unit": {"type": "STRING", "enum": ["C", "F"]},
            "day": {"type": "INTEGER", "enum": ["3", "4"]},
            "tags": {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "2"},
            "note": {"anyOf": [{"type": "NULL"}, {"type": "NUMBER"}]},
        },
    }
    assert invent.value_for(schema, hint="Is it warm in Oslo", number=1) == {
        "city": "Oslo",
        "unit": "F",
        "day": 4,
        "tags": ["Oslo", "Oslo"],
        "note": 1.5,
    }


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("What is the weather like?", ["get_weather"]),
        ("please call sendMail", ["sendMail"]),
        ("read my mail", ["sendMail"]),
        ("use a tool", ["get_weather"]),
        ("hello", []),
    ],
)
def test_a_prompt_asks_for_functions_by_name_or_telling_word(prompt: str, names: list[str]) -> None:
    assert invent.wanted(prompt, ["get_weather", "sendMail"]) == names


def test_orders_are_read_out_of_a_prompt() -> None:
    orders = parse(
        "Draw sim:image:2 a cat sim:slow:0.5, sim:cut sim:fail-once:429:day.\nsim:text: so it is sim:x"
    )
    assert orders == Directives(
        "Draw a cat ,",
        {"image": "2", "slow": "0.5", "cut": "", "fail-once": "429:day", "text": " so it is sim:x"},
    )
    assert orders.pace == Pace(slow_s=0.5, cut_after=0)
    assert (orders.count("image"), orders.count("slow", 3), orders.word("block", "X")) == (2, 3, "X")


@given(st.text())
def test_no_prompt_is_too_odd_to_read(prompt: str) -> None:
    for text in (prompt, f"sim:{prompt}", f"sim:slow:{prompt}"):
        assert isinstance(parse(text).pace, Pace)
    if "sim:" not in prompt:
        assert parse(prompt) == Directives(prompt)


USED = re.compile(
    r'"([a-z-]+)" (?:not )?in (?:self(?!\.)|directives|(?:self\.|job\.)?orders)\b'
    r'|(?:self|orders|directives)\.(?:word|count|seconds)\("([a-z-]+)"'
)


def test_every_directive_of_the_sources_is_documented_and_the_other_way_round() -> None:
    folder = Path(__file__).resolve().parents[1]
    text = (folder / "docs" / "simulators.md").read_text()
    documented = set(re.findall(r"^\| `sim:([a-z-]+)", text, re.MULTILINE))
    simulators = folder / "proxy" / "simulators"
    files = [simulators / name for name in ("directives.py", "openai_chat.py", "openai_answer.py")]
    used: set[str] = set()
    for file in (*files, *(simulators / "gemini").glob("*.py"), *(simulators / "vendors").glob("*.py")):
        used.update(name for pair in USED.findall(file.read_text()) for name in pair if name)
    assert used | {"raw-error-after", *OUTCOMES} == documented
    assert [order for order in ERRORS if f"`{order}`" not in text] == []
