"""midjourney-proxy: a submission answers with a code; the picture is a grid of two by two (vendors.md 7)."""

from __future__ import annotations

import re

from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields
from proxy.simulators.vendors.drawings import draw
from proxy.simulators.vendors.house import House, Job, Json, Refused, Route, route

_FIELDS = {
    "prompt": fields.text(),
    "base64Array": fields.list_of(fields.picture("data"), 5),
    "notifyHook": fields.url,
    "state": fields.text(least=0),
}
_GRID = (2048, 2048)
_WORDS = {
    1: "Submitted.",
    21: "The task exists.",
    22: "Queued; 3 tasks are before it.",
    23: "The queue is full.",
}


class Midjourney(House):
    name = "midjourney-proxy"
    advised_s = 3.0  # not documented; vendors.md 8.4
    key_header = "mj-api-secret"
    key_prefix = ""

    def routes(self) -> list[Route]:
        return [
            route("POST", "/mj/submit/imagine", self._imagine),
            route("GET", "/mj/task/{task}/fetch", self._fetch),
        ]

    def refusal(self, refused: Refused) -> Json:
        code = {"unknown": 4, "missing": 4, "invalid": 4, "banned": 24, "full": 23}.get(refused.code, 9)
        return {"code": code, "description": refused.message, "result": None, "properties": {}}

    def seen_status(self, refused: Refused) -> int:
        by_code = refused.code in ("unknown", "missing", "invalid", "banned", "full")
        return 200 if by_code else refused.status

    def new_id(self, number: int) -> str:
        return str(17322096000000 + number)

    def _imagine(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        body = self.body(exchange, _FIELDS, ("prompt",))
        orders = self.orders(body["prompt"])
        code = orders.count("code", 1)
        if code == 23:
            raise Refused(200, _WORDS[23], "full")
        if code == 24 or orders.word("moderate") == "input":
            raise Refused(200, "The prompt may contain banned words.", "banned")
        job = self.submit(
            exchange,
            body["prompt"],
            orders,
            draw(orders.said, orders, _GRID),
            references_given=body.get("base64Array", ()),
        )
        shown = {"code": code, "description": _WORDS.get(code, "?"), "result": job.id, "properties": {}}
        return self.accepted(job, shown)

    def _fetch(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        job = self.poll(exchange, found["task"])
        if job is None:
            return Reply([b"null"])
        return json_reply(self._shown(job))

    def _shown(self, job: Job) -> Json:
        shown: Json = {
            "id": job.id,
            "action": "IMAGINE",
            "prompt": job.orders.said,
            "status": "SUBMITTED" if job.queued else "IN_PROGRESS",
            "progress": f"{min(95, 40 * job.polls)}%",
            "imageUrl": None,
            "failReason": None,
        }
        if not job.done:
            return shown
        if job.good or job.outcome == "empty":
            url = next(iter(self.urls(job)), None)
            return shown | {"status": "SUCCESS", "progress": "100%", "imageUrl": url}
        reason = "The request was blocked by moderation." if job.outcome == "moderated" else job.code
        return shown | {"status": "FAILURE", "failReason": reason or "The task failed."}


def make(log: Log) -> Handler:
    return Midjourney(log).handle
