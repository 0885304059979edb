"""One connection to a vendor: what counts as an answer, however its bytes are cut, and when another may
follow."""

import asyncio
import gzip
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from proxy.types import Slice
from proxy.upstream import asking
from proxy.upstream.line import Answer, BrokenHttpError, ClosedError, Line
from proxy.upstream.transport import Progress

pytestmark = pytest.mark.anyio

REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Wire(asyncio.Transport):
    """What the loop would give a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reads = True
        self.aborted = False

    def write(self, data: object) -> None:
        assert isinstance(data, bytes | memoryview)
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        assert self.reads
        self.reads = False

    def resume_reading(self) -> None:
        assert not self.reads
        self.reads = True

    def get_write_buffer_size(self) -> int:
        return 0


class Connection:
    def __init__(self) -> None:
        self.freed = 0
        self.lost = 0
        self.line = Line(self._freed, self._lost)
        self.wire = Wire()
        self.line.connection_made(self.wire)

    def _freed(self, line: Line) -> None:
        assert line is self.line
        self.freed += 1

    def _lost(self, line: Line) -> None:
        self.lost += 1

    def ask(self) -> Answer:
        return self.line.ask(REQUEST, whole=True)

    def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            if not self.wire.aborted:
                self.line.data_received(piece)

    def end(self) -> None:
        """The vendor closes, in good manners."""
        self.line.eof_received()
        self.line.connection_lost(None)


async def read_all(answer: Answer, expected: bytes) -> None:
    """Nothing comes that is not expected."""
    await _begun(answer)
    seen = b""
    while chunk := await answer.read(1):
        seen += chunk
        assert expected.startswith(seen)


async def _begun(answer: Answer) -> None:
    while not answer.begun:
        await answer.more()


async def body_of(answer: Answer) -> bytes:
    body = b""
    while chunk := await answer.read(1 << 20):
        body += chunk
    return body


WHOLE: list[tuple[str, bytes, int, bytes]] = [
    ("length", OK + b"content-length: 5\r\n\r\nhello", 200, b"hello"),
    (
        "chunks",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5;x=1\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
        200,
        b"hello!",
    ),
    (
        "trailers",
        CHUNKED + b"2\r\nhi\r\n0\r\ncontent-encoding: br\r\n\r\n",
        200,
        b"hi",
    ),
    ("nothing", b"HTTP/1.1 204 No\r\n\r\n", 204, b""),
    ("interim", b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + OK + b"content-length: 2\r\n\r\nhi", 200, b"hi"),
    (
        "two interims",
        b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 404 No\r\ncontent-length: 1\r\n\r\n!",
        404,
        b"!",
    ),
]


@pytest.mark.parametrize(("raw", "status", "body"), [row[1:] for row in WHOLE], ids=[row[0] for row in WHOLE])
async def test_an_answer_is_read_the_same_however_its_bytes_are_cut(
    raw: bytes, status: int, body: bytes
) -> None:
    for cut in range(1, len(raw)):
        for pieces in ((raw[:cut], raw[cut:]), [raw[at : at + cut] for at in range(0, len(raw), cut)]):
            connection = Connection()
            answer = connection.ask()
            connection.feed(*pieces)
            await _begun(answer)
            assert (answer.status, await body_of(answer), answer.is_over) == (status, body, True)
            assert (connection.freed, connection.wire.aborted) == (1, False)


@pytest.mark.parametrize(("raw", "body"), [(row[1], row[3]) for row in WHOLE], ids=[row[0] for row in WHOLE])
async def test_an_answer_that_is_cut_anywhere_is_never_taken_for_a_whole_one(raw: bytes, body: bytes) -> None:
    for cut in range(len(raw)):
        connection = Connection()
        answer = connection.ask()
        connection.feed(raw[:cut])
        connection.end()
        with pytest.raises(ClosedError):
            await read_all(answer, body)
        assert connection.freed == 0
        assert connection.lost == 1


def packed(text: bytes) -> bytes:
    body = gzip.compress(text, mtime=0)
    return OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body


async def unpacked(answer: Answer) -> bytes:
    await _begun(answer)
    return await body_of(answer)


async def test_a_packed_answer_is_read_the_same_however_its_bytes_are_cut() -> None:
    text = b'{"words": "some words, and some more words"}'
    raw = packed(text)
    for cut in range(1, len(raw)):
        for pieces in ((raw[:cut], raw[cut:]), [raw[at : at + cut] for at in range(0, len(raw), cut)]):
            connection = Connection()
            answer = connection.ask()
            reading = asyncio.create_task(unpacked(answer))
            for piece in pieces:
                await asyncio.sleep(0)
                connection.feed(piece)
            assert (await reading, answer.is_over) == (text, True)
            assert (connection.freed, connection.wire.aborted) == (1, False)


async def test_a_packed_answer_is_unpacked_piece_by_piece() -> None:
    connection = Connection()
    answer = connection.ask()
    connection.feed(packed(bytes(600_000)))
    await _begun(answer)
    sizes = []
    for _ in range(4):
        assert not answer.is_over, "what was read is still packed"
        sizes.append(len(await answer.read(1 << 20)))
    assert sizes == [262_144, 262_144, 75_712, 0]
    assert answer.is_over


async def test_a_packed_answer_without_its_end_is_not_whole() -> None:
    body = gzip.compress(b"hello", mtime=0)[:-4]
    connection = Connection()
    answer = connection.ask()
    connection.feed(OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    await _begun(answer)
    assert await answer.read(1 << 20) == b"hello"
    for _ in range(2):  # and it stays so
        with pytest.raises(ClosedError, match="gzip: its end is missing"):
            await answer.read(1 << 20)


@pytest.mark.parametrize("head", [OK, b"HTTP/1.0 200 OK\r\n", OK + b"connection: close\r\n"])
async def test_an_answer_without_a_length_ends_with_the_connection(head: bytes) -> None:
    connection = Connection()
    answer = connection.ask()
    connection.feed(head + b"\r\nhel", b"lo")
    assert not answer.is_over
    connection.end()
    assert await body_of(answer) == b"hello"
    assert connection.freed == 0


@pytest.mark.parametrize("reset", [None, ConnectionResetError()])
async def test_an_answer_without_a_length_whose_connection_breaks_is_not_whole(
    reset: ConnectionResetError | None,
) -> None:
    """None is what the loop says when the connection was aborted by us: a deadline, a client that left."""
    connection = Connection()
    answer = connection.ask()
    connection.feed(OK + b"\r\nhello")
    connection.line.connection_lost(reset)
    assert await answer.read(100) == b"hello"
    with pytest.raises(ConnectionError):
        await answer.read(100)


BROKEN: list[tuple[str, bytes]] = [
    ("no status", b"HELLO\r\n\r\n"),
    ("a status that is none", b"HTTP/1.1 abc Fine\r\n\r\n"),
    ("HTTP/0.9", b"<html>hello</html>"),
    ("a NUL in a field", OK + b"x: a\0b\r\n\r\n"),
    ("a length below none", OK + b"content-length: -5\r\n\r\nhello"),
    ("another protocol", b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"),
    ("two lengths", OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\n"),
    ("a length and chunks", OK + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"),
    ("a head without end", OK + b"x: " + b"a" * 200_000),
    ("many fields", OK + b"x: y\r\n" * 30_000),
    ("brotli", OK + b"content-encoding: br\r\ncontent-length: 1\r\n\r\nx"),
]


@pytest.mark.parametrize("raw", [row[1] for row in BROKEN], ids=[row[0] for row in BROKEN])
async def test_what_is_no_answer_is_said_to_be_none_and_ends_the_connection(raw: bytes) -> None:
    connection = Connection()
    answer = connection.ask()
    connection.feed(*(raw[at : at + 1000] for at in range(0, len(raw), 1000)))
    with pytest.raises(BrokenHttpError):
        await _begun(answer)
    assert connection.wire.aborted
    assert connection.freed == 0


@pytest.mark.parametrize("extra", [b"H", b"\r\n\r\nx", OK + b"content-length: 2\r\n\r\nhi", b"\0"])
async def test_what_follows_a_whole_answer_belongs_to_nobody(extra: bytes) -> None:
    for together in (True, False):
        connection = Connection()
        answer = connection.ask()
        raw = OK + b"content-length: 2\r\n\r\nhi"
        connection.feed(*((raw + extra,) if together else (raw, extra)))
        assert await body_of(answer) == b"hi"
        assert connection.wire.aborted


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"connection: close\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
    ],
)
async def test_a_connection_that_the_vendor_will_close_serves_no_other_call(raw: bytes) -> None:
    connection = Connection()
    answer = connection.ask()
    connection.feed(raw)
    assert await body_of(answer) == b"hi"
    assert (connection.freed, connection.wire.aborted) == (0, True)


async def test_a_connection_serves_one_call_after_another_and_no_header_stays() -> None:
    connection = Connection()
    for number in range(3):
        answer = connection.ask()
        connection.feed(OK + b"x-%d: y\r\ncontent-length: 1\r\n\r\n%d" % (number, number))
        await _begun(answer)
        assert answer.headers == {f"x-{number}": "y", "content-length": "1"}
        assert await body_of(answer) == b"%d" % number
    assert connection.freed == 3


async def test_the_heads_of_calls_on_one_connection_are_not_added_up() -> None:
    """One may have 128 KiB."""
    connection = Connection()
    fields = b"".join(b"x-%d: %b\r\n" % (number, b"a" * 1000) for number in range(60))
    head = OK + b"content-length: 2\r\n" + fields
    for number in range(1, 5):
        answer = connection.ask()
        connection.feed(head, b"\r\nhi")
        await _begun(answer)
        assert await body_of(answer) == b"hi"
        assert (connection.freed, connection.wire.aborted) == (number, False)
    answer = connection.ask()
    connection.feed(head, fields, fields)
    with pytest.raises(BrokenHttpError, match="too large a head"):
        await _begun(answer)


async def test_a_call_that_is_over_cannot_close_the_connection_of_the_next() -> None:
    connection = Connection()
    first = connection.ask()
    connection.feed(OK + b"content-length: 1\r\n\r\n1")
    second = connection.ask()
    first.drop()
    assert not connection.wire.aborted
    second.drop()
    assert connection.wire.aborted


async def test_a_vendor_is_held_back_while_nobody_reads() -> None:
    connection = Connection()
    answer = connection.ask()
    connection.feed(OK + b"content-length: 330000\r\n\r\n", b"a" * 30_000)
    assert connection.wire.reads
    connection.feed(b"a" * 100_000)
    assert not connection.wire.reads
    assert len(await answer.read(1000)) == 1000
    assert not connection.wire.reads
    assert len(await answer.read(1 << 20)) == 129_000
    assert connection.wire.reads
    connection.feed(b"a" * 200_000)
    assert connection.wire.reads  # for the next call: this one has all it will get
    assert connection.freed == 1


async def test_what_waits_for_its_reader_takes_no_more_memory_than_its_bytes() -> None:
    connection = Connection()
    answer = connection.ask()
    connection.feed(OK + b"transfer-encoding: chunked\r\n\r\n")
    chunks = b"32\r\n%b\r\n" % (b"a" * 50) * 5000
    tracemalloc.start()
    try:
        connection.feed(chunks)
        assert tracemalloc.get_traced_memory()[0] < 300_000
    finally:
        tracemalloc.stop()
    assert await answer.read(1 << 20) == b"a" * 250_000


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=20), most=st.integers(1, 60))
def test_reads_are_as_large_as_allowed_and_lose_nothing(sizes: Iterable[int], most: int) -> None:
    async def read_all() -> tuple[list[bytes], bytes]:
        connection = Connection()
        answer = connection.ask()
        pieces = [bytes([65 + number % 26]) * size for number, size in enumerate(sizes)]
        sent = b"".join(pieces)
        connection.feed(OK + b"content-length: %d\r\n\r\n" % len(sent), *pieces)
        got = []
        while chunk := await answer.read(most):
            got.append(chunk)
        return got, sent

    got, sent = asyncio.run(read_all())
    assert b"".join(got) == sent
    assert all(len(chunk) == most for chunk in got[:-1])


async def test_the_rest_of_a_request_is_not_sent_to_a_vendor_that_refused_it() -> None:
    connection = Connection()
    answer = connection.line.ask(REQUEST, whole=False)
    assert await connection.line.pour(b"first", last=False)
    connection.feed(b"HTTP/1.1 413 Too large\r\ncontent-length: 2\r\n\r\n{}")
    assert not await connection.line.pour(b"second", last=True)
    assert connection.wire.written == [REQUEST, b"first"]
    assert (answer.status, await body_of(answer)) == (413, b"{}")
    assert (connection.freed, connection.wire.aborted) == (0, True)


async def test_the_rest_of_a_request_is_sent_to_a_vendor_that_answers_before_it_has_all() -> None:
    connection = Connection()
    answer = connection.line.ask(REQUEST, whole=False)
    connection.feed(OK + b"content-length: 5\r\n\r\nhel")
    assert await connection.line.pour(b"first", last=False)
    assert await connection.line.pour(b"second", last=True)
    assert connection.wire.written == [REQUEST, b"first", b"second"]
    connection.feed(b"lo")
    assert (answer.status, await body_of(answer)) == (200, b"hello")
    assert (connection.freed, connection.wire.aborted) == (1, False)


async def test_who_waits_to_write_is_told_when_the_vendor_refuses_or_leaves() -> None:
    for event in ("refuses", "leaves", "reads"):
        connection = Connection()
        connection.line.ask(REQUEST, whole=False)
        connection.line.pause_writing()
        pouring = asyncio.create_task(connection.line.pour(b"part", last=False))
        await asyncio.sleep(0)
        assert not pouring.done()
        if event == "refuses":
            connection.feed(b"HTTP/1.1 413 Too large\r\ncontent-length: 9\r\n\r\n")
        elif event == "leaves":
            connection.line.connection_lost(ConnectionResetError())
        else:
            connection.line.resume_writing()
        async with asyncio.timeout(1):
            await pouring
        assert await connection.line.pour(b"more", last=True) is (event == "reads")


async def test_an_idle_connection_on_which_something_comes_is_closed() -> None:
    connection = Connection()
    connection.feed(b"HTTP/1.1 408 Timeout\r\n\r\n")
    assert connection.wire.aborted


async def test_many_small_pieces_of_a_body_are_few_writes() -> None:
    """Of a hundred thousand little pictures each would be a system call."""
    connection = Connection()
    pieces = [b"x" * 100, memoryview(b"y" * 30)] * 3000 + [b"z" * 200_000, b"end"]
    progress = Progress("v", sells=True, address="http://v")
    connection.line.ask(REQUEST, whole=False)
    before = len(connection.wire.written)
    await asking.pour(connection.line, pieces, progress)
    written = connection.wire.written[before:]
    assert b"".join(written) == b"".join(pieces)
    assert len(written) == 6
    assert progress.finished
    connection.feed(OK + b"content-length: 2\r\n\r\nhi")
    assert (connection.freed, connection.wire.aborted) == (1, False)


async def test_a_connection_on_which_not_all_was_sent_serves_no_other_call() -> None:
    """The vendor has answered while the body was on its way; what is not sent would be the next request's."""
    connection = Connection()
    answer = connection.line.ask(REQUEST, whole=False)
    pouring = asyncio.create_task(
        asking.pour(connection.line, [b"x" * 1_000_000], Progress("v", sells=True, address="http://v"))
    )
    await asyncio.sleep(0)
    connection.feed(OK + b"content-length: 2\r\n\r\nhi")
    await pouring
    assert (answer.status, await body_of(answer)) == (200, b"hi")
    assert len(b"".join(connection.wire.written)) < 1_000_000
    assert (connection.freed, connection.wire.aborted) == (0, True)


# --- what is written

ADDRESS = asking.way(URL("http://acme.example/v1?x=1"))


@pytest.mark.parametrize("value", ["a\nb: c", "a\rb", "a\0b"])
def test_a_header_is_one_line(value: str) -> None:
    with pytest.raises(ValueError, match="a header holds a line break"):
        asking.lines({"x-key": value})


@pytest.mark.parametrize("address", ["/v1", "ftp://acme.example/", "acme.example/v1"])
def test_what_is_no_address_of_http_is_asked_nothing(address: str) -> None:
    with pytest.raises(ValueError, match="its address is not one"):
        asking.way(URL(address))


def test_a_small_request_is_one_piece_with_its_pictures_decoded() -> None:
    pieces = (b'{"a":"', Slice(b"aGVsbG8="), memoryview(b'"}'))
    assert asking.written("POST", ADDRESS, asking.lines({"x-key": "k"}), pieces) == (
        (False, "acme.example", 80),
        b"POST /v1?x=1 HTTP/1.1\r\nhost: acme.example\r\nuser-agent: dragoman\r\nx-key: k\r\n"
        b'content-length: 13\r\n\r\n{"a":"hello"}',
        (),
    )
