"""`embedContent` and `batchEmbedContents`: handed on to Gemini, translated for servers that speak OpenAI."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from proxy.errors import RequestError
from proxy.fronts.base import Asked
from proxy.fronts.gemini.embeddings.front import EmbedFront
from proxy.keys import ClientKey
from proxy.types import EmbedRequest, Target
from proxy.wires.gemini.embeddings import GeminiEmbeddings
from tests.gateway import KEY, Gateway, open_gateway

FILE = """
version: 1
keys:
  - {name: app, key: env:TEST_KEY}
providers:
  google: {wire: gemini, base_url: "http://SIMULATORS/gemini/v1beta", keys: [env:VENDOR_KEY], private: true}
  lan: {wire: openai, base_url: "http://SIMULATORS/openai/v1", keys: [env:VENDOR_KEY], private: true}
models:
  e1: {targets: [google/gemini-embedding-001], price: {input: 0.15, output: 0}}
  e2: {targets: [google/gemini-embedding-2]}
  small: {targets: [google/gemini-embedding-001], defaults: {dimensions: 8, task_type: RETRIEVAL_QUERY}}
  lan-e: {targets: [lan/bge]}
  chat: {targets: [google/gemini-3-flash-preview]}
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("embeddings"), FILE) as one:
        yield one


def ask(opened: Gateway, model: str, verb: str, body: Any, **headers: str) -> httpx.Response:
    url = f"{opened.base_url}/v1/models/{model}:{verb}"
    return opened.http.post(url, json=body, headers={"x-goog-api-key": KEY, **headers})


def content(*texts: str) -> dict[str, Any]:
    return {"parts": [{"text": text} for text in texts], "role": "user"}


def batch(*texts: str, **wishes: Any) -> dict[str, Any]:
    return {"requests": [{"content": content(text), **wishes} for text in texts]}


def parsed(body: Any, *, several: bool = True) -> EmbedRequest:
    asked = Asked("req_1", ClientKey("app"), path={"model": "m"}, written=orjson.dumps(body))
    request: EmbedRequest = EmbedFront(several=several).parse(body, asked).request
    return request


def test_a_batch_for_gemini_is_handed_on_with_the_models_name_of_there(opened: Gateway) -> None:
    """N-020, N-004; the requests of google-genai: surfaces.md, requests/google-genai-embed.json"""
    body = batch("a", "b", taskType="RETRIEVAL_QUERY", output_dimensionality=3, model="models/e1")
    reply = ask(opened, "e1", "batchEmbedContents", body)
    assert reply.status_code == 200, reply.text
    assert [len(one["values"]) for one in reply.json()["embeddings"]] == [3, 3]
    sent = opened.sent()[-1]
    assert sent.path == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert sent.body == batch(
        "a", "b", taskType="RETRIEVAL_QUERY", output_dimensionality=3, model="models/gemini-embedding-001"
    )
    assert float(reply.headers["x-proxy-cost"].split()[0]) > 0


def test_several_texts_of_one_content_are_one_vector(opened: Gateway) -> None:
    """E-003: google-genai puts the texts for the second generation into one content"""
    for model in ("e2", "lan-e"):
        body = {"requests": [{"content": content("a", "b"), "model": f"models/{model}"}]}
        assert len(ask(opened, model, "batchEmbedContents", body).json()["embeddings"]) == 1
    assert opened.sent()[-1].body["input"] == ["a\nb"]


PICTURE: Any = {"parts": [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]}


def test_a_picture_alone_is_handed_on_and_refused_where_only_texts_are_embedded(opened: Gateway) -> None:
    """N-020: the second generation makes vectors of it."""
    assert len(ask(opened, "e2", "embedContent", {"content": PICTURE}).json()["embedding"]["values"]) == 3072
    assert opened.sent()[-1].body == {"content": PICTURE}
    both = {"requests": [{"content": content("a")}, {"content": PICTURE}]}
    for model, body, verb in (
        ("lan-e", both, "batchEmbedContents"),
        ("small", {"content": PICTURE}, "embedContent"),
        ("e2", {"requests": [{"content": PICTURE}] * 150}, "batchEmbedContents"),
    ):
        reply = ask(opened, model, verb, body)
        assert (reply.status_code, reply.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert "text" in reply.json()["error"]["message"]


def test_what_gemini_counted_is_told_and_its_vectors_are_untouched(opened: Gateway) -> None:
    """N-024, E-005: at fewer dimensions Google's own are not one long, and a native client knows it"""
    told = ask(opened, "e2", "embedContent", {"content": content("a b c")}).json()
    assert set(told) == {"embedding", "usageMetadata"}
    values = ask(opened, "e1", "embedContent", {"content": content("a"), "outputDimensionality": 8}).json()[
        "embedding"
    ]["values"]
    assert sum(value * value for value in values) != pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("verb", ["embedContent", "batchEmbedContents"])
def test_a_server_that_speaks_openai(opened: Gateway, verb: str) -> None:
    """3.1"""
    wishes = {"taskType": "CLUSTERING", "outputDimensionality": 4, "autoTruncate": True}
    one = {"content": content("a"), **wishes}
    body = one if verb == "embedContent" else {**batch("a", "b", **wishes), "new_word": 1}
    reply = ask(opened, "lan-e", verb, body)
    assert reply.status_code == 200, reply.text
    assert set(reply.headers["x-proxy-dropped"].split(", ")) == {
        "taskType", *(["autoTruncate"] if verb == "embedContent" else
                      ["new_word", "requests[0].autoTruncate", "requests[1].autoTruncate"])
    }  # fmt: skip
    told = reply.json()
    vectors = [told["embedding"]] if verb == "embedContent" else told["embeddings"]
    assert [len(vector["values"]) for vector in vectors] == [4] * len(vectors)
    assert told["usageMetadata"]["promptTokenCount"] > 0
    sent = opened.sent()[-1].body
    assert (sent["input"], sent["dimensions"]) == (["a"] if verb == "embedContent" else ["a", "b"], 4)


def test_order_is_kept_over_many_calls(opened: Gateway) -> None:
    """E-004: Google takes a hundred at once"""
    texts = [f"text {number}" for number in range(150)]
    many = ask(opened, "e1", "batchEmbedContents", batch(*texts)).json()["embeddings"]
    alone = ask(opened, "e1", "embedContent", {"content": content(texts[120])}).json()["embedding"]
    assert many[120]["values"] == pytest.approx(alone["values"])


def test_a_default_of_the_file_holds_where_the_client_says_nothing(opened: Gateway) -> None:
    """N-022, E-008"""
    reply = ask(opened, "small", "embedContent", {"content": content("a")})
    assert len(reply.json()["embedding"]["values"]) == 8
    assert opened.sent()[-1].body["taskType"] == "RETRIEVAL_QUERY"
    reply = ask(opened, "small", "embedContent", {"content": content("a"), "outputDimensionality": 4})
    assert len(reply.json()["embedding"]["values"]) == 4


def test_wishes_that_differ_are_named_where_one_has_to_hold_for_all() -> None:
    body = batch("a", "b", taskType="CLUSTERING")
    body["requests"][1]["taskType"] = "CLASSIFICATION"
    request = parsed(body)
    assert request.task == "clustering"
    assert request.foreign is not None
    assert request.foreign.paths() == ["foreign.requests[1].taskType"]


@pytest.mark.parametrize(
    ("several", "body", "param"),
    [
        (True, {}, "requests"),
        (
            True,
            {"requests": [{"content": content("a")}, {"content": content("")}]},
            "requests[1].content.parts",
        ),
        (True, {"requests": [{}]}, "requests[0].content"),
        (False, {}, "content"),
        (False, {"content": content("a"), "outputDimensionality": 0}, "outputDimensionality"),
        (False, {"content": content("a"), "task_type": 5}, "task_type"),
    ],
)
def test_a_mistake_is_named_where_it_is(several: bool, body: Any, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        parsed(body, several=several)
    assert caught.value.param == param


def test_the_bodys_own_bytes_are_sent_where_its_model_is_right() -> None:
    """N-020"""
    body = {"content": content("a"), "newField": 1}
    target = Target("google", "gemini-embedding-001")
    call = GeminiEmbeddings().build(parsed(body, several=False), target)
    assert (call.written, call.dropped) == (orjson.dumps(body), ())


def test_a_chat_model_makes_no_vectors(opened: Gateway) -> None:
    """N-050"""
    reply = ask(opened, "chat", "embedContent", {"content": content("a")})
    assert (reply.status_code, reply.json()["error"]["status"]) == (404, "NOT_FOUND")


def test_a_model_that_embeds_is_listed_so(opened: Gateway) -> None:
    """N-053"""
    reply = opened.http.get(f"{opened.base_url}/v1beta/models/e1", headers={"x-goog-api-key": KEY})
    assert reply.json()["supportedGenerationMethods"] == ["embedContent", "batchEmbedContents"]
