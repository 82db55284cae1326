"""ASCL: every target in both forms, loss, gradient and queue."""

from __future__ import annotations

import torch

from adapters import Vectors, same
from likewise.memory import Queue
from likewise.similarity import own_columns, pull, similarities, unit
from likewise.similarity.positives.adaptive import Target, adaptive_contrast, batch_targets, soft_labels

CASES: dict[str, Target] = {
    "ascl_ksmall": "ascl",
    "ascl_kbig": "ascl",
    "ahcl_kbig": "ahcl",
    "hard_kbig": "hard",
    "normal_k0": "normal",
}


def check_loss(v: Vectors) -> None:
    for case, target in CASES.items():
        query = v.leaf("query")
        soft = adaptive_contrast(
            query,
            v["key"],
            v["queue"],
            v.number("temperature_student"),
            v.number("temperature_teacher"),
            neighbours=v.number(f"{case}_neighbors"),
            target=target,
        )
        soft.loss.backward()
        same(soft.loss, v[f"{case}_loss"], 1e-8)
        assert query.grad is not None
        same(query.grad, v[f"{case}_grad_query"], 1e-8)


def check_targets(v: Vectors) -> None:
    probability = similarities(unit(v["key"]), v["queue"], v.number("temperature_teacher")).softmax(1)
    for case, target in CASES.items():
        neighbours = v.number(f"{case}_neighbors")
        confidence = adaptive_contrast(
            v["query"],
            v["key"],
            v["queue"],
            v.number("temperature_student"),
            v.number("temperature_teacher"),
            neighbours=neighbours,
            target=target,
        ).confidence
        labels = soft_labels(probability, confidence, neighbours, target)
        whole = torch.cat([torch.ones_like(labels[:, :1]), labels], 1)
        same(whole / whole.sum(1, keepdim=True), v[f"{case}_targets"], 1e-8)


def check_queue(v: Vectors) -> None:
    queue = Queue(*v["queue"].shape).double()
    queue.rows.copy_(v["queue"])
    queue.push(unit(v["key"]))
    same(queue.rows, v["queue_after"], 1e-8)


def check_byol(v: Vectors) -> None:
    key = unit(v["key"])
    for target in ("ascl", "normal"):
        labels, _ = batch_targets(
            key,
            key,
            own_columns(key, len(key)),
            v.number("temperature_teacher"),
            neighbours=v.number("ascl_kbig_neighbors"),
            target=target,
        )
        if target == "ascl":
            same(labels, v["byol_ascl_targets"], 1e-8)
        query = v.leaf("query")
        pull(query, labels @ key).backward()
        assert query.grad is not None
        same(query.grad, v[f"byol_{target}_grad_query"], 1e-8)
        each = torch.stack([pull(q, t) for q, t in zip(query[:, None], (labels @ key)[:, None], strict=True)])
        same(each.detach(), v[f"byol_{target}_loss_vector"], 1e-8)
