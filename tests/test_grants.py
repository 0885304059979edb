"""What is made of a key of two parts: tokens signed here or traded at the vendor, signatures of calls."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Call, Carrier, FormFile, Slice
from proxy.types.auth import Exchange, Jwt, Signature
from proxy.upstream import Account, Deadlines
from proxy.upstream.authorizer import Denied, Granted
from proxy.upstream.grants import ExchangeGrant, JwtGrant
from proxy.upstream.signing import Signed
from proxy.upstream.tokens import Token
from tests.test_declared_check import SMALL, complaints

pytestmark = pytest.mark.anyio
NOW = 1_700_000_000.75


class Line:
    """A way to a token server that answers as it is told, and keeps what it was asked."""

    def __init__(self, status: int = 200, body: Any = None, fault: UpstreamError | None = None) -> None:
        self.asked: list[tuple[str, bytes, str, bool]] = []
        self._status, self._body, self._fault = status, body, fault

    async def post(
        self, url: str, data: bytes, content_type: str, provider: str, *, private: bool
    ) -> tuple[int, bytes]:
        self.asked.append((url, data, content_type, private))
        if self._fault is not None:
            raise self._fault
        return self._status, self._body if isinstance(self._body, bytes) else json.dumps(self._body).encode()


def part(text: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


# --- signed here


async def test_a_token_says_who_and_how_long_and_is_signed() -> None:
    claims = {"iss": "{id}", "exp": "{expires}", "nbf": "{begins}", "aud": "x-{id}", "fixed": 1}
    grant = JwtGrant(Jwt(claims, {"kid": "{id}"}, life_s=1800), "ak-7:sk-secret-value", lambda: NOW)
    granted = await grant.ask(Line(), "v")
    assert isinstance(granted, Granted)
    head, body, signature = granted.token.split(".")
    assert part(head) == {"alg": "HS256", "typ": "JWT", "kid": "ak-7"}
    assert part(body) == {
        "iss": "ak-7",
        "exp": 1_700_001_800,
        "nbf": 1_699_999_995,
        "aud": "x-ak-7",
        "fixed": 1,
    }
    digest = hmac.new(b"sk-secret-value", f"{head}.{body}".encode(), hashlib.sha256).digest()
    assert signature == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert granted.life_s == 1800
    assert "sk-secret-value" in grant.secrets


async def test_a_token_may_be_in_milliseconds_and_in_sha512() -> None:
    jwt = Jwt({"api_key": "{id}", "exp": "{expires_ms}", "timestamp": "{timestamp_ms}"}, hash="sha512")
    granted = await JwtGrant(jwt, "a:b", lambda: NOW).ask(Line(), "v")
    assert isinstance(granted, Granted)
    head, body, _ = granted.token.split(".")
    assert part(head)["alg"] == "HS512"
    assert part(body) == {"api_key": "a", "exp": 1_700_001_800_750, "timestamp": 1_700_000_000_750}


# --- traded at the vendor


def exchange(**changes: Any) -> Exchange:
    given: dict[str, Any] = {
        "address": "/oauth/token",
        "query": {"grant_type": "client_credentials"},
        "fields": {"client_id": "{id}", "client_secret": "{secret}"},
        "encoding": "form",
        "token": lambda answer: answer.get("data", {}).get("token"),
        "life_s": lambda answer: answer.get("data", {}).get("lives"),
        **changes,
    }
    return Exchange(**given)


async def test_a_key_is_traded_at_the_account_s_own_address() -> None:
    line = Line(body={"data": {"token": "t-1", "lives": 60}})
    grant = ExchangeGrant(exchange(), "id&1:secret/2", "https://v.example/api/", private=True)
    assert await grant.ask(line, "v") == Granted("t-1", 60.0)
    assert line.asked == [
        (
            "https://v.example/api/oauth/token?grant_type=client_credentials",
            b"client_id=id%261&client_secret=secret%2F2",
            "application/x-www-form-urlencoded",
            True,
        )
    ]


async def test_a_token_server_elsewhere_is_asked_in_json_and_is_not_private() -> None:
    line = Line(body={"data": {"token": "t-1"}})
    scheme = exchange(address="https://login.example/token", query={}, encoding="json")
    granted = await ExchangeGrant(scheme, "i:s", "http://10.0.0.7", private=True).ask(line, "v")
    assert granted == Granted("t-1", 1800.0)
    assert line.asked == [
        (
            "https://login.example/token",
            b'{"client_id":"i","client_secret":"s"}',
            "application/json",
            False,
        )
    ]


@pytest.mark.parametrize(
    ("line", "denied"),
    [
        (
            Line(401, {"error": "invalid_client", "error_description": "s is wrong"}),
            Denied(ErrorClass.AUTH, "the token server refused the key (401 invalid_client)", 401),
        ),
        (
            Line(200, {"error": "unauthorized"}),
            Denied(ErrorClass.AUTH, "the token server refused the key (200 unauthorized)", 200),
        ),
        (
            Line(503, b"<html>"),
            Denied(ErrorClass.UNAVAILABLE, "the token server answered with 503", 503),
        ),
        (
            Line(200, {"data": {"token": "two words"}}),
            Denied(ErrorClass.UNAVAILABLE, "the token server's answer holds none", 200),
        ),
        (
            Line(fault=UpstreamError(ErrorClass.CONNECT, "'v' could not be reached")),
            Denied(ErrorClass.UNAVAILABLE, "the token server could not be reached"),
        ),
    ],
)
async def test_why_there_is_no_token(line: Line, denied: Denied) -> None:
    grant = ExchangeGrant(exchange(), "i:s", "https://v.example", private=False)
    assert await grant.ask(line, "v") == denied


@pytest.mark.parametrize(
    ("carrier", "headers", "query", "shown"),
    [
        (Carrier("X-Token", "T "), (("x-token", "T t-1"),), "", ({"x-token": "***"}, "")),
        (Carrier(query="access_token"), (), "access_token=t-1", ({}, "access_token=***")),
    ],
)
async def test_a_token_travels_as_the_key_would(
    carrier: Carrier, headers: Any, query: str, shown: Any
) -> None:
    line = Line(body={"data": {"token": "t-1"}})
    grant = ExchangeGrant(exchange(), "i:s", "https://v.example", private=False)
    token = Token("v", grant, carrier=carrier)
    await token.ready(line, Deadlines(connect_s=1, first_byte_s=1, idle_s=1, total_s=1))  # type: ignore[arg-type]
    assert (token.headers, token.query, token.shown) == (headers, query, shown)


# --- signatures

KEY = "id-7:sk-secret-value"
ACCOUNT = Account("v", "https://v.example/api")


def signed(call: Call, text: str, **changes: Any) -> dict[str, str]:
    """The headers that a call gets. The nonce is not looked at."""
    scheme = Signature(text, "sha256", "hex", {"X-Sign": "{signature}", "X-Text": text}, {})
    auth = Signed(scheme, KEY, (("x-team", "blue"),), lambda: NOW)
    return dict(auth.opened(call, ACCOUNT).auth.headers)


@pytest.mark.parametrize(
    ("call", "text", "expected"),
    [
        (
            Call("/jobs?b=2&a=1", {"a": 1}),
            "{method} {host} {path} {query} {timestamp} {timestamp_ms} {date} {id}",
            "POST v.example /api/jobs b=2&a=1 1700000000 1700000000750 2023-11-14T22:13:20Z id-7",
        ),
        (
            Call("", {}, "GET", url="https://files.example/x.png?s=1"),
            "{method} {host} {path} {query} {body}.",
            "GET files.example /x.png s=1 .",
        ),
        (Call("/x", {"é": 1, "b": [True]}), "{body}", '{"é":1,"b":[true]}'),
        (Call("/x", {"a": "b c"}, encoding="form"), "{body}", "a=b+c"),
        (
            Call("/x", {}),
            "{body_md5} {body_sha256}",
            f"{hashlib.md5(b'{}').hexdigest()} {hashlib.sha256(b'{}').hexdigest()}",
        ),
        (
            Call("/x", {"a": 1}, files=(FormFile("f", "x.png", "image/png", Slice(b"AAAA")),)),
            "{body_sha256}",
            hashlib.sha256(b"").hexdigest(),
        ),
        (Call("/x", {"a": 1}, encoding="multipart"), "{body}", ""),
    ],
)
async def test_a_signature_is_of_the_call_as_the_vendor_sees_it(call: Call, text: str, expected: str) -> None:
    headers = signed(call, text)
    assert headers["x-text"] == expected
    digest = hmac.new(b"sk-secret-value", expected.encode(), hashlib.sha256).hexdigest()
    assert (headers["x-sign"], headers["x-team"]) == (digest, "blue")


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("hex", bytes.hex),
        ("base64", lambda digest: base64.b64encode(digest).decode()),
        ("base64url", lambda digest: base64.urlsafe_b64encode(digest).decode().rstrip("=")),
    ],
)
@pytest.mark.parametrize("name", ["md5", "sha1", "sha256", "sha512"])
async def test_a_signature_is_written_as_the_vendor_wants_it(name: Any, encoding: Any, written: Any) -> None:
    auth = Signed(Signature("x", name, encoding, {}, {"sig": "{signature}"}), KEY)
    opened = auth.opened(Call("/x", {}), ACCOUNT).auth
    expected = written(hmac.new(b"sk-secret-value", b"x", name).digest())
    assert parse_qs(opened.query) == {"sig": [expected]}


async def test_no_call_is_signed_like_another_and_nothing_shows_the_secret() -> None:
    auth = Signed(Signature("{nonce}", "sha1", "hex", {"X-N": "{nonce}"}, {"s": "{signature}"}), KEY)
    first, second = (auth.opened(Call("/x", {}), ACCOUNT).auth for _ in range(2))
    assert first.headers != second.headers
    assert auth.shown == ({"x-n": "***"}, "s=***")
    assert {"sk-secret-value", KEY} <= set(auth.secrets)
    assert "sk-secret-value" not in f"{auth!r} {first!r}"


# --- what check says

AUTHS = {
    "claims": (
        "jwt: {life: 30m}",
        '3 E106 [{life: 30m}}] auth.jwt has no "claims"; write claims: {iss: "{id}", ...}',
    ),
    "name": (
        'jwt: {claims: {iss: "{ident}"}}',
        '3 E122 ["{ident}"}}}] unknown name {ident}; did you mean "{id}"?',
    ),
    "hash": (
        'jwt: {claims: {iss: "{id}"}, hash: rs256}',
        "3 E103 [rs256}}] auth.jwt.hash is 'rs256'; it must be one of sha256, sha512; ",
    ),
    "life": (
        'jwt: {claims: {iss: "{id}"}, life: 1800}',
        "3 E143 [1800}}] auth.jwt.life 1800 has no unit; write 1800s",
    ),
    "call names are for signatures": (
        'jwt: {claims: {iss: "{path}"}}',
        "3 E122 [",
    ),
    "text": (
        'signature: {headers: {X: "{signature}"}}',
        '3 E106 [{headers: {X] auth.signature has no "text"; say what is signed',
    ),
    "nowhere": (
        'signature: {text: "{path}", headers: {X: "{id}"}}',
        '3 E106 [{text: "{pat] auth.signature is sent nowhere; '
        'write headers: {X-Signature: "{signature}"} or query: {...}',
    ),
    "nothing": (
        'signature: {text: "{path}", query: {s: }}',
        '3 E106 [{text: "{pat] auth.signature is sent nowhere; '
        'write headers: {X-Signature: "{signature}"} or query: {...}',
    ),
    "two": (
        'jwt: {claims: {a: b}}, signature: {text: x, query: {s: "{signature}"}}',
        "3 E106 [{jwt: {claim] auth has both jwt and signature; keep one",
    ),
    "places": (
        'header: x-key, signature: {text: x, query: {s: "{signature}"}}',
        "3 E106 [{header: x-k] a signature has headers and query of its own; put them into signature",
    ),
    "request": (
        "token: {request: GET /token, token: t}",
        "3 E103 [GET /token, ] auth.token.request is 'GET /token'; it must be POST and a path "
        "or an https address; write for example POST /oauth/token",
    ),
    "plain http": ("token: {request: POST http://a.example/t, token: t}", "3 E103 ["),
    "token": (
        "token: {request: POST /token}",
        '3 E106 [{request: PO] auth.token has no "token"; ',
    ),
    "path": (
        'token: {request: POST /token, token: "a["}',
        '3 E123 ["a["}}] "a[" is not a valid path (column 3: it ends too early); ',
    ),
    "key": (
        "jwt: {claim: {}}",
        '3 E101 [claim: {}}}] unknown key "claim" in auth.jwt; did you mean "claims"?',
    ),
    "not text": (
        "token: {request: POST /token, token: t, form: {a: 1}}",
        "3 E103 [1}}}] auth.token.form.a must be text; ",
    ),
}


@pytest.mark.parametrize(("auth", "expected"), AUTHS.values(), ids=AUTHS)
async def test_each_mistake_in_auth_has_its_place(auth: str, expected: str) -> None:
    found = complaints(SMALL.replace("surfaces:", f"auth: {{{auth}}}\nsurfaces:", 1))
    assert any(one.startswith(expected) for one in found), found


FORMS = {
    "two bodies": (
        "body: {model: $model, prompt: $prompt}",
        "body: {model: $model}, form: {prompt: $prompt}",
        "5 E106 [{request: PO] surfaces.image.submit has both body and form; keep one",
    ),
    "a GET with a body": (
        '"GET /jobs/{task.id}"',
        '"GET /jobs/{task.id}", body: {id: $task.id}',
        "7 E103 [{id: $task.i] surfaces.image.poll.body: a GET sends no body; put it into the path",
    ),
    "a form that is no mapping": (
        "body: {model: $model, prompt: $prompt}",
        "form: [$prompt]",
        "5 E103 [[$prompt]}] surfaces.image.submit.form must be a mapping of fields; ",
    ),
    "a job's input in an order": (
        "prompt: $prompt",
        "prompt: $task.id",
        '5 E122 [$task.id}}] unknown input $task; did you mean "$mask"?',
    ),
    "an order's input about a job": (
        '"GET /jobs/{task.id}"',
        "POST /jobs, body: {p: $prompt}",
        "7 E122 [$prompt}}] unknown input $prompt; ",
    ),
    "an unknown part of a job": (
        '"GET /jobs/{task.id}"',
        "POST /jobs, body: {p: $task.number}",
        "7 E122 [$task.number] unknown input $task.number; what the reply says of the job is "
        "declared under task, as one of id, poll_url, result_url, cancel_url",
    ),
    "a part of a job that nobody gives": (
        '"GET /jobs/{task.id}"',
        "POST /jobs, body: {p: $task.poll_url}",
        "7 E120 [{request: PO] poll uses $task.poll_url but task.poll_url is missing; "
        "say where the submit reply has it: task: {poll_url: ...}",
    ),
    "an id that was not sent": (
        '"GET /jobs/{task.id}"',
        '"GET /jobs/{uuid}"',
        '7 E120 ["GET /jobs/{] poll.request uses {uuid} but uuid is missing; '
        "name $uuid in the submit, where the vendor learns of it",
    ),
    "a vendor that was told no id of ours": (
        "task: {id: id}",
        "task: {id: id, ours: true}",
        "6 E120 [true}] task.ours, but the vendor is told no id of ours; "
        "name $uuid in the submit, where the vendor learns of it",
    ),
    "width without pixels": (
        "prompt: $prompt",
        "prompt: $prompt, w: $width",
        "5 E120 [{request: PO] submit uses $width, but the size is not given in pixels; "
        "add size: {mode: pixels}",
    ),
    "upload nowhere": (
        "task: {id: id}",
        "limits: {references: [upload]}\n    task: {id: id}",
        "6 E120 [[upload]}] limits.references has upload, but there is no upload section; "
        "add upload: {request: POST ...}",
    ),
    "upload for nothing": (
        "task: {id: id}",
        "upload: {request: POST /files, raw: true, result: id}\n    task: {id: id}",
        "6 E120 [{request: PO] nothing is uploaded, for limits.references does not have upload; "
        "write limits: {references: [upload]}",
    ),
    "upload without a result": (
        "task: {id: id}",
        "upload: {request: POST /files, raw: true}\n    limits: {references: [upload]}\n    task: {id: id}",
        '6 E106 [{request: PO] surfaces.image.upload has no "result"; '
        "say where the reply has the file's id or address",
    ),
    "upload twice written": (
        "task: {id: id}",
        "upload: {request: POST /f, raw: true, form: {a: $name}, result: id}\n"
        "    limits: {references: [upload]}\n    task: {id: id}",
        "6 E106 [{request: PO] surfaces.image.upload has both form and raw; keep one",
    ),
    "absent": (
        "state: {path",
        "state: {absent: success, path",
        "8 E103 [success, pat] surfaces.image.state.absent is 'success'; it must be one of pending; ",
    ),
}


@pytest.mark.parametrize(("old", "new", "expected"), FORMS.values(), ids=FORMS)
async def test_each_mistake_in_a_request_has_its_place(old: str, new: str, expected: str) -> None:
    assert old in SMALL
    found = complaints(SMALL.replace(old, new))
    assert any(one.startswith(expected) for one in found), found
