"""`/v1/files`: what is uploaded, whose it is, how long it is kept, and that requests may speak of it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from proxy.simulators import pictures
from proxy.store.files import FileStore
from proxy.store.uploads import FullError, Uploads
from proxy.types import Slice
from tests.gateway import KEY, Gateway

PNG = pictures.png(32, 24, "x")
PDF = b"%PDF-1.4\n%%EOF\n"


def upload(gateway: Gateway, content: bytes = PNG, name: str = "fox.png", purpose: str = "vision") -> str:
    return gateway.client().files.create(file=(name, content), purpose=purpose).id  # type: ignore[arg-type]


def post(gateway: Gateway, files: Any, key: str = KEY, **fields: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{gateway.base_url}/v1/files", data=fields, files=files, headers=headers, timeout=20)


def inline(gateway: Gateway) -> Any:
    """The picture or document that Gemini was sent last."""
    parts = gateway.sent()[-1].body["contents"][0]["parts"]
    return next(part["inlineData"] for part in parts if "inlineData" in part)


def test_a_file_is_told_listed_read_and_deleted(gateway: Gateway) -> None:
    """E-060"""
    client = gateway.client()
    made = client.files.create(file=("notes.txt", b"line\nline\x00\xff"), purpose="user_data")
    assert made.id.startswith("file-")
    assert (made.object, made.filename, made.purpose, made.bytes) == ("file", "notes.txt", "user_data", 11)
    assert made.expires_at == made.created_at + 24 * 3600
    assert client.files.retrieve(made.id) == made
    assert made in client.files.list(purpose="user_data").data
    assert made not in client.files.list(purpose="vision").data
    assert client.files.content(made.id).read() == b"line\nline\x00\xff"
    assert client.files.delete(made.id).deleted
    for look in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError) as caught:
            look(made.id)
        assert caught.value.code == "file_not_found"


ANTHROPICS = {"anthropic-version": "2023-06-01", "authorization": f"Bearer {KEY}"}


def test_anthropics_clients_upload_and_read_in_its_words(gateway: Gateway) -> None:
    """X-002: they say no purpose."""
    with anthropic.Anthropic(base_url=gateway.base_url, api_key=KEY, max_retries=0) as client:
        made = _spoken_of(gateway, client)
    reply = gateway.http.get(f"{gateway.base_url}/v1/files/{made}", headers=ANTHROPICS)
    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "not_found_error")


def _spoken_of(gateway: Gateway, client: anthropic.Anthropic) -> str:
    made = client.beta.files.upload(file=("fox.png", PNG, "image/png"))
    assert (made.type, made.filename, made.mime_type, made.size_bytes) == (
        "file",
        "fox.png",
        "image/png",
        len(PNG),
    )
    assert client.beta.files.retrieve_metadata(made.id) == made
    assert made in client.beta.files.list().data
    page = client.beta.files.list(limit=1)
    assert len(page.data) == 1
    image: Any = {"type": "image", "source": {"type": "file", "file_id": made.id}}
    client.messages.create(
        model="gemini-flash", max_tokens=100, messages=[{"role": "user", "content": [image]}]
    )
    assert inline(gateway)["mimeType"] == "image/png"
    assert client.beta.files.delete(made.id).type == "file_deleted"
    return made.id


@pytest.mark.parametrize("prefix", ["/v1", "/v1beta"])
def test_googles_clients_read_in_its_words(gateway: Gateway, prefix: str) -> None:
    """X-002: as of models."""
    id = upload(gateway)
    headers = {"x-goog-api-key": KEY}
    reply = gateway.http.get(f"{gateway.base_url}{prefix}/files?pageSize=1000", headers=headers)
    [file] = [one for one in reply.json()["files"] if one["name"] == f"files/{id}"]
    assert (file["displayName"], file["sizeBytes"]) == ("fox.png", str(len(PNG)))
    assert gateway.http.get(f"{gateway.base_url}{prefix}/files/{id}?key={KEY}").json() == file
    assert gateway.http.delete(f"{gateway.base_url}{prefix}/files/{id}", headers=headers).json() == {}
    reply = gateway.http.get(f"{gateway.base_url}{prefix}/files/{id}", headers=headers)
    assert (reply.status_code, reply.json()["error"]["status"]) == (404, "NOT_FOUND")


def test_pages_of_a_list(gateway: Gateway) -> None:
    for number in range(3):
        upload(gateway, name=f"{number}.png")
    client = gateway.client()
    page = client.files.list(limit=2)
    assert (len(page.data), page.has_more) == (2, True)
    assert len({one.id for one in client.files.list(limit=1)}) >= 3


@pytest.mark.parametrize("purpose", ["batch", "assistants", "fine-tune", "evals"])
def test_a_purpose_that_nothing_here_serves_is_refused(gateway: Gateway, purpose: str) -> None:
    """E-060: what would never be run must not be accepted."""
    error = post(gateway, {"file": ("a.jsonl", b"{}")}, purpose=purpose).json()["error"]
    assert (error["param"], error["code"]) == ("purpose", "invalid_value")


@pytest.mark.parametrize(
    ("files", "fields", "param", "code"),
    [
        ({"file": ("a", b"x")}, {}, "purpose", "missing_required_parameter"),
        ({"other": (None, b"x")}, {"purpose": "vision"}, "file", "missing_required_parameter"),
        ({"file": ("a", b"")}, {"purpose": "vision"}, "file", "empty_file"),
        ({"picture": ("a", b"x")}, {"purpose": "vision"}, "file", "unsupported_parameter"),
    ],
)
def test_a_wrong_form_is_refused_with_its_place(
    gateway: Gateway, files: Any, fields: dict[str, str], param: str, code: str
) -> None:
    reply = post(gateway, files, **fields)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["code"]) == (400, param, code)


def test_another_key_sees_nothing_of_it(gateway: Gateway) -> None:
    """E-060: per key."""
    id = upload(gateway)
    other = gateway.client(api_key="sk-test-narrow")
    assert id not in [one.id for one in other.files.list()]
    for look in (other.files.retrieve, other.files.content, other.files.delete):
        with pytest.raises(openai.NotFoundError):
            look(id)
    with pytest.raises(openai.NotFoundError) as caught:
        ask(other, id)
    assert (caught.value.code, caught.value.param) == (
        "file_not_found",
        "messages[0].content[1].file.file_id",
    )
    assert gateway.client().files.content(id).read() == PNG


def ask(client: openai.OpenAI, id: str, model: str = "gemini-flash") -> None:
    content: Any = [{"type": "text", "text": "What is it?"}, {"type": "file", "file": {"file_id": id}}]
    client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])


@pytest.mark.parametrize(
    ("data", "name", "mime"), [(PNG, "fox.png", "image/png"), (PDF, "fox.pdf", "application/pdf")]
)
def test_a_chat_speaks_of_it_by_its_id(gateway: Gateway, data: bytes, name: str, mime: str) -> None:
    """E-060: the upstream gets it inline, and its kind is told by its bytes."""
    ask(gateway.client(), upload(gateway, data, name, "user_data"))
    assert inline(gateway) == {"mimeType": mime, "data": base64.b64encode(data).decode()}


@pytest.mark.parametrize("kind", ["input_image", "input_file"])
def test_a_response_speaks_of_it_by_its_id(gateway: Gateway, kind: str) -> None:
    """E-060"""
    part: Any = {"type": kind, "file_id": upload(gateway)}
    text: Any = {"type": "input_text", "text": "What is it?"}
    gateway.client().responses.create(model="gemini-flash", input=[{"role": "user", "content": [text, part]}])
    assert inline(gateway)["mimeType"] == "image/png"


def test_a_server_that_speaks_openai_gets_it_inline_too(gateway: Gateway) -> None:
    ask(gateway.client(), upload(gateway, PDF, "fox.pdf", "user_data"), model="lan-chat")
    sent = gateway.sent()[-1].body["messages"][0]["content"][1]
    assert sent["file"]["filename"] == "fox.pdf"
    assert sent["file"]["file_data"].startswith("data:application/pdf;base64,")


def test_the_id_of_a_vendors_own_file_goes_on_to_it(gateway: Gateway) -> None:
    ask(gateway.client(), "file-6F2ksmvXxt4VdoqmHRw6kL", model="lan-chat")
    sent = gateway.sent()[-1].body["messages"][0]["content"][1]
    assert sent == {"type": "file", "file": {"file_id": "file-6F2ksmvXxt4VdoqmHRw6kL"}}


def test_a_file_ages_and_a_key_has_its_share(tmp_path: Path) -> None:
    """E-060: size and time limits, per key."""
    now = [1_790_000_000.0]
    uploads = Uploads(FileStore(tmp_path, ttl_s=10, max_bytes=20_000, clock=lambda: now[0]))
    data = Slice(base64.b64encode(b"x" * 700))
    first = uploads.add("a", "vision", "n" * 999, "image/png", data, now[0])
    assert len(first.filename) == 255
    assert uploads.read("a", first.id) == (first, b"x" * 700)
    with pytest.raises(FullError):
        uploads.add("a", "vision", "more", "", data, now[0])
    other = uploads.add("b", "vision", "more", "", data, now[0])
    assert uploads.listed("b") == [other]
    now[0] += 11
    assert uploads.listed("a") == []
    uploads.sweep()
    assert uploads.read("a", first.id) is None
    uploads.add("a", "vision", "again", "", data, now[0])


def test_what_is_no_upload_of_ours_is_none(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    identity = store.save(Slice(base64.b64encode(b'{"not": "ours"}\nx')))
    uploads = Uploads(store)
    assert uploads.find("a", f"file-{identity}") is None
    assert uploads.find("a", "file-../../etc/passwd") is None
    assert uploads.listed("a") == []
