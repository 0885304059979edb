"""Anthropic's SDK against a real server over strict simulated vendors: whole, streamed, tools, errors."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import orjson
import pytest

from proxy.errors import BudgetError, ErrorClass, LimitError, NotCarriedError, RequestError, UpstreamError
from proxy.fronts.anthropic import error_reply
from tests.gateway import FILE, KEY, Gateway, open_gateway
from tests.messages_events import checked, decoded

MODELS = ["gemini-flash", "gemini-2.5-flash", "lan-chat"]
SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {"name": "get_weather", "description": "Weather of a city", "input_schema": SCHEMA}
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAKklEQVR4nGM4IWdDU8QwasGoBaMWjFowasGoBaMWjFowasGo"
    "BaMWDBULAFhkiD1Uc1AhAAAAAElFTkSuQmCC"
)


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.base_url, api_key=KEY, max_retries=0) as opened:
        yield opened


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Gateway]:
    """For a test that lets targets fail: they rest when they have failed often. No ping comes before what is
    told of it."""
    with open_gateway(tmp_path, FILE.replace("heartbeat: 300ms", "heartbeat: 0s")) as opened:
        yield opened


def asked(text: str, model: str = "gemini-flash", **fields: Any) -> Any:
    return {"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": text}], **fields}


def post(gateway: Gateway, body: Any, path: str = "/v1/messages", **headers: str) -> httpx.Response:
    own = {"x-api-key": KEY, "anthropic-version": "2023-06-01", **headers}
    return gateway.http.post(gateway.base_url + path, json=body, headers=own)


def streamed(gateway: Gateway, text: str, model: str = "gemini-flash", **fields: Any) -> Any:
    """The message of a stream whose order is right."""
    reply = post(gateway, asked(text, model, stream=True, **fields))
    assert reply.status_code == 200, reply.text
    return checked(decoded(reply.content))


# --- answers


@pytest.mark.parametrize("model", MODELS)
def test_a_message_whole_and_streamed(client: anthropic.Anthropic, model: str) -> None:
    """M-040, A-005."""
    whole = client.messages.create(**asked("Where is Oslo?", model))
    (block,) = whole.content
    assert isinstance(block, anthropic.types.TextBlock)
    assert block.text == "You said: Where is Oslo?"
    assert (whole.role, whole.model, whole.stop_reason) == ("assistant", model, "end_turn")
    assert whole.id.startswith("msg_")
    assert whole._request_id is not None
    with client.messages.stream(**asked("Where is Oslo?", model)) as stream:
        assert "".join(stream.text_stream) == block.text
        found = stream.get_final_message()
    assert (found.stop_reason, found.usage.input_tokens) == ("end_turn", whole.usage.input_tokens)
    assert found.usage.output_tokens == whole.usage.output_tokens > 0


@pytest.mark.parametrize(
    "path", ["/messages", "/v1/messages/", "/v1/v1/messages", "/v1/messages?beta=true", "/openai/v1/messages"]
)
def test_messages_are_answered_at_other_spellings(gateway: Gateway, path: str) -> None:
    """X-004."""
    assert post(gateway, asked("Hi"), path).json()["type"] == "message"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": KEY},
        {"authorization": f"Bearer {KEY}"},
        {"x-api-key": KEY, "authorization": f"Bearer {KEY}"},
        {"x-api-key": KEY, "anthropic-version": "2026-10-21", "anthropic-beta": "a-new-one,another"},
    ],
)
def test_any_version_and_either_place_of_the_key(gateway: Gateway, headers: dict[str, str]) -> None:
    """M-001..M-004, X-003."""
    body = asked("Hi", temperature=1, top_k=4, top_p=0.9)
    reply = gateway.http.post(f"{gateway.base_url}/v1/messages", json=body, headers=headers)
    assert reply.status_code == 200
    assert "x-proxy-dropped" not in reply.headers


def test_the_counts_of_the_prompt_are_there_at_the_begin(gateway: Gateway) -> None:
    """M-061, M-073: the cached part is not counted twice."""
    events = decoded(post(gateway, asked("sim:cached:3 Where is Oslo?", stream=True)).content)
    begun, ended = events[0]["message"]["usage"], events[-2]["usage"]
    assert begun["cache_read_input_tokens"] == ended["cache_read_input_tokens"] == 3
    assert begun["input_tokens"] == ended["input_tokens"] > 0


# --- thoughts, tools, signatures


def _loop(first: anthropic.Anthropic, second: anthropic.Anthropic, text: str, **fields: Any) -> Any:
    """A question, its calls, their results; the second request may go to another server."""
    request = asked(text, tools=[TOOL], **fields)
    with first.messages.stream(**request) as stream:
        answer = stream.get_final_message()
    assert answer.stop_reason == "tool_use"
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": f"{number}C"}
        for number, block in enumerate(answer.content)
        if block.type == "tool_use"
    ]
    history = [
        *request["messages"],
        {"role": "assistant", "content": [block.to_dict() for block in answer.content]},
        {"role": "user", "content": results[::-1]},
    ]
    return answer, second.messages.create(**{**request, "messages": history})


def signatures_sent(gateway: Gateway) -> list[str]:
    """What the vendor got back with the calls of the last request."""
    return [
        part["thoughtSignature"]
        for content in gateway.sent()[-1].body["contents"]
        for part in content["parts"]
        if "functionCall" in part and "thoughtSignature" in part
    ]


@pytest.mark.parametrize("text", ["Weather?", "sim:parallel:3 Weather?", "sim:thoughts Weather?"])
def test_a_tool_loop_with_thoughts_survives_a_server_that_knows_nothing(
    tmp_path: Path, text: str, client: anthropic.Anthropic, gateway: Gateway
) -> None:
    """M-022, M-033, X-011: the signature rides on the thought, so another server can go on."""
    file = FILE.replace("http://SIMULATORS", gateway.vendors.base_url)
    with (
        open_gateway(tmp_path, file) as other,
        anthropic.Anthropic(base_url=other.base_url, api_key=KEY, max_retries=0) as second,
    ):
        thinking = {"type": "enabled", "budget_tokens": 2048}
        first, answer = _loop(client, second, text, thinking=thinking)
    assert first.content[0].type == "thinking"
    assert signatures_sent(gateway) == [first.content[0].signature]
    assert answer.stop_reason == "end_turn"
    assert "1C" in answer.content[-1].text


@pytest.mark.parametrize("model", MODELS)
def test_a_tool_loop_without_thoughts(client: anthropic.Anthropic, gateway: Gateway, model: str) -> None:
    """X-012: no block, the memory by the call's id does the work."""
    first, answer = _loop(client, client, "sim:parallel:2 Weather?", model=model)
    assert {block.type for block in first.content} == {"tool_use"}
    assert len(first.content) == 2
    assert answer.stop_reason == "end_turn"
    if model == "gemini-flash":
        (signature,) = signatures_sent(gateway)
        assert signature != "skip_thought_signature_validator"


def test_a_forced_call(client: anthropic.Anthropic) -> None:
    """M-021: how LangChain asks for structured output."""
    message = client.messages.create(
        **asked("Hi", tools=[TOOL], tool_choice={"type": "tool", "name": "get_weather"})
    )
    assert (message.stop_reason, message.content[0].type) == ("tool_use", "tool_use")


def test_a_failed_result_and_one_with_a_picture(client: anthropic.Anthropic, gateway: Gateway) -> None:
    """M-023, X-021."""
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    history = [
        {"role": "user", "content": "Look."},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "toolu_A", "name": "get_weather", "input": {"city": "a"}},
                {"type": "tool_use", "id": "toolu_B", "name": "get_weather", "input": {"city": "b"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_A", "content": [picture]},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_B",
                    "content": "no such file",
                    "is_error": True,
                },
            ],
        },
    ]
    client.messages.create(**{**asked(""), "messages": history, "tools": [TOOL]})
    shown, failed = (part["functionResponse"] for part in gateway.sent()[-1].body["contents"][-1]["parts"])
    assert [one["inlineData"]["mimeType"] for one in shown["parts"]] == ["image/png"]
    assert failed["response"] == {"error": "no such file"}


def test_json_by_a_schema(client: anthropic.Anthropic) -> None:
    """M-032."""
    message = client.messages.create(
        **asked("Oslo", output_config={"format": {"type": "json_schema", "schema": SCHEMA}})
    )
    (block,) = message.content
    assert isinstance(block, anthropic.types.TextBlock)
    assert block.text.startswith('{"city"')


def test_a_search_of_the_upstreams_own(client: anthropic.Anthropic, gateway: Gateway) -> None:
    """M-024, M-062."""
    search: Any = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
    fields: Any = {"tools": [search], "tool_choice": {"type": "tool", "name": "web_search"}}
    message = client.messages.create(**asked("sim:grounding weather", **fields))
    ordered = ["server_tool_use", "web_search_tool_result", "text"]
    assert [block.type for block in message.content] == ordered
    assert message.content[2].citations
    assert message.usage.server_tool_use is not None
    blocks = streamed(gateway, "sim:grounding weather", **fields)["content"]
    assert [block["type"] for block in blocks] == [ordered[2], *ordered[:2]]
    assert blocks[0]["citations"]


def test_what_a_search_beside_functions_found_is_told_with_the_end(
    client: anthropic.Anthropic, gateway: Gateway
) -> None:
    """M-024, X-022: the search at once, its result behind the words."""
    search: Any = {"type": "web_search_20250305", "name": "web_search"}
    fields: Any = {"tools": [search, TOOL], "tool_choice": {"type": "none"}}
    with client.messages.stream(**asked("News sim:search sim:grounding sim:chunks:8", **fields)) as stream:
        message = stream.get_final_message()
    used, said, result = [block for block in message.content if block.type != "thinking"]
    assert (used.type, said.type, result.type) == ("server_tool_use", "text", "web_search_tool_result")
    assert [one.url for one in result.content] == ["https://example.com/1", "https://example.com/2"]
    assert said.citations


# --- counts


@pytest.mark.parametrize("model", ["gemini-flash", "lan-chat"])
def test_tokens_are_counted(gateway: Gateway, client: anthropic.Anthropic, model: str) -> None:
    """M-052: by the target's own count, where it has one, and free of charge."""
    body: Any = {"model": model, "messages": [{"role": "user", "content": "foo bar"}], "tools": [TOOL]}
    count = client.messages.count_tokens(**body).input_tokens
    assert count == client.messages.create(max_tokens=9, **body).usage.input_tokens or model == "lan-chat"
    assert count > client.messages.count_tokens(**{**body, "tools": []}).input_tokens > 0
    reply = post(gateway, body, "/v1/messages/count_tokens?beta=true")
    assert reply.json() == {"input_tokens": count}
    assert reply.headers.get("x-proxy-estimated") == ("input_tokens" if model == "lan-chat" else None)


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"model": "nobody", "messages": [{"role": "user", "content": "x"}]}, 404, "not_found_error"),
        ({"model": "gemini-flash"}, 400, "invalid_request_error"),
    ],
)
def test_what_cannot_be_counted_is_refused_in_anthropics_words(
    gateway: Gateway, body: Any, status: int, word: str
) -> None:
    """M-052, X-006."""
    reply = post(gateway, body, "/v1/messages/count_tokens")
    assert (reply.status_code, reply.json()["error"]["type"]) == (status, word)


# --- pictures


@pytest.mark.parametrize("model", ["lan-chat", "gemini-flash"])
def test_tools_that_cannot_be_written_again_are_refused_before_they_are_counted(
    gateway: Gateway, model: str
) -> None:
    """X-006."""
    body = asked(
        "Hi", model, tools=[TOOL, {"name": "deep", "input_schema": {"type": "object", "default": 0}}]
    )
    raw = orjson.dumps(body).replace(b'"default":0', b'"default":' + b"[" * 300 + b"]" * 300)
    headers = {"x-api-key": KEY, "content-type": "application/json"}
    reply = gateway.http.post(f"{gateway.base_url}/v1/messages/count_tokens", content=raw, headers=headers)
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert "tools" in reply.json()["error"]["message"]


def test_a_picture_is_a_link_that_works_and_comes_back(gateway: Gateway, client: anthropic.Anthropic) -> None:
    """M-060."""
    first = asked("A fox", "nano-banana-pro")
    message = client.messages.create(**first)
    (block,) = message.content
    found = re.search(r"!\[picture 1\]\((http://\S+)\)", block.text)
    assert found is not None
    assert gateway.http.get(found[1]).headers["content-type"] == "image/png"
    history = [
        *first["messages"],
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": "Now blue"},
    ]
    client.messages.create(**{**first, "messages": history})
    model = gateway.sent()[-1].body["contents"][1]
    assert "inlineData" in model["parts"][-1]
    assert found[1] not in str(model)


@pytest.mark.parametrize("stream", [False, True])
def test_a_picture_stands_in_the_text_where_that_is_asked_for(gateway: Gateway, stream: bool) -> None:
    """M-060."""
    reply = post(gateway, asked("A fox", "nano-banana-pro@markdown", stream=stream))
    assert reply.status_code == 200, reply.text
    message = checked(decoded(reply.content)) if stream else reply.json()
    assert message["model"] == "nano-banana-pro"
    assert "![picture 1](data:image/png;base64,iVBORw0KGgo" in message["content"][-1]["text"]


@pytest.mark.parametrize("mode", ["images", "parts", "images+link", "loud"])
def test_other_ways_to_show_pictures_are_refused(gateway: Gateway, mode: str) -> None:
    """M-060."""
    reply = post(gateway, asked("A fox", "nano-banana-pro", image_output=mode))
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "image_output" in reply.json()["error"]["message"]


def test_a_file_that_was_uploaded_is_shown_to_the_model(gateway: Gateway) -> None:
    """E-060: by its id, to the key that uploaded it."""
    upload = gateway.http.post(
        f"{gateway.base_url}/v1/files",
        headers={"x-api-key": KEY},
        data={"purpose": "user_data"},
        files={"file": ("red.png", base64.b64decode(PNG), "image/png")},
    )
    source = {"type": "file", "file_id": upload.json()["id"]}
    messages = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    assert post(gateway, {**asked(""), "messages": messages}).status_code == 200
    assert PNG in str(gateway.sent()[-1].body)
    source["file_id"] = source["file_id"][:-1] + ("0" if source["file_id"][-1] != "0" else "1")
    reply = post(gateway, {**asked(""), "messages": messages})
    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "not_found_error")
    assert "messages[0].content[0].source.file_id" in reply.json()["error"]["message"]


# --- what does not go well


@pytest.mark.parametrize(
    ("text", "status", "word", "error"),
    [
        ("sim:error:400", 400, "invalid_request_error", anthropic.BadRequestError),
        ("sim:error:401", 500, "api_error", anthropic.InternalServerError),
        ("sim:error:429", 429, "rate_limit_error", anthropic.RateLimitError),
        ("sim:error:500", 500, "api_error", anthropic.InternalServerError),
        ("sim:error:503", 529, "overloaded_error", anthropic.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_the_vendor_says_in_anthropics_words(
    fresh: Gateway, text: str, status: int, word: str, error: type[Exception], stream: bool
) -> None:
    """M-005, M-080, M-081."""
    with (
        anthropic.Anthropic(base_url=fresh.base_url, api_key=KEY, max_retries=0) as client,
        pytest.raises(error) as caught,
    ):
        client.messages.create(**asked(text), stream=stream)
    assert isinstance(caught.value, anthropic.APIStatusError)
    body: Any = caught.value.body
    assert (caught.value.status_code, body["error"]["type"]) == (status, word)
    assert body["request_id"] == caught.value.request_id != ""


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (asked("Hi", "nobody"), 404, "not_found_error"),
        ({"model": "gemini-flash", "messages": []}, 400, "invalid_request_error"),
        ({"messages": []}, 400, "invalid_request_error"),
    ],
)
def test_what_we_say_in_anthropics_words(gateway: Gateway, body: Any, status: int, word: str) -> None:
    """X-006, M-081."""
    reply = post(gateway, body)
    assert (reply.status_code, reply.json()["error"]["type"]) == (status, word)
    assert reply.json()["request_id"] == reply.headers["request-id"]


def test_who_has_no_key(gateway: Gateway) -> None:
    """X-006."""
    reply = post(gateway, asked("Hi"), **{"x-api-key": "sk-nobody"})
    assert (reply.status_code, reply.json()["error"]["type"]) == (401, "authentication_error")


def test_a_body_that_is_no_json(gateway: Gateway) -> None:
    headers = {"x-api-key": KEY, "content-type": "application/json"}
    reply = gateway.http.post(f"{gateway.base_url}/v1/messages", content=b"{", headers=headers)
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")


BUDGET = BudgetError("The budget of this key is spent.", 60.0)
LIMIT = LimitError("Rate limit reached.", "requests", 7.0, {"x-ratelimit-limit-requests": "2"})
TOO_LONG = UpstreamError(ErrorClass.BAD_REQUEST, "It has 9000 tokens.", code="context_length_exceeded")


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (BUDGET, 402, {"type": "billing_error", "message": "The budget of this key is spent."}),
        (LIMIT, 429, {"type": "rate_limit_error", "message": "Rate limit reached."}),
        (
            TOO_LONG,
            400,
            {"type": "invalid_request_error", "message": "prompt is too long: It has 9000 tokens."},
        ),
        (
            RequestError("Too large.", status=413),
            413,
            {"type": "request_too_large", "message": "Too large."},
        ),
        (
            RequestError("No.", attribute="answer_format.schema"),
            400,
            {"type": "invalid_request_error", "message": "output_config.format.schema: No."},
        ),
        (
            NotCarriedError(("stop", "foreign.container")),
            400,
            {
                "type": "invalid_request_error",
                "message": "This model cannot carry: stop_sequences, container. Leave it out, or "
                "x-proxy-strict.",
            },
        ),
        (UpstreamError(ErrorClass.TIMEOUT, "Late."), 504, {"type": "timeout_error", "message": "Late."}),
        (UpstreamError(ErrorClass.CONNECT, "Away."), 500, {"type": "api_error", "message": "Away."}),
        (
            ValueError("secret"),
            500,
            {
                "type": "api_error",
                "message": "The proxy could not complete this request because of an internal error.",
            },
        ),
        (
            RequestError("Half: \ud83d", status=403),
            403,
            {"type": "permission_error", "message": "Half: ?"},
        ),
    ],
)
def test_errors(error: Exception, status: int, told: Any) -> None:
    """M-042, M-080: Claude Code makes its conversation shorter when it reads that the prompt is too long."""
    found, headers, body = error_reply.render(error, "req_1", None)
    assert (found, orjson.loads(body)) == (status, {"type": "error", "error": told, "request_id": "req_1"})
    assert (b"content-type", b"application/json") in headers


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (BUDGET, {b"retry-after": b"60", b"x-should-retry": b"false"}),
        (LIMIT, {b"retry-after": b"7", b"x-ratelimit-limit-requests": b"2"}),
        (TOO_LONG, {b"x-should-retry": b"false"}),
    ],
)
def test_errors_say_when_to_come_back(error: Exception, expected: dict[bytes, bytes]) -> None:
    """M-005."""
    headers = dict(error_reply.render(error, "req_1", None)[1])
    assert {name: headers.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    "thread",
    [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}],
    ids=lambda one: one["type"],
)
def test_a_thread_is_refused_with_the_code_that_the_sdk_acts_on(gateway: Gateway, thread: Any) -> None:
    """M-041."""
    error = post(gateway, asked("Hi", thread=thread)).json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["details"] == {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}


def test_the_tool_runner_goes_on_without_threads(client: anthropic.Anthropic, gateway: Gateway) -> None:
    """M-041: it sends the whole history then."""

    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """Weather of a city."""
        return f"{city}: 9C"

    runner = client.beta.messages.tool_runner(
        model="gemini-flash",
        max_tokens=500,
        tools=[get_weather],
        messages=[{"role": "user", "content": "Weather?"}],
    )
    final = runner.until_done()
    assert final.stop_reason == "end_turn"
    assert "9C" in str(final.content[-1])


@pytest.mark.parametrize("order", ["sim:cut:2", "sim:error-after:2:503", "sim:nofinish"])
@pytest.mark.parametrize("model", ["gemini-flash", "lan-chat"])
def test_a_stream_that_breaks_ends_with_an_error(fresh: Gateway, order: str, model: str) -> None:
    """M-075, M-076, A-006: never with a success, never without an end."""
    message = streamed(fresh, f"{order} sim:chunks:6 Tell me more of it", model)
    assert message["error"]["type"] in ("api_error", "overloaded_error")
    assert message["content"][0]["text"]
    assert message["stop_reason"] is None


@pytest.mark.parametrize("frames", range(7))
def test_wherever_it_is_cut_a_stream_is_no_success(fresh: Gateway, frames: int) -> None:
    """A-006: thoughts, text and a call were on their way."""
    text = f"sim:cut:{frames} sim:chunks:4 sim:thoughts Tell me more of the weather"
    reply = post(fresh, asked(text, stream=True, tools=[TOOL], thinking={"type": "adaptive"}))
    if reply.status_code != 200:
        assert (reply.status_code, reply.json()["error"]["type"]) == (500, "api_error")
        return
    message = checked(decoded(reply.content))
    assert ("error" in message) is (message["stop_reason"] is None)
    assert "error" in message or frames >= 4


def test_a_blocked_prompt_is_a_refusal(client: anthropic.Anthropic, gateway: Gateway) -> None:
    """M-042."""
    whole = client.messages.create(**asked("sim:block:SAFETY x"))
    assert whole.stop_reason == "refusal"
    assert whole.stop_details is not None
    assert streamed(gateway, "sim:block:SAFETY x")["stop_reason"] == "refusal"


@pytest.mark.parametrize(("order", "reason"), [("sim:finish:MAX_TOKENS", "max_tokens"), ("", "end_turn")])
def test_why_it_ended(gateway: Gateway, order: str, reason: str) -> None:
    """M-042."""
    assert streamed(gateway, f"{order} Hi")["stop_reason"] == reason


def test_a_silent_stream_is_kept_open_by_pings(gateway: Gateway) -> None:
    """M-077, X-007: before the first byte of the upstream too."""
    reply = post(gateway, asked("sim:slow:1 Hi", stream=True))
    events = decoded(reply.content)
    assert events[0] == {"type": "ping"}
    assert checked(events)["stop_reason"] == "end_turn"


# --- what is not carried


def test_what_is_not_carried_is_named_or_refused(gateway: Gateway) -> None:
    """X-008."""
    body = asked("Hi", container="c_1", tools=[TOOL, {"type": "memory_20250818", "name": "memory"}])
    assert post(gateway, body).headers["x-proxy-dropped"] == "tools[1].type=memory_20250818, container"
    refused = post(gateway, body, **{"x-proxy-strict": "true"})
    assert refused.status_code == 400
    assert "tools[1].type=memory_20250818" in refused.json()["error"]["message"]
    del body["tools"][1]
    refused = post(gateway, body, **{"x-proxy-strict": "true"})
    assert refused.status_code == 400
    assert "container" in refused.json()["error"]["message"]


# --- the same answer in whichever dialect


@pytest.mark.parametrize(
    "text", ["Where is Oslo?", "sim:unicode", "sim:code", "sim:chunks:5 many words here"]
)
@pytest.mark.parametrize("model", MODELS)
def test_a_chat_says_the_same(gateway: Gateway, text: str, model: str) -> None:
    """A-005."""
    message = streamed(gateway, text, model)
    with openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=KEY, max_retries=0) as chat:
        reply = chat.chat.completions.create(
            model=model, max_tokens=500, messages=[{"role": "user", "content": text}]
        )
    assert message["content"][0]["text"] == reply.choices[0].message.content
    assert reply.usage is not None
    assert message["usage"]["output_tokens"] == reply.usage.completion_tokens
    assert message["usage"]["input_tokens"] == reply.usage.prompt_tokens
