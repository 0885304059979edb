"""The sections of a surface: what each may hold, and the plain values they are compiled to.

`KEYS` is the whole grammar of a profile; docs/vendors.md describes every one of its keys.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from proxy.errors import ErrorClass
from proxy.pictures.sizes import TIERS, SizePolicy
from proxy.types import Usage
from proxy.wires.declared import problems as read
from proxy.wires.declared.auth import AUTH_KEYS
from proxy.wires.declared.paths import Path, Paths, read_path, read_paths
from proxy.wires.declared.problems import Mapped, Problems, Where, shown
from proxy.wires.declared.requests import REQUEST_KEYS, Sending, read_sending
from proxy.wires.declared.template import LATER_INPUTS, TASK_FIELDS, UPLOAD_INPUTS, Node, Scope, parse

BUCKETS = ("pending", "success", "failed", "moderated", "canceled", "lost")
CLASSES = tuple(one.value for one in ErrorClass)
FORMS = ("url", "data_uri", "base64", "file", "upload")

_ASPECT = re.compile(r"[1-9]\d{0,3}:[1-9]\d{0,3}")
_COUNTS = ("int", "int | None", "float | None")
_USAGE = tuple(one.name for one in dataclasses.fields(Usage) if one.type in _COUNTS)
_SIZE = tuple(one.name for one in dataclasses.fields(SizePolicy))

KEYS: dict[str, tuple[str, ...]] = {
    "profile": ("name", "extends", "base_url", "auth", "options", "errors", "billing", "surfaces"),
    **AUTH_KEYS,
    "surface": (
        "submit", "upload", "foreign", "stream", "task", "poll", "cancel", "state", "fail", "result",
        "errors", "billing", "usage", "size", "limits", "models", "with_references",
    ),
    "chat surface": (
        "speaks", "path", "model_in_body", "streams", "unwrap", "extra", "drops", "takes", "fail", "errors",
        "billing", "models",
    ),
    "submit": (*REQUEST_KEYS, "optional"),
    "upload": (*REQUEST_KEYS, "raw", "result"),
    "foreign": ("dialect", "known", "unknown"),
    "stream": ("when",),
    "task": (*TASK_FIELDS, "ours", "hosts", "estimate"),
    "poll": (*REQUEST_KEYS[:-1], "first", "every", "max_every", "give_up"),
    "cancel": (*REQUEST_KEYS[:-1], "only_when"),
    "state": ("path", *BUCKETS, "absent", "progress"),
    "fail": ("when",),
    "result": (
        *REQUEST_KEYS[:-1], "images", "picture", "keyed", "partial", "text", "item_errors", "moderated",
        "url_ttl", "quality", "background",
    ),
    "errors": ("message", "code", "rules", "retryable"),
    "rule": ("class", "http", "code", "code_has", "message_has", "state", "when"),
    "retryable": ("header", "values"),
    "billing": ("cost", "reserved", "unit", "keep", "refunded_on_failure"),
    "usage": _USAGE,
    "size": _SIZE,
    "limits": (
        "n", "references", "max_references", "max_reference_bytes", "reference_types", "prompt_chars",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Upload:
    """One picture goes ahead of the order, which then names it by what `result` finds in the reply."""

    sending: Sending
    result: Paths


@dataclass(frozen=True, slots=True)
class Foreign:
    """What a client wrote in the vendor's own `dialect` and we have no word for goes on in the body: the
    fields that the vendor documents, and others where `unknown` is present and not false."""

    dialect: str
    known: tuple[str, ...]
    unknown: Node


@dataclass(frozen=True, slots=True)
class Stream:
    """`when` decides whether this call is answered as a stream; absent or false: no."""

    when: Node


@dataclass(frozen=True, slots=True)
class TaskPaths:
    """`ours`: the vendor finds the job by our own id too."""

    fields: Mapping[str, Paths] = field(default_factory=dict)
    ours: bool = False
    hosts: tuple[str, ...] = ()
    estimate: Paths = ()


@dataclass(frozen=True, slots=True)
class PollPlan:
    """Seconds: before the first poll, between polls (growing to `max_every_s`), and until giving up."""

    first_s: float
    every_s: float
    max_every_s: float
    give_up_s: float

    def wait_s(self, polls: int) -> float:
        """The pause before the next poll, after `polls` polls."""
        if polls == 0:
            return self.first_s
        grown = self.every_s * 1.5 ** min(polls - 1, 32)
        return max(self.every_s, min(grown, self.max_every_s))


@dataclass(frozen=True, slots=True)
class Poll:
    sending: Sending
    plan: PollPlan


@dataclass(frozen=True, slots=True)
class Cancel:
    sending: Sending
    only_when: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """`absent`: a poll's reply without a word means that the job goes on."""

    path: Paths = ()
    buckets: Mapping[str, str] = field(default_factory=dict)
    absent: bool = False
    progress: Paths = ()


@dataclass(frozen=True, slots=True)
class Result:
    """`picture`: the reply is the picture itself. `keyed`: files at the vendor's own hosts want our key."""

    sending: Sending | None = None
    images: Paths = ()
    picture: bool = False
    keyed: bool = False
    partial: Paths = ()
    text: Paths = ()
    item_errors: Paths = ()
    moderated: Paths = ()
    url_ttl_s: float | None = None
    quality: Paths = ()
    background: Paths = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """All conditions that are given must hold. Words are compared as text, `*_has` without case."""

    error_class: ErrorClass
    http: frozenset[int] = frozenset()
    code: frozenset[str] = frozenset()
    code_has: tuple[str, ...] = ()
    message_has: tuple[str, ...] = ()
    state: frozenset[str] = frozenset()
    when: Path | None = None

    @property
    def by_status_alone(self) -> bool:
        """Whether nothing that the vendor says is looked at."""
        return not (self.code or self.code_has or self.message_has or self.state or self.when)


@dataclass(frozen=True, slots=True)
class Errors:
    message: Paths = ()
    code: Paths = ()
    rules: tuple[Rule, ...] = ()
    retryable_header: str | None = None
    retryable_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BillingPaths:
    cost: Paths = ()
    reserved: Paths = ()
    unit: str | None = None
    keep: Mapping[str, Paths] = field(default_factory=dict)
    refunded_on_failure: bool = False


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """`references` are the accepted forms, best first; empty: the vendor takes no pictures."""

    n: int = 1
    references: tuple[str, ...] = ()
    max_references: int | None = None
    max_reference_bytes: int | None = None
    reference_types: tuple[str, ...] = ()
    prompt_chars: int | None = None


# --- reading ---------------------------------------------------------------------------------------


def read_submit(data: Any, where: Where, problems: Problems, options: Mapping[str, Any]) -> Sending | None:
    """None if it has no request line, as in a partial section."""
    section = Mapped(data, where, KEYS["submit"], problems)
    sending = read_sending(section, Scope(options))
    written = section.data.get("body")
    fields = written if isinstance(written, Mapping) else {}
    names = section.take("optional", read.texts, ())
    optional = {name: _used(fields[name], options) for name in names if name in fields}
    if sending and any(name.startswith("task.") for name in sending.request.fields()):
        problems.add("E120", (*where, "request"), "submit.request uses a task, which exists only afterwards")
    return replace(sending, optional=optional) if sending else None


def _used(template: Any, options: Mapping[str, Any]) -> frozenset[str]:
    """The inputs of a template that is complained of elsewhere."""
    scope = Scope(options)
    parse(template, (), scope, Problems())
    return frozenset(scope.used)


def read_upload(data: Any, where: Where, problems: Problems) -> Upload | None:
    section = Mapped(data, where, KEYS["upload"], problems)
    sending = read_sending(section, Scope({}, UPLOAD_INPUTS))
    if sending and any(name != "model" for name in sending.request.fields()):
        problems.add(
            "E120", (*where, "request"), "upload.request comes before the order, it only knows {model}"
        )
    return Upload(sending, section.take("result", read_paths, ())) if sending else None


def read_foreign(data: Any, where: Where, problems: Problems, options: Mapping[str, Any]) -> Foreign:
    section = Mapped(data, where, KEYS["foreign"], problems)
    scope = Scope(options, ("options",))
    return Foreign(
        section.take("dialect", read.text, ""),
        section.take("known", read.texts, ()),
        parse(section.data.get("unknown", False), (*where, "unknown"), scope, problems),
    )


def read_stream(data: Any, where: Where, problems: Problems, options: Mapping[str, Any]) -> Stream:
    section = Mapped(data, where, KEYS["stream"], problems)
    scope = Scope(options, ("options", "stream", "partial_images"))
    return Stream(parse(section.data.get("when", True), (*where, "when"), scope, problems))


def read_task(data: Any, where: Where, problems: Problems) -> TaskPaths:
    section = Mapped(data, where, KEYS["task"], problems)
    fields = {name: section.take(name, read_paths, ()) for name in TASK_FIELDS if name in section}
    return TaskPaths(
        fields,
        ours=section.take("ours", read.flag, False),
        hosts=section.take("hosts", read.texts, ()),
        estimate=section.take("estimate", read_paths, ()),
    )


def read_poll(data: Any, where: Where, problems: Problems) -> Poll | None:
    section = Mapped(data, where, KEYS["poll"], problems)
    sending = read_sending(section, Scope({}, LATER_INPUTS))
    every = section.take("every", read.seconds, 3.0)
    plan = PollPlan(
        first_s=section.take("first", read.seconds, every),
        every_s=every,
        max_every_s=section.take("max_every", read.seconds, every),
        give_up_s=section.take("give_up", read.seconds, 600.0),
    )
    if every >= plan.give_up_s:
        message = f"{shown(where)}.every {every:g}s is not shorter than give_up {plan.give_up_s:g}s"
        problems.add("E124", (*where, "every"), message, "write the pause between two questions, such as 3s")
    return Poll(sending, plan) if sending else None


def read_cancel(data: Any, where: Where, problems: Problems) -> Cancel | None:
    section = Mapped(data, where, KEYS["cancel"], problems)
    sending = read_sending(section, Scope({}, LATER_INPUTS))
    only_when = section.take("only_when", read.texts, ())
    return Cancel(sending, only_when) if sending else None


def read_state(data: Any, where: Where, problems: Problems) -> State:
    section = Mapped(data, where, KEYS["state"], problems)
    buckets: dict[str, str] = {}
    for bucket in BUCKETS:
        for word in section.take(bucket, read.texts, ()):
            if word in buckets:
                problems.add(
                    "E121", (*where, bucket), f'state "{word}" is listed under {buckets[word]} and {bucket}'
                )
            buckets[word] = bucket
    return State(
        path=section.take("path", read_paths, ()),
        buckets=buckets,
        absent=section.take("absent", read.one_of("pending"), "") == "pending",
        progress=section.take("progress", read_paths, ()),
    )


def read_fail(data: Any, where: Where, problems: Problems) -> Path | None:
    return Mapped(data, where, KEYS["fail"], problems).take("when", read_path, None)


def read_result(data: Any, where: Where, problems: Problems) -> Result:
    section = Mapped(data, where, KEYS["result"], problems)
    return Result(
        sending=read_sending(section, Scope({}, LATER_INPUTS)),
        images=section.take("images", partial(read_paths, of_task=True), ()),
        picture=section.take("picture", read.flag, False),
        keyed=section.take("keyed", read.flag, False),
        partial=section.take("partial", read_paths, ()),
        text=section.take("text", read_paths, ()),
        item_errors=section.take("item_errors", read_paths, ()),
        moderated=section.take("moderated", read_paths, ()),
        url_ttl_s=section.take("url_ttl", read.seconds, None),
        quality=section.take("quality", read_paths, ()),
        background=section.take("background", read_paths, ()),
    )


def read_errors(data: Any, where: Where, problems: Problems) -> Errors:
    section = Mapped(data, where, KEYS["errors"], problems)
    retryable = Mapped(section.data.get("retryable", {}), (*where, "retryable"), KEYS["retryable"], problems)
    return Errors(
        message=section.take("message", read_paths, ()),
        code=section.take("code", read_paths, ()),
        rules=section.take("rules", _read_rules, ()),
        retryable_header=retryable.take("header", read.text, None),
        retryable_values=retryable.take("values", read.texts, ("true",)),
    )


def _read_rules(value: Any, where: Where, problems: Problems) -> tuple[Rule, ...]:
    if not isinstance(value, list):
        problems.add("E103", where, f"{shown(where)} must be a list of rules")
        return ()
    return tuple(_read_rule(item, (*where, at), problems) for at, item in enumerate(value))


def _read_rule(value: Any, where: Where, problems: Problems) -> Rule:
    section = Mapped(value, where, KEYS["rule"], problems)
    if "class" not in section:
        problems.add("E106", where, f"{shown(where)} has no class", f"one of {', '.join(CLASSES)}")
    elif len(section.data) == 1:
        problems.add("E103", where, f"{shown(where)} has no condition", "add http, code or message_has")
    name = section.take("class", _read_class, "internal")
    return Rule(
        ErrorClass(name),
        http=frozenset(section.take("http", read.counts, ())),
        code=frozenset(section.take("code", read.texts, ())),
        code_has=tuple(word.lower() for word in section.take("code_has", read.texts, ())),
        message_has=tuple(word.lower() for word in section.take("message_has", read.texts, ())),
        state=frozenset(section.take("state", read.texts, ())),
        when=section.take("when", read_path, None),
    )


def _read_class(value: Any, where: Where, problems: Problems) -> str:
    if value in CLASSES:
        return str(value)
    problems.unknown("E103", where, "error class", str(value), CLASSES)
    return "internal"


def read_billing(data: Any, where: Where, problems: Problems) -> BillingPaths:
    section = Mapped(data, where, KEYS["billing"], problems)
    keep = section.data.get("keep", {})
    names = list(keep) if isinstance(keep, Mapping) else []
    kept = Mapped(keep, (*where, "keep"), names, problems)
    return BillingPaths(
        cost=section.take("cost", read_paths, ()),
        reserved=section.take("reserved", read_paths, ()),
        unit=section.take("unit", read.text, None),
        keep={name: kept.take(name, read_paths, ()) for name in names if isinstance(name, str)},
        refunded_on_failure=section.take("refunded_on_failure", read.flag, False),
    )


def read_usage(data: Any, where: Where, problems: Problems) -> dict[str, Paths]:
    section = Mapped(data, where, KEYS["usage"], problems)
    return {name: section.take(name, read_paths, ()) for name in _USAGE if name in section}


def _read_aspects(value: Any, where: Where, problems: Problems) -> tuple[str, ...]:
    aspects = read.texts(value, where, problems)
    for number, aspect in enumerate(aspects):
        if not _ASPECT.fullmatch(aspect):
            sides = re.fullmatch(r"(\d+)\D(\d+)", aspect)
            hint = f'write "{sides[1]}:{sides[2]}"' if sides is not None else 'write for example "16:9"'
            said = f"{shown((*where, number))} is {aspect!r}; a ratio has a colon between two numbers"
            problems.add("E103", (*where, number), said, hint)
    return aspects


def read_size(data: Any, where: Where, problems: Problems) -> SizePolicy:
    section = Mapped(data, where, KEYS["size"], problems)
    given: dict[str, Any] = {
        "aspects": section.take("aspects", _read_aspects, ()),
        "tiers": section.take("tiers", _read_tiers, ()),
        "mode": section.take("mode", read.one_of("tier", "pixels", "pixels_or_tier"), "tier"),
        "separator": section.take("separator", read.text, "x"),
        "multiple": section.take("multiple", read.count, 16),
        "min_pixels": section.take("min_pixels", read.count, None),
        "max_pixels": section.take("max_pixels", read.count, None),
        "max_side": section.take("max_side", read.count, None),
        "max_ratio": section.take("max_ratio", read.number, None),
        "sizes": section.take("sizes", _read_sizes, ()),
        "table": section.take("table", _read_table, {}),
        "default_tier": section.take("default_tier", read.one_of(*TIERS), "1K"),
        "max_tier": section.take("max_tier", read.one_of(*TIERS), None),
        "strict": section.take("strict", read.flag, False),
        "closed": section.take("closed", read.flag, False),
        "hd_is_quality": section.take("hd_is_quality", read.flag, False),
    }
    return SizePolicy(**given)


def _read_tiers(value: Any, where: Where, problems: Problems) -> tuple[str, ...]:
    if value == []:  # an overlay says so where a model has no sizes of its own
        return ()
    tiers = read.texts(value, where, problems)
    return tuple(read.one_of(*TIERS)(tier, where, problems) for tier in tiers)


def _read_sizes(value: Any, where: Where, problems: Problems) -> tuple[str, ...]:
    found = read.texts(value, where, problems)
    if wrong := [size for size in found if not re.fullmatch(r"[1-9]\d{1,4}x[1-9]\d{1,4}", size)]:
        problems.add("E103", where, f"{shown(where)}: {wrong[0]!r} is no size", "write it like 1536x1024")
        return ()
    return found


def _read_table(value: Any, where: Where, problems: Problems) -> dict[str, dict[str, str]]:
    if not isinstance(value, Mapping) or not all(isinstance(row, Mapping) for row in value.values()):
        problems.add("E103", where, f'{shown(where)} must be a table like {{"16:9": {{1K: 1280x720}}}}')
        return {}
    return {
        str(aspect): {str(tier): str(size) for tier, size in row.items()} for aspect, row in value.items()
    }


def read_limits(data: Any, where: Where, problems: Problems) -> RequestLimits:
    section = Mapped(data, where, KEYS["limits"], problems)
    return RequestLimits(
        n=section.take("n", read.count, 1),
        references=section.take("references", _read_forms, ()),
        max_references=section.take("max_references", read.count, None),
        max_reference_bytes=section.take("max_reference_bytes", read.count, None),
        reference_types=section.take("reference_types", read.texts, ()),
        prompt_chars=section.take("prompt_chars", read.count, None),
    )


def _read_forms(value: Any, where: Where, problems: Problems) -> tuple[str, ...]:
    if value in ("none", []):
        return ()
    forms = read.texts(value, where, problems)
    return tuple(read.one_of(*FORMS)(form, where, problems) for form in forms)
