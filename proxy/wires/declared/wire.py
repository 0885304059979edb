"""The interpreter of picture surfaces: builds each call of a job and judges each reply. No sockets, no clock.

call = wire.submit(request, target)
outcome = wire.judge(call, status, headers, payload)     # Pending | Ready | Done, or raises
while Pending: wait; call = wire.poll(outcome.task); outcome = wire.judge(call, ...)
if Ready: call = wire.result(outcome.task); outcome = wire.judge(call, ...)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.pictures.sizes import offered
from proxy.types import Abilities, Call, ImageRequest, Json, Target
from proxy.wires.declared import inputs as of_request
from proxy.wires.declared.addresses import is_allowed
from proxy.wires.declared.outcome import Outcome
from proxy.wires.declared.profile import Surface
from proxy.wires.declared.replies import Phase, VendorReply
from proxy.wires.declared.requests import Sample, Sending
from proxy.wires.declared.sections import PollPlan
from proxy.wires.declared.stream import StreamReader
from proxy.wires.declared.template import ABSENT
from proxy.wires.declared.variants import Variant

_SAMPLE_ORDER = "00000000-0000-4000-8000-000000000000"  # in orders that are only looked at
_MOST_RANDOM = 2**31 - 1  # what every vendor takes for a seed


class DeclaredWire:
    """One surface at one account. `base_url` is the account's: the vendor may send us to addresses there.
    `carries`: see `types.Wire`; what is foreign only where the surface speaks a dialect of clients.
    """

    carries: frozenset[str] = of_request.CARRIES

    def __init__(self, surface: Surface, base_url: str = "") -> None:
        self._surface = surface
        self._base_url = base_url
        if surface.data.get("foreign"):
            self.carries = of_request.CARRIES | {"foreign"}

    def reference_forms(self, target: Target) -> tuple[str, ...]:
        """How the model takes pictures, a word of `sections.FORMS` each, best first. Empty: not at all."""
        return self._variant(target.model, True).limits.references

    def keeps_url(self, url: str, target: Target) -> bool:
        """True where the vendor reads addresses itself; elsewhere pictures are fetched before `submit`."""
        return "url" in self.reference_forms(target)

    def abilities(self, target: Target) -> Abilities:
        """For lists of models."""
        policy = self._variant(target.model, False).size
        inputs = ("text", "image") if self.reference_forms(target) else ("text",)
        return Abilities(inputs, ("image",), *(offered(policy) if policy is not None else ()))

    def takes_data(self, target: Target) -> bool:
        """False where the vendor reads nothing but addresses."""
        return any(form != "url" for form in self.reference_forms(target))

    def shares(self, n: int, target: Target) -> tuple[int, ...]:
        """How `n` pictures are spread over calls: `n` of each."""
        most = 1 if target.options.get("n") == "one" else self._variant(target.model, False).limits.n
        whole, rest = divmod(n, most)
        return (most,) * whole + ((rest,) if rest else ())

    def unable(self, request: ImageRequest, target: Target) -> RequestError | None:
        """Which limit of the profile the request breaks, None if none. `n` is not looked at: see `shares`."""
        variant = self._variant(target.model, bool(request.references))
        return of_request.broken_limit(request, variant)

    def plan(self, task: Mapping[str, Any]) -> PollPlan | None:
        """When to poll; None for a vendor without tasks."""
        poll = self._variant_of(task).poll
        return poll.plan if poll else None

    def has_tasks(self, target: Target) -> bool:
        return self._variant(target.model, False).poll is not None

    # --- calls -------------------------------------------------------------------------------------

    def uploads(self, request: ImageRequest, target: Target) -> list[Call]:
        """What goes ahead of the order: a call for each picture that the vendor wants to have first. Raises
        `RequestError` as `submit` does."""
        variant = self._variant(target.model, bool(request.references))
        if variant.upload is None:
            return []
        if (refusal := of_request.broken_limit(request, variant)) is not None:
            raise refusal
        sending = variant.upload.sending
        context = {"phase": "upload", "task": _task(request, target)}
        return [
            Call(
                sending.request.path({"model": target.model}),
                context=context,
                **sending.filled({"model": target.model, **of_request.file_inputs(part)}),
            )
            for part in of_request.to_upload(request, variant)
        ]

    def submit(
        self,
        request: ImageRequest,
        target: Target,
        repairs: frozenset[str] = frozenset(),
        *,
        uploaded: Sequence[str] | None = None,
        order: str = _SAMPLE_ORDER,
    ) -> Call:
        """`repairs` are names that `repair` gave for earlier refusals, `uploaded` what the vendor calls the
        pictures of `uploads`, in their order, `order` is our own id of it. Raises `RequestError` where the
        request breaks a limit of the profile."""
        variant = self._variant(target.model, bool(request.references))
        wish, size = of_request.size_of(request, variant)
        values = of_request.inputs_of(request, target, variant, self._surface.options, wish, size, uploaded)
        values |= {"uuid": order, "random": int(order.replace("-", "")[-8:], 16) & _MOST_RANDOM}
        submit = variant.submit
        foreign = of_request.foreign_of(request, variant, values)
        filled = submit.filled(values)
        if foreign or repairs:  # the template's words come before the client's
            body = foreign | filled["body"]
            filled["body"] = {name: value for name, value in body.items() if name not in repairs}
        is_stream = variant.stream is not None and variant.stream.when.render(values)
        task = _task(request, target)
        if "uuid" in (*submit.used, *submit.request.fields()):
            task["uuid"] = order
        if variant.task.ours:
            task["id"] = order  # until the vendor tells another
        return Call(
            path=submit.request.path({"model": target.model, "uuid": order}),
            stream=is_stream is not ABSENT and bool(is_stream) and "stream" not in repairs,
            dropped=(
                *of_request.dropped(request, variant, wish, size, submit.used_without(repairs)),
                *(of_request.left_foreign(request, foreign) if "foreign" in self.carries else ()),
            ),
            size=size.report(wish) if variant.size else "",
            context={"phase": "submit", "task": task, "ahead": len(of_request.to_upload(request, variant))},
            **_asking_for_a_picture(filled, variant),
        )

    def repair(self, error: UpstreamError, request: ImageRequest, target: Target) -> str | None:
        """The optional field that the vendor refuses, None if it is about something else."""
        if error.error_class is not ErrorClass.BAD_REQUEST:
            return None
        optional = self._variant(target.model, bool(request.references)).submit.optional
        said = set(re.findall(r"\w+", f"{error.message} {error.param or ''}"))
        sent = (name for name, inputs in optional.items() if of_request.asks_for(request, inputs))
        return next((name for name in sent if name in said), None)

    def poll(self, task: Mapping[str, Any]) -> Call:
        """Ask how the job is. Raises `UpstreamError` when the vendor gave an address that is not its own."""
        poll = self._variant_of(task).poll
        if poll is None:
            raise ValueError(f"{self._surface.profile}.{self._surface.name} has no tasks")
        return self._call(poll.sending, task, "poll")

    def can_ask(self, task: Mapping[str, Any]) -> bool:
        """Whether the vendor can be asked about an order by what is known of it, which may be our own id."""
        poll = self._variant_of(task).poll
        if poll is None:
            return False
        known = {"model", *(("uuid",) if "uuid" in task else ()), *(f"task.{name}" for name in task)}
        return known.issuperset((*poll.sending.request.fields(), *poll.sending.used))

    def result(self, task: Mapping[str, Any]) -> Call | None:
        """Fetch what a `Ready` job made; None where the poll's reply itself has it."""
        sending = self._variant_of(task).result.sending
        return self._call(sending, task, "result") if sending else None

    def cancel(self, task: Mapping[str, Any], state: str | None) -> Call | None:
        """Call the job off; None where the vendor cannot do that, or not in this state (its own word), or
        named no place of its own for it. The job goes on all the same."""
        cancel = self._variant_of(task).cancel
        if cancel is None or (cancel.only_when and state not in cancel.only_when):
            return None
        try:
            return self._call(cancel.sending, task, "cancel")
        except UpstreamError:
            return None

    def later(self, call: Call) -> list[Sample]:
        """What follows an order."""
        task: Mapping[str, Any] = call.context["task"]
        variant = self._variant_of(task)
        lines = {
            "poll": variant.poll and variant.poll.sending,
            "result": variant.result.sending,
            "cancel": variant.cancel and variant.cancel.sending,
        }
        return [Sample.of(name, sending, task) for name, sending in lines.items() if sending]

    def first(self, call: Call) -> Sample | None:
        """What goes ahead of an order for each picture that the vendor has to have first; None where nothing
        does."""
        task: Mapping[str, Any] = call.context["task"]
        upload = self._variant_of(task).upload
        return Sample.of("upload", upload.sending, task) if upload and call.context["ahead"] else None

    # --- replies -----------------------------------------------------------------------------------

    def judge(self, call: Call, status: int, headers: Mapping[str, str], payload: Any) -> Outcome:
        """`payload` is the decoded JSON, or the raw bytes of what is none. Raises `UpstreamError`."""
        return self._reply(call, status, headers, payload).judge()

    def uploaded(self, call: Call, status: int, headers: Mapping[str, str], payload: Any) -> str:
        """What the vendor calls the picture that it was sent. Raises `UpstreamError`; nothing was bought."""
        return self._reply(call, status, headers, payload).uploaded()

    def reader(self, call: Call) -> StreamReader:
        """For a call that is answered as a stream: feed it every payload."""
        return StreamReader(lambda payload: self._reply(call, 200, {}, payload, "stream"))

    def _reply(
        self, call: Call, status: int, headers: Mapping[str, str], payload: Any, phase: Phase | None = None
    ) -> VendorReply:
        task: Json = call.context["task"]
        return VendorReply(
            self._variant_of(task),
            task,
            phase or call.context["phase"],
            status,
            headers,
            payload,
            self._base_url,
        )

    # --- helpers -----------------------------------------------------------------------------------

    def _call(self, sending: Sending, task: Mapping[str, Any], phase: str) -> Call:
        request = sending.request
        values = {"model": str(task["model"]), "uuid": str(task.get("uuid", ""))}
        values |= {f"task.{key}": str(task[key]) for key in task}
        missing = [name for name in (*request.fields(), *sorted(sending.used)) if name not in values]
        if missing:
            raise self._lost(
                task, f"{task['provider']} gave no {missing[0].removeprefix('task.')} for the job."
            )
        variant = self._variant_of(task)
        filled = sending.filled({**values, "task": task})
        more = {"context": {"phase": phase, "task": task}, **_asking_for_a_picture(filled, variant)}
        if request.url_field is None:
            return Call(request.path(values), **more)
        url = values[request.url_field]
        if not is_allowed(url, variant.task.hosts, self._base_url):
            raise self._lost(task, f"{task['provider']} named an address for the job that is not its own.")
        return Call("", url=url, **more)

    def _lost(self, task: Mapping[str, Any], sentence: str) -> UpstreamError:
        return UpstreamError(ErrorClass.LOST, sentence, provider=str(task["provider"]))

    def _variant(self, model: str, with_references: bool) -> Variant:
        return self._surface.variant(model, with_references)

    def _variant_of(self, task: Mapping[str, Any]) -> Variant:
        return self._variant(str(task["model"]), bool(task["references"]))


def _task(request: ImageRequest, target: Target) -> dict[str, Any]:
    return {"provider": target.provider, "model": target.model, "references": bool(request.references)}


def _asking_for_a_picture(filled: dict[str, Any], variant: Variant) -> dict[str, Any]:
    """With the header that says so, where the reply may be the picture itself and no header is declared."""
    named = {name.lower() for name in filled["headers"]}
    if variant.result.picture and "accept" not in named:
        filled["headers"] = {**filled["headers"], "accept": "image/*, application/json"}
    return filled
