"""What a provider of the file becomes: accounts with their keys, and the wire they speak."""

from pathlib import Path

import pytest

from proxy import config as configuration
from proxy.routing.providers import opened

_FILE = """
version: 1
providers:
  p: {{wire: openai, base_url: "{url}", keys: [env:A, env:B], headers: {{x-team: env:TEAM}}{more}}}
"""
_ENVIRONMENT = {"A": "key-a", "B": "key-b", "TEAM": "blue"}


def open_file(tmp_path: Path, url: str, more: str = ""):  # type: ignore[no-untyped-def]
    file = tmp_path / "providers.yaml"
    file.write_text(_FILE.format(url=url, more=more))
    loaded = configuration.load(file, _ENVIRONMENT)
    assert loaded.config is not None, loaded.problems
    return opened(loaded.config, loaded.off, None)["p"]


@pytest.mark.parametrize(
    ("url", "more", "private"),
    [
        ("https://api.example/v1", "", False),
        ("http://127.0.0.1:8000/v1", "", True),
        ("http://localhost:8000/v1", "", True),
        ("http://10.0.0.7:8000/v1", ", private: true", True),
    ],
)
def test_only_this_machine_is_private_unasked(tmp_path: Path, url: str, more: str, private: bool) -> None:
    assert open_file(tmp_path, url, more).keys.accounts[0].private is private


def test_each_key_is_an_account_with_the_providers_own_headers(tmp_path: Path) -> None:
    keys = open_file(tmp_path, "https://api.example/v1/").keys
    assert [dict(keys.accounts[n].auth.headers) for n in (0, 1)] == [
        {"x-team": "blue", "authorization": "Bearer key-a"},
        {"x-team": "blue", "authorization": "Bearer key-b"},
    ]
    assert keys.accounts[0].base_url == "https://api.example/v1"
