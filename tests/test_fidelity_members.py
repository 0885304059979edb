"""Every documented field, and every member of its objects, through the fronts and each wire: what a client
wrote is carried, or the reply names it as the client wrote it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from proxy.errors import RequestError
from proxy.fronts.base import Asked, Front, Parsed
from proxy.fronts.openai.chat.front import ChatFront
from proxy.fronts.openai.fields import parameters, tools
from proxy.fronts.openai.images import fields as image_fields
from proxy.fronts.openai.images.front import ImagesFront
from proxy.fronts.openai.messages import content, messages, signed
from proxy.keys import ClientKey
from proxy.routing.attempts import Candidate
from proxy.serve.speakers import speaker_of
from tests.declared import JPEG, PNG
from tests.fidelity import candidates, sent

PICTURE = f"data:image/png;base64,{PNG}"
IMAGE = {"type": "image_url", "image_url": {"url": PICTURE}}
SOUND = base64.b64encode(b"RIFF____WAVEfmt ").decode()
PDF = base64.b64encode(b"%PDF-1.4 ").decode()
HI = {"role": "user", "content": "Hi"}


@dataclass(frozen=True, slots=True)
class Member:
    """Fields of a body with a member that asks for something, and what stands there without it.

    Carried: of `shows` one word stands more often in what goes out, or the reply takes another shape.
    `named` are other spellings under which it may be reported. `met` are targets that do so in any case.
    """

    fields: Mapping[str, Any]
    shows: tuple[str, ...] = ()
    without: Mapping[str, Any] = field(default_factory=dict)
    named: tuple[str, ...] = ()
    met: tuple[str, ...] = ()


def part(**members: Any) -> Mapping[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, members]}]}


def turn(**members: Any) -> Mapping[str, Any]:
    """An assistant's turn before the user's."""
    return {"messages": [HI, {"role": "assistant", "content": "Hello", **members}, HI]}


def call(**members: Any) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}, **members}


def result(**members: Any) -> Mapping[str, Any]:
    said = {"role": "tool", "tool_call_id": "c1", "content": "12 degrees", **members}
    return {"messages": [HI, {"role": "assistant", "content": None, "tool_calls": [call()]}, said, HI]}


def function(**members: Any) -> Mapping[str, Any]:
    own = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    return {"tools": [{"type": "function", "function": {**own, **members}}]}


def schema(**members: Any) -> Mapping[str, Any]:
    own = {"name": "t", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
    return {"response_format": {"type": "json_schema", "json_schema": {**own, **members}}}


WEATHER = function()
THINKS_NEVER = (
    "google", "google-gemini-2.0-flash", "google-gemini-2.5-flash-preview-tts", "google-gemma-3-27b-it",
)  # fmt: skip
LOW, HIGH = ('"low"', '"LOW"', "1024"), ('"high"', '"HIGH"', "24576")
THOUGHT = ('houghts": true', 'include_thoughts": true')
WIDE = (
    "1280*720",
    "16:9",
    "1280x720",
    "1360x768",
    "1536x1024",
    "1792x1024",
    "2720*1536",
    "1360*768",
    "2730x1536",
    '"height": 720',
    '"height": 768',
)
UPLOADED = "{upload 1}"  # what stands for a picture that goes ahead of its order
TIER = ("2K", "2k", "2048", "1440*1440")
JSON_MODE = ("application/json", "json_object", "json_schema", "JSON")

CHAT: dict[str, Member] = {
    "temperature": Member({"temperature": 0.61}, ("0.61",)),
    "top_p": Member({"top_p": 0.62}, ("0.62",)),
    "top_k": Member({"top_k": 63}, ("63",)),
    "n": Member({"n": 3}, ('"n": 3', '"candidateCount": 3', '"path"')),
    "stop": Member({"stop": ["halt!"]}, ("halt!",)),
    "seed": Member({"seed": 4711}, ("4711",)),
    "presence_penalty": Member({"presence_penalty": 0.64}, ("0.64",)),
    "frequency_penalty": Member({"frequency_penalty": 0.65}, ("0.65",)),
    "logprobs": Member({"logprobs": True}, ('ogprobs": true',)),
    "top_logprobs": Member({"logprobs": True, "top_logprobs": 7}, ('ogprobs": 7',), {"logprobs": True}),
    "parallel_tool_calls": Member(
        {**WEATHER, "parallel_tool_calls": False}, ('"parallel_tool_calls": false', "calls read: 1"), WEATHER
    ),
    "modalities": Member({"modalities": ["image", "audio"]}, ('"audio"',)),
    "safety_settings": Member({"safety_settings": [{"category": "HARM_A", "threshold": "OFF"}]}, ("HARM_A",)),
    "cached_content": Member({"cached_content": "cachedContents/77"}, ("cachedContents/77",)),
    "service_tier": Member({"service_tier": "flex"}, ('"flex"',)),
    "store": Member({"store": True}, ('"store": true',)),
    "user": Member({"user": "ann-77"}, ("ann-77",)),
    "logit_bias": Member({"logit_bias": {"77": -5}}, ('"77": -5',)),
    "moderation": Member({"moderation": {"mode": "m77"}}, ("m77",)),
    "prediction": Member({"prediction": {"type": "content", "content": "p77"}}, ("p77",)),
    "prompt_cache_key": Member({"prompt_cache_key": "k77"}, ("k77",)),
    "prompt_cache_options": Member({"prompt_cache_options": {"mode": "o77"}}, ("o77",)),
    "prompt_cache_retention": Member({"prompt_cache_retention": "24h77"}, ("24h77",)),
    "safety_identifier": Member({"safety_identifier": "s77"}, ("s77",)),
    "verbosity": Member({"verbosity": "low"}, ('"verbosity": "low"',)),
    "tools": Member(WEATHER, ('"weather"',)),
    "tools.function.name": Member(function(name="forecast"), ('"forecast"',), WEATHER),
    "tools.function.description": Member(function(description="Rosebud"), ("Rosebud",), WEATHER),
    "tools.function.parameters": Member(WEATHER, ('"city"',), function(parameters=None)),
    "tools.function.strict": Member(
        function(strict=True), ('"strict": true', "VALIDATED"), WEATHER, ("tool_choice",)
    ),
    "tool_choice": Member({**WEATHER, "tool_choice": "required"}, ('"ANY"', '"required"'), WEATHER),
    "tool_choice.function.name": Member(
        {**WEATHER, "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        ('["weather"]', '"function": {"name": "weather"}'),
        {**WEATHER, "tool_choice": "required"},
        ("tools",),
    ),
    "functions": Member({"functions": [{"name": "f77"}]}, ("f77",)),
    "function_call": Member(
        {"functions": [{"name": "f77"}], "function_call": {"name": "f77"}},
        ('"ANY"', '"name": "f77"'),
        {"functions": [{"name": "f77"}]},
    ),
    "web_search_options": Member({"web_search_options": {}}, ("googleSearch", "web_search_options")),
    "web_search_options.search_context_size": Member(
        {"web_search_options": {"search_context_size": "high"}}, ('"high"',), {"web_search_options": {}}
    ),
    "web_search_options.user_location": Member(
        {"web_search_options": {"user_location": {"type": "approximate", "approximate": {"city": "Ulm"}}}},
        ("Ulm",),
        {"web_search_options": {}},
    ),
    "max_tokens": Member({"max_tokens": 321}, ("321",)),
    "max_completion_tokens": Member({"max_completion_tokens": 322}, ("322",)),
    "stream_options": Member(
        {"stream": True, "stream_options": {"include_usage": True}}, (), {"stream": True}
    ),
    "stream_options.include_usage": Member({"stream_options": {"include_usage": True}}),
    "stream_options.include_obfuscation": Member({"stream_options": {"include_obfuscation": True}}),
    "usage": Member({"usage": {"include": True}}),
    "usage.include": Member({"usage": {"include": True}}),
    "metadata": Member({"metadata": {"team": "blue"}}, ("blue",)),
    "image_output": Member({"image_output": "markdown"}, (), {"image_output": "parts"}),
    "response_format": Member({"response_format": {"type": "json_object"}}, JSON_MODE),
    "response_format.schema": Member(
        {
            "response_format": {
                "type": "json_object",
                "schema": {"type": "object", "properties": {"rosebud": {}}},
            }
        },
        ("rosebud",),
        {"response_format": {"type": "json_object"}},
    ),
    "response_format.json_schema": Member(schema(), JSON_MODE),
    "response_format.json_schema.name": Member(
        schema(name="rosebud"), ("rosebud",), schema(), ("response_format.name",)
    ),
    "response_format.json_schema.description": Member(schema(description="Rosebud"), ("Rosebud",), schema()),
    "response_format.json_schema.schema": Member(
        schema(schema={"type": "object", "properties": {"rosebud": {"type": "string"}}}), ("rosebud",)
    ),
    "response_format.json_schema.strict": Member(
        schema(strict=True), ('"strict": true', "application/json", "JSON")
    ),
    "audio": Member({"audio": {"voice": "Kore", "format": "wav"}}, ("Kore",)),
    "audio.voice": Member({"audio": {"voice": "Kore"}}, ("Kore",), {"audio": {"format": "wav"}}),
    "audio.voice.id": Member({"audio": {"voice": {"id": "Kore"}}}, ("Kore",), {"audio": {"format": "wav"}}),
    "audio.format": Member({"audio": {"format": "pcm16"}}, ("pcm16",), {"audio": {"format": "wav"}}),
    "reasoning_effort": Member({"reasoning_effort": "high"}, HIGH),
    "include_reasoning": Member({"include_reasoning": True}, THOUGHT),
    "reasoning": Member({"reasoning": {"effort": "high"}}, HIGH),
    "reasoning.effort": Member({"reasoning": {"effort": "high"}}, HIGH),
    "reasoning.max_tokens": Member({"reasoning": {"max_tokens": 777}}, ("777", *LOW)),
    "reasoning.summary": Member({"reasoning": {"summary": "auto"}}, THOUGHT),
    "reasoning.generate_summary": Member({"reasoning": {"generate_summary": "auto"}}, THOUGHT),
    "reasoning.exclude": Member(
        {"reasoning": {"effort": "high", "exclude": True}},
        ('houghts": false', "withheld"),
        {"reasoning": {"effort": "high"}},
    ),
    "reasoning.enabled": Member(
        {"reasoning": {"enabled": True}}, ('"medium"', '"MEDIUM"', "8192", '"high"', '"HIGH"', '"low"')
    ),
    "thinking": Member({"thinking": {"type": "enabled", "budget_tokens": 777}}, ("777", *LOW)),
    "thinking.type": Member(
        {"thinking": {"type": "disabled"}},
        ('"none"', '"thinkingBudget": 0', '"minimal"', '"low"', "128"),
        met=THINKS_NEVER,
    ),
    "thinking.budget_tokens": Member(
        {"thinking": {"type": "enabled", "budget_tokens": 777}},
        ("777", *LOW),
        {"thinking": {"type": "enabled"}},
    ),
    "thinking.display": Member(
        {"thinking": {"type": "enabled", "budget_tokens": 777, "display": "omitted"}},
        ('houghts": false', "withheld"),
        {"thinking": {"type": "enabled", "budget_tokens": 777}},
    ),
    "size": Member({"size": "1536x1024"}, ("1536", "3:2", "1440*960", "1280*720", "4:3", "1792")),
    "aspect_ratio": Member({"aspect_ratio": "16:9"}, WIDE),
    "aspectRatio": Member({"aspectRatio": "16:9"}, WIDE),
    "ratio": Member({"ratio": "16:9"}, WIDE),
    "image_size": Member({"image_size": "2K"}, TIER),
    "imageSize": Member({"imageSize": "2K"}, TIER),
    "resolution": Member({"resolution": "2K"}, TIER),
    "quality": Member({"quality": "high"}, ("high", '"hd"')),
    "image_config": Member({"image_config": {"aspect_ratio": "16:9"}}, WIDE),
    "image_config.aspect_ratio": Member({"image_config": {"aspect_ratio": "16:9"}}, WIDE),
    "image_config.image_size": Member({"image_config": {"image_size": "2K"}}, TIER),
    "google": Member({"google": {"media_resolution": "MEDIA_RESOLUTION_LOW"}}, ("MEDIA_RESOLUTION_LOW",)),
    "messages.content": Member({"messages": [{"role": "user", "content": "Rosebud"}]}, ("Rosebud",)),
    "messages.name": Member({"messages": [{**HI, "name": "Ann77"}]}, ("Ann77",)),
    "messages.role": Member({"messages": [{"role": "developer", "content": "Be brief"}, HI]}, ("Be brief",)),
    "messages.audio": Member(turn(audio={"id": "audio_77"}), ("audio_77",), turn()),
    "messages.reasoning_details": Member(
        turn(reasoning_details=[{"type": "reasoning.text", "text": "t77"}]), ("t77",), turn(), ("messages",)
    ),
    "messages.thinking_blocks": Member(
        turn(thinking_blocks=[{"type": "thinking", "thinking": "t77"}]), ("t77",), turn(), ("messages",)
    ),
    "messages.extra_content": Member(
        turn(extra_content={"google": {"thought_signature": "U0lH"}}), ("U0lH",), turn(), ("messages",)
    ),
    "messages.images.extra_content": Member(
        turn(images=[{**IMAGE, "extra_content": {"google": {"thought_signature": "U0lH"}}}]),
        ("U0lH",),
        turn(images=[IMAGE]),
        ("messages.extra_content", "messages.images.image_url.url"),
    ),
    "messages.tool_calls.extra_content": Member(
        turn(tool_calls=[call(extra_content={"google": {"thought_signature": "U0lH"}})]),
        ("U0lH",),
        turn(tool_calls=[call()]),
        ("messages.extra_content", "messages"),
    ),
    "messages.images": Member(turn(images=[IMAGE]), (PNG,), turn(), ("messages",)),
    "messages.refusal": Member(turn(content=None, refusal="No77"), ("No77",), {}, ("messages",)),
    "messages.tool_calls": Member(turn(content=None, tool_calls=[call()]), ("weather",), {}, ("messages",)),
    "messages.tool_calls.id": Member(result(), ("12 degrees",), {}, ("messages",)),
    "messages.tool_calls.function.name": Member(result(), ("weather",), {}, ("messages",)),
    "messages.tool_calls.function.arguments": Member(
        turn(tool_calls=[call(function={"name": "weather", "arguments": '{"city": "Ulm"}'})]),
        ("Ulm",),
        turn(tool_calls=[call()]),
        ("messages",),
    ),
    "messages.function_call": Member(
        turn(content=None, function_call={"name": "f77", "arguments": "{}"}), ("f77",), {}, ("messages",)
    ),
    "messages.tool_call_id": Member(result(), ("12 degrees",), {}, ("messages",)),
    "messages.content.text": Member(part(type="text", text="Rosebud"), ("Rosebud",)),
    "messages.content.refusal": Member(
        {"messages": [HI, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No77"}]}, HI]},
        ("No77",),
        {},
        ("messages",),
    ),
    "messages.content.image_url": Member(
        part(type="image_url", image_url={"url": PICTURE}), (PNG, UPLOADED), {}, ("messages",)
    ),
    "messages.content.image_url.detail": Member(
        part(type="image_url", image_url={"url": PICTURE, "detail": "high"}),
        ('"high"', "MEDIA_RESOLUTION_HIGH"),
        part(type="image_url", image_url={"url": PICTURE}),
        ("messages",),
    ),
    "messages.content.input_audio": Member(
        part(type="input_audio", input_audio={"data": SOUND, "format": "wav"}), (SOUND,)
    ),
    "messages.content.input_audio.format": Member(
        part(type="input_audio", input_audio={"data": SOUND, "format": "wav"}),
        ("wav",),
        {},
        ("messages.content.input_audio.data",),
    ),
    "messages.content.file": Member(
        part(type="file", file={"file_data": f"data:application/pdf;base64,{PDF}"}), (PDF,)
    ),
    "messages.content.file.file_id": Member(part(type="file", file={"file_id": "files/77"}), ("files/77",)),
    "messages.content.video_url": Member(
        part(type="video_url", video_url={"url": f"data:video/mp4;base64,{SOUND}"}), (SOUND,)
    ),
    "messages.content.video_url.fps": Member(
        part(type="video_url", video_url={"url": f"data:video/mp4;base64,{SOUND}", "fps": 7.5}),
        ("7.5",),
        part(type="video_url", video_url={"url": f"data:video/mp4;base64,{SOUND}"}),
        ("messages.content.video_url.url",),
    ),
    "messages.content.text.prompt_cache_breakpoint": Member(
        part(type="text", text="Hi", prompt_cache_breakpoint={"mode": "b77"}),
        ("b77",),
        part(type="text", text="Hi"),
        ("messages.content.prompt_cache_breakpoint",),
    ),
    "messages.content.text.cache_control": Member(
        part(type="text", text="Hi", cache_control={"type": "b78"}),
        ("b78",),
        part(type="text", text="Hi"),
        ("messages.content.cache_control",),
    ),
    "tools.cache_control": Member(
        {"tools": [{"type": "function", "function": {"name": "f"}, "cache_control": {"type": "b79"}}]},
        ("b79",),
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
    ),
    # Documented by others, and nobody reads it.
    "messages.cache_control": Member({"messages": [{**HI, "cache_control": {"type": "e77"}}]}, ("e77",)),
}

IMAGES: dict[str, Member] = {
    "prompt": Member({"prompt": "Rosebud"}, ("Rosebud",)),
    "n": Member(
        {"n": 3},
        (
            '"n": 3',
            '_images": 3',
            '"numberResults": 3',
            '"imgCount": 3',
            '_num": 3',
            '"batch_size": 3',
            '"path"',
        ),
    ),
    "seed": Member({"seed": 4711}, ("4711",)),
    "negative_prompt": Member({"negative_prompt": "blur77"}, ("blur77",)),
    "output_format": Member({"output_format": "webp"}, ("webp", "WEBP")),
    "output_compression": Member(
        {"output_format": "jpeg", "output_compression": 77}, ("77",), {"output_format": "jpeg"}
    ),
    "moderation": Member({"moderation": "low"}, ('"low"', "safety", "tolerance", "false")),
    "style": Member({"style": "vivid77"}, ("vivid77",)),
    "partial_images": Member({"partial_images": 2}, ("2",)),
    "response_format": Member({"response_format": "url"}),
    "callback_url": Member({"callback_url": "https://example.com/done"}),
    "complexity": Member({"complexity": "high"}, ("high",)),
    "frame_count": Member({"frame_count": 77}, ("77",)),
    "frame_duration_ms": Member({"frame_duration_ms": 777}, ("777",)),
    "input_fidelity": Member({"input_fidelity": "high"}, ("high",)),
    "svg": Member({"svg": {"model": "v77"}}, ("v77",)),
    "mask": Member(
        {"image": PICTURE, "mask": f"data:image/jpeg;base64,{JPEG}"}, (JPEG,), {"image": PICTURE}, ("image",)
    ),
    "background": Member({"background": "transparent"}, ("transparent",)),
    "user": Member({"user": "ann-77"}, ("ann-77",)),
    "safety_identifier": Member({"safety_identifier": "ann-78"}, ("ann-78",)),
    "image": Member({"image": PICTURE}, (PNG, UPLOADED)),
    "images": Member({"images": [{"image_url": PICTURE}]}, (PNG, UPLOADED)),
    "images.file_id": Member({"images": [{"file_id": "file_77"}]}, ("file_77",)),
    "image_urls": Member({"image_urls": [PICTURE]}, (PNG, UPLOADED)),
    "image_url": Member({"image_url": PICTURE}, (PNG, UPLOADED)),
    "google": Member({"google": {"media_resolution": "MEDIA_RESOLUTION_LOW"}}, ("MEDIA_RESOLUTION_LOW",)),
    **{name: CHAT[name] for name in sorted(parameters.IMAGE_FIELDS)},
    "image_config.aspect_ratio": CHAT["image_config.aspect_ratio"],
}

# What stands in the tables of the fronts, as paths.
CHAT_KNOWN = {
    *(parameters.SIMPLE.keys() | parameters.DOCUMENTED.keys() | parameters.GROUPS.keys()),
    *(f"audio.{name}" for name in parameters._AUDIO_MEMBERS),
    *(f"response_format.json_schema.{name}" for name in parameters.SCHEMA_MEMBERS),
    *(f"stream_options.{name}" for name in parameters._STREAM_MEMBERS),
    *(f"usage.{name}" for name in parameters._USAGE_MEMBERS),
    *(f"reasoning.{name}" for name in parameters._EFFORT_MEMBERS),
    *(f"thinking.{name}" for name in parameters._BUDGET_MEMBERS),
    *(f"tools.function.{name}" for name in tools._FUNCTION_MEMBERS),
    *(f"messages.{name}" for name in messages._ASSISTANT_MEMBERS | messages._RESULT_MEMBERS),
    *(f"messages.content.{name}" for name in content.DOCUMENTED_PARTS),
} - {"model", "stream"}  # fmt: skip
# Of an answer that was given: it is told, not asked.
CHAT_TOLD = {
    f"messages.{name}"
    for name in (
        *(signed.MEMBERS - {"extra_content"}), "annotations", "native_finish_reason", "index",
        "reasoning", "reasoning_content",
    )
}  # fmt: skip
IMAGES_KNOWN = {
    *(image_fields.SIMPLE.keys() | image_fields.SHAPING.keys() | image_fields.DOCUMENTED.keys()),
    *image_fields.ELSEWHERE,
} - {"model", "stream"}


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Candidate]:
    return candidates(tmp_path_factory.mktemp("members"))


@pytest.mark.parametrize(
    ("known", "members"), [(CHAT_KNOWN - CHAT_TOLD, CHAT), (IMAGES_KNOWN, IMAGES)], ids=["chat", "images"]
)
def test_every_field_that_a_front_reads_is_asked_for_here(
    known: set[str], members: dict[str, Member]
) -> None:
    missing = known - members.keys()
    assert not missing, f"give {sorted(missing)} a telling value in CHAT or IMAGES of this file"


@pytest.mark.parametrize("path", CHAT)
def test_a_field_of_a_chat_is_carried_or_named(path: str, targets: dict[str, Candidate]) -> None:
    body = {"model": "m", "messages": [HI]}
    assert lost_of(ChatFront(), path, CHAT[path], body, targets) == {}


@pytest.mark.parametrize("path", IMAGES)
def test_a_field_of_a_picture_request_is_carried_or_named(path: str, targets: dict[str, Candidate]) -> None:
    body = {"model": "m", "prompt": "A cat"}
    assert lost_of(ImagesFront("generation"), path, IMAGES[path], body, targets) == {}


def lost_of(
    front: Front, path: str, member: Member, body: dict[str, Any], targets: dict[str, Candidate]
) -> dict[str, str]:
    """At which targets nobody would notice that it is gone."""
    paths = (path, *member.named)
    try:
        asked = front.parse({**body, **member.fields}, ASKED)
    except RequestError as error:
        return {} if _is_named(paths, [error.param or ""]) else {"front": str(error)}
    unasked = front.parse({**body, **member.without}, ASKED)
    if _shape(asked) != _shape(unasked) or _is_named(paths, asked.dropped):
        return {}
    found = {
        name: _lost_at(front, paths, member, asked, unasked, one)
        for name, one in targets.items()
        if name not in member.met
    }
    return {name: why for name, why in found.items() if why}


def _lost_at(
    front: Front,
    paths: tuple[str, ...],
    member: Member,
    asked: Parsed[Any, Any],
    unasked: Parsed[Any, Any],
    candidate: Candidate,
) -> str:
    speaker = speaker_of(candidate, asked.request)
    refusal = speaker.unable()
    try:
        if refusal is not None:
            raise refusal
        call = speaker.preview()
    except RequestError as error:
        names = [error.param] if error.param else front.spelled([error.attribute or ""], asked)
        return "" if _is_named(paths, names) else f"refused for {names}: {error}"
    dropped = front.spelled((*call.dropped, *speaker.unread()), asked)
    if _is_named(paths, dropped):
        return ""
    before, after = sent(candidate, unasked.request), sent(candidate, asked.request)
    if any(after.count(word) > before.count(word) for word in member.shows):
        return ""
    return f"dropped {dropped}, sent {after[:600]}"


def _shape(parsed: Parsed[Any, Any]) -> Any:
    shape = replace(parsed.shape, wrote=()) if hasattr(parsed.shape, "wrote") else parsed.shape
    return shape, parsed.as_task, parsed.callback_url


def _is_named(paths: tuple[str, ...], names: Any) -> bool:
    """By its own path, by one in it, or with all of the object it stands in."""
    plain = [re.sub(r"\[\d*\]", "", name) for name in names]
    return any(
        name == path or name.startswith(f"{path}.") or path.startswith(f"{name}.")
        for path in paths
        for name in plain
        if name
    )


ASKED = Asked("req_1", ClientKey("app"))
