"""UML: logits, loss and gradient of all four similarities, hard mixed supports, and the task projection."""

from __future__ import annotations

import torch

from adapters import Vectors, same
from likewise.encoders.task_head import TaskProjection
from likewise.similarity.labelled.episodes import (
    Similarity,
    Tasks,
    draw_tasks,
    hard_negatives,
    mixed_logits,
    projected_logits,
    prototype_logits,
    prototype_loss,
    with_hard,
)

SIMILARITIES: tuple[Similarity, ...] = ("sns", "cosine", "dot", "euclidean")
LAYERS = {
    "w_qs_weight": "queries.weight",
    "w_ks_weight": "keys.weight",
    "w_vs_weight": "values.weight",
    "fc_weight": "out.weight",
    "fc_bias": "out.bias",
    "layer_norm_weight": "norm.weight",
    "layer_norm_bias": "norm.bias",
}


def tasks_of(v: Vectors) -> Tasks:
    tasks = Tasks(v["support_idx"], v["query_idx"])
    assert tasks.labels.equal(v["labels"])
    return tasks


def check_similarities(v: Vectors) -> None:
    tasks = tasks_of(v)
    for name in SIMILARITIES:
        embedding = v.leaf("embeddings")
        logits = prototype_logits(embedding, tasks, name, v.number("temperature"))
        same(logits, v[f"logits_{name}"], 1e-8)
        loss = prototype_loss(logits, tasks)
        same(loss, v[f"loss_{name}"], 1e-8)
        same(torch.autograd.grad(loss, embedding)[0], v[f"grad_{name}"], 1e-8)


def check_hard_supports(v: Vectors) -> None:
    tasks = tasks_of(v)
    for name in (SIMILARITIES[0], SIMILARITIES[3]):
        embedding = v.leaf("embeddings")
        negative = hard_negatives(embedding, v.number("num_instances"), v.number("hard_negs"), name)
        assert negative.equal(v[f"hms_{name}_topk"])
        mix = v[f"hms_{name}_mix"].float()  # drawn in float32, and so is what it leaves of 1
        hard = mixed_logits(embedding, negative, mix, name)
        logits = with_hard(prototype_logits(embedding, tasks, name, v.number("temperature")), hard, tasks)
        same(logits, v[f"hms_{name}_logits"], 1e-8)
        loss = prototype_loss(logits, tasks)
        same(loss, v[f"hms_{name}_loss"], 1e-8)
        same(torch.autograd.grad(loss, embedding)[0], v[f"hms_{name}_grad"], 1e-8)


def check_task_projection(v: Vectors) -> None:
    tasks, embedding = tasks_of(v), v.leaf("embeddings")
    head = TaskProjection(embedding.shape[1], heads=v.number("n_head"), head_dim=v.number("t_dim")).double().eval()
    head.load_state_dict({ours: v[f"tsp_param_{theirs}"] for theirs, ours in LAYERS.items()})
    logits = projected_logits(embedding, tasks, head, "sns", v.number("temperature"))
    same(logits, v["tsp_logits"], 1e-8)
    loss = prototype_loss(logits, tasks)
    same(loss, v["tsp_loss"], 1e-8)
    loss.backward()
    assert embedding.grad is not None
    same(embedding.grad, v["tsp_grad"], 1e-8)
    for theirs, ours in LAYERS.items():
        gradient = head.get_parameter(ours).grad
        assert gradient is not None
        same(gradient, v[f"tsp_gradparam_{theirs}"], 1e-8)


def check_drawn_tasks(v: Vectors) -> None:
    images, way, shot, query = (v.number(name) for name in ("num_instances", "way", "shot", "query"))
    drawn = draw_tasks(images, tasks=v.number("num_tasks"), way=way, shot=shot, query=query)
    assert drawn.support.shape == v["support_idx"].shape
    assert drawn.query.shape == v["query_idx"].shape
    for tasks in (drawn, tasks_of(v)):
        image = torch.cat([tasks.support, tasks.query], 1) % images
        assert (image == image[:, :1]).all()  # a column of a task is one image
        assert all(len(row.unique()) == way for row in image[:, 0])
        views = torch.cat([tasks.support, tasks.query], 1) // images
        assert all(column.unique().numel() == shot + query for task in views for column in task.T)
