"""Stability AI: the order is a form, the reply is the picture itself, with what became of it in headers."""

from __future__ import annotations

import re
from decimal import Decimal

from proxy.simulators.exchange import Exchange, Log, Reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields, forms, references
from proxy.simulators.vendors.drawings import MIMES, draw, google_pixels
from proxy.simulators.vendors.house import House, Json, Refused, Route, route

_RATIOS = {"16:9", "1:1", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21"}
_TEXT_TO_IMAGE: dict[str, fields.Rule] = {
    "prompt": fields.text(10000),
    "negative_prompt": fields.text(10000),
    "aspect_ratio": fields.one_of(*sorted(_RATIOS)),
    "seed": fields.whole(0, 4294967294),
    "output_format": fields.one_of("png", "jpeg", "webp"),
}
_MORE: dict[str, dict[str, fields.Rule]] = {
    "core": {"style_preset": fields.text()},
    "ultra": {"strength": fields.anything},
    "sd3": {
        "strength": fields.anything,
        "mode": fields.one_of("text-to-image", "image-to-image"),
        "model": fields.one_of("sd3.5-large", "sd3.5-large-turbo", "sd3.5-medium", "sd3.5-flash"),
        "cfg_scale": fields.anything,
    },
}


class Stability(House):
    name = "stability"
    unit = "credits"
    price = Decimal("3")

    def routes(self) -> list[Route]:
        return [
            route("POST", f"/v2beta/stable-image/generate/{name}", self._generate) for name in sorted(_MORE)
        ]

    def refusal(self, refused: Refused) -> Json:
        names = {402: "payment_required", 429: "rate_limit_exceeded", 403: "content_moderation"}
        name = names.get(refused.status, refused.code)
        return {"id": "e-1", "name": name, "errors": [refused.message]}

    def _generate(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        service = exchange.path.rpartition("/")[2]
        if exchange.headers.get("accept") not in ("image/*", "application/json"):
            raise Refused(400, "accept: must be image/* or application/json", "bad_request")
        try:
            values, files = forms.read(exchange.raw, exchange.headers.get("content-type", ""))
            pictures = [self._picture(name, data, service) for name, data in files]
        except ValueError as error:
            raise Refused(400, str(error), "bad_request") from error
        rules = {**_TEXT_TO_IMAGE, **_MORE[service]}
        body = forms.typed(values, rules)
        self.check(body, rules, ("prompt", *(["strength"] if pictures else [])))
        if pictures and service == "sd3" and body.get("mode") != "image-to-image":
            raise Refused(400, "mode: must be image-to-image with an image", "bad_request")
        if "aspect_ratio" in body and service == "sd3" and pictures:
            raise Refused(400, "aspect_ratio: not with an image", "bad_request")
        exchange.body = body
        orders = self.orders(body["prompt"])
        if orders.word("moderate") == "input":
            raise Refused(403, "Your request was flagged by our content moderation system", "moderation")
        size = google_pixels(body.get("aspect_ratio", "1:1").replace("9:21", "9:16"), "1K")
        drawings = draw(orders.said, orders, size, 1, body.get("output_format", "png"))
        job = self.submit(exchange, body["prompt"], orders, drawings, model=service)
        exchange.notes["references"] = pictures
        self.finish(job)
        if job.outcome == "failed":
            raise Refused(500, "An internal error occurred", "internal_error")
        ending = "SUCCESS" if job.outcome == "ok" else "CONTENT_FILTERED"
        (drawing,) = drawings
        return Reply(
            [drawing.data()],
            200,
            {"finish-reason": ending, "seed": str(body.get("seed", 343940597))},
            MIMES[drawing.kind],
            pace=orders.pace,
        )

    def _picture(self, name: str, data: bytes, service: str) -> Json:
        if name != "image" or service == "core":
            raise ValueError(f"{name}: unknown file")
        return references.describe_bytes(data, references.COMMON, 10 << 20)


def make(log: Log) -> Handler:
    return Stability(log).handle
