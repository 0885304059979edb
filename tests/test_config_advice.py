"""What is right as YAML and will not do what was meant: `check` says so, with the place and the cure."""

from pathlib import Path

import pytest

from proxy.config import Problem, load

ROOT = Path(__file__).resolve().parents[1]


def problems(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> list[Problem]:
    file = tmp_path / "providers.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file, environ or {}).problems


def told(found: list[Problem]) -> list[tuple[str, int, int, str, str]]:
    return [(one.code, one.line, one.column, one.message, one.hint) for one in found if one.code != "N107"]


def test_a_profile_is_doubted_at_its_place(tmp_path: Path) -> None:
    text = (
        "profiles:\n  own:\n    base_url: https://x.example\n    surfaces:\n      image:\n"
        "        submit: {request: POST /jobs, body: {text: $prompt, of: '{model}'}}\n"
        "        result: {images: urls}\n        fail: {when: ok == false}\n"
    )
    assert told(problems(tmp_path, text)) == [
        ("W122", 6, 65, "profile own: surfaces.image.submit.body.of sends {model} as it stands: "
         "braces are for request lines", "a value is inserted whole, by a dollar sign: $model"),
        ("W123", 8, 22, 'profile own: "ok == false" compares with a key that is called false',
         "the value is written in backticks: `false`"),
    ]  # fmt: skip


# --- references in another spelling ---------------------------------------------------------------------

KEYS = "providers:\n  a: {wire: openai, base_url: 'https://x.example/v1', keys: ['%s']}\n"


@pytest.mark.parametrize(
    "spelled",
    [
        "$MY_KEY", "${MY_KEY}", "${MY_KEY:-none}", "${MY_KEY:?needed}", "os.environ/MY_KEY",
        'os.environ["MY_KEY"]', 'os.environ.get("MY_KEY")', 'os.getenv("MY_KEY")', "getenv(MY_KEY)",
        "process.env.MY_KEY", "{{ MY_KEY }}", "{{ .Values.MY_KEY }}", "{{env.MY_KEY}}", '{{ env "MY_KEY" }}',
        "%MY_KEY%", "env.MY_KEY", "env/MY_KEY", "env(MY_KEY)", "env://MY_KEY", "env: MY_KEY", "ENV:MY_KEY",
        "env:$MY_KEY", "env:${MY_KEY}", "MY_KEY", "${env:MY_KEY}", "$env:MY_KEY", "{env:MY_KEY}",
        "@env:MY_KEY", '{{ env["MY_KEY"] }}', "${{ secrets.MY_KEY }}", "#{MY_KEY}", "{MY_KEY}",
        "environ:MY_KEY", "secret:MY_KEY", "!ENV ${MY_KEY}", "!ENV MY_KEY",
    ],
)  # fmt: skip
def test_a_variable_in_another_spelling_is_told_ours(tmp_path: Path, spelled: str) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text(KEYS % spelled)
    loaded = load(file, {"MY_KEY": "value-canary"})
    assert loaded.config is None
    assert told(loaded.problems) == [
        ("E109", 2, 62, "providers.a.keys[0] names a variable as another product does", "write env:MY_KEY")
    ]
    assert "canary" not in "".join(map(str, loaded.problems))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("server: {public_url: '${PUBLIC_URL}'}\n", id="an address"),
        pytest.param("keys: [{name: a, key: $DRAGOMAN_KEY}]\n", id="a client key"),
        pytest.param("auth: {admin: ADMIN_TOKEN}\n", id="the bare name"),
        pytest.param(
            "providers: {a: {wire: openai, base_url: 'https://x.example/v1', headers: {x-key: $A}}}\n",
            id="a header",
        ),
    ],
)
def test_wherever_it_stands(tmp_path: Path, text: str) -> None:
    assert [found.code for found in problems(tmp_path, text)] == ["E109"]


ADDRESS = "providers: {a: {wire: openai, base_url: '%s'}}\n"
AUTHORIZATION = ADDRESS.replace("%s'", "https://x.example/v1', headers: {authorization: '%s'}")
TWO = "providers: {a: {profile: kling, keys: ['env:ID:env:SECRET']}}\n"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        pytest.param(AUTHORIZATION % text, "providers.a.headers.authorization", id=text)
        for text in ("Bearer env:MY_KEY", "Bearer ${MY_KEY}", "Bearer $MY_KEY", "Bearer {{ MY_KEY }}")
    ]
    + [
        pytest.param(ADDRESS % url, "providers.a.base_url", id=url)
        for url in (
            "https://${HOST}/v1", "https://$HOST:8443/v1", "https://env:HOST/v1", "https://{{HOST}}/v1",
            "https://x.example/${PROJECT:-p}/v1", "https://x.example/$(PROJECT)/v1",
        )
    ]
    + [
        pytest.param(f"server: {{state: '{state}'}}\n", "server.state", id=state)
        for state in ("postgresql://u:${PW}@h/db", "postgresql://u:$PGPASSWORD@h/db", "postgresql://u:env:PGPW@h/d")
    ]
    + [
        pytest.param("server: {shared: 'redis://:${REDIS_PW}@h/0'}\n", "server.shared", id="of Redis"),
        pytest.param("models: {m: {targets: ['a/${MODEL}']}}\n", "models.m.targets[0]", id="a target"),
        pytest.param(TWO, "providers.a.keys[0]", id="two"),
    ],
)  # fmt: skip
def test_a_reference_is_the_whole_text_or_none(tmp_path: Path, text: str, place: str) -> None:
    (found,) = [
        found for found in problems(tmp_path, text) if found.code[0] == "E" and "110" not in found.code
    ]
    assert (found.code, found.message) == ("E109", f"{place} names a variable in the middle of a text")
    assert (
        found.hint == "nothing is put in there: keep the whole text in one variable, and write env:NAME alone"
    )


@pytest.mark.parametrize(
    ("value", "odd", "cure"),
    [
        ('"sk-canary"', "has quotes around it, which are sent too", "take them away; env files keep them"),
        ("'sk-canary'", "has quotes around it, which are sent too", "env files"),
        ("Bearer sk-canary", "begins with Bearer, which is put before it anyway", "leave that word out"),
        ("sk-canary # of Anna", "has a comment behind it, which is sent too", "env files keep it"),
        ("sk-canary\u200b1", "holds a character outside of ASCII, which no key does", "copy it anew"),
    ],
)
def test_a_key_that_will_be_refused_is_told_before(tmp_path: Path, value: str, odd: str, cure: str) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text(KEYS % "env:A" + "keys: [{name: app, key: env:B}]\n")
    for names in ({"A": value, "B": "b"}, {"A": "a", "B": value}):
        loaded = load(file, names)
        assert loaded.config is not None
        (found,) = loaded.problems
        place = "providers.a.keys[0]" if names["B"] == "b" else "keys[0].key"
        assert (found.code, found.message) == ("W145", f"{place} {odd}")
        assert cure in found.hint
        assert "canary" not in str(found)


def test_a_key_whose_header_is_set_by_hand_may_hold_its_scheme(tmp_path: Path) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text((KEYS % "env:A").replace("keys:", "auth: {header: authorization}, keys:"))
    assert load(file, {"A": "Bearer sk-1"}).problems == []


def test_a_variable_that_is_set_to_nothing_is_not_called_unset(tmp_path: Path) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text(KEYS % "env:A" + "keys: [{name: app, key: env:B}]\n")
    said = [found.message for found in load(file, {"A": "", "B": "  "}).problems]
    assert said == [
        'provider "a" is off: environment variable A is set and empty',
        'client key "app" is off: environment variable B is set and empty',
    ]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(AUTHORIZATION % "Basic YTpi$HOST", id="a sign inside a word"),
        pytest.param("server: {state: 'postgresql://u:pa$word@h/db'}\n", id="a password"),
        pytest.param("models: {m: {description: '${PRICE} of env:KEY', targets: [a/b]}}\n", id="free text"),
    ],
)
def test_what_only_looks_like_a_reference_is_left(tmp_path: Path, text: str) -> None:
    assert "E109" not in [found.code for found in problems(tmp_path, text)]


@pytest.mark.parametrize("secret", ["sk-$tring-with-dollars", "100%", "letmein", "A_B_C", "$"])
def test_a_literal_secret_stays_one(tmp_path: Path, secret: str) -> None:
    assert [found.code for found in problems(tmp_path, KEYS % secret)] == ["W142"]


def test_a_description_may_name_a_variable(tmp_path: Path) -> None:
    text = KEYS % "env:KEY?" + "models: {m: {targets: [a/x], description: $HOME}}\n"
    assert problems(tmp_path, text) == []


# --- variables of nearly the name -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("set_", "near"),
    [
        ("DRAGOMAN_KEYS", True),
        ("DRAGOMAN_API_KEY", True),
        ("DRAGMAN_KEY", True),
        ("dragoman_key", True),
        ("DRAGON_FRUIT", False),
        ("OTHER_KEY", False),
    ],
)
def test_a_missing_client_key_names_a_variable_of_nearly_its_name(
    tmp_path: Path, set_: str, near: bool
) -> None:
    text = "keys: [{name: app, key: env:DRAGOMAN_KEY}]\n"
    ((code, line, column, message, hint),) = told(problems(tmp_path, text, {set_: "x"}))
    assert (code, line, column) == ("W108", 1, 25)
    said = 'client key "app" is off: environment variable DRAGOMAN_KEY is not set'
    assert message == (f"{said}; {set_} is" if near else said)
    assert hint.endswith(f", or write env:{set_}") == near


def test_a_provider_that_is_off_names_it_too_but_none_that_the_file_uses(tmp_path: Path) -> None:
    text = (KEYS % "env:BFL_API_KEY").replace("  a:", "  b: {profile: fal, keys: ['env:FAL_API_KEY']}\n  a:")
    found = problems(tmp_path, text, {"FAL_API_KEY": "x", "BFL_KEY": "y"})
    assert [one.message for one in found] == [
        'provider "a" is off: environment variable BFL_API_KEY is not set; BFL_KEY is'
    ]
    found = problems(tmp_path, text, {"FAL_API_KEY": "x"})
    assert [one.message for one in found] == [
        'provider "a" is off: environment variable BFL_API_KEY is not set'
    ]


# --- addresses ------------------------------------------------------------------------------------------

GOOGLE = "https://generativelanguage.googleapis.com"


@pytest.mark.parametrize(
    ("dialect", "base_url", "said", "cure"),
    [
        ("wire: gemini", GOOGLE, "has no version", f"write {GOOGLE}/v1beta"),
        ("wire: gemini", "https://relay.example/gemini", "has no version", "https://relay.example/gemini/v1beta"),
        ("wire: openai", "https://api.openai.com", "has no version", "write https://api.openai.com/v1"),
        ("wire: openai", "http://127.0.0.1:11434/", "has no version", "write http://127.0.0.1:11434/v1"),
        ("wire: openai", f"{GOOGLE}/v1beta", "is Google's own dialect", f"{GOOGLE}/v1beta/openai, or"),
        ("wire: openai", "https://a.example/v1/responses", "goes on to an endpoint", "https://a.example/v1"),
        ("wire: gemini", f"{GOOGLE}/v1beta/models", "goes on to an endpoint", f"write {GOOGLE}/v1beta"),
        ("profile: aigcbest", "https://relay.example", "has no version", "https://relay.example/v1, as in"),
        ("profile: evolink", "https://api.evolink.ai/v1", "holds /v1, which the profile adds itself",
         "write https://api.evolink.ai, as in https://api.evolink.ai"),
    ],
)  # fmt: skip
def test_an_address_that_leads_beside_the_vendor(
    tmp_path: Path, dialect: str, base_url: str, said: str, cure: str
) -> None:
    text = f"providers:\n  a: {{{dialect}, base_url: '{base_url}'}}\n"
    ((code, line, column, message, hint),) = told(problems(tmp_path, text))
    assert (code, line, column) == ("W144", 2, len(f"  a: {{{dialect}, base_url: ") + 1)
    assert said in message
    assert cure in hint


@pytest.mark.parametrize(
    ("dialect", "base_url"),
    [
        ("wire: gemini", f"{GOOGLE}/v1beta"),
        ("wire: gemini", "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/google"),
        ("wire: openai", f"{GOOGLE}/v1beta/openai"),
        ("wire: openai", "https://models.example/inference"),
        ("wire: openai", "https://api.perplexity.ai"),
        ("profile: jlike", "https://other.example/api/v1/openapi"),
        ("profile: dashscope", "https://dashscope-intl.aliyuncs.com"),
    ],
)  # fmt: skip
def test_an_address_that_is_right(tmp_path: Path, dialect: str, base_url: str) -> None:
    assert problems(tmp_path, f"providers: {{a: {{{dialect}, base_url: '{base_url}'}}}}\n") == []


# --- targets --------------------------------------------------------------------------------------------

VENDORS = (
    "providers:\n  j: {profile: jlike}\n  e: {profile: evolink}\n"
    "  o: {wire: openai, base_url: 'https://x.example/v1'}\nmodels:\n"
)


@pytest.mark.parametrize(
    ("target", "message", "hint"),
    [
        ("j.image/gemini-2.5-flash", "gemini-2.5-flash makes text, and image is a surface for pictures",
         "write j.text/gemini-2.5-flash"),
        ("j.wan/gpt-4o-mini", "gpt-4o-mini makes text, and wan is a surface for pictures",
         "write j.text/gpt-4o-mini"),
        ("e/claude-opus-5", "claude-opus-5 makes text, and image is a surface for pictures",
         "choose a model that makes pictures"),
        ("o.image/gpt-4o-mini", "gpt-4o-mini makes text, and image is a surface for pictures",
         "write o/gpt-4o-mini"),
        ("j.text/nano-banana", "nano-banana makes pictures, and text is a surface for text",
         "write j.image/nano-banana"),
    ],
)  # fmt: skip
def test_a_model_at_a_surface_of_the_other_kind(tmp_path: Path, target: str, message: str, hint: str) -> None:
    found = told(problems(tmp_path, f"{VENDORS}  m: {{targets: [{target}], price: unpriced}}\n"))
    assert found == [("W151", 6, 17, f'target "{target}": {message}', hint)]


@pytest.mark.parametrize(
    "target",
    [
        "j.image/gemini-2.5-flash-image",
        "e/gpt-image-2",
        "e/grok-imagine-2",
        "e/some-new-model",
        "o/nano-banana",
        "o/gpt-image-2",
        "o.image/gpt-image-2",
        "o.image/some-new-model",
    ],
)
def test_a_model_at_its_surface(tmp_path: Path, target: str) -> None:
    assert problems(tmp_path, f"{VENDORS}  m: {{targets: [{target}], price: unpriced}}\n") == []


@pytest.mark.parametrize(
    ("models", "line", "column", "message"),
    [
        ("  m: {targets: [o/a, o/b, o/c, o/d, o/e]}\n", 6, 32, "m has 5 targets and {}: o/d is never tried"),
        ("  m: {targets: [o/a], fallback: [o/b, o/c, o/d]}\n", 6, 44, "m has 4 targets and {}: o/d is never"),
        ("  m: {targets: [o/a], fallback: [n]}\n  n: {targets: [o/b, o/c], fallback: [o/d]}\n", 6, 34,
         "m has 4 targets and {}: o/d is never tried"),
        ("  m: {targets: [{use: o/a, weight: 1}, o/b, o/c, o/d], fallback: [o/e]}\n", 6, 67,
         "m has 5 targets and {}: o/e is never tried"),
    ],
)  # fmt: skip
def test_a_target_that_is_never_tried(
    tmp_path: Path, models: str, line: int, column: int, message: str
) -> None:
    ((code, *place, said, hint),) = told(problems(tmp_path, VENDORS + models))
    assert (code, *place) == ("W152", line, column)
    assert said.startswith(message.format("defaults.retry.attempts is 3"))
    assert hint == f"write defaults.retry.attempts: {said.split()[2]}"


@pytest.mark.parametrize(
    "models",
    [
        "  m: {targets: [o/a, o/b, o/c]}\n",
        "  m: {targets: [{use: o/a, weight: 1}, o/b, o/c, o/d]}\n",  # any of them may be the first
        "  m: {targets: [{use: o/a, weight: 0}, o/b, o/c], fallback: [o/d]}\n",
        "  m: {targets: [o/a], fallback: [n, o/b]}\n  n: {targets: [o/b, o/c]}\n",
    ],
)
def test_targets_that_all_have_their_turn(tmp_path: Path, models: str) -> None:
    assert problems(tmp_path, VENDORS + models) == []


def test_the_shipped_file_deserves_no_warning_of_its_own() -> None:
    environ = {"DRAGOMAN_KEY": "k"}
    assert {found.code for found in load(ROOT / "providers.yaml", environ).problems} == {"N107"}
