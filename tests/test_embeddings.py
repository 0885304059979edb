"""`/v1/embeddings` through a real server over strict simulated vendors, and its wires by themselves."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from math import hypot
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
import pytest

from proxy.errors import RequestError, UpstreamError
from proxy.fronts.base import Facts
from proxy.fronts.openai.embeddings import request as embedding_request
from proxy.fronts.openai.embeddings.front import EmbeddingsFront
from proxy.types import EmbedRequest, Event, Reader, Target, Usage
from proxy.wires.gemini.embeddings import GeminiEmbeddings
from proxy.wires.openai.embeddings import OpenAIEmbeddings
from tests.gateway import KEY, Gateway, open_gateway, operations
from tests.served import waited

FILE = """
version: 1
keys:
  - {name: app, key: env:TEST_KEY}
  - {name: poor, key: env:POOR_KEY, limits: {tokens: 10/min}}
providers:
  google: {wire: gemini, base_url: "http://SIMULATORS/gemini/v1beta", keys: [env:VENDOR_KEY], private: true}
  lan: {wire: openai, base_url: "http://SIMULATORS/openai/v1", keys: [env:VENDOR_KEY], private: true}
  strict:
    {wire: openai, base_url: "http://SIMULATORS/openai-strict/v1", keys: [env:VENDOR_KEY], private: true}
defaults: {embedding_model: e1}
models:
  e1: {targets: [google/gemini-embedding-001], price: {input: 0.15, output: 0}}
  e2: {targets: [google/gemini-embedding-2], price: {input: 0.20, output: 0}}
  small: {targets: [google/gemini-embedding-001], defaults: {dimensions: 8, task_type: RETRIEVAL_QUERY}}
  lan-e: {targets: [lan/bge]}
  strict-e: {targets: [strict/text-embedding-3-small]}
  falls: {targets: [google/gemini-3-flash-preview], fallback: [lan/bge]}
  chat: {targets: [google/gemini-3-flash-preview]}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("embeddings")
    with open_gateway(folder, FILE, {"POOR_KEY": "sk-poor"}) as opened:
        yield opened


def embed(gateway: Gateway, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    own = {"authorization": f"Bearer {KEY}", **(headers or {})}
    return httpx.post(f"{gateway.base_url}/v1/embeddings", json=body, headers=own, timeout=20)


def sent(gateway: Gateway, count: int = 1) -> list[Any]:
    return gateway.sent()[-count:]


def all_of(reader: Reader, payload: dict[str, Any]) -> list[Event]:
    return [*reader.feed(payload), *reader.close()]


def refusal(reply: httpx.Response) -> tuple[int, Any, Any]:
    error = reply.json()["error"]
    return reply.status_code, error["param"], error["code"]


# --- the reply


@pytest.mark.parametrize("model", ["e1", "e2", "lan-e", "strict-e"])
def test_openais_sdk_reads_the_vectors_it_asked_for_as_base64(gateway: Gateway, model: str) -> None:
    """E-001, E-002, G-211: the SDK asks for base64 when its user says nothing, and decodes it."""
    client = gateway.client()
    packed = client.embeddings.create(model=model, input=["alpha", "beta"], dimensions=6)
    plain = client.embeddings.create(
        model=model, input=["alpha", "beta"], dimensions=6, encoding_format="float"
    )
    assert [one.index for one in packed.data] == [0, 1]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert hypot(*one.embedding) == pytest.approx(1, abs=1e-5)
    assert packed.model == model


def test_the_example_of_the_reference() -> None:
    """E-002, E-005, G-212: base64 of four-byte floats, low byte first; short vectors are made one long."""
    front, wire = EmbeddingsFront(), GeminiEmbeddings()
    target = Target("google", "gemini-embedding-001")
    body = {
        "model": "gemini-embedding",
        "input": ["alpha", "beta"],
        "dimensions": 3,
        "encoding_format": "base64",
    }
    parsed = embedding_request.parse(body)
    call = wire.build(parsed.request, target)
    assert call.path == "/models/gemini-embedding-001:batchEmbedContents"
    assert call.body == {
        "requests": [
            {
                "model": "models/gemini-embedding-001",
                "content": {"parts": [{"text": text}]},
                "outputDimensionality": 3,
            }
            for text in ("alpha", "beta")
        ]
    }
    reader = wire.reader(parsed.request, target, call)
    events = reader.feed({"embeddings": [{"values": [1.0, 0.0, 0.0]}, {"values": [0.0, 3.0, 4.0]}]})
    events += reader.close()
    reply = b"".join(front.renderer(parsed, Facts(0)).whole([*events, Usage(prompt=2)]))
    assert orjson.loads(reply) == {
        "object": "list",
        "model": "gemini-embedding",
        "data": [
            {"object": "embedding", "index": 0, "embedding": "AACAPwAAAAAAAAAA"},
            {"object": "embedding", "index": 1, "embedding": "AAAAAJqZGT/NzEw/"},
        ],
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }


def test_without_a_word_on_the_encoding_vectors_are_lists(gateway: Gateway) -> None:
    """E-001: base64 is the SDKs' default, not the endpoint's."""
    reply = embed(gateway, model="e1", input="alpha", dimensions=4).json()
    assert len(reply["data"][0]["embedding"]) == 4
    assert reply["object"] == "list"


def test_whole_vectors_of_the_first_model_and_all_of_the_second_are_left_as_they_are() -> None:
    """E-005: only what Google did not scale is scaled."""
    wire = GeminiEmbeddings()
    for model, dimensions, values in [
        ("gemini-embedding-001", 3072, [2.0] + [0.0] * 3071),
        ("gemini-embedding-2", 2, [3.0, 4.0]),
        ("gemini-embedding-001", 2, [0.0, 0.0]),
    ]:
        request, target = EmbedRequest("m", ("a",), dimensions=dimensions), Target("google", model)
        reader = wire.reader(request, target, wire.build(request, target))
        (event,) = reader.feed({"embedding": {"values": values}})
        assert list(event.values) == values  # type: ignore[union-attr]


def test_one_text_is_one_call_and_no_batch(gateway: Gateway) -> None:
    embed(gateway, model="e1", input="alpha")
    (call,) = sent(gateway)
    assert call.path == "/v1beta/models/gemini-embedding-001:embedContent"
    assert call.body == {"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "alpha"}]}}


@pytest.mark.parametrize("model", ["e1", "e2"])
def test_each_text_of_a_list_has_a_vector_of_its_own(gateway: Gateway, model: str) -> None:
    """E-003, G-210: several texts in one content would be one vector."""
    alone = [embed(gateway, model=model, input=text).json()["data"][0]["embedding"] for text in ("a b", "c")]
    together = embed(gateway, model=model, input=["a b", "c"]).json()["data"]
    assert [one["embedding"] for one in together] == alone


def test_more_texts_than_a_call_takes_are_split_and_come_back_in_order(gateway: Gateway) -> None:
    """E-004: a hundred in a call at Google; `index` counts over all."""
    texts = [f"text {number}" for number in range(230)]
    reply = embed(gateway, model="e1", input=texts, dimensions=16)
    data = reply.json()["data"]
    assert [one["index"] for one in data] == list(range(230))
    sizes = sorted(len(call.body["requests"]) for call in sent(gateway, 3))
    assert sizes == [30, 100, 100]
    for number in (0, 99, 100, 199, 200, 229):
        alone = embed(gateway, model="e1", input=texts[number], dimensions=16).json()["data"][0]
        assert data[number]["embedding"] == alone["embedding"]


def test_one_part_that_fails_fails_the_request(gateway: Gateway) -> None:
    """E-004: no partial answers."""
    texts = [f"text {number}" for number in range(150)] + ["sim:error:400"]
    reply = embed(gateway, model="e1", input=texts)
    assert reply.status_code == 400
    assert "data" not in reply.json()


# --- the request


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"input": []}, "input", "empty_array"),
        ({"input": ""}, "input", "empty_string"),
        ({"input": ["a", ""]}, "input[1]", "empty_string"),
        ({"input": [[1], []]}, "input[1]", "empty_array"),
        ({}, "input", "missing_required_parameter"),
        ({"input": [1, "a"]}, "input[1]", "invalid_type"),
        ({"input": ["a", 1]}, "input[1]", "invalid_type"),
        ({"input": [True]}, "input[0]", "invalid_type"),
        ({"input": [-1]}, "input", "invalid_value"),
        ({"input": {"text": "a"}}, "input", "invalid_type"),
        ({"input": ["a"] * 2049}, "input", "array_above_max_length"),
        ({"input": "a", "dimensions": 0}, "dimensions", "integer_below_min_value"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format", "invalid_value"),
        ({"input": "a", "task_type": "NONSENSE"}, "task_type", "invalid_value"),
        ({"input": "a", "dimensions": 5000}, "dimensions", "integer_above_max_value"),
        ({"input": [1, 2, 3]}, "input", "unsupported_value"),
        ({"input": [[1, 2], [3]]}, "input", "unsupported_value"),
    ],
)
def test_what_cannot_be_embedded_is_refused_with_its_place(
    gateway: Gateway, body: dict[str, Any], param: str, code: str
) -> None:
    """E-007; token ids cannot be decoded for Gemini."""
    before = len(gateway.sent())
    assert refusal(embed(gateway, model="e1", **body)) == (400, param, code)
    assert len(gateway.sent()) == before


def test_token_ids_go_on_to_a_server_that_speaks_openai(gateway: Gateway) -> None:
    one = gateway.client().embeddings.create(model="strict-e", input=[[1, 2, 3], [4]])
    assert sent(gateway)[0].body["input"] == [[1, 2, 3], [4]]
    assert len(one.data) == 2
    gateway.client().embeddings.create(model="strict-e", input=[7, 8])
    assert sent(gateway)[0].body["input"] == [[7, 8]]


def test_a_server_that_speaks_openai_is_asked_for_numbers(gateway: Gateway) -> None:
    embed(gateway, model="strict-e", input=["a", "b"], dimensions=5, user="u", encoding_format="base64")
    assert sent(gateway)[0].body == {
        "model": "text-embedding-3-small",
        "input": ["a", "b"],
        "encoding_format": "float",
        "dimensions": 5,
        "user": "u",
    }


def test_what_the_vector_is_for_is_a_field_of_the_first_model_and_words_for_the_second(
    gateway: Gateway,
) -> None:
    """E-008"""
    embed(gateway, model="e1", input="a", task_type="RETRIEVAL_DOCUMENT", title="T")
    assert sent(gateway)[0].body["taskType"] == "RETRIEVAL_DOCUMENT"
    assert sent(gateway)[0].body["title"] == "T"
    embed(gateway, model="e2", input="a", task_type="retrieval_document", title="T")
    assert sent(gateway)[0].body["content"] == {"parts": [{"text": "title: T | text: a"}]}
    embed(gateway, model="e2", input="a", input_type="query")
    assert sent(gateway)[0].body["content"] == {"parts": [{"text": "task: search result | query: a"}]}


def test_a_model_of_the_file_says_dimensions_and_task(gateway: Gateway) -> None:
    """E-008: a default holds where the client says nothing."""
    reply = embed(gateway, model="small", input="a").json()
    assert len(reply["data"][0]["embedding"]) == 8
    assert sent(gateway)[0].body["taskType"] == "RETRIEVAL_QUERY"
    assert len(embed(gateway, model="small", input="a", dimensions=9).json()["data"][0]["embedding"]) == 9


@pytest.mark.parametrize(
    ("model", "fields", "dropped"),
    [
        ("e1", {"user": "u", "title": "T", "stream": True}, "stream, title, user"),
        ("e1", {"title": "T", "task_type": "CLUSTERING", "truncate": "END"}, "title, truncate"),
        ("lan-e", {"task_type": "CLUSTERING", "title": "T"}, "task_type, title"),
        ("lan-e", {"input_type": "query"}, "input_type"),
    ],
)
def test_what_is_not_carried_is_named_and_refused_when_asked(
    gateway: Gateway, model: str, fields: dict[str, Any], dropped: str
) -> None:
    """X-008"""
    reply = embed(gateway, model=model, input="a", **fields)
    assert reply.status_code == 200
    assert ", ".join(sorted(reply.headers["x-proxy-dropped"].split(", "))) == dropped
    strict = embed(gateway, {"x-proxy-strict": "true"}, model=model, input="a", **fields)
    assert strict.status_code == 400
    assert strict.json()["error"]["code"] == "unsupported_parameter"


def test_fields_nobody_knows_go_on_to_a_server_that_speaks_openai(gateway: Gateway) -> None:
    embed(gateway, model="lan-e", input="a", truncate_prompt_tokens=5)
    assert sent(gateway)[0].body["truncate_prompt_tokens"] == 5


# --- models and money


def test_usage_is_the_vendors_or_marked_as_an_estimate(gateway: Gateway) -> None:
    """E-006"""
    counted = embed(gateway, model="e2", input="a text of some words")
    assert counted.json()["usage"]["prompt_tokens"] == 5
    assert "x-proxy-estimated" not in counted.headers
    guessed = embed(gateway, model="e1", input=["a text of some words", "another"])
    assert guessed.json()["usage"]["prompt_tokens"] == guessed.json()["usage"]["total_tokens"] == 7
    assert guessed.headers["x-proxy-estimated"] == "prompt_tokens"
    silent = embed(gateway, model="lan-e", input="one two sim:nousage")
    assert silent.headers["x-proxy-estimated"] == "prompt_tokens"


def test_it_costs_what_the_file_says_and_stands_in_the_ledger(gateway: Gateway) -> None:
    reply = embed(gateway, model="e2", input="x" * 4000)
    assert reply.headers["x-proxy-cost"] == "0.0002 USD"
    assert reply.json()["usage"]["cost"] == 0.0002
    assert waited(lambda: operations(gateway)) == {"embeddings"}


def test_a_keys_tokens_are_counted(gateway: Gateway) -> None:
    key = {"authorization": "Bearer sk-poor"}
    assert embed(gateway, key, model="e2", input="a" * 20).status_code == 200
    assert embed(gateway, key, model="e2", input="a" * 40).status_code == 429


def test_a_model_that_chats_makes_no_embeddings_and_one_that_embeds_does_not_chat(gateway: Gateway) -> None:
    assert refusal(embed(gateway, model="chat", input="a")) == (404, "model", "unsupported_endpoint")
    with pytest.raises(openai.NotFoundError) as caught:
        gateway.client().chat.completions.create(model="e1", messages=[{"role": "user", "content": "a"}])
    assert caught.value.code == "unsupported_endpoint"


def test_a_target_that_cannot_embed_is_passed_over(gateway: Gateway) -> None:
    assert embed(gateway, model="falls", input="a").json()["data"][0]["index"] == 0


def test_names_that_nobody_has_are_answered_by_the_default(gateway: Gateway) -> None:
    reply = embed(gateway, model="nomic-embed-text", input="a", dimensions=3)
    assert reply.headers["x-proxy-model"] == "e1"
    assert reply.json()["model"] == "nomic-embed-text"


def test_a_failure_is_told_as_of_a_chat(gateway: Gateway) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        gateway.client().embeddings.create(model="e1", input="sim:error:429")
    assert caught.value.code == "rate_limit_exceeded"


@pytest.mark.parametrize(
    "payload",
    [
        {"embeddings": [{"values": [1.0]}]},
        {"embeddings": [{"values": [1.0]}, {"values": []}]},
        {"embeddings": [{"values": [1.0]}, {"values": ["x"]}]},
        {"embeddings": [{"values": [1.0]}, None]},
        {"error": {"code": 500, "message": "no"}},
        {},
    ],
)
def test_a_reply_of_geminis_that_is_not_what_was_asked_for_is_an_error(payload: dict[str, Any]) -> None:
    wire, request, target = (
        GeminiEmbeddings(),
        EmbedRequest("m", ("a", "b")),
        Target("google", "gemini-embedding-001"),
    )
    reader = wire.reader(request, target, wire.build(request, target))
    with pytest.raises(UpstreamError):
        all_of(reader, payload)


@pytest.mark.parametrize(
    "data",
    [
        [{"embedding": [1.0], "index": 0}],
        [{"embedding": [1.0], "index": 0}, {"embedding": [1.0], "index": 0}],
        [{"embedding": [1.0], "index": 0}, {"embedding": [1.0], "index": 5}],
        [{"embedding": [1.0]}, {"embedding": "?"}],
        [{"embedding": [1.0]}, "x"],
    ],
)
def test_a_reply_of_a_server_that_is_not_what_was_asked_for_is_an_error(data: list[Any]) -> None:
    wire, request, target = OpenAIEmbeddings(), EmbedRequest("m", ("a", "b")), Target("lan", "bge")
    reader = wire.reader(request, target, wire.build(request, target))
    with pytest.raises(UpstreamError):
        all_of(reader, {"object": "list", "data": data})


def test_a_server_that_answers_in_base64_or_out_of_order_is_understood() -> None:
    """E-002: some servers send it whatever they are asked."""
    wire, request, target = OpenAIEmbeddings(), EmbedRequest("m", ("a", "b")), Target("lan", "bge")
    packed = base64.b64encode(struct.pack("<2f", 0.5, -2)).decode()
    reader = wire.reader(request, target, wire.build(request, target))
    events = reader.feed(
        {"data": [{"embedding": packed, "index": 1}, {"embedding": [1, 2], "index": 0}], "usage": {}}
    )
    assert [(event.index, list(event.values)) for event in events] == [(1, [0.5, -2]), (0, [1, 2])]  # type: ignore[union-attr]
    assert reader.close() == []


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"prompt_tokens": 5, "total_tokens": 5}, [Usage(5)]),
        ({"total_tokens": 5}, [Usage(5)]),
        ({"prompt_tokens": 5, "total_tokens": 5, "cost": 0.1}, [Usage(5, vendor={"cost": 0.1})]),
        ({"prompt_tokens": 0, "total_tokens": 0}, []),
        (None, []),
        ("odd", []),
    ],
)
def test_whatever_a_server_counts_is_of_the_texts(counts: Any, expected: list[Usage]) -> None:
    """E-006: what it does not count is estimated elsewhere."""
    wire, request, target = OpenAIEmbeddings(), EmbedRequest("m", ("a",)), Target("lan", "bge")
    reader = wire.reader(request, target, wire.build(request, target))
    _, *told = reader.feed({"data": [{"embedding": [1.0]}], "usage": counts})
    assert told == expected


def test_on_vertex_they_are_refused() -> None:
    target = Target("vertex", "gemini-embedding-001", options={"kind": "vertex"})
    with pytest.raises(RequestError, match="on Vertex"):
        GeminiEmbeddings().build(EmbedRequest("m", ("a",)), target)
