"""The JSON file of a Google service account, as the check reads it and as tokens are asked with it."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, field
from urllib.parse import urlsplit

NEEDS = "the package cryptography is missing: pip install 'dragoman[vertex]'"


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """What the file says. `private_key` is PEM."""

    email: str
    private_key: str = field(repr=False)
    key_id: str | None
    token_uri: str


def read(text: str) -> ServiceAccount:
    """Raises `ValueError` with a sentence that repeats nothing of the file."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is not the JSON file of a service account") from None
    if not isinstance(data, dict) or data.get("type", "service_account") != "service_account":
        raise ValueError("is not the JSON file of a service account")
    for name in ("client_email", "private_key", "token_uri"):
        if not isinstance(data.get(name), str) or not data[name]:
            raise ValueError(f'is the JSON file of a service account without "{name}"')
    if "-----BEGIN " not in data["private_key"]:
        raise ValueError("has a private_key that is not PEM")
    if not _is_safe(data["token_uri"]):
        raise ValueError("has a token_uri that is not an https address")
    key_id = data.get("private_key_id")
    return ServiceAccount(
        data["client_email"],
        data["private_key"],
        key_id if isinstance(key_id, str) else None,
        data["token_uri"],
    )


def can_sign() -> bool:
    """Whether the package is here, without importing it."""
    return importlib.util.find_spec("cryptography") is not None


def _is_safe(address: str) -> bool:
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_this_machine(host)))


def is_this_machine(host: str) -> bool:
    return host in ("127.0.0.1", "::1", "localhost")
