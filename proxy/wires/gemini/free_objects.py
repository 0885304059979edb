"""Objects whose keys nobody declared, in the OpenAPI form.

Its `OBJECT` needs properties ("should be non-empty for OBJECT type"), and a model leaves one with none empty.
So below the root such an object is asked for as text, and the text in a call's arguments is read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from proxy.types import Json
from proxy.wires.gemini.law import describe

AS_TEXT = "An object, written as JSON in this text."


def as_text(node: Mapping[str, Any]) -> Json:
    """What is sent for such an object."""
    asked: Json = {"type": "string"}
    if node.get("nullable") is True:
        asked["nullable"] = True
    if isinstance(node.get("description"), str):
        asked["description"] = node["description"]
    describe(asked, AS_TEXT)
    return asked


def is_asked_for(schema: Any) -> bool:
    """Whether some of a schema that was sent is such a text."""
    if isinstance(schema, list):
        return any(map(is_asked_for, schema))
    return isinstance(schema, dict) and (_is_text(schema) or any(map(is_asked_for, schema.values())))


def restored(value: Any, schema: Mapping[str, Any]) -> Any:
    """A value of the schema that was sent, with the objects that came as text."""
    branches = schema.get("anyOf", (schema,))
    if isinstance(value, str):
        return _object(value) if any(map(_is_text, branches)) else value
    if isinstance(value, dict):
        known = {name: one for branch in branches for name, one in branch.get("properties", {}).items()}
        return {
            name: restored(inner, known[name]) if name in known else inner for name, inner in value.items()
        }
    items = next((branch["items"] for branch in branches if "items" in branch), None)
    if isinstance(value, list) and items is not None:
        return [restored(inner, items) for inner in value]
    return value


def _is_text(schema: Mapping[str, Any]) -> bool:
    said = schema.get("description")
    return schema.get("type") == "string" and isinstance(said, str) and said.endswith(AS_TEXT)


def _object(text: str) -> Any:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return found if isinstance(found, dict | list) else text
