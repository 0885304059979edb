"""The command line. Results go to stdout, talk to stderr; exit 0, 1 (your file or request), 2 (usage),
3 (upstream)."""

from __future__ import annotations

import argparse
import codecs
import gc
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn, TextIO

# What may also come after the options; argparse looks for it only before them.
_DIALECTS = (
    "chat",
    "images",
    "responses",
    "messages",
    "gemini",
    "embeddings",
    "completions",
    "speech",
    "moderations",
)  # of `proxy.command.dialects`, which takes long to load
_LATE = {"explain": "prompt", "check": "file", "simulate": "vendor"}
# What other programs call these commands.
_CALLED = {
    "start": "serve", "run": "serve", "up": "serve", "server": "serve", "validate": "check", "lint": "check",
    "test": "check", "list": "models", "ls": "models", "ask": "try", "chat": "try", "send": "try",
}  # fmt: skip
_MOST_SAID = 1 << 16
_ESCAPED = "escaped as in JSON"


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """What a terminal has no letter for, as JSON writes it: so JSON stays JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(*[iter(units)] * 2, strict=True)), error.end


codecs.register_error(_ESCAPED, _escaped)


class _Parser(argparse.ArgumentParser):
    """Says what may have been meant. `given` are the words of the command line."""

    given: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        super().error(message + _meant(message, self.given, self._option_string_actions))


def main(arguments: Sequence[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors=_ESCAPED)
    _Parser.given = sys.argv[1:] if arguments is None else arguments
    parser, commands = _parser()
    options, rest = parser.parse_known_args(arguments)
    late = _LATE.get(options.command)
    if late is not None and len(rest) == 1 and not rest[0].startswith("-") and getattr(options, late) is None:
        setattr(options, late, rest.pop())
    if rest:
        commands[options.command].error(f"unrecognized arguments: {' '.join(rest)}")
    if options.command == "help":
        return _help(parser, commands, options.topics)
    if options.json and options.command not in ("serve", "simulate"):
        return _as_json(options)
    return _run(options)


def _as_json(options: argparse.Namespace) -> int:
    """What fails without a result says why as JSON too: whoever reads stdout reads JSON in any case."""
    told, said = _Copied(sys.stdout), _Copied(sys.stderr)
    with redirect_stdout(told), redirect_stderr(said):
        code = _run(options)
    if code and not told.text.strip():
        import json

        print(
            json.dumps({"ok": False, "exit": code, "said": said.text.strip()}, indent=2, ensure_ascii=False)
        )
    return code


class _Copied:
    """A stream that remembers the beginning of what is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.text = stream, ""

    def write(self, text: str) -> int:
        self.text += text[: _MOST_SAID - len(self.text)]
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _run(options: argparse.Namespace) -> int:
    try:
        return _COMMANDS[options.command](options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        print(f"{error.filename or options.command}: {error.strerror or error}", file=sys.stderr)
        return 1


def _parser() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """The whole command line, and the part of each command."""
    parser = _Parser(
        prog="dragoman",
        description="An OpenAI-compatible gateway to Gemini and the image vendors.",
        epilog="dragoman help COMMAND tells the options of a command.",
        parents=[_common()],
    )
    parser.add_argument("-V", "--version", action=_ShowVersion, nargs=0, help="print the version and exit")
    parser.set_defaults(config=None, json=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, does: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, parents=[_common()], help=does, description=f"{does[0].upper()}{does[1:]}."
        )

    serve = command("serve", "run the gateway")
    serve.add_argument(
        "--host", help="the address to listen on, instead of $DRAGOMAN_HOST and the file's server.host"
    )
    serve.add_argument("--port", type=int, help="the port, instead of server.port; 0 lets the system choose")
    serve.add_argument("--workers", type=_count, metavar="N", help="how many processes share the port")
    serve.add_argument(
        "--simulate", action="store_true", help="all vendors simulated on loopback; no keys needed"
    )

    check = command("check", "check providers.yaml like a compiler")
    check.add_argument("file", type=Path, nargs="?", metavar="FILE", help="the same as --config FILE")
    check.add_argument("--strict", action="store_true", help="warnings are errors")
    check.add_argument(
        "--online", action="store_true", help="ask the vendors too, what is free: address, keys, models"
    )
    command("models", "list the models and where they go")

    explain = command("explain", "show the plan and the exact upstream request; nothing is sent")
    explain.add_argument("model", help="a model of the file, or provider/upstream-model")
    explain.add_argument("prompt", nargs="?", help="what the user says (default: Hello)")
    explain.add_argument(
        "--request", type=Path, metavar="FILE", help="a chat completion or Images request as JSON, instead"
    )
    explain.add_argument(
        "--images",
        dest="dialect",
        action="store_const",
        const="images",
        help="explain a request to /v1/images/generations, as --as images does",
    )
    _add_dialect(explain, "the request's, where its members do not tell it")
    explain.add_argument("--stream", action="store_true", help="as a client would that wants a stream")

    attempt = command("try", "send one prompt through the gateway's own path")
    attempt.add_argument("model", help="a model of the file, or provider/upstream-model")
    attempt.add_argument("prompt", help="what the user says")
    attempt.add_argument(
        "--image", type=Path, action="append", default=[], metavar="FILE", help="a picture to send along"
    )
    attempt.add_argument("--stream", action="store_true", help="print the answer as it comes")
    _add_dialect(attempt, "to ask in (default: chat)")
    attempt.add_argument(
        "--out", type=Path, metavar="FILE", help="where to save the picture, others beside it"
    )
    attempt.add_argument("--simulate", action="store_true", help="ask a simulated vendor; costs nothing")
    attempt.add_argument(
        "--verbose", action="store_true", help="show the vendor's requests and replies, without secrets"
    )
    attempt.add_argument(
        "--record", type=Path, metavar="FOLDER", help="keep them as files, for a test of a profile"
    )

    _keys_parser(command("keys", "make, list, revoke and rotate client keys in the store"))

    command("migrate", "bring the tables of the store up to date, as the first start does")

    prices = command("prices", "compare the prices of the file with a catalogue")
    prices.add_argument("action", choices=["update"], help="print a diff of the file; nothing is written")

    simulate = command("simulate", "run the simulated vendors alone")
    simulate.add_argument("vendor", nargs="?", help="print the address of this one only")
    simulate.add_argument("--port", type=int, default=8090, help="where to listen (default: 8090)")
    usage = command("usage", "tell what was used and charged")
    usage.add_argument(
        "--by",
        default="key,model,currency",
        metavar="GROUPS",
        help="day, key, model, target, operation, currency, with commas (default: key,model,currency)",
    )
    usage.add_argument(
        "--since", default="30d", metavar="DAY", help="2026-11-01, or how long ago: 7d (default: 30d)"
    )
    usage.add_argument("--until", metavar="DAY", help="the last day (default: today)")
    usage.add_argument("--key", metavar="NAME", help="of this client key only")
    usage.add_argument(
        "--drift", action="store_true", help="compare ours with what the vendors say they took"
    )
    usage.add_argument("--in", dest="into", metavar="CURRENCY", help="all in one, by the rates of the file")
    usage.add_argument("--csv", action="store_true", help="print CSV")
    _tasks_parser(command("tasks", "tell what picture tasks there are, and resolve uncertain ones"))
    command("schema", "print the JSON Schema of providers.yaml")
    command("version", "print the version")
    command("help", "tell what a command does").add_argument(
        "topics", nargs="*", metavar="COMMAND", help="the command, and its action where it has some"
    )
    return parser, commands.choices


def _meant(message: str, given: Sequence[str], known: Mapping[str, object]) -> str:
    """The end of a sentence about an option or a word that nobody knows."""
    import difflib
    import re

    choice = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
    if choice is not None:
        offered = re.findall(r"'([^']+)'", choice[2])
        near = difflib.get_close_matches(choice[1], offered, 1) or [_CALLED.get(choice[1], "")]
        if near[0] in offered:
            return f"; did you mean {near[0]}?"
    for word in given:
        name = word.partition("=")[0]
        if name.startswith("--") and len(name) > 2 and not any(one.startswith(name) for one in known):
            close = difflib.get_close_matches(name[2:], [one.lstrip("-") for one in known], 1)
            return f"; there is no {name} here" + (f": did you mean --{close[0]}?" if close else "")
    return ""


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _add_dialect(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument(
        "--as", dest="dialect", choices=_DIALECTS, metavar="DIALECT", help=f"{what}: {', '.join(_DIALECTS)}"
    )


def _keys_parser(keys: argparse.ArgumentParser) -> None:
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, does: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, parents=[_common()], help=does, description=f"{does.capitalize()}.")

    create = action("create", "make a key, which is shown this once")
    create.add_argument("name", help="who it is for; shown in logs and usage")
    create.add_argument(
        "--models", metavar="PATTERNS", help='the models it may use, with commas (default: "*")'
    )
    create.add_argument("--image-output", metavar="MODE", help="how pictures come in its chats")
    create.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="requests=600/min, tokens=1000000/hour, images=200/day or concurrent=32; may be repeated",
    )
    create.add_argument(
        "--budget", metavar="AMOUNT", help="20USD/month: what it may spend in a day, a month or in total"
    )
    create.add_argument("--expires", metavar="IN", help="30d, 12h: how long it works")
    action("list", "list the keys").add_argument(
        "--all", action="store_true", help="also those that are revoked or expired"
    )
    revoke = action("revoke", "end a key at once, for good")
    rotate = action("rotate", "give a key another secret")
    rotate.add_argument("--keep", metavar="FOR", help="1h: how long the old secret works yet (default: 0s)")
    for one in (revoke, rotate):
        one.add_argument("key", help="its id or name")


def _tasks_parser(tasks: argparse.ArgumentParser) -> None:
    tasks.add_argument(
        "--uncertain", action="store_true", help="only those of which nobody knows whether they were ordered"
    )
    actions = tasks.add_subparsers(dest="action", metavar="ACTION")

    def action(name: str, does: str) -> argparse.ArgumentParser:
        one = actions.add_parser(name, parents=[_common()], help=does, description=f"{does.capitalize()}.")
        one.add_argument("id", help="the task")
        return one

    action("show", "tell all of one task, and how its callback went")
    resolve = action("resolve", "say what has become of an uncertain task")
    fate = resolve.add_mutually_exclusive_group(required=True)
    fate.add_argument("--failed", action="store_true", help="the vendor did not take it: the task has failed")
    fate.add_argument(
        "--paid", action="store_true", help="the vendor took it and was paid: the pictures are lost"
    )
    fate.add_argument("--again", action="store_true", help="the vendor did not take it: order it again")
    fate.add_argument("--number", metavar="N", help="the vendor took it, under this number: ask for that job")


def _common() -> _Parser:
    """What every command takes, before its name or after: so one says nothing where the other was given."""
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument(
        "--config", type=Path, metavar="FILE", help="providers.yaml (default: ./providers.yaml)"
    )
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    return common


def _help(
    parser: argparse.ArgumentParser, commands: Mapping[str, argparse.ArgumentParser], topics: Sequence[str]
) -> int:
    if topics and topics[0] not in commands:
        parser.error(f"there is no command {topics[0]!r}; there are {', '.join(commands)}")
    parser.parse_args([*topics, "--help"])
    return 0


class _ShowVersion(argparse.Action):
    """Looks the version up only when asked: that takes longer than all the rest here."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        print(_installed())
        parser.exit()


def _installed() -> str:
    from importlib.metadata import version

    return version("dragoman")


def _serve(options: argparse.Namespace) -> int:
    gc.disable()  # until all is loaded: nothing of that is garbage, and looking for some takes a tenth of it
    from proxy.command.serve import serve

    return serve(options.config, options.host, options.port, options.workers, simulate=options.simulate)


def _check(options: argparse.Namespace) -> int:
    from proxy.config.command import Ask, check

    ask: Ask | None = None
    if options.online:
        from proxy.command import online

        ask = online.ask
    return check(options.file or options.config, as_json=options.json, strict=options.strict, ask=ask)


def _models(options: argparse.Namespace) -> int:
    from proxy.config.command import models

    return models(options.config, as_json=options.json)


def _schema(options: argparse.Namespace) -> int:
    from proxy.config.command import schema

    return schema()


def _explain(options: argparse.Namespace) -> int:
    from proxy.command.explain import explain

    return explain(
        options.config,
        options.model,
        options.prompt or "Hello",
        options.request,
        dialect=options.dialect,
        stream=options.stream,
        as_json=options.json,
    )


def _try(options: argparse.Namespace) -> int:
    from proxy.command.attempt import attempt

    return attempt(
        options.config,
        options.model,
        options.prompt,
        options.image,
        options.out,
        dialect=options.dialect,
        stream=options.stream,
        as_json=options.json,
        simulate=options.simulate,
        verbose=options.verbose,
        record=options.record,
    )


def _keys(options: argparse.Namespace) -> int:
    from proxy.command import keys

    def command(stored: keys.Keys) -> int:
        if options.action == "create":
            return stored.create(options.name, keys.asked(options))
        if options.action == "revoke":
            return stored.revoke(options.key)
        if options.action == "rotate":
            return stored.rotate(options.key, options.keep)
        return stored.show(ended=options.all)

    return keys.run(options.config, command, as_json=options.json)


def _usage(options: argparse.Namespace) -> int:
    from proxy.command.usage import usage

    return usage(
        options.config,
        options.by,
        options.since,
        options.until,
        options.key,
        options.into,
        with_drift=options.drift,
        as_json=options.json,
        as_csv=options.csv,
    )


def _migrate(options: argparse.Namespace) -> int:
    from proxy.command.migrate import run

    return run(options.config)


def _prices(options: argparse.Namespace) -> int:
    from proxy.command.prices import update

    return update(options.config)


def _simulate(options: argparse.Namespace) -> int:
    from proxy.command.serve import simulate

    return simulate(options.port, options.vendor)


def _version(options: argparse.Namespace) -> int:
    print(f'{{"version": "{_installed()}"}}' if options.json else _installed())
    return 0


def _tasks(options: argparse.Namespace) -> int:
    from proxy.command import tasks

    return tasks.run(options.config, options)


_COMMANDS = {
    "serve": _serve,
    "check": _check,
    "models": _models,
    "schema": _schema,
    "explain": _explain,
    "try": _try,
    "keys": _keys,
    "tasks": _tasks,
    "simulate": _simulate,
    "migrate": _migrate,
    "prices": _prices,
    "usage": _usage,
    "version": _version,
}

if __name__ == "__main__":
    sys.exit(main())
