"""OpenTelemetry traces: a span for each request that has a key, and one below it for each try at a target.

Off unless the environment asks for them in OpenTelemetry's own words, and only then is anything imported.
Vendors are told nothing of it: whose request it is and what came before is no business of theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import time
from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

    from proxy.logs import Log
    from proxy.serve.exchange import Exchange
    from proxy.serve.told import Try

_WANTED_BY = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_LAST_WORDS_MS = 2000  # a collector that is away must not hold up the end
_CARRIED = ("traceparent", "tracestate")


class TracesError(Exception):
    """Traces were asked for and cannot be had; the message says why."""


class Traces:
    """Spans of the requests that are being answered; the ends that tell metrics and log tell them too."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("dragoman")
        self._propagator = TraceContextTextMapPropagator()
        self._trace = trace
        self._spans: dict[str, Span] = {}  # by the request's id

    def begin(self, exchange: Exchange, route: str) -> None:
        """A request whose key is known; it may be part of its client's trace."""
        told = {name: value for name in _CARRIED if (value := exchange.header(name.encode()))}
        method = exchange.scope["method"]
        caller = exchange.caller
        span = self._tracer.start_span(
            f"{method} {route}",
            self._propagator.extract(told),
            self._trace.SpanKind.SERVER,
            {
                "http.request.method": method,
                "http.route": route,
                "url.path": exchange.scope["path"],
                "dragoman.request.id": exchange.request_id,
                "dragoman.key": caller.name if caller is not None else "",
            },
            start_time=_nanoseconds(exchange.began),
        )
        self._spans[exchange.request_id] = span
        exchange.facts["trace"] = f"{span.get_span_context().trace_id:032x}"

    def attempt(self, one: Try) -> None:
        """A try has ended."""
        target, failure, usage = one.attempt.target, one.failure, one.usage
        parent = self._spans.get(one.asked.request_id)
        address = urlsplit(one.attempt.account.base_url)
        span = self._tracer.start_span(
            f"{one.operation} {target.model}",
            self._trace.set_span_in_context(parent) if parent is not None else None,
            self._trace.SpanKind.CLIENT,
            {
                "gen_ai.operation.name": one.operation,
                "gen_ai.provider.name": target.provider,
                "gen_ai.request.model": target.model,
                "server.address": address.hostname or "",
                "dragoman.try": one.number,
            },
            start_time=_nanoseconds(one.began),
        )
        if usage is not None:
            span.set_attribute("gen_ai.usage.input_tokens", usage.prompt)
            span.set_attribute("gen_ai.usage.output_tokens", usage.completion)
        if one.stream and one.first_event_s is not None:
            span.set_attribute("gen_ai.response.time_to_first_chunk", round(one.first_event_s, 6))
        if one.images:
            span.set_attribute("dragoman.images", one.images)
        if failure is not None:
            span.set_attribute("error.type", failure.error_class)
            span.set_attribute("dragoman.bought", failure.bought)
            span.set_status(self._trace.StatusCode.ERROR, failure.code or failure.error_class)
        elif one.left:
            span.set_attribute("error.type", "abandoned")
        span.end(_nanoseconds(one.began + one.took_s))

    def end(self, exchange: Exchange, status: int) -> None:
        """The request is over. Does nothing for one that was not begun."""
        span = self._spans.pop(exchange.request_id, None)
        if span is None:
            return
        facts = exchange.facts
        span.set_attribute("http.response.status_code", status)
        if model := facts.get("model"):
            span.set_attribute("gen_ai.request.model", model)
        if status >= 500 or "error" in facts:
            span.set_attribute("error.type", facts.get("error") or str(status))
        if status >= 500:
            span.set_status(self._trace.StatusCode.ERROR)
        span.end()

    def close(self) -> None:
        """Send what is left, if somebody takes it. May wait; not for the loop."""
        self._provider.force_flush(_LAST_WORDS_MS)
        self._provider.shutdown()


def _nanoseconds(moment: float) -> int:
    """Of a moment of `perf_counter`, since 1970."""
    return time.time_ns() - round((perf_counter() - moment) * 1e9)


def configured(environ: Mapping[str, str], log: Log) -> Traces | None:
    """What the environment asks for, inside the running loop; nothing is imported when that is nothing."""
    if not is_wanted(environ):
        return None
    try:
        return Traces(_provider(environ, log))
    except TracesError as error:
        log.write("traces_off", why=str(error))
        return None


def is_wanted(environ: Mapping[str, str]) -> bool:
    if (
        environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
        or environ.get("OTEL_TRACES_EXPORTER") == "none"
    ):
        return False
    return any(environ.get(name) for name in _WANTED_BY)


def _provider(environ: Mapping[str, str], log: Log) -> TracerProvider:
    """Endpoint, headers, sampler, resource and batches are read by OpenTelemetry itself."""
    exporter = environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if exporter != "otlp":
        raise TracesError(f"OTEL_TRACES_EXPORTER is {exporter!r}; there are otlp and none")
    protocol = next(filter(None, map(environ.get, _PROTOCOLS)), "http/protobuf")
    if protocol != "http/protobuf":
        raise TracesError(f"the protocol is {protocol!r}; there is http/protobuf")
    if importlib.util.find_spec("opentelemetry") is None:
        raise TracesError("OpenTelemetry is not installed: pip install 'dragoman[otel]'")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TracesError(f"{error}: pip install 'dragoman[otel]'") from None
    _into(log)
    named = {} if environ.get("OTEL_SERVICE_NAME") else {"service.name": "dragoman"}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _into(log: Log) -> None:
    """What OpenTelemetry complains of, in a thread of its own, is a line of our log."""
    loop = asyncio.get_running_loop()

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            why = record.getMessage()[:300]
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(lambda: log.write("traces_failed", why=why))

    logger = logging.getLogger("opentelemetry")
    logger.addHandler(Told(logging.WARNING))
    logger.propagate = False
