"""Whatever a client sends as a request for a response is read, or refused by us: nothing else escapes."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import RequestError
from proxy.fronts.base import Facts
from proxy.fronts.openai.kept import state
from proxy.fronts.openai.responses import request
from proxy.fronts.openai.responses.renderer import ResponsesRenderer
from proxy.types import Finish, Slice, Started, Text, ToolCall
from tests import responses_law

_LEAF = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.just(2**70), st.just(1.5), st.just(Slice(b"AAAA")),
    st.sampled_from(
        ["", "auto", "message", "function", "custom", "namespace", "required", "user", "assistant", "x",
         "input_text", "output_text", "input_image", "json_schema", "function_call", "function_call_output",
         "reasoning", "item_reference", "image_generation", "image_generation_call", "web_search",
         "tool_search", "client", "msg_" + "0" * 34, "resp_" + "0" * 32, "{}", "[]", '{"a":1}', "\ud800"]
    ),
)  # fmt: skip
_NAMES = st.sampled_from(
    ["type", "role", "content", "text", "id", "call_id", "name", "arguments", "output", "input", "summary",
     "encrypted_content", "image_url", "result", "format", "schema", "tools", "description", "parameters",
     "strict", "namespace", "definition", "execution", "size", "model", "effort", "verbosity", "container",
     "mode", "output_format"]
)  # fmt: skip
_VALUE: st.SearchStrategy[Any] = st.recursive(
    _LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)
_ITEM = st.dictionaries(_NAMES, _VALUE, max_size=5)
_FIELDS = st.sampled_from(
    ["instructions", "tools", "tool_choice", "text", "reasoning", "include", "store", "metadata",
     "background", "previous_response_id", "conversation", "prompt", "truncation", "top_logprobs",
     "temperature", "stream", "stream_options", "max_tool_calls", "unheard_of", "extra_body", "google",
     "user", "service_tier"]
)  # fmt: skip
_BODIES = st.builds(
    lambda input, fields: {"model": "m", "input": input, **fields},
    st.one_of(_VALUE, st.lists(_ITEM, max_size=4)),
    st.dictionaries(_FIELDS, _VALUE | st.lists(_ITEM, max_size=3), max_size=4),
)


@given(_BODIES)
def test_any_body_is_read_or_refused(body: dict[str, Any]) -> None:
    state.goes_on_from(body)
    with contextlib.suppress(RequestError):
        parsed = request.parse(body)
        events = (Started(), Text("Hi"), ToolCall(0, "c", "x", "{}"), Finish("stop"))
        one = ResponsesRenderer(parsed, Facts(1))
        sent = [one.feed(events), one.finish()]
        raw = b"".join(out if isinstance(out, bytes) else b"".join(out) for out in sent)
        if not parsed.later:
            responses_law.checked(raw)
        one.kept()
