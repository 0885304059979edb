"""`dragoman explain`: the plan of a request and the exact upstream request, with nothing sent."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from proxy.command import dialects, opening, showing
from proxy.config import missing_surface
from proxy.errors import ProxyError, RequestError
from proxy.fronts.base import Front, Kind, Parsed
from proxy.fronts.openai.spelling import place_of
from proxy.keys import ClientKey
from proxy.ledger.prices import Tariff, plain
from proxy.routing.attempts import Candidate
from proxy.routing.routes import Route, Routes
from proxy.serve import bill
from proxy.serve.body import read_json
from proxy.serve.fan_out import split
from proxy.serve.speakers import Speaker, speaker_of
from proxy.types import Call, Request
from proxy.wires.declared.requests import Sample

# Who answers to names that nobody has, by what is asked for.
_CATCHING: dict[Kind, str] = {
    "pictures": "image_model",
    "embeddings": "embedding_model",
    "speech": "speech_model",
    "transcripts": "transcript_model",
    "moderations": "moderation_model",
}
_PURPOSES = {"poll": "ask how it is", "result": "fetch the result", "cancel": "call it off"}


def explain(
    file: Path | None,
    model: str,
    prompt: str,
    request: Path | None,
    *,
    dialect: str | None,
    stream: bool,
    as_json: bool,
) -> int:
    """Print the plan. Exit 1 when the file or the request is wrong. The `dialect` of a request is told by its
    members where it is not named."""
    opened = opening.read(file)
    if opened is None:
        return 1
    config, off = opened
    try:
        body = None if request is None else read_json(request.read_bytes())
        spoken = dialects.of(dialect, body)
        if body is None:
            body = spoken.asks(prompt, ())
        # A provider that is off has a plan too: explaining needs no key.
        routes = Routes.of(config, {})
        kind = spoken.front(stream).kind
        route = routes.resolve(model, ClientKey("explain"), kind)
        front, parsed = spoken.parsed(body, model, "explain", stream=stream)
        plan = {
            "asked": model,
            "by": _reason(model, route, routes, kind),
            **_plan(route, front, route.defaults.under(parsed), off),
        }
    except RequestError as error:
        why = missing_surface(model, config) if error.code == "model_not_found" else None
        print(f"{place_of(error)}: {why or error.message}", file=sys.stderr)
        return 1
    except ProxyError as error:
        print(f"request: {error.message}", file=sys.stderr)
        return 1
    _show(plan, as_json=as_json)
    return 0


def _reason(asked: str, route: Route, routes: Routes, kind: Kind) -> str | None:
    """What in the file leads from the name to a model that is called otherwise."""
    name = asked.removeprefix("models/")
    if name == route.name:
        return None
    if name in routes.by_name:
        return f"alias {name}"
    if (pattern := routes.patterns.find(name)) is not None:
        return f"alias {pattern}"
    return f"defaults.{_CATCHING.get(kind, 'model')}"


def _plan(route: Route, front: Front, parsed: Parsed[Any, Any], off: dict[str, str]) -> dict[str, Any]:
    steps = []
    candidates = (*route.targets, *route.fallback)
    calls = _calls(candidates, parsed.request)
    for candidate in candidates:
        target = candidate.target
        account = candidate.keys.accounts[0]
        speaker = speaker_of(candidate, calls[0])
        call = speaker.preview()
        tariff = candidate.prices.at() if candidate.prices is not None else None
        headers, query = account.auth.shown
        steps.append(
            {
                "target": target.name,
                "state": f"off: {off[target.provider]}" if target.provider in off else "on",
                "weight": target.weight if route.weighted else None,
                "calls": len(calls),
                "method": call.method,
                "url": showing.url(account.base_url + call.path, query),
                "headers": headers | dict(call.headers),
                "body": showing.elided(call.body),
                "first": _first(candidate, call, account.base_url, query),
                "then": _later(candidate, call, account.base_url, query),
                "price": None if tariff is None else tariff.card,
                "estimate": None if tariff is None else _estimate(tariff, parsed.request, speaker),
                "dropped": [*parsed.dropped, *front.spelled((*call.dropped, *speaker.unread()), parsed)],
                "deadlines_s": asdict(candidate.deadlines),
            }
        )
    return {
        "model": route.name,
        "pick": "weighted" if route.weighted else "ordered",
        "defaults": dict(route.defaults.written),
        "attempts": route.attempts,
        "steps": steps,
    }


def _estimate(tariff: Tariff, request: Request, speaker: Speaker) -> dict[str, Any]:
    """What is known beforehand: the pictures that are ordered, about how long the prompt is, and the seconds
    of what is read aloud. How long a vendor works nobody knows."""
    usage = bill.metered(request, 0)
    found: dict[str, Any] = {"currency": tariff.currency}
    if tariff.second is not None:
        usage = bill.timed(usage, request)
        found["seconds"] = usage.seconds
    if speaker.by_piece():
        return {"pictures": plain(bill.expected(tariff, request)), **found}
    cost = tariff.cost(usage)
    return {"prompt_tokens": usage.prompt, "prompt": None if cost is None else plain(cost), **found}


def _first(candidate: Candidate, call: Call, base_url: str, query: str) -> dict[str, Any] | None:
    """The request that goes ahead with each picture, where a vendor wants them so."""
    found = candidate.jobs.first(call) if candidate.jobs is not None else None
    return None if found is None else _beside(found, base_url, query)


def _later(candidate: Candidate, call: Call, base_url: str, query: str) -> list[dict[str, Any]]:
    """The requests that follow where a vendor works at a task; `{task.id}` is what its answer tells."""
    found = candidate.jobs.later(call) if candidate.jobs is not None else []
    return [_beside(one, base_url, query) for one in found]


def _beside(sample: Sample, base_url: str, query: str) -> dict[str, Any]:
    place = sample.path if sample.path[:1] == "{" else base_url + sample.path
    return {
        "for": sample.purpose,
        "method": sample.method,
        "url": showing.url(place, query),
        "headers": dict(sample.headers),
        "body": sample.body,
    }


def _calls(candidates: Sequence[Candidate], request: Request) -> list[Request]:
    """What the client's request is cut into, by the target that needs the most calls, as in `serve`."""
    speakers = [speaker_of(candidate, request) for candidate in candidates]
    for speaker in speakers:
        if (refusal := speaker.unable()) is not None:
            raise refusal
    return split(request, max((speaker.shares() for speaker in speakers), key=len))


def _show(plan: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(orjson.dumps(plan, option=orjson.OPT_INDENT_2).decode())
        return
    if plan["by"]:
        print(f"{plan['asked']} is answered by {plan['model']} ({plan['by']})")
    print(f"{plan['model']}: {plan['pick']}, at most {plan['attempts']} attempts")
    if plan["defaults"]:
        print(f"defaults: {orjson.dumps(plan['defaults']).decode()}")
    for number, step in enumerate(plan["steps"], 1):
        weight = f", weight {step['weight']}" if step["weight"] is not None else ""
        print(f"\n{number}. {step['target']} ({step['state']}{weight})")
        print(
            "deadlines: " + ", ".join(f"{key[:-2]} {value:g} s" for key, value in step["deadlines_s"].items())
        )
        if step["first"]:
            _show_beside("first, with each picture", step["first"])
        if step["calls"] > 1:
            print(f"{step['calls']} calls make up this request; the first of them:")
        print(f"{step['method']} {step['url']}")
        for name, shown in step["headers"].items():
            print(f"{name}: {shown}")
        print(orjson.dumps(step["body"], option=orjson.OPT_INDENT_2).decode())
        for then in step["then"]:
            _show_beside(f"then, to {_PURPOSES[then['for']]}", then)
        print(f"cost: {_priced(step)}")
        if step["dropped"]:
            print(f"not carried: {', '.join(step['dropped'])}")


def _show_beside(when: str, sample: dict[str, Any]) -> None:
    print(f"{when}: {sample['method']} {sample['url']}")
    for name, shown in sample["headers"].items():
        print(f"{name}: {shown}")
    if sample["body"]:
        print(orjson.dumps(sample["body"], option=orjson.OPT_INDENT_2).decode())


def _priced(step: dict[str, Any]) -> str:
    estimate, price = step["estimate"], step["price"]
    if estimate is None:
        return "unpriced"
    if "second" in price:
        known = estimate["seconds"]
        many = "the vendor tells how many" if known is None else f"about {known:g}"
        return f"{price['second']} {estimate['currency']} a second, {many}"
    if "pictures" in estimate:
        return f"about {estimate['pictures']} {estimate['currency']} for the pictures"
    prompt = f"about {estimate['prompt']} {estimate['currency']} for {estimate['prompt_tokens']} tokens"
    return f"{prompt} of the prompt, and {price.get('output', '0')} per {price['per']} tokens of the answer"
