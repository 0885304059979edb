"""What OpenAI has and this server has not: refused by name, so that a user sees what is not there."""

from __future__ import annotations

import httpx
import openai
import pytest

from tests.gateway import KEY, Gateway


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/batches"),
        ("GET", "/v1/batches"),
        ("POST", "/v1/uploads"),
        ("POST", "/v1/vector_stores"),
        ("POST", "/v1/assistants"),
        ("POST", "/v1/threads/runs"),
        ("GET", "/v1/fine_tuning/jobs"),
        ("POST", "/v1/realtime/sessions"),
        ("GET", "/v1/containers"),
        ("POST", "/v1/evals"),
        ("POST", "/v1/videos"),
        ("GET", "/v1/videos/video_1/content"),
    ],
)
def test_what_is_not_there_is_a_404_that_names_it(gateway: Gateway, method: str, path: str) -> None:
    """E-061, E-062: in OpenAI's shape, and with no advice that leads elsewhere."""
    headers = {"authorization": f"Bearer {KEY}"}
    reply = httpx.request(
        method, gateway.base_url + path, headers=headers, json={} if method == "POST" else None
    )
    assert reply.status_code == 404
    error = reply.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", None, "unknown_url")
    assert error["message"].startswith(f"There is no {method} {path} here. See the list at /.")


def test_the_list_at_the_root_has_what_is_there(gateway: Gateway) -> None:
    listed = httpx.get(f"{gateway.base_url}/").json()["addresses"]
    assert {
        "POST /v1/chat/completions",
        "POST /v1/messages",
        "POST /v1beta/models/{model}:generateContent",
        "GET /v1/models/{name}",
        "GET /v1/tasks/{id}/events",
        "GET /v1/usage",
        "POST /admin/keys",
        "GET /livez",
        "GET /metrics",
    } <= set(listed)
    assert [one for one in listed if "compact" in one or "{verb}" in one] == []
    for method, path in (one.split() for one in listed):
        reply = httpx.request(method, gateway.base_url + path, headers={"authorization": f"Bearer {KEY}"})
        assert "unknown_url" not in reply.text, f"{method} {path}"


def test_openais_sdk_raises_for_a_batch_that_nobody_would_run(gateway: Gateway) -> None:
    """E-061"""
    with pytest.raises(openai.NotFoundError, match="There is no POST /v1/batches here"):
        gateway.client().batches.create(
            input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h"
        )


@pytest.mark.parametrize("prefix", ["/v1", ""])
@pytest.mark.parametrize(
    ("method", "path", "advice"),
    [
        ("POST", "/responses/compact", "send fewer items"),
    ],
)
def test_what_belongs_to_responses_and_is_not_there_says_what_is(
    gateway: Gateway, prefix: str, method: str, path: str, advice: str
) -> None:
    """R-073: neither an address of another sort that has room for it, nor one that is spelled nearly so."""
    headers = {"authorization": f"Bearer {KEY}"}
    reply = httpx.request(method, gateway.base_url + prefix + path, headers=headers)
    assert reply.status_code == 404
    error = reply.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", None, "unknown_url")
    assert error["message"].startswith(f"There is no {method} {prefix}{path} here.")
    assert advice in error["message"]
    assert "Did you mean" not in error["message"]
    assert httpx.request(method, gateway.base_url + prefix + path).status_code == 401


@pytest.mark.parametrize(
    ("path", "near"),
    [("/v1/embedding", "/v1/embeddings"), ("/v1/audio/transcription", "/v1/audio/transcriptions")],
)
def test_a_near_address_is_still_told(gateway: Gateway, path: str, near: str) -> None:
    reply = httpx.post(gateway.base_url + path, headers={"authorization": f"Bearer {KEY}"})
    assert f"Did you mean {near}?" in reply.json()["error"]["message"]
