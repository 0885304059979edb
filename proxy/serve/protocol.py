"""uvicorn's HTTP protocol for hostile clients: one without a key costs nothing, and what is no
request is refused in OpenAI's words. It also says at once when a client has hung up.

ASGI tells that only to whoever waits for the next message, which takes a task for each request (about 10 us).
All limits of a connection are kept by one timer, which looks now and then at how far it has come: nothing is
set or cancelled for a request.

Private members of uvicorn are used here, so its version is bounded; tests/test_shell_private.py names them.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from proxy.config.models import Server
from proxy.errors import ProxyError
from proxy.serve import callers, full, refused
from proxy.serve.exchange import BROKEN, GONE, HANG_UP, WIRE, Header, new_id
from proxy.serve.house import HOME, House, Services
from proxy.serve.load import RETRY_AFTER_S, SMALL

_HEAD_BYTES: Final = 64 * 1024  # nginx takes 32 KiB, Node.js 16; one read may bring 256 KiB
_FIELDS: Final = 100
_PIPELINED: Final = 8  # when so many requests wait behind the one that runs, no more are read
_PIPELINED_MOST: Final = 100  # one read may bring thousands
_BYTES_PER_S: Final = 1024  # slower than this is no client, in either direction
_GROWTH: Final = 20  # a body that is held for long comes in by as many parts of itself at least
_HANDED_ON: Final = 16 * 1024  # bytes of a body that are worth waking whoever reads it, before its end
_HELD: Final = 16 * 1024  # bytes of a request that waits in line
_COPIED: Final = 16 * 1024  # bytes: uvloop sends two pieces for 5 us more than one
_LINE_ENDS: Final = 4  # old browsers send one behind a body: no request has begun with it (RFC 9112, 2.2)
_IDLE, _HEAD, _BODY = range(3)  # what is being read
_READABLE: Final = getattr(select, "POLLIN", 0)  # 0 where there is no such thing
_HUNG_UP: Final = getattr(select, "POLLRDHUP", 0)


class _Joined:
    """A transport that keeps the head of a reply until its first bytes follow: one system call and one
    packet, not two. `lines` come at the end of the head, and `end` closes it. What it does not change is the
    transport's own."""

    __slots__ = ("_cycle", "_end", "_head", "_transport", "lines")

    def __init__(self, cycle: RequestResponseCycle, end: Callable[[], None]) -> None:
        self._cycle: RequestResponseCycle | None = cycle  # None once the head is out
        self._end = end
        self._transport = cycle.transport
        self._head: bytes | None = None
        self.lines = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._cycle is None:
            self._transport.write(data)
        elif self._head is not None:
            if len(data) <= _COPIED:
                self._transport.write(self._head + data)
            else:
                self._transport.writelines((self._head, data))
            self._head = self._cycle = None
        elif self._cycle.response_started:
            self._head = b"%b%b\r\n" % (data[:-2], self.lines)
        else:  # an interim answer, 100 Continue
            self._transport.write(data)

    def writelines(self, pieces: Iterable[bytes]) -> None:
        if self._head is not None:
            pieces = (self._head, *pieces)
            self._head = self._cycle = None
        self._transport.writelines(pieces)

    def write_eof(self) -> None:
        self._let_go()
        self._transport.write_eof()

    def close(self) -> None:
        self._let_go()
        self._end()

    def _let_go(self) -> None:
        """Nothing will follow the head."""
        if self._head is not None:
            self.writelines(())


class Protocol(HttpToolsProtocol):
    """`_since` is when what is being read began, and `_mark` how far a slow body or reader had come at a
    moment. `_came` counts all bytes, and `_before` those before the body that comes. `_unused` counts bytes
    that the parser has made nothing of so far: a head, or trailers. `_deaf`: nothing more is read, and the
    connection ends with what is being said. `_piped` are the requests that were sent before the first of them
    was answered. `_skips` are the bytes that are still to come of a request that was refused unread. Whose
    client asks before `_expected` waits in line, with what it `_held` so far."""

    _reading = _IDLE
    _since = 0.0
    _came = 0
    _before = 0
    _unused = 0
    _deaf = False
    _lingers = False
    _mark: tuple[float, int] | None = None
    _timer: asyncio.TimerHandle | None = None
    _piped: list[RequestResponseCycle] | None = None
    _plain_head: bytes | None = None
    _skips = 0
    _expected = 0.0  # when it was told to come back, or when those that wait will have been heard
    _held = b""
    _heard = 0
    _heard_at = 0.0
    _limits: Server
    _services: Services

    # --- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        house: House = self.app_state[HOME].house
        self._services, self._limits = house.services, house.plan.config.server
        self._replies: dict[bytes, bytes] = self.app_state[HOME].replies_when_full
        self.timeout_keep_alive = cast(int, self._limits.timeouts.idle)
        self._since = self.loop.time()
        self._look_again()
        above = len(self.connections) - self._limits.connections
        if above > self._limits.connections // 10:
            transport.abort()
        elif above > 0:
            self._refuse(refused.too_many())

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._services.load.line.leave(self)
        super().connection_lost(exc)
        self.pipeline.clear()
        for cycle in self._piped or (self.cycle,):
            if cycle is not None and not cycle.response_complete:
                _hang_up(cycle)

    def shutdown(self) -> None:
        """No request is begun after this; one whose head is on its way still is, also when the loop has not
        come to read it yet, and a body that was answered before its end still comes: to close now would reset
        it. Who waits in line does not any more."""
        if self._services.load.line.leave(self):
            self.heard_again()
        comes = self._reading == _HEAD or (self._reading == _BODY and not self._is_answering())
        if not comes and not self._is_called():
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing has been read for long, or so it seems: what is refused unread takes no timer, of those in
        line nothing is read, and a body that is read over has limits of its own."""
        is_young = self.loop.time() - self._since < self.timeout_keep_alive
        if is_young or self._skips or self._is_answering() or self._is_called():
            self._wait_for_the_next()
        else:
            super().timeout_keep_alive_handler()

    def _wait_for_the_next(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _is_called(self) -> bool:
        """An idle connection on which something waits to be read."""
        return not self._is_answering() and (bool(self._held) or self._awaits(_READABLE))

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _awaits(self, what: int) -> bool:
        """What the system would tell of the connection, if it were asked."""
        if not what or self.transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket"), what)
        return bool(poll.poll(0))

    # --- what comes in

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        load = self._services.load
        if self._skips or (
            self._reading == _IDLE
            and (  # what `Load.lacks` of a small one, without its call
                self._expected
                or load.requests + load.coming >= load.bounds.requests
                or load.bytes + SMALL > load.bounds.bytes
            )
        ):
            data = self._turned_away(data)
            if not data:
                return
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        if self._reading == _IDLE:
            self._reading, self._since = _HEAD, self.loop.time()
        size = len(data)
        self._came += size
        self._unused += size
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if isinstance(ours := error.__context__, Exception) and not refused.is_theirs(ours):
                self._services.log.crash("connection", ours)
            self._refuse(refused.reason(error))
        else:
            if self._unused > _HEAD_BYTES or len(self.headers or ()) > _FIELDS:
                self._refuse(refused.too_large())

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            self._plain_head = refused.without_upgrade(self.parser.get_method(), self.url, self.headers)
            return
        hosts = 0
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
                raise refused.coding(value)
        if hosts != 1 and (hosts > 1 or self.parser.get_http_version() != "1.0"):
            raise refused.hosts(hosts)
        if self._unused > _HEAD_BYTES or len(self.headers) > _FIELDS:  # a part of it may be the body's
            refused.check_size(self.url, self.headers, _HEAD_BYTES, _FIELDS)
        self._unused = 0
        cast(dict[str, Any], self.scope)[HANG_UP] = None
        before = self.cycle
        super().on_headers_complete()
        self.headers = []  # what follows the body are trailers, and no headers of the request
        self._reading, self._mark, self._before = _BODY, None, self._came
        cycle = self.cycle
        if self._services.leaving:
            cycle.keep_alive = False
        if self.scope["method"] != "HEAD":
            # After a HEAD nothing follows the head.
            cast(Any, cycle).transport = joined = _Joined(cycle, self._end)
            cast(dict[str, Any], self.scope)[WIRE] = joined
        if self.pipeline:
            self._piped = [one for one in (*(self._piped or (before,)), cycle) if not one.response_complete]
            if len(self.pipeline) > _PIPELINED_MOST:
                raise refused.too_many_waiting()
        else:
            self._piped = None
            load = self._services.load
            load.coming += 1
            if load.line.waiting:
                cycle.on_response = self._give_way

    def on_body(self, body: bytes) -> None:
        self._unused = 0
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) < _HANDED_ON:
            return
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._reading != _BODY:  # a head that is read once more, without its upgrade
            return
        self._reading, self._unused = _IDLE, 0
        super().on_message_complete()
        if self.cycle.response_complete:  # the body came behind its answer, and took the timer
            if self._services.leaving:
                self.loop.call_soon(self.shutdown)  # a request behind it may be read already
            else:
                self._wait_for_the_next()
        # A large body stops the reading until somebody asks for the next message, and nobody will: without
        # this the end of the connection would not be seen either.
        if len(self.pipeline) < _PIPELINED:
            self.flow.resume_reading()

    def _stay(self, rest: bytes) -> None:
        """Read the request once more as HTTP/1.1 alone: RFC 9110, 7.8 lets a server overlook an upgrade. The
        parser would take its body for the other protocol's (curl --http2, the JDK's client)."""
        head, self._plain_head = self._plain_head, None
        if head is None:
            self._refuse(refused.reason(None))
            return
        self.parser = httptools.HttpRequestParser(self)
        self._unused = 0
        self.data_received(head + rest)

    # --- what there is no room for

    def _turned_away(self, data: bytes) -> bytes:
        """Refuse the requests in it that there is no room for, and read over them: what is left is for the
        parser. Nothing is logged or timed; `Load` counts them. Who asks before the time it was told waits in
        line: with a small request that is held, or after one more refusal unread."""
        load, is_early = self._services.load, False
        if not self._held and self.loop.time() >= self._expected:
            self._expected = 0.0
        elif self._is_held(data):
            return b""
        data, self._held = self._held + data, b""
        while data:
            if self._skips:
                taken = min(self._skips, len(data))
                self._skips -= taken
                self._came += taken
                data = data[taken:]
                if not self._skips:
                    self._reading = _IDLE
                continue
            if self._is_answering() or self._services.leaving or self.flow.write_paused:
                break
            found = full.plain(data, self._replies)
            if found is None or not load.lacks(found.body) or self._is_stranger(found.key):
                break
            load.refused += 1
            self._skips, self._since = found.size, self.loop.time()
            self._reading, self._mark, self._before = _BODY, None, self._came
            is_early = self._since < self._expected
            self._expected = self._since + RETRY_AFTER_S
            self.transport.write(found.reply.replace(full.NO_ID, new_id().encode()))
        if data:
            return data
        if is_early:
            self.flow.pause_reading()
            self._join_the_line()
        elif self._services.leaving and not self._skips:
            self.transport.close()
        return b""

    def _is_held(self, data: bytes) -> bool:
        load = self._services.load
        if (
            self._skips
            or len(self._held) + len(data) > _HELD
            or not (self._held or data.startswith(b"POST "))
            or not (load.line.waiting or load.lacks(SMALL))
            or self._is_answering()
            or self._services.leaving
        ):
            return False
        self._held += data
        self._join_the_line()
        return True

    def _join_the_line(self) -> None:
        load = self._services.load
        load.line.join(self)
        if load.coming:  # whoever is no work leaves without a word
            load.line.ask()

    def _is_stranger(self, key: Header) -> bool:
        """Strangers are told that they are."""
        house: House = self.app_state[HOME].house
        caller = callers.at_hand([key], house)
        return caller is None or caller is house.plan.keys.open_caller

    def _give_way(self) -> None:
        """A request is answered: those that wait in line are heard before the next one of this connection."""
        self.on_response_complete()
        if self._services.load.line.waiting:
            self._expected = self.loop.time() + RETRY_AFTER_S

    def heard_again(self) -> bool:
        """It is its turn in the line. False when its client is gone: its request is not begun. Of a
        connection that is not read only the system knows."""
        self._expected = 0.0
        if self.flow.read_paused:
            if self._awaits(_HUNG_UP):
                self.transport.abort()
            self.flow.resume_reading()
        if self.transport.is_closing():
            return False
        data, self._held = self._held, b""
        if data:
            self.data_received(data)
        return True

    # --- what is no request

    def _refuse(self, error: ProxyError) -> None:
        """End the connection, with the error if it is its turn: what came before is answered first."""
        if self._deaf or self.transport.is_closing():
            return
        self._deaf = True
        cycle, running = self.cycle, self._is_answering()
        if running:
            cycle.keep_alive = False
        if running and self._reading == _BODY:  # whoever reads the body tells it
            cast(dict[str, Any], cycle.scope)[BROKEN] = error
            cycle.message_event.set()
            return
        request_id, reply = refused.reply(error)
        refused.log(self._services.log, request_id, error)
        if self._reading == _BODY:  # of a request that is answered already
            self.transport.close()
        elif not running:
            self.transport.write(reply)
            self._linger()

    def _end(self) -> None:
        """Close behind an answer, of which the body may still come."""
        if self._reading == _BODY and not self.pipeline:
            self._deaf = True
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Say that nothing follows, and close at the next look, which is a whole one away: who closes while
        the other side still sends takes the reply back (RFC 9112, 9.6)."""
        self._lingers = True
        if self._timer is not None:
            self._timer.cancel()
        self._look_again()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    # --- who is slow

    def _look_again(self) -> None:
        """Often enough to be late by a quarter at most."""
        timeouts = self._limits.timeouts
        after_s = min(timeouts.head, timeouts.body, timeouts.write) / 4
        self._timer = self.loop.call_later(after_s, self._look)

    def _look(self) -> None:
        self._look_again()
        now, timeouts = self.loop.time(), self._limits.timeouts
        if self.transport.is_closing() or self.flow.write_paused:
            self._look_at_reader(now)
        elif self._lingers:
            self.transport.close()
        elif self._reading == _BODY:
            self._look_at_body(now)
        elif self._reading == _HEAD and now - self._since > timeouts.head:
            if self._unused > _LINE_ENDS:
                self._refuse(refused.too_slow("head", timeouts.head))
            else:
                self.transport.close()
        elif self.cycle is None and now - self._since > timeouts.head and not self._is_called():
            self.transport.close()  # it has not said a word

    def _look_at_body(self, now: float) -> None:
        """Nothing for a while, or hardly anything for long: what counts against all others, as a large body
        that is nearly here does, may not be held by a few bytes now and then."""
        cycle = self.cycle
        if self._deaf or self.flow.read_paused or (cycle is not None and cycle.waiting_for_100_continue):
            self._mark = None  # it is we who keep it waiting
            return
        limit_s = self._limits.timeouts.body
        if self._came != self._heard:
            self._heard, self._heard_at = self._came, now
        if self._mark is None:
            self._mark = (now, self._came)
            self._heard_at = now
        began, came = self._mark
        least = max(_BYTES_PER_S * (now - began), (came - self._before) / _GROWTH)
        if now - self._heard_at > limit_s or (now - began > 3 * limit_s and self._came - came < least):
            self._refuse(refused.too_slow("body", limit_s))
        elif now - began > 3 * limit_s:
            self._mark = (now, self._came)

    def _look_at_reader(self, now: float) -> None:
        """A client that takes nothing more is gone, with its task, its upstream and what waits for it."""
        waits = self.transport.get_write_buffer_size()
        if self._mark is None:
            self._mark = (now, waits)
        began, waited = self._mark
        took_s = now - began
        if took_s <= self._limits.timeouts.write:
            return
        if waited - waits < _BYTES_PER_S * took_s:
            self.transport.abort()
        else:
            self._mark = (now, waits)

    def pause_writing(self) -> None:
        self._mark = (self.loop.time(), self.transport.get_write_buffer_size())
        super().pause_writing()

    def resume_writing(self) -> None:
        self._mark = None
        super().resume_writing()


def _hang_up(cycle: RequestResponseCycle) -> None:
    """Tell whoever works on it."""
    cycle.disconnected = True
    cycle.message_event.set()
    scope = cast(dict[str, Any], cycle.scope)
    hang_up, scope[HANG_UP] = scope[HANG_UP], GONE
    if hang_up is not None:
        hang_up()
