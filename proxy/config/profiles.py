"""Which profiles there are and which surfaces they have: the shipped files, and `profiles:` of the file.

Only names are read here. `problems_inside` is the one place where the checks of a profile's inside join.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from proxy.checking.mistakes import Path
from proxy.config import document, options
from proxy.config.problems import Report

SHIPPED = FilePath(__file__).parent.parent / "profiles"


@dataclass(frozen=True, slots=True)
class ProfileOutline:
    """`options` are those it declares, with the values they may have; `base_url` is its own, if any.
    `drawing` are the surfaces that make pictures and do not chat. `in_parts`: its keys are `id:secret`."""

    name: str
    surfaces: tuple[str, ...]
    options: Mapping[str, options.Values]
    base_url: str | None = None
    drawing: frozenset[str] = frozenset()
    in_parts: bool = False


class Profiles(Mapping[str, ProfileOutline]):
    """Profiles by name. One of the file stands before a shipped one; files are read when asked for."""

    def __init__(self, own: Mapping[str, Any]) -> None:
        self._own = own
        self._shipped: dict[str, Any] = {}

    def data(self, name: str) -> Any:
        """A profile as its file has it, None if there is none."""
        if name in self._own:
            return self._own[name]
        if name not in self._shipped:
            file = SHIPPED / f"{name}.yaml"
            found = file.is_file() and file.parent == SHIPPED
            self._shipped[name] = _read(file) if found else None
        return self._shipped[name]

    def __getitem__(self, name: str) -> ProfileOutline:
        surfaces: dict[str, None] = {}
        declared: dict[str, options.Values] = {}
        base_url = None
        auth: Mapping[str, Any] = {}
        speaking: set[str] = set()
        for layer in self._layers(name):
            surfaces |= dict.fromkeys(_mapping(layer.get("surfaces")))
            declared = {
                option: _values(given) for option, given in _mapping(layer.get("options")).items()
            } | declared
            for surface, section in _mapping(layer.get("surfaces")).items():
                if (spoken := _mapping(section).get("speaks")) is not None:
                    speaking.add(surface)
                    declared |= options.BY_WIRE.get(str(spoken), {})
            base_url = base_url or layer.get("base_url")
            auth = auth or _mapping(layer.get("auth"))
        if not surfaces:  # there is none of this name, or it is a table of models
            raise KeyError(name)
        own_url = base_url if isinstance(base_url, str) else None
        drawing = frozenset(surfaces) - speaking
        return ProfileOutline(name, tuple(surfaces), declared, own_url, drawing, _in_parts(auth))

    def __iter__(self) -> Iterator[str]:
        names = {*self._own, *(file.stem for file in SHIPPED.glob("*.yaml"))}
        return (name for name in sorted(names) if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _layers(self, name: str) -> Iterator[Mapping[str, Any]]:
        """The profile, then what it extends, and what that extends."""
        seen = set()
        while isinstance(name, str) and name not in seen and isinstance(layer := self.data(name), Mapping):
            seen.add(name)
            yield layer
            name = layer.get("extends", "")


def problems_inside(name: str, profiles: Profiles) -> Sequence[tuple[str, Path, str, str]]:
    """What is wrong inside a profile: (code, path from its top, message, hint)."""
    # Imported late: most files have no profiles of their own, and `check` shall stay quick.
    from proxy.wires.declared.check import check_profile
    from proxy.wires.declared.doubts import doubts

    data = profiles.data(name)
    return check_profile(name, data, profiles.data) or doubts(data)


def _read(file: FilePath) -> Any:
    return document.read(file.read_text(encoding="utf-8"), Report(file.name)).value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _in_parts(auth: Mapping[str, Any]) -> bool:
    token = _mapping(auth.get("token"))
    texts = [str(text) for part in ("query", "form", "body") for text in _mapping(token.get(part)).values()]
    return "jwt" in auth or "signature" in auth or any("{secret}" in text for text in texts)


def _values(given: Any) -> options.Values:
    """A declared option is a list of allowed words, or its default."""
    if isinstance(given, list):
        return tuple(given)
    return type(given) if given is not None else object
