"""Which endpoint an address means: Starlette's routes, other spellings, and what is said to strangers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match, Route, Router
from starlette.types import ASGIApp, Lifespan

from proxy.config.models import Cors
from proxy.errors import RequestError
from proxy.fronts.dialects import Dialect
from proxy.serve.endpoint import PREFIXES, Endpoint, Home, Row
from proxy.serve.exchange import Exchange, Receive, Scope, Send
from proxy.serve.house import House
from proxy.serve.metrics import OTHER

_NEARLY = 0.65  # alike; films are no files
_GUESS_UP_TO = 100  # characters of an unknown path: guessing costs the square of them


class _Route(Route):
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """No match are an empty parameter and another method: all routes together tell which are right."""
        match, child = super().matches(scope)
        if match is Match.FULL and all(value.strip("/") for value in child["path_params"].values()):
            return match, child
        return Match.NONE, {}


class Paths(Router):
    """The routes of a table of rows, each with and without prefix. Paths without parameters are looked up, so
    that a chat pays for no pattern; the others are tried in the order of the table. A stranger is refused in
    whichever of the dialects it speaks."""

    def __init__(
        self, rows: Sequence[Row], home: Home, lifespan: Lifespan[Any], dialects: Sequence[Dialect]
    ) -> None:
        routes = [
            _route(row, prefix, Endpoint(row, home, dialects)) for row in rows for prefix in row.prefixes
        ]
        patterns = [route for route in routes if route.param_convertors]
        super().__init__(patterns, redirect_slashes=False, default=self._elsewhere, lifespan=lifespan)
        self._all = routes
        self._prefix = _any_of({prefix for row in rows for prefix in row.prefixes})
        self._stranger = Endpoint(Row("", OTHER, self._refuse, "nothing", front=None), home, dialects)
        self._exact: dict[tuple[str, str], Endpoint] = {
            (method, route.path): route.app
            for route in routes
            if not route.param_convertors and isinstance(route.app, Endpoint)
            for method in route.methods or ()
        }

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        if scope["type"] == "http":
            endpoint = self._exact.get((scope["method"], scope["path"]))
            if endpoint is not None:
                return endpoint(scope, receive, send)
        return super().__call__(scope, receive, send)

    async def _elsewhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        for path in self._plain(scope["path"]):
            plain = {**scope, "path": path}
            for route in self._all:
                match, child = route.matches(plain)
                if match is Match.FULL:
                    scope.update(child)
                    await route.app(scope, receive, send)
                    return
        await self._stranger(scope, receive, send)

    async def _refuse(self, exchange: Exchange, house: House) -> None:
        """Raises a 405 that tells the method, or a 404 that tells a near address."""
        method, shown = exchange.scope["method"], exchange.scope["path"][:200]
        path = self._plain(exchange.scope["path"])[-1]
        methods = {
            name for route in self._all if route.path_regex.match(path) for name in route.methods or ()
        }
        methods.discard(method)  # it fits but for an empty name
        if methods:
            allowed = sorted(methods - {"HEAD"})
            raise RequestError(
                f"{method} is not possible at {shown}; use {' or '.join(allowed)}.",
                status=405,
                code="method_not_allowed",
                headers={"allow": ", ".join(allowed)},
            )
        near = _near(path, (route.path for route in self._all if method in (route.methods or ())))
        hint = f" Did you mean {near}?" if near else " See the list at /."
        raise RequestError(f"There is no {method} {shown} here.{hint}", status=404, code="unknown_url")

    def _plain(self, path: str) -> tuple[str, ...]:
        """The path with single slashes and none at its end; of its prefixes the last one alone, and in place
        of those that most rows have also the one that we speak of."""
        path = "/" + "/".join(filter(None, path.split("/")))
        found = self._prefix.match(path)
        if found is None:
            return (path,)
        rest = path[found.end() :]
        plain = f"/{found[1]}{rest}"
        return (plain, f"{PREFIXES[0]}{rest}") if f"/{found[1]}" in PREFIXES else (plain,)


def for_pages(app: ASGIApp, cors: Cors) -> CORSMiddleware | None:
    """What lets the pages call that the file names, None when it names none."""
    if not cors.origins:
        return None
    return CORSMiddleware(
        app,
        allow_origins=cors.origins,
        allow_methods=("GET", "POST", "DELETE"),
        allow_headers=cors.headers,
        expose_headers=("x-request-id", "*"),  # the star: x-proxy-dropped and all others
    )


def _route(row: Row, prefix: str, endpoint: Endpoint) -> _Route:
    path = (prefix + row.path).removesuffix("/") or "/"
    return _Route(path, endpoint, methods=[row.method])


def _any_of(prefixes: Iterable[str]) -> re.Pattern[str]:
    """As many of their steps as stand at the head of a path; the group is the last."""
    steps = sorted({step for prefix in prefixes for step in prefix.split("/") if step}, reverse=True)
    return re.compile(rf"(?:/({'|'.join(map(re.escape, steps))})(?=/|\Z))+")


def _near(path: str, known: Iterable[str]) -> str | None:
    """An address that is spelled nearly so. What all of them begin with makes none alike."""
    if len(path) > _GUESS_UP_TO:
        return None
    usual = PREFIXES[0]
    rests = {
        address.removeprefix(usual): address
        for address in known
        if address.startswith(usual) and "{" not in address
    }
    rest = path.lower().removeprefix(usual)
    # A client appends its own path to a base URL that has it already.
    doubled = max((known for known in rests if rest.endswith(known)), key=len, default="")
    found = [doubled] if doubled else difflib.get_close_matches(rest, rests, n=1, cutoff=_NEARLY)
    return rests[found[0]] if found else None
