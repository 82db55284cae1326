"""A comparison as an HTML page: one file that opens offline."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from likewise.comparison import footprints
from likewise.comparison.groups import Group
from likewise.comparison.plots import efficiency_chart, learning_charts
from likewise.comparison.tables import ScoreColumn, cell
from likewise.comparison.text import best_of, figure, sentence
from likewise.report.document import document
from likewise.report.markup import details, section, table, tag, text
from likewise.report.numbers import count, minutes, percent, plain, short

if TYPE_CHECKING:
    from likewise.comparison.comparing import Comparison


def as_page(comparison: Comparison) -> str:
    """All sections in order."""
    body = "".join(
        [
            _masthead(comparison),
            _scores(comparison),
            _footprints(comparison),
            _efficiency(comparison),
            section("learning", "How they learned", "", tag("div", learning_charts(comparison), class_="charts wide")),
            _cost(comparison),
            _differences(comparison),
            _runs(comparison),
        ]
    )
    return document("comparison, likewise", body, tag("footer", text(f"likewise, {_names(comparison.groups)}")))


def headline(comparison: Comparison) -> str:
    """The best group by the first column, in a sentence."""
    if comparison.columns:
        best = best_of(comparison.groups, comparison.columns[0])
        if best is not None:
            return f"{best.label} comes first of {len(comparison.groups)}, by {comparison.columns[0].title}."
    runs = sum(len(group.entries) for group in comparison.groups)
    return f"{runs} runs of {len(comparison.groups)} kinds." if runs > 1 else "One run."


def _masthead(comparison: Comparison) -> str:
    found = None
    if comparison.columns:
        column = comparison.columns[0]
        best = best_of(comparison.groups, column)
        found = None if best is None else (cell(best, column), column)
    number = ""
    if found is not None and found[0] is not None:
        value = tag("p", tag("strong", percent(found[0].mean)), class_="gain")
        kind = found[1].kind
        said = f"{found[1].title} on {count(kind.n)} {kind.split} images of {kind.data}"
        number = tag("div", value, tag("p", text(said), class_="small"), class_="figure")
    title = tag("div", tag("h1", "comparison"), tag("p", text(headline(comparison)), class_="headline"))
    return tag("header", tag("div", title, number, class_="hero"))


def _scores(comparison: Comparison) -> str:
    """The table, a bar under each number, and the tests."""
    if not comparison.columns:
        return section("scores", "How good they are", "", *_notes(comparison))
    head = ["", "runs", *(text(column.title) for column in comparison.columns)]
    best = [best_of(comparison.groups, column) for column in comparison.columns]
    rows = []
    for group in comparison.rows:
        name = _swatch(comparison.groups, group) + text(group.label)
        cells = [
            _cell(group, column, best=group is first) for column, first in zip(comparison.columns, best, strict=True)
        ]
        rows.append([name, str(len(group.entries)), *cells])
    several = any(len(group.entries) > 1 for group in comparison.groups)
    lead = "Frozen encoders, judged by images whose labels they never learned from."
    lead += " With the standard deviation over runs that differ only in their seed." if several else ""
    tests = "".join(tag("li", text(sentence(comparison, one))) for one in comparison.contrasts)
    many = len(comparison.groups) > 2
    raised = " p is raised for the number of pairs of rows (Holm)." if many else ""
    why = (
        "Over images: would these encoders differ on other images of the kind? Over seeds: would they, if "
        f"everything were trained again?{raised}"
    )
    tested = tag("h3", "Is it more than chance?") + tag("p", text(why), class_="small") if tests else ""
    protocols = "".join(
        tag("li", tag("b", text(column.title)), " ", text(f"{column.kind.data}: {column.kind.protocol}"))
        for column in comparison.columns
    )
    return section(
        "scores",
        "How good they are",
        lead,
        table(head, rows, "compared"),
        *_notes(comparison),
        tested,
        tag("ul", tests, class_="tests") if tests else "",
        details("How each column was got", tag("ul", protocols, class_="protocols")),
    )


def _notes(comparison: Comparison) -> list[str]:
    return [tag("p", text(note), class_="note") for note in comparison.notes]


def _cell(group: Group, column: ScoreColumn, *, best: bool) -> str:
    found = cell(group, column)
    if found is None:
        return tag("span", "-", class_="none")
    number = text(figure(found))
    shown = tag("b", number) if best else number
    if found.scores[0].unit != "share":
        return shown
    return shown + tag("i", tag("b", style=f"width:{100 * max(0.0, found.mean):.2f}%"), class_="gauge")


def _efficiency(comparison: Comparison) -> str:
    """The plot and its numbers."""
    curves = comparison.efficiency
    if not curves:
        return ""
    head = ["", *(f"{count(number)} each" for number in curves[0].counts)]
    rows = [
        [
            text(curve.label),
            *(
                text(f"{100 * mean:.1f} ± {100 * spread:.1f} %")
                for mean, spread in zip(curve.means(), curve.spreads(), strict=True)
            ),
        ]
        for curve in curves
    ]
    lead = "A classifier on top of each encoder, given more and more labels. Higher and further left is better."
    return section(
        "labels",
        "How many labels are enough",
        lead,
        efficiency_chart(comparison),
        details("The numbers", table(head, rows, "compared")),
    )


def _footprints(comparison: Comparison) -> str:
    """What each encoder takes to run."""
    if not comparison.footprints:
        return ""
    found = [one for _, one in comparison.footprints]
    names = {group.label: _swatch(comparison.groups, group) for group in comparison.groups}
    rows = [
        [names.get(label, "") + text(label), *map(text, footprints.row(one))] for label, one in comparison.footprints
    ]
    lead = f"Of the encoder alone, on images of its own side; times for the whole batch here ({found[0].device})."
    return section(
        "footprint",
        "What they take to run",
        lead,
        table(["", *map(text, footprints.head(found))], rows, "compared"),
    )


def _cost(comparison: Comparison) -> str:
    """What was spent on each."""
    rows = []
    for group in comparison.groups:
        images = [entry.images for entry in group.entries if entry.images]
        took = [entry.minutes for entry in group.entries if entry.minutes]
        speed = fmean(images) / (60 * fmean(took)) if images and took else None
        rows.append(
            [
                _swatch(comparison.groups, group) + text(group.label),
                count(fmean(images)) if images else "-",
                text(minutes(fmean(took))) if took else "-",
                count(speed) if speed else "-",
                text(plain(group.entries[0].settings.get("device"))),
            ]
        )
    lead = "Scores of runs with different budgets say as much about the budgets as about the settings."
    head = ["", "images seen", "time", "images/s", "on"]
    return section("cost", "What they cost", lead, table(head, rows, "compared"))


def _differences(comparison: Comparison) -> str:
    """Every setting that is not the same everywhere."""
    names = list(comparison.groups[0].differs) if comparison.groups else []
    if len(comparison.groups) < 2 or not names:
        return ""
    head = ["setting", *(text(group.label) for group in comparison.groups)]
    rows = [
        [tag("code", text(name)), *(text(_value(group.differs.get(name))) for group in comparison.groups)]
        for name in names
    ]
    return section("differences", "What they differ in", "Everything else was the same.", table(head, rows, "compared"))


def _value(value: object) -> str:
    if value is None:
        return "-"
    return short(value) if isinstance(value, float) and abs(value) < 1e-3 else plain(value)


def _runs(comparison: Comparison) -> str:
    """Each run by itself."""
    head = ["run", "", "seed", "status", *(text(column.title) for column in comparison.columns)]
    rows = []
    for group in comparison.groups:
        for entry in group.entries:
            alone = Group(group.label, (entry,), group.differs)
            cells = [text(figure(found)) if (found := cell(alone, column)) else "-" for column in comparison.columns]
            seed = "-" if entry.seed is None else str(entry.seed)
            rows.append([tag("code", text(entry.name)), text(group.label), seed, text(entry.status or "-"), *cells])
    return section("runs", "Run by run", "", table(head, rows, "compared"))


def _swatch(groups: Sequence[Group], group: Group) -> str:
    """The colour that a group has in the curves; none for what has no curves."""
    if group not in groups:
        return ""
    return tag("i", class_=f"swatch k{list(groups).index(group) % 12}")


def _names(groups: Sequence[Group]) -> str:
    return ", ".join(entry.name for group in groups for entry in group.entries)
