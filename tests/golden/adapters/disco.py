"""DisCo: contrast against the student's own queue, and both views' distance to the teacher."""

from __future__ import annotations

import torch

from adapters import Vectors, same
from likewise.memory import Queue
from likewise.similarity import contrast, pull, similarities, unit


def check_losses(v: Vectors) -> None:
    first, second, queue = v.leaf("student_view1"), v.leaf("student_view2"), v["queue"]
    temperature = v.number("temperature")
    contrasted = contrast(first, v["key_view2"], queue, temperature)
    pulled = [
        len(view) * pull(view, unit(v[f"teacher_view{number}"])) for number, view in enumerate((first, second), start=1)
    ]
    same(contrasted, v["loss_contrastive"], 1e-10)
    same(pulled[0], v["loss_distill_view1"], 1e-10)
    same(pulled[1], v["loss_distill_view2"], 1e-10)
    total = contrasted + pulled[0] + pulled[1]
    same(total, v["loss"], 1e-10)
    of_first, of_second = torch.autograd.grad(total, (first, second))
    same(of_first, v["grad_student_view1"], 1e-10)
    same(of_second, v["grad_student_view2"], 1e-10)


def check_logits_and_queue(v: Vectors) -> None:
    query, key = unit(v["student_view1"]), unit(v["key_view2"])
    own = (query * key).sum(1, keepdim=True) / v.number("temperature")
    same(torch.cat([own, similarities(query, v["queue"], v.number("temperature"))], 1), v["logits"], 1e-10)
    queue = Queue(*v["queue"].shape).double()
    queue.rows.copy_(v["queue"])
    queue.position.copy_(v["queue_pointer"])
    queue.push(key)
    same(queue.rows, v["queue_after"], 1e-10)
    assert queue.position == v["queue_pointer_after"]
