"""The shipped file answers the names of OpenAI's and Anthropic's models that programs have built in, with no
setting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.picture_vendors import GOOD
from tests.served import serving

ROOT = Path(__file__).resolve().parents[1]
KEY = "sk-test-shipped"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    text = (ROOT / "providers.yaml").read_text(encoding="utf-8")
    folder = tmp_path_factory.mktemp("shipped")
    with (
        serving(folder, text, "--simulate", "--port", "0", environment={"DRAGOMAN_KEY": KEY}) as served,
        openai.OpenAI(base_url=f"{served.base_url}/v1", api_key=KEY, max_retries=0) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("name", "answered_by"),
    [
        ("gpt-3.5-turbo", "gemini-flash"),
        ("gpt-3.5-turbo-0125", "gemini-flash"),
        ("gpt-35-turbo", "gemini-flash"),
        ("gpt-4", "gemini-pro"),
        ("gpt-4-turbo", "gemini-pro"),
        ("gpt-4o", "gemini-pro"),
        ("gpt-4o-2024-08-06", "gemini-pro"),
        ("gpt-4o-mini", "gemini-flash"),
        ("gpt-4o-mini-2024-07-18", "gemini-flash"),
        ("gpt-4.1", "gemini-pro"),
        ("gpt-4.1-mini", "gemini-flash"),
        ("gpt-4.1-nano", "gemini-flash-lite"),
        ("gpt-5", "gemini-pro"),
        ("gpt-5-mini", "gemini-flash"),
        ("gpt-5-nano-2025-08-07", "gemini-flash-lite"),
        ("gpt-5.1-codex-mini", "gemini-flash"),
        ("gpt-5.2-2025-12-11", "gemini-pro"),
        ("gpt-5-chat-latest", "gemini-pro"),
        ("chatgpt-4o-latest", "gemini-pro"),
        ("o1", "gemini-pro"),
        ("o3", "gemini-pro"),
        ("o3-mini", "gemini-flash"),
        ("o4-mini", "gemini-flash"),
        # N-054: what the Gemini CLI 0.61 asks for by itself: its router, its chat, its search, its counts.
        ("gemini-3.5-flash-lite", "gemini-3.5-flash-lite"),
        ("gemini-3.8-flash", "gemini-3.8-flash"),
        ("gemini-3-flash-preview", "gemini-flash"),
        ("gemini-3.1-pro-preview", "gemini-pro"),
    ],
)
def test_names_that_clients_have_built_in_are_answered(
    shipped: openai.OpenAI, name: str, answered_by: str
) -> None:
    raw = shipped.chat.completions.with_raw_response.create(
        model=name, messages=[{"role": "user", "content": "Hi"}]
    )
    assert raw.headers.get("x-proxy-model", name) == answered_by
    reply = raw.parse()
    assert reply.model == name
    assert reply.choices[0].message.content


@pytest.mark.parametrize(
    ("name", "answered_by"),
    [
        ("claude-opus-4-8", "gemini-pro"),
        ("claude-opus-4-1-20250805", "gemini-pro"),
        ("claude-sonnet-5", "gemini-flash"),
        ("claude-3-7-sonnet-latest", "gemini-flash"),
        ("claude-haiku-4-5-20251001", "gemini-flash-lite"),
        ("claude-3-5-haiku-20241022", "gemini-flash-lite"),
        ("claude-fable-5-2", "gemini-pro"),
    ],
)
def test_anthropics_names_are_answered(shipped: openai.OpenAI, name: str, answered_by: str) -> None:
    """M-050: Claude Code runs without any setting of models."""
    raw = shipped.chat.completions.with_raw_response.create(
        model=name, messages=[{"role": "user", "content": "Hi"}]
    )
    assert raw.headers["x-proxy-model"] == answered_by


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gpt-image-1", {"quality": "high", "size": "1536x1024", "output_format": "jpeg"}),
        ("gpt-image-1-mini", {}),
        ("gpt-image-1.5", {"background": "auto", "moderation": "low"}),
        ("chatgpt-image-latest", {}),
        ("dall-e-3", {"quality": "hd", "size": "1792x1024", "style": "vivid", "response_format": "b64_json"}),
        ("dall-e-2", {"size": "512x512", "response_format": "b64_json"}),
    ],
)
def test_openais_names_for_pictures_are_answered(
    shipped: openai.OpenAI, name: str, options: dict[str, Any]
) -> None:
    raw = shipped.images.with_raw_response.generate(model=name, prompt="A fox", **options)
    assert raw.headers["x-proxy-model"] == "nano-banana"
    assert (raw.parse().data or [])[0].b64_json


@pytest.mark.parametrize(
    ("name", "answered_by", "size"),
    [
        ("text-embedding-3-small", "gemini-embedding-1536", 1536),
        ("text-embedding-ada-002", "gemini-embedding-1536", 1536),
        ("text-embedding-3-large", "gemini-embedding", 3072),
    ],
)
def test_openais_names_for_embeddings_are_answered(
    shipped: openai.OpenAI, name: str, answered_by: str, size: int
) -> None:
    """With as many numbers as the tables have room for that were made for those models."""
    raw = shipped.embeddings.with_raw_response.create(model=name, input="A fox")
    assert raw.headers["x-proxy-model"] == answered_by
    assert len(raw.parse().data[0].embedding) == size


@pytest.mark.parametrize(
    ("name", "answered_by"),
    [("tts-1", "gemini-tts-lite"), ("tts-1-hd", "gemini-tts"), ("gpt-4o-mini-tts", "gemini-tts")],
)
def test_openais_names_for_speech_are_answered(shipped: openai.OpenAI, name: str, answered_by: str) -> None:
    raw = shipped.audio.speech.with_raw_response.create(
        model=name, voice="nova", input="Hello", response_format="wav"
    )
    assert raw.headers["x-proxy-model"] == answered_by
    assert raw.content[:4] == b"RIFF"


@pytest.mark.parametrize("name", ["whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"])
def test_openais_names_for_transcripts_are_answered(shipped: openai.OpenAI, name: str) -> None:
    raw = shipped.audio.transcriptions.with_raw_response.create(
        model=name, file=("a.mp3", b"ID3" + b"\0" * 64), response_format="srt"
    )
    assert raw.headers["x-proxy-model"] == "gemini-transcribe"
    assert " --> " in raw.text


def test_streams_and_edits_are_answered_too(shipped: openai.OpenAI) -> None:
    chunks = shipped.chat.completions.create(
        model="gpt-5-mini", messages=[{"role": "user", "content": "Hi"}], stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    edited = shipped.images.edit(model="gpt-image-1", prompt="Red", image=("x.png", GOOD, "image/png"))
    assert (edited.data or [])[0].b64_json


def test_a_name_that_the_shipped_file_has_itself_is_its_own(shipped: openai.OpenAI) -> None:
    raw = shipped.images.with_raw_response.generate(model="gpt-image-2", prompt="A fox")
    assert "x-proxy-model" not in raw.headers
    with pytest.raises(openai.NotFoundError):
        shipped.chat.completions.create(model="gpt-oss-20b", messages=[{"role": "user", "content": "Hi"}])
