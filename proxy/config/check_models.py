"""Checks of where models lead: names claimed once, targets that exist, weights, loops, patience."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from proxy.checking.mistakes import Path, did_you_mean, shown
from proxy.checking.model_names import draws, only_chats
from proxy.checking.name_patterns import NamePattern, is_pattern
from proxy.config import check_prices
from proxy.config.check_accounts import check_options
from proxy.config.models import MOST_ATTEMPTS, Config, ModelEntry, TargetEntry
from proxy.config.profiles import ProfileOutline, Profiles
from proxy.config.tree import Checked, at, items, mapping
from proxy.errors import RequestError
from proxy.fronts.openai.defaults import compiled

# What a wire is asked in besides chats: OpenAI's Images API. Without a surface each model has its place.
_WIRE_SURFACES = {"openai": ("image",)}

# Of `defaults`: models, or targets.
ANSWERING = (
    "chores",
    "model",
    "image_model",
    "embedding_model",
    "speech_model",
    "transcript_model",
    "moderation_model",
)

_NAME_BREAKERS = set("@ \t")
_EXPRESSION = re.compile(r"^[/^]|\.\*|[$\\]$|\\[dw.]")


def check(file: Checked) -> None:
    _names(file)
    names = _by_name(file)
    for name, model in file.models.items():
        for part in ("targets", "fallback"):
            for path, use in _uses(mapping(model).get(part), ("models", name, part)):
                if part == "targets" or use not in names:
                    _target(path, use, names, file)
        if name in file.config.models:
            _model(name, file.config.models[name], file)
        _answering(("models", name, "chores"), names, file)
    _allowed(names, file)
    for key in ANSWERING:
        _answering(("defaults", key), names, file)
    _drawing(("defaults", "image_model"), names, file)
    if not _loops(names, file):
        for name, model in file.config.models.items():
            _reach(name, model, names, file)


def _allowed(names: dict[str, str], file: Checked) -> None:
    """What a key may ask for and nothing answers to, in a file with models and no default for the rest."""
    defaults = mapping(file.tree.get("defaults"))
    if not names or any(defaults.get(name) for name in ANSWERING if name != "chores"):
        return
    aliases = [alias for model in file.models.values() for alias in items(mapping(model).get("aliases"))]
    patterns = [NamePattern.of(alias) for alias in aliases if isinstance(alias, str) and is_pattern(alias)]
    for index, key in enumerate(file.config.keys):
        for place, name in enumerate(key.models):
            plain = not is_pattern(name) and "/" not in name
            if plain and name not in names and not any(pattern.fits(name) for pattern in patterns):
                message = f'key "{key.name}" may ask for "{name}", and there is no such model'
                path: Path = ("keys", index, "models", place)
                file.report.add("W153", path, message, did_you_mean(name, names))


def _names(file: Checked) -> None:
    """A name is a model's or one model's alias, never both and never twice. So is a pattern, which may fit
    names that others fit or are: `PatternTable` decides between them."""
    claims: dict[str, tuple[str, Path]] = {}
    for name, model in file.models.items():
        _spelling(name, ("models", name), file)
        if is_pattern(name):
            hint = f"give the model a name of its own, and write aliases: [{_quoted(name)}]"
            message = f'"{name}" is a pattern, and only aliases may be patterns'
            file.report.add("E103", ("models", name), message, hint, at_key=True)
        for index, alias in enumerate(items(mapping(model).get("aliases"))):
            path: Path = ("models", name, "aliases", index)
            if not isinstance(alias, str):
                continue
            _spelling(alias, path, file)
            _wildcards(alias, path, file)
            alias = re.sub(r"\*+", "*", alias)
            if alias in file.models:
                line = file.report.line_of(("models", alias))
                message = f'alias "{alias}" of {name} is the name of a model (line {line})'
                file.report.add("E111", path, message)
            elif alias in claims:
                other, first = claims[alias]
                line = file.report.line_of(first)
                message = f'alias "{alias}" is claimed by {other} (line {line}) and by {name}'
                hint = ""
                if other == name:
                    message, hint = f'alias "{alias}" stands twice in {name}', "delete one of them"
                file.report.add("E111", path, message, hint)
            claims.setdefault(alias, (name, path))


def _spelling(name: str, path: Path, file: Checked) -> None:
    if not name or _NAME_BREAKERS & set(name):
        hint = "no spaces and no @: clients write name@parts to choose how pictures come"
        file.report.add("E103", path, f'"{name}" cannot be the name of a model', hint, at_key=True)


def _wildcards(alias: str, path: Path, file: Checked) -> None:
    if alias and not alias.strip("*"):
        hint = "write defaults.model for chats and defaults.image_model for pictures"
        file.report.add("E103", path, f'alias "{alias}" stands for every name', hint)
    elif "?" in alias:
        hint = f"write {_quoted(alias.replace('?', '*'))}; a star is any text"
        file.report.add("E103", path, f'alias "{alias}": no name has a ? in it', hint)
    elif _EXPRESSION.search(alias):
        plain = re.sub(r"\*+", "*", re.sub(r"[/^$\\]|\.(?=\*)", "", alias))
        message = f'alias "{alias}" reads like a regular expression; but for a star all stands for itself'
        file.report.add("W154", path, message, f"write {_quoted(plain)}; a star is any text")


def _quoted(pattern: str) -> str:
    """As YAML takes it: a star in front would be one of its own words."""
    return f'"{pattern}"' if pattern.startswith("*") else pattern


def _by_name(file: Checked) -> dict[str, str]:
    """Names, and aliases that are no patterns, each with the model it stands for."""
    names = {name: name for name in file.models}
    for name, model in file.models.items():
        for alias in items(mapping(model).get("aliases")):
            if isinstance(alias, str) and not is_pattern(alias):
                names.setdefault(alias, name)
    return names


def _uses(entries: Any, path: Path) -> Iterator[tuple[Path, str]]:
    for index, entry in enumerate(items(entries)):
        if isinstance(entry, str):
            yield (*path, index), entry
        elif isinstance(at(entry, ("use",)), str):
            yield (*path, index, "use"), entry["use"]


def _target(path: Path, use: str, names: dict[str, str], file: Checked) -> None:
    """A target that is written `provider[.surface]/upstream-model` and leads somewhere."""
    entry = TargetEntry(use=use or "?")
    if not entry.model or not entry.provider or entry.model.startswith("/"):
        hint = _respelled(use, file) or "a target is provider/upstream-model"
        if use in names:
            hint = f"{use} is a model; only a fallback may name one. " + hint
        elif "fallback" in path:
            hint += f", or in a fallback a model; {did_you_mean(use, names)}"
        file.report.add("E110", path, f'target "{use}" names no provider', hint)
    elif not isinstance(file.tree.get("providers", {}), dict):
        return  # that is the mistake, and it is told
    elif entry.provider not in file.providers:
        message = f'target "{use}": there is no provider "{entry.provider}"'
        hint = _respelled(use, file) or did_you_mean(entry.provider, file.providers)
        file.report.add("E110", path, message, hint)
    else:
        _surface(path, entry, file)


def _respelled(use: str, file: Checked) -> str:
    """A target with spaces, a slash too many, or a colon as other products write it, in our spelling."""
    provider, _, model = re.sub(r"\s", "", use).replace(":", "/", 0 if "/" in use else 1).partition("/")
    model = model.lstrip("/")
    return f"write {provider}/{model}" if model and provider in file.providers else ""


def _surface(path: Path, entry: TargetEntry, file: Checked) -> None:
    provider = file.config.providers.get(entry.provider)
    if provider is None or (provider.wire is None) == (provider.profile is None):
        return  # it has errors of its own
    profile = file.profiles.get(provider.profile) if provider.profile else None
    if provider.profile and profile is None:
        return
    if (wrong := _wrong_surface(entry, provider.wire, profile)) is not None:
        file.report.add("E110", path, *wrong)
    elif profile is not None:
        _kind(path, entry, profile, file)
    elif entry.surface is not None and only_chats(entry.model):
        _text_for_pictures(path, entry, entry.surface, f"write {entry.provider}/{entry.model}", file)


def _wrong_surface(
    entry: TargetEntry, wire: str | None, profile: ProfileOutline | None
) -> tuple[str, str] | None:
    """What is wrong with the surface that a target names or does not name, and the cure."""
    said = f'target "{entry.use}": provider "{entry.provider}"'
    if profile is None:
        return _wrong_surface_of_wire(entry, _WIRE_SURFACES.get(wire or "", ()), said)
    there = f"it has {', '.join(profile.surfaces)}"
    if entry.surface is None and len(profile.surfaces) > 1:
        hint = f"write {entry.provider}.{profile.surfaces[0]}/{entry.model}"
        return f"{said} has several surfaces; {there}", hint
    if entry.surface is not None and entry.surface not in profile.surfaces:
        hint = did_you_mean(entry.surface, profile.surfaces)
        return f'{said} has no surface "{entry.surface}"; {there}', hint
    return None


def _wrong_surface_of_wire(entry: TargetEntry, known: tuple[str, ...], said: str) -> tuple[str, str] | None:
    if entry.surface is None or entry.surface in known:
        return None
    hint = f"write {entry.provider}/{entry.model}"
    if not known:
        return f'{said} has no surfaces, so no "{entry.surface}"', hint
    hint += f", or {entry.provider}.{known[0]}/{entry.model} for pictures alone"
    return f'{said} has no surface "{entry.surface}"; it has {", ".join(known)}', hint


def missing_surface(use: str, config: Config) -> str | None:
    """Why a target that a client may name leads nowhere: its surface. None for other reasons."""
    entry = TargetEntry(use=use or "?")
    provider = config.providers.get(entry.provider)
    if provider is None or not entry.model:
        return None
    profile = Profiles(config.profiles).get(provider.profile) if provider.profile else None
    wrong = _wrong_surface(entry, provider.wire, profile)
    return None if wrong is None else f"{wrong[0]}; {wrong[1]}"


def _kind(path: Path, entry: TargetEntry, profile: ProfileOutline, file: Checked) -> None:
    """A model that is known to chat stands at a surface that chats, and one that draws at one that draws."""
    surface = entry.surface or profile.surfaces[0]
    if surface in profile.drawing:
        if only_chats(entry.model):
            others = [name for name in profile.surfaces if name not in profile.drawing]
            hint = _elsewhere(entry, others) or "choose a model that makes pictures"
            _text_for_pictures(path, entry, surface, hint, file)
    elif profile.drawing and draws(entry.model):
        hint = _elsewhere(entry, sorted(profile.drawing))
        message = f'target "{entry.use}": {entry.model} makes pictures, and {surface} is a surface for text'
        file.report.add("W151", path, message, hint)


def _text_for_pictures(path: Path, entry: TargetEntry, surface: str, hint: str, file: Checked) -> None:
    message = f'target "{entry.use}": {entry.model} makes text, and {surface} is a surface for pictures'
    file.report.add("W151", path, message, hint)


def _elsewhere(entry: TargetEntry, surfaces: list[str]) -> str:
    return f"write {entry.provider}.{surfaces[0]}/{entry.model}" if surfaces else ""


def _answering(path: Path, names: dict[str, str], file: Checked) -> None:
    """Who answers chores, or to names that nobody has, is a model of the file or a target."""
    use = at(file.tree, path)
    if not isinstance(use, str) or not use or use in names:
        return
    if "/" in use:
        _target(path, use, names, file)
    else:
        message = f'{shown(path)}: there is no model "{use}"'
        file.report.add("E110", path, message, did_you_mean(use, names))


def _drawing(path: Path, names: dict[str, str], file: Checked) -> None:
    """Who answers all picture requests can draw, as far as names tell."""
    use = at(file.tree, path)
    if not isinstance(use, str):
        return
    model = file.config.models.get(names.get(use, ""))
    targets = model.targets if model is not None else [TargetEntry(use=use or "?")]
    if targets and all(only_chats(entry.model) for entry in targets):
        message = f"{path[-1]}: {use} makes text, and this is for pictures"
        file.report.add("W151", path, message, "choose a model that makes pictures")


def _model(name: str, model: ModelEntry, file: Checked) -> None:
    path: Path = ("models", name)
    written = at(file.tree, path)
    whole = len(model.targets) == len(items(written["targets"]))
    if whole and model.pick == "weighted" and not sum(target.weight for target in model.targets):
        message = f"all weights are 0 in {name}; nothing could be chosen"
        file.report.add("E113", (*path, "targets"), message, at_key=True)
    known = [
        file.known_options(target.provider) for target in (*model.targets, *model.fallback) if target.model
    ]
    if known and None not in known:
        merged = {option: values for options in known if options for option, values in options.items()}
        check_options(model.options, merged, (*path, "options"), file)
    for index, entry in enumerate(model.fallback):
        provider = file.config.providers.get(entry.provider)
        if provider is not None and entry.model and provider.options.get("stream") == "only":
            message = f"fallback {entry.use} answers only as a stream; other callers wait for its end"
            file.report.add("W150", (*path, "fallback", index), message)
    _defaults(path, model, file)
    _patience(path, model, file)
    check_prices.check(name, file)


def _reach(name: str, model: ModelEntry, names: dict[str, str], file: Checked) -> None:
    """Every target can have its turn: a request has so many tries, over all its keys and targets."""
    written = at(file.tree, ("models", name))
    if any(len(items(written.get(part))) != len(getattr(model, part)) for part in ("targets", "fallback")):
        return  # what is wrong in a list is left out, so positions are others
    tries = file.config.defaults.retry.attempts
    weighted = model.pick == "weighted"
    turns: list[tuple[Path, str]] = [
        (("models", name, "targets", index), entry.use)
        for index, entry in enumerate(model.targets)
        if entry.weight or not weighted
    ]
    surely = max(tries, len(turns)) if weighted else tries  # any of those that are drawn may be the first
    for index, entry in enumerate(model.fallback):
        known = {use for _, use in turns}
        behind = dict.fromkeys(_behind(entry, names, file.config, {name}))
        turns += [(("models", name, "fallback", index), use) for use in behind if use not in known]
    if len(turns) > surely:
        place, use = turns[surely]
        count = len(turns)
        hint = f"write defaults.retry.attempts: {count}" if count <= MOST_ATTEMPTS else "name fewer targets"
        message = f"{name} has {count} targets and defaults.retry.attempts is {tries}: {use} is never tried"
        file.report.add("W152", place, message, hint)


def _behind(entry: TargetEntry, names: dict[str, str], config: Config, seen: set[str]) -> Iterator[str]:
    """The targets that an entry of a fallback stands for."""
    named = names.get(entry.use)
    if named is None:
        yield entry.use
    elif named not in seen and named in config.models:
        seen.add(named)
        yield from (target.use for target in config.models[named].targets)
        for following in config.models[named].fallback:
            yield from _behind(following, names, config, seen)


def _defaults(path: Path, model: ModelEntry, file: Checked) -> None:
    """A default is read as a client's own field would be."""
    for name, value in model.defaults:
        try:
            compiled({name: value})
        except RequestError as error:
            file.report.add("E103", (*path, "defaults", name), error.message)


def _patience(path: Path, model: ModelEntry, file: Checked) -> None:
    """A caller who waits for a task is cut off by `total`; the poll should have given up before."""
    give_up, every = model.poll.give_up, model.poll.every
    if give_up is not None and every is not None and every >= give_up:
        message = f"poll.every {every:g}s is not shorter than poll.give_up {give_up:g}s"
        hint = "write the pause between two questions, such as 3s"
        file.report.add("E124", (*path, "poll", "every"), message, hint)
    total = file.config.defaults.timeouts.changed(model.timeouts).total
    if give_up is None or give_up < total:
        return
    code = "E124" if give_up > total else "W124"
    compared = "exceeds" if give_up > total else "equals"
    message = f"poll.give_up {give_up:g}s {compared} timeouts.total {total:g}s for callers who wait"
    file.report.add(code, (*path, "poll", "give_up"), message, "raise timeouts.total of the model")


def _loops(names: dict[str, str], file: Checked) -> bool:
    """Fallbacks may name models, but not in a circle; each circle is reported once. True if there are any."""
    seen: set[frozenset[str]] = set()
    for start in file.models:
        trail = _loop_from(start, names, file)
        if trail and frozenset(trail) not in seen:
            seen.add(frozenset(trail))
            path, _ = next(pair for pair in _named(start, file) if names.get(pair[1]) == trail[1])
            hint = f"take {trail[1]} out of the fallback of {start}, or break the circle elsewhere"
            file.report.add("E112", path, f"fallback loop: {' -> '.join(trail)}", hint)
    return bool(seen)


def _named(name: str, file: Checked) -> list[tuple[Path, str]]:
    return list(_uses(at(file.models, (name, "fallback")), ("models", name, "fallback")))


def _loop_from(start: str, names: dict[str, str], file: Checked) -> list[str]:
    """A way from a model over fallbacks back to it, [] if there is none."""
    trails = [[start]]
    visited = set()
    while trails:
        trail = trails.pop()
        for _, use in _named(trail[-1], file):
            model = names.get(use)
            if model == start:
                return [*trail, start]
            if model is not None and model not in visited:
                visited.add(model)
                trails.append([*trail, model])
    return []


def _priced(model: ModelEntry, config: Config) -> list[TargetEntry]:
    """Its targets, each with what it costs there: in another model's fallback they cost the same."""
    if model.price is None:
        return model.targets
    currency = config.currency_of(model)
    prices = [price.model_copy(update={"currency": price.currency or currency}) for price in model.price]
    return [
        target if target.price is not None else target.model_copy(update={"price": prices})
        for target in model.targets
    ]


def expand_fallbacks(config: Config) -> Config:
    """Replace each model that a fallback names by that model's targets and what follows them.

    Only for a file without errors: a loop would not end.
    """
    names = {
        alias: model
        for name, model in config.models.items()
        for alias in (name, *model.aliases)
        if not is_pattern(alias)
    }

    def expanded(model: ModelEntry) -> list[TargetEntry]:
        found: list[TargetEntry] = []
        for entry in model.fallback:
            named = names.get(entry.use)
            found += [entry] if named is None else [*_priced(named, config), *expanded(named)]
        return list({entry.use: entry for entry in found}.values())

    if not any(entry.use in names for model in config.models.values() for entry in model.fallback):
        return config
    models = {
        name: model.model_copy(update={"fallback": expanded(model)}) for name, model in config.models.items()
    }
    return config.model_copy(update={"models": models})
