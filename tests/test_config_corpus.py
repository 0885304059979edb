"""Each mistake has one code and one position: a right file, 80 small changes, and what `check` says to each.

In a change `▸` stands before the character that the caret must point at; it is not part of the file.
Codes are those of gateways.md D3, with E100, E106, N107, W108, E115 and W124 for what it does not list.
"""

from pathlib import Path

import pytest

from proxy.config import load

RIGHT = """\
version: 1
server:
  host: 127.0.0.1
  port: 8080
  body_limit: 64MiB
  drain: 30s
auth:
  mode: keys
  admin: env:ADMIN?
keys:
  - name: app
    key: env:APP_KEY
    models: ["*"]
    limits: {requests: 600/min, concurrent: 32}
defaults:
  timeouts: {connect: 5s, first_byte: 120s}
  retry: {attempts: 3, budget: 20%}
  heartbeat: 15s
providers:
  google:
    wire: gemini
    base_url: https://generativelanguage.googleapis.com/v1beta
    keys: [env:GOOGLE_A, env:GOOGLE_B]
    options: {schema_mode: jsonschema}
  lan:
    wire: openai
    base_url: http://10.0.0.7:8000/v1
    keys: [env:LAN_KEY]
    private: true
  relay:
    profile: house
    base_url: https://relay.example/api
    keys: [env:RELAY_KEY?]
profiles:
  house:
    options: {reply_type: [json, stream, async]}
    surfaces:
      image:
        submit: {request: POST /draw, body: {prompt: $prompt}}
        result: {images: "images[].url"}
      wan:
        speaks: gemini
        path: /wan
models:
  flash:
    aliases: [gpt-4o-mini, quick]
    targets: [google/gemini-3-flash-preview]
    defaults: {reasoning_effort: low, aspect_ratio: 16:9}
  banana:
    aliases: [paint]
    targets:
      - google/gemini-3-pro-image
      - {use: relay.image/banana, weight: 3}
    fallback: [lan/banana]
    price: {image: 0.04}
    poll: {every: 4s, give_up: 9m}
"""
ENVIRON = {"APP_KEY": "app-1", "GOOGLE_A": "a", "GOOGLE_B": "b", "LAN_KEY": "l"}

# code, what to replace, by what
CASES = [
    # the text
    ("E100", "version: 1\n", "version: 1\n▸\tserver: 1\n"),
    ("E100", 'models: ["*"]', 'models: ["*"\n    ▸limits: 1'),
    ("E100", "name: app", "name: ▸*nobody"),
    ("E100", "drain: 30s", "drain: ▸!!python/object:os.system 30s"),
    ("E100", "drain: 30s", "drain: ▸\x0130s"),
    ("E102", "  port: 8080\n", "  port: 8080\n  ▸port: 8081\n"),
    ("E102", "  banana:\n    aliases", "  ▸flash: {targets: [lan/a]}\n  banana:\n    aliases"),
    ("E102", "{requests: 600/min, concurrent: 32}", "{concurrent: 1, ▸concurrent: 32}"),
    # names of keys
    ("E101", "targets: [google/gemini-3-flash-preview]", "targets: [google/x]\n    ▸targetz: [google/x]"),
    ("E101", "version: 1\n", "version: 1\n▸provider: {}\n"),
    ("E101", "  drain: 30s", "  drain: 30s\n  ▸bind: 127.0.0.1:8080"),
    ("E101", "{connect: 5s,", "{connect: 5s, ▸read: 5s,"),
    ("E101", "mode: keys", "mode: keys\n  ▸modes: keys"),
    ("E101", "concurrent: 32", "concurrent: 32, ▸image: 200/day"),
    ("E101", "name: app\n", "name: app\n    ▸model: flash\n"),
    ("E101", "private: true", "private: true\n    ▸privat: true"),
    ("E101", "weight: 3", "weight: 3, ▸wieght: 3"),
    ("E101", "reasoning_effort: low,", "▸reasoning_efort: low,"),
    ("E101", "{every: 4s,", "{▸evry: 4s,"),
    ("E101", "{schema_mode: jsonschema}", "{▸schema_modus: jsonschema}"),
    ("E101", "    private: true", "    private: true\n    options: {▸schema_mode: openapi}"),
    ("E101", "    fallback:", "    options: {▸reply: json}\n    fallback:"),
    ("E101", "attempts: 3", "attempts: 3, ▸when: [timeout]"),
    # values
    ("E103", "aspect_ratio: 16:9", "aspect_ratio: ▸969"),
    ("E103", "version: 1", "version: ▸2"),
    ("E103", "port: 8080", 'port: ▸"8080"'),
    ("E103", "port: 8080", "port: ▸65536"),
    ("E103", "mode: keys", "mode: ▸opened"),
    ("E103", "private: true", "private: ▸yes"),
    ("E103", "name: app", "name: ▸12"),
    ("E103", 'models: ["*"]', "models: ▸flash"),
    ("E103", 'models: ["*"]', 'models: ["*", ▸7]'),
    ("E103", "attempts: 3", "attempts: ▸0"),
    ("E103", "attempts: 3", "attempts: ▸3.5"),
    ("E103", "wire: gemini", "wire: ▸gemni"),
    ("E103", "key: env:APP_KEY", "key: ▸12345678"),
    ("E103", "key: env:APP_KEY", "key: ▸[env:APP_KEY]"),
    ("E103", "http://10.0.0.7:8000/v1", "▸10.0.0.7:8000/v1"),
    ("E103", "https://relay.example/api", "▸https://me:pw@relay.example/api"),
    ("E103", "weight: 3", "weight: ▸-1"),
    ("E103", "weight: 3", "weight: ▸many"),
    ("E103", "- google/gemini-3-pro-image", "- ▸5"),
    ("E103", "targets: [google/gemini-3-flash-preview]", "targets: ▸[]"),
    ("E103", "reasoning_effort: low", "reasoning_effort: ▸lowish"),
    ("E103", "defaults: {reasoning_effort: low,", "defaults: {temperature: ▸3,"),
    ("E103", "schema_mode: jsonschema", "schema_mode: ▸json"),
    ("E103", "schema_mode: jsonschema", "store: ▸1"),
    ("E103", "schema_mode: jsonschema", "aliases: ▸[a]"),
    ("E103", "aliases: [paint]", "aliases: [▸5]"),
    ("E103", "[lan/banana]", "▸lan/banana"),
    ("E103", "- google/gemini-3-pro-image", "- {use: ▸5}"),
    ("E103", "give_up: 9m", "give_up: ▸0s"),
    ("E103", "[env:RELAY_KEY?]", "[env:RELAY_KEY?]\n    options: {reply_type: ▸xml}"),
    ("E103", "connect: 5s", "connect: ▸0s"),
    ("E103", "    private: true", "    private: true\n    auth: {header: ▸x key}"),
    ("E103", "    private: true", '    private: true\n    auth: {header: x-key, prefix: ▸"a\\n"}'),
    ("E103", "    private: true", '    private: true\n    auth: {query: ▸""}'),
    ("E103", "    private: true", "    private: true\n    auth: {grant: ▸service_acount}"),
    ("E103", "    private: true", "    private: true\n    auth: ▸x-key"),
    ("E101", "    private: true", "    private: true\n    auth: {▸heder: x-key, query: key}"),
    ("E101", "    private: true", '    private: true\n    auth: {query: key, ▸prefix: "Key "}'),
    ("E101", "    private: true", "    private: true\n    auth: {header: x-key, ▸scope: all}"),
    ("E106", "    private: true", "    private: true\n    ▸auth: {}"),
    ("E106", "    private: true", '    private: true\n    ▸auth: {prefix: "Key "}'),
    ("E106", "    private: true", "    private: true\n    ▸auth: {header: x-key, query: key}"),
    ("E103", "keys: [env:LAN_KEY]", "keys: [▸env:LAN_KEY]\n    auth: {grant: service_account}"),
    (
        "E106",
        "  lan:",
        "  ▸google2: {wire: gemini, base_url: https://x.example/v1, auth: {grant: service_account}}\n  lan:",
    ),
    ("E103", "  relay:\n", "  ▸re.lay: {wire: openai, base_url: https://x.example/v1}\n  relay:\n"),
    ("E103", "[gpt-4o-mini, quick]", "[gpt-4o-mini, ▸quick@parts]"),
    ("E103", "auth:\n  mode: keys\n  admin: env:ADMIN?\n", "auth:▸\n"),
    # secrets
    ("E104", "env:GOOGLE_B", "▸env:GOOGLE_C"),
    ("E104", "admin: env:ADMIN?", "admin: ▸env:ADMIN"),
    ("E104", "admin: env:ADMIN?", "admin: ▸env:AD-MIN"),
    ("E105", "env:GOOGLE_B", "▸file:/nonexistent/key"),
    ("E105", "key: env:APP_KEY", "key: ▸file:."),
    ("W108", "key: env:APP_KEY", "key: ▸env:OTHER_KEY"),
    ("W142", "key: env:APP_KEY", "key: ▸sk-abcdefghijkl"),
    ("W142", "env:GOOGLE_B", "▸AIzaSyAbcdefghijklm"),
    ("W142", "admin: env:ADMIN?", "admin: ▸letmein"),
    ("W142", "drain: 30s", "shared: ▸redis://user:secret@cache.example/0"),
    ("W142", "    private: true", "    private: true\n    headers: {x-api-key: ▸abcdef, x-team: blue}"),
    # what is missing
    ("E106", "  - name: app\n    key: env:APP_KEY", "  - ▸name: app"),
    ("E106", "  - name: app\n    key:", "  - ▸key:"),
    ("E106", "{use: relay.image/banana, weight: 3}", "▸{weight: 3}"),
    (
        "E106",
        "  flash:\n    aliases: [gpt-4o-mini, quick]\n    targets: [google/gemini-3-flash-preview]",
        "  ▸flash:",
    ),
    ("E106", "  lan:\n    wire: openai\n", "  ▸lan:\n"),
    ("E106", "  relay:\n    profile: house", "  ▸relay:\n    wire: openai\n    profile: house"),
    (
        "E106",
        "  relay:\n    profile: house\n    base_url: https://relay.example/api",
        "  ▸relay:\n    profile: house",
    ),
    # names that must meet
    ("E110", "relay.image/banana", "▸relay.imgae/banana"),
    ("E110", "[lan/banana]", "[▸lann/banana]"),
    ("E110", "[lan/banana]", "[▸relay/banana]"),
    ("E110", "[lan/banana]", "[▸lan.text/banana]"),
    ("E110", "[lan/banana]", "[▸flesh]"),
    ("E110", "[google/gemini-3-flash-preview]", "[▸gemini-3-flash-preview]"),
    ("E110", "\ndefaults:\n", "\ndefaults:\n  chores: ▸flahs\n"),
    ("E110", "    aliases: [gpt-4o-mini, quick]", "    aliases: [gpt-4o-mini, quick]\n    chores: ▸lann/x"),
    ("E103", "    aliases: [gpt-4o-mini, quick]", "    aliases: [gpt-4o-mini, quick]\n    chores: ▸[flash]"),
    ("E110", "\ndefaults:\n", "\ndefaults:\n  chores: ▸google/\n"),
    ("E110", "    aliases: [gpt-4o-mini, quick]", "    aliases: [gpt-4o-mini, quick]\n    chores: ▸/x"),
    ("E110", "\ndefaults:\n", "\ndefaults:\n  model: ▸flahs\n"),
    ("E110", "\ndefaults:\n", "\ndefaults:\n  image_model: ▸lann/x\n"),
    ("E110", "aliases: [paint]", "aliases: [pai*]", "\ndefaults:\n", "\ndefaults:\n  model: ▸pai*\n"),
    ("E110", "aliases: [paint]", "aliases: [pai*]", "[lan/banana]", "[▸pai*]"),
    ("W151", "\ndefaults:\n", "\ndefaults:\n  image_model: ▸quick\n"),
    ("W151", "\ndefaults:\n", "\ndefaults:\n  image_model: ▸google/gemini-2.5-pro\n"),
    ("E110", "[google/gemini-3-flash-preview]", "[▸google/]"),
    ("E110", "[google/gemini-3-flash-preview]", "[▸banana]"),
    ("E110", "[lan/banana]", "[▸/banana]"),
    ("E111", "aliases: [paint]", "aliases: [paint, ▸quick]"),
    ("E111", "aliases: [paint]", "aliases: [▸flash]"),
    ("E111", "aliases: [paint]", "aliases: [paint, ▸paint]"),
    ("E111", "aliases: [paint]", "aliases: [pai*, ▸pai*]"),
    ("E111", "[gpt-4o-mini, quick]", "[gpt-4o*]", "aliases: [paint]", "aliases: [paint, ▸gpt-4o**]"),
    ("E103", "aliases: [paint]", 'aliases: [▸"*"]'),
    ("E103", "aliases: [paint]", "aliases: [▸pain?]"),
    ("E103", "aliases: [paint]", "aliases: [▸pai *]"),
    ("E103", "models:\n  flash:", "models:\n  ▸fl*:"),
    (
        "E111",
        "limits: {requests: 600/min, concurrent: 32}\n",
        "limits: {}\n  - {name: ▸app, key: env:LAN_KEY}\n",
    ),
    ("W130", "    price: {image: 0.04}\n", "    ▸price: {input: 1, output: 2}\n"),
    ("W130", "  banana:\n", "  ▸banana:\n", "    price: {image: 0.04}\n", ""),
    ("W130", "weight: 3}", "weight: 3, price: {output: 1}}", "    price: {image", "    ▸price: {image"),
    (
        "W132",
        "concurrent: 32}\n",
        "concurrent: 32}\n    budget: {amount: 5, currency: ▸EUR, period: day}\n",
    ),
    (
        "E103",
        "concurrent: 32}\n",
        "concurrent: 32}\n    budget: {amount: ▸20 USD, currency: USD, period: day}\n",
    ),
    (
        "E103",
        "concurrent: 32}\n",
        "concurrent: 32}\n    budget: {amount: 5, currency: USD, period: ▸week}\n",
    ),
    (
        "E106",
        "concurrent: 32}\n",
        "concurrent: 32}\n    ▸budget: {amount: 5, currency: USD}\n",
    ),
    ("W131", "16:9}\n", "16:9}\n    ▸price: {input: 1}\n"),
    ("E130", "price: {image: 0.04}", "price: [{image: 1}, ▸{image: 2}]"),
    ("E103", "price: {image: 0.04}", "price: [{image: 1}, {image: 2, from: ▸31.12.2026}]"),
    ("E103", "price: {image: 0.04}", "price: {image: ▸{8K: 1}}"),
    ("E103", "price: {image: 0.04}", "price: {image: {1K: ▸0.04€}}"),
    ("E101", "price: {image: 0.04}", "price: {image: 1, ▸form: 2027-01-01}"),
    ("E106", "price: {image: 0.04}", "price: {image: 1, ▸above: {input: 2}}"),
    ("E103", "weight: 3}", "weight: 3, price: ▸free}"),
    ("E112", "fallback: [lan/banana]", "fallback: [▸paint]"),
    (
        "E113",
        "    targets:\n      - google/gemini-3-pro-image\n      - {use: relay.image/banana, weight: 3}",
        "    ▸targets: [{use: lan/a, weight: 0}, {use: lan/b, weight: 0}]",
    ),
    ("E115", "profile: house", "profile: ▸hause"),
    ("E124", "give_up: 9m", "give_up: ▸11m"),
    ("W124", "give_up: 9m", "give_up: ▸10m"),
    (
        "W150",
        "    private: true\n  relay:",
        "    private: true\n    options: {stream: only}\n  relay:",
        "fallback: [lan/banana]",
        "fallback: [▸lan/banana]",
    ),
    # inside a profile
    ("E101", "        speaks: gemini\n", "        speaks: gemini\n        ▸paths: /wan\n"),
    ("E122", "{prompt: $prompt}", "{prompt: ▸$promtp}"),
    ("E123", 'images: "images[].url"', 'images: ▸"images[*"'),
    # addresses
    (
        "E140",
        "  host: 127.0.0.1\n  port: 8080\n  body_limit: 64MiB\n  drain: 30s\nauth:\n  mode: keys",
        "  host: 0.0.0.0\nauth:\n  mode: ▸open",
    ),
    ("E141", "https://relay.example/api", "▸http://192.168.1.5/api"),
    ("E141", "https://relay.example/api", "▸http://10.0.0.7:9000/api"),
    (
        "E141",
        "    base_url: http://10.0.0.7:8000/v1\n    keys: [env:LAN_KEY]\n    private: true",
        "    base_url: ▸http://10.0.0.7:8000/v1",
    ),
    # units
    ("E143", "drain: 30s", "drain: ▸30"),
    ("E143", "drain: 30s", 'drain: ▸"5"'),
    ("E143", "connect: 5s", "connect: ▸5sec"),
    ("E143", "heartbeat: 15s", "heartbeat: ▸true"),
    ("E143", "body_limit: 64MiB", "body_limit: ▸67108864"),
    ("E143", "body_limit: 64MiB", "body_limit: ▸64mb"),
    ("E143", "requests: 600/min", "requests: ▸600"),
    ("E143", "requests: 600/min", "requests: ▸600/fortnight"),
    ("E143", "budget: 20%", "budget: ▸0.2"),
    ("E143", "give_up: 9m", "give_up: ▸9 m"),
]


def changed(*changes: str) -> tuple[str, int, int]:
    """The right file after pairs of (old, new), and the line and column where the mark stood."""
    text = RIGHT
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert text.count(old) == 1, f"{old!r} is in the file {text.count(old)} times"
        text = text.replace(old, new)
    before, mark, after = text.partition("▸")
    assert mark
    return before + after, before.count("\n") + 1, len(before) - before.rfind("\n")


def test_the_file_the_changes_start_from_has_no_problems(tmp_path: Path) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text(RIGHT, encoding="utf-8")
    loaded = load(file, ENVIRON)
    assert loaded.problems == []
    assert loaded.config is not None
    assert loaded.off == {}


@pytest.mark.parametrize(
    ("code", "changes"), [pytest.param(code, rest, id=f"{code} {rest[-1]}") for code, *rest in CASES]
)
def test_a_mistake_has_one_code_and_one_position(code: str, changes: list[str], tmp_path: Path) -> None:
    text, line, column = changed(*changes)
    file = tmp_path / "providers.yaml"
    file.write_text(text, encoding="utf-8")
    loaded = load(file, ENVIRON)
    mistakes = [problem for problem in loaded.problems if problem.severity != "note"]
    found = [(problem.code, problem.line, problem.column) for problem in mistakes]
    assert found == [(code, line, column)], "\n".join(problem.render() for problem in loaded.problems)
    assert (loaded.config is None) == (code[0] == "E")
    assert mistakes[0].source_line
