"""Small charts as inline SVG and HTML. Colours come from the page's style, so that they follow light and dark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from likewise.report.markup import tag, text
from likewise.report.numbers import short, ticks

WIDTH, HEIGHT = 360.0, 170.0
LEFT, RIGHT, TOP, BOTTOM = 40.0, 10.0, 10.0, 22.0
POINTS = 300
"""Points that a curve is drawn with at most; longer ones are averaged."""
SMOOTHED_FROM = 40
"""Curves with at least so many points get a smoothed line over the raw one."""


class Reference(NamedTuple):
    """A value worth comparing with."""

    value: float
    label: str


def line_chart(
    title: str,
    x: Sequence[float],
    y: Sequence[float],
    *,
    note: str = "",
    form: Callable[[float], str] = short,
    unit: str = "min",
    floor: float | None = None,
    ceiling: float | None = None,
    reference: Reference | None = None,
    smooth: bool = False,
) -> str:
    """A card with a curve: its title, its newest value, the curve, and a word on what it means.

    `floor` and `ceiling` are included in the axis. `smooth` draws a moving average over the raw line. Nothing
    is returned for fewer than two points.
    """
    if len(x) < 2:
        return ""
    x, y = thinned(x, y, POINTS)
    smoothed = averaged(y) if smooth and len(y) >= SMOOTHED_FROM else None
    scale = _Scale.of(x, y, floor, ceiling, reference)
    main = smoothed or y
    parts = [_axes(scale, form, unit)]
    if reference is not None:
        parts.append(_reference(scale, reference))
    parts.append(
        f'<path class="area" d="{_path(scale, x, main)}L{scale.x(x[-1]):.1f},{scale.bottom}'
        f'L{scale.x(x[0]):.1f},{scale.bottom}Z"/>'
    )
    if smoothed:
        parts.append(f'<path class="raw" d="{_path(scale, x, y)}"/>')
    parts.append(f'<path class="line" d="{_path(scale, x, main)}"/>')
    parts.append(f'<circle class="dot" cx="{scale.x(x[-1]):.1f}" cy="{scale.y(main[-1]):.1f}" r="2.6"/>')
    parts.append('<g class="cursor" hidden><line y1="10" y2="148"/><circle r="3.2"/></g>')
    shown = ";".join(
        f"{scale.x(a):.1f},{scale.y(b):.1f},{a:.3g} {unit}: {form(b)}" for a, b in zip(x, main, strict=True)
    )
    drawing = tag(
        "svg",
        *parts,
        viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}",
        role="img",
        aria_label=f"{title}: from {form(y[0])} to {form(y[-1])}",
        data_points=shown,
    )
    head = tag("h3", text(title)) + tag("span", text(form(main[-1])), class_="value")
    foot = tag("figcaption", text(note)) if note else ""
    return tag("figure", tag("div", head, class_="chart-head"), drawing, foot, class_="chart")


class _Scale(NamedTuple):
    """From values to places in the drawing."""

    x_low: float
    x_high: float
    y_ticks: list[float]

    @classmethod
    def of(
        cls,
        x: Sequence[float],
        y: Sequence[float],
        floor: float | None,
        ceiling: float | None,
        reference: Reference | None,
    ) -> _Scale:
        extra = [value for value in (floor, ceiling, reference.value if reference else None) if value is not None]
        low, high = min([*_bulk(y), *extra]), max([*_bulk(y), *extra])
        if high - low < 1e-12 * max(1.0, abs(high)):
            low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
        first = 0.0 if 0 <= min(x) < 0.05 * max(x) else min(x)
        return cls(first, max(x), ticks(low, high))

    @property
    def bottom(self) -> float:
        return HEIGHT - BOTTOM

    def x(self, value: float) -> float:
        return LEFT + (value - self.x_low) / ((self.x_high - self.x_low) or 1) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_ticks[0], self.y_ticks[-1]
        share = (value - low) / ((high - low) or 1)
        return self.bottom - min(max(share, -0.02), 1.02) * (self.bottom - TOP)


def _bulk(y: Sequence[float]) -> Sequence[float]:
    """The values that an axis must show: of long curves without the most extreme hundredth, such as the start."""
    if len(y) < SMOOTHED_FROM:
        return y
    ordered = sorted(y)
    cut = max(1, len(ordered) // 100)
    return ordered[cut:-cut]


def _axes(scale: _Scale, form: Callable[[float], str], unit: str) -> str:
    marks = []
    for value in scale.y_ticks:
        y = scale.y(value)
        marks.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        marks.append(
            f'<text class="tick" x="{LEFT - 6}" y="{y + 3.2:.1f}" text-anchor="end">{text(form(value))}</text>'
        )
    inside = [value for value in ticks(scale.x_low, scale.x_high, 6) if scale.x_low <= value <= scale.x_high]
    for value in inside:
        label = f"{short(value)} {unit}" if value == inside[-1] else short(value)
        anchor = "end" if scale.x(value) > WIDTH - RIGHT - 14 else "middle"
        marks.append(
            f'<text class="tick" x="{scale.x(value):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{text(label)}</text>'
        )
    return "".join(marks)


def _reference(scale: _Scale, reference: Reference) -> str:
    y = scale.y(reference.value)
    near_top = y < TOP + 14
    return (
        f'<line class="reference" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick strong" x="{WIDTH - RIGHT}" y="{y + (11 if near_top else -4):.1f}" text-anchor="end">'
        f"{text(reference.label)}</text>"
    )


def _path(scale: _Scale, x: Sequence[float], y: Sequence[float]) -> str:
    return "M" + "L".join(f"{scale.x(a):.1f},{scale.y(b):.1f}" for a, b in zip(x, y, strict=True))


def thinned(x: Sequence[float], y: Sequence[float], most: int) -> tuple[list[float], list[float]]:
    """At most `most` points, each the mean of a stretch of the curve."""
    if len(x) <= most:
        return list(x), list(y)
    edges = [round(number * len(x) / most) for number in range(most + 1)]
    spans = list(pairwise(edges))
    return [sum(x[a:b]) / (b - a) for a, b in spans], [sum(y[a:b]) / (b - a) for a, b in spans]


def averaged(y: Sequence[float], share: float = 0.025) -> list[float]:
    """Mean over a window of about twice `share` of the curve around each point.

    Centred, and narrower at the start, so that it does not lag behind a curve that falls steeply.
    """
    half = max(1, round(share * len(y)))
    sums = [0.0, *accumulate(y)]
    result = []
    for place in range(len(y)):
        first = max(0, place - half)
        end = min(place + min(half, place), len(y) - 1) + 1
        result.append((sums[end] - sums[first]) / (end - first))
    return result


class Segment(NamedTuple):
    """A part of a whole."""

    name: str
    share: float
    detail: str
    """What is written under the name."""


def stacked_bar(parts: Sequence[Segment]) -> str:
    """Parts of a whole side by side, each with its name and its share below."""
    bar = "".join(
        tag("i", style=f"flex-grow:{part.share:.4f}", class_=f"part part-{number}", title=f"{part.name} {part.detail}")
        for number, part in enumerate(parts)
    )
    legend = "".join(
        tag(
            "li",
            tag("i", class_=f"swatch part-{number}"),
            tag("b", text(part.name)),
            tag("span", text(part.detail)),
        )
        for number, part in enumerate(parts)
    )
    return tag("div", bar, class_="stack", role="img", aria_label="shares of time") + tag("ul", legend, class_="legend")


def bars(names: Sequence[str], values: Sequence[float], form: Callable[[float], str] = short) -> str:
    """Horizontal bars with a name in front and the value behind, from the first name down."""
    most = max(values, default=0) or 1
    rows = "".join(
        tag(
            "li",
            tag("span", text(name), class_="name", title=name),
            tag("i", tag("b", style=f"width:{100 * value / most:.2f}%")),
            tag("span", text(form(value)), class_="number"),
        )
        for name, value in zip(names, values, strict=True)
    )
    return tag("ol", rows, class_="bars")


def profile(values: Sequence[float], label: str) -> str:
    """Many bars without names, largest first: the shape of a distribution."""
    ordered = sorted(values, reverse=True)
    most = (ordered[0] if ordered else 0) or 1
    width = WIDTH * 3 / max(1, len(ordered))
    columns = "".join(
        f'<rect x="{number * width:.2f}" y="{120 - 116 * value / most:.2f}" width="{max(0.4, width * 0.82):.2f}" '
        f'height="{116 * value / most:.2f}"/>'
        for number, value in enumerate(ordered)
    )
    return tag("svg", columns, viewBox=f"0 0 {WIDTH * 3:.0f} 120", role="img", aria_label=label, class_="profile")
