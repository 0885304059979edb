"""Who was refused and asks again too soon waits in a line, which ends when the server leaves."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest

from proxy.serve.protocol import Protocol
from proxy.serve.waiting import WaitingLine
from tests.gateway import KEY
from tests.in_flight import KEPT, Waits, Wire, asked, busy, connected, load_of, opened, turns
from tests.raw_http import RawRequest, chat


async def answered(protocol: Protocol, wire: Wire, count: int = 1) -> None:
    """The upstream is not there, so that is a 502."""
    async with asyncio.timeout(5):
        while wire.written.count(b"HTTP/1.1 502 ") < count or not protocol.cycle.response_complete:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


LARGE = 40_000 * "x"


def in_two(request: bytes) -> list[bytes]:
    """Behind the head."""
    return [request[:150], request[150:]]


def test_who_asks_again_at_once_is_told_again_after_a_second(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked())
            assert (len(load.line.waiting), load.refused) == (0, 1)
            began = time.monotonic()
            protocol.data_received(asked())
            assert (len(load.line.waiting), load.refused) == (1, 1)
            async with asyncio.timeout(5):
                while load.refused < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            assert time.monotonic() - began >= 0.99
            assert (len(load.line.waiting), wire.written.count(b"HTTP/1.1 503 ")) == (0, 2)

    asyncio.run(run())


@pytest.mark.parametrize("prompt", ["Hi", LARGE])
def test_after_a_second_it_may_ask_as_anybody(tmp_path: Path, prompt: str) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked(prompt))
            await asyncio.sleep(1)
            protocol.data_received(asked(prompt))
            assert (wire.paused, len(load.line.waiting), load.refused) == (False, 0, 2)
            await asyncio.sleep(1)
            load.requests = 0
            protocol.data_received(asked(prompt))
            await answered(protocol, wire)

    asyncio.run(run())


@pytest.mark.parametrize(
    "came",
    [
        pytest.param([asked()], id="one"),
        pytest.param(in_two(asked()), id="in parts"),
        pytest.param([asked() + asked()], id="two at once"),
        pytest.param([asked(), asked()], id="two"),
    ],
)
def test_who_waits_is_answered_when_there_is_room(tmp_path: Path, came: list[bytes]) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked())
            for part in came:
                protocol.data_received(part)
            assert (len(load.line.waiting), load.refused, load.coming) == (1, 1, 0)
            load.leave(0, begun=True)
            await answered(protocol, wire, b"".join(came).count(b"POST "))
            assert (wire.paused, len(load.line.waiting), load.refused) == (False, 0, 1)

    asyncio.run(run())


@pytest.mark.parametrize(
    "came",
    [
        pytest.param([asked(LARGE)], id="at once"),
        pytest.param(in_two(asked(LARGE)), id="in parts"),
        pytest.param([asked(LARGE)[at : at + 9_000] for at in range(0, 45_000, 9_000)], id="in small parts"),
        pytest.param([asked(), asked(LARGE)], id="behind another"),
    ],
)
def test_who_says_much_again_is_not_read_before_there_is_room(tmp_path: Path, came: list[bytes]) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked())
            for part in came:
                protocol.data_received(part)
            assert wire.paused
            assert load.refused == 1 + b"".join(came).count(b"POST ")
            load.leave(0, begun=True)
            await turns()
            assert not wire.paused
            protocol.data_received(asked(LARGE))
            await answered(protocol, wire)

    asyncio.run(run())


def test_who_waits_longer_than_a_head_may_take_is_heard(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, timeouts="head: 200ms") as (protocol, wire, load):
            protocol.data_received(asked())
            protocol.data_received(asked())
            async with asyncio.timeout(5):
                while load.line.waiting:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            assert (wire.closed, load.refused) == (False, 2)
            async with asyncio.timeout(5):
                while not wire.closed:  # it says no more  # noqa: ASYNC110
                    await asyncio.sleep(0.001)

    asyncio.run(run())


@pytest.mark.parametrize("before", [0, 1], ids=["the first", "behind an answer"])
def test_a_refused_body_may_come_as_slowly_as_any(tmp_path: Path, before: int) -> None:
    async def run() -> None:
        async with connected(tmp_path, 1000 - before, "head: 200ms, idle: 300ms, body: 400ms") as (
            protocol,
            wire,
            load,
        ):
            if before:
                protocol.data_received(asked())
                await answered(protocol, wire)
                load.requests = 1000
            request = asked(LARGE)
            protocol.data_received(request[:150])
            for at in range(150, 20_150, 2_000):
                await asyncio.sleep(0.1)
                protocol.data_received(request[at : at + 2_000])
            assert (wire.closed, load.refused) == (False, 1)
            protocol.data_received(request[20_150:])
            protocol.data_received(asked())
            assert len(load.line.waiting) == 0  # a second has gone by
            assert load.refused == 2

    asyncio.run(run())


@pytest.mark.parametrize("before", ["x" * 900_000, "x" * 300], ids=["a large one", "one long ago"])
def test_how_a_refused_body_comes_says_nothing_of_the_next(tmp_path: Path, before: str) -> None:
    async def run() -> None:
        async with connected(tmp_path, timeouts="body: 300ms") as (protocol, wire, load):
            first = asked(before)
            protocol.data_received(first[:150])
            await asyncio.sleep(0.1)  # it has been looked at
            protocol.data_received(first[150:])
            await asyncio.sleep(1)
            for at in range(0, 4_000, 200):
                protocol.data_received(asked(LARGE)[at : at + 200])
                await asyncio.sleep(0.06)
            assert (wire.closed, load.refused) == (False, 2)

    asyncio.run(run())


def test_a_head_that_speaks_of_a_request_is_one(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(b"POST /v1/chat/completions HTTP/1.1\r\na: ")
            protocol.data_received(asked(LARGE))
            await turns()
            assert load.refused == 1
            assert b"openai-processing-ms" in wire.written, "no endpoint was asked"

    asyncio.run(run())


def test_who_does_not_read_its_refusals_is_not_told_more(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, _):
            protocol.pause_writing()
            protocol.data_received(asked())
            await turns()
            assert wire.written == b""

    asyncio.run(run())


def test_a_refused_body_that_comes_no_more_ends_its_connection(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, timeouts="head: 60s, body: 200ms") as (protocol, wire, _):
            protocol.data_received(asked(LARGE)[:150])
            async with asyncio.timeout(5):
                while not wire.closed:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            assert wire.written.count(b"HTTP/1.1 ") == 1

    asyncio.run(run())


def test_a_connection_is_idle_since_it_was_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, 999, "idle: 400ms") as (protocol, wire, load):
            protocol.data_received(asked())
            await answered(protocol, wire)
            await asyncio.sleep(0.3)
            load.requests = 1000
            protocol.data_received(asked())
            began = time.monotonic()
            async with asyncio.timeout(5):
                while not wire.closed:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            assert time.monotonic() - began >= 0.39

    asyncio.run(run())


def test_the_rest_of_a_refused_body_is_no_second_request(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            for part in in_two(asked(LARGE)):
                protocol.data_received(part)
            assert (wire.paused, len(load.line.waiting), load.refused) == (False, 0, 1)

    asyncio.run(run())


def test_a_line_of_requests_in_one_read_is_too_soon_as_well(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked() * 5)
            assert (wire.paused, len(load.line.waiting), load.refused) == (True, 1, 5)

    asyncio.run(run())


def test_who_says_the_rest_late_keeps_its_place(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            for _ in range(600):  # more than are heard in the first second after they have waited for one
                load.line.join(Waits())
            protocol.data_received(asked())
            first, rest = in_two(asked())
            protocol.data_received(first)
            await asyncio.sleep(1.1)
            protocol.data_received(rest)
            assert protocol in load.line.waiting
            assert wire.written.count(b"HTTP/1.1 503 ") == 1
            async with asyncio.timeout(5):
                while wire.written.count(b"HTTP/1.1 503 ") < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)

    asyncio.run(run())


def test_what_is_always_answered_waits_in_no_line(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked())
            protocol.data_received(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            await turns()
            assert b"HTTP/1.1 200 " in wire.written
            assert not load.line.waiting

    asyncio.run(run())


def test_who_asks_again_when_there_is_room_and_nobody_waits_does_not_wait(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked())
            load.requests = 0
            protocol.data_received(asked())
            assert load.coming == 1
            await answered(protocol, wire)

    asyncio.run(run())


def test_who_waits_is_not_idle(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, timeouts="idle: 1ms") as (protocol, wire, load):
            protocol.data_received(asked())
            protocol.data_received(asked())
            await asyncio.sleep(0.002)
            protocol.timeout_keep_alive_handler()
            assert not wire.closed
            load.leave(0, begun=True)
            await answered(protocol, wire)

    asyncio.run(run())


@pytest.mark.parametrize("requests", [1000, 999])
def test_who_waits_when_the_server_leaves_is_heard_at_once(tmp_path: Path, requests: int) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked())
            protocol.data_received(asked())
            load.requests = requests
            protocol._services.leaving = True
            protocol.shutdown()
            assert not wire.closed
            assert not load.line.waiting
            async with asyncio.timeout(0.9):
                while not wire.closed:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            statuses = re.findall(rb"HTTP/1.1 (\d+) ", wire.written)
            assert statuses == [b"503", b"503" if requests == 1000 else b"502"]

    asyncio.run(run())


@pytest.mark.parametrize("cut", [100, 150], ids=["head", "body"])
def test_a_request_that_comes_when_the_server_leaves_is_its_last(tmp_path: Path, cut: int) -> None:
    async def run() -> None:
        async with connected(tmp_path, 0) as (protocol, wire, _):
            protocol.data_received(asked()[:cut])
            wire.ends[1].send(asked()[cut:])
            protocol._services.leaving = True
            protocol.shutdown()
            assert not wire.closed
            protocol.data_received(asked()[cut:])
            await answered(protocol, wire)
            assert wire.closed

    asyncio.run(run())


def last(request: bytes) -> bytes:
    """It is refused by its head, as the last of its connection."""
    return request.replace(KEY.encode(), b"nobody").replace(b"host: x", b"host: x\r\nexpect: 100-continue")


def test_nothing_is_read_behind_a_last_request_that_was_answered_by_its_head(tmp_path: Path) -> None:
    """Its body has a while to come, however soon the next look is."""

    async def run() -> None:
        async with connected(tmp_path, 0, "head: 400ms") as (protocol, wire, load):
            first, rest = in_two(last(asked()))
            await asyncio.sleep(0.05)
            protocol.data_received(first)
            async with asyncio.timeout(5):
                while b"HTTP/1.1 401 " not in wire.written:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
                began = time.monotonic()
                protocol.data_received(rest + asked())
                assert (load.coming, wire.closed) == (0, False)
                while not wire.closed:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            assert time.monotonic() - began >= 0.08
            assert wire.written.count(b"HTTP/1.1 ") == 1

    asyncio.run(run())


def test_the_body_of_another_request_keeps_no_connection_behind_its_last_answer(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, 0) as (protocol, wire, _):
            protocol.data_received(last(asked()) + last(asked())[:160])
            async with asyncio.timeout(5):
                while b"HTTP/1.1 401 " not in wire.written:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            assert wire.closed
            assert wire.written.count(b"HTTP/1.1 ") == 1

    asyncio.run(run())


@pytest.mark.parametrize("pending", [b"", asked()])
def test_who_is_not_read_when_the_server_leaves_is_read_to_its_end(tmp_path: Path, pending: bytes) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked() * 2)
            assert wire.paused
            wire.ends[1].send(pending)
            protocol._services.leaving = True
            protocol.shutdown()
            assert (wire.paused, len(load.line.waiting), wire.closed) == (False, 0, not pending)

    asyncio.run(run())


@pytest.mark.parametrize("behind", [b"", asked()], ids=["alone", "before another"])
def test_a_body_that_is_answered_by_its_head_still_comes_when_the_server_leaves(
    tmp_path: Path, behind: bytes
) -> None:
    async def run() -> None:
        async with connected(tmp_path, 0) as (protocol, wire, _):
            first, rest = in_two(asked().replace(KEY.encode(), b"nobody"))
            protocol.data_received(first)
            async with asyncio.timeout(5):
                while b"HTTP/1.1 401 " not in wire.written:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            protocol._services.leaving = True
            protocol.shutdown()
            assert not wire.closed
            protocol.data_received(rest + behind)
            assert not wire.closed
            if behind:
                await answered(protocol, wire)
            await turns(1)
            assert wire.closed

    asyncio.run(run())


@pytest.mark.parametrize("behind", [b"", asked()], ids=["alone", "before another"])
@pytest.mark.parametrize("is_early", [False, True])
def test_a_refused_body_still_comes_when_the_server_leaves(
    tmp_path: Path, is_early: bool, behind: bytes
) -> None:
    """To close meanwhile would take the refusal back."""

    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            first, rest = in_two(asked(LARGE))
            protocol.data_received(asked() * is_early + first)
            protocol._services.leaving = True
            protocol.shutdown()
            protocol.data_received(rest[:20_000])
            assert (wire.paused, wire.closed) == (False, False)
            load.requests = 999
            protocol.data_received(rest[20_000:] + behind)
            if behind:
                assert not wire.closed
                await answered(protocol, wire)
            assert wire.closed
            assert load.refused == 1 + is_early

    asyncio.run(run())


def test_who_asks_when_the_server_leaves_is_not_held(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked())
            protocol._services.leaving = True
            protocol.data_received(asked())
            await turns()
            assert not load.line.waiting
            assert wire.written.count(b"HTTP/1.1 503 ") == 2

    asyncio.run(run())


@pytest.mark.parametrize("others", [0, 200])
def test_who_was_answered_goes_behind_those_that_wait(tmp_path: Path, others: int) -> None:
    async def run() -> None:
        async with connected(tmp_path, 999) as (protocol, wire, load):
            for _ in range(others):
                load.line.join(Waits())
            protocol.data_received(asked())
            await answered(protocol, wire)
            protocol.data_received(asked())
            assert (protocol in load.line.waiting) == (others > 0)
            assert load.coming == (others == 0)
            await answered(protocol, wire, 2)
            assert not load.line.waiting

    asyncio.run(run())


def test_who_was_answered_when_nobody_waits_any_more_asks_as_anybody(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, 999) as (protocol, wire, load):
            other = Waits()
            load.line.join(other)
            protocol.data_received(asked())
            load.line.leave(other)
            await answered(protocol, wire)
            load.requests = 1000
            protocol.data_received(asked())
            assert (len(load.line.waiting), load.refused) == (0, 1)

    asyncio.run(run())


def test_a_refused_body_that_looks_like_a_request_is_none(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            request = asked("x" * 500 + "POST " + "y" * 500)
            cut = request.rindex(b"POST ")
            protocol.data_received(request[:cut])
            protocol.data_received(request[cut:])
            assert (len(load.line.waiting), load.refused) == (0, 1)
            load.requests = 0
            protocol.data_received(asked())
            await answered(protocol, wire)

    asyncio.run(run())


def test_who_was_answered_while_others_wait_is_idle_then(tmp_path: Path) -> None:
    """What it sent before its answer is answered too."""

    async def run() -> None:
        async with connected(tmp_path, 999, "idle: 100ms") as (protocol, wire, load):
            load.line.join(Waits())
            protocol.data_received(asked() * 2)
            await answered(protocol, wire, 2)
            async with asyncio.timeout(5):
                while not wire.closed:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)

    asyncio.run(run())


def test_room_that_those_take_who_are_read_already_is_none(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, _, load):
            protocol.data_received(asked())
            protocol.data_received(asked())
            load.leave(0, begun=True)
            load.coming = 1
            await turns()
            assert len(load.line.waiting) == 1
            load.coming = 0  # they were none
            await turns(3)
            assert not load.line.waiting

    asyncio.run(run())


@pytest.mark.parametrize("prompt", ["Hi", LARGE])
def test_who_waits_for_those_that_were_no_work_is_heard_at_once(tmp_path: Path, prompt: str) -> None:
    """Nothing leaves that would tell of room. A large request is refused, and its client heard again."""

    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked())
            load.requests, load.coming = 0, load.bounds.requests
            protocol.data_received(asked(prompt))
            await turns()
            assert len(load.line.waiting) == 1
            load.coming = 0  # they were none
            await turns(3)
            assert (len(load.line.waiting), wire.paused) == (0, False)

    asyncio.run(run())


def test_room_is_for_those_first_that_come_to_be_read_in_the_next_turn(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, _, load):
            protocol.data_received(asked())
            protocol.data_received(asked())
            other = Protocol(protocol.config, protocol.server_state, protocol.app_state)
            other.connection_made(Wire())
            load.leave(0, begun=True)
            asyncio.get_running_loop().call_soon(other.data_received, asked())
            await turns(1)
            assert (load.coming, load.refused) == (1, 1)
            await turns(2)
            assert list(load.line.waiting) == [protocol]
            for end in other.transport.ends:
                end.close()
            other.connection_lost(None)

    asyncio.run(run())


def test_many_that_leave_in_a_turn_are_one_question() -> None:
    async def run() -> int:
        questions = []

        def room() -> int:
            questions.append(1)
            return 0

        line = WaitingLine(room)
        line.join(Waits())
        for _ in range(5):
            line.ask()
        await turns()
        return len(questions)

    assert asyncio.run(run()) == 2  # how many are called, and whether there is more


def test_who_left_while_it_waited_unread_is_not_read(tmp_path: Path) -> None:
    """Its place goes to the next one."""

    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked() * 2)
            assert wire.paused
            wire.ends[1].close()
            following = Waits()
            load.line.join(following)
            load.leave(0, begun=True)
            await following.heard.wait()
            assert wire.closed

    asyncio.run(run())


def test_who_left_is_in_line_no_more(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, _, load):
            protocol.data_received(asked())
            protocol.data_received(asked())
            assert list(load.line.waiting) == [protocol]
            protocol.transport.close()
            load.leave(0, begun=True)
            await turns()
            assert protocol.cycle is None
        assert not load.line.waiting

        async with connected(tmp_path) as (protocol, _, load):
            protocol.data_received(asked())
            protocol.data_received(asked())
        assert not load.line.waiting

    asyncio.run(run())


@pytest.mark.parametrize("count", [3, 30])
def test_a_line_is_heard_after_a_second_and_never_all_at_once(count: int) -> None:
    """Up to ten, 50 times a second."""

    async def run() -> list[int]:
        line = WaitingLine(lambda: 0)
        waits = [Waits() for _ in range(count)]
        began = time.monotonic()
        for one in waits:
            line.join(one)
        left = []
        for last in range(min(count, 10) - 1, count, 10):
            await waits[last].heard.wait()
            assert time.monotonic() - began >= 0.99 + 0.02 * len(left) * 0.9
            left.append(len(line.waiting))
        return left

    assert asyncio.run(run()) == ([0] if count == 3 else [20, 10, 0])


def test_who_joins_later_is_heard_later() -> None:
    async def run() -> None:
        line, first, second = WaitingLine(lambda: 0), Waits(), Waits()
        line.join(first)
        await asyncio.sleep(0.3)
        line.join(second)
        line.join(first)  # it says more, and keeps its place
        await first.heard.wait()
        assert list(line.waiting) == [second]

    asyncio.run(run())


def test_an_impatient_client_is_not_refused_more_often_than_the_line_allows(tmp_path: Path) -> None:
    with opened(tmp_path, "{requests: 1}") as own, RawRequest(own, chat("Hi"), headers=KEPT) as late:
        with busy(own, 1):
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                late.received = b""
                late.send()
                late.until("server_overloaded")
            assert load_of(own).refused == 2  # unpaced it would be thousands
            late.received = b""
            late.send()
            late.until("server_overloaded")
            late.send()  # and one that comes to be read when there is room
        late.until("chat.completion")


def test_a_connection_on_which_a_request_waits_to_be_read_is_not_idle(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, timeouts="idle: 1ms") as (protocol, wire, _):
            wire.ends[1].send(asked())
            await asyncio.sleep(0.002)
            protocol.timeout_keep_alive_handler()
            assert not wire.closed
            assert protocol.timeout_keep_alive_task is not None  # looked at again
            wire.ends[0].recv(65536)
            protocol.timeout_keep_alive_handler()
            assert wire.closed

    asyncio.run(run())


@pytest.mark.parametrize("room", [0, 1, 3])
def test_those_that_come_in_one_turn_of_the_loop_are_counted_before_they_begin(
    tmp_path: Path, room: int
) -> None:
    async def run() -> None:
        async with connected(tmp_path, 1000 - room) as (protocol, _, load):
            others = []
            for _ in range(5):
                other = Protocol(protocol.config, protocol.server_state, protocol.app_state)
                other.connection_made(Wire())
                other.data_received(asked())
                others.append(other)
            assert (load.coming, load.refused) == (room, 5 - room)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert (load.coming, load.requests, load.refused) == (0, 1000, 5 - room)
            for other in others:
                other.transport.ends[0].close()
                other.transport.ends[1].close()
                other.connection_lost(None)

    asyncio.run(run())
