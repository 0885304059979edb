"""The cure for values that are YAML and not what was meant: commas in numbers, missing spaces, other words.

What a value says is never repeated, for it may be a secret in the wrong place; but for numbers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from proxy.checking.mistakes import Path

_FLAGS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
_AMOUNT = re.compile(r"\d{1,9}(?:[.,]\d{1,9})?")
_WITH_UNIT = re.compile(r"(\d{1,9}) ?[a-z%]{1,12}")
_CLOSE_KEY = re.compile(r"[A-Za-z_][\w-]*:(?=[^\s/])")


# Keys as other products call them, and ours: the first of these that is known at the place.
_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "api_base": ("base_url",),
    "apibase": ("base_url",),
    "baseurl": ("base_url",),
    "endpoint": ("base_url",),
    "url": ("base_url", "public_url"),
    "api_key": ("keys", "key"),
    "api_keys": ("keys",),
    "apikey": ("keys", "key"),
    "token": ("keys", "key"),
    "type": ("wire", "profile"),
    "kind": ("wire", "profile"),
    "model": ("use", "targets"),
    "provider": ("targets",),
    "fallbacks": ("fallback",),
    "retries": ("attempts",),
    "max_retries": ("attempts",),
    "num_retries": ("attempts",),
    "rpm": ("requests",),
    "tpm": ("tokens",),
    "max_parallel_requests": ("concurrent",),
    "prompt": ("input",),
    "prompt_tokens": ("input",),
    "input_cost_per_token": ("input",),
    "completion": ("output",),
    "completion_tokens": ("output",),
    "output_cost_per_token": ("output",),
    "interval": ("every",),
    "timeout": ("give_up", "total", "timeouts"),
    "database_url": ("state",),
    "database": ("state",),
    "redis": ("shared",),
    "redis_url": ("shared",),
    "external_url": ("public_url",),
    "allow_origins": ("origins",),
}
# The sections of LiteLLM's file, and what stands in its entries of models.
_LITELLMS = frozenset(
    {
        "model_list",
        "litellm_params",
        "litellm_settings",
        "general_settings",
        "router_settings",
        "environment_variables",
    }
)
_GOOGLES = ("google", "vertex")  # how names of its services begin
# What a mapping looks like, for who wrote a list or a word in its place.
_EXAMPLES = {
    "keys": "{name: app, key: env:DRAGOMAN_KEY}",
    "models": "{targets: [provider/upstream-model]}",
    "providers": "{wire: openai, base_url: https://host/v1, keys: [env:NAME]}",
    "limits": "{requests: 60/min, tokens: 100000/min}",
    "budget": "{amount: 20, currency: USD, period: month}",
    "poll": "{every: 3s, give_up: 9m}",
    "retry": "{attempts: 3}",
    "timeouts": "{first_byte: 60s, total: 10m}",
    "in_flight": "{requests: 1000}",
    "cors": '{origins: ["https://app.example"]}',
    "files": "{ttl: 24h}",
    "auth": "{mode: keys}",
    "server": "{port: 8080}",
}
_LISTS = {
    "keys": "[env:NAME]",
    "targets": "[provider/upstream-model]",
    "fallback": "[provider/upstream-model]",
    "aliases": "[gpt-4o-mini]",
    "models": '["gemini-*"]',
    "origins": "[https://app.example]",
}


def of_synonym(name: str, known: Collection[str]) -> str:
    """What another product's key is called here."""
    if name in _LITELLMS:
        return "it is LiteLLM's; docs/from-other-gateways.md has what is called how here"
    words = _SYNONYMS.get(name.lower().replace("-", "_"), ())
    meant = next((word for word in words if word in known), "")
    unit = ", per million tokens" if name.endswith("_per_token") else ""
    return f"it is called {meant} here{unit}" if meant else ""


def of_stranger(name: str, known: Collection[str], neighbours: Any) -> str:
    """An unknown key that is half of a number with a comma, or a key and its value in one; "" for others."""
    names = list(neighbours) if isinstance(neighbours, Mapping) else []
    if name.isdecimal() and name in names[1:]:
        whole = neighbours[names[names.index(name) - 1]]
        if isinstance(whole, int) and not isinstance(whole, bool):
            return f"a number has a point, no comma: write {whole}.{name}"
    if list(known) == ["everyone"]:
        return f"write everyone: {{{name}: ...}}: these limits hold for each key"
    if (word := name.split(" ", 1)[0]) != name and word in known:
        return f'write a colon after "{word}"'
    head, colon, _ = name.partition(":")
    return f'write a space after "{head}:"' if colon and head in known else ""


def of_missing(parent: Path, sections: Collection[str]) -> str:
    """A section of the file that stands too deep is taken for an entry of the one above it."""
    if len(parent) == 2 and parent[0] in ("models", "providers") and parent[1] in sections:
        return f"{parent[1]} is a section of the file: begin it in the first column"
    return ""


def of_whole(path: Path, value: Any, inside: Collection[str], *, is_list: bool) -> str:
    """A mapping or a list was wanted and something else came; `inside` are the keys of that mapping."""
    if path and path[-1] in inside:
        return f"{path[-1]} belongs into an entry with a name; indent it two spaces deeper than the name"
    if value is None:
        return "what belongs to it stands on the next lines, two spaces deeper; or delete the key"
    if isinstance(value, str) and (close := _CLOSE_KEY.match(value)) is not None:
        return f'write a space after "{close[0]}"'
    if is_list:
        if path == ("keys",):
            return f"write each as an item, after a hyphen: - {_EXAMPLES['keys']}"
        shape = _LISTS.get(str(path[-1]), "[a, b]")
        return f"write {shape}, or each item on its own line after a hyphen"
    if len(path) == 1 and path[0] in ("models", "providers"):
        return f"write each below its own name, without a hyphen: name: {_EXAMPLES[path[0]]}"
    if len(path) == 2 and path[0] in ("keys", "models", "providers"):
        entry = _EXAMPLES[str(path[0])]
        return f"write {entry}" if isinstance(path[1], int) else f"write {path[1]}: {entry}"
    example = _EXAMPLES.get(str(path[-1])) if path else None
    return f"write {path[-1]}: {example}" if example else ""


def of_reference(value: Any) -> str:
    """Text was wanted and `env: NAME` came, which YAML takes for a mapping."""
    kind = next(iter(value), "") if isinstance(value, Mapping) and len(value) == 1 else ""
    return {"env": "write env:NAME, without a space", "file": "write file:PATH, without a space"}.get(
        kind, ""
    )


def of_wire(name: str, profiles: Collection[str]) -> str:
    """A word that names no wire: a profile, or a vendor."""
    if name in profiles:
        return f"it is a profile: write profile: {name}"
    if name.lower().startswith(_GOOGLES):
        return "Google's own dialect is wire: gemini"
    return "whatever speaks OpenAI's dialect is wire: openai, with its base_url; other vendors are a profile"


def of_word(kind: str, value: Any) -> str:
    """A flag or a number was wanted and text came."""
    if not isinstance(value, str):
        return ""
    word = value.strip().lower()
    if kind == "bool_type":
        plain = _FLAGS.get(word, word if word in ("true", "false") else "")
        return f"write {plain}, without quotes" if plain else ""
    if kind in ("int_type", "float_type") and (amount := _AMOUNT.fullmatch(word)) is not None:
        return f"write {amount[0].replace(',', '.')}, without quotes"
    if kind in ("int_type", "float_type") and (counted := _WITH_UNIT.fullmatch(word)) is not None:
        return f"write {counted[1]}, without a unit"
    return ""


def of_price(path: Path, value: Any) -> str:
    """An amount of money with a sign, a unit or a comma."""
    is_amount = "price" in path[:-1] and path[-1] not in ("per", "currency", "from", "tokens")
    amount = _AMOUNT.search(value.replace("_", "")) if is_amount and isinstance(value, str) else None
    if amount is None:
        return ""
    hint = f"write {amount[0].replace(',', '.')}: no sign of a currency, no unit, and a point"
    return f"{hint}; the currency has a key of its own, price.currency"
