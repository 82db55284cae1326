"""PromptCAL: graph, affinity, correction and loss; the GCD losses; discovery accuracy and semi-supervised k-means."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from adapters import Vectors, same
from likewise.discovery.accuracy import discovery_accuracy
from likewise.discovery.semi_kmeans import semi_kmeans
from likewise.similarity import nt_xent, similarities
from likewise.similarity.mutual import supervised_contrast
from likewise.similarity.positives.affinity import (
    Pairs,
    affinity_contrast,
    consensus,
    contrast_views,
    corrected,
    diffused,
    strong,
)

COVERS = ("gcd",)
TOLERANCE = 1e-8


def known(labels: Tensor, mask: Tensor) -> Tensor:
    """Labels, -1 where they are hidden."""
    return labels.where(mask, -1)


def check_graph(v: Vectors) -> None:
    queries = v["teacher_swapped"]
    half = len(queries) // 2
    same(torch.cat([v["teacher"][half:], v["teacher"][:half]]), queries)
    counts = consensus(torch.cat([queries, v["bank"]]), v.number("k"))
    same(counts, v["consensus"].double(), TOLERANCE)
    affinity = diffused(counts, len(queries))
    same(affinity[: len(queries), len(queries) :], v["diffused_query_bank"], TOLERANCE)
    raw = strong(affinity, v.number("quantile"))[: len(queries), len(queries) :]
    assert raw.equal(v["affinity_raw"])
    labels = known(v["labels"], v["labelled_mask"]).repeat(2)
    pairs = corrected(raw, ~raw, labels, known(v["bank_labels"], v["bank_labelled_mask"]))
    assert pairs.positive.equal(v["affinity"])
    assert pairs.negative.equal(v["negatives"])
    nothing = torch.zeros_like(raw)
    by_label = corrected(nothing, nothing, labels, known(v["bank_labels"], v["bank_labelled_mask"]))
    assert by_label.positive.equal(v["positives_known"])
    assert by_label.negative.equal(v["negatives_known"])


def check_affinity_contrast(v: Vectors) -> None:
    cases = (
        ("swapped", "teacher_swapped", "negatives"),
        ("sameview", "teacher", "negatives"),
        ("subset", "teacher_swapped", "negatives_subset"),
    )
    for name, own, negatives in cases:
        student = v.leaf("student")
        pairs = Pairs(v["affinity"], v[negatives])
        loss = affinity_contrast(student, v[own], v["bank"], pairs, v.number("knn_temperature"))
        same(loss, v[f"loss_cal_{name}"], TOLERANCE)
        same(torch.autograd.grad(loss, student)[0], v[f"grad_cal_{name}"], TOLERANCE)


def check_contrasts(v: Vectors) -> None:
    teacher, mask = v["teacher"], v["labelled_mask"].repeat(2)
    labels = v["labels"].repeat(2)[mask]

    def supervised(student: Tensor, keys: Tensor) -> Tensor:
        return supervised_contrast(similarities(student[mask], keys[mask], 0.07), labels)

    cases: dict[str, Callable[[Tensor], Tensor]] = {
        "unsup_t1": lambda student: contrast_views(student, teacher, 1.0),
        "unsup_t007": lambda student: contrast_views(student, teacher, 0.07),
        "sup_cross": lambda student: supervised(student, teacher),
        "gcd_unsup": lambda student: nt_xent(*student.chunk(2), 1.0),
        "gcd_sup": lambda student: supervised(student, student),
    }
    for name, loss_of in cases.items():
        student = v.leaf("student")
        loss = loss_of(student)
        same(loss, v[f"loss_{name}"], TOLERANCE)
        same(torch.autograd.grad(loss, student)[0], v[f"grad_{name}"], TOLERANCE)


def check_accuracy(v: Vectors) -> None:
    arrays = (v["cluster_true"].numpy(), v["cluster_pred"].numpy(), v["cluster_old_mask"].numpy())
    for version in (1, 2):
        found = discovery_accuracy(*arrays, version=version)
        same(torch.tensor(found, dtype=torch.float64), v[f"acc_v{version}"], TOLERANCE)


def check_semi_kmeans(v: Vectors) -> None:
    found = semi_kmeans(
        v["sskm_unlabelled"],
        v["sskm_labelled"],
        v["sskm_targets"],
        v.number("sskm_k"),
        runs=v.number("sskm_n_init"),
        iterations=50,
        seed=v.number("sskm_seed"),
    )
    same(found.centres, v["sskm_centers"], TOLERANCE)
    same(torch.tensor(found.inertia, dtype=torch.float64), v["sskm_inertia"], TOLERANCE)
    assert found.assignment.equal(v["sskm_assign_labelled_first"])
    true = v["sskm_true_unlabelled"].numpy()
    assert discovery_accuracy(true, found.assignment[-len(true) :].numpy(), np.isin(true, v["sskm_targets"])).all > 0.5
