"""Every documented field of a generateContent request, and every member of its objects, at each wire:
carried, or named as the client wrote it. There is no third (X-008)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from proxy.fronts.base import Asked, Parsed
from proxy.fronts.gemini.generate import generation, request
from proxy.fronts.gemini.generate.front import GeminiFront
from proxy.routing.attempts import Candidate
from tests.declared import PNG
from tests.fidelity import candidates
from tests.test_fidelity_members import HIGH, JSON_MODE, LOW, PDF, THINKS_NEVER, Member, lost_of

HI = {"role": "user", "parts": [{"text": "Hi"}]}
FILM = {"mimeType": "video/mp4", "data": "AAAAHGZ0eXBpc29tAAACAGlzb21pc28y"}
PICTURE = {"mimeType": "image/png", "data": PNG}
WEATHER: Mapping[str, Any] = {"name": "weather"}


class Front(GeminiFront):
    """The name of the model stands in the path."""

    def __init__(self) -> None:
        super().__init__(stream=False)

    def parse(self, body: Any, asked: Asked) -> Parsed[Any, Any]:
        return super().parse(body, replace(asked, path={"model": "m", "verb": "generateContent"}))


def config(**members: Any) -> Mapping[str, Any]:
    return {"generationConfig": members}


def part(**members: Any) -> Mapping[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": "Hi"}, members]}]}


def said(**members: Any) -> Mapping[str, Any]:
    """A part of the model's, between two of the user's."""
    return {"contents": [HI, {"role": "model", "parts": [{"text": "So"}, members]}, HI]}


def function(**members: Any) -> Mapping[str, Any]:
    return {"tools": [{"functionDeclarations": [{**WEATHER, **members}]}]}


def schema(**members: Any) -> Mapping[str, Any]:
    city = {"type": "STRING", **members}
    return function(parameters={"type": "OBJECT", "properties": {"city": city}})


def calling(**members: Any) -> Mapping[str, Any]:
    return {**function(), "toolConfig": {"functionCallingConfig": members}}


def result(**members: Any) -> Mapping[str, Any]:
    call = {"id": "c77", "name": "weather", "args": {"city": "Bonn"}}
    own = {"id": "c77", "name": "weather", "response": {"output": "12 degrees"}, **members}
    return {
        **function(),
        "contents": [
            HI,
            {"role": "model", "parts": [{"functionCall": call}]},
            {"role": "user", "parts": [{"functionResponse": own}]},
        ],
    }


def search(**members: Any) -> Mapping[str, Any]:
    return {"tools": [{"googleSearch": members}]}


def film(**members: Any) -> Mapping[str, Any]:
    return part(inlineData=FILM, videoMetadata=members)


FORM = {"type": "OBJECT", "properties": {"rosebud": {"type": "STRING"}}}
OF_TOOL = "tools.functionDeclarations"
OF_PART = "contents.parts"

MEMBERS: dict[str, Member] = {
    "generationConfig.temperature": Member(config(temperature=0.61), ("0.61",)),
    "generationConfig.topP": Member(config(topP=0.62), ("0.62",)),
    "generationConfig.topK": Member(config(topK=63), ("63",)),
    "generationConfig.candidateCount": Member(
        config(candidateCount=3), ('"n": 3', '"candidateCount": 3', '"path"')
    ),
    "generationConfig.maxOutputTokens": Member(config(maxOutputTokens=77), ("77",)),
    "generationConfig.stopSequences": Member(config(stopSequences=["halt!"]), ("halt!",)),
    "generationConfig.seed": Member(config(seed=4711), ("4711",)),
    "generationConfig.presencePenalty": Member(config(presencePenalty=0.64), ("0.64",)),
    "generationConfig.frequencyPenalty": Member(config(frequencyPenalty=0.65), ("0.65",)),
    "generationConfig.responseLogprobs": Member(config(responseLogprobs=True), ('ogprobs": true',)),
    "generationConfig.logprobs": Member(
        config(responseLogprobs=True, logprobs=7), ('ogprobs": 7',), config(responseLogprobs=True)
    ),
    "generationConfig.logprobs alone": Member(
        config(logprobs=7), ('ogprobs": 7',), named=("generationConfig.logprobs",)
    ),
    "generationConfig.responseModalities": Member(
        config(responseModalities=["IMAGE", "AUDIO"]), ('"audio"', '"AUDIO"')
    ),
    "generationConfig.responseMimeType": Member(
        config(responseMimeType="application/json"), JSON_MODE, named=("generationConfig.responseSchema",)
    ),
    "generationConfig.responseSchema": Member(
        config(responseMimeType="application/json", responseSchema=FORM),
        ("rosebud",),
        config(responseMimeType="application/json"),
    ),
    "generationConfig.thinkingConfig.thinkingLevel": Member(
        config(thinkingConfig={"thinkingLevel": "LOW"}), LOW, met=THINKS_NEVER
    ),
    "generationConfig.thinkingConfig.thinkingBudget": Member(
        config(thinkingConfig={"thinkingBudget": 24576}), HIGH, met=THINKS_NEVER
    ),
    "generationConfig.thinkingConfig.includeThoughts": Member(
        config(thinkingConfig={"includeThoughts": True}),
        ('houghts": true', 'include_thoughts": true'),
        met=THINKS_NEVER,
    ),
    "generationConfig.thinkingConfig.a_new_one": Member(
        config(thinkingConfig={"a_new_one": 77}), ("77",)
    ),
    "generationConfig.imageConfig.aspectRatio": Member(
        config(imageConfig={"aspectRatio": "16:9"}),
        ("1280*720", "16:9", "1280x720", "1360x768", "1536x1024", "1792x1024", "2720*1536", "2730x1536",
         '"height": 720', '"height": 768', "1360*768"),
    ),
    "generationConfig.imageConfig.personGeneration": Member(
        config(imageConfig={"personGeneration": "ALLOW_77"}), ("ALLOW_77",)
    ),
    "generationConfig.mediaResolution": Member(config(mediaResolution="R77"), ("R77",)),
    "generationConfig.speechConfig": Member(config(speechConfig={"languageCode": "de-77"}), ("de-77",)),
    "generationConfig.a_new_one": Member(config(a_new_one=77), ("77",)),
    "systemInstruction": Member(
        {"systemInstruction": {"parts": [{"text": "Rosebud"}]}}, ("Rosebud",), named=("contents",)
    ),
    "systemInstruction.a_new_one": Member(
        {"systemInstruction": {"parts": [{"text": "So"}], "a_new_one": 77}},
        ("77",),
        {"systemInstruction": {"parts": [{"text": "So"}]}},
    ),
    "safetySettings": Member({"safetySettings": [{"category": "HARM_77", "threshold": "OFF"}]}, ("HARM_77",)),
    "cachedContent": Member({"cachedContent": "cachedContents/77"}, ("cachedContents/77",)),
    "serviceTier": Member({"serviceTier": "flex"}, ('"flex"',)),
    "store": Member({"store": True}, ('"store": true',)),
    "labels": Member({"labels": {"team": "t77"}}, ("t77",)),
    "a_new_one": Member({"a_new_one": 77}, ("77",)),
    "tools": Member(function(), ('"weather"',)),
    f"{OF_TOOL}.description": Member(function(description="Rosebud"), ("Rosebud",), function()),
    f"{OF_TOOL}.parameters": Member(schema(), ('"city"',), function()),
    f"{OF_TOOL}.parameters.example": Member(schema(example="Rosebud"), ("Rosebud",), schema()),
    f"{OF_TOOL}.behavior": Member(function(behavior="NON_BLOCKING"), ("NON_BLOCKING",), function()),
    f"{OF_TOOL}.a_new_one": Member(function(a_new_one=77), ("77",), function()),
    "tools.googleSearch.timeRangeFilter": Member(
        search(timeRangeFilter={"startTime": "2077"}), ("2077",), search()
    ),
    "tools.codeExecution": Member({"tools": [{"codeExecution": {}}]}, ('"codeExecution"',)),
    "tools.a_new_one": Member({"tools": [{"a_new_one": {"b": 77}}]}, ("77",)),
    "toolConfig.functionCallingConfig": Member(calling(mode="ANY"), ('"ANY"', '"required"'), function()),
    "toolConfig.functionCallingConfig.a_new_one": Member(calling(a_new_one=77), ("77",), calling()),
    "toolConfig.retrievalConfig": Member(
        {"toolConfig": {"retrievalConfig": {"languageCode": "de-77"}}},
        ("de-77",),
        # What takes no `toolConfig` at all names what most ask for there.
        named=("toolConfig.functionCallingConfig",),
    ),
    "contents.a_new_one": Member({"contents": [{**HI, "a_new_one": 77}]}, ("77",)),
    f"{OF_PART}.a_new_one": Member(part(text="So", a_new_one=77), ("77",), part(text="So")),
    f"{OF_PART}.inlineData": Member(part(inlineData=PICTURE), (PNG, "{upload 1}")),
    f"{OF_PART}.inlineData of a document": Member(
        part(inlineData={"mimeType": "application/pdf", "data": PDF}),
        (PDF,),
        named=(f"{OF_PART}.inlineData",),
    ),
    f"{OF_PART}.inlineData.a_new_one": Member(
        part(inlineData={**PICTURE, "a_new_one": 77}),
        ("77",),
        part(inlineData=PICTURE),
        (f"{OF_PART}.inlineData",),
    ),
    f"{OF_PART}.fileData": Member(part(fileData={"fileUri": "files/77"}), ("files/77",)),
    f"{OF_PART}.fileData.a_new_one": Member(
        part(fileData={"fileUri": "https://e.example/a.png", "a_new_one": 77}),
        ("77",),
        part(fileData={"fileUri": "https://e.example/a.png"}),
        (f"{OF_PART}.fileData",),
    ),
    f"{OF_PART}.mediaResolution": Member(
        part(inlineData=PICTURE, mediaResolution={"level": "L77"}),
        ("L77",),
        part(inlineData=PICTURE),
        (f"{OF_PART}.inlineData",),
    ),
    f"{OF_PART}.videoMetadata": Member(film(fps=7.7), ("7.7",), film(), (f"{OF_PART}.inlineData",)),
    f"{OF_PART}.videoMetadata of a picture": Member(
        part(inlineData=PICTURE, videoMetadata={"fps": 7.7}),
        ("7.7",),
        part(inlineData=PICTURE),
        (f"{OF_PART}.videoMetadata", f"{OF_PART}.inlineData"),
    ),
    f"{OF_PART}.videoMetadata of a text": Member(
        part(text="So", videoMetadata={"fps": 7.7}),
        ("7.7",),
        part(text="So"),
        (f"{OF_PART}.videoMetadata",),
    ),
    f"{OF_PART}.functionCall": Member(
        said(functionCall={"name": "weather", "args": {"city": "Rosebud"}}), ("Rosebud",)
    ),
    f"{OF_PART}.functionCall.a_new_one": Member(
        said(functionCall={"name": "weather", "a_new_one": 77}), ("77",), said(functionCall=WEATHER)
    ),
    f"{OF_PART}.functionResponse": Member(result(response={"output": "Rosebud"}), ("Rosebud",), result()),
    f"{OF_PART}.functionResponse.scheduling": Member(result(scheduling="S77"), ("S77",), result()),
    f"{OF_PART}.functionResponse.parts": Member(
        result(parts=[{"inlineData": PICTURE}]),
        (PNG, "{upload 1}"),
        result(),
        (f"{OF_PART}.functionResponse",),
    ),
    f"{OF_PART}.executableCode": Member(
        said(executableCode={"language": "PYTHON", "code": "rosebud()"}), ("rosebud()",)
    ),
    f"{OF_PART}.codeExecutionResult": Member(
        said(codeExecutionResult={"outcome": "OUTCOME_OK", "output": "rosebud"}), ("rosebud",)
    ),
    f"{OF_PART}.toolCall": Member(said(toolCall={"toolType": "T77", "id": "a"}), ("T77",)),
}  # fmt: skip


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Candidate]:
    return candidates(tmp_path_factory.mktemp("members"))


def test_every_field_that_the_front_reads_is_asked_for_here() -> None:
    known = {*request._OTHERS, *(f"{generation.PLACE}.{name}" for name in generation._FIELDS)}
    assert known - MEMBERS.keys() == set()


@pytest.mark.parametrize("path", MEMBERS)
def test_a_field_is_carried_or_named(path: str, targets: dict[str, Candidate]) -> None:
    """X-008."""
    assert lost_of(Front(), path, MEMBERS[path], {"contents": [HI]}, targets) == {}
