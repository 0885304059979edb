"""A line of the log is written whatever a vendor or a client put into it."""

import io
import json
from typing import Any

import pytest

from proxy.logs import Log


@pytest.mark.parametrize(
    ("value", "told"),
    [
        pytest.param(2**70, 2**70, id="a large number"),
        pytest.param("cut \ud83d", "cut \ud83d", id="half a character"),
        pytest.param({"a": {1}}, {"a": "{1}"}, id="a set"),
        pytest.param({"a": [2**65, {2}]}, {"a": [2**65, "{2}"]}, id="both"),
    ],
)
def test_odd_facts_are_told(value: Any, told: Any) -> None:
    stream = io.BytesIO()
    Log(stream).write("job_accepted", task=value)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["task"]) == ("job_accepted", told)
    assert stream.getvalue().endswith(b"}\n")
