"""`dragoman check`, `schema` and `models`: results to `out`, talk to `err`, an exit code back."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

from proxy.checking.tables import table
from proxy.config.loading import Loaded, find, load
from proxy.config.models import Config, ModelEntry
from proxy.config.schema import schema as _schema

# Warnings that fail a check all the same: a server may start with them, and would give something away.
_FAILING = frozenset({"W130"})
_ONLINE = ("provider", "address", "answers", "keys", "models")


class Answer(Protocol):
    """What was found out by asking a provider; `cells` are those of a table with the columns `_ONLINE`."""

    @property
    def is_well(self) -> bool: ...

    def json(self) -> dict[str, Any]: ...

    def cells(self) -> list[str]: ...


Ask = Callable[[Config, Mapping[str, str]], Sequence[Answer]]


def check(
    path: Path | str | None = None,
    *,
    as_json: bool = False,
    strict: bool = False,
    ask: Ask | None = None,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """All problems of a file in one run. 1 on errors and on pictures without a price, with `strict` on all
    warnings; notes never count.

    `ask` the vendors too, if it is given; 3 when one of them is not as the file says."""
    file = find(path)
    loaded = load(file)
    counts = Counter(problem.severity for problem in loaded.problems)
    failed = any(
        problem.severity == "error" or problem.code in _FAILING or (strict and problem.severity == "warning")
        for problem in loaded.problems
    )
    found: Sequence[Answer] = ()
    if ask is not None and loaded.config is not None:
        found = ask(loaded.config, loaded.off)
    code = 1 if failed else 3 if any(not one.is_well for one in found) else 0
    if as_json:
        result = {
            "file": str(file),
            "ok": not failed,
            "digest": loaded.digest,
            "off": loaded.off,
            "problems": [problem.json() for problem in loaded.problems],
            **({"online": [one.json() for one in found]} if ask is not None else {}),
        }
        _print(json.dumps(result, indent=2, ensure_ascii=False), out)
        return code
    for problem in loaded.problems:
        _print(problem.render(), out)
    if found:
        _print(table(_ONLINE, [one.cells() for one in found]), out)
    print(_summary(file, loaded, counts), file=err or sys.stderr)
    return code


def schema(*, out: TextIO | None = None) -> int:
    _print(json.dumps(_schema(), indent=2, ensure_ascii=False), out)
    return 0


def models(
    path: Path | str | None = None,
    *,
    as_json: bool = False,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """The models of a file: their other names, whether a provider is on for them, where they lead."""
    file = find(path)
    loaded = load(file)
    if loaded.config is None:
        for problem in loaded.problems:
            if problem.severity == "error":
                print(problem.render(), file=err or sys.stderr)
        return 1
    catching = _catching(loaded.config)
    rows = [_row(name, model, loaded, catching) for name, model in loaded.config.models.items()]
    if as_json:
        _print(json.dumps(rows, indent=2, ensure_ascii=False), out)
        return 0
    columns = ("model", "state", "aliases", "targets")
    _print(table(columns, [[_cell(row[column]) for column in columns] for row in rows]), out)
    for asked, name in catching.items():
        _print(f"any other name for {asked}: {name}", out)
    return 0


def _summary(file: Path, loaded: Loaded, counts: Counter[Any]) -> str:
    found = ", ".join(
        f"{counts[severity]} {severity}{'s' if counts[severity] != 1 else ''}"
        for severity in ("error", "warning")
        if counts[severity]
    )
    config: Config | None = loaded.config
    if config is None:
        return f"{file}: {found}"
    on = len(config.providers) - len(loaded.off)
    models = f"{len(config.models)} model{'s' if len(config.models) != 1 else ''}"
    size = f"{models}, {on} of {len(config.providers)} providers on"
    return f"{file}: {found or 'no problems'}; {size}"


def _catching(config: Config) -> dict[str, str]:
    """Who answers to names that nobody has, by what is asked."""
    chosen = {"chats": config.defaults.model, "pictures": config.defaults.image_model}
    return {asked: name for asked, name in chosen.items() if name is not None}


def _row(name: str, model: ModelEntry, loaded: Loaded, catching: dict[str, str]) -> dict[str, Any]:
    targets = [target.use for target in model.targets]
    fallback = [target.use for target in model.fallback]
    on = any(target.provider not in loaded.off for target in (*model.targets, *model.fallback))
    return {
        "model": name,
        "state": "on" if on else "off",
        "aliases": model.aliases,
        "catches": [asked for asked, chosen in catching.items() if chosen in (name, *model.aliases)],
        "targets": targets,
        "fallback": fallback,
        "description": model.description,
    }


def _cell(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _print(text: str, out: TextIO | None) -> None:
    print(text, file=out or sys.stdout)
