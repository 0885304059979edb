"""Blanks literal secrets in text that is shown, so a report of a bad file can be pasted anywhere.

A literal is blanked because it stands where a secret stands (the caller names those), because of the
name before it, or because it looks like one; the last two work on a file that could not be parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_REFERENCE = re.compile(r"(?:env|file):")
_NAMED = re.compile(
    r"""(?:key|keys|secret|token|password|authorization|admin)["']?\s*:\s*
        ( \[[^\]{]*\]? | "[^"]*"? | '[^']*'? | [^,\]}\[{\s\#]+ )""",
    re.I | re.X,
)
_SHORTEST = 6  # a shorter one is blanked only in its place, or every second word would be
_WORD = re.compile(r"""[^\s,\[\]{}"'#]{4,}""")
_LOOKS_SECRET = re.compile(
    r"""(?<![\w:/.-]) (?: (?:sk|pk|rk|gsk|xai|hf|r8|fal|ghp)[-_][\w-]{8,} | AIza[\w-]{8,} | eyJ[\w.-]{16,}
        | (?=[\w-]*[A-Z])(?=[\w-]*[a-z])(?=[\w-]*\d)[\w-]{24,} )""",
    re.X,
)
_PASSWORD_IN_URL = re.compile(r"(?<=://)[^/\s@:]*:[^/\s@]+(?=@)")


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """Replace secrets by as many asterisks, so that columns keep their place."""
    for secret in secrets:
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, _stars(secret))
    text = _NAMED.sub(lambda match: match[0][: match.start(1) - match.start()] + _blank(match[1]), text)
    text = _LOOKS_SECRET.sub(lambda match: _stars(match[0]), text)
    return _PASSWORD_IN_URL.sub(lambda match: _stars(match[0]), text)


def has_password(url: str) -> bool:
    return _PASSWORD_IN_URL.search(url) is not None


def _blank(value: str) -> str:
    return _WORD.sub(lambda word: word[0] if _REFERENCE.match(word[0]) else _stars(word[0]), value)


def _stars(secret: str) -> str:
    return "*" * len(secret)
