"""From a path to a checked configuration: find, read, resolve, validate, check. Never raises."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.checking.mistakes import shown
from proxy.config import check_accounts, check_models, document, secrets
from proxy.config.models import Config
from proxy.config.problems import Mark, Problem, Report
from proxy.config.profiles import Profiles, problems_inside
from proxy.config.secrets import Resolved
from proxy.config.tree import Checked, blanks
from proxy.config.validate import validate

_PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Loaded:
    """`config` is None when the file has errors. `off` tells for each provider that is off why.

    `problems` are errors, warnings and notes in the order of the file. `digest` names the file's content, and
    `raw` is it. `callers` tells for each client key that is a reference (`env:NAME`, `file:PATH`) which.
    """

    config: Config | None
    problems: list[Problem]
    off: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    raw: bytes = field(default=b"", repr=False)
    callers: dict[str, str] = field(default_factory=dict)


_MOST_BYTES = 4 << 20  # a file of ours has some KiB


def find(path: Path | str | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """The file to use: the one named, `DRAGOMAN_CONFIG`, ./providers.yaml, or the one shipped."""
    named = path or environ.get("DRAGOMAN_CONFIG")
    if named:
        return Path(named)
    here = Path("providers.yaml")
    return here if os.path.lexists(here) else _shipped()  # a link that leads nowhere is a mistake to be told


def _shipped() -> Path:
    packaged = _PACKAGE / "providers.yaml"  # in a wheel; in a checkout it lies beside the package
    return packaged if packaged.is_file() else _PACKAGE.parent / "providers.yaml"


def load(path: Path | str, environ: Mapping[str, str] = os.environ, *, instead: Path | None = None) -> Loaded:
    """Read and check a file. Relative `file:` references start at its folder; `instead` is where a copy of it
    is read from."""
    path = Path(path)
    report = Report(str(path))
    try:
        with (instead or path).open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as exc:
        hint = f"a copy of {_shipped()} is one to begin with" if isinstance(exc, FileNotFoundError) else ""
        report.add("E100", Mark(1, 1), f"cannot be read: {(exc.strerror or str(exc)).lower()}", hint)
        return Loaded(None, report.problems)
    if len(raw) > _MOST_BYTES:
        message = f"cannot be read: it is larger than {_MOST_BYTES >> 20} MiB"
        report.add("E100", Mark(1, 1), message, "a configuration has some KiB: is it another file?")
        return Loaded(None, report.problems)
    digest = hashlib.sha256(raw).hexdigest()[:12]
    config, off, callers = _check(raw, environ, path.parent, report)
    problems = report.sorted()
    if any(problem.severity == "error" for problem in problems):
        return Loaded(None, problems, off, digest)
    return Loaded(check_models.expand_fallbacks(config), problems, off, digest, raw, callers)


def _check(
    raw: bytes, environ: Mapping[str, str], folder: Path, report: Report
) -> tuple[Config, dict[str, str], dict[str, str]]:
    try:
        report.text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        report.text = raw.decode("utf-8", errors="replace")
        encoding = "UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "another encoding"
        hint = f"it looks like {encoding}; save the file as UTF-8"
        report.add("E100", Mark(line, 1), "not YAML: the text is not UTF-8", hint)
        return Config(), {}, {}
    read = document.read(report.text, report)
    if report.problems and read.value is None:
        return Config(), {}, {}
    report.places = read.places
    report.secrets = tuple(text for _, text, sure in secrets.literals(read.value) if sure)
    resolved = secrets.resolve(read.value, environ, folder, report)
    config = validate(resolved.tree, report, resolved.faulty, resolved.optional)
    off = _check_between(read.value, resolved, config, report)
    return config, off, secrets.callers(read.value)


def _blanks(file: Checked) -> None:
    """Whoever wrote `requests:` and nothing behind it meant a limit, and there is none."""
    for path in blanks(file.written):
        if not file.report.tells_of(path):
            what = "key" if isinstance(path[-1], str) else "item"
            message, hint = f"{shown(path)} has no value", f"write one, or delete the {what}"
            file.report.add("W155", path, message, hint, at_key=True)


def _check_between(written: Any, resolved: Resolved, config: Config, report: Report) -> dict[str, str]:
    if not isinstance(written, dict):
        return {}
    profiles = Profiles(config.profiles)
    file = Checked(written, resolved.tree, config, resolved.faults, profiles, report)
    _blanks(file)
    off = check_accounts.check(file)
    check_models.check(file)
    for name in config.profiles:
        for code, path, message, hint in problems_inside(name, profiles):
            at_key = code in ("E101", "E106")  # the key is wrong, or something in it is missing
            report.add(code, ("profiles", name, *path), f"profile {name}: {message}", hint, at_key=at_key)
    return off
