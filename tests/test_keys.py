"""Callers are told apart by their key, wherever the client put it."""

import pytest

from proxy.errors import RequestError
from proxy.keys import ClientKey, ClientKeys, unknown

APP = ClientKey("app", models=("gemini-*", "google/*"))
KEYS = ClientKeys.of([("sk-app", APP), ("sk-other", ClientKey("other"))])


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer sk-app"),
        (b"authorization", b"bearer  sk-app "),
        (b"x-api-key", b"sk-app"),
        (b"api-key", b"sk-app"),
        (b"x-goog-api-key", b"sk-app"),
    ],
)
def test_a_key_is_found_in_every_header_clients_use(header: tuple[bytes, bytes]) -> None:
    assert KEYS.identify([(b"host", b"x"), header]) is APP


@pytest.mark.parametrize(
    "headers",
    [[], [(b"authorization", b"Basic sk-app")], [(b"authorization", b"Bearer sk-ap")], [(b"x-api-key", b"")]],
)
def test_without_a_known_key_the_caller_is_unknown(headers: list[tuple[bytes, bytes]]) -> None:
    assert KEYS.identify(headers) is None
    caught = unknown(headers)
    assert (caught.status, caught.code) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("headers", "credential"),
    [
        ([], "nothing"),
        ([(b"authorization", b"Basic sk-app")], "nothing"),
        ([(b"x-goog-api-key", b"sk-ap")], "key"),
        ([(b"authorization", b"Bearer sk-ap")], "token"),
    ],
)
def test_what_came_as_the_key_is_told(headers: list[tuple[bytes, bytes]], credential: str) -> None:
    """N-051: some dialects tell a missing key from a wrong one."""
    assert unknown(headers).credential == credential


def test_who_sends_no_key_is_told_how() -> None:
    said = "No API key provided; send it in a header, `Authorization: Bearer KEY`."
    assert unknown([(b"authorization", b"sk-app")]).message == said


def test_two_different_keys_in_one_request_are_refused() -> None:
    with pytest.raises(RequestError) as caught:
        KEYS.identify([(b"authorization", b"Bearer sk-app"), (b"x-api-key", b"sk-other")])
    assert caught.value.status == 400


def test_the_same_key_twice_is_one_key() -> None:
    assert KEYS.identify([(b"authorization", b"Bearer sk-app"), (b"api-key", b"sk-app")]) is APP


def test_open_mode_takes_everybody() -> None:
    everybody = ClientKey("open")
    assert ClientKeys.of([], open_caller=everybody).identify([]) is everybody
    assert ClientKeys.of([], open_caller=everybody).identify([(b"x-api-key", b"any")]) is everybody


def test_models_are_allowed_by_pattern() -> None:
    assert APP.may_use("gemini-flash")
    assert APP.may_use("google/anything")
    assert not APP.may_use("nano-banana")
    assert ClientKey("all").may_use("anything/at-all")


def test_a_key_does_not_show_in_the_representation() -> None:
    assert "sk-app" not in repr(KEYS)
