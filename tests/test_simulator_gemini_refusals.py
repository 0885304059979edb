"""The simulated Gemini refuses what Google refuses, in Google's words, and takes what Google takes."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from proxy.simulators.gemini import proto
from proxy.simulators.server import Running, start
from tests.simulated import (
    ARGON,
    G3,
    G25,
    PNG,
    TOOLS,
    WEATHER,
    ask,
    config,
    declare,
    declare_json,
    google_client,
    hello,
    refused,
    user,
)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with start() as server:
        yield server


@pytest.fixture
def google(running: Running) -> Iterator[httpx.Client]:
    with google_client(running) as client:
        yield client


def test_an_unknown_field_is_refused_in_googles_words(google: httpx.Client) -> None:
    """The body is the recorded one of an `exclusiveMinimum` inside `parameters` (G049, G061)."""
    schema = {"type": "OBJECT", "properties": {"max_tokens": {"type": "NUMBER", "exclusiveMinimum": 0}}}
    reply = ask(google, "Hi", tools=[{"functionDeclarations": [{"name": "f", "parameters": schema}]}])
    place = "tools[0].function_declarations[0].parameters.properties[0].value"
    message = (
        f"Invalid JSON payload received. Unknown name \"exclusiveMinimum\" at '{place}': Cannot find field."
    )
    assert reply.status_code == 400
    assert reply.json() == {
        "error": {
            "code": 400,
            "message": message,
            "status": "INVALID_ARGUMENT",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [{"field": place, "description": message}],
                }
            ],
        }
    }


FORM = [
    ("G137 top level", hello(messages=[]), 'Unknown name "messages": Cannot find field.'),
    (
        "G048 strict",
        hello(tools=[{"functionDeclarations": [{"name": "f", "strict": True}]}]),
        "Unknown name \"strict\" at 'tools[0].function_declarations[0]': Cannot find field.",
    ),
    (
        "type",
        config(temperature="hot"),
        "Invalid value at 'generation_config.temperature' (TYPE_FLOAT), \"hot\"",
    ),
    ("G115 int32", config(seed=2**31), "Invalid value at 'generation_config.seed' (TYPE_INT32), 2147483648"),
    (
        "G041 enum",
        config(mediaResolution="MEDIA_RESOLUTION_ULTRA_HIGH"),
        "Invalid value at 'generation_config.media_resolution' (type.googleapis.com/google.ai."
        'generativelanguage.v1beta.MediaResolution), "MEDIA_RESOLUTION_ULTRA_HIGH"',
    ),
    ("G218 XHIGH", config(thinkingConfig={"thinkingLevel": "XHIGH"}), "thinking_level'"),
    (
        "G027 base64",
        {"contents": [user({"inlineData": {"mimeType": "image/png", "data": "%%"}})]},
        "'contents[0].parts[0].inline_data.data' (TYPE_BYTES), Base64 decoding failed for \"%%\"",
    ),
    (
        "oneof",
        {"contents": [user({"text": "a", "inlineData": {"mimeType": "image/png", "data": PNG}})]},
        "oneof field 'data' is already set. Cannot set 'inlineData'",
    ),
    (
        "G051 $ref",
        declare({"type": "OBJECT", "properties": {"p": {"$ref": "#/$defs/P"}}}),
        'Unknown name "$ref"',
    ),
    (
        "G055 type list",
        declare({"type": "OBJECT", "properties": {"p": {"type": ["string", "null"]}}}),
        "properties[0].value.type'",
    ),
    ("G053 const", declare({"type": "OBJECT", "properties": {"p": {"const": 1}}}), 'Unknown name "const"'),
]


@pytest.mark.parametrize(("request_", "message"), [row[1:] for row in FORM], ids=[row[0] for row in FORM])
def test_malformed_bodies_are_refused(request_: dict[str, Any], message: str) -> None:
    assert message in refused(request_)


def test_names_may_be_spelled_with_underscores_and_enum_words_in_lower_case() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    request = {
        "contents": [{"role": "user", "parts": [{"inline_data": {"mime_type": "image/png", "data": PNG}}]}],
        "system_instruction": {"parts": {"text": "Be brief."}},
        "tools": {"function_declarations": [{"name": "f", "description": None, "parameters": schema}]},
        "tool_config": {"function_calling_config": {"mode": "any"}},
        "generation_config": {"max_output_tokens": 100, "thinking_config": {"thinking_level": "low"}},
    }
    assert proto.read(request, "GenerateContentRequest") == {
        "contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "f",
                        "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}},
                    }
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {"maxOutputTokens": 100, "thinkingConfig": {"thinkingLevel": "LOW"}},
    }
    assert refused(request) == ""


def inline(mime: str, data: str = PNG) -> dict[str, Any]:
    return {"contents": [user({"inlineData": {"mimeType": mime, "data": data}})]}


def calling(mode: str, *names: str, tools: Any = TOOLS) -> dict[str, Any]:
    return hello(
        tools=tools,
        toolConfig={"functionCallingConfig": {"mode": mode, "allowedFunctionNames": list(names)}},
    )


MEANING = [
    (
        "2.2 kinds",
        declare_json({"type": "object", "required": 5}),
        G3,
        "schema.required: holds a value of the",
    ),
    (
        "2.2 kinds inside",
        declare_json({"type": "object", "properties": {"a": {"type": {"x": 1}}}}),
        G3,
        "schema.properties[a].type: holds a value of the wrong kind",
    ),
    ("G007", {"contents": []}, G3, "contents is not specified"),
    ("G015", {"contents": [{"role": "user", "parts": []}]}, G3, "must include at least one parts field"),
    ("G010", {"contents": [{"role": "assistant", "parts": [{"text": "a"}]}]}, G3, "valid role: user, model"),
    ("G013", {"contents": [{"role": "model", "parts": [{"text": "a"}]}, user("b")]}, G3, "first content"),
    (
        "G020",
        {"contents": [user("a"), {"role": "model", "parts": [{"text": "b"}]}]},
        ARGON,
        "ending with a model",
    ),
    ("1.1 system", hello(systemInstruction={"parts": [{"inlineData": {}}]}), G3, "only supports text"),
    (
        "1.1 Gemma",
        hello(systemInstruction={"parts": [{"text": "a"}]}),
        "gemma-3-27b-it",
        "Developer instruction",
    ),
    ("G024", inline("image/jpg"), G3, "Unsupported MIME type: image/jpg"),
    ("G025", inline("image/png;a=b"), G3, "Unsupported MIME type: image/png;a=b"),
    ("G026", inline("image/jpeg"), G3, "Unable to process input image"),
    ("G044", inline("image/tiff"), G3, "Unsupported MIME type: image/tiff"),
    ("1.5 empty", inline("image/png", ""), G3, "must not be empty"),
    (
        "G038",
        {"contents": [user({"text": "a", "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"}})]},
        G25,
        "Media resolution of a part",
    ),
    (
        "G037",
        {"contents": [user({"fileData": {"fileUri": "https://youtu.be/x"}, "videoMetadata": {"fps": 25}})]},
        G3,
        "fps must be in the range (0, 24]",
    ),
    ("G046", declare({"type": "OBJECT", "properties": {}}), G3, "should be non-empty for OBJECT type"),
    (
        "G058",
        declare({"type": "OBJECT", "properties": {"a": {"type": "ARRAY"}}}),
        G3,
        "items: missing field",
    ),
    (
        "G060",
        declare({"type": "OBJECT", "properties": {"a": {"type": "STRING", "enum": ["", "b"]}}}),
        G3,
        "enum[0]: cannot be empty",
    ),
    (
        "G059",
        declare({"type": "OBJECT", "properties": {"a": {"type": "INTEGER", "enum": ["1"]}}}),
        G25,
        "only allowed for STRING type",
    ),
    (
        "G062",
        declare({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["b"]}),
        G3,
        "required[0]: property is not defined",
    ),
    *(
        (f"JSON form: {words}", declare_json({"type": "object", "properties": {"a": schema}}), G3, words)
        for schema, words in (
            ({"type": "array"}, "properties[a].items: missing field."),
            ({"type": ["array", "null"]}, "properties[a].items: missing field."),
            ({"type": "string", "properties": {"b": {}}}, "properties: only allowed for OBJECT type"),
            ({"anyOf": [{"required": ["x"]}]}, "anyOf[0].required[0]: property is not defined"),
            ({"items": {"$ref": "#/$defs/X"}}, "undefined schema '#/$defs/X'"),
            ({"$ref": "#/properties/a"}, "undefined schema '#/properties/a'"),
            ({"type": "text"}, "'text' is not a type of JSON Schema"),
        )
    ),
    (
        "a required circle",
        declare_json(
            {
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/X"}},
                "$defs": {
                    "X": {"type": "object", "properties": {"y": {"$ref": "#/$defs/Y"}}, "required": ["y"]},
                    "Y": {"anyOf": [{"$ref": "#/$defs/X"}, {"type": "null"}]},
                },
            }
        ),
        G3,
        "a cyclic reference in a required property",
    ),
    ("root", declare_json({"type": "string"}), G3, "should be of type OBJECT"),
    ("no root", declare_json({"properties": {}}), G3, "should be of type OBJECT"),
    (
        "G056",
        declare({"type": "OBJECT", "properties": {"a": {"anyOf": [{"type": "STRING"}], "enum": ["a"]}}}),
        G3,
        "it must be the only field set",
    ),
    (
        "2.3 format",
        declare({"type": "OBJECT", "properties": {"a": {"type": "STRING", "format": "uri"}}}),
        G3,
        "only 'enum' and 'date-time' are supported for STRING type",
    ),
    ("2.3 top", declare({"type": "STRING"}), G3, "parameters.type: should be OBJECT"),
    ("G045", hello(tools=[*TOOLS, *TOOLS]), G3, "into one tool"),
    (
        "G047",
        hello(tools=[{"functionDeclarations": [{**WEATHER, "parameters": {"type": "OBJECT"}}]}]),
        G3,
        "mutually exclusive",
    ),
    ("G064", hello(tools=[{"functionDeclarations": [{"name": "1a"}]}]), G3, "Invalid function name"),
    (
        "2.1 twice",
        hello(tools=[{"functionDeclarations": [WEATHER, WEATHER]}]),
        G3,
        "Duplicate function declaration found: get_weather",
    ),
    ("G073", calling("AUTO", "get_weather"), G3, "allowed_function_names should only be set"),
    ("G075", calling("ANY", "other"), G3, "other is not a declared function"),
    ("G076", calling("ANY", tools=[]), G3, "Function calling config is set without function_declarations"),
    ("G105", hello(tools=[*TOOLS, {"googleSearch": {}}]), G3, "include_server_side_tool_invocations"),
    (
        "G107",
        hello(tools=[*TOOLS, {"googleSearch": {}}]),
        G25,
        "Tool use with function calling is unsupported",
    ),
    (
        "G106",
        hello(toolConfig={"includeServerSideToolInvocations": True}),
        G25,
        "Tool call context circulation is not enabled",
    ),
    ("2.8 retrieval", hello(tools=[{"googleSearchRetrieval": {}}]), G3, "please use google_search"),
    ("G111", config(stopSequences=list("abcdef")), G3, "at most 5 stop sequences"),
    ("G112", config(stopSequences=[""]), G3, "must not be empty"),
    ("G109", config(maxOutputTokens=0), G3, "maxOutputTokens value of 0"),
    ("3 temperature", config(temperature=2.5), G3, "in the range [0, 2]"),
    ("G220", config(candidateCount=2), G3, "Multiple candidates is not enabled for this model"),
    ("G114", config(candidateCount=9), G25, "exceeds the maximum of 8"),
    ("G116", config(presencePenalty=0), G3, "Penalty is not enabled"),
    ("G117", config(responseLogprobs=True), G3, "Logprobs is not enabled"),
    ("G117 alone", config(logprobs=3), G25, "requires response_logprobs"),
    ("G119", config(responseSchema={}, responseJsonSchema={}), G3, "mutually exclusive"),
    (
        "G118",
        config(responseJsonSchema={}),
        G3,
        "only allowed when response_mime_type is 'application/json'",
    ),
    (
        "G120",
        hello(tools=TOOLS, generationConfig={"responseMimeType": "application/json"}),
        G25,
        "Function calling with a response mime type: 'application/json' is unsupported",
    ),
    (
        "2.8 maps",
        hello(tools=[{"googleMaps": {}}], generationConfig={"responseMimeType": "application/json"}),
        G3,
        "Google Maps with a response mime type",
    ),
    (
        "G122 Pro",
        config(thinkingConfig={"thinkingBudget": 0}),
        "gemini-2.5-pro",
        "Budget 0 is invalid. This model only works in thinking mode.",
    ),
    (
        "3.1 range",
        config(thinkingConfig={"thinkingBudget": 100}),
        "gemini-2.5-flash-lite",
        "choose a value between 512 and 24576",
    ),
    ("G123", config(thinkingConfig={"thinkingLevel": "LOW"}), G25, "Thinking level is not supported"),
    ("G124", config(thinkingConfig={"thinkingLevel": "MINIMAL"}), ARGON, "Thinking level MINIMAL is not"),
    (
        "G126",
        config(thinkingConfig={"thinkingLevel": "MEDIUM"}),
        "gemini-3.1-flash-image",
        "Thinking level MEDIUM is not",
    ),
    (
        "G127 2.5",
        config(thinkingConfig={"includeThoughts": True}),
        "gemini-2.5-flash-image",
        "Thinking is not enabled for this model",
    ),
    ("G127 3", config(thinkingConfig={}), "gemini-3-pro-image", "Thinking is not enabled for this model"),
    (
        "G128",
        config(thinkingConfig={"thinkingLevel": "LOW", "thinkingBudget": 1}),
        G3,
        "only set only one of thinking budget and thinking level",
    ),
    ("G131", config(imageConfig={"imageSize": "2k"}), "gemini-3-pro-image", "Invalid image size 2k"),
    (
        "G132",
        config(imageConfig={"imageSize": "1K"}),
        "gemini-2.5-flash-image",
        "Image size is not supported",
    ),
    ("G133", config(imageConfig={"aspectRatio": "1:8"}), "gemini-3-pro-image", "Invalid aspect ratio 1:8"),
    ("3.3 text", config(imageConfig={"aspectRatio": "1:1"}), G3, "Image config is not enabled"),
    ("3.3 tools", hello(tools=TOOLS), "gemini-3-pro-image", "Function calling is not enabled"),
    (
        "3.3 JSON",
        config(responseMimeType="application/json"),
        "gemini-3-pro-image",
        "JSON mode is not enabled",
    ),
    (
        "G130",
        config(responseModalities=["TEXT"]),
        "gemini-3.8-flash-tts",
        "accepts the following combination of response modalities:\n* AUDIO\n",
    ),
    ("G135", hello(cachedContent="cachedContents/a", tools=TOOLS), G3, "CachedContent can not be used"),
    ("G219", config(maxOutputTokens=32769), ARGON, "needs streaming"),
]


@pytest.mark.parametrize(
    ("request_", "model", "message"), [row[1:] for row in MEANING], ids=[row[0] for row in MEANING]
)
def test_well_formed_requests_are_refused_where_the_reference_says_so(
    request_: dict[str, Any], model: str, message: str
) -> None:
    assert message in refused(request_, model)


TAKEN = [
    ("G019", {"contents": [user("a"), {"role": "model", "parts": [{"text": "b"}]}]}, G3),
    ("G013", {"contents": [user(""), {"role": "model", "parts": [{"text": "b"}]}, user("c")]}, G3),
    ("G031", {"contents": [user({"fileData": {"fileUri": "https://h/v1beta/files/a"}})]}, G3),
    ("G032", {"contents": [user({"fileData": {"fileUri": "https://www.youtube.com/watch?v=a"}})]}, G3),
    ("G033", {"contents": [user({"fileData": {"fileUri": "gs://b/a", "mimeType": "image/png"}})]}, G3),
    (
        "G059",
        declare({"type": "OBJECT", "properties": {"a": {"type": "INTEGER", "enum": ["1"]}}}),
        G3,
    ),
    ("G046", hello(tools=[{"functionDeclarations": [{"name": "f"}]}]), G3),
    ("G215", calling("VALIDATED", "get_weather"), G3),
    (
        "G105",
        hello(
            tools=[*TOOLS, {"googleSearch": {}}],
            toolConfig={"includeServerSideToolInvocations": True},
        ),
        G3,
    ),
    ("G114", config(candidateCount=8), G25),
    ("G122", config(thinkingConfig={"thinkingBudget": 0}), G25),
    ("G216", config(imageConfig={"aspectRatio": "8:1"}), "gemini-nano-banana-2.1"),
    ("G131", config(imageConfig={"imageSize": "512"}), "gemini-3.1-flash-image"),
    ("penalty 2.5", config(presencePenalty=1.5), G25),
    ("G120", hello(tools=TOOLS, generationConfig={"responseMimeType": "application/json"}), G3),
]


@pytest.mark.parametrize(("request_", "model"), [row[1:] for row in TAKEN], ids=[row[0] for row in TAKEN])
def test_requests_are_taken_where_the_reference_says_so(request_: dict[str, Any], model: str) -> None:
    assert refused(request_, model) == ""


def test_a_long_output_of_argon_needs_the_stream_endpoint() -> None:
    """G219"""
    assert refused(config(maxOutputTokens=1_000_000), ARGON, streamed=True) == ""
