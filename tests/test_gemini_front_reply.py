"""Events as native replies, whole and in chunks, and errors in Google's shape."""

import json
from collections.abc import Iterable
from typing import Any, get_args

import orjson
import pytest

from proxy.errors import (
    CallerError,
    ErrorClass,
    LimitError,
    NotCarriedError,
    ProxyError,
    RequestError,
    UpstreamError,
)
from proxy.fronts.gemini.commons import SPEAKING
from proxy.fronts.gemini.generate import reply
from proxy.fronts.gemini.generate.front import GeminiFront
from proxy.fronts.gemini.generate.reply import GeminiRenderer
from proxy.types import (
    Audio,
    Citation,
    CodeRun,
    Event,
    Extra,
    Finish,
    FinishReason,
    Heard,
    Image,
    Json,
    Logprobs,
    Native,
    PartialImage,
    Reasoning,
    Refusal,
    Searched,
    Segment,
    Slice,
    Started,
    Text,
    ToolCall,
    Usage,
    Vector,
    Verdict,
)

STARTED = Started("d-1", "qwen3")
STOP = Finish("stop", "stop")
USAGE = Usage(prompt=40, completion=4)
AROUND = {"modelVersion": "lan-qwen", "responseId": "d-1"}


def renderer(*, as_array: bool = False) -> GeminiRenderer:
    return GeminiRenderer("lan-qwen", 1790000000, as_array=as_array, thinks=True)


def whole(*events: Event) -> Any:
    return json.loads(b"".join(renderer().whole([STARTED, *events])))


def parts(*events: Event, finish: Finish = STOP) -> list[Any]:
    found: list[Any] = whole(*events, finish)["candidates"][0]["content"]["parts"]
    return found


def streamed(batches: Iterable[Iterable[Event]], *, as_array: bool = False) -> bytes:
    one = renderer(as_array=as_array)
    return b"".join((*(joined(one.feed(batch)) for batch in batches), joined(one.finish())))


def joined(written: bytes | list[Any]) -> bytes:
    return written if isinstance(written, bytes) else b"".join(written)


def chunks(*batches: Iterable[Event]) -> list[Any]:
    """N-040: every frame is one line of data and a blank one, and nothing else."""
    text = streamed(batches)
    assert text.endswith(b"\r\n\r\n")
    frames = text.split(b"\r\n\r\n")[:-1]
    assert all(frame.startswith(b"data: {") and b"\n" not in frame for frame in frames)
    return [json.loads(frame[6:]) for frame in frames]


def test_a_whole_reply() -> None:
    """The last literal example of surfaces.md 3.6 but one."""
    assert whole(Text("9 degrees."), STOP, USAGE) == {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": "9 degrees."}]},
                "finishReason": "STOP",
                "index": 0,
            }
        ],
        "usageMetadata": {"promptTokenCount": 40, "candidatesTokenCount": 4, "totalTokenCount": 44},
        **AROUND,
    }


def test_the_parts_of_a_reply_in_their_order() -> None:
    """X-023"""
    picture, sound = Slice(b"iVBORw0KGgo="), Slice(b"UklGRg==")
    assert parts(
        Reasoning("Hm"),
        Reasoning("m."),
        Text("Here"),
        Text(" it is."),
        Image("image/png", picture, signature="c2ln"),
        PartialImage("image/png", picture),
        Image("image/png", url="https://x.example/a.png"),
        Text("And:", signature="c2ky"),
        Audio("audio/wav", sound),
        Refusal("No more."),
        Text("", signature="c2kz"),
    ) == [
        {"text": "Hmm.", "thought": True},
        {"text": "Here it is."},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}, "thoughtSignature": "c2ln"},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://x.example/a.png"}},
        {"text": "And:", "thoughtSignature": "c2ky"},
        {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}},
        {"text": "No more."},
        {"text": "", "thoughtSignature": "c2kz"},
    ]


def test_thoughts_that_nobody_asked_for_are_not_told() -> None:
    """In a stream they do not even begin the reply."""
    events = [STARTED, Reasoning("Hm."), Text("Oslo."), STOP]
    one = GeminiRenderer("m", 1, as_array=False)
    assert orjson.loads(joined(one.whole(events)))["candidates"][0]["content"]["parts"] == [{"text": "Oslo."}]
    one = GeminiRenderer("m", 1, as_array=False)
    assert joined(one.feed(events[:2])) == b""
    assert b"Hm." not in joined(one.feed(events[2:])) + joined(one.finish())


def test_calls_are_told_whole_and_in_their_order() -> None:
    """N-033"""
    assert parts(
        Text("Look:"),
        ToolCall(1, "c2", "clock", ""),
        ToolCall(0, "c1", "look", '{"city"', signature="c2ln"),
        ToolCall(0, "", "", ':"Oslo"}'),
    ) == [
        {"text": "Look:"},
        {"functionCall": {"id": "c1", "name": "look", "args": {"city": "Oslo"}}, "thoughtSignature": "c2ln"},
        {"functionCall": {"id": "c2", "name": "clock", "args": {}}},
    ]


def test_half_a_character_in_the_arguments_of_a_call_loses_no_call() -> None:
    (found,) = parts(ToolCall(0, "c1", "look", '{"city":"Osl\\ud83d"}'))
    assert found["functionCall"]["args"] == {"city": "Osl\ufffd"}


def test_a_call_with_broken_arguments_is_not_handed_on() -> None:
    with pytest.raises(UpstreamError, match="the arguments of a call of 'look' are no JSON"):
        parts(ToolCall(0, "c1", "look", '{"city"'))


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_call_in_which_the_answer_was_cut_off_is_left_out(reason: FinishReason) -> None:
    """As Google does; what was said before it was bought."""
    cut = (Text("Look:"), ToolCall(0, "c1", "look", "{}"), ToolCall(1, "c2", "look", '{"city"'))
    told = [{"text": "Look:"}, {"functionCall": {"id": "c1", "name": "look", "args": {}}}]
    assert parts(*cut, finish=Finish(reason)) == told
    assert chunks([STARTED, *cut], [Finish(reason)])[-1]["candidates"][0]["content"]["parts"] == told
    assert parts(ToolCall(0, "c1", "look", '{"city"'), finish=Finish(reason)) == [{"text": ""}]


@pytest.mark.parametrize(
    ("arguments", "args"),
    [("[1]", {"value": [1]}), ('"Oslo"', {"value": "Oslo"}), ("null", {}), (" ", {})],
)
def test_arguments_that_are_no_object_are_put_into_one(arguments: str, args: Json) -> None:
    """Google's SDKs take nothing else."""
    (found,) = parts(ToolCall(0, "c1", "look", arguments))
    assert found["functionCall"]["args"] == args


@pytest.mark.parametrize(
    ("finish", "members"),
    [
        (Finish("stop", "stop"), {"finishReason": "STOP"}),
        (Finish("tool_calls", "tool_calls"), {"finishReason": "STOP"}),
        (Finish("function_call"), {"finishReason": "STOP"}),
        (Finish("length", "length"), {"finishReason": "MAX_TOKENS"}),
        (Finish("content_filter", "content_filter"), {"finishReason": "SAFETY", "safetyRatings": []}),
        (Finish("stop", "MALFORMED_FUNCTION_CALL"), {"finishReason": "MALFORMED_FUNCTION_CALL"}),
        (Finish("stop", message="Said so."), {"finishReason": "STOP", "finishMessage": "Said so."}),
    ],
)
def test_why_it_ended(finish: Finish, members: Any) -> None:
    """N-031"""
    [candidate] = whole(Text("Hi"), finish)["candidates"]
    assert candidate == {
        "content": {"role": "model", "parts": [{"text": "Hi"}]},
        "index": 0,
        **members,
    }


def test_counts() -> None:
    """N-032"""
    usage = Usage(
        prompt=264,
        completion=1306,
        reasoning=12,
        cached=100,
        prompt_text=264,
        completion_text=4,
        completion_image=1290,
        prompt_audio=0,
    )
    assert whole(Text("Hi"), usage, STOP)["usageMetadata"] == {
        "promptTokenCount": 264,
        "candidatesTokenCount": 1294,
        "totalTokenCount": 1570,
        "thoughtsTokenCount": 12,
        "cachedContentTokenCount": 100,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 264}],
        "candidatesTokensDetails": [
            {"modality": "TEXT", "tokenCount": 4},
            {"modality": "IMAGE", "tokenCount": 1290},
        ],
    }


def test_citations_count_bytes() -> None:
    """Of the text of all parts; characters are what everybody else counts."""
    [candidate] = whole(
        Text("Zürich "),
        Image("image/png", Slice(b"aWNvbg==")),
        Text("liegt am 🏞-See."),
        Citation("https://two.example", "2", 7, 16),
        Citation("https://one.example", "1", 0, 6),
        Citation("https://past.example", "3", 16, 99),
        STOP,
    )["candidates"]
    sources = candidate["citationMetadata"]["citationSources"]
    assert [(one["title"], one["startIndex"], one["endIndex"]) for one in sources] == [
        ("2", 8, 17),
        ("1", 0, 7),
        ("3", 17, 26),
    ]


def test_citations_of_a_stream_count_all_that_was_said_before() -> None:
    *_, last = chunks([Text("Ö")], [Text("sterreich")], [Citation("https://x.example", "X", 1, 10), STOP])
    sources = last["candidates"][0]["citationMetadata"]["citationSources"]
    assert [(one["startIndex"], one["endIndex"]) for one in sources] == [(2, 11)]


def test_facts_beside_the_text() -> None:
    [candidate] = whole(
        Text("Oslo."),
        Citation("https://x.example", "X", 0, 4),
        Logprobs([{"token": "Oslo", "logprob": -0.5, "top_logprobs": [{"token": "Rome", "logprob": -2}]}]),
        Extra("google", {"grounding_metadata": {"webSearchQueries": ["q"]}}),
        Extra("other", {"x": 1}),
        STOP,
    )["candidates"]
    assert {
        name: candidate[name] for name in candidate if name not in ("content", "index", "finishReason")
    } == {
        "citationMetadata": {
            "citationSources": [{"startIndex": 0, "endIndex": 4, "uri": "https://x.example", "title": "X"}]
        },
        "logprobsResult": {
            "chosenCandidates": [{"token": "Oslo", "logProbability": -0.5}],
            "topCandidates": [{"candidates": [{"token": "Rome", "logProbability": -2}]}],
        },
        "groundingMetadata": {"webSearchQueries": ["q"]},
    }


@pytest.mark.parametrize(
    ("pieces", "word"), [(['"sun', 'ny"'], "sunny"), (['"\\u00e4"'], "ä"), (["sunny"], "sunny"), (["1"], "1")]
)
def test_a_word_of_an_enumeration_stands_bare(pieces: list[str], word: str) -> None:
    """3.3: `text/x.enum` of an upstream that speaks JSON; in a stream it is told when it is whole."""
    events = [Reasoning('"Hm"'), *map(Text, pieces), STOP]
    expected = [{"text": '"Hm"', "thought": True}, {"text": word}]
    bare = GeminiRenderer("m", 1, as_array=False, bare=True, thinks=True)
    assert orjson.loads(joined(bare.whole(events)))["candidates"][0]["content"]["parts"] == expected
    bare = GeminiRenderer("m", 1, as_array=False, bare=True, thinks=True)
    assert [bare.feed([one]) for one in events] == [b""] * len(events)
    assert orjson.loads(joined(bare.finish())[6:])["candidates"][0]["content"]["parts"] == expected


@pytest.mark.parametrize("others", [None, 1, "x", {"token": "a"}, [1, None, "x"]])
def test_chances_in_no_shape_that_is_known_are_left_out(others: Any) -> None:
    entries: Any = ["x", {"token": "Oslo", "logprob": -0.5, "top_logprobs": others}]
    for found in (
        whole(Text("Oslo."), Logprobs(entries), STOP),
        chunks([Text("Oslo.")], [Logprobs(entries), STOP])[-1],
    ):
        assert found["candidates"][0]["logprobsResult"] == {
            "chosenCandidates": [{"token": "Oslo", "logProbability": -0.5}],
            "topCandidates": [{"candidates": []}],
        }


def test_what_the_upstream_did_by_itself() -> None:
    """X-022"""
    [candidate] = whole(
        CodeRun("```\nprint(1)\n```\n", "print(1)", "python"),
        CodeRun("```\n1\n```\n", output="1\n"),
        CodeRun("", output="no", ok=False),
        Text("One."),
        Searched(("one?",), (("https://x.example", "X"),)),
        STOP,
    )["candidates"]
    assert candidate["content"]["parts"] == [
        {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": "no"}},
        {"text": "One."},
    ]
    assert candidate["groundingMetadata"] == {
        "webSearchQueries": ["one?"],
        "groundingChunks": [{"web": {"uri": "https://x.example", "title": "X"}}],
    }


def test_every_event_has_its_place() -> None:
    """A new one must not end a reply. Those of other operations never come in a chat."""
    elsewhere = {Started, Usage, ToolCall, Native, Vector, Segment, Heard, Verdict}
    assert set(get_args(Event)) - elsewhere == set(reply._HANDLERS)


def test_a_stream() -> None:
    """N-040, N-042, N-043, X-024: the last chunk has the finish and the counts, and no [DONE] follows."""
    assert chunks([STARTED, Text("Oslo lies ")], [Text("in "), Text("Norway.")], [STOP], [USAGE]) == [
        {
            "candidates": [{"content": {"role": "model", "parts": [{"text": "Oslo lies "}]}, "index": 0}],
            **AROUND,
        },
        {
            "candidates": [{"content": {"role": "model", "parts": [{"text": "in Norway."}]}, "index": 0}],
            **AROUND,
        },
        {
            "candidates": [
                {"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP", "index": 0}
            ],
            "usageMetadata": {"promptTokenCount": 40, "candidatesTokenCount": 4, "totalTokenCount": 44},
            **AROUND,
        },
    ]


def test_a_streamed_call_comes_whole_with_the_end() -> None:
    """N-033"""
    first, last = chunks(
        [STARTED, Text("Look:")],
        [ToolCall(0, "c1", "look", '{"city"')],
        [ToolCall(0, "", "", ':"Oslo"}'), ToolCall(1, "c2", "clock", "{}")],
        [Finish("tool_calls"), USAGE],
    )
    assert "finishReason" not in first["candidates"][0]
    [candidate] = last["candidates"]
    assert candidate["content"]["parts"] == [
        {"functionCall": {"id": "c1", "name": "look", "args": {"city": "Oslo"}}},
        {"functionCall": {"id": "c2", "name": "clock", "args": {}}},
    ]
    assert candidate["finishReason"] == "STOP"


def test_several_candidates_have_their_index() -> None:
    """N-034"""
    first, last = chunks([STARTED, Text("a", 1), Text("b", 0)], [Finish("stop", choice=1), STOP])
    assert [(one["index"], one["content"]["parts"]) for one in first["candidates"]] == [
        (1, [{"text": "a"}]),
        (0, [{"text": "b"}]),
    ]
    assert [(one["index"], one["finishReason"]) for one in last["candidates"]] == [(0, "STOP"), (1, "STOP")]


def test_a_stream_as_one_array() -> None:
    """N-041"""
    text = streamed([[STARTED, Text("Oslo lies ")], [Text("in Norway.")], [STOP]], as_array=True)
    assert text.startswith(b'[{"candidates"')
    assert text.count(b",\r\n{") == 2
    assert len(json.loads(text)) == 3


def test_a_ping_harms_no_array_and_no_event() -> None:
    """N-045, X-007"""
    assert GeminiRenderer.ping == b"\r\n"
    text = streamed([[STARTED, Text("Hi")], [STOP]], as_array=True)
    middle = text.index(b",\r\n")
    assert json.loads(b"\r\n" + text[:middle] + b"\r\n" + text[middle:]) == json.loads(text)


@pytest.mark.parametrize("events", [[], [STARTED], [STARTED, Text("Hi")], [STARTED, Text("Hi"), USAGE]])
def test_an_answer_without_an_end_is_no_answer(events: list[Event]) -> None:
    """A-006"""
    with pytest.raises(UpstreamError):
        renderer().whole(events)
    with pytest.raises(UpstreamError):
        streamed([events])


@pytest.mark.parametrize("native", [False, True])
def test_what_json_has_no_form_for_is_the_upstreams_fault(native: bool) -> None:
    nested: Any = {}
    for _ in range(300):
        nested = {"a": nested}
    events: list[Event] = [STARTED, Extra("google", {"grounding_metadata": nested}), STOP]
    if native:
        events = [Native({"candidates": [nested]}), *events]
    with pytest.raises(UpstreamError, match="nested too deeply"):
        renderer().whole(events)
    with pytest.raises(UpstreamError, match="nested too deeply"):
        streamed([events])


# --- errors --------------------------------------------------------------------------------------------


OVERLOADED = UpstreamError(ErrorClass.OVERLOADED, "the model is overloaded")
RETRY = "type.googleapis.com/google.rpc.RetryInfo"
INFO = "type.googleapis.com/google.rpc.ErrorInfo"
BAD = "type.googleapis.com/google.rpc.BadRequest"


def test_a_stream_that_broke_ends_with_an_error() -> None:
    """N-044"""
    one = renderer()
    one.feed([STARTED, Text("Hi")])
    frame = one.error(OVERLOADED, "req_1")
    assert frame.startswith(b'data: {"error":{"code":503,"message":"the model is overloaded",')
    assert frame.endswith(b"}}\r\n\r\n")
    assert json.loads(frame[6:])["error"]["status"] == "UNAVAILABLE"


def test_an_array_that_broke_is_an_array_all_the_same() -> None:
    one = renderer(as_array=True)
    text = joined(one.feed([STARTED, Text("Hi")])) + one.error(OVERLOADED, "req_1")
    assert [list(item) for item in json.loads(text)] == [
        ["candidates", "modelVersion", "responseId"],
        ["error"],
    ]
    assert list(json.loads(renderer(as_array=True).error(OVERLOADED, "req_1"))[0]) == ["error"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            LimitError("Slowly.", "requests", 7.0),
            {
                "code": 429,
                "message": "Slowly.",
                "status": "RESOURCE_EXHAUSTED",
                "details": [
                    {"@type": RETRY, "retryDelay": "7s"},
                    {"@type": INFO, "reason": "RATE_LIMIT_EXCEEDED", "domain": "dragoman"},
                ],
            },
        ),
        (
            RequestError("Not so.", attribute="max_tokens", code="invalid_value"),
            {
                "code": 400,
                "message": "Not so.",
                "status": "INVALID_ARGUMENT",
                "details": [
                    {
                        "@type": BAD,
                        "fieldViolations": [
                            {"field": "generationConfig.maxOutputTokens", "description": "Not so."}
                        ],
                    },
                    {"@type": INFO, "reason": "INVALID_VALUE", "domain": "dragoman"},
                ],
            },
        ),
        (
            UpstreamError(
                ErrorClass.BAD_REQUEST, "Not here.", native="FAILED_PRECONDITION", native_status=400
            ),
            {"code": 400, "message": "Not here.", "status": "FAILED_PRECONDITION"},
        ),
        (
            UpstreamError(ErrorClass.RATE_LIMITED, "quota exceeded", retry_after_s=0.5),
            {
                "code": 429,
                "message": "quota exceeded",
                "status": "RESOURCE_EXHAUSTED",
                "details": [{"@type": RETRY, "retryDelay": "0.5s"}],
            },
        ),
        (
            CallerError("key"),
            {
                "code": 400,
                "message": "API key not valid. Please pass a valid API key.",
                "status": "INVALID_ARGUMENT",
                "details": [{"@type": INFO, "reason": "API_KEY_INVALID", "domain": "googleapis.com"}],
            },
        ),
        (
            CallerError("nothing"),
            {
                "code": 403,
                "message": "Method doesn't allow unregistered callers; send an API key in the header "
                "x-goog-api-key.",
                "status": "PERMISSION_DENIED",
            },
        ),
        (
            CallerError("token"),
            {
                "code": 401,
                "message": "Incorrect API key provided.",
                "status": "UNAUTHENTICATED",
                "details": [{"@type": INFO, "reason": "INVALID_API_KEY", "domain": "dragoman"}],
            },
        ),
        (
            ValueError("a secret"),
            {
                "code": 500,
                "message": "The proxy could not complete this request because of an internal error.",
                "status": "INTERNAL",
            },
        ),
        (ProxyError("half \ud800", status=502), {"code": 502, "message": "half ?", "status": "INTERNAL"}),
        (ProxyError("Big.", status=413), {"code": 413, "message": "Big.", "status": "INVALID_ARGUMENT"}),
    ],
)
def test_an_error_in_googles_shape(error: Exception, told: Any) -> None:
    """N-050, N-051, N-052, X-006"""
    status, headers, body = SPEAKING.refusal(error, "req_1", None)
    assert json.loads(body) == {"error": told}
    assert status == told["code"]
    assert (b"content-type", b"application/json") in headers


@pytest.mark.parametrize(
    ("status", "word"),
    [(401, "UNAUTHENTICATED"), (403, "PERMISSION_DENIED"), (404, "NOT_FOUND"), (405, "UNIMPLEMENTED"),
     (409, "ABORTED"), (499, "CANCELLED"), (500, "INTERNAL"), (503, "UNAVAILABLE"),
     (504, "DEADLINE_EXCEEDED")],
)  # fmt: skip
def test_a_word_for_each_status(status: int, word: str) -> None:
    """N-050"""
    _, _, body = SPEAKING.refusal(ProxyError("No.", status=status), "req_1", None)
    assert json.loads(body)["error"]["status"] == word


def test_when_to_come_back_stands_in_the_head_too() -> None:
    _, headers, _ = SPEAKING.refusal(LimitError("Slowly.", "requests", 6.2), "req_1", None)
    assert (b"retry-after", b"7") in headers


def test_attributes_are_spelled_as_google_does() -> None:
    """X-008"""
    front = GeminiFront(stream=False)
    parsed: Any = None
    assert front.spelled(
        ("foreign.labels", "tools.web_search", "messages[3].parts", "messages[-1].parts", "thinking.effort",
         "image.image_size", "unheard", "foreign.labels"),
        parsed,
    ) == (
        "labels", "tools.googleSearch", "contents[3].parts", "systemInstruction.parts",
        "generationConfig.thinkingConfig.effort", "generationConfig.imageConfig.imageSize", "unheard",
    )  # fmt: skip
    _, _, body = SPEAKING.refusal(NotCarriedError(("safety_settings", "foreign.labels")), "req_1", None)
    assert "safetySettings, labels" in json.loads(body)["error"]["message"]
