"""Grounding metadata into citations with character offsets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.types import Citation, CodeRun, Event, Extra, Finish, Searched, Started, Text
from tests.gemini_replies import chunk, only, read, reply

SITE = {"web": {"uri": "https://r/1", "title": "example.com"}}


def grounded(*supports: dict[str, Any], chunks: list[Any] | None = None) -> dict[str, Any]:
    return {"groundingChunks": [SITE] if chunks is None else chunks, "groundingSupports": list(supports)}


def support(text: str | None, start: int, end: int, **segment: Any) -> dict[str, Any]:
    """As Google writes it: an index of 0 is left out."""
    segment |= {"startIndex": start} if start else {}
    segment |= {"text": text} if text is not None else {}
    return {"segment": {**segment, "endIndex": end}, "groundingChunkIndices": [0]}


def spans(events: list[Event]) -> list[tuple[int, int]]:
    return [(event.start, event.end) for event in events if type(event) is Citation]


def shown(events: list[Event]) -> str:
    """The answer as a chat shows it."""
    texts = (
        event.shown if type(event) is CodeRun else getattr(event, "text", "")
        for event in events
        if type(event) in (Text, CodeRun)
    )
    return "".join(texts)


def test_offsets_count_characters() -> None:
    """G-158, G-159: the contract's example."""
    metadata = grounded(support("Zürich", 0, 7))
    assert only(read(reply({"text": "Zürich is big."}, groundingMetadata=metadata)), Citation, Extra) == [
        Citation("https://r/1", "example.com", 0, 6),
        Extra("google", {"grounding_metadata": metadata}),
    ]


def test_a_search_is_told_with_its_queries_and_sources() -> None:
    """X-022. Google's lists begin with an empty query when it searched side by side."""
    metadata = {**grounded(support("Bern", 0, 4)), "webSearchQueries": ["", "capital", "capital of CH"]}
    assert only(read(reply({"text": "Bern"}, groundingMetadata=metadata)), Searched, Citation) == [
        Citation("https://r/1", "example.com", 0, 4),
        Searched(("capital", "capital of CH"), (("https://r/1", "example.com"),)),
    ]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_search_that_is_told_as_it_happens_stands_where_it_happened(stream: bool) -> None:
    """G-108, X-022: a whole reply's is told with what it found."""
    used = {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "x", "args": {"queries": ["capital"]}}}
    metadata = {**grounded(support("Bern", 0, 4)), "webSearchQueries": ["capital"]}
    body = {"tools": [{"googleSearch": {}}], "toolConfig": {"includeServerSideToolInvocations": True}}
    payload = reply(used, {"toolResponse": {"id": "x"}}, {"text": "Bern"}, groundingMetadata=metadata)
    events = only(read(payload, body=body, stream=stream), Started, Text, Citation, Searched)
    text, cited = Text("Bern"), Citation("https://r/1", "example.com", 0, 4)
    told = Searched(("capital",), (("https://r/1", "example.com"),))
    if stream:
        found = Searched((), told.sources)
        assert events == [Started(), Searched(("capital",)), text, cited, found]
    else:
        assert events == [Started(), text, cited, told]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_searches_that_no_facts_speak_of_are_told(stream: bool) -> None:
    """G-108: beside functions the calls of Google's own tools may be all that tells of them."""
    calls = [
        {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": identity, "args": {"queries": queries}}}
        for identity, queries in (("x", ["capital"]), ("y", ["river", "lake"]))
    ]
    body = {"tools": [{"googleSearch": {}}], "toolConfig": {"includeServerSideToolInvocations": True}}
    payload = reply(calls[0], {"toolResponse": {"id": "x"}}, calls[1], {"text": "Bern"})
    told = only(read(payload, body=body, stream=stream), Searched)
    assert told == [Searched(("capital",)), Searched(("river", "lake"))]


def test_facts_without_a_search_tell_of_none() -> None:
    assert (
        only(read(reply({"text": "Bern"}, groundingMetadata={"retrievalMetadata": {"a": 1}})), Searched) == []
    )


def test_a_segment_after_emoji() -> None:
    """G-158."""
    text = "🇨🇭 Bern.\nÉté ist warm."
    start = text.index("Été")
    first, last = len(text[:start].encode()), len(text.encode())
    events = read(reply({"text": text}, groundingMetadata=grounded(support(text[start:], first, last))))
    assert spans(events) == [(start, len(text))]


@pytest.mark.parametrize(
    ("wanted", "start", "end", "span"),
    [
        pytest.param("bold", 0, 3, (8, 12), id="G-160 unique"),
        pytest.param("twice", 1, 4, (0, 24), id="G-160 not unique, so all"),
        pytest.param("absent", 0, 3, (0, 24), id="G-160 not there, so all"),
        pytest.param(None, 8, 12, (8, 12), id="no text to compare"),
        pytest.param(None, 8, 999, (0, 24), id="out of range"),
    ],
)
def test_a_segment_that_does_not_select_its_text(
    wanted: str | None, start: int, end: int, span: tuple[int, int]
) -> None:
    text = "twice **bold** and twice"
    text = text.replace("**", "* ")
    metadata = grounded(support(wanted, start, end))
    assert spans(read(reply({"text": text}, groundingMetadata=metadata))) == [span]


def test_a_part_index_counts_from_its_part() -> None:
    """4.5: offsets are relative to the part in a whole reply, thoughts and code between."""
    parts = [
        {"text": "Thinking", "thought": True},
        {"text": "Ärger. "},
        {"executableCode": {"code": "1"}},
        {"text": "Über uns."},
    ]
    metadata = grounded(support("Über", 0, 5, partIndex=3), support("uns", 6, 9, partIndex=3))
    events = read(reply(*parts, groundingMetadata=metadata))
    text = shown(events)
    assert [text[start:end] for start, end in spans(events)] == ["Über", "uns"]


def test_offsets_skip_what_we_put_between() -> None:
    """G-158, G-161: Google counts its own text only."""
    parts = [{"text": "Öl ist "}, {"executableCode": {"code": "1"}}, {"text": "teuer."}]
    metadata = grounded(support("teuer", 8, 13), support("Öl", 0, 3), support("ist teuer", 4, 13))
    events = read(reply(*parts, groundingMetadata=metadata))
    text = shown(events)
    assert text == "Öl ist \n```\n1\n```\nteuer."
    assert [text[start:end] for start, end in spans(events)] == ["teuer", "Öl", "ist \n```\n1\n```\nteuer"]


def test_a_stream_cites_once_before_its_end() -> None:
    """G-194: offsets go over the whole text, whatever the chunks."""
    metadata = grounded(support("ü über", 1, 9))
    events = read(
        chunk({"text": "xü"}, index=0),
        chunk({"text": " üb"}, index=0),
        chunk({"text": "er"}, index=0, groundingMetadata=metadata),
        chunk({"text": ""}, index=0, finishReason="STOP"),
    )
    assert only(events, Citation, Finish) == [
        Citation("https://r/1", "example.com", 1, 7),
        Finish("stop", "STOP", 0),
    ]


def test_one_citation_for_each_support_and_source() -> None:
    """4.5: sources without an address are passed over, and positions still count."""
    chunks = [
        SITE,
        {},
        {"retrievedContext": {"text": "no address"}},
        {"maps": {"uri": "https://maps/1", "title": "Joe's"}},
        {"image": {"sourceUri": "https://i/1", "imageUri": "https://i/1.png"}},
        {"retrievedContext": {"uri": "gs://b/f", "title": "f"}},
    ]
    cites = support("ab", 0, 2) | {"groundingChunkIndices": [0, 1, 2, 3, 4, 5, 99]}
    events = read(reply({"text": "abc"}, groundingMetadata=grounded(cites, chunks=chunks)))
    assert only(events, Citation) == [
        Citation("https://r/1", "example.com", 0, 2),
        Citation("https://maps/1", "Joe's", 0, 2),
        Citation("https://i/1", "", 0, 2),
        Citation("gs://b/f", "f", 0, 2),
    ]


def test_pages_read_are_cited_without_a_span() -> None:
    pages = {
        "urlMetadata": [
            {"retrievedUrl": "https://r/1", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"},
            {"retrievedUrl": "https://r/2", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"},
            {"retrievedUrl": "https://r/3", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_ERROR"},
            {"urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"},
        ]
    }
    metadata = grounded(support("ab", 0, 2))
    events = read(reply({"text": "ab"}, groundingMetadata=metadata, urlContextMetadata=pages))
    assert only(events, Citation, Extra) == [
        Citation("https://r/1", "example.com", 0, 2),
        Citation("https://r/2", "", 0, 0),
        Extra("google", {"grounding_metadata": metadata, "url_context_metadata": pages}),
    ]


def test_empty_grounding_says_nothing() -> None:
    assert only(read(reply({"text": "x"}, groundingMetadata={})), Citation, Extra) == []


def test_recitations_are_kept_raw_from_all_chunks() -> None:
    first, second = {"endIndex": 4, "uri": "https://c/1"}, {"startIndex": 5, "endIndex": 9}
    events = read(
        chunk({"text": "a"}, citationMetadata={"citations": [first]}),
        chunk({"text": "b"}, citationMetadata={"citations": [second]}, finishReason="STOP"),
    )
    assert only(events, Extra) == [Extra("google", {"citation_metadata": {"citations": [first, second]}})]


_TEXTS = st.lists(st.text("aé€😀 *\n", max_size=6), min_size=1, max_size=6)


@given(_TEXTS, st.data())
def test_every_true_segment_is_found_at_its_place(texts: list[str], data: st.DataObject) -> None:
    """G-158: for any text, cut into any chunks."""
    text = "".join(["x", *texts])
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    first, last = len(text[:start].encode()), len(text[:end].encode())
    metadata = grounded(support(text[start:end], first, last))
    pieces = [chunk({"text": piece}, index=0) for piece in ["x", *texts]]
    events = read(*pieces, chunk(index=0, finishReason="STOP", groundingMetadata=metadata))
    assert spans(events) == [(start, end)]
