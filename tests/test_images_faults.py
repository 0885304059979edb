"""Vendors that fail, refuse, cut and lie: the error the client sees, and one order in the vendor's books."""

from __future__ import annotations

import math
import uuid
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway import Gateway, open_gateway
from tests.picture_vendors import BEATING, BY_NAME, HEAD, decoded, post, providers, raises, watching
from tests.served import waited

TASKS = ["wan", "evolink", "grsai-async", "dashscope", "fal", "bfl"]
AT_ONCE = ["jlike", "grsai-json", "grsai-stream", "seedream", "seedream-stream", "aigcbest", "xiaotian"]
EVERY = [*TASKS, *AT_ONCE, "google"]


@pytest.fixture
def gateway(pictures_gateway: Gateway) -> Gateway:
    return pictures_gateway


@pytest.mark.parametrize("name", [name for name in EVERY if name != "google"])
def test_a_refused_prompt_is_a_400_of_the_images_api(gateway: Gateway, name: str) -> None:
    """I-017, V-014, V-023, V-037, V-043: and no second order"""
    with watching(gateway) as seen:
        error = raises(gateway, name, f"Rude to {name} sim:moderate")
    assert isinstance(error, openai.BadRequestError)
    assert (error.type, error.code) == ("image_generation_user_error", "moderation_blocked")
    assert error.response.headers["x-should-retry"] == "false"
    assert len(seen.submits()) == 1


def test_google_refuses_in_the_same_words(gateway: Gateway) -> None:
    """I-017"""
    error = raises(gateway, "google", "Rude sim:block:PROHIBITED_CONTENT")
    assert (error.status_code, error.code) == (400, "moderation_blocked")


@pytest.mark.parametrize("name", [*TASKS, "grsai-json", "grsai-stream"])
def test_a_failed_job_is_a_502_and_is_not_ordered_again(gateway: Gateway, name: str) -> None:
    """V-002, V-007, V-023, V-051: also when the failure comes with HTTP 200"""
    with watching(gateway) as seen:
        error = raises(gateway, name, f"Broken at {name} sim:fail:some_fault")
    assert (error.status_code, error.type) == (502, "server_error")
    if name in TASKS:
        assert error.response.headers["x-should-retry"] == "false"
    (task,) = seen.tasks(f"Broken at {name} sim:fail:some_fault")
    assert len(seen.submits()) == 1
    assert [entry.kind for entry in task.entries] == ["reserve", "refund"]


@pytest.mark.parametrize("name", [name for name in EVERY if name not in ("google", "seedream-stream")])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_reply_without_a_picture_is_never_a_200(gateway: Gateway, name: str, stream: bool) -> None:
    """I-036: 502 no_image_generated"""
    with watching(gateway) as seen:
        error = raises(gateway, name, f"Nothing {stream} by {name} sim:noimage", stream=stream)
    assert (error.status_code, error.code) == (502, "no_image_generated")
    if name not in ("jlike", "wan", "dashscope", "seedream"):  # they give the money back
        assert error.response.headers["x-should-retry"] == "false"
    assert len(seen.submits()) == 1


def test_text_alone_is_no_picture_on_the_images_api_and_a_message_in_chat(gateway: Gateway) -> None:
    """I-036, V-039"""
    error = raises(gateway, "google", "Only talk sim:image:0")
    assert (error.status_code, error.code) == (502, "no_image_generated")
    asked: Any = [{"role": "user", "content": "Only talk sim:image:0"}]
    message = gateway.client().chat.completions.create(model="google", messages=asked).choices[0].message
    assert isinstance(message.content, str)
    assert not hasattr(message, "images")


REFUSALS = [
    ("400", 400, None, "invalid_request_error"),
    ("401", 502, "upstream_auth_failed", "api_error"),
    ("429:7", 429, "rate_limit_exceeded", "rate_limit_error"),
    ("500", 502, "upstream_error", "server_error"),
    ("503", 503, None, "server_error"),
]


@pytest.mark.parametrize("name", [name for name in EVERY if name not in ("google", "fal")])
@pytest.mark.parametrize(("order", "status", "code", "type_"), REFUSALS)
def test_a_refused_order_has_the_status_of_its_class(
    gateway: Gateway, name: str, order: str, status: int, code: str | None, type_: str
) -> None:
    """V-001, V-009, V-022, V-050: nothing was bought, and this vendor is not asked again"""
    if (name[:8], order) == ("seedream", "503"):
        status, type_ = 429, "rate_limit_error"  # it says so in its code
    if (name, order) == ("evolink", "500"):
        code = "simulated"  # its own word for what failed
    with watching(gateway) as seen:
        error = raises(gateway, name, f"Refused {order} by {name} sim:http:{order}")
    assert (error.status_code, error.type) == (status, type_)
    if code is not None:
        assert error.code == code
    if order.startswith("429"):
        assert error.response.headers["retry-after"] == "7"
    assert len(seen.submits()) == 1
    assert seen.tasks(f"Refused {order} by {name} sim:http:{order}") == []


def test_an_order_that_is_given_again_keeps_our_id(gateway: Gateway) -> None:
    """The vendor knows it by that, where it took the first after all."""
    prompt = "Busy sim:fail-once:429:1"
    with watching(gateway) as seen:
        post(gateway, "images/generations", {"model": "kling", "prompt": prompt, "background": True})
        waited(lambda: len(seen.submits()) == 2)
        first, second = (order.body["external_task_id"] for order in seen.submits())
    assert uuid.UUID(first) == uuid.UUID(second)


def test_money_that_is_spent_is_a_quota_and_never_a_401_or_402(tmp_path: Path) -> None:
    """V-001, V-021, V-037"""
    file = HEAD + providers("jlike", "aigcbest", "dashscope", "grsai", "evolink")
    file += "models:\n" + "".join(
        f"  {name}: {{targets: [{BY_NAME[name].target}]}}\n"
        for name in ("jlike", "aigcbest", "dashscope", "grsai-async", "evolink")
    )
    with open_gateway(tmp_path, file, {"VENDOR_KEY": "spent-key"}) as own:
        for name in ("jlike", "aigcbest", "dashscope", "grsai-async", "evolink"):
            error = raises(own, name, "A cat")
            assert (error.status_code, error.code) == (429, "insufficient_quota"), name


@pytest.mark.parametrize("name", [name for name in EVERY if name not in ("google", "fal")])
def test_a_page_instead_of_json_is_told_in_one_plain_sentence(gateway: Gateway, name: str) -> None:
    """V-055"""
    error = raises(gateway, name, f"A page from {name} sim:html")
    message = error.body["message"] if isinstance(error.body, dict) else ""
    assert error.status_code == 502
    assert "<" not in message
    assert len(message) <= 350


@pytest.mark.parametrize("name", ["jlike", "grsai-json", "grsai-async", "wan", "aigcbest", "evolink", "bfl"])
@pytest.mark.parametrize("order", ["sim:badjson", "sim:drop"])
def test_a_broken_answer_to_an_order_is_not_ordered_again(gateway: Gateway, name: str, order: str) -> None:
    """V-051: the vendor may be at work"""
    with watching(gateway) as seen:
        error = raises(gateway, name, f"Torn {name} {order}")
    assert error.status_code == 502
    assert error.response.headers["x-should-retry"] == "false"
    assert len(seen.submits()) == 1


@pytest.mark.parametrize("name", TASKS)
def test_polls_that_fail_are_repeated_and_the_order_is_not(gateway: Gateway, name: str) -> None:
    """V-004, V-057"""
    prompt = f"Patience with {name} sim:poll-fail:3:502 sim:polls:4"
    with watching(gateway) as seen:
        reply = gateway.client().images.generate(model=name, prompt=prompt)
    assert decoded((reply.data or ())[0].b64_json or "").width
    assert len(seen.submits()) == 1
    polls = len(seen.tasks(prompt)[0].polls_ms)
    assert 5 <= polls <= 6


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("how", ["502", "drop", "html", "429:0"])
def test_five_polls_that_fail_in_a_row_end_the_wait(gateway: Gateway, name: str, how: str) -> None:
    """V-004, V-051"""
    prompt = f"Gone {name} sim:poll-fail:20:{how}"
    with watching(gateway) as seen:
        error = raises(gateway, name, prompt)
    assert error.response.headers["x-should-retry"] == "false"
    assert len(seen.submits()) == 1
    (task,) = seen.tasks(prompt)  # not what earlier tests have left to be finished
    # A connection that closes before it answers is opened once more for the same poll.
    assert len(task.polls_ms) in ((5,) if how != "drop" else range(5, 11))


def test_polls_keep_their_distance(tmp_path: Path) -> None:
    """V-005, V-057: never sooner than asked; test_engine.py has the bounds of the jitter"""
    file = (
        HEAD
        + providers("grsai")
        + ("models:\n  slow: {targets: [grsai/nano-banana-pro], poll: {every: 200ms, give_up: 1s}}\n")
    )
    with open_gateway(tmp_path, file) as own, watching(own) as seen:
        error = raises(own, "slow", "Too slow sim:polls:99")
        (task,) = seen.tasks("Too slow sim:polls:99")
    assert (error.status_code, error.code) == (504, "upstream_timeout")
    assert all(gap >= 190 for gap in task.gaps_ms), task.gaps_ms  # a timer may be a little early
    assert len(task.polls_ms) <= math.ceil(1 / 0.2) + 5


@pytest.mark.parametrize("name", TASKS)
def test_a_result_that_expired_says_so_and_is_not_ordered_again(gateway: Gateway, name: str) -> None:
    """V-051: the picture was made and is paid for"""
    with watching(gateway) as seen:
        error = raises(gateway, name, f"Late {name} sim:urlexpired")
    assert (error.status_code, error.code) == (502, "upstream_result_unavailable")
    assert error.response.headers["x-should-retry"] == "false"
    assert len(seen.submits()) == 1
    assert 1 <= len(seen.downloads()) <= 3


@pytest.mark.parametrize("name", ["grsai-async", "grsai-json", "grsai-stream"])
@pytest.mark.parametrize(
    ("order", "status", "code", "sentence"),
    [
        ("sim:moderate", 400, "moderation_blocked", "The content is not allowed."),
        ("sim:fail:boom", 502, "upstream_error", "boom"),
    ],
)
def test_a_job_that_ends_badly_with_status_400_ends_at_once(
    gateway: Gateway, name: str, order: str, status: int, code: str, sentence: str
) -> None:
    """003: one list of states for 200 and 400, in all three types of reply"""
    with watching(gateway) as seen:
        error = raises(gateway, name, f"Refused {name} {order} sim:as-refusal")
    if name != "grsai-async" and order == "sim:fail:boom":
        status, code = 400, "invalid_value"  # of an order 400 is what it says
    assert (error.status_code, error.code) == (status, code)
    assert sentence in error.message
    (order_sent,) = seen.submits()
    polls = [each for each in seen.polls() if each.notes["task"] == order_sent.notes["task"]]
    assert len(polls) == (2 if name == "grsai-async" else 0)


@pytest.mark.parametrize("order", ["sim:file:html", "sim:file:lie", "sim:file:404", "sim:redirect:self"])
def test_a_result_that_is_no_picture_is_not_handed_on(gateway: Gateway, order: str) -> None:
    error = raises(gateway, "grsai-json", f"Odd {order}")
    assert (error.status_code, error.code) == (502, "upstream_result_unavailable")


@pytest.mark.parametrize(
    "order", ["sim:file:once:503", "sim:file:once:403", "sim:file:once:html", "sim:redirect:ok"]
)
def test_a_download_is_tried_again_and_follows_one_redirect(gateway: Gateway, order: str) -> None:
    own = order.rpartition(":")[2]  # a file of its own, which fails at its first time
    reply = gateway.client().images.generate(model="grsai-json", prompt=f"Bumpy {own} {order}")
    assert decoded((reply.data or ())[0].b64_json or "").width


def test_the_vendors_key_never_goes_to_the_file_host(gateway: Gateway) -> None:
    """V-060"""
    with watching(gateway) as seen:
        gateway.client().images.generate(model="grsai-json", prompt="Secretive")
    (download,) = seen.downloads()
    assert "vendor-key-canary" not in str(download.headers)


def test_a_finished_task_is_not_looked_at_again(gateway: Gateway) -> None:
    """V-006"""
    with watching(gateway) as seen:
        gateway.client().images.generate(model="wan", prompt="Read once")
    (task,) = seen.tasks("Read once")
    assert task.polled_after_end == 0
    assert [entry.kind for entry in task.entries] == ["reserve", "settle"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_one_failed_picture_of_several_does_not_take_the_others_along(gateway: Gateway, stream: bool) -> None:
    """V-034: the older Wan models answer so; n is native there"""
    body = {"model": "dashscope-older", "prompt": f"Three {stream} sim:partial", "n": 3, "stream": stream}
    with watching(gateway) as seen:
        reply = post(gateway, "images/generations", body)
    assert (reply.status_code, reply.text.count('"b64_json":')) == (200, 2)
    assert reply.headers["x-proxy-partial"] == "2/3"
    assert len(seen.submits()) == 1


def test_a_failure_in_a_stream_that_has_begun_is_raised_by_the_sdk(tmp_path: Path) -> None:
    """I-016"""
    with open_gateway(tmp_path, BEATING) as own:
        stream = own.client().images.generate(
            model="grsai-json", prompt="Late and broken sim:slow:1 sim:fail:x", stream=True
        )
        with pytest.raises(openai.APIError) as caught:
            list(stream)
    assert caught.value.code == "upstream_error"


def test_a_wrong_request_for_a_stream_is_a_plain_400(gateway: Gateway) -> None:
    """I-054"""
    reply = post(gateway, "images/generations", {"model": "wan", "prompt": "A", "stream": True, "n": 99})
    assert (reply.status_code, reply.headers["content-type"]) == (400, "application/json")
    assert reply.json()["error"]["param"] == "n"


@pytest.mark.parametrize(
    ("first", "order"),
    [
        ("jlike.image/nano-banana", "sim:fail-once:503"),
        ("jlike.image/nano-banana", "sim:fail-once:402"),
        ("jlike.image/nano-banana", "sim:fail-once:502"),
        ("aigcbest/gemini-2.5-flash-image", "sim:nochannel"),
        ("evolink/gemini-3-pro-image-preview", "sim:fail-once:429"),
    ],
)
def test_a_vendor_that_cannot_is_left_for_the_next_one(tmp_path: Path, first: str, order: str) -> None:
    """V-009, V-022: an order that was refused for certain goes on elsewhere"""
    file = HEAD + providers("jlike", "grsai", "aigcbest", "evolink") + "models:\n"
    file += "  grsai-only: {targets: [grsai/nano-banana], poll: {every: 30ms}}\n"
    file += f"  both: {{targets: [{first}], fallback: [grsai/nano-banana], poll: {{every: 30ms}}}}\n"
    with open_gateway(tmp_path, file) as own:
        if "once" in order:
            raises(own, "grsai-only", "Elsewhere sim:fail-once:503")  # so that the next one succeeds
        with watching(own) as seen:
            reply = own.client().images.generate(model="both", prompt=f"Elsewhere {order}")
            assert decoded((reply.data or ())[0].b64_json or "").width
            assert [each.vendor for each in seen.submits()] == [
                first.partition("/")[0].split(".")[0],
                "grsai",
            ]
