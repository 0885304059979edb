"""The pictures simulated vendors draw, and the URLs of the file host that serve them.

A URL says all that is needed to draw its picture again, so the file host keeps nothing.
"""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import dataclass
from urllib.parse import urlencode

from proxy.simulators import pictures
from proxy.simulators.directives import Directives
from proxy.simulators.gemini.models import MODELS

MIMES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
# Signed until 2100, so that the same request gets the same URL; `sim:urlexpired` shortens it.
_FAR = 4102444800


@dataclass(frozen=True, slots=True)
class Drawing:
    """`kind` is `png`, `jpg` or `webp`; `size_bytes` makes a PNG that long."""

    width: int
    height: int
    seed: str
    kind: str = "png"
    size_bytes: int = 0

    @property
    def mime(self) -> str:
        return MIMES[self.kind]

    def data(self) -> bytes:
        if self.kind == "jpg":
            return pictures.jpeg(self.width, self.height, self.seed)
        if self.kind == "webp":
            return pictures.webp(self.width, self.height, self.seed)
        return pictures.png(self.width, self.height, self.seed, self.size_bytes)

    def base64(self) -> str:
        return base64.b64encode(self.data()).decode()

    def data_uri(self) -> str:
        return f"data:{self.mime};base64,{self.base64()}"

    def url(self, host: str, vendor: str, orders: Directives) -> str:
        """Where the file host has it: `sim:file:...` and `sim:redirect:...` travel in the query."""
        query: dict[str, str | int] = {"Expires": _FAR}
        if "urlexpired" in orders:
            seconds = orders.seconds("urlexpired")
            query["Expires"] = int(time.time() + seconds) if seconds else 1
        if self.size_bytes:
            query["size"] = self.size_bytes
        if "redirect" in orders:
            query["sim"] = f"redirect:{orders.word('redirect', 'self')}"
        elif "file" in orders:
            query["sim"] = orders.word("file")
        path = f"/files/{vendor}/{self.seed}/{self.width}x{self.height}.{self.kind}"
        return f"http://{host}{path}?{urlencode({**query, 'Signature': signature(path, query['Expires'])})}"


def signature(path: str, expires: object) -> str:
    return hashlib.sha256(f"{path} {expires}".encode()).hexdigest()[:32]


def draw(
    said: str, orders: Directives, size: tuple[int, int], count: int = 1, kind: str = "png"
) -> list[Drawing]:
    """`count` pictures that follow from what was said. `sim:big:MIB` makes PNGs so large."""
    big = orders.count("big", 1) << 20 if "big" in orders else 0
    kind = "png" if big else {"jpeg": "jpg"}.get(kind, kind)
    seeds = (hashlib.sha256(f"{said} {index}".encode()).hexdigest()[:16] for index in range(count))
    return [Drawing(*size, seed, kind, big) for seed in seeds]


def google_pixels(ratio: str, tier: str, model: str = "gemini-3.1-flash-image") -> tuple[int, int]:
    """What Google's models draw for a ratio and a tier; resellers sell these models."""
    return MODELS[model].pixels("1:1" if ratio == "auto" else ratio, tier)
