"""ISD: both temperatures, purity, queue, the four-step trace of the official class, and the schedules."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adapters import Vectors, same
from likewise import schedules
from likewise.encoders import heads
from likewise.memory import LABEL, Queue
from likewise.methods.isd import ISD
from likewise.methods.method import Batch, Facts, Progress
from likewise.similarity import distill, purity, similarities, unit
from likewise.views import View


class Toy(nn.Sequential):
    """The student of the trace, in the place of an encoder: Linear - ReLU - Linear."""

    def __init__(self, inputs: int, features: int) -> None:
        super().__init__(nn.Linear(inputs, features), nn.ReLU(), nn.Linear(features, features))
        self.features = features


def check_single_temperature(v: Vectors) -> None:
    student, temperature = v.leaf("student"), v.number("temperature_single")
    told = distill(student, v["teacher"], v["queue"], temperature, temperature)
    told.loss.backward()
    same(told.loss, v["loss_single"])
    assert student.grad is not None
    same(student.grad, v["grad_student_single"])


def check_two_temperatures(v: Vectors) -> None:
    student = v.leaf("student")
    told = distill(
        student, v["teacher"], v["queue"], v.number("temperature_student"), v.number("temperature_teacher"), top=5
    )
    told.loss.backward()
    same(told.loss, v["loss"])
    assert student.grad is not None
    same(student.grad, v["grad_student"])
    assert told.neighbours is not None
    same(purity(v["labels"], v["queue_labels"][told.neighbours]), v["purity_top5"], 1e-6)


def check_logits(v: Vectors) -> None:
    same(similarities(unit(v["student"]), v["queue"], v.number("temperature_student")), v["logits_student"])
    same(similarities(unit(v["teacher"]), v["queue"], v.number("temperature_teacher")), v["logits_teacher"])


def check_queue(v: Vectors) -> None:
    queue = Queue(*v["queue"].shape, columns={"label": LABEL}).double()
    queue.rows.copy_(v["queue"])
    queue.position.copy_(v["queue_ptr"])
    queue.push(unit(v["teacher"]), label=v["labels"])
    same(queue.rows, v["queue_after"])
    assert queue.position == v["queue_ptr_after"]


def traced_method(v: Vectors) -> ISD:
    """The method as the official class starts the trace."""
    size, dim = v["queue"].shape
    settings = ISD.Settings(
        queue_size=size,
        enqueue="after",
        entropy=0.0,
        predictor="wide",
        temperature_student=v.number("temperature_student"),
        temperature_teacher=v.number("temperature_teacher"),
        momentum=v.number("trace_ema_momentum"),
        projector=False,
    )
    encoder = Toy(v["trace_view_student"].shape[-1], dim)
    encoder.load_state_dict(v.group("trace_init.student"))
    method = ISD(encoder, settings, Facts(images=size, batch_size=v["student"].shape[0], image_size=1))
    method.double()
    hidden = v["trace_init.predictor.0.bias"].shape[0]
    method.predictor = heads.mlp([dim, hidden, dim]).double()
    method.predictor.load_state_dict(v.group("trace_init.predictor"))
    method.queue.rows.copy_(v["queue"])
    return method


def check_trace(v: Vectors) -> None:
    method = traced_method(v)
    optimizer = torch.optim.SGD(
        [p for p in method.parameters() if p.requires_grad],
        lr=v.number("trace_lr"),
        momentum=v.number("trace_sgd_momentum"),
        weight_decay=v.number("trace_weight_decay"),
    )
    losses = []
    views_student, views_teacher = v["trace_view_student"], v["trace_view_teacher"]
    for step, (student, teacher) in enumerate(zip(views_student, views_teacher, strict=True)):
        method.before_step(Progress(step, step / len(views_student), 0))
        terms = method.step({"student": View(student), "teacher": View(teacher)}, Batch(torch.arange(len(student))))
        optimizer.zero_grad()
        terms.loss.backward()
        optimizer.step()
        losses.append(terms.loss.detach())
    same(torch.stack(losses), v["trace_losses"], 1e-8)
    same(method.queue.rows, v["trace_queue_after"], 1e-8)
    assert method.queue.position == v["trace_ptr_after"]
    states: dict[str, dict[str, Tensor]] = {
        "student": method.student[0].state_dict(),
        "teacher": method.teacher.network.get_submodule("0").state_dict(),
        "predictor": method.predictor.state_dict(),
    }
    for part, state in states.items():
        for key, expected in v.group(f"trace_final.{part}").items():
            same(state[key], expected, 1e-8)


def check_schedules(v: Vectors) -> None:
    cosine, stepped = v["lr_cosine"], v["lr_step"]
    epochs = len(cosine)
    found = [schedules.cosine_by_epoch(0.05, epoch, epochs) for epoch in range(epochs)]
    same(torch.tensor(found, dtype=torch.float64), cosine)
    epochs = len(stepped)
    found = [schedules.step(0.01, epoch / epochs, (14 / epochs, 18 / epochs), 0.2) for epoch in range(epochs)]
    same(torch.tensor(found, dtype=torch.float64), stepped)
