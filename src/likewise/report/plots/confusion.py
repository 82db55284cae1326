"""Confusion of classes: a matrix for few classes, and the most frequent errors for any number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from likewise.report.markup import tag, text
from likewise.report.numbers import count, percent

LARGEST = 24
"""Classes that a matrix can show."""
PAIRS = 10
"""Most frequent mistakes that are listed."""


def matrix(counts_CC: NDArray[np.int64], order: Sequence[int], names: Sequence[str]) -> str:
    """Shares of each class (row) that were given each class (column), and the pairs that are confused most.

    `order` are the classes that were asked for; columns of others are left out of the matrix, not out of the shares.
    """
    listed = pairs(counts_CC, names)
    if len(order) > LARGEST:
        return listed
    above = "".join(tag("span", tag("b", text(names[column])), class_="column") for column in order)
    lines = []
    for row in order:
        whole = int(counts_CC[row].sum())
        cells = "".join(_cell(int(counts_CC[row, column]), whole, names, row, column) for column in order)
        lines.append(tag("span", text(names[row]), class_="row", title=names[row]) + cells)
    board = tag(
        "div",
        tag("span", "", class_="corner") + above + "".join(lines),
        class_="confusion",
        style=f"--classes:{len(order)}",
        role="img",
        aria_label="which class is taken for which",
    )
    note = "Rows: what the images are. Columns: what they were taken for, in per cent of the row."
    return (
        tag("h3", "What is taken for what")
        + tag("p", text(note), class_="small")
        + tag("div", board + listed, class_="sides")
    )


def _cell(value: int, whole: int, names: Sequence[str], row: int, column: int) -> str:
    share = value / whole if whole else 0.0
    result = f"{100 * share:.0f}" if share >= 0.005 else ""
    kind = "right" if row == column else "wrong"
    verb = "taken for" if row != column else "recognised as"
    hint = f"{count(value)} of {count(whole)} {names[row]} {verb} {names[column]}"
    # Small shares would not be seen on a scale from 0 to 1, and it is the small ones that one looks for.
    depth = share if row == column else min(1.0, 2.2 * share)
    return tag("i", result, class_=kind, style=f"--d:{depth:.3f}", title=hint)


def pairs(counts_CC: NDArray[np.int64], names: Sequence[str]) -> str:
    """The most frequent mistakes, by the share of the class that suffers them; empty where there is none."""
    found = most_confused(counts_CC, PAIRS)
    if not found:
        return ""
    most = max(share for _, _, _, share in found)
    rows = "".join(
        tag(
            "li",
            tag("span", text(names[row]), tag("em", " taken for "), text(names[column]), class_="name"),
            tag("i", tag("b", style=f"width:{100 * share / most:.1f}%")),
            tag("span", text(percent(share, 0)), class_="number", title=f"{count(times)} images"),
        )
        for row, column, times, share in found
    )
    return tag("div", tag("h4", "Most confused"), tag("ol", rows, class_="pairs"))


def most_confused(counts_CC: NDArray[np.int64], most: int) -> list[tuple[int, int, int, float]]:
    """Class, what it was taken for, how often, and the share of the class; the largest shares first."""
    whole_C = counts_CC.sum(1)
    share_CC = counts_CC / np.maximum(whole_C, 1)[:, None]
    np.fill_diagonal(share_CC, 0.0)
    order = np.argsort(-share_CC, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(order, share_CC.shape)
    return [
        (int(row), int(column), int(counts_CC[row, column]), float(share_CC[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if share_CC[row, column] > 0
    ]
