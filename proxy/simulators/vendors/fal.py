"""fal's queue: status, then the result as a third request; a failed run is COMPLETED too (vendors.md 7)."""

from __future__ import annotations

import re

from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields
from proxy.simulators.vendors.drawings import draw, google_pixels
from proxy.simulators.vendors.house import House, Job, Json, Refused, Route, route

_RATIOS = ("auto", "21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16")
_PRESETS = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
_REFERENCE = fields.picture("url", "data")
_FIELDS = {
    "prompt": fields.text(),
    "negative_prompt": fields.text(least=0),
    "image_url": _REFERENCE,
    "image_urls": fields.list_of(_REFERENCE, 14),
    "aspect_ratio": fields.one_of(*_RATIOS),
    "resolution": fields.one_of("1K", "2K", "4K"),
    "image_size": fields.either(fields.one_of(*_PRESETS), fields.record),
    "num_images": fields.whole(1, 4),
    "seed": fields.whole(0, 2**32),
    "output_format": fields.one_of("jpeg", "png", "webp"),
    "sync_mode": fields.flag,
    "enable_safety_checker": fields.flag,
    "num_inference_steps": fields.whole(1, 100),
    "guidance_scale": fields.number(0, 20),
}


class Fal(House):
    name = "fal"
    advised_s = 1.0  # not documented; vendors.md 8.4
    key_prefix = "Key "
    invalid_status = 422
    spent_status = 403

    def routes(self) -> list[Route]:
        return [
            route("GET", "/{model*}/requests/{task}/status", self._status),
            route("PUT", "/{model*}/requests/{task}/cancel", self._cancel),
            route("GET", "/{model*}/requests/{task}", self._result),
            route("POST", "/{model*}", self._submit),
        ]

    def refusal(self, refused: Refused) -> Json:
        if refused.status != 422:
            return {"detail": refused.message}
        kind = {"unknown": "extra_forbidden", "missing": "missing", "invalid": "value_error"}
        detail = {"loc": ["body", refused.param], "msg": refused.message, "input": None}
        return {"detail": [detail | {"type": kind.get(refused.code, refused.code)}]}

    def _submit(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        body = self.body(exchange, _FIELDS, ("prompt",))
        orders = self.orders(body["prompt"])
        kind = body.get("output_format", "png")
        given = [*body.get("image_urls", ()), *([body["image_url"]] if "image_url" in body else ())]
        drawings = draw(orders.said, orders, _pixels(body), body.get("num_images", 1), kind)
        job = self.submit(
            exchange, body["prompt"], orders, drawings, model=found["model"], references_given=given
        )
        return self.accepted(job, {"status": "IN_QUEUE", **self._urls(job), "queue_position": 0})

    def _urls(self, job: Job) -> Json:
        at = f"http://{job.host}/{self.name}/{job.model}/requests/{job.id}"
        links = {"response_url": at, "status_url": f"{at}/status", "cancel_url": f"{at}/cancel"}
        return {"request_id": job.id, **links}

    def _known(self, found: re.Match[str]) -> Job:
        job = self.jobs.get(found["task"])
        if job is None or job.model != found["model"]:
            raise Refused(404, "Request not found.")
        return job

    def _status(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        job = self._known(found)
        self.poll(exchange, job.id)
        state = "COMPLETED" if job.done else "IN_QUEUE" if job.queued else "IN_PROGRESS"
        status = 200 if job.done else 202
        return json_reply({"status": state, **self._urls(job)}, status)

    def _result(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        job = self._known(found)
        self.log.counts["fal.results"] += 1
        if not job.done:
            return json_reply({"detail": "Request is still in progress"}, 400)
        if job.cancelled:
            raise Refused(400, "Request was cancelled.")
        if job.outcome == "moderated" and job.orders.word("moderate") != "flag":
            message = "The content could not be processed because it was flagged by a content checker."
            raise Refused(422, message, "content_policy_violation", param="prompt")
        if job.outcome == "failed":
            status = int(job.code) if job.code.isdigit() else 500
            raise Refused(status, "The run failed.")
        flagged = job.outcome == "moderated"
        shown = [drawing for drawing in job.drawings if flagged or drawing in job.good]
        images = [
            {
                "url": each.url(job.host, self.name, job.orders),
                "content_type": each.mime,
                "file_name": f"{each.seed}.{each.kind}",
                "width": each.width,
                "height": each.height,
            }
            for each in shown
        ]
        body = {"images": images, "has_nsfw_concepts": [flagged] * len(images), "seed": 7}
        return json_reply(body | {"prompt": job.orders.said})

    def _cancel(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        if self.cancel(self._known(found)):
            return json_reply({"status": "CANCELLATION_REQUESTED"}, 202)
        return json_reply({"status": "ALREADY_COMPLETED"}, 400)


def make(log: Log) -> Handler:
    return Fal(log).handle


def _pixels(body: Json) -> tuple[int, int]:
    size = body.get("image_size")
    if isinstance(size, str):
        return _PRESETS[size]
    if isinstance(size, dict):
        try:
            fields.check(
                size, dict.fromkeys(("width", "height"), fields.whole(64, 14142)), ("width", "height")
            )
        except fields.Wrong as wrong:
            raise Refused(422, str(wrong), wrong.kind, param="image_size") from wrong
        return size["width"], size["height"]
    return google_pixels(body.get("aspect_ratio", "auto"), body.get("resolution", "1K"))
