"""Shares over time as an inline SVG: two lines, no script, in the page's colours. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from app.machine.values import Point
from app.views.text import escape

SPAN_S = 300.0
_WIDTH, _HEIGHT = 600, 100
_GAP_S = 10.0  # a longer silence breaks the line: nobody looked


def render(points: Sequence[Point], label: str) -> str:
    """The last SPAN_S seconds up to the newest point; memory filled, load as a line."""
    if not points:
        return ""
    end = points[-1].at
    shown = [point for point in points if end - point.at <= SPAN_S]
    memory = [(point.at, point.memory) for point in shown]
    load = [(point.at, point.load) for point in shown if point.load is not None]
    grid = "".join(f'<line class="sr-grid" x1="0" x2="{_WIDTH}" y1="{y}" y2="{y}"/>' for y in (25, 50, 75))
    return (
        f'<figure class="sr-plot"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{grid}{_area(memory, end)}{_lines(memory, end, "sr-memory")}'
        f'{_lines(load, end, "sr-load")}</svg><figcaption aria-hidden="true"><span>5 minutes ago</span>'
        "<span>now</span></figcaption></figure>"
    )


def _runs(series: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The series in pieces between which nobody looked."""
    runs: list[list[tuple[float, float]]] = []
    for at, share in series:
        if not runs or at - runs[-1][-1][0] > _GAP_S:
            runs.append([])
        runs[-1].append((at, share))
    return runs


def _place(at: float, share: float, end: float) -> str:
    x = _WIDTH * (1 - (end - at) / SPAN_S)
    return f"{x:.1f},{_HEIGHT * (1 - min(max(share, 0.0), 1.0)):.1f}"


def _lines(series: Sequence[tuple[float, float]], end: float, kind: str) -> str:
    """A single moment is a dot: a line of no length, with round ends."""
    runs = (run * 2 if len(run) == 1 else run for run in _runs(series))
    drawn = (" ".join(_place(at, share, end) for at, share in run) for run in runs)
    return "".join(f'<polyline class="{kind}" points="{line}"/>' for line in drawn)


def _area(series: Sequence[tuple[float, float]], end: float) -> str:
    shapes = ""
    for run in _runs(series):
        line = " ".join(_place(at, share, end) for at, share in run)
        shapes += (
            f'<polygon class="sr-memory" points="{_place(run[0][0], 0, end)} {line} {_place(run[-1][0], 0, end)}"/>'
        )
    return shapes
