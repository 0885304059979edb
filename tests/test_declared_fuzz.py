"""Whatever a vendor sends, the interpreter answers with an outcome or with our own error."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import UpstreamError
from proxy.types import Slice
from proxy.wires.declared import Done, Outcome, Pending, Surface, check_profile, load_profile
from tests.declared import NAMES, PNG, asked, data, shipped, target, wire
from tests.long import LONG

WORDS = st.sampled_from([
    "status", "state", "output", "data", "results", "images", "url", "error", "code", "message", "id",
    "task_id", "usage", "detail", "choices", "content", "_billing", "cost", "image", "inlineData",
    "has_nsfw_concepts",
])  # fmt: skip
TEXTS = ["pending", "SUCCEEDED", "failed", "https://a.example/1.png", PNG, "data:image/png;base64," + PNG]
LEAVES = (
    st.sampled_from([None, True, 0, -1, 2.5, *TEXTS, Slice(PNG.encode())]) | st.floats() | st.text(max_size=8)
)
BODIES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=25,
)
SURFACES = [
    (name, surface.name)
    for name in NAMES
    for surface in shipped(name).surfaces.values()
    if isinstance(surface, Surface)
]


def come_to(ask):
    """What is asked for, or the error it raises."""
    try:
        return ask()
    except UpstreamError as error:
        return error


@pytest.mark.parametrize(("name", "surface"), SURFACES)
@settings(max_examples=40 * LONG)
@given(
    payload=st.dictionaries(WORDS, BODIES, max_size=6) | BODIES,
    status=st.sampled_from([200, 202, 400, 404, 429, 500]),
    phase=st.sampled_from(["submit", "poll", "result"]),
)
def test_any_reply_is_judged(name, surface, payload, status, phase):
    one = wire(name, surface)
    call = one.submit(asked(), target(name, "m", surface))
    call.context["phase"] = phase
    call.context["task"]["id"] = "t-1"
    outcome = come_to(lambda: one.judge(call, status, {}, payload))
    assert isinstance(outcome, Outcome | UpstreamError)
    if isinstance(outcome, UpstreamError):
        assert outcome.status >= 400
        assert outcome.status not in (401, 402, 403)
        assert 0 < len(outcome.message) <= 1000


@pytest.mark.parametrize(("name", "surface"), SURFACES)
@settings(max_examples=40 * LONG)
@given(payloads=st.lists(st.dictionaries(WORDS, BODIES, max_size=4), max_size=4))
def test_any_stream_comes_to_an_end(name, surface, payloads):
    one = wire(name, surface)
    reader = one.reader(one.submit(asked(), target(name, "m", surface)))

    def read():
        for payload in payloads:
            reader.feed(payload)
        return reader.close()

    assert isinstance(come_to(read), Done | Pending | UpstreamError)


def places(value, path=()):
    """The paths of everything inside a value."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


JUNK = st.sampled_from(
    [None, True, 0, -1, 2.5, "", "$", "$x", "a[", "POST", [], [1], {}, {"x": 1}, {1: 2}, {"$each": 1}]
)


@given(name=st.sampled_from(NAMES), chosen=st.data())
def test_a_broken_profile_is_refused_or_works_but_never_crashes(name, chosen):
    value = copy.deepcopy(data(name))
    *path, last = chosen.draw(st.sampled_from(list(places(value))[1:]))
    holder = value
    for step in path:
        holder = holder[step]
    holder[last] = chosen.draw(JUNK)
    if not check_profile(name, value):
        for surface in load_profile(name, value).surfaces.values():
            for model in ("m", "nano-banana-2", "gpt-image-2-vip", "wan2.5-i2i-preview"):
                surface.variant(model)
