"""The simulated relays and grsai: chat shapes a to f, ways of answering, sizes, refusals."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from proxy.simulators.server import Running, start
from proxy.simulators.vendors import grsai as grsai_module
from tests.simulated_vendors import (
    BASE64,
    DATA_URI,
    PICTURE_URL,
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
def aigcbest(running: Running) -> Iterator[httpx.Client]:
    with client_of(running, "aigcbest") as client:
        yield client


@pytest.fixture
def xiaotian(running: Running) -> Iterator[httpx.Client]:
    with client_of(running, "xiaotian") as client:
        yield client


@pytest.fixture
def grsai(running: Running) -> Iterator[httpx.Client]:
    with client_of(running, "grsai") as client:
        yield client


def chat(prompt: Any, **fields: Any) -> dict[str, Any]:
    message = {"role": "user", "content": prompt}
    return {"model": "gemini-2.5-flash-image", "messages": [message], **fields}


def message_of(client: httpx.Client, prompt: Any, **fields: Any) -> Any:
    reply = json_of(client.post("/chat/completions", json=chat(prompt, **fields)))
    return reply["choices"][0]["message"]


def chunks_of(client: httpx.Client, prompt: Any, **fields: Any) -> list[Any]:
    reply = client.post("/chat/completions", json=chat(prompt, stream=True, **fields))
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    frames = reply.text.split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    return [json.loads(frame.removeprefix("data: ")) for frame in frames[:-2]]


def test_aigcbest_answers_with_markdown(aigcbest: httpx.Client, running: Running) -> None:
    content = message_of(aigcbest, "a cat", modalities=["text", "image"])["content"]
    words, _, uri = content.removesuffix(")").partition("![image](")
    assert words == "Here is the picture:\n"
    assert size_of(decoded(uri)) == (1024, 1024)
    assert booked(only_task(running)) == [("reserve", "0.04"), ("settle", "0.04")]


def test_aigcbest_takes_pictures_as_base64_alone(aigcbest: httpx.Client, xiaotian: httpx.Client) -> None:
    """002 says so; 004's example names a picture by its address."""
    content = [{"type": "text", "text": "a cat"}, {"type": "image_url", "image_url": {"url": PICTURE_URL}}]
    refused = aigcbest.post("/chat/completions", json=chat(content))
    assert refused.status_code == 400
    assert "must be given as data, not as url" in refused.json()["error"]["message"]
    assert xiaotian.post("/chat/completions", json=chat(content)).status_code == 200


@pytest.mark.parametrize(
    ("modalities", "drawn"),
    [({}, False), ({"modalities": ["text"]}, False), ({"modalities": ["text", "image"]}, True)],
)
def test_the_oldest_model_draws_where_it_is_told_to(
    aigcbest: httpx.Client, modalities: dict[str, Any], drawn: bool
) -> None:
    """002: a new parameter, `"modalities": ["text", "image"]`"""
    asked = {**chat("a cat", **modalities), "model": "gemini-2.0-flash-preview-image-generation"}
    content = json_of(aigcbest.post("/chat/completions", json=asked))["choices"][0]["message"]["content"]
    assert ("data:image/png" in content) is drawn


def test_a_relay_knows_the_other_shapes(aigcbest: httpx.Client) -> None:
    """V017: b is markdown with a URL, c `images`, d a list, e a bare data URI or bare base64."""
    linked = message_of(aigcbest, "a cat sim:shape:b")["content"]
    assert size_of(fetched(linked.partition("](")[2].removesuffix(")"))) == (1024, 1024)
    images = message_of(aigcbest, "a cat sim:shape:c sim:image:2")["images"]
    assert [size_of(decoded(each["image_url"]["url"])) for each in images] == [(1024, 1024)] * 2
    assert [part["type"] for part in message_of(aigcbest, "a cat sim:shape:d")["content"]] == [
        "text",
        "image_url",
    ]
    assert message_of(aigcbest, "a cat sim:shape:e")["content"].startswith("data:image/png;base64,")
    assert size_of(decoded(message_of(aigcbest, "a cat sim:shape:e sim:bare")["content"])) == (1024, 1024)


def test_a_relay_of_relays_puts_markdown_into_native_text(running: Running) -> None:
    """Shape f."""
    with client_of(running, "aigcbest") as client:
        path = running.base_url + "/aigcbest/v1beta/models/gemini-2.5-flash-image:generateContent"
        reply = json_of(client.post(path, json={"contents": [{"parts": [{"text": "a cat"}]}]}))
    text = reply["candidates"][0]["content"]["parts"][0]["text"]
    assert size_of(decoded(text.partition("](")[2].removesuffix(")"))) == (1024, 1024)


def test_streamed_markdown_is_split_anywhere(aigcbest: httpx.Client) -> None:
    """V018"""
    chunks = chunks_of(aigcbest, "a cat sim:chunks:7")
    pieces = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"]]
    assert "".join(pieces) == message_of(aigcbest, "a cat")["content"]
    assert sum(bool(piece) for piece in pieces) == 7
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 7 + 1290 + 2


def test_streamed_images_all_have_index_0(aigcbest: httpx.Client) -> None:
    """V019"""
    chunks = chunks_of(aigcbest, "a cat sim:shape:c sim:image:2")
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert [delta["images"][0]["index"] for delta in deltas if "images" in delta] == [0, 0]


def test_xiaotian_answers_with_a_list_and_details(xiaotian: httpx.Client) -> None:
    """V031: the shape and the details of the document's example."""
    content = [{"type": "text", "text": "a cat"}, {"type": "image_url", "image_url": {"url": PICTURE_URL}}]
    reply = json_of(xiaotian.post("/chat/completions", json=chat(content)))
    message = reply["choices"][0]["message"]
    uri = message["content"][1]["image_url"]["url"]
    assert size_of(decoded(uri)) == (1024, 1024)
    assert message == {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "Here is the picture:\n"},
            {"type": "image_url", "image_url": {"url": uri}},
        ],
    }
    assert reply["usage"] == {
        "prompt_tokens": 1292,
        "completion_tokens": 1297,
        "total_tokens": 2589,
        "prompt_tokens_details": {"text_tokens": 2, "image_tokens": 1290},
        "completion_tokens_details": {"image_tokens": 1290},
    }


def test_xiaotian_streams_lists_or_answers_whole(xiaotian: httpx.Client) -> None:
    """V020"""
    deltas = [
        chunk["choices"][0]["delta"].get("content")
        for chunk in chunks_of(xiaotian, "a cat")
        if chunk["choices"]
    ]
    assert [each[0]["type"] for each in deltas if isinstance(each, list)] == ["text", "image_url"]
    whole = xiaotian.post("/chat/completions", json=chat("a cat sim:json", stream=True))
    assert whole.json()["object"] == "chat.completion"


def test_references_are_looked_at(aigcbest: httpx.Client, running: Running) -> None:
    parts = [{"type": "text", "text": "a cat"}, {"type": "image_url", "image_url": {"url": DATA_URI}}]
    message_of(aigcbest, parts)
    (seen,) = running.log.exchanges("aigcbest")[-1].notes["references"]
    assert {name: seen[name] for name in ("form", "mime", "width", "height")} == {
        "form": "data",
        "mime": "image/png",
        "width": 64,
        "height": 48,
    }
    for wrong in ("data:image/jpeg;base64," + BASE64, "data:image/png;base64,AAAA", "nothing"):
        bad = [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": wrong}}]
        assert (
            json_of(aigcbest.post("/chat/completions", json=chat(bad)), 400)["error"]["param"] == "messages"
        )


RELAY_FAILURES = [
    ("sim:nochannel", 503, "model_not_found"),
    ("sim:http:429:3", 429, "rate_limit_exceeded"),
    ("sim:fail", 500, "invalid_request"),
]


@pytest.mark.parametrize(("order", "status", "code"), RELAY_FAILURES, ids=[row[0] for row in RELAY_FAILURES])
def test_relays_fail_as_new_api_does(aigcbest: httpx.Client, order: str, status: int, code: str) -> None:
    """V022"""
    error = json_of(aigcbest.post("/chat/completions", json=chat(f"x {order}")), status)["error"]
    assert (error["type"], error["code"]) == ("new_api_error", code)


def test_a_relay_says_403_when_the_balance_is_spent(running: Running) -> None:
    """V021"""
    with client_of(running, "aigcbest", "spent") as client:
        error = json_of(client.post("/chat/completions", json=chat("x")), 403)["error"]
    assert error["code"] == "insufficient_user_quota"


def test_a_relay_may_draw_nothing(aigcbest: httpx.Client, running: Running) -> None:
    reply = json_of(aigcbest.post("/chat/completions", json=chat("a cat sim:moderate")))
    assert reply["choices"][0]["finish_reason"] == "content_filter"
    assert message_of(aigcbest, "a cat sim:noimage")["content"] == "You said: a cat"
    assert message_of(aigcbest, "a cat", model="gpt-4o")["content"] == "You said: a cat"
    assert json_of(aigcbest.post("/chat/completions", json=chat("x", google={})), 400)


def ask(prompt: str = "a cat", **fields: Any) -> dict[str, Any]:
    return {"model": "nano-banana-2", "prompt": prompt, **fields}


def generate(client: httpx.Client, prompt: str = "a cat", **fields: Any) -> Any:
    return json_of(client.post("/v1/api/generate", json=ask(prompt, **fields)))


def test_grsai_answers_whole(grsai: httpx.Client, running: Running) -> None:
    reply = generate(grsai, aspectRatio="8:1", imageSize="1K", replyType="json", images=[BASE64, PICTURE_URL])
    assert (reply["status"], reply["progress"]) == ("succeeded", 100)
    assert [size_of(fetched(each["url"])) for each in reply["results"]] == [(3072, 384)]
    forms = [each["form"] for each in running.log.exchanges("grsai")[-1].notes["references"]]
    assert forms == ["base64", "url"]


def test_grsai_answers_with_a_task(grsai: httpx.Client) -> None:
    task = generate(grsai, replyType="async")
    assert task["status"] == "running"
    path = f"/v1/api/result?id={task['id']}"
    assert [json_of(grsai.get(path))["status"] for _ in range(2)] == ["running", "succeeded"]
    assert json_of(grsai.get("/v1/api/result?id=14-x"), 400)["status"] == "failed"


FRAMINGS = [
    ("a", lambda text: [frame.removeprefix("data: ") for frame in text.split("\n\n") if frame]),
    ("b", lambda text: [line.removeprefix("data: ") for line in text.split("\n") if line]),
    ("c", lambda text: [line for line in text.split("\n") if line]),
    ("d", lambda text: [text]),
]


@pytest.mark.parametrize(("shape", "split"), FRAMINGS, ids=[row[0] for row in FRAMINGS])
def test_grsai_streams_in_four_framings(grsai: httpx.Client, shape: str, split: Any) -> None:
    """V024"""
    reply = grsai.post("/v1/api/generate", json=ask(f"x sim:shape:{shape}", replyType="stream"))
    records = [json.loads(each) for each in split(reply.text)]
    assert records[-1]["status"] == "succeeded"
    assert [record["status"] for record in records[:-1]] == ([] if shape == "d" else ["running"] * 3)


def test_a_grsai_stream_may_end_early(grsai: httpx.Client) -> None:
    """V025: the result is there for whoever asks by id."""
    reply = grsai.post("/v1/api/generate", json=ask("x sim:nofinish", replyType="stream"))
    last = json.loads(reply.text.split("\n\n")[-2].removeprefix("data: "))
    assert last["status"] == "running"
    assert json_of(grsai.get(f"/v1/api/result?id={last['id']}"))["status"] == "succeeded"


OUTCOMES = [("sim:moderate", "violation"), ("sim:fail:error", "failed"), ("sim:noimage", "succeeded")]


@pytest.mark.parametrize(("order", "status"), OUTCOMES, ids=[row[0] for row in OUTCOMES])
def test_grsai_fails_with_200(grsai: httpx.Client, running: Running, order: str, status: str) -> None:
    """V023"""
    assert generate(grsai, f"x {order}")["status"] == status
    assert booked(only_task(running)) == [("reserve", "440"), ("refund", "440")]


GRSAI_REFUSED = [
    ({"model": "nano-banana", "aspectRatio": "1:8"}, "aspectRatio 1:8 is not supported by nano-banana"),
    ({"model": "nano-banana-2-4k-cl", "imageSize": "1K"}, "imageSize 1K is not supported"),
    ({"model": "nano-banana-9"}, "model nano-banana-9 does not exist"),
    ({"model": "gpt-image-2", "imageSize": "1K"}, "imageSize is not a parameter of gpt-image-2"),
    ({"model": "gpt-image-2", "aspectRatio": "2048x2048"}, "aspectRatio 2048x2048: gpt-image-2 takes 1K"),
    ({"model": "gpt-image-2-vip", "aspectRatio": "16:9"}, "aspectRatio 16:9 is not supported"),
    ({"model": "gpt-image-2-vip", "aspectRatio": "1000x1000"}, "aspectRatio 1000x1000: both sides"),
    ({"replyType": "poll"}, "replyType: must be one of json, stream, async"),
    ({"n": 1}, "n: unknown field"),
]


@pytest.mark.parametrize(("fields", "message"), GRSAI_REFUSED, ids=[row[1] for row in GRSAI_REFUSED])
def test_grsai_refuses_by_its_rules(grsai: httpx.Client, fields: Any, message: str) -> None:
    """V026, V029"""
    refused = json_of(grsai.post("/v1/api/generate", json=ask(**fields)), 400)
    assert refused["error"].startswith(message)


VIP = [
    (1024, 1024, ""),
    (3840, 1280, ""),
    (3840, 2160, ""),
    (3856, 2160, "longest"),
    (1000, 1024, "multiples"),
    (3840, 1264, "three times"),
    (800, 800, "area"),
    (3840, 2176, "area"),
]


@pytest.mark.parametrize(("width", "height", "complaint"), VIP, ids=[f"{row[0]}x{row[1]}" for row in VIP])
def test_vip_sizes_follow_four_rules(width: int, height: int, complaint: str) -> None:
    """V027"""
    found = grsai_module.vip_complaint(width, height)
    assert (complaint in found) if complaint else not found


def test_gpt_image_draws_ratios_and_pixels(grsai: httpx.Client) -> None:
    def drawn(model: str, aspect: str) -> tuple[int, int]:
        reply = generate(grsai, model=model, aspectRatio=aspect)
        return size_of(fetched(reply["results"][0]["url"]))

    assert drawn("gpt-image-2", "16:9") == (1672, 941)
    assert drawn("gpt-image-2", "1024x1024") == (1024, 1024)
    assert drawn("gpt-image-2-vip", "1456x624") == (1456, 624)


def test_the_older_draw_api_is_there(grsai: httpx.Client) -> None:
    """V030: an unknown task is code -22."""
    sent = {"model": "nano-banana", "prompt": "x sim:moderate:input sim:polls:0", "webHook": "-1"}
    task = json_of(grsai.post("/v1/draw/nano-banana", json=sent))
    done = json_of(grsai.post("/v1/draw/result", json={"id": task["data"]["id"]}))
    assert (done["code"], done["data"]["failure_reason"]) == (0, "input_moderation")
    assert json_of(grsai.post("/v1/draw/result", json={"id": "x"}))["code"] == -22


def test_grsai_says_400_when_the_balance_is_spent(running: Running) -> None:
    with client_of(running, "grsai", "spent") as client:
        assert json_of(client.post("/v1/api/generate", json=ask()), 400)["error"] == "insufficient credits"
