"""Token counts of upstreams that speak OpenAI add up, whatever they wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.types import Json, Usage
from proxy.wires.openai import usage
from tests.openai_wire import delta, events, whole

CASES: dict[str, tuple[Json, Usage]] = {
    "004": (
        {
            "prompt_tokens": 1304,
            "completion_tokens": 1297,
            "total_tokens": 2601,
            "prompt_tokens_details": {"text_tokens": 14, "image_tokens": 1290},
            "completion_tokens_details": {"image_tokens": 1290},
        },
        Usage(1304, 1297, prompt_text=14, prompt_image=1290, completion_text=7, completion_image=1290),
    ),
    "predictions and cache writes": (
        {
            "prompt_tokens": 10,
            "completion_tokens": 9,
            "total_tokens": 19,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 8},
            "completion_tokens_details": {"accepted_prediction_tokens": 4, "rejected_prediction_tokens": 0},
        },
        Usage(10, 9, cache_write=8, accepted_prediction=4, rejected_prediction=0),
    ),
    "numbers as strings": (
        {
            "prompt_tokens": "10",
            "completion_tokens": "9",
            "total_tokens": 19.0,
            "prompt_tokens_details": {"cached_tokens": "4"},
        },
        Usage(10, 9, cached=4),
    ),
    "no numbers": (
        {"prompt_tokens": "ten", "completion_tokens": "-1", "total_tokens": True},
        Usage(0, 0),
    ),
    "cache writes by litellm's name": (
        {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cache_creation_tokens": 3}},
        Usage(9, 1, cache_write=3),
    ),
    "cache writes by anthropic's name": (
        {"prompt_tokens": 9, "completion_tokens": 1, "cache_creation_input_tokens": 3},
        Usage(9, 1, cache_write=3),
    ),
    "xai leaves thoughts out": (
        {
            "prompt_tokens": 12,
            "completion_tokens": 2,
            "total_tokens": 354,
            "prompt_tokens_details": {
                "text_tokens": 12,
                "audio_tokens": 0,
                "image_tokens": 0,
                "cached_tokens": 11,
            },
            "completion_tokens_details": {"reasoning_tokens": 340, "audio_tokens": 0},
            "cost_in_usd_ticks": 1721250,
        },
        Usage(
            12,
            342,
            reasoning=340,
            cached=11,
            prompt_text=12,
            prompt_image=0,
            prompt_audio=0,
            completion_audio=0,
            vendor={"cost_in_usd_ticks": 1721250},
        ),
    ),
    "google leaves thoughts out and does not tell": (
        {"completion_tokens": 6, "prompt_tokens": 66, "total_tokens": 100},
        Usage(66, 34, reasoning=28),
    ),
    "openrouter's thoughts are more than all": (
        {
            "prompt_tokens": 43,
            "completion_tokens": 10,
            "total_tokens": 53,
            "cost": 0.01,
            "cost_details": {"upstream_inference_cost": None},
            "completion_tokens_details": {"reasoning_tokens": 11, "image_tokens": 0},
        },
        Usage(
            43,
            10,
            reasoning=10,
            completion_text=0,
            completion_image=0,
            vendor={"cost": 0.01, "cost_details": {"upstream_inference_cost": None}},
        ),
    ),
    "total too small": ({"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 0}, Usage(5, 6)),
    "no total": ({"prompt_tokens": 5, "completion_tokens": 6}, Usage(5, 6)),
    "null details": (
        {
            "prompt_tokens": 5,
            "completion_tokens": 6,
            "prompt_tokens_details": None,
            "completion_tokens_details": None,
        },
        Usage(5, 6),
    ),
    "deepseek's cache": (
        {
            "prompt_tokens": 50,
            "completion_tokens": 1,
            "prompt_cache_hit_tokens": 40,
            "prompt_cache_miss_tokens": 10,
        },
        Usage(50, 1, cached=40),
    ),
    "anthropic's cache": (
        {"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 100},
        Usage(103, 4, cached=100),
    ),
    "what of the cache was sound": (
        {
            "prompt_tokens": 50,
            "completion_tokens": 1,
            "prompt_tokens_details": {
                "audio_tokens": 30,
                "cached_tokens": 25,
                "cached_tokens_details": {"text_tokens": 5, "audio_tokens": 20, "image_tokens": 0},
            },
        },
        Usage(50, 1, cached=25, prompt_audio=30, cached_audio=20, cached_image=0),
    ),
    "a transcription": (
        {
            "type": "tokens",
            "input_tokens": 14,
            "input_token_details": {"text_tokens": 5, "audio_tokens": 9},
            "output_tokens": 45,
            "output_token_details": {"text_tokens": 45, "audio_tokens": 0},
            "total_tokens": 59,
        },
        Usage(14, 45, prompt_text=5, prompt_audio=9, completion_text=45, completion_audio=0),
    ),
    "details too large": (
        {
            "prompt_tokens": 5,
            "completion_tokens": 1,
            "prompt_tokens_details": {"image_tokens": 9, "text_tokens": 9},
        },
        Usage(5, 1, prompt_image=5, prompt_text=0),
    ),
    "odd numbers": ({"prompt_tokens": "5", "completion_tokens": 6.0, "total_tokens": -1}, Usage(5, 6)),
}


@pytest.mark.parametrize(("counts", "expected"), CASES.values(), ids=CASES)
def test_counts(counts: Json, expected: Usage) -> None:
    """V-031, G-165, G-166, G-168, G-169"""
    assert usage.read(counts) == expected
    assert expected in events(whole(content="x") | {"usage": counts})


def test_counts_are_found_wherever_they_stand_and_the_last_ones_hold() -> None:
    """Moonshot puts them into the choice, Groq into `x_groq`; some send zeros at the end."""
    in_choice = delta(content="x")
    in_choice["choices"][0]["usage"] = {"prompt_tokens": 1, "completion_tokens": 2}
    grown = {"id": "a", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 3}}
    zeros = {"id": "a", "choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}
    groq = delta() | {"x_groq": {"usage": {"prompt_tokens": 1, "completion_tokens": 4}}}
    assert Usage(1, 2) in events(in_choice)
    assert Usage(1, 3) in events(in_choice, grown, zeros)
    assert Usage(1, 4) in events(in_choice, grown, groq)


def test_the_vendors_charge_and_tier_are_kept() -> None:
    """V-008: `_billing` verbatim."""
    reply = whole(content="x") | {
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        "_billing": {"cost": "0.02"},
        "service_tier": "default",
    }
    assert Usage(1, 1, service_tier="default", vendor={"_billing": {"cost": "0.02"}}) in events(reply)


def test_without_counts_there_is_no_usage() -> None:
    assert not any(isinstance(event, Usage) for event in events(whole(content="x") | {"usage": None}))


_NUMBERS = st.one_of(st.none(), st.integers(-5, 2000), st.floats(), st.text(max_size=2), st.booleans())
_DETAILS = st.dictionaries(
    st.sampled_from(["text_tokens", "image_tokens", "audio_tokens", "reasoning_tokens", "cached_tokens"]),
    _NUMBERS,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "prompt_tokens": _NUMBERS,
            "completion_tokens": _NUMBERS,
            "total_tokens": _NUMBERS,
            "prompt_tokens_details": st.one_of(st.none(), _DETAILS),
            "completion_tokens_details": st.one_of(st.none(), _DETAILS),
        },
    )
)
def test_details_never_exceed_their_sum(counts: Json) -> None:
    """V-031: the rule to preserve."""
    found = usage.read(counts)
    assert 0 <= found.cached <= found.prompt
    assert 0 <= found.reasoning <= found.completion
    before = (found.prompt_text, found.prompt_image, found.prompt_audio)
    after = (found.completion_text, found.completion_image, found.completion_audio, found.reasoning)
    for whole_count, parts in ((found.prompt, before), (found.completion, after)):
        assert all(part is None or part >= 0 for part in parts)
        assert sum(part or 0 for part in parts) <= whole_count
