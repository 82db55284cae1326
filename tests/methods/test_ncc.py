"""NCC: BYOL first, images without a label, when the teacher moves, and the queue."""

from __future__ import annotations

import pytest
import torch

from likewise.encoders import build
from likewise.methods.method import Facts, Progress
from likewise.methods.ncc import NCC
from likewise.similarity import unit
from likewise.similarity.prototypes.scattering import prototypes, scatter
from tests.contract.gauntlet import SPEC, batch_at, make, one_step, optimizer_of


def ncc(**settings: object) -> NCC:
    made = make("ncc", **settings)
    assert isinstance(made, NCC)
    return made


def test_a_first_share_of_the_budget_is_byol_alone() -> None:
    method = ncc(plain_share=0.5, noise_std=100.0)
    for fraction, plain in ((0.0, True), (0.49, True), (0.5, False), (1.0, False)):
        method.before_step(Progress(0, fraction, 0))
        terms = method(*batch_at(method, 0))
        assert ("scatter" not in terms.parts) == plain


def test_images_without_a_label_belong_to_no_prototype_and_none_at_all_costs_nothing() -> None:
    rows, labels = unit(torch.randn(4, 3)), torch.tensor([-1, 0, 0, 2])
    found = prototypes(rows, labels, 3)
    torch.testing.assert_close(found, torch.stack([unit((rows[1] + rows[2])[None])[0], torch.zeros(3), rows[3]]))
    q = rows.clone().requires_grad_(True)
    nothing = torch.full((4,), -1)
    loss = scatter(prototypes(q, nothing, 3), prototypes(rows, nothing, 3), 0.5)
    loss.backward()
    assert loss == 0
    assert q.grad is not None
    assert not q.grad.any()


@pytest.mark.parametrize("update", ["after", "before"])
def test_the_teacher_moves_towards_the_weights_of_the_pass(update: str) -> None:
    """In both versions it has never seen the weights that the optimiser is about to make."""
    method = ncc(update=update, momentum=0.0, momentum_schedule="constant")
    before = {key: value.clone() for key, value in method.student.named_parameters()}
    one_step(method, optimizer_of(method), 0)
    assert all(value.equal(before[key]) for key, value in method.teacher.network.named_parameters())
    method.before_step(Progress(1, 0.1, 1))
    moved = all(value.equal(before[key]) for key, value in method.teacher.network.named_parameters())
    assert moved == (update == "after")


@pytest.mark.parametrize("together", [False, True])
def test_the_queue_remembers_which_image_a_key_is_of(together: bool) -> None:
    method = ncc(queue_size=40, together=together, plain_share=0.0)
    assert method.queue is not None
    optimizer = optimizer_of(method)
    for step in range(2):
        assert one_step(method, optimizer, step).loss.isfinite()
    both = [*range(8), *range(8), *range(8, 16), *range(8, 16)]  # of each image the keys of both views
    assert method.queue.column("index").tolist() == [*both, *[-1] * 8]


def test_every_image_gets_a_cluster_and_the_predictor_a_rate_of_its_own() -> None:
    method = ncc()
    assert method.clusters.sizes().tolist() == method.clusters.labels.bincount(minlength=3).tolist()
    assert int(method.clusters.sizes().sum()) == 96
    groups = list(method.parameter_groups())
    assert [group.get("rate") for group in groups] == [None, 10.0]
    assert sum(len(group["params"]) for group in groups) == sum(p.requires_grad for p in method.parameters())


def test_together_is_one_pass_through_every_network() -> None:
    method = ncc(together=True)
    rows: list[int] = []
    for network in (method.student, method.teacher, method.predictor):
        network.register_forward_hook(lambda module, given, out: rows.append(len(out)))
    method(*batch_at(method, 0))
    assert rows == [16, 16, 16]


def test_large_images_are_blurred() -> None:
    facts = Facts(images=96, batch_size=8, image_size=96, classes=3)
    views = NCC(build(SPEC, seed=0), NCC.Settings(), facts).views
    assert [view.blur is not None and view.blur.probability for view in views.values()] == [0.5, 0.5]
