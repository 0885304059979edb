"""The store of pictures that are delivered by link: a folder, a secret, signed addresses that expire."""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Config
from proxy.config.models import Server
from proxy.config.secrets import Secret
from proxy.store.files import FileStore, folder_of
from proxy.types import Slice

DAY_S = 24 * 3600
ADDRESS = re.compile(r"/v1/files/[0-9a-f]{32}/content\?expires=\d+&signature=[A-Za-z0-9_-]{43}")


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def store(folder: Path, clock: Clock, max_bytes: int = 1 << 30) -> FileStore:
    return FileStore(folder / "files", ttl_s=DAY_S, max_bytes=max_bytes, clock=clock)


def asked(address: str) -> tuple[str, str, str]:
    """Id, expiry and signature, as a request carries them."""
    parts = urlsplit(address)
    query = parse_qs(parts.query)
    return parts.path.split("/")[3], query["expires"][0], query["signature"][0]


def names(folder: Path) -> set[str]:
    return {name for name in os.listdir(folder / "files") if not name.startswith(".")}


def test_nothing_is_made_before_the_first_picture(tmp_path: Path, clock: Clock) -> None:
    empty = store(tmp_path, clock)
    empty.sweep()
    assert empty.granted("0" * 32, "1900000000", "A" * 43) == 0
    assert os.listdir(tmp_path) == []


@given(data=st.binary(max_size=5000))
def test_what_is_saved_is_read(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    files = FileStore(tmp_path_factory.getbasetemp() / "given" / "files")
    identity = files.save(Slice.of(data))
    assert files.read(identity) == data
    opened = files.open(identity)
    assert opened is not None
    with opened[0] as file:
        assert (file.read(), opened[1]) == (data, len(data))


def test_a_large_picture_is_written_window_by_window(tmp_path: Path, clock: Clock) -> None:
    files = store(tmp_path, clock)
    data = os.urandom(3_000_001)
    assert files.read(files.save(Slice.of(data))) == data
    prefixed = Slice(Slice.of(data).raw[4:], prefix=bytes(Slice.of(data).raw[:4]))
    assert files.read(files.save(prefixed)) == data


def test_only_we_may_read_the_folder(tmp_path: Path, clock: Clock) -> None:
    identity = store(tmp_path, clock).save(Slice.of(b"picture"))
    modes = [
        stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "files", tmp_path / "files" / ".secret", tmp_path / "files" / identity)
    ]
    assert modes == [0o700, 0o600, 0o600]
    assert sorted(os.listdir(tmp_path / "files")) == sorted([".secret", identity])


def test_what_is_no_base64_leaves_nothing_behind(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        store(tmp_path, clock).save(Slice(b"not base64!!"))
    assert names(tmp_path) == set()


# --- addresses


def test_an_address_is_good_until_it_expires(tmp_path: Path, clock: Clock) -> None:
    files = store(tmp_path, clock)
    identity = files.save(Slice.of(b"picture"))
    address = files.address(identity)
    assert ADDRESS.fullmatch(address)
    assert files.granted(*asked(address)) == DAY_S
    clock.now += DAY_S - 1
    assert files.granted(*asked(address)) == 1
    clock.now += 1
    assert files.granted(*asked(address)) == 0


def test_an_address_with_any_letter_changed_is_refused(tmp_path: Path, clock: Clock) -> None:
    files = store(tmp_path, clock)
    parts = asked(files.address(files.save(Slice.of(b"picture"))))
    for number, part in enumerate(parts):
        for place in range(len(part)):
            for letter in "0Aé":
                changed = part[:place] + letter + part[place + 1 :]
                if changed != part:
                    assert files.granted(*parts[:number], changed, *parts[number + 1 :]) == 0


@given(st.text(), st.text(), st.text())
def test_no_text_is_an_address(identity: str, expires: str, signature: str) -> None:
    files = FileStore(Path("/nonexistent/files"))
    files._secret = b"s" * 32
    assert files.granted(identity, expires, signature) == 0
    assert files.identify(f"https://host/v1/files/{identity}/content?expires={expires}") is None


def test_workers_and_the_next_start_share_the_secret(tmp_path: Path, clock: Clock) -> None:
    workers = [store(tmp_path, clock) for _ in range(16)]
    with ThreadPoolExecutor(16) as threads:
        saved = list(threads.map(lambda files: files.save(Slice.of(b"picture")), workers))
    later = store(tmp_path, clock)
    for files, identity in zip(workers, saved, strict=True):
        assert later.granted(*asked(files.address(identity))) == DAY_S
    assert names(tmp_path) == set(saved)


@pytest.mark.parametrize(
    "base",
    ["http://127.0.0.1:8080", "https://ai.example.com", "https://ai.example.com/a/b", "http://[::1]:80"],
)
def test_our_own_address_is_known_again_at_whatever_host(tmp_path: Path, clock: Clock, base: str) -> None:
    files = store(tmp_path, clock)
    identity = files.save(Slice.of(b"picture"))
    address = base + files.address(identity)
    assert files.identify(address) == identity
    assert files.is_stored(address)
    assert files.identify(address + "x") is None
    assert files.identify(address.replace("signature=", "signature=A")) is None
    assert files.identify("http://evil/?" + address) is None
    (tmp_path / "files" / identity).unlink()
    assert not files.is_stored(address)


# --- tidying


def test_pictures_go_when_they_are_too_old(tmp_path: Path, clock: Clock) -> None:
    files = store(tmp_path, clock)
    old = files.save(Slice.of(b"old"))
    clock.now += DAY_S
    young = files.save(Slice.of(b"young"))
    files.sweep()
    assert names(tmp_path) == {old, young}
    clock.now += 1
    files.sweep()
    assert names(tmp_path) == {young}
    assert files.open(old) is None
    assert files.read(old) is None
    assert (tmp_path / "files" / ".secret").exists()


@pytest.mark.parametrize("named", ["../secret.txt", "PLACE/secret.txt", ".secret", ""])
def test_only_what_was_saved_here_is_read(tmp_path: Path, clock: Clock, named: str) -> None:
    files = store(tmp_path, clock)
    files.save(Slice.of(b"a picture"))
    (tmp_path / "secret.txt").write_text("ours alone")
    assert files.read(named.replace("PLACE", str(tmp_path))) is None


def test_a_folder_that_was_removed_is_made_again_and_its_addresses_hold(tmp_path: Path, clock: Clock) -> None:
    worker, other = store(tmp_path, clock), store(tmp_path, clock)
    worker.save(Slice.of(b"old"))
    other.save(Slice.of(b"old"))
    shutil.rmtree(tmp_path / "files")
    identity = worker.save(Slice.of(b"new"))
    assert names(tmp_path) == {identity}
    assert other.granted(*asked(worker.address(identity))) == DAY_S
    assert other.read(identity) == b"new"


@pytest.mark.parametrize("damage", [b"", b"five.", b"x" * 100])
def test_a_damaged_secret_is_made_anew_for_all_workers(tmp_path: Path, clock: Clock, damage: bytes) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / ".secret").write_bytes(damage)
    first = store(tmp_path, clock)
    address = first.address(first.save(Slice.of(b"a")))
    assert store(tmp_path, clock).granted(*asked(address)) == DAY_S


def test_an_unfinished_file_goes_only_when_nobody_writes_it(tmp_path: Path) -> None:
    files = FileStore(tmp_path / "files", ttl_s=1800, max_bytes=10)
    kept = files.save(Slice.of(b"picture"))
    for name in ("being-written.part", "left-by-a-crash.part"):
        (tmp_path / "files" / name).write_bytes(bytes(1000))
    two_hours_ago = time.time() - 7200
    os.utime(tmp_path / "files" / "left-by-a-crash.part", (two_hours_ago, two_hours_ago))
    files.sweep()
    assert names(tmp_path) == {kept, "being-written.part"}


def test_the_oldest_go_first_when_there_are_too_many(tmp_path: Path, clock: Clock) -> None:
    files = store(tmp_path, clock, max_bytes=3000)
    saved = []
    for _ in range(5):
        clock.now += 1
        saved.append(files.save(Slice.of(bytes(1000))))
    assert names(tmp_path) == set(saved[-3:])


def test_the_newest_stays_however_large(tmp_path: Path, clock: Clock) -> None:
    files = store(tmp_path, clock, max_bytes=3000)
    files.save(Slice.of(bytes(1000)))
    clock.now += 1
    large = files.save(Slice.of(bytes(9000)))
    assert names(tmp_path) == {large}


def test_a_new_process_tidies_up_after_an_old_one(tmp_path: Path, clock: Clock) -> None:
    store(tmp_path, clock).save(Slice.of(bytes(1000)))
    clock.now += DAY_S + 1
    young = store(tmp_path, clock).save(Slice.of(b"young"))
    assert names(tmp_path) == {young}


# --- configuration


@pytest.mark.parametrize(
    ("server", "folder"),
    [
        (Server(), "state/files"),
        (Server(state=Secret("sqlite:/var/lib/dragoman/dragoman.db")), "/var/lib/dragoman/files"),
        (Server(state=Secret("sqlite:///var/lib/dragoman.db")), "/var/lib/files"),
        (Server(state=Secret("postgresql://user:secret@host/name")), "state/files"),
        (Config.model_validate({"server": {"files": {"folder": "/srv/pictures"}}}).server, "/srv/pictures"),
    ],
    ids=["default", "absolute", "with slashes", "another database", "named"],
)
def test_the_folder_lies_beside_the_database(server: Server, folder: str) -> None:
    assert folder_of(server) == Path(folder)
