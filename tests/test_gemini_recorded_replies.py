"""Every recorded Gemini reply goes through the reader: nothing is lost, doubled, or left without an end."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest

from proxy.codec import jsonio
from proxy.errors import UpstreamError
from proxy.types import (
    Audio,
    Call,
    ChatRequest,
    Citation,
    Event,
    Finish,
    FinishReason,
    Image,
    Message,
    Reasoning,
    ResultPart,
    Started,
    Target,
    Text,
    TextPart,
    ToolCall,
    Usage,
)
from proxy.wires.gemini.error import read_error
from proxy.wires.gemini.reader import GeminiReader
from tests.shared import FIXTURES, needs_fixtures
from tests.words import code_of

pytestmark = needs_fixtures

GEMINI = FIXTURES / "gemini"
INDEX = FIXTURES / "index.jsonl"
ROWS = [orjson.loads(line) for line in INDEX.read_bytes().splitlines()] if INDEX.is_file() else []
ROWS = [row for row in ROWS if row["family"] == "gemini"]

# Recordings of something that is no success, and what the client is told.
NOT_ANSWERS = {
    "lingua--imageconfigparam-google-followup-response": "no_image_generated",
    "lingua--speechconfigparam-google-response": "upstream_empty_response",
    "malformed-function-call-empty-content--malformed-function-call-empty-content": (
        "upstream_malformed_response"
    ),
    "pydantic-ai--s-test-multimodal-tool-return-matrix-tool-return-content-uploaded-file-video-google-vertex": (  # noqa: E501
        "upstream_malformed_response"
    ),
    "vertexai-sdk-test-data--vertexai-unary-failure-empty-content": "upstream_empty_response",
    "vertexai-sdk-test-data--vertexai-unary-failure-malformed-content": "upstream_empty_response",
    "vertexai-sdk-test-data--vertexai-unary-failure-invalid-response": "upstream_empty_response",
    "vertexai-sdk-test-data--vertexai-streaming-failure-malformed-content": "upstream_stream_truncated",
    "vertexai-sdk-test-data--vertexai-streaming-success-quotes-escaped": "upstream_stream_truncated",
    "vertexai-sdk-test-data--vertexai-streaming-failure-error-mid-stream": "upstream_timeout",
}


# Hand-made numbers: the total is smaller than its parts, and is not believed.
IMPOSSIBLE_TOTALS = {
    "prism--gemini-generate-text-with-a-prompt-with-no-thinking-budget-1",
    "prism--gemini-generate-text-with-a-prompt-with-thinking-budget-1",
    "prism--gemini-media-detection-2",
}

USUAL_ERRORS = {
    400: ("bad_request", 400, None),
    403: ("auth", 502, "upstream_auth_failed"),
    404: ("not_found", 404, "model_not_found"),
    429: ("rate_limited", 429, "rate_limit_exceeded"),
    500: ("internal", 502, "upstream_error"),
    503: ("overloaded", 503, "overloaded"),
}
_BAD_KEY = USUAL_ERRORS[403]
_REGION = ("unavailable", 403, "upstream_region")
EXPECTED_ERRORS: dict[str, tuple[str, int, str | None]] = {
    "intelligence--sts-where-the-adapter-is-configured-with-an-invalid-key-responds-with-an-appropriate-error": _BAD_KEY,  # noqa: E501
    "mirascope--test-authentication-error-google-gemini-2-5-flash": _BAD_KEY,
    "mirascope--test-authentication-error-stream-google-gemini-2-5-flash": _BAD_KEY,
    "req-llm--gemini-1-5-flash-basic": _BAD_KEY,
    "req-llm--gemini-1-5-flash-multi-tool": _BAD_KEY,
    "req-llm--gemini-1-5-pro-streaming": _BAD_KEY,
    "vertexai-sdk-test-data--googleai-unary-failure-api-key": _BAD_KEY,
    "vertexai-sdk-test-data--vertexai-streaming-failure-api-key": _BAD_KEY,
    "vertexai-sdk-test-data--vertexai-unary-failure-api-key": _BAD_KEY,
    "vertexai-sdk-test-data--vertexai-unary-failure-context-cache-not-found": ("bad_request", 404, None),
    "vertexai-sdk-test-data--vertexai-unary-failure-http-error": _REGION,
    "vertexai-sdk-test-data--vertexai-unary-failure-unsupported-user-location": _REGION,
}


def names(*, failed: bool, kinds: tuple[str, ...] = ("unary", "stream")) -> list[str]:
    return [
        Path(row["file"]).stem for row in ROWS if (row["status"] >= 400) is failed and row["kind"] in kinds
    ]


def load(name: str) -> dict[str, Any]:
    exchange: dict[str, Any] = orjson.loads((GEMINI / f"{name}.json").read_bytes())
    return exchange


def payloads(exchange: dict[str, Any]) -> list[Any]:
    """The decoded JSON messages of a recorded body; what stands between the events is tried as JSON."""
    text = exchange.get("sse")
    if text is None:
        return [jsonio.loads(orjson.dumps(exchange["response"]))]
    found: list[Any] = []
    rest: list[str] = []
    for line in text.split("\n"):
        if line.startswith("data:"):
            found.append(jsonio.loads(line[5:].encode()))
        else:
            rest.append(line)
    raw = "\n".join(rest).strip()
    more = jsonio.loads(raw.encode()) if raw else []  # a raw error, or the array of a stream without alt=sse
    return [*found, *(more if isinstance(more, list) else [more])]


def answers_tools(body: Any) -> bool:
    contents = body.get("contents") if isinstance(body, dict) else None
    parts = contents[-1].get("parts") if isinstance(contents, list) and contents else None
    return isinstance(parts, list) and any("functionResponse" in part for part in parts)


def events_of(exchange: dict[str, Any], messages: list[Any] | None = None) -> list[Event]:
    body = exchange["request"] if isinstance(exchange["request"], dict) else {}
    text = TextPart("x")
    said = ResultPart("a", None, (text,)) if answers_tools(body) else text
    request = ChatRequest("m", (Message("user", (said,)),))
    model = exchange["url_path"].partition("/models/")[2].partition(":")[0] or "gemini-2.5-flash"
    call = Call(exchange["url_path"], body, stream=exchange["kind"] == "stream")
    reader = GeminiReader(request, Target("google", model), call)
    events: list[Event] = []
    for payload in payloads(exchange) if messages is None else messages:
        events += reader.feed(payload)
    return events + reader.close()


def upstream_parts(exchange: dict[str, Any]) -> dict[int, list[dict[str, Any]]]:
    """All parts of each candidate as recorded, through another parser than ours."""
    found: dict[int, list[dict[str, Any]]] = {}
    for payload in payloads(exchange):
        for position, candidate in enumerate(payload.get("candidates", [])):
            parts = (candidate.get("content") or {}).get("parts") or []
            found.setdefault(candidate.get("index", position), []).extend(parts)
    return found


def joined(events: list[Event], kind: type, choice: int) -> str:
    return "".join(event.text for event in events if type(event) is kind and event.choice == choice)


@pytest.mark.parametrize("name", names(failed=False))
def test_a_recorded_reply_is_read_whole(name: str) -> None:
    """G-142, G-147, G-148, G-149, G-150, G-151, G-175: every text, picture and call once, and one end."""
    exchange = load(name)
    if name in NOT_ANSWERS:
        with pytest.raises(UpstreamError) as caught:
            events_of(exchange)
        assert code_of(caught.value) == NOT_ANSWERS[name]
        return
    events = events_of(exchange)
    assert type(events[0]) is Started
    assert sum(type(event) is Started for event in events) == 1
    for choice, parts in upstream_parts(exchange).items():
        check_choice([event for event in events if getattr(event, "choice", None) == choice], parts)
    finishes = [event for event in events if type(event) is Finish]
    assert len({event.choice for event in finishes}) == len(finishes) >= 1
    assert all(event.reason in get_args(FinishReason) for event in finishes)
    assert events[-len(finishes) :] == finishes
    check_usage(name, events, exchange)
    check_citations(events, exchange)


def check_choice(events: list[Any], parts: list[dict[str, Any]]) -> None:
    answer = "".join(str(part["text"]) for part in parts if "text" in part and not part.get("thought"))
    thoughts = "".join(part["text"] for part in parts if "text" in part and part.get("thought"))
    quoted = any("executableCode" in part or "codeExecutionResult" in part for part in parts)
    if not quoted:
        assert "".join(event.text for event in events if type(event) is Text) == answer
    assert "".join(event.text for event in events if type(event) is Reasoning) == thoughts
    calls = [event for event in events if type(event) is ToolCall]
    answered = {part["functionResponse"]["name"] for part in parts if "functionResponse" in part}
    told = [part["functionCall"] for part in parts if part.get("functionCall", {}).get("name")]
    told = [original for original in told if original["name"] not in answered]
    assert [call.name for call in calls] == [call["name"] for call in told]
    assert [call.index for call in calls] == list(range(len(calls)))
    assert len({call.id for call in calls}) == len(calls)
    for call, original in zip(calls, told, strict=True):
        assert call.id == original.get("id", call.id)
        arguments = orjson.loads(call.arguments)
        assert isinstance(arguments, dict)
        assert "willContinue" in original or arguments == original.get("args", {})
    blobs = [part for part in parts if "inlineData" in part and not part.get("thought")]
    assert sum(type(event) in (Image, Audio) for event in events) == len(blobs)
    carriers = [part for part in parts if not {"text", "functionCall", "inlineData"}.isdisjoint(part)]
    signatures = [str(part["thoughtSignature"]) for part in carriers if "thoughtSignature" in part]
    kinds = (Text, ToolCall, Image)
    assert [event.signature for event in events if type(event) in kinds and event.signature] == signatures


def check_usage(name: str, events: list[Event], exchange: dict[str, Any]) -> None:
    """G-165, G-166: what the vendor calls the total is prompt and completion."""
    [usage] = [event for event in events if type(event) is Usage]
    counts = [payload.get("usageMetadata", {}) for payload in payloads(exchange)]
    totals = [count["totalTokenCount"] for count in counts if "totalTokenCount" in count]
    if totals and name not in IMPOSSIBLE_TOTALS:
        assert usage.prompt + usage.completion == totals[-1]
    assert usage.reasoning <= usage.completion
    assert usage.cached <= usage.prompt


def check_citations(events: list[Event], exchange: dict[str, Any]) -> None:
    """G-158, G-159: byte offsets become character offsets, none is lost."""
    wanted = []
    for payload in payloads(exchange):
        for candidate in payload.get("candidates", []):
            grounding = candidate.get("groundingMetadata", {})
            chunks = grounding.get("groundingChunks", [])
            for support in grounding.get("groundingSupports", []):
                for number in support.get("groundingChunkIndices", []):
                    sources = chunks[number].values() if number < len(chunks) else ()
                    wanted += [support["segment"]["text"] for source in sources if "uri" in source]
    text = joined(events, Text, 0)
    cited = [text[event.start : event.end] for event in events if type(event) is Citation and event.end]
    assert cited == wanted


@pytest.mark.parametrize("name", names(failed=False, kinds=("stream",)))
def test_a_recorded_stream_and_its_parts_as_one_reply_give_the_same_events(name: str) -> None:
    """A whole reply is a stream of one payload: the same text, calls, pictures, facts and end."""
    exchange = load(name)
    messages = payloads(exchange)
    if name in NOT_ANSWERS or not any(message.get("candidates") for message in messages):
        pytest.skip("no answer to compare")
    candidate: dict[str, Any] = {}
    whole: dict[str, Any] = {}
    for message in messages:
        whole |= message
        candidate |= message.get("candidates", [{}])[0]
    cited = [cite for message in messages for cite in citations_of(message)]
    if cited:
        candidate["citationMetadata"] = {cited[0][0]: [entry for _, entry in cited]}
    whole["candidates"] = [candidate | {"content": {"parts": upstream_parts(exchange)[0]}}]
    assert comparable(events_of(exchange, [whole])) == comparable(events_of(exchange))


def citations_of(message: dict[str, Any]) -> list[tuple[str, Any]]:
    metadata = message.get("candidates", [{}])[0].get("citationMetadata", {})
    return [(name, entry) for name, entries in metadata.items() for entry in entries]


def comparable(events: list[Event]) -> list[Any]:
    """Adjacent text joined, ids left out where we made them up, and what only a stream tells at its begin."""
    result: list[Any] = []
    for event in events:
        last = result[-1] if result else None
        if type(event) is Text and type(last) is Text and last.signature is None:
            result[-1] = Text(last.text + event.text, event.choice, event.signature)
        elif type(event) is Reasoning and type(last) is Reasoning:
            result[-1] = Reasoning(last.text + event.text, event.choice)
        elif type(event) is ToolCall:
            result.append((event.index, event.name, event.arguments, event.signature))
        elif type(event) is Started:
            result.append(replace(event, prompt=0, cached=0))
        else:
            result.append(event)
    return result


@pytest.mark.parametrize("name", names(failed=True))
def test_a_recorded_error_becomes_one_of_ours(name: str) -> None:
    """G-203: whatever the body, a class, a status and a readable message."""
    exchange = load(name)
    body = exchange.get("response") or exchange.get("response_text") or exchange.get("sse")
    raw = body.encode() if isinstance(body, str) else orjson.dumps(body)
    error = read_error(exchange["status"], exchange["headers"], raw, Target("google", "m"))
    assert (error.error_class.value, error.status, code_of(error)) == EXPECTED_ERRORS.get(
        name, USUAL_ERRORS[exchange["status"]]
    )
    assert error.message
    assert "<" not in error.message
    assert error.provider == "google"
    assert error.native_status == exchange["status"]
