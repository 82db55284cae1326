"""Charts as inline SVG: pure functions from numbers to text. Colours come from the page's style sheet by class."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.report.text import escape, shown

Floats = NDArray[np.float64]

WIDTH, HEIGHT = 340, 150
LEFT, RIGHT, TOP, BOTTOM = 38, 10, 10, 22
MOST_POINTS = 240
"""A line is drawn from at most as many points; more would only be a larger file."""
SMOOTH_FROM = 12
"""Fewer points are drawn as they are."""


class Frame(NamedTuple):
    """Where values lie on a chart: the ends of both axes."""

    x0: float
    x1: float
    y0: float
    y1: float

    def across(self, x: float) -> float:
        """Horizontal place of a value in pixels."""
        return LEFT + (x - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - RIGHT)

    def down(self, y: float) -> float:
        """Vertical place of a value in pixels."""
        return HEIGHT - BOTTOM - (y - self.y0) / (self.y1 - self.y0) * (HEIGHT - TOP - BOTTOM)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One chart with one line."""

    title: str
    """What is drawn; read out to people who cannot see it."""
    x: Sequence[float]
    """Rising."""
    y: Sequence[float]
    """As many, all finite."""
    floor: float | None = None
    """The vertical axis reaches down to here at least; None: just to the values."""
    smooth: bool = False
    """Whether the values are noisy: they are drawn faint, and their running mean strong."""
    reference: tuple[float, str] | None = None
    """A dashed level and its name."""
    unit_x: str = "epoch"
    """What the horizontal axis counts."""


# Numbers -----------------------------------------------------------------------------------------------------------


def thin(x: Floats, y: Floats, most: int = MOST_POINTS) -> tuple[Floats, Floats]:
    """At most `most` points: means of runs of neighbouring ones."""
    if len(x) <= most:
        return x, y
    groups = np.array_split(np.arange(len(x)), most)
    return np.array([x[group].mean() for group in groups]), np.array([y[group].mean() for group in groups])


def running_mean(y: Floats, radius: int) -> Floats:
    """Mean of each value with `radius` neighbours on either side, fewer (and as many on both sides) at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(y)])
    place = np.arange(len(y))
    reach = np.minimum(radius, np.minimum(place, len(y) - 1 - place))
    means: Floats = (sums[place + reach + 1] - sums[place - reach]) / (2 * reach + 1)
    return means


def ticks(low: float, high: float, about: int = 3) -> list[float]:
    """Round values inside [low, high], near `about` of them."""
    if not high > low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def tick_label(value: float) -> str:
    """A tick in few letters: 0.05, 2, 1.5k."""
    if abs(value) >= 1000:
        return f"{value / 1000:g}k"
    return f"{round(value, 10):g}"


def _frame(x: Floats, y: Floats, floor: float | None, reference: float | None) -> Frame:
    """Axes that hold the values, what they are compared with, and some air."""
    low, high = float(y.min()), float(y.max())
    if reference is not None:
        low, high = min(low, reference), max(high, reference)
    if floor is not None:
        low = min(low, floor)
    air = 0.06 * (high - low) or 0.5 * abs(high) or 1.0
    bottom = low if low == floor else low - air
    right = float(x[-1]) if x[-1] > x[0] else float(x[0]) + 1.0
    return Frame(float(x[0]), right, bottom, high + air)


# Lines -------------------------------------------------------------------------------------------------------------


def line_chart(line: Line) -> str:
    """A small chart, 340 by 150, that scales with its column. Nothing but its title where there are no values."""
    x, y = thin(np.asarray(line.x, dtype=np.float64), np.asarray(line.y, dtype=np.float64))
    if not len(x):
        return ""
    noisy = line.smooth and len(x) >= SMOOTH_FROM
    strong = running_mean(y, max(2, len(y) // 24)) if noisy else y
    frame = _frame(x, y, line.floor, line.reference[0] if line.reference else None)
    points = json.dumps([[round(frame.across(a), 1), round(frame.down(b), 1)] for a, b in zip(x, strong, strict=True)])
    said = json.dumps([f"{line.unit_x} {shown(a)}: {shown(b)}" for a, b in zip(x, strong, strict=True)])
    last = frame.across(float(x[-1])), frame.down(float(strong[-1]))
    return "".join(
        (
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(line.title)}" '
            f'data-points="{escape(points)}" data-said="{escape(said)}">',
            _axes(frame, line.unit_x),
            _reference(frame, line.reference),
            _path(frame, x, y, "raw") if noisy else "",
            _path(frame, x, strong, "line"),
            f'<circle class="dot" cx="{last[0]:.1f}" cy="{last[1]:.1f}" r="3"/>',
            f'<g class="probe" visibility="hidden"><line y1="{TOP}" y2="{HEIGHT - BOTTOM}"/><circle r="3.5"/></g>',
            "</svg>",
        )
    )


def _path(frame: Frame, x: Floats, y: Floats, kind: str) -> str:
    places = (f"{frame.across(a):.1f} {frame.down(b):.1f}" for a, b in zip(x, y, strict=True))
    return f'<path class="{kind}" d="M{"L".join(places)}"/>'


def _axes(frame: Frame, unit_x: str) -> str:
    """Hairlines at round values, their labels, and the unit at the end of the horizontal axis."""
    parts = []
    for value in ticks(frame.y0, frame.y1):
        y = frame.down(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{tick_label(value)}</text>')
    room = WIDTH - RIGHT - 42
    for value in ticks(frame.x0, frame.x1, 4):
        if (x := frame.across(value)) < room:
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{tick_label(value)}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{escape(unit_x)}</text>')
    return "".join(parts)


def _reference(frame: Frame, reference: tuple[float, str] | None) -> str:
    if reference is None:
        return ""
    y = frame.down(reference[0])
    above = y - 5 if y > TOP + 14 else y + 13
    return (
        f'<line class="reference" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="named" x="{WIDTH - RIGHT}" y="{above:.1f}" text-anchor="end">{escape(reference[1])}</text>'
    )


# Bars --------------------------------------------------------------------------------------------------------------


def stacked_bar(parts: Sequence[tuple[str, float, str]], title: str) -> str:
    """One bar divided among (name, share of 1, class); shares below a thousandth are left out."""
    place, pieces = 0.0, []
    for name, share, kind in parts:
        if share >= 0.001:
            pieces.append(
                f'<rect class="{kind}" x="{1000 * place:.1f}" width="{max(1000 * share - 3, 1):.1f}" height="34">'
                f"<title>{escape(name)}: {100 * share:.1f} %</title></rect>"
            )
        place += share
    return (
        f'<svg class="stack" viewBox="0 0 1000 34" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}">{"".join(pieces)}</svg>'
    )


def strip(kinds: Sequence[str], class_of: Callable[[str], str], title: str) -> str:
    """A thin band with one stretch per run of equal `kinds`, in order."""
    starts = [0, *(place for place in range(1, len(kinds)) if kinds[place] != kinds[place - 1]), len(kinds)]
    scale = 1000 / max(len(kinds), 1)
    pieces = "".join(
        f'<rect class="{class_of(kinds[a])}" x="{a * scale:.1f}" width="{(b - a) * scale:.1f}" height="10">'
        f"<title>{escape(kinds[a])}</title></rect>"
        for a, b in zip(starts, starts[1:], strict=False)
        if b > a
    )
    return (
        f'<svg class="strip" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}">{pieces}</svg>'
    )


def bars(rows: Sequence[tuple[str, int]]) -> str:
    """Horizontal bars with names and counts, as HTML, so that long names wrap."""
    most = max((amount for _, amount in rows), default=0) or 1
    return (
        '<ul class="bars">'
        + "".join(
            f'<li><span class="name">{escape(name)}</span><span class="bar">'
            f'<span style="width:{100 * amount / most:.2f}%"></span></span><span class="amount">{amount:,}</span></li>'
            for name, amount in rows
        )
        + "</ul>"
    )


def dumbbell(before: float | None, after: float | None) -> str:
    """Two marks between 0 and 1 joined by a line: where it started and where it got."""
    found = [100 * min(max(value, 0.0), 1.0) for value in (before, after) if value is not None]
    if not found:
        return ""
    low, high = min(found), max(found)
    marks = f'<line class="way" x1="{low:.1f}" x2="{high:.1f}" y1="6" y2="6"/>'
    for value, kind in ((before, "before"), (after, "after")):
        if value is not None:
            marks += f'<line class="{kind}" x1="{100 * value:.1f}" x2="{100 * value:.1f}" y1="1.5" y2="10.5"/>'
    return (
        '<svg class="dumbbell" viewBox="-1 0 102 12" preserveAspectRatio="none" aria-hidden="true">'
        f'<line class="track" x1="0" x2="100" y1="6" y2="6"/>{marks}</svg>'
    )
