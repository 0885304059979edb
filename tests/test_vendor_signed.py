"""A vendor nobody shipped, written from docs/vendors.md alone: pictures are uploaded first, every call is
signed, the order is a form whose reply is a header, polls are POSTs, and the files want a signature too."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import pytest

from proxy import config
from proxy.__main__ import main
from proxy.simulators import pictures
from tests.desks import listening
from tests.gateway import Gateway, open_gateway
from tests.picture_vendors import GOOD, decoded, post, raises, size_of

HEAD = "version: 1\nkeys: [{name: app, key: env:TEST_KEY}]\n"
PROFILE = r"""
profiles:
  atelier:
    base_url: https://api.atelier.example
    auth:
      signature:
        text: "{method}\n{path}\n{timestamp}\n{nonce}\n{body_sha256}"
        encoding: base64
        headers: {X-Id: "{id}", X-Time: "{timestamp}", X-Nonce: "{nonce}", X-Sign: "{signature}"}
    surfaces:
      image:
        upload:
          request: POST /v3/files
          multipart: {purpose: reference, kind: $mime}
          files: {file: $file}
          result: file.token
        submit:
          request: POST /v3/pictures
          form: {model: $model, text: $prompt, w: $width, h: $height, like: $references, order: $uuid}
        task: {id: _headers.location}
        poll: {request: POST /v3/query, headers: {X-Model: $model}, body: {ticket: $task.id}, every: 3s}
        cancel: {request: POST /v3/drop, form: {ticket: $task.id}, only_when: [waiting]}
        state: {path: state, absent: pending, pending: [waiting], success: [ready], failed: [spoilt]}
        result: {images: "files[]", keyed: true}
        size: {mode: pixels}
        limits: {references: [upload], max_references: 2}
"""
MODEL = """
providers:
  own: {profile: atelier, base_url: "BASE/shop", keys: [env:VENDOR_KEY, env:OTHER_KEY], private: true}
models:
  own-1: {targets: [own/brush], poll: {every: 20ms}}
"""
DRAWN = pictures.png(1024, 768, "a door")
_SECRET = "the-secret-of-the-studio"
KEYS = {"VENDOR_KEY": f"studio-7:{_SECRET}", "OTHER_KEY": f"studio-8:{_SECRET}"}


class Atelier(BaseHTTPRequestHandler):
    """Strict: an unknown field, an old or repeated nonce or a wrong signature is refused."""

    seen: ClassVar[list[tuple[str, Any]]] = []
    nonces: ClassVar[set[str]] = set()
    polls: ClassVar[int] = 0
    refuse_once: ClassVar[bool] = False

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        kind = self.headers.get("content-type", "")
        signed = b"" if kind.startswith("multipart/") else raw
        if not self._is_signed(signed):
            return self._answer(401, {"message": "bad signature"})
        if self.path == "/shop/v3/files":
            return self._upload(kind, raw)
        if self.path == "/shop/v3/pictures":
            return self._order(kind, raw)
        if self.path == "/shop/v3/query":
            return self._query(raw)
        return self._answer(404, {"message": f"no {self.path}"})

    def do_GET(self) -> None:
        if self.path == "/elsewhere/1.png":
            self.seen.append(("elsewhere", self.headers.get("x-sign")))
            return self._answer(200, DRAWN, "image/png")
        if not self._is_signed(b""):
            return self._answer(401, {"message": "bad signature"})
        self.seen.append(("file", self.path))
        if self.path == "/shop/v3/moved.png":
            port = self.server.server_address[1]
            return self._answer(302, b"", location=f"http://localhost:{port}/elsewhere/1.png")
        return self._answer(200, DRAWN, "image/png")

    def _is_signed(self, body: bytes) -> bool:
        nonce = self.headers.get("x-nonce", "")
        fresh = bool(re.fullmatch(r"[0-9a-f]{32}", nonce)) and nonce not in self.nonces
        self.nonces.add(nonce)
        digest = hashlib.sha256(body).hexdigest()
        text = "\n".join((self.command, self.path, self.headers.get("x-time", ""), nonce, digest))
        expected = hmac.new(_SECRET.encode(), text.encode(), hashlib.sha256).digest()
        good = base64.b64encode(expected).decode() == self.headers.get("x-sign")
        return fresh and good and self.headers.get("x-id") in ("studio-7", "studio-8")

    def _upload(self, kind: str, raw: bytes) -> None:
        form = message_from_bytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + raw)
        parts: Any = form.get_payload()
        fields = {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in parts
        }
        if fields.keys() != {"purpose", "kind", "file"} or fields["kind"] != b"image/png":
            return self._answer(422, {"message": "unknown field"})
        self.seen.append(("upload", fields["file"]))
        if fields["file"] == DRAWN:
            return self._answer(200, {"file": {"name": "x"}, "took_ms": 4})
        return self._answer(200, {"file": {"token": f"t-{len(self.seen)}"}})

    def _order(self, kind: str, raw: bytes) -> None:
        fields = parse_qsl(raw.decode(), strict_parsing=True)
        known = {"model", "text", "w", "h", "like", "order"}
        if kind != "application/x-www-form-urlencoded" or not {name for name, _ in fields} <= known:
            return self._answer(422, {"message": "unknown field"})
        self.seen.append(("order", fields))
        if Atelier.refuse_once:
            Atelier.refuse_once = False
            return self._answer(429, {"message": "the studio is full"})
        Atelier.polls = 0
        return self._answer(202, b"", location=f"/v3/pictures/{dict(fields)['text']}")

    def _query(self, raw: bytes) -> None:
        ticket = json.loads(raw)
        Atelier.polls += 1
        if ticket.keys() != {"ticket"} or self.headers.get("x-model") != "brush":
            return self._answer(422, {"message": "unknown field"})
        self.seen.append(("query", ticket["ticket"]))
        name = ticket["ticket"].rpartition("/")[2]
        if Atelier.polls < 7:  # more than the answers without a word that would end a wait
            return self._answer(200, {})
        if name == "spoilt":
            return self._answer(200, {"state": "spoilt", "message": "The paint ran dry."})
        file = f"./v3/{name}.png" if name == "moved" else f"/shop/v3/{name}.png"
        return self._answer(200, {"state": "ready", "files": [file]})

    def _answer(self, status: int, body: Any, kind: str = "application/json", location: str = "") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        if data:
            self.send_header("content-type", kind)
        if location:
            self.send_header("location", location)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def atelier() -> Iterator[str]:
    Atelier.seen.clear()
    Atelier.nonces.clear()
    with listening(Atelier) as base:
        yield base


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("atelier")
    with (
        atelier() as base,
        open_gateway(folder, HEAD + PROFILE + MODEL.replace("BASE", base), KEYS) as opened,
    ):
        yield opened


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    Atelier.seen.clear()


def orders() -> list[dict[str, str]]:
    return [dict(fields) for what, fields in Atelier.seen if what == "order"]


def test_a_signed_vendor_with_posted_polls_and_keyed_files_is_added_by_yaml_alone(gateway: Gateway) -> None:
    reply = gateway.client().images.generate(model="own-1", prompt="door", size="1024x768")
    assert size_of(decoded((reply.data or ())[0].b64_json or "")) == (1024, 768)
    (order,) = orders()
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", order["order"]
    )
    assert {**order, "order": ""} == {"model": "brush", "text": "door", "w": "1024", "h": "768", "order": ""}
    assert Atelier.seen[1:] == [("query", "/v3/pictures/door")] * 7 + [("file", "/shop/v3/door.png")]


def test_pictures_go_ahead_and_the_order_names_what_they_were_called(gateway: Gateway) -> None:
    second = pictures.png(32, 32, "second")
    files = [("image[]", ("a.png", GOOD, "image/png")), ("image[]", ("b.png", second, "image/png"))]
    reply = post(gateway, "images/edits", data={"model": "own-1", "prompt": "hat"}, files=files)
    assert reply.status_code == 200, reply.text
    assert [one for one in Atelier.seen if one[0] == "upload"] == [("upload", GOOD), ("upload", second)]
    fields = next(fields for what, fields in Atelier.seen if what == "order")
    assert [value for name, value in fields if name == "like"] == ["t-1", "t-2"]


def test_nothing_is_uploaded_for_a_strict_client_whose_wish_is_not_carried(gateway: Gateway) -> None:
    reply = post(
        gateway,
        "images/edits",
        data={"model": "own-1", "prompt": "hat", "background": "transparent"},
        files=[("image[]", ("a.png", GOOD, "image/png"))],
        headers={"x-proxy-strict": "true"},
    )
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "background")
    assert Atelier.seen == []


def test_explain_shows_what_goes_ahead_of_an_order(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**KEYS, "TEST_KEY": "k"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "providers.yaml").write_text(HEAD + PROFILE + MODEL.replace("BASE", "https://a.example"))
    picture = f"data:image/png;base64,{base64.b64encode(GOOD).decode()}"
    (tmp_path / "r.json").write_text(json.dumps({"prompt": "hat", "images": [{"image_url": picture}]}))
    arguments = ["--config", str(tmp_path / "providers.yaml"), "--request", str(tmp_path / "r.json")]
    assert main(["explain", "own-1", *arguments]) == 0
    shown = capsys.readouterr().out
    first = "\nfirst, with each picture: POST https://a.example/shop/v3/files\n"
    assert first + '{\n  "purpose": "reference",\n  "kind": "{mime}",\n  "file": "{file}"\n}\n' in shown
    assert '"like": [\n    "{upload 1}"\n  ]' in shown
    poll = "then, to ask how it is: POST https://a.example/shop/v3/query\n"
    assert poll + 'X-Model: brush\n{\n  "ticket": "{task.id}"\n}\n' in shown
    assert "\nx-sign: ***\n" in shown
    assert _SECRET not in shown


def test_try_says_why_a_path_found_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**KEYS, "TEST_KEY": "k"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.png").write_bytes(DRAWN)
    with atelier() as base:
        (tmp_path / "providers.yaml").write_text(HEAD + PROFILE + MODEL.replace("BASE", base))
        assert main(["try", "own-1", "hat", "--image", "in.png"]) == 3
    err = capsys.readouterr().err
    assert "\nwhy: nothing is at file.token; the reply has file, file.name, took_ms\n" in err


def test_a_reply_to_an_upload_that_names_nothing_is_no_order(gateway: Gateway) -> None:
    reply = post(
        gateway,
        "images/edits",
        data={"model": "own-1", "prompt": "hat"},
        files=[("image[]", ("a.png", DRAWN, "image/png"))],
    )
    said = reply.json()["error"]["message"]
    assert said.startswith("own took the picture but did not say what it is called there. (request id: ")
    assert orders() == []


def test_the_same_order_keeps_its_id_when_it_is_given_again(gateway: Gateway) -> None:
    Atelier.refuse_once = True
    gateway.client().images.generate(model="own-1", prompt="gate")
    gateway.client().images.generate(model="own-1", prompt="gate")
    refused, again, another = (order["order"] for order in orders())
    assert refused == again
    assert again != another


def test_a_signature_does_not_follow_a_file_to_another_host(gateway: Gateway) -> None:
    reply = gateway.client().images.generate(model="own-1", prompt="moved")
    assert size_of(decoded((reply.data or ())[0].b64_json or "")) == (1024, 768)
    assert Atelier.seen[-2:] == [("file", "/shop/v3/moved.png"), ("elsewhere", None)]


def test_what_the_vendor_says_is_told_without_an_errors_section(gateway: Gateway) -> None:
    error = raises(gateway, "own-1", "spoilt")
    assert error.status_code == 502
    assert error.body["message"].startswith("The paint ran dry. (request id: ")  # type: ignore[index]


def test_a_key_without_its_second_half_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "providers.yaml"
    path.write_text(HEAD + PROFILE + MODEL.replace("BASE", "https://a.example"))
    loaded = config.load(path, {**KEYS, "TEST_KEY": "k", "VENDOR_KEY": "only-an-id"})
    (problem,) = [each for each in loaded.problems if each.code == "E103"]
    line = path.read_text().splitlines()[problem.line - 1]
    assert line[problem.column - 1 :].startswith("env:VENDOR_KEY")
    assert (problem.message, problem.hint) == (
        "providers.own.keys[0] must be id:secret",
        "write the vendor's id and secret as one value, with a colon between",
    )
