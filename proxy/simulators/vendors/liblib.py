"""LiblibAI: each call is signed in its query, tasks are asked for by POST, states are numbers."""

from __future__ import annotations

import re
import time
from decimal import Decimal

from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields, pairs
from proxy.simulators.vendors.drawings import draw
from proxy.simulators.vendors.house import House, Job, Json, Refused, Route, route

_OUTER = {"templateUuid": fields.text(32, 32), "generateParams": fields.record}
_SIDES = {"width": fields.whole(512, 2048), "height": fields.whole(512, 2048)}
_PARAMS = {
    "prompt": fields.text(2000),
    "imageSize": fields.record,
    "aspectRatio": fields.one_of("square", "portrait", "landscape"),
    "imgCount": fields.whole(1, 4),
    "steps": fields.whole(1, 60),
}
_FROM_PICTURE = {**_PARAMS, "sourceImage": fields.url}
_LONGEST_AGE_S = 300


class Liblib(House):
    name = "liblib"
    unit = "points"
    price = Decimal("10")

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._nonces: set[str] = set()

    def routes(self) -> list[Route]:
        return [
            route("POST", "/api/generate/webui/text2img/ultra", self._from_text),
            route("POST", "/api/generate/webui/img2img/ultra", self._from_picture),
            route("POST", "/api/generate/webui/status", self._status),
        ]

    def _check_key(self, exchange: Exchange) -> None:
        query = exchange.query
        stamp, nonce = query.get("Timestamp", ""), query.get("SignatureNonce", "")
        signed = pairs.signature(f"/{self.name}{exchange.path}&{stamp}&{nonce}")
        if query.get("Signature") != signed:
            raise Refused(401, "The signature is wrong", "unauthorized")
        if not stamp.isdigit() or abs(time.time() * 1000 - int(stamp)) > _LONGEST_AGE_S * 1000:
            raise Refused(401, "The timestamp is too old", "unauthorized")
        if not nonce or nonce in self._nonces:
            raise Refused(401, "The nonce was used before", "unauthorized")
        self._nonces.add(nonce)
        exchange.headers["authorization"] = f"Bearer {query.get('AccessKey', '')}"
        super()._check_key(exchange)

    def refusal(self, refused: Refused) -> Json:
        return {"code": refused.status * 100, "data": None, "msg": refused.message}

    def _from_text(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        return self._create(exchange, _PARAMS, ("prompt",))

    def _from_picture(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        return self._create(exchange, _FROM_PICTURE, ("prompt", "sourceImage"))

    def _create(self, exchange: Exchange, rules: dict[str, fields.Rule], required: tuple[str, ...]) -> Reply:
        body = self.body(exchange, _OUTER, ("templateUuid", "generateParams"))
        given = body["generateParams"]
        self.check(given, rules, required, "generateParams")
        if "imageSize" in given:
            self.check(given["imageSize"], _SIDES, tuple(_SIDES), "generateParams.imageSize")
        size = given.get("imageSize", {"width": 768, "height": 1024})
        orders = self.orders(given["prompt"])
        drawings = draw(orders.said, orders, (size["width"], size["height"]), given.get("imgCount", 1))
        job = self.submit(
            exchange,
            given["prompt"],
            orders,
            drawings,
            model=body["templateUuid"],
            references_given=[given["sourceImage"]] if "sourceImage" in given else (),
        )
        return self.accepted(job, {"code": 0, "data": {"generateUuid": job.id}, "msg": ""})

    def new_id(self, number: int) -> str:
        return super().new_id(number).replace("-", "")

    def _status(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        body = self.body(exchange, {"generateUuid": fields.text()}, ("generateUuid",))
        job = self.poll(exchange, body["generateUuid"])
        if job is None:
            raise Refused(400, "The task does not exist", "invalid")
        return json_reply({"code": 0, "data": self._shown(job), "msg": ""})

    def _shown(self, job: Job) -> Json:
        data: Json = {"generateUuid": job.id, "percentCompleted": min(0.95, 0.4 * job.polls), "images": []}
        if not job.done:
            return data | {"generateStatus": 1 if job.queued else 2}
        if job.outcome in ("ok", "partial", "empty"):
            urls = self.urls(job)
            images = [{"imageUrl": url, "seed": 7, "auditStatus": 3} for url in urls]
            return data | {"generateStatus": 5, "images": images, "pointsCost": int(job.price)}
        reason = "The content was refused (moderation)" if job.outcome == "moderated" else "It failed"
        return data | {"generateStatus": 6, "generateMsg": reason}


def make(log: Log) -> Handler:
    return Liblib(log).handle
