"""Parameters: sampling, limits, thinking, the answer's form, pictures, speech, Gemini's own words."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import RequestError
from proxy.types import (
    AnswerFormat,
    AudioOptions,
    BuiltinTool,
    Foreign,
    FunctionTool,
    ImageOptions,
    Json,
    Target,
    Thinking,
    ToolChoice,
)
from proxy.wires.gemini import GeminiWire, models
from tests.gemini_build import ChatRequest, body, call, config, system, user

G3 = "gemini-3-flash-preview"
G25 = "gemini-2.5-flash"
PRO25 = "gemini-2.5-pro"
HI: Json = {"role": "user", "parts": [{"text": "Hi"}]}


# --- simple parameters ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param(
            {"temperature": 0, "top_p": 0.9, "top_k": 40},
            {"temperature": 0, "topP": 0.9, "topK": 40},
            id="sampling",
        ),
        pytest.param({"max_tokens": 64}, {"maxOutputTokens": 64}, id="G-109"),
        pytest.param({"max_tokens": 100_000}, {"maxOutputTokens": 65_536}, id="G-109 beyond the limit"),
        pytest.param({"stop": ("END",)}, {"stopSequences": ["END"]}, id="G-110"),
        pytest.param({"stop": ("a", "", "a", "b")}, {"stopSequences": ["a", "b"]}, id="G-112"),
        pytest.param({"stop": ("",)}, {}, id="G-112 nothing left"),
        pytest.param({"n": 1}, {}, id="G-113"),
        pytest.param({"seed": 0}, {"seed": 0}, id="zero is a seed"),
        pytest.param({"seed": -5}, {"seed": -5}, id="negative seed"),
        pytest.param({"seed": 2**31}, {"seed": 0}, id="G-115"),
        pytest.param({"seed": 2**63 + 7}, {"seed": 7}, id="G-115 huge"),
        pytest.param({"presence_penalty": 0, "frequency_penalty": 0.0}, {}, id="zero penalties"),
        pytest.param(
            {"logprobs": True, "top_logprobs": 0}, {"responseLogprobs": True, "logprobs": 0}, id="G-117"
        ),
        pytest.param({"logprobs": True}, {"responseLogprobs": True}, id="G-117 alone"),
        pytest.param({"logprobs": False}, {}, id="logprobs false"),
    ],
)
def test_a_parameter(fields: Json, expected: Json) -> None:
    """G-109, G-110, G-112, G-113, G-115, G-117."""
    built = call(G3, user("Hi"), **fields)
    assert built.body == {"contents": [HI], **({"generationConfig": expected} if expected else {})}
    assert built.dropped == ()


def test_more_than_five_stops_are_cut_and_named() -> None:
    """G-111."""
    built = call(G3, user("Hi"), stop=tuple("abcdef"))
    assert built.body["generationConfig"] == {"stopSequences": ["a", "b", "c", "d", "e"]}
    assert built.dropped == ("stop",)


def test_penalties_go_only_to_models_that_have_them() -> None:
    """G-116."""
    fields: Json = {"presence_penalty": 0.5, "frequency_penalty": -1}
    assert config(G25, **fields) == {"presencePenalty": 0.5, "frequencyPenalty": -1}
    for model in (G3, "gemini-2.5-pro-preview-06-05"):
        built = call(model, user("Hi"), **fields)
        assert "generationConfig" not in built.body
        assert built.dropped == ("presence_penalty", "frequency_penalty")


@pytest.mark.parametrize(
    "model", ["gemini-3.5-flash-lite", "gemini-3.6-flash", "gemini-3.8-flash", "gemini-9"]
)
def test_sampling_that_the_model_ignores_is_named_instead_of_sent(model: str) -> None:
    built = call(model, user("Hi"), temperature=0, top_p=1, seed=1)
    assert built.body["generationConfig"] == {"seed": 1}
    assert built.dropped == ("temperature", "top_p")


# --- several choices -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "n", "stream", "needed"),
    [
        pytest.param(G25, 1, False, 1, id="G-113"),
        pytest.param(G25, 3, False, 1, id="G-114 native"),
        pytest.param(G25, 9, False, 9, id="G-114 too many for one"),
        pytest.param(G25, 3, True, 3, id="G-114 streamed"),
        pytest.param(G3, 3, False, 3, id="G-220"),
        pytest.param("gemini-2.5-flash-image", 2, False, 2, id="pictures"),
    ],
)
def test_several_choices(model: str, n: int, stream: bool, needed: int) -> None:
    """G-113, G-114, G-220."""
    request = ChatRequest("m", (user("Hi"),), n=n, stream=stream)
    target = Target("google", model)
    assert GeminiWire().calls_needed(request, target) == needed
    sent = GeminiWire().build(request, target).body.get("generationConfig", {}).get("candidateCount")
    assert sent == (n if needed == 1 and n > 1 else None)


# --- thinking ------------------------------------------------------------------------------------


def thinking(model: str, effort: str | None = None, **fields: Any) -> Json | None:
    found: Json | None = config(model, thinking=Thinking(effort, **fields)).get("thinkingConfig")
    return found


def test_no_effort_on_a_model_that_always_thinks() -> None:
    """G-122."""
    assert body(PRO25, user("x"), thinking=Thinking("none")) == {
        "contents": [{"role": "user", "parts": [{"text": "x"}]}],
        "generationConfig": {"thinkingConfig": {"thinkingBudget": 128, "includeThoughts": False}},
    }


@pytest.mark.parametrize(
    ("effort", "flash", "pro", "lite"),
    [
        pytest.param("none", 0, 128, 0, id="G-122"),
        pytest.param("minimal", 1024, 1024, 1024, id="minimal"),
        pytest.param("low", 1024, 1024, 1024, id="G-121 low"),
        pytest.param("medium", 8192, 8192, 8192, id="G-121 medium"),
        pytest.param("high", 24576, 24576, 24576, id="G-121 high"),
        pytest.param("xhigh", 24576, 24576, 24576, id="G-125 xhigh"),
        pytest.param("max", 24576, 24576, 24576, id="G-125 max"),
    ],
)
def test_efforts_are_budgets_on_2_5(effort: str, flash: int, pro: int, lite: int) -> None:
    """G-121, G-122, G-125."""
    for model, budget in ((G25, flash), (PRO25, pro), ("gemini-2.5-flash-lite", lite)):
        assert thinking(model, effort) == {
            "thinkingBudget": budget,
            "includeThoughts": effort != "none",
        }


@pytest.mark.parametrize(
    ("model", "levels"),
    [
        # none, minimal, low, medium, high, xhigh, max
        pytest.param(G3, "minimal minimal low medium high high high", id="G-123 G-125 G-218"),
        pytest.param("gemini-3.6-flash", "minimal minimal low medium high high high", id="3.6"),
        pytest.param("gemini-3.1-pro-preview", "low low low medium high high high", id="G-124 3.1 pro"),
        pytest.param("gemini-3.7-flash", "low low low medium high high high", id="G-124 3.7"),
        pytest.param("gemini-3.8-flash", "low low low medium high high high", id="G-124 3.8"),
        pytest.param("gemini-4-argon", "low low low medium high high high", id="G-124 4"),
        pytest.param("gemini-4-carbon", "low low low medium high high high", id="G-124 4 carbon"),
        pytest.param("gemini-3-pro-preview", "low low low low high high high", id="ties go down"),
        pytest.param("gemini-3.1-flash-image", "minimal minimal minimal high high high high", id="G-126"),
    ],
)
def test_efforts_are_levels_from_3_on(model: str, levels: str) -> None:
    """G-123 to G-126, G-218."""
    efforts = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
    for effort, level in zip(efforts, levels.split(), strict=True):
        assert thinking(model, effort) == {"thinkingLevel": level, "includeThoughts": effort != "none"}


@pytest.mark.parametrize(
    "model", ["gemini-2.5-flash-image", "gemini-3-pro-image", "gemini-2.0-flash", "gemma-3-27b-it"]
)
def test_models_that_take_no_thinking_config_get_none(model: str) -> None:
    """G-127: not from Gemini's own words either."""
    built = call(model, user("Hi"), thinking=Thinking("high"))
    assert "thinkingConfig" not in built.body.get("generationConfig", {})
    assert built.dropped == ("thinking",)
    assert call(model, user("Hi"), thinking=Thinking(budget=5)).dropped == ("thinking",)
    assert call(model, user("Hi"), thinking=Thinking("none")).dropped == ()
    native = call(model, user("Hi"), native={"thinking_config": {"thinking_level": "low"}})
    assert "thinkingConfig" not in native.body["generationConfig"]
    assert native.dropped == ("native.thinking_config",)


@pytest.mark.parametrize(
    ("model", "budget", "expected"),
    [
        (G25, 100_000, {"thinkingBudget": 24576}),
        (G25, -1, {"thinkingBudget": -1}),
        (G25, 0, {"thinkingBudget": 0}),
        (PRO25, 0, {"thinkingBudget": 128}),
        (PRO25, 50, {"thinkingBudget": 128}),
        ("gemini-2.5-flash-lite", 100, {"thinkingBudget": 512}),
        (G3, 0, {"thinkingLevel": "minimal"}),
        (G3, 1000, {"thinkingLevel": "low"}),
        (G3, 5000, {"thinkingLevel": "medium"}),
        (G3, 30_000, {"thinkingLevel": "high"}),
    ],
)
def test_a_budget_is_kept_in_range_or_becomes_a_level(model: str, budget: int, expected: Json) -> None:
    """G-123, G-128."""
    assert thinking(model, budget=budget) == {**expected, "includeThoughts": budget != 0}


def test_thoughts_are_shown_when_asked_for_unless_the_provider_never_does() -> None:
    assert thinking(G3, summary=True) == {"includeThoughts": True}
    assert thinking(G3, summary=False) is None
    assert thinking(G3) is None
    assert thinking(G3, "low", summary=False) == {"thinkingLevel": "low", "includeThoughts": False}
    assert thinking(G3, budget=-1) is None
    never = config(G3, thinking=Thinking("low"), options={"include_thoughts": False})
    assert never == {"thinkingConfig": {"thinkingLevel": "low", "includeThoughts": False}}
    assert config(G3) == {}


def test_an_effort_nobody_knows_is_refused() -> None:
    with pytest.raises(RequestError, match="'extreme'"):
        thinking(G3, "extreme")


# --- the form of the answer ----------------------------------------------------------------------

ANSWER: Json = {
    "type": "object",
    "title": "Answer",
    "properties": {"b": {"type": "string", "title": "B"}, "a": {"type": ["integer", "null"]}},
    "required": ["b"],
    "additionalProperties": False,
}


def test_json_mode_sets_only_the_mime_type() -> None:
    """G-118."""
    assert config(G3, answer_format=AnswerFormat("json_object")) == {"responseMimeType": "application/json"}
    assert config(G3, answer_format=AnswerFormat("text")) == {}


def test_a_schema_is_sent_in_one_field() -> None:
    """G-119."""
    wish = AnswerFormat("json_schema", ANSWER, "answer", "What to say", strict=True)
    assert config(G3, answer_format=wish) == {
        "responseMimeType": "application/json",
        "responseJsonSchema": {
            "type": "object",
            "title": "answer",
            "description": "What to say",
            "properties": {"b": {"type": "string"}, "a": {"type": ["integer", "null"]}},
            "required": ["b"],
            "additionalProperties": False,
        },
    }
    assert config(G3, answer_format=wish, options={"schema_mode": "openapi"}) == {
        "responseMimeType": "application/json",
        "responseSchema": {
            "type": "object",
            "title": "answer",
            "description": "What to say",
            "properties": {"b": {"type": "string"}, "a": {"type": "integer", "nullable": True}},
            "required": ["b"],
            "propertyOrdering": ["b", "a"],
        },
    }
    assert config(G3, answer_format=AnswerFormat("json_schema")) == {"responseMimeType": "application/json"}


def test_an_answer_of_free_keys_is_plain_json_where_the_form_has_no_word_for_it() -> None:
    wish = AnswerFormat(
        "json_schema", {"type": "object", "additionalProperties": {"type": "string"}}, "answer"
    )
    built = call(G3, user("Hi"), answer_format=wish, options={"schema_mode": "openapi"})
    assert built.body["generationConfig"] == {"responseMimeType": "application/json"}
    assert built.dropped == ("answer_format.name",)


def test_json_with_tools_on_2_5_is_asked_for_in_words() -> None:
    """G-120."""
    wish = AnswerFormat("json_schema", {"type": "object", "properties": {"a": {"const": 1}}})
    built = call(G25, system("Be brief."), user("Hi"), tools=(FunctionTool("f"),), answer_format=wish)
    assert built.body == {
        "systemInstruction": {
            "parts": [
                {"text": "Be brief."},
                {
                    "text": "Answer with JSON and nothing else, valid for this JSON Schema: "
                    '{"type":"object","properties":{"a":{"enum":[1],"type":"integer"}}}'
                },
            ]
        },
        "contents": [HI],
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
    }
    assert built.dropped == ("answer_format",)
    plain = call(G25, user("Hi"), tools=(FunctionTool("f"),), answer_format=AnswerFormat("json_object"))
    assert plain.body["systemInstruction"] == {
        "parts": [{"text": "Answer with one JSON object and nothing else."}]
    }


def test_json_with_tools_on_newer_models_works() -> None:
    """G-120."""
    built = call(G3, user("Hi"), tools=(FunctionTool("f"),), answer_format=AnswerFormat("json_object"))
    assert built.body["generationConfig"] == {"responseMimeType": "application/json"}
    assert built.dropped == ()


def test_json_with_maps_uses_the_newer_spelling() -> None:
    wish = AnswerFormat("json_schema", {"type": "object", "properties": {"a": {"type": "string"}}})
    assert config(G3, tools=(BuiltinTool("maps"),), answer_format=wish) == {
        "responseFormat": {"text": {"mimeType": "application/json", "schema": wish.schema}}
    }


def test_picture_models_answer_no_json() -> None:
    built = call("gemini-3-pro-image", user("Hi"), answer_format=AnswerFormat("json_object"))
    assert built.body["generationConfig"] == {"responseModalities": ["TEXT", "IMAGE"]}
    assert built.dropped == ("answer_format",)


# --- pictures ------------------------------------------------------------------------------------


def test_a_picture_request() -> None:
    """G-130, G-131."""
    built = call(
        "gemini-3-pro-image",
        user("a cat"),
        modalities=("text", "image"),
        image=ImageOptions(aspect_ratio="16:9", image_size="2k"),
    )
    assert built.body == {
        "contents": [{"role": "user", "parts": [{"text": "a cat"}]}],
        "generationConfig": {
            "responseModalities": ["TEXT", "IMAGE"],
            "imageConfig": {"aspectRatio": "16:9", "imageSize": "2K"},
        },
    }
    assert built.size == "16:9 2k -> 16:9/2K"
    assert built.dropped == ()


@pytest.mark.parametrize(
    ("model", "modalities", "expected", "dropped"),
    [
        pytest.param("gemini-3-pro-image", None, ["TEXT", "IMAGE"], (), id="G-130 default"),
        pytest.param("gemini-3-pro-image", ("image",), ["IMAGE"], (), id="G-130 pictures only"),
        pytest.param("gemini-3-pro-image", ("text",), ["TEXT"], (), id="text from a picture model"),
        pytest.param(G3, ("text",), None, (), id="G-130 text is the default"),
        pytest.param(G3, ("text", "image"), None, ("modalities",), id="no picture model"),
        pytest.param(G3, ("text", "audio"), None, ("modalities",), id="no speech model"),
    ],
)
def test_modalities(
    model: str, modalities: tuple[str, ...] | None, expected: list[str] | None, dropped: tuple[str, ...]
) -> None:
    """G-130."""
    built = call(model, user("Hi"), modalities=modalities)
    assert built.body.get("generationConfig", {}).get("responseModalities") == expected
    assert built.dropped == dropped


@pytest.mark.parametrize(
    ("model", "image", "expected", "dropped"),
    [
        pytest.param(
            "gemini-3.1-flash-image", {"image_size": "512"}, {"imageSize": "512"}, (), id="G-131 512"
        ),
        pytest.param("gemini-3-pro-image", {"image_size": "2k"}, {"imageSize": "2K"}, (), id="G-131 2k"),
        pytest.param(
            "gemini-2.5-flash-image",
            {"size": "3840x2160", "image_size": "4K"},
            {"aspectRatio": "16:9"},
            ("image.image_size",),
            id="G-132",
        ),
        pytest.param("gemini-3-pro-image", {"aspect_ratio": "auto"}, None, (), id="G-133 auto"),
        pytest.param(
            "gemini-3-pro-image",
            {"size": "1536x1024"},
            {"aspectRatio": "3:2", "imageSize": "1K"},
            (),
            id="G-134",
        ),
        pytest.param(
            "gemini-2.5-flash-image", {"size": "1536x1024"}, {"aspectRatio": "3:2"}, (), id="G-134 2.5"
        ),
        pytest.param(
            "gemini-3.1-flash-lite-image", {"size": "1:8"}, {"aspectRatio": "1:8"}, (), id="G-216 lite"
        ),
        pytest.param("nano-banana-2.1", {"size": "8:1"}, {"aspectRatio": "8:1"}, (), id="G-216 2.1"),
        pytest.param(
            "gemini-3-pro-image",
            {"size": "1024x1024", "quality": "hd"},
            {"aspectRatio": "1:1", "imageSize": "2K"},
            (),
            id="hd is a tier",
        ),
        pytest.param("gemini-3-pro-image", {"quality": "high"}, None, ("image.quality",), id="high is none"),
        pytest.param("gemini-3-pro-image", {"quality": "auto"}, None, (), id="auto says nothing"),
        pytest.param(
            G3,
            {"size": "1024x1024", "quality": "hd"},
            None,
            ("image.size", "image.quality"),
            id="text model",
        ),
    ],
)
def test_picture_sizes(model: str, image: Json, expected: Json | None, dropped: tuple[str, ...]) -> None:
    """G-131 to G-134, G-216."""
    built = call(model, user("a cat"), image=ImageOptions(**image))
    assert built.body.get("generationConfig", {}).get("imageConfig") == expected
    assert built.dropped == dropped


def test_the_provider_may_cap_the_tier() -> None:
    """I-025."""
    built = call(
        "gemini-3-pro-image", user("a cat"), image=ImageOptions(size="4K"), options={"max_tier": "2K"}
    )
    assert built.body["generationConfig"]["imageConfig"] == {"imageSize": "2K"}
    assert built.size == "4K -> 2K"


def test_a_ratio_outside_the_models_list_is_refused() -> None:
    """G-133."""
    with pytest.raises(RequestError, match="1:1, 2:3") as caught:
        call("gemini-3-pro-image", user("a cat"), image=ImageOptions(aspect_ratio="1:8"))
    assert (caught.value.status, caught.value.attribute) == (400, "image.aspect_ratio")


# --- speech --------------------------------------------------------------------------------------


def test_speech_with_an_openai_voice() -> None:
    built = call(
        "gemini-3.8-flash-tts",
        user("Hi"),
        modalities=("text", "audio"),
        audio=AudioOptions("alloy", "pcm16"),
    )
    assert built.body["generationConfig"] == {
        "responseModalities": ["AUDIO"],
        "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
    }
    assert built.dropped == ()
    assert config("gemini-3.8-flash-tts") == {"responseModalities": ["AUDIO"]}
    voice = config("gemini-3.8-flash-tts", audio=AudioOptions("Puck"))["speechConfig"]
    assert voice == {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Puck"}}}


def test_speech_that_needs_an_encoder_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        config("gemini-3.8-flash-tts", audio=AudioOptions("alloy", "mp3"))
    assert caught.value.attribute == "audio.format"


def test_speech_of_a_model_that_does_not_speak_is_named() -> None:
    assert call(G3, user("Hi"), audio=AudioOptions("alloy")).dropped == ("audio",)


# --- the rest of the body ------------------------------------------------------------------------


def test_a_cache_holds_system_text_and_tools() -> None:
    """G-135: in either spelling."""
    fields: Json = {"tools": (FunctionTool("f"),), "tool_choice": ToolChoice("required")}
    for spelling in (
        {"cached_content": "cachedContents/a"},
        {"native": {"cached_content": "cachedContents/a"}},
    ):
        built = call(G3, system("Be brief."), user("Hi"), **fields, **spelling)
        assert built.body == {"contents": [HI], "cachedContent": "cachedContents/a"}
        assert built.dropped == ("messages[0]", "tools", "tool_choice")


@pytest.mark.parametrize(
    ("tier", "sent", "dropped"),
    [
        (None, None, ()),
        ("auto", None, ()),
        pytest.param("default", "standard", (), id="G-136"),
        ("flex", "flex", ()),
        ("priority", "priority", ()),
        ("scale", None, ("service_tier",)),
        ("fast", None, ("service_tier",)),
    ],
)
def test_service_tiers(tier: str | None, sent: str | None, dropped: tuple[str, ...]) -> None:
    """G-136."""
    built = call(G3, user("Hi"), service_tier=tier)
    assert built.body.get("serviceTier") == sent
    assert built.dropped == dropped


def test_vertex_takes_the_tier_as_a_header() -> None:
    """G-136."""
    built = call(G3, user("Hi"), service_tier="flex", options={"kind": "vertex"})
    assert built.body == {"contents": [HI]}
    assert built.headers == {"X-Vertex-AI-LLM-Shared-Request-Type": "flex"}
    assert call(G3, user("Hi"), service_tier="default", options={"kind": "vertex"}).headers == {}


def test_what_has_no_place_is_named_and_never_sent() -> None:
    """G-137, G-138."""
    built = call(
        G3,
        user("Hi"),
        store=True,
        metadata={"Team": "a"},
        user="u",
        foreign=Foreign("openai", {"safety_identifier": "s", "foo": 0}),
    )
    assert built.body == {"contents": [HI]}
    assert built.dropped == ("foreign.safety_identifier", "foreign.foo", "store", "metadata")
    assert "user" not in GeminiWire.carries  # so it is named for it


def test_what_says_the_default_loses_nothing() -> None:
    """G-138."""
    assert call(G3, user("Hi"), store=False, metadata={}).dropped == ()


def test_logging_and_labels_where_the_provider_wants_them() -> None:
    """G-138."""
    built = call(
        G3,
        user("Hi"),
        store=False,
        metadata={"Team Name": "a", "ok_1": 2},
        options={"store": True, "labels": True},
    )
    assert built.body == {"contents": [HI], "store": False, "labels": {"team_name": "a", "ok_1": "2"}}
    assert built.dropped == ()


def test_safety_settings_pass_as_they_are() -> None:
    settings = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    assert body(G3, user("Hi"), safety_settings=settings) == {"contents": [HI], "safetySettings": settings}


# --- Gemini's own words --------------------------------------------------------------------------


def test_geminis_own_words_are_laid_over_the_body() -> None:
    """G-129: snake_case or camelCase, short or full, but a schema's names stay the client's."""
    native = {
        "thinking_config": {"include_thoughts": True, "thinking_budget": 5},
        "safety_settings": [{"category": "X", "threshold": "OFF"}],
        "generation_config": {
            "top_k": 3,
            "response_json_schema": {"properties": {"snake_case": {"type": "string"}}},
        },
        "image_config": {"aspect_ratio": "1:1"},
        "imageSize": "4K",
        "tool_config": {"retrieval_config": {"language_code": "de"}},
    }
    assert body(PRO25, user("Hi"), temperature=1, native=native) == {
        "contents": [HI],
        "generationConfig": {
            "temperature": 1,
            "topK": 3,
            "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 5},
            "responseJsonSchema": {"properties": {"snake_case": {"type": "string"}}},
            "imageConfig": {"aspectRatio": "1:1", "imageSize": "4K"},
        },
        "safetySettings": [{"category": "X", "threshold": "OFF"}],
        "toolConfig": {"retrievalConfig": {"languageCode": "de"}},
    }


@pytest.mark.parametrize(
    ("model", "native", "expected"),
    [
        (G3, {"thinking_budget": 0}, {"thinkingBudget": 0, "includeThoughts": True}),
        (G3, {"thinkingLevel": "high"}, {"thinkingLevel": "high", "includeThoughts": True}),
        (G3, {"include_thoughts": False}, {"thinkingLevel": "low", "includeThoughts": False}),
        (
            G3,
            {"thinking_level": "low", "thinking_budget": 5},
            {"thinkingLevel": "low", "includeThoughts": True},
        ),
        (
            G25,
            {"thinking_level": "low", "thinking_budget": 5},
            {"thinkingBudget": 5, "includeThoughts": True},
        ),
    ],
)
def test_the_clients_thinking_config_wins_and_level_and_budget_never_meet(
    model: str, native: Json, expected: Json
) -> None:
    """G-128."""
    built = config(model, thinking=Thinking("low"), native={"thinking_config": native})
    assert built == {"thinkingConfig": expected}


@pytest.mark.parametrize(
    ("native", "attribute", "message"),
    [
        ({"tools": [1]}, "native.tools[0]", "'tools[0]' should be an object."),
        ({"tools": "x"}, "native.tools", "'tools' should be a list."),
        ({"tools": [None]}, "native.tools[0]", "'tools[0]' should be an object."),
        (
            {"tools": [{}, {"function_declarations": 5}]},
            "native.tools[1].functionDeclarations",
            "'tools[1].functionDeclarations' should be a list.",
        ),
        (
            {"tools": {"functionDeclarations": ["x"]}},
            "native.tools[0].functionDeclarations[0]",
            "'tools[0].functionDeclarations[0]' should be an object.",
        ),
        ({"generationConfig": 5}, "native.generationConfig", "'generationConfig' should be an object."),
        ({"temperature": 1, "generation_config": []}, "native.generation_config", None),
        ({"generationConfig": {"thinkingConfig": 5}}, "native.generationConfig.thinkingConfig", None),
        ({"thinking_config": "low"}, "native.thinking_config", None),
        ({"aspectRatio": "1:1", "imageConfig": 3}, "native.imageConfig", None),
        ({"toolConfig": True}, "native.toolConfig", None),
    ],
)
def test_a_native_field_of_a_wrong_shape_is_named(native: Json, attribute: str, message: str | None) -> None:
    with pytest.raises(RequestError) as caught:
        call(G3, user("Hi"), native=native, tools=(FunctionTool("f", None, None),))
    assert caught.value.attribute == attribute
    assert message is None or caught.value.message == message


def test_a_native_field_that_is_null_is_absent() -> None:
    native = {"generationConfig": None, "tools": None, "temperature": 1}
    assert config(G3, native=native) == {"temperature": 1}


def test_the_clients_native_object_is_not_changed() -> None:
    native: Json = {
        "thinking_config": {"thinking_level": "low", "thinking_budget": 5},
        "tools": [{"url_context": {}}],
    }
    call(G3, user("Hi"), native=native)
    assert native == {
        "thinking_config": {"thinking_level": "low", "thinking_budget": 5},
        "tools": [{"url_context": {}}],
    }


# --- models --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("nano-banana", "gemini-2.5-flash-image"),
        ("nano-banana-2", "gemini-3.1-flash-image"),
        ("nano-banana-pro", "gemini-3-pro-image"),
        ("gemini-3-pro-image-preview", "gemini-3-pro-image"),
        ("gemini-3.1-flash-image-preview", "gemini-3.1-flash-image"),
        ("gemini-3.1-flash-lite-preview", "gemini-3.1-flash-lite"),
    ],
)
def test_other_names_and_retired_previews_resolve(name: str, sent: str) -> None:
    """G-206."""
    assert call(name, user("Hi")).path == f"/models/{sent}:generateContent"
    assert call(name, user("Hi"), options={"aliases": {}}).path == f"/models/{name}:generateContent"
    assert models.find(name, {"aliases": {}}).image == models.find(sent, {}).image


@pytest.mark.parametrize(
    ("name", "like"),
    [
        pytest.param("gemini-5-omega", "gemini-4-carbon", id="G-207 newest"),
        pytest.param("publishers/google/models/gemini-2.5-pro", PRO25, id="vertex"),
        pytest.param("google/gemini-2.5-pro", PRO25, id="a reseller's prefix"),
        pytest.param("gemini-2.5-pro@001", PRO25, id="version"),
        pytest.param("gemini-2.5-flash-preview-09-2025", G25, id="dated"),
        pytest.param("gemini-3.1-pro-preview-customtools", "gemini-3.1-pro-preview", id="custom tools"),
        pytest.param("gemma-3n-e4b-it", "gemma-3-27b-it", id="G-207 gemma"),
        pytest.param("8123456789", "gemma-3-27b-it", id="G-207 tuned"),
    ],
)
def test_unknown_models_are_taken_for_their_kin(name: str, like: str) -> None:
    """G-207."""
    found, kin = models.find(name, {}), models.find(like, {})
    same = (*models.ModelTraits.__slots__,)
    for field in same:
        if field not in ("id", "limits", "price", "sunset"):
            assert getattr(found, field) == getattr(kin, field), field


def test_a_provider_may_correct_what_a_model_can_do() -> None:
    """G-207."""
    options = {"capabilities": {"prefill": True, "image": {"ratios": ["1:1"], "sizes": [512]}}}
    found = models.find("gemini-9", options)
    assert found.prefill
    assert found.image is not None
    assert found.image.tiers == ("512",)
    with pytest.raises(TypeError, match="flies"):
        models.find("gemini-9", {"capabilities": {"flies": True}})


def test_every_row_of_the_model_table_is_sound() -> None:
    """Each row has a source and builds; an exact id or alias stands once."""
    document = models._document()
    names = [row["match"] for row in document["models"]] + [
        alias for row in document["models"] for alias in row.get("aliases", ())
    ]
    assert len(names) - len(set(names)) == len({"nano-banana"})  # a pattern of resellers and Google's alias
    for row in document["models"]:
        assert row["source"]
        plain = row["match"].replace("*", "x").replace("[0-9]", "1")
        assert models.find(plain, {"aliases": {}}).id == plain


def test_long_answers_go_through_the_stream() -> None:
    """G-219."""
    long = call("gemini-4-argon", user("Hi"), max_tokens=40_000)
    assert (long.path, long.stream) == ("/models/gemini-4-argon:streamGenerateContent?alt=sse", True)
    assert long.body["generationConfig"] == {"maxOutputTokens": 40_000}
    short = call("gemini-4-argon", user("Hi"), max_tokens=32_768)
    assert (short.path, short.stream) == ("/models/gemini-4-argon:generateContent", False)


def test_an_answer_schema_nested_too_deeply_is_named() -> None:
    schema: Json = {}
    for _ in range(3000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(RequestError) as caught:
        config(G3, answer_format=AnswerFormat("json_schema", {"properties": {"a": schema}}))
    assert caught.value.attribute == "answer_format.schema"
