"""Pictures that a vendor wrote into its text, taken out again. Pure, and fed in pieces of any size.

Relays return pictures as `![image](data:image/png;base64,...)`, before, between and after words, or as a text
that is nothing but a data URL, base64 or the address of a file (vendors.md 3, shapes a, b, e and f).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby

from proxy.codec import base64_text
from proxy.pictures import media_types
from proxy.types import Slice

Found = tuple[str, Slice | str]
"""A picture: its media type ("" if nobody knows) and its base64, or its address."""

_DATA = "data:"
_HTTP = ("https://", "http://")
_ADDRESS_MAX = 4096  # characters of a signed address; longer ones are no pictures
_TITLE_MAX = 512
_HEADER_MAX = 128  # characters of a data URL before its comma

# The alternative text may be the prompt, which is long and may hold brackets that close.
_ALTERNATIVE = r"(?:[^\[\]]|\[[^\[\]]{0,512}\]){0,4096}"
_OPENING = re.compile(rf"!\[{_ALTERNATIVE}\]\(\s{{0,3}}<?")
_BEGINS_OPENING = re.compile(rf"!(?:\[{_ALTERNATIVE}(?:\[[^\[\]]{{0,512}}|\](?:\(\s{{0,3}}<?)?)?)?")

# A text that is one picture begins so: a data URL, or the base64 of PNG, JPEG, WebP (RIFF), GIF; or an
# address.
_SIGNS = (b"data:image/", b"data:application/octet-stream", b"iVBORw0KGgo", b"/9j/", b"UklGR", b"R0lGOD")
_SIGNS_OF_ADDRESSES = tuple(scheme.encode() for scheme in _HTTP)
# Alone it is a picture only where it says so: a model may answer with the address of a page.
_ADDRESS_OF_A_FILE = re.compile(
    rb"https?://[!-~]+\.(?:png|jpe?g|webp|gif|avif|heic|bmp|tiff?)(?:[?#][!-~]*)?", re.I
)
_BARE_FIRST = frozenset("di/URh \t\r\n")
_BARE_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_:;, \r\n"


def picture(address: str | bytes | memoryview | Slice) -> Found | None:
    """What a data URL or bare base64 of a picture holds, its bytes unchanged when they are standard base64.

    The type comes from the first bytes, for vendors declare it wrongly. None: it is no picture.
    """
    raw = base64_text.raw(address)
    head = bytes(raw[:_HEADER_MAX])
    if head[:5].lower() != b"data:":
        data = base64_text.standard(raw)
        mime = media_types.sniff(data.head()) if data is not None else None
        return (mime, data) if data is not None and mime is not None and mime.startswith("image/") else None
    declared, comma = data_url_header(head)
    data = base64_text.standard(raw[comma:]) if comma else None
    mime = (media_types.sniff(data.head()) or declared) if data is not None else ""
    return (mime, data) if data is not None and mime.startswith("image/") else None


def data_url_header(head: bytes) -> tuple[str, int]:
    """The media type of a base64 data URL, and where its data begins; ("", 0) if it is none."""
    comma = head.find(b",")
    mime, *parameters = head[5 : max(comma, 0)].decode("latin-1").lower().split(";")
    if comma < 0 or "base64" not in (parameter.strip() for parameter in parameters):
        return "", 0
    return mime.strip(), comma + 1


class MarkdownImages:
    """Feed it the text of one choice; it gives back text and pictures, in order.

    Text that may be the beginning of a picture is held until that is known. Data that is no picture stays
    text. An address counts as a picture if `is_picture` says so; without it none does, for models write about
    pictures too. White space that is alone beside a picture is dropped.
    """

    def __init__(self, is_picture: Callable[[str], bool] | None = None) -> None:
        self._is_picture = is_picture
        self._busy = True  # False: nothing is held or remembered, and text without "!" is just text
        self._bare: _Bare | None = _Bare((*_SIGNS, *_SIGNS_OF_ADDRESSES) if is_picture else _SIGNS)
        self._held = ""  # may be the beginning of a picture
        self._encoded: memoryview | None = None  # the text that is looked through
        self._pieces: list[bytes | memoryview] | None = None  # of a data URL whose end has not come,
        self._opening = ""  # and what stood before it
        self._blank: list[str] = []  # white space that nothing was said after
        self._silent = True  # nothing was given out
        self._after_picture = False
        self._line_start = True  # the text before ended its line

    def feed(self, text: str | Slice) -> list[str | Found]:
        """Read the next piece of text; a `Slice` is a long piece without white space, as `jsonio` cuts it."""
        if not self._busy and isinstance(text, str) and "!" not in text:
            if not text:
                return []
            self._line_start = text[-1] == "\n"
            return [text]
        out: list[str | Found] = []
        if self._bare is not None:
            words = self._bare.feed(text)
            if words is None:
                return out
            self._bare, text = None, words
        if self._pieces is not None:
            self._collect(self._pieces, text, out)
        else:
            self._scan(self._held + str(text), out)
        self._busy = bool(self._pieces is not None or self._held or self._silent or self._after_picture)
        return _joined(out)

    def close(self) -> list[str | Found]:
        """The text is over, or something else came between: what is held comes out as what it is."""
        out: list[str | Found] = []
        if self._bare is not None:
            whole = self._bare.taken()
            self._bare = None
            found = self._address_alone(whole.strip()) or picture(whole.strip())
            if found is not None:
                self._show(found, out)
            else:
                self._scan(_text(whole), out)
        rest, self._held = self._held, ""
        if self._pieces is not None:
            rest = self._unfinished(self._pieces, out)
        self._say(rest, out)
        if self._blank and not self._after_picture:
            out += self._blank
        self._blank = []
        self._busy = self._silent or self._after_picture
        return _joined(out)

    def _address_alone(self, whole: bytes) -> Found | None:
        """Text that is nothing but an address, where pictures are expected."""
        if self._is_picture is None or not _ADDRESS_OF_A_FILE.fullmatch(whole):
            return None
        address = whole.decode("ascii")
        return ("", address) if self._is_picture(address) else None

    # --- looking for the beginning -------------------------------------------------------------------

    def _scan(self, text: str, out: list[str | Found]) -> None:
        self._held = ""
        said = search = 0
        while (start := text.find("!", search)) >= 0:
            opening = _OPENING.match(text, start)
            if opening is not None:
                self._say(text[said:start], out)
                said, search = self._address(text, start, opening.end(), out)
            elif _BEGINS_OPENING.fullmatch(text, start):
                self._held = text[start:]
                text = text[:start]
            else:
                search = start + 1
        self._encoded = None
        self._say(text[said:], out)

    def _address(self, text: str, start: int, begin: int, out: list[str | Found]) -> tuple[int, int]:
        """Read from where the address begins; return from where on nothing was said, and to search on."""
        head = text[begin : begin + len(_HTTP[0])].lower()
        is_data = head.startswith(_DATA)
        # A link ends soon or is none: a flood of openings is not searched to its end for each of them.
        end = text.find(")", begin, len(text) if is_data else begin + _ADDRESS_MAX + _TITLE_MAX)
        if is_data:
            if end < 0:
                self._opening, self._pieces = text[start:begin], [_bytes(text[begin:])]
                return len(text), len(text)
            self._take(text[start:begin], self._data(text, begin, end), out)
            return end + 1, end + 1
        may_be_link = self._is_picture is not None and (
            head.startswith(_HTTP) or any(scheme.startswith(head) for scheme in _HTTP)
        )
        if end < 0 and (_DATA.startswith(head) or (may_be_link and len(text) - begin <= _ADDRESS_MAX)):
            self._held = text[start:]
            return len(text), len(text)
        if self._is_picture is not None and head.startswith(_HTTP) and end >= 0:
            link = text[begin:end].split(None, 1)[0].rstrip(">")
            if len(link) <= _ADDRESS_MAX and self._is_picture(link):
                self._show(("", link), out)
                return end + 1, end + 1
        return start, begin

    def _data(self, text: str, begin: int, end: int) -> memoryview:
        """A part of the text as bytes: one copy of megabytes, not three, for all pictures of a text."""
        if self._encoded is None and text.isascii():
            self._encoded = memoryview(text.encode())
        return memoryview(_bytes(text[begin:end])) if self._encoded is None else self._encoded[begin:end]

    # --- inside a picture ----------------------------------------------------------------------------

    def _collect(self, pieces: list[bytes | memoryview], text: str | Slice, out: list[str | Found]) -> None:
        piece = base64_text.raw(text)
        end = bytes(piece).find(b")")
        pieces.append(piece[:end] if end >= 0 else piece)
        if end >= 0:
            self._pieces = None
            self._take(self._opening, memoryview(b"".join(pieces)), out)
            self._scan(_text(bytes(piece[end + 1 :])), out)

    def _take(self, opening: str, address: memoryview, out: list[str | Found]) -> None:
        """A picture, or else the text it looked like. A title may follow the address."""
        tail = bytes(address[-_TITLE_MAX:])
        kept = len(address) - len(tail) + len(tail.partition(b' "')[0].rstrip(b"> "))
        found = picture(address[:kept])
        if found is None:
            self._say(f"{opening}{_text(bytes(address))})", out)
        else:
            self._show(found, out)

    def _unfinished(self, pieces: list[bytes | memoryview], out: list[str | Found]) -> str:
        """The text ended inside a picture: show it if it is whole, return what is text."""
        self._pieces = None
        address = b"".join(pieces)
        found = picture(address.strip())
        if found is None:
            return self._opening + _text(address)
        self._show(found, out)
        return ""

    # --- giving out ----------------------------------------------------------------------------------

    def _say(self, text: str, out: list[str | Found]) -> None:
        if self._silent or self._after_picture:
            if not text or text.isspace():
                self._blank += [text] if text else []
                return
            text, self._blank = "".join([*self._blank, text]), []
            if self._after_picture and self._line_start:
                text = text.lstrip("\n")
            self._silent = self._after_picture = False
        if not text:
            return
        self._line_start = text[-1] == "\n"
        out.append(text)

    def _show(self, found: Found, out: list[str | Found]) -> None:
        self._blank = []
        self._silent, self._after_picture = False, True
        out.append(found)


class _Bare:
    """Holds the text while all of it may be one picture without markdown."""

    def __init__(self, signs: tuple[bytes, ...]) -> None:
        self._signs, self._sign_max = signs, max(map(len, signs))
        self._pieces: list[bytes | memoryview] = []
        self._start = b""  # the first characters that are no white space; a model may stream thousands of it
        self._likely = False

    def feed(self, text: str | Slice) -> str | Slice | None:
        """All text so far once it cannot be a picture, None while it can."""
        if not self._pieces and isinstance(text, str) and text and text[0] not in _BARE_FIRST:
            return text
        piece = base64_text.raw(text)
        self._pieces.append(piece)
        if not self._likely:
            piece_start = bytes(piece).lstrip() if not self._start else bytes(piece[: self._sign_max])
            self._start = start = (self._start + piece_start)[: self._sign_max]
            if any(len(start) < len(sign) and sign.startswith(start) for sign in self._signs):
                return None
            if not start.startswith(self._signs):
                return _text(self.taken())
            self._likely = True
        if self._start.startswith(_SIGNS_OF_ADDRESSES):
            whole = self.taken()
            self._pieces = [whole]
            return None if len(whole) <= _ADDRESS_MAX and len(whole.split()) == 1 else _text(whole)
        if bytes(piece).translate(None, _BARE_LETTERS):
            return _text(self.taken())
        return None

    def taken(self) -> bytes:
        return b"".join(self._pieces)


def _joined(pieces: list[str | Found]) -> list[str | Found]:
    """Neighbouring texts as one, put together once: there may be a hundred thousand."""
    if len(pieces) < 2:
        return pieces
    out: list[str | Found] = []
    for is_text, run in groupby(pieces, key=_is_text):
        neighbours = list(run)
        out += ["".join(map(str, neighbours))] if is_text else neighbours
    return out


def _is_text(piece: str | Found) -> bool:
    return isinstance(piece, str)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")
