"""ModelScope's inference API: tasks at an OpenAI path, and headers that say so."""

from __future__ import annotations

import re
from typing import Any

from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields
from proxy.simulators.vendors.drawings import draw
from proxy.simulators.vendors.house import House, Job, Json, Refused, Route, route

_SIZE = re.compile(r"(\d{2,4})x(\d{2,4})")


def _size(value: Any) -> str:
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    good = found is not None and all(64 <= int(side) <= 2048 for side in found.groups())
    return "" if good else "must be WIDTHxHEIGHT, from 64x64 to 2048x2048"


_FIELDS = {
    "model": fields.text(),
    "prompt": fields.text(2000),
    "negative_prompt": fields.text(2000),
    "size": _size,
    "seed": fields.whole(0, 2**31 - 1),
    "steps": fields.whole(1, 100),
    "guidance": fields.number(1.5, 20),
    "image_url": fields.picture("url", "data"),
}


class ModelScope(House):
    name = "modelscope"

    def routes(self) -> list[Route]:
        return [
            route("POST", "/v1/images/generations", self._create),
            route("GET", "/v1/tasks/{task}", self._query),
        ]

    def refusal(self, refused: Refused) -> Json:
        return {"errors": {"message": refused.message}, "request_id": "r-1"}

    def _create(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        if exchange.headers.get("x-modelscope-async-mode") != "true":
            raise Refused(400, "X-ModelScope-Async-Mode: must be true", "invalid")
        body = self.body(exchange, _FIELDS, ("model", "prompt"))
        orders = self.orders(body["prompt"])
        width, height = body.get("size", "1024x1024").split("x")
        job = self.submit(
            exchange,
            body["prompt"],
            orders,
            draw(orders.said, orders, (int(width), int(height))),
            model=body["model"],
            references_given=[body["image_url"]] if "image_url" in body else (),
        )
        return self.accepted(job, {"task_status": "SUCCEED", "task_id": job.id, "request_id": "r-1"})

    def _query(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        if exchange.headers.get("x-modelscope-task-type") != "image_generation":
            raise Refused(400, "X-ModelScope-Task-Type: must be image_generation", "invalid")
        job = self.poll(exchange, found["task"])
        if job is None:
            raise Refused(404, "The task does not exist", "not_found")
        return json_reply({"task_id": job.id, "request_id": "r-2", **self._shown(job)})

    def _shown(self, job: Job) -> Json:
        if not job.done:
            return {"task_status": "PENDING" if job.queued else "PROCESSING", "output_images": []}
        if job.outcome in ("ok", "partial", "empty"):
            return {"task_status": "SUCCEED", "output_images": self.urls(job)}
        moderated = job.outcome == "moderated"
        message = "The content is sensitive and was refused." if moderated else "The task failed."
        return {"task_status": "FAILED", "output_images": [], "errors": {"message": message}}


def make(log: Log) -> Handler:
    return ModelScope(log).handle
