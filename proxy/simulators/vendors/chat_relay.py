"""Relays that sell pictures through chat completions: aigcbest and xiaotian (vendors.md 3 and 5).

Their documents show one reply each; `sim:shape:a..f` gives every shape that such relays are known to use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, ClassVar

from proxy.simulators.directives import Directives
from proxy.simulators.exchange import Exchange, Log, Reply
from proxy.simulators.openai_chat import FIELDS as CHAT_FIELDS
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields, references
from proxy.simulators.vendors.drawings import draw, google_pixels
from proxy.simulators.vendors.google import said_in
from proxy.simulators.vendors.house import CREATED, House, Job, Json, Refused, Route, events, route, spoken

_WORDS = "Here is the picture:\n"
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_MESSAGES = fields.list_of(fields.record, 1000, 1)
_RULES: dict[str, fields.Rule] = {
    **dict.fromkeys(CHAT_FIELDS, fields.anything),
    "model": fields.text(),
    "messages": _MESSAGES,
    "stream": fields.flag,
    "modalities": fields.list_of(fields.one_of("text", "image"), 2, 1),
}
_NATIVE_RULES = {"contents": _MESSAGES, "generationConfig": fields.record, "systemInstruction": fields.record}
_CODES = {401: "invalid_api_key", 403: "insufficient_user_quota", 429: "rate_limit_exceeded"}
_PICTURE_TOKENS = 1290


class Relay(House):
    """`shape` is what it uses without a directive, `forms` how it takes pictures."""

    shape = "a"
    forms: ClassVar[tuple[str, ...]] = ("url", "data")
    spent_status = 403  # new-api: an empty balance is not 402

    def routes(self) -> list[Route]:
        return [
            route("POST", "/v1/chat/completions", self._chat),
            route("POST", "/v1beta/models/{model}:generateContent", self._native),
        ]

    def refusal(self, refused: Refused) -> Json:
        code = refused.code if refused.code.startswith(("model_", "content_", "pre_")) else ""
        message = f"{refused.message} (request id: 20261121000000000)"
        code = code or _CODES.get(refused.status, "") or "invalid_request"
        return {"error": {"message": message, "type": "new_api_error", "param": refused.param, "code": code}}

    def new_id(self, number: int) -> str:
        return "chatcmpl-" + super().new_id(number).replace("-", "")

    def _chat(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        body = self.body(exchange, _RULES, ("model", "messages"))
        prompt, given = _read(body["messages"])
        self._check_references(given)
        orders = self.orders(prompt)
        if "nochannel" in orders:
            message = f"No available channel for model {body['model']} in group default"
            raise Refused(503, message, "model_not_found")
        # Of this model the page says that only the parameter `modalities` brings pictures.
        draws = "gemini-2.0" not in body["model"] or "image" in body.get("modalities", ())
        job = self._draw(exchange, prompt, orders, body["model"], given, draws=draws)
        if job.outcome == "failed":
            raise Refused(500, "The upstream failed.", job.code)
        if body.get("stream") and "json" not in orders:
            return events([("", chunk) for chunk in _chunks(self, job)], orders, done=True)
        choice = {"index": 0, "message": _message(self, job), "finish_reason": _finish(job)}
        return spoken(
            {**_head(job), "object": "chat.completion", "choices": [choice], "usage": _usage(job)}, orders
        )

    def _native(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        """Shape f: Google's own dialect, with the picture as markdown inside a text part."""
        body = self.body(exchange, _NATIVE_RULES, ("contents",))
        prompt = said_in(body["contents"])
        orders = self.orders(prompt)
        job = self._draw(exchange, prompt, orders, found["model"], [])
        said = _WORDS + "".join(f"![image]({each.data_uri()})" for each in job.good)
        content = {"role": "model", "parts": [{"text": said}]}
        usage = _usage(job)
        counts = {
            "promptTokenCount": usage["prompt_tokens"],
            "candidatesTokenCount": usage["completion_tokens"],
            "totalTokenCount": usage["total_tokens"],
        }
        candidate = {"content": content, "finishReason": "STOP", "index": 0}
        return spoken({"candidates": [candidate], "usageMetadata": counts}, orders)

    def _draw(
        self,
        exchange: Exchange,
        prompt: str,
        orders: Directives,
        model: str,
        given: list[str],
        *,
        draws: bool = True,
    ) -> Job:
        wanted = orders.count("image", 1) if (draws and "image" in model) or "image" in orders else 0
        size = google_pixels("1:1", "1K")
        drawings = draw(orders.said, orders, size, wanted, orders.word("kind", "png"))
        job = self.submit(exchange, prompt, orders, drawings, model=model, references_given=given)
        job.extra["references"] = len(given)
        self.finish(job)
        return job

    def _check_references(self, given: list[str]) -> None:
        for each in given:
            try:
                references.describe(each, self.forms)
            except ValueError as error:
                raise Refused(400, str(error), param="messages") from error


class Aigcbest(Relay):
    name = "aigcbest"
    price = Decimal("0.04")
    forms = ("data",)  # "pictures go in and come out as base64"


class Xiaotian(Relay):
    name = "xiaotian"
    price = Decimal("0.04")
    shape = "d"


def make_aigcbest(log: Log) -> Handler:
    return Aigcbest(log).handle


def make_xiaotian(log: Log) -> Handler:
    return Xiaotian(log).handle


def _read(messages: list[Json]) -> tuple[str, list[str]]:
    """The last user text and every reference picture. Raises for parts that a relay does not know."""
    prompt, given = "", []
    for index, message in enumerate(messages):
        at = f"messages[{index}]"
        if message.get("role") not in _ROLES:
            raise Refused(400, f"{at}.role is not valid", param=f"{at}.role")
        content = message.get("content")
        whole = [{"type": "text", "text": content or ""}]
        parts: list[Json] = content if isinstance(content, list) else whole
        texts = []
        for part in parts:
            match part:
                case {"type": "text", "text": str(words)}:
                    texts.append(words)
                case {"type": "image_url", "image_url": {"url": str(link)}}:
                    given.append(link)
                case _:
                    raise Refused(400, f"{at}.content has a part of an unknown kind", param=at)
        if message["role"] == "user":
            prompt = "\n".join(texts)
    return prompt, given


def _head(job: Job) -> Json:
    return {"id": job.id, "model": job.model, "created": CREATED}


def _finish(job: Job) -> str:
    return "content_filter" if job.outcome == "moderated" else "stop"


def _words(job: Job) -> str:
    if job.outcome == "moderated":
        return ""
    return _WORDS if job.good else f"You said: {job.orders.said}"


def _shape(relay: Relay, job: Job) -> str:
    return job.orders.word("shape", relay.shape)


def _entries(job: Job) -> list[Json]:
    return [{"type": "image_url", "image_url": {"url": each.data_uri()}} for each in job.good]


def _markdown(relay: Relay, job: Job, shape: str) -> str:
    """Shapes a, b and f: markdown in the text; b has it with URLs of the file host."""
    urls = relay.urls(job) if shape == "b" else [each.data_uri() for each in job.good]
    lead = "\n" if shape == "f" else ""
    return _words(job) + lead + "\n".join(f"![image]({url})" for url in urls)


def _message(relay: Relay, job: Job) -> Json:
    shape, orders = _shape(relay, job), job.orders
    if not job.good:
        return {"role": "assistant", "content": _words(job)}
    if shape == "c":
        return {"role": "assistant", "content": _words(job), "images": _entries(job)}
    if shape == "d":
        return {"role": "assistant", "content": [{"type": "text", "text": _words(job)}, *_entries(job)]}
    if shape == "e":
        first = job.good[0]
        return {"role": "assistant", "content": first.base64() if "bare" in orders else first.data_uri()}
    return {"role": "assistant", "content": _markdown(relay, job, shape)}


def _chunks(relay: Relay, job: Job) -> Iterator[Json]:
    def chunk(delta: Json | None, finish: str | None = None, **more: Any) -> Json:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
        return {**_head(job), "object": "chat.completion.chunk", "choices": choices, **more}

    yield chunk({"role": "assistant", "content": ""})
    shape = _shape(relay, job)
    if shape == "c" and job.good:
        yield chunk({"content": _words(job)})
        # CLIProxyAPI begins again at 0 in every chunk (vendors.md 3).
        for entry in _entries(job):
            yield chunk({"images": [{**entry, "index": 0}]})
    elif shape == "d" and job.good:
        yield chunk({"content": [{"type": "text", "text": _words(job)}]})
        for entry in _entries(job):
            yield chunk({"content": [entry]})
    else:
        text = _message(relay, job)["content"]
        step = -(-len(text) // max(1, job.orders.count("chunks", 5))) or 1
        for start in range(0, len(text), step):
            yield chunk({"content": text[start : start + step]})
    yield chunk({}, _finish(job))
    if "nousage" not in job.orders:
        yield chunk(None, usage=_usage(job))


def _usage(job: Job) -> Json:
    """As the document of xiaotian shows it: details without counts of cached or reasoning tokens."""
    asked = len(job.orders.said) // 4 + 1
    seen = _PICTURE_TOKENS * job.extra.get("references", 0)
    said, drawn = 7, _PICTURE_TOKENS * len(job.good)
    return {
        "prompt_tokens": asked + seen,
        "completion_tokens": said + drawn,
        "total_tokens": asked + seen + said + drawn,
        "prompt_tokens_details": {"text_tokens": asked, "image_tokens": seen},
        "completion_tokens_details": {"image_tokens": drawn},
    }
