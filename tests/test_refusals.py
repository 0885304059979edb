"""The one reader of refusals: every shape, on every wire; what a refusal costs, and what it may cost us."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Target
from proxy.wires import refusals
from proxy.wires.declared import load_profile
from proxy.wires.gemini import GeminiWire
from proxy.wires.openai import OpenAIChatWire
from proxy.wires.refusals import text
from tests.declared import asked

TARGET = Target("relay", "m")
UUID = "11111111-2222-4333-8444-555555555555"
ID = "66666666-7777-4888-8999-aaaaaaaaaaaa"

_NEW_VENDOR = {
    "name": "own",
    "base_url": "http://127.0.0.1:1",
    "surfaces": {
        "image": {
            "submit": {"request": "POST /v2/jobs", "body": {"model": "$model", "prompt": "$prompt"}},
            "task": {"id": "job"},
            "poll": {"request": "GET /v2/jobs/{task.id}"},
            "state": {"path": "state", "pending": ["busy"], "success": ["ok"], "failed": ["broken"]},
            "result": {"images": "pictures[]"},
        }
    },
}


def new_vendor(**sections: Any) -> Any:
    from proxy.wires import surface_wire

    profile = load_profile("own", {**_NEW_VENDOR, **sections}, lambda name: None)
    jobs = surface_wire(profile, "image", "http://127.0.0.1:1").jobs
    assert jobs is not None
    return jobs


def decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body


def of_declared(status: int, body: bytes, headers: dict[str, str], **sections: Any) -> UpstreamError:
    wire = new_vendor(**sections)
    with pytest.raises(UpstreamError) as caught:
        wire.judge(wire.submit(asked(), TARGET), status, headers, decoded(body))
    return caught.value


def of_gemini(status: int, body: bytes, headers: dict[str, str]) -> UpstreamError:
    return GeminiWire().error(status, headers, body, TARGET)


def of_openai(status: int, body: bytes, headers: dict[str, str]) -> UpstreamError:
    found = OpenAIChatWire().error(status, headers, body, TARGET)
    assert isinstance(found, UpstreamError)
    return found


WIRES: dict[str, Callable[[int, bytes, dict[str, str]], UpstreamError]] = {
    "gemini": of_gemini,
    "openai": of_openai,
    "declared": of_declared,
}
on_every_wire = pytest.mark.parametrize("refuse", WIRES.values(), ids=WIRES)


def refused(refuse: Any, status: int, body: Any, **headers: str) -> UpstreamError:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return refuse(status, raw, {name.replace("_", "-"): value for name, value in headers.items()})


# --- shapes ----------------------------------------------------------------------------------------

REASON = "seed must be positive"
INNER = {"error": {"message": REASON}}
INSIDE = orjson.dumps(INNER).decode()

SHAPES: dict[str, Any] = {
    "openai": INNER,
    "a text as error": {"error": REASON},
    "cloudflare": {"success": False, "errors": [{"code": 1000, "message": REASON}], "messages": []},
    "errors as texts": {"errors": [REASON]},
    "detail": {"detail": REASON},
    "detail as an object": {"detail": {"message": REASON, "code": "x"}},
    "detail as a list": {"detail": [{"loc": ["body", "seed"], "msg": REASON, "type": "value_error"}]},
    "problem+json": {"type": "about:blank", "title": "Bad Request", "status": 422, "detail": REASON},
    "title alone": {"title": REASON, "status": 422},
    "reason alone": {"reason": REASON},
    "errorMessage": {"errorCode": "E1", "errorMessage": REASON},
    "error_msg": {"error_code": 17, "error_msg": REASON},
    "error_message": {"error_message": REASON},
    "msg": {"code": -1, "msg": REASON, "data": None},
    "oauth": {"error": "invalid_grant", "error_description": REASON},
    "nest": {"statusCode": 422, "message": [REASON], "error": "Unprocessable Entity"},
    "google, in a list": [{"error": {"code": 422, "message": REASON, "status": "INVALID_ARGUMENT"}}],
    "openrouter": {"error": {"message": "Provider returned error", "metadata": {"raw": INSIDE}}},
    "openrouter, no JSON": {"error": {"message": "Provider returned error", "metadata": {"raw": REASON}}},
    "in a message": {"error": {"message": f"got status: 422. {INSIDE}"}},
    "twice in a message": {"message": orjson.dumps({"message": INSIDE}).decode()},
    "beside null choices": {"choices": None, "code": 422, "message": REASON},
    "a shape of its own": {"failure": {"explanation": REASON, "at": "seed"}},
    "a string": REASON,
    "text": REASON.encode(),
    "text with markup": b"seed <b>must</b>\nbe&nbsp;positive",
    "cut off": b'{"error":{"code":422,"message":"' + REASON.encode(),
    "cut off later": b'{"error":{"message":"' + REASON.encode() + b'","details":[{"@ty',
    "a byte order mark": b"\xef\xbb\xbf" + orjson.dumps(INNER),
    "a broken byte beside it": b'{"error":{"message":"' + REASON.encode() + b'","trace":"\xff"}}',
    "an event stream": b"event: error\ndata: " + orjson.dumps(INNER) + b"\n\n",
    "a web page": f"<!doctype html><html><head><title>{REASON}</title></head></html>".encode(),
}  # fmt: skip


@on_every_wire
@pytest.mark.parametrize("body", SHAPES.values(), ids=SHAPES)
def test_the_reason_is_shown_whatever_its_shape(refuse: Any, body: Any) -> None:
    found = refused(refuse, 422, body)
    if isinstance(body, bytes) and body.startswith(b"<!doctype") and refuse is of_declared:
        assert found.message == "relay answered with HTTP 422."  # V-055
    else:
        assert REASON in found.message
    assert (found.error_class, found.status, found.native_status) == (ErrorClass.BAD_REQUEST, 400, 422)


@on_every_wire
def test_half_a_surrogate_pair_breaks_nothing(refuse: Any) -> None:
    found = refused(refuse, 422, b'{"error":{"message":"seed \\ud83d must be positive"}}')
    assert found.message == "seed \ufffd must be positive"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"detail": [{"loc": ["body", "image", "seed"], "msg": "x"}]}, "image.seed"),
        ({"error": {"message": "x", "param": "seed"}}, "seed"),
        (
            {
                "error": {
                    "message": "x",
                    "details": [{"fieldViolations": [{"field": "a.b", "description": "y"}]}],
                }
            },
            "a.b",
        ),
        ({"error": {"message": "x", "param": 5}}, None),
    ],
)
def test_the_field_is_told_as_the_vendor_calls_it(body: Any, param: str | None) -> None:
    assert refused(of_openai, 400, body).param == param
    assert refused(of_gemini, 400, body).param == param


def test_a_list_of_reasons_is_told_as_one_sentence() -> None:
    body = {"errors": [{"message": "first"}, {"message": "second"}]}
    assert refused(of_gemini, 400, body).message == "first; second"


@pytest.mark.parametrize("choices", [None, []])
@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 0, "completion_tokens": 0, "details": {"a": 0}}])
def test_a_message_beside_no_choices_is_a_refusal(choices: Any, usage: Any) -> None:
    assert refusals.is_refusal({"choices": choices, "usage": usage, "message": "too long"}, "choices")


@pytest.mark.parametrize(
    "body",
    [
        SHAPES["detail as an object"],
        SHAPES["detail as a list"],
        SHAPES["nest"],
        {"errcode": 40001, "errmsg": REASON},
        {"err": REASON},
        {"RequestId": "r", "Code": "InvalidParameter", "Message": REASON},
        {"Response": {"Error": {"Code": "InvalidParameter", "Message": REASON}, "RequestId": "r"}},
        {"ResponseMetadata": {"RequestId": "r", "Error": {"Code": "InvalidParameter", "Message": REASON}}},
        {"status": "FAILURE", "fail_reason": REASON},
        {"failMsg": REASON},
        {"result": {"error": {"message": REASON}}},
        {"output": {"code": "InvalidParameter", "message": REASON}},
        {"task": {"status": "failed", "error": REASON}},
        {"fault": {"faultstring": REASON}},
    ],
    ids=[
        "detail", "details", "messages", "errmsg", "err", "Aliyun", "Tencent", "Volcengine", "fail_reason",
        "failMsg", "a result's error", "an output's message", "a task's error", "Apigee",
    ],
)  # fmt: skip
@pytest.mark.parametrize("content", ["choices", "candidates", "data"])
def test_a_reason_in_any_shape_is_a_refusal_where_nothing_else_is(body: Any, content: str) -> None:
    """With HTTP 200: else the client is told that there was nothing, and the vendor is asked once more."""
    assert refusals.is_refusal({**body, content: None}, content)
    assert REASON in refusals.read(None, {}, body).message


@pytest.mark.parametrize(
    "payload",
    [
        {"choices": [], "message": {"role": "assistant", "content": "Hi"}},
        {"choices": [], "Response": {"RequestId": "r"}},
        {"choices": [{"index": 0}], "message": "ok"},
        {"choices": [], "usage": {"prompt_tokens": 5}},
        {"choices": [], "usage": {"prompt_tokens": 5}, "message": "ok"},
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
        {"id": "x"},
        {"id": "x", "response": {"id": "r", "status": "in_progress", "error": None}},
        {"choices": [], "data": {"message": "success"}, "result": {"reason": ""}},
    ],
)
def test_a_chunk_is_no_refusal(payload: Any) -> None:
    assert not refusals.is_refusal(payload, "choices")


# --- classes ---------------------------------------------------------------------------------------


@on_every_wire
@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "API key not valid. Please pass a valid API key."),
        (401, "no"),
    ],
)
def test_a_bad_key_is_ours_whatever_its_status(refuse: Any, status: int, message: str) -> None:
    found = refused(refuse, status, {"error": {"message": message}})
    assert (found.error_class, found.status) == (ErrorClass.AUTH, 502)
    assert found.policy.rest_key
    assert found.policy.next_key


@pytest.mark.parametrize(
    "body",
    [
        {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: ab***yz."},
        {"error": {"message": "no", "code": "invalid_api_key"}},
        {"code": "InvalidApiKey", "message": "Invalid API-key provided."},
        {"message": "Your API key is invalid"},
        {"error": {"message": "Authentication Fails, Your api key: ****abcd is invalid"}},
        {"error": {"message": "The security token included in the request is invalid"}},
        {"error": {"message": "无效的令牌", "type": "new_api_error"}},
        {"error": {"message": "该令牌状态不可用", "type": "new_api_error"}},
        {"base_resp": {"status_code": 1004, "status_msg": "login fail: Please carry the API secret key"}},
    ],
)
@on_every_wire
def test_a_bad_key_with_400_rests(refuse: Any, body: Any) -> None:
    assert refused(refuse, 400, body).error_class is ErrorClass.AUTH


@on_every_wire
def test_a_client_s_words_rest_no_key(refuse: Any) -> None:
    """What a vendor quotes stands further on in its sentence."""
    message = 'Invalid JSON payload received. Unknown name "API key not valid API_KEY_INVALID": no field.'
    assert refused(refuse, 400, {"error": {"message": message}}).error_class is ErrorClass.BAD_REQUEST


@pytest.mark.parametrize("status", [400, 403, 422])
@pytest.mark.parametrize(
    "body",
    [
        {"detail": "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai."},
        {"error": {"message": "no", "code": "insufficient_quota"}},
        {"error": "Your balance is exhausted"},
        {"message": "Insufficient credits"},
        {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None},
    ],
)
def test_an_empty_account_is_no_bad_key_where_a_profile_goes_by_status(status: int, body: Any) -> None:
    rules = [{"class": "auth", "http": [401, 403]}, {"class": "bad_request", "http": [400, 422]}]
    found = of_declared(status, orjson.dumps(body), {}, errors={"rules": rules})
    assert (found.error_class, found.status) == (ErrorClass.QUOTA, 429)
    assert found.message == "relay: the balance or quota of the account is used up."


def complaint(message: str, code: Any, status: str = "") -> Any:
    return {"error": {"message": message, "code": code, **({"status": status} if status else {})}}


EMPTY_ACCOUNTS: dict[str, tuple[int, Any]] = {
    "anthropic": (400, complaint("Your credit balance is too low to go on.", "invalid_request_error")),
    "new-api": (401, complaint("该令牌额度已用尽 RemainQuota = -1", "new_api_error")),
    "new-api's code": (500, complaint("no", "insufficient_user_quota")),
    "xai": (403, {"code": "The caller may not", "error": "Your team has either used all available credits."}),
    "xai's limit": (429, {"error": "Your team has reached its monthly spending limit."}),
    "a relay's limit": (403, {"detail": "The spending limit was reached."}),
    "volcengine": (403, complaint("Your account has an overdue balance.", "AccountOverdueError")),
    "volcengine's code": (403, complaint("Please pay.", "AccountOverdueError")),
    "kling": (429, {"code": 1102, "message": "Account balance not enough"}),
    "zhipu": (429, complaint("您的账户已欠费，请充值后重试。", "1113")),
    "dashscope": (400, complaint("Access denied: see your account.", "Arrearage")),
    "moonshot": (429, {"error": {"message": "suspended", "type": "exceeded_current_quota_error"}}),
    "openai": (400, complaint("A limit has been reached", "billing_hard_limit_reached")),
    "fal": (403, {"detail": "User is locked. Reason: Exhausted balance."}),
    "siliconflow": (403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}),
    "a relay": (412, complaint("您的余额不足，请充值", "insufficient_balance")),
    "google": (403, complaint("This API method requires billing to be enabled.", 403, "PERMISSION_DENIED")),
    "google's credits": (
        429, complaint("Your prepayment credits are depleted.", 429, "RESOURCE_EXHAUSTED")
    ),
}  # fmt: skip


@on_every_wire
@pytest.mark.parametrize("vendor", EMPTY_ACCOUNTS)
def test_an_empty_account_is_no_bad_key_and_no_mistake_of_the_client(refuse: Any, vendor: str) -> None:
    """Whatever status a vendor, or a relay of it, tells it with: the next target is asked."""
    found = refused(refuse, *EMPTY_ACCOUNTS[vendor])
    assert (found.error_class, found.status) == (ErrorClass.QUOTA, 429)


QUOTED_WORDS = [
    (
        400,
        complaint(
            "Invalid value: 'out of credits'. Supported values are: 'low' and 'high'.", "invalid_value"
        ),
    ),
    (400, complaint('Unknown name "billing account": Cannot find field.', 400, "INVALID_ARGUMENT")),
    (400, {"object": "error", "message": "1 error: input_value='a user's balance is too low'", "code": 400}),
    (422, complaint("Input should be `auto`, got `insufficient quota`", "x")),
    (400, complaint("Invalid value: 'unauthorized'. Supported values are: 'auto'.", "invalid_value")),
    (404, complaint("No voice is called 'login failed'", "x", "NOT_FOUND")),
]


@on_every_wire
@pytest.mark.parametrize(("status", "body"), QUOTED_WORDS)
def test_a_client_s_own_words_empty_no_account(refuse: Any, status: int, body: Any) -> None:
    """They rested the operator's key for all its clients."""
    wanted = ErrorClass.NOT_FOUND if status == 404 else ErrorClass.BAD_REQUEST
    assert refused(refuse, status, body).error_class is wanted


@on_every_wire
@pytest.mark.parametrize("status", [402, 429, 500])
def test_a_relay_quotes_its_own_vendor(refuse: Any, status: int) -> None:
    quoted = complaint("Error code: 402 - {'error': {'message': 'Insufficient Balance'}}", "x")
    assert refused(refuse, status, quoted).error_class is ErrorClass.QUOTA


BLOCKED: dict[str, tuple[int, Any]] = {
    "openrouter": (403, complaint("It needs moderation, and your input was flagged for violence.", 403)),
    "deepseek": (400, complaint("Content Exists Risk", "invalid_request_error")),
    "zhipu": (400, complaint("系统检测到输入或生成内容可能包含不安全或敏感内容", "1301")),
    "volcengine": (400, complaint("It may hold sensitive information.", "InputTextSensitiveContent")),
    "dashscope": (400, {"code": "DataInspectionFailed", "message": "No."}),
    "dashscope's words": (400, complaint("Input data may contain inappropriate content.", "x")),
    "a relay": (400, complaint("内容违规", "PublicError")),
}  # fmt: skip


@on_every_wire
@pytest.mark.parametrize("vendor", BLOCKED)
def test_what_is_not_made_is_no_bad_key_and_no_wrong_field(refuse: Any, vendor: str) -> None:
    """A 403 of OpenRouter's rested the operator's key."""
    found = refused(refuse, *BLOCKED[vendor])
    assert (found.error_class, found.status) == (ErrorClass.BLOCKED, 400)


@pytest.mark.parametrize("vendor", BLOCKED)
def test_so_it_is_where_a_profile_goes_by_status(vendor: str) -> None:
    status, body = BLOCKED[vendor]
    rules = [{"class": "auth", "http": [401, 403]}, {"class": "bad_request", "http": [400, 422]}]
    found = of_declared(status, orjson.dumps(body), {}, errors={"rules": rules})
    assert (found.error_class, found.status) == (ErrorClass.BLOCKED, 400)


@pytest.mark.parametrize("refuse", [of_openai, of_gemini])
@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
        "Please reduce the length of the messages or completion.",
        "Input is too long for requested model.",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8192. Given: 9000 `inputs`",
        "Range of input length should be [1, 30720]",
        "Prompt 超长",
        "Your request exceeded model token limit: 262144",
        "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
        "Total tokens of image and text exceed max message tokens",
        "Input tokens exceed the configured limit of 272000 tokens.",
    ],
)
def test_a_conversation_that_is_too_long_is_told_so_in_any_vendor_s_words(refuse: Any, message: str) -> None:
    """Clients shorten it by this code, or by `prompt is too long` in Anthropic's dialect."""
    found = refused(refuse, 400, complaint(message, "invalid_request_error"))
    assert (found.error_class, found.code) == (ErrorClass.BAD_REQUEST, "context_length_exceeded")


@pytest.mark.parametrize(
    "message", ["'name' is case-sensitive content", "max_tokens is too long", "This input was read"]
)
@on_every_wire
def test_what_only_sounds_like_it_is_the_client_s_mistake(refuse: Any, message: str) -> None:
    found = refused(refuse, 400, complaint(message, "invalid_request_error"))
    assert found.error_class is ErrorClass.BAD_REQUEST
    assert found.code != "context_length_exceeded"


@pytest.mark.parametrize("refuse", [of_openai, of_gemini])
@pytest.mark.parametrize(
    "message",
    [
        "You exceeded your current quota, please check your plan and billing details.",
        "Too many requests in a minute. Raise your spending limit to get higher ones.",
        "Slow down: the rate depends on your spending limits.",
    ],
)
def test_a_busy_account_is_not_an_empty_one(refuse: Any, message: str) -> None:
    found = refused(refuse, 429, complaint(message, 429, "RESOURCE_EXHAUSTED"))
    assert found.error_class is ErrorClass.RATE_LIMITED


@pytest.mark.parametrize("refuse", [of_openai, of_gemini])
def test_too_many_tokens_in_a_minute_are_no_long_conversation(refuse: Any) -> None:
    message = "Input tokens exceed the 40000 that your tier has in a minute."
    assert refused(refuse, 429, complaint(message, "x")).error_class is ErrorClass.RATE_LIMITED


@pytest.mark.parametrize("payload", [{"choices": None}, {"candidates": None}, {}])
def test_a_refusal_of_minimax_comes_with_a_200(payload: Any) -> None:
    told = {**payload, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}
    for content in ("choices", "candidates"):
        assert refusals.is_refusal(told, content)
        assert not refusals.is_refusal({**told, content: [{}]}, content)
        good = {**payload, "base_resp": {"status_code": 0, "status_msg": "success"}}
        assert not refusals.is_refusal(good, content)
    assert refusals.read(None, {}, told).message == "insufficient balance"


def test_a_rule_that_looks_at_words_is_final() -> None:
    rules = [{"class": "blocked", "http": [400], "message_has": ["insufficient balance"]}]
    body = b'{"message": "Insufficient balance of light and dark"}'
    assert of_declared(400, body, {}, errors={"rules": rules}).error_class is ErrorClass.BLOCKED


@pytest.mark.parametrize("body", [b"<html><title>Attention Required!</title>", b"<!-- x --><h1>Denied</h1>"])
@on_every_wire
def test_a_firewall_says_nothing_of_our_key(refuse: Any, body: bytes) -> None:
    assert refused(refuse, 403, body).error_class is ErrorClass.UNAVAILABLE


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("upstream_malformed_response", "upstream_malformed_response"),
        ("server_error", "upstream_error"),
        ("internal", "upstream_error"),
        ("-17", "upstream_error"),
        (None, "upstream_error"),
    ],
)
@on_every_wire
def test_the_code_of_a_failure_is_kept_where_it_says_more(refuse: Any, code: str | None, shown: str) -> None:
    body = {"error": {"message": "x", "type": "server_error", "code": code}}
    found = refused(refuse, 502, body)
    assert (found.error_class, found.code) == (ErrorClass.INTERNAL, shown)


@on_every_wire
def test_the_kind_of_what_failed_is_no_code(refuse: Any) -> None:
    found = refused(refuse, 502, {"type": "image", "status": "failed", "error": {"message": "x"}})
    assert (found.code, found.native) == ("upstream_error", None)


@on_every_wire
@pytest.mark.parametrize("code", [f"sk-{'a' * 20}", "x" * 5000])
def test_a_code_is_no_way_around_what_is_hidden_and_cut(refuse: Any, code: str) -> None:
    found = refused(refuse, 502, {"error": {"message": "x", "code": code}})
    assert len(found.code or "") < 200
    assert "a" * 20 not in f"{found.code}{found.native}"


def test_a_failed_job_of_a_new_vendor_tells_why() -> None:
    wire = new_vendor()
    call = wire.poll({"provider": "relay", "model": "m", "references": False, "id": "1"})
    with pytest.raises(UpstreamError) as caught:
        wire.judge(
            call, 200, {}, {"state": "broken", "error": {"code": "content_filter", "message": "too bold"}}
        )
    assert (caught.value.error_class, caught.value.message) == (ErrorClass.BLOCKED, "too bold")
    assert caught.value.bought is True


def test_a_refusal_with_200_of_a_new_vendor_tells_why() -> None:
    found = of_declared(200, b'{"success": false, "error": {"message": "seed must be positive"}}', {})
    assert (found.error_class, found.message) == (ErrorClass.INTERNAL, REASON)


@pytest.mark.parametrize(
    "body",
    [
        {"detail": [{"loc": ["body", "seed"], "msg": REASON}]},
        {"message": REASON, "data": []},
        {"state": "busy", "msg": REASON},  # and no number to ask for it
    ],
    ids=["details", "message", "no job"],
)
def test_what_is_said_in_place_of_a_picture_is_shown(body: Any) -> None:
    found = of_declared(200, orjson.dumps(body), {})
    assert found.message.endswith(f": {REASON}")


def test_that_all_went_well_is_no_reason() -> None:
    found = of_declared(200, b'{"code": 0, "message": "Success", "msg": "ok", "data": []}', {})
    assert found.message == "relay answered without a picture."


# --- when to come back -----------------------------------------------------------------------------

WAITS: list[tuple[dict[str, str], str, float | None]] = [
    ({"Retry-After": "7"}, "", 7.0),
    ({"retry-after": "1.5"}, "", 1.5),
    ({"retry-after-ms": "1500", "retry-after": "9"}, "", 1.5),
    ({"retry-after": "0"}, "", 0.0),
    ({"retry-after": "inf"}, "", None),
    ({"retry-after": "nan"}, "", None),
    ({"retry-after": "1e999"}, "", None),
    ({"retry-after": "-5"}, "", None),
    ({"retry-after-ms": "inf"}, "", None),
    ({"retry-after": "9" * 500}, "", None),
    ({"retry-after": "9999999"}, "", 3600.0),
    ({"retry-after": "inf"}, "Please try again in 20s.", 20.0),
    ({"retry-after": "Fri, 20 Nov 2026 10:00:30 GMT", "date": "Fri, 20 Nov 2026 10:00:00 GMT"}, "", 30.0),
    ({"retry-after": "Fri, 20 Nov 2026 10:00:30 +0000", "date": "Fri, 20 Nov 2026 11:00:00 +0100"}, "", 30.0),
    ({"retry-after": "Fri, 20 Nov 2026 10:00:30 -0000", "date": "Fri, 20 Nov 2026 10:00:00 GMT"}, "", 30.0),
    ({"retry-after": "Fri, 20 Nov 2026 10:00:00 GMT", "date": "Fri, 20 Nov 2026 10:00:30 GMT"}, "", 0.0),
    ({"retry-after": "Mon, 01 Jan 2001 00:00:00 GMT"}, "", 0.0),
    ({"retry-after": "Tue, 01 Jan 2999 00:00:00 GMT"}, "", 3600.0),
    ({"retry-after": "Fri, 99 Nov 2026 99:99:99 GMT"}, "", None),
    ({"retry-after": "soon"}, "", None),
    ({}, "Rate limit reached. Please try again in 20ms.", 0.02),
    ({}, "Please try again in 6m0s.", 360.0),
    ({}, "Please try again in 1h2m3.5s.", 3600.0),
    ({}, "Please retry in 12.25s.", 12.25),
    ({}, "Retry after 30 seconds", 30.0),
    ({}, "Please wait about 2 minutes", 120.0),
    ({}, "Retry after 30.", 30.0),
    ({}, "Please retry 3 simpler prompts", None),
    ({}, "Retry after 99999999999999999999s", None),
    ({}, "slow down", None),
]


@on_every_wire
@pytest.mark.parametrize(("headers", "message", "seconds"), WAITS)
def test_when_to_come_back(refuse: Any, headers: dict[str, str], message: str, seconds: float | None) -> None:
    body = orjson.dumps({"error": {"message": message or "x", "code": "rate_limit_exceeded"}})
    assert refuse(429, body, headers).retry_after_s == seconds


@on_every_wire
@pytest.mark.parametrize(
    ("delay", "seconds"), [("34.4s", 34.4), ("99999s", 3600.0), ("infs", None), ("-3s", None), (5, None)]
)
def test_google_s_delay_is_read_wherever_it_comes_from(
    refuse: Any, delay: Any, seconds: float | None
) -> None:
    body = {"error": {"code": 429, "message": "x", "details": [{}, {"retryDelay": delay}]}}
    assert refused(refuse, 429, body).retry_after_s == seconds


@on_every_wire
@pytest.mark.parametrize(("said", "forbidden"), [("false", True), (" FALSE ", True), ("true", False)])
def test_an_upstream_may_forbid_to_ask_again(refuse: Any, said: str, forbidden: bool) -> None:
    found = refused(refuse, 503, {"error": {"message": "x"}}, X_Should_Retry=said)
    assert found.forbidden is forbidden
    assert found.may_repeat is (False if forbidden else None)


# --- what may have been bought ---------------------------------------------------------------------

NOTHING = [400, 401, 402, 403, 404, 405, 406, 409, 410, 411, 413, 414, 415, 422, 429, 451]
PERHAPS = [408, 425, 499, 500, 501, 502, 504, 507, 520, 521, 522, 523, 524, 525, 599]
TOLD = {"error": {"message": "no room", "code": "overloaded"}}
PAGE = b"<html><title>503 Service Temporarily Unavailable</title></html>"


@on_every_wire
@pytest.mark.parametrize(
    ("status", "body", "bought"),
    [
        *((status, TOLD, False) for status in NOTHING),
        *((status, b"", False) for status in NOTHING),
        *((status, TOLD, True) for status in PERHAPS),
        *((status, b"", True) for status in PERHAPS),
        *((status, TOLD, False) for status in (503, 529)),
        *((status, body, True) for status in (503, 529) for body in (b"", b"{}", PAGE)),
        (500, {"error": {"message": "got it", "code": 429}}, False),  # a relay with the vendor's own refusal
        (400, {"error": {"message": "got it", "code": 500}}, True),
    ],
)
def test_what_may_have_been_bought(refuse: Any, status: int, body: Any, bought: bool) -> None:
    assert refused(refuse, status, body).bought is bought


# --- secrets and accounts --------------------------------------------------------------------------

KEYS = [
    "AIzaSyA1234567890abcdefghijklmnopqrstuv", "AQ.Ab8RN6Lm0123456789abcdef", "ya29.a0AfB_byC-1234",
    "sk-proj-0123456789abcdef", "sk-abcdef1234567890", "gsk_1234567890", "xai-0123456789abcdef",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc", "r8_0123456789abcdef",
]  # fmt: skip
ACCOUNTS = [
    (f"No. Team: {UUID}, API key ID: {ID}.", "No. Team: [id removed], API key ID: [id removed]."),
    (f"your team {UUID} has no access", "your team [id removed] has no access"),
    ("limit in organization org-AbCdEf123456 on tokens", "limit in organization [id removed] on tokens"),
    ("in project proj_AbCdEf123456.", "in project [id removed]."),
    ("not used in project 12345678 before", "not used in project [id removed] before"),
    ("for consumer 'project_number:348715329010'.", "for consumer 'project_number:[id removed]'."),
    ("Model `projects/my-shop/locations/x` not found", "Model `projects/[id removed]/locations/x` not found"),
    (f'{{"account_id": "{UUID}"}} is closed', '{"account_id": "[id removed]"} is closed'),
    ("in arrears. accountId=2100123456789", "in arrears. accountId=[id removed]"),
    ("user_id=4711, group=vip: no channel", "user_id=[id removed], group=vip: no channel"),
    ("不能使用，用户 ID: 88123", "不能使用，用户 ID: [id removed]"),
    ("账户：1234567890123 停用", "账户：[id removed] 停用"),
    (f"The subscription {UUID} is disabled.", "The subscription [id removed] is disabled."),
    ("arn:aws:iam::123456789012:user/bob may not", "arn:aws:iam::[id removed] may not"),
    ("Your account ann@shop.example is locked.", "Your account [id removed] is locked."),
    ("IP address of the call (203.0.113.7) is not", "IP address of the call ([address removed]) is not"),
    ("client IP: 2001:db8::17 refused", "client IP: [address removed] refused"),
    ("from IP fe80::1 or so", "from IP [address removed] or so"),
    ("IP '2001:db8:1:2:3:4:5:6' is new", "IP '[address removed]' is new"),
]  # fmt: skip


@on_every_wire
@pytest.mark.parametrize("key", KEYS)
def test_no_key_is_shown(refuse: Any, key: str) -> None:
    """G-204, V-060: whatever stands where a key stands, in JSON, in text and on a page."""
    for sentence in (f"Bad key {key}.", f"see https://v/x?key={key}&a=b", f"Bearer {key}", f"API key: {key}"):
        for body in (
            orjson.dumps({"message": sentence}),
            sentence.encode(),
            f"<title>{sentence}</title>".encode(),
        ):
            assert key[:12] not in refused(refuse, 400, body).message


def test_a_masked_key_is_a_part_of_it() -> None:
    found = refused(of_openai, 401, {"error": "Incorrect API key provided: ab***yz. See the console."})
    assert found.message == "Incorrect API key provided: [key removed]. See the console."


@on_every_wire
@pytest.mark.parametrize(("said", "shown"), ACCOUNTS)
def test_the_operator_s_accounts_are_not_shown(refuse: Any, said: str, shown: str) -> None:
    assert refused(refuse, 422, {"error": {"message": said}}).message == shown


@pytest.mark.parametrize(
    "said",
    [
        f"Broken (request id: {UUID})",
        "skipping skeletons is a risk",
        "a team of 12 in project v1beta",
        "Key must be at most 64 characters",
        "Use Bearer auth",
        "Invalid token <image>",
        "用户今日已使用100次请求，额度不足",
        "Write to support@vendor.example, version 1.2.3.4",
        "IP rights: the picture shows 16.5 things",
        "Too many requests from this IP, come back at 12:30:45",
        "IP rules of the day: 8:15, ab:cd:ef",
        "user: 404 Not Found",
    ],
)
def test_other_words_stay(said: str) -> None:
    assert refused(of_openai, 422, {"error": {"message": said}}).message == said


# --- hostile words ---------------------------------------------------------------------------------


_MEMBERS = (
    "error", "errors", "message", "detail", "code", "type", "status", "details", "metadata", "raw", "data",
    "violations", "fieldViolations", "retryDelay", "description", "field", "loc", "param",
)  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 999) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(_MEMBERS),
            inner,
        )
    ),
    max_leaves=12,
)


@on_every_wire
@given(
    status=st.sampled_from([400, 404, 429, 500, 503]),
    body=st.binary(max_size=60) | _JSON.map(orjson.dumps),
    said=st.text(max_size=40),
)
def test_any_body_gives_a_readable_error(refuse: Any, status: int, body: bytes, said: str) -> None:
    """G-203."""
    found = refuse(status, body, {"retry-after": said, "date": said, "x-should-retry": said})
    assert found.message
    assert len(found.message) <= 1000
    assert 400 <= found.status < 600
    assert found.retry_after_s is None or 0 <= found.retry_after_s <= 3600


def test_a_body_beyond_all_bounds_is_told_by_its_head() -> None:
    body = b'{"error": {"message": "seed must be positive", "trace": "' + b"x" * (2 << 20) + b'"}}'
    assert refusals.read(500, {}, body).message == REASON


def test_a_long_message_is_cut() -> None:
    assert text.shown("x" * 5000) == "x" * 999 + "…"
    assert len(text.cut("x" * 9000)) == 4096


def test_no_body_holds_the_process() -> None:
    """faults.md rows 1 and 2: each of these took seconds to hours. Now all have 15 s of CPU together."""
    code = "from tests.test_refusals import read_everything_hostile; print(read_everything_hostile())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (15, 15)),
    )
    assert (done.returncode, done.stdout) == (0, "120\n"), done.stderr


def hostile() -> list[str]:
    """A megabyte of each, or what once was enough."""
    seeds = [
        "<", "<!--", "<title>", "<script", "<p ", "input token count ", "thought signature ", "thought a ",
        "sk-", "Bearer ", "api key: ", "eyJ-", "projects/", "team 1", "try again in 1m", "unknown name ",
        "max_tokens ", "model ", "insufficient ", '{"error":', '"message":"', "{", "[", "\\", " ", "\n", "1",
        "\N{SNOWMAN}", "&amp;", "a",
    ]  # fmt: skip
    return [(seed * (1 << 20))[: 1 << 20] for seed in seeds]


def read_everything_hostile() -> int:
    read = 0
    for words in hostile():
        for body in (
            words.encode(),
            b"<html>" + words.encode(),
            orjson.dumps({"error": {"message": words, "code": words, "details": [{"reason": words}]}}),
            orjson.dumps({"errors": [words], "detail": [{"msg": words}], "metadata": {"raw": words}}),
        ):
            for wire in (GeminiWire(), OpenAIChatWire()):
                wire.repair(wire.error(400, {"retry-after": words[:4096]}, body, TARGET))
            read += 1
    return read
