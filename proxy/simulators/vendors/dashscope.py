"""DashScope: Wan pictures in the older and the newer format, as tasks and at once (vendors.md 6.1)."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from decimal import Decimal

from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields
from proxy.simulators.vendors.drawings import draw
from proxy.simulators.vendors.house import House, Job, Json, Refused, Route, route, spoken

_AIGC = "/api/v1/services/aigc"
_SUBMIT_TIME = "2026-11-21 10:00:00.000"
_TIERS = {"1K": 1024, "2K": 2048, "4K": 4096}
_REFERENCE = fields.picture(
    "url",
    "data",
    mimes=("image/png", "image/jpeg", "image/webp", "image/bmp"),
    most_bytes=20 << 20,
)


@dataclass(frozen=True, slots=True)
class Model:
    """Areas as sides of squares; `tiers` are size words; `sizes` are all there are, if not empty; `sequence`
    is n with `enable_sequential`."""

    path: str
    least: int
    most: int
    ratio: int
    default: str
    prompt: int = 800
    side: tuple[int, int] = (1, 100_000)
    tiers: tuple[str, ...] = ()
    references: tuple[int, int] = (0, 0)
    sequence: int = 4
    sizes: tuple[str, ...] = ()


_OLD = Model("text2image", 512, 1440, 100, "1024*1024", side=(512, 1440))
_WAN_25 = Model("text2image", 1280, 1440, 4, "1280*1280", prompt=2000)
_EDIT_25 = Model("image2image", 768, 1280, 4, "1280*1280", prompt=2000, references=(1, 3))
_WAN_27 = Model("new", 768, 2048, 8, "2K", 5000, tiers=("1K", "2K"), references=(0, 9), sequence=12)
_FIRST = Model(
    "text2image", 512, 1440, 100, "1024*1024", 500,
    sizes=("1024*1024", "720*1280", "768*1152", "1280*720"),
)  # fmt: skip
MODELS = {
    "wanx-v1": _FIRST,
    "wanx2.0-t2i-turbo": _OLD,
    "wanx2.1-t2i-turbo": _OLD,
    "wanx2.1-t2i-plus": _OLD,
    "wan2.2-t2i-flash": _OLD,
    "wan2.2-t2i-plus": _OLD,
    "wan2.5-t2i-preview": _WAN_25,
    "wan2.5-i2i-preview": _EDIT_25,
    "wan2.6-t2i": replace(_WAN_25, path="new"),
    "wan2.6-image": Model("new", 768, 1280, 8, "1280*1280", 2000, references=(1, 4)),
    "wan2.7-image": _WAN_27,
    "wan2.7-image-pro": replace(_WAN_27, most=4096, tiers=("1K", "2K", "4K")),
}
_CODES = {
    400: "InvalidParameter",
    401: "InvalidApiKey",
    402: "Arrearage",
    403: "AccessDenied",
    404: "ModelNotFound",
    429: "Throttling.RateQuota",
    500: "InternalError",
    503: "ServiceUnavailable",
}
_PARAMETERS = {
    "size": fields.text(),
    "n": fields.whole(1, 12),
    "seed": fields.whole(0, 2147483647),
    "watermark": fields.flag,
}
_OLD_PARAMETERS = {**_PARAMETERS, "prompt_extend": fields.flag}
_PARAMETERS_OF = {"wanx-v1": {name: _PARAMETERS[name] for name in ("size", "n", "seed")}}
_NEW_PARAMETERS = {
    **_PARAMETERS,
    "prompt_extend": fields.flag,
    "negative_prompt": fields.text(500, 0),
    "thinking_mode": fields.flag,
    "enable_sequential": fields.flag,
    "bbox_list": fields.anything,
    "color_palette": fields.anything,
}
_OUTER = {"model": fields.text(), "input": fields.record, "parameters": fields.record}
_OLD_INPUT = {
    "prompt": fields.text(),
    "negative_prompt": fields.text(500, 0),
    "images": fields.list_of(_REFERENCE, 4),
}
_MESSAGE = {"role": fields.one_of("user"), "content": fields.list_of(fields.record, 11, 1)}
_PART = {"text": fields.text(), "image": _REFERENCE}


class Dashscope(House):
    name = "dashscope"
    unit = "CNY"
    price = Decimal("0.2")
    advised_s = 1.0  # the official poller begins at 1 to 2 seconds
    spent_status = 400

    def routes(self) -> list[Route]:
        return [
            route("POST", _AIGC + "/{kind}/image-synthesis", self._old),
            route("POST", _AIGC + "/image-generation/generation", self._new_async),
            route("POST", _AIGC + "/multimodal-generation/generation", self._new_sync),
            route("GET", "/api/v1/tasks/{task}", self._task),
            route("POST", "/api/v1/tasks/{task}/cancel", self._cancel),
            route("GET", "/api/v1/tasks/?", self._list),
        ]

    def refusal(self, refused: Refused) -> Json:
        code = refused.code if refused.code[:1].isupper() else _CODES.get(refused.status, "SystemError")
        if refused.code == "insufficient_balance":
            code = "Arrearage"
        return {"code": code, "message": refused.message, "request_id": self._request_id()}

    def _request_id(self) -> str:
        return super().new_id(self.log.counts[f"{self.name}.requests"] + 1_000_000)

    def _old(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        _want_async(exchange, True)
        body = self.body(exchange, _OUTER, ("model", "input"))
        model = _model(body["model"], {found["kind"]})
        self.check(body["input"], _OLD_INPUT, ("prompt",), "input")
        parameters = body.get("parameters", {})
        self.check(parameters, _PARAMETERS_OF.get(body["model"], _OLD_PARAMETERS), at="parameters")
        prompt, given = body["input"]["prompt"], body["input"].get("images", [])
        job = self._accept(exchange, body["model"], model, prompt, given, parameters)
        return self._accepted(job)

    def _new_async(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        _want_async(exchange, True)
        return self._accepted(self._new(exchange))

    def _new_sync(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        _want_async(exchange, False)
        job = self._new(exchange)
        self.finish(job)
        if not job.good and job.outcome != "empty":
            code, message = _failure(job)
            raise Refused(400 if job.outcome == "moderated" else 500, message, code)
        output = {"finished": True, **self._choices(job)}
        return spoken({"request_id": self._request_id(), "output": output, "usage": _usage(job)}, job.orders)

    def _new(self, exchange: Exchange) -> Job:
        body = self.body(exchange, _OUTER, ("model", "input"))
        model = _model(body["model"], {"new"})
        self.check(
            body["input"],
            {"messages": fields.list_of(fields.record, 1, 1)},
            ("messages",),
            "input",
        )
        message = body["input"]["messages"][0]
        self.check(message, _MESSAGE, ("role", "content"), "input.messages[0]")
        for index, part in enumerate(message["content"]):
            self.check(part, _PART, at=f"input.messages[0].content[{index}]")
            if len(part) != 1:
                raise Refused(400, "a content part must have text or image")
        texts = [part["text"] for part in message["content"] if "text" in part]
        if len(texts) != 1:
            raise Refused(400, "content must have exactly one text")
        given = [part["image"] for part in message["content"] if "image" in part]
        parameters = body.get("parameters", {})
        self.check(parameters, _NEW_PARAMETERS, at="parameters")
        return self._accept(exchange, body["model"], model, texts[0], given, parameters)

    def _accept(
        self, exchange: Exchange, name: str, model: Model, prompt: str, given: list[str], parameters: Json
    ) -> Job:
        if len(prompt) > model.prompt:
            raise Refused(400, f"the prompt has more than {model.prompt} characters")
        if not model.references[0] <= len(given) <= model.references[1]:
            low, high = model.references
            raise Refused(400, f"{name} takes {low} to {high} images")
        count = parameters.get("n", 1)
        if count > (model.sequence if parameters.get("enable_sequential") else 4):
            raise Refused(400, f"n is too large: {count}")
        sequential = bool(given or parameters.get("enable_sequential"))
        size = pixels(parameters.get("size", model.default), model, sequential)
        orders = self.orders(prompt)
        drawings = draw(orders.said, orders, size, count)
        return self.submit(exchange, prompt, orders, drawings, model=name, references_given=given)

    def _accepted(self, job: Job) -> Reply:
        output = {"task_id": job.id, "task_status": "PENDING"}
        return self.accepted(job, {"request_id": self._request_id(), "output": output})

    def _task(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        job = self.poll(exchange, found["task"])
        if job is None:
            output: Json = {"task_id": found["task"], "task_status": "UNKNOWN"}
            return json_reply({"request_id": self._request_id(), "output": output})
        reply: Json = {"request_id": self._request_id(), "output": self._state(job)}
        if job.good and job.done:
            reply["usage"] = _usage(job)
        return json_reply(reply)

    def _state(self, job: Job) -> Json:
        output: Json = {"task_id": job.id, "submit_time": _SUBMIT_TIME}
        if job.cancelled:
            return output | {"task_status": "CANCELED"}
        if not job.done:
            return output | {"task_status": "PENDING" if job.queued else "RUNNING"}
        output |= {"scheduled_time": _SUBMIT_TIME, "end_time": _SUBMIT_TIME}
        if not job.good and job.outcome != "empty":
            code, message = _failure(job)
            return output | {"task_status": "FAILED", "code": code, "message": message}
        if MODELS[job.model].path == "new":
            return output | {"task_status": "SUCCEEDED", "finished": True, **self._choices(job)}
        results: list[Json] = [
            {"orig_prompt": job.orders.said, "actual_prompt": f"{job.orders.said}, in detail", "url": url}
            for url in self.urls(job)
        ]
        failed = len(job.drawings) - len(results) if job.good else 0
        results += [{"code": "InternalError.Algo", "message": "The picture failed."}] * failed
        metrics = {"TOTAL": len(results), "SUCCEEDED": len(results) - failed, "FAILED": failed}
        return output | {"task_status": "SUCCEEDED", "results": results, "task_metrics": metrics}

    def _choices(self, job: Job) -> Json:
        said: list[Json] = [{"type": "text", "text": "No picture came out."}]
        contents = [[{"type": "image", "image": url}] for url in self.urls(job)] or [said]
        return {
            "choices": [
                {"finish_reason": "stop", "message": {"role": "assistant", "content": content}}
                for content in contents
            ]
        }

    def _cancel(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        job = self.jobs.get(found["task"])
        if job is None or not self.cancel(job):
            message = "Failed to cancel the task, please confirm if the task is in PENDING status."
            raise Refused(400, message, "UnsupportedOperation")
        return json_reply({"request_id": self._request_id()})

    def _list(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        rows = [
            {"task_id": job.id, "model_name": job.model, "status": self._state(job)["task_status"]}
            for job in self.jobs.values()
        ]
        page = {"total": len(rows), "data": rows[:10], "page_no": 1, "page_size": 10}
        return json_reply({"request_id": self._request_id(), **page})


def make(log: Log) -> Handler:
    return Dashscope(log).handle


def pixels(size: str, model: Model, restricted: bool = False) -> tuple[int, int]:
    """The size drawn. `restricted`: with references or in sequence the large sizes are not to be had."""
    most = min(model.most, 2048) if restricted else model.most
    if model.sizes and size not in model.sizes:
        raise Refused(400, f"size {size} is not one of {', '.join(model.sizes)}")
    if size in model.tiers and _TIERS[size] <= most:
        return _TIERS[size], _TIERS[size]
    found = re.fullmatch(r"(\d{1,5})\*(\d{1,5})", size)
    if found is None:
        raise Refused(400, f"size {size} is not supported; it is written W*H")
    width, height = int(found[1]), int(found[2])
    low, high = model.side
    if not (low <= min(width, height) and max(width, height) <= high):
        raise Refused(400, f"size {size}: each side must be {low} to {high}")
    if not model.least**2 <= width * height <= most**2:
        raise Refused(400, f"size {size}: the area must be {model.least}*{model.least} to {most}*{most}")
    if max(width, height) > model.ratio * min(width, height):
        raise Refused(400, f"size {size}: the ratio must be 1:{model.ratio} to {model.ratio}:1")
    return width, height


def _model(name: str, paths: Collection[str]) -> Model:
    model = MODELS.get(name)
    if model is None:
        raise Refused(404, f"Model {name} does not exist.", "ModelNotFound")
    if model.path not in paths:
        raise Refused(400, f"url error, please check url! {name} is not served here.", "InvalidParameter")
    return model


def _want_async(exchange: Exchange, wanted: bool) -> None:
    given = exchange.headers.get("x-dashscope-async") == "enable"
    if given != wanted:
        kind = "asynchronous" if given else "synchronous"
        raise Refused(403, f"current user api does not support {kind} calls.", "AccessDenied")


def _failure(job: Job) -> tuple[str, str]:
    if job.outcome == "moderated":
        return "DataInspectionFailed", "Output data may contain inappropriate content."
    return job.code or "InternalError.Algo", "The task failed."


def _usage(job: Job) -> Json:
    first = job.drawings[0]
    usage: Json = {"image_count": len(job.good)}
    if MODELS[job.model].path == "new":
        tokens = {"input_tokens": 18790, "output_tokens": 2, "total_tokens": 18792}
        usage |= {"size": f"{first.width}*{first.height}", **tokens}
    return usage
