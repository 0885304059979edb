"""A graph as SVG: panels one below the other over the same line of requests."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log10

_WIDTH, _PANEL, _LEFT, _RIGHT, _TOP, _GAP, _BOTTOM = 760, 110, 56, 32, 40, 34, 40
_COLOURS = ("#1f6feb", "#d1660a")


@dataclass(frozen=True)
class Panel:
    """`lines` are values at the same places, by what they are."""

    title: str
    lines: dict[str, list[float]]


def svg(title: str, below: str, places: list[float], panels: list[Panel]) -> str:
    """`places` begin at 0 or above and grow; every panel begins at 0."""
    height = _TOP + len(panels) * (_PANEL + _GAP) - _GAP + _BOTTOM
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="11" fill="#333">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{_LEFT}" y="16" font-size="13" font-weight="bold">{title}</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="{height - 8}" text-anchor="end">{below}</text>',
    ]
    bottom = _TOP + _PANEL
    for panel in panels:
        drawn += _panel(panel, places, bottom)
        bottom += _PANEL + _GAP
    for part in range(5):
        at = places[-1] * part / 4
        drawn.append(_text(_LEFT + _span() * part / 4, height - 24, f"{at:,.0f}", "middle"))
    return "\n".join([*drawn, "</svg>", ""])


def _panel(panel: Panel, places: list[float], bottom: int) -> list[str]:
    top = _round_up(max(max(values) for values in panel.lines.values()))
    drawn = [_text(_LEFT, bottom - _PANEL - 6, panel.title, "start")]
    for part in range(3):
        y = bottom - _PANEL * part / 2
        drawn.append(f'<path d="M{_LEFT} {y}h{_span()}" stroke="#ddd"/>')
        drawn.append(_text(_LEFT - 6, y + 4, f"{top * part / 2:g}", "end"))
    for number, (name, values) in enumerate(panel.lines.items()):
        points = " ".join(
            f"{_LEFT + _span() * place / places[-1]:.1f},{bottom - _PANEL * value / top:.1f}"
            for place, value in zip(places, values, strict=True)
        )
        colour = _COLOURS[number]
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        if len(panel.lines) > 1:
            x = _WIDTH - _RIGHT - 90 * (len(panel.lines) - 1 - number)
            drawn.append(f'<g fill="{colour}">{_text(x, bottom - _PANEL - 6, name, "end")}</g>')
    return drawn


def _span() -> int:
    return _WIDTH - _LEFT - _RIGHT


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{text}</text>'


def _round_up(value: float) -> float:
    """To one, two or five with noughts, or a multiple of it below ten."""
    step = 10 ** int(log10(max(value, 1)))
    return float(ceil(value / step) * step) or 1.0
