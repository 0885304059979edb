"""What each shipped vendor's replies come to. Bodies are from the vendors' pages where they show one."""

import json
from decimal import Decimal

import pytest

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Image, ImageRequest, Slice, Target, Usage
from proxy.wires.declared import Billing, DeclaredWire, Done, Pending, Ready, load_profile
from tests.declared import JPEG, PNG, asked, judge, target, wire
from tests.shared import FIXTURES, needs_fixtures
from tests.words import picture_code_of

PICTURE = Image("image/png", data=Slice(PNG.encode()))


def link(url):
    return Image("", url=url)


def refused(*args, **fields):
    with pytest.raises(UpstreamError) as caught:
        judge(*args, **fields)
    error = caught.value
    assert error.status not in (401, 402, 403)  # V-050: the client's own key is not the one that was refused
    return error


# --- jlike -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        {"images": [PNG]},
        {"images": [{"b64_json": PNG}]},
        {"data": {"images": ["data:image/png;base64," + PNG]}},
        {"data": [{"b64_json": PNG, "seed": 3}]},
        {"output": {"images": [{"image": PNG}]}},
        {"results": [{"image_url": {"url": "data:image/png;base64," + PNG}}]},
        {"image": PNG, "success": True},
        {"url": "data:image/png;base64," + PNG},
        {"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}}]},
        {"data": [{"base64": PNG.rstrip("=")}]},
        {"images": [Slice(PNG.encode())]},
        {"images": [Slice(b"data:image/png;base64," + PNG.encode())]},
        {"images": [Slice(PNG.encode(), prefix=b"data:image/png;base64,")]},
    ],
)
def test_jlike_pictures_are_found_in_every_shape(payload):
    """V-003"""
    outcome = judge("jlike", "nano-banana-pro", payload, surface="image")
    assert isinstance(outcome, Done)
    assert outcome.images == (PICTURE,)


def test_what_a_vendor_made_of_the_prompt_stands_beside_its_picture():
    data = [{"b64_json": PNG, "revised_prompt": "a big cat"}, {"b64_json": PNG, "revised_prompt": ""}]
    outcome = judge("jlike", "nano-banana-pro", {"data": data}, surface="image")
    assert [image.revised_prompt for image in outcome.images] == ["a big cat", None]


@pytest.mark.parametrize("word", [None, "", 5, ["low"], "x" * 65])
def test_what_is_no_word_for_a_quality_is_not_told(word):
    reply = {"data": [{"b64_json": PNG}], "quality": word, "background": "opaque"}
    [image] = judge("openai-images", "gpt-image-1", reply, surface="image").images
    assert (image.quality, image.background) == (None, "opaque")


def test_drafts_of_a_gemini_body_are_no_pictures():
    """V-038"""
    parts = [
        {"thought": True, "inlineData": {"mimeType": "image/jpeg", "data": JPEG}},
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
        {"text": "here"},
    ]
    outcome = judge("jlike", "nano-banana", {"candidates": [{"content": {"parts": parts}}]}, surface="image")
    assert (outcome.images, outcome.text) == ((PICTURE,), "here")


@pytest.mark.parametrize(
    ("status", "body", "error_class", "client_status", "code"),
    [
        (400, {"error_code": "INVALID_PARAMS"}, ErrorClass.BAD_REQUEST, 400, "INVALID_PARAMS"),
        (400, {"error_code": "CONTENT_BLOCKED"}, ErrorClass.BLOCKED, 400, "moderation_blocked"),
        (401, {}, ErrorClass.AUTH, 502, "upstream_auth_failed"),
        (402, {"error_code": "INSUFFICIENT"}, ErrorClass.QUOTA, 429, "insufficient_quota"),
        (429, {}, ErrorClass.RATE_LIMITED, 429, "rate_limit_exceeded"),
        (502, {}, ErrorClass.INTERNAL, 502, "upstream_error"),
        (503, {}, ErrorClass.UNAVAILABLE, 503, "upstream_unavailable"),
        (504, {}, ErrorClass.TIMEOUT, 504, "upstream_timeout"),
    ],
)
@pytest.mark.parametrize("surface", ["image", "wan"])
def test_jlike_statuses(surface, status, body, error_class, client_status, code):
    """V-001, V-009, V-050"""
    payload = {"success": False, "error": "something", **body}
    error = refused("jlike", "m", payload, status=status, surface=surface)
    assert (error.error_class, error.status, picture_code_of(error)) == (error_class, client_status, code)
    assert error.native_status == status


@pytest.mark.parametrize(
    ("profile", "status", "payload"),
    [
        pytest.param("evolink", 504, {"message": "Endpoint request timed out"}, id="AWS"),
        pytest.param("evolink", 408, {"error": {"message": "Request Timeout", "code": 408}}, id="a status"),
        pytest.param(
            "dashscope",
            502,
            {"message": "An invalid response was received from the upstream server"},
            id="Kong",
        ),
        pytest.param(
            "seedream",
            524,
            {
                "title": "Error 524: A timeout occurred",
                "status": 524,
                "error_name": "origin_response_timeout",
            },
            id="Cloudflare",
        ),
    ],
)
def test_a_machine_that_lost_the_vendor_cannot_say_that_nothing_was_made(profile, status, payload):
    """V-007"""
    assert refused(profile, "m", payload, status=status).bought


@pytest.mark.parametrize(
    ("profile", "surface", "status", "payload"),
    [
        pytest.param("evolink", "image", 502, {"error": {"code": "service_error"}}, id="code"),
        pytest.param("evolink", "image", 500, {"error": {"message": "went wrong"}}, id="its own status"),
        pytest.param("dashscope", "image", 504, {"code": "InternalError.Timeout"}, id="part of a code"),
        pytest.param("jlike", "image", 504, {"success": False, "error": "late"}, id="its table of statuses"),
    ],
)
def test_a_vendor_that_refunds_says_so_in_its_own_words(profile, surface, status, payload):
    """V-007"""
    assert not refused(profile, "m", payload, status=status, surface=surface).bought


def test_jlike_503_is_for_another_provider():
    """V-009"""
    error = refused("jlike", "m", {"success": False, "error": "closed"}, status=503, surface="image")
    assert (error.policy.same_target, error.policy.next_target) == (False, True)


@pytest.mark.parametrize("status", [200, 400])
def test_an_empty_account_is_told_in_the_words_of_jlike_s_page(status):
    """000: 402 is `积分不足`; whatever the status, another provider is asked."""
    error = refused("jlike", "m", {"success": False, "error": "积分不足"}, status=status, surface="image")
    assert (error.error_class, error.policy.next_target) == (ErrorClass.QUOTA, True)


def test_jlike_says_so_with_http_200_too():
    """V-002"""
    payload = {"success": False, "error": "bad size", "error_code": "INVALID_PARAMS"}
    error = refused("jlike", "m", payload, surface="image")
    assert (error.error_class, error.message, picture_code_of(error)) == (
        ErrorClass.BAD_REQUEST,
        "bad size",
        "INVALID_PARAMS",
    )


def test_what_the_vendor_thinks_of_our_key_stays_between_us():
    """V-050"""
    payload = {"success": False, "error": "key sk-abc is revoked", "error_code": "REVOKED"}
    error = refused("jlike", "m", payload, status=401, surface="image")
    assert error.message == "jlike does not accept our credentials."
    assert error.native == "REVOKED"


@pytest.mark.parametrize(
    ("billing", "cost"),
    [
        ({"cost": 0.25, "actual_cost": 0.2}, "0.2"),
        ({"cost": "0.30", "actual_cost": None}, "0.30"),
        ({"cost": 1}, "1"),
        ({"actual_cost": "free", "cost": "0.1"}, "0.1"),
        ({"actual_cost": 0, "cost": 0.1}, "0"),
    ],
)
def test_the_actual_cost_comes_first(billing, cost):
    """V-008: numbers and numeric strings; zero is an answer."""
    outcome = judge("jlike", "m", {"images": [PNG], "_billing": billing}, surface="image")
    assert outcome.billing == Billing(Decimal(cost), None, "CNY", refunded_on_failure=True)
    assert outcome.usage == Usage(vendor={"_billing": billing})


def charged(points, path="files[].points"):
    data = {
        "base_url": "https://a.example",
        "surfaces": {
            "image": {
                "submit": {"request": "POST /draw", "body": {"p": "$prompt"}},
                "result": {"images": "files[].link"},
                "billing": {"cost": path, "unit": "points"},
            }
        },
    }
    made = DeclaredWire(load_profile("x", data).surface(), "https://a.example")
    files = [{"link": f"https://a.example/{at}.png", "points": each} for at, each in enumerate(points)]
    call = made.submit(ImageRequest("m", "a door"), Target("x", "m"))
    return made.judge(call, 200, {}, {"files": files}).billing


@pytest.mark.parametrize("path", ["files[].points", "sum(files[].points)"])
@pytest.mark.parametrize(
    ("points", "cost"), [([7, 7], "14"), (["7.5", " 7.5"], "15"), ([0.1, 0.2], "0.3"), (["0.1", 2], "2.1")]
)
def test_charges_of_single_pictures_are_summed_exactly(points, cost, path):
    """V-008"""
    billing = charged(points, path)
    assert (billing.cost, billing.unread) == (Decimal(cost), None)


@pytest.mark.parametrize("path", ["files[].points", "sum(files[].points)", "files[0].points", "price"])
@pytest.mark.parametrize("points", [["free", 7], [True, 7], [[], 7], ["1e999999999", 7]])
def test_a_charge_that_cannot_be_read_says_where_it_was_looked_for(points, path):
    billing = charged(points, path)
    said = f"no amount is at {path}; the reply has files, files[].link, files[].points"
    assert (billing.cost, billing.unread) == (None, said)


def test_a_wan_job_from_submit_to_pictures():
    """000: the flow of the page; V-006"""
    jlike = wire("jlike", "wan")
    call = jlike.submit(asked("mars"), target("jlike", "wan2.7-t2i-plus", "wan"))
    pending = jlike.judge(call, 200, {}, {"success": True, "data": {"task_uuid": "u/1"}})
    assert isinstance(pending, Pending)
    assert pending.task == {"provider": "jlike", "model": "wan2.7-t2i-plus", "references": False, "id": "u/1"}
    task = json.loads(json.dumps(pending.task))
    poll = jlike.poll(task)
    assert (poll.method, poll.path, poll.body, poll.url) == ("GET", "/wan27/task/u%2F1", {}, None)
    running = jlike.judge(poll, 200, {}, {"data": {"status": "running", "progress": "40"}})
    assert (running.task, running.state, running.progress) == (task, "running", 40.0)
    reply = {
        "data": {
            "status": "succeeded",
            "images": ["https://oss.example/1.png", {"url": "https://oss.example/2.png"}],
        }
    }
    done = jlike.judge(jlike.poll(running.task), 200, {}, reply)
    assert done.images == (link("https://oss.example/1.png"), link("https://oss.example/2.png"))
    assert done.expires_s == 86400
    assert jlike.judge(jlike.poll(running.task), 200, {}, reply) == done


def test_a_failed_wan_job_costs_nothing():
    """V-007"""
    payload = {"success": False, "status": "failed", "error": "upstream broke", "task_uuid": "u-1"}
    error = refused("jlike", "wan2.7-t2i-plus", payload, surface="wan", phase="poll")
    assert (error.error_class, error.message, error.bought) == (ErrorClass.INTERNAL, "upstream broke", False)


def test_polls_of_a_wan_job_are_four_seconds_apart():
    """V-005, V-057: the plan; the engine adds at most a tenth of jitter."""
    jlike = wire("jlike", "wan")
    call = jlike.submit(asked(), target("jlike", "wan2.7-t2i-plus", "wan"))
    plan = jlike.plan(call.context["task"])
    assert (plan.first_s, plan.every_s, plan.give_up_s) == (3, 4, 600)
    assert [plan.wait_s(polls) for polls in range(4)] == [3, 4, 4, 4]


def test_waits_grow_to_their_most():
    dashscope = wire("dashscope")
    plan = dashscope.plan(dashscope.submit(asked(), target("dashscope", "wan2.7-image")).context["task"])
    assert [plan.wait_s(polls) for polls in range(6)] == [2, 3, 4.5, 6.75, 8, 8]
    assert plan.wait_s(100_000) == 8


# --- evolink ---------------------------------------------------------------------------------------

EVOLINK_TASK = {
    "created": 1757165031,
    "id": "task-unified-1757165031-uyujaw3d",
    "model": "gemini-3-pro-image-preview",
    "object": "image.generation.task",
    "progress": 0,
    "status": "pending",
    "task_info": {"can_cancel": True, "estimated_time": 45},
    "type": "image",
    "usage": {"billing_rule": "per_call", "credits_reserved": 1.6, "user_group": "default"},
}


def test_the_evolink_task_of_its_page():
    """001: the reply as printed."""
    outcome = judge("evolink", "gemini-3-pro-image-preview", EVOLINK_TASK)
    assert outcome == Pending(
        {
            "provider": "evolink",
            "model": "gemini-3-pro-image-preview",
            "references": False,
            "id": "task-unified-1757165031-uyujaw3d",
            "charged": {"cost": "1.6", "kept": {"credits_reserved": 1.6}},
        },
        state="pending",
        progress=0.0,
        estimate_s=45.0,
    )
    assert wire("evolink").poll(outcome.task).path == "/v1/tasks/task-unified-1757165031-uyujaw3d"


def test_evolink_results_come_in_order():
    """V-013"""
    urls = ["https://files.example/1.png", "https://files.example/2.png"]
    reply = {**EVOLINK_TASK, "status": "completed", "progress": 100, "results": urls}
    outcome = judge("evolink", "m", reply, phase="poll")
    assert outcome.images == tuple(map(link, urls))
    assert outcome.billing == Billing(Decimal("1.6"), Decimal("1.6"), "credits", True)
    assert outcome.usage.vendor == {"credits_reserved": 1.6}


@pytest.mark.parametrize(
    ("code", "error_class", "status", "client_code"),
    [
        ("content_policy_violation", ErrorClass.BLOCKED, 400, "moderation_blocked"),
        ("invalid_parameters", ErrorClass.BAD_REQUEST, 400, "invalid_parameters"),
        ("image_dimension_mismatch", ErrorClass.BAD_REQUEST, 400, "image_dimension_mismatch"),
        ("request_cancelled", ErrorClass.CANCELED, 502, "upstream_task_canceled"),
        ("quota_exceeded", ErrorClass.RATE_LIMITED, 429, "rate_limit_exceeded"),
        ("generation_timeout", ErrorClass.TIMEOUT, 504, "upstream_timeout"),
        ("service_unavailable", ErrorClass.UNAVAILABLE, 503, "upstream_unavailable"),
        ("generation_failed_no_content", ErrorClass.EMPTY, 502, "no_image_generated"),
        ("resource_not_found", ErrorClass.LOST, 502, "upstream_task_lost"),
        ("unknown_error", ErrorClass.INTERNAL, 502, "upstream_error"),
    ],
)
def test_evolink_failure_codes(code, error_class, status, client_code):
    """V-014"""
    reply = {**EVOLINK_TASK, "status": "failed", "error": {"code": code, "message": "no"}}
    error = refused("evolink", "m", reply, phase="poll")
    assert (error.error_class, error.status, picture_code_of(error), error.message) == (
        error_class,
        status,
        client_code,
        "no",
    )


def test_a_refused_prompt_has_openai_s_words():
    """V-014"""
    reply = {"status": "failed", "error": {"code": "content_policy_violation", "message": "not this"}}
    assert picture_code_of(refused("evolink", "m", reply, phase="poll")) == "moderation_blocked"


def test_evolink_knows_cancelled_too():
    assert refused("evolink", "m", {"status": "cancelled"}, phase="poll").error_class is ErrorClass.CANCELED


# --- grsai -----------------------------------------------------------------------------------------

GRSAI_DONE = {
    "id": "14-5f3cf761-a4bb-486a-8016-77f490998f80",
    "status": "succeeded",
    "results": [{"url": "https://file1.aitohumanize.com/file/fcdd2d07449d438d9d69d450f5626976.png"}],
}


def test_the_grsai_reply_of_its_page():
    """003: the reply as printed."""
    outcome = judge("grsai", "nano-banana-2", GRSAI_DONE, reply_type="json")
    assert outcome.images == (link(GRSAI_DONE["results"][0]["url"]),)
    assert outcome.expires_s == 7200


def test_grsai_is_asked_by_query():
    """003: /v1/api/result?id="""
    outcome = judge("grsai", "nano-banana-2", {"id": "1-66 34&x", "status": "running"})
    assert wire("grsai").poll(outcome.task).path == "/v1/api/result?id=1-66%2034%26x"


@pytest.mark.parametrize(
    ("payload", "error_class"),
    [
        ({"id": "1", "status": "violation"}, ErrorClass.BLOCKED),
        ({"id": "1", "status": "failed", "failure_reason": "output_moderation"}, ErrorClass.BLOCKED),
        ({"id": "1", "status": "failed", "failure_reason": "input_moderation"}, ErrorClass.BLOCKED),
        ({"id": "1", "status": "failed", "failure_reason": "error", "error": "boom"}, ErrorClass.INTERNAL),
        ({"id": "1", "status": "failed", "error": "insufficient credits"}, ErrorClass.QUOTA),
    ],
)
def test_grsai_failures(payload, error_class):
    """V-023"""
    assert refused("grsai", "nano-banana", payload, phase="poll").error_class is error_class


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("phase", ["submit", "poll"])
def test_a_prompt_that_grsai_calls_a_violation_was_refused_whatever_the_status(status, phase):
    """003: the pages of the order and of the query have one list of states for 200 and for 400."""
    payload = {"id": "t-1", "status": "violation", "error": "not that"}
    error = refused("grsai", "nano-banana", payload, status=status, phase=phase)
    assert (error.error_class, error.message, picture_code_of(error)) == (
        ErrorClass.BLOCKED,
        "not that",
        "moderation_blocked",
    )


def test_a_job_that_failed_with_status_400_has_failed():
    """003: no fault of the question, which would be asked again and again."""
    payload = {"id": "t-1", "status": "failed", "error": "boom"}
    error = refused("grsai", "nano-banana", payload, status=400, phase="poll")
    assert (error.error_class, error.message, error.final) == (ErrorClass.INTERNAL, "boom", True)


def test_another_vendor_s_job_may_fail_so_too():
    """Nested as DashScope has it, and with the rules of its codes."""
    payload = dashscope_task("FAILED", code="DataInspectionFailed", message="x")
    error = refused("dashscope", "wan2.7-image", payload, status=500, phase="poll", task={"id": "8811"})
    assert error.error_class is ErrorClass.BLOCKED


@pytest.mark.parametrize(
    "payload",
    [{"status": "failed", "error": "x"}, {"id": "", "status": "failed"}, {"id": "t-2", "status": "failed"}],
)
def test_a_refusal_that_names_another_job_or_none_is_of_the_question(payload):
    assert judge("grsai", "nano-banana", payload, status=400, phase="poll").fault is not None
    order = refused("grsai", "nano-banana", payload, status=400)
    assert order.error_class is ErrorClass.BAD_REQUEST


def test_the_older_grsai_shape_is_read():
    payload = {
        "code": 0,
        "msg": "success",
        "data": {"id": "1", "status": "succeeded", "results": [{"url": "https://f/1.png"}]},
    }
    assert judge("grsai", "nano-banana", payload, phase="poll").images == (link("https://f/1.png"),)


def test_an_unknown_task_of_the_older_shape_is_lost():
    """V-030"""
    error = refused("grsai", "nano-banana", {"code": -22, "msg": "task not found"}, phase="poll")
    assert (error.error_class, error.message, error.native) == (ErrorClass.LOST, "task not found", "-22")


@pytest.mark.parametrize(
    ("error", "error_class"),
    [("insufficient credits", ErrorClass.QUOTA), ("parameter data type error", ErrorClass.BAD_REQUEST)],
)
def test_grsai_400_may_be_about_money(error, error_class):
    assert refused("grsai", "nano-banana", {"error": error}, status=400).error_class is error_class


# --- DashScope -------------------------------------------------------------------------------------


def dashscope_task(status, **output):
    return {"request_id": "r-1", "output": {"task_id": "8811", "task_status": status, **output}}


def test_dashscope_states():
    assert judge("dashscope", "wan2.7-image", dashscope_task("PENDING")).task["id"] == "8811"
    assert judge("dashscope", "wan2.7-image", dashscope_task("SUSPENDED"), phase="poll").state == "SUSPENDED"


@pytest.mark.parametrize(
    ("payload", "error_class"),
    [
        (dashscope_task("UNKNOWN"), ErrorClass.LOST),
        (dashscope_task("CANCELED"), ErrorClass.CANCELED),
        (dashscope_task("FAILED", code="DataInspectionFailed", message="x"), ErrorClass.BLOCKED),
        (dashscope_task("FAILED", code="InternalError.Timeout", message="x"), ErrorClass.INTERNAL),
        (dashscope_task("FAILED", code="InvalidParameter", message="x"), ErrorClass.BAD_REQUEST),
    ],
)
def test_dashscope_ends(payload, error_class):
    """V-033, V-037"""
    assert refused("dashscope", "wan2.7-image", payload, phase="poll").error_class is error_class


@pytest.mark.parametrize(
    ("status", "code", "error_class", "client_status"),
    [
        (429, "Throttling.RateQuota", ErrorClass.RATE_LIMITED, 429),
        (400, "Arrearage", ErrorClass.QUOTA, 429),
        (400, "DataInspectionFailed", ErrorClass.BLOCKED, 400),
        (401, "InvalidApiKey", ErrorClass.AUTH, 502),
        (403, "AccessDenied", ErrorClass.AUTH, 502),
        (404, "ModelNotFound", ErrorClass.NOT_FOUND, 404),
        (400, "InvalidParameter", ErrorClass.BAD_REQUEST, 400),
        (503, "ServiceUnavailable", ErrorClass.UNAVAILABLE, 503),
    ],
)
def test_dashscope_refusals(status, code, error_class, client_status):
    """V-037"""
    payload = {"code": code, "message": "no", "request_id": "r-1"}
    error = refused("dashscope", "wan2.7-image", payload, status=status, headers={"Retry-After": "7"})
    assert (error.error_class, error.status, error.retry_after_s) == (error_class, client_status, 7.0)


def test_one_picture_of_two_is_a_partial_success():
    """V-034"""
    results = [{"url": "https://oss.example/1.png"}, {"code": "InternalError.Timeout", "message": "slow"}]
    outcome = judge(
        "dashscope", "wan2.2-t2i-flash", dashscope_task("SUCCEEDED", results=results), phase="poll"
    )
    assert outcome.images == (link("https://oss.example/1.png"),)
    assert [(error.error_class, error.message) for error in outcome.item_errors] == [
        (ErrorClass.INTERNAL, "slow")
    ]


def test_what_an_older_wan_made_of_the_prompt_is_handed_on():
    results = [{"orig_prompt": "cat", "actual_prompt": "a big cat", "url": "https://oss.example/1.png"}]
    outcome = judge("dashscope", "wanx-v1", dashscope_task("SUCCEEDED", results=results), phase="poll")
    assert outcome.images == (Image("", url="https://oss.example/1.png", revised_prompt="a big cat"),)


def test_a_success_of_which_every_picture_failed_is_a_failure():
    results = [{"code": "DataInspectionFailed", "message": "no"}]
    error = refused(
        "dashscope", "wan2.2-t2i-flash", dashscope_task("SUCCEEDED", results=results), phase="poll"
    )
    assert (error.error_class, error.message) == (ErrorClass.BLOCKED, "no")


def test_dashscope_is_called_off_only_while_pending():
    """V-036"""
    dashscope = wire("dashscope")
    task = judge("dashscope", "wan2.7-image", dashscope_task("PENDING")).task
    call = dashscope.cancel(task, "PENDING")
    assert (call.method, call.path) == ("POST", "/api/v1/tasks/8811/cancel")
    assert dashscope.cancel(task, "RUNNING") is None
    assert wire("evolink").cancel(task, "pending") is None


@pytest.mark.parametrize("cancel", [None, "https://elsewhere.example/cancel"])
def test_a_job_that_has_no_place_of_its_vendors_to_be_called_off_at_goes_on(cancel):
    urls = {"get": "https://api.replicate.com/v1/predictions/p1"} | ({"cancel": cancel} if cancel else {})
    outcome = judge("replicate", "m/n", {"id": "p1", "status": "starting", "urls": urls})
    assert wire("replicate").poll(outcome.task).url == urls["get"]
    assert wire("replicate").cancel(outcome.task, "starting") is None


def come_to(name, model, exchange, **fields):
    """The outcome of a recorded exchange, or the error it is."""
    try:
        return judge(
            name,
            model,
            exchange.get("response"),
            status=exchange["status"],
            headers=exchange["headers"],
            **fields,
        )
    except UpstreamError as error:
        return error


@needs_fixtures
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("01-submit", "PENDING"),
        ("03-poll-running", "RUNNING"),
        ("04-poll-succeeded-two-choices", 2),
        ("05-poll-failed", ErrorClass.BLOCKED),
        ("06-poll-canceled", ErrorClass.CANCELED),
        ("07-poll-unknown", ErrorClass.LOST),
        ("08-sync", 1),
        ("09-error-400", ErrorClass.BAD_REQUEST),
        ("10-error-429", ErrorClass.RATE_LIMITED),
        ("11-old-style-partial-failure", 1),
    ],
)
def test_wan27_exchanges(name, expected):
    exchange = json.loads((FIXTURES / "vendors/dashscope-wan27-constructed" / f"{name}.json").read_text())
    phase = "poll" if exchange["method"] == "GET" else "submit"
    found = come_to("dashscope", "wan2.7-image", exchange, phase=phase)
    if isinstance(found, Pending):
        assert found.state == expected
    elif isinstance(found, Done):
        assert len(found.images) == expected
    else:
        assert found.error_class is expected


@needs_fixtures
@pytest.mark.parametrize("name", ["dashscope", "replicate"])
def test_recorded_replies_never_confuse_the_interpreter(name):
    """Recorded from the real services, most of them not about pictures: an outcome or our own error."""
    model = {"dashscope": "wan2.7-image", "replicate": "google/nano-banana"}[name]
    files = sorted((FIXTURES / "vendors" / name).glob("*.json"))
    assert files
    for file in files:
        found = come_to(name, model, json.loads(file.read_text()))
        assert isinstance(found, Pending | Done) or found.message


@needs_fixtures
def test_a_recorded_dashscope_success_has_its_pictures():
    folder = FIXTURES / "vendors/dashscope"
    exchange = json.loads(
        (
            folder / "dashscope-sdk--rawhttpdata-get-task-image-generation-success-nosse-response-body.json"
        ).read_text()
    )
    outcome = judge("dashscope", "wanx2.1-t2i-turbo", exchange["response"], phase="poll")
    assert outcome.images
    assert all(image.url.startswith("https://") for image in outcome.images)


# --- fal, Replicate, BFL, Seedream -----------------------------------------------------------------

FAL_QUEUED = {
    "status": "IN_QUEUE",
    "request_id": "r-1",
    "status_url": "https://queue.fal.run/fal-ai/flux/requests/r-1/status",
    "response_url": "https://queue.fal.run/fal-ai/flux/requests/r-1",
    "cancel_url": "https://queue.fal.run/fal-ai/flux/requests/r-1/cancel",
}


def fal_job():
    return judge("fal", "fal-ai/flux/dev", FAL_QUEUED).task


def test_fal_is_asked_at_the_addresses_it_gave():
    """V-040"""
    fal = wire("fal")
    poll = fal.poll(fal_job())
    assert (poll.method, poll.url) == ("GET", FAL_QUEUED["status_url"])
    assert fal.judge(poll, 202, {}, {"status": "IN_PROGRESS"}).state == "IN_PROGRESS"
    ready = fal.judge(poll, 200, {}, {"status": "COMPLETED", "request_id": "r-1"})
    assert isinstance(ready, Ready)
    result = fal.result(ready.task)
    assert (result.method, result.url) == ("GET", FAL_QUEUED["response_url"])
    reply = {"images": [{"url": "https://v3.fal.media/1.png", "content_type": "image/png", "width": 8}]}
    assert fal.judge(result, 200, {}, reply).images == (Image("image/png", url="https://v3.fal.media/1.png"),)
    cancel = fal.cancel(ready.task, "IN_QUEUE")
    assert (cancel.method, cancel.url) == ("PUT", FAL_QUEUED["cancel_url"])


@pytest.mark.parametrize(
    ("kind", "error_class"),
    [("content_policy_violation", ErrorClass.BLOCKED), ("value_error", ErrorClass.BAD_REQUEST)],
)
def test_a_fal_result_may_be_a_refusal(kind, error_class):
    """V-040"""
    fal = wire("fal")
    with pytest.raises(UpstreamError) as caught:
        fal.judge(fal.result(fal_job()), 422, {}, {"detail": [{"type": kind, "msg": "no"}]})
    assert (caught.value.error_class, caught.value.message, caught.value.bought) == (error_class, "no", True)


def test_a_result_that_is_not_there_yet_is_asked_for_again():
    """The vendor has just called the job done; a job that is asked for and not there has ended."""
    fal = wire("fal")
    reply = {"detail": "not found"}
    assert fal.judge(fal.result(fal_job()), 404, {}, reply).fault.message == "not found"
    with pytest.raises(UpstreamError) as caught:
        fal.judge(fal.poll(fal_job()), 404, {}, reply)
    assert caught.value.error_class in (ErrorClass.LOST, ErrorClass.NOT_FOUND)


def test_fal_says_itself_whether_to_ask_again():
    fal = wire("fal")
    call = fal.result(fal_job())
    assert fal.judge(call, 500, {"x-fal-retryable": "true"}, {"detail": "busy"}).fault.message == "busy"
    with pytest.raises(UpstreamError) as caught:
        fal.judge(call, 500, {"X-Fal-Retryable": "false"}, {"detail": "broken"})
    assert (caught.value.error_class, caught.value.message) == (ErrorClass.INTERNAL, "broken")


def test_a_black_picture_is_not_sold_as_one():
    """The picture whose flag is true is black."""
    fal = wire("fal")
    images = [{"url": "https://v3.fal.media/1.png"}, {"url": "https://v3.fal.media/2.png"}]
    call = fal.result(fal_job())
    outcome = fal.judge(call, 200, {}, {"images": images, "has_nsfw_concepts": [True, False]})
    assert outcome.images == (link("https://v3.fal.media/2.png"),)
    assert [error.error_class for error in outcome.item_errors] == [ErrorClass.BLOCKED]
    with pytest.raises(UpstreamError) as caught:
        fal.judge(call, 200, {}, {"images": images[:1], "has_nsfw_concepts": [True]})
    assert picture_code_of(caught.value) == "moderation_blocked"


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/r-1/status",
        "http://queue.fal.run/r-1/status",
        "https://queue.fal.run:8443/r-1",
        "https://user@queue.fal.run/r-1",
        "https://queue.fal.run@evil.example/r-1",
        "https://evil.example\\@queue.fal.run/",
        "https://queue.fal.run\t.evil.example/",
        "https://queue.fal.run.evil.example/",
        "https://quеue.fal.run/",
        "file:///etc/passwd",
        "//queue.fal.run/x",
        "https://[::1]/",
        "https://queue.fal.run:99999/",
    ],
)
def test_an_address_that_is_not_the_vendor_s_is_never_called(url):
    """V-041"""
    with pytest.raises(UpstreamError) as caught:
        wire("fal").poll({**fal_job(), "poll_url": url})
    assert caught.value.error_class is ErrorClass.LOST
    assert "evil" not in caught.value.message


def test_the_account_s_own_origin_is_the_vendor_s():
    from proxy.wires.declared import DeclaredWire
    from tests.declared import shipped

    local = DeclaredWire(shipped("fal").surface(), "http://127.0.0.1:9000/fal")
    assert (
        local.poll({**fal_job(), "poll_url": "http://127.0.0.1:9000/fal/s"}).url
        == "http://127.0.0.1:9000/fal/s"
    )
    with pytest.raises(UpstreamError):
        local.poll({**fal_job(), "poll_url": "http://127.0.0.1:9001/fal/s"})


REPLICATE = {"id": "p-1", "urls": {"get": "https://api.replicate.com/v1/predictions/p-1"}, "error": None}


@pytest.mark.parametrize("output", ["https://r.example/1.png", ["https://r.example/1.png"]])
def test_replicate_output_is_a_text_or_a_list(output):
    """V-044; a prediction may be finished in the submit reply."""
    outcome = judge("replicate", "google/nano-banana", {**REPLICATE, "status": "succeeded", "output": output})
    assert outcome.images == (link("https://r.example/1.png"),)


@pytest.mark.parametrize(
    ("payload", "error_class"),
    [
        ({"status": "aborted"}, ErrorClass.INTERNAL),
        ({"status": "failed", "error": "The input was flagged as sensitive (E005)"}, ErrorClass.BLOCKED),
        ({"status": "failed", "error": "CUDA out of memory"}, ErrorClass.INTERNAL),
        ({"status": "canceled"}, ErrorClass.CANCELED),
    ],
)
def test_replicate_failures(payload, error_class):
    """V-044"""
    error = refused(
        "replicate",
        "m/n",
        {**REPLICATE, **payload},
        phase="poll",
        task={"poll_url": REPLICATE["urls"]["get"]},
    )
    assert error.error_class is error_class


BFL = {"id": "b-1", "polling_url": "https://api.eu2.bfl.ai/v1/get_result?id=b-1", "cost": 4.0}


def test_bfl_is_asked_at_its_regional_host():
    outcome = judge("bfl", "flux-pro-1.1", BFL)
    assert wire("bfl").poll(outcome.task).url == BFL["polling_url"]
    done = {"id": "b-1", "status": "Ready", "result": {"sample": "https://delivery.bfl.ai/1.jpeg"}}
    outcome = judge("bfl", "flux-pro-1.1", done, phase="poll", task={"poll_url": BFL["polling_url"]})
    assert (outcome.images, outcome.expires_s) == ((link("https://delivery.bfl.ai/1.jpeg"),), 600)


def test_a_charge_that_stands_in_the_orders_answer_alone_is_known_at_the_end():
    order = judge("bfl", "flux-pro-1.1", BFL)
    waits = {"id": "b-1", "status": "Pending", "result": None}
    waiting = judge("bfl", "flux-pro-1.1", waits, phase="poll", task=json.loads(json.dumps(order.task)))
    done = {"id": "b-1", "status": "Ready", "result": {"sample": "https://delivery.bfl.ai/1.jpeg"}}
    outcome = judge("bfl", "flux-pro-1.1", done, phase="poll", task=waiting.task)
    assert outcome.billing == Billing(Decimal("4.0"), None, "credits")
    assert outcome.usage == Usage(vendor={"cost": 4.0})


def test_a_later_charge_holds_and_other_words_of_money_stay():
    task = judge("evolink", "m", EVOLINK_TASK).task
    done = {"id": "t-1", "status": "completed", "results": ["https://a/1"], "usage": {"credits_used": 1.5}}
    outcome = judge("evolink", "m", done, phase="poll", task=task)
    assert outcome.billing.cost == Decimal("1.5")
    assert outcome.usage.vendor == {"credits_used": 1.5, "credits_reserved": 1.6}


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        ("Content Moderated", ErrorClass.BLOCKED),
        ("Request Moderated", ErrorClass.BLOCKED),
        ("Task not found", ErrorClass.LOST),
        ("Error", ErrorClass.INTERNAL),
    ],
)
def test_bfl_refusals_have_http_200(status, error_class):
    """V-043"""
    task = {"poll_url": BFL["polling_url"]}
    error = refused("bfl", "flux-pro-1.1", {"id": "b-1", "status": status}, phase="poll", task=task)
    assert (error.error_class, error.bought) == (error_class, True)


def test_an_empty_account_at_fal_is_no_bad_key():
    sentence = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."
    error = refused("fal", "fal-ai/nano-banana", {"detail": sentence}, status=403)
    assert (error.error_class, error.status) == (ErrorClass.QUOTA, 429)
    assert refused("fal", "m", {"detail": "Cannot access"}, status=403).error_class is ErrorClass.AUTH


@pytest.mark.parametrize(
    ("metrics", "usage"),
    [
        ({"predict_time": 1.5}, Usage(seconds=1.5)),
        ({"predict_time": "2"}, Usage(seconds=2.0)),
        ({"predict_time": -1}, None),
        ({}, None),
    ],
)
def test_replicate_tells_how_long_it_worked(metrics, usage):
    payload = {**REPLICATE, "status": "succeeded", "output": "https://a.example/1.png", "metrics": metrics}
    assert judge("replicate", "google/nano-banana", payload).usage == usage


def test_seedream_items_may_be_errors():
    payload = {
        "data": [
            {"b64_json": PNG, "size": "8x8"},
            {"error": {"code": "OutputImageSensitiveContentDetected", "message": "no"}},
        ],
        "usage": {"generated_images": 1, "output_tokens": 4096, "total_tokens": 4096},
    }
    outcome = judge("seedream", "m", payload)
    assert outcome.images == (PICTURE,)
    assert [error.error_class for error in outcome.item_errors] == [ErrorClass.BLOCKED]
    assert outcome.usage == Usage(completion=4096, images=1)


# --- every vendor ----------------------------------------------------------------------------------


def test_a_word_nobody_knows_keeps_the_job_alive_and_is_told_once():
    """V-047: the note is in the task, so that it survives a restart."""
    evolink = wire("evolink")
    first = judge("evolink", "m", {"id": "t-1", "status": "upscaling"}, phase="poll")
    assert (first.unknown_state, first.state) == ("upscaling", "upscaling")
    task = json.loads(json.dumps(first.task))
    again = evolink.judge(evolink.poll(task), 200, {}, {"id": "t-1", "status": "upscaling"})
    assert again.unknown_state is None
    other = evolink.judge(evolink.poll(again.task), 200, {}, {"id": "t-1", "status": "polishing"})
    assert (other.unknown_state, other.task["strange"]) == ("polishing", ["upscaling", "polishing"])


def test_a_word_nobody_knows_beside_pictures_is_success_and_beside_an_error_failure():
    done = judge("evolink", "m", {"status": "finished", "results": ["https://f/1.png"]}, phase="poll")
    assert done.images == (link("https://f/1.png"),)
    payload = {"status": "broken", "error": {"code": "x", "message": "no"}}
    assert refused("evolink", "m", payload, phase="poll").error_class is ErrorClass.INTERNAL


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_poll_that_fails_in_passing_is_asked_again(status):
    """V-004: never a reason to submit again."""
    outcome = judge(
        "jlike",
        "m",
        b"<html>bad gateway</html>",
        status=status,
        surface="wan",
        phase="poll",
        headers={"retry-after": "2"},
    )
    assert isinstance(outcome, Pending)
    assert outcome.fault.native_status == status
    assert outcome.retry_after_s == 2.0
    assert outcome.task["id"] == "t-1"


@pytest.mark.parametrize("status", [404, 410])
def test_a_job_that_is_not_there_is_lost(status):
    error = refused(
        "jlike", "m", {"success": False, "error": "gone"}, status=status, surface="wan", phase="poll"
    )
    assert (error.error_class, error.bought) == (ErrorClass.LOST, True)


BLOCKED = {"error": {"code": "content_policy_violation", "message": "no"}}
ODD = [
    (200, b"<html>gateway</html>"),
    (200, b'{"status": "RUNN'),
    (200, b'{"status": "RUNNING"} <!-- cached -->'),
    (200, b""),
    (202, b""),
    (204, b""),
    (200, None),
    (200, []),
    (200, {}),
    (200, {"hello": "there, this is no job"}),
    (400, {"success": False, "error": "no"}),
    (400, b"Bad Request"),
    (401, {"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}),
    (402, {"error": "insufficient balance"}),
    (403, b"<html>firewall</html>"),
    (409, {}),
    (200, {"error": {"code": "rate_limit_exceeded", "message": "slow down"}}),
    (200, {"success": False, "error": "overloaded", "error_code": "overloaded_error"}),
]


@pytest.mark.parametrize(
    ("vendor", "surface"), [("jlike", "wan"), ("dashscope", "image"), ("grsai", "image")]
)
@pytest.mark.parametrize(("status", "body"), ODD)
@pytest.mark.parametrize("phase", ["poll", "result"])
def test_what_is_no_word_on_the_job_ends_no_job(vendor, surface, status, body, phase):
    headers = {"Retry-After": "30"}
    outcome = judge(vendor, "m", body, status=status, headers=headers, surface=surface, phase=phase)
    assert isinstance(outcome, Pending)
    assert outcome.fault is not None
    assert (outcome.retry_after_s, outcome.task["id"]) == (30.0, "t-1")


@pytest.mark.parametrize(
    ("vendor", "surface"), [("jlike", "wan"), ("dashscope", "image"), ("jlike", "image")]
)
@pytest.mark.parametrize(("status", "body"), [one for one in ODD[:10] if one[1] != ODD[9][1]])
def test_the_same_as_answer_to_an_order_may_have_been_sold(vendor, surface, status, body):
    """Also where the vendor takes nothing for failures: it named none."""
    error = refused(vendor, "m", body, status=status, surface=surface)
    assert error.bought


def test_a_state_that_is_final_ends_the_job_whatever_it_complains_of():
    payload = {"task_uuid": "t-1", "status": "failed", "error": "overloaded", "error_code": "overloaded"}
    error = refused("jlike", "m", payload, surface="wan", phase="poll")
    assert (error.error_class, error.message) == (ErrorClass.OVERLOADED, "overloaded")


@pytest.mark.parametrize("status", [400, 403, 409])
def test_a_refused_poll_that_names_what_became_of_the_job_ends_it(status):
    error = refused("evolink", "m", BLOCKED, status=status, phase="poll")
    assert error.error_class is ErrorClass.BLOCKED


@pytest.mark.parametrize("named", [{}, {"id": ".."}, {"id": "a/../b"}, {"id": "./a"}, {"id": "9" * 5000}])
def test_a_job_without_a_number_is_lost(named):
    """What would climb in the path of a question, or fill memory, is none."""
    error = refused("evolink", "m", {"status": "pending", **named})
    assert (error.error_class, error.status) == (ErrorClass.LOST, 502)
    assert error.message == "evolink took the job but gave no number to ask for it."


def test_text_instead_of_a_picture_is_an_error_that_quotes_it():
    """V-039"""
    payload = {"candidates": [{"content": {"parts": [{"text": "I {cannot} draw."}]}, "finishReason": "STOP"}]}
    error = refused("jlike", "nano-banana", payload, surface="image")
    assert (error.error_class, error.status, error.code) == (ErrorClass.EMPTY, 502, "no_image_generated")
    assert error.message == "jlike answered without a picture: I {cannot} draw."


@pytest.mark.parametrize(
    "body", [b"<html><body><h1>502 Bad Gateway</h1></body></html>", b"<!DOCTYPE html>" + b"x" * 5000, b""]
)
def test_a_page_of_html_is_never_shown(body):
    """V-055"""
    error = refused("evolink", "m", body, status=502)
    assert (error.error_class, error.message) == (ErrorClass.INTERNAL, "evolink answered with HTTP 502.")


def test_long_messages_are_cut():
    """V-055"""
    error = refused(
        "evolink",
        "m",
        {"error": {"code": "invalid_parameters", "message": "<b>no</b> " + "x" * 1900}},
        status=400,
    )
    assert len(error.message) == 1000
    assert error.message.startswith("no xxx")


@pytest.mark.parametrize("payload", [None, b"not json", "text", 5, []])
def test_a_reply_that_is_no_object_is_the_vendor_s_fault(payload):
    error = refused("evolink", "m", payload)
    assert (error.error_class, error.message) == (
        ErrorClass.INTERNAL,
        "evolink answered with something that is not JSON.",
    )


@pytest.mark.parametrize(
    "value",
    [
        "ok",
        5,
        True,
        {"width": 3},
        ["a"],
        "aGVsbG8=",
        {"data": {"data": {}}},
        "data:image/png,abc",
        "data:",
        "=",
        "!!",
    ],
)
def test_what_is_no_picture_is_not_taken_for_one(value):
    assert refused("jlike", "m", {"image": value}, surface="image").code == "no_image_generated"


def test_url_safe_base64_and_line_breaks_are_mended():
    loose = "\n".join([JPEG[:20], JPEG[20:]]).replace("+", "-").replace("/", "_")
    outcome = judge("jlike", "m", {"image": loose}, surface="image")
    assert outcome.images == (Image("image/jpeg", data=Slice(JPEG.encode())),)


def test_a_big_picture_with_a_broken_middle_is_none():
    """Padding may stand only at the end."""
    whole = PNG[:64] + "A" * 65_536
    assert judge("jlike", "m", {"image": Slice(whole.encode())}, surface="image").images
    broken = PNG[:64] + "A" * (65_536 - 66) + "==" + "A" * 64
    assert (
        refused("jlike", "m", {"image": Slice(broken.encode())}, surface="image").code == "no_image_generated"
    )


def test_a_finished_job_without_pictures_is_explained_by_the_rules():
    payload = {
        "status": "completed",
        "error": {"code": "generation_failed_no_content", "message": "weak prompt"},
    }
    error = refused("evolink", "m", payload, phase="poll")
    assert (error.error_class, error.message, error.bought) == (ErrorClass.EMPTY, "weak prompt", False)


def test_a_progress_that_is_no_number_is_none():
    assert judge("evolink", "m", {"id": "1", "status": "pending", "progress": "half"}).progress is None


def test_a_date_as_retry_after_is_read_against_the_reply_s_own():
    headers = {"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    assert refused("evolink", "m", {}, status=429, headers=headers).retry_after_s == 30.0
    assert refused("evolink", "m", {}, status=429, headers={"retry-after": "soon"}).retry_after_s is None
    assert refused("evolink", "m", {}, status=429, headers={"retry-after-ms": "1500"}).retry_after_s == 1.5
