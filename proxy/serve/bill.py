"""What a try comes to in money: its hold before it is ordered, its verdict, its cost, its rows.

Settled by what came back, never by what was asked. A failure costs nothing; what nobody knows stays held.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from proxy.ledger import charges
from proxy.ledger.entries import LONGEST, Entry, Kind
from proxy.ledger.prices import ZERO, Tariff, exact, plain
from proxy.serve.told import Charge, Told, Try
from proxy.sounds import formats
from proxy.types import (
    ChatRequest,
    EmbedRequest,
    ImageOptions,
    ImageRequest,
    MediaPart,
    ModerationRequest,
    Request,
    Slice,
    SpeechRequest,
    TextPart,
    ThoughtPart,
    TranscriptRequest,
    Usage,
    iter_media,
)

if TYPE_CHECKING:
    from proxy.wires.declared import Done

_BYTES_PER_TOKEN = 4
_BASE64_PER_TOKEN = 333  # of a recording: 32 tokens a second, in an MP3 of 64 kbit/s
_BYTES_SPOKEN_PER_S = 15  # of English read aloud: 150 words a minute
_TOKENS_PER_MEDIUM = 258  # of a small picture at Google
_TOKENS_PER_PICTURE = 1290  # made; the most that Google's first took for one
_USUAL_SIZE = "1K"

# Classes that are the vendor's own word on the order: nothing more can come of it.
_VERDICTS = frozenset({"bad_request", "blocked", "canceled", "empty"})


# --- before the order


def hold(one: Try, request: Request) -> Entry:
    """The row that stands before what is sold by the piece is ordered; the try remembers what it holds."""
    if one.tariff is not None:
        one.held = expected(one.tariff, request)
        if one.tariff.by_size:
            one.size = _size(_wanted(request), one.tariff)
    return closing(one)._replace(kind="hold", outcome="ordered", amount=one.held, released=None, watch=None)


def expected(tariff: Tariff, request: Request) -> Decimal:
    """What the pictures will cost that the request orders."""
    if tariff.pictures is None:
        return exact(tariff.below.output_image * _TOKENS_PER_PICTURE * request.n)
    return tariff.of_pictures(request.n, [_size(_wanted(request), tariff)] * request.n)


def _wanted(request: Request) -> ImageOptions:
    wanted = request.image if isinstance(request, ChatRequest | ImageRequest) else None
    return wanted or ImageOptions()


def _size(wanted: ImageOptions, tariff: Tariff) -> str:
    """As far as the client said it, in the sizes that prices know."""
    from proxy.pictures import sizes

    wish = sizes.parse(wanted, lenient=True)
    tier = wish.tier or (sizes.implied_tier(*wish.pixels) if wish.pixels else _USUAL_SIZE)
    known = [size for size in sizes.TIERS[: sizes.TIERS.index(tier) + 1] if size in (tariff.pictures or ())]
    return known[-1]


# --- at its end


def close(one: Try, request: Request) -> None:
    """Meter what was seen of a reply that broke off, and find out what the try costs."""
    if one.left or (one.failure is not None and one.handed_on):
        if one.usage is not None:
            one.usage = replace(one.usage, estimated=True)
        elif one.text_bytes:
            one.usage = metered(request, one.text_bytes)
    if one.tariff is not None:
        tariff, prices = one.tariff, one.attempt.candidate.prices
        if prices is not None and prices.tiers and one.usage is not None:
            tariff = prices.served(tariff, one.usage.service_tier)
        if tariff.second is not None:
            one.usage = timed(one.usage, request)
        amount = tariff.cost(one.usage, one.images, one.sizes or ()) if _is_served(one) else ZERO
        one.charge = None if amount is None else Charge(amount, tariff.currency)


def verdict(one: Try) -> Kind:
    """How the ledger closes it."""
    if not one.by_piece or _is_served(one):
        return "settle"
    if not one.sent:
        return "refund"
    failure = one.failure
    if failure is None:
        return "uncertain"
    is_known = failure.final or not failure.bought or failure.error_class in _VERDICTS
    return "refund" if is_known else "uncertain"


def _is_served(one: Try) -> bool:
    """Whether somebody got something of it: all, or what had come when it broke off."""
    if one.failure is None and not one.left:
        return True
    if one.by_piece:
        return one.images > 0 and (one.left or one.handed_on)
    return one.left or one.handed_on


def closing(one: Try) -> Entry:
    """The row of its end."""
    asked, candidate, usage, failure = one.asked, one.attempt.candidate, one.usage, one.failure
    kind: Kind = verdict(one) if one.by_piece else "settle"
    amount = one.held if kind == "refund" else None
    counted = None
    if kind == "settle":
        amount = one.charge and one.charge.amount
        counted = usage if failure is None or one.handed_on else None
    vendor = charges.told(usage.vendor, candidate.currency) if usage is not None and usage.vendor else None
    return Entry(
        time.time(),
        asked.request_id,
        one.told.number,
        one.number,
        kind,
        asked.caller.name[:LONGEST],
        candidate.sold_as[:LONGEST],
        candidate.target.name[:LONGEST],
        one.operation,
        failure.error_class if failure is not None else "abandoned" if one.left else "ok",
        candidate.currency if one.tariff is None else one.tariff.currency,
        amount,
        None if kind == "uncertain" else one.held,
        None if vendor is None else vendor[0],
        None if vendor is None else vendor[1],
        one.images if kind == "settle" else 0,
        0 if counted is None else counted.prompt,
        0 if counted is None else counted.completion,
        one.left or (counted is not None and counted.estimated),
        None if one.kept is None else one.kept.watch(one.size),
    )


def late(done: Done, tariff: Tariff | None, size: str | None, currency: str) -> dict[str, Any]:
    """How a try is settled whose pictures came when nobody waited for them any more: by their number, and the
    size that was ordered. `currency` is the account's."""
    usage, images = counted(done), len(done.images)
    vendor = charges.told(usage.vendor, currency)
    return {
        "kind": "settle",
        "amount": None if tariff is None else tariff.cost(usage, images, [size] * images),
        "images": images,
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "vendor_amount": None if vendor is None else vendor[0],
        "vendor_unit": None if vendor is None else vendor[1],
    }


def counted(done: Done) -> Usage:
    """What a vendor says a job took."""
    usage = done.usage or Usage()
    vendor = usage.vendor
    if done.billing.cost is not None:
        vendor = {**(vendor or {}), "cost": str(done.billing.cost), "unit": done.billing.unit}
    return replace(usage, images=usage.images or len(done.images), vendor=vendor)


def metered(request: Request, text_bytes: int) -> Usage:
    """About what a vendor would count that counts at the end, and did not get there."""
    prompt = _prompt(request)
    return Usage(prompt=prompt, completion=-(-text_bytes // _BYTES_PER_TOKEN), estimated=True)


def timed(usage: Usage | None, request: Request) -> Usage:
    """With about the seconds that a vendor would count of what is heard or spoken, where it told none."""
    usage = usage or Usage()
    if usage.seconds is not None or not isinstance(request, TranscriptRequest | SpeechRequest):
        return usage
    if isinstance(request, SpeechRequest):
        seconds = _size_of(request.text) / _BYTES_SPOKEN_PER_S
    else:
        seconds = formats.seconds_of(request.recording.data or Slice(b""))
    return replace(usage, seconds=round(seconds, 2), estimated=True)


def _prompt(request: Request) -> int:
    """In tokens."""
    if isinstance(request, EmbedRequest):
        return sum(_tokens(one) if isinstance(one, str) else len(one) for one in request.inputs)
    if isinstance(request, SpeechRequest):
        return _tokens(request.text) + _tokens(request.instructions or "")
    if isinstance(request, ModerationRequest):
        return sum(_part(part) for item in request.items for part in item)
    if isinstance(request, TranscriptRequest):
        sound = request.recording.data
        return _tokens(request.prompt or "") + (len(sound) // _BASE64_PER_TOKEN if sound is not None else 0)
    if isinstance(request, ImageRequest):
        return _tokens(request.prompt) + len(request.references) * _TOKENS_PER_MEDIUM
    told = sum(
        _size_of(part.text)
        for message in request.messages
        for part in message.parts
        if isinstance(part, TextPart | ThoughtPart)
    )
    return -(-told // _BYTES_PER_TOKEN) + sum(1 for _ in iter_media(request)) * _TOKENS_PER_MEDIUM


def _part(part: TextPart | MediaPart) -> int:
    return _tokens(part.text) if isinstance(part, TextPart) else _TOKENS_PER_MEDIUM


def _tokens(text: str) -> int:
    return -(-_size_of(text) // _BYTES_PER_TOKEN)


def _size_of(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


# --- what the client is told


def total(tolds: Sequence[Told]) -> list[Charge]:
    """Of a request's calls, by currency; nothing where one of them has no price."""
    if len(tolds) == 1:  # most are
        return [charge] if (charge := tolds[0].charge) is not None else []
    sums: dict[str, Decimal] = {}
    for told in tolds:
        if told.charge is None:
            return []
        sums[told.charge.currency] = sums.get(told.charge.currency, ZERO) + told.charge.amount
    return [Charge(amount, currency) for currency, amount in sums.items()]


def header(costs: Sequence[Charge]) -> bytes:
    return ", ".join(map(_words, costs)).encode("utf-8", "replace")


def _words(cost: Charge) -> str:
    return f"{plain(cost.amount)} {cost.currency}"
