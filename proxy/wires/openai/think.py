"""Thoughts that a server leaves inside the text, between tags (option `think_tags`)."""

from __future__ import annotations

_TAGS = {"<think>": "</think>", "<thought>": "</thought>", "<thinking>": "</thinking>"}


class ThinkTags:
    """Feed it text; it gives (is a thought, text) pieces. Only the beginning of an answer can be a thought.

    White space around the tags is dropped.
    """

    def __init__(self) -> None:
        self._held = ""
        self._end: str | None = None  # the tag that ends the thought we are in
        self._state = self._before

    def feed(self, text: str) -> list[tuple[bool, str]]:
        out: list[tuple[bool, str]] = []
        self._state(self._held + text, out)
        return out

    def close(self) -> list[tuple[bool, str]]:
        held, self._held = self._held, ""
        return [(self._end is not None, held)] if held else []

    def _before(self, text: str, out: list[tuple[bool, str]]) -> None:
        start = text.lstrip()
        self._held = ""
        for tag, end in _TAGS.items():
            if start.startswith(tag):
                self._end, self._state = end, self._opened
                self._opened(start[len(tag) :], out)
                return
        if any(tag.startswith(start) for tag in _TAGS):
            self._held = text
            return
        self._state = self._after
        out.append((False, text))

    def _opened(self, text: str, out: list[tuple[bool, str]]) -> None:
        self._held = ""
        if text := text.lstrip():
            self._state = self._inside
            self._inside(text, out)

    def _inside(self, text: str, out: list[tuple[bool, str]]) -> None:
        end = self._end or ""
        position = text.find(end)
        if position >= 0:
            self._say(text[:position].rstrip(), out)
            self._end, self._held, self._state = None, "", self._gap
            self._gap(text[position + len(end) :], out)
            return
        # What may be the end tag, and the white space before it, waits.
        keep = next((n for n in range(len(end) - 1, 0, -1) if text.endswith(end[:n])), 0)
        words = text[: len(text) - keep].rstrip()
        self._held = text[len(words) :]
        self._say(words, out)

    def _say(self, text: str, out: list[tuple[bool, str]]) -> None:
        if text:
            out.append((True, text))

    def _gap(self, text: str, out: list[tuple[bool, str]]) -> None:
        self._held = ""
        if text := text.lstrip():
            self._state = self._after
            out.append((False, text))

    def _after(self, text: str, out: list[tuple[bool, str]]) -> None:
        if text:
            out.append((False, text))
