"""Native requests as a `ChatRequest`: both spellings, what clients really send, results and their calls."""

import json
import time
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from proxy.errors import RequestError
from proxy.fronts.gemini.generate import request as front
from proxy.fronts.gemini.generate.schemas import json_schema
from proxy.types import (
    AnswerFormat,
    BuiltinTool,
    CallPart,
    ChatRequest,
    FunctionTool,
    ImageOptions,
    MediaPart,
    Message,
    Part,
    ResultPart,
    Slice,
    TextPart,
    Thinking,
    ThoughtPart,
    ToolChoice,
)
from tests.shared import FIXTURES, needs_fixtures

HI = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
PNG = "iVBORw0KGgo="


def parsed(**fields: Any) -> ChatRequest:
    return front.parse({**HI, **fields}, "m", stream=False)


def plain(request: ChatRequest) -> ChatRequest:
    """Without the client's own words beside it."""
    return replace(request, foreign=None)


def configured(**fields: Any) -> ChatRequest:
    return parsed(generationConfig=fields)


def messages(*contents: Any, **fields: Any) -> tuple[Message, ...]:
    return front.parse({"contents": list(contents), **fields}, "m", stream=False).messages


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


def model(*parts: Any) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


def call(name: str, id: str | None = None, **args: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": args, **({"id": id} if id else {})}}


def result(name: str | None, value: Any, id: str | None = None) -> dict[str, Any]:
    told = {"response": {"result": value}, **({"name": name} if name else {}), **({"id": id} if id else {})}
    return {"functionResponse": told}


def strange(request: ChatRequest) -> list[str]:
    return [] if request.foreign is None else request.foreign.paths()


# --- contents ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "contents",
    [
        [{"role": "user", "parts": [{"text": "Hi"}]}],
        [{"parts": [{"text": "Hi"}]}],
        {"parts": [{"text": "Hi"}]},
        [{"role": "user", "parts": {"text": "Hi"}}],
        [{"role": "function", "parts": [{"text": "Hi"}, {"text": ""}]}],
    ],
    ids=["whole", "without-role", "one-object", "one-part", "role-function"],
)
def test_contents_in_the_shapes_that_clients_send(contents: Any) -> None:
    """N-005"""
    assert plain(front.parse({"contents": contents}, "m", stream=True)) == ChatRequest(
        "m", (Message("user", (TextPart("Hi"),)),), stream=True
    )


PICTURE: Any = {"inlineData": {"mimeType": "image/png", "data": PNG}}
RESULT = "contents[0].parts[0].functionResponse"


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"systemInstruction": {"parts": [{"text": "S"}, PICTURE]}}, ["systemInstruction.parts"]),
        (
            {
                "contents": [
                    {"parts": [{"functionResponse": {"name": "f", "parts": [PICTURE, {"text": "T"}]}}]}
                ]
            },
            [f"{RESULT}.parts"],
        ),
        (
            {"contents": [{"parts": [{"functionResponse": {"name": "f", "scheduling": "SILENT"}}]}]},
            [f"{RESULT}.scheduling"],
        ),
        (
            {"contents": [{"parts": [{"function_call": {"name": "f", "will_continue": True}}]}]},
            ["contents[0].parts[0].function_call.will_continue"],
        ),
    ],
)
def test_what_a_part_has_and_nobody_reads_is_named(fields: Any, names: list[str]) -> None:
    assert strange(parsed(**fields)) == [f"foreign.{name}" for name in names]


@pytest.mark.parametrize("name", ["systemInstruction", "system_instruction"])
@pytest.mark.parametrize("role", [{"role": "user"}, {"role": "system"}, {}])
def test_a_system_text_with_any_role(name: str, role: dict[str, str]) -> None:
    """N-004, N-005"""
    system, said = parsed(**{name: {**role, "parts": [{"text": "Be brief."}]}}).messages
    assert system == Message("system", (TextPart("Be brief."),), -1)
    assert said == Message("user", (TextPart("Hi"),), 0)


def test_what_the_model_said_keeps_its_order_and_its_signatures() -> None:
    """X-013: signed text is no thought."""
    _, said, _ = messages(
        user({"text": "Hi"}),
        model(
            {"text": "Hmm.", "thought": True},
            {"text": "Well: ", "thoughtSignature": "c2ln"},
            {**call("look", "c1", at="sky"), "thought_signature": "c2ky"},
            {"thoughtSignature": "c2kz"},
        ),
        user(result("look", "blue", "c1")),
    )
    assert said.role == "assistant"
    assert said.parts == (
        ThoughtPart("Hmm.", None, "contents[1].parts[0].text", spare=True),
        TextPart("Well: ", "c2ln"),
        CallPart("c1", "look", {"at": "sky"}, "c2ky"),
        TextPart("", "c2kz"),
    )


@pytest.mark.parametrize(
    ("part", "medium"),
    [
        (
            {"inlineData": {"mimeType": "image/png", "data": PNG}},
            MediaPart("image", Slice(PNG.encode()), mime="image/png", where="inlineData.data"),
        ),
        (
            {"inline_data": {"mime_type": "audio/wav", "data": PNG, "display_name": "a.wav"}},
            MediaPart(
                "audio", Slice(PNG.encode()), mime="audio/wav", filename="a.wav", where="inline_data.data"
            ),
        ),
        (
            {
                "fileData": {
                    "fileUri": "https://x.example/a.pdf",
                    "mimeType": "application/pdf",
                    "displayName": "a.pdf",
                }
            },
            MediaPart(
                "file",
                url="https://x.example/a.pdf",
                mime="application/pdf",
                filename="a.pdf",
                where="fileData.fileUri",
            ),
        ),
        (
            {"fileData": {"fileUri": "files/abc", "mimeType": "video/mp4"}, "videoMetadata": {"fps": 2}},
            MediaPart(
                "video", file_id="files/abc", mime="video/mp4", video={"fps": 2}, where="fileData.fileUri"
            ),
        ),
    ],
    ids=["picture", "sound", "address", "file"],
)
def test_media(part: dict[str, Any], medium: MediaPart) -> None:
    [message] = messages(user(part))
    [found] = message.parts
    assert isinstance(found, MediaPart)
    assert found == MediaPart(
        **{
            name: getattr(medium, name)
            for name in ("kind", "data", "url", "file_id", "mime", "filename", "video")
        },
        where=f"contents[0].parts[0].{medium.where}",
    )


def test_a_draft_that_the_model_drew_while_it_thought_is_no_picture_of_the_talk() -> None:
    """As its words are: clients send back whole turns."""
    drafts: list[Any] = [
        {"inlineData": {"mimeType": "image/png", "data": PNG}, "thought": True},
        {"fileData": {"fileUri": "https://x.example/a.png"}, "thought": True},
    ]
    request = front.parse(
        {"contents": [user({"text": "Hi"}), model(*drafts, {"text": "So"})]}, "m", stream=False
    )
    assert request.messages[1].parts == (TextPart("So"),)
    assert strange(request) == []


def test_a_tool_of_googles_is_told_in_words_and_what_has_none_is_named() -> None:
    parts: list[Any] = [
        {"executableCode": {"language": "PYTHON", "code": "print(1)\n"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
        {"toolCall": {"id": "x"}},
        {"text": "One.", "partMetadata": {"a": 1}},
    ]
    request = front.parse({"contents": [model(*parts)]}, "m", stream=False)
    assert request.messages[0].parts == (
        TextPart("```python\nprint(1)\n```\n"),
        TextPart("```\n1\n```\n"),
        TextPart("One."),
    )
    assert strange(request) == [
        "foreign.contents[0].parts[2].toolCall",
        "foreign.contents[0].parts[3].partMetadata",
    ]


@pytest.mark.parametrize(
    ("response", "text", "failed"),
    [
        ({"result": "9C"}, "9C", False),
        ({"output": "9C"}, "9C", False),
        ({"error": "no such city"}, "no such city", True),
        ({"result": {"c": 9}}, '{"c":9}', False),
        ({"output": 9}, "9", False),
        ({"c": 9, "f": 48}, '{"c":9,"f":48}', False),
        ({}, "{}", False),
        (None, "{}", False),
    ],
)
def test_what_a_function_returned(response: Any, text: str, failed: bool) -> None:
    """X-021"""
    [_, answer] = messages(
        model(call("look", "c1")), user({"functionResponse": {"name": "look", "response": response}})
    )
    assert answer.parts == (ResultPart("c1", "look", (TextPart(text),), failed),)


def test_a_result_may_show_a_picture() -> None:
    told = {
        "name": "draw",
        "id": "c1",
        "response": {"output": "done"},
        "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}],
    }
    [_, answer] = messages(model(call("draw", "c1")), user({"functionResponse": told}))
    [part] = answer.parts
    assert isinstance(part, ResultPart)
    assert part.parts == (
        TextPart("done"),
        MediaPart(
            "image",
            Slice(PNG.encode()),
            mime="image/png",
            where="contents[1].parts[0].functionResponse.parts[0].inlineData.data",
        ),
    )


# --- results and calls -----------------------------------------------------------------------------------


def pairs(*contents: Any) -> list[tuple[str, str]]:
    """(name, text) of calls in their order, by the id of the result that answers them."""
    found: list[Part] = [part for message in messages(*contents) for part in message.parts]
    calls = [part for part in found if isinstance(part, CallPart)]
    assert all(one.id for one in calls)
    assert len({one.id for one in calls}) == len(calls)
    results = [part for part in found if isinstance(part, ResultPart)]
    texts = {
        one.call_id: "".join(part.text for part in one.parts if isinstance(part, TextPart)) for one in results
    }
    return [(one.name, texts[one.id]) for one in calls]


def test_results_without_ids_go_to_the_calls_in_their_order() -> None:
    """N-030: langchain, old SDKs."""
    assert pairs(
        model(call("look", city="Oslo"), call("look", city="Rome"), call("clock")),
        user(result("look", "9C"), result("look", "21C"), result("clock", "noon")),
        model(call("look", city="Bonn")),
        user(result("look", "12C")),
    ) == [("look", "9C"), ("look", "21C"), ("clock", "noon"), ("look", "12C")]


def test_results_without_ids_in_another_order_are_known_by_their_names() -> None:
    """N-030"""
    assert pairs(
        model(call("look", "a"), call("clock", "b")), user(result("clock", "noon"), result("look", "9C"))
    ) == [("look", "9C"), ("clock", "noon")]


def test_results_with_ids_in_another_order() -> None:
    """N-030"""
    assert pairs(
        model(call("look", "a"), call("look", "b")), user(result("look", "2", "b"), result("look", "1", "a"))
    ) == [("look", "1"), ("look", "2")]


def test_ids_of_results_whose_calls_lost_theirs_say_nothing() -> None:
    """N-030: the other way round than google-genai."""
    assert pairs(
        model(call("look", city="Oslo"), call("clock")),
        user(result("clock", "noon", "b"), result("look", "9C", "a")),
    ) == [("look", "9C"), ("clock", "noon")]


def test_an_id_of_another_turn_is_not_taken_for_a_call_of_this_one() -> None:
    found = messages(model(call("look", "a")), user(result("look", "9C", "z")))
    assert [part.call_id for part in found[1].parts if isinstance(part, ResultPart)] == ["z"]


def test_a_result_without_a_name_answers_the_next_call() -> None:
    """N-030"""
    assert pairs(model(call("look"), call("clock")), user(result(None, "9C"), result(None, "noon"))) == [
        ("look", "9C"),
        ("clock", "noon"),
    ]


def test_the_closing_chunk_that_came_back_as_a_content_is_folded_in() -> None:
    """N-035: the history of google-genai's streamed automatic function calling."""
    contents = [
        user({"text": "Weather?"}),
        model(call("look", city="Oslo")),
        model({"text": ""}),
        user(result("look", "9C")),
    ]
    assert [message.role for message in messages(*contents)] == ["user", "assistant", "user"]
    assert pairs(*contents) == [("look", "9C")]


def test_reading_takes_time_in_proportion_to_what_came() -> None:
    """Thousands of calls, of results and of contents of the model: none looks through all the others."""
    calls = [call("look") for _ in range(20_000)]
    results = [result("look", "9C") for _ in range(20_000)]
    contents = [model(*calls), *(model({"text": "x"}) for _ in range(20_000)), user(*results)]
    began = time.process_time()
    found = messages(*contents)
    assert time.process_time() - began < 20  # about 1; one by one through all of them, minutes
    assert len(found[0].parts) == 40_000
    assert {part.call_id for part in found[1].parts if isinstance(part, ResultPart)} == {
        f"call_g{number}" for number in range(20_000)
    }


# --- generationConfig --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "attributes"),
    [
        ({"temperature": 0}, {"temperature": 0}),
        ({"temperature": "0.5"}, {"temperature": 0.5}),
        ({"topP": 0.5, "top_k": 40.0}, {"top_p": 0.5, "top_k": 40}),
        ({"max_output_tokens": "300"}, {"max_tokens": 300}),
        ({"max_output_tokens": " 0 "}, {"max_tokens": 0}),
        ({"stopSequences": ["END"]}, {"stop": ("END",)}),
        ({"seed": 7, "candidateCount": 2}, {"seed": 7, "n": 2}),
        ({"presencePenalty": 1, "frequency_penalty": -1}, {"presence_penalty": 1, "frequency_penalty": -1}),
        ({"responseLogprobs": True, "logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"logprobs": 3}, {}),
        ({"responseMimeType": "text/plain"}, {}),
        ({"responseMimeType": "application/json"}, {"answer_format": AnswerFormat("json_object")}),
        (
            {"thinkingConfig": {"include_thoughts": True, "thinkingLevel": "LOW"}},
            {"thinking": Thinking("low", None, True)},
        ),
        ({"thinking_config": {"thinkingBudget": 0}}, {"thinking": Thinking(None, 0)}),
        ({"thinkingConfig": {"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}}, {"thinking": Thinking()}),
        ({"responseModalities": ["TEXT", "Image"]}, {"modalities": ("text", "image")}),
        (
            {"imageConfig": {"aspect_ratio": "16:9", "imageSize": "2K"}},
            {"image": ImageOptions(aspect_ratio="16:9", image_size="2K")},
        ),
    ],
)
def test_a_parameter(config: dict[str, Any], attributes: dict[str, Any]) -> None:
    """N-004: in either spelling, 0 as well, numbers as text too."""
    assert plain(configured(**config)) == ChatRequest(
        "m", (Message("user", (TextPart("Hi"),)),), **attributes
    )


@pytest.mark.parametrize(
    "config",
    [
        {"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"}},
        {"response_mime_type": "application/json", "response_json_schema": {"type": "OBJECT"}},
        {"responseMimeType": "application/json", "_responseJsonSchema": {"type": "object"}},
        {"responseMimeType": "text/x.enum", "responseSchema": {"type": "object"}},
    ],
)
def test_a_schema_for_the_answer(config: dict[str, Any]) -> None:
    """N-006: upper-case types in either field."""
    assert configured(**config).answer_format == AnswerFormat("json_schema", {"type": "object"}, "response")


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        (
            {"generationConfig": {"speechConfig": {"voice_config": {}}}},
            ["generationConfig.speechConfig"],
        ),
        (
            {"generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"}},
            ["generationConfig.mediaResolution"],
        ),
        ({"labels": {"team": "blue"}}, ["labels"]),
        ({"labels": {}, "tools": [], "x": None, "y": ""}, []),
        ({"x": 0, "autoTruncate": False}, ["x", "autoTruncate"]),
        ({"tools": [{"enterpriseWebSearch": {"a": 1}}]}, ["tools[0].enterpriseWebSearch"]),
        ({"toolConfig": {"retrievalConfig": {"languageCode": "de"}}}, ["toolConfig.retrievalConfig"]),
    ],
)
def test_what_only_google_understands_is_kept_by_its_path(fields: Any, names: list[str]) -> None:
    assert strange(parsed(**fields)) == [f"foreign.{name}" for name in names]


def test_settings_beside_the_config() -> None:
    settings = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    request = parsed(safetySettings=settings, cached_content="cachedContents/1", serviceTier="FLEX")
    assert (request.safety_settings, request.cached_content, request.service_tier) == (
        settings,
        "cachedContents/1",
        "flex",
    )


# --- tools -------------------------------------------------------------------------------------------------


def test_functions_and_googles_own_tools() -> None:
    """N-004: google-genai mixes the spellings."""
    declared = [
        {"name": "a", "description": "A", "parameters": {"type": "OBJECT", "properties": {}}},
        {
            "name": "b",
            "parameters_json_schema": {"type": "object"},
            "response_json_schema": {"type": "string"},
        },
        {"name": "c"},
    ]
    request = parsed(
        tools=[{"function_declarations": declared}, {"googleSearch": {}}, {"code_execution": {}}]
    )
    assert request.tools == (
        FunctionTool("a", "A", {"type": "object", "properties": {}}),
        FunctionTool("b", None, {"type": "object"}),
        FunctionTool("c"),
        BuiltinTool("web_search", native=True),
        BuiltinTool("code_execution", native=True),
    )
    assert strange(request) == []


@pytest.mark.parametrize(
    ("config", "choice"),
    [
        ({"mode": "AUTO"}, ToolChoice("auto")),
        ({"mode": "any"}, ToolChoice("required")),
        ({"mode": "ANY", "allowed_function_names": ["a"]}, ToolChoice("required", ("a",))),
        ({"mode": "NONE"}, ToolChoice("none")),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["a", "b"]}, ToolChoice("auto", ("a", "b"))),
        ({}, ToolChoice("auto")),
    ],
)
def test_how_functions_may_be_called(config: Any, choice: ToolChoice) -> None:
    """N-005: enums in any case."""
    for written in ({"functionCallingConfig": config}, {"function_calling_config": config}):
        assert parsed(tool_config=written).tool_choice == choice


@pytest.mark.parametrize(
    ("google", "plain"),
    [
        ({"type": "STRING", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "OBJECT", "propertyOrdering": ["a"], "properties": {"a": {"type": "INTEGER"}}},
         {"type": "object", "properties": {"a": {"type": "integer"}}}),
        ({"type": "ARRAY", "min_items": "1", "maxItems": "3", "items": {"type": "NUMBER", "example": 1}},
         {"type": "array", "minItems": 1, "maxItems": 3, "items": {"type": "number", "examples": [1]}}),
        ({"type": "STRING", "minLength": "0", "maxLength": "9" * 5000},
         {"type": "string", "minLength": 0, "maxLength": "9" * 5000}),
        ({"any_of": [{"type": "STRING"}, {"type": "NULL"}], "nullable": True},
         {"anyOf": [{"type": "string"}, {"type": "null"}, {"type": "null"}]}),
        ({"type": "STRING", "format": "enum", "enum": ["A", "B"], "nullable": True},
         {"type": ["string", "null"], "format": "enum", "enum": ["A", "B", None]}),
        ({"type": "INTEGER", "minimum": "1", "maximum": "2.0", "multipleOf": 1},
         {"type": "integer", "minimum": 1, "maximum": 2, "multipleOf": 1}),
        ({"type": "NUMBER", "minimum": "-0.5", "maximum": "much", "exclusive_maximum": "1e300"},
         {"type": "number", "minimum": -0.5, "maximum": "much", "exclusiveMaximum": 1e300}),
        ({"type": "INTEGER", "format": "enum", "enum": ["1", "20", 3, "x"], "nullable": True},
         {"type": ["integer", "null"], "format": "enum", "enum": [1, 20, 3, "x", None]}),
        ({"type": "STRING", "enum": ["1"]}, {"type": "string", "enum": ["1"]}),
        ({"type": "TYPE_UNSPECIFIED", "title": "T"}, {"title": "T"}),
        ({"properties": {"type": {"type": "STRING"}, "min_items": {"type": "BOOLEAN"}}},
         {"properties": {"type": {"type": "string"}, "min_items": {"type": "boolean"}}}),
        ({"$defs": {"A_B": {"type": "OBJECT"}}, "$ref": "#/$defs/A_B"},
         {"$defs": {"A_B": {"type": "object"}}, "$ref": "#/$defs/A_B"}),
        ({"defs": {"A": {"type": "OBJECT"}}, "properties": {"ref": {"ref": "#/defs/A", "nullable": True}}},
         {"$defs": {"A": {"type": "object"}},
          "properties": {"ref": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}}}),
        ({"defs": {"A": {"type": "OBJECT"}}, "ref": "#/defs/A", "nullable": True},
         {"$defs": {"A": {"type": "object"}}, "anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}),
        ({"items": [{"type": "STRING"}], "ref": 1, "type": ["ARRAY"], "nullable": True},
         {"items": [{"type": "string"}], "$ref": 1, "type": ["array", "null"]}),
        ({"type": ["STRING", "null"], "additionalProperties": False},
         {"type": ["string", "null"], "additionalProperties": False}),
    ],
)  # fmt: skip
def test_a_schema_in_json_schemas_words(google: Any, plain: Any) -> None:
    """N-031 (of the table: the subset of OpenAPI), N-006"""
    before = json.dumps(google)
    assert json_schema(google, "schema") == plain
    assert json.dumps(google) == before


def test_properties_stand_in_the_order_that_is_asked_for() -> None:
    """What a model writes first it knows when it writes the rest."""
    properties = {name: {"type": "STRING"} for name in ("answer", "mood", "reason")}
    google = {
        "type": "OBJECT",
        "properties": properties,
        "propertyOrdering": ["reason", "gone", "answer", {}],
    }
    assert list(json_schema(google, "schema")["properties"]) == ["reason", "answer", "mood"]


# --- mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": "Hi"}, "contents"),
        ({"contents": ["Hi"]}, "contents[0]"),
        ({"contents": [{"parts": ["Hi"]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"text": 5}]}]}, "contents[0].parts[0].text"),
        ({"contents": [user({"inline_data": {"a": 1}})]}, "contents[0].parts[0].inline_data.data"),
        ({"contents": [user({"inlineData": {"data": "!"}})]}, "contents[0].parts[0].inlineData.data"),
        ({"contents": [user({"inlineData": {"data": 5}})]}, "contents[0].parts[0].inlineData.data"),
        ({"contents": [user({"inlineData": {"data": PNG, "mime_type": []}})]},
         "contents[0].parts[0].inlineData.mimeType"),
        ({"contents": [user({"inlineData": {"data": PNG, "displayName": {}}})]},
         "contents[0].parts[0].inlineData.displayName"),
        ({"contents": [user({"file_data": {"fileUri": "https://a.example/b", "mimeType": 1}})]},
         "contents[0].parts[0].file_data.mimeType"),
        ({"contents": [user({"functionResponse": {"name": "f", "parts": [{"inlineData": {"data": []}}]}})]},
         "contents[0].parts[0].functionResponse.parts[0].inlineData.data"),
        ({"contents": [model({"functionCall": {}})]}, "contents[0].parts[0].functionCall.name"),
        ({**HI, "generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({**HI, "generation_config": {"candidate_count": 0}}, "generationConfig.candidate_count"),
        ({**HI, "generationConfig": {"maxOutputTokens": "+-5"}}, "generationConfig.maxOutputTokens"),
        ({**HI, "generationConfig": {"seed": "--5"}}, "generationConfig.seed"),
        ({**HI, "generationConfig": []}, "generationConfig"),
        ({**HI, "tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
        ({**HI, "toolConfig": {"functionCallingConfig": {"mode": "MAYBE"}}},
         "toolConfig.functionCallingConfig.mode"),
        ({**HI, "safetySettings": {}}, "safetySettings"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_where_it_is(body: Any, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        front.parse(body, "m", stream=False)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_a_long_name_of_a_field_is_not_remembered() -> None:
    tracemalloc.start()
    try:
        for number in range(30):
            parsed(**{f"a_{number}".ljust(100_000, "x"): 1})
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_schema_nested_beyond_measure_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(300):
        schema = {"items": schema}
    with pytest.raises(RequestError, match="nested deeper"):
        json_schema(schema, "schema")


# --- what real clients sent ---------------------------------------------------------------------------------


@needs_fixtures
@pytest.mark.parametrize("name", ["gemini-cli-router", "gemini-cli-web-search", "google-genai-afc",
    "google-genai-create", "google-genai-schema", "langchain-google-tool-result",
    "vercel-google-tool-result", "gemini-cli-count-tokens"])  # fmt: skip
def test_recorded_requests_are_understood_whole(name: str) -> None:
    """N-001, N-004..006: nothing of them is without a place."""
    recorded = json.loads((FIXTURES / "surfaces" / "requests" / f"{name}.json").read_text())
    assert strange(front.parse(recorded["body"], "m", stream=False)) == []
