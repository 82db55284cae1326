"""Intervals and figures by class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.evaluation import intervals
from likewise.evaluation.scores import Evaluation, Score, merged
from likewise.verbs.judging.evaluate import evaluate


def test_wilson_is_the_published_interval() -> None:
    low, high, how = intervals.wilson(81, 263)  # Newcombe 1998, table I
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert "Wilson" in how
    assert intervals.wilson(0, 20)[0] == 0
    assert round(intervals.wilson(0, 20)[1], 4) == 0.1611
    assert intervals.wilson(29, 29)[1] == 1


@given(st.integers(1, 500), st.data())
def test_wilson_holds_the_share(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    low, high, _ = intervals.wilson(right, n)
    assert 0 <= low <= right / n <= high <= 1


def test_interval_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 600)
    low, high, how = intervals.of_mean(values)
    assert high - low == pytest.approx(2 * 1.96 * values.std(ddof=1) / 600**0.5, rel=1e-4)
    assert "600 values" in how


def test_figures_by_class_and_group() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 2, 4])
    predicted = np.array([0, 0, 0, 1, 1, 1, 0, 4])
    found, counts = intervals.by_class(predicted, truth, np.array([150, 50, 5]), ("cat", "dog", "eel"))
    assert [(entry.name, entry.value, entry.n, entry.frequency) for entry in found] == [
        ("cat", 0.75, 4, 150),
        ("dog", 1.0, 2, 50),
        ("eel", 0.0, 1, 5),
        ("4", 1.0, 1, 0),
    ]
    groups = intervals.by_group(*counts, intervals.usual_groups(np.array([150, 50, 5])))
    assert {name: told.value for name, told in groups.items()} == {"many": 0.75, "medium": 1.0, "few": 0.0}


def test_skew_is_seen() -> None:
    assert intervals.is_skewed(np.array([100, 20, 0]))
    assert not intervals.is_skewed(np.array([100, 90, 0]))


def test_scores_keep_their_keys(data: object, encoder: object) -> None:
    result = evaluate(encoder, data, probe="knn", per_class=True, quiet=True)  # type: ignore[arg-type]
    told = result.to_json()["scores"][0]
    assert list(told)[:7] == ["name", "k", "value", "protocol", "split", "n", "which"]
    assert told["low"] <= told["value"] <= told["high"]
    assert len(told["per_class"]) == 3
    assert "predicted" not in told
    score = result.scores[0]
    assert score.predicted is not None
    assert len(score.predicted) == score.n
    assert evaluate(encoder, data, probe="knn", quiet=True).scores[0].per_class is None  # type: ignore[arg-type]


def test_scores_of_other_kinds_are_kept() -> None:
    def score(**what: object) -> Score:
        plain = {"name": "knn", "k": 1, "value": 0.5, "protocol": "p", "split": "test", "n": 2, "which": "student"}
        return Score(**{**plain, **what})  # type: ignore[arg-type]

    old = [{"name": "knn", "k": 1, "value": 0.1, "which": "student", "split": "test", "data": "d"}]
    replaced = merged(old, Evaluation([score(), score(measure="NMI"), score(variant="sgd")], None, "d", []))
    assert [entry["value"] for entry in replaced] == [0.5, 0.5, 0.5]
