"""Everything that can go wrong, as one tree and one table. Imports nothing of ours.

    ProxyError                 knows its HTTP status and `code`
    ├── StoppingError          the server ends before the request did
    ├── LimitError             the caller has had what it may have for now
    ├── BudgetError            the caller has spent the money it may spend for now
    ├── RequestError           the client's request is wrong (4xx), and names the field
    │   ├── CallerError            nobody knows who asks
    │   └── NotCarriedError        it is right, but nobody can carry all of it, and the client is strict
    └── UpstreamError          the vendor refused, failed or fell silent; has an `ErrorClass`

An error is frozen when it is made; `changed` gives another one. Only a front turns one into its dialect's
words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from math import isfinite
from typing import Any, Literal, NoReturn, Self

_NAMES_SHOWN = 20
LONGEST_WAIT_S = 3600.0  # no vendor's word on when to come back is believed beyond an hour


class ProxyError(Exception):
    """`message` is shown to the client. `headers` are added to the reply."""

    message: str
    status: int
    code: str | None
    headers: Mapping[str, str]

    def __init__(
        self,
        message: str,
        *,
        status: int = 500,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self._set(message=message, status=status, code=code, headers=headers or {})

    def _set(self, **facts: Any) -> None:
        self.__dict__.update(facts)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("__"):  # those are Python's own: the cause, the traceback, notes
            self._refuse(name)
        super().__setattr__(name, value)

    def _refuse(self, name: str) -> NoReturn:
        raise AttributeError(f"an error is frozen: make another one by changed({name}=...)")

    def changed(self, **facts: Any) -> Self:
        """The same error with other facts, the same cause, and no traceback yet."""
        other = type(self).__new__(type(self), facts.get("message", self.message))
        other.__dict__.update(self.__dict__ | facts)
        other.__cause__ = self.__cause__
        return other

    @property
    def may_repeat(self) -> bool | None:
        """Whether the client's SDK may send the request again by itself; None leaves it to its own rules."""
        return None


class RequestError(ProxyError):
    """The client's mistake.

    A front says where it is by `param`, the path in its dialect's spelling (`messages[0].role`); everybody
    else by `attribute`, the path in the parsed request (`image.size`), which the front then spells.
    """

    param: str | None
    attribute: str | None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        attribute: str | None = None,
        code: str | None = None,
        status: int = 400,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code, headers=headers)
        self._set(param=param, attribute=attribute)


class CallerError(RequestError):
    """Nobody knows who asks. `credential` is what came as the key: a token of the header that is made for
    them, a key anywhere else, or nothing."""

    credential: Literal["nothing", "key", "token"]

    def __init__(self, credential: Literal["nothing", "key", "token"]) -> None:
        super().__init__(
            "No API key provided; send it in a header, `Authorization: Bearer KEY`."
            if credential == "nothing"
            else "Incorrect API key provided.",
            status=401,
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )
        self._set(credential=credential)


class NotCarriedError(RequestError):
    """The client wants to be refused rather than have these attributes of its request left out."""

    attributes: tuple[str, ...]

    def __init__(self, attributes: tuple[str, ...]) -> None:
        super().__init__(self.sentence(attributes), attribute=attributes[0], code="unsupported_parameter")
        self._set(attributes=attributes)

    @staticmethod
    def sentence(names: tuple[str, ...]) -> str:
        """The message, with names in whoever's spelling."""
        shown = ", ".join(names[:_NAMES_SHOWN])
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        return f"This model cannot carry: {shown}{more}. Leave it out, or x-proxy-strict."


class StoppingError(ProxyError):
    """The server ends before the request did. `bought`: what a vendor made of it may have to be paid for, and
    would be again."""

    bought: bool

    def __init__(self, *, bought: bool = False) -> None:
        super().__init__(
            "The server is being stopped and could not finish this request.",
            status=503,
            code="server_stopping",
        )
        self._set(bought=bought)

    @property
    def may_repeat(self) -> bool | None:
        return False if self.bought else None


class LimitError(ProxyError):
    """The caller has had as many `kind` (requests, tokens, images, concurrent) as it may have for now. There
    is room again after `retry_after_s`, and never for this request where that is None."""

    kind: str
    retry_after_s: float | None

    def __init__(
        self,
        message: str,
        kind: str,
        retry_after_s: float | None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, status=429, code="rate_limit_exceeded", headers=headers)
        self._set(kind=kind, retry_after_s=retry_after_s)

    @property
    def may_repeat(self) -> bool | None:
        return False if self.retry_after_s is None else None


class BudgetError(ProxyError):
    """The caller has no money left for this request. It has again after `retry_after_s`, and never where that
    is None."""

    retry_after_s: float | None

    def __init__(self, message: str, retry_after_s: float | None) -> None:
        super().__init__(message, status=429, code="insufficient_quota")
        self._set(retry_after_s=retry_after_s)

    @property
    def may_repeat(self) -> bool | None:
        return False  # SDKs do not wait for days: they would ask again at once


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

    `code` is ours, None where every dialect has a word of its own. `same_target`, `next_key`, `next_target`:
    may the request be tried there. `rest_key`: the key rests until the vendor's retry time. `counts`: counts
    against the target's health. `bought`: the vendor may have done paid work. `may_repeat`: as an error's.
    """

    status: int
    code: str | None = None
    same_target: bool = False
    next_key: bool = False
    next_target: bool = False
    rest_key: bool = False
    counts: bool = False
    bought: bool = False
    may_repeat: bool | None = None

    @property
    def goes_on(self) -> bool:
        """Whether anything may be tried after it."""
        return self.same_target or self.next_key or self.next_target


# `connect` is certain: no byte of the request was sent. An `empty` chat has been tried again here already.
POLICIES: dict[ErrorClass, Policy] = {
    ErrorClass.BAD_REQUEST: Policy(400, may_repeat=False),
    ErrorClass.NOT_FOUND: Policy(404, "model_not_found", next_target=True, may_repeat=False),
    ErrorClass.AUTH: Policy(
        502,
        "upstream_auth_failed",
        next_key=True,
        next_target=True,
        rest_key=True,
        counts=True,
        may_repeat=False,
    ),
    ErrorClass.QUOTA: Policy(429, next_key=True, next_target=True, rest_key=True, may_repeat=False),
    ErrorClass.RATE_LIMITED: Policy(429, next_key=True, next_target=True, rest_key=True),
    ErrorClass.OVERLOADED: Policy(
        503, "overloaded", same_target=True, next_key=True, next_target=True, counts=True
    ),
    ErrorClass.UNAVAILABLE: Policy(503, "upstream_unavailable", next_target=True, counts=True),
    ErrorClass.TIMEOUT: Policy(504, "upstream_timeout", next_target=True, counts=True, bought=True),
    ErrorClass.CONNECT: Policy(502, "upstream_unreachable", same_target=True, next_target=True, counts=True),
    ErrorClass.BLOCKED: Policy(400, bought=True, may_repeat=False),
    ErrorClass.EMPTY: Policy(
        502, "upstream_empty_response", same_target=True, next_target=True, may_repeat=False
    ),
    ErrorClass.LOST: Policy(
        502, "upstream_task_lost", next_target=True, counts=True, bought=True, may_repeat=False
    ),
    ErrorClass.CANCELED: Policy(502, "upstream_task_canceled", bought=True, may_repeat=False),
    ErrorClass.INTERNAL: Policy(
        502, "upstream_error", same_target=True, next_target=True, counts=True, bought=True
    ),
}


class UpstreamError(ProxyError):
    """An upstream failure. Status, code and `bought` come from its class unless given.

    `bought`: the vendor may have done work that is paid for. `by_piece`: what was ordered is sold by the
    piece, so that a repeated order is a second purchase. `forbidden`: the upstream itself asks for no
    repetition, or a whole answer was sold and failed. `final`: it is the vendor's own word on how the order
    ended, so nothing more can come of it. `retry_after_s` is the vendor's own word on when to come back, at
    most an hour. `native` is the vendor's status or code, `native_status` its HTTP status. `param` is the
    field as the vendor calls it, or the attribute that it was made from; a front spells it.
    `why` is the cause for a log: in words of ours alone, or the vendor's of our credentials; else None.
    """

    error_class: ErrorClass
    provider: str
    param: str | None
    retry_after_s: float | None
    native: str | None
    native_status: int | None
    why: str | None
    bought: bool
    by_piece: bool
    forbidden: bool
    final: bool

    def __init__(
        self,
        error_class: ErrorClass,
        message: str,
        *,
        provider: str = "",
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        native: str | None = None,
        native_status: int | None = None,
        why: str | None = None,
        bought: bool | None = None,
        by_piece: bool = False,
        forbidden: bool = False,
        final: bool = False,
    ) -> None:
        policy = POLICIES[error_class]
        super().__init__(message, status=status or policy.status, code=code or policy.code)
        self._set(
            error_class=error_class,
            provider=provider,
            param=param,
            retry_after_s=_wait_s(retry_after_s),
            native=native,
            native_status=native_status,
            why=why,
            bought=policy.bought if bought is None else bought,
            by_piece=by_piece,
            forbidden=forbidden,
            final=final,
        )

    @property
    def policy(self) -> Policy:
        return POLICIES[self.error_class]

    @property
    def may_repeat(self) -> bool | None:
        if self.forbidden or (self.by_piece and self.bought):
            return False
        return self.policy.may_repeat

    def without(self, secrets: Iterable[str]) -> Self:
        """Take keys of ours out of everything the vendor said: some repeat them in their refusals."""
        words = {name: getattr(self, name) for name in ("message", "code", "param", "native", "why")}
        for secret in secrets:
            words = {name: said and said.replace(secret, "***") for name, said in words.items()}
        return self.changed(**words)


def _wait_s(seconds: float | None) -> float | None:
    if seconds is None or not isfinite(seconds):
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT_S)
