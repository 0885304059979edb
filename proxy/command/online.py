"""`dragoman check --online`: does each provider answer, take its keys and have its models?

Only what costs nothing is asked: lists of models, and an address without a key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from proxy.codec import jsonio
from proxy.config import Config
from proxy.errors import ErrorClass, UpstreamError
from proxy.routing.providers import Provider, opened
from proxy.types import Call, Target
from proxy.upstream import Account, Deadlines, Static, Upstream
from proxy.wires import chat_wire, refusals
from proxy.wires.gemini import models as gemini_models

_PATIENCE = Deadlines(connect_s=5, first_byte_s=10, idle_s=10, total_s=20)
_MOST_BYTES = 8 << 20
_PAGES = 10
_PAGE = {"pageSize": "1000"}
_NO_LIST = (404, 405, 501)


@dataclass(frozen=True, slots=True)
class Found:
    """`latency_ms` is None where nothing answered. `keys` are sentences, one for each that was refused, and
    `missing` the models that the vendor does not list; both None where nothing could be asked for free.
    """

    provider: str
    address: str
    latency_ms: int | None = None
    why: str | None = None
    keys: tuple[str, ...] | None = None
    accepted: int = 0
    missing: tuple[str, ...] | None = None
    models: int = 0
    note: str | None = None  # why there is no list of models

    @property
    def is_well(self) -> bool:
        return self.latency_ms is not None and not self.keys and not self.missing

    def json(self) -> dict[str, Any]:
        return {
            "provider": self.provider,
            "address": self.address,
            "ok": self.is_well,
            "latency_ms": self.latency_ms,
            "problem": self.why,
            "keys_accepted": None if self.keys is None else self.accepted,
            "keys_refused": None if self.keys is None else list(self.keys),
            "models_asked_for": None if self.missing is None else self.models,
            "models_missing": None if self.missing is None else list(self.missing),
            "note": self.note,
        }

    def cells(self) -> list[str]:
        if self.latency_ms is None:
            return [self.provider, self.address, f"no: {self.why}", "", ""]
        keys = "not asked" if self.keys is None else f"{self.accepted} accepted"
        if self.keys:
            keys = "; ".join(self.keys)
        models = self.note or "not asked"
        if self.missing is not None:
            there = self.models - len(self.missing)
            models = f"{there} of {self.models}"
            if self.missing:
                models += f", not {', '.join(self.missing)}"
        return [self.provider, self.address, f"{self.latency_ms} ms", keys, models]


def ask(config: Config, off: Mapping[str, str]) -> list[Found]:
    """All providers that are on, side by side."""
    return asyncio.run(_all(config, opened(config, off, None)))


async def _all(config: Config, providers: Mapping[str, Provider]) -> list[Found]:
    upstream = Upstream()
    wanted = _wanted(config)
    try:
        return await asyncio.gather(
            *(_one(upstream, provider, wanted.get(name, ())) for name, provider in providers.items())
        )
    finally:
        await upstream.close()


def _wanted(config: Config) -> dict[str, list[Target]]:
    """The targets of the file by provider, each once."""
    found: dict[str, dict[str, Target]] = {}
    for model in config.models.values():
        for entry in (*model.targets, *model.fallback):
            if not entry.model:
                continue  # another model of the file
            target = Target(entry.provider, entry.model, surface=entry.surface)
            found.setdefault(entry.provider, {})[target.name] = target
    return {name: list(targets.values()) for name, targets in found.items()}


async def _one(upstream: Upstream, provider: Provider, targets: Iterable[Target]) -> Found:
    account = provider.keys.accounts[0]
    found = Found(provider.name, account.base_url)
    speaks, path = _list_of(provider)
    began = time.perf_counter()
    try:
        await _get(upstream, path or "", replace(account, auth=Static()))
    except UpstreamError as error:
        return replace(found, why=_why(error))
    found = replace(found, latency_ms=round((time.perf_counter() - began) * 1000))
    if path is None:
        return found
    refused: list[str] = []
    listed: set[str] | None = None
    for number, one in enumerate(provider.keys.accounts, 1):
        names, problem, note = await _listed(upstream, speaks, path, one)
        listed = names if names is not None else listed
        if problem is not None:
            refused.append(f"key {number}: {problem}")
        elif names is None:  # it has no list, so nothing is known
            return replace(found, note=note)
    found = replace(found, keys=tuple(refused), accepted=len(provider.keys.accounts) - len(refused))
    if listed is None:
        return found
    sent = {target.model: _sent(speaks, target, provider) for target in targets}
    missing = tuple(model for model, name in sent.items() if name not in listed)
    return replace(found, missing=missing, models=len(sent))


def _list_of(provider: Provider) -> tuple[str, str | None]:
    """What the provider speaks, and where its list of models is; None where there is none for free."""
    if provider.profile is None:
        listable = provider.options.get("kind") != "vertex"
        return provider.wire, "/models" if listable else None
    for surface in provider.profile.surfaces.values():
        path = getattr(surface, "path", None)
        if getattr(surface, "speaks", None) == "openai" and path and path.endswith("/chat/completions"):
            return "openai", path.removesuffix("/chat/completions") + "/models"
    return provider.wire, None


def _sent(speaks: str, target: Target, provider: Provider) -> str:
    return gemini_models.find(target.model, provider.options).id if speaks == "gemini" else target.model


async def _listed(
    upstream: Upstream, speaks: str, path: str, account: Account
) -> tuple[set[str] | None, str | None, str]:
    """The names of the models, None without a list; why the key was refused; what stands there instead."""
    note = f"no list at {path}: is the path of base_url right?"
    names: set[str] = set()
    page: dict[str, str] = dict(_PAGE) if speaks == "gemini" else {}
    for _ in range(_PAGES):
        try:
            status, headers, body = await _get(upstream, path, account, page)
        except UpstreamError as fault:
            return None, _why(fault), note
        if status in _NO_LIST:
            return None, None, note
        if status >= 400:
            error = chat_wire(speaks).error(status, headers, body, Target(account.provider, ""))
            what = "refused" if error.error_class is ErrorClass.AUTH else f"HTTP {status}"
            return None, f"{what}: {error.without(account.secrets).message}", note
        if (title := refusals.page_in(body)) is not None:
            note = f"a web page at {path} ({title}): is the path of base_url right?"
            return None, None, note
        told = _decoded(body)
        names |= _names(told)
        token = told.get("nextPageToken")
        if not isinstance(token, str) or not token:
            break
        page["pageToken"] = token
    return names or None, None, note


def _why(error: UpstreamError) -> str:
    return (error.why or error.message).removeprefix("could not be reached: ")


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        value = jsonio.loads(body)
    except jsonio.JSONDecodeError:
        return {}
    if isinstance(value, list):  # some servers give the bare list
        return {"data": value}
    return value if isinstance(value, dict) else {}


def _names(told: Mapping[str, Any]) -> set[str]:
    entries = told.get("data") or told.get("models") or ()
    found: set[str] = set()
    for entry in entries if isinstance(entries, list) else ():
        name = (entry.get("id") or entry.get("name")) if isinstance(entry, dict) else entry
        if isinstance(name, str):
            found.add(name.removeprefix("models/"))
    return found


async def _get(
    upstream: Upstream, path: str, account: Account, query: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    where = f"{path}?{urlencode(query)}" if query else path
    reply = await upstream.send(Call(where, {}, method="GET"), account, _PATIENCE)
    return reply.status, reply.headers, await reply.read(_MOST_BYTES)
