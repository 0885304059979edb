"""Names that programs have built in: patterns, who answers to any other name, and how the reply says so."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from proxy import config as configuration
from proxy.__main__ import main
from proxy.errors import RequestError
from proxy.keys import ClientKey
from proxy.routing.routes import Routes
from proxy.simulators.pictures import png
from tests.gateway import KEY, Gateway, open_gateway

FILE = """
version: 1
keys:
  - {name: app, key: env:TEST_KEY}
  - {name: narrow, key: env:TEST_NARROW_KEY, models: ["quick", "gpt-*"]}
defaults: {heartbeat: 300ms, chores: quick}
providers:
  google: {wire: gemini, base_url: "http://SIMULATORS/gemini/v1beta", keys: [env:VENDOR_KEY], private: true}
  away: {wire: gemini, base_url: "http://SIMULATORS/gemini/v1beta", keys: [env:NOT_SET], private: true}
models:
  quick: {aliases: [gpt-4o-mini, "gpt-4*mini*", "openai/gpt-*"], targets: [google/gemini-3-flash-preview]}
  strong: {aliases: ["gpt-4*", "google/gemini-2*"], targets: [google/gemini-3.1-pro-preview]}
  banana: {aliases: ["gpt-image*"], targets: [google/gemini-3-pro-image]}
  gone: {aliases: ["o1*"], targets: [away/gemini-2.5-pro]}
"""
CATCHING = FILE.replace("chores: quick", "model: quick, image_model: banana")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("aliases"), FILE) as opened:
        yield opened


@pytest.fixture(scope="module")
def catching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("catching"), CATCHING) as opened:
        yield opened


def post(gateway: Gateway, path: str, body: dict[str, Any], key: str = KEY) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    return gateway.http.post(f"{gateway.base_url}/v1/{path}", json=body, headers=headers)


def chat(gateway: Gateway, model: str, key: str = KEY, text: str = "Hi", **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return post(gateway, "chat/completions", body, key)


def draw(gateway: Gateway, model: str, key: str = KEY, **fields: Any) -> httpx.Response:
    return post(gateway, "images/generations", {"model": model, "prompt": "A fox", **fields}, key)


def asked(gateway: Gateway) -> str:
    """The upstream's model that was asked last."""
    return re.findall(r"models/([^:]+):", gateway.sent()[-1].path)[0]


# --- patterns


@pytest.mark.parametrize(
    ("name", "answered_by", "upstream"),
    [
        ("gpt-4o-mini", "quick", "gemini-3-flash-preview"),
        ("gpt-4.1-mini-2025-04-14", "quick", "gemini-3-flash-preview"),
        ("gpt-4.1", "strong", "gemini-3.1-pro-preview"),
        ("models/gpt-4.1", "strong", "gemini-3.1-pro-preview"),
        ("openai/gpt-4o", "quick", "gemini-3-flash-preview"),
        ("google/gemini-2.5-flash", "strong", "gemini-3.1-pro-preview"),
        ("google/gemini-3.5-flash", None, "gemini-3.5-flash"),
        ("strong", None, "gemini-3.1-pro-preview"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_name_is_answered_by_its_model_and_the_reply_says_by_which(
    plain: Gateway, name: str, answered_by: str | None, upstream: str, stream: bool
) -> None:
    reply = chat(plain, name, stream=stream)
    assert reply.status_code == 200, reply.text
    assert reply.headers.get("x-proxy-model") == answered_by
    assert f'"model":"{name}"' in reply.text
    assert asked(plain) == upstream


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_pictures_say_it_too(plain: Gateway, stream: bool) -> None:
    reply = draw(plain, "gpt-image-1.5", stream=stream)
    assert reply.status_code == 200, reply.text
    assert reply.headers["x-proxy-model"] == "banana"
    assert asked(plain) == "gemini-3-pro-image"


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"temperature": "warm"}, 400), ({"text": "sim:error:500"}, 502), ({"text": "sim:error:400"}, 400)],
    ids=["refused by us", "a fault of the vendor", "refused by the vendor"],
)
def test_errors_say_it_too(plain: Gateway, fields: dict[str, Any], status: int) -> None:
    reply = chat(plain, "gpt-4.1", **fields)
    assert (reply.status_code, reply.headers["x-proxy-model"]) == (status, "strong")


def test_a_picture_request_that_cannot_be_read_says_it_too(plain: Gateway) -> None:
    reply = draw(plain, "gpt-image-1", n="many")
    assert (reply.status_code, reply.headers["x-proxy-model"]) == (400, "banana")


def test_a_chore_is_said_to_be_answered_by_who_answers_it(plain: Gateway) -> None:
    title = "### Task:\nGenerate a concise title summarizing the chat history.\n"
    reply = chat(plain, "gpt-image-1", text=title)
    assert (reply.status_code, reply.headers["x-proxy-model"]) == (200, "quick")
    assert reply.headers["x-proxy-chore"] == "title; model=quick"


def test_a_pattern_whose_providers_are_off_says_what_it_stands_for(plain: Gateway) -> None:
    reply = chat(plain, "o1-preview")
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "model_unavailable")
    message = "The model 'o1-preview' stands for 'gone', but all its providers are off. (request id: "
    assert reply.json()["error"]["message"].startswith(message)


def test_a_key_is_judged_by_the_model_and_not_by_the_name_it_wrote(plain: Gateway) -> None:
    """Its list has `gpt-*`, which says nothing about where the names lead that it makes up."""
    assert chat(plain, "gpt-4.1-mini", "sk-test-narrow").status_code == 200
    for name in ("gpt-4.1", "gpt-image-1", "strong"):
        reply = chat(plain, name, "sk-test-narrow")
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
        assert "x-proxy-model" not in reply.headers


def test_patterns_are_neither_listed_nor_proposed(plain: Gateway) -> None:
    listed = [model.id for model in plain.client().models.list()]
    assert listed == ["banana", "quick", "strong"]
    message = chat(plain, "gqt-4o-mini*").json()["error"]["message"]
    assert "Did you mean gpt-4o-mini? (request id: " in message


def test_one_model_is_told_under_its_other_names(plain: Gateway) -> None:
    assert plain.client().models.retrieve("gpt-4.1-mini").id == "quick"
    with pytest.raises(openai.NotFoundError):
        plain.client().models.retrieve("gpt-3.5-turbo")


# --- any other name


def test_no_name_is_caught_unless_the_file_says_so(plain: Gateway) -> None:
    assert chat(plain, "gpt-9").json()["error"]["code"] == "model_not_found"
    assert draw(plain, "dall-e-9").json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("name", ["gpt-9", "nobody/gpt", "quik", "models/x", "a" * 256, "größer"])
def test_any_other_name_is_answered_by_whom_the_file_names(catching: Gateway, name: str) -> None:
    reply = chat(catching, name)
    assert (reply.status_code, reply.headers["x-proxy-model"]) == (200, "quick")
    reply = draw(catching, name)
    assert (reply.status_code, reply.headers["x-proxy-model"]) == (200, "banana")


def test_who_answers_is_told_of_any_other_name(catching: Gateway) -> None:
    assert catching.client().models.retrieve("gpt-9").id == "quick"
    assert [model.id for model in catching.client().models.list()] == ["banana", "quick", "strong"]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("google/gemini-3.5-flash", 200),
        ("away/gemini-2.5-flash", 404),
        ("google.text/gemini-2.5-flash", 404),
        ("gone", 503),
        ("a" * 257, 404),
        ("google/".ljust(257, "a"), 404),
    ],
    ids=[
        "a target",
        "its provider is off",
        "no such surface",
        "a model that is off",
        "too long",
        "a target that is too long",
    ],
)
def test_what_is_named_in_the_file_is_not_caught(catching: Gateway, name: str, status: int) -> None:
    reply = chat(catching, name)
    assert (reply.status_code, "x-proxy-model" in reply.headers) == (status, False)


def test_who_may_not_use_who_catches_is_not_caught(catching: Gateway) -> None:
    narrow = "sk-test-narrow"
    assert chat(catching, "gpt-9", narrow).headers["x-proxy-model"] == "quick"
    assert draw(catching, "gpt-9", narrow).json()["error"]["code"] == "model_not_found"
    assert chat(catching, "strong", narrow).json()["error"]["code"] == "model_not_found"
    assert chat(catching, "google/gemini-3.5-flash", narrow).json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("chosen", "status", "answered_by"),
    [
        ("gpt-4o-mini", 200, "quick"),
        ("google/gemini-3.5-flash", 200, "google/gemini-3.5-flash"),
        ("away/gemini-2.5-flash", 503, None),
    ],
    ids=["an alias", "a target", "a target that is off"],
)
def test_who_catches_may_be_named_by_an_alias_or_a_target(
    tmp_path: Path, chosen: str, status: int, answered_by: str | None
) -> None:
    file = FILE.replace("chores: quick", f"model: {chosen}")
    with open_gateway(tmp_path, file) as gateway:
        reply = chat(gateway, "gpt-9")
        assert (reply.status_code, reply.headers.get("x-proxy-model")) == (status, answered_by)
        assert draw(gateway, "gpt-9").status_code == 404


# --- names from outside


def test_long_names_that_nobody_has_leave_nothing_behind(tmp_path: Path) -> None:
    routes = Routes.of(_loaded(tmp_path, CATCHING), {})
    tracemalloc.start()
    try:
        for number in range(20):
            for name in (f"gpt-4{number}", f"google/{number}", f"o{number}/"):
                _resolved(routes, name.ljust(500_000, "x"))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 500_000


def _resolved(routes: Routes, name: str) -> str | None:
    try:
        return routes.resolve(name, ClientKey("app")).name
    except RequestError:
        return None


def _loaded(folder: Path, file: str) -> configuration.Config:
    path = folder / "providers.yaml"
    path.write_text(file.replace("SIMULATORS", "127.0.0.1:1"))
    keys = dict.fromkeys(("TEST_KEY", "TEST_NARROW_KEY", "VENDOR_KEY"), "k")
    loaded = configuration.load(path, {**keys, "TEST_NARROW_KEY": "n"})
    assert loaded.config is not None, [str(problem) for problem in loaded.problems]
    return loaded.config


# --- the command line


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        (("gpt-4.1-mini",), "gpt-4.1-mini is answered by quick (alias gpt-4*mini*)"),
        (("gpt-4o-mini",), "gpt-4o-mini is answered by quick (alias gpt-4o-mini)"),
        (("gpt-9",), "gpt-9 is answered by quick (defaults.model)"),
        (("gpt-9", "--images"), "gpt-9 is answered by banana (defaults.image_model)"),
        (("quick",), "quick: ordered, at most 3 attempts"),
        (("models/quick",), "quick: ordered, at most 3 attempts"),
    ],
)
def test_explain_says_what_leads_to_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], first: str
) -> None:
    _loaded(tmp_path, CATCHING)
    assert main(["explain", *arguments, "--config", str(tmp_path / "providers.yaml")]) == 0
    assert capsys.readouterr().out.splitlines()[0] == first


def test_check_says_where_two_patterns_meet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text(
        "providers: {a: {wire: openai, base_url: https://x.example/v1}}\n"
        "models:\n"
        "  one: {aliases: [gpt-4o*], targets: [a/m]}\n"
        "  two: {aliases: [gpt-4*, gpt-4o*], targets: [a/m]}\n"
        "  thr*: {aliases: ['*'], targets: [a/m]}\n"
    )
    assert main(["check", str(file)]) == 1
    out = capsys.readouterr().out
    assert f'{file}:4:27: error E111 alias "gpt-4o*" is claimed by one (line 3) and by two' in out
    assert f'{file}:5:3: error E103 "thr*" is a pattern, and only aliases may be patterns' in out
    assert "hint: give the model a name of its own, and write aliases: [thr*]" in out
    assert f'{file}:5:20: error E103 alias "*" stands for every name' in out
    assert "hint: write defaults.model for chats and defaults.image_model for pictures" in out


# --- no name at all


def test_a_picture_request_without_a_model_is_answered_by_whom_the_file_names(catching: Gateway) -> None:
    """OpenAI's `model` is optional there."""
    reply = post(catching, "images/generations", {"prompt": "A cat"})
    assert (reply.status_code, reply.headers["x-proxy-model"]) == (200, "banana")
    form = {"prompt": (None, "Red"), "image": ("a.png", png(8, 8), "image/png")}
    headers = {"authorization": f"Bearer {KEY}"}
    reply = catching.http.post(f"{catching.base_url}/v1/images/edits", files=form, headers=headers)
    assert (reply.status_code, reply.headers["x-proxy-model"]) == (200, "banana")


@pytest.mark.parametrize("body", [{"prompt": "A cat"}, {"prompt": "A cat", "model": None}])
def test_where_the_file_names_nobody_the_model_is_missing(plain: Gateway, body: dict[str, Any]) -> None:
    reply = post(plain, "images/generations", body)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["code"]) == (400, "model", "missing_required_parameter")


def test_a_chat_names_its_model_also_where_the_file_catches_the_rest(catching: Gateway) -> None:
    reply = post(catching, "chat/completions", {"messages": [{"role": "user", "content": "Hi"}]})
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["code"]) == (400, "model", "missing_required_parameter")
