"""grsai: one request for three ways of answering, `/v1/api/result`, and the older draw API (vendors.md 4)."""

from __future__ import annotations

import re
from decimal import Decimal

import orjson

from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields
from proxy.simulators.vendors.drawings import draw, google_pixels
from proxy.simulators.vendors.house import House, Job, Json, Refused, Route, route, spoken

_RATIOS = ("auto", "1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "5:4", "4:5", "21:9")
_LONG_RATIOS = ("1:4", "4:1", "1:8", "8:1")
_ANY_TIER = ("1K", "2K", "4K")
# Tiers by model: vendors.md 4.1, the older document.
_BANANAS: dict[str, tuple[str, ...]] = {
    "nano-banana": _ANY_TIER,
    "nano-banana-fast": _ANY_TIER,
    "nano-banana-2": _ANY_TIER,
    "nano-banana-2-cl": ("1K",),
    "nano-banana-2-2k-cl": ("2K",),
    "nano-banana-2-4k-cl": ("4K",),
    "nano-banana-pro": _ANY_TIER,
    "nano-banana-pro-vt": _ANY_TIER,
    "nano-banana-pro-cl": ("1K",),
    "nano-banana-pro-vip": ("1K", "2K"),
    "nano-banana-pro-4k-vip": ("4K",),
}
_GPT_RATIOS = {
    "auto": (1024, 1024),
    "1:1": (1024, 1024),
    "16:9": (1672, 941),
    "9:16": (941, 1672),
    "4:3": (1443, 1090),
    "3:4": (1090, 1443),
    "3:2": (1536, 1024),
    "2:3": (1024, 1536),
    "5:4": (1408, 1120),
    "4:5": (1120, 1408),
    "21:9": (1920, 832),
    "9:21": (832, 1920),
    "1:2": (896, 1792),
    "2:1": (1792, 896),
}
_ONE_K_PIXELS = 2_100_000
_REFERENCE = fields.picture("url", "data", "base64")
_FIELDS = {
    "model": fields.text(),
    "prompt": fields.text(),
    "images": fields.list_of(_REFERENCE, 20),
    "aspectRatio": fields.text(),
    "imageSize": fields.one_of(*_ANY_TIER),
    "replyType": fields.one_of("json", "stream", "async"),
}
_LEGACY_FIELDS = {
    "model": fields.text(),
    "prompt": fields.text(),
    "urls": fields.list_of(_REFERENCE, 20),
    "aspectRatio": fields.text(),
    "imageSize": fields.one_of(*_ANY_TIER),
    "webHook": fields.text(),
    "shutProgress": fields.flag,
}


class Grsai(House):
    name = "grsai"
    unit = "points"
    price = Decimal("440")
    advised_s = 3.0  # not documented; vendors.md 8.4
    spent_status = 400  # seen at clients: an empty balance is a 400

    def routes(self) -> list[Route]:
        return [
            route("POST", "/v1/api/generate", self._generate),
            route("GET", "/v1/api/result", self._result),
            route("POST", "/v1/draw/nano-banana", self._draw),
            route("POST", "/v1/draw/result", self._draw_result),
        ]

    def refusal(self, refused: Refused) -> Json:
        message = "insufficient credits" if refused.code == "insufficient_balance" else refused.message
        return {"id": "", "status": "failed", "error": message}

    def new_id(self, number: int) -> str:
        return f"14-{super().new_id(number)}"

    def _generate(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        body = self.body(exchange, _FIELDS, ("model", "prompt"))
        orders = self.orders(body["prompt"])
        drawings = draw(orders.said, orders, self._pixels(body))
        given = body.get("images", ())
        job = self.submit(
            exchange, body["prompt"], orders, drawings, model=body["model"], references_given=given
        )
        reply_type = body.get("replyType", "json")
        if reply_type == "async":
            return self.accepted(job, _shown(self, job))
        self.finish(job)
        whole = reply_type == "json" or _status(job) != 200
        return spoken(_shown(self, job), orders, _status(job)) if whole else self._stream(job)

    def _pixels(self, body: Json) -> tuple[int, int]:
        model, ratio = body["model"], body.get("aspectRatio", "auto")
        if model in _BANANAS:
            known = (*_RATIOS, *_LONG_RATIOS) if model.startswith("nano-banana-2") else _RATIOS
            tier = body.get("imageSize", _BANANAS[model][0])
            if ratio not in known:
                raise Refused(400, f"aspectRatio {ratio} is not supported by {model}")
            if tier not in _BANANAS[model]:
                raise Refused(400, f"imageSize {tier} is not supported by {model}")
            return google_pixels(ratio, tier)
        if model not in ("gpt-image-2", "gpt-image-2-vip"):
            raise Refused(400, f"model {model} does not exist")
        if "imageSize" in body:
            raise Refused(400, f"imageSize is not a parameter of {model}")
        if ratio == "auto" or (model == "gpt-image-2" and ratio in _GPT_RATIOS):
            return _GPT_RATIOS[ratio]
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", ratio)
        if found is None:
            raise Refused(400, f"aspectRatio {ratio} is not supported by {model}")
        width, height = int(found[1]), int(found[2])
        complaint = vip_complaint(width, height) if model.endswith("vip") else _one_k_complaint(width, height)
        if complaint:
            raise Refused(400, f"aspectRatio {ratio}: {complaint}")
        return width, height

    def _stream(self, job: Job) -> Reply:
        """Framed as ordered by `sim:shape`: a SSE, b SSE without blank lines, c bare lines, d one body."""
        shape = job.orders.word("shape", "a")
        records = [
            {"id": job.id, "status": "running", "progress": progress}
            for progress in range(10, 100, -(-90 // max(1, job.orders.count("chunks", 3))))
        ]
        if "nofinish" not in job.orders:
            records.append(_shown(self, job))
        if shape == "d":
            frames = [orjson.dumps(records[-1], option=orjson.OPT_INDENT_2)]
        else:
            lead, tail = {"b": (b"data: ", b"\n"), "c": (b"", b"\n")}.get(shape, (b"data: ", b"\n\n"))
            frames = [lead + orjson.dumps(record) + tail for record in records]
        pace = job.orders.pace
        return Reply(frames, 200, {}, "text/event-stream", streamed=True, pace=pace)

    def _result(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        job = self.poll(exchange, exchange.query.get("id", ""))
        if job is None:
            raise Refused(400, "The task does not exist.")
        return json_reply(_shown(self, job), _status(job))

    def _draw(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        body = self.body(exchange, _LEGACY_FIELDS, ("model", "prompt"))
        orders = self.orders(body["prompt"])
        drawings = draw(orders.said, orders, self._pixels(body))
        given = body.get("urls", ())
        job = self.submit(
            exchange, body["prompt"], orders, drawings, model=body["model"], references_given=given
        )
        if body.get("webHook") == "-1":
            return self.accepted(job, {"code": 0, "msg": "success", "data": {"id": job.id}})
        self.finish(job)
        return self._stream(job)

    def _draw_result(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        body = self.body(exchange, {"id": fields.text()}, ("id",))
        job = self.poll(exchange, body["id"])
        if job is None:
            return json_reply({"code": -22, "msg": "The task does not exist.", "data": None})
        shown = _shown(self, job)
        if job.done and job.outcome == "moderated":
            reason = "input_moderation" if job.orders.word("moderate") == "input" else "output_moderation"
            shown |= {"status": "failed", "failure_reason": reason}
        elif job.done and not job.good:
            shown["failure_reason"] = "error"
        return json_reply({"code": 0, "msg": "success", "data": shown})


def make(log: Log) -> Handler:
    return Grsai(log).handle


def vip_complaint(width: int, height: int) -> str:
    """The four rules of gpt-image-2-vip."""
    if max(width, height) > 3840:
        return "the longest side must not exceed 3840"
    if width % 16 or height % 16:
        return "both sides must be multiples of 16"
    if min(width, height) * 3 < max(width, height):
        return "the long side must not exceed three times the short one"
    return "" if 655_360 <= width * height <= 8_294_400 else "the area must be 655360 to 8294400 pixels"


def _one_k_complaint(width: int, height: int) -> str:
    good = min(width, height) > 0 and width * height <= _ONE_K_PIXELS
    return "" if good else "gpt-image-2 takes 1K sizes only"


def _status(job: Job) -> int:
    """The page lists the states once, for its 200 and for its 400."""
    is_told_so = job.done and job.outcome in ("moderated", "failed") and "as-refusal" in job.orders
    return 400 if is_told_so else 200


def _shown(house: House, job: Job) -> Json:
    if not job.done:
        return {"id": job.id, "status": "running", "progress": min(95, 5 + 40 * job.polls)}
    if job.good:
        results = [{"url": url} for url in house.urls(job)]
        return {"id": job.id, "status": "succeeded", "progress": 100, "results": results}
    if job.outcome == "moderated":
        return {"id": job.id, "status": "violation", "progress": 100, "error": "The content is not allowed."}
    if job.outcome == "empty":
        return {"id": job.id, "status": "succeeded", "progress": 100, "results": []}
    return {"id": job.id, "status": "failed", "progress": 100, "error": job.code or "The task failed."}
