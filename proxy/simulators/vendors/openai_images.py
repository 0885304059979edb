"""OpenAI's own Images API: generations, edits as JSON and as a form, events (openai-images.md 1 and 2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from proxy.simulators.exchange import Exchange, Log, Reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields, forms, references
from proxy.simulators.vendors.drawings import draw
from proxy.simulators.vendors.house import CREATED, House, Job, Json, Refused, Route, events, route, spoken

_SHARED: dict[str, fields.Rule] = {
    "model": fields.text(),
    "prompt": fields.text(32000),
    "n": fields.whole(1, 10),
    "size": fields.text(),
    "quality": fields.one_of("auto", "low", "medium", "high", "xhigh", "max"),
    "background": fields.one_of("transparent", "opaque", "auto"),
    "output_format": fields.one_of("png", "webp", "jpeg"),
    "output_compression": fields.whole(0, 100),
    "stream": fields.flag,
    "partial_images": fields.whole(0, 3),
    "user": fields.text(),
    "safety_identifier": fields.text(),
}
_GENERATION = {**_SHARED, "moderation": fields.one_of("auto", "low")}
_PICTURE_OBJECT = fields.record
_JSON_EDIT = {
    **_SHARED,
    "images": fields.list_of(_PICTURE_OBJECT, 16, 1),
    "mask": _PICTURE_OBJECT,
    "input_fidelity": fields.one_of("high", "low"),
}
_FORM_EDIT = {**_SHARED, "input_fidelity": fields.one_of("high", "low")}
_MOST_BYTES = 50 << 20
_TYPES = {401: "invalid_request_error", 429: "requests", 500: "server_error", 503: "server_error"}
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


class OpenAIImages(House):
    name = "openai-images"
    price = Decimal("0.053")
    spent_status = 429

    def routes(self) -> list[Route]:
        return [
            route("POST", "/v1/images/generations", self._generate),
            route("POST", "/v1/images/edits", self._edit),
        ]

    def refusal(self, refused: Refused) -> Json:
        kind = _TYPES.get(refused.status, "invalid_request_error")
        code = {"unknown": "unknown_parameter", "missing": "missing_required_parameter"}.get(refused.code)
        code = code or {"invalid": "invalid_value"}.get(refused.code) or _CODES.get(refused.status)
        if refused.code in ("insufficient_balance", "moderation_blocked"):
            moderated = refused.code == "moderation_blocked"
            kind = "image_generation_user_error" if moderated else "insufficient_quota"
            code = "moderation_blocked" if moderated else "insufficient_quota"
        error = {"message": refused.message, "type": kind, "param": refused.param or None, "code": code}
        return {"error": error}

    def _generate(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        body = self.body(exchange, _GENERATION, ("prompt", "model"))
        return self._answer(exchange, body, [], "image_generation")

    def _edit(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        given: list[Json]
        if exchange.headers.get("content-type", "").startswith("multipart/form-data"):
            try:
                values, files = forms.read(exchange.raw, exchange.headers["content-type"])
                body = forms.typed(values, _FORM_EDIT)
                given = _received(files)
            except ValueError as error:
                raise Refused(400, str(error), "invalid", param="image") from error
            self.check(body, _FORM_EDIT, ("prompt", "model"))
        else:
            body = self.body(exchange, _JSON_EDIT, ("prompt", "model", "images"))
            given = [_linked(each) for each in (*body["images"], *([body["mask"]] if "mask" in body else ()))]
        return self._answer(exchange, body, given, "image_edit")

    def _answer(self, exchange: Exchange, body: Json, given: list[Json], event: str) -> Reply:
        orders = self.orders(body["prompt"])
        size = _pixels(body.get("size", "auto"))
        kind = body.get("output_format", "png")
        drawings = draw(orders.said, orders, size, body.get("n", 1), kind)
        job = self.submit(exchange, body["prompt"], orders, drawings, model=body["model"])
        if given:
            exchange.notes["references"] = given
        self.finish(job)
        if job.outcome == "moderated":
            message = "Your request was rejected by the safety system."
            raise Refused(400, message, "moderation_blocked")
        if job.outcome == "failed":
            raise Refused(500, "The server had an error.", job.code)
        head = {
            "background": "opaque",
            "output_format": kind,
            "quality": "low",
            "size": f"{size[0]}x{size[1]}",
        }
        if body.get("stream"):
            partials = body.get("partial_images", 0)
            return events(_events(job, event, head, partials, len(given)), orders)
        data = [{"b64_json": each.base64()} for each in job.good]
        usage = _usage(job, len(given))
        return spoken({"created": CREATED, **head, "data": data, "usage": usage}, orders)


def make(log: Log) -> Handler:
    return OpenAIImages(log).handle


def _pixels(size: str) -> tuple[int, int]:
    """Multiples of 16, 1:3 to 3:1, at most 3840 along a side."""
    if size == "auto":
        return 1024, 1024
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    sides = sorted((width, height))
    if not sides[0] or width % 16 or height % 16 or sides[1] > 3840 or sides[1] > 3 * sides[0]:
        raise Refused(400, f"Invalid value: '{size}'.", "invalid", param="size")
    return width, height


def _received(files: list[tuple[str, bytes]]) -> list[Json]:
    """The uploaded pictures. Raises `ValueError` for one that is none, and for fields it does not know."""
    seen = []
    for name, data in files:
        if name not in ("image", "image[]", "mask"):
            raise ValueError(f"Unknown parameter: '{name}'.")
        mimes = ("image/png",) if name == "mask" else references.COMMON
        seen.append({"field": name, **references.describe_bytes(data, mimes, _MOST_BYTES)})
    if not any(name != "mask" for name, _ in files):
        raise ValueError("Missing required parameter: 'image'.")
    if len(files) > 17:
        raise ValueError("at most 16 images")
    return seen


def _linked(value: Json) -> Json:
    if set(value) != {"image_url"}:
        raise Refused(400, "each image must have an image_url", "invalid", param="images")
    try:
        return references.describe(value["image_url"], ("url", "data"))
    except ValueError as error:
        raise Refused(400, str(error), "invalid", param="images") from error


def _events(job: Job, event: str, head: Json, partials: int, given: int) -> Iterator[tuple[str, Json]]:
    number = 0
    for drawing in job.good:
        for index in range(partials):
            kind = f"{event}.partial_image"
            place = {"partial_image_index": index, "sequence_number": number, "created_at": CREATED}
            yield kind, {"type": kind, "b64_json": drawing.base64(), **place, **head}
            number += 1
        if "nofinish" in job.orders:
            return
        kind = f"{event}.completed"
        place = {"sequence_number": number, "created_at": CREATED}
        yield kind, {"type": kind, "b64_json": drawing.base64(), **place, **head, "usage": _usage(job, given)}
        number += 1


def _usage(job: Job, given: int) -> Json:
    asked, seen, drawn = len(job.orders.said) // 4 + 1, 320 * given, 196 * len(job.good)
    return {
        "total_tokens": asked + seen + drawn,
        "input_tokens": asked + seen,
        "output_tokens": drawn,
        "input_tokens_details": {"text_tokens": asked, "image_tokens": seen},
        "output_tokens_details": {"text_tokens": 0, "image_tokens": drawn},
    }
