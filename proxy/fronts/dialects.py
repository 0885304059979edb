"""Whose words a client reads where no front stands: at addresses that are nobody's, and at those that the
dialects share, such as the list of models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from proxy.fronts.base import Refusing
from proxy.types import Abilities


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model as clients see it; `extra` adds to a dialect's own members and never replaces them. `created`
    is in seconds, 0 where nobody knows."""

    id: str
    owned_by: str
    created: int = 0
    abilities: Abilities = field(default_factory=Abilities)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListedFile:
    """What a client has uploaded. `size` is in bytes, `created` and `expires` in seconds."""

    id: str
    filename: str
    mime: str
    purpose: str
    size: int
    created: int
    expires: int


class ModelsReply(Protocol):
    """The list of models and the single one, as a dialect tells them."""

    def listed(self, models: Sequence[ListedModel], query: Mapping[str, str]) -> bytes:
        """`query` is what the client wrote behind the address. Raises `RequestError` for a page that is
        none."""
        ...

    def single(self, model: ListedModel) -> bytes: ...


class FilesReply(Protocol):
    """What clients have uploaded, as a dialect tells it. `PURPOSE` is what an upload is for in a dialect that
    does not say."""

    PURPOSE: str | None

    def listed(self, files: Sequence[ListedFile], query: Mapping[str, str]) -> bytes:
        """`files` are the newest first. Raises `RequestError` for a page that is none."""
        ...

    def single(self, file: ListedFile) -> bytes: ...

    def deleted(self, id: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a dialect is told apart: `paths` fits the addresses that it alone has, behind any prefix; `headers`
    and `queries` are names of what only its clients send, where the address is shared."""

    refusing: Refusing
    models: ModelsReply
    files: FilesReply
    paths: re.Pattern[str]
    headers: tuple[bytes, ...] = ()
    queries: tuple[str, ...] = ()


def stamp(seconds: int) -> str:
    """A time as several dialects write it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def spoken(
    dialects: Sequence[Dialect], path: str, headers: Mapping[bytes, bytes], query: Mapping[str, str]
) -> Dialect:
    """The dialect of a request: by its address, else by what came with it, else the last one."""
    for one in dialects:
        if one.paths.match(path):
            return one
    for one in dialects:
        if not headers.keys().isdisjoint(one.headers) or not query.keys().isdisjoint(one.queries):
            return one
    return dialects[-1]


def below(*names: str) -> re.Pattern[str]:
    """Fits addresses whose first step behind the prefix is one of these."""
    return re.compile(rf"(?:/+(?:openai|v1))*/+(?:{'|'.join(map(re.escape, names))})(?:/|\Z)")
