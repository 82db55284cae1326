"""Losses of one query on the unit circle: its target, its gradient, and the loss at each place.

Shapes: K rows of a memory, 2 dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from likewise.methods.drawing import svg

CENTRE, RADIUS = (142.0, 138.0), 88.0
QUERY, KEY = 100.0, 54.0
"""Degrees of the student's and of the teacher's vector."""
ROWS = (12.0, 25.0, 38.0, 132.0, 160.0, 205.0, 262.0, 318.0)
"""Degrees of the memory's rows. Those near the key lie all on one side of it, so that losses differ."""
PULL = 62.0
"""Pixels that the arrow is long."""

Loss = Callable[[Tensor], Tensor]
"""Of a query (1, 2): a scalar, differentiable in it."""


class Bars(NamedTuple):
    """A distribution over what is named, as the loss computes it."""

    name: str
    values: Sequence[float]
    colour: str


def at(*degrees: float) -> Tensor:
    """(N, 2) float64 unit vectors."""
    angle_N = torch.tensor(degrees, dtype=torch.float64) * math.pi / 180
    return torch.stack([angle_N.cos(), angle_N.sin()], 1)


def place(degrees: float, radius: float = RADIUS) -> tuple[float, float]:
    """Pixels of a point of the circle."""
    angle = degrees * math.pi / 180
    return CENTRE[0] + radius * math.cos(angle), CENTRE[1] - radius * math.sin(angle)


def drawn(
    title: str,
    loss: Loss,
    bars: Sequence[Bars],
    *,
    names: Sequence[str],
    key: bool = True,
    rows: Sequence[float] = ROWS,
    colours: Sequence[str] = (),
) -> str:
    """The circle with the negative gradient at the query, the distributions of the loss, and the loss everywhere."""
    parts = [f'<circle cx="{CENTRE[0]}" cy="{CENTRE[1]}" r="{RADIUS}" fill="none" stroke="{svg.LINE}"/>']
    for number, degrees in enumerate(rows):
        colour = colours[number] if colours else svg.ROW
        parts += [svg.dot(*place(degrees), 5, colour=colour)]
        if not colours:
            x, y = place(degrees, RADIUS + 16)
            parts.append(svg.words(x, y + 4, names[number + len(names) - len(rows)], anchor="middle"))
    if key:
        parts += [svg.dot(*place(KEY), 7, colour=svg.TEACHER), _named(KEY, "k", svg.TEACHER)]
    query = at(QUERY).requires_grad_()
    (gradient_12,) = torch.autograd.grad(loss(query), query)
    down = -gradient_12[0] / gradient_12[0].norm().clamp_min(1e-12)
    x, y = place(QUERY)
    parts.append(svg.arrow(x, y, x + PULL * float(down[0]), y - PULL * float(down[1]), colour=svg.STUDENT))
    parts += [svg.dot(x, y, 7, colour=svg.STUDENT), _named(QUERY, "q", svg.STUDENT)]
    parts += [svg.words(16, 22, "q, and where its gradient pulls it", bold=True, colour=svg.INK)]
    return svg.figure(title, *parts, _distributions(bars, names), _landscape(loss, rows, key=key, colours=colours))


def _named(degrees: float, name: str, colour: str) -> str:
    x, y = place(degrees, RADIUS - 17)
    return svg.words(x, y + 4, name, colour=colour, anchor="middle", bold=True)


def _distributions(bars: Sequence[Bars], names: Sequence[str]) -> str:
    left, wide, base, high = 290.0, 200.0, 218.0, 150.0
    step = min(wide / len(names), 34.0)
    parts = [svg.line(left, base, left + wide, base)]
    most = max(max(one.values) for one in bars)
    for number, one in enumerate(bars):
        parts.append(svg.words(left, 22 + 16 * number, one.name, colour=one.colour, bold=True))
        width = (step - 4) / len(bars)
        for column, value in enumerate(one.values):
            tall = high * value / most
            x = left + step * column + 2 + width * number
            parts.append(svg.box(x, base - tall, width - 1, tall, colour=one.colour))
    parts += [svg.words(left + step * (n + 0.5), base + 16, name, anchor="middle") for n, name in enumerate(names)]
    return "".join(parts)


def _landscape(loss: Loss, rows: Sequence[float], *, key: bool, colours: Sequence[str]) -> str:
    left, wide, base, high = 532.0, 210.0, 218.0, 150.0
    angles = [float(degrees) for degrees in range(0, 361, 3)]
    with torch.no_grad():
        values = [float(loss(at(degrees))) for degrees in angles]
    low, top = min(values), max(values)
    span = max(top - low, 1e-9)

    def point(degrees: float, value: float) -> tuple[float, float]:
        return left + wide * degrees / 360, base - high * (value - low) / span

    with torch.no_grad():
        now = point(QUERY, float(loss(at(QUERY))))
    ticks = [
        svg.line(left + wide * degrees / 360, base, left + wide * degrees / 360, base + 6, wide=3,
                 colour=colours[number] if colours else svg.ROW)
        for number, degrees in enumerate(rows)
    ]  # fmt: skip
    if key:
        x = left + wide * KEY / 360
        ticks += [svg.line(x, base - high, x, base + 8, colour=svg.TEACHER, dashed=True), svg.words(
            x, base + 20, "k", colour=svg.TEACHER, anchor="middle", bold=True
        )]  # fmt: skip
    return "".join(
        [
            svg.words(left, 22, "the loss at every place of q", bold=True, colour=svg.INK),
            svg.line(left, base, left + wide, base),
            *ticks,
            svg.curve([point(*pair) for pair in zip(angles, values, strict=True)], colour=svg.INK),
            svg.dot(*now, 5, colour=svg.STUDENT),
            svg.words(now[0] + 8, now[1] - 6, "q", colour=svg.STUDENT, bold=True),
        ]
    )
