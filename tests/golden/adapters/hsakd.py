"""HSAKD: rotated copies, joint labels, both distillation terms, and the teacher's own training."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from adapters import Vectors, same
from likewise.similarity.labelled.rotations import class_scores, joint_labels, rotated
from likewise.similarity.mutual import imitation


def check_rotations(v: Vectors) -> None:
    same(rotated(v["image"]), v["image_rotated"])
    assert joint_labels(v["target"]).equal(v["joint_labels"])
    same(class_scores(v["student_joint_logits"]), v["class_scores_from_joint"])


def check_student(v: Vectors) -> None:
    logits, joint, temperature = v.leaf("student_class_logits"), v.leaf("student_joint_logits"), v.number("temperature")
    task = F.cross_entropy(logits[::4], v["target"])
    stages = zip(joint, v["teacher_joint_logits"], strict=True)
    told = torch.stack([imitation(ours, theirs, temperature) for ours, theirs in stages]).sum()
    classes = imitation(logits, v["teacher_class_logits"], temperature)
    found = {
        "task": task,
        "distill_joint": told,
        "distill_class": classes,
        "distill": told + classes,
    }
    for name, loss in found.items():
        same(loss, v[f"loss_{name}"], 1e-10)
    total = task + told + classes
    same(total, v["loss"], 1e-10)
    of_logits, of_joint = torch.autograd.grad(total, (logits, joint))
    same(of_logits, v["grad_student_class_logits"], 1e-10)
    same(of_joint, v["grad_student_joint_logits"], 1e-10)


def check_teacher(v: Vectors) -> None:
    logits, joint = v.leaf("teacher_class_logits"), v.leaf("teacher_joint_logits")
    stages = torch.stack([F.cross_entropy(branch, v["joint_labels"]) for branch in joint])
    loss = F.cross_entropy(logits[::4], v["target"]) + stages.sum()
    same(loss, v["teacher_training_loss"], 1e-10)
    of_logits, of_joint = torch.autograd.grad(loss, (logits, joint))
    same(of_logits, v["grad_teacher_class_logits"], 1e-10)
    same(of_joint, v["grad_teacher_joint_logits"], 1e-10)
