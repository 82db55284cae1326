"""What training brought: paired over the same images, with an interval and one plain verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from likewise.encoders import Encoder
from likewise.evaluation.gain import changes, verdict
from likewise.evaluation.online import OnlineProbe
from likewise.evaluation.predictions import Answers
from likewise.evaluation.scores import Evaluation, Score
from likewise.evaluation.significance import mcnemar, over_classes
from likewise.verbs.judging.evaluate import evaluate
from likewise.verbs.judging.score_text import as_text
from tests.evaluation.conftest import MakeImages


def told(which: str, value: float, k: int = 20, **more: Any) -> dict[str, Any]:
    said = {"protocol": "p", "split": "test", "n": 100, "which": which, "data": "photos"}
    return {"name": "knn", "k": k, "value": value, **said, **more}


def answers(right: int, of: int = 100, *, shift: int = 0, images: str = "same") -> Answers:
    """So many right answers, from the position `shift` on."""
    truth = np.zeros(of, np.int64)
    predicted = np.ones(of, np.int64)
    predicted[shift : shift + right] = 0
    return Answers(predicted, truth, images)


@pytest.mark.parametrize(
    ("before", "now", "outcome", "sentence"),
    [
        (answers(50), answers(70), "better", "better than untrained on knn k=20"),
        (answers(70), answers(50), "worse", "worse than untrained on knn k=20"),
        (answers(50), answers(51), "unclear", "no clear gain: the interval includes 0"),
        # Four images against none: Wald's interval would exclude 0 where the exact test has p = .125.
        (answers(50), answers(54), "unclear", "no clear gain: the interval includes 0"),
        (answers(50), answers(50, images="others"), "unknown", "whether it differs from untrained"),
    ],
)
def test_a_change_has_an_interval_of_its_own_and_a_verdict(
    before: Answers, now: Answers, outcome: str, sentence: str
) -> None:
    held = {"untrained": before, "student": now}
    scores = [told(which, float(one.right.mean())) for which, one in held.items()]
    (change,) = changes(scores, lambda score: held[score["which"]])
    assert change.outcome == outcome
    assert change.difference == pytest.approx(float(now.right.mean() - before.right.mean()))
    assert verdict([change]).startswith(sentence)


def test_the_interval_is_of_pairs_and_narrower_than_that_of_two_samples() -> None:
    before, now = answers(50), answers(60)
    paired = mcnemar(before.right, now.right)
    apart = 1.96 * np.sqrt(0.5 * 0.5 / 100 + 0.6 * 0.4 / 100)
    assert paired.high - paired.low < apart
    # Bonett and Price: (11 - 1)/102, and 1.96 sqrt((12 - 100/102)/102) / sqrt(102) to either side.
    assert paired.low == pytest.approx(10 / 102 - 1.959964 * np.sqrt((12 / 102 - (10 / 102) ** 2) / 102), abs=1e-6)


def test_means_over_classes_are_compared_class_by_class() -> None:
    truth = np.repeat([0, 1], [90, 10])
    first, second = np.ones(100, bool), np.ones(100, bool)
    first[90:] = False  # the rare class is all wrong before
    found = over_classes(first, second, truth)
    assert found.difference == pytest.approx(0.5)
    assert 0.3 < found.low < 0.5 <= found.high


def test_several_changes_are_one_sentence() -> None:
    held = {("student", 1): answers(70), ("untrained", 1): answers(50), ("student", 20): answers(50)}
    held |= {("untrained", 20): answers(51)}
    scores = [told(which, float(one.right.mean()), k) for (which, k), one in held.items()]
    found = changes(scores, lambda score: held[score["which"], score["k"]])
    assert verdict(found) == "better than untrained on knn k=1; knn k=20: no clear gain: the interval includes 0"
    assert verdict([]) == ""


def test_one_of_many_scores_that_differs_by_chance_is_no_gain() -> None:
    """Nine against one only one gets right: p = .021, which one of twelve scores reaches by chance as a rule."""
    held = {("untrained", k): answers(50) for k in range(1, 13)} | {("student", k): answers(50) for k in range(1, 13)}
    held["student", 1] = answers(58, shift=1)
    scores = [told(which, float(one.right.mean()), k) for (which, k), one in held.items()]
    alone = changes([*scores[:1], told("student", 0.58, 1)], lambda score: held[score["which"], score["k"]])
    assert [change.outcome for change in alone] == ["better"]
    found = changes(scores, lambda score: held[score["which"], score["k"]])
    assert {change.outcome for change in found} == {"unclear"}
    assert not next(change for change in found if change.label == "knn k=1").includes_zero
    assert verdict(found) == "no clear gain: among 12 scores chance does as much"


def test_a_score_from_few_labels_is_not_compared_with_the_untrained_one_from_all(run: Path) -> None:
    evaluate(run, probe="knn", untrained=True, quiet=True)
    evaluate(run, probe="knn", subset="perclass:1", quiet=True)
    stored = json.loads((run / "run.json").read_text())
    assert {score["which"] for score in stored["scores"]} == {"student", "untrained"}
    assert (stored["changes"], list(stored["verdicts"].values())) == ([], [])
    page = (run / "report.html").read_text()
    assert "before and after training" not in page
    assert "20 nearest [2]" in page


def test_an_evaluation_says_it_and_the_run_and_its_report_keep_it(run: Path) -> None:
    result = evaluate(run, probe="knn", untrained=True, quiet=True)
    assert [change.label for change in result.changes] == ["knn k=1", "knn k=20", "knn k=200"]
    stored = json.loads((run / "run.json").read_text())
    assert [change["outcome"] for change in stored["changes"]] == [change.outcome for change in result.changes]
    assert list(stored["verdicts"].values()) == [verdict(result.changes)]
    sentence = verdict(result.changes)
    assert sentence[:1].upper() + sentence[1:] in (run / "report.html").read_text()
    # Scored again without the untrained encoder: it is still known, and compared.
    evaluate(run, probe="knn", quiet=True)
    assert len(json.loads((run / "run.json").read_text())["changes"]) == 3


def test_the_probe_while_training_compares_the_same_images(encoder: Encoder, make_images: MakeImages) -> None:
    images = make_images(300)
    probe = OnlineProbe(encoder, images, seen=10**6, minutes=None)
    facts = probe.begin()
    assert probe.change() == {}
    again = OnlineProbe(encoder, images, seen=10**6, minutes=None, stored=facts)
    again.begin(0.5)
    again.measure(1.0)
    change = again.change()
    assert (change["low"], change["high"], change["outcome"]) == (0.0, 0.0, "unclear")
    assert change["after"] == facts["before"]
    assert "no clear gain: the interval includes 0" in change["change"]


@pytest.mark.parametrize("columns", [60, 100])
def test_the_text_is_a_table_with_the_protocol_once_and_whole_words(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    shared = "pooled features, eval mode, centre crop at 28 px; from train (4,000 images) to test (1,000)"
    scores = [
        Score("knn", 20, 0.5, f"kNN, exact cosine, majority of k=20; {shared}", "test", 1000, which, low=0.4, high=0.6)
        for which in ("student", "untrained")
    ]
    scores.append(
        Score("finetune-labels", None, 0.7, f"steps; {shared}", "test", 1000, "student", variant="4 per class")
    )
    text = as_text(Evaluation(scores, "runs/a", "photos", ["a note that is longer than a line " * 3]))
    assert max(map(len, text.splitlines())) <= columns
    assert text.count("pooled features") == 1
    assert text.count("exact cosine") == 1
    words = " ".join(text.split())
    assert shared in words
    assert "kNN, exact cosine, majority of k=20" in words
    assert as_text(Evaluation(scores, None, "photos", []), brief=True).count("protocol") == 0
