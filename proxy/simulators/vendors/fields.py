"""Rules for the fields of a request: each takes a value and returns a complaint, "" for a good value."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from proxy.simulators.vendors import references

Rule = Callable[[Any], str]


class Wrong(Exception):
    """`kind` is `unknown`, `missing` or `invalid`."""

    def __init__(self, field: str, kind: str, complaint: str) -> None:
        super().__init__(f"{field}: {complaint}")
        self.field, self.kind, self.complaint = field, kind, complaint


def check(value: Any, rules: Mapping[str, Rule], required: Collection[str] = (), at: str = "") -> None:
    """Raise `Wrong` for a field that no rule knows, that is missing, or whose rule complains."""
    if not isinstance(value, dict):
        raise Wrong(at or "body", "invalid", "must be an object")
    prefix = f"{at}." if at else ""
    for name in value:
        if name not in rules:
            raise Wrong(prefix + name, "unknown", "unknown field")
    for name in required:
        if name not in value:
            raise Wrong(prefix + name, "missing", "field is required")
    for name, each in value.items():
        if complaint := rules[name](each):
            raise Wrong(prefix + name, "invalid", complaint)


def anything(value: Any) -> str:
    return ""


def text(most: int = 1_000_000, least: int = 1) -> Rule:
    def rule(value: Any) -> str:
        if not isinstance(value, str):
            return "must be a string"
        return "" if least <= len(value) <= most else f"must have {least} to {most} characters"

    return rule


def one_of(*choices: Any) -> Rule:
    def rule(value: Any) -> str:
        good = any(value == choice and type(value) is type(choice) for choice in choices)
        return "" if good else f"must be one of {', '.join(map(str, choices))}"

    return rule


def whole(least: int, most: int) -> Rule:
    def rule(value: Any) -> str:
        good = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return "" if good else f"must be a whole number from {least} to {most}"

    return rule


def number(least: float, most: float) -> Rule:
    def rule(value: Any) -> str:
        good = isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
        return "" if good else f"must be a number from {least} to {most}"

    return rule


def flag(value: Any) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


def record(value: Any) -> str:
    return "" if isinstance(value, dict) else "must be an object"


def list_of(rule: Rule, most: int, least: int = 0) -> Rule:
    def whole_rule(value: Any) -> str:
        if not isinstance(value, list):
            return "must be a list"
        if not least <= len(value) <= most:
            return f"must have {least} to {most} items"
        return next((complaint for complaint in map(rule, value) if complaint), "")

    return whole_rule


def either(*rules: Rule) -> Rule:
    """Good when one of the rules finds it good; else the last complaint."""

    def rule(value: Any) -> str:
        complaints = [each(value) for each in rules]
        return "" if "" in complaints else complaints[-1]

    return rule


def url(value: Any) -> str:
    """An http(s) URL by its syntax; nothing is fetched."""
    if not isinstance(value, str) or len(value) > 2048:
        return "must be a URL of at most 2048 characters"
    try:
        parts = urlsplit(value)
    except ValueError:
        return "is not a valid URL"
    return "" if parts.scheme in ("http", "https") and parts.hostname else "must be an http or https URL"


def picture(*forms: str, mimes: Collection[str] = references.COMMON, most_bytes: int = 20 << 20) -> Rule:
    """A reference picture in one of the forms `url`, `data` (URI) and `base64`."""

    def rule(value: Any) -> str:
        try:
            references.describe(value, forms, mimes, most_bytes)
        except ValueError as error:
            return str(error)
        return ""

    return rule
