"""A call with files as multipart/form-data, in pieces: a picture is decoded while it is sent."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from proxy.codec import jsonio
from proxy.types import Call, Slice

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")

Piece = bytes | Slice  # the last: the bytes that its base64 stands for


@dataclass(frozen=True, slots=True)
class EncodedForm:
    pieces: list[Piece]
    content_type: str


def encode(call: Call) -> EncodedForm:
    """The body's fields as text, a list as repeated fields, what nests as JSON; then the files. Of a `raw`
    call the one file alone.

    Raises `JSONEncodeError`."""
    if call.encoding == "raw":
        (file,) = call.files
        return EncodedForm([file.data], _in_one_line(file.mime))
    if call.encoding == "form":
        pairs = [(name, text) for name, value in call.body.items() for text in _texts(value)]
        return EncodedForm([urlencode(pairs).encode()], "application/x-www-form-urlencoded")
    boundary = secrets.token_hex(16)
    line = f"--{boundary}\r\n".encode()
    pieces: list[Piece] = []
    for name, value in call.body.items():
        for text in _texts(value):
            pieces += (line, _head(f'name="{_quoted(name)}"'), text, b"\r\n")
    for file in call.files:
        named = f'name="{_quoted(file.field)}"; filename="{_quoted(file.filename)}"'
        pieces += (line, _head(named, file.mime), file.data, b"\r\n")
    pieces.append(f"--{boundary}--\r\n".encode())
    return EncodedForm(pieces, f"multipart/form-data; boundary={boundary}")


def _head(named: str, mime: str = "") -> bytes:
    kind = f"content-type: {_in_one_line(mime)}\r\n" if mime else ""
    return jsonio.whole_characters(f"content-disposition: form-data; {named}\r\n{kind}\r\n").encode()


def _in_one_line(mime: str) -> str:
    """A client says what its file is, and some readers take a lone line feed for the end of a header."""
    return _CONTROL.sub(" ", mime)


def _quoted(name: str) -> str:
    """As browsers write names: a client's file name must not end the header it stands in."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _texts(value: Any) -> Iterator[bytes]:
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str | Slice):
        yield jsonio.whole_characters(str(value)).encode()
    elif value is not None:
        yield b"".join(jsonio.dumps(value))
