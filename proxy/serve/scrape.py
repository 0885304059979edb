"""`GET /metrics`: what Prometheus reads, and who may."""

from __future__ import annotations

import os
import time
from urllib.parse import urlsplit

from proxy.codec.exposition import CONTENT_TYPE, Page
from proxy.config import is_loopback
from proxy.errors import RequestError
from proxy.routing.breakers import State
from proxy.serve import callers
from proxy.serve.exchange import Exchange
from proxy.serve.house import House
from proxy.serve.metrics import Metrics, OfTarget

_FORWARDED = (b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip")
_STATES: dict[State, int] = {"failing": 0, "probing": 1, "resting": 2}


async def metrics(exchange: Exchange, house: House) -> None:
    if not _is_local(exchange):
        caller = exchange.caller = await callers.anyone(exchange, house)
        if not caller.admin:
            raise RequestError("This address is for the admin key.", status=403, code="admin_only")
    await exchange.respond(200, [page(house)], [(b"content-type", CONTENT_TYPE)])


def _is_local(exchange: Exchange) -> bool:
    """Asked by this machine, by an address of it, and not on behalf of another. A name that only resolves to
    this machine is not enough: a web page elsewhere may have it."""
    client = exchange.scope.get("client")
    if client is None or not is_loopback(client[0]):
        return False
    if any(name in exchange.fields for name in _FORWARDED):
        return False
    try:
        host = urlsplit(f"//{exchange.header(b'host') or ''}").hostname
    except ValueError:
        return False
    return is_loopback(host or "")


def page(house: House) -> bytes:
    services = house.services
    told = Page(services.metrics.common)
    _requests(told, services.metrics)
    _targets(told, services.metrics)
    told.family(
        "dragoman_retries_refused_total", "counter", "Failures not tried again: the budget was spent."
    )
    told.value(services.retries.refused)
    told.family("dragoman_breaker_state", "gauge", "Targets that failed last: 0 asked, 1 probed, 2 resting.")
    for target, state, _ in services.breakers.states():
        told.value(_STATES[state], target=target)
    told.family("dragoman_requests_in_flight", "gauge", "Requests for chats and pictures.")
    told.value(services.load.requests)
    told.family("dragoman_bytes_in_flight", "gauge", "The bodies of those requests.")
    told.value(services.load.bytes)
    told.family(
        "dragoman_requests_refused_total", "counter", "Requests refused because too much was in flight."
    )
    told.value(services.load.refused)
    told.family("dragoman_loop_lag_seconds", "histogram", "How late a timer of one second was.")
    told.histogram(services.metrics.lag)
    _process(told, services.metrics)
    return told.text()


def _requests(told: Page, counted: Metrics) -> None:
    told.family(
        "http_server_request_duration_seconds", "histogram", "Requests, from their head to their end."
    )
    for (route, status), durations in sorted(counted.requests.items()):
        told.histogram(durations, http_route=route, http_response_status_code=status)


def _targets(told: Page, counted: Metrics) -> None:
    rows = [(_labels(*place), of) for place, of in sorted(counted.targets.items())]
    told.family("gen_ai_client_operation_duration_seconds", "histogram", "Attempts at targets.")
    for labels, of in rows:
        for outcome, durations in sorted(of.durations.items()):
            failed = {} if outcome == "ok" else {"error_type": outcome}
            told.histogram(durations, **labels, **failed)
    told.family(
        "gen_ai_client_operation_time_to_first_chunk_seconds", "histogram", "Of attempts that stream."
    )
    for labels, of in rows:
        told.histogram(of.first_event, **labels)
    told.family("gen_ai_client_token_usage", "histogram", "Tokens of attempts, as the vendor counts them.")
    for labels, of in rows:
        told.histogram(of.input, **labels, gen_ai_token_type="input")
        told.histogram(of.output, **labels, gen_ai_token_type="output")
    _counters(told, rows)


def _counters(told: Page, rows: list[tuple[dict[str, str], OfTarget]]) -> None:
    told.family("dragoman_attempts_total", "counter", "Attempts at targets, by how they ended.")
    for labels, of in rows:
        for outcome, durations in sorted(of.durations.items()):
            told.value(sum(durations.counts), **labels, outcome=outcome)
    told.family("dragoman_retries_total", "counter", "Attempts that were not the first of their request.")
    for labels, of in rows:
        told.value(of.retries, **labels)
    told.family("dragoman_images_total", "counter", "Pictures that came.")
    for labels, of in rows:
        told.value(of.images, **labels)


def _labels(operation: str, provider: str, model: str) -> dict[str, str]:
    return {
        "gen_ai_operation_name": operation,
        "gen_ai_provider_name": provider,
        "gen_ai_request_model": model,
    }


def _process(told: Page, counted: Metrics) -> None:
    told.family("process_start_time_seconds", "gauge", "When the process started.")
    told.value(round(counted.started, 3))
    told.family("process_cpu_seconds_total", "counter", "Processor time.")
    told.value(round(time.process_time(), 3))
    try:
        with open("/proc/self/statm", "rb") as file:
            pages = int(file.read().split()[1])
        descriptors = len(os.listdir("/proc/self/fd")) - 1  # the last is the listing's own
    except OSError:  # only Linux tells
        return
    told.family("process_resident_memory_bytes", "gauge", "Memory that is resident.")
    told.value(pages * os.sysconf("SC_PAGE_SIZE"))
    told.family("process_open_fds", "gauge", "Open descriptors.")
    told.value(descriptors)
