"""Who decides how pictures are shown, and what each client can show."""

from typing import Any

import pytest

from proxy.errors import RequestError
from proxy.fronts.openai.chat import modes

ALL: dict[str, Any] = {
    "body": "parts",
    "header": "images",
    "query": "markdown",
    "suffix": "link",
    "key": "images+link",
    "model": "parts",
    "default": "images",
}
ORDER = list(ALL)


@pytest.mark.parametrize("silent", range(len(ORDER)))
def test_the_first_that_speaks_decides(silent: int) -> None:
    """I-033"""
    speaking = {name: ALL[name] for name in ORDER[silent:]}
    assert modes.choose(**speaking) == ALL[ORDER[silent]]


@pytest.mark.parametrize("source", ORDER)
def test_an_unknown_word_is_refused_wherever_it_is(source: str) -> None:
    """I-033"""
    with pytest.raises(RequestError) as caught:
        modes.choose(**{source: "hologram"})
    assert caught.value.status == 400
    assert caught.value.code == "invalid_value"
    assert "'images+link'" in caught.value.message


@pytest.mark.parametrize("body", [5, ["parts"], {"a": 1}, True])
def test_a_body_value_of_another_type_is_refused(body: Any) -> None:
    with pytest.raises(RequestError):
        modes.choose(body=body)


def test_auto_is_a_decision_too() -> None:
    assert modes.choose(body="auto", header="markdown") == "parts"
    assert modes.choose(header=" Markdown ") == "markdown"
    assert modes.choose(body="", key="link") == "link"


@pytest.mark.parametrize(
    ("user_agent", "mode"),
    [
        (None, "parts"),
        ("curl/8.5.0", "parts"),
        ("OpenAI/Python 3.52.0", "parts"),
        ("AsyncOpenAI/Python 2.54.0", "parts"),
        ("OpenAI/JS 6.49.0", "parts"),
        pytest.param("ai-sdk/openrouter/2.10.0 ai-sdk/provider-utils/4.0.15", "images", id="I-028"),
        ("ai-sdk/openai-compatible/2.0.62 ai-sdk/provider-utils/4.0.40 runtime/node.js/24", "markdown"),
        ("ai/6.0 ai-sdk-openai-compatible/3.0.0 runtime-bun/1.3.9", "markdown"),
        ("ai-sdk/openai/3.0.53 ai-sdk/provider-utils/4.0.40", "markdown"),
        ("ai/6.0.326 ai-sdk/provider-utils/4.0.66 runtime/node.js/v20.20.2", "markdown"),
        ("langchainjs-openai/1.0.0 ((node/v20.20.2; linux; x64))", "markdown"),
        ("pydantic-ai/2.68.0", "markdown"),
        ("Agents/Python 0.24.0", "markdown"),
        ("litellm/1.83.0", "images"),
        ("Mozilla/5.0 (X11) AppleWebKit/537.36 CherryStudio/1.7.0 Electron/38.0", "images"),
        ("Mozilla/5.0 (X11) LobeChat/1.0", "images"),
    ],
)
def test_auto_goes_by_what_the_client_can_show(user_agent: str | None, mode: str) -> None:
    assert modes.choose(user_agent=user_agent) == mode
    assert modes.choose(default="auto", user_agent=user_agent) == mode


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("nano@parts", ("nano", "parts")),
        ("google/x@images+link", ("google/x", "images+link")),
        ("nano@auto", ("nano", "auto")),
        ("claude@20240620", ("claude@20240620", None)),
        ("a@b@link", ("a@b", "link")),
        ("@parts", ("@parts", None)),
        ("nano", ("nano", None)),
    ],
)
def test_a_mode_may_hang_on_the_models_name(model: str, expected: tuple[str, str | None]) -> None:
    assert modes.split_model_suffix(model) == expected
