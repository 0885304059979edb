"""What the attributes of a request are called in Google's dialect, for errors and for what is not carried."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from proxy.errors import NotCarriedError, RequestError
from proxy.fronts.base import Parsed
from proxy.fronts.gemini.contents import SYSTEM
from proxy.fronts.gemini.generation import PLACE
from proxy.fronts.gemini.tools import BUILTIN

_NAMES = {
    "answer_format": f"{PLACE}.responseSchema",
    "audio": f"{PLACE}.speechConfig",
    "cached_content": "cachedContent",
    "frequency_penalty": f"{PLACE}.frequencyPenalty",
    "image": f"{PLACE}.imageConfig",
    "image.aspect_ratio": f"{PLACE}.imageConfig.aspectRatio",
    "image.image_size": f"{PLACE}.imageConfig.imageSize",
    "logprobs": f"{PLACE}.responseLogprobs",
    "max_tokens": f"{PLACE}.maxOutputTokens",
    "messages": "contents",
    "modalities": f"{PLACE}.responseModalities",
    "n": f"{PLACE}.candidateCount",
    "presence_penalty": f"{PLACE}.presencePenalty",
    "prompt": "contents",
    "references": "contents",
    "safety_settings": "safetySettings",
    "seed": f"{PLACE}.seed",
    "service_tier": "serviceTier",
    "stop": f"{PLACE}.stopSequences",
    "temperature": f"{PLACE}.temperature",
    "thinking": f"{PLACE}.thinkingConfig",
    "thinking.summary": f"{PLACE}.thinkingConfig.includeThoughts",
    "tool_choice": "toolConfig.functionCallingConfig",
    "top_k": f"{PLACE}.topK",
    "top_logprobs": f"{PLACE}.logprobs",
    "top_p": f"{PLACE}.topP",
    **{f"tools.{ours}": f"tools.{theirs}" for theirs, ours in BUILTIN.items()},
}
_LAST_STEP = re.compile(r"(\.\w+|\[-?\d*\])\Z")


def spelled(path: str) -> str:
    """Google's name of an attribute path; a path that has none is spelled as it is."""
    if path.startswith("foreign."):
        return path.removeprefix("foreign.")
    head, tail = path, ""
    while head not in _NAMES:
        step = _LAST_STEP.search(head)
        if step is None:
            return path
        head, tail = head[: step.start()], step[0] + tail
    if head == "messages" and tail.startswith(f"[{SYSTEM}]"):
        return "systemInstruction" + tail.removeprefix(f"[{SYSTEM}]")
    return _NAMES[head] + tail


def spelled_all(paths: Iterable[str]) -> tuple[str, ...]:
    """The same for many, each once."""
    return tuple(dict.fromkeys(map(spelled, paths)))


def spelled_error(error: BaseException, parsed: Parsed[Any, Any] | None) -> BaseException:
    """The error with Google's names in it, where it speaks of attributes."""
    if isinstance(error, NotCarriedError):
        error = error.changed(message=error.sentence(spelled_all(error.attributes)))
    if isinstance(error, RequestError) and error.param is None and error.attribute is not None:
        return error.changed(param=spelled(error.attribute))
    return error
