"""`dragoman try --verbose` and `--record`: what went to the vendor and what came back, without secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.__main__ import main
from proxy.simulators import pictures
from proxy.simulators.server import start

KEY = "sk-vendor-canary-0123456789"
FILE = """
version: 1
providers:
  evolink: {profile: evolink, base_url: "EVOLINK", keys: [env:VENDOR_KEY], private: true}
  google: {wire: gemini, base_url: "GOOGLE", keys: [env:VENDOR_KEY], private: true}
  lan: {wire: openai, base_url: "LAN", keys: [env:VENDOR_KEY], auth: {query: key}, private: true}
models:
  slow: {targets: [evolink/gemini-3-pro-image-preview], poll: {every: 50ms}}
  talk: {targets: [google/gemini-3-flash-preview]}
  other: {targets: [lan/sim-chat]}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VENDOR_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "providers.yaml"


def told(file: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit code and what was said on stderr."""
    with start() as vendors:
        text = FILE.replace("EVOLINK", vendors.url("evolink")).replace("LAN", f"{vendors.base_url}/openai/v1")
        file.write_text(text.replace("GOOGLE", f"{vendors.base_url}/gemini/v1beta"))
        code = main(["try", *arguments])
    return code, capsys.readouterr().err


def test_requests_and_replies_are_shown_in_order(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = told(file, capsys, "talk", "Say hello", "--verbose")
    assert code == 0
    lines = err.splitlines()
    assert lines[0].startswith("> POST http://127.0.0.1:")
    assert lines[0].endswith("/gemini/v1beta/models/gemini-3-flash-preview:generateContent")
    assert lines[1] == "> x-goog-api-key: ***"
    assert '"text": "Say hello"' in err
    assert err.index("> POST") < err.index("< 200 application/json") < err.index('"candidates"')
    assert KEY not in err


def test_without_the_option_nothing_of_it_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "> POST" not in told(file, capsys, "talk", "Say hello")[1]


def test_a_stream_is_shown_as_it_came(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = told(file, capsys, "talk", "Say hello", "--verbose", "--stream")
    assert code == 0
    assert "< 200 text/event-stream" in err
    assert "\ndata: {" in err


def test_base64_is_named_and_not_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file.parent / "in.png").write_bytes(pictures.png(64, 64, "in", 20_000))
    code, err = told(file, capsys, "talk", "What is it?", "--verbose", "--image", "in.png")
    assert code == 0
    assert "<base64, " in err
    assert max(map(len, err.splitlines())) < 5_000


def test_every_request_of_a_job_is_recorded(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = told(file, capsys, "slow", "A fox", "--record", "kept")
    assert code == 0
    assert "> POST" not in err  # it is kept, not shown
    folder = file.parent / "kept"
    requests = [json.loads(one.read_text()) for one in sorted(folder.glob("*-request.json"))]
    replies = [json.loads(one.read_text()) for one in sorted(folder.glob("*-reply.json"))]
    assert [one["method"] for one in requests] == ["POST", *["GET"] * (len(requests) - 1)]
    assert len(replies) == len(requests) > 1
    assert requests[0]["body"]["prompt"] == "A fox"
    assert replies[-1]["status"] == "completed"
    assert KEY not in "".join(one.read_text() for one in folder.iterdir())


def test_a_refusal_is_shown_too(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = told(file, capsys, "slow", "Rude sim:http:400", "--verbose")
    assert code == 3
    assert "< 400 application/json" in err


def test_a_key_in_the_address_is_blanked(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    err = told(file, capsys, "other", "Hi", "--verbose", "--record", "kept")[1]
    assert "?key=***" in err
    assert KEY not in err + "".join(one.read_text() for one in (file.parent / "kept").iterdir())


def test_a_folder_that_cannot_be_made_orders_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file.parent / "kept").write_text("a file")
    code, err = told(file, capsys, "talk", "Say hello", "--record", "kept", "--verbose")
    assert code == 1
    assert err == "kept: File exists\n"
