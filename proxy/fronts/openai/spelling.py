"""What the attributes of a request are called in OpenAI's dialects, for errors and for what is not carried.

Wires name attribute paths (`answer_format.schema`, `image.size`, `messages[3].name`); a client is told the
field that it wrote itself. A path that is not in the table is spelled as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from proxy.errors import ProxyError, RequestError
from proxy.fronts import spelling
from proxy.fronts.base import Parsed
from proxy.fronts.spelling import Spellings
from proxy.types.values import dataclass

_BOTH: Spellings = {
    "image": ("size", "aspect_ratio", "image_size", "quality"),
    "image.size": ("size", "image_config.size"),
    "image.aspect_ratio": (
        "aspect_ratio", "image_config.aspect_ratio", "aspectRatio", "image_config.aspectRatio",
        "ratio", "image_config.ratio",
    ),
    "image.image_size": (
        "image_size", "image_config.image_size", "imageSize", "image_config.imageSize",
        "resolution", "image_config.resolution",
    ),
    "image.quality": ("quality", "image_config.quality"),
    "user": ("safety_identifier", "user"),
}  # fmt: skip

CHAT: Spellings = {
    **_BOTH,
    "user": ("user",),
    "answer_format": ("response_format",),
    "answer_format.schema": ("response_format.json_schema.schema", "response_format.schema"),
    "max_tokens": ("max_completion_tokens", "max_tokens"),
    "native": ("google",),
    "parallel_calls": ("parallel_tool_calls",),
    "thinking": ("reasoning_effort", "reasoning", "thinking", "include_reasoning"),
    "thinking.summary": ("include_reasoning", "reasoning", "thinking"),
    "tool_choice": ("tool_choice", "function_call"),
    "tools": ("tools", "functions", "web_search_options"),
    "tools.web_search": ("web_search_options", "tools.web_search"),
    # A chat for a vendor of pictures: its words and pictures stand in the messages.
    "prompt": ("messages",),
    "references": ("messages",),
}

IMAGES: Spellings = {
    **_BOTH,
    "references": ("image", "images", "image_urls", "image_url"),
    # A picture request for an upstream that chats.
    "messages": ("prompt",),
}

EMBEDDINGS: Spellings = {
    "user": ("user",),
    "inputs": ("input",),
    "task": ("task_type", "input_type"),
}

SPEECH: Spellings = {"text": ("input",), "format": ("response_format",), "audio": ("voice",)}

TRANSCRIPTS: Spellings = {
    "recording": ("file",),
    "messages": ("file",),
    "detail": ("response_format",),
    "words": ("timestamp_granularities[]", "timestamp_granularities"),
}

COMPLETIONS: Spellings = {**CHAT, "messages": ("prompt",), "top_logprobs": ("logprobs",)}

RESPONSES: Spellings = {
    **_BOTH,
    "answer_format": ("text.format",),
    "answer_format.schema": ("text.format.schema",),
    "foreign.verbosity": ("text.verbosity",),
    "image.quality": ("tools[].quality",),
    "image.size": ("tools[].size",),
    "logprobs": ("include", "top_logprobs"),
    "max_tokens": ("max_output_tokens",),
    "messages": ("input",),
    "messages[-1]": ("previous_response_id", "conversation"),
    "messages[-2]": ("instructions",),
    "native": ("google",),
    "parallel_calls": ("parallel_tool_calls",),
    "prompt": ("input",),
    "references": ("input",),
    "thinking": ("reasoning",),
    "thinking.summary": ("reasoning.summary",),
    "tools.code_execution": ("tools.code_interpreter",),
    "user": ("user",),
}

_REBUILT = ("messages", "input", "tools")  # what an upstream counts in there are not the client's own places
_FIRST_STEP = re.compile(r"[^.\[]+")
_OF_MESSAGE = re.compile(r"(messages\[-?\d*\])\.(call_id|calls|legacy_call|parts|result_name|signed)\b")
_VENDORS_TOOL = re.compile(r"tools\.(\w+)(\Z|\.)")
_MEMBER_OF_TOOL = re.compile(r"(tools\[\d*\])\.(name|description|parameters|strict)\b")


@dataclass(frozen=True, slots=True)
class Words:
    """How an endpoint spells: its table, the members of its messages, and whether a function's members stand
    in an object of their own."""

    table: Spellings
    of_message: Mapping[str, str]
    nests_functions: bool


_OF_CHAT = {
    "call_id": "tool_call_id",
    "calls": "tool_calls",
    "legacy_call": "function_call",
    "parts": "content",
    "result_name": "name",
    "signed": "extra_content",
}
OF_CHAT = Words(CHAT, _OF_CHAT, nests_functions=True)
OF_IMAGES = Words(IMAGES, _OF_CHAT, nests_functions=True)
OF_EMBEDDINGS = Words(EMBEDDINGS, _OF_CHAT, nests_functions=True)
OF_SPEECH = Words(SPEECH, _OF_CHAT, nests_functions=True)
OF_TRANSCRIPTS = Words(TRANSCRIPTS, _OF_CHAT, nests_functions=True)
OF_MODERATIONS = Words({"items": ("input",)}, _OF_CHAT, nests_functions=True)
OF_COMPLETIONS = Words(COMPLETIONS, _OF_CHAT, nests_functions=True)
OF_RESPONSES = Words(
    RESPONSES,
    {
        "call_id": "call_id",
        "calls": "call_id",
        "legacy_call": "call_id",
        "parts": "content",
        "result_name": "name",
        "signed": "encrypted_content",
    },
    nests_functions=False,
)


def _words_of(parsed: Parsed[Any, Any] | None) -> Words:
    found: Words = OF_CHAT if parsed is None else parsed.shape.words
    return found


def spelled(path: str, parsed: Parsed[Any, Any] | None) -> str:
    """The client's spelling of an attribute path; None: nothing is known of the request."""
    words = _words_of(parsed)
    table = words.table
    if path.startswith("foreign.") and path not in table:
        return path.removeprefix("foreign.")
    wrote: tuple[str, ...] = parsed.shape.wrote if parsed is not None else ()
    if parsed is not None and (places := getattr(parsed.shape, "vendors_tools", None)):
        path = _VENDORS_TOOL.sub(lambda found: _placed(found, places), path, count=1)
    path = _OF_MESSAGE.sub(lambda found: f"{found[1]}.{words.of_message[found[2]]}", path)
    if words.nests_functions and ("functions" not in wrote or "tools" in wrote):
        path = _MEMBER_OF_TOOL.sub(r"\1.function.\2", path)
    return spelling.found(path, table, wrote)


def _placed(found: re.Match[str], places: Mapping[str, tuple[str, str]]) -> str:
    """A tool that the vendor runs, by its place in the client's list; the whole of it also by its type."""
    if found[1] not in places:
        return found[0]
    place, sort = places[found[1]]
    return f"{place}{found[2]}" if found[2] else f"{place}.type={sort}"


def spelled_all(paths: tuple[str, ...], parsed: Parsed[Any, Any] | None) -> tuple[str, ...]:
    """The same for many, each once."""
    return tuple(dict.fromkeys([spelled(path, parsed) for path in paths])) if paths else ()


def place_of(error: RequestError) -> str:
    """Where a mistake is, for somebody at a terminal."""
    return error.param or (spelled(error.attribute, None) if error.attribute else "request")


def spelled_error(error: BaseException, parsed: Parsed[Any, Any] | None) -> BaseException:
    """The error with the client's own field as its `param`, where it names an attribute or a vendor's."""
    if not isinstance(error, ProxyError):
        return error
    return spelling.spelled_error(
        error, partial(spelled, parsed=parsed), partial(_spelled_field, parsed=parsed)
    )


def _spelled_field(param: str, parsed: Parsed[Any, Any] | None) -> str | None:
    """A vendor's field as the client's own; None where the client wrote nothing of the kind."""
    if parsed is None:
        return None
    head = _FIRST_STEP.match(param)
    field = head[0] if head is not None else param
    wrote: tuple[str, ...] = parsed.shape.wrote
    if field in wrote:
        return field if field in _REBUILT else param
    table = _words_of(parsed).table
    meant = [field, *(attribute for attribute, words in table.items() if field in words)]
    return next((word for one in meant for word in table.get(one, ()) if word in wrote), None)
