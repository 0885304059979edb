"""Messages as Gemini's `contents`: turns, calls with their results, signatures.

Rules that shape it: the first content is a user's; the results of a turn's calls follow it in a content of
their own, as many as the calls and in their order; no content is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from proxy.errors import RequestError
from proxy.types import (
    CallPart,
    MediaPart,
    Message,
    ResultPart,
    TextPart,
    ThoughtPart,
)
from proxy.wires import orphans
from proxy.wires.gemini import media, results
from proxy.wires.gemini.models import ModelTraits
from proxy.wires.gemini.names import Names
from proxy.wires.gemini.signing import Signer
from proxy.wires.pairing import Pairing, pair

if TYPE_CHECKING:
    from proxy.wires.gemini.bodies import Content, FunctionCall, Part

_CONTINUE = "Please continue."


_Called = tuple[CallPart, "Part", ResultPart | None]  # a call, its part in the turn, its answer


@dataclass(slots=True)
class Conversation:
    """What the messages became. `media_resolution` is for models that have one setting for all media."""

    contents: list[Content] = field(default_factory=list)
    system: list[Part] = field(default_factory=list)
    media_resolution: str | None = None
    dropped: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Turn:
    """A content in the making; `calls` are a model turn's."""

    role: str
    parts: list[Part]
    calls: list[_Called] = field(default_factory=list)


class Builder:
    """Translates the messages of one request, by `build`."""

    def __init__(
        self,
        messages: tuple[Message, ...],
        model: ModelTraits,
        options: Mapping[str, Any],
        names: Names,
        repairs: frozenset[str],
    ) -> None:
        self._messages = messages
        self._model = model
        self._options = options
        self._names = names
        self._vertex = options.get("kind") == "vertex"
        self._ids = model.function_ids and options.get("function_ids", not self._vertex)
        self._prefixes = bool(options.get("name_prefix")) and len({one.name for one in messages} - {None}) > 1
        self._repairs = repairs
        self._pairing: Pairing | None = None
        self._levels: list[str] = []
        self._turns: list[_Turn] = []
        self._answered = False  # results came since the last turn: what the model says now is a new one
        self._out = Conversation()

    @cached_property
    def _signer(self) -> Signer:
        return Signer(self._model, self._repairs)

    def build(self) -> Conversation:
        """Raises `RequestError` for what no Gemini model takes."""
        hoists = self._options.get("mid_system") != "inline"
        leading = True
        for position, message in enumerate(self._messages):
            role = message.role
            if role == "user":
                leading = False
                self._add_user(message, position)
            elif role == "assistant":
                leading = False
                self._add_model(message, position)
            elif role == "system" or role == "developer":
                if leading or hoists:
                    self._out.system += self._system(message)
                else:
                    self._say(self._system(message))
            else:
                raise RequestError(f"{role!r} is not a role.", attribute=f"messages[{message.index}].role")
        if self._out.system and not (self._turns and self._model.system):
            self._place_system()
        self._close()
        return self._out

    # --- turns -----------------------------------------------------------------------------------

    def _say(self, parts: list[Part]) -> None:
        """Add to the user's turn, the one that is open or a new one."""
        turns = self._turns
        if turns and turns[-1].role == "user":
            turns[-1].parts += parts
        elif parts:
            turns.append(_Turn("user", parts))

    def _add_user(self, message: Message, position: int) -> None:
        """What the user says. Results that answer a call stand behind it, whatever they came with."""
        turns = self._turns
        parts = turns[-1].parts if turns and turns[-1].role == "user" else []
        prefix = self._prefix(message) if message.name else ""
        for number, part in enumerate(message.parts):
            if isinstance(part, TextPart):
                if part.text:
                    parts.append({"text": prefix + part.text})
                    prefix = ""
            elif isinstance(part, MediaPart):
                parts.append(self._media(part))
            elif isinstance(part, ResultPart):
                if (position, number) in self._paired().orphans:
                    parts += self._orphan(part, message)
                    continue
                self._answered = True
                if (position, number) in self._paired().overruled:
                    self._out.dropped.append(orphans.named(part, message.index))
        if parts and not (turns and turns[-1].role == "user"):
            turns.append(_Turn("user", parts))

    def _add_model(self, message: Message, position: int) -> None:
        parts, calls = self._model_parts(message, position)
        if not parts:
            return
        turns = self._turns
        if turns and turns[-1].role == "model" and not self._answered:
            turns[-1].parts += parts
            turns[-1].calls += calls
        else:
            turns.append(_Turn("model", parts, calls))
        self._answered = False

    def _paired(self) -> Pairing:
        if self._pairing is None:
            self._pairing = pair(self._messages)
        return self._pairing

    def _prefix(self, message: Message) -> str:
        """Gemini has no participants: their names are left out, or written before the text."""
        if self._prefixes:
            return f"{message.name}: "
        self._out.dropped.append(f"messages[{message.index}].name")
        return ""

    def _orphan(self, result: ResultPart, message: Message) -> list[Part]:
        """A result that no call asked for would be refused: say it in words."""
        self._out.dropped.append(orphans.named(result, message.index))
        said: Part = {"text": orphans.in_words(result)}
        return [said, *(self._media(one) for one in result.parts if isinstance(one, MediaPart))]

    # --- the parts of a model's turn -----------------------------------------------------------------

    def _model_parts(self, message: Message, position: int) -> tuple[list[Part], list[_Called]]:
        """The parts in their order, and the calls among them with their answers."""
        parts: list[Part] = []
        calls: list[_Called] = []
        prefix = self._prefix(message) if message.name else ""
        unplaced: str | None = None  # of a thought that is not sent: the next call or text carries it
        for number, part in enumerate(message.parts):
            if isinstance(part, TextPart):
                built: Part = {"text": prefix + part.text}
                if not (part.signature and self._signer.sign(built, part.signature)) and not part.text:
                    continue
                prefix = ""
            elif isinstance(part, CallPart):
                built = self._call(part)
                result = self._paired().answers.get((position, number))
                if result is None:
                    self._out.dropped.append(orphans.named_call(part, message.index))
                calls.append((part, built, result))
            elif isinstance(part, ThoughtPart) and not self._options.get("resend_reasoning"):
                unplaced = part.signature or unplaced
                if not part.spare:
                    self._out.dropped.append(part.where or f"messages[{message.index}].parts")
                continue
            elif isinstance(part, ThoughtPart | MediaPart):
                parts.append(self._thought(part) if isinstance(part, ThoughtPart) else self._picture(part))
                continue
            else:
                continue  # results are the user's
            parts.append(built)
            if unplaced is not None:
                self._signer.sign(built, unplaced)
                unplaced = None
        alone: Part = {"text": ""}
        if unplaced is not None and self._signer.sign(alone, unplaced):
            parts.append(alone)
        if message.extra:
            self._add_server_tools(message.extra, parts)
        if message.signed and self._model.signatures == "none":
            self._out.dropped.append(f"messages[{message.index}].signed")
        if message.audio is not None:
            self._out.dropped.append(f"messages[{message.index}].audio")
        return parts, calls

    def _thought(self, part: ThoughtPart) -> Part:
        built: Part = {"text": part.text, "thought": True}
        self._signer.sign(built, part.signature)
        return built

    def _call(self, call: CallPart) -> Part:
        function_call: FunctionCall = {"name": self._names.upstream(call.name), "args": call.arguments}
        if self._ids and call.id:
            function_call = {"id": call.id, **function_call}
        part: Part = {"functionCall": function_call}
        self._signer.sign(part, call.signature)
        return part

    def _picture(self, part: MediaPart) -> Part:
        built = self._media(part)
        self._signer.sign(built, part.signature)
        self._signer.sign_picture(built)
        return built

    def _add_server_tools(self, extra: Mapping[str, Any], parts: list[Part]) -> None:
        """Calls that Gemini answered itself are echoed as they came, before what it said then; an invented
        one would be refused."""
        found = extra.get("parts")
        if not isinstance(found, list) or not self._model.mixed_tools or self._vertex:
            return
        place = next((number for number, part in enumerate(parts) if "thought" not in part), len(parts))
        parts[place:place] = (
            cast("Part", dict(part))
            for part in found
            if isinstance(part, Mapping) and ("toolCall" in part or "toolResponse" in part)
        )

    def _media(self, part: MediaPart) -> Part:
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

    def _system(self, message: Message) -> list[Part]:
        texts: list[Part] = []
        for part in message.parts:
            if not isinstance(part, TextPart):
                raise RequestError(
                    "A system message holds text only.", attribute=f"messages[{message.index}].parts"
                )
            if part.text:
                texts.append({"text": part.text})
        return texts

    def _place_system(self) -> None:
        """System messages alone ask the last one; models without a system text read it as the user's."""
        out, turns = self._out, self._turns
        if not turns:
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
            # Vertex refuses an empty text; a blank is as little
            turns.insert(0, _Turn("user", [{"text": " " if self._vertex else ""}]))
        if turns[-1].role == "model" and not turns[-1].calls and not self._model.prefill:
            # 400 "Requests ending with a model turn are not supported."
            turns.append(_Turn("user", [{"text": self._options.get("prefill_text") or _CONTINUE}]))
        newest_user = len(turns) - 1
        while turns[newest_user].role != "user":
            newest_user -= 1
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
        responses: list[Part] = []
        following: list[Part] = []
        for call, _, result in turn.calls:
            call_id = call.id if self._ids else ""
            name = self._names.upstream(call.name)
            response, outside = results.part(call_id, name, result, tool_media=self._model.tool_media)
            responses.append(response)
            if outside:
                following += [{"text": f"The result of {name} ({call.id or 'its call'}) holds:"}, *outside]
        contents.append({"role": "user", "parts": responses})
        if following:
            contents.append({"role": "user", "parts": following})
