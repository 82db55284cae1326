"""The charts of an audit: curves with people's, kappa, shape bias by class, and stimuli beside their images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from likewise.auditing.experiments import EXPERIMENTS
from likewise.auditing.reference import reference
from likewise.auditing.result import Audit, Example
from likewise.report.markup import tag, text
from likewise.report.numbers import percent
from likewise.report.plots.overlay import COLOURS, Series, overlay
from likewise.report.thumbnails import data_uri

SHOWN = 112
"""Height of an example in pixels, of which small images are enlarged to."""


def curves(audit: Audit) -> str:
    """A chart for each experiment of several levels; nothing where there is none."""
    result = reference().curves
    parts = []
    for name, lines in audit.curves().items():
        experiment = EXPERIMENTS[name]
        place = {level: number for number, level in enumerate(experiment.conditions)}
        series = [
            Series(
                who,
                [float(place[point.level]) for point in line],
                [point.accuracy for point in line],
                band=[(point.low, point.high) for point in line],
                colour=number,
                marked=True,
            )
            for number, (who, line) in enumerate(lines.items())
        ]
        people = [result[name][level] for level in experiment.conditions]
        series.append(Series("people", [float(n) for n in range(len(people))], people, colour=COLOURS - 1, dashed=True))
        names = [label(name, level) for level in experiment.conditions]
        parts.append(overlay(name, series, x_label=experiment.axis, form=_whole, x_names=names))
    drawn = "".join(parts)
    return tag("div", drawn, class_="charts wide") if drawn else ""


def label(experiment: str, level: str) -> str:
    """A level as the axis shows it: `c05` is 5, `16-3-10` the reach 16."""
    if experiment == "contrast":
        return str(int(level[1:]))
    return level.partition("-")[0] if experiment.startswith("eidolon") else level


def _whole(value: float) -> str:
    return percent(value, 0)


def kappa_board(names: Sequence[str], kappa: NDArray[np.float64]) -> str:
    """Error consistency of all pairs, in hundredths; below 0 in the colour of mistakes."""
    above = "".join(tag("span", tag("b", text(name)), class_="column") for name in names)
    lines = []
    for row, name in enumerate(names):
        cells = "".join(_cell(names, row, column, float(kappa[row, column])) for column in range(len(names)))
        lines.append(tag("span", text(name), class_="row", title=name) + cells)
    return tag(
        "div",
        tag("span", "", class_="corner") + above + "".join(lines),
        class_="confusion kappa",
        style=f"--classes:{len(names)}",
        role="img",
        aria_label="error consistency of all pairs of observers",
    )


def _cell(names: Sequence[str], row: int, column: int, value: float) -> str:
    if math.isnan(value):
        return tag("i", "", class_="right", style="--d:0")
    kind = "right" if value >= 0 else "wrong"
    hint = f"{names[row]} and {names[column]}: {value:.3f}"
    return tag("i", f"{value:.2f}", class_=kind, style=f"--d:{min(1.0, abs(value)):.3f}", title=hint)


def bias_bars(by_category: dict[str, float]) -> str:
    """Shape bias of each category of the shape, people's marked."""
    human = reference().shape_bias_by_category
    rows = "".join(
        tag(
            "li",
            tag("span", text(name), class_="name", title=name),
            tag(
                "i",
                "" if math.isnan(value) else tag("b", style=f"width:{100 * value:.2f}%"),
                tag("u", style=f"left:{100 * human[name]:.2f}%") if name in human else "",
            ),
            tag("span", "-" if math.isnan(value) else text(percent(value, 0)), class_="number"),
            tag("span", text(percent(human[name], 0)) if name in human else "", class_="count"),
        )
        for name, value in by_category.items()
    )
    return tag("ol", rows, class_="by-class")


def examples(found: Sequence[Example]) -> str:
    """Each image beside what was shown of it, with what it was taken for."""
    figures = []
    for one in found:
        said = f"{one.truth} taken for {one.taken}, {one.experiment} {label(one.experiment, one.level)}"
        image = (
            f'<img src="{data_uri(_twin(one))}" width="{2 * SHOWN}" height="{SHOWN}" loading="lazy" alt="{text(said)}">'
        )
        level = f"{text(one.truth)}, {text(label(one.experiment, one.level))}"
        figures.append(tag("figure", image, tag("figcaption", level, tag("b", text(one.taken)), title=said)))
    return tag("ul", "".join(tag("li", one) for one in figures), class_="tiles twins")


def _twin(one: Example) -> Image.Image:
    page = Image.new("RGB", (2 * SHOWN, SHOWN))
    for place, pixels in enumerate((one.image_SS3, one.shown_SS3)):
        small = len(pixels) < SHOWN
        how = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS  # noise must not be smoothed away
        page.paste(Image.fromarray(pixels).resize((SHOWN, SHOWN), how), (place * SHOWN, 0))
    return page
