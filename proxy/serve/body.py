"""Request bodies: a JSON object, or a form with files."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from proxy.codec import jsonio
from proxy.errors import RequestError
from proxy.serve.form import Form
from proxy.types import FormFile


def read_json(raw: bytes) -> dict[str, Any]:
    """The body as an object. Raises a 400 that says where the JSON breaks."""
    try:
        body = jsonio.loads(raw)
    except jsonio.JSONDecodeError as exc:
        raise RequestError(f"The request body is not valid JSON: {exc}.", code="invalid_json") from exc
    if not isinstance(body, dict):
        raise RequestError("The request body must be a JSON object.", code="invalid_json")
    return body


async def read_form(
    chunks: AsyncGenerator[bytes, None], content_type: str
) -> tuple[list[tuple[str, str]], list[FormFile]]:
    """Fields and files of a multipart form, in order, read while it comes. Raises a 400 when it is none."""
    try:
        form = Form(content_type)
        async for chunk in chunks:
            form.feed(chunk)
        return form.close()
    finally:
        await chunks.aclose()
