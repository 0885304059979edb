"""`/v1/moderations`. What reads and writes it is loaded by the first request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from proxy.fronts import checks
from proxy.fronts.base import Asked, Facts, Kind, Parsed
from proxy.fronts.openai.commons import Commons
from proxy.types import ModerationRequest

if TYPE_CHECKING:
    from proxy.fronts.openai.moderations.reply import ModerationsRenderer
    from proxy.fronts.openai.moderations.shape import ModerationShape

_USUAL = "omni-moderation-latest"  # what OpenAI takes where nothing is said (E-031)


class ModerationsFront(Commons):
    """A `Front`."""

    kind: Kind = "moderations"

    def model(self, body: Any, path: Mapping[str, str]) -> str:
        if isinstance(body, dict) and body.get("model") is None:
            return _USUAL
        return checks.model_of(body)

    def parse(self, body: Any, asked: Asked) -> Parsed[ModerationRequest, ModerationShape]:
        from proxy.fronts.openai.moderations import request

        return request.parse(body, self.model(body, asked.path))

    def renderer(
        self, parsed: Parsed[ModerationRequest, ModerationShape], facts: Facts
    ) -> ModerationsRenderer:
        from proxy.fronts.openai.moderations.reply import ModerationsRenderer

        return ModerationsRenderer(parsed.shape)
