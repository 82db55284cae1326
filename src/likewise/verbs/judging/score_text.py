"""An evaluation as text for a terminal: a table, the gain by training, and the protocol once."""

from __future__ import annotations

from likewise.evaluation.gain import Change, verdict
from likewise.evaluation.scores import Evaluation, Score
from likewise.terminal import paragraph, split_protocols, table
from likewise.verbs.judging.transfer import Transfer


def as_text(result: Evaluation, *, brief: bool = False) -> str:
    """The scores of one data set as people read them; `brief`: the scores alone."""
    parts = [_scores(result), _groups(result)]
    if result.changes:
        parts += [_changes(result.changes), paragraph(verdict(result.changes), first="verdict ", indent="        ")]
    if not brief:
        parts += [_protocol(result.scores), *(paragraph(f"note: {note}", indent="      ") for note in result.notes)]
    return "\n\n".join(part for part in parts if part)


def means_text(several: Transfer) -> str:
    """The means over several data sets, of scores and of the log-odds of accuracies."""
    odds = {name: f"{value:+.3f}" for name, value in several.log_odds().items()}
    rows = [[name, f"{value:.4g}", odds.get(name, "")] for name, value in several.means().items()]
    return table([f"mean of {len(several.evaluations)} data sets", "", "log-odds"], rows)


def _scores(result: Evaluation) -> str:
    """A line for each score, those of one probe together."""
    order = {label: place for place, label in enumerate(dict.fromkeys(score.label() for score in result.scores))}
    scores = sorted(result.scores, key=lambda score: order[score.label()])
    has_interval = any(score.low is not None for score in scores)
    rows = []
    before = ""
    for score in scores:
        value = f"{100 * score.value:.1f} %" if score.unit == "share" else f"{score.value:.4g}"
        cells = ["" if score.label() == before else score.label(), score.which, value]
        rows.append([*cells, _interval(score)] if has_interval else cells)
        before = score.label()
    counts = dict.fromkeys(f"{score.n:,} {score.split}" for score in scores)
    title = paragraph(f"{result.data}: {' and '.join(counts)} images", indent="  ")
    head = ["score", "encoder", "value", *(["95 % interval"] if has_interval else [])]
    return f"{title}\n\n{table(head, rows, left=(0, 1))}"


def _interval(score: Score) -> str:
    return "" if score.low is None or score.high is None else f"{100 * score.low:.1f} to {100 * score.high:.1f}"


def _groups(result: Evaluation) -> str:
    """Means over groups of classes, where there are any."""
    rows = [
        [score.label(), score.which, group, f"{100 * mean.value:.1f} %", f"{mean.classes:,}", f"{mean.n:,}"]
        for score in result.scores
        for group, mean in (score.groups or {}).items()
    ]
    return table(["by class", "encoder", "group", "mean", "classes", "images"], rows, left=(0, 1, 2)) if rows else ""


def _changes(changes: list[Change]) -> str:
    """What training changed, a line each."""
    rows = []
    for change in changes:
        known = change.low is not None and change.high is not None
        span = f"{100 * (change.low or 0):+.1f} to {100 * (change.high or 0):+.1f}" if known else "not known"
        rows.append([change.label, f"{100 * change.difference:+.1f}", span])
    against = " and ".join(dict.fromkeys(change.against for change in changes))
    return table([f"change over {against}", "points", "95 % interval"], rows)


def _protocol(scores: list[Score]) -> str:
    """What all scores share once, and of each what is its own."""
    distinct: dict[tuple[str, str], Score] = {}
    for score in scores:
        distinct.setdefault((score.label(), score.protocol), score)
    shared, own = split_protocols([protocol for _, protocol in distinct])
    labels = [label for label, _ in distinct]
    lines = [paragraph(shared, first="protocol  ", indent="  ")] if shared else []
    for score, words in zip(distinct.values(), own, strict=True):
        role = f" ({score.which})" if labels.count(score.label()) > 1 else ""
        if words:
            lines.append(paragraph(words, first=f"  {score.label()}{role}: ", indent="    "))
    intervals = dict.fromkeys(score.interval for score in scores if score.interval)
    if intervals:
        lines.append(paragraph("; ".join(intervals), first="  intervals: ", indent="    "))
    return "\n".join(lines)
