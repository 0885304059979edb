"""JMESPath over vendor replies: ordered alternatives, of which the first that finds something wins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any
from urllib.parse import quote

import jmespath
import jmespath.exceptions
import jmespath.functions

from proxy.codec import jsonio
from proxy.types import Slice
from proxy.wires.declared.problems import Problems, Where


class _Functions(jmespath.functions.Functions):
    """JMESPath's own, `from_json` for vendors that put JSON into a string (kie's `resultJson`), and `quote`
    for what is put into an address. `sum` is exact, and takes texts with numbers as well. `task` is what is
    known of the job by then."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._task = task

    @jmespath.functions.signature({"types": ["string"]})
    def _func_task(self, name: str) -> Any:
        return self._task.get(name)

    @jmespath.functions.signature({"types": ["array"]})
    def _func_sum(self, values: list[Any]) -> float | None:
        total = amount(values) if values else Decimal(0)
        return total if total is None else int(total) if total == total.to_integral() else float(total)

    @jmespath.functions.signature({"types": ["string"]})
    def _func_from_json(self, value: str) -> Any:
        try:
            return jsonio.loads(value.encode())
        except jsonio.JSONDecodeError:
            return None

    @jmespath.functions.signature({"types": ["string"]})
    def _func_quote(self, value: str) -> str:
        return quote(value, safe="")


_MOST_KEYS = 24
_LONGEST_KEY = 40
_DEEPEST_KEY = 2
_MOST = Decimal(10) ** 18  # of anything that is counted or paid

_NOTHING: Mapping[str, Any] = {}
_OPTIONS = jmespath.Options(custom_functions=_Functions(_NOTHING))
_FUNCTIONS = (*jmespath.functions.Functions.FUNCTION_TABLE, "from_json", "quote")
# `$task.id`, or one of JMESPath's quoted texts and literals, in which it is no such thing.
_OF_TASK = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|\$task\.(\w+)""")


class Path:
    """One compiled expression. A reply of the wrong type for it holds nothing there. `of_task` are the names
    of what it says of the job, which stands in no reply: JMESPath calls a function for that, as it cannot
    look up from inside of a list."""

    __slots__ = ("_parsed", "of_task", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.of_task = tuple(found[1] for found in _OF_TASK.finditer(text) if found[1])
        self._parsed = jmespath.compile(
            _OF_TASK.sub(lambda found: f"task('{found[1]}')" if found[1] else found[0], text)
        )

    def search(self, payload: Any, task: Mapping[str, Any] = _NOTHING) -> Any:
        """`task` is what is known of the job."""
        options = jmespath.Options(custom_functions=_Functions(task)) if self.of_task else _OPTIONS
        try:
            return self._parsed.search(payload, options=options)
        except jmespath.exceptions.JMESPathError:
            return None

    def holds(self, payload: Any) -> bool:
        """Truth as JMESPath has it: null, false and everything empty are false, 0 is true."""
        found = self.search(payload)
        return found is not False and is_something(found)

    def functions(self) -> Iterator[str]:
        """The names of the functions it calls; JMESPath itself finds out only when one is called."""
        return (node["value"] for node in self._nodes() if node["type"] == "function_expression")

    def comparisons(self) -> Iterator[tuple[Any, Any]]:
        """Both sides of every == and !=, each side once first."""
        for node in self._nodes():
            if node["type"] == "comparator" and node["value"] in ("eq", "ne"):
                left, right = node["children"]
                yield from ((left, right), (right, left))

    def _nodes(self) -> Iterator[Any]:
        """Of the parsed path: each has `type`, `children` and perhaps a `value`."""
        stack = [self._parsed.parsed]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(child for child in node["children"] if isinstance(child, dict))


Paths = tuple[Path, ...]


_HEADERS = "_headers"  # where paths find a reply's headers
_NO_PICTURE = "no picture, nor an address, which without a host begins with / or ./"


def seen(payload: Any, headers: Mapping[str, str]) -> Any:
    """What paths are asked of: a reply's JSON object with its headers in it, names in lower case. A reply
    that is empty, or a picture, has nothing but headers; in others paths find nothing."""
    if isinstance(payload, Mapping):
        return {**payload, _HEADERS: headers}
    return {_HEADERS: headers} if payload == b"" or isinstance(payload, Slice) else payload


def missed(paths: Iterable[Path], payload: Any, task: Mapping[str, Any] = _NOTHING) -> str:
    """For whoever writes a profile: which paths found nothing, or nothing of use, and what was there instead;
    no values."""
    texts: dict[bool, list[str]] = {False: [], True: []}
    for path in paths:
        texts[is_something(path.search(payload, task))].append(path.text)
    nothing = f"nothing is at {', '.join(texts[False])}; " if texts[False] else ""
    useless = f"what is at {', '.join(texts[True])} is {_NO_PICTURE}; " if texts[True] else ""
    return f"{nothing}{useless}{_there(payload)}"


def no_amount(paths: Iterable[Path], payload: Any) -> str:
    """The same of what should be an amount of money."""
    return f"no amount is at {', '.join(path.text for path in paths)}; {_there(payload)}"


def _there(payload: Any) -> str:
    return f"the reply has {', '.join(islice(_keys(payload, ''), _MOST_KEYS)) or 'nothing'}"


def _keys(value: Any, at: str) -> Iterator[str]:
    """Every key with its way, two levels deep."""
    if isinstance(value, list) and value:
        yield from _keys(value[0], f"{at}[]")
    if not isinstance(value, Mapping):
        return
    for key, inner in value.items():
        if key == _HEADERS:
            continue
        here = f"{at}.{str(key)[:_LONGEST_KEY]}" if at else str(key)[:_LONGEST_KEY]
        yield here
        if here.count(".") < _DEEPEST_KEY:
            yield from _keys(inner, here)


def is_something(value: Any) -> bool:
    return value is not None and not (isinstance(value, str | list | dict) and not value)


def every(paths: Sequence[Path], payload: Any, task: Mapping[str, Any] = _NOTHING) -> Iterator[Any]:
    """What each alternative finds, without those that find nothing."""
    for path in paths:
        found = path.search(payload, task)
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


def amount(found: Any) -> Decimal | None:
    """A number, a text with one, or a list of such, summed; a float's shortest form is what the vendor wrote
    (V-008)."""
    if isinstance(found, list):
        parts = [None if isinstance(part, list) else amount(part) for part in found]
        known = [part for part in parts if part is not None]
        return sum(known, Decimal(0)) if known and len(known) == len(parts) else None
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return None
    try:
        said = Decimal(str(found).strip())
    except InvalidOperation:
        return None
    return said if said.is_finite() and -_MOST < said < _MOST else None


# --- reading them from a profile -------------------------------------------------------------------


def read_path(value: Any, where: Where, problems: Problems, *, of_task: bool = False) -> Path | None:
    """Compile, or complain with the column (E123). `of_task`: it may use what is known of the job."""
    if not isinstance(value, str) or not value:
        problems.add("E123", where, f"a path must be text, not {value!r}")
        return None
    if value.startswith("$") and not value.startswith("$task."):
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
    if path.of_task and not of_task:
        used = f"$task.{path.of_task[0]}"
        problems.add("E123", where, f"a path uses {used}, which only those of result.images can")
        return None
    for name in path.functions():
        if name not in _FUNCTIONS and not (name == "task" and path.of_task):
            problems.unknown("E123", where, f'function in path "{value}":', name, _FUNCTIONS)
            return None
    return path


def read_paths(value: Any, where: Where, problems: Problems, *, of_task: bool = False) -> Paths:
    """One path or a list of alternatives."""
    items = value if isinstance(value, list) else [value]
    found = [
        read_path(item, (*where, index) if isinstance(value, list) else where, problems, of_task=of_task)
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
