"""Volcengine Seedream: OpenAI-like, at once or as events, with errors per picture (vendors.md 7)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from proxy.simulators.exchange import Exchange, Log, Reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields
from proxy.simulators.vendors.drawings import Drawing, draw
from proxy.simulators.vendors.house import CREATED, House, Job, Json, Refused, Route, events, route, spoken

_REFERENCE = fields.picture("url", "data", most_bytes=10 << 20)
_FIELDS = {
    "model": fields.text(),
    "prompt": fields.text(),
    "image": fields.either(_REFERENCE, fields.list_of(_REFERENCE, 14, 1)),
    "size": fields.text(),
    "seed": fields.whole(-1, 2147483647),
    "guidance_scale": fields.number(1, 10),
    "response_format": fields.one_of("url", "b64_json"),
    "output_format": fields.one_of("png", "jpeg"),
    "watermark": fields.flag,
    "stream": fields.flag,
    "sequential_image_generation": fields.one_of("auto", "disabled"),
    "sequential_image_generation_options": fields.record,
    "optimize_prompt_options": fields.record,
}
_SIDES = {"1K": 1024, "2K": 2048, "3K": 3072, "4K": 4096}
_LEAST, _MOST = 921_600, 4096 * 4096
_CODES = {
    400: "InvalidParameter",
    401: "AuthenticationError",
    403: "AccountOverdueError",
    404: "InvalidEndpointOrModel.NotFound",
    429: "RateLimitExceeded.EndpointRPMExceeded",
    500: "InternalServiceError",
    503: "ServerOverloaded",
}
_TOKENS_PER_PIXEL = 256


class Seedream(House):
    name = "seedream"
    unit = "CNY"
    price = Decimal("0.2")
    spent_status = 403

    def routes(self) -> list[Route]:
        return [route("POST", "/api/v3/images/generations", self._generate)]

    def refusal(self, refused: Refused) -> Json:
        code = (
            refused.code if refused.code[:1].isupper() else _CODES.get(refused.status, "InternalServiceError")
        )
        message = f"{refused.message} Request id: 0217"
        return {"error": {"code": code, "message": message, "param": refused.param, "type": "BadRequest"}}

    def _generate(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        body = self.body(exchange, _FIELDS, ("model", "prompt"))
        orders = self.orders(body["prompt"])
        several = body.get("sequential_image_generation") == "auto"
        options = body.get("sequential_image_generation_options", {})
        self.check(
            options,
            {"max_images": fields.whole(1, 15)},
            at="sequential_image_generation_options",
        )
        given = body.get("image", [])
        given = given if isinstance(given, list) else [given]
        count = options.get("max_images", 15) if several else 1
        if several and len(given) + count > 15:
            raise Refused(400, "references and pictures together must not exceed 15", param="image")
        size = _pixels(body.get("size", "2K"))
        drawings = draw(orders.said, orders, size, count, body.get("output_format", "jpeg"))
        job = self.submit(
            exchange, body["prompt"], orders, drawings, model=body["model"], references_given=given
        )
        self.finish(job)
        if job.outcome == "moderated":
            early = orders.word("moderate") == "input"
            code = f"{'InputText' if early else 'OutputImage'}SensitiveContentDetected"
            raise Refused(400, "The content may be sensitive.", code)
        if job.outcome == "failed":
            raise Refused(500, "The service failed.", job.code)
        written = body.get("response_format", "url")
        if body.get("stream"):
            return events(self._events(job, written), orders, done=True)
        data = [self._item(job, drawing, written) for drawing in job.drawings]
        head = {"model": body["model"], "created": CREATED}
        shown = [] if job.outcome == "empty" else data
        return spoken({**head, "data": shown, "usage": _usage(job)}, orders)

    def _item(self, job: Job, drawing: Drawing, written: str) -> Json:
        if drawing not in job.good:
            error = {
                "code": "OutputImageSensitiveContentDetected",
                "message": "The picture may be sensitive.",
            }
            return {"error": error}
        size = f"{drawing.width}x{drawing.height}"
        if written == "b64_json":
            return {"b64_json": drawing.base64(), "size": size}
        return {"url": drawing.url(job.host, self.name, job.orders), "size": size}

    def _events(self, job: Job, written: str) -> Iterator[tuple[str, Json]]:
        head = {"model": job.model, "created": CREATED}
        for index, drawing in enumerate(job.drawings):
            item = self._item(job, drawing, written)
            kind = "image_generation.partial_" + ("failed" if "error" in item else "succeeded")
            yield kind, {"type": kind, **head, "image_index": index, **item}
        if "nofinish" not in job.orders:
            kind = "image_generation.completed"
            yield kind, {"type": kind, **head, "usage": _usage(job)}


def make(log: Log) -> Handler:
    return Seedream(log).handle


def _pixels(size: str) -> tuple[int, int]:
    if size in _SIDES:
        return _SIDES[size], _SIDES[size]
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)
    if found is None:
        raise Refused(400, f"size {size} is not valid", param="size")
    width, height = int(found[1]), int(found[2])
    if not _LEAST <= width * height <= _MOST or max(width, height) > 16 * min(width, height):
        raise Refused(400, f"size {size} is out of range", param="size")
    return width, height


def _usage(job: Job) -> Json:
    tokens = sum(each.width * each.height // _TOKENS_PER_PIXEL for each in job.good)
    return {"generated_images": len(job.good), "output_tokens": tokens, "total_tokens": tokens}
