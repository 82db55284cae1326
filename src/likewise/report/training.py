"""How training went: curves, health in words, where the time was spent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from likewise.report import charts
from likewise.report.facts import TONES, Facts
from likewise.report.sections import section
from likewise.report.text import count, escape, percent, shown
from likewise.training.health import COLLAPSED_SPREAD

SHARES = (("share_data", "data"), ("share_views", "views"), ("share_model", "model"))
DRAWN_ELSEWHERE = {"step", "epoch", "fraction", "minutes", "images", *(name for name, _ in SHARES)}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One of the small charts."""

    name: str
    """Key in a line of metrics."""
    title: str
    """What it is called on the page."""
    says: str
    """How to read it, in one sentence."""
    floor: float | None = 0.0
    """Lowest end of its axis; None: just below its values."""
    smooth: bool = True
    """Whether it is noisy."""
    reference: tuple[float, str] | None = None
    """A level to compare with."""


def curves(facts: Facts) -> str:
    """Small charts of everything that was measured."""
    drawn = [chart for curve in _wanted(facts) if (chart := _chart(facts, curve))]
    if not drawn:
        return section("Training", "No measurements were written: the run ended before its first ones.", "", "training")
    about = "Against epochs. Faint lines are what was measured, strong ones their running mean."
    return section("Training", about, f'<div class="curves">{"".join(drawn)}</div>', "training")


def _wanted(facts: Facts) -> list[Curve]:
    """The known measures first, then those that only this method has."""
    rows = facts.part("settings").get("queue_size")
    uniform = math.log(rows) if isinstance(rows, int) and rows > 1 else None
    known = [
        Curve(name="loss", title="Loss", says="Only compared with itself: methods have different zeros.", floor=None),
        Curve(
            name="spread",
            title="Spread",
            says="Deviation of the embeddings; 1 is even over the sphere, 0 collapse.",
            reference=(COLLAPSED_SPREAD, "collapsed"),
        ),
        Curve(name="effective_rank", title="Effective rank", says="How many dimensions the embeddings really use."),
        Curve(
            name="purity",
            title="Purity",
            says="Share of the nearest memory rows that have the picture's class. Only watched, never trained on.",
        ),
        Curve(
            name="teacher_entropy",
            title="Teacher entropy",
            says="Nats in the teacher's targets; at ln K they would say nothing.",
            reference=None if uniform is None else (uniform, f"uniform, ln K = {uniform:.2f}"),
        ),
        Curve(name="learning_rate", title="Learning rate", says="As scheduled over the budget.", smooth=False),
        Curve(name="images_per_second", title="Images per second", says="Pictures trained on, all views included."),
    ]
    seen = {name: None for line in facts.metrics for name in line}  # keeps the order
    names = {curve.name for curve in known} | DRAWN_ELSEWHERE
    return known + [
        Curve(name=name, title=name.replace("_", " ").capitalize(), says="Written by the method.", floor=None)
        for name in seen
        if name not in names
    ]


def _chart(facts: Facts, curve: Curve) -> str:
    epochs, values = facts.curve(curve.name)
    if not values:
        return ""
    drawing = charts.line_chart(
        charts.Line(
            title=curve.title,
            x=epochs,
            y=values,
            floor=curve.floor,
            smooth=curve.smooth,
            reference=curve.reference,
        )
    )
    return (
        f'<div class="curve"><div class="head"><span>{escape(curve.title)}</span><b>{shown(values[-1])}</b></div>'
        f'<p class="says">{escape(curve.says)}</p>{drawing}</div>'
    )


def health_and_time(facts: Facts) -> str:
    """Side by side: whether it learned, and what it waited for."""
    parts = [part for part in (_health(facts), _time(facts)) if part]
    return (
        f'<section class="two" id="health">{"".join(f"<div>{part}</div>" for part in parts)}</section>' if parts else ""
    )


def _health(facts: Facts) -> str:
    verdicts = [str(line["health"]) for line in facts.metrics if isinstance(line.get("health"), str)]
    if not verdicts:
        return ""
    tone = TONES.get(verdicts[-1], "plain")
    doubts = sum(verdict != "healthy" for verdict in verdicts)
    told = _measured(facts)
    if doubts and len(verdicts) > 1:
        told.append(f"{doubts} of {count(len(verdicts), 'check')} were not healthy.")
    elif len(verdicts) > 1:
        told.append(f"All {len(verdicts)} checks were healthy.")
    if verdicts[-1] != "healthy":
        told.append(
            "The usual causes are a learning rate that is too high, a momentum that is too low, or temperatures that "
            "are too far apart or too close."
        )
    band = charts.strip(verdicts, lambda verdict: f"fill-{TONES.get(verdict, 'warn')}", "Health over the run")
    return (
        f'<h2>Health</h2><p class="verdict {tone}">{escape(verdicts[-1].capitalize())}</p>{band}'
        f"<p>{escape(' '.join(told))}</p>"
    )


def _measured(facts: Facts) -> list[str]:
    """The last readings as sentences."""
    told = []
    spread = facts.curve("spread")[1]
    rank = facts.curve("effective_rank")[1]
    if spread:
        told.append(
            f"Embeddings of different pictures differ: their spread is {shown(spread[-1])}, where 1 is even over the "
            f"sphere and {COLLAPSED_SPREAD:g} is collapse."
            if spread[-1] >= COLLAPSED_SPREAD
            else f"All pictures get nearly the same embedding: the spread is {shown(spread[-1])}."
        )
    if rank:
        told.append(f"They use about {rank[-1]:.0f} {'dimension' if round(rank[-1]) == 1 else 'dimensions'}.")
    entropy = facts.curve("teacher_entropy")[1]
    rows = facts.part("settings").get("queue_size")
    if entropy and isinstance(rows, int) and rows > 1:
        told.append(
            f"The teacher's targets hold {percent(entropy[-1] / math.log(rows), 0)} of the entropy that targets "
            f"without any preference would, as if spread over {count(round(math.exp(min(entropy[-1], 30))), 'row')} "
            f"of the memory's {rows:,}."
        )
    return told


def _time(facts: Facts) -> str:
    """Shares of time as one bar; what is in none of the three is logging, checkpoints and the optimiser's start."""
    means = [(name, mean) for key, name in SHARES if (mean := facts.typical(key)) is not None]
    total = sum(mean for _, mean in means)
    if total <= 0:
        return ""
    scale = max(total, 1.0)
    parts = [(name, mean / scale, f"fill-{place + 1}") for place, (name, mean) in enumerate(means)]
    parts.append(("other", max(0.0, 1 - total / scale), "fill-4"))
    key = "".join(
        f'<span><i class="{kind.replace("fill", "back")}"></i>{escape(name)} {percent(share, 0)}</span>'
        for name, share, kind in parts
    )
    return (
        f'<h2>Where the time went</h2><p class="about">{_bottleneck({name: share for name, share, _ in parts})}</p>'
        f'{charts.stacked_bar(parts, "Shares of training time")}<div class="key" style="margin-top:12px">{key}</div>'
    )


def _bottleneck(shares: dict[str, float]) -> str:
    largest = max(shares, key=lambda name: shares[name])
    return {
        "data": "Training mostly waits for pictures: a faster disk or more cores would help.",
        "views": "Making views takes the most: a smaller image size or a faster device would help.",
        "model": "The model takes the most, as it should: pictures arrive in time.",
    }.get(largest, "Most of the time went into neither data, views nor the model: the run was short.")
