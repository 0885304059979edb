"""A slip in the file is said with place, cause and cure, in words of this product and not of a parser."""

from pathlib import Path

import pytest

from proxy.config import document, load
from proxy.config.problems import Report

HEAD = "version: 1\n"

# the text after HEAD; line and column; what is wrong; what to do
UNREADABLE = [
    ("models:\n\tm: {}\n", 3, 1, "a tab stands in the indentation", "indent with spaces, two for each level"),
    ("a:\n  b: 1\n  \tc: 2\n", 4, 3, "a tab stands in the indentation", "indent with spaces"),
    ("models:\n  - [*]\n", 3, 6, "without quotes * repeats what an anchor named", 'in quotes: "*"'),
    ("models: [*-pro]\n", 2, 10, "*-pro repeats an anchor that nothing before it names", '"*-pro"'),
    ("a: *nobody\n", 2, 4, "*nobody repeats an anchor that nothing before it names", '"*nobody" if it is a'),
    ("a: & b\n", 2, 4, "without quotes & names an anchor", "put it in quotes"),
    ("a: @x\n", 2, 4, "no text without quotes begins with @", 'put it in quotes: "@x"'),
    ("a: `x`\n", 2, 4, "no text without quotes begins with a backtick", 'put it in quotes: "`x`"'),
    ("a: %x\n", 2, 4, "no text without quotes begins with %", 'put it in quotes: "%x"'),
    ("a: ? b\n", 2, 4, "no text without quotes begins with ?", "put it in quotes"),
    ("a: b: c\n", 2, 5, "a second colon with a space after it stands in this line", 'quotes: "b: c"'),
    ("a:\n  - b: c: d # e\n", 3, 9, "a second colon with a space after it", 'quotes: "c: d"'),
    ("a: {b: c: d}\n", 2, 9, "a second colon with a space after it stands in this value", "in quotes"),
    ("a: env: B\n", 2, 7, "a space stands behind the colon of env:NAME", "write env:NAME, without a space"),
    ("a: [{b: file: /c}]\n", 2, 13, "a space stands behind the colon of file:PATH", "write file:PATH"),
    ("a:1\nb: 2\n", 2, 3, "after the colon of a key there is no space", 'write a space after "a:"'),
    ("b: 2\na:1\nc: 3\n", 3, 3, "after the colon of a key there is no space", 'write a space after "a:"'),
    ("a:\n  b: 1\n   c: 2\n", 4, 4, "this line is deeper than line 3", "begin it in column 3 like line 3"),
    ("a:\n  b: 1\n c: 2\n", 4, 2, "this line is indented like none of the lines above it", "neighbours"),
    ("a: 1\n- b\n", 3, 1, "an item of a list stands among keys", "indent the list below its key"),
    ("a: - b\n", 2, 4, "an item of a list begins in the line of its key", "write [a, b]"),
    ("a: [1, 2\nb: 3\n", 3, 2, "the [ of line 2 is not closed here", "has no ] at its end"),
    ("a: {b: 1\nc: 2\n", 3, 2, "the { of line 2 is not closed here", "has no } at its end"),
    ("a: {b: 1]\n", 2, 9, "the { of line 2 is closed by ]", "close it with }"),
    ("a: [b}\n", 2, 6, "the [ of line 2 is closed by }", "close it with ]"),
    ("a: ]\n", 2, 4, "] closes what nothing has opened", "open it with [, or delete it"),
    ("a: [1,,2]\n", 2, 7, "two commas follow each other", "delete it"),
    ("a: ,x\n", 2, 4, ", stands where a value belongs", "quote it"),
    ("a: [1, 2] 3\n", 2, 11, "text follows a closed bracket", "put all of it in quotes"),
    ('a: "x\nb: 1\n', 2, 4, 'the quote " that begins here is never closed', 'close it with "'),
    ("a: 'x\nb: 1\n", 2, 4, "the quote ' that begins here is never closed", "close it with '"),
    ("a: 'it's'\n", 2, 8, "text follows a closed quote", "an apostrophe is written ''"),
    ("a: ['it's']\n", 2, 9, "text follows a closed quote", "an apostrophe is written ''"),
    ('a: "x" y\n', 2, 8, "text follows a closed quote", "put the whole value in one pair of quotes"),
    ("a: > x\n", 2, 4, "after > the text begins on the next line", 'in quotes: "> x"'),
    ("a: 1\nb\nc: 2\n", 3, 1, "this line has no key with a colon", "write a name, a colon, a space"),
    ("a:\n  b 1\n  c: 2\n", 3, 3, "this line has no key with a colon", "write a name, a colon, a space"),
    ("a: 1\nb=2\nc: 3\n", 3, 1, "this line has no key with a colon", "in place of ="),
    ("a: &x 1\nc: &x 2\n", 3, 4, "the anchor &x is named twice (first at line 2)", "another name"),
    ("---\na: 1\n", 2, 1, "a second document begins here", "delete this line"),
    ("...\na: 1\n", 3, 1, "something follows what was the whole file", "delete what closed the file"),
    ("a: !important\n", 2, 4, "the tag !important is not used here", "begins with !, put it in quotes"),
    ("a: !ENV MY_KEY\n", 2, 4, "the tag !ENV is not used here", "write env:MY_KEY"),
    ("a:\n  - !env_var ${MY_KEY}\n", 3, 5, "the tag !env_var is not used here", "write env:MY_KEY"),
    ("a: {b: c d: e}\n", 2, 11, "a second colon with a space after it", "write a comma before d:"),
    ("a: {{ NAME }}\n", 2, 5, "a key must be text", "a template is filled in before the file is read"),
    ("<<<<<<< ours\na: 1\n=======\na: 2\n", 2, 1, "a merge conflict was left in the file", "keep one side"),
    ("a: é\x01\n", 2, 5, "a control character (U+0001) stands here", "delete it"),
    # what reads well and is not what it looks like
    ("server:\n  port:\u00a08080\n", 3, 8, "a no-break space (U+00A0) stands here", "an ordinary space"),
    ("server:\n\u00a0 port: 1\n", 3, 1, "a no-break space (U+00A0) stands here", "an ordinary space"),
    ("a: 1\nb:\u202f2\nc: 3\n", 3, 3, "a narrow no-break space (U+202F)", "an ordinary space"),
    ("a: 30\u2009s\n", 2, 6, "a thin space (U+2009) stands here", "an ordinary space"),
    ("a: env:KEY\u200b\n", 2, 11, "a zero width space (U+200B) stands here", "delete it"),
    ("\ufeffa: 1\n", 2, 1, "a zero width no-break space (U+FEFF) stands here", "delete it"),
    ("a: “x”\n", 2, 4, "a left double quotation mark (U+201C) stands here", "write straight quotes"),
    ("a: [x, ‘y’]\n", 2, 8, "a left single quotation mark (U+2018) stands here", "write straight quotes"),
    ("keys:\n  – name: x\n", 3, 3, "an en dash (U+2013) stands here", "write the hyphen"),
    ("port：8080\n", 2, 5, "a fullwidth colon (U+FF1A) stands here", "a plain colon and a space"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "column", "said", "cure"), [pytest.param(*row, id=row[0]) for row in UNREADABLE]
)
@pytest.mark.parametrize("loader", document.LOADERS)
def test_a_slip_has_place_cause_and_cure(
    text: str, line: int, column: int, said: str, cure: str, loader: type
) -> None:
    report = Report("f.yaml", HEAD + text)
    assert document.read(report.text, report, loader).value is None
    found = report.problems[0]
    assert (found.code, found.line, found.column) == ("E100", line, column), found.render()
    assert said in found.message
    assert cure in found.hint
    for foreign in ("while ", "token", "scalar", "flow ", "mapping values", "alias"):
        assert foreign not in found.message + found.hint


def test_a_section_of_toml_is_written_as_a_key() -> None:
    report = Report("f.yaml", "# mine\n[server]\nport = 1\n")
    document.read(report.text, report)
    (found,) = report.problems
    assert (found.line, found.message) == (2, "not YAML: a name in brackets heads no section here")
    assert found.hint == "write server: and its keys on the lines below, two spaces deeper"


@pytest.mark.parametrize(
    ("text", "column", "message", "hint"),
    [
        ("a: {b: env:}\n", 11, "env: names no variable", "write env:NAME, without a space"),
        ("a: [file:]\n", 9, "file: names no file", "write file:PATH, without a space"),
    ],
)
def test_a_reference_to_nothing_says_what_follows(text: str, column: int, message: str, hint: str) -> None:
    report = Report("f.yaml", text)
    document.read(text, report, document.LOADERS[0])
    (found,) = report.problems
    assert (found.column, found.message, found.hint) == (column, f"not YAML: {message}", hint)


def test_a_backslash_in_double_quotes_says_what_to_write() -> None:
    report = Report("f.yaml", 'a: "C:\\dir"\n')
    document.read(report.text, report)
    (found,) = report.problems
    assert found.message == "not YAML: in double quotes a backslash begins an escape, and this is none"
    assert "two backslashes" in found.hint


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("description: Rapide\u00a0! «\u00a0oui\u00a0»\n", id="typography in a description"),
        pytest.param('a: "x\u00a0y"\n', id="a blank in quotes"),
        pytest.param("a: x’s – y\n", id="inside a text"),
        pytest.param("# “a”\u00a0b\na: 1\n", id="a comment"),
        pytest.param("a: 1\r\nb: 2\r\n", id="lines of Windows"),
    ],
)
def test_what_is_meant_is_read(text: str) -> None:
    report = Report("f.yaml", text)
    assert document.read(text, report).value is not None
    assert report.problems == []


def problems(tmp_path: Path, raw: str | bytes) -> list[tuple[int, int, str, str]]:
    file = tmp_path / "providers.yaml"
    file.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    found = load(file, {"KEY": "secret-canary"}).problems
    return [(one.line, one.column, one.message, one.hint) for one in found if one.severity == "error"]


FETCH = "defaults.images.fetch"
MODELS = (
    "providers: {g: {wire: gemini, base_url: 'https://x.example/v1beta', keys: [env:KEY]}}\n"
    "models:\n  m: {targets: [g/x], price: PRICE}\n"
)


@pytest.mark.parametrize(
    ("price", "message", "hint"),
    [
        ("{input: $0.5}", "models.m.price.input must be a plain number such as 0.50, not text", "write 0.5:"),
        ("{input: 0,5}", 'unknown key "5" in models.m.price', "a number has a point, no comma: write 0.5"),
        ("{input: 1,25, output: 2}", 'unknown key "25" in models.m.price', "write 1.25"),
        (
            "{input: '0,5'}",
            "models.m.price.input must be a plain number such as 0.50, not text",
            "write 0.5:",
        ),
        ("{image: 3 USD}", "models.m.price.image must be a plain number such as 0.50, not text", "currency"),
        ("{image: 0.1€}", "models.m.price.image must be a plain number such as 0.50, not text", "write 0.1:"),
    ],
)
def test_a_price_says_what_a_price_looks_like(tmp_path: Path, price: str, message: str, hint: str) -> None:
    ((line, _, said, cure),) = problems(tmp_path, MODELS.replace("PRICE", price))
    assert (line, said) == (3, message)
    assert hint in cure


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("server:\n  port:8080\n", "server must be a mapping, not text", 'write a space after "port:"'),
        ("server: {port:80}\n", 'unknown key "port:80" in server', 'write a space after "port:"'),
        ("server: {port: '80'}\n", "server.port must be a whole number, not text", "write 80, without"),
        ("server:\nport: 80\n", "server must be a mapping, not empty", "two spaces deeper"),
        ("defaults: {images: {fetch: on}}\n", FETCH + " must be true or false, not text", "true"),
        ("defaults: {images: {fetch: No}}\n", FETCH + " must be true or false, not text", "false"),
        ("server: {cors: {origins: a}}\n", "server.cors.origins must be a list, not text", "after a hyphen"),
        ("models:\n  m:\n  targets: [a/b]\n", "models.m must be a mapping, not empty", "two spaces deeper"),
    ],
)  # fmt: skip
def test_a_value_of_another_shape_says_what_to_write(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    _, _, said, cure = problems(tmp_path, text)[0]
    assert said == message
    assert hint in cure


def test_a_key_beside_its_entry_is_told_where_it_belongs(tmp_path: Path) -> None:
    found = problems(tmp_path, "models:\n  m:\n  targets: [a/b]\n")
    assert "targets belongs into an entry with a name" in found[1][3]


def test_another_encoding_is_named(tmp_path: Path) -> None:
    ((line, column, said, cure),) = problems(tmp_path, "version: 1\n".encode("utf-16"))
    assert (line, column, said) == (1, 1, "not YAML: the text is not UTF-8")
    assert cure == "it looks like UTF-16; save the file as UTF-8"
    ((line, _, _, cure),) = problems(tmp_path, b"version: 1\n# caf\xe9\n")
    assert (line, cure) == (2, "it looks like another encoding; save the file as UTF-8")


def test_a_hint_repeats_no_secret(tmp_path: Path) -> None:
    ((_, _, _, cure),) = problems(tmp_path, "keys:\n  - name: a\n    key: sk-canary-1234567: x\n")
    assert "canary" not in cure
