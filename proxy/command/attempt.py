"""`dragoman try`: one prompt through the gateway's own path, without a server in between."""

from __future__ import annotations

import asyncio
import base64
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from proxy import app
from proxy.command import dialects, opening
from proxy.command.saving import Destination, Saved
from proxy.errors import ProxyError, RequestError, UpstreamError
from proxy.fronts.base import Asked, Facts, Front, Kind, Parsed
from proxy.fronts.openai.spelling import place_of
from proxy.keys import ClientKey
from proxy.ledger.prices import plain
from proxy.logs import Log
from proxy.pictures.media_types import sniff
from proxy.routing.routes import Route, Routes
from proxy.serve import bill, tries
from proxy.serve.house import House
from proxy.serve.told import Told
from proxy.tasks.engine import Job
from proxy.types import (
    Audio,
    CodeRun,
    Event,
    Image,
    Reasoning,
    Refusal,
    Slice,
    Text,
    ToolCall,
    Usage,
    Vector,
    Verdict,
)
from proxy.upstream import Upstream

_CALLER = ClientKey("try")
_OF_A_WRONG_PATH = ("upstream_invalid_response", "upstream_redirect")

Wish = Callable[[], tuple[Front, Parsed[Any, Any]]]  # reads the request; raises `RequestError`


def attempt(
    file: Path | None,
    model: str,
    prompt: str,
    images: list[Path],
    out: Path | None,
    *,
    dialect: str | None,
    stream: bool,
    as_json: bool,
    simulate: bool,
    verbose: bool = False,
    record: Path | None = None,
) -> int:
    """Exit 1 for a wrong file or request, 3 when the upstream failed or gave no picture for `out`.

    Nothing is ordered before it is clear that it can be kept. `verbose` shows what is sent and what comes
    back, `record` keeps it in a folder.
    """
    try:
        spoken = dialects.of(dialect, None)
        body = spoken.asks(prompt, list(map(_shown, images)))
        wish = partial(spoken.parsed, body, model, "try", stream=stream)
        place = Destination(out)
        heard = _heard(verbose, record)
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except RequestError as error:
        print(error.message, file=sys.stderr)
        return 1
    opened = opening.read(file)
    if opened is None:
        return 1
    config, off = opened

    def run(application: app.App) -> int:
        return asyncio.run(_run(application, model, wish, place, heard, off, as_json=as_json))

    if not simulate:
        return run(app.create(config, off))
    from proxy.simulators.server import start

    simulators = start()
    try:
        with tempfile.TemporaryDirectory(prefix="dragoman-simulated-") as folder:
            return run(app.create(config.apart(folder), off, simulated=simulators.base_url))
    finally:
        simulators.stop()


def _heard(verbose: bool, record: Path | None) -> Upstream | None:
    if not verbose and record is None:
        return None
    from proxy.command.verbose import Loud

    return Loud(shows=verbose, folder=record)


def _shown(image: Path) -> str:
    """Raises `OSError`, and `RequestError` for what is no picture."""
    data = image.read_bytes()
    mime = sniff(data[:64])
    if mime is None or not mime.startswith("image/"):
        raise RequestError(f"{image} is no picture")
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


async def _run(
    application: app.App,
    model: str,
    wish: Wish,
    place: Destination,
    heard: Upstream | None,
    off: Mapping[str, str],
    *,
    as_json: bool,
) -> int:
    house = await application.open()
    if heard is not None:
        await house.services.upstream.close()
        house.services.upstream = heard
    if sys.stderr.isatty():  # the progress shows the job's number; lines of the log would break it up
        house.services.log = Log()
        house.services.on_progress = _show_progress
    try:
        return await _ask(house, model, wish, place, off, as_json=as_json)
    except RequestError as error:
        house.services.log.close()
        print(f"{place_of(error)}: {error.message}", file=sys.stderr)
        return 1
    except ProxyError as error:
        house.services.log.close()
        print(f"upstream: {error.message}", file=sys.stderr)
        if why := getattr(error, "why", None):
            print(f"why: {why}", file=sys.stderr)
        if isinstance(error, UpstreamError) and (address := _address(house, error)):
            print(f"where: base_url of {error.provider!r} is {address}; is its path right?", file=sys.stderr)
        return 3
    finally:
        await application.close()


def _address(house: House, error: UpstreamError) -> str | None:
    """Where it was asked, for what a wrong path is answered with."""
    entry = house.plan.config.providers.get(error.provider)
    if "model" in error.message.lower():
        return None  # it was the right place, and knows no such model
    is_of_the_path = error.native_status in (404, 405) or error.code in _OF_A_WRONG_PATH
    return entry.base_url if entry is not None and is_of_the_path else None


def _route(house: House, model: str, kind: Kind, off: Mapping[str, str]) -> Route:
    """Of a model whose providers are off the error says why, which clients are not told."""
    try:
        return house.plan.routes.resolve(model, _CALLER, kind)
    except RequestError as error:
        try:
            route = Routes.of(house.plan.config, {}).resolve(model, _CALLER, kind)
        except RequestError:
            raise error from None
        names = dict.fromkeys(one.target.provider for one in (*route.targets, *route.fallback))
        why = "; ".join(f"{name}: {off[name]}" for name in names)
        said = f"All providers of {model!r} are off: {why}. With --simulate none is needed."
        raise RequestError(said, attribute=error.attribute) from None


async def _ask(
    house: House, model: str, wish: Wish, place: Destination, off: Mapping[str, str], *, as_json: bool
) -> int:
    front, parsed = wish()
    route = _route(house, model, front.kind, off)
    parsed = route.defaults.under(parsed)
    asked = Asked("try", _CALLER)
    told = Told()
    on = tries.Tries(house, parsed.request, asked, route, route.order(), told)
    seen: list[Event] = []
    saved = Saved()
    try:
        async with aclosing(tries.batches(on, house)) as batches:
            async for batch in batches:
                seen += batch
                if not as_json:
                    _print(batch)
    finally:  # what came before a failure was paid for
        made = [event for event in seen if isinstance(event, Image)]
        saved = place.save(made or _spoken(front, parsed, seen))
        _tell(saved, told)
    if as_json:
        dropped = front.spelled(told.dropped, parsed)
        print(orjson.dumps(_summary(seen, told, saved, dropped)).decode())
    else:
        print()
    usage = next((event for event in reversed(seen) if isinstance(event, Usage)), None)
    tokens = f", {usage.prompt} + {usage.completion} tokens" if usage else ""
    kept = f", saved {saved}" if saved.names else ""
    print(f"{told.target}{tokens}{_cost(told, usage)}{kept}", file=sys.stderr)
    if place.wanted and not saved.names:
        what = "speech" if front.kind == "speech" else "picture"
        print(f"upstream: no {what} came, so nothing was saved", file=sys.stderr)
        return 3
    return 0


def _cost(told: Told, usage: Usage | None) -> str:
    """What the price of the file makes of it, and what the vendor says itself."""
    own = f", {bill.header(costs).decode()}" if (costs := bill.total([told])) else ""
    vendor = usage.vendor if usage is not None and usage.vendor else {}
    if vendor.get("cost") is None:
        return own
    return f"{own}, {vendor['cost']} {vendor.get('unit') or ''}".rstrip() + " by the vendor's count"


def _spoken(front: Front, parsed: Parsed[Any, Any], seen: list[Event]) -> list[Audio]:
    """The file that a client would get, where it is one of sound."""
    kind = parsed.answers_as.decode()
    if not kind.startswith("audio/") or Audio not in map(type, seen):
        return []
    return [Audio(kind, Slice.of(b"".join(front.renderer(parsed, Facts(0)).whole(seen))))]


def _tell(saved: Saved, told: Told) -> None:
    """What is not as it was asked for."""
    for note in saved.notes:
        print(note, file=sys.stderr)
    if told.lost:
        came = len(saved.names)
        print(f"{came} of {came + told.lost} pictures came, the others are lost", file=sys.stderr)


def _show_progress(job: Job) -> None:
    """One line that is written over while a vendor works."""
    done = round((job.progress or 0) * (1 if (job.progress or 0) > 1 else 100))
    bar = "#" * (done // 5)
    print(
        f"\r[{bar:<20}] {done:3}% {job.state or ''} {job.task.get('id', '')}\033[K",
        end="",
        file=sys.stderr,
        flush=True,
    )


def _print(batch: list[Event]) -> None:
    for event in batch:
        if isinstance(event, Text):
            print(event.text, end="", flush=True)
        elif isinstance(event, CodeRun):
            print(event.shown, end="", flush=True)
        elif isinstance(event, Reasoning):
            print(event.text, end="", file=sys.stderr, flush=True)
        elif isinstance(event, Refusal):
            print(event.text)
        elif isinstance(event, ToolCall) and event.name:
            print(f"{event.name}({event.arguments})")
        elif isinstance(event, Vector):
            print(f"{len(event.values)} numbers: {', '.join(f'{one:g}' for one in event.values[:3])}, ...")
        elif isinstance(event, Verdict):
            print("flagged" if event.flagged else "not flagged")


def _text_of(event: Event) -> str:
    if isinstance(event, Text):
        return event.text
    return event.shown if isinstance(event, CodeRun) else ""


def _summary(seen: list[Event], told: Told, saved: Saved, dropped: tuple[str, ...]) -> dict[str, Any]:
    return {
        "target": told.target,
        "text": "".join(map(_text_of, seen)),
        "images": sum(isinstance(event, Image) for event in seen),
        "lost": told.lost,
        "cost": {charge.currency: plain(charge.amount) for charge in bill.total([told])},
        "saved": saved.names,
        "dropped": list(dropped),
    }
