"""A multipart form that arrives in pieces (RFC 7578). What its files hold becomes base64 as it comes."""

from __future__ import annotations

import pybase64
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from proxy.errors import RequestError
from proxy.types import FormFile, Slice

_MOST_BOUNDARY = 256  # the parser takes no longer one; RFC 2046 allows 70
_MAX_FILES = 32
_MAX_FIELDS = 100
_MAX_FIELD_BYTES = 32 << 20  # base64 sent as a text field; the whole body is limited before

# A closed table: Python also knows charsets that are none (`punycode`), and remembers every name it is asked.
_CHARSETS = {
    **dict.fromkeys(("utf-8", "utf8"), "utf-8"),
    **dict.fromkeys(("us-ascii", "ascii"), "ascii"),
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "latin1", "latin-1"), "latin-1"),
    **dict.fromkeys(("windows-1252", "cp1252"), "cp1252"),
    **dict.fromkeys(("gbk", "gb2312", "gb18030", "cp936"), "gb18030"),
    **dict.fromkeys(("shift_jis", "shift-jis", "sjis"), "shift_jis"),
    **{name: name for name in ("iso-8859-15", "windows-1251", "koi8-r", "big5", "euc-jp", "euc-kr")},
}


class FormParser:
    """Feed it the body, then `close`. All methods raise a 400 where it is no form, or too large a one."""

    def __init__(self, content_type: str) -> None:
        _, options = parse_options_header(content_type)
        self._charset = _charset(options)
        boundary = options.get(b"boundary")
        if not boundary:
            raise _invalid("the boundary is missing")
        if len(boundary) > _MOST_BOUNDARY:
            raise _invalid(f"the boundary is longer than {_MOST_BOUNDARY} bytes")
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begins,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_ends,
                "on_headers_finished": self._data_begins,
                "on_part_data": self._data,
                "on_part_end": self._part_ends,
            },
        )
        self._fields: list[tuple[str, str]] = []
        self._files: list[FormFile] = []
        self._part: _Part | None = None
        self._name = self._value = b""

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as exc:
            raise _invalid("it is no multipart form, or not cut where its boundary says") from exc

    def close(self) -> tuple[list[tuple[str, str]], list[FormFile]]:
        """Fields and files, in order."""
        if self._part is not None:
            raise _invalid("it ends in the middle of a part")
        return self._fields, self._files

    def drop(self) -> None:
        """The parser calls the form that holds it: a cycle, which would keep the files for the collector."""
        del self._parser

    # --- what the parser says

    def _part_begins(self) -> None:
        self._part = _Part()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        assert self._part is not None
        self._part.headers[self._name.lower()] = self._value.decode("latin-1")
        self._name = self._value = b""

    def _data_begins(self) -> None:
        assert self._part is not None
        _, disposition = parse_options_header(self._part.headers.get(b"content-disposition"))
        if b"name" not in disposition:
            raise _invalid("a part has no name")
        self._part.name = disposition[b"name"].decode("utf-8", "replace")
        if b"filename" in disposition:
            self._part.filename = disposition[b"filename"].decode("utf-8", "replace")
            if len(self._files) == _MAX_FILES:
                raise _invalid(f"it has more than {_MAX_FILES} files")
        elif len(self._fields) == _MAX_FIELDS:
            raise _invalid(f"it has more than {_MAX_FIELDS} fields")

    def _data(self, data: bytes, start: int, end: int) -> None:
        assert self._part is not None
        part = self._part
        if part.filename is not None:
            part.encode(data[start:end])
            return
        part.text += memoryview(data)[start:end]
        if len(part.text) > _MAX_FIELD_BYTES:
            raise _invalid(f"a field is larger than {_MAX_FIELD_BYTES} bytes", part.name)

    def _part_ends(self) -> None:
        assert self._part is not None
        part, self._part = self._part, None
        content_type = part.headers.get(b"content-type", "")
        if part.filename is not None:
            self._files.append(FormFile(part.name, part.filename, content_type, part.encoded()))
            return
        charset = _charset(parse_options_header(content_type)[1], self._charset)
        self._fields.append((part.name, _decoded(part, charset)))


class _Part:
    """The part at hand. `filename` is None for a field; `text` is what it holds, of a file in base64."""

    __slots__ = ("_rest", "filename", "headers", "name", "text")

    def __init__(self) -> None:
        self.headers: dict[bytes, str] = {}
        self.name = ""
        self.filename: str | None = None
        self.text = bytearray()
        self._rest = b""

    def encode(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        whole = len(data) // 3 * 3
        self.text += pybase64.b64encode(memoryview(data)[:whole])
        self._rest = data[whole:]

    def encoded(self) -> Slice:
        self.text += pybase64.b64encode(self._rest)
        return Slice(memoryview(self.text))


def _charset(options: dict[bytes, bytes], default: str = "utf-8") -> str:
    named = options.get(b"charset")
    if named is None:
        return default
    label = named.decode("latin-1").strip().lower()
    charset = _CHARSETS.get(label)
    if charset is None:
        raise _invalid(f"the charset {label[:40]!r} is not known here; send UTF-8")
    return charset


def _decoded(part: _Part, charset: str) -> str:
    """The text of a field. Many programs name a charset, or none, and write UTF-8 all the same."""
    for name in (charset, "utf-8"):
        try:
            return part.text.decode(name)
        except UnicodeDecodeError:
            continue
    raise _invalid(f"the field {part.name[:100]!r} is not text in {charset}", part.name)


def _invalid(why: str, param: str | None = None) -> RequestError:
    return RequestError(f"The form could not be read: {why}.", code="invalid_form", param=param)
