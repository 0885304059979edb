"""What may stand in a picture request, how several pictures are made, and pictures in a conversation."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import pytest

from proxy.simulators import pictures
from tests.gateway import Gateway, open_gateway
from tests.picture_vendors import DATA_URI, GOOD, HEAD, decoded, of_url, post, raises, size_of, watching
from tests.served import waited

OTHER = pictures.png(32, 32, "another")


@pytest.fixture
def gateway(pictures_gateway: Gateway) -> Gateway:
    return pictures_gateway


def digests(submit: Any) -> list[int]:
    """The sizes in bytes of the pictures a simulator was given, in order."""
    return [each["bytes"] for each in submit.notes.get("references", ())]


# --- edits


@pytest.mark.parametrize(
    "names",
    [
        ["image"],
        ["image", "image"],
        ["image[]", "image[]"],
        ["image[0]", "image[1]"],
        ["images"],
        ["images[]"],
    ],
    ids="+".join,
)
def test_a_form_may_call_its_pictures_by_any_of_the_names_in_use(gateway: Gateway, names: list[str]) -> None:
    """I-005: and their order is kept"""
    given = [GOOD, OTHER][: len(names)]
    files = [(name, ("x.png", data, "image/png")) for name, data in zip(names, given, strict=True)]
    with watching(gateway) as seen:
        reply = post(
            gateway, "images/edits", data={"model": "grsai-json", "prompt": "Red", "n": "1"}, files=files
        )
    assert reply.status_code == 200, reply.text
    assert digests(seen.submits()[0]) == [len(data) for data in given]


def test_an_edit_streams_events_of_its_own(gateway: Gateway) -> None:
    """I-013, I-014"""
    events = list(
        gateway.client().images.edit(
            model="grsai-async", prompt="Red", image=("x.png", GOOD, "image/png"), stream=True
        )
    )
    assert [event.type for event in events] == ["image_edit.completed"]


@pytest.mark.parametrize("name", ["google", "grsai-json", "aigcbest", "dashscope", "seedream"])
@pytest.mark.parametrize("form", [True, False], ids=["form", "json"])
def test_a_mask_is_refused_before_anything_is_sent(gateway: Gateway, name: str, form: bool) -> None:
    """I-007"""
    with watching(gateway) as seen:
        if form:
            files = [("image", ("x.png", GOOD, "image/png")), ("mask", ("m.png", GOOD, "image/png"))]
            reply = post(gateway, "images/edits", data={"model": name, "prompt": "Red"}, files=files)
        else:
            body = {"model": name, "prompt": "Red", "images": [{"image_url": DATA_URI}]}
            reply = post(gateway, "images/edits", {**body, "mask": {"image_url": DATA_URI}})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "mask_not_supported")
    assert seen.exchanges() == []


@pytest.mark.parametrize(
    ("model", "body", "status", "param"),
    [
        pytest.param("grsai-json", {"image": [DATA_URI] * 17}, 400, "image", id="17 pictures"),
        pytest.param("evolink", {"image_urls": ["https://example.com/a.png"] * 11}, 400, None, id="11 urls"),
        pytest.param("evolink", {"prompt": "x" * 2001}, 400, "prompt", id="2001 characters"),
        pytest.param("dashscope", {"image": [DATA_URI] * 10}, 400, None, id="10 pictures at dashscope"),
        pytest.param("grsai-json", {"images": [{"file_id": "file-1"}]}, 400, None, id="file_id"),
        pytest.param(
            "grsai-json", {"image": "data:image/svg+xml;base64,PHN2Zz48L3N2Zz4="}, 400, None, id="svg"
        ),
        pytest.param("grsai-json", {"image": "aGVsbG8="}, 400, None, id="no picture"),
        pytest.param("grsai-json", {"n": 0}, 400, "n", id="n 0"),
        pytest.param("grsai-json", {"n": 11}, 400, "n", id="n 11"),
        pytest.param("grsai-json", {"n": "two"}, 400, "n", id="n word"),
        pytest.param("grsai-json", {"prompt": ""}, 400, "prompt", id="no prompt"),
        pytest.param("grsai-json", {"model": None}, 400, "model", id="no model"),
        pytest.param("grsai-json", {"response_format": "svg"}, 400, "response_format", id="format"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_sent(
    gateway: Gateway, model: str, body: dict[str, Any], status: int, param: str | None
) -> None:
    """I-006, I-008, I-010, I-039, V-012"""
    with watching(gateway) as seen:
        reply = post(gateway, "images/generations", {"model": model, "prompt": "A cat", **body})
    error = reply.json()["error"]
    assert (reply.status_code, error["type"]) == (status, "invalid_request_error")
    if param is not None:
        assert error["param"] == param
    assert seen.exchanges() == []


def test_a_picture_over_the_vendors_limit_is_refused_here(gateway: Gateway) -> None:
    """I-008, V-012: DashScope takes 20 MB"""
    big = pictures.png(64, 64, "big", 21 << 20)
    files = [("image", ("x.png", big, "image/png"))]
    with watching(gateway) as seen:
        reply = post(gateway, "images/edits", data={"model": "dashscope", "prompt": "Red"}, files=files)
    assert reply.status_code in (400, 413)
    assert seen.exchanges() == []


@pytest.mark.parametrize("name", ["google", "grsai-async", "xiaotian", "dashscope"])
def test_a_variation_is_an_edit_where_the_model_takes_pictures(gateway: Gateway, name: str) -> None:
    """I-009"""
    reply = post(
        gateway, "images/variations", data={"model": name}, files=[("image", ("x.png", GOOD, "image/png"))]
    )
    assert reply.status_code == 200, reply.text
    assert decoded(reply.json()["data"][0]["b64_json"]).width


@pytest.mark.parametrize("name", ["jlike", "wan"])
def test_a_variation_is_unknown_where_it_takes_none(gateway: Gateway, name: str) -> None:
    """I-009"""
    with watching(gateway) as seen:
        reply = post(
            gateway, "images/variations", data={"model": name}, files=[("image", ("x", GOOD, "image/png"))]
        )
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unsupported_endpoint")
    assert seen.exchanges() == []


def test_what_a_vendor_has_no_field_for_is_named(gateway: Gateway) -> None:
    """I-050"""
    body = {"model": "grsai-json", "prompt": "A cat", "style": "vivid", "background": "transparent"}
    reply = post(gateway, "images/generations", body)
    assert set(reply.headers["x-proxy-dropped"].split(", ")) == {"style", "background"}
    with watching(gateway) as seen:
        strict = post(gateway, "images/generations", body, headers={"x-proxy-strict": "true"})
    assert (strict.status_code, strict.json()["error"]["code"]) == (400, "unsupported_parameter")
    assert strict.json()["error"]["param"] in ("style", "background")
    assert seen.exchanges() == []


def test_a_callback_is_ours_to_make_and_never_the_vendors(gateway: Gateway) -> None:
    """V-015: whatever it points to"""
    body = {"model": "evolink", "prompt": "A cat", "callback_url": "https://app.example/done"}
    with watching(gateway) as seen:
        reply = post(gateway, "images/generations", body)
        assert reply.status_code == 202
        (submit,) = waited(seen.submits)
    assert "callback_url" not in submit.body


@pytest.mark.parametrize("name", ["dall-e-3", "gpt-image-1"])
def test_old_names_of_models_are_aliases_in_the_file(tmp_path: Path, name: str) -> None:
    """I-051"""
    models = f"models:\n  banana: {{aliases: [{name}], targets: [google/gemini-3-pro-image]}}\n"
    with open_gateway(tmp_path, HEAD + models) as own:
        reply = own.client().images.generate(model=name, prompt="A cat", quality="hd", style="vivid")
    assert decoded((reply.data or ())[0].b64_json or "").width


# --- several pictures


@pytest.mark.parametrize("name", ["google", "grsai-json", "grsai-async", "evolink", "aigcbest", "seedream"])
def test_three_pictures_of_a_vendor_of_one_are_three_orders(gateway: Gateway, name: str) -> None:
    """I-011"""
    with watching(gateway) as seen:
        reply = gateway.client().images.generate(model=name, prompt=f"Three by {name}", n=3)
    assert [decoded(item.b64_json or "").width > 0 for item in reply.data or ()] == [True] * 3
    assert len(seen.submits()) == 3


@pytest.mark.parametrize(("name", "orders"), [("dashscope", [4, 1]), ("fal", [4, 1]), ("wan", [4, 1])])
def test_a_vendor_of_four_gets_as_few_orders_as_possible(
    gateway: Gateway, name: str, orders: list[int]
) -> None:
    """I-011"""
    with watching(gateway) as seen:
        reply = gateway.client().images.generate(model=name, prompt=f"Five by {name}", n=5)
    assert len(reply.data or ()) == 5
    bodies = [each.body.get("parameters", each.body) for each in seen.submits()]
    assert sorted((each.get("n") or each.get("num_images") for each in bodies), reverse=True) == orders


def test_at_most_four_orders_run_at_once(gateway: Gateway) -> None:
    """I-011: ten slow ones take three rounds"""
    begun = time.monotonic()
    with watching(gateway) as seen:
        reply = gateway.client().images.generate(model="grsai-json", prompt="Many sim:slow:0.3", n=10)
    assert len(reply.data or ()) == 10
    assert time.monotonic() - begun >= 0.85
    spans = [(each.received, each.received + (each.ended_ms or 0) / 1000) for each in seen.submits()]
    assert max(sum(start < moment < end for start, end in spans) for moment, _ in spans) <= 4


def test_a_seed_goes_up_from_order_to_order(gateway: Gateway) -> None:
    """I-011"""
    with watching(gateway) as seen:
        gateway.client().images.generate(model="seedream", prompt="Sown", n=3, extra_body={"seed": 7})
    assert sorted(each.body["seed"] for each in seen.submits()) == [7, 8, 9]


def test_several_pictures_stream_as_one_event_each(gateway: Gateway) -> None:
    """I-014"""
    events = list(gateway.client().images.generate(model="grsai-json", prompt="Four", n=4, stream=True))
    assert [event.type for event in events] == ["image_generation.completed"] * 4


def test_two_good_pictures_of_three_are_delivered(gateway: Gateway) -> None:
    """I-012"""
    prompt = "Two of three sim:fail-once:400"
    reply = post(gateway, "images/generations", {"model": "grsai-json", "prompt": prompt, "n": 3})
    assert (reply.status_code, len(reply.json()["data"])) == (200, 2)
    assert reply.headers["x-proxy-partial"] == "2/3"


def test_when_all_are_refused_there_is_one_error(gateway: Gateway) -> None:
    """I-012: and what was not ordered yet is not ordered any more"""
    with watching(gateway) as seen:
        error = raises(gateway, "grsai-json", "Rude sim:moderate sim:slow:0.2", n=10)
    assert error.code == "moderation_blocked"
    assert len(seen.submits()) == 4


def test_several_choices_of_a_chat_are_several_pictures(gateway: Gateway) -> None:
    """I-011"""
    asked: Any = [{"role": "user", "content": "Two foxes"}]
    with watching(gateway) as seen:
        reply: Any = gateway.client().chat.completions.create(
            model="grsai-json", messages=asked, n=2, extra_body={"image_output": "images"}
        )
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert [len(choice.message.images) for choice in reply.choices] == [1, 1]
    assert len(seen.submits()) == 2


# --- conversation

B64 = base64.b64encode(GOOD).decode()
HISTORY = {
    "parts": {
        "content": [
            {"type": "text", "text": "Here"},
            {"type": "image_url", "image_url": {"url": DATA_URI}},
        ]
    },
    "images": {"content": "Here", "images": [{"type": "image_url", "image_url": {"url": DATA_URI}}]},
    "markdown": {"content": f"Here\n\n![image]({DATA_URI})"},
}


@pytest.mark.parametrize("shape", HISTORY)
@pytest.mark.parametrize("name", ["google", "grsai-json", "dashscope", "aigcbest", "xiaotian"])
def test_make_it_red_changes_the_picture_before(gateway: Gateway, name: str, shape: str) -> None:
    """I-037: whichever way the client kept it, and no base64 in words"""
    messages: Any = [
        {"role": "system", "content": "Paint in oil."},
        {"role": "user", "content": "A cat"},
        {"role": "assistant", **HISTORY[shape]},
        {"role": "user", "content": "Make it red"},
    ]
    with watching(gateway) as seen:
        reply: Any = gateway.client().chat.completions.create(
            model=name, messages=messages, extra_body={"image_output": "images"}
        )
    assert of_url(reply.choices[0].message.images[0]["image_url"]["url"]).width
    (submit,) = seen.submits()
    words = " ".join(texts(submit.body))
    assert B64[:200] not in words
    assert "Make it red" in words
    if name in ("grsai-json", "dashscope"):
        assert words.count("Paint in oil.") == 1
        assert "A cat" not in words
    if name != "google":
        assert digests(submit) == [len(GOOD)]
    else:
        blobs = [part for turn in submit.body["contents"] for part in turn["parts"] if "inlineData" in part]
        assert [part["inlineData"]["data"] for part in blobs] == [B64]


def texts(value: Any) -> list[str]:
    """The words of a vendor's request: what stands under `text`, `prompt` or `content`."""
    if isinstance(value, list):
        return [found for each in value for found in texts(each)]
    if not isinstance(value, dict):
        return []
    own = [value[name] for name in ("text", "prompt", "content") if isinstance(value.get(name), str)]
    return own + [found for each in value.values() for found in texts(each)]


def test_pictures_of_the_last_turn_beat_those_before(gateway: Gateway) -> None:
    """I-037"""
    other = "data:image/png;base64," + base64.b64encode(OTHER).decode()
    messages: Any = [
        {"role": "user", "content": "A cat"},
        {"role": "assistant", **HISTORY["parts"]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Like this"},
                {"type": "image_url", "image_url": {"url": other}},
            ],
        },
    ]
    with watching(gateway) as seen:
        gateway.client().chat.completions.create(model="grsai-json", messages=messages)
    assert digests(seen.submits()[0]) == [len(OTHER)]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_two_pictures_of_one_answer_both_arrive(gateway: Gateway, stream: bool) -> None:
    """I-029: also through the stream helper, which merges by index"""
    asked: Any = [{"role": "user", "content": "Two owls sim:image:2"}]
    extra = {"image_output": "images"}
    chat: Any = gateway.client().chat.completions
    if stream:
        with chat.stream(model="google", messages=asked, extra_body=extra) as opened:
            message = opened.get_final_completion().choices[0].message
    else:
        message = chat.create(model="google", messages=asked, extra_body=extra).choices[0].message
    assert [image["index"] for image in message.images] == [0, 1]
    assert all(of_url(image["image_url"]["url"]).width for image in message.images)


def test_a_size_in_a_chat_is_the_size_of_the_picture(gateway: Gateway) -> None:
    asked: Any = [{"role": "user", "content": "A wide fox"}]
    extra = {"size": "1792x1024", "image_output": "images"}
    for name in ("gpt-image-2", "dashscope"):
        reply: Any = gateway.client().chat.completions.create(model=name, messages=asked, extra_body=extra)
        picture = of_url(reply.choices[0].message.images[0]["image_url"]["url"])
        assert picture.width / picture.height == pytest.approx(16 / 9, rel=0.02)


def test_a_chat_without_words_is_refused(gateway: Gateway) -> None:
    asked: Any = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": DATA_URI}}]},
    ]
    with watching(gateway) as seen:
        reply = post(gateway, "chat/completions", {"model": "grsai-json", "messages": asked})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "messages")
    assert seen.exchanges() == []


@pytest.mark.parametrize("name", ["grsai-json", "dashscope", "aigcbest"])
def test_a_big_picture_arrives_whole(gateway: Gateway, name: str) -> None:
    """I-052"""
    reply = gateway.client().images.generate(model=name, prompt="Vast sim:big:8")
    data = base64.b64decode((reply.data or ())[0].b64_json or "")
    assert len(data) >= 8 << 20
    assert size_of(pictures.look(data))[0] > 0
