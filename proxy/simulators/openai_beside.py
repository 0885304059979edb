"""What a server that speaks OpenAI does beside chats and pictures: embeddings and speech.

The lenient one knows no other encoding than numbers, as many small servers; the strict one all that OpenAI
documents, and refuses what it does not.
"""

from __future__ import annotations

import base64
import io
import struct
import wave
from typing import Any

import orjson

from proxy.simulators import directives, pictures, vectors
from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.openai_chat import Refused, check_key, error_reply

Json = dict[str, Any]

PATHS = ("/v1/embeddings", "/v1/audio/speech")
_EMBEDDING_FIELDS = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
_SPEECH_FIELDS = frozenset(
    {"model", "input", "voice", "instructions", "response_format", "speed", "stream_format"}
)
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
        self.services = {"/v1/embeddings": self._embed, "/v1/audio/speech": self._speak}

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
