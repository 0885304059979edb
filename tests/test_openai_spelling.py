"""What is not carried, and what is wrong, is told in the spelling of the client that wrote it."""

from typing import Any

import pytest

from proxy.errors import ErrorClass, NotCarriedError, RequestError, UpstreamError
from proxy.fronts.openai import spelling
from proxy.fronts.openai.chat import request as chat_request
from proxy.fronts.openai.images import request as image_request

HELLO = [{"role": "user", "content": "Hi"}]
F = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("path", "fields", "spelled"),
    [
        ("max_tokens", {"max_tokens": 5}, "max_tokens"),
        ("max_tokens", {"max_completion_tokens": 5}, "max_completion_tokens"),
        ("thinking", {"reasoning_effort": "low"}, "reasoning_effort"),
        ("thinking", {"reasoning": {"effort": "low"}}, "reasoning"),
        ("thinking", {"thinking": {"type": "enabled"}}, "thinking"),
        ("thinking.effort", {"reasoning": {"effort": "low"}}, "reasoning.effort"),
        ("tools", {"functions": [{"name": "f"}]}, "functions"),
        ("tools[2]", {"functions": [{"name": "f"}]}, "functions[2]"),
        ("tools[].strict", {"functions": [{"name": "f"}]}, "functions[].strict"),
        ("tools[1].strict", {"tools": [F]}, "tools[1].function.strict"),
        ("tool_choice", {"functions": [{"name": "f"}], "function_call": "auto"}, "function_call"),
        ("tools.web_search.x", {"web_search_options": {"x": 1}}, "web_search_options.x"),
        ("answer_format", {"response_format": {"type": "json_object"}}, "response_format"),
        (
            "answer_format.schema",
            {"response_format": {"type": "json_object", "schema": {"type": "object"}}},
            "response_format.schema",
        ),
        (
            "answer_format.schema",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}},
            "response_format.json_schema.schema",
        ),
        ("parallel_calls", {"parallel_tool_calls": True}, "parallel_tool_calls"),
        ("image.size", {"size": "2K"}, "size"),
        ("image.size", {"image_config": {"size": "2K"}}, "image_config.size"),
        ("image.aspect_ratio", {"ratio": "1:1"}, "ratio"),
        ("native.thinking_config", {"google": {"thinking_config": {}}}, "google.thinking_config"),
        ("foreign.logit_bias", {"logit_bias": {"1": 1}}, "logit_bias"),
        ("messages[3].name", {}, "messages[3].name"),
        ("messages[3].parts", {}, "messages[3].content"),
        ("messages[3].call_id", {}, "messages[3].tool_call_id"),
        ("messages[3].result_name", {}, "messages[3].name"),
        ("messages[3].calls", {}, "messages[3].tool_calls"),
        ("messages[3].legacy_call", {}, "messages[3].function_call"),
        ("messages[0].content[0].image_url.url", {}, "messages[0].content[0].image_url.url"),
        ("temperature", {}, "temperature"),
        ("prompt", {}, "messages"),
        ("thinking", {}, "reasoning_effort"),
    ],
)
def test_the_field_that_a_chat_client_wrote_is_named(path: str, fields: dict[str, Any], spelled: str) -> None:
    parsed = chat_request.parse({"model": "m", "messages": HELLO, **fields})
    assert spelling.spelled(path, parsed) == spelled


@pytest.mark.parametrize(
    ("path", "fields", "spelled"),
    [
        ("references", {"image": "https://x/a.png"}, "image"),
        ("references[1]", {"image_urls": ["https://x/a.png"]}, "image_urls[1]"),
        ("user", {"user": "u"}, "user"),
        ("user", {"user": "u", "safety_identifier": "s"}, "safety_identifier"),
        ("image.image_size", {"resolution": "2K"}, "resolution"),
        ("messages", {}, "prompt"),
        ("seed", {}, "seed"),
    ],
)
def test_the_field_that_a_client_of_the_images_api_wrote_is_named(
    path: str, fields: dict[str, Any], spelled: str
) -> None:
    parsed = image_request.parse({"model": "m", "prompt": "x", **fields})
    assert spelling.spelled(path, parsed) == spelled


def test_names_that_are_spelled_alike_are_told_once() -> None:
    parsed = chat_request.parse({"model": "m", "messages": HELLO, "functions": [{"name": "f"}]})
    paths = ("tools", "tools[].strict", "tools")
    assert spelling.spelled_all(paths, parsed) == ("functions", "functions[].strict")


def test_a_strict_refusal_speaks_of_the_clients_own_fields() -> None:
    parsed = chat_request.parse({"model": "m", "messages": HELLO, "web_search_options": {}})
    found = spelling.spelled_error(NotCarriedError(("tools", "answer_format")), parsed)
    assert isinstance(found, RequestError)
    assert (found.param, found.message) == (
        "web_search_options",
        "This model cannot carry: web_search_options, response_format. Leave it out, or x-proxy-strict.",
    )


def test_a_strict_refusal_is_short_however_much_is_not_carried() -> None:
    many = tuple(f"messages[{number}]" for number in range(5000))
    found = spelling.spelled_error(NotCarriedError(many), None)
    assert isinstance(found, RequestError)
    assert found.message.endswith("messages[19] and 4980 more. Leave it out, or x-proxy-strict.")


TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize(
    ("param", "fields", "told"),
    [
        ("temperature", {"temperature": 1}, "temperature"),
        (
            "response_format.json_schema.schema",
            {"response_format": {"type": "text"}},
            "response_format.json_schema.schema",
        ),
        ("max_tokens", {"max_completion_tokens": 5}, "max_completion_tokens"),
        ("max_tokens", {"max_tokens": 5}, "max_tokens"),
        ("tools[0].function.parameters", {"tools": TOOLS}, "tools"),
        ("tools[0].function.name", {"functions": [{"name": "f"}]}, "functions"),
        ("messages[3].content", {}, "messages"),
        ("prompt", {}, "messages"),
        ("image", {"image_config": {"aspect_ratio": "1:1"}}, None),
        ("aspect_ratio", {"ratio": "1:1"}, "ratio"),
        ("size", {"image_config": {"size": "2K"}}, "image_config.size"),
        ("reasoning_effort", {"thinking": {"type": "enabled"}}, "thinking"),
        ("stream_options.include_usage", {}, None),
        ("generationConfig.foo", {}, None),
        ("[0]", {}, None),
    ],
)
def test_a_vendors_field_is_told_as_the_clients_own_or_not_at_all(
    param: str, fields: Any, told: str | None
) -> None:
    parsed = chat_request.parse({"model": "m", "messages": HELLO, **fields})
    failure = UpstreamError(ErrorClass.BAD_REQUEST, "no", param=param)
    found = spelling.spelled_error(failure, parsed)
    assert isinstance(found, UpstreamError)
    assert (found.param, found.message) == (told, "no")
    unknown = spelling.spelled_error(failure, None)
    assert isinstance(unknown, UpstreamError)
    assert unknown.param is None


@pytest.mark.parametrize(
    ("param", "told"),
    [("messages[0].content", "prompt"), ("prompt", "prompt"), ("image", "images"), ("input.size", None)],
)
def test_a_vendors_field_of_a_picture_request(param: str, told: str | None) -> None:
    body = {"model": "m", "prompt": "A cat", "images": [{"image_url": "https://example.com/a.png"}]}
    found = spelling.spelled_error(
        UpstreamError(ErrorClass.BAD_REQUEST, "no", param=param), image_request.parse(body, "edit")
    )
    assert isinstance(found, UpstreamError)
    assert found.param == told


def test_an_error_names_the_clients_own_field() -> None:
    parsed = chat_request.parse({"model": "m", "messages": HELLO, "max_completion_tokens": 5})
    found = spelling.spelled_error(RequestError("no", attribute="max_tokens"), parsed)
    assert isinstance(found, RequestError)
    assert (found.param, found.message) == ("max_completion_tokens", "no")
    before = RequestError("no", param="x", attribute="max_tokens")
    assert spelling.spelled_error(before, parsed) is before
    assert isinstance(spelling.spelled_error(RequestError("no", attribute="model"), None), RequestError)
    assert spelling.place_of(RequestError("no", attribute="answer_format")) == "response_format"
    assert (spelling.place_of(before), spelling.place_of(RequestError("no"))) == ("x", "request")
    broken = ValueError("x")
    assert spelling.spelled_error(broken, parsed) is broken
