"""Thoughts that a server leaves inside the text, between tags (option `think_tags`)."""

from __future__ import annotations

_END = "</think>"
_TAGS = {"<think>": _END, "<thought>": "</thought>", "<thinking>": "</thinking>"}


def lacks_opening(text: str) -> bool:
    """Whether a whole answer ends a thought it never began: the template wrote the tag into the prompt."""
    ends = [position for end in _TAGS.values() if (position := text.find(end)) >= 0]
    return bool(ends) and all(not 0 <= text.find(tag) < min(ends) for tag in _TAGS)


class ThinkTags:
    """Feed it text; it gives (is a thought, text) pieces. Only the beginning of an answer can be a thought.

    White space around the tags is dropped. `opened`: the answer begins inside a thought, with or without its
    tag.
    """

    def __init__(self, *, opened: bool = False) -> None:
        self._opened_before = opened
        self._blank: list[str] = []  # white space of which nobody knows yet; there may be thousands of it
        self._held = ""
        self._end: str | None = None  # the tag that ends the thought we are in
        self._state = self._before

    def feed(self, text: str) -> list[tuple[bool, str]]:
        out: list[tuple[bool, str]] = []
        if self._state != self._after and not self._held and text.isspace():
            if self._state in (self._before, self._inside):
                self._blank.append(text)
            return out
        self._state(self._kept() + text, out)
        return out

    def close(self) -> list[tuple[bool, str]]:
        held = self._kept()
        return [(self._end is not None, held)] if held else []

    def _kept(self) -> str:
        kept = "".join([*self._blank, self._held])
        self._blank, self._held = [], ""
        return kept

    def _before(self, text: str, out: list[tuple[bool, str]]) -> None:
        start = text.lstrip()
        for tag, end in _TAGS.items():
            if start.startswith(tag):
                self._end, self._state = end, self._opened
                self._opened(start[len(tag) :], out)
                return
        if any(tag.startswith(start) for tag in _TAGS):
            self._held = text
        elif self._opened_before:
            found = [(text.find(end), end) for end in _TAGS.values() if end in text]
            self._end, self._state = min(found)[1] if found else _END, self._inside
            self._inside(start, out)
        else:
            self._state = self._after
            out.append((False, text))

    def _opened(self, text: str, out: list[tuple[bool, str]]) -> None:
        if text := text.lstrip():
            self._state = self._inside
            self._inside(text, out)

    def _inside(self, text: str, out: list[tuple[bool, str]]) -> None:
        end = self._end or ""
        position = text.find(end)
        if position >= 0:
            self._say(text[:position].rstrip(), out)
            self._end, self._state = None, self._gap
            self._gap(text[position + len(end) :], out)
            return
        # What may be the end tag, and the white space before it, waits.
        keep = next((n for n in range(len(end) - 1, 0, -1) if text.endswith(end[:n])), 0)
        seen = text[: len(text) - keep]
        words = seen.rstrip()
        self._blank, self._held = [seen[len(words) :]], text[len(seen) :]
        self._say(words, out)

    def _say(self, text: str, out: list[tuple[bool, str]]) -> None:
        if text:
            out.append((True, text))

    def _gap(self, text: str, out: list[tuple[bool, str]]) -> None:
        if text := text.lstrip():
            self._state = self._after
            out.append((False, text))

    def _after(self, text: str, out: list[tuple[bool, str]]) -> None:
        if text:
            out.append((False, text))
