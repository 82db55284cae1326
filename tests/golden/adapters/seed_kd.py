"""SEED: logits, target, loss and gradient at a soft and at the official sharp temperature, and the queue."""

from __future__ import annotations

import torch

from adapters import Vectors, same
from likewise.memory import Queue
from likewise.methods.seed_kd import seed_distill
from likewise.similarity import similarities, unit


def check_loss(v: Vectors) -> None:
    student = v.leaf("student")
    told = seed_distill(
        student, v["teacher"], v["queue"], v.number("temperature_student"), v.number("temperature_teacher")
    )
    told.cross_entropy.backward()
    same(told.cross_entropy, v["loss"], 1e-10)
    assert student.grad is not None
    same(student.grad, v["grad_student"], 1e-10)
    target = v["target"]
    entropy = -torch.special.xlogy(target, target).sum(1).mean()
    same(told.teacher_entropy, entropy, 1e-10)
    same(told.loss, v["loss"] - entropy, 1e-10)


def check_sharp_loss(v: Vectors) -> None:
    student = v.leaf("student")
    told = seed_distill(
        student, v["teacher"], v["queue"], v.number("temperature_student"), v.number("temperature_teacher_sharp")
    )
    told.cross_entropy.backward()
    same(told.cross_entropy, v["loss_sharp"], 1e-8)
    assert student.grad is not None
    same(student.grad, v["grad_student_sharp"], 1e-8)


def check_logits(v: Vectors) -> None:
    student, teacher = unit(v["student"]), unit(v["teacher"])
    for query, temperature, expected in (
        (student, v.number("temperature_student"), v["logits_student"]),
        (teacher, v.number("temperature_teacher"), v["target"]),
    ):
        own = (query * teacher).sum(1, keepdim=True) / temperature
        logits = torch.cat([own, similarities(query, v["queue"], temperature)], 1)
        same(logits if query is student else logits.softmax(1), expected, 1e-10)


def check_queue(v: Vectors) -> None:
    queue = Queue(*v["queue"].shape).double()
    queue.rows.copy_(v["queue"])
    queue.position.copy_(v["queue_pointer"])
    queue.push(unit(v["teacher"]))
    same(queue.rows, v["queue_after"], 1e-10)
    assert queue.position == v["queue_pointer_after"]
