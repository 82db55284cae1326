"""MSF: the bank is written first, then neighbours, loss, gradient and purity, for k and for k = 1."""

from __future__ import annotations

from adapters import Vectors, same
from likewise.memory import LABEL, Queue
from likewise.methods.msf import mean_shift
from likewise.similarity import purity, unit


def queue_after(v: Vectors) -> Queue:
    """The bank with this batch's teacher vectors in it."""
    queue = Queue(*v["queue"].shape, columns={"label": LABEL}).double()
    queue.rows.copy_(v["queue"])
    queue.column("label").copy_(v["queue_labels"])
    queue.position.copy_(v["queue_ptr"])
    queue.push(unit(v["teacher"]), label=v["labels"])
    return queue


def check_queue(v: Vectors) -> None:
    queue = queue_after(v)
    same(queue.rows, v["queue_after"])
    assert queue.column("label").equal(v["queue_labels_after"])
    assert queue.position == v["queue_ptr_after"]


def check_neighbours(v: Vectors) -> None:
    queue, student = queue_after(v), v.leaf("student")
    shift = mean_shift(student, v["teacher"], queue.rows, v.number("topk"))
    shift.loss.backward()
    same(shift.loss, v["loss"])
    assert student.grad is not None
    same(student.grad, v["grad_student"])
    assert shift.rows.equal(v["neighbour_index"])
    same(purity(v["labels"], queue.column("label")[shift.rows]), v["purity"], 1e-6)


def check_one_neighbour_is_byol(v: Vectors) -> None:
    queue, student = queue_after(v), v.leaf("student")
    shift = mean_shift(student, v["teacher"], queue.rows, 1)
    shift.loss.backward()
    same(shift.loss, v["loss_top1"])
    assert student.grad is not None
    same(student.grad, v["grad_student_top1"])
    same(purity(v["labels"], queue.column("label")[shift.rows]), v["purity_top1"], 1e-6)
