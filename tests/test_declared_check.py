"""Profiles are checked like programs: everything that is wrong, each at its own line and column."""

import pytest

from proxy.config import document, load
from proxy.config.problems import Report
from proxy.wires.declared import ProfileError, check_profile, effective, load_profile
from proxy.wires.declared.doubts import doubts
from tests.declared import NAMES, PROFILES, data, read

SMALL = """
base_url: https://api.example.com
surfaces:
  image:
    submit: {request: POST /jobs, body: {model: $model, prompt: $prompt}}
    task: {id: id}
    poll: {request: "GET /jobs/{task.id}"}
    state: {path: status, pending: [queued], success: [done], failed: [error]}
    result: {images: "urls[]"}
"""


def complaints(text, name="x", lookup=lambda name: None):
    """`line CODE [the text it points at] message; hint` of everything that is wrong."""
    report = Report("x.yaml", text)
    found = document.read(text, report)
    report.places = found.places
    if not report.problems:
        for problem in check_profile(name, found.value, lookup):
            report.add(*problem, at_key=problem.code == "E101")
    lines = text.splitlines()
    return [
        f"{one.line} {one.code} [{lines[one.line - 1][one.column - 1 :][:12]}] {one.message}; {one.hint}"
        for one in report.sorted()
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_profiles_are_right(name):
    assert complaints((PROFILES / f"{name}.yaml").read_text(encoding="utf-8"), name) == []


def test_the_small_profile_is_right():
    assert complaints(SMALL) == []


MISTAKES = {
    "E120": (
        "task: {id: id}",
        "task: {poll_url: u}",
        '7 E120 ["GET /jobs/{] poll.request uses {task.id} but task.id is missing; '
        "say where the submit reply has it: task: {id: ...}",
    ),
    "E121": (
        "failed: [error]",
        "failed: [error, done]",
        '8 E121 [[error, done] state "done" is listed under success and failed; ',
    ),
    "E122": (
        "prompt: $prompt",
        "prompt: $promtp",
        '5 E122 [$promtp}}] unknown input $promtp; did you mean "$prompt"?',
    ),
    "E122 option": (
        "prompt: $prompt",
        "prompt: $options.style",
        "5 E122 [$options.sty] unknown option $options.style; there are none",
    ),
    "E122 line": (
        "{task.id}",
        "{task.uuid}",
        '7 E122 ["GET /jobs/{] unknown input {task.uuid}; what the reply says of the job is '
        "declared under task, as one of id, poll_url, result_url, cancel_url",
    ),
    "E123": (
        '"urls[]"',
        '"urls[*"',
        '9 E123 ["urls[*"}] "urls[*" is not a valid path (column 7: it ends too early); ',
    ),
    "E123 JSONPath": (
        '"urls[]"',
        '"$.urls[*]"',
        '9 E123 ["$.urls[*]"}] "$.urls[*]" is not a valid path (column 1: unexpected "$"); '
        'paths are JMESPath, which starts without "$": urls[*]',
    ),
    "E123 function": (
        '"urls[]"',
        '"lenght(urls)"',
        '9 E123 ["lenght(urls] unknown function in path "lenght(urls)": lenght; did you mean "length"?',
    ),
    "E120 in a path": (
        '"urls[]"',
        '"$task.poll_url"',
        '9 E120 ["$task.poll_] result.images uses $task.poll_url but task.poll_url is missing; '
        "say where the submit reply has it: task: {poll_url: ...}",
    ),
    "E123 task": (
        "path: status",
        "path: $task.id",
        "8 E123 [$task.id, pe] a path uses $task.id, which only those of result.images can; ",
    ),
    "E101": (
        "result:",
        "resutl:",
        '9 E101 [resutl: {ima] unknown key "resutl" in surfaces.image; did you mean "result"?',
    ),
    "E101 nested": (
        "status, pending",
        "status, ending",
        '8 E101 [ending: [que] unknown key "ending" in surfaces.image.state; did you mean "pending"?',
    ),
    "no method": (
        "POST /jobs",
        "/jobs",
        "5 E103 [/jobs, body:] surfaces.image.submit.request is '/jobs'; it must be a method and a path"
        "; write POST /jobs, or GET, PUT, DELETE in place of POST",
    ),
    "small method": (
        "POST /jobs",
        "post jobs",
        "5 E103 [post jobs, b] surfaces.image.submit.request is 'post jobs'; it must be a method and a path"
        "; write POST /jobs",
    ),
    "host in the line": (
        "POST /jobs",
        "POST https://a.example/jobs",
        "5 E103 [POST https:/] surfaces.image.submit.request is 'POST https://a.example/jobs'; it must be a "
        "method and a path; write POST /jobs; the host, a.example, stands in base_url",
    ),
    "bare name in a line": ("{task.id}", "{id}", '7 E122 ["GET /jobs/{] unknown input {id}; write {task.id}'),
    "method": (
        "POST /jobs",
        "SEND /jobs",
        "5 E103 [SEND /jobs, ] surfaces.image.submit.request is 'SEND /jobs'; it must be a method and a path"
        "; write for example GET /tasks/{task.id}",
    ),
    "E143": (
        'GET /jobs/{task.id}"',
        'GET /jobs/{task.id}", every: 4',
        "7 E143 [4}] surfaces.image.poll.every 4 has no unit; write 4s",
    ),
    "poll that is over before it begins": (
        'GET /jobs/{task.id}"',
        'GET /jobs/{task.id}", every: 5m, give_up: 300s',
        "7 E124 [5m, give_up:] surfaces.image.poll.every 300s is not shorter than give_up 300s; "
        "write the pause between two questions, such as 3s",
    ),
    "key of another's": (
        'GET /jobs/{task.id}"',
        'GET /jobs/{task.id}", interval: 5s',
        '7 E101 [interval: 5s] unknown key "interval" in surfaces.image.poll; it is called every here',
    ),
    "status of a rule": (
        "surfaces:",
        "errors: {rules: [{class: quota, http: [402], status: [429]}]}\nsurfaces:",
        '3 E101 [status: [429] unknown key "status" in errors.rules[0]; it is called http here',
    ),
    "base_url in brackets": (
        "base_url: https://api.example.com",
        "base_url: https://[::1/v1",
        "2 E103 [https://[::1] base_url must be an address like https://host/path; "
        "the brackets of an IPv6 address stand around it: https://[2001:db8::1]:8443/v1",
    ),
    "base_url": (
        "https://api.example.com",
        "api.example.com",
        "2 E103 [api.example.] base_url must be an address like https://host/path; "
        "begin it with https://, or with http:// in a network of your own",
    ),
    "auth twice": (
        "surfaces:",
        "auth: {header: x-key, query: key}\nsurfaces:",
        "3 E106 [{header: x-k] auth has both a header and a query parameter; keep one",
    ),
    "auth header": (
        "surfaces:",
        "auth: {header: x key}\nsurfaces:",
        "3 E103 [x key}] auth.header must be the name of a header; ",
    ),
}


@pytest.mark.parametrize(("old", "new", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_each_mistake_has_its_place_and_a_hint(old, new, expected):
    """V-048"""
    assert old in SMALL
    assert expected in complaints(SMALL.replace(old, new))


IMAGE = ("surfaces", "image")
LINES = "braces are for request lines"
BACKTICKS = "the value is written in backticks: `false`"
TEXT = "which no false is equal to"
EITHER = "write `false` in backticks; where the vendor sends it as text, to_string(...) == 'false'"


@pytest.mark.parametrize(
    ("section", "value", "code", "where", "message", "hint"),
    [
        ("poll", {"request": "POST /q", "body": {"jobs": ["{task.id}"]}}, "W122", ("body", "jobs", 0),
         f"surfaces.image.poll.body.jobs[0] sends {{task.id}} as it stands: {LINES}", "$task.id"),
        ("poll", {"request": "POST /q/{task.id}", "headers": {"x-job": "job {task.id}"}}, "W122",
         ("headers", "x-job"),
         f'surfaces.image.poll.headers.x-job sends {{task.id}} as it stands: {LINES}', "$task.id"),
        ("submit", {"request": "POST /jobs", "form": {"text": "{prompt}"}}, "W122", ("form", "text"),
         f"surfaces.image.submit.form.text sends {{prompt}} as it stands: {LINES}", "$prompt"),
        ("submit", {"request": "POST /jobs", "body": {"text": "{{ prompt }}"}}, "W122", ("body", "text"),
         f"surfaces.image.submit.body.text sends {{{{ prompt }}}} as it stands: {LINES}", "$prompt"),
        ("submit", {"request": "POST /jobs", "body": '{"text": "$prompt"}'}, "W122", ("body",),
         "surfaces.image.submit.body sends $prompt as it stands: values are not inserted into a text",
         "let $prompt stand alone"),
        ("fail", {"when": "ok == false"}, "W123", ("when",),
         '"ok == false" compares with a key that is called false', BACKTICKS),
        ("fail", {"when": "'false' == ok || error"}, "W123", ("when",),
         f"\"'false' == ok || error\" compares with the text 'false', {TEXT}", EITHER),
        ("result", {"images": "urls[?done != false].u"}, "W123", ("images",),
         '"urls[?done != false].u" compares with a key that is called false', BACKTICKS),
        ("errors", {"rules": [{"class": "blocked", "when": "[ok == 'false'][0]"}]}, "W123",
         ("rules", 0, "when"), f"\"[ok == 'false'][0]\" compares with the text 'false', {TEXT}", EITHER),
    ],
)  # fmt: skip
def test_what_is_hardly_meant_is_doubted(section, value, code, where, message, hint):
    profile = read(SMALL)
    profile["surfaces"]["image"][section] = value
    assert check_profile("x", profile) == []
    (found,) = doubts(profile)
    assert (found.code, found.path, found.message) == (code, (*IMAGE, section, *where), message)
    assert hint in found.hint


@pytest.mark.parametrize(
    ("section", "value", "where", "message", "hint"),
    [
        ("size", {"aspects": ["16:9", "1x1"]}, ("aspects", 1),
         "surfaces.image.size.aspects[1] is '1x1'; a ratio has a colon between two numbers", 'write "1:1"'),
        ("limits", {"n": "2"}, ("n",), "surfaces.image.limits.n must be a whole number above 0, not text",
         "write 2, without quotes"),
        ("size", {"aspects": ["wide"]}, ("aspects", 0),
         "surfaces.image.size.aspects[0] is 'wide'; a ratio has a colon between two numbers",
         'write for example "16:9"'),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_says_what_to_write(section, value, where, message, hint):
    profile = read(SMALL)
    profile["surfaces"]["image"][section] = value
    (found,) = check_profile("x", profile)
    assert (found.code, found.path, found.message) == ("E103", (*IMAGE, section, *where), message)
    assert found.hint == hint


def test_a_word_for_a_bearer_token_says_how_it_is_written():
    profile = read(SMALL) | {"auth": "bearer"}
    (found,) = check_profile("x", profile)
    assert (found.path, found.message) == (("auth",), "auth must say how the key travels")
    assert found.hint == 'write {header: Authorization, prefix: "Bearer "}'


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("fail", {"when": "ok == `false`"}),
        ("fail", {"when": "to_string(ok) == 'false'"}),
        ("fail", {"when": "word == 'failed' || code != null || code == `1`"}),
        ("state", {"path": "status", "pending": ["a == false ]"], "success": ["done"]}),
        (
            "submit",
            {"request": "POST /jobs/{uuid}", "body": {"p": "$prompt", "x": '{"a": {x}}'}},
        ),
    ],
)
def test_what_may_be_meant_is_not_doubted(section, value):
    profile = read(SMALL)
    profile["surfaces"]["image"][section] = value
    assert check_profile("x", profile) == []
    assert doubts(profile) == []


@pytest.mark.parametrize("name", NAMES)
def test_no_shipped_profile_is_doubted(name):
    assert doubts(data(name)) == []


def test_all_mistakes_are_told_in_one_run():
    text = (
        SMALL.replace("$prompt", "$promtp")
        .replace('"urls[]"', '"urls[*"')
        .replace("[queued]", "[queued, done]")
    )
    assert [one.split()[1] for one in complaints(text)] == ["E122", "E121", "E123"]


@pytest.mark.parametrize(
    "text",
    [
        SMALL.replace('"urls[]"', "urls[]"),  # a list begins inside a flow mapping
        SMALL.replace("status, pending", "status, pending: [a], pending"),
    ],
)
def test_what_is_not_yaml_is_told_by_the_reader_of_the_file(text):
    """V-048: an unquoted [] in a flow mapping; a key twice."""
    (complaint,) = complaints(text)
    assert complaint.split()[1] in ("E100", "E102")


def test_a_key_that_is_a_boolean_is_refused():
    """V-048: readers of YAML 1.1 make True of `on`."""
    value = read(SMALL)
    value["surfaces"]["image"]["submit"]["body"][True] = 1
    value["surfaces"]["image"][False] = {}
    found = {(one.code, one.path, one.message) for one in check_profile("x", value)}
    assert ("E126", ("surfaces", "image", False), "False is no text, so it cannot be a key") in found
    where = ("surfaces", "image", "submit", "body", True)
    assert ("E126", where, "True is no text, so it cannot be a key") in found


def test_overlays_are_checked_at_their_own_lines():
    text = (
        SMALL
        + "    models:\n      small-*:\n        size: {tiers: [1k]}\n        submit: {body: {p: $promt}}\n"
    )
    assert complaints(text) == [
        "12 E103 [[1k]}] surfaces.image.models[\"small-*\"].size.tiers is '1k'; "
        "it must be one of 512, 1K, 2K, 3K, 4K, 8K; ",
        '13 E122 [$promt}}] unknown input $promt; did you mean "$prompt"?',
    ]


def test_overlays_and_surface_are_checked_together():
    text = SMALL + "    models: {m: {state: {canceled: [done]}}}\n    with_references: {task: {id: null}}\n"
    assert {one.split()[1] for one in complaints(text)} == {"E120", "E121"}


@pytest.mark.parametrize(
    ("surface", "expected"),
    [
        ("{submit: {body: {}}}", 'surfaces.image has no "submit.request"; '),
        (
            "{submit: {request: POST /x}}",
            'surfaces.image has no "result.images"; '
            "say where the pictures are, or picture: true where the reply is one itself",
        ),
        ("{speaks: klingon}", "surfaces.image.speaks is 'klingon'; it must be one of gemini, openai; "),
        ("{speaks: openai, path: chat}", "surfaces.image.path must be a path that starts with /; "),
        ("[]", "surfaces.image must be a mapping of keys; "),
    ],
)
def test_a_surface_must_be_complete(surface, expected):
    (complaint,) = complaints(f"\nbase_url: https://a.example\nsurfaces: {{image: {surface}}}\n")
    assert complaint.split("] ", 1)[1] == expected


@pytest.mark.parametrize(
    "rule",
    [
        "{http: [400]}",
        "{class: blocked}",
        "{class: moderation, http: [400]}",
        "{class: blocked, http: [a]}",
        "5",
    ],
)
def test_a_rule_needs_a_known_class_and_a_condition(rule):
    text = SMALL + f"errors: {{message: error, rules: [{rule}]}}\n"
    assert complaints(text)


@pytest.mark.parametrize(
    "value", [None, [], "text", {"surfaces": {}}, {"surfaces": []}, {"surfaces": {"a": None}}, {}]
)
def test_what_is_no_profile_at_all_is_a_problem(value):
    assert check_profile("x", value)
    with pytest.raises((ProfileError, AttributeError)):
        load_profile("x", value or {}).surface("a").variant("m")


def test_a_profile_with_another_name_inside_is_a_problem():
    (problem,) = check_profile("x", {**read(SMALL), "name": "y"})
    assert problem[:2] == ("E103", ("name",))


# --- extends ---------------------------------------------------------------------------------------

CHILD = """
extends: evolink
base_url: https://other.example
surfaces:
  image:
    submit: {request: POST /v2/images}
    poll: {every: 10s}
    limits: {max_references: null}
"""


def test_a_profile_may_extend_another_and_shows_what_it_comes_to():
    """V-058: keys of a section one by one, values whole, null takes away."""
    whole = effective(read(CHILD), data)
    image, parent = whole["surfaces"]["image"], data("evolink")["surfaces"]["image"]
    assert whole["base_url"] == "https://other.example"
    assert image["submit"] == {**parent["submit"], "request": "POST /v2/images"}
    assert image["poll"] == {**parent["poll"], "every": "10s"}
    assert image["limits"] == {**parent["limits"], "max_references": None}
    assert image["errors"] == data("evolink")["errors"]
    assert image["state"] == parent["state"]
    assert "extends" not in whole


def test_an_extended_profile_is_checked_and_loaded():
    value = read(CHILD)
    assert check_profile("child", value, data) == []
    variant = load_profile("child", value, data).surface().variant("m")
    assert (variant.poll.plan.every_s, variant.limits.max_references) == (10, None)


def test_inherited_and_own_words_are_checked_together():
    """E121"""
    value = read(CHILD)
    value["surfaces"]["image"]["state"] = {"lost": ["completed"]}
    assert [one.code for one in check_profile("child", value, data)] == ["E121"]


def test_the_extended_profile_must_exist():
    codes = [one.code for one in check_profile("child", read(CHILD))]
    assert "E115" in codes


def test_profiles_that_extend_each_other_do_not_hang():
    ring = {"a": {**read(SMALL), "extends": "b"}, "b": {**read(SMALL), "extends": "a"}}
    assert effective(ring["a"], ring.get)["base_url"] == "https://api.example.com"


def test_a_ring_of_profiles_is_a_problem():
    ring = {"a": {**read(SMALL), "extends": "b"}, "b": {**read(SMALL), "extends": "a"}}
    assert [(one.code, one.message) for one in check_profile("a", ring["a"], ring.get)] == [
        ("E112", "profiles extend each other: a -> b -> a")
    ]


def test_what_is_wrong_with_a_parent_is_not_told_twice():
    broken = {"parent": {**read(SMALL), "surfaces": {"image": {"models": []}}}}
    assert check_profile("parent", broken["parent"])
    assert check_profile("child", {**read(SMALL), "extends": "parent"}, broken.get) == []


def test_a_grandparent_is_inherited_too():
    family = {"child": read(CHILD), "evolink": data("evolink")}
    grandchild = {"extends": "child", "base_url": "https://third.example"}
    assert check_profile("grandchild", grandchild, family.get) == []
    assert effective(grandchild, family.get)["surfaces"]["image"]["poll"]["every"] == "10s"


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("a..b", 'column 3: unexpected "."'),
        ("'abc", "column 1: Unclosed ' delimiter"),
        ("a[", "column 3: it ends too early"),
        ("a[?b='c']", "column 5: Unknown token '='"),
        ("images[].(url || data_uri)", 'column 10: unexpected "("'),
    ],
)
def test_a_path_s_mistake_has_its_column(path, complaint):
    """E123"""
    value = read(SMALL)
    value["surfaces"]["image"]["result"]["images"] = [path]
    (problem,) = check_profile("x", value)
    assert (problem.code, problem.path) == ("E123", ("surfaces", "image", "result", "images", 0))
    assert problem.message == f'"{path}" is not a valid path ({complaint})'


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"submit": {"request": "POST /jobs/{task.id}"}}, "E120"),
        ({"poll": {"request": "GET /jobs"}, "task": None}, "E120"),
        ({"models": {"m": 5}}, "E103"),
        ({"models": []}, "E103"),
        ({"with_references": "x"}, "E103"),
        ({"poll": []}, "E103"),
        ({"size": 0}, "E103"),
        ({"submit": {"request": "POST /x", "headers": []}}, "E103"),
        ({"errors": {"rules": {}}}, "E103"),
        ({"billing": {"refunded_on_failure": "yes"}}, "E103"),
        ({"billing": {"unit": 5}}, "E103"),
        ({"limits": {"n": 0}}, "E103"),
        ({"limits": {"references": ["paper"]}}, "E103"),
        ({"size": {"table": []}}, "E103"),
        ({"size": {"max_ratio": "wide"}}, "E103"),
        ({"state": {"path": 5}}, "E123"),
    ],
)
def test_other_mistakes(change, code):
    value = read(SMALL)
    value["surfaces"]["image"].update(change)
    assert code in [one.code for one in check_profile("x", value)]


def test_a_chat_surface_must_say_what_it_speaks_in_each_layer():
    value = {"surfaces": {"chat": {"speaks": "openai", "models": {"m": {"speak": "gemini"}}}}}
    (problem,) = check_profile("x", value)
    assert (problem.code, problem.hint) == ("E101", 'did you mean "speaks"?')


def test_a_profile_that_was_not_checked_is_refused_when_it_is_used():
    value = read(SMALL)
    value["surfaces"]["image"]["result"]["images"] = "urls[*"
    with pytest.raises(ProfileError, match=r"profile x: surfaces\.image\.result\.images: E123"):
        load_profile("x", value).surface().variant("m")
    with pytest.raises(ProfileError, match="E103"):
        load_profile("x", {"surfaces": {"chat": {"speaks": "klingon"}}}).surface().variant("m")
    with pytest.raises(KeyError):
        load_profile("x", read(SMALL)).surface("nowhere")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("4", "4 has no unit"),
        ("0.5", "0.5 has no unit"),
        ("4 s", '"4 s" is not a duration; write 4s'),
        ("4sec", '"4sec" is not a duration; write 4s'),
        ("-4s", '"-4s" is not a duration; write for example 500ms, 5s, 10m, 1h, 30d'),
        ("true", "must be a number with its unit, as text"),
        ("[4s]", "must be a number with its unit, as text"),
    ],
)
def test_a_wrong_duration_is_told_alike_in_a_profile_and_in_the_file(written, words, tmp_path):
    (told,) = complaints(SMALL.replace('{task.id}"', '{task.id}", every: ' + written))
    file = tmp_path / "providers.yaml"
    file.write_text(f"version: 1\ndefaults: {{heartbeat: {written}}}\n")
    (problem,) = load(file, {}).problems
    assert told.split("] ", 1)[1] == f"surfaces.image.poll.every {words}; {problem.hint}"
    assert (problem.code, problem.message) == ("E143", f"defaults.heartbeat {words}")
