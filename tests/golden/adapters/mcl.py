"""MCL: the four parts of the loss, on MoCo and with labels, each with its gradient."""

from __future__ import annotations

import torch

from adapters import Vectors, same
from likewise.similarity.mutual import MutualContrast, mutual_contrast, supervised_mutual_contrast

PARTS = MutualContrast._fields
COVERS = ("mcl_supervised",)


def check_moco(v: Vectors) -> None:
    for part in PARTS:
        queries = v.leaf("queries")  # (N, M, D)
        told = mutual_contrast(
            queries.unbind(1), v["keys"].unbind(1), v["queues"].unbind(0), v.number("temperature"),
            v.number("kl_temperature"),
        )  # fmt: skip
        loss = getattr(told, part)
        loss.backward()
        same(loss, v[f"moco_{part}_loss"], 1e-8)
        assert queries.grad is not None
        same(queries.grad, v[f"moco_{part}_grad_queries"], 1e-8)
    same(torch.stack(list(told)).sum(), v["moco_total_loss"], 1e-8)


def check_supervised(v: Vectors) -> None:
    for part in PARTS:
        embeddings = v.leaf("embeddings")  # (M, B, D)
        told = supervised_mutual_contrast(
            embeddings.unbind(0), v["labels"], v.number("sup_temperature"), v.number("kl_temperature")
        )
        loss = getattr(told, part)
        loss.backward()
        same(loss, v[f"sup_{part}_loss"], 1e-8)
        assert embeddings.grad is not None
        same(embeddings.grad, v[f"sup_{part}_grad"], 1e-8)
