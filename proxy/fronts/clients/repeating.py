"""The clients that ask again after any 5xx, whatever `x-should-retry` says, and do not say that they do.

Data: a closed table. All others heed the header, name their tries, or do not ask again.
"""

from __future__ import annotations

import re

_AGENT_BYTES = 300

# By the User-Agent, and for how many seconds after the first failure they go on with it.
_CLIENTS = (
    # ai 6.0.326: twice, after 2 and 4 s
    (re.compile(rb"^ai/\d|\bai-sdk[/-]"), 15.0),
    # langchain-google-genai 4.4.3: five times, the last after 16 s
    (re.compile(rb"\bgoogle-genai-sdk/"), 60.0),
    # @langchain/core 1.4.0: six times, the last after 32 to 64 s
    (re.compile(rb"\blangchainjs-"), 150.0),
)


def for_s(agent: bytes) -> float | None:
    """For how long the client with this User-Agent asks again without a word; None: it does not."""
    said = agent[:_AGENT_BYTES]
    return next((seconds for named, seconds in _CLIENTS if named.search(said)), None)
