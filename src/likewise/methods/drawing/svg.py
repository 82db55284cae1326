"""Pieces of a figure as SVG: one palette that can be read on light and on dark pages, coordinates in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

INK, SOFT, LINE = "#23211d", "#67625a", "#d8d2c6"
TEACHER, STUDENT, ROW = "#0d6b62", "#c2571a", "#8f897d"
CLASSES = ("#4c78a8", "#c4504f", "#3f9a76")
WIDTH, HEIGHT = 760, 262


def figure(title: str, *parts: str) -> str:
    """The whole file. `title` is read by screen readers."""
    frame = f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#fbfaf7"/>'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" font-family="system-ui,sans-serif" font-size="12"><title>{escape(title)}</title>'
    )
    return head + frame + "".join(parts) + "</svg>\n"


def words(x: float, y: float, said: str, *, colour: str = SOFT, anchor: str = "start", bold: bool = False) -> str:
    """A line of text."""
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}"{weight}>{escape(said)}</text>'


def line(
    x1: float, y1: float, x2: float, y2: float, *, colour: str = LINE, wide: float = 1.0, dashed: bool = False
) -> str:
    """A straight line."""
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{wide:g}"{dash}/>'


def dot(x: float, y: float, radius: float, *, colour: str, hollow: bool = False) -> str:
    """A disc, or a ring."""
    paint = f'fill="#fbfaf7" stroke="{colour}" stroke-width="1.5"' if hollow else f'fill="{colour}"'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" {paint}/>'


def box(x: float, y: float, width: float, height: float, *, colour: str, depth: float = 1.0, edge: str = "none") -> str:
    """A rectangle whose opacity is `depth`."""
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} fill="{colour}" fill-opacity="{depth:.2f}" stroke="{edge}"/>'


def curve(points: Sequence[tuple[float, float]], *, colour: str, wide: float = 1.8) -> str:
    """A line through points."""
    path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{wide:g}"/>'


def arrow(x1: float, y1: float, x2: float, y2: float, *, colour: str) -> str:
    """A line with a head; nothing where it is too short for one."""
    length = math.hypot(x2 - x1, y2 - y1)
    if length < 4:
        return ""
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    back = x2 - 8 * dx, y2 - 8 * dy
    head = [(x2, y2), (back[0] - 4 * dy, back[1] + 4 * dx), (back[0] + 4 * dy, back[1] - 4 * dx)]
    shape = " ".join(f"{x:.1f},{y:.1f}" for x, y in head)
    return line(x1, y1, *back, colour=colour, wide=2.2) + f'<polygon points="{shape}" fill="{colour}"/>'


def matrix(x: float, y: float, rows: Sequence[Sequence[float]], *, cell: float, colour: str, most: float = 1.0) -> str:
    """A table of numbers as squares, the deeper the larger the number is in proportion to `most`."""
    return "".join(
        box(x + column * cell, y + row * cell, cell - 2, cell - 2, colour=colour, depth=min(1.0, abs(value) / most),
            edge=LINE)
        for row, values in enumerate(rows)
        for column, value in enumerate(values)
    )  # fmt: skip
