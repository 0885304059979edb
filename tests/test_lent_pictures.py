"""Vendors that read pictures by address alone are lent a client's file, where it is known how to reach us."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway import Gateway, open_gateway
from tests.picture_vendors import DATA_URI, GOOD, HEAD, post, providers, watching

PUBLIC = "https://ai.example.com"


def file(folder: Path, public_url: str) -> str:
    return (
        HEAD
        + providers("evolink", "kie")
        + "models:\n"
        + "  evolink: {targets: [evolink/gemini-3-pro-image-preview], poll: {every: 30ms}}\n"
        + "  kie: {targets: [kie/nano-banana-pro], poll: {every: 30ms}}\n"
        + f'server: {{state: "sqlite::memory:", files: {{folder: "{folder}/files"}}{public_url}}}\n'
    )


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("lent")
    with open_gateway(folder, file(folder, f", public_url: '{PUBLIC}/v1'")) as opened:
        yield opened


def read(gateway: Gateway, address: str) -> bytes:
    """What the vendor gets there."""
    assert address.startswith(f"{PUBLIC}/v1/files/")
    reply = gateway.http.get(gateway.base_url + address.removeprefix(PUBLIC))
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/png")
    return reply.content


def test_a_file_of_the_sdk_is_lent_to_evolink(gateway: Gateway) -> None:
    """001: `image_urls` is all it has. Of six orders four go out at once; the others find an address."""
    with watching(gateway) as seen:
        edited = gateway.client().images.edit(model="evolink", prompt="Bluer", image=("a.png", GOOD), n=6)
    assert len(edited.data or ()) == 6
    sent = [order.body["image_urls"] for order in seen.submits()]
    assert [len(addresses) for addresses in sent] == [1] * 6
    lent = {address for (address,) in sent}
    assert len(lent) <= 4
    assert {read(gateway, address) for address in lent} == {GOOD}


def test_an_upload_is_lent_to_later_orders_by_the_address_of_the_first(gateway: Gateway) -> None:
    upload = gateway.client().files.create(file=("a.png", GOOD), purpose="vision").id
    with watching(gateway) as seen:
        body = {"model": "evolink", "prompt": "Greener", "images": [{"file_id": upload}], "n": 6}
        assert len(post(gateway, "images/edits", body).json()["data"]) == 6
    lent = {address for order in seen.submits() for address in order.body["image_urls"]}
    assert len(lent) <= 4
    assert {read(gateway, address) for address in lent} == {GOOD}


def made(gateway: Gateway) -> str:
    """The address of a picture of ours."""
    reply = gateway.client().images.generate(model="kie", prompt="A fox", response_format="url")
    assert reply.data is not None
    return reply.data[0].url or ""


def test_an_address_of_ours_goes_to_a_vendor_that_reads_addresses(gateway: Gateway) -> None:
    address = made(gateway)
    with watching(gateway) as seen:
        body = {"model": "evolink", "prompt": "Bluer", "images": [{"image_url": address}]}
        assert post(gateway, "images/edits", body).status_code == 200
    (order,) = seen.submits()
    assert order.body["image_urls"] == [address]


@pytest.mark.parametrize("change", [r"expires=\d+", r"signature=....", r"files/...."])
@pytest.mark.parametrize("path", ["images/edits", "chat/completions"])
def test_an_address_of_ours_that_is_good_no_more_is_ordered_with_by_nobody(
    gateway: Gateway, path: str, change: str
) -> None:
    """The vendor finds nothing there, and the picture it makes is another one, or none."""
    address = re.sub(change, lambda found: found[0][:-4] + "1111", made(gateway))
    part = {"type": "image_url", "image_url": {"url": address}}
    bodies = {
        "images/edits": {"prompt": "Bluer", "images": [{"image_url": address}]},
        "chat/completions": {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, part]}]
        },
    }
    with watching(gateway) as seen:
        reply = post(gateway, path, {"model": "evolink", **bodies[path]})
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (400, "invalid_image_url")
    assert error["param"] in ("images[0].image_url", "messages[0].content[1].image_url.url")
    assert seen.submits() == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_data_url_of_a_chat_is_lent_to_kie(gateway: Gateway, stream: bool) -> None:
    content = [{"type": "text", "text": "Redder"}, {"type": "image_url", "image_url": {"url": DATA_URI}}]
    body = {"model": "kie", "messages": [{"role": "user", "content": content}], "stream": stream}
    with watching(gateway) as seen:
        assert post(gateway, "chat/completions", body).status_code == 200
    (order,) = seen.submits()
    (address,) = order.body["input"]["image_input"]
    assert read(gateway, address) == GOOD


def test_what_the_vendor_does_not_take_is_lent_to_nobody(gateway: Gateway) -> None:
    """001: .jpeg .jpg .png .webp; known by the bytes, since they are here"""
    with watching(gateway) as seen, pytest.raises(openai.BadRequestError) as caught:
        gateway.client().images.edit(model="evolink", prompt="x", image=("a.gif", b"GIF89a" + b"\0" * 20))
    assert caught.value.code == "unsupported_image_type"
    assert seen.submits() == []


@pytest.mark.parametrize("fault", ["nowhere", "full"])
def test_where_nothing_can_be_lent_the_field_is_named(tmp_path: Path, fault: str, capfdbinary: Any) -> None:
    """V-011"""
    public_url = "" if fault == "nowhere" else f", public_url: '{PUBLIC}'"
    with open_gateway(tmp_path, file(tmp_path, public_url)) as own:
        if fault == "full":
            (tmp_path / "files").write_bytes(b"no folder")
        with pytest.raises(openai.BadRequestError) as caught:
            own.client().images.edit(model="evolink", prompt="Bluer", image=("a.png", GOOD))
    assert (caught.value.code, caught.value.param) == ("unsupported_image_input", "image")
    lines = [json.loads(line) for line in capfdbinary.readouterr().err.splitlines() if line.startswith(b"{")]
    told = [line for line in lines if line["event"] == "picture_not_stored"]
    assert len(told) == (1 if fault == "full" else 0)


@pytest.mark.parametrize(
    "private_url",
    ["http://192.168.1.5:8080", "http://localhost:8080/ai", "http://nas.lan", "https://ai.corp"],
)
def test_an_address_of_our_own_network_is_told_to_no_vendor_outside(tmp_path: Path, private_url: str) -> None:
    """Such a `public_url` is for browsers here; the vendor would take the order, and not find the picture."""
    outside = file(tmp_path, f", public_url: '{private_url}'")
    outside = outside.replace("private: true", "private: false").replace(
        "http://SIMULATORS", "https://vendor.example"
    )
    with open_gateway(tmp_path, outside) as own, pytest.raises(openai.BadRequestError) as caught:
        own.client().images.edit(model="evolink", prompt="Bluer", image=("a.png", GOOD))
    assert (caught.value.code, caught.value.param) == ("unsupported_image_input", "image")


@pytest.mark.parametrize(
    "address",
    [
        "http://10.0.0.5/a.png",
        "https://nas.local/a.png",
        "http://[::1]/a.png",
        "https://nas/a.png",
        "http://10.1/a.png",
    ],
)
def test_a_private_address_of_the_client_s_is_told_to_no_vendor_outside(tmp_path: Path, address: str) -> None:
    """I-040: in the words that a client reads where the picture is fetched here."""
    outside = file(tmp_path, "").replace("private: true", "private: false")
    with open_gateway(tmp_path, outside.replace("http://SIMULATORS", "https://vendor.example")) as own:
        body = {"model": "evolink", "prompt": "Bluer", "images": [{"image_url": address}]}
        reply = post(own, "images/edits", body)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (400, "invalid_image_url")
    assert (error["param"], error["message"].count("could not be downloaded")) == ("images[0].image_url", 1)


def test_a_vendor_of_our_own_network_is_lent_pictures_there(tmp_path: Path) -> None:
    here = file(tmp_path, ", public_url: 'http://192.168.1.5:8080'")
    with open_gateway(tmp_path, here) as own, watching(own) as seen:
        own.client().images.edit(model="evolink", prompt="Bluer", image=("a.png", GOOD))
    (order,) = seen.submits()
    (address,) = order.body["image_urls"]
    assert address.startswith("http://192.168.1.5:8080/v1/files/")
