"""Where it goes wrong: counts that are right, few or many classes, rare ones, and nothing that breaks a page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from likewise.data import Images, open_source, prepare
from likewise.report import Judged, write_report
from likewise.report.mistakes import clearest_of_pairs, hardest_of, mistakes
from likewise.report.plots.confusion import most_confused
from tests.report.conftest import MakeRun
from tests.report.test_page import page


def drawn(labels: Any, names: tuple[str, ...] | None = None) -> Images:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (len(labels), 10, 10, 3)).astype(np.uint8)
    images = prepare(open_source({"images": pixels, "labels": np.asarray(labels)}), short_side=None)
    images.class_names = names
    return images


def judged(classes: int = 3, each: int = 8, wrong: int = 5, names: tuple[str, ...] | None = None) -> Judged:
    """Rare classes last; the first images are given the class after their own."""
    truth = np.arange(classes * each) % classes
    bank = np.repeat(np.arange(classes), np.arange(classes, 0, -1))
    predicted = truth.copy()
    predicted[:wrong] = (truth[:wrong] + 1) % classes
    generator = torch.Generator().manual_seed(0)
    return Judged(
        query=drawn(truth, names),
        bank=drawn(bank, names),
        query_QF=torch.randn(len(truth), 6, generator=generator),
        bank_NF=torch.randn(len(bank), 6, generator=generator),
        predicted_Q=predicted,
        frequency_C=np.bincount(bank),
        probe="knn k=20",
    )


def test_the_counts_are_the_confusion_matrix() -> None:
    found = judged()
    assert found.counts.tolist() == confusion_matrix(found.truth, found.predicted_Q).tolist()
    assert found.by_frequency == [0, 1, 2]
    assert "5 of 24 images" in mistakes(found)


def test_the_most_confused_are_by_share_of_the_class() -> None:
    counts = np.array([[90, 10, 0], [1, 1, 0], [0, 0, 5]])
    assert most_confused(counts, 9) == [(1, 0, 1, 0.5), (0, 1, 10, 0.1)]
    assert most_confused(np.diag([3, 0, 2]), 9) == []


def test_hard_images_are_those_with_no_neighbour_of_their_class_and_not_all_of_one_class() -> None:
    truth = np.array([0, 0, 0, 0, 1, 2, 3])
    own = np.array([0.0, 0.0, 0.0, 0.0, 0.1, 0.2, 0.3])
    nearest = np.array([0.5, 0.9, 0.7, 0.6, 0.1, 0.1, 0.1], dtype=np.float32)
    assert hardest_of(truth, own, nearest, 7).tolist() == [1, 4, 5, 6]
    assert hardest_of(truth[:4], own[:4], nearest[:4], 3).tolist() == [1, 2, 3]


def test_failures_shown_are_the_clearest_of_the_most_frequent_kinds() -> None:
    truth, predicted = np.array([0, 0, 1, 0]), np.array([1, 1, 0, 2])
    votes = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [2, 2, 2]])
    assert clearest_of_pairs(truth, predicted, votes, 2).tolist() == [1, 3]


@pytest.mark.parametrize("classes", [2, 24, 25, 130])
def test_few_and_many_classes_have_a_page_that_keeps_them(make_run: MakeRun, classes: int) -> None:
    evil = tuple(f'"><script>{value}' for value in range(classes))
    run = make_run()
    found = page(write_report(run, judged=judged(classes, each=2, names=evil)))
    assert "mistakes" in found.sections
    words = " ".join(found.words)
    assert "Class by class" in words
    assert ("What is taken for what" in words) == (classes <= 24)
    assert (run / "report.html").read_text().count("<script") == 1
    again = page(write_report(run))
    assert "mistakes" in again.sections, "kept from the evaluation before"


def test_without_mistakes_there_are_no_failures_to_show() -> None:
    perfect = mistakes(judged(wrong=0))
    assert "Class by class" in perfect
    assert "hardest" not in perfect


def test_a_class_that_nobody_asked_for_or_that_the_bank_lacks_is_no_division_by_nothing() -> None:
    found = judged(4)
    lacking = Judged(**{**vars(found), "frequency_C": np.array([4, 3])})
    assert "Class by class" in mistakes(lacking)
    one = Judged(**{**vars(found), "query": drawn([1] * 32), "predicted_Q": np.full(32, 2)})
    assert mistakes(one) == ""
