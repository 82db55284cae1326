"""InterCLR: margins, a data set of one pseudo-class, online and offline labels, repair while it runs."""

from __future__ import annotations

import math

import pytest
import torch

from likewise.errors import InputError
from likewise.methods.interclr import InterCLR
from likewise.similarity import unit
from likewise.similarity.labelled.by_label import contrast_across, with_margin
from tests.contract.gauntlet import batch_at, make, one_step, optimizer_of


def interclr(**settings: object) -> InterCLR:
    made = make("interclr", **{"intra_epochs": 0, "pseudo_labels": "online", **settings})
    assert isinstance(made, InterCLR)
    return made


@pytest.mark.parametrize("form", ["cosine", "arc"])
@pytest.mark.parametrize("margin", [-0.5, 0.5])
def test_a_negative_margin_makes_the_positive_easier(form: str, margin: float) -> None:
    p = torch.linspace(-1, 1, 41, dtype=torch.float64)
    q = with_margin(p, margin, form)  # type: ignore[arg-type]
    assert ((q - p).sign()[1:-1] == -math.copysign(1, margin)).all()
    assert (q.diff() > 0).all()  # never turns round, also where the angle would leave 0 to pi


def test_the_gradient_of_the_arc_is_finite_where_two_vectors_are_equal() -> None:
    p = torch.tensor([1.0, -1.0, 0.0], requires_grad=True)
    with_margin(p, -0.5, "arc").sum().backward()
    assert p.grad is not None
    assert p.grad.isfinite().all()


def test_an_anchor_without_negatives_costs_nothing() -> None:
    q = torch.randn(2, 3, requires_grad=True)
    loss = contrast_across(
        q, torch.randn(2, 3), torch.randn(2, 4, 3), 0.2, counted_Bn=torch.zeros(2, 4, dtype=torch.bool)
    )
    loss.backward()
    assert loss.abs() < 1e-6
    assert q.grad is not None
    assert q.grad.isfinite().all()


@pytest.mark.parametrize("strategy", ["semihard", "hard", "semieasy", "random"])
def test_a_data_set_of_one_pseudo_class_neither_fails_nor_hangs(strategy: str) -> None:
    method = interclr(strategy=strategy, clusters=1)
    terms = one_step(method, optimizer_of(method), 0)
    assert terms.parts["inter"].abs() < 1e-5
    assert terms.loss.isfinite()


def test_online_labels_change_for_the_batch_and_offline_ones_between_epochs() -> None:
    online, offline = interclr(), interclr(pseudo_labels="offline")
    assert [online.refresh_due(epoch) for epoch in range(3)] == [True, False, False]
    assert [offline.refresh_due(epoch) for epoch in range(3)] == [True, True, True]
    for method in (online, offline):
        method.clusters.labels.fill_(1)
        method.clusters.centroids.copy_(torch.randn_like(method.clusters.centroids))
        method.take_in(torch.arange(8), torch.nn.functional.normalize(torch.randn(8, 128), dim=1))
        assert (method.clusters.labels[8:] == 1).all()
    assert (offline.clusters.labels == 1).all()
    assert not (online.clusters.labels[:8] == 1).all()


def test_small_clusters_are_repaired_while_it_runs() -> None:
    method = interclr(clusters=4, min_cluster=10, repair_every=1, centroids_every=1)
    optimizer = optimizer_of(method)
    one_step(method, optimizer, 0)
    method.clusters.labels.copy_((torch.arange(96) >= 2).long())
    one_step(method, optimizer, 1)
    assert int(method.clusters.sizes().min()) >= 10


def test_a_second_neck_is_the_banks_and_the_first_the_queues() -> None:
    method = interclr(second_neck=True, shuffle=False)
    views, batch = batch_at(method, 0)
    with torch.no_grad():
        intra, inter = map(unit, method.teacher(views["second"].image).chunk(2, dim=1))
    terms = method(views, batch)
    terms.loss.backward()
    torch.testing.assert_close(method.queue.rows[: len(intra)], intra)
    torch.testing.assert_close(method.bank.rows[batch.ids], inter)
    assert all(p.grad is not None and p.grad.any() for p in method.student[1].parameters())


def test_a_pool_larger_than_the_data_is_refused() -> None:
    with pytest.raises(InputError, match="pool=97 is out of range: allowed is 1 to 96"):
        interclr(pool=97)
