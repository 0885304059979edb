"""The file that workers share is bounded in bytes as well as in entries."""

import resource
import threading
from pathlib import Path

from proxy.memory.signature_file import SignatureFile
from proxy.memory.signatures import SignatureMemory


def test_long_signatures_are_bounded_in_bytes(tmp_path: Path) -> None:
    file = SignatureFile(tmp_path / "signatures.db", max_bytes=8_000_000)
    for number in range(60):
        file.put(f"place-{number}", chr(65 + number % 26) * 900_000)
    found = [number for number in range(60) if file.get(f"place-{number}") is not None]
    assert found == list(range(60 - len(found), 60))
    assert 6 <= len(found) <= 9
    assert (tmp_path / "signatures.db").stat().st_size < 16_000_000
    file.close()


def test_short_signatures_are_bounded_in_number(tmp_path: Path) -> None:
    file = SignatureFile(tmp_path / "signatures.db", entries=500)
    for number in range(3000):
        file.put(f"place-{number}", "signature")
    assert [number for number in range(3000) if file.get(f"place-{number}")] == list(range(2500, 3000))
    file.close()


def test_one_signature_over_the_bound_is_forgotten(tmp_path: Path) -> None:
    file = SignatureFile(tmp_path / "signatures.db", max_bytes=8000)
    file.put("small", "x" * 100)
    file.put("large", "x" * 5000)
    file.put("newest", "x" * 200)
    assert (file.get("large"), file.get("newest")) == (None, "x" * 200)
    file.close()


def test_a_full_disk_costs_what_would_have_been_kept_and_no_request(tmp_path: Path) -> None:
    file = SignatureFile(tmp_path / "signatures.db")
    file.put("before", "x" * 100)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        for number in range(50):
            file.put(f"place-{number}", "x" * 10_000)
        assert file.get("before") == "x" * 100
        assert file.get("place-49") is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    file.put("after", "y")
    assert file.get("after") == "y"
    file.close()


def test_threads_may_ask_the_memory_that_it_backs(tmp_path: Path) -> None:
    """A large request is restored in one."""
    file = SignatureFile(tmp_path / "signatures.db")
    memory = SignatureMemory(entries=2, shared=file)
    keys = [("owner", "issuer", "model", "id", f"call-{number}") for number in range(5)]
    for key in keys:
        memory.put(key, f"of {key[-1]}")
    found: list[str | None] = []
    asking = threading.Thread(target=lambda: found.extend(map(memory.get, keys)))
    asking.start()
    asking.join(10)
    assert found == ["of call-0", "of call-1", "of call-2", "of call-3", "of call-4"]
    file.close()
