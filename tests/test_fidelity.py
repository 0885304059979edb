"""Carried, mapped, or named: whatever a client asks for, at every wire. There is no fourth."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest

from proxy.routing.attempts import Candidate
from proxy.serve.bridge import to_chat, to_image
from proxy.serve.speakers import speaker_of
from proxy.types import (
    AnswerFormat,
    AudioOptions,
    BuiltinTool,
    CallPart,
    ChatRequest,
    Foreign,
    FunctionTool,
    ImageOptions,
    ImageRequest,
    MediaPart,
    Message,
    ResultPart,
    Slice,
    TextPart,
    Thinking,
    ThoughtPart,
    ToolChoice,
    left_out,
)
from proxy.wires.declared import DeclaredWire
from proxy.wires.gemini import GeminiWire
from proxy.wires.openai import OpenAIChatWire
from tests.declared import JPEG, PNG
from tests.fidelity import Wish, candidates, lost

FUNCTION = FunctionTool("weather", parameters={"type": "object", "properties": {"city": {"type": "string"}}})
OTHER = FunctionTool("clock")
PICTURE = Slice(PNG.encode())
SOUND = Slice(b64encode(b"RIFF____WAVEfmt "))
PDF = Slice(b64encode(b"%PDF-1.4 "))
HI = Message("user", (TextPart("Hi"),))


def said(*parts: Any, role: Any = "user", **more: Any) -> Mapping[str, Any]:
    """The fields of a request that ends with these parts."""
    return {"messages": (Message(role, parts, 0, **more), replace(HI, index=1))}


def asks(*parts: Any, **more: Any) -> Mapping[str, Any]:
    """The fields of a request in which the user says `Hi` and these parts at last."""
    return {"messages": (Message("user", (TextPart("Hi"), *parts), **more),)}


def picture(**more: Any) -> MediaPart:
    return MediaPart("image", **{"data": PICTURE, "mime": "image/png", "where": WHERE, **more})


def tool(**more: Any) -> Mapping[str, Any]:
    return {"tools": (replace(FUNCTION, **more),)}


def called(*more: Any, **of_call: Any) -> Mapping[str, Any]:
    """A call and its result in the history."""
    call = {"id": "c1", "name": "weather", "arguments": {"city": "Bonn"}, **of_call}
    result = more[0] if more else ResultPart(call["id"], None, (TextPart("12 degrees"),))
    return {
        "messages": (
            Message("user", (TextPart("Warm?"),), 0),
            Message("assistant", (CallPart(**call), CallPart("c2", "clock", {})), 1),
            Message("user", (result,), 2),
            replace(HI, index=3),
        )
    }


def result(**more: Any) -> ResultPart:
    return ResultPart(**{"call_id": "c1", "name": None, "parts": (TextPart("12 degrees"),), **more})


# A result that went to the second of two calls.
OF_CLOCK = ('"name": "clock", "response": {"output"', '"tool_call_id": "c2"')
# 16:9 as vendors take it.
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
WHERE = "messages[0].content[1].image_url.url"
OF_PART = ("messages.parts", "messages.content.image_url", "references")

# What each attribute is asked for by. `None` stands for what no wire shall carry, with the reason beside it.
ANSWER = Message("assistant", (TextPart("4"),), 1)

MARKS = {"cache_control": {"type": "e77"}}
MARKED = {"foreign": Foreign("openai", {}, marks=("messages[0].content[0].cache_control",))}

CHAT: dict[str, Wish | None] = {
    "ChatRequest.model": None,  # the target was chosen by it, and has its own name
    "ChatRequest.messages": Wish(asks(TextPart("Rosebud")), ("Rosebud",)),
    "ChatRequest.stream": None,  # whatever the wire does, the front makes a stream of it
    "ChatRequest.max_tokens": Wish({"max_tokens": 321}, ("321",)),
    "ChatRequest.temperature": Wish({"temperature": 0.61}, ("0.61",)),
    "ChatRequest.top_p": Wish({"top_p": 0.62}, ("0.62",)),
    "ChatRequest.top_k": Wish({"top_k": 63}, ("63",)),
    "ChatRequest.n": Wish({"n": 3}, ("calls", '"n": 3', '"candidateCount": 3', '"path"')),
    "ChatRequest.stop": Wish({"stop": ("halt!",)}, ("halt!",)),
    "ChatRequest.seed": Wish({"seed": 4711}, ("4711",)),
    "ChatRequest.presence_penalty": Wish({"presence_penalty": 0.64}, ("0.64",)),
    "ChatRequest.frequency_penalty": Wish({"frequency_penalty": 0.65}, ("0.65",)),
    "ChatRequest.logprobs": Wish({"logprobs": True}, ('ogprobs": true',)),
    "ChatRequest.top_logprobs": Wish(
        {"logprobs": True, "top_logprobs": 7}, ('ogprobs": 7',), {"logprobs": True}
    ),
    "ChatRequest.answer_format": Wish(
        {"answer_format": AnswerFormat("json_object")}, ("application/json", "json_object", "JSON object")
    ),
    "ChatRequest.tools": Wish({"tools": (FUNCTION,)}, ('"weather"',)),
    "ChatRequest.tool_choice": Wish(
        {"tools": (FUNCTION,), "tool_choice": ToolChoice("none")},
        ('"NONE"', '"none"'),
        {"tools": (FUNCTION,)},
        ("tool_choice", "tools"),
        ('"weather"',),  # not declared, where that is the only way to forbid it
    ),
    "ChatRequest.parallel_calls": Wish(
        {"tools": (FUNCTION,), "parallel_calls": False},
        ('"parallel_tool_calls": false', "calls read: 1"),
        {"tools": (FUNCTION,)},
    ),
    "ChatRequest.thinking": Wish({"thinking": Thinking("high")}, ('"high"', '"HIGH"', "24576")),
    "ChatRequest.modalities": Wish({"modalities": ("image", "audio")}, ('"audio"',)),
    "ChatRequest.audio": Wish({"audio": AudioOptions("Kore")}, ("Kore",)),
    "ChatRequest.image": Wish({"image": ImageOptions(aspect_ratio="16:9")}, WIDE),
    "ChatRequest.safety_settings": Wish(
        {"safety_settings": [{"category": "HARM_A", "threshold": "OFF"}]}, ("HARM_A",)
    ),
    "ChatRequest.cached_content": Wish({"cached_content": "cachedContents/77"}, ("cachedContents/77",)),
    "ChatRequest.service_tier": Wish({"service_tier": "flex"}, ('"flex"',)),
    "ChatRequest.store": Wish({"store": True}, ('"store": true',)),
    "ChatRequest.metadata": Wish({"metadata": {"team": "blue"}}, ("blue",)),
    "ChatRequest.user": Wish({"user": "ann-77"}, ("ann-77",)),
    "ChatRequest.native": Wish(
        {"native": {"mediaResolution": "MEDIA_RESOLUTION_LOW"}}, ("MEDIA_RESOLUTION_LOW",)
    ),
    "ChatRequest.foreign": Wish(
        {"foreign": Foreign("openai", {"min_p": 0.071})}, ("0.071",), named=("foreign",)
    ),
    "Message.role": Wish(said(TextPart("Be brief"), role="system"), ("Be brief",), {"messages": (HI,)}),
    "Message.parts": Wish(
        said(TextPart("Hello"), role="assistant"), ("Hello",), {"messages": (HI,)}, ("messages",)
    ),
    "Message.index": None,  # our own note
    "Message.name": Wish(asks(name="Ann77"), ("Ann77",), asks(), ("messages.name",)),
    "Message.extra": None,  # what a vendor told of its own answer, sent back to it
    "Message.signed": Wish(
        {"messages": (HI, replace(ANSWER, parts=(TextPart("4", "U0lH"),), signed=True), HI)},
        ("U0lH",),
        {"messages": (HI, ANSWER, HI)},
        ("messages.signed", "messages"),
    ),
    "Message.audio": Wish(
        {"messages": (HI, replace(ANSWER, audio="audio_77"), HI)},
        ("audio_77",),
        {"messages": (HI, ANSWER, HI)},
        ("messages.audio",),
    ),
    "TextPart.text": Wish(asks(TextPart("Rosebud")), ("Rosebud",), asks()),
    "TextPart.signature": None,  # of the vendor that gave it; see test_signatures.py
    "TextPart.marks": Wish({**asks(TextPart("Hi", marks=MARKS)), **MARKED}, ("e77",), asks(), ("foreign",)),
    "TextPart.refusal": None,  # it is text for every wire but the one with a word for it
    "MediaPart.kind": Wish(
        asks(MediaPart("audio", SOUND, mime="audio/wav", where="messages[0].content[1].input_audio.data")),
        ("audio/wav", "input_audio"),
        asks(),
        ("messages.parts", "messages.content"),
    ),
    "MediaPart.data": Wish(asks(picture()), (PNG, "{upload 1}"), asks(), OF_PART),
    "MediaPart.url": Wish(
        asks(picture(data=None, url="https://example.com/77.png")),
        ("https://example.com/77.png",),
        asks(),
        OF_PART,
    ),
    "MediaPart.file_id": Wish(
        asks(picture(data=None, file_id="files/77", where="messages[0].content[1].file_id")),
        ("files/77",),
        asks(),
        ("messages.content.file_id", "messages.parts", "references"),
    ),
    "MediaPart.mime": Wish(
        asks(MediaPart("file", PDF, mime="application/pdf", where="messages[0].content[1].file.file_data")),
        ("application/pdf",),
        asks(),
        ("messages.parts", "messages.content"),
    ),
    "MediaPart.filename": None,  # a file's name is no part of what is asked; it stands in for a type
    "MediaPart.detail": Wish(
        asks(picture(detail="high")), ('"high"', "MEDIA_RESOLUTION_HIGH"), asks(picture()), OF_PART
    ),
    "MediaPart.video": Wish(
        asks(
            MediaPart(
                "video", PICTURE, mime="video/mp4", video={"fps": 7.5}, where="messages[0].video_url.url"
            )
        ),
        ("7.5",),
        asks(MediaPart("video", PICTURE, mime="video/mp4", where="messages[0].video_url.url")),
        ("messages.parts", "messages.video_url"),
    ),
    "MediaPart.signature": None,
    "MediaPart.where": None,  # our own note
    "MediaPart.marks": Wish(
        {**asks(picture(marks=MARKS)), **MARKED}, ("e77",), asks(picture()), ("foreign", "references")
    ),
    "ThoughtPart.text": Wish(
        {"messages": (HI, replace(ANSWER, parts=(ThoughtPart("2+2"), TextPart("4"))), HI)},
        ("2+2",),
        {"messages": (HI, ANSWER, HI)},
        ("messages.parts", "messages"),
    ),
    "ThoughtPart.signature": None,
    "ThoughtPart.where": None,  # our own note
    "ThoughtPart.spare": None,  # says that nobody misses it
    "CallPart.id": Wish(called(id="call_77"), ("call_77", "12 degrees"), {"messages": (HI,)}, ("messages",)),
    "CallPart.name": Wish(called(name="forecast"), ("forecast",), called(), ("messages",)),
    "CallPart.arguments": Wish(called(arguments={"city": "Ulm"}), ("Ulm",), called(), ("messages",)),
    "CallPart.signature": None,
    "CallPart.marks": Wish({**called(marks=MARKS), **MARKED}, ("e77",), called(), ("foreign",)),
    "CallPart.where": None,  # our own note
    "ResultPart.call_id": Wish(called(result(call_id="c2")), OF_CLOCK, called(), ("messages",)),
    "ResultPart.name": Wish(called(result(call_id=None, name="clock")), OF_CLOCK, called(), ("messages",)),
    "ResultPart.parts": Wish(
        called(result(parts=(TextPart("Rosebud"),))), ("Rosebud",), called(), ("messages",)
    ),
    "ResultPart.failed": Wish(
        called(result(failed=True)), ('"error": "12 degrees"',), called(), ("messages",)
    ),
    "ResultPart.marks": Wish({**called(result(marks=MARKS)), **MARKED}, ("e77",), called(), ("foreign",)),
    "FunctionTool.name": Wish(tool(name="forecast"), ('"forecast"',), tool(), ("tools",)),
    "FunctionTool.description": Wish(tool(description="Rosebud"), ("Rosebud",), tool(), ("tools",)),
    "FunctionTool.parameters": Wish(tool(), ('"city"',), tool(parameters=None), ("tools",)),
    "FunctionTool.marks": Wish({**tool(marks=MARKS), **MARKED}, ("e77",), tool(), ("foreign",)),
    "FunctionTool.strict": Wish(
        tool(strict=True), ('"strict": true', "VALIDATED"), tool(), ("tools.strict", "tool_choice")
    ),
    "BuiltinTool.kind": Wish({"tools": (BuiltinTool("web_search"),)}, ("googleSearch", "web_search_options")),
    "BuiltinTool.options": Wish(
        {"tools": (BuiltinTool("web_search", {"search_context_size": "high"}),)},
        ('"high"',),
        {"tools": (BuiltinTool("web_search"),)},
        ("tools.web_search.search_context_size",),
    ),
    "BuiltinTool.native": Wish(
        {"tools": (BuiltinTool("web_search", {"time_range_filter": {"startTime": "2077"}}, native=True),)},
        ("2077",),
        {"tools": (BuiltinTool("web_search", native=True),)},
        ("tools.web_search.time_range_filter",),
    ),
    "ToolChoice.mode": Wish(
        {"tools": (FUNCTION,), "tool_choice": ToolChoice("required")},
        ('"ANY"', '"required"'),
        {"tools": (FUNCTION,)},
        ("tool_choice",),
    ),
    "ToolChoice.names": Wish(
        {"tools": (FUNCTION, OTHER), "tool_choice": ToolChoice("required", ("weather",))},
        ('["weather"]', '"function": {"name": "weather"}'),
        {"tools": (FUNCTION, OTHER), "tool_choice": ToolChoice("required")},
        ("tool_choice",),
    ),
    "AnswerFormat.kind": Wish(
        {"answer_format": AnswerFormat("json_schema", {"type": "object", "title": "T"}, "t")},
        ("json_schema", "application/json", "JSON Schema"),
    ),
    "AnswerFormat.schema": Wish(
        {
            "answer_format": AnswerFormat(
                "json_schema", {"type": "object", "properties": {"rosebud": {}}}, "t"
            )
        },
        ("rosebud",),
        named=("answer_format.schema",),
    ),
    "AnswerFormat.name": Wish(
        {"answer_format": AnswerFormat("json_schema", {"type": "object"}, "rosebud")},
        ("rosebud",),
        {"answer_format": AnswerFormat("json_schema", {"type": "object"})},
        ("answer_format.name",),
    ),
    "AnswerFormat.description": Wish(
        {"answer_format": AnswerFormat("json_schema", {"type": "object"}, "t", "Rosebud")},
        ("Rosebud",),
        {"answer_format": AnswerFormat("json_schema", {"type": "object"}, "t")},
        ("answer_format.description",),
    ),
    "AnswerFormat.strict": Wish(
        {"answer_format": AnswerFormat("json_schema", {"type": "object"}, "t", strict=True)},
        ('"strict": true', "application/json", "JSON Schema"),  # Gemini always keeps to the schema
        {},
        ("answer_format.strict",),
    ),
    "Thinking.effort": Wish({"thinking": Thinking("minimal")}, ('"minimal"', '"MINIMAL"', "1024", '"low"')),
    "Thinking.budget": Wish({"thinking": Thinking(budget=777)}, ("777", '"low"', '"LOW"')),
    "Thinking.summary": Wish(
        {"thinking": Thinking(summary=True)},
        ('houghts": true', 'include_thoughts": true'),
        named=("thinking.summary",),
    ),
    "ImageOptions.size": Wish(
        {"image": ImageOptions(size="1536x1024")},
        ("1536", "3:2", "1440*960", "1280*720", "4:3", "1792"),
        named=("image.size",),
    ),
    "ImageOptions.aspect_ratio": Wish(
        {"image": ImageOptions(aspect_ratio="16:9")},
        WIDE,
        named=("image.aspect_ratio",),
    ),
    "ImageOptions.image_size": Wish(
        {"image": ImageOptions(image_size="2K")},
        ("2K", "2k", "2048", "1440*1440"),
        named=("image.image_size",),
    ),
    "ImageOptions.quality": Wish(
        {"image": ImageOptions(quality="high")},
        ("high", '"hd"', "2K", "4K", "2048"),
        named=("image.quality",),
    ),
    "AudioOptions.voice": Wish(
        {"audio": AudioOptions("Kore")}, ("Kore",), {"audio": AudioOptions()}, ("audio.voice",)
    ),
    "AudioOptions.format": Wish(
        {"audio": AudioOptions("Kore", "mp3")},
        ("mp3",),
        {"audio": AudioOptions("Kore", "wav")},
        ("audio.format",),
    ),
    "Foreign.dialect": Wish(
        {"foreign": Foreign("anthropic", {"container": "c77"})}, (), named=("foreign.container",)
    ),
    "Foreign.fields": Wish(
        {"foreign": Foreign("openai", {"logit_bias": {"77": -5}})},
        ('"77": -5',),
        named=("foreign.logit_bias",),
    ),
    "Foreign.silent": None,  # it says that nothing is asked
    "Foreign.marks": None,  # the places of what stands on parts and tools
    "Foreign.whole": None,  # it says all that the request says, in the client's words
}

PICTURES: dict[str, Wish | None] = {
    "ImageRequest.model": None,
    "ImageRequest.prompt": Wish({"prompt": "Rosebud"}, ("Rosebud",)),
    "ImageRequest.n": Wish(
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
    "ImageRequest.image": Wish(
        {"image": ImageOptions(size="1536x1024")}, ("1536", "3:2", "1440*960", "1280*720", "4:3", "1792")
    ),
    "ImageRequest.references": Wish(
        {"references": (picture(url="https://example.com/77.png"),)},
        ("https://example.com/77.png", PNG, "{upload 1}"),
    ),
    "ImageRequest.mask": Wish(
        {"references": (picture(),), "mask": MediaPart("image", Slice(JPEG.encode()), mime="image/jpeg")},
        (JPEG,),
        {"references": (picture(),)},
        ("mask", "references"),
    ),
    "ImageRequest.seed": Wish({"seed": 4711}, ("4711",)),
    "ImageRequest.negative_prompt": Wish({"negative_prompt": "blur77"}, ("blur77",)),
    "ImageRequest.background": Wish({"background": "transparent"}, ("transparent",)),
    "ImageRequest.output_format": Wish({"output_format": "webp"}, ("webp", "WEBP")),
    "ImageRequest.output_compression": Wish(
        {"output_format": "jpeg", "output_compression": 77}, ("77",), {"output_format": "jpeg"}
    ),
    "ImageRequest.moderation": Wish({"moderation": "low"}, ('"low"', "safety", "tolerance", "false")),
    "ImageRequest.style": Wish({"style": "vivid77"}, ("vivid77",)),
    "ImageRequest.stream": None,
    "ImageRequest.partial_images": Wish({"partial_images": 2}, ("2",)),
    "ImageRequest.user": Wish({"user": "ann-77"}, ("ann-77",)),
    "ImageRequest.foreign": Wish({"foreign": Foreign("openai", {"input_fidelity": "high77"})}, ("high77",)),
    **{name: wish for name, wish in CHAT.items() if name.startswith(("ImageOptions.", "Foreign."))},
}

KINDS = (
    ChatRequest, Message, TextPart, MediaPart, ThoughtPart, CallPart, ResultPart, FunctionTool, BuiltinTool,
    ToolChoice, AnswerFormat, Thinking, ImageOptions, AudioOptions, Foreign,
)  # fmt: skip


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Candidate]:
    return candidates(tmp_path_factory.mktemp("fidelity"))


@pytest.mark.parametrize(
    ("kinds", "wishes"),
    [(KINDS, CHAT), ((ImageRequest, ImageOptions, Foreign), PICTURES)],
    ids=["chat", "pictures"],
)
def test_every_attribute_has_a_wish(kinds: tuple[type, ...], wishes: dict[str, Wish | None]) -> None:
    known = {f"{kind.__name__}.{each.name}" for kind in kinds for each in fields(kind)}
    missing, stale = known - wishes.keys(), wishes.keys() - known
    assert not missing, f"give {sorted(missing)} a telling value in CHAT or PICTURES of this file"
    assert not stale, f"there is no {sorted(stale)} any more"


@pytest.mark.parametrize("name", [name for name, wish in CHAT.items() if wish is not None])
def test_an_attribute_of_a_chat_is_carried_or_named(name: str, targets: dict[str, Candidate]) -> None:
    wish = CHAT[name]
    assert wish is not None
    base = ChatRequest("client-model", (HI,))
    paths = wish.named or _paths(name, wish)
    asked, unasked = replace(base, **wish.fields), replace(base, **wish.without)
    found = {where: lost(one, asked, unasked, wish, paths) for where, one in targets.items()}
    assert {where: why for where, why in found.items() if why is not None} == {}


@pytest.mark.parametrize("name", [name for name, wish in PICTURES.items() if wish is not None])
def test_an_attribute_of_a_picture_is_carried_or_named(name: str, targets: dict[str, Candidate]) -> None:
    wish = PICTURES[name]
    assert wish is not None
    base = ImageRequest("client-model", "A cat")
    paths = wish.named or _paths(name, wish)
    asked, unasked = replace(base, **wish.fields), replace(base, **wish.without)
    found = {where: lost(one, asked, unasked, wish, paths) for where, one in targets.items()}
    assert {where: why for where, why in found.items() if why is not None} == {}


def _paths(name: str, wish: Wish) -> tuple[str, ...]:
    """Its own path, or for a part of an attribute that of the attribute."""
    kind, _, attribute = name.partition(".")
    if kind in ("ChatRequest", "ImageRequest"):
        return (attribute,)
    return tuple(set(wish.fields) - set(wish.without))


def test_what_a_wire_does_not_declare_is_named_by_the_path() -> None:
    """Foreign fields that ask for nothing, and values that are the default, are nobody's loss."""
    foreign = Foreign("openai", {"min_p": 0.1, "verbosity": "medium"}, frozenset({"verbosity"}))
    request = ChatRequest("m", (HI,), temperature=0.0, n=1, stop=(), user="", metadata={}, foreign=foreign)
    assert left_out(request, frozenset({"model", "messages"})) == ("temperature", "foreign.min_p")
    assert left_out(request, frozenset({"model", "messages", "foreign"})) == ("temperature",)
    assert left_out(request, frozenset(each.name for each in fields(ChatRequest))) == ()


@pytest.mark.parametrize(
    ("kind", "wire"),
    [(ChatRequest, GeminiWire), (ChatRequest, OpenAIChatWire), (ImageRequest, DeclaredWire)],
)
def test_a_wire_declares_only_what_there_is(kind: type, wire: Any) -> None:
    assert wire.carries <= {each.name for each in fields(kind)}


def conversation() -> ChatRequest:
    """An older picture, a newer one, and a wish for the newest."""
    return ChatRequest(
        "m",
        (
            Message("system", (TextPart("Be brief"),), 0),
            Message("user", (TextPart("A cat"),), 1),
            Message("assistant", (picture(where="messages[2].content[0]"),), 2),
            Message("user", (TextPart("A dog"),), 3),
            Message("assistant", (TextPart("Here"), picture(where="messages[4].content[1]")), 4),
            Message(
                "user",
                (TextPart("Make it red"), MediaPart("audio", SOUND, where="messages[5].content[1]")),
                5,
            ),
        ),
    )


def test_a_picture_made_of_a_conversation_names_the_turns_it_is_not_made_of(
    targets: dict[str, Candidate],
) -> None:
    """The last wish, the last picture and the system's words are what it is made of."""
    speaker = speaker_of(targets["fal"], conversation())
    assert speaker.unread() == (
        *("messages[1]", "messages[2]", "messages[3]"),
        *("messages[4].parts", "messages[5].content[1]"),
    )
    drawn = to_image(conversation())
    assert (drawn.prompt, len(drawn.references)) == ("Be brief\n\nMake it red", 1)


@pytest.mark.parametrize(
    ("modalities", "unread"),
    [
        ((), ()),
        (("image",), ()),
        (("text", "image"), ()),
        (("text",), ("modalities",)),
        (("image", "audio"), ("modalities",)),
    ],
)
def test_a_wish_for_another_answer_than_a_picture_is_named(
    targets: dict[str, Candidate], modalities: tuple[str, ...], unread: tuple[str, ...]
) -> None:
    asked = ChatRequest("m", (Message("user", (TextPart("A cat"),), 0),), modalities=modalities)
    assert speaker_of(targets["fal"], asked).unread() == unread


def test_a_turn_without_words_adds_nothing_to_the_prompt() -> None:
    empty = Message("system", (TextPart(""),), 0)
    said = Message("user", (TextPart("A cat"), TextPart(""), TextPart("at night")), 1)
    assert to_image(ChatRequest("m", (empty, said))).prompt == "A cat\nat night"


def test_a_picture_asked_of_a_chat_leaves_nothing_behind_that_the_chat_would_carry(
    targets: dict[str, Candidate],
) -> None:
    request = ImageRequest("m", "A cat", seed=4, user="ann", style="vivid", references=(picture(),))
    gemini, relay = targets["google"], targets["openai-gemini-2.5-flash-image"]
    assert speaker_of(gemini, request).unread() == ("style", "user")  # Gemini takes no user
    assert speaker_of(relay, request).unread() == ("style",)
    assert to_chat(request).seed == 4
