"""Tasks as documents/001 shows them: one object for a job and for its end, and a page of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field
from decimal import Decimal
from typing import Literal

from proxy.errors import ProxyError
from proxy.fronts.openai import error_reply
from proxy.fronts.openai.images import reply
from proxy.types import Json, Usage
from proxy.types.values import dataclass

Status = Literal["pending", "processing", "completed", "failed", "cancelled"]

_OBJECTS = {"image": "image.generation.task", "chat": "chat.completion.task"}


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task as it stands. `kind` is what was asked for, image or chat; `progress` a share from 0 to 1,
    `estimated_s` how long it takes by the vendor's word. `uncertain`: nobody knows whether a vendor took the
    order, and an operator has to find out. `pictures` are their addresses. `reserved` is what the order is
    expected to cost, `cost` what it came to, an amount and its currency; None where no price is known.
    `dropped` are fields of the request that were not carried: the head of a reply names them."""

    id: str
    kind: str
    model: str
    created: int
    status: Status
    progress: float = 0.0
    can_cancel: bool = False
    estimated_s: float | None = None
    uncertain: bool = False
    pictures: Sequence[str] = ()
    usage: Usage | None = None
    reserved: tuple[Decimal, str] | None = None
    cost: tuple[Decimal, str] | None = None
    error: ProxyError | None = None
    dropped: Sequence[str] = field(default=(), compare=False)

    @property
    def is_over(self) -> bool:
        return self.status not in ("pending", "processing")


def shown(view: TaskView) -> Json:
    """The task's object. One that is done holds its pictures twice: as `results`, and as `data` in the shape
    of an `ImagesResponse`."""
    info: Json = {"can_cancel": view.can_cancel}
    if view.estimated_s is not None and not view.is_over:
        info["estimated_time"] = round(view.estimated_s)
    if view.uncertain:
        info["uncertain"] = True
    usage: Json = {"billing_rule": "per_call"}
    if view.reserved is not None and not view.is_over:
        usage["credits_reserved"], usage["credits_currency"] = float(view.reserved[0]), view.reserved[1]
    if view.usage is not None:
        usage |= reply.usage(view.usage)
    if view.cost is not None:
        usage["cost"], usage["cost_currency"] = float(view.cost[0]), view.cost[1]
    task: Json = {
        "id": view.id,
        "object": _OBJECTS[view.kind],
        "type": "image",
        "created": view.created,
        "model": view.model,
        "status": view.status,
        "progress": 100 if view.status == "completed" else min(99, round(view.progress * 100)),
        "task_info": info,
        "usage": usage,
    }
    if view.status == "completed":
        task["results"] = list(view.pictures)
        task["data"] = [{"url": address} for address in view.pictures]
    if view.error is not None:
        task["error"] = error_reply.members(view.error, words=error_reply.IMAGE_WORDS)
    return task


def page(views: Iterable[TaskView], *, has_more: bool) -> Json:
    data = [shown(view) for view in views]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }
