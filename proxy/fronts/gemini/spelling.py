"""What the attributes of a request are called in Google's dialect, for errors and for what is not carried."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from proxy.errors import ProxyError
from proxy.fronts import spelling
from proxy.fronts.gemini.generate.generation import PLACE
from proxy.fronts.gemini.generate.tools import BUILTIN

_CONFIG = {
    "answer_format": "responseSchema",
    "audio": "speechConfig",
    "frequency_penalty": "frequencyPenalty",
    "image": "imageConfig",
    "image.aspect_ratio": "imageConfig.aspectRatio",
    "image.image_size": "imageConfig.imageSize",
    "logprobs": "responseLogprobs",
    "max_tokens": "maxOutputTokens",
    "modalities": "responseModalities",
    "n": "candidateCount",
    "presence_penalty": "presencePenalty",
    "seed": "seed",
    "stop": "stopSequences",
    "temperature": "temperature",
    "thinking": "thinkingConfig",
    "thinking.summary": "thinkingConfig.includeThoughts",
    "top_k": "topK",
    "top_logprobs": "logprobs",
    "top_p": "topP",
}
_TABLE: Final[spelling.Spellings] = {
    "cached_content": ("cachedContent",),
    "dimensions": ("outputDimensionality",),
    "inputs": ("content",),
    "messages": ("contents",),
    "messages[-1]": ("systemInstruction",),
    "prompt": ("contents",),
    "references": ("contents",),
    "safety_settings": ("safetySettings",),
    "service_tier": ("serviceTier",),
    "task": ("taskType",),
    "tool_choice": ("toolConfig.functionCallingConfig",),
    **{name: (f"{PLACE}.{word}",) for name, word in _CONFIG.items()},
    **{f"tools.{ours}": (f"tools.{theirs}",) for theirs, ours in BUILTIN.items()},
}


_OF_MESSAGE = re.compile(r"(messages\[\d*\])\.(call_id|calls|failed|result_name|signed)\b")
_OF_PARTS = {
    "call_id": "parts[].functionResponse.id",
    "calls": "parts[].functionCall",
    "failed": "parts[].functionResponse.response",
    "result_name": "parts[].functionResponse.name",
    "signed": "parts[].thoughtSignature",
}


def spelled(path: str) -> str:
    """Google's name of an attribute path; a path that has none is spelled as it is."""
    if path.startswith("foreign."):
        return path.removeprefix("foreign.")
    path = _OF_MESSAGE.sub(lambda found: f"{found[1]}.{_OF_PARTS[found[2]]}", path)
    return spelling.found(path, _TABLE, ())


def spelled_all(paths: Iterable[str]) -> tuple[str, ...]:
    """The same for many, each once."""
    return tuple(dict.fromkeys(map(spelled, paths)))


def spelled_error(error: ProxyError) -> ProxyError:
    """The error with Google's names in it, where it speaks of attributes."""
    return spelling.spelled_error(error, spelled, spelled)
