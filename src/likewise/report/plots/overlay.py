"""Several curves in one chart, as inline SVG: each with its name at its end, and a band where it has intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from likewise.report.markup import tag, text
from likewise.report.numbers import short, ticks
from likewise.report.plots.charts import thinned

POINTS = 200
COLOURS = 13
"""In the palette; the last is grey."""
_LINE = 13.0
"""Least distance between two names."""


class Series(NamedTuple):
    """One curve."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    band: Sequence[tuple[float, float]] | None = None
    """Lower and upper end of the interval at each point."""
    colour: int = 0
    marked: bool = False
    """Whether points are drawn as dots."""
    dashed: bool = False


class _Frame(NamedTuple):
    """From values to places in the drawing."""

    width: float
    height: float
    right: float
    x_low: float
    x_high: float
    y_ticks: list[float]
    log: bool

    def x(self, value: float) -> float:
        low, high, at = (math.log(v) if self.log else v for v in (self.x_low, self.x_high, max(value, 1e-12)))
        return 44.0 + (at - low) / ((high - low) or 1) * (self.width - 44.0 - self.right)

    def y(self, value: float) -> float:
        low, high = self.y_ticks[0], self.y_ticks[-1]
        share = min(max((value - low) / ((high - low) or 1), -0.02), 1.02)
        return self.bottom - share * (self.bottom - 12.0)

    @property
    def bottom(self) -> float:
        return self.height - 40.0


def overlay(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    note: str = "",
    form: Callable[[float], str] = short,
    log_x: bool = False,
    large: bool = False,
    x_names: Sequence[str] = (),
) -> str:
    """A card with the curves. Nothing is returned where no curve has two points.

    With `log_x` the values of x must be above 0, and are what the axis shows; with `x_names` they are positions in it.
    """
    drawn = [one for one in series if len(one.x) >= 2]
    if not drawn:
        return ""
    head = tag("div", tag("h3", text(title)), class_="chart-head")
    foot = tag("figcaption", text(note)) if note else ""
    image = svg(title, drawn, x_label=x_label, form=form, log_x=log_x, large=large, x_names=x_names)
    return tag("figure", head, image, foot, class_="chart overlay" + (" large" if large else ""))


def svg(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    form: Callable[[float], str] = short,
    log_x: bool = False,
    large: bool = False,
    style: str = "",
    x_names: Sequence[str] = (),
) -> str:
    """The drawing alone; with `style` it is an image of its own."""
    drawn = [one._replace(x=x, y=y) if one.band is None else one for one in series for x, y in [_few(one)]]
    frame = _frame(drawn, log_x=log_x, large=large)
    axes = _axes(frame, drawn, x_label, form, x_names)
    curves = "".join(_curve(frame, one) for one in drawn)
    return tag(
        "svg",
        style,
        axes,
        curves,
        _names(frame, drawn),
        viewBox=f"0 0 {frame.width:.0f} {frame.height:.0f}",
        xmlns="http://www.w3.org/2000/svg",
        role="img",
        aria_label=f"{title}: {', '.join(one.name for one in drawn)}",
    )


def _few(one: Series) -> tuple[list[float], list[float]]:
    return thinned(one.x, one.y, POINTS)


def _frame(series: Sequence[Series], *, log_x: bool, large: bool) -> _Frame:
    width, height = (1000.0, 430.0) if large else (520.0, 260.0)
    longest = max(len(one.name) for one in series)
    right = min(0.36 * width, 18.0 + (8.4 if large else 7.2) * longest)
    ends = [pair for one in series for pair in one.band or zip(one.y, one.y, strict=True)]
    low, high = _without_outliers([low for low, _ in ends], [high for _, high in ends])
    if high - low < 1e-12 * max(1.0, abs(high)):
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    x_low, x_high = min(min(one.x) for one in series), max(max(one.x) for one in series)
    return _Frame(width, height, right, x_low, x_high, ticks(low, high, 5 if large else 4), log_x)


def _without_outliers(lows: Sequence[float], highs: Sequence[float]) -> tuple[float, float]:
    """The span of the axis: of many points without the most extreme fiftieth, such as a steep start."""
    cut = len(highs) // 50
    return sorted(lows)[cut if cut > 1 else 0], sorted(highs)[-1 - (cut if cut > 1 else 0)]


def _axes(
    frame: _Frame, series: Sequence[Series], x_label: str, form: Callable[[float], str], x_names: Sequence[str]
) -> str:
    end = frame.width - frame.right
    marks = []
    for value in frame.y_ticks:
        y = frame.y(value)
        marks.append(f'<line class="grid" x1="44" x2="{end:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        marks.append(f'<text class="tick" x="38" y="{y + 3.2:.1f}" text-anchor="end">{text(form(value))}</text>')
    if x_names:
        inside = [float(place) for place in range(len(x_names))]
    elif frame.log:
        inside = sorted({value for one in series for value in one.x})
    else:
        inside = [v for v in ticks(frame.x_low, frame.x_high, 6) if frame.x_low <= v <= frame.x_high]
    marks += [
        f'<text class="tick" x="{frame.x(value):.1f}" y="{frame.bottom + 15:.1f}" text-anchor="middle">'
        f"{text(x_names[int(value)] if x_names else short(value))}</text>"
        for value in inside
    ]
    middle = (44.0 + end) / 2
    marks.append(
        f'<text class="tick" x="{middle:.1f}" y="{frame.height - 6:.1f}" text-anchor="middle">{text(x_label)}</text>'
    )
    return "".join(marks)


def _curve(frame: _Frame, one: Series) -> str:
    places = [(frame.x(x), frame.y(y)) for x, y in zip(one.x, one.y, strict=True)]
    kind = f"k{one.colour % COLOURS}"
    parts = []
    if one.band is not None and any(low < high for low, high in one.band):
        over = [(frame.x(x), frame.y(high)) for x, (_, high) in zip(one.x, one.band, strict=True)]
        under = [(frame.x(x), frame.y(low)) for x, (low, _) in zip(one.x, one.band, strict=True)]
        parts.append(f'<path class="band {kind}" d="{_path([*over, *reversed(under)])}Z"/>')
    parts.append(f'<path class="series {kind}{" dashed" if one.dashed else ""}" d="{_path(places)}"/>')
    if one.marked:
        parts += [f'<circle class="mark {kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.4"/>' for x, y in places]
    return "".join(parts)


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _names(frame: _Frame, series: Sequence[Series]) -> str:
    """The name of each curve at its end, moved so that none covers another."""
    ends = sorted((frame.y(one.y[-1]), number) for number, one in enumerate(series))
    heights: list[float] = []
    for y, _ in ends:
        heights.append(max(y, heights[-1] + _LINE) if heights else y)
    over = (heights[-1] if heights else 0.0) - (frame.bottom + 4)
    if over > 0:  # too low: lift the last ones as far as needed
        for place in range(len(heights) - 1, -1, -1):
            limit = frame.bottom + 4 if place == len(heights) - 1 else heights[place + 1] - _LINE
            heights[place] = min(heights[place], limit)
    words = []
    most = int((frame.right - 18.0) / (8.4 if frame.width > 600 else 7.2))
    for height, (_, number) in zip(heights, ends, strict=True):
        one = series[number]
        name = one.name if len(one.name) <= most else one.name[: most - 1] + "\u2026"
        x = frame.x(one.x[-1]) + 8
        words.append(f'<text class="name k{one.colour % COLOURS}" x="{x:.1f}" y="{height + 4:.1f}">{text(name)}</text>')
    return "".join(words)
