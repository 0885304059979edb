"""The command line as people type it, and what the server says when it starts."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from proxy.__main__ import _parser, main
from proxy.command.dialects import DIALECTS
from proxy.command.serve import Pasted, snippets
from tests.served import run, serving
from tests.test_check_online import answers
from tests.vendor_socket import vendor

FILE = """
version: 1
keys: [{name: app, key: KEY}]
providers:
  google: {wire: gemini, base_url: "https://g.example/v1beta", keys: ["env:NOT_SET"]}
  lan: {wire: openai, base_url: "https://l.example/v1"}
  j: {profile: jlike, keys: ["env:NOT_SET"]}
  e: {profile: evolink}
  f: {profile: fal, keys: ["env:NOT_SET"]}
models:
  off: {targets: [google/gemini-2.5-flash]}
  on: {targets: [lan/x]}
  slow: {targets: [e/gemini-3-pro-image-preview]}
  queued: {targets: [f/fal-ai/nano-banana]}
  vectors: {aliases: ["text-embed*"], targets: [google/gemini-embedding-001]}
  voice: {targets: [google/gemini-3.8-flash-tts]}
defaults: {speech_model: voice}
"""
# Who takes what a chat does not.
OTHERS = {"images": "slow", "embeddings": "vectors", "speech": "voice", "moderations": "on"}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "providers.yaml").write_text(FILE.replace("KEY", "env:TEST_KEY", 1))
    return tmp_path / "providers.yaml"


def out_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


# --- words and orders -----------------------------------------------------------------------------------


def test_every_option_of_every_command_has_words() -> None:
    parser, commands = _parser()
    silent = [
        f"{name} {action.option_strings or action.dest}"
        for name, command in {"": parser, **commands}.items()
        for action in command._actions
        if not action.help and not isinstance(action, argparse._SubParsersAction)
    ]
    assert silent == []


@pytest.mark.parametrize("arguments", [("--version",), ("version",), ("-V",)])
def test_the_version(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    code, out, _ = out_of(capsys, *arguments)
    assert code == 0
    assert re.fullmatch(r"\d+\.\d+\S*\n", out)


@pytest.mark.parametrize(
    ("arguments", "code", "shown"),
    [
        (("help",), 0, "run the gateway"),
        (("help", "explain"), 0, "--request FILE"),
        (("explain", "--help"), 0, "--request FILE"),
        (("--help",), 0, "dragoman help COMMAND"),
        (("help", "keys", "create"), 0, "--limit NAME=VALUE"),
        (("help", "dance"), 2, "there is no command 'dance'"),
        (("help", "keys", "dance"), 2, "invalid choice: 'dance'"),
    ],
)
def test_help(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, shown: str) -> None:
    found, out, err = out_of(capsys, *arguments)
    assert found == code
    assert shown in out + err


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "on", "a prompt of mine", "--json"),
        ("explain", "on", "--json", "a prompt of mine"),
        ("explain", "--json", "on", "a prompt of mine"),
        ("explain", "on", "--stream", "a prompt of mine", "--json"),
        ("--json", "explain", "on", "a prompt of mine"),
        ("--config", "providers.yaml", "explain", "on", "a prompt of mine", "--json"),
        ("explain", "on", "--json", "--config", "providers.yaml", "a prompt of mine"),
    ],
    ids=" ".join,
)
def test_options_and_words_come_in_any_order(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    code, out, err = out_of(capsys, *arguments)
    assert code == 0, err
    body = json.loads(out)["steps"][0]["body"]
    assert body["messages"] == [{"role": "user", "content": "a prompt of mine"}]


@pytest.mark.parametrize(
    "arguments",
    [("check", "other.yaml"), ("check", "--strict", "other.yaml"), ("check", "--config", "other.yaml")],
    ids=" ".join,
)
def test_check_takes_the_file_as_a_word(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    file.with_name("other.yaml").write_text("vershun: 1\n")
    code, out, _ = out_of(capsys, *arguments)
    assert code == 1
    assert out.startswith("other.yaml:1:1: error E101")


@pytest.mark.parametrize(
    "arguments",
    [("check", "a", "b"), ("explain", "on", "a", "b"), ("models", "x"), ("explain", "on", "--jsn")],
    ids=" ".join,
)
def test_one_word_too_many_is_a_mistake(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    code, _, err = out_of(capsys, *arguments)
    assert (code, f"unrecognized arguments: {arguments[-1]}" in err) == (2, True)


# --- explain --------------------------------------------------------------------------------------------


def test_explain_shows_what_follows_an_order(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = out_of(capsys, "explain", "slow", "--json")
    assert json.loads(out)["steps"][0]["then"] == [
        {
            "for": "poll",
            "method": "GET",
            "url": "https://api.evolink.ai/v1/tasks/{task.id}",
            "headers": {},
            "body": {},
        }
    ]
    _, out, _ = out_of(capsys, "explain", "slow")
    assert "\nthen, to ask how it is: GET https://api.evolink.ai/v1/tasks/{task.id}\n" in out
    _, out, _ = out_of(capsys, "explain", "queued", "--json")
    assert {"poll", "result"} <= {then["for"] for then in json.loads(out)["steps"][0]["then"]}
    _, out, _ = out_of(capsys, "explain", "on", "--json")
    assert json.loads(out)["steps"][0]["then"] == []


@pytest.mark.parametrize("option", [True, False], ids=["--images", "--request"])
def test_explain_takes_picture_requests(file: Path, capsys: pytest.CaptureFixture[str], option: bool) -> None:
    request = file.with_name("request.json")
    request.write_text('{"prompt": "A fox", "size": "1024x1024"}')
    how = ("A fox", "--images") if option else ("--request", str(request))
    code, out, err = out_of(capsys, "explain", "slow", "--json", *how)
    assert code == 0, err
    assert json.loads(out)["steps"][0]["body"]["prompt"] == "A fox"


def test_explain_cuts_a_request_into_orders_as_the_server_does(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = file.with_name("request.json")
    request.write_text('{"prompt": "A fox", "n": 6}')
    code, out, err = out_of(capsys, "explain", "queued", "--json", "--request", str(request))
    assert (code, err) == (0, "")
    (step,) = json.loads(out)["steps"]
    assert (step["calls"], step["body"]["num_images"]) == (2, 4)
    _, out, _ = out_of(capsys, "explain", "queued", "--request", str(request))
    assert "\n2 calls make up this request; the first of them:\nPOST https://queue.fal.run/" in out
    _, out, _ = out_of(capsys, "explain", "slow", "A fox", "--images")
    assert "calls make up" not in out


@pytest.mark.parametrize("option", [True, False], ids=["--as", "--request"])
def test_explain_takes_requests_for_a_response(
    file: Path, capsys: pytest.CaptureFixture[str], option: bool
) -> None:
    """What is not carried is told in this dialect's words."""
    request = file.with_name("request.json")
    request.write_text('{"input": "A fox", "text": {"verbosity": "low"}, "truncation": "auto"}')
    how = ("A fox", "--as", "responses") if option else ("--request", str(request))
    code, out, err = out_of(capsys, "explain", "off", "--json", *how)
    assert code == 0, err
    [step] = json.loads(out)["steps"]
    assert step["body"]["contents"] == [{"role": "user", "parts": [{"text": "A fox"}]}]
    assert step["dropped"] == ([] if option else ["truncation", "text.verbosity"])


def test_explain_knows_a_dialect_by_a_member_that_others_have_not(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = file.with_name("request.json")
    tool = {"name": "f", "input_schema": {"type": "object"}}
    said = [{"role": "user", "content": "Hi"}]
    request.write_text(json.dumps({"max_tokens": 9, "system": "S", "messages": said, "tools": [tool]}))
    code, out, err = out_of(capsys, "explain", "off", "--json", "--request", str(request))
    assert code == 0, err
    [step] = json.loads(out)["steps"]
    assert step["body"]["systemInstruction"] == {"parts": [{"text": "S"}]}
    assert step["body"]["tools"] == [{"functionDeclarations": [{"name": "f"}]}]
    request.write_text('{"input": "Hi", "prompt": {"id": "p"}}')
    code, _, err = out_of(capsys, "explain", "off", "--request", str(request))
    assert (code, "send their text as 'instructions'" in err) == (1, True)


@pytest.mark.parametrize(
    ("model", "dialect", "by", "path"),
    [
        ("text-embedding-9", "embeddings", "alias text-embed*", "/models/gemini-embedding-001:embedContent"),
        ("kokoro", "speech", "defaults.speech_model", "/models/gemini-3.8-flash-tts:generateContent"),
        ("lan/m", "moderations", None, "/v1/moderations"),
        ("lan/m", "speech", None, "/v1/audio/speech"),
    ],
)
def test_explain_tells_what_a_small_endpoint_would_send(
    file: Path, capsys: pytest.CaptureFixture[str], model: str, dialect: str, by: str | None, path: str
) -> None:
    code, out, err = out_of(capsys, "explain", model, "Hi", "--as", dialect, "--json")
    assert code == 0, err
    plan = json.loads(out)
    assert plan["by"] == by
    assert plan["steps"][0]["url"].endswith(path)


def test_explain_says_who_cannot_do_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = out_of(capsys, "explain", "off", "Hi", "--as", "embeddings")
    assert (code, err) == (1, "model: The model 'gemini-2.5-flash' makes no embeddings.\n")


@pytest.mark.parametrize("model", ["off", "google/gemini-2.5-pro"])
def test_try_says_what_a_provider_is_off_for(
    file: Path, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    code, out, err = out_of(capsys, "try", model, "Hi")
    assert (code, out) == (1, "")
    assert err == (
        f"model: All providers of '{model}' are off: google: environment variable NOT_SET is not set. "
        "With --simulate none is needed.\n"
    )


def test_try_of_a_name_that_nobody_has(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = out_of(capsys, "try", "slwo", "Hi")
    assert code == 1
    assert err.startswith("model: The model 'slwo' does not exist")
    assert "Did you mean slow" in err


@pytest.mark.parametrize("workers", ["0", "-1", "two"])
def test_workers_are_counted_from_one(file: Path, capsys: pytest.CaptureFixture[str], workers: str) -> None:
    code, _, err = out_of(capsys, "serve", "--workers", workers)
    assert code == 2
    assert f"argument --workers: '{workers}' is no number from 1 on" in err


def test_what_is_no_picture_is_not_sent_as_one(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = out_of(capsys, "try", "slow", "Hi", "--simulate", "--image", "providers.yaml")
    assert (code, out, err) == (1, "", "providers.yaml is no picture\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--since", "2999-01-01"), "--since 2999-01-01 is after --until today"),
        (("--since", "7d", "--until", "2000-01-01"), "--since 7d is after --until 2000-01-01"),
        (("--since", "soon"), "'soon' is neither a day"),
    ],
)
def test_days_of_usage_that_are_none(
    file: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    code, out, err = out_of(capsys, "usage", *options)
    assert (code, out) == (2, "")
    assert err.startswith(said)


def test_a_store_that_is_none_is_said_in_the_words_of_its_driver(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(f"{file.read_text()}server: {{state: sqlite:./providers.yaml}}\n")
    code, _, err = out_of(capsys, "usage")
    assert (code, err) == (1, "the store that server.state names cannot be used: file is not a database\n")


def test_try_says_what_came_and_keeps_a_sound(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = out_of(capsys, "try", "vectors", "Hi", "--as", "embeddings", "--simulate")
    assert code == 0, err
    assert out.startswith("3072 numbers: ")
    code, _, err = out_of(capsys, "try", "voice", "Hi", "--as", "speech", "--simulate", "--out", "hi.wav")
    assert code == 0, err
    assert "saved hi.wav" in err
    assert file.with_name("hi.wav").read_bytes()[:4] == b"RIFF"
    code, _, err = out_of(capsys, "try", "voice", "Hi", "--as", "speech", "--simulate")
    assert "saved speech.wav" in err
    code, out, _ = out_of(capsys, "try", "on", "I will harm you", "--as", "moderations", "--simulate")
    assert (code, out) == (0, "flagged\n\n")


def test_every_dialect_can_be_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in DIALECTS:
        code, _, err = out_of(capsys, "explain", OTHERS.get(name, "off"), "Hi", "--as", name)
        assert code == 0, err
    code, _, err = out_of(capsys, "explain", "off", "Hi", "--as", "telegraph")
    assert (code, all(name in err for name in DIALECTS)) == (2, True)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("j/nano-banana", "has several surfaces; it has text, image, wan; write j.text/nano-banana"),
        ("j.imgae/x", 'provider "j" has no surface "imgae"; it has text, image, wan; did you mean "image"?'),
        ("lan.text/x", 'has no surface "text"; it has image; write lan/x, or lan.image/x for pictures alone'),
        ("google.image/x", 'provider "google" has no surfaces, so no "image"; write google/x'),
        ("nowhere/x", "does not exist"),
    ],
)  # fmt: skip
def test_explain_says_why_a_surface_is_missing(
    file: Path, capsys: pytest.CaptureFixture[str], model: str, why: str
) -> None:
    code, _, err = out_of(capsys, "explain", model)
    assert code == 1
    assert why in err


# --- the greeting ---------------------------------------------------------------------------------------


def test_the_greeting_names_the_file_and_says_each_thing_once(tmp_path: Path) -> None:
    text = FILE.replace("KEY", "env:TEST_KEY", 1)
    with serving(tmp_path, text, environment={"TEST_KEY": "sk-canary"}) as served:
        err, out = served.err.read_text(), served.out.read_text()
    assert f"configured by {tmp_path / 'providers.yaml'}\n" in err
    assert err.count("provider google is off") == 1
    assert "N107" not in err
    assert "canary" not in err + out
    assert '"model": "on"' in out  # the first model that somebody answers
    assert 'api_key=os.environ["TEST_KEY"]' in out
    assert "Bearer $TEST_KEY" in out


def test_without_a_provider_or_a_key_the_greeting_says_what_to_do(tmp_path: Path) -> None:
    text = """
keys: [{name: app, key: env:MY_OWN_KEY}]
providers: {google: {wire: gemini, base_url: "https://g.example/v1beta", keys: [env:NOT_SET]}}
models: {off: {targets: [google/gemini-2.5-flash]}}
"""
    with serving(tmp_path, text) as served:
        err, out = served.err.read_text(), served.out.read_text()
    assert "no provider is on, so no model answers" in err
    assert "dragoman serve --simulate" in err
    assert err.count("client key") == 1
    assert "export MY_OWN_KEY=..." in err
    assert out == ""


@pytest.mark.parametrize(
    ("written", "shell", "python"),
    [
        ("env:MY_OWN_KEY", "$MY_OWN_KEY", 'os.environ["MY_OWN_KEY"]'),
        ("env:MY_OWN_KEY?", "$MY_OWN_KEY", 'os.environ["MY_OWN_KEY"]'),
        ("file:secret.txt", "$(cat '{folder}/secret.txt')", "open('{folder}/secret.txt').read().strip()"),
        ("sk-canary-literal", "$DRAGOMAN_KEY", 'os.environ["DRAGOMAN_KEY"]'),
    ],
)
def test_the_snippets_take_the_key_from_where_the_file_has_it(
    tmp_path: Path, written: str, shell: str, python: str
) -> None:
    (tmp_path / "secret.txt").write_text("sk-canary-file\n")
    text = FILE.replace("KEY", written, 1)
    with serving(tmp_path, text, environment={"MY_OWN_KEY": "sk-canary"}) as served:
        err, out = served.err.read_text(), served.out.read_text()
    assert f"Bearer {shell.format(folder=tmp_path)}" in out
    assert f"api_key={python.format(folder=tmp_path)})" in out
    assert "canary" not in err + out


def test_the_python_of_a_variable_sends_its_value(tmp_path: Path) -> None:
    text = FILE.replace("KEY", "env:MY_OWN_KEY", 1)
    with serving(tmp_path, text, "--simulate", environment={"MY_OWN_KEY": "sk-mine"}) as served:
        snippet = served.out.read_text()
        done = subprocess.run(
            [sys.executable, "-"],
            input=snippet[snippet.index("# Python") :],
            env={**os.environ, "MY_OWN_KEY": "sk-mine"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert "Say hello" in done.stdout, done.stderr


def test_a_snippet_says_that_it_needs_the_package() -> None:
    text = snippets("http://h/v1", "m", Pasted("any", "any", '"any"'))
    assert "# Python, after: pip install openai\nfrom openai import OpenAI\nclient = OpenAI(" in text


# --- probes ---------------------------------------------------------------------------------------------


def test_probes_are_in_no_log(tmp_path: Path) -> None:
    with serving(tmp_path, FILE.replace("KEY", "env:TEST_KEY", 1)) as served:
        for path in ("/livez", "/readyz", "/health", "/healthz", "/readyz/"):
            assert httpx.get(served.base_url + path).status_code in (200, 503)
        httpx.get(served.base_url + "/v1/models")
        served.until_logged('"/v1/models"')
        logged = [json.loads(line) for line in served.err.read_text().splitlines() if line[:1] == "{"]
    assert [line["path"] for line in logged if line["event"] == "request"] == ["/v1/models"]


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("chek",), "; did you mean check?"),
        (("start",), "; did you mean serve?"),
        (("keys", "revok", "x"), "; did you mean revoke?"),
        (("--verison",), "; there is no --verison here: did you mean --version?"),
        (("models", "--jsn"), "; there is no --jsn here: did you mean --json?"),
        (("try", "--simlate", "on"), "; there is no --simlate here: did you mean --simulate?"),
        (("tasks", "--cofnig", "x"), "; there is no --cofnig here: did you mean --config?"),
        (("check", "--frobnicate=1"), "; there is no --frobnicate here"),
        (("dance",), "'help')"),
        (("serve", "--port"), "expected one argument"),
    ],
    ids=str,
)
def test_a_slip_of_the_command_line_is_told_what_was_meant(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], meant: str
) -> None:
    code, out, err = out_of(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.endswith(f"{meant}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("models",),
        ("usage",),
        ("tasks",),
        ("keys", "list"),
        ("migrate",),
        ("explain", "on"),
        ("try", "on", "Hi"),
        ("usage", "--config", "none.yaml"),
    ],
    ids=" ".join,
)
def test_a_command_that_is_asked_for_json_fails_in_json(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    file.write_text("vershun: 1\n")
    code, out, err = out_of(capsys, *arguments, "--json")
    told = json.loads(out)
    assert (code, told["ok"], told["exit"]) == (1, False, 1)
    reason = "cannot be read" if "none.yaml" in arguments else 'unknown key "vershun"'
    assert reason in told["said"]
    assert reason in err


def test_a_name_that_nobody_has_is_told_in_json_too(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = out_of(capsys, "explain", "slwo", "--json")
    assert (code, json.loads(out)["said"].partition(" does not")[0]) == (1, "model: The model 'slwo'")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        ("404 Not Found", b'{"detail": "Not Found"}', "upstream: Not Found"),
        ("405 Method Not Allowed", b"", "upstream: The upstream answered HTTP 405"),
        ("200 OK", b"<!doctype html><title>Open WebUI</title>", "upstream: 'lan': the reply is not the JSON"),
    ],
    ids=["404", "405", "a page"],
)
def test_try_names_the_address_for_what_a_wrong_path_is_answered_with(
    file: Path, capsys: pytest.CaptureFixture[str], status: str, body: bytes, said: str
) -> None:
    with vendor(answers(status, body)) as address:
        lan = f"version: 1\nproviders: {{lan: {{wire: openai, base_url: '{address}/api'}}}}\n"
        file.write_text(f"{lan}models: {{m: {{targets: [lan/x]}}}}\n")
        code, _, err = out_of(capsys, "try", "m", "Hi")
    assert code == 3
    assert said in err
    assert f"where: base_url of 'lan' is {address}/api; is its path right?\n" in err


def test_try_does_not_doubt_the_address_of_a_vendor_that_knows_no_such_model(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = b'{"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}'
    with vendor(answers("404 Not Found", body)) as address:
        file.write_text(f"version: 1\nproviders: {{lan: {{wire: openai, base_url: '{address}/v1'}}}}\n")
        code, _, err = out_of(capsys, "try", "lan/x", "Hi")
    assert (code, "upstream: The model `x` does not exist\n" in err, "where:" in err) == (3, True, False)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_without_the_letters_is_told_their_numbers(
    file: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    models = 'models:\n  on: {targets: [lan/x], description: "\u00fcber 测 😀"}\n'
    lan = "version: 1\nproviders: {lan: {wire: openai, base_url: 'http://127.0.0.1:9/v1'}}\n"
    file.write_text(f"{lan}{models}größe: 测\n", "utf-8")
    out = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["check"]) == 1
    file.write_text(lan + models, "utf-8")
    out.seek(0)
    out.truncate()
    assert main(["models", "--json"]) == 0
    out.seek(0)
    assert json.loads(out.read())[0]["description"] == "über 测 😀"


@pytest.mark.parametrize(
    "action", [("show", "t-1"), ("resolve", "t-1", "--failed")], ids=lambda words: words[0]
)
def test_a_task_of_a_store_that_is_not_there_is_none(
    file: Path, capsys: pytest.CaptureFixture[str], action: tuple[str, ...]
) -> None:
    """As in another folder than the server's: nothing was resolved."""
    file.write_text(f"{file.read_text()}server: {{state: sqlite:./nowhere/x.db}}\n")
    code, out, err = out_of(capsys, "tasks", *action)
    assert (code, out) == (1, "")
    assert err == "there is no task t-1: the store that server.state names is not made yet\n"


def test_an_unknown_command_is_usage(tmp_path: Path) -> None:
    code, _, err = run("dance", cwd=tmp_path)
    assert code == 2
    assert "dance" in err
