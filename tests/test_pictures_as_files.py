"""Pictures that a client sends as files or by the id of an upload, to vendors that only make pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway import Gateway, open_gateway
from tests.picture_vendors import DATA_URI, GOOD, HEAD, post, providers, watching

FILE = (
    HEAD
    + providers("evolink", "grsai", "xiaotian")
    + """
models:
  grsai: {targets: [grsai/nano-banana-pro], poll: {every: 30ms}}
  relay: {targets: [xiaotian/gemini-3-pro-image-preview]}
  lent: {targets: [evolink/gemini-3-pro-image-preview], poll: {every: 30ms}}
"""
)
PDF = b"%PDF-1.4\n%%EOF\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("files")
    own = f'server: {{state: "sqlite::memory:", files: {{folder: "{folder}/f"}}, public_url: "https://a.example"}}\n'
    with open_gateway(folder, FILE + own) as opened:
        yield opened


def upload(gateway: Gateway, content: bytes = GOOD) -> str:
    return gateway.client().files.create(file=("fox", content), purpose="vision").id


def chat(gateway: Gateway, model: str, part: Any) -> Any:
    content = [{"type": "text", "text": "Make it blue"}, part]
    return post(
        gateway, "chat/completions", {"model": model, "messages": [{"role": "user", "content": content}]}
    )


def respond(gateway: Gateway, model: str, part: Any) -> Any:
    content = [{"type": "input_text", "text": "Make it blue"}, part]
    return post(gateway, "responses", {"model": model, "input": [{"role": "user", "content": content}]})


def pictures_of(body: Any) -> list[str]:
    """The pictures of a relay's chat."""
    (message,) = body["messages"]
    return [part["image_url"]["url"] for part in message["content"] if part["type"] == "image_url"]


@pytest.mark.parametrize(
    ("ask", "part"),
    [
        pytest.param(chat, {"type": "file", "file": {"filename": "a.png", "file_data": DATA_URI}}, id="chat"),
        pytest.param(
            chat, {"type": "file", "file": {"file_data": DATA_URI.partition(",")[2]}}, id="chat, bare base64"
        ),
        pytest.param(respond, {"type": "input_file", "file_data": DATA_URI}, id="response"),
    ],
)
def test_a_picture_that_is_sent_as_a_file_is_a_picture(gateway: Gateway, ask: Any, part: Any) -> None:
    """It was left out, and a picture was bought that had nothing to do with it."""
    with watching(gateway) as seen:
        replies = [ask(gateway, model, part) for model in ("grsai", "relay")]
    assert [(reply.status_code, reply.headers.get("x-proxy-dropped")) for reply in replies] == [
        (200, None)
    ] * 2
    job, talk = seen.submits()
    assert job.body["images"] == [DATA_URI]
    assert pictures_of(talk.body) == [DATA_URI]


def test_the_address_of_a_picture_that_is_given_as_a_files_is_one(gateway: Gateway) -> None:
    address = "https://example.com/fox.png?size=2"
    with watching(gateway) as seen:
        assert respond(gateway, "lent", {"type": "input_file", "file_url": address}).status_code == 200
    (order,) = seen.submits()
    assert order.body["image_urls"] == [address]


@pytest.mark.parametrize(
    ("ask", "part"),
    [
        pytest.param(chat, lambda id: {"type": "file", "file": {"file_id": id}}, id="file of a chat"),
        pytest.param(chat, lambda id: {"type": "image_url", "file_id": id}, id="picture of a chat"),
        pytest.param(respond, lambda id: {"type": "input_file", "file_id": id}, id="file of a response"),
        pytest.param(respond, lambda id: {"type": "input_image", "file_id": id}, id="picture of a response"),
    ],
)
def test_an_upload_is_read_for_vendors_of_pictures_too(gateway: Gateway, ask: Any, part: Any) -> None:
    """E-060: for every upstream."""
    id = upload(gateway)
    with watching(gateway) as seen:
        replies = [ask(gateway, model, part(id)) for model in ("grsai", "relay", "lent")]
    assert [(reply.status_code, reply.headers.get("x-proxy-dropped")) for reply in replies] == [
        (200, None)
    ] * 3
    job, talk, lent = seen.submits()
    assert job.body["images"] == [DATA_URI]
    assert pictures_of(talk.body) == [DATA_URI]
    (address,) = lent.body["image_urls"]
    path = address.removeprefix("https://a.example")
    assert gateway.http.get(gateway.base_url + path).content == GOOD


@pytest.mark.parametrize("model", ["grsai", "relay"])
def test_an_edit_speaks_of_uploads_by_their_ids(gateway: Gateway, model: str) -> None:
    """I-006: OpenAI's JSON form, `images: [{file_id}]`."""
    images = [{"file_id": upload(gateway)}, {"image_url": DATA_URI}]
    with watching(gateway) as seen:
        reply = post(gateway, "images/edits", {"model": model, "prompt": "Mix them", "images": images})
    assert reply.status_code == 200
    (order,) = seen.submits()
    assert (order.body.get("images") or pictures_of(order.body)) == [DATA_URI, DATA_URI]


@pytest.mark.parametrize("model", ["grsai", "lent"])
@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        pytest.param(PDF, 400, "invalid_image", id="a document"),
        pytest.param(None, 404, "file_not_found", id="deleted"),
    ],
)
def test_a_picture_is_not_made_without_the_file_it_is_to_be_made_of(
    gateway: Gateway, content: bytes | None, status: int, code: str, model: str
) -> None:
    id = upload(gateway, content or GOOD)
    if content is None:
        gateway.client().files.delete(id)
    with watching(gateway) as seen:
        reply = chat(gateway, model, {"type": "file", "file": {"file_id": id}})
        edit = post(gateway, "images/edits", {"model": model, "prompt": "x", "images": [{"file_id": id}]})
    errors = [reply.json()["error"], edit.json()["error"]]
    assert [(error["param"], error["code"]) for error in errors] == [
        ("messages[0].content[1].file.file_id", code),
        ("images[0].file_id", code),
    ]
    assert (reply.status_code, edit.status_code) == (status, status)
    assert seen.submits() == []


def test_an_upload_of_a_type_that_the_vendor_lacks_is_lent_to_nobody(gateway: Gateway) -> None:
    """001: .jpeg .jpg .png .webp"""
    body = {"model": "lent", "prompt": "x", "images": [{"file_id": upload(gateway, b"GIF89a" + bytes(20))}]}
    with watching(gateway) as seen:
        error = post(gateway, "images/edits", body).json()["error"]
    assert (error["param"], error["code"]) == ("images[0].file_id", "unsupported_image_type")
    assert seen.submits() == []
