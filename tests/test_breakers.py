"""Targets that failed several times in a row rest; a share of the traffic may be tried again."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from proxy.errors import ErrorClass, UpstreamError
from proxy.routing.attempts import Attempts, Candidate
from proxy.routing.breakers import Breakers
from proxy.routing.budget import RetryBudget
from proxy.routing.keys import KeyPool, Rests
from proxy.types import Target
from proxy.upstream import Account, Deadlines, Static
from tests.gateway import KEY, Gateway, open_gateway
from tests.raw_http import chat


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock, name: str = "a/m") -> Breakers:
    """With a target that rests since now."""
    breakers = Breakers(clock)
    for _ in range(5):
        breakers.told(name, "ill", 0.1)
    return breakers


def candidates(clock: Clock, *providers: str) -> list[Candidate]:
    rests = Rests(clock)
    return [
        Candidate(
            Target(name, "m"), KeyPool([Account(name, f"http://{name}", Static(()))], rests), Deadlines()
        )
        for name in providers
    ]


def first(breakers: Breakers, targets: list[Candidate]) -> str:
    return Attempts(targets, 3, breakers).first().target.provider


def test_five_failures_in_a_row_make_a_target_rest() -> None:
    clock = Clock()
    breakers, targets = Breakers(clock), candidates(clock, "a", "b")
    for _ in range(4):
        breakers.told("a/m", "ill", 0.1)
    assert first(breakers, targets) == "a"
    breakers.told("a/m", "ill", 0.1)
    assert first(breakers, targets) == "b"


@pytest.mark.parametrize("between", ["well", "long ago"])
def test_failures_with_something_between_them_are_not_in_a_row(between: str) -> None:
    clock = Clock()
    breakers = Breakers(clock)
    for _ in range(4):
        breakers.told("a/m", "ill", 0.1)
    if between == "well":
        breakers.told("a/m", "well", 0.1)
    else:
        clock.now += 61
    breakers.told("a/m", "ill", 0.1)
    assert breakers.admits("a/m")


def test_a_refusal_of_the_request_says_nothing_of_the_target() -> None:
    breakers = Breakers(Clock())
    for _ in range(50):
        breakers.told("a/m", "unknown", 0.1)
    assert breakers.known == {}


def test_the_first_to_ask_after_a_rest_is_let_in_alone() -> None:
    clock = Clock()
    breakers = opened(clock)
    clock.now += 4.9
    assert not breakers.admits("a/m")
    clock.now += 0.2
    assert [breakers.admits("a/m") for _ in range(3)] == [True, False, False]
    clock.now += 1
    breakers.told("a/m", "well", 0.5)
    assert breakers.known == {}


def test_each_rest_is_twice_as_long_up_to_two_minutes() -> None:
    clock = Clock()
    breakers = opened(clock)
    rests = []
    for _ in range(7):
        rests.append(breakers.wait_s("a/m"))
        clock.now += rests[-1]
        assert breakers.admits("a/m")
        breakers.told("a/m", "ill", 0.0)
    assert rests == [5, 10, 20, 40, 80, 120, 120]


def test_what_began_before_a_rest_says_nothing_about_it() -> None:
    """Many are on their way when a vendor falls: each of them would double the rest, or end it."""
    clock = Clock()
    breakers = opened(clock)
    clock.now += 1
    breakers.told("a/m", "ill", 2.0)
    breakers.told("a/m", "well", 2.0)
    assert breakers.wait_s("a/m") == 4
    clock.now += 4
    assert breakers.admits("a/m")
    breakers.told("a/m", "ill", 3.0)
    assert [state for _, state, _ in breakers.states()] == ["probing"]


@pytest.mark.parametrize(("told", "wait_s"), [(True, 0), (False, 60)])
def test_a_probe_that_learns_nothing_leaves_the_place_to_the_next(told: bool, wait_s: float) -> None:
    clock = Clock()
    breakers = opened(clock)
    clock.now += 5
    assert breakers.admits("a/m")
    if told:
        breakers.told("a/m", "unknown", 0.0)
    assert breakers.wait_s("a/m") == wait_s
    clock.now += wait_s
    assert [breakers.admits("a/m"), breakers.admits("a/m")] == [True, False]


def test_a_rest_that_is_over_is_none_to_wait_for() -> None:
    clock = Clock()
    breakers = opened(clock)
    clock.now += 6
    assert breakers.wait_s("a/m") == 0.0
    assert list(breakers.states()) == [("a/m", "resting", 0.0)]


def test_never_all_targets_are_out() -> None:
    clock = Clock()
    breakers = opened(clock)
    assert first(breakers, candidates(clock, "a")) == "a"
    clock.now += 1
    for _ in range(5):
        breakers.told("b/m", "ill", 0.1)
    assert first(breakers, candidates(clock, "b", "a")) == "a"


def test_a_target_whose_keys_all_rest_does_not_use_up_its_probe() -> None:
    clock = Clock()
    breakers, targets = opened(clock), candidates(clock, "a", "b")
    clock.now += 5
    targets[0].keys.rest(0, "m", 10)
    assert first(breakers, targets) == "b"
    clock.now += 10
    assert [first(breakers, targets), first(breakers, targets)] == ["a", "b"]


def test_names_without_end_are_not_kept() -> None:
    breakers = Breakers(Clock())
    most = 0
    for number in range(25_000):
        breakers.told(f"a/{number}", "ill", 0.1)
        most = max(most, len(breakers.known))
    assert most == 10_000


def test_room_for_new_names_is_made_by_those_that_failed_long_ago() -> None:
    clock = Clock()
    breakers = Breakers(clock)
    for number in range(9_998):
        breakers.told(f"a/{number}", "ill", 0.1)
    clock.now += 121
    for _ in range(5):
        breakers.told("b/m", "ill", 0.1)
    for newcomer in ("c/m", "d/m"):
        breakers.told(newcomer, "ill", 0.1)
    assert list(breakers.known) == ["b/m", "c/m", "d/m"]
    assert not breakers.admits("b/m")


# --- the budget


def spent(budget: RetryBudget, most: int = 1000) -> int:
    """How often it is allowed now."""
    for count in range(most):
        if not budget.allows():
            return count
        budget.spend()
    return most


@pytest.mark.parametrize(
    ("share", "requests", "retries"), [(0.2, 1, 30), (0.2, 1000, 200), (0.5, 100, 50), (0.0, 1000, 0)]
)
def test_a_share_of_the_requests_may_be_tried_again(share: float, requests: int, retries: int) -> None:
    budget = RetryBudget(share, Clock())
    for _ in range(requests):
        budget.asked()
    assert spent(budget) == retries


@pytest.mark.parametrize(("passed", "retries"), [(9, 0), (10, 30), (1e9, 30)])
def test_the_budget_is_that_of_ten_seconds(passed: float, retries: int) -> None:
    clock = Clock()
    budget = RetryBudget(0.2, clock)
    assert spent(budget) == 30
    clock.now += passed
    assert spent(budget) == retries


def test_the_requests_of_each_second_count_for_ten() -> None:
    clock = Clock()
    budget = RetryBudget(0.5, clock)
    for second in range(12):
        clock.now = 1000.0 + second
        for _ in range(100 if second < 2 else 20):
            budget.asked()
    assert spent(budget) == 100


def tries_of(error: ErrorClass, budget: RetryBudget) -> int:
    attempts = Attempts(candidates(Clock(), "a", "b"), 10, budget=budget)
    attempt, count = attempts.first(), 1
    while (following := attempts.failed(attempt, UpstreamError(error, "no"))) is not None:
        attempt, count = following, count + 1
    return count


def test_a_spent_budget_ends_a_request_with_its_first_try() -> None:
    budget = RetryBudget(0.2, Clock())
    assert tries_of(ErrorClass.OVERLOADED, budget) == 4
    spent(budget)
    assert tries_of(ErrorClass.OVERLOADED, budget) == 1
    assert budget.refused == 2


def test_each_request_adds_to_the_budget() -> None:
    budget = RetryBudget(0.2, Clock())
    for _ in range(200):
        Attempts(candidates(Clock(), "a"), 3, budget=budget).first()
    assert spent(budget) == 40


def test_each_try_after_the_first_takes_its_part_of_the_budget() -> None:
    budget = RetryBudget(0.2, Clock())
    assert tries_of(ErrorClass.OVERLOADED, budget) == 4
    assert spent(budget) == 27


def test_a_model_that_is_not_there_costs_no_budget() -> None:
    assert tries_of(ErrorClass.NOT_FOUND, RetryBudget(0.0, Clock())) == 2


def test_a_change_of_the_request_costs_no_budget() -> None:
    attempts = Attempts(candidates(Clock(), "a"), 1, budget=RetryBudget(0.0, Clock()))
    error = UpstreamError(ErrorClass.BAD_REQUEST, "no")
    assert attempts.failed(attempts.first(), error, "without seed") is not None


# --- through the door

FILE = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
defaults: {retry: {budget: BUDGET}}
providers:
  google: {wire: gemini, base_url: "http://SIMULATORS/gemini/v1beta", keys: [env:FIRST_KEY], private: true}
  lan: {wire: openai, base_url: "http://SIMULATORS/openai/v1", keys: [env:LAN_KEY], private: true}
models:
  both: {targets: [google/gemini-2.5-flash, lan/llama]}
  alone: {targets: [google/gemini-2.5-flash]}
"""


def asked(gateway: Gateway, model: str) -> tuple[int, list[str]]:
    """The status of a chat, and the vendors that saw it."""
    before = len(gateway.sent())
    headers = {"authorization": f"Bearer {KEY}"}
    reply = gateway.http.post(
        f"{gateway.base_url}/v1/chat/completions", json=chat("Hi", model), headers=headers
    )
    return reply.status_code, [exchange.vendor for exchange in gateway.sent()[before:]]


def states(gateway: Gateway) -> dict[str, str]:
    reply = httpx.get(f"{gateway.base_url}/readyz", headers={"x-api-key": KEY})
    return dict(reply.json()["providers"])


def test_a_vendor_that_is_down_is_left_alone_and_readyz_says_so(tmp_path: Path) -> None:
    keys = {"FIRST_KEY": "down-1", "LAN_KEY": "lan"}
    with open_gateway(tmp_path, FILE.replace("BUDGET", "20%"), keys) as own:
        assert states(own) == {"google": "on", "lan": "on"}
        for _ in range(3):
            status, vendors = asked(own, "both")
            assert (status, vendors[-1]) == (200, "openai")
        assert asked(own, "both") == (200, ["openai"])
        assert asked(own, "alone")[0] == 503  # it has nobody else
        resting = states(own)
    assert resting["google"].startswith("resting: gemini-2.5-flash for ")
    assert resting["lan"] == "on"


def test_readyz_says_for_which_model_all_keys_of_a_vendor_rest(tmp_path: Path) -> None:
    keys = {"FIRST_KEY": "spent-1", "LAN_KEY": "spent-2"}
    with open_gateway(tmp_path, FILE.replace("BUDGET", "20%"), keys) as own:
        assert asked(own, "alone") == (429, ["google"])
        first = states(own)
        assert asked(own, "both") == (429, ["openai"])
        second = states(own)
    assert first["google"].startswith("resting: gemini-2.5-flash for 3")
    assert first["lan"] == "on"
    assert second["lan"].startswith("resting: llama for ")


def test_a_vendor_with_a_key_that_does_not_rest_is_on() -> None:
    rests = Rests(Clock())
    pool = KeyPool([Account("a", "http://a", identity=name) for name in ("first", "second")], rests)
    pool.rest(0, "m", 30.0)
    assert pool.resting() == {}
    pool.rest(1, "m", 20.0)
    assert pool.resting() == {"m": 20.0}


def test_without_a_budget_nothing_is_tried_again(tmp_path: Path) -> None:
    keys = {"FIRST_KEY": "down-1", "LAN_KEY": "lan"}
    with open_gateway(tmp_path, FILE.replace("BUDGET", "0%"), keys) as own:
        assert asked(own, "both") == (503, ["google"])
