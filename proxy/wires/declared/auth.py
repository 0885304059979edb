"""How a profile says what opens the vendor's door: the key itself, a token made of it, or a signature."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, cast

from proxy.types import Carrier
from proxy.types.auth import (
    CALL_NAMES,
    KEY_NAMES,
    LIFE_NAMES,
    TIME_NAMES,
    Exchange,
    Hash,
    Jwt,
    Scheme,
    Signature,
    TextEncoding,
)
from proxy.wires.declared import problems as read
from proxy.wires.declared.paths import first, first_text, read_paths
from proxy.wires.declared.problems import Mapped, Problems, Where, shown

AUTH_KEYS: dict[str, tuple[str, ...]] = {
    "auth": ("header", "prefix", "query", "jwt", "signature", "token"),
    "jwt": ("claims", "head", "hash", "life"),
    "signature": ("text", "hash", "encoding", "headers", "query"),
    "token": ("request", "query", "form", "body", "token", "expires_in", "life"),
}
_BEARER = Carrier("Authorization", "Bearer ")
_HASHES = ("md5", "sha1", "sha256", "sha512")
_ENCODINGS = ("hex", "base64", "base64url")
_NAME = re.compile(r"\{(\w*)\}")


def read_auth(data: Any, where: Where, problems: Problems) -> Carrier:
    if isinstance(data, str):
        said = f"{shown(where)} must say how the key travels"
        problems.add("E103", where, said, 'write {header: Authorization, prefix: "Bearer "}')
        data = {}
    auth = Mapped(data, where, AUTH_KEYS["auth"], problems)
    header = auth.take("header", read.header_name, None)
    prefix = auth.take("prefix", read.any_text, None)
    query = auth.take("query", read.text, None)
    if query and (header or prefix is not None):
        problems.add("E106", where, "auth has both a header and a query parameter", "keep one")
    schemes: dict[str, Callable[[Any, Where, Problems], Scheme]] = {
        "jwt": _read_jwt,
        "signature": _read_signature,
        "token": _read_exchange,
    }
    made = {name: auth.take(name, reader, None) for name, reader in schemes.items() if name in auth}
    if len(made) > 1:
        problems.add("E106", where, f"auth has both {' and '.join(made)}", "keep one")
    if "signature" in made and (header or query):
        problems.add("E106", where, "a signature has headers and query of its own", "put them into signature")
    scheme = next(iter(made.values()), None)
    if query:
        return Carrier(query=query, scheme=scheme)
    if header:
        return Carrier(header, prefix or "", scheme=scheme)
    return Carrier(_BEARER.header, _BEARER.prefix if prefix is None else prefix, scheme=scheme)


def _read_jwt(data: Any, where: Where, problems: Problems) -> Jwt:
    section = Mapped(data, where, AUTH_KEYS["jwt"], problems)
    names = (*KEY_NAMES, *TIME_NAMES, *LIFE_NAMES)
    if "claims" not in section:
        problems.add("E106", where, f'{shown(where)} has no "claims"', 'write claims: {iss: "{id}", ...}')
    return Jwt(
        claims=_templates(section, "claims", names, texts_only=False),
        head=_templates(section, "head", names, texts_only=False),
        hash=cast(
            'Literal["sha256", "sha512"]', section.take("hash", read.one_of("sha256", "sha512"), "sha256")
        ),
        life_s=section.take("life", read.seconds, 1800.0),
    )


def _read_signature(data: Any, where: Where, problems: Problems) -> Signature:
    section = Mapped(data, where, AUTH_KEYS["signature"], problems)
    names = (*KEY_NAMES, *TIME_NAMES, *CALL_NAMES)
    text = section.take("text", read.text, "")
    if "text" not in section:
        problems.add("E106", where, f'{shown(where)} has no "text"', "say what is signed")
    _check_names(text, (*where, "text"), names, problems)
    headers = _templates(section, "headers", (*names, "signature"))
    query = _templates(section, "query", (*names, "signature"))
    if not any("{signature}" in str(one) for one in (*headers.values(), *query.values())):
        message = f"{shown(where)} is sent nowhere"
        problems.add("E106", where, message, 'write headers: {X-Signature: "{signature}"} or query: {...}')
    return Signature(
        text=text,
        hash=cast("Hash", section.take("hash", read.one_of(*_HASHES), "sha256")),
        encoding=cast("TextEncoding", section.take("encoding", read.one_of(*_ENCODINGS), "hex")),
        headers=headers,
        query=query,
    )


def _read_exchange(data: Any, where: Where, problems: Problems) -> Exchange:
    section = Mapped(data, where, AUTH_KEYS["token"], problems)
    names = (*KEY_NAMES, *TIME_NAMES)
    for needed in ("request", "token"):
        if needed not in section:
            problems.add("E106", where, f'{shown(where)} has no "{needed}"')
    if "form" in section and "body" in section:
        problems.add("E106", where, f"{shown(where)} has both form and body", "keep one")
    place: Literal["form", "body"] = "body" if "body" in section else "form"
    token, life = section.take("token", read_paths, ()), section.take("expires_in", read_paths, ())
    return Exchange(
        address=section.take("request", _read_address, "/"),
        query=_templates(section, "query", names),
        fields=_templates(section, place, names),
        encoding="json" if place == "body" else "form",
        token=lambda answer: first_text(token, answer),
        life_s=lambda answer: _seconds(first(life, answer)),
        default_life_s=section.take("life", read.seconds, 1800.0),
    )


def _read_address(value: Any, where: Where, problems: Problems) -> str:
    """A token server may be elsewhere; whoever writes the profile says that the key may go there."""
    method, _, target = value.partition(" ") if isinstance(value, str) else ("", "", "")
    if method == "POST" and re.fullmatch(r"(?:/|https://[\w.-]+/)[^\s{}]*", target):
        return target
    message = f"{shown(where)} is {value!r}; it must be POST and a path or an https address"
    problems.add("E103", where, message, "write for example POST /oauth/token")
    return "/"


def _templates(
    section: Mapped, key: str, names: Iterable[str], *, texts_only: bool = True
) -> Mapping[str, Any]:
    where, data = (*section.where, key), section.data.get(key, {})
    if not isinstance(data, Mapping):
        section.problems.add("E103", where, f"{shown(where)} must be a mapping of keys")
        return {}
    for name, value in data.items():
        if texts_only and not isinstance(value, str):
            section.problems.add("E103", (*where, name), f"{shown((*where, name))} must be text")
        _check_names(value, (*where, name), names, section.problems)
    return {str(name): value for name, value in data.items()}


def _check_names(template: Any, where: Where, names: Iterable[str], problems: Problems) -> None:
    known = list(names)
    for name in _NAME.findall(template) if isinstance(template, str) else ():
        if name not in known:
            problems.unknown("E122", where, "name", f"{{{name}}}", [f"{{{one}}}" for one in known])


def _seconds(value: Any) -> float | None:
    if isinstance(value, str) and value.isdecimal():
        return float(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
