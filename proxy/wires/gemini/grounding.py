"""groundingMetadata and urlContextMetadata into citations with character offsets into the shown text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from proxy.types import Citation, Json, Searched
from proxy.wires.gemini.lenient import count_of, dict_of, dicts_of, list_of, string_of

# Where a grounding chunk keeps its address.
_ADDRESSES = (("web", "uri"), ("maps", "uri"), ("image", "sourceUri"), ("retrievedContext", "uri"))
_RETRIEVED = "URL_RETRIEVAL_STATUS_SUCCESS"


class ShownText:
    """The answer's text as the client sees it, in pieces, and where the model's own text lies in it.

    Google counts UTF-8 bytes of the model's text; `inserted` are the pieces that we put between (fenced
    code). `starts` is the number of pieces before each part of a whole reply.
    """

    def __init__(self, pieces: Sequence[str], inserted: set[int], starts: Sequence[int]) -> None:
        self.text = "".join(pieces)
        self._starts = starts
        self._bytes = "".join(piece for number, piece in enumerate(pieces) if number not in inserted).encode()
        self._before: list[int] = []  # bytes of the model's text before each piece
        self._runs: list[tuple[int, int]] = [(0, 0)]  # (byte, character) where a run of its pieces begins
        own = shown = 0
        for number, piece in enumerate(pieces):
            self._before.append(own)
            shown += len(piece)
            if number in inserted:
                self._runs.append((own, shown))
            else:
                own += len(piece.encode())
        self._before.append(own)

    def span(self, segment: Mapping[str, Any]) -> tuple[int, int]:
        """Characters of a segment; where its offsets do not hold, of its text if that is unique, else all."""
        # An index of 0 is left out of the JSON (G-159).
        first, last = count_of(segment.get("startIndex")), count_of(segment.get("endIndex"))
        wanted = string_of(segment.get("text"))
        for base in self._bases(segment.get("partIndex")):
            found = self._bytes[base + first : base + last]
            if wanted is not None and found != wanted.encode():
                continue
            if base + last <= len(self._bytes) and first < last:
                return self._characters(base + first), self._characters(base + last, at_end=True)
        if wanted and self.text.count(wanted) == 1:
            start = self.text.index(wanted)
            return start, start + len(wanted)
        return 0, len(self.text)

    def _bases(self, part: Any) -> Iterator[int]:
        if isinstance(part, int) and 0 <= part < len(self._starts):
            yield self._before[self._starts[part]]
        yield 0

    def _characters(self, offset: int, *, at_end: bool = False) -> int:
        """The shown character at a byte of the model's text; an end belongs to the run before it."""
        own, shown = next(
            run for run in reversed(self._runs) if run[0] < offset or (run[0] == offset and not at_end)
        )
        return shown + len(self._bytes[own:offset].decode(errors="ignore"))


def citations(shown: ShownText, grounding: Json, url_context: Json, choice: int) -> list[Citation]:
    """One citation for each support and each of its sources, then the pages read without a support."""
    sources = [_source(chunk) for chunk in list_of(grounding.get("groundingChunks"))]
    found: list[Citation] = []
    for support in dicts_of(grounding.get("groundingSupports")):
        start, end = shown.span(dict_of(support.get("segment")))
        for number in list_of(support.get("groundingChunkIndices")):
            source = sources[number] if isinstance(number, int) and 0 <= number < len(sources) else None
            if source is not None:
                found.append(Citation(*source, start, end, choice))
    cited = {citation.url for citation in found}
    for page in dicts_of(url_context.get("urlMetadata")):
        url = string_of(page.get("retrievedUrl"))
        if url and url not in cited and page.get("urlRetrievalStatus") == _RETRIEVED:
            found.append(Citation(url, "", 0, 0, choice))
    return found


def searching(part: Json, choice: int) -> list[Searched]:
    """What a tool call of Google's own looks for; what it finds is known at the end."""
    queries = _queries(dict_of(dict_of(part.get("toolCall")).get("args")).get("queries"))
    return [Searched(queries, choice=choice)] if queries else []


def searched(grounding: Json, choice: int, calls: list[Searched], *, told: bool) -> list[Searched]:
    """The searches behind the facts, if there were any: pages may have been read without. `calls` are those
    that Google's own tool calls spoke of; `told`: as they happened."""
    sources = (_source(chunk) for chunk in list_of(grounding.get("groundingChunks")))
    found = tuple(source for source in sources if source is not None)
    if calls and not told:
        return [*calls[:-1], replace(calls[-1], sources=found)]
    queries = () if calls else _queries(grounding.get("webSearchQueries"))
    return [Searched(queries, found, choice)] if queries or found else []


def _queries(value: Any) -> tuple[str, ...]:
    """Google's lists hold empty ones too."""
    return tuple(query for query in list_of(value) if query and isinstance(query, str))


def _source(chunk: Any) -> tuple[str, str] | None:
    for kind, name in _ADDRESSES:
        place = dict_of(dict_of(chunk).get(kind))
        address = string_of(place.get(name))
        if address:
            return address, string_of(place.get("title")) or ""
    return None
