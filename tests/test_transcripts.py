"""`/v1/audio/transcriptions` and `/translations` through a real server over strict simulated vendors."""

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
from proxy.fronts.base import Facts, Form
from proxy.fronts.openai.transcripts import request as transcript_request
from proxy.fronts.openai.transcripts.front import TranscriptsFront
from proxy.simulators import pictures
from proxy.types import (
    Finish,
    FormFile,
    Heard,
    MediaPart,
    Segment,
    Slice,
    Target,
    Text,
    TranscriptRequest,
    Usage,
)
from proxy.wires.gemini.transcripts import GeminiTranscripts
from proxy.wires.openai.transcripts import OpenAITranscripts
from tests.gateway import KEY, Gateway, open_gateway, operations
from tests.served import waited

FILE = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
providers:
  google: {wire: gemini, base_url: "http://SIMULATORS/gemini/v1beta", keys: [env:VENDOR_KEY], private: true}
  strict:
    {wire: openai, base_url: "http://SIMULATORS/openai-strict/v1", keys: [env:VENDOR_KEY], private: true}
defaults: {transcript_model: g}
models:
  g: {targets: [google/gemini-3-flash-preview], price: {input: 0.50, output: 3.00, input_audio: 1.00}}
  timed: {targets: [google/gemini-2.5-flash], options: {timestamps: true}}
  whisper: {targets: [strict/whisper-1]}
  gpt: {targets: [strict/gpt-4o-transcribe]}
  speakers: {targets: [strict/gpt-4o-transcribe-diarize]}
  tts: {targets: [google/gemini-3.8-flash-tts]}
"""
GEMINI = Target("google", "gemini-3-flash-preview", options={"timestamps": True})
OPENAI = Target("lan", "whisper-1")


def _wave() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(24000)
        sound.writeframes(pictures.pcm())
    return file.getvalue()


WAV = _wave()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("transcripts"), FILE) as opened:
        yield opened


def listen(
    gateway: Gateway,
    place: str = "transcriptions",
    *,
    file: tuple[str, bytes, str] | None = ("speech.mp3", WAV, "audio/mpeg"),
    strict: bool = False,
    **fields: Any,
) -> httpx.Response:
    headers = {"authorization": f"Bearer {KEY}", **({"x-proxy-strict": "true"} if strict else {})}
    files = {"file": file} if file is not None else {"nothing": (None, b"")}
    fields = {name.replace("__", "[]"): value for name, value in fields.items()}
    return httpx.post(
        f"{gateway.base_url}/v1/audio/{place}", data=fields, files=files, headers=headers, timeout=20
    )


def events_of(reply: httpx.Response) -> list[Any]:
    assert reply.headers["content-type"].startswith("text/event-stream"), reply.text
    return [orjson.loads(frame.removeprefix("data: ")) for frame in reply.text.split("\n\n") if frame]


def refusal(reply: httpx.Response) -> tuple[int, Any, Any]:
    error = reply.json()["error"]
    return reply.status_code, error["param"], error["code"]


def asked_of_gemini(gateway: Gateway) -> tuple[Any, str]:
    """The recording and the words of the last call."""
    (turn,) = gateway.sent()[-1].body["contents"]
    recording, words = turn["parts"]
    return recording["inlineData"], words["text"]


# --- Gemini


def test_openais_sdk_gets_what_gemini_hears(gateway: Gateway) -> None:
    """E-020, E-021: the recording and an instruction in one turn; its type is told by its bytes."""
    reply = gateway.client().audio.transcriptions.create(
        model="g", file=("speech.mp3", WAV), language="en", prompt="Names: Dragoman sim:text:Good morning."
    )
    assert reply.text == "Good morning."
    recording, words = asked_of_gemini(gateway)
    assert recording["mimeType"] == "audio/wav"
    assert words.startswith("Write down what is said in this recording, word for word,")
    assert "nothing else" in words
    assert "The language is en." in words
    assert "Names: Dragoman" in words
    usage = reply.to_dict()["usage"]
    assert usage["type"] == "tokens"  # type: ignore[index]
    assert usage["input_tokens"] + usage["output_tokens"] == usage["total_tokens"]  # type: ignore[index]


def test_a_translation_is_asked_for_in_english(gateway: Gateway) -> None:
    """E-024"""
    with pytest.deprecated_call():  # by OpenAI's SDK
        reply = gateway.client().audio.translations.create(
            model="g", file=("a.wav", WAV), prompt="sim:text:Hello"
        )
    assert reply.text == "Hello"
    assert asked_of_gemini(gateway)[1].startswith("Write down in English")


def test_plain_text_has_no_quotes(gateway: Gateway) -> None:
    """E-021"""
    reply = listen(gateway, model="g", response_format="text", prompt='sim:text:He said "no".')
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.text == 'He said "no".'


@pytest.mark.parametrize("model", ["g", "gpt"])
def test_a_stream_is_deltas_and_a_done_with_all_of_it(gateway: Gateway, model: str) -> None:
    """E-023"""
    words = "sim:text:Good morning to all of you"
    *deltas, done = events_of(listen(gateway, model=model, stream="true", prompt=words))
    assert {one["type"] for one in deltas} == {"transcript.text.delta"}
    assert len(deltas) > 1
    assert "".join(one["delta"] for one in deltas) == done["text"] == "Good morning to all of you"
    assert done["type"] == "transcript.text.done"
    assert done["usage"]["type"] == "tokens"
    assert done["usage"]["total_tokens"] > 0
    streamed = gateway.client().audio.transcriptions.create(
        model=model, file=("a.wav", WAV), stream=True, prompt=words
    )
    assert [event.type for event in streamed][-1] == "transcript.text.done"


@pytest.mark.parametrize("kind", ["srt", "vtt", "verbose_json", "diarized_json"])
def test_times_are_refused_where_the_file_does_not_say_that_they_are_good(
    gateway: Gateway, kind: str
) -> None:
    """E-022"""
    before = len(gateway.sent())
    reply = listen(gateway, model="g", response_format=kind)
    assert refusal(reply) == (400, "response_format", "unsupported_value")
    assert len(gateway.sent()) == before


def gemini_says(request: TranscriptRequest, answer: Any) -> list[Any]:
    wire = GeminiTranscripts()
    reader = wire.reader(request, GEMINI, wire.build(request, GEMINI))
    text = answer if isinstance(answer, str) else orjson.dumps(answer).decode()
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP"}
    events = reader.feed({"candidates": [candidate], "usageMetadata": {"promptTokenCount": 9}})
    return [*events, *reader.close()]


RECORDING = MediaPart("audio", Slice(base64.b64encode(WAV)), mime="audio/wav", where="file")


def test_segments_are_read_from_json_and_never_run_backwards() -> None:
    """E-022"""
    request = TranscriptRequest("m", RECORDING, detail="times")
    body = GeminiTranscripts().build(request, GEMINI).body
    assert body["generationConfig"]["responseMimeType"] == "application/json"
    events = gemini_says(
        request,
        {
            "language": "English",
            "segments": [
                {"start": 0, "end": 1.5, "text": "Good morning."},
                {"start": 1.2, "end": 0.5, "text": " And you?"},
                {"start": "?", "end": 4},
                "odd",
            ],
        },
    )
    assert [event for event in events if isinstance(event, Segment)] == [
        Segment("Good morning.", 0, 1.5),
        Segment("And you?", 1.5, 1.5),
    ]
    assert Text("Good morning. And you?") in events
    assert Heard("English", 1.5) in events


def test_what_is_no_list_of_segments_is_an_error() -> None:
    with pytest.raises(UpstreamError):
        gemini_says(TranscriptRequest("m", RECORDING, detail="times"), "Good morning.")


def test_verbose_json_of_a_marked_model_is_whole_and_names_what_nobody_knows(gateway: Gateway) -> None:
    """E-022: required numbers are 0, and said to be nothing."""
    reply = listen(
        gateway, model="timed", response_format="verbose_json", timestamp_granularities__=["word", "segment"]
    )
    body = reply.json()
    assert body["task"] == "transcribe"
    (segment, *_) = body["segments"]
    assert set(segment) >= {"id", "start", "end", "text", "tokens", "avg_logprob", "no_speech_prob", "seek"}
    assert (segment["avg_logprob"], segment["tokens"]) == (0.0, [])
    dropped = reply.headers["x-proxy-dropped"].split(", ")
    assert {"timestamp_granularities[]", "segments[].avg_logprob", "segments[].tokens"} <= set(dropped)
    assert listen(gateway, model="timed", response_format="verbose_json", strict=True).status_code == 400
    sdk = gateway.client().audio.transcriptions.create(
        model="timed", file=("a.wav", WAV), response_format="verbose_json"
    )
    assert sdk.segments
    assert listen(gateway, model="timed", response_format="srt").text.startswith("1\n00:00:0")


def test_a_recording_that_is_too_large_for_a_request_is_a_413(gateway: Gateway) -> None:
    """E-020: 20 MB at Google."""
    reply = listen(gateway, model="g", file=("a.wav", WAV + b"\0" * (20 << 20), "audio/wav"))
    assert refusal(reply) == (413, "file", "request_too_large")


def test_a_model_that_speaks_does_not_listen(gateway: Gateway) -> None:
    assert refusal(listen(gateway, model="tts")) == (404, "model", "unsupported_endpoint")


def test_names_that_nobody_has_are_answered_by_the_default(gateway: Gateway) -> None:
    assert listen(gateway, model="parakeet").headers["x-proxy-model"] == "g"


def test_it_costs_what_sound_costs_and_stands_in_the_ledger(gateway: Gateway) -> None:
    reply = listen(gateway, model="g", prompt="sim:text:Hi")
    assert reply.json()["usage"]["cost"] > 0
    assert reply.headers["x-proxy-cost"].endswith(" USD")
    assert reply.json()["usage"]["input_token_details"]["audio_tokens"] > 0
    assert waited(lambda: operations(gateway)) == {"transcripts"}


def test_a_failure_is_told_as_of_a_chat(gateway: Gateway) -> None:
    for model in ("g", "gpt"):
        with pytest.raises(openai.RateLimitError):
            gateway.client().audio.transcriptions.create(
                model=model, file=("a.wav", WAV), prompt="sim:error:429"
            )


def test_a_blocked_recording_is_told_as_blocked(gateway: Gateway) -> None:
    reply = listen(gateway, model="g", prompt="sim:block")
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "content_policy_violation")


# --- servers that speak OpenAI


@pytest.mark.parametrize("place", ["transcriptions", "translations"])
def test_the_form_goes_on_with_the_file_as_it_came(gateway: Gateway, place: str) -> None:
    """E-025"""
    file = ("speech 1.ogg", b"OggS and some sound", "audio/ogg")
    reply = listen(gateway, place, file=file, model="whisper", temperature="0.2")
    words = "English" if place == "translations" else "some"
    assert reply.json()["text"] == f"19 bytes of sound in speech 1.ogg, {words} words"
    sent = gateway.sent()[-1]
    assert sent.path == f"/v1/audio/{place}"
    parts = [part.strip() for part in sent.body.split(sent.body.partition("\r\n")[0])]
    assert parts == [
        "",
        'content-disposition: form-data; name="model"\r\n\r\nwhisper-1',
        'content-disposition: form-data; name="response_format"\r\n\r\njson',
        'content-disposition: form-data; name="temperature"\r\n\r\n0.2',
        'content-disposition: form-data; name="file"; filename="speech 1.ogg"\r\n'
        "content-type: audio/ogg\r\n\r\nOggS and some sound",
        "--",
    ]


def test_a_type_of_a_file_ends_no_header(gateway: Gateway) -> None:
    """Or it would name another model to a server that takes a line feed for a line's end."""
    file = ("a.ogg", b"OggS", 'audio/ogg\ncontent-disposition: form-data; name="model"')
    assert listen(gateway, file=file, model="whisper").status_code == 200
    sent = gateway.sent()[-1]
    assert sent.body.split("\r\n")[-6:-2] == [
        'content-disposition: form-data; name="file"; filename="a.ogg"',
        'content-type: audio/ogg content-disposition: form-data; name="model"',
        "",
        "OggS",
    ]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("text", "one two"),
        ("srt", "1\n00:00:00,000 --> 00:00:01,000\none\n\n2\n00:00:01,000 --> 00:00:02,000\ntwo\n"),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\none\n\n00:00:01.000 --> 00:00:02.000\ntwo\n"),
    ],
)
def test_texts_and_subtitles(gateway: Gateway, kind: str, expected: str) -> None:
    """E-021, E-022"""
    reply = listen(gateway, model="whisper", response_format=kind, prompt="sim:text:one two")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.text == expected
    sdk: Any = gateway.client().audio.transcriptions.create(
        model="whisper",
        file=("a.wav", WAV),
        response_format=kind,
        prompt="sim:text:one two",  # type: ignore[call-overload]
    )
    assert sdk == expected


@pytest.mark.parametrize("kind", ["json", "text", "srt"])
@pytest.mark.parametrize("model", ["whisper", "timed"])
def test_times_that_a_form_of_answer_has_no_place_for_are_named(
    gateway: Gateway, model: str, kind: str
) -> None:
    """X-008: OpenAI tells times of words in `verbose_json` alone."""
    times = {"response_format": kind, "timestamp_granularities__": ["word", "segment"]}
    reply = listen(gateway, model=model, **times)
    assert reply.headers["x-proxy-dropped"].split(", ")[0] == "timestamp_granularities[]"
    refused = listen(gateway, model=model, strict=True, **times)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "timestamp_granularities[]")


def test_verbose_json_keeps_what_the_server_knows(gateway: Gateway) -> None:
    """E-022"""
    reply = listen(
        gateway,
        model="whisper",
        response_format="verbose_json",
        prompt="sim:text:one two",
        timestamp_granularities__="word",
    ).json()
    assert reply == {
        "task": "transcribe",
        "language": "english",
        "duration": 2.0,
        "text": "one two",
        "segments": [
            {
                "id": number,
                "seek": 0,
                "start": float(number),
                "end": number + 1.0,
                "text": word,
                "tokens": [1],
                "temperature": 0.0,
                "avg_logprob": -0.5,
                "compression_ratio": 1.0,
                "no_speech_prob": 0.1,
            }
            for number, word in enumerate(["one", "two"])
        ],
        "words": [{"word": "one", "start": 0.0, "end": 1.0}, {"word": "two", "start": 1.0, "end": 2.0}],
        "usage": {"type": "duration", "seconds": 2},
    }


def test_speakers_are_told_whole_and_in_events(gateway: Gateway) -> None:
    fields = {"model": "speakers", "response_format": "diarized_json", "prompt": "sim:text:one two"}
    reply = listen(gateway, **fields).json()
    assert [(one["id"], one["speaker"], one["text"]) for one in reply["segments"]] == [
        ("seg_0", "A", "one"),
        ("seg_1", "B", "two"),
    ]
    assert reply["duration"] == 2.0
    events = events_of(listen(gateway, **fields, stream="true"))
    assert [one["type"].rpartition(".")[2] for one in events] == [
        "delta",
        "delta",
        "segment",
        "segment",
        "done",
    ]
    assert events[2] == {
        "type": "transcript.text.segment",
        "id": "seg_0",
        "start": 0.0,
        "end": 1.0,
        "text": "one",
        "speaker": "A",
    }


def test_a_model_that_knows_no_events_answers_a_stream_with_its_whole_text(gateway: Gateway) -> None:
    """E-023"""
    events = events_of(listen(gateway, model="whisper", stream="true", prompt="sim:text:one two"))
    assert [(one["type"], one.get("delta")) for one in events] == [
        ("transcript.text.delta", "one two"),
        ("transcript.text.done", None),
    ]


def test_a_stream_of_subtitles_is_none_and_says_so(gateway: Gateway) -> None:
    reply = listen(gateway, model="whisper", response_format="srt", stream="true")
    assert reply.headers["x-proxy-dropped"] == "stream"
    assert reply.text.startswith("1\n")


def test_fields_nobody_knows_go_on_to_such_a_server_and_are_named_for_gemini(gateway: Gateway) -> None:
    """X-008"""
    reply = listen(gateway, model="gpt", include__="logprobs", chunking_strategy="auto")
    assert [one["logprob"] for one in reply.json()["logprobs"]][:2] == [-0.1, -0.1]
    named = listen(gateway, model="g", include__="logprobs", chunking_strategy="auto")
    assert sorted(named.headers["x-proxy-dropped"].split(", ")) == ["chunking_strategy", "include[]"]
    assert listen(gateway, model="g", chunking_strategy="auto", strict=True).status_code == 400


def test_what_openais_sdk_was_recorded_to_send_is_answered(gateway: Gateway) -> None:
    reply = gateway.client().audio.transcriptions.create(
        model="whisper",
        file=("a.mp3", WAV, "audio/mpeg"),
        language="en",
        prompt="p",
        response_format="verbose_json",
        temperature=0.2,
        timestamp_granularities=["word", "segment"],
    )
    assert reply.words
    assert reply.segments


def test_a_transcript_that_breaks_off_is_an_error() -> None:
    wire, request = OpenAITranscripts(), TranscriptRequest("m", RECORDING, stream=True)
    reader = wire.reader(request, OPENAI, wire.build(request, OPENAI))
    assert reader.feed({"type": "transcript.text.delta", "delta": "one"}) == [Text("one")]
    with pytest.raises(UpstreamError):
        reader.close()


@pytest.mark.parametrize("payload", [{"error": {"message": "no"}}, {"detail": "no"}, {"text": 7}])
def test_a_200_that_is_no_transcript_is_an_error(payload: dict[str, Any]) -> None:
    wire, request = OpenAITranscripts(), TranscriptRequest("m", RECORDING)
    with pytest.raises(UpstreamError):
        wire.reader(request, OPENAI, wire.build(request, OPENAI)).feed(payload)


# --- the front


def rendered(events: list[Any], kind: str) -> bytes:
    front = TranscriptsFront(translated=False)
    fields = [("model", "m"), ("response_format", kind)]
    parsed = transcript_request.parse(
        Form(fields, [FormFile("file", "a.wav", "audio/wav", Slice(b"AAAA"))]), translated=False
    )
    return b"".join(front.renderer(parsed, Facts(0)).whole(events))


def test_times_of_hours_are_written_out() -> None:
    segment = Segment("late", 3723.0456, 3724.9996)
    assert rendered([Text("late"), segment, Finish("stop")], "srt") == (
        b"1\n01:02:03,046 --> 01:02:05,000\nlate\n"
    )


def test_subtitles_without_times_are_an_error_and_silence_is_none() -> None:
    with pytest.raises(UpstreamError):
        rendered([Text("late"), Finish("stop")], "srt")
    assert rendered([Text(""), Finish("stop")], "vtt") == b"WEBVTT\n"


def test_what_nobody_counted_is_marked() -> None:
    front = TranscriptsFront(translated=False)
    file = FormFile("file", "a.wav", "audio/wav", Slice(b"AAAA"))
    parsed = transcript_request.parse(Form([("model", "m")], [file]), translated=False)
    renderer = front.renderer(parsed, Facts(0))
    renderer.whole([Text("a"), Finish("stop"), Usage(3, 1, estimated=True)])
    assert renderer.headers == ((b"x-proxy-estimated", b"usage"),)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"response_format": "xml"}, "response_format", "invalid_value"),
        ({"temperature": "warm"}, "temperature", "invalid_type"),
        ({"temperature": "3"}, "temperature", "decimal_above_max_value"),
        ({"stream": "perhaps"}, "stream", "invalid_value"),
        ({"timestamp_granularities__": "letter"}, "timestamp_granularities[]", "invalid_value"),
        ({"file": None}, "file", "missing_required_parameter"),
        ({"file": ("a.wav", b"", "audio/wav")}, "file", "empty_file"),
        ({"language": ["de", "en"]}, "language", "invalid_type"),
    ],
)
def test_a_wrong_field_is_refused_with_its_place(
    gateway: Gateway, fields: dict[str, Any], param: str, code: str
) -> None:
    assert refusal(listen(gateway, **{"model": "g", **fields})) == (400, param, code)


def test_json_is_no_form(gateway: Gateway) -> None:
    reply = httpx.post(
        f"{gateway.base_url}/v1/audio/transcriptions",
        json={"model": "g"},
        headers={"authorization": f"Bearer {KEY}"},
    )
    assert refusal(reply) == (400, "file", "invalid_form")


def test_a_model_without_a_name_is_missing(gateway: Gateway) -> None:
    assert refusal(listen(gateway)) == (400, "model", "missing_required_parameter")


def test_what_is_no_sound_is_refused() -> None:
    odd = MediaPart("audio", Slice(base64.b64encode(b"\x7fELF" * 9)), mime="application/x-elf", where="file")
    with pytest.raises(RequestError):
        GeminiTranscripts().build(TranscriptRequest("m", odd), GEMINI)
