"""What comes by the admin's addresses and commands in the words of the file, checked as the file is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from proxy.checking.mistakes import did_you_mean, shown
from proxy.config.validate import complaint
from proxy.errors import RequestError

M = TypeVar("M", bound=BaseModel)


def read(model: type[M], body: Mapping[str, Any]) -> M:
    """Raises a 400 that names the field."""
    try:
        return model.model_validate(dict(body))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    place = shown(first["loc"])
    said = {"missing": "is needed", "extra_forbidden": "is not known here"}.get(first["type"])
    hint = (
        did_you_mean(str(first["loc"][0]), model.model_fields) if first["type"] == "extra_forbidden" else ""
    )
    message = f"{place} {said or complaint(first)}{f'; {hint}' if hint else ''}."
    raise RequestError(message, param=place, code="invalid_value")
