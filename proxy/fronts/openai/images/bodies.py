"""Replies of the Images API, as OpenAI spells them and with what we add: shapes for the type checker, not
loaded when we run."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from proxy.types import Json, Slice


class Item(TypedDict, total=False):
    b64_json: Slice
    url: str | Slice | None
    revised_prompt: str


class Facts(TypedDict, total=False):
    size: str
    output_format: str
    quality: str
    background: str


class InputDetails(TypedDict):
    text_tokens: int
    image_tokens: int


class Usage(TypedDict):
    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: InputDetails
    output_tokens_details: InputDetails
    vendor: NotRequired[Json]
    cost: NotRequired[float]
    cost_currency: NotRequired[str]


class Images(Facts):
    created: int
    data: list[Item]
    safety_identifier: NotRequired[str]
    usage: NotRequired[Usage]


class Shown(TypedDict):
    """The event of a picture: of one on its way `partial_image_index`, of one that is done `usage`."""

    type: str
    b64_json: Slice | str
    background: str
    created_at: int
    output_format: str
    quality: str
    size: str
    partial_image_index: NotRequired[int]
    url: NotRequired[str]
    revised_prompt: NotRequired[str]
    usage: NotRequired[Usage]
    safety_identifier: NotRequired[str]
