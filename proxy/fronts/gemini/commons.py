"""What the fronts of Google's dialect share: errors, spelling, and a model that stands in the path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from proxy.fronts import checks
from proxy.fronts.base import Chore, Header, Kind, Parsed
from proxy.types.values import dataclass


@dataclass(frozen=True, slots=True)
class GeminiShape:
    """`model` as the client wrote it. `as_array`: a stream is one JSON array, for nobody asked for events.
    `bare`: the answer is one word of an enumeration, without quotation marks."""

    model: str
    as_array: bool = False
    bare: bool = False


class Speaking:
    """What all fronts of the dialect have; `Refusing`, in Google's words."""

    kind: Kind = "chat"

    def refusal(
        self, error: BaseException, request_id: str, parsed: Parsed[Any, Any] | None
    ) -> tuple[int, list[Header], bytes]:
        from proxy.fronts.gemini import error_reply

        return error_reply.render(error)

    def model(self, body: Any, path: Mapping[str, str]) -> str:
        return checks.model(path.get("model"), "model")

    def chore(self, parsed: Parsed[Any, Any]) -> Chore | None:
        return None

    def spelled(self, attributes: Iterable[str], parsed: Parsed[Any, Any]) -> tuple[str, ...]:
        from proxy.fronts.gemini import spelling

        return spelling.spelled_all(attributes)


SPEAKING = Speaking()
