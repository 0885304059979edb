"""All fields of a request but its conversation: a table of checks for the simple ones, a function for each
group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from proxy.fronts import checks
from proxy.fronts.anthropic.messages import tools
from proxy.fronts.notes import Notes
from proxy.types import AnswerFormat, Foreign, Json, Thinking

DIALECT = "anthropic"

_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_SORTS_OF_THINKING = ("enabled", "adaptive", "disabled", "between_tools")
_THINKING_MEMBERS = frozenset({"type", "budget_tokens", "display"})
_FORMAT_MEMBERS = frozenset({"type", "schema"})
_CLEARS_THOUGHTS = "clear_thinking_"  # what happens to old thoughts anyway

# Fields that are read elsewhere, or that ask nothing of an upstream.
_ELSEWHERE = frozenset({"messages", "system", "cache_control", "image_output", "betas"})
# Values that ask for what happens without them.
_DEFAULTS: Json = {"service_tier": "auto", "speed": "standard"}


@dataclass(slots=True)
class Reading:
    """A body being read: `request` has attributes of the `ChatRequest` by name, `foreign` what has none."""

    request: Json = field(default_factory=dict)
    notes: Notes = field(default_factory=lambda: Notes(marks={}))
    declared: tools.Declared = field(default_factory=tools.Declared)
    foreign: Json = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    thinks: bool = False
    wrote: list[str] = field(default_factory=list)

    def read(self, body: Json) -> None:
        """Everything but the conversation."""
        for name, value in body.items():
            if value is None:
                continue
            if (simple := _SIMPLE.get(name)) is not None:
                attribute, check = simple
                self.request[attribute] = check(value, name)
            elif (group := _GROUPS.get(name)) is not None:
                group(self, value)
            elif name not in _ELSEWHERE:
                self.foreign[name] = value
                if value == _DEFAULTS.get(name) or value in ([], {}):
                    self.silent.add(name)
        if body.get("tool_choice") is not None:  # it names what `tools` declares, in whichever order
            choice, parallel = self.declared.choice(body["tool_choice"], self.notes)
            self.request["tool_choice"], self.request["parallel_calls"] = choice, parallel
        self.request["tools"] = tuple(self.declared.found)

    def foreign_fields(self) -> Foreign | None:
        """What has no attribute; marks for a cache are in every request of some clients, and never missed."""
        marks = tuple((self.notes.marks or {}).values())
        if not self.foreign and not marks:
            return None
        fields = checks.carried(self.foreign, "body")
        return Foreign(DIALECT, fields, frozenset((*self.silent, *marks)), marks=marks)


def _stop(value: Any, path: str) -> tuple[str, ...]:
    """Empty strings stop nothing and are refused upstream."""
    return tuple(text for text in checks.strings(value, path) if text)


def _declare(reading: Reading, value: Any) -> None:
    reading.declared.read(value, reading.notes)


def _later(reading: Reading, value: Any) -> None:
    """Read when all others are."""


def _thinking(reading: Reading, value: Any) -> None:
    """How much, and whether it is shown. An effort beside `adaptive` wins, one beside a budget or `disabled`
    does not."""
    wish = checks.mapping(value, "thinking")
    sort = checks.one_of(*_SORTS_OF_THINKING)(wish.get("type"), "thinking.type")
    reading.notes.unread(wish, _THINKING_MEMBERS, "thinking")
    said = reading.request.get("thinking")
    effort = said.effort if said is not None else None
    if sort == "disabled":
        reading.request["thinking"] = Thinking(effort="none", summary=False)
        return
    reading.thinks = True
    shows = wish.get("display") != "omitted"
    if sort == "enabled":
        budget: int | None = checks.integer(1)(wish.get("budget_tokens"), "thinking.budget_tokens")
        reading.request["thinking"] = Thinking(budget=budget, summary=shows)
    else:
        budget = -1 if effort is None else None
        reading.request["thinking"] = Thinking(effort=effort, budget=budget, summary=shows)


def _output_config(reading: Reading, value: Any) -> None:
    config = checks.mapping(value, "output_config")
    reading.notes.unread(config, frozenset({"effort", "format"}), "output_config")
    if config.get("effort") is not None:
        effort = checks.one_of(*_EFFORTS)(config["effort"], "output_config.effort")
        _effort(reading, effort)
        reading.wrote.append("output_config.effort")
    if config.get("format") is not None:
        reading.wrote.append("output_config.format")
        _format(reading, config["format"], "output_config.format")


def _effort(reading: Reading, effort: str) -> None:
    said = reading.request.get("thinking")
    if said is None:
        reading.request["thinking"] = Thinking(effort=effort, summary=False)
    elif said.budget == -1:
        reading.request["thinking"] = Thinking(effort=effort, summary=said.summary)


def _output_format(reading: Reading, value: Any) -> None:
    _format(reading, value, "output_format")


def _format(reading: Reading, value: Any, path: str) -> None:
    form = checks.mapping(value, path)
    checks.one_of("json_schema")(form.get("type"), f"{path}.type")
    reading.notes.unread(form, _FORMAT_MEMBERS, path)
    if form.get("schema") is None:
        raise checks.missing(f"{path}.schema")
    reading.request["answer_format"] = AnswerFormat(
        "json_schema", checks.mapping(form["schema"], f"{path}.schema")
    )


def _metadata(reading: Reading, value: Any) -> None:
    """Who asks is for Anthropic's eyes: it goes to no other vendor, and nothing of the answer is missed."""
    metadata = checks.mapping(value, "metadata")
    reading.notes.unread(metadata, frozenset({"user_id"}), "metadata")
    if metadata.get("user_id") is not None:
        checks.string(metadata["user_id"], "metadata.user_id")


def _context_management(reading: Reading, value: Any) -> None:
    management = checks.mapping(value, "context_management")
    reading.notes.unread(management, frozenset({"edits"}), "context_management")
    edits = management.get("edits")
    for index, edit in enumerate(checks.objects([] if edits is None else edits, "context_management.edits")):
        if not str(edit.get("type")).startswith(_CLEARS_THOUGHTS):
            reading.notes.add(f"context_management.edits[{index}]")


def _thread(reading: Reading, value: Any) -> None:
    """A server that ignores it loses the conversation: the next request has the newest turn alone."""
    raise checks.invalid(
        "thread", "it is not supported here; send the whole history.", "thread_unsupported_request"
    )


_SIMPLE: dict[str, tuple[str, checks.Check]] = {
    "model": ("model", checks.model),
    "max_tokens": ("max_tokens", checks.integer(1)),
    "stream": ("stream", checks.boolean),
    "temperature": ("temperature", checks.number(0, 2)),
    "top_p": ("top_p", checks.number(0, 1)),
    "top_k": ("top_k", checks.integer(0)),
    "stop_sequences": ("stop", _stop),
}
_GROUPS: dict[str, Callable[[Reading, Any], None]] = {
    "tools": _declare,
    "tool_choice": _later,
    "thinking": _thinking,
    "output_config": _output_config,
    "output_format": _output_format,
    "metadata": _metadata,
    "context_management": _context_management,
    "thread": _thread,
}
