"""A file becomes one value: secrets stay hidden, missing ones switch things off, all errors come at once."""

import json
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.checking.units import Rate
from proxy.config import Loaded, Secret, find, is_loopback, load
from tests.test_config_corpus import ENVIRON, RIGHT

ROOT = Path(__file__).resolve().parents[1]


def loaded(text: str, folder: Path, environ: dict[str, str] | None = None) -> Loaded:
    file = folder / "providers.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file, {} if environ is None else environ)


def codes(found: Loaded) -> list[str]:
    return [problem.code for problem in found.problems]


def test_attributes_are_spelled_like_keys_and_quantities_are_numbers(tmp_path: Path) -> None:
    config = loaded(RIGHT, tmp_path, ENVIRON).config
    assert config is not None
    assert config.server.body_limit == 67_108_864
    assert config.defaults.timeouts.model_dump() == {
        "connect": 5.0,
        "first_byte": 120.0,
        "idle": 60.0,
        "total": 600.0,
    }
    assert config.defaults.retry.budget == 0.2
    assert config.keys[0].limits.requests == Rate(600, 60.0)
    assert config.models["flash"].aliases == ["gpt-4o-mini", "quick"]
    assert dict(config.models["flash"].defaults) == {"reasoning_effort": "low", "aspect_ratio": "16:9"}
    assert config.models["flash"].pick == "ordered"
    banana = config.models["banana"]
    assert banana.pick == "weighted"
    assert [(target.use, target.weight) for target in banana.targets] == [
        ("google/gemini-3-pro-image", 1),
        ("relay.image/banana", 3),
    ]
    assert [(target.provider, target.surface, target.model) for target in banana.targets] == [
        ("google", None, "gemini-3-pro-image"),
        ("relay", "image", "banana"),
    ]
    assert (banana.poll.every, banana.poll.give_up) == (4.0, 540.0)


def test_an_upstream_model_may_hold_slashes_and_dots(tmp_path: Path) -> None:
    text = (
        "providers: {lan: {wire: openai, base_url: https://x.example/v1}}\n"
        "models: {m: {targets: [lan/qwen/Qwen3-0.6B]}}\n"
    )
    config = loaded(text, tmp_path).config
    assert config is not None
    (target,) = config.models["m"].targets
    assert (target.provider, target.surface, target.model) == ("lan", None, "qwen/Qwen3-0.6B")


def test_a_model_and_a_provider_change_single_timeouts(tmp_path: Path) -> None:
    text = (
        "defaults: {timeouts: {idle: 7s}}\n"
        "providers: {a: {wire: openai, base_url: https://x.example/v1, timeouts: {total: 20s}}}\n"
        "models: {m: {targets: [a/x], timeouts: {total: 30s}}}\n"
    )
    config = loaded(text, tmp_path).config
    assert config is not None
    changed = config.defaults.timeouts.changed(config.providers["a"].timeouts, config.models["m"].timeouts)
    assert (changed.connect, changed.idle, changed.total) == (5.0, 7.0, 30.0)


# --- secrets -------------------------------------------------------------------------------------

CANARY = "canary-4f9a-secret"
SECRETIVE = """
server: {state: "postgresql://u:canary-4f9a-secret@db.example/x", shared: env:SHARED}
auth: {admin: env:CANARY}
keys: [{name: app, key: env:CANARY}]
providers:
  a: {wire: openai, base_url: https://x.example/v1, keys: [env:CANARY], headers: {x-y: env:CANARY}}
"""


def test_a_secret_never_prints(tmp_path: Path) -> None:
    found = loaded(SECRETIVE, tmp_path, {"CANARY": CANARY, "SHARED": f"redis://:{CANARY}@r.example/0"})
    config = found.config
    assert config is not None
    secret = config.keys[0].key
    assert secret is not None
    assert secret.reveal() == CANARY
    shown = [repr(config), str(config), f"{secret}", f"{secret:>20}", "%s" % secret, config.model_dump_json()]  # noqa: UP031
    shown += [repr(config.model_dump()), json.dumps(config.model_dump(mode="json"), default=str), repr(found)]
    shown += [problem.render() for problem in found.problems]
    assert [text for text in shown if CANARY in text] == []
    assert repr([secret]) == "[***]"


def test_a_secret_can_be_compared_and_cannot_be_pickled() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(Secret("a"))


@pytest.mark.parametrize(
    "text",
    [
        f"keys: [{{name: app, key: {CANARY}}}]",
        f"keys: [{{name: app, key: {CANARY}, modles: []}}]",
        f"keys: [{{name: app, key: {CANARY}, models: [flash]",
        f"auth:\n  admin: {CANARY}\n  mode: wrong\n",
        f"providers:\n  a:\n    wire: openai\n    keys:\n      - {CANARY}\n    base_url: nowhere {CANARY}\n",
        f"providers: {{a: {{wire: openai, base_url: https://u:{CANARY}@x.example}}}}",
        f"providers: {{a: {{wire: openai, base_url: https://x.example/v1, api_key: {CANARY}}}}}",
        f"server: {{state: 'postgresql://u:{CANARY}@x.example', prot: 1}}",
        f"secret: {CANARY}",
        f"auth: {{mode: open, admin: [{CANARY}]}}",
        f"providers: {{a: {{wire: openai, base_url: https://x, headers: {{authorization: {CANARY}}}}}}}",
    ],
)
def test_a_literal_secret_in_a_bad_file_is_not_repeated(text: str, tmp_path: Path) -> None:
    found = loaded(text, tmp_path)
    assert found.problems
    assert [
        problem for problem in found.problems if CANARY in problem.render() + json.dumps(problem.json())
    ] == []


def test_a_secret_is_read_from_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\n")
    text = "providers: {a: {wire: openai, base_url: https://x.example/v1, keys: [file:key]}}"
    config = loaded(text, tmp_path).config
    assert config is not None
    assert config.providers["a"].keys == [Secret("from-file")]


def test_an_empty_file_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("\n")
    found = loaded("auth: {admin: file:key}", tmp_path)
    assert [problem.message for problem in found.problems] == ["file:key is empty (used by auth.admin)"]


def test_a_variable_is_read_without_white_space_around_it(tmp_path: Path) -> None:
    text = (
        "keys: [{name: app, key: env:APP}]\n"
        "providers: {a: {wire: openai, base_url: https://x.example/v1, keys: [env:KEY, env:BLANK?]}}"
    )
    config = loaded(text, tmp_path, {"APP": " sk-app\r\n", "KEY": "from-secret\n", "BLANK": "\n"}).config
    assert config is not None
    assert config.keys[0].key == Secret("sk-app")
    assert config.providers["a"].keys == [Secret("from-secret")]


ACCOUNT = '{"client_email": "e",\n "private_key": "-----BEGIN X", "token_uri": "https://t.example"}'


@pytest.mark.parametrize(
    ("text", "place", "cure"),
    [
        ("keys: [{name: app, key: env:KEY}]", (1, 25), "write it in one line"),
        ("auth: {admin: env:KEY}", (1, 15), "write it in one line"),
        (
            "providers: {a: {wire: openai, base_url: https://x.example/v1, headers: {x-team: env:KEY}}}",
            (1, 81),
            "write it in one line",
        ),
        (
            "providers: {a: {wire: gemini, base_url: https://x.example/v1beta, keys: [env:KEY]}}",
            (1, 74),
            "write it in one line; the JSON file of a service account wants auth: {grant: service_account}",
        ),
    ],
)
def test_what_no_header_carries_is_found_before_a_request_needs_it(
    text: str, place: tuple[int, int], cure: str, tmp_path: Path
) -> None:
    (problem,) = loaded(text, tmp_path, {"KEY": "one\ntwo"}).problems
    assert (problem.code, (problem.line, problem.column), problem.hint) == ("E103", place, cure)
    assert "one" not in problem.message


def test_the_file_of_a_service_account_has_many_lines(tmp_path: Path) -> None:
    provider = "{wire: gemini, base_url: https://x/v1, keys: [env:KEY], auth: {grant: service_account}}"
    found = loaded(f"providers: {{a: {provider}}}", tmp_path, {"KEY": ACCOUNT})
    assert codes(found) in ([], ["N107"])  # off where the package that signs is not installed


@pytest.mark.parametrize(
    ("name", "cure"),
    [("x team", ""), ("Host", "the host is that of base_url"), ("content-length", "delete it")],
)
def test_a_header_that_cannot_be_set_is_told(name: str, cure: str, tmp_path: Path) -> None:
    text = f"providers: {{a: {{wire: openai, base_url: https://x.example/v1, headers: {{'{name}': x}}}}}}"
    (problem,) = loaded(text, tmp_path).problems
    assert (problem.code, problem.column, problem.hint) == ("E103", 73, cure)


def test_an_optional_variable_may_be_missing(tmp_path: Path) -> None:
    text = (
        "server: {shared: env:REDIS_URL?, public_url: env:PUBLIC_URL?}\n"
        "providers: {a: {wire: openai, base_url: https://x.example/v1, keys: [env:KEY?]}}\n"
    )
    found = loaded(text, tmp_path, {"REDIS_URL": ""})
    assert found.config is not None
    assert (found.config.server.shared, found.config.server.public_url) == (None, None)
    assert found.config.providers["a"].keys == []
    assert found.off == {}
    assert found.problems == []


def test_an_optional_variable_cannot_stand_for_what_is_needed(tmp_path: Path) -> None:
    found = loaded("keys: [{name: env:NAME?, key: env:KEY?}]", tmp_path)
    assert [problem.message for problem in found.problems] == ['keys[0] has no "name"']


def test_an_optional_item_of_a_list_is_left_out(tmp_path: Path) -> None:
    found = loaded('keys: [{name: app, key: env:KEY?, models: [flash, "env:MORE?"]}]', tmp_path)
    assert found.config is not None
    assert found.config.keys[0].models == ["flash"]
    assert found.problems == []


def test_a_provider_without_its_key_is_off_and_says_so(tmp_path: Path) -> None:
    text = "version: 1\nproviders:\n  a: {wire: openai, base_url: https://x.example/v1, keys: [env:A_KEY]}\n"
    found = loaded(text, tmp_path)
    assert found.config is not None
    assert found.off == {"a": "environment variable A_KEY is not set"}
    assert [problem.render() for problem in found.problems] == [
        f'{tmp_path}/providers.yaml:3:3: note N107 provider "a" is off: environment variable A_KEY is not set'
    ]


@pytest.mark.parametrize(
    "field", ["base_url: env:A_URL", "base_url: https://x.example/v1, headers: {x: env:A_URL}"]
)
def test_a_provider_without_its_address_or_header_is_off(field: str, tmp_path: Path) -> None:
    found = loaded(f"providers: {{a: {{wire: openai, {field}}}}}", tmp_path)
    assert found.config is not None
    assert found.off == {"a": "environment variable A_URL is not set"}


def test_an_address_may_come_from_the_environment(tmp_path: Path) -> None:
    text = "providers: {a: {wire: openai, base_url: env:A_URL}}"
    config = loaded(text, tmp_path, {"A_URL": "https://x.example/v1/"}).config
    assert config is not None
    assert config.providers["a"].base_url == "https://x.example/v1"


def test_half_a_pool_of_keys_is_an_error(tmp_path: Path) -> None:
    text = "providers: {a: {wire: openai, base_url: https://x.example/v1, keys: [env:A, env:B]}}"
    found = loaded(text, tmp_path, {"A": "1"})
    assert [problem.message for problem in found.problems] == [
        "key is empty: environment variable B is not set (used by providers.a.keys[1])"
    ]


def test_a_client_key_without_its_variable_is_off(tmp_path: Path) -> None:
    found = loaded("keys: [{name: app, key: env:DRAGOMAN_KEY}]", tmp_path)
    assert found.config is not None
    assert found.config.keys[0].key is None
    assert codes(found) == ["W108"]


def test_profiles_have_no_environment(tmp_path: Path) -> None:
    text = RIGHT.replace("{prompt: $prompt}", "{prompt: $prompt, user: env:APP_KEY}")
    config = loaded(text, tmp_path, ENVIRON).config
    assert config is not None
    assert config.profiles["house"]["surfaces"]["image"]["submit"]["body"]["user"] == "env:APP_KEY"


# --- everything at once ----------------------------------------------------------------------------


def test_all_errors_come_in_one_run_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
server: {prot: 8080}
defaults: {heartbeat: 5}
providers:
  a: {wire: openai, base_url: https://x.example/v1}
  b: {wire: openai}
models:
  one: {aliases: [x], targets: [a/m, c/m]}
  two: {aliases: [x], targets: [a/m], pick: any}
  two: {targets: [b/m]}
"""
    found = loaded(text, tmp_path)
    assert found.config is None
    assert [(problem.code, problem.line, problem.column) for problem in found.problems] == [
        ("E101", 1, 10),
        ("E143", 2, 23),
        ("E106", 5, 3),
        ("E110", 7, 38),
        ("E111", 8, 19),
        ("E103", 8, 45),
        ("E102", 9, 3),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("[]", "the file must be a mapping"),
        ("5", "the file must be a mapping"),
        ("hello", "the file must be a mapping"),
    ],
)
def test_a_file_that_is_no_mapping_is_one_error(text: str, said: str, tmp_path: Path) -> None:
    (problem,) = loaded(text, tmp_path).problems
    assert (problem.code, problem.message) == ("E103", said)
    assert problem.hint == "it has version: 1, and below it providers and models; see docs/configuration.md"


def test_a_file_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    (problem,) = load(tmp_path / "nowhere.yaml", {}).problems
    assert (
        problem.render()
        == f"{tmp_path}/nowhere.yaml:1:1: error E100 cannot be read: no such file or directory\n"
        f"  hint: a copy of {ROOT}/providers.yaml is one to begin with"
    )
    (problem,) = load(tmp_path, {}).problems
    assert problem.render() == f"{tmp_path}:1:1: error E100 cannot be read: is a directory"
    (tmp_path / "latin.yaml").write_bytes(b"version: 1\nserver: {host: \xfcber}\n")
    (problem,) = load(tmp_path / "latin.yaml", {}).problems
    assert (problem.code, problem.line, problem.message) == ("E100", 2, "not YAML: the text is not UTF-8")


def test_a_byte_order_mark_is_not_in_the_way(tmp_path: Path) -> None:
    file = tmp_path / "providers.yaml"
    file.write_bytes(b"\xef\xbb\xbfversion: 1\r\nserver: {prot: 1}\r\n")
    (problem,) = load(file, {}).problems
    assert (problem.code, problem.line, problem.column) == ("E101", 2, 10)
    assert problem.source_line == "server: {prot: 1}"


def test_the_digest_names_the_content(tmp_path: Path) -> None:
    first, same, other = (
        loaded(text, tmp_path).digest for text in ("version: 1", "version: 1", "version:  1")
    )
    assert first == same != other
    assert len(first) == 12


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_never_crashes_the_loader(data: st.DataObject, tmp_path: Path) -> None:
    lines = RIGHT.splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    damage = data.draw(
        st.sampled_from(["", "  - ", "x: y", "[]", "5", "{", "~", "'", "*a", "&a", "null", "? x", "- - -"])
    )
    key, colon, _ = lines[number].partition(":")
    kept = data.draw(st.booleans())
    lines[number] = key + colon + " " + damage if kept else damage
    found = loaded("\n".join(lines), tmp_path, ENVIRON)
    assert (found.config is None) == any(problem.severity == "error" for problem in found.problems)
    assert all(problem.line <= len(lines) and problem.column >= 1 for problem in found.problems)


# --- fallbacks that name models --------------------------------------------------------------------


def test_a_fallback_that_names_a_model_stands_for_its_targets_and_what_follows_them(tmp_path: Path) -> None:
    text = """
providers: {a: {wire: openai, base_url: https://x.example/v1}}
models:
  one: {targets: [a/1], fallback: [second, a/9]}
  two: {aliases: [second], targets: [a/2, a/9], fallback: [three]}
  three: {targets: [a/3]}
"""
    config = loaded(text, tmp_path).config
    assert config is not None
    assert [target.use for target in config.models["one"].fallback] == ["a/2", "a/9", "a/3"]


def test_a_fallback_loop_is_named_with_its_way(tmp_path: Path) -> None:
    text = """
providers: {a: {wire: openai, base_url: https://x.example/v1}}
models:
  zero: {targets: [a/0], fallback: [one]}
  one: {targets: [a/1], fallback: [two]}
  two: {targets: [a/2], fallback: [a/8, one]}
"""
    found = loaded(text, tmp_path)
    assert [(problem.code, problem.line, problem.message) for problem in found.problems] == [
        ("E112", 5, "fallback loop: one -> two -> one")
    ]


# --- where it is -----------------------------------------------------------------------------------


def test_the_file_is_the_one_named_then_the_variable_then_here_then_the_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"DRAGOMAN_CONFIG": "/etc/dragoman.yaml"}
    assert find("x.yaml", environ) == Path("x.yaml")
    assert find(None, environ) == Path("/etc/dragoman.yaml")
    assert find(None, {}) == ROOT / "providers.yaml"
    (tmp_path / "providers.yaml").touch()
    assert find(None, {}) == Path("providers.yaml")


def test_a_link_that_leads_nowhere_is_not_the_shipped_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "providers.yaml").symlink_to("gone.yaml")
    (found,) = load(find(None, {}), {}).problems
    assert (found.file, found.message) == ("providers.yaml", "cannot be read: no such file or directory")


def test_a_file_that_is_far_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "providers.yaml").open("wb") as file:
        file.truncate(1 << 40)
    (found,) = load(tmp_path / "providers.yaml", {}).problems
    assert (found.code, found.message) == ("E100", "cannot be read: it is larger than 4 MiB")
    assert found.hint == "a configuration has some KiB: is it another file?"


def test_a_file_of_wide_characters_without_a_mark_is_told_its_encoding(tmp_path: Path) -> None:
    (tmp_path / "providers.yaml").write_bytes("version: 1\n".encode("utf-16-le"))
    (found,) = load(tmp_path / "providers.yaml", {}).problems
    assert (found.code, found.hint) == ("E100", "it looks like UTF-16; save the file as UTF-8")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *[(host, True) for host in ("127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]")],
        *[(host, False) for host in ("0.0.0.0", "::", "192.168.0.1", "example.com", "")],
    ],
)
def test_loopback_hosts_are_known(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


# --- the shipped profiles ----------------------------------------------------------------------------

DESIGN = """
version: 1
server: {host: 127.0.0.1, port: 8080, state: "sqlite:./state/dragoman.db", shared: "env:REDIS_URL?", \
public_url: "env:PUBLIC_URL?"}
auth: {mode: keys, admin: "env:DRAGOMAN_ADMIN_KEY?"}          # keys | open (open: loopback only)
keys:
  - {name: app, key: env:DRAGOMAN_KEY, models: ["*"], \
limits: {requests: 600/min, images: 200/day, concurrent: 32}, image_output: auto}
defaults:
  timeouts: {connect: 5s, first_byte: 120s, idle: 60s, total: 600s}
  retry: {attempts: 3, budget: 20%}
  heartbeat: 15s
providers:
  google:  {wire: gemini, base_url: "https://generativelanguage.googleapis.com/v1beta", \
keys: [env:GEMINI_API_KEY]}
  jlike:   {profile: jlike, base_url: "https://www.jlike.com/api/v1/openapi", keys: [env:JLIKE_API_KEY]}
  grsai:   {profile: grsai, keys: [env:GRSAI_API_KEY], options: {reply_type: stream}}
  lan:     {wire: openai, base_url: "http://10.0.0.7:8000/v1", keys: [env:LAN_KEY], private: true}
models:
  gemini-flash: {aliases: [gpt-4o-mini], targets: [google/gemini-3-flash-preview], \
defaults: {reasoning_effort: low}}
  nano-banana-pro:
    targets: [google/gemini-3-pro-image, {use: jlike.image/nano-banana-pro, weight: 3}]
    fallback: [grsai/nano-banana-pro]
    poll: {every: 4s, give_up: 10m}                            # overrides the profile's
"""


def test_a_file_with_shipped_profiles_is_right(tmp_path: Path) -> None:
    found = loaded(DESIGN, tmp_path, dict.fromkeys(("DRAGOMAN_KEY", "GEMINI_API_KEY", "LAN_KEY"), "k"))
    assert found.config is not None, [str(problem) for problem in found.problems]
    assert set(found.off) == {"jlike", "grsai"}
    assert codes(found) == ["N107", "N107", "W130", "W124"]


def test_options_are_those_of_the_profile_and_of_the_wires_it_speaks(tmp_path: Path) -> None:
    text = """
providers:
  right: {profile: jlike, options: {schema_mode: openapi}}
  wan: {profile: dashscope, options: {watermark: true, thinking_mode: auto}}
  wrong: {profile: dashscope, options: {watermark: auto, reply_type: json}}
"""
    assert [(problem.code, problem.line, problem.message) for problem in loaded(text, tmp_path).problems] == [
        ("E103", 5, "providers.wrong.options.watermark must be false or true"),
        ("E101", 5, 'unknown key "reply_type" in providers.wrong.options'),
    ]


# --- the shipped file --------------------------------------------------------------------------------


def test_the_shipped_file_is_right_on_a_machine_without_any_variable() -> None:
    found = load(ROOT / "providers.yaml", {})
    assert found.config is not None
    assert set(codes(found)) == {"N107", "W108"}
    assert set(found.off) == set(found.config.providers)


def test_the_shipped_file_with_a_key_of_google_has_google_on() -> None:
    found = load(ROOT / "providers.yaml", {"GEMINI_API_KEY": "g", "DRAGOMAN_KEY": "k"})
    assert found.config is not None
    assert "google" not in found.off
    assert found.config.providers["google"].base_url == "https://generativelanguage.googleapis.com/v1beta"


@pytest.mark.parametrize(
    ("name", "target", "preview"),
    [
        ("nano-banana-2", "google/gemini-3.1-flash-image", "gemini-3.1-flash-image-preview"),
        ("nano-banana-pro", "google/gemini-3-pro-image", "gemini-3-pro-image-preview"),
    ],
)
def test_nano_bananas_resolve_to_the_released_models_and_accept_preview_names(
    name: str, target: str, preview: str
) -> None:
    """G-206."""
    config = load(ROOT / "providers.yaml", {}).config
    assert config is not None
    assert config.models[name].targets[0].use == target
    assert preview in config.models[name].aliases


def test_the_environment_of_the_process_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAGOMAN_TEST_KEY", "k")
    file = tmp_path / "f.yaml"
    file.write_text("keys: [{name: app, key: env:DRAGOMAN_TEST_KEY}]")
    config = load(str(file)).config
    assert config is not None
    assert config.keys[0].key == Secret("k")
    assert os.environ["DRAGOMAN_TEST_KEY"] == "k"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_both_spellings_of_postgresql_are_one(scheme: str, tmp_path: Path) -> None:
    config = loaded(
        "server: {state: env:DATABASE_URL}", tmp_path, {"DATABASE_URL": f"{scheme}://u:p@h/d"}
    ).config
    assert config is not None
    assert config.server.state.reveal() == "postgresql://u:p@h/d"


@pytest.mark.parametrize("address", ["redis://h:6379/0", "rediss://u:p@h/1", "unix:///run/redis.sock?db=2"])
def test_the_address_of_redis(tmp_path: Path, address: str) -> None:
    assert loaded(f'server: {{shared: "{address}"}}', tmp_path, {}).config is not None


@pytest.mark.parametrize("address", ["localhost:6379", "http://h/", "sqlite:./x.db"])
def test_what_is_no_address_of_redis(tmp_path: Path, address: str) -> None:
    found = loaded(f'server: {{shared: "{address}"}}', tmp_path, {}).problems
    assert [problem.render().splitlines()[0].rpartition("providers.yaml:")[2] for problem in found] == [
        "1:18: error E103 server.shared must be an address like redis://host:6379/0"
    ]


# --- web pages


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://app.example", "https://app.example"),
        ("https://App.Example:8443/", "https://app.example:8443"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("*", "*"),
    ],
)
def test_an_origin_is_read_as_browsers_write_it(tmp_path: Path, written: str, read: str) -> None:
    config = loaded(f'server: {{cors: {{origins: ["{written}"]}}}}', tmp_path).config
    assert config is not None
    assert config.server.cors.origins == [read]
    assert config.server.cors.headers == ["*"]


@pytest.mark.parametrize(
    "written",
    ["app.example", "https://app.example/path", "https://", "https://a b", "null", "https://*.example"],
)
def test_what_is_no_origin_is_an_error(tmp_path: Path, written: str) -> None:
    (problem,) = loaded(f'server: {{cors: {{origins: ["{written}"]}}}}', tmp_path).problems
    assert (problem.code, problem.line) == ("E103", 1)
    assert "must be an origin like https://app.example:8443, or *" in problem.message


def test_a_page_header_must_be_a_header(tmp_path: Path) -> None:
    assert codes(loaded('server: {cors: {headers: ["x y"]}}', tmp_path)) == ["E103"]
    assert codes(loaded("server: {cors: {orgins: []}}", tmp_path)) == ["E101"]
