"""Commands in processes of their own that need not load anything first: each is a fork of a process that has
loaded the program once. For tests of what a process does, not of how it comes up.

    with started(["serve", "--port", "0"], cwd=folder, environment={...}, stdout=1, stderr=2) as process:

To be asked from one thread; the first process forks nothing but what it is asked for, and has no threads.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LOADED = (
    "proxy.__main__",
    "proxy.app",
    "proxy.command.keys",
    "proxy.command.serve",
    "proxy.command.server",
    "proxy.command.tasks",
    "proxy.serve.keeper",
    "proxy.store.database",
    "proxy.store.tasks",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
    "uvicorn.lifespan.on",
)
_ASKED_BYTES = 1 << 17


class Process:
    """As much of `subprocess.Popen` as is used of it."""

    def __init__(self, told: int) -> None:
        self._told = os.fdopen(told, "rb", buffering=0)
        self.pid = int(self._told.read(16))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self._ended()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("dragoman", timeout or 0)
            self._ended()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self) -> None:
        self.returncode = int(self._told.read(16))
        self._told.close()


def environment() -> dict[str, str]:
    """That of the tests, without what the program would listen to. Whatever is loaded more than once is
    compiled once, also where the tests themselves are told to keep nothing."""
    unwanted = ("DRAGOMAN_", "GEMINI_", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


def start(
    arguments: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    stdout: int,
    stderr: int,
    module: str = "proxy.__main__",
) -> Process:
    """Run the `main` of this module with these arguments, and with these file descriptors for what it
    prints."""
    told, tell = os.pipe()
    wanted = {"module": module, "arguments": arguments, "cwd": str(cwd), "environment": dict(environment)}
    asked = json.dumps(wanted).encode()
    assert len(asked) <= _ASKED_BYTES
    socket.send_fds(_first(), [asked], [stdout, stderr, tell])
    os.close(tell)
    return Process(told)


@functools.cache
def _first() -> socket.socket:
    """The line to the process that all others are forks of; it ends when the line is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.forks"],
            cwd=ROOT,
            env=environment(),
            stdin=theirs,
            stdout=subprocess.DEVNULL,
        )
    atexit.register(process.wait)
    atexit.register(ours.close)  # before that
    return ours


# --- the first process, and each of its forks


def _asked() -> tuple[str, list[str]]:
    """Fork whenever somebody asks. Returns in the fork only, with the module and the arguments."""
    for name in _LOADED:
        importlib.import_module(name)
    gc.freeze()  # the memory of all that stays shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that watch
    with socket.socket(fileno=os.dup(0)) as line:
        while True:
            asked, files, _, _ = socket.recv_fds(line, _ASKED_BYTES, 3)
            if not asked:
                os._exit(0)
            if os.fork() == 0:
                break
            for each in files:
                os.close(each)
    stdout, stderr, tell = files
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if process := os.fork():
        _watch(process, tell)
    os.close(tell)
    for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), stdout, stderr)):
        os.dup2(file, number)
        os.close(file)
    wanted = json.loads(asked)
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    return wanted["module"], wanted["arguments"]


def _watch(process: int, tell: int) -> None:
    """Tell the number of the process, and how it ended. Does not return."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.write(tell, b"%d\n" % process)
    _, status = os.waitpid(process, 0)
    os.write(tell, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


if __name__ == "__main__":
    name, arguments = _asked()
    sys.exit(importlib.import_module(name).main(arguments))
