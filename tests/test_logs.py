"""A line of the log is written whatever a vendor or a client put into it."""

import io
import json
from typing import Any

import pytest

from proxy.logs import Log


def test_a_line_for_people_has_words_and_no_control_characters() -> None:
    stream = io.BytesIO()
    log = Log(stream, people=True)
    log.write("request", id="r1", method="GET", path="/v1/\x1b[31mx", status=404, ms=3, key=None)
    line = stream.getvalue().decode()
    assert line[2] == line[5] == ":"
    assert line[8:] == " request 404 GET /v1/?[31mx  id=r1  ms=3\n"


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
