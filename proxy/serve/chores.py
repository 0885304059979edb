"""Who answers what a chat UI asks around a conversation: not a model that would sell a picture for it."""

from __future__ import annotations

from typing import Any

from proxy.fronts.base import Front, Parsed
from proxy.routing.routes import Route, Routes
from proxy.serve.speakers import speaker_of
from proxy.types import Request
from proxy.types.values import dataclass


@dataclass(frozen=True, slots=True)
class Handed:
    """A chore that another model answers: what it is called, where it goes, and what is sent there."""

    name: str
    route: Route
    parsed: Parsed[Any, Any]


def handed(routes: Routes, route: Route, front: Front, parsed: Parsed[Any, Any]) -> Handed | None:
    """None where the request is no chore, or its own model shall answer it. Raises as `Routes.for_chores`."""
    if (chore := front.chore(parsed)) is None:
        return None
    if not _draws(route, parsed.request):
        return None
    other = routes.for_chores(route)
    return None if other is route else Handed(chore.name, other, chore.parsed)


def _draws(route: Route, request: Request) -> bool:
    return any(speaker_of(one, request).by_piece() for one in (*route.targets, *route.fallback))
