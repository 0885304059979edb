"""MiniMax: the pictures come with the answer; HTTP says 200, and `base_resp` what became of the order."""

from __future__ import annotations

import re

from proxy.simulators.exchange import Exchange, Log, Reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields
from proxy.simulators.vendors.drawings import draw
from proxy.simulators.vendors.house import House, Job, Json, Refused, Route, route, spoken

_PIXELS = {
    "1:1": (1024, 1024),
    "16:9": (1280, 720),
    "4:3": (1152, 864),
    "3:2": (1248, 832),
    "2:3": (832, 1248),
    "3:4": (864, 1152),
    "9:16": (720, 1280),
    "21:9": (1344, 576),
}
_REFERENCE: dict[str, fields.Rule] = {
    "type": fields.one_of("character"),
    "image_file": fields.picture("url", "data", mimes=("image/png", "image/jpeg"), most_bytes=10 << 20),
}
_FIELDS: dict[str, fields.Rule] = {
    "model": fields.one_of("image-01", "image-01-live"),
    "prompt": fields.text(1500),
    "aspect_ratio": fields.one_of(*_PIXELS),
    "width": fields.whole(512, 2048),
    "height": fields.whole(512, 2048),
    "response_format": fields.one_of("url", "base64"),
    "seed": fields.whole(-(2**63), 2**63 - 1),
    "n": fields.whole(1, 9),
    "prompt_optimizer": fields.flag,
    "aigc_watermark": fields.flag,
    "style": fields.record,
    "subject_reference": fields.list_of(fields.record, 1, 1),
}
_SIDES = ("width", "height")
# HTTP's words for a refusal, and the vendor's.
_CODES = {400: 2013, 401: 2049, 402: 1008, 429: 1002}
_UNKNOWN, _PROMPT_SENSITIVE = 1000, 1026


class MiniMax(House):
    name = "minimax"

    def routes(self) -> list[Route]:
        return [route("POST", "/v1/image_generation", self._generate)]

    def refusal(self, refused: Refused) -> Json:
        code = _PROMPT_SENSITIVE if refused.code == "sensitive" else _CODES.get(refused.status, _UNKNOWN)
        return {"id": "r-1", "base_resp": {"status_code": code, "status_msg": refused.message}}

    def seen_status(self, refused: Refused) -> int:
        return refused.status if refused.status >= 502 or refused.status == 404 else 200

    def _generate(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        body = self.body(exchange, _FIELDS, ("model", "prompt"))
        for number, subject in enumerate(body.get("subject_reference", ())):
            self.check(subject, _REFERENCE, ("type", "image_file"), f"subject_reference[{number}]")
        _check_size(body)
        orders = self.orders(body["prompt"])
        job = self.submit(
            exchange,
            body["prompt"],
            orders,
            draw(orders.said, orders, _pixels(body), body.get("n", 1)),
            model=body["model"],
            references_given=[subject["image_file"] for subject in body.get("subject_reference", ())],
        )
        self.finish(job)
        if job.outcome == "moderated":
            raise Refused(400, "input new_sensitive", "sensitive")
        if job.outcome == "failed":
            raise Refused(500, "unknown error")
        return spoken(self._made(job, body.get("response_format", "url")), orders)

    def _made(self, job: Job, form: str) -> Json:
        if form == "url":
            data: Json = {"image_urls": self.urls(job)}
        else:
            data = {"image_base64": [drawing.base64() for drawing in job.good]}
        counts = {
            "success_count": str(len(job.good)),
            "failed_count": str(len(job.drawings) - len(job.good)),
        }
        said = {"status_code": 0, "status_msg": "success"}
        return {"id": job.id, "data": data, "metadata": counts, "base_resp": said}


def _check_size(body: Json) -> None:
    """Width and height come together, in steps of 8, and for image-01 alone; so does 21:9."""
    live = body["model"] == "image-01-live"
    given = [name for name in _SIDES if name in body]
    if live and (given or body.get("aspect_ratio") == "21:9"):
        raise Refused(400, f"invalid params, {(given or ['aspect_ratio'])[0]}: not for image-01-live")
    if len(given) == 1 or any(body[name] % 8 for name in given):
        raise Refused(400, "invalid params, width and height: both, and multiples of 8")


def _pixels(body: Json) -> tuple[int, int]:
    if "aspect_ratio" not in body and "width" in body:
        return body["width"], body["height"]
    return _PIXELS[body.get("aspect_ratio", "1:1")]


def make(log: Log) -> Handler:
    return MiniMax(log).handle
