"""The wire of Google's Gemini: native `generateContent`, at Google, on Vertex, and at resellers.

To change: a parameter `generation.py`, a model `profiles/gemini-models.yaml`, a finish reason `finish.py`, an
upstream error `error.py` (how it is read `wires/refusals`), a tool `tools.py`, a media type `media.py`.
"""

from __future__ import annotations

from typing import Any, Final

from proxy.types import EmbedRequest, Operation, SpeechRequest, Target, TranscriptRequest
from proxy.wires.gemini import counting, models
from proxy.wires.gemini import reader as _reader
from proxy.wires.gemini import request as _request
from proxy.wires.gemini.error import read_error, repair
from proxy.wires.gemini.media import IMAGES


class GeminiWire:
    """Implements `types.Wire`.

    `Target.options`: `kind` (developer, vertex), `schema_mode` (jsonschema, openapi), `mid_system` (hoist,
    inline), `media_mode` (inline, passthrough), `name_prefix`, `resend_reasoning`, `include_thoughts` (false:
    never), `prefill_text`, `function_ids`, `max_tier`, `store`, `labels`, `aliases`, `capabilities`,
    `voices`, `timestamps` (a transcript may be asked for its times).
    """

    carries: Final = frozenset(
        {
            "model", "messages", "stream", "max_tokens", "temperature", "top_p", "top_k", "n", "stop", "seed",
            "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "answer_format", "tools",
            "tool_choice", "parallel_calls", "thinking", "modalities", "audio", "image", "safety_settings",
            "cached_content", "service_tier", "store", "metadata", "native", "foreign",
        }
    )  # fmt: skip
    finish_is_last: Final = False  # older servers say STOP in every chunk

    abilities = staticmethod(models.abilities)
    build = staticmethod(_request.build)
    relays = staticmethod(_request.relays)
    unable = staticmethod(_request.unable)
    by_piece = staticmethod(_request.by_piece)
    calls_needed = staticmethod(_request.calls_needed)
    count = staticmethod(counting.call)
    counted = staticmethod(counting.tokens)
    keeps_url = staticmethod(_request.keeps_url)
    reader = staticmethod(_reader.reader)
    error = staticmethod(read_error)
    repair = staticmethod(repair)

    def reads(self, mime: str, target: Target) -> bool:
        return mime in IMAGES

    def operation(self, kind: type[Any]) -> Operation | None:
        if kind is EmbedRequest:
            from proxy.wires.gemini.embeddings import GeminiEmbeddings

            return GeminiEmbeddings()
        if kind is SpeechRequest:
            from proxy.wires.gemini.speech import GeminiSpeech

            return GeminiSpeech()
        if kind is TranscriptRequest:
            from proxy.wires.gemini.transcripts import GeminiTranscripts

            return GeminiTranscripts()
        return None
