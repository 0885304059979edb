"""Vendors that are not shipped, of kinds the shipped ones are not: only YAML is added for each."""

import json

import pytest

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import FormFile, Image, Slice, Target
from proxy.wires.declared import DeclaredWire, Pending, check_profile, load_profile
from tests.declared import JPEG, NAMES, PNG, asked, by_data, data, read

KIE = """
base_url: https://api.kie.ai
errors:
  message: [data.failMsg, msg]
  code: [data.failCode, code]
  rules:
    - {class: auth, code: [401]}
    - {class: quota, code: [402]}
    - {class: rate_limited, code: [429]}
    - {class: bad_request, code: [422]}
    - {class: unavailable, code: [455]}
    - {class: blocked, message_has: [sensitive, policy, nsfw, prohibited, violat]}
surfaces:
  image:
    submit:
      request: POST /api/v1/jobs/createTask
      body:
        model: $model
        input: {prompt: $prompt, image_urls: $references, aspect_ratio: $aspect, resolution: $tier}
    task: {id: data.taskId}
    poll: {request: "GET /api/v1/jobs/recordInfo?taskId={task.id}", every: 3s}
    state: {path: data.state, pending: [waiting, queuing, generating], success: [success], failed: [fail]}
    fail: {when: "code != `200`"}
    result: {images: "from_json(data.resultJson).resultUrls[]"}
    size: {aspects: ["1:1", "16:9"], tiers: [1K, 2K]}
    limits: {references: [url]}
"""

MIDJOURNEY = """
base_url: http://127.0.0.1:8080
auth: {header: mj-api-secret}
errors:
  message: [failReason, description]
  code: code
  rules:
    - {class: blocked, code: [24]}
    - {class: rate_limited, code: [23]}
    - {class: bad_request, code: [4]}
    - {class: lost, code: [3]}
    - {class: blocked, message_has: [banned, moderat, blocked]}
surfaces:
  image:
    submit: {request: POST /mj/submit/imagine, body: {prompt: $prompt, base64Array: $references}}
    task: {id: result}
    poll: {request: "GET /mj/task/{task.id}/fetch", first: 5s, every: 3s, give_up: 15m}
    state: {path: status, pending: [NOT_START, SUBMITTED, IN_PROGRESS], success: [SUCCESS], failed: [FAILURE]}
    fail: {when: "code != null && !contains(`[1, 21, 22]`, code)"}
    result: {images: imageUrl}
    limits: {references: [data_uri]}
"""

OPENAI_IMAGES = """
base_url: https://api.openai.com
errors: {message: error.message, code: [error.code, error.type]}
surfaces:
  image:
    submit:
      request: POST /v1/images/generations
      body: &body {model: $model, prompt: $prompt, n: $n, size: $pixels, background: $background}
    with_references:
      submit: {request: POST /v1/images/edits, body: *body, files: {"image[]": $references, mask: $mask}}
    result: {images: "data[]"}
    usage: {prompt: usage.input_tokens, completion: usage.output_tokens}
    size: {mode: pixels, max_side: 3840, max_ratio: 3}
    limits: {n: 10, references: [file], max_references: 16}
"""


def made(text):
    value = read(text)
    assert check_profile("x", value) == []
    profile = load_profile("x", value)
    return DeclaredWire(profile.surface(), profile.base_url)


def come_to(text, payload):
    """What a submit reply comes to."""
    wire = made(text)
    return wire.judge(wire.submit(asked(), Target("x", "m")), 200, {}, payload)


def test_every_profile_there_is_loads():
    """V-056: the shipped ones with all their surfaces, and three more kinds."""
    surfaces = [surface for name in NAMES for surface in load_profile(name, data(name)).surfaces.values()]
    assert len(surfaces) == 23
    for surface in surfaces:
        assert surface.variant("m") is surface.variant("other-model")
    assert all(map(made, (KIE, MIDJOURNEY, OPENAI_IMAGES)))


def test_kie_puts_errors_and_results_where_nobody_else_does():
    """V-042"""
    with pytest.raises(UpstreamError) as caught:
        come_to(KIE, {"code": 402, "msg": "insufficient credits"})
    assert caught.value.error_class is ErrorClass.QUOTA
    wire = made(KIE)
    poll = wire.poll(come_to(KIE, {"code": 200, "data": {"taskId": "k 1"}}).task)
    assert poll.path == "/api/v1/jobs/recordInfo?taskId=k%201"
    result = json.dumps({"resultUrls": ["https://k.example/1.png"]})
    done = wire.judge(poll, 200, {}, {"code": 200, "data": {"state": "success", "resultJson": result}})
    assert done.images == (Image("", url="https://k.example/1.png"),)
    for broken in ("{", "", None, 5):
        with pytest.raises(UpstreamError) as caught:
            wire.judge(poll, 200, {}, {"code": 200, "data": {"state": "success", "resultJson": broken}})
        assert caught.value.error_class is ErrorClass.EMPTY


@pytest.mark.parametrize("code", [1, 21, 22])
def test_midjourney_codes_that_proceed(code):
    """V-045"""
    outcome = come_to(MIDJOURNEY, {"code": code, "description": "ok", "result": "1700"})
    assert isinstance(outcome, Pending)
    assert outcome.task["id"] == "1700"


@pytest.mark.parametrize(
    ("code", "error_class"),
    [
        (23, ErrorClass.RATE_LIMITED),
        (24, ErrorClass.BLOCKED),
        (4, ErrorClass.BAD_REQUEST),
        (3, ErrorClass.LOST),
        (9, ErrorClass.INTERNAL),
    ],
)
def test_midjourney_codes_that_refuse(code, error_class):
    """V-045"""
    with pytest.raises(UpstreamError) as caught:
        come_to(MIDJOURNEY, {"code": code, "description": "no"})
    assert caught.value.error_class is error_class


def test_pictures_may_go_as_files():
    request = asked("a hat", size="1024x1024", references=(by_data(PNG), by_data(JPEG)), mask=by_data(PNG))
    call = made(OPENAI_IMAGES).submit(request, Target("x", "gpt-image-2"))
    assert call.path == "/v1/images/edits"
    assert call.body == {"model": "gpt-image-2", "prompt": "a hat", "n": 1, "size": "1024x1024"}
    assert call.files == (
        FormFile("image[]", "image.png", "image/png", Slice(PNG.encode())),
        FormFile("image[]", "image.jpg", "image/jpeg", Slice(JPEG.encode())),
        FormFile("mask", "image.png", "image/png", Slice(PNG.encode())),
    )
    assert made(OPENAI_IMAGES).submit(asked(), Target("x", "m")).files == ()


def test_pictures_may_go_as_objects_of_type_and_data():
    text = OPENAI_IMAGES.replace("files: {", "headers: {X-A: $model}, files: {").replace("[file]", "[base64]")
    value = read(text)
    value["surfaces"]["image"]["with_references"]["submit"] = {
        "body": {
            "parts": [
                "$prompt",
                {"$each": "$references", "$as": {"inlineData": {"mimeType": "$mime", "data": "$ref"}}},
            ]
        }
    }
    profile = load_profile("x", value)
    call = DeclaredWire(profile.surface()).submit(asked("x", references=(by_data(JPEG),)), Target("x", "m"))
    assert call.body == {
        "parts": ["x", {"inlineData": {"mimeType": "image/jpeg", "data": Slice(JPEG.encode())}}]
    }


def test_a_picture_s_size_and_type_are_looked_at_before_it_is_sent():
    from proxy.errors import RequestError

    value = read(OPENAI_IMAGES)
    limits = value["surfaces"]["image"]["limits"]
    limits.update(max_reference_bytes=10)
    wire = DeclaredWire(load_profile("x", value).surface())
    with pytest.raises(RequestError) as caught:
        wire.submit(asked(references=(by_data(PNG),)), Target("x", "m"))
    assert (caught.value.code, caught.value.param) == ("image_too_large", "image[0]")
    limits.update(max_reference_bytes=10_000, reference_types=["image/webp"])
    wire = DeclaredWire(load_profile("x", value).surface())
    with pytest.raises(RequestError) as caught:
        wire.submit(asked(references=(by_data(PNG),)), Target("x", "m"))
    assert caught.value.code == "unsupported_image_type"


def test_a_vendor_that_forgets_its_address_loses_the_job():
    text = KIE.replace(
        "id: data.taskId", "{id: data.taskId, poll_url: data.url, hosts: [k.example]}".strip("{}")
    )
    text = text.replace('"GET /api/v1/jobs/recordInfo?taskId={task.id}"', '"GET {task.poll_url}"')
    outcome = come_to(text, {"code": 200, "data": {"taskId": "1"}})
    with pytest.raises(UpstreamError) as caught:
        made(text).poll(outcome.task)
    assert caught.value.message == "x gave no poll_url for the job."


def test_a_vendor_without_tasks_has_no_plan():
    wire = made(OPENAI_IMAGES)
    call = wire.submit(asked(), Target("x", "m"))
    assert wire.plan(call.context["task"]) is None
    assert not wire.has_tasks(Target("x", "m"))
    assert wire.result(call.context["task"]) is None
    with pytest.raises(ValueError, match="no tasks"):
        wire.poll(call.context["task"])
