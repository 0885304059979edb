"""`/v1/files`: what is read of an upload, whoever asks. How it is told is each dialect's own."""

from __future__ import annotations

from typing import Any

from proxy.errors import RequestError
from proxy.fronts import checks
from proxy.fronts.base import Form
from proxy.types import FormFile

# What a chat or a response can speak of. The others are of services that are not here.
PURPOSES = ("vision", "user_data")


def read(body: Any, usual: str | None) -> tuple[str, FormFile]:
    """Purpose and file of a form; `usual` is the purpose in a dialect that knows of none. Raises
    `RequestError`."""
    if not isinstance(body, Form):
        raise checks.invalid("file", "the request must be a form (multipart/form-data).", "invalid_form")
    purpose = dict(body.fields).get("purpose", usual)
    if purpose is None:
        raise checks.missing("purpose")
    if purpose not in PURPOSES:
        raise checks.invalid_value("purpose", purpose, PURPOSES)
    if not body.files:
        raise checks.missing("file")
    if len(body.files) > 1 or body.files[0].field != "file":
        raise checks.invalid("file", "one file is expected, and it is called file.", "unsupported_parameter")
    if not body.files[0].data:
        raise checks.invalid("file", "the file is empty.", "empty_file")
    return purpose, body.files[0]


def missing(id: str) -> RequestError:
    return RequestError(f"No such File object: {id[:64]}", param="id", status=404, code="file_not_found")


def full() -> RequestError:
    return RequestError(
        "This key has as much uploaded as it may have; delete some of it.",
        param="file",
        status=413,
        code="storage_full",
    )
