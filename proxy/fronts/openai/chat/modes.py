"""How pictures are shown in a chat reply, and who decides that."""

from __future__ import annotations

import re
from typing import Any, Literal, cast

from proxy.errors import RequestError

Mode = Literal["images", "parts", "markdown", "link", "images+link"]

MODES: tuple[Mode, ...] = ("images", "parts", "markdown", "link", "images+link")
AUTO = "auto"
WORDS = (AUTO, *MODES)

# What a client gets under `auto`. A streamed reply in mode `parts` shows its pictures as `images`, since
# list-valued deltas are lost or crash in both official stream helpers. OpenAI's own SDKs pass a whole list
# through and merge streamed `images`: they need no row. Frameworks that say only `OpenAI/Python` cannot be
# told from the SDK itself; docs/clients.md says what to set for them.
_DEFAULT: Mode = "parts"

# A client that names itself and cannot show lists. Measured in the versions given; User-Agents from each
# project's source. The AI SDK writes `ai-sdk/openai/3.0.1`; newer versions put a dash for the first slash.
_CLIENTS: tuple[tuple[re.Pattern[str], Mode], ...] = (
    # @openrouter/ai-sdk-provider 2.10: a list is a validation error, `images` become file parts.
    (re.compile(r"ai-sdk[/-]openrouter"), "images"),
    # @ai-sdk/openai-compatible 2.0 drops pictures in either shape and keeps text.
    (re.compile(r"ai-sdk[/-]openai-compatible"), "markdown"),
    # @ai-sdk/openai 3.0, `.chat`: a list is a validation error, `images` are dropped.
    (re.compile(r"ai-sdk[/-]openai\b"), "markdown"),
    # ai 6.0 names no provider in `generateText`; text is what all of them keep.
    (re.compile(r"^ai/\d"), "markdown"),
    # @langchain/openai 1.5: keeps a whole list, loses streamed `images`.
    (re.compile(r"\blangchainjs-openai/"), "markdown"),
    # pydantic-ai 2.68: keeps the text of a list, and no `images`.
    (re.compile(r"\bpydantic-ai/"), "markdown"),
    # openai-agents 0.24: ValidationError on a list, drops `images`.
    (re.compile(r"\bagents/python\b"), "markdown"),
    # LiteLLM 1.83 as a client: InternalServerError on a list, keeps `images`.
    (re.compile(r"\blitellm/"), "images"),
    # Cherry Studio (its name is in Electron's User-Agent): shows `images`, prints a list as text.
    (re.compile(r"\bcherrystudio/"), "images"),
    # LobeChat from the browser: reads `images`, ignores lists.
    (re.compile(r"\blobe-?(?:chat|hub)\b"), "images"),
)


def choose(
    *,
    body: Any = None,
    header: str | None = None,
    query: str | None = None,
    suffix: str | None = None,
    key: str | None = None,
    model: str | None = None,
    default: str | None = None,
    user_agent: str | None = None,
) -> Mode:
    """The first of these that speaks decides; `auto` (also when none does) goes by the User-Agent.

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
            if word != AUTO:
                return cast(Mode, word)
            break
    return of_client(user_agent) if user_agent else _DEFAULT


def of_client(user_agent: str | None) -> Mode:
    """What the client that sends this User-Agent can show."""
    if user_agent:
        name = user_agent.lower()
        for pattern, mode in _CLIENTS:
            if pattern.search(name):
                return mode
    return _DEFAULT


def split_model_suffix(model: str) -> tuple[str, str | None]:
    """`name@parts` -> (`name`, `parts`). Other words behind an @ belong to the model's name."""
    name, at, word = model.rpartition("@")
    return (name, word) if at and name and word in WORDS else (model, None)
