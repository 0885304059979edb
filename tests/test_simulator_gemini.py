"""The simulated Gemini knows keys, models and what a question wants."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator

import httpx
import pytest

from proxy.simulators import pictures
from proxy.simulators.server import Running, start
from tests.simulated import ARGON, G3, G25, PNG, ask, google_client, hello, parts_of, refused, user


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with start() as server:
        yield server


@pytest.fixture
def google(running: Running) -> Iterator[httpx.Client]:
    with google_client(running) as client:
        yield client


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


# Answers ----------------------------------------------------------------------------------------------------


def test_received_pictures_are_described_so_that_a_test_can_prove_them(google: httpx.Client) -> None:
    parts = parts_of(google, "Look", {"inlineData": {"mimeType": "image/png", "data": PNG}})
    digest = hashlib.sha256(base64.b64decode(PNG)).hexdigest()[:16]
    size = len(base64.b64decode(PNG))
    assert parts[0]["text"] == (
        f"You said: Look\nI received: image/png 64x48 pixels, {size} bytes, sha256 {digest}."
    )


@pytest.mark.parametrize(
    ("model", "ratio", "size", "pixels"),
    [
        pytest.param("gemini-3-pro-image", "16:9", "2K", (2752, 1536), id="2K"),
        pytest.param("gemini-3-pro-image", None, None, (1024, 1024), id="default"),
        pytest.param("gemini-3.1-flash-image", "21:9", "512", (792, 336), id="512"),
        pytest.param("gemini-3.1-flash-image", "1:8", "4K", (1536, 12288), id="4K"),
        pytest.param("gemini-2.5-flash-image", "3:2", None, (1248, 832), id="2.5"),
    ],
)
def test_image_models_draw_real_pictures_of_the_right_size(
    google: httpx.Client, model: str, ratio: str | None, size: str | None, pixels: tuple[int, int]
) -> None:
    wanted = {name: value for name, value in (("aspectRatio", ratio), ("imageSize", size)) if value}
    text, picture = parts_of(google, "a cat", model=model, generationConfig={"imageConfig": wanted})
    assert text["text"] == "You said: a cat"
    data = base64.b64decode(picture["inlineData"]["data"])
    assert pictures.look(data) == pictures.Seen("image/png", *pixels)
    assert ("thoughtSignature" in picture) == model.startswith("gemini-3")


def test_image_answers_can_be_several_jpegs_with_a_draft(google: httpx.Client) -> None:
    """G149"""
    prompt = "cats sim:image:2 sim:jpeg sim:draft"
    parts = parts_of(
        google, prompt, model="gemini-3-pro-image", generationConfig={"responseModalities": ["IMAGE"]}
    )
    kinds = [(part.get("thought", False), part["inlineData"]["mimeType"]) for part in parts]
    assert kinds == [(True, "image/png"), (False, "image/jpeg"), (False, "image/jpeg")]
    assert parts[1]["inlineData"]["data"] != parts[2]["inlineData"]["data"]


def test_a_big_picture_has_the_asked_length(google: httpx.Client) -> None:
    parts = parts_of(google, "cat sim:big:2", model="gemini-3-pro-image")
    assert len(base64.b64decode(parts[1]["inlineData"]["data"])) == 2 * 1024 * 1024


def test_thoughts_are_counted_and_shown_when_asked(google: httpx.Client) -> None:
    reply = ask(google, "Hi", generationConfig={"thinkingConfig": {"includeThoughts": True}}).json()
    parts = reply["candidates"][0]["content"]["parts"]
    assert [part.get("thought", False) for part in parts] == [True, False]
    assert reply["usageMetadata"]["thoughtsTokenCount"] == 32
    off = ask(google, "Hi", model=G25, generationConfig={"thinkingConfig": {"thinkingBudget": 0}}).json()
    assert "thoughtsTokenCount" not in off["usageMetadata"]


def test_a_small_limit_is_eaten_by_thoughts(google: httpx.Client) -> None:
    """G140"""
    reply = ask(google, "Hi", generationConfig={"maxOutputTokens": 10}).json()
    assert reply["candidates"] == [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}]
    longer = ask(google, "Hi there", generationConfig={"maxOutputTokens": 34}).json()
    assert longer["candidates"][0]["content"]["parts"][0]["text"] == "You said"


def test_json_mode_answers_in_the_schema(google: httpx.Client) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"enum": ["a"]}}},
        "required": ["name", "tags"],
    }
    mode = {"responseMimeType": "application/json", "responseJsonSchema": schema}
    text = parts_of(google, "About Ada Lovelace", generationConfig=mode)[0]["text"]
    assert json.loads(text) == {"name": "Ada Lovelace", "tags": ["a"]}


def test_a_form_in_words_is_answered_with_its_object(google: httpx.Client) -> None:
    asked = 'Name it.\nJSON format: { "title": "a title" }\n### Examples:\n- { "title": "Cookies" }'
    assert parts_of(google, asked)[0]["text"] == '{ "title": "a title" }'
    assert parts_of(google, f"{asked} sim:unicode")[0]["text"] == '{ "title": "a title" }'
    assert parts_of(google, "JSON format: {x}")[0]["text"] == "You said: JSON format: {x}"


def test_several_candidates_are_numbered(google: httpx.Client) -> None:
    reply = ask(google, "Hi", model=G25, generationConfig={"candidateCount": 3}).json()
    texts = [(each["index"], each["content"]["parts"][0]["text"]) for each in reply["candidates"]]
    assert texts == [(0, "You said: Hi"), (1, "Answer 2.\nYou said: Hi"), (2, "Answer 3.\nYou said: Hi")]


def test_speech_models_answer_with_samples(google: httpx.Client) -> None:
    parts = parts_of(google, "Say hello", model="gemini-3.8-flash-tts")
    assert parts[0]["inlineData"]["mimeType"] == "audio/L16;codec=pcm;rate=24000"
    assert len(base64.b64decode(parts[0]["inlineData"]["data"])) == 12000


def test_stop_sequences_end_the_text(google: httpx.Client) -> None:
    parts = parts_of(google, "one two three", generationConfig={"stopSequences": [" two"]})
    assert parts[0]["text"] == "You said: one"


def test_grounding_counts_bytes_and_omits_zero(google: httpx.Client) -> None:
    """G158, G159"""
    candidate = ask(google, "sim:grounding").json()["candidates"][0]
    text = candidate["content"]["parts"][0]["text"].encode()
    segments = [each["segment"] for each in candidate["groundingMetadata"]["groundingSupports"]]
    assert "startIndex" not in segments[0]
    assert [text[each.get("startIndex", 0) : each["endIndex"]].decode() for each in segments] == [
        "Zürich is big.",
        "東京 is bigger.",
        "Nobody knows **why**.",
    ]


def test_long_answers_are_continued_with_their_own_token(google: httpx.Client) -> None:
    """G164"""
    request = hello(contents=[user("tell sim:continue:1")], generationConfig={"maxOutputTokens": 40000})
    url = f"models/{ARGON}:generateContent"
    first = google.post(f"models/{ARGON}:streamGenerateContent?alt=sse", json=request).text
    token = json.loads(first.split("\r\n\r\n")[-2][6:])["candidates"][0]["continuationToken"]
    second = google.post(url, json={**request, "continuationToken": token}).json()["candidates"][0]
    assert (second["content"]["parts"][0]["text"], second["finishReason"]) == ("Part 2 of 2. ", "STOP")
    other = {**request, "generationConfig": {"maxOutputTokens": 40001}, "continuationToken": token}
    assert "does not belong" in google.post(url, json=other).json()["error"]["message"]


def test_server_side_tools_are_shown_and_must_come_back_signed(google: httpx.Client) -> None:
    """G108"""
    tools = [{"googleSearch": {}}]
    parts = parts_of(google, "news sim:search", tools=tools)
    assert [next(iter(part)) for part in parts] == ["toolCall", "toolResponse", "text"]
    history = [user("news"), {"role": "model", "parts": parts}, user("more")]
    assert refused({"contents": history, "tools": tools}) == ""
    del parts[0]["thoughtSignature"]
    assert "must be returned with their thought_signature" in refused({"contents": history, "tools": tools})
