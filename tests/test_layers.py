"""The plan of the house, read from the imports: they point down, neighbours do not meet, one folder dials."""

from __future__ import annotations

import ast
import functools
import io
import itertools
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the ground up. What stands on one floor does not meet, unless `NEIGHBOURS` says so.
FLOORS: list[set[str]] = [
    {"errors", "types"},
    {"checking", "codec", "heap", "keys", "logs", "memory"},
    {"pictures", "sounds"},
    {"fronts", "upstream", "wires", "simulators"},
    {"config", "tasks"},
    {"store"},
    {"ledger"},
    {"limits", "routing"},
    {"serve"},
    {"app"},
    {"command"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
NEIGHBOURS: set[tuple[str, str]] = {("types", "errors")}

# What can open a connection, and the only files that may have it.
DIALS = {"aiohttp", "http", "httpx", "requests", "smtplib", "socket", "ssl", "urllib.request", "websockets"}
LISTENS = {"command/serve.py", "command/server.py"}

# What `import proxy.app` may load. Measured: pydantic 60 ms, yaml and starlette (with anyio) 15 ms each, all
# others a few.
LIGHT = {
    "annotated_types",
    "anyio",
    "orjson",
    "proxy",
    "pybase64",
    "pydantic",
    "pydantic_core",
    "python_multipart",
    "sniffio",
    "starlette",
    "typing_extensions",
    "typing_inspection",
    "yaml",
}


@functools.cache
def modules() -> tuple[tuple[str, str], ...]:
    """(file, imported module) of every import of the package, those inside functions too."""
    return tuple(_modules())


def _modules() -> Iterator[tuple[str, str]]:
    for file in sorted((ROOT / "proxy").rglob("*.py")):
        name = file.relative_to(ROOT / "proxy").as_posix()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from ((name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name} imports relatively"
                yield from ((name, f"{node.module}.{alias.name}") for alias in node.names)


def part(file: str) -> str:
    return file.partition("/")[0].removesuffix(".py")


def ours() -> list[tuple[str, str]]:
    """(importing part, imported part) where both are of the package."""
    return sorted(
        {
            (part(file), imported.split(".")[1])
            for file, imported in modules()
            if imported.startswith("proxy.") and part(file) != imported.split(".")[1]
        }
    )


def test_every_part_has_its_floor() -> None:
    parts = {path.stem for path in (ROOT / "proxy").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert parts - {"__init__", "__pycache__", "profiles"} <= set(LEVEL)


def test_imports_point_down() -> None:
    wrong = [
        f"{upper} imports {lower}"
        for upper, lower in ours()
        if LEVEL[lower] >= LEVEL[upper] and (upper, lower) not in NEIGHBOURS
    ]
    assert wrong == []


def test_the_words_import_nothing_of_ours() -> None:
    assert [pair for pair in ours() if pair[0] in ("errors", "types")] == [("types", "errors")]


@pytest.mark.parametrize(("one", "other"), [("fronts", "wires"), ("wires", "fronts"), ("wires", "upstream")])
def test_neighbours_never_meet(one: str, other: str) -> None:
    assert (one, other) not in ours()


def test_the_dialects_of_clients_never_meet() -> None:
    """What two of them share stands in `fronts/` itself."""
    found = [
        (file, imported)
        for file, imported in modules()
        for one, other in itertools.permutations(("anthropic", "gemini", "openai"), 2)
        if file.startswith(f"fronts/{one}/") and imported.startswith(f"proxy.fronts.{other}.")
    ]
    assert found == []


def test_every_front_is_small() -> None:
    """With its comments and blank lines."""
    fronts = [file.parent for file in (ROOT / "proxy" / "fronts").rglob("front.py")]
    sizes = {
        front.relative_to(ROOT).as_posix(): sum(
            len(file.read_text().splitlines()) for file in front.glob("*.py")
        )
        for front in fronts
    }
    assert len(sizes) >= 11
    assert {front: lines for front, lines in sizes.items() if lines >= 900} == {}


def test_every_room_of_the_fronts_is_small() -> None:
    """Lines of code: no blank ones, comments or docstrings."""
    sizes: Counter[str] = Counter()
    for file in (ROOT / "proxy" / "fronts").rglob("*.py"):
        sizes[file.parent.relative_to(ROOT).as_posix()] += lines_of_code(file)
    assert {room: lines for room, lines in sizes.items() if lines >= 900} == {}


def lines_of_code(file: Path) -> int:
    source = file.read_text()
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return len(
        {
            line
            for token in tokens
            if token.type not in (*layout, tokenize.ENDMARKER)
            for line in range(token.start[0], token.end[0] + 1)
        }
        - docstrings
    )


def test_the_simulators_stand_alone() -> None:
    """They are written from the vendors' words, so that a misreading of ours is caught."""
    assert [pair for pair in ours() if pair[0] == "simulators"] == []
    users = {upper for upper, lower in ours() if lower == "simulators"}
    assert users <= {"command"}


def test_one_folder_opens_connections() -> None:
    found = {
        file
        for file, imported in modules()
        if any(imported == name or imported.startswith(f"{name}.") for name in DIALS)
    }
    assert {file for file in found if part(file) not in ("upstream", "simulators")} <= LISTENS


def test_nothing_heavy_is_loaded_at_start() -> None:
    """A fresh interpreter, because this one has everything loaded."""
    code = (
        "import sys, time; before = set(sys.modules); began = time.perf_counter(); import proxy.app; "
        "took = time.perf_counter() - began; "
        "print(round(took * 1000), *sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    took_ms, *loaded = printed.split()
    print(f"import proxy.app takes {took_ms} ms")
    foreign = {name for name in loaded if name not in sys.stdlib_module_names and not name.startswith("_")}
    assert foreign - {"cython_runtime"} <= LIGHT
