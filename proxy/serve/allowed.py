"""What a caller may still have: counted before anything is bought, and put right when the request is over."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial

import orjson

from proxy.errors import LimitError
from proxy.keys import ClientKey, Limits
from proxy.limits.counting import KINDS, Taken, Wanted
from proxy.routing.routes import Route
from proxy.serve import bill
from proxy.serve.head import Header
from proxy.serve.house import House
from proxy.serve.speakers import speaker_of
from proxy.serve.told import Told
from proxy.types import (
    CallPart,
    ChatRequest,
    FunctionTool,
    ImageRequest,
    Part,
    Request,
    ResultPart,
    TextPart,
    ThoughtPart,
)

_CHARS_PER_TOKEN = 4
_TOKENS_OF_MEDIA = 258  # what Gemini counts for a small picture; the vendor's own count comes afterwards
_HAIR = 0.0005  # milliseconds by which a difference of times may be above what it is
_CONCURRENT_WAIT_S = 1.0  # nobody knows when one ends
_NAMES = [
    tuple(f"x-ratelimit-{what}-{kind}".encode() for what in ("limit", "remaining", "reset")) for kind in KINDS
]
_PERIODS = {1.0: "second", 60.0: "minute", 3600.0: "hour", 86400.0: "day"}


async def admit(
    house: House, caller: ClientKey, limits: Limits, route: Route, requests: Sequence[Request]
) -> Allowed:
    """`requests` are those that one reply answers. Raises `LimitError`."""
    wanted = Wanted(
        1,
        0 if limits.tokens is None else min(sum(map(_tokens, requests)), limits.tokens.most),
        0 if limits.images is None else sum(map(partial(_images, route), requests)),
    )
    limiter = house.services.limiter
    if limiter.take_here is not None:
        taken = limiter.take_here(caller.name, limits, wanted)
    else:
        taken = await limiter.take(caller.name, limits, wanted)
    if taken.refused is not None:
        raise _refusal(taken)
    return Allowed(taken)


async def admit_free(house: House, caller: ClientKey, limits: Limits) -> Allowed:
    """A request by which nothing is bought: it counts as a request alone. Raises `LimitError`."""
    taken = await house.services.limiter.take(caller.name, limits, Wanted())
    if taken.refused is not None:
        raise _refusal(taken)
    return Allowed(taken)


class Allowed:
    """What was counted for one request. `headers` tell what is left; `told` is what came of it."""

    __slots__ = ("_bought", "_failed", "_taken", "headers", "told")

    def __init__(self, taken: Taken) -> None:
        self._taken = taken
        self._failed = self._bought = False
        self.headers = _headers(taken)
        self.told: Told | None = None

    def failed(self, error: Exception) -> None:
        self._failed = True
        self._bought = getattr(error, "bought", False)

    def close(self, *, gone: bool) -> None:
        """The request is over. Of one that failed counts what came of it; where nobody knows what that was,
        because the client left or the vendor fell silent, it counts as it was wanted. So do the tokens of one
        whose vendor counts seconds instead."""
        told, wanted = self.told, self._taken.wanted
        usage, images = (None, 0) if told is None else (told.usage, told.images)
        uncertain = gone or self._bought
        counted = 0 if usage is None else usage.prompt + usage.completion
        if usage is not None and (counted or usage.seconds is None):
            tokens = counted
        else:
            tokens = 0 if self._failed and not uncertain else wanted.tokens
        if uncertain:
            images = max(images, wanted.images)
        self._taken.by.give_back(self._taken, tokens, images)


def _tokens(request: Request) -> int:
    """What the request will come to, by a rule of thumb: four characters a token, and all it may answer."""
    if isinstance(request, ImageRequest):
        return len(request.prompt) // _CHARS_PER_TOKEN + _TOKENS_OF_MEDIA * len(request.references) + 1
    if not isinstance(request, ChatRequest):
        return bill.metered(request, 0).prompt
    chars = 0
    for message in request.messages:
        for part in message.parts:
            chars += len(part.text) if type(part) is TextPart else _chars(part)
    for tool in request.tools:
        if isinstance(tool, FunctionTool):
            chars += len(tool.description or "") + _written(tool.parameters)
    return chars // _CHARS_PER_TOKEN + (request.max_tokens or 0) * request.n + 1


def _chars(part: Part) -> int:
    if isinstance(part, TextPart | ThoughtPart):
        return len(part.text)
    if isinstance(part, CallPart):
        return _written(part.arguments)
    if isinstance(part, ResultPart):
        return sum(map(_chars, part.parts))
    return _TOKENS_OF_MEDIA * _CHARS_PER_TOKEN


def _written(value: object) -> int:
    try:
        return len(orjson.dumps(value, default=str))
    except TypeError:  # nested too deeply to be written: whoever would have to send it refuses it
        return 0


def _images(route: Route, request: Request) -> int:
    """Of a chat the pictures are counted that it makes; one that is sold by the picture wants one."""
    if isinstance(request, ImageRequest):
        return request.n
    drawn = any(speaker_of(one, request).by_piece() for one in route.targets + route.fallback)
    return request.n if drawn else 0


def _refusal(taken: Taken) -> LimitError:
    kind = taken.refused
    assert kind is not None
    if kind == "concurrent":
        return LimitError(
            f"This key may have {taken.limits.concurrent} requests at the same time, and has. "
            "Try again when one is done.",
            kind,
            _CONCURRENT_WAIT_S,
            _text(_headers(taken)),
        )
    place = KINDS.index(kind)
    window = taken.limits.windows[place]
    assert window is not None
    allowed = f"{window.most} {kind} per {_PERIODS.get(window.per_s, f'{window.per_s:g} seconds')}"
    wanted = taken.wanted[place]
    if math.isinf(taken.wait_s):
        message = f"This key may have {allowed}, and this request wants {wanted}."
        return LimitError(message, kind, None, _text(_headers(taken)))
    headers = _text(_headers(taken))
    had = f"{headers[_NAMES[place][1].decode()]} are left, and this request wants {wanted}"
    again = f"Try again in {_span(taken.wait_s).decode()}."
    message = f"Rate limit reached: this key may have {allowed}; {had}. {again}"
    return LimitError(message, kind, taken.wait_s, headers)


def _headers(taken: Taken) -> list[Header]:
    """As OpenAI spells them: how many there may be, are left, and when there are all again. The clock may be
    young, so a begin of 0 is no time of it."""
    headers: list[Header] = []
    counts, at = taken.counts, taken.at
    for place, most, per_s in taken.limits.bounded:
        begin, left, reset_s = counts[2 * place], most, 0.0
        if 0 < begin <= at < begin + per_s:
            left, reset_s = most - int(counts[2 * place + 1]), begin + per_s - at
            if left < 0:
                left = 0
        limit, remaining, reset = _NAMES[place]
        headers += ((limit, b"%d" % most), (remaining, b"%d" % left), (reset, _span(reset_s)))
    return headers


def _text(headers: Iterable[Header]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}


def _span(seconds: float) -> bytes:
    """`850ms`, `12s`, `6m0s`, `23h59m1s`; rounded up, so that who waits so long has waited enough."""
    milliseconds = math.ceil(seconds * 1000 - _HAIR)
    return b"%dms" % milliseconds if milliseconds < 1000 else _clock(-(-milliseconds // 1000))


@lru_cache  # many ask within the same second
def _clock(seconds: int) -> bytes:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, rest)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest
