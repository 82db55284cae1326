"""t-ReX: online class means and their memory, the cosine classifier, the projector, and the moving average."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from adapters import Vectors, same
from likewise.encoders import heads
from likewise.memory import LABEL, Queue
from likewise.similarity import similarities, unit
from likewise.similarity.labelled.by_label import class_prototypes
from likewise.teachers import Momentum

TOLERANCE = 1e-10


def check_class_means(v: Vectors) -> None:
    classes, labels = v.number("n_classes"), v["labels"].repeat(v.number("n_crops"))
    prototypes = class_prototypes(v["memory_features"], v["memory_labels"], classes)
    same(prototypes, v["prototypes"], TOLERANCE)
    student = v.leaf("student")
    logits = similarities(unit(student), prototypes, v.number("temperature"))
    same(logits, v["logits"], TOLERANCE)
    loss = F.cross_entropy(logits, labels)
    same(loss, v["loss"], TOLERANCE)
    same(torch.autograd.grad(loss, student)[0], v["grad_student"], TOLERANCE)


def check_memory(v: Vectors) -> None:
    memory = Queue(*v["memory_features"].shape, columns={"label": LABEL}, end="cut").double()
    memory.rows.copy_(v["memory_features"])
    memory.column("label").copy_(v["memory_labels"])
    memory.position.copy_(v["memory_pointer"])
    memory.push(v["ema_feature"], label=v["labels"])
    same(memory.rows, v["memory_features_after"], TOLERANCE)
    assert memory.column("label").equal(v["memory_labels_after"])
    assert memory.position == v["memory_pointer_after"]
    after = class_prototypes(memory.rows, memory.column("label"), v.number("n_classes"))
    same(after, v["prototypes_after"], TOLERANCE)


def check_classifier(v: Vectors) -> None:
    student, weight = v.leaf("student"), v.leaf("clf_weight")
    logits = similarities(unit(student), unit(weight), v.number("temperature"))
    same(logits, v["clf_logits"], TOLERANCE)
    loss = F.cross_entropy(logits, v["labels"].repeat(v.number("n_crops")))
    same(loss, v["clf_loss"], TOLERANCE)
    of_student, of_weight = torch.autograd.grad(loss, (student, weight))
    same(of_student, v["grad_student_clf"], TOLERANCE)
    same(of_weight, v["grad_clf_weight"], TOLERANCE)


def check_projector(v: Vectors) -> None:
    hidden, last = v["proj__layers.1.fc.weight"], v["proj__layers.2.weight"]
    head = heads.mlp([hidden.shape[1], len(hidden), len(last)], activation="gelu", last_bias=False).double()
    names = {"0": "layers.1.fc", "1": "layers.1.bn", "3": "layers.2"}
    for ours, theirs in names.items():
        layer = head.get_submodule(ours)
        for name, parameter in layer.named_parameters():
            parameter.data.copy_(v[f"proj__{theirs}.{name}"])
    x = v.leaf("proj_input")
    out = head(unit(x))
    same(out, v["proj_output"], TOLERANCE)
    same(torch.autograd.grad(out, x, v["proj_upstream"])[0], v["proj_grad_input"], TOLERANCE)


def check_moving_average(v: Vectors) -> None:
    def layer(key: str) -> nn.Linear:
        made = nn.Linear(len(v[key]), 1, bias=False).double()
        made.weight.data.copy_(v[key].unsqueeze(0))
        return made

    teacher = Momentum(layer("weight_ema"))
    teacher.update(layer("weight"), v.number("ema_momentum"))
    same(next(teacher.network.parameters())[0], v["weight_ema_after"], TOLERANCE)
