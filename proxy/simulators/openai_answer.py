"""What the simulated OpenAI-compatible server answers: words, calls, reasoning, usage."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.simulators import directives, invent, pictures
from proxy.simulators.directives import Directives

Json = dict[str, Any]


class BadPicture(Exception):
    """A data URL whose base64 cannot be read."""


@dataclass(slots=True)
class Prompt:
    orders: Directives
    media: list[str]
    results: list[str]
    steps: int
    tokens: int


@dataclass(slots=True)
class Answer:
    content: str | None
    reasoning: str | None = None
    calls: list[Json] = field(default_factory=list)
    finish: str | None = "stop"

    def choice(self, index: int) -> Json:
        message: Json = {"role": "assistant", "content": self.content, "refusal": None}
        if self.reasoning is not None:
            message["reasoning_content"] = self.reasoning
        if self.calls:
            message["tool_calls"] = self.calls
        return {"index": index, "message": message, "finish_reason": self.finish, "logprobs": None}


def _texts(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or () if part.get("type") == "text")


def read(request: Json) -> Prompt:
    messages: list[Json] = request["messages"]
    users = [index for index, message in enumerate(messages) if message["role"] == "user"]
    last = users[-1] if users else 0
    orders = directives.parse(_texts(messages[last].get("content")))
    results: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        results.insert(0, _texts(message.get("content")))
    parts = [
        part
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    ]
    media = [_described(part) for part in parts if part.get("type") != "text"]
    steps = sum(bool(message.get("tool_calls")) for message in messages[last:])
    tokens = sum(len(_texts(message.get("content")).encode()) // 4 + 4 for message in messages) + 258 * len(
        media
    )
    return Prompt(orders, media, results, steps, tokens)


def _described(part: Json) -> str:
    url = part.get("image_url")
    url = url.get("url", "") if isinstance(url, dict) else url or ""
    head, _, data = str(url).partition(",")
    if not head.startswith("data:"):
        return f"{part.get('type')} {url}".strip()
    try:
        raw = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise BadPicture from error
    seen = pictures.look(raw)
    mime = head.removeprefix("data:").partition(";")[0]
    size = f" {seen.width}x{seen.height} pixels," if seen.width else ""
    return f"{mime}{size} {len(raw)} bytes, sha256 {hashlib.sha256(raw).hexdigest()[:16]}"


def answer_to(request: Json, prompt: Prompt, number: int, thinks: bool) -> Answer:
    orders = prompt.orders
    answer = Answer(None, f"The user wrote {len(orders.said)} characters." if thinks else None)
    answer.calls = _calls(request, prompt)
    if answer.calls:
        answer.finish = "tool_calls"
    else:
        answer.content = _words(request, prompt, number)
        most = request.get("max_completion_tokens") or request.get("max_tokens")
        if most and len(answer.content.encode()) > most * 4:
            answer.content = answer.content.encode()[: most * 4].decode("utf-8", "ignore")
            answer.finish = "length"
    if "finish" in orders:
        answer.finish = orders.word("finish", "stop")
    if "nofinish" in orders:
        answer.finish = None
    return answer


def _words(request: Json, prompt: Prompt, number: int) -> str:
    orders = prompt.orders
    kind = (request.get("response_format") or {}).get("type")
    if kind in ("json_object", "json_schema"):
        schema = (request["response_format"].get("json_schema") or {}).get("schema")
        value = {"answer": orders.said} if schema is None else invent.value_for(schema, hint=orders.said)
        return orjson.dumps(value).decode()
    if "text" in orders:
        return orders.word("text")
    if form := invent.formed(orders.said):
        return form
    words = [f"Answer {number + 1}."] if number else []
    words.append(
        f"The tools answered: {'; '.join(prompt.results)}." if prompt.results else f"You said: {orders.said}"
    )
    if "unicode" in orders:
        words.append("Zürich, 東京, 😀\u2028\u0085.")
    if prompt.media:
        words.append("I received: " + "; ".join(prompt.media) + ".")
    text = "\n".join(words)
    if "big" in orders:
        text += " simulated" * (orders.count("big", 1) * 1024 * 1024 // 10)
    return text + "".join(f" {i}" for i in range(orders.count("chunks") - len(text.split(" "))))


def _calls(request: Json, prompt: Prompt) -> list[Json]:
    functions = {
        tool["function"]["name"]: tool["function"]
        for tool in request.get("tools") or ()
        if "function" in tool
    }
    orders, choice = prompt.orders, request.get("tool_choice", "auto")
    if not functions or choice == "none" or prompt.steps >= orders.count("steps", 1):
        return []
    named = (
        choice["function"]["name"]
        if isinstance(choice, dict) and "function" in choice
        else orders.word("call")
    )
    names = [named] if named in functions else invent.wanted(orders.said, list(functions))
    if not names and (choice == "required" or {"call", "parallel", "steps"} & set(orders.orders)):
        names = list(functions)[:1]
    count = orders.count("parallel", 1) if names else 0
    if request.get("parallel_tool_calls") is False:
        count = min(count, 1)
    return [_call(functions[names[i % len(names)]], prompt, i) for i in range(count)]


def _call(function: Json, prompt: Prompt, number: int) -> Json:
    schema = function.get("parameters") or {"type": "object"}
    arguments = invent.value_for(schema, hint=prompt.orders.said, number=number + prompt.steps)
    seed = f"{prompt.orders.said}{prompt.steps}{number}".encode()
    return {
        "id": f"call_{hashlib.sha256(seed).hexdigest()[:24]}",
        "type": "function",
        "function": {"name": function["name"], "arguments": orjson.dumps(arguments).decode()},
    }


def usage_of(prompt: Prompt, replies: list[Answer]) -> Json:
    said = sum(len((reply.content or "").encode()) // 4 + 8 * len(reply.calls) + 1 for reply in replies)
    thought = sum(len(reply.reasoning or "") // 4 for reply in replies)
    return {
        "prompt_tokens": prompt.tokens,
        "completion_tokens": said + thought,
        "total_tokens": prompt.tokens + said + thought,
        "prompt_tokens_details": {"cached_tokens": prompt.orders.count("cached")},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }
