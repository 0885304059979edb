"""What a vendor's reply comes to: the job goes on, its result waits elsewhere, or here are the pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from proxy.errors import UpstreamError
from proxy.types import Image, PartialImage, Usage


@dataclass(frozen=True, slots=True)
class Pending:
    """Poll again. `task` is plain JSON: all that `poll`, `result` and `cancel` need, also after a restart.

    `state` is the vendor's word. `unknown_state` is set the first time a word shows up that the profile does
    not know, to be logged. `fault` is why this poll failed in passing; too many in a row end the job with it.
    `partials` show the picture on its way, in a reply that comes in pieces.
    """

    task: Mapping[str, Any]
    state: str | None = None
    progress: float | None = None
    retry_after_s: float | None = None
    estimate_s: float | None = None
    unknown_state: str | None = None
    fault: UpstreamError | None = None
    partials: tuple[PartialImage, ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """Done, but the pictures are at another address: send `result(task)` and judge its reply."""

    task: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Billing:
    """What the vendor says it charges, in `unit` (a currency or `credits`). `unread` is why there is no
    `cost` where the profile says that there is one; fit for a log."""

    cost: Decimal | None = None
    reserved: Decimal | None = None
    unit: str | None = None
    refunded_on_failure: bool = False
    unread: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The pictures. Addresses live `expires_s`; those in `keyed` are the vendor's own and want our key. With
    `item_errors` others of the same job failed."""

    images: tuple[Image, ...]
    text: str = ""
    usage: Usage | None = None
    billing: Billing = field(default_factory=Billing)
    item_errors: tuple[UpstreamError, ...] = ()
    expires_s: float | None = None
    task: Mapping[str, Any] = field(default_factory=dict)
    keyed: frozenset[str] = frozenset()


Outcome = Pending | Ready | Done
