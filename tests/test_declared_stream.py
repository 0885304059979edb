"""Replies in pieces: the same pictures as in one piece, whatever the framing."""

import json

import pytest

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Image, Slice, Usage
from proxy.upstream.payloads import decoder_for
from proxy.wires.declared import Pending
from tests.declared import JPEG, PNG, asked, target, wire
from tests.words import picture_code_of

RUNNING = {"id": "14-1", "status": "running", "progress": 30, "results": []}
DONE = {"id": "14-1", "status": "succeeded", "progress": 100, "results": [{"url": "https://f.example/1.png"}]}


def grsai_reader():
    grsai = wire("grsai")
    call = grsai.submit(asked(), target("grsai", "nano-banana", reply_type="stream"))
    assert call.stream
    return grsai.reader(call)


def play(reader, payloads):
    """All outcomes, the last one by `close` if the stream just ends."""
    outcomes = []
    for payload in payloads:
        outcome = reader.feed(payload)
        outcomes.append(outcome)
        if outcome is not None and not isinstance(outcome, Pending):
            return outcomes
    return [*outcomes, reader.close()]


LINES = [json.dumps(RUNNING), json.dumps(DONE)]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/event-stream", "".join(f"data: {line}\n\n" for line in LINES) + "data: [DONE]\n\n"),
        ("text/event-stream", "".join(f"data: {line}\n" for line in LINES)),
        ("text/plain", "\n".join(LINES)),
        ("application/json", "\n".join(LINES)),
        ("text/event-stream", ": hello\n\n" + "".join(f"event: x\ndata:{line}\r\n\r\n" for line in LINES)),
        ("application/json", json.dumps(DONE, indent=2)),
        ("text/event-stream", json.dumps(DONE, indent=2)),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_the_framing_makes_no_difference(content_type, body, step):
    """V-024"""
    raw = body.encode()
    decoder = decoder_for(content_type, raw[:64])
    payloads = [one for at in range(0, len(raw), step) for one in decoder.feed(raw[at : at + step])]
    outcomes = play(grsai_reader(), [*payloads, *decoder.close()])
    assert outcomes[-1].images == (Image("", url="https://f.example/1.png"),)
    assert outcomes[-1].task["id"] == "14-1"


def test_progress_is_told():
    outcomes = play(grsai_reader(), [RUNNING, DONE])
    assert (outcomes[0].state, outcomes[0].progress) == ("running", 30.0)


def test_a_stream_that_ends_early_goes_on_as_a_task():
    """V-025"""
    (_, last) = play(grsai_reader(), [RUNNING])
    assert isinstance(last, Pending)
    assert wire("grsai").poll(last.task).path == "/v1/api/result?id=14-1"


@pytest.mark.parametrize("payloads", [[], [{"status": "running"}], [{"hello": 1}]])
def test_a_stream_that_ends_with_nothing_is_a_failure(payloads):
    with pytest.raises(UpstreamError) as caught:
        play(grsai_reader(), payloads)
    assert caught.value.error_class is ErrorClass.EMPTY


def test_a_refusal_in_a_stream_is_raised():
    """V-023"""
    with pytest.raises(UpstreamError) as caught:
        play(grsai_reader(), [RUNNING, {"id": "14-1", "status": "violation", "error": "no"}])
    assert (picture_code_of(caught.value), caught.value.bought) == ("moderation_blocked", True)


# --- Seedream --------------------------------------------------------------------------------------


def seedream_reader():
    seedream = wire("seedream")
    return seedream.reader(seedream.submit(asked(), target("seedream", "m", stream=True)))


def made(base64, index):
    return {"type": "image_generation.partial_succeeded", "image_index": index, "b64_json": base64}


FAILED = {
    "type": "image_generation.partial_failed",
    "image_index": 1,
    "error": {"code": "OutputImageSensitiveContentDetected", "message": "not this"},
}
COMPLETED = {"type": "image_generation.completed", "usage": {"generated_images": 2, "output_tokens": 8}}


def test_one_failed_picture_does_not_discard_the_others():
    """V-046"""
    outcomes = play(seedream_reader(), [made(PNG, 0), FAILED, made(JPEG, 2), COMPLETED])
    assert outcomes[:-1] == [None, None, None, None]
    done = outcomes[-1]
    assert done.images == (
        Image("image/png", data=Slice(PNG.encode())),
        Image("image/jpeg", data=Slice(JPEG.encode())),
    )
    assert [(one.error_class, one.message) for one in done.item_errors] == [(ErrorClass.BLOCKED, "not this")]
    assert done.usage == Usage(completion=8, images=2)


def test_when_every_picture_failed_the_first_reason_is_told():
    with pytest.raises(UpstreamError) as caught:
        play(seedream_reader(), [FAILED, COMPLETED])
    assert caught.value.message == "not this"


def test_an_error_of_the_whole_stream_keeps_the_pictures_that_were_there():
    broken = {"error": {"code": "InternalServiceError", "message": "broken"}}
    done = play(seedream_reader(), [made(PNG, 0), broken])[-1]
    assert len(done.images) == 1
    assert [one.message for one in done.item_errors] == ["broken"]
    with pytest.raises(UpstreamError, match="broken"):
        play(seedream_reader(), [broken])


def test_a_whole_reply_to_a_streamed_call_is_read_too():
    done = play(seedream_reader(), [{"data": [{"b64_json": PNG}], "usage": {"generated_images": 1}}])[-1]
    assert done.images == (Image("image/png", data=Slice(PNG.encode())),)
    assert done.usage == Usage(images=1)
