"""A comparison as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from likewise.comparison.footprints import head, row
from likewise.comparison.groups import Group
from likewise.comparison.tables import Cell, GroupDifference, ScoreColumn, cell
from likewise.evaluation.significance import Test
from likewise.report.numbers import count, plain, short
from likewise.terminal import paragraph, split_protocols, table, width

if TYPE_CHECKING:
    from likewise.comparison.comparing import Comparison


def as_text(comparison: Comparison, *, brief: bool = False) -> str:
    """Tables, what the star means, tests, protocols, notes; `brief`: the tables alone."""
    parts = [*_tables(comparison), _footprints(comparison), "\n".join(_efficiency(comparison))]
    if not brief:
        parts.insert(-2, _star(comparison))
        parts.append("\n".join(_wrapped(sentence(comparison, one)) for one in group_differences(comparison)))
        parts.append("\n".join(_wrapped(line) for line in differing(comparison)))
        parts.append(_protocols(comparison.columns))
        parts.append("\n".join(paragraph(f"note: {note}", indent="      ") for note in comparison.notes))
    return "\n\n".join(part for part in parts if part)


def _wrapped(words: str) -> str:
    return paragraph(words, indent="  ")


def _tables(comparison: Comparison) -> list[str]:
    """What training took, and all scores."""
    columns = [*_budget(comparison), *(_scored(comparison, column) for column in comparison.columns)]
    return _side_by_side([group.label for group in comparison.rows], columns)


def _side_by_side(labels: Sequence[str], columns: list[list[str]]) -> list[str]:
    """Columns, each with its head, behind the labels: as many tables as the terminal is too narrow for one."""
    label = max(len(word) for one in labels for word in one.split())
    found: list[str] = []
    while columns or not found:
        room, taken = width() - max(label, 12), 0
        while taken < len(columns) and (room := room - 2 - max(len(word) for word in columns[taken])) >= 0:
            taken += 1
        part, columns = columns[: max(1, taken)], columns[max(1, taken) :]
        rows = [[one, *(column[place + 1] for column in part)] for place, one in enumerate(labels)]
        found.append(table(["", *(column[0] for column in part)], rows))
    return found


def _budget(comparison: Comparison) -> list[list[str]]:
    """Columns of what training took, each with its head."""
    rows = comparison.rows
    return [
        ["runs", *(str(len(group.entries)) for group in rows)],
        ["images seen", *(_mean(group, "images") for group in rows)],
        ["minutes", *(_mean(group, "minutes") for group in rows)],
    ]


def _scored(comparison: Comparison, column: ScoreColumn) -> list[str]:
    """A column of scores with its head; the best one is starred."""
    best = best_of(comparison.groups, column)
    cells = []
    for group in comparison.rows:
        found = cell(group, column)
        mark = "*" if group is best and len(comparison.groups) > 1 else ""
        cells.append("-" if found is None else figure(found) + mark)
    return [column.title, *cells]


def _footprints(comparison: Comparison) -> str:
    """What each encoder takes to run."""
    if not comparison.footprints:
        return ""
    labels, found = [label for label, _ in comparison.footprints], [one for _, one in comparison.footprints]
    columns = [list(column) for column in zip(head(found), *map(row, found), strict=True)]
    where = f"time for all images of a batch, on this machine ({found[0].device})"
    return "\n\n".join(_side_by_side(labels, columns)) + "\n" + _wrapped(where)


def _star(comparison: Comparison) -> str:
    """What the star says, where there is one."""
    starred = len(comparison.groups) > 1 and any(best_of(comparison.groups, one) for one in comparison.columns)
    if not starred:
        return ""
    return _wrapped("* the highest mean of its column, which by itself does not say that it is more than chance")


def _protocols(columns: Sequence[ScoreColumn]) -> str:
    """What all columns share once, and of each what is its own."""
    shared, own = split_protocols([column.kind.protocol for column in columns])
    lines = [paragraph(shared, first="protocol  ", indent="  ")] if shared else []
    for column, words in zip(columns, own, strict=True):
        if words:
            lines.append(paragraph(words, first=f"  {column.title}: ", indent="    "))
    return "\n".join(lines)


def best_of(groups: Sequence[Group], column: ScoreColumn) -> Group | None:
    """The group with the highest mean; None where it is no accuracy, or nothing to choose from."""
    cells = [(found, group) for group in groups if (found := cell(group, column)) is not None]
    if len(cells) < 2 or cells[0][0].scores[0].unit != "share":
        return None
    return max(cells, key=lambda pair: pair[0].mean)[1]


def figure(found: Cell) -> str:
    """`52.3 %`, with the deviation over runs behind it where there are several: `52.3 ± 0.4 %`."""
    if found.scores[0].unit != "share":
        return f"{found.mean:.4g}" + ("" if found.spread is None else f" ± {found.spread:.2g}")
    if found.spread is None:
        return f"{100 * found.mean:.1f} %"
    return f"{100 * found.mean:.1f} ± {100 * found.spread:.1f} %"


def _mean(group: Group, name: str) -> str:
    values = [value for entry in group.entries if (value := getattr(entry, name)) is not None]
    if not values:
        return "-"
    return count(fmean(values)) if name == "images" else f"{fmean(values):.1f}"


def group_differences(comparison: Comparison) -> list[GroupDifference]:
    """The contrasts worth a sentence: all of two groups, those of the first column of more."""
    if len(comparison.groups) <= 2:
        return list(comparison.contrasts)
    first = min((one.column for one in comparison.contrasts), default=0)
    return [one for one in comparison.contrasts if one.column == first]


def sentence(comparison: Comparison, one: GroupDifference) -> str:
    """`knn k=20: isd leads moco_v2 by 2.1 points (0.8 to 3.4; ...)`."""
    best, other = comparison.groups[one.best].label, comparison.groups[one.other].label
    title = comparison.columns[one.column].title
    tests = [test for test in (one.seeds, one.images) if test is not None]
    if not tests:
        return (
            f"{title}: {best} leads {other}; whether by more than chance is not known from single runs without answers"
        )
    verdict = "leads" if tests[0].p < 0.05 else "and"
    if verdict == "and":
        return f"{title}: {best} and {other} cannot be told apart ({'; '.join(_chance(test) for test in tests)})"
    return f"{title}: {best} leads {other} by {100 * tests[0].difference:.1f} points ({'; '.join(map(_chance, tests))})"


def _chance(test: Test) -> str:
    p = "p < 0.0001" if test.p < 1e-4 else f"p = {test.p:.2g}"
    return f"{100 * test.low:+.1f} to {100 * test.high:+.1f}, {p}, {test.how}"


def differing(comparison: Comparison) -> list[str]:
    """What the groups differ in beside what their labels say."""
    names = list(comparison.groups[0].differs) if comparison.groups else []
    hidden = [name for name in names if name not in {"method", "variant", "data.images"}]
    if not hidden or len(comparison.groups) < 2:
        return []
    shown = [f"{name} ({', '.join(_values(comparison.groups, name))})" for name in hidden[:6]]
    more = f", and {len(hidden) - 6} more" if len(hidden) > 6 else ""
    return [f"they differ in {', '.join(shown)}{more}"]


def _values(groups: Sequence[Group], name: str) -> list[str]:
    words = [
        plain(group.differs.get(name)) if name != "data.fingerprint" else str(group.differs[name])[:8]
        for group in groups
    ]
    return list(dict.fromkeys(words))


def _efficiency(comparison: Comparison) -> list[str]:
    """Accuracy against labels of each class, a line each."""
    if not comparison.efficiency:
        return []
    counts = comparison.efficiency[0].counts
    width = max(len("labels of each class"), *(len(curve.label) for curve in comparison.efficiency))
    head = "labels of each class".ljust(width) + "".join(f"{short(number):>9}" for number in counts)
    return [head] + [
        curve.label.ljust(width) + "".join(f"{100 * value:>7.1f} %" for value in curve.means())
        for curve in comparison.efficiency
    ]
