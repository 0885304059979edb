"""A reply that comes in pieces: progress, pictures one by one, failures of single pictures, then the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Image, Usage
from proxy.wires.declared.outcome import Billing, Done, Outcome, Pending
from proxy.wires.declared.replies import IDENTIFYING, VendorReply


class StreamReader:
    """Feed it payloads until it returns an outcome that is not `Pending`, then, or at the end, `close`."""

    def __init__(self, reply: Callable[[Any], VendorReply]) -> None:
        self._reply = reply
        self._images: list[Image] = []
        self._item_errors: list[UpstreamError] = []
        self._usage: Usage | None = None
        self._billing: Billing | None = None
        self._pending: Pending | None = None
        self._partials = 0  # of the picture that is on its way
        self._last: VendorReply | None = None

    def feed(self, payload: Mapping[str, Any]) -> Outcome | None:
        """What this payload changed: progress, or the end; None if nothing. Raises `UpstreamError`."""
        reply = self._last = self._reply(payload)
        self._usage = reply.usage() or self._usage
        self._billing = _fuller(reply.billing(), self._billing)
        if shown := reply.partials(self._partials):
            self._partials += len(shown)
            return Pending(reply.task, partials=shown)
        images, item_errors = reply.pictures()
        self._item_errors += item_errors
        if reply.is_final():
            return reply.judge()
        self._images += images
        if images:
            self._partials = 0
        if images or item_errors:
            return None
        try:
            outcome = reply.judge()
        except UpstreamError as error:
            if error.error_class is ErrorClass.EMPTY:
                return None  # a payload about something else
            if not self._images:
                raise
            self._item_errors.append(error)
            return None
        if isinstance(outcome, Pending):
            self._pending = outcome
        return outcome

    def close(self) -> Outcome:
        """The stream is over. A job that was not finished in it goes on, if it can be asked for (V-025)."""
        if self._images and self._last is not None:
            return Done(
                images=tuple(self._images),
                usage=self._usage,
                billing=self._billing or Billing(),
                item_errors=tuple(self._item_errors),
                expires_s=self._last.variant.result.url_ttl_s,
                task=self._last.task,
                keyed=self._last.keyed(self._images),
            )
        if self._item_errors:
            raise self._item_errors[0].changed()  # not the one that this frame keeps
        if self._pending is not None and self._pending.task.keys() & IDENTIFYING:
            return self._pending
        if self._last is not None:
            raise self._last.empty()
        raise UpstreamError(
            ErrorClass.EMPTY, "The vendor's stream was empty.", code="no_image_generated", bought=True
        )


def _fuller(new: Billing, old: Billing | None) -> Billing:
    if old is None:
        return new
    return replace(
        new,
        unread=new.unread and old.unread,
        cost=new.cost if new.cost is not None else old.cost,
        reserved=new.reserved if new.reserved is not None else old.reserved,
    )
