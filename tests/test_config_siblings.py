"""Mistakes that read well: place, cause and cure are told in the words of this product."""

from pathlib import Path

import pytest

from proxy.config import load

FILE = """version: 1
server: {port: 8080}
keys: [{name: app, key: env:KEY}]
providers:
  google: {wire: gemini, base_url: "https://generativelanguage.googleapis.com/v1beta", keys: [env:A]}
  lan: {wire: openai, base_url: "http://10.0.0.7:8000/v1", keys: [env:B?], private: true}
models:
  flash: {aliases: [gpt-4o*], targets: [google/gemini-3-flash-preview]}
"""
SERVER, KEY, LAN = "port: 8080", "key: env:KEY", "private: true"
GOOGLE = "https://generativelanguage.googleapis.com/v1beta"
MODEL = "targets: [google/gemini-3-flash-preview]"

# What stands there, and what is written in its place, in which a mark ^ stands before the mistake; its code;
# what is wrong; what to do.
ROWS = [
    (SERVER, "host: ^http://127.0.0.1", "E103", "a host alone", "write 127.0.0.1 or 0.0.0.0"),
    (SERVER, "host: ^127.0.0.1:8080", "E103", "a host alone", "the port stands in server.port"),
    (SERVER, "host: ^''", "E103", "a host alone", "write 127.0.0.1"),
    (SERVER, "public_url: ^ai.example.com", "E103", "an address like", "begin it with https://"),
    (SERVER, "public_url: ^https://a.example/v1", "W144", "to /v1, which is added", "write https://a.example"),
    (SERVER, "state: ^'mysql://h/d'", "E103", "SQLite or PostgreSQL", "sqlite:./state/dragoman.db"),
    (SERVER, "state: ^./dragoman.db", "E103", "SQLite or PostgreSQL", "postgresql://host/name"),
    (SERVER, "state: ^'sqlite:///./state/dragoman.db'", "E103", "no file", "sqlite:./state/dragoman.db"),
    (SERVER, "state: ^'sqlite:'", "E103", "names no file", "or sqlite:/whole/path.db"),
    (SERVER, "state: ^'postgresql://u:p@[/c'", "E103", "no address of PostgreSQL", "write postgresql://host:5432"),
    (SERVER, "state: ^'postgresql://u:p@h:54x/c'", "E103", "no address of PostgreSQL", "write postgresql://host:5432"),
    (SERVER, "state: ^'postgresql:/h/c'", "E103", "no address of PostgreSQL", "write postgresql://host:5432"),
    (SERVER, "shared: ^'localhost:6379'", "E103", "an address like redis://", "begin it with redis://"),
    (SERVER, "^database_url: env:A", "E101", 'unknown key "database_url"', "it is called state here"),
    (SERVER, "^redis_url: env:A", "E101", 'unknown key "redis_url"', "it is called shared here"),
    (SERVER, "cors: ^['https://a.example']", "E103", "a mapping, not a list", "write cors: {origins: ["),
    (SERVER, "in_flight: ^100", "E103", "must be a mapping", "write in_flight: {requests: 1000}"),
    (KEY, "key: env:KEY, limits: ^[60/min]", "E103", "a mapping", "write limits: {requests: 60/min"),
    (KEY, "key: env:KEY, limits: {^rpm: 60/min}", "E101", "unknown key", "it is called requests here"),
    (KEY, "key: env:KEY, models: [^falsh]", "W153", '"app" may ask for "falsh"', '"flash"?'),
    (KEY, "^api_key: env:KEY", "E101", 'unknown key "api_key"', "it is called key here"),
    (LAN, "private: true, options: {^schema_mode: openapi}", "E101", "schema_mode", "option of wire: gemini"),
    ('base_url: "http://10', '^api_base: "http://10', "E101", "api_base", "it is called base_url here"),
    ('"http://10.0.0.7:8000/v1"', '^"10.0.0.7:8000/v1"', "E103", "an address like", "or with http:// in a"),
    ("[env:A]", '^"env:A,env:B"', "E104", "does not name a variable", "write [env:A, env:B]"),
    ("[env:A]", "^env:A", "E103", "must be a list, not text", "write [env:NAME], or each item"),
    (MODEL, "targets: [^env:NONE]", "E104", "an item is empty: environment variable NONE", "set it"),
    (MODEL, "targets: ^google/x", "E103", "must be a list", "write [provider/upstream-model], or each item"),
    (MODEL, MODEL + ", fallback: ^lan/x", "E103", "must be a list", "write [provider/upstream-model]"),
    ("[{name: app, key: env:KEY}]", "^{app: env:KEY}", "E103", "a list, not a", "- {name: app, key: env:"),
    (LAN, "^private true", "E101", 'unknown key "private true"', 'write a colon after "private"'),
    (MODEL, "^model: x", "E101", 'unknown key "model"', "it is called targets here"),
    (MODEL, MODEL + ", price: {^prompt: 1, output: 2}", "E101", "prompt", "it is called input here"),
    (
        MODEL, MODEL + ", price: {input: 1, ^output_cost_per_token: 2}", "E101",
        "output_cost_per_token", "it is called output here, per million tokens",
    ),
    (MODEL, MODEL + ", poll: {every: ^10m, give_up: 3s}", "E124", "not shorter", "the pause between"),
    (MODEL, MODEL + ", poll: {^interval: 3s}", "E101", "interval", "it is called every here"),
    (MODEL, MODEL + ", image_output: ^link+images", "E103", "must be 'auto'", '"images+link"?'),
    (MODEL, "targets: [{use: lan/q, weight: ^50%}]", "E103", "a whole number", "write 50, without a unit"),
    (SERVER, "host: ^'*'", "E103", "a host alone", "write 127.0.0.1 or 0.0.0.0"),
    (SERVER, "host: ^gate way", "E103", "a host alone", "write 127.0.0.1 or 0.0.0.0"),
    ("{name: app, key: env:KEY}", "^env:KEY", "E103", "a mapping, not text", "write {name: app, key: env:"),
    (KEY, "key: ^{env: KEY}", "E103", "must be text", "write env:NAME, without a space"),
    ("[env:A]", "[^env: A]", "E103", "must be text", "write env:NAME, without a space"),
    ("[env:A]", "[^file: /a]", "E103", "must be text", "write file:PATH, without a space"),
    ("[env:A]", "[^$(A)]", "E109", "another product", "write env:A"),
    ("[env:A]", "[^<your key>]", "W142", "holds the place of a secret", "write env:NAME"),
    ("[env:A]", "[^sk-xxxxxxxx]", "W142", "holds the place of a secret", "write env:NAME"),
    ("[env:A]", "[^'file:~/a']", "E105", "cannot be read", "~ stands for no home here"),
    ("[env:A]", "[^my-own-key-of-1999]", "W142", "is a literal secret", "write env:NAME"),
    (KEY, "key: env:KEY, budget: ^20", "E103", "a mapping", "write budget: {amount: 20, currency: USD"),
    (KEY, "key: env:KEY, limits: {tokens: ^1M/day}", "E143", "write 1000000/day", ""),
    (KEY, "key: env:KEY, limits: {requests: ^'1,000 / minute'}", "E143", "write 1000/min", ""),
    ("key: env:KEY}", "key: env:KEY}, {name: b, key: ^env:KEY}", "E111", 'the same secret as "app"', ""),
    (LAN, "private: true, timeouts: {connect: ^5 seconds}", "E143", "write 5s", ""),
    (LAN, "private: true, timeouts: {total: ^120000}", "E143", "has no unit", "write 120000s, or 120000ms"),
    ('"http://10.0.0.7:8000/v1"', '^"htps://a.example/v1"', "E103", "an address", "begin it with https:"),
    ('"http://10.0.0.7:8000/v1"', '^"https:/a.example/v1"', "E103", "an address like", "the name of a host"),
    ('"http://10.0.0.7:8000/v1"', '^"https://a..example/v1"', "E103", "an address like", "name of a host"),
    ('"http://10.0.0.7:8000/v1"', '^"http://10.0.0.7:80000/v1"', "E103", "an address", "from 1 to 65535"),
    ('"http://10.0.0.7:8000/v1"', '^"http://10.0.0.7:8o/v1"', "E103", "an address like", "from 1 to 65535"),
    ('"http://10.0.0.7:8000/v1"', '^"http://10.0.0.7:0/v1"', "E103", "an address like", "from 1 to 65535"),
    ('"http://10.0.0.7:8000/v1"', '^"https://an ai.example/v1"', "E103", "an address", "the white space"),
    ('"http://10.0.0.7:8000/v1"', '^"https://a.example/v1 "', "E103", "an address", "the white space"),
    ('"http://10.0.0.7:8000/v1"', '^"https://[::1/v1"', "E103", "an address like", "the brackets of an IPv6"),
    ('"http://10.0.0.7:8000/v1"', '^"https://<host>/v1"', "E103", "an address", "fill in what stands in"),
    ('"http://10.0.0.7:8000/v1"', '^"https://{region}-a.example/v1"', "E103", "an address", "fill in what"),
    ('"http://10.0.0.7:8000/v1"', '^"https://a.example/{project}/v1"', "E103", "an address", "fill in what"),
    ("[env:A]", "[^~]", "W155", "providers.google.keys[0] has no value", "write one, or delete the item"),
    (SERVER, "public_url: ^https://a.example:99999", "E103", "an address like", "from 1 to 65535"),
    ('"http://10.0.0.7:8000/v1"', '^"http://a.example/v1?key=x"', "E103", "an address", "leave out what"),
    ('"https://generativelanguage.googleapis.com/v1beta"', f"^{GOOGLE}/openai", "W144", "OpenAI's", "openai"),
    ("version: 1", "tasks: {callbacks: {secret: ^whsec_a-word}}", "E103", "base64 after whsec_", "openssl"),
    ("version: 1", "tasks: {callbacks: {secret: ^whsec_YWJj}}", "W142", "a literal secret", "write env:NAME"),
    ("version: 1", "tasks: {callbacks: {secret: ^MY_SECRET}}", "E109", "another product", "write env:MY_SE"),
    ("wire: openai", "wire: ^comfyui", "E103", "must be 'gemini' or", "a profile: write profile: comfyui"),
    ("wire: openai", "wire: ^anthropic", "E103", "must be 'gemini' or", "OpenAI's dialect is wire: openai"),
    ("wire: openai", "wire: ^vertex_ai", "E103", "must be 'gemini' or", "dialect is wire: gemini"),
    ("wire: openai", "wire: ^opnai", "E103", "must be 'gemini' or", 'did you mean "openai"?'),
    ("wire: openai", "profile: ^openai", "E115", 'no profile "openai"', "a wire: write wire: openai"),
    (SERVER, "cors: {origins: [^app.example]}", "E103", "an origin like https:", "scheme and host alone"),
    ("version: 1", "defaults: {retry: {budget: ^0.2}}", "E143", "0.2 has no unit", "write 20%"),
    ("version: 1", "defaults: {retry: {budget: ^5}}", "E143", "5 has no unit", "write 5%"),
    ("version: 1", "limits: {^requests: 60/min}", "E101", "in limits", "write everyone: {requests: ...}"),
    (
        "\nmodels:\n  flash:", "\n  ^models:\n    flash:", "E106", "providers.models has neither",
        "models is a section of the file: begin it in the first column",
    ),
    (
        "  flash:", "  ^defaults: {model: flash}\n  flash:", "E106", 'models.defaults has no "targets"',
        "defaults is a section of the file: begin it in the first column",
    ),
    (KEY, "key: ^12345", "E103", "must be text", "put it in quotes"),
    (LAN, "private: true, headers: {x-count: ^3}", "E103", "must be text", "put it in quotes"),
    ("[env:A]", "[^file:none.txt]", "E105", "cannot be read", "it is looked for at /"),
    (
        KEY, "key: env:KEY, budget: {amount: 1, currency: ^EUR, period: day}", "W132", "no model has a price",
        "add prices",
    ),
    (MODEL, MODEL + ", fallback: [^flash]", "E112", "fallback loop: flash -> flash", "take flash out of the"),
    ("version: 1", "version: 1\n^version: 1", "E102", 'duplicate key "version"', "what stands below"),
    (KEY, "key: env:KEY, limits: {^requests: }", "W155", "limits.requests has no value", "or delete the key"),
    (KEY, "key: env:KEY, ^budget: null", "W155", "keys[0].budget has no value", "write one"),
    (MODEL, MODEL + ", price: {^input: , output: 1}", "W155", "price.input has no value", "write one"),
    (KEY, "key: env:KEY, models: ^[]", "E103", "keys[0].models is empty", ""),
    (MODEL, "targets: [^google//gemini-pro]", "E110", "names no provider", "write google/gemini-pro"),
    (MODEL, MODEL + ", price: {input: ^1_000, output: 1}", "E103", "a plain number", "write 1000: no sign"),
    ("version: 1", "^model_list: []", "E101", 'key "model_list"', "docs/from-other-gateways.md"),
    ("version: 1", "^router_settings: {num_retries: 3}", "E101", "router_settings", "it is LiteLLM's; docs/"),
    (MODEL, MODEL + ", ^litellm_params: {}", "E101", 'key "litellm_params" in mo', "it is LiteLLM's; docs/"),
    ("version: 1", 'version: ^"1"', "E103", "must be 1", "write 1, without quotes"),
    (MODEL, "targets: [^google:gemini-pro]", "E110", "names no provider", "write google/gemini-pro"),
    (MODEL, "targets: [^google / gemini-pro]", "E110", "no provider", "write google/gemini-pro"),
    (MODEL, "targets: [{^model: lan/q}]", "E101", 'unknown key "model"', "it is called use here"),
    (MODEL, MODEL + ", price: ^0.5", "E103", "a mapping", "write price: {input: 0.50, output: 3.00}"),
    (MODEL, MODEL + ", price: {image: {1K: 0.1, 4K^}}", "E103", "must be a number, not empty", ""),
    (MODEL, MODEL + ", chores: ^true", "E103", "must be text", "write the name of a model"),
    ("[gpt-4o*]", "[^'/gpt-4.*/']", "W154", "reads like a regular expression", "write gpt-4*"),
    ("[gpt-4o*]", "[^'^gpt-4.*$']", "W154", "reads like a regular expression", "write gpt-4*"),
    ("  flash: {aliases: [gpt-4o*], ", "  ^- {", "E103", "a mapping, not a list", "below its own name"),
    (f"{{aliases: [gpt-4o*], {MODEL}}}", "^google/x", "E103", "a mapping, not text", "write flash: {tar"),
    ("[gpt-4o*]", "[o1, ^o1]", "E111", 'alias "o1" stands twice in flash', "delete one"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "marked", "code", "said", "cure"), [pytest.param(*row, id=row[1][-36:]) for row in ROWS]
)
def test_a_mistake_has_place_cause_and_cure(
    tmp_path: Path, old: str, marked: str, code: str, said: str, cure: str
) -> None:
    assert FILE.count(old) == 1
    before, _, after = FILE.replace(old, marked).partition("^")
    line, column = before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1
    file = tmp_path / "providers.yaml"
    file.write_text(before + after)
    found = [one for one in load(file, {"KEY": "k", "A": "a"}).problems if one.code == code]
    assert [(one.line, one.column) for one in found] == [(line, column)]
    assert said in found[0].message
    assert cure in found[0].hint


@pytest.mark.parametrize(
    "right",
    [
        "server: {host: '::1'}",
        "server: {host: '[::]'}",
        "server: {host: gateway.lan, public_url: 'https://ai.example.com/proxy'}",
        "server: {state: 'sqlite::memory:'}",
        "server: {state: 'sqlite:////var/lib/dragoman.db'}",
        "server: {state: 'postgresql:///dragoman?host=/run/postgresql'}",
        "server: {state: 'postgresql://u:p#s/s@h:5432/dragoman'}",
        "server: {public_url: 'https://[2001:db8::1]:8443'}",
        "server: {public_url: 'https://bücher.example:/a%20b'}",
        "profiles: {p: {extends: fal, billing: null}}",
        "keys: [{name: app, key: env:KEY, models: [flash, gpt-4o-mini, 'fl*', google/gemini-2.5-pro]}]",
    ],
)
def test_what_is_right_is_not_complained_of(tmp_path: Path, right: str) -> None:
    name = right.partition(":")[0]
    lines = [right if line.startswith(name) else line for line in FILE.splitlines()]
    file = tmp_path / "providers.yaml"
    file.write_text("\n".join(lines))
    assert [one for one in load(file, {"KEY": "k", "A": "a"}).problems if one.code != "W142"] == []


def test_a_key_may_ask_for_any_name_where_a_default_answers_all(tmp_path: Path) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text(FILE.replace(KEY, "key: env:KEY, models: [gpt-9]") + "defaults: {model: flash}\n")
    assert load(file, {"KEY": "k", "A": "a"}).problems == []


def test_a_list_of_providers_is_one_mistake_and_not_one_for_each_target(tmp_path: Path) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text("version: 1\nproviders: [{name: a, wire: openai}]\nmodels: {m: {targets: [a/x]}}\n")
    (found,) = load(file, {}).problems
    assert found.hint.startswith("write each below its own name, without a hyphen: name: {wire: openai")
