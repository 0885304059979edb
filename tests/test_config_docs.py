"""Every key of providers.yaml is described in docs/configuration.md with its default, and no other is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from proxy.config import schema
from proxy.config.models import Config, Price
from proxy.config.options import BY_WIRE

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| `([^`]+)` \| (.+?) \| (.+?) \| (.+) \|$", re.M)
ROWS = {path: (kind, default, text) for path, kind, default, text in _ROW.findall(PAGE)}


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted paths of all keys: `providers.<name>.wire`, `keys[].name`."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        inner, suffix = _inner(field.annotation)
        yield path
        if inner is Price:  # one, or a list of them; described once
            suffix = ""
        if inner is not None and not (inner is Price and "[]" in path):
            yield from keys(inner, f"{path}{suffix}.")


def _inner(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The model a key holds, if any, and how one gets to it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    suffix = {list: "[]", dict: ".<name>"}.get(get_origin(annotation) or object, "")
    if get_origin(annotation) is Annotated:
        return _inner(get_args(annotation)[0])
    for argument in get_args(annotation):
        inner, more = _inner(argument)
        if inner is not None:
            return inner, suffix + more
    return None, ""


KEYS = set(keys(Config))


@pytest.mark.parametrize("path", sorted(KEYS))
def test_a_key_is_described(path: str) -> None:
    assert path in ROWS, f"docs/configuration.md has no row for `{path}`"
    assert all(cell.strip() for cell in ROWS[path])


def test_no_key_is_described_that_does_not_exist() -> None:
    described = {path for path in ROWS if "<wire>" not in path and not path.startswith("options.")}
    assert described - KEYS == set()


def _defaults(node: dict[str, Any], whole: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    node = whole["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    for name, value in node.get("properties", {}).items():
        if isinstance(value.get("default"), (str, int, float)):
            yield prefix + name, value["default"]
        yield from _defaults(value, whole, f"{prefix}{name}.")


DEFAULTS = dict(_defaults(schema(), schema()))


@pytest.mark.parametrize("path", sorted(DEFAULTS))
def test_the_default_in_the_page_is_the_true_one(path: str) -> None:
    default = DEFAULTS[path]
    written = str(default).lower() if isinstance(default, bool) else str(default)
    assert ROWS[path][1].strip("`") == written


@pytest.mark.parametrize(
    "option", sorted({f"options.{name} ({wire})" for wire, known in BY_WIRE.items() for name in known})
)
def test_an_option_of_a_wire_is_described(option: str) -> None:
    assert option in ROWS


# Where a wire's folder is called otherwise, and files that read a tool's own options.
_FOLDERS = {"gemini": "gemini", "openai": "openai"}
_OTHER_OPTIONS = {"tools.py"}


@pytest.mark.parametrize("wire", sorted(BY_WIRE))
def test_an_option_that_a_wire_reads_can_be_written(wire: str) -> None:
    files = (ROOT / "proxy" / "wires" / _FOLDERS[wire]).glob("*.py")
    source = "".join(file.read_text(encoding="utf-8") for file in files if file.name not in _OTHER_OPTIONS)
    assert set(re.findall(r'options(?:\.get\(|\[)"(\w+)"', source)) == set(BY_WIRE[wire])


def test_every_code_is_described() -> None:
    source = "".join(file.read_text() for file in (ROOT / "proxy" / "config").glob("*.py"))
    codes = set(re.findall(r'"([EWN]1\d\d)"', source))
    assert codes - set(re.findall(r"^\| ([EWN]1\d\d) \|", PAGE, re.M)) == set()
