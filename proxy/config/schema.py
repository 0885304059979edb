"""The JSON Schema of providers.yaml, for editors that complete and underline."""

from __future__ import annotations

from typing import Any

from proxy.config.models import Config


def schema() -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(by_alias=True),
        "title": "providers.yaml",
    }
