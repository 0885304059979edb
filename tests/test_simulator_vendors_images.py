"""The simulated Seedream and OpenAI Images API, the file host, and what all simulated vendors share."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from proxy.simulators import pictures
from proxy.simulators.server import VENDORS, Running, start
from proxy.simulators.vendors import MAKERS, forms
from tests.simulated_vendors import (
    DATA_URI,
    PICTURE_URL,
    PNG,
    booked,
    client_of,
    decoded,
    fetched,
    json_of,
    only_task,
    size_of,
)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with start() as server:
        yield server


@pytest.fixture
def seedream(running: Running) -> Iterator[httpx.Client]:
    with client_of(running, "seedream") as client:
        yield client


@pytest.fixture
def sdk(running: Running) -> Iterator[openai.OpenAI]:
    running.log.reset()
    with openai.OpenAI(base_url=running.url("openai-images"), api_key="sim-key", max_retries=0) as client:
        yield client


def seed(prompt: str = "a cat", **fields: Any) -> dict[str, Any]:
    return {"model": "doubao-seedream-4-0", "prompt": prompt, **fields}


SEVERAL = {
    "sequential_image_generation": "auto",
    "sequential_image_generation_options": {"max_images": 2},
}
PATH = "/api/v3/images/generations"


def test_seedream_answers_at_once(seedream: httpx.Client, running: Running) -> None:
    body = seed(size="2048x1152", image=[DATA_URI, PICTURE_URL], response_format="b64_json", watermark=False)
    reply = json_of(seedream.post(PATH, json=body))
    assert size_of(decoded(reply["data"][0]["b64_json"])) == (2048, 1152)
    assert reply["usage"] == {"generated_images": 1, "output_tokens": 9216, "total_tokens": 9216}
    linked = json_of(seedream.post(PATH, json=seed(size="1K")))
    assert fetched(linked["data"][0]["url"]).mime == "image/jpeg"


def test_seedream_streams_what_succeeds_and_what_fails(seedream: httpx.Client, running: Running) -> None:
    """V046: only the picture that came out is billed."""
    reply = seedream.post(PATH, json=seed("a cat sim:partial", stream=True, **SEVERAL))
    frames = reply.text.split("\n\n")
    assert [frame.partition("\n")[0] for frame in frames[:-2]] == [
        "event: image_generation.partial_succeeded",
        "event: image_generation.partial_failed",
        "event: image_generation.completed",
    ]
    assert frames[-2:] == ["data: [DONE]", ""]
    assert booked(only_task(running)) == [("reserve", "0.4"), ("settle", "0.2"), ("refund", "0.2")]
    whole = json_of(seedream.post(PATH, json=seed("a cat sim:partial", **SEVERAL)))
    assert [sorted(item) for item in whole["data"]] == [["size", "url"], ["error"]]


SEEDREAM_REFUSED = [
    (seed("x sim:moderate"), 400, "OutputImageSensitiveContentDetected"),
    (seed("x sim:moderate:input"), 400, "InputTextSensitiveContentDetected"),
    (seed("x sim:http:429"), 429, "RateLimitExceeded.EndpointRPMExceeded"),
    (seed(n=2), 400, "InvalidParameter"),
    (seed(size="512x512"), 400, "InvalidParameter"),
    (seed(size="2048*2048"), 400, "InvalidParameter"),
    (seed(image="AAAA"), 400, "InvalidParameter"),
]


@pytest.mark.parametrize(("body", "status", "code"), SEEDREAM_REFUSED)
def test_seedream_refuses(seedream: httpx.Client, body: Any, status: int, code: str) -> None:
    assert json_of(seedream.post(PATH, json=body), status)["error"]["code"] == code


FORMATS = [("png", "image/png"), ("jpeg", "image/jpeg"), ("webp", "image/webp")]


@pytest.mark.parametrize(("kind", "mime"), FORMATS, ids=[row[0] for row in FORMATS])
def test_openai_draws_the_format_and_size_asked(sdk: openai.OpenAI, kind: Any, mime: str) -> None:
    reply = sdk.images.generate(
        model="gpt-image-2", prompt="a cat", size="1536x1024", output_format=kind, n=2
    )
    assert reply.data is not None
    seen = [decoded(item.b64_json or "") for item in reply.data]
    assert [(each.mime, size_of(each)) for each in seen] == [(mime, (1536, 1024))] * 2
    assert (reply.size, reply.output_format) == ("1536x1024", kind)
    assert reply.usage is not None
    assert reply.usage.total_tokens == 2 + 2 * 196


def test_openai_edits_take_forms(sdk: openai.OpenAI, running: Running) -> None:
    images: Any = [("a.png", PNG), ("b.png", PNG)]
    reply = sdk.images.edit(
        model="gpt-image-2", prompt="a cat", image=images, mask=("m.png", PNG), n=1, input_fidelity="high"
    )
    assert reply.usage is not None
    assert reply.usage.input_tokens_details.image_tokens == 3 * 320
    seen = running.log.exchanges("openai-images")[-1].notes["references"]
    assert [each["field"] for each in seen] == ["image[]", "image[]", "mask"]
    assert {(each["mime"], each["width"], each["height"], each["bytes"]) for each in seen} == {
        ("image/png", 64, 48, len(PNG))
    }
    with pytest.raises(openai.BadRequestError, match="of no known type"):
        sdk.images.edit(model="gpt-image-2", prompt="a cat", image=("a.png", b"no picture"))


@pytest.mark.parametrize(
    ("said", "kinds"),
    [
        pytest.param(
            {"stream": "true", "partial_images": "2"},
            [*["image_edit.partial_image"] * 2, "image_edit.completed"],
            id="unfinished ones",
        ),
        pytest.param({"stream": "true"}, ["image_edit.completed"], id="the finished one"),
        pytest.param({"stream": "false", "partial_images": "2"}, [None], id="whole"),
    ],
)
@pytest.mark.parametrize(
    ("vendor", "model"), [("openai-images", "gpt-image-2"), ("openai", "llama")], ids=["OpenAI", "its kin"]
)
def test_a_form_says_in_words_how_its_reply_shall_come(
    running: Running, vendor: str, model: str, said: dict[str, str], kinds: list[str | None]
) -> None:
    fields = {"model": model, "prompt": "a cat", **said}
    with client_of(running, vendor) as client:
        reply = client.post("/images/edits", data=fields, files={"image": ("a.png", PNG)})
    assert reply.status_code == 200, reply.text
    found = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
    assert [one["type"] for one in found] == [kind for kind in kinds if kind is not None]


def test_openai_edits_take_json(sdk: openai.OpenAI, running: Running) -> None:
    with client_of(running, "openai-images") as client:
        body = {"model": "gpt-image-2", "prompt": "x", "images": [{"image_url": DATA_URI}]}
        assert json_of(client.post("/images/edits", json=body))["data"]
        body["images"] = [{"file_id": "file-1"}]
        assert json_of(client.post("/images/edits", json=body), 400)["error"]["param"] == "images"


def test_openai_streams_partial_and_complete_pictures(sdk: openai.OpenAI) -> None:
    stream = sdk.images.generate(model="gpt-image-2", prompt="a cat", stream=True, partial_images=2)
    assert [event.type for event in stream] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    edited = sdk.images.edit(model="gpt-image-2", prompt="a cat", image=("a.png", PNG), stream=True)
    assert [event.type for event in edited] == ["image_edit.completed"]


OPENAI_REFUSED: list[tuple[dict[str, Any], str | None, str | None]] = [
    ({"extra_body": {"aspect_ratio": "1:1"}}, "unknown_parameter", "aspect_ratio"),
    ({"size": "1000x1000"}, "invalid_value", "size"),
    ({"n": 11}, "invalid_value", "n"),
    ({"response_format": "url"}, "unknown_parameter", "response_format"),
    ({"prompt": "x sim:moderate"}, "moderation_blocked", None),
]


@pytest.mark.parametrize(("fields", "code", "param"), OPENAI_REFUSED)
def test_openai_refuses(sdk: openai.OpenAI, fields: Any, code: str, param: str | None) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.images.generate(**{"model": "gpt-image-2", "prompt": "a cat", **fields})
    assert (refused.value.code, refused.value.param) == (code, param)


BROKEN_FORMS = [
    (b"--b\r\nX", "multipart/form-data", "no boundary"),
    (b"nothing", "multipart/form-data; boundary=b", "begin and end"),
    (b"--b\r\nX: y\r\n\r\n1\r\n--b--", "multipart/form-data; boundary=b", "has no name"),
]


@pytest.mark.parametrize(("raw", "kind", "message"), BROKEN_FORMS, ids=[row[2] for row in BROKEN_FORMS])
def test_broken_forms_are_refused(raw: bytes, kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        forms.read(raw, kind)


def linked(running: Running, order: str) -> str:
    """The URL of a picture drawn with this order."""
    with client_of(running, "grsai") as client:
        body = {"model": "nano-banana", "prompt": f"a cat {order}"}
        url: str = json_of(client.post("/v1/api/generate", json=body))["results"][0]["url"]
    return url


def test_files_expire_and_are_signed(running: Running) -> None:
    url = linked(running, "")
    assert size_of(fetched(url)) == (1024, 1024)
    assert httpx.get(linked(running, "sim:urlexpired")).status_code == 403
    assert running.log.counts["files.expired"] == 1
    soon = linked(running, "sim:urlexpired:2")
    assert httpx.get(soon).status_code == 200
    deadline = time.monotonic() + 10
    while httpx.get(soon).status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert httpx.get(soon).status_code == 403
    assert "SignatureDoesNotMatch" in httpx.get(url.replace("1024x1024", "1x1")).text
    assert httpx.get(running.url("files") + "/grsai/x").status_code == 404


def test_files_go_elsewhere_on_order(running: Running) -> None:
    away = httpx.get(linked(running, "sim:redirect:http://169.254.169.254/latest"))
    assert (away.status_code, away.headers["location"]) == (302, "http://169.254.169.254/latest")
    assert httpx.get(linked(running, "sim:redirect:ok"), follow_redirects=True).status_code == 200
    with pytest.raises(httpx.TooManyRedirects):
        httpx.get(linked(running, "sim:redirect:self"), follow_redirects=True)


def test_files_break_on_order(running: Running) -> None:
    assert httpx.get(linked(running, "sim:file:html")).headers["content-type"] == "text/html"
    lie = httpx.get(linked(running, "sim:file:lie"))
    assert (lie.headers["content-type"], lie.content[:6]) == ("image/png", b"<html>")
    assert httpx.get(linked(running, "sim:file:404")).status_code == 404
    once = linked(running, "sim:file:once:503")
    assert [httpx.get(once).status_code for _ in range(2)] == [503, 200]
    for order in ("drop", "cut"):
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(linked(running, f"sim:file:{order}"))
    for order in ("stall", "slow:30"):
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(linked(running, f"sim:file:{order}"), timeout=0.3)


def test_files_are_as_big_as_ordered(running: Running) -> None:
    reply = httpx.get(linked(running, "sim:big:3"))
    assert len(reply.content) == 3 << 20
    assert size_of(pictures.look(reply.content)) == (1024, 1024)


def test_a_credential_at_the_file_host_is_counted(running: Running) -> None:
    url = linked(running, "")
    httpx.get(url, headers={"authorization": "Bearer sim-key"})
    assert running.log.counts["files.credentials"] == 1
    assert list(running.log.ledger.downloads.values()) == [1]


@pytest.mark.parametrize("vendor", [name for name in MAKERS if name != "files"])
def test_every_vendor_wants_a_key_and_knows_its_paths(running: Running, vendor: str) -> None:
    assert httpx.post(running.url(vendor) + "/v1/x", json={}).status_code in (200, 401)
    for key in ("bad", "spent", "busy"):
        with client_of(running, vendor, key) as client:
            reply = client.post("/x", json={})
            assert reply.headers["content-type"].startswith("application/json")
            told = reply.json()
            code = told.get("code") or told.get("error_code") or told.get("base_resp", {}).get("status_code")
            assert reply.status_code >= 400 or code >= 400 or code in (17, 18, 110)
    with client_of(running, vendor) as client:
        nowhere = client.delete("/nowhere")
        assert nowhere.status_code == 404 or nowhere.json()["code"] == 404
    assert not [each.notes["crash"] for each in running.log.exchanges() if "crash" in each.notes]
    assert VENDORS[vendor].mount == vendor


def test_the_ledger_is_forgotten_with_the_log(running: Running) -> None:
    linked(running, "")
    shown = httpx.get(running.base_url + "/_sim/ledger?vendor=grsai").json()
    assert shown["tasks"][0]["entries"] == [
        {"kind": "reserve", "amount": "440"},
        {"kind": "settle", "amount": "440"},
    ]
    assert shown["vendors"]["grsai"]["submits"] == 1
    httpx.post(running.base_url + "/_sim/reset")
    assert httpx.get(running.base_url + "/_sim/ledger").json() == {
        "tasks": [],
        "submits": {},
        "downloads": {},
        "vendors": {},
    }


def test_a_webp_of_one_colour_is_real() -> None:
    """Decoded with libwebp when it was written: one colour, this size; the bytes are pinned here."""
    data = pictures.webp(1023, 777, "abc")
    assert base64.b64encode(data) == b"UklGRhgAAABXRUJQVlA4TAwAAAAv/gPCAChJaxrU/wA="
    assert pictures.look(data) == pictures.Seen("image/webp", 1023, 777)
    with pytest.raises(ValueError, match="cannot exist"):
        pictures.webp(16385, 1)
