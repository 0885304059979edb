"""The wire for upstreams that speak OpenAI chat themselves: OpenAI, servers of the LAN, chat relays.

What they say is normalised, not passed through: every server has its own idea of the dialect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proxy.errors import RequestError, UpstreamError
from proxy.types import (
    Abilities,
    Call,
    ChatRequest,
    EmbedRequest,
    ModerationRequest,
    Operation,
    Reader,
    SpeechRequest,
    Target,
    TranscriptRequest,
)
from proxy.wires.openai import error as failures
from proxy.wires.openai.models import makes_pictures, place_of_drawing
from proxy.wires.openai.reader import ChatReader
from proxy.wires.openai.request import build


class OpenAIChatWire:
    """Implements `types.Wire`. Options, the first value is the default:

    - `stream`: both | only (the upstream only streams) | never (it cannot)
    - `n`: many | one (one choice per call, so several calls for several)
    - `unknown`: forward | drop fields that OpenAI does not document
    - `max_tokens_field`: max_tokens | max_completion_tokens; a server that refuses one gets the other
    - `texts`: apart | joined as one string, where a message has several; who takes no list gets them so
    - `mid_system`: inline | hoist, all system messages as one at the beginning; who wants it gets it so
    - `media_mode`: inline | passthrough (addresses of pictures go to the upstream as they are)
    - `modalities`: a list sent where the client sent none, as in 002
    - `image_fields`: image_config (OpenRouter) | google (in extra_body) | root (the client's words) | drop
    - `assistant_images`: user (moved to the next user message) | parts | drop
    - `history_reasoning`: drop | reasoning_content | reasoning, the field in which it is sent back
    - `extra_body`: google, for Google's endpoint and relays that copy it; without it such fields are dropped
    - `makes_images`: whether the model draws, sold by the piece; else `profiles/openai-models.yaml` says
    - `cache_control`: whether the server reads it on parts and tools; else the same table says
    - `think_tags`: false | true, thoughts stand in the text between `<think>` tags | opened, they begin it
    """

    carries: Final = frozenset(
        {
            "model", "messages", "stream", "max_tokens", "temperature", "top_p", "top_k", "n", "stop", "seed",
            "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "answer_format", "tools",
            "tool_choice", "parallel_calls", "thinking", "modalities", "audio", "image", "safety_settings",
            "cached_content", "service_tier", "store", "metadata", "user", "native", "foreign",
        }
    )  # fmt: skip
    finish_is_last: Final = True

    def build(self, request: ChatRequest, target: Target, repairs: frozenset[str] = frozenset()) -> Call:
        return build(request, target, repairs)

    def reader(self, request: ChatRequest, target: Target, call: Call) -> Reader:
        return ChatReader(request, target, call)

    def error(self, status: int, headers: Mapping[str, str], body: bytes, target: Target) -> UpstreamError:
        return failures.error(status, headers, body, target)

    def relays(self, request: ChatRequest, target: Target) -> bool:
        return False

    def unable(self, request: ChatRequest, target: Target) -> RequestError | None:
        return None

    def by_piece(self, request: ChatRequest, target: Target) -> bool:
        return makes_pictures(request, target)

    def repair(self, error: Exception, request: ChatRequest | None = None) -> str | None:
        return failures.repair(error, request)

    def abilities(self, target: Target) -> Abilities:
        """What such a server reads is not known."""
        draws = place_of_drawing(target.model, target.options) == "chat"
        return Abilities(outputs=("text", "image") if draws else ("text",))

    def calls_needed(self, request: ChatRequest, target: Target) -> int:
        return request.n if target.options.get("n") == "one" else 1

    def count(self, request: ChatRequest, target: Target, repairs: frozenset[str] = frozenset()) -> None:
        """No such server tells before it has answered."""

    def counted(self, payload: Any) -> None:
        return None

    def keeps_url(self, url: str, target: Target) -> bool:
        """Servers of a LAN often cannot reach the internet, and relays fetch badly: inline unless told."""
        return target.options.get("media_mode") == "passthrough"

    def reads(self, mime: str, target: Target) -> bool:
        """Every server has its own list, so it is asked."""
        return True

    def operation(self, kind: type[Any]) -> Operation | None:
        if kind is EmbedRequest:
            from proxy.wires.openai.embeddings import OpenAIEmbeddings

            return OpenAIEmbeddings()
        if kind is SpeechRequest:
            from proxy.wires.openai.speech import OpenAISpeech

            return OpenAISpeech()
        if kind is TranscriptRequest:
            from proxy.wires.openai.transcripts import OpenAITranscripts

            return OpenAITranscripts()
        if kind is ModerationRequest:
            from proxy.wires.openai.moderations import OpenAIModerations

            return OpenAIModerations()
        return None
