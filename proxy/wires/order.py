"""The order of the events of one payload."""

from __future__ import annotations

from proxy.types import Event, ToolCall


def before_calls(events: list[Event], facts: list[Event], begin: int = 0) -> None:
    """Put what a payload says of its text, at its end, before the calls that it also holds, from `begin` on:
    behind them the text is over."""
    calls = (place for place in range(begin, len(events)) if type(events[place]) is ToolCall)
    at = next(calls, len(events))
    events[at:at] = facts
