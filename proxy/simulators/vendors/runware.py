"""Runware: every request is a list of tasks with ids made by the client; another task asks for results."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import orjson

from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields
from proxy.simulators.vendors.drawings import draw
from proxy.simulators.vendors.house import House, Job, Json, Refused, Route, route

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def _uuid(value: Any) -> str:
    return "" if isinstance(value, str) and _UUID.fullmatch(value) else "must be a UUID v4"


def _side(value: Any) -> str:
    good = type(value) is int and 128 <= value <= 2048 and value % 64 == 0
    return "" if good else "must be a multiple of 64 from 128 to 2048"


_HEAD = {"taskType": fields.one_of("imageInference", "getResponse"), "taskUUID": _uuid}
_INFERENCE = {
    **_HEAD,
    "model": fields.text(),
    "positivePrompt": fields.text(3000, 2),
    "negativePrompt": fields.text(3000, 2),
    "width": _side,
    "height": _side,
    "numberResults": fields.whole(1, 20),
    "seed": fields.whole(1, 2**63),
    "steps": fields.whole(1, 100),
    "referenceImages": fields.list_of(fields.picture("url", "data", "base64"), 10),
    "outputType": fields.one_of("URL", "base64Data", "dataURI"),
    "outputFormat": fields.one_of("PNG", "JPG", "WEBP"),
    "deliveryMethod": fields.one_of("sync", "async"),
    "includeCost": fields.flag,
}
_NEEDED = ("taskType", "taskUUID", "model", "positivePrompt", "width", "height")


class Runware(House):
    name = "runware"
    price = Decimal("0.0038")
    advised_s = 1.0

    def routes(self) -> list[Route]:
        return [route("POST", "/v1", self._tasks)]

    def refusal(self, refused: Refused) -> Json:
        code = {"unauthorized": "invalidApiKey", "insufficient_balance": "insufficientCredits"}
        return {"errors": [{"code": code.get(refused.code, refused.code), "message": refused.message}]}

    def _tasks(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        try:
            tasks = exchange.json()
        except orjson.JSONDecodeError as error:
            raise Refused(400, "The body is not valid JSON.", "invalidJSON") from error
        if not isinstance(tasks, list) or len(tasks) != 1 or not isinstance(tasks[0], dict):
            raise Refused(400, "The body must be a list with one task.", "invalidRequest")
        task = tasks[0]
        if task.get("taskType") == "getResponse":
            self.check(task, _HEAD, tuple(_HEAD))
            return self._response(exchange, task["taskUUID"])
        self.check(task, _INFERENCE, _NEEDED)
        return self._inference(exchange, task)

    def _inference(self, exchange: Exchange, task: Json) -> Reply:
        if task["taskUUID"] in self.jobs:
            raise Refused(400, "This taskUUID was used before.", "duplicateTaskUUID")
        orders = self.orders(task["positivePrompt"])
        kind = task.get("outputFormat", "JPG").lower()
        size = (task["width"], task["height"])
        job = self.submit(
            exchange,
            task["positivePrompt"],
            orders,
            draw(orders.said, orders, size, task.get("numberResults", 1), kind),
            model=task["model"],
            references_given=task.get("referenceImages", ()),
        )
        self.jobs[task["taskUUID"]] = job
        job.extra["uuid"] = task["taskUUID"]
        job.extra["cost"] = task.get("includeCost", False)
        if task.get("deliveryMethod", "sync") == "async":
            return self.accepted(job, {"data": [self._head(job)]})
        self.finish(job)
        return json_reply(self._shown(job))

    def _response(self, exchange: Exchange, uuid: str) -> Reply:
        job = self.poll(exchange, uuid)
        if job is None:
            raise Refused(400, "There is no task with this taskUUID.", "taskNotFound")
        return json_reply(self._shown(job))

    def _head(self, job: Job) -> Json:
        return {"taskType": "imageInference", "taskUUID": job.extra["uuid"]}

    def _shown(self, job: Job) -> Json:
        head = self._head(job)
        if not job.done:
            return {"data": [{**head, "status": "processing"} for _ in job.drawings]}
        if job.outcome in ("ok", "partial", "empty"):
            cost = {"cost": float(job.price / len(job.drawings))} if job.extra["cost"] else {}
            return {
                "data": [
                    {**head, "status": "success", "imageUUID": self.new_id(index), "imageURL": url, **cost}
                    for index, url in enumerate(self.urls(job))
                ]
            }
        moderated = job.outcome == "moderated"
        code = "invalidProviderContent" if moderated else job.code or "providerError"
        message = "The content was refused by moderation." if moderated else "The task failed."
        return {"data": [], "errors": [{**head, "status": "error", "code": code, "message": message}]}


def make(log: Log) -> Handler:
    return Runware(log).handle
