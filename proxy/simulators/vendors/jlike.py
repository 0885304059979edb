"""jlike: three products behind one key, as the document of its open API describes them (vendors.md 1).

The document shows no successful reply of the picture products; `sim:shape:a..h` chooses among the shapes that
vendors.md 1.2 lists, `sim:form:...` how a picture is written in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson

from proxy.simulators import gemini
from proxy.simulators.directives import Directives
from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields
from proxy.simulators.vendors.drawings import Drawing, draw, google_pixels
from proxy.simulators.vendors.google import said_in
from proxy.simulators.vendors.house import House, Job, Json, Refused, Route, route, spoken

_BASE = "/api/v1/openapi"
_RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4")
# Ours to Google's simulator, whose names have lost their `-preview` since the document was written.
_TEXT_MODELS = {
    "gemini-3.1-pro-preview": "gemini-3.1-pro-preview",
    "gemini-3-flash-preview": "gemini-3-flash-preview",
    "gemini-3.1-flash-lite-preview": "gemini-3.1-flash-lite",
}
_PICTURE_MODELS = {
    "nano-banana": "gemini-2.5-flash-image",
    "nano-banana-2": "gemini-3.1-flash-image",
    "nano-banana-pro": "gemini-3-pro-image",
}
_TEXT = {
    "model": fields.one_of(*_TEXT_MODELS),
    "contents": fields.anything,
    "generationConfig": fields.record,
    "tools": fields.anything,
    "systemInstruction": fields.anything,
}
_PICTURE = {
    "model": fields.one_of(*_PICTURE_MODELS),
    "prompt": fields.text(),
    "size": fields.one_of("512", "1K", "2K", "4K"),
    "aspect_ratio": fields.one_of(*_RATIOS),
    "n": fields.whole(1, 4),
}
_WAN = {
    "model": fields.one_of("wan2.7-t2i-plus", "wan2.7-t2i-turbo", "wan2.7-image", "wan2.7-image-pro"),
    "prompt": fields.text(),
    "size": fields.one_of("1K", "2K", "4K"),
    "aspect_ratio": fields.one_of(*_RATIOS),
    "n": fields.whole(1, 4),
}
# Square pixels of each tier; Wan draws the largest multiples of 16 inside that area (vendors.md 6.1).
_WAN_SIDE = {"1K": 1024, "2K": 2048, "4K": 4096}
_CODES = {
    400: "INVALID_PARAMS",
    401: "INVALID_API_KEY",
    402: "INSUFFICIENT_CREDITS",
    404: "TASK_NOT_FOUND",
    429: "RATE_LIMITED",
    502: "UPSTREAM_ERROR",
    503: "SERVICE_UNAVAILABLE",
    504: "UPSTREAM_TIMEOUT",
}
_PER_TOKEN = Decimal("0.00002")


def wan_pixels(ratio: str, tier: str) -> tuple[int, int]:
    """The largest multiples of 16 in the shape of `ratio` within the area of `tier`."""
    across, down = map(int, ratio.split(":"))
    side = _WAN_SIDE[tier]
    width = int((side * side * across / down) ** 0.5) // 16 * 16
    return width, int((side * side * down / across) ** 0.5) // 16 * 16


class Jlike(House):
    name = "jlike"
    unit = "CNY"
    price = Decimal("0.2")
    advised_s = 3.0  # "poll every 3 to 5 seconds"

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self.google = gemini.make(Log())

    def routes(self) -> list[Route]:
        return [
            route("POST", _BASE + "/gemini3/generate", self._text),
            route("POST", _BASE + "/nanobanana/generate", self._picture),
            route("POST", _BASE + "/wan27/generate", self._submit),
            route("GET", _BASE + "/wan27/task/{task}", self._task),
        ]

    def refusal(self, refused: Refused) -> Json:
        code = _CODES.get(refused.status, "ERROR")
        if refused.code.isupper():
            code = refused.code
        return {"success": False, "error": refused.message, "error_code": code}

    def _text(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        body = self.body(exchange, _TEXT, ("model", "contents"))
        prompt = said_in(body["contents"])
        orders = self.orders(prompt)
        job = self.submit(exchange, prompt, orders, [], model=body["model"], price=Decimal("0.05"))
        name = _TEXT_MODELS[body.pop("model")]
        inner = Exchange(
            "google",
            "POST",
            f"/v1beta/models/{name}:generateContent",
            {},
            {"x-goog-api-key": "sim"},
            # The failures were ordered of jlike and have happened.
            orjson.dumps(body).replace(b"sim:fail-", b"sim:failed-"),
        )
        answer = self.google(inner)
        assert isinstance(answer, Reply)
        reply = orjson.loads(answer.frames[0]) if answer.status == 200 else {}
        if answer.status != 200 or "moderate" in orders or "fail" in orders:
            self.log.ledger.settle(job.task, Decimal(0))
            self.log.counts["jlike.refunded"] += 1
            if answer.status in (400, 429):
                message = orjson.loads(answer.frames[0])["error"]["message"]
                raise Refused(answer.status, f"Gemini: {message}")
            self._raise_outcome(job)
            raise Refused(502, f"The upstream answered {answer.status}.")
        counts = reply.get("usageMetadata", {})
        names = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
        cost = _PER_TOKEN * sum(counts.get(each, 0) for each in names)
        self.log.ledger.settle(job.task, min(cost, job.price))
        self.log.counts["jlike.settled"] += 1
        return spoken(_wrapped(reply | _billing(job), orders), orders)

    def _picture(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        body = self.body(exchange, _PICTURE, ("model", "prompt"))
        orders = self.orders(body["prompt"])
        model = _PICTURE_MODELS[body["model"]]
        size = google_pixels(body.get("aspect_ratio", "1:1"), body.get("size", "1K"), model)
        drawings = draw(orders.said, orders, size, body.get("n", 1))
        job = self.submit(exchange, body["prompt"], orders, drawings, model=body["model"])
        self.finish(job)
        self._raise_outcome(job)
        return spoken(_shaped(self, job) | _billing(job), orders)

    def _raise_outcome(self, job: Job) -> None:
        if job.outcome == "moderated":
            raise Refused(400, "The content was refused by the safety policy.", "CONTENT_POLICY_VIOLATION")
        if job.outcome == "failed":
            raise Refused(502, "The upstream failed.", job.code.upper() or "UPSTREAM_ERROR")

    def _submit(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        body = self.body(exchange, _WAN, ("model", "prompt"))
        orders = self.orders(body["prompt"])
        size = wan_pixels(body.get("aspect_ratio", "1:1"), body.get("size", "2K"))
        drawings = draw(orders.said, orders, size, body.get("n", 1))
        job = self.submit(exchange, body["prompt"], orders, drawings, model=body["model"])
        return self.accepted(job, _wrapped({"task_uuid": job.id, "status": _word("PENDING", orders)}, orders))

    def _task(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        job = self.poll(exchange, found["task"])
        if job is None:
            raise Refused(404, "The task does not exist.")
        orders = job.orders
        state: Json = {"task_uuid": job.id}
        if not job.done:
            state["status"] = _word("PENDING" if job.queued else "RUNNING", orders)
        elif job.good or job.outcome == "empty":
            images = [{"url": url} for url in self.urls(job)]
            state |= {"status": _word("SUCCEEDED", orders), "images": images, **_billing(job)}
        else:
            code = "CONTENT_POLICY_VIOLATION" if job.outcome == "moderated" else job.code or "UPSTREAM_ERROR"
            state |= {"status": _word("FAILED", orders), "error": "The task failed.", "error_code": code}
            state |= _billing(job)
        return json_reply(_wrapped(state, orders))


def make(log: Log) -> Handler:
    return Jlike(log).handle


def _billing(job: Job) -> Json:
    how = job.orders.word("billing")
    if how == "none":
        return {}
    cost, actual = job.task.amount("reserve"), job.task.amount("settle")
    written = str if how == "string" else float
    bill = {"cost": written(cost), "actual_cost": written(actual), "currency": "CNY"}
    return {"_billing": bill | ({"refunded": True} if not actual else {})}


def _word(state: str, orders: Directives) -> str:
    return state.lower() if "lower" in orders else state


def _wrapped(value: Json, orders: Directives) -> Json:
    where = orders.word("wrap")
    return {"success": True, where: value} if where else {"success": True, **value}


def _written(house: House, job: Job, drawing: Drawing) -> Any:
    forms: dict[str, Callable[[], Any]] = {
        "url": lambda: drawing.url(job.host, house.name, job.orders),
        "data": drawing.data_uri,
        "object": lambda: {"b64_json": drawing.base64()},
        "urlobject": lambda: {"url": drawing.url(job.host, house.name, job.orders)},
    }
    return forms.get(job.orders.word("form"), drawing.base64)()


def _shaped(house: House, job: Job) -> Json:
    """The eight shapes of vendors.md 1.2, in its order."""
    pictures = [_written(house, job, drawing) for drawing in job.good]
    shape = job.orders.word("shape", "a")
    if shape == "h":
        blobs = [{"inlineData": {"mimeType": each.mime, "data": each.base64()}} for each in job.good]
        return {"candidates": [{"content": {"role": "model", "parts": blobs}, "finishReason": "STOP"}]}
    first = pictures[0] if pictures else None
    shapes: dict[str, Json] = {
        "a": {"images": pictures},
        "b": {"data": {"images": pictures}},
        "c": {"data": pictures},
        "d": {"output": {"images": pictures}},
        "e": {"results": pictures},
        "f": {"image": first},
        "g": {"url": first},
    }
    return {"success": True, **shapes.get(shape, shapes["a"])}
