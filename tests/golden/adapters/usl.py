"""USL: distances, densities, clusters and picks; USL-T: its global and local losses."""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch

from adapters import Vectors, same
from likewise.selection.usl import Apart, densest_apart, density, lloyd, mean_squared_distance
from likewise.similarity import neighbours
from likewise.similarity.prototypes.self_label import agree, confident

COVERS = ("usl_t",)


def check_density(v: Vectors) -> None:
    x, k = v["features"], v.number("k")
    same(2.0 - 2.0 * neighbours(x, x, k).similarity, v["knn_sq_dist"])
    same(mean_squared_distance(x, k), v["mean_sq_dist"])
    same(density(x, k), v["density"])


def check_clusters(v: Vectors) -> None:
    labels, centres = lloyd(
        v["features"], v.number("num_select"), iterations=v.number("kmeans_iters"), start=v["kmeans_init"]
    )
    assert labels.equal(v["kmeans_labels"])
    same(centres, v["kmeans_centroids"])


def check_picks(v: Vectors) -> None:
    how = Apart(
        rounds=v.number("reg_iters"),
        weight=v.number("reg_weight"),
        momentum=v.number("reg_momentum"),
        horizon=v.number("reg_horizon"),
        alpha=v.number("reg_alpha"),
    )
    for rounds, key in ((1, "selected_1"), (2, "selected_2"), (how.rounds, "selected_final")):
        now = dataclasses.replace(how, rounds=rounds)
        assert densest_apart(v["features"], v["kmeans_labels"], v["density"], now).equal(v[key]), key


def check_global_loss(v: Vectors) -> None:
    forms: dict[str, Literal["weights", "batch"]] = {"global": "weights", "global_batchmean": "batch"}
    for key, mean in forms.items():
        strong = v.leaf("global_strong")
        loss = confident(v["global_weak"], strong, v.number("global_threshold"), mean=mean)
        same(loss, v[f"{key}_loss"], 1e-6)
        same(torch.autograd.grad(loss, strong)[0], v[f"{key}_grad"], 1e-6)


def check_local_loss(v: Vectors) -> None:
    anchor, before = v.leaf("local_anchor"), v["local_prob_ema_before"]
    found = agree(
        anchor,
        v["local_neighbour"],
        before[0],
        adjust=v.number("local_adjust"),
        sharpen=v.number("local_sharpen"),
        momentum=v.number("local_momentum"),
    )
    same(found.loss, v["local_loss"])
    same(torch.autograd.grad(found.loss, anchor)[0], v["local_grad"])
    same(torch.cat([found.mean.unsqueeze(0), before[1:]]), v["local_prob_ema_after"])
