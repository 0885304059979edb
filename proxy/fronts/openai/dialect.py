"""OpenAI's dialect where it has no front of its own: what everybody is answered in who names no other."""

from __future__ import annotations

from proxy.fronts.dialects import Dialect, below
from proxy.fronts.openai import files_reply, models_reply
from proxy.fronts.openai.commons import COMMONS

OPENAI = Dialect(
    COMMONS,
    models_reply,
    files_reply,
    paths=below(
        "assistants", "audio", "batches", "chat", "completions", "containers", "conversations", "embeddings",
        "evals", "fine_tuning", "images", "moderations", "realtime", "responses", "threads", "uploads",
        "vector_stores", "videos",
    ),
)  # fmt: skip
