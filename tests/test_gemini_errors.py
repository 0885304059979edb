"""Gemini's and its resellers' errors: literal bodies, what becomes of them."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.types import Target
from proxy.wires.gemini.error import read_error, repair
from tests.words import code_of

TARGET = Target("google", "gemini-3-flash-preview")


def error(status: int, word: str, message: str, *details: dict[str, Any]) -> bytes:
    return orjson.dumps(
        {"error": {"code": status, "message": message, "status": word, "details": list(details)}}
    )


def detail(kind: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}


def read(status: int, body: bytes, **headers: str) -> UpstreamError:
    return read_error(status, headers, body, TARGET)


_KEY_INVALID = detail("ErrorInfo", reason="API_KEY_INVALID", domain="googleapis.com")
_PER_DAY = detail(
    "QuotaFailure", violations=[{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]
)
_PER_MINUTE = detail("QuotaFailure", violations=[{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}])
_HIDDEN_REGION = detail("DebugInfo", detail="generic: User location is not supported for the API use.")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        pytest.param(
            400,
            error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", _KEY_INVALID),
            (ErrorClass.AUTH, 502, "upstream_auth_failed"),
            id="G-195 the operator's key",
        ),
        pytest.param(
            400,
            error(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."),
            (ErrorClass.AUTH, 502, "upstream_auth_failed"),
            id="G-195 by its message",
        ),
        pytest.param(
            400,
            error(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number (8)."),
            (ErrorClass.BAD_REQUEST, 400, "context_length_exceeded"),
            id="G-202",
        ),
        pytest.param(
            400,
            error(400, "INVALID_ARGUMENT", "Please use a valid role: user, model."),
            (ErrorClass.BAD_REQUEST, 400, None),
            id="invalid argument",
        ),
        pytest.param(
            400,
            error(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
            (ErrorClass.UNAVAILABLE, 403, "upstream_region"),
            id="region",
        ),
        pytest.param(
            400,
            error(400, "FAILED_PRECONDITION", "$grpcMessage", _HIDDEN_REGION),
            (ErrorClass.UNAVAILABLE, 403, "upstream_region"),
            id="region in a detail",
        ),
        pytest.param(
            400,
            error(400, "FAILED_PRECONDITION", "Please enable billing on your project."),
            (ErrorClass.QUOTA, 429, "insufficient_quota"),
            id="billing",
        ),
        pytest.param(
            401,
            error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
            (ErrorClass.AUTH, 502, "upstream_auth_failed"),
            id="token",
        ),
        pytest.param(
            403,
            error(403, "PERMISSION_DENIED", "Your API key was reported as leaked."),
            (ErrorClass.AUTH, 502, "upstream_auth_failed"),
            id="leaked key",
        ),
        pytest.param(
            403,
            error(
                403,
                "PERMISSION_DENIED",
                "You do not have permission to access the File x.",
            ),
            (ErrorClass.BAD_REQUEST, 403, None),
            id="another's file does not rest the key",
        ),
        pytest.param(
            403,
            b'{"error":{"message":"quota","type":"new_api_error","param":"","code":"insufficient_user_quota"}}',
            (ErrorClass.QUOTA, 429, "insufficient_quota"),
            id="a reseller's quota on 403",
        ),
        pytest.param(
            404,
            error(404, "NOT_FOUND", "models/x is not found for API version v1beta."),
            (ErrorClass.NOT_FOUND, 404, "model_not_found"),
            id="G-201",
        ),
        pytest.param(
            404,
            error(404, "NOT_FOUND", "Not found: cache content metadata 875."),
            (ErrorClass.BAD_REQUEST, 404, None),
            id="a missing cache is not a missing model",
        ),
        pytest.param(
            429,
            error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", _PER_MINUTE),
            (ErrorClass.RATE_LIMITED, 429, "rate_limit_exceeded"),
            id="G-198",
        ),
        pytest.param(
            429,
            error(429, "RESOURCE_EXHAUSTED", "You exceeded your quota, check your plan and billing details."),
            (ErrorClass.RATE_LIMITED, 429, "rate_limit_exceeded"),
            id="G-198 without details",
        ),
        pytest.param(
            429,
            error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", _PER_MINUTE, _PER_DAY),
            (ErrorClass.QUOTA, 429, "insufficient_quota"),
            id="G-197",
        ),
        pytest.param(
            429,
            error(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."),
            (ErrorClass.QUOTA, 429, "insufficient_quota"),
            id="credits",
        ),
        pytest.param(
            500, error(500, "INTERNAL", "Oops"), (ErrorClass.INTERNAL, 502, "upstream_error"), id="internal"
        ),
        pytest.param(
            503,
            error(503, "UNAVAILABLE", "The model is overloaded."),
            (ErrorClass.OVERLOADED, 503, "overloaded"),
            id="G-199",
        ),
        pytest.param(
            503,
            b'{"error":{"message":"No available channel for model x","code":"model_not_found"}}',
            (ErrorClass.UNAVAILABLE, 503, "upstream_unavailable"),
            id="a reseller without a channel",
        ),
        pytest.param(
            504,
            error(504, "DEADLINE_EXCEEDED", "Deadline expired."),
            (ErrorClass.TIMEOUT, 504, "upstream_timeout"),
            id="G-200",
        ),
        pytest.param(
            499,
            error(499, "CANCELLED", "The operation was cancelled."),
            (ErrorClass.TIMEOUT, 504, "upstream_timeout"),
            id="cancelled",
        ),
        pytest.param(
            413, b"Request Entity Too Large", (ErrorClass.BAD_REQUEST, 413, "request_too_large"), id="413"
        ),
        pytest.param(
            402,
            b'{"success":false,"error":"Balance exhausted","error_code":"INSUFFICIENT_BALANCE"}',
            (ErrorClass.QUOTA, 429, "insufficient_quota"),
            id="a reseller's balance",
        ),
        pytest.param(
            400,
            b'{"success":false,"error":"Refused","error_code":"CONTENT_MODERATION"}',
            (ErrorClass.BLOCKED, 400, "content_policy_violation"),
            id="a reseller's filter",
        ),
    ],
)
def test_the_table(status: int, body: bytes, expected: tuple[ErrorClass, int, str | None]) -> None:
    found = read(status, body)
    assert (found.error_class, found.status, code_of(found)) == expected
    assert found.provider == "google"
    assert found.native_status == status


def test_a_whole_error() -> None:
    """G-196, G-197: the contract's example."""
    found = read(
        429,
        error(
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota.",
            _PER_DAY,
            detail("RetryInfo", retryDelay="34.4s"),
        ),
    )
    assert (found.message, found.error_class, found.native) == (
        "You exceeded your current quota.",
        ErrorClass.QUOTA,
        "RESOURCE_EXHAUSTED",
    )
    assert found.retry_after_s == 34.4
    assert found.may_repeat is False


@pytest.mark.parametrize(
    ("headers", "delay", "message", "seconds"),
    [
        pytest.param({}, "34.4s", "x", 34.4, id="G-196 RetryInfo"),
        pytest.param({}, "0.5s", "x", 0.5, id="G-196 half a second"),
        pytest.param({"Retry-After": "7"}, "34.4s", "x", 7.0, id="header wins"),
        pytest.param({"retry-after-ms": "1500"}, "34.4s", "x", 1.5, id="milliseconds"),
        pytest.param(
            {"retry-after": "Fri, 20 Nov 2026 10:00:09 GMT", "date": "Fri, 20 Nov 2026 10:00:00 GMT"},
            "2s",
            "x",
            9.0,
            id="a date",
        ),
        pytest.param({"retry-after": "soon"}, "2s", "x", 2.0, id="no date"),
        pytest.param({}, None, "Please retry in 12.25s.", 12.25, id="in the message"),
        pytest.param({}, "soon", "x", None, id="nonsense"),
        pytest.param({}, None, "x", None, id="nothing"),
    ],
)
def test_when_to_come_back(
    headers: dict[str, str], delay: str | None, message: str, seconds: float | None
) -> None:
    details = [detail("RetryInfo", retryDelay=delay)] if delay else []
    body = error(429, "RESOURCE_EXHAUSTED", message, *details)
    assert read_error(429, headers, body, TARGET).retry_after_s == seconds


GOOGLE = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param([GOOGLE], id="G-203 list"),
        pytest.param({"error": orjson.dumps(GOOGLE).decode()}, id="G-203 string"),
        pytest.param({"error": {"message": orjson.dumps(GOOGLE).decode(), "code": 500}}, id="G-203 message"),
        pytest.param({"error": {"message": orjson.dumps([GOOGLE]).decode()}}, id="G-203 list in a message"),
        pytest.param(
            {"message": f"got status: 503. {orjson.dumps(GOOGLE).decode()}"}, id="G-203 with words before"
        ),
        pytest.param({"error": {"message": "The model is overloaded.", "code": "503"}}, id="code as text"),
        pytest.param({"error": [GOOGLE["error"]]}, id="error in a list"),
        pytest.param(GOOGLE["error"], id="bare"),
    ],
)
def test_a_wrapped_error_is_unwrapped(body: Any) -> None:
    found = read(500, orjson.dumps(body))
    assert (found.error_class, found.message) == (ErrorClass.OVERLOADED, "The model is overloaded.")


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        pytest.param(
            502,
            b"<!DOCTYPE html>\n<html><title>Error 502 (Server Error)!!1</title><body>x</body></html>",
            "The upstream answered HTTP 502 with a web page: Error 502 (Server Error)!!1.",
            id="G-203 html",
        ),
        pytest.param(
            413,
            b"<html>" + b"x" * 9000,
            f"The upstream answered HTTP 413 with a web page: {'x' * 251}.",
            id="no title",
        ),
        pytest.param(
            413, b"<html><body>", "The upstream answered HTTP 413 with a web page.", id="nothing on it"
        ),
        pytest.param(500, b"", "The upstream answered HTTP 500 without a reason.", id="empty"),
        pytest.param(500, b"{}", "The upstream answered HTTP 500 without a reason.", id="empty object"),
        pytest.param(500, b"bad <b>gate</b>\nway", "bad gate way", id="text"),
        pytest.param(500, b"x" * 9000, "x" * 300, id="long text"),
        pytest.param(500, b"\xff\xfe{", "\ufffd\ufffd{", id="broken text"),
        pytest.param(422, b'{"detail":"Field required"}', "Field required", id="detail"),
    ],
)
def test_a_body_that_is_no_error_object(status: int, body: bytes, message: str) -> None:
    assert read(status, body).message == message


@pytest.mark.parametrize("message", ['Bad schema {"type": x}', 'The value {"a": 1} is wrong', "Bad {x}"])
def test_braces_in_a_message_are_left_alone(message: str) -> None:
    assert read(400, error(400, "INVALID_ARGUMENT", message)).message == message


def test_field_violations_are_told_once() -> None:
    """Section 6: appended to the message where it does not already say so."""
    said = detail("BadRequest", fieldViolations=[{"field": "a", "description": "Bad a."}, {"field": "b"}])
    assert read(400, error(400, "INVALID_ARGUMENT", "Wrong.", said)).message == "Wrong. Bad a."
    assert read(400, error(400, "INVALID_ARGUMENT", "Wrong: Bad a.", said)).message == "Wrong: Bad a."


@pytest.mark.parametrize(
    "secret",
    [
        "AIzaSyA1234567890abcdefghijklmnopqrstuv",
        "AQ.Ab8RN6Lm0123456789abcdef",
        "ya29.a0AfB_byC-1234",
        "sk-proj-0123456789abcdef",
    ],
)
def test_no_key_is_told(secret: str) -> None:
    """G-204."""
    for text in (f"Bad key {secret}.", f"https://g/v1?key={secret}&alt=sse", f"Bearer {secret}"):
        for body in (error(403, "PERMISSION_DENIED", text), text.encode(), f"<title>{text}</title>".encode()):
            found = read(403, body)
            assert secret not in found.message
            assert "[key removed]" in found.message


def test_a_key_in_a_detail_is_not_told() -> None:
    """G-204: DebugInfo is read, never shown."""
    debug = detail("DebugInfo", detail="Invalid API key: key1234")
    assert "key1234" not in read(400, error(400, "INVALID_ARGUMENT", "API key not valid.", debug)).message


@pytest.mark.parametrize(
    ("status", "message", "name"),
    [
        pytest.param(
            400,
            'Invalid JSON payload received. Unknown name "parametersJsonSchema" at '
            "'tools[0].function_declarations[0]': Cannot find field.",
            "schema_form",
            id="G-066",
        ),
        pytest.param(
            400,
            'Invalid JSON payload received. Unknown name "exclusiveMinimum" at '
            "'tools[0].function_declarations[0].parameters.properties[0].value': Cannot find field.",
            "schema_form",
            id="G-066 the other form",
        ),
        pytest.param(
            400, "response_json_schema is not supported by this model", "schema_form", id="G-066 answer"
        ),
        pytest.param(
            400,
            "Unable to submit request because function call `x` in the 5. content block is missing a "
            "`thought_signature`.",
            "resign",
            id="G-101 Vertex",
        ),
        pytest.param(400, "Corrupted thought signature.", "resign", id="G-101 corrupted"),
        pytest.param(
            400,
            "Invalid value at 'contents[1].parts[0].thought_signature' (TYPE_BYTES), Base64 decoding failed",
            "sentinel_base64",
            id="G-217",
        ),
        pytest.param(400, "Logprobs is not enabled for models/gemini-2.5-pro", "no_logprobs", id="G-117"),
        pytest.param(
            400,
            "Unable to submit request because Logprobs is not supported for this model.",
            "no_logprobs",
            id="G-117 Vertex",
        ),
        pytest.param(400, "Please use a valid role: user, model.", None, id="nothing to repair"),
        pytest.param(500, "thought_signature", None, id="not a refusal"),
    ],
)
def test_what_may_cure_a_refusal(status: int, message: str, name: str | None) -> None:
    assert repair(read(status, error(status, "", message))) == name


def test_other_exceptions_have_no_cure() -> None:
    assert repair(RequestError("thought_signature")) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 999) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "status", "details", "violations", "retryDelay"]),
            inner,
        )
    ),
    max_leaves=10,
)


@given(st.sampled_from([400, 404, 429, 500, 503]), st.binary(max_size=60) | _JSON.map(orjson.dumps))
def test_any_body_gives_a_readable_error(status: int, body: bytes) -> None:
    """G-203."""
    found = read(status, body)
    assert found.message
    assert 400 <= found.status < 600


@pytest.mark.parametrize(
    ("field", "attribute"),
    [
        ("contents[0].parts[1].thought_signature", "messages"),
        ("generation_config.max_output_tokens", "max_tokens"),
        ("generationConfig.responseJsonSchema.properties[a]", "answer_format"),
        ("tools[0].function_declarations[2].name", "tools"),
        ("labels", "labels"),
        ("", None),
    ],
)
def test_a_field_of_googles_is_told_by_what_it_was_made_from(field: str, attribute: str | None) -> None:
    violation = detail("BadRequest", fieldViolations=[{"field": field, "description": "no"}])
    assert read(400, error(400, "INVALID_ARGUMENT", "no", violation)).param == attribute
