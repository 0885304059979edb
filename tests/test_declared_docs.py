"""docs/vendors.md describes every key of a profile and no other, and its example works."""

import json
import re
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.types import Call, MediaPart, Target
from proxy.upstream import Account
from proxy.upstream.signing import Signed
from proxy.wires.declared import DeclaredWire, Done, Pending, check_profile, load_profile
from proxy.wires.declared.sections import CLASSES, KEYS
from proxy.wires.declared.template import INPUTS
from tests.declared import NAMES, asked, read

PAGE = (Path(__file__).parent.parent / "docs" / "vendors.md").read_text(encoding="utf-8")
SECTIONS = {
    title.strip().lower(): body for title, body in re.findall(r"^#{1,4} (.+)\n((?:(?!#).*\n)*)", PAGE, re.M)
}
TITLES = {
    "rule": "errors.rules",
    "retryable": "errors.retryable",
    "jwt": "auth.jwt",
    "token": "auth.token",
    "signature": "auth.signature",
}
SHARED = {"fail", "errors", "billing", "models"}


def described(title):
    """The keys in the first column of a section's tables."""
    rows = re.findall(r"^\| (`.+?`(?:, `.+?`)*) \|", SECTIONS[title], re.M)
    return {key for row in rows for key in re.findall(r"`([^`]+)`", row)}


@pytest.mark.parametrize(
    ("grammar", "title"),
    [(name, TITLES.get(name, name)) for name in KEYS],
)
def test_every_key_is_described_and_no_other(grammar, title):
    expected = set(KEYS[grammar]) - (SHARED if grammar == "chat surface" else set())
    assert described(title) == expected


def test_inputs_classes_and_profiles_are_listed():
    inputs = set(re.findall(r"`\$(\w+)`", SECTIONS["request templates"]))
    assert set(INPUTS) - {"options"} <= inputs
    rule = next(line for line in SECTIONS["errors.rules"].splitlines() if line.startswith("| `class`"))
    assert set(re.findall(r"`(\w+)`", rule)) - {"class"} == set(CLASSES)
    assert described("vendors") == set(NAMES)


def example():
    text = re.search(r"```yaml\n(profiles:.+?)```", PAGE, re.S)[1]
    assert len(text.splitlines()) <= 22
    return read(text)["profiles"]["paintco"]


def test_a_vendor_nobody_shipped_works_after_twenty_lines():
    """V-056"""
    assert check_profile("paintco", example()) == []
    profile = load_profile("paintco", example())
    paint = DeclaredWire(profile.surface(), profile.base_url)
    request = asked(
        "a door", size="1920x1080", n=2, references=(MediaPart("image", url="https://a.example/1.png"),)
    )
    call = paint.submit(request, Target("paint", "paint-1"))
    assert (call.method, call.path) == ("POST", "/v2/jobs")
    assert call.body == {
        "model": "paint-1",
        "prompt": "a door",
        "ratio": "16:9",
        "count": 2,
        "refs": ["https://a.example/1.png"],
    }
    pending = paint.judge(call, 200, {}, {"job": {"id": "j-1", "state": "new"}})
    assert isinstance(pending, Pending)
    poll = paint.poll(pending.task)
    assert (poll.method, poll.path) == ("GET", "/v2/jobs/j-1")
    reply = {"job": {"id": "j-1", "state": "ok", "pictures": [{"link": "https://cdn.example/1.png"}]}}
    done = paint.judge(poll, 200, {}, reply)
    assert isinstance(done, Done)
    assert [image.url for image in done.images] == ["https://cdn.example/1.png"]


def test_a_vendor_that_tells_its_progress_in_the_reply_needs_no_poll():
    data = read(re.search(r"```yaml\nprofiles:\n  drawco:\n(.+?)```", PAGE, re.S)[1])
    assert check_profile("drawco", data) == []
    draw = DeclaredWire(load_profile("drawco", data).surface(), data["base_url"])
    call = draw.submit(asked("a door"), Target("draw", "x"))
    assert (call.path, call.body, call.stream) == ("/v1/draw", {"prompt": "a door"}, True)
    done = draw.judge(call, 200, {}, {"state": "ok", "image": "https://cdn.example/1.png", "cost": "0.02"})
    assert isinstance(done, Done)
    assert [image.url for image in done.images] == ["https://cdn.example/1.png"]


def test_the_test_that_the_page_shows_for_a_profile_passes(tmp_path, monkeypatch):
    """With the replies that `--record` would have kept."""
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.+?)```", PAGE, re.S)[1]
    profile = re.search(r"```yaml\nprofiles:\n  paintco:\n(.+?)```", PAGE, re.S)[1]
    (tmp_path / "paintco.yaml").write_text(textwrap.dedent(profile))
    seen = tmp_path / "seen"
    seen.mkdir()
    done = {"id": "j", "state": "ok", "pictures": [{"link": "https://cdn.paint.example/1.png"}]}
    for name, kept in {
        "01-request": {"body": {"model": "paint-1", "prompt": "a door", "ratio": "1:1", "count": 1}},
        "01-reply": {"job": {"id": "j", "state": "new"}},
        "02-reply": {"job": done},
    }.items():
        (seen / f"{name}.json").write_text(json.dumps(kept))
    names = {}
    exec(code, names)
    names["test_paintco_as_it_was_recorded"]()


@pytest.mark.parametrize("block", re.findall(r"```yaml\n((?:poll|upload): .+?)```", PAGE, re.S))
def test_the_page_s_short_examples_are_right(block):
    surface = {
        "submit": {"request": "POST /x", "body": {"p": "$prompt"}},
        "task": {"id": "id"},
        "result": {"images": "u"},
        **read(block),
    }
    assert check_profile("x", {"base_url": "https://a.example", "surfaces": {"image": surface}}) == []


def test_the_page_s_signature_is_what_is_sent():
    """The whole example: what is signed and what it comes to, and what an empty body counts as."""
    scheme = re.search(r"```yaml\n(auth:\n  signature:.+?)```", PAGE, re.S)[1]
    surface = {"submit": {"request": "POST /v2/jobs"}, "result": {"images": "u"}}
    scheme = load_profile("x", {**read(scheme), "surfaces": {"image": surface}}).carrier.scheme
    key, body = re.search(r"the key `(.+?)`, the body `(.+?)`", PAGE).groups()
    text, sent = re.search(r"```text\n(OB1.+?)\n\n(.+?)\n```", PAGE, re.S).groups()
    signed = replace(scheme, headers={"text": scheme.text, "s": "{signature}"})
    account = Account("x", "https://a.example")
    opened = Signed(signed, key, (), lambda: 1_700_000_000.0).opened(
        Call("/v2/jobs", json.loads(body)), account
    )
    assert dict(opened.auth.headers) == {"text": text, "s": sent}
    empty = replace(signed, headers={"sha": "{body_sha256}", "md5": "{body_md5}", "body": "<{body}>"})
    calls = [
        Call("/f", {"a": "b"}, encoding="multipart"),
        Call("/1.png", {}, "GET"),
        Call("/f", {}, encoding="raw"),
    ]
    for call in calls:
        found = dict(Signed(empty, key).opened(call, account).auth.headers)
        assert (found["sha"] in PAGE, found["md5"] in PAGE, found["body"]) == (True, True, "<>")
    assert dict(Signed(empty, key).opened(Call("/q", {}), account).auth.headers)["body"] == "<{}>"
