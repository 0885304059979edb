"""Google's error bodies: the ones validation raises, and the table behind `sim:error:<status>[:<reason>]`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.simulators.directives import Directives
from proxy.simulators.exchange import Reply

Details = list[dict[str, Any]]
_RPC = "type.googleapis.com/google.rpc"


@dataclass(eq=False)
class Refused(Exception):
    """The request is answered with this error."""

    message: str
    status: str = "INVALID_ARGUMENT"
    code: int = 400
    details: Details = field(default_factory=list)

    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": self.message, "status": self.status}
        return {"error": error | ({"details": self.details} if self.details else {})}


def _info(reason: str) -> dict[str, Any]:
    return {
        "@type": f"{_RPC}.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    }


def _bad_key(message: str) -> Refused:
    localized = {"@type": f"{_RPC}.LocalizedMessage", "locale": "en-US", "message": message}
    return Refused(message, details=[_info("API_KEY_INVALID"), localized])


def _quota(period: str, delay: str) -> Refused:
    quota = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
        "quotaId": f"GenerateRequestsPer{period}PerProjectPerModel-FreeTier",
    }
    return Refused(
        _QUOTA,
        "RESOURCE_EXHAUSTED",
        429,
        [
            {"@type": f"{_RPC}.QuotaFailure", "violations": [quota]},
            {"@type": f"{_RPC}.RetryInfo", "retryDelay": delay},
        ],
    )


_QUOTA = "You exceeded your current quota, please check your plan and billing details."
_OVERLOADED = "The model is overloaded. Please try again later."
_SIGNATURE = (
    "Function call is missing a thought_signature in functionCall parts. This is required for tools to work "
    "correctly, and missing thought_signature may lead to degraded model performance. Additional data, "
    "function call `default_api:{name}`, position {position}."
)
_SCHEMA = (
    'Invalid JSON payload received. Unknown name "parametersJsonSchema" at '
    "'tools[0].function_declarations[0]': Cannot find field."
)
_HELP = {
    "@type": f"{_RPC}.Help",
    "links": [
        {
            "description": "Learn more about Gemini API quotas",
            "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
        }
    ],
}


def missing_signature(name: str, position: int) -> Refused:
    return Refused(_SIGNATURE.format(name=name, position=position))


# `sim:error:` and keys that misbehave look here.
ERRORS: dict[str, Refused] = {
    "400": Refused("Request contains an invalid argument."),
    "400:API_KEY_INVALID": _bad_key("API key not valid. Please pass a valid API key."),
    "400:expired": _bad_key("API key expired. Please renew the API key."),
    "400:tokens": Refused(
        "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576)."
    ),
    "400:signature": missing_signature("x", 2),
    "400:corrupted": Refused("Corrupted thought signature."),
    "400:schema": Refused(_SCHEMA),
    "400:location": Refused("User location is not supported for the API use.", "FAILED_PRECONDITION"),
    "400:billing": Refused(
        "Gemini API free tier is not available in your country. Please enable billing on your project.",
        "FAILED_PRECONDITION",
    ),
    "401": Refused(
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or "
        "other valid authentication credential.",
        "UNAUTHENTICATED",
        401,
    ),
    "403": Refused("The caller does not have permission", "PERMISSION_DENIED", 403),
    "403:key": Refused(
        "Method doesn't allow unregistered callers (callers without established identity). Please use API "
        "Key or other form of API consumer identity to call this API.",
        "PERMISSION_DENIED",
        403,
    ),
    "403:leaked": Refused(
        "Your API key was reported as leaked. Please use another API key.", "PERMISSION_DENIED", 403
    ),
    "403:disabled": Refused(
        "Generative Language API has not been used in project 000000000000 before or it is disabled.",
        "PERMISSION_DENIED",
        403,
        [_info("SERVICE_DISABLED")],
    ),
    "404": Refused("models/x is not found for API version v1beta.", "NOT_FOUND", 404),
    "408": Refused("The request timed out.", "DEADLINE_EXCEEDED", 408),
    "413": Refused("Request payload size exceeds the limit: 104857600 bytes.", "INVALID_ARGUMENT", 413),
    "429": Refused(_QUOTA, "RESOURCE_EXHAUSTED", 429),
    "429:day": _quota("Day", "34.4s"),
    "429:minute": _quota("Minute", "34.4s"),
    "429:soon": _quota("Minute", "0.05s"),
    "429:help": Refused(_QUOTA, "RESOURCE_EXHAUSTED", 429, [_HELP]),
    "499": Refused("The operation was cancelled.", "CANCELLED", 499),
    "500": Refused("An internal error has occurred. Please retry or report.", "INTERNAL", 500),
    "502": Refused("Bad gateway.", "UNAVAILABLE", 502),
    "503": Refused(_OVERLOADED, "UNAVAILABLE", 503),
    "504": Refused("The request timed out. Please try again.", "DEADLINE_EXCEEDED", 504),
}

# The first letters of a key decide what becomes of it, so that tests can rotate keys.
KEYS: dict[str, str] = {
    "bad": "400:API_KEY_INVALID",
    "invalid": "400:API_KEY_INVALID",
    "expired": "400:expired",
    "leaked": "403:leaked",
    "spent": "429:day",
    "busy": "429:minute",
    "down": "503",
}


def lookup(order: str) -> Refused:
    """The error behind `503` or `429:day`; a status without a row gets a plain body of that status."""
    known = ERRORS.get(order) or ERRORS.get(order.partition(":")[0])
    if known is not None:
        return known
    digits = order.partition(":")[0]
    return Refused(f"Simulated error {order}.", "UNKNOWN", int(digits) if digits.isdigit() else 500)


def error_reply(order: str, directives: Directives, *, as_array: bool = False) -> Reply:
    """`sim:error:html502` is a front end's page; `array-error` and `nested-error` change the wrapping."""
    headers = {"retry-after": directives.word("retry-after")} if "retry-after" in directives else {}
    if order.startswith("html"):
        status = order.removeprefix("html").partition(":")[0]
        page = f"<!DOCTYPE html>\n<html lang=en><title>Error {status}</title><p>That’s an error.\n"
        return Reply(
            [page.encode()],
            int(status or "502"),
            headers,
            "text/html; charset=UTF-8",
            pace=directives.pace,
        )
    refused = lookup(order)
    body: Any = refused.body()
    if "nested-error" in directives:
        # Gateways wrap Google's body once more, as a string (google-gemini/gemini-cli #25198).
        body["error"] = {**body["error"], "message": orjson.dumps(body).decode()}
    if as_array or "array-error" in directives:
        body = [body]
    return Reply([orjson.dumps(body)], refused.code, headers, pace=directives.pace)
