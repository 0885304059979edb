"""What a client of Responses wants of its reply's form, and how it wrote its request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import ClassVar

from proxy.fronts.openai import spelling
from proxy.fronts.openai.items.called import Known
from proxy.types import Json
from proxy.types.values import dataclass


@dataclass(frozen=True, slots=True)
class ResponsesShape:
    """`echo` are the fields of the request that its reply repeats. `known` are the functions that the client
    knows as something else, by the name the upstream was given. `vendors_tools` are those that a vendor runs,
    by our kind: where they stand in the request, and as which type.

    `shows_thoughts`: their summary was asked for. `seals`: the client carries the signatures itself.
    `logprobs`, `sources` and `outputs` are shown where they were asked for. `refusal_in_text`: a refusal,
    also a filter's, is said as text, for the client shows nothing else. `needs_message`: a reply that calls
    nothing of the client's has a message, be it empty. `picture` is the client's tool that draws. `store`:
    the reply shall be kept, with `before`, the items of earlier replies, and `items`, the client's own ones;
    both sides are said in `conversation` then.
    """

    words: ClassVar[spelling.Words] = spelling.OF_RESPONSES

    model: str
    echo: Json = field(default_factory=dict)
    known: Mapping[str, Known] = field(default_factory=dict)
    vendors_tools: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    shows_thoughts: bool = False
    seals: bool = False
    logprobs: bool = False
    sources: bool = False
    outputs: bool = False
    refusal_in_text: bool = False
    needs_message: bool = False
    picture: Json = field(default_factory=dict)
    store: bool = False
    background: bool = False
    conversation: str | None = None
    before: tuple[Json, ...] = ()
    items: tuple[Json, ...] = ()
    wrote: tuple[str, ...] = ()
