"""The simulated Gemini refuses what Google refuses, answers in Google's shapes and obeys its directives.

Ids such as G026 are statements of the reference; they are written without their dash because these tests prove
the simulator, not the proxy.
"""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from proxy.simulators import pictures
from proxy.simulators.gemini import models, proto, rules, signatures
from proxy.simulators.gemini.errors import Refused
from proxy.simulators.server import Running, start

G3, G25, ARGON = "gemini-3-flash-preview", "gemini-2.5-flash", "gemini-4-argon"
WEATHER = {
    "name": "get_weather",
    "parametersJsonSchema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
        "required": ["city"],
    },
}
TOOLS = [{"functionDeclarations": [WEATHER]}]
PNG = base64.b64encode(pictures.png(64, 48, "x")).decode()
SENTINEL = "skip_thought_signature_validator"


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with start() as server:
        yield server


@pytest.fixture
def google(running: Running) -> Iterator[httpx.Client]:
    running.log.reset()
    url = running.url("google") + "/"
    with httpx.Client(base_url=url, headers={"x-goog-api-key": "sim-key"}) as client:
        yield client


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "parts": [{"text": part} if isinstance(part, str) else part for part in parts]}


def ask(google: httpx.Client, *parts: Any, model: str = G3, **fields: Any) -> httpx.Response:
    body = {"contents": [user(*parts)], **fields}
    return google.post(f"models/{model}:generateContent", json=body)


def payloads(google: httpx.Client, *parts: Any, model: str = G3, **fields: Any) -> list[dict[str, Any]]:
    body = {"contents": [user(*parts)], **fields}
    reply = google.post(f"models/{model}:streamGenerateContent?alt=sse", json=body)
    assert reply.headers["content-type"] == "text/event-stream"
    return [json.loads(frame[6:]) for frame in reply.text.split("\r\n\r\n") if frame]


def refused(request: dict[str, Any], model: str = G3, *, streamed: bool = False) -> str:
    """The message of the refusal, "" when the request is taken."""
    try:
        rules.check(proto.read(request, "GenerateContentRequest"), models.MODELS[model], streamed=streamed)
    except Refused as error:
        return error.message
    return ""


def hello(**fields: Any) -> dict[str, Any]:
    return {"contents": [user("Hi")], **fields}


def config(**fields: Any) -> dict[str, Any]:
    return hello(generationConfig=fields)


def declare(parameters: Any) -> dict[str, Any]:
    return hello(tools=[{"functionDeclarations": [{"name": "f", "parameters": parameters}]}])


def test_a_plain_question_gets_a_whole_reply(google: httpx.Client) -> None:
    reply = ask(google, "Hi", model=G25).json()
    identity = reply.pop("responseId")
    assert re.fullmatch(r"[0-9a-f]{22}", identity)
    assert reply == {
        "candidates": [
            {
                "content": {"parts": [{"text": "You said: Hi"}], "role": "model"},
                "finishReason": "STOP",
                "index": 0,
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 1,
            "candidatesTokenCount": 3,
            "totalTokenCount": 36,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1}],
            "thoughtsTokenCount": 32,
            "serviceTier": "standard",
        },
        "modelVersion": "gemini-2.5-flash",
    }


# Refusals ---------------------------------------------------------------------------------------------------


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


# Keys and models --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "query", "status", "message"),
    [
        pytest.param({}, "", 403, "unregistered callers", id="no key"),
        pytest.param({"x-goog-api-key": "bad-key"}, "", 400, "API key not valid", id="G195"),
        pytest.param({"x-goog-api-key": "expired-1"}, "", 400, "API key expired", id="expired"),
        pytest.param({"x-goog-api-key": "leaked-1"}, "", 403, "reported as leaked", id="leaked"),
        pytest.param({"x-goog-api-key": "spent-1"}, "", 429, "exceeded your current quota", id="G197"),
        pytest.param({"authorization": "Bearer x"}, "", 401, "invalid authentication", id="bearer"),
        pytest.param({"x-goog-api-key": "k"}, "?key=k", 400, "in the query string", id="G002"),
    ],
)
def test_keys(running: Running, headers: dict[str, str], query: str, status: int, message: str) -> None:
    reply = httpx.post(
        f"{running.url('google')}/models/{G3}:generateContent{query}", headers=headers, json=hello()
    )
    assert reply.status_code == status
    assert message in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "model", ["gemini-9", "gemini-3-pro-preview", "gemini-2.0-flash", "gemini-3-pro-image-preview"]
)
def test_unknown_and_retired_models_are_404(google: httpx.Client, model: str) -> None:
    """G201"""
    assert ask(google, "Hi", model=model).json() == {
        "error": {
            "code": 404,
            "message": f"models/{model} is not found for API version v1beta, or is not supported for "
            "generateContent. Call ListModels to see the list of available models and their supported "
            "methods.",
            "status": "NOT_FOUND",
        }
    }


def test_the_model_list_has_prefixed_names_and_pages(google: httpx.Client) -> None:
    """G213"""
    first = google.get("models", params={"pageSize": 5}).json()
    second = google.get("models", params={"pageSize": 1000, "pageToken": first["nextPageToken"]}).json()
    assert [len(first["models"]), "nextPageToken" in second] == [5, False]
    assert first["models"][0]["name"] == "models/gemini-4-argon"
    assert second["models"][-1]["name"] == "models/gemini-flash-lite-latest"
    assert google.get(f"models/{G3}").json()["supportedGenerationMethods"] == [
        "generateContent",
        "countTokens",
    ]


def test_a_latest_alias_reports_the_model_behind_it(google: httpx.Client) -> None:
    assert ask(google, "Hi", model="gemini-flash-latest").json()["modelVersion"] == "gemini-3.8-flash"


def test_tokens_are_counted_in_both_forms(google: httpx.Client) -> None:
    expected = {
        "totalTokens": 259,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 1},
            {"modality": "IMAGE", "tokenCount": 258},
        ],
    }
    request = {"contents": [user("Hi", {"inlineData": {"mimeType": "image/png", "data": PNG}})]}
    assert google.post(f"models/{G3}:countTokens", json=request).json() == expected
    wrapped = {"generateContentRequest": {"model": f"models/{G3}", **request}}
    assert google.post(f"models/{G3}:countTokens", json=wrapped).json() == expected


def test_several_embeddings_keep_their_order(google: httpx.Client) -> None:
    """G210"""
    name = "models/gemini-embedding-001"
    requests = [
        {"model": name, "content": {"parts": [{"text": text}]}, "outputDimensionality": 3} for text in "ab"
    ]
    several = google.post(f"{name}:batchEmbedContents", json={"requests": requests}).json()["embeddings"]
    single = [google.post(f"{name}:embedContent", json=each).json()["embedding"] for each in requests]
    assert several == single
    assert [len(each["values"]) for each in single] == [3, 3]


# Calls and signatures ---------------------------------------------------------------------------------------


def called(google: httpx.Client, prompt: str, model: str = G3) -> dict[str, Any]:
    reply = ask(google, prompt, model=model, tools=TOOLS)
    content: dict[str, Any] = reply.json()["candidates"][0]["content"]
    return content


def result(part: dict[str, Any], **response: Any) -> dict[str, Any]:
    call = part["functionCall"]
    identity = {"id": call["id"]} if "id" in call else {}
    return {"functionResponse": {**identity, "name": call["name"], "response": response}}


def follow(google: httpx.Client, prompt: str, *contents: dict[str, Any], model: str = G3) -> httpx.Response:
    body = {"contents": [user(prompt), *contents], "tools": TOOLS}
    return google.post(f"models/{model}:generateContent", json=body)


def test_a_prompt_that_names_a_tool_calls_it_with_fitting_arguments(google: httpx.Client) -> None:
    content = called(google, "What is the weather in Paris and in London? sim:parallel:2")
    first, second = content["parts"]
    assert first["functionCall"]["args"] == {"city": "Paris", "days": 1}
    assert second["functionCall"]["args"] == {"city": "London", "days": 2}
    assert first["functionCall"]["id"] != second["functionCall"]["id"]
    assert ["thoughtSignature" in part for part in content["parts"]] == [True, False]


def test_results_are_quoted_in_the_answer(google: httpx.Client) -> None:
    prompt = "weather in Paris and London sim:parallel:2"
    content = called(google, prompt)
    first, second = content["parts"]
    results = {"role": "user", "parts": [result(first, temp=15), result(second, output="12C")]}
    reply = follow(google, prompt, content, results).json()
    assert reply["candidates"][0]["content"]["parts"][0]["text"] == (
        'The tools answered: get_weather -> {"temp":15}; get_weather -> {"output":"12C"}.'
    )


def test_several_steps_of_one_turn_each_need_their_signature(google: httpx.Client, running: Running) -> None:
    prompt = "weather sim:steps:2"
    first = called(google, prompt)
    answer = {"role": "user", "parts": [result(first["parts"][0], temp=1)]}
    second = follow(google, prompt, first, answer).json()["candidates"][0]["content"]
    again = {"role": "user", "parts": [result(second["parts"][0], temp=2)]}
    done = follow(google, prompt, first, answer, second, again)
    assert done.json()["candidates"][0]["content"]["parts"][0]["text"].startswith("The tools answered")
    assert running.log.counts["google.signatures.real"] == 3
    bare = {"role": "model", "parts": [{"functionCall": second["parts"][0]["functionCall"]}]}
    error = follow(google, prompt, first, answer, bare, again).json()["error"]["message"]
    assert "missing a thought_signature in functionCall parts" in error
    assert error.endswith("function call `default_api:get_weather`, position 4.")


def test_only_the_current_turn_must_be_signed(google: httpx.Client) -> None:
    """G094: the sentinel is not needed in earlier turns."""
    content = called(google, "weather")
    bare = {"role": "model", "parts": [{"functionCall": content["parts"][0]["functionCall"]}]}
    answer = {"role": "user", "parts": [result(bare["parts"][0], temp=1)]}
    assert follow(google, "weather", bare, answer).status_code == 400
    assert follow(google, "weather", bare, answer, user("thanks")).status_code == 200


@pytest.mark.parametrize(
    "sentinel",
    [
        pytest.param(SENTINEL, id="literal"),
        pytest.param(base64.b64encode(SENTINEL.encode()).decode(), id="G217"),
        pytest.param("context_engineering_is_the_way_to_go", id="the other word"),
    ],
)
def test_a_sentinel_is_taken_and_counted(google: httpx.Client, running: Running, sentinel: str) -> None:
    """G094, G095"""
    call = {"id": "a", "name": "get_weather", "args": {}}
    other = {**call, "id": "b"}
    content = {
        "role": "model",
        "parts": [{"functionCall": call, "thoughtSignature": sentinel}, {"functionCall": other}],
    }
    answers = [result({"functionCall": each}, ok=True) for each in (call, other)]
    assert follow(google, "weather", content, {"role": "user", "parts": answers}).status_code == 200
    counts = httpx.get(f"{running.base_url}/_sim/counters").json()
    assert {name: count for name, count in counts.items() if "signatures" in name} == {
        "google.signatures.real": 0,
        "google.signatures.sentinels": 1,
        "google.signatures.sentinels_on_siblings": 0,
        "google.signatures.sentinels_before_3": 0,
    }


def test_foreign_moved_and_doubled_signatures_are_corrupted(google: httpx.Client) -> None:
    """G097, G098, G099"""
    content = called(google, "weather in Paris sim:parallel:2")
    first, second = content["parts"]
    signature = first["thoughtSignature"]
    unsigned = {"functionCall": first["functionCall"]}
    results = {"role": "user", "parts": [result(first, a=1), result(second, a=2)]}

    def status(*parts: dict[str, Any]) -> tuple[int, str]:
        reply = follow(google, "weather", {"role": "model", "parts": list(parts)}, results)
        return reply.status_code, reply.json().get("error", {}).get("message", "")

    corrupted = (400, "Corrupted thought signature.")
    assert status(first, second) == (200, "")
    assert status({**first, "thoughtSignature": "U0lH"}, second) == corrupted
    assert status(first, {**second, "thoughtSignature": signature}) == corrupted
    assert status({**first, "thoughtSignature": signature[:-4] + "AAA="}, second) == corrupted
    changed = {**first["functionCall"], "args": {"city": "Rome"}}
    assert status({"functionCall": changed, "thoughtSignature": signature}, second) == corrupted
    assert status({"text": "Hm", "thoughtSignature": signature}, unsigned, second) == corrupted


def test_a_signature_outlives_the_simulator(google: httpx.Client) -> None:
    content = called(google, "weather in Paris")
    call = content["parts"][0]
    tally = signatures.check([user("a"), content], required=True)
    assert (tally.real, call["thoughtSignature"]) == (1, signatures.for_call(call["functionCall"]))


PAIRING = [
    ("G083", [0], "equal to the number of function call parts"),
    ("G082", [1, 0], "does not belong to function call"),
    ("G081", [], "equal to the number of function call parts"),
]


@pytest.mark.parametrize(("order", "message"), [row[1:] for row in PAIRING], ids=[row[0] for row in PAIRING])
def test_results_must_follow_their_calls_in_number_and_order(
    google: httpx.Client, order: list[int], message: str
) -> None:
    content = called(google, "weather sim:parallel:2")
    parts = [result(content["parts"][index], a=1) for index in order] or [{"text": "never mind"}]
    assert (
        message
        in follow(google, "weather", content, {"role": "user", "parts": parts}).json()["error"]["message"]
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        pytest.param([{"functionResponse": {"name": "f", "response": {}}}], "equal to the number", id="G084"),
        pytest.param(
            [{"functionResponse": {"name": "f", "response": {"a": [{"$ref": 1}]}}}], "$ref", id="G088"
        ),
        pytest.param(
            [{"functionResponse": {"name": "f", "response": {}}}, {"text": "a"}], "mixes", id="G012"
        ),
    ],
)
def test_stray_and_mixed_results_are_refused(parts: list[dict[str, Any]], message: str) -> None:
    assert message in refused({"contents": [{"role": "user", "parts": parts}]})


def test_ids_stand_on_both_sides_or_on_neither() -> None:
    """G090"""
    call = {
        "role": "model",
        "parts": [{"functionCall": {"id": "a", "name": "f"}, "thoughtSignature": SENTINEL}],
    }
    answer = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}
    assert "must both have an id" in refused({"contents": [user("a"), call, answer]})


def test_pictures_in_results_need_the_third_generation() -> None:
    """G089"""
    call = {"role": "model", "parts": [{"functionCall": {"name": "f"}, "thoughtSignature": SENTINEL}]}
    media = [{"inlineData": {"mimeType": "image/png", "data": PNG}}]
    answer = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}, "parts": media}}]}
    request = {"contents": [user("a"), call, answer]}
    assert refused(request, G3) == ""
    assert "Multimodal function responses are not supported" in refused(request, G25)


def test_older_models_need_no_signature_and_give_no_ids(google: httpx.Client) -> None:
    """G090, G096"""
    content = called(google, "weather", model=G25)
    assert set(content["parts"][0]) == {"functionCall", "thoughtSignature"}
    assert "id" not in content["parts"][0]["functionCall"]
    bare = {"role": "model", "parts": [{"functionCall": content["parts"][0]["functionCall"]}]}
    answer = {"role": "user", "parts": [result(bare["parts"][0], temp=1)]}
    assert follow(google, "weather", bare, answer, model=G25).status_code == 200


def test_mode_any_always_calls_and_none_never(google: httpx.Client) -> None:
    """G069, G071"""
    tools = [{"functionDeclarations": [WEATHER, {"name": "other"}]}]

    def parts(prompt: str, **calling: Any) -> list[dict[str, Any]]:
        reply = ask(google, prompt, tools=tools, toolConfig={"functionCallingConfig": calling})
        found: list[dict[str, Any]] = reply.json()["candidates"][0]["content"]["parts"]
        return found

    assert parts("Hi", mode="ANY", allowedFunctionNames=["other"])[0]["functionCall"]["name"] == "other"
    assert parts("weather", mode="NONE")[0]["text"] == "You said: weather"
