"""What large pictures leave free between what is in use goes back to the system."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

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
