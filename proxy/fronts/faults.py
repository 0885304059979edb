"""What can be wrong with an upstream's reply, seen by whoever renders it."""

from __future__ import annotations

from typing import Any, Final

from proxy.codec import jsonio
from proxy.errors import ErrorClass, UpstreamError
from proxy.fronts.base import Piece
from proxy.types import Finish

_CUT_OFF: Final = ("length", "content_filter")


def empty_reply() -> UpstreamError:
    return UpstreamError(ErrorClass.EMPTY, "The upstream answered without a reply.")


def truncated() -> UpstreamError:
    """We never invent an end."""
    return UpstreamError(
        ErrorClass.INTERNAL,
        "The upstream ended its reply before it was complete.",
        code="upstream_stream_truncated",
    )


def malformed(why: str) -> UpstreamError:
    """The answer was sold: asked again it costs again."""
    return UpstreamError(
        ErrorClass.INTERNAL,
        f"The answer of the upstream cannot be handed on: {why}.",
        code="upstream_malformed_response",
        bought=True,
    )


def broken_call(name: str, finish: Finish | None) -> UpstreamError | None:
    """Of a call whose arguments are no JSON; None where the reply was cut off, for it may end within them."""
    if finish is not None and finish.reason in _CUT_OFF:
        return None
    return malformed(f"the arguments of a call of {name!r} are no JSON")


def unwritable(error: jsonio.JSONEncodeError) -> UpstreamError:
    """What a vendor adds to its answer may have no form in JSON, as hundreds of lists in each other."""
    return malformed(str(error))


def dumped(value: Any) -> list[Piece]:
    """As `jsonio.dumps`, of a reply that holds what a vendor said. Raises `UpstreamError`."""
    try:
        return jsonio.dumps(value)
    except jsonio.JSONEncodeError as error:
        raise unwritable(error) from None
