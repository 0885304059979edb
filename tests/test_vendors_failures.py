"""The vendors that want more than a key and a JSON order: their failures, and how strict they are."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from proxy import config
from proxy.simulators import pictures
from proxy.simulators.server import Running, start
from tests.gateway import Gateway, open_gateway
from tests.picture_vendors import HEAD, decoded, providers, raises, watching
from tests.simulated_vendors import PICTURE_URL, PNG, client_of, json_of, jwt, only_task, signed

TARGETS = {
    "kie": "nano-banana-pro",
    "midjourney-proxy": "midjourney",
    "kling": "kling-v2-1",
    "liblib": "star-3",
    "runware": "runware:101@1",
    "stability": "ultra",
    "comfyui": "x.safetensors",
    "minimax": "image-01",
    "modelscope": "Qwen/Qwen-Image",
    "baidu": "v2",
}
FILE = (
    HEAD.replace("heartbeat: 300ms", "heartbeat: 300ms, retry: {attempts: 1}")
    + providers(*TARGETS)
    + "models:\n"
    + "".join(
        f"  {name}: {{targets: [{name}/{model}], poll: {{every: 20ms}}}}\n" for name, model in TARGETS.items()
    )
)
# What a vendor that can draw nothing, or knows of no moderation, does instead.
ODD = {
    ("stability", "sim:noimage"): (400, "moderation_blocked"),  # a filtered picture is one all the same
    ("comfyui", "sim:moderate"): (502, "upstream_error"),
    ("runware", "sim:fail:boom"): (502, "boom"),
    ("runware", "sim:noimage"): (502, "upstream_error"),  # no word: asked five times, and still not known
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("failures"), FILE) as opened:
        yield opened


@pytest.mark.parametrize("vendor", TARGETS)
@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("sim:moderate", (400, "moderation_blocked")),
        ("sim:fail:boom", (502, "upstream_error")),
        ("sim:noimage", (502, "no_image_generated")),
        ("sim:http:429", (429, "rate_limit_exceeded")),
        ("sim:http:503", (503, "upstream_unavailable")),
        ("sim:html", (502, "upstream_error")),
    ],
)
def test_a_failure_is_told_in_openai_s_words(
    gateway: Gateway, vendor: str, order: str, expected: tuple[int, str]
) -> None:
    error = raises(gateway, vendor, f"A cat {order}", size="1024x1024")
    assert (error.status_code, error.code) == ODD.get((vendor, order), expected)


@pytest.mark.parametrize("vendor", [name for name in TARGETS if name not in ("stability", "minimax")])
def test_a_poll_that_fails_is_asked_again_and_nothing_is_ordered_twice(gateway: Gateway, vendor: str) -> None:
    with watching(gateway) as seen:
        reply = gateway.client().images.generate(
            model=vendor, prompt=f"A {vendor} sim:poll-fail:3 sim:polls:7", size="1024x1024"
        )
    assert decoded((reply.data or ())[0].b64_json or "").width
    assert len(seen.submits()) == 1


def test_an_account_that_is_empty_is_the_operator_s_matter(tmp_path: Any) -> None:
    keys = {"VENDOR_KEY": "spent-1", "PAIR_KEY": "spent-1:simulated-secret"}
    with open_gateway(tmp_path, FILE, keys) as own:
        for vendor in TARGETS:
            error = raises(own, vendor, "A cat", size="1024x1024")
            assert (vendor, error.status_code, error.code) == (vendor, 429, "insufficient_quota")


def test_a_key_that_is_refused_is_the_operator_s_matter(tmp_path: Any) -> None:
    keys = {"VENDOR_KEY": "bad-1", "PAIR_KEY": "bad-1:simulated-secret"}
    with open_gateway(tmp_path, FILE, keys) as own:
        for vendor in TARGETS:
            error = raises(own, vendor, "A cat", size="1024x1024")
            assert (vendor, error.status_code, error.code) == (vendor, 502, "upstream_auth_failed")


def test_a_token_is_asked_for_once_and_a_file_s_key_is_the_account_s(gateway: Gateway) -> None:
    for _ in range(3):
        gateway.client().images.generate(model="baidu", prompt="A fox", size="1024x1024")
        gateway.client().images.generate(model="comfyui", prompt="A fox", size="1024x1024")
    counts = gateway.vendors.log.counts
    assert counts["baidu.tokens"] == 1
    assert counts["comfyui.downloads"] >= 3
    assert counts["files.credentials"] == 0


def test_without_a_seed_a_graph_is_not_the_same_twice(gateway: Gateway) -> None:
    with watching(gateway) as seen:
        for _ in range(2):
            gateway.client().images.generate(model="comfyui", prompt="A fox", size="1024x1024")
    first, second = (each.body["prompt"]["3"]["inputs"]["seed"] for each in seen.submits())
    assert first != second
    assert max(first, second) < 2**31


# --- the simulators


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with start() as server:
        yield server


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("plain-key", "the token is no JWT"),
        (f"{jwt('ak')}!", "the token is not base64"),
        (jwt("ak")[:-4] + "AAAA", "the token's signature does not match"),
        (jwt("ak", 3600), "the token does not hold now, or for longer than 30 minutes"),
        (jwt("ak", -1), "the token does not hold now, or for longer than 30 minutes"),
    ],
)
def test_kling_looks_at_the_token(running: Running, token: str, said: str) -> None:
    reply = httpx.post(
        f"{running.url('kling')}/v1/images/generations",
        json={"prompt": "a cat"},
        headers={"authorization": f"Bearer {token}"},
    )
    assert json_of(reply, 401) == {
        "code": 1002,
        "message": f"Authorization is invalid: {said}",
        "request_id": "r-1",
    }


def test_kling_takes_no_negative_prompt_beside_a_picture(running: Running) -> None:
    with client_of(running, "kling") as client:
        body = {"prompt": "a", "negative_prompt": "b", "image": PICTURE_URL}
        assert json_of(client.post("/v1/images/generations", json=body), 400)["code"] == 1201


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Signature": "x"}, "The signature is wrong"),
        ({"AccessKey": "spent-1"}, "The balance is insufficient."),
        ({}, ""),
    ],
)
def test_liblib_looks_at_the_signature(running: Running, changes: dict[str, str], said: str) -> None:
    path = "/api/generate/webui/text2img/ultra"
    body = {"templateUuid": "0" * 32, "generateParams": {"prompt": "a cat"}}
    query = signed(f"/liblib{path}", "ak") | changes
    reply = httpx.post(f"{running.url('liblib')}{path}", json=body, params=query)
    assert reply.json()["msg"] == said
    again = httpx.post(f"{running.url('liblib')}{path}", json=body, params=query)
    assert again.json()["msg"] in (said or "The nonce was used before", "The nonce was used before")
    elsewhere = httpx.post(f"{running.url('liblib')}{path}/", json=body, params=signed("/liblib/x", "ak"))
    assert elsewhere.json()["msg"] == "The signature is wrong"


def test_baidu_wants_a_token_of_its_own(running: Running) -> None:
    base = running.url("baidu")
    body = {"prompt": "a", "width": 1024, "height": 1024}
    for token in ("", "24.0.ak", "ak"):
        reply = httpx.post(f"{base}/rpc/2.0/ernievilg/v1/txt2imgv2?access_token={token}", json=body)
        assert json_of(reply)["error_code"] == 110
    asked = {"grant_type": "client_credentials", "client_id": "ak", "client_secret": "wrong"}
    assert json_of(httpx.post(f"{base}/oauth/2.0/token", params=asked), 401)["error"] == "invalid_client"
    with client_of(running, "baidu") as client:
        for wrong in ({"width": 1000}, {"image": base64.b64encode(PNG).decode()}, {"change_degree": 3}):
            told = json_of(client.post("/rpc/2.0/ernievilg/v1/txt2imgv2", json=body | wrong))
            assert told["error_code"] == 216100


def test_runware_takes_one_task_of_a_fresh_id(running: Running) -> None:
    task = {
        "taskType": "imageInference",
        "taskUUID": "50836053-a0ee-4cf5-b9d6-ae7c5d140ada",
        "model": "runware:101@1",
        "positivePrompt": "a cat",
        "width": 512,
        "height": 512,
        "includeCost": True,
    }
    with client_of(running, "runware") as client:
        (made,) = json_of(client.post("/v1", json=[task]))["data"]
        assert (made["status"], made["cost"]) == ("success", 0.0038)
        for wrong in (task, [task, task], [task], [{**task, "taskUUID": "1"}], [{**task, "width": 500}]):
            assert client.post("/v1", json=wrong).status_code == 400
        asked = {"taskType": "getResponse", "taskUUID": "50836053-a0ee-4cf5-b9d6-ae7c5d140adb"}
        assert json_of(client.post("/v1", json=[asked]), 400)["errors"][0]["code"] == "taskNotFound"


def test_stability_takes_a_form_and_gives_a_picture(running: Running) -> None:
    path = "/v2beta/stable-image/generate"
    form: dict[str, Any] = {"prompt": (None, "a cat")}
    accept = {"accept": "image/*"}
    with client_of(running, "stability") as client:
        good = client.post(f"{path}/core", files=form, headers=accept)
        assert (good.headers["content-type"], good.headers["finish-reason"]) == ("image/png", "SUCCESS")
        assert pictures.look(good.content).mime == "image/png"
        assert only_task(running).entries[-1].kind == "settle"
        assert client.post(f"{path}/core", files=form).status_code == 400
        assert client.post(f"{path}/core", json={"prompt": "a"}, headers=accept).status_code == 400
        with_picture = {**form, "image": ("a.png", PNG, "image/png")}
        assert client.post(f"{path}/core", files=with_picture, headers=accept).status_code == 400
        assert client.post(f"{path}/ultra", files=with_picture, headers=accept).status_code == 400
        whole = {**with_picture, "strength": (None, "0.5")}
        assert client.post(f"{path}/ultra", files=whole, headers=accept).status_code == 200
        assert client.post(f"{path}/sd3", files=whole, headers=accept).status_code == 400


def test_comfyui_wants_a_whole_graph_and_a_key_for_its_files(running: Running) -> None:
    graph: dict[str, Any] = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "nowhere.png"}},
    }
    with client_of(running, "comfyui") as client:
        told = json_of(client.post("/prompt", json={"prompt": graph}), 400)
        assert told["error"]["message"] == "prompt.1: there is no such image"
        name = json_of(client.post("/upload/image", files={"image": ("a.png", PNG, "image/png")}))["name"]
        graph["1"]["inputs"]["image"] = name
        assert json_of(client.post("/prompt", json={"prompt": graph}), 400)["error"]["type"] == (
            "prompt_no_outputs"
        )
        graph["2"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["1", 0], "vae": ["7", 0]}}
        told = json_of(client.post("/prompt", json={"prompt": graph}), 400)
        assert told["error"]["message"] == "prompt.2.inputs.vae: must be a link to a node"
        assert client.post("/upload/image", files={"file": ("a.png", PNG)}).status_code == 400
        ours = {"prompt": graph, "prompt_id": "0A1B2C3D-0000-4000-8000-000000000000"}
        assert json_of(client.post("/prompt", json=ours), 400)["error"]["type"] == "invalid_prompt_id"
        assert json_of(client.get("/api/jobs/nobodys"), 404) == {"error": "Job not found"}
    assert httpx.get(f"{running.url('comfyui')}/view?filename=x&type=output").status_code == 401


def test_modelscope_wants_its_headers(running: Running) -> None:
    body = {"model": "x", "prompt": "a cat"}
    with client_of(running, "modelscope") as client:
        assert client.post("/v1/images/generations", json=body).status_code == 400
        headers = {"X-ModelScope-Async-Mode": "true"}
        made = json_of(client.post("/v1/images/generations", json=body, headers=headers))
        assert made["task_status"] == "SUCCEED"
        assert client.get(f"/v1/tasks/{made['task_id']}").status_code == 400


@pytest.mark.parametrize(
    ("profile", "options", "said"),
    [
        ("stability", "strength: 1", ""),
        ("comfyui", "denoise: 1, cfg: 6.5, steps: 8", ""),
        ("comfyui", "steps: 8.5", "providers.own.options.steps must be a whole number"),
        ("stability", "strength: true", "providers.own.options.strength must be a number"),
    ],
)
def test_a_whole_number_is_a_number_too(tmp_path: Any, profile: str, options: str, said: str) -> None:
    path = tmp_path / "providers.yaml"
    path.write_text(f"version: 1\nproviders:\n  own: {{profile: {profile}, options: {{{options}}}}}\n")
    errors = [each.message for each in config.load(path, {}).problems if each.code.startswith("E")]
    assert errors == ([said] if said else [])
