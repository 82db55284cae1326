"""The linear probe against scikit-learn's logistic regression on the same standardised features."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import normalize

from likewise.errors import InputError
from likewise.evaluation.probes.linear import STRENGTHS, fit, fit_logistic
from tests.evaluation.test_knn import points


def test_equals_logistic_regression() -> None:
    (train, labels), (test, _) = points(500, 1), points(200, 2)
    probe = fit(train, labels)
    x = (normalize(train) - probe.mean_F) / probe.scale_F
    judge = LogisticRegression(C=1 / (probe.decay * len(x)), tol=1e-8, max_iter=2000).fit(x.numpy(), labels.numpy())
    torch.testing.assert_close(
        probe.weight_CF - probe.weight_CF.mean(0), torch.from_numpy(judge.coef_).float(), atol=0.02, rtol=0.02
    )
    expected = judge.predict(((normalize(test) - probe.mean_F) / probe.scale_F).numpy())
    assert (probe.predict(test).numpy() == expected).mean() > 0.99


def test_standardisation_is_that_of_the_training_set() -> None:
    train, labels = points(100, 3)
    probe = fit(train, labels)
    torch.testing.assert_close(probe.mean_F, normalize(train).mean(0))
    torch.testing.assert_close(probe.scale_F, (normalize(train).var(0, correction=1) + 1e-5).sqrt())


def test_images_without_label_are_left_out() -> None:
    train, labels = points(100, 4)
    spoiled = torch.cat([train, 100 * torch.randn(20, 12)])
    probe = fit(spoiled, torch.cat([labels, torch.full((20,), -1)]))
    torch.testing.assert_close(probe.weight_CF, fit(train, labels).weight_CF)


def test_one_class_is_one_line() -> None:
    with pytest.raises(InputError, match="at least two classes"):
        fit(torch.randn(10, 3), torch.zeros(10, dtype=torch.int64))


def test_the_logistic_regression_of_transfer_is_that_of_scikit_learn() -> None:
    (train, labels), (test, _) = points(500, 1), points(200, 2)
    probe, chosen = fit_logistic(train, labels)
    assert chosen in STRENGTHS
    judge = LogisticRegression(C=chosen, tol=1e-8, max_iter=5000).fit(normalize(train).numpy(), labels.numpy())
    assert (probe.predict(test).numpy() == judge.predict(normalize(test).numpy())).mean() > 0.99
    few, none = fit_logistic(train[:2], torch.tensor([0, 1]))
    assert none is None
    assert few.predict(train[:2]).tolist() == [0, 1]
