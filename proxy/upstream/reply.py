"""An upstream's answer as it arrives: payloads or bytes, watched by deadlines and a size limit."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from proxy.codec import base64_text, jsonio
from proxy.codec.spill import SPILL_OVER
from proxy.codec.spool import JsonSpool
from proxy.types import Json, Slice
from proxy.upstream.deadlines import Watch
from proxy.upstream.line import Answer
from proxy.upstream.payloads import Decoder, decoder_for
from proxy.upstream.sse import PayloadError
from proxy.upstream.transport import BROKEN, Progress, drop_frames, fail

# Of a stream's events this much is taken at once. A vendor at full speed sends megabytes meanwhile: that is
# thousands of events for one client, which may not even read them, while all others wait.
_SLICE = 1 << 16
_ALL = 1 << 30
ERROR_BYTES = 1 << 20  # of an error's body, or of what should have been JSON and is not: for its words


class Reply:
    """Read it once, by `payloads`, `pieces` or `read`, and `close` it in any case.

    When reading is cancelled or fails the connection is closed at once. All ways of reading raise
    `UpstreamError` only.
    """

    __slots__ = (
        "_answer",
        "_cap",
        "_fault",
        "_is_events",
        "_progress",
        "_size",
        "_time",
        "_watch",
        "broken",
        "complete",
        "content_type",
        "status",
    )

    def __init__(self, answer: Answer, progress: Progress, watch: Watch, cap: int) -> None:
        self.status = answer.status
        self.content_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._answer = answer
        self._progress = progress
        self._cap = cap
        self._is_events = "event-stream" in self.content_type
        self._size = 0
        self.complete = False  # set when all payloads were read and nothing can be missing
        self.broken = False  # set when the connection failed, or what it brought could not be read
        self._fault: Exception | None = None
        self._time = watch.time
        self._watch = watch
        watch.expire = self._expire
        watch.waiting_since = None
        if answer.is_over:
            watch.stop()

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""
        return self._answer.headers

    async def payloads(self) -> AsyncIterator[Iterable[Json]]:
        """Yield the payloads of each read, to be iterated before the next one: they are decoded as they are
        taken. What came before a fault is yielded before it is raised."""
        decoder: Decoder | None = None
        chunk = b""
        batch: Iterable[Json] = ()
        try:
            while chunk := await self._read():
                if decoder is None:
                    if chunk.isspace():
                        continue  # sent to keep the connection open while the vendor works
                    if (whole := self._at_once(chunk)) is not None:
                        yield (whole,)
                        return
                    decoder = decoder_for(self.content_type, chunk)
                if batch := decoder.feed(chunk):
                    yield batch
                    if len(chunk) == _SLICE:  # more waits, and so may others
                        await asyncio.sleep(0)
                if decoder.error is not None:
                    raise decoder.error
            if decoder is not None:
                if batch := decoder.close():
                    yield batch
                    batch = []
                if self._fault is None and decoder.error is not None:
                    raise decoder.error
            self.complete = decoder is not None and decoder.complete
            if self._fault is not None:
                if not self.complete:
                    raise self._fault
                self.drop()  # what proves its own end is whole, also when the connection ends without manners
        except BaseException as fault:
            self.drop()
            if isinstance(fault, BROKEN):
                self.broken = True
                fail(fault, self._progress)
            raise
        finally:
            decoder, chunk, batch, whole = None, b"", (), None  # the traceback of an error keeps this frame

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the bytes as they come, of what is a file. What came before a fault is yielded before it is
        raised."""
        chunk = b""
        try:
            while chunk := await self._read():
                yield chunk
            if self._fault is not None:
                raise self._fault
            self.complete = True
        except BaseException as fault:
            self.drop()
            if isinstance(fault, BROKEN):
                fail(fault, self._progress)
            raise
        finally:
            chunk = b""  # the traceback of an error keeps this frame

    def _at_once(self, chunk: bytes) -> Json | None:
        """The answer that came in one read, as most do. None for what the decoders have to look at."""
        if (
            not self._answer.is_over
            or self._fault is not None
            or self.content_type != "application/json"
            or chunk[:1] != b"{"
            or len(chunk) > SPILL_OVER
        ):
            return None
        try:
            payload: Json = jsonio.loads(chunk)
        except jsonio.JSONDecodeError:
            return None
        self.complete = True
        return payload

    async def read(self, limit: int) -> bytes:
        """Return the body. More than `limit` bytes are an error; of an error's body the first are enough."""
        body = io.BytesIO()
        try:
            await self._read_into(body.write, limit)
            return body.getvalue()
        finally:
            body.close()  # the traceback of an error keeps this frame
            self.drop()

    async def value(self, limit: int) -> Any:
        """Return the body as JSON, its pictures spooled, or the first bytes of what is no JSON; of a picture
        all of it.

        More than `limit` bytes are an error; of an error's body the first are enough.
        """
        if self.status < 400 and self.content_type.startswith("image/"):
            return await self._picture(limit)
        body = JsonSpool()
        try:
            await self._read_into(body.feed, min(limit, ERROR_BYTES) if self.status >= 400 else limit)
            try:
                return body.value()
            except jsonio.JSONDecodeError:
                return body.head(ERROR_BYTES)
        finally:
            del body  # the traceback of an error keeps this frame
            self.drop()

    async def _picture(self, limit: int) -> Slice:
        body = base64_text.Encoder()
        try:
            await self._read_into(body.write, limit)
            return body.finish()
        finally:
            del body  # the traceback of an error keeps this frame
            self.drop()

    async def _read_into(self, take: Callable[[bytes], object], limit: int) -> None:
        refused = self.status >= 400
        size = 0
        chunk = b""
        try:
            while chunk := await self._read():
                take(chunk[: limit - size] if refused else chunk)
                size += len(chunk)
                if size > limit:
                    if refused:
                        return
                    raise _too_large(limit)
            if self._fault is not None and not refused:
                raise self._fault
        except BROKEN as fault:
            fail(fault, self._progress)
        finally:
            del take, chunk  # the traceback of an error keeps this frame

    async def close(self) -> None:
        """Free the connection, at once: what has not arrived by now is not wanted. May be called again."""
        self.drop()

    async def _read(self) -> bytes:
        """The next bytes, none at the end, which a fault is too."""
        watch = self._watch
        answer = self._answer
        watch.waiting_since = self._time()
        try:
            chunk = await answer.read(_SLICE if self._is_events else _ALL)
        except OSError as fault:
            drop_frames(fault)
            self._fault = fault
            return b""
        watch.waiting_since = None
        if answer.is_over:
            watch.stop()
        elif not self._size:
            watch.answer()
        self._size += len(chunk)
        if self._size > self._cap:
            raise _too_large(self._cap)
        return chunk

    def _expire(self, phase: str) -> None:
        self._progress.expired = phase
        self.drop()

    def drop(self) -> None:
        """What `close` does."""
        if not self._answer.is_over:  # else the watch has stopped, and the connection is another's
            self._watch.stop()
            self._answer.drop()


def _too_large(limit: int) -> PayloadError:
    return PayloadError(f"the answer is larger than {limit >> 20} MiB", "upstream_response_too_large")
