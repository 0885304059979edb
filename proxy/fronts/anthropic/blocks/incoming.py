"""Content blocks of a message, into parts: a table for what users and results hold, one for assistants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from proxy.fronts import checks, sealed
from proxy.fronts.addresses import inline, media
from proxy.fronts.anthropic.blocks import ids
from proxy.fronts.notes import Notes
from proxy.types import CallPart, Json, MediaPart, Part, ResultPart, Slice, TextPart, ThoughtPart

# Of a thinking block that no upstream signed: clients throw away blocks without a signature. It seals what we
# tell of searches too.
UNSIGNED = "ZHJhZ29tYW4="

SEARCH = "web_search"  # the tool's name
SEALED = "redacted_thinking"  # the block that clients send back unread

_PDF = "application/pdf"
_CACHE = frozenset({"type", "cache_control"})

# Blocks that only Anthropic's servers can make something of: named, and left out.
_LEFT_OUT = (
    "compaction",
    "container_upload",
    "fallback",
    "mcp_tool_use",
    SEALED,
    "server_tool_use",
    "tool_reference",
)
_LEFT_OUT_ENDING = "_tool_result"  # of tools that Anthropic ran: web_search_tool_result and its like

Read = Callable[[Json, str, Notes], list[Part]]


def of_user(value: Any, path: str, notes: Notes) -> list[Part]:
    """What a user's message holds: a string or a list."""
    return _blocks(value, path, notes, _USERS)


def of_assistant(value: Any, path: str, notes: Notes) -> list[Part]:
    """The same for an assistant's. Signatures of thoughts stand on the thoughts."""
    return _blocks(value, path, notes, _ASSISTANTS)


def kept(content: Any) -> Json:
    """What a vendor said to itself in that message, as its `extra`: our replies have it sealed in a block."""
    parts: list[Any] = []
    for item in content if isinstance(content, list) else ():
        if item["type"] == SEALED:
            found = sealed.opened(item.get("data")).get(sealed.PARTS)
            parts += found if isinstance(found, list) else ()
    return {sealed.PARTS: parts} if parts else {}


def texts(value: Any, path: str, notes: Notes) -> list[TextPart]:
    """What a system text holds: a string, or a list of text blocks. Empty ones are left out."""
    parts = _blocks(value, path, notes, _SYSTEMS)
    return [part for part in parts if isinstance(part, TextPart) and part.text]


def marked(parts: list[Part], holder: Json, path: str, notes: Notes) -> list[Part]:
    """The parts of a block, the last of them with its mark for the vendor's cache, if it can hold one."""
    if "cache_control" not in holder:
        return parts
    found = marks(holder, path, notes)
    if found is None or not parts or isinstance(parts[-1], ThoughtPart):
        return parts
    return [*parts[:-1], replace(parts[-1], marks=found)]


def marks(holder: Json, path: str, notes: Notes) -> Json | None:
    checks.given(holder, "cache_control", path, checks.mapping)
    return notes.marked(holder, path)


def _blocks(value: Any, path: str, notes: Notes, readers: dict[str, Read]) -> list[Part]:
    if isinstance(value, str | Slice):
        return [TextPart(str(value))]
    if not isinstance(value, list):
        raise checks.invalid_type(path, "a string or an array of content blocks", value)
    parts: list[Part] = []
    for number, item in enumerate(value):
        if type(item) is dict and len(item) == 2 and item.get("type") == "text":
            parts.append(TextPart(checks.string(item.get("text"), f"{path}[{number}].text")))
        else:
            parts += _block(item, f"{path}[{number}]", notes, readers)
    return parts


def _block(value: Any, path: str, notes: Notes, readers: dict[str, Read]) -> list[Part]:
    item = checks.mapping(value, path)
    sort = item.get("type")
    if sort is None:
        raise checks.missing(f"{path}.type")
    read = readers.get(sort) if isinstance(sort, str) else None
    if read is not None:
        return marked(read(item, path, notes), item, path, notes)
    if isinstance(sort, str) and (sort in _LEFT_OUT or sort.endswith(_LEFT_OUT_ENDING)):
        if not _is_told(item):
            notes.add(f"{path}.type={sort}")
        return []
    raise checks.invalid_value(f"{path}.type", sort, tuple(readers))


def _is_told(item: Json) -> bool:
    """Whether it is of our own replies: what those tell of a search asks nothing of a model, and what they
    have sealed is `kept`. Whose a search was stands in its result."""
    if item["type"] == SEALED:
        return bool(sealed.opened(item.get("data")))
    if item["type"] == "server_tool_use":
        return bool(item.get("name") == SEARCH)
    return item["type"] == f"{SEARCH}{_LEFT_OUT_ENDING}" and _are_ours(
        item.get("content"), "encrypted_content"
    )


def _are_ours(facts: Any, seal: str) -> bool:
    """Whether nothing in a list was sealed by Anthropic, which alone could read it."""
    return isinstance(facts, list) and all(
        isinstance(fact, dict) and fact.get(seal) == UNSIGNED for fact in facts
    )


def _text(item: Json, path: str, notes: Notes) -> list[Part]:
    """Citations may be of Anthropic's own searches and documents, whose indexes nobody else can read."""
    notes.unread(item, _CACHE | {"text", "citations"}, path)
    if item.get("citations") and not _are_ours(item["citations"], "encrypted_index"):
        notes.add(f"{path}.citations")
    return [TextPart(checks.string(item.get("text"), f"{path}.text"))]


def _image(item: Json, path: str, notes: Notes) -> list[Part]:
    notes.unread(item, _CACHE | {"source"}, path)
    return [_source(item, path, notes, "image", None)]


def _document(item: Json, path: str, notes: Notes) -> list[Part]:
    """A file, or text with its title and what is said of it before it."""
    notes.unread(item, _CACHE | {"source", "title", "context", "citations"}, path)
    citations = item.get("citations")
    if citations is not None and checks.mapping(citations, f"{path}.citations").get("enabled"):
        notes.add(f"{path}.citations")
    title, context = (checks.given(item, name, path) for name in ("title", "context"))
    source = _holder(item, path)
    sort = source.get("type")
    if sort == "text":
        notes.unread(source, frozenset({"type", "media_type", "data"}), f"{path}.source")
        text = checks.string(source.get("data"), f"{path}.source.data")
        return [TextPart("\n".join((*filter(None, (title, context)), text)))]
    before: list[Part] = [TextPart(context)] if context else []
    if sort == "content":
        notes.unread(source, frozenset({"type", "content"}), f"{path}.source")
        if title:
            before.insert(0, TextPart(title))
        return before + _blocks(source.get("content"), f"{path}.source.content", notes, _SHOWN)
    return [*before, _source(item, path, notes, "file", title)]


def _search_result(item: Json, path: str, notes: Notes) -> list[Part]:
    notes.unread(item, _CACHE | {"source", "title", "content", "citations"}, path)
    head = filter(None, (checks.given(item, name, path) for name in ("title", "source")))
    said = (part.text for part in texts(item.get("content"), f"{path}.content", notes))
    return [TextPart("\n".join((*head, *said)))]


def _tool_result(item: Json, path: str, notes: Notes) -> list[Part]:
    notes.unread(item, _CACHE | {"tool_use_id", "content", "is_error"}, path)
    identity = checks.required_string(item.get("tool_use_id"), f"{path}.tool_use_id")
    failed = item.get("is_error")
    content = item.get("content")
    parts = [] if content is None else _blocks(content, f"{path}.content", notes, _SHOWN)
    return [
        ResultPart(
            ids.read(identity),
            None,
            tuple(part for part in parts if isinstance(part, TextPart | MediaPart)),
            failed is not None and checks.boolean(failed, f"{path}.is_error"),
        )
    ]


def _tool_use(item: Json, path: str, notes: Notes) -> list[Part]:
    notes.unread(item, _CACHE | {"id", "name", "input", "caller"}, path)
    identity = checks.required_string(item.get("id"), f"{path}.id")
    name = checks.required_string(item.get("name"), f"{path}.name")
    given = checks.mapping({} if item.get("input") is None else item["input"], f"{path}.input")
    return [CallPart(ids.read(identity), name, given)]


def _thinking(item: Json, path: str, notes: Notes) -> list[Part]:
    notes.unread(item, _CACHE | {"thinking", "signature"}, path)
    said, signature = (checks.given(item, name, path) for name in ("thinking", "signature"))
    known = None if signature == UNSIGNED else signature
    return [ThoughtPart(said or "", known, where=path, spare=True)]  # this dialect has them sent back


def _source(item: Json, path: str, notes: Notes, kind: Any, title: str | None) -> MediaPart:
    """A picture or a file, inline, by address, or by the id of a file."""
    source, where = _holder(item, path), f"{path}.source"
    sort = checks.one_of("base64", "url", "file")(source.get("type"), f"{where}.type")
    notes.unread(source, _SOURCE_MEMBERS[sort], where)
    if sort == "url":
        mime = _PDF if kind == "file" else None
        return media(kind, source.get("url"), f"{where}.url", mime=mime, filename=title)
    if sort == "file":
        file_id = checks.required_string(source.get("file_id"), f"{where}.file_id")
        return MediaPart(kind, file_id=file_id, filename=title, where=f"{where}.file_id")
    mime = checks.given(source, "media_type", where)
    return inline(kind, source.get("data"), f"{where}.data", mime=mime, filename=title)


def _holder(item: Json, path: str) -> Json:
    if item.get("source") is None:
        raise checks.missing(f"{path}.source")
    return checks.mapping(item["source"], f"{path}.source")


_SOURCE_MEMBERS = {
    "base64": frozenset({"type", "media_type", "data"}),
    "url": frozenset({"type", "url"}),
    "file": frozenset({"type", "file_id"}),
}
_SYSTEMS: dict[str, Read] = {"text": _text}
_SHOWN: dict[str, Read] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
}
_USERS: dict[str, Read] = {**_SHOWN, "tool_result": _tool_result}
_ASSISTANTS: dict[str, Read] = {
    "text": _text,
    "thinking": _thinking,
    "tool_use": _tool_use,
    "image": _image,
    "document": _document,
}
