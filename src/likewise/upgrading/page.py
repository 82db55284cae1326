"""An upgrade as an HTML page: the sheet of arms, the curve of the refresh, and queries before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from likewise.report.document import document
from likewise.report.markup import section, table, tag, text
from likewise.report.numbers import count, percent, plain
from likewise.report.plots.overlay import Series, overlay
from likewise.upgrading.order import RefreshPoint
from likewise.upgrading.sheet import KEEP, Sheet, UpgradeArm

SHOWN = 5
"""Neighbours of each query."""


class QueryExample(NamedTuple):
    """The results of a query by the old encoder and by the new one."""

    query: int
    """Row."""
    before: Sequence[int]
    """Rows, nearest first."""
    after: Sequence[int]


class RowNames(NamedTuple):
    """The names of rows on the page."""

    image: Callable[[int], str | None]
    """The address of a thumbnail of a row, None where it cannot be had."""
    label: Callable[[int], str]
    """The class of a row in words, empty where it is not known."""
    name: Callable[[int], str]


def as_page(
    title: str,
    sheet: Sheet,
    curve: Sequence[RefreshPoint],
    random: Sequence[RefreshPoint],
    examples: Sequence[QueryExample],
    named: RowNames,
) -> str:
    """The whole page."""
    best = sheet.best
    headline = f"Of the ways that pass, {best.name}: {percent(best.new_old)}, today {percent(best.old_old)}."
    if best.name == KEEP:
        headline = f"No way is better than to keep the old encoder, with {percent(best.new_old)}."
    head = tag("div", tag("h1", text(title)), tag("p", text(headline), class_="headline"))
    body = [
        tag("header", tag("div", head, class_="hero")),
        section("arms", "Ways to the new encoder", _lead(sheet), _arms(sheet), *(_note(one) for one in sheet.notes)),
        section("curve", "While vectors are replaced", _curve_lead(curve), _curve(curve, random)),
        section("examples", "Queries before and after", _examples_lead(examples), _examples(examples, named)),
    ]
    return document(f"{title}, likewise", "".join(body), tag("footer", text("likewise upgrade")))


def _lead(sheet: Sheet) -> str:
    of = "" if sheet.images == sheet.of else f", a sample of {count(sheet.of)}"
    return (
        f"{sheet.measure}. {count(sheet.queries)} queries among {count(sheet.images)} images{of}; intervals of 95 % by "
        f"resampling the queries. An arm passes where the lower end of its difference from today is at least "
        f"{100 * sheet.gate:+.1f} points."
    )


def _note(words: str) -> str:
    return tag("p", text(words), class_="small")


def _arms(sheet: Sheet) -> str:
    head = ["", "found", "95 %", "difference", "gain", "worse", "better", "seconds", "written", ""]
    return table(head, (_row(arm) for arm in sheet.arms))


def _row(arm: UpgradeArm) -> list[str]:
    change = arm.difference
    return [
        text(arm.name),
        percent(arm.new_old),
        f"{100 * arm.low:.1f} to {100 * arm.high:.1f}",
        f"{100 * change.mean:+.1f} ({100 * change.low:+.1f} to {100 * change.high:+.1f})",
        f"{arm.gain:.2f}" if arm.gain == arm.gain else "none",
        percent(arm.negative_flips),
        percent(arm.positive_flips),
        plain(round(arm.seconds, 2)),
        size(arm.bytes),
        "passes" if arm.passes else "refused",
    ]


def size(value: int) -> str:
    """Bytes in words."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if value >= factor:
            return f"{value / factor:.1f} {unit}"
    return f"{value} B"


def _curve_lead(curve: Sequence[RefreshPoint]) -> str:
    if not curve:
        return ""
    shares = ", ".join(f"{100 * point.fraction:.0f} %: {percent(point.found)}" for point in curve)
    return f"New queries on a gallery of which a share has new vectors. {shares}."


def _curve(curve: Sequence[RefreshPoint], random: Sequence[RefreshPoint]) -> str:
    series = [
        Series(
            name,
            [100 * point.fraction for point in points],
            [point.found for point in points],
            colour=colour,
            marked=True,
            dashed=name == "random order",
        )
        for name, points, colour in (("this order", curve, 0), ("random order", random, 12))
    ]
    return overlay("Found by new queries", series, x_label="share of vectors replaced, %", form=percent, large=True)


def _examples_lead(examples: Sequence[QueryExample]) -> str:
    if not examples:
        return ""
    return (
        f"The {SHOWN} nearest images by the old encoder among old vectors, and by the new one among new vectors. "
        "Green is of the query's class, dashed red of another."
    )


def _examples(examples: Sequence[QueryExample], named: RowNames) -> str:
    rows = []
    for example in examples:
        for words, found in (("before", example.before), ("after", example.after)):
            first = tag("figure", _image(example.query, named), tag("figcaption", words), class_="query")
            others = "".join(_neighbour(example.query, row, named) for row in found)
            rows.append(tag("li", first, tag("div", others, class_="others")))
    return tag("ul", "".join(rows), class_="neighbours") if rows else ""


def _neighbour(query: int, row: int, named: RowNames) -> str:
    own, other = named.label(query), named.label(row)
    kind = None if not own or not other else "same" if own == other else "differs"
    return tag("figure", _image(row, named), tag("figcaption", text(other)), class_=kind, title=named.name(row))


def _image(row: int, named: RowNames) -> str:
    address = named.image(row)
    if address is None:
        return tag("span", text(named.name(row)), class_="small")
    return (
        f'<img src="{address}" width="88" height="88" loading="lazy" alt="{text(named.label(row) or named.name(row))}">'
    )
