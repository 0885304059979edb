"""The server that other tests speak to leaves nothing behind by which a later one fails."""

from __future__ import annotations

import asyncio
import gc
import socket

from tests.hostile import answering, serving


async def _end_after(turns: int) -> None:
    """A client connects, and so many turns of the loop later the server ends."""
    async with serving(answering(b"")) as server:
        client = socket.create_connection(("127.0.0.1", server.port))
        for _ in range(turns):
            await asyncio.sleep(0)
    client.close()


def test_a_connection_that_was_taken_at_the_end_is_closed() -> None:
    """What is left open is told when it is collected, and pytest makes a failure of that."""
    for turns in range(8):
        asyncio.run(_end_after(turns))
    gc.collect()
