"""A discovery as text for a terminal."""

from __future__ import annotations

from likewise.discovery.result import Discovery, shares
from likewise.discovery.scoring import PROTOCOL
from likewise.terminal import paragraph, table

MOST = 40
"""Classes that the terminal lists; the table and the page have all."""


def as_text(found: Discovery, *, brief: bool = False) -> str:
    """The discovery as text; `brief`: without its protocol."""
    parts = [_headline(found), _classes(found), _counts(found), _scores(found)]
    if not brief:
        parts += [_rests_on(found), *(paragraph(f"note: {note}", indent="      ") for note in found.notes)]
    return "\n\n".join(part for part in parts if part)


def _headline(found: Discovery) -> str:
    old, new, unsure = shares(found)
    named = len(found.classes) - len(found.new)
    words = (
        f"{found.data}: {found.unlabelled:,} unlabelled images, {old:,} in {named:,} named classes, {new:,} in "
        f"{len(found.new):,} new ones, {unsure:,} not sure"
    )
    return paragraph(words, indent="  ")


def _classes(found: Discovery) -> str:
    """The new classes, as far as there is room."""
    rows = [
        [one.name, f"{one.images:,}", f"{one.unsure:,}", f"{one.coherence:.2f}", f"{one.nearest} ({one.nearness:.2f})"]
        for one in found.new[:MOST]
    ]
    if not rows:
        return ""
    head = ["new class", "images", "not sure", "coherence", "nearest named class"]
    more = f"\nand {len(found.new) - MOST} smaller ones" if len(found.new) > MOST else ""
    return table(head, rows, left=(0, 4)) + more


def _counts(found: Discovery) -> str:
    if found.counted is None:
        return ""
    rows = [[name, str(one.classes), f"{one.low} to {one.high}"] for name, one in found.counted.estimates()]
    return table(["number of classes by", "estimate", "interval"], rows)


def _scores(found: Discovery) -> str:
    rows = []
    for one in found.scores:
        share = one.low is not None and one.high is not None
        span = f"{100 * (one.low or 0):.1f} to {100 * (one.high or 0):.1f}" if share else ""
        rows.append([one.name, f"{100 * one.value:.1f} %" if share else f"{one.value:.3f}", span, f"{one.images:,}"])
    return table(["score", "value", "95 % interval", "images"], rows) if rows else ""


def _rests_on(found: Discovery) -> str:
    back, hidden = found.found.recovered
    lines = [f"labels: {found.known.how}", found.protocol]
    if hidden:
        lines.append(f"{back / hidden:.1%} of labelled images came back into their class while their label was hidden")
    lines += [PROTOCOL] if found.scores else []
    lines += [f"number of classes: {found.counted.protocol}"] if found.counted is not None else []
    return "\n".join(paragraph(line, first="  ", indent="    ") for line in lines)
