"""What a server that speaks OpenAI does beside chats and pictures: vectors, speech, transcripts, moderation.

The lenient one knows no other encoding than numbers, as many small servers; the strict one all that OpenAI
documents, and refuses what it does not.
"""

from __future__ import annotations

import base64
import email
import io
import struct
import wave
from collections.abc import Callable
from email.message import Message
from typing import Any

import orjson

from proxy.simulators import directives, pictures, vectors
from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.openai_chat import Refused, check_key, error_reply

Json = dict[str, Any]

_EMBEDDING_FIELDS = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
_MODERATION_FIELDS = frozenset({"model", "input"})
_SPEECH_FIELDS = frozenset(
    {"model", "input", "voice", "instructions", "response_format", "speed", "stream_format"}
)
_TRANSLATION_FIELDS = frozenset({"model", "prompt", "response_format", "temperature"})
_TRANSCRIPT_FIELDS = _TRANSLATION_FIELDS | {
    "language",
    "stream",
    "include[]",
    "timestamp_granularities[]",
    "chunking_strategy",
    "known_speaker_names[]",
    "known_speaker_references[]",
}
_TRANSCRIPT_FORMATS = {
    "whisper": ("json", "text", "srt", "verbose_json", "vtt"),
    "diarize": ("json", "text", "diarized_json"),
}
_WHISPERED = {
    "seek": 0,
    "tokens": [1],
    "temperature": 0.0,
    "avg_logprob": -0.5,
    "compression_ratio": 1.0,
    "no_speech_prob": 0.1,
}
_SOUND_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
_SIZE = 1536
_MOST = 2048


class Beside:
    def __init__(self, log: Log, *, strict: bool) -> None:
        self.log = log
        self.strict = strict
        self.services: dict[str, Callable[[Exchange], Reply]] = {
            "/v1/embeddings": self._embed,
            "/v1/audio/speech": self._speak,
            "/v1/audio/transcriptions": self._listen,
            "/v1/audio/translations": self._listen,
            "/v1/moderations": self._judge,
        }

    def handle(self, exchange: Exchange) -> Reply:
        try:
            check_key(exchange)
            service = self.services.get(exchange.path)
            if service is None or exchange.method != "POST":
                raise Refused(404, f"Invalid URL ({exchange.method} {exchange.path})")
            return service(exchange)
        except Refused as refused:
            exchange.notes["refused"] = refused.message
            self.log.counts[f"{exchange.vendor}.refused"] += 1
            return json_reply(refused.body(), refused.status)

    def _json(self, exchange: Exchange, fields: frozenset[str]) -> Json:
        try:
            body = exchange.json()
        except orjson.JSONDecodeError as error:
            raise Refused(400, f"We could not parse the JSON body of your request. {error}") from error
        if not isinstance(body, dict) or not isinstance(body.get("model"), str):
            raise Refused(400, "you must provide a model parameter")
        if self.strict and (unknown := sorted(set(body) - fields)):
            raise Refused(
                400,
                f"Unrecognized request argument supplied: {unknown[0]}",
                code="unknown_parameter",
                param=unknown[0],
            )
        return body

    def _embed(self, exchange: Exchange) -> Reply:
        body = self._json(exchange, _EMBEDDING_FIELDS)
        inputs = _inputs(body.get("input"))
        orders = directives.parse("\n".join(inputs))
        if "error" in orders:
            return error_reply(orders.word("error", "500"), orders)
        size = body.get("dimensions", _SIZE)
        if type(size) is not int or not 0 < size <= _SIZE:
            raise Refused(400, f"Invalid value for 'dimensions' = {size}.", param="dimensions")
        packed = body.get("encoding_format") == "base64" and self.strict
        data = [
            {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
            for index, vector in enumerate(vectors.of(text, size, unit=True) for text in inputs)
        ]
        count = sum(map(vectors.tokens_of, inputs))
        usage = {"prompt_tokens": count, "total_tokens": count}
        reply = {"object": "list", "data": data, "model": body["model"]}
        return json_reply(reply if "nousage" in orders else reply | {"usage": usage}, pace=orders.pace)

    def _speak(self, exchange: Exchange) -> Reply:
        """A tone, in pieces; only wav and pcm are what they say, the others are the words themselves."""
        body = self._json(exchange, _SPEECH_FIELDS)
        text, kind = body.get("input"), body.get("response_format", "mp3")
        if not isinstance(text, str) or not 0 < len(text) <= 4096:
            raise Refused(400, "Invalid 'input': string too short or too long.", param="input")
        if not isinstance(body.get("voice"), str):
            raise Refused(400, "Missing required parameter: 'voice'.", param="voice")
        if kind not in _SOUND_TYPES:
            raise Refused(400, f"Invalid value: '{kind}'.", param="response_format")
        orders = directives.parse(text)
        if "error" in orders:
            return error_reply(orders.word("error", "500"), orders)
        sound = pictures.pcm() if kind in ("pcm", "wav") else f"{kind} of {orders.said}".encode()
        if kind == "wav":
            sound = _wave(sound)
        frames = [sound[start : start + 4001] for start in range(0, len(sound), 4001)]
        return Reply(frames, 200, {}, _SOUND_TYPES[kind], streamed=True, pace=orders.pace)

    def _listen(self, exchange: Exchange) -> Reply:
        fields, name, data = _form(exchange)
        translates = exchange.path.endswith("translations")
        if self.strict:
            _check_transcript(fields, translates=translates)
        orders = directives.parse(fields.get("prompt", [""])[0])
        if "error" in orders:
            return error_reply(orders.word("error", "500"), orders)
        kind = "WAV" if data[:4] == b"RIFF" else "sound"
        spoken = "English" if translates else fields.get("language", ["some"])[0]
        text = orders.word("text", f"{len(data)} bytes of {kind} in {name}, {spoken} words")
        counts = "nousage" not in orders
        transcript = Transcript(text.split(), fields, translates=translates, counts=counts)
        if not transcript.streams:
            return json_reply(transcript.whole(), pace=orders.pace)
        frames = [b"data: " + orjson.dumps(payload) + b"\n\n" for payload in transcript.events()]
        return Reply(frames, 200, {}, "text/event-stream; charset=utf-8", streamed=True, pace=orders.pace)

    def _judge(self, exchange: Exchange) -> Reply:
        """What has the word harm in it is flagged, and so is a text that says sim:flag."""
        body = self._json(exchange, _MODERATION_FIELDS)
        entries = body.get("input")
        entries = [entries] if isinstance(entries, str) else entries
        if not isinstance(entries, list) or not entries:
            raise Refused(400, "'$.input' is invalid.", param="input")
        items = [_words_of(entries)] if isinstance(entries[0], dict) else entries
        if not all(isinstance(item, str) for item in items):
            raise Refused(400, "'$.input' is invalid.", param="input")
        orders = directives.parse("\n".join(items))
        if "error" in orders:
            return error_reply(orders.word("error", "500"), orders)
        kinds = sorted({str(entry["type"]).partition("_")[0] for entry in entries if isinstance(entry, dict)})
        results = [_verdict(item, kinds or ["text"]) for item in items]
        return json_reply({"id": "modr-1", "model": body["model"], "results": results}, pace=orders.pace)


def _words_of(parts: list[Json]) -> str:
    for index, part in enumerate(parts):
        member = {"text": "text", "image_url": "image_url"}.get(part.get("type", ""))
        if member is None or not part.get(member):
            raise Refused(400, f"'$.input[{index}]' is invalid.", param=f"input[{index}]")
    return " ".join(part.get("text", "") for part in parts)


def _verdict(text: str, kinds: list[str]) -> Json:
    flagged = "harm" in text.lower() or "sim:flag" in text
    return {
        "flagged": flagged,
        "categories": {"violence": flagged, "self-harm": False},
        "category_scores": {"violence": 0.9 if flagged else 0.01, "self-harm": 0.001},
        "category_applied_input_types": {"violence": kinds, "self-harm": kinds},
    }


class Transcript:
    """Words of one second each. A model that is called whisper knows times and no events, and is billed by
    the second."""

    def __init__(
        self, words: list[str], fields: dict[str, list[str]], *, translates: bool, counts: bool
    ) -> None:
        self.words = words
        self.fields = fields
        self.task = "translate" if translates else "transcribe"
        self.format = fields.get("response_format", ["json"])[0]
        whispers = "whisper" in fields["model"][0]
        self.streams = fields.get("stream") == ["true"] and not whispers
        tokens = {
            "type": "tokens",
            "input_tokens": 40,
            "output_tokens": len(words),
            "total_tokens": 40 + len(words),
        }
        counted = {"type": "duration", "seconds": len(words)} if whispers else tokens
        self.usage = {"usage": counted} if counts else {}

    def whole(self) -> Json:
        text = " ".join(self.words)
        seconds = float(len(self.words))
        if self.format == "verbose_json":
            found: Json = {
                "task": self.task,
                "language": "english",
                "duration": seconds,
                "text": text,
                "segments": [{**self._timed(number), **_WHISPERED} for number in range(len(self.words))],
                **self.usage,
            }
            if "word" in self.fields.get("timestamp_granularities[]", ()):
                found["words"] = [
                    {"word": word, "start": float(number), "end": number + 1.0}
                    for number, word in enumerate(self.words)
                ]
            return found
        found = {"text": text, **self.usage}
        if self.format == "diarized_json":
            found |= {"task": self.task, "duration": seconds, "segments": self._spoken()}
        if "include[]" in self.fields:
            found["logprobs"] = [{"token": word, "logprob": -0.1, "bytes": None} for word in self.words]
        return found

    def events(self) -> list[Json]:
        last = len(self.words) - 1
        deltas = [word if number == last else f"{word} " for number, word in enumerate(self.words)]
        return [
            *({"type": "transcript.text.delta", "delta": delta} for delta in deltas),
            *(self._spoken() if self.format == "diarized_json" else ()),
            {"type": "transcript.text.done", "text": " ".join(self.words), **self.usage},
        ]

    def _timed(self, number: int) -> Json:
        return {"id": number, "start": float(number), "end": number + 1.0, "text": self.words[number]}

    def _spoken(self) -> list[Json]:
        return [
            {
                **self._timed(number),
                "id": f"seg_{number}",
                "type": "transcript.text.segment",
                "speaker": "AB"[number % 2],
            }
            for number in range(len(self.words))
        ]


def _form(exchange: Exchange) -> tuple[dict[str, list[str]], str, bytes]:
    """Fields, and the one file with its name."""
    kind = exchange.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise Refused(400, "Could not parse multipart form")
    message = email.message_from_bytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + exchange.raw)
    fields: dict[str, list[str]] = {}
    file: tuple[str, bytes] | None = None
    for part in message.get_payload() if message.is_multipart() else ():
        assert isinstance(part, Message)
        name = str(part.get_param("name", header="content-disposition"))
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        if part.get_filename() is None:
            fields.setdefault(name, []).append(data.decode())
        elif name == "file" and file is None:
            file = part.get_filename() or "", data
        else:
            raise Refused(400, f"Unexpected file: '{name}'.", param=name)
    if file is None or not file[1]:
        raise Refused(400, "Field required: file.", param="file")
    if not fields.get("model"):
        raise Refused(400, "you must provide a model parameter")
    return fields, *file


def _check_transcript(fields: dict[str, list[str]], *, translates: bool) -> None:
    known = _TRANSLATION_FIELDS if translates else _TRANSCRIPT_FIELDS
    if unknown := sorted(set(fields) - known):
        raise Refused(
            400,
            f"Unrecognized request argument supplied: {unknown[0]}",
            code="unknown_parameter",
            param=unknown[0],
        )
    model, format = fields["model"][0], fields.get("response_format", ["json"])[0]
    taken = next((formats for word, formats in _TRANSCRIPT_FORMATS.items() if word in model), ("json",))
    if format not in taken:
        raise Refused(
            400,
            f"response_format '{format}' is not compatible with model '{model}'.",
            code="unsupported_value",
            param="response_format",
        )


def _wave(samples: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(24000)
        sound.writeframes(samples)
    return file.getvalue()


def _inputs(value: Any) -> list[str]:
    """Texts; the ids of tokens stand for themselves."""
    entries = [value] if isinstance(value, str) or _are_tokens(value) else value
    if not isinstance(entries, list) or not 0 < len(entries) <= _MOST:
        raise Refused(400, "'$.input' is invalid.", param="input")
    if not all((isinstance(entry, str) and entry) or _are_tokens(entry) for entry in entries):
        raise Refused(400, "'$.input' is invalid.", param="input")
    return [entry if isinstance(entry, str) else " ".join(map(str, entry)) for entry in entries]


def _are_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int for token in value)


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
