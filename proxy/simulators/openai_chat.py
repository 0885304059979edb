"""A plain OpenAI-compatible server, such as one on a local network: chat completions and the list of models.

Lenient as such servers are; the strict twin refuses unknown fields, as OpenAI does. Keys beginning with
`bad`, `spent` or `busy` are refused. Directives: docs/simulators.md.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.simulators.directives import Directives
from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.keywords import misplaced
from proxy.simulators.openai_answer import Answer, BadPicture, answer_to, read, usage_of
from proxy.simulators.serving import Handler

Json = dict[str, Any]

MODELS = ("sim-chat", "sim-thinker")
_CREATED = 1795219200
FIELDS = frozenset(
    (
        "messages",
        "model",
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "modalities",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    )
)
_NAME = re.compile("[a-zA-Z0-9_-]{1,64}")
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


@dataclass(eq=False)
class Refused(Exception):
    status: int
    message: str
    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None

    def body(self) -> Json:
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}


_KEYS = {
    "bad": Refused(401, "Incorrect API key provided.", code="invalid_api_key"),
    "spent": Refused(429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
    "busy": Refused(429, "Rate limit reached.", "requests", "rate_limit_exceeded"),
}
_ERRORS = {
    "400": Refused(400, "Invalid request."),
    "400:tokens": Refused(
        400, "This model's maximum context length is 8192 tokens.", code="context_length_exceeded"
    ),
    "400:filter": Refused(400, "The prompt was refused.", code="content_filter"),
    "401": _KEYS["bad"],
    "403": Refused(403, "You are not allowed to use this model.", "permission_error"),
    "404": Refused(404, "The model does not exist.", code="model_not_found"),
    "429": _KEYS["busy"],
    "429:day": _KEYS["spent"],
    "500": Refused(500, "The server had an error.", "server_error"),
    "503": Refused(503, "The server is overloaded.", "server_error", "overloaded"),
    "504": Refused(504, "The server timed out.", "server_error"),
}


def make(log: Log) -> Handler:
    return Server(log, strict=False).handle


def make_strict(log: Log) -> Handler:
    return Server(log, strict=True).handle


class Server:
    def __init__(self, log: Log, *, strict: bool) -> None:
        self.log = log
        self.strict = strict

    def handle(self, exchange: Exchange) -> Reply:
        try:
            return self._route(exchange)
        except Refused as refused:
            exchange.notes["refused"] = refused.message
            self.log.counts[f"{exchange.vendor}.refused"] += 1
            return json_reply(refused.body(), refused.status)

    def _route(self, exchange: Exchange) -> Reply:
        check_key(exchange)
        if (exchange.method, exchange.path) == ("GET", "/v1/models"):
            return json_reply({"object": "list", "data": [_listed(name) for name in MODELS]})
        if (exchange.method, exchange.path) == ("POST", "/v1/chat/completions"):
            return self._complete(exchange)
        raise Refused(404, f"Invalid URL ({exchange.method} {exchange.path})")

    def _complete(self, exchange: Exchange) -> Reply:
        try:
            request = exchange.json()
        except orjson.JSONDecodeError as error:
            raise Refused(400, f"We could not parse the JSON body of your request. {error}") from error
        self._check(request)
        try:
            prompt = read(request)
        except BadPicture as error:
            raise Refused(400, "Invalid base64 image_url.", code="invalid_image") from error
        orders = prompt.orders
        if (order := self._failure(orders)) is not None:
            return error_reply(order, orders)
        thinks = request["model"] == "sim-thinker" or "thoughts" in orders
        replies = [answer_to(request, prompt, number, thinks) for number in range(request.get("n") or 1)]
        identity = "chatcmpl-" + hashlib.sha256(str(exchange.number).encode()).hexdigest()[:24]
        head = {"id": identity, "created": _CREATED, "model": request["model"]}
        usage = usage_of(prompt, replies)
        if not request.get("stream"):
            choices = [reply.choice(index) for index, reply in enumerate(replies)]
            body = {**head, "object": "chat.completion", "choices": choices}
            return json_reply(body if "nousage" in orders else body | {"usage": usage}, pace=orders.pace)
        chunks = list(_chunks(replies, orders))
        wanted = bool((request.get("stream_options") or {}).get("include_usage"))
        return _stream(head, chunks, usage if wanted else None, orders)

    def _check(self, request: Any) -> None:
        if not isinstance(request, dict) or not isinstance(request.get("messages"), list):
            raise Refused(400, "Missing required parameter: 'messages'.", param="messages")
        if not request["messages"]:
            raise Refused(400, "Invalid 'messages': empty array.", param="messages", code="empty_array")
        if not isinstance(request.get("model"), str):
            raise Refused(400, "you must provide a model parameter")
        for index, message in enumerate(request["messages"]):
            if message.get("role") not in _ROLES:
                raise Refused(
                    400, f"Invalid value: '{message.get('role')}'.", param=f"messages[{index}].role"
                )
        known = FIELDS - {"reasoning_effort"} if request["model"].startswith("gpt-4o") else FIELDS
        if self.strict and (unknown := sorted(set(request) - known)):
            raise Refused(
                400,
                f"Unrecognized request argument supplied: {unknown[0]}",
                code="unknown_parameter",
                param=unknown[0],
            )
        if self.strict:
            _check_functions(request)
        _check_results(request["messages"])
        _check_schemas(request)

    def _failure(self, orders: Directives) -> str | None:
        if "error" in orders:
            return orders.word("error", "500")
        if "fail-once" in orders and self.log.attempt(f"openai {orders.said}") == 1:
            return orders.word("fail-once", "503")
        times, _, order = orders.word("fail-times").partition(":")
        if times.isdigit() and self.log.attempt(f"openai {orders.said}") <= int(times):
            return order or "503"
        return None


def check_key(exchange: Exchange) -> None:
    if not exchange.key:
        raise Refused(401, "You didn't provide an API key.", code="invalid_api_key")
    for start, refused in _KEYS.items():
        if exchange.key.startswith(start):
            raise refused


def _check_functions(request: Json) -> None:
    """Their names, also of those that were called, and that they say their parameters."""
    named = {f"tools[{index}]": tool for index, tool in enumerate(request.get("tools") or ())}
    for index, message in enumerate(request["messages"]):
        for number, call in enumerate(message.get("tool_calls") or ()):
            named[f"messages[{index}].tool_calls[{number}]"] = call
    for place, holder in named.items():
        if not _NAME.fullmatch((holder.get("function") or {}).get("name") or ""):
            param = f"{place}.function.name"
            raise Refused(
                400,
                f"Invalid '{param}': string does not match pattern. Expected a string that matches the "
                f"pattern '{_NAME.pattern}'.",
                code="invalid_value",
                param=param,
            )
        schema = holder["function"].get("parameters")
        if schema is not None and (schema.get("type") != "object" or "properties" not in schema):
            raise Refused(
                400,
                f"Invalid schema for function '{holder['function']['name']}': In context=(), object schema "
                "missing properties.",
                code="invalid_function_parameters",
                param=f"{place}.function.parameters",
            )


def _check_schemas(request: Json) -> None:
    """Of what may be called, and of the answer."""
    schemas = {
        f"tools[{index}].function.parameters": (tool.get("function") or {}).get("parameters")
        for index, tool in enumerate(request.get("tools") or ())
    }
    form = request.get("response_format") or {}
    schemas["response_format.json_schema.schema"] = (form.get("json_schema") or {}).get("schema")
    for place, schema in schemas.items():
        if schema is not None and (where := misplaced(schema)) is not None:
            param = place + where
            raise Refused(400, f"Invalid schema: '{param}'.", code="invalid_function_parameters", param=param)


def _check_results(messages: list[Json]) -> None:
    """Each call is answered directly, once, by a tool message with its id."""
    waiting: list[str] = []
    for index, message in enumerate(messages):
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in waiting:
                raise Refused(
                    400,
                    "Invalid parameter: messages with role 'tool' must be a response to a preceding message "
                    "with 'tool_calls'.",
                    param=f"messages[{index}].role",
                )
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            raise Refused(
                400,
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. The following did not have response messages: {', '.join(waiting)}",
                param=f"messages[{index}].role",
            )
        waiting = [call["id"] for call in message.get("tool_calls") or ()]


def _listed(name: str) -> Json:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "simulator"}


def _chunks(replies: list[Answer], orders: Directives) -> list[Json]:
    deltas: list[Json] = []
    for index, reply in enumerate(replies):
        said: list[Json] = [{"role": "assistant", "content": ""}]
        if reply.reasoning is not None:
            said += [{"reasoning_content": piece} for piece in _split(reply.reasoning, 2)]
        for number, call in enumerate(reply.calls):
            function = call["function"]
            opener = {**call, "index": number, "function": {"name": function["name"], "arguments": ""}}
            said.append({"tool_calls": [opener]})
            said += [
                {"tool_calls": [{"index": number, "function": {"arguments": piece}}]}
                for piece in _split(function["arguments"], 2)
            ]
        if reply.content is not None:
            said += [{"content": piece} for piece in _split(reply.content, orders.count("chunks") or 5)]
        deltas += [{"index": index, "delta": delta, "finish_reason": None} for delta in said]
        if reply.finish is not None:
            deltas.append({"index": index, "delta": {}, "finish_reason": reply.finish})
    return deltas


def _split(text: str, pieces: int) -> list[str]:
    size = max(1, -(-len(text) // pieces))
    return [text[start : start + size] for start in range(0, len(text), size)]


def _stream(head: Json, chunks: list[Json], usage: Json | None, orders: Directives) -> Reply:
    envelope = {**head, "object": "chat.completion.chunk"}
    payloads: list[Json] = [{**envelope, "choices": [chunk]} for chunk in chunks]
    if usage is not None and "nousage" not in orders:
        payloads = [
            *({**each, "usage": None} for each in payloads),
            {**envelope, "choices": [], "usage": usage},
        ]
    frames = [b"data: " + orjson.dumps(payload) + b"\n\n" for payload in payloads]
    if "error-after" in orders:
        after, _, order = orders.word("error-after", "1").partition(":")
        error = _ERRORS.get(order or "503", _ERRORS["500"]).body()
        frames = [*frames[: int(after)], b"data: " + orjson.dumps(error) + b"\n\n"]
    elif "nofinish" not in orders:
        frames.append(b"data: [DONE]\n\n")
    if "comments" in orders:
        frames = [b": keep-alive\n\n" + frame for frame in frames]
    return Reply(frames, 200, {}, "text/event-stream; charset=utf-8", streamed=True, pace=orders.pace)


def error_reply(order: str, orders: Directives) -> Reply:
    headers = {"retry-after": orders.word("retry-after")} if "retry-after" in orders else {}
    if order.startswith("html"):
        page = b"<html><h1>Bad gateway</h1></html>"
        return Reply([page], int(order.removeprefix("html") or 502), headers, "text/html", pace=orders.pace)
    digits = order.partition(":")[0]
    status = int(digits) if digits.isdigit() else 500
    refused = _ERRORS.get(order) or _ERRORS.get(digits) or Refused(status, f"Simulated error {order}.")
    return json_reply(refused.body(), refused.status, headers=headers, pace=orders.pace)
