"""`dragoman prices update`: a diff of the file, from a catalogue that stands here as a small package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from proxy.config import load
from tests.served import ROOT

CATALOGUE = """
from dataclasses import dataclass
from datetime import date
from decimal import Decimal as D
from types import SimpleNamespace as N


def step(base, start, price):
    return N(base=D(base), tiers=[N(start=start, price=D(price))])


def on(day, **prices):
    return N(constraint=day and N(start_date=day), prices=N(**prices))


MODELS = {
    "gemini-a": N(prices=N(input_mtok=D("0.5"), output_mtok=D(3), cache_read_mtok=D("0.05"))),
    "gemini-b": N(prices=N(input_mtok=step(2, 200000, 4), output_mtok=step(12, 200000, 18))),
    "gemini-c": N(prices=[
        on(None, input_mtok=D(9)),
        on(date(2026, 1, 1), input_mtok=D("0.75"), output_mtok=D("3.75")),
        on(date(2999, 1, 1), input_mtok=D("1.5"), output_mtok=D("7.5")),
    ]),
    "gemini-d": N(prices=[N(constraint=N(start_time=5), prices=N(input_mtok=D(1)))]),
    "gemini-hears": N(prices=N(
        input_mtok=D("0.3"), output_mtok=D("2.5"), cache_read_mtok=D("0.03"), input_audio_mtok=D(1),
        cache_audio_read_mtok=D("0.1"), cache_image_read_mtok=D("0.02"),
    )),
    "gemini-vectors": N(prices=N(input_mtok=D("0.2"), input_audio_mtok=D("6.5"))),
    "gemini-same": N(prices=N(input_mtok=D("0.1"), output_mtok=D("0.4"))),
}
providers = [N(id="google", find_model=MODELS.get)]
"""

FILE = """
version: 1
providers:
  google: {wire: gemini, base_url: "https://vendor.example/v1beta", keys: [env:VENDOR_KEY?]}
  lan: {wire: openai, base_url: "https://lan.example/v1", keys: [env:VENDOR_KEY?]}
models:
  a:
    targets: [google/gemini-a]
    price: {input: 0.50, output: 3.00}   # kept
  b:
    targets: [google/gemini-b]
    description: without a price
  pictures:
    targets: [google/gemini-c]
    price: {input: 0.50, output: 1, image: {1K: 0.134, 4K: 0.24}}
  d:
    targets: [google/gemini-d]
    price: {input: 1, output: 1}
  hears:
    targets: [google/gemini-hears]
    price: {input: 0.3, output: 2.5, cached: 0.03, input_audio: 1, above: {tokens: 7, cached_audio: 2}}
  vectors:
    targets: [google/gemini-vectors]
    price: {input: 0.2, input_audio: 6.5, output: 0}
  same:
    targets: [google/gemini-same]
    price: {input: 0.1, output: 0.4}
  unpriced:
    targets: [google/gemini-a]
    price: unpriced
  own:
    targets: [{use: google/gemini-a, price: {input: 7, output: 7}}]
  other:
    targets: [lan/gemini-a]
    price: {input: 7, output: 7}
"""

DIFF = """\
--- providers.yaml
+++ providers.yaml
@@ -6,19 +6,22 @@
 models:
   a:
     targets: [google/gemini-a]
-    price: {input: 0.50, output: 3.00}   # kept
+    price: {input: 0.50, output: 3.00, cached: 0.05}   # kept
   b:
     targets: [google/gemini-b]
     description: without a price
+    price: {input: 2.00, output: 12.00, above: {tokens: 200000, input: 4.00, output: 18.00}}
   pictures:
     targets: [google/gemini-c]
-    price: {input: 0.50, output: 1, image: {1K: 0.134, 4K: 0.24}}
+    price:
+      - {input: 0.75, output: 3.75, image: {1K: 0.134, 4K: 0.24}}
+      - {input: 1.50, output: 7.50, image: {1K: 0.134, 4K: 0.24}, from: 2999-01-01}
   d:
     targets: [google/gemini-d]
     price: {input: 1, output: 1}
   hears:
     targets: [google/gemini-hears]
-    price: {input: 0.3, output: 2.5, cached: 0.03, input_audio: 1, above: {tokens: 7, cached_audio: 2}}
+    price: {input: 0.30, output: 2.50, cached: 0.03, input_audio: 1.00, cached_image: 0.02, cached_audio: 0.10, above: {cached_audio: 2.00, tokens: 7}}
   vectors:
     targets: [google/gemini-vectors]
     price: {input: 0.2, input_audio: 6.5, output: 0}
"""  # noqa: E501


def update(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy", "prices", "update", *arguments],
        cwd=folder,
        env={"PYTHONPATH": f"{folder / 'packages'}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "packages" / "genai_prices"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "data.py").write_text(CATALOGUE)
    (tmp_path / "providers.yaml").write_text(FILE)
    return tmp_path


def test_it_proposes_what_has_changed_and_writes_nothing(folder: Path) -> None:
    done = update(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == DIFF
    assert (folder / "providers.yaml").read_text() == FILE


def test_a_file_that_took_the_proposal_has_nothing_to_change(folder: Path) -> None:
    subprocess.run(["patch", "-s", "-p0"], cwd=folder, input=update(folder).stdout, text=True, check=True)
    assert load(folder / "providers.yaml", {}).config is not None
    done = update(folder)
    assert (done.stdout, done.stderr) == ("", "nothing differs from the catalogue\n")


def test_a_model_whose_block_is_not_found_is_told(folder: Path) -> None:
    (folder / "providers.yaml").write_text(
        FILE.split("models:")[0] + "models: {a: {targets: [google/gemini-a]}}"
    )
    done = update(folder)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        "a: its block is not found; write there\n    price: {input: 0.50, output: 3.00, cached: 0.05}\n\n"
    )


def test_without_the_catalogue_it_says_what_to_install(folder: Path) -> None:
    (folder / "packages" / "genai_prices" / "data.py").write_text("raise ModuleNotFoundError")
    done = update(folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "the catalogue is a package of its own: pip install 'dragoman[prices]'\n"


@pytest.mark.parametrize(
    ("model", "amounts"),
    [
        ("gemini-3.8-flash", ["0.75", "1.5"]),
        ("gemini-tts", ["0.5", "1"]),
        ("gemini-tts-lite", ["0.5", "1"]),
    ],
)
def test_shipped_prices_have_their_source_and_the_day_on_which_they_change(
    model: str, amounts: list[str]
) -> None:
    text = (ROOT / "providers.yaml").read_text(encoding="utf-8")
    assert "ai.google.dev/gemini-api/docs/pricing" in text
    assert "genai-prices 0.2.3 had it on 2026-11-26" in text
    config = load(ROOT / "providers.yaml", {}).config
    assert config is not None
    prices = config.models[model].price
    assert prices is not None
    assert [str(price.since) for price in prices] == ["None", "2027-01-01"]
    assert [str(price.input.normalize()) for price in prices if price.input] == amounts


@pytest.mark.parametrize("model", ["gemini-flash", "gemini-transcribe"])
def test_sound_that_gemini_3_flash_hears_costs_a_dollar_a_million(model: str) -> None:
    """genai-prices 0.2.3, of 2026-11-26: 1.00 where text is 0.50."""
    config = load(ROOT / "providers.yaml", {}).config
    assert config is not None
    (price,) = config.models[model].price or ()
    assert (str(price.input), str(price.input_audio), str(price.cached)) == ("0.5", "1.0", "0.05")
    assert str(price.cached_audio) == "0.1"
