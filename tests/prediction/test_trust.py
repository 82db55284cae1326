"""Calibration and risk: by hand, and as they are promised."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from likewise.errors import InputError
from likewise.prediction.calibration import calibration_errors, expected_calibration_error, temperature
from likewise.prediction.classifiers import linear, votes
from likewise.prediction.judged import Held, HeldOut, folded, given, split
from likewise.prediction.risk import candidates, choose, fewest, upper_bound
from likewise.prediction.trusting import calibrated


def drawn(count: int, *, sharp: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are `sharp` times too large, and labels drawn from what they were."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, 4, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).flatten()
    return sharp * logits, labels


def test_calibration_error_by_hand() -> None:
    confidence = torch.tensor([0.62, 0.64, 0.95, 0.05])
    right = torch.tensor([True, False, True, False])
    expected = (abs(1 - 1.26) + abs(1 - 0.95) + abs(0 - 0.05)) / 4
    assert expected_calibration_error(confidence, right) == pytest.approx(expected, abs=1e-6)
    assert expected_calibration_error(torch.ones(3), torch.tensor([True] * 3)) == 0.0
    with pytest.raises(InputError):
        expected_calibration_error(torch.empty(0), torch.empty(0))


@pytest.mark.parametrize("sharp", [0.5, 3.0])
def test_temperature_undoes_what_was_overdone(sharp: float) -> None:
    logits, labels = drawn(3000, sharp=sharp, seed=0)
    assert temperature(logits, labels) == pytest.approx(sharp, rel=0.1)
    before, after = calibration_errors(logits, labels)
    assert after < 0.04 < before


def test_a_few_right_answers_do_not_make_certain() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    t = temperature(logits, torch.tensor([0, 1]))
    assert float((logits / t).softmax(1).amax()) == pytest.approx(3 / 4, abs=1e-3)


def test_bound_of_no_mistakes_by_hand() -> None:
    assert upper_bound(0, 45, 0.1) == pytest.approx(1 - 0.1 ** (1 / 45))
    assert upper_bound(5, 5, 0.1) == 1.0
    count = fewest(0.05, 0.9, 1)
    assert upper_bound(0, count, 0.1) <= 0.05 < upper_bound(0, count - 1, 0.1)


def test_the_loosest_threshold_that_holds_is_taken() -> None:
    confidence = np.linspace(0, 1, 1001)
    found = choose(confidence, confidence >= 0.4, [0.1, 0.3, 0.4, 0.7], risk=0.05)
    assert found.value == 0.4
    assert (found.wrong, found.held_out) == (0, 601)
    nothing = choose(confidence, np.zeros(1001, bool), [0.1, 0.9], risk=0.05)
    assert (nothing.value, nothing.bound) == (math.inf, None)


def test_too_few_labels_promise_nothing() -> None:
    with pytest.raises(InputError, match=r"12 held-out labels: at least 90 are needed, or a risk of 0\.32 or more"):
        choose(np.ones(12), np.ones(12, bool), [float(one) for one in range(10)], risk=0.05)
    with pytest.raises(InputError, match="risk=1"):
        choose(np.ones(12), np.ones(12, bool), [0.5], risk=1.0)


def test_the_promise_is_kept() -> None:
    """Over many draws of held-out images the true risk is above what was asked for in at most a tenth."""
    broken, given = 0, 0
    for seed in range(100):
        logits, labels = drawn(4400, sharp=1.0, seed=seed)
        confidence, predicted = logits.softmax(1).max(1)
        value, right = confidence.numpy(), (predicted == labels).numpy()
        held, new = slice(400), slice(400, None)
        found = choose(value[held], right[held], candidates(value[new]), risk=0.25)
        kept = value[new] >= found.value
        given += bool(kept.any())
        broken += bool(kept.any()) and float((~right[new][kept]).mean()) > 0.25
    assert given > 70
    assert broken <= 0.1 * 100


def test_held_out_labels_are_not_fitted_on() -> None:
    """A classifier that knows its own rows by heart is right about none of the held-out ones."""
    generator = torch.Generator().manual_seed(0)
    x_NF, labels_N = torch.randn(60, 16, generator=generator), torch.arange(60) % 3

    def by_heart(features_NF: torch.Tensor, known_N: torch.Tensor):
        def logits(query_QF: torch.Tensor) -> torch.Tensor:
            near = torch.cdist(query_QF, features_NF)
            own = torch.nn.functional.one_hot(known_N[near.argmin(1)], 3).float()
            return torch.where(near.amin(1, keepdim=True) < 1e-3, 9 * own, -9 * own)

        return logits

    content = np.arange(60) // 2  # pairs of copies
    x_NF[1::2] = x_NF[::2]
    labels_N = labels_N[torch.arange(60) // 2 * 2]
    one = folded(by_heart, x_NF, labels_N, content, 3, 0)
    two = split(by_heart, x_NF, labels_N, content, 3, share=0.3, seed=0)
    assert len(one.judging.labels_H) == 60
    assert len(two.judging.labels_H) == 9  # a copy is no further draw
    for found in (one, two):
        assert float(found.judging.logits_HC.amax()) <= 0.0  # copies are never on both sides
    assert one.is_shared
    assert not two.is_shared


def test_copies_do_not_make_a_promise_surer() -> None:
    generator = torch.Generator().manual_seed(1)
    x_NF, labels_N = torch.randn(40, 2, generator=generator), torch.randint(2, (40,), generator=generator)
    rows = torch.arange(40).repeat(9)

    def any_class(features_NF: torch.Tensor, known_N: torch.Tensor):
        return lambda query_QF: query_QF

    whole = split(any_class, x_NF, labels_N, np.arange(40), 2, share=0.5, seed=0)
    copied = split(any_class, x_NF[rows], labels_N[rows], rows.numpy(), 2, share=0.5, seed=0)
    assert copied.judging.labels_H.tolist() == whole.judging.labels_H.tolist()
    own = given(lambda query_QF: query_QF, x_NF[rows], labels_N[rows], rows.numpy(), apart=True, seed=0)
    assert len(own.judging.labels_H) == 20


def test_images_of_unknown_classes_are_mistakes_of_the_calibration() -> None:
    logits, labels = drawn(1000, sharp=1.0, seed=3)
    labels[::2] = -1
    before, after = calibration_errors(logits, labels)
    confidence, predicted = logits.softmax(1).max(1)
    assert before == pytest.approx(expected_calibration_error(confidence, predicted == labels))
    assert after > 0.25  # half of the images are not right, however sure
    every = Held(logits, labels)
    t, found = calibrated(HeldOut(lambda x: x, every, every, ""), 0)
    assert t == pytest.approx(temperature(logits[1::2], labels[1::2]))
    assert found == pytest.approx((before, after))


@pytest.mark.parametrize("by", ["linear", "votes"])
def test_classes_with_one_label(by: str) -> None:
    x_NF = torch.eye(5).repeat(2, 1)[:9] + 0.01 * torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    labels_N = torch.arange(5).repeat(2)[:9]

    def fit(features_NF: torch.Tensor, known_N: torch.Tensor):
        return linear(features_NF, known_N) if by == "linear" else votes(features_NF, known_N, 5)

    found = folded(fit, x_NF, labels_N, np.arange(9), 5, 0)
    assert found.logits(x_NF).argmax(1).tolist() == labels_N.tolist()
    assert found.judging.logits_HC.shape[1] == 5
    assert 4 not in found.judging.labels_H.tolist()
