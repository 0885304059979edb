"""Pictures in text are found however the text is cut, and nothing else is."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.pictures.markdown_images import Found, MarkdownImages, picture
from proxy.types import Slice

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(240))).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(range(200))).decode()
PNG_URL = f"data:image/png;base64,{PNG}"
LINK = "https://files.example/a_(1.png?sig=x"

Shown = str | tuple[str, str]


def shown(found: list[str | Found]) -> list[Shown]:
    """Neighbouring texts joined, data as text."""
    out: list[Shown] = []
    for piece in found:
        if not isinstance(piece, str):
            out.append((piece[0], str(piece[1])))
        elif out and isinstance(out[-1], str):
            out[-1] += piece
        else:
            out.append(piece)
    return out


def cut(pieces: list[str | Slice], *, links: bool = False) -> list[Shown]:
    images = MarkdownImages((lambda address: True) if links else None)
    found = [item for piece in pieces for item in images.feed(piece)]
    return shown(found + images.close())


IMAGE = ("image/png", PNG)
CASES = {
    "plain": ("Hello! Nothing here.", ["Hello! Nothing here."]),
    "leading white space": ("\n\nHello there", ["\n\nHello there"]),
    "white space alone": (" \n", [" \n"]),
    "picture alone": (f"![image]({PNG_URL})", [IMAGE]),
    "newlines around": (f"\n![]({PNG_URL})\n", [IMAGE]),
    "between words": (f"Here:\n\n![image]({PNG_URL})\n\nEnjoy!", ["Here:\n\n", IMAGE, "Enjoy!"]),
    "inside a line": (f"a ![x]({PNG_URL})\n\nb", ["a ", IMAGE, "\n\nb"]),
    "two": (f"![a]({PNG_URL})\n![b]({PNG_URL})", [IMAGE, IMAGE]),
    "title": (f'![a]({PNG_URL} "a title") b', [IMAGE, " b"]),
    "angle brackets": (f"![a](<{PNG_URL}>)", [IMAGE]),
    "prompt as text": (f"![a cat, sitting (1) on 'x'!]({PNG_URL})", [IMAGE]),
    "brackets in the prompt": (f"![a [red] cat, [x]]({PNG_URL})", [IMAGE]),
    "a long prompt": (f"![{'a cat, ' * 500}\nby night]({PNG_URL})", [IMAGE]),
    "no type": (f"![a](data:application/octet-stream;base64,{PNG})", [IMAGE]),
    "bare without type": (f"data:application/octet-stream;base64,{PNG}", [IMAGE]),
    "no picture": ("![a](data:text/plain;base64,QUJD)", ["![a](data:text/plain;base64,QUJD)"]),
    "an address is text": ("https://files.example/a.png", ["https://files.example/a.png"]),
    "wrong type": (f"![a](data:image/jpeg;base64,{PNG})", [IMAGE]),
    "upper case": (f"![a](DATA:image/png;BASE64,{PNG})", [IMAGE]),
    "no padding": (f"![a](data:image/jpeg;base64,{JPEG.rstrip('=')})", [("image/jpeg", JPEG)]),
    "not closed": (f"x ![a]({PNG_URL}", ["x ", IMAGE]),
    "bare data URL": (PNG_URL, [IMAGE]),
    "bare base64": (f"\n{JPEG}\n", [("image/jpeg", JPEG)]),
    "explained": ("Write ![a](data:image/png;base64,...) so.", ["Write ![a](data:image/png;base64,...) so."]),
    "not base64": ("![a](data:image/svg+xml,<svg/>)", ["![a](data:image/svg+xml,<svg/>)"]),
    "words like data": ("data:image URLs are long", ["data:image URLs are long"]),
    "words like a letter": ("i am, Really", ["i am, Really"]),
    "link is text": (f"![a]({LINK})", [f"![a]({LINK})"]),
    "many marks": ("!!![ no ![", ["!!![ no !["]),
    "chinese": (f"没问题,请看:\n![图]({PNG_URL})好", ["没问题,请看:\n", IMAGE, "好"]),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_pictures_are_taken_out_and_the_rest_is_text(text: str, expected: list[Shown]) -> None:
    """V-017, shapes a and e."""
    assert cut([text]) == expected
    assert cut(list(text)) == expected


@given(st.data())
def test_the_result_is_the_same_wherever_the_text_is_cut(data: st.DataObject) -> None:
    """V-018"""
    text, expected = data.draw(st.sampled_from(list(CASES.values())))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces: list[str | Slice] = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert cut(pieces) == expected


@given(st.text("![](adt:image/png;base64, )<>\n"), st.integers(1, 7), st.booleans())
def test_without_a_picture_every_letter_stays(text: str, size: int, links: bool) -> None:
    """V-018: what only looks like one is not lost."""
    pieces: list[str | Slice] = [text[at : at + size] for at in range(0, len(text), size)]
    assert "".join(str(piece) for piece in cut(pieces, links=links)) == text


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_an_address_is_a_picture_only_where_pictures_are_expected(size: int) -> None:
    """V-017, shape b."""
    text = f"See\n![image]({LINK})\n"
    pieces: list[str | Slice] = [text[at : at + size] for at in range(0, len(text), size)]
    assert cut(pieces, links=True) == ["See\n", ("", LINK)]
    assert cut(pieces) == [text]


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "picture"),
    [
        ("https://files.example/a_1.PNG?sig=x(1)", True),
        ("\nhttp://files.example/1.webp\n", True),
        ("https://files.example/page", False),
        ("https://files.example/1.png and more", False),
        (f"https://files.example/{'a' * 5000}.png", False),
        ("https", False),
        ("hello", False),
    ],
)
def test_an_address_alone_is_a_picture_where_it_is_one_of_a_file(size: int, text: str, picture: bool) -> None:
    """V-017, shape b without markdown: some relays answer so."""
    pieces: list[str | Slice] = [text[at : at + size] for at in range(0, len(text), size)]
    assert cut(pieces, links=True) == [("", text.strip()) if picture else text]
    assert cut(pieces) == [text]


def test_long_pieces_that_were_cut_out_of_the_json_are_put_together() -> None:
    """V-018: a delta longer than the cut limit arrives as a Slice."""
    first, second = PNG[:100], PNG[100:]
    image = [("image/png", PNG)]
    assert cut([Slice(PNG_URL.encode())]) == image
    assert cut([Slice(PNG.encode())]) == image
    assert cut(["![a](", Slice(PNG_URL.encode()), ")"]) == image
    assert cut(["![a](data:image/png;base64,", Slice(first.encode()), Slice(second.encode()), ")"]) == image
    assert cut([Slice(PNG_URL[:120].encode()), Slice(PNG_URL[120:].encode())]) == image
    assert cut(["Text: ", Slice(b"QUJD" * 10)]) == ["Text: " + "QUJD" * 10]


def test_the_data_is_not_copied_when_it_came_as_a_slice() -> None:
    raw = PNG_URL.encode()
    images = MarkdownImages()
    images.feed(Slice(raw))
    [(_, data)] = images.close()
    assert isinstance(data, Slice)
    found = picture(Slice(raw))
    assert found is not None
    assert isinstance(found[1], Slice)
    assert found[1].raw.obj is raw


def test_plain_text_is_handed_on_at_once_and_a_mark_waits() -> None:
    images = MarkdownImages()
    assert images.feed("One") == ["One"]
    assert images.feed(" two!") == [" two"]
    assert images.feed(" three") == ["! three"]
    assert images.feed("![x](http") == ["![x](http"]
    assert images.close() == []


@pytest.mark.parametrize(
    "address",
    ["data:text/html;base64,QUJD", "data:image/png;base64,", "data:image/png,abc", "hello", "", "QUJDREVG"],
)
def test_what_is_no_picture_is_none(address: str) -> None:
    assert picture(address) is None


FLOODS = {
    "openings": ("![](", 250_000),
    "openings of links": ("![](http://a ", 100_000),
    "marks": ("![", 200_000),
    "alternative texts": ("![aaaa", 100_000),
    "brackets in them": ("![a[b]", 100_000),
    "marks in brackets": ("![a", 100_000),
    "addresses alone": ("https://a", 100_000),
    "addresses that are none": ("![](data:image/a)", 100_000),
}


@pytest.mark.parametrize(("text", "times"), FLOODS.values(), ids=FLOODS)
def test_a_flood_of_beginnings_is_text_in_linear_time(text: str, times: int) -> None:
    """Searched to the end for each of them, none of these would end."""
    assert cut([text * times], links=True) == [text * times]
    assert cut([text] * times, links=True) == [text * times]


def test_white_space_in_thousands_of_pieces_is_handed_on() -> None:
    """Models stream it in JSON mode: 300,000 pieces joined to all before them would not end."""
    assert cut([" "] * 300_000) == [" " * 300_000]
    assert cut([*[" "] * 300_000, "a"]) == [" " * 300_000 + "a"]
    assert cut([f"![]({PNG_URL})", *[" "] * 300_000, "a"]) == [IMAGE, " " * 300_000 + "a"]
    assert cut([*["\t"] * 300_000, PNG_URL]) == [IMAGE]


def test_many_pictures_in_one_text_are_taken_out_in_linear_time() -> None:
    small = "data:image/png;base64,iVBORw0KGgo="
    assert cut([f"![]({small})" * 100_000]) == [("image/png", "iVBORw0KGgo=")] * 100_000
