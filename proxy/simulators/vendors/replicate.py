"""Replicate: predictions that may be finished at once with `Prefer: wait` (vendors.md 7)."""

from __future__ import annotations

import re
from typing import Any

from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields
from proxy.simulators.vendors.drawings import draw, google_pixels
from proxy.simulators.vendors.house import House, Job, Json, Refused, Route, route, spoken

_REFERENCE = fields.picture("url", "data")
_INPUT = {
    "prompt": fields.text(),
    "image_input": fields.list_of(_REFERENCE, 14),
    "aspect_ratio": fields.one_of(
        "match_input_image", "1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"
    ),
    "resolution": fields.one_of("1K", "2K", "4K"),
    "output_format": fields.one_of("jpg", "png", "webp"),
    "safety_filter_level": fields.text(),
    "seed": fields.whole(0, 2**32),
    "num_outputs": fields.whole(1, 4),
}
_TITLES = {
    401: "Unauthenticated",
    402: "Insufficient credit",
    404: "Not found",
    422: "Input validation failed",
}


class Replicate(House):
    name = "replicate"
    advised_s = 0.5  # the interval of the official client
    invalid_status = 422

    def routes(self) -> list[Route]:
        return [
            route("POST", "/v1/models/{owner}/{model}/predictions", self._submit),
            route("GET", "/v1/predictions/{task}", self._get),
            route("POST", "/v1/predictions/{task}/cancel", self._cancel),
        ]

    def refusal(self, refused: Refused) -> Json:
        title = _TITLES.get(refused.status, "Request failed")
        return {"title": title, "detail": refused.message, "status": refused.status}

    def new_id(self, number: int) -> str:
        return super().new_id(number).replace("-", "")[:26]

    def _submit(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        outer = {"input": fields.record, "webhook": fields.url, "stream": fields.flag}
        body = self.body(exchange, outer, ("input",))
        given = body["input"]
        self.check(given, _INPUT, ("prompt",), "input")
        orders = self.orders(given["prompt"])
        ratio = given.get("aspect_ratio", "1:1").replace("match_input_image", "1:1")
        size = google_pixels(ratio, given.get("resolution", "1K"))
        kind, count = given.get("output_format", "jpg"), given.get("num_outputs", 1)
        job = self.submit(
            exchange,
            given["prompt"],
            orders,
            draw(orders.said, orders, size, count, kind),
            model=f"{found['owner']}/{found['model']}",
            references_given=given.get("image_input", ()),
        )
        job.extra["input"] = given
        # A prediction that outlasts the wait is answered unfinished.
        if exchange.headers.get("prefer", "").startswith("wait") and "polls" not in orders:
            self.finish(job)
            return spoken(self._shown(job), orders, 201)
        return self.accepted(job, self._shown(job), 201)

    def _get(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        job = self.poll(exchange, found["task"])
        if job is None:
            raise Refused(404, "The prediction does not exist.")
        return json_reply(self._shown(job))

    def _cancel(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        job = self.jobs.get(found["task"])
        if job is None:
            raise Refused(404, "The prediction does not exist.")
        self.cancel(job)
        return json_reply(self._shown(job))

    def _shown(self, job: Job) -> Json:
        at = f"http://{job.host}/{self.name}/v1/predictions/{job.id}"
        output: Any = None
        error = None
        status = "starting" if job.queued else "processing"
        if job.cancelled:
            status = "canceled"
        elif job.done and (job.good or job.outcome == "empty"):
            status, output = "succeeded", self.urls(job)
            if job.orders.word("shape") == "string" and output:
                output = output[0]
        elif job.done:
            status = job.code if job.code == "aborted" else "failed"
            flagged = "The input or output was flagged as sensitive. Please try again. (E005)"
            error = flagged if job.outcome == "moderated" else f"The prediction failed. {job.code}".strip()
        return {
            "id": job.id,
            "model": job.model,
            "version": "hidden",
            "input": job.extra["input"],
            "logs": "",
            "output": output,
            "data_removed": False,
            "error": error,
            "status": status,
            "created_at": "2026-11-21T10:00:00.000Z",
            "metrics": {"predict_time": 1.5} if job.done else {},
            "urls": {"cancel": f"{at}/cancel", "get": at},
        }


def make(log: Log) -> Handler:
    return Replicate(log).handle
