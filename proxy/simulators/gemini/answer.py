"""Decides what the simulated model answers: the parts of one candidate and how it ends."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.simulators import invent, pictures
from proxy.simulators.gemini import signatures
from proxy.simulators.gemini.models import Model
from proxy.simulators.gemini.prompt import Prompt, tokens_of
from proxy.simulators.gemini.rules import declared

Json = dict[str, Any]

UNICODE = "Zürich, 東京 und 😀: naïve\u2028line\u0085feed “quoted” \U0001f1e8\U0001f1ed."
_THOUGHT_TOKENS = {"MINIMAL": 0, "LOW": 16, "MEDIUM": 32, "HIGH": 64}
_SHOWN = 2000
_GROUNDED = "Zürich is big. 東京 is bigger. Nobody knows **why**."
# Reasons that come with what was said so far; the others come without content.
_WITH_CONTENT = frozenset(("STOP", "MAX_TOKENS", "UNEXPECTED_TOOL_CALL", "CONTINUATION"))
_MESSAGES = {
    "UNEXPECTED_TOOL_CALL": "Unexpected tool call: Model tried to call an undeclared function: list_files",
    "MALFORMED_FUNCTION_CALL": "Malformed function call: print(default_api.broken(",
    "IMAGE_PROHIBITED_CONTENT": "The model output could not be generated.",
    "IMAGE_SAFETY": "Unable to show the generated image.",
}
_CODE = "print(sum(range(10)))"


@dataclass(slots=True)
class Answer:
    """One candidate. `extra` stands beside `content` in its last chunk: grounding, citations, logprobs."""

    parts: list[Json] = field(default_factory=list)
    finish: str | None = "STOP"
    thought_tokens: int = 0
    tool_tokens: int = 0
    image_tokens: int = 0
    audio_tokens: int = 0
    signature: str | None = None
    extra: Json = field(default_factory=dict)

    @property
    def text_tokens(self) -> int:
        return sum(map(part_tokens, self.parts))


def part_tokens(part: Json) -> int:
    """What a spoken text or a call costs; thoughts, pictures and tools are counted apart."""
    if part.get("thought"):
        return 0
    call = part.get("functionCall")
    return tokens_of(orjson.dumps(call).decode() if call else part.get("text", ""))


class Mind:
    """Answers one request; `number` tells its candidates apart."""

    def __init__(self, request: Json, model: Model, prompt: Prompt, *, streamed: bool = False) -> None:
        self.request = request
        self.config: Json = request.get("generationConfig") or {}
        self.model = model
        self.prompt = prompt
        self.orders = prompt.directives
        self.seed = hashlib.sha256(orjson.dumps([model.name, request.get("contents")])).hexdigest()
        self.streamed = streamed

    def answer(self, number: int = 0) -> Answer:
        answer = Answer(thought_tokens=self._thought_tokens())
        modalities = self.config.get("responseModalities") or ()
        calls = self._calls()
        if self.orders.word("finish") == "UNEXPECTED_TOOL_CALL":
            calls = [{"name": "list_files", "args": {}}]
        if calls:
            self._call(answer, calls)
        elif self.model.speaks or "audio" in self.orders:
            self._speak(answer)
        elif self.model.draws or "image" in self.orders:
            if "IMAGE" not in modalities or "TEXT" in modalities:
                answer.parts.append({"text": self._words(number)})
            self._draw(answer, number)
        else:
            self._say(answer, number)
        self._think(answer)
        self._shorten(answer)
        self._finish(answer)
        return answer

    # What the model says ------------------------------------------------------------------------------------

    def _words(self, number: int) -> str:
        if "text" in self.orders:
            return self.orders.word("text")
        if form := invent.formed(self.prompt.said):
            return form
        if "big" in self.orders and not (self.model.draws or "image" in self.orders):
            line = "All work and no play makes a dull simulator. "
            return line * (max(1, self.orders.count("big", 1)) * 1024 * 1024 // len(line))
        said = self.prompt.said[:_SHOWN]
        words = [f"You said: {said}"] if said else []
        if self.prompt.results:
            words = [f"The tools answered: {'; '.join(self.prompt.results)}."]
        if number:
            words.insert(0, f"Answer {number + 1}.")
        if "unicode" in self.orders:
            words.append(UNICODE)
        if self.prompt.media:
            words.append("I received: " + "; ".join(self.prompt.media) + ".")
        text = "\n".join(words) or "You said nothing."
        missing = self.orders.count("chunks") - len(text.split(" "))
        return text + "".join(f" {i}" for i in range(missing))

    def _say(self, answer: Answer, number: int) -> None:
        mime = self.config.get("responseMimeType", "")
        if mime == "application/json":
            answer.parts.append({"text": orjson.dumps(self._json(number)).decode()})
        elif mime == "text/x.enum":
            schema = self.config.get("responseSchema") or self.config.get("responseJsonSchema") or {}
            answer.parts.append({"text": str(invent.value_for(schema, number=number))})
        else:
            if "code" in self.orders:
                self._run(answer)
            if "search" in self.orders:
                self._search(answer)
            answer.parts.append({"text": _GROUNDED if "grounding" in self.orders else self._words(number)})
            if "grounding" in self.orders:
                answer.extra["groundingMetadata"] = _grounding(self.orders.word("grounding"))
        if "citations" in self.orders:
            answer.extra["citationMetadata"] = {
                "citationSources": [
                    {"endIndex": 8, "uri": "https://example.com/source", "license": "mit"},
                    {"startIndex": 4, "endIndex": 8, "uri": "https://example.com/other"},
                ]
            }
        if "logprobs" in self.orders or self.config.get("responseLogprobs"):
            answer.extra |= _logprobs(answer.parts[-1]["text"], self.config.get("logprobs", 0))

    def _json(self, number: int) -> Any:
        for name in ("responseSchema", "responseJsonSchema", "_responseJsonSchema"):
            if name in self.config:
                return invent.value_for(self.config[name], hint=self.prompt.said, number=number)
        return {"answer": self._words(number)}

    def _run(self, answer: Answer) -> None:
        answer.tool_tokens += 40
        answer.parts += [
            {"executableCode": {"language": "PYTHON", "code": _CODE}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "45\n"}},
        ]

    def _search(self, answer: Answer) -> None:
        """Server-side invocations, which must come back with their signatures (2.8)."""
        kind, identity = "GOOGLE_SEARCH_WEB", self.seed[:8]
        answer.tool_tokens += 60
        call = {"toolType": kind, "id": identity, "args": {"queries": [self.prompt.said[:80]]}}
        result = {"toolType": kind, "id": identity, "response": {"search_suggestions": "<div>"}}
        answer.parts += [
            {"toolCall": call, "thoughtSignature": signatures.for_answer(self.seed + "call")},
            {"toolResponse": result, "thoughtSignature": signatures.for_answer(self.seed + "result")},
        ]

    # Calls --------------------------------------------------------------------------------------------------

    def _calls(self) -> list[Json]:
        functions = {each["name"]: each for each in declared(self.request)}
        calling: Json = (self.request.get("toolConfig") or {}).get("functionCallingConfig") or {}
        mode, allowed = calling.get("mode", "AUTO"), calling.get("allowedFunctionNames") or list(functions)
        if not functions or mode == "NONE" or self._rounds_left(mode) <= 0:
            return []
        asked = [self.orders.word("call")] if self.orders.word("call") in functions else []
        names = asked or invent.wanted(self.prompt.said, allowed)
        if not names and (mode == "ANY" or {"call", "parallel", "steps"} & set(self.orders.orders)):
            names = allowed[:1]
        if not names:
            return []
        count = self.orders.count("parallel", 1)
        if count > 1 and not asked:
            names = allowed
        return [self._made(functions[names[i % len(names)]], i) for i in range(count)]

    def _rounds_left(self, mode: str) -> int:
        """Calls are made once after a user text, `sim:steps:N` times when asked, and always in mode ANY."""
        if mode == "ANY" and "steps" not in self.orders:
            return 1
        return self.orders.count("steps", 1) - self.prompt.steps

    def _made(self, function: Json, number: int) -> Json:
        schema = function.get("parametersJsonSchema") or function.get("parameters") or {"type": "object"}
        shift = number + self.prompt.steps
        args = invent.value_for(schema, hint=self.prompt.said, number=shift)
        call: Json = {"name": function["name"], "args": args}
        if self.model.third:
            # Unique in the conversation: the seed covers all turns so far.
            call["id"] = hashlib.sha256(f"{self.seed}{number}".encode()).hexdigest()[:8]
        return call

    def _call(self, answer: Answer, calls: list[Json]) -> None:
        answer.parts += [{"functionCall": call} for call in calls]
        # Older models sign only while thinking with functions declared (2.6, rule 5).
        if self.model.third or answer.thought_tokens:
            answer.parts[0]["thoughtSignature"] = signatures.for_call(calls[0], self._signature_bytes())

    # Pictures and sound -------------------------------------------------------------------------------------

    def _draw(self, answer: Answer, number: int) -> None:
        image: Json = self.config.get("imageConfig") or {}
        size = image.get("imageSize", "1K")
        width, height = self.model.pixels(image.get("aspectRatio", "1:1"), size)
        if self.orders.word("image") == "0":
            return
        if "draft" in self.orders:
            draft = {"mimeType": "image/png", "data": _base64(pictures.png(64, 64, "draft"))}
            answer.parts.insert(0, {"inlineData": draft, "thought": True})
        for i in range(self.orders.count("image", 1)):
            seed = f"{self.seed}{number}{i}"
            if "jpeg" in self.orders:
                blob = {"mimeType": "image/jpeg", "data": _base64(pictures.jpeg(width, height, seed))}
            else:
                padded = self.orders.count("big") * 1024 * 1024
                blob = {"mimeType": "image/png", "data": _base64(pictures.png(width, height, seed, padded))}
            part: Json = {"inlineData": blob}
            if self.model.third:
                part["thoughtSignature"] = signatures.for_answer(seed, self._signature_bytes())
            answer.parts.append(part)
            answer.image_tokens += self.model.image_tokens(size)

    def _speak(self, answer: Answer) -> None:
        answer.audio_tokens = 16
        answer.parts.append(
            {"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": _base64(pictures.pcm())}}
        )

    # Thinking and ending ------------------------------------------------------------------------------------

    def _thought_tokens(self) -> int:
        thinking: Json = self.config.get("thinkingConfig") or {}
        budget: int | None = thinking.get("thinkingBudget")
        if self.model.thinks == "no" and not self.model.draws:
            return 0
        if budget is not None and budget >= 0:
            return min(budget, 64)
        if self.model.thinks == "off" and budget is None:
            return 0
        if self.model.draws and not self.model.third:
            return 0
        return _THOUGHT_TOKENS.get(thinking.get("thinkingLevel", "MEDIUM"), 32)

    def _think(self, answer: Answer) -> None:
        shown = (self.config.get("thinkingConfig") or {}).get("includeThoughts") or "thoughts" in self.orders
        if not shown or (not answer.thought_tokens and "thoughts" not in self.orders):
            return
        answer.thought_tokens = answer.thought_tokens or 8
        text = f"**Considering the request**\n\nThe user wrote {len(self.prompt.said)} characters.\n\n"
        answer.parts.insert(0, {"text": text, "thought": True})

    def _signature_bytes(self) -> int:
        return self.orders.count("signature") * 1024

    def _shorten(self, answer: Answer) -> None:
        """Apply stop sequences, then maxOutputTokens, which counts thoughts too (G-140)."""
        texts = [part for part in answer.parts if "text" in part and not part.get("thought")]
        for part in texts:
            for stop in self.config.get("stopSequences") or ():
                part["text"] = part["text"].partition(stop)[0]
        most = self.config.get("maxOutputTokens")
        if most is None or answer.image_tokens or answer.audio_tokens:
            return
        left = most - answer.thought_tokens
        if left >= answer.text_tokens:
            return
        answer.finish = "MAX_TOKENS"
        answer.thought_tokens = min(answer.thought_tokens, most)
        kept = [part for part in answer.parts if part.get("thought")]
        for part in texts[:1]:
            short = part["text"].encode()[: max(0, left) * 4].decode("utf-8", "ignore")
            kept += [{**part, "text": short}] if short else []
        answer.parts = kept

    def _finish(self, answer: Answer) -> None:
        reason = self.orders.word("finish")
        if reason:
            answer.finish = reason
            if message := _MESSAGES.get(reason):
                answer.extra["finishMessage"] = message
            if reason not in _WITH_CONTENT and "text" not in self.orders and "call" not in self.orders:
                answer.parts = [part for part in answer.parts if part.get("thought")]
                answer.image_tokens = 0
        if "nofinish" in self.orders:
            answer.finish = None
        signed = any("functionCall" in part or "inlineData" in part for part in answer.parts)
        if self.model.third and answer.parts and not signed and answer.finish in ("STOP", "MAX_TOKENS"):
            answer.signature = signatures.for_answer(self.seed, self._signature_bytes())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _grounding(variant: str) -> Json:
    """Offsets are UTF-8 bytes; the first segment has no startIndex because proto3 omits zero."""
    sentences = ["Zürich is big.", "東京 is bigger.", "Nobody knows **why**."]
    supports, at = [], 0
    for index, sentence in enumerate(sentences):
        length = len(sentence.encode())
        off = 1 if variant == "bad" else 0
        segment: Json = {"startIndex": at + off, "endIndex": at + length + off, "text": sentence}
        if not segment["startIndex"]:
            del segment["startIndex"]
        supports.append({"segment": segment, "groundingChunkIndices": [index % 2]})
        at += length + 1
    return {
        "webSearchQueries": ["how big is it"],
        "searchEntryPoint": {"renderedContent": "<div>how big is it</div>"},
        "groundingChunks": [
            {"web": {"uri": "https://example.com/1", "title": "one.example"}},
            {"web": {"uri": "https://example.com/2", "title": "two.example"}},
        ],
        "groundingSupports": supports,
    }


def _logprobs(text: str, top: int) -> Json:
    words = [word + " " for word in text.split()][:20]
    chosen: list[Json] = [
        {"token": word, "tokenId": 100 + i, "logProbability": -0.125 * (i + 1)}
        for i, word in enumerate(words)
    ]
    result: Json = {"chosenCandidates": chosen}
    if top:
        result["topCandidates"] = [
            {
                "candidates": [
                    each,
                    *(
                        {
                            "token": f"other{n}",
                            "tokenId": 900 + n,
                            "logProbability": each["logProbability"] - n,
                        }
                        for n in range(1, top)
                    ),
                ]
            }
            for each in chosen
        ]
    return {"logprobsResult": result, "avgLogprobs": -0.125}
