"""A profile: one vendor's dialects as data. What it inherits, and what its layers come to, is found here.

A surface is one family of endpoints: one that makes pictures (`Surface`), or a chat surface that another wire
speaks with small differences (`ChatSurface`). Models may differ from their surface (`models`, overlays by
pattern), and so may requests that bring pictures (`with_references`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from proxy.checking.mistakes import Mistake
from proxy.types import Carrier
from proxy.wires.declared.auth import read_auth
from proxy.wires.declared.problems import Mapped, Problems, Where, shown
from proxy.wires.declared.requests import BODIES
from proxy.wires.declared.variants import ChatVariant, Data, Variant, compile_chat, compile_surface

Lookup = Callable[[str], Data | None]


@dataclass(slots=True)
class _Layered:
    """Data with overlays: which apply to a model is decided once per set of them, not per model."""

    profile: str
    name: str
    data: Data
    options: Mapping[str, Any]
    _compiled: dict[Any, Any] = field(default_factory=dict)

    def layers(self, model: str) -> tuple[str, ...]:
        return tuple(pattern for pattern in self.data.get("models") or {} if fnmatchcase(model, pattern))

    def merged(self, layers: tuple[str, ...], with_references: bool) -> Data:
        data = self.data
        for pattern in layers:
            data = merge_surface(data, data["models"][pattern])
        if with_references and data.get("with_references"):
            data = merge_surface(data, data["with_references"])
        return data


class Surface(_Layered):
    """A surface that makes pictures. `speaks` is None: no other wire is involved."""

    speaks = None

    def variant(self, model: str, with_references: bool = False) -> Variant:
        key = (self.layers(model), with_references)
        if key not in self._compiled:
            problems = Problems()
            data = self.merged(*key)
            variant = compile_surface(data, ("surfaces", self.name), problems, self.options)
            if variant is None or problems:
                raise ProfileError(self.profile, problems)
            self._compiled[key] = variant
        found: Variant = self._compiled[key]
        return found


class ChatSurface(_Layered):
    """A surface that the wire named `speaks` talks to, at `path`, with the model in the body or not.

    `unwrap` names the keys under which the reply may lie instead of at the top. `streams` False: the vendor
    answers whole, whatever the client asked.
    """

    @property
    def speaks(self) -> str:
        return str(self.data["speaks"])

    @property
    def path(self) -> str | None:
        return self.data.get("path")

    @property
    def model_in_body(self) -> bool:
        return bool(self.data.get("model_in_body"))

    @property
    def streams(self) -> bool:
        return bool(self.data.get("streams", True))

    @property
    def unwrap(self) -> tuple[str, ...]:
        return tuple(self.data.get("unwrap") or ())

    def variant(self, model: str) -> ChatVariant:
        key = self.layers(model)
        if key not in self._compiled:
            problems = Problems()
            variant = compile_chat(self.merged(key, False), ("surfaces", self.name), problems)
            if problems:
                raise ProfileError(self.profile, problems)
            self._compiled[key] = variant
        found: ChatVariant = self._compiled[key]
        return found


@dataclass(frozen=True, slots=True)
class Profile:
    """`options` are the declared options with their defaults."""

    name: str
    base_url: str | None
    carrier: Carrier
    options: Mapping[str, Any]
    surfaces: Mapping[str, Surface | ChatSurface]

    def surface(self, name: str | None = None) -> Surface | ChatSurface:
        """By name; without one the only surface. Raises `KeyError`."""
        if name is None and len(self.surfaces) == 1:
            return next(iter(self.surfaces.values()))
        return self.surfaces[name or ""]


class ProfileError(ValueError):
    """A profile that cannot be used; `check` says it with line and column."""

    def __init__(self, name: str, problems: list[Mistake]) -> None:
        sentences = "; ".join(f"{shown(one.path)}: {one.code} {one.message}" for one in problems)
        super().__init__(f"profile {name}: {sentences}")
        self.problems = problems


# --- merging ---------------------------------------------------------------------------------------


def merge_surface(base: Data, over: Data) -> Data:
    """Sections merge key by key; the value of a key is replaced whole, and null takes it away."""
    merged = dict(base)
    for key, value in over.items():
        under = merged.get(key)
        if not isinstance(value, Mapping) or not isinstance(under, Mapping):
            merged[key] = value
        elif key == "with_references":
            merged[key] = merge_surface(under, value)
        else:
            replaced = BODIES.keys() if BODIES.keys() & value.keys() else ()  # a request has one body
            merged[key] = {**{name: one for name, one in under.items() if name not in replaced}, **value}
    return merged


def effective(data: Data, lookup: Lookup) -> Data:
    """A profile with what it `extends` filled in, and its shared sections in each surface."""
    data = _extended(data, lookup, ())
    shared = {key: data[key] for key in ("errors", "billing") if data.get(key)}
    surfaces = data.get("surfaces")
    if isinstance(surfaces, Mapping):
        merged = {
            name: merge_surface(shared, surface) if isinstance(surface, Mapping) else surface
            for name, surface in surfaces.items()
        }
        data = {**data, "surfaces": merged}
    return {key: value for key, value in data.items() if key not in shared}


def _extended(data: Data, lookup: Lookup, seen: tuple[str, ...]) -> Data:
    parent_name = data.get("extends")
    parent = lookup(parent_name) if isinstance(parent_name, str) and parent_name not in seen else None
    if not isinstance(parent, Mapping):
        return data
    base = _extended(parent, lookup, (*seen, str(parent_name)))
    merged = merge_surface(base, {key: value for key, value in data.items() if key != "extends"})
    ours, theirs = data.get("surfaces"), base.get("surfaces")
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        both = {
            name: merge_surface(theirs[name], ours[name])
            for name in ours
            if isinstance(theirs.get(name), Mapping) and isinstance(ours[name], Mapping)
        }
        merged = {**merged, "surfaces": {**theirs, **ours, **both}}
    return {key: value for key, value in merged.items() if key != "extends"}


# --- loading -----------------------------------------------------------------------------------


def load_profile(name: str, data: Data, lookup: Lookup = lambda name: None) -> Profile:
    """Compile a profile that `check_profile` has nothing against. Raises `ProfileError`."""
    whole = effective(data, lookup)
    problems = Problems()
    options = read_options({} if whole.get("options") is None else whole["options"], ("options",), problems)
    surfaces = whole.get("surfaces") or {}
    if problems or not surfaces or not all(isinstance(body, Mapping) for body in surfaces.values()):
        raise ProfileError(name, problems or [Mistake("E106", (), 'the profile has no "surfaces"')])
    return Profile(
        name=name,
        base_url=whole.get("base_url"),
        carrier=read_auth(whole.get("auth") or {}, ("auth",), problems),
        options=options,
        surfaces={
            surface: (ChatSurface if "speaks" in body else Surface)(name, surface, body, options)
            for surface, body in surfaces.items()
        },
    )


def read_options(value: Any, where: Where, problems: Problems) -> Mapping[str, Any]:
    """Declared options with their defaults: the first of a list of allowed values, or the value itself."""
    declared = Mapped(value, where, list(value) if isinstance(value, Mapping) else (), problems).data
    return {
        name: (given[0] if isinstance(given, list) and given else given) for name, given in declared.items()
    }
