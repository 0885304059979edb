"""Tools, tool choice and built-in tools as Gemini takes them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from proxy.errors import RequestError
from proxy.types import AnswerFormat, BuiltinTool, FunctionTool, Json, ToolChoice
from proxy.wires.gemini.names import Names
from tests.gemini_build import assistant, body, call, calls, tool, user

G3 = "gemini-3-flash-preview"
G25 = "gemini-2.5-flash"
HI: Json = {"role": "user", "parts": [{"text": "Hi"}]}
CITY: Json = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = FunctionTool("get_weather", "d", CITY)
TIME = FunctionTool("get_time")
SEARCH = BuiltinTool("web_search")


def sent(model: str, *tools: FunctionTool | BuiltinTool, **fields: Any) -> Json:
    """The body without contents."""
    return {
        key: value
        for key, value in body(model, user("Hi"), tools=tools, **fields).items()
        if key != "contents"
    }


def test_a_strict_function() -> None:
    """G-045, G-048, G-074."""
    parameters = CITY | {"additionalProperties": False}
    assert sent(G3, FunctionTool("get_weather", "d", parameters, strict=True)) == {
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "get_weather", "description": "d", "parametersJsonSchema": parameters}
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}},
    }


def test_all_functions_stand_in_one_tool() -> None:
    """G-045, G-046."""
    assert sent(G3, WEATHER, TIME) == {
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "get_weather", "description": "d", "parametersJsonSchema": CITY},
                    {"name": "get_time"},
                ]
            }
        ]
    }


@pytest.mark.parametrize(
    "parameters", [None, {}, {"type": "object"}, {"type": "object", "properties": {}}], ids=str
)
@pytest.mark.parametrize("model", [G3, "gemini-2.0-flash"])
def test_a_function_without_parameters_has_neither_schema(model: str, parameters: Json | None) -> None:
    """G-046."""
    assert sent(model, FunctionTool("f", None, parameters)) == {
        "tools": [{"functionDeclarations": [{"name": "f"}]}]
    }


@pytest.mark.parametrize(
    ("model", "options", "repairs", "key"),
    [
        (G25, {}, (), "parametersJsonSchema"),
        (G25, {"schema_mode": "openapi"}, (), "parameters"),
        ("gemini-2.0-flash", {}, (), "parameters"),
        ("gemini-2.0-flash", {"schema_mode": "jsonschema"}, (), "parametersJsonSchema"),
        pytest.param(G25, {}, ("schema_form",), "parameters", id="G-066"),
        pytest.param("gemini-2.0-flash", {}, ("schema_form",), "parametersJsonSchema", id="G-066 back"),
    ],
)
def test_one_schema_field_is_sent(model: str, options: Json, repairs: tuple[str, ...], key: str) -> None:
    """G-047, G-066: after a refusal that names the field, the other one."""
    built = sent(model, WEATHER, options=options, repairs=frozenset(repairs))
    assert built["tools"] == [
        {"functionDeclarations": [{"name": "get_weather", "description": "d", key: CITY}]}
    ]


def test_the_clients_tools_are_not_changed() -> None:
    """G-063."""
    parameters: Json = {
        "type": "object",
        "title": "T",
        "properties": {"a": {"anyOf": [{"const": 1}, {"type": "null"}], "title": "A"}},
    }
    before = copy.deepcopy(parameters)
    for mode in ("openapi", "jsonschema"):
        call(G3, user("Hi"), tools=(FunctionTool("f", None, parameters),), options={"schema_mode": mode})
    assert parameters == before


def test_a_schema_with_an_endless_integer_is_declared_too() -> None:
    parameters: Json = {"type": "object", "properties": {"a": {"type": "integer", "maximum": 2**70}}}
    declared = sent(G3, FunctionTool("f", None, parameters))["tools"][0]["functionDeclarations"]
    assert declared == [{"name": "f", "parametersJsonSchema": parameters}]


def test_a_schema_nested_too_deeply_names_its_tool() -> None:
    schema: Json = {}
    for _ in range(3000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(RequestError) as caught:
        sent(G3, WEATHER, FunctionTool("f", None, {"properties": {"a": schema}}))
    assert caught.value.attribute == "tools[1].parameters"
    assert caught.value.message.startswith("Function 'f': The JSON Schema is nested too deeply")


@pytest.mark.parametrize("mode", ["jsonschema", "openapi"])
def test_parameters_that_are_no_object_name_their_tool_and_field(mode: str) -> None:
    with pytest.raises(RequestError) as caught:
        sent(G3, WEATHER, FunctionTool("f", None, {"type": "string"}), options={"schema_mode": mode})
    assert caught.value.attribute == "tools[1].parameters"
    assert caught.value.message == (
        "Function 'f': The parameters of a function are an object; this schema describes string."
    )


@pytest.mark.parametrize("mode", ["jsonschema", "openapi"])
def test_parameters_that_are_empty_when_they_are_clean_are_left_out(mode: str) -> None:
    """An OBJECT without properties is refused at the root."""
    for schema in ({"type": "OBJECT"}, {"properties": {"a": False}}, {"anyOf": [{"type": "object"}]}):
        declared = sent(G3, FunctionTool("f", None, schema), options={"schema_mode": mode})["tools"]
        assert declared == [{"functionDeclarations": [{"name": "f"}]}]


def test_many_functions_share_the_steps_of_one_request() -> None:
    """Also where their schemas are remembered."""
    parameters: Json = {"properties": {f"p{number}": {"type": "string"} for number in range(400)}}
    tools = [FunctionTool(f"f{number}", None, parameters) for number in range(60)]
    for _ in range(2):
        with pytest.raises(RequestError, match="Function 'f49': The JSON Schema is too large") as caught:
            sent(G3, *tools)
        assert caught.value.attribute == "tools[49].parameters"


def test_names_that_google_refuses_are_rewritten_everywhere() -> None:
    """G-064: in declarations, choice, history; the reader gets the way back."""
    tools = (FunctionTool("1st-tool"), FunctionTool("_1st-tool"), FunctionTool("wörk"), FunctionTool("ok"))
    built = call(
        G25,
        user("Hi"),
        assistant(calls=calls(("a", "1st-tool", {}), ("b", "gone tool", {}))),
        tool("a", "1"),
        tool("b", "2"),
        tools=tools,
        tool_choice=ToolChoice("required", ("1st-tool", "wörk")),
    )
    declared = [one["name"] for one in built.body["tools"][0]["functionDeclarations"]]
    assert declared == ["_1st-tool", "_1st-tool_2", "w_rk", "ok"]
    assert built.body["toolConfig"]["functionCallingConfig"] == {
        "mode": "ANY",
        "allowedFunctionNames": ["_1st-tool", "w_rk"],
    }
    assert [part["functionCall"]["name"] for part in built.body["contents"][1]["parts"]] == [
        "_1st-tool",
        "gone_tool",
    ]
    assert [part["functionResponse"]["name"] for part in built.body["contents"][2]["parts"]] == [
        "_1st-tool",
        "gone_tool",
    ]
    assert built.context == {
        "names": {
            "_1st-tool": "1st-tool",
            "_1st-tool_2": "_1st-tool",
            "w_rk": "wörk",
            "gone_tool": "gone tool",
        }
    }
    assert call(G25, user("Hi"), tools=(WEATHER,)).context == {}


def test_thousands_of_names_that_are_the_same_when_they_are_rewritten_stay_apart() -> None:
    """Counted up from two for each, 50,000 would not end."""
    names = Names()
    found = {
        names.upstream(chr(0x4E00 + number % 20_000) * (1 + number // 20_000)) for number in range(40_000)
    }
    assert len(found) == 40_000
    assert {"__", "__2", "__20000", "___2"} <= found


def test_long_names_are_cut_and_stay_apart() -> None:
    """G-064."""
    tools = tuple(FunctionTool("x" * 200 + end) for end in "ab")
    declared = sent(G3, *tools)["tools"][0]["functionDeclarations"]
    assert [len(one["name"]) for one in declared] == [128, 126]


# --- tool choice ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "strict", "model", "expected"),
    [
        pytest.param(None, False, G3, None, id="absent"),
        pytest.param(ToolChoice("auto"), False, G3, None, id="auto"),
        pytest.param(ToolChoice("none"), False, G3, {"mode": "NONE"}, id="G-069"),
        pytest.param(ToolChoice("required"), False, G3, {"mode": "ANY"}, id="G-070"),
        pytest.param(
            ToolChoice("required", ("get_time",)),
            False,
            G3,
            {"mode": "ANY", "allowedFunctionNames": ["get_time"]},
            id="G-071",
        ),
        pytest.param(
            ToolChoice("required", ("get_time", "get_weather")),
            False,
            G3,
            {"mode": "ANY", "allowedFunctionNames": ["get_time", "get_weather"]},
            id="G-072",
        ),
        pytest.param(
            ToolChoice("auto", ("get_time",)),
            False,
            G25,
            {"mode": "VALIDATED", "allowedFunctionNames": ["get_time"]},
            id="G-073 G-215",
        ),
        pytest.param(ToolChoice("auto"), True, G25, {"mode": "VALIDATED"}, id="G-074 auto"),
        pytest.param(ToolChoice("required"), True, G3, {"mode": "ANY"}, id="G-074 any"),
        pytest.param(ToolChoice("none"), True, G3, {"mode": "NONE"}, id="G-074 none"),
        pytest.param(None, True, "gemini-2.0-flash", None, id="no VALIDATED before 2.5"),
    ],
)
def test_tool_choice(choice: ToolChoice | None, strict: bool, model: str, expected: Json | None) -> None:
    """G-069 to G-074, G-215."""
    built = sent(model, FunctionTool("get_weather", None, CITY, strict), TIME, tool_choice=choice)
    assert len(built["tools"][0]["functionDeclarations"]) == 2
    assert built.get("toolConfig", {}).get("functionCallingConfig") == expected


def test_names_with_auto_on_older_models_declare_only_those() -> None:
    """G-073."""
    assert sent("gemini-2.0-flash", WEATHER, TIME, tool_choice=ToolChoice("auto", ("get_time",))) == {
        "tools": [{"functionDeclarations": [{"name": "get_time"}]}]
    }


def test_strict_is_named_where_the_model_cannot_promise_it() -> None:
    """G-048."""
    built = call("gemini-2.0-flash", user("Hi"), tools=(FunctionTool("f", None, CITY, strict=True),))
    assert built.dropped == ("tools[].strict",)


def test_a_choice_of_an_undeclared_function_is_refused() -> None:
    """G-075."""
    with pytest.raises(RequestError, match="'nope'") as caught:
        sent(G3, WEATHER, tool_choice=ToolChoice("required", ("nope",)))
    assert (caught.value.status, caught.value.attribute) == (400, "tool_choice")


def test_without_functions_there_is_no_calling_config() -> None:
    """G-076."""
    built = call(G3, user("Hi"), tools=(SEARCH,), tool_choice=ToolChoice("required"))
    assert built.body == {"contents": [HI], "tools": [{"googleSearch": {}}]}
    assert built.dropped == ("tool_choice",)


def test_no_tools_send_nothing() -> None:
    """G-077."""
    assert sent(G3) == {}


def test_one_call_at_a_time_is_left_to_the_reader() -> None:
    """G-078: Gemini has no field for it; it is honoured, so it is not named as dropped."""
    built = call(G3, user("Hi"), tools=(TIME,), parallel_calls=False)
    assert built.dropped == ()
    assert "toolConfig" not in built.body


def test_legacy_functions_are_the_same_upstream() -> None:
    """G-067: the reply's side is the renderer's."""
    assert sent(G3, WEATHER) == sent(G3, WEATHER)


def test_picture_models_take_no_functions() -> None:
    built = call("gemini-2.5-flash-image", user("Hi"), tools=(WEATHER,), tool_choice=ToolChoice("required"))
    assert "tools" not in built.body
    assert "toolConfig" not in built.body
    assert built.dropped == ("tools", "tool_choice")


# --- built-in tools ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected", "dropped"),
    [
        pytest.param(SEARCH, {"googleSearch": {}}, (), id="G-102"),
        pytest.param(
            BuiltinTool("web_search", {"search_context_size": "medium"}),
            {"googleSearch": {}},
            (),
            id="default",
        ),
        pytest.param(
            BuiltinTool(
                "web_search", {"search_context_size": "high", "user_location": {"type": "approximate"}}
            ),
            {"googleSearch": {}},
            ("tools.web_search.search_context_size", "tools.web_search.user_location"),
            id="G-102 options",
        ),
        pytest.param(
            BuiltinTool("web_search", {"search_types": {"web_search": {}}}, native=True),
            {"googleSearch": {"searchTypes": {"webSearch": {}}}},
            (),
            id="native",
        ),
        pytest.param(BuiltinTool("url_context"), {"urlContext": {}}, (), id="G-104 url"),
        pytest.param(
            BuiltinTool("code_execution", {"container": {"type": "auto"}}),
            {"codeExecution": {}},
            (),
            id="G-104",
        ),
        pytest.param(
            BuiltinTool("code_execution", {"container": {"type": "auto", "memory_limit": "4g"}}),
            {"codeExecution": {}},
            ("tools.code_execution.container",),
            id="a container of a size",
        ),
        pytest.param(
            BuiltinTool("file_search", {"vector_store_ids": ["fileSearchStores/a"], "max_num_results": 3}),
            {"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/a"], "topK": 3}},
            (),
            id="files",
        ),
        pytest.param(
            BuiltinTool("file_search", {"file_search_store_names": ["s"]}, native=True),
            {"fileSearch": {"fileSearchStoreNames": ["s"]}},
            (),
            id="files, native",
        ),
        pytest.param(
            BuiltinTool("computer_use", {"environment": "browser", "display_width": 1024}),
            {"computerUse": {"environment": "ENVIRONMENT_BROWSER"}},
            ("tools.computer_use.display_width",),
            id="computer",
        ),
    ],
)
def test_a_built_in_tool(given: BuiltinTool, expected: Json, dropped: tuple[str, ...]) -> None:
    """G-102 to G-104."""
    built = call(G25, user("Hi"), tools=(given,))
    assert built.body == {"contents": [HI], "tools": [expected]}
    assert built.dropped == dropped


def test_search_asked_for_twice_is_sent_once_and_each_kind_has_its_own_tool() -> None:
    """G-103, G-104."""
    assert sent(G25, SEARCH, BuiltinTool("code_execution"), BuiltinTool("web_search")) == {
        "tools": [{"googleSearch": {}}, {"codeExecution": {}}]
    }


def test_the_place_of_the_maps_tool_stands_in_the_config() -> None:
    maps = BuiltinTool("maps", {"latitude": 0, "longitude": 13.4, "enable_widget": True}, native=True)
    assert sent(G25, maps) == {
        "tools": [{"googleMaps": {"enableWidget": True}}],
        "toolConfig": {"retrievalConfig": {"latLng": {"latitude": 0, "longitude": 13.4}}},
    }


def test_functions_and_built_in_tools_together_on_newer_models() -> None:
    """G-105."""
    assert sent(G3, TIME, SEARCH) == {
        "tools": [{"functionDeclarations": [{"name": "get_time"}]}, {"googleSearch": {}}],
        "toolConfig": {
            "functionCallingConfig": {"mode": "VALIDATED"},
            "includeServerSideToolInvocations": True,
        },
    }


def test_the_flag_goes_neither_to_vertex_nor_to_older_models() -> None:
    """G-106."""
    assert sent(G3, TIME, SEARCH, options={"kind": "vertex"})["toolConfig"] == {
        "functionCallingConfig": {"mode": "VALIDATED"}
    }
    assert "toolConfig" not in sent(G3, SEARCH)
    assert "toolConfig" not in sent(G25, TIME, SEARCH)


def test_the_mix_on_older_models_keeps_the_functions() -> None:
    """G-107."""
    built = call(G25, user("Hi"), tools=(TIME, SEARCH))
    assert built.body["tools"] == [{"functionDeclarations": [{"name": "get_time"}]}]
    assert built.dropped == ("tools.web_search",)


def test_file_search_does_not_exist_on_vertex() -> None:
    built = call(G3, user("Hi"), tools=(BuiltinTool("file_search"),), options={"kind": "vertex"})
    assert "tools" not in built.body
    assert built.dropped == ("tools.file_search",)


def test_tools_in_geminis_own_words_join_ours() -> None:
    """G-129: the client's search replaces ours, its functions join the list."""
    properties = {"snake_case": {"type": "string"}}
    theirs = [
        {"google_search": {"time_range_filter": {"start_time": "x"}}},
        {"function_declarations": [{"name": "f", "parameters": {"properties": properties}, "behavior": "B"}]},
    ]
    assert sent(G3, TIME, SEARCH, native={"tools": theirs})["tools"] == [
        {
            "functionDeclarations": [
                {"name": "get_time"},
                {"name": "f", "parameters": {"type": "object", "properties": properties}, "behavior": "B"},
            ]
        },
        {"googleSearch": {"timeRangeFilter": {"startTime": "x"}}},
    ]
    assert sent(G3, native={"tools": {"url_context": {}}})["tools"] == [{"urlContext": {}}]


UNTIDY: Json = {
    "type": "OBJECT",
    "properties": {"list": {"type": "ARRAY"}, "text": {"type": "str", "properties": {}, "x-note": 1}},
    "required": ["list", "gone"],
}
TIDY: Json = {
    "type": "object",
    "properties": {"list": {"type": "array", "items": {}}, "text": {"type": "string", "x-note": 1}},
    "required": ["list"],
}
TIDY_OPEN: Json = {
    "type": "object",
    "properties": {"list": {"type": "array", "items": {"type": "string"}}, "text": {"type": "string"}},
    "required": ["list"],
}


@pytest.mark.parametrize("mode", ["jsonschema", "openapi"])
def test_what_google_refuses_never_leaves_through_the_escape_hatch(mode: str) -> None:
    """Whatever the field, and in the form that the client chose for it."""
    declared = {"name": "f", "parametersJsonSchema": UNTIDY, "response": UNTIDY}
    theirs = [{"functionDeclarations": [declared, {"name": "g", "parameters": UNTIDY}]}]
    config = {"responseMimeType": "application/json", "responseSchema": UNTIDY}
    before = copy.deepcopy((theirs, config))
    found = body(
        G3, user("Hi"), native={"tools": theirs, "generationConfig": config}, options={"schema_mode": mode}
    )
    assert found["tools"] == [
        {
            "functionDeclarations": [
                {"name": "f", "parametersJsonSchema": TIDY, "response": TIDY_OPEN},
                {"name": "g", "parameters": TIDY_OPEN},
            ]
        }
    ]
    assert found["generationConfig"] == {"responseMimeType": "application/json", "responseSchema": TIDY_OPEN}
    assert (theirs, config) == before


def test_of_two_forms_in_the_escape_hatch_one_is_sent() -> None:
    """G-047."""
    declared = {"name": "f", "parameters": CITY, "parametersJsonSchema": CITY}
    found = body(
        G3,
        user("Hi"),
        answer_format=AnswerFormat("json_schema", CITY),
        native={"tools": {"functionDeclarations": [declared]}, "responseSchema": CITY},
    )
    assert found["tools"] == [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": CITY}]}]
    assert found["generationConfig"] == {"responseMimeType": "application/json", "responseSchema": CITY}


def test_a_function_in_both_lists_is_declared_once_and_never_with_two_meanings() -> None:
    again = {"name": "get_weather", "description": "d", "parametersJsonSchema": CITY}
    once = sent(G3, WEATHER, native={"tools": [{"functionDeclarations": [again, again]}]})
    assert once["tools"] == [{"functionDeclarations": [again]}]
    with pytest.raises(RequestError, match="two functions 'get_weather'") as caught:
        sent(G3, WEATHER, native={"tools": [{"functionDeclarations": [{"name": "get_weather"}]}]})
    assert caught.value.attribute == "native.tools[0].functionDeclarations[0].name"


@pytest.mark.parametrize(
    ("native", "where"),
    [
        (
            {"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "string"}}]}]},
            "native.tools[0].functionDeclarations[0].parameters",
        ),
        ({"responseJsonSchema": {"enum": [["x"] * 300_000]}}, "native.generationConfig.responseJsonSchema"),
    ],
)
def test_a_schema_in_the_escape_hatch_that_cannot_be_sent_is_refused_by_its_path(
    native: Json, where: str
) -> None:
    with pytest.raises(RequestError) as caught:
        sent(G3, native=native)
    assert caught.value.attribute == where


@pytest.mark.parametrize("value", ["", [], 7])
def test_what_is_no_schema_is_googles_to_judge(value: Any) -> None:
    declared = {"name": "f", "parameters": value}
    found = sent(G3, native={"tools": [{"functionDeclarations": [declared]}]})
    assert found["tools"] == [{"functionDeclarations": [declared]}]
