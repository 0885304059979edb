"""What is tried after a failure: the table of error classes, cell by cell."""

from dataclasses import replace

import pytest

from proxy.errors import POLICIES, ErrorClass, UpstreamError
from proxy.routing.attempts import Attempt, Attempts, Candidate
from proxy.routing.breakers import Breakers
from proxy.routing.keys import KeyPool, Rests
from proxy.types import Target
from proxy.upstream import Account, Deadlines, Static


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def pool(provider: str, keys: int, clock: Clock) -> KeyPool:
    accounts = [
        Account(provider, f"http://{provider}", Static((("x-key", f"{provider}-{n}"),))) for n in range(keys)
    ]
    return KeyPool(accounts, Rests(clock))


def candidates(clock: Clock) -> list[Candidate]:
    """A provider with two keys, then one with one."""
    return [
        Candidate(Target("a", "m"), pool("a", 2, clock), Deadlines()),
        Candidate(Target("b", "m"), pool("b", 1, clock), Deadlines()),
    ]


def place(attempt: Attempt | None) -> str | None:
    return None if attempt is None else f"{attempt.target.provider}{attempt.key}"


def places(error: UpstreamError, limit: int = 10) -> list[str | None]:
    """Where a request goes that fails the same way everywhere."""
    attempts = Attempts(candidates(Clock()), limit)
    attempt: Attempt | None = attempts.first()
    seen = [place(attempt)]
    while attempt is not None:
        attempt = attempts.failed(attempt, error)
        seen.append(place(attempt))
    return seen[:-1]


# Where a request goes whose every attempt fails with this class: the keys a0 and a1, then b0.
TABLE = {
    ErrorClass.BAD_REQUEST: ["a0"],
    ErrorClass.NOT_FOUND: ["a0", "b0"],
    ErrorClass.AUTH: ["a0", "a1", "b0"],
    ErrorClass.QUOTA: ["a0", "a1", "b0"],
    ErrorClass.RATE_LIMITED: ["a0", "a1", "b0"],
    ErrorClass.OVERLOADED: ["a0", "a0", "a1", "b0", "b0"],
    ErrorClass.UNAVAILABLE: ["a0", "b0"],
    ErrorClass.TIMEOUT: ["a0"],
    ErrorClass.CONNECT: ["a0", "a0", "b0", "b0"],
    ErrorClass.BLOCKED: ["a0"],
    ErrorClass.EMPTY: ["a0", "a0", "b0", "b0"],
    ErrorClass.LOST: ["a0"],
    ErrorClass.CANCELED: ["a0"],
    ErrorClass.INTERNAL: ["a0"],
}


@pytest.mark.parametrize("error_class", list(ErrorClass))
def test_each_error_class_goes_where_its_row_says(error_class: ErrorClass) -> None:
    assert places(UpstreamError(error_class, "no")) == TABLE[error_class]


@pytest.mark.parametrize("error_class", list(ErrorClass))
def test_a_request_that_may_have_been_served_is_never_sent_again(error_class: ErrorClass) -> None:
    assert places(UpstreamError(error_class, "no", bought=True)) == ["a0"]


def test_a_refusal_by_status_is_certain_and_goes_on() -> None:
    assert places(UpstreamError(ErrorClass.INTERNAL, "500", bought=False)) == ["a0", "a0", "b0", "b0"]


def test_the_number_of_attempts_is_limited() -> None:
    assert places(UpstreamError(ErrorClass.OVERLOADED, "no"), limit=3) == ["a0", "a0", "a1"]
    assert places(UpstreamError(ErrorClass.OVERLOADED, "no"), limit=1) == ["a0"]


@pytest.mark.parametrize(
    ("error_class", "limit", "seen"),
    [
        (ErrorClass.CONNECT, 2, ["a0", "b0"]),
        (ErrorClass.CONNECT, 3, ["a0", "a0", "b0"]),
        (ErrorClass.EMPTY, 2, ["a0", "b0"]),
        (ErrorClass.OVERLOADED, 3, ["a0", "a0", "a1"]),
        (ErrorClass.CONNECT, 1, ["a0"]),
    ],
)
def test_the_last_tries_are_for_targets_that_were_not_asked(
    error_class: ErrorClass, limit: int, seen: list[str]
) -> None:
    assert places(UpstreamError(error_class, "no"), limit) == seen


def test_no_try_is_kept_for_a_target_that_rests() -> None:
    """It would not be asked: the request would end with tries left."""
    ill = Breakers(Clock())
    for _ in range(5):
        ill.told("b/m", "ill", 0.0)
    attempts = Attempts(candidates(Clock()), 2, ill)
    first = attempts.first()
    assert attempts.failed(first, UpstreamError(ErrorClass.CONNECT, "no")) == first


def test_no_try_is_kept_for_a_target_whose_keys_all_rest() -> None:
    both = candidates(Clock())
    refused = UpstreamError(ErrorClass.RATE_LIMITED, "later", retry_after_s=30)
    both[1].keys.refused(0, "m", refused)
    attempts = Attempts(both, 2)
    first = attempts.first()
    assert attempts.failed(first, UpstreamError(ErrorClass.CONNECT, "no")) == first


def test_a_busy_target_is_not_asked_again_before_it_said() -> None:
    """A short pause is waited for, thirty seconds are not: another key or target may be free."""
    assert places(UpstreamError(ErrorClass.OVERLOADED, "no", retry_after_s=2)) == TABLE[ErrorClass.OVERLOADED]
    assert places(UpstreamError(ErrorClass.OVERLOADED, "no", retry_after_s=30)) == ["a0", "a1", "b0"]
    assert places(UpstreamError(ErrorClass.RATE_LIMITED, "no", retry_after_s=30)) == ["a0", "a1", "b0"]


def test_a_repair_happens_once_at_the_same_place_and_is_not_counted() -> None:
    """G-066, G-101"""
    attempts = Attempts(candidates(Clock()), 1)
    first = attempts.first()
    refused = UpstreamError(ErrorClass.BAD_REQUEST, "schema")
    second = attempts.failed(first, refused, "schema_form")
    assert second == replace(first, repairs=frozenset({"schema_form"}))
    assert attempts.failed(second, refused, "schema_form") is None


def test_a_vendor_that_always_wants_another_repair_is_not_asked_for_ever() -> None:
    attempts = Attempts(candidates(Clock()), 1)
    attempt: Attempt | None = attempts.first()
    refused = UpstreamError(ErrorClass.BAD_REQUEST, "too large")
    tries = 0
    while attempt is not None:
        tries += 1
        attempt = attempts.failed(attempt, refused, f"at_most:{9999 - tries}")
    assert tries == 9


@pytest.mark.parametrize(
    ("wait_s", "seen"), [(2.0, ["a0", "a0", "a1", "b0", "b0"]), (2.1, ["a0", "a1", "b0"])]
)
def test_a_target_that_wants_more_time_than_a_short_pause_is_left(wait_s: float, seen: list[str]) -> None:
    assert places(UpstreamError(ErrorClass.OVERLOADED, "busy", retry_after_s=wait_s)) == seen


@pytest.mark.parametrize(
    ("error_class", "seen"),
    [(ErrorClass.OVERLOADED, ["a0", "a1", "b0"]), (ErrorClass.CONNECT, ["a0", "a0", "b0", "b0"])],
)
def test_what_is_sold_by_the_piece_is_ordered_twice_only_if_the_first_never_left(
    error_class: ErrorClass, seen: list[str]
) -> None:
    assert places(UpstreamError(error_class, "no", by_piece=True)) == seen


def test_a_target_that_was_passed_over_was_no_try() -> None:
    attempts = Attempts(candidates(Clock()), 1)
    assert place(attempts.first()) == "a0"
    last = attempts.passed_over()
    assert place(last) == "b0"
    assert last is not None
    assert attempts.failed(last, UpstreamError(ErrorClass.CONNECT, "no")) is None


def test_another_round_has_as_many_tries_as_the_first() -> None:
    attempts = Attempts(candidates(Clock()), 2)
    failed = UpstreamError(ErrorClass.UNAVAILABLE, "no")
    attempt = attempts.first()
    for _ in range(2):
        second = attempts.failed(attempt, failed)
        assert second is not None
        assert (attempt.target.provider, second.target.provider) == ("a", "b")
        assert attempts.failed(second, failed) is None
        attempt = attempts.anew()


def test_a_try_with_a_resting_key_is_a_try() -> None:
    clock = Clock()
    resting = candidates(clock)[1:]
    resting[0].keys.rest(0, "m", 30.0)
    attempts = Attempts(resting, 1)
    first = attempts.first()
    assert place(first) == "b0"
    assert attempts.failed(first, UpstreamError(ErrorClass.CONNECT, "no")) is None


def test_rests_that_are_over_make_room_and_others_stay() -> None:
    clock = Clock()
    rests = Rests(clock)
    for number in range(9_999):
        rests.rest(("a", f"m{number}"), 1.0)
    rests.rest(("a", "long"), 60.0)
    clock.now = 2.0
    rests.rest(("a", "new"), 5.0)
    assert (rests.left_s(("a", "long")), rests.left_s(("a", "new")), rests.left_s(("a", "m1"))) == (
        58.0,
        5.0,
        0.0,
    )


def test_keys_are_used_in_turn() -> None:
    both = pool("a", 2, Clock())
    assert [both.pick("m") for _ in range(4)] == [0, 1, 0, 1]


def test_the_turn_of_a_key_that_rests_goes_to_the_one_behind_it() -> None:
    three = pool("a", 3, Clock())
    three.rest(1, "m", 30.0)
    assert [three.pick("m") for _ in range(4)] == [0, 2, 0, 2]


def test_a_refused_key_rests_for_the_vendors_time_and_only_for_that_model() -> None:
    clock = Clock()
    targets = candidates(clock)[:1]
    attempts = Attempts(targets, 10)
    attempts.failed(attempts.first(), UpstreamError(ErrorClass.RATE_LIMITED, "slow down", retry_after_s=30))
    keys = targets[0].keys
    assert [keys.pick("m") for _ in range(2)] == [1, 1]
    assert [keys.pick("other") for _ in range(2)] == [0, 1]
    clock.now = 29.5
    assert [keys.pick("m") for _ in range(2)] == [1, 1]
    clock.now = 31
    assert [keys.pick("m") for _ in range(2)] == [0, 1]


@pytest.mark.parametrize(
    ("error_class", "rest_s"),
    [(ErrorClass.AUTH, 300.0), (ErrorClass.QUOTA, 600.0), (ErrorClass.RATE_LIMITED, 2.0)],
)
def test_where_the_vendor_names_no_time_a_key_rests_as_its_refusal_asks(
    error_class: ErrorClass, rest_s: float
) -> None:
    one = pool("a", 1, Clock())
    one.refused(0, "m", UpstreamError(error_class, "no"))
    assert one.rests_s(0, "m") == rest_s


def test_a_shorter_rest_never_shortens_a_longer_one() -> None:
    clock = Clock()
    one = pool("a", 1, clock)
    one.rest(0, "m", 100)
    one.rest(0, "m", 1)
    clock.now = 50
    assert one.pick("m") is None


def test_when_every_key_rests_the_one_that_wakes_first_is_asked_all_the_same() -> None:
    clock = Clock()
    targets = candidates(clock)
    for candidate, rests in zip(targets, ([40.0, 20.0], [30.0]), strict=True):
        for key, seconds in enumerate(rests):
            candidate.keys.rest(key, "m", seconds)
    assert place(Attempts(targets, 3).first()) == "a1"


# What the client is told: status, and whether its SDK shall try again.
REPLIES = {
    ErrorClass.BAD_REQUEST: (400, False),
    ErrorClass.NOT_FOUND: (404, False),
    ErrorClass.AUTH: (502, False),
    ErrorClass.QUOTA: (429, False),
    ErrorClass.RATE_LIMITED: (429, None),
    ErrorClass.OVERLOADED: (503, None),
    ErrorClass.UNAVAILABLE: (503, None),
    ErrorClass.TIMEOUT: (504, None),
    ErrorClass.CONNECT: (502, None),
    ErrorClass.BLOCKED: (400, False),
    ErrorClass.EMPTY: (502, False),
    ErrorClass.LOST: (502, False),
    ErrorClass.CANCELED: (502, False),
    ErrorClass.INTERNAL: (502, None),
}


@pytest.mark.parametrize("error_class", list(ErrorClass))
def test_each_error_class_tells_the_client_what_its_row_says(error_class: ErrorClass) -> None:
    policy = POLICIES[error_class]
    told = (policy.status, policy.may_repeat)
    assert told == REPLIES[error_class]
