"""Everything a request needs, as one value: a reload makes a new one and swaps it."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.config import Config
from proxy.errors import ProxyError
from proxy.keys import ClientKeys
from proxy.logs import Log
from proxy.memory.signatures import SignatureMemory
from proxy.routing.routes import Routes
from proxy.serve.exchange import Exchange
from proxy.store.files import FileStore
from proxy.upstream import Fetcher, Upstream


@dataclass(frozen=True, slots=True)
class House:
    config: Config
    routes: Routes
    keys: ClientKeys
    upstream: Upstream
    fetcher: Fetcher  # of what clients name by address
    results: Fetcher  # of pictures that were paid for: more patient
    signatures: SignatureMemory
    files: FileStore
    log: Log

    def note_failure(self, exchange: Exchange, error: Exception) -> None:
        """For the access log; of a fault of ours also where it happened."""
        exchange.facts["error"] = getattr(error, "code", None) or type(error).__name__
        if not isinstance(error, ProxyError):
            self.log.crash(exchange.request_id, error)
