"""Black Forest Labs: the answer names the URL to ask, and every state comes with HTTP 200 (vendors.md 7)."""

from __future__ import annotations

import re
from decimal import Decimal

from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields
from proxy.simulators.vendors.drawings import draw
from proxy.simulators.vendors.house import House, Json, Refused, Route, route

_REFERENCE = fields.picture("url", "data", "base64")
_FIELDS = {
    "prompt": fields.text(),
    "aspect_ratio": fields.text(),
    "width": fields.whole(64, 4096),
    "height": fields.whole(64, 4096),
    "seed": fields.whole(0, 2**32),
    "output_format": fields.one_of("jpeg", "png", "webp"),
    "prompt_upsampling": fields.flag,
    "safety_tolerance": fields.whole(0, 6),
    "webhook_url": fields.url,
    "webhook_secret": fields.text(),
    "input_image": _REFERENCE,
    **{f"input_image_{number}": _REFERENCE for number in range(2, 9)},
}


class Bfl(House):
    name = "bfl"
    unit = "credits"
    price = Decimal("4")
    advised_s = 0.5  # vendors.md 8.4
    key_header = "x-key"
    key_prefix = ""
    invalid_status = 422

    def routes(self) -> list[Route]:
        return [
            route("GET", "/v1/get_result", self._result),
            route("POST", "/v1/{model}", self._submit),
        ]

    def refusal(self, refused: Refused) -> Json:
        if refused.status == 422:
            return {
                "detail": [{"loc": ["body", refused.param], "msg": refused.message, "type": refused.code}]
            }
        return {"detail": refused.message}

    def _submit(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        if not found["model"].startswith("flux-"):
            raise Refused(404, "Not Found")
        body = self.body(exchange, _FIELDS, ("prompt",))
        orders = self.orders(body["prompt"])
        given = [value for name, value in body.items() if name.startswith("input_image")]
        job = self.submit(
            exchange,
            body["prompt"],
            orders,
            draw(orders.said, orders, _pixels(body), 1, body.get("output_format", "jpeg")),
            model=found["model"],
            references_given=given,
        )
        url = f"http://{job.host}/{self.name}/v1/get_result?id={job.id}"
        cost = {"cost": float(job.task.amount("reserve")), "input_mp": 0.0, "output_mp": 1.0}
        return self.accepted(job, {"id": job.id, "polling_url": url, **cost})

    def _result(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        asked = exchange.query.get("id", "")
        job = self.poll(exchange, asked)
        if job is None:
            return json_reply({"id": asked, "status": "Task not found", "result": None})
        shown: Json = {"id": job.id, "status": "Pending", "progress": None, "result": None}
        if job.done and (job.good or job.outcome == "empty"):
            sample = {"sample": self.urls(job)[0], "prompt": job.orders.said, "seed": 7} if job.good else None
            shown |= {"status": "Ready", "result": sample}
        elif job.done and job.outcome == "moderated":
            early = job.orders.word("moderate") == "input"
            shown["status"] = "Request Moderated" if early else "Content Moderated"
            shown["details"] = {"Moderation Reasons": ["Derivative Works Filter"]}
        elif job.done:
            shown |= {"status": "Error", "result": {"error": job.code or "The task failed."}}
        return json_reply(shown)


def make(log: Log) -> Handler:
    return Bfl(log).handle


def _pixels(body: Json) -> tuple[int, int]:
    """Width and height, or about a megapixel in the shape of `aspect_ratio`."""
    if "width" in body or "height" in body:
        return body.get("width", 1024), body.get("height", 1024)
    found = re.fullmatch(r"(\d{1,2}):(\d{1,2})", body.get("aspect_ratio", "1:1"))
    if found is None or not (across := int(found[1])) or not (down := int(found[2])):
        raise Refused(422, "aspect_ratio must be written W:H", "invalid", param="aspect_ratio")
    if not 3 * down <= 7 * across <= 49 * down / 3:
        raise Refused(422, "aspect_ratio must be 3:7 to 7:3", "invalid", param="aspect_ratio")
    width = round((1024 * 1024 * across / down) ** 0.5 / 16) * 16
    return width, round((1024 * 1024 * down / across) ** 0.5 / 16) * 16
