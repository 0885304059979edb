"""`dragoman try` and `dragoman explain` for picture models, as their users see them."""

from __future__ import annotations

import json
import os
import re
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from proxy.__main__ import main
from proxy.command.saving import Destination
from proxy.simulators import pictures
from proxy.types import Image, Slice
from tests import forks
from tests.gateway import open_gateway
from tests.picture_vendors import FILE, VENDORS, size_of, watching
from tests.served import run

FAST = """
version: 1
providers:
  evolink: {profile: evolink, keys: ["env:EVOLINK_API_KEY?"]}
  grsai: {profile: grsai, keys: ["env:GRSAI_API_KEY?"]}
models:
  slow: {targets: [evolink/gemini-3-pro-image-preview], poll: {every: 100ms}}
  other: {targets: [grsai/nano-banana], poll: {every: 100ms}}
"""


TALKS = """
version: 1
providers:
  google:
    wire: gemini
    base_url: https://generativelanguage.googleapis.com/v1beta
    keys: ["env:GEMINI_API_KEY?"]
"""


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def test_explain_shows_the_very_request_that_a_vendor_then_receives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Method, address and body to the letter, for every vendor; an id of ours is made when it is sent."""
    monkeypatch.setenv("TEST_KEY", "sk-test-app")
    monkeypatch.setenv("VENDOR_KEY", "vendor-key-canary")
    monkeypatch.setenv("PAIR_KEY", "vendor-key-canary:simulated-secret")
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
            body = _UUID.sub("00000000-0000-4000-8000-000000000000", json.dumps(sent.body))
            assert json.dumps(step["body"]) == body, vendor.name
            assert step["method"] == sent.method
            assert step["url"].partition("?")[0].endswith(sent.path), vendor.name
            assert "vendor-key-canary" not in json.dumps(step)


def attempt(tmp_path: Path, *arguments: str, file: str = FAST) -> tuple[int, str]:
    """Its exit code and its talk."""
    (tmp_path / "providers.yaml").write_text(file)
    code, _, talk = run("try", *arguments, "--simulate", cwd=tmp_path)
    return code, talk


def test_try_makes_a_picture_and_saves_it(tmp_path: Path) -> None:
    code, talk = attempt(tmp_path, "slow", "A fox", "--out", "fox.png")
    assert code == 0, talk
    assert size_of(pictures.look((tmp_path / "fox.png").read_bytes()))[0] >= 1024
    assert "saved fox.png" in talk
    assert "\r[" not in talk  # nobody looks


def test_try_prints_what_it_cost(tmp_path: Path) -> None:
    """By the file's price, and by the vendor's own count."""
    file = (
        "version: 1\nproviders:\n"
        "  jlike: {profile: jlike, keys: ['env:JLIKE_API_KEY?'], currency: CNY}\n"
        "models:\n"
        "  banana: {targets: [jlike.image/nano-banana], price: {image: 0.25, currency: CNY}}\n"
        "  flash: {targets: [jlike.text/gemini-3-flash-preview], price: {input: 1000, output: 2000}}\n"
    )
    code, talk = attempt(tmp_path, "banana", "A fox", "--out", "fox.png", file=file)
    assert code == 0, talk
    line = talk.splitlines()[-1]
    assert re.search(r", 0\.25 CNY, [\d.]+ CNY by the vendor.s count, saved fox.png$", line), line
    code, said, talk = run("try", "flash", "Hi", "--simulate", "--json", cwd=tmp_path)
    cost = json.loads(said)["cost"]
    assert Decimal(cost.pop("CNY")) > 0
    assert cost == {}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_try_shows_progress_to_a_terminal(tmp_path: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    try:
        (tmp_path / "providers.yaml").write_text(FAST)
        command = ["try", "slow", "A fox sim:polls:3", "--out", "fox.png", "--simulate"]
        with (tmp_path / "out").open("wb") as out:
            process = forks.start(command, tmp_path, os.environ, out.fileno(), theirs)
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # the other end is closed
            pass
    finally:
        os.close(ours)
    assert process.wait(20) == 0, shown
    assert shown.count(b"\r[") >= 3
    assert b"processing task-unified-" in shown
    assert b"job_accepted" not in shown
    assert (tmp_path / "fox.png").exists()


def test_try_says_what_the_vendor_refused(tmp_path: Path) -> None:
    code, talk = attempt(tmp_path, "other", "Rude sim:moderate")
    assert code == 3
    assert talk.splitlines()[-1].startswith("upstream: ")
    assert not list(tmp_path.glob("*.png"))


def test_try_orders_nothing_that_it_could_not_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-test-app")
    monkeypatch.setenv("VENDOR_KEY", "vendor-key-canary")
    (tmp_path / "mine.png").write_bytes(b"mine")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "astray.png").symlink_to(tmp_path / "nowhere")
    refused = {
        "no/such/folder/x.png": "no/such/folder: there is no such folder",
        "mine.png/x.png": "mine.png: there is no such folder",
        "mine.png": "mine.png: it exists already, and is not overwritten",
        "folder.png": "folder.png: it exists already, and is not overwritten",
        "astray.png": "astray.png: it exists already, and is not overwritten",
    }
    with open_gateway(tmp_path, FILE) as own, watching(own) as seen:
        file = str(tmp_path / "providers.yaml")
        for out, sentence in refused.items():
            assert main(["try", "wan", "A fox", "--config", file, "--out", str(tmp_path / out)]) == 1
            assert capsys.readouterr().err.strip() == f"{tmp_path}/{sentence}"
        assert main(["try", "wan", "A fox", "--config", file, "--image", str(tmp_path / "none.png")]) == 1
        assert capsys.readouterr().err.strip() == f"{tmp_path}/none.png: No such file or directory"
        assert seen.exchanges() == []
    assert (tmp_path / "mine.png").read_bytes() == b"mine"


def test_try_overwrites_nothing_where_no_name_was_given(tmp_path: Path) -> None:
    for name in ("picture.png", "picture-2.png"):
        (tmp_path / name).write_bytes(b"mine")
    code, talk = attempt(tmp_path, "other", "A fox")
    assert (code, (tmp_path / "picture.png").read_bytes()) == (0, b"mine")
    assert "saved picture-3.png" in talk
    assert pictures.look((tmp_path / "picture-3.png").read_bytes()).width


def test_several_pictures_are_all_saved_with_the_suffix_of_their_type(tmp_path: Path) -> None:
    png, jpeg = Slice(b"iVBORw0KGgo="), Slice(b"/9j/4AAQ")
    (tmp_path / "fox-3.png").write_bytes(b"mine")
    saved = Destination(tmp_path / "fox.png").save(
        [
            Image("image/png", data=png),
            Image("image/jpeg", data=jpeg),
            Image("image/png", data=png),
            Image("image/png", data=png),
            Image("image/png", url="https://x.example/5.png"),
        ]
    )
    names = ["fox.png", "fox-2.jpg", "fox-2.png", "fox-4.png"]
    assert saved.names == [str(tmp_path / name) for name in names]
    assert (tmp_path / "fox-2.jpg").read_bytes() == jpeg.decode()
    assert (tmp_path / "fox-3.png").read_bytes() == b"mine"
    assert saved.notes == ["a picture was not fetched; it is at https://x.example/5.png"]


def test_a_picture_whose_place_is_gone_when_it_comes_is_kept_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    place = Destination(folder / "fox.png")
    folder.rmdir()
    saved = place.save([Image("image/png", data=Slice(b"iVBORw0KGgo="))])
    try:
        assert Path(saved.names[0]).read_bytes() == b"\x89PNG\r\n\x1a\n"
        assert saved.notes == [
            f"{folder}/fox.png: No such file or directory; the picture is in {saved.names[0]}"
        ]
    finally:
        Path(saved.names[0]).unlink()


def test_try_says_which_pictures_were_lost_and_that_none_came(tmp_path: Path) -> None:
    code, talk = attempt(tmp_path, "other", "Only talk sim:urlexpired", "--out", "fox.png")
    assert code == 3
    assert "0 of 1 pictures came, the others are lost" in talk
    code, talk = attempt(tmp_path, "google/gemini-2.5-flash", "Hi", "--out", "fox.png", file=TALKS)
    assert code == 3, talk
    assert talk.splitlines()[-1] == "upstream: no picture came, so nothing was saved"
    assert not list(tmp_path.glob("*.png"))
