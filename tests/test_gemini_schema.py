"""JSON Schemas as Gemini's two schema fields take them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import RequestError
from proxy.types import Json
from proxy.wires.gemini.budget import Budget
from proxy.wires.gemini.openapi import OpenApi
from proxy.wires.gemini.schema import is_empty, json_schema, parameters_schema

A: Json = {"type": "string"}
OBJECT: Json = {"type": "object", "properties": {"a": A}}
TEXT = "An object, written as JSON in this text."
WHITELIST = {
    *("type", "format", "title", "description", "nullable", "enum", "items", "maxItems", "minItems"),
    *("properties", "required", "minProperties", "maxProperties", "minimum", "maximum", "minLength"),
    *("maxLength", "pattern", "example", "anyOf", "propertyOrdering", "default"),
}


def prop(schema: Json) -> Json:
    """One property in the OpenAPI form."""
    found: Json = OpenApi().parameters({"type": "object", "properties": {"p": schema}})["properties"]["p"]
    return found


def light(schema: Json) -> Json:
    """One property in the JSON Schema form."""
    root = {"type": "object", "properties": {"p": schema}, "$defs": {"X": {"type": "string"}}}
    found: Json = json_schema(root)["properties"]["p"]
    return found


def test_a_whole_schema_in_both_forms() -> None:
    """G-049, G-051, G-053 to G-055, G-059, G-061."""
    schema = {
        "type": "object",
        "$defs": {
            "P": {"type": "object", "properties": {"lat": {"type": "number", "exclusiveMinimum": -90}}}
        },
        "properties": {
            "p": {"$ref": "#/$defs/P"},
            "k": {"const": "x"},
            "n": {"type": ["integer", "null"]},
            "m": {"enum": [1, 2]},
        },
        "additionalProperties": False,
    }
    assert OpenApi().parameters(schema) == {
        "type": "object",
        "properties": {
            "p": {"type": "object", "properties": {"lat": {"type": "number", "minimum": -90}}},
            "k": {"type": "string", "enum": ["x"]},
            "n": {"type": "integer", "nullable": True},
            "m": {"type": "integer", "description": "Allowed values: 1, 2"},
        },
    }
    assert json_schema(schema) == {
        "type": "object",
        "$defs": {"P": {"type": "object", "properties": {"lat": {"type": "number", "minimum": -90}}}},
        "properties": {
            "p": {"$ref": "#/$defs/P"},
            "k": {"type": "string", "enum": ["x"]},
            "n": {"type": ["integer", "null"]},
            "m": {"enum": [1, 2]},
        },
        "additionalProperties": False,
    }


def test_properties_named_like_keywords_survive() -> None:
    """G-050."""
    names = ["format", "title", "const", "$ref", "type", "properties", "not", "allOf", "$schema", "enum"]
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": names}
    assert list(OpenApi().parameters(schema)["properties"]) == names
    assert OpenApi().parameters(schema)["required"] == names
    assert json_schema(schema) == schema


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param({"const": True}, {"type": "boolean", "enum": [True]}, id="G-053 bool before int"),
        pytest.param({"const": None}, {"type": "null"}, id="G-053 null"),
        pytest.param(
            {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 9},
            {"type": "integer", "minimum": 1, "maximum": 8},
            id="G-054",
        ),
        pytest.param(
            {"type": "integer", "exclusiveMinimum": 0.5, "minimum": 3},
            {"type": "integer", "minimum": 3},
            id="G-054 both",
        ),
        pytest.param(
            {"type": "number", "exclusiveMaximum": 1.5}, {"type": "number", "maximum": 1.5}, id="G-054 number"
        ),
        pytest.param(
            {"type": "integer", "minimum": 3, "exclusiveMinimum": True},
            {"type": "integer", "minimum": 3},
            id="draft 4",
        ),
        pytest.param({"oneOf": [{"type": "string"}]}, {"anyOf": [{"type": "string"}]}, id="G-057 oneOf"),
        pytest.param(
            {
                "allOf": [
                    {"properties": {"a": {"type": "string"}}, "required": ["a"]},
                    {"properties": {"b": {"title": "B", "type": "integer"}}, "required": ["b"]},
                ],
                "description": "d",
            },
            {
                "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
                "description": "d",
            },
            id="G-057 allOf",
        ),
        pytest.param(
            {"allOf": [{"$ref": "#/$defs/X"}], "description": "d", "default": {}},
            {"$ref": "#/$defs/X", "description": "d"},
            id="described reference",
        ),
        pytest.param({"enum": ["a", ""]}, {"enum": ["a"], "description": "May be empty."}, id="G-060"),
        pytest.param(
            {"type": "string", "enum": ["a", None]},
            {"type": ["string", "null"], "enum": ["a"]},
            id="null in enum",
        ),
        pytest.param({"enum": [""]}, {"description": "May be empty."}, id="only the empty string"),
        pytest.param(
            {"enum": ["", 1]},
            {"enum": [1], "type": ["integer", "string"], "description": "May be empty."},
            id="the empty string or a number",
        ),
        pytest.param({"enum": "a"}, {}, id="broken enum"),
        pytest.param(
            {"type": "string", "title": "T", "$comment": "c", "examples": [1], "deprecated": True},
            {"type": "string"},
            id="G-061 annotations",
        ),
        pytest.param(
            {"type": "array", "uniqueItems": True, "items": {"not": {}}, "contains": {}},
            {"type": "array", "items": {}},
            id="G-061 constraints",
        ),
        pytest.param(
            {"type": "string", "format": "email", "description": "Where to."},
            {"type": "string", "description": "Where to. Format: email"},
            id="format",
        ),
        pytest.param(
            {"type": "string", "format": "date"}, {"type": "string", "format": "date"}, id="known format"
        ),
        pytest.param(
            {"type": "integer", "format": "int32"}, {"type": "integer", "format": "int32"}, id="int32"
        ),
        pytest.param(True, {}, id="true"),
        pytest.param(
            {"properties": {"a": False, "b": True}, "required": ["a", "b"]},
            {"properties": {"b": {}}, "required": ["b"]},
            id="G-062 false",
        ),
        pytest.param({"required": None, "type": "object"}, {"type": "object"}, id="G-062 null"),
        pytest.param({"$ref": "https://x.org/s.json"}, {}, id="foreign reference"),
        pytest.param(
            {"$ref": "#/$defs/X", "description": "d", "title": "T", "minimum": 1},
            {"$ref": "#/$defs/X", "description": "d"},
            id="beside a reference",
        ),
        pytest.param(
            {"items": [{"type": "string"}, False]}, {"prefixItems": [{"type": "string"}]}, id="draft 4 tuple"
        ),
        pytest.param(
            {"prefixItems": [{"const": 1}], "items": False},
            {"prefixItems": [{"type": "integer", "enum": [1]}]},
            id="closed tuple",
        ),
        pytest.param(
            {"additionalProperties": {"title": "T", "type": "integer"}},
            {"additionalProperties": {"type": "integer"}},
            id="free keys",
        ),
    ],
)
def test_the_light_form(schema: Json, expected: Json) -> None:
    """G-053, G-054, G-057, G-060 to G-062."""
    assert light(schema) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param({"type": "array"}, {"type": "array", "items": {}}, id="array without items"),
        pytest.param(
            {"type": "array", "items": {"type": ["array", "null"]}},
            {"type": "array", "items": {"type": ["array", "null"], "items": {}}},
            id="in an array, in a type list",
        ),
        pytest.param(
            {"anyOf": [{"type": "LIST"}, {"additionalProperties": {"type": "array"}}]},
            {
                "anyOf": [
                    {"type": "array", "items": {}},
                    {"additionalProperties": {"type": "array", "items": {}}},
                ]
            },
            id="in a choice, in free keys",
        ),
        pytest.param(
            {"type": "string", "properties": {"x": A}, "required": ["x"], "items": A, "minItems": 1},
            {"type": "string"},
            id="properties and items of a string",
        ),
        pytest.param({"type": "object", "required": ["id"]}, {"type": "object"}, id="required of nothing"),
        pytest.param(
            {"properties": {"a": A}, "required": [[], "a", "b", "a"], "propertyOrdering": ["b", "a"]},
            {"properties": {"a": A}, "required": ["a"], "propertyOrdering": ["a"]},
            id="required of others",
        ),
        pytest.param(
            {
                "properties": {"a": A, "b": A},
                "oneOf": [{"required": ["a"]}, {"required": ["b", "a"]}],
            },
            {"properties": {"a": A, "b": A}, "description": "Required: a, or b and a."},
            id="a choice of what is required",
        ),
        pytest.param({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}, OBJECT, id="capitals"),
        pytest.param({"type": "dict", "properties": {"a": {"type": "str"}}}, OBJECT, id="Python's words"),
        pytest.param({"type": "any", "minimum": 1}, {"minimum": 1}, id="an invented type"),
        pytest.param(
            {"type": ["String", "float", "mixed", "str", 5]}, {"type": ["string", "number"]}, id="in a list"
        ),
        pytest.param({"type": []}, {}, id="no type"),
        pytest.param({"type": {"a": 1}}, {}, id="no type word"),
        pytest.param({"$ref": "#/$defs/Nope", "description": "d"}, {"description": "d"}, id="to nowhere"),
        pytest.param({"$ref": "#/$defs/X/type"}, {}, id="to no schema"),
        pytest.param(
            {"$ref": "#/$defs/Nope", "type": "STRING", "minLength": 1},
            {**A, "minLength": 1},
            id="to nowhere, with a type",
        ),
        pytest.param(
            {"type": "string", "maxLength": 2**70, "minLength": 2**63 - 1},
            {**A, "minLength": 2**63 - 1},
            id="beyond 64 bits",
        ),
        pytest.param({"$ref": "#nope"}, {}, id="to an anchor that is none"),
        pytest.param({"$ref": 5, "type": "string"}, A, id="reference that is none"),
        pytest.param(
            {"$ref": "#/$defs/X", "nullable": True},
            {"anyOf": [{"$ref": "#/$defs/X"}, {"type": "null"}]},
            id="OpenAPI's nullable reference",
        ),
        pytest.param(
            {"type": "string", "nullable": True}, {"type": ["string", "null"]}, id="OpenAPI's nullable"
        ),
        pytest.param(
            {"anyOf": [A, {"type": "integer"}], "nullable": True},
            {"anyOf": [A, {"type": "integer"}, {"type": "null"}]},
            id="a nullable choice",
        ),
        pytest.param(
            {"type": "object", "oneOf": [OBJECT], "nullable": True},
            {"type": ["object", "null"], "anyOf": [OBJECT, {"type": "null"}]},
            id="a nullable choice of a type",
        ),
        pytest.param(
            {"enum": ["a", 1], "nullable": True},
            {"enum": ["a", 1], "type": ["integer", "string", "null"]},
            id="a nullable enum without a type",
        ),
        pytest.param(
            {"properties": {"a": A}, "nullable": True},
            {"properties": {"a": A}, "type": ["object", "null"]},
            id="a nullable object without a type",
        ),
        pytest.param(
            {"items": A, "nullable": True}, {"items": A, "type": ["array", "null"]}, id="a nullable list"
        ),
        pytest.param(
            {"enum": ["", None]},
            {"type": ["string", "null"], "description": "May be empty."},
            id="an enum of null and nothing",
        ),
        pytest.param(
            {
                "description": ["d"],
                "format": {},
                "pattern": 5,
                "minimum": "1",
                "maximum": True,
                "minItems": -1,
                "maxLength": 2.5,
                "enum": {},
                "properties": [],
                "anyOf": {},
                "prefixItems": [],
                "required": True,
            },
            {},
            id="words of another type",
        ),
        pytest.param(
            {"enum": ["a", {"b": 1}, [2]]},
            {"description": 'Allowed values: "a", {"b": 1}, [2]'},
            id="an enum of objects",
        ),
        pytest.param({"anyOf": [], "oneOf": [False]}, {}, id="a choice of nothing"),
    ],
)
def test_what_google_refuses_is_put_right(schema: Json, expected: Json) -> None:
    assert light(schema) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param(
            {"$ref": "#/$defs/O", "properties": {"b": A}, "required": ["b"]},
            {"type": "object", "properties": {"a": A, "b": A}, "required": ["b"]},
            id="properties beside a reference",
        ),
        pytest.param(
            {"allOf": [{"$ref": "#/$defs/O", "required": ["a"]}, {"properties": {"b": A}}]},
            {"type": "object", "properties": {"a": A, "b": A}, "required": ["a"]},
            id="demands beside a reference, in a branch",
        ),
        pytest.param(
            {"$ref": "#/$defs/O", "allOf": [{"properties": {"b": A}}], "description": "d"},
            {"type": "object", "properties": {"a": A, "b": A}, "description": "d"},
            id="branches beside a reference",
        ),
        pytest.param(
            {"allOf": [{"anyOf": [OBJECT, {"type": "integer"}]}, {"anyOf": [{"properties": {"b": A}}, A]}]},
            {"anyOf": [OBJECT, {"type": "integer"}, {"properties": {"b": A}}, A]},
            id="two choices",
        ),
        pytest.param(
            {"type": "object", "patternProperties": {"^(.*)$": A}},
            {"type": "object", "additionalProperties": A},
            id="a map, as TypeBox writes it",
        ),
        pytest.param(
            {
                "type": "object",
                "patternProperties": {"^x-": A, "^y-": {"type": "integer"}},
                "additionalProperties": False,
            },
            {
                "type": "object",
                "additionalProperties": {"anyOf": [A, {"type": "integer"}]},
                "description": "Other keys match ^x-, or ^y-.",
            },
            id="no other keys than those of patterns",
        ),
        pytest.param(
            {"patternProperties": {"^x-": A}, "additionalProperties": {"type": "integer"}},
            {
                "additionalProperties": {"anyOf": [A, {"type": "integer"}]},
                "description": "Other keys match ^x-.",
            },
            id="patterns and other keys",
        ),
        pytest.param(
            {"patternProperties": {"^x-": A}, "additionalProperties": True},
            {"additionalProperties": True},
            id="patterns and any keys",
        ),
        pytest.param(
            {"patternProperties": {"^x-": False}, "additionalProperties": False},
            {"additionalProperties": False},
            id="a pattern of no keys",
        ),
        pytest.param(
            {
                "type": "object",
                "properties": {"kind": A, "c": A},
                "if": {"properties": {"kind": {"const": "x"}}},
                "then": {"properties": {"b": A, "c": {"const": 1}, "n": False}, "required": ["b"]},
                "else": {"if": {}, "then": {"properties": {"b": {"type": "integer"}}}},
            },
            {
                "type": "object",
                "properties": {"kind": A, "c": A, "b": {"anyOf": [A, {"type": "integer"}]}},
            },
            id="properties on a condition",
        ),
        pytest.param(
            {
                "allOf": [
                    {"if": {"required": ["a"]}, "then": {"properties": {"b": A}}},
                    {"if": {"required": ["b"]}, "then": {"properties": {"a": {"const": 1}, "b": A}}},
                    {"$ref": "#/$defs/O"},
                ]
            },
            {"type": "object", "properties": {"b": A, "a": A}},
            id="conditions in branches",
        ),
        pytest.param(
            {
                "properties": {"a": A},
                "dependentSchemas": {"a": {"properties": {"b": A}}},
                "dependencies": {"a": {"properties": {"c": A}}, "b": ["c"]},
            },
            {"properties": {"a": A, "b": A, "c": A}},
            id="properties that depend on others",
        ),
    ],
)
def test_what_stands_in_unknown_keywords_is_said_in_known_ones(schema: Json, expected: Json) -> None:
    root = {"type": "object", "properties": {"p": schema}, "$defs": {"O": OBJECT}}
    assert json_schema(root)["properties"]["p"] == expected


@pytest.mark.parametrize(
    ("reference", "name", "target"),
    [
        pytest.param("#/properties/q/oneOf/1", "properties_q_oneOf_1", {"type": "integer"}, id="renamed"),
        pytest.param("#/properties/q/properties/r", "properties_q_properties_r", A, id="property"),
        pytest.param(
            "#/definitions/X/items", "definitions_X_items", {"type": "number"}, id="in a definition"
        ),
        pytest.param("#/$defs/Y%3CZ%3E", "Y_Z_", {"type": "boolean"}, id="odd name"),
        pytest.param("#/definitions/Only/$defs/Deep", "definitions_Only__defs_Deep", A, id="in the place"),
        pytest.param("#/$defs/Deep", "_defs_Deep", A, id="brought along by another schema"),
        pytest.param("#here", "__here", {"type": "null"}, id="anchor"),
    ],
)
def test_every_reference_gets_a_name_that_google_follows(reference: str, name: str, target: Json) -> None:
    """Also where our own cleaning renames what it points at."""
    schema = {
        "type": "object",
        "properties": {
            "p": {"$ref": reference},
            "q": {"oneOf": [A, {"type": "integer"}], "properties": {"r": A}},
        },
        "$defs": {"Y<Z>": {"type": "boolean"}},
        "definitions": {
            "X": {"type": "array", "items": {"type": "number"}},
            "Only": {"type": "object", "$defs": {"Deep": A, "H": {"$anchor": "here", "type": "null"}}},
        },
    }
    found = json_schema(schema)
    assert found["properties"]["p"] == {"$ref": f"#/$defs/{name}"}
    assert found["$defs"][name] == target
    assert OpenApi().parameters(schema)["properties"]["p"]["type"] in (target["type"], "string")


def test_a_reference_to_the_root_and_two_definitions_of_one_name() -> None:
    schema = {
        "type": "object",
        "properties": {"child": {"$ref": "#"}, "x": {"$ref": "#/definitions/X"}},
        "definitions": {"X": {"type": "integer"}},
        "$defs": {"X": A},
    }
    root = {
        "type": "object",
        "properties": {"child": {"$ref": "#/$defs/schema"}, "x": {"$ref": "#/$defs/X_3"}},
    }
    assert json_schema(schema) == {
        **root,
        "$defs": {"X": A, "X_3": {"type": "integer"}, "schema": root},
    }


def test_definitions_become_defs_with_their_references() -> None:
    """G-051."""
    schema = {
        "definitions": {"X": {"type": "string", "title": "X"}},
        "properties": {"a": {"$ref": "#/definitions/X"}},
    }
    assert json_schema(schema) == {
        "$defs": {"X": {"type": "string"}},
        "properties": {"a": {"$ref": "#/$defs/X"}},
    }
    assert OpenApi().parameters(schema) == {"type": "object", "properties": {"a": {"type": "string"}}}
    root = {"$ref": "#/definitions/X", "definitions": {"X": {"type": "object"}}}
    assert json_schema(root) == {"$ref": "#/$defs/X", "$defs": {"X": {"type": "object"}}}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param({"type": ["string", "null"]}, {"type": "string", "nullable": True}, id="G-055"),
        pytest.param({"type": ["null"]}, {"type": "string", "nullable": True}, id="G-055 only null"),
        pytest.param({"const": None}, {"type": "string", "nullable": True}, id="G-055 null alone"),
        pytest.param(
            {"type": ["string", "integer", "null"], "description": "d", "maxLength": 3},
            {
                "anyOf": [
                    {"type": "string", "description": "d", "maxLength": 3, "nullable": True},
                    {"type": "integer", "description": "d", "nullable": True},
                ]
            },
            id="G-055 several",
        ),
        pytest.param(
            {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "d", "default": None},
            {"type": "string", "nullable": True, "description": "d", "default": None},
            id="G-056",
        ),
        pytest.param(
            {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}], "default": "x"},
            {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
            id="G-056 two branches",
        ),
        pytest.param(
            {"anyOf": [{"type": "null"}]}, {"type": "string", "nullable": True}, id="G-056 null alone"
        ),
        pytest.param(
            {"oneOf": [{"const": "a"}, {"const": "b"}]},
            {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "string", "enum": ["b"]}]},
            id="G-057",
        ),
        pytest.param(
            {
                "type": "object",
                "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
            },
            {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                        "required": [name],
                    }
                    for name in "ab"
                ]
            },
            id="what stands beside anyOf goes into the branches",
        ),
        pytest.param({"type": "array"}, {"type": "array", "items": {"type": "string"}}, id="G-058"),
        pytest.param(
            {"type": "array", "items": {}}, {"type": "array", "items": {"type": "string"}}, id="G-058 empty"
        ),
        pytest.param(
            {"prefixItems": [{"type": "string"}, {"type": "integer"}]},
            {
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            },
            id="tuple",
        ),
        pytest.param(
            {"type": "object", "properties": {}, "nullable": True},
            {"type": "string", "nullable": True, "description": TEXT},
            id="no properties",
        ),
        pytest.param(
            {"type": "array", "items": {"type": "object", "description": "A row."}},
            {"type": "array", "items": {"type": "string", "description": f"A row. {TEXT}"}},
            id="no properties in items",
        ),
        pytest.param({}, {"type": "string"}, id="anything"),
        pytest.param(True, {"type": "string"}, id="true"),
        pytest.param({"type": "any"}, {"type": "string"}, id="a type nobody knows"),
        pytest.param({"type": "STRING"}, {"type": "string"}, id="upper case"),
        pytest.param(
            {"enum": [True, False]},
            {"type": "boolean", "description": "Allowed values: true, false"},
            id="G-059 booleans",
        ),
        pytest.param(
            {"enum": ["a", 1]}, {"type": "string", "description": "Allowed values: a, 1"}, id="G-059 mixed"
        ),
        pytest.param(
            {"allOf": [{"enum": ["a"]}], "nullable": True},
            {"type": "string", "nullable": True, "enum": ["a"]},
            id="a nullable enum without a type",
        ),
        pytest.param(
            {"enum": ["a", None, ""]},
            {"type": "string", "nullable": True, "enum": ["a"], "description": "May be empty."},
            id="G-060",
        ),
        pytest.param(
            {"type": "object", "additionalProperties": {"type": "integer"}},
            {"type": "string", "description": TEXT},
            id="G-061 free keys",
        ),
        pytest.param(
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a", "b"]},
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            id="G-062",
        ),
        pytest.param(
            {"type": "string", "format": "date"},
            {"type": "string", "description": "Format: date"},
            id="format",
        ),
        pytest.param(
            {"type": "integer", "format": "int64"}, {"type": "integer", "format": "int64"}, id="int64"
        ),
        pytest.param(
            {"type": "string", "minLength": "2", "pattern": 5}, {"type": "string"}, id="wrong types"
        ),
        pytest.param({"type": "string", "minLength": True}, {"type": "string"}, id="a boolean is no number"),
        pytest.param(
            {"$ref": "#/nowhere", "description": "d"},
            {"type": "string", "description": "d"},
            id="lost reference",
        ),
    ],
)
def test_the_open_api_form(schema: Json, expected: Json) -> None:
    """G-055 to G-062."""
    assert prop(schema) == expected


def test_integers_with_an_enum_on_newer_models() -> None:
    """G-059: strings of the numbers, as far as a double and 2000 characters reach."""
    convert = OpenApi(integer_enums=True).schema
    assert convert({"enum": [1, 2]}) == {"type": "integer", "enum": ["1", "2"]}
    assert convert({"enum": [2**53 + 2]})["description"] == f"Allowed values: {2**53 + 2}"
    many = {"enum": list(range(1000, 1600))}
    assert "enum" not in convert(many)
    assert "enum" not in OpenApi(integer_enums=True).schema({"enum": [1.5]})


def test_the_top_level_is_an_object() -> None:
    """G-049."""
    branches = [
        {
            "type": "object",
            "properties": {"a": {"type": "string"}, "c": {"type": "string"}},
            "required": ["a", "c"],
        },
        {
            "type": "object",
            "properties": {"b": {"type": "integer"}, "c": {"type": "string"}},
            "required": ["c"],
        },
        {"type": "null"},
    ]
    for form in (OpenApi().parameters, parameters_schema):
        assert form({"anyOf": branches}) == {
            "type": "object",
            "properties": {"a": {"type": "string"}, "c": {"type": "string"}, "b": {"type": "integer"}},
            "required": ["c"],
        }


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param({"$ref": "#/$defs/X"}, {"type": "object", "properties": {"a": A}}, id="reference"),
        pytest.param(
            {"oneOf": [{"$ref": "#/$defs/X"}, {"properties": {"b": A}}]},
            {"type": "object", "properties": {"a": A, "b": A}},
            id="choice of references",
        ),
        pytest.param(
            {"allOf": [{"$ref": "#/$defs/X"}, {"properties": {"b": A}}]},
            {"properties": {"a": A, "b": A}, "type": "object"},
            id="merge",
        ),
        pytest.param(
            {"type": ["object", "null"], "properties": {"a": A}},
            {"type": "object", "properties": {"a": A}},
            id="type list",
        ),
        pytest.param({"properties": {"a": A}}, {"properties": {"a": A}, "type": "object"}, id="no type"),
        pytest.param({"type": "any"}, {"type": "object"}, id="anything"),
        pytest.param(
            {
                "properties": {"a": A, "b": A},
                "anyOf": [{"required": ["a"]}, {"required": ["b", "a"]}],
                "required": ["b"],
            },
            {"properties": {"a": A, "b": A}, "required": ["b"], "type": "object"},
            id="choice of what is required",
        ),
    ],
)
def test_a_root_that_can_be_an_object_becomes_one(schema: Json, expected: Json) -> None:
    known = {"X": {"type": "object", "properties": {"a": A}}}
    found = parameters_schema({**schema, "$defs": known})
    assert found.pop("$defs") == known
    found.pop("description", None)
    assert found == expected


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "describes string"),
        ({"type": ["array", "null"]}, "describes array or null"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "describes something else"),
        ({"$ref": "#/$defs/X", "$defs": {"X": {"type": "number"}}}, "describes something else"),
        ({"const": 3}, "describes integer"),
    ],
)
def test_a_root_that_is_no_object_is_refused(schema: Json, words: str) -> None:
    for form in (OpenApi().parameters, parameters_schema):
        with pytest.raises(RequestError, match=words):
            form(schema)


def test_answers_can_be_ordered_like_their_schema() -> None:
    schema = {"properties": {"b": {"type": "string"}, "a": {"properties": {"z": {}, "y": {}}}}}
    assert OpenApi(ordering=True).schema(schema) == {
        "type": "object",
        "properties": {
            "b": {"type": "string"},
            "a": {
                "type": "object",
                "properties": {"z": {"type": "string"}, "y": {"type": "string"}},
                "propertyOrdering": ["z", "y"],
            },
        },
        "propertyOrdering": ["b", "a"],
    }


TREE = {
    "$ref": "#/$defs/Node",
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "value": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            },
        }
    },
}


def test_a_recursive_schema_ends() -> None:
    """G-052: cut where it begins again; the JSON Schema form keeps the reference."""
    assert OpenApi().parameters(TREE) == {
        "type": "object",
        "properties": {
            "value": {"type": "string"},
            "children": {
                "type": "array",
                "items": {"type": "string", "description": f"The same structure again. {TEXT}"},
            },
        },
    }
    assert json_schema(TREE) == TREE


NODE = {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("definitions", "expected"),
    [
        pytest.param(
            {"Node": {"type": "object", "properties": {"a": A, "next": NODE}, "required": ["a", "next"]}},
            {"Node": {"type": "object", "properties": {"a": A, "next": NODE}, "required": ["a"]}},
            id="itself, or null",
        ),
        pytest.param(
            {
                "Node": {
                    "properties": {"b": {"type": "array", "items": {"$ref": "#/$defs/B"}}},
                    "required": ["b"],
                },
                "B": {
                    "properties": {"n": {"$ref": "#/$defs/Node"}, "c": {"$ref": "#/$defs/C"}},
                    "required": ["n", "c"],
                },
                "C": {"properties": {"a": A}, "required": ["a"]},
            },
            {
                "Node": {"properties": {"b": {"type": "array", "items": {"$ref": "#/$defs/B"}}}},
                "B": {
                    "properties": {"n": {"$ref": "#/$defs/Node"}, "c": {"$ref": "#/$defs/C"}},
                    "required": ["c"],
                },
                "C": {"properties": {"a": A}, "required": ["a"]},
            },
            id="each other",
        ),
        pytest.param(
            {
                "Node": {
                    "properties": {"deep": {"properties": {"next": NODE}, "required": ["next"]}},
                    "required": ["deep"],
                }
            },
            {"Node": {"properties": {"deep": {"properties": {"next": NODE}}}, "required": ["deep"]}},
            id="the nearest property",
        ),
        pytest.param(
            {"Node": {"properties": {"next": {"properties": {"n": NODE}, "required": ["n"]}}}},
            {"Node": {"properties": {"next": {"properties": {"n": NODE}, "required": ["n"]}}}},
            id="not required further up",
        ),
        pytest.param(
            {"Node": {"anyOf": [A, {"type": "array", "items": {"$ref": "#/$defs/Node"}}]}},
            {
                "Node": {
                    "anyOf": [A, {"type": "array", "items": {"description": "The same structure again."}}]
                }
            },
            id="no property",
        ),
    ],
)
def test_what_leads_back_to_itself_is_not_required(definitions: Json, expected: Json) -> None:
    """Google takes cycles in properties that are not required, and nowhere else."""
    root = {"type": "object", "properties": {"n": {"$ref": "#/$defs/Node"}}, "required": ["n"]}
    before = copy.deepcopy(definitions)
    assert json_schema({**root, "$defs": definitions}) == {**root, "$defs": expected}
    assert definitions == before


def test_many_definitions_in_one_circle_take_a_moment() -> None:
    names = [f"d{number}" for number in range(2000)]
    definitions = {
        name: {"type": "object", "properties": {"n": {"$ref": f"#/$defs/{following}"}}, "required": ["n"]}
        for name, following in zip(names, [*names[1:], names[0]], strict=True)
    }
    found = json_schema({"$ref": "#/$defs/d0", "$defs": definitions})
    assert not any("required" in one for one in found["$defs"].values())


def test_keywords_in_the_spelling_of_googles_sdk_are_understood() -> None:
    schema = {"any_of": [{"type": "ARRAY", "items": A, "max_items": 3}, {"type": "NULL"}]}
    assert light(schema) == {"anyOf": [{"type": "array", "items": A, "maxItems": 3}, {"type": "null"}]}
    assert prop(schema) == {"type": "array", "items": A, "maxItems": 3, "nullable": True}


@pytest.mark.parametrize("merged", [False, True], ids=["referenced", "merged"])
def test_definitions_that_use_each_other_twice_stay_small(merged: bool) -> None:
    """G-052: sixty levels of two would be 2**60 nodes."""

    def use(number: int) -> Json:
        reference = {"$ref": f"#/$defs/D{number}"}
        return {"allOf": [reference, {"minProperties": 1}]} if merged else reference

    levels = {
        f"D{number}": {"type": "object", "properties": {"a": use(number + 1), "b": use(number + 1)}}
        for number in range(60)
    }
    schema = {**use(0), "$defs": levels}
    with pytest.raises(RequestError, match="too large"):
        OpenApi().parameters(schema)
    if merged:
        with pytest.raises(RequestError, match="too large"):
            json_schema(schema)
    else:
        last = {"type": "object", "properties": {"a": {}, "b": {}}}  # the sixtieth does not exist
        assert json_schema(schema) == {**schema, "$defs": {**levels, "D59": last}}


BOMB = {"$defs": {f"D{n}": {"anyOf": [{"$ref": f"#/$defs/D{n + 1}"}] * 2} for n in range(22)}}
BOMB["$defs"]["D22"] = {"properties": {"a": A}}
NAMES_60_000 = [f"n{number}" for number in range(60_000)]
WIDE_DEFINITION = {"X": {"properties": dict.fromkeys(NAMES_60_000[:3000], A)}}


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({**BOMB, "$ref": "#/$defs/D0"}, id="choices of references 22 levels deep"),
        pytest.param({**BOMB, "properties": {"a": {"$ref": "#/$defs/D0"}}}, id="the same in a property"),
        pytest.param({"properties": dict.fromkeys(NAMES_60_000, A)}, id="wide"),
        pytest.param(
            {
                "$defs": WIDE_DEFINITION,
                "properties": {
                    name: {"allOf": [{"$ref": "#/$defs/X"}, {"minProperties": 1}]}
                    for name in NAMES_60_000[:3000]
                },
            },
            id="merged again and again",
        ),
        pytest.param(
            {
                "$defs": {"X": {"type": "string", "description": "d" * 1_000_000}},
                "properties": {name: {"$ref": "#/$defs/X"} for name in NAMES_60_000[:3000]},
            },
            id="a long text again and again",
        ),
        pytest.param(
            {
                "properties": dict.fromkeys(NAMES_60_000[:4000], A),
                "required": NAMES_60_000[:4000],
                "anyOf": [{"required": [name]} for name in NAMES_60_000[:4000]],
            },
            id="surroundings in each branch",
        ),
    ],
)
def test_what_the_open_api_form_writes_out_is_counted(schema: Json) -> None:
    """No schema costs more than its steps, however small it is: 22 levels are 4,194,304 branches."""
    budget = Budget(20_000)
    with pytest.raises(RequestError, match="too large: with its references written out it is over 20000"):
        OpenApi(budget=budget).parameters(schema)
    assert budget.left < 0


def test_merging_long_lists_of_names_takes_each_name_once() -> None:
    """60,000 names were looked for in a list of 60,000."""
    branches = [{"required": NAMES_60_000}, {"required": [*NAMES_60_000, "a"]}, {"properties": {"a": A}}]
    budget = Budget(20_000)
    assert json_schema({"allOf": branches}, budget) == {"properties": {"a": A}, "required": ["a"]}
    assert budget.left == 20_000 - (1 + 1 + 6_000 + 1 + 6_000 + 1 + 1 + 1)


def test_the_schemas_of_one_request_share_their_steps() -> None:
    wide: Json = {"properties": dict.fromkeys(NAMES_60_000[:6000], A)}
    budget = Budget()
    converter = OpenApi(budget=budget)
    converter.parameters(wide)
    with pytest.raises(RequestError, match="too large"):
        converter.parameters(wide)


def test_references_in_a_circle_and_merges_in_a_circle_end() -> None:
    """G-052."""
    circle = {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}}
    assert OpenApi().parameters(circle) == {"type": "object"}
    inner = OpenApi().parameters({"properties": {"p": {"$ref": "#/$defs/A"}}, "$defs": circle["$defs"]})
    assert inner["properties"]["p"] == {"type": "string", "description": f"The same structure again. {TEXT}"}
    merging = {"$defs": {"A": {"allOf": [{"$ref": "#/$defs/A"}, {"type": "object"}]}}, "$ref": "#/$defs/A"}
    assert OpenApi().parameters(merging) == {"type": "object"}


def test_a_schema_nested_too_deeply_is_refused() -> None:
    """G-052."""
    schema: Json = {"type": "string"}
    for _ in range(3000):
        schema = {"type": "array", "items": schema}
    for convert in (json_schema, OpenApi().parameters):
        with pytest.raises(RequestError, match="too deeply"):
            convert(schema)


def test_json_pointers_are_unescaped() -> None:
    """G-051."""
    schema = {
        "$defs": {"a/b": {"type": "integer"}, "c~d": {"type": "number"}, "e f": {"type": "boolean"}},
        "properties": {
            "x": {"$ref": "#/$defs/a~1b"},
            "y": {"$ref": "#/$defs/c~0d"},
            "z": {"$ref": "#/$defs/e%20f"},
        },
    }
    found = OpenApi().parameters(schema)["properties"]
    assert [one["type"] for one in found.values()] == ["integer", "number", "boolean"]


@pytest.mark.parametrize(
    ("schema", "empty"),
    [
        (None, True),
        ("", True),
        ({}, True),
        ({"type": "object"}, True),
        ({"type": "object", "properties": {}, "required": [], "additionalProperties": False}, True),
        ({"$schema": "x", "type": "object", "title": "T", "description": "d"}, True),
        ({"type": "object", "properties": {"a": {}}}, False),
        ({"type": "object", "additionalProperties": {"type": "string"}}, False),
        ({"$ref": "#/$defs/X"}, False),
        ({"anyOf": [{"type": "object"}]}, False),
        ({"oneOf": [{"type": "object"}]}, False),
        ({"type": "string"}, False),
        ({"type": "object", "patternProperties": {"^(.*)$": A}}, False),
        ({"type": "object", "if": {}, "then": {"properties": {"a": A}}}, False),
        ({"type": "object", "if": {}, "then": {"required": ["a"]}}, True),
    ],
)
def test_which_parameters_say_nothing(schema: Any, empty: bool) -> None:
    """G-046."""
    assert is_empty(schema) is empty


def test_conditions_in_conditions_and_very_many_of_them_end() -> None:
    deep: Json = {"properties": {"a": A}}
    for _ in range(3000):
        deep = {"if": {}, "then": {}, "else": deep}
    assert not is_empty(deep)
    with pytest.raises(RequestError, match="nested too deeply"):
        parameters_schema(deep)
    many = {"allOf": [{"if": {}, "then": {"properties": {"a": {"const": n}}}} for n in range(3000)]}
    assert parameters_schema(many) == {"type": "object", "properties": {"a": {}}}


# --- any schema ----------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "format", "title", "$ref", "properties", "const"])
VALUES = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.sampled_from(["", "a", "b"])


def some(optional: dict[str, st.SearchStrategy[Any]], most: int) -> st.SearchStrategy[Json]:
    """A few of these members, in any order. (Half of all of them make a schema that is mostly thrown away as
    too large, after the time to draw it.)"""
    chosen = st.lists(st.sampled_from(list(optional)), max_size=most, unique=True)

    @st.composite
    def members(draw: st.DrawFn) -> Json:
        return {name: draw(optional[name]) for name in draw(chosen)}

    return members()


KEYWORDS = some(
    {
        "type": st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null", "odd"])
        | st.sampled_from(["OBJECT", "ARRAY", "String", "str", "dict", "any", 5, {}])
        | st.lists(st.sampled_from(["string", "integer", "null", "array", "OBJECT", 1]), max_size=3),
        "title": st.text(max_size=3),
        "description": st.text(max_size=3) | st.just(5),
        "format": st.sampled_from(["date-time", "email", "int32", "date", {}, []]),
        "enum": st.lists(VALUES | st.just([1]) | st.just({"a": 1}), max_size=4),
        "const": VALUES,
        "default": VALUES,
        "minimum": VALUES,
        "exclusiveMinimum": VALUES,
        "exclusiveMaximum": VALUES,
        "minItems": VALUES,
        "pattern": VALUES,
        "nullable": VALUES,
        "required": st.none() | st.lists(NAMES | st.just([]), max_size=3),
        "propertyOrdering": st.lists(NAMES, max_size=2),
        "$schema": st.just("x"),
        "$ref": st.sampled_from(
            ["#/$defs/a", "#/$defs/b", "#", "#/properties/a", "x.json", "#a", "#/$defs/a/items", 7]
        ),
        "uniqueItems": st.booleans(),
        "x-vendor": VALUES,
    },
    most=10,
)


def _nest(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    named = st.dictionaries(NAMES, inner, max_size=3)
    several = st.lists(inner, max_size=3)
    nested = some(
        {
            "properties": named,
            "$defs": named,
            "definitions": named,
            "patternProperties": named,
            "dependentSchemas": named,
            "then": inner,
            "items": inner | several,
            "prefixItems": several,
            "additionalProperties": inner,
            "anyOf": several,
            "oneOf": several,
            "allOf": several,
            "not": inner,
            "if": inner,
        },
        most=4,
    )
    return st.builds(lambda plain, deep: {**plain, **deep}, KEYWORDS, nested)


SCHEMAS = st.recursive(KEYWORDS | st.booleans(), _nest, max_leaves=12)
ROOTS = st.builds(
    lambda schema, defs: {**schema, "$defs": defs},
    _nest(SCHEMAS),
    st.fixed_dictionaries({"a": SCHEMAS, "b": SCHEMAS}),
)


def nodes(schema: Json) -> Iterator[Json]:
    yield schema
    for child in schema.get("properties", {}).values():
        yield from nodes(child)
    for child in schema.get("anyOf", ()):
        yield from nodes(child)
    if "items" in schema:
        yield from nodes(schema["items"])


@given(ROOTS, st.booleans())
def test_any_schema_becomes_one_that_the_proto_accepts(schema: Json, newer: bool) -> None:
    """G-047, G-049, G-052, G-058, G-060 to G-063."""
    before = copy.deepcopy(schema)
    answer = OpenApi(integer_enums=newer).schema(schema)
    inner = {"properties": {"a": schema, "b": {"$ref": "#/properties/a"}}, "$defs": schema["$defs"]}
    converted = OpenApi(integer_enums=newer).parameters(inner)
    json_schema(schema)
    assert schema == before
    assert converted["type"] == "object"
    for node in [*nodes(answer), *nodes(converted)]:
        assert set(node) <= WHITELIST
        assert ("anyOf" in node) != ("type" in node)
        if "anyOf" in node:
            assert set(node) == {"anyOf"}
            assert len(node["anyOf"]) > 1
        assert all(isinstance(value, str) and value for value in node.get("enum", ()))
        assert node.get("enum") != []
        if node.get("type") == "object" and node is not answer and node is not converted:
            assert node["properties"]
        assert set(node.get("required", ())) <= set(node.get("properties", ()))
        assert (node.get("type") == "array") == ("items" in node)
    json.dumps(converted)


KINDS = {"object", "array", "string", "number", "integer", "boolean", "null"}


def refused(node: Any, defined: set[str], place: str = "schema") -> Iterator[str]:
    """What Google refuses of a schema in the JSON form, by the messages its users report."""
    kinds = node.get("type", [])
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    if not kinds <= KINDS or node.get("type") == []:
        yield f"{place}.type"
    if "array" in kinds and node.keys().isdisjoint(("items", "prefixItems")):
        yield f"{place}.items: missing field"
    if kinds and "object" not in kinds and not node.keys().isdisjoint(("properties", "required")):
        yield f"{place}.properties: only allowed for OBJECT type"
    if kinds and "array" not in kinds and not node.keys().isdisjoint(("items", "prefixItems")):
        yield f"{place}.items: only allowed for ARRAY type"
    if not set(node.get("required", ())) <= set(node.get("properties", ())):
        yield f"{place}.required: property is not defined"
    if "$ref" in node and (node["$ref"] not in defined or not set(node) <= {"$ref", "$defs", "description"}):
        yield f"{place}.$ref"
    for key in ("anyOf", "prefixItems", "required", "enum"):
        if node.get(key) == []:
            yield f"{place}.{key}: empty"
    if not isinstance(node.get("description", ""), str) or not isinstance(node.get("format", ""), str):
        yield f"{place}: a word that is none"
    children = {**node.get("properties", {}), **node.get("$defs", {})}
    children |= {
        f"{key}{i}": one for key in ("anyOf", "prefixItems") for i, one in enumerate(node.get(key, ()))
    }
    children |= {key: node[key] for key in ("items", "additionalProperties") if key in node}
    for name, child in children.items():
        if not isinstance(child, bool):
            yield from refused(child, defined, f"{place}.{name}")
    known = node.get("$defs", {})
    for name, target in known.items():
        if (circle := demanded(target, known, [])) is not None:
            yield f"{place}.$defs.{name}: demands itself by {circle}"


def demanded(node: Any, known: Json, by: list[str]) -> list[str] | None:
    """The references that lead from a schema to itself through nothing that may be left out."""
    if isinstance(node, bool):
        return None
    if "$ref" in node:
        if node["$ref"] in by:
            return by
        return demanded(known[node["$ref"].removeprefix("#/$defs/")], known, [*by, node["$ref"]])
    must = [one for name, one in node.get("properties", {}).items() if name in node.get("required", ())]
    must += [*node.get("anyOf", ()), *node.get("prefixItems", ())]
    must += [node[key] for key in ("items", "additionalProperties") if key in node]
    return next((found for one in must if (found := demanded(one, known, by)) is not None), None)


@given(ROOTS)
def test_what_google_refuses_never_leaves(schema: Json) -> None:
    inner = {"properties": {"a": schema, "b": {"$ref": "#/properties/a"}}, "$defs": schema["$defs"]}
    for found in (json_schema(schema), parameters_schema(inner)):
        defined = {f"#/$defs/{name}" for name in found.get("$defs", ())}
        assert list(refused(found, defined)) == []


@given(ROOTS)
def test_the_light_form_of_any_schema_holds_nothing_that_was_to_go(schema: Json) -> None:
    """G-053, G-054, G-057, G-060."""

    def check(node: Any) -> None:
        assert isinstance(node, dict)
        assert node.keys().isdisjoint(
            {
                "$schema",
                "title",
                "const",
                "allOf",
                "oneOf",
                "not",
                "if",
                "then",
                "dependentSchemas",
                "patternProperties",
                "definitions",
                "uniqueItems",
                "exclusiveMinimum",
            }
        )
        for key in ("properties", "$defs"):
            for child in node.get(key, {}).values():
                check(child)
        for key in ("anyOf", "prefixItems"):
            for child in node.get(key, ()):
                check(child)
        for key in ("items", "additionalProperties"):
            if not isinstance(node.get(key, True), bool):
                check(node[key])

    check(json_schema(schema))


def test_a_schema_too_deep_for_the_open_api_form() -> None:
    """G-052: it needs more room for each level than the light form."""
    deep: Json = {"type": "string"}
    for _ in range(240):
        deep = {"type": "array", "items": deep}
    json_schema(deep)
    with pytest.raises(RequestError, match="too deeply"):
        OpenApi().schema(deep)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param(
            {"type": ["string", "null"], "anyOf": [{"maxLength": 3}, {"pattern": "x"}]},
            {
                "anyOf": [
                    {"type": "string", "nullable": True, "maxLength": 3},
                    {"type": "string", "nullable": True, "pattern": "x"},
                ]
            },
            id="types beside a choice",
        ),
        pytest.param(
            {"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "integer"}},
            {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
            id="open tuple",
        ),
        pytest.param({"$ref": "#/properties/q/anyOf/1"}, {"type": "boolean"}, id="a pointer into a list"),
        pytest.param(
            {"type": "string", "format": "email", "description": "Format: email"},
            {"type": "string", "description": "Format: email"},
            id="said already",
        ),
    ],
)
def test_rarer_shapes(schema: Json, expected: Json) -> None:
    """G-051, G-055, G-058."""
    other = {"anyOf": [{"type": "integer"}, {"type": "boolean"}]}
    converted = OpenApi().parameters({"type": "object", "properties": {"p": schema, "q": other}})
    assert converted["properties"]["p"] == expected


def test_integer_enums_may_be_written_as_text() -> None:
    """G-059."""
    assert OpenApi(integer_enums=True).schema({"type": "integer", "enum": ["1", "2"]}) == {
        "type": "integer",
        "enum": ["1", "2"],
    }
