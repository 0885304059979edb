"""How pictures are shown in the reply of a chat, in whichever dialect, and who decides that."""

from __future__ import annotations

from typing import Any, Literal, cast

from proxy.errors import RequestError

Mode = Literal["images", "parts", "markdown", "link", "images+link"]

MODES: tuple[Mode, ...] = ("images", "parts", "markdown", "link", "images+link")
AUTO = "auto"
WORDS = (AUTO, *MODES)


def choose(
    *,
    body: Any = None,
    header: str | None = None,
    query: str | None = None,
    suffix: str | None = None,
    key: str | None = None,
    model: str | None = None,
    default: str | None = None,
) -> Mode | None:
    """The first of these that speaks decides. None for `auto`, also when none does: the front knows the rest.

    Raises `RequestError` for an unknown word.
    """
    sources = (
        ("image_output", body),
        ("x-image-output", header),
        ("image_output", query),
        ("model", suffix),
        ("image_output", key),
        ("image_output", model),
        ("image_output", default),
    )
    for param, value in sources:
        if value is not None and value != "":
            word = value.strip().lower() if isinstance(value, str) else value
            if word not in WORDS:
                raise RequestError(
                    f"Invalid value for '{param}': {value!r}. Supported values are: "
                    f"{', '.join(map(repr, WORDS))}.",
                    param=param,
                    code="invalid_value",
                )
            return None if word == AUTO else cast(Mode, word)
    return None


def split_model_suffix(model: str) -> tuple[str, str | None]:
    """`name@parts` -> (`name`, `parts`). Other words behind an @ belong to the model's name."""
    name, at, word = model.rpartition("@")
    return (name, word) if at and name and word in WORDS else (model, None)
