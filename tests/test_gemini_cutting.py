"""A Gemini reply cut anywhere gives the same events, and no reply breaks the reader."""

import contextlib
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import UpstreamError
from proxy.types import (
    Event,
    Reasoning,
    Slice,
    Started,
    Text,
)
from tests.gemini_replies import PNG, call, chunk, read, reply

_SIGNATURES = st.sampled_from([None, "c2ln", "QUJD"])
_PARTS = st.one_of(
    st.builds(lambda text: {"text": text}, st.text(max_size=8)),
    st.builds(lambda text: {"text": text, "thought": True}, st.text(max_size=8)),
    st.builds(lambda text, sign: {"text": text, "thoughtSignature": sign}, st.text(max_size=3), _SIGNATURES),
    st.builds(lambda id: call("f", id=id, args={"a": id}), st.uuids().map(str)),
    st.sampled_from(
        [
            {},
            {"thoughtSignature": "c2ln"},
            {"inlineData": {"mimeType": "image/png", "data": PNG}},
            {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
            {"executableCode": {"language": "PYTHON", "code": "1"}},
            {"codeExecutionResult": {"output": "1"}},
            {"toolCall": {"id": "t"}},
        ]
    ),
)


def melted(events: list[Event]) -> list[Any]:
    """Adjacent text joined, and what only a stream tells at its begin left out."""
    result: list[Any] = []
    for event in events:
        last = result[-1] if result else None
        if type(event) is Text and type(last) is Text and last.signature is None:
            result[-1] = Text(last.text + event.text, 0, event.signature)
        elif type(event) is Reasoning and type(last) is Reasoning:
            result[-1] = Reasoning(last.text + event.text)
        elif type(event) is Started:
            result.append(replace(event, prompt=0, cached=0))
        else:
            result.append(event)
    return result


@given(st.lists(_PARTS, max_size=12), st.data())
def test_a_reply_cut_into_any_chunks_gives_the_same_events(parts: list[Any], data: st.DataObject) -> None:
    parts = [{"text": "x"}, *parts]
    chunks, rest = [], parts
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        chunks.append(chunk(*rest[:size]))
        rest = rest[size:]
    counted = {"usageMetadata": {"promptTokenCount": 1, "totalTokenCount": 1}}
    whole = read(reply(*parts) | counted)
    cut = read(*(piece | counted for piece in chunks), chunk(finishReason="STOP") | counted, stream=True)
    assert melted(cut) == melted(whole)


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=4) | st.just(Slice(b"QUJD")),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)


def objects(*keys: str, of: st.SearchStrategy[Any] = _JUNK) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(keys), _JUNK | of, max_size=4) | _JUNK


_CALL = objects(
    "name", "id", "args", "partialArgs", "willContinue", of=st.lists(objects("jsonPath", "stringValue"))
)
_BLOB = objects("mimeType", "data", "fileUri", "code", "language", "output")
_PART_KEYS = (
    "text",
    "thought",
    "thoughtSignature",
    "functionCall",
    "inlineData",
    "fileData",
    "executableCode",
)
_ANY_PART = objects(*_PART_KEYS, "codeExecutionResult", "toolCall", of=_CALL | _BLOB)
_CONTENT = _JUNK | st.fixed_dictionaries({"parts": st.lists(_ANY_PART | _JUNK, max_size=4) | _JUNK})
_SEGMENT = objects("startIndex", "endIndex", "partIndex", "text")
_SUPPORT = objects("segment", "groundingChunkIndices", of=_SEGMENT | st.just([0, 7, "x"]))
_CHUNK = objects("web", "maps", of=objects("uri", "title"))
_GROUNDING = objects("groundingChunks", "groundingSupports", of=st.lists(_CHUNK | _SUPPORT))
_TOKENS = objects("token", "logProbability", "candidates", of=st.lists(objects("token", "logProbability")))
_LOGPROBS = objects("chosenCandidates", "topCandidates", of=st.lists(_TOKENS))
_PAGES = objects("urlMetadata", of=st.lists(objects("retrievedUrl", "urlRetrievalStatus")))
_CANDIDATE = st.fixed_dictionaries(
    {},
    optional={
        "content": _CONTENT,
        "index": _JUNK,
        "finishReason": _JUNK,
        "finishMessage": _JUNK,
        "groundingMetadata": _GROUNDING,
        "logprobsResult": _LOGPROBS,
        "citationMetadata": objects("citations"),
        "urlContextMetadata": _PAGES,
    },
)
_PAYLOAD = st.fixed_dictionaries(
    {},
    optional={
        "candidates": st.lists(_CANDIDATE | _JUNK, max_size=3) | _JUNK,
        "usageMetadata": objects("promptTokenCount", "candidatesTokensDetails", "serviceTier"),
        "promptFeedback": objects("blockReason", "blockReasonMessage"),
        "error": objects("code", "message", "status", "details"),
        "responseId": _JUNK,
        "modelVersion": _JUNK,
        "createTime": _JUNK,
        "data": _JUNK,
        "_billing": _JUNK,
    },
)


@given(st.lists(_PAYLOAD | _JUNK, max_size=4), st.booleans())
def test_whatever_comes_is_read_or_refused(payloads: list[Any], stream: bool) -> None:
    """G-147: `UpstreamError` is the only exception."""
    with contextlib.suppress(UpstreamError):
        read(*payloads, stream=stream)
