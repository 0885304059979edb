"""Recorded requests: the pairs of the fixtures come out as recorded, and everything fits Google's schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from proxy.codec import jsonio
from proxy.fronts.openai.chat import request as chat_request
from proxy.types import ChatRequest, Json, MediaPart, Message, Slice, Target
from proxy.wires.gemini import GeminiWire
from proxy.wires.gemini.openapi import OpenApi
from proxy.wires.gemini.schema import json_schema
from tests.shared import FIXTURES, needs_fixtures

pytestmark = needs_fixtures

PAIRS = sorted((FIXTURES / "pairs").glob("*.json"))
RECORDED = sorted((FIXTURES / "openai").rglob("*.json"))


def build(request: ChatRequest, model: str, **options: Any) -> Json:
    body = GeminiWire().build(request, Target("google", model, options=options)).body
    found: Json = orjson.loads(b"".join(jsonio.dumps(body)))
    return found


def inlined(request: ChatRequest, data: Slice) -> ChatRequest:
    """The request with its addresses fetched, as it reaches a wire."""

    def part(one: Any) -> Any:
        return replace(one, url=None, data=data) if isinstance(one, MediaPart) and one.url else one

    def message(one: Message) -> Message:
        return replace(one, parts=tuple(part(it) for it in one.parts))

    return replace(request, messages=tuple(message(one) for one in request.messages))


# --- the pairs -----------------------------------------------------------------------------------


def _schema_field(expected: Json) -> None:
    """The recordings write types in capitals; Google takes both."""
    for tool in expected.get("tools", ()):
        for one in tool["functionDeclarations"]:
            one["parameters"] = lower(one["parameters"])


def lower(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: value.lower() if key == "type" and isinstance(value, str) else lower(value)
            for key, value in schema.items()
        }
    return schema


def _inclusive(expected: Json) -> None:
    """An exclusive bound is no field of the proto: it is widened."""
    field = expected["tools"][0]["functionDeclarations"][0]["parameters"]["properties"]["max_tokens"]
    field["minimum"] = field.pop("exclusiveMinimum")


def _array_as_text(expected: Json) -> None:
    """A result that is no object is sent as its text."""
    response = expected["contents"][2]["parts"][0]["functionResponse"]
    response["response"] = {"output": '["movies","users"]'}


def _output(expected: Json) -> None:
    """Google's word for a result is `output`."""
    for part in expected["contents"][2]["parts"]:
        part["functionResponse"]["response"] = {"output": part["functionResponse"]["response"]["result"]}


def _answer_schema(expected: Json) -> None:
    """The recording added its own limits, and left out what the client said of its schema."""
    config = expected["generationConfig"]
    del config["temperature"], config["maxOutputTokens"]
    names = {"score": "bounded_score", "tags": "tag_list"}
    schema = config["responseJsonSchema"]
    schema["title"] = names[next(iter(schema["properties"]))]
    schema["additionalProperties"] = False


def _budget(expected: Json) -> None:
    """Google's own table says 8192 for medium."""
    expected["generationConfig"]["thinkingConfig"]["thinkingBudget"] = 8192


DIFFERENCES: dict[str, Callable[[Json], None]] = {
    "exclusiveminimumtoolparam": _inclusive,
    "googletoolcallthoughtsignaturereplayparam": _array_as_text,
    "paralleltoolcallsrequest": _output,
    "jsonschemaminimummaximumparam": _answer_schema,
    "jsonschemaminmaxitemsparam": _answer_schema,
    "reasoningsummaryparam": _budget,
}


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_a_pair_comes_out_as_recorded(path: Path) -> None:
    """G-004, G-023, G-081, G-091, G-109, G-119, G-121.

    What the real service accepted, but for the differences that are stated above.
    """
    pair = json.loads(path.read_text())
    expected = pair["gemini_request"]
    expected.pop("model", None)
    _schema_field(expected)
    DIFFERENCES.get(path.stem, lambda _: None)(expected)
    openai = pair["openai_request"]
    for message in openai["messages"]:
        if "reasoning_signature" in message:  # lingua's own field; ours is Google's
            signature = message.pop("reasoning_signature")
            message["extra_content"] = {"google": {"thought_signature": signature}}
    request = chat_request.parse(openai).request
    media = expected["contents"][0]["parts"][-1].get("inlineData")
    if media:
        request = inlined(request, Slice(media["data"].encode()))
    openapi = {"schema_mode": "openapi"} if "tools" in expected else {}
    assert build(request, "gemini-2.5-flash", **openapi) == expected


# --- Google's schema -----------------------------------------------------------------------------


@cache
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads((FIXTURES / "schema" / "GenerateContentRequest.schema.json").read_text())
    return jsonschema.Draft202012Validator(schema)


def in_capitals(value: Any) -> Any:
    """Enum words as the schema lists them; the service takes lower case too (schema/README.md)."""
    if isinstance(value, dict):
        return {
            key: inner.upper()
            if key in ("type", "thinkingLevel", "serviceTier") and isinstance(inner, str)
            else inner
            if key in ("responseJsonSchema", "parametersJsonSchema", "args", "response")
            else in_capitals(inner)
            for key, inner in value.items()
        }
    return [in_capitals(item) for item in value] if isinstance(value, list) else value


def check(body: Json) -> None:
    errors = [
        f"{error.json_path}: {error.message[:200]}" for error in validator().iter_errors(in_capitals(body))
    ]
    assert errors == []


def accepted(path: Path) -> Json | None:
    """The chat request of a recording that OpenAI answered."""
    exchange = json.loads(path.read_text())
    request = exchange.get("request")
    if not isinstance(request, dict) or "messages" not in request or exchange["status"] != 200:
        return None
    return {"model": "m", **request}


ACCEPTED = [path for path in RECORDED if accepted(path)]


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_what_openai_accepted_fits_googles_schema(path: Path) -> None:
    """G-137: no field that Google does not know, for models of four kinds, in both schema forms."""
    request = inlined(chat_request.parse(accepted(path)).request, Slice(b"iVBORw0KGgo="))
    if request.audio is not None and request.audio.format not in ("wav", "pcm16"):
        request = replace(request, audio=None)
    for model in ("gemini-2.5-flash", "gemini-3-flash-preview", "gemini-3-pro-image", "gemma-3-27b-it"):
        for mode in ("jsonschema", "openapi"):
            check(build(request, model, schema_mode=mode))


def schemas(value: Any) -> Iterator[Json]:
    """Every schema of tools and answers in a recorded Gemini request."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.replace("_", "").lower() in _SCHEMA_KEYS and isinstance(inner, dict):
                yield inner
            else:
                yield from schemas(inner)
    elif isinstance(value, list):
        for item in value:
            yield from schemas(item)


_SCHEMA_KEYS = {"parameters", "parametersjsonschema", "responseschema", "responsejsonschema"}


def test_every_recorded_schema_becomes_one_that_the_proto_accepts() -> None:
    """G-049: the schemas of real programs."""
    root = json.loads((FIXTURES / "schema" / "GenerateContentRequest.schema.json").read_text())
    proto = jsonschema.Draft202012Validator({"$ref": "#/$defs/Schema", "$defs": root["$defs"]})
    seen = set()
    for path in sorted((FIXTURES / "gemini").glob("*.json")):
        for schema in schemas(json.loads(path.read_bytes()).get("request")):
            text = json.dumps(schema, sort_keys=True)
            if text in seen:
                continue
            seen.add(text)
            converted = in_capitals(OpenApi(integer_enums=True, ordering=True).schema(schema))
            errors = [
                f"{path.name} {error.json_path}: {error.message[:100]}"
                for error in proto.iter_errors(converted)
            ]
            assert errors == []
            json_schema(schema)
    assert len(seen) > 90
