"""What a newcomer reads: links lead somewhere, examples pass the check, and what there is gets a mention."""

import argparse
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.__main__ import _parser
from proxy.config import load

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "bench" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROSE = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
SECTIONS = ("version", "server", "keys", "defaults", "tasks", "providers", "profiles", "models", "limits")
ENVIRON = {
    "DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h", "PUBLIC_URL": "https://h.example",
}  # fmt: skip
ACCOUNT = {"client_email": "a@h", "private_key": "-----BEGIN X", "token_uri": "https://t.example"}
# An example shows one thing: it may name a provider or a profile that stands in another.
ELSEWHERE = ("E110", "E115")


def headings(page: Path) -> set[str]:
    """As links name them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_a_page_and_a_heading(page: Path) -> None:
    targets = re.findall(r"\]\(((?!https?:|data:)[^)]+)\)", page.read_text(encoding="utf-8"))
    lost = []
    for target in targets:
        path, _, heading = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        if not other.exists() or (heading and heading not in headings(other)):
            lost.append(target)
    assert lost == []


def examples() -> Iterator[tuple[str, str]]:
    """Pieces of `providers.yaml`: the fenced and the indented blocks that begin with one of its sections."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fenced = [
            (found.start(), found[1]) for found in re.finditer(r"^```yaml\n(.*?)^```", text, re.M | re.S)
        ]
        indented = re.finditer(r"(?<=\n\n)(?: {4}.*\n)+", text)
        for at, block in [*fenced, *((found.start(), textwrap.dedent(found[0])) for found in indented)]:
            if block.partition(":")[0] in SECTIONS:
                yield f"{page.name}:{text.count(chr(10), 0, at) + 1}", block


EXAMPLES = list(examples())


@pytest.mark.parametrize("example", [text for _, text in EXAMPLES], ids=[place for place, _ in EXAMPLES])
def test_an_example_passes_the_check(example: str, tmp_path: Path) -> None:
    for name in re.findall(r"file:([\w.-]+)", example):
        (tmp_path / name).write_text(json.dumps(ACCOUNT))
    file = tmp_path / "providers.yaml"
    file.write_text(example, encoding="utf-8")
    environ = {name: ENVIRON.get(name, f"value-of-{name}") for name in re.findall(r"env:(\w+)", example)}
    found = [one for one in load(file, environ).problems if one.severity == "error"]
    assert [one.render() for one in found if one.code not in ELSEWHERE] == []


def test_there_are_examples_of_both_kinds() -> None:
    assert len(EXAMPLES) >= 15


def test_every_header_of_ours_is_described() -> None:
    sources = (file.read_text(encoding="utf-8") for file in (ROOT / "proxy").rglob("*.py"))
    used = {name for source in sources for name in re.findall(r"x-proxy-[a-z]+(?:-[a-z]+)*", source)}
    assert {name for name in used if f"| `{name}`" in PROSE or f", `{name}` |" in PROSE} == used
    assert set(re.findall(r"x-proxy-[a-z]+(?:-[a-z]+)*", PROSE)) == used


def test_every_line_of_the_log_is_described() -> None:
    sources = (file.read_text(encoding="utf-8") for file in (ROOT / "proxy").rglob("*.py"))
    written = re.compile(r"""log\.write\(\s*"([a-z_]+)"|Log\.to_stderr\(\)\.write\("([a-z_]+)\"""")
    events = {first or second for source in sources for first, second in written.findall(source)}
    assert {"request", "reloaded", "last_good_configuration", "order_ended_late"} <= events
    assert sorted(event for event in events if f"`{event}`" not in PROSE) == []


def test_every_command_is_shown() -> None:
    _, commands = _parser()
    assert [name for name in commands if f"dragoman {name}" not in PROSE] == ["version", "help"]


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Its own, and those of its commands and their actions."""
    found = set()
    for action in parser._actions:
        found |= {name for name in action.option_strings if name.startswith("--")}
        if isinstance(action, argparse._SubParsersAction):
            found |= {name for inner in action.choices.values() for name in options_of(inner)}
    return found


def test_every_option_is_shown() -> None:
    options = options_of(_parser()[0])
    assert {"--config", "--limit", "--number"} <= options
    assert sorted(name for name in options if name not in PROSE) == ["--help", "--version"]
