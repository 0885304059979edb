"""`/v1/audio/speech` through a real server over strict simulated vendors, and its wires by themselves."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import orjson
import pytest

from proxy.errors import RequestError, UpstreamError
from proxy.fronts.base import Facts
from proxy.fronts.openai.speech import request as speech_request
from proxy.fronts.openai.speech.front import SpeechFront
from proxy.simulators import pictures
from proxy.sounds import encoding, formats
from proxy.types import Audio, Finish, Slice, SpeechRequest, Target, Usage
from proxy.wires.gemini.speech import GeminiSpeech
from proxy.wires.openai.speech import OpenAISpeech
from tests.gateway import KEY, Gateway, open_gateway, operations
from tests.served import waited

FILE = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
providers:
  google: {wire: gemini, base_url: "http://SIMULATORS/gemini/v1beta", keys: [env:VENDOR_KEY], private: true}
  strict:
    {wire: openai, base_url: "http://SIMULATORS/openai-strict/v1", keys: [env:VENDOR_KEY], private: true}
defaults: {speech_model: tts}
models:
  tts: {targets: [google/gemini-3.8-flash-tts], price: {input: 0.50, output: 9.00}}
  own: {targets: [google/gemini-3.8-flash-tts], options: {voices: {anna: Zephyr}}}
  theirs: {targets: [strict/tts-1]}
  falls: {targets: [google/gemini-3.8-flash-tts], fallback: [strict/tts-1]}
  chat: {targets: [google/gemini-3-flash-preview]}
"""
SAMPLES = pictures.pcm()
TTS = Target("google", "gemini-3.8-flash-tts")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("speech"), FILE) as opened:
        yield opened


def speak(gateway: Gateway, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    own = {"authorization": f"Bearer {KEY}", **(headers or {})}
    body = {"input": "Good morning.", "voice": "alloy", **body}
    return httpx.post(f"{gateway.base_url}/v1/audio/speech", json=body, headers=own, timeout=20)


def events_of(reply: httpx.Response) -> list[Any]:
    assert reply.headers["content-type"].startswith("text/event-stream")
    return [orjson.loads(frame.removeprefix("data: ")) for frame in reply.text.split("\n\n") if frame]


def refusal(reply: httpx.Response) -> tuple[int, Any, Any]:
    error = reply.json()["error"]
    return reply.status_code, error["param"], error["code"]


# --- Gemini


def test_the_example_of_the_reference() -> None:
    """E-010, E-014, E-015: words for the manner stand before the text; the answer is sound alone."""
    body = {
        "model": "gemini-tts",
        "voice": "alloy",
        "input": "Good morning.",
        "instructions": "Warm and slow",
        "response_format": "wav",
    }
    parsed = speech_request.parse(body)
    call = GeminiSpeech().build(parsed.request, TTS)
    assert call.path == "/models/gemini-3.8-flash-tts:generateContent"
    assert call.body == {
        "contents": [{"role": "user", "parts": [{"text": "Warm and slow: Good morning."}]}],
        "generationConfig": {
            "responseModalities": ["AUDIO"],
            "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
        },
    }
    sound = Audio("audio/L16;codec=pcm;rate=24000", Slice(b"AAABAA=="))
    reply = b"".join(SpeechFront().renderer(parsed, Facts(0)).whole([sound, Finish("stop")]))
    assert reply.hex(" ", 4) == (
        b"RIFF\x28\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\xc0\x5d\x00\x00\x80\xbb\x00\x00"
        b"\x02\x00\x10\x00data\x04\x00\x00\x00\x00\x00\x01\x00"
    ).hex(" ", 4)
    assert parsed.answers_as == b"audio/wav"


def test_a_wav_file_is_one(gateway: Gateway) -> None:
    """E-010, E-012: its header tells its size, and the reply its length."""
    reply = speak(gateway, model="tts", response_format="wav")
    assert reply.headers["content-type"] == "audio/wav"
    assert int(reply.headers["content-length"]) == len(reply.content) == 44 + len(SAMPLES)
    with wave.open(io.BytesIO(reply.content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24000, 1, 2)
        assert file.readframes(file.getnframes()) == SAMPLES


def test_openais_sdk_reads_raw_samples(gateway: Gateway) -> None:
    """E-010, E-012: `pcm` is what Gemini gives."""
    client = gateway.client()
    reply = client.audio.speech.create(model="tts", voice="alloy", input="Hi", response_format="pcm")
    assert reply.read() == SAMPLES
    assert reply.response.headers["content-type"] == "audio/pcm"
    with client.audio.speech.with_streaming_response.create(
        model="tts", voice="alloy", input="Hi", response_format="pcm"
    ) as streamed:
        assert b"".join(streamed.iter_bytes()) == SAMPLES


@pytest.mark.skipif("mp3" not in encoding.makeable(), reason="the extra audio is not installed")
def test_the_default_is_mp3_where_there_is_an_encoder(gateway: Gateway) -> None:
    """E-011"""
    reply = speak(gateway, model="tts")
    assert reply.headers["content-type"] == "audio/mpeg"
    assert reply.content[0] == 0xFF
    assert reply.content[1] & 0xE0 == 0xE0  # the eleven bits that begin a frame
    assert 500 < len(reply.content) < len(SAMPLES)
    pieces = [
        base64.b64decode(one["audio"])
        for one in events_of(speak(gateway, model="tts", stream_format="sse"))[:-1]
    ]
    assert b"".join(pieces) == reply.content


@pytest.mark.skipif("mp3" not in encoding.makeable(), reason="the extra audio is not installed")
def test_samples_that_come_in_halves_are_encoded_all_the_same() -> None:
    def encoded(*pieces: bytes) -> bytes:
        encoder = encoding.Mp3("audio/L16;rate=24000")
        return b"".join([*map(encoder.feed, pieces), encoder.close()])

    assert encoded(SAMPLES[:3], SAMPLES[3:4], b"", SAMPLES[4:], b"\x01") == encoded(SAMPLES)


def test_without_an_encoder_the_formats_that_work_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """E-011: never samples under the name of another format."""
    encoding.makeable.cache_clear()
    monkeypatch.setattr("proxy.sounds.encoding.find_spec", lambda name: None)
    try:
        with pytest.raises(
            RequestError, match=r"as wav, pcm, not as mp3: that needs the extra 'audio'"
        ) as caught:
            GeminiSpeech().build(SpeechRequest("m", "Hi"), TTS)
    finally:
        encoding.makeable.cache_clear()
    assert caught.value.attribute == "format"


@pytest.mark.parametrize("kind", ["opus", "aac", "flac"])
def test_a_format_that_cannot_be_made_is_refused(gateway: Gateway, kind: str) -> None:
    """E-011"""
    before = len(gateway.sent())
    assert refusal(speak(gateway, model="tts", response_format=kind)) == (
        400,
        "response_format",
        "unsupported_value",
    )
    assert len(gateway.sent()) == before
    fallen = speak(gateway, model="falls", response_format=kind)
    assert (fallen.status_code, fallen.headers["content-type"]) == (200, formats.TYPES[kind])


def test_events_are_deltas_and_a_done_with_usage(gateway: Gateway) -> None:
    """E-013, E-016: a whole answer is one delta."""
    *deltas, done = events_of(speak(gateway, model="tts", response_format="pcm", stream_format="sse"))
    assert {one["type"] for one in deltas} == {"speech.audio.delta"}
    assert b"".join(base64.b64decode(one["audio"]) for one in deltas) == SAMPLES
    usage = done["usage"]
    assert done["type"] == "speech.audio.done"
    assert usage["input_tokens"] + usage["output_tokens"] == usage["total_tokens"]
    assert usage["output_tokens"] == 16


def test_a_streamed_wav_begins_with_a_header_without_a_size(gateway: Gateway) -> None:
    """E-010"""
    first, _ = events_of(speak(gateway, model="tts", response_format="wav", stream_format="sse"))
    data = base64.b64decode(first["audio"])
    assert data[:8] == b"RIFF\xff\xff\xff\xff"
    assert data[40:] == b"\xff\xff\xff\xff" + SAMPLES


def test_only_the_first_piece_has_the_header() -> None:
    parsed = speech_request.parse(
        {"model": "m", "input": "a", "response_format": "wav", "stream_format": "sse"}
    )
    renderer = SpeechFront().renderer(parsed, Facts(0))
    sound = Audio("audio/L16;rate=16000", Slice(b"AAABAA=="))
    frames = b"".join(renderer.feed([sound, sound]) + renderer.feed([Usage(4, 50)]) + renderer.finish())
    first, second, done = [orjson.loads(one[6:]) for one in frames.split(b"\n\n")[:-1]]
    assert base64.b64decode(first["audio"])[24:28] == (16000).to_bytes(4, "little")
    assert second == {"type": "speech.audio.delta", "audio": "AAABAA=="}
    assert done == {
        "type": "speech.audio.done",
        "usage": {"input_tokens": 4, "output_tokens": 50, "total_tokens": 54},
    }


@pytest.mark.parametrize(
    ("model", "voice", "sent"),
    [
        ("tts", "alloy", "Kore"),
        ("tts", "verse", "Iapetus"),
        ("tts", "Charon", "Charon"),
        ("tts", {"id": "cedar"}, "Rasalgethi"),
        ("own", "anna", "Zephyr"),
        ("own", "nova", "Leda"),
    ],
)
def test_voices_are_googles_or_found_in_a_table(gateway: Gateway, model: str, voice: Any, sent: str) -> None:
    """E-015"""
    assert speak(gateway, model=model, voice=voice, response_format="pcm").status_code == 200
    config = gateway.sent()[-1].body["generationConfig"]["speechConfig"]
    assert config == {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": sent}}}


def test_a_voice_that_nobody_has_is_the_clients_mistake(gateway: Gateway) -> None:
    reply = speak(gateway, model="tts", voice="nobody", response_format="pcm")
    assert reply.status_code == 400
    assert "nobody" in reply.json()["error"]["message"]


def test_a_model_that_says_nothing_is_a_502_with_the_reason() -> None:
    """E-014: text, or no part at all, is no file."""
    request = SpeechRequest("m", "Hi", format="pcm")
    wire = GeminiSpeech()
    for candidate, words in [
        ({"content": {"parts": [{"text": "I cannot."}]}, "finishReason": "STOP"}, "I cannot."),
        ({"finishReason": "OTHER"}, "OTHER"),
    ]:
        reader = wire.reader(request, TTS, wire.build(request, TTS))
        with pytest.raises(UpstreamError, match=words) as caught:
            _ = [
                *reader.feed({"candidates": [candidate], "usageMetadata": {"promptTokenCount": 3}}),
                *reader.close(),
            ]
        assert caught.value.status == 502


def test_a_blocked_text_is_told_as_blocked(gateway: Gateway) -> None:
    reply = speak(gateway, model="tts", input="sim:block", response_format="pcm")
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "content_policy_violation")


def test_a_text_longer_than_the_model_reads_is_refused(gateway: Gateway) -> None:
    """E-016"""
    reply = speak(gateway, model="tts", input="word " * 8000, response_format="pcm")
    assert refusal(reply) == (400, "input", "context_length_exceeded")


def test_what_is_not_carried_is_named(gateway: Gateway) -> None:
    reply = speak(gateway, model="tts", response_format="pcm", speed=1.1, lang="de")
    assert sorted(reply.headers["x-proxy-dropped"].split(", ")) == ["lang", "speed"]
    strict = speak(gateway, {"x-proxy-strict": "true"}, model="tts", response_format="pcm", speed=1.1)
    assert refusal(strict) == (400, "speed", "unsupported_parameter")


def test_speech_costs_what_the_file_says(gateway: Gateway) -> None:
    reply = speak(gateway, model="tts", response_format="wav")
    assert reply.headers["x-proxy-cost"].endswith(" USD")
    assert waited(lambda: operations(gateway)) == {"speech"}


# --- servers that speak OpenAI


@pytest.mark.parametrize("kind", list(formats.TYPES))
def test_a_file_of_a_server_that_speaks_openai_goes_through_as_it_is(gateway: Gateway, kind: str) -> None:
    """E-012"""
    reply = speak(gateway, model="theirs", response_format=kind, speed=1.5, instructions="calm")
    assert reply.headers["content-type"] == formats.TYPES[kind]
    sent = gateway.sent()[-1].body
    assert sent == {
        "model": "tts-1",
        "input": "Good morning.",
        "voice": "alloy",
        "response_format": kind,
        "speed": 1.5,
        "instructions": "calm",
    }
    if kind == "pcm":
        assert reply.content == SAMPLES
    elif kind == "wav":
        with wave.open(io.BytesIO(reply.content)) as file:
            assert file.readframes(file.getnframes()) == SAMPLES
    else:
        assert reply.content == f"{kind} of Good morning.".encode()


def test_its_samples_come_in_whole_ones() -> None:
    """E-013"""
    wire, request, target = OpenAISpeech(), SpeechRequest("m", "a", format="pcm"), Target("lan", "tts")
    reader = wire.reader(request, target, wire.build(request, target))
    events = [
        event
        for piece in (b"abc", b"d", b"e")
        for event in reader.feed({"mime": "audio/pcm", "bytes": piece})
    ]
    assert [event.data.decode() for event in events if isinstance(event, Audio)] == [b"ab", b"cd"]


@pytest.mark.parametrize(
    "payloads",
    [[], [{"mime": "audio/wav", "bytes": b"RIFF"}], [{"error": {"message": "no"}}]],
    ids=["nothing", "another format", "an error in a 200"],
)
def test_its_answer_is_the_format_that_was_asked_for_or_an_error(payloads: list[Any]) -> None:
    wire, request, target = OpenAISpeech(), SpeechRequest("m", "a", format="mp3"), Target("lan", "tts")
    reader = wire.reader(request, target, wire.build(request, target))
    with pytest.raises(UpstreamError):
        _ = [[event for payload in payloads for event in reader.feed(payload)], reader.close()]


def test_a_file_that_breaks_off_is_cut_and_never_looks_whole(gateway: Gateway) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        speak(gateway, model="theirs", input="a sim:cut:1", response_format="pcm")
    last = events_of(
        speak(gateway, model="theirs", input="a sim:cut:1", response_format="pcm", stream_format="sse")
    )[-1]
    assert last["error"]["code"]
    assert speak(gateway, model="theirs", input="a sim:cut:1", response_format="wav").status_code == 502


# --- the front


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": ""}, "input", "empty_string"),
        ({"voice": {"name": "x"}}, "voice.id", "missing_required_parameter"),
        ({"response_format": "ogg"}, "response_format", "invalid_value"),
        ({"speed": 9}, "speed", "decimal_above_max_value"),
        ({"stream_format": "json"}, "stream_format", "invalid_value"),
    ],
)
def test_a_wrong_field_is_refused_with_its_place(
    gateway: Gateway, body: dict[str, Any], param: str, code: str
) -> None:
    assert refusal(speak(gateway, model="tts", **body)) == (400, param, code)


def test_a_model_that_chats_does_not_speak(gateway: Gateway) -> None:
    assert refusal(speak(gateway, model="chat")) == (404, "model", "unsupported_endpoint")


def test_names_that_nobody_has_are_answered_by_the_default(gateway: Gateway) -> None:
    reply = speak(gateway, model="kokoro", response_format="pcm")
    assert reply.headers["x-proxy-model"] == "tts"


def test_a_failure_is_told_as_of_a_chat(gateway: Gateway) -> None:
    for model in ("tts", "theirs"):
        with pytest.raises(openai.RateLimitError):
            gateway.client().audio.speech.create(
                model=model, voice="alloy", input="sim:error:429", response_format="pcm"
            )
