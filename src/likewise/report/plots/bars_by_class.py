"""Accuracy of each class, the most frequent first, which shows whether rare classes are worse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from likewise.report.markup import tag, text
from likewise.report.numbers import count, percent

NAMED = 24
"""Classes that are shown by name; more are shown as columns, with the worst by name."""
WORST = 12
_WIDTH, _HEIGHT = 1080.0, 190.0


def chart(
    counts_CC: NDArray[np.int64], order: Sequence[int], frequency_C: NDArray[np.int64], names: Sequence[str]
) -> str:
    """Accuracy of each class of `order`, in that order, with the number of images to learn from."""
    right, whole = counts_CC.diagonal(), counts_CC.sum(1)
    accuracy = {value: float(right[value] / whole[value]) for value in order}
    mean = sum(accuracy.values()) / len(accuracy)
    even = int(frequency_C[list(order)].max()) <= 1.05 * int(frequency_C[list(order)].min())
    sorted_by = "all equally frequent" if even else "the most frequent first"
    words = (
        f"Accuracy of each of {len(order)} classes, {sorted_by}; {percent(mean)} on the mean over classes, which is "
        "marked. In grey the images to learn from."
    )
    head = tag("h3", "Class by class") + tag("p", text(words), class_="small")
    if len(order) <= NAMED:
        return head + _named(order, accuracy, frequency_C, names, mean)
    worst = sorted(order, key=lambda value: accuracy[value])[:WORST]
    return (
        head
        + _columns(order, accuracy, frequency_C, names, mean)
        + tag("h4", f"The {len(worst)} that fare worst")
        + _named(worst, accuracy, frequency_C, names, mean)
    )


def _named(
    order: Sequence[int],
    accuracy: dict[int, float],
    frequency_C: NDArray[np.int64],
    names: Sequence[str],
    mean: float,
) -> str:
    most = int(frequency_C.max(initial=0)) or 1
    rows = "".join(
        tag(
            "li",
            tag("span", text(names[value]), class_="name", title=names[value]),
            tag(
                "i",
                tag("b", style=f"width:{100 * accuracy[value]:.2f}%"),
                tag("s", style=f"width:{100 * int(frequency_C[value]) / most:.2f}%"),
                tag("u", style=f"left:{100 * mean:.2f}%"),
            ),
            tag("span", text(percent(accuracy[value], 0)), class_="number"),
            tag("span", text(count(int(frequency_C[value]))), class_="count"),
        )
        for value in order
    )
    return tag("ol", rows, class_="by-class")


def _columns(
    order: Sequence[int],
    accuracy: dict[int, float],
    frequency_C: NDArray[np.int64],
    names: Sequence[str],
    mean: float,
) -> str:
    """Columns of all classes without names, and the frequencies as an outline below."""
    width, most = _WIDTH / len(order), int(frequency_C.max(initial=0)) or 1
    room, below = _HEIGHT - 40, 36.0
    parts = []
    for place, value in enumerate(order):
        tall, deep = room * accuracy[value], below * int(frequency_C[value]) / most
        hint = f"{names[value]}: {percent(accuracy[value], 0)}, {count(int(frequency_C[value]))} images"
        at = f'x="{place * width:.2f}" width="{max(0.5, 0.84 * width):.2f}"'
        parts.append(
            f'<g><title>{text(hint)}</title><rect class="up" {at} y="{room - tall:.1f}" height="{tall:.1f}"/>'
            f'<rect class="down" {at} y="{room + 3:.1f}" height="{deep:.1f}"/></g>'
        )
    y = room * (1 - mean)
    parts.append(f'<line class="reference" x1="0" x2="{_WIDTH:.0f}" y1="{y:.1f}" y2="{y:.1f}"/>')
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {_WIDTH:.0f} {_HEIGHT:.0f}",
        role="img",
        aria_label="accuracy of each class, the most frequent first",
        class_="columns",
    )
