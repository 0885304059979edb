"""What stands in the store of a request that is kept, and who is refused when nothing can."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.gateway import KEY, Gateway, open_gateway
from tests.picture_vendors import DATA_URI, HEAD, post, providers, watching
from tests.served import waited

FILE = (
    HEAD
    + providers("dashscope", "jlike")
    + """
models:
  wan: {targets: [dashscope/wan2.7-image], poll: {every: 60ms}}
  picky-alone: {targets: [jlike.image/nano-banana-2]}
  picky-first: {targets: [jlike.image/nano-banana-2], fallback: [google/gemini-3-pro-image]}
  picky-last: {targets: [google/gemini-3-pro-image], fallback: [jlike.image/nano-banana-2]}
"""
)
DRAW = "images/generations"


@contextmanager
def on_disk(folder: Path, settings: str = "lease: 60s", file: str = FILE) -> Iterator[Gateway]:
    state = f'server: {{state: "sqlite:{folder}/state/dragoman.db", files: {{folder: "{folder}/files"}}}}\n'
    with open_gateway(folder, file + state + f"tasks: {{{settings}}}\n") as opened:
        yield opened


def rows(folder: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(folder / "state" / "dragoman.db", timeout=10) as store:
        store.row_factory = sqlite3.Row
        return [dict(row) for row in store.execute("SELECT * FROM tasks ORDER BY id")]


def test_what_waits_for_a_place_has_cost_no_process_yet(tmp_path: Path) -> None:
    with on_disk(tmp_path, "lease: 60s, at_once: 1") as own:
        for number in range(2):
            body = {"model": "wan", "prompt": f"Row {number} sim:polls:9999", "background": True}
            headers = {"idempotency-key": f"row {number}"}
            assert post(own, DRAW, body, headers=headers).status_code == 202
        first, second = rows(tmp_path)
        keeper = own.application.house.services.keeper  # type: ignore[union-attr]
        assert (first["state"], first["owner"], first["tries"]) == ("running", keeper.owner, 1)
        assert (second["state"], second["owner"], second["tries"]) == ("pending", None, 0)
        assert second["lease_until"] is None
        for number, row in enumerate((first, second)):
            assert abs(int(row["id"][5:17], 16) / 1000 - time.time()) < 60
            assert (row["epoch"], row["cancel_asked"], row["callback_tries"]) == (1, 0, 0)
            assert (row["key"], row["idempotency"]) == ("app", f"row {number}")
            assert (row["endpoint"], row["waits"], len(row["digest"])) == ("/images/generations", 0, 32)
            assert b"Row" in row["body"]
        assert "body" not in keeper.running[first["id"]].record.row  # it stands in the store


@pytest.mark.parametrize(
    ("fields", "headers", "status"),
    [
        ({"background": True}, {}, 503),
        ({}, {"prefer": "respond-async"}, 503),
        ({}, {"idempotency-key": "promised"}, 503),
        ({}, {"x-stainless-retry-count": "0"}, 200),
        ({}, {}, 200),
    ],
    ids=["background", "prefer", "key", "sdk", "plain"],
)
def test_what_was_promised_to_be_found_is_not_begun_where_no_row_can_be_written(
    tmp_path: Path, fields: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    with on_disk(tmp_path) as own, watching(own) as seen:
        first = {"model": "wan", "prompt": "The table is there"}
        assert post(own, DRAW, first, headers={"idempotency-key": "first"}).status_code == 200
        with sqlite3.connect(tmp_path / "state" / "dragoman.db", timeout=10) as store:
            store.execute("ALTER TABLE tasks RENAME TO away")
        reply = post(own, DRAW, {"model": "wan", "prompt": "Promised", **fields}, headers=headers)
        assert reply.status_code == status, reply.text
        assert len(seen.submits()) == 1 + (status == 200)
    if status == 503:
        assert reply.json()["error"]["code"] == "store_unavailable"
        assert reply.headers["retry-after"] == "2"


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"idempotency-key": "promised"}, 503), ({"x-stainless-retry-count": "1"}, 429)],
    ids=["key", "sdk"],
)
def test_what_nobody_can_look_for_is_counted_unless_it_was_promised_to_be_found(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    """Whoever asked with a key may have bought it already."""
    limited = FILE.replace("key: env:TEST_KEY}", "key: env:TEST_KEY, limits: {requests: 1/hour}}")
    with on_disk(tmp_path, file=limited) as own:
        assert post(
            own, DRAW, {"model": "wan", "prompt": "Once"}, headers={"idempotency-key": "a"}
        ).is_success
        with sqlite3.connect(tmp_path / "state" / "dragoman.db", timeout=10) as store:
            store.execute("ALTER TABLE tasks RENAME TO away")
        reply = post(own, DRAW, {"model": "wan", "prompt": "Again"}, headers=headers)
        assert reply.status_code == status, reply.text


@pytest.mark.parametrize(
    ("fields", "prefer", "status"),
    [
        ({"background": True}, "wait=20", 202),
        ({"background": True}, "respond-async, wait=20", 202),
        ({}, "respond-async, wait=20", 200),
        ({}, "respond-async,wait=20;x", 200),
        ({}, "respond-async;wait=20", 202),
        ({}, "respond-async, wait=0", 202),
    ],
)
def test_a_body_that_does_not_wait_is_taken_at_its_word(
    tmp_path: Path, fields: dict[str, Any], prefer: str, status: int
) -> None:
    with on_disk(tmp_path) as own:
        body = {"model": "wan", "prompt": "Now sim:polls:2", **fields}
        assert post(own, DRAW, body, headers={"prefer": prefer}).status_code == status


def test_preferences_stand_in_several_headers_and_in_no_other(tmp_path: Path) -> None:
    """RFC 7240, 2"""
    with on_disk(tmp_path) as own:

        def asked(*headers: tuple[str, str]) -> int:
            known = ("authorization", f"Bearer {KEY}")
            body = {"model": "wan", "prompt": "Several sim:polls:2"}
            address = f"{own.base_url}/v1/{DRAW}"
            return own.http.post(address, json=body, headers=[known, *headers]).status_code

        assert (
            asked(("prefer", "handling=lenient"), ("x-other", "wait=20"), ("prefer", "respond-async")) == 202
        )
        assert asked(("prefer", "respond-async"), ("prefer", "wait=20")) == 200


@pytest.mark.parametrize("model", ["picky-first", "picky-last"])
def test_a_task_needs_one_target_that_can_be_asked_for_it(tmp_path: Path, model: str) -> None:
    with on_disk(tmp_path) as own:
        body = {"model": model, "prompt": "Redder", "image": DATA_URI, "background": True}
        assert post(own, DRAW, body).status_code == 202
        for strict in ({}, {"x-proxy-strict": "true"}):  # which says nothing of what it would lose besides
            lossy = {**body, "model": "picky-alone", "style": "vivid"}
            refused = post(own, DRAW, lossy, headers=strict)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "image")


def test_the_access_log_names_the_task_that_a_client_was_given(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with on_disk(tmp_path) as own:
        begun = post(own, DRAW, {"model": "wan", "prompt": "Logged", "background": True}).json()["id"]
        waited(lambda: f'"task":"{begun}"' in capfd.readouterr().err)
