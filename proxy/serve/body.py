"""Request bodies: a JSON object, or a form with files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from proxy.codec import jsonio, values
from proxy.errors import RequestError
from proxy.fronts.base import Form
from proxy.serve.exchange import Exchange
from proxy.serve.form import FormParser
from proxy.types import FormFile, Json, Slice

LARGE = 128 * 1024  # bytes of JSON; what goes through more of it may take tens of milliseconds
_MOST_TEXT = 20 << 20  # bytes beside base64; a step through that many takes 20-75 ms, and nobody else runs


def read_json(raw: bytes) -> dict[str, Any]:
    """The body as an object. Raises a 400 that says where the JSON breaks, a 413 for too much text."""
    try:
        body = jsonio.loads(raw, judge=_not_too_much if len(raw) > LARGE else None)
    except jsonio.JSONDecodeError as exc:
        raise RequestError(f"The request body is not valid JSON: {exc}.", code="invalid_json") from exc
    if not isinstance(body, dict):
        raise RequestError("The request body must be a JSON object.", code="invalid_json")
    return body


async def read(exchange: Exchange, limit: int) -> tuple[Json | Form, bytes]:
    """The body of a request, which is work from then on, and its JSON as it was written. Raises a 413 above
    `limit` bytes, a 400 for what is neither JSON nor a form, and what `Exchange.begin` raises."""
    content_type = exchange.fields.get(b"content-type", b"")
    if content_type[:19].lower() == b"multipart/form-data":
        form = Form(*await read_form(exchange.chunks(limit), content_type.decode("latin-1")))
        exchange.begin()
        return form, b""
    raw = await exchange.body(limit)
    exchange.begin()
    return (read_json(raw) if len(raw) <= LARGE else await asyncio.to_thread(read_json, raw)), raw


def _not_too_much(text: bytes) -> None:
    if len(text) > _MOST_TEXT:
        raise RequestError(
            f"The request body has {len(text)} bytes that are not base64; {_MOST_TEXT} are taken at most.",
            status=413,
            code="request_too_large",
        )
    if values.too_many(text):
        raise RequestError(
            f"The request body has more than {values.MOST} values; send less at once.",
            code="too_many_values",
        )
    if values.too_many_in_texts(text):
        raise RequestError(
            f"The texts of the request body are JSON of more than {values.MOST_IN_TEXTS} values; send less.",
            code="too_many_values",
        )


async def read_form(
    chunks: AsyncGenerator[bytes, None], content_type: str
) -> tuple[list[tuple[str, str]], list[FormFile]]:
    """Fields and files of a multipart form, in order, read while it comes. Raises a 400 when it is none."""
    form: FormParser | None = None
    try:
        form = FormParser(content_type)
        async for chunk in chunks:
            form.feed(chunk)
        return form.close()
    finally:
        if form is not None:
            form.drop()
        await chunks.aclose()


def written(body: Json | Form) -> bytes:
    """The body as bytes, to be read again elsewhere; the same for the same request, whatever boundary its
    form had."""
    if not isinstance(body, Form):
        return b"".join((b"j", *jsonio.dumps(body)))
    files = [
        {"field": file.field, "filename": file.filename, "mime": file.mime, "data": file.data}
        for file in body.files
    ]
    return b"".join((b"f", *jsonio.dumps({"fields": body.fields, "files": files})))


def written_or_none(body: Json | Form) -> bytes | None:
    """None for what is too deeply nested to be kept at all."""
    try:
        return written(body)
    except jsonio.JSONEncodeError:
        return None


def read_again(raw: bytes) -> Json | Form:
    """What `written` wrote."""
    kind, value = raw[:1], jsonio.loads(raw[1:])
    if kind == b"j":
        return value  # type: ignore[no-any-return]
    files = [FormFile(**{**file, "data": _sliced(file["data"])}) for file in value["files"]]
    return Form([(name, text) for name, text in value["fields"]], files)


def _sliced(data: str | Slice) -> Slice:
    """Short base64 is parsed as a plain string."""
    return data if isinstance(data, Slice) else Slice(data.encode())
