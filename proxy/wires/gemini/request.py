"""A chat request as a call of `generateContent`.

What a model can do is data (`models.py`); messages, tools and parameters have a module each; this one puts
the body together, lays the client's own Gemini fields over it, and lists what could not be carried.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from proxy.errors import RequestError
from proxy.types import Call, ChatRequest, Json, Target
from proxy.wires.gemini import contents, generation, media, models, native, tools
from proxy.wires.gemini.models import ModelTraits
from proxy.wires.gemini.names import Names
from proxy.wires.gemini.repairs import NO_LOGPROBS, SCHEMA_FORM

if TYPE_CHECKING:
    from proxy.wires.gemini.bodies import Body

# OpenAI's word -> Google's; `auto` and None send nothing, others have no counterpart.
_SERVICE_TIERS = {"default": "standard", "standard": "standard", "flex": "flex", "priority": "priority"}
_VERTEX_TIER = "X-Vertex-AI-LLM-Shared-Request-Type"

DIALECT = "gemini"

_SCHEMAS = frozenset({"responseSchema", "responseJsonSchema"})
_LABEL_KEY = re.compile(r"[^a-z0-9_-]")


def build(request: ChatRequest, target: Target, repairs: frozenset[str] = frozenset()) -> Call:
    """Translate. Raises `RequestError` where the model cannot do what only the client can change."""
    dropped: list[str] = []
    if request.foreign is not None:
        if relays(request, target):
            from proxy.wires.gemini import relay  # most servers never get a body in Google's own words

            return relay.build(request, target, repairs)
        dropped += request.foreign.paths()
    options = target.options
    model = models.find(target.model, options)
    if model.embedding is not None:
        raise RequestError(
            f"The model {target.model!r} makes embeddings and does not answer.",
            status=404,
            attribute="model",
            code="unsupported_endpoint",
        )
    if not request.messages:
        raise RequestError("There is no message to answer.", attribute="messages", code="empty_array")
    if NO_LOGPROBS in repairs:
        dropped += ["logprobs"] if request.top_logprobs is None else ["logprobs", "top_logprobs"]
        request = replace(request, logprobs=None, top_logprobs=None)
    size = ""
    context: Json = {}
    names = Names()
    openapi = ((options.get("schema_mode") or model.schema) == "openapi") is not (SCHEMA_FORM in repairs)
    hatch = native.unfold(request.native) if request.native else {}

    built = tools.Tools()
    if request.tools or "tools" in hatch:
        verbatim = tools.listed(hatch.pop("tools", None))
        vertex = options.get("kind") == "vertex"
        built = tools.build(request, model, names, native=verbatim, openapi=openapi, vertex=vertex)
        dropped += built.dropped
    conversation = contents.Builder(request.messages, model, options, names, repairs).build()
    dropped += conversation.dropped
    config = generation.build(request, model, options, dropped)
    if request.answer_format is not None:
        asked = generation.answer_form(
            request.answer_format, model, config, tools=built.tools, openapi=openapi, dropped=dropped
        )
        if asked:
            conversation.system.append({"text": asked})
            context["asked_in_words"] = True
    if conversation.media_resolution:
        config["mediaResolution"] = conversation.media_resolution
    if request.image is not None:
        size = generation.picture_size(request, model, options, config, dropped)

    written: Body = {}
    if conversation.system:
        written["systemInstruction"] = {"parts": conversation.system}
    written["contents"] = conversation.contents
    if built.tools:
        written["tools"] = built.tools
    if built.config:
        written["toolConfig"] = built.config
    if config:
        written["generationConfig"] = config
    headers = _others(request, options, written, dropped)
    body = cast(Json, written)  # what the client adds may have any shape
    if hatch:
        _lay_over(body, hatch, model, dropped)
    if body.get("cachedContent"):
        _leave_to_cache(request, body, dropped)
    if names.originals and (renamed := names.renamed()):
        context["names"] = renamed
    stream = request.stream or (
        "whole" in model.limits
        and is_too_long_for_one_reply(body.get("generationConfig", {}).get("maxOutputTokens"), model)
    )
    return Call(
        path=path(model.id, stream),
        body=body,
        stream=stream,
        headers=headers,
        dropped=tuple(dict.fromkeys(dropped)) if dropped else (),
        size=size,
        context=context,
    )


def relays(request: ChatRequest, target: Target) -> bool:
    """Whether the client wrote its body in Google's own words; not where one call is asked for less of it."""
    foreign = request.foreign
    if foreign is None or foreign.whole is None or foreign.dialect != DIALECT:
        return False
    return bool(request.n == foreign.whole.said.get("n", 1))


def calls_needed(request: ChatRequest, target: Target) -> int:
    """One, or as many as choices where the model gives one at a time."""
    if request.n == 1 or relays(request, target):
        return 1
    model = models.find(target.model, target.options)
    return 1 if generation.candidates(request, model) == request.n else request.n


def unable(request: ChatRequest, target: Target) -> RequestError | None:
    """Why the model cannot answer at all."""
    if request.audio is None:
        return None
    return generation.unspeakable(request, models.find(target.model, target.options))


def by_piece(request: ChatRequest, target: Target) -> bool:
    """Pictures are sold by the piece, whatever else such a model says."""
    return models.find(target.model, target.options).image is not None


def keeps_url(url: str, target: Target) -> bool:
    return media.keeps_url(url, passthrough=target.options.get("media_mode") == "passthrough")


@lru_cache(maxsize=1024)
def path(model_id: str, stream: bool) -> str:
    return f"/{place(model_id)}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"


def place(model_id: str) -> str:
    """The model in a path, with nothing in it that a client's name of it could turn into another path."""
    if ".." in model_id.split("/"):
        raise RequestError(f"{model_id!r} is not a model name.", attribute="model", code="model_not_found")
    folder = "" if model_id.startswith("tunedModels/") else "models/"
    return f"{folder}{quote(model_id, safe='/@')}"


def is_too_long_for_one_reply(wanted: Any, model: ModelTraits) -> bool:
    """Long decode: beyond a limit only the stream endpoint answers, also for a whole reply."""
    return isinstance(wanted, int) and wanted > model.limits.get("whole", wanted)


def _others(
    request: ChatRequest, options: Mapping[str, Any], body: Body, dropped: list[str]
) -> Mapping[str, str]:
    """Fields beside the conversation and its parameters; returns headers."""
    headers: dict[str, str] = {}
    if request.safety_settings:
        body["safetySettings"] = request.safety_settings
    if request.cached_content:
        body["cachedContent"] = request.cached_content
    if request.service_tier not in (None, "auto"):
        tier = _SERVICE_TIERS.get(request.service_tier or "")
        if tier is None:
            dropped.append("service_tier")
        elif options.get("kind") != "vertex":
            body["serviceTier"] = tier
        elif tier != "standard":
            headers[_VERTEX_TIER] = tier
    if request.store is not None and options.get("store"):
        body["store"] = request.store  # off by default: it switches Google's own logging
    elif request.store:
        dropped.append("store")
    if request.metadata and options.get("labels"):
        body["labels"] = {
            _LABEL_KEY.sub("_", key.lower())[:63]: str(value) for key, value in request.metadata.items()
        }
    elif request.metadata:
        dropped.append("metadata")
    return headers


def _lay_over(body: Json, hatch: Json, model: ModelTraits, dropped: list[str]) -> None:
    """Lay the client's own fields over the body; its thinking replaces ours, as both at once are refused."""
    if "generationConfig" in hatch:
        hatch["generationConfig"] = tools.cleaned_config(hatch["generationConfig"], model)
    theirs = hatch.get("generationConfig", {}).get("thinkingConfig")
    ours = body.get("generationConfig", {}).get("thinkingConfig", {})
    if not _SCHEMAS.isdisjoint(hatch.get("generationConfig", ())):
        for name in _SCHEMAS:
            body.get("generationConfig", {}).pop(name, None)  # both forms at once are refused
    if isinstance(theirs, Mapping) and not theirs.keys().isdisjoint(("thinkingLevel", "thinkingBudget")):
        ours.pop("thinkingLevel", None)
        ours.pop("thinkingBudget", None)
    native.merge(body, hatch)
    thinking = body.get("generationConfig", {}).get("thinkingConfig")
    if not thinking:
        return
    if model.thinking.kind == "none":
        del body["generationConfig"]["thinkingConfig"]
        dropped.append("native.thinking_config")
    elif "thinkingLevel" in thinking and "thinkingBudget" in thinking:
        del thinking["thinkingBudget" if model.thinking.kind == "level" else "thinkingLevel"]


def _leave_to_cache(request: ChatRequest, body: Json, dropped: list[str]) -> None:
    """The cache holds system text and tools; repeating them is refused."""
    if body.pop("systemInstruction", None):
        dropped += (
            f"messages[{message.index}]"
            for message in request.messages
            if message.role in ("system", "developer")
        )
    if body.pop("tools", None):
        dropped.append("tools")
    if body.pop("toolConfig", None) and request.tool_choice:
        dropped.append("tool_choice")
