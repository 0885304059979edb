"""The clients that are known by what they send of themselves: how each is shown pictures under `auto`, and
whether it shows refusals.

Data: a closed table. A client that is not in it is a program that names no SDK, and gets the list of parts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from proxy.fronts.base import Asked
from proxy.fronts.image_modes import Mode

_AGENT_BYTES = 300  # a browser's is half of that; the longest is what the cache below holds
_KNOWN = 512


class Said(NamedTuple):
    """What a client sends of itself: its User-Agent in small letters, and the headers of OpenAI's SDKs."""

    agent: str = ""
    is_sdk: bool = False  # x-stainless-lang
    raw_response: bool = False  # x-stainless-raw-response
    read_timeout: bool = False  # x-stainless-read-timeout
    retry_count: bool = False  # x-retry-count
    promptfoo: bool = False  # x-promptfoo-version


class Habits(NamedTuple):
    image_mode: Mode
    shows_refusal: bool
    shows_refusal_part: bool
    needs_message: bool


@dataclass(frozen=True, slots=True)
class Client:
    """One row. `seen` is the version that was measured, or whose source was read. `agent` is found in the
    User-Agent; what is None is not looked at. `streamed` is None where it is as `whole`. `shows_refusal` is
    False for a client whose user sees nothing but the text; `shows_refusal_part` says it of Responses.
    `needs_message` of one that asks again, and pays again, where a response has no message."""

    seen: str
    whole: Mode
    streamed: Mode | None = None
    agent: re.Pattern[str] | None = None
    is_sdk: bool | None = None
    raw_response: bool | None = None
    read_timeout: bool | None = None
    retry_count: bool | None = None
    promptfoo: bool | None = None
    shows_refusal: bool = True
    shows_refusal_part: bool = True
    needs_message: bool = False

    def fits(self, said: Said) -> bool:
        return (
            (self.agent is None or self.agent.search(said.agent) is not None)
            and self.is_sdk in (None, said.is_sdk)
            and self.raw_response in (None, said.raw_response)
            and self.read_timeout in (None, said.read_timeout)
            and self.retry_count in (None, said.retry_count)
            and self.promptfoo in (None, said.promptfoo)
        )


def _named(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


# The first row that fits holds. `link` is `markdown` where the file does not say how browsers reach us.
CLIENTS: tuple[Client, ...] = (
    # --- the AI SDK writes `ai-sdk/openai/3.0.1`; newer versions put a dash for the first slash
    # A list is a validation error, `images` become file parts.
    Client(
        "@openrouter/ai-sdk-provider 3.1.0, 2.10.0",
        "images",
        agent=_named(r"ai-sdk[/-]openrouter"),
        shows_refusal=False,
    ),
    # Drops pictures in either shape and keeps text.
    Client(
        "@ai-sdk/openai-compatible 3.0.92, 2.0.92, 1.0.22",
        "markdown",
        agent=_named(r"ai-sdk[/-]openai-compatible"),
    ),
    # `.chat`: a list is a validation error, `images` are dropped. By Responses a filtered reply without items
    # is empty, and before 3.0.138 a part that is a refusal is a validation error, streamed it is dropped.
    Client(
        "@ai-sdk/openai 4.0.118, 3.0.141",
        "markdown",
        agent=_named(r"ai-sdk[/-]openai\b"),
        shows_refusal_part=False,
    ),
    # Names no provider in `generateText`, and apps put their own name in its place: `opencode/1.18.33
    # ai-sdk/provider-utils/4.0.23`. Text is what all of them keep.
    Client(
        "ai 7.0.173, 6.0.326; opencode 1.18.33",
        "markdown",
        agent=_named(r"^ai/\d|\bai-sdk[/-]"),
        shows_refusal_part=False,
    ),
    # --- frameworks that name themselves
    # Keeps a whole list, loses streamed `images`; of a refusal it keeps nothing.
    Client(
        "@langchain/openai 1.5.8",
        "markdown",
        agent=_named(r"\blangchainjs-openai/"),
        shows_refusal=False,
    ),
    # Keeps the text of a list, and no `images`.
    Client("pydantic-ai 2.68.0", "markdown", agent=_named(r"\bpydantic-ai/")),
    # ValidationError on a list, drops `images`. A response that is a picture alone is a turn without an end.
    Client("openai-agents 0.24.0", "markdown", agent=_named(r"\bagents/python\b"), needs_message=True),
    # `[object Object]` for a list, drops `images`. Any response without a message is a turn without an end.
    Client("@openai/agents 0.20.0", "markdown", agent=_named(r"\bagents/javascript\b"), needs_message=True),
    # A ValidationError on a list, drops `images`, and a refusal in a stream.
    Client(
        "semantic-kernel 1.45.0",
        "markdown",
        agent=_named(r"\bsemantic-kernel-python/"),
        shows_refusal=False,
    ),
    # Crashes on a list, drops `images` and refusals. It stands before LiteLLM, on which it is built.
    Client("dspy 3.4.1", "markdown", agent=_named(r"\bdspy/"), shows_refusal=False),
    # InternalServerError on a list, keeps `images`.
    Client("litellm 1.83.0", "images", agent=_named(r"\blitellm/")),
    # --- chat UIs
    # Its name is in Electron's User-Agent. Shows `images`, prints a list as text.
    Client("Cherry Studio 1.7", "images", agent=_named(r"\bcherrystudio/")),
    # From the browser: reads `images`, ignores lists and refusals.
    Client("LobeChat 1.0", "images", agent=_named(r"\blobe-?(?:chat|hub)\b"), shows_refusal=False),
    # Its HTTP library is all that it tells. A list crashes its calls for titles, tags and follow-ups; it
    # sends back text alone, so that the next turn does not have what stood in `images`. A `refusal` is an
    # empty answer on its page.
    Client("Open WebUI 0.12.4", "link", agent=_named(r"^python/\S+ aiohttp/"), shows_refusal=False),
    # --- programs with a client of their own, which are Node's for all that their name says
    # Hands a list out as text, drops `images`, and calls a refusal an error.
    Client("@ax-llm/ax 24.0.21", "markdown", agent=_named(r"^node$"), retry_count=True),
    # Prints a list as JSON, and asks what a text contains.
    Client("promptfoo 0.121.20", "markdown", agent=_named(r"^node$"), promptfoo=True),
    # --- OpenAI's own SDKs, and whatever hides behind them
    # Models of OpenAI's refuse in the content, but for structured answers, so that most apps read nothing
    # else, and some crash on null.
    # Asks for the raw response without a timeout of its own; LiteLLM 1.110.2 sends one. Keeps a whole list,
    # but of a stream, for which it does not ask so unless told, the text alone.
    Client(
        "langchain-openai 1.7.4",
        "parts",
        "images+link",
        agent=_named(r"openai/python\b"),
        raw_response=True,
        read_timeout=False,
        shows_refusal=False,
    ),
    # LlamaIndex, LiteLLM, autogen, strands, agno, browser-use, gradio, crewai, continue and others crash on a
    # list or drop `images`, and cannot be told from the SDK (tests/data/clients.jsonl): a string with the
    # picture's address, and the parts beside it.
    Client("openai 3.57.0 (Python), 7.57.0 (Node)", "images+link", is_sdk=True, shows_refusal=False),
    # The same behind something that drops the SDK's own headers, and SDKs that have none.
    Client(
        "openai 3.57.0",
        "images+link",
        agent=_named(r"(?:^|\s)\w*openai(?:::client)?/"),
        shows_refusal=False,
    ),
)


# Whole, the list of parts of document 004. Streamed the same parts stand in `images`, since list-valued
# deltas are lost or crash in both official stream helpers.
_STRANGER = Client("anything else", "parts")


def of(asked: Asked, *, streamed: bool) -> Habits:
    """What the client that sent this shows when nobody says it."""
    headers = asked.headers
    return _habits(
        headers.get(b"user-agent", b"")[:_AGENT_BYTES],
        streamed,
        asked.has_address,
        b"x-stainless-lang" in headers,
        headers.get(b"x-stainless-raw-response") == b"true",
        b"x-stainless-read-timeout" in headers,
        b"x-retry-count" in headers,
        b"x-promptfoo-version" in headers,
    )


@lru_cache(maxsize=_KNOWN)
def _habits(agent: bytes, streamed: bool, has_address: bool, *sent: bool) -> Habits:
    said = Said(agent.lower().decode("latin-1"), *sent)
    client = next((client for client in CLIENTS if client.fits(said)), _STRANGER)
    mode = (streamed and client.streamed) or client.whole
    if mode == "link" and not has_address:
        mode = "markdown"
    return Habits(mode, client.shows_refusal, client.shows_refusal_part, client.needs_message)
