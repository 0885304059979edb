"""`wire: openai` asked for pictures at its Images API: every family of models, at the simulated servers."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from proxy.config.profiles import Profiles
from proxy.errors import ErrorClass, UpstreamError
from proxy.serve.draw import _with_partials
from proxy.simulators import pictures
from proxy.types import Event, Foreign, PartialImage, Slice, Started, Usage
from proxy.wires import openai_wire
from proxy.wires.declared import DeclaredWire, Done, Pending, check_profile, load_profile
from proxy.wires.openai.models import place_of_drawing
from tests.declared import JPEG, PNG, asked, by_data, submit, target, wire
from tests.gateway import Gateway, open_gateway
from tests.picture_vendors import DATA_URI, GOOD, decoded, of_url, post, raises, size_of, watching

OTHER = pictures.png(32, 32, "another")
PICTURE = Slice(PNG.encode())

FILE = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
defaults: {heartbeat: 300ms}
providers:
  official: {wire: openai, base_url: "http://SIMULATORS/openai-images/v1", keys: [env:K], private: true}
  lan: {wire: openai, base_url: "http://SIMULATORS/openai/v1", keys: [env:K], private: true}
  strict: {wire: openai, base_url: "http://SIMULATORS/openai-strict/v1", keys: [env:K], private: true}
  careful:
    wire: openai
    base_url: "http://SIMULATORS/openai-images/v1"
    keys: [env:K]
    private: true
    options: {unknown: drop, n: one, stream: never}
models:
  painter: {targets: [lan/painter], options: {makes_images: true}}
  gpt-image: {targets: [official.image/gpt-image-1.5]}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("images-api"), FILE, {"K": "vendor-key"}) as opened:
        yield opened


def drawn(gateway: Gateway, model: str, path: str = "images/generations", **fields: Any) -> Any:
    """The reply to a picture request, and what the server was sent for it."""
    with watching(gateway) as seen:
        reply = post(gateway, path, {"model": model, "prompt": "A cat", **fields})
    assert reply.status_code == 200, reply.text
    return reply, seen.submits()


# --- where a picture is asked for


@pytest.mark.parametrize(
    ("model", "options", "place"),
    [
        ("gpt-image-1", {}, "images"),
        ("openai/gpt-image-2", {}, "images"),
        ("chatgpt-image-latest", {}, "images"),
        ("DALL-E-3", {}, "images"),
        ("grok-2-image-1212", {}, "images"),
        ("grok-imagine-image", {}, "images"),
        ("imagen-4.0-generate-001", {}, "images"),
        ("Qwen/Qwen-Image", {}, "images"),
        ("gemini-2.5-flash-image", {}, "chat"),
        ("openai/gpt-5-image", {}, "chat"),
        ("nano-banana", {}, "chat"),
        ("flux-dev", {}, None),
        ("gpt-4.1", {}, None),
        ("painter", {"makes_images": True}, "chat"),
        ("painter", {"modalities": ["text", "image"]}, "chat"),
        ("gpt-image-1", {"makes_images": True}, "chat"),
        ("gemini-2.5-flash-image", {"makes_images": False}, None),
    ],
)
def test_where_a_model_draws(model: str, options: dict[str, Any], place: str | None) -> None:
    assert place_of_drawing(model, options) == place


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("official/gpt-image-2", "/v1/images/generations"),
        ("official.image/gpt-image-2", "/v1/images/generations"),
        ("lan/some-model", "/v1/images/generations"),
        ("lan.image/gemini-2.5-flash-image", "/v1/images/generations"),
    ],
)
def test_a_picture_is_asked_for_at_the_images_api(gateway: Gateway, model: str, path: str) -> None:
    reply, submits = drawn(gateway, model)
    assert [submit.path for submit in submits] == [path]
    assert decoded(reply.json()["data"][0]["b64_json"]).width > 0


@pytest.mark.parametrize("model", ["lan/gemini-2.5-flash-image", "painter"])
def test_a_model_that_is_known_to_draw_in_chat_is_asked_there(gateway: Gateway, model: str) -> None:
    """The simulated chat does not draw, so that there is no picture in the end."""
    with watching(gateway) as seen:
        assert raises(gateway, model, "A cat").code == "no_image_generated"
    assert {each.path for each in seen.submits()} == {"/v1/chat/completions"}


def test_a_model_of_both_kinds_chats_in_chats(gateway: Gateway) -> None:
    with watching(gateway) as seen:
        reply = gateway.client().chat.completions.create(
            model="lan/some-model", messages=[{"role": "user", "content": "Hi"}]
        )
    assert reply.choices[0].message.content == "You said: Hi"
    assert [each.path for each in seen.exchanges()] == ["/v1/chat/completions"]


# --- what is sent


def test_a_generation_carries_what_the_model_takes(gateway: Gateway) -> None:
    """`hd` is the old word for a quality, not the size 2K."""
    reply, (sent,) = drawn(
        gateway, "official/gpt-image-2", size="1920x1080", quality="hd", background="opaque", user="ann",
        moderation="low", output_format="jpeg", output_compression=70, style="vivid", seed=4,
    )  # fmt: skip
    assert sent.body == {
        "model": "gpt-image-2",
        "prompt": "A cat",
        "n": 1,
        "size": "1920x1088",
        "quality": "high",
        "background": "opaque",
        "moderation": "low",
        "output_format": "jpeg",
        "output_compression": 70,
        "user": "ann",
    }
    assert set(reply.headers["x-proxy-dropped"].split(", ")) == {"seed", "style"}
    assert reply.headers["x-proxy-size"] == "1920x1080 -> 1920x1088"
    body = reply.json()
    assert (body["size"], body["output_format"]) == ("1920x1088", "jpeg")
    assert body["usage"] == {
        "input_tokens": 2,
        "output_tokens": 196,
        "total_tokens": 198,
        "input_tokens_details": {"text_tokens": 2, "image_tokens": 0},
        "output_tokens_details": {"text_tokens": 0, "image_tokens": 196},
    }


def test_an_edit_is_a_form_with_its_pictures_in_order_and_the_mask(gateway: Gateway) -> None:
    with watching(gateway) as seen:
        reply = gateway.client().images.edit(
            model="official/gpt-image-1.5",
            prompt="Red",
            image=[("a.png", GOOD, "image/png"), ("b.png", OTHER, "image/png")],
            mask=("m.png", GOOD, "image/png"),
            size="1536x1024",
            input_fidelity="high",
            n=2,
        )
    (sent,) = seen.submits()
    assert sent.path == "/v1/images/edits"
    assert [(each["field"], each["bytes"]) for each in sent.notes["references"]] == [
        ("image[]", len(GOOD)),
        ("image[]", len(OTHER)),
        ("mask", len(GOOD)),
    ]
    assert sent.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert reply.usage is not None
    assert reply.usage.input_tokens_details.image_tokens == 3 * 320
    assert [size_of(decoded(item.b64_json or "")) for item in reply.data or []] == [(1536, 1024)] * 2


def test_the_form_of_an_edit_holds_no_field_that_edits_do_not_take() -> None:
    call = submit(
        "openai-images",
        "gpt-image-1",
        asked(
            "Red",
            size="16:9",
            moderation="low",
            stream=True,
            partial_images=1,
            references=(by_data(PNG), by_data(JPEG)),
            mask=by_data(PNG),
            foreign=Foreign("openai", {"input_fidelity": "high"}),
        ),
    )
    assert (call.path, call.stream, call.dropped) == ("/images/edits", True, ("moderation",))
    assert call.body == {
        "input_fidelity": "high",
        "model": "gpt-image-1",
        "prompt": "Red",
        "n": 1,
        "size": "1536x1024",
        "stream": True,
        "partial_images": 1,
    }
    assert [(file.field, file.mime) for file in call.files] == [
        ("image[]", "image/png"),
        ("image[]", "image/jpeg"),
        ("mask", "image/png"),
    ]


def test_a_server_that_edits_by_json_gets_json() -> None:
    request = asked("Red", size="1792x1024", image_size="2K", references=(by_data(PNG),))
    call = submit("openai-images", "grok-imagine-image", request)
    assert (call.path, call.files) == ("/images/edits", ())
    assert call.body == {
        "model": "grok-imagine-image",
        "prompt": "Red",
        "n": 1,
        "aspect_ratio": "16:9",
        "resolution": "2k",
        "image": {"url": Slice(PNG.encode(), prefix=b"data:image/png;base64,")},
        "response_format": "b64_json",
    }


def test_a_model_without_sizes_is_sent_none_and_the_client_is_told() -> None:
    call = submit("openai-images", "grok-2-image", asked(size="1024x1024", quality="high"))
    assert call.body == {
        "model": "grok-2-image",
        "prompt": "a cat",
        "n": 1,
        "response_format": "b64_json",
    }
    assert call.dropped == ("image.size", "image.quality")


def test_an_edit_as_json_becomes_a_form_too(gateway: Gateway) -> None:
    _, (sent,) = drawn(
        gateway,
        "official/gpt-image-2",
        "images/edits",
        images=[{"image_url": DATA_URI}],
        mask={"image_url": DATA_URI},
    )
    assert [each["field"] for each in sent.notes["references"]] == ["image[]", "mask"]


def test_a_mask_by_address_goes_through_the_guard(gateway: Gateway) -> None:
    with watching(gateway) as seen:
        reply = post(
            gateway,
            "images/edits",
            {
                "model": "official/gpt-image-2",
                "prompt": "Red",
                "images": [{"image_url": DATA_URI}],
                "mask": {"image_url": "http://127.0.0.1:9/mask.png"},
            },
        )
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "invalid_image_url", "mask.image_url")
    assert seen.exchanges() == []


def test_a_mask_without_a_picture_is_refused(gateway: Gateway) -> None:
    with watching(gateway) as seen:
        body = {"model": "official/gpt-image-2", "prompt": "Red", "mask": {"image_url": DATA_URI}}
        reply = post(gateway, "images/generations", body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "mask_not_supported")
    assert seen.exchanges() == []


def test_the_older_models_have_words_of_their_own(gateway: Gateway) -> None:
    reply, sent = drawn(gateway, "official/dall-e-3", n=2, quality="high", style="natural", size="16:9")
    body = {
        "model": "dall-e-3",
        "prompt": "A cat",
        "size": "1792x1024",
        "quality": "hd",
        "style": "natural",
        "response_format": "b64_json",
    }
    assert [each.body for each in sent] == [body, body]
    assert [item["revised_prompt"] for item in reply.json()["data"]] == ["A cat, in detail"] * 2


def test_the_oldest_model_edits_one_picture(gateway: Gateway) -> None:
    _, (sent,) = drawn(
        gateway, "official/dall-e-2", "images/edits", image=DATA_URI, size="2K", quality="high"
    )
    assert [each["field"] for each in sent.notes["references"]] == ["image"]
    with watching(gateway) as seen:
        reply = post(
            gateway,
            "images/edits",
            {"model": "official/dall-e-2", "prompt": "Red", "image": [DATA_URI, DATA_URI]},
        )
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "too_many_images")
    assert seen.exchanges() == []


def test_other_servers_are_sent_what_the_client_said(gateway: Gateway) -> None:
    """Of fields that nobody knows the lenient server takes no notice."""
    _, (sent,) = drawn(
        gateway, "lan/flux-dev", size="1000x600", seed=7, negative_prompt="blur", style="anime", steps=30
    )
    assert sent.body == {
        "steps": 30,
        "model": "flux-dev",
        "prompt": "A cat",
        "negative_prompt": "blur",
        "n": 1,
        "size": "1000x600",
        "style": "anime",
        "seed": 7,
        "response_format": "b64_json",
    }


def test_options_of_the_wire_hold_for_its_pictures_too(gateway: Gateway) -> None:
    reply, sent = drawn(gateway, "careful/gpt-image-2", n=2, steps=30)
    assert [each.body for each in sent] == [{"model": "gpt-image-2", "prompt": "A cat", "n": 1}] * 2
    assert reply.headers["x-proxy-dropped"] == "steps"
    call = submit("openai-images", "gpt-image-2", asked(stream=True, partial_images=1), stream="never")
    assert (call.stream, "stream" in call.body) == (False, False)


def test_documented_fields_go_on_where_unknown_ones_do_not() -> None:
    request = asked(foreign=Foreign("openai", {"input_fidelity": "low", "steps": 5}))
    call = submit("openai-images", "gpt-image-2", request, unknown="drop")
    assert (call.body["input_fidelity"], call.dropped) == ("low", ("foreign.steps",))
    other = asked(foreign=Foreign("anthropic", {"container": "c"}))
    assert submit("openai-images", "gpt-image-2", other).dropped == ("foreign.container",)


def test_what_is_foreign_goes_on_also_where_the_profile_has_nothing_to_say() -> None:
    profile = {
        "surfaces": {
            "image": {
                "submit": {"request": "POST /draw", "body": {"seed": "$seed"}},
                "foreign": {"dialect": "openai", "unknown": True},
                "result": {"images": "image"},
            }
        }
    }
    assert check_profile("x", profile) == []
    one = DeclaredWire(load_profile("x", profile).surface())
    call = one.submit(asked(foreign=Foreign("openai", {"steps": 5})), target("x", "m"))
    assert (call.body, call.dropped) == ({"steps": 5}, ())


# --- what a server does not know


def test_a_refused_field_of_ours_is_left_out_and_the_picture_is_fetched(gateway: Gateway) -> None:
    """The strict server answers with an address, since it knows no `response_format`."""
    reply, (first, second) = drawn(gateway, "strict/flux-dev", size="512x512")
    assert (first.status, second.status) == (400, 200)
    assert set(first.body) - set(second.body) == {"response_format"}
    assert size_of(decoded(reply.json()["data"][0]["b64_json"])) == (512, 512)
    assert "x-proxy-dropped" not in reply.headers


def test_what_the_client_asked_for_is_named_when_it_is_refused(gateway: Gateway) -> None:
    """A server that knows no streams is asked for the whole picture."""
    with watching(gateway) as seen:
        reply = post(
            gateway,
            "images/generations",
            {"model": "strict/flux-dev", "prompt": "A cat", "stream": True, "partial_images": 2},
        )
    assert (reply.status_code, reply.headers["x-proxy-dropped"]) == (200, "partial_images")
    assert reply.text.count("event: image_generation.completed") == 1
    assert [each.status for each in seen.submits()][-1] == 200
    assert seen.submits()[-1].body == {"model": "flux-dev", "prompt": "A cat", "n": 1}


def test_a_format_that_the_server_does_not_know_is_made_here(gateway: Gateway) -> None:
    reply, _ = drawn(gateway, "strict/flux-dev", output_format="webp")
    assert decoded(reply.json()["data"][0]["b64_json"]).mime == "image/webp"
    assert "x-proxy-dropped" not in reply.headers


def test_a_refusal_of_something_else_is_the_client_s(gateway: Gateway) -> None:
    with watching(gateway) as seen:
        error = raises(gateway, "strict/flux-dev", "A cat", style="vivid")
    assert (error.status_code, error.param) == (400, "style")
    assert len(seen.submits()) == 1


# --- what comes back


def test_what_the_vendor_says_of_its_pictures_is_told(gateway: Gateway) -> None:
    told, _ = drawn(gateway, "official/gpt-image-2", quality="high", background="auto")
    assert (told.json()["quality"], told.json()["background"]) == ("low", "opaque")
    silent, _ = drawn(gateway, "lan/flux-dev", quality="high")
    assert silent.json().keys().isdisjoint(("quality", "background"))


def test_an_address_is_asked_for_by_the_client_and_made_by_us(gateway: Gateway) -> None:
    reply, (sent,) = drawn(gateway, "lan/flux-dev", response_format="url")
    assert sent.body["response_format"] == "b64_json"
    picture = gateway.http.get(reply.json()["data"][0]["url"])
    assert pictures.look(picture.content).mime == "image/png"


def answered(reply: Any, model: str = "flux-dev") -> Done:
    """What the Images API of a server at http://10.0.0.7/v1 is understood to have said."""
    api = openai_wire("image", Profiles({}).data, "http://10.0.0.7/v1").jobs
    assert api is not None
    done = api.judge(api.submit(asked(), target("lan", model)), 200, {}, reply)
    assert isinstance(done, Done)
    return done


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("/files/1.png", "http://10.0.0.7/files/1.png"),
        ("./1.png", "http://10.0.0.7/v1/1.png"),
        ("static/1.png", "http://10.0.0.7/v1/static/1.png"),
        ("//cdn.example/1.png", "http://cdn.example/1.png"),
        (["https://cdn.example/1.png"], "https://cdn.example/1.png"),
    ],
)
def test_an_address_that_is_not_whole_starts_at_the_server_s(given: Any, address: str) -> None:
    assert [image.url for image in answered({"created": 1, "data": [{"url": given}]}).images] == [address]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param({"data": {"b64_json": PNG}}, id="one object"),
        pytest.param({"code": 0, "data": {"data": [{"b64_json": PNG}]}}, id="wrapped by a relay"),
        pytest.param({"data": {"images": [PNG]}}, id="named below data"),
        pytest.param({"result": {"images": [{"base64": PNG}]}}, id="a result"),
        pytest.param({"results": [{"image_base64": PNG}]}, id="results"),
        pytest.param({"output": [f"data:image/png;base64,{PNG}"]}, id="an output"),
        pytest.param({"output": {"results": [{"b64_image": PNG}]}}, id="an output's results"),
        pytest.param({"image": PNG}, id="one text"),
        pytest.param({"artifacts": [{"base64": PNG, "finishReason": "SUCCESS"}]}, id="Stability's"),
        pytest.param({"predictions": [{"bytesBase64Encoded": PNG, "mimeType": "image/png"}]}, id="Imagen's"),
        pytest.param(
            {"choices": [{"message": {"content": "", "images": [{"image_url": {"url": DATA_URI}}]}}]},
            id="a chat's",
        ),
        pytest.param(
            {
                "candidates": [
                    {"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}}
                ]
            },
            id="Gemini's",
        ),
    ],
)
def test_a_picture_that_was_bought_is_found_in_the_forms_of_relays(reply: Any) -> None:
    (image,) = answered({"created": 1, **reply}).images
    assert (image.mime, image.url) == ("image/png", None)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 50, "completion_tokens": 4160, "input_tokens": 0, "output_tokens": 0},
        {"prompt_tokens": 50, "completion_tokens": 4160, "input_tokens": "n/a", "output_tokens": None},
        {"input_tokens": 50, "output_tokens": 4160, "prompt_tokens": 0, "completion_tokens": 0},
    ],
)
def test_a_relay_that_fills_both_names_with_zeros_is_counted(usage: Any) -> None:
    found = answered({"data": [{"b64_json": PNG}], "usage": usage}).usage
    assert found is not None
    assert (found.prompt, found.completion) == (50, 4160)


def test_zero_tokens_are_an_answer() -> None:
    usage = {"input_tokens": 0, "output_tokens": 0}
    found = answered({"data": [{"b64_json": PNG}], "usage": usage}).usage
    assert found is not None
    assert (found.prompt, found.completion) == (0, 0)


@pytest.mark.parametrize("edit", [False, True], ids=["generation", "edit"])
def test_unfinished_pictures_are_streamed_to_who_asked_for_them(gateway: Gateway, edit: bool) -> None:
    images = gateway.client().images
    common: dict[str, Any] = {"model": "official/gpt-image-2", "prompt": "A cat", "stream": True}
    with watching(gateway) as seen:
        if edit:
            stream = images.edit(**common, image=("a.png", GOOD, "image/png"), partial_images=2)
        else:
            stream = images.generate(**common, partial_images=2)
        events: list[Any] = list(stream)
    prefix = "image_edit" if edit else "image_generation"
    assert [event.type for event in events] == [
        f"{prefix}.partial_image",
        f"{prefix}.partial_image",
        f"{prefix}.completed",
    ]
    assert [event.partial_image_index for event in events[:2]] == [0, 1]
    assert {(event.size, event.output_format, event.background, event.quality) for event in events} == {
        ("1024x1024", "png", "opaque", "low")
    }
    assert size_of(decoded(events[0].b64_json)) == (1024, 1024)
    assert events[2].usage.output_tokens == 196
    assert len(seen.submits()) == 1


@pytest.mark.parametrize("partial", [{}, {"partial_images": 0}], ids=["none", "zero"])
def test_who_streams_without_a_wish_for_them_gets_none(gateway: Gateway, partial: dict[str, Any]) -> None:
    """The server is asked for the whole picture: its stream would be silent until then."""
    with watching(gateway) as seen:
        images = gateway.client().images
        events = list(images.generate(model="official/gpt-image-2", prompt="A cat", stream=True, **partial))
    assert [event.type for event in events] == ["image_generation.completed"]
    assert seen.submits()[0].body == {"model": "gpt-image-2", "prompt": "A cat", "n": 1}


def test_a_stream_that_ends_too_soon_is_an_error(gateway: Gateway) -> None:
    body = {
        "model": "official/gpt-image-2",
        "prompt": "A cat sim:nofinish",
        "stream": True,
        "partial_images": 1,
    }
    with watching(gateway) as seen:
        reply = post(gateway, "images/generations", body)
    assert (reply.text.count("event: image_generation.partial_image"), reply.text.count("completed")) == (
        1,
        0,
    )
    assert reply.text.count("upstream_empty_response") + reply.text.count("no_image_generated") == 1
    assert len(seen.submits()) == 1  # it may have been bought


def test_a_moderated_prompt_is_refused_once(gateway: Gateway) -> None:
    with watching(gateway) as seen:
        error = raises(gateway, "official/gpt-image-2", "A cat sim:moderate")
    assert (error.status_code, error.code) == (400, "moderation_blocked")
    assert len(seen.submits()) == 1


def test_an_order_that_may_have_been_made_is_not_given_again(gateway: Gateway) -> None:
    with watching(gateway) as seen:
        error = raises(gateway, "official/gpt-image-2", "A cat sim:fail:boom")
    assert error.response.headers["x-should-retry"] == "false"
    assert len(seen.submits()) == 1


def test_an_unknown_model_is_not_found(gateway: Gateway) -> None:
    error = raises(gateway, "official.image/gpt-4.1", "A cat")
    assert (error.status_code, error.code) == (404, "model_not_found")


# --- in chats


@pytest.mark.parametrize("model", ["official/gpt-image-1.5", "gpt-image"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_chat_with_a_model_that_only_draws_draws(gateway: Gateway, model: str, stream: bool) -> None:
    turns = [
        {"role": "user", "content": "A cat"},
        {"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": DATA_URI}}]},
        {"role": "user", "content": "Make it red"},
    ]
    with watching(gateway) as seen:
        body = {"model": model, "messages": turns, "stream": stream, "image_output": "images"}
        reply = post(gateway, "chat/completions", body)
    assert reply.status_code == 200, reply.text
    (sent,) = seen.submits()
    assert (sent.path, [each["bytes"] for each in sent.notes["references"]]) == (
        "/v1/images/edits",
        [len(GOOD)],
    )
    if stream:
        chunks = [json.loads(line[6:]) for line in reply.text.split("\n\n") if line.startswith("data: {")]
        (images,) = [
            chunk["choices"][0]["delta"]["images"]
            for chunk in chunks
            if chunk["choices"] and "images" in chunk["choices"][0]["delta"]
        ]
    else:
        images = reply.json()["choices"][0]["message"]["images"]
    assert [size_of(of_url(image["image_url"]["url"])) for image in images] == [(1024, 1024)]


# --- the profile's reading of replies


def test_pieces_of_a_stream_show_the_picture_and_then_are_it() -> None:
    one = wire("openai-images")
    call = one.submit(asked(stream=True, partial_images=2), target("openai-images", "gpt-image-2"))
    reader = one.reader(call)
    partial = {"type": "image_generation.partial_image", "b64_json": PNG, "partial_image_index": 0}
    found = [reader.feed(partial), reader.feed(partial)]
    assert [outcome.partials for outcome in found if isinstance(outcome, Pending)] == [
        (PartialImage("image/png", PICTURE, 0),),
        (PartialImage("image/png", PICTURE, 1),),
    ]
    completed = {
        "type": "image_generation.completed",
        "b64_json": PNG,
        "usage": {"input_tokens": 9, "output_tokens": 272, "input_tokens_details": {"text_tokens": 9}},
    }
    assert reader.feed(completed) is None
    again = reader.feed(partial)
    assert isinstance(again, Pending)
    assert again.partials[0].index == 0  # of another picture
    done = reader.close()
    assert isinstance(done, Done)
    assert [image.data for image in done.images] == [PICTURE]
    assert done.usage == Usage(prompt=9, completion=272, prompt_text=9, completion_image=272)


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "error", "error": {"code": "rate_limit_exceeded", "message": "slow down"}},
        {"error": {"code": "rate_limit_exceeded", "message": "slow down"}},
    ],
)
def test_an_error_in_a_stream_is_one(payload: dict[str, Any]) -> None:
    one = wire("openai-images")
    reader = one.reader(
        one.submit(asked(stream=True, partial_images=1), target("openai-images", "gpt-image-2"))
    )
    with pytest.raises(UpstreamError) as caught:
        reader.feed(payload)
    assert (caught.value.error_class, caught.value.message) == (ErrorClass.RATE_LIMITED, "slow down")


# --- whoever leaves


def test_who_leaves_a_stream_of_unfinished_pictures_ends_the_watch() -> None:
    ended: list[str] = []

    async def job(coming: asyncio.Queue[Sequence[Event]]) -> list[Event]:
        try:
            await coming.put([PartialImage("image/png", PICTURE)])
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return []

    async def leave() -> None:
        coming: asyncio.Queue[Sequence[Event]] = asyncio.Queue(maxsize=1)
        batches = _with_partials(coming, job(coming))
        assert await anext(batches) == [PartialImage("image/png", PICTURE)]
        await batches.aclose()
        await asyncio.sleep(0)
        assert ended == ["cancelled"]  # before the loop, at its end, cancels all that is left

    asyncio.run(leave())


def test_how_it_ends_for_who_has_left_is_no_fault_of_the_loop() -> None:
    async def job(coming: asyncio.Queue[Sequence[Event]]) -> list[Event]:
        await coming.put([PartialImage("image/png", PICTURE)])
        raise UpstreamError(ErrorClass.TIMEOUT, "late")

    async def leave() -> list[Any]:
        faults: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault["message"]))
        coming: asyncio.Queue[Sequence[Event]] = asyncio.Queue(maxsize=1)
        batches = _with_partials(coming, job(coming))
        await anext(batches)
        await batches.aclose()
        gc.collect()
        return faults

    assert asyncio.run(leave()) == []


@pytest.mark.parametrize("fails", [False, True])
def test_what_was_on_its_way_comes_before_the_end(fails: bool) -> None:
    async def job(coming: asyncio.Queue[Sequence[Event]]) -> list[Event]:
        for index in range(3):
            await coming.put([PartialImage("image/png", PICTURE, index)])
        if fails:
            raise UpstreamError(ErrorClass.TIMEOUT, "late")
        return [Started()]

    async def watched() -> list[Any]:
        coming: asyncio.Queue[Sequence[Event]] = asyncio.Queue(maxsize=1)
        seen: list[Any] = []
        try:
            async for batch in _with_partials(coming, job(coming)):
                seen += batch
        except UpstreamError as error:
            seen.append(error.message)
        return seen

    async def alone() -> list[Any]:
        seen = await watched()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return seen

    seen = asyncio.run(alone())
    assert [event.index for event in seen[:3]] == [0, 1, 2]
    assert seen[3:] == (["late"] if fails else [Started()])
