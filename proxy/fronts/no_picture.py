"""Why a request for pictures came to none: it was refused, or the model only talked."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Event, Finish, Refusal, Text


class Words:
    """What a model said beside its pictures, or in their place."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._finish: Finish | None = None
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        match event:
            case Text():
                self._text.append(event.text)
            case Refusal():
                self._refusal.append(event.text)
            case Finish():
                # Of several choices the one that was filtered explains an empty reply.
                if self._finish is None or self._finish.reason != "content_filter":
                    self._finish = event

    def error(self) -> UpstreamError:
        """For a reply that has no picture."""
        finish = self._finish
        said = "".join(self._refusal) or (finish.message if finish is not None else None)
        if self._refusal or (finish is not None and finish.reason == "content_filter"):
            return UpstreamError(
                ErrorClass.BLOCKED,
                said or "The picture was blocked by the upstream content filter.",
                native=finish.native if finish is not None else None,
            )
        words = "".join(self._text).strip()
        tail = f" It said: {words[:200]}" if words else ""
        return UpstreamError(  # its words were paid for
            ErrorClass.EMPTY,
            f"The model made no picture.{tail}",
            code="no_image_generated",
            bought=True,
            by_piece=True,
        )
