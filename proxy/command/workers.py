"""Several processes that share a port, and the one that watches them."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import uvicorn
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from proxy.command.server import Server

_LOOK_S = 0.1
_HEALTH_EVERY = 5  # looks


class _Worker(Process):
    @property
    def server(self) -> uvicorn.Server:
        if self._server is None:
            self._server = Server(self.config)
        return self._server


class Workers(Multiprocess):
    """uvicorn's, with our server in each. They hear what it is told: SIGHUP reloads, a second SIGTERM hurries
    them."""

    def run(self) -> None:
        self.init_processes()
        looks = 0
        while not self.should_exit.wait(_LOOK_S):
            self.handle_signals()
            looks += 1
            if looks % _HEALTH_EVERY == 0:
                self.keep_subprocess_alive()
        for listener in self.sockets:  # theirs stay open for the lead time, and nobody would answer ours
            listener.close()
        self._tell(signal.SIGTERM)
        while any(one.process.is_alive() for one in self.processes):
            time.sleep(_LOOK_S)
            for _ in range(len(self.signal_queue)):
                self._tell(self.signal_queue.pop(0))
        self.join_all()

    def init_processes(self) -> None:
        self.processes = [self._started() for _ in range(self.processes_num)]

    def keep_subprocess_alive(self) -> None:
        for place, process in enumerate(self.processes):
            if self.should_exit.is_set() or process.is_alive(self.config.timeout_worker_healthcheck):
                continue
            process.kill()
            process.join()
            self.processes[place] = self._started()

    def restart_all(self) -> None:
        self._tell(signal.SIGHUP)

    def handle_ttin(self) -> None:
        self.processes_num += 1
        self.processes.append(self._started())

    def _started(self) -> Process:
        process = _Worker(self.config, self.sockets)
        process.start()
        return process

    def _tell(self, number: int) -> None:
        for one in self.processes:
            with contextlib.suppress(ProcessLookupError):
                if one.pid is not None and one.process.is_alive():
                    os.kill(one.pid, number)
