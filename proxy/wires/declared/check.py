"""The compiler's checks of a profile: everything that is wrong with it, each at its own place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from proxy.checking import addresses
from proxy.checking.mistakes import Mistake
from proxy.wires.declared import problems as read
from proxy.wires.declared import sections
from proxy.wires.declared.auth import read_auth
from proxy.wires.declared.problems import Mapped, Problems, Where, shown
from proxy.wires.declared.profile import Lookup, Surface, effective, read_options
from proxy.wires.declared.sections import KEYS
from proxy.wires.declared.variants import Data, compile_chat, compile_surface, read_section


def check_profile(name: str, data: Any, lookup: Lookup = lambda name: None) -> list[Mistake]:
    """Everything that is wrong with the profile `name`, as its file has it; inherited parts excepted."""
    problems = Problems()
    top = Mapped(data, (), KEYS["profile"], problems)
    top.take("name", read.text, "")
    top.take("base_url", _read_base_url, "")
    if top.data.get("name", name) != name:
        problems.add("E103", ("name",), f"the profile calls itself {top.data['name']!r} but is {name!r}")
    sound = _check_extends(top, name, lookup, problems)
    read_auth(top.data.get("auth", {}), ("auth",), problems)
    read_section(top.data, (), "errors", problems, sections.read_errors)
    read_section(top.data, (), "billing", problems, sections.read_billing)
    whole = effective(top.data, lookup if sound else lambda name: None)
    options = read_options(_or_empty(whole.get("options")), ("options",), problems)
    surfaces = whole.get("surfaces")
    if not isinstance(surfaces, Mapping) or not surfaces:
        problems.add("E106", (), 'the profile has no "surfaces"')
        return problems
    for surface, merged in surfaces.items():
        if isinstance(merged, Mapping):
            own = _or_empty((top.data.get("surfaces") or {}).get(surface))
            _check_surface(own, merged, ("surfaces", surface), problems, options)
        else:
            problems.add(
                "E103", ("surfaces", surface), f"{shown(('surfaces', surface))} must be a mapping of keys"
            )
    return list(dict.fromkeys(problems))


def _check_extends(top: Mapped, name: str, lookup: Lookup, problems: Problems) -> bool:
    """Whether what it extends is in order. What is wrong with a parent is told where that is checked."""
    if "extends" not in top:
        return True
    seen, parent_name = [name], str(top.data["extends"])
    while parent_name not in seen:
        seen.append(parent_name)
        parent = lookup(parent_name)
        if not isinstance(parent, Mapping):
            problems.add("E115", ("extends",), f'there is no profile "{parent_name}"')
            return False
        if "extends" not in parent:
            return not check_profile(seen[1], lookup(seen[1]), lookup)
        parent_name = str(parent["extends"])
    problems.add("E112", ("extends",), f"profiles extend each other: {' -> '.join([*seen, parent_name])}")
    return False


def _check_surface(
    own: Data, whole: Data, where: Where, problems: Problems, options: Mapping[str, Any]
) -> None:
    """Each layer for itself, where its lines are; then what only the layers together can have wrong."""
    is_chat = "speaks" in whole
    for layer, path in _own_layers(own, where, problems):
        if is_chat:
            compile_chat(layer, path, problems, partial=True)
        else:
            compile_surface(layer, path, problems, options, partial=True)
    if problems:
        return
    if is_chat:
        compile_chat(whole, where, problems)
        return
    surface = Surface("", str(where[-1]), whole, options)
    patterns = tuple(whole.get("models") or {})
    for layers in ((), *((pattern,) for pattern in patterns)):
        for with_references in (False, True):
            compile_surface(surface.merged(layers, with_references), where, problems, options)


def _own_layers(own: Data, where: Where, problems: Problems) -> Iterator[tuple[Data, Where]]:
    yield {key: value for key, value in own.items() if key not in ("models", "with_references")}, where
    overlays: list[tuple[Any, Where]] = [(_or_empty(own.get("with_references")), (*where, "with_references"))]
    models = _or_empty(own.get("models"))
    if isinstance(models, Mapping):
        for pattern, overlay in models.items():
            path = (*where, "models", pattern)
            overlays.append((overlay, path))
            if isinstance(overlay, Mapping) and overlay.get("with_references"):
                overlays.append((overlay["with_references"], (*path, "with_references")))
    else:
        problems.add("E103", (*where, "models"), f"{shown((*where, 'models'))} must be a mapping of patterns")
    for overlay, path in overlays:
        if isinstance(overlay, Mapping):
            yield {key: value for key, value in overlay.items() if key != "with_references"}, path
        else:
            problems.add("E103", path, f"{shown(path)} must be a mapping of sections")


def _read_base_url(value: Any, where: Where, problems: Problems) -> str:
    address = value if isinstance(value, str) else ""
    if cure := addresses.cure_of(address):
        problems.add("E103", where, f"{shown(where)} {addresses.WANTED}", cure)
    return address


def _or_empty(value: Any) -> Any:
    return {} if value is None else value
