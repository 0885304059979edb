"""OpenAI's Images API: generations, edits as JSON and as a form, events (openai-images.md 1 and 2).

At OpenAI each family of models takes its own fields and sizes. `Kin` is another company's server: any model,
but few fields, and addresses where nothing else is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

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
_EDIT = {**_SHARED, "input_fidelity": fields.one_of("high", "low")}
_PICTURE_OBJECT = fields.record
_OF_JSON_EDIT = {"images": fields.list_of(_PICTURE_OBJECT, 16, 1), "mask": _PICTURE_OBJECT}
_DALL_E = {
    **{name: _SHARED[name] for name in ("model", "n", "size", "user")},
    "response_format": fields.one_of("url", "b64_json"),
}


@dataclass(frozen=True, slots=True)
class Family:
    """The fields that models of a family take and the sizes they make; without `sizes` any under the rules.
    `edit` None: they take no pictures. `linked`: an address, unless base64 is asked for."""

    generation: Mapping[str, fields.Rule]
    edit: Mapping[str, fields.Rule] | None
    sizes: tuple[str, ...] = ()
    references: int = 16
    linked: bool = False


_GPT = Family({**_SHARED, "moderation": fields.one_of("auto", "low")}, _EDIT)
_FAMILIES = {
    "gpt-image-1*": Family(_GPT.generation, _EDIT, ("1024x1024", "1536x1024", "1024x1536")),
    "chatgpt-image-latest": Family(_GPT.generation, _EDIT, ("1024x1024", "1536x1024", "1024x1536")),
    "gpt-image-*": _GPT,
    "dall-e-3": Family(
        {
            **_DALL_E,
            "prompt": fields.text(4000),
            "n": fields.whole(1, 1),
            "quality": fields.one_of("standard", "hd"),
            "style": fields.one_of("vivid", "natural"),
        },
        None,
        ("1024x1024", "1792x1024", "1024x1792"),
        linked=True,
    ),
    "dall-e-2": Family(
        {**_DALL_E, "prompt": fields.text(1000)},
        {**_DALL_E, "prompt": fields.text(1000)},
        ("256x256", "512x512", "1024x1024"),
        references=1,
        linked=True,
    ),
}
_KIN_FIELDS = {
    **_DALL_E,
    "prompt": fields.text(),
    "negative_prompt": fields.text(),
    "seed": fields.whole(0, 2**63 - 1),
}
_KIN = Family(_KIN_FIELDS, _KIN_FIELDS, linked=True)
_STRICT_KIN = {name: rule for name, rule in _KIN_FIELDS.items() if name != "response_format"}
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
        family = self.family(self.body(exchange, _Anything(), ("prompt", "model"))["model"])
        body = self.body(exchange, family.generation)
        return self._answer(exchange, body, [], "image_generation", family)

    def family(self, model: Any) -> Family:
        """Raises for a model that is not there."""
        found = (family for name, family in _FAMILIES.items() if fnmatchcase(str(model), name))
        family = next(found, None)
        if family is None:
            raise Refused(404, f"The model '{model}' does not exist.", "model_not_found", param="model")
        return family

    def _edited(self, model: Any) -> tuple[Family, Mapping[str, fields.Rule]]:
        family = self.family(model)
        if family.edit is None:
            raise Refused(400, f"Invalid value: '{model}'.", "invalid", param="model")
        return family, family.edit

    def _edit(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        given: list[Json]
        if exchange.headers.get("content-type", "").startswith("multipart/form-data"):
            try:
                values, files = forms.read(exchange.raw, exchange.headers["content-type"])
                family, rules = self._edited(values.get("model"))
                body = forms.typed(values, {**_SHARED, **rules})
                given = _received(files, family)
            except ValueError as error:
                raise Refused(400, str(error), "invalid", param="image") from error
            self.check(body, rules, ("prompt", "model"))
        else:
            body = self.body(exchange, _Anything(), ("prompt", "model", "images"))
            family, rules = self._edited(body["model"])
            self.check(body, {**rules, **_OF_JSON_EDIT})
            given = [_linked(each) for each in (*body["images"], *([body["mask"]] if "mask" in body else ()))]
        return self._answer(exchange, body, given, "image_edit", family)

    def _answer(self, exchange: Exchange, body: Json, given: list[Json], event: str, family: Family) -> Reply:
        orders = self.orders(body["prompt"])
        size = _pixels(body.get("size", "auto"), family)
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
        if not family.linked:
            data = [{"b64_json": each.base64()} for each in job.good]
            usage = _usage(job, len(given))
            return spoken({"created": CREATED, **head, "data": data, "usage": usage}, orders)
        if body.get("response_format") == "b64_json":
            data = [{"b64_json": each.base64()} for each in job.good]
        else:
            data = [{"url": url} for url in self.urls(job)]
        if body["model"] == "dall-e-3":
            data = [{**each, "revised_prompt": f"{orders.said}, in detail"} for each in data]
        return spoken({"created": CREATED, "data": data}, orders)


class Kin(OpenAIImages):
    """`strict`: what it does not know is refused, `response_format` too."""

    def __init__(self, log: Log, *, strict: bool) -> None:
        super().__init__(log)
        self._family = Family(_STRICT_KIN, _STRICT_KIN, linked=True) if strict else _KIN
        self._strict = strict

    def family(self, model: Any) -> Family:
        return self._family

    def check(
        self, value: Any, rules: Mapping[str, fields.Rule], required: Collection[str] = (), at: str = ""
    ) -> None:
        if not self._strict and isinstance(value, dict):
            value = {name: each for name, each in value.items() if name in rules or name in required}
        super().check(value, rules, required, at)


class _Anything(dict[str, fields.Rule]):
    """Rules that take every field, before it is known which model is asked for."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> fields.Rule:
        return fields.anything


def make(log: Log) -> Handler:
    return OpenAIImages(log).handle


def _pixels(size: str, family: Family) -> tuple[int, int]:
    """One of the family's; else multiples of 16, 1:3 to 3:1, at most 3840 along a side and 0.66 to 8.3
    megapixels; of another company's server any multiples of 8."""
    if size == "auto":
        return 1024, 1024
    if family.sizes and size not in family.sizes:
        raise Refused(400, f"Invalid value: '{size}'.", "invalid", param="size")
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    sides = sorted((width, height))
    if family.linked:
        good = sides[0] > 0 and not width % 8 and not height % 8
    else:
        good = sides[0] > 0 and not width % 16 and not height % 16 and sides[1] <= min(3840, 3 * sides[0])
        good = good and (family.sizes != () or 655_360 <= width * height <= 8_294_400)
    if not good:
        raise Refused(400, f"Invalid value: '{size}'.", "invalid", param="size")
    return width, height


def _received(files: list[tuple[str, bytes]], family: Family) -> list[Json]:
    """The uploaded pictures. Raises `ValueError` for one that is none, and for fields it does not know."""
    seen = []
    for name, data in files:
        if name not in ("image", "image[]", "mask"):
            raise ValueError(f"Unknown parameter: '{name}'.")
        mimes = ("image/png",) if name == "mask" else references.COMMON
        seen.append({"field": name, **references.describe_bytes(data, mimes, _MOST_BYTES)})
    if not any(name != "mask" for name, _ in files):
        raise ValueError("Missing required parameter: 'image'.")
    if sum(name != "mask" for name, _ in files) > family.references:
        raise ValueError(f"at most {family.references} images")
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
