"""The file host of the simulated vendors: `GET /files/VENDOR/SEED/WxH.ext?Expires=...&Signature=...`.

Like the real ones it wants no credentials; one that comes along has leaked and is counted.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace

from proxy.simulators.directives import Pace
from proxy.simulators.exchange import Exchange, Log, Reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors.drawings import MIMES, Drawing, signature

_PATH = re.compile(
    r"/(?P<vendor>[a-z0-9-]+)/(?P<seed>[0-9a-f]{16})/"
    r"(?P<width>[1-9]\d{0,4})x(?P<height>[1-9]\d{0,4})\.(?P<kind>png|jpg|webp)"
)
_CREDENTIALS = ("authorization", "x-key", "x-goog-api-key", "x-api-key", "mj-api-secret", "cookie")
_PAGE = b"<html><body><h1>Sign in to the wireless network</h1></body></html>"


def make(log: Log) -> Handler:
    return Host(log).handle


class Host:
    def __init__(self, log: Log) -> None:
        self.log = log

    def handle(self, exchange: Exchange) -> Reply:
        found = _PATH.fullmatch(exchange.path)
        if found is None or exchange.method not in ("GET", "HEAD"):
            return _refusal(404, "NoSuchKey")
        counts = self.log.counts
        counts[f"{found['vendor']}.downloads"] += 1
        self.log.ledger.downloads[f"{found['vendor']} {found['seed']}"] += 1
        if any(name in exchange.headers for name in _CREDENTIALS):
            counts["files.credentials"] += 1
        expires = exchange.query.get("Expires", "")
        if exchange.query.get("Signature") != signature(f"/files{exchange.path}", expires):
            return _refusal(403, "SignatureDoesNotMatch")
        if not expires.isdigit() or int(expires) < time.time():
            counts["files.expired"] += 1
            return _refusal(403, "AccessDenied", "Request has expired.")
        size = int(exchange.query.get("size", "0"))
        drawing = Drawing(int(found["width"]), int(found["height"]), found["seed"], found["kind"], size)
        served = Reply([drawing.data()], content_type=MIMES[drawing.kind])
        order, _, value = exchange.query.get("sim", "").partition(":")
        return self._odd(exchange, order, value, served)

    def _odd(self, exchange: Exchange, order: str, value: str, served: Reply) -> Reply:
        if order == "redirect":
            own = f"http://{exchange.headers.get('host', '')}/files{exchange.path}"
            query = f"?Expires={exchange.query['Expires']}&Signature={exchange.query['Signature']}"
            target = {"self": f"{own}{query}&sim=redirect:self", "ok": own + query}.get(value, value)
            return Reply([b""], 302, {"location": target}, "text/plain")
        if order == "html":
            return Reply([_PAGE], content_type="text/html")
        if order == "lie":  # a page that says it is a picture
            return replace(served, frames=[_PAGE])
        if order in ("slow", "cut", "stall", "drop"):
            pauses = {
                "slow": Pace(slow_s=float(value or 1)),
                "cut": Pace(cut_after=1),
                "stall": Pace(stall_after=1),
                "drop": Pace(drop=True),
            }
            return replace(served, pace=pauses[order])
        if order == "once" and self.log.attempt(f"file {exchange.path}") == 1:
            if value in ("html", "lie"):
                return self._odd(exchange, value, "", served)
            return _refusal(int(value or 503), "ServiceUnavailable")
        if order.isdigit():
            return _refusal(int(order), "Simulated")
        return served


def _refusal(status: int, code: str, message: str = "The file cannot be had.") -> Reply:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Reply([body.encode()], status, {}, "application/xml")
