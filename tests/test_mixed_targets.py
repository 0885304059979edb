"""A request keeps its meaning when its model's targets differ in what they can do at once."""

from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway import FILE, open_gateway

_PROVIDERS = """
  down: {wire: gemini, base_url: "http://SIMULATORS/gemini/v1beta", keys: [env:DOWN]}
  wan: {profile: dashscope, base_url: "http://SIMULATORS/dashscope", keys: [env:VENDOR_KEY]}
  slow: {profile: grsai, base_url: "http://SIMULATORS/grsai", keys: [env:VENDOR_KEY]}
models:
  mixed: {targets: [down/gemini-2.5-flash], fallback: [google/gemini-3-flash-preview]}
  pictures: {targets: [wan/wan2.7-image], fallback: [google/gemini-3-pro-image]}
  slow: {targets: [slow/nano-banana-pro], poll: {every: 100ms}}
"""
MIXED = FILE.replace("\nmodels:\n", _PROVIDERS)
DOWN = {"DOWN": "down-1"}


def ask(prompt: str) -> Any:
    return [{"role": "user", "content": prompt}]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_all_choices_come_although_the_fallback_makes_one_at_a_time(tmp_path: Path, stream: bool) -> None:
    """G-114: the first target would make three at once, and is down"""
    with open_gateway(tmp_path, MIXED, DOWN) as gateway:
        made = gateway.client().chat.completions.create(model="mixed", messages=ask("Hi"), n=3, stream=stream)
        replies: Any = made if stream else [made]
        finished = [choice.index for reply in replies for choice in reply.choices if choice.finish_reason]
    assert sorted(finished) == [0, 1, 2]


def test_all_pictures_come_although_the_fallback_makes_one_at_a_time(tmp_path: Path) -> None:
    with open_gateway(tmp_path, MIXED, DOWN) as gateway:
        reply = gateway.client().images.generate(model="pictures", prompt="Two sim:http:503", n=2)
    assert [bool(picture.b64_json) for picture in reply.data or ()] == [True, True]


def test_a_chat_with_a_slow_vendor_of_pictures_ends_before_the_client_gives_up_and_orders_again(
    tmp_path: Path,
) -> None:
    """V-051"""
    with open_gateway(tmp_path, MIXED, DOWN) as gateway:
        client = gateway.client(timeout=3.0, max_retries=2)
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="slow", messages=ask("A fox sim:polls:9999"))
        orders = [sent for sent in gateway.sent() if sent.path.endswith("/generate")]
    assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(orders) == 1
