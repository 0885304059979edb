"""Every exception becomes OpenAI's error object; its SDK raises the right class, patient where we mean it."""

from typing import Any

import httpx
import openai
import orjson
import pytest

from proxy.errors import POLICIES, ErrorClass, ProxyError, RequestError, UpstreamError
from proxy.fronts.openai import error_reply


def rendered(error: BaseException, request_id: str = "") -> tuple[int, dict[bytes, bytes], Any]:
    status, headers, body = error_reply.render(error, request_id)
    return status, dict(headers), orjson.loads(body)


def test_a_request_error() -> None:
    error = RequestError("Bad 'n'.", param="n", code="invalid_value", headers={"X-Why": "n"})
    assert rendered(error, "req_1") == (
        400,
        {b"content-type": b"application/json", b"x-why": b"n"},
        {
            "error": {
                "message": "Bad 'n'. (request id: req_1)",
                "type": "invalid_request_error",
                "param": "n",
                "code": "invalid_value",
            }
        },
    )


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        pytest.param(
            UpstreamError(ErrorClass.RATE_LIMITED, "x", retry_after_s=34.4),
            429,
            {b"retry-after": b"35", b"retry-after-ms": b"34400"},
            id="G-196",
        ),
        pytest.param(
            UpstreamError(ErrorClass.QUOTA, "x", retry_after_s=0),
            429,
            {b"retry-after": b"0", b"retry-after-ms": b"0", b"x-should-retry": b"false"},
            id="G-197",
        ),
        pytest.param(UpstreamError(ErrorClass.OVERLOADED, "x"), 503, {}, id="G-199"),
        pytest.param(
            UpstreamError(ErrorClass.BLOCKED, "x"), 400, {b"x-should-retry": b"false"}, id="G-145 blocked"
        ),
        pytest.param(UpstreamError(ErrorClass.OVERLOADED, "x", status=529), 529, {}, id="own status"),
        pytest.param(
            ProxyError("x", status=503, headers={"retry-after": "3"}), 503, {b"retry-after": b"3"}, id="own"
        ),
    ],
)
def test_the_client_is_told_when_to_come_back(
    error: ProxyError, status: int, headers: dict[bytes, bytes]
) -> None:
    found = rendered(error)
    assert found[0] == status
    assert found[1] == {b"content-type": b"application/json", **headers}


WORDS = {
    ErrorClass.BAD_REQUEST: ("invalid_request_error", None),
    ErrorClass.NOT_FOUND: ("invalid_request_error", "model_not_found"),
    ErrorClass.AUTH: ("api_error", "upstream_auth_failed"),
    ErrorClass.QUOTA: ("insufficient_quota", "insufficient_quota"),
    ErrorClass.RATE_LIMITED: ("rate_limit_error", "rate_limit_exceeded"),
    ErrorClass.OVERLOADED: ("server_error", "overloaded"),
    ErrorClass.UNAVAILABLE: ("server_error", "upstream_unavailable"),
    ErrorClass.TIMEOUT: ("server_error", "upstream_timeout"),
    ErrorClass.CONNECT: ("server_error", "upstream_unreachable"),
    ErrorClass.BLOCKED: ("invalid_request_error", "content_policy_violation"),
    ErrorClass.EMPTY: ("server_error", "upstream_empty_response"),
    ErrorClass.LOST: ("server_error", "upstream_task_lost"),
    ErrorClass.CANCELED: ("server_error", "upstream_task_canceled"),
    ErrorClass.INTERNAL: ("server_error", "upstream_error"),
}


@pytest.mark.parametrize("error_class", list(ErrorClass))
def test_every_class_has_its_words(error_class: ErrorClass) -> None:
    policy = POLICIES[error_class]
    status, headers, body = rendered(UpstreamError(error_class, "What happened.", native="X"))
    assert status == policy.status
    type_, code = WORDS[error_class]
    assert body == {"error": {"message": "What happened.", "type": type_, "param": None, "code": code}}
    told = {None: None, True: b"true", False: b"false"}[policy.may_repeat]
    assert headers.get(b"x-should-retry") == told


def test_a_strange_exception_tells_nothing() -> None:
    status, _, body = rendered(KeyError("sk-secret"), "req_1")
    assert status == 500
    assert body == {
        "error": {
            "message": "The proxy could not complete this request because of an internal error."
            " (request id: req_1)",
            "type": "server_error",
            "param": None,
            "code": "internal_error",
        }
    }
    assert b"secret" not in error_reply.event(KeyError("sk-secret"))


def test_an_event_without_a_vendors_word_is_plain() -> None:
    assert error_reply.event(UpstreamError(ErrorClass.TIMEOUT, "x")) == (
        b'data: {"error":{"message":"x","type":"server_error","param":null,"code":"upstream_timeout"}}\n\n'
    )


@pytest.mark.parametrize(
    ("error", "raised", "calls"),
    [
        (RequestError("x", param="n", code="invalid_value"), openai.BadRequestError, 1),
        (UpstreamError(ErrorClass.NOT_FOUND, "x"), openai.NotFoundError, 1),
        (UpstreamError(ErrorClass.QUOTA, "x"), openai.RateLimitError, 1),
        (UpstreamError(ErrorClass.OVERLOADED, "x", retry_after_s=0.001), openai.InternalServerError, 2),
        (UpstreamError(ErrorClass.AUTH, "x"), openai.InternalServerError, 1),
        (ValueError(), openai.InternalServerError, 2),
    ],
)
def test_the_sdk_raises_and_retries_as_we_mean(
    error: Exception, raised: type[openai.APIStatusError], calls: int
) -> None:
    answered: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        answered.append(request)
        status, headers, body = error_reply.render(error, "req_1")
        return httpx.Response(status, headers=[*headers], content=body)

    with (
        openai.OpenAI(
            api_key="k",
            base_url="http://proxy/v1",
            max_retries=1,
            http_client=httpx.Client(transport=httpx.MockTransport(answer)),
        ) as client,
        pytest.raises(raised) as caught,
    ):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])
    assert len(answered) == calls
    assert "(request id: req_1)" in str(caught.value.body["message"])  # type: ignore[index]


def test_the_sdk_raises_on_an_error_event() -> None:
    """G-187"""
    error = UpstreamError(ErrorClass.OVERLOADED, "Too many.", native="UNAVAILABLE", native_status=503)
    transport = httpx.MockTransport(
        lambda request: httpx.Response(
            200, headers={"content-type": "text/event-stream"}, content=error_reply.event(error)
        )
    )
    client = openai.OpenAI(
        api_key="k", base_url="http://proxy/v1", http_client=httpx.Client(transport=transport)
    )
    with client:
        stream = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        with pytest.raises(openai.APIError) as caught:
            list(stream)
    assert caught.value.code == "overloaded"
    assert caught.value.message == "Too many."
