"""The real command in a process of its own: what it prints, serves and leaves behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests import forks

Process = subprocess.Popen[bytes] | forks.Process
ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 20.0
_ADDRESS = re.compile(r"Dragoman at (http://\S+?)/v1")


@dataclass(frozen=True, slots=True)
class Served:
    process: Process
    base_url: str
    file: Path
    out: Path
    err: Path

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def until_logged(self, *words: str) -> str:
        """Wait until a line of its talk has all these words, and return the line."""
        return waited(lambda: _line(self.err.read_text(), words))


def run(
    *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None, fresh: bool = False
) -> tuple[int, str, str]:
    """Run a command to its end: exit code, results, talk. A `fresh` one loads the program itself."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begin = _fresh if fresh else forks.start
        process = begin(arguments, cwd, _environment(environment), out.fileno(), err.fileno())
        code = process.wait(PATIENCE_S)
        for each in (out, err):
            each.seek(0)
        return code, out.read().decode(), err.read().decode()


def _fresh(
    arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], stdout: int, stderr: int
) -> Process:
    command = [sys.executable, "-m", "proxy", *arguments]
    return subprocess.Popen(command, cwd=cwd, env=environment, stdout=stdout, stderr=stderr)


@contextmanager
def serving(
    folder: Path,
    file: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    module: str = "proxy.__main__",
    fresh: bool = False,
) -> Iterator[Served]:
    """Serve this file from this folder until the block ends. A `fresh` server loads the program itself, the
    others are forks that have: see forks.py."""
    path, out, err = folder / "providers.yaml", folder / "stdout", folder / "stderr"
    path.write_text(file)
    with out.open("wb") as stdout, err.open("wb") as stderr:
        asked = ["serve", "--config", str(path), "--port", "0", *arguments]
        own = _environment(environment)
        places = asked, folder, own, stdout.fileno(), stderr.fileno()
        process = _fresh(*places) if fresh else forks.start(*places, module)
    try:
        found = waited(lambda: _ADDRESS.search(err.read_text()), process, err)
        base_url = found[1]
        waited(lambda: _answers(base_url), process, err)
        yield Served(process, base_url, path, out, err)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def waited(look, process=None, err=None):  # type: ignore[no-untyped-def]
    """What `look` finds, as soon as it finds something; the longer that takes the less often it looks, for it
    may cost as much as what is waited for."""
    began = time.monotonic()
    while not (found := look()):
        took_s = time.monotonic() - began
        if took_s > PATIENCE_S or (process is not None and process.poll() is not None):
            raise AssertionError("waited in vain" + (f": {err.read_text()}" if err is not None else ""))
        time.sleep(min(max(0.01, took_s / 10), 0.1))
    return found


def _answers(base_url: str) -> bool:
    try:
        return httpx.get(f"{base_url}/livez", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _line(text: str, words: Sequence[str]) -> str | None:
    return next((line for line in text.splitlines() if all(word in line for word in words)), None)


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    return {**forks.environment(), "PYTHONPATH": str(ROOT), **(more or {})}
