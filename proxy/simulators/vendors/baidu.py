"""Baidu's ERNIE-ViLG: a token is traded for the key and goes into the query; errors come with HTTP 200."""

from __future__ import annotations

import re
from decimal import Decimal

from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields, pairs
from proxy.simulators.vendors.drawings import draw
from proxy.simulators.vendors.house import House, Job, Json, Refused, Route, route

_SIZES = {
    (512, 512), (640, 360), (360, 640), (1024, 1024), (1280, 720), (720, 1280), (2048, 2048), (2560, 1440),
    (1440, 2560),
}  # fmt: skip
_FIELDS = {
    "prompt": fields.text(200),
    "version": fields.one_of("v1", "v2"),
    "width": fields.whole(1, 4096),
    "height": fields.whole(1, 4096),
    "image_num": fields.whole(1, 8),
    "image": fields.picture("base64", most_bytes=10 << 20),
    "url": fields.url,
    "change_degree": fields.whole(1, 10),
}
_CODES = {"unauthorized": 110, "insufficient_balance": 17, "rate_limited": 18, "blocked": 216303}
_TOKEN_PATH = "/oauth/2.0/token"


class Baidu(House):
    name = "baidu"
    unit = "CNY"
    price = Decimal("0.3")
    advised_s = 1.0

    def routes(self) -> list[Route]:
        return [
            route("POST", _TOKEN_PATH, self._token),
            route("POST", "/rpc/2.0/ernievilg/v1/txt2imgv2", self._create),
            route("POST", "/rpc/2.0/ernievilg/v1/getImgv2", self._query),
        ]

    def _check_key(self, exchange: Exchange) -> None:
        if exchange.path == _TOKEN_PATH:
            return
        identity = pairs.of_token(exchange.query.get("access_token", ""))
        exchange.headers["authorization"] = f"Bearer {identity}"
        super()._check_key(exchange)

    def refusal(self, refused: Refused) -> Json:
        by_status = {429: 18}.get(refused.status, 216100 if refused.status < 500 else 282000)
        code = _CODES.get(refused.code, by_status)
        return {"error_code": refused.status if refused.status == 404 else code, "error_msg": refused.message}

    def seen_status(self, refused: Refused) -> int:
        return refused.status if refused.status >= 500 or refused.status == 404 else 200

    def _token(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        query = exchange.query
        identity = query.get("client_id", "")
        good = query.get("client_secret", "").encode() == pairs.SECRET and not identity.startswith("bad")
        if query.get("grant_type") != "client_credentials" or not good or not identity:
            said = {"error": "invalid_client", "error_description": "unknown client id"}
            return json_reply(said, 401)
        self.log.counts["baidu.tokens"] += 1
        return json_reply({"access_token": pairs.token(identity), "expires_in": 2592000, "scope": "public"})

    def _create(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        body = self.body(exchange, _FIELDS, ("prompt", "width", "height"))
        size = (body["width"], body["height"])
        if size not in _SIZES:
            raise Refused(400, "width and height are not one of the sizes", "invalid")
        if ("image" in body or "url" in body) != ("change_degree" in body):
            raise Refused(400, "change_degree goes with a picture", "invalid")
        orders = self.orders(body["prompt"])
        if orders.word("moderate") == "input":
            raise Refused(400, "The prompt has sensitive words", "blocked")
        given = [body[name] for name in ("image", "url") if name in body]
        drawings = draw(orders.said, orders, size, body.get("image_num", 1))
        job = self.submit(exchange, body["prompt"], orders, drawings, references_given=given)
        return self.accepted(job, {"data": {"task_id": job.id, "primary_task_id": 1}, "log_id": 1})

    def new_id(self, number: int) -> str:
        return str(1659384536691865192 + number)

    def _query(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        body = self.body(exchange, {"task_id": fields.text()}, ("task_id",))
        job = self.poll(exchange, body["task_id"])
        if job is None:
            raise Refused(400, "The task does not exist", "invalid")
        return json_reply({"data": {"task_id": job.id, **self._shown(job)}, "log_id": 2})

    def _shown(self, job: Job) -> Json:
        if not job.done:
            return {"task_status": "INIT" if job.queued else "RUNNING", "task_progress": 0}
        if job.outcome in ("ok", "partial", "empty"):
            pictures = [[{"img_url": url, "img_approve_conclusion": "pass"}] for url in self.urls(job)]
            results = [
                {"sub_task_status": "SUCCESS", "sub_task_error_code": 0, "final_image_list": one}
                for one in pictures
            ]
            return {"task_status": "SUCCESS", "task_progress": 1, "sub_task_result_list": results}
        code = 2 if job.outcome == "moderated" else 1
        results = [{"sub_task_status": "FAILED", "sub_task_error_code": code, "final_image_list": []}]
        return {"task_status": "FAILED", "task_progress": 1, "sub_task_result_list": results}


def make(log: Log) -> Handler:
    return Baidu(log).handle
