"""Messages come back in many shapes: parts, pictures, calls and signatures are found in all of them."""

import base64
from typing import Any

import orjson
import pytest

from proxy.codec import jsonio
from proxy.errors import RequestError
from proxy.fronts import data_url
from proxy.fronts.openai.chat import request as chat_request
from proxy.types import CallPart, MediaPart, Message, Part, ResultPart, Slice, TextPart, ThoughtPart

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) + b"\xff\xef\xbe"
B64 = base64.b64encode(PNG).decode()
URL = f"data:image/png;base64,{B64}"
BIG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 400).decode()


def messages(*items: Any, **options: Any) -> tuple[Message, ...]:
    body = {"model": "m", "messages": list(items)}
    return chat_request.parse(jsonio.loads(orjson.dumps(body)), **options).request.messages


def parts(*content: Any, role: str = "user") -> tuple[Part, ...]:
    return messages({"role": role, "content": list(content)})[0].parts


def refusal(*items: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        messages(*items)
    return caught.value


def picture(where: str, **fields: Any) -> MediaPart:
    return MediaPart("image", Slice(B64.encode()), mime="image/png", where=where, **fields)


IMAGE_URL = "messages[0].content[0].image_url.url"


@pytest.mark.parametrize(
    ("role", "ours"),
    [
        ("system", "system"),
        ("developer", "developer"),
        ("user", "user"),
        ("assistant", "assistant"),
        pytest.param("model", "assistant", id="G-009 model"),
    ],
)
def test_roles(role: str, ours: str) -> None:
    assert messages({"role": role, "content": "x", "name": "n"}) == (
        Message(ours, (TextPart("x"),), 0, "n"),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        pytest.param({"type": "text", "text": "x"}, TextPart("x"), id="text"),
        pytest.param("x", TextPart("x"), id="a bare string"),
        pytest.param({"type": "input_text", "text": "x"}, TextPart("x"), id="input_text"),
        pytest.param({"text": "x"}, TextPart("x"), id="no type"),
        pytest.param(
            {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}},
            TextPart("x", marks={"prompt_cache_breakpoint": {"mode": "explicit"}}),
            id="cache breakpoint",
        ),
        pytest.param(
            {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
            picture(IMAGE_URL, detail="low"),
            id="G-023 data URL",
        ),
        pytest.param(
            {"type": "image_url", "image_url": URL},
            picture("messages[0].content[0].image_url"),
            id="G-029 bare string",
        ),
        pytest.param(
            {"type": "input_image", "image_url": URL, "detail": "original"},
            picture("messages[0].content[0].image_url", detail="original"),
            id="input_image",
        ),
        pytest.param(
            {"type": "input_image", "file_id": "files/7"},
            MediaPart("image", file_id="files/7", where="messages[0].content[0].file_id"),
            id="input_image by id",
        ),
        pytest.param(
            {"type": "image_url", "image_url": {"url": "https://x/a.png"}},
            MediaPart("image", url="https://x/a.png", where=IMAGE_URL),
            id="address",
        ),
        pytest.param(
            {"type": "image_url", "image_url": {"url": "gs://b/a.png"}},
            MediaPart("image", url="gs://b/a.png", where=IMAGE_URL),
            id="gs",
        ),
        pytest.param(
            {"type": "image_url", "image_url": {"url": B64}},
            MediaPart("image", Slice(B64.encode()), where=IMAGE_URL),
            id="bare base64",
        ),
        pytest.param(
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "mp3"}},
            MediaPart(
                "audio",
                Slice(b"UklGRg=="),
                mime="audio/mp3",
                where="messages[0].content[0].input_audio.data",
            ),
            id="G-034 audio",
        ),
        pytest.param(
            {
                "type": "file",
                "file": {"file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.b"},
            },
            MediaPart(
                "file",
                Slice(b"JVBERg=="),
                mime="application/pdf",
                filename="a.b",
                where="messages[0].content[0].file.file_data",
            ),
            id="G-035 file data",
        ),
        pytest.param(
            {"type": "file", "file": {"file_data": "JVBERg==", "filename": "a.PDF"}},
            MediaPart(
                "file",
                Slice(b"JVBERg=="),
                mime="application/pdf",
                filename="a.PDF",
                where="messages[0].content[0].file.file_data",
            ),
            id="file without data URL",
        ),
        pytest.param(
            {
                "type": "input_audio",
                "input_audio": {"data": "data:audio/ogg;base64,UklGRg==", "format": "wav"},
            },
            MediaPart(
                "audio",
                Slice(b"UklGRg=="),
                mime="audio/ogg",
                where="messages[0].content[0].input_audio.data",
            ),
            id="audio as a data URL",
        ),
        pytest.param(
            {"type": "file", "file": {"file_data": "JVBERg==", "format": "Application/PDF; a=b"}},
            MediaPart(
                "file",
                Slice(b"JVBERg=="),
                mime="application/pdf",
                where="messages[0].content[0].file.file_data",
            ),
            id="file with a format",
        ),
        pytest.param(
            {"type": "input_file", "file_url": "https://x/a.pdf"},
            MediaPart("file", url="https://x/a.pdf", where="messages[0].content[0].file_url"),
            id="input_file",
        ),
        pytest.param(
            {"type": "file", "file": {"file_id": "files/1"}},
            MediaPart("file", file_id="files/1", where="messages[0].content[0].file.file_id"),
            id="file id",
        ),
        pytest.param(
            {
                "type": "video_url",
                "video_url": {"url": "https://x/v.mp4", "fps": 1},
                "start_offset": 10,
                "endOffset": "40s",
            },
            MediaPart(
                "video",
                url="https://x/v.mp4",
                video={"start_offset": "10s", "end_offset": "40s", "fps": 1},
                where="messages[0].content[0].video_url.url",
            ),
            id="G-037 video",
        ),
    ],
)
def test_a_part(part: Any, expected: Part) -> None:
    assert parts(part) == (expected,)


@pytest.mark.parametrize(
    ("address", "mime", "data"),
    [
        pytest.param(f"DATA:IMAGE/JPG;charset=utf-8;BASE64,{B64}", "image/jpg", B64, id="G-025 parameters"),
        pytest.param(
            f"data:image/png;base64,{base64.urlsafe_b64encode(PNG).decode()}",
            "image/png",
            B64,
            id="G-027 URL-safe",
        ),
        pytest.param("data:image/png;base64,iVBORw0KGgo", "image/png", "iVBORw0KGgo=", id="G-027 unpadded"),
        pytest.param(
            f"data:image/png;base64,{base64.encodebytes(PNG).decode()}", "image/png", B64, id="G-027 wrapped"
        ),
        pytest.param(f" {URL}\n", "image/png", B64, id="white space around"),
        pytest.param("data:image/png;base64,iVBORw0KGgo%3D", "image/png", "iVBORw0KGgo=", id="percent"),
        pytest.param(
            f"data:image/png;base64,{'%2B%2f' * 200_000}", "image/png", "+/" * 200_000, id="much to escape"
        ),
        pytest.param("data:text/plain,%C3%A4%20b", "text/plain", "w6QgYg==", id="G-028 percent-encoded"),
        pytest.param(f"data:;base64,{B64}", None, B64, id="I-038 no mime"),
    ],
)
def test_a_data_url_is_normalised(address: str, mime: str | None, data: str) -> None:
    (part,) = parts({"type": "image_url", "image_url": {"url": address}})
    assert part == MediaPart("image", Slice(data.encode()), mime=mime, where=IMAGE_URL)


def test_a_long_clean_data_url_is_not_copied() -> None:
    raw = orjson.dumps(
        {
            "model": "m",
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": f"data:image/png;base64,{BIG}"}],
                }
            ],
        }
    )
    (message,) = chat_request.parse(jsonio.loads(raw)).request.messages
    (part,) = message.parts
    assert isinstance(part, MediaPart)
    assert part.data is not None
    assert part.data.raw.obj is raw
    assert bytes(part.data.raw) == BIG.encode()


@pytest.mark.parametrize("position", [70_000, 65_536, 131_071, -1, 0])
def test_a_strange_letter_is_found_wherever_it_is(position: int) -> None:
    text = bytearray(BIG.encode())
    text[position] = ord("!")
    with pytest.raises(RequestError):
        data_url.base64(memoryview(bytes(text)), "x")
    text[position] = ord("=")
    if position != -1:
        with pytest.raises(RequestError):
            data_url.base64(memoryview(bytes(text)), "x")


@pytest.mark.parametrize(
    ("part", "param", "code"),
    [
        pytest.param({"type": "smell"}, ".type", "invalid_value", id="G-042 unknown type"),
        ({}, ".type", "missing_required_parameter"),
        (5, "", "invalid_type"),
        ({"type": "text"}, ".text", "invalid_type"),
        ({"type": "text", "text": 5}, ".text", "invalid_type"),
        ({"type": "image_url"}, ".image_url", "missing_required_parameter"),
        ({"type": "image_url", "image_url": {}}, ".image_url.url", "missing_required_parameter"),
        ({"type": "image_url", "image_url": 5}, ".image_url", "invalid_type"),
        ({"type": "image_url", "image_url": {"url": ""}}, ".image_url.url", "empty_string"),
        ({"type": "image_url", "image_url": {"url": "data:image/png"}}, ".image_url.url", "invalid_base64"),
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}},
            ".image_url.url",
            "invalid_base64",
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,a*b"}},
            ".image_url.url",
            "invalid_base64",
        ),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'%41' * 100_001}"}},
            ".image_url.url",
            "invalid_base64",
        ),
        (
            {"type": "image_url", "image_url": {"url": f"data:text/plain,{'%41' * 100_001}"}},
            ".image_url.url",
            "invalid_base64",
        ),
        ({"type": "image_url", "image_url": {"url": "data:text/plain,"}}, ".image_url.url", "invalid_base64"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, ".image_url.url", "invalid_url"),
        ({"type": "image_url", "image_url": {"url": "hello"}}, ".image_url.url", "invalid_url"),
        (
            {"type": "image_url", "image_url": {"url": URL, "detail": "huge"}},
            ".image_url.detail",
            "invalid_value",
        ),
        ({"type": "input_audio"}, ".input_audio", "missing_required_parameter"),
        (
            {"type": "input_audio", "input_audio": {"format": "wav"}},
            ".input_audio.data",
            "missing_required_parameter",
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "midi"}},
            ".input_audio.format",
            "invalid_value",
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "*", "format": "wav"}},
            ".input_audio.data",
            "invalid_base64",
        ),
        pytest.param({"type": "file", "file": {}}, ".file", "missing_required_parameter", id="G-036"),
        ({"type": "file", "file": {"file_data": 5}}, ".file.file_data", "invalid_type"),
        ({"type": "video_url", "video_url": "https://x", "fps": "x"}, ".video_url.fps", "invalid_type"),
        ({"type": "refusal", "refusal": 5}, ".refusal", "invalid_type"),
    ],
)
def test_a_wrong_part_is_refused_by_name(part: Any, param: str, code: str) -> None:
    error = refusal({"role": "user", "content": "x"}, {"role": "user", "content": ["a", part]})
    assert (error.param, error.code) == (f"messages[1].content[1]{param}", code)


@pytest.mark.parametrize(
    ("message", "param", "code"),
    [
        ({"content": "x"}, ".role", "missing_required_parameter"),
        pytest.param({"role": "wizard", "content": "x"}, ".role", "invalid_value", id="G-010"),
        ({"role": ["user"], "content": "x"}, ".role", "invalid_value"),
        ({"role": "user"}, ".content", "missing_required_parameter"),
        ({"role": "user", "content": 5}, ".content", "invalid_type"),
        ({"role": "user", "content": {"type": "text"}}, ".content", "invalid_type"),
        ({"role": "user", "content": "x", "name": 5}, ".name", "invalid_type"),
        (
            {"role": "system", "content": [{"type": "image_url", "image_url": URL}]},
            ".content[0].type",
            "invalid_value",
        ),
        ({"role": "tool", "content": "x"}, ".tool_call_id", "missing_required_parameter"),
        ({"role": "function", "content": "x"}, ".name", "missing_required_parameter"),
        ({"role": "assistant", "tool_calls": {}}, ".tool_calls", "invalid_type"),
        ({"role": "assistant", "tool_calls": [{}]}, ".tool_calls[0].id", "missing_required_parameter"),
        (
            {"role": "assistant", "tool_calls": [{"id": "a"}]},
            ".tool_calls[0].function",
            "missing_required_parameter",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {}}]},
            ".tool_calls[0].type",
            "invalid_value",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "a", "function": {"arguments": "{}"}}]},
            ".tool_calls[0].function.name",
            "missing_required_parameter",
        ),
        pytest.param(
            {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{x"}}]},
            ".tool_calls[0].function.arguments",
            "invalid_json",
            id="G-080",
        ),
        (
            {"role": "assistant", "function_call": {"name": "f", "arguments": "}"}},
            ".function_call.arguments",
            "invalid_json",
        ),
        (
            {"role": "assistant", "content": "", "images": [{}]},
            ".images[0].image_url",
            "missing_required_parameter",
        ),
        ({"role": "assistant", "content": "", "refusal": 5}, ".refusal", "invalid_type"),
    ],
)
def test_a_wrong_message_is_refused_by_name(message: Any, param: str, code: str) -> None:
    error = refusal(message)
    assert (error.param, error.code) == (f"messages[0]{param}", code)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param('{"a":1}', {"a": 1}, id="G-079 object"),
        pytest.param("", {}, id="G-079 empty"),
        pytest.param(" \n", {}, id="G-079 blank"),
        pytest.param(None, {}, id="null"),
        pytest.param({"a": 1}, {"a": 1}, id="already an object"),
        pytest.param("[1]", {"value": [1]}, id="array"),
        pytest.param("5", {"value": 5}, id="scalar"),
    ],
)
def test_arguments_become_an_object(arguments: Any, expected: Any) -> None:
    (message,) = messages(
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
            ],
        }
    )
    assert message == Message("assistant", (CallPart("a", "f", expected),), 0)


def call(**fields: Any) -> dict[str, Any]:
    return {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}, **fields}


SIGNED = {"google": {"thought_signature": "U0lH"}}


@pytest.mark.parametrize(
    ("first", "message"),
    [
        pytest.param(call(extra_content=SIGNED), {}, id="G-091 extra_content"),
        pytest.param(call(extra_content={"vertex": {"thought_signature": "U0lH"}}), {}, id="vertex"),
        pytest.param(
            call(function={"name": "f", "arguments": "{}", "extra_content": SIGNED}), {}, id="in function"
        ),
        pytest.param(
            call(provider_specific_fields={"thought_signature": "U0lH"}), {}, id="G-092 provider fields"
        ),
        pytest.param(
            call(
                function={
                    "name": "f",
                    "arguments": "{}",
                    "provider_specific_fields": {"thought_signature": "U0lH"},
                }
            ),
            {},
            id="G-092 provider fields of the function",
        ),
        pytest.param(call(thought_signature="U0lH"), {}, id="thought_signature"),
        pytest.param(call(thoughtSignature="U0lH"), {}, id="G-092 thoughtSignature"),
        pytest.param(call(id="a__thought__U0lH"), {}, id="G-092 in the id"),
        pytest.param(call(), {"extra_content": SIGNED}, id="on the message"),
        pytest.param(
            call(), {"thinking_blocks": [{"thinking": "x", "signature": "U0lH"}]}, id="thinking blocks"
        ),
        pytest.param(
            call(),
            {"provider_specific_fields": {"thought_signatures": ["U0lH"]}},
            id="message provider fields",
        ),
        pytest.param(
            call(),
            {"reasoning_details": [{"type": "reasoning.encrypted", "data": "U0lH", "id": "a"}]},
            id="reasoning details of the call",
        ),
        pytest.param(
            call(),
            {"reasoning_details": [{"type": "reasoning.encrypted", "data": "U0lH"}]},
            id="reasoning details",
        ),
        pytest.param(
            call(extra_content=SIGNED, thoughtSignature="x"),
            {"thinking_blocks": [{"signature": "y"}]},
            id="first hit",
        ),
    ],
)
def test_a_signature_is_found_on_the_first_call(first: Any, message: Any) -> None:
    second = call(id="b")
    found, answer = messages(
        {"role": "assistant", "content": None, "tool_calls": [first, second], **message},
        {"role": "tool", "tool_call_id": first["id"], "content": "12C"},
    )
    calls = tuple(part for part in found.parts if not isinstance(part, ThoughtPart))
    assert calls == (CallPart("a", "f", {}, "U0lH"), CallPart("b", "f", {}))
    assert found.signed
    assert answer == Message("user", (ResultPart("a", None, (TextPart("12C"),)),), 1)


def test_half_a_character_in_the_arguments_of_a_call_loses_no_conversation() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": '{"a": "x\\ud83d"}'}}
    (answer,) = messages({"role": "assistant", "tool_calls": [call]})
    assert answer.parts == (CallPart("c", "f", {"a": "x\ufffd"}),)


@pytest.mark.parametrize("content", ["No.", None, [{"type": "text", "text": "No."}]])
def test_a_refusal_that_a_client_was_told_twice_is_one(content: Any) -> None:
    (answer,) = messages({"role": "assistant", "content": content, "refusal": "No."})
    assert answer.parts == (TextPart("No.", refusal=True),)


def test_a_refusal_that_stands_behind_other_words_too_is_one() -> None:
    (answer,) = messages({"role": "assistant", "content": "Well.\n\nNo.", "refusal": "No."})
    assert answer.parts == (TextPart("Well."), TextPart("No.", refusal=True))
    (other,) = messages({"role": "assistant", "content": "I say No.", "refusal": "No."})
    assert other.parts == (TextPart("I say No."), TextPart("No.", refusal=True))


def test_thoughts_content_refusal_and_calls_come_in_this_order() -> None:
    (message,) = messages(
        {
            "role": "assistant",
            "tool_calls": [call()],
            "refusal": "no",
            "content": "x",
            "images": [URL],
            "reasoning_content": "hm",
        }
    )
    assert message.parts == (
        ThoughtPart("hm", where="messages[0].reasoning_content", spare=True),
        TextPart("x"),
        picture("messages[0].images[0]"),
        TextPart("no", refusal=True),
        CallPart("a", "f", {}),
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param(
            {"reasoning_content": "hm", "refusal": "no"},
            (
                ThoughtPart("hm", where="messages[0].reasoning_content", spare=True),
                TextPart("x"),
                TextPart("no", "U0lH", refusal=True),
            ),
            id="the last text",
        ),
        pytest.param(
            {"images": [URL]},
            (TextPart("x"), picture("messages[0].images[0]", signature="U0lH")),
            id="the last picture",
        ),
        pytest.param({"content": ["x", ""]}, (TextPart("x", "U0lH"), TextPart("")), id="no empty text"),
        pytest.param({"content": ""}, (TextPart("", "U0lH"),), id="an empty text alone"),
        pytest.param({"content": None}, (TextPart("", "U0lH"),), id="nothing"),
        pytest.param(
            {"content": None, "reasoning": "hm"},
            (ThoughtPart("hm", where="messages[0].reasoning", spare=True), TextPart("", "U0lH")),
            id="thoughts",
        ),
        pytest.param(
            {"content": [{"type": "text", "text": "x", "thought_signature": "T1dO"}]},
            (TextPart("x", "T1dO"),),
            id="the part has its own",
        ),
    ],
)
def test_without_calls_a_messages_signature_stands_on_its_last_text_or_picture(
    fields: Any, expected: tuple[Part, ...]
) -> None:
    (message,) = messages({"role": "assistant", "content": "x", "extra_content": SIGNED, **fields})
    assert message == Message("assistant", expected, 0, extra={"thought_signature": "U0lH"}, signed=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (
            "reasoning_details",
            [{"type": "reasoning.text", "text": "2"}, {"type": "reasoning.summary", "summary": "+2"}],
        ),
        ("thinking_blocks", [{"type": "thinking", "thinking": "2+2"}, 7]),
    ],
)
def test_thoughts_are_found_in_lists_too(field: str, value: Any) -> None:
    (message,) = messages({"role": "assistant", "content": "4", field: value})
    assert message.parts == (ThoughtPart("2+2", where=f"messages[0].{field}"), TextPart("4"))
    assert not message.signed


@pytest.mark.parametrize(
    "thought",
    [
        pytest.param({"type": "thinking", "thinking": "2+2"}, id="Anthropic"),
        pytest.param({"type": "thinking", "thinking": [{"type": "text", "text": "2+2"}]}, id="Mistral"),
        pytest.param({"type": "reasoning", "reasoning": "2+2", "index": 0}, id="LangChain"),
        pytest.param({"type": "reasoning", "text": "2+2"}, id="AI SDK"),
        pytest.param(
            {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "2+2"}]},
            id="Responses",
        ),
        pytest.param({"type": "reasoning_content", "reasoning_content": {"text": "2+2"}}, id="Bedrock"),
    ],
)
def test_thoughts_may_stand_in_the_content(thought: Any) -> None:
    said = {"role": "assistant", "content": [thought, {"type": "text", "text": "4"}]}
    request = chat_request.parse({"model": "m", "messages": [said]})
    assert request.request.messages[0].parts == (
        ThoughtPart("2+2", where="messages[0].content[0]"),
        TextPart("4"),
    )
    assert request.dropped == ()


def test_thoughts_in_the_content_go_before_the_same_ones_beside_it() -> None:
    content = [
        {"type": "text", "text": "4"},
        {"type": "thinking", "thinking": "2"},
        {"type": "thinking", "thinking": "+2"},
    ]
    (message,) = messages({"role": "assistant", "content": content, "reasoning_content": "2+2"})
    assert message.parts == (
        ThoughtPart("2", where="messages[0].content[1]"),
        ThoughtPart("+2", where="messages[0].content[2]"),
        TextPart("4"),
    )


def test_signatures_and_seals_of_thoughts_in_the_content_are_named_and_not_sent_on() -> None:
    content = [
        {"type": "thinking", "thinking": "2+2", "signature": "RXJ"},
        {"type": "redacted_thinking", "data": "QUJD"},
        {"type": "text", "text": "4"},
    ]
    said = {"role": "assistant", "content": content, "tool_calls": [call()]}
    request = chat_request.parse({"model": "m", "messages": [said]})
    assert request.dropped == ("messages[0].content[0].signature", "messages[0].content[1]")
    assert request.request.messages[0].parts == (
        ThoughtPart("2+2", where="messages[0].content[0]"),
        TextPart("4"),
        CallPart("a", "f", {}),
    )


@pytest.mark.parametrize(
    "thought",
    [
        {"type": "thinking"},
        {"type": "thinking", "thinking": 7},
        {"type": "reasoning", "summary": [[["2"]], None]},
        {"type": "redacted_thinking"},
    ],
)
def test_thoughts_in_the_content_that_say_nothing_are_no_error(thought: Any) -> None:
    assert parts(thought, {"type": "text", "text": "4"}, role="assistant") == (TextPart("4"),)


def test_nobody_but_an_assistant_thinks() -> None:
    error = refusal({"role": "user", "content": [{"type": "thinking", "thinking": "2+2"}]})
    assert error.param == "messages[0].content[0].type"


@pytest.mark.parametrize("shape", [{"text": "2+2"}, [], [["2+2"]], 7, None])
def test_thoughts_of_an_unknown_shape_are_no_error(shape: Any) -> None:
    (message,) = messages({"role": "assistant", "content": "4", "reasoning_details": shape})
    assert message.parts == (TextPart("4"),)


@pytest.mark.parametrize(
    ("field", "sealed"),
    [
        (
            "reasoning_details",
            {"type": "reasoning.encrypted", "data": "QUJD", "format": "openai-responses-v1"},
        ),
        ("thinking_blocks", {"type": "redacted_thinking", "data": "QUJD"}),
    ],
)
def test_thoughts_that_only_another_vendor_reads_are_named(field: str, sealed: Any) -> None:
    said = {"role": "assistant", "content": "4", "reasoning": "hm", field: [sealed]}
    request = chat_request.parse({"model": "m", "messages": [said]})
    assert request.dropped == (f"messages[0].{field}",)
    assert request.request.messages[0].parts == (
        ThoughtPart("hm", where="messages[0].reasoning", spare=True),
        TextPart("4"),
    )


def test_the_id_of_a_spoken_answer_is_kept() -> None:
    (message,) = messages(
        {"role": "assistant", "content": None, "audio": {"id": "audio_1", "transcript": "Hi"}}
    )
    assert message == Message("assistant", (), 0, audio="audio_1")


@pytest.mark.parametrize(("audio", "where"), [({}, "audio.id"), ("audio_1", "audio")])
def test_a_spoken_answer_without_an_id_is_refused_by_name(audio: Any, where: str) -> None:
    with pytest.raises(RequestError) as caught:
        messages({"role": "assistant", "content": None, "audio": audio})
    assert caught.value.param == f"messages[0].{where}"


def test_unknown_members_of_a_picture_in_images_are_named() -> None:
    entry = {
        "type": "image_url",
        "index": 0,
        "image_url": {"url": URL, "alt": "x"},
        "revised_prompt": "A cat",
    }
    request = chat_request.parse(
        {"model": "m", "messages": [{"role": "assistant", "content": "x", "images": [entry]}]}
    )
    where = "messages[0].images[0]"
    assert request.dropped == (f"{where}.revised_prompt", f"{where}.image_url.alt")


@pytest.mark.parametrize("form", ["xai-responses-v1", "anthropic-claude-v1", "openai-responses-v1", 5, []])
@pytest.mark.parametrize("named", [{}, {"id": "a"}], ids=["message", "call"])
def test_encrypted_reasoning_of_another_vendor_is_no_signature(form: Any, named: Any) -> None:
    detail = {"type": "reasoning.encrypted", "data": "QUJDREVG", "format": form, **named}
    spoken, called = messages(
        {"role": "assistant", "content": "x", "reasoning_details": [detail]},
        {"role": "assistant", "content": None, "tool_calls": [call()], "reasoning_details": [detail]},
    )
    assert spoken.parts == (TextPart("x"),)
    assert called.parts == (CallPart("a", "f", {}),)


@pytest.mark.parametrize("named", [{}, {"id": "a"}], ids=["message", "call"])
def test_encrypted_reasoning_of_gemini_is_one(named: Any) -> None:
    detail = {"type": "reasoning.encrypted", "data": "U0lH", "format": "google-gemini-v1", **named}
    (called,) = messages(
        {"role": "assistant", "content": None, "tool_calls": [call()], "reasoning_details": [detail]}
    )
    assert called.parts == (CallPart("a", "f", {}, "U0lH"),)


def test_parts_and_pictures_keep_their_signatures() -> None:
    (message,) = messages(
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "x", "extra_content": SIGNED}],
            "images": [{"type": "image_url", "index": 0, "image_url": {"url": URL}, "extra_content": SIGNED}],
        }
    )
    assert message.parts == (
        TextPart("x", "U0lH"),
        picture("messages[0].images[0].image_url.url", signature="U0lH"),
    )


def test_a_part_in_langchains_wrapping_is_what_it_wraps() -> None:
    """langchain-openai 1.7.4 with `output_version="v1"`: of a part that has more than its standard has, which
    our signature is."""
    signed = {"google": {"thought_signature": "c2ln"}}
    shown = {"type": "image_url", "image_url": {"url": URL}, "extra_content": signed}
    found = parts({"type": "text", "text": "Hi"}, {"type": "non_standard", "value": shown}, role="assistant")
    where = "messages[0].content[1].value.image_url.url"
    assert found == (TextPart("Hi"), picture(where, signature="c2ln"))


@pytest.mark.parametrize(
    ("value", "place"),
    [({"type": "tape"}, "value.type"), ({"type": "non_standard", "value": {}}, "value.type"), ("x", "type")],
)
def test_what_nobody_reads_in_such_a_wrapping_is_refused_by_its_place(value: Any, place: str) -> None:
    error = refusal({"role": "user", "content": [{"type": "non_standard", "value": value}]})
    assert error.param == f"messages[0].content[0].{place}"


def test_a_picture_shown_in_the_text_and_listed_is_one_picture() -> None:
    """A reply in mode `images+link` as openai-python sends it back."""
    (message,) = messages(
        {
            "role": "assistant",
            "content": f"x\n\n![image]({URL})\n\ny",
            "images": [{"type": "image_url", "index": 0, "image_url": {"url": URL}, "extra_content": SIGNED}],
        }
    )
    assert message.parts == (
        TextPart("x"),
        picture("messages[0].images[0].image_url.url", signature="U0lH"),
        TextPart("y"),
    )


def test_the_legacy_function_roles_are_understood() -> None:
    """G-067"""
    assert messages(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}},
        {"role": "function", "name": "f", "content": "12C"},
    ) == (
        Message("assistant", (CallPart("", "f", {"a": 1}),), 0),
        Message("user", (ResultPart(None, "f", (TextPart("12C"),)),), 1),
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(
            [{"type": "image_url", "image_url": {"url": URL}}], [picture(IMAGE_URL)], id="I-037 parts"
        ),
        pytest.param(f"![image]({URL})", [picture("messages[0].content")], id="I-037 markdown"),
        pytest.param(
            [{"type": "image", "url": URL}],
            [picture("messages[0].content[0].url")],
            id="@langchain/openai after a reply with images",
        ),
        pytest.param(
            [{"type": "image", "base64": B64, "mime_type": "image/png"}],
            [picture("messages[0].content[0].base64")],
            id="a standard block of LangChain",
        ),
        pytest.param(
            [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": B64}}],
            [picture("messages[0].content[0].source.data")],
            id="a block of Anthropic",
        ),
        pytest.param(URL, [picture("messages[0].content")], id="a data URL alone"),
        pytest.param(
            f"Here:\n\n![image]({URL})\n\nand ![b]({URL}) done",
            [
                TextPart("Here:"),
                picture("messages[0].content"),
                TextPart("and "),
                picture("messages[0].content"),
                TextPart(" done"),
            ],
            id="G-043 text and markdown",
        ),
        pytest.param(
            "Write ![image](data:image/png;base64,...)",
            [TextPart("Write ![image](data:image/png;base64,...)")],
            id="an explanation is left alone",
        ),
        pytest.param("![a](https://x/a.png)", [TextPart("![a](https://x/a.png)")], id="a foreign link"),
        pytest.param("![a ![b](x)", [TextPart("![a ![b](x)")], id="brackets"),
        pytest.param("![a](", [TextPart("![a](")], id="unfinished"),
        pytest.param("", [TextPart("")], id="empty"),
        pytest.param(None, [], id="null"),
        pytest.param(
            [{"type": "refusal", "refusal": "no"}], [TextPart("no", refusal=True)], id="G-022 refusal part"
        ),
    ],
)
def test_the_assistants_pictures_are_cut_out_of_its_words(content: Any, expected: list[Part]) -> None:
    (message,) = messages({"role": "assistant", "content": content})
    assert list(message.parts) == expected


def test_a_long_markdown_picture_is_cut_out() -> None:
    """I-037"""
    (message,) = messages({"role": "assistant", "content": f"A\n\n![image](data:image/png;base64,{BIG})"})
    assert message.parts == (
        TextPart("A"),
        MediaPart("image", Slice(BIG.encode()), mime="image/png", where="messages[0].content"),
    )


def test_a_text_full_of_pictures_is_cut_in_one_pass() -> None:
    """Each picture is looked for behind the one before it: looking from the start would not end."""
    count = 20_000
    text = f"![a](data:image/png;base64,{B64})" + "![b](x)![" * count + f"]({URL})" * count
    (message,) = messages({"role": "assistant", "content": text}, history_images=None)
    assert sum(isinstance(part, MediaPart) for part in message.parts) == 2


def test_a_link_to_a_stored_picture_is_a_picture() -> None:
    mine = "https://proxy.example/v1/files/a/content?sig=b"
    (message,) = messages(
        {"role": "assistant", "content": f"A\n\n![image]({mine})\n![x](https://x/y.png)"},
        is_stored=lambda url: url.startswith("https://proxy.example/"),
    )
    assert message.parts == (
        TextPart("A"),
        MediaPart("image", url=mine, where="messages[0].content"),
        TextPart("![x](https://x/y.png)"),
    )


@pytest.mark.parametrize(
    ("kept", "left"), [(None, [2, 1, 1, 1]), (3, [1, 1, 1, 1]), (2, [0, 1, 1, 1]), (0, [0, 1, 0, 0])]
)
def test_only_the_last_pictures_of_the_assistant_are_kept(kept: int | None, left: list[int]) -> None:
    drawn = {"role": "assistant", "content": "x", "images": [{"image_url": {"url": URL}}]}
    found = messages(
        {**drawn, "images": [URL, URL]},
        {"role": "user", "content": [{"type": "image_url", "image_url": URL}]},
        drawn,
        drawn,
        history_images=kept,
    )
    assert [sum(isinstance(part, MediaPart) for part in message.parts) for message in found] == left


def test_a_tool_result_may_be_a_picture() -> None:
    (message,) = messages({"role": "tool", "tool_call_id": "a", "content": URL})
    assert message.parts == (ResultPart("a", None, (picture("messages[0].content"),)),)
    (message,) = messages(
        {"role": "tool", "tool_call_id": "a", "content": ["x", {"type": "image_url", "image_url": URL}]}
    )
    assert message.parts == (
        ResultPart("a", None, (TextPart("x"), picture("messages[0].content[1].image_url"))),
    )


def test_a_long_text_that_looks_like_base64_is_text_again() -> None:
    assert messages({"role": "user", "content": BIG})[0].parts == (TextPart(BIG),)
    assert parts({"type": "text", "text": BIG}) == (TextPart(BIG),)
