"""Anthropic's dialect where it has no front of its own."""

from __future__ import annotations

from typing import Any

from proxy.fronts.anthropic import error_reply, files_reply, models_reply
from proxy.fronts.base import Header, Parsed
from proxy.fronts.dialects import Dialect, below


class Commons:
    """`Refusing`, in Anthropic's words."""

    def refusal(
        self, error: BaseException, request_id: str, parsed: Parsed[Any, Any] | None
    ) -> tuple[int, list[Header], bytes]:
        return error_reply.render(error, request_id, parsed)


ANTHROPIC = Dialect(
    Commons(),
    models_reply,
    files_reply,
    paths=below("messages", "complete"),
    headers=(b"anthropic-version",),
)
