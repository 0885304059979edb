"""What is not carried, and what a vendor refuses, has the name that its client gave it: each dialect before
each kind of upstream. X-008."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.gateway import KEY, STRICT_OPENAI, Gateway, open_gateway

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
NATIVE, LEGACY = "/v1beta/models/{}:generateContent", "/v1/completions"
USER: Any = [{"role": "user", "content": "Hi"}]
HI: Any = [{"role": "user", "parts": [{"text": "Hi"}]}]
FAILED: Any = [
    *USER,
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "QUJD"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
        ],
    },
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "no", "is_error": True}],
    },
]
CALL = {"functionCall": {"id": "c", "name": "f", "args": {}}, "thoughtSignature": "QUJD"}
RESULT = {"functionResponse": {"id": "c", "name": "f", "response": {"error": "no"}}}
SIGNED: Any = {
    "id": "c",
    "type": "function",
    "function": {"name": "f", "arguments": "{}"},
    "extra_content": {"google": {"thought_signature": "QUJD"}},
}
SEARCH: Any = {
    "type": "web_search",
    "filters": {"allowed_domains": ["a.example"]},
    "search_context_size": "low",
}
THOUGHTS: Any = {"thinkingConfig": {"includeThoughts": True}}
FUNCTION: Any = {"type": "function", "name": "f", "parameters": {"type": "object"}}


@pytest.fixture(scope="module")
def openai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("strict"), STRICT_OPENAI) as one:
        yield one


def asked(gateway: Gateway, path: str, model: str, body: Any, **headers: str) -> httpx.Response:
    if "{}" not in path:
        body = {"model": model, **body}
    own = {"authorization": f"Bearer {KEY}", **headers}
    return gateway.http.post(gateway.base_url + path.format(model), json=body, headers=own)


@pytest.mark.parametrize(
    ("path", "model", "body", "named"),
    [
        (MESSAGES, "lan-chat", {"max_tokens": 50, "messages": FAILED},
         "messages[1].content[].signature, messages[2].content[].is_error"),
        (MESSAGES, "lan-chat", {"max_tokens": 50, "messages": USER, "thinking": {"type": "adaptive"}},
         "thinking"),
        (MESSAGES, "lan-chat", {"max_tokens": 50, "messages": USER, "tools": [
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]}, "tools[0].max_uses"),
        (NATIVE, "lan-chat", {"contents": HI, "generationConfig": THOUGHTS},
         "generationConfig.thinkingConfig.includeThoughts"),
        (NATIVE, "lan-chat", {"contents": [*HI, {"role": "model", "parts": [CALL]}, {"parts": [RESULT]}]},
         "contents[2].parts[].functionResponse.response"),
        (RESPONSES, "lan-chat", {"input": "Hi", "reasoning": {"summary": "auto"}}, "reasoning.summary"),
        (RESPONSES, "lan-chat", {"input": "Hi", "tools": [SEARCH]}, "tools[0].filters"),
        (RESPONSES, "gemini-flash", {"input": "Hi", "tools": [FUNCTION, SEARCH]},
         "tools[1].filters, tools[1].search_context_size"),
        (RESPONSES, "gemini-2.5-flash", {"input": "Hi", "tools": [{"type": "web_search"}, FUNCTION]},
         "tools[0].type=web_search"),
        (CHAT, "lan-chat", {"messages": [*USER, {"role": "assistant", "tool_calls": [SIGNED]},
                                         {"role": "tool", "tool_call_id": "c", "content": "1"}]},
         "messages[1].extra_content"),
        (CHAT, "gemini-flash", {"messages": USER, "verbosity": "low"}, "verbosity"),
    ],
)  # fmt: skip
def test_what_is_not_carried_is_named_and_refused_where_the_client_is_strict(
    gateway: Gateway, path: str, model: str, body: Any, named: str
) -> None:
    reply = asked(gateway, path, model, body)
    assert (reply.status_code, reply.headers.get("x-proxy-dropped")) == (200, named)
    error = asked(gateway, path, model, body, **{"x-proxy-strict": "true"})
    assert error.status_code == 400
    assert named in error.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (MESSAGES, {"max_tokens": 50, "messages": USER, "output_config": {"effort": "low"}}),
        (NATIVE, {"contents": HI, "generationConfig": {"thinkingConfig": {"includeThoughts": False}}}),
        (RESPONSES, {"input": "Hi", "reasoning": {"effort": "low"}}),
    ],
)
def test_a_strict_client_may_ask_for_an_effort_and_for_silence(
    gateway: Gateway, path: str, body: Any
) -> None:
    reply = asked(gateway, path, "lan-chat", body, **{"x-proxy-strict": "true"})
    assert (reply.status_code, reply.headers.get("x-proxy-dropped")) == (200, None)


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        (CHAT, {"messages": USER, "logprobs": True}, "logprobs"),
        (CHAT, {"messages": USER, "logprobs": True, "top_logprobs": 2, "stream": True},
         "logprobs, top_logprobs"),
        (LEGACY, {"prompt": "Hi", "logprobs": 2}, "logprobs"),
        (RESPONSES, {"input": "Hi", "top_logprobs": 2}, "top_logprobs"),
        (RESPONSES, {"input": "Hi", "include": ["message.output_text.logprobs"]}, "include"),
    ],
)  # fmt: skip
def test_what_a_model_refuses_to_tell_is_named_and_the_rest_is_told(
    gateway: Gateway, path: str, body: Any, fields: str
) -> None:
    """Gemini 3 has no logprobs, and says so with a 400 in words alone; some clients always ask for them."""
    reply = asked(gateway, path, "gemini-flash", body)
    assert (reply.status_code, reply.headers["x-proxy-dropped"]) == (200, fields)
    strict = asked(gateway, path, "gemini-flash", body, **{"x-proxy-strict": "true"})
    assert (strict.status_code, strict.json()["error"]["param"]) == (400, fields.partition(",")[0])


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        (NATIVE, {"contents": HI, "generationConfig": {"topK": 64}}, "generationConfig.topK"),
        (MESSAGES, {"max_tokens": 50, "messages": USER, "top_k": 64}, "top_k"),
        (CHAT, {"messages": USER, "top_k": 64}, "top_k"),
        (
            MESSAGES,
            {
                "max_tokens": 50,
                "messages": USER,
                "thinking": {"type": "adaptive"},
                "output_config": {"effort": "high"},
            },
            "thinking",
        ),
        (
            NATIVE,
            {"contents": HI, "generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}},
            "generationConfig.thinkingConfig",
        ),
        (CHAT, {"messages": USER, "reasoning_effort": "low"}, "reasoning_effort"),
    ],
)
def test_a_server_that_does_not_know_a_field_is_asked_without_it(
    openai: Gateway, path: str, body: Any, named: str
) -> None:
    """The Gemini CLI sends `topK` with every request, Claude Code an effort."""
    reply = asked(openai, path, "gpt", body)
    assert (reply.status_code, reply.headers.get("x-proxy-dropped")) == (200, named)
    error = asked(openai, path, "gpt", body, **{"x-proxy-strict": "true"})
    assert (error.status_code, "Unrecognized request argument supplied" in error.text) == (400, True)


def test_a_refusal_of_googles_that_names_no_field_has_the_clients(gateway: Gateway) -> None:
    """A body in Google's own words stays as it is."""
    body = {"contents": HI, "generationConfig": {"responseLogprobs": True}}
    reply = asked(gateway, NATIVE, "gemini-flash", body)
    error = reply.json()["error"]
    named = error["details"][0]["fieldViolations"][0]["field"]
    assert (reply.status_code, named) == (400, "generationConfig.responseLogprobs")
    assert error["message"].startswith("Logprobs is not enabled")
