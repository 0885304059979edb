"""Secrets that never print, and the references `env:NAME`, `env:NAME?` and `file:PATH` that lead to them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any, NoReturn

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from proxy.checking.mistakes import Path, shown
from proxy.config.masking import has_password
from proxy.config.problems import Report

_ENVIRONMENT = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)(\??)\Z")

# How other products write what is env:NAME here; the group is the name.
_NAME = r"([A-Za-z_][A-Za-z0-9_]*)"
_CAPITALS = r"([A-Z][A-Z0-9_]*)"
_FOREIGN = re.compile(
    rf"""(?: \$\{{? (?: env: )? {_NAME} (?: :?[-?][^}}]* )? \}}?              # shells, compose files, editors
        | \#?\{{ (?: env: )? {_CAPITALS} \}} | @env:{_NAME}
        | \$\( {_NAME} \)                                                   # Kubernetes, make
        | (?: os\. )? environ (?: [/:] | \.get\( | \[ ) ["']? {_NAME} ["']? [)\]]?     # LiteLLM, Python
        | (?: os\. )? getenv \( ["']? {_NAME} ["']? \)
        | process\.env\.{_NAME}
        # templates, and settings of CI
        | \$?\{{\{{ \s* (?: \$?[A-Za-z.]+\. | env \s | env\[ )? ["']? {_NAME} ["']? \]? \s* \}}\}}
        | (?i:!env)\w* \s+ \$?\{{? {_NAME} \}}? | secrets?: {_CAPITALS}
        | % {_NAME} %
        | (?i:env) (?: [./(\[ ] | : \s | :// | :\$\{{? ) ["']? {_NAME} ["']? [)\]}}]?
        | (?: ENV | Env ) : {_NAME} \??
    )\Z""",
    re.X,
)
# The same inside of a longer text, as in `Bearer env:NAME` or `https://${NAME}/v1`: nothing is put in there.
# A password may hold a dollar sign, so without braces only a whole word counts.
_WITHIN = re.compile(
    rf"""\$\{{ (?: env: )? {_NAME} [^}}]* \}} | \$\( {_NAME} \) | \{{\{{ \s* [\w.$]+ \s* \}}\}}
        | (?: (?<=[\s/:@]) \$ | (?<![^\s/:@]) env: ) {_CAPITALS} \?? (?=[\s/:@]|\Z)""",
    re.X,
)
_LOOKS_LIKE_A_NAME = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_(?:KEYS?|TOKEN|SECRET)\Z")
# What examples have where a secret belongs.
PLACEHOLDER = re.compile(
    r"<.*>|\.{3,}|(?:sk-)?(?:x{3,}|\*{3,})|(?:your|enter|insert|put)[ _-].*|change[ _-]?me|todo", re.I
)
_FREE_TEXT: set[Path] = {("description",), ("prefill_text",)}
_NOT_IN_A_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

# Words that say nothing of whose key it is, where two names are compared.
_COMMON = {"API", "KEY", "KEYS", "TOKEN", "SECRET"}

# Where a file may hold a secret; "*" is any step. The flag: any literal there is one.
_SECRET_PLACES: tuple[tuple[Path, bool], ...] = (
    (("keys", "*", "key"), True),
    (("auth", "admin"), True),
    (("providers", "*", "keys", "*"), True),
    (("providers", "*", "headers", "*"), False),
    (("tasks", "callbacks", "secret"), True),
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
    cure = {"cure": "put it in quotes"} if isinstance(value, (bool, int, float)) else None
    raise PydanticCustomError("E103", "must be text: env:NAME, file:PATH or a quoted literal", cure)


@dataclass(frozen=True, slots=True)
class Fault:
    """A required variable that is not set, and where the file asks for it."""

    path: Path
    variable: str
    empty: bool = False  # it is set, to nothing
    near: str | None = None  # a variable that is set and called nearly so

    @property
    def reason(self) -> str:
        if self.empty:
            return f"environment variable {self.variable} is set and empty"
        hint = f"; {self.near} is" if self.near else ""
        return f"environment variable {self.variable} is not set{hint}"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A tree without references, and the places now without a value: by a fault, or because they may be."""

    tree: Any
    faults: list[Fault]
    faulty: set[Path]
    optional: set[Path]


def resolve(tree: Any, environ: Mapping[str, str], folder: FilePath, report: Report) -> Resolved:
    """Replace references by what they lead to; what leads nowhere is left out.

    An unreadable file is reported here (E105), and a reference in another product's spelling (E109); what an
    unset variable means depends on its place, so it is a fault for the caller. `profiles` are not looked
    into: a profile has no environment.
    """
    faults: list[Fault] = []
    faulty: set[Path] = set()
    optional: set[Path] = set()

    def value_of(text: str, path: Path) -> str | None:
        free = path[-1:] in _FREE_TEXT
        foreign = None if free else foreign_name(text, path)
        if foreign is not None:
            message = f"{shown(path)} names a variable as another product does"
            report.add("E109", path, message, f"write env:{foreign}")
            return None
        found = _ENVIRONMENT.match(text)
        if found:
            value = environ.get(found[1], "").strip()
            if not value and found[2]:
                optional.add(path)
            elif not value:
                faults.append(Fault(path, found[1], empty=found[1] in environ))
            return value or None
        if text.startswith("file:"):
            return _from_file(text, path, folder, report)
        if not free and _names_within(text):
            message = f"{shown(path)} names a variable in the middle of a text"
            hint = "nothing is put in there: keep the whole text in one variable, and write env:NAME alone"
            report.add("E109", path, message, hint)
            return None
        if text.startswith("env:"):
            several = _parts(text)
            listed = len(several) > 1 and all(map(_ENVIRONMENT.match, several))
            hint = f"write [{', '.join(several)}]" if listed else "write env:NAME or env:NAME?"
            report.add("E104", path, f"{shown(path)} does not name a variable", hint)
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
    used = {fault.variable for fault in faults} | set(_names_in(tree))
    spare = [name for name in environ if name not in used]
    faults = [replace(fault, near=_near(fault.variable, spare)) for fault in faults]
    return Resolved(resolved, faults, faulty - optional, optional)


def foreign_name(text: str, path: Path) -> str | None:
    """The variable that a text means which is spelled for another product, None for other texts."""
    found = _FOREIGN.match(text)
    if found is not None:
        return next(group for group in found.groups() if group is not None)
    if _LOOKS_LIKE_A_NAME.match(text) and any(
        sure and _fits(path, pattern) for pattern, sure in _SECRET_PLACES
    ):
        return text
    return None


def _names_within(text: str) -> bool:
    """Several names with commas between them are a list, and have a cure of their own."""
    return _WITHIN.search(text) is not None and not all(map(_ENVIRONMENT.match, _parts(text)))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _fits(path: Path, pattern: Path) -> bool:
    return len(path) == len(pattern) and all(
        step in ("*", name) for step, name in zip(pattern, path, strict=True)
    )


def _names_in(tree: Any) -> Iterator[str]:
    """All variables that the file names."""
    if isinstance(tree, str):
        found = _ENVIRONMENT.match(tree)
        if found is not None:
            yield found[1]
    elif isinstance(tree, (dict, list)):
        for inner in tree.values() if isinstance(tree, dict) else tree:
            yield from _names_in(inner)


def _near(name: str, others: Sequence[str]) -> str | None:
    """A name that differs by a slip: in case, in a common word, or in a letter or two of a word."""
    own = _own_words(name)
    for other in others:
        if own and _own_words(other) == own:
            return other
    for other in difflib.get_close_matches(name.upper(), others, n=3, cutoff=0.75):
        first, second = name.upper().split("_")[0], other.upper().split("_")[0]
        if difflib.SequenceMatcher(None, first, second).ratio() >= 0.75:
            return other
    return None


def _own_words(name: str) -> str:
    return "".join(word for word in name.upper().split("_") if word not in _COMMON)


def _from_file(text: str, path: Path, folder: FilePath, report: Report) -> str | None:
    named = FilePath(text.removeprefix("file:"))
    try:
        value = (folder / named).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it is not a text file"
        hint = "" if named.is_absolute() else f"it is looked for at {(folder / named).absolute()}"
        hint = "~ stands for no home here: write the whole path" if text.startswith("file:~") else hint
        report.add("E105", path, f"{text} cannot be read: {reason.lower()} (used by {shown(path)})", hint)
        return None
    if not value:
        report.add("E105", path, f"{text} is empty (used by {shown(path)})")
    return value or None


def callers(tree: Any) -> dict[str, str]:
    """Where the client keys that are references come from, by the name of the key."""
    found = {}
    for path, value in _matches(tree, ("keys", "*", "key"), ()):
        name = tree["keys"][path[1]].get("name")
        if isinstance(value, str) and isinstance(name, str) and value.startswith(("env:", "file:")):
            found[name] = value.removesuffix("?")
    return found


def literals(tree: Any) -> list[tuple[Path, str, bool]]:
    """Every literal that stands where a secret stands: path, text, and whether it surely is one."""
    found = []
    for pattern, sure in _SECRET_PLACES:
        for path, value in _matches(tree, pattern, ()):
            if isinstance(value, (dict, list)) or value is None:
                continue
            text = str(value)
            if foreign_name(text, path) is not None or _names_within(text) or not text:
                continue
            if not text.startswith(("env:", "file:")):
                found.append((path, text, sure or has_password(text) or _names_a_secret(path)))
    return found


def unsendable(tree: Any) -> list[Path]:
    """Where the resolved text of a secret can stand in no header: there is a line break inside of it."""
    return [
        path
        for pattern, _ in _SECRET_PLACES
        if pattern[0] in ("keys", "auth", "providers")
        for path, value in _matches(tree, pattern, ())
        if isinstance(value, str) and _NOT_IN_A_HEADER.search(value)
    ]


def oddities(tree: Any) -> list[tuple[Path, str, str]]:
    """Resolved keys that go out as they are and will be refused: place, what is odd, and the cure."""
    found = []
    for pattern in (("keys", "*", "key"), ("providers", "*", "keys", "*"), ("auth", "admin")):
        for path, value in _matches(tree, pattern, ()):
            if isinstance(value, str) and (odd := _oddity(value)) is not None:
                found.append((path, *odd))
    return found


def _oddity(text: str) -> tuple[str, str] | None:
    if text[:1] in ("'", '"') and text[:1] == text[-1:]:
        return "has quotes around it, which are sent too", "take them away; env files keep them"
    if re.match(r"bearer\s", text, re.I):
        return "begins with Bearer, which is put before it anyway", "leave that word out"
    if " #" in text:
        return "has a comment behind it, which is sent too", "take it away; env files keep it"
    if not text.isascii():
        return "holds a character outside of ASCII, which no key does", "copy it anew"
    return None


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
