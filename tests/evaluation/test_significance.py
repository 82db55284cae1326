"""Tests of differences against scipy's own, and against what must be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from likewise.evaluation.significance import holm, mcnemar, over_images, over_seeds


def answers(seed: int, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.random(count) < 0.6, draw.random(count) < 0.7


@given(seed=st.integers(0, 1000))
def test_mcnemar_looks_only_at_images_that_one_of_two_gets_right(seed: int) -> None:
    first, second = answers(seed)
    found = mcnemar(first, second)
    won, lost = int((second & ~first).sum()), int((first & ~second).sum())
    assert found.p == pytest.approx(stats.binomtest(won, won + lost).pvalue)
    assert found.difference == pytest.approx(second.mean() - first.mean())
    assert found.low <= found.difference <= found.high
    back = mcnemar(second, first)
    assert (back.p, back.difference) == pytest.approx((found.p, -found.difference))


def test_the_same_answers_differ_by_nothing() -> None:
    first, _ = answers(0)
    assert mcnemar(first, first)[:4] == (0.0, 0.0, 0.0, 1.0)


def test_one_run_each_is_mcnemar_and_more_are_paired_over_images() -> None:
    first, second = answers(1)
    assert over_images(first[None], second[None]) == mcnemar(first, second)
    third, fourth = answers(2)
    found = over_images(np.stack([first, third]), np.stack([second, fourth]))
    wanted = stats.ttest_rel((second + 1.0 * fourth) / 2, (first + 1.0 * third) / 2)
    assert found.p == pytest.approx(wanted.pvalue)
    interval = wanted.confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("paired", [True, False])
def test_over_seeds_is_students_or_welchs_test(paired: bool) -> None:
    first, second = [0.50, 0.52, 0.49, 0.53], [0.55, 0.56, 0.52, 0.58]
    found = over_seeds(first, second, paired=paired)
    wanted = stats.ttest_rel(second, first) if paired else stats.ttest_ind(second, first, equal_var=False)
    interval = wanted.confidence_interval()
    assert found is not None
    assert found.p == pytest.approx(wanted.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert ("paired" in found.how) == paired


def test_a_single_run_says_nothing_about_seeds() -> None:
    assert over_seeds([0.5], [0.6, 0.7], paired=False) is None


def test_runs_without_spread_divide_by_nothing() -> None:
    for paired in (True, False):
        same, apart = (over_seeds([0.5, 0.5], [y, y], paired=paired) for y in (0.5, 0.75))
        assert same is not None
        assert apart is not None
        assert same.p == 1.0
        assert apart.p == 0.5  # two runs each are never certain
        assert apart.low < 0 < apart.high
    certain = over_seeds([0.5] * 3, [0.75] * 3, paired=True)
    assert certain is not None
    assert certain.p == 0.0
    nearly = over_seeds([0.80, 0.84], [0.82, 0.86], paired=True)  # differences that only rounding tells apart
    assert nearly is not None
    assert nearly.p == pytest.approx(1 / 2)


def test_one_image_tells_nothing() -> None:
    found = over_images(np.array([[True], [False]]), np.array([[True], [True]]))
    assert (found.difference, found.low, found.high, found.p) == (0.5, -1.0, 1.0, 1.0)


def test_holm_raises_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
    assert holm([0.01, 0.04], of=3) == pytest.approx([0.03, 0.08])
