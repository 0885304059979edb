"""What a reply consists of, whatever the upstream: events, in order."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Literal

from proxy.types.charged import together
from proxy.types.values import Json, Slice, dataclass

if TYPE_CHECKING:
    from array import array

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


@dataclass(frozen=True, slots=True)
class Started:
    """First event of a reply; what the upstream calls it, and says of itself: `fingerprint` is of its set-up,
    `service_tier` where its counts tell none. `prompt` and `cached` are its counts of the prompt, where a
    stream tells them before its end."""

    id: str | None = None
    model: str | None = None
    created: int | None = None
    fingerprint: str | None = None
    service_tier: str | None = None
    prompt: int = 0
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Text:
    """Answer text; empty with a `signature` when the signature came alone."""

    text: str
    choice: int = 0
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Reasoning:
    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Image:
    """A finished picture: base64 in `data`, or an address the vendor gave in `url`. `revised_prompt` is what
    the vendor made of the client's prompt; `quality` and `background` are what it says they became."""

    mime: str
    data: Slice | None = None
    url: str | None = None
    choice: int = 0
    signature: str | None = None
    revised_prompt: str | None = None
    quality: str | None = None
    background: str | None = None


@dataclass(frozen=True, slots=True)
class PartialImage:
    """An unfinished picture, to be looked at while the rest comes. `index` counts from 0 for each picture."""

    mime: str
    data: Slice
    index: int = 0
    choice: int = 0
    quality: str | None = None
    background: str | None = None


@dataclass(frozen=True, slots=True)
class Audio:
    """A piece of sound. By its `id` the upstream knows it again, until `expires_at` (seconds)."""

    mime: str
    data: Slice
    transcript: str = ""
    choice: int = 0
    id: str | None = None
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call, or a piece of one: `index` counts per choice over the whole reply and never restarts.

    The first event of an index has `id` and `name`; `arguments` of further ones are appended.
    """

    index: int
    id: str
    name: str
    arguments: str
    choice: int = 0
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Citation:
    """`start` and `end` are character offsets into the choice's answer text."""

    url: str
    title: str
    start: int
    end: int
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Searched:
    """The upstream searched for `queries` by itself, and was shown `sources`: address and title of each. One
    that tells of a search as it happens tells its sources later: then there are no queries."""

    queries: tuple[str, ...]
    sources: tuple[tuple[str, str], ...] = ()
    choice: int = 0


@dataclass(frozen=True, slots=True)
class CodeRun:
    """The upstream ran code of its own: first what it runs, in an event of its own what came of it, whether
    that went well (`ok`). `shown` is the same as text, for dialects that have no other place for it, and
    citations count its characters."""

    shown: str
    code: str | None = None
    language: str = ""
    output: str | None = None
    ok: bool = True
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Logprobs:
    """OpenAI's lists of token entries, of the text and of the words of a refusal."""

    content: list[Json]
    choice: int = 0
    refusal: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class Extra:
    """Vendor facts for `extra_content.<vendor>` of the message, merged key by key."""

    vendor: str
    values: Json
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Vector:
    """What the `index`th input of its call means; `values` are doubles: a list of them takes four times the
    memory."""

    values: array[float]
    index: int = 0
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a transcript, said from `start` to `end`, in seconds. `facts` are the vendor's own of it."""

    text: str
    start: float
    end: float
    speaker: str | None = None
    facts: Json | None = None
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """What is known of a whole recording; `words` are the vendor's entries of single words."""

    language: str | None = None
    duration_s: float | None = None
    words: tuple[Json, ...] = ()
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one item, in the order of the items; `facts` are the vendor's own: categories and their scores."""

    flagged: bool
    facts: Json
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Native:
    """A payload as the upstream wrote it, for a client that speaks its dialect. Events tell what it says to
    all others: they follow."""

    payload: Json
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts in OpenAI's meaning, cumulative: `prompt` includes `cached`, `completion` includes
    `reasoning`. `seconds` are of sound, film or work, as the vendor counts them. A `None` detail is unknown.
    `vendor` is the vendor's own charge, verbatim.
    """

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    cached: int = 0
    prompt_text: int | None = None
    prompt_image: int | None = None
    prompt_audio: int | None = None
    cached_image: int | None = None
    cached_audio: int | None = None
    completion_text: int | None = None
    completion_image: int | None = None
    completion_audio: int | None = None
    cache_write: int | None = None
    accepted_prediction: int | None = None
    rejected_prediction: int | None = None
    images: int = 0
    seconds: float | None = None
    estimated: bool = False
    service_tier: str | None = None
    vendor: Json | None = None

    @classmethod
    def sum(cls, usages: list[Usage]) -> Usage:
        """Of several calls, each of which was billed: a prompt counts once per call. At least one."""
        total = usages[0]
        for usage in usages[1:]:
            sums: dict[str, Any] = {"estimated": total.estimated or usage.estimated}
            for item in fields(cls):
                left, right = getattr(total, item.name), getattr(usage, item.name)
                if item.name not in sums and isinstance(left if right is None else right, int | float):
                    sums[item.name] = (left or 0) + (right or 0)
            total = replace(total, **sums)
        charges = [usage.vendor for usage in usages if usage.vendor]
        return replace(total, vendor=together(charges)) if charges else total


@dataclass(frozen=True, slots=True)
class Finish:
    """The choice is complete. `native` is the vendor's word, `message` its explanation. `stopped_by` is the
    stop sequence that ended it, where the vendor says which."""

    reason: FinishReason
    native: str | None = None
    choice: int = 0
    message: str | None = None
    stopped_by: str | None = None


Event = (
    Started
    | Text
    | Reasoning
    | Image
    | PartialImage
    | Audio
    | ToolCall
    | Refusal
    | Citation
    | Searched
    | CodeRun
    | Logprobs
    | Extra
    | Vector
    | Segment
    | Heard
    | Verdict
    | Native
    | Usage
    | Finish
)
