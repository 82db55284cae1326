"""NNCSL: soft neighbours among the current classes, mean entropy, classifier, and distillation of the old classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from adapters import Vectors, same
from likewise.similarity.labelled.support import (
    consistency,
    distilled_neighbours,
    mean_entropy,
    smoothed,
    soft_neighbours,
    swapped_targets,
)


def check_losses(v: Vectors) -> None:
    support, views, labels = v.leaf("support"), v.leaf("unlabelled"), v["support_labels"]
    old, temperature, smoothing = v.number("num_old"), v.number("temperature"), v.number("label_smoothing")
    current, earlier = labels >= old, labels < old
    new_rows = smoothed(labels[current] - old, v.number("num_new"), smoothing, torch.float64)
    old_rows = smoothed(labels[earlier], old, smoothing, torch.float64)
    same(new_rows, v["label_matrix_new"], 1e-7)
    same(old_rows, v["label_matrix_old"], 1e-7)
    new_rows, old_rows = v["label_matrix_new"], v["label_matrix_old"]
    probability = soft_neighbours(views, support[current], new_rows, temperature)
    same(probability, v["probs"])
    large = probability.detach()[: 2 * v.number("batch")]
    agreement = consistency(probability, swapped_targets(large, v.number("sharpen"), v.number("multicrop")))
    entropy = mean_entropy(probability, v.number("sharpen"))
    classifier = F.cross_entropy(v["class_logits"], labels)
    now = soft_neighbours(views, support[earlier], old_rows, temperature)
    before = soft_neighbours(v["old_unlabelled"], v["old_support"][earlier], old_rows, temperature)
    same(now, v["distill_current"])
    same(before, v["distill_target"])
    distilled = distilled_neighbours(now, before)
    found = {"snn": agreement, "memax": entropy, "ce": classifier, "distill": distilled}
    for name, loss in found.items():
        same(loss, v[f"loss_{name}"])
    total = sum((v.number(f"weight_{name}") * loss for name, loss in found.items()), torch.zeros(()))
    same(total, v["loss"])
    for name, loss in (("snn", agreement), ("memax", entropy), ("distill", distilled), ("total", total)):
        of_support, of_views = torch.autograd.grad(loss, (support, views), retain_graph=True)
        same(of_support, v[f"grad_support_{name}"])
        same(of_views, v[f"grad_unlabelled_{name}"])


def check_order(v: Vectors) -> None:
    classes = v.number("num_old") + v.number("num_new")
    assert v["support_labels"].equal(torch.arange(classes).repeat(v.number("per_class") * v.number("views")))
