"""The request that we write, in Google's spelling: shapes for the type checker, not loaded when we run.

Source: `GenerateContentRequest` of the Gemini API. What a client sends verbatim (`extra_body.google`) is laid
over it afterwards, and may hold more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from proxy.types import Json, Slice


class Blob(TypedDict):
    mimeType: str
    data: Slice


class FileData(TypedDict, total=False):
    mimeType: str
    fileUri: str


class FunctionCall(TypedDict, total=False):
    id: str
    name: str
    args: Mapping[str, Any]


class InlinePart(TypedDict):
    inlineData: Blob


class FunctionResponse(TypedDict, total=False):
    id: str
    name: str
    response: Json
    parts: list[InlinePart]


class MediaResolution(TypedDict):
    level: str


class Part(TypedDict, total=False):
    """One of `text`, `inlineData`, `fileData`, `functionCall`, `functionResponse`; what Gemini's own tools
    called and were answered (`toolCall`, `toolResponse`) is echoed as it came."""

    text: str
    thought: bool
    thoughtSignature: str
    inlineData: Blob
    fileData: FileData
    functionCall: FunctionCall
    functionResponse: FunctionResponse
    toolCall: Json
    toolResponse: Json
    mediaResolution: MediaResolution
    videoMetadata: Mapping[str, Any]


class Content(TypedDict):
    role: str
    parts: list[Part]


class SystemInstruction(TypedDict):
    parts: list[Part]


class ThinkingConfig(TypedDict, total=False):
    thinkingBudget: int
    thinkingLevel: str
    includeThoughts: bool


class ImageConfig(TypedDict, total=False):
    aspectRatio: str
    imageSize: str


class GenerationConfig(TypedDict, total=False):
    temperature: float
    topP: float
    topK: int
    maxOutputTokens: int
    stopSequences: list[str]
    seed: int
    presencePenalty: float
    frequencyPenalty: float
    responseLogprobs: bool
    logprobs: int
    candidateCount: int
    thinkingConfig: ThinkingConfig
    responseModalities: list[str]
    responseMimeType: str
    responseSchema: Json
    responseJsonSchema: Json
    responseFormat: Json
    speechConfig: Json
    imageConfig: ImageConfig
    mediaResolution: str


class Body(TypedDict, total=False):
    systemInstruction: SystemInstruction
    contents: list[Content]
    tools: list[Json]
    toolConfig: Json
    generationConfig: GenerationConfig
    safetySettings: Any
    cachedContent: str
    serviceTier: Literal["standard", "flex", "priority"] | str
    store: bool
    labels: dict[str, str]
