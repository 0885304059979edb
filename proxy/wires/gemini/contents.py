"""Messages as Gemini's `contents`: turns, calls with their results, signatures.

Rules that shape it: the first content is a user's; the results of a turn's calls follow it in a content of
their own, as many as the calls and in their order; no content is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.errors import RequestError
from proxy.types import ChatRequest, FunctionCall, Json, MediaPart, Message, TextPart
from proxy.wires.gemini import media, results
from proxy.wires.gemini.models import Model
from proxy.wires.gemini.names import Names
from proxy.wires.gemini.pairing import Pairing, pair
from proxy.wires.gemini.signing import Signer

_CONTINUE = "Please continue."
_NO_CALLS = Pairing()


@dataclass(slots=True)
class Conversation:
    """What the messages became. `media_resolution` is for models that have one setting for all media."""

    contents: list[Json] = field(default_factory=list)
    system: list[Json] = field(default_factory=list)
    media_resolution: str | None = None
    dropped: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Turn:
    """A content in the making; `calls` are a model turn's, each with its part and its answer."""

    role: str
    parts: list[Json]
    calls: list[tuple[FunctionCall, Json, Message | None]] = field(default_factory=list)


def build(
    request: ChatRequest,
    model: Model,
    options: Mapping[str, Any],
    names: Names,
    repairs: frozenset[str] = frozenset(),
) -> Conversation:
    """Translate the messages. Raises `RequestError` for what no Gemini model takes."""
    builder = _Builder(model, options, names, repairs)
    if options.get("name_prefix") and len({one.name for one in request.messages if one.name}) > 1:
        builder.prefixes = True
    return builder.build(request.messages)


class _Builder:
    def __init__(
        self, model: Model, options: Mapping[str, Any], names: Names, repairs: frozenset[str]
    ) -> None:
        self._model = model
        self._options = options
        self._names = names
        self._vertex = options.get("kind") == "vertex"
        self._ids = model.function_ids and options.get("function_ids", not self._vertex)
        self._signer = Signer(model, repairs)
        self._levels: list[str] = []
        self._turns: list[_Turn] = []
        self._answered = False  # results came since the last turn: what the model says now is a new one
        self._out = Conversation()
        self.prefixes = False

    def build(self, messages: tuple[Message, ...]) -> Conversation:
        has_calls = any(message.calls or message.role == "tool" for message in messages)
        pairing = pair(messages) if has_calls else _NO_CALLS
        hoists = self._options.get("mid_system") != "inline"
        leading = True
        for position, message in enumerate(messages):
            role = message.role
            if role == "user":
                leading = False
                self._add_user(self._parts(message))
            elif role == "assistant":
                leading = False
                self._add_model(message, position, pairing)
            elif role == "system" or role == "developer":
                if leading or hoists:
                    self._out.system += self._system(message)
                else:
                    self._add_user(self._system(message))
            elif role == "tool":
                leading = False
                if position in pairing.orphans:
                    self._add_orphan(message)
                else:
                    self._answered = True
            else:
                raise RequestError(f"{role!r} is not a role.", param=f"messages[{message.index}].role")
        self._place_system()
        self._close()
        return self._out

    # --- turns -----------------------------------------------------------------------------------

    def _add_user(self, parts: list[Json]) -> None:
        turns = self._turns
        if turns and turns[-1].role == "user":
            turns[-1].parts += parts
        elif parts:
            turns.append(_Turn("user", parts))

    def _add_model(self, message: Message, position: int, pairing: Pairing) -> None:
        parts = self._model_parts(message)
        calls = []
        for number, call in enumerate(message.calls):
            function_call = {"name": self._names.upstream(call.name), "args": call.arguments}
            if self._ids and call.id:
                function_call = {"id": call.id, **function_call}
            part: Json = {"functionCall": function_call}
            self._signer.sign(part, call.signature)
            parts.append(part)
            calls.append((call, part, pairing.answers.get((position, number))))
        if message.signature:
            self._sign_message(message.signature, parts, calls[0][1] if calls else None)
        for part in parts:
            if "inlineData" in part or "fileData" in part:
                self._signer.sign_picture(part)
        if not parts:
            return
        if self._turns and self._turns[-1].role == "model" and not self._answered:
            self._turns[-1].parts += parts
            self._turns[-1].calls += calls
        else:
            self._turns.append(_Turn("model", parts, calls))
        self._answered = False

    def _sign_message(self, signature: str, parts: list[Json], first_call: Json | None) -> None:
        """The message's own signature belongs to its first call, else to its last part."""
        if first_call is not None:
            self._signer.sign(first_call, signature)
        elif parts:
            self._signer.sign(parts[-1], signature)
        elif self._signer.sign(alone := {"text": ""}, signature):
            parts.append(alone)

    def _add_orphan(self, message: Message) -> None:
        """A result that no call asked for would be refused: say it in words."""
        self._out.dropped.append(f"messages[{message.index}].tool_call_id")
        text = "".join(one.text for one in message.parts if isinstance(one, TextPart))
        parts: list[Json] = [{"text": f"Tool result ({message.name or 'unknown tool'}): {text}"}]
        self._add_user(parts + [self._media(one) for one in message.parts if isinstance(one, MediaPart)])

    # --- parts -----------------------------------------------------------------------------------

    def _parts(self, message: Message) -> list[Json]:
        """The parts of a message, without empty texts."""
        if message.name:
            return self._named_parts(message)
        return [
            {"text": part.text} if isinstance(part, TextPart) else self._media(part)
            for part in message.parts
            if not isinstance(part, TextPart) or part.text
        ]

    def _named_parts(self, message: Message) -> list[Json]:
        """Gemini has no participants: their names are left out, or written before the text."""
        parts: list[Json] = []
        prefix = f"{message.name}: " if self.prefixes else ""
        for part in message.parts:
            if isinstance(part, MediaPart):
                parts.append(self._media(part))
            elif part.text:
                parts.append({"text": prefix + part.text})
                prefix = ""
        if not self.prefixes:
            self._out.dropped.append(f"messages[{message.index}].name")
        return parts

    def _model_parts(self, message: Message) -> list[Json]:
        parts: list[Json] = []
        if message.reasoning and self._options.get("resend_reasoning"):
            parts.append({"text": message.reasoning, "thought": True})
        if message.extra:
            parts += self._server_tools(message.extra)
        prefix = f"{message.name}: " if message.name and self.prefixes else ""
        if message.name and not self.prefixes:
            self._out.dropped.append(f"messages[{message.index}].name")
        for part in message.parts:
            if isinstance(part, TextPart):
                built: Json = {"text": prefix + part.text}
                if self._signer.sign(built, part.signature) or part.text:
                    parts.append(built)
                    prefix = ""
            else:
                built = self._media(part)
                self._signer.sign(built, part.signature)
                parts.append(built)
        if message.refusal:
            parts.append({"text": message.refusal})
        return parts

    def _server_tools(self, extra: Mapping[str, Any]) -> list[Json]:
        """Calls that Gemini answered itself are echoed as they came; an invented one would be refused."""
        parts = extra.get("parts")
        if not isinstance(parts, list) or not self._model.mixed_tools or self._vertex:
            return []
        return [
            dict(part)
            for part in parts
            if isinstance(part, Mapping) and ("toolCall" in part or "toolResponse" in part)
        ]

    def _media(self, part: MediaPart) -> Json:
        built = media.part(part)
        level = media.level(part.detail)
        if level is not None:
            if self._model.media_resolution == "part":
                built["mediaResolution"] = {"level": level}
            elif self._model.media_resolution == "global":
                self._levels.append(level)
            else:
                self._out.dropped.append(f"{part.where.removesuffix('.url')}.detail".lstrip("."))
        return built

    # --- the system text -------------------------------------------------------------------------

    def _system(self, message: Message) -> list[Json]:
        texts: list[Json] = []
        for part in message.parts:
            if isinstance(part, MediaPart):
                raise RequestError(
                    "A system message holds text only.", param=f"messages[{message.index}].content"
                )
            if part.text:
                texts.append({"text": part.text})
        return texts

    def _place_system(self) -> None:
        """System messages alone ask the last one; models without a system text read it as the user's."""
        out, turns = self._out, self._turns
        if not turns and out.system:
            turns.append(_Turn("user", [out.system.pop()]))
        if out.system and not self._model.system:
            first = next((turn for turn in turns if turn.role == "user"), None)
            if first is None or first is not turns[0]:
                turns.insert(0, first := _Turn("user", []))
            first.parts[:0] = out.system
            out.system = []

    # --- the end ---------------------------------------------------------------------------------

    def _close(self) -> None:
        """Put the turns into contents, with the results behind the calls."""
        turns, contents = self._turns, self._out.contents
        if not turns:
            turns.append(_Turn("user", [{"text": " "}]))  # an empty message is legal at OpenAI
        elif turns[0].role == "model":
            turns.insert(0, _Turn("user", [{"text": ""}]))
        if turns[-1].role == "model" and not turns[-1].calls and not self._model.prefill:
            # 400 "Requests ending with a model turn are not supported."
            turns.append(_Turn("user", [{"text": self._options.get("prefill_text") or _CONTINUE}]))
        newest_user = max(number for number, turn in enumerate(turns) if turn.role == "user")
        for number, turn in enumerate(turns):
            if self._vertex and turn.role == "user" and not any("text" in part for part in turn.parts):
                turn.parts.append({"text": " "})  # litellm #5515
            contents.append({"role": turn.role, "parts": turn.parts})
            if turn.calls:
                if number > newest_user or self._signer.signs_history:
                    self._signer.sign_step(turn.calls[0][1])
                self._answer(turn)
        self._out.media_resolution = media.highest(self._levels) if self._levels else None

    def _answer(self, turn: _Turn) -> None:
        contents = self._out.contents
        responses: list[Json] = []
        following: list[Json] = []
        for call, _, message in turn.calls:
            call_id = call.id if self._ids else ""
            name = self._names.upstream(call.name)
            response, outside = results.part(call_id, name, message, tool_media=self._model.tool_media)
            responses.append(response)
            if outside:
                following += [{"text": f"The result of {name} ({call.id or 'its call'}) holds:"}, *outside]
        contents.append({"role": "user", "parts": responses})
        if following:
            contents.append({"role": "user", "parts": following})
