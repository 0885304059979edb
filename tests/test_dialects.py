"""One address, several dialects: whose words a client reads where no endpoint of its dialect answers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anthropic
import httpx
import orjson
import pytest
from anthropic.types import ModelInfo

from proxy.errors import RequestError
from proxy.fronts.anthropic import models_reply
from proxy.fronts.anthropic.dialect import ANTHROPIC
from proxy.fronts.dialects import ListedModel, spoken
from proxy.fronts.openai.dialect import OPENAI
from tests.gateway import KEY, Gateway

VERSION = {"anthropic-version": "2023-06-01"}
CHAT: Any = {"model": "gemini-flash", "messages": [{"role": "user", "content": "Hi"}]}


def ask(
    gateway: Gateway, method: str, path: str, headers: Mapping[str, str] = {}, key: str = KEY, **more: Any
) -> httpx.Response:
    own = {"authorization": f"Bearer {key}", **headers}
    return gateway.http.request(method, gateway.base_url + path, headers=own, **more)


# --- which dialect it is


@pytest.mark.parametrize(
    ("path", "headers", "dialect"),
    [
        ("/v1/messages", {}, ANTHROPIC),
        ("/messages/batches", {}, ANTHROPIC),
        ("//v1/v1/messages/", {}, ANTHROPIC),
        ("/v1/complete", {}, ANTHROPIC),
        ("/v1/completions", {}, OPENAI),
        ("/v1/models/messages", {}, OPENAI),
        ("/v1/messages_of_mine", {}, OPENAI),
        ("/v1/models", {b"anthropic-version": b"2026-10-21"}, ANTHROPIC),
        ("/v1/models", {b"x-api-key": b"sk"}, OPENAI),
        ("/nowhere", {b"anthropic-version": b"later"}, ANTHROPIC),
        ("/v1/chat/completions/x", {b"anthropic-version": b"2023-06-01"}, OPENAI),
        ("/" * 60_000, {}, OPENAI),
        ("/v1" * 20_000 + "/x", {}, OPENAI),
    ],
)
def test_a_dialect_is_told_by_its_address_else_by_its_headers(
    path: str, headers: dict[bytes, bytes], dialect: object
) -> None:
    """X-002, X-006."""
    assert spoken((ANTHROPIC, OPENAI), path, headers, {}) is dialect


# --- errors before an endpoint's own handler


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "word"),
    [
        ("POST", "/v1/messages/batches", {}, 404, "not_found_error"),
        ("GET", "/v1/messages/batches/b_1/results", {}, 404, "not_found_error"),
        ("POST", "/v1/complete", {}, 404, "not_found_error"),
        ("GET", "/v1/skills", VERSION, 404, "not_found_error"),
        ("DELETE", "/v1/models", VERSION, 405, "invalid_request_error"),
        ("GET", "/v1/models/nobody", VERSION, 404, "not_found_error"),
        ("GET", "/v1/models?limit=0", VERSION, 400, "invalid_request_error"),
        ("POST", "/v1/files", VERSION, 400, "invalid_request_error"),
        ("GET", "/v1/files/file-0", VERSION, 404, "not_found_error"),
        ("GET", "/v1/models?after_id=nobody", VERSION, 400, "invalid_request_error"),
    ],
)
def test_a_stranger_that_speaks_messages_is_refused_in_its_words(
    gateway: Gateway, method: str, path: str, headers: dict[str, str], status: int, word: str
) -> None:
    """X-006."""
    reply = ask(gateway, method, path, headers)
    assert reply.status_code == status
    body = reply.json()
    assert (body["type"], body["error"]["type"]) == ("error", word)
    assert body["request_id"] == reply.headers["request-id"] == reply.headers["x-request-id"]
    if status == 404 and "models" not in path and "files" not in path:
        assert path in body["error"]["message"]


@pytest.mark.parametrize(
    ("path", "headers", "is_anthropics"),
    [("/v1/models", VERSION, True), ("/v1/models/gemini-flash", VERSION, True), ("/v1/models", {}, False)],
)
def test_who_has_no_key_reads_so_in_its_words(
    gateway: Gateway, path: str, headers: dict[str, str], is_anthropics: bool
) -> None:
    """X-006: also a 401, which comes before any handler."""
    reply = ask(gateway, "GET", path, headers, key="sk-nobody")
    error = reply.json()["error"]
    assert (reply.status_code, error["type"]) == (401, "authentication_error")
    assert ("code" in error) is not is_anthropics


@pytest.mark.parametrize(
    ("path", "headers", "names"),
    [
        ("/v1/messages", {"x-api-key": "sk-other"}, "authorization and x-api-key"),
        ("/v1/models", {"x-goog-api-key": "sk-other"}, "authorization and x-goog-api-key"),
        ("/v1beta/models?key=sk-other", {}, "authorization and ?key"),
        ("/v1/chat/completions", {"api-key": "sk-other"}, "authorization and api-key"),
    ],
)
def test_two_different_keys_are_refused_with_the_names_of_both(
    gateway: Gateway, path: str, headers: dict[str, str], names: str
) -> None:
    """X-003, M-004: Google's and Anthropic's SDKs send one; a second is a leftover of the environment, and
    which of them is meant is not guessed."""
    method = "GET" if "models" in path else "POST"
    reply = ask(gateway, method, path, headers)
    assert reply.status_code == 400
    message = reply.json()["error"]["message"]
    assert message.startswith(f"The request carries two different API keys, in {names}. Send one")
    assert "sk-" not in message


@pytest.mark.parametrize("path", ["/v1/chat/completionz", "/v1/chat/completions/x", "/v1/images"])
def test_an_address_of_openais_is_refused_in_openais_words(gateway: Gateway, path: str) -> None:
    """X-006: the address counts before the headers."""
    reply = ask(gateway, "POST", path, VERSION)
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unknown_url")


def test_every_reply_has_its_id_where_anthropics_sdks_look(gateway: Gateway) -> None:
    """M-005."""
    for reply in (
        ask(gateway, "POST", "/v1/chat/completions", json=CHAT),
        ask(gateway, "POST", "/v1/chat/completions", json={**CHAT, "stream": True}),
        ask(gateway, "GET", "/v1/models", VERSION),
        ask(gateway, "GET", "/nowhere"),
    ):
        assert reply.headers["request-id"] == reply.headers["x-request-id"] != ""


def test_a_look_at_the_root_needs_no_key(gateway: Gateway) -> None:
    """X-005: the first thing that Claude Code sends."""
    reply = gateway.http.head(gateway.base_url + "/")
    assert (reply.status_code, reply.content) == (200, b"")


# --- the list of models


def test_models_are_listed_for_anthropics_sdk(gateway: Gateway) -> None:
    """X-002, M-053: as pages that the SDK turns by itself."""
    client = anthropic.Anthropic(base_url=gateway.base_url, api_key=KEY, max_retries=0)
    found = [model.id for model in client.models.list(limit=2)]
    assert found == sorted(["gemini-2.5-flash", "gemini-flash", "lan-chat", "nano-banana-pro"])
    one = client.models.retrieve("gemini-flash")
    assert (one.type, one.id, one.display_name) == ("model", "gemini-flash", "gemini-flash")
    assert one.created_at.timestamp() == 0
    client.close()


def test_claude_code_asks_for_a_thousand(gateway: Gateway) -> None:
    """M-051."""
    reply = ask(gateway, "GET", "/v1/models?limit=1000", VERSION).json()
    assert [model["id"] for model in reply["data"]] == [
        "gemini-2.5-flash", "gemini-flash", "lan-chat", "nano-banana-pro",
    ]  # fmt: skip
    assert (reply["has_more"], reply["first_id"], reply["last_id"]) == (
        False,
        "gemini-2.5-flash",
        "nano-banana-pro",
    )


def test_who_asks_as_openais_clients_do_gets_openais_list(gateway: Gateway) -> None:
    """X-002."""
    reply = ask(gateway, "GET", "/v1/models", {"x-api-key": KEY}).json()
    assert reply["object"] == "list"


MODELS = [ListedModel(name, "x", 1_790_000_000) for name in "abcde"]


@pytest.mark.parametrize(
    ("query", "ids", "has_more"),
    [
        ({}, "abcde", False),
        ({"limit": "2"}, "ab", True),
        ({"limit": "2", "after_id": "b"}, "cd", True),
        ({"limit": "2", "after_id": "c"}, "de", False),
        ({"limit": "2", "before_id": "d"}, "bc", True),
        ({"limit": "3", "before_id": "d"}, "abc", False),
        ({"after_id": "e"}, "", False),
        ({"after_id": "a", "before_id": "d", "limit": "1"}, "b", True),
    ],
)
def test_pages(query: dict[str, str], ids: str, has_more: bool) -> None:
    page = orjson.loads(models_reply.listed(MODELS, query))
    assert page == {
        "data": [
            {
                "type": "model",
                "id": name,
                "display_name": name,
                "created_at": "2026-09-21T14:13:20Z",
                "lifecycle": "active",
            }
            for name in ids
        ],
        "has_more": has_more,
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
    }
    for model in page["data"]:
        ModelInfo.model_validate(model)


@pytest.mark.parametrize(
    "query",
    [{"limit": "many"}, {"limit": "0"}, {"limit": "1001"}, {"limit": "9" * 5000}, {"before_id": "z"}],
)
def test_a_page_that_is_none_is_refused_with_its_field(query: dict[str, str]) -> None:
    with pytest.raises(RequestError) as caught:
        models_reply.listed(MODELS, query)
    assert caught.value.param == next(iter(query))
