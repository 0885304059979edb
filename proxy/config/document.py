"""YAML text into plain values, with the position of every key and value.

Scalars follow the core schema of YAML 1.2, where `16:9`, `on`, `no` and dates are strings and `010` is
ten. Readers of YAML 1.1 make 969, True, False, a date and 8 of them, and keep the last of two equal keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from proxy.checking.mistakes import Path
from proxy.config import slips
from proxy.config.problems import Mark, Place, Report

_OF_THE_ENVIRONMENT = re.compile(r"!(?:env|getenv|secret)", re.I)
_A_NAME = re.compile(r"\$?\{?([A-Z_][A-Z0-9_]*)\}?")
_TAG = "tag:yaml.org,2002:"
_MOST_NODES = 100_000  # after anchors are followed; a file of ours has a few thousand

# YAML 1.2.2, 10.3.2; the characters are those a match can begin with.
_CORE = (
    ("null", r"(?:null|Null|NULL|~|)\Z", ["n", "N", "~", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", list("tTfF")),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z", list("-+0123456789")),
    (
        "float",
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z",
        list("-+.0123456789"),
    ),
    ("merge", r"<<\Z", ["<"]),
)


# pyyaml's portable scanner ends a plain word at `?` inside brackets, YAML 1.2 and libyaml do not. A character
# of the same width takes its place while the text is parsed.
_QUESTION = re.compile(r"(?<=\w)\?")
_STAND_IN = "\ue03f"


def _loader(base: Any) -> Any:
    loader: Any = type("Loader", (base,), {"yaml_implicit_resolvers": {}})
    for name, pattern, first in _CORE:
        loader.add_implicit_resolver(_TAG + name, re.compile(pattern), first)
    return loader


# The first is libyaml where pyyaml was built with it, about ten times as fast.
LOADERS = [_loader(getattr(yaml, name)) for name in ("CSafeLoader", "SafeLoader") if hasattr(yaml, name)]


@dataclass(frozen=True, slots=True)
class Document:
    """`value` is None when the text is empty or is not YAML; then the report says why."""

    value: Any
    places: dict[Path, Place]


def read(text: str, report: Report, loader: Any = LOADERS[0]) -> Document:
    """Parse one YAML document. Syntax errors (E100) and duplicate keys (E102) go to the report.

    All keys of mappings are strings, as written.
    """
    builder = _Builder(report)
    try:
        root = yaml.compose(_QUESTION.sub(_STAND_IN, text), Loader=loader)
        value = None if root is None else builder.build(root, ())
    except _Unreadable as exc:
        where = _mark(exc.problem_mark)
        report.add("E100", where, f"not YAML: {exc.problem}", exc.note or "")
    except yaml.MarkedYAMLError as exc:
        report.add("E100", *slips.explained(text, exc))
    except yaml.reader.ReaderError as exc:
        report.add("E100", *slips.of_character(text, exc.reason))
    except RecursionError:
        report.add("E100", Mark(1, 1), "not YAML we can read: nested too deeply")
    else:
        if not builder.strange:
            return Document(value, builder.places)
    return Document(None, {})


class _Unreadable(yaml.MarkedYAMLError):
    """What the grammar of YAML allows and a file of ours does not; `note` is the hint."""


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)


class _Builder:
    """Turns nodes into values; a node that an alias repeats is built for each path it has."""

    def __init__(self, report: Report) -> None:
        self.places: dict[Path, Place] = {}
        self.strange = False  # a word holds a character that only looks like YAML
        self._report = report
        self._open: set[int] = set()
        self._merging: set[int] = set()
        self._count = 0

    def build(self, node: yaml.Node, path: Path, key: Mark | None = None) -> Any:
        self._count += 1
        if id(node) in self._open:
            note = "write out what it shall hold here"
            problem = "an anchor that contains itself"
            raise _Unreadable(problem=problem, problem_mark=node.start_mark, note=note)
        if self._count > _MOST_NODES:
            problem = f"there are more than {_MOST_NODES} values here, those of repeated anchors among them"
            note = "a file of ours has a few thousand"
            raise _Unreadable(problem=problem, problem_mark=node.start_mark, note=note)
        here = _mark(node.start_mark)
        self.places[path] = Place(key or here, here)
        if isinstance(node, yaml.ScalarNode):
            if path[-1:] != ("description",):
                self._look_at(node)
            return _scalar(node)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
            if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
                return {
                    name: self.build(value, (*path, name), where)
                    for name, (where, value) in self._members(node).items()
                }
        finally:
            self._open.discard(id(node))
        raise _unknown_tag(node)

    def _look_at(self, node: yaml.ScalarNode) -> None:
        """Name a character that makes a plain word another than it looks; in quotes it is meant."""
        if not node.style and (found := slips.alike(node.value)) is not None:
            self.strange = True
            start = _mark(node.start_mark)
            in_line = node.end_mark.line == node.start_mark.line
            mark = Mark(start.line, start.column + (found.position if in_line else 0))
            self._report.add("E100", mark, found.message, found.hint)

    def _members(self, node: yaml.MappingNode) -> dict[str, tuple[Mark, yaml.Node]]:
        """The pairs of a mapping by name; what `<<` merges comes after the mapping's own keys."""
        own: dict[str, tuple[Mark, yaml.Node]] = {}
        merged: dict[str, tuple[Mark, yaml.Node]] = {}
        self._merging.add(id(node))
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                note = "put it in quotes; a template is filled in before the file is read"
                raise _Unreadable(problem="a key must be text", problem_mark=key.start_mark, note=note)
            where = _mark(key.start_mark)
            self._look_at(key)
            if key.tag == _TAG + "merge":
                merged = {**self._merge(key, value), **merged}
            elif (name := _text(key)) in own:
                first = own[name][0]
                hint = f"keep one, or move what stands below this one to line {first.line}"
                self._report.add("E102", where, f'duplicate key "{name}" (first at line {first.line})', hint)
            else:
                own[name] = (where, value)
        self._merging.discard(id(node))
        return {**own, **{name: pair for name, pair in merged.items() if name not in own}}

    def _merge(self, key: yaml.Node, value: yaml.Node) -> dict[str, tuple[Mark, yaml.Node]]:
        merged: dict[str, tuple[Mark, yaml.Node]] = {}
        for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if not isinstance(source, yaml.MappingNode) or id(source) in self._merging:
                problem = "only another mapping can be merged by <<"
                note = "write <<: *NAME, where &NAME stands before a mapping above"
                raise _Unreadable(problem=problem, problem_mark=key.start_mark, note=note)
            merged = {**self._members(source), **merged}
        return merged


def _scalar(node: yaml.ScalarNode) -> Any:
    text = _text(node)
    kind = node.tag.removeprefix(_TAG)
    try:
        if kind in ("str", "merge"):
            return text
        if kind == "null":
            return None
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        if kind == "int":
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if kind == "float":
            return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
    except (ValueError, KeyError):
        pass
    raise _unknown_tag(node)


def _text(node: yaml.ScalarNode) -> str:
    text: str = node.value
    return text.replace(_STAND_IN, "?")


def _unknown_tag(node: yaml.Node) -> _Unreadable:
    tag = node.tag.replace(_TAG, "!!")
    note = "if it is text that begins with !, put it in quotes"
    if _OF_THE_ENVIRONMENT.match(tag):
        named = _A_NAME.fullmatch(node.value) if isinstance(node, yaml.ScalarNode) else None
        note = f"write env:{named[1] if named else 'NAME'}"
    return _Unreadable(problem=f"the tag {tag} is not used here", problem_mark=node.start_mark, note=note)
