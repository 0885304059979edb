"""Pictures by address: the modes `link` and `images+link` of chats, and `response_format: url`."""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from proxy.fronts.image_modes import WORDS
from proxy.simulators import pictures
from proxy.simulators.server import start
from tests import picture_vendors
from tests.gateway import FILE, KEY, Gateway, open_gateway
from tests.served import serving

LINK = re.compile(r"!\[image\]\((http://[^)\s]+)\)")
ADDRESS = re.compile(
    r"http://127\.0\.0\.1:\d+/v1/files/[0-9a-f]{32}/content\?expires=\d+&signature=[A-Za-z0-9_-]{43}"
)
MODEL = "nano-banana-pro"


def draw(gateway: Gateway, mode: str, prompt: str = "A cat", **fields: Any) -> Any:
    messages: Any = [{"role": "user", "content": prompt}]
    extra = {"image_output": mode}
    return gateway.client().chat.completions.create(
        model=MODEL, messages=messages, extra_body=extra, **fields
    )


def link_in(text: str) -> str:
    """The only address in the text."""
    (url,) = LINK.findall(text)
    assert ADDRESS.fullmatch(url)
    return url


def get(gateway: Gateway, url: str, method: str = "GET") -> httpx.Response:
    """As a browser would: without a key."""
    return gateway.http.request(method, url)


def png(gateway: Gateway, url: str) -> bytes:
    """What is at the address, after a look that it is the picture that was asked for."""
    reply = get(gateway, url)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/png")
    assert pictures.look(reply.content).width == 1024
    return reply.content


def of_data_url(url: str) -> bytes:
    return base64.b64decode(url.removeprefix("data:image/png;base64,"), validate=True)


# --- chat


def test_a_link_stands_in_the_text_of_a_whole_reply(gateway: Gateway) -> None:
    """G-156"""
    message = draw(gateway, "link").choices[0].message
    png(gateway, link_in(message.content))
    assert "data:" not in message.content
    assert getattr(message, "images", None) is None


def test_a_link_is_streamed_in_one_chunk(gateway: Gateway) -> None:
    deltas = [chunk.choices[0].delta for chunk in draw(gateway, "link", stream=True)]
    (shown,) = [delta.content for delta in deltas if "![" in (delta.content or "")]
    png(gateway, link_in(shown))
    assert not any(getattr(delta, "images", None) for delta in deltas)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_images_and_link_show_the_same_picture(gateway: Gateway, stream: bool) -> None:
    if stream:
        deltas = [chunk.choices[0].delta for chunk in draw(gateway, "images+link", stream=True)]
        text = "".join(delta.content or "" for delta in deltas)
        images = [image for delta in deltas for image in getattr(delta, "images", None) or ()]
    else:
        message = draw(gateway, "images+link").choices[0].message
        text, images = message.content, message.images
    (image,) = images
    assert png(gateway, link_in(text)) == of_data_url(image["image_url"]["url"])


def test_several_pictures_have_an_address_each(gateway: Gateway) -> None:
    text = draw(gateway, "link", "Cats sim:image:3").choices[0].message.content
    assert len({png(gateway, url) for url in LINK.findall(text)}) == 3


@pytest.mark.parametrize(
    ("body", "header", "query", "suffix", "linked"),
    [
        ("link", "markdown", "images", "@parts", True),
        (None, "link", "images", "@parts", True),
        (None, None, "link", "@parts", True),
        (None, None, None, "@link", True),
        ("markdown", "link", "link", "@link", False),
    ],
    ids=["body", "header", "query", "model", "body against all"],
)
def test_the_first_that_names_a_mode_decides(
    gateway: Gateway, body: str | None, header: str | None, query: str | None, suffix: str, linked: bool
) -> None:
    reply = gateway.http.post(
        f"{gateway.base_url}/v1/chat/completions",
        params={"image_output": query} if query else {},
        headers={"authorization": f"Bearer {KEY}", **({"x-image-output": header} if header else {})},
        json={
            "model": MODEL + (suffix or ""),
            "messages": [{"role": "user", "content": "A cat"}],
            **({"image_output": body} if body else {}),
        },
    )
    content = reply.json()["choices"][0]["message"]["content"]
    assert ("](http://" in content, "](data:" in content) == (linked, not linked)


def test_a_reply_without_pictures_stays_as_it_is(gateway: Gateway) -> None:
    assert draw(gateway, "link", "Hello sim:image:0").choices[0].message.content


def test_every_mode_is_described() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "pictures.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([^`]+)` \|", page, re.M)) == set(WORDS)


# --- what an app gets that says nothing of pictures


def shown_by_default(gateway: Gateway, stream: bool, **options: Any) -> tuple[Any, list[Any]]:
    """Content and `images` of a reply to OpenAI's own SDK, without any setting."""
    client = gateway.client(**options)
    messages: Any = [{"role": "user", "content": "A cat"}]
    if not stream:
        message = client.chat.completions.create(model=MODEL, messages=messages).choices[0].message
        return message.content, getattr(message, "images", [])
    chunks = list(client.chat.completions.create(model=MODEL, messages=messages, stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    images = [image for delta in deltas for image in getattr(delta, "images", None) or ()]
    return "".join(delta.content or "" for delta in deltas), images


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_sdk_gets_a_string_with_the_address_and_the_parts_beside_it(
    gateway: Gateway, stream: bool
) -> None:
    text, images = shown_by_default(gateway, stream)
    assert len(text) < 400
    (image,) = images
    assert (image["type"], image["index"]) == ("image_url", 0)
    assert png(gateway, link_in(text)) == of_data_url(image["image_url"]["url"])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_without_an_address_an_sdk_still_gets_a_string_and_the_parts(tmp_path: Path, stream: bool) -> None:
    """The store refuses: a file stands where its folder should be."""
    (tmp_path / "state").write_text("")
    with open_gateway(tmp_path) as gateway:
        text, images = shown_by_default(gateway, stream)
    (image,) = images
    (url,) = re.findall(r"!\[image\]\((data:image/png;base64,[^)]+)\)", text)
    assert url == image["image_url"]["url"]


def test_a_host_that_is_none_leaves_a_string_and_the_parts(gateway: Gateway) -> None:
    text, images = shown_by_default(gateway, stream=False, default_headers={"host": "a b"})
    assert "](data:image/png;base64," in text
    assert images[0]["image_url"]["url"] in text


def test_langchain_gets_the_list_whole_and_the_address_in_a_stream(gateway: Gateway) -> None:
    """langchain-openai asks for the raw response, without a timeout; see the table of clients."""
    client = gateway.client(timeout=None)
    messages: Any = [{"role": "user", "content": "A cat"}]
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=messages)
    content: Any = raw.http_response.json()["choices"][0]["message"]["content"]
    assert [part["type"] for part in content] == ["text", "image_url"]
    text, images = shown_by_default(gateway, stream=True, timeout=None)
    assert png(gateway, link_in(text)) == of_data_url(images[0]["image_url"]["url"])


def test_a_program_that_names_no_sdk_gets_the_list_of_parts(gateway: Gateway) -> None:
    reply = gateway.http.post(
        f"{gateway.base_url}/v1/chat/completions",
        headers={"authorization": f"Bearer {KEY}", "user-agent": "curl/8.5.0"},
        json={"model": MODEL, "messages": [{"role": "user", "content": "A cat"}]},
    )
    content = reply.json()["choices"][0]["message"]["content"]
    assert [part["type"] for part in content] == ["text", "image_url"]


# --- history


def told_of(gateway: Gateway, messages: list[Any]) -> str:
    """What the simulated vendor says it received."""
    reply = gateway.client().chat.completions.create(model="gemini-flash", messages=messages)
    return str(reply.choices[0].message.content).rpartition("I received: ")[2]


def after(answer: Any) -> list[Any]:
    return [
        {"role": "user", "content": "A cat"},
        answer,
        {"role": "user", "content": "What do you see?"},
    ]


@pytest.mark.parametrize("mode", ["link", "images+link"])
def test_a_link_in_the_history_is_the_picture_again(gateway: Gateway, mode: str) -> None:
    """G-043: NextChat sends back the text that it was given"""
    message = draw(gateway, mode).choices[0].message
    data = png(gateway, link_in(message.content))
    digest = sha256(data).hexdigest()[:16]
    expected = f"image/png 1024x1024 pixels, {len(data)} bytes, sha256 {digest}."
    assert told_of(gateway, after({"role": "assistant", "content": message.content})) == expected
    whole = message.model_dump(exclude_none=True)
    assert told_of(gateway, after(whole)) == expected


def test_our_address_works_wherever_a_picture_may_stand(gateway: Gateway) -> None:
    url = link_in(draw(gateway, "link").choices[0].message.content)
    part = {"type": "image_url", "image_url": {"url": url}}
    assert told_of(gateway, [{"role": "user", "content": [part]}]).startswith("image/png 1024x1024 pixels")


PASSTHROUGH = FILE.replace(
    "targets: [google/gemini-3-pro-image]",
    "targets: [google/gemini-3-pro-image], options: {media_mode: passthrough}",
)


@pytest.mark.parametrize("where", ["text", "image_url", "images"])
def test_our_own_address_never_goes_to_a_vendor_that_reads_addresses(tmp_path: Path, where: str) -> None:
    """It may be a name of a private network; others' addresses do go."""
    theirs = {"type": "image_url", "image_url": {"url": "https://pictures.example/dog.png"}}
    with open_gateway(tmp_path, PASSTHROUGH) as gateway:
        text = draw(gateway, "link").choices[0].message.content
        data, part = png(gateway, link_in(text)), {"type": "image_url", "image_url": {"url": link_in(text)}}
        answer: dict[str, Any] = {"role": "assistant", "content": text}
        if where == "image_url":
            answer["content"] = [{"type": "text", "text": "Here"}, part]
        elif where == "images":
            answer |= {"content": "Here", "images": [part]}
        asked: Any = [
            {"role": "user", "content": "A cat"},
            answer,
            {"role": "user", "content": [{"type": "text", "text": "Beside this dog"}, theirs]},
        ]
        reply = gateway.client().chat.completions.create(model=MODEL, messages=asked)
        turns = [turn["parts"] for turn in gateway.sent()[-1].body["contents"]]
    assert ["inlineData" in part for part in turns[1]] == [False, True]
    assert sha256(data).hexdigest()[:16] in (reply.choices[0].message.content or "")
    assert [part["fileData"]["fileUri"] for part in turns[2] if "fileData" in part] == [
        "https://pictures.example/dog.png"
    ]
    assert "/v1/files/" not in str(turns)


@pytest.mark.parametrize(
    ("vendor", "model", "by_address"),
    [
        ("grsai", "nano-banana-pro", False),
        ("dashscope", "wan2.7-image", False),
        ("evolink", "gemini-3-pro-image-preview", True),
    ],
)
def test_a_vendor_of_jobs_gets_our_address_only_where_it_takes_nothing_else(
    tmp_path: Path, vendor: str, model: str, by_address: bool
) -> None:
    entry = f"models:\n  jobs: {{targets: [{vendor}/{model}], poll: {{every: 100ms}}}}\n"
    file = picture_vendors.HEAD + picture_vendors.providers(vendor) + entry
    with open_gateway(tmp_path, file) as gateway:
        made = gateway.client().images.generate(
            model="google/gemini-3-pro-image", prompt="A cat", response_format="url"
        )
        before = len(gateway.sent())
        gateway.http.post(
            f"{gateway.base_url}/v1/images/edits",
            headers={"authorization": f"Bearer {KEY}"},
            json={"model": "jobs", "prompt": "Red", "images": [{"image_url": (made.data or ())[0].url}]},
        )
        (order,) = [sent for sent in gateway.sent()[before:] if sent.method == "POST"]
    assert ("/v1/files/" in str(order.body)) is by_address


def test_the_next_picture_is_made_from_the_one_behind_the_link(gateway: Gateway) -> None:
    """Its signature is found again by the picture's bytes."""
    text = draw(gateway, "link").choices[0].message.content
    data = png(gateway, link_in(text))
    reply = gateway.client().chat.completions.create(
        model=MODEL,
        messages=after({"role": "assistant", "content": text}),
        extra_body={"image_output": "link"},
    )
    assert png(gateway, link_in(reply.choices[0].message.content or "")) != data
    (part,) = [part for part in gateway.sent()[-1].body["contents"][1]["parts"] if "inlineData" in part]
    assert part["thoughtSignature"]


def test_a_link_that_somebody_else_signed_stays_text(gateway: Gateway) -> None:
    text = draw(gateway, "link").choices[0].message.content
    forged = re.sub(r"signature=.", "signature=!", text)
    reply = told_of(gateway, after({"role": "assistant", "content": forged}))
    assert "image/png" not in reply
    assert "signature=!" in str(gateway.sent()[-1].body)


# --- the Images API


def test_url_is_the_address_of_the_picture(gateway: Gateway) -> None:
    """I-002"""
    reply = gateway.client().images.with_raw_response.generate(
        model=MODEL, prompt="A cat", response_format="url"
    )
    (item,) = reply.parse().data or ()
    assert ADDRESS.fullmatch(item.url or "")
    assert item.b64_json is None
    assert "x-proxy-url-kind" not in reply.headers
    png(gateway, item.url or "")


def test_an_edit_starts_from_the_address_of_the_last_picture(gateway: Gateway) -> None:
    made = gateway.client().images.generate(model=MODEL, prompt="A cat", response_format="url")
    url = (made.data or ())[0].url
    reply = gateway.http.post(
        f"{gateway.base_url}/v1/images/edits",
        headers={"authorization": f"Bearer {KEY}"},
        json={
            "model": MODEL,
            "prompt": "Make it red",
            "images": [{"image_url": url}],
            "response_format": "url",
        },
    )
    assert png(gateway, reply.json()["data"][0]["url"]) != png(gateway, url or "")


def test_a_streamed_picture_has_the_address_beside_the_bytes(gateway: Gateway) -> None:
    (event,) = gateway.client().images.generate(
        model=MODEL, prompt="A cat", response_format="url", stream=True
    )
    url = event.model_extra["url"]
    assert png(gateway, url) == base64.b64decode(event.b64_json)


# --- the address


def test_the_address_says_what_it_gives(gateway: Gateway) -> None:
    url = link_in(draw(gateway, "link").choices[0].message.content)
    reply = get(gateway, url)
    headers = dict(reply.headers)
    max_age = re.fullmatch(r"private, max-age=(\d+), immutable", headers.pop("cache-control"))
    assert max_age is not None
    assert 86_000 < int(max_age[1]) <= 86_400
    for name in ("date", "server", "x-request-id", "request-id", "openai-processing-ms"):
        headers.pop(name)
    assert headers == {
        "content-type": "image/png",
        "content-length": str(len(reply.content)),
        "content-disposition": 'inline; filename="picture.png"',
        "x-content-type-options": "nosniff",
    }
    head = get(gateway, url, "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(reply.content))
    assert get(gateway, url.replace("/v1/files", "/files")).content == reply.content


def test_a_large_picture_comes_whole(gateway: Gateway) -> None:
    text = draw(gateway, "link", "A cat sim:big:9").choices[0].message.content
    assert len(png(gateway, link_in(text))) == 9 * 1024 * 1024


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        pytest.param(r"signature=.", "signature=~", id="tampered signature"),
        pytest.param(r"&signature=.*", "", id="no signature"),
        pytest.param(r"expires=1", "expires=9", id="later"),
        pytest.param(r"expires=\d+", "expires=1000000000", id="expired"),
        pytest.param(r"expires=\d+&", "", id="no expiry"),
        pytest.param(r"files/[0-9a-f]{32}", "files/" + "0" * 32, id="another id"),
        pytest.param(r"files/[0-9a-f]{32}", "files/.secret", id="the secret"),
        pytest.param(r"files/[0-9a-f]{32}", "files/%2e%2e%2fdragoman.db", id="outside"),
        pytest.param(r"/content", "", id="no content"),
        pytest.param(r"/content", "/metadata", id="another view"),
    ],
)
def test_every_wrong_address_is_the_same_404(gateway: Gateway, pattern: str, replacement: str) -> None:
    url = link_in(draw(gateway, "link").choices[0].message.content)
    wrong = re.sub(pattern, replacement, url)
    assert wrong != url
    reply = get(gateway, wrong)
    assert reply.status_code == 404
    message = "There is no such file, or its address has expired."
    assert reply.json()["error"] == {
        "message": f"{message} (request id: {reply.headers['x-request-id']})",
        "type": "invalid_request_error",
        "param": None,
        "code": "file_not_found",
    }


def test_a_file_that_is_gone_is_a_404(tmp_path: Path) -> None:
    with open_gateway(tmp_path) as gateway:
        assert not (tmp_path / "state").exists()
        url = link_in(draw(gateway, "link").choices[0].message.content)
        png(gateway, url)
        identity = url.split("/")[5]
        (tmp_path / "state" / "files" / identity).unlink()
        assert get(gateway, url).status_code == 404


# --- the base of addresses


def test_addresses_begin_as_the_configuration_says(tmp_path: Path) -> None:
    server = f'server: {{state: "sqlite:{tmp_path}/state/x.db", public_url: "https://ai.example.com/v1"}}\n'
    with open_gateway(tmp_path, FILE + server) as gateway:
        (url,) = re.findall(r"\((http[^)]+)\)", draw(gateway, "link").choices[0].message.content)
        assert url.startswith("https://ai.example.com/v1/files/")
        assert get(gateway, url.replace("https://ai.example.com", gateway.base_url)).status_code == 200


@pytest.mark.parametrize("host", ["evil.com/x?", "a b", "user@evil.com", "x)", '"', "[::1", ""])
def test_a_host_that_is_none_gets_no_address(gateway: Gateway, host: str) -> None:
    """A picture must not be lost for it: it comes inline."""
    reply = gateway.http.post(
        f"{gateway.base_url}/v1/chat/completions",
        headers={"authorization": f"Bearer {KEY}", "host": host, "x-forwarded-host": "evil.com"},
        json={"model": MODEL + "@link", "messages": [{"role": "user", "content": "A cat"}]},
    )
    assert "](data:image/png;base64," in reply.json()["choices"][0]["message"]["content"]


def test_a_folder_that_cannot_be_written_costs_no_picture(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file stands where the folder should be")
    with open_gateway(tmp_path) as gateway:
        assert "](data:image/png;base64," in draw(gateway, "link").choices[0].message.content
        reply = gateway.client().images.with_raw_response.generate(
            model=MODEL, prompt="A cat", response_format="url"
        )
        (item,) = reply.parse().data or ()
        assert of_data_url(item.url or "") == base64.b64decode(item.b64_json or "")
        assert reply.headers["x-proxy-url-kind"] == "data"


# --- who shares the secret


def test_an_address_outlives_a_restart(tmp_path: Path) -> None:
    with open_gateway(tmp_path) as gateway:
        url = link_in(draw(gateway, "link").choices[0].message.content)
        data, made_by = png(gateway, url), gateway.base_url
    with open_gateway(tmp_path) as gateway:
        assert png(gateway, url.replace(made_by, gateway.base_url)) == data


def test_workers_answer_for_each_other(tmp_path: Path) -> None:
    vendors = start()
    environment = {"TEST_KEY": KEY, "VENDOR_KEY": "vendor-key", "TEST_NARROW_KEY": "sk-narrow"}
    file = FILE.replace("http://SIMULATORS", vendors.base_url)
    try:
        with serving(tmp_path, file, "--workers", "3", environment=environment) as served:
            urls, bodies = [], []
            for _ in range(6):  # a connection each, so that whichever worker is free takes it
                with openai.OpenAI(base_url=f"{served.base_url}/v1", api_key=KEY, max_retries=0) as client:
                    made = client.images.generate(model=MODEL, prompt="A cat", response_format="url")
                    urls.append((made.data or ())[0].url or "")
            for url in urls * 3:
                reply = httpx.get(url)
                assert reply.status_code == 200
                bodies.append(reply.content)
            assert {pictures.look(body).width for body in bodies} == {1024}
    finally:
        vendors.stop()
    assert len(list((tmp_path / "state" / "files").iterdir())) == 6 + 1
