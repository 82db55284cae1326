"""An audit as an HTML page: one file that opens offline."""

from __future__ import annotations

import math

import numpy as np

from likewise.auditing.experiments import EXPERIMENTS
from likewise.auditing.reference import CREDIT, reference
from likewise.auditing.result import UNDISTORTED, Audit
from likewise.auditing.text import headline, how_tested, sentence, unclear, worst_experiments
from likewise.report.audited import charts
from likewise.report.document import document
from likewise.report.markup import details, section, table, tag, text
from likewise.report.numbers import count, percent
from likewise.report.plots import confusion

WORST = 4
"""Distortions that examples are shown of."""


def as_page(audit: Audit) -> str:
    """All sections in order."""
    body = "".join(
        [
            _masthead(audit),
            _curves(audit),
            _examples(audit),
            _tests(audit),
            _likeness(audit),
            _bias(audit),
            _confusion(audit),
            _how(audit),
        ]
    )
    return document("audit, likewise", body, tag("footer", text(f"likewise, {', '.join(audit.observers)}. {CREDIT}")))


def _masthead(audit: Audit) -> str:
    number = ""
    if audit.plain:
        value = tag("p", tag("strong", percent(audit.plain_accuracy(audit.observers[0]))), class_="gain")
        shown = next(iter(audit.plain.values()))
        said = f"undistorted, {count(len(shown))} images of {audit.data}"
        number = tag("div", value, tag("p", text(said), class_="small"), class_="figure")
    title = tag("div", tag("h1", "audit"), tag("p", text(headline(audit)), class_="headline"))
    return tag("header", tag("div", title, number, class_="hero"))


def _curves(audit: Audit) -> str:
    lead = (
        "Accuracy at each level, with 95 % intervals. Dashed: people at the same levels, on other images of 16 "
        "categories at 224 px (arXiv 2106.07411); here are "
        f"{len(audit.categories)} categories."
    )
    drawn, numbers = charts.curves(audit), _numbers(audit)
    return section("curves", "Where it breaks", lead, drawn, details("The numbers", numbers) if drawn else numbers)


def _numbers(audit: Audit) -> str:
    """Accuracy over the distorted levels."""
    result = reference().curves
    rows = []
    if audit.plain:
        rows.append([UNDISTORTED, *(text(percent(audit.plain_accuracy(who))) for who in audit.observers), ""])
    for name in audit.experiments:
        human = float(np.mean([result[name][level] for level in EXPERIMENTS[name].distorted]))
        values = [text(percent(audit.accuracy(name, who))) for who in audit.observers]
        rows.append([text(name), *values, text(percent(human))])
    return table(["distorted levels", *map(text, audit.observers), "people"], rows, "compared")


def _examples(audit: Audit) -> str:
    worst = [name for name in worst_experiments(audit) if any(one.experiment == name for one in audit.examples)]
    parts = []
    for name in worst[:WORST]:
        accuracy = percent(audit.accuracy(name, audit.observers[0]))
        parts.append(tag("h3", text(f"{name}: {accuracy}"), class_="apart"))
        parts.append(charts.examples([one for one in audit.examples if one.experiment == name]))
    lead = f"Images that {audit.observers[0]} recognises, beside the stimulus that it does not, and what it answers."
    return section("examples", "The worst distortions", lead, *parts)


def _tests(audit: Audit) -> str:
    found = audit.contrasts()
    if not found:
        return ""
    clear = [sentence(audit, one) for one in found if one.verdict != "no clear difference"]
    lines = [*clear, *unclear(audit, found)]
    title = how_tested(found)
    return section(
        "tests",
        "Better or worse than the others",
        f"{title[:1].upper()}{title[1:]}.",
        tag("ul", "".join(tag("li", text(line)) for line in lines), class_="tests"),
    )


def _likeness(audit: Audit) -> str:
    """The kappa matrix, people last where they have seen the same stimuli."""
    people = audit.against_people()
    names = [*audit.observers, *(["people"] if people else [])]
    if len(names) < 2:
        return ""
    kappa = np.full((len(names), len(names)), math.nan)
    kappa[: len(audit.observers), : len(audit.observers)] = audit.kappa()
    for row, who in enumerate(audit.observers):
        if who in people:
            kappa[row, -1] = kappa[-1, row] = float(np.mean([one.error for one in people[who].values()]))
    if people:
        seen = next(iter(people.values()))
        kappa[-1, -1] = float(np.mean([reference().benchmark[name].error for name in seen]))
    lead = (
        "Kappa of their errors on the same stimuli, the mean over experiments of the mean over levels: 0 is chance, 1 "
        "the same mistakes." + (" Of people with each other: the mean of all pairs." if people else "")
    )
    rows = [
        [
            text(who),
            text(name),
            f"{one.accuracy:.3f}",
            f"{one.difference:.4f}",
            f"{one.observed:.3f}",
            f"{one.error:.3f}",
        ]
        for who, figures in people.items()
        for name, one in figures.items()
    ]
    head = ["", "experiment", "accuracy", "difference²", "observed consistency", "kappa"]
    return section(
        "likeness",
        "Do they err on the same images",
        lead,
        charts.kappa_board(names, kappa),
        details("Against people", table(head, rows, "compared")) if rows else "",
    )


def _bias(audit: Audit) -> str:
    found = audit.shape_bias()
    parts = []
    for who, (bias, by_category) in found.items():
        value = "-" if math.isnan(bias.bias) else percent(bias.bias)
        parts += [tag("h3", text(f"{who}: {value}"), class_="apart"), charts.bias_bars(by_category)]
    lead = (
        "Answers by the shape, among answers by shape or texture, where the two disagree. By category of the shape; "
        f"people are marked and in grey, {percent(reference().shape_bias)} in all."
    )
    return section("shape", "By shape or by texture", lead, *parts)


def _confusion(audit: Audit) -> str:
    """What is taken for what where it is worst."""
    worst = worst_experiments(audit)
    if not worst:
        return ""
    own = audit.of(worst[0], audit.observers[0])
    counts = np.zeros((len(audit.categories), len(audit.categories)), dtype=np.int64)
    answered = own.answer_N >= 0
    np.add.at(counts, (own.truth_N[answered], own.answer_N[answered]), 1)
    order = [number for number in range(len(audit.categories)) if counts[number].any()]
    lead = f"{audit.observers[0]}, {worst[0]}, all levels."
    return section("confusion", "Its mistakes there", lead, confusion.matrix(counts, order, audit.categories))


def _how(audit: Audit) -> str:
    lines = [audit.protocol, *audit.notes]
    return section(
        "how", "How it was got", "", tag("ul", "".join(tag("li", text(line)) for line in lines), class_="protocols")
    )
