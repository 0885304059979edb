"""What large pictures leave free between what is in use goes back to the system, and is not multiplied."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import httpx
import pytest

from tests import holed
from tests.served import serving, waited

FILE = """
version: 1
auth: {mode: open}
providers:
  google: {wire: gemini, base_url: "http://127.0.0.1:9", private: true, keys: [env:VENDOR_KEY]}
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="a C library that gives back by itself"
)
def test_holes_between_what_is_in_use_are_given_back(tmp_path: Path) -> None:
    with serving(tmp_path, FILE, environment={"VENDOR_KEY": "key"}, module="tests.holed") as server:
        status = Path(f"/proc/{server.process.pid}/status")

        def given_back() -> int:
            kb = {name: int(size) for name, size in re.findall(r"(\w+):\s+(\d+) kB", status.read_text())}
            return (kb["VmHWM"] - kb["VmRSS"]) * 1024

        waited(lambda: given_back() > holed.HOLES * holed.BYTES * 0.7)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="a C library with one heap")
def test_threads_have_no_heaps_of_their_own(tmp_path: Path) -> None:
    """What a thread works on is large, and each would keep as much as it ever needed."""
    body = {"model": "google/gemini-2.5-flash", "messages": [{"role": "user", "content": "x" * 300_000}]}
    with serving(tmp_path, FILE, environment={"VENDOR_KEY": "key"}) as server:
        maps = Path(f"/proc/{server.process.pid}/maps")
        for _ in range(3):
            reply = httpx.post(f"{server.base_url}/v1/chat/completions", json=body)
            assert reply.json()["error"]["code"] == "upstream_unreachable"
        threads = len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))
        assert (threads > 2, _reserved(maps.read_text())) == (True, [])


def _reserved(maps: str) -> list[str]:
    """What a heap of a thread reserves: 64 MB less the little that is used."""
    found = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) ---p 0+ 00:00 0 *$", maps, re.M)
    return [first for first, last in found if int(last, 16) - int(first, 16) > 32 << 20]
