"""What is said in a response: messages with their parts, and thoughts with their summaries."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.fronts.openai.items.outgoing import Item, Outgoing
from proxy.types import Citation, Json

# a bold line is a title. Streams of tokens have bold words, too, and their stars in pieces apart.
_begins_with_title = re.compile(r"\*\*[^\n]+\*\*[ \t]*\n").match


@dataclass(slots=True)
class Part:
    """Of a message: text, or a refusal. `offset` is where it begins in the whole answer; `before_delta` is
    what stands before a piece of its text in a frame, where there are frames."""

    place: int
    sort: str
    offset: int
    pieces: list[str] = field(default_factory=list)
    annotations: list[Json] = field(default_factory=list)
    logprobs: list[Json] = field(default_factory=list)
    before_delta: bytes = b""


class Message(Item):
    """`part` is the one that is open, `text` the one that has been the answer's text, open or not: it begins
    at `offset` of the whole answer."""

    __slots__ = ("offset", "part", "text")

    def __init__(self, out: Outgoing) -> None:
        body: Json = {"type": "message", "role": "assistant", "status": "in_progress", "content": []}
        super().__init__(out, "msg", body)
        self.offset = out.shown
        self.part: Part | None = None
        self.text: Part | None = None

    def say(self, text: str) -> None:
        part = self._part("output_text")
        part.pieces.append(text)
        self._of_part("output_text.delta", part, delta=text, logprobs=[])

    def refuse(self, text: str) -> None:
        part = self._part("refusal")
        part.pieces.append(text)
        self._of_part("refusal.delta", part, delta=text)

    def cite(self, citation: Citation) -> None:
        """Of its text. Where that is over, a stream tells it late; the whole response has it in its place."""
        part = self.text
        if part is None:
            return
        part.pieces = ["".join(part.pieces)]  # so that each citation need not count them again
        found = _annotation(citation, part.offset, len(part.pieces[0]))
        number = len(part.annotations)
        part.annotations.append(found)
        self._of_part("output_text.annotation.added", part, annotation_index=number, annotation=found)

    def weigh(self, logprobs: list[Json]) -> None:
        if self.part is not None and self.part.sort == "output_text":
            self.part.logprobs += logprobs

    def end(self, status: str = "completed") -> None:
        self._end_part()
        self.body["status"] = status
        super().end()

    def _part(self, sort: str) -> Part:
        """The open part, if it is of this sort; else a new one."""
        part = self.part
        if part is not None and part.sort == sort:
            return part
        self._end_part()
        part = self.part = Part(len(self.body["content"]), sort, self._out.shown)
        empty: Json = {"text": "", "annotations": [], "logprobs": []} if sort == "output_text" else {sort: ""}
        self._of_part("content_part.added", part, part={"type": sort, **empty})
        if sort == "output_text":
            self.text = part
        if self._out.streams and sort == "output_text":
            of = {"item_id": self.body["id"], "output_index": self.place, "content_index": part.place}
            part.before_delta = b"," + orjson.dumps(of)[1:-1] + b',"delta":'
        return part

    def _end_part(self) -> None:
        part, self.part = self.part, None
        if part is None:
            return
        text = "".join(part.pieces)
        body: Json
        if part.sort == "output_text":
            self._out.shown += len(text)
            body = {"type": "output_text", "text": text}
            body |= {"annotations": part.annotations, "logprobs": part.logprobs}
            self._of_part("output_text.done", part, text=text, logprobs=part.logprobs)
        else:
            body = {"type": "refusal", "refusal": text}
            self._of_part("refusal.done", part, refusal=text)
        self._of_part("content_part.done", part, part=body)
        self.body["content"].append(body)

    def _of_part(self, name: str, at: Part, **members: Any) -> None:
        if self._out.streams:
            self.tell(name, content_index=at.place, **members)


class Thought(Item):
    __slots__ = ("_pieces",)

    def __init__(self, out: Outgoing) -> None:
        super().__init__(out, "rs", {"type": "reasoning", "summary": []})
        self._pieces: list[str] = []  # of the summary that is open

    def say(self, text: str) -> None:
        if _begins_with_title(text):
            self._end_summary()
        number = len(self.body["summary"])
        if not self._pieces:
            part = {"type": "summary_text", "text": ""}
            self.tell("reasoning_summary_part.added", summary_index=number, part=part)
        self._pieces.append(text)
        self.tell("reasoning_summary_text.delta", summary_index=number, delta=text)

    def end(self, status: str = "completed") -> None:
        self._end_summary()
        super().end()

    def _end_summary(self) -> None:
        if not self._pieces:
            return
        number, text = len(self.body["summary"]), "".join(self._pieces)
        part = {"type": "summary_text", "text": text}
        self.tell("reasoning_summary_text.done", summary_index=number, text=text)
        self.tell("reasoning_summary_part.done", summary_index=number, part=part)
        self.body["summary"].append(part)
        self._pieces = []


def _annotation(citation: Citation, offset: int, size: int) -> Json:
    """Of a part of `size` characters that begins at `offset` of the answer."""
    start = min(max(citation.start - offset, 0), size)
    return {
        "type": "url_citation",
        "start_index": start,
        "end_index": min(max(citation.end - offset, start), size),
        "url": citation.url,
        "title": citation.title,
    }
