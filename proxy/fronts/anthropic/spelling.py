"""What the attributes of a request are called in Messages, for errors and for what is not carried."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from proxy.errors import ProxyError
from proxy.fronts import spelling
from proxy.fronts.base import Parsed

SYSTEM = -1  # the index of the message that `system` is

_TABLE: spelling.Spellings = {
    "answer_format": ("output_config.format", "output_format"),
    "answer_format.schema": ("output_config.format.schema", "output_format.schema"),
    "parallel_calls": ("tool_choice.disable_parallel_tool_use",),
    "stop": ("stop_sequences",),
    "thinking": ("thinking", "output_config.effort"),
    "thinking.summary": ("thinking",),  # shown where they are asked for
    "user": ("metadata.user_id",),
    # For a vendor of pictures: what is drawn and what is drawn on stand in the messages.
    "prompt": ("messages",),
    "references": ("messages",),
}
_SYSTEM = f"messages[{SYSTEM}]"
_OF_MESSAGE = re.compile(r"(messages\[\d*\])\.(call_id|calls|failed|parts|signed)\b")
_OF_BLOCKS = {
    "call_id": "content[].tool_use_id",
    "calls": "content[].id",
    "failed": "content[].is_error",
    "parts": "content",
    "signed": "content[].signature",
}
_OF_TOOL = re.compile(r"(tools\[\d*\])\.parameters\b")
_SERVER_TOOL = re.compile(r"tools\.(\w+)")


def spelled(path: str, parsed: Parsed[Any, Any] | None) -> str:
    """The client's spelling of an attribute path; None: nothing is known of the request."""
    if path.startswith("foreign."):
        return path.removeprefix("foreign.")
    if path.startswith(_SYSTEM):
        return "system"
    path = _OF_MESSAGE.sub(lambda found: f"{found[1]}.{_OF_BLOCKS[found[2]]}", path)
    path = _OF_TOOL.sub(r"\1.input_schema", path)
    wrote: tuple[str, ...] = ()
    if parsed is not None:
        wrote = parsed.shape.wrote
        places: Mapping[str, int] = parsed.shape.server_tools
        path = _SERVER_TOOL.sub(lambda found: _placed(found, places), path, count=1)
    return spelling.found(path, _TABLE, wrote)


def spelled_all(paths: Iterable[str], parsed: Parsed[Any, Any] | None) -> tuple[str, ...]:
    """The same for many, each once."""
    return tuple(dict.fromkeys([spelled(path, parsed) for path in paths]))


def spelled_error(error: ProxyError, parsed: Parsed[Any, Any] | None) -> ProxyError:
    return spelling.spelled_error(error, partial(spelled, parsed=parsed), partial(_field, parsed=parsed))


def _field(param: str, parsed: Parsed[Any, Any] | None) -> str | None:
    """A vendor's field, or the attribute that it was made from, as the client's own; None where the client
    wrote nothing of the kind."""
    name = spelled(param, parsed)
    head = re.split(r"[.\[]", name, maxsplit=1)[0]
    return name if parsed is not None and head in parsed.shape.wrote else None


def _placed(found: re.Match[str], places: Mapping[str, int]) -> str:
    return f"tools[{places[found[1]]}]" if found[1] in places else found[0]
