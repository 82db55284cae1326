"""Writes an evaluation to the run: scores, predictions of each image, and the report with both."""

from __future__ import annotations

import numpy as np

from likewise.data.source import spread
from likewise.evaluation import predictions
from likewise.evaluation.bank_and_query import Rows
from likewise.evaluation.encoder_source import Subject
from likewise.evaluation.gain import changes, verdict
from likewise.evaluation.probes.protocol import Features
from likewise.evaluation.scores import Evaluation, Score, merged
from likewise.report import SHOWN, Evaluated, Judged, write_report

USUAL = ("knn", 20)
"""The probe whose mistakes are shown where there are several: the report is about neighbours."""


def record(subject: Subject, result: Evaluation, rows: Rows, features: Features, *, report: bool) -> None:
    """Add the scores to the run and, where wanted, write its report again. `features` are those of the subject."""
    run = subject.run
    assert run is not None
    stored = run.read()
    labelled = rows.bank.labels is not None and rows.query.labels is not None
    counts = {
        "data": result.data,
        "names": rows.bank.class_names,
        "bank": np.bincount(rows.bank_labels).tolist() if labelled else [],
        "queries": np.bincount(rows.query_labels).tolist() if labelled else [],
    }
    scores = merged(stored.get("scores", []), result)
    if labelled:
        predictions.keep(run.path, result.scores, result.data, rows.query_labels, rows.query.fingerprint)
    # Of all scores, not of the new ones alone: the untrained encoder may have been scored at another time.
    found = changes(scores, lambda score: predictions.read(run.path, score))
    verdicts = {data: verdict([one for one in found if one.data == data]) for data in {one.data for one in found}}
    run.write(
        scores=scores,
        changes=[change.to_json() for change in found],
        verdicts=verdicts,
        classes=counts,
        notes=result.notes,
    )
    if not report:
        return
    index = spread(len(rows.query), SHOWN)
    write_report(
        run.path,
        evaluated=Evaluated(rows.query.subset(index), features.query_QF[index], subject.which, result.data, rows.split),
        judged=_judged(subject, result, rows, features),
    )


def _judged(subject: Subject, result: Evaluation, rows: Rows, features: Features) -> Judged | None:
    """What the report shows the mistakes of; None where nothing was classified."""
    whole = [
        score
        for score in result.scores
        if score.which == subject.which and score.predicted is not None and len(score.predicted) == len(rows.query)
    ]
    score: Score | None = min(whole, key=lambda score: (score.name, score.k) != USUAL, default=None)
    if score is None or score.predicted is None or rows.bank.labels is None or rows.query.labels is None:
        return None
    return Judged(
        query=rows.query,
        bank=rows.bank,
        query_QF=features.query_QF,
        bank_NF=features.bank_NF,
        predicted_Q=score.predicted,
        frequency_C=features.frequency,
        probe=score.label(),
        data=result.data,
    )
