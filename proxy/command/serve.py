"""`dragoman serve` and `dragoman simulate`."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from proxy import config as configuration
from proxy.config import Config, Loaded
from proxy.store.database import path_of

# What the system takes for a client that does not read it: else four megabytes, which are thousands of
# events that were translated for nobody.
_UNSENT_BYTES = 1 << 18
_BACKLOG = 2048
# Where one cannot listen.
_CURES = {
    errno.EADDRINUSE: "; name another with --port",
    errno.EACCES: "; ports below 1024 are for root, name another with --port",
}


def serve(
    file: Path | None, host: str | None, port: int | None, workers: int | None, *, simulate: bool
) -> int:
    """Run the gateway until it is told to stop."""
    found = configuration.find(file)
    os.environ["DRAGOMAN_CONFIG"] = str(found)
    loaded = configuration.load(found)
    config = loaded.config
    if config is None:
        return _refuse(loaded)
    if not simulate:  # simulated vendors need no keys, so nothing is off
        _warn(config, loaded)
    simulators = None
    if simulate:
        from proxy.simulators.server import start

        simulators = start()
        os.environ["DRAGOMAN_SIMULATED"] = simulators.base_url
    _make_a_key_if_there_is_none(config, simulate=simulate)
    host = host or os.environ.get("DRAGOMAN_HOST") or config.server.host
    port = config.server.port if port is None else port
    if config.auth.mode == "open" and not configuration.is_loopback(host):
        _say(f"auth.mode open is refused on {host}: anybody could spend your money. Set auth.mode keys.")
        return 1
    try:
        listener = _listen(host, port, shared=config.server.reuse_port)
    except (OSError, OverflowError) as error:
        _say(f"cannot listen on {host}:{port}: {_reason(error)}")
        return 1
    _greet(config, loaded, found, listener, simulate=simulate)
    workers = workers or config.server.workers
    if simulators is None:
        return _run(listener, workers)
    try:
        with tempfile.TemporaryDirectory(prefix="dragoman-simulated-") as folder:
            os.environ["DRAGOMAN_SIMULATED_STATE"] = folder
            return _run(listener, workers)
    finally:
        simulators.stop()


def simulate(port: int, vendor: str | None = None) -> int:
    """Run the simulated vendors alone; print the addresses of all, or of one."""
    from proxy.simulators.server import VENDORS, start

    if vendor is not None and vendor not in VENDORS:
        _say(f"no vendor {vendor!r} is simulated; there are {', '.join(VENDORS)}")
        return 2

    try:
        running = start(port)
    except (OSError, OverflowError) as error:
        _say(f"cannot listen on 127.0.0.1:{port}: {_reason(error)}")
        return 1
    for name in VENDORS if vendor is None else (vendor,):
        print(f"{name:16} {running.url(name)}", flush=True)
    try:
        running.wait()
    except KeyboardInterrupt:
        running.stop()
    return 0


def _run(listener: socket.socket, workers: int) -> int:
    import uvicorn

    from proxy.command.server import Server

    _raise_descriptor_limit()
    settings = uvicorn.Config(
        "proxy.app:from_environment",
        factory=True,
        workers=workers,
        http="proxy.serve.protocol:Protocol",
        ws="none",
        lifespan="on",
        access_log=False,
        proxy_headers=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        backlog=_BACKLOG,
    )
    if workers > 1:
        from proxy.command.workers import Workers

        os.environ["DRAGOMAN_WORKERS"] = str(workers)
        with tempfile.TemporaryDirectory(prefix="dragoman-") as folder:
            os.environ["DRAGOMAN_SIGNATURE_FILE"] = f"{folder}/signatures.db"
            os.environ["DRAGOMAN_LIMITS_FILE"] = f"{folder}/limits"
            os.environ["DRAGOMAN_LAST_GOOD_FILE"] = f"{folder}/providers.yaml"
            Workers(settings, sockets=[listener]).run()
        return 0
    # After the drain uvicorn raises the signal again, for whoever was there before it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server(settings)
    server.run(sockets=[listener])
    return 0 if server.started else 1


def _make_a_key_if_there_is_none(config: Config, *, simulate: bool) -> None:
    """Simulated vendors cost nothing, so a fresh machine gets a key of its own for the session."""
    if config.auth.mode == "open" or any(key.key is not None for key in config.keys):
        return
    if simulate:
        os.environ["DRAGOMAN_SESSION_KEY"] = f"sk-dragoman-{secrets.token_urlsafe(24)}"


def _listen(host: str, port: int, *, shared: bool) -> socket.socket:
    """`shared`: the process that takes over may listen before this one stops."""
    try:
        listener = _bound(host, port)
        if shared and hasattr(socket, "SO_REUSEPORT"):
            name = listener.getsockname()[1]
            listener.close()
            listener = _bound(host, name, socket.SO_REUSEPORT)
    except OSError as error:
        if not (shared and hasattr(socket, "SO_REUSEPORT") and error.errno == errno.EADDRINUSE):
            raise
        listener = _bound(host, port, socket.SO_REUSEPORT)
        _say(f"{host}:{port} is shared with another process: new connections go to either until one stops")
    listener.set_inheritable(True)
    listener.listen(_BACKLOG)  # who comes before the application is ready waits instead of being refused
    return listener


def _bound(host: str, port: int, *options: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in (socket.SO_REUSEADDR, *options):
            listener.setsockopt(socket.SOL_SOCKET, option, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # what is accepted here inherits it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        listener.bind((host, port))
    except (OSError, OverflowError):
        listener.close()
        raise
    return listener


def _reason(error: OSError | OverflowError) -> str:
    if not isinstance(error, OSError):
        return "a port is a number up to 65535"
    return f"{error.strerror or error}{_CURES.get(error.errno or 0, '')}"


def _raise_descriptor_limit() -> None:
    """Each request takes two; the soft limit is often 1,024 for the sake of programs that use select()."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _greet(config: Config, loaded: Loaded, file: Path, listener: socket.socket, *, simulate: bool) -> None:
    """Tell what runs where and from which file, each thing once, and show two snippets that work."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    base = f"http://{shown}:{port}/v1"
    off = {} if simulate else loaded.off
    on = [name for name in config.providers if name not in off]
    _say(f"Dragoman at {base}  ({len(config.models)} models; providers on: {', '.join(on) or 'none'})")
    _say(f"  configured by {file.resolve()}")
    for name, reason in off.items():
        _say(f"  provider {name} is off: {reason}")
    if simulate:
        _say("  all vendors are simulated: no key is used, no money is spent, pictures are drawn here,")
        _say("  and all that is kept of them goes with the server; server.state is left alone")
    elif not on:
        _say("  no provider is on, so no model answers: set a variable named above and start again,")
        _say("  add a provider under `providers:`, or try `dragoman serve --simulate`, which needs no key")
    pasted = _key_to_paste(config, loaded, file)
    if pasted is None:
        _say(f"  no client key is set: {_how_to_get_a_key(loaded)}")
    elif (model := _first_model(config, off)) is not None:
        print(snippets(base, model, pasted), flush=True)


class Pasted(NamedTuple):
    """A client key as one pastes it: in words, into a shell's double quotes, into Python."""

    said: str
    shell: str
    python: str


def snippets(base: str, model: str, key: Pasted) -> str:
    """A line for the shell and a few for Python. They hold no key that is not this session's own."""
    imported = "import os\n" if key.python.startswith("os.") else ""
    asked = f'model="{model}", messages=[{{"role": "user", "content": "Say hello"}}]'
    return f"""
key: {key.said}

curl {base}/chat/completions -H "Authorization: Bearer {key.shell}" -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Say hello"}}]}}'

# Python, after: pip install openai
from openai import OpenAI
{imported}client = OpenAI(base_url="{base}", api_key={key.python})
reply = client.chat.completions.create({asked})
print(reply.choices[0].message.content)
"""


def _key_to_paste(config: Config, loaded: Loaded, file: Path) -> Pasted | None:
    """A session key in full; of a configured key only where it comes from, for screens are shared."""
    session = os.environ.get("DRAGOMAN_SESSION_KEY")
    if session or config.auth.mode == "open":
        text = session or "any"
        return Pasted(text, text, f'"{text}"')
    named = next((key for key in config.keys if key.key is not None), None)
    if named is None:
        return None
    kind, _, place = loaded.callers.get(named.name, "").partition(":")
    if kind == "file":
        path = str((file.parent / place).resolve())
        return Pasted(f"in {path}", f"$(cat '{path}')", f"open({path!r}).read().strip()")
    variable = place or "DRAGOMAN_KEY"
    said = f"${variable}" if place else f'that of "{named.name}" in the file, after: export {variable}=...'
    return Pasted(said, f"${variable}", f'os.environ["{variable}"]')


def _how_to_get_a_key(loaded: Loaded) -> str:
    variable = next((place[4:] for place in loaded.callers.values() if place.startswith("env:")), None)
    first = f"export {variable}=..." if variable else "add one under `keys:`"
    return f"{first}, or make one with `dragoman keys create NAME`"


def _first_model(config: Config, off: Mapping[str, str]) -> str | None:
    """The first that somebody answers, None if there is none."""
    for name, model in config.models.items():
        if any(target.provider not in off for target in (*model.targets, *model.fallback)):
            return name
    return None


def _warn(config: Config, loaded: Loaded) -> None:
    """All but what the greeting says itself: which providers are off, and that no client key is set."""
    told = {"N107"} if any(key.key is not None for key in config.keys) else {"N107", "W108"}
    for problem in loaded.problems:
        if problem.code not in told:
            _say(str(problem))
    place = path_of(config.server.state.reveal())
    if place is not None and not _can_hold(place):
        _say(f"warning: server.state, {place.absolute()}, cannot be written: there are no tasks, no")
        _say("  keys but those of the file, and no ledger. Name another place, or give this user the folder")


def _can_hold(database: Path) -> bool:
    """As far as it can be told without making anything."""
    # `Path.exists` raises for what it may not look into.
    folder = next(parent for parent in database.absolute().parents if os.path.exists(parent))
    writable = os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)
    return writable and (not os.path.exists(database) or os.access(database, os.W_OK))


def _refuse(loaded: Loaded) -> int:
    for problem in loaded.problems:
        _say(str(problem))
    return 1


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
