"""`tools` and `tool_choice` of Responses: functions, what is a function for us only, what the vendor runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from proxy.fronts import checks
from proxy.fronts.declared import Functions
from proxy.fronts.notes import Notes
from proxy.fronts.openai.fields import tools as chat_tools
from proxy.fronts.openai.items.called import Known, joined
from proxy.types import BuiltinTool, FunctionTool, Json, ToolChoice

Tool = FunctionTool | BuiltinTool

DRAWS = "image_generation"

_FUNCTION = frozenset({"type", "name", "description", "parameters", "strict", "function"})
_CUSTOM = frozenset({"type", "name", "description", "format"})
_NAMESPACE = frozenset({"type", "name", "description", "tools"})
_SEARCH = frozenset({"type", "execution", "description", "parameters"})
_FORMAT = frozenset({"type", "syntax", "definition"})
_CHOICE = frozenset({"type", "name", "namespace"})
_ALLOWED = frozenset({"type", "mode", "tools"})
_INPUT = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "the whole free-form input"}},
    "required": ["input"],
}
_MODES = ("auto", "none", "required")


class Tools:
    """The tools of a request. `known` has those functions that the client knows as something else, `vendors`
    the places and types of those that a vendor runs, by our kind. `picture` is the tool that draws, if there
    is one, at `draws_at`; `must_draw`: the model shall use it."""

    def __init__(self, notes: Notes) -> None:
        self.tools: list[Tool] = []
        self.known: dict[str, Known] = {}
        self.vendors: dict[str, tuple[str, str]] = {}
        self.picture: Json | None = None
        self.draws_at = ""
        self.must_draw = False
        self._notes = notes
        self._functions = Functions()

    def read(self, value: Any, path: str) -> None:
        for number, item in enumerate(checks.objects(value, path)):
            self._tool(item, f"{path}[{number}]", None, None)

    def choice(self, value: Any) -> ToolChoice | None:
        """None: as the model likes, also where the choice is a tool that no vendor can be made to use."""
        path = "tool_choice"
        if isinstance(value, str):
            return ToolChoice(checks.one_of(*_MODES)(value, path))
        choice = checks.mapping(value, path)
        sort = choice.get("type")
        if sort == "allowed_tools":
            return self._allowed(choice)
        if sort == "function" or sort == "custom":
            return ToolChoice("required", (self._named(choice, path),))
        if not isinstance(sort, str):
            raise checks.missing(f"{path}.type")
        if sort not in _MODES and (sort != DRAWS or self.picture is None):
            self._notes.add(path)
            return None
        self._notes.unread(choice, _CHOICE, path)
        if sort in _MODES:
            return ToolChoice(checks.one_of(*_MODES)(sort, path))
        self.must_draw = True
        return None

    # --- one tool each -------------------------------------------------------------------------------

    def _tool(self, item: Json, path: str, namespace: str | None, about: str | None) -> None:
        sort = item.get("type", "function" if "name" in item or "function" in item else None)
        read = _KINDS.get(sort) if isinstance(sort, str) else None
        if read is not None:
            read(self, item, path, namespace, about)
        elif sort == DRAWS:
            self.picture, self.draws_at = checks.carried(item, path), path
        elif isinstance(sort, str) and (kind := chat_tools.builtin_type(sort)) in _VENDORS:
            self._vendors(kind, item, path)
        elif isinstance(sort, str) and sort:
            self._notes.add(f"{path}.type={sort}")
        else:
            raise checks.missing(f"{path}.type")

    def _function(self, item: Json, path: str, namespace: str | None, about: str | None) -> None:
        holder, where = item, path
        if isinstance(item.get("function"), dict):  # as a chat has it
            holder, where = item["function"], f"{path}.function"
            self._notes.unread(item, _FUNCTION, path)
        self._notes.unread(holder, _FUNCTION, where)
        parameters, strict = holder.get("parameters"), holder.get("strict")
        if parameters is not None:
            checks.mapping(parameters, f"{where}.parameters")
        name = checks.required_string(holder.get("name"), f"{where}.name")
        known = None if namespace is None else Known("function", name, namespace)
        ours = name if namespace is None else joined(namespace, name)
        is_strict = strict is not None and checks.boolean(strict, f"{where}.strict")
        self._add(FunctionTool(ours, _about(holder, where, about), parameters, is_strict), known, where)

    def _custom(self, item: Json, path: str, namespace: str | None, about: str | None) -> None:
        """A function of one string; its grammar can only be asked for in words."""
        self._notes.unread(item, _CUSTOM, path)
        said = _about(item, path, about)
        form = checks.mapping(item.get("format") or {}, f"{path}.format")
        self._notes.unread(form, _FORMAT, f"{path}.format")
        if form.get("type") == "grammar":
            rule = checks.required_string(form.get("definition"), f"{path}.format.definition")
            syntax = form.get("syntax") or "given"
            law = f"The argument `input` is free text that must follow this {syntax} grammar:\n{rule}"
            said = f"{said}\n\n{law}" if said else law
        known = Known("custom", checks.required_string(item.get("name"), f"{path}.name"), namespace)
        self._add(FunctionTool(joined(namespace, known.name), said, _INPUT), known, path)

    def _namespace(self, item: Json, path: str, _: str | None, __: str | None) -> None:
        """Its functions under joined names; what is said of all of them is said at the first."""
        self._notes.unread(item, _NAMESPACE, path)
        name = checks.required_string(item.get("name"), f"{path}.name")
        about = item.get("description")
        for number, inner in enumerate(checks.objects(item.get("tools"), f"{path}.tools")):
            self._tool(inner, f"{path}.tools[{number}]", name, about if number == 0 else None)

    def _search(self, item: Json, path: str, namespace: str | None, about: str | None) -> None:
        """A function that the client runs; one of OpenAI's own cannot be had."""
        if item.get("execution") != "client":
            self._notes.add(f"{path}.type=tool_search")
            return
        self._notes.unread(item, _SEARCH, path)
        parameters = item.get("parameters")
        if parameters is not None:
            checks.mapping(parameters, f"{path}.parameters")
        tool = FunctionTool("tool_search", _about(item, path, about), parameters)
        self._add(tool, Known("tool_search", "tool_search"), path)

    def _vendors(self, kind: str, item: Json, path: str) -> None:
        options = {key: value for key, value in item.items() if key != "type" and value is not None}
        container = options.get("container")
        if isinstance(container, dict) and container.get("file_ids"):
            raise checks.invalid(f"{path}.container.file_ids", "no files can be given to code.")
        self.vendors.setdefault(kind, (path, item["type"]))
        self.tools.append(BuiltinTool(kind, checks.carried(options, path)))

    def _add(self, tool: FunctionTool, known: Known | None, where: str) -> None:
        """`known`: what the client takes it for, if that is not a function of this name."""
        if self._functions.add(tool, where):
            if known is not None:
                self.known[tool.name] = known
            self.tools.append(tool)

    # --- which of them -------------------------------------------------------------------------------

    def _allowed(self, choice: Json) -> ToolChoice | None:
        """Where no function is among them none may be called; the others are allowed as they are declared."""
        self._notes.unread(choice, _ALLOWED, "tool_choice")
        mode = checks.one_of("auto", "required")(choice.get("mode"), "tool_choice.mode")
        allowed = checks.objects(choice.get("tools"), "tool_choice.tools")
        names = tuple(
            self._named(item, f"tool_choice.tools[{number}]")
            for number, item in enumerate(allowed)
            if item.get("type", "function") in ("function", "custom")
        )
        if names:
            return ToolChoice("required" if mode == "required" else "auto", names)
        if self.picture is not None and any(item.get("type") == DRAWS for item in allowed):
            self.must_draw = mode == "required"
            return None
        if mode == "required":
            self._notes.add("tool_choice.mode")
        return ToolChoice("none")

    def _named(self, item: Json, path: str) -> str:
        self._notes.unread(item, _CHOICE, path)
        name = item.get("name")
        return self._functions.named(name, f"{path}.name", name and joined(item.get("namespace"), name))


_VENDORS = ("web_search", "url_context", "code_execution", "maps")

_KINDS: dict[str, Callable[[Tools, Json, str, str | None, str | None], None]] = {
    "function": Tools._function,
    "custom": Tools._custom,
    "namespace": Tools._namespace,
    "tool_search": Tools._search,
}


def _about(item: Json, path: str, about: str | None) -> str | None:
    own = item.get("description")
    if about is None and type(own) is str:
        return own or None
    said = None if own is None else checks.string(own, f"{path}.description")
    return "\n\n".join(text for text in (about, said) if text) or None


def shown(value: Sequence[Any]) -> list[Any]:
    """The tools as a reply repeats them: a function has all its members, as Open Responses wants it."""
    return [
        {"type": "function", "name": "", "description": None, "parameters": None, "strict": None} | item
        if isinstance(item, dict) and item.get("type") == "function" and "function" not in item
        else item
        for item in value
    ]
