"""Replies whose rows wait: for a store that is away, or slow, or that does not say what it did."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.gateway import KEY, Gateway
from tests.served import waited
from tests.test_responses import ask
from tests.test_responses_state import NARROW, finished, on_disk, refused, texts, until

_REFUSES = """
CREATE TRIGGER refuses BEFORE {} ON replies BEGIN SELECT RAISE(ABORT, 'not now'); END
"""


def renamed(folder: Path, table: str, name: str) -> None:
    _changed(folder, f"ALTER TABLE {table} RENAME TO {name}")


def _changed(folder: Path, change: str) -> None:
    with sqlite3.connect(folder / "state" / "dragoman.db", timeout=10) as store:
        store.executescript(change)


def _found(gateway: Gateway, identity: str) -> bool:
    headers = {"authorization": f"Bearer {KEY}"}
    url = f"{gateway.base_url}/v1/responses/{identity}"
    return gateway.http.get(url, headers=headers).status_code == 200


def test_replies_wait_for_a_store_that_is_away(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """R-062: who asks is answered, and finds the reply; only what is in the store alone must be asked for
    again."""
    with on_disk(tmp_path) as own, on_disk(tmp_path) as other:
        first = ask(own, "One")
        waited(lambda: _found(other, first.id))
        renamed(tmp_path, "replies", "away")
        second = ask(own, "Two")
        assert own.client().responses.retrieve(second.id).output_text == "You said: Two"
        for call in (
            lambda: own.client(api_key=NARROW).responses.retrieve(second.id),
            lambda: own.client().responses.retrieve(first.id),
            lambda: ask(own, "Three", previous_response_id=first.id),
            lambda: own.client().responses.delete(first.id),
        ):
            assert refused(call) == (503, None, "store_unavailable")
        waited(lambda: '"replies_not_written","waiting":1' in capfd.readouterr().err)
        headers = {"authorization": f"Bearer {KEY}"}
        told = own.http.get(f"{own.base_url}/v1/responses/{first.id}", headers=headers)
        assert told.headers["retry-after"] == "2"
        renamed(tmp_path, "away", "replies")
        waited(lambda: _found(other, second.id))
        ask(other, "Three", previous_response_id=second.id)
        assert texts(other)[0] == ("user", "Two")


def test_what_is_too_much_and_cannot_be_swept_away_keeps_no_later_reply_out(tmp_path: Path) -> None:
    with on_disk(tmp_path, ", replies: {max_bytes: 20KiB}") as own, on_disk(tmp_path) as other:
        first = ask(own, "x" * 4096)
        waited(lambda: _found(other, first.id))
        _changed(tmp_path, _REFUSES.format("DELETE"))
        replies = [ask(own, str(number) * 4096) for number in range(3)]
        for reply in replies:
            waited(lambda reply=reply: _found(other, reply.id))
        _changed(tmp_path, "DROP TRIGGER refuses")
        last = ask(own, "Last")
        waited(lambda: not _found(other, first.id))
        assert own.client().responses.retrieve(last.id).status == "completed"


def test_what_was_written_without_a_word_is_written_once(tmp_path: Path) -> None:
    """The line to the store broke before it said that it had; what comes later is written all the same."""
    with on_disk(tmp_path) as own, on_disk(tmp_path) as other:
        first = ask(own, "One")
        waited(lambda: _found(other, first.id))
        renamed(tmp_path, "replies", "away")
        second = ask(own, "Two")
        assert refused(lambda: own.client().responses.delete(first.id))[0] == 503  # both have been tried
        _changed(
            tmp_path,
            f"CREATE TABLE copy AS SELECT * FROM away; UPDATE copy SET id = '{second.id}'; "
            "INSERT INTO away SELECT * FROM copy; DROP TABLE copy; ALTER TABLE away RENAME TO replies",
        )
        third = ask(own, "Three")
        waited(lambda: _found(other, third.id))
        assert other.client().responses.retrieve(second.id).output_text == "You said: Two"


def test_what_waits_for_its_row_is_neither_forgotten_nor_changed_in_words_alone(tmp_path: Path) -> None:
    """A store that reads and cannot write: what is told to be gone would come back when it can."""
    with on_disk(tmp_path) as own, on_disk(tmp_path) as other:
        first = ask(own, "One")
        waited(lambda: _found(other, first.id))
        _changed(tmp_path, _REFUSES.format("INSERT"))
        reply = ask(own, "Two")
        talk = own.client().conversations.create()
        away = (503, None, "store_unavailable")
        item: Any = {"type": "message", "role": "user", "content": "Hi"}
        assert refused(lambda: own.client().responses.delete(reply.id)) == away
        assert refused(lambda: own.client().conversations.update(talk.id, metadata={"a": "b"})) == away
        assert refused(lambda: own.client().conversations.items.create(talk.id, items=[item])) == away
        assert own.client().responses.retrieve(reply.id).output_text == "You said: Two"
        _changed(tmp_path, "DROP TRIGGER refuses")
        own.client().responses.delete(reply.id)
        assert refused(lambda: own.client().responses.retrieve(reply.id))[0] == 404


def test_a_reply_that_ends_while_its_begin_is_written_is_kept_with_its_end(tmp_path: Path) -> None:
    with on_disk(tmp_path) as own, on_disk(tmp_path) as other, ThreadPoolExecutor(1) as pool:
        written = ask(own, "One")
        waited(lambda: _found(other, written.id))
        renamed(tmp_path, "replies", "away")
        first = ask(own, "Hello sim:slow:0.8", background=True)
        with sqlite3.connect(tmp_path / "state" / "dragoman.db", timeout=10, isolation_level=None) as store:
            store.execute("BEGIN IMMEDIATE")
            store.execute("ALTER TABLE away RENAME TO replies")
            second = pool.submit(ask, own, "Me too", background=True)  # both are written, as soon as they can
            making = own.application.house.services.shelf.making  # type: ignore[union-attr]
            waited(lambda: first.id not in making)
            store.execute("COMMIT")
        store.close()
        second.result(10)
        assert finished(other, first.id).output_text == "You said: Hello"


def test_what_another_process_has_taken_over_is_remembered_no_more(tmp_path: Path) -> None:
    with on_disk(tmp_path) as own:
        reply = ask(own, "Hello sim:slow:20", background=True)
        shelf = own.application.house.services.shelf  # type: ignore[union-attr]
        assert shelf._in_store == {reply.id}
        _changed(tmp_path, "UPDATE replies SET tries = tries + 1")
        waited(lambda: reply.id not in shelf.making)
        assert shelf._in_store == set()


def test_a_reply_in_the_making_that_cannot_be_forgotten_keeps_no_later_one_out(tmp_path: Path) -> None:
    with on_disk(tmp_path) as own, on_disk(tmp_path) as other:
        reply = ask(own, "Hello sim:slow:20", background=True)
        _changed(tmp_path, _REFUSES.format("DELETE"))
        assert refused(lambda: own.client().responses.delete(reply.id))[0] == 503
        _changed(tmp_path, "DROP TRIGGER refuses")
        later = ask(own, "Later")
        waited(lambda: _found(other, later.id))
        own.client().responses.delete(reply.id)
        assert not _found(other, reply.id)


def test_a_reply_is_said_to_be_made_again_when_its_store_comes_back(tmp_path: Path) -> None:
    """Else another process would take it for lost."""
    with on_disk(tmp_path) as own:
        reply = ask(own, "Hello sim:slow:20", background=True)
        until(own, reply.id, "in_progress")
        renamed(tmp_path, "replies", "away")
        looked_at = time.monotonic() + 1.1  # it is looked at each second
        waited(lambda: time.monotonic() > looked_at)
        renamed(tmp_path, "away", "replies")

        def alive_until() -> float:
            with contextlib.closing(sqlite3.connect(tmp_path / "state" / "dragoman.db")) as store:
                found: float = store.execute("SELECT alive_until FROM replies").fetchone()[0]
            return found

        before = alive_until()
        waited(lambda: alive_until() > before)
        own.client().responses.cancel(reply.id)
