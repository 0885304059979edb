"""The simulated DashScope, fal, Replicate, BFL, kie and midjourney-proxy: their tasks from end to end."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from proxy.simulators.server import Running, start
from tests.simulated_vendors import (
    BASE64,
    DATA_URI,
    PICTURE_URL,
    booked,
    client_of,
    fetched,
    json_of,
    only_task,
    size_of,
)

ASYNC = {"X-DashScope-Async": "enable"}
NEW = "/api/v1/services/aigc/image-generation/generation"
SYNC = "/api/v1/services/aigc/multimodal-generation/generation"
OLD = "/api/v1/services/aigc/text2image/image-synthesis"


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with start() as server:
        yield server


@pytest.fixture
def dashscope(running: Running) -> Iterator[httpx.Client]:
    with client_of(running, "dashscope") as client:
        yield client


def new(prompt: str = "a cat", *images: str, model: str = "wan2.7-image-pro", **parameters: Any) -> Any:
    content: list[Any] = [{"text": prompt}, *({"image": image} for image in images)]
    body = {"model": model, "input": {"messages": [{"role": "user", "content": content}]}}
    return body | ({"parameters": parameters} if parameters else {})


def old(prompt: str = "a cat", model: str = "wan2.5-t2i-preview", **parameters: Any) -> Any:
    return {"model": model, "input": {"prompt": prompt}, "parameters": parameters}


def submitted(client: httpx.Client, path: str, body: Any) -> str:
    reply = json_of(client.post(path, json=body, headers=ASYNC))
    assert reply["output"]["task_status"] == "PENDING"
    return f"/api/v1/tasks/{reply['output']['task_id']}"


def test_dashscope_new_tasks_have_choices(dashscope: httpx.Client, running: Running) -> None:
    path = submitted(dashscope, NEW, new("a cat", DATA_URI, PICTURE_URL, n=2, size="2K", watermark=False))
    assert json_of(dashscope.get(path))["output"]["task_status"] == "RUNNING"
    done = json_of(dashscope.get(path))
    assert done["output"]["task_status"] == "SUCCEEDED"
    urls = [choice["message"]["content"][0]["image"] for choice in done["output"]["choices"]]
    assert [size_of(fetched(url)) for url in urls] == [(2048, 2048)] * 2
    assert (done["usage"]["image_count"], done["usage"]["size"]) == (2, "2048*2048")
    assert booked(only_task(running)) == [("reserve", "0.4"), ("settle", "0.4")]


def test_dashscope_old_tasks_have_results_and_may_be_partial(
    dashscope: httpx.Client, running: Running
) -> None:
    """V034: one URL, one code; only the picture is billed."""
    path = submitted(dashscope, OLD, old("a cat sim:partial sim:polls:0", n=2, size="1280*1280"))
    done = json_of(dashscope.get(path))
    good, failed = done["output"]["results"]
    assert size_of(fetched(good["url"])) == (1280, 1280)
    assert good["orig_prompt"] == "a cat"
    assert failed == {"code": "InternalError.Algo", "message": "The picture failed."}
    assert done["output"]["task_metrics"] == {"TOTAL": 2, "SUCCEEDED": 1, "FAILED": 1}
    assert done["usage"] == {"image_count": 1}
    assert booked(only_task(running)) == [("reserve", "0.4"), ("settle", "0.2"), ("refund", "0.2")]


def test_dashscope_may_succeed_without_a_picture(dashscope: httpx.Client) -> None:
    path = submitted(dashscope, OLD, old("a cat sim:noimage sim:polls:0"))
    output = json_of(dashscope.get(path))["output"]
    assert (output["task_status"], output["results"]) == ("SUCCEEDED", [])


def test_dashscope_answers_at_once_without_the_header(dashscope: httpx.Client) -> None:
    reply = json_of(dashscope.post(SYNC, json=new(size="1536*1024")))
    url = reply["output"]["choices"][0]["message"]["content"][0]["image"]
    assert size_of(fetched(url)) == (1536, 1024)
    assert json_of(dashscope.post(SYNC, json=new(), headers=ASYNC), 403)["code"] == "AccessDenied"


def test_dashscope_tasks_need_the_header(dashscope: httpx.Client, running: Running) -> None:
    """V032"""
    for path, body in ((NEW, new()), (OLD, old())):
        assert json_of(dashscope.post(path, json=body), 403)["code"] == "AccessDenied"
    assert running.log.ledger.tasks() == []


DASHSCOPE_REFUSED = [
    (NEW, new(size="1024x1024"), "it is written W*H"),
    (NEW, new(size="512*512"), "the area must be 768*768 to 4096*4096"),
    (NEW, new(size="4096*500"), "the ratio must be 1:8 to 8:1"),
    (NEW, new(model="wan2.7-image", size="4K"), "size 4K is not supported"),
    (NEW, new("a cat", PICTURE_URL, size="4096*4096"), "area must be 768*768 to 2048*2048"),
    (NEW, new("a cat", *[PICTURE_URL] * 10), "takes 0 to 9 images"),
    (NEW, new(n=5), "n is too large: 5"),
    (NEW, new(aspect_ratio="1:1"), "parameters.aspect_ratio: unknown field"),
    (
        NEW,
        new("a cat", "data:image/gif;base64,R0lGODlhAQABAAAAACw="),
        "image: a reference picture is image/gif",
    ),
    (NEW, old(), "url error, please check url!"),
    (OLD, old(size="1024*1024"), "the area must be 1280*1280 to 1440*1440"),
    (OLD, old(model="wan2.2-t2i-plus", size="1456*1024"), "each side must be 512 to 1440"),
    (OLD, old("x" * 2001), "the prompt has more than 2000 characters"),
    (OLD, old(thinking_mode=True), "parameters.thinking_mode: unknown field"),
]


@pytest.mark.parametrize(
    ("path", "body", "message"), DASHSCOPE_REFUSED, ids=[row[2] for row in DASHSCOPE_REFUSED]
)
def test_dashscope_refuses_by_its_rules(dashscope: httpx.Client, path: str, body: Any, message: str) -> None:
    """V035"""
    refused = json_of(dashscope.post(path, json=body, headers=ASYNC), 400)
    assert refused["code"] == "InvalidParameter"
    assert message in refused["message"]


def test_dashscope_does_not_know_a_task_with_200(dashscope: httpx.Client) -> None:
    """V033"""
    output = json_of(dashscope.get("/api/v1/tasks/x"))["output"]
    assert output == {"task_id": "x", "task_status": "UNKNOWN"}


def test_dashscope_cancels_pending_tasks_only(dashscope: httpx.Client, running: Running) -> None:
    """V036"""
    path = submitted(dashscope, NEW, new())
    assert json_of(dashscope.post(path + "/cancel"))
    assert json_of(dashscope.get(path))["output"]["task_status"] == "CANCELED"
    assert booked(only_task(running)) == [("reserve", "0.2"), ("refund", "0.2")]
    running_path = submitted(dashscope, NEW, new())
    assert json_of(dashscope.get(running_path))["output"]["task_status"] == "RUNNING"
    assert json_of(dashscope.post(running_path + "/cancel"), 400)["code"] == "UnsupportedOperation"


def test_dashscope_fails_in_its_words(dashscope: httpx.Client, running: Running) -> None:
    """V037"""
    throttled = dashscope.post(NEW, json=new("x sim:http:429:2"), headers=ASYNC)
    assert json_of(throttled, 429)["code"] == "Throttling.RateQuota"
    assert throttled.headers["retry-after"] == "2"
    path = submitted(dashscope, NEW, new("x sim:moderate sim:polls:0"))
    output = json_of(dashscope.get(path))["output"]
    assert (output["task_status"], output["code"]) == ("FAILED", "DataInspectionFailed")
    assert json_of(dashscope.post(SYNC, json=new("x sim:moderate")), 400)["code"] == "DataInspectionFailed"
    assert json_of(dashscope.post(NEW, json=new(model="wan9"), headers=ASYNC), 404)["code"] == "ModelNotFound"
    with client_of(running, "dashscope", "spent") as spent:
        assert json_of(spent.post(NEW, json=new(), headers=ASYNC), 400)["code"] == "Arrearage"


def test_fal_gives_the_result_at_a_third_address(running: Running) -> None:
    """V040"""
    with client_of(running, "fal") as client:
        body = {"prompt": "a cat", "image_size": "landscape_16_9", "num_images": 2, "output_format": "webp"}
        task = json_of(client.post("/fal-ai/nano-banana", json=body))
        assert task["status"] == "IN_QUEUE"
        assert json_of(client.get(task["response_url"]), 400)["detail"] == "Request is still in progress"
        states = [client.get(task["status_url"]) for _ in range(2)]
        assert [(each.status_code, each.json()["status"]) for each in states] == [
            (202, "IN_PROGRESS"),
            (200, "COMPLETED"),
        ]
        images = json_of(client.get(task["response_url"]))["images"]
        assert [size_of(fetched(image["url"])) for image in images] == [(1024, 576)] * 2
        assert images[0]["content_type"] == "image/webp"


FAL_FAILURES = [
    ("sim:moderate", 422, "content_policy_violation"),
    ("sim:fail:503", 503, None),
    ("sim:fail", 500, None),
]


@pytest.mark.parametrize(("order", "status", "kind"), FAL_FAILURES, ids=[row[0] for row in FAL_FAILURES])
def test_fal_completes_what_failed(running: Running, order: str, status: int, kind: str | None) -> None:
    with client_of(running, "fal") as client:
        task = json_of(client.post("/fal-ai/flux", json={"prompt": f"x {order} sim:polls:0"}))
        assert json_of(client.get(task["status_url"]))["status"] == "COMPLETED"
        detail = json_of(client.get(task["response_url"]), status)["detail"]
        assert (detail[0]["type"] if kind else None) == kind
        assert booked(only_task(running)) == [("reserve", "0.04"), ("refund", "0.04")]


def test_fal_flags_pictures_cancels_and_refuses(running: Running) -> None:
    with client_of(running, "fal") as client:
        task = json_of(client.post("/fal-ai/flux", json={"prompt": "x sim:moderate:flag sim:polls:0"}))
        client.get(task["status_url"])
        assert json_of(client.get(task["response_url"]))["has_nsfw_concepts"] == [True]
        queued = json_of(client.post("/fal-ai/flux", json={"prompt": "x"}))
        assert json_of(client.put(queued["cancel_url"]), 202)["status"] == "CANCELLATION_REQUESTED"
        assert json_of(client.put(task["cancel_url"]), 400)["status"] == "ALREADY_COMPLETED"
        refused = json_of(client.post("/fal-ai/flux", json={"prompt": "x", "n": 1}), 422)["detail"][0]
        assert (refused["loc"], refused["type"]) == (["body", "n"], "extra_forbidden")
        assert json_of(client.get("/fal-ai/flux/requests/x/status"), 404)
    with httpx.Client(base_url=running.url("fal"), headers={"authorization": "Bearer k"}) as client:
        assert json_of(client.post("/fal-ai/flux", json={"prompt": "x"}), 401), "the scheme is Key"


def test_replicate_may_be_finished_at_once(running: Running) -> None:
    """V044: output is a list or a string."""
    with client_of(running, "replicate") as client:
        path = "/v1/models/google/nano-banana/predictions"
        given = {"prompt": "a cat", "aspect_ratio": "3:2", "image_input": [DATA_URI]}
        done = json_of(client.post(path, json={"input": given}, headers={"Prefer": "wait=60"}), 201)
        assert done["status"] == "succeeded"
        assert [size_of(fetched(url)) for url in done["output"]] == [(1264, 848)]
        later = json_of(client.post(path, json={"input": {"prompt": "a cat sim:shape:string"}}), 201)
        assert (later["status"], later["output"]) == ("starting", None)
        states = [json_of(client.get(later["urls"]["get"])) for _ in range(2)]
        assert [state["status"] for state in states] == ["processing", "succeeded"]
        assert isinstance(states[1]["output"], str)


def test_replicate_fails_cancels_and_refuses(running: Running) -> None:
    with client_of(running, "replicate") as client:
        path = "/v1/models/google/nano-banana/predictions"
        wait = {"Prefer": "wait"}
        flagged = json_of(client.post(path, json={"input": {"prompt": "sim:moderate"}}, headers=wait), 201)
        assert (flagged["status"], "E005" in flagged["error"]) == ("failed", True)
        aborted = json_of(
            client.post(path, json={"input": {"prompt": "sim:fail:aborted"}}, headers=wait), 201
        )
        assert aborted["status"] == "aborted"
        queued = json_of(client.post(path, json={"input": {"prompt": "x"}}), 201)
        assert json_of(client.post(queued["urls"]["cancel"]))["status"] == "canceled"
        refused = json_of(client.post(path, json={"input": {"prompt": "x", "n": 1}}), 422)
        assert refused["detail"] == "input.n: unknown field"


def test_bfl_is_asked_where_it_says(running: Running) -> None:
    with client_of(running, "bfl") as client:
        body = {
            "prompt": "a cat",
            "aspect_ratio": "16:9",
            "input_image": BASE64,
            "input_image_2": PICTURE_URL,
        }
        task = json_of(client.post("/v1/flux-2-pro", json=body))
        assert task["cost"] == 4.0
        states = [json_of(client.get(task["polling_url"])) for _ in range(2)]
        assert [state["status"] for state in states] == ["Pending", "Ready"]
        seen = fetched(states[1]["result"]["sample"])
        assert (seen.mime, size_of(seen)) == ("image/jpeg", (1360, 768))


BFL_ENDS = [
    ("sim:moderate", "Content Moderated"),
    ("sim:moderate:input", "Request Moderated"),
    ("sim:fail", "Error"),
]


@pytest.mark.parametrize(("order", "status"), BFL_ENDS, ids=[row[0] for row in BFL_ENDS])
def test_bfl_ends_with_200(running: Running, order: str, status: str) -> None:
    """V043"""
    with client_of(running, "bfl") as client:
        task = json_of(client.post("/v1/flux-dev", json={"prompt": f"x {order} sim:polls:0"}))
        assert json_of(client.get(task["polling_url"]))["status"] == status
        assert json_of(client.get("/v1/get_result?id=x"))["status"] == "Task not found"
        assert json_of(client.post("/v1/flux-dev", json={"prompt": "x", "n": 1}), 422)


def test_kie_says_everything_with_200(running: Running) -> None:
    """V042"""
    with client_of(running, "kie") as client:
        body = {"model": "nano-banana-pro", "input": {"prompt": "a cat", "resolution": "2K"}}
        task = json_of(client.post("/api/v1/jobs/createTask", json=body))
        path = f"/api/v1/jobs/recordInfo?taskId={task['data']['taskId']}"
        states = [json_of(client.get(path))["data"] for _ in range(2)]
        assert [state["state"] for state in states] == ["generating", "success"]
        urls = json.loads(states[1]["resultJson"])["resultUrls"]
        assert [size_of(fetched(url)) for url in urls] == [(2048, 2048)]
        wrong = {"model": "x", "input": {"prompt": "x", "image_urls": [DATA_URI]}}
        assert json_of(client.post("/api/v1/jobs/createTask", json=wrong))["code"] == 422
        flagged = {"model": "x", "input": {"prompt": "sim:moderate sim:polls:0"}}
        task = json_of(client.post("/api/v1/jobs/createTask", json=flagged))
        ended = json_of(client.get(f"/api/v1/jobs/recordInfo?taskId={task['data']['taskId']}"))["data"]
        assert (ended["state"], "policy" in ended["failMsg"]) == ("fail", True)
    with client_of(running, "kie", "spent") as client:
        assert json_of(client.post("/api/v1/jobs/createTask", json=body))["code"] == 402


CODES = [(1, True), (21, True), (22, True), (23, False), (24, False)]


@pytest.mark.parametrize(("code", "goes_on"), CODES, ids=[str(row[0]) for row in CODES])
def test_midjourney_answers_with_codes(running: Running, code: int, goes_on: bool) -> None:
    """V045"""
    with client_of(running, "midjourney-proxy") as client:
        body = {"prompt": f"a cat sim:code:{code}", "base64Array": [DATA_URI]}
        task = json_of(client.post("/mj/submit/imagine", json=body))
        assert (task["code"], task["result"] is not None) == (code, goes_on)
        if goes_on:
            states = [json_of(client.get(f"/mj/task/{task['result']}/fetch")) for _ in range(2)]
            assert [state["status"] for state in states] == ["IN_PROGRESS", "SUCCESS"]
            assert size_of(fetched(states[1]["imageUrl"])) == (2048, 2048)


def test_midjourney_fails_and_refuses(running: Running) -> None:
    with client_of(running, "midjourney-proxy") as client:
        task = json_of(client.post("/mj/submit/imagine", json={"prompt": "sim:fail:busy sim:polls:0"}))
        ended = json_of(client.get(f"/mj/task/{task['result']}/fetch"))
        assert (ended["status"], ended["failReason"]) == ("FAILURE", "busy")
        assert json_of(client.post("/mj/submit/imagine", json={"prompt": "x", "n": 1}))["code"] == 4


def test_a_slow_task_is_not_done_before_its_time(running: Running) -> None:
    with client_of(running, "bfl") as client:
        task = json_of(client.post("/v1/flux-dev", json={"prompt": "x sim:slow:30 sim:polls:0"}))
        assert json_of(client.get(task["polling_url"]))["status"] == "Pending"
        assert running.log.exchanges("bfl")[0].first_byte_ms < 5000
