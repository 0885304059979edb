"""What a Gemini model can do, read once from `profiles/gemini-models.yaml`; its head explains every field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Literal

import orjson
import yaml

from proxy.pictures.sizes import SizePolicy, offered
from proxy.types import Abilities, Json, Target

_FILE = "gemini-models.yaml"
_LONGEST_KEPT = 256  # characters of a name, which a client may have made up
_NOT_CAPABILITIES = ("match", "family", "source", "aliases", "sunset", "price")


@dataclass(frozen=True, slots=True)
class Thought:
    """How thinking is asked for: not at all, by a budget of tokens, or by a level."""

    kind: Literal["none", "budget", "level"] = "none"
    min: int = 0
    max: int = 0
    zero: bool = False
    levels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Embedding:
    """What vectors it makes: of at most `size` numbers, `unit` long whatever is asked for, `batch` in a call.
    `task_words`: what they are for is said in the text."""

    size: int
    batch: int = 100
    unit: bool = False
    task_words: bool = False


@dataclass(frozen=True, slots=True)
class ModelTraits:
    """One model's capabilities. `id` is what is sent; the others are described at the head of the file."""

    id: str
    thinking: Thought = Thought()
    sampling: Literal["pass", "drop"] = "pass"
    penalties: bool = False
    prefill: bool = False
    candidates: int = 1
    function_ids: bool = False
    signatures: Literal["none", "optional", "required"] = "none"
    sign_images: bool = False
    tool_media: bool = False
    integer_enums: bool = False
    tool_config: bool = True
    mixed_tools: bool = False
    json_with_tools: bool = False
    schema: Literal["jsonschema", "openapi"] = "jsonschema"
    validated: bool = False
    functions: bool = True
    json: bool = True
    system: bool = True
    media_resolution: Literal["part", "global", "none"] = "none"
    image: SizePolicy | None = None
    image_tokens: int = 1120
    speech: bool = False
    embedding: Embedding | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    price: Mapping[str, Any] = field(default_factory=dict)
    sunset: str | None = None


def find(name: str, options: Mapping[str, Any]) -> ModelTraits:
    """The model a target means.

    `options["aliases"]` replaces Google's own other names for models, `options["capabilities"]` overrides
    fields of the row found.
    """
    aliases, capabilities = options.get("aliases"), options.get("capabilities")
    if aliases is None and not capabilities:
        return _known(name) if len(name) <= _LONGEST_KEPT else _known.__wrapped__(name)
    return _special(name, orjson.dumps([aliases, capabilities], option=orjson.OPT_SORT_KEYS))


def abilities(target: Target) -> Abilities:
    """Models that speak or embed read text, those that draw pictures too, all others everything."""
    model = find(target.model, target.options)
    known: Json = {
        "input_tokens": model.limits.get("input"),
        "output_tokens": model.limits.get("output"),
        "thinks": model.thinking.kind != "none",
    }
    if model.embedding is not None:
        return Abilities(("text",), ("embeddings",), **known)
    if model.speech:
        return Abilities(("text",), ("audio",), **known)
    if model.image is not None:
        return Abilities(("text", "image"), ("text", "image"), *offered(model.image), **known)
    return Abilities(("text", "image", "audio", "video", "file"), ("text",), **known)


@lru_cache(maxsize=1024)
def _known(name: str) -> ModelTraits:
    return _build(plain := _plain(name), _google_aliases().get(plain, _sent(name)), {})


@lru_cache(maxsize=256)
def _special(name: str, dumped: bytes) -> ModelTraits:
    aliases, capabilities = orjson.loads(dumped)
    known = _google_aliases() if aliases is None else aliases
    return _build(_plain(name), known.get(_plain(name), _sent(name)), capabilities or {})


def _sent(name: str) -> str:
    """The id as it goes into the URL."""
    return name.removeprefix("publishers/google/").removeprefix("models/")


def _plain(name: str) -> str:
    """The id without a reseller's or Vertex' decorations, for looking it up."""
    return name.rpartition("/")[2].partition("@")[0].lower()


def _build(plain: str, sent: str, overrides: Json) -> ModelTraits:
    resolved = _plain(sent)
    row = _row(resolved)
    values: Json = {**_document()["families"][row["family"]]}
    values |= {key: value for key, value in row.items() if key not in _NOT_CAPABILITIES}
    values |= {key: row[key] for key in ("price",) if key in row} | overrides
    if "sunset" in row:
        values["sunset"] = str(row["sunset"])
    if "thinking" in values:
        thinking = values["thinking"]
        values["thinking"] = Thought(**{**thinking, "levels": tuple(thinking.get("levels", ()))})
    if values.get("image"):
        image = values["image"]
        values["image"] = SizePolicy(tuple(image["ratios"]), tuple(map(str, image["sizes"])), closed=True)
    if values.get("embedding"):
        values["embedding"] = Embedding(**values["embedding"])
    return ModelTraits(id=sent, **values)


def _row(plain: str) -> Json:
    exact = _rows_by_id().get(plain)
    if exact is not None:
        return exact
    found: Json = next(row for row in _document()["models"] if fnmatchcase(plain, row["match"]))
    return found


@cache
def _document() -> Json:
    text = (files("proxy.profiles") / _FILE).read_bytes()
    document: Json = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return document


@cache
def _rows_by_id() -> dict[str, Json]:
    return {row["match"]: row for row in _document()["models"]}


@cache
def _google_aliases() -> dict[str, str]:
    return {alias: row["match"] for row in _document()["models"] for alias in row.get("aliases", ())}
