"""What requests come to in the ledger: every try a row, held before it is ordered, settled by what came."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from proxy.store.tables import ledger
from tests.gateway import KEY, Gateway, open_gateway
from tests.picture_vendors import HEAD, providers

MODELS = """
models:
  flash: {targets: [google/gemini-3-flash-preview], price: {input: 0.5, output: 3}}
  lan-chat: {targets: [lan/llama], price: {input: 1, output: 2, currency: EUR}}
  free: {targets: [google/gemini-2.5-flash]}
  lan-free: {targets: [lan/llama]}
  not-yet: {targets: [google/gemini-2.5-flash], price: {input: 0.5, output: 3, from: 2999-01-01}}
  two: {targets: [lan/llama, google/gemini-3-flash-preview], price: {input: 1, output: 1}}
  mixed: {targets: [{use: dead/llama, price: {output: 1}}, {use: lan/llama, price: unpriced}]}
  banana: {targets: [jlike.image/nano-banana-2], price: {image: 0.2}}
  sized: {targets: [jlike.image/nano-banana-2], price: {image: {1K: 0.2, 4K: 0.5}}}
  wan: {targets: [jlike.wan/wan2.7-t2i-plus], price: {image: 0.2}, poll: {every: 30ms}}
  slow-wan: {targets: [jlike.wan/wan2.7-t2i-plus], price: {image: 0.2}, poll: {every: 30ms, give_up: 300ms}}
  dash: {targets: [dashscope/wan2.7-image], price: {image: 0.2}, poll: {every: 30ms}}
  grsai: {targets: [grsai/nano-banana-pro], price: {image: 440}, poll: {every: 30ms}}
  google-pictures:
    targets: [google/gemini-3-pro-image]
    price: {input: 2, output: 12, output_image: 120, image: 0.134}
"""
FILE = (
    HEAD
    + "  lan: {wire: openai, base_url: 'http://SIMULATORS/openai/v1', "
    + "keys: [env:VENDOR_KEY], private: true}\n"
    + "  dead: {wire: openai, base_url: 'http://127.0.0.1:9/v1', keys: [env:VENDOR_KEY], private: true}\n"
    + providers("jlike", extra="private: true, currency: CNY")
    + providers("dashscope", extra="private: true, currency: CNY")
    + providers("grsai", extra="private: true, currency: points")
    + MODELS
).replace(
    "keys: [{name: app, key: env:TEST_KEY}]",
    "keys: [{name: app, key: env:TEST_KEY}, {name: narrow, key: env:TEST_NARROW_KEY}]",
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("ledger"), FILE) as opened:
        yield opened


def post(gateway: Gateway, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    return gateway.http.post(
        f"{gateway.base_url}/v1/{path}", json=body, headers={"authorization": f"Bearer {KEY}", **headers}
    )


def chat(
    gateway: Gateway, model: str, prompt: str = "Hello", key: str = KEY, **fields: Any
) -> httpx.Response:
    return post(
        gateway,
        "chat/completions",
        {"model": model, "messages": [{"role": "user", "content": prompt}], **fields},
        authorization=f"Bearer {key}",
    )


def draw(gateway: Gateway, model: str, prompt: str, **fields: Any) -> httpx.Response:
    return post(gateway, "images/generations", {"model": model, "prompt": prompt, **fields})


def rows_of(gateway: Gateway, request_id: str, count: int) -> list[dict[str, Any]]:
    """The rows of a request, once there are so many."""
    assert gateway.application.house is not None
    database = gateway.application.house.services.database
    wanted = sa.select(ledger).where(ledger.c.request_id == request_id).order_by(ledger.c.id)
    deadline = time.monotonic() + 10
    while True:
        found = asyncio.run(database.run(lambda connection: connection.execute(wanted).mappings().all()))
        if len(found) >= count or time.monotonic() > deadline:
            assert len(found) == count, found
            return [dict(row) for row in found]
        time.sleep(0.02)


def shown(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [
        tuple(str(row[name]) if isinstance(row[name], Decimal) else row[name] for name in names)
        for row in rows
    ]


MONEY = ("kind", "outcome", "amount", "released", "currency")


def test_a_chat_is_settled_by_its_tokens(house: Gateway) -> None:
    reply = chat(house, "flash")
    usage = reply.json()["usage"]
    (row,) = rows_of(house, reply.headers["x-request-id"], 1)
    cost = Decimal(usage["prompt_tokens"]) * Decimal("0.0000005") + Decimal(
        usage["completion_tokens"]
    ) * Decimal("0.000003")
    assert (row["kind"], row["outcome"], row["amount"], row["currency"]) == ("settle", "ok", cost, "USD")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )
    assert shown([row], "key", "model", "target", "operation", "images", "estimated", "call", "attempt") == [
        ("app", "flash", "google/gemini-3-flash-preview", "chat", 0, False, 0, 1)
    ]
    assert usage["cost"] == float(cost)
    assert usage["cost_currency"] == "USD"
    assert reply.headers["x-proxy-cost"] == f"{cost.normalize():f} USD"


@pytest.mark.parametrize("model", ["free", "not-yet"])
def test_what_has_no_price_is_a_row_without_an_amount(house: Gateway, model: str) -> None:
    reply = chat(house, model)
    (row,) = rows_of(house, reply.headers["x-request-id"], 1)
    assert shown([row], *MONEY) == [("settle", "ok", None, None, "USD")]
    assert row["prompt_tokens"] > 0
    assert "cost" not in reply.json()["usage"]
    assert "x-proxy-cost" not in reply.headers


def test_a_try_that_another_made_good_is_a_row_that_costs_nothing(house: Gateway) -> None:
    reply = chat(house, "two", "sim:fail-once:503")
    found = rows_of(house, reply.headers["x-request-id"], 2)
    assert reply.status_code == 200, reply.text
    assert [(row["attempt"], row["target"], row["outcome"]) for row in found] == [
        (1, "lan/llama", "overloaded"), (2, "lan/llama", "ok"),
    ]  # fmt: skip
    assert (found[0]["amount"], found[0]["prompt_tokens"]) == (Decimal(0), 0)
    assert found[1]["amount"] > 0


def test_what_an_unpriced_target_answered_is_not_told_to_cost_nothing(house: Gateway) -> None:
    reply = chat(house, "mixed")
    found = rows_of(house, reply.headers["x-request-id"], 3)
    assert shown(found, "target", "outcome", "amount") == [
        ("dead/llama", "connect", "0"),
        ("dead/llama", "connect", "0"),
        ("lan/llama", "ok", None),
    ]
    assert "x-proxy-cost" not in reply.headers
    assert "cost" not in reply.json()["usage"]


def test_a_picture_is_held_before_it_is_ordered_and_settled_after(house: Gateway) -> None:
    reply = draw(house, "banana", "a cat")
    found = rows_of(house, reply.headers["x-request-id"], 2)
    assert shown(found, *MONEY) == [
        ("hold", "ordered", "0.2", None, "CNY"),
        ("settle", "ok", "0.2", "0.2", "CNY"),
    ]
    assert shown(found, "vendor_amount", "vendor_unit", "images") == [(None, None, 0), ("0.2", "CNY", 1)]
    assert reply.json()["usage"]["cost"] == 0.2
    assert reply.headers["x-proxy-cost"] == "0.2 CNY"


def test_a_streamed_picture_is_held_before_it_is_ordered_too(house: Gateway) -> None:
    reply = draw(house, "banana", "a cat", stream=True)
    found = rows_of(house, reply.headers["x-request-id"], 2)
    assert shown(found, *MONEY) == [
        ("hold", "ordered", "0.2", None, "CNY"),
        ("settle", "ok", "0.2", "0.2", "CNY"),
    ]


def test_settled_by_what_came_and_not_by_what_was_asked(house: Gateway) -> None:
    reply = draw(house, "dash", "sim:partial cats", n=2)
    found = rows_of(house, reply.headers["x-request-id"], 2)
    assert shown(found, "kind", "amount", "released", "vendor_amount", "images") == [
        ("hold", "0.4", None, None, 0), ("settle", "0.2", "0.4", None, 1),
    ]  # fmt: skip


def test_a_size_has_its_price(house: Gateway) -> None:
    reply = draw(house, "sized", "a wall", size="4096x4096")
    found = rows_of(house, reply.headers["x-request-id"], 2)
    assert shown(found, "kind", "amount") == [("hold", "0.5"), ("settle", "0.5")]


def test_a_failure_is_refunded_in_full(house: Gateway) -> None:
    reply = draw(house, "wan", "sim:fail:UPSTREAM_ERROR")
    assert reply.status_code == 502
    found = rows_of(house, reply.headers["x-request-id"], 2)
    assert [row["kind"] for row in found] == ["hold", "refund"]
    assert shown(found, "amount", "released") == [("0.2", None), ("0.2", "0.2")]


def test_a_refusal_is_refunded_in_full(house: Gateway) -> None:
    reply = draw(house, "banana", "sim:moderate")
    found = rows_of(house, reply.headers["x-request-id"], 2)
    assert shown(found, *MONEY) == [
        ("hold", "ordered", "0.2", None, "CNY"), ("refund", "blocked", "0.2", "0.2", "CNY"),
    ]  # fmt: skip


def test_what_was_made_and_cannot_be_had_is_refunded_beside_what_the_vendor_took(house: Gateway) -> None:
    reply = draw(house, "wan", "sim:file:404")
    assert reply.json()["error"]["code"] == "upstream_result_unavailable"
    found = rows_of(house, reply.headers["x-request-id"], 2)
    assert shown(found, "kind", "amount", "released", "vendor_amount", "vendor_unit", "images") == [
        ("hold", "0.2", None, None, None, 0),
        ("refund", "0.2", "0.2", "0.2", "CNY", 0),
    ]


def test_what_nobody_knows_stays_held(house: Gateway) -> None:
    reply = draw(house, "slow-wan", "sim:slow:30")
    assert reply.status_code == 504
    found = rows_of(house, reply.headers["x-request-id"], 2)
    assert shown(found, *MONEY) == [
        ("hold", "ordered", "0.2", None, "CNY"), ("uncertain", "timeout", None, None, "CNY"),
    ]  # fmt: skip


@pytest.mark.parametrize("order", ["sim:drop", "sim:cut:1"])
def test_an_order_that_went_out_and_was_not_answered_stays_held(house: Gateway, order: str) -> None:
    """By talk as by a job: the vendor may have sold it."""
    reply = draw(house, "google-pictures", f"A cat {order}")
    found = rows_of(house, reply.headers["x-request-id"], 2)
    assert shown(found, *MONEY) == [
        ("hold", "ordered", "0.134", None, "USD"), ("uncertain", "internal", None, None, "USD"),
    ]  # fmt: skip


def test_calls_side_by_side_are_told_apart(house: Gateway) -> None:
    reply = draw(house, "google-pictures", "four cats", n=3)
    found = rows_of(house, reply.headers["x-request-id"], 6)
    assert sorted((row["call"], row["kind"]) for row in found) == [
        (call, kind) for call in range(3) for kind in ("hold", "settle")
    ]
    total = sum(row["amount"] for row in found if row["kind"] == "settle")
    assert reply.headers["x-proxy-cost"] == f"{total.normalize():f} USD"
    assert reply.json()["usage"]["cost"] == float(total)


@pytest.mark.parametrize("ending", ["abandoned", "internal"])
@pytest.mark.parametrize(("model", "priced"), [("lan-chat", True), ("flash", True), ("lan-free", False)])
def test_a_stream_that_breaks_off_is_metered_by_what_was_seen(
    house: Gateway, model: str, priced: bool, ending: str
) -> None:
    """Its client left, or its upstream."""
    pace = "sim:gap:20" if ending == "abandoned" else "sim:cut:5"
    body = {
        "model": model,
        "stream": True,
        "messages": [{"role": "user", "content": f"sim:chunks:200 {pace} Tell"}],
    }
    with house.http.stream(
        "POST",
        f"{house.base_url}/v1/chat/completions",
        json=body,
        headers={"authorization": f"Bearer {KEY}"},
    ) as reply:
        lines = reply.iter_lines()
        while "content" not in next(lines):
            pass
        if ending != "abandoned":
            assert any("error" in line for line in lines)
    (row,) = rows_of(house, reply.headers["x-request-id"], 1)
    assert (row["outcome"], row["estimated"]) == (ending, True)
    assert row["prompt_tokens"] > 0
    assert row["completion_tokens"] > 0
    assert (row["amount"] or 0) > 0 if priced else row["amount"] is None


def test_the_last_chunk_of_a_stream_tells_the_cost(house: Gateway) -> None:
    reply = chat(house, "flash", stream=True, stream_options={"include_usage": True})
    chunks = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
    (row,) = rows_of(house, reply.headers["x-request-id"], 1)
    assert chunks[-1]["usage"]["cost"] == float(row["amount"])
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


def test_openai_python_reads_the_cost(house: Gateway) -> None:
    answer = house.client().chat.completions.create(
        model="flash", messages=[{"role": "user", "content": "Hello"}]
    )
    assert answer.usage is not None
    assert answer.usage.model_extra is not None
    assert isinstance(answer.usage.model_extra["cost"], float)
    picture = house.client().images.generate(model="banana", prompt="a cat")
    assert picture.usage is not None
    assert picture.usage.model_extra == {
        "cost": 0.2,
        "cost_currency": "CNY",
        "vendor": picture.usage.model_extra["vendor"],
    }  # type: ignore[index]


# --- against the vendors' own books

# What happens to an order; all of it is known when the client has its answer.
ORDERS = (
    *("a cat",) * 6, "sim:moderate", "sim:fail:UPSTREAM_ERROR", "sim:http:503", "sim:http:429", "sim:noimage",
    "sim:partial two cats", "sim:polls:3", "sim:poll-fail:2", "sim:poll-fail:1:html", "sim:slow:0.2",
    "sim:shape:h", "sim:form:url",
)  # fmt: skip


def test_the_ledger_adds_up_to_the_invoices(store_address: str, tmp_path: Path) -> None:
    """Mixed orders with faults, side by side: per currency not a unit more or less than the vendors took."""
    file = f'{FILE}server: {{state: "{store_address}", files: {{folder: "{tmp_path}/files"}}}}\n'
    with open_gateway(tmp_path, file) as gateway, ThreadPoolExecutor(6) as pool:
        jobs = [(model, order, 1 + number % 3) for model in ("banana", "wan", "grsai", "dash")
                for number, order in enumerate(ORDERS)]  # fmt: skip
        for answer in pool.map(lambda job: draw(gateway, job[0], job[1], n=job[2]), jobs):
            assert answer.status_code in (200, 400, 404, 429, 502, 503), answer.text
        invoices: Counter[str] = Counter()
        for task in gateway.vendors.log.ledger.tasks():
            assert task.closed
            invoices[task.unit] += task.amount("settle")  # type: ignore[assignment]
        house = gateway.application.house
        assert house is not None
        asyncio.run(house.services.ledger.close())
        database = house.services.database
        found = asyncio.run(
            database.run(lambda connection: connection.execute(sa.select(ledger)).mappings().all())
        )
    made: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for row in found:
        made[row["currency"]] += row["amount"] if row["kind"] == "settle" else 0
        held[row["currency"]] += (row["amount"] if row["kind"] == "hold" else 0) - (row["released"] or 0)
    assert made == invoices
    assert set(made) == {"CNY", "points"}
    assert set(held.values()) == {0}
    tries = {(row["request_id"], row["call"], row["attempt"]) for row in found}
    assert len(found) == 2 * len(tries)
