"""What goes wrong in a YAML file, in words of ours: place, cause and cure for each complaint of the parsers,
and the characters that look like YAML and are none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

import yaml

from proxy.config.problems import Mark, lines_of

_CONFLICT = re.compile(r"^(?:<{7}|={7}|>{7})(?: |$)", re.M)
_KEY = re.compile(r"(\s*(?:- +)*)([\w.-]+|\"[^\"]*\"|'[^']*'):(?=\s|$)")
_NO_SPACE = re.compile(r"\s*(?:- +)*([A-Za-z_][\w.-]*):(?![\s/]|$)")
_SECTION = re.compile(r"\[{1,2}[\w.\"-]+\]{1,2}\s*(?:#.*)?")  # of TOML, and of what Windows has
_SINGLE_QUOTED = re.compile(r"'(?:[^']|'')*'")

# Blank or unseen, and no space for YAML. Joiners are left out: emoji and some scripts need them.
_BLANK = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_UNSEEN = "\u00ad\u200b\u2060\ufeff"
_QUOTES = "“”„‟‘’‚‛«»＂＇"
_DASHES = "‐‑‒–—―−－"
_ALIKE = f"(?P<blank>[{_BLANK}])|(?P<unseen>[{_UNSEEN}])|(?P<colon>(?<=\\w)：)"
_IN_A_WORD = re.compile(f"{_ALIKE}|(?P<quote>^[{_QUOTES}]|[{_QUOTES}]$)|(?P<dash>^[{_DASHES}](?= |$))")
_IN_A_LINE = re.compile(
    f"{_ALIKE}|(?<=[:,\\[{{ ])(?P<quote>[{_QUOTES}])|(?P<dash>(?:(?<=^)|(?<= ))[{_DASHES}](?= ))"
)
# What such a character does, and the cure.
_MEANING = {
    "blank": ("looks like a space and is none", "write an ordinary space"),
    "unseen": ("cannot be seen and is part of the text", "delete it"),
    "colon": ("ends no key", "write a plain colon and a space"),
    "quote": ("is part of the text and quotes nothing", "write straight quotes, \" or '"),
    "dash": ("begins no item of a list", "write the hyphen - in its place"),
}
_LEADERS = {
    "@": "no text without quotes begins with @",
    "`": "no text without quotes begins with a backtick",
    "%": "no text without quotes begins with %",
}
_CLOSING = {"[": "]", "{": "}"}


class Slip(NamedTuple):
    """`message` says what is wrong, `hint` what to do."""

    mark: Mark
    message: str
    hint: str


class _Fault(NamedTuple):
    """A complaint of the parser. `began` is where the thing began that it was reading, if it says so."""

    lines: list[str]
    problem: str
    context: str
    at: Mark
    began: Mark | None

    @property
    def line(self) -> str:
        return _line(self.lines, self.at)

    @property
    def here(self) -> str:
        """The line from the fault on."""
        return self.line[self.at.column - 1 :]

    @property
    def before(self) -> str:
        return self.line[: self.at.column - 1]

    @property
    def above(self) -> tuple[int, str]:
        """The nearest line above that says something, and its number; 0 and "" if there is none."""
        for number in range(min(self.at.line - 1, len(self.lines)), 0, -1):
            if (text := self.lines[number - 1].strip()) and not text.startswith("#"):
                return number, self.lines[number - 1]
        return 0, ""


class Alike(NamedTuple):
    """A character that only looks like YAML, and where in the text it stands, from 0."""

    position: int
    message: str
    hint: str


def alike(text: str) -> Alike | None:
    """The first such character in a word without quotes."""
    return _alike(_IN_A_WORD.search(text))


def _alike(found: re.Match[str] | None) -> Alike | None:
    if found is None:
        return None
    effect, cure = _MEANING[found.lastgroup or ""]
    return Alike(found.start(), f"not YAML: {_named(found[0])} stands here, which {effect}", cure)


def explained(text: str, error: yaml.MarkedYAMLError) -> Slip:
    """The parser's complaint in words of ours."""
    lines = lines_of(text)
    if (conflict := _CONFLICT.search(text)) is not None:
        mark = Mark(len(lines_of(text[: conflict.start()])), 1)
        return Slip(mark, "a merge conflict was left in the file", "keep one side and delete the marks")
    where = error.problem_mark or error.context_mark
    fault = _Fault(
        lines,
        error.problem or "",
        error.context or "",
        Mark(1, 1) if where is None else _mark(where),
        None if error.context_mark is None else _mark(error.context_mark),
    )
    for begin in (fault.began, fault.at):
        if begin is not None and (slip := _by_character(lines, begin)) is not None:
            return slip
    for pattern, explain in _BY_COMPLAINT:
        if re.search(pattern, f"{fault.context}: {fault.problem}"):
            return explain(fault)
    return Slip(fault.at, f"not YAML: {fault.problem or fault.context}", "")


def of_character(text: str, reason: str) -> Slip:
    """A character that no YAML file holds. The parsers count differently where it is, so it is looked for."""
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if found is None:
        return Slip(Mark(1, 1), f"not YAML: {reason}", "")
    before = lines_of(text[: found.start()])
    mark = Mark(len(before), len(before[-1]) + 1)
    said = f"{_named(found[0])} stands here, which no YAML file holds"
    hint = "delete it; it comes from another program or another encoding"
    hint = "it looks like UTF-16; save the file as UTF-8" if text[:4].count("\0") > 1 else hint
    return Slip(mark, f"not YAML: {said}", hint)


def _by_character(lines: list[str], mark: Mark) -> Slip | None:
    """A tab or a look-alike in the line is the cause, whatever the parser made of it."""
    line = _line(lines, mark)
    indent = line[: len(line) - len(line.lstrip(" \t"))]
    if "\t" in indent:
        return Slip(
            Mark(mark.line, indent.index("\t") + 1),
            "not YAML: a tab stands in the indentation",
            "indent with spaces, two for each level",
        )
    found = _alike(_IN_A_LINE.search(line))
    return None if found is None else Slip(Mark(mark.line, found.position + 1), found.message, found.hint)


# --- one explanation for each kind of complaint -------------------------------------------------------


def _leader(fault: _Fault) -> Slip:
    char = fault.here[:1]
    if char == "\t":
        return Slip(fault.at, "not YAML: a tab stands where a space belongs", "write spaces in its place")
    said = _LEADERS.get(char, f"no text without quotes begins with {char}")
    return Slip(fault.at, f"not YAML: {said}", _in_quotes(fault.here))


def _reference(fault: _Fault) -> Slip:
    mark = fault.began or fault.at
    rest = _line(fault.lines, mark)[mark.column - 1 :]
    sign = rest[:1]
    meaning = "repeats what an anchor named" if sign == "*" else "names an anchor"
    return Slip(mark, f"not YAML: without quotes {sign} {meaning}, and no name follows", _in_quotes(rest))


def _unknown_reference(fault: _Fault) -> Slip:
    name = _word(fault.here)
    hint = f"{_in_quotes(fault.here)} if it is a pattern; an anchor is named before it is repeated"
    return Slip(fault.at, f"not YAML: {name} repeats an anchor that nothing before it names", hint)


def _directive(fault: _Fault) -> Slip:
    mark = fault.began or fault.at
    rest = _line(fault.lines, mark)[mark.column - 1 :]
    return Slip(mark, f"not YAML: {_LEADERS['%']}", _in_quotes(rest))


def _second_colon(fault: _Fault) -> Slip:
    if (slip := _spaced_reference(fault)) is not None:
        return slip
    key = _KEY.match(fault.before)
    if key is not None and fault.before[key.end() :].strip():
        value = fault.line[key.end() :].strip()
        said = "a second colon with a space after it stands in this line"
        return Slip(fault.at, f"not YAML: {said}", _in_quotes(value, whole=True))
    number, above = fault.above
    if (close := _NO_SPACE.match(above)) is not None:
        return _colon_without_space(number, close)
    if number and _KEY.match(above) is None:
        return _without_key(Mark(number, len(above) - len(above.lstrip(" ")) + 1), above)
    level = len(above) - len(above.lstrip(" "))
    mark = Mark(fault.at.line, len(fault.line) - len(fault.line.lstrip(" ")) + 1)
    hint = f"begin it in column {level + 1} like line {number}, or give line {number} no value of its own"
    return Slip(mark, f"not YAML: this line is deeper than line {number}, which has its value already", hint)


def _spaced_reference(fault: _Fault) -> Slip | None:
    """`key: env: NAME`, where the second colon makes a key of `env`."""
    found = re.search(r"\b(env|file)$", fault.before)
    if found is None or fault.here[:1] != ":":
        return None
    name = {"env": "NAME", "file": "PATH"}[found[1]]
    said = f"a space stands behind the colon of {found[1]}:{name}"
    return Slip(fault.at, f"not YAML: {said}", f"write {found[1]}:{name}, without a space")


def _colon_without_space(number: int, close: re.Match[str]) -> Slip:
    mark = Mark(number, close.end() + 1)
    hint = f'write a space after "{close[1]}:"'
    return Slip(mark, "not YAML: after the colon of a key there is no space", hint)


def _no_colon(fault: _Fault) -> Slip:
    mark = fault.began or fault.at
    line = _line(fault.lines, mark)
    if (close := _NO_SPACE.match(line)) is not None:
        return _colon_without_space(mark.line, close)
    return _without_key(mark, line)


def _without_key(mark: Mark, line: str) -> Slip:
    sign = "=" if re.match(r"\s*[\w.-]+\s*=", line) else ""
    hint = (
        "write a colon and a space in place of ="
        if sign
        else "write a name, a colon, a space and its value; or a hyphen before an item of a list"
    )
    return Slip(mark, "not YAML: this line has no key with a colon", hint)


def _bracket(fault: _Fault) -> Slip:
    began = fault.began or fault.at
    opening = _line(fault.lines, began)[began.column - 1 : began.column]
    closing = _CLOSING.get(opening, "its end")
    char = fault.here[:1]
    opened = f"the {opening} of line {began.line}" if opening else "the bracket"
    if char in ("]", "}"):
        return Slip(fault.at, f"not YAML: {opened} is closed by {char}", f"close it with {closing}")
    if fault.before.rstrip().endswith(("'", '"')) and char not in ("", ":", "#"):
        return _after_the_end(fault)
    if char == ":" and began.line == fault.at.line:
        if (slip := _spaced_reference(fault)) is not None:
            return slip
        said = "a second colon with a space after it stands in this value"
        key = re.search(r"\S\s+([A-Za-z_]\w*)$", fault.before)
        hint = f"write a comma before {key[1]}:, or " if key is not None else ""
        return Slip(fault.at, f"not YAML: {said}", f"{hint}put what holds it in quotes")
    hint = f"{opened} has no {closing} at its end; or a comma is missing between two items"
    return Slip(fault.at, f"not YAML: {opened} is not closed here", hint)


def _unexpected_colon(fault: _Fault) -> Slip:
    if (word := re.search(r"(?<!\w)(env|file)$", fault.before)) is not None:
        what, wanted = {"env": ("variable", "NAME"), "file": ("file", "PATH")}[word[1]]
        said = f"{word[1]}: names no {what}"
        return Slip(fault.at, f"not YAML: {said}", f"write {word[1]}:{wanted}, without a space")
    hint = "write a space after the colon, or put the value in quotes"
    return Slip(fault.at, "not YAML: after the colon of a key there is no space", hint)


def _nothing_there(fault: _Fault) -> Slip:
    char = fault.here[:1]
    if char == "":
        return Slip(fault.at, "not YAML: the file ends inside brackets", "close every [ with ] and { with }")
    if char in ("]", "}"):
        opening = "[" if char == "]" else "{"
        hint = f"open it with {opening}, or delete it"
        return Slip(fault.at, f"not YAML: {char} closes what nothing has opened", hint)
    said = "two commas follow each other" if char == "," and fault.before.rstrip().endswith(",") else ""
    return Slip(
        fault.at, f"not YAML: {said or f'{char} stands where a value belongs'}", "delete it, or quote it"
    )


def _open_quote(fault: _Fault) -> Slip:
    mark = fault.began or fault.at
    quote = _line(fault.lines, mark)[mark.column - 1 : mark.column]
    return Slip(
        mark, f"not YAML: the quote {quote} that begins here is never closed", f"close it with {quote}"
    )


def _escape(fault: _Fault) -> Slip:
    hint = "write '...' in place of \"...\", or two backslashes"
    return Slip(fault.at, "not YAML: in double quotes a backslash begins an escape, and this is none", hint)


def _after_the_end(fault: _Fault) -> Slip:
    """Something where the next key of a mapping should be."""
    before, mark = fault.before.rstrip(), fault.at
    if before.endswith(("'", '"')):
        apostrophe = _SINGLE_QUOTED.search(before) is not None and not before.endswith('"')
        hint = "put the whole value in one pair of quotes"
        hint += "; inside '...' an apostrophe is written ''" if apostrophe else ""
        return Slip(mark, "not YAML: text follows a closed quote", hint)
    if before.endswith(("]", "}")):
        return Slip(mark, "not YAML: text follows a closed bracket", "delete it, or put all of it in quotes")
    if before.strip():
        return Slip(mark, f"not YAML: {fault.here[:1]} cannot stand here", "put the value in quotes")
    if re.match(r"-(?:\s|$)", fault.here):
        hint = "indent the list below its key, or give the item a name and a colon"
        return Slip(mark, "not YAML: an item of a list stands among keys", hint)
    hint = "begin it in the same column as its neighbours"
    return Slip(mark, "not YAML: this line is indented like none of the lines above it", hint)


def _among_items(fault: _Fault) -> Slip:
    return Slip(
        fault.at, "not YAML: a key stands among the items of a list", "indent it, or begin it with a hyphen"
    )


def _block_text(fault: _Fault) -> Slip:
    mark = fault.began or fault.at
    rest = _line(fault.lines, mark)[mark.column - 1 :]
    hint = f"{_in_quotes(rest, whole=True)}, or begin the text on the next line"
    return Slip(mark, f"not YAML: after {rest[:1]} the text begins on the next line", hint)


def _item_in_line(fault: _Fault) -> Slip:
    hint = "begin the list on the next line, write [a, b], or put the value in quotes"
    return Slip(fault.at, "not YAML: an item of a list begins in the line of its key", hint)


def _question(fault: _Fault) -> Slip:
    return Slip(fault.at, "not YAML: no text without quotes begins with ?", _in_quotes(fault.here))


def _anchor_twice(fault: _Fault) -> Slip:
    name = _word(fault.here)
    line = fault.began.line if fault.began else 0
    hint = "give one of them another name"
    return Slip(fault.at, f"not YAML: the anchor {name} is named twice (first at line {line})", hint)


def _second_document(fault: _Fault) -> Slip:
    hint = "delete this line; what follows belongs to the same file"
    return Slip(fault.at, "not YAML we can read: a second document begins here", hint)


def _after_all(fault: _Fault) -> Slip:
    if _SECTION.fullmatch(fault.above[1]):
        hint = f"write {fault.above[1].strip('[] ')}: and its keys on the lines below, two spaces deeper"
        return Slip(Mark(fault.above[0], 1), "not YAML: a name in brackets heads no section here", hint)
    hint = "delete what closed the file above, or this"
    return Slip(fault.at, "not YAML: something follows what was the whole file", hint)


# Both of pyyaml's parsers are meant, which put some complaints in different words.
_BY_COMPLAINT: tuple[tuple[str, Callable[[_Fault], Slip]], ...] = (
    (r"cannot start any token", _leader),
    (r"undefined alias", _unknown_reference),
    (r"scanning an (?:alias|anchor)", _reference),
    (r"scanning a directive", _directive),
    (r"mapping values are not allowed", _second_colon),
    (r"simple key", _no_colon),
    (r"found unexpected ':'", _unexpected_colon),
    (r"expected ',' or '[]}]'", _bracket),
    (r"expected (?:the )?node content", _nothing_there),
    (r"quoted scalar: found unexpected (?:end of stream|document separator)", _open_quote),
    (r"escape character|hexdecimal|hexadecimal", _escape),
    (r"block mapping: .*expected (?:key|<block end>)", _after_the_end),
    (r"block collection: ", _among_items),
    (r"scanning a block scalar", _block_text),
    (r"sequence entries are not allowed", _item_in_line),
    (r"mapping keys are not allowed", _question),
    (r"duplicate anchor", _anchor_twice),
    (r"another document", _second_document),
    (r"<document start>", _after_all),
)


def _mark(mark: yaml.Mark) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)


def _line(lines: list[str], mark: Mark) -> str:
    return lines[mark.line - 1] if mark.line <= len(lines) else ""


def _word(text: str) -> str:
    return re.split(r"[\s,\]}]", text, maxsplit=1)[0][:40]


def _in_quotes(text: str, *, whole: bool = False) -> str:
    """The advice to quote; with what stands there where it is short and needs no other change."""
    value = text.split(" #")[0].rstrip() if whole else _word(text)
    plain = 1 <= len(value) <= 60 and value != "&" and '"' not in value and "\\" not in value
    return f'put it in quotes: "{value}"' if plain else "put it in quotes"


def _named(char: str) -> str:
    """A character by its name and number: a no-break space (U+00A0)."""
    name = unicodedata.name(char, "").lower() or "control character"
    article = "an" if name[0] in "aeio" else "a"
    return f"{article} {name} (U+{ord(char):04X})"
