"""ReSSL: the relational loss and its gradient, the target, and the order of the method's step."""

from __future__ import annotations

import torch
from torch import nn

from adapters import Vectors, same
from likewise.methods.method import Batch, Facts
from likewise.methods.ressl import ReSSL, relate
from likewise.similarity import similarities, unit
from likewise.views import View


def check_loss(v: Vectors) -> None:
    query = v.leaf("query")
    told = relate(query, v["key"], v["queue"], v.number("temperature_student"), v.number("temperature_teacher"))
    told.loss.backward()
    same(told.loss, v["loss"])
    assert query.grad is not None
    same(query.grad, v["grad_query"])


def check_target(v: Vectors) -> None:
    target = similarities(unit(v["key"]), v["queue"], v.number("temperature_teacher")).softmax(1)
    same(target, v["target"])
    told = relate(v["query"], v["key"], v["queue"], v.number("temperature_student"), v.number("temperature_teacher"))
    same(told.teacher_entropy, torch.special.entr(v["target"]).sum(1).mean())


def check_step(v: Vectors) -> None:
    """Logits against the memory as it was; then the teacher's unit vectors are in it."""
    size, dim = v["queue"].shape
    encoder = nn.Identity()
    encoder.features = dim  # type: ignore[assignment]
    settings = ReSSL.Settings(
        entropy=0.0,
        queue_size=size,
        temperature_student=v.number("temperature_student"),
        temperature_teacher=v.number("temperature_teacher"),
        embedding=dim,
    )
    method = ReSSL(encoder, settings, Facts(images=size, batch_size=len(v["key"]), image_size=1))  # type: ignore[arg-type]
    method.double()
    method.student = nn.Sequential(nn.Identity())
    method.teacher = nn.Identity()  # type: ignore[assignment]
    method.queue.rows.copy_(v["queue"])
    views = {"student": View(v["query"]), "teacher": View(v["key"])}
    terms = method.step(views, Batch(torch.arange(len(v["key"]))))
    same(terms.loss, v["loss"])
    expected = v["queue"]
    for row, vector in enumerate(unit(v["key"])):
        expected[row % size] = vector
    same(method.queue.rows, expected)
