"""What the C library does with memory that large pictures leave free. All of it is glibc's: other libraries
have no such calls, and no need of them."""

from __future__ import annotations

import asyncio
import ctypes

GIVE_BACK_EVERY_S = 15.0
_M_ARENA_MAX = -8


def share() -> None:
    """Threads that begin from now on use the heap that there is. By itself each gets one of its own, and each
    grows to what the largest pictures need."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


async def give_back() -> None:
    """Ask now and then for what is free between what is in use, which is kept until somebody asks."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(GIVE_BACK_EVERY_S)
        await asyncio.to_thread(trim, 0)
