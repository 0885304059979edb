"""`dragoman keys`: client keys in the store, made and ended beside a running server."""

from __future__ import annotations

import re
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from proxy.checking.mistakes import did_you_mean
from proxy.checking.name_patterns import is_pattern
from proxy.checking.tables import table
from proxy.command import opening
from proxy.command.opening import say
from proxy.config import Config
from proxy.config.models import NewKey, Rotation
from proxy.config.requests import read
from proxy.errors import ProxyError, RequestError
from proxy.routing.routes import Routes
from proxy.store import client_keys
from proxy.store.database import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")

_PAGE = 1000
_COLUMNS = ("name", "id", "state", "key", "models", "limits", "budget", "expires")

_BUDGET = re.compile(r"(?P<amount>[0-9.]+) ?(?P<currency>[^\s0-9./][^\s/]*)/(?P<period>[a-z]+)\Z")


@dataclass(frozen=True, slots=True)
class Keys:
    """The store that a file names. A command returns its exit code, or raises what `run` makes one of."""

    config: Config
    database: Database
    as_json: bool

    def create(self, name: str, asked: Mapping[str, Any]) -> int:
        new = read(NewKey, {"name": name, **asked})
        row, secret = self._do(
            partial(client_keys.create, new=new, taken=self.config.taken_names(), now=time.time())
        )
        code = self._tell_secret(row, secret, "is made")
        for stranger in _strangers(new.models, self.config):
            say(f"warning: no model is called {stranger!r}; {did_you_mean(stranger, self.config.models)}")
        return code

    def show(self, *, ended: bool) -> int:
        """`ended`: also keys that are revoked or expired."""
        rows = self._all(ended=ended)
        if self.as_json:
            print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        else:
            print(table(_COLUMNS, [_cells(row) for row in rows]))
        return 0

    def revoke(self, named: str) -> int:
        def work(connection: Connection) -> Any:
            identity = self._identity(connection, named)
            return client_keys.revoke(connection, identity, time.time())

        shown = client_keys.shown(self._do(work), time.time())
        if self.as_json:
            print(orjson.dumps(shown).decode())
        say(f"the key {shown['name']!r} ({shown['id']}) is revoked")
        return 0

    def rotate(self, named: str, keep: str | None) -> int:
        keep_s = read(Rotation, {} if keep is None else {"keep": keep}).keep

        def work(connection: Connection) -> Any:
            identity = self._identity(connection, named)
            return client_keys.rotate(connection, identity, keep_s, time.time())

        still = f"; the old one works for {keep} yet" if keep_s else "; the old one has ended"
        row, secret = self._do(work)
        return self._tell_secret(row, secret, f"has a new secret{still}")

    def _identity(self, connection: Connection, named: str) -> str:
        try:
            return client_keys.identity_of(connection, named)
        except RequestError:
            if named not in {key.name for key in self.config.keys}:
                raise
            raise RequestError(f"The key {named!r} stands in the file, under `keys`: end it there.") from None

    def _tell_secret(self, row: Any, secret: str, done: str) -> int:
        """The secret alone goes to stdout, so that a script may take it from there."""
        shown = client_keys.shown(row, time.time())
        print(orjson.dumps({**shown, "key": secret}).decode() if self.as_json else secret)
        say(f"the key {shown['name']!r} ({shown['id']}) {done}. It is shown this once: keep it.")
        return 0

    def _all(self, *, ended: bool) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after: str | None = None
        while rows := self._do(partial(client_keys.page, after=after, most=_PAGE)):
            after = rows[-1]["id"]
            found += (client_keys.shown(row, time.time()) for row in rows)
        taken = self.config.taken_names()
        for row in found:
            if row["state"] == "active" and row["name"] in taken:
                row["state"] = "off: the file has a key of this name"
        return [row for row in found if ended or row["state"] not in ("revoked", "expired")]

    def _do(self, work: Callable[[Connection], T]) -> T:
        return self.database.do(work)


def _strangers(names: Sequence[str], config: Config) -> list[str]:
    """Those that no model answers to; a pattern or a target may wait for what is not there yet."""
    plain = [name for name in names if not is_pattern(name) and "/" not in name]
    routes = Routes.of(config, {}) if plain else None
    if routes is None or routes.catch_all:
        return []
    return [name for name in plain if name not in routes.by_name and routes.patterns.find(name) is None]


def asked(options: Namespace) -> dict[str, Any]:
    """What the options of `keys create` say, in the words of the file. Raises a 400."""
    said: dict[str, Any] = {}
    if options.models is not None:
        said["models"] = [name.strip() for name in options.models.split(",") if name.strip()]
    if options.image_output is not None:
        said["image_output"] = options.image_output
    if options.expires is not None:
        said["expires_in"] = options.expires
    if options.limit:
        said["limits"] = dict(map(_limit, options.limit))
    if options.budget is not None:
        said["budget"] = _budget(options.budget)
    return said


def _limit(said: str) -> tuple[str, str | int]:
    name, equals, value = said.partition("=")
    if not equals:
        raise RequestError(f"--limit {said}: write a name and a value, such as requests=600/min.")
    return name, int(value) if value.isdecimal() else value


def _budget(said: str) -> dict[str, str]:
    found = _BUDGET.match(said)
    if found is None:
        raise RequestError(
            f"--budget {said}: write an amount, its currency and a period, such as 20USD/month; "
            "periods are day, month and total."
        )
    return found.groupdict()


def run(file: Path | None, command: Callable[[Keys], int], *, as_json: bool) -> int:
    """Exit 1 for a wrong file or request, and for a store that cannot be used."""
    opened = opening.read(file)
    if opened is None:
        return 1
    config, _ = opened

    def work(database: Database) -> int:
        try:
            return command(Keys(config, database, as_json))
        except ProxyError as error:
            say(error.message)
            return 1

    return opening.in_store(config, "POST /admin/keys", work)


def _cells(row: Mapping[str, Any]) -> list[str]:
    expires = row["expires_at"]
    return [
        row["name"],
        row["id"],
        row["state"],
        f"{row['prefix']}...{row['last_four']}",
        ", ".join(row["models"]),
        ", ".join(f"{name} {value}" for name, value in row["limits"].items()) or "-",
        "-" if row["budget"] is None else "{amount} {currency}/{period}".format_map(row["budget"]),
        "-" if expires is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(expires)),
    ]
