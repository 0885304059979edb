"""Reads the body of a completion request: each of its prompts is a chat of one message."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy.fronts import checks
from proxy.fronts.base import Parsed
from proxy.fronts.openai.chat import request as chat
from proxy.fronts.openai.completions.shape import CompletionShape
from proxy.types import ChatRequest, Json, Message, Slice, TextPart

CHOICES_MAX = 128

# What a chat has no place for, and what would have it answer with something that is no text.
_OWN = frozenset({"prompt", "suffix", "best_of", "echo", "logprobs"})
_OF_A_CHAT = frozenset(
    {
        "messages",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
        "web_search_options",
        "modalities",
        "audio",
        "top_logprobs",
    }
)
_LOGPROBS = checks.integer(0, 20)
_BEST_OF = checks.integer(1, 20)


def parse(body: Any) -> Parsed[ChatRequest, CompletionShape]:
    """Read a body as `jsonio.loads` gave it. Raises `RequestError`."""
    model = checks.model_of(body)
    prompts = _prompts(body.get("prompt"))
    dropped = [name for name in body if name in _OF_A_CHAT and body[name] is not None]
    echo = _echo(body, dropped)
    rest: Json = {name: value for name, value in body.items() if name not in _OWN | _OF_A_CHAT}
    rest["messages"] = [{"role": "user", "content": prompts[0]}]
    if (logprobs := body.get("logprobs")) is not None:
        count = _LOGPROBS(logprobs, "logprobs")
        if echo:  # nobody tells those of a prompt
            dropped.append("logprobs")
        else:
            rest |= {"logprobs": True, "top_logprobs": count}
    parsed = chat.parse(rest)
    request = parsed.request
    if len(prompts) * request.n > CHOICES_MAX:
        sentence = f"{len(prompts)} prompts with n = {request.n} are more than {CHOICES_MAX} choices."
        raise checks.invalid("prompt", sentence)
    shape = CompletionShape(
        model,
        tuple(prompt for prompt in prompts for _ in range(request.n)) if echo else (),
        parsed.shape.include_usage,
        tuple(body),
    )
    _best_of(body, request.n, dropped)
    beside = tuple(replace(request, messages=(_said(prompt),)) for prompt in prompts[1:])
    return Parsed(request, shape, (*dropped, *parsed.dropped), beside=beside)


def _prompts(value: Any) -> list[str]:
    """One text, or a list of them (E-040)."""
    if value is None:
        raise checks.missing("prompt")
    if isinstance(value, str | Slice):
        return [checks.required_string(value, "prompt")]
    entries = checks.array(value, "prompt")
    if not entries:
        raise checks.invalid("prompt", "empty array. Expected at least one text.", "empty_array")
    if isinstance(entries[0], int | list):
        sentence = "token ids cannot be decoded here; send text."
        raise checks.invalid("prompt", sentence, "unsupported_value")
    return [checks.required_string(entry, f"prompt[{index}]") for index, entry in enumerate(entries)]


def _said(prompt: str) -> Message:
    return Message("user", (TextPart(prompt),))


def _echo(body: Json, dropped: list[str]) -> bool:
    """Whether the prompts shall come back; what fills in before a suffix is no answer to a question."""
    if body.get("suffix") and checks.string(body["suffix"], "suffix"):
        dropped.append("suffix")
    echo = body.get("echo")
    return echo is not None and checks.boolean(echo, "echo")


def _best_of(body: Json, n: int, dropped: list[str]) -> None:
    if (best_of := body.get("best_of")) is None:
        return
    if _BEST_OF(best_of, "best_of") < n:
        raise checks.invalid("best_of", f"it must be at least n, which is {n}.")
    if best_of > n:
        dropped.append("best_of")
