"""Which profiles there are and which surfaces they have: the shipped files, and `profiles:` of the file.

What is inside a profile is checked by `CHECKS`; here only its names matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from proxy.config import document
from proxy.config.problems import Report

SHIPPED = FilePath(__file__).parent.parent / "profiles"


@dataclass(frozen=True, slots=True)
class Profile:
    """`options` are the names of the options it declares; `base_url` its own, if any."""

    name: str
    surfaces: tuple[str, ...]
    options: tuple[str, ...] = ()
    base_url: str | None = None


class Profiles(Mapping[str, Profile]):
    """Profiles by name. A profile of the file stands before a shipped one; files are read when asked for."""

    def __init__(self, own: Mapping[str, Any]) -> None:
        self._own = own
        self._found: dict[str, Profile | None] = {}

    def __getitem__(self, name: str) -> Profile:
        if name not in self._found:
            self._found[name] = self._find(name)
        profile = self._found[name]
        if profile is None:
            raise KeyError(name)
        return profile

    def __iter__(self) -> Any:
        names = {*self._own, *(file.stem for file in SHIPPED.glob("*.yaml"))}
        return (name for name in sorted(names) if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _find(self, name: str) -> Profile | None:
        if name in self._own:
            return _outline(name, self._own[name])
        file = SHIPPED / f"{name}.yaml"
        if "/" in name or not file.is_file():
            return None
        return _outline(name, document.read(file.read_text(encoding="utf-8"), Report(file.name)).value)


def _outline(name: str, value: Any) -> Profile | None:
    """None for a file without surfaces: tables of models lie in the same folder."""
    if not isinstance(value, dict) or not isinstance(value.get("surfaces"), dict):
        return None
    surfaces = value["surfaces"]
    holders = [value, *(surface for surface in surfaces.values() if isinstance(surface, dict))]
    options = {option: None for holder in holders for option in holder.get("options") or {}}
    base_url = value.get("base_url")
    return Profile(
        name, tuple(surfaces), tuple(options), base_url if isinstance(base_url, str) and base_url else None
    )
