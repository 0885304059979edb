"""What is sold by the second: sound that is heard or spoken, and a vendor's work."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.sounds.formats import seconds_of
from proxy.types import Slice
from tests.gateway import KEY, Gateway, open_gateway
from tests.picture_vendors import HEAD, providers
from tests.served import run
from tests.test_ledger_of_requests import chat, draw, post, rows_of, shown
from tests.test_transcripts import WAV

FILE = (
    HEAD.replace(
        "keys: [{name: app, key: env:TEST_KEY}]",
        "keys: [{name: app, key: env:TEST_KEY, limits: {tokens: 10000/min}}]",
    )
    + """\
  lan: {wire: openai, base_url: 'http://SIMULATORS/openai/v1', keys: [env:VENDOR_KEY], private: true}
"""
    + providers("replicate")
    + """
models:
  whisper: {targets: [lan/whisper-1], price: {second: 0.0001}}
  tokens: {targets: [lan/gpt-4o-transcribe], price: {second: 0.0001}}
  spoken: {targets: [lan/tts-1], price: {second: 0.00025}}
  worked: {targets: [replicate/google/nano-banana], price: {second: 0.000725}, poll: {every: 20ms}}
  both: {targets: [replicate/google/nano-banana], price: {image: 0.01, second: 0.002}, poll: {every: 20ms}}
  talk: {targets: [lan/llama], price: {second: 0.1}}
"""
)
MEASURED = ("amount", "estimated", "prompt_tokens")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("seconds"), FILE) as opened:
        yield opened


def listen(house: Gateway, model: str, prompt: str, file: bytes = WAV, **fields: Any) -> httpx.Response:
    reply = house.http.post(
        f"{house.base_url}/v1/audio/transcriptions",
        data={"model": model, "prompt": prompt, **fields},
        files={"file": ("a.wav", file, "audio/wav")},
        headers={"authorization": f"Bearer {KEY}"},
    )
    assert reply.status_code == 200, reply.text
    return reply


def booked(house: Gateway, reply: httpx.Response, *names: str, count: int = 1) -> list[tuple[Any, ...]]:
    return shown(rows_of(house, reply.headers["x-request-id"], count), *names)


@pytest.mark.parametrize("kind", ["json", "verbose_json"])
def test_a_transcript_costs_the_seconds_that_its_vendor_counted(house: Gateway, kind: str) -> None:
    reply = listen(house, "whisper", "sim:text:one two three", response_format=kind)
    usage = {"type": "duration", "seconds": 3, "cost": 0.0003, "cost_currency": "USD"}
    assert reply.json()["usage"] == usage
    assert reply.headers["x-proxy-cost"] == "0.0003 USD"
    assert "x-proxy-estimated" not in reply.headers
    assert booked(house, reply, *MEASURED) == [("0.0003", False, 0)]


def test_what_shows_no_usage_costs_the_same(house: Gateway) -> None:
    reply = listen(house, "whisper", "sim:text:one two", response_format="srt")
    assert reply.headers["x-proxy-cost"] == "0.0002 USD"


@pytest.mark.parametrize("model", ["whisper", "tokens"])
def test_seconds_that_nobody_counted_are_measured_and_marked(house: Gateway, model: str) -> None:
    """A WAV tells its length, and a vendor that counts tokens has counted no seconds."""
    order = "sim:nousage sim:text:one" if model == "whisper" else "sim:text:one"
    reply = listen(house, model, order)
    seconds = Decimal(round((len(WAV) - 44) / 48000, 2)).quantize(Decimal("0.01"))
    ((amount, estimated, _),) = booked(house, reply, *MEASURED)
    assert (Decimal(amount), estimated) == (seconds * Decimal("0.0001"), True)
    assert seconds > 0


@pytest.mark.parametrize(
    ("recording", "seconds"),
    [
        pytest.param(WAV[:44] + bytes(48000 * 3), 3.0, id="24 kHz, 16 bit"),
        pytest.param(WAV[:28] + (8000).to_bytes(4, "little") + WAV[32:44] + bytes(4000), 0.5, id="8 kHz"),
        pytest.param(WAV[:28] + bytes(4) + WAV[32:44] + bytes(8000), 1.0, id="a WAV that says nothing"),
        pytest.param(b"ID3" + bytes(15997), 2.0, id="MP3"),
        pytest.param(b"RIFF", 0.0005, id="half a head"),
        pytest.param(b"", 0.0, id="nothing"),
    ],
)
def test_a_recording_is_about_so_long(recording: bytes, seconds: float) -> None:
    assert seconds_of(Slice.of(recording)) == pytest.approx(seconds, abs=0.001)


def test_a_recording_that_is_billed_by_the_second_counts_against_the_limit_of_tokens(house: Gateway) -> None:
    left = [
        int(listen(house, "whisper", "sim:text:one").headers["x-ratelimit-remaining-tokens"])
        for _ in range(2)
    ]
    assert left[0] - left[1] > 30


def test_what_is_read_aloud_is_estimated_by_its_text(house: Gateway) -> None:
    body = {"model": "spoken", "input": "Good morning, all of you there.", "voice": "alloy"}
    reply = post(house, "audio/speech", body)
    assert reply.status_code == 200
    assert booked(house, reply, *MEASURED)[0][:2] == ("0.0005175", True)  # 31 letters, 2.07 s


def test_a_prediction_costs_the_seconds_that_its_vendor_worked(house: Gateway) -> None:
    """Replicate's `metrics.predict_time`, 1.5 in its documents."""
    reply = draw(house, "worked", "A lighthouse")
    assert reply.status_code == 200, reply.text
    assert reply.headers["x-proxy-cost"] == "0.0010875 USD"
    assert booked(house, reply, "kind", "amount", "images", count=2) == [
        ("hold", "0", 0),
        ("settle", "0.0010875", 1),
    ]
    assert draw(house, "both", "A lighthouse").headers["x-proxy-cost"] == "0.013 USD"


def test_seconds_that_nobody_can_know_cost_nobody_knows_what(house: Gateway) -> None:
    """Null, never 0."""
    reply = chat(house, "talk")
    assert booked(house, reply, "amount", "estimated") == [(None, False)]
    assert "x-proxy-cost" not in reply.headers


def test_the_list_of_models_tells_the_price_of_a_second(house: Gateway) -> None:
    models = house.http.get(f"{house.base_url}/v1/models", headers={"authorization": f"Bearer {KEY}"})
    cards = {card["id"]: card["price"] for card in models.json()["data"]}
    assert cards["whisper"] == {"currency": "USD", "per": "1M", "second": "0.0001"}
    assert cards["both"] == {"currency": "USD", "per": "1M", "image": "0.01", "second": "0.002"}


@pytest.mark.parametrize(
    ("arguments", "cost"),
    [
        (("spoken", "Good morning, all of you there.", "--as", "speech"), "0.00025 USD a second, about 2.07"),
        (("worked", "A cat", "--images"), "0.000725 USD a second, the vendor tells how many"),
        (("talk", "Hello"), "0.1 USD a second, the vendor tells how many"),
    ],
)
def test_explain_tells_what_it_can_know(tmp_path: Path, arguments: tuple[str, ...], cost: str) -> None:
    (tmp_path / "providers.yaml").write_text(FILE.replace("http://SIMULATORS", "http://127.0.0.1:9"))
    code, printed, said = run("explain", *arguments, cwd=tmp_path)
    assert code == 0, said
    assert f"cost: {cost}" in printed.splitlines()


def test_a_price_by_the_second_says_what_comes_back(tmp_path: Path) -> None:
    file = FILE.replace("http://SIMULATORS", "http://127.0.0.1:9")
    (tmp_path / "providers.yaml").write_text(file.replace("{second: 0.0001}", "{second: -1}"))
    code, printed, _ = run("check", cwd=tmp_path)
    assert code == 1
    assert "W13" not in printed
    line = next(at for at, line in enumerate(file.splitlines(), 1) if line.startswith("  whisper"))
    assert f"providers.yaml:{line}:55: error E103" in printed
