"""`/metrics`: who may read it, what it counts, and that no client can make it grow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest

from proxy.codec.exposition import Histogram, Page
from proxy.serve.metrics import Metrics
from proxy.types import Target, Usage
from tests.gateway import FILE, KEY, Gateway, open_gateway
from tests.raw_http import RawRequest, chat
from tests.served import serving, waited

ADMIN = "sk-test-admin"
_LINE = re.compile(r'([a-z_:]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)\Z')


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Not read by other tests than by what they add."""
    file = FILE.replace("version: 1\n", "version: 1\nauth: {admin: env:TEST_ADMIN_KEY}\n", 1)
    with open_gateway(tmp_path_factory.mktemp("metrics"), file, {"TEST_ADMIN_KEY": ADMIN}) as opened:
        yield opened


def scraped(base_url: str, **headers: str) -> dict[str, float]:
    """Every line by its name and labels."""
    reply = httpx.get(f"{base_url}/metrics", headers=headers)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    read: dict[str, float] = {}
    for line in reply.text.splitlines():
        if not line.startswith("#"):
            assert _LINE.match(line), line
            name, _, value = line.rpartition(" ")
            assert name not in read, f"{name} is told twice"
            read[name] = float(value)
    return read


def ask(gateway: Gateway, text: str, model: str = "gemini-flash", **fields: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {KEY}"}
    url = f"{gateway.base_url}/v1/chat/completions"
    return gateway.http.post(url, json=chat(text, model, **fields), headers=headers)


def added(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {
        name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)
    }


FLASH = (
    'gen_ai_operation_name="chat",gen_ai_provider_name="google",gen_ai_request_model="gemini-3-flash-preview"'
)
WAYS = ("input", "output")
ROUTE = 'http_route="/chat/completions"'


def test_a_chat_is_counted(gateway: Gateway) -> None:
    before = scraped(gateway.base_url)
    usage = ask(gateway, "Hi").json()["usage"]
    more = added(before, scraped(gateway.base_url))
    assert more[f'http_server_request_duration_seconds_count{{{ROUTE},http_response_status_code="200"}}'] == 1
    assert more[f"gen_ai_client_operation_duration_seconds_count{{{FLASH}}}"] == 1
    assert more[f'gen_ai_client_operation_duration_seconds_bucket{{{FLASH},le="+Inf"}}'] == 1
    assert more[f'dragoman_attempts_total{{{FLASH},outcome="ok"}}'] == 1
    tokens = {
        way: more[f'gen_ai_client_token_usage_sum{{{FLASH},gen_ai_token_type="{way}"}}'] for way in WAYS
    }
    assert tokens == {"input": usage["prompt_tokens"], "output": usage["completion_tokens"]}
    assert f"gen_ai_client_operation_time_to_first_chunk_seconds_count{{{FLASH}}}" not in more


def test_the_first_event_of_a_stream_is_counted(gateway: Gateway) -> None:
    before = scraped(gateway.base_url)
    assert ask(gateway, "Hi", stream=True).status_code == 200
    more = added(before, scraped(gateway.base_url))
    assert more[f"gen_ai_client_operation_time_to_first_chunk_seconds_count{{{FLASH}}}"] == 1


def test_pictures_are_counted(gateway: Gateway) -> None:
    before = scraped(gateway.base_url)
    gateway.client().images.generate(model="nano-banana-pro", prompt="A fox", n=2)
    more = added(before, scraped(gateway.base_url))
    labels = (
        'gen_ai_operation_name="generate_image",gen_ai_provider_name="google",'
        'gen_ai_request_model="gemini-3-pro-image"'
    )
    assert more[f"dragoman_images_total{{{labels}}}"] == 2


def test_failures_and_tries_again_are_counted(tmp_path: Path) -> None:
    with open_gateway(tmp_path, environment={"VENDOR_KEY": "down-1"}) as own:
        assert ask(own, "Hi").status_code == 503
        read = scraped(own.base_url)
    assert read[f'dragoman_attempts_total{{{FLASH},outcome="overloaded"}}'] == 2
    assert read[f'gen_ai_client_operation_duration_seconds_count{{{FLASH},error_type="overloaded"}}'] == 2
    assert read[f"dragoman_retries_total{{{FLASH}}}"] == 1
    assert read['dragoman_breaker_state{target="google/gemini-3-flash-preview"}'] == 0
    assert read[f'http_server_request_duration_seconds_count{{{ROUTE},http_response_status_code="503"}}'] == 1


def test_a_target_that_rests_is_told(tmp_path: Path) -> None:
    with open_gateway(tmp_path, environment={"VENDOR_KEY": "down-1"}) as own:
        for _ in range(3):
            ask(own, "Hi")
        assert scraped(own.base_url)['dragoman_breaker_state{target="google/gemini-3-flash-preview"}'] == 2


@pytest.mark.parametrize(("stream", "status"), [(False, 499), (True, 200)], ids=["whole", "streamed"])
def test_who_hangs_up_is_counted_and_blames_nobody(gateway: Gateway, stream: bool, status: int) -> None:
    before = scraped(gateway.base_url)
    request = RawRequest(gateway, chat("Hi sim:slow:30", "gemini-flash", stream=stream))
    request.socket.sendall(request.head + request.payload)
    flying = waited(
        lambda: scraped(gateway.base_url)["dragoman_requests_in_flight"] == 1 and scraped(gateway.base_url)
    )
    assert flying["dragoman_bytes_in_flight"] == len(request.payload)
    if stream:
        request.until("keep-alive")
    request.socket.close()
    name = f'dragoman_attempts_total{{{FLASH},outcome="abandoned"}}'
    waited(lambda: added(before, scraped(gateway.base_url)).get(name) == 1)
    after = scraped(gateway.base_url)
    ended = f'http_server_request_duration_seconds_count{{{ROUTE},http_response_status_code="{status}"}}'
    assert added(before, after)[ended] == 1
    assert after["dragoman_requests_in_flight"] == after["dragoman_bytes_in_flight"] == 0
    assert not [name for name in after if name.startswith("dragoman_breaker_state")]


def test_the_process_and_its_loop_are_told(gateway: Gateway) -> None:
    waited(lambda: scraped(gateway.base_url)["dragoman_loop_lag_seconds_count"] >= 1)
    read = scraped(gateway.base_url)
    assert 10 << 20 < read["process_resident_memory_bytes"] < 10 << 30
    assert read["process_open_fds"] > 3


def test_strangers_paths_are_one_route(gateway: Gateway) -> None:
    before = scraped(gateway.base_url)
    for number in range(20):
        httpx.get(f"{gateway.base_url}/v1/nothing/{number}")
    more = added(before, scraped(gateway.base_url))
    assert (
        more['http_server_request_duration_seconds_count{http_route="other",http_response_status_code="404"}']
        == 20
    )
    assert not [name for name in more if "nothing" in name]


# --- who may read it


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-for": "203.0.113.7"},
        {"forwarded": "for=203.0.113.7"},
        {"x-real-ip": "203.0.113.7"},
        {"via": "1.1 edge"},
        {"host": "rebound.example"},
        {"host": "[::1"},
    ],
)
def test_who_comes_from_elsewhere_needs_the_admin_key(gateway: Gateway, headers: dict[str, str]) -> None:
    url = f"{gateway.base_url}/metrics"
    assert httpx.get(url, headers=headers).status_code == 401
    assert httpx.get(url, headers={**headers, "authorization": f"Bearer {KEY}"}).status_code == 403
    assert scraped(gateway.base_url, **headers, authorization=f"Bearer {ADMIN}")


def test_open_mode_makes_nobody_an_admin(tmp_path: Path) -> None:
    file = FILE.replace("version: 1\n", "version: 1\nauth: {mode: open}\n", 1)
    with open_gateway(tmp_path, file) as own:
        url = f"{own.base_url}/metrics"
        assert httpx.get(url, headers={"x-forwarded-for": "203.0.113.7"}).status_code == 403
        assert httpx.get(url).status_code == 200


def test_no_key_and_no_prompt_is_told(gateway: Gateway) -> None:
    ask(gateway, "a canary sings")
    text = httpx.get(f"{gateway.base_url}/metrics").text
    assert not [word for word in ("canary", KEY, "vendor-key", 'key="') if word in text]


# --- bounds


def attempt(model: str, **facts: Any) -> Any:
    told = {"usage": None, "failure": None, "left": False, "stream": False, "first_event_s": None}
    fixed = {"operation": "chat", "took_s": 0.5, "images": 0, "number": 1}
    return SimpleNamespace(attempt=SimpleNamespace(target=Target("up", model)), **{**fixed, **told, **facts})


def test_models_that_clients_name_are_bounded_and_those_of_the_file_are_not() -> None:
    counted = Metrics()
    counted.name({("up", "ours")})
    for number in range(5000):
        counted.attempt(attempt(f"theirs-{number}"))
    counted.attempt(attempt("ours"))
    assert len(counted.targets) == 102
    assert sum(counted.targets["chat", "up", "other"].durations["ok"].counts) == 4900
    assert sum(counted.targets["chat", "up", "ours"].durations["ok"].counts) == 1


def test_nothing_is_counted_as_nothing() -> None:
    """A vendor that sends no usage is not one that used none."""
    counted = Metrics()
    counted.attempt(attempt("m"))
    counted.attempt(attempt("m", usage=Usage(prompt=0, completion=5)))
    of = counted.targets["chat", "up", "m"]
    assert (sum(of.input.counts), of.input.sum, sum(of.output.counts), of.output.sum) == (1, 0, 1, 5)


def test_a_histogram_is_written_as_prometheus_reads_it() -> None:
    values, page = Histogram((0.1, 1.0)), Page({"worker": "7"})
    for value in (0.1, 0.2, 5):
        values.note(value)
    page.family("took_seconds", "histogram", "How long.")
    page.histogram(values, model='a"b\\c\nd')
    assert page.text().decode().splitlines() == [
        "# HELP took_seconds How long.",
        "# TYPE took_seconds histogram",
        r'took_seconds_bucket{worker="7",model="a\"b\\c\nd",le="0.1"} 1',
        r'took_seconds_bucket{worker="7",model="a\"b\\c\nd",le="1.0"} 2',
        r'took_seconds_bucket{worker="7",model="a\"b\\c\nd",le="+Inf"} 3',
        r'took_seconds_sum{worker="7",model="a\"b\\c\nd"} 5.3',
        r'took_seconds_count{worker="7",model="a\"b\\c\nd"} 3',
    ]


def test_each_worker_says_which_it_is(tmp_path: Path) -> None:
    file = "version: 1\nkeys: [{name: app, key: env:DRAGOMAN_KEY}]\n"
    with serving(tmp_path, file, "--workers", "2", environment={"DRAGOMAN_KEY": KEY}) as served:
        read = scraped(served.base_url)
    workers = {re.search(r'worker="(\d+)"', name) for name in read}
    assert None not in workers
    assert len({found[1] for found in workers if found}) == 1


# --- what the log says of those who look


def test_who_looks_is_in_no_log_and_who_may_not_is(tmp_path: Path) -> None:
    file = "version: 1\nkeys: [{name: app, key: env:DRAGOMAN_KEY}]\n"
    with serving(tmp_path, file, environment={"DRAGOMAN_KEY": KEY}) as served:
        for path in ("/metrics", "/v1/metrics", "/livez", "/v1/livez", "/readyz", "/v1/health/", "/healthz"):
            assert httpx.get(served.base_url + path).status_code == 200, path
        assert httpx.get(f"{served.base_url}/metrics", headers={"via": "1.1 edge"}).status_code == 401
        assert httpx.get(f"{served.base_url}/nothing").status_code == 404
        served.until_logged('"event":"request"', "/nothing")
        lines = [json.loads(line) for line in served.err.read_text().splitlines() if '"request"' in line]
    assert [(line["path"], line["status"]) for line in lines] == [("/metrics", 401), ("/nothing", 404)]


# --- the reply's own times


@pytest.mark.parametrize("stream", [True, False])
def test_a_reply_says_how_long_the_vendor_took(gateway: Gateway, stream: bool) -> None:
    timing = ask(gateway, "Hi sim:slow:0.2", stream=stream).headers["server-timing"]
    found = re.fullmatch(r"upstream;dur=(\d+\.\d), total;dur=(\d+\.\d)", timing)
    assert found is not None, timing
    upstream_ms, total_ms = map(float, found.groups())
    assert 200 <= upstream_ms <= total_ms < 10_000


def test_a_failure_says_it_too(tmp_path: Path) -> None:
    down = {"VENDOR_KEY": "down-1"}
    messages: Any = [{"role": "user", "content": "Hi"}]
    with open_gateway(tmp_path, environment=down) as own, pytest.raises(openai.APIStatusError) as caught:
        own.client().chat.completions.create(model="gemini-flash", messages=messages)
    assert caught.value.response.headers["server-timing"].startswith("upstream;dur=")
