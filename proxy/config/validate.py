"""A resolved tree into a `Config`, and what the models have against it into problems with an address.

Everything that is wrong is cut out and the rest is validated again, so that the checks between entries run
on a file with errors too and one run reports both.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Set
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from proxy.checking.mistakes import Path, did_you_mean, shown
from proxy.config import hints
from proxy.config.check_models import ANSWERING
from proxy.config.models import Config, Price
from proxy.config.problems import Report
from proxy.config.profiles import Profiles
from proxy.config.tree import at

_GONE = object()
_MOST_ROUNDS = 8  # one per level of nesting: a missing key takes its parent away, which was required in turn

_MESSAGES = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "decimal_type": "must be a number",
    "is_instance_of": "must be a number",  # an amount
    "too_short": "is empty",
    "string_too_short": "is empty",
}
_WHOLE = ("list_type", "dict_type", "model_type")  # what cannot be written in one word
_UNITS = {"budget": "%", "body_limit": "MiB", "bytes": "MiB", "max_bytes": "MiB", "max_total": "MiB"}
_TYPES = {bool: "true/false", int: "number", float: "number", list: "list", dict: "mapping"}


def validate(
    tree: Any, report: Report, faulty: Set[Path] = frozenset(), optional: Set[Path] = frozenset()
) -> Config:
    """The configuration as far as it is right; the rest is in the report.

    Nothing is said about `faulty` places, which are reported already, nor about items of lists that are
    `optional` and not there.
    """
    if not isinstance(tree, dict):
        said = "the file is empty" if tree is None else "the file must be a mapping"
        hint = "it has version: 1, and below it providers and models; see docs/configuration.md"
        report.add("E103", (), said, hint)
        return Config()
    for attempt in range(_MOST_ROUNDS):
        try:
            return Config.model_validate(tree)
        except ValidationError as exc:
            errors = exc.errors(include_url=False)
        if attempt == 0:
            for error in errors:
                place = error["loc"]
                if place not in faulty and (place not in optional or error["type"] == "missing"):
                    _report(error, tree, report)
        tree = _without(tree, [_culprit(error) for error in errors])
    return Config()


def _report(error: ErrorDetails, tree: Any, report: Report) -> None:
    path: Path = error["loc"]
    kind = error["type"]
    if kind == "extra_forbidden":
        parent, name = path[:-1], str(path[-1])
        where = f" in {shown(parent)}" if parent else ""
        known = _keys_at(parent)
        hint = hints.of_stranger(name, known, at(tree, parent)) or hints.of_synonym(name, known)
        hint = hint or did_you_mean(name, known)
        report.add("E101", path, f'unknown key "{name}"{where}', hint, at_key=True)
    elif kind == "missing":
        parent, name = path[:-1], str(path[-1])
        hint = hints.of_missing(parent, Config.model_fields)
        report.add("E106", parent, f'{shown(parent)} has no "{name}"', hint, at_key=True)
    elif kind == "E143":
        report.add("E143", path, f"{shown(path)} {error['msg']}", unit_for(error))
    else:
        report.add(
            "E103",
            path,
            f"{shown(path)} {complaint(error)}",
            (error.get("ctx") or {}).get("cure") or _hint(error) or hints.of_price(path, error["input"]),
        )


def unit_for(error: ErrorDetails) -> str:
    """The cure for a number without a unit; "" for what else is wrong with a quantity."""
    number = (error.get("ctx") or {}).get("number")
    if number is None:
        return ""
    unit = _likely_unit(error["loc"])
    if unit == "%" and 0 < number <= 1:
        return f"write {round(100 * number, 6):g}%"  # it was meant as a fraction
    hint = f"write {number}{unit}"
    return f"{hint}, or {number}ms" if hint.endswith("0000s") else hint


def _likely_unit(path: Path) -> str:
    last = str(path[-1])
    if "limits" in path or path[-2:-1] == ("everyone",):
        return "/min"
    return _UNITS.get(last, "s")


def complaint(error: ErrorDetails) -> str:
    kind = error["type"]
    if kind not in _MESSAGES:
        return error["msg"].replace("Input should be", "must be")
    if kind.endswith("_type") or kind == "is_instance_of":
        return f"{_MESSAGES[kind]}, not {_describe(error['input'])}"
    return _MESSAGES[kind]


def _describe(value: object) -> str:
    """What kind of thing a wrong value is. Text is not repeated, it may be a secret in the wrong place."""
    if isinstance(value, str):
        return "text"
    if value is None:
        return "empty"
    kind = _TYPES.get(type(value), "thing")
    return f"the {kind} {str(value).lower()}" if isinstance(value, (bool, int, float)) else f"a {kind}"


def _hint(error: ErrorDetails) -> str:
    value, kind = error["input"], error["type"]
    if kind in ("string_type", "E103") and (hint := hints.of_reference(value)):
        return hint
    if kind == "string_type" and error["loc"][-1] in ANSWERING:
        return "write the name of a model"
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return f'write "{str(value).lower()}" in quotes'
    if kind == "literal_error" and isinstance(value, str):
        expected = (error.get("ctx") or {}).get("expected", "").replace(" or ", ",").split(",")
        words = [word.strip("' ") for word in expected]
        hint = did_you_mean(value, words)
        if value in words:
            return f"write {value}, without quotes"
        if hint.startswith("did"):
            return hint
        return hints.of_wire(value, Profiles({})) if error["loc"][-1] == "wire" else ""
    if kind in _WHOLE:
        return hints.of_whole(error["loc"], value, _keys_at(error["loc"]), is_list=kind == "list_type")
    return hints.of_word(kind, value)


def _keys_at(path: Path) -> list[str]:
    """The keys that the models know at a path."""
    model: Any = Config
    for step in path:
        if model == list[Price] and not isinstance(step, int):
            model = Price  # a price may stand there without a list around it
        model = _inner(_fields(model)[str(step)].annotation if _is_section(model) else get_args(model)[-1])
    model = Price if model == list[Price] else model
    return list(_fields(model)) if _is_section(model) else []


def _is_section(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, BaseModel)


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """By the names that they have in the file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _inner(annotation: Any) -> Any:
    """Without `| None`, and without what is said of a type beside it."""
    if get_origin(annotation) is Annotated:
        return _inner(get_args(annotation)[0])
    options = [option for option in get_args(annotation) if option is not type(None)]
    return _inner(options[0]) if type(None) in get_args(annotation) and len(options) == 1 else annotation


def _culprit(error: ErrorDetails) -> Path:
    return error["loc"][:-1] if error["type"] == "missing" else error["loc"]


def _without(tree: Any, paths: list[Path]) -> Any:
    """A copy without what the paths lead to, or the nearest that is there."""
    tree = copy.deepcopy(tree)
    for path in paths:
        _cut(tree, path)
    return _clean(tree)


def _cut(tree: Any, path: Path) -> None:
    holder, last = None, None
    value = tree
    for step in path:
        inside = isinstance(value, Mapping) and step in value
        inside = inside or (isinstance(value, list) and isinstance(step, int) and step < len(value))
        if not inside:
            break
        holder, last, value = value, step, value[step]
    if holder is not None:
        holder[last] = _GONE
    elif isinstance(tree, dict):
        tree.clear()


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _clean(inner) for name, inner in value.items() if inner is not _GONE}
    if isinstance(value, list):
        return [_clean(inner) for inner in value if inner is not _GONE]
    return value
