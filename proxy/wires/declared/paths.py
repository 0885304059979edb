"""JMESPath over vendor replies: ordered alternatives, of which the first that finds something wins."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import jmespath
import jmespath.exceptions
import jmespath.functions

from proxy.codec import jsonio
from proxy.wires.declared.problems import Problems, Where


class _Functions(jmespath.functions.Functions):
    """JMESPath's own, and `from_json` for vendors that put JSON into a string (kie's `resultJson`)."""

    @jmespath.functions.signature({"types": ["string"]})
    def _func_from_json(self, value: str) -> Any:
        try:
            return jsonio.loads(value.encode())
        except jsonio.JSONDecodeError:
            return None


_OPTIONS = jmespath.Options(custom_functions=_Functions())
_FUNCTIONS = (*jmespath.functions.Functions.FUNCTION_TABLE, "from_json")


class Path:
    """One compiled expression. A reply of the wrong type for it holds nothing there."""

    __slots__ = ("_parsed", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._parsed = jmespath.compile(text)

    def search(self, payload: Any) -> Any:
        try:
            return self._parsed.search(payload, options=_OPTIONS)
        except jmespath.exceptions.JMESPathError:
            return None

    def holds(self, payload: Any) -> bool:
        """Truth as JMESPath has it: null, false and everything empty are false, 0 is true."""
        found = self.search(payload)
        return found is not False and is_something(found)

    def functions(self) -> Iterator[str]:
        """The names of the functions it calls; JMESPath itself finds out only when one is called."""
        stack = [self._parsed.parsed]
        while stack:
            node = stack.pop()
            if node["type"] == "function_expression":
                yield node["value"]
            stack.extend(child for child in node["children"] if isinstance(child, dict))


Paths = tuple[Path, ...]


def is_something(value: Any) -> bool:
    return value is not None and not (isinstance(value, str | list | dict) and not value)


def every(paths: Sequence[Path], payload: Any) -> Iterator[Any]:
    """What each alternative finds, without those that find nothing."""
    for path in paths:
        found = path.search(payload)
        if is_something(found):
            yield found


def first(paths: Sequence[Path], payload: Any) -> Any:
    return next(every(paths, payload), None)


def first_text(paths: Sequence[Path], payload: Any) -> str | None:
    """The first finding that is a word or a number; codes come as both."""
    for found in every(paths, payload):
        if isinstance(found, str | int | float) and not isinstance(found, bool):
            return str(found)
    return None


# --- reading them from a profile -------------------------------------------------------------------


def read_path(value: Any, where: Where, problems: Problems) -> Path | None:
    """Compile, or complain with the column (E123)."""
    if not isinstance(value, str) or not value:
        problems.add("E123", where, f"a path must be text, not {value!r}")
        return None
    if value.startswith("$"):
        problems.add(
            "E123", where, f'"{value}" is not a valid path (column 1: unexpected "$")',
            f'paths are JMESPath, which starts without "$": {re.sub(r"^[$][.]*", "", value)}',
        )  # fmt: skip
        return None
    try:
        path = Path(value)
    except jmespath.exceptions.JMESPathError as exc:
        problems.add("E123", where, f'"{value}" is not a valid path ({_complaint(exc, value)})')
        return None
    for name in path.functions():
        if name not in _FUNCTIONS:
            problems.unknown("E123", where, f'function in path "{value}":', name, _FUNCTIONS)
            return None
    return path


def read_paths(value: Any, where: Where, problems: Problems) -> Paths:
    """One path or a list of alternatives."""
    items = value if isinstance(value, list) else [value]
    found = [
        read_path(item, (*where, index) if isinstance(value, list) else where, problems)
        for index, item in enumerate(items)
    ]
    return tuple(path for path in found if path is not None)


def _complaint(exc: Exception, text: str) -> str:
    if isinstance(exc, jmespath.exceptions.IncompleteExpressionError):
        return f"column {len(text) + 1}: it ends too early"
    if isinstance(exc, jmespath.exceptions.LexerError):
        return f"column {exc.lexer_position + 1}: {exc.message}"
    assert isinstance(exc, jmespath.exceptions.ParseError)  # `compile` raises no others
    return f'column {exc.lex_position + 1}: unexpected "{exc.token_value}"'
