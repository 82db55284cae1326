"""BCT: its three influence losses and their gradients, then the compatibility metrics."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from adapters import Vectors, same
from likewise.evaluation.compatibility import flips, refresh_curve, update_gain
from likewise.evaluation.probes.retrieval import Ranked, rank
from likewise.similarity import unit
from likewise.similarity.compatible import class_means, influence, influence_distilled

PAIRS = (("old", "old"), ("new", "old"), ("new", "new"))


def gradient(loss: Tensor, leaf: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, leaf)
    return found


def check_losses(v: Vectors) -> None:
    features, labels = v.leaf("new_features"), v["labels"]
    new = F.cross_entropy(F.linear(features, v["new_weight"], v["new_bias"]), labels)
    same(new, v["loss_new"])
    same(gradient(new, features), v["grad_new"])
    old_weight, old_bias = v["old_weight"], v["old_bias"]
    assert len(old_weight) == v.number("num_old_classes")
    shared = influence(features, old_weight, old_bias, labels)
    same(shared, v["loss_influence_shared"])
    same(gradient(shared, features), v["grad_influence_shared"])
    same(new.detach() + v.number("weight") * shared.detach(), v["loss"])
    distilled = influence_distilled(features, v["old_features"], old_weight, old_bias)
    same(distilled, v["loss_influence_distill"])
    same(gradient(distilled, features), v["grad_influence_distill"])


def check_synthesised_rows(v: Vectors) -> None:
    features, labels, old_weight = v.leaf("new_features"), v["labels"], v["old_weight"]
    rows = v["synthetic_rows"]
    unseen = torch.arange(len(old_weight), len(old_weight) + len(rows))
    there = torch.isin(unseen, labels)
    same(unit(class_means(v["old_features"], labels, unseen[there])), rows[there])
    loss = influence(features, torch.cat([old_weight, unit(rows)]), None, labels)
    same(loss, v["loss_influence_synthetic"])
    same(gradient(loss, features), v["grad_influence_synthetic"])


def ranked(v: Vectors, query: str, gallery: str, *, cameras: bool = False, top: int | None = None) -> Ranked:
    camera = (v["query_camera"], v["gallery_camera"]) if cameras else (None, None)
    return rank(
        v[f"query_{query}"],
        v[f"gallery_{gallery}"],
        v["query_id"],
        v["gallery_id"],
        query_cameras_Q=camera[0],
        gallery_cameras_N=camera[1],
        top=top,
    )


def check_metrics(v: Vectors) -> None:
    for query, gallery in PAIRS:
        for cameras, prefix in ((False, ""), (True, "camera_")):
            found = ranked(v, query, gallery, cameras=cameras)
            same(found.precision_Q.mean(), v[f"map_{prefix}{query}_{gallery}"])
            expected = v[f"cmc_{prefix}{query}_{gallery}"]
            cmc = torch.stack([(found.first_Q <= k).double().mean() for k in range(1, len(expected) + 1)])
            same(cmc, expected, 1e-6)
        found = ranked(v, query, gallery, top=10)
        same(found.precision_Q.mean(), v[f"map_at_10_{query}_{gallery}"])


def check_update(v: Vectors) -> None:
    old, crossed, new = (float(ranked(v, *pair).precision_Q.mean()) for pair in PAIRS)
    same(torch.tensor(update_gain(crossed, old, new), dtype=torch.float64), v["update_gain_map"])
    assert math.isnan(update_gain(0.5, 0.4, 0.4))
    before, now = (ranked(v, *pair).first_Q == 1 for pair in PAIRS[:2])
    changed = flips(before, now)
    same(torch.tensor(changed.negative, dtype=torch.float64), v["negative_flip_rate"])
    same(torch.tensor(changed.positive, dtype=torch.float64), v["positive_flip_rate"])


def check_refresh(v: Vectors) -> None:
    curve = refresh_curve(
        v["query_new"],
        v["gallery_old"],
        v["gallery_new"],
        v["query_id"],
        v["gallery_id"],
        v["refresh_order"],
        v["refresh_fractions"].tolist(),
    )
    same(torch.tensor([point.average_precision for point in curve], dtype=torch.float64), v["refresh_map"])
    same(torch.tensor([point.rank1 for point in curve], dtype=torch.float64), v["refresh_rank1"], 1e-6)
