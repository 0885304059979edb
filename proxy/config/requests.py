"""What comes by the admin's addresses and commands in the words of the file, checked as the file is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from proxy.checking.mistakes import did_you_mean, shown
from proxy.config.validate import complaint, unit_for
from proxy.errors import RequestError

M = TypeVar("M", bound=BaseModel)


def read(model: type[M], body: Mapping[str, Any]) -> M:
    """Raises a 400 that names the field."""
    try:
        return model.model_validate(dict(body))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    place = shown(first["loc"])
    if first["type"] == "extra_forbidden":
        message = f"{place} is not known here; {_neighbours(model, first['loc'])}"
    else:
        message = f"{place} {'is needed' if first['type'] == 'missing' else complaint(first)}"
        message += f"; {cure}" if (cure := unit_for(first)) else ""
    raise RequestError(message if message.endswith("?") else f"{message}.", param=place, code="invalid_value")


def _neighbours(model: type[BaseModel], place: tuple[int | str, ...]) -> str:
    """What is known there, where the last name of a place is not."""
    for name in place[:-1]:
        inner = model.model_fields[str(name)].annotation
        assert isinstance(inner, type)
        assert issubclass(inner, BaseModel)
        model = inner
    return did_you_mean(str(place[-1]), model.model_fields)
