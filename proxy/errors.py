"""Everything that can go wrong, as one tree and one table. Imports nothing of ours.

    ProxyError                 knows its HTTP status, OpenAI `type`, `code` and `param`
    ├── RequestError           the client's request is wrong (4xx)
    └── UpstreamError          the vendor refused, failed or fell silent; has an `ErrorClass`

Only a front turns one into JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum


class ProxyError(Exception):
    """`message` is shown to the client. `headers` are added to the reply."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 500,
        type: str = "server_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.headers = dict(headers or {})


class RequestError(ProxyError):
    """The client's mistake. `param` is the JSON path of the field, as in `messages[0].role`."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int = 400,
        type: str = "invalid_request_error",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, status=status, type=type, code=code, param=param, headers=headers)


class ErrorClass(Enum):
    """What an upstream failure means for the next attempt; see `POLICIES`."""

    BAD_REQUEST = "bad_request"
    NOT_FOUND = "not_found"
    AUTH = "auth"
    QUOTA = "quota"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    CONNECT = "connect"
    BLOCKED = "blocked"
    EMPTY = "empty"
    LOST = "lost"
    CANCELED = "canceled"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Policy:
    """One row of the table of error classes.

    `same_target`, `next_key`, `next_target`: may the request be tried there. `rest_key`: the key
    rests until the vendor's retry time. `counts`: counts against the target's health. `bought`: the vendor
    may have done paid work. `should_retry`: what the client's SDK is told, None to leave it to its own rules.
    """

    status: int
    type: str
    code: str | None
    same_target: bool = False
    next_key: bool = False
    next_target: bool = False
    rest_key: bool = False
    counts: bool = False
    bought: bool = False
    should_retry: bool | None = None


# `connect` is certain: no byte of the request was sent. Where `bought` is set the request goes on only if
# nothing is sold per call (a chat), never for a paid job.
POLICIES: dict[ErrorClass, Policy] = {
    ErrorClass.BAD_REQUEST: Policy(400, "invalid_request_error", None, should_retry=False),
    ErrorClass.NOT_FOUND: Policy(
        404, "invalid_request_error", "model_not_found", next_target=True, should_retry=False
    ),
    ErrorClass.AUTH: Policy(
        502,
        "api_error",
        "upstream_auth_failed",
        next_key=True,
        next_target=True,
        rest_key=True,
        counts=True,
        should_retry=False,
    ),
    ErrorClass.QUOTA: Policy(
        429,
        "insufficient_quota",
        "insufficient_quota",
        next_key=True,
        next_target=True,
        rest_key=True,
        should_retry=False,
    ),
    ErrorClass.RATE_LIMITED: Policy(
        429, "rate_limit_error", "rate_limit_exceeded", next_key=True, next_target=True, rest_key=True
    ),
    ErrorClass.OVERLOADED: Policy(
        503, "server_error", "overloaded", same_target=True, next_key=True, next_target=True, counts=True
    ),
    ErrorClass.UNAVAILABLE: Policy(
        503, "server_error", "upstream_unavailable", next_target=True, counts=True
    ),
    ErrorClass.TIMEOUT: Policy(
        504, "server_error", "upstream_timeout", next_target=True, counts=True, bought=True
    ),
    ErrorClass.CONNECT: Policy(
        502, "server_error", "upstream_unreachable", same_target=True, next_target=True, counts=True
    ),
    ErrorClass.BLOCKED: Policy(
        400, "invalid_request_error", "content_policy_violation", bought=True, should_retry=False
    ),
    ErrorClass.EMPTY: Policy(
        502, "server_error", "upstream_empty_response", same_target=True, next_target=True
    ),
    ErrorClass.LOST: Policy(
        502,
        "server_error",
        "upstream_task_lost",
        next_target=True,
        counts=True,
        bought=True,
        should_retry=False,
    ),
    ErrorClass.CANCELED: Policy(
        502, "server_error", "upstream_task_canceled", bought=True, should_retry=False
    ),
    ErrorClass.INTERNAL: Policy(
        502, "server_error", "upstream_error", same_target=True, next_target=True, counts=True, bought=True
    ),
}


class UpstreamError(ProxyError):
    """An upstream failure. Status, type, code and `bought` come from its class unless given.

    `accepted` is set once the vendor took a paid job: a client that tries again would buy again.

    `retry_after_s` is the vendor's own word on when to come back. `native` is the vendor's status or code.
    """

    def __init__(
        self,
        error_class: ErrorClass,
        message: str,
        *,
        provider: str = "",
        status: int | None = None,
        type: str | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        native: str | None = None,
        native_status: int | None = None,
        bought: bool | None = None,
    ) -> None:
        policy = POLICIES[error_class]
        super().__init__(
            message,
            status=status or policy.status,
            type=type or policy.type,
            code=code if code is not None else policy.code,
            param=param,
        )
        self.error_class = error_class
        self.policy = policy
        self.provider = provider
        self.retry_after_s = retry_after_s
        self.native = native
        self.native_status = native_status
        self.bought = policy.bought if bought is None else bought
        self.accepted = False

    def hide(self, secrets: Iterable[str]) -> None:
        """Take keys of ours out of everything the vendor said: some repeat them in their refusals."""
        for secret in secrets:
            self.message = self.message.replace(secret, "***")
            self.code, self.param, self.native = (
                said and said.replace(secret, "***") for said in (self.code, self.param, self.native)
            )
        self.args = (self.message,)
