"""What chat UIs ask around a conversation is answered by a model that writes; Open WebUI's whole turn."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.fronts.clients import chores
from proxy.fronts.notes import Notes
from proxy.fronts.openai.messages import messages as reading
from tests import picture_vendors
from tests.gateway import FILE, KEY, Gateway, open_gateway

LITE = "  lite: {aliases: [gpt-4.1-nano], targets: [google/gemini-3.1-flash-lite]}\n"
WITH_CHORES = FILE.replace("defaults:\n", "defaults:\n  chores: lite\n").replace(
    "models:\n", "models:\n" + LITE
)
PICTURES, LITE_MODEL = "gemini-3-pro-image", "gemini-3.1-flash-lite"
OPEN_WEBUI = "Python/3.11 aiohttp/3.14.5"

TITLE = "### Task:\nGenerate a concise title summarizing the chat history.\n### Guidelines:\n- Keep it short."
TAGS = (
    "### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history, along with more.\n"
)
FOLLOW_UPS = "### Task:\nPredict 3-5 useful messages this user might naturally send next to advance.\n"


def user(text: Any) -> Any:
    return {"role": "user", "content": text}


TALK = user("user: a cat")


def system(text: str) -> Any:
    return {"role": "system", "content": text}


def chat(
    gateway: Gateway, messages: list[Any], model: str = "nano-banana-pro", **fields: Any
) -> httpx.Response:
    return gateway.http.post(
        f"{gateway.base_url}/v1/chat/completions",
        headers={"authorization": f"Bearer {KEY}", "user-agent": OPEN_WEBUI},
        json={"model": model, "messages": messages, **fields},
    )


def asked(gateway: Gateway) -> list[str]:
    """The upstream's models, in the order in which they were asked."""
    return [name for sent in gateway.sent() for name in re.findall(r"models/([^:]+):", sent.path)]


# --- which request is one


@pytest.mark.parametrize(
    ("messages", "chore"),
    [
        ([user(TITLE)], "title"),
        ([user(TAGS)], "tags"),
        ([user(FOLLOW_UPS)], "follow_ups"),
        ([user("### Task:\nSuggest 3-5 relevant follow-up questions or prompts that")], "follow_ups"),
        ([user("### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing")], "title"),
        ([user("### Task:\nAnalyze the chat history to determine the necessity of generating")], "queries"),
        ([user("### Task:\nYou are an autocompletion system. Continue the text in")], "autocomplete"),
        ([user("\n  " + TITLE)], "title"),
        ([user([{"type": "text", "text": TITLE}])], "title"),
        ([system("You are kind."), user(TITLE)], "title"),
        ([user("Provide a concise, 5-word-or-less title for the conversation, using title")], "title"),
        ([system("You are a professional conversation summarizer. Generate a concise title"), TALK], "title"),
        ([system("You are a title generator. You output ONLY a thread title. Nothing else."), TALK], "title"),
        ([system("You are now acting as the managed memory extraction subagent for an AI"), TALK], "memory"),
        ([system("You are an AI conversation titles assistant who specializes in x"), user("x")], "title"),
        (
            [
                user("Draw a cat"),
                {"role": "assistant", "content": "Here"},
                user("Please generate a four to five word title summarizing our conversation without any"),
            ],
            "title",
        ),
    ],
)  # fmt: skip
def test_a_chore_is_told_by_how_its_prompt_begins(messages: list[Any], chore: str) -> None:
    assert chores.of(parsed(messages)) == chore


@pytest.mark.parametrize(
    "messages",
    [
        [user("Draw a cat")],
        [user("### Task:\nDraw a concise title page")],
        [user("Please write: " + TITLE)],
        [user(TITLE.lower())],
        [user("")],
        [user(TITLE), {"role": "assistant", "content": '{"title": "Cat"}'}, user("Draw it")],
        [user("Draw a cat"), {"role": "assistant", "content": TITLE}],
        [user([{"type": "text", "text": TITLE}, {"type": "image_url", "image_url": {"url": "https://a.b/c.png"}}])],
        [system("You draw."), user("Draw what follows: " + TAGS)],
    ],
)  # fmt: skip
def test_what_only_speaks_of_one_is_none(messages: list[Any]) -> None:
    assert chores.of(parsed(messages)) is None


def parsed(messages: list[Any]) -> Any:
    return reading.parse(messages, Notes(), history_images=2, is_stored=None)


def test_pictures_quoted_in_a_chore_are_left_out_and_nothing_else() -> None:
    data = "data:image/png;base64," + "iVBORw0KGgo" * 50_000 + "=="
    quoted = f"{TITLE}\nUSER: a cat\nASSISTANT: ![image]({data})\nUSER: why ;base64, here?"
    (message,) = chores.without_data(parsed([user(quoted)]))
    assert [part.text for part in message.parts] == [quoted.replace(data, "")]  # type: ignore[union-attr]


# --- who answers


@pytest.fixture(scope="module")
def chores_gateway(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with open_gateway(tmp_path_factory.mktemp("chores"), WITH_CHORES) as opened:
        yield opened


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_chore_is_answered_by_the_model_that_the_file_names(chores_gateway: Gateway, stream: bool) -> None:
    gateway = chores_gateway
    reply = chat(gateway, [user(TITLE)], stream=stream)
    assert reply.status_code == 200
    assert reply.headers["x-proxy-chore"] == "title; model=lite"
    assert '"model":"nano-banana-pro"' in reply.text
    assert "image" not in reply.text
    assert asked(gateway)[-1] == LITE_MODEL


def test_any_other_request_is_answered_by_its_own_model(chores_gateway: Gateway) -> None:
    reply = chat(chores_gateway, [user("Draw a cat")])
    assert "x-proxy-chore" not in reply.headers
    assert asked(chores_gateway)[-1] == PICTURES


@pytest.mark.parametrize(
    ("model", "upstream", "named"),
    [
        ("gemini-flash", "gemini-3-flash-preview", None),
        ("google/gemini-2.5-flash", "gemini-2.5-flash", None),
        ("google/gemini-3-pro-image", LITE_MODEL, "title; model=lite"),
    ],
    ids=["a model that writes", "a target that writes", "a target that draws"],
)
def test_only_models_that_draw_hand_their_chores_on(
    chores_gateway: Gateway, model: str, upstream: str, named: str | None
) -> None:
    reply = chat(chores_gateway, [user(TITLE)], model)
    assert reply.headers.get("x-proxy-chore") == named
    assert asked(chores_gateway)[-1] == upstream


def test_a_file_that_names_nobody_changes_nothing(gateway: Gateway) -> None:
    reply = chat(gateway, [user(TITLE)])
    assert "x-proxy-chore" not in reply.headers
    assert asked(gateway)[-1] == PICTURES


@pytest.mark.parametrize(
    ("own", "upstream"),
    [
        ("gemini-2.5-flash", "gemini-2.5-flash"),
        ("google/gemini-2.5-flash-lite", "gemini-2.5-flash-lite"),
        ("gpt-4.1-nano", LITE_MODEL),
        ("nano-banana-pro", PICTURES),
    ],
    ids=["a model", "a target", "an alias", "itself"],
)
def test_a_models_own_word_comes_first(tmp_path: Path, own: str, upstream: str) -> None:
    file = WITH_CHORES.replace("[google/gemini-3-pro-image]", f"[google/gemini-3-pro-image], chores: {own}")
    with open_gateway(tmp_path, file) as gateway:
        assert chat(gateway, [user(TITLE)]).status_code == 200
        assert asked(gateway) == [upstream]


def test_a_key_that_may_only_draw_has_its_titles_too(tmp_path: Path) -> None:
    file = WITH_CHORES.replace(
        "{name: app, key: env:TEST_KEY}", "{name: app, key: env:TEST_KEY, models: [nano*]}"
    )
    with open_gateway(tmp_path, file) as gateway:
        assert chat(gateway, [user(TITLE)]).headers["x-proxy-chore"] == "title; model=lite"
        assert chat(gateway, [user(TITLE)], "lite").status_code == 404


def test_where_nobody_is_there_to_answer_no_picture_is_bought(tmp_path: Path) -> None:
    off = '  lab: {wire: gemini, base_url: "http://SIMULATORS/gemini/v1beta", keys: [env:NOT_SET]}\nmodels:\n'
    file = WITH_CHORES.replace("models:\n", off).replace("google/gemini-3.1-flash-lite", "lab/x")
    file = file.replace("models:\n", "models:\n  lite: {targets: [lab/x]}\n") if "lite:" not in file else file
    with open_gateway(tmp_path, file) as gateway:
        reply = chat(gateway, [user(TITLE)])
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "model_unavailable")
        assert "'lite'" in reply.json()["error"]["message"]
        assert gateway.sent() == []


def test_the_defaults_of_who_answers_hold_and_not_those_of_who_draws(tmp_path: Path) -> None:
    file = WITH_CHORES.replace("flash-lite]}", "flash-lite], defaults: {temperature: 0.25}}").replace(
        "[google/gemini-3-pro-image]}", "[google/gemini-3-pro-image], defaults: {image_size: 4K, top_p: 0.5}}"
    )
    with open_gateway(tmp_path, file) as gateway:
        assert chat(gateway, [user(TITLE)]).status_code == 200
        config = gateway.sent()[0].body["generationConfig"]
    assert (config["temperature"], config.get("topP"), config.get("imageConfig")) == (0.25, None, None)


def test_a_vendor_of_jobs_gets_no_job_for_a_title(tmp_path: Path) -> None:
    models = "models:\n" + LITE + "  slow: {targets: [grsai/nano-banana-pro]}\n"
    head = picture_vendors.HEAD.replace("heartbeat: 60s", "heartbeat: 60s, chores: lite")
    with open_gateway(tmp_path, head + picture_vendors.providers("grsai") + models) as gateway:
        reply = chat(gateway, [user(TITLE)], "slow")
        assert reply.headers["x-proxy-chore"] == "title; model=lite"
        assert [sent.vendor for sent in gateway.sent()] == ["google"]


# --- Open WebUI 0.12.4, as it was recorded: the title is asked for first, then the question, then the rest


@pytest.mark.parametrize("public", [True, False], ids=["public_url", "no public_url"])
def test_open_webui_buys_one_picture_for_one_question_and_edits_it_in_the_next(
    tmp_path: Path, public: bool
) -> None:
    server = f'server: {{state: "sqlite:{tmp_path}/state/x.db", public_url: "https://ai.example.com"}}\n'
    tools = [
        {
            "type": "function",
            "function": {
                "name": "get_current_timestamp",
                "description": "Get the current Unix timestamp in seconds.",
                "parameters": {"properties": {}, "type": "object"},
            },
        }
    ]
    question = user("Draw a red cat")
    with open_gateway(tmp_path, WITH_CHORES + (server if public else "")) as gateway:
        title = chat(gateway, [user(TITLE + "\nUSER: Draw a red cat")], stream=False, max_tokens=1000)
        first = streamed(chat(gateway, [question], stream=True, tools=tools))
        follow_ups = chat(
            gateway, [user(FOLLOW_UPS + "USER: Draw a red cat\nASSISTANT: " + first)], stream=False
        )
        tags = chat(gateway, [user(TAGS + "USER: Draw a red cat\nASSISTANT: " + first)], stream=False)
        history = [question, {"role": "assistant", "content": first}, user("now make it blue")]
        second = streamed(chat(gateway, history, stream=True, tools=tools))
        models, sent = asked(gateway), gateway.sent()

    named = [reply.headers["x-proxy-chore"] for reply in (title, follow_ups, tags)]
    assert named == ["title; model=lite", "follow_ups; model=lite", "tags; model=lite"]
    assert all(isinstance(reply.json()["choices"][0]["message"]["content"], str) for reply in (title, tags))
    assert models == [LITE_MODEL, PICTURES, LITE_MODEL, LITE_MODEL, PICTURES]
    address = (
        r"!\[image\]\(https://ai\.example\.com/v1/files/" if public else r"!\[image\]\(data:image/png;base64,"
    )
    assert len(re.findall(address, first)) == len(re.findall(address, second)) == 1
    assert "iVBORw0KGgo" not in json.dumps([sent[index].body for index in (2, 3)])
    drawn = [part for part in sent[4].body["contents"][1]["parts"] if "inlineData" in part]
    assert len(drawn) == 1
    assert drawn[0]["thoughtSignature"]
    assert "/v1/files/" not in json.dumps(sent[4].body)
    assert re.search(r"I received: image/png 1024x1024 pixels", second)


def streamed(reply: httpx.Response) -> str:
    """The text of a stream, after a look that nothing but text came."""
    assert reply.status_code == 200
    frames = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: {")]
    deltas = [json.loads(frame)["choices"][0]["delta"] for frame in frames]
    assert not any("images" in delta for delta in deltas)
    return "".join(delta.get("content") or "" for delta in deltas)


def test_the_shipped_file_names_who_answers_chores(tmp_path: Path) -> None:
    from proxy import config

    loaded = config.load(Path(__file__).resolve().parents[1] / "providers.yaml", {"DRAGOMAN_KEY": "sk-x"})
    assert loaded.config is not None
    assert loaded.config.defaults.chores == "gemini-flash-lite"
    assert "gemini-flash-lite" in loaded.config.models
