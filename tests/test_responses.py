"""`/v1/responses` through a real server and the real OpenAI SDK, over strict simulated vendors."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from proxy.memory.signatures import SignatureMemory
from proxy.simulators import pictures
from tests import responses_law
from tests.gateway import FILE, KEY, Gateway, open_gateway

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
MODELS = ["gemini-flash", "gemini-2.5-flash", "lan-chat"]


def ask(gateway: Gateway, input: Any, model: str = "gemini-flash", **fields: Any) -> Any:
    return gateway.client().responses.create(model=model, input=input, **fields)


def post(gateway: Gateway, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    body = {"model": "gemini-flash", "input": "Hello", **body}
    headers = {"authorization": f"Bearer {KEY}", **(headers or {})}
    return httpx.post(f"{gateway.base_url}/v1/responses", json=body, headers=headers, timeout=20)


def streamed(gateway: Gateway, input: Any, **fields: Any) -> list[dict[str, Any]]:
    """The events of a stream that keeps the law."""
    reply = post(gateway, input=input, stream=True, **fields)
    assert reply.headers["content-type"].startswith("text/event-stream")
    return responses_law.checked(reply.content)


def shape(output: Any) -> Any:
    """Items without what is random in them, and without those that are nothing but a seal: a stream has
    one where the signature comes behind the text."""
    items = [
        {name: value for name, value in item.items() if name not in ("id", "call_id", "encrypted_content")}
        for item in output
    ]
    return [item for item in items if item.get("summary") != []]


# --- whole and streamed


@pytest.mark.parametrize("model", MODELS)
def test_a_whole_reply_has_the_answer_and_usage_that_adds_up(gateway: Gateway, model: str) -> None:
    """R-001, R-060, R-067."""
    reply = ask(gateway, "Hello there", model, instructions="Be kind.", store=False)
    assert "Hello there" in reply.output_text
    assert (reply.status, reply.model, reply.store) == ("completed", model, False)
    assert reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens > 0
    assert reply._request_id is not None


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("prompt", ["Say it twice sim:unicode", "Weather in Paris and Oslo? sim:parallel:2"])
def test_a_stream_says_what_the_whole_reply_says(gateway: Gateway, model: str, prompt: str) -> None:
    """R-080..R-085, A-005."""
    fields: Any = {"tools": [WEATHER], "store": False, "reasoning": {"effort": "low", "summary": "auto"}}
    whole = post(gateway, model=model, input=prompt, **fields).json()
    last = streamed(gateway, prompt, model=model, **fields)[-1]["response"]
    assert shape(last["output"]) == shape(whole["output"])
    assert (last["status"], last["usage"]["total_tokens"]) == ("completed", whole["usage"]["total_tokens"])


@pytest.mark.parametrize("model", MODELS)
def test_the_stream_helper_ends_with_the_whole_response(gateway: Gateway, model: str) -> None:
    """R-082, R-083: it refuses streams out of order."""
    with gateway.client().responses.stream(model=model, input="Hello there") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text
    assert "Hello there" in final.output_text


def test_a_chat_says_the_same(gateway: Gateway) -> None:
    """A-005: the surfaces agree."""
    messages: Any = [{"role": "user", "content": "The same sim:unicode"}]
    chat = gateway.client().chat.completions.create(model="gemini-flash", messages=messages)
    response = ask(gateway, "The same sim:unicode")
    assert response.output_text == chat.choices[0].message.content
    assert chat.usage is not None
    assert response.usage.total_tokens == chat.usage.total_tokens


def test_thoughts_are_shown_where_a_summary_was_asked_for(gateway: Gateway) -> None:
    """R-052, R-053."""
    shown = ask(gateway, "Hello", reasoning={"effort": "low", "summary": "auto"}, store=False)
    assert [item.type for item in shown.output] == ["reasoning", "message"]
    assert shown.output[0].summary[0].text
    hidden = ask(gateway, "Hello", reasoning={"effort": "low"}, store=True)
    assert [item.type for item in hidden.output] == ["message"]
    assert hidden.usage.output_tokens_details.reasoning_tokens > 0


class City(BaseModel):
    name: str
    population: int


@pytest.mark.parametrize("model", ["gemini-flash", "gemini-2.5-flash"])
def test_structured_output_is_parsed_by_the_sdk(gateway: Gateway, model: str) -> None:
    """R-040, R-041."""
    reply = gateway.client().responses.parse(model=model, input="A city", text_format=City)
    assert isinstance(reply.output_parsed, City)


# --- tool loops: Gemini 3 refuses a call that comes back without its real signature


def everything(item: Any) -> Any:
    return item.model_dump(exclude_none=True)


def only_calls(item: Any) -> Any:
    """As Vercel's provider sends a call: without `id` and `status`, and no reasoning."""
    if item.type != "function_call":
        return None
    return {"type": item.type, "call_id": item.call_id, "name": item.name, "arguments": item.arguments}


def tool_loop(gateway: Gateway, prompt: str, keep: Any, *, restart: bool = False, **fields: Any) -> str:
    """Answer calls until there are none. `restart`: between the requests all memory is lost."""
    history: list[Any] = [{"role": "user", "content": prompt}]
    for _ in range(4):
        with gateway.client().responses.stream(
            model="gemini-flash", input=history, tools=[WEATHER], **fields
        ) as stream:
            reply = stream.get_final_response()
        calls = [item for item in reply.output if item.type == "function_call"]
        if not calls:
            return str(reply.output_text)
        history += [kept for item in reply.output if (kept := keep(item)) is not None]
        outputs = [
            {"type": "function_call_output", "call_id": call.call_id, "output": "18 C"} for call in calls
        ]
        history += reversed(outputs)
        if restart:
            assert gateway.application.house is not None
            gateway.application.house.services.signatures = SignatureMemory()
    raise AssertionError("the loop did not end")


@pytest.mark.parametrize("keep", [everything, only_calls])
@pytest.mark.parametrize("calls", [1, 3])
def test_a_tool_loop_carries_real_signatures_whatever_the_client_keeps(
    gateway: Gateway, keep: Any, calls: int
) -> None:
    """R-030, R-031, X-011."""
    before = gateway.vendors.log.counts["google.signatures.sentinels"]
    assert "18 C" in tool_loop(gateway, f"Weather in Paris sim:parallel:{calls} sim:steps:2", keep)
    assert gateway.vendors.log.counts["google.signatures.sentinels"] == before


@pytest.mark.parametrize(
    "fields",
    [
        {"store": False},
        {"include": ["reasoning.encrypted_content"]},
        {"store": False, "reasoning": {"effort": "low", "summary": "auto"}},
    ],
    ids=str,
)
def test_the_client_carries_the_signatures_over_a_restart(tmp_path: Any, fields: Any) -> None:
    """R-054, section 0.2: nothing but the client's own items tells of them."""
    with open_gateway(tmp_path) as own:
        answer = tool_loop(own, "Weather in Paris sim:steps:2", everything, restart=True, **fields)
        counts = own.vendors.log.counts
        assert "18 C" in answer
        assert (counts["google.signatures.sentinels"], counts["google.signatures.real"] > 0) == (0, True)


def test_a_custom_tool_and_a_namespace_go_round(gateway: Gateway) -> None:
    """R-035, R-036."""
    tools: Any = [
        {"type": "custom", "name": "run_sql", "description": "Runs SQL"},
        {
            "type": "namespace",
            "name": "mail",
            "description": "Letters",
            "tools": [{"type": "function", "name": "send_letter", "parameters": None, "strict": None}],
        },
    ]
    history: list[Any] = [{"role": "user", "content": "Use run_sql, please sim:call:run_sql"}]
    first = ask(gateway, history, tools=tools)
    assert (first.output[0].type, first.output[0].name) == ("custom_tool_call", "run_sql")
    history += [
        first.output[0].model_dump(exclude_none=True),
        {"type": "custom_tool_call_output", "call_id": first.output[0].call_id, "output": "2 rows"},
    ]
    assert "2 rows" in ask(gateway, history, tools=tools).output_text
    letter = ask(gateway, "Now sim:call:mail__send_letter", tools=tools).output[0]
    assert (letter.type, letter.namespace, letter.name) == ("function_call", "mail", "send_letter")


def test_a_result_with_a_picture_is_seen(gateway: Gateway) -> None:
    """R-032."""
    png = base64.b64encode(pictures.png(20, 10, "seen")).decode()
    call = {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"}
    output = [{"type": "input_image", "image_url": f"data:image/png;base64,{png}"}]
    history: list[Any] = [
        {"role": "user", "content": "Look"},
        call,
        {"type": "function_call_output", "call_id": "c1", "output": output},
    ]
    assert "20x10" in str(ask(gateway, history, tools=[WEATHER]).output_text)


# --- what the vendor runs and draws


def test_a_search_and_code_are_items(gateway: Gateway) -> None:
    """R-043, X-022."""
    found = ask(
        gateway,
        "Cities? sim:grounding",
        tools=[{"type": "web_search"}],
        include=["web_search_call.action.sources"],
    )
    assert [item.type for item in found.output] == ["web_search_call", "message"]
    assert found.output[0].action.sources
    text = found.output[1].content[0]
    assert [text.text[one.start_index : one.end_index] for one in text.annotations]
    events = streamed(gateway, "Cities? sim:grounding", tools=[{"type": "web_search"}])
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    message, search = [item for item in done if item["type"] != "reasoning"]
    assert (message["type"], search["type"]) == ("message", "web_search_call")
    assert message["content"][0]["annotations"]
    ran = ask(gateway, "Sum sim:code", tools=[{"type": "code_interpreter", "container": {"type": "auto"}}])
    assert [item.type for item in ran.output] == ["code_interpreter_call", "message"]
    assert ran.output[0].code == "print(sum(range(10)))"


@pytest.mark.parametrize("kind", ["web_search", "code_interpreter"])
def test_a_stream_has_what_was_run_before_the_words_that_it_led_to(gateway: Gateway, kind: str) -> None:
    """X-022, X-023: Gemini 3 tells of a search beside functions as it happens, so no word waits for it."""
    orders = {"web_search": "search", "code_interpreter": "code"}
    tool = {"type": kind} if kind == "web_search" else {"type": kind, "container": {"type": "auto"}}
    prompt = f"News sim:{orders[kind]} sim:chunks:30"
    events = streamed(gateway, prompt, tools=[tool, WEATHER], tool_choice="none", store=False)
    done = [event["item"]["type"] for event in events if event["type"] == "response.output_item.done"]
    assert [item for item in done if item != "reasoning"] == [f"{kind}_call", "message"]
    assert len([event for event in events if event["type"] == "response.output_text.delta"]) > 5


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_search_beside_functions_is_an_item_without_facts(gateway: Gateway, stream: bool) -> None:
    """G-108, R-043."""
    fields: Any = {"tools": [{"type": "web_search"}, WEATHER], "tool_choice": "none", "store": False}
    if stream:
        output = streamed(gateway, "News sim:search", **fields)[-1]["response"]["output"]
    else:
        output = post(gateway, input="News sim:search", **fields).json()["output"]
    search, message = [item for item in output if item["type"] != "reasoning"]
    assert search["action"] == {"type": "search", "query": "News", "queries": ["News"]}
    assert (search["type"], message["type"]) == ("web_search_call", "message")


def test_what_a_search_beside_functions_found_is_told_with_the_end(gateway: Gateway) -> None:
    """R-043, R-070: Gemini 3 tells of the search at once, of its sources with the end."""
    fields: Any = {"tools": [{"type": "web_search"}, WEATHER], "tool_choice": "none"}
    fields["include"] = ["web_search_call.action.sources"]
    with gateway.client().responses.stream(
        model="gemini-flash", input="News sim:search sim:grounding sim:chunks:8", **fields
    ) as stream:
        added = [event.item.type for event in stream if event.type == "response.output_item.added"]
        final = stream.get_final_response()
    assert [kind for kind in added if kind != "reasoning"] == ["web_search_call", "message"]
    search, message = [item for item in final.output if item.type != "reasoning"]
    assert [source.url for source in search.action.sources] == [
        "https://example.com/1",
        "https://example.com/2",
    ]
    assert message.content[0].annotations


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_picture_model_draws_and_edits_what_it_drew(gateway: Gateway, stream: bool) -> None:
    """R-045, R-046: the item goes back as it came."""
    tools: Any = [{"type": "image_generation", "size": "1024x1024"}]
    history: list[Any] = [{"role": "user", "content": "A cat"}]
    fields: Any = {"model": "nano-banana-pro", "tools": tools, "store": False}
    if stream:
        output = streamed(gateway, history, **fields)[-1]["response"]["output"]
    else:
        output = post(gateway, input=history, **fields).json()["output"]
    [drawn] = [item for item in output if item["type"] == "image_generation_call"]
    seen = pictures.look(base64.b64decode(drawn["result"]))
    assert (seen.width, seen.height) == (1024, 1024)
    again = post(gateway, input=[*history, *output, {"role": "user", "content": "Redder"}], **fields).json()
    assert [item["type"] for item in again["output"]][-2:] == ["reasoning", "image_generation_call"]
    sent = gateway.sent()[-1].body["contents"]
    assert sent[1]["role"] == "model"
    assert [part for part in sent[1]["parts"] if "inlineData" in part]


PAINTER = FILE.replace("  heartbeat: 300ms", "  heartbeat: 300ms\n  image_model: nano-banana-pro")


@pytest.fixture(scope="module")
def painting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose file names a model for pictures."""
    with open_gateway(tmp_path_factory.mktemp("painting"), PAINTER) as opened:
        yield opened


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", ["gemini-flash", "lan-chat"])
def test_a_model_of_words_lets_the_picture_model_draw(painting: Gateway, model: str, stream: bool) -> None:
    """R-046, section 1.5: the call is answered here, and is no call to the client."""
    fields: Any = {
        "model": model,
        "input": "A cat, please sim:call:image_generation",
        "tools": [WEATHER, {"type": "image_generation", "size": "1024x1024"}],
        "tool_choice": {"type": "image_generation"},
    }
    if stream:
        body = streamed(painting, fields.pop("input"), **fields)[-1]["response"]
    else:
        body = post(painting, **fields).json()
    [drawn] = [item for item in body["output"] if item["type"] != "message"]
    seen = pictures.look(base64.b64decode(drawn["result"]))
    assert (drawn["type"], seen.width, seen.height) == ("image_generation_call", 1024, 1024)
    words, picture = painting.sent()[-2:]
    assert "image_generation" in str(words.body["tools"])
    assert picture.path.endswith("/gemini-3-pro-image:generateContent")


ALIASED = FILE.replace("nano-banana-pro: {", "nano-banana-pro: {aliases: [gpt-image*], ").replace(
    "  lan-chat:",
    "  banana: {aliases: [drawer*], targets: [google/gemini-2.5-flash-image], price: unpriced}\n  lan-chat:",
)


@pytest.mark.parametrize(
    ("named", "drew"),
    [
        ({}, "gemini-3-pro-image"),  # OpenAI's own model for this tool, by the file's alias
        ({"model": "gpt-image-1-mini"}, "gemini-3-pro-image"),
        ({"model": "drawer-2"}, "gemini-2.5-flash-image"),
        ({"model": "unheard-of"}, "gemini-3-pro-image"),
        ({"model": "gemini-2.5-flash"}, "gemini-3-pro-image"),  # it draws nothing
    ],
)
def test_a_file_without_a_painter_draws_by_its_aliases(
    tmp_path: Path, named: dict[str, str], drew: str
) -> None:
    """Section 1.5: the shipped file has such an alias, and names nobody for pictures."""
    with open_gateway(tmp_path, ALIASED) as gateway:
        body = post(
            gateway,
            input="A cat, please sim:call:image_generation",
            tools=[{"type": "image_generation", **named}],
            tool_choice={"type": "image_generation"},
        ).json()
        assert [item["type"] for item in body["output"]] == ["image_generation_call"]
        assert gateway.sent()[-1].path.endswith(f"/{drew}:generateContent")


def test_a_picture_ends_the_turn_of_an_agent_and_goes_back_with_its_message(painting: Gateway) -> None:
    """openai-agents 0.24.0 asked, and bought, again and again."""
    agent = {"user-agent": "Agents/Python 0.24.0"}
    fields: Any = {"tools": [{"type": "image_generation"}]}
    asked = {"role": "user", "content": "A dog, please sim:call:image_generation"}
    output = post(painting, agent, input=[asked], **fields).json()["output"]
    assert [item["type"] for item in output if item["type"] != "reasoning"] == [
        "image_generation_call",
        "message",
    ]
    again = [asked, *output, {"role": "user", "content": "Redder"}]
    assert post(painting, {**agent, "x-proxy-strict": "true"}, input=again).status_code == 200


def test_the_picture_is_booked_beside_the_words(painting: Gateway) -> None:
    """Two calls of one request: none of them is lost in the ledger."""
    fields: Any = {"tools": [{"type": "image_generation"}], "tool_choice": {"type": "image_generation"}}
    reply = post(painting, input="A dog, please sim:call:image_generation", **fields)
    identity, headers = reply.headers["x-request-id"], {"authorization": f"Bearer {KEY}"}
    deadline = time.monotonic() + 10
    while True:
        listed = httpx.get(f"{painting.base_url}/v1/usage/requests?limit=50", headers=headers).json()
        rows = [row for row in listed["data"] if row["request_id"] == identity]
        if sum(row["images"] for row in rows) or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    assert sorted((row["model"], row["images"]) for row in rows) == [
        ("gemini-flash", 0),
        ("nano-banana-pro", 0),  # its hold
        ("nano-banana-pro", 1),
    ]


def test_a_model_of_words_that_draws_nothing_answers_as_ever(painting: Gateway) -> None:
    reply = ask(painting, "Hello", tools=[{"type": "image_generation"}])
    assert reply.output_text == "You said: Hello"


def test_where_nobody_draws_the_tool_is_named(gateway: Gateway) -> None:
    """X-008."""
    tools = [{"type": "image_generation", "size": "1024x1024"}]
    reply = post(gateway, tools=tools)
    assert reply.headers["x-proxy-dropped"] == "tools[0].type=image_generation"
    reply = post(gateway, {"x-proxy-strict": "true"}, tools=tools)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "tools[0].type=image_generation")


def test_a_key_without_the_picture_model_has_no_such_tool(painting: Gateway) -> None:
    headers = {"authorization": "Bearer sk-test-narrow"}
    reply = post(painting, headers, tools=[{"type": "image_generation"}])
    assert reply.headers["x-proxy-dropped"] == "tools[0].type=image_generation"


# --- how it ends


def test_a_reply_that_is_cut_short_says_why(gateway: Gateway) -> None:
    """R-066, R-088."""
    reply = ask(gateway, "One two three four five six sim:chunks:40", max_output_tokens=5)
    assert (reply.status, reply.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert (
        streamed(gateway, "One two sim:chunks:40", max_output_tokens=5)[-1]["type"] == "response.incomplete"
    )
    blocked = ask(gateway, "Hi sim:block:PROHIBITED_CONTENT")
    assert (blocked.status, blocked.output) == ("incomplete", [])
    assert blocked.incomplete_details.reason == "content_filter"


@pytest.mark.parametrize("model", ["gemini-flash", "lan-chat"])
@pytest.mark.parametrize("order", ["sim:cut:2", "sim:nofinish", "sim:error-after:2"])
def test_a_stream_that_breaks_fails_in_every_form(gateway: Gateway, order: str, model: str) -> None:
    """R-086, A-006."""
    if (model, order) == ("lan-chat", "sim:error-after:2"):
        pytest.skip("that simulator has no such order")
    found = streamed(gateway, f"Hi sim:chunks:5 {order}", model=model)
    assert [event["type"] for event in found[-2:]] == ["error", "response.failed"]
    assert found[-1]["response"]["error"]["message"] == found[-2]["message"]


def test_the_sdk_raises_when_a_stream_breaks(gateway: Gateway) -> None:
    """R-086."""
    with pytest.raises(openai.APIError) as caught:
        list(ask(gateway, "Hi sim:chunks:5 sim:cut:2", stream=True))
    assert "broke off its answer" in caught.value.message


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("sim:error:400", openai.BadRequestError),
        ("sim:error:429:day", openai.RateLimitError),
        ("sim:error:503", openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_refusal_before_the_stream_is_a_status(
    gateway: Gateway, order: str, expected: type[openai.APIStatusError], stream: bool
) -> None:
    """R-089."""
    with pytest.raises(expected) as caught:
        ask(gateway, f"Hi {order}", "google/gemini-2.5-flash-lite", stream=stream)
    assert caught.value.request_id is not None


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"model": None}, 400, "model"),
        ({"model": "gpt-none"}, 404, "model"),
        ({"input": [{"role": "user", "content": [{"type": "video"}]}]}, 400, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]},
         400, "input[0].content[0].image_url"),
        ({"max_output_tokens": "many"}, 400, "max_output_tokens"),
    ],
)  # fmt: skip
def test_a_bad_request_names_the_field_in_this_dialect(
    gateway: Gateway, body: Any, status: int, param: str
) -> None:
    """X-006."""
    reply = post(gateway, **body)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["type"]) == (status, param, "invalid_request_error")


def test_strict_names_and_refuses_what_cannot_be_carried(gateway: Gateway) -> None:
    """X-008."""
    fields: Any = {
        "tools": [WEATHER, {"type": "file_search", "vector_store_ids": ["v"]}],
        "truncation": "auto",
    }
    assert post(gateway, **fields).headers["x-proxy-dropped"] == "truncation, tools[1].type=file_search"
    reply = post(gateway, {"x-proxy-strict": "true"}, **fields)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "truncation")
    reply = post(gateway, {"x-proxy-strict": "true"}, text={"verbosity": "low"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "text.verbosity")


@pytest.mark.parametrize("kind", ["local_shell", "shell", "apply_patch", "computer", "computer_use_preview"])
def test_a_tool_of_an_agents_own_is_named_and_its_history_refused_with_advice(
    gateway: Gateway, kind: str
) -> None:
    """R-018, R-037: the tool can be done without, what came of it cannot."""
    fields: Any = {"tools": [{"type": kind}, WEATHER], "tool_choice": {"type": kind}}
    dropped = f"tools[0].type={kind}"
    assert post(gateway, **fields).headers["x-proxy-dropped"] == f"{dropped}, tool_choice"
    assert post(gateway, {"x-proxy-strict": "true"}, **fields).json()["error"]["param"] == dropped
    called = {
        "type": kind.removesuffix("_use_preview") + "_call",
        "id": "x_1",
        "call_id": "c",
        "status": "completed",
    }
    error = post(gateway, input=[{"role": "user", "content": "Hi"}, called]).json()["error"]
    assert (error["param"], error["code"]) == ("input[1].type", "unsupported_value")
    assert "a function of your own" in error["message"]


def test_a_websocket_is_refused_so_that_codex_goes_on_at_once(gateway: Gateway) -> None:
    """R-004."""
    headers = {
        "authorization": f"Bearer {KEY}",
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "openai-beta": "responses_websockets=2026-02-06",
    }
    reply = httpx.get(f"{gateway.base_url}/v1/responses", headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (426, "upgrade_required")
    reply = httpx.get(f"{gateway.base_url}/v1/responses")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")


def test_a_silent_upstream_is_waited_for_with_comments(gateway: Gateway) -> None:
    """X-007: they stand before the first event and harm no client."""
    reply = post(gateway, input="Hi sim:slow:0.8", stream=True)
    assert reply.content.startswith(b": keep-alive\n\n")
    assert responses_law.checked(reply.content)[-1]["type"] == "response.completed"


@pytest.mark.parametrize("path", ["/responses", "/openai/v1/responses", "/v1/v1/responses/"])
def test_it_answers_with_and_without_a_prefix(gateway: Gateway, path: str) -> None:
    """X-004."""
    headers = {"authorization": f"Bearer {KEY}"}
    reply = httpx.post(
        gateway.base_url + path, json={"model": "gemini-flash", "input": "Hi"}, headers=headers
    )
    assert reply.json()["object"] == "response"
