"""Careful reading of a tree that may be wrong anywhere, and what the checks share while they read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.checking.mistakes import Path
from proxy.config import options
from proxy.config.models import Config
from proxy.config.problems import Report
from proxy.config.profiles import Profiles
from proxy.config.secrets import Fault


@dataclass(frozen=True, slots=True)
class Checked:
    """A file under check: `written` as it stands there, `tree` with references resolved, `config` what is
    right of it. Positions are looked up in the tree: the configuration may lack items of a list."""

    written: Mapping[str, Any]
    tree: Mapping[str, Any]
    config: Config
    faults: list[Fault]
    profiles: Profiles
    report: Report

    @property
    def providers(self) -> Mapping[str, Any]:
        return mapping(self.tree.get("providers"))

    @property
    def models(self) -> Mapping[str, Any]:
        return mapping(self.tree.get("models"))

    def known_options(self, provider: str) -> dict[str, options.Values] | None:
        """None where they cannot be known, because the provider has errors of its own."""
        entry = self.config.providers.get(provider)
        if entry is None:
            return None
        if entry.profile is not None:
            profile = self.profiles.get(entry.profile)
            return dict(profile.options) if profile else None
        return dict(options.BY_WIRE[entry.wire]) if entry.wire else None


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def blanks(value: Any, path: Path = ()) -> Iterator[Path]:
    """Keys and items with nothing behind them. In profiles and in options that means something."""
    for name, inner in mapping(value).items():
        if inner is None:
            yield (*path, name)
        elif name not in ("profiles", "options"):
            yield from blanks(inner, (*path, name))
    for index, inner in enumerate(items(value)):
        if inner is None:
            yield (*path, index)
        else:
            yield from blanks(inner, (*path, index))


def at(value: Any, path: Path) -> Any:
    """What a path leads to, None if nothing."""
    for step in path:
        if isinstance(step, int):
            value = items(value)[step] if step < len(items(value)) else None
        else:
            value = mapping(value).get(step)
    return value
