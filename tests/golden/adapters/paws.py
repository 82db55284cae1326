"""PAWS: consistency, mean entropy, and gradients with and without the latter; SuNCEt."""

from __future__ import annotations

import torch
from torch import Tensor

from adapters import Vectors, same
from likewise.similarity.labelled.support import (
    consistency,
    mean_entropy,
    smoothed,
    soft_neighbours,
    suncet,
    swapped_targets,
)


def terms(v: Vectors, views: Tensor, supports: Tensor) -> tuple[Tensor, Tensor]:
    """Consistency and mean entropy."""
    labels, sharpen, temperature = v["support_labels"], v.number("sharpen"), v.number("temperature")
    large = soft_neighbours(v["target_views_raw"], v["target_supports"], labels, temperature)
    target = swapped_targets(large, sharpen, v.number("multicrop"))
    probability = soft_neighbours(views, supports, labels, temperature)
    return consistency(probability, target), mean_entropy(probability, sharpen)


def check_loss(v: Vectors) -> None:
    views, supports = v.leaf("anchor_views"), v.leaf("anchor_supports")
    agreement, entropy = terms(v, views, supports)
    same(agreement, v["loss_consistency"])
    same(entropy, v["loss_me_max"])
    same(agreement + entropy, v["loss"])
    for loss, suffix in ((agreement, "_no_me_max"), (agreement + entropy, "")):
        of_views, of_supports = torch.autograd.grad(loss, (views, supports), retain_graph=True)
        same(of_views, v[f"grad_anchor_views{suffix}"])
        same(of_supports, v[f"grad_anchor_supports{suffix}"])


def check_inputs(v: Vectors) -> None:
    first, second = v["target_views_raw"].chunk(2)
    same(torch.cat([second, first]), v["target_views_swapped"])
    classes = v.number("nmb_classes")
    labels = torch.arange(classes).repeat(v.number("images_per_class"))
    same(smoothed(labels, classes, v.number("label_smoothing"), torch.float64), v["support_labels"], 1e-7)


def check_suncet(v: Vectors) -> None:
    embedding = v.leaf("suncet_embedding")
    loss = suncet(embedding, v["suncet_labels"], v.number("suncet_temperature"))
    same(loss, v["suncet_loss"])
    same(torch.autograd.grad(loss, embedding)[0], v["suncet_grad"])
