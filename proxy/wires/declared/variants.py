"""The compiled form of a surface's data, and the checks that need several sections at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.pictures.sizes import SizePolicy
from proxy.wires.declared import problems as read
from proxy.wires.declared import sections
from proxy.wires.declared.paths import Path, Paths
from proxy.wires.declared.problems import Mapped, Problems, Where, shown
from proxy.wires.declared.requests import Sending
from proxy.wires.declared.sections import KEYS

Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Variant:
    """A picture surface as one model, with or without references, has it."""

    submit: Sending
    upload: sections.Upload | None
    foreign: sections.Foreign | None
    stream: sections.Stream | None
    task: sections.TaskPaths
    poll: sections.Poll | None
    cancel: sections.Cancel | None
    state: sections.State
    fail: Path | None
    result: sections.Result
    errors: sections.Errors
    billing: sections.BillingPaths
    usage: Mapping[str, Paths]
    size: SizePolicy | None
    limits: sections.RequestLimits


@dataclass(frozen=True, slots=True)
class ChatVariant:
    """A chat surface as one model has it. `extra` joins the body.

    `drops` is {body key: client's field}, `takes` all body keys that the vendor knows, where they are known;
    both by plain names. `lacks` tells the spoken wire which capabilities no model has there.
    """

    extra: Mapping[str, Any]
    drops: Mapping[str, str]
    takes: Mapping[str, str]
    lacks: Mapping[str, bool]
    fail: Path | None
    errors: sections.Errors
    billing: sections.BillingPaths


def read_section(
    data: Data, where: Where, key: str, problems: Problems, reader: Callable[..., Any], *more: Any
) -> Any:
    found = data.get(key)
    return reader({} if found is None else found, (*where, key), problems, *more)


def compile_surface(
    data: Data, where: Where, problems: Problems, options: Mapping[str, Any], *, partial: bool = False
) -> Variant | None:
    """Compile all sections. `partial` is for overlays, which need not be complete."""
    Mapped(data, where, KEYS["surface"], problems)
    submit = read_section(data, where, "submit", problems, sections.read_submit, options)
    variant = Variant(
        submit=submit,
        upload=read_section(data, where, "upload", problems, sections.read_upload)
        if data.get("upload") is not None
        else None,
        foreign=read_section(data, where, "foreign", problems, sections.read_foreign, options)
        if data.get("foreign") is not None
        else None,
        stream=read_section(data, where, "stream", problems, sections.read_stream, options)
        if data.get("stream") is not None
        else None,
        task=read_section(data, where, "task", problems, sections.read_task),
        poll=read_section(data, where, "poll", problems, sections.read_poll),
        cancel=read_section(data, where, "cancel", problems, sections.read_cancel),
        state=read_section(data, where, "state", problems, sections.read_state),
        fail=read_section(data, where, "fail", problems, sections.read_fail),
        result=read_section(data, where, "result", problems, sections.read_result),
        errors=read_section(data, where, "errors", problems, sections.read_errors),
        billing=read_section(data, where, "billing", problems, sections.read_billing),
        usage=read_section(data, where, "usage", problems, sections.read_usage),
        size=read_section(data, where, "size", problems, sections.read_size)
        if data.get("size") is not None
        else None,
        limits=read_section(data, where, "limits", problems, sections.read_limits),
    )
    if partial:
        return None
    if submit is None:
        problems.add("E106", where, f'{shown(where)} has no "submit.request"')
        return None
    if not variant.result.images and not variant.result.picture:
        hint = "say where the pictures are, or picture: true where the reply is one itself"
        problems.add("E106", where, f'{shown(where)} has no "result.images"', hint)
    _check_tasks(variant, where, problems)
    _check_upload(variant, where, problems)
    _check_size(variant, where, problems)
    return variant


def _check_tasks(variant: Variant, where: Where, problems: Problems) -> None:
    """E120: a later request may only use what an earlier reply gives."""
    given = {f"task.{name}" for name, paths in variant.task.fields.items() if paths}
    given |= {"uuid"} & variant.submit.used
    in_submit = "name $uuid in the submit, where the vendor learns of it"
    if variant.task.ours and "uuid" not in given:
        problems.add(
            "E120", (*where, "task", "ours"), "task.ours, but the vendor is told no id of ours", in_submit
        )
    later = {"poll": variant.poll, "result": variant.result, "cancel": variant.cancel}
    for section, holder in later.items():
        sending = holder.sending if holder else None
        for name in dict.fromkeys((*sending.request.fields(), *sorted(sending.used))) if sending else ():
            if name == "model" or name in given:
                continue
            in_line = sending is not None and name in sending.request.fields()
            shown_name = f"{{{name}}}" if in_line else f"${name}"
            missing = name.removeprefix("task.")
            place = f"{section}.request" if in_line else section
            message = f"{place} uses {shown_name} but {name} is missing"
            hint = (
                in_submit
                if name == "uuid"
                else f"say where the submit reply has it: task: {{{missing}: ...}}"
            )
            problems.add("E120", (*where, section, *(["request"] if in_line else [])), message, hint)
    for name in dict.fromkeys(name for path in variant.result.images for name in path.of_task):
        if f"task.{name}" not in given:
            message = f"result.images uses $task.{name} but task.{name} is missing"
            hint = f"say where the submit reply has it: task: {{{name}: ...}}"
            problems.add("E120", (*where, "result", "images"), message, hint)
    if variant.poll and not given:
        problems.add("E120", (*where, "poll"), "poll has no task to ask for", "add task: {id: ...}")


def _check_upload(variant: Variant, where: Where, problems: Problems) -> None:
    """An upload and the form `upload` of pictures belong together."""
    wanted = "upload" in variant.limits.references
    if variant.upload is not None and not variant.upload.result:
        message = f'{shown((*where, "upload"))} has no "result"'
        problems.add("E106", (*where, "upload"), message, "say where the reply has the file's id or address")
    if wanted and variant.upload is None:
        message = "limits.references has upload, but there is no upload section"
        problems.add("E120", (*where, "limits", "references"), message, "add upload: {request: POST ...}")
    if variant.upload is not None and not wanted:
        message = "nothing is uploaded, for limits.references does not have upload"
        problems.add("E120", (*where, "upload"), message, "write limits: {references: [upload]}")


def _check_size(variant: Variant, where: Where, problems: Problems) -> None:
    """Width and height are the two halves of pixels."""
    used = sorted({"width", "height"} & variant.submit.used)
    if used and (variant.size is None or variant.size.mode == "tier"):
        message = f"submit uses ${used[0]}, but the size is not given in pixels"
        problems.add("E120", (*where, "submit"), message, "add size: {mode: pixels}")


def compile_chat(data: Data, where: Where, problems: Problems, *, partial: bool = False) -> ChatVariant:
    section = Mapped(data, where, KEYS["chat surface"], problems)
    section.take("speaks", read.one_of("gemini", "openai"), "")
    section.take("path", _read_url_path, None)
    section.take("model_in_body", read.flag, False)
    section.take("streams", read.flag, True)
    section.take("unwrap", read.texts, ())
    if not partial and "speaks" not in section:
        problems.add("E106", where, f'{shown(where)} has no "speaks"')
    drops = {plain(name): field for name, field in section.take("drops", read_mapping, {}).items()}
    takes = {plain(name): name for name in section.take("takes", read.texts, ())}
    if takes:
        takes |= {name: name for name in _ALWAYS}
    return ChatVariant(
        extra=section.take("extra", read_mapping, {}),
        drops=drops,
        takes=takes,
        lacks={
            capability: False
            for name, capability in _CAPABILITIES.items()
            if name in drops or (takes and name not in takes)
        },
        fail=read_section(data, where, "fail", problems, sections.read_fail),
        errors=read_section(data, where, "errors", problems, sections.read_errors),
        billing=read_section(data, where, "billing", problems, sections.read_billing),
    )


# Fields that say what a wire can say otherwise, if it knows that they are not taken (gemini-models.yaml).
_CAPABILITIES = {"toolconfig": "tool_config"}


# Who is asked, and how the answer comes: no wish of the client's that a vendor may not know.
_ALWAYS = ("model", "stream")


def plain(name: str) -> str:
    """A field's name however it is spelled: Google takes `tool_config` for `toolConfig`."""
    return name.replace("_", "").lower()


def _read_url_path(value: Any, where: Where, problems: Problems) -> str:
    if isinstance(value, str) and value.startswith("/"):
        return value
    problems.add("E103", where, f"{shown(where)} must be a path that starts with /")
    return "/"


def read_mapping(value: Any, where: Where, problems: Problems) -> Mapping[str, Any]:
    return Mapped(value, where, list(value) if isinstance(value, Mapping) else (), problems).data
