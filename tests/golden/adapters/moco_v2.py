"""MoCo v2: logits, loss, gradient, queue, the kNN monitor and split batch normalisation."""

from __future__ import annotations

import torch

from adapters import Vectors, same
from likewise.encoders.norms import SplitBatchNorm2d
from likewise.memory import Queue
from likewise.similarity import contrast, knn, similarities, unit


def check_loss(v: Vectors) -> None:
    query, key, queue, temperature = v.leaf("student"), v["teacher"], v["queue"], v.number("temperature")
    loss = contrast(query, key, queue, temperature)
    loss.backward()
    same(loss, v["loss"])
    assert query.grad is not None
    same(query.grad, v["grad_student"])


def check_logits(v: Vectors) -> None:
    query, key, temperature = unit(v["student"]), unit(v["teacher"]), v.number("temperature")
    positive = (query * key).sum(1, keepdim=True) / temperature
    logits = torch.cat([positive, similarities(query, v["queue"], temperature)], 1)
    same(logits, v["logits"])


def check_queue(v: Vectors) -> None:
    queue = Queue(*v["queue"].shape).double()
    queue.rows.copy_(v["queue"])
    queue.position.copy_(v["queue_ptr"])
    queue.push(unit(v["teacher"]))
    same(queue.rows, v["queue_after"])
    assert queue.position == v["queue_ptr_after"]


def check_knn(v: Vectors) -> None:
    expected = v["knn_scores"]
    scores = knn.weighted_scores(
        v["knn_query"],
        v["knn_bank"],
        v["knn_bank_labels"],
        k=v.number("knn_k"),
        temperature=v.number("knn_temperature"),
        classes=expected.shape[1],
    )
    same(scores, expected, 1e-6)
    ranking = scores.argsort(dim=1, descending=True)
    # Classes of equal score (none of their members among the neighbours) may stand in any order.
    same(scores.gather(1, ranking), expected.gather(1, v["knn_ranking"]), 1e-6)


def check_split_batch_norm(v: Vectors) -> None:
    x = v["splitbn_input"]
    layer = SplitBatchNorm2d(x.shape[1], splits=v.number("splitbn_splits")).double()
    same(layer(x), v["splitbn_output"])
    assert layer.running_mean is not None
    assert layer.running_var is not None
    same(layer.running_mean, v["splitbn_running_mean"])
    same(layer.running_var, v["splitbn_running_var"])
