"""The simulators remember what they were asked, and their memory is bounded in bytes."""

from decimal import Decimal

import orjson

from proxy.simulators.exchange import KEPT_BYTES, Exchange, Log
from proxy.simulators.ledger import Ledger


def exchange(raw: bytes) -> Exchange:
    return Exchange("google", "POST", "/x", {}, {}, raw)


def kept_bytes(log: Log) -> int:
    return sum(len(orjson.dumps(each.body)) for each in log.exchanges())


def test_the_oldest_bodies_go_when_there_is_no_room() -> None:
    log = Log()
    raw = orjson.dumps({"words": ["word" * 1000] * 1050})  # 4.2 MB that no digest makes shorter
    for _ in range(20):
        one = exchange(raw)
        log.add(one)
        log.keep(one)
    bodies = [each.body for each in log.exchanges()]
    assert len(bodies) == 20
    assert log.counts["google.requests"] == 20
    assert kept_bytes(log) <= KEPT_BYTES
    assert bodies[0] == f"<{len(raw)} bytes, no longer kept>"
    assert bodies[-1] == orjson.loads(raw)
    assert sum(isinstance(body, dict) for body in bodies) == KEPT_BYTES // len(raw)


def test_many_small_bodies_are_kept_as_they_came() -> None:
    log = Log()
    for number in range(2100):
        one = exchange(b'{"n":%d}' % number)
        log.add(one)
        log.keep(one)
    assert [each.body for each in log.exchanges()] == [{"n": number} for number in range(100, 2100)]


def test_a_long_string_counts_by_its_digest() -> None:
    log = Log()
    for _ in range(10):
        one = exchange(orjson.dumps({"data": "A" * (10 << 20)}))
        log.add(one)
        log.keep(one)
    assert {each.body["data"][:21] for each in log.exchanges()} == {"<10485760 characters,"}


def test_a_reset_log_has_room_again() -> None:
    log = Log()
    raw = orjson.dumps(["word" * 1000] * 10_000)  # of two there is not room
    log.keep(exchange(raw))
    log.reset()
    one = exchange(raw)
    log.add(one)
    log.keep(one)
    assert len(one.body) == 10_000


def test_a_long_prompt_is_found_by_its_digest() -> None:
    ledger = Ledger()
    long = "a cat " * 100_000
    task = ledger.reserve("fal", "t1", long, Decimal(1), "USD")
    ledger.reserve("fal", "t2", long + "!", Decimal(1), "USD")
    assert len(task.prompt) < 200
    assert ledger.tasks(prompt=long) == [task]
    assert len(ledger.shown()["submits"]) == 2
