"""What upstreams that speak OpenAI say when they refuse, as error classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import ChatRequest, Target
from proxy.wires.openai import OpenAIChatWire

WIRE = OpenAIChatWire()
TARGET = Target("relay", "m", "openai")


def failed(status: int, body: Any, headers: Mapping[str, str] | None = None) -> UpstreamError:
    raw = body.encode() if isinstance(body, str) else orjson.dumps(body)
    found = WIRE.error(status, headers or {}, raw, TARGET)
    assert isinstance(found, UpstreamError)
    assert found.provider == "relay"
    return found


def complaint(message: str = "x", **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


CLASSES: dict[str, tuple[int, Any, ErrorClass]] = {
    "V-021 new-api quota": (
        403,
        complaint("用户额度不足 (request id: 1)", type="new_api_error", code="insufficient_user_quota"),
        ErrorClass.QUOTA,
    ),
    "new-api, a key's own quota": (
        401,
        complaint(
            "该令牌额度已用尽 TokenStatusExhausted[sk-abc***xyz] (request id: 1)", type="new_api_error"
        ),
        ErrorClass.QUOTA,
    ),
    "new-api, another key": (401, complaint("该令牌已过期", type="new_api_error"), ErrorClass.AUTH),
    "new-api pre-charge": (
        403,
        complaint(code="pre_consume_token_quota_failed", type="new_api_error"),
        ErrorClass.QUOTA,
    ),
    "V-022 no channel": (
        503,
        complaint("No available channel for model x under group default", type="new_api_error"),
        ErrorClass.UNAVAILABLE,
    ),
    "V-022 no channel, chinese": (
        503,
        complaint("当前分组 default 下对于模型 x 无可用渠道", type="new_api_error"),
        ErrorClass.UNAVAILABLE,
    ),
    "channel failed": (
        500,
        complaint(code="get_channel_failed", type="new_api_error"),
        ErrorClass.UNAVAILABLE,
    ),
    "one-api sensitive words": (400, complaint(code="sensitive_words_detected"), ErrorClass.BLOCKED),
    "V-050 key": (401, complaint(type="invalid_request_error", code="invalid_api_key"), ErrorClass.AUTH),
    "key, revoked": (400, {"error": "Your API key has been revoked."}, ErrorClass.AUTH),
    "key, unauthorized": (400, {"error": {"message": "Unauthorized: token expired"}}, ErrorClass.AUTH),
    "key, token": (400, {"message": "The access token is expired"}, ErrorClass.AUTH),
    "a client's own words": (
        400,
        {"error": {"message": "messages[3].content: the tool told us of a request that was unauthorized"}},
        ErrorClass.BAD_REQUEST,
    ),
    "key, no words": (401, {"error": {"message": "No auth credentials found", "code": 401}}, ErrorClass.AUTH),
    "google's key": (
        400,
        [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}],
        ErrorClass.AUTH,
    ),
    "forbidden": (403, complaint("You are not allowed to sample from this model"), ErrorClass.AUTH),
    "openai quota": (429, complaint(type="insufficient_quota", code="insufficient_quota"), ErrorClass.QUOTA),
    "moonshot quota": (429, complaint(type="exceeded_current_quota_error"), ErrorClass.QUOTA),
    "deepseek balance": (402, complaint("Insufficient Balance", type="unknown_error"), ErrorClass.QUOTA),
    "rate": (429, complaint(code="rate_limit_exceeded"), ErrorClass.RATE_LIMITED),
    "google's rate, in a list": (
        429,
        [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "x"}}],
        ErrorClass.RATE_LIMITED,
    ),
    "model": (404, complaint(code="model_not_found"), ErrorClass.NOT_FOUND),
    "ollama's model": (404, complaint("model 'x' not found", type="api_error"), ErrorClass.NOT_FOUND),
    "openrouter's model": (400, complaint("x is not a valid model ID", code=400), ErrorClass.NOT_FOUND),
    "vllm's model": (
        404,
        {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404},
        ErrorClass.NOT_FOUND,
    ),
    "xai's model": (
        404,
        {"code": "Some requested entity was not found", "error": "The model x does not exist"},
        ErrorClass.NOT_FOUND,
    ),
    "context": (400, complaint(code="context_length_exceeded"), ErrorClass.BAD_REQUEST),
    "parameter": (400, complaint(code="unsupported_parameter", param="stop"), ErrorClass.BAD_REQUEST),
    "fastapi": (422, {"detail": [{"loc": ["body"], "msg": "x"}]}, ErrorClass.BAD_REQUEST),
    "policy": (400, complaint(code="content_policy_violation"), ErrorClass.BLOCKED),
    "azure's filter": (400, complaint(code="content_filter", param="prompt"), ErrorClass.BLOCKED),
    "azure's filter, inside": (
        400,
        complaint(code=None, innererror={"code": "content_filter"}),
        ErrorClass.BLOCKED,
    ),
    "xai's filter behind openrouter": (
        403,
        complaint(
            "Provider returned error",
            code=403,
            metadata={"raw": '{"code":"denied","error":"Content violates usage guidelines."}'},
        ),
        ErrorClass.BLOCKED,
    ),
    "too large": (413, "Payload Too Large", ErrorClass.BAD_REQUEST),
    "slow": (408, "", ErrorClass.TIMEOUT),
    "gateway slow": (504, "<html><h1>504 Gateway Time-out</h1></html>", ErrorClass.TIMEOUT),
    "cloudflare slow": (524, "error code: 524", ErrorClass.TIMEOUT),
    "cloudflare": (521, "", ErrorClass.UNAVAILABLE),
    "internal": (500, complaint(type="server_error"), ErrorClass.INTERNAL),
    "bad gateway": (502, "<html><head><title>502 Bad Gateway</title></head></html>", ErrorClass.INTERNAL),
    "llama.cpp loads": (
        503,
        complaint("Loading model", type="unavailable_error", code=503),
        ErrorClass.OVERLOADED,
    ),
    "moonshot busy": (429, complaint(type="engine_overloaded_error"), ErrorClass.OVERLOADED),
    "firewall": (
        403,
        "<!DOCTYPE html><title>Attention Required! | Cloudflare</title>",
        ErrorClass.UNAVAILABLE,
    ),
    "unknown status": (499, "{}", ErrorClass.BAD_REQUEST),
}


@pytest.mark.parametrize(("status", "body", "expected"), CLASSES.values(), ids=CLASSES)
def test_refusals_become_classes(status: int, body: Any, expected: ErrorClass) -> None:
    """V-021, V-022, V-050, V-055; G-198 to G-203 for this wire."""
    found = failed(status, body)
    assert found.error_class is expected
    assert found.native_status == status
    assert found.message
    assert found.status not in (401, 402, 403)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (complaint("plain"), "plain"),
        ({"error": "a word"}, "a word"),
        ({"message": "outside"}, "outside"),
        ({"detail": [{"msg": "first"}, {"msg": "second"}]}, "first; second"),
        ([complaint("listed")], "listed"),
        (complaint('{"error":{"message":"nested"}}'), "nested"),
        (complaint("Provider returned error", metadata={"raw": "behind"}), "behind"),
        (complaint("{broken"), "{broken"),
        (complaint("Provider returned error", metadata={"raw": '{"error":{"message":"behind"}}'}), "behind"),
        ({}, "The upstream answered HTTP 400 without a reason."),
        ([], "The upstream answered HTTP 400 without a reason."),
        ('"only text"', "only text"),
    ],
)
def test_the_message_is_found_wherever_it_stands(body: Any, message: str) -> None:
    """G-203"""
    assert failed(400, body).message == message


def test_a_web_page_becomes_a_short_sentence() -> None:
    """V-055"""
    page = (
        "<html><head><title>502 &lt;Bad&gt; Gateway</title></head><body>"
        + "<p>nginx</p>" * 999
        + "</body></html>"
    )
    assert failed(502, page).message == "The upstream answered HTTP 502 with a web page: 502 Bad Gateway."
    long = failed(502, "<html><body><script>var x</script>" + "<p>word</p> " * 999)
    assert len(long.message) == 300
    assert "<" not in long.message
    assert "var" not in long.message
    assert failed(502, "").message == "The upstream answered HTTP 502 without a reason."
    assert failed(500, b"\xff\xfe".decode("latin-1")).message == "ÿþ"


def test_a_long_message_is_cut() -> None:
    assert len(failed(400, complaint("x" * 5000)).message) == 1000


@pytest.mark.parametrize(
    "secret", ["sk-abcdef1234567890", "sk-fake-key", "AIzaSyA-1234567890", "gsk_1234567890", "Bearer abc.def"]
)
def test_a_key_that_the_vendor_repeats_is_not_shown(secret: str) -> None:
    """G-204, V-060"""
    assert secret not in failed(401, complaint(f"Incorrect API key provided: {secret}.")).message
    assert secret not in failed(401, f"bad key {secret}").message


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        (complaint(), {"Retry-After": "7"}, 7.0),
        (complaint(), {"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        (
            complaint(),
            {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:27:30 GMT"},
            30.0,
        ),
        (complaint("Limit reached. Please try again in 1.5s."), {}, 1.5),
        (complaint("Please try again in 20ms."), {}, 0.02),
        (complaint("Try again in 2m"), {}, 120.0),
        ([{"error": {"message": "x", "details": [{}, {"retryDelay": "34.4s"}]}}], {}, 34.4),
        (complaint(), {}, None),
        ("busy, retry after 3 s", {}, 3.0),
    ],
)
def test_when_to_come_back(body: Any, headers: dict[str, str], seconds: float | None) -> None:
    """G-196, for this wire."""
    assert failed(429, body, headers).retry_after_s == seconds


@pytest.mark.parametrize(
    ("status", "body", "shown"),
    [
        (400, complaint(code="unsupported_parameter", param="stop"), (400, "unsupported_parameter", "stop")),
        (400, complaint(type="invalid_request_error", param="", code=None), (400, None, None)),
        (400, complaint("maximum context length is 8192 tokens"), (400, "context_length_exceeded", None)),
        (413, complaint(), (413, "request_too_large", None)),
        (413, "too large", (413, "request_too_large", None)),
        (404, complaint(code="x", param="model"), (404, "model_not_found", None)),
        (401, complaint(code="invalid_api_key"), (502, "upstream_auth_failed", None)),
    ],
)
def test_what_the_client_sees(status: int, body: Any, shown: tuple[int, str | None, str | None]) -> None:
    """V-050, G-201, G-202"""
    found = failed(status, body)
    assert (found.status, found.code, found.param) == shown


@pytest.mark.parametrize(
    ("message", "param", "name"),
    [
        (
            "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
            "max_tokens",
            "max_completion_tokens",
        ),
        ("Unrecognized request argument supplied: max_completion_tokens", None, "max_tokens"),
        ("extra fields not permitted: stream_options", None, "no_stream_options"),
        ("Unrecognized request argument supplied: top_k", None, "without:top_k"),
        ("property 'top_k' is unsupported", None, "without:top_k"),
        ("Extra inputs are not permitted", "top_k", "without:top_k"),
        ("top_k must be at most 40", "top_k", None),
        (
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) "
            "value is supported.",
            "temperature",
            "without:temperature",
        ),
        ("Unsupported parameter: 'top_p' is not supported with this model.", "top_p", "without:top_p"),
        ("Invalid 'temperature': decimal above maximum value. Expected a value <= 2.", "temperature", None),
        ("Unrecognized request argument supplied: reasoning_effort", None, "without:reasoning_effort"),
        (
            "Unsupported value: 'reasoning_effort' does not support 'max' with this model.",
            "reasoning_effort",
            "without:reasoning_effort",
        ),
        (
            "The `reasoning_content` in the thinking mode must be passed back to the API.",
            None,
            "thoughts_back",
        ),
        (
            "Missing `reasoning_content` field in the assistant message at message index 2.",
            None,
            "thoughts_back",
        ),
        ("property 'reasoning_content' is unsupported", None, None),
        (  # DeepSeek
            "Failed to deserialize the JSON body into the target type: messages[2]: invalid type: sequence, "
            "expected a string at line 1 column 9837",
            None,
            "joined_texts",
        ),
        (
            "json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string",
            None,
            "joined_texts",
        ),
        ("Unsupported parameter", "stop", None),
    ],
)
def test_a_refusal_of_our_spelling_is_repaired(message: str, param: str | None, name: str | None) -> None:
    assert WIRE.repair(failed(400, complaint(message, param=param))) == name
    assert WIRE.repair(failed(500, complaint(message, param=param))) is None
    assert WIRE.repair(ValueError(message)) is None


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (
            "max_tokens is too large: 32000. This model supports at most 16384 completion tokens, whereas "
            "you provided 32000.",
            "at_most:16384",
        ),
        ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", "at_most:8192"),
        (
            "<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 16384]",
            "at_most:16384",
        ),
        (
            "`max_completion_tokens` must be less than or equal to `8192`, the maximum value for "
            "`max_completion_tokens` is less than the `context_window` for this model",
            "at_most:8192",
        ),
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context "
            "length is 32768 tokens and your request has 1048 input tokens (32000 > 32768 - 1048).",
            "at_most:31720",
        ),
        (
            "This model's maximum context length is 131072 tokens. However, you requested 131329 tokens "
            "(123137 in the messages, 32000 in the completion).",
            "at_most:7935",
        ),
        (
            "This model's maximum context length is 131072 tokens. However, you requested 162500 tokens "
            "(130500 in the messages, 32000 in the completion).",
            None,
        ),
        ("max_tokens must be at most 64000", None),
    ],
)
def test_more_tokens_than_the_model_has_are_cut_to_what_it_has(message: str, name: str | None) -> None:
    """M-010: Claude Code asks for 32000 of any model. It is told where a conversation leaves no room."""
    request = ChatRequest("m", (), max_tokens=32000)
    assert WIRE.repair(failed(400, complaint(message)), request) == name


def test_a_limit_that_was_kept_is_not_what_was_refused() -> None:
    said = complaint("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]")
    assert WIRE.repair(failed(400, said), ChatRequest("m", (), max_tokens=8192)) is None
    assert WIRE.repair(failed(400, said), ChatRequest("m", ())) is None


@pytest.mark.parametrize("status", [400, 500])
def test_a_template_that_wants_the_system_message_first_gets_it_so(status: int) -> None:
    """vLLM answers a 400, llama.cpp and Ollama a 500."""
    said = complaint("Jinja Exception: System message must be at the beginning.")
    assert WIRE.repair(failed(status, said)) == "leading_system"
