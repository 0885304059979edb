"""What every simulated vendor does alike: keys, strictness, ordered failures, jobs and the ledger.

A vendor is a `House` with its routes and its words; `docs/simulators.md` lists the directives.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, ClassVar

import orjson

from proxy.simulators import directives
from proxy.simulators.directives import Directives
from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.ledger import Task
from proxy.simulators.vendors import fields, references
from proxy.simulators.vendors.drawings import Drawing

Json = dict[str, Any]
Route = tuple[str, "re.Pattern[str]", Callable[[Exchange, "re.Match[str]"], Reply]]

CREATED = 1795219200
_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class Refused(Exception):
    """A request that the vendor does not take; the vendor's `refusal` writes its body."""

    def __init__(
        self, status: int, message: str, code: str = "", *, param: str = "", retry_after: str = ""
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = {"retry-after": retry_after} if retry_after else {}


class Answered(Exception):
    """The request has its answer already, and it is none of the vendor's own."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


@dataclass
class Job:
    """One submission. `outcome` is `ok`, `moderated`, `failed` (with `code`), `partial` or `empty`."""

    id: str
    model: str
    prompt: str
    orders: Directives
    drawings: list[Drawing]
    host: str
    price: Decimal
    task: Task
    extra: Json = field(default_factory=dict)
    polls: int = 0
    done: bool = False
    cancelled: bool = False

    @property
    def outcome(self) -> str:
        for order, outcome in OUTCOMES.items():
            if order in self.orders:
                return outcome
        return "ok"

    @property
    def code(self) -> str:
        return self.orders.word("fail")

    @property
    def good(self) -> list[Drawing]:
        """The pictures that came out: all, none, or all but the last."""
        whole = {"ok": len(self.drawings), "partial": max(1, len(self.drawings) - 1)}
        return self.drawings[: whole.get(self.outcome, 0)]

    @property
    def pending_polls(self) -> int:
        return self.orders.count("polls", 1)

    @property
    def queued(self) -> bool:
        """Not begun: until the last of its pending polls."""
        return not self.done and self.polls < max(1, self.pending_polls)


OUTCOMES = {"moderate": "moderated", "fail": "failed", "noimage": "empty", "partial": "partial"}


class House:
    """`advised_s` is how often the vendor wants to be asked at most."""

    name: ClassVar[str]
    unit: ClassVar[str] = "USD"
    price: ClassVar[Decimal] = Decimal("0.04")
    advised_s: ClassVar[float] = 0.0
    key_header: ClassVar[str] = "authorization"
    key_prefix: ClassVar[str] = "Bearer "
    invalid_status: ClassVar[int] = 400
    spent_status: ClassVar[int] = 402

    def __init__(self, log: Log) -> None:
        self.log = log
        self.jobs: dict[str, Job] = {}
        self.table = self.routes()

    def routes(self) -> list[Route]:
        raise NotImplementedError

    def refusal(self, refused: Refused) -> Json:
        raise NotImplementedError

    def handle(self, exchange: Exchange) -> Reply:
        try:
            self._check_key(exchange)
            for method, pattern, route in self.table:
                found = pattern.fullmatch(exchange.path)
                if found is not None and method == exchange.method:
                    return route(exchange, found)
            raise Refused(404, f"Not found: {exchange.method} {exchange.path}", "not_found")
        except Answered as answered:
            return answered.reply
        except Refused as refused:
            exchange.notes["refused"] = refused.message
            self.log.counts[f"{self.name}.refused"] += 1
            return json_reply(self.refusal(refused), self.seen_status(refused), headers=refused.headers)

    def seen_status(self, refused: Refused) -> int:
        """The HTTP status of a refusal; some vendors put theirs into the body."""
        return refused.status

    def _check_key(self, exchange: Exchange) -> None:
        value = exchange.headers.get(self.key_header, "")
        key = value.removeprefix(self.key_prefix)
        if not key or not value.startswith(self.key_prefix) or key.startswith("bad"):
            raise Refused(401, "The API key is missing or not valid.", "unauthorized")
        if key.startswith("spent"):
            raise Refused(self.spent_status, "The balance is insufficient.", "insufficient_balance")
        if key.startswith("busy"):
            raise Refused(429, "Too many requests.", "rate_limited", retry_after="1")

    def body(
        self, exchange: Exchange, rules: Mapping[str, fields.Rule], required: Collection[str] = ()
    ) -> Json:
        """The JSON body, checked."""
        try:
            value: Any = exchange.json()
        except orjson.JSONDecodeError as error:
            raise Refused(400, f"The body is not valid JSON: {error}", "invalid_json") from error
        self.check(value, rules, required)
        return value  # type: ignore[no-any-return]  # `check` has seen that it is an object

    def check(
        self, value: Any, rules: Mapping[str, fields.Rule], required: Collection[str] = (), at: str = ""
    ) -> None:
        try:
            fields.check(value, rules, required, at)
        except fields.Wrong as wrong:
            raise Refused(self.invalid_status, str(wrong), wrong.kind, param=wrong.field) from wrong

    def orders(self, prompt: str) -> Directives:
        """The directives of a prompt. Raises when they order a failure before anything is accepted."""
        orders = directives.parse(prompt)
        if "html" in orders:
            raise Answered(Reply([_PAGE], 502, {}, "text/html", pace=orders.pace))
        if "http" in orders:
            raise _ordered(orders.word("http", "500"))
        if "fail-once" in orders and self.log.attempt(f"{self.name} {orders.said}") == 1:
            raise _ordered(orders.word("fail-once", "503"))
        times, _, status = orders.word("fail-times").partition(":")
        if times.isdigit() and self.log.attempt(f"{self.name} {orders.said}") <= int(times):
            raise _ordered(status or "503")
        return orders

    def submit(
        self,
        exchange: Exchange,
        prompt: str,
        orders: Directives,
        drawings: list[Drawing],
        *,
        model: str = "",
        price: Decimal | None = None,
        references_given: Iterable[Any] = (),
    ) -> Job:
        """Accept a job: from here on it costs money."""
        counts = self.log.counts
        counts[f"{self.name}.submits"] += 1
        job_id = self.new_id(counts[f"{self.name}.submits"])
        price = (self.price if price is None else price) * max(1, len(drawings))
        task = self.log.ledger.reserve(self.name, job_id, prompt, price, self.unit)
        job = Job(job_id, model, prompt, orders, drawings, exchange.headers.get("host", ""), price, task)
        self.jobs[job_id] = job
        exchange.notes["task"] = job_id
        if seen := references.all_of(references_given):
            exchange.notes["references"] = seen
        return job

    def new_id(self, number: int) -> str:
        return str(uuid.UUID(bytes=hashlib.sha256(f"{self.name} {number}".encode()).digest()[:16], version=4))

    def finish(self, job: Job) -> None:
        """Book what came out; a second time changes nothing."""
        job.done = True
        amount = job.price * len(job.good) / max(1, len(job.drawings))
        if self.log.ledger.settle(job.task, amount):
            self.log.counts[f"{self.name}.settled" if amount else f"{self.name}.refunded"] += 1

    def poll(self, exchange: Exchange, job_id: str) -> Job | None:
        """A look at a job, which may end by it; None when there is no such job."""
        self.log.counts[f"{self.name}.polls"] += 1
        job = self.jobs.get(job_id)
        if job is None:
            return None
        exchange.notes["task"] = job_id
        before = job.task.polled_too_fast
        self.log.ledger.poll(job.task, self.advised_s)
        self.log.counts[f"{self.name}.polled_too_fast"] += job.task.polled_too_fast - before
        job.polls += 1
        self._fail_poll(job)
        due = job.polls > job.pending_polls and job.task.age_ms() >= job.orders.seconds("slow") * 1000
        if due and not job.done:
            self.finish(job)
        return job

    def _fail_poll(self, job: Job) -> None:
        times, _, what = job.orders.word("poll-fail").partition(":")
        if not times.isdigit() or job.polls > int(times):
            return
        if what == "drop":
            raise Answered(Reply([b""], pace=directives.Pace(drop=True)))
        if what == "html":
            raise Answered(Reply([_PAGE], 502, {}, "text/html"))
        raise _ordered(what or "502")

    def cancel(self, job: Job) -> bool:
        """Stop a job that has not begun; its money goes back."""
        if job.done or not job.queued:
            return False
        job.done = job.cancelled = job.task.cancelled = True
        self.log.ledger.settle(job.task, Decimal(0))
        self.log.counts[f"{self.name}.cancelled"] += 1
        return True

    def urls(self, job: Job) -> list[str]:
        return [drawing.url(job.host, self.name, job.orders) for drawing in job.good]

    def accepted(self, job: Job, value: Any, status: int = 200) -> Reply:
        """The answer to a submission of a task: `sim:slow` means the task there, not this answer."""
        return spoken(value, job.orders, status, replace(job.orders.pace, slow_s=0.0))


def spoken(value: Any, orders: Directives, status: int = 200, pace: directives.Pace | None = None) -> Reply:
    """A whole reply at the pace ordered; `sim:badjson` breaks it off."""
    reply = json_reply(value, status, pace=orders.pace if pace is None else pace)
    if "badjson" in orders:
        reply.frames = [reply.frames[0][: max(1, len(reply.frames[0]) // 2)]]
    return reply


def route(method: str, path: str, answer: Callable[[Exchange, re.Match[str]], Reply]) -> Route:
    """`{name}` in the path stands for one segment, `{name*}` for several."""
    pattern = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.+)", path)
    return method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)), answer


def events(payloads: Iterable[tuple[str, Any]], orders: Directives, *, done: bool = False) -> Reply:
    """An SSE reply of (event name or "", payload)."""
    frames = [
        (f"event: {name}\n" if name else "").encode() + b"data: " + orjson.dumps(payload) + b"\n\n"
        for name, payload in payloads
    ]
    if done:
        frames.append(b"data: [DONE]\n\n")
    if "comments" in orders:
        frames = [b": keep-alive\n\n" + frame for frame in frames]
    return Reply(frames, 200, {}, "text/event-stream; charset=utf-8", streamed=True, pace=orders.pace)


def _ordered(order: str) -> Refused:
    status, _, retry_after = order.partition(":")
    number = int(status) if status.isdigit() else 500
    return Refused(number, f"Simulated error {number}.", "simulated", retry_after=retry_after)
