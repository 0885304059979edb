"""Whatever a vendor does to an order, the SDK with its own retries buys one picture at most.

Each row is a fault of the upstream; each wire, endpoint and way of answering meets it, with and without
another vendor to go to.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest

from proxy.simulators import pictures
from tests.gateway import KEY, open_gateway
from tests.hostile import Request, serving, until_hung_up

pytestmark = pytest.mark.anyio

PICTURE = pictures.png(8, 8, "bought")
B64 = base64.b64encode(PICTURE).decode()


def reply(status: int | str, body: Any = b"", **headers: str) -> bytes:
    """A whole answer; `body` is JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"content-type": "application/json", "content-length": str(len(content))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + content


def page(status: int) -> bytes:
    return reply(status, b"<html><title>gateway</title></html>", content_type="text/html")


def said(status: int, message: str, **headers: str) -> bytes:
    return reply(status, {"error": {"code": status, "message": message}}, **headers)


GOOD = {
    "gemini": {
        "candidates": [
            {
                "content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": B64}}]},
                "finishReason": "STOP",
            }
        ]
    },
    "openai": {
        "choices": [
            {
                "index": 0,
                "message": {"images": [{"image_url": {"url": f"data:image/png;base64,{B64}"}}]},
                "finish_reason": "stop",
            }
        ]
    },
    "images": {"created": 1, "data": [{"b64_json": B64}]},
    "sync": {"id": "1", "status": "succeeded", "results": [{"url": f"data:image/png;base64,{B64}"}]},
}
GOOD["task"] = GOOD["sync"]
WIRES = tuple(GOOD)
TAKEN = {"id": "1", "status": "running"}
NOTHING = {
    "gemini": {"candidates": []},
    "openai": {"choices": []},
    "images": {"created": 1, "data": []},
    "sync": {"id": "1", "status": "succeeded", "results": []},
    "task": {"id": "1", "status": "succeeded", "results": []},
}
CUT = reply(200, b'{"candidates": [', content_length="4000")

# What answers an order that may have been sold: it is the last one.
MAY_BE_BOUGHT: dict[str, bytes] = {
    **{str(status): reply(status, {}) for status in (500, 501, 502, 504, 520, 524, 408, 499)},
    **{f"{status} said": said(status, "went wrong") for status in (500, 502, 504)},
    **{f"{status} page": page(status) for status in (200, 500, 502, 503, 504, 524)},
    "301": reply(301, location="/elsewhere"),
    "302": reply(302, location="https://example.com/x"),
    "307": reply(307, location="/elsewhere"),
    "503 without a reason": reply(503),
    "200 empty": reply(200),
    "200 {}": reply(200, {}),
    "200 []": reply(200, []),
    "200 null": reply(200, None),
    "200 without a picture": b"",  # see NOTHING
    "200 broken": reply(200, b'{"status": "runn'),
    "202 empty": reply(202),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "200 half a gzip": reply(200, gzip.compress(b'{"status": "running"}' * 20)[:30], content_encoding="gzip"),
    "no answer": b"",
    "cut in the head": b"HTTP/1.1 200 OK\r\ncontent-",
    "cut in the body": CUT,
    "broken HTTP": b"NONSENSE\r\n\r\n",
}
# What proves that nothing was made: another vendor is asked.
REFUSED: dict[str, bytes] = {
    "401": said(401, "bad key"),
    "402": said(402, "insufficient balance"),
    "403": said(403, "not allowed"),
    "404": said(404, "model m does not exist"),
    "429": said(429, "slow down"),
    "429 later": said(429, "slow down", retry_after="30"),
    "503 said": said(503, "The model is overloaded."),
    "503 said later": said(503, "The model is overloaded.", retry_after="30"),
}
# The client's mistake: nothing was made, and nobody else is asked.
FINAL: dict[str, bytes] = {"400": said(400, "the prompt is no good"), "422": said(422, "no such size")}
STALLS = {"stall": b"", "stall in the body": CUT}
CLOSING = frozenset({"no answer", "cut in the head", "cut in the body", "broken HTTP"})
# What answers a question about a job that goes on.
ODD_POLLS: dict[str, bytes] = {
    name: MAY_BE_BOUGHT[name]
    for name in MAY_BE_BOUGHT
    if name not in ("200 without a picture", "301", "302", "no answer", "cut in the head", "broken HTTP")
} | {
    "junk behind": reply(200, json.dumps(TAKEN).encode() + b"<!-- cached -->"),
    "a byte order mark": reply(200, b"\xef\xbb\xbf" + json.dumps(TAKEN).encode()),
    "400": reply(400, {}),
    "400 page": page(400),
    "401": REFUSED["401"],
    "403": REFUSED["403"],
    "409": reply(409, {}),
    "429": REFUSED["429"],
    "503 said": REFUSED["503 said"],
}
FAULTS = {**MAY_BE_BOUGHT, **REFUSED, **FINAL, **STALLS}
NUMBERS = {name: number for number, name in enumerate(FAULTS)}
POLLS = {name: number for number, name in enumerate(ODD_POLLS)}

HEAD = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
defaults: {heartbeat: 5s, retry: {budget: 100%}, timeouts: {first_byte: 3s, idle: 3s, total: 20s}}
providers:
"""
MODELS = {
    "gemini": "gemini-3-pro-image",
    "openai": "gemini-2.5-flash-image",
    "images": "gpt-image-1",
    "sync": "nano-banana",
    "task": "nano-banana",
}
SPEAKS = {
    "gemini": "wire: gemini",
    "openai": "wire: openai",
    "images": "wire: openai",
    "sync": "profile: grsai, options: {reply_type: json}",
    "task": "profile: grsai",
}


def file(url: str) -> str:
    """A provider for each wire and fault, with two models: alone, and with another vendor behind it."""
    places = [(wire, f"f{number}") for wire in WIRES for number in NUMBERS.values()]
    places += [("task", f"p{number}") for number in POLLS.values()]
    providers = [
        f"  {wire}-{place}: {{{SPEAKS[wire]}, base_url: '{url}/{wire}/{place}', "
        "keys: [env:VENDOR_KEY], private: true}"
        for wire, place in [*places, ("gemini", "other")]
    ]
    models = [
        f"  {wire}-{place}-{behind}: {{targets: [{wire}-{place}/{MODELS[wire]}], poll: {{every: 20ms}}"
        f"{', fallback: [gemini-other/gemini-3-pro-image]' if behind == 'backed' else ''}}}"
        for wire, place in places
        for behind in ("alone", "backed")
    ]
    return "\n".join([HEAD.strip(), *providers, "models:", *models, ""])


@dataclass
class Vendors:
    """All of them in one server. `orders` counts by prompt: at the first vendor, and at the other."""

    orders: Counter[tuple[str, str]] = field(default_factory=Counter)
    polls: Counter[str] = field(default_factory=Counter)

    async def answer(self, request: Request) -> None:
        body = (await request.read_body()).decode(errors="replace")  # forms hold pictures
        method, path, _ = request.head.decode().split(" ", 2)
        _, wire, place, _ = path.split("/", 3)
        if method == "GET":
            await self._poll(request, place, path.rpartition("=")[2])
            return
        prompt = next(
            word for word in body.replace('"', " ").replace("\\n", " ").split() if word[:5] == "case-"
        )
        self.orders[prompt, "other" if place == "other" else "first"] += 1
        if place == "other":
            await request.send(reply(200, GOOD["gemini"]))
        elif place[0] == "p":
            await request.send(reply(200, {**TAKEN, "id": prompt}))
        else:
            await self._fail(request, list(FAULTS)[int(place[1:])], FAULTS, wire)

    async def _poll(self, request: Request, place: str, job: str) -> None:
        self.polls[job] += 1
        name = list(ODD_POLLS)[int(place[1:])]
        if self.polls[job] < 3:  # twice oddly, then the picture
            await self._fail(request, name, ODD_POLLS, "task")
        else:
            await request.send(reply(200, GOOD["task"]))

    async def _fail(self, request: Request, name: str, faults: dict[str, bytes], wire: str) -> None:
        nothing = name == "200 without a picture"
        await request.send(reply(200, NOTHING[wire]) if nothing else faults[name])
        if name in STALLS:
            await until_hung_up(request)
        elif name in CLOSING:
            await request.hang_up()


_URL = "data:image/png;base64,"
Ask = Callable[[openai.AsyncOpenAI, str, str], Awaitable[Any]]


async def generate(client: openai.AsyncOpenAI, model: str, prompt: str) -> bool:
    found = await client.images.generate(model=model, prompt=prompt)
    return bool(found.data)


async def edit(client: openai.AsyncOpenAI, model: str, prompt: str) -> bool:
    found = await client.images.edit(model=model, prompt=prompt, image=("a.png", PICTURE, "image/png"))
    return bool(found.data)


async def chat(client: openai.AsyncOpenAI, model: str, prompt: str) -> bool:
    asked: Any = [{"role": "user", "content": prompt}]
    found = await client.chat.completions.create(model=model, messages=asked)
    return _URL in repr(found)


async def chat_streamed(client: openai.AsyncOpenAI, model: str, prompt: str) -> bool:
    asked: Any = [{"role": "user", "content": prompt}]
    stream = await client.chat.completions.create(model=model, messages=asked, stream=True)
    return any([_URL in repr(chunk) async for chunk in stream])


ASKS = (generate, edit, chat, chat_streamed)


@dataclass(frozen=True)
class Case:
    wire: str
    fault: str
    ask: Ask
    behind: str
    place: str
    prompt: str

    @property
    def name(self) -> str:
        return f"{self.fault} / {self.wire} / {self.ask.__name__} / {self.behind}"  # type: ignore[attr-defined]


def cases(wires: tuple[str, ...], faults: dict[str, int], letter: str) -> list[Case]:
    """Two of the four ways to ask for each wire and fault, in turn."""
    rows = itertools.product(
        enumerate(wires), enumerate(faults.items()), enumerate(ASKS), ("alone", "backed")
    )
    return [
        Case(wire, fault, ask, behind, f"{letter}{place}", f"case-{letter}{number}-")
        for number, ((a, wire), (b, (fault, place)), (c, ask), behind) in enumerate(rows)
        if (a + b + c) % 2 == 0
    ]


async def outcomes(folder: Path, rows: list[Case]) -> dict[str, tuple[int, int, bool]]:
    """By case: orders at the first vendor, orders at the other, and whether there is a picture."""
    vendors = Vendors()
    at_once = asyncio.Semaphore(48)
    made: dict[str, bool] = {}
    async with serving(vendors.answer) as server:
        with open_gateway(folder, file(server.url)) as own:
            async with openai.AsyncOpenAI(base_url=f"{own.base_url}/v1", api_key=KEY) as client:

                async def run(case: Case) -> None:
                    model = f"{case.wire}-{case.place}-{case.behind}"
                    async with at_once:
                        try:
                            made[case.name] = await case.ask(client, model, case.prompt)
                        except openai.APIError:
                            made[case.name] = False

                await asyncio.gather(*map(run, rows))
    orders = vendors.orders
    return {
        case.name: (orders[case.prompt, "first"], orders[case.prompt, "other"], made[case.name])
        for case in rows
    }


async def test_an_order_that_may_have_been_sold_is_the_last(tmp_path: Path) -> None:
    rows = cases(WIRES, {name: NUMBERS[name] for name in (*MAY_BE_BOUGHT, *STALLS)}, "f")
    found = await outcomes(tmp_path, rows)
    assert {name: each for name, each in found.items() if each != (1, 0, False)} == {}


async def test_an_order_that_was_refused_for_certain_goes_on_to_another_vendor(tmp_path: Path) -> None:
    rows = cases(WIRES, {name: NUMBERS[name] for name in REFUSED}, "f")
    # The SDK would wait as long as it is told to.
    rows = [case for case in rows if case.behind == "backed" or not case.fault.endswith("later")]
    found = await outcomes(tmp_path, rows)
    expected = {"backed": (1, True), "alone": (0, False)}
    ends = {case.name: (found[case.name][1:], expected[case.behind]) for case in rows}
    assert {name: end for name, end in ends.items() if end[0] != end[1]} == {}
    # A key that was refused rests, so that not every request comes to the first vendor.
    assert {case.fault for case in rows if found[case.name][0]} == REFUSED.keys()


async def test_a_request_that_is_wrong_is_sent_once(tmp_path: Path) -> None:
    found = await outcomes(tmp_path, cases(WIRES, {name: NUMBERS[name] for name in FINAL}, "f"))
    assert {name: each for name, each in found.items() if each != (1, 0, False)} == {}


async def test_a_job_outlives_odd_answers_to_its_polls(tmp_path: Path) -> None:
    found = await outcomes(tmp_path, cases(("task",), POLLS, "p"))
    assert {name: each for name, each in found.items() if each != (1, 0, True)} == {}


TEXT = {"index": 0, "message": {"role": "assistant", "content": "a long first part"}, "finish_reason": None}
BROKE = {"error": {"code": 502, "message": "Error processing stream"}}


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [TEXT | BROKE]},
        {"choices": [TEXT]} | BROKE,
        {"choices": [TEXT], "error": {"code": 429, "message": "slow down"}},
    ],
    ids=["within", "beside", "beside, as a limit"],
)
@pytest.mark.parametrize("ask", [chat, chat_streamed])
async def test_words_that_came_with_an_error_are_not_asked_for_again(
    tmp_path: Path, ask: Ask, body: Any
) -> None:
    sent = 0

    async def answer(request: Request) -> None:
        nonlocal sent
        sent += 1
        await request.read_body()
        await request.send(reply(200, body))

    async with serving(answer) as server:
        lan = f"  lan: {{wire: openai, base_url: '{server.url}', keys: [env:VENDOR_KEY], private: true}}\n"
        with open_gateway(tmp_path, HEAD.lstrip() + lan) as own:
            async with openai.AsyncOpenAI(
                base_url=f"{own.base_url}/v1", api_key=KEY, max_retries=0
            ) as client:
                with pytest.raises(openai.APIError):
                    await ask(client, "lan/llama", "Hi")
    assert sent == 1
