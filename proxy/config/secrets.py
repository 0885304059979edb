"""Secrets that never print, and the references `env:NAME`, `env:NAME?` and `file:PATH` that lead to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, NoReturn

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from proxy.checking.mistakes import Path, shown
from proxy.config.masking import has_password
from proxy.config.problems import Report

_ENVIRONMENT = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)(\??)\Z")

# Where a file may hold a secret; "*" is any step. The flag: any literal there is one.
_SECRET_PLACES: tuple[tuple[Path, bool], ...] = (
    (("keys", "*", "key"), True),
    (("auth", "admin"), True),
    (("providers", "*", "keys", "*"), True),
    (("providers", "*", "headers", "*"), False),
    (("server", "state"), False),
    (("server", "shared"), False),
)


class Secret:
    """Text that shows as `***` wherever it is printed, formatted, dumped or logged."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _secret, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "description": "A secret: env:NAME, env:NAME? (optional) or file:PATH."}


def _secret(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, str) and value:
        return Secret(value)
    # The value itself is not named here: it may be the secret, written without quotes.
    raise PydanticCustomError("E103", "must be text: env:NAME, file:PATH or a quoted literal")


@dataclass(frozen=True, slots=True)
class Fault:
    """A required variable that is not set, and where the file asks for it."""

    path: Path
    variable: str

    @property
    def reason(self) -> str:
        return f"environment variable {self.variable} is not set"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A tree without references, and the places now without a value: by a fault, or because they may be."""

    tree: Any
    faults: list[Fault]
    faulty: set[Path]
    optional: set[Path]


def resolve(tree: Any, environ: Mapping[str, str], folder: FilePath, report: Report) -> Resolved:
    """Replace references by what they lead to; what leads nowhere is left out.

    An unreadable file is reported here (E105); what an unset variable means depends on its place, so it
    is a fault for the caller. `profiles` are not looked into: a profile has no environment.
    """
    faults: list[Fault] = []
    faulty: set[Path] = set()
    optional: set[Path] = set()

    def value_of(text: str, path: Path) -> str | None:
        found = _ENVIRONMENT.match(text)
        if found:
            value = environ.get(found[1])
            if not value and found[2]:
                optional.add(path)
            elif not value:
                faults.append(Fault(path, found[1]))
            return value or None
        if text.startswith("file:"):
            return _from_file(text, path, folder, report)
        if text.startswith("env:"):
            report.add("E104", path, f"{shown(path)} does not name a variable", "write env:NAME or env:NAME?")
            return None
        return text

    def walk(value: Any, path: Path) -> Any:
        if isinstance(value, str):
            found = value_of(value, path)
            if found is None:
                faulty.add(path)
            return found
        if isinstance(value, dict):
            pairs = {name: (inner, walk(inner, (*path, name))) for name, inner in value.items()}
            return {name: new for name, (old, new) in pairs.items() if new is not None or old is None}
        if isinstance(value, list):
            # A place in a list stays taken, so that later items keep their address.
            return [walk(inner, (*path, index)) for index, inner in enumerate(value)]
        return value

    profiles = {"profiles": tree.pop("profiles")} if isinstance(tree, dict) and "profiles" in tree else {}
    resolved = walk(tree, ())
    if profiles:
        tree |= profiles
        resolved |= profiles
    return Resolved(resolved, faults, faulty - optional, optional)


def _from_file(text: str, path: Path, folder: FilePath, report: Report) -> str | None:
    try:
        value = (folder / text.removeprefix("file:")).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it is not a text file"
        report.add("E105", path, f"{text} cannot be read: {reason.lower()} (used by {shown(path)})")
        return None
    if not value:
        report.add("E105", path, f"{text} is empty (used by {shown(path)})")
    return value or None


def literals(tree: Any) -> list[tuple[Path, str, bool]]:
    """Every literal that stands where a secret stands: path, text, and whether it surely is one."""
    found = []
    for pattern, sure in _SECRET_PLACES:
        for path, value in _matches(tree, pattern, ()):
            if isinstance(value, (dict, list)) or value is None:
                continue
            text = str(value)
            if not text.startswith(("env:", "file:")):
                found.append((path, text, sure or has_password(text) or _names_a_secret(path)))
    return found


def _matches(value: Any, pattern: Path, path: Path) -> list[tuple[Path, Any]]:
    if not pattern:
        return [(path, value)]
    step, *rest = pattern
    steps: list[str | int] = []
    if isinstance(value, dict):
        steps = list(value) if step == "*" else [step] if step in value else []
    elif isinstance(value, list) and step == "*":
        steps = list(range(len(value)))
    return [match for name in steps for match in _matches(value[name], tuple(rest), (*path, name))]


def _names_a_secret(path: Path) -> bool:
    name = str(path[-1]).lower()
    return path[-2] == "headers" and (name == "authorization" or name.endswith(("key", "token", "secret")))
