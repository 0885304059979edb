"""Chat surfaces of profiles: another wire talks, the profile moves its calls and unwraps its replies."""

import json
from dataclasses import replace

import pytest

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import (
    BuiltinTool,
    Call,
    ChatRequest,
    Finish,
    FunctionTool,
    Message,
    Text,
    TextPart,
    ToolChoice,
    Usage,
)
from proxy.wires.declared import ChatDelegate, load_profile
from proxy.wires.gemini import GeminiWire
from proxy.wires.openai import OpenAIChatWire
from tests.declared import read as read_yaml
from tests.declared import shipped, target
from tests.words import code_of

ASKED = ChatRequest("gemini-flash", (Message("user", (TextPart("用一句话解释相对论"),)),))
JLIKE = target("jlike", "gemini-3-flash-preview", "text")
CANDIDATES = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "STOP"}],
    "usageMetadata": {
        "promptTokenCount": 3,
        "candidatesTokenCount": 1,
        "thoughtsTokenCount": 5,
        "totalTokenCount": 9,
    },
}


def jlike():
    return ChatDelegate(GeminiWire(), shipped("jlike").surface("text"))


def read(wire, payload, request=ASKED, where=JLIKE):
    reader = wire.reader(request, where, wire.build(request, where))
    return [*reader.feed(payload), *reader.close()]


class Echo:
    """An inner wire that builds a fixed call and reads texts."""

    def build(self, request, target, repairs=frozenset()):
        return Call(
            "/chat/completions", {"model": target.model, "stream": request.stream}, stream=request.stream
        )

    def reader(self, request, target, call):
        return self

    def feed(self, payload):
        return [Text(payload["choices"][0]["text"])]

    def close(self):
        return []

    def error(self, status, headers, body, target):
        return UpstreamError(ErrorClass.INTERNAL, "the inner wire's reading")

    def repair(self, error, request=None):
        return "cure"

    def calls_needed(self, request, target):
        return request.n

    def keeps_url(self, url, target):
        return url.startswith("https:")


def test_jlike_text_as_on_its_page():
    """000: the example of /gemini3/generate: the model is in the body, the rest is Gemini's."""
    call = jlike().build(ASKED, JLIKE)
    assert (call.method, call.path, call.stream) == ("POST", "/gemini3/generate", False)
    assert call.body["model"] == "gemini-3-flash-preview"
    assert call.body["contents"] == [{"role": "user", "parts": [{"text": "用一句话解释相对论"}]}]
    assert set(call.body) <= {"model", "contents", "generationConfig", "tools", "systemInstruction"}


def test_jlike_is_asked_for_a_whole_reply_also_when_the_client_streams():
    """000 documents no streaming."""
    call = jlike().build(replace(ASKED, stream=True), JLIKE)
    assert (call.path, call.stream) == ("/gemini3/generate", False)


LOOK, FIND = (FunctionTool(name, "", {"type": "object", "properties": {}}) for name in ("look", "find"))


def test_what_jlike_does_not_pass_through_is_named():
    request = replace(
        ASKED,
        tools=(LOOK,),
        tool_choice=ToolChoice("required"),
        safety_settings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    )
    call = jlike().build(request, JLIKE)
    assert "toolConfig" not in call.body
    assert "safetySettings" not in call.body
    assert {"tool_choice", "safety_settings"} <= set(call.dropped)


@pytest.mark.parametrize(
    ("choice", "declared", "dropped"),
    [
        pytest.param(ToolChoice("none"), [], (), id="none"),
        pytest.param(ToolChoice("auto", ("find",)), ["find"], (), id="one of them"),
        pytest.param(ToolChoice("required", ("find",)), ["find"], ("tool_choice",), id="this one"),
        pytest.param(ToolChoice("required"), ["look", "find"], ("tool_choice",), id="any"),
        pytest.param(None, ["look", "find"], (), id="nothing said"),
    ],
)
def test_which_functions_may_be_called_is_said_by_what_is_declared(choice, declared, dropped):
    """000 has no toolConfig: a function that the client forbids must not be called for that."""
    call = jlike().build(replace(ASKED, tools=(LOOK, FIND), tool_choice=choice), JLIKE)
    listed = [{"name": name, "description": ""} for name in declared]
    assert call.body.get("tools") == ([{"functionDeclarations": listed}] if listed else None)
    assert call.dropped == dropped


def test_functions_and_a_search_need_the_tool_config_to_stand_in_one_request():
    """Another reseller, whose page says that it leaves the tool config out."""
    text = """
    surfaces:
      text: {speaks: gemini, drops: {tool_config: tool_choice}}
    """
    wire = ChatDelegate(GeminiWire(), load_profile("other", read_yaml(text)).surface("text"))
    request = replace(ASKED, tools=(LOOK, BuiltinTool("web_search")))
    call = wire.build(request, replace(JLIKE, provider="other"))
    assert call.body["tools"] == [{"functionDeclarations": [{"name": "look", "description": ""}]}]
    assert call.dropped == ("tools.web_search",)


def test_what_else_is_said_of_a_model_holds_where_the_tool_config_is_not_taken():
    """A target of one's own may say what its model can: here, that it takes no functions."""
    target = replace(JLIKE, options={"capabilities": {"functions": False}})
    call = jlike().build(replace(ASKED, tools=(LOOK,)), target)
    assert ("tools" in call.body, call.dropped) == (False, ("tools",))


def test_a_relay_s_form_of_schemas_holds_where_the_tool_config_is_not_taken():
    target = replace(JLIKE, options={"capabilities": {"schema": "openapi"}})
    takes = FunctionTool("look", "", {"type": "object", "properties": {"at": {"type": "string"}}})
    call = jlike().build(replace(ASKED, tools=(takes,)), target)
    [tool] = call.body["tools"]
    assert set(tool["functionDeclarations"][0]) == {"name", "description", "parameters"}


def test_what_a_tool_says_in_the_tool_config_is_named_as_the_tool_s():
    """Strictness is a calling mode of Gemini's, and a place for maps stands there as well."""
    maps = BuiltinTool("maps", {"latitude": 1.0, "longitude": 2.0})
    call = jlike().build(replace(ASKED, tools=(replace(LOOK, strict=True),)), JLIKE)
    assert call.dropped == ("tools[].strict",)
    call = jlike().build(replace(ASKED, tools=(maps,)), JLIKE)
    assert (call.body["tools"], call.dropped) == (
        [{"googleMaps": {}}],
        ("tools.maps.latitude", "tools.maps.longitude"),
    )


def test_jlike_is_sent_only_what_its_page_names():
    """000: contents, generationConfig, tools, systemInstruction; OpenAI's `service_tier` is none of them."""
    call = jlike().build(replace(ASKED, service_tier="flex", temperature=0.5), JLIKE)
    assert set(call.body) == {"model", "contents", "generationConfig"}
    assert call.dropped == ("service_tier",)


def test_any_dialect_may_be_told_what_its_vendor_takes():
    """A server that refuses what it does not know: OpenAI's own words, of which it has three."""
    text = """
    surfaces:
      chat: {speaks: openai, takes: [model, messages, max_tokens], drops: {stream: stream}}
    """
    wire = ChatDelegate(Echo(), load_profile("small", read_yaml(text)).surface("chat"))
    call = wire.build(replace(ASKED, stream=True), replace(JLIKE, model="m"))
    assert call.body == {"model": "m"}
    assert call.dropped == ("stream",)


def test_who_is_asked_and_for_a_stream_goes_out_in_any_case():
    text = "surfaces: {chat: {speaks: openai, takes: [messages]}}"
    wire = ChatDelegate(Echo(), load_profile("small", read_yaml(text)).surface("chat"))
    call = wire.build(replace(ASKED, stream=True, temperature=0.5), replace(JLIKE, model="m"))
    assert call.body == {"model": "m", "stream": True}
    assert call.dropped == ()


@pytest.mark.parametrize("wrap", [None, "data", "result", "response"])
def test_the_reply_is_found_where_it_lies(wrap):
    payload = {"success": True, wrap: CANDIDATES} if wrap else CANDIDATES
    events = read(jlike(), payload)
    assert [event.text for event in events if isinstance(event, Text)] == ["hi"]
    assert [event.reason for event in events if isinstance(event, Finish)] == ["stop"]
    (usage,) = [event for event in events if isinstance(event, Usage)]
    assert (usage.prompt, usage.completion, usage.vendor) == (3, 6, None)


def test_a_reply_that_is_nowhere_is_for_the_inner_reader_to_judge():
    with pytest.raises(UpstreamError):
        read(jlike(), {"success": True, "data": {"something": "else"}})


@pytest.mark.parametrize("where", ["top", "data", "result"])
def test_the_vendor_s_charge_is_kept_beside_the_usage(where):
    """V-008: kept for the ledger; whether a client sees it is not decided here."""
    charge = {"_billing": {"cost": 0.02, "actual_cost": "0.018"}}
    payload = {**CANDIDATES, **charge} if where == "top" else {where: {**CANDIDATES, **charge}}
    (usage,) = [event for event in read(jlike(), payload) if isinstance(event, Usage)]
    assert usage.vendor == {**charge, "cost": "0.018", "unit": "CNY"}


@pytest.mark.parametrize(
    ("unit", "told"),
    [("unit: credits", {"cost": "1.25", "unit": "credits"}), ("", {"cost": "1.25"})],
    ids=["credits", "the account's currency"],
)
def test_a_charge_is_read_where_the_profile_says(unit, told):
    """A reseller that speaks OpenAI and has words of its own for money; in the last chunk of a stream."""
    text = f"""
    surfaces:
      chat: {{speaks: openai, billing: {{cost: [price.total], {unit}}}}}
    """
    wire = ChatDelegate(OpenAIChatWire(), load_profile("other", read_yaml(text)).surface("chat"))
    where = replace(JLIKE, provider="other", model="m")
    reader = wire.reader(ASKED, where, wire.build(ASKED, where))
    reader.feed({"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]})
    last = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}, "price": {"total": 1.25}}
    (usage,) = [event for event in [*reader.feed(last), *reader.close()] if isinstance(event, Usage)]
    assert usage.vendor == told


def test_an_error_with_http_200_is_an_error():
    """V-002"""
    with pytest.raises(UpstreamError) as caught:
        read(jlike(), {"success": False, "error": "no such model", "error_code": "INVALID_PARAMS"})
    assert (caught.value.error_class, caught.value.message) == (ErrorClass.BAD_REQUEST, "no such model")
    with pytest.raises(UpstreamError) as caught:
        read(jlike(), {"success": False, "error": "blocked", "error_code": "PROMPT_BLOCKED"})
    assert code_of(caught.value) == "content_policy_violation"
    with pytest.raises(UpstreamError) as caught:
        read(jlike(), {"success": False, "error": "?"})
    assert caught.value.error_class is ErrorClass.INTERNAL


def test_jlike_statuses_are_read_by_the_profile():
    """V-001"""
    body = b'{"success": false, "error": "no points left", "error_code": "INSUFFICIENT"}'
    error = jlike().error(402, {}, body, JLIKE)
    assert (error.error_class, error.status, error.provider) == (ErrorClass.QUOTA, 429, "jlike")


@pytest.mark.parametrize("relay", ["aigcbest", "xiaotian"])
@pytest.mark.parametrize(
    ("status", "body", "error_class"),
    [
        (403, {"type": "new_api_error", "code": "insufficient_user_quota"}, ErrorClass.QUOTA),
        (403, {"code": "pre_consume_token_quota_failed"}, ErrorClass.QUOTA),
        (503, {"message": "no channel for model", "type": "new_api_error"}, ErrorClass.UNAVAILABLE),
        (400, {"code": "prompt_blocked"}, ErrorClass.BLOCKED),
        (500, None, ErrorClass.INTERNAL),
    ],
)
def test_relay_errors(relay, status, body, error_class):
    """V-021, V-022: what the rules do not know is for the wire that speaks the dialect."""
    wire = ChatDelegate(Echo(), shipped(relay).surface())
    raw = json.dumps({"error": body}).encode() if body else b"<html>"
    error = wire.error(status, {}, raw, target(relay, "m"))
    assert error.error_class is error_class
    assert (error.message == "the inner wire's reading") == (status == 500)


def test_a_relay_s_call_is_the_inner_wire_s():
    """002, 004: ordinary Chat Completions, whole and streamed."""
    wire = ChatDelegate(Echo(), shipped("xiaotian").surface())
    call = wire.build(replace(ASKED, stream=True), target("xiaotian", "gemini-3-pro-image-preview"))
    assert (call.path, call.stream) == ("/chat/completions", True)
    assert call.body == {"model": "gemini-3-pro-image-preview", "stream": True}


def test_a_model_may_need_more_in_its_body():
    """002: modalities, for the older picture models."""
    wire = ChatDelegate(Echo(), shipped("aigcbest").surface())
    old = wire.build(ASKED, target("aigcbest", "gemini-2.0-flash-preview-image-generation"))
    assert old.body["modalities"] == ["text", "image"]
    assert "modalities" not in wire.build(ASKED, target("aigcbest", "gemini-2.5-flash-image")).body


def test_where_nothing_is_to_be_unwrapped_the_inner_reader_reads_alone():
    """It runs for every chunk."""
    inner = Echo()
    wire = ChatDelegate(inner, shipped("xiaotian").surface())
    assert wire.reader(ASKED, target("xiaotian", "m"), wire.build(ASKED, target("xiaotian", "m"))) is inner


@pytest.mark.parametrize(("inside", "bought"), [({"candidates": [{"index": 0}]}, True), ({}, False)])
def test_what_stands_beside_a_failure_was_made(inside, bought):
    wire = ChatDelegate(Echo(), shipped("jlike").surface("text"))
    reader = wire.reader(ASKED, target("jlike", "m"), wire.build(ASKED, target("jlike", "m")))
    with pytest.raises(UpstreamError) as caught:
        reader.feed(
            {"success": False, "error": "slow down", "error_code": "rate_limit_error", "data": inside}
        )
    assert (caught.value.error_class, caught.value.bought) == (ErrorClass.RATE_LIMITED, bought)


def test_other_questions_go_to_the_inner_wire():
    wire = ChatDelegate(Echo(), shipped("xiaotian").surface())
    where = target("xiaotian", "m")
    assert wire.repair(ValueError()) == "cure"
    assert wire.calls_needed(replace(ASKED, n=2), where) == 2
    assert wire.keeps_url("https://example.com", where)


def test_a_registry_reads_how_to_speak():
    surface = shipped("jlike").surface("text")
    assert (surface.speaks, surface.path, surface.model_in_body, surface.streams) == (
        "gemini",
        "/gemini3/generate",
        True,
        False,
    )
    assert surface.unwrap == ("data", "result", "response")
    assert shipped("jlike").surface("image").speaks is None
