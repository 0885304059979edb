"""OpenAI's words stand in its front and its wire; everybody else names the attributes of a request."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROXY = Path(__file__).resolve().parents[1] / "proxy"

# What only OpenAI calls so, where ours differs.
OPENAIS = re.compile(
    r"""response_format|parallel_tool_calls|stream_options|max_completion_tokens|reasoning_effort|tool_call_id
    |web_search_options|function_call\b|image_config|include_usage|\.image_url\b
    |messages\[.*\]\.(?:content|images|tool_calls)""",
    re.X,
)
FOLDERS = ("wires/gemini", "wires/declared", "serve")


def sources(*folders: str) -> Iterator[tuple[str, ast.AST]]:
    for folder in folders:
        for file in sorted((PROXY / folder).rglob("*.py")):
            yield file.relative_to(PROXY).as_posix(), ast.parse(file.read_text())


def literals(tree: ast.AST) -> Iterator[str]:
    """String literals that are no docstrings; of an f-string the pieces, with `{}` between them."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_no_string_of_others_spells_a_field_of_openais() -> None:
    found = [
        (file, text) for file, tree in sources(*FOLDERS) for text in literals(tree) if OPENAIS.search(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text", ["response_format", "messages[3].content[0].x", "messages[{one}].tool_call_id"]
)
def test_such_a_string_would_be_found(text: str) -> None:
    tree = ast.parse(f'"""{text}"""\ndef f():\n    """{text}"""\n    return f"{text}"')
    assert [one for one in literals(tree) if OPENAIS.search(one)]


def test_only_a_front_writes_the_param_of_a_request_error() -> None:
    """What others hand on as `param` was spelled by the client, or by its front."""
    found = [
        (file, node.lineno)
        for file, tree in sources("wires", "serve", "pictures", "routing")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "RequestError"
        and any(
            keyword.arg == "param" and isinstance(keyword.value, ast.Constant | ast.JoinedStr)
            for keyword in node.keywords
        )
    ]
    assert found == []
