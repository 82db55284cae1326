"""The curves of a comparison: label efficiency, and the training of the runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from likewise.comparison.efficiency import Efficiency
from likewise.comparison.groups import Group
from likewise.errors import InputError
from likewise.report.markup import tag
from likewise.report.numbers import percent
from likewise.report.plots.overlay import Series, overlay, svg
from likewise.report.style import CLASS_COLOURS

if TYPE_CHECKING:
    from likewise.comparison.comparing import Comparison

TITLE = "Accuracy against labels of each class"
X_LABEL = "labelled images of each class"


def whole(value: float) -> str:
    """A share, in whole per cent."""
    return percent(value, 0)


def efficiency_chart(comparison: Comparison) -> str:
    """The curve that shows how few labels are enough."""
    curves = comparison.efficiency
    if not curves:
        return ""
    protocol = curves[0].protocol
    note = f"Bands: deviation over draws and runs. {protocol[:1].upper()}{protocol[1:]}."
    return overlay(TITLE, efficiency_series(curves), x_label=X_LABEL, note=note, form=whole, log_x=True, large=True)


def efficiency_series(curves: Sequence[Efficiency]) -> list[Series]:
    """A curve for each encoder; the untrained dashed and in grey."""
    return [
        Series(
            curve.label,
            [float(number) for number in curve.counts],
            curve.means(),
            band=[
                (max(0.0, mean - spread), min(1.0, mean + spread))
                for mean, spread in zip(curve.means(), curve.spreads(), strict=True)
            ],
            colour=12 if curve.label == "untrained" else place,
            marked=True,
            dashed=curve.label == "untrained",
        )
        for place, curve in enumerate(curves)
    ]


def as_svg(comparison: Comparison) -> str:
    """The label-efficiency curve as an SVG file. Raises InputError where it was not measured."""
    if not comparison.efficiency:
        raise InputError("there is no label-efficiency curve to draw: pass labels_per_class, such as 1 5 20 100")
    if len(comparison.efficiency[0].counts) < 2:
        raise InputError("a curve needs two numbers of labels or more: pass labels_per_class, such as 1 5 20 100")
    colours = "".join(f".k{number}{{--k:{colour}}}" for number, colour in enumerate(CLASS_COLOURS))
    style = tag("style", colours + _STYLE)
    series = efficiency_series(comparison.efficiency)
    return svg(TITLE, series, x_label=X_LABEL, form=whole, log_x=True, large=True, style=style) + "\n"


_STYLE = (
    "svg{background:#fff;font-family:system-ui,sans-serif}.grid{stroke:#e7e2d8}.tick{font-size:11px;fill:#6a655c}"
    ".series{fill:none;stroke:var(--k);stroke-width:2.2}.dashed{stroke-dasharray:5 4}.band{fill:var(--k);opacity:.14}"
    ".mark{fill:var(--k)}.name{font-size:12.5px;font-weight:600;fill:var(--k)}"
)


def learning_charts(comparison: Comparison) -> str:
    """The score while training and the losses, against images seen and against minutes."""
    parts = []
    for axis, label in (("images", "images seen"), ("minutes", "minutes")):
        series = _series(comparison.groups, "knn", axis)
        title = f"Nearest neighbours, by {label}"
        parts.append(overlay(title, series, x_label=label, form=whole, note="Each on its sample, while training."))
    methods = dict.fromkeys(str(group.entries[0].settings.get("method")) for group in comparison.groups)
    for method in methods:
        own = [group for group in comparison.groups if str(group.entries[0].settings.get("method")) == method]
        for axis, label in (("images", "images seen"), ("minutes", "minutes")):
            series = _series(own, "loss", axis, comparison.groups)
            many = len(methods) > 1
            note = "Losses of different methods cannot be compared, so each has a chart of its own." if many else ""
            title = f"Loss of {method}, by {label}" if many else f"Loss, by {label}"
            parts.append(overlay(title, series, x_label=label, note=note))
    return "".join(parts)


def _series(groups: Sequence[Group], name: str, axis: str, all_groups: Sequence[Group] = ()) -> list[Series]:
    """One curve for each run; those of a group share a colour, and the first has its name."""
    order: Callable[[Group], int] = list(all_groups or groups).index
    found = []
    for group in groups:
        curves = [entry.curves[name] for entry in group.entries if name in entry.curves]
        for place, curve in enumerate(curves):
            label = group.label if place == 0 else ""
            found.append(
                Series(label, getattr(curve, axis), curve.value, colour=order(group), marked=len(curve.value) < 12)
            )
    return found
