"""What a client of OpenAI's dialects reads of an error."""

from __future__ import annotations

import orjson

from proxy.errors import ProxyError
from proxy.fronts.openai import error_reply


def code_of(error: ProxyError, words: error_reply.Words = error_reply.CHAT_WORDS) -> str | None:
    found: str | None = orjson.loads(error_reply.render(error, words=words)[2])["error"]["code"]
    return found


def picture_code_of(error: ProxyError) -> str | None:
    return code_of(error, error_reply.IMAGE_WORDS)
