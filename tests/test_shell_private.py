"""The private members of uvicorn that we use, each by name, so that a new version fails here with a sentence
and not in front of a client. pyproject.toml bounds its version."""

from __future__ import annotations

import ast
import asyncio
import inspect
import tomllib
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http import flow_control, httptools_impl
from uvicorn.server import ServerState
from uvicorn.supervisors.multiprocess import Multiprocess

from proxy.serve import protocol

ROOT = Path(__file__).resolve().parents[1]

UVICORN = "proxy/serve/protocol.py"
UPSTREAM = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "proxy/upstream").glob("*.py"))
PROTOCOL_CALLS = (
    "connection_made",
    "connection_lost",
    "data_received",
    "on_headers_complete",
    "on_body",
    "on_message_complete",
    "on_response_complete",
    "pause_writing",
    "resume_writing",
    "shutdown",
    "timeout_keep_alive_handler",
)
PROTOCOL_HAS = (
    "app_state",
    "connections",
    "cycle",
    "flow",
    "headers",
    "loop",
    "parser",
    "pipeline",
    "scope",
    "timeout_keep_alive",
    "timeout_keep_alive_task",
    "transport",
)
CYCLE_HAS = (
    "body",
    "disconnected",
    "keep_alive",
    "message_event",
    "on_response",
    "response_complete",
    "response_started",
    "scope",
    "transport",
    "waiting_for_100_continue",
)
SERVER_CALLS = ("handle_exit", "shutdown")
SERVER_HAS = ("config", "force_exit", "server_state")
WORKERS_CALLS = (
    "handle_signals",
    "handle_ttin",
    "init_processes",
    "join_all",
    "keep_subprocess_alive",
    "restart_all",
)
# Of what a cycle calls on its transport, and what `_Joined` does about a head that it still holds.
TRANSPORT = {"write": "in order", "close": "first", "is_closing": "does not matter"}


def moved(package: str, member: str, file: str) -> str:
    return f"{package} has no {member} any more: {file} uses it and must be changed first"


@pytest.fixture
def cycle() -> httptools_impl.RequestResponseCycle:
    nothing: Any = None
    return httptools_impl.RequestResponseCycle(*[nothing] * 5, False, [], nothing, False, True, nothing)


@pytest.mark.parametrize("member", PROTOCOL_CALLS)
def test_uvicorn_calls_what_we_extend(member: str) -> None:
    assert callable(getattr(httptools_impl.HttpToolsProtocol, member, None)), moved(
        "uvicorn", member, UVICORN
    )


@pytest.mark.anyio
@pytest.mark.parametrize("member", PROTOCOL_HAS)
async def test_uvicorns_protocol_has_what_we_read(member: str) -> None:
    config = uvicorn.Config(lambda *_: None, log_config=None)  # type: ignore[arg-type]
    made = protocol.Protocol(config, ServerState(), {})
    assert hasattr(made, member), moved("uvicorn", member, UVICORN)


@pytest.mark.parametrize("member", SERVER_CALLS)
def test_uvicorns_server_calls_what_we_extend(member: str) -> None:
    assert callable(getattr(uvicorn.Server, member, None)), moved(
        "uvicorn", member, "proxy/command/server.py"
    )


@pytest.mark.parametrize("member", SERVER_HAS)
def test_uvicorns_server_has_what_we_read(member: str) -> None:
    made = uvicorn.Server(uvicorn.Config(lambda *_: None, log_config=None))  # type: ignore[arg-type]
    assert hasattr(made, member), moved("uvicorn", member, "proxy/command/server.py")


@pytest.mark.parametrize("member", WORKERS_CALLS)
def test_uvicorns_supervisor_calls_what_we_extend(member: str) -> None:
    assert callable(getattr(Multiprocess, member, None)), moved("uvicorn", member, "proxy/command/workers.py")


@pytest.mark.parametrize("member", CYCLE_HAS)
def test_uvicorns_cycle_has_what_we_read(cycle: httptools_impl.RequestResponseCycle, member: str) -> None:
    assert hasattr(cycle, member), moved("uvicorn", member, UVICORN)


def test_uvicorn_lets_us_read_on() -> None:
    assert callable(getattr(flow_control.FlowControl, "resume_reading", None)), moved(
        "uvicorn", "FlowControl.resume_reading", UVICORN
    )


def test_we_know_all_that_a_cycle_calls_on_its_transport() -> None:
    source = ast.parse(inspect.getsource(httptools_impl.RequestResponseCycle))
    called = {
        node.attr
        for node in ast.walk(source)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self.transport"
    }
    assert called == set(TRANSPORT), (
        f"uvicorn calls {sorted(called)} on a transport: say in TRANSPORT what becomes of a held head"
    )


# --- what holds the head back is a transport


class Transport:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> str:
            if arguments and not isinstance(arguments[0], bytes):
                arguments = (b"".join(arguments[0]),)
            self.calls.append((name, *arguments))
            return name

        return call


@pytest.fixture
def joined(cycle: httptools_impl.RequestResponseCycle) -> Any:
    cycle.transport = Transport()  # type: ignore[assignment]
    return protocol._Joined(cycle, cycle.transport.close)


PUBLIC = sorted(
    {name for name in dir(asyncio.Transport) if not name.startswith("_")}
    - {"write", "writelines", "write_eof", "close"}
)


@pytest.mark.parametrize("name", PUBLIC)
def test_whatever_one_asks_a_transport_is_answered(joined: Any, name: str) -> None:
    assert getattr(joined, name)() == name
    assert joined._transport.calls == [(name,)]


@pytest.mark.parametrize(
    ("ends", "calls"),
    [
        pytest.param([("write", b"body")], [("write", b"HEADbody")], id="write"),
        pytest.param([("write", 20_000 * b"x")], [("writelines", b"HEAD" + 20_000 * b"x")], id="much"),
        pytest.param([("writelines", [b"a", b"b"])], [("writelines", b"HEADab")], id="writelines"),
        pytest.param([("close",)], [("writelines", b"HEAD"), ("close",)], id="close"),
        pytest.param([("write_eof",)], [("writelines", b"HEAD"), ("write_eof",)], id="write_eof"),
        pytest.param(
            [("write", b"a"), ("write", b"b"), ("close",)],
            [("write", b"HEADa"), ("write", b"b"), ("close",)],
            id="more",
        ),
        pytest.param([("abort",)], [("abort",)], id="abort"),
    ],
)
@pytest.mark.parametrize("lines", [b"", b"b: 2\r\nc: 3\r\n"])
def test_a_head_that_is_held_back_goes_first(
    cycle: httptools_impl.RequestResponseCycle, joined: Any, lines: bytes, ends: Any, calls: Any
) -> None:
    """With the lines that uvicorn was not told."""
    joined.write(b"100")
    cycle.response_started = True
    joined.lines = lines
    joined.write(b"HTTP/1.1 200 OK\r\na: 1\r\n\r\n")
    for name, *arguments in ends:
        getattr(joined, name)(*arguments)
    head = b"HTTP/1.1 200 OK\r\na: 1\r\n" + lines + b"\r\n"
    written = [(name, *(piece.replace(b"HEAD", head) for piece in pieces)) for name, *pieces in calls]
    assert joined._transport.calls == [("write", b"100"), *written]


# --- the rest


@pytest.mark.parametrize("file", [*UPSTREAM, UVICORN])
def test_no_other_private_member_is_used(file: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    nodes = list(ast.walk(tree))
    read = {node for node in nodes if isinstance(node, ast.Attribute) and node.attr.startswith("_")}
    ours = {
        node.attr for node in read if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }
    ours |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    found = {node.attr for node in read if not node.attr.startswith("__")}
    assert found - ours == set()


def test_the_versions_that_were_looked_at_are_bounded() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = {line.partition(">")[0]: line for line in project["dependencies"]}
    assert ",<0." in bounds["uvicorn"]
