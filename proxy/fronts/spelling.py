"""What a client calls an attribute of the request, in whichever dialect: the part of it that all share.

A dialect brings a table from attribute paths to its spellings; of several the first that the client wrote is
taken, else the first of all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from proxy.errors import NotCarriedError, ProxyError, RequestError, UpstreamError

Spellings = Mapping[str, tuple[str, ...]]
Spell = Callable[[str], str]

_LAST_STEP = re.compile(r"(\.\w+|\[\d*\])\Z")


def found(path: str, table: Spellings, wrote: Collection[str]) -> str:
    """The spelling of a path, or of the nearest holder that the table knows; else the path itself."""
    head, tail = path, ""
    while head not in table:
        step = _LAST_STEP.search(head)
        if step is None:
            return path
        head, tail = head[: step.start()], step[0] + tail
    spellings = table[head]
    return next((one for one in spellings if one in wrote), spellings[0]) + tail


def spelled_error(error: ProxyError, spell: Spell, spell_field: Callable[[str], str | None]) -> ProxyError:
    """The error with the client's own field as its `param`, where it names an attribute, or a field that a
    vendor named."""
    if isinstance(error, NotCarriedError):
        names = tuple(dict.fromkeys(map(spell, error.attributes)))
        error = error.changed(message=error.sentence(names))
    if isinstance(error, RequestError) and error.param is None and error.attribute is not None:
        return error.changed(param=spell(error.attribute))
    if isinstance(error, UpstreamError) and error.param is not None:
        return error.changed(param=spell_field(error.param))
    return error
