"""usageMetadata into OpenAI's counts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.types import Target, Usage
from proxy.wires.gemini.usage import merged, read_usage
from tests.gemini_replies import PAINTER, chunk, only, read, reply


@pytest.mark.parametrize(
    ("metadata", "usage"),
    [
        pytest.param({}, Usage(), id="G-170 nothing"),
        pytest.param(
            {
                "promptTokenCount": "20",
                "candidatesTokenCount": 7.0,
                "totalTokenCount": "27",
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": "12"},
                    {"modality": "IMAGE", "tokenCount": 8.0},
                ],
            },
            Usage(prompt=20, completion=7, prompt_text=12, prompt_image=8),
            id="64 bits as Google writes them",
        ),
        pytest.param(
            {
                "promptTokenCount": -3,
                "candidatesTokenCount": "-4",
                "totalTokenCount": True,
                "thoughtsTokenCount": "many",
                "cachedContentTokenCount": [9],
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": "-1"}],
            },
            Usage(prompt_text=0),
            id="no numbers of anything",
        ),
        pytest.param(
            {
                "promptTokenCount": 20,
                "candidatesTokenCount": 198,
                "thoughtsTokenCount": 405,
                "totalTokenCount": 623,
            },
            Usage(prompt=20, completion=603, reasoning=405),
            id="G-165, G-166 thoughts",
        ),
        pytest.param(
            {"promptTokenCount": 20, "candidatesTokenCount": 198, "thoughtsTokenCount": 405},
            Usage(prompt=20, completion=603, reasoning=405),
            id="G-166 without a total",
        ),
        pytest.param(
            {
                "promptTokenCount": 10,
                "candidatesTokenCount": 100,
                "thoughtsTokenCount": 60,
                "totalTokenCount": 110,
            },
            Usage(prompt=10, completion=100, reasoning=60),
            id="G-171 candidates include thoughts",
        ),
        pytest.param(
            {
                "promptTokenCount": 10,
                "toolUsePromptTokenCount": 5,
                "candidatesTokenCount": 3,
                "totalTokenCount": 18,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}],
                "toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 5}],
            },
            Usage(prompt=15, completion=3, prompt_text=15),
            id="G-167 tool use",
        ),
        pytest.param(
            {"promptTokenCount": 100, "cachedContentTokenCount": 90, "totalTokenCount": 101},
            Usage(prompt=100, completion=1, cached=90),
            id="G-168 cache",
        ),
        pytest.param(
            {"promptTokenCount": 9, "thoughtsTokenCount": 60, "totalTokenCount": 69},
            Usage(prompt=9, completion=60, reasoning=60),
            id="only thoughts",
        ),
        pytest.param(
            {"promptTokenCount": 12, "totalTokenCount": 12},
            Usage(prompt=12),
            id="a blocked prompt",
        ),
        pytest.param(
            {"promptTokenCount": 263, "candidatesTokenCount": 35, "totalTokenCount": 35},
            Usage(prompt=263, completion=35),
            id="a total that is smaller than its parts",
        ),
        pytest.param(
            {
                "promptTokenCount": 20,
                "candidatesTokenCount": 1300,
                "totalTokenCount": 1320,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 1},
                    {"modality": "DOCUMENT", "tokenCount": 2},
                    {"modality": "VIDEO", "tokenCount": 4},
                    {"modality": "IMAGE", "tokenCount": 5},
                    {"modality": "AUDIO", "tokenCount": 8},
                    {"modality": "SMELL", "tokenCount": 9},
                ],
                "candidatesTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 10},
                    {"modality": "IMAGE", "tokenCount": 1290},
                ],
            },
            Usage(
                prompt=20,
                completion=1300,
                prompt_text=7,
                prompt_image=5,
                prompt_audio=8,
                completion_text=10,
                completion_image=1290,
            ),
            id="G-169 modalities",
        ),
        pytest.param(
            {
                "promptTokenCount": 20,
                "cachedContentTokenCount": 12,
                "cacheTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 3},
                    {"modality": "IMAGE", "tokenCount": 4},
                    {"modality": "AUDIO", "tokenCount": 5},
                ],
            },
            Usage(prompt=20, cached=12, cached_image=4, cached_audio=5),
            id="what of the cache was sound",
        ),
        pytest.param(
            {"promptTokenCount": 20, "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}]},
            Usage(prompt=20),
            id="details of a cache that was not read",
        ),
        pytest.param(
            {"promptTokenCount": 3, "promptTokensDetails": [{"modality": 1, "tokenCount": 3}]},
            Usage(prompt=3, prompt_text=3),
            id="modalities as numbers",
        ),
        pytest.param(
            {"promptTokenCount": 3, "thoughtsTokenCount": None, "serviceTier": "standard"},
            Usage(prompt=3, service_tier="default"),
            id="G-136 service tier",
        ),
        pytest.param({"serviceTier": "FLEX"}, Usage(service_tier="flex"), id="G-136 flex"),
    ],
)
def test_counts(metadata: dict[str, Any], usage: Usage) -> None:
    assert read_usage(metadata) == usage


@pytest.mark.parametrize(
    ("model", "options", "tokens"),
    [
        ("gemini-2.5-flash-image", {}, 1290),
        ("nano-banana", {}, 1290),  # an alias of it
        ("gemini-3-pro-image", {}, 1120),
        ("x-2.5", {}, 1120),  # a name says nothing
        ("x", {"capabilities": {"image_tokens": 7}}, 7),
    ],
)
def test_picture_tokens_are_estimated_where_the_vendor_does_not_tell(
    model: str, options: Any, tokens: int
) -> None:
    """G-169: flagged, and never more than the completion."""
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    target = Target("google", model, options=options)
    counts = {"promptTokenCount": 5, "candidatesTokenCount": 3000, "totalTokenCount": 3005}
    [counted] = only(read(reply(picture, picture) | {"usageMetadata": counts}, target=target), Usage)
    assert counted == Usage(prompt=5, completion=3000, completion_image=2 * tokens, images=2, estimated=True)
    [guessed] = only(read(reply(picture), target=target), Usage)
    assert guessed == Usage(completion=tokens, completion_image=tokens, images=1, estimated=True)


def test_told_picture_tokens_are_not_estimated() -> None:
    """G-169."""
    details = [{"modality": "IMAGE", "tokenCount": 1120}]
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    counts = {"promptTokenCount": 5, "candidatesTokenCount": 1120, "candidatesTokensDetails": details}
    events = read(reply(picture) | {"usageMetadata": counts}, target=PAINTER)
    assert Usage(prompt=5, completion=1120, completion_image=1120, images=1) in events


def test_a_count_that_a_later_chunk_drops_or_zeroes_is_kept() -> None:
    """G-179: usage comes once, at the end."""
    events = read(
        chunk({"text": "a"}) | {"usageMetadata": {"promptTokenCount": 5, "cachedContentTokenCount": 4}},
        chunk({"text": "b"}) | {"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 1}},
        chunk({"text": "c"}) | {"usageMetadata": {"promptTokenCount": 0, "candidatesTokenCount": 2}},
        chunk({"text": "d"}, finishReason="STOP") | {"usageMetadata": {"trafficType": "ON_DEMAND"}},
        {"usageMetadata": {"candidatesTokenCount": 3, "totalTokenCount": 8}},
    )
    assert [event for event in events if type(event) is Usage] == [Usage(prompt=5, completion=3, cached=4)]


_COUNTS = st.dictionaries(
    st.sampled_from(
        [
            "promptTokenCount",
            "candidatesTokenCount",
            "thoughtsTokenCount",
            "toolUsePromptTokenCount",
            "totalTokenCount",
        ]
    ),
    st.integers(-1, 50) | st.none(),
)


@given(_COUNTS, _COUNTS, st.integers(0, 2))
def test_counts_never_contradict_themselves(first: Any, second: Any, images: int) -> None:
    """G-165, G-166."""
    usage = read_usage(merged(first, second), images=images)
    assert 0 <= usage.reasoning <= usage.completion
    assert (usage.completion_image or 0) <= usage.completion
    assert usage.prompt >= 0
