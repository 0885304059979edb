"""What a request says, read out of its contents: the last user text, the media, the results of calls."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.simulators import directives, pictures
from proxy.simulators.directives import Directives
from proxy.simulators.gemini.proto import decoded

Json = dict[str, Any]

_MEDIA_TOKENS = {"IMAGE": 258, "AUDIO": 32, "VIDEO": 263, "DOCUMENT": 258}


@dataclass(slots=True)
class Prompt:
    """`steps` counts the rounds of calls since the last user text, `results` are those of the last one."""

    directives: Directives
    media: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    steps: int = 0
    tokens: dict[str, int] = field(default_factory=dict)

    @property
    def said(self) -> str:
        return self.directives.said


def tokens_of(text: str) -> int:
    """A quarter of the bytes, one at least."""
    return max(1, (len(text.encode()) + 3) // 4) if text else 0


def read(request: Json) -> Prompt:
    contents: list[Json] = request.get("contents") or []
    spoken = _last_spoken(contents)
    text = (
        "\n".join(part["text"] for part in contents[spoken].get("parts", ()) if "text" in part)
        if contents
        else ""
    )
    prompt = Prompt(directives.parse(text))
    for index, content in enumerate(contents):
        parts = content.get("parts", ())
        prompt.steps += index > spoken and any("functionCall" in part for part in parts)
        for part in parts:
            _count(prompt, part)
            _look(prompt, part)
    if contents:
        answers = (part.get("functionResponse") for part in contents[-1].get("parts", ()))
        prompt.results = [_told(answer) for answer in answers if answer]
    for part in (request.get("systemInstruction") or {}).get("parts", ()):
        _count(prompt, part)
    for tool in request.get("tools") or ():
        for declaration in tool.get("functionDeclarations", ()):
            _add(prompt, "TEXT", tokens_of(orjson.dumps(declaration).decode()))
    return prompt


def _last_spoken(contents: list[Json]) -> int:
    """The newest user content that is not a list of results."""
    for index in range(len(contents) - 1, -1, -1):
        content = contents[index]
        if content.get("role") != "model" and not any(
            "functionResponse" in part for part in content.get("parts", ())
        ):
            return index
    return 0


def _told(result: Json) -> str:
    return f"{result.get('name')} -> {orjson.dumps(result.get('response')).decode()}"


def _add(prompt: Prompt, modality: str, tokens: int) -> None:
    prompt.tokens[modality] = prompt.tokens.get(modality, 0) + tokens


def _modality(mime: str) -> str:
    kind = mime.partition("/")[0].upper()
    return kind if kind in _MEDIA_TOKENS else "DOCUMENT"


def _count(prompt: Prompt, part: Json) -> None:
    if "text" in part:
        _add(prompt, "TEXT", tokens_of(part["text"]))
    for name in ("functionCall", "functionResponse", "executableCode", "codeExecutionResult"):
        if name in part:
            _add(prompt, "TEXT", tokens_of(orjson.dumps(part[name]).decode()[:100_000]))
    for name in ("inlineData", "fileData"):
        if name in part:
            modality = _modality(part[name].get("mimeType", ""))
            _add(prompt, modality, _MEDIA_TOKENS[modality])


def _look(prompt: Prompt, part: Json) -> None:
    inside = [each.get("inlineData", {}) for each in part.get("functionResponse", {}).get("parts") or ()]
    if "inlineData" in part:
        inside.append(part["inlineData"])
    prompt.media += [
        describe(blob.get("mimeType", ""), decoded(blob.get("data", "")) or b"") for blob in inside
    ]
    if "fileData" in part:
        file = part["fileData"]
        prompt.media.append(f"{file.get('mimeType', 'file')} at {file.get('fileUri')}")


def describe(mime: str, data: bytes) -> str:
    """`image/png 64x48 pixels, 1234 bytes, sha256 0123456789abcdef`: proof that the right bytes arrived."""
    seen = pictures.look(data)
    size = f" {seen.width}x{seen.height} pixels," if seen.width else ""
    return f"{mime}{size} {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()[:16]}"
