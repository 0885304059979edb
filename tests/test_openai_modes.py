"""Who decides how pictures are shown, and what each client can show."""

from typing import Any

import pytest

from proxy.errors import RequestError
from proxy.fronts import image_modes as modes
from proxy.fronts.base import Asked
from proxy.fronts.clients import known
from proxy.fronts.openai.chat.front import ChatFront
from proxy.keys import ClientKey

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
    """None: the client's own habits decide."""
    assert modes.choose(body="auto", header="markdown") is None
    assert modes.choose(header=" Markdown ") == "markdown"
    assert modes.choose(body="", key="link") == "link"
    assert modes.choose() is None


# --- what each client is shown under `auto`

PYTHON = "OpenAI/Python 2.54.0"
SDK = {"user-agent": PYTHON, "x-stainless-lang": "python", "x-stainless-read-timeout": "600"}
LANGCHAIN = {"user-agent": PYTHON, "x-stainless-lang": "python", "x-stainless-raw-response": "true"}


def shown(headers: dict[str, str], *, streamed: bool = False, has_address: bool = False) -> str:
    sent = {name.encode(): value.encode() for name, value in headers.items()}
    asked = Asked("req_1", ClientKey("app"), sent, has_address=has_address)
    return known.of(asked, streamed=streamed).image_mode


@pytest.mark.parametrize(
    ("user_agent", "mode"),
    [
        ("", "parts"),
        ("curl/8.5.0", "parts"),
        ("python-requests/2.34.2", "parts"),
        ("python-httpx/0.28.1", "parts"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/141.0", "parts"),
        ("OpenAI/Python 3.52.0", "images+link"),
        ("AsyncOpenAI/Python 2.54.0", "images+link"),
        ("AsyncAzureOpenAI/Python 2.54.0", "images+link"),
        ("OpenAI/JS 6.49.0", "images+link"),
        ("OpenAI/Go 3.1.0", "images+link"),
        ("OpenAI::Client/Ruby 0.30.0", "images+link"),
        ("OpenAI/2.2.0 (.NET 9.0.4; Linux)", "images+link"),
        pytest.param("ai-sdk/openrouter/2.10.0 ai-sdk/provider-utils/4.0.15", "images", id="I-028"),
        ("ai-sdk/openai-compatible/2.0.62 ai-sdk/provider-utils/4.0.40 runtime/node.js/24", "markdown"),
        ("ai/6.0 ai-sdk-openai-compatible/3.0.0 runtime-bun/1.3.9", "markdown"),
        ("ai-sdk/openai/3.0.53 ai-sdk/provider-utils/4.0.40", "markdown"),
        ("ai/6.0.326 ai-sdk/provider-utils/4.0.66 runtime/node.js/v20.20.2", "markdown"),
        ("langchainjs-openai/1.0.0 ((node/v20.20.2; linux; x64))", "markdown"),
        ("pydantic-ai/2.68.0", "markdown"),
        ("Agents/Python 0.24.0", "markdown"),
        ("Agents/JavaScript 0.4.1", "markdown"),
        ("semantic-kernel-python/1.45.0", "markdown"),
        ("DSPy/3.4.1", "markdown"),
        ("litellm/1.83.0", "images"),
        ("Mozilla/5.0 (X11) AppleWebKit/537.36 CherryStudio/1.7.0 Electron/38.0", "images"),
        ("Mozilla/5.0 (X11) LobeChat/1.0", "images"),
        ("Python/3.11 aiohttp/3.14.5", "markdown"),
        ("Python/3.12 aiohttp/3.9.1", "markdown"),
    ],
)
def test_auto_goes_by_what_the_client_can_show(user_agent: str, mode: str) -> None:
    assert shown({"user-agent": user_agent}) == mode
    assert shown({"user-agent": user_agent}, streamed=True) == mode


@pytest.mark.parametrize("name", ["pydantic-ai/2.68.0", "Agents/Python 0.24.0", "DSPy/3.4.1"])
def test_a_name_says_more_than_the_sdk_below_it(name: str) -> None:
    assert shown({**SDK, "user-agent": name}) == "markdown"
    assert shown({**LANGCHAIN, "user-agent": name}) == "markdown"


def test_an_sdk_that_was_given_another_name_is_still_one() -> None:
    assert shown({**SDK, "user-agent": "my-app/1.0"}) == "images+link"


def test_langchain_keeps_whole_lists_and_of_streams_the_text() -> None:
    assert shown(LANGCHAIN) == "parts"
    assert shown({**LANGCHAIN, "user-agent": "AsyncOpenAI/Python 3.57.0"}) == "parts"
    assert shown(LANGCHAIN, streamed=True) == "images+link"


def test_litellm_asks_as_langchain_does_but_sends_a_timeout() -> None:
    assert shown({**LANGCHAIN, "x-stainless-read-timeout": "600.0"}) == "images+link"


@pytest.mark.parametrize(
    "said", [SDK, {**SDK, "x-stainless-read-timeout": "60.0"}], ids=["sdk", "llama-index"]
)
def test_what_cannot_be_told_from_the_sdk_gets_text_and_parts(said: dict[str, str]) -> None:
    assert shown(said) == shown(said, streamed=True) == "images+link"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_open_webui_gets_an_address_where_its_browser_can_reach_one(streamed: bool) -> None:
    said = {"user-agent": "Python/3.11 aiohttp/3.14.5"}
    assert shown(said, streamed=streamed, has_address=True) == "link"
    assert shown(said, streamed=streamed) == "markdown"


@pytest.mark.parametrize("said", ["", "parts"], ids=["auto", "mode said"])
def test_a_refusal_is_text_for_who_shows_nothing_else(said: str) -> None:
    """But for a structured answer, whose readers look for `refusal` as OpenAI documents it."""

    def wants(agent: str, sort: str | None = None) -> bool:
        sent = {b"user-agent": agent.encode(), b"x-image-output": said.encode()}
        body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
        if sort is not None:
            body["response_format"] = {"type": sort}
        return ChatFront().parse(body, Asked("req_1", ClientKey("app"), sent)).shape.refusal_in_text

    assert wants("Python/3.11 aiohttp/3.14.5")
    assert wants("OpenAI/Python 2.54.0")
    assert wants("OpenAI/Python 2.54.0", "text")
    assert not wants("OpenAI/Python 2.54.0", "json_object")
    assert not wants("curl/8.5.0")


def test_an_endless_name_costs_little_and_is_a_stranger() -> None:
    assert shown({"user-agent": "x" * 60_000 + " OpenAI/Python 2"}) == "parts"


def test_each_row_of_the_table_is_one_that_is_reached() -> None:
    """No row hides behind one before it."""
    agents = [
        "ai-sdk/openrouter/1",
        "ai-sdk/openai-compatible/1",
        "ai-sdk/openai/1",
        "ai/6",
        "langchainjs-openai/1",
        "pydantic-ai/1",
        "agents/python 1",
        "agents/javascript 1",
        "semantic-kernel-python/1",
        "dspy/1",
        "litellm/1",
        "cherrystudio/1",
        "lobechat",
        "python/3 aiohttp/3",
    ]
    said = [known.Said(agent) for agent in agents]
    said += [
        known.Said("node", retry_count=True),
        known.Said("node", promptfoo=True),
        known.Said("openai/python 2", True, True),
        known.Said("x", True),
        known.Said("openai/js 6"),
    ]
    first = [next(row for row in known.CLIENTS if row.fits(one)) for one in said]
    assert first == list(known.CLIENTS)
    assert all(row.seen for row in known.CLIENTS)


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
