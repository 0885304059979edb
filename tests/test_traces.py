"""Traces: a span a request and one a try, joined to the client's; nothing private, and nothing when off."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from proxy.serve.house import Services
from proxy.serve.traces import Traces, is_wanted
from tests.gateway import KEY, Gateway, open_gateway
from tests.raw_http import RawRequest, arrived, chat, last_number
from tests.served import ROOT, serving, waited

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("traces")) as opened:
        yield opened


@pytest.fixture
def exported(gateway: Gateway) -> Iterator[InMemorySpanExporter]:
    services = services_of(gateway)
    exporter = into_memory(services)
    yield exporter
    services.traces = None


def services_of(gateway: Gateway) -> Services:
    assert gateway.application.house is not None
    return gateway.application.house.services


def into_memory(services: Services) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    services.traces = Traces(provider)
    return exporter


def ask(gateway: Gateway, body: Any, path: str = "chat/completions", **headers: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {KEY}", **headers}
    return gateway.http.post(f"{gateway.base_url}/v1/{path}", json=body, headers=headers)


def spans(exporter: InMemorySpanExporter, count: int) -> list[ReadableSpan]:
    """So many, in the order in which they ended: tries first."""
    waited(lambda: len(exporter.get_finished_spans()) >= count)
    found = exporter.get_finished_spans()
    assert len(found) == count
    return list(found)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_chat_is_a_span_with_its_try_below_it(gateway: Gateway, exported: InMemorySpanExporter) -> None:
    reply = ask(gateway, chat("Hi", "gpt-4o-mini"))
    usage = reply.json()["usage"]
    attempt, request = spans(exported, 2)
    assert (request.name, request.kind.name) == ("POST /chat/completions", "SERVER")
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.route": "/chat/completions",
        "url.path": "/v1/chat/completions",
        "http.response.status_code": 200,
        "gen_ai.request.model": "gemini-flash",
        "dragoman.request.id": reply.headers["x-request-id"],
        "dragoman.key": "app",
    }
    assert (attempt.name, attempt.kind.name) == ("chat gemini-3-flash-preview", "CLIENT")
    assert attributes(attempt) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "google",
        "gen_ai.request.model": "gemini-3-flash-preview",
        "gen_ai.usage.input_tokens": usage["prompt_tokens"],
        "gen_ai.usage.output_tokens": usage["completion_tokens"],
        "server.address": "127.0.0.1",
        "dragoman.try": 1,
    }
    assert request.parent is None
    assert attempt.parent is not None
    assert request.context is not None
    assert attempt.parent.span_id == request.context.span_id
    times = (request.start_time, attempt.start_time, attempt.end_time, request.end_time)
    moments = [moment for moment in times if moment is not None]
    assert moments == sorted(moments)
    assert len(moments) == 4
    assert abs(moments[0] / 1e9 - time.time()) < 60


def test_a_trace_of_the_clients_goes_on_here_and_no_vendor_hears_of_it(
    gateway: Gateway, exported: InMemorySpanExporter
) -> None:
    before = last_number(gateway)
    told = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "canary=1", "baggage": "canary=2"}
    assert ask(gateway, chat("Hi", stream=True), **told).status_code == 200
    attempt, request = spans(exported, 2)
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == PARENT
    assert {f"{one.context.trace_id:032x}" for one in (attempt, request) if one.context} == {TRACE}
    assert attributes(attempt)["gen_ai.response.time_to_first_chunk"] > 0
    [sent] = arrived(gateway, before)
    assert not {"traceparent", "tracestate", "baggage"} & {name.lower() for name in sent.headers}


@pytest.mark.parametrize("said", ["", "00-x-y-01", f"00-{'0' * 32}-{PARENT}-01", "\xff" * 5000])
def test_a_trace_that_is_none_begins_a_new_one(
    gateway: Gateway, exported: InMemorySpanExporter, said: str
) -> None:
    headers = {"authorization": f"Bearer {KEY}".encode(), "traceparent": said.encode("latin-1")}
    url = f"{gateway.base_url}/v1/chat/completions"
    assert gateway.http.post(url, json=chat("Hi"), headers=headers).status_code == 200
    assert spans(exported, 2)[1].parent is None


def test_pictures_are_told(gateway: Gateway, exported: InMemorySpanExporter) -> None:
    assert ask(gateway, {"model": "nano-banana-pro", "prompt": "A fox"}, "images/generations").is_success
    attempt, request = spans(exported, 2)
    assert attributes(attempt)["gen_ai.operation.name"] == "generate_image"
    assert attributes(attempt)["dragoman.images"] == 1
    assert request.name == "POST /images/generations"


def test_each_try_that_fails_is_a_span(tmp_path: Path) -> None:
    with open_gateway(tmp_path, environment={"VENDOR_KEY": "down-1"}) as own:
        exporter = into_memory(services_of(own))
        assert ask(own, chat("Hi")).status_code == 503
        first, second, request = spans(exporter, 3)
    assert [attributes(one)["dragoman.try"] for one in (first, second)] == [1, 2]
    for one in (first, second):
        assert (attributes(one)["error.type"], attributes(one)["dragoman.bought"]) == ("overloaded", False)
        assert one.status.status_code.name == "ERROR"
    assert attributes(request)["http.response.status_code"] == 503
    assert request.status.status_code.name == "ERROR"


def test_a_wrong_request_is_no_fault_of_ours(gateway: Gateway, exported: InMemorySpanExporter) -> None:
    assert ask(gateway, chat("Hi", "unknown")).status_code == 404
    [request] = spans(exported, 1)
    assert attributes(request)["error.type"] == "model_not_found"
    assert request.status.status_code.name == "UNSET"


def test_who_hangs_up_ends_its_spans(gateway: Gateway, exported: InMemorySpanExporter) -> None:
    before = last_number(gateway)
    with RawRequest(gateway, chat("Hi sim:slow:30")) as opened:
        opened.send()
        arrived(gateway, before)
    attempt, request = spans(exported, 2)
    assert attributes(attempt)["error.type"] == "abandoned"
    assert attributes(request)["http.response.status_code"] == 499


def test_strangers_and_probes_leave_no_trace(gateway: Gateway, exported: InMemorySpanExporter) -> None:
    assert httpx.post(f"{gateway.base_url}/v1/chat/completions", json=chat("Hi")).status_code == 401
    for path in ("/livez", "/readyz", "/metrics", "/v1/files/x"):
        httpx.get(gateway.base_url + path)
    headers = {"authorization": f"Bearer {KEY}"}
    assert httpx.get(f"{gateway.base_url}/v1/models", headers=headers).status_code == 200
    assert [one.name for one in spans(exported, 1)] == ["GET /models"]


def test_no_key_and_no_prompt_is_told(gateway: Gateway, exported: InMemorySpanExporter) -> None:
    ask(gateway, chat("a canary sings", user="canary"))
    told = json.dumps([json.loads(one.to_json()) for one in spans(exported, 2)])
    assert not [word for word in ("canary", KEY, "vendor-key") if word in told]


# --- when they are wanted


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_SDK_DISABLED": "TRUE", "OTEL_TRACES_EXPORTER": "otlp"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, True),
    ],
)
def test_the_environment_asks_for_them(environment: dict[str, str], wanted: bool) -> None:
    assert is_wanted(environment) is wanted


@pytest.mark.parametrize("more", [{}, {"OTEL_SERVICE_NAME": "x"}])
def test_nothing_is_loaded_when_nobody_asks(tmp_path: Path, more: dict[str, str]) -> None:
    script = (
        "import asyncio, sys; from proxy import app; from proxy.config import Config;"
        "house = asyncio.run(app.create(Config(), {}).open());"
        "assert house.services.traces is None;"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "[]\n", done.stderr


SMALL = "version: 1\nauth: {mode: open}\nmodels: {}\n"


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"OTEL_TRACES_EXPORTER": "console"}, "OTEL_TRACES_EXPORTER is 'console'; there are otlp and none"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "the protocol is 'grpc'; there is http/protobuf",
        ),
    ],
)
def test_what_cannot_be_had_is_told_and_ends_nothing(
    tmp_path: Path, environment: dict[str, str], why: str
) -> None:
    with serving(tmp_path, SMALL, environment=environment) as served:
        line = json.loads(served.until_logged('"traces_off"'))
        assert line["why"] == why
        assert httpx.get(f"{served.base_url}/livez").status_code == 200


# --- as a process


class _Collector(BaseHTTPRequestHandler):
    came: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.came.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return None


def test_a_collector_hears_of_a_request_at_the_latest_at_the_end(tmp_path: Path) -> None:
    came: list[tuple[str, bytes]] = []
    handler = type("Collector", (_Collector,), {"came": came})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as collector:
        thread = threading.Thread(target=collector.serve_forever, args=(0.01,))
        thread.start()
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}"}
        try:
            with serving(tmp_path, SMALL, environment=endpoint) as served:
                assert httpx.get(f"{served.base_url}/v1/models").status_code == 200
                line = json.loads(served.until_logged('"/v1/models"'))
                assert served.stop() == 0
        finally:
            collector.shutdown()
            thread.join(10)
    [(path, body)] = came
    assert path == "/v1/traces"
    assert b"GET /models" in body
    assert b"dragoman" in body
    assert bytes.fromhex(line["trace"]) in body


def test_a_collector_that_is_away_holds_up_nobody(tmp_path: Path) -> None:
    with serving(
        tmp_path,
        SMALL,
        environment={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "100"},
    ) as served:
        assert httpx.get(f"{served.base_url}/v1/models").status_code == 200
        assert json.loads(served.until_logged('"traces_failed"'))["why"]
        began = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - began < 10
