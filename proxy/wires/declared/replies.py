"""Reads one reply of a vendor and decides what it comes to; the order of the questions is always the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from math import isfinite
from typing import Any, Literal, TypeVar

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Image, PartialImage, Slice, Usage
from proxy.wires import refusals
from proxy.wires.declared import failures, paths
from proxy.wires.declared.addresses import absolute, is_absolute, is_allowed
from proxy.wires.declared.failures import Complaint
from proxy.wires.declared.outcome import Billing, Done, Outcome, Pending, Ready
from proxy.wires.declared.paths import Path, Paths, every, first, first_text
from proxy.wires.declared.pictures import coerce_all, partials
from proxy.wires.declared.variants import Variant

Phase = Literal["upload", "submit", "poll", "result", "stream"]
IDENTIFYING = frozenset({"id", "poll_url", "uuid"})  # with one of these a job can be asked for

_LONGEST_FIELD = 4096  # of a job; it goes into an address, and whatever is longer is no number

_CHARGED = "charged"  # of a job: what was told of money so far; some vendors tell it when they take the order

_ASKING: frozenset[Phase] = frozenset({"poll", "result"})

# What ends a job that was asked for: it is not there, or (V-040) the result's request is refused as invalid.
# Whatever else a question is answered with may come from a machine in between, and the job goes on behind it.
_ENDING = frozenset({404, 410, 422, 451})
_PASSING = frozenset({408, 425, 429})
# These tell of the account or of the line, not of the job.
_NOT_OF_THE_JOB = frozenset(
    {
        ErrorClass.AUTH,
        ErrorClass.QUOTA,
        ErrorClass.RATE_LIMITED,
        ErrorClass.OVERLOADED,
        ErrorClass.UNAVAILABLE,
        ErrorClass.TIMEOUT,
    }
)
# These tell what became of the job where no state does: this is its end, or its number is not known.
_OF_THE_JOB = frozenset(
    {ErrorClass.BLOCKED, ErrorClass.CANCELED, ErrorClass.EMPTY, ErrorClass.LOST, ErrorClass.NOT_FOUND}
)

_FINAL = {
    "failed": ErrorClass.INTERNAL,
    "moderated": ErrorClass.BLOCKED,
    "canceled": ErrorClass.CANCELED,
    "lost": ErrorClass.LOST,
}
_DEFAULT_SENTENCES = {
    "failed": "{} could not make the picture.",
    "moderated": "{} refused to make this picture.",
    "canceled": "{} canceled the job.",
    "lost": "{} does not know this job any more.",
}
_LONGEST_WORD = 64

_Shown = TypeVar("_Shown", Image, PartialImage)


@dataclass(slots=True)
class VendorReply:
    """One reply to one call. `payload` is decoded JSON, a picture, or the bytes of what is neither; `seen` is
    what paths are asked of. `task` is what is known of the job so far; what the vendor says of places is to
    be read from `base_url` on.
    """

    variant: Variant
    task: Mapping[str, Any]
    phase: Phase
    status: int
    headers: Mapping[str, str]
    payload: Any
    base_url: str = ""
    seen: Any = field(init=False)

    def __post_init__(self) -> None:
        self.headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen = paths.seen(self.payload, self.headers)

    def judge(self) -> Outcome:
        """Decide. Raises `UpstreamError` when the job has failed.

        An order may be sold by whatever it is answered with; of a question only the vendor's own word on the
        job counts, all else is a `Pending` with its fault.
        """
        outcome = self._judged()
        if not isinstance(outcome, UpstreamError):
            return outcome
        try:
            raise outcome
        finally:
            del outcome  # its traceback knows this frame

    def _judged(self) -> Outcome | UpstreamError:
        if self.status >= 400:
            return self._refused()
        if not isinstance(self.seen, Mapping) or (self.payload == b"" and not self._task_fields()):
            complaint = failures.unexplained(self.status, self.payload)
            sentence = "{} answered with something that is not JSON."
            return self._odd(self._error(ErrorClass.INTERNAL, complaint, sentence))
        word = first_text(self.variant.state.path, self.seen) if self.phase != "result" else None
        bucket = self.variant.state.buckets.get(word or "")
        if bucket in _FINAL:
            return self._failed(word, bucket)
        if self.variant.fail is not None and self.variant.fail.holds(self.seen):
            return self._complained(self._failed(word, "failed"), word)
        if bucket == "pending":
            return self.pending(word)
        images, item_errors = self.pictures()
        if images:
            return self._done(images, item_errors)
        if bucket == "success" and self.variant.result.sending and self.phase != "result":
            return Ready(self._known())
        if word and bucket is None:
            if self.seen.get("error"):
                return self._complained(self._failed(word, "failed"), word)
            return self.pending(word, unknown=True)
        if bucket is None and self._goes_on(word):
            return self.pending(word)
        return item_errors[0] if item_errors else self._nothing(word)

    def _goes_on(self, word: str | None) -> bool:
        """Whether a reply without a known word, without pictures and without an error, tells of a job."""
        if self.phase == "poll" and self.variant.state.absent and self._reason(word) is None:
            return True
        return self.phase != "result" and self.variant.poll is not None and bool(self._task_fields())

    def is_final(self) -> bool:
        """Whether the vendor calls the job finished, well or badly."""
        word = first_text(self.variant.state.path, self.seen)
        return self.variant.state.buckets.get(word or "", "pending") != "pending"

    def empty(self) -> UpstreamError:
        """Why there is no picture, when nothing more comes."""
        return self._without_picture(None)

    # --- what does not end a job -------------------------------------------------------------------

    def _odd(self, error: UpstreamError) -> Pending | UpstreamError:
        """Not the vendor's word on the job: ask again, and do not order again."""
        if self.phase not in _ASKING:
            return error
        retry_after_s = error.retry_after_s or refusals.retry_after_s(self.headers)
        return Pending(self.task, retry_after_s=retry_after_s, fault=self._of_the_question(error))

    def _of_the_question(self, error: UpstreamError) -> UpstreamError:
        """A refused question is neither the client's mistake nor an end of the order, whatever its class."""
        if error.error_class in _NOT_OF_THE_JOB:
            return error.changed(final=False)
        return _as(ErrorClass.INTERNAL, error)

    def _complained(self, error: UpstreamError, word: str | None) -> Pending | UpstreamError:
        """An error in a 200, without a state that is final. Beside a word that does not go on it ends the job
        unless it is not about the job; without one only if it says what became of the job."""
        if self.phase not in _ASKING:
            return error
        if word and self.variant.state.buckets.get(word) != "pending":
            return self._odd(error) if error.error_class in _NOT_OF_THE_JOB else error
        if error.error_class not in _OF_THE_JOB:
            return self._odd(error)
        return _as(ErrorClass.LOST, error) if error.error_class is ErrorClass.NOT_FOUND else error

    def _nothing(self, word: str | None) -> Pending | UpstreamError:
        """The reply is in order but holds no picture, and no state that is known to go on."""
        if (reason := self._reason(word)) is not None:
            return self._complained(reason, word)
        error = self._without_picture(word)
        answered = word or self.text() or (self.phase == "result" and self._lists_pictures())
        return error if answered else self._odd(error)

    def _lists_pictures(self) -> bool:
        """Whether the place of the pictures is there, if empty."""
        return any(path.search(self.seen) is not None for path in self.variant.result.images)

    # --- refusals ----------------------------------------------------------------------------------

    def _refused(self) -> Pending | UpstreamError:
        word = first_text(self.variant.state.path, self.seen) if isinstance(self.seen, Mapping) else None
        bucket = self.variant.state.buckets.get(word or "")
        if bucket in _FINAL and self._is_meant(bucket):
            return self._failed(word, bucket)
        complaint = failures.of_reply(self.variant.errors, self.status, self.headers, self.payload, word)
        error = self._error(failures.class_of(self.variant.errors, complaint), complaint)
        passing = self.status >= 500 or self.status in _PASSING
        own = failures.of_the_job(self.variant.errors, complaint)
        is_late = self.phase == "result" and self.status == 404  # of a job that it has just called done
        ends = not is_late and (self.status in _ENDING or own in _OF_THE_JOB)
        if self._may_try_again() and (passing or not ends):
            return self._odd(error)
        return self._error(own or ErrorClass.LOST, complaint) if self.phase == "poll" else error

    def _is_meant(self, bucket: str) -> bool:
        """Whether a final state in a refusal is the job's: of an order that it is not allowed, of a job any,
        if the refusal names it. Others may be what this vendor writes into all refusals."""
        if self.phase != "poll":
            return self.phase != "result" and bucket == "moderated"
        told = self._task_fields().get("id")
        return told is not None and told == self.task.get("id")

    def _may_try_again(self) -> bool:
        name = self.variant.errors.retryable_header
        values = {key.lower(): value for key, value in self.headers.items()}
        said = values.get(name.lower()) if name else None
        return said is None or said in self.variant.errors.retryable_values

    def _failed(self, word: str | None, bucket: str) -> UpstreamError:
        complaint = failures.of_reply(self.variant.errors, self.status, self.headers, self.payload, word)
        error_class = _FINAL[bucket]
        if bucket == "failed" and self.status < 400:
            error_class = failures.class_of_failure(self.variant.errors, complaint)
        elif bucket == "failed":
            error_class = failures.of_the_job(self.variant.errors, complaint) or ErrorClass.INTERNAL
        said = "moderated" if error_class is ErrorClass.BLOCKED else bucket
        return self._error(error_class, complaint, _DEFAULT_SENTENCES[said]).changed(
            final=error_class is not ErrorClass.LOST  # who does not know the job does not say how it ended
        )

    def _reason(self, word: str | None) -> UpstreamError | None:
        """Why there is no picture, where a rule or the reply itself says it."""
        complaint = failures.of_reply(self.variant.errors, self.status, self.headers, self.payload, word)
        found = failures.match(self.variant.errors, complaint)
        if found is not None:
            return self._error(found, complaint)
        told = isinstance(self.payload, dict) and refusals.is_told(self.payload)
        return self._failed(word, "failed") if told else None

    def _without_picture(self, word: str | None) -> UpstreamError:
        """The reason that is told, else that the prompt was too weak."""
        if (reason := self._reason(word)) is not None:
            return reason
        sentence = "{} answered without a picture" + self._instead()
        why = paths.missed(self._looked_for(), self.seen, self._job())
        return self._error(ErrorClass.EMPTY, failures.unexplained(self.status, self.payload), sentence, why)

    def _instead(self) -> str:
        """What is said in place of a picture or a job, for the end of a sentence."""
        told = refusals.said_instead(self.payload) if isinstance(self.payload, dict) else ""
        said = refusals.shown(refusals.said(self.text()) or told)
        return f": {said}" if said else "."

    def _looked_for(self) -> list[Path]:
        """All that might have said where the job or its pictures are."""
        job = self.phase == "submit" and self.variant.poll
        fields = self.variant.task.fields.values() if job else ()
        return [*self.variant.result.images, *(path for one in fields for path in one)]

    def _error(
        self, error_class: ErrorClass, complaint: Complaint, default: str = "", why: str | None = None
    ) -> UpstreamError:
        """Where the vendor says that failures cost nothing and names this one, nothing was bought (V-007)."""
        provider = str(self.task["provider"])
        named = error_class is not ErrorClass.LOST and failures.is_named(self.variant.errors, complaint)
        bought = False if named and self.variant.billing.refunded_on_failure else None
        if bought is None and (self.phase != "submit" or error_class is ErrorClass.EMPTY):
            bought = True
        return failures.failure(
            error_class,
            complaint,
            provider,
            default=default.replace("{}", provider, 1),
            bought=bought,
            why=why,
        )

    # --- a job that goes on ------------------------------------------------------------------------

    def pending(self, word: str | None, *, unknown: bool = False) -> Pending:
        task = self._known()
        if self.phase != "stream" and not (task.keys() & IDENTIFYING):
            complaint = failures.unexplained(self.status, self.payload)
            why = paths.missed(self._looked_for(), self.seen, self._job())
            sentence = "{} took the job but gave no number to ask for it" + self._instead()
            raise self._error(ErrorClass.LOST, complaint, sentence, why)
        strange: list[str] = task.get("strange", [])
        is_new = unknown and word not in strange
        if is_new:
            task["strange"] = [*strange, word]
        return Pending(
            task,
            state=word,
            progress=_number(first(self.variant.state.progress, self.seen)),
            retry_after_s=refusals.retry_after_s(self.headers),
            estimate_s=_number(first(self.variant.task.estimate, self.seen)),
            unknown_state=word if is_new else None,
        )

    def _known(self) -> dict[str, Any]:
        """The job, and a charge; one that was told before stays."""
        known = self._job()
        cost, kept = self._cost(), self._charge()
        if cost is not None or kept:
            known[_CHARGED] = {"cost": None if cost is None else str(cost), "kept": kept}
        return known

    def _job(self) -> dict[str, Any]:
        """The job with what this reply adds; an id once given stays, unless it is our own."""
        told = self._task_fields()
        known = {**told, **self.task}
        if "id" in told and self.variant.task.ours and known["id"] == known["uuid"]:
            known["id"] = told["id"]
        return known

    def _task_fields(self) -> dict[str, str]:
        found = ((name, first_text(places, self.seen)) for name, places in self.variant.task.fields.items())
        return {
            name: absolute(value, self.base_url) if name.endswith("_url") else value
            for name, value in found
            if value and len(value) <= _LONGEST_FIELD and (name.endswith("_url") or _fits_a_path(value))
        }

    # --- a picture that goes ahead of an order -----------------------------------------------------

    def uploaded(self) -> str:
        """What the vendor calls it. Raises `UpstreamError`."""
        upload = self.variant.upload
        assert upload is not None
        failed = self.status < 400 and self.variant.fail is not None and self.variant.fail.holds(self.seen)
        if self.status < 400 and not failed and (name := first_text(upload.result, self.seen)):
            return name
        complaint = failures.of_reply(self.variant.errors, self.status, self.headers, self.payload)
        classed = failures.class_of if self.status >= 400 else failures.class_of_failure
        why = None if self.status >= 400 or failed else paths.missed(upload.result, self.seen)
        sentence = "{} took the picture but did not say what it is called there."
        error = self._error(classed(self.variant.errors, complaint), complaint, sentence, why)
        raise error.changed(bought=False)

    # --- the pictures ------------------------------------------------------------------------------

    def pictures(self) -> tuple[list[Image], list[UpstreamError]]:
        """What was made, and why the rest was not."""
        result = self.variant.result
        images = next((good for one in self._findings() if (good := self._reachable(coerce_all([one])))), [])
        complaints = [failures.of_item(item) for item in _items(result.item_errors, self.seen)]
        item_errors = [
            self._error(failures.class_of_failure(self.variant.errors, one), one, "{}: a picture failed.")
            for one in complaints
        ]
        flags = first(result.moderated, self.seen) or []
        if isinstance(flags, list) and any(flags):
            kept = [
                image
                for image, flag in zip(images, [*flags, *[False] * len(images)], strict=False)
                if not flag
            ]
            blocked = failures.unexplained(self.status, self.payload)
            item_errors += [
                self._error(ErrorClass.BLOCKED, blocked, _DEFAULT_SENTENCES["moderated"])
                for _ in range(len(images) - len(kept))
            ]
            images = kept
        return (self._told(images) if images else images), item_errors

    def partials(self, begin: int) -> tuple[PartialImage, ...]:
        """What shows a picture on its way; the first is number `begin`."""
        found = partials(every(self.variant.result.partial, self.seen), begin)
        return tuple(self._told(found)) if found else found

    def _told(self, images: Iterable[_Shown]) -> list[_Shown]:
        """With what the vendor says of all of them."""
        result = self.variant.result
        quality, background = (_word(first(one, self.seen)) for one in (result.quality, result.background))
        if quality is None and background is None:
            return list(images)
        return [replace(image, quality=quality, background=background) for image in images]

    def _findings(self) -> Iterator[Any]:
        """What may be a picture: the body where it is one, else what the paths find."""
        if isinstance(self.payload, Slice):
            yield self.payload
        yield from every(self.variant.result.images, self.seen, self._job())

    def _reachable(self, images: list[Image]) -> list[Image]:
        """Those that are here, and those whose address is whole or can be made so."""
        whole = (
            replace(image, url=absolute(image.url, self.base_url)) if image.url else image for image in images
        )
        return [image for image in whole if image.url is None or is_absolute(image.url)]

    def keyed(self, images: Iterable[Image]) -> frozenset[str]:
        """Which of their addresses are the vendor's own, where it wants our key for files."""
        result, hosts = self.variant.result, self.variant.task.hosts
        urls = (image.url for image in images if result.keyed and image.url)
        return frozenset(url for url in urls if is_allowed(url, hosts, self.base_url))

    def text(self) -> str:
        found = first(self.variant.result.text, self.seen)
        pieces = found if isinstance(found, list) else [found]
        return "".join(piece for piece in pieces if isinstance(piece, str))

    def _done(self, images: list[Image], item_errors: list[UpstreamError]) -> Done:
        return Done(
            images=tuple(images),
            text=self.text(),
            usage=self.usage(),
            billing=self.billing(),
            item_errors=tuple(item_errors),
            expires_s=self.variant.result.url_ttl_s,
            task=self._known() if self.variant.poll else self.task,
            keyed=self.keyed(images),
        )

    # --- money -------------------------------------------------------------------------------------

    def usage(self) -> Usage | None:
        """None when the vendor says nothing. `vendor` keeps its own words for the charge."""
        counts = {name: _count(name, places, self.seen) for name, places in self.variant.usage.items()}
        known: dict[str, Any] = {
            name: value if name == "seconds" else int(value)
            for name, value in counts.items()
            if value is not None and value >= 0
        }
        kept = self._charge()
        return Usage(**known, vendor=kept or None) if known or kept else None

    def billing(self) -> Billing:
        billing = self.variant.billing
        cost = self._cost()
        is_unread = bool(billing.cost) and cost is None
        return Billing(
            cost=cost,
            unread=paths.no_amount(billing.cost, self.seen) if is_unread else None,
            reserved=money(billing.reserved, self.seen),
            unit=billing.unit,
            refunded_on_failure=billing.refunded_on_failure,
        )

    def _cost(self) -> Decimal | None:
        """What this reply says that the job costs, else what an earlier one said."""
        cost = money(self.variant.billing.cost, self.seen)
        earlier = self.task.get(_CHARGED, {}).get("cost")
        return Decimal(earlier) if cost is None and earlier is not None else cost

    def _charge(self) -> dict[str, Any]:
        """The same of the vendor's own fields."""
        earlier = self.task.get(_CHARGED, {}).get("kept", {})
        return {**earlier, **kept_charge(self.variant.billing.keep, self.seen)}


def _fits_a_path(value: str) -> bool:
    """Whether it stays in its place there, also where its slashes are read as such."""
    return {".", ".."}.isdisjoint(value.split("/"))


def _as(error_class: ErrorClass, error: UpstreamError) -> UpstreamError:
    """The same words, as an error of another class."""
    return UpstreamError(
        error_class,
        error.message,
        provider=error.provider,
        native=error.native,
        native_status=error.native_status,
        why=error.why,
    )


def kept_charge(keep: Mapping[str, Paths], payload: Any) -> dict[str, Any]:
    """The vendor's own fields about money, verbatim, by the names that the profile gives them."""
    found = ((name, first(places, payload)) for name, places in keep.items())
    return {name: value for name, value in found if value is not None}


def _items(places: Paths, payload: Any) -> Iterator[Any]:
    found = first(places, payload)
    yield from found if isinstance(found, list) else [] if found is None else [found]


def money(places: Paths, payload: Any) -> Decimal | None:
    found = (paths.amount(found) for found in every(places, payload))
    return next((amount for amount in found if amount is not None), None)


def _count(name: str, places: Paths, seen: Any) -> float | None:
    """The first number; relays fill all names of a count and leave those they do not use at 0 (C)."""
    numbers = [number for found in every(places, seen) if (number := _number(found)) is not None]
    used = next((number for number in numbers if number), None) if name in ("prompt", "completion") else None
    return used if used is not None else numbers[0] if numbers else None


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_WORD else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if isfinite(number) else None
