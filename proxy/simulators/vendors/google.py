"""What resellers read out of a request in Google's dialect."""

from __future__ import annotations

from typing import Any


def said_in(contents: Any) -> str:
    """The text of the last turn; "" where there is none."""
    turns = contents if isinstance(contents, list) else [contents]
    parts = turns[-1].get("parts", []) if turns and isinstance(turns[-1], dict) else []
    parts = parts if isinstance(parts, list) else [parts]
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part)
