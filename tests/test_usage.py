"""What the ledger tells: sums that are exact, pages that are bounded, and to each key its own."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger import drift, views
from proxy.ledger.entries import Entry, insert
from proxy.ledger.rates import Rates
from proxy.ledger.views import Into, Wanted, day_of
from proxy.store.database import Database
from tests.gateway import Gateway, open_gateway
from tests.served import ROOT, run
from tests.test_ledger import ROW
from tests.test_ledger_of_requests import FILE, chat, draw, rows_of

DAY = 20783  # of the row: 2026-11-26
ALL = Wanted(DAY - 30, DAY + 30)


def stored(address: str, entries: list[Entry]) -> Database:
    database = Database(address)
    database.do(lambda connection: insert(connection, entries))
    return database


def told(database: Database, wanted: Wanted) -> list[dict[str, Any]]:
    return database.do(lambda connection: views.sums(connection, wanted))


PICTURE = ROW._replace(
    model="banana", operation="generate_image", currency="CNY", prompt_tokens=0, completion_tokens=0
)
HOLD = PICTURE._replace(kind="hold", amount=Decimal("0.4"), outcome="ordered")
BOOKS = [
    ROW,
    ROW._replace(request_id="req_2", amount=Decimal("0.1")),
    ROW._replace(request_id="req_3", key="other", amount=None),
    HOLD._replace(request_id="req_4"),
    PICTURE._replace(
        request_id="req_4",
        amount=Decimal("0.2"),
        released=Decimal("0.4"),
        images=1,
        vendor_amount=Decimal("0.2"),
        vendor_unit="CNY",
    ),
    HOLD._replace(request_id="req_5"),
    PICTURE._replace(
        request_id="req_5",
        kind="refund",
        amount=Decimal("0.4"),
        released=Decimal("0.4"),
        vendor_amount=Decimal(15),
        vendor_unit="credits",
        outcome="blocked",
    ),
    HOLD._replace(request_id="req_6"),
    PICTURE._replace(request_id="req_6", kind="uncertain", amount=None, outcome="timeout"),
    ROW._replace(request_id="req_7", at=ROW.at + 86400, amount=Decimal("0.2")),
]


def test_sums_by_day_and_model(store_address: str) -> None:
    database = stored(store_address, BOOKS)
    assert told(database, Wanted(DAY, DAY + 1, "app")) == [
        {
            "day": "2026-11-26",
            "model": "banana",
            "currency": "CNY",
            "requests": 3,
            "images": 1,
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "charged": "0.2",
            "held": "0.4",
            "refunded": "0.4",
            "unpriced": 0,
            "vendor_charged": {"CNY": "0.2", "credits": "15"},
        },
        {
            "day": "2026-11-26",
            "model": "flash",
            "currency": "USD",
            "requests": 2,
            "images": 0,
            "prompt_tokens": 6,
            "completion_tokens": 8,
            "charged": "0.100000037512",
            "held": "0",
            "refunded": "0",
            "unpriced": 0,
            "vendor_charged": {},
        },
        {
            "day": "2026-11-27",
            "model": "flash",
            "currency": "USD",
            "requests": 1,
            "images": 0,
            "prompt_tokens": 3,
            "completion_tokens": 4,
            "charged": "0.2",
            "held": "0",
            "refunded": "0",
            "unpriced": 0,
            "vendor_charged": {},
        },
    ]
    database.release()


def test_what_has_no_price_is_not_charged_zero(store_address: str) -> None:
    database = stored(store_address, BOOKS)
    (row,) = told(database, Wanted(DAY, DAY, "other", ()))
    assert (row["charged"], row["unpriced"], row["requests"]) == (None, 1, 1)
    database.release()


def test_currencies_are_never_added(store_address: str) -> None:
    database = stored(store_address, BOOKS)
    found = told(database, Wanted(DAY, DAY + 1, None, ()))
    assert [(row["currency"], row["charged"]) for row in found] == [("CNY", "0.2"), ("USD", "0.300000037512")]
    database.release()


RATES = Rates({"USD": Decimal(1), "CNY": Decimal("0.14")})


def test_all_in_one_currency(store_address: str) -> None:
    database = stored(store_address, [*BOOKS, ROW._replace(request_id="req_9", currency="EUR")])
    wanted = replace(Wanted(DAY, DAY, "app", ("key",)), into=Into("USD", RATES))
    assert told(database, wanted) == [
        {
            "key": "app",
            "currency": "USD",
            "requests": 5,
            "images": 1,
            "prompt_tokens": 6,
            "completion_tokens": 8,
            "charged": "0.128000037512",
            "held": "0.056",
            "refunded": "0.056",
            "unpriced": 0,
            "vendor_charged": {"CNY": "0.2", "credits": "15"},
        }
    ]
    assert database.do(lambda connection: views.left_out(connection, wanted)) == ["EUR"]
    (total,) = database.do(lambda connection: views.totals(connection, wanted))
    assert (total["currency"], total["charged"]) == ("USD", "0.128000037512")
    other = replace(wanted, since=DAY + 9, until=DAY + 9)
    assert database.do(lambda connection: views.totals(connection, other)) == []
    database.release()


def test_the_command_tells_all_in_one_currency(tmp_path: Path) -> None:
    address = f"sqlite:{tmp_path}/state/dragoman.db"
    file = f'server: {{state: "{address}"}}\nrates: {{USD: 1, CNY: 0.14}}\n'
    (tmp_path / "providers.yaml").write_text(file)
    stored(address, [*BOOKS, ROW._replace(request_id="req_9", currency="EUR")]).release()
    since = ("--since", "2026-11-26", "--until", "2026-11-27", "--by", "key", "--key", "app")
    _, out, talk = command(tmp_path, *since, "--in", "CNY", "--json")
    (row,) = json.loads(out)
    assert (row["currency"], row["charged"]) == ("CNY", "2.3428574108")
    assert talk == "without what was paid in EUR: it has no rate in the file\n"
    assert command(tmp_path, *since, "--in", "EUR") == (
        2, "", "--in: EUR has no rate in the file; there are: CNY, USD\n",
    )  # fmt: skip


DRIFTED = [
    PICTURE._replace(request_id=f"d{number}", amount=ours, vendor_amount=theirs, vendor_unit=unit, kind=kind)
    for number, (ours, theirs, unit, kind) in enumerate(
        (
            (Decimal("0.2"), Decimal("0.25"), "CNY", "settle"),
            (Decimal("0.2"), Decimal("0.2"), "CNY", "settle"),
            (Decimal("0.2"), Decimal("0.2"), "CNY", "refund"),
            (None, Decimal("9"), "CNY", "settle"),
            (None, Decimal("9"), "points", "settle"),
            (Decimal("0.14"), Decimal("0.02"), "USD", "settle"),
            (Decimal("0.2"), Decimal("15"), "credits", "settle"),
            (Decimal("0.2"), None, None, "settle"),
        )
    )
]


def test_a_price_that_drifted_away_from_the_vendors(store_address: str) -> None:
    """What has no price of ours says nothing, and what was refunded is told apart."""
    database = stored(store_address, DRIFTED)
    found = database.do(lambda connection: drift.report(connection, ALL, RATES))
    assert [tuple(row[name] for name in drift.COLUMNS[1:]) for row in found] == [
        ("CNY", "CNY", 2, "0.4", "0.45", "0.05", "12.5", "0.2"),
        ("CNY", "USD", 1, "0.14", "0.02", "0.002857142857", "2", "0"),
        ("CNY", "credits", 1, "0.2", "15", None, None, "0"),
    ]
    database.release()


def test_the_command_tells_the_drift(tmp_path: Path) -> None:
    address = f"sqlite:{tmp_path}/state/dragoman.db"
    (tmp_path / "providers.yaml").write_text(f'server: {{state: "{address}"}}\n')
    assert command(tmp_path, "--drift", "--json")[1] == "[]\n"
    stored(address, DRIFTED).release()
    since = ("--since", "2026-11-26", "--until", "2026-11-27")
    table = list(csv.DictReader(io.StringIO(command(tmp_path, *since, "--drift", "--csv")[1])))
    assert [(row["vendor_unit"], row["percent"]) for row in table] == [
        ("CNY", "12.5"), ("USD", ""), ("credits", ""),
    ]  # fmt: skip


def test_only_the_admin_sees_the_drift(house: Gateway) -> None:
    get(house, "/admin/usage/drift", status=403)
    (row,) = get(house, "/admin/usage/drift", "sk-test-admin")["data"]
    assert (row["target"], row["charged"], row["vendor_charged"], row["percent"]) == (
        "jlike.image/nano-banana-2", "0.2", "0.2", "0",
    )  # fmt: skip


def test_sums_do_not_overflow(store_address: str) -> None:
    """Twenty pictures at the dearest that a row holds are more than 64 bits of steps."""
    most = Decimal("9000000.000000000001")
    entries = [ROW._replace(call=number, amount=most) for number in range(20)]
    database = stored(store_address, entries)
    (row,) = told(database, Wanted(DAY, DAY, None, ()))
    assert row["charged"] == "180000000.00000000002"
    database.release()


@given(st.lists(st.decimals(0, 9 * 10**6, places=12), max_size=40))
def test_sums_are_exact(amounts: list[Decimal]) -> None:
    entries = [ROW._replace(call=number, amount=amount) for number, amount in enumerate(amounts)]
    database = Database("sqlite::memory:")
    if entries:
        database.do(lambda connection: insert(connection, entries))
    found = told(database, Wanted(DAY, DAY, None, ()))
    assert sum((Decimal(row["charged"]) for row in found), Decimal(0)) == sum(amounts, Decimal(0))
    database.release()


def test_pages_of_groups_come_to_all_of_them(store_address: str) -> None:
    database = stored(
        store_address, [ROW._replace(model=f"m{number:02}", call=number) for number in range(7)]
    )
    names: list[str] = []
    for after in (0, 3, 6):
        page = told(database, Wanted(DAY, DAY, None, ("model",), limit=3, after=after))
        assert len(page) <= 4
        names += [row["model"] for row in page[:3]]
    assert names == [f"m{number:02}" for number in range(7)]
    database.release()


def test_the_newest_rows_come_first(store_address: str) -> None:
    database = stored(store_address, BOOKS)
    found = database.do(
        lambda connection: views.rows(connection, Wanted(DAY, DAY, "app", limit=2), admin=False)
    )
    assert found[0] == {
        "id": 9,
        "request_id": "req_6",
        "call": 0,
        "attempt": 1,
        "at": "2026-11-26T15:26:10.500+00:00",
        "kind": "uncertain",
        "outcome": "timeout",
        "model": "banana",
        "operation": "generate_image",
        "images": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "currency": "CNY",
        "amount": None,
        "vendor_charged": {},
        "estimated": False,
    }
    assert [row["id"] for row in found] == [9, 8, 7]
    database.release()


def test_days_are_counted_from_1970() -> None:
    assert (day_of(date(1970, 1, 1)), day_of(date(2026, 11, 26)), views.written(DAY)) == (
        0,
        DAY,
        "2026-11-26",
    )


# --- over HTTP


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("usage")
    file = FILE + "auth: {admin: env:TEST_ADMIN}\n"
    with open_gateway(folder, file, {"TEST_ADMIN": "sk-test-admin"}) as opened:
        for reply in (chat(opened, "flash"), chat(opened, "free")):
            rows_of(opened, reply.headers["x-request-id"], 1)
        rows_of(opened, draw(opened, "banana", "a cat").headers["x-request-id"], 2)
        narrow = chat(opened, "flash", key="sk-test-narrow")
        rows_of(opened, narrow.headers["x-request-id"], 1)
        yield opened


def get(
    gateway: Gateway, path: str, key: str = "sk-test-app", status: int = 200, **query: Any
) -> dict[str, Any]:
    reply = gateway.http.get(
        gateway.base_url + path, params=query or None, headers={"authorization": f"Bearer {key}"}
    )
    assert reply.status_code == status, reply.text
    found: dict[str, Any] = reply.json()
    return found


def test_a_key_sees_its_own(house: Gateway) -> None:
    own = get(house, "/v1/usage", group_by="model")
    assert [(row["model"], row["currency"], row["requests"]) for row in own["data"]] == [
        ("banana", "CNY", 1),
        ("flash", "USD", 1),
        ("free", "USD", 1),
    ]
    assert own["data"][0]["charged"] == "0.2"
    assert own["data"][2]["charged"] is None
    assert [row["currency"] for row in own["totals"]] == ["CNY", "USD"]
    assert (own["has_more"], own["next"], own["group_by"]) == (False, None, ["model"])
    narrow = get(house, "/v1/usage", "sk-test-narrow")
    assert [row["model"] for row in narrow["data"]] == ["flash"]
    assert get(house, "/v1/usage?key=app", "sk-test-narrow")["data"] == narrow["data"]
    rows = get(house, "/usage/requests?key=app", "sk-test-narrow")["data"]
    assert [(row["model"], row["kind"]) for row in rows] == [("flash", "settle")]
    assert not {"key", "target"} & set(rows[0])


def test_the_admin_sees_all(house: Gateway) -> None:
    found = get(house, "/admin/usage", "sk-test-admin", group_by="key,target")
    assert [(row["key"], row["target"]) for row in found["data"]] == [
        ("app", "google/gemini-2.5-flash"),
        ("app", "google/gemini-3-flash-preview"),
        ("app", "jlike.image/nano-banana-2"),
        ("narrow", "google/gemini-3-flash-preview"),
    ]
    assert len(get(house, "/admin/usage?key=narrow", "sk-test-admin")["data"]) == 1
    assert {row["key"] for row in get(house, "/admin/usage/requests", "sk-test-admin")["data"]} == {
        "app",
        "narrow",
    }
    assert get(house, "/admin/usage", status=403)["error"]["code"] == "admin_only"


def test_pages_of_requests_are_bounded_and_whole(house: Gateway) -> None:
    first = get(house, "/v1/usage/requests", limit=3)
    assert (len(first["data"]), first["has_more"]) == (3, True)
    rest = get(house, "/v1/usage/requests", limit=3, after=first["next"])
    assert (len(rest["data"]), rest["has_more"], rest["next"]) == (1, False, None)
    kinds = [row["kind"] for row in first["data"] + rest["data"]]
    assert kinds == ["settle", "hold", "settle", "settle"]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-13-01"}, "to"),
        ({"from": "2026-11-26junk"}, "from"),
        ({"from": "2026-11-02", "to": "2026-11-01"}, "from"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "0"}, "limit"),
        ({"after": "-1"}, "after"),
        ({"limit": "²"}, "limit"),
        ({"group_by": "day,key"}, "group_by"),
        ({"group_by": "amount;"}, "group_by"),
        ({"to": "0001-01-01"}, "from"),
    ],
)
def test_a_wrong_word_is_named(house: Gateway, query: dict[str, str], param: str) -> None:
    error = get(house, "/v1/usage", status=400, **query)["error"]
    assert (error["param"], error["code"]) == (param, "invalid_value")


def test_one_currency_is_asked_for_by_name(house: Gateway) -> None:
    assert house.application.house is not None
    balances = house.application.house.services.balances
    before, balances.rates = balances.rates, RATES
    try:
        found = get(house, "/v1/usage", currency="USD", group_by="model")
    finally:
        balances.rates = before
    assert {row["currency"] for row in (*found["data"], *found["totals"])} == {"USD"}
    assert found["left_out"] == [] or "points" in found["left_out"]


def test_other_days_have_nothing(house: Gateway) -> None:
    found = get(house, "/v1/usage", **{"from": "2020-01-01", "to": "2020-12-31"})
    assert (found["data"], found["totals"], found["from"], found["to"]) == (
        [],
        [],
        "2020-01-01",
        "2020-12-31",
    )


def test_chat_uis_read_their_billing_page(house: Gateway) -> None:
    """NextChat: used = total_usage / 100, and hard_limit_usd - used is what is left."""
    page = get(house, "/dashboard/billing/usage", start_date="2020-01-01", end_date=datetime.now(UTC).date())
    assert page["object"] == "list"
    assert page["currency"] == "USD"
    assert page["total_usage"] == pytest.approx(float(get(house, "/v1/usage")["totals"][1]["charged"]) * 100)
    assert {item["name"] for day in page["daily_costs"] for item in day["line_items"]} == {"flash", "free"}
    limit = get(house, "/v1/dashboard/billing/subscription")
    assert (limit["object"], limit["hard_limit_usd"]) == ("billing_subscription", 100_000_000.0)


# --- the command


def command(folder: Path, *arguments: str, fresh: bool = False) -> tuple[int, str, str]:
    return run("usage", *arguments, cwd=folder, fresh=fresh)


def test_the_command_tells_it_as_a_table_csv_and_json(tmp_path: Path) -> None:
    address = f"sqlite:{tmp_path}/state/dragoman.db"
    (tmp_path / "providers.yaml").write_text(f'server: {{state: "{address}"}}\n')
    assert command(tmp_path, "--json", fresh=True)[1] == "[]\n"
    assert not (tmp_path / "state").exists()
    stored(address, BOOKS).release()
    since = ("--since", "2026-11-26", "--until", "2026-11-27")
    rows = json.loads(command(tmp_path, *since, "--json", "--by", "key")[1])
    assert [(row["key"], row["currency"], row["charged"]) for row in rows] == [
        ("app", "CNY", "0.2"),
        ("app", "USD", "0.300000037512"),
        ("other", "USD", None),
    ]
    table = list(csv.DictReader(io.StringIO(command(tmp_path, *since, "--csv", "--key", "app")[1])))
    assert table[0] == {
        "key": "app",
        "model": "banana",
        "currency": "CNY",
        "requests": "3",
        "images": "1",
        "prompt_tokens": "0",
        "completion_tokens": "0",
        "charged": "0.2",
        "held": "0.4",
        "refunded": "0.4",
        "unpriced": "0",
        "vendor_charged": "0.2 CNY 15 credits",
    }
    printed = command(tmp_path, *since)[1].splitlines()
    assert printed[0].split()[:3] == ["key", "model", "currency"]
    assert printed[2].split()[:6] == ["app", "flash", "USD", "3", "0", "9"]
    assert command(tmp_path, "--by", "colour") == (
        2,
        "",
        "--by: colour is nothing to group by; there are day, key, model, target, operation, currency\n",
    )
    assert command(tmp_path, "--since", "soon")[0] == 2


def test_the_list_of_models_tells_prices(house: Gateway) -> None:
    cards = {card["id"]: card for card in get(house, "/v1/models")["data"]}
    assert cards["flash"]["price"] == {"currency": "USD", "per": "1M", "input": "0.5", "output": "3"}
    assert cards["sized"]["price"] == {"currency": "CNY", "per": "1M", "image": {"1K": "0.2", "4K": "0.5"}}
    assert cards["banana"]["price"]["image"] == "0.2"
    assert "price" not in cards["free"]


@pytest.mark.parametrize(
    ("arguments", "cost"),
    [
        (("nano-banana-pro", "A cat", "--images"), "about 0.134 USD for the pictures"),
        (
            ("gemini-pro", "Tell me of cats."),
            "about 0.000008 USD for 4 tokens of the prompt, and 12 per 1M tokens of the answer",
        ),
        (("local", "Hello"), "unpriced"),
    ],
)
def test_explain_estimates(arguments: tuple[str, ...], cost: str) -> None:
    code, printed, _ = run("explain", *arguments, cwd=ROOT)
    assert code == 0
    assert f"cost: {cost}" in printed.splitlines()
