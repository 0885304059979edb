"""The command in a process that cannot import Pillow."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from proxy import __main__ as command


def main(arguments: Sequence[str]) -> int:
    sys.modules["PIL"] = None  # type: ignore[assignment]
    return command.main(arguments)
