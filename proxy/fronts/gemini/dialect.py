"""Google's dialect where it has no front of its own."""

from __future__ import annotations

import re
from typing import Final

from proxy.fronts.dialects import Dialect
from proxy.fronts.gemini import files_reply, models_reply
from proxy.fronts.gemini.commons import SPEAKING

# What may be asked of a model by the word behind its last colon.
VERBS: Final = (
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
)

GEMINI = Dialect(
    SPEAKING,
    models_reply,
    files_reply,
    # Google's versions, its uploads, and its verbs: names of models have colons too, as `llama3:8b`.
    re.compile(r"/+(?:v1beta|v1alpha|upload)(?:/|\Z)|.*:(?:\w+(?:Contents?|Tokens|Running)|predict)/*\Z"),
    headers=(b"x-goog-api-key", b"x-goog-api-client"),
    queries=("key",),
)
