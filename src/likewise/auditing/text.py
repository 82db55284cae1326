"""An audit as text for a terminal: the worst results, the table of experiments, tests, and the protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence

from likewise.auditing.experiments import EXPERIMENTS
from likewise.auditing.reference import reference
from likewise.auditing.result import UNDISTORTED, Audit, ObserverDifference
from likewise.terminal import paragraph, table


def as_text(audit: Audit, *, brief: bool = False) -> str:
    """The whole; `brief`: without protocol and notes."""
    parts = [_head(audit), _table(audit), _likeness(audit), _bias(audit), _people(audit), _tests(audit)]
    if not brief:
        result = f"{audit.protocol}; {audit.seconds:.0f} seconds"
        parts.append(paragraph(result, first="protocol  ", indent="  "))
        parts += [paragraph(f"note: {note}", indent="      ") for note in audit.notes]
    return "\n\n".join(part for part in parts if part)


def headline(audit: Audit) -> str:
    """The largest loss of the audited encoder, in a sentence."""
    first = audit.observers[0]
    worst = worst_experiments(audit)
    if not audit.plain or not worst:
        values = {name: audit.accuracy(name, first) for name in audit.experiments}
        return (
            f"{first}: {', '.join(f'{100 * value:.1f} % {EXPERIMENTS[name].words}' for name, value in values.items())}."
        )
    plain = audit.plain_accuracy(first)
    lost = [f"{100 * audit.accuracy(name, first):.1f} % {EXPERIMENTS[name].words}" for name in worst[:2]]
    return f"{first} is right on {100 * plain:.1f} % of the undistorted images, on {' and on '.join(lost)}."


def worst_experiments(audit: Audit) -> list[str]:
    """Experiments by the accuracy of the audited encoder, the lowest first."""
    return sorted(audit.experiments, key=lambda name: audit.accuracy(name, audit.observers[0]))


def sentence(audit: Audit, one: ObserverDifference) -> str:
    """`new is worse than old under blur, by 2.1 to 5.3 points (p = 0.0012 after Holm)`."""
    first, test = audit.observers[0], one.test
    where = "on undistorted images" if one.experiment == UNDISTORTED else EXPERIMENTS[one.experiment].words
    p = f"p = {one.p:.2g} after Holm"
    if one.verdict == "no clear difference":
        span = f"{100 * test.low:+.1f} to {100 * test.high:+.1f} points"
        return f"{first} and {one.other} do not clearly differ {where} ({span}, {p})"
    low, high = sorted((abs(test.low), abs(test.high)))
    return f"{first} is {one.verdict} than {one.other} {where}, by {100 * low:.1f} to {100 * high:.1f} points ({p})"


def _head(audit: Audit) -> str:
    return paragraph(f"{audit.data}: {headline(audit)}", indent="  ")


def _table(audit: Audit) -> str:
    """Accuracy of each observer, and people's where they are known, over the distorted levels."""
    result = reference()
    several = len(audit.observers) > 1
    head = ["accuracy, distorted levels", *audit.observers, "people*", *(["kappa"] if several else [])]
    rows = []
    if audit.plain:
        plain = [f"{100 * audit.plain_accuracy(who):.1f} %" for who in audit.observers]
        rows.append([UNDISTORTED, *plain, "", *([""] if several else [])])
    for name in audit.experiments:
        values = [f"{100 * audit.accuracy(name, who):.1f} %" for who in audit.observers]
        levels = [result.curves[name][level] for level in EXPERIMENTS[name].distorted]
        human = f"{100 * sum(levels) / len(levels):.1f} %"
        first = [f"{audit.likeness(name, *audit.observers[:2]).error:.2f}"] if several else []
        rows.append([name, *values, human, *first])
    kappa = f"; kappa: error consistency of {audit.observers[0]} and {audit.observers[1]}" if several else ""
    note = f"* people at the same levels, on other images of 16 categories at 224 px (arXiv 2106.07411){kappa}"
    return f"{table(head, rows)}\n\n{paragraph(note, indent='  ')}"


def _likeness(audit: Audit) -> str:
    if len(audit.observers) < 3:
        return ""
    kappa = audit.kappa()
    rows = [
        [name, *(f"{value:.2f}" for value in line)] for name, line in zip(audit.observers, kappa.tolist(), strict=True)
    ]
    return table(["error consistency (kappa), mean", *audit.observers], rows)


def _bias(audit: Audit) -> str:
    rows = [
        [who, "-" if math.isnan(bias.bias) else f"{100 * bias.bias:.1f} %", f"{bias.shape:.3f}", f"{bias.texture:.3f}"]
        for who, (bias, _) in audit.shape_bias().items()
    ]
    human = ["people", f"{100 * reference().shape_bias:.1f} %", "", ""]
    return table(["cue conflict", "shape bias", "shape", "texture"], [*rows, human]) if rows else ""


def _people(audit: Audit) -> str:
    rows = [
        [f"{who}, {name}", f"{one.accuracy:.3f}", f"{one.difference:.4f}", f"{one.observed:.3f}", f"{one.error:.3f}"]
        for who, figures in audit.against_people().items()
        for name, one in figures.items()
    ]
    for name in dict.fromkeys(name for found in audit.against_people().values() for name in found):
        one = reference().benchmark[name]
        row = [f"{one.accuracy:.3f}", f"{one.difference:.4f}", f"{one.observed:.3f}", f"{one.error:.3f}"]
        rows.append([f"people, {name}", *row])
    return table(["against people", "accuracy", "difference^2", "observed", "kappa"], rows) if rows else ""


def _tests(audit: Audit) -> str:
    found = audit.contrasts()
    if not found:
        return ""
    clear = [one for one in found if one.verdict != "no clear difference"]
    lines = [paragraph(sentence(audit, one), first="  ", indent="    ") for one in clear]
    lines += [paragraph(line, first="  ", indent="    ") for line in unclear(audit, found)]
    title = f"tests ({how_tested(found)})"
    return "\n".join([paragraph(title, indent="  "), *lines])


def unclear(audit: Audit, found: Sequence[ObserverDifference]) -> list[str]:
    """Non-significant differences of the audited encoder from each other one, a sentence each."""
    lines = []
    for other in audit.observers[1:]:
        names = [one.experiment for one in found if one.other == other and one.verdict == "no clear difference"]
        if names:
            lines.append(f"{audit.observers[0]} and {other} do not clearly differ in {', '.join(names)}")
    return lines


def how_tested(found: Sequence[ObserverDifference]) -> str:
    """What was tested, and how p was raised."""
    exact = all("McNemar" in one.test.how for one in found)
    how = "McNemar, exact, over the same images" if exact else "paired t over images, levels averaged"
    return f"{how}; distorted levels pooled; intervals 95 % each; p raised for {len(found)} tests by Holm"
