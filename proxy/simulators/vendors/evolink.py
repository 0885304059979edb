"""evolink: one task object for everything, callbacks, credits reserved at the submission (vendors.md 2)."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import httpx

from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields
from proxy.simulators.vendors.drawings import draw, google_pixels
from proxy.simulators.vendors.house import CREATED, House, Job, Json, Refused, Route, route

_MODEL = "gemini-3-pro-image-preview"
_RATIOS = ("auto", "1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_ENDINGS = ("jpeg", "jpg", "png", "webp")


def _picture_url(value: Any) -> str:
    """An address that ends in a format the page does not name is refused; one that tells none is fetched."""
    if complaint := fields.url(value):
        return complaint
    found = re.search(r"\.(\w{3,4})$", urlsplit(value).path.lower())
    return "" if found is None or found[1] in _ENDINGS else f"must be one of {', '.join(_ENDINGS)}"


_FIELDS = {
    "model": fields.one_of(_MODEL),
    "prompt": fields.text(2000),
    "size": fields.one_of(*_RATIOS),
    "quality": fields.one_of("1K", "2K", "4K"),
    "image_urls": fields.list_of(_picture_url, 10),
    "callback_url": fields.url,
}
_CREDITS = {"1K": Decimal("1.6"), "2K": Decimal("1.6"), "4K": Decimal("3.2")}
_CODES = {400: "invalid_parameters", 404: "resource_not_found", 429: "quota_exceeded"}
# "called again 1, 2 and 4 seconds after a failure", "timeout: 10 seconds"
WAITS_S = (1.0, 2.0, 4.0)
TIMEOUT_S = 10.0
_PRIVATE_NAMES = (".local", ".internal", ".localhost")


def callback_complaint(url: str) -> str:
    """Why a callback goes nowhere, "" when it may. Names are judged by their look; nothing is resolved."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".").lower()
    if parts.scheme != "https":
        return "callback_url must use https"
    if host == "localhost" or host.endswith(_PRIVATE_NAMES):
        return "callback_url must not point to a private address"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return "" if address.is_global else "callback_url must not point to a private address"


async def deliver(
    post: Callable[[], Awaitable[int]], *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> list[int]:
    """Call until a 2xx, at most four times; returns the statuses seen, 0 for a call that got none."""
    seen: list[int] = []
    for wait in (*WAITS_S, None):
        try:
            seen.append(await post())
        except (httpx.HTTPError, OSError):
            seen.append(0)
        if 200 <= seen[-1] < 300 or wait is None:
            break
        await sleep(wait)
    return seen


class Evolink(House):
    name = "evolink"
    unit = "credits"
    advised_s = 3.0  # not documented; vendors.md 8.4

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._calls: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        return [
            route("POST", "/v1/images/generations", self._submit),
            route("GET", "/v1/tasks/{task}", self._query),
        ]

    def refusal(self, refused: Refused) -> Json:
        code = refused.code if "_" in refused.code else _CODES.get(refused.status, refused.code)
        return {"error": {"code": code, "message": refused.message, "type": "api_error"}}

    def new_id(self, number: int) -> str:
        return f"task-unified-{CREATED + number}-{super().new_id(number)[:8]}"

    def _submit(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        body = self.body(exchange, _FIELDS, ("model", "prompt"))
        orders = self.orders(body["prompt"])
        quality = body.get("quality", "2K")
        callback = body.get("callback_url", "")
        if callback and orders.word("callback") != "local" and (complaint := callback_complaint(callback)):
            raise Refused(400, complaint, "invalid_parameters")
        size = google_pixels(body.get("size", "auto"), quality, "gemini-3-pro-image")
        job = self.submit(
            exchange,
            body["prompt"],
            orders,
            draw(orders.said, orders, size),
            model=body["model"],
            price=_CREDITS[quality],
            references_given=body.get("image_urls", ()),
        )
        if callback:
            self._call_later(job, callback)
        return self.accepted(job, _shown(self, job))

    def _query(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        if not found["task"].startswith("task-unified-"):
            raise Refused(400, "The task id has an invalid format.", "invalid_task_id")
        job = self.poll(exchange, found["task"])
        if job is None:
            raise Refused(404, "The task does not exist.")
        return json_reply(_shown(self, job))

    def _call_later(self, job: Job, url: str) -> None:
        task = asyncio.get_running_loop().create_task(self._call(job, url))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _call(self, job: Job, url: str) -> None:
        """A job with a callback ends by itself, after `sim:slow` or a moment."""
        await asyncio.sleep(job.orders.seconds("slow") or 0.2)
        if not job.done:
            self.finish(job)  # "sent after the billing is settled"
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:

            async def post() -> int:
                self.log.counts["evolink.callbacks"] += 1
                return (await client.post(url, json=_shown(self, job))).status_code

            seen = await deliver(post)
        self.log.counts["evolink.callbacks_delivered"] += 200 <= seen[-1] < 300


def make(log: Log) -> Handler:
    return Evolink(log).handle


def _shown(house: House, job: Job) -> Json:
    shown: Json = {
        "created": CREATED,
        "id": job.id,
        "model": job.model,
        "object": "image.generation.task",
        "progress": 100 if job.done else min(95, 40 * job.polls),
        "status": "pending" if job.queued else "processing",
        "task_info": {"can_cancel": job.queued, "estimated_time": max(3, int(job.orders.seconds("slow")))},
        "type": "image",
        "usage": {
            "billing_rule": "per_call",
            "credits_reserved": float(job.task.amount("reserve")),
            "user_group": "default",
        },
    }
    if not job.done:
        return shown
    shown["task_info"] = {"can_cancel": False}
    if job.good:
        return shown | {"status": "completed", "results": house.urls(job)}
    code = {"moderated": "content_policy_violation", "empty": "generation_failed_no_content"}
    if job.code in ("cancelled", "canceled"):
        return shown | {
            "status": "cancelled",
            "error": {"code": "request_cancelled", "message": "Cancelled."},
        }
    error = {"code": code.get(job.outcome, job.code or "unknown_error"), "message": "The task failed."}
    return shown | {"status": "failed", "error": error}
