"""MCL against the plain formulas, for two and for more networks, and the order inside its step."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from likewise.encoders import build
from likewise.errors import InputError
from likewise.methods.mcl import MCL
from likewise.methods.mcl_supervised import MCLSupervised
from likewise.methods.method import Facts
from likewise.similarity import unit
from likewise.similarity.mutual import (
    classification,
    mutual_contrast,
    supervised_contrast,
    supervised_mutual_contrast,
)
from likewise.similarity.mutual import imitation as imitated
from tests.contract.gauntlet import IMAGES, SIDE, SPEC, batch_at, make, one_step, optimizer_of

T, SOFT = 0.1, 3.0


def imitation(student: Tensor, teacher: Tensor) -> Tensor:
    seen, told = (student / SOFT).log_softmax(1), (teacher.detach() / SOFT).softmax(1)
    return SOFT**2 * functional.kl_div(seen, told, reduction="batchmean")


@pytest.mark.parametrize("networks", [2, 3, 4])
def test_all_parts_are_the_sums_over_networks_and_pairs(networks: int) -> None:
    torch.manual_seed(networks)
    q = torch.randn(networks, 5, 6, dtype=torch.float64, requires_grad=True)
    k, queues = torch.randn(networks, 5, 6, dtype=torch.float64), torch.randn(networks, 9, 6, dtype=torch.float64)
    queues = functional.normalize(queues, dim=2)

    def logits(a: int, b: int) -> Tensor:
        own = (unit(q[a]) * unit(k[b])).sum(1, keepdim=True)
        return torch.cat([own, unit(q[a]) @ queues[b].T], 1) / T

    first = torch.zeros(5, dtype=torch.int64)
    vcl = sum(functional.cross_entropy(logits(a, a), first) for a in range(networks))
    icl = sum(functional.cross_entropy(logits(a, b), first) for a, b in permutations(range(networks), 2))
    soft_vcl = sum(imitation(logits(a, a), logits(b, b)) for a, b in permutations(range(networks), 2))
    soft_icl = sum(
        imitation(logits(a, b), logits(b, a)) + imitation(logits(b, a), logits(a, b))
        for a, b in combinations(range(networks), 2)
    )
    told = mutual_contrast(q.unbind(), k.unbind(), queues.unbind(), T, SOFT)
    for found, expected in zip(told, (vcl, soft_vcl, icl, soft_icl), strict=True):
        assert isinstance(expected, Tensor)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
        gradients = [torch.autograd.grad(each, q, retain_graph=True)[0] for each in (found, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-12)


def test_with_labels_a_lonely_image_is_left_out() -> None:
    torch.manual_seed(0)
    e = torch.randn(2, 6, 4, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1, 1, 2])
    told = supervised_mutual_contrast(e.unbind(), labels, T, SOFT)
    assert all(value.isfinite() for value in told)
    logits = unit(e[0]) @ unit(e[0]).T / T
    loss = torch.zeros((), dtype=torch.float64)
    for i in range(5):
        others = [j for j in range(6) if j != i]
        positives = [j for j in others if labels[j] == labels[i]]
        loss = loss - (logits[i, positives].mean() - logits[i, others].logsumexp(0)) / 5
    torch.testing.assert_close(supervised_contrast(logits, labels), loss)


def test_between_networks_an_image_may_count_as_its_own_positive() -> None:
    logits = torch.eye(3, dtype=torch.float64)
    labels = torch.arange(3)
    assert supervised_contrast(logits, labels) == 0
    expected = functional.cross_entropy(logits, labels)
    torch.testing.assert_close(supervised_contrast(logits, labels, own_is_positive=True), expected)


@pytest.mark.parametrize("networks", [2, 3])
def test_networks_start_apart_and_all_learn(networks: int) -> None:
    method = make("mcl", networks=networks)
    assert isinstance(method, MCL)
    assert len(method.students) == len(method.teachers) == len(method.queues) == networks
    first = [next(student.parameters()) for student in method.students]
    assert not any(a.equal(b) for a, b in combinations(first, 2))
    before = [p.clone() for p in first]
    one_step(method, optimizer_of(method), 0)
    assert not any(a.equal(b) for a, b in zip(before, first, strict=True))


def test_keys_enter_the_queues_after_the_loss() -> None:
    method = make("mcl", split_batch_norm=1, icl_weight=1.0)
    assert isinstance(method, MCL)
    queues = [queue.rows.clone() for queue in method.queues]  # type: ignore[operator, union-attr]
    views, batch = batch_at(method, 0)
    q = [student(views["query"].image) for student in method.students]
    k = [teacher(views["key"].image) for teacher in method.teachers]
    told = mutual_contrast(q, k, queues, method.settings.temperature, method.settings.kl_temperature)
    found = method.step(views, batch).loss
    torch.testing.assert_close(found, torch.stack(list(told)).sum())
    for queue, keys in zip(method.queues, k, strict=True):
        torch.testing.assert_close(queue.rows[: len(keys)], unit(keys))  # type: ignore[index]


def test_without_imitation_and_exchange_it_is_moco_for_each() -> None:
    method = make("mcl", soft_weight=0.0, icl_weight=0.0)
    terms = method(*batch_at(method, 0))
    torch.testing.assert_close(terms.loss.detach(), terms.parts["vcl"])


def test_an_image_without_a_label_is_no_anchor_and_in_nobodys_sum() -> None:
    torch.manual_seed(1)
    e = unit(torch.randn(6, 4, dtype=torch.float64))
    labels = torch.tensor([0, 1, -1, 0, 1, -1])
    known = labels >= 0
    for own in (False, True):
        expected = supervised_contrast(e[known] @ e[known].T / T, labels[known], own_is_positive=own)
        torch.testing.assert_close(supervised_contrast(e @ e.T / T, labels, own_is_positive=own), expected)
    nobody = torch.full((6,), -1)
    logits = (e @ e.T).requires_grad_()
    (supervised_contrast(logits, nobody) + classification(logits, nobody)).backward()
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("networks", [2, 3])
def test_with_labels_a_step_is_the_weighted_sum_of_its_parts(networks: int) -> None:
    weights = {"vcl": 0.3, "soft_vcl": 0.5, "icl": 0.7, "soft_icl": 0.9}
    method = make(
        "mcl_supervised", networks=networks, logit_weight=2.0, **{f"{k}_weight": w for k, w in weights.items()}
    )
    assert isinstance(method, MCLSupervised)
    views, batch = batch_at(method, 0)
    assert batch.labels is not None
    found = method(views, batch).loss
    features = [student(views["view"].image) for student in method.students]
    logits = [net(x) for net, x in zip(method.classifiers, features, strict=True)]
    e = [head(x) for head, x in zip(method.heads, features, strict=True)]
    told = supervised_mutual_contrast(e, batch.labels, T, SOFT)
    loss = sum(functional.cross_entropy(each, batch.labels) for each in logits)
    loss = loss + sum(weight * getattr(told, part) for part, weight in weights.items())
    pupils = logits if networks == 2 else logits[2:]
    loss = loss + 2 * sum(imitation(each, torch.stack(logits).mean(0)) for each in pupils)
    torch.testing.assert_close(found, loss)
    torch.testing.assert_close(imitated(*logits[:2], SOFT), imitation(*logits[:2]))


def test_the_form_with_labels_says_so_where_there_are_none() -> None:
    with pytest.raises(InputError, match="needs labels"):
        MCLSupervised(
            build(SPEC, seed=0), MCLSupervised.Settings(), Facts(images=IMAGES, batch_size=8, image_size=SIDE)
        )
