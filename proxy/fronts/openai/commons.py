"""What OpenAI's endpoints share: their errors, their spelling, and that only a chat has chores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from proxy.fronts.base import Chore, Header, Kind, Parsed
from proxy.fronts.openai import error_reply, spelling


class Commons:
    """`Refusing`, in OpenAI's words."""

    words = error_reply.CHAT_WORDS
    kind: Kind = "chat"

    def refusal(
        self, error: BaseException, request_id: str, parsed: Parsed[Any, Any] | None
    ) -> tuple[int, list[Header], bytes]:
        return error_reply.render(spelling.spelled_error(error, parsed), request_id, self.words)

    def spelled(self, attributes: Iterable[str], parsed: Parsed[Any, Any]) -> tuple[str, ...]:
        return spelling.spelled_all(tuple(attributes), parsed)

    def chore(self, parsed: Parsed[Any, Any]) -> Chore | None:
        return None


COMMONS = Commons()
