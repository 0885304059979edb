"""The door: what a connection raises becomes an error of ours that says how far the call went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from proxy.errors import ErrorClass, UpstreamError
from proxy.upstream import unreachable
from proxy.upstream.guard import PrivateAddressError
from proxy.upstream.line import BrokenHttpError
from proxy.upstream.sse import PayloadError

BROKEN = (OSError, PayloadError)  # what connections raise, and what is wrong with what they bring


@dataclass(slots=True)
class Progress:
    """How far one call went, for the error class. `sells`: the vendor may charge once it has it all. Of the
    `address` only host and port are ever told: a path may hold an account or a signature."""

    provider: str
    sells: bool
    address: str = ""
    started: bool = False  # a byte may have been sent
    finished: bool = False  # all of it may have been sent
    answered: bool = False  # the answer's headers came
    expired: str | None = None  # the phase that took too long


def fail(fault: Exception, progress: Progress) -> NoReturn:
    """The door: what a connection raises (`BROKEN`) leaves as `UpstreamError`, naming the provider."""
    error = explain(fault, progress)
    drop_frames(fault)
    try:
        raise error from fault
    finally:
        error.__context__ = None
        del error, fault  # else the error's traceback holds this frame, and this frame it


def drop_frames(fault: BaseException | None) -> None:
    """Take the tracebacks off a fault and off what led to it: their frames hold what was sent and read."""
    while fault is not None:
        fault.__traceback__ = None
        fault = fault.__cause__ or fault.__context__


def explain(fault: Exception, progress: Progress) -> UpstreamError:
    """Our error for a fault, by how far the call went."""
    name = progress.provider
    bought = progress.finished and progress.sells
    if isinstance(fault, PayloadError):
        return _internal(progress, str(fault), fault.code, between=": ")
    if progress.expired is not None and progress.started:
        said = _TOO_SLOW[progress.expired]
        return UpstreamError(ErrorClass.TIMEOUT, f"{name!r} {said}", provider=name, bought=bought, why=said)
    if not progress.started:
        if isinstance(fault, PrivateAddressError):
            said = _PRIVATE
        else:
            said = f"could not be reached: {unreachable.why(fault, progress.address)}"
        return UpstreamError(ErrorClass.CONNECT, f"{name!r} {said}", provider=name, why=said)
    if progress.answered:
        return _internal(progress, "broke off its answer", "upstream_stream_truncated")
    if isinstance(fault, BrokenHttpError):
        return _internal(progress, "answered in broken HTTP", "upstream_invalid_response")
    return _internal(progress, "closed the connection without an answer", "upstream_unreachable")


_PRIVATE = "has an address in a private network; the provider's setting `private: true` allows that"
_TOO_SLOW = {
    "first_byte": "did not begin to answer in time",
    "idle": "fell silent in the middle of its answer",
    "total": "did not finish its answer in time",
}


def _internal(progress: Progress, said: str, code: str, *, between: str = " ") -> UpstreamError:
    return UpstreamError(
        ErrorClass.INTERNAL,
        f"{progress.provider!r}{between}{said}",
        provider=progress.provider,
        code=code,
        why=said,
        bought=progress.finished and progress.sells,
    )
