"""Client keys made while the server runs: by `/admin/keys` and by `dragoman keys`, and what callers get."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from proxy.simulators.server import Running, start
from tests import stores
from tests.gateway import FILE, KEY, Gateway, open_gateway
from tests.raw_http import chat
from tests.served import Served, run, serving, waited

ADMIN = "sk-test-admin"
WITH_ADMIN = FILE.replace("version: 1\n", "version: 1\nauth: {admin: env:TEST_ADMIN_KEY}\n", 1)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Not changed but by keys; each test makes its own."""
    with open_gateway(tmp_path_factory.mktemp("keys"), WITH_ADMIN, {"TEST_ADMIN_KEY": ADMIN}) as opened:
        yield opened


def ask(gateway: Gateway, method: str, path: str, body: Any = None, key: str = ADMIN) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    return gateway.http.request(method, gateway.base_url + path, json=body, headers=headers)


def make(gateway: Gateway, name: str, **fields: Any) -> dict[str, Any]:
    reply = ask(gateway, "POST", "/admin/keys", {"name": name, **fields})
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


def chats(gateway: Gateway, key: str, model: str = "gemini-flash") -> int:
    return ask(gateway, "POST", "/v1/chat/completions", chat("Hi", model), key).status_code


# --- by the admin


def test_a_key_is_made_and_shown_once(gateway: Gateway) -> None:
    reply = ask(gateway, "POST", "/v1/admin/keys", {"name": "once", "models": ["gemini-flash"]})
    made = reply.json()
    assert reply.headers["cache-control"] == "no-store"
    assert chats(gateway, made["key"]) == 200
    secret = made.pop("key")
    assert ask(gateway, "GET", f"/admin/keys/{made['id']}").json() == made
    listed = ask(gateway, "GET", "/admin/keys")
    assert made in listed.json()["data"]
    assert secret not in listed.text


def test_a_key_may_use_its_models(gateway: Gateway) -> None:
    made = make(gateway, "narrow-one", models=["gemini-2.5-*"])
    assert chats(gateway, made["key"], "gemini-2.5-flash") == 200
    assert chats(gateway, made["key"], "gemini-flash") == 404
    client = gateway.client(api_key=made["key"])
    assert [model.id for model in client.models.list()] == ["gemini-2.5-flash"]


def test_pictures_come_as_the_key_says(gateway: Gateway) -> None:
    made = make(gateway, "drawer", image_output="parts")
    reply = gateway.client(api_key=made["key"]).chat.completions.create(
        model="nano-banana-pro", messages=[{"role": "user", "content": "a fox"}]
    )
    assert isinstance(reply.choices[0].message.content, list)


def test_a_revoked_key_is_unknown(gateway: Gateway) -> None:
    made = make(gateway, "revoked")
    assert chats(gateway, made["key"]) == 200
    reply = ask(gateway, "POST", f"/admin/keys/{made['id']}/revoke")
    assert (reply.status_code, reply.json()["state"]) == (200, "revoked")
    assert chats(gateway, made["key"]) == 401
    assert ask(gateway, "POST", f"/admin/keys/{made['id']}/revoke").json() == reply.json()
    again = ask(gateway, "POST", f"/admin/keys/{made['id']}/rotate")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "key_revoked")


@pytest.mark.parametrize(("body", "old"), [(None, 401), ({"keep": "1h"}, 200)])
def test_a_rotated_key_has_another_secret(gateway: Gateway, body: Any, old: int) -> None:
    made = make(gateway, f"rotated-{old}")
    rotated = ask(gateway, "POST", f"/admin/keys/{made['id']}/rotate", body).json()
    assert rotated["id"] == made["id"]
    assert rotated["key"] != made["key"]
    assert [chats(gateway, made["key"]), chats(gateway, rotated["key"])] == [old, 200]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        pytest.param({}, 400, "name", id="no name"),
        pytest.param({"name": ""}, 400, "name", id="empty name"),
        pytest.param({"name": "a/b"}, 400, "name", id="slash"),
        pytest.param({"name": "x", "models": "gemini-*"}, 400, "models", id="no list"),
        pytest.param({"name": "x", "models": []}, 400, "models", id="no model"),
        pytest.param({"name": "x", "limits": {"requests": 60}}, 400, "limits.requests", id="no unit"),
        pytest.param({"name": "x", "limits": {"request": "6/min"}}, 400, "limits.request", id="stranger"),
        pytest.param({"name": "x", "image_output": "png"}, 400, "image_output", id="no mode"),
        pytest.param({"name": "x", "expires_in": "yesterday"}, 400, "expires_in", id="no time"),
        pytest.param({"name": "x", "expires_at": 5}, 400, "expires_at", id="past"),
        pytest.param({"name": "x", "expires_at": 1e30}, 400, "expires_at", id="beyond all calendars"),
        pytest.param({"name": "x", "expires_in": "999999999d"}, 400, "expires_in", id="beyond them in days"),
        pytest.param({"name": "x\x00"}, 400, "name", id="null byte"),
        pytest.param({"name": "x\x1b[2Jy"}, 400, "name", id="terminal sequence"),
        pytest.param({"name": "x\u2028y"}, 400, "name", id="line separator"),
        pytest.param({"name": "x", "expires_at": 9e9, "expires_in": "1h"}, 400, "expires_at", id="both"),
        pytest.param({"name": "x", "key": "sk-mine"}, 400, "key", id="own secret"),
        pytest.param({"name": "app"}, 409, "name", id="in the file"),
        pytest.param({"name": "admin"}, 409, "name", id="one of ours"),
    ],
)
def test_a_wrong_key_names_the_field(gateway: Gateway, body: Any, status: int, param: str) -> None:
    reply = ask(gateway, "POST", "/admin/keys", body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (status, param)
    assert ask(gateway, "GET", "/admin/keys").status_code == 200


@pytest.mark.parametrize(
    ("field", "said"),
    [
        pytest.param({"modles": ["*"]}, 'modles is not known here; did you mean "models"?', id="field"),
        pytest.param(
            {"limits": {"request": "6/min"}},
            'limits.request is not known here; did you mean "requests"?',
            id="limit",
        ),
        pytest.param({"limits": {"qqqq": "6/min"}}, "limits.qqqq is not known here; known: ", id="stranger"),
    ],
)
def test_a_field_that_is_not_known_is_told_with_its_neighbours(
    gateway: Gateway, field: Any, said: str
) -> None:
    message = ask(gateway, "POST", "/admin/keys", {"name": "neighbour", **field}).json()["error"]["message"]
    assert message.startswith(said)
    assert "?." not in message


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/admin/keys/key_0"), ("POST", "/admin/keys/key_0/revoke"), ("POST", "/admin/keys/a/rotate")],
)
def test_an_unknown_key_is_a_404(gateway: Gateway, method: str, path: str) -> None:
    reply = ask(gateway, method, path)
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "key_not_found")


def test_pages_are_bounded(gateway: Gateway) -> None:
    made = [make(gateway, f"page-{number}")["id"] for number in range(3)]
    seen: list[str] = []
    path = "/admin/keys?limit=2"
    while True:
        page = ask(gateway, "GET", path).json()
        assert len(page["data"]) <= 2
        seen += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        path = f"/admin/keys?limit=2&after={page['last_id']}"
    assert set(made) <= set(seen)
    assert len(seen) == len(set(seen))
    for size in ("1001", f"000000001{'0' * 30}", f"000000001{'0' * 5000}"):
        assert ask(gateway, "GET", f"/admin/keys?limit={size}").status_code == 400


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_only_the_admin_may(gateway: Gateway, method: str) -> None:
    made = make(gateway, f"curious-{method}")
    for key, status in ((made["key"], 403), (KEY, 403), ("sk-nobody", 401)):
        assert ask(gateway, method, "/admin/keys", {"name": "mine"}, key).status_code == status


def test_without_an_admin_key_it_is_said_how_to_have_one(gateway: Gateway, tmp_path: Path) -> None:
    with open_gateway(tmp_path) as plain:
        reply = ask(plain, "GET", "/admin/keys", key=KEY)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "admin_only")
        assert "set auth.admin in the file" in reply.json()["error"]["message"]
    assert not (tmp_path / "state").exists()


def test_a_name_that_the_file_gets_later_is_the_files(tmp_path: Path) -> None:
    secret = {"TEST_ADMIN_KEY": ADMIN, **dict.fromkeys(("TEST_KEY", "TEST_NARROW_KEY", "VENDOR_KEY"), "sk-x")}
    with (
        pytest.MonkeyPatch.context() as patched,
        open_gateway(tmp_path, WITH_ADMIN, {"TEST_ADMIN_KEY": ADMIN}, watched=True) as gateway,
    ):
        for name, value in {**secret, "TEST_KEY": KEY}.items():
            patched.setenv(name, value)
        made = make(gateway, "late")
        assert chats(gateway, made["key"]) == 200
        file = tmp_path / "providers.yaml"
        file.write_text(file.read_text().replace("name: narrow", "name: late"))
        assert waited(lambda: chats(gateway, made["key"]) == 401)


# --- beside a running server


def serve_file(vendors: Running, state: str) -> str:
    return WITH_ADMIN.replace("http://SIMULATORS", vendors.base_url) + f'server: {{state: "{state}"}}\n'


ENVIRONMENT = {
    "TEST_KEY": KEY,
    "TEST_NARROW_KEY": "sk-test-narrow",
    "VENDOR_KEY": "vendor-key",
    "TEST_ADMIN_KEY": ADMIN,
}


def keys(folder: Path, *arguments: str) -> tuple[int, str, str]:
    return run("keys", *arguments, cwd=folder, environment=ENVIRONMENT)


def answers(served: Served, secret: str) -> int:
    """On a connection of its own, so that any worker may take it."""
    return httpx.post(
        f"{served.base_url}/v1/chat/completions",
        json=chat("Hi"),
        headers={"authorization": f"Bearer {secret}"},
        timeout=20,
    ).status_code


@pytest.fixture
def vendors() -> Iterator[Running]:
    with start() as running:
        yield running


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_a_key_made_and_revoked_beside_the_workers(
    tmp_path: Path, vendors: Running, store: str, request: pytest.FixtureRequest
) -> None:
    """Four workers, and the command in another process."""
    state = f"sqlite:{tmp_path}/state/dragoman.db"
    if store == "postgresql":
        if not stores.HAS_POSTGRESQL:
            pytest.skip("no PostgreSQL is installed")
        state = stores.fresh(request.getfixturevalue("postgresql"))
    with serving(tmp_path, serve_file(vendors, state), "--workers", "4", environment=ENVIRONMENT) as served:
        code, secret, talk = keys(
            tmp_path, "create", "bot", "--models", "gemini-*", "--limit", "images=9/day"
        )
        assert (code, secret.strip() in talk) == (0, False)
        secret = secret.strip()
        assert {answers(served, secret) for _ in range(20)} == {200}
        assert keys(tmp_path, "revoke", "bot")[0] == 0
        time.sleep(1)  # what is promised
        assert {answers(served, secret) for _ in range(20)} == {401}
        assert answers(served, KEY) == 200
        logged = served.err.read_text()
    assert secret not in logged
    assert '"key":"bot"' in logged


def test_the_command_lists_and_rotates(tmp_path: Path, vendors: Running) -> None:
    (tmp_path / "providers.yaml").write_text(serve_file(vendors, "sqlite:./state/dragoman.db"))
    code, old, _ = keys(tmp_path, "create", "bot", "--expires", "1h", "--limit", "concurrent=3", "--json")
    made = json.loads(old)
    assert (code, made["limits"]) == (0, {"concurrent": 3})
    code, new, talk = keys(tmp_path, "rotate", made["id"], "--keep", "10m")
    assert (code, new.startswith("sk-dragoman-"), new.strip() != made["key"]) == (0, True, True)
    assert "works for 10m yet" in talk
    _, listed, _ = keys(tmp_path, "list")
    assert [line.split()[:3] for line in listed.splitlines()[1:]] == [["bot", made["id"], "active"]]
    assert new.strip() not in listed
    keys(tmp_path, "revoke", "bot")
    assert keys(tmp_path, "list")[1].splitlines()[1:] == []
    (row,) = json.loads(keys(tmp_path, "list", "--all", "--json")[1])
    assert (row["name"], row["state"], "key" in row) == ("bot", "revoked", False)
    held = b"".join((tmp_path / "state" / name).read_bytes() for name in os.listdir(tmp_path / "state"))
    assert made["key"][20:-4].encode() not in held


def test_a_key_for_a_model_that_there_is_not_is_made_with_a_warning(tmp_path: Path, vendors: Running) -> None:
    (tmp_path / "providers.yaml").write_text(serve_file(vendors, "sqlite:./state/dragoman.db"))
    models = "gemini-flsh,gemini-flash,gemini-*,google/gemini-2.5-pro"
    code, secret, talk = keys(tmp_path, "create", "bot", "--models", models)
    assert (code, secret.startswith("sk-dragoman-")) == (0, True)
    (warning,) = [line for line in talk.splitlines() if line.startswith("warning")]
    assert warning.startswith("warning: no model is called 'gemini-flsh'; did you mean")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "app"), "is in the file"),
        (("create", "x", "--limit", "requests"), "requests=600/min"),
        (("create", "x", "--limit", "requests=60"), "limits.requests 60 has no unit; write 60/min."),
        (("create", "x", "--expires", "soon"), "expires_in"),
        (("revoke", "app"), "The key 'app' stands in the file"),
        (("rotate", "app"), "The key 'app' stands in the file"),
        (("revoke", "nobody"), "There is no key 'nobody'"),
        (("rotate", "nobody"), "There is no key 'nobody'"),
    ],
)
def test_a_wrong_command_is_said(
    tmp_path: Path, vendors: Running, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "providers.yaml").write_text(serve_file(vendors, "sqlite:./state/dragoman.db"))
    code, out, talk = keys(tmp_path, *arguments)
    assert (code, out) == (1, "")
    assert said in talk
    assert "Traceback" not in talk


def test_what_no_text_of_the_store_can_hold_names_nothing(tmp_path: Path, store_address: str) -> None:
    """PostgreSQL refuses texts with a NUL, as a driver does that has lost its server."""
    file = f'{WITH_ADMIN}server: {{state: "{store_address}"}}\n'
    with open_gateway(tmp_path, file, {"TEST_ADMIN_KEY": ADMIN}) as own:
        make(own, "plain")
        for method, path in (
            ("GET", "/admin/keys/%00"),
            ("GET", "/admin/keys?after=%00"),
            ("POST", "/admin/keys/%00/revoke"),
            ("POST", "/admin/keys/%00/rotate"),
        ):
            reply = ask(own, method, path)
            assert (reply.status_code, reply.json()["error"]["code"]) == (404, "key_not_found")
        assert ask(own, "GET", "/admin/usage?key=%00").json()["data"] == []


@pytest.mark.parametrize("state", ["sqlite::memory:", "postgresql://nobody:hush-hush@127.0.0.1:1/none"])
def test_a_store_out_of_reach_is_said_without_its_password(
    tmp_path: Path, vendors: Running, state: str
) -> None:
    (tmp_path / "providers.yaml").write_text(serve_file(vendors, state))
    code, out, talk = keys(tmp_path, "create", "bot")
    assert (code, out) == (1, "")
    assert "state" in talk
    assert "hush" not in talk
    assert "Traceback" not in talk


def test_a_server_whose_store_is_away_says_so(tmp_path: Path, vendors: Running) -> None:
    """Keys of the file never ask it."""
    file = serve_file(vendors, "postgresql://nobody:hush-hush@127.0.0.1:1/none")
    with serving(tmp_path, file, environment=ENVIRONMENT) as served:
        assert answers(served, KEY) == 200
        line = served.until_logged("key_store_away")
        ready = httpx.get(f"{served.base_url}/readyz", headers={"authorization": f"Bearer {KEY}"}).json()
        assert ready["keys"] == "away: OperationalError; keys that are known go on"
        assert answers(served, "sk-dragoman-" + "x" * 43) == 503
        assert answers(served, "sk-nobody") == 401
        reply = httpx.get(f"{served.base_url}/admin/keys", headers={"authorization": f"Bearer {ADMIN}"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "store_unavailable")
    assert "hush" not in line + served.err.read_text()


def test_a_fresh_server_makes_no_store_and_loads_none(tmp_path: Path, vendors: Running) -> None:
    file = serve_file(vendors, "sqlite:./state/dragoman.db")
    with serving(tmp_path, file, environment=ENVIRONMENT, fresh=True) as served:
        assert {answers(served, key) for key in (KEY, "sk-dragoman-" + "x" * 43)} == {200, 401}
        assert "sqlalchemy" not in Path(f"/proc/{served.process.pid}/maps").read_text()
        assert not (tmp_path / "state").exists()
        headers = {"authorization": f"Bearer {ADMIN}"}
        assert httpx.get(f"{served.base_url}/admin/keys", headers=headers).status_code == 200
        assert "sqlalchemy" in Path(f"/proc/{served.process.pid}/maps").read_text()


def test_the_sdk_reads_the_refusal_of_an_ended_key(gateway: Gateway) -> None:
    made = make(gateway, "sdk")
    ask(gateway, "POST", f"/admin/keys/{made['id']}/revoke")
    with pytest.raises(openai.AuthenticationError) as caught:
        gateway.client(api_key=made["key"]).models.list()
    assert caught.value.code == "invalid_api_key"
