"""Kling: a pair of keys signs a token of at most 30 minutes; tasks with a code beside the HTTP status."""

from __future__ import annotations

import re
import time
from decimal import Decimal

from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields, pairs
from proxy.simulators.vendors.drawings import draw, google_pixels
from proxy.simulators.vendors.house import House, Job, Json, Refused, Route, route

_MODELS = ("kling-v1", "kling-v1-5", "kling-v2", "kling-v2-new", "kling-v2-1")
_FIELDS = {
    "model_name": fields.one_of(*_MODELS),
    "prompt": fields.text(2500),
    "negative_prompt": fields.text(2500),
    "image": fields.picture("url", "base64", mimes=("image/png", "image/jpeg"), most_bytes=10 << 20),
    "image_reference": fields.one_of("subject", "face"),
    "image_fidelity": fields.number(0, 1),
    "human_fidelity": fields.number(0, 1),
    "resolution": fields.one_of("1k", "2k"),
    "n": fields.whole(1, 9),
    "aspect_ratio": fields.one_of("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9"),
    "watermark_info": fields.record,
    "callback_url": fields.url,
    "external_task_id": fields.text(),
}
_CODES = {
    "unauthorized": 1002,
    "insufficient_balance": 1102,
    "rate_limited": 1302,
    "not_found": 1203,
    "blocked": 1301,
}
_STATUS_CODES = {400: 1201, 401: 1002, 404: 1203, 429: 1302, 500: 5000, 503: 5001, 504: 5002}


class Kling(House):
    name = "kling"
    unit = "units"
    price = Decimal("8")
    spent_status = 429

    def routes(self) -> list[Route]:
        return [
            route("POST", "/v1/images/generations", self._create),
            route("GET", "/v1/images/generations/{task}", self._query),
        ]

    def _check_key(self, exchange: Exchange) -> None:
        given = exchange.headers.get("authorization", "")
        try:
            issuer = pairs.of_jwt(given.removeprefix("Bearer "), time.time())
        except ValueError as error:
            raise Refused(401, f"Authorization is invalid: {error}", "unauthorized") from error
        exchange.headers["authorization"] = f"Bearer {issuer}"
        super()._check_key(exchange)

    def refusal(self, refused: Refused) -> Json:
        code = _CODES.get(refused.code) or _STATUS_CODES.get(refused.status, 5000)
        return {"code": code, "message": refused.message, "request_id": "r-1"}

    def _create(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        body = self.body(exchange, _FIELDS, ("prompt",))
        if "image" in body and "negative_prompt" in body:
            raise Refused(400, "negative_prompt is not supported with image", "invalid")
        own_id = body.get("external_task_id")
        if own_id in self.jobs:
            raise Refused(400, "external_task_id was used before", "invalid")
        orders = self.orders(body["prompt"])
        if orders.word("moderate") == "input":
            raise Refused(400, "The content was refused by the risk control system", "blocked")
        size = google_pixels(body.get("aspect_ratio", "16:9"), body.get("resolution", "1k").upper())
        job = self.submit(
            exchange,
            body["prompt"],
            orders,
            draw(orders.said, orders, size, body.get("n", 1)),
            model=body.get("model_name", "kling-v1"),
            references_given=[body["image"]] if "image" in body else (),
        )
        if own_id is not None:
            job.extra["info"] = {"external_task_id": own_id}
            self.jobs[own_id] = job
        return self.accepted(job, self._whole(self._shown(job)))

    def _query(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        job = self.poll(exchange, found["task"])
        if job is None:
            raise Refused(404, "The task does not exist", "not_found")
        return json_reply(self._whole(self._shown(job)))

    def _whole(self, data: Json) -> Json:
        return {"code": 0, "message": "SUCCEED", "request_id": "r-1", "data": data}

    def _shown(self, job: Job) -> Json:
        data: Json = {"task_id": job.id, "task_info": job.extra.get("info", {}), "created_at": 1722769557708}
        if not job.done:
            return data | {"task_status": "submitted" if job.queued else "processing"}
        if job.good or job.outcome == "empty":
            images = [{"index": index, "url": url} for index, url in enumerate(self.urls(job))]
            charge = str(job.price)
            return data | {
                "task_status": "succeed",
                "task_result": {"images": images},
                "final_unit_deduction": charge,
            }
        moderated = job.outcome == "moderated"
        reason = "Failure to pass the risk control system" if moderated else "The service is busy"
        return data | {"task_status": "failed", "task_status_msg": reason}


def make(log: Log) -> Handler:
    return Kling(log).handle
