"""Which tool message answers which call: clients reuse ids, lose them, and answer in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from proxy.types import Message


@dataclass(slots=True)
class Pairing:
    """`answers` by (position of the assistant message, number of the call); positions of `orphans`."""

    answers: dict[tuple[int, int], Message] = field(default_factory=dict)
    orphans: set[int] = field(default_factory=set)


def pair(messages: Sequence[Message]) -> Pairing:
    """Pair by id with the nearest earlier message that has it; then by name, then by order, with the nearest
    earlier message that has calls. Of several answers to one call the last holds.
    """
    pairing = Pairing()
    callers: list[int] = []
    unmatched: list[tuple[int, int]] = []
    for position, message in enumerate(messages):
        if message.calls:
            callers.append(position)
        elif message.role == "tool" and not _by_id(message, messages, callers, pairing):
            unmatched.append((position, callers[-1] if callers else -1))
    for position, caller in unmatched:
        if caller < 0 or not _by_name_or_order(messages[position], messages[caller], caller, pairing):
            pairing.orphans.add(position)
    return pairing


def _by_id(message: Message, messages: Sequence[Message], callers: list[int], pairing: Pairing) -> bool:
    if not message.tool_call_id:
        return False
    for caller in reversed(callers):
        numbers = [
            number for number, call in enumerate(messages[caller].calls) if call.id == message.tool_call_id
        ]
        if numbers:
            free = (number for number in numbers if (caller, number) not in pairing.answers)
            pairing.answers[caller, next(free, numbers[-1])] = message
            return True
    return False


def _by_name_or_order(message: Message, caller: Message, position: int, pairing: Pairing) -> bool:
    free = [number for number in range(len(caller.calls)) if (position, number) not in pairing.answers]
    named = [number for number in free if caller.calls[number].name == message.name]
    if not free:
        return False
    pairing.answers[position, (named or free)[0]] = message
    return True
