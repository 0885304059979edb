"""The routes of the simulated Gemini API: keys, models, the body's way through the checks to a reply."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import orjson

from proxy.simulators.directives import Directives
from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.gemini import answer, continuation, embeddings, models, prompt, proto, render, rules
from proxy.simulators.gemini.errors import ERRORS, KEYS, Refused, error_reply, lookup
from proxy.simulators.gemini.models import Model
from proxy.simulators.serving import Handler

Json = dict[str, Any]

_METHOD = re.compile(r"/(?P<version>v1beta|v1)/models/(?P<model>[^/:]+):(?P<method>\w+)")
_ONE = re.compile(r"/(?P<version>v1beta|v1)/models/(?P<model>[^/:]+)")
_LIMIT_BYTES = 100 * 1024 * 1024
_PAGE = 50


def make(log: Log) -> Handler:
    """The handler of `/gemini`; paths begin with `/v1beta`."""
    return Service(log).handle


class Service:
    def __init__(self, log: Log) -> None:
        self.log = log
        self.methods = {
            "generateContent": self._generate,
            "streamGenerateContent": self._generate,
            "countTokens": self._count_tokens,
            "embedContent": embeddings.one,
            "batchEmbedContents": embeddings.several,
        }

    def handle(self, exchange: Exchange) -> Reply:
        as_array = "stream" in exchange.path and exchange.query.get("alt") != "sse"
        try:
            return self._route(exchange)
        except Refused as refused:
            self.log.counts["google.refused"] += 1
            exchange.notes["refused"] = refused.message
            body: Any = refused.body()
            return json_reply([body] if as_array else body, refused.code)

    def _route(self, exchange: Exchange) -> Reply:
        _check_key(exchange)
        if exchange.method == "GET" and exchange.path in ("/v1beta/models", "/v1/models"):
            return _list(exchange)
        if exchange.method == "GET" and (found := _ONE.fullmatch(exchange.path)):
            return json_reply(_model(found, "GetModel").listed())
        found = _METHOD.fullmatch(exchange.path)
        if found is None or exchange.method != "POST":
            return error_reply("html404", Directives())
        method = self.methods.get(found["method"])
        model = _model(found, found["method"])
        if method is None or model.embeds != (method in (embeddings.one, embeddings.several)):
            raise _not_found(found["model"], found["version"], found["method"])
        if len(exchange.raw) > _LIMIT_BYTES:
            raise ERRORS["413"]
        exchange.notes["model"] = model.name
        return method(exchange, model, _body(exchange))

    def _generate(self, exchange: Exchange, model: Model, raw: Any) -> Reply:
        streamed = "streamGenerateContent" in exchange.path
        alt = exchange.query.get("alt", "json")
        if alt not in ("json", "sse"):
            raise Refused(f"Invalid value for alt: {alt}")
        request = proto.read(raw, "GenerateContentRequest")
        tally = rules.check(request, model, streamed=streamed)
        self._tell(exchange, model, tally.real, tally.sentinels, tally.on_siblings)
        read = prompt.read(request)
        orders = read.directives
        if failure := self._failure(orders, read.said):
            exchange.notes["directive"] = failure
            return error_reply(failure, orders, as_array=streamed and alt != "sse")
        tier = request.get("serviceTier", "standard")
        identity = hashlib.sha256(f"{exchange.number}{exchange.received}".encode()).hexdigest()[:22]
        envelope = render.Envelope(read, model.name, identity, tier)
        headers = {"x-gemini-service-tier": tier, "server-timing": "gfet4t7; dur=1"}
        odd = _odd(envelope, orders)
        if odd is None:
            mind = answer.Mind(request, model, read)
            wanted = (request.get("generationConfig") or {}).get("candidateCount", 1)
            answers = [mind.answer(number) for number in range(wanted)]
            continuation.apply(request, read, answers)
        if not streamed:
            whole = render.whole(envelope, answers) if odd is None else odd
            return json_reply(whole, headers=headers, pace=orders.pace)
        payloads = render.streamed(envelope, answers) if odd is None else [odd]
        return _stream(payloads, orders, alt, headers)

    def _failure(self, orders: Directives, said: str) -> str | None:
        """The order for an error: always, or for the first attempts of this prompt."""
        if "error" in orders:
            return orders.word("error", "500")
        if "fail-once" in orders and self.log.attempt(f"google {said}") == 1:
            return orders.word("fail-once", "503")
        times, _, order = orders.word("fail-times").partition(":")
        if times.isdigit() and self.log.attempt(f"google {said}") <= int(times):
            return order or "503"
        return None

    def _tell(self, exchange: Exchange, model: Model, real: int, sentinels: int, siblings: int) -> None:
        exchange.notes["signatures"] = {"real": real, "sentinels": sentinels, "on_siblings": siblings}
        counts = self.log.counts
        counts["google.signatures.real"] += real
        counts["google.signatures.sentinels"] += sentinels
        counts["google.signatures.sentinels_on_siblings"] += siblings
        counts["google.signatures.sentinels_before_3"] += 0 if model.third else sentinels

    def _count_tokens(self, exchange: Exchange, model: Model, raw: Any) -> Reply:
        body = proto.read(raw, "CountTokensRequest")
        request = body.get("generateContentRequest") or body
        if not request.get("contents"):
            raise Refused("* CountTokensRequest.contents: contents is not specified\n")
        tokens = prompt.read(request).tokens
        details = [{"modality": name, "tokenCount": count} for name, count in tokens.items()]
        return json_reply({"totalTokens": sum(tokens.values()), "promptTokensDetails": details})


def _check_key(exchange: Exchange) -> None:
    if "key" in exchange.query:  # Google takes it; a proxy must never send it (G-002).
        raise Refused("This simulator refuses API keys in the query string: they end up in logs.")
    key = exchange.headers.get("x-goog-api-key", "")
    if not key:
        raise ERRORS["401" if "authorization" in exchange.headers else "403:key"]
    for start, order in KEYS.items():
        if key.startswith(start):
            exchange.notes["key"] = start
            raise lookup(order)


def _not_found(model: str, version: str, method: str) -> Refused:
    return Refused(
        f"models/{model} is not found for API version {version}, or is not supported for {method}. Call "
        "ListModels to see the list of available models and their supported methods.",
        "NOT_FOUND",
        404,
    )


def _model(found: re.Match[str], method: str) -> Model:
    model = models.find(found["model"])
    if model is None or (found["model"] in models.LATEST and found["version"] == "v1"):
        raise _not_found(found["model"], found["version"], method)
    return model


def _body(exchange: Exchange) -> Any:
    try:
        return exchange.json()
    except orjson.JSONDecodeError as error:
        raise Refused(f"Invalid JSON payload received. {error}") from error


def _list(exchange: Exchange) -> Reply:
    size, start = exchange.query.get("pageSize") or str(_PAGE), exchange.query.get("pageToken") or "0"
    if not size.isdecimal() or not start.isdecimal():
        raise Refused("* ListModelsRequest.page_token: Invalid page token.")
    return json_reply(_page(int(size), int(start)))


def _page(size: int, start: int) -> Json:
    names = [*models.MODELS, *models.LATEST]
    page = []
    for name in names[start : start + size]:
        model = models.find(name)
        assert model is not None
        page.append({**model.listed(), "name": f"models/{name}"})
    more = {"nextPageToken": str(start + size)} if start + size < len(names) else {}
    return {"models": page, **more}


def _odd(envelope: render.Envelope, orders: Directives) -> Json | None:
    """Replies without an answer: a blocked prompt, nothing at all, a candidate without content."""
    prompt_only = render.Spent().usage(envelope)
    if "block" in orders:
        blocked = {"promptFeedback": {"blockReason": orders.word("block", "PROHIBITED_CONTENT")}}
        return blocked | envelope.around([], prompt_only)
    if "empty" in orders:
        return envelope.around([], prompt_only)
    if "empty-candidate" in orders:
        return envelope.around([{"finishReason": "STOP", "index": 0}], prompt_only)
    return None


def _stream(payloads: list[Json], orders: Directives, alt: str, headers: dict[str, str]) -> Reply:
    broken = next((name for name in ("error-after", "raw-error-after") if name in orders), None)
    if broken is not None:
        after, _, order = orders.word(broken, "1").partition(":")
        error = lookup(order or "503").body()
        payloads = payloads[: int(after)]
        if alt != "sse" or broken == "error-after":
            payloads = [*payloads, error]
    frames = render.sse(payloads, orders) if alt == "sse" else render.array(payloads)
    if broken == "raw-error-after" and alt == "sse":
        frames.append(orjson.dumps(error, option=orjson.OPT_INDENT_2) + b"\n")
    kind = "text/event-stream" if alt == "sse" else "application/json; charset=UTF-8"
    return Reply(frames, 200, headers, kind, streamed=True, pace=orders.pace)
