"""Thought signatures come back to the upstream although the client lost them."""

from pathlib import Path

import pytest

from proxy.memory.past import Past
from proxy.memory.signature_file import SignatureFile
from proxy.memory.signatures import Origin, SignatureMemory, SignatureRecorder
from proxy.types import (
    CallPart,
    ChatRequest,
    Image,
    MediaPart,
    Message,
    Part,
    ResultPart,
    Role,
    Slice,
    Text,
    TextPart,
    ThoughtPart,
    ToolCall,
)

GOOGLE = "https://google.example/v1beta"
MODEL = "gemini-3-pro-preview"
OTHER = "https://other.example/v1beta"


def memory_after(*events: object, owner: str = "app", asked: ChatRequest | None = None) -> SignatureMemory:
    memory = SignatureMemory()
    record(memory, *events, origin=Origin(GOOGLE, MODEL, owner), asked=asked)
    return memory


def record(
    memory: SignatureMemory,
    *events: object,
    origin: Origin | None = None,
    asked: ChatRequest | None = None,
) -> None:
    """The reply to a request, "hi" where nothing else is said."""
    before = Past((asked or history()).messages)
    recorder = SignatureRecorder(memory, origin or Origin(GOOGLE, MODEL, "app"), before)
    recorder.watch(events)  # type: ignore[arg-type]
    recorder.close()


def history(*messages: Message) -> ChatRequest:
    return ChatRequest("m", (said("hi"), *messages))


def said(*parts: str | Part, role: Role = "user") -> Message:
    return Message(role, tuple(TextPart(part) if isinstance(part, str) else part for part in parts))


def restored(
    memory: SignatureMemory,
    request: ChatRequest,
    *,
    issuer: str = GOOGLE,
    model: str = MODEL,
    owner: str = "app",
) -> ChatRequest:
    return memory.restore(request, Origin(issuer, model, owner), Past(request.messages))


def signatures(request: ChatRequest) -> list[str | None]:
    """Of all parts that the assistant made."""
    return [
        None if isinstance(part, ResultPart) else part.signature
        for message in request.messages
        if message.role == "assistant"
        for part in message.parts
    ]


CALL = ToolCall(0, "call_1", "weather", '{"city":"Paris"}', signature="U0lH")


def restored_call(
    memory: SignatureMemory, call: CallPart, issuer: str = GOOGLE, owner: str = "app"
) -> CallPart:
    request = history(Message("assistant", (call,)))
    [part] = restored(memory, request, issuer=issuer, owner=owner).messages[1].parts
    assert isinstance(part, CallPart)
    return part


def test_a_signature_dropped_by_the_client_is_restored_by_the_call_id() -> None:
    """G-093"""
    call = CallPart("call_1", "weather", {"city": "changed"})
    assert restored_call(memory_after(CALL), call).signature == "U0lH"


def test_a_client_that_makes_its_own_ids_is_known_by_what_it_calls() -> None:
    call = CallPart("own", "weather", {"city": "Paris"})
    assert restored_call(memory_after(CALL), call).signature == "U0lH"


def test_a_call_in_pieces_is_known_by_the_whole_of_its_arguments() -> None:
    memory = memory_after(
        ToolCall(0, "call_1", "weather", '{"city"', signature="U0lH"), ToolCall(0, "", "", ':"Paris"}')
    )
    assert restored_call(memory, CallPart("own", "weather", {"city": "Paris"})).signature == "U0lH"


def test_a_sibling_without_a_signature_stays_without() -> None:
    memory = memory_after(CALL, ToolCall(1, "call_2", "weather", '{"city":"London"}'))
    assert restored_call(memory, CallPart("call_2", "weather", {"city": "London"})).signature is None


def test_a_sibling_is_not_taken_for_an_equal_call_that_was_signed_before() -> None:
    """G-091: of parallel calls only the first is signed; a guessed one would be refused as corrupted."""
    memory = memory_after(CALL, ToolCall(1, "call_2", "files", "{}", signature="RklMRQ=="))
    siblings = (
        CallPart("call_8", "weather", {"city": "Rome"}, signature="Uk9NRQ=="),
        CallPart("call_9", "files", {}),
    )
    request = history(Message("assistant", siblings))
    assert restored(memory, request) is request
    unsigned = tuple(CallPart(f"own_{place}", "files", {}) for place in range(2))
    assert signatures(restored(memory, history(Message("assistant", unsigned)))) == ["RklMRQ==", None]


def test_an_answer_is_known_by_its_text() -> None:
    memory = memory_after(Text("Hello "), Text("there"), Text("", signature="U0lH"))
    request = restored(memory, history(said("Hello there", role="assistant")))
    assert request.messages[1].parts == (TextPart("Hello there", "U0lH"),)


@pytest.mark.parametrize("size", [4, 64, 4000, 400_000])
def test_a_picture_is_known_by_its_bytes(size: int) -> None:
    """G-043: most clients that show pictures keep nothing but the data URL."""
    data = Slice(b"iVBO" * (size // 4))
    memory = memory_after(Image("image/png", data, signature="U0lH"))

    def found(raw: bytes) -> list[str | None]:
        shown = Message("assistant", (MediaPart("image", Slice(raw, b""), mime="image/png"),))
        return signatures(restored(memory, history(shown)))

    assert found(bytes(data.raw)) == ["U0lH"]
    assert found(b"iVBO" * (size // 4 - 1) + b"iVB1") == [None]
    assert found(bytes(data.raw) + b"iVBO") == [None]


def test_a_request_without_anything_to_restore_is_the_same_object() -> None:
    request = history(Message("assistant", (TextPart("Hello"),)))
    assert restored(memory_after(CALL), request) is request


def test_what_another_key_was_told_is_not_given_away() -> None:
    call = CallPart("call_1", "weather", {"city": "Paris"})
    assert restored_call(memory_after(CALL), call, owner="somebody else").signature is None


def test_a_signature_of_another_upstream_is_not_sent() -> None:
    """G-099"""
    memory = memory_after(CALL)
    assert restored_call(memory, CallPart("call_1", "weather", {}), issuer=OTHER).signature is None
    kept_by_client = CallPart("call_1", "weather", {"city": "Paris"}, signature="U0lH")
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


# --- one conversation, one model -----------------------------------------------------------------


ANSWER = said("Yes", role="assistant")
LISTED = Message("assistant", (CallPart("own", "weather", {"city": "Paris"}),))
DRAWN = Message("assistant", (MediaPart("image", Slice(b"iVBO" * 9), mime="image/png"),))
CALLED = (
    Message("assistant", (CallPart("x", "ls", {}),)),
    Message("user", (ResultPart("x", None, (TextPart("a.txt"),)),)),
)
EVERYTHING = pytest.mark.parametrize(
    ("event", "answer"),
    [
        pytest.param(Text("Yes", signature="U0lH"), ANSWER, id="text"),
        pytest.param(CALL, LISTED, id="call"),
        pytest.param(Image("image/png", Slice(b"iVBO" * 9), signature="U0lH"), DRAWN, id="picture"),
    ],
)


@EVERYTHING
@pytest.mark.parametrize(
    "others",
    [
        pytest.param((said("another question"),), id="text"),
        pytest.param((said("Be brief.", role="system"), said("hi")), id="system"),
        pytest.param((said("hi", MediaPart("image", Slice(b"AAAA"))),), id="picture"),
        pytest.param((said("hi", MediaPart("image", url="https://x/a.png")),), id="address"),
        pytest.param((said("hi"), said("ho", role="assistant"), said("hi")), id="an earlier turn"),
        pytest.param(
            (said("hi"), *CALLED),
            id="a result",
        ),
    ],
)
def test_what_is_known_by_its_content_stays_in_its_conversation(
    event: object, answer: Message, others: tuple[Message, ...]
) -> None:
    memory = memory_after(event)
    assert signatures(restored(memory, history(answer))) == ["U0lH"]
    assert set(signatures(restored(memory, ChatRequest("m", (*others, answer))))) == {None}


@EVERYTHING
def test_what_another_model_signed_is_not_sent(event: object, answer: Message) -> None:
    memory = memory_after(event)
    assert signatures(restored(memory, history(answer), model="gemini-3-flash-preview")) == [None]
    kept = history(Message("assistant", (CallPart("call_1", "weather", {}),)))
    assert signatures(restored(memory_after(CALL), kept, model="gemini-3-flash-preview")) == [None]


def test_two_calls_that_differ_in_one_argument_are_two_pasts() -> None:
    def asked(city: str, result: str) -> ChatRequest:
        call = Message("assistant", (CallPart("a", "weather", {"city": city}),))
        return history(call, Message("user", (ResultPart("a", None, (TextPart(result),)),)))

    memory = memory_after(Text("Yes", signature="U0lH"), asked=asked("Paris", "sun"))
    for city, result, found in (("Paris", "sun", "U0lH"), ("Rome", "sun", None), ("Paris", "rain", None)):
        request = ChatRequest("m", (*asked(city, result).messages, ANSWER))
        assert signatures(restored(memory, request))[-1] == found


def test_what_clients_change_between_turns_does_not_matter() -> None:
    """Ids that a client makes anew, thoughts it drops, texts in parts, pictures that are forgotten."""
    first = history(
        Message("assistant", (ThoughtPart("hm"), *DRAWN.parts, CallPart("a", "weather", {"x": 1, "y": 2}))),
        Message("user", (ResultPart("a", "weather", (TextPart("sun"),)),)),
        said("And now?"),
    )
    memory = memory_after(Text("Yes", signature="U0lH"), asked=first)
    later = history(
        Message("assistant", (CallPart("b", "weather", {"y": 2, "x": 1}),)),
        Message("user", (ResultPart("b", None, (TextPart("sun"),)),)),
        said("And ", "now?"),
        said("\nYes ", role="assistant"),
    )
    assert signatures(restored(memory, later)) == [None, "U0lH"]


def test_an_answer_that_a_client_cut_in_two_is_one_answer() -> None:
    memory = memory_after(Text("Wait"), CALL)
    request = history(said("Wait", role="assistant"), LISTED)
    assert signatures(restored(memory, request)) == [None, "U0lH"]
    begun = history(said("Once", role="assistant"))  # the model went on from there
    memory = memory_after(Text(" upon", signature="U0lH"), asked=begun)
    request = history(said("Once", role="assistant"), said(" upon", role="assistant"))
    assert signatures(restored(memory, request)) == [None, "U0lH"]


def test_each_turn_gets_the_signature_of_its_own_past() -> None:
    memory = SignatureMemory()
    turns: list[Message] = []
    for number in range(3):
        turns.append(said("again"))
        asked = ChatRequest("m", tuple(turns))
        record(memory, Text("Yes", signature=f"sig{number}"), asked=asked)
        turns.append(ANSWER)
    assert signatures(restored(memory, ChatRequest("m", tuple(turns)))) == ["sig0", "sig1", "sig2"]


def test_a_past_is_read_once() -> None:
    """However many answers ask: a digest that is made anew for each of 20,000 would not end."""
    memory = memory_after(CALL)
    messages = [said("x" * 500, role="user" if number % 2 else "assistant") for number in range(20_000)]
    request = ChatRequest("m", (*messages, *(ANSWER for _ in range(20_000))))
    assert restored(memory, request) is request


def test_the_past_is_not_read_where_nothing_was_signed() -> None:
    class Unread(Past):
        def before(self, position: int) -> str:
            raise AssertionError

    request = history(ANSWER, said("go"), LISTED)
    before = Unread(request.messages)
    assert SignatureMemory().restore(request, Origin(GOOGLE, MODEL, "app"), before) is request
    assert memory_after(CALL).restore(request, Origin(OTHER, "llama", "app"), before) is request


def test_arguments_that_json_cannot_hold_do_no_harm() -> None:
    nested: dict[str, object] = {}
    for _ in range(400):
        nested = {"a": nested}
    request = history(Message("assistant", (CallPart("x", "f", nested),)), said("\ud83d"), ANSWER)
    assert restored(memory_after(CALL), request) is request


# --- bounds ----------------------------------------------------------------------------------------


def test_the_memory_is_bounded_in_bytes_and_forgets_the_oldest() -> None:
    memory = SignatureMemory(max_bytes=1_000_000)
    for number in range(40):
        memory.put(("i", "m", "o", "id", str(number)), "s" * 100_000)
    kept = [number for number in range(40) if memory.get(("i", "m", "o", "id", str(number)))]
    assert kept == [31, 32, 33, 34, 35, 36, 37, 38, 39]


def test_replaced_and_expired_entries_give_their_bytes_back() -> None:
    now = 0.0
    memory = SignatureMemory(max_bytes=1_000_000, ttl_s=10, clock=lambda: now)
    for _ in range(40):
        memory.put(("i", "m", "o", "id", "same"), "s" * 200_000)
    memory.put(("i", "m", "o", "id", "a"), "s" * 200_000)
    now = 11.0
    assert memory.get(("i", "m", "o", "id", "same")) is None
    for name in "bcd":
        memory.put(("i", "m", "o", "id", name), "s" * 200_000)
    assert len(memory) == 4


def test_a_recorded_signature_of_1_46_mb_is_remembered() -> None:
    long = "A" * 1_460_000
    memory = memory_after(ToolCall(0, "call_1", "weather", "{}", signature=long))
    assert restored_call(memory, CallPart("call_1", "weather", {})).signature == long


def test_a_signature_that_needs_all_the_room_pushes_nothing_out() -> None:
    memory = SignatureMemory(max_bytes=1_000_000)
    memory.put(("i", "m", "o", "id", "a"), "s")
    memory.put(("i", "m", "o", "id", "b"), "s" * 2_000_000)
    assert (memory.get(("i", "m", "o", "id", "a")), memory.get(("i", "m", "o", "id", "b"))) == ("s", None)


def test_workers_share_what_they_remember_through_a_file(tmp_path: Path) -> None:
    file = tmp_path / "signatures.db"
    first, second = (SignatureMemory(shared=SignatureFile(file)) for _ in range(2))
    first.put((GOOGLE, MODEL, "app", "id", "call_1"), "U0lH")
    assert second.get((GOOGLE, MODEL, "app", "id", "call_1")) == "U0lH"
    assert second.get((GOOGLE, MODEL, "app", "id", "call_2")) is None


def test_the_shared_file_is_bounded(tmp_path: Path) -> None:
    file = SignatureFile(tmp_path / "signatures.db", entries=10)
    for number in range(1000):
        file.put(str(number), "s")
    assert sum(file.get(str(number)) is not None for number in range(1000)) == 10
    file.close()


def test_the_shared_file_is_bounded_in_bytes(tmp_path: Path) -> None:
    """Long signatures are tidied away before a thousand of them have come."""
    file = SignatureFile(tmp_path / "signatures.db", max_bytes=1_000_000)
    for number in range(80):
        file.put(str(number), "s" * 50_000)
    kept = [number for number in range(80) if file.get(str(number))]
    assert kept == list(range(kept[0], 80))
    assert 18 <= len(kept) <= 22
    file.put("whole", "s" * 900_000)
    assert file.get("whole") is None
    assert file.get("79") is not None
    file.close()


def test_a_worker_finds_by_content_what_another_one_saw(tmp_path: Path) -> None:
    file = tmp_path / "signatures.db"
    first, second = (SignatureMemory(shared=SignatureFile(file)) for _ in range(2))
    record(first, Text("Yes", signature="U0lH"))
    assert signatures(restored(second, history(ANSWER))) == ["U0lH"]
    assert signatures(restored(second, ChatRequest("m", (said("ho"), ANSWER)))) == [None]
