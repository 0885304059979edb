"""What becomes of one wish of a client at one target: carried, named as dropped, refused, or lost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from proxy import config as configuration
from proxy.errors import RequestError
from proxy.keys import ClientKey
from proxy.routing.attempts import Candidate
from proxy.routing.routes import Routes
from proxy.serve.speakers import Request, speaker_of
from proxy.types import Call, ChatRequest, Event, Reasoning, ToolCall
from tests import picture_vendors

_TWO_CALLS: Any = {
    "candidates": [
        {"content": {"parts": [{"functionCall": {"name": "f", "args": {}}}] * 2}, "finishReason": "STOP"}
    ]
}
_THOUGHT: Any = {"choices": [{"delta": {"reasoning_content": "Hm."}}]}
_OPENAI = {
    "openai": "{}",
    "openai-drop": "{unknown: drop, image_fields: drop, assistant_images: drop}",
    "openai-google": "{extra_body: google, image_fields: google, history_reasoning: reasoning}",
    "openai-root": "{image_fields: root, n: one, assistant_images: parts}",
}
_MODELS = {
    "google": (
        "gemini-3-flash-preview", "gemini-3.1-pro-preview", "gemini-2.5-flash", "gemini-2.0-flash",
        "gemma-3-27b-it", "gemini-2.5-flash-preview-tts",
    ),
    "vertex": ("gemini-3-flash-preview",),
    "jlike.text": ("gemini-3-flash-preview",),
    **dict.fromkeys(_OPENAI, ("llama", "gemini-2.5-flash-image")),
    "openai": ("llama", "gemini-2.5-flash-image", "gpt-image-1", "gpt-image-2", "dall-e-2", "dall-e-3",
               "grok-2-image", "grok-imagine-image"),
    "openai.image": ("llama",),
}  # fmt: skip
FILE = picture_vendors.FILE.replace(
    "models:\n",
    "  vertex: {wire: gemini, base_url: 'http://SIMULATORS/v', keys: [env:VENDOR_KEY], "
    "private: true, options: {kind: vertex}}\n"
    + "".join(
        f"  {name}: {{wire: openai, base_url: 'http://SIMULATORS/o', keys: [env:VENDOR_KEY], "
        f"private: true, options: {options}}}\n"
        for name, options in _OPENAI.items()
    )
    + "models:\n",
    1,
) + "".join(
    f"  {provider}-{model}: {{targets: [{provider}/{model}]}}\n"
    for provider, models in _MODELS.items()
    for model in models
)


def candidates(folder: Path) -> dict[str, Candidate]:
    """Every dialect, with models and options that differ in what they carry, by name."""
    path = folder / "providers.yaml"
    path.write_text(FILE.replace("http://SIMULATORS", "http://127.0.0.1:9"))
    loaded = configuration.load(path, {"TEST_KEY": "k", "VENDOR_KEY": "v"})
    assert loaded.config is not None, [str(problem) for problem in loaded.problems]
    routes = Routes.of(loaded.config, loaded.off)
    return {route.name: route.targets[0] for route in routes.listed(ClientKey("all"))}


@dataclass(frozen=True, slots=True)
class Wish:
    """Fields of a request with the wish, and what stands there without it.

    Of `shows` one word stands more often in what goes out with it, or one of `hides` less often. `named` are
    the paths that may stand for it in `dropped`; without any its own.
    """

    fields: Mapping[str, Any]
    shows: tuple[str, ...]
    without: Mapping[str, Any] = field(default_factory=dict)
    named: tuple[str, ...] = ()
    hides: tuple[str, ...] = ()


def lost(
    candidate: Candidate, asked: Request, unasked: Request, wish: Wish, paths: Iterable[str]
) -> str | None:
    """Why nobody would notice that the wish is gone, None if it is carried, named or refused."""
    speaker = speaker_of(candidate, asked)
    if (refusal := speaker.unable()) is not None:
        return None if _is_named(paths, [refusal.attribute or ""]) else f"refused for {refusal.attribute}"
    try:
        call = speaker.preview()
    except RequestError as error:
        where = error.attribute or error.param or ""
        return None if _is_named(paths, [where]) else f"refused for {where}"
    dropped = [*speaker.unread(), *call.dropped]
    if _is_named(paths, dropped):
        return None
    before, after = sent(candidate, unasked), sent(candidate, asked)
    if any(after.count(word) > before.count(word) for word in wish.shows):
        return None
    if any(after.count(word) < before.count(word) for word in wish.hides):
        return None
    return f"dropped {dropped}, sent {after[:600]}"


def _is_named(paths: Iterable[str], names: Iterable[str]) -> bool:
    """Whether one of the names is one of the paths, or stands above or below it."""
    plain = [re.sub(r"\[\d*\]", "", name) for name in names]
    return any(
        name == path or name.startswith(f"{path}.") or path.startswith(f"{name}.")
        for path in paths
        for name in plain
        if name
    )


def sent(candidate: Candidate, request: Request) -> str:
    """All that goes out, and how the calls are spread and their answers are read."""
    shares = speaker_of(candidate, request).shares()
    calls = [speaker_of(candidate, replace(request, n=share)).preview() for share in shares]
    shown = [
        {"path": one.path, "body": one.body, "headers": dict(one.headers), "files": [
            (file.field, file.filename, file.mime, str(file.data)) for file in one.files
        ]}
        for one in calls
    ]  # fmt: skip
    lines = [json.dumps(one, default=str, ensure_ascii=False) for one in shown]
    read = _read(candidate, request, calls[0], _TWO_CALLS)
    shown_calls = sum(isinstance(event, ToolCall) for event in read)
    shows_thoughts = any(
        isinstance(event, Reasoning) for event in _read(candidate, request, calls[0], _THOUGHT)
    )
    return "\n".join(
        [*lines, f"calls read: {shown_calls}", f"thoughts {'shown' if shows_thoughts else 'withheld'}"]
    )


def _read(candidate: Candidate, request: Request, call: Call, payload: Any) -> list[Event]:
    """What the client is given of an answer."""
    if candidate.chat is None or not isinstance(request, ChatRequest):
        return []
    return list(candidate.chat.reader(request, candidate.target, call).feed(payload))
