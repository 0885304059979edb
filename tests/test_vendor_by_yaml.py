"""Vendors nobody shipped, added by YAML alone, against a small server that keeps to its own page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import pytest

from proxy.simulators import pictures
from tests.declared import NAMES, shipped
from tests.desks import listening
from tests.gateway import open_gateway
from tests.picture_vendors import GOOD, decoded, post, raises, size_of

PAGE = (Path(__file__).parent.parent / "docs" / "vendors.md").read_text(encoding="utf-8")
DRAWN = pictures.png(1344, 768, "a door")

HEAD = "version: 1\nkeys: [{name: app, key: env:TEST_KEY}]\n"
MODEL = """
providers:
  paint: {profile: paintco, base_url: "BASE", keys: [env:VENDOR_KEY], private: true}
models:
  paint-1: {targets: [paint/paint-1], poll: {every: 20ms}}
"""


class Paintco(BaseHTTPRequestHandler):
    """The vendor of docs/vendors.md: jobs are busy once, then done, refused or broken by their prompt."""

    seen: ClassVar[list[Any]] = []
    polls: ClassVar[dict[str, int]] = {}

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        kind = self.headers["content-type"]
        if self.headers["authorization"] != "Bearer vendor-key-canary":
            said = f"who is {self.headers['authorization']}"
            if "quotes" in said:
                said = '{"prompt": "a secret cat"} was not signed so'
            return self._answer(401, {"error": {"message": said, "code": "key"}})
        if self.path == "/v2/forms":
            form = message_from_bytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + raw)
            parts = [
                (part.get_param("name", header="content-disposition"), part.get_content_type(), part)
                for part in form.get_payload()  # type: ignore[union-attr]
            ]
            self.seen.append([(name, mime, part.get_payload(decode=True)) for name, mime, part in parts])
            return self._answer(200, {"picture": self._link()})
        body = json.loads(raw)
        self.seen.append(body)
        if body["prompt"] == "poor":
            return self._answer(402, {"error": {"message": "pay first", "code": "money"}})
        return self._answer(200, {"job": {"id": body["prompt"], "state": "new"}})

    def do_GET(self) -> None:
        if self.path == "/door.png":
            return self._answer(200, DRAWN, "image/png")
        if self.path == "/locked.png":
            return self._answer(403, {"error": "no"})
        prompt = self.path.rpartition("/")[2]
        self.polls[prompt] = self.polls.get(prompt, 0) + 1
        if self.polls[prompt] == 1:
            return self._answer(200, {"job": {"id": prompt, "state": "busy"}})
        state = {"rude": "refused", "bad": "broken"}.get(prompt, "ok")
        job: dict[str, Any] = {"id": prompt, "state": state}
        if state == "ok":
            job["pictures"] = [{"link": self._link(prompt)}] * self.seen[-1]["count"]
        more = {"error": {"message": "It broke."}} if state == "broken" else {}
        return self._answer(200, {"job": job, **more})

    def _link(self, prompt: str = "") -> str:
        return f"http://{self.headers['host']}/{'locked' if prompt == 'locked' else 'door'}.png"

    def _answer(self, status: int, body: Any, kind: str = "application/json") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def paintco() -> Iterator[str]:
    Paintco.seen.clear()
    Paintco.polls.clear()
    with listening(Paintco) as base:
        yield base


def of_the_page() -> str:
    found = re.search(r"```yaml\n(profiles:.+?)```", PAGE, re.S)
    assert found is not None
    assert len(found[1].splitlines()) <= 22
    return found[1]


def test_the_vendor_of_the_page_works_end_to_end(tmp_path: Path) -> None:
    """V-056: pictures, sizes, references, failures and refusals, with no line of Python"""
    with paintco() as base, open_gateway(tmp_path, HEAD + of_the_page() + MODEL.replace("BASE", base)) as own:
        reply = own.client().images.generate(model="paint-1", prompt="door", size="1792x1024", n=2)
        assert [size_of(decoded(item.b64_json or "")) for item in reply.data or ()] == [(1344, 768)] * 2
        assert Paintco.seen == [{"model": "paint-1", "prompt": "door", "ratio": "16:9", "count": 2}]
        assert Paintco.polls == {"door": 2}
        urls = ["https://a.example/1.png", "https://a.example/2.png"]
        edit = post(own, "images/edits", {"model": "paint-1", "prompt": "window", "image_urls": urls})
        assert edit.status_code == 200
        assert Paintco.seen[-1]["refs"] == urls
        (event,) = own.client().images.generate(model="paint-1", prompt="gate", stream=True)
        assert size_of(decoded(event.b64_json)) == (1344, 768)
        messages: Any = [{"role": "user", "content": "arch"}]
        chat: Any = own.client().chat.completions.create(model="paint-1", messages=messages)
        assert chat.choices[0].message.images[0]["type"] == "image_url"
        errors = {prompt: raises(own, "paint-1", prompt) for prompt in ("poor", "rude", "bad")}
        assert {prompt: (error.status_code, error.code) for prompt, error in errors.items()} == {
            "poor": (429, "insufficient_quota"),
            "rude": (400, "moderation_blocked"),
            "bad": (502, "upstream_error"),
        }
        assert len(Paintco.seen) == 7


def test_the_log_tells_the_operator_what_clients_are_not_told(tmp_path: Path, capfdbinary: Any) -> None:
    """V-050: what the vendor says of our key, a file it does not give; and a class where there is no code"""
    with paintco() as base:
        file = HEAD + of_the_page() + MODEL.replace("BASE", base)
        with open_gateway(tmp_path, file, {"VENDOR_KEY": "wrong-key-canary"}) as own:
            assert (
                raises(own, "paint-1", "door")
                .body["message"]
                .startswith(  # type: ignore[index]
                    "paint does not accept our credentials. (request id: "
                )
            )
        with open_gateway(tmp_path, file, {"VENDOR_KEY": "quotes-the-body"}) as own:
            raises(own, "paint-1", "a secret cat")
        with open_gateway(tmp_path, file) as own:
            for prompt in ("locked", "poor", "rude"):
                raises(own, "paint-1", prompt)
    err = capfdbinary.readouterr().err
    lines = [json.loads(line) for line in err.splitlines() if line.startswith(b"{")]
    assert [line.get("why") for line in lines if line["event"] == "attempt_failed"] == [
        "who is Bearer ***",
        None,
        "The file at '127.0.0.1' could not be downloaded: status 403. "
        "Where a vendor's files want the key, its profile says result: {keyed: true}.",
        None,
        None,
    ]
    assert [line["error"] for line in lines if line["event"] == "request"] == [
        "upstream_auth_failed",
        "upstream_auth_failed",
        "upstream_result_unavailable",
        "quota",
        "blocked",
    ]
    assert b"canary" not in err
    assert b"secret cat" not in err


@pytest.mark.parametrize("page", ["README.md", "docs/vendors.md"])
def test_the_table_of_vendors_says_what_the_profiles_say(page: str) -> None:
    """Pictures taken and made per order, tasks and calling off; those that chat have no such limits."""
    text = (Path(__file__).parent.parent / page).read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `([a-z.-]+)` \| (generate[^|]*) \| (.*?) \| .*? \| (\d+) \| (.*?) \| (.*?) \|", text, re.M
    )
    assert {row[0].split(".")[0] for row in rows} == {*NAMES, "google"}
    for name, makes, taken, n, answers, called_off in rows:
        vendor, _, surface = name.partition(".")
        if "chat" in makes:
            continue
        variant = shipped(vendor).surface(surface or None).variant("any", False)
        forms = {"url": "address", "data_uri": "data", "base64": "data", "file": "data", "upload": "data"}
        assert {word.split(" ")[0] for word in taken.split(", ")} == {
            forms[form] for form in variant.limits.references
        } or (taken, variant.limits.references) == ("none", ())
        assert ("edit" in makes) is bool(variant.limits.references)
        assert variant.limits.max_references == (
            int(found[1]) if (found := re.search(r"\((\d+)\)", taken)) else None
        )
        assert variant.limits.n == int(n)
        assert ("task" in answers) is (variant.poll is not None)
        assert (called_off not in ("no", "-")) is (variant.cancel is not None)


FORM = """
profiles:
  paintco:
    surfaces:
      image:
        submit:
          request: POST /v2/forms
          body: {model: $model, prompt: $prompt, n: $n}
          files: {"picture[]": $references}
        result: {images: picture}
        limits: {references: [file]}
"""


def test_a_vendor_that_wants_a_form_gets_the_files_themselves(tmp_path: Path) -> None:
    with paintco() as base, open_gateway(tmp_path, HEAD + FORM + MODEL.replace("BASE", base)) as own:
        files = [
            ("image[]", ('od"d\r\nname.png', GOOD, "image/png")),
            ("image[]", ("b.png", DRAWN, "image/png")),
        ]
        reply = post(own, "images/edits", data={"model": "paint-1", "prompt": "Straße"}, files=files)
        assert reply.status_code == 200, reply.text
    (parts,) = Paintco.seen
    assert parts == [
        ("model", "text/plain", b"paint-1"),
        ("prompt", "text/plain", "Straße".encode()),
        ("n", "text/plain", b"1"),
        ("picture[]", "image/png", GOOD),
        ("picture[]", "image/png", DRAWN),
    ]


@pytest.mark.parametrize("wrong", ["{id: job.id", "states: {}"])
def test_a_mistake_in_it_is_told_with_its_line(tmp_path: Path, wrong: str) -> None:
    """V-048"""
    from proxy import config

    text = of_the_page().replace("task: {id: job.id}", f"task: {wrong}")
    path = tmp_path / "providers.yaml"
    path.write_text(HEAD + text + MODEL.replace("BASE", "http://127.0.0.1:9"))
    loaded = config.load(path, {"TEST_KEY": "k", "VENDOR_KEY": "v"})
    assert loaded.config is None
    assert any(re.match(r".+providers\.yaml:\d+:\d+: error E\d{3} ", str(each)) for each in loaded.problems)
