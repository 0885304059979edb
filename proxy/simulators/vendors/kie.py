"""kie.ai: HTTP 200 for everything, with the status as `code` in the body (vendors.md 7)."""

from __future__ import annotations

import re
from decimal import Decimal

import orjson

from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields
from proxy.simulators.vendors.drawings import draw, google_pixels
from proxy.simulators.vendors.house import House, Json, Refused, Route, route

_OUTER = {"model": fields.text(), "input": fields.record, "callBackUrl": fields.url}
_RATIOS = ("auto", "1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_INPUT = {
    "prompt": fields.text(20000),
    "image_urls": fields.list_of(fields.url, 10),
    "image_input": fields.list_of(fields.url, 10),
    "aspect_ratio": fields.one_of(*_RATIOS),
    "image_size": fields.one_of(*_RATIOS),
    "resolution": fields.one_of("1K", "2K", "4K"),
    "output_format": fields.one_of("png", "jpg", "jpeg"),
}


class Kie(House):
    name = "kie"
    unit = "credits"
    price = Decimal("18")
    advised_s = 3.0  # not documented; vendors.md 8.4
    invalid_status = 422

    def routes(self) -> list[Route]:
        return [
            route("POST", "/api/v1/jobs/createTask", self._create),
            route("GET", "/api/v1/jobs/recordInfo", self._info),
        ]

    def refusal(self, refused: Refused) -> Json:
        return {"code": refused.status, "msg": refused.message, "data": None}

    def seen_status(self, refused: Refused) -> int:
        return refused.status if refused.code == "simulated" and refused.status >= 502 else 200

    def _create(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        body = self.body(exchange, _OUTER, ("model", "input"))
        given = body["input"]
        self.check(given, _INPUT, ("prompt",), "input")
        orders = self.orders(given["prompt"])
        ratio = given.get("aspect_ratio") or given.get("image_size") or "auto"
        size = google_pixels(ratio, given.get("resolution", "1K"))
        job = self.submit(
            exchange,
            given["prompt"],
            orders,
            draw(orders.said, orders, size, 1, given.get("output_format", "png")),
            model=body["model"],
            references_given=given.get("image_urls") or given.get("image_input") or (),
        )
        return self.accepted(job, {"code": 200, "msg": "success", "data": {"taskId": job.id}})

    def _info(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        job = self.poll(exchange, exchange.query.get("taskId", ""))
        if job is None:
            raise Refused(422, "recordInfo is null")
        data: Json = {
            "taskId": job.id,
            "model": job.model,
            "resultJson": "",
            "failCode": None,
            "failMsg": None,
        }
        if not job.done:
            data["state"] = "queuing" if job.queued else "generating"
        elif job.good or job.outcome == "empty":
            data |= {"state": "success", "resultJson": orjson.dumps({"resultUrls": self.urls(job)}).decode()}
        else:
            moderated = job.outcome == "moderated"
            message = "The content violates the policy (nsfw)." if moderated else "The task failed."
            data |= {"state": "fail", "failCode": job.code or "500", "failMsg": message}
        return json_reply({"code": 200, "msg": "success", "data": data})


def make(log: Log) -> Handler:
    return Kie(log).handle
