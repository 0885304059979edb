"""Google's dialect at the front door: addresses, keys, streams in both forms, and an OpenAI-compatible server
behind it."""

import json
import math
from typing import Any

import httpx
import pytest

from tests.gateway import KEY, Gateway

HI = {"contents": [{"role": "user", "parts": [{"text": "Hi sim:text:Oslo lies in Norway."}]}]}
BOTH = ["gemini-flash", "lan-chat"]


def post(gateway: Gateway, path: str, body: Any = HI, **headers: str) -> httpx.Response:
    """The path goes out as it is written."""
    url = httpx.URL(gateway.base_url).copy_with(raw_path=path.encode())
    return gateway.http.post(url, json=body, headers={"x-goog-api-key": KEY, **headers})


def generate(gateway: Gateway, model: str, body: Any = HI, **headers: str) -> httpx.Response:
    return post(gateway, f"/v1beta/models/{model}:generateContent", body, **headers)


def text_of(*payloads: Any) -> str:
    parts = [part for one in payloads for part in one["candidates"][0]["content"]["parts"]]
    return "".join(part.get("text", "") for part in parts if not part.get("thought"))


def events(text: str) -> list[Any]:
    """N-040: lines of data and empty ones, nothing else."""
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    assert all(line.startswith("data: ") for line in lines), text
    return [json.loads(line[6:]) for line in lines]


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize(
    "address",
    ["/v1beta/models/{}:generateContent", "/v1/models/{}:generateContent",
     "/v1alpha/models/{}:generateContent", "/models/{}:generateContent",
     "/v1beta/models/{}%3AgenerateContent", "/v1/v1beta/models/{}:generateContent",
     "//v1beta/models/{}:generateContent"],
)  # fmt: skip
def test_a_whole_reply_at_each_address(gateway: Gateway, model: str, address: str) -> None:
    """X-001, X-004, N-001, N-002"""
    reply = post(gateway, address.format(model))
    assert reply.status_code == 200, reply.text
    told = reply.json()
    assert text_of(told) == "Oslo lies in Norway."
    [candidate] = told["candidates"]
    assert (candidate["finishReason"], candidate["index"]) == ("STOP", 0)
    counts = told["usageMetadata"]
    assert counts["totalTokenCount"] >= counts["promptTokenCount"] + counts["candidatesTokenCount"] > 0
    assert reply.headers["x-request-id"].startswith("req_")


def test_a_target_by_its_own_name_has_a_slash(gateway: Gateway) -> None:
    """N-002"""
    assert text_of(generate(gateway, "google/gemini-2.5-flash").json()) == "Oslo lies in Norway."


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("query", ["?alt=sse", "?%24alt=sse&prettyPrint=false&fields=candidates"])
def test_a_stream_of_events(gateway: Gateway, model: str, query: str) -> None:
    """N-003, N-040, N-042, N-043"""
    body = {"contents": [{"parts": [{"text": "Hi sim:chunks:3 sim:gap:60 sim:text:Oslo lies in Norway."}]}]}
    reply = post(gateway, f"/v1beta/models/{model}:streamGenerateContent{query}", body)
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    told = events(reply.text)
    assert len(told) >= 3
    assert text_of(*told) == "Oslo lies in Norway."
    assert told[-1]["candidates"][0]["finishReason"] == "STOP"
    assert told[-1]["usageMetadata"]["totalTokenCount"] > 0


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("query", ["", "?alt=json"])
def test_a_stream_as_an_array(gateway: Gateway, model: str, query: str) -> None:
    """N-041"""
    reply = post(gateway, f"/v1beta/models/{model}:streamGenerateContent{query}")
    assert reply.headers["content-type"] == "application/json; charset=UTF-8"
    assert text_of(*reply.json()) == "Oslo lies in Norway."
    assert reply.json()[-1]["candidates"][0]["finishReason"] == "STOP"


@pytest.mark.parametrize("model", BOTH)
def test_heartbeats_are_empty_lines(gateway: Gateway, model: str) -> None:
    """N-045, X-007"""
    body = {"contents": [{"parts": [{"text": "Hi sim:slow:0.7 sim:text:late"}]}]}
    reply = post(gateway, f"/v1beta/models/{model}:streamGenerateContent?alt=sse", body)
    assert reply.text.startswith("\r\n")
    assert text_of(*events(reply.text)) == "late"
    reply = post(gateway, f"/v1beta/models/{model}:streamGenerateContent", body)
    assert reply.text.startswith("\r\n")
    assert text_of(*reply.json()) == "late"


@pytest.mark.parametrize(("model", "header"), [("lan-chat", "input_tokens"), ("gemini-flash", None)])
@pytest.mark.parametrize("wrap", [False, True])
def test_tokens_are_counted(gateway: Gateway, model: str, header: str | None, wrap: bool) -> None:
    """N-020 (countTokens: passed on, or estimated)"""
    body = {"generateContentRequest": {"model": f"models/{model}", **HI}} if wrap else HI
    reply = post(gateway, f"/v1/models/{model}:countTokens", body)
    assert reply.status_code == 200
    assert reply.json()["totalTokens"] > 4
    assert reply.headers.get("x-proxy-estimated") == header


def test_a_count_of_nothing_is_a_mistake(gateway: Gateway) -> None:
    """Trap 26 of surfaces.md: a handler that was given no contents."""
    for body in ({}, {"contents": None}, {"generateContentRequest": {}}):
        reply = post(gateway, "/v1/models/lan-chat:countTokens", body)
        assert (reply.status_code, reply.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


# --- keys and errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [{"x-goog-api-key": KEY}, {"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}],
    ids=["goog", "bearer", "x-api-key"],
)
def test_a_key_in_each_header(gateway: Gateway, headers: dict[str, str]) -> None:
    """X-003"""
    url = f"{gateway.base_url}/v1beta/models/lan-chat:generateContent"
    assert gateway.http.post(url, json=HI, headers=headers).status_code == 200


def test_a_key_in_the_address_is_known_and_goes_no_further(gateway: Gateway) -> None:
    """X-003, N-003, N-020"""
    url = f"{gateway.base_url}/v1beta/models/gemini-flash:generateContent?key={KEY}"
    assert gateway.http.post(url, json=HI).status_code == 200
    sent = gateway.sent()[-1]
    assert (sent.query, sent.headers["x-goog-api-key"]) == ({}, "vendor-key-canary")
    assert KEY not in repr(sent)


@pytest.mark.parametrize(
    ("headers", "status", "word"),
    [
        ({"x-goog-api-key": "sk-wrong"}, 400, "INVALID_ARGUMENT"),
        ({"authorization": "Bearer sk-wrong"}, 401, "UNAUTHENTICATED"),
        ({}, 403, "PERMISSION_DENIED"),
    ],
)
@pytest.mark.parametrize("verb", ["generateContent", "streamGenerateContent?alt=sse", "countTokens"])
def test_a_wrong_key(gateway: Gateway, headers: Any, status: int, word: str, verb: str) -> None:
    """N-051, X-006: also before the dialect's own handler runs"""
    reply = gateway.http.post(f"{gateway.base_url}/v1beta/models/lan-chat:{verb}", json=HI, headers=headers)
    told = reply.json()["error"]
    assert (reply.status_code, told["code"], told["status"]) == (status, status, word)


@pytest.mark.parametrize(
    ("model", "body", "status", "word"),
    [
        ("lan-chat", {"contents": []}, 400, "INVALID_ARGUMENT"),
        ("lan-chat", [], 400, "INVALID_ARGUMENT"),
        ("no-such-model", HI, 404, "NOT_FOUND"),
        ("lan-chat", {"contents": [{"parts": [{"text": "sim:error:429"}]}]}, 429, "RESOURCE_EXHAUSTED"),
        ("gemini-flash", {"contents": [{"parts": [{"text": "sim:error:429"}]}]}, 429, "RESOURCE_EXHAUSTED"),
        ("gemini-flash", {"contents": [{"parts": [{"text": "sim:error:503"}]}]}, 503, "UNAVAILABLE"),
    ],
)
def test_errors_are_googles(gateway: Gateway, model: str, body: Any, status: int, word: str) -> None:
    """N-050, X-006"""
    verbs = ["generateContent", "streamGenerateContent?alt=sse"]
    for verb in verbs[: 1 if status == 503 else 2]:  # while that is tried again a stream may begin
        reply = post(gateway, f"/v1beta/models/{model}:{verb}", body)
        told = reply.json()["error"]
        assert (reply.status_code, told["code"], told["status"]) == (status, status, word)
        assert told["message"]


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_an_upstream_that_breaks_off_is_never_a_success(gateway: Gateway, model: str, cut: int) -> None:
    """N-044, A-006"""
    text = f"Hi sim:chunks:6 sim:cut:{cut} sim:text:one two three four five six"
    body = {"contents": [{"parts": [{"text": text}]}]}
    reply = post(gateway, f"/v1beta/models/{model}:streamGenerateContent?alt=sse", body)
    if reply.status_code != 200:  # nothing of it was there
        assert reply.json()["error"]["code"] == reply.status_code == 502
        return
    *told, last = events(reply.text)
    assert all("finishReason" not in one["candidates"][0] for one in told)
    assert set(last) == {"error"}
    assert last["error"]["code"] >= 500


# --- towards an OpenAI-compatible server -------------------------------------------------------------------

# surfaces.md 3.6, word for word
REQUEST: Any = {
    "system_instruction": {"parts": [{"text": "Be brief."}]},
    "contents": [
        {"role": "user", "parts": [{"text": "Weather in Oslo?"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "get_weather", "args": {"city": "Oslo"}}}]},
        {
            "role": "user",
            "parts": [{"functionResponse": {"name": "get_weather", "response": {"result": "9C"}}}],
        },
    ],
    "tools": [
        {
            "functionDeclarations": [
                {
                    "name": "get_weather",
                    "description": "Weather of a city",
                    "parameters": {
                        "type": "OBJECT",
                        "properties": {"city": {"type": "STRING", "nullable": True}},
                        "required": ["city"],
                        "propertyOrdering": ["city"],
                    },
                }
            ]
        }
    ],
    "toolConfig": {
        "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["get_weather"]},
    },
    "generationConfig": {
        "temperature": 0,
        "maxOutputTokens": 300,
        "stopSequences": ["END"],
        "responseMimeType": "text/plain",
        "thinkingConfig": {"thinkingLevel": "LOW"},
    },
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
}


def test_a_request_for_an_openai_compatible_server(gateway: Gateway) -> None:
    """3.3"""
    reply = generate(gateway, "lan-chat", REQUEST)
    assert reply.status_code == 200, reply.text
    assert reply.headers["x-proxy-dropped"] == "safetySettings"
    assert gateway.sent()[-1].body == {
        "model": "llama",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather in Oslo?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_g0",
                        "type": "function",
                        "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_g0", "content": "9C", "name": "get_weather"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "get_weather",
                    "description": "Weather of a city",
                    "parameters": {
                        "type": "object",
                        "properties": {"city": {"type": ["string", "null"]}},
                        "required": ["city"],
                    },
                },
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "temperature": 0,
        "max_tokens": 300,
        "stop": ["END"],
        "reasoning_effort": "low",
    }


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize(
    "spelling", ["generationConfig responseMimeType", "generation_config response_mime_type"]
)
def test_a_word_of_an_enumeration_comes_without_quotation_marks(
    gateway: Gateway, model: str, spelling: str
) -> None:
    """3.3: as Google itself tells it."""
    config, mime = spelling.split()
    schema = {"type": "STRING", "enum": ["sunny", "grey"]}
    body = {**HI, config: {mime: "text/x.enum", "responseSchema": schema}}
    assert text_of(generate(gateway, model, body).json()) in ("sunny", "grey")


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize(
    ("config", "told"),
    [({}, False), ({"thinkingLevel": "LOW"}, False), ({"includeThoughts": False}, False),
     ({"thinkingLevel": "LOW", "includeThoughts": True}, True)],
)  # fmt: skip
def test_thoughts_are_told_to_whoever_asks_to_see_them(
    gateway: Gateway, model: str, config: Any, told: bool
) -> None:
    """LangChain makes a list of a text that has thoughts beside it."""
    asked = [{"role": "user", "parts": [{"text": "Hi" if model == "gemini-flash" else "Hi sim:thoughts"}]}]
    body = {"contents": asked, "generationConfig": {"thinkingConfig": config}}
    parts = generate(gateway, model, body).json()["candidates"][0]["content"]["parts"]
    assert any(part.get("thought") for part in parts) is told


def test_thoughts_that_come_back_with_the_turn_are_no_loss(gateway: Gateway) -> None:
    """3.3, as Vercel's SDK sends them: what we told a client ourselves stops no loop of a strict one."""
    thought, call = {"text": "Hm.", "thought": True}, {"functionCall": {"name": "look", "args": {}}}
    result = {"functionResponse": {"name": "look", "response": {"result": "9C"}}}
    contents = [{"parts": [{"text": "Hi"}]}, {"role": "model", "parts": [thought, call]}, {"parts": [result]}]
    body = {"contents": contents, "tools": [{"functionDeclarations": [{"name": "look"}]}]}
    reply = generate(gateway, "lan-chat", body, **{"x-proxy-strict": "true"})
    assert reply.status_code == 200, reply.text
    assert "x-proxy-dropped" not in reply.headers


def test_what_is_not_carried_is_named_and_refused_where_the_client_is_strict(gateway: Gateway) -> None:
    """X-008, 3.3"""
    body = {
        **HI,
        "labels": {"team": "blue"},
        "tools": [{"codeExecution": {}}],
        "generationConfig": {"topK": 4, "speechConfig": {"voiceConfig": {}}, "mediaResolution": "LOW"},
    }
    names = {
        "labels", "tools.codeExecution", "generationConfig.speechConfig", "generationConfig.mediaResolution",
    }  # fmt: skip
    reply = generate(gateway, "lan-chat", body)
    assert reply.status_code == 200
    assert set(reply.headers["x-proxy-dropped"].split(", ")) == names
    reply = generate(gateway, "lan-chat", body, **{"x-proxy-strict": "true"})
    assert (reply.status_code, reply.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert "labels" in reply.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_loop(gateway: Gateway, stream: bool) -> None:
    """N-030, N-033: two calls, whose results say no ids"""
    tools = REQUEST["tools"]
    ask = {"role": "user", "parts": [{"text": "Weather? sim:parallel:2"}]}
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    reply = post(gateway, f"/v1/models/lan-chat:{verb}", {"contents": [ask], "tools": tools})
    told = events(reply.text) if stream else [reply.json()]
    parts = [part for one in told for part in one["candidates"][0]["content"]["parts"]]
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    assert len(calls) == 2
    assert all(call["id"] and call["name"] == "get_weather" for call in calls)
    answers = [
        {"functionResponse": {"name": call["name"], "response": {"result": f"{number} C"}}}
        for number, call in enumerate(calls)
    ]
    history = [ask, {"role": "model", "parts": parts}, {"role": "user", "parts": answers}]
    reply = post(gateway, f"/v1/models/lan-chat:{verb}", {"contents": history, "tools": tools})
    assert reply.status_code == 200, reply.text
    results = [message for message in gateway.sent()[-1].body["messages"] if message["role"] == "tool"]
    assert [(one["tool_call_id"], one["content"]) for one in results] == [
        (call["id"], f"{number} C") for number, call in enumerate(calls)
    ]


def test_several_candidates(gateway: Gateway) -> None:
    """N-034"""
    reply = generate(gateway, "lan-chat", {**HI, "generationConfig": {"candidateCount": 2}})
    assert [one["index"] for one in reply.json()["candidates"]] == [0, 1]


def test_an_answer_in_a_schema(gateway: Gateway) -> None:
    """N-006: upper-case types in responseJsonSchema, as the Gemini CLI's router writes them"""
    schema = {"type": "OBJECT", "properties": {"a": {"type": "INTEGER"}}, "required": ["a"]}
    config = {"responseMimeType": "application/json", "responseJsonSchema": schema}
    reply = generate(gateway, "lan-chat", {"contents": HI["contents"], "generationConfig": config})
    assert reply.status_code == 200, reply.text
    assert gateway.sent()[-1].body["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "response",
            "schema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
        },
    }


def test_the_same_prompt_says_the_same_in_both_dialects(gateway: Gateway) -> None:
    """A-005"""
    for model in BOTH:
        native = generate(gateway, model).json()
        chat = gateway.client().chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hi sim:text:Oslo lies in Norway."}]
        )
        assert chat.choices[0].message.content == text_of(native)
        assert chat.usage is not None
        assert chat.usage.prompt_tokens == native["usageMetadata"]["promptTokenCount"]
        assert math.isclose(chat.usage.total_tokens, native["usageMetadata"]["totalTokenCount"])


# --- models, and what is not here ------------------------------------------------------------------------


def get(gateway: Gateway, path: str, **headers: str) -> httpx.Response:
    return gateway.http.get(f"{gateway.base_url}{path}", headers=headers)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1beta/models", {"authorization": f"Bearer {KEY}"}),
        ("/v1beta/models/", {"x-api-key": KEY}),
        ("/v1alpha/models", {"x-goog-api-key": KEY}),
        ("/v1/models", {"x-goog-api-key": KEY}),
        ("/models", {"x-goog-api-key": KEY}),
        (f"/v1/models?key={KEY}", {}),
    ],
)
def test_models_as_google_lists_them(gateway: Gateway, path: str, headers: dict[str, str]) -> None:
    """N-053, X-001, X-002"""
    told = get(gateway, path, **headers).json()
    assert list(told) == ["models"]
    by_name = {model["name"]: model for model in told["models"]}
    assert set(by_name) == {f"models/{name}" for name in (
        "gemini-flash", "gemini-2.5-flash", "nano-banana-pro", "lan-chat")}  # fmt: skip
    assert by_name["models/gemini-flash"] == {
        "name": "models/gemini-flash",
        "version": "1",
        "displayName": "gemini-flash",
        "inputTokenLimit": 1048576,
        "outputTokenLimit": 65536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "thinking": True,
    }
    assert by_name["models/lan-chat"]["supportedGenerationMethods"] == ["generateContent", "countTokens"]


def test_models_come_in_pages(gateway: Gateway) -> None:
    """N-053"""
    names: list[str] = []
    token: str | None = "0"
    while token is not None:
        told = get(gateway, f"/v1beta/models?pageSize=3&pageToken={token}", **{"x-goog-api-key": KEY}).json()
        names += (model["name"] for model in told["models"])
        token = told.get("nextPageToken")
    assert len(names) == len(set(names)) == 4
    assert get(gateway, "/v1beta/models?pageToken=4", **{"x-goog-api-key": KEY}).json() == {"models": []}
    reply = get(gateway, "/v1beta/models?pageSize=many", **{"x-goog-api-key": KEY})
    assert (reply.status_code, reply.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_one_model_and_none(gateway: Gateway) -> None:
    """N-053, X-002"""
    for path in ("/v1beta/models/lan-chat", "/v1/models/lan-chat", f"/v1/models/lan-chat?key={KEY}"):
        assert get(gateway, path, **{"x-goog-api-key": KEY}).json()["name"] == "models/lan-chat"
    reply = get(gateway, "/v1beta/models/nobody", **{"x-goog-api-key": KEY})
    assert (reply.status_code, reply.json()["error"]["status"]) == (404, "NOT_FOUND")


def test_others_see_models_in_their_own_words(gateway: Gateway) -> None:
    """X-002: a name with a colon is no verb"""
    assert get(gateway, "/v1/models", authorization=f"Bearer {KEY}").json()["object"] == "list"
    reply = get(gateway, "/v1/models/llama3:8b", authorization=f"Bearer {KEY}")
    assert reply.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("POST", "/v1beta/models/lan-chat:predict", "no predict here"),
        ("POST", "/v1/models/lan-chat:predictLongRunning", "generateContent, streamGenerateContent"),
        ("POST", "/v1beta/models/lan-chat%3AbidiGenerateContent", "no bidiGenerateContent here"),
        ("POST", "/v1beta/files", "no POST /v1beta/files"),
        ("POST", "/upload/v1beta/files", "no POST /upload/v1beta/files"),
        ("GET", "/v1beta/cachedContents", "no GET"),
        ("POST", "/v1beta/interactions", "no POST"),
        ("POST", "/v1alpha/batches", "no POST"),
    ],
)
def test_what_is_not_here_is_said_in_googles_shape(
    gateway: Gateway, method: str, path: str, says: str
) -> None:
    """X-006, and the last rows of 3.1"""
    url = httpx.URL(gateway.base_url).copy_with(raw_path=path.encode())
    reply = gateway.http.request(method, url, headers={"x-goog-api-key": KEY})
    told = reply.json()["error"]
    assert (reply.status_code, told["code"], told["status"]) == (404, 404, "NOT_FOUND")
    assert says in told["message"]


def test_another_method_is_refused_in_googles_shape(gateway: Gateway) -> None:
    """X-006"""
    for path in ("/v1beta/models/lan-chat:generateContent", "/v1/models/lan-chat:countTokens"):
        reply = gateway.http.put(f"{gateway.base_url}{path}", headers={"x-goog-api-key": KEY})
        assert (reply.status_code, reply.json()["error"]["status"]) == (405, "UNIMPLEMENTED")
