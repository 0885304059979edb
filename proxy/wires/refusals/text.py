"""Text from outside: cut before anything looks at it, web pages told by their title, secrets taken out.

No pattern here or in the tables of refusals repeats without a bound: an error page of 65,000 `<` must cost
what any other costs. `cut` is what makes that true of the rest.
"""

from __future__ import annotations

import re
from html import unescape

MOST_READ = 4096  # characters of a text that any pattern may see
MOST_SHOWN = 1000  # characters of a vendor's message that a client sees
MOST_FOREIGN = 300  # characters of a body that is no JSON

_PAGE = re.compile(r"\s{0,200}<(?:!--|(?:!doctype|html|head|title|body|center|h1)\b)", re.I)
# The tags of a sentence in a message; others, such as `<image>`, are what it is about.
_MARKUP = re.compile(
    r"</?(?:a|b|br|code|div|em|h[1-6]|hr|i|li|ol|p|pre|span|strong|u|ul)(?: [^<>]{0,300})?/?>", re.I
)
_SPACES = re.compile(r" {2,4096}")
_SILENT = ("script", "style")

# Keys as vendors write them, and whatever stands where a key stands. Masked ones count: they are parts.
_SECRETS = re.compile(
    r"(?P<before>[?&](?:api_?|access_)?(?:key|token)=)[^\s\"'&]{1,4096}"
    r"|(?P<bearer>\bBearer\s{1,4})[\w.~+/*=-]{6,4096}"
    r"|(?P<told>\bapi[ _-]?key(?: provided)?: ?)(?=\S{0,80}[\d*])[^\s\"',]{1,4096}[^\s\"',.]"
    r"|\bAIz[\w*-]{10,4096}|\bAQ\.[\w*-]{10,4096}|\bya29\.[\w*.-]{4,4096}|\beyJ[\w-]{8,2048}\.[\w.-]{8,4096}"
    r"|\b(?:sk|pk|rk|xai|gsk|nvapi|r8|hf)[-_][\w*.-]{5,4096}[\w*]",
    re.I,
)
# xAI's `Team: UUID, API key ID: UUID`, OpenAI's `organization org-...`, Google's `project 12345678`, a
# relay's `用户 ID: 12345`, Amazon's `arn:aws:iam::123456789012:user/bob`.
_OWNER = (
    r"(?:\b(?:team|organi[sz]ation|project|account|workspace|tenant|subscription|user|customer|uid"
    r"|key[ _-]?id)|用户|账号|账户|帐号|帐户|租户|项目)(?:[ _-]?(?:id|number|uuid))?['\"]?"
)
_ACCOUNTS = re.compile(
    rf"(?P<before>{_OWNER}(?:[:：] ?|=| ?[(（]| )['\"`]?)"
    r"(?:(?=[\w-]{8})[\w-]{0,60}\d[\w-]{0,60}|[\w.+-]{1,60}@[\w-][\w.-]{0,60}\w)"
    rf"|(?P<told>{_OWNER}[:：=] ?['\"`]?)\d{{4,60}}"
    r"|(?P<path>\bprojects/)[^/\s\"'`]{1,64}"
    r"|(?P<arn>\barn:[\w-]{1,20}:[\w-]{0,40}:[\w-]{0,40}:)\d[^\s\"',]{0,200}\w"
    r"|\b(?:org-|proj_)\w{6,60}",
    re.I | re.A,
)
# Where we ask from, as Google tells it: `The originating IP address of the call (203.0.113.7) violates ...`.
# Of IPv6 all groups, or `::` between them: 12:30:45 is a time.
_FROM = re.compile(
    r"(?P<before>\bIP\b[^.\n\d]{0,40}?[ :=('\"`])(?:(?:\d{1,3}\.){3}\d{1,3}|(?:[\da-f]{1,4}:){7}[\da-f]{1,4}"
    r"|(?:[\da-f]{1,4}(?::[\da-f]{1,4}){0,6})?::(?:[\da-f:.]{0,40}[\da-f])?)",
    re.I,
)


def cut(text: str) -> str:
    """The head of a text; half a surrogate pair, which no reply could carry, becomes a question mark."""
    return text[:MOST_READ].encode("utf-8", "replace").decode()


def decoded(body: bytes) -> str:
    return body[: 4 * MOST_READ].decode("utf-8", "replace")[:MOST_READ]


def is_page(text: str) -> bool:
    return _PAGE.match(text) is not None


def title(page: str) -> str:
    """A page's title, or else its words."""
    start = page.lower().find("<title")
    inside = page[start:].partition(">")[2].partition("<")[0] if start >= 0 else ""
    return " ".join(unescape(inside).replace("<", " ").replace(">", " ").split()) or plain(page)


def plain(text: str) -> str:
    """The words between the tags, without scripts and styles; each character is looked at once."""
    first, *pieces = text.split("<")
    words, silent = [first], False
    for piece in pieces:
        tag, closed, after = piece.partition(">")
        if not closed or not (tag[:1].isalpha() or tag[:1] in "/!?"):
            after = piece  # "less than", or cut off
        elif tag[:6].lower().startswith(_SILENT):
            silent = True
        elif tag[:7].lower().startswith(("/script", "/style")):
            silent = False
        words.append("" if silent else after)
    return " ".join(unescape(" ".join(words)).replace("<", " ").split())


def scrubbed(text: str) -> str:
    """Without anything that looks like a key, or like the operator's account or address."""
    text = _SECRETS.sub(r"\g<before>\g<bearer>\g<told>[key removed]", cut(text))
    text = _ACCOUNTS.sub(r"\g<before>\g<told>\g<path>\g<arn>[id removed]", text)
    return _FROM.sub(r"\g<before>[address removed]", text)


def shown(message: str) -> str:
    """What a client may see of a vendor's message: no secrets, no markup, and not too much."""
    text = _SPACES.sub(" ", _MARKUP.sub(" ", scrubbed(message))).strip()
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"
