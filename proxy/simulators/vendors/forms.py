"""Reads multipart/form-data: the fields and the files in their order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from proxy.simulators.vendors import fields

_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
_NAME = re.compile(r'\bname="([^"]*)"')
_WORDS: dict[str, Any] = {"true": True, "false": False}


def read(raw: bytes, content_type: str) -> tuple[dict[str, str], list[tuple[str, bytes]]]:
    """Text fields by name, and (name, bytes) of each file. Raises `ValueError` for what is no form."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise ValueError("the content type has no boundary")
    line = b"--" + found[1].encode()
    if not raw.startswith(line) or not raw.rstrip().endswith(line + b"--"):
        raise ValueError("the form does not begin and end with its boundary")
    values: dict[str, str] = {}
    files: list[tuple[str, bytes]] = []
    for part in (b"\r\n" + raw).split(b"\r\n" + line)[1:-1]:
        head, gap, data = part.partition(b"\r\n\r\n")
        named = _NAME.search(head.decode("utf-8", "replace"))
        if not gap or named is None:
            raise ValueError("a part of the form has no name")
        if b"filename=" in head:
            files.append((named[1], data))
        elif named[1] in values:
            raise ValueError(f"Duplicate parameter: '{named[1]}'.")
        else:
            values[named[1]] = data.decode()
    return values, files


def typed(values: Mapping[str, str], rules: Mapping[str, fields.Rule]) -> dict[str, Any]:
    """Numbers and truth values out of their strings, where the rule of a field wants them so."""
    read: dict[str, Any] = {}
    for name, value in values.items():
        other = _WORDS.get(value, int(value) if value.isdigit() else value)
        rule = rules.get(name)
        read[name] = value if rule is None or not rule(value) else other
    return read
