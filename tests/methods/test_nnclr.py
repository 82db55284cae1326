"""NNCLR: who is contrasted with whom, and where gradient goes."""

from __future__ import annotations

import pytest
import torch

from likewise.errors import InputError
from likewise.methods.nnclr import NNCLR, friend_contrast
from likewise.similarity import nt_xent, unit
from tests.contract.gauntlet import batch_at, make


def vectors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    projection, prediction = (torch.randn(6, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    return projection, prediction, unit(torch.randn(20, 5, dtype=torch.float64))


def test_gradient_goes_to_the_prediction_alone() -> None:
    projection, prediction, support = vectors()
    friend_contrast(projection, prediction, support, 0.2).loss.backward()
    assert projection.grad is None
    assert prediction.grad is not None


def test_with_both_in_the_denominator_it_is_nt_xent_with_the_friends() -> None:
    projection, prediction, support = vectors()
    found = friend_contrast(projection, prediction, support, 0.2, "both")
    torch.testing.assert_close(found.loss, nt_xent(support[found.rows], prediction, 0.2))
    assert found.loss > friend_contrast(projection, prediction, support, 0.2).loss


def test_purity_counts_friends_of_the_same_label() -> None:
    method = make("nnclr", queue_size=8)
    queue = method.get_submodule("queue")
    method(*batch_at(method, 0))
    views, batch = batch_at(method, 0)  # all labels of the queue are those of the same images now
    assert 0 <= float(method(views, batch).parts["purity"]) <= 1
    queue.get_buffer("column_label").fill_(7)
    assert float(method(views, batch).parts["purity"]) == 0


def test_crops_only_change_no_colour() -> None:
    policies = make("nnclr", views="crops").views.values()
    assert all(policy.colour is None and policy.solarise is None and policy.grey == 0 for policy in policies)


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(InputError, match="queue_size=0 is too small"):
        NNCLR.Settings(queue_size=0)
