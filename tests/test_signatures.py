"""Thought signatures come back to the upstream although the client lost them."""

from pathlib import Path

import pytest

from proxy.memory.signature_file import SignatureFile
from proxy.memory.signatures import SignatureMemory, SignatureRecorder
from proxy.types import ChatRequest, FunctionCall, Image, MediaPart, Message, Slice, Text, TextPart, ToolCall

GOOGLE = "https://google.example/v1beta"
OTHER = "https://other.example/v1beta"


def memory_after(*events: object, owner: str = "app") -> SignatureMemory:
    memory = SignatureMemory()
    recorder = SignatureRecorder(memory, GOOGLE, owner)
    recorder.watch(events)  # type: ignore[arg-type]
    recorder.close()
    return memory


def history(*messages: Message) -> ChatRequest:
    return ChatRequest("m", (Message("user", (TextPart("hi"),)), *messages))


CALL = ToolCall(0, "call_1", "weather", '{"city":"Paris"}', signature="U0lH")


def restored_call(
    memory: SignatureMemory, call: FunctionCall, issuer: str = GOOGLE, owner: str = "app"
) -> FunctionCall:
    return memory.restore(history(Message("assistant", calls=(call,))), issuer, owner).messages[1].calls[0]


def test_a_signature_dropped_by_the_client_is_restored_by_the_call_id() -> None:
    """G-093"""
    call = FunctionCall("call_1", "weather", {"city": "changed"})
    assert restored_call(memory_after(CALL), call).signature == "U0lH"


def test_a_client_that_makes_its_own_ids_is_known_by_what_it_calls() -> None:
    call = FunctionCall("own", "weather", {"city": "Paris"})
    assert restored_call(memory_after(CALL), call).signature == "U0lH"


def test_a_call_in_pieces_is_known_by_the_whole_of_its_arguments() -> None:
    memory = memory_after(
        ToolCall(0, "call_1", "weather", '{"city"', signature="U0lH"), ToolCall(0, "", "", ':"Paris"}')
    )
    assert restored_call(memory, FunctionCall("own", "weather", {"city": "Paris"})).signature == "U0lH"


def test_a_sibling_without_a_signature_stays_without() -> None:
    memory = memory_after(CALL, ToolCall(1, "call_2", "weather", '{"city":"London"}'))
    assert restored_call(memory, FunctionCall("call_2", "weather", {"city": "London"})).signature is None


def test_a_sibling_is_not_taken_for_an_equal_call_that_was_signed_before() -> None:
    """G-091: of parallel calls only the first is signed; a guessed one would be refused as corrupted."""
    memory = memory_after(CALL, ToolCall(1, "call_2", "files", "{}", signature="RklMRQ=="))
    siblings = (
        FunctionCall("call_8", "weather", {"city": "Rome"}, signature="Uk9NRQ=="),
        FunctionCall("call_9", "files", {}),
    )
    request = history(Message("assistant", calls=siblings))
    assert memory.restore(request, GOOGLE, "app") is request
    unsigned = tuple(FunctionCall(f"own_{place}", "files", {}) for place in range(2))
    restored = memory.restore(history(Message("assistant", calls=unsigned)), GOOGLE, "app").messages[1].calls
    assert [call.signature for call in restored] == ["RklMRQ==", None]


def test_an_answer_is_known_by_its_text() -> None:
    memory = memory_after(Text("Hello "), Text("there"), Text("", signature="U0lH"))
    request = memory.restore(history(Message("assistant", (TextPart("Hello there"),))), GOOGLE, "app")
    assert request.messages[1].signature == "U0lH"


@pytest.mark.parametrize("size", [4, 64, 4000, 400_000])
def test_a_picture_is_known_by_its_bytes(size: int) -> None:
    """G-043: most clients that show pictures keep nothing but the data URL."""
    data = Slice(b"iVBO" * (size // 4))
    memory = memory_after(Image("image/png", data, signature="U0lH"))

    def restored(raw: bytes) -> object:
        shown = Message("assistant", (MediaPart("image", Slice(raw, b""), mime="image/png"),))
        return memory.restore(history(shown), GOOGLE, "app").messages[1].parts[0].signature

    assert restored(bytes(data.raw)) == "U0lH"
    assert restored(b"iVBO" * (size // 4 - 1) + b"iVB1") is None
    assert restored(bytes(data.raw) + b"iVBO") is None


def test_a_request_without_anything_to_restore_is_the_same_object() -> None:
    request = history(Message("assistant", (TextPart("Hello"),)))
    assert memory_after(CALL).restore(request, GOOGLE, "app") is request


def test_what_another_key_was_told_is_not_given_away() -> None:
    call = FunctionCall("call_1", "weather", {"city": "Paris"})
    assert restored_call(memory_after(CALL), call, owner="somebody else").signature is None


def test_a_signature_of_another_upstream_is_not_sent() -> None:
    """G-099"""
    memory = memory_after(CALL)
    assert restored_call(memory, FunctionCall("call_1", "weather", {}), issuer=OTHER).signature is None
    kept_by_client = FunctionCall("call_1", "weather", {"city": "Paris"}, signature="U0lH")
    assert restored_call(memory, kept_by_client, issuer=OTHER).signature is None
    assert restored_call(memory, kept_by_client).signature == "U0lH"


def test_the_memory_is_bounded_and_forgets_with_age() -> None:
    now = 0.0
    memory = SignatureMemory(entries=2, ttl_s=10, clock=lambda: now)
    for number in range(3):
        memory.put(("i", "o", "id", str(number)), f"s{number}")
    assert [memory.get(("i", "o", "id", str(number))) for number in range(3)] == [None, "s1", "s2"]
    now = 11.0
    assert memory.get(("i", "o", "id", "2")) is None
    assert len(memory) == 1


def test_workers_share_what_they_remember_through_a_file(tmp_path: Path) -> None:
    file = tmp_path / "signatures.db"
    first, second = (SignatureMemory(shared=SignatureFile(file)) for _ in range(2))
    first.put((GOOGLE, "app", "id", "call_1"), "U0lH")
    assert second.get((GOOGLE, "app", "id", "call_1")) == "U0lH"
    assert second.get((GOOGLE, "app", "id", "call_2")) is None


def test_the_shared_file_is_bounded(tmp_path: Path) -> None:
    file = SignatureFile(tmp_path / "signatures.db", entries=10)
    for number in range(1000):
        file.put(str(number), "s")
    assert sum(file.get(str(number)) is not None for number in range(1000)) == 10
    file.close()
