"""A model's defaults hold where the client said nothing, whichever way its request came."""

from pathlib import Path
from typing import Any

import pytest

from proxy import config as configuration
from proxy.errors import RequestError
from proxy.fronts.openai import defaults
from proxy.fronts.openai.chat import request as chat_request
from proxy.fronts.openai.images import request as image_request
from proxy.types import ImageOptions, Thinking

HELLO = [{"role": "user", "content": "Hi"}]


def chat(written: dict[str, Any], **fields: Any) -> Any:
    parsed = chat_request.parse({"model": "m", "messages": HELLO, **fields})
    return defaults.compiled(written).under(parsed)


def picture(written: dict[str, Any], **fields: Any) -> Any:
    parsed = image_request.parse({"model": "m", "prompt": "x", **fields})
    return defaults.compiled(written).under(parsed)


@pytest.mark.parametrize(
    ("written", "fields", "attribute", "value"),
    [
        pytest.param({"temperature": 0.5}, {}, "temperature", 0.5, id="unsaid"),
        pytest.param({"temperature": 0.5}, {"temperature": 0}, "temperature", 0, id="zero is said"),
        pytest.param({"temperature": 0.5}, {"temperature": None}, "temperature", 0.5, id="null is unsaid"),
        pytest.param({"max_tokens": 9}, {"max_completion_tokens": 5}, "max_tokens", 5, id="another spelling"),
        pytest.param({"reasoning_effort": "low"}, {}, "thinking", Thinking("low"), id="thinking"),
        pytest.param(
            {"reasoning_effort": "low"},
            {"include_reasoning": True},
            "thinking",
            Thinking("low", None, True),
            id="thinking is merged",
        ),
        pytest.param(
            {"reasoning_effort": "low"},
            {"thinking": {"type": "enabled", "budget_tokens": 9000}},
            "thinking",
            Thinking(None, 9000, True),
            id="a budget is an effort",
        ),
        pytest.param(
            {"size": "16:9", "image_size": "2K"},
            {"quality": "high"},
            "image",
            ImageOptions("16:9", None, "2K", "high"),
            id="sizes are merged",
        ),
        pytest.param(
            {"size": "16:9", "image_size": "2K"},
            {"aspect_ratio": "1:1"},
            "image",
            ImageOptions(None, "1:1", "2K"),
            id="a shape is not taken back",
        ),
        pytest.param(
            {"negative_prompt": "blur", "background": "opaque"}, {}, "foreign", None, id="of pictures"
        ),
    ],
)
def test_a_chat_gets_what_it_did_not_say(written: Any, fields: Any, attribute: str, value: Any) -> None:
    assert getattr(chat(written, **fields).request, attribute) == value


@pytest.mark.parametrize(
    ("written", "fields", "attribute", "value"),
    [
        pytest.param({"output_format": "webp"}, {}, "output_format", "webp", id="unsaid"),
        pytest.param({"output_format": "webp"}, {"output_format": "png"}, "output_format", "png", id="said"),
        pytest.param({"size": "2K"}, {}, "image", ImageOptions("2K"), id="size"),
        pytest.param({"temperature": 1, "max_tokens": 5}, {}, "foreign", None, id="of chats"),
    ],
)
def test_a_picture_request_gets_what_it_did_not_say(
    written: Any, fields: Any, attribute: str, value: Any
) -> None:
    assert getattr(picture(written, **fields).request, attribute) == value


def test_a_form_gets_them_too() -> None:
    form = image_request.parse_form([("model", "m"), ("prompt", "x"), ("image", "https://x/a.png")], [])
    found = defaults.compiled({"size": "16:9", "image_size": "2K"}).under(form).request
    assert found.image == ImageOptions("16:9", None, "2K")


def test_the_request_is_not_changed() -> None:
    parsed = chat_request.parse({"model": "m", "messages": HELLO})
    before = repr(parsed)
    defaults.compiled({"seed": 1}).under(parsed)
    assert repr(parsed) == before
    assert defaults.compiled({}).under(parsed) is parsed


def test_a_field_that_no_request_has_is_refused() -> None:
    with pytest.raises(RequestError, match="no request has this field") as caught:
        defaults.compiled({"temprature": 1})
    assert caught.value.param == "temprature"


@pytest.mark.parametrize(("key", "value"), [("background", "purple"), ("service_tier", "gold")])
def test_check_refuses_a_wrong_one_where_it_stands(tmp_path: Path, key: str, value: str) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text(
        "version: 1\n"
        "providers: {up: {wire: openai, base_url: 'https://up.example/v1', keys: [k]}}\n"
        "models:\n"
        "  m:\n"
        "    targets: [up/a]\n"
        f"    defaults: {{{key}: {value}}}\n"
    )
    (found,) = [one for one in configuration.load(file).problems if one.code == "E103"]
    assert (found.line, found.column) == (6, 18 + len(key))
    assert key in found.message
