"""`dragoman try` and `dragoman explain` for picture models, as their users see them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.__main__ import main
from proxy.simulators import pictures
from tests.gateway import open_gateway
from tests.picture_vendors import FILE, VENDORS, size_of, watching

ROOT = Path(__file__).resolve().parents[1]
FAST = """
version: 1
providers:
  evolink: {profile: evolink, keys: ["env:EVOLINK_API_KEY?"]}
  grsai: {profile: grsai, keys: ["env:GRSAI_API_KEY?"]}
models:
  slow: {targets: [evolink/gemini-3-pro-image-preview], poll: {every: 100ms}}
  other: {targets: [grsai/nano-banana], poll: {every: 100ms}}
"""


def test_explain_shows_the_very_request_that_a_vendor_then_receives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Method, address and body to the letter, for every vendor."""
    monkeypatch.setenv("TEST_KEY", "sk-test-app")
    monkeypatch.setenv("VENDOR_KEY", "vendor-key-canary")
    asked = {"messages": [{"role": "user", "content": "A wide fox"}], "size": "1792x1024", "seed": 7}
    request = tmp_path / "request.json"
    request.write_text(json.dumps(asked))
    with open_gateway(tmp_path, FILE) as own:
        for vendor in VENDORS:
            capsys.readouterr()
            file = str(tmp_path / "providers.yaml")
            arguments = ["explain", vendor.name, "--config", file, "--request", str(request), "--json"]
            assert main(arguments) == 0, vendor.name
            (step,) = json.loads(capsys.readouterr().out)["steps"]
            with watching(own) as seen:
                own.client().chat.completions.create(
                    model=vendor.name,
                    messages=asked["messages"],  # type: ignore[arg-type]
                    seed=7,
                    extra_body={"size": asked["size"]},
                )
            sent = seen.submits()[0]
            assert json.dumps(step["body"]) == json.dumps(sent.body), vendor.name
            assert step["method"] == sent.method
            assert step["url"].endswith(sent.path), vendor.name
            assert "vendor-key-canary" not in json.dumps(step)


def attempt(tmp_path: Path, *arguments: str, err: int) -> subprocess.CompletedProcess[bytes]:
    (tmp_path / "providers.yaml").write_text(FAST)
    return subprocess.run(
        [sys.executable, "-m", "proxy", "try", *arguments, "--simulate"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=err,
        timeout=60,
    )


def test_try_makes_a_picture_and_saves_it(tmp_path: Path) -> None:
    done = attempt(tmp_path, "slow", "A fox", "--out", "fox.png", err=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    assert size_of(pictures.look((tmp_path / "fox.png").read_bytes()))[0] >= 1024
    assert b"saved fox.png" in done.stderr
    assert b"\r[" not in done.stderr  # nobody looks


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_try_shows_progress_to_a_terminal(tmp_path: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    try:
        done = attempt(tmp_path, "slow", "A fox sim:polls:3", "--out", "fox.png", err=theirs)
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # the other end is closed
            pass
    finally:
        os.close(ours)
    assert done.returncode == 0, shown
    assert shown.count(b"\r[") >= 3
    assert b"processing task-unified-" in shown
    assert b"job_accepted" not in shown
    assert (tmp_path / "fox.png").exists()


def test_try_says_what_the_vendor_refused(tmp_path: Path) -> None:
    done = attempt(tmp_path, "other", "Rude sim:moderate", err=subprocess.PIPE)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith(b"upstream: ")
    assert not list(tmp_path.glob("*.png"))
