"""The pieces of replies that look the same whole and streamed, and at several endpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from proxy.fronts import addresses, faults
from proxy.fronts.base import Parsed, TellCost
from proxy.fronts.image_modes import Mode
from proxy.sounds import formats
from proxy.types import Audio, Citation, Extra, Finish, Image, Joined, Json, Slice, Started, ToolCall, Usage

if TYPE_CHECKING:
    from proxy.fronts.openai.replies import bodies

Piece = bytes | memoryview
Link = Callable[[Image], str | None]

# Modes that write pictures into the text, and modes that list them (streamed, `parts` is a list too).
INLINE: frozenset[Mode] = frozenset(("markdown", "link", "images+link"))
LISTED: frozenset[Mode] = frozenset(("images", "parts", "images+link"))
LINKED: frozenset[Mode] = frozenset(("link", "images+link"))  # their pictures need an address


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """What the client asked of the reply's shape.

    `id` is used when the upstream gives none (empty: random). `refusal_in_text` says a refusal in the content
    too, for clients that show nothing else. `link` gives a stored picture's address; where it is or returns
    None a data URL is written. `cost` tells at the end what the reply costs. `vendor`
    names the object in `extra_content` that holds signatures. `audio_format` is what the client wants raw PCM
    wrapped in. `parsed` is the request, for errors to speak of as the client wrote it.
    """

    model: str
    created: int
    id: str = ""
    include_usage: bool = False
    image_mode: Mode = "images"
    refusal_in_text: bool = False
    legacy_functions: bool = False
    link: Link | None = None
    cost: TellCost | None = None
    vendor: str = "google"
    audio_format: str | None = None
    parsed: Parsed[Any, Any] | None = None


@dataclass(slots=True)
class Ending:
    """What a choice gathers until it ends, whichever way it is sent."""

    citations: list[Citation] = field(default_factory=list)
    audio: list[Audio] = field(default_factory=list)
    extra: dict[str, Json] = field(default_factory=dict)
    signature: str | None = None
    refused: bool = False
    called: bool = False
    finish: Finish | None = None

    def add_extra(self, event: Extra) -> None:
        self.extra.setdefault(event.vendor, {}).update(event.values)

    def extra_content(self, vendor: str) -> Json:
        if self.signature is None:
            return dict(self.extra)
        return {**self.extra, vendor: {**self.extra.get(vendor, {}), "thought_signature": self.signature}}

    def finished(self) -> Finish:
        """The finish, which a complete reply has. We never invent a `stop`."""
        if self.finish is None:
            raise faults.truncated()
        return self.finish

    def reason(self, finish: Finish, legacy: bool) -> str:
        """A call in an early chunk and a plain stop in a later one is a call."""
        reason = finish.reason
        if reason in ("stop", "tool_calls", "function_call"):
            called = "function_call" if legacy else "tool_calls"
            return called if self.called else "stop"
        return reason

    def unsaid_refusal(self, finish: Finish) -> str | None:
        """Why a filtered reply is missing or short, when nobody said it; never an empty answer."""
        return None if finish.reason != "content_filter" or self.refused else filtered(finish)


def identity(started: Started | None, reply: ReplyOptions) -> tuple[str, int]:
    """The reply's id, and when it was created."""
    told = started or Started()
    found = told.id or reply.id or token_hex(12)
    return found if found.startswith("chatcmpl-") else f"chatcmpl-{found}", told.created or reply.created


def filtered(finish: Finish) -> str:
    """Why a filter has stopped the reply."""
    native = f" ({finish.native})" if finish.native else ""
    return finish.message or f"The reply was blocked by the upstream content filter{native}."


def call_id(event: ToolCall, taken: set[str]) -> str:
    """The upstream's id; a random one if it gave none, or gave it twice. It is taken from now on."""
    found = event.id if event.id and event.id not in taken else f"call_{token_hex(12)}"
    taken.add(found)
    return found


def sign(holder: bodies.Part | bodies.ToolCall, vendor: str, signature: str | None) -> None:
    """Put `extra_content` on a call or a picture."""
    if signature is not None:
        holder["extra_content"] = {vendor: {"thought_signature": signature}}


def image_part(image: Image, vendor: str) -> bodies.Part:
    part: bodies.Part = {"type": "image_url", "image_url": {"url": addresses.of_picture(image)}}
    sign(part, vendor, image.signature)
    return part


def image_entry(image: Image, index: int, vendor: str) -> bodies.Part:
    """An entry of `images`. Without distinct indexes openai-python's stream helper fails or joins URLs."""
    entry: bodies.Part = {
        "type": "image_url",
        "index": index,
        "image_url": {"url": addresses.of_picture(image)},
    }
    sign(entry, vendor, image.signature)
    return entry


def markdown(image: Image, reply: ReplyOptions, before: str) -> str | Joined:
    """One picture as markdown text, `before` it a blank line or nothing."""
    found: str | Slice | None = None
    if reply.image_mode in LINKED:
        found = (reply.link(image) if reply.link is not None else None) or image.url
    if found is None:
        found = addresses.of_picture(image)
    if isinstance(found, str):
        return f"{before}![image]({found})"
    return Joined(f"{before}![image](", found, ")")


def annotation(citation: Citation) -> bodies.Annotation:
    return {
        "type": "url_citation",
        "url_citation": {
            "start_index": citation.start,
            "end_index": citation.end,
            "url": citation.url,
            "title": citation.title,
        },
    }


def logprobs(content: Sequence[Json], refusal: Sequence[Json]) -> bodies.Logprobs | None:
    if not content and not refusal:
        return None
    return {"content": list(content) or None, "refusal": list(refusal) or None}


def money(cost: TellCost) -> tuple[float, str] | None:
    """What stands in `usage`: a number, as OpenRouter has it there, for SDKs and the AI SDK's providers read
    that. The exact words are in the header."""
    found = cost()
    return None if found is None else (float(found[0]), found[1])


def usage(counted: Usage, cost: TellCost | None = None) -> bodies.Usage:
    """Totals always add up, and `cached_tokens` and `reasoning_tokens` are always numbers: the OpenRouter
    provider of the AI SDK refuses a whole reply otherwise."""
    prompt = {
        "cached_tokens": counted.cached,
        "text_tokens": counted.prompt_text,
        "image_tokens": counted.prompt_image,
        "audio_tokens": counted.prompt_audio,
        "cache_write_tokens": counted.cache_write,
    }
    completion = {
        "reasoning_tokens": counted.reasoning,
        "text_tokens": counted.completion_text,
        "image_tokens": counted.completion_image,
        "audio_tokens": counted.completion_audio,
        "accepted_prediction_tokens": counted.accepted_prediction,
        "rejected_prediction_tokens": counted.rejected_prediction,
    }
    for details in (prompt, completion):
        for name in [*details]:
            if details[name] is None:
                del details[name]  # counted by some upstreams only
    found: bodies.Usage = {
        "prompt_tokens": counted.prompt,
        "completion_tokens": counted.completion,
        "total_tokens": counted.prompt + counted.completion,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": completion,
    }
    if counted.images and not counted.completion:
        found["images"] = counted.images  # sold by the picture: there are no tokens to tell of
    if counted.estimated:
        found["estimated"] = True
    if counted.vendor is not None:
        found["vendor"] = counted.vendor
    if cost is not None and (told := money(cost)) is not None:
        found["cost"], found["cost_currency"] = told
    return found


def audio(pieces: list[Audio], reply: ReplyOptions, identity: str) -> bodies.Sound:
    """`message.audio`. Where the upstream gave it no id it cannot be referred to later: it expires when it is
    made."""
    known = next((piece.id for piece in pieces if piece.id is not None), None)
    expiries = (piece.expires_at for piece in pieces if piece.expires_at is not None)
    return {
        "id": known or f"audio_{identity.removeprefix('chatcmpl-')}",
        "data": _sound(pieces, reply.audio_format),
        "expires_at": next(expiries, reply.created),
        "transcript": "".join(piece.transcript for piece in pieces),
    }


def needs_header(piece: Audio, audio_format: str | None) -> bool:
    """True for raw samples that the client wants as a WAV file."""
    return audio_format == "wav" and piece.mime.lower().startswith(("audio/l16", "audio/pcm"))


def _sound(pieces: list[Audio], audio_format: str | None) -> Slice:
    wrap = needs_header(pieces[0], audio_format)
    if len(pieces) == 1 and not wrap:
        return pieces[0].data
    samples = b"".join(piece.data.decode() for piece in pieces)
    return Slice.of(formats.wave_header(pieces[0].mime, len(samples)) + samples if wrap else samples)
