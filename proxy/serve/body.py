"""Request bodies: a JSON object, or a form with files."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from proxy.codec import jsonio
from proxy.errors import RequestError
from proxy.types import FormFile, Slice

_MAX_FILES = 32
_MAX_FIELDS = 100
_MAX_FIELD_BYTES = 32 << 20  # base64 sent as a text field; the whole body is limited before


def read_json(raw: bytes) -> dict[str, Any]:
    """The body as an object. Raises a 400 that says where the JSON breaks."""
    try:
        body = jsonio.loads(raw)
    except jsonio.JSONDecodeError as exc:
        raise RequestError(f"The request body is not valid JSON: {exc}.", code="invalid_json") from exc
    if not isinstance(body, dict):
        raise RequestError("The request body must be a JSON object.", code="invalid_json")
    return body


async def read_form(raw: bytes, content_type: str) -> tuple[list[tuple[str, str]], list[FormFile]]:
    """Fields and files of a multipart form, in order. Raises a 400 when it is none."""
    from starlette.datastructures import Headers, UploadFile
    from starlette.formparsers import MultiPartException, MultiPartParser

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield raw
        yield b""

    parser = MultiPartParser(
        Headers({"content-type": content_type}),
        chunks(),
        max_files=_MAX_FILES,
        max_fields=_MAX_FIELDS,
        max_part_size=_MAX_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, AssertionError) as exc:
        said = getattr(exc, "message", "") or "the boundary is missing"
        raise RequestError(f"The form could not be read: {said}.", code="invalid_form") from exc
    fields: list[tuple[str, str]] = []
    files: list[FormFile] = []
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                data = Slice.of(await value.read())
                files.append(FormFile(name, value.filename or "", value.content_type or "", data))
            else:
                fields.append((name, value))
    finally:
        await form.close()
    return fields, files
