"""How a profile's requests are written and its replies are read, where they are not plain JSON in a POST."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Call, FormFile, Image, Slice, Target
from proxy.upstream import forms
from proxy.wires.declared import DeclaredWire, Done, Pending, check_profile, load_profile
from tests.declared import PNG, asked, by_data, by_url, read

BASE = "https://v.example/api"
SMALL = """
base_url: https://v.example/api
surfaces:
  image:
    submit: {request: POST /jobs, body: {prompt: $prompt}}
    task: {id: id, poll_url: _headers.location}
    poll: {request: "GET /jobs/{task.id}"}
    state: {path: status, pending: [queued], success: [done]}
    result: {images: "urls[]"}
"""


def made(*changes: tuple[str, str]) -> DeclaredWire:
    text = SMALL
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    data = read(text)
    assert check_profile("v", data) == []
    return DeclaredWire(load_profile("v", data).surface(), BASE)  # type: ignore[arg-type]


TARGET = Target("v", "m-1")


def submit(wire: DeclaredWire, request: Any = None, **more: Any) -> Call:
    return wire.submit(request or asked("a cat"), TARGET, **more)


def body_of(call: Call) -> tuple[bytes, str]:
    form = forms.encode(call)
    return b"".join(piece.decode() if isinstance(piece, Slice) else piece for piece in form.pieces), (
        form.content_type
    )


# --- what is sent


def test_a_form_repeats_lists_and_writes_true_as_json_does() -> None:
    form = "form: {prompt: $prompt, n: $n, ref: $references, hd: true, more: {a: 1}, none: $seed}"
    wire = made(("body: {prompt: $prompt}", form), ("result:", "limits: {references: [url]}\n    result:"))
    urls = tuple(by_url(f"https://a.example/{at}.png") for at in (1, 2))
    call = submit(wire, asked("a cat & Straße", references=urls))
    assert body_of(call) == (
        b"prompt=a+cat+%26+Stra%C3%9Fe&n=1&ref=https%3A%2F%2Fa.example%2F1.png"
        b"&ref=https%3A%2F%2Fa.example%2F2.png&hd=true&more=%7B%22a%22%3A1%7D",
        "application/x-www-form-urlencoded",
    )


def test_multipart_is_a_form_with_parts_also_without_files() -> None:
    call = submit(made(("body:", "multipart:")))
    body, kind = body_of(call)
    assert call.files == ()
    assert kind.startswith("multipart/form-data; boundary=")
    assert body.count(b'content-disposition: form-data; name="prompt"\r\n\r\na cat\r\n') == 1


@pytest.mark.parametrize("encoding", ["multipart", "raw", "json"])
def test_a_type_of_a_file_stands_in_one_line(encoding: Any) -> None:
    """As the data URL of a mask may have it, which nobody has looked into."""
    file = FormFile("mask", "m.png", "image/png\r\nx-a: b\0", Slice(PNG.encode()))
    body, kind = body_of(Call("/x", {}, encoding=encoding, files=(file,)))
    assert b"image/png x-a: b " in (kind.encode() if encoding == "raw" else body)
    assert b"\nx-a" not in body + kind.encode()


def test_a_body_may_be_a_list() -> None:
    call = submit(made(("body: {prompt: $prompt}", "body: [{task: draw, prompt: $prompt}]")))
    assert call.body == [{"task": "draw", "prompt": "a cat"}]


def test_requests_about_a_job_have_bodies_and_headers() -> None:
    wire = made(
        (
            'poll: {request: "GET /jobs/{task.id}"}',
            "poll: {request: POST /query, headers: {X-Job: $task.id}, "
            "body: [{job: $task.id, model: $model}]}\n"
            "    cancel: {request: POST /drop, form: {job: $task.id}}",
        ),
        ("result: {", "result: {request: PUT /fetch, body: {job: $task.id}, "),
    )
    task = {"provider": "v", "model": "m-1", "references": False, "id": "j 1"}
    poll, result, cancel = wire.poll(task), wire.result(task), wire.cancel(task, "queued")
    assert (poll.method, poll.path, poll.headers, poll.body) == (
        "POST",
        "/query",
        {"X-Job": "j 1"},
        [{"job": "j 1", "model": "m-1"}],
    )
    assert result is not None
    assert (result.method, result.path, result.body) == ("PUT", "/fetch", {"job": "j 1"})
    assert cancel is not None
    assert body_of(cancel)[0] == b"job=j+1"


def test_a_job_without_what_its_poll_names_is_lost() -> None:
    wire = made(('request: "GET /jobs/{task.id}"', "request: POST /query, body: {job: $task.id}"))
    with pytest.raises(UpstreamError) as caught:
        wire.poll({"provider": "v", "model": "m", "references": False, "poll_url": BASE})
    assert (caught.value.error_class, caught.value.message) == (
        ErrorClass.LOST,
        "v gave no id for the job.",
    )


def test_a_job_is_not_called_off_by_a_name_that_the_vendor_has_not_told_yet() -> None:
    """It is known by our own id alone, and its order's reply never came."""
    wire = made(
        ("{prompt: $prompt}", "{prompt: $prompt, id: $uuid}"),
        ('poll: {request: "GET /jobs/{task.id}"}',
         'poll: {request: "GET /query/{uuid}"}\n    cancel: {request: "POST /drop/{task.id}"}'),
    )  # fmt: skip
    task = {
        "provider": "v",
        "model": "m-1",
        "references": False,
        "uuid": "00000000-0000-4000-8000-0000000000a1",
    }
    assert wire.can_ask(task)
    assert wire.cancel(task, None) is None
    named = wire.cancel({**task, "id": "7"}, None)
    assert named is not None
    assert named.path == "/drop/7"


def test_our_own_id_is_in_the_order_and_in_what_is_asked_about_it() -> None:
    wire = made(
        ("{prompt: $prompt}", "{prompt: $prompt, id: $uuid}"),
        ("task: {id: id, poll_url: _headers.location}", "task: {}"),
        ('"GET /jobs/{task.id}"', '"POST /query/{uuid}", body: {job: $uuid}'),
    )
    order = "00000000-0000-4000-8000-0000000000a1"
    call = submit(wire, order=order)
    assert call.body == {"prompt": "a cat", "id": order}
    pending = wire.judge(call, 200, {}, {"status": "queued"})
    assert isinstance(pending, Pending)
    poll = wire.poll(pending.task)
    assert (poll.path, poll.body) == (
        "/query/00000000-0000-4000-8000-0000000000a1",
        {"job": "00000000-0000-4000-8000-0000000000a1"},
    )


def test_a_vendor_that_knows_our_own_id_too_is_asked_by_it_until_it_tells_another() -> None:
    """Kling: "choose one" of its id and of external_task_id."""
    wire = made(
        ("{prompt: $prompt}", "{prompt: $prompt, external_id: $uuid}"),
        ("task: {id: id, poll_url: _headers.location}", "task: {id: id, ours: true}"),
    )
    order = "00000000-0000-4000-8000-0000000000a1"
    call = submit(wire, order=order)
    unheard = call.context["task"]
    assert wire.can_ask(unheard)
    assert wire.poll(unheard).path == f"/jobs/{order}"
    pending = wire.judge(call, 200, {}, {"id": "7", "status": "queued"})
    assert isinstance(pending, Pending)
    assert wire.poll(pending.task).path == "/jobs/7"


@pytest.mark.parametrize(
    ("size", "sides"), [("1792x1024", (1792, 1024)), ("1:1", (1024, 1024)), (None, (None, None))]
)
def test_width_and_height_are_numbers(size: str | None, sides: tuple[int | None, int | None]) -> None:
    wire = made(
        ("{prompt: $prompt}", "{prompt: $prompt, size: {w: $width, h: $height}}"),
        ("result:", "size: {mode: pixels, separator: '*'}\n    result:"),
    )
    body = submit(wire, asked("a cat", size=size)).body
    assert (body.get("size", {}).get("w"), body.get("size", {}).get("h")) == sides


def test_what_is_absent_has_a_row_of_its_own_in_a_table() -> None:
    table = "{$map: $quality, $to: {high: 2, null: 1}, $else: 0}"
    wire = made(("{prompt: $prompt}", f"{{steps: {table}, more: {{$map: $seed, $to: {{1: 1}}, $else: 2}}}}"))
    assert submit(wire, asked("a", quality="high")).body == {"steps": 2}
    assert submit(wire, asked("a")).body == {"steps": 1}
    assert submit(wire, asked("a", quality="low", seed=1)).body == {"steps": 0, "more": 1}


def test_a_value_that_a_table_does_not_have_is_named_as_dropped() -> None:
    table = "{$map: $output_format, $to: {png: PNG, jpeg: JPG}}"
    wire = made(("{prompt: $prompt}", f"{{prompt: $prompt, format: {table}}}"))
    assert submit(wire, asked("a", output_format="jpeg")).dropped == ()
    lost = submit(wire, asked("a", output_format="webp"))
    assert (lost.body, lost.dropped) == ({"prompt": "a"}, ("output_format",))
    both = made(("{prompt: $prompt}", f"{{format: {table}, kind: $output_format}}"))
    assert submit(both, asked("a", output_format="webp")).dropped == ()
    other = made(("{prompt: $prompt}", f"{{format: {table[:-1]}, $else: PNG}}}}"))
    assert submit(other, asked("a", output_format="webp")).dropped == ()


# --- pictures ahead of an order

UPLOADS = (
    "submit: {request: POST /jobs, body: {prompt: $prompt}}",
    "upload: {request: 'POST /files/{model}', headers: {X-Type: $mime}, body: {name: $name, data: $base64}, "
    "result: [file.id, id]}\n"
    "    limits: {references: [url, upload]}\n"
    "    submit: {request: POST /jobs, body: {prompt: $prompt, refs: $references, mask: $mask}}",
)


def test_an_order_names_pictures_by_what_the_vendor_called_them() -> None:
    wire = made(UPLOADS)
    request = asked("a cat", references=(by_url(), by_data()), mask=by_data())
    uploads = wire.uploads(request, TARGET)
    assert [(one.path, one.headers, one.body) for one in uploads] == [
        ("/files/m-1", {"X-Type": "image/png"}, {"name": "image.png", "data": Slice(PNG.encode())})
    ] * 2
    names = [
        wire.uploaded(uploads[0], 200, {}, {"file": {"id": 7}}),
        wire.uploaded(uploads[1], 201, {}, {"id": "m"}),
    ]
    call = submit(wire, request, uploaded=names)
    assert call.body == {"prompt": "a cat", "refs": ["https://example.com/cat.png", "7"], "mask": "m"}
    assert submit(wire, request).body["refs"] == ["https://example.com/cat.png", "{upload 1}"]


@pytest.mark.parametrize(
    ("written", "shown"),
    [("body: {name: $name, data: $base64}", {"name": "{name}", "data": "{base64}"}), ("raw: true", "{file}")],
)
def test_what_goes_ahead_of_an_order_is_shown_with_names_for_what_is_of_a_picture(
    written: str, shown: Any
) -> None:
    wire = made((UPLOADS[0], UPLOADS[1].replace("body: {name: $name, data: $base64}", written)))
    sample = wire.first(submit(wire, asked("a", references=(by_data(),))))
    assert sample is not None
    assert (sample.method, sample.path, sample.headers) == ("POST", "/files/m-1", {"X-Type": "{mime}"})
    assert sample.body == shown
    assert wire.first(submit(wire)) is None
    assert wire.first(submit(wire, asked("a", references=(by_url(),)))) is None  # it stands in the order
    assert made().first(submit(made(), asked("a"))) is None


def test_a_file_may_be_the_whole_body() -> None:
    wire = made((UPLOADS[0], UPLOADS[1].replace("body: {name: $name, data: $base64}", "raw: true")))
    (call,) = wire.uploads(asked("a", references=(by_data(),)), TARGET)
    assert call.files == (FormFile("", "image.png", "image/png", Slice(PNG.encode())),)
    assert body_of(call) == (Slice(PNG.encode()).decode(), "image/png")


@pytest.mark.parametrize(
    ("status", "payload", "error_class", "message"),
    [
        (413, {"error": {"message": "too big"}}, ErrorClass.BAD_REQUEST, "too big"),
        (401, {"error": "no"}, ErrorClass.AUTH, "v does not accept our credentials."),
        (200, {"code": 7, "msg": "bad picture"}, ErrorClass.INTERNAL, "bad picture"),
        (200, {}, ErrorClass.INTERNAL, "v took the picture but did not say what it is called there."),
    ],
)
def test_a_refused_upload_buys_nothing(
    status: int, payload: Any, error_class: ErrorClass, message: str
) -> None:
    wire = made(UPLOADS)
    (call,) = wire.uploads(asked("a", references=(by_data(),)), TARGET)
    with pytest.raises(UpstreamError) as caught:
        wire.uploaded(call, status, {}, payload)
    error = caught.value
    assert (error.error_class, error.message, error.bought) == (error_class, message, False)


# --- what comes back


def test_a_client_s_words_stand_in_one_line_of_a_header() -> None:
    """A header holds no line break: the order would fail on its way, and be of unknown fate."""
    wire = made(("request: POST /jobs,", "request: POST /jobs, headers: {X-Say: $prompt, X-Live: $stream},"))
    call = wire.submit(asked("two\r\nX-Evil: lines\tand \x00 more", stream=True), TARGET)
    assert call.headers == {"X-Say": "two X-Evil: lines and   more", "X-Live": "true"}


def test_a_header_may_hold_the_address_of_a_job() -> None:
    wire = made(('"GET /jobs/{task.id}"', '"GET {task.poll_url}"'))
    call = submit(wire)
    pending = wire.judge(call, 202, {"Location": "/api/jobs/1?sig=a%2Fb"}, b"")
    assert isinstance(pending, Pending)
    assert wire.poll(pending.task).url == "https://v.example/api/jobs/1?sig=a%2Fb"
    elsewhere = wire.judge(call, 202, {"location": "//evil.example/1"}, b"")
    assert isinstance(elsewhere, Pending)
    with pytest.raises(UpstreamError, match="not its own"):
        wire.poll(elsewhere.task)


def test_an_empty_body_without_an_address_is_no_job() -> None:
    wire = made()
    with pytest.raises(UpstreamError, match="something that is not JSON"):
        wire.judge(submit(wire), 200, {}, b"")


@pytest.mark.parametrize("phase", ["submit", "poll", "result"])
def test_a_reply_may_be_the_picture_itself(phase: str) -> None:
    wire = made(('images: "urls[]"', "picture: true"))
    call = submit(wire)
    assert call.headers == {"accept": "image/*, application/json"}
    call.context["phase"] = phase  # type: ignore[index]
    done = wire.judge(call, 200, {"content-type": "image/png"}, Slice(PNG.encode()))
    assert isinstance(done, Done)
    assert done.images == (Image("image/png", data=Slice(PNG.encode())),)


def test_a_picture_may_be_refused_by_a_header_beside_it() -> None:
    wire = made(
        ('images: "urls[]"', "picture: true"),
        (
            "submit:",
            'fail: {when: "_headers.\\"finish-reason\\" == \'CONTENT_FILTERED\'"}\n'
            "    errors:\n"
            "      code: '_headers.\"finish-reason\"'\n"
            "      rules: [{class: blocked, code: [CONTENT_FILTERED]}]\n"
            "    submit:",
        ),
    )
    call = submit(wire)
    with pytest.raises(UpstreamError) as caught:
        wire.judge(call, 200, {"Finish-Reason": "CONTENT_FILTERED"}, Slice(PNG.encode()))
    assert caught.value.error_class is ErrorClass.BLOCKED
    assert isinstance(wire.judge(call, 200, {"finish-reason": "SUCCESS"}, Slice(PNG.encode())), Done)


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ("/files/1.png?a=1", "https://v.example/files/1.png?a=1"),
        ("./files/1.png", "https://v.example/api/files/1.png"),
        ("//cdn.example/1.png", "https://cdn.example/1.png"),
        ({"url": "/x.png"}, "https://v.example/x.png"),
        ("files/1.png", "https://v.example/api/files/1.png"),
        ({"url": "v9/o_1/0.JPEG?sig=a/b:c"}, "https://v.example/api/v9/o_1/0.JPEG?sig=a/b:c"),
        ("HTTPS://cdn.example/1.png", "HTTPS://cdn.example/1.png"),
    ],
)
def test_addresses_without_a_host_are_the_vendor_s(given: Any, whole: str) -> None:
    wire = made()
    done = wire.judge(submit(wire), 200, {}, {"status": "done", "urls": [given]})
    assert isinstance(done, Done)
    assert [image.url for image in done.images] == [whole]


@pytest.mark.parametrize(
    "word",
    [
        "/no place",
        "no place/1.png",
        "/" + "x" * 600,
        "x/" * 300 + "1.png",
        "/\u00e4.png",
        ".",
        "1.png",
        "image/png",
        "N/A",
        "gs://bucket/1.png",
    ],
)
def test_words_are_no_addresses(word: str) -> None:
    wire = made()
    with pytest.raises(UpstreamError) as caught:
        wire.judge(submit(wire), 200, {}, {"status": "done", "urls": [word]})
    assert caught.value.error_class is ErrorClass.EMPTY


def test_a_jpeg_in_base64_is_no_address() -> None:
    jpeg = "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8U"
    wire = made()
    done = wire.judge(submit(wire), 200, {}, {"status": "done", "urls": [jpeg]})
    assert isinstance(done, Done)
    assert done.images == (Image("image/jpeg", data=Slice(jpeg.encode())),)


def test_the_key_goes_only_to_the_vendor_s_own_hosts() -> None:
    wire = made(
        ('images: "urls[]"', 'images: "urls[]", keyed: true'),
        ("poll_url: _headers.location", 'poll_url: u, hosts: ["*.files.example"]'),
    )
    urls = [
        "./1.png",
        "https://a.files.example/2.png",
        "https://cdn.example/3.png",
        "http://a.files.example/4.png",
        "https://v.example@evil.example/5.png",
    ]
    done = wire.judge(submit(wire), 200, {}, {"status": "done", "urls": urls})
    assert isinstance(done, Done)
    assert done.keyed == {"https://v.example/api/1.png", "https://a.files.example/2.png"}
    plain = made()
    assert plain.judge(submit(plain), 200, {}, {"status": "done", "urls": urls}).keyed == frozenset()  # type: ignore[union-attr]


def test_a_reply_without_a_word_may_mean_that_the_job_goes_on() -> None:
    task = {"provider": "v", "model": "m", "references": False, "id": "1"}
    told = made(("state: {", "state: {absent: pending, "))
    call = told.poll(task)
    silent = told.judge(call, 200, {}, {})
    assert isinstance(silent, Pending)
    assert silent.fault is None
    broke = told.judge(call, 200, {}, {"error": "it broke"})
    assert isinstance(broke, Pending)
    assert broke.fault is not None
    assert broke.fault.message == "it broke"
    untold = made()
    fault = untold.judge(untold.poll(task), 200, {}, {})
    assert isinstance(fault, Pending)
    assert fault.fault is not None


# --- blindness


@pytest.mark.parametrize("phase", ["poll", "submit"])
def test_an_address_may_be_made_of_the_jobs_id(phase: str) -> None:
    """Also from inside of a list, and where a poll's reply does not name the job."""
    path = "files[].join('', ['./of/', quote($task.id), '/', name, '?as=$task.id'])"
    wire = made(('"urls[]"', f'"{path}"'))
    call = submit(wire)
    payload: dict[str, Any] = {"status": "done", "files": [{"name": "a.png"}, {"name": "b.png"}]}
    if phase == "poll":
        call = wire.poll({**call.context["task"], "id": "j/1"})
    else:
        payload["id"] = "j/1"
    outcome = wire.judge(call, 200, {}, payload)
    assert isinstance(outcome, Done)
    assert [image.url for image in outcome.images] == [
        f"{BASE}/of/j%2F1/{name}.png?as=$task.id" for name in ("a", "b")
    ]
    with pytest.raises(UpstreamError) as caught:
        wire.judge(call, 200, {}, {"status": "done", "file": "a.png"})
    assert caught.value.why is not None
    assert caught.value.why.startswith(f"nothing is at {path}")
    assert caught.value.why.endswith("the reply has status, file")


def test_a_path_through_all_of_a_reply_finds_what_the_vendor_said_alone() -> None:
    wire = made(('"urls[]"', "[\"*.poll_url\", \"join('/', ['.', $task.id, file])\"]"))
    call = wire.poll({**submit(wire).context["task"], "id": "j-1", "poll_url": f"{BASE}/poll"})
    outcome = wire.judge(call, 200, {}, {"status": "done", "file": "a.png"})
    assert isinstance(outcome, Done)
    assert [image.url for image in outcome.images] == [f"{BASE}/j-1/a.png"]


def test_the_vendors_id_comes_before_our_own_where_either_finds_the_job() -> None:
    path = "join('/', ['.', $task.id, file])"
    wire = made(
        ('"urls[]"', f'"{path}"'), ("{id: id,", "{ours: true, id: id,"), ("$prompt}", "$prompt, id: $uuid}")
    )
    outcome = wire.judge(submit(wire), 200, {}, {"status": "done", "id": "theirs", "file": "a.png"})
    assert isinstance(outcome, Done)
    assert [image.url for image in outcome.images] == [f"{BASE}/theirs/a.png"]


def test_a_path_that_finds_nothing_says_which_and_what_was_there() -> None:
    wire = made()
    call = submit(wire)
    payload = {"job": {"nr": "secret-value", "pictures": [{"link": "x"}]}, "took": 4}
    with pytest.raises(UpstreamError) as caught:
        wire.judge(call, 200, {"server": "nginx"}, payload)
    error = caught.value
    assert error.message == "v answered without a picture."
    assert error.why == (
        "nothing is at urls[], id, _headers.location; "
        "the reply has job, job.nr, job.pictures, job.pictures[].link, took"
    )
    with pytest.raises(UpstreamError) as caught:
        wire.judge(call, 200, {}, {"status": "queued", "jobId": "1"})
    assert caught.value.message == "v took the job but gave no number to ask for it."
    assert caught.value.why == "nothing is at urls[], id, _headers.location; the reply has status, jobId"


def test_what_is_there_and_no_picture_is_not_said_to_be_missing() -> None:
    wire = made()
    with pytest.raises(UpstreamError) as caught:
        wire.judge(submit(wire), 200, {}, {"status": "done", "urls": ["1.png"]})
    assert caught.value.why == (
        "nothing is at id, _headers.location; what is at urls[] is no picture, nor an address, "
        "which without a host begins with / or ./; the reply has status, urls"
    )


def test_what_was_there_is_told_within_bounds() -> None:
    wire = made()
    payload: dict[str, Any] = {f"{'k' * 90}{at}": {"deep": {"deeper": {"deepest": 1}}} for at in range(500)}
    with pytest.raises(UpstreamError) as caught:
        wire.judge(submit(wire), 200, {}, payload)
    assert caught.value.why is not None
    assert len(caught.value.why) < 2000
    assert "deepest" not in caught.value.why


@pytest.mark.parametrize(
    ("payload", "error_class", "message"),
    [
        ({"code": 1102, "message": "bad", "request_id": "r"}, ErrorClass.INTERNAL, "bad"),
        ({"code": "500", "msg": "no room"}, ErrorClass.INTERNAL, "no room"),
        (
            {"base_resp": {"status_code": 1026, "status_msg": "sensitive input"}, "data": None},
            ErrorClass.INTERNAL,
            "sensitive input",
        ),
        ({"error_code": 17, "error_msg": "daily limit"}, ErrorClass.INTERNAL, "daily limit"),
        ({"success": False, "data": {"failReason": "no"}}, ErrorClass.INTERNAL, "no"),
        (
            {"code": "insufficient_quota", "msg": "pay"},
            ErrorClass.QUOTA,
            "v: the balance or quota of the account is used up.",
        ),
        ({"code": 0, "msg": "success"}, ErrorClass.EMPTY, "v answered without a picture."),
        ({"fail_reason": "too rude"}, ErrorClass.EMPTY, "v answered without a picture: too rude"),
        ({"job": {"error": {"message": "no"}}}, ErrorClass.EMPTY, "v answered without a picture: no"),
        (
            {"output": {"message": "out of paint"}},
            ErrorClass.EMPTY,
            "v answered without a picture: out of paint",
        ),
        ({"prompt": "a sign: rate limit exceeded"}, ErrorClass.EMPTY, "v answered without a picture."),
        ({"code": 200, "message": "OK", "data": {}}, ErrorClass.EMPTY, "v answered without a picture."),
    ],
)
def test_common_refusals_with_a_200_are_read_without_an_errors_section(
    payload: Any, error_class: ErrorClass, message: str
) -> None:
    wire = made()
    with pytest.raises(UpstreamError) as caught:
        wire.judge(submit(wire), 200, {}, payload)
    assert (caught.value.error_class, caught.value.message) == (error_class, message)
