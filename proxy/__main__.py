"""The command line. Results go to stdout, talk to stderr; exit 0, 1 (your file or request), 2 (usage),
3 (upstream)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    command = _COMMANDS[options.command]
    try:
        return command(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        print(f"{error.filename or options.command}: {error.strerror or error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dragoman", description="An OpenAI-compatible gateway to Gemini and the image vendors."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", type=Path, metavar="FILE", help="providers.yaml (default: ./providers.yaml)"
    )
    common.add_argument("--json", action="store_true", help="print JSON")

    serve = commands.add_parser("serve", parents=[common], help="run the gateway")
    serve.add_argument("--host")
    serve.add_argument("--port", type=int)
    serve.add_argument("--workers", type=int, metavar="N")
    serve.add_argument(
        "--simulate", action="store_true", help="all vendors simulated on loopback; no keys needed"
    )

    check = commands.add_parser("check", parents=[common], help="check providers.yaml like a compiler")
    check.add_argument("--strict", action="store_true", help="warnings are errors")
    commands.add_parser("models", parents=[common], help="list the models and where they go")

    explain = commands.add_parser(
        "explain", parents=[common], help="show the plan and the exact upstream request; nothing is sent"
    )
    explain.add_argument("model")
    explain.add_argument("prompt", nargs="?", default="Hello")
    explain.add_argument("--request", type=Path, metavar="FILE", help="a chat completion request as JSON")
    explain.add_argument("--stream", action="store_true")

    attempt = commands.add_parser(
        "try", parents=[common], help="send one prompt through the gateway's own path"
    )
    attempt.add_argument("model")
    attempt.add_argument("prompt")
    attempt.add_argument("--image", type=Path, action="append", default=[], metavar="FILE")
    attempt.add_argument("--stream", action="store_true")
    attempt.add_argument(
        "--out", type=Path, metavar="FILE", help="where to save the picture; further ones beside it"
    )
    attempt.add_argument("--simulate", action="store_true")

    simulate = commands.add_parser("simulate", parents=[common], help="run the simulated vendors alone")
    simulate.add_argument("vendor", nargs="?", help="print the address of this one only")
    simulate.add_argument("--port", type=int, default=8090)
    commands.add_parser("schema", parents=[common], help="print the JSON Schema of providers.yaml")
    commands.add_parser("version", parents=[common], help="print the version")
    return parser


def _serve(options: argparse.Namespace) -> int:
    from proxy.command.serve import serve

    return serve(options.config, options.host, options.port, options.workers, simulate=options.simulate)


def _check(options: argparse.Namespace) -> int:
    from proxy.config.command import check

    return check(options.config, as_json=options.json, strict=options.strict)


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
        options.prompt,
        options.request,
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
        stream=options.stream,
        as_json=options.json,
        simulate=options.simulate,
    )


def _simulate(options: argparse.Namespace) -> int:
    from proxy.command.serve import simulate

    return simulate(options.port, options.vendor)


def _version(options: argparse.Namespace) -> int:
    from importlib.metadata import version

    print(version("dragoman"))
    return 0


_COMMANDS = {
    "serve": _serve,
    "check": _check,
    "models": _models,
    "schema": _schema,
    "explain": _explain,
    "try": _try,
    "simulate": _simulate,
    "version": _version,
}

if __name__ == "__main__":
    sys.exit(main())
