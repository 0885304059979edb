"""Reads the body of an embeddings request, and a model's defaults for one."""

from __future__ import annotations

from typing import Any

from proxy.fronts import checks
from proxy.fronts.base import Parsed
from proxy.fronts.openai.embeddings.shape import EmbeddingShape
from proxy.fronts.openai.fields.reading import Reading
from proxy.types import EmbedRequest, Json, Slice

INPUTS_MAX = 2048

# What vectors may be for (E-008), and how the clients of other vendors say it.
TASKS = (
    "semantic_similarity",
    "classification",
    "clustering",
    "retrieval_document",
    "retrieval_query",
    "question_answering",
    "fact_verification",
    "code_retrieval_query",
)
_INPUT_TYPES = {
    "query": "retrieval_query",
    "search_query": "retrieval_query",
    "document": "retrieval_document",
    "passage": "retrieval_document",
    "search_document": "retrieval_document",
    "classification": "classification",
    "clustering": "clustering",
}


def _task(value: Any, path: str) -> str:
    word = checks.string(value, path)
    if word.lower() not in TASKS:
        raise checks.invalid_value(path, value, [task.upper() for task in TASKS])
    return word.lower()


def _input_type(value: Any, path: str) -> str:
    return _INPUT_TYPES[checks.one_of(*_INPUT_TYPES)(value, path)]


SIMPLE: dict[str, tuple[str, checks.Check]] = {
    "model": ("model", checks.required_string),
    "dimensions": ("dimensions", checks.integer(1)),
    "user": ("user", checks.string),
    "title": ("title", checks.string),
    "input_type": ("task", _input_type),
    "task_type": ("task", _task),
}
_ELSEWHERE = frozenset({"input", "encoding_format"})


def parse(body: Any) -> Parsed[EmbedRequest, EmbeddingShape]:
    """Read a body as `jsonio.loads` gave it. Raises `RequestError`."""
    model = checks.model_of(body)
    reading = Reading()
    read(body, reading)
    request = reading.request | {"model": model, "inputs": _inputs(body.get("input"))}
    if reading.foreign:
        request["foreign"] = reading.foreign_fields()
    encoding = body.get("encoding_format")
    if encoding is not None:
        encoding = checks.one_of("float", "base64")(encoding, "encoding_format")
    shape = EmbeddingShape(model, encoding or "float", tuple(body))
    return Parsed(EmbedRequest(**request), shape, tuple(reading.notes.named.values()))


def read(body: Json, reading: Reading) -> None:
    """Read all fields but the input and what shapes the reply."""
    for key, value in body.items():
        if value is None or key in _ELSEWHERE:
            continue
        if (simple := SIMPLE.get(key)) is not None:
            reading.request[simple[0]] = simple[1](value, key)
        elif key == "stream":
            reading.notes.add(key)
        else:
            reading.add_foreign(key, value)


def _inputs(value: Any) -> tuple[str | tuple[int, ...], ...]:
    """One text or a list of them, the token ids of one text or a list of such (E-007: none of them empty)."""
    if value is None:
        raise checks.missing("input")
    if isinstance(value, str | Slice):
        return (checks.required_string(value, "input"),)
    entries = checks.array(value, "input")
    if not entries:
        raise checks.invalid("input", "empty array. Expected at least one text.", "empty_array")
    if type(entries[0]) is int:
        return (_tokens(entries, "input"),)
    if len(entries) > INPUTS_MAX:
        sentence = f"array too long. Expected at most {INPUTS_MAX} entries, but got {len(entries)} instead."
        raise checks.invalid("input", sentence, "array_above_max_length")
    if isinstance(entries[0], list):
        return tuple(_tokens(entry, f"input[{index}]") for index, entry in enumerate(entries))
    return tuple(checks.required_string(entry, f"input[{index}]") for index, entry in enumerate(entries))


def _tokens(value: Any, path: str) -> tuple[int, ...]:
    entries = checks.array(value, path)
    if not entries:
        raise checks.invalid(path, "empty array. Expected at least one token id.", "empty_array")
    wrong = next((index for index, token in enumerate(entries) if type(token) is not int), None)
    if wrong is not None:
        raise checks.invalid_type(f"{path}[{wrong}]", "an integer", entries[wrong])
    if not 0 <= min(entries) <= max(entries) < 2**31:
        raise checks.invalid(path, "no token has such an id.", "invalid_value")
    return tuple(entries)
