"""What every operation of every wire promises, whatever is asked of it."""

from __future__ import annotations

import base64
from dataclasses import fields
from typing import Any

import pytest

from proxy.errors import RequestError, UpstreamError
from proxy.types import (
    EmbedRequest,
    Foreign,
    MediaPart,
    ModerationRequest,
    Operation,
    Slice,
    SpeechRequest,
    Target,
    TextPart,
    TranscriptRequest,
    left_out,
)
from proxy.wires import chat_wire

RECORDING = MediaPart(
    "audio", Slice(base64.b64encode(b"RIFF\0\0\0\0WAVEfmt ")), mime="audio/wav", where="file"
)
FOREIGN = Foreign("openai", {"extra": 1})

# All that can be said, and a target that takes it.
ASKED: dict[type[Any], Any] = {
    EmbedRequest: EmbedRequest("m", ("a", "b"), 3, "retrieval_document", "T", "u", FOREIGN),
    SpeechRequest: SpeechRequest("m", "Hi", "alloy", "calm", "wav", 1.5, True, FOREIGN),
    TranscriptRequest: TranscriptRequest("m", RECORDING, True, "facts", True, "de", "p", 0.5, False, FOREIGN),
    ModerationRequest: ModerationRequest("m", ((TextPart("a"),),), FOREIGN),
}
GEMINI = {
    EmbedRequest: "gemini-embedding-001",
    SpeechRequest: "gemini-3.8-flash-tts",
    TranscriptRequest: "gemini-3-flash-preview",
}
CASES = [
    *(
        ("gemini", kind, Target("google", name, options={"timestamps": True}))
        for kind, name in GEMINI.items()
    ),
    *(("openai", kind, Target("lan", "m", "openai")) for kind in ASKED),
]


def operation_of(wire: str, kind: type[Any]) -> Operation:
    found = chat_wire(wire).operation(kind)
    assert found is not None
    return found


@pytest.mark.parametrize(("wire", "kind", "target"), CASES)
def test_what_is_asked_is_carried_or_named(wire: str, kind: type[Any], target: Target) -> None:
    """X-008: what a wire declares exists, and what it does not is named."""
    operation, request = operation_of(wire, kind), ASKED[kind]
    names = {one.name for one in fields(kind)}
    assert operation.carries <= names
    unread = {name.partition(".")[0] for name in left_out(request, operation.carries)}
    assert unread == names - operation.carries - {"stream"}


@pytest.mark.parametrize(("wire", "kind", "target"), CASES)
def test_a_request_is_not_changed_and_is_wholly_spread(wire: str, kind: type[Any], target: Target) -> None:
    operation, request = operation_of(wire, kind), ASKED[kind]
    before = repr(request)
    assert operation.unable(request, target) is None
    first, second = operation.build(request, target), operation.build(request, target)
    assert first == second
    assert repr(request) == before
    assert sum(operation.shares(request, target)) == request.n
    assert first.path.startswith("/")


@pytest.mark.parametrize(("wire", "kind", "target"), CASES)
@pytest.mark.parametrize(
    "payload",
    [{"error": {"message": "Out of order.", "code": 500}}, {}, {"message": "Out of order."}, {"error": "no"}],
)
def test_a_200_that_is_no_answer_is_an_error(
    wire: str, kind: type[Any], target: Target, payload: dict[str, Any]
) -> None:
    operation, request = operation_of(wire, kind), ASKED[kind]
    reader = operation.reader(request, target, operation.build(request, target))
    with pytest.raises(UpstreamError):
        _ = [reader.feed(payload), reader.close()]


@pytest.mark.parametrize(("kind", "name"), [*GEMINI.items(), (ModerationRequest, "gemini-2.5-flash")])
def test_a_model_of_geminis_does_its_own_kind_alone(kind: type[Any], name: str) -> None:
    """Each other kind is refused before anything is sent, naming the model."""
    for other, request in ASKED.items():
        operation = chat_wire("gemini").operation(other)
        if other is kind or operation is None or (other is TranscriptRequest and name == "gemini-2.5-flash"):
            continue
        refusal = operation.unable(request, Target("google", name, options={"timestamps": True}))
        assert isinstance(refusal, RequestError)
        assert refusal.attribute == "model"
