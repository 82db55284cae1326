"""Dynamic Distillation: both losses, the ramp, the centre, and the teacher's moving average."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from adapters import Vectors, same
from likewise.schedules import clipped_ramp
from likewise.similarity import cross_entropy
from likewise.similarity.prototypes.centring import recentred
from likewise.teachers import Momentum


def check_losses(v: Vectors) -> None:
    scores, student = v.leaf("scores_labelled"), v.leaf("student_unlabelled")
    known = F.cross_entropy(scores, v["labels"])
    target = (v["teacher_unlabelled"] / v.number("teacher_temp")).softmax(1)
    told = cross_entropy(student, target).mean()
    same(known, v["loss_ce"])
    same(told, v["loss_distill"])
    total = known + v.number("weight") * told
    same(total, v["loss"])
    of_scores, of_student = torch.autograd.grad(total, (scores, student))
    same(of_scores, v["grad_scores"])
    same(of_student, v["grad_student"])


def check_ramp(v: Vectors) -> None:
    found = [clipped_ramp(step / v.number("weight_total")) for step in v["weight_steps"].tolist()]
    same(torch.tensor(found, dtype=torch.float64), v["weight_values"])


def check_centre(v: Vectors) -> None:
    less, centre = recentred(v["teacher_unlabelled"], v["center_before"], v.number("center_momentum"))
    same(centre, v["center_after"])
    target = (less / v.number("teacher_temp")).softmax(1)
    same(cross_entropy(v["student_unlabelled"], target).mean(), v["loss_distill_centred"])


def check_moving_average(v: Vectors) -> None:
    def layer(key: str) -> nn.Linear:
        made = nn.Linear(v[key].shape[1], len(v[key]), bias=False).double()
        made.weight.data.copy_(v[key])
        return made

    teacher = Momentum(layer("ema_teacher_before"))
    teacher.update(layer("ema_student"), v.number("ema_momentum"))
    same(next(teacher.network.parameters()), v["ema_teacher_after"])
