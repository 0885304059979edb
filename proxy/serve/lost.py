"""What a request loses on its way, named for a client that comes back for the reply."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from proxy.errors import RequestError
from proxy.fronts.base import Front, Header, Parsed
from proxy.serve import head, output
from proxy.serve.speakers import Speaker, speaker_of
from proxy.serve.told import MOST_NAMED
from proxy.types import ImageRequest, Request

if TYPE_CHECKING:
    from proxy.serve.answer import Work


YES = frozenset((b"true", b"True", b"TRUE", b"1"))  # as programs write it


def refusal(dropped: tuple[str, ...]) -> RequestError:
    """What no wire carries, in the client's words."""
    return RequestError(
        f"This cannot be carried: {', '.join(dropped)}. Leave it out, or x-proxy-strict.",
        param=dropped[0],
        code="unsupported_parameter",
    )


def named(front: Front, parsed: Parsed[Any, Any], attributes: Iterable[str]) -> tuple[str, ...]:
    """In the client's words: what no wire carries, and these attributes of the request."""
    spelled = front.spelled(dict.fromkeys(attributes), parsed)
    return tuple(dict.fromkeys((*parsed.dropped[:MOST_NAMED], *spelled)))


def foretold(work: Work, front: Front) -> tuple[str, ...]:
    """In the client's words: what none of the targets will be told that can be asked; one of them can."""
    request = work.calls()[0]
    speakers = [speaker_of(one, request) for one in work.candidates]
    left = [by(one, request) for one in speakers if one.unable() is None]
    shared = set[str].intersection(*map(set, left))
    return named(front, work.parsed, (name for name in chain(*left) if name in shared))


def by(speaker: Speaker, request: Request) -> tuple[str, ...]:
    """The attributes that a target will not be told, as far as that is known before anything is fetched."""
    try:
        dropped = (*speaker.preview().dropped, *speaker.unread())
    except RequestError:  # which is told when it is asked
        return ()
    ours = output.ours(request) if isinstance(request, ImageRequest) else ()
    return tuple(islice((name for name in dropped if name not in ours), MOST_NAMED))


def headers(names: Iterable[str]) -> list[Header]:
    """None where nothing was lost."""
    value = head.listed(names)
    return [(b"x-proxy-dropped", value)] if value else []
