"""`dragoman check`, `models` and `schema` as their users see them."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from proxy.config import document, load, schema
from proxy.config.command import check, models
from proxy.config.command import schema as print_schema
from proxy.config.problems import Report

ROOT = Path(__file__).resolve().parents[1]

WARNS = """\
keys: [{name: app, key: literal-key}]
providers: {a: {wire: openai, base_url: https://x.example/v1}, b: {wire: openai, base_url: env:NOWHERE_URL}}
models:
  one: {aliases: [uno, eins], targets: [a/1]}
  two: {targets: [b/2], description: Second}
"""
FAILS = "server: {prot: 1}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "providers.yaml"


def run(text: str, file: Path, **options: bool) -> tuple[int, str, str]:
    file.write_text(text)
    out, err = io.StringIO(), io.StringIO()
    code = check(file, out=out, err=err, **options)
    return code, out.getvalue().replace(str(file), "f.yaml"), err.getvalue().replace(str(file), "f.yaml")


def test_warnings_and_notes_let_a_file_pass(file: Path) -> None:
    assert run(WARNS, file) == (
        0,
        "f.yaml:1:25: warning W142 keys[0].key is a literal secret (11 characters)\n"
        "  keys: [{name: app, key: ***********}]\n"
        "                          ^\n"
        "  hint: write env:NAME or file:PATH, so that this file can be shared\n"
        'f.yaml:2:64: note N107 provider "b" is off: environment variable NOWHERE_URL is not set\n',
        "f.yaml: 1 warning; 2 models, 1 of 2 providers on\n",
    )


def test_strict_makes_warnings_count_but_not_notes(file: Path) -> None:
    assert run(WARNS, file, strict=True)[0] == 1
    assert run(WARNS.replace("key: literal-key", "key: 'env:APP?'"), file, strict=True)[0] == 0


PICTURES = (
    "providers: {g: {profile: evolink, keys: ['env:APP?']}}\n"
    "models: {m: {targets: [g/gemini-3-pro-image-preview]PRICE}}\n"
)


@pytest.mark.parametrize(
    ("price", "code"),
    [
        ("", 1),
        (", price: {output: 2}", 1),
        (", price: unpriced", 0),
        (", price: {image: 0.1}", 0),
        (", price: {second: 0.01}", 0),
    ],
)
def test_pictures_that_would_be_given_away_fail_a_check_and_stop_no_server(
    file: Path, price: str, code: int
) -> None:
    assert run(PICTURES.replace("PRICE", price), file)[0] == code
    assert load(file, {}).config is not None


def test_an_error_fails(file: Path) -> None:
    assert run(FAILS, file) == (
        1,
        'f.yaml:1:10: error E101 unknown key "prot" in server\n'
        "  server: {prot: 1}\n"
        "           ^\n"
        '  hint: did you mean "port"?\n',
        "f.yaml: 1 error\n",
    )


def test_json_is_one_object_on_stdout(file: Path) -> None:
    code, out, err = run(FAILS, file, as_json=True)
    assert (code, err) == (1, "")
    assert json.loads(out) == {
        "file": "f.yaml",
        "ok": False,
        "digest": json.loads(out)["digest"],
        "off": {},
        "problems": [
            {
                "file": "f.yaml",
                "line": 1,
                "column": 10,
                "severity": "error",
                "code": "E101",
                "message": 'unknown key "prot" in server',
                "hint": 'did you mean "port"?',
                "source_line": "server: {prot: 1}",
            }
        ],
    }


def test_models_are_a_table(file: Path) -> None:
    file.write_text(WARNS)
    out = io.StringIO()
    assert models(file, out=out) == 0
    assert out.getvalue() == (
        "model  state  aliases    targets\n"
        "one    on     uno, eins  a/1\n"
        "two    off               b/2\n"
    )  # fmt: skip
    out = io.StringIO()
    assert models(file, as_json=True, out=out) == 0
    assert json.loads(out.getvalue())[1] == {
        "model": "two",
        "state": "off",
        "aliases": [],
        "catches": [],
        "targets": ["b/2"],
        "fallback": [],
        "description": "Second",
    }


def test_models_say_who_answers_to_any_other_name(file: Path) -> None:
    file.write_text(WARNS + "defaults: {model: uno, image_model: b/9}\n")
    out = io.StringIO()
    assert models(file, out=out) == 0
    assert out.getvalue().splitlines()[3:] == [
        "any other name for chats: uno",
        "any other name for pictures: b/9",
    ]
    out = io.StringIO()
    assert models(file, as_json=True, out=out) == 0
    assert [row["catches"] for row in json.loads(out.getvalue())] == [["chats"], []]


def test_models_of_a_file_with_errors_are_its_errors(file: Path) -> None:
    file.write_text(FAILS)
    out, err = io.StringIO(), io.StringIO()
    assert models(file, out=out, err=err) == 1
    assert out.getvalue() == ""
    assert "E101" in err.getvalue()


# --- the schema --------------------------------------------------------------------------------------


def shipped() -> object:
    text = (ROOT / "providers.yaml").read_text(encoding="utf-8")
    return document.read(text, Report("providers.yaml")).value


def test_the_schema_is_valid_and_takes_the_shipped_file() -> None:
    out = io.StringIO()
    assert print_schema(out=out) == 0
    printed = json.loads(out.getvalue())
    assert printed == schema()
    jsonschema.Draft202012Validator.check_schema(printed)
    jsonschema.Draft202012Validator(printed).validate(shipped())


@pytest.mark.parametrize(
    "value",
    [
        {"server": {"prot": 1}},
        {"server": {"drain": "5"}},
        {"keys": [{"name": "app", "limits": {"requests": "600"}}]},
        {"providers": {"a": {"wire": "openai", "profile": "jlike"}}},
        {"providers": {"a": {"base_url": "https://x.example/v1"}}},
        {"models": {"m": {"targets": []}}},
        {"models": {"m": {"targets": [{"weight": 1}]}}},
        {"models": {"m": {"targets": ["a/b"], "pick": "any"}}},
        {"version": 2},
    ],
)
def test_the_schema_refuses_what_check_refuses(value: object) -> None:
    assert list(jsonschema.Draft202012Validator(schema()).iter_errors(value))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"models": {"m": {"targets": ["a/b", {"use": "a/b", "weight": 0}], "price": {"input": 0.3}}}},
        {"providers": {"a": {"profile": "jlike", "keys": ["env:A"], "options": {"x": 1}}}},
        {"limits": {"everyone": {"requests": "60/min"}}, "defaults": {"timeouts": {"idle": "1.5s"}}},
    ],
)
def test_the_schema_takes_what_check_takes(value: object) -> None:
    jsonschema.Draft202012Validator(schema()).validate(value)


# --- the process -------------------------------------------------------------------------------------

_NO_SOCKETS = """
import socket, sys
def refuse(*args, **kwargs): raise AssertionError("a socket was opened")
socket.socket.__init__ = refuse
socket.getaddrinfo = refuse
from proxy.config.command import check
code = check(sys.argv[1])
heavy = {"aiohttp", "orjson", "starlette", "asyncio", "jmespath", "uvicorn"}
print(sorted(heavy & set(sys.modules)))
sys.exit(code)
"""


def test_check_opens_no_socket_and_imports_nothing_heavy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NO_SOCKETS, str(ROOT / "providers.yaml")],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_problem_starts_with_an_address_editors_can_follow(file: Path) -> None:
    _, out, _ = run(FAILS, file)
    assert re.match(r"f\.yaml:\d+:\d+: (error|warning|note) [EWN]\d{3} ", out)
