"""NCC: alignment with sampled positives, prototypes, and their scattering, of the batch alone and with the queue."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from adapters import Vectors, same
from likewise.similarity import unit
from likewise.similarity.prototypes.scattering import alignment, prototypes, sampled, scatter


def aligned(v: Vectors, prefix: str) -> None:
    query, weight = v.leaf("query"), v["predictor_weight"]
    prediction = functional.linear(sampled(query, v["noise"], v.number("noise_std")), weight)
    loss = alignment(prediction, v["key"])
    loss.backward()
    same(loss, v[f"{prefix}_align_loss"], 1e-8)
    assert query.grad is not None
    same(query.grad, v[f"{prefix}_align_grad_query"], 1e-8)


def scattered(v: Vectors, prefix: str, query: Tensor, queue: Tensor, queue_labels: Tensor) -> None:
    labels, clusters = torch.cat([v["pseudo_labels"], queue_labels]), v.number("num_clusters")
    q, k = torch.cat([unit(query), queue]), torch.cat([unit(v["key"]), queue])
    loss = scatter(prototypes(q, labels, clusters), prototypes(k, labels, clusters), v.number("temperature"))
    loss.backward()
    same(loss, v[f"{prefix}_proto_loss"], 1e-8)
    assert query.grad is not None
    same(query.grad, v[f"{prefix}_proto_grad_query"], 1e-8)


def check_alignment(v: Vectors) -> None:
    aligned(v, "batch")
    aligned(v, "queue")


def check_prototypes(v: Vectors) -> None:
    labels, clusters = v["pseudo_labels"], v.number("num_clusters")
    same(prototypes(unit(v["query"]), labels, clusters), v["query_centers"], 1e-8)
    same(prototypes(unit(v["key"]), labels, clusters), v["key_centers"], 1e-8)


def check_scattering_of_the_batch(v: Vectors) -> None:
    scattered(v, "batch", v.leaf("query"), v["queue"][:0], v["queue_labels"][:0])


def check_scattering_with_the_queue(v: Vectors) -> None:
    scattered(v, "queue", v.leaf("query"), v["queue"], v["queue_labels"])
